// What goes out: offered to the kernel at once, and only what it would not take is copied and left to libuv. The private queue, of whole frames for one
// peer, goes before what it is given from the ring. Loop thread only.
#include "net/conn_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>

#include "base/assert.h"
#include "base/crypto.h"
#include "base/metrics.h"

namespace {

constexpr size_t frames_per_write = 512;

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

void out_free(Conn *c, Out *out) {
    c->out = nullptr;
    bool is_answer = c->state != ConnState::socket && c->state != ConnState::closing;
    if (is_answer) memory_wipe(buf_view(out->owned)); // it may hold a token
    buf_free(out->owned);
    free(out);
}

void write_done(uv_write_t *req, int status) {
    Out *out = (Out *)req->data;
    Conn *c = out->conn;
    out_free(c, out);
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
    conn_go_on(c);
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
    CB_ASSERT(first < count);
    if (uv_write(&out->req, &c->stream, bufs + first, count - first, write_done) != 0) {
        out_free(c, out);
        conn_end_soon(c);
    }
    budget_note(c);
    if (c->out == nullptr) return;
    c->progress_ms = net_now();
    c->progress_left = conn_out_left(c);
    deadline_arm(c, deadline_of(c));
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
    conn_go_on(c);
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

bool conn_flush_private(Conn *c) {
    if (c->out == nullptr && c->queue.len != 0 && !c->broken) flush(c, nullptr, 0);
    return c->out == nullptr && c->queue.len == 0 && !c->broken;
}

void conn_prefetch(const Conn *c) {
    __builtin_prefetch(c);
    __builtin_prefetch(&c->queue);
    __builtin_prefetch(&c->stream.io_watcher.fd);
}

uint32_t conn_out_left(const Conn *c) {
    return (uint32_t)(c->sent == nullptr ? uv_stream_get_write_queue_size(&c->stream) : c->out->owned.len);
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
    conn_go_on(c);
    return true;
}

void conn_flush_rest(Conn *c, Piece rest_of_frame, size_t frames_count) {
    keep_rest(c, {rest_of_frame.data, rest_of_frame.len});
    metric_add(Metric::bytes_out, rest_of_frame.len);
    metric_add(Metric::frames_out, frames_count);
    conn_go_on(c);
}
