// libFuzzer: any bytes as HTTP. Promises: no crash, requests handed out are well-formed, one answer for each of them and at most one refusal, nothing is
// read behind a refusal, and how the bytes were cut makes no difference.
#include "net_fuzz.h"

static void request(HttpRequest *r) {
    CB_ASSERT(!r->path.empty() && r->path[0] == '/' && utf8_valid(r->path));
    CB_ASSERT(r->path.find('\0') == std::string_view::npos && r->path.find("/../") == std::string_view::npos);
    CB_ASSERT(r->host.empty() || host_syntax_ok(r->host));
    CB_ASSERT(r->body.size() <= http_body_bytes_max && r->headers_count <= http_headers_max);
    CB_ASSERT(r->body.empty() || (r->method != HttpMethod::get && r->method != HttpMethod::head));
    CB_ASSERT(http_pending(r->id) == r);
    buf_printf(fuzz_story, "%d %.*s?%.*s %zu %d%d%d%d\n", (int)r->method, (int)r->path.size(), r->path.data(), (int)r->query.size(), r->query.data(),
               r->body.size(), r->headers_count, r->host_ok, r->origin_ok, r->upgrade_websocket);
    buf_add(fuzz_story, r->body);
    ScopedBuf out;
    if (http_query(r, "q", out)) CB_ASSERT(utf8_valid(buf_view(out)));
    size_t at = 0;
    for (std::string_view value; http_cookie_next(r, "c", &at, &value);) buf_add(fuzz_story, value);
    if (r->path == "/abort") return conn_abort(r->conn);
    HttpAnswer answer;
    answer.body = r->body;
    http_respond(r, answer);
}

// Statuses alone: sentences may differ, since a fault is found as soon as it has come.
static void statuses(const Buf &sent, Buf &out) {
    std::string_view rest = buf_view(sent);
    while (rest.size() >= 12 && rest.starts_with("HTTP/1.1 ")) {
        std::string_view code = rest.substr(9, 3);
        size_t end = rest.find("\r\n\r\n");
        CB_ASSERT(end != std::string_view::npos);
        size_t length = rest.find("Content-Length: ");
        size_t body = length < end ? strtoul(rest.data() + length + 16, nullptr, 10) : 0;
        bool closes = rest.substr(0, end).find("\r\nConnection: close") != std::string_view::npos;
        rest.remove_prefix(end + 4);
        if (code == "100") continue; // depends on whether the body has come too
        buf_printf(out, "%.3s%s ", code.data(), closes ? " closes" : "");
        // A HEAD's answer has no body: then the next one, or nothing, follows at once.
        if (body <= rest.size() && !(rest.starts_with("HTTP/1.1 ") && body > 0 && code == "200")) rest.remove_prefix(body);
        CB_ASSERT(!closes || rest.size() == 0 || code == "200"); // nothing behind the last answer
    }
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static bool started = (fuzz_start(request, [](Conn *, std::string_view) {}), true);
    if (!started || size < 1) return 0;
    std::string_view input((const char *)data + 1, size - 1);
    ScopedBuf sent, whole, whole_statuses;
    fuzz_live({}, input, 0, sent);
    buf_add(whole, buf_view(fuzz_story));
    statuses(sent, whole_statuses);
    for (size_t step : {(size_t)1, (size_t)data[0] + 2}) {
        ScopedBuf sent_again, statuses_again;
        fuzz_live({}, input, step, sent_again);
        statuses(sent_again, statuses_again);
        fuzz_same(whole, fuzz_story, "the story", step);
        fuzz_same(whole_statuses, statuses_again, "the answer", step);
    }
    return 0;
}
