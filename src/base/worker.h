// Worker: one thread with a bounded queue of jobs, in order; each job's completion runs on the loop. For what may take long: Argon2id, reading
// the store. libuv's threads behind this door, and an eventfd.
#pragma once

#include <stdint.h>

struct Worker;
struct uv_loop_s;

// A job is embedded in its owner's structure. `work` runs on the thread, `done` afterwards on the loop; the owner frees it in or after `done`.
struct Job {
    Job *next = nullptr;
    void (*work)(Job *) = nullptr;
    void (*done)(Job *) = nullptr;
};

// threads ≥ 1 (more: jobs finish in any order), queue_max jobs wait at most. nice: how far the threads give way to the loop (setpriority).
// They start with the first job or with workers_begin, since a server's first answer needs none of them. Null when there is no memory for it.
Worker *worker_start(uv_loop_s *loop, unsigned threads, uint32_t queue_max, int nice = 0);
// Starts the threads of all workers that have none yet. False when one could not be started: is the memory limit too low?
[[nodiscard]] bool workers_begin();
// False when the queue is full, or no thread can be started: nothing was taken, `done` will not run.
[[nodiscard]] bool worker_submit(Worker *worker, Job *job);
uint32_t worker_waiting(const Worker *worker);
// Stops when what is queued is done; runs the outstanding completions before it returns. Loop thread. The loop must run once more for the handle to close.
void worker_stop(Worker *worker);
