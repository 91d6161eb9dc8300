// Addresses, networks and listening addresses: one representation for IPv4 and IPv6, numbers only.
#include "unit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>

#include "net/address.h"

static Address address(const char *text) {
    Address a;
    if (!address_parse(text, &a)) fail_msg("%s is no address", text);
    return a;
}

static void parses_and_prints(void **) {
    struct {
        const char *text, *printed; // null: refused
    } rows[] = {
        {"10.0.0.1", "10.0.0.1"},   {"::1", "::1"},           {"[::1]", "::1"},        {"::ffff:10.0.0.1", "10.0.0.1"},
        {"2001:DB8::0", "2001:db8::"}, {"0.0.0.0", "0.0.0.0"}, {"::", "::"},            {"10.0.0", nullptr},
        {"010.0.0.1", nullptr},     {"10.0.0.256", nullptr},  {"", nullptr},           {"[]", nullptr},
        {"[10.0.0.1]", nullptr},    {"[::1", nullptr},        {"localhost", nullptr},  {"::1%lo", nullptr},
        {" ::1", nullptr},          {"10.0.0.1:80", nullptr}, {"0x7f.0.0.1", nullptr}, {"1111:2222:3333:4444:5555:6666:7777:8888:9999", nullptr},
    };
    for (auto &row : rows) {
        Address a;
        bool ok = address_parse(row.text, &a);
        check(ok == (row.printed != nullptr), "%s: %d", row.text, ok);
        if (!ok) continue;
        ScopedBuf out;
        address_print(a, out);
        check_text(buf_view(out), row.printed, row.text);
    }
    assert_false(address_parse(bytes_of("10.0.0.1\0"), nullptr));
}

static void takes_what_the_kernel_says(void **) {
    sockaddr_in v4 = {};
    v4.sin_family = AF_INET;
    inet_pton(AF_INET, "192.0.2.7", &v4.sin_addr);
    assert_true(address_equal(address_from_sockaddr((sockaddr *)&v4), address("192.0.2.7")));
    sockaddr_in6 v6 = {};
    v6.sin6_family = AF_INET6;
    inet_pton(AF_INET6, "::ffff:192.0.2.7", &v6.sin6_addr);
    assert_true(address_equal(address_from_sockaddr((sockaddr *)&v6), address("192.0.2.7"))); // a dual-stack listener says it so
    sockaddr_un un = {};
    un.sun_family = AF_UNIX;
    Address a = address_from_sockaddr((sockaddr *)&un);
    assert_true(a.is_unix);
    assert_false(address_equal(a, Address{}));
    ScopedBuf out;
    address_print(a, out);
    check_text(buf_view(out), "unix", "printed");
}

static void knows_loopback(void **) {
    for (const char *text : {"127.0.0.1", "127.255.0.3", "::1", "::ffff:127.0.0.1"}) check(address_is_loopback(address(text)), "%s", text);
    for (const char *text : {"128.0.0.1", "10.0.0.1", "::2", "::", "0.0.0.0", "fe80::1"}) check(!address_is_loopback(address(text)), "%s", text);
    Address a;
    a.is_unix = true;
    assert_true(address_is_loopback(a));
}

static void limits_count_v4_whole_and_v6_by_64(void **) {
    auto same = [](const char *a, const char *b) { return address_equal(address_limit_group(address(a)), address_limit_group(address(b))); };
    assert_true(same("2001:db8:1:2:3::4", "2001:db8:1:2:ffff::"));
    assert_false(same("2001:db8:1:2::", "2001:db8:1:3::"));
    assert_false(same("10.0.0.1", "10.0.0.2"));
    assert_true(same("10.0.0.1", "::ffff:10.0.0.1"));
}

static void networks(void **) {
    struct {
        const char *cidr, *address;
        bool in;
    } rows[] = {
        {"10.0.0.0/8", "10.255.1.2", true},   {"10.0.0.0/8", "11.0.0.0", false},    {"10.0.0.1", "10.0.0.1", true},
        {"10.0.0.1", "10.0.0.2", false},      {"0.0.0.0/0", "1.2.3.4", true},       {"0.0.0.0/0", "2001:db8::1", false},
        {"::/0", "1.2.3.4", true},            {"2001:db8::/33", "2001:db8:7fff::", true}, {"2001:db8::/33", "2001:db8:8000::", false},
        {"::1", "::1", true},                 {"::1/128", "::2", false},            {"192.0.2.128/25", "192.0.2.255", true},
        {"192.0.2.128/25", "192.0.2.127", false}, {"10.1.2.3/8", "10.9.9.9", true}, {"unix", "127.0.0.1", false},
    };
    for (auto &row : rows) {
        Cidr c;
        check(cidr_parse(row.cidr, &c), "%s", row.cidr);
        check(cidr_contains(c, address(row.address)) == row.in, "%s and %s", row.cidr, row.address);
    }
    Cidr c;
    for (const char *bad : {"10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/8x", "/8", "", "Unix", "10.0.0.0/8/8"})
        check(!cidr_parse(bad, &c), "%s", bad);
    Address a;
    a.is_unix = true;
    assert_true(cidr_parse("unix", &c) && cidr_contains(c, a));
    assert_true(cidr_parse("::/0", &c) && !cidr_contains(c, a));
}

static void listening(void **) {
    ListenAddress l;
    assert_true(listen_parse("127.0.0.1:8000", &l) && l.port == 8000 && !l.address.is_unix);
    assert_true(listen_parse("[::]:0", &l) && l.port == 0);
    assert_true(listen_parse("[::1]:65535", &l) && l.port == 65535 && address_equal(l.address, address("::1")));
    assert_true(listen_parse("unix:/run/chat.sock", &l) && l.address.is_unix);
    assert_string_equal(l.unix_path, "/run/chat.sock");
    char longest[5 + 107 + 1] = "unix:", too_long[5 + 108 + 1] = "unix:";
    memset(longest + 5, 'x', 107);
    memset(too_long + 5, 'x', 108);
    assert_true(listen_parse(longest, &l));
    for (const char *bad : {(const char *)too_long, "unix:", "127.0.0.1", "8000", ":8000", "::1:8000", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1", "localhost:80",
                            "127.0.0.1:80x", "[127.0.0.1]:80", ""})
        check(!listen_parse(bad, &l), "%s", bad);
    assert_false(listen_parse(bytes_of("unix:\0abstract"), &l));
}

int main() {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parses_and_prints), cmocka_unit_test(takes_what_the_kernel_says),         cmocka_unit_test(knows_loopback),
        cmocka_unit_test(networks),          cmocka_unit_test(limits_count_v4_whole_and_v6_by_64), cmocka_unit_test(listening),
    };
    return cmocka_run_group_tests_name("address", tests, nullptr, nullptr);
}
