// Requests as bytes, and what becomes of them: every script is given whole, byte by byte and cut at every point, and must end the same.
#include "net_world.h"

#include "base/metrics.h"

// "200 400": the statuses in what was sent, in order.
static void statuses(const Buf &sent, Buf &out) {
    std::string_view rest = buf_view(sent);
    for (size_t at = rest.find("HTTP/1.1 "); at != std::string_view::npos; at = rest.find("HTTP/1.1 ")) {
        std::string_view code = rest.substr(at + 9, 3);
        rest.remove_prefix(at + 9);
        if (code[0] < '0' || code[0] > '9') continue; // a sentence that speaks of HTTP/1.1
        if (out.len > 0) buf_add_char(out, ' ');
        buf_add(out, code);
    }
}

// One connection's whole life in one way: statuses, the requests handed out, and whether our side was shut.
static void live(std::string_view script, Way way, Buf &story) {
    ScopedBuf sent;
    world.log.len = 0;
    ConnId id = world_connect(&sent);
    world_feed(id, script, way);
    statuses(sent, story);
    Conn *c = conn_get(id);
    buf_printf(story, " %s|", c == nullptr ? "gone" : c->state == ConnState::draining ? "shut" : "open");
    buf_add(story, buf_view(world.log));
    world_disconnect(id);
}

static void check_every_way(std::string_view script, std::string_view want, const char *what) {
    for (size_t i = 0; i <= script.size() + 1; i++) {
        ScopedBuf story;
        live(script, i == 0 ? Way{Way::whole, 0} : i == 1 ? Way{Way::bytes, 0} : Way{Way::cut, i - 1}, story);
        if (buf_view(story) != want)
            fail_msg("%s, way %zu:\n  got  %.*s\n  want %.*s", what, i, (int)story.len, story.data, (int)want.size(), want.data());
    }
}

#define H "Host: localhost\r\n"
#define WITH_NEXT(request) bytes_of(request "GET /smuggled HTTP/1.1\r\n" H "\r\n")
#define GET(target, lines) WITH_NEXT("GET " target " HTTP/1.1\r\n" H lines "\r\n")
#define POST(lines, body) WITH_NEXT("POST /p HTTP/1.1\r\n" H lines "\r\n" body)
#define CHUNKED(body) POST("Transfer-Encoding: chunked\r\n", body)

static void good_requests(void **) {
    struct {
        const char *what;
        std::string_view script, want;
    } rows[] = {
        {"the simplest", bytes_of("GET / HTTP/1.1\r\n" H "\r\n"), "200 open|GET /\n"},
        {"two in a row", WITH_NEXT("GET /a?b=c&d HTTP/1.1\r\n" H "\r\n"), "200 200 open|GET /a?b=c&d\nGET /smuggled\n"},
        {"Connection: close ends it", GET("/", "Connection: close\r\n"), "200 shut|GET /\n"},
        {"HTTP/1.0 ends it", WITH_NEXT("GET / HTTP/1.0\r\n\r\n"), "200 shut|GET /\n"},
        {"HTTP/1.0 may go on", WITH_NEXT("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"), "200 200 open|GET /\nGET /smuggled\n"},
        {"a length", POST("Content-Length: 5\r\n", "hello"), "200 200 open|POST /p [hello]\nGET /smuggled\n"},
        {"no length", POST("", ""), "200 200 open|POST /p\nGET /smuggled\n"},
        {"a length of nothing on GET", GET("/", "Content-Length: 0\r\n"), "200 200 open|GET /\nGET /smuggled\n"},
        {"chunks", CHUNKED("3\r\nhel\r\n02\r\nlo\r\n0\r\n\r\n"), "200 200 open|POST /p [hello]\nGET /smuggled\n"},
        {"chunks with extensions and trailers", CHUNKED("5;c;a=b\r\nhello\r\n0;x\r\nTrailer: u\r\nV: w\r\n\r\n"), "200 200 open|POST /p [hello]\nGET /smuggled\n"},
        {"CHUNKED in capitals", POST("Transfer-Encoding: CHUNKED\r\n", "1\r\nx\r\n0\r\n\r\n"), "200 200 open|POST /p [x]\nGET /smuggled\n"},
        {"chunk data full of line ends", CHUNKED("4\r\n\n\r\r\n\r\n0\r\n\r\n"), "200 200 open|POST /p [\n\r\r\n]\nGET /smuggled\n"},
        {"escapes", GET("/%41%2Fb%20%C3%A4?q=%41", ""), "200 200 open|GET /A/b \xc3\xa4?q=%41\nGET /smuggled\n"},
        {"dots that are names", GET("/..a/.../a..b", ""), "200 200 open|GET /..a/.../a..b\nGET /smuggled\n"},
        {"absolute form", GET("http://LOCALHOST/x?y", ""), "200 200 open|GET /x?y\nGET /smuggled\n"},
        {"absolute form without a path", GET("http://localhost", ""), "200 200 open|GET /\nGET /smuggled\n"},
        {"absolute form with a query alone", GET("http://localhost?q", ""), "200 200 open|GET /?q\nGET /smuggled\n"},
        {"OPTIONS *", WITH_NEXT("OPTIONS * HTTP/1.1\r\n" H "\r\n"), "204 200 open|GET /smuggled\n"},
        {"HEAD", WITH_NEXT("HEAD /x HTTP/1.1\r\n" H "\r\n"), "200 200 open|HEAD /x\nGET /smuggled\n"},
        {"other methods", WITH_NEXT("PROPFIND /x HTTP/1.1\r\n" H "\r\n"), "200 200 open|other /x\nGET /smuggled\n"},
        {"empty lines before it", bytes_of("\r\n\r\nGET / HTTP/1.1\r\n" H "\r\n"), "200 open|GET /\n"},
        {"white space around values", bytes_of("GET / HTTP/1.1\r\nHost: \t localhost \t \r\nX:\r\nY: \r\n\r\n"), "200 open|GET /\n"},
        {"8-bit values", GET("/", "X: \xc3\xa4\xff\r\n"), "200 200 open|GET /\nGET /smuggled\n"},
        {"an upgrade that nobody here speaks", GET("/", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"),
         "200 200 open|GET /\nGET /smuggled\n"},
        {"the same with a body", POST("Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n", "ab"), "200 200 open|POST /p [ab]\nGET /smuggled\n"},
    };
    world_begin();
    for (auto &row : rows) check_every_way(row.script, row.want, row.what);
    world_end();
}

// Each is answered once, the connection is shut, and the request behind it is never read.
static void requests_that_two_servers_could_read_differently(void **) {
    struct {
        const char *what;
        std::string_view script;
        int status = 400;
    } rows[] = {
        {"no Host", WITH_NEXT("GET / HTTP/1.1\r\n\r\n")},
        {"Host twice, the same", GET("/", H)},
        {"Host twice, different", GET("/", "Host: other\r\n")},
        {"Host twice in HTTP/1.0", WITH_NEXT("GET / HTTP/1.0\r\n" H H "\r\n")},
        {"Host empty", WITH_NEXT("GET / HTTP/1.1\r\nHost:\r\n\r\n")},
        {"Host blank", WITH_NEXT("GET / HTTP/1.1\r\nHost:   \r\n\r\n")},
        {"Host a list", WITH_NEXT("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n")},
        {"Host with user info", WITH_NEXT("GET / HTTP/1.1\r\nHost: me@localhost\r\n\r\n")},
        {"Host with a path", WITH_NEXT("GET / HTTP/1.1\r\nHost: localhost/x\r\n\r\n")},
        {"another absolute target", GET("http://other/", "")},
        {"an absolute target with a port", GET("http://localhost:1/", "")},
        {"an absolute target with user info", GET("http://me@localhost/", "")},
        {"GET *", GET("*", "")},
        {"a target without a slash", GET("x", "")},
        {"authority form", GET("localhost:80", "")},
        {"CONNECT", WITH_NEXT("CONNECT localhost:80 HTTP/1.1\r\n" H "\r\n"), 501},
        {"an absolute target of https", GET("https://localhost/", ""), 421},
        {"an unknown expectation", GET("/", "Expect: the-best\r\n"), 417},
        {"a control character in the target", GET("/a\x01", "")},
        {"DEL in the target", GET("/a\x7f", "")},
        {"a tab in the target", GET("/a\tb", "")},
        {"an 8-bit byte in the target", GET("/a\xe9", "")},
        {"a fragment", GET("/a#b", "")},
        {"a bad escape", GET("/%zz", "")},
        {"half an escape", GET("/%4", "")},
        {"an escaped NUL", GET("/a%00", "")},
        {"an escaped line feed", GET("/a%0ab", "")},
        {"an escape that is not UTF-8", GET("/%ff", "")},
        {"..", GET("/a/../b", "")},
        {".. at the end", GET("/a/..", "")},
        {".. escaped", GET("/%2e%2E/b", "")},
        {".. behind an escaped slash", GET("/a%2f../b", "")},
        {"HTTP/2.0", WITH_NEXT("GET / HTTP/2.0\r\n" H "\r\n"), 505},
        {"HTTP/0.9", WITH_NEXT("GET / HTTP/0.9\r\n" H "\r\n"), 505},
        {"HTTP/1.2", WITH_NEXT("GET / HTTP/1.2\r\n" H "\r\n"), 505},
        {"HTTP/1.10", WITH_NEXT("GET / HTTP/1.10\r\n" H "\r\n")},
        {"http/1.1", WITH_NEXT("GET / http/1.1\r\n" H "\r\n")},
        {"no version", WITH_NEXT("GET /\r\n\r\n")},
        {"the preface of HTTP/2", WITH_NEXT("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 505},
        {"an unknown method", WITH_NEXT("BREW / HTTP/1.1\r\n" H "\r\n"), 501},
        {"a method in lower case", WITH_NEXT("get / HTTP/1.1\r\n" H "\r\n"), 501},
        {"a method of another protocol", WITH_NEXT("DESCRIBE / HTTP/1.1\r\n" H "\r\n"), 501},
        {"a method of marks and digits", WITH_NEXT("X-2!~ / HTTP/1.1\r\n" H "\r\n"), 501},
        {"a method that is no word", WITH_NEXT("G(T / HTTP/1.1\r\n" H "\r\n")},
        {"a space before the method", WITH_NEXT(" GET / HTTP/1.1\r\n" H "\r\n")},
        {"two spaces", WITH_NEXT("GET  / HTTP/1.1\r\n" H "\r\n")},
        {"a space behind the version", WITH_NEXT("GET / HTTP/1.1 \r\n" H "\r\n")},
        {"a TLS hello", WITH_NEXT("\x16\x03\x01\x00\xc8\x01")},
        {"lengths, the same", POST("Content-Length: 2\r\nContent-Length: 2\r\n", "{}")},
        {"lengths, different", POST("Content-Length: 2\r\nContent-Length: 40\r\n", "{}")},
        {"a list of lengths", POST("Content-Length: 2, 2\r\n", "{}")},
        {"a length with a sign", POST("Content-Length: +2\r\n", "{}")},
        {"a negative length", POST("Content-Length: -2\r\n", "{}")},
        {"an empty length", POST("Content-Length:\r\n", "{}")},
        {"a length in hexadecimal", POST("Content-Length: 0x2\r\n", "{}")},
        {"a length beyond 64 bits", POST("Content-Length: 18446744073709551618\r\n", "{}")},
        {"a length of twenty digits", POST("Content-Length: 00000000000000000002\r\n", "{}")},
        {"a length and chunks", POST("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n")},
        {"chunks and a length", POST("Transfer-Encoding: chunked\r\nContent-Length: 2\r\n", "0\r\n\r\n")},
        {"a length of nothing and chunks", POST("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", "0\r\n\r\n")},
        {"a body on GET", GET("/", "Content-Length: 1\r\n")},
        {"a body on HEAD", WITH_NEXT("HEAD / HTTP/1.1\r\n" H "Content-Length: 1\r\n\r\n")},
        {"chunks on GET", GET("/", "Transfer-Encoding: chunked\r\n")},
        {"a body on a handshake", POST("Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 2\r\n", "{}")},
        {"Transfer-Encoding empty", POST("Transfer-Encoding:\r\n", "0\r\n\r\n")},
        {"Transfer-Encoding empty, and a length", POST("Transfer-Encoding:\r\nContent-Length: 2\r\n", "{}")},
        {"gzip, chunked", POST("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n")},
        {"chunked, identity", POST("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n")},
        {"identity", POST("Transfer-Encoding: identity\r\n", "{}")},
        {"chunked twice", POST("Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n")},
        {"Transfer-Encoding twice", POST("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n")},
        {"Transfer-Encoding twice, one empty", POST("Transfer-Encoding: chunked\r\nTransfer-Encoding:\r\n", "0\r\n\r\n")},
        {"xchunked", POST("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n")},
        {"chunkedx", POST("Transfer-Encoding: chunkedx\r\n", "0\r\n\r\n")},
        {"Transfer-Encoding quoted", POST("Transfer-Encoding: \"chunked\"\r\n", "0\r\n\r\n")},
        {"Transfer-Encoding in HTTP/1.0", WITH_NEXT("POST /p HTTP/1.0\r\n" H "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n")},
        {"a chunk size that is none", CHUNKED("x\r\n{}\r\n0\r\n\r\n")},
        {"a chunk size with 0x", CHUNKED("0x2\r\n{}\r\n0\r\n\r\n")},
        {"a chunk size with a sign", CHUNKED("-2\r\n{}\r\n0\r\n\r\n")},
        {"a chunk size beyond 64 bits", CHUNKED("10000000000000002\r\n{}\r\n0\r\n\r\n")},
        {"an empty chunk size", CHUNKED("\r\n{}\r\n0\r\n\r\n")},
        {"a space before a chunk size", CHUNKED(" 2\r\n{}\r\n0\r\n\r\n")},
        {"a chunk size ended by LF", CHUNKED("2\n{}\r\n0\r\n\r\n")},
        {"a chunk extension ended by LF", CHUNKED("2;a\n{}\r\n0\r\n\r\n")},
        {"a chunk longer than its size", CHUNKED("2\r\n{}{}\r\n0\r\n\r\n")},
        {"a control character in a chunk extension", CHUNKED("2;a\x01\r\n{}\r\n0\r\n\r\n")},
        {"a control character in a quoted chunk extension", CHUNKED("2;a=\"b\x7f\"\r\n{}\r\n0\r\n\r\n")}, // which llhttp would take
        {"a control character in a trailer", CHUNKED("2\r\n{}\r\n0\r\nT: a\x7f\r\n\r\n")},
        {"chunk data ended by LF", CHUNKED("2\r\n{}\n0\r\n\r\n")},
        {"a trailer ended by LF", CHUNKED("2\r\n{}\r\n0\r\nA: b\n\r\n")},
        {"the last chunk ended by LF", CHUNKED("2\r\n{}\r\n0\r\n\n")},
        {"a folded trailer", CHUNKED("2\r\n{}\r\n0\r\nA: b\r\n c\r\n\r\n")},
        {"a trailer without a name", CHUNKED("2\r\n{}\r\n0\r\n: b\r\n\r\n")},
        {"a folded line", GET("/", "X: a\r\n b\r\n")},
        {"folded by a tab", GET("/", "X: a\r\n\tb\r\n")},
        {"folded first", WITH_NEXT("GET / HTTP/1.1\r\n X: y\r\n" H "\r\n")},
        {"LF behind the request line", WITH_NEXT("GET / HTTP/1.1\n" H "\r\n")},
        {"LF behind a header", GET("/", "X: y\n")},
        {"LF at the end", WITH_NEXT("GET / HTTP/1.1\r\n" H "\n")},
        {"CR in a value", GET("/", "X: a\rb\r\n")},
        {"CR behind an empty value", GET("/", "X:\rContent-Length: 40\r\n")},
        {"two CRs", GET("/", "X: a\r\r\n")},
        {"a space before the colon", GET("/", "X : y\r\n")},
        {"a space in a name", GET("/", "X Y: z\r\n")},
        {"no colon", GET("/", "X\r\n")},
        {"no name", GET("/", ": y\r\n")},
        {"an 8-bit name", GET("/", "X\xff: y\r\n")},
        {"NUL in a value", GET("/", "X: a\0b\r\n")},
        {"NUL in a name", GET("/", "X\0: b\r\n")},
        {"a control character in a value", GET("/", "X: a\x08\r\n")},
        {"nothing but empty lines", WITH_NEXT("\r\n\r\n\r\n\r\n\r\n\r\n")},
    };
    world_begin();
    uint64_t before = metrics[(int)Metric::http_bad_requests];
    for (auto &row : rows) {
        char want[16];
        snprintf(want, sizeof want, "%d shut|", row.status);
        check_every_way(row.script, want, row.what);
    }
    assert_true(metrics[(int)Metric::http_bad_requests] > before);
    world_end();
}

static void sizes_have_bounds(void **) {
    world_begin();
    ScopedBuf head, fields, body, chunks, extension, trailer, many, story;
    auto life = [&](const Buf &script, std::string_view want, const char *what) {
        for (Way way : {Way{Way::whole, 0}, Way{Way::bytes, 0}, Way{Way::cut, 8000}}) {
            story.len = 0;
            live(buf_view(script), way, story);
            check_text(buf_view(story).substr(0, want.size()), want, what);
        }
    };
    buf_add(head, "GET / HTTP/1.1\r\n" H "X: ");
    while (head.len < http_head_bytes_max - 4) buf_add_char(head, 'a');
    buf_add(head, "\r\n\r\n");
    life(head, "200 open|GET /", "a head of 8 KiB");
    head.len -= 4;
    buf_add(head, "a\r\n\r\n");
    life(head, "431 shut|", "a byte more");
    head.len = 0;
    while (head.len < 20'000) buf_add_char(head, 'a');
    life(head, "414 shut|", "a line without end");

    buf_add(fields, "GET / HTTP/1.1\r\n" H);
    for (uint32_t i = 1; i < http_headers_max; i++) buf_add(fields, "X: y\r\n");
    buf_add(fields, "\r\n");
    life(fields, "200 open|GET /", "64 headers");
    fields.len -= 2;
    buf_add(fields, "X: y\r\n\r\n");
    life(fields, "431 shut|", "65 headers");

    for (size_t len : {http_body_bytes_max, http_body_bytes_max + 1}) {
        body.len = chunks.len = 0;
        buf_printf(body, "POST /p HTTP/1.1\r\n" H "Content-Length: %zu\r\n\r\n", len);
        buf_printf(chunks, "POST /p HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n%zx\r\n", len);
        for (size_t i = 0; i < len; i++) buf_add_char(body, 'b'), buf_add_char(chunks, 'b');
        buf_add(chunks, "\r\n0\r\n\r\n");
        life(body, len == http_body_bytes_max ? "200 open|POST /p [bbb" : "413 shut|", "a body by length");
        life(chunks, len == http_body_bytes_max ? "200 open|POST /p [bbb" : "413 shut|", "a body in chunks");
    }

    buf_add(many, "POST /p HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 20'000; i++) buf_add(many, "1\r\nc\r\n");
    buf_add(many, "0\r\n\r\n");
    life(many, "200 open|POST /p [ccc", "20,000 chunks of a byte");
    buf_add(extension, "POST /p HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n1;");
    for (int i = 0; i < 20'000; i++) buf_add_char(extension, 'e');
    buf_add(extension, "\r\nx\r\n0\r\n\r\n");
    life(extension, "413 shut|", "an endless chunk extension");
    // What frames a body may be as long as a head and eight bytes more for each of its own; here 11 beside the extension, for one.
    for (size_t len : {http_head_bytes_max + 8 - 11, http_head_bytes_max + 8 - 10}) {
        extension.len = 0;
        buf_add(extension, "POST /p HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0;");
        for (size_t i = 0; i < len; i++) buf_add_char(extension, 'e');
        buf_add(extension, "\r\n\r\n");
        life(extension, len == http_head_bytes_max - 3 ? "200 open|POST /p [x" : "413 shut|", "a chunk extension of 8 KiB");
    }
    buf_add(trailer, "POST /p HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n0\r\n");
    for (int i = 0; i < 65; i++) buf_add(trailer, "T: t\r\n");
    life(trailer, "431 shut|", "65 trailers");
    world_end();
}

// Of two faults the first counts, also when both have come in one piece: what a request is answered never hangs on how it was cut.
static void the_first_fault_of_chunks_counts(void **) {
    world_begin();
    ScopedBuf trailers, framing;
    buf_add(trailers, "POST /p HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n0\r\n: t\r\n");
    for (int i = 0; i < 65; i++) buf_add(trailers, "T: t\r\n");
    check_every_way(buf_view(trailers), "400 shut|", "a trailer without a name, and 65 more");
    buf_add(framing, "POST /p HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n1000;");
    for (size_t i = 0; i < http_head_bytes_max; i++) buf_add_char(framing, 'e');
    buf_add(framing, "\r\n");
    for (size_t i = 0; i < 0x1000; i++) buf_add_char(framing, 'd');
    buf_add(framing, "\r\n0\r\n\r\n");
    for (Way way : {Way{Way::whole, 0}, Way{Way::bytes, 0}}) {
        ScopedBuf story;
        live(buf_view(framing), way, story);
        check_text(buf_view(story), "413 shut|", "8 KiB of extension before the first data");
    }
    world_end();
}

// What is still coming after a refusal is thrown away, for a while.
static void a_refused_peer_is_heard_out(void **) {
    world_begin();
    ScopedBuf sent, noise;
    for (int i = 0; i < 64 * 1024; i++) buf_add_char(noise, 'n');
    ConnId id = world_connect(&sent);
    world_feed(id, "POST /p HTTP/1.1\r\n" H "Content-Length: 99999999\r\n\r\n");
    assert_true(has(sent, "413"));
    for (int i = 0; i < 15; i++) world_feed(id, buf_view(noise));
    assert_non_null(conn_get(id));
    world_feed(id, buf_view(noise));
    world_feed(id, buf_view(noise));
    assert_null(conn_get(id)); // a megabyte is enough
    world_end();
}

static void answers_have_what_they_must(void **) {
    world_begin();
    ScopedBuf sent;
    ConnId id = world_connect(&sent);
    world_feed(id, "GET /x HTTP/1.1\r\nHost: chat.lan:8000\r\n\r\n");
    for (const char *line : {"HTTP/1.1 200 OK\r\n", "\r\nContent-Length: 2\r\n", "\r\nContent-Type: text/plain\r\n", "\r\nCache-Control: no-store\r\n",
                             "\r\nX-Content-Type-Options: nosniff\r\n", "\r\nReferrer-Policy: no-referrer\r\n", "\r\nCross-Origin-Opener-Policy: same-origin\r\n",
                             "\r\nCross-Origin-Resource-Policy: same-origin\r\n", "\r\nX-Frame-Options: DENY\r\n", "\r\nContent-Security-Policy: default-src 'none'; ",
                             "; connect-src 'self' ws://chat.lan:8000 wss://chat.lan:8000\r\n", "\r\n\r\n/x"})
        check(has(sent, line), "no %s", line);
    assert_false(has(sent, "\r\nConnection:")); // it goes on, which HTTP/1.1 takes for granted and HTTP/1.0 wants to hear
    sent.len = 0;
    world_feed(id, "GET /x HTTP/1.0\r\n" H "Connection: keep-alive\r\n\r\n");
    assert_true(has(sent, "\r\nConnection: keep-alive\r\n"));
    sent.len = 0;
    world_feed(id, "GET /x HTTP/1.1\r\nHost: evil.example\r\n\r\n");
    assert_true(has(sent, "connect-src 'self'\r\n")); // not a word of a host that may not be named
    sent.len = 0;
    world_feed(id, "HEAD /long HTTP/1.1\r\n" H "\r\n");
    assert_true(has(sent, "\r\nContent-Length: 5\r\n"));
    assert_true(buf_view(sent).ends_with("\r\n\r\n"));
    world.request = [](HttpRequest *r) {
        HttpAnswer answer;
        answer.status = r->path == "/304" ? 304 : 204;
        answer.headers = "ETag: \"x\"\r\n";
        http_respond(r, answer);
    };
    for (const char *path : {"/204", "/304"}) {
        ScopedBuf script;
        buf_printf(script, "GET %s HTTP/1.1\r\n" H "\r\n", path);
        sent.len = 0;
        world_feed(id, buf_view(script));
        assert_true(has(sent, path + 1));
        assert_true(has(sent, "\r\nETag: \"x\"\r\n"));
        assert_false(has(sent, "Content-Length"));
        assert_true(buf_view(sent).ends_with("\r\n\r\n"));
    }
    world.request = [](HttpRequest *r) { http_respond_error(r, Err::rate_limited, nullptr, 7); };
    sent.len = 0;
    world_feed(id, "GET / HTTP/1.1\r\n" H "\r\n");
    assert_true(has(sent, "HTTP/1.1 429 ") && has(sent, "\r\nRetry-After: 7\r\n") && has(sent, "{\"error\":\"rate_limited\",\"message\":\""));
    world_end();
}

static void a_request_can_be_read(void **) {
    world_begin();
    world.request = [](HttpRequest *r) {
        check_text(http_header(r, "accept"), "a/b", "the first of two");
        assert_true(http_has_header(r, "x-empty") && http_header(r, "x-empty").empty());
        assert_false(http_has_header(r, "x-none"));
        check_text(http_header(r, "x-trimmed"), "in the middle", "trimmed");
        ScopedBuf out;
        assert_true(http_query(r, "q", out));
        check_text(buf_view(out), "a b+\xc3\xa4", "q");
        out.len = 0;
        assert_true(http_query(r, "empty", out) && out.len == 0);
        assert_true(http_query(r, "flag", out) && out.len == 0);
        assert_false(http_query(r, "bad", out));
        assert_false(http_query(r, "utf", out));
        assert_false(http_query(r, "none", out));
        assert_int_equal(out.len, 0);
        size_t at = 0;
        std::string_view value;
        const char *want[] = {"one", "", "three", "four=4"};
        for (const char *w : want) {
            assert_true(http_cookie_next(r, "c", &at, &value));
            check_text(value, w, "cookie");
        }
        assert_false(http_cookie_next(r, "c", &at, &value));
        http_respond_error(r, Err::not_found);
    };
    check_every_way("GET /x?q=a+b%2b%C3%A4&empty=&flag&bad=%4&utf=%ff&q=2 HTTP/1.1\r\n" H "Accept: a/b\r\nAccept: c/d\r\nX-EMPTY: \r\nX-Trimmed: \t in the middle \t\r\n"
                    "Cookie: c=one; cc=no; c=\r\nCookie: d; c=\"three\";c=four=4\r\n\r\n",
                    "404 open|GET /x?q=a+b%2b%C3%A4&empty=&flag&bad=%4&utf=%ff&q=2\n", "a request");
    world_end();
}

// What comes of it is the routes' part: reading is answered all the same.
static void several_origins_never_match(void **) {
    const struct {
        const char *fields, *want;
    } rows[] = {
        {"Origin: http://localhost\r\n", "404 open|GET /\n"},
        {"Origin: http://localhost\r\nOrigin: http://localhost\r\n", "403 open|GET /\n"},
        {"Origin: http://localhost\r\nOrigin: http://other\r\n", "403 open|GET /\n"},
        {"Origin: http://localhost, http://localhost\r\n", "403 open|GET /\n"},
        {"Origin: http://localhost\r\nOrigin:\r\n", "403 open|GET /\n"},
        {"Origin: null\r\n", "403 open|GET /\n"},
    };
    world_begin();
    world.request = [](HttpRequest *r) {
        assert_true(r->origin_present);
        http_respond_error(r, r->origin_ok ? Err::not_found : Err::bad_origin);
    };
    for (auto &row : rows) {
        ScopedBuf script;
        buf_printf(script, "GET / HTTP/1.1\r\n" H "%s\r\n", row.fields);
        check_every_way(buf_view(script), row.want, row.fields);
    }
    world_end();
}

static ConnId waiting;

static void answers_may_come_later(void **) {
    world_begin();
    world.request = [](HttpRequest *r) { waiting = r->id; };
    ScopedBuf sent;
    ConnId id = world_connect(&sent);
    world_feed(id, "GET /1 HTTP/1.1\r\n" H "\r\nGET /2 HTTP/1.1\r\n" H "\r\n");
    world_feed(id, "GET /3 HTTP/1.1\r\n" H "\r\n");
    check_text(buf_view(world.log), "GET /1\n", "one after the other");
    assert_int_equal(sent.len, 0);
    for (int i = 1; i <= 3; i++) {
        HttpRequest *r = http_pending(waiting);
        assert_non_null(r);
        assert_int_equal(r->path[1], '0' + i);
        http_respond(r, {});
        assert_null(http_pending(waiting));
        conn_work();
    }
    check_text(buf_view(world.log), "GET /1\nGET /2\nGET /3\n", "in order");
    world_feed(id, "GET /4 HTTP/1.1\r\n" H "\r\n");
    world_disconnect(id);
    assert_null(http_pending(waiting)); // it has gone meanwhile
    ConnId other = world_connect(&sent);
    assert_int_equal((uint32_t)other, (uint32_t)id); // the same slot
    assert_true(other != id);
    assert_null(conn_get(id));
    world_end();
}

static void handlers_may_end_the_connection(void **) {
    world_begin();
    world.request = [](HttpRequest *r) { conn_abort(r->conn); };
    check_every_way(GET("/", ""), " gone|GET /\n", "aborted by its handler");
    world_end();
}

static void expectations_are_met(void **) {
    world_begin();
    ScopedBuf sent;
    ConnId id = world_connect(&sent);
    world_feed(id, "POST /p HTTP/1.1\r\n" H "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    check_text(buf_view(sent), "HTTP/1.1 100 Continue\r\n\r\n", "go on");
    world_feed(id, "hi");
    check_text(buf_view(world.log), "POST /p [hi]\n", "the body");
    sent.len = 0;
    world_feed(id, "POST /p HTTP/1.1\r\n" H "Expect: 100-continue\r\nContent-Length: 2\r\n\r\nhi"); // it did not wait
    assert_false(has(sent, "100 Continue"));
    sent.len = 0;
    world_feed(id, "POST /p HTTP/1.1\r\n" H "Expect: 100-continue\r\nContent-Length: 70000\r\n\r\n");
    assert_true(has(sent, "413") && !has(sent, "100 Continue"));
    world_end();
}

static void proxies_are_believed_when_trusted(void **) {
    static Cidr trusted[2];
    cidr_parse("10.0.0.0/8", &trusted[0]);
    cidr_parse("203.0.113.5", &trusted[1]);
    struct {
        const char *peer, *lines, *client;
        bool tls;
    } rows[] = {
        {"203.0.113.5", "", "203.0.113.5", false},
        {"203.0.113.5", "X-Forwarded-For: 198.51.100.7\r\nX-Forwarded-Proto: https\r\n", "198.51.100.7", true},
        {"203.0.113.5", "X-Forwarded-For: 1.1.1.1, 198.51.100.7, 10.0.0.9\r\n", "198.51.100.7", false},
        {"203.0.113.5", "X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 198.51.100.7\r\n", "198.51.100.7", false},
        {"203.0.113.5", "X-Forwarded-For: 198.51.100.7\r\nX-Forwarded-For: 10.1.1.1\r\n", "198.51.100.7", false},
        {"203.0.113.5", "X-Forwarded-For: 10.0.0.1, 10.0.0.2\r\n", "10.0.0.1", false},
        {"203.0.113.5", "X-Forwarded-For: [2001:db8::1]:443\r\n", "2001:db8::1", false},
        {"203.0.113.5", "X-Forwarded-For: 198.51.100.7:1234\r\n", "198.51.100.7", false},
        {"203.0.113.5", "X-Forwarded-For: unknown\r\n", "203.0.113.5", false},
        {"203.0.113.5", "X-Forwarded-For: 198.51.100.7, nonsense, 10.0.0.1\r\n", "10.0.0.1", false},
        {"203.0.113.5", "X-Forwarded-Proto: http\r\n", "203.0.113.5", false},
        {"198.51.100.1", "X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-Proto: https\r\n", "198.51.100.1", false},
    };
    NetOptions options;
    options.trusted = trusted;
    options.trusted_count = 2;
    world_begin(options);
    world.request = [](HttpRequest *r) {
        ScopedBuf client;
        address_print(r->client, client);
        world.log.len = 0;
        buf_printf(world.log, "%.*s %d", (int)client.len, client.data, r->tls);
        http_respond(r, {});
    };
    for (auto &row : rows) {
        ScopedBuf sent, script, want;
        buf_printf(script, "GET / HTTP/1.1\r\n" H "%s\r\n", row.lines);
        buf_printf(want, "%s %d", row.client, row.tls);
        ConnId id = world_connect(&sent, row.peer);
        world_feed(id, buf_view(script));
        check_text(buf_view(world.log), buf_view(want), row.lines);
        world_disconnect(id);
    }
    world_end();
}

static void handshakes_are_told_apart(void **) {
    world_begin();
    world.request = [](HttpRequest *r) {
        world.log.len = 0;
        buf_printf(world.log, "%d", r->upgrade_websocket);
        http_respond(r, {});
    };
    struct {
        const char *script;
        bool is;
    } rows[] = {
#define KEY "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define V13 "Sec-WebSocket-Version: 13\r\n"
#define UP "Upgrade: websocket\r\nConnection: Upgrade\r\n"
        {"GET / HTTP/1.1\r\n" H UP KEY V13 "\r\n", true},
        {"GET / HTTP/1.1\r\n" H "UPGRADE: h2c, WebSocket\r\nconnection: keep-alive, UPGRADE\r\n" KEY V13 "\r\n", true},
        {"GET / HTTP/1.1\r\n" H "Upgrade: websocket\r\nConnection: close\r\nConnection: upgrade\r\n" KEY V13 "\r\n", true},
        {"GET / HTTP/1.0\r\n" H UP KEY V13 "\r\n", false},
        {"POST / HTTP/1.1\r\n" H UP KEY V13 "\r\n", false},
        {"GET / HTTP/1.1\r\n" H "Upgrade: websocket\r\n" KEY V13 "\r\n", false},
        {"GET / HTTP/1.1\r\n" H "Connection: Upgrade\r\n" KEY V13 "\r\n", false},
        {"GET / HTTP/1.1\r\n" H "Upgrade: websockets\r\nConnection: Upgrade\r\n" KEY V13 "\r\n", false},
        {"GET / HTTP/1.1\r\n" H UP KEY "\r\n", false},
        {"GET / HTTP/1.1\r\n" H UP KEY "Sec-WebSocket-Version: 8\r\n\r\n", false},
        {"GET / HTTP/1.1\r\n" H UP V13 "\r\n", false},
        {"GET / HTTP/1.1\r\n" H UP KEY KEY V13 "\r\n", false},
        {"GET / HTTP/1.1\r\n" H UP V13 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=\r\n\r\n", false},
        {"GET / HTTP/1.1\r\n" H UP V13 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZR==\r\n\r\n", false},
        {"GET / HTTP/1.1\r\n" H UP V13 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZSBhbmQ=\r\n\r\n", false},
        {"GET / HTTP/1.1\r\n" H UP V13 "Sec-WebSocket-Key: +/09azAZbXBsZSBub25jZQ==\r\n\r\n", true},
        {"GET / HTTP/1.1\r\n" H UP V13 "Sec-WebSocket-Key: -GhlIHNhbXBsZSBub25jZQ==\r\n\r\n", false}, // beside each range of base64
        {"GET / HTTP/1.1\r\n" H UP V13 "Sec-WebSocket-Key: :GhlIHNhbXBsZSBub25jZQ==\r\n\r\n", false},
        {"GET / HTTP/1.1\r\n" H UP V13 "Sec-WebSocket-Key: @GhlIHNhbXBsZSBub25jZQ==\r\n\r\n", false},
        {"GET / HTTP/1.1\r\n" H UP V13 "Sec-WebSocket-Key: [GhlIHNhbXBsZSBub25jZQ==\r\n\r\n", false},
        {"GET / HTTP/1.1\r\n" H UP V13 "Sec-WebSocket-Key: `GhlIHNhbXBsZSBub25jZQ==\r\n\r\n", false},
        {"GET / HTTP/1.1\r\n" H UP V13 "Sec-WebSocket-Key: {GhlIHNhbXBsZSBub25jZQ==\r\n\r\n", false},
    };
    for (auto &row : rows) {
        ScopedBuf sent;
        ConnId id = world_connect(&sent);
        world_feed(id, row.script);
        check_text(buf_view(world.log), row.is ? "1" : "0", row.script);
        world_disconnect(id);
    }
    world_end();
}

// As if so much time had gone by.
static void age(ConnId id, uint64_t ms) {
    Conn *c = conn_get(id);
    assert_non_null(c);
    c->since_ms -= ms;
    c->progress_ms -= ms;
    deadline_check(c);
    conn_work();
}

static void everything_has_a_deadline(void **) {
    world_begin();
    ScopedBuf sent;
    ConnId id = world_connect(&sent);
    age(id, http_head_ms_max - 100);
    assert_non_null(conn_get(id));
    age(id, 100);
    assert_null(conn_get(id)); // said nothing: no answer either
    assert_int_equal(sent.len, 0);

    id = world_connect(&sent);
    world_feed(id, "GET / HT");
    age(id, http_head_ms_max - 100);
    world_feed(id, "TP/1.1\r\n"); // a byte now and then does not help
    age(id, 100);
    assert_true(has(sent, "HTTP/1.1 408 ") && has(sent, "timed_out") && conn_get(id)->state == ConnState::draining);
    age(id, drain_ms_max - 100); // time enough to read that
    assert_non_null(conn_get(id));
    age(id, 100);
    assert_null(conn_get(id));

    sent.len = 0;
    id = world_connect(&sent);
    world_feed(id, "POST / HTTP/1.1\r\n" H "Content-Length: 10\r\n\r\nabc");
    age(id, http_body_ms_max - 100);
    world_feed(id, "d");
    age(id, 100);
    assert_true(has(sent, "HTTP/1.1 408 "));
    world_disconnect(id);

    sent.len = 0;
    id = world_connect(&sent);
    world_feed(id, "GET / HTTP/1.1\r\n" H "\r\n");
    age(id, http_idle_ms_max - 100);
    assert_non_null(conn_get(id));
    sent.len = 0;
    age(id, 100);
    assert_null(conn_get(id));
    assert_int_equal(sent.len, 0);
    world_end();
}

static void the_oldest_guest_without_a_session_goes_first(void **) {
    NetOptions options;
    options.connections_max = 4;
    world_begin(options);
    ScopedBuf sent;
    ConnId ids[4];
    for (ConnId &id : ids) id = world_connect(&sent);
    conn_set_authenticated(conn_get(ids[0]));
    world_feed(ids[1], "GET / HTTP/1.1\r\n" H "\r\n"); // was busy since
    world_feed(ids[2], "GET / HT");                    // half a request is none
    ConnId fifth = world_connect(&sent);
    assert_null(conn_get(ids[2]));
    assert_non_null(conn_get(ids[0]));
    world.request = [](HttpRequest *) {}; // never answers
    for (ConnId id : {ids[1], ids[3], fifth}) world_feed(id, "GET / HTTP/1.1\r\n" H "\r\n");
    sent.len = 0;
    ConnId sixth = world_connect(&sent);
    assert_true(has(sent, "HTTP/1.1 503 ") && has(sent, "\r\nRetry-After: ") && has(sent, "overloaded"));
    assert_int_equal((int)conn_get(sixth)->state, (int)ConnState::draining);
    world_disconnect(sixth);
    world_disconnect(ids[0]);
    sent.len = 0;
    assert_non_null(conn_get(world_connect(&sent)));
    assert_int_equal(sent.len, 0);
    world_end();
}

// Those who are told that they are too many linger until they have read it, and in nobody's place: not in one of all, nor in one of their address's.
static void who_is_refused_takes_no_place(void **) {
    for (bool is_of_address : {false, true}) {
        NetOptions options;
        (is_of_address ? options.connections_per_address_max : options.connections_max) = 4;
        options.refused_max = 3;
        world_begin(options);
        ScopedBuf sent;
        ConnId ids[4];
        for (ConnId &id : ids) conn_set_authenticated(conn_get(id = world_connect(&sent)));
        for (int i = 0; i < 3; i++) {
            sent.len = 0;
            assert_int_equal((int)conn_get(world_connect(&sent))->state, (int)ConnState::draining);
            assert_true(has(sent, "HTTP/1.1 503 "));
        }
        sent.len = 0;
        ConnId mute = world_connect(&sent); // as many linger as may
        assert_null(conn_get(mute));
        for (ConnId id : {ids[0], ids[2]}) world_disconnect(id);
        ConnId came[2] = {world_connect(&sent), world_connect(&sent)};
        for (ConnId id : came) assert_int_equal((int)conn_get(id)->state, (int)ConnState::idle);
        assert_int_equal(sent.len, 0);
        if (!is_of_address) { // nor do they keep anybody from making room
            world_disconnect(ids[1]);
            conn_set_authenticated(conn_get(world_connect(&sent)));
            ConnId last = world_connect(&sent);
            assert_null(conn_get(came[0]));
            assert_int_equal((int)conn_get(last)->state, (int)ConnState::idle);
        }
        world_end();
    }
}

static void an_address_has_its_share(void **) {
    static Cidr trusted;
    cidr_parse("198.51.100.0/24", &trusted);
    NetOptions options;
    options.connections_per_address_max = 40;
    options.trusted = &trusted;
    options.trusted_count = 1;
    world_begin(options);
    ScopedBuf sent;
    ConnId first = world_connect(&sent, "2001:db8::1"), other = world_connect(&sent, "203.0.113.9");
    for (uint32_t i = 1; i < connections_without_session_max; i++) world_connect(&sent, "2001:db8::2");
    assert_non_null(conn_get(first));
    world_connect(&sent, "2001:db8::3");
    assert_null(conn_get(first)); // the oldest of the same /64, though `other` of another address is idle too
    assert_non_null(conn_get(other));
    assert_int_equal(sent.len, 0);
    ConnId talking = 0;
    for (uint32_t i = 0; i < 40; i++) conn_set_authenticated(conn_get(talking = world_connect(&sent, "203.0.113.77")));
    assert_int_equal(sent.len, 0);
    world_connect(&sent, "203.0.113.77");
    assert_true(has(sent, "HTTP/1.1 503 "));
    sent.len = 0;
    // Who has a session keeps its place, but one of them may be without.
    conn_abort(conn_get(talking));
    ConnId guest = world_connect(&sent, "203.0.113.77"), newcomer = world_connect(&sent, "203.0.113.77");
    assert_int_equal(sent.len, 0);
    assert_null(conn_get(guest));
    assert_non_null(conn_get(newcomer));
    for (int i = 0; i < 300; i++) world_connect(&sent, i % 2 ? "127.0.0.1" : "198.51.100.3"); // these stand for many
    assert_int_equal(sent.len, 0);
    world_end();
}

static void how_many_guests_is_for_the_operator_to_say(void **) {
    NetOptions options;
    options.guests_per_address_max = 2;
    world_begin(options);
    ScopedBuf sent;
    ConnId first = world_connect(&sent, "203.0.113.9"), second = world_connect(&sent, "203.0.113.9");
    assert_non_null(conn_get(first));
    world_connect(&sent, "203.0.113.9");
    assert_null(conn_get(first));
    assert_non_null(conn_get(second));
    world_end();
}

// Half a body, or a refusal that is not read: with these nobody keeps the others of its address out.
static void a_slow_request_makes_room(void **) {
    for (std::string_view begun : {"POST /p HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nhel", "POST /p HTTP/1.1\r\n" H "Content-Length: x\r\n\r\n"}) {
        world_begin();
        ScopedBuf sent;
        ConnId ids[connections_without_session_max];
        for (ConnId &id : ids) world_feed(id = world_connect(&sent), begun);
        sent.len = 0;
        ConnId last = world_connect(&sent);
        assert_int_equal(sent.len, 0);
        assert_int_equal((int)conn_get(last)->state, (int)ConnState::idle);
        assert_null(conn_get(ids[0]));
        assert_non_null(conn_get(ids[1]));
        world_end();
    }
}

static void a_stopping_server_says_close(void **) {
    world_begin();
    world.request = [](HttpRequest *r) { waiting = r->id; };
    ScopedBuf sent;
    ConnId id = world_connect(&sent);
    world_feed(id, "GET /1 HTTP/1.1\r\n" H "\r\n");
    net_stop_reading();
    http_respond(http_pending(waiting), {});
    assert_true(has(sent, "\r\nConnection: close\r\n"));
    ConnId late = world_connect(&sent);
    world_feed(late, "GET /2 HTTP/1.1\r\n" H "\r\n");
    check_text(buf_view(world.log), "GET /1\n", "nothing new is begun");
    world_end();
}

// Nobody waits for who asks nothing, or has not finished asking; who has asked is answered.
static void a_stopping_server_waits_for_answers_alone(void **) {
    world_begin();
    world.request = [](HttpRequest *r) { waiting = r->id; };
    ScopedBuf sent;
    ConnId idle = world_connect(&sent), head = world_connect(&sent), body = world_connect(&sent), asks = world_connect(&sent);
    world_feed(head, "GET /1 HTTP/1.1\r\n");
    world_feed(body, "POST /2 HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nhel");
    world_feed(asks, "GET /3 HTTP/1.1\r\n" H "\r\n");
    net_stop_reading();
    assert_int_equal(net_finish(), 1);
    for (ConnId id : {idle, head, body}) assert_null(conn_get(id));
    http_respond(http_pending(waiting), {});
    assert_true(has(sent, "HTTP/1.1 200 "));
    world_end();
}

int main() {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_requests),
        cmocka_unit_test(requests_that_two_servers_could_read_differently),
        cmocka_unit_test(sizes_have_bounds),
        cmocka_unit_test(the_first_fault_of_chunks_counts),
        cmocka_unit_test(a_refused_peer_is_heard_out),
        cmocka_unit_test(answers_have_what_they_must),
        cmocka_unit_test(a_request_can_be_read),
        cmocka_unit_test(several_origins_never_match),
        cmocka_unit_test(answers_may_come_later),
        cmocka_unit_test(handlers_may_end_the_connection),
        cmocka_unit_test(expectations_are_met),
        cmocka_unit_test(proxies_are_believed_when_trusted),
        cmocka_unit_test(handshakes_are_told_apart),
        cmocka_unit_test(everything_has_a_deadline),
        cmocka_unit_test(the_oldest_guest_without_a_session_goes_first),
        cmocka_unit_test(who_is_refused_takes_no_place),
        cmocka_unit_test(a_slow_request_makes_room),
        cmocka_unit_test(an_address_has_its_share),
        cmocka_unit_test(how_many_guests_is_for_the_operator_to_say),
        cmocka_unit_test(a_stopping_server_says_close),
        cmocka_unit_test(a_stopping_server_waits_for_answers_alone),
    };
    return cmocka_run_group_tests_name("http", tests, nullptr, nullptr);
}
