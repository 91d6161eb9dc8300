// What a request's head says, and whether it may say so: the request line, a table of checks for what llhttp lets through, the
// path, the client behind a proxy, the handshake; and reading headers, query and cookies. Owns nothing but what it writes into
// the loan. Loop thread only. Collecting the bytes is http.cpp's part.
#include <string.h>

#include <charconv>

#include "base/crypto.h"
#include "base/unicode.h"
#include "net/http_internal.h"

namespace {

std::string_view trim(std::string_view s) {
    while (!s.empty() && (s.front() == ' ' || s.front() == '\t')) s.remove_prefix(1);
    while (!s.empty() && (s.back() == ' ' || s.back() == '\t')) s.remove_suffix(1);
    return s;
}

bool same(std::string_view a, std::string_view b) {
    if (a.size() != b.size()) return false;
    for (size_t i = 0; i < a.size(); i++)
        if (http_lower(a[i]) != http_lower(b[i])) return false;
    return true;
}

// Is `token` a member of a comma list?
bool list_has(std::string_view list, std::string_view token) {
    while (true) {
        size_t comma = list.find(',');
        if (same(trim(list.substr(0, comma)), token)) return true;
        if (comma == std::string_view::npos) return false;
        list.remove_prefix(comma + 1);
    }
}

// In the order of Known, which is by length.
constexpr std::string_view known_names[] = {
    "host",           "cookie",         "expect",         "origin",          "upgrade",         "connection",        "user-agent",
    "content-type",   "authorization",  "if-none-match",  "content-length",  "sec-fetch-site",  "accept-encoding",   "x-forwarded-for",
    "transfer-encoding", "x-forwarded-proto", "sec-websocket-key", "sec-websocket-version", "sec-websocket-extensions",
};
constexpr size_t known_count = sizeof known_names / sizeof known_names[0];
static_assert(known_count == (size_t)Known::count);
constexpr size_t known_longest = known_names[known_count - 1].size();

// Where the names of each length begin.
struct KnownStarts {
    uint8_t at[known_longest + 2];
};
constexpr KnownStarts known_starts = [] {
    KnownStarts starts = {};
    for (size_t length = 0; length != sizeof starts.at; length++)
        while (starts.at[length] < known_count && known_names[starts.at[length]].size() < length) starts.at[length]++;
    return starts;
}();
static_assert([] {
    for (size_t i = 1; i < known_count; i++)
        if (known_names[i - 1].size() > known_names[i].size()) return false;
    return true;
}());

// Which of them a name in lower case is; Known::count: none.
Known known_of(std::string_view name) {
    if (name.size() > known_longest) return Known::count;
    for (size_t i = known_starts.at[name.size()]; i < known_starts.at[name.size() + 1]; i++)
        if (memcmp(known_names[i].data(), name.data(), name.size()) == 0) return (Known)i;
    return Known::count;
}

uint32_t field_count(const HttpIn *in, Known known) { return in->known[(int)known].count; }

std::string_view value_of(const HttpIn *in, const Field &f) { return http_text(in, f.value, f.value_len); }
bool is_field(const HttpIn *in, const Field &f, std::string_view name) { return http_text(in, f.name, f.name_len) == name; }

// The first of that name; "" when there is none.
std::string_view field(const HttpIn *in, Known known) {
    uint8_t first = in->known[(int)known].first;
    return first != 0 ? value_of(in, in->fields[first - 1]) : std::string_view();
}

bool any_field_has(const HttpIn *in, Known known, std::string_view token) {
    if (field_count(in, known) == 0) return false;
    for (uint32_t i = in->known[(int)known].first - 1; i < in->request.headers_count; i++) {
        const Field &f = in->fields[i];
        if (is_field(in, f, known_names[(int)known]) && list_has(value_of(in, f), token)) return true;
    }
    return false;
}

bool is_token_char(unsigned char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != 0 && strchr("!#$%&'*+-.^_`|~", c) != nullptr);
}

int hex(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    c = http_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// Decodes in place; returns the new length, or -1 on a bad escape.
ptrdiff_t percent_decode(char *text, size_t len, bool plus_is_space) {
    size_t to = 0;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (c == '%') {
            if (len - i < 3) return -1;
            int high = hex(text[i + 1]), low = hex(text[i + 2]);
            if (high < 0 || low < 0) return -1;
            c = (char)(high << 4 | low);
            i += 2;
        } else if (c == '+' && plus_is_space) {
            c = ' ';
        }
        text[to++] = c;
    }
    return (ptrdiff_t)to;
}

// ---------------------------------------------------------------- the request line

// The target's path decoded, its query raw. Absolute form is for Host to agree with.
void take_target(HttpIn *in, char *at, size_t len) {
    HttpRequest &r = in->request;
    std::string_view target(at, len);
    if (target == "*" && r.method == HttpMethod::options) return (void)(r.path = target);
    if (same(target.substr(0, 7), "http://") || same(target.substr(0, 8), "https://")) {
        size_t authority = target.find("//") + 2;
        size_t end = target.find_first_of("/?", authority);
        if (end == std::string_view::npos) end = len;
        std::string_view host = target.substr(authority, end - authority);
        if (http_lower(target[4]) == 's' && !r.tls) // RFC 9110 §7.4
            return (void)http_in_refuse(in, Err::bad_host, "The target asks for TLS, which this connection does not have.");
        if (field_count(in, Known::host) == 0) { // HTTP/1.0: the target alone says which
            if (!host_judge(host, net.options.origins, &r.host_ok)) return (void)http_in_refuse(in, Err::bad_request, "The target's host is malformed.");
            r.host = host;
        }
        if (!same(host, r.host)) return (void)http_in_refuse(in, Err::bad_request, "The target names another host than Host.");
        if (end == len || target[end] == '?') { // "http://host?query" means the path "/"
            r.path = "/";
            if (end < len) r.query = target.substr(end + 1);
            return;
        }
        target.remove_prefix(end);
        at += end;
    }
    if (!target.starts_with('/')) return (void)http_in_refuse(in, Err::bad_request, "The target does not begin with a slash.");
    size_t question = target.find('?');
    if (question != std::string_view::npos) r.query = target.substr(question + 1);
    ptrdiff_t decoded = percent_decode(at, question == std::string_view::npos ? target.size() : question, false);
    if (decoded < 0) return (void)http_in_refuse(in, Err::bad_request, "The path has a bad escape.");
    r.path = {at, (size_t)decoded};
    for (unsigned char c : r.path)
        if (c < 0x20 || c == 0x7f) return (void)http_in_refuse(in, Err::bad_request, "The path has a control character.");
    if (!utf8_valid(r.path)) return (void)http_in_refuse(in, Err::bad_request, "The path is not valid UTF-8.");
    for (size_t i = r.path.find("/.."); i != std::string_view::npos; i = r.path.find("/..", i + 1))
        if (i + 3 == r.path.size() || r.path[i + 3] == '/')
            return (void)http_in_refuse(in, Err::bad_request, "The path goes up.");
}

// ---------------------------------------------------------------- what llhttp lets through

bool has_body(const HttpIn *in) {
    std::string_view length = field(in, Known::content_length);
    return field_count(in, Known::transfer_encoding) > 0 || length.find_first_not_of('0') != std::string_view::npos;
}

bool length_is_wrong(const HttpIn *in) {
    if (field_count(in, Known::content_length) == 0) return false;
    std::string_view length = field(in, Known::content_length);
    return field_count(in, Known::content_length) > 1 || length.empty() || length.size() > 19 ||
           length.find_first_not_of("0123456789") != std::string_view::npos;
}

bool body_is_too_large(const HttpIn *in) {
    uint64_t bytes = 0;
    std::string_view length = field(in, Known::content_length);
    std::from_chars(length.data(), length.data() + length.size(), bytes);
    return bytes > net.options.body_bytes_max;
}

bool asks_for_websocket(const HttpIn *in) { return any_field_has(in, Known::upgrade, "websocket"); }

// One row for each thing that a head may not have. Research behind it: what conformance suites got past llhttp 8.1.
struct HeadCheck {
    bool (*broken)(const HttpIn *in);
    Err err;
    const char *sentence;
};
// clang-format off
constexpr HeadCheck head_checks[] = {
    {[](const HttpIn *in) { return in->minor == 1 && field_count(in, Known::host) == 0; }, Err::bad_request, "HTTP/1.1 needs a Host."},
    {[](const HttpIn *in) { return field_count(in, Known::host) > 1; }, Err::bad_request, "There is more than one Host."},
    {[](const HttpIn *in) { return field_count(in, Known::host) == 1 && !in->host_is_well; }, Err::bad_request, "Host is malformed."},
    {length_is_wrong, Err::bad_request, "Content-Length is malformed."},
    {[](const HttpIn *in) { return field_count(in, Known::transfer_encoding) > 1; }, Err::bad_request, "There is more than one Transfer-Encoding."},
    {[](const HttpIn *in) { return field_count(in, Known::transfer_encoding) == 1 && !same(field(in, Known::transfer_encoding), "chunked"); }, Err::bad_request,
     "The only Transfer-Encoding here is chunked."},
    {[](const HttpIn *in) { return field_count(in, Known::transfer_encoding) > 0 && field_count(in, Known::content_length) > 0; }, Err::bad_request,
     "Content-Length and Transfer-Encoding exclude each other."},
    {[](const HttpIn *in) { return field_count(in, Known::transfer_encoding) > 0 && in->minor == 0; }, Err::bad_request, "HTTP/1.0 has no Transfer-Encoding."},
    {[](const HttpIn *in) { return (in->request.method == HttpMethod::get || in->request.method == HttpMethod::head) && has_body(in); }, Err::bad_request,
     "A GET or HEAD has no body."},
    {[](const HttpIn *in) { return asks_for_websocket(in) && has_body(in); }, Err::bad_request, "A handshake has no body."},
    {[](const HttpIn *in) { return in->minor == 1 && field_count(in, Known::expect) > 0 && !same(field(in, Known::expect), "100-continue"); },
     Err::bad_expectation, nullptr},
    {body_is_too_large, Err::too_large, nullptr},
};
// clang-format on

// RFC 6455 §4.2.1.
bool websocket_handshake(const HttpIn *in) {
    if (in->request.method != HttpMethod::get || in->minor != 1 || !asks_for_websocket(in) ||
        !any_field_has(in, Known::connection, "upgrade"))
        return false;
    if (field(in, Known::sec_websocket_version) != "13" || field_count(in, Known::sec_websocket_key) != 1) return false;
    std::string_view key = field(in, Known::sec_websocket_key); // 16 bytes in base64
    if (key.size() != 24 || !key.ends_with("==")) return false;
    for (char c : key.substr(0, 22))
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '+' || c == '/')) return false;
    return strchr("AQgw", key[21]) != nullptr; // the last sextet has 2 bits of the 16th byte
}

bool is_trusted(const Address &a) {
    for (uint32_t i = 0; i < net.options.trusted_count; i++)
        if (cidr_contains(net.options.trusted[i], a)) return true;
    return false;
}

// An entry of X-Forwarded-For; some proxies add the port.
bool forwarded_parse(std::string_view text, Address *out) {
    if (address_parse(text, out)) return true;
    size_t colon = text.rfind(':');
    if (colon == std::string_view::npos || (text[0] != '[' && text.find(':') != colon)) return false;
    return address_parse(text.substr(0, colon), out);
}

// From the last entry back to the first that is not trusted: whatever is before it, anybody may have written.
void take_client(HttpIn *in) {
    HttpRequest &r = in->request;
    r.client = in->conn->peer;
    if (!is_trusted(r.client)) return;
    for (uint32_t i = r.headers_count; i-- > 0;) {
        const Field &f = in->fields[i];
        if (!is_field(in, f, "x-forwarded-proto")) continue;
        std::string_view protos = http_text(in, f.value, f.value_len);
        size_t comma = protos.rfind(',');
        r.tls = same(trim(comma == std::string_view::npos ? protos : protos.substr(comma + 1)), "https");
        break;
    }
    for (uint32_t i = r.headers_count; i-- > 0;) {
        const Field &f = in->fields[i];
        if (http_text(in, f.name, f.name_len) != "x-forwarded-for") continue;
        std::string_view entries = http_text(in, f.value, f.value_len);
        while (true) {
            size_t comma = entries.rfind(',');
            Address a;
            if (!forwarded_parse(trim(comma == std::string_view::npos ? entries : entries.substr(comma + 1)), &a)) return;
            r.client = a;
            if (!is_trusted(a)) return;
            if (comma == std::string_view::npos) break;
            entries = entries.substr(0, comma);
        }
    }
}

void join_cookies(HttpIn *in) {
    if (field_count(in, Known::cookie) < 2) return;
    for (uint32_t i = 0; i < in->request.headers_count; i++) {
        const Field &f = in->fields[i];
        if (http_text(in, f.name, f.name_len) != "cookie") continue;
        if (in->cookies.len > 0) secret_add(in->cookies, "; ");
        secret_add(in->cookies, http_text(in, f.value, f.value_len));
    }
}

} // namespace

// "METHOD SP target SP HTTP/d.d": exactly that, before llhttp sees it, so that its answers can be told apart.
void http_check_request_line(HttpIn *in) {
    std::string_view line = buf_view(in->head).substr(0, buf_view(in->head).find('\r'));
    size_t method = line.find(' ');
    if (method == std::string_view::npos || method == 0)
        return (void)http_in_refuse(in, Err::bad_request, "The request line is malformed.");
    for (char c : line.substr(0, method))
        if (!is_token_char((unsigned char)c)) return (void)http_in_refuse(in, Err::bad_request, "The method is malformed.");
    size_t target = line.find(' ', method + 1);
    if (target == std::string_view::npos || target == method + 1 || line.find(' ', target + 1) != std::string_view::npos)
        return (void)http_in_refuse(in, Err::bad_request, "The request line is malformed.");
    for (char c : line.substr(method + 1, target - method - 1))
        if (c <= 0x20 || c == 0x7f || c == '#')
            return (void)http_in_refuse(in, Err::bad_request, "The request's target is malformed.");
    std::string_view version = line.substr(target + 1);
    bool shape = version.size() == 8 && version.starts_with("HTTP/") && version[6] == '.' && version[5] >= '0' &&
                 version[5] <= '9' && version[7] >= '0' && version[7] <= '9';
    if (!shape) return (void)http_in_refuse(in, Err::bad_request, "The version is malformed.");
    if (version[5] != '1' || version[7] > '1') return (void)http_in_refuse(in, Err::bad_version);
    in->minor = (uint8_t)(version[7] - '0');
}

bool http_judge_head(HttpIn *in) {
    HttpRequest &r = in->request;
    for (uint32_t i = 0; i < r.headers_count; i++) {
        Field &f = in->fields[i];
        std::string_view value = trim(http_text(in, f.value, f.value_len));
        f.value = (uint16_t)(value.empty() ? 0 : value.data() - in->head.data);
        f.value_len = (uint16_t)value.size();
    }
    bool host_ok;
    in->host_is_well = host_judge(field(in, Known::host), net.options.origins, &host_ok);
    for (const HeadCheck &check : head_checks)
        if (check.broken(in)) return http_in_refuse(in, check.err, check.sentence) == 0;
    r.host = field(in, Known::host);
    r.host_ok = host_ok;
    take_client(in);
    take_target(in, (char *)r.path.data(), r.path.size());
    if (in->err != Err::ok) return false;
    join_cookies(in);
    // In HTTP/1.0 llhttp lets keep-alive win over close (RFC 9112 §9.3: close does).
    if (any_field_has(in, Known::connection, "close")) in->keep_alive = false;
    r.origin_present = field_count(in, Known::origin) > 0;
    // Several never match, in one line or in more.
    r.origin_ok = field_count(in, Known::origin) == 1 && origin_matches(field(in, Known::origin), r.host, r.tls, net.options.origins);
    r.upgrade_websocket = websocket_handshake(in);
    in->expects = in->minor == 1 && has_body(in) && same(field(in, Known::expect), "100-continue");
    return true;
}

void http_note_field(HttpIn *in, std::string_view name) {
    Known known = known_of(name);
    if (known == Known::count) return;
    KnownField &k = in->known[(int)known];
    if (k.count++ == 0) k.first = in->request.headers_count;
}

bool http_has_header(const HttpRequest *r, std::string_view name) {
    const HttpIn *in = r->conn->http;
    Known known = known_of(name);
    if (known != Known::count) return field_count(in, known) > 0;
    for (uint32_t i = 0; i < r->headers_count; i++)
        if (is_field(in, in->fields[i], name)) return true;
    return false;
}

std::string_view http_header(const HttpRequest *r, std::string_view name) {
    const HttpIn *in = r->conn->http;
    Known known = known_of(name);
    if (known == Known::cookie && in->cookies.len > 0) return buf_view(in->cookies);
    if (known != Known::count) return field(in, known);
    for (uint32_t i = 0; i < r->headers_count; i++)
        if (is_field(in, in->fields[i], name)) return value_of(in, in->fields[i]);
    return {};
}

std::string_view http_joined(const HttpRequest *r, std::string_view name, Buf &room) {
    const HttpIn *in = r->conn->http;
    Known known = known_of(name);
    if (known != Known::count && field_count(in, known) < 2) return field(in, known);
    for (uint32_t i = 0; i < r->headers_count; i++) {
        const Field &f = in->fields[i];
        if (http_text(in, f.name, f.name_len) != name) continue;
        if (room.len > 0) buf_add_char(room, ',');
        buf_add(room, http_text(in, f.value, f.value_len));
    }
    return buf_view(room);
}

bool http_query(const HttpRequest *r, std::string_view name, Buf &out, bool *is_bad) {
    std::string_view rest = r->query;
    while (!rest.empty()) {
        size_t end = rest.find('&');
        std::string_view pair = rest.substr(0, end);
        rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
        size_t equals = pair.find('=');
        if (pair.substr(0, equals) != name) continue;
        size_t before = out.len;
        if (equals != std::string_view::npos) buf_add(out, pair.substr(equals + 1));
        ptrdiff_t decoded = out.len == before ? 0 : percent_decode(out.data + before, out.len - before, true);
        out.len = before + (decoded < 0 ? 0 : (size_t)decoded);
        if (decoded >= 0 && utf8_valid(buf_view(out).substr(before))) return true;
        out.len = before;
        if (is_bad != nullptr) *is_bad = true;
        return false;
    }
    return false;
}

bool http_cookie_next(const HttpRequest *r, std::string_view name, size_t *at, std::string_view *value) {
    std::string_view all = http_header(r, "cookie");
    while (*at < all.size()) {
        size_t end = all.find(';', *at);
        std::string_view pair = trim(all.substr(*at, end == std::string_view::npos ? end : end - *at));
        *at = end == std::string_view::npos ? all.size() : end + 1;
        size_t equals = pair.find('=');
        if (equals == std::string_view::npos || pair.substr(0, equals) != name) continue;
        *value = pair.substr(equals + 1);
        if (value->size() >= 2 && value->front() == '"' && value->back() == '"') *value = value->substr(1, value->size() - 2);
        return true;
    }
    return false;
}
