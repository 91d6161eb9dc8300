// A net without sockets: a loop, handlers that write down what they are given, connections whose bytes come from the test and go into a Buf.
// Used by test_http.cpp and test_ws.cpp; one at a time, single-threaded.
#pragma once

#include "unit.h"

#include "base/crypto.h"
#include "net/conn_internal.h"
#include "net/deflate.h"

struct World {
    uv_loop_t loop;
    Buf log;                                 // a line for each request, message and close
    void (*request)(HttpRequest *r);         // what to do with a request beyond noting it; null: answer 200 with its path
    void (*text)(Conn *c, std::string_view); // the same for messages; null: nothing
};
inline World world;

inline void world_request(HttpRequest *r) {
    static const char *const names[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other"};
    buf_printf(world.log, "%s %.*s", names[(int)r->method], (int)r->path.size(), r->path.data());
    if (!r->query.empty()) buf_printf(world.log, "?%.*s", (int)r->query.size(), r->query.data());
    if (!r->body.empty()) buf_printf(world.log, " [%.*s]", (int)(r->body.size() < 80 ? r->body.size() : 80), r->body.data());
    buf_add_char(world.log, '\n');
    if (world.request != nullptr) return world.request(r);
    HttpAnswer answer;
    answer.type = "text/plain";
    answer.body = r->path;
    http_respond(r, answer);
}

inline void world_text(Conn *c, std::string_view text) {
    buf_printf(world.log, "text %zu %.*s\n", text.size(), (int)(text.size() < 80 ? text.size() : 80), text.data());
    if (world.text != nullptr) world.text(c, text);
}

inline void world_end() {
    net_stop();
    uv_run(&world.loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&world.loop), 0);
    buf_free(world.log);
}

inline void world_begin(NetOptions options = {}) {
    static bool ready = crypto_start();
    assert_true(ready);
    if (net.started) world_end(); // of a test that failed
    world = {};
    assert_int_equal(uv_loop_init(&world.loop), 0);
    NetHandlers handlers;
    handlers.request = world_request;
    handlers.text = world_text;
    handlers.writable = [](Conn *) { buf_add(world.log, "writable\n"); };
    handlers.closed = [](Conn *) { buf_add(world.log, "closed\n"); };
    net_start(&world.loop, options, handlers);
}

// A script can come in one piece, byte by byte, or in two pieces.
struct Way {
    enum { whole, bytes, cut } how;
    size_t at; // of the cut
};

// Feeds and does after each piece what the loop would do in its next turns: on a slow machine many requests in one piece take several.
inline void world_feed(ConnId id, std::string_view script, Way way = {Way::whole, 0}) {
    size_t step = way.how == Way::whole ? script.size() : way.how == Way::bytes ? 1 : way.at;
    while (!script.empty()) {
        Conn *c = conn_get(id);
        if (c == nullptr) return;
        size_t n = step == 0 || step > script.size() ? script.size() : step;
        conn_feed(c, script.substr(0, n));
        do conn_work();
        while (net.todo != nullptr);
        script.remove_prefix(n);
        if (way.how == Way::cut) step = 0;
    }
}

inline ConnId world_connect(Buf *sent, const char *peer = "203.0.113.5") {
    Address a;
    assert_true(address_parse(peer, &a));
    return conn_id(conn_for_test(a, sent));
}

inline void world_disconnect(ConnId id) {
    Conn *c = conn_get(id);
    if (c != nullptr) conn_abort(c);
    conn_work();
}

inline bool has(const Buf &b, std::string_view part) { return buf_view(b).find(part) != std::string_view::npos; }
