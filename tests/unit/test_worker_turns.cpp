// Completions share the loop: however many have finished, and however long each takes, the loop comes round between them.
#include "unit.h"

#include <uv.h>

#include "base/clock.h"
#include "base/worker.h"

static uv_prepare_t prepare;
static Worker *worker;
static uint32_t completed, completed_before, most_in_a_turn;

static void one_turn(uv_prepare_t *) {
    if (completed - completed_before > most_in_a_turn) most_in_a_turn = completed - completed_before;
    completed_before = completed;
}

static void slow_done(Job *) {
    uint64_t until = clock_us() + 1'000;
    while (clock_us() < until) {}
    completed++;
}

static void a_crowd_of_completions_leaves_room(void **) {
    constexpr uint32_t all = 40;
    static Job jobs[all];
    uv_loop_t loop;
    assert_int_equal(uv_loop_init(&loop), 0);
    worker = worker_start(&loop, 1, all);
    assert_non_null(worker);
    for (Job &job : jobs) {
        job.work = [](Job *) {};
        job.done = slow_done;
        assert_true(worker_submit(worker, &job));
    }
    usleep(50'000); // all have finished, or nearly, when the loop begins
    uv_prepare_init(&loop, &prepare);
    uv_prepare_start(&prepare, one_turn);
    uv_unref((uv_handle_t *)&prepare);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(completed, all);
    assert_true(most_in_a_turn > 0 && most_in_a_turn <= 4);
    worker_stop(worker);
    uv_close((uv_handle_t *)&prepare, nullptr);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
}

// And however slow the loop is, what is done does not pile up: the threads wait for it. The stop does not.
static void results_do_not_pile_up(void **) {
    constexpr uint32_t all = 60;
    static Job jobs[all];
    static uint32_t worked, told;
    uv_loop_t loop;
    assert_int_equal(uv_loop_init(&loop), 0);
    for (unsigned threads : {1u, 3u}) {
        worked = told = 0;
        worker = worker_start(&loop, threads, all);
        assert_non_null(worker);
        for (Job &job : jobs) {
            job.work = [](Job *) { __atomic_add_fetch(&worked, 1, __ATOMIC_SEQ_CST); };
            job.done = [](Job *) { told++; };
            assert_true(worker_submit(worker, &job));
        }
        for (int i = 0; i < 10'000 && !__atomic_load_n(&worked, __ATOMIC_SEQ_CST); i++) usleep(1'000); // a busy machine starts threads late
        usleep(30'000);
        uint32_t ahead = __atomic_load_n(&worked, __ATOMIC_SEQ_CST);
        check(ahead >= 1 && ahead <= 8 + threads, "%u results wait", ahead);
        while (told < 30) uv_run(&loop, UV_RUN_ONCE);
        worker_stop(worker);
        assert_int_equal(told, all);
        uv_run(&loop, UV_RUN_DEFAULT);
    }
    assert_int_equal(uv_loop_close(&loop), 0);
}

int main() {
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_crowd_of_completions_leaves_room), cmocka_unit_test(results_do_not_pile_up)};
    return cmocka_run_group_tests_name("worker_turns", tests, nullptr, nullptr);
}
