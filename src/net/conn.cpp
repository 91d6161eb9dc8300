// Connections: their slots, their bytes in and out, their end. Every byte is read into one buffer and written with uv_try_write
// first; only what the kernel would not take is copied. Owns the handles and what is under way. Loop thread only. Who may come in
// is conn_accept.cpp's part, deadlines are conn_deadlines.cpp's, the meaning of bytes http.cpp's and ws.cpp's.
#include "net/conn_internal.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>

#include "base/assert.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "base/metrics.h"
#include "net/deflate.h"

Net net;

namespace {

// Lingering answers to those over a limit have slots beyond it, so that they never take a guest's place.
constexpr uint32_t refused_slots = 64;
constexpr uint32_t slots_first = 256;
constexpr size_t frames_per_write = 512;

bool choked(const Conn *c) {
    return conn_private_bytes(c) + (c->out != nullptr ? c->out->private_bytes : 0) > private_queue_pause_bytes;
}

uv_idle_t work_handle; // runs while something has been put off; its being active makes the next turn come at once
uv_prepare_t turn_handle; // knows when a turn is over: uv_now does not, for in one turn libuv may ask the kernel many times
uint64_t turn_begin_us;   // when the first arrival of this turn was handled; 0: none has been

// Without room for it nothing is read until the next turn has made some.
void read_alloc(uv_handle_t *, size_t, uv_buf_t *buf) { *buf = uv_buf_init(net.read_buffer, budget_is_spent() ? 0 : read_buffer_bytes); }

void read_done(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf);

void update_reading(Conn *c) {
    bool ending = c->state == ConnState::closing || c->state == ConnState::draining;
    bool want = c->state != ConnState::gone && !c->eof && !c->broken && c->held.len == 0 &&
                (ending || (!c->paused && !net.reading_stopped));
    if (want == c->reading || c->sent != nullptr) return;
    c->reading = want;
    if (!want) uv_read_stop(&c->stream);
    else if (uv_read_start(&c->stream, read_alloc, read_done) != 0) conn_end_soon(c);
}

// Gives bytes to whom they belong for as long as they may be looked at. Returns how many were taken.
size_t pump(Conn *c, const char *data, size_t len) {
    size_t at = 0;
    c->pumping = true;
    while (at < len && conn_wants_input(c)) {
        bool socket = c->state == ConnState::socket || c->state == ConnState::closing;
        size_t n = socket ? ws_input(c, data + at, len - at) : http_input(c, data + at, len - at);
        at += n;
        if (n == 0) break;
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
    default:
        if (c->held.len == 0) conn_end(c);
    }
}

// To the next turn.
void put_off(Conn *c, std::string_view bytes) {
    c->heard_ms = net_now();
    buf_add(c->held, bytes);
    budget_note(c);
    conn_resume_soon(c);
    update_reading(c);
}

void read_done(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf) {
    Conn *c = (Conn *)stream->data;
    if (n == UV_ENOBUFS) return net_work_soon();
    if (n == 0 || c->state == ConnState::gone) return;
    if (n > 0) {
        bool is_request = c->state != ConnState::socket;
        bool asks = c->state == ConnState::idle || c->state == ConnState::head || c->state == ConnState::body;
        bool leaves = c->state == ConnState::socket && ws_is_close(buf->base[0]);
        if ((asks || leaves) && c->held.len == 0 && net_turn_is_long()) put_off(c, {buf->base, (size_t)n});
        else conn_feed(c, {buf->base, (size_t)n});
        if (is_request) memory_wipe({buf->base, (size_t)n}); // it may hold a password or a token, and what is needed of it has been copied
        return;
    }
    // Thousands may go at once, a network with them.
    if (n != UV_EOF) return net_turn_is_long() ? conn_end_soon(c) : conn_end(c);
    c->eof = true;
    update_reading(c);
    if (net_turn_is_long()) conn_resume_soon(c);
    else peer_has_shut(c);
}

// What was held back because too much waited to be sent may be looked at again.
void go_on(Conn *c) {
    if (c->held.len != 0 && conn_wants_input(c)) conn_resume_soon(c);
}

void resume(Conn *c) {
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
            go_on(c); // the last handler may have made room
        }
    }
    if (c->state == ConnState::gone) return;
    budget_note(c);
    if (c->state == ConnState::draining && c->drained_bytes > drain_bytes_max) return conn_end(c);
    update_reading(c);
    if (c->eof) peer_has_shut(c);
}

void on_todo(Conn *c) {
    if (c->on_todo) return;
    c->on_todo = true;
    c->todo_after = nullptr;
    if (net.todo == nullptr) net.todo = c;
    else net.todo_last->todo_after = c;
    net.todo_last = c;
    if (!net.stopping) net_work_soon();
}

void slot_free(Conn *c) {
    CB_ASSERT(net.handles > 0 && net.slots != nullptr && c->holds == 0);
    uint32_t slot = (uint32_t)c->id - 1;
    net.slots[slot] = nullptr;
    net.free_slots[net.free_count++] = slot;
    net.handles--;
    free(c);
    net_closed();
}

// How much the kernel takes now; negative: an error. Nothing is under way, so it may go past libuv: what uv_try_write calls is write(), which costs the
// kernel a twentieth more than send() for a small frame, since it looks at sockets as files first.
ssize_t try_write(Conn *c, uv_buf_t *bufs, unsigned count) {
    CB_ASSERT(c->out == nullptr);
    if (c->sent == nullptr) {
        uv_os_fd_t fd;
        if (uv_fileno(&c->handle, &fd) != 0) return UV_EBADF;
        static_assert(sizeof(uv_buf_t) == sizeof(struct iovec) && offsetof(uv_buf_t, len) == offsetof(struct iovec, iov_len));
        struct msghdr message = {};
        message.msg_iov = (struct iovec *)bufs;
        message.msg_iovlen = count;
        for (;;) {
            ssize_t n = count == 1 ? send(fd, bufs->base, bufs->len, MSG_NOSIGNAL) : sendmsg(fd, &message, MSG_NOSIGNAL);
            if (n >= 0) return n;
            if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS) return 0;
            if (errno != EINTR) return -errno;
        }
    }
    size_t before = c->sent->len;
    for (unsigned i = 0; i < count; i++) buf_add(*c->sent, {bufs[i].base, bufs[i].len});
    return (ssize_t)(c->sent->len - before);
}

void write_done(uv_write_t *req, int status) {
    Out *out = (Out *)req->data;
    Conn *c = out->conn;
    c->out = nullptr;
    buf_free(out->owned);
    free(out);
    budget_note(c);
    if (c->state == ConnState::gone) return;
    if (status != 0) return conn_end(c);
    if (c->state == ConnState::answer) return http_answer_done(c);
    if (c->state == ConnState::closing) {
        if (conn_flush_private(c)) ws_sent(c);
        return;
    }
    if (c->state != ConnState::socket) return;
    conn_flush_private(c);
    go_on(c);
    if (!conn_busy(c)) net.handlers.writable(c);
}

// What the kernel did not take of `owned` (from `from` on) and of what is static behind it.
void write_rest(Conn *c, Buf owned, size_t from, std::string_view still, size_t private_bytes) {
    Out *out = (Out *)mem_zero(sizeof *out);
    out->conn = c;
    out->owned = owned;
    out->private_bytes = private_bytes;
    out->req.data = out;
    c->out = out;
    uv_buf_t bufs[2] = {
        uv_buf_init(owned.data + from, (unsigned)(owned.len - from)), uv_buf_init((char *)still.data(), (unsigned)still.size())};
    unsigned first = from == owned.len ? 1 : 0, count = still.empty() ? 1 : 2;
    c->progress_ms = net_now();
    c->progress_left = 0; // set by the first look
    CB_ASSERT(first < count);
    if (uv_write(&out->req, &c->stream, bufs + first, count - first, write_done) != 0) {
        c->out = nullptr;
        buf_free(out->owned);
        free(out);
        conn_end_soon(c);
    }
    budget_note(c);
    if (c->out != nullptr) deadline_arm(c, deadline_of(c));
}

// A frame that has begun must be finished; and when the kernel is full, though it be between two frames, waiting needs
// something to wait with.
void keep_rest(Conn *c, std::string_view bytes) {
    if (!budget_allows(c, bytes.size())) return conn_end_soon(c);
    Buf rest;
    buf_add(rest, bytes);
    write_rest(c, rest, 0, {}, 0);
}

// The kernel took n bytes of the private queue and then `frames`. Returns how many of these are on their way.
size_t settle(Conn *c, const Piece *frames, size_t count, size_t n) {
    if (n < c->queue.len) { // the frames behind it have not begun
        Buf queue = c->queue;
        c->queue = {};
        metric_add(Metric::bytes_out, queue.len);
        write_rest(c, queue, n, {}, queue.len);
        return 0;
    }
    n -= c->queue.len;
    metric_add(Metric::bytes_out, c->queue.len);
    if (c->queue.cap != 0) {
        buf_free(c->queue);
        budget_note(c);
    }
    size_t sent = 0;
    while (sent < count && n >= frames[sent].len) {
        n -= frames[sent].len;
        metric_add(Metric::bytes_out, frames[sent].len);
        sent++;
    }
    if (sent < count) {
        keep_rest(c, {frames[sent].data + n, frames[sent].len - n});
        metric_add(Metric::bytes_out, frames[sent].len);
        sent++;
    }
    metric_add(Metric::frames_out, sent);
    go_on(c);
    return sent;
}

size_t flush(Conn *c, const Piece *frames, size_t count) {
    static uv_buf_t bufs[frames_per_write + 1]; // 8 KB that need not be on the stack of every turn
    unsigned used = 0;
    if (count > frames_per_write) count = frames_per_write;
    if (c->queue.len != 0) bufs[used++] = uv_buf_init(c->queue.data, (unsigned)c->queue.len);
    // Frames that lie side by side, as in the ring, are one piece to the kernel: it counts pieces, not bytes.
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && frames[i - 1].data + frames[i - 1].len == frames[i].data) bufs[used - 1].len += frames[i].len;
        else bufs[used++] = uv_buf_init((char *)frames[i].data, frames[i].len);
    }
    if (used == 0) return 0;
    metric_add(Metric::writes);
    ssize_t taken = try_write(c, bufs, used);
    if (taken < 0) {
        conn_end_soon(c);
        return 0;
    }
    return settle(c, frames, count, (size_t)taken);
}

} // namespace

// Room for all connections that are allowed would be touched at the start, for a server that most often has few.
static void slots_grow() {
    uint32_t room = net.slots_room == 0 ? slots_first : net.slots_room * 2;
    if (room > net.slots_max) room = net.slots_max;
    net.slots = (Conn **)mem_grow(net.slots, room * sizeof *net.slots);
    net.generations = (uint32_t *)mem_grow(net.generations, room * sizeof *net.generations);
    net.free_slots = (uint32_t *)mem_grow(net.free_slots, room * sizeof *net.free_slots);
    for (uint32_t i = net.slots_room; i < room; i++) {
        net.slots[i] = nullptr;
        net.generations[i] = 0;
    }
    net.slots_room = room;
}

void net_start(uv_loop_s *loop, const NetOptions &options, const NetHandlers &handlers) {
    CB_ASSERT(!net.started);
    signal(SIGPIPE, SIG_IGN); // writing to one who has gone is an error code
    net.started = true;
    net.loop = loop;
    net.options = options;
    net.room_at = options.held_bytes_max / 4 * 3;
    net.handlers = handlers;
    net.slots_max = options.connections_max + refused_slots;
    net.read_buffer = (char *)mem_alloc(read_buffer_bytes);
    uv_idle_init(loop, &work_handle);
    uv_prepare_init(loop, &turn_handle);
    uv_prepare_start(&turn_handle, [](uv_prepare_t *) { turn_begin_us = 0; });
    net.handles += 2;
    deadline_start();
}

void net_stop_listening() { accept_stop_listening(); }

void net_stop_reading() {
    net.reading_stopped = true;
    for (uint32_t i = 0; i < net.slots_used; i++)
        if (net.slots[i] != nullptr) update_reading(net.slots[i]);
}

uint32_t net_finish() {
    for (uint32_t i = 0; i < net.slots_used; i++) {
        Conn *c = net.slots[i];
        if (c && (c->state == ConnState::idle || c->state == ConnState::head || c->state == ConnState::body)) conn_end(c);
    }
    return net.open;
}

void net_stop() {
    if (!net.started || net.stopping) return;
    accept_stop_listening();
    net.stopping = true;
    for (uint32_t i = 0; i < net.slots_used; i++)
        if (net.slots[i] != nullptr) conn_end(net.slots[i]);
    conn_work();
    deadline_stop();
    for (uv_handle_t *handle : {(uv_handle_t *)&work_handle, (uv_handle_t *)&turn_handle})
        uv_close(handle, [](uv_handle_t *) {
            net.handles--;
            net_closed();
        });
}

uint32_t net_connections() { return net.open; }

void net_closed() {
    if (!net.stopping || net.handles != 0) return;
    free(net.slots);
    free(net.generations);
    free(net.free_slots);
    free(net.read_buffer);
    buf_free(net.answer_head);
    http_stop();
    ws_stop();
    accept_free();
    deflate_stop();
    net = {};
}

Conn *conn_get(ConnId id) {
    uint32_t slot = (uint32_t)id - 1;
    if (slot >= net.slots_used || net.slots[slot] == nullptr) return nullptr;
    Conn *c = net.slots[slot];
    return c->id == id && c->state != ConnState::gone ? c : nullptr;
}

ConnId conn_id(const Conn *c) { return c->id; }
const Address &conn_peer(const Conn *c) { return c->peer; }
void *conn_owner(const Conn *c) { return c->owner; }
void conn_set_owner(Conn *c, void *owner) { c->owner = owner; }
void conn_set_authenticated(Conn *c) { accept_authenticated(c); }

Conn *conn_new() {
    if (net.free_count == 0 && net.slots_used == net.slots_max) return nullptr;
    if (net.free_count == 0 && net.slots_used == net.slots_room) slots_grow();
    uint32_t slot = net.free_count > 0 ? net.free_slots[--net.free_count] : net.slots_used++;
    Conn *c = (Conn *)mem_zero(sizeof *c);
    c->id = (uint64_t)++net.generations[slot] << 32 | (slot + 1);
    c->fresh = true;
    c->handle.data = c;
    net.slots[slot] = c;
    net.open++;
    net.handles++;
    metric_add(Metric::connections_open);
    metric_add(Metric::connections_total);
    return c;
}

void conn_start(Conn *c) {
    c->heard_ms = net_now();
    conn_enter(c, ConnState::idle);
    update_reading(c);
}

void conn_enter(Conn *c, ConnState state) {
    bool goes_on = c->state == ConnState::closing && state == ConnState::draining; // both within drain_ms_max
    c->state = state;
    if (!goes_on) c->since_ms = net_now();
    bool waits = (state == ConnState::idle || state == ConnState::head) && !c->authenticated;
    if (waits && !c->on_lists) accept_list_enter(c);
    if (!waits && c->on_lists) accept_list_leave(c);
    uint64_t due = deadline_of(c);
    if (due != UINT64_MAX) deadline_arm(c, due);
}

void conn_tell_closed(Conn *c) {
    if (c->closed_told) return;
    c->closed_told = true;
    metric_sub(Metric::sockets_open);
    net.handlers.closed(c);
    c->owner = nullptr;
}

void conn_end(Conn *c) {
    if (c->state == ConnState::gone) return;
    bool was_socket = c->state == ConnState::socket;
    c->state = ConnState::gone;
    if (c->on_lists) accept_list_leave(c);
    accept_forget(c);
    deadline_disarm(c);
    net.open--;
    metric_sub(Metric::connections_open);
    if (was_socket) conn_tell_closed(c);
    http_free(c);
    ws_free(c);
    buf_free(c->queue);
    buf_free(c->held);
    budget_note(c); // what is under way is libuv's until it says so
    if (c->sent != nullptr) { // a test's, without a handle
        c->handle_closed = true;
        return on_todo(c);
    }
    uv_close(&c->handle, [](uv_handle_t *handle) {
        Conn *closed = (Conn *)handle->data;
        closed->handle_closed = true;
        if (!closed->on_todo) slot_free(closed);
    });
}

void conn_end_soon(Conn *c) {
    if (c->state == ConnState::gone) return;
    c->broken = true;
    on_todo(c);
}

void conn_resume_soon(Conn *c) {
    if (c->state != ConnState::gone) on_todo(c);
}

void net_work_soon() { uv_idle_start(&work_handle, [](uv_idle_t *) { conn_work(); }); }

bool net_turn_is_long() {
    uint64_t now_us = clock_us();
    if (turn_begin_us == 0) turn_begin_us = now_us;
    return now_us - turn_begin_us > arrivals_us_max;
}

// Those that are put off while this runs wait for the next turn, and so does what is left when the time is used up: nobody can keep
// the loop here.
void conn_work() {
    budget_make_room();
    Conn *next = net.todo, *last = net.todo_last;
    net.todo = net.todo_last = nullptr;
    if (!net.stopping) {
        uv_idle_stop(&work_handle);
        turn_begin_us = 0; // this is the first of a turn's work
        accept_go_on();
    }
    uint64_t begin_us = clock_us();
    while (next != nullptr) {
        if (!net.stopping && clock_us() - begin_us > arrivals_us_max) {
            last->todo_after = net.todo;
            if (net.todo == nullptr) net.todo_last = last;
            net.todo = next;
            return net_work_soon();
        }
        Conn *c = next;
        next = c->todo_after;
        c->on_todo = false;
        if (c->handle_closed) slot_free(c);
        else if (c->state == ConnState::gone) continue;
        else if (c->broken) conn_end(c);
        else resume(c);
    }
}

void conn_hang_up(Conn *c) {
    CB_ASSERT(c->out == nullptr);
    conn_enter(c, ConnState::draining);
    buf_free(c->held);
    c->held_at = 0;
    http_free(c);
    budget_note(c);
    if (c->eof) return conn_end(c);
    uv_os_fd_t fd;
    // Without this the close would be a reset while unread bytes wait, and a reset takes back what the peer has not read yet.
    if (c->sent == nullptr && uv_fileno(&c->handle, &fd) == 0) shutdown(fd, SHUT_WR);
    update_reading(c);
}

bool conn_send(Conn *c, std::string_view head, std::string_view body, bool body_is_static) {
    CB_ASSERT(c->out == nullptr);
    uv_buf_t bufs[2] = {uv_buf_init((char *)head.data(), (unsigned)head.size()), uv_buf_init((char *)body.data(), (unsigned)body.size())};
    ssize_t taken = c->broken ? (ssize_t)UV_EPIPE : try_write(c, bufs, body.empty() ? 1 : 2);
    if (taken < 0) {
        conn_end_soon(c);
        return false;
    }
    size_t n = (size_t)taken;
    if (n == head.size() + body.size()) return true;
    size_t of_head = std::min(n, head.size());
    head.remove_prefix(of_head);
    body.remove_prefix(n - of_head);
    if (!budget_allows(c, head.size() + (body_is_static ? 0 : body.size()))) {
        conn_end_soon(c);
        return false;
    }
    Buf rest;
    buf_reserve(rest, head.size() + (body_is_static ? 0 : body.size()));
    buf_add(rest, head);
    if (!body_is_static) buf_add(rest, body);
    write_rest(c, rest, 0, body_is_static ? body : std::string_view(), 0);
    return false;
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
        go_on(c);
    }
    budget_note(c);
    update_reading(c);
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

bool conn_flush_private(Conn *c) {
    if (c->out == nullptr && c->queue.len != 0 && !c->broken) flush(c, nullptr, 0);
    return c->out == nullptr && c->queue.len == 0 && !c->broken;
}

void conn_prefetch(const Conn *c) {
    __builtin_prefetch(c);
    __builtin_prefetch(&c->queue);
    __builtin_prefetch(&c->stream.io_watcher.fd);
}

bool conn_busy(const Conn *c) { return c->out != nullptr || c->broken; }
size_t conn_queued(const Conn *c) { return c->queue.len + (c->out != nullptr ? c->out->owned.len : 0); }
size_t conn_private_bytes(const Conn *c) { return c->queue.len; }

bool conn_queue(Conn *c, Piece frame) {
    if (c->state != ConnState::socket || c->broken) return false;
    size_t waiting = c->queue.len + (c->out != nullptr ? c->out->private_bytes : 0);
    if (waiting + frame.len > net.options.private_queue_bytes_max || !budget_allows(c, frame.len)) {
        conn_end_soon(c);
        return false;
    }
    conn_queue_control(c, frame);
    return true;
}

void conn_queue_control(Conn *c, Piece frame) {
    buf_add(c->queue, {frame.data, frame.len});
    budget_note(c);
    metric_add(Metric::frames_out);
}

size_t conn_flush(Conn *c, const Piece *frames, size_t count) {
    if (c->state != ConnState::socket || conn_busy(c)) return 0;
    return flush(c, frames, count);
}

bool conn_flush_span(Conn *c, const Piece *pieces, size_t count, size_t frames_count, size_t *taken) {
    CB_ASSERT(count <= 2 && c->queue.len == 0);
    uv_buf_t bufs[2];
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        bufs[i] = uv_buf_init((char *)pieces[i].data, pieces[i].len);
        bytes += pieces[i].len;
    }
    metric_add(Metric::writes);
    ssize_t n = try_write(c, bufs, (unsigned)count);
    if (n < 0) {
        conn_end_soon(c);
        return true; // there is nobody for the rest
    }
    *taken = (size_t)n;
    metric_add(Metric::bytes_out, *taken);
    if (*taken < bytes) return false;
    metric_add(Metric::frames_out, frames_count);
    go_on(c);
    return true;
}

void conn_flush_rest(Conn *c, Piece rest_of_frame, size_t frames_count) {
    keep_rest(c, {rest_of_frame.data, rest_of_frame.len});
    metric_add(Metric::bytes_out, rest_of_frame.len);
    metric_add(Metric::frames_out, frames_count);
    go_on(c);
}

void conn_pause(Conn *c, bool paused) {
    if (c->paused == paused || c->state == ConnState::gone) return;
    c->paused = paused;
    if (paused) update_reading(c);
    else conn_resume_soon(c);
}

void conn_abort(Conn *c) { conn_end(c); }

Conn *conn_for_test(const Address &peer, Buf *sent) {
    Conn *c = conn_new();
    CB_ASSERT(c != nullptr);
    c->peer = peer;
    c->sent = sent;
    accept_admit(c);
    return c;
}
