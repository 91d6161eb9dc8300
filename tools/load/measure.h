// What is read while measuring: clocks, the CPU time and memory of a process seen from outside, latencies. And the end of the
// program with one line. Used by the load generator and by the programs of tools/bench. One thread.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string_view>

uint64_t now_ns(); // monotonic

// One line on standard error, then the end with status 1.
[[noreturn]] void die(const char *what, const char *more = "");
void *must(void *allocated); // or the end

// A process of this machine by its id; 0: none, whose figures are all 0.
struct ProcessCpu {
    double user, system; // seconds so far, all its threads
};
ProcessCpu process_cpu(int pid);
double process_cpu_seconds(int pid);                                      // both together, finer than the ticks of the above
long process_memory_kb(int pid, const char *file, std::string_view field); // a field of /proc/PID/FILE, 0 if there is none
void process_forget_peak(int pid);                                        // VmHWM begins anew
double own_cpu_seconds();
double machine_cpu_seconds(); // everybody's, busy only

// What the kernel holds for the connections of a server on `port`: bytes written that nobody has taken yet.
struct SendQueues {
    uint64_t all, longest;
};
SendQueues send_queues(int port);

// Latencies: buckets 1.6 % wide, from 1 ns to centuries.
struct Histogram {
    uint64_t buckets[64 * 64];
    uint64_t count, highest;
};
void histogram_add(Histogram &h, uint64_t ns);
double histogram_ms(const Histogram &h, double share); // the latency that `share` (0 to 1) of all do not exceed
