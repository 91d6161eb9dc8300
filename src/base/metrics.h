// Metrics: one table of counters and gauges, printed at /metrics as Prometheus text. Counting is a plain add: the loop thread's own; what
// another thread counts it hands over with its results.
#pragma once

#include "base/buf.h"

//        enumerator              kind       help
#define CB_METRICS(X) \
    X(connections_open,        "gauge",   "TCP connections open now") \
    X(connections_total,       "counter", "TCP connections accepted") \
    X(connections_refused,     "counter", "connections refused at a limit") \
    X(connections_bytes,       "gauge",   "bytes that connections hold: unfinished requests and messages, answers not sent") \
    X(connections_shed,        "counter", "connections ended because they held most when all held too much") \
    X(http_requests,           "counter", "HTTP requests answered") \
    X(http_bad_requests,       "counter", "HTTP requests refused as malformed") \
    X(sockets_open,            "gauge",   "WebSockets open now") \
    X(sockets_catching_up,     "gauge",   "WebSockets that read the store now") \
    X(sockets_overrun,         "counter", "times a slow reader fell out of the ring") \
    X(frames_in,               "counter", "WebSocket messages received") \
    X(frames_out,              "counter", "WebSocket frames sent") \
    X(frames_refused,          "counter", "WebSocket messages answered with an error") \
    X(writes,                  "counter", "writes to sockets; frames_out / writes is the health of the design") \
    X(bytes_out,               "counter", "bytes sent on WebSockets") \
    X(messages_stored,         "counter", "messages stored") \
    X(commits,                 "counter", "transactions committed") \
    X(commit_failures,         "counter", "transactions that failed") \
    X(commit_microseconds,     "counter", "time spent in commits") \
    X(turn_store_wait_max,     "gauge",   "microseconds: the longest that the loop has waited for a commit") \
    X(operations,              "counter", "operations in those transactions") \
    X(logins,                  "counter", "logins that succeeded") \
    X(logins_refused,          "counter", "logins that failed") \
    X(users_online,            "gauge",   "people online now") \
    X(rate_limited,            "counter", "requests answered with rate_limited") \
    X(warnings,                "counter", "stop-word warnings given")

enum class Metric : uint8_t {
#define X(name, kind, help) name,
    CB_METRICS(X)
#undef X
    count
};

extern uint64_t metrics[(int)Metric::count];
inline void metric_add(Metric m, uint64_t n = 1) { metrics[(int)m] += n; }
inline void metric_sub(Metric m, uint64_t n = 1) { metrics[(int)m] -= n; }
inline void metric_set(Metric m, uint64_t n) { metrics[(int)m] = n; }
// Appends the exposition, each name with the prefix chatterbox_.
void metrics_print(Buf &out);
