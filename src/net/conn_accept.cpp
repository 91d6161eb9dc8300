// Who may come in: listening, the limit of connections in all and for each address (PROTOCOL §4), and who goes when there is no
// more room: the oldest without a session that has no request in hand. Owns the listeners and the counts of addresses. Loop
// thread only.
#include "net/conn_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>

#include "base/crypto.h"
#include "base/idmap.h"
#include "base/log.h"
#include "base/metrics.h"

namespace {

constexpr uint32_t listeners_max = 16;
constexpr int backlog = 4096; // as far as the kernel lets it: who finds it full sends its SYN again after a whole second
constexpr uint64_t rest_ms = 100;

struct Listener {
    bool is_unix;
    bool is_resting; // its handle is closed or about to be; the socket still takes who comes
    bool is_closed;  // of a resting one: its handle is
    bool has_guest;  // whom libuv has accepted and we have not taken: until then it asks for no more
    int socket;      // another descriptor of it, so that it outlives the handle; -1: it is over
    char path[sizeof(sockaddr_un::sun_path)]; // of a Unix socket that is ours to remove
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    };
};

Listener *listeners[listeners_max];
uint32_t listeners_count;
uv_timer_t rest_timer;
IdMap addresses; // keyed_hash of the limit group → AddressCount

uint64_t address_key(const Address &group) { return keyed_hash({(const char *)group.bytes, sizeof group.bytes}); }

// Loopback and trusted proxies stand for many people.
bool counted(const Address &peer) {
    if (address_is_loopback(peer)) return false;
    for (uint32_t i = 0; i < net.options.trusted_count; i++)
        if (cidr_contains(net.options.trusted[i], peer)) return false;
    return true;
}

void list_push(Conn *c, int list, Conn **oldest, Conn **newest) {
    c->links[list] = {*newest, nullptr};
    if (*newest != nullptr) (*newest)->links[list].after = c;
    else *oldest = c;
    *newest = c;
}

void list_remove(Conn *c, int list, Conn **oldest, Conn **newest) {
    Link &l = c->links[list];
    if (l.before != nullptr) l.before->links[list].after = l.after;
    else *oldest = l.after;
    if (l.after != nullptr) l.after->links[list].before = l.before;
    else *newest = l.before;
    l = {};
}

void count_in(Conn *c) {
    if (!counted(c->peer)) return;
    Address group = address_limit_group(c->peer);
    uint64_t key = address_key(group);
    AddressCount *count = (AddressCount *)idmap_get(addresses, key);
    if (count == nullptr) {
        count = (AddressCount *)mem_zero(sizeof *count);
        count->group = group;
        idmap_put(addresses, key, count);
    }
    count->connections++;
    count->without_session++;
    c->count = count;
}

// Makes room for a newcomer where a limit says so. False when there is none.
bool room_for(Conn *c) {
    AddressCount *count = c->count;
    if (count != nullptr && count->connections > net.options.connections_per_address_max) return false;
    if (count != nullptr && count->without_session > connections_without_session_max) {
        if (count->oldest == nullptr) return false;
        conn_end(count->oldest);
    }
    if (net.open > net.options.connections_max) {
        if (net.oldest == nullptr) return false;
        conn_end(net.oldest);
    }
    return true;
}

void take(Conn *c) {
    sockaddr_storage sa = {};
    int len = sizeof sa;
    if (c->handle.type == UV_TCP) {
        if (uv_tcp_getpeername(&c->tcp, (sockaddr *)&sa, &len) != 0) return conn_end(c); // gone already
        c->peer = address_from_sockaddr((sockaddr *)&sa);
        uv_tcp_nodelay(&c->tcp, 1);
        int bytes = http_send_buffer_bytes;
        uv_send_buffer_size(&c->handle, &bytes);
    } else {
        c->peer.is_unix = true;
    }
    accept_admit(c);
}

// Even the places of those who get a refusal are taken: taken off the backlog and closed. For that any stream will do.
void turn_away(uv_stream_t *listener) {
    Listener *guest = (Listener *)mem_zero(sizeof *guest);
    uv_pipe_init(net.loop, &guest->pipe, 0);
    guest->handle.data = guest;
    uv_accept(listener, &guest->stream);
    metric_add(Metric::connections_refused);
    net.handles++;
    uv_close(&guest->handle, [](uv_handle_t *handle) {
        free(handle->data);
        net.handles--;
        net_closed();
    });
}

void somebody_comes(uv_stream_t *stream, int status);
void listener_rest(Listener *l);

// libuv has a descriptor in reserve with which it drops who cannot be accepted, without a word; without it we are asked. It opens it anew whenever it has
// none (-1), so it gets a number that is no descriptor.
void reserve_forget() {
    constexpr int no_descriptor = INT_MAX;
    if (net.loop->emfile_fd == no_descriptor) return;
    if (net.loop->emfile_fd > STDERR_FILENO) close(net.loop->emfile_fd);
    net.loop->emfile_fd = no_descriptor;
}

void rest_over(uv_timer_t *) {
    bool again = false;
    for (uint32_t i = 0; i < listeners_count; i++) {
        Listener *l = listeners[i];
        if (!l->is_resting || !l->is_closed) continue;
        int fd = fcntl(l->socket, F_DUPFD_CLOEXEC, 3), failed = UV_EMFILE;
        if (fd >= 0) {
            if (l->is_unix) uv_pipe_init(net.loop, &l->pipe, 0);
            else uv_tcp_init(net.loop, &l->tcp);
            l->handle.data = l;
            net.handles++;
            l->is_resting = l->is_closed = false;
            failed = l->is_unix ? uv_pipe_open(&l->pipe, fd) : uv_tcp_open(&l->tcp, fd);
            if (failed) close(fd);
            else failed = uv_listen(&l->stream, backlog, somebody_comes);
            if (failed) listener_rest(l);
        }
        again |= failed != 0;
    }
    reserve_forget();
    if (again) uv_timer_start(&rest_timer, rest_over, rest_ms, 0);
}

// A descriptor or memory for a newcomer is missing. libuv would ask for it again and again and come back to nothing else, so its handle is closed; who comes
// waits in the socket's backlog until there is one.
void listener_rest(Listener *l) {
    l->has_guest = false;
    l->is_resting = true;
    uv_close(&l->handle, [](uv_handle_t *handle) {
        Listener *rested = (Listener *)handle->data;
        net.handles--;
        rested->is_closed = true;
        if (rested->socket < 0) free(rested);
        else uv_timer_start(&rest_timer, rest_over, rest_ms, 0);
        net_closed();
    });
}

void somebody_comes(uv_stream_t *stream, int status) {
    if (net.stopping) return;
    if (status != 0) {
        static uint64_t said_ms;
        if (said_ms == 0 || net_now() - said_ms > 60'000) log_warn("newcomers wait: %s; is the limit on open files too low?", uv_strerror(status));
        said_ms = net_now();
        if (net.oldest != nullptr) conn_end(net.oldest); // with its descriptor
        return listener_rest((Listener *)stream->data);
    }
    Listener *listener = (Listener *)stream->data;
    listener->has_guest = net_turn_is_long();
    if (listener->has_guest) return net_work_soon();
    Conn *c = conn_new();
    if (c == nullptr) return turn_away(stream);
    if (listener->is_unix) uv_pipe_init(net.loop, &c->pipe, 0);
    else uv_tcp_init(net.loop, &c->tcp);
    c->handle.data = c;
    if (uv_accept(stream, &c->stream) != 0) return conn_end(c);
    take(c);
}

// A file that is left of a server which has gone would make the bind fail; one that somebody serves on must stay.
int clear_stale(const char *path) {
    struct stat st;
    if (lstat(path, &st) != 0) return errno == ENOENT ? 0 : -errno;
    if (!S_ISSOCK(st.st_mode)) return UV_EADDRINUSE;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;
    sockaddr_un un = {};
    un.sun_family = AF_UNIX;
    memcpy(un.sun_path, path, strlen(path));
    bool alive = connect(fd, (sockaddr *)&un, sizeof un) == 0;
    close(fd);
    if (alive) return UV_EADDRINUSE;
    return unlink(path) == 0 ? 0 : -errno;
}

int bind_unix(Listener *l, const char *path) {
    int r = clear_stale(path);
    if (r != 0) return r;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;
    sockaddr_un un = {};
    un.sun_family = AF_UNIX;
    if (strlen(path) >= sizeof un.sun_path) return close(fd), UV_ENAMETOOLONG;
    memcpy(un.sun_path, path, strlen(path));
    mode_t before = umask(0117); // 0660 from the first moment on
    r = bind(fd, (sockaddr *)&un, sizeof un) == 0 ? 0 : -errno;
    umask(before);
    // libuv would remove the path with the handle, also with one that only rests.
    if (r == 0) memcpy(l->path, path, strlen(path));
    if (r == 0) r = uv_pipe_open(&l->pipe, fd);
    if (r != 0) close(fd);
    return r;
}

int bind_tcp(Listener *l, const ListenAddress &where, uint16_t *port) {
    sockaddr_storage sa = {};
    Buf text;
    address_print(where.address, text);
    buf_add_char(text, 0);
    int r = strchr(text.data, ':') != nullptr ? uv_ip6_addr(text.data, where.port, (sockaddr_in6 *)&sa)
                                              : uv_ip4_addr(text.data, where.port, (sockaddr_in *)&sa);
    buf_free(text);
    if (r == 0) r = uv_tcp_bind(&l->tcp, (sockaddr *)&sa, 0);
    int len = sizeof sa;
    if (r == 0) r = uv_tcp_getsockname(&l->tcp, (sockaddr *)&sa, &len);
    if (r == 0) *port = ntohs(sa.ss_family == AF_INET ? ((sockaddr_in *)&sa)->sin_port : ((sockaddr_in6 *)&sa)->sin6_port);
    return r;
}

void listener_close(Listener *l) {
    if (l->socket >= 0) close(l->socket);
    l->socket = -1;
    if (l->path[0]) unlink(l->path);
    if (l->is_resting && l->is_closed) return free(l);
    if (l->is_resting) return; // goes when its handle is closed
    l->handle.data = l;
    uv_close(&l->handle, [](uv_handle_t *handle) {
        free(handle->data);
        net.handles--;
        net_closed();
    });
}

} // namespace

int net_listen(const ListenAddress &where, uint16_t *port) {
    *port = where.port;
    if (listeners_count == listeners_max) return UV_EMFILE;
    Listener *l = (Listener *)mem_zero(sizeof *l);
    l->is_unix = where.address.is_unix;
    l->socket = -1;
    if (l->is_unix) uv_pipe_init(net.loop, &l->pipe, 0);
    else uv_tcp_init(net.loop, &l->tcp);
    l->handle.data = l;
    net.handles++;
    int r = l->is_unix ? bind_unix(l, where.unix_path) : bind_tcp(l, where, port);
    uv_os_fd_t fd;
    if (r == 0) r = uv_fileno(&l->handle, &fd);
    if (r == 0) r = (l->socket = fcntl(fd, F_DUPFD_CLOEXEC, 3)) < 0 ? -errno : uv_listen(&l->stream, backlog, somebody_comes);
    if (r != 0) {
        listener_close(l);
        return r;
    }
    if (listeners_count == 0) {
        uv_timer_init(net.loop, &rest_timer);
        net.handles++;
    }
    listeners[listeners_count++] = l;
    reserve_forget();
    return 0;
}

void accept_stop_listening() {
    if (listeners_count > 0) {
        uv_close((uv_handle_t *)&rest_timer, [](uv_handle_t *) {
            net.handles--;
            net_closed();
        });
    }
    while (listeners_count > 0) listener_close(listeners[--listeners_count]);
}

void accept_go_on() {
    for (uint32_t i = 0; i < listeners_count; i++)
        if (listeners[i]->has_guest) somebody_comes(&listeners[i]->stream, 0);
}

void accept_admit(Conn *c) {
    count_in(c);
    bool room = room_for(c);
    conn_start(c);
    if (room) return;
    metric_add(Metric::connections_refused);
    http_refuse(c);
}

void accept_list_enter(Conn *c) {
    c->on_lists = true;
    list_push(c, list_all, &net.oldest, &net.newest);
    if (c->count != nullptr) list_push(c, list_address, &c->count->oldest, &c->count->newest);
}

void accept_list_leave(Conn *c) {
    c->on_lists = false;
    list_remove(c, list_all, &net.oldest, &net.newest);
    if (c->count != nullptr) list_remove(c, list_address, &c->count->oldest, &c->count->newest);
}

void accept_authenticated(Conn *c) {
    if (c->authenticated || c->state == ConnState::gone) return;
    c->authenticated = true;
    if (c->on_lists) accept_list_leave(c);
    if (c->count != nullptr) c->count->without_session--;
}

void accept_forget(Conn *c) {
    AddressCount *count = c->count;
    if (count == nullptr) return;
    c->count = nullptr;
    count->connections--;
    if (!c->authenticated) count->without_session--;
    if (count->connections > 0) return;
    idmap_remove(addresses, address_key(count->group));
    free(count);
}

void accept_free() { idmap_free(addresses); }
