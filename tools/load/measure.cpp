// Clocks, processes and latencies. See measure.h.
#include "measure.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

namespace {

double seconds_of(clockid_t clock) {
    timespec t = {};
    clock_gettime(clock, &t);
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) / 1e9;
}

double ticks(unsigned long n) { return static_cast<double>(n) / static_cast<double>(sysconf(_SC_CLK_TCK)); }

FILE *process_file(int pid, const char *file, const char *mode) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, file);
    return pid == 0 ? nullptr : fopen(path, mode);
}

} // namespace

void die(const char *what, const char *more) {
    fprintf(stderr, "load: %s%s\n", what, more);
    exit(1);
}

void *must(void *allocated) {
    if (allocated == nullptr) die("out of memory");
    return allocated;
}

uint64_t now_ns() {
    timespec t = {};
    clock_gettime(CLOCK_MONOTONIC, &t);
    return static_cast<uint64_t>(t.tv_sec) * 1000000000u + static_cast<uint64_t>(t.tv_nsec);
}

ProcessCpu process_cpu(int pid) {
    FILE *file = process_file(pid, "stat", "re");
    if (file == nullptr) return {};
    char line[1024] = "";
    size_t n = fread(line, 1, sizeof line - 1, file);
    fclose(file);
    line[n] = 0;
    const char *behind_name = strrchr(line, ')');
    unsigned long user = 0, system = 0;
    if (behind_name != nullptr) sscanf(behind_name + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system);
    return {ticks(user), ticks(system)};
}

double process_cpu_seconds(int pid) {
    clockid_t clock;
    return pid != 0 && clock_getcpuclockid(pid, &clock) == 0 ? seconds_of(clock) : 0;
}

double own_cpu_seconds() { return seconds_of(CLOCK_PROCESS_CPUTIME_ID); }

double machine_cpu_seconds() {
    FILE *file = fopen("/proc/stat", "re");
    if (file == nullptr) return 0;
    unsigned long user = 0, nice = 0, system = 0, idle = 0, iowait = 0, irq = 0, softirq = 0;
    int got = fscanf(file, "cpu %lu %lu %lu %lu %lu %lu %lu", &user, &nice, &system, &idle, &iowait, &irq, &softirq);
    fclose(file);
    return got < 4 ? 0 : ticks(user + nice + system + irq + softirq);
}

long process_memory_kb(int pid, const char *name, std::string_view field) {
    FILE *file = process_file(pid, name, "re");
    if (file == nullptr) return 0;
    char line[256];
    long kb = 0;
    while (fgets(line, sizeof line, file) != nullptr)
        if (std::string_view{line}.starts_with(field)) {
            kb = atol(line + field.size());
            break;
        }
    fclose(file);
    return kb;
}

void process_forget_peak(int pid) {
    FILE *file = process_file(pid, "clear_refs", "we");
    if (file == nullptr) return;
    fputs("5", file);
    fclose(file);
}

SendQueues send_queues(int port) {
    SendQueues q = {};
    FILE *file = fopen("/proc/net/tcp", "re");
    if (file == nullptr) return q;
    char line[512];
    while (fgets(line, sizeof line, file) != nullptr) {
        unsigned at = 0;
        unsigned long waiting = 0;
        if (sscanf(line, " %*d: %*x:%x %*x:%*x %*x %lx:", &at, &waiting) != 2 || static_cast<int>(at) != port) continue;
        q.all += waiting;
        if (waiting > q.longest) q.longest = waiting;
    }
    fclose(file);
    return q;
}

// A value's leading bit and the six bits behind it.
void histogram_add(Histogram &h, uint64_t ns) {
    int top = ns < 64 ? 0 : 63 - __builtin_clzll(ns);
    size_t at = ns < 64 ? ns : static_cast<size_t>(top - 5) * 64 + ((ns >> (top - 6)) & 63);
    h.buckets[at]++;
    h.count++;
    if (ns > h.highest) h.highest = ns;
}

double histogram_ms(const Histogram &h, double share) {
    uint64_t want = static_cast<uint64_t>(static_cast<double>(h.count) * share), seen = 0;
    if (h.count == 0) return 0;
    for (size_t i = 0; i < sizeof h.buckets / sizeof *h.buckets; i++) {
        seen += h.buckets[i];
        if (seen <= want && seen < h.count) continue;
        if (i < 64) return static_cast<double>(i) / 1e6;
        size_t top = i / 64 + 5;
        return static_cast<double>((1ull << top) + ((i % 64) << (top - 6)) + (1ull << (top - 6)) / 2) / 1e6;
    }
    return static_cast<double>(h.highest) / 1e6;
}
