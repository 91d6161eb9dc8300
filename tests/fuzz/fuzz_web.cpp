// libFuzzer: the small parsers of the web: a target with its query, a Cookie, an Origin, addresses, networks and hosts; fields with a NUL between. Promises: each does
// what a second, naive one does that is written here; what is printed reads the same; and what a browser would not call the same origin does not match.
#include "base/unicode.h"
#include "fuzz.h"
#include "net_fuzz.h"

namespace {

// --- the second readers

int hex_of(char c) {
    const char *digits = "0123456789abcdef", *found = c == 0 ? nullptr : strchr(digits, c >= 'A' && c <= 'F' ? c + 32 : c);
    return found == nullptr ? -1 : (int)(found - digits);
}

// False on a bad escape.
bool decode(std::string_view text, bool plus, Buf &out) {
    for (size_t i = 0; i < text.size(); i++) {
        if (text[i] == '%') {
            int high = i + 1 < text.size() ? hex_of(text[i + 1]) : -1, low = i + 2 < text.size() ? hex_of(text[i + 2]) : -1;
            if (high < 0 || low < 0) return false;
            buf_add_char(out, (char)(high * 16 + low));
            i += 2;
        } else {
            buf_add_char(out, plus && text[i] == '+' ? ' ' : text[i]);
        }
    }
    return true;
}

std::string_view cut(std::string_view *rest, char at) {
    size_t end = rest->find(at);
    std::string_view one = rest->substr(0, end);
    *rest = end == rest->npos ? std::string_view() : rest->substr(end + 1);
    return one;
}

// Refused: a control character, bad UTF-8, a segment "..".
bool path_is_fine(std::string_view path) {
    for (char c : path)
        if ((unsigned char)c < 0x20 || c == 0x7f) return false;
    for (std::string_view rest = path; !rest.empty();)
        if (cut(&rest, '/') == "..") return false;
    return utf8_valid(path);
}

std::string_view blanks_off(std::string_view s) {
    while (!s.empty() && (s.front() == ' ' || s.front() == '\t')) s.remove_prefix(1);
    while (!s.empty() && (s.back() == ' ' || s.back() == '\t')) s.remove_suffix(1);
    return s;
}

// --- a request with this target and this cookie

std::string_view sent_target, sent_cookie;
bool answered;

void check_query(HttpRequest *r) {
    for (std::string_view name : {"q", "since", "%71", ""}) {
        ScopedBuf got, want;
        bool found = http_query(r, name, got), expected = false;
        for (std::string_view rest = r->query; !rest.empty() && !expected;) {
            std::string_view pair = cut(&rest, '&');
            std::string_view key = cut(&pair, '=');
            if (key != name) continue;
            expected = decode(pair, true, want) && utf8_valid(buf_view(want));
            break;
        }
        CB_ASSERT(found == expected);
        if (found) fuzz_equal(buf_view(got), buf_view(want), "a query parameter");
        else CB_ASSERT(got.len == 0);
    }
}

void check_cookies(HttpRequest *r) {
    size_t at = 0;
    std::string_view value;
    for (std::string_view rest = sent_cookie; !rest.empty();) {
        std::string_view pair = blanks_off(cut(&rest, ';'));
        if (pair.find('=') == pair.npos || cut(&pair, '=') != "c") continue;
        if (pair.size() >= 2 && pair.front() == '"' && pair.back() == '"') pair = pair.substr(1, pair.size() - 2);
        CB_ASSERT(http_cookie_next(r, "c", &at, &value));
        fuzz_equal(value, pair, "a cookie");
    }
    CB_ASSERT(!http_cookie_next(r, "c", &at, &value));
}

void request(HttpRequest *r) {
    std::string_view rest = sent_target, raw = cut(&rest, '?');
    ScopedBuf path;
    CB_ASSERT(decode(raw, false, path) && path_is_fine(buf_view(path)));
    fuzz_equal(r->path, buf_view(path), "the path");
    fuzz_equal(r->query, rest, "the query");
    check_query(r);
    check_cookies(r);
    answered = true;
    http_respond(r, {});
}

// May these bytes stand in a target, and in a field's value?
bool target_can_be_sent(std::string_view text) {
    for (char c : text)
        if ((unsigned char)c <= 0x20 || c == 0x7f || c == '#') return false;
    return text.starts_with('/') && text.size() < 3000;
}

bool value_can_be_sent(std::string_view text) {
    for (char c : text)
        if (((unsigned char)c < 0x20 && c != '\t') || c == 0x7f) return false;
    return text.size() < 3000;
}

void check_request(std::string_view target, std::string_view cookie) {
    if (!target_can_be_sent(target) || !value_can_be_sent(cookie)) return;
    sent_target = target;
    sent_cookie = blanks_off(cookie);
    answered = false;
    ScopedBuf script, sent;
    buf_printf(script, "GET %.*s HTTP/1.1\r\nHost: localhost\r\nCookie: %.*s\r\n\r\n", (int)target.size(), target.data(), (int)cookie.size(), cookie.data());
    fuzz_live({}, buf_view(script), 0, sent);
    std::string_view rest = target;
    ScopedBuf path;
    bool fine = decode(cut(&rest, '?'), false, path) && path_is_fine(buf_view(path));
    for (char c : target) fine = fine && (unsigned char)c < 0x80; // llhttp takes no raw bytes there; the paths of browsers are escaped
    for (char c : target)
        if ((unsigned char)c >= 0x80) return;
    CB_ASSERT(answered == fine);
}

// --- addresses

void check_address(std::string_view text) {
    Address a, again;
    if (!address_parse(text, &a)) return;
    ScopedBuf printed;
    address_print(a, printed);
    CB_ASSERT(address_parse(buf_view(printed), &again) && address_equal(a, again));
    Address group = address_limit_group(a), twice = address_limit_group(group);
    CB_ASSERT(address_equal(group, twice) && !a.is_unix);
    CB_ASSERT(address_is_loopback(a) == (buf_view(printed) == "::1" || buf_view(printed).starts_with("127.")));
    for (char c : text) CB_ASSERT(hex_of(c) >= 0 || c == '.' || c == ':' || c == '[' || c == ']');
}

// The first `prefix_bits` are the same, bit by bit.
bool naive_contains(const Cidr &c, const Address &a) {
    if (c.is_unix || a.is_unix) return c.is_unix == a.is_unix;
    for (unsigned i = 0; i < c.prefix_bits; i++)
        if (((c.bytes[i / 8] ^ a.bytes[i / 8]) >> (7 - i % 8)) & 1) return false;
    return true;
}

void check_cidr(std::string_view text, std::string_view member) {
    Cidr c;
    if (!cidr_parse(text, &c)) return;
    CB_ASSERT(c.prefix_bits <= 128);
    Address a, base;
    memcpy(base.bytes, c.bytes, 16);
    base.is_unix = c.is_unix;
    CB_ASSERT(cidr_contains(c, base));
    if (address_parse(member, &a)) CB_ASSERT(cidr_contains(c, a) == naive_contains(c, a));
    for (unsigned i = 0; i < 128 && !c.is_unix; i++) { // one bit off
        Address off = base;
        off.bytes[i / 8] ^= (uint8_t)(0x80 >> i % 8);
        CB_ASSERT(cidr_contains(c, off) == (i >= c.prefix_bits));
    }
    CB_ASSERT(!(c.is_unix && text != "unix"));
}

void check_listen(std::string_view text) {
    ListenAddress where, again;
    if (!listen_parse(text, &where)) return;
    CB_ASSERT(memchr(where.unix_path, 0, sizeof where.unix_path) != nullptr && where.address.is_unix == (where.unix_path[0] != 0));
    ScopedBuf printed;
    if (where.address.is_unix) {
        buf_printf(printed, "unix:%s", where.unix_path);
    } else {
        ScopedBuf address;
        address_print(where.address, address);
        bool v6 = buf_view(address).find(':') != std::string_view::npos;
        buf_printf(printed, v6 ? "[%.*s]:%u" : "%.*s:%u", (int)address.len, address.data, where.port);
    }
    CB_ASSERT(listen_parse(buf_view(printed), &again) && again.port == where.port && address_equal(again.address, where.address));
    CB_ASSERT(strcmp(again.unix_path, where.unix_path) == 0);
}

// --- hosts and origins

void lower(std::string_view text, Buf &out) {
    for (char c : text) buf_add_char(out, c >= 'A' && c <= 'Z' ? (char)(c + 32) : c);
}

// "host:port" in lower case with the port always there; false when it has not that shape.
bool host_normal(std::string_view host, unsigned standard, Buf &out) {
    if (!host_syntax_ok(host)) return false;
    size_t colon = host.rfind(':'), bracket = host.rfind(']');
    bool port = colon != host.npos && (bracket == host.npos || colon > bracket);
    lower(host.substr(0, port ? colon : host.npos), out);
    ScopedBuf digits;
    if (port) buf_add(digits, host.substr(colon + 1));
    buf_add_char(digits, 0);
    buf_printf(out, ":%lu", port ? strtoul(digits.data, nullptr, 10) : standard);
    return true;
}

bool naive_matches(std::string_view origin, std::string_view host, bool tls) {
    ScopedBuf small, a, b;
    lower(origin, small);
    std::string_view o = buf_view(small);
    bool secure = o.starts_with("https://");
    if (!secure && !o.starts_with("http://")) return false;
    unsigned standard = secure ? 443 : 80;
    return host_normal(o.substr(secure ? 8 : 7), standard, a) && host_normal(host, tls || secure ? 443 : 80, b) && buf_view(a) == buf_view(b);
}

void check_origin(std::string_view origin, std::string_view host) {
    OriginRules none;
    CB_ASSERT(!host_allowed(host, none) || host_syntax_ok(host));
    for (bool tls : {false, true}) CB_ASSERT(origin_matches(origin, host, tls, none) == naive_matches(origin, host, tls));
    ScopedBuf rule, own, upper;
    buf_add(rule, origin.substr(0, origin.find('\0')));
    buf_add_char(rule, 0);
    const char *allowed[] = {rule.data};
    OriginRules rules = {allowed, 1};
    // Allowing an origin lets in that one, its host, and nothing that was not let in before.
    if (host_allowed(host, rules) && !host_allowed(host, none)) {
        ScopedBuf a, b;
        std::string_view name = origin.substr(origin.find("//") + 2);
        CB_ASSERT(host_normal(name, 0, a) && host_normal(host, 0, b));
        CB_ASSERT(buf_view(a).substr(0, buf_view(a).rfind(':')) == buf_view(b).substr(0, buf_view(b).rfind(':')));
    }
    if (host_syntax_ok(host)) {
        for (const char *scheme : {"http://", "https://"}) {
            buf_clear(own);
            buf_printf(own, "%s%.*s", scheme, (int)host.size(), host.data());
            CB_ASSERT(origin_matches(buf_view(own), host, scheme[4] == 's', none));
        }
        for (char c : host) buf_add_char(upper, c >= 'a' && c <= 'z' ? (char)(c - 32) : c);
        CB_ASSERT(host_syntax_ok(buf_view(upper)) && host_allowed(buf_view(upper), none) == host_allowed(host, none));
        for (char c : host) CB_ASSERT((unsigned char)c > 0x20 && (unsigned char)c < 0x7f && strchr("/\\@,?#%\"'<>", c) == nullptr);
    }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static bool started = (fuzz_start(request, [](Conn *, std::string_view) {}), true);
    if (!started) return 0;
    FuzzInput in = fuzz_input(data, size);
    std::string_view fields[5];
    for (std::string_view &field : fields) field = fuzz_field(in);
    check_request(fields[0], fields[1]);
    for (std::string_view field : fields) {
        check_address(field);
        check_listen(field);
        for (std::string_view other : fields) check_cidr(field, other);
    }
    check_origin(fields[2], fields[3]);
    check_origin(fields[3], fields[4]);
    return 0;
}
