// A libuv of our own: the calls that src/net makes, on simulated wires and simulated time. See sim_net.h.
#include "sim_net.h"

#include "sim.h"
#include "sim_store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static List<Wire *> wires;
static List<uv_handle_t *> closing;
static List<Wire *> arriving;
static uv_connection_cb on_connection;
static uv_stream_t *listener;
static uv_timer_t *timers[4];
static uv_idle_t *idles[4];
static uv_prepare_t *turn_watch;
static uint32_t wire_ids;
void (*net_sim_watch)(Wire *w, std::string_view bytes);

// --- the clients' ends

Wire *wire_connect(uint32_t down_max) {
    auto *w = static_cast<Wire *>(mem_zero(sizeof(Wire)));
    w->id = ++wire_ids;
    w->down_max = down_max;
    wires.add(w);
    if (on_connection) arriving.add(w);
    else w->is_cut = true; // refused
    return w;
}

void wire_send(Wire *w, std::string_view bytes) {
    if (!w->is_cut && !w->client_shut) buf_add(w->up, bytes);
}

size_t wire_take(Wire *w, size_t most, Buf &out) {
    size_t n = w->down.len < most ? w->down.len : most;
    buf_add(out, buf_view(w->down).substr(0, n));
    buf_drop_front(w->down, n);
    return n;
}

bool wire_ended(const Wire *w) { return w->down.len == 0 && (w->server_shut || w->is_cut); }
void wire_close(Wire *w) { w->client_shut = true; }

void wire_cut(Wire *w) {
    w->is_cut = true;
    w->is_deaf = !sim.is_healing && chance(200);
    w->up.len = w->is_deaf ? 0 : below((uint32_t)w->up.len + 1);
    w->down.len = below((uint32_t)w->down.len + 1);
}

static void wire_remove(Wire *w) {
    for (List<Wire *> *list : {&wires, &arriving})
        for (uint32_t i = 0; i < list->count; i++) {
            if ((*list)[i] != w) continue;
            for (; i + 1 < list->count; i++) (*list)[i] = (*list)[i + 1];
            list->count--;
        }
    buf_free(w->up);
    buf_free(w->down);
    buf_free(w->handed);
    free(w);
}

// Nobody accepts any more: who waited is cut.
static void arriving_drop() {
    while (arriving.count) {
        Wire *w = arriving[--arriving.count];
        w->is_cut = true;
        if (w->is_let_go) wire_remove(w);
    }
}

// A wire goes when both its ends have let go of it. One that waits to be accepted waits on.
void wire_free(Wire *w) {
    w->client = nullptr;
    w->client_shut = true;
    if (!w->is_cut) wire_cut(w);
    for (const Wire *waiting : arriving)
        if (waiting == w) w->is_let_go = true;
    if (!w->stream && !w->is_let_go) wire_remove(w);
}

Wire *wire_of(const uv_stream_t *stream) { return static_cast<Wire *>(reinterpret_cast<const uv_handle_t *>(stream)->u.reserved[0]); }

void wires_drop() {
    arriving_drop();
    for (uint32_t i = wires.count; i > 0; i--) {
        Wire *w = wires[i - 1];
        if (!w->is_cut) wire_cut(w);
        w->is_deaf = true;
        w->up.len = 0;
    }
}

const char *net_sim_unrest() {
    static char text[120];
    for (const Wire *w : wires) {
        bool is_busy = w->stream && (w->is_cut ? !w->is_deaf : w->down.len || w->req || (w->up.len && w->is_reading));
        if (!is_busy) continue;
        snprintf(text, sizeof text, "wire %u: up %zu, down %zu, %s%s%s%s%s", w->id, w->up.len, w->down.len, w->is_reading ? "read " : "", w->req ? "written " : "", w->is_cut ? "cut " : "",
                 w->client ? "a client's" : "", w->server_shut ? "shut" : "");
        return text;
    }
    return arriving.count || closing.count ? "a connection" : nullptr;
}

bool net_sim_handles() { return closing.count > 0; }

void net_sim_heal() {
    for (Wire *w : wires) w->is_deaf = false;
}

// As much of it as the way has room for. Behind a cut the server does not know that nobody takes it.
static size_t put_down(Wire *w, std::string_view bytes) {
    size_t held = w->is_cut ? w->lost : w->down.len;
    size_t room = held < w->down_max ? w->down_max - held : 0;
    size_t n = bytes.size() < room ? bytes.size() : room;
    if (w->is_cut) w->lost += n;
    else buf_add(w->down, bytes.substr(0, n));
    return n;
}

// --- the server's calls

extern "C" {

uint64_t uv_now(const uv_loop_t *) { return sim.now_us / 1000; }

int uv_tcp_init(uv_loop_t *, uv_tcp_t *h) {
    h->type = UV_TCP;
    h->u.reserved[0] = nullptr;
    return 0;
}
int uv_pipe_init(uv_loop_t *, uv_pipe_t *h, int) {
    h->type = UV_NAMED_PIPE;
    h->u.reserved[0] = nullptr;
    return 0;
}
int uv_tcp_bind(uv_tcp_t *, const sockaddr *, unsigned) { return 0; }
int uv_pipe_open(uv_pipe_t *, uv_file) { return UV_EINVAL; }
int uv_tcp_open(uv_tcp_t *, uv_file) { return UV_EINVAL; } // nobody runs out of descriptors here, so no listener rests
const char *uv_strerror(int) { return "an error"; }
int uv_ip4_addr(const char *, int, sockaddr_in *addr) {
    addr->sin_family = AF_INET;
    return 0;
}
int uv_ip6_addr(const char *, int, sockaddr_in6 *) { return UV_EINVAL; }
int uv_tcp_getsockname(const uv_tcp_t *, sockaddr *addr, int *) {
    addr->sa_family = AF_INET;
    return 0;
}
int uv_tcp_getpeername(const uv_tcp_t *, sockaddr *addr, int *) {
    auto *in = reinterpret_cast<sockaddr_in *>(addr);
    *in = {};
    in->sin_family = AF_INET;
    in->sin_addr.s_addr = 0x0100007f; // loopback: no limit for each address
    return 0;
}
int uv_tcp_nodelay(uv_tcp_t *, int) { return 0; }
int uv_send_buffer_size(uv_handle_t *, int *) { return 0; }

int uv_listen(uv_stream_t *stream, int, uv_connection_cb cb) {
    listener = stream;
    on_connection = cb;
    return 0;
}

int uv_accept(uv_stream_t *, uv_stream_t *client) {
    Wire *w = arriving[0];
    for (uint32_t i = 0; i + 1 < arriving.count; i++) arriving[i] = arriving[i + 1];
    arriving.count--;
    reinterpret_cast<uv_handle_t *>(client)->u.reserved[0] = w;
    w->stream = client;
    return 0;
}

int uv_read_start(uv_stream_t *stream, uv_alloc_cb alloc, uv_read_cb read) {
    Wire *w = wire_of(stream);
    if (!w) return UV_ENOTCONN;
    w->is_reading = true;
    w->alloc = alloc;
    w->read = read;
    return 0;
}

int uv_read_stop(uv_stream_t *stream) {
    if (Wire *w = wire_of(stream)) w->is_reading = false;
    return 0;
}

int uv_write(uv_write_t *req, uv_stream_t *stream, const uv_buf_t bufs[], unsigned count, uv_write_cb done) {
    Wire *w = wire_of(stream);
    promise(!w->req && count <= 2, "two writes under way on a connection");
    w->req = req;
    req->handle = stream;
    w->req_done = done;
    for (unsigned i = 0; i < 2; i++) w->rest[i] = i < count ? std::string_view{bufs[i].base, bufs[i].len} : std::string_view{};
    for (std::string_view rest : w->rest)
        if (net_sim_watch) net_sim_watch(w, rest);
    return 0;
}

size_t uv_stream_get_write_queue_size(const uv_stream_t *stream) {
    const Wire *w = wire_of(stream);
    return w->rest[0].size() + w->rest[1].size();
}

int uv_fileno(const uv_handle_t *h, uv_os_fd_t *fd) {
    auto *w = static_cast<Wire *>(h->u.reserved[0]);
    *fd = w ? (int)(1'000'000 + w->id) : STDERR_FILENO; // a listener's is only doubled, so that it can rest
    return 0;
}

// The calls of the net that go past libuv.

static Wire *wire_of_fd(int fd) {
    for (Wire *w : wires)
        if ((int)(1'000'000 + w->id) == fd) return w;
    return nullptr;
}

// Our side is shut, what the client sends is still read.
int shutdown(int fd, int) noexcept {
    if (Wire *w = wire_of_fd(fd)) w->server_shut = true;
    return 0;
}

ssize_t sendmsg(int fd, const struct msghdr *message, int) {
    Wire *w = wire_of_fd(fd);
    errno = EPIPE;
    if (!w || (w->is_cut && !w->is_deaf)) return -1;
    size_t taken = 0;
    for (size_t i = 0; i < message->msg_iovlen; i++) {
        std::string_view piece = {static_cast<char *>(message->msg_iov[i].iov_base), message->msg_iov[i].iov_len};
        size_t n = put_down(w, piece);
        if (net_sim_watch) net_sim_watch(w, piece.substr(0, n));
        taken += n;
        if (n < piece.size()) break;
    }
    errno = EAGAIN;
    return taken ? (ssize_t)taken : -1;
}

ssize_t send(int fd, const void *bytes, size_t len, int flags) {
    struct iovec piece = {const_cast<void *>(bytes), len};
    struct msghdr message = {};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    return sendmsg(fd, &message, flags);
}

void uv_close(uv_handle_t *h, uv_close_cb cb) {
    h->close_cb = cb;
    if (reinterpret_cast<uv_handle_t *>(listener) == h) {
        listener = nullptr;
        on_connection = nullptr;
        arriving_drop();
    }
    closing.add(h);
}

int uv_timer_init(uv_loop_t *, uv_timer_t *h) {
    h->type = UV_TIMER;
    return 0;
}

int uv_timer_start(uv_timer_t *h, uv_timer_cb cb, uint64_t timeout, uint64_t repeat) {
    h->timer_cb = cb;
    h->timeout = uv_now(nullptr) + timeout;
    h->repeat = repeat;
    for (uv_timer_t *&t : timers)
        if (!t || t == h) {
            t = h;
            return 0;
        }
    return UV_ENOMEM;
}

int uv_idle_init(uv_loop_t *, uv_idle_t *h) {
    h->type = UV_IDLE;
    return 0;
}

int uv_idle_start(uv_idle_t *h, uv_idle_cb cb) {
    h->idle_cb = cb;
    for (uv_idle_t *&i : idles)
        if (i == h) return 0;
    for (uv_idle_t *&i : idles)
        if (!i) {
            i = h;
            return 0;
        }
    return UV_ENOMEM;
}

int uv_idle_stop(uv_idle_t *h) {
    for (uv_idle_t *&i : idles)
        if (i == h) i = nullptr;
    return 0;
}

int uv_prepare_init(uv_loop_t *, uv_prepare_t *h) {
    h->type = UV_PREPARE;
    return 0;
}
int uv_prepare_start(uv_prepare_t *h, uv_prepare_cb cb) {
    h->prepare_cb = cb;
    turn_watch = h;
    return 0;
}

uv_buf_t uv_buf_init(char *base, unsigned len) { return {base, len}; }

} // extern "C"

// --- the loop

void net_sim_before() {
    for (uv_timer_t *&t : timers) {
        if (!t || t->timeout > uv_now(nullptr)) continue;
        t->timeout += t->repeat;
        t->timer_cb(t);
    }
    for (uv_idle_t *&i : idles)
        if (i) i->idle_cb(i);
    if (turn_watch) turn_watch->prepare_cb(turn_watch);
}

static void finish_write(Wire *w, int status) {
    uv_write_t *req = w->req;
    w->req = nullptr;
    w->rest[0] = w->rest[1] = {};
    w->req_done(req, status);
}

static void move_down(Wire *w) {
    for (std::string_view &rest : w->rest) {
        rest.remove_prefix(put_down(w, rest));
    }
    if (w->rest[0].empty() && w->rest[1].empty()) finish_write(w, 0);
}

static void deliver(Wire *w) {
    uv_buf_t buf = {};
    if (w->up.len) {
        w->alloc(reinterpret_cast<uv_handle_t *>(w->stream), 65536, &buf);
        if (!buf.len) return w->read(w->stream, UV_ENOBUFS, &buf);
        uint32_t most = w->up.len < buf.len ? (uint32_t)w->up.len : (uint32_t)buf.len;
        uint32_t n = sim.is_healing || chance(500) ? most : between(1, most);
        memcpy(buf.base, w->up.data, n);
        buf_drop_front(w->up, n);
        return w->read(w->stream, (ssize_t)n, &buf);
    }
    if (w->is_cut && w->is_deaf) return;
    if (w->is_cut || w->client_shut) {
        w->is_reading = false;
        w->read(w->stream, w->is_cut ? UV_ECONNRESET : UV_EOF, &buf);
    }
}

static void poll(Wire *w) {
    if (w->stream && w->req && (!w->is_cut || !w->is_deaf) && (sim.is_healing || chance(700))) {
        if (w->is_cut) finish_write(w, UV_EPIPE);
        else move_down(w);
    }
    if (w->stream && w->is_reading && (sim.is_healing || chance(700))) deliver(w);
}

void net_sim_after() {
    // Who is not accepted when it is told of waits, and the others behind it, until it is.
    for (uint32_t before = UINT32_MAX; arriving.count && arriving.count < before && on_connection && (sim.is_healing || chance(700));) {
        before = arriving.count;
        on_connection(listener, 0);
    }
    // In any order; a wire may go, and others come, while one is looked at.
    static List<Wire *> round;
    round.count = 0;
    for (Wire *w : wires) round.add(w);
    for (uint32_t i = round.count; i > 1; i--) {
        uint32_t k = below(i);
        Wire *w = round[i - 1];
        round[i - 1] = round[k];
        round[k] = w;
    }
    for (Wire *w : round) poll(w);
    for (uint32_t i = 0; i < closing.count; i++) {
        uv_handle_t *h = closing[i];
        for (uv_timer_t *&t : timers)
            if (reinterpret_cast<uv_handle_t *>(t) == h) t = nullptr;
        if (reinterpret_cast<uv_handle_t *>(turn_watch) == h) turn_watch = nullptr;
        for (uv_idle_t *&d : idles)
            if (reinterpret_cast<uv_handle_t *>(d) == h) d = nullptr;
        bool is_stream = h->type == UV_TCP;
        if (Wire *w = is_stream ? static_cast<Wire *>(h->u.reserved[0]) : nullptr) {
            if (w->req) finish_write(w, UV_ECANCELED);
            w->stream = nullptr;
            w->server_shut = true;
            if (w->is_cut && w->client_shut && !w->client) wire_remove(w);
        }
        if (h->close_cb) h->close_cb(h);
    }
    closing.count = 0;
}
