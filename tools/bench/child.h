// The measured server as a child process: started on a core of its own, its CPU time and memory read from outside, ended with us
// in any case. Used by the load generator only. One thread.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string_view>

uint64_t now_ns(); // monotonic

// One line on standard error, then the end.
[[noreturn]] void die(const char *what, const char *more = "");
void *must(void *allocated); // or the end

// Puts this process on the last core that it may use and children on the first; with one core both stay where they are. True when
// there are two.
bool cores_split();

struct Child {
    int pid = 0;
    int port = 0;
    uint64_t started_ns = 0;
};

// Starts `command` (ends with a null pointer) and waits until it serves: it prints `listening on http://127.0.0.1:PORT` on
// standard output, or, if `named`, it takes the port in its environment variable PORT and is ready when a connection is accepted.
// It is killed when we end, however that happens. Stops the process with a line on standard error if the server does not come up
// within 20 s.
Child child_start(char *const *command, bool named);
// Asks it to end (SIGTERM), kills it after 6 s. Returns its exit status, or minus the signal's number.
int child_stop(Child &c);
bool child_alive(const Child &c);

double child_cpu_seconds(const Child &c); // all its threads
double own_cpu_seconds();
double machine_cpu_seconds();                                                   // everybody's, busy only
long child_memory_kb(const Child &c, const char *file, std::string_view field); // a field of /proc/PID/FILE, 0 if there is none

// A socket of ours to the server, which can only be on 127.0.0.1. Non-blocking if asked. -1 with errno.
int loopback_connect(int port, bool blocking);

// Latencies: buckets 1.6 % wide, from 1 ns to centuries.
struct Histogram {
    uint64_t buckets[64 * 64];
    uint64_t count, highest;
};
void histogram_add(Histogram &h, uint64_t ns);
double histogram_ms(const Histogram &h, double share); // the latency that `share` (0 to 1) of all do not exceed
