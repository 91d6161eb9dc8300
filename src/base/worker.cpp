// Worker threads. Owns the list of workers, and each its threads, its queue's list and the eventfd that wakes the loop; jobs belong to their owners. The lists are guarded by one mutex,
// held for a few instructions; `outstanding` and all calls of the header belong to the loop thread.
//
// Why no uv_async_t: to wake the loop is a system call, in which a thread that gives way (nice) loses its core to the loop that it wakes. With uv_async_t the loop then
// spins until that thread has had its core again (libuv's uv__async_spin), behind everybody else on the machine: a hundred milliseconds were seen.
// So nothing is held here while the loop is woken, and there is nothing that the loop would wait for.
#include "base/worker.h"

#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>
#include <uv.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/clock.h"

namespace {

constexpr uint32_t finished_max = 8; // results that wait for the loop: with the largest pages that is a megabyte
constexpr uint64_t completions_us_max = 2'000; // then the loop has a turn
constexpr size_t stack_bytes = 512 * 1024; // SQLite and Argon2id need far less; the default of 8 MB fails under a tight RLIMIT_AS

struct JobList {
    Job *first = nullptr;
    Job *last = nullptr;
};

void joblist_push(JobList &list, Job *job) {
    job->next = nullptr;
    if (list.last != nullptr) list.last->next = job;
    else list.first = job;
    list.last = job;
}

Job *joblist_pop(JobList &list) {
    Job *job = list.first;
    if (job == nullptr) return nullptr;
    list.first = job->next;
    if (list.first == nullptr) list.last = nullptr;
    job->next = nullptr;
    return job;
}

} // namespace

struct Worker {
    uv_poll_t ready;
    int ready_fd;
    uv_mutex_t mutex;
    uv_cond_t wake; // a job, or the end
    uv_cond_t room; // results have been taken, or the end
    Worker *next;         // of all that there are
    uv_thread_t *threads;
    unsigned threads_max, threads_count;
    uint32_t queue_max;
    int nice;             // of its threads, if they give way, not of the process
    bool gives_way;
    uint32_t outstanding; // submitted and not yet completed; while there are any, the loop is kept alive
    uint32_t waiting;     // guarded by the mutex from here on
    bool stopping;
    JobList queue;
    JobList finished;
    uint32_t finished_count;
};

namespace {

Worker *workers;

// Its counter cannot be full: it is at most as high as there are jobs.
void wake_loop(Worker *worker) { (void)eventfd_write(worker->ready_fd, 1); }

void worker_run(void *argument) {
    Worker *worker = (Worker *)argument;
    // Of this thread alone, as Linux has it; where it is refused the work is done all the same.
    if (worker->gives_way) (void)setpriority(PRIO_PROCESS, 0, worker->nice);
    uv_mutex_lock(&worker->mutex);
    for (;;) {
        // Whatever waits in the queue is small; what comes of it need not be, and the loop may be slower than the threads.
        if (worker->finished_count >= finished_max && !worker->stopping) {
            uv_cond_wait(&worker->room, &worker->mutex);
            continue;
        }
        Job *job = joblist_pop(worker->queue);
        if (job == nullptr) {
            if (worker->stopping) break;
            uv_cond_wait(&worker->wake, &worker->mutex);
            continue;
        }
        worker->waiting--;
        uv_mutex_unlock(&worker->mutex);
        job->work(job);
        uv_mutex_lock(&worker->mutex);
        joblist_push(worker->finished, job);
        // The loop has been woken for those before it, and takes all that it finds.
        if (worker->finished_count++ > 0) continue;
        uv_mutex_unlock(&worker->mutex);
        wake_loop(worker);
        uv_mutex_lock(&worker->mutex);
    }
    uv_mutex_unlock(&worker->mutex);
}

Job *worker_next_finished(Worker *worker) {
    uv_mutex_lock(&worker->mutex);
    Job *job = joblist_pop(worker->finished);
    if (job != nullptr && worker->finished_count-- == finished_max) uv_cond_broadcast(&worker->room);
    uv_mutex_unlock(&worker->mutex);
    return job;
}

// True when all that is finished has been completed; false when the time was used up before.
bool worker_complete(Worker *worker, uint64_t us_max) {
    uint64_t begin = clock_us();
    while (Job *job = worker_next_finished(worker)) {
        CB_ASSERT(worker->outstanding > 0);
        if (--worker->outstanding == 0) uv_unref((uv_handle_t *)&worker->ready);
        job->done(job);
        if (clock_us() - begin > us_max) return false;
    }
    return true;
}

// A completion may encode and deflate a page: sixty at once would keep everybody's messages waiting for half a second.
void worker_on_ready(uv_poll_t *ready, int, int) {
    Worker *worker = (Worker *)ready->data;
    eventfd_t count;
    (void)eventfd_read(worker->ready_fd, &count); // before looking: what is finished afterwards wakes it anew
    if (!worker_complete(worker, completions_us_max)) wake_loop(worker);
}

bool worker_begin(Worker *worker) {
    uv_thread_options_t options = {};
    options.flags = UV_THREAD_HAS_STACK_SIZE;
    options.stack_size = stack_bytes;
    while (worker->threads_count < worker->threads_max) {
        if (uv_thread_create_ex(&worker->threads[worker->threads_count], &options, worker_run, worker) != 0) return false;
        worker->threads_count++;
    }
    return true;
}

void worker_on_closed(uv_handle_t *handle) {
    Worker *worker = (Worker *)handle->data;
    close(worker->ready_fd);
    uv_cond_destroy(&worker->wake);
    uv_cond_destroy(&worker->room);
    uv_mutex_destroy(&worker->mutex);
    free(worker->threads);
    free(worker);
}

} // namespace

Worker *worker_start(uv_loop_s *loop, unsigned threads, uint32_t queue_max, int nice) {
    CB_ASSERT(threads >= 1);
    Worker *worker = (Worker *)mem_zero(sizeof(Worker));
    worker->queue_max = queue_max;
    worker->gives_way = nice != 0;
    worker->nice = worker->gives_way ? getpriority(PRIO_PROCESS, 0) + nice : 0;
    worker->threads_max = threads;
    worker->threads = (uv_thread_t *)mem_zero(threads * sizeof(uv_thread_t));
    bool mutex_made = uv_mutex_init(&worker->mutex) == 0;
    bool wake_made = mutex_made && uv_cond_init(&worker->wake) == 0;
    bool room_made = wake_made && uv_cond_init(&worker->room) == 0;
    worker->ready_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (!room_made || worker->ready_fd < 0 || uv_poll_init(loop, &worker->ready, worker->ready_fd) != 0) {
        if (worker->ready_fd >= 0) close(worker->ready_fd);
        if (room_made) uv_cond_destroy(&worker->room);
        if (wake_made) uv_cond_destroy(&worker->wake);
        if (mutex_made) uv_mutex_destroy(&worker->mutex);
        free(worker->threads);
        free(worker);
        return nullptr;
    }
    worker->ready.data = worker;
    (void)uv_poll_start(&worker->ready, UV_READABLE, worker_on_ready); // fails only on a handle that closes
    uv_unref((uv_handle_t *)&worker->ready);
    worker->next = workers;
    return workers = worker;
}

bool workers_begin() {
    for (Worker *worker = workers; worker; worker = worker->next)
        if (!worker_begin(worker)) return false;
    return true;
}

bool worker_submit(Worker *worker, Job *job) {
    CB_ASSERT(job->work != nullptr && job->done != nullptr);
    // Fewer than wanted can do the work too.
    if (!worker_begin(worker) && worker->threads_count == 0) return false;
    uv_mutex_lock(&worker->mutex);
    bool taken = !worker->stopping && worker->waiting < worker->queue_max;
    if (taken) {
        joblist_push(worker->queue, job);
        worker->waiting++;
        uv_cond_signal(&worker->wake);
    }
    uv_mutex_unlock(&worker->mutex);
    if (taken && worker->outstanding++ == 0) uv_ref((uv_handle_t *)&worker->ready);
    return taken;
}

uint32_t worker_waiting(const Worker *worker) {
    uv_mutex_t *mutex = const_cast<uv_mutex_t *>(&worker->mutex);
    uv_mutex_lock(mutex);
    uint32_t waiting = worker->waiting;
    uv_mutex_unlock(mutex);
    return waiting;
}

void worker_stop(Worker *worker) {
    Worker **at = &workers;
    while (*at != worker) at = &(*at)->next;
    *at = worker->next;
    uv_mutex_lock(&worker->mutex);
    worker->stopping = true;
    uv_cond_broadcast(&worker->wake);
    uv_cond_broadcast(&worker->room);
    uv_mutex_unlock(&worker->mutex);
    for (unsigned i = 0; i < worker->threads_count; i++) {
        int failed = uv_thread_join(&worker->threads[i]);
        CB_ASSERT(failed == 0);
    }
    (void)worker_complete(worker, UINT64_MAX);
    CB_ASSERT(worker->outstanding == 0);
    uv_close((uv_handle_t *)&worker->ready, worker_on_closed);
}
