// What of src/base looks at the world: the clocks, random numbers, worker threads. Here they are the seed's. Also the seed's numbers and the trace.
#include "sim.h"

#include "base/clock.h"
#include "base/crypto.h"
#include "base/worker.h"
#include "sim_store.h"
#include "version.h"

#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

Sim sim;

// --- numbers: splitmix64

static uint64_t state;

static uint64_t draw() {
    uint64_t z = (state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint32_t below(uint32_t bound) { return bound ? (uint32_t)(((draw() >> 32) * bound) >> 32) : 0; }

void sim_begin(uint64_t seed) {
    bool is_verbose = sim.is_verbose;
    sim = {};
    sim.seed = seed;
    sim.is_verbose = is_verbose;
    sim.now_us = 1'000'000'000;
    state = seed * 0x2545f4914f6cdd1du + 1;
}

// libsodium's numbers too: tokens, epochs and the key of keyed_hash are the seed's.
static const char *sodium_name() { return "seed"; }
static uint32_t sodium_random() { return (uint32_t)draw(); }
static void sodium_fill(void *const out, const size_t n) {
    auto *at = static_cast<unsigned char *>(out);
    for (size_t i = 0; i < n; i++) at[i] = (unsigned char)draw();
}
static randombytes_implementation sodium_numbers = {
    .implementation_name = sodium_name, .random = sodium_random, .stir = nullptr, .uniform = nullptr, .buf = sodium_fill, .close = nullptr};

void sim_crypto_start() {
    randombytes_set_implementation(&sodium_numbers);
    promise(crypto_start(), "crypto");
}

// --- clocks

uint64_t clock_us() { return ++sim.now_us; }
uint64_t clock_ms() { return sim.now_us / 1000; }
int64_t clock_wall_ms() { return (int64_t)CB_BUILD_DATE_MS + 86'400'000 + (int64_t)(sim.now_us / 1000) + sim.wall_offset_ms; }
bool clock_is_set() { return true; }

// --- workers: a job is done at some later turn

struct Worker {
    Job *first, *last;
    uint32_t waiting, most;
};
static Worker *the_worker;

Worker *worker_start(uv_loop_s *, unsigned, uint32_t queue_max, int) {
    auto *w = static_cast<Worker *>(mem_zero(sizeof(Worker)));
    w->most = queue_max;
    return the_worker = w;
}

bool workers_begin() { return true; }

bool worker_submit(Worker *w, Job *job) {
    if (w->waiting >= w->most) return false;
    job->next = nullptr;
    if (w->last) w->last->next = job;
    else w->first = job;
    w->last = job;
    w->waiting++;
    return true;
}

uint32_t worker_waiting(const Worker *w) { return w->waiting; }

void worker_stop(Worker *w) {
    if (the_worker == w) the_worker = nullptr;
    while (w->first) {
        Job *job = w->first;
        w->first = job->next;
        job->work(job);
        job->done(job);
    }
    free(w);
}

void sim_worker_poll() {
    Worker *w = the_worker;
    while (w && w->first && (sim.is_healing || chance(500))) {
        Job *job = w->first;
        w->first = job->next;
        if (!w->first) w->last = nullptr;
        w->waiting--;
        job->work(job);
        job->done(job);
    }
}

bool sim_worker_idle() { return !the_worker || !the_worker->first; }

// --- the trace

constexpr uint32_t lines_kept = 48;
static char lines[lines_kept][240];
static uint32_t lines_count;

void trace(const char *format, ...) {
    char *line = lines[lines_count++ % lines_kept];
    int at = snprintf(line, 40, "%5u %9.3f  ", sim.step, (double)sim.now_us / 1e6 - 1000);
    va_list args;
    va_start(args, format);
    vsnprintf(line + at, sizeof lines[0] - (size_t)at, format, args);
    va_end(args);
    if (sim.is_verbose) printf("%s\n", line);
}

void breach(const char *format, ...) {
    fflush(stdout);
    if (!sim.is_verbose)
        for (uint32_t i = lines_count > lines_kept ? lines_count - lines_kept : 0; i < lines_count; i++) fprintf(stderr, "  %s\n", lines[i % lines_kept]);
    fprintf(stderr, "seed %llu, step %u: ", (unsigned long long)sim.seed, sim.step);
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\n");
    fflush(stderr);
    _exit(3);
}
