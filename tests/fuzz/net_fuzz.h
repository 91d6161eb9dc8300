// What fuzz_http.cpp and fuzz_ws.cpp share: a net without sockets whose handlers check what they are given and write it down, and one life of a connection
// that gets an input in pieces. Any broken promise ends the process. Single-threaded.
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/crypto.h"
#include "base/unicode.h"
#include "net/conn_internal.h"

inline uv_loop_t fuzz_loop;
inline Buf fuzz_story; // what happened in the life under way

inline void fuzz_start(void (*request)(HttpRequest *), void (*text)(Conn *, std::string_view)) {
    CB_ASSERT(crypto_start() && uv_loop_init(&fuzz_loop) == 0);
    NetHandlers handlers;
    handlers.request = request;
    handlers.text = text;
    handlers.writable = [](Conn *) {};
    handlers.closed = [](Conn *) { buf_add(fuzz_story, "closed\n"); };
    net_start(&fuzz_loop, {}, handlers);
}

// `step` bytes at a time; 0: all at once. `prefix` comes first and whole. The state that it ends in is part of the story, what is sent goes to `sent`.
inline void fuzz_live(std::string_view prefix, std::string_view input, size_t step, Buf &sent) {
    Address peer;
    CB_ASSERT(address_parse("203.0.113.5", &peer));
    fuzz_story.len = 0;
    ConnId id = conn_id(conn_for_test(peer, &sent));
    if (!prefix.empty()) conn_feed(conn_get(id), prefix);
    while (!input.empty()) {
        size_t n = step == 0 || step > input.size() ? input.size() : step;
        Conn *c = conn_get(id);
        if (c == nullptr) break;
        conn_feed(c, input.substr(0, n));
        // What was put off, and what that put off: on a slow day a turn is long after a few requests.
        for (int i = 0; i < 3 || (net.todo != nullptr && i < 10'000); i++) conn_work();
        input.remove_prefix(n);
    }
    Conn *c = conn_get(id);
    buf_printf(fuzz_story, "state %d\n", c == nullptr ? -1 : (int)c->state);
    if (c != nullptr) conn_abort(c);
    while (net.todo != nullptr) conn_work();
    CB_ASSERT(net.open == 0);
}

// The same input, cut differently, is the same life.
inline void fuzz_same(const Buf &a, const Buf &b, const char *what, size_t step) {
    if (buf_view(a) == buf_view(b)) return;
    fprintf(stderr, "%s differs when fed by %zu:\n--- %.*s\n--- %.*s\n", what, step, (int)a.len, a.data, (int)b.len, b.data);
    abort();
}
