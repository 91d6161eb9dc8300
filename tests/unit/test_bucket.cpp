// Token buckets, with a clock of our own: bursts, refilling, honest waiting times, and the notation of the options.
#include "unit.h"

#include "base/bucket.h"

static void spends_and_refills(void **) {
    Rate rate{3, 2}; // three at once, then one every half second
    Bucket b;
    uint64_t t = 1'000'000;
    for (int i = 0; i < 3; i++) assert_int_equal(bucket_take(b, rate, t), 0);
    uint32_t wait = bucket_take(b, rate, t);
    assert_in_range(wait, 500, 501);
    assert_in_range(bucket_take(b, rate, t + 100), 400, 401); // asking costs nothing
    assert_true(bucket_take(b, rate, t + 490) != 0);
    assert_int_equal(bucket_take(b, rate, t + wait), 0); // what it said was true
    assert_true(bucket_take(b, rate, t + wait) != 0);
    t += 1'000'000; // a long rest fills it, and no further
    for (int i = 0; i < 3; i++) assert_int_equal(bucket_take(b, rate, t), 0);
    assert_true(bucket_take(b, rate, t) != 0);
}

static void the_wait_it_names_is_enough(void **) {
    static const Rate rates[] = {{1, 0.0001}, {10, 10.0 / 60}, {20, 5}, {100, 50}, {1, 1000}, {1'000'000, 0.3}};
    for (const Rate &rate : rates) {
        Bucket b;
        uint64_t t = 12345;
        assert_int_equal(bucket_take(b, rate, t, (float)rate.burst), 0);
        for (int i = 0; i < 50; i++) {
            uint32_t wait = bucket_take(b, rate, t);
            check(wait > 0, "%u/%g: nothing to wait for at step %d", rate.burst, rate.per_second, i);
            t += wait;
            check(bucket_take(b, rate, t) == 0, "%u/%g: %u ms were not enough", rate.burst, rate.per_second, wait);
        }
    }
}

static void never_gives_more_than_promised(void **) {
    Rate rate{20, 5};
    Bucket b;
    unsigned taken = 0;
    for (uint64_t t = 1; t <= 100'000; t += 7) taken += bucket_take(b, rate, t) == 0;
    assert_in_range(taken, 20 + 5 * 100 - 10, 20 + 5 * 100 + 1);
}

static void no_limit_is_no_limit(void **) {
    Bucket b;
    for (int i = 0; i < 100000; i++) assert_int_equal(bucket_take(b, Rate{}, 5), 0);
}

static void weighs_by_cost(void **) {
    Rate rate{10, 1};
    Bucket b;
    assert_int_equal(bucket_take(b, rate, 100, 8), 0);
    assert_in_range(bucket_take(b, rate, 100, 4), 2000, 2001);
    assert_int_equal(bucket_take(b, rate, 100, 2), 0);
    assert_int_equal(bucket_take(b, rate, 10'101, 1000), 0); // more than the burst: all of it, not never
    assert_true(bucket_take(b, rate, 10'101) != 0);
}

static void odd_clocks_do_no_harm(void **) {
    Rate rate{2, 1};
    Bucket b;
    assert_int_equal(bucket_take(b, rate, 0), 0);
    assert_int_equal(bucket_take(b, rate, 0), 0);
    assert_true(bucket_take(b, rate, 0) != 0); // time 0 is not "never used"
    Bucket c;
    for (int i = 0; i < 2; i++) assert_int_equal(bucket_take(c, rate, 5000), 0);
    assert_true(bucket_take(c, rate, 4000) != 0); // backwards: no tokens out of nothing
    Rate once{2, 0};
    Bucket d;
    for (int i = 0; i < 2; i++) assert_int_equal(bucket_take(d, once, 1), 0);
    assert_true(bucket_take(d, once, UINT64_MAX) > 1'000'000);
}

static void is_small(void **) { assert_int_equal(sizeof(Bucket), 16); }

static void parses(void **) {
    static const struct {
        const char *text;
        bool ok;
        uint32_t burst;
        double per_second;
    } rows[] = {
        {"off", true, 0, 0},
        {"20/5", true, 20, 5},
        {"1/0.5", true, 1, 0.5},
        {"100/50.25", true, 100, 50.25},
        {"1000000/1000000", true, 1000000, 1000000},
        {"", false, 0, 0},
        {"OFF", false, 0, 0},
        {"off ", false, 0, 0},
        {"20", false, 0, 0},
        {"20/", false, 0, 0},
        {"/5", false, 0, 0},
        {"0/5", false, 0, 0},
        {"5/0", false, 0, 0},
        {"5/0.0", false, 0, 0},
        {"-1/5", false, 0, 0},
        {"5/-1", false, 0, 0},
        {"5/1.", false, 0, 0},
        {"5/.5", false, 0, 0},
        {"5/1e3", false, 0, 0},
        {"5/1x", false, 0, 0},
        {" 5/1", false, 0, 0},
        {"5 / 1", false, 0, 0},
        {"1000001/1", false, 0, 0},
        {"99999999999999999999/1", false, 0, 0},
        {"1/99999999999999999999", false, 0, 0},
        {"1/0.00000000000001", false, 0, 0},
        {"5/nan", false, 0, 0},
        {"5/inf", false, 0, 0},
    };
    for (auto &row : rows) {
        Rate rate{77, 77};
        bool ok = rate_parse(row.text, &rate);
        check(ok == row.ok, "%s: %d", row.text, ok);
        if (ok) check(rate.burst == row.burst && rate.per_second == row.per_second, "%s: %u/%g", row.text, rate.burst, rate.per_second);
        else check(rate.burst == 77, "%s changed the result", row.text);
    }
}

int main() {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spends_and_refills),  cmocka_unit_test(the_wait_it_names_is_enough), cmocka_unit_test(never_gives_more_than_promised),
        cmocka_unit_test(no_limit_is_no_limit), cmocka_unit_test(weighs_by_cost),             cmocka_unit_test(odd_clocks_do_no_harm),
        cmocka_unit_test(is_small),            cmocka_unit_test(parses),
    };
    return cmocka_run_group_tests_name("bucket", tests, nullptr, nullptr);
}
