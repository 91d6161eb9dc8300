// A whole server without a process for unit tests: a real store, a real hub and the real net with the web on it; connections have no socket under them, what
// is sent to them is kept. Used by test_socket.cpp and test_api.cpp; one at a time, single-threaded.
#pragma once

#include "store_world.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/metrics.h"
#include "net/conn_internal.h"
#include "web/api.h"
#include "web/delay.h"
#include "web/socket.h"

inline World world;
inline Hub hub;
inline User *alice, *bob;
inline char tokens[2][uuid_chars + 1];

inline size_t ring_header(char out[16], size_t payload_bytes) { return ws_text_header(out, payload_bytes, false); }
inline void session_ended(Session *session) { sockets_of_session_close(session); }
inline void user_blocked(User *user) { sockets_of_user_block(user); }

inline void turn() {
    uv_run(&world.loop, UV_RUN_NOWAIT);
    uint64_t now = clock_ms();
    delay_turn(now);
    hub_turn(&hub, now);
    store_turn(world.s);
    sockets_turn();
}

// Turns until `holds`, for two seconds at most, or a minute at valgrind's pace.
template <typename Test>
inline void until(Test holds, const char *what) {
    uint64_t end = clock_ms() + (under_valgrind() ? 60'000 : 2'000);
    while (!holds()) {
        check(clock_ms() < end, "waited in vain: %s", what);
        turn();
        if (!holds() && !sockets_want_turn() && !store_wants_turn(world.s)) usleep(200);
    }
}

inline bool write_decided;
inline void note(Hub *, StoreWrite *w) {
    check(w->err == Err::ok, "%s", err_info(w->err).code);
    write_decided = true;
}

inline void did_write(StoreWrite *w) {
    write_decided = false;
    hub_submit(&hub, w, {}, note);
    until([] { return write_decided; }, "a write");
}

inline Session *log_in(User *user, char token[uuid_chars + 1]) {
    uuid_make(token);
    StoreWrite *w = hub_write_new(WriteKind::session_add, nullptr);
    w->user = user->id;
    token_hash(token, w->token_hash);
    did_write(w);
    return user->sessions;
}

inline User *sign_up(const char *name) {
    StoreWrite *w = hub_write_new(WriteKind::user_add, nullptr);
    w->name = w->key = in_arena(w, name);
    w->text = "hash";
    did_write(w);
    return model_user_by_name(&hub.model, name);
}

inline void begin(const SocketOptions &sockets = {}, const HubOptions &options = {}) {
    world = {};
    world_make(world);
    ScopedBuf error;
    HubHooks hooks = {.session_ended = session_ended, .user_blocked = user_blocked};
    RingFraming framing = {.header = ring_header, .deflate = ws_encode_deflated};
    assert_true(hub_start(&hub, world.s, framing, options, hooks, words_parse("hate\n", &error)));
    net_start(&world.loop, {}, {.request = api_request, .text = socket_text, .frame = socket_frame, .writable = socket_writable, .closed = socket_closed, .malformed = api_malformed});
    api_start(&hub);
    sockets_start(&hub, sockets);
    alice = sign_up("alice");
    bob = sign_up("bob");
    log_in(alice, tokens[0]);
    log_in(bob, tokens[1]);
}

// --- a client without a network

struct Tab {
    ConnId id;
    Buf sent; // what the server has written
};
inline Tab tabs[8]; // not on the stack, which a failed check leaves behind
inline uint32_t tabs_count;

inline Tab &a_tab() {
    check(tabs_count < 8, "too many tabs");
    return tabs[tabs_count++];
}

inline void feed(Tab &t, std::string_view bytes) {
    if (Conn *c = conn_get(t.id)) conn_feed(c, bytes);
}

inline void open_tab(Tab &t, const char *token, const char *query = "") {
    Address peer;
    assert_true(address_parse("203.0.113.5", &peer));
    t.id = conn_id(conn_for_test(peer, &t.sent));
    ScopedBuf head;
    buf_printf(head, "GET /ws?token=%s%s HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", token, query);
    feed(t, buf_view(head));
}

inline void put_frame(Buf &frame, uint8_t first, std::string_view text) {
    buf_add_char(frame, (char)first);
    if (text.size() < 126) {
        buf_add_char(frame, (char)(0x80 | text.size()));
    } else {
        buf_add_char(frame, (char)(0x80 | 126));
        buf_add_char(frame, (char)(text.size() >> 8));
        buf_add_char(frame, (char)text.size());
    }
    buf_add(frame, {"\0\0\0\0", 4}); // a mask that changes nothing
    buf_add(frame, text);
}

inline void say(Tab &t, std::string_view text) {
    ScopedBuf frame;
    put_frame(frame, 0x81, text);
    feed(t, buf_view(frame));
}

// What was sent behind the handshake's answer, a frame a line; a close frame as "close CODE".
inline void frames_of(const Tab &t, Buf &out) {
    std::string_view rest = buf_view(t.sent);
    size_t head = rest.find("\r\n\r\n");
    if (head == rest.npos) return;
    rest.remove_prefix(head + 4);
    while (rest.size() >= 2) {
        unsigned char first = (unsigned char)rest[0];
        size_t len = (unsigned char)rest[1], skip = 2;
        if (len == 126) len = (size_t)(unsigned char)rest[2] << 8 | (unsigned char)rest[3], skip = 4;
        else if (len == 127) len = (size_t)(unsigned char)rest[7] << 16 | (size_t)(unsigned char)rest[8] << 8 | (unsigned char)rest[9], skip = 10;
        check(rest.size() >= skip + len, "half a frame");
        if (first == 0x88) buf_printf(out, "close %d\n", (unsigned char)rest[2] << 8 | (unsigned char)rest[3]);
        else buf_printf(out, "%.*s\n", (int)len, rest.data() + skip);
        rest.remove_prefix(skip + len);
    }
}

inline uint32_t count_of(const Tab &t, std::string_view part) {
    ScopedBuf frames;
    frames_of(t, frames);
    uint32_t n = 0;
    for (size_t at = 0; (at = buf_view(frames).find(part, at)) != std::string_view::npos; at++) n++;
    return n;
}

inline bool has(const Tab &t, std::string_view part) { return count_of(t, part) > 0; }

inline void until_has(const Tab &t, std::string_view part) {
    until([&] { return has(t, part); }, part.data());
}

inline void online(Tab &t, const char *token) {
    open_tab(t, token);
    until_has(t, "\"ready\"");
}

inline int setup(void **) {
    begin();
    return 0;
}

inline int teardown(void **) {
    sockets_close_all(1001, "");
    sockets_turn();
    net_stop();
    world_close(world);
    hub_stop(&hub);
    delay_free();
    world_remove(world);
    for (Tab &t : tabs) buf_free(t.sent), t.id = 0;
    tabs_count = 0;
    return 0;
}
