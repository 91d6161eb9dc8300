// The security events of the log: what a line says, and that a flood is told in a few lines and counted, from however many addresses it comes.
#include "catch_log.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "web/audit.h"

static Address address(const char *text) {
    Address a;
    check(address_parse(text, &a), "%s", text);
    return a;
}

static uint32_t count(std::string_view text, std::string_view part) {
    uint32_t n = 0;
    for (size_t at = 0; (at = text.find(part, at)) != text.npos; at++) n++;
    return n;
}

// All lines without their times.
static std::string_view without_times(std::string_view text) {
    static char kept[sizeof caught];
    size_t length = 0;
    while (!text.empty()) {
        size_t end = text.find('\n') + 1;
        length += text.substr(25, end - 25).copy(kept + length, sizeof kept - length);
        text.remove_prefix(end);
    }
    return {kept, length};
}

static void a_minute_later() { audit_turn(clock_ms() + audit_window_ms); }

static void a_line_says_what_who_where_and_why(void **) {
    std::string_view text = without_times(catch_log([] {
        audit(Audit::login, address("203.0.113.5"), "alice", "session %d", 7);
        audit(Audit::login_refused, address("2001:db8::5"), {}, "%s", "bad_credentials");
        audit(Audit::logout, address("203.0.113.5"), "alice", "not at this level");
        audit(Audit::stop_words, {}, "Émile", "3 warnings");
        audit(Audit::command, {.is_unix = true}, "bob", "uid %d: %s", 0, "bob is blocked");
        audit(Audit::host_refused, address("203.0.113.5"), {}, "Host %s", "a\nsecurity: login granted: root from 127.0.0.1: \x1b[2J");
    }));
    check_text(text, "info  security: login granted: alice from 203.0.113.5: session 7\n"
                     "warn  security: login refused: - from 2001:db8::5: bad_credentials\n"
                     "warn  security: blocked by stop words: Émile from an address that has gone: 3 warnings\n"
                     "info  security: command: bob from unix: uid 0: bob is blocked\n"
                     "warn  security: host refused: - from 203.0.113.5: Host a\\u000asecurity: login granted: root from 127.0.0.1: \\u001b[2J\n", "lines");
    ScopedBuf longer;
    for (int i = 0; i < 2000; i++) buf_add_char(longer, 'x');
    assert_int_equal(audit_cut(buf_view(longer)).size(), 100);
    buf_add_char(longer, '\0');
    assert_true(catch_log([&] { audit(Audit::origin_refused, address("203.0.113.5"), {}, "%s", longer.data); }).size() < 600);
}

static void a_flood_is_counted(void **) {
    std::string_view text = catch_log([] {
        for (int i = 0; i < 500; i++) audit(Audit::login_refused, address("203.0.113.5"), "alice", "bad_credentials");
    });
    assert_int_equal(count(text, "\n"), 3);
    assert_int_equal(catch_log([] { audit_turn(audit_due_ms() - 1); }).size(), 0);
    text = without_times(catch_log(a_minute_later));
    check_text(text, "warn  security: login refused: 497 more from 203.0.113.5 within a minute\n", "one line for the rest");
    assert_int_equal(audit_due_ms(), 0);
    assert_int_equal(catch_log(a_minute_later).size(), 0);
    // Whoever keeps to the measure is told at once, each time, and nothing is left to tell.
    text = catch_log([] {
        for (int i = 0; i < 3; i++) audit(Audit::login_refused, address("203.0.113.5"), "alice", "bad_credentials");
    });
    assert_int_equal(count(text, "\n"), 3);
    assert_int_equal(catch_log(a_minute_later).size(), 0);
}

static void each_kind_and_address_has_its_own(void **) {
    std::string_view text = catch_log([] {
        for (int i = 0; i < 10; i++)
            for (const char *from : {"203.0.113.5", "203.0.113.6", "2001:db8:1:2::5", "2001:db8:1:2:ffff::5", "2001:db8:1:3::5"})
                for (Audit what : {Audit::login_refused, Audit::forbidden}) audit(what, address(from), "bob", "10 times");
    });
    assert_int_equal(count(text, "\n"), 4 * 2 * 3);
    assert_int_equal(count(text, "from 2001:db8:1:2:"), 2 * 3); // the two are one /64
    text = catch_log(a_minute_later);
    assert_int_equal(count(text, "\n"), 4 * 2);
    assert_int_equal(count(text, ": 7 more from "), 3 * 2);
    assert_int_equal(count(text, ": 17 more from 2001:db8:1:2::/64 within a minute\n"), 2);
}

static void more_addresses_than_places_share_one(void **) {
    auto from_many = [](Audit what, int times) {
        for (int i = 0; i < 1000; i++) {
            char text[20];
            snprintf(text, sizeof text, "10.0.%d.%d", i / 250, i % 250 + 1);
            for (int k = 0; k < times; k++) audit(what, address(text), {}, "a storm");
        }
    };
    std::string_view text = catch_log([&] { from_many(Audit::host_refused, 5); });
    assert_int_equal(count(text, "\n"), (audit_places + 1) * 3);
    // Another kind is not silenced by it.
    assert_int_equal(count(catch_log([] { audit(Audit::login, address("10.9.9.9"), "alice", "meanwhile"); }), "alice from 10.9.9.9"), 1);
    text = catch_log(a_minute_later);
    assert_int_equal(count(text, "\n"), audit_places + 1);
    assert_int_equal(count(text, ": 2 more from 10.0."), audit_places);
    char rest[60];
    snprintf(rest, sizeof rest, "host refused: %u more from other addresses", (1000 - audit_places) * 5 - 3);
    assert_int_equal(count(text, rest), 1);
    // The places are free again.
    assert_int_equal(count(catch_log([&] { from_many(Audit::host_refused, 1); }), "\n"), audit_places + 3);
    catch_log(audit_stop);
}

static void commands_are_told_each_time(void **) {
    std::string_view text = catch_log([] {
        for (int i = 0; i < 200; i++) audit(Audit::command, {.is_unix = true}, "alice", "again");
    });
    assert_int_equal(count(text, "\n"), 200);
    assert_int_equal(audit_due_ms(), 0);
}

static void the_stop_tells_what_is_left(void **) {
    std::string_view text = catch_log([] {
        for (int i = 0; i < 5; i++) audit(Audit::origin_refused, address("203.0.113.5"), {}, "x");
        audit_stop();
    });
    assert_int_equal(count(text, "origin refused: 2 more from 203.0.113.5"), 1);
    assert_int_equal(audit_due_ms(), 0);
}

static int quiet(void **) {
    log_start(LogLevel::info, false);
    catch_log(audit_stop);
    return 0;
}

int main() {
#define test(name) cmocka_unit_test_setup(name, quiet)
    const struct CMUnitTest tests[] = {
        test(a_line_says_what_who_where_and_why),   test(a_flood_is_counted),          test(each_kind_and_address_has_its_own),
        test(more_addresses_than_places_share_one), test(commands_are_told_each_time), test(the_stop_tells_what_is_left),
    };
    return cmocka_run_group_tests_name("audit", tests, nullptr, nullptr);
}
