// What comes in: every byte is read into one buffer, looked at there, and copied only when it may not be looked at yet. Who says what the bytes mean
// is http.cpp's and ws.cpp's part. Loop thread only.
#include "net/conn_internal.h"

#include <sys/socket.h>

#include "base/assert.h"
#include "base/crypto.h"

namespace {

constexpr size_t talk_bytes_max = 16 * 1024 + 256; // of a text of 4,000 characters of four bytes, and its frame

bool choked(const Conn *c) {
    return conn_private_bytes(c) + (c->out != nullptr ? c->out->private_bytes : 0) > private_queue_pause_bytes;
}

// Without room for it nothing is read until the next turn has made some.
void read_alloc(uv_handle_t *, size_t, uv_buf_t *buf) { *buf = uv_buf_init(net.read_buffer, budget_is_spent() ? 0 : read_buffer_bytes); }

// Gives bytes to whom they belong for as long as they may be looked at. Returns how many were taken.
size_t pump(Conn *c, const char *data, size_t len) {
    size_t at = 0;
    c->pumping = true;
    while (at < len && conn_wants_input(c)) {
        bool socket = c->state == ConnState::socket || c->state == ConnState::closing;
        size_t n = socket ? ws_input(c, data + at, len - at) : http_input(c, data + at, len - at);
        at += n;
        if (n == 0 || (!socket && net_turn_is_long())) break; // many requests may have come in one piece
    }
    c->pumping = false;
    if (c->state != ConnState::draining) return c->state == ConnState::gone ? len : at;
    c->drained_bytes += (uint32_t)(len - at);
    return len;
}

// Nothing more will come. What has come is still answered.
void peer_has_shut(Conn *c) {
    switch (c->state) {
    case ConnState::request:
    case ConnState::answer: return;
    case ConnState::gone: return;
    case ConnState::closing:
        if (c->out != nullptr || c->queue.len != 0) return; // ws_sent ends it, or the deadline
        [[fallthrough]];
    default:
        if (c->held.len == 0) conn_end(c);
    }
}

// To the next turn.
void put_off(Conn *c, std::string_view bytes) {
    c->heard_ms = net_now();
    c->pinged = false;
    if (c->state == ConnState::closing) c->drained_bytes += (uint32_t)bytes.size();
    buf_add(c->held, bytes);
    budget_note(c);
    conn_resume_soon(c);
    conn_update_reading(c);
}

void read_done(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf) {
    Conn *c = (Conn *)stream->data;
    if (n == UV_ENOBUFS) {
        c->heard_ms = net_now(); // there is something, and no room for it
        return net_work_soon();
    }
    if (n == 0 || c->state == ConnState::gone) return;
    if (n > 0) {
        bool is_request = c->state != ConnState::socket;
        bool asks = c->state == ConnState::idle || c->state == ConnState::head || c->state == ConnState::body;
        bool leaves = c->state == ConnState::socket && ws_is_close(buf->base[0]);
        // Nobody who talks sends so much; but it has room for thousands of pings, or to be inflated and looked through for as long as many messages.
        bool is_open = c->state == ConnState::socket || c->state == ConnState::closing;
        bool floods = is_open && ((size_t)n >= talk_bytes_max || ws_gathers(c) >= talk_bytes_max);
        if ((asks || leaves || floods) && c->held.len == 0 && net_turn_is_long()) put_off(c, {buf->base, (size_t)n});
        else conn_feed(c, {buf->base, (size_t)n});
        if (is_request) memory_wipe({buf->base, (size_t)n}); // it may hold a password or a token, and what is needed of it has been copied
        return;
    }
    // Thousands may go at once, a network with them.
    if (n != UV_EOF) return net_turn_is_long() ? conn_end_soon(c) : conn_end(c);
    c->eof = true;
    conn_update_reading(c);
    if (net_turn_is_long()) conn_resume_soon(c);
    else peer_has_shut(c);
}

} // namespace

void conn_update_reading(Conn *c) {
    bool ending = c->state == ConnState::closing || c->state == ConnState::draining;
    bool want = c->state != ConnState::gone && !c->eof && !c->broken && c->held.len == 0 &&
                (ending || (!c->paused && !net.reading_stopped));
    if (want == c->reading) return;
    c->reading = want;
    if (want) c->heard_ms = net_now(); // silence begins anew: what was said while nobody listened has still to be read
    if (c->sent != nullptr) return;
    if (!want) uv_read_stop(&c->stream);
    else if (uv_read_start(&c->stream, read_alloc, read_done) != 0) conn_end_soon(c);
}

void conn_go_on(Conn *c) {
    if (c->held.len != 0 && conn_wants_input(c)) conn_resume_soon(c);
}

void conn_resume(Conn *c) {
    // At the limit what has arrived waits, as what has not been read does, until the next turn has made room: a message that has begun takes more than its bytes.
    if (c->held.len != 0 && c->state != ConnState::closing && conn_wants_input(c) && budget_is_spent()) return conn_resume_soon(c);
    if (c->held.len != 0) {
        // The buffer is out of reach while it is looked at: a handler may end the connection.
        Buf held = c->held;
        size_t at = c->held_at;
        c->held = {};
        c->held_at = 0;
        at += pump(c, held.data + at, held.len - at);
        if (at == held.len || c->state == ConnState::gone) {
            memory_wipe(buf_view(held)); // it may have been a request
            buf_free(held);
        } else {
            c->held = held;
            c->held_at = (uint32_t)at;
            conn_go_on(c); // the last handler may have made room
        }
    }
    if (c->state == ConnState::gone) return;
    budget_note(c);
    if (c->drained_bytes > drain_bytes_max) return conn_end(c);
    conn_update_reading(c);
    if (c->eof) peer_has_shut(c);
}

void conn_feed(Conn *c, std::string_view bytes) {
    c->heard_ms = net_now();
    c->pinged = false;
    size_t taken = 0;
    if (c->state == ConnState::closing || c->state == ConnState::draining) c->drained_bytes += (uint32_t)bytes.size();
    if (c->state == ConnState::draining) {
        taken = bytes.size();
    } else if (c->held.len == 0) {
        taken = pump(c, bytes.data(), bytes.size());
    }
    if (c->state == ConnState::gone) return;
    if (c->drained_bytes > drain_bytes_max) return conn_end(c);
    if (taken < bytes.size()) {
        buf_add(c->held, bytes.substr(taken));
        conn_go_on(c);
    }
    budget_note(c);
    conn_update_reading(c);
}

bool conn_wants_input(const Conn *c) {
    if (c->broken) return false;
    switch (c->state) {
    case ConnState::idle:
    case ConnState::head:
    case ConnState::body: return !net.reading_stopped;
    case ConnState::socket: return !net.reading_stopped && !c->paused && !choked(c);
    case ConnState::closing: return true;
    default: return false;
    }
}

void conn_pause(Conn *c, bool paused) {
    if (c->paused == paused || c->state == ConnState::gone) return;
    c->paused = paused;
    if (paused) conn_update_reading(c);
    else conn_resume_soon(c);
}

void conn_hang_up(Conn *c) {
    CB_ASSERT(c->out == nullptr);
    conn_enter(c, ConnState::draining);
    memory_wipe(buf_view(c->held)); // it may be a request
    buf_free(c->held);
    c->held_at = 0;
    http_free(c);
    budget_note(c);
    if (c->eof) return conn_end(c);
    uv_os_fd_t fd;
    // Without this the close would be a reset while unread bytes wait, and a reset takes back what the peer has not read yet.
    if (c->sent == nullptr && uv_fileno(&c->handle, &fd) == 0) shutdown(fd, SHUT_WR);
    conn_update_reading(c);
}
