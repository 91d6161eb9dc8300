// The bound on memory: what it is for some options, and that every option that can cost memory moves it.
#include "unit.h"

#include "memory_bound.h"

static MemoryBound bound_of(std::initializer_list<const char *> words, unsigned threads = 1) {
    const char *argv[8] = {};
    int argc = 0;
    for (const char *word : words) argv[argc++] = word;
    Options o;
    ScopedBuf error;
    bool good = options_parse(argc, (char **)argv, &o, &error);
    check(good, "%.*s", (int)error.len, error.data);
    return memory_bound(&o, threads);
}

static void it_is_the_sum_of_its_parts(void **) {
    MemoryBound b = bound_of({});
    assert_int_equal(b.total, b.fixed + b.hashing + b.writing + b.connections);
    assert_int_equal(b.connections, (10'000 + 512) * b.one_connection);
    assert_true(b.hashing >= 19 << 20);
    // A connection at its worst: the longest answer that nobody takes, a body and a head.
    assert_true(b.one_connection > (1 << 20) + (64 << 10) && b.one_connection < (3 << 19));
}

static void what_costs_memory_moves_it(void **) {
    uint64_t usual = bound_of({}).total;
    const struct {
        const char *option, *less, *more;
    } rows[] = {{"--max-sockets", "100", "20000"}, {"--password-memory", "8", "64"}, {"--text-max", "100", "16000"}};
    for (auto &row : rows) {
        check(bound_of({row.option, row.less}).total < usual, "%s %s", row.option, row.less);
        check(bound_of({row.option, row.more}).total > usual, "%s %s", row.option, row.more);
    }
    assert_int_equal(bound_of({}, 4).total - usual, 3 * ((19 << 20) + 4096));
}

static void a_board_can_have_a_small_one(void **) {
    MemoryBound b = bound_of({"--max-sockets", "20", "--password-memory", "8", "--text-max", "500"});
    assert_true(b.total < uint64_t{800} << 20);
}

int main() {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_the_sum_of_its_parts),
        cmocka_unit_test(what_costs_memory_moves_it),
        cmocka_unit_test(a_board_can_have_a_small_one),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
