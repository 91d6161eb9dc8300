// The bound, term by term. A Buf that grows has up to twice what is in it.
#include "memory_bound.h"

#include "base/limits.h"

#include <algorithm>

constexpr uint64_t kib = 1024, mib = 1024 * kib;
constexpr uint64_t fixed_bytes = 16 * mib;         // an idle server has 4; SQLite may take 2.5 more, a JSON document 0.3, finished results and pages 3, zlib 0.3
constexpr uint64_t batch_bytes = 6 * mib;          // what the results of the batch that is committed add to its operations
constexpr uint64_t task_bytes = 4 * kib;           // a login that waits
constexpr uint64_t idle_connection_bytes = 1 * kib;
constexpr uint64_t wslay_bytes = 9 * kib;
constexpr uint64_t reading_bytes = 64 * kib;       // one reading of the socket that may not be looked at yet
constexpr uint64_t more_connections = 512;         // than WebSockets
constexpr uint64_t machine_share = 16;             // of the machine's memory, for what connections hold

static uint64_t grown(uint64_t bytes) { return 2 * bytes; }

MemoryBound memory_bound(const Options *o, unsigned hash_threads, uint64_t machine_bytes) {
    uint64_t socket = wslay_bytes + grown(o->frame_max) + grown(o->frame_max)                     // a message, and inflated
                      + grown(private_queue_bytes_max) + grown(frame_out_bytes_max);              // answers that wait, and the rest of a frame
    uint64_t request = grown(o->head_max) + grown(o->body_max) + http_response_rest_max + 2 * kib; // the rest of an answer is copied as long as it is
    MemoryBound b = {};
    b.fixed = fixed_bytes;
    b.hashing = hash_threads * (uint64_t{o->password_memory_mib} * mib + task_bytes) + hash_queue_max * task_bytes;
    b.writing = write_queue_bytes_max + batch_bytes;
    b.idle = (o->max_sockets + more_connections) * idle_connection_bytes;
    b.held_max = std::clamp<uint64_t>(machine_bytes / machine_share, held_bytes_min, held_bytes_max);
    b.held = b.held_max / 8 * 9;
    b.one_connection = reading_bytes + std::max(socket, request);
    b.total = b.fixed + b.hashing + b.writing + b.idle + b.held + b.one_connection;
    return b;
}
