// Worker: jobs in order, completions on the loop's thread, the bound of the queue, stopping with work left.
#include "unit.h"

#include <dirent.h>
#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>
#include <uv.h>

#include "base/worker.h"

struct Numbered : Job {
    int number = 0;
    pthread_t worked_on{};
};

static int worked[200], worked_count, finished[200], finished_count;
static pthread_t loop_thread;
static bool right_threads;

static void forget() {
    worked_count = finished_count = 0;
    loop_thread = pthread_self();
    right_threads = true;
}

static void number_work(Job *job) {
    Numbered *numbered = static_cast<Numbered *>(job);
    numbered->worked_on = pthread_self();
    worked[__atomic_fetch_add(&worked_count, 1, __ATOMIC_SEQ_CST)] = numbered->number;
}

static void number_done(Job *job) {
    Numbered *numbered = static_cast<Numbered *>(job);
    right_threads = right_threads && pthread_equal(pthread_self(), loop_thread) && !pthread_equal(numbered->worked_on, loop_thread);
    finished[finished_count++] = numbered->number;
}

static void number_jobs(Numbered *jobs, int count) {
    for (int i = 0; i < count; i++) {
        jobs[i].number = i;
        jobs[i].work = number_work;
        jobs[i].done = number_done;
    }
}

static void close_all(uv_loop_t *loop) {
    assert_int_equal(uv_run(loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(loop), 0);
}

static int threads_now() {
    int count = 0;
    DIR *tasks = opendir("/proc/self/task");
    while (readdir(tasks)) count++;
    closedir(tasks);
    return count;
}

static void threads_start_with_the_first_job_or_when_told(void **) {
    uv_loop_t loop;
    uv_loop_init(&loop);
    int before = threads_now();
    Worker *one = worker_start(&loop, 1, 1), *two = worker_start(&loop, 2, 1);
    assert_int_equal(threads_now(), before);
    Job job;
    job.work = job.done = [](Job *) {};
    assert_true(worker_submit(one, &job));
    assert_int_equal(threads_now(), before + 1);
    assert_true(workers_begin());
    assert_true(workers_begin());
    assert_int_equal(threads_now(), before + 3);
    worker_stop(one);
    worker_stop(two);
    close_all(&loop);
    assert_int_equal(threads_now(), before);
}

struct Priority : Job {
    int nice = 0;
};

static void threads_give_way_by_three() {
    uv_loop_t loop;
    uv_loop_init(&loop);
    Worker *worker = worker_start(&loop, 1, 1, 3);
    assert_non_null(worker);
    Priority job;
    job.work = [](Job *j) { static_cast<Priority *>(j)->nice = getpriority(PRIO_PROCESS, (id_t)gettid()); };
    job.done = [](Job *) {};
    assert_true(worker_submit(worker, &job));
    uv_run(&loop, UV_RUN_DEFAULT);
    int mine = getpriority(PRIO_PROCESS, (id_t)gettid()); // the loop's has not changed
    assert_int_equal(job.nice, mine + 3 > 19 ? 19 : mine + 3);
    worker_stop(worker);
    close_all(&loop);
}

static void threads_may_give_way(void **) { threads_give_way_by_three(); }

// From -3 it goes to 0, which is a number like others.
static void threads_of_the_preferred_give_way_too(void **) {
    int mine = getpriority(PRIO_PROCESS, 0);
    if (setpriority(PRIO_PROCESS, 0, -3) != 0) skip(); // that needs a privilege
    threads_give_way_by_three();
    assert_int_equal(setpriority(PRIO_PROCESS, 0, mine), 0);
}

static void one_thread_keeps_the_order(void **) {
    forget();
    uv_loop_t loop;
    uv_loop_init(&loop);
    Worker *worker = worker_start(&loop, 1, 200);
    assert_non_null(worker);
    Numbered jobs[100];
    number_jobs(jobs, 100);
    for (Numbered &job : jobs) assert_true(worker_submit(worker, &job));
    assert_int_equal(finished_count, 0); // never from inside worker_submit
    uv_run(&loop, UV_RUN_DEFAULT);       // the loop lives as long as jobs are under way, and no longer
    assert_int_equal(finished_count, 100);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(worked[i], i);
        assert_int_equal(finished[i], i);
    }
    assert_true(right_threads);
    assert_int_equal(worker_waiting(worker), 0);
    worker_stop(worker);
    close_all(&loop);
}

static void many_threads_do_each_once(void **) {
    forget();
    uv_loop_t loop;
    uv_loop_init(&loop);
    Worker *worker = worker_start(&loop, 4, 200);
    Numbered jobs[150];
    number_jobs(jobs, 150);
    for (Numbered &job : jobs) assert_true(worker_submit(worker, &job));
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(finished_count, 150);
    bool seen[150] = {};
    for (int i = 0; i < 150; i++) seen[finished[i]] = true;
    for (bool s : seen) assert_true(s);
    assert_true(right_threads);
    worker_stop(worker);
    close_all(&loop);
}

static uv_sem_t gate, entered;

static void gate_work(Job *job) {
    uv_sem_post(&entered);
    uv_sem_wait(&gate);
    number_work(job);
}

static void a_full_queue_refuses(void **) {
    forget();
    uv_sem_init(&gate, 0);
    uv_sem_init(&entered, 0);
    uv_loop_t loop;
    uv_loop_init(&loop);
    Worker *worker = worker_start(&loop, 1, 3);
    Numbered jobs[6];
    number_jobs(jobs, 6);
    jobs[0].work = gate_work;
    assert_true(worker_submit(worker, &jobs[0]));
    uv_sem_wait(&entered); // the thread is busy now, its job waits no more
    assert_int_equal(worker_waiting(worker), 0);
    for (int i = 1; i <= 3; i++) assert_true(worker_submit(worker, &jobs[i]));
    assert_int_equal(worker_waiting(worker), 3);
    assert_false(worker_submit(worker, &jobs[4]));
    assert_int_equal(worker_waiting(worker), 3);
    uv_sem_post(&gate);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(finished_count, 4); // the refused one neither ran nor completed
    assert_true(worker_submit(worker, &jobs[5]));
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(finished[4], 5);
    worker_stop(worker);
    close_all(&loop);
    uv_sem_destroy(&gate);
    uv_sem_destroy(&entered);
}

static void stopping_finishes_what_is_queued(void **) {
    forget();
    uv_loop_t loop;
    uv_loop_init(&loop);
    Worker *worker = worker_start(&loop, 2, 100);
    Numbered jobs[50];
    number_jobs(jobs, 50);
    for (Numbered &job : jobs) assert_true(worker_submit(worker, &job));
    worker_stop(worker);
    assert_int_equal(finished_count, 50); // before it returned
    assert_true(right_threads);
    close_all(&loop);
}

static Worker *again_worker;
static Numbered again_jobs[5];
static bool again_taken;

static void again_done(Job *job) {
    number_done(job);
    int next = static_cast<Numbered *>(job)->number + 1;
    if (next < 5) again_taken = worker_submit(again_worker, &again_jobs[next]);
}

static void a_completion_may_submit(void **) {
    forget();
    uv_loop_t loop;
    uv_loop_init(&loop);
    again_worker = worker_start(&loop, 1, 1);
    number_jobs(again_jobs, 5);
    for (Numbered &job : again_jobs) job.done = again_done;
    assert_true(worker_submit(again_worker, &again_jobs[0]));
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(finished_count, 5);
    // While it stops, it takes nothing new.
    forget();
    assert_true(worker_submit(again_worker, &again_jobs[0]));
    worker_stop(again_worker);
    assert_int_equal(finished_count, 1);
    assert_false(again_taken);
    close_all(&loop);
}

int main() {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_thread_keeps_the_order),
        cmocka_unit_test(threads_start_with_the_first_job_or_when_told), cmocka_unit_test(threads_may_give_way), cmocka_unit_test(threads_of_the_preferred_give_way_too), cmocka_unit_test(many_threads_do_each_once), cmocka_unit_test(a_full_queue_refuses),
        cmocka_unit_test(stopping_finishes_what_is_queued), cmocka_unit_test(a_completion_may_submit),
    };
    return cmocka_run_group_tests_name("worker", tests, nullptr, nullptr);
}
