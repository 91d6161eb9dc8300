// The bound on memory: what it is for some options, and that every option that can cost memory moves it.
#include "unit.h"

#include "memory_bound.h"

constexpr uint64_t mib = 1024 * 1024, gib = 1024 * mib;

static MemoryBound bound_of(std::initializer_list<const char *> words, unsigned threads = 1, uint64_t machine_bytes = 4 * gib) {
    const char *argv[8] = {};
    int argc = 0;
    for (const char *word : words) argv[argc++] = word;
    Options o;
    ScopedBuf error;
    bool good = options_parse(argc, (char **)argv, &o, &error);
    check(good, "%.*s", (int)error.len, error.data);
    return memory_bound(&o, threads, machine_bytes);
}

static void it_is_the_sum_of_its_parts(void **) {
    MemoryBound b = bound_of({});
    assert_int_equal(b.total, b.fixed + b.hashing + b.writing + b.idle + b.held + b.one_connection);
    assert_int_equal(b.idle, (10'000 + 512) * 1024);
    assert_true(b.hashing >= 19 * mib);
    // A connection at its worst: the longest answer that nobody takes, a body and a head.
    assert_true(b.one_connection > mib + (64 << 10) && b.one_connection < 3 * mib / 2);
    assert_true(b.total < 170 * mib);
}

static void what_costs_memory_moves_it(void **) {
    uint64_t usual = bound_of({}).total;
    const struct {
        const char *option, *less, *more;
    } rows[] = {{"--max-sockets", "100", "20000"}, {"--password-memory", "8", "64"}};
    for (auto &row : rows) {
        check(bound_of({row.option, row.less}).total < usual, "%s %s", row.option, row.less);
        check(bound_of({row.option, row.more}).total > usual, "%s %s", row.option, row.more);
    }
    assert_int_equal(bound_of({}, 4).total - usual, 3 * (19 * mib + 4096));
}

// The net keeps to it, so it must be enough for the largest that one connection may hold, several times.
static void what_connections_hold_goes_by_the_machine(void **) {
    assert_int_equal(bound_of({}).held_max, 64 * mib);
    assert_int_equal(bound_of({}, 1, 512 * mib).held_max, 32 * mib);
    assert_int_equal(bound_of({}, 1, 32 * mib).held_max, 8 * mib);
    assert_true(8 * mib > 4 * bound_of({}).one_connection);
    assert_int_equal(bound_of({}).held, 72 * mib);
}

static void a_board_can_have_a_small_one(void **) {
    MemoryBound b = bound_of({"--max-sockets", "200", "--password-memory", "8"}, 1, 128 * mib);
    assert_true(b.total < 70 * mib);
}

int main() {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_the_sum_of_its_parts),
        cmocka_unit_test(what_costs_memory_moves_it),
        cmocka_unit_test(what_connections_hold_goes_by_the_machine),
        cmocka_unit_test(a_board_can_have_a_small_one),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
