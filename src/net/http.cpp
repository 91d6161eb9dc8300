// Requests: bytes to HttpRequest. The head is collected and its lines checked byte by byte, then llhttp (strict, no lenient
// flags) parses it, then a table of checks refuses what llhttp lets through; bodies go through llhttp as they come. A refused
// request is answered once and nothing behind it is parsed. Owns the loan (HttpIn). Loop thread only. Answers are
// http_answer.cpp's part, deadlines conn_deadlines.cpp's.
#include "net/http.h"

#include <stdlib.h>
#include <string.h>

#include <algorithm>

#include "base/assert.h"
#include "base/crypto.h"
#include "base/metrics.h"
#include "net/http_internal.h"

namespace {

constexpr uint32_t blank_lines_max = 4;

// ---------------------------------------------------------------- llhttp's callbacks

HttpIn *of(llhttp_t *p) { return (HttpIn *)p->data; }

int on_url(llhttp_t *p, const char *at, size_t len) {
    HttpIn *in = of(p);
    HttpRequest &r = in->request;
    // Kept raw until Host is known. It comes whole, since the head is given whole.
    if (!r.path.empty() || len == 0) return http_in_refuse(in, Err::bad_request, "The request's target is malformed.");
    r.path = {at, len};
    return 0;
}

int on_field(llhttp_t *p, const char *at, size_t len) {
    HttpIn *in = of(p);
    if (in->head_done) return 0;                                                        // a trailer, which is not kept
    if (len == 0) return http_in_refuse(in, Err::bad_request, "A header has no name."); // llhttp takes ": value"
    if (in->request.headers_count == http_headers_max) return http_in_refuse(in, Err::head_too_large);
    for (size_t i = 0; i < len; i++) ((char *)at)[i] = http_lower(at[i]);
    in->fields[in->request.headers_count++] = {(uint16_t)(at - in->head.data), (uint16_t)len, 0, 0};
    http_note_field(in, {at, len});
    return 0;
}

int on_field_end(llhttp_t *p) {
    HttpIn *in = of(p);
    return in->head_done && ++in->trailers > http_headers_max ? http_in_refuse(in, Err::head_too_large) : 0;
}

int on_value(llhttp_t *p, const char *at, size_t len) {
    HttpIn *in = of(p);
    if (in->head_done) return 0;
    if (in->request.headers_count == 0) return http_in_refuse(in, Err::bad_request);
    Field &f = in->fields[in->request.headers_count - 1];
    size_t from = (size_t)(at - in->head.data);
    if (f.value == 0) f.value = (uint16_t)from;
    if (from != (size_t)f.value + f.value_len)
        return http_in_refuse(in, Err::bad_request); // pieces of one line, or it was folded
    f.value_len = (uint16_t)(f.value_len + len);
    return 0;
}

int on_head(llhttp_t *p) {
    HttpIn *in = of(p);
    HttpRequest &r = in->request;
    in->head_done = true;
    in->keep_alive = llhttp_should_keep_alive(p);
    in->chunked = p->flags & F_CHUNKED;
    p->upgrade = 0; // what follows a handshake is read when it has been accepted, by another module
    switch (p->method) {
    case HTTP_GET: r.method = HttpMethod::get; break;
    case HTTP_HEAD: r.method = HttpMethod::head; break;
    case HTTP_POST: r.method = HttpMethod::post; break;
    case HTTP_PUT: r.method = HttpMethod::put; break;
    case HTTP_PATCH: r.method = HttpMethod::patch; break;
    case HTTP_DELETE: r.method = HttpMethod::del; break;
    case HTTP_OPTIONS: r.method = HttpMethod::options; break;
    case HTTP_CONNECT: return http_in_refuse(in, Err::bad_method_unknown); // its target has another form
    default: r.method = HttpMethod::other;
    }
    return http_judge_head(in) ? 0 : -1;
}

// Between the data of chunks are only sizes, extensions and trailers: their lines end in CRLF, whatever llhttp may think of a
// bare LF. The smallest honest chunks have six bytes of framing for one of data.
bool framing_ok(HttpIn *in, const char *from, const char *to) {
    for (; from < to; from++) {
        char c = *from;
        bool is_bad = (in->before == '\r') != (c == '\n') || (in->before == '\n' && (c == ' ' || c == '\t' || c == ':')) ||
                      ((unsigned char)c < 0x20 && c != '\t' && c != '\r' && c != '\n') || c == 0x7f;
        if (!is_bad && ++in->framing_bytes <= net.options.head_bytes_max + 8 * in->body.len) {
            in->before = c;
            continue;
        }
        in->err = Err::ok; // llhttp may have complained of what comes behind
        http_in_refuse(in, is_bad ? Err::bad_request : Err::too_large, is_bad ? "The body's chunks are malformed." : nullptr);
        return false;
    }
    return true;
}

int on_body(llhttp_t *p, const char *at, size_t len) {
    HttpIn *in = of(p);
    if (in->chunked && !framing_ok(in, in->data_end, at)) return -1;
    in->data_end = at + len;
    in->before = 0;
    if (in->body.len + len > net.options.body_bytes_max) return http_in_refuse(in, Err::too_large);
    secret_add(in->body, {at, len});
    return 0;
}

int on_complete(llhttp_t *p) {
    of(p)->complete = true;
    return HPE_PAUSED;
}

// No initialiser names every member of llhttp's structure, so it is filled once.
const llhttp_settings_t *settings() {
    static llhttp_settings_t s;
    if (s.on_url == nullptr) {
        llhttp_settings_init(&s);
        s.on_url = on_url;
        s.on_header_field = on_field;
        s.on_header_field_complete = on_field_end;
        s.on_header_value = on_value;
        s.on_headers_complete = on_head;
        s.on_body = on_body;
        s.on_message_complete = on_complete;
    }
    return &s;
}

// ---------------------------------------------------------------- input

// One loan that nobody has is kept: a request costs no memory to be asked for and given back.
HttpIn *spare;
constexpr size_t spare_head_bytes_max = 16 * 1024;

HttpIn *loan() {
    if (spare == nullptr) return (HttpIn *)mem_zero(sizeof *spare);
    HttpIn *in = spare;
    spare = nullptr;
    Buf head = in->head;
    memset((void *)in, 0, offsetof(HttpIn, fields));
    in->head = head;
    in->head.len = 0;
    return in;
}

HttpIn *begin(Conn *c) {
    HttpIn *in = loan();
    in->conn = c;
    in->request.conn = c;
    in->request.id = conn_id(c);
    in->keep_alive = false; // until the head says otherwise
    c->http = in;
    conn_enter(c, ConnState::head);
    return in;
}

// How many bytes from here on are neither control characters nor at an end of the line. Eight at a time: a bit is set in each byte
// below 0x20 and in each 0x7f, and perhaps, for a borrow, in one above such a byte, which does not matter to the first.
size_t ordinary_bytes(const char *data, size_t len) {
    constexpr uint64_t ones = 0x0101010101010101, tops = 0x8080808080808080;
    size_t i = 0;
    for (; i + 8 <= len; i += 8) {
        uint64_t eight;
        memcpy(&eight, data + i, 8);
        uint64_t deleted = eight ^ ones * 0x7f;
        if ((((eight - ones * 0x20) & ~eight) | ((deleted - ones) & ~deleted)) & tops) break;
    }
    while (i < len && (unsigned char)data[i] >= 0x20 && data[i] != 0x7f) i++;
    return i;
}

// Takes bytes of the head up to the empty line at its end. Refuses at the first byte that may not be.
size_t take_head(HttpIn *in, const char *data, size_t len, bool *whole) {
    size_t i = 0, kept = 0; // bytes before `kept` are in in->head
    for (; i < len; i++) {
        if (in->line_bytes != 0 && in->before != '\r') { // inside a line most bytes are nothing special
            size_t n = ordinary_bytes(data + i, len - i);
            if (n != 0) {
                in->before = data[i + n - 1];
                in->line_bytes += (uint32_t)n;
                i += n;
                if (i == len) break;
            }
        }
        char c = data[i];
        if ((in->before == '\r') != (c == '\n')) {
            http_in_refuse(in, Err::bad_request, "A line does not end in CR LF.");
            break;
        }
        in->before = c;
        if (c == '\r') continue;
        if (c == '\n') {
            bool empty = in->line_bytes == 0;
            in->line_bytes = 0;
            if (!empty) continue;
            if (in->head.len + i + 1 - kept > 2) {
                *whole = true;
                i++;
                break;
            }
            // An empty line before the request line is forgiven (RFC 9112 §2.2), a flood of them is not.
            in->head.len = 0;
            kept = i + 1;
            if (++in->blank_lines <= blank_lines_max) continue;
            http_in_refuse(in, Err::bad_request, "The request line is missing.");
            i = kept;
            break;
        }
        if (((unsigned char)c < 0x20 && c != '\t') || c == 0x7f) {
            http_in_refuse(in, Err::bad_request, "The head has a control character.");
            break;
        }
        if (in->line_bytes++ == 0 && (c == ' ' || c == '\t')) {
            http_in_refuse(in, Err::bad_request, "A line begins with white space.");
            break;
        }
    }
    // Of what is refused too: that it is a HEAD decides over the answer.
    size_t more = i - kept, room = net.options.head_bytes_max - in->head.len;
    secret_add(in->head, {data + kept, std::min(more, room)});
    if (in->err != Err::ok) return len;
    if (more <= room) return i;
    // RFC 9112 §3 tells a line that is too long from a head that is.
    http_in_refuse(in, buf_view(in->head).find('\n') == std::string_view::npos ? Err::target_too_long : Err::head_too_large);
    return len;
}

void parse_head(HttpIn *in) {
    http_check_request_line(in);
    if (in->err != Err::ok) return;
    llhttp_init(&in->parser, HTTP_REQUEST, settings());
    in->parser.data = in;
    llhttp_errno_t r = llhttp_execute(&in->parser, in->head.data, in->head.len);
    if (r == HPE_OK || r == HPE_PAUSED || in->err != Err::ok) return;
    // From SOURCE on the methods are other protocols', and llhttp only complains that those are not spoken.
    if (r == HPE_INVALID_METHOD || in->parser.method >= HTTP_SOURCE) http_in_refuse(in, Err::bad_method_unknown);
    else if (r == HPE_INVALID_VERSION) http_in_refuse(in, Err::bad_version);
    else http_in_refuse(in, Err::bad_request, "The request is malformed.");
}

// Returns how much was taken: all, or up to the request's end. Of two faults the first counts, however the bytes came.
size_t take_body(HttpIn *in, const char *data, size_t len) {
    in->data_end = data;
    llhttp_errno_t r = llhttp_execute(&in->parser, data, len);
    const char *end = r == HPE_OK ? data + len : llhttp_get_error_pos(&in->parser);
    bool is_data_good = in->err == Err::ok || in->err == Err::head_too_large; // the latter of trailers
    if (in->chunked && is_data_good && !framing_ok(in, in->data_end, end)) return len;
    if (r == HPE_OK || r == HPE_PAUSED) return (size_t)(end - data);
    http_in_refuse(in, Err::bad_request, "The body is malformed.");
    return len;
}

void hand_out(Conn *c, HttpIn *in) {
    in->request.body = buf_view(in->body);
    c->fresh = false;
    c->put_off = false;
    conn_enter(c, ConnState::request);
    if (in->request.path == "*") {
        HttpAnswer answer;
        answer.status = 204;
        answer.headers = "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n";
        return http_respond(&in->request, answer);
    }
    net.handlers.request(&in->request); // from here on `in` may be gone
}

} // namespace

size_t http_input(Conn *c, const char *data, size_t len) {
    HttpIn *in = c->http != nullptr ? c->http : begin(c);
    size_t taken = 0;
    if (!in->head_done) {
        bool whole = false;
        taken = take_head(in, data, len, &whole);
        if (in->err == Err::ok && !whole) return taken;
        if (in->err == Err::ok) {
            parse_head(in);
            in->before = 0;
        }
    } else {
        taken = take_body(in, data, len);
    }
    if (in->err != Err::ok) {
        http_fail(c, in->err, in->sentence);
        return len;
    }
    if (in->complete) {
        hand_out(c, in);
        return taken;
    }
    if (c->state == ConnState::head) {
        conn_enter(c, ConnState::body);
        if (in->expects && taken == len) conn_send(c, "HTTP/1.1 100 Continue\r\n\r\n");
    }
    return taken;
}

size_t http_weight(const Conn *c) { return sizeof *c->http + c->http->head.cap + c->http->body.cap + c->http->cookies.cap; }

void http_free(Conn *c) {
    HttpIn *in = c->http;
    if (in == nullptr) return;
    c->http = nullptr;
    memory_wipe(buf_view(in->head)); // tokens, and passwords
    memory_wipe(buf_view(in->body));
    memory_wipe(buf_view(in->cookies));
    buf_free(in->body);
    buf_free(in->cookies);
    if (spare == nullptr && in->head.cap <= spare_head_bytes_max) {
        spare = in;
        return;
    }
    buf_free(in->head);
    free(in);
}

void http_stop() {
    if (spare != nullptr) buf_free(spare->head);
    free(spare);
    spare = nullptr;
}

HttpRequest *http_pending(ConnId id) {
    Conn *c = conn_get(id);
    return c != nullptr && c->state == ConnState::request ? &c->http->request : nullptr;
}

void http_put_off(HttpRequest *r, bool put_off) { r->conn->put_off = put_off; }

void http_forget_body(HttpRequest *r) {
    HttpIn *in = r->conn->http;
    memory_wipe(buf_view(in->body));
    buf_free(in->body);
    r->body = {};
    budget_note(r->conn);
}

HttpRequest *http_request_of(Conn *c) { return c->http != nullptr ? &c->http->request : nullptr; }
bool http_keeps_alive(const HttpRequest *r) { return r->conn->http->keep_alive; }
bool http_is_1_0(const HttpRequest *r) { return r->conn->http->minor == 0; }
