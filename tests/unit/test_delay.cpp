// Who asks too fast is heard later: each once, not before its time, and not at all when it has gone.
#include "web_world.h"

static Buf heard; // a letter for each
static ConnId ids[4];

static void note_it(ConnId id) {
    for (int i = 0; i < 4; i++)
        if (ids[i] == id) buf_add_char(heard, (char)('a' + i));
}

// Still too fast: it waits again, while the list is being gone through.
static void waits_again(ConnId id) { delay_until(id, 3000, note_it); }

static void connect_four() {
    buf_clear(heard);
    Address peer;
    assert_true(address_parse("203.0.113.5", &peer));
    for (ConnId &id : ids) id = conn_id(conn_for_test(peer, &a_tab().sent));
}

static int teardown_all(void **state) {
    buf_free(heard);
    return teardown(state);
}

static void each_is_heard_at_its_time(void **) {
    connect_four();
    assert_int_equal(delay_due_ms(), 0);
    delay_until(ids[0], 2000, note_it);
    delay_until(ids[1], 1000, note_it);
    delay_until(ids[2], 1500, note_it);
    assert_int_equal(delay_due_ms(), 1000);
    delay_turn(999);
    assert_int_equal(heard.len, 0);
    delay_turn(1500);
    check_text(buf_view(heard), "bc", "due by 1500");
    assert_int_equal(delay_due_ms(), 2000);
    delay_turn(5000);
    check_text(buf_view(heard), "bca", "all");
    assert_int_equal(delay_due_ms(), 0);
    delay_turn(9000);
    assert_int_equal(heard.len, 3);
}

static void who_has_gone_is_not_heard(void **) {
    connect_four();
    for (ConnId id : ids) delay_until(id, 1000, note_it);
    conn_abort(conn_get(ids[1]));
    delay_turn(1000);
    check_text(buf_view(heard), "acd", "without b");
}

static void one_may_have_to_wait_again(void **) {
    connect_four();
    for (int round = 0; round < 20; round++) { // the list grows while it is gone through
        delay_until(ids[round % 4], 1000, waits_again);
        delay_until(ids[round % 4], 2000, note_it);
    }
    delay_turn(1000);
    assert_int_equal(heard.len, 0);
    assert_int_equal(delay_due_ms(), 2000);
    delay_turn(2000);
    assert_int_equal(heard.len, 20);
    assert_int_equal(delay_due_ms(), 3000);
    delay_turn(3000);
    assert_int_equal(heard.len, 40);
}

int main() {
#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown_all)
    const struct CMUnitTest tests[] = {
        test(each_is_heard_at_its_time),
        test(who_has_gone_is_not_heard),
        test(one_may_have_to_wait_again),
    };
    return cmocka_run_group_tests_name("delay", tests, nullptr, nullptr);
}
