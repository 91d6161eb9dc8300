// The page's files over HTTP: gzip and plain, tags, caching, and what is not there. Uses whatever files are built in.
#include "net_world.h"

#include "base/embedded.h"
#include "net/assets.h"

static const Embedded *file; // any
static ScopedBuf sent;
static ConnId id;

static std::string_view ask(const char *method, const char *path, const char *lines) {
    ScopedBuf script;
    buf_printf(script, "%s %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n", method, path, lines);
    sent.len = 0;
    world_feed(id, buf_view(script));
    return buf_view(sent);
}

static std::string_view body_of(std::string_view answer) { return answer.substr(answer.find("\r\n\r\n") + 4); }

static int begin(void **) {
    world_begin();
    file = &embedded_assets[embedded_assets_count / 2];
    world.request = [](HttpRequest *r) {
        if (r->path == "/page") assets_respond_page(r, file->name, 200);
        else if (r->path == "/none") assets_respond_page(r, "no such file", 200);
        else assets_respond(r);
    };
    id = world_connect(&sent);
    return 0;
}

static int end(void **) {
    world_end();
    return 0;
}

static void every_file_in_both_forms(void **) {
    assert_true(embedded_assets_count > 0);
    for (unsigned i = 0; i < embedded_assets_count; i++) {
        const Embedded &f = embedded_assets[i];
        ScopedBuf path, plain, tag;
        buf_printf(path, "/assets/%s/%s", embedded_version, f.name);
        buf_add_char(path, 0);
        std::string_view answer = ask("GET", path.data, "Accept-Encoding: br, gzip;q=0.5\r\n");
        check(answer.starts_with("HTTP/1.1 200 "), "%s: %.20s", f.name, answer.data());
        check(has(sent, "\r\nContent-Encoding: gzip\r\n") && has(sent, "\r\nVary: Accept-Encoding\r\n") && has(sent, ", immutable\r\n"), "%s", f.name);
        assert_false(has(sent, "no-store"));
        assert_true(has(sent, f.etag));
        assert_true(body_of(answer) == std::string_view((const char *)f.gz, f.gz_bytes));
        answer = ask("GET", path.data, "");
        assert_false(has(sent, "Content-Encoding"));
        assert_false(has(sent, f.etag)); // another representation, another tag
        assert_int_equal(body_of(answer).size(), f.raw_bytes);
        assert_true(inflate_gzip({(const char *)f.gz, f.gz_bytes}, f.raw_bytes, plain));
        assert_true(body_of(answer) == buf_view(plain));
    }
}

static void tags_save_sending(void **) {
    ScopedBuf path, lines;
    buf_printf(path, "/assets/%s", file->name);
    buf_add_char(path, 0);
    for (const char *list : {"%s", "W/%s", "\"other\", %s", "*"}) {
        lines.len = 0;
        buf_add(lines, "Accept-Encoding: gzip\r\nIf-None-Match: ");
        for (const char *c = list; *c != 0; c++) {
            if (c[0] == '%') buf_add(lines, file->etag), c++;
            else buf_add_char(lines, *c);
        }
        buf_add(lines, "\r\n");
        buf_add_char(lines, 0);
        std::string_view answer = ask("GET", path.data, lines.data);
        check(answer.starts_with("HTTP/1.1 304 ") && body_of(answer).empty(), "%s", list);
        assert_true(has(sent, "\r\nETag: ") && has(sent, "\r\nCache-Control: no-cache\r\n") && has(sent, "\r\nVary: "));
    }
    assert_true(ask("GET", path.data, "Accept-Encoding: gzip\r\nIf-None-Match: \"other\"\r\n").starts_with("HTTP/1.1 200 "));
    // The gzipped file's tag does not stand for the plain one.
    lines.len = 0;
    buf_printf(lines, "If-None-Match: %s\r\n", file->etag);
    buf_add_char(lines, 0);
    assert_true(ask("GET", path.data, lines.data).starts_with("HTTP/1.1 200 "));
}

// Rows of lines where $ is the file's tag, and what they lead to. The order is that of RFC 9110 §13.2.2.
static void conditions_are_judged_in_their_order(void **) {
    struct {
        const char *lines;
        int status;
    } rows[] = {
        {"If-Match: $\r\n", 200},
        {"If-Match: \"other\", $\r\n", 200},
        {"If-Match: \"other\"\r\nIf-Match: $\r\n", 200}, // one list in two lines
        {"If-Match: *\r\n", 200},
        {"If-Match: \"other\"\r\n", 412},
        {"If-Match: W/$\r\n", 412}, // compared strongly
        {"If-Match: \"other\", *\r\n", 412},
        {"If-Match:\r\n", 412},
        {"If-Match: $\r\nIf-None-Match: $\r\n", 304},
        {"If-Match: $\r\nIf-None-Match: \"other\"\r\n", 200},
        {"If-Match: \"other\"\r\nIf-None-Match: $\r\n", 412},
        {"If-None-Match: \"other\"\r\nIf-None-Match: $\r\n", 304},
        {"If-None-Match: \"other\", *\r\n", 200},
        {"If-Unmodified-Since: Thu, 01 Jan 1970 00:00:00 GMT\r\n", 200}, // there is no date to compare it with
        {"If-Unmodified-Since: Thu, 01 Jan 1970 00:00:00 GMT\r\nIf-None-Match: $\r\n", 304},
    };
    for (auto &row : rows) {
        for (const char *method : {"GET", "HEAD"}) {
            ScopedBuf lines;
            buf_add(lines, "Accept-Encoding: gzip\r\n");
            for (const char *c = row.lines; *c != 0; c++) {
                if (*c == '$') buf_add(lines, file->etag);
                else buf_add_char(lines, *c);
            }
            buf_add_char(lines, 0);
            std::string_view answer = ask(method, "/page", lines.data);
            ScopedBuf want;
            buf_printf(want, "HTTP/1.1 %d ", row.status);
            check(answer.starts_with(buf_view(want)), "%s %s: %.12s", method, row.lines, answer.data());
        }
    }
    check(ask("GET", "/none", "If-Match: \"other\"\r\n").starts_with("HTTP/1.1 404 "), "what is not there is no condition's business");
    check(ask("POST", "/page", "If-Match: \"other\"\r\n").starts_with("HTTP/1.1 405 "), "nor is a method that is not there");
}

static void who_takes_gzip(void **) {
    struct {
        const char *accept;
        bool gzip;
    } rows[] = {
        {"gzip", true}, {"Gzip", true}, {"X-GZip;q=0.1", true}, {"gZIP;q=0", false}, {"deflate, gzip;q=1.0, *;q=0.5", true}, {"*", true}, {"gzip;q=0", false}, {"gzip; q=0.000", false}, {"identity", false},
        {"", false}, {"*;q=0", false}, {"gzip;q=0, *", false}, {"gzipped", false}, {"br", false},
    };
    for (auto &row : rows) {
        ScopedBuf lines;
        buf_printf(lines, "Accept-Encoding: %s\r\n", row.accept);
        buf_add_char(lines, 0);
        ask("GET", "/page", lines.data);
        check(has(sent, "\r\nContent-Encoding: gzip\r\n") == row.gzip, "%s", row.accept);
    }
}

static void pages_and_what_is_not_there(void **) {
    std::string_view answer = ask("GET", "/page", "");
    assert_true(answer.starts_with("HTTP/1.1 200 ") && has(sent, "\r\nCache-Control: no-cache\r\n"));
    answer = ask("HEAD", "/page", "Accept-Encoding: gzip\r\n");
    ScopedBuf length;
    buf_printf(length, "\r\nContent-Length: %u\r\n", file->gz_bytes);
    assert_true(has(sent, buf_view(length)) && body_of(answer).empty());
    assert_true(ask("GET", "/none", "").starts_with("HTTP/1.1 404 "));
    for (const char *path : {"/assets/", "/assets/x", "/assets/0/x", "/assets/0/", "/assets//x", "/assets/a/b/c"})
        check(ask("GET", path, "").starts_with("HTTP/1.1 404 "), "%s", path);
    ScopedBuf old;
    buf_printf(old, "/assets/0123456789abcdef/%s", file->name);
    buf_add_char(old, 0);
    assert_true(ask("GET", old.data, "").starts_with("HTTP/1.1 200 ")); // a page of yesterday asks so; but not for ever
    assert_true(has(sent, "\r\nCache-Control: no-cache\r\n"));
    assert_true(ask("POST", old.data, "").starts_with("HTTP/1.1 405 "));
    assert_true(has(sent, "\r\nAllow: GET, HEAD\r\n"));
}

int main() {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_file_in_both_forms),
        cmocka_unit_test(tags_save_sending),
        cmocka_unit_test(conditions_are_judged_in_their_order),
        cmocka_unit_test(who_takes_gzip),
        cmocka_unit_test(pages_and_what_is_not_there),
    };
    return cmocka_run_group_tests_name("assets", tests, begin, end);
}
