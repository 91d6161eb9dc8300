// Who has just come has a part of the turn: each in turn, a few at a time, nobody forgotten, and settled after a second. And who was there is served before them.
#include "web_world.h"

#include "web/newcomers.h"
#include "web/socket_internal.h"

static Buf served; // a letter for each
static ConnId ids[26];

static void note_it(ConnId id) {
    for (int i = 0; i < 26; i++)
        if (ids[i] == id) buf_add_char(served, (char)('a' + i));
}

static void come(int count, uint64_t now_ms) {
    static Buf nothing;
    Address peer;
    assert_true(address_parse("203.0.113.5", &peer));
    for (int i = 0; i < count; i++) {
        ids[i] = conn_id(conn_for_test(peer, &nothing));
        newcomers_add(ids[i], now_ms + (uint64_t)i);
    }
}

static int setup_all(void **state) {
    newcomers_free();
    return setup(state);
}

static int teardown_all(void **state) {
    buf_free(served);
    newcomers_free();
    return teardown(state);
}

static void expect(const char *letters, const char *what) {
    check_text(buf_view(served), letters, what);
    buf_clear(served);
}

static void each_has_its_turn(void **) {
    come(10, 1000);
    newcomers_serve(0, note_it);
    expect("", "without news");
    assert_false(newcomers_wait());
    newcomers_news();
    newcomers_serve(0, note_it);
    expect("abcd", "a first few");
    assert_true(newcomers_wait());
    newcomers_serve(0, note_it);
    expect("efgh", "the next");
    newcomers_news(); // more news: it goes on where it was, and all have it
    newcomers_serve(0, note_it);
    expect("ijab", "from where it was");
    newcomers_serve(UINT64_MAX, note_it);
    expect("cdefgh", "with time for all");
    assert_false(newcomers_wait());
}

static void after_a_second_they_are_settled(void **) {
    come(6, 1000);
    newcomers_settle(1000 + newcomer_ms - 1, note_it);
    expect("", "too early");
    newcomers_news();
    newcomers_serve(0, note_it);
    expect("abcd", "a first few");
    newcomers_settle(1000 + newcomer_ms + 2, note_it);
    expect("abc", "the first of them");
    newcomers_serve(UINT64_MAX, note_it);
    assert_non_null(memchr(served.data, 'e', served.len)); // some may be looked at twice, but nobody is left out
    assert_non_null(memchr(served.data, 'f', served.len));
    buf_clear(served);
    newcomers_settle(1000 + 2 * newcomer_ms, note_it);
    expect("def", "the rest");
    newcomers_news();
    assert_false(newcomers_wait());
}

static void who_has_gone_takes_no_place(void **) {
    come(3, 1000);
    conn_abort(conn_get(ids[1]));
    newcomers_news();
    for (int i = 0; i < 1000; i++) newcomers_add(ids[1], 1000); // each time room is made, these go
    newcomers_add(ids[0], 1000);
    newcomers_serve(UINT64_MAX, note_it);
    assert_true(served.len < 130);
    assert_non_null(memchr(served.data, 'c', served.len));
    buf_clear(served);
    newcomers_settle(1000 + newcomer_ms * 2, note_it);
    expect("aca", "only those who are there");
}

// A message goes first to who was there, even if it is the newcomer's own; and the newcomer has it in the same turn when there is time. All write into one
// buffer here, so that the order is seen, and only who asked has the ref in its frame.
static void who_was_there_is_first(void **) {
    Tab &a = a_tab();
    open_tab(a, tokens[0]);
    until_has(a, "\"ready\"");
    static_cast<Socket *>(conn_owner(conn_get(a.id)))->newcomer = false; // as after a second
    Tab &b = a_tab();
    online(b, tokens[1]);
    assert_true(static_cast<Socket *>(conn_owner(conn_get(b.id)))->newcomer);
    conn_get(b.id)->sent = &a.sent;
    for (int i = 0; i < 4; i++) { // who is served first among equals rotates
        char text[80], plain[64], mine[64];
        snprintf(text, sizeof text, R"({"type":"message","text":"hello %d","ref":"r%d"})", i, i);
        snprintf(plain, sizeof plain, R"("text":"hello %d",)", i);
        snprintf(mine, sizeof mine, R"("ref":"r%d")", i);
        say(b, text);
        until([&] { return count_of(a, plain) == 2; }, plain);
        ScopedBuf frames;
        frames_of(a, frames);
        std::string_view all = buf_view(frames);
        all.remove_prefix(all.find(plain));
        check(all.find(plain, 1) < all.find(mine), "the newcomer was served first: %.*s", (int)all.size(), all.data());
    }
}

int main() {
#define test(name) cmocka_unit_test_setup_teardown(name, setup_all, teardown_all)
    const struct CMUnitTest tests[] = {
        test(each_has_its_turn),
        test(after_a_second_they_are_settled),
        test(who_has_gone_takes_no_place),
        test(who_was_there_is_first),
    };
    return cmocka_run_group_tests_name("newcomers", tests, nullptr, nullptr);
}
