// The host and origin rules of PROTOCOL §2.2, row by row.
#include "unit.h"

#include "net/address.h"

static const char *const allowed[] = {"https://chat.example.org", "http://odd.example.net:8080"};
static const OriginRules none;
static const OriginRules two = {allowed, 2};

static void host_syntax(void **) {
    for (const char *good : {"localhost", "LOCALHOST:80", "chat.example.org", "chat.example.org:8000", "10.0.0.1", "10.0.0.1:1", "[::1]", "[2001:db8::1]:8000",
                             "a_b-c.example", "example.org.", "x:65535", "x:0"})
        check(host_syntax_ok(good), "%s", good);
    for (const char *bad : {"", ":80", "me@host", "host/path", "host?x", "a,b", "a b", "host:", "host:80x", "host:65536", "host:123456", "host:-1", "::1", "[::1",
                            "::1]", "[::1]x", "[10.0.0.1]", "[localhost]", "a..b", ".a", "h\xc3\xb6st", "host%41", "a\tb", "http://host", "*"})
        check(!host_syntax_ok(bad), "%s", bad);
    assert_false(host_syntax_ok(bytes_of("host\0")));
    char longest[257];
    memset(longest, 'a', 256);
    assert_true(host_syntax_ok({longest, 255}));
    assert_false(host_syntax_ok({longest, 256}));
}

static void hosts_that_may_be_named(void **) {
    for (const char *good : {"10.0.0.1", "[::1]:8000", "203.0.113.9:80", "localhost", "raspberrypi:8000", "pi.local", "PI.LOCAL:80", "a.b.lan", "x.home.arpa", "x.internal",
                             "pi.local."})
        check(host_allowed(good, none), "%s", good);
    for (const char *bad : {"example.org", "evil.example:8000", "local.evil.com", "xlocal.com", "1.2.3", "a.localx", "10.0.0.1.evil.com", "", "a,b", ".local"})
        check(!host_allowed(bad, none), "%s", bad);
    assert_true(host_allowed("chat.example.org", two));
    assert_true(host_allowed("Chat.Example.Org:8000", two)); // the name counts, not the port
    assert_true(host_allowed("odd.example.net", two));
    assert_false(host_allowed("example.org", two));
}

static void origins(void **) {
    struct {
        const char *origin, *host;
        bool tls, matches;
    } rows[] = {
        {"http://127.0.0.1:8000", "127.0.0.1:8000", false, true},
        {"http://Chat.LAN", "chat.lan", false, true},
        {"http://chat.lan", "chat.lan:80", false, true},
        {"http://chat.lan:80", "chat.lan", false, true},
        {"https://chat.lan", "chat.lan:443", true, true},
        {"https://chat.lan:443", "chat.lan", true, true},
        {"https://chat.lan", "chat.lan", true, true},
        {"https://chat.lan", "chat.lan", false, true}, // a proxy that nobody said to trust
        {"http://chat.lan", "chat.lan", true, false},  // the plain site of the same name is another one
        {"http://[::1]:8000", "[::1]:8000", false, true},
        {"https://chat.lan", "chat.lan:80", false, false},
        {"http://chat.lan", "chat.lan:8000", false, false},
        {"http://chat.lan:8000", "chat.lan", false, false},
        {"http://evil.example", "chat.lan", false, false},
        {"http://chat.lan.evil.example", "chat.lan", false, false},
        {"http://xchat.lan", "chat.lan", false, false},
        {"null", "chat.lan", false, false},
        {"", "chat.lan", false, false},
        {"chat.lan", "chat.lan", false, false},
        {"http://chat.lan/", "chat.lan", false, false},
        {"http://chat.lan http://chat.lan", "chat.lan", false, false},
        {"http://chat.lan, http://chat.lan", "chat.lan", false, false},
        {"http://me@chat.lan", "chat.lan", false, false},
        {"ftp://chat.lan", "chat.lan", false, false},
        {"http://", "", false, false},
        {"http://chat.lan", "", false, false},
    };
    for (auto &row : rows)
        check(origin_matches(row.origin, row.host, row.tls, none) == row.matches, "%s at %s%s", row.origin, row.host, row.tls ? " over TLS" : "");
}

static void allowed_origins_match_any_host(void **) {
    assert_true(origin_matches("https://chat.example.org", "10.0.0.1:8000", false, two));
    assert_true(origin_matches("https://CHAT.example.org:443", "10.0.0.1:8000", false, two));
    assert_true(origin_matches("http://odd.example.net:8080", "localhost", false, two));
    assert_false(origin_matches("http://chat.example.org", "10.0.0.1:8000", false, two)); // the scheme counts
    assert_false(origin_matches("http://odd.example.net", "localhost", false, two));
    assert_false(origin_matches("null", "chat.example.org", false, two));
}

int main() {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(host_syntax),
        cmocka_unit_test(hosts_that_may_be_named),
        cmocka_unit_test(origins),
        cmocka_unit_test(allowed_origins_match_any_host),
    };
    return cmocka_run_group_tests_name("origin", tests, nullptr, nullptr);
}
