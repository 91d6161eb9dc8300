// Answers: HttpAnswer to bytes, with the lines that every response carries (PROTOCOL §2.1), and what happens to the connection
// afterwards: the next request, or our side is shut and the rest drained. Owns nothing; a body is sent from where it is, and only
// what the kernel does not take of it is copied. Loop thread only.
#include <string.h>
#include <time.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "base/json.h"
#include "base/log.h"
#include "base/metrics.h"
#include "net/http_internal.h"

namespace {

constexpr size_t own_lines_bytes = 2048; // of a head: more than it has without the lines that the answer brings

struct Reason {
    int status;
    const char *phrase;
};
// clang-format off
constexpr Reason reasons[] = {
    {101, "Switching Protocols"}, {200, "OK"}, {201, "Created"}, {202, "Accepted"}, {204, "No Content"}, {206, "Partial Content"},
    {301, "Moved Permanently"}, {302, "Found"}, {303, "See Other"}, {304, "Not Modified"}, {400, "Bad Request"}, {401, "Unauthorized"},
    {403, "Forbidden"}, {404, "Not Found"}, {405, "Method Not Allowed"}, {408, "Request Timeout"}, {409, "Conflict"},
    {412, "Precondition Failed"}, {413, "Content Too Large"}, {414, "URI Too Long"}, {415, "Unsupported Media Type"}, {416, "Range Not Satisfiable"}, {417, "Expectation Failed"},
    {421, "Misdirected Request"},
    {422, "Unprocessable Content"}, {426, "Upgrade Required"}, {429, "Too Many Requests"}, {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"}, {501, "Not Implemented"}, {503, "Service Unavailable"}, {505, "HTTP Version Not Supported"},
    {507, "Insufficient Storage"},
};
// clang-format on

const char *reason_of(int status) {
    for (const Reason &r : reasons)
        if (r.status == status) return r.phrase;
    return "Status"; // a phrase may be anything (RFC 9112 §4)
}

constexpr std::string_view security_headers = "X-Content-Type-Options: nosniff\r\n"
                                              "Referrer-Policy: no-referrer\r\n"
                                              "Cross-Origin-Opener-Policy: same-origin\r\n"
                                              "Cross-Origin-Resource-Policy: same-origin\r\n"
                                              "X-Frame-Options: DENY\r\n";

// Older browsers do not count ws: and wss: of the own host to 'self', so they are named; the host only when it was checked.
void add_policy(Buf &out, const HttpRequest *r) {
    buf_add(out, "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
                 "media-src 'self'; "
                 "manifest-src 'self'; worker-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
                 "connect-src 'self'");
    if (r != nullptr && r->host_ok && !r->host.empty()) {
        buf_add(out, " ws://");
        buf_add(out, r->host);
        buf_add(out, " wss://");
        buf_add(out, r->host);
    }
    buf_add(out, "\r\n");
}

void add_date(Buf &out) {
    static time_t made_for;
    static char line[48];
    if (!clock_is_set()) return;
    time_t now = (time_t)(clock_wall_ms() / 1000);
    if (now != made_for) {
        struct tm t;
        if (gmtime_r(&now, &t) == nullptr) return;
        strftime(line, sizeof line, "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &t); // no locale is ever set
        made_for = now;
    }
    buf_add(out, line);
}

// `r` is null when there is no request that could be spoken of.
void send(Conn *c, const HttpRequest *r, const HttpAnswer &answer, bool close) {
    bool bodiless = answer.status == 204 || answer.status == 304 || answer.status < 200;
    bool body_sent = !bodiless && !(r != nullptr && r->method == HttpMethod::head);
    Buf &out = net.answer_head; // heads are small: the memory is kept
    buf_clear(out);
    buf_reserve(out, own_lines_bytes + answer.headers.size()); // to grow with a cookie in it would leave a copy behind
    buf_add(out, "HTTP/1.1 ");
    buf_add_uint(out, (uint64_t)answer.status);
    buf_add_char(out, ' ');
    buf_add(out, reason_of(answer.status));
    buf_add(out, "\r\n");
    add_date(out);
    if (answer.type != nullptr) {
        buf_add(out, "Content-Type: ");
        buf_add(out, answer.type);
        buf_add(out, "\r\n");
    }
    if (!bodiless) {
        buf_add(out, "Content-Length: ");
        buf_add_uint(out, answer.body.size());
        buf_add(out, "\r\n");
    }
    if (answer.status == 401) buf_add(out, "WWW-Authenticate: Bearer\r\n"); // RFC 9110 §15.5.2
    if (answer.no_store) buf_add(out, "Cache-Control: no-store\r\n");
    buf_add(out, answer.headers);
    buf_add(out, security_headers);
    add_policy(out, r);
    if (close) buf_add(out, "Connection: close\r\n");
    else if (http_is_1_0(r)) buf_add(out, "Connection: keep-alive\r\n");
    buf_add(out, "\r\n");
    std::string_view body = body_sent ? answer.body : std::string_view();

    c->answer_closes = close;
    c->answer_bytes = (uint32_t)(out.len + body.size());
    c->progress_ms = net_now();
    conn_enter(c, ConnState::answer);
    bool sent = conn_send(c, buf_view(out), body, answer.body_is_static);
    if (!answer.headers.empty()) memory_wipe(buf_view(out)); // a cookie may be in it
    if (sent) http_answer_done(c);
}

void error_body(Buf &out, Err err, const char *sentence) {
    const ErrInfo &info = err_info(err);
    JsonWriter w{.out = &out};
    json_begin(w, '{');
    json_field(w, "error", info.code);
    json_field(w, "message", sentence != nullptr ? sentence : info.message);
    json_end(w, '}');
}

void send_error(Conn *c, const HttpRequest *r, Err err, const char *sentence, std::string_view headers, bool close) {
    ScopedBuf body;
    error_body(body, err, sentence);
    HttpAnswer answer;
    answer.status = err_info(err).http;
    answer.type = "application/json";
    answer.body = buf_view(body);
    answer.headers = headers;
    send(c, r, answer, close);
}

} // namespace

void http_respond(HttpRequest *r, const HttpAnswer &answer) {
    Conn *c = r->conn;
    CB_ASSERT(c->state == ConnState::request);
    if (c->out != nullptr) return conn_end_soon(c); // a peer that has not even taken "100 Continue"
    if (!answer.body_is_static && answer.body.size() > http_response_rest_max) {
        log_error("an answer of %zu bytes was not sent", answer.body.size());
        return send_error(c, r, Err::internal, nullptr, {}, true);
    }
    send(c, r, answer, answer.close || !http_keeps_alive(r) || net.reading_stopped);
}

void http_respond_error(HttpRequest *r, Err err, const char *sentence, uint32_t retry_after_s, std::string_view headers) {
    ScopedBuf body, lines;
    error_body(body, err, sentence);
    if (retry_after_s > 0) buf_printf(lines, "Retry-After: %u\r\n", retry_after_s);
    buf_add(lines, headers);
    HttpAnswer answer;
    answer.status = err_info(err).http;
    answer.type = "application/json";
    answer.body = buf_view(body);
    answer.headers = buf_view(lines);
    http_respond(r, answer);
}

void http_fail(Conn *c, Err err, const char *sentence) {
    metric_add(Metric::http_bad_requests);
    conn_tell_malformed(c, sentence != nullptr ? sentence : err_info(err).message);
    if (c->out != nullptr) return conn_end_soon(c);
    HttpRequest *r = http_request_of(c);
    if (r != nullptr && buf_view(c->http->head).starts_with("HEAD ")) r->method = HttpMethod::head; // whatever is wrong with the rest
    send_error(c, r, err, sentence, {}, true);
}

void http_timed_out(Conn *c) { http_fail(c, Err::timed_out, nullptr); }

void http_refuse(Conn *c) { send_error(c, http_request_of(c), Err::overloaded, nullptr, "Retry-After: 10\r\n", true); }

void http_answer_done(Conn *c) {
    http_free(c);
    budget_note(c);
    if (c->answer_closes) return conn_hang_up(c);
    conn_enter(c, ConnState::idle);
    if (!c->pumping && (c->held.len != 0 || c->eof)) conn_resume_soon(c);
}
