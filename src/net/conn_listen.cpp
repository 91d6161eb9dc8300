// Listeners: binding, resting, the end. Their sockets are bound once, early, when that is still allowed (sandbox.cpp); libuv's handle is on a descriptor of its own, so
// that it can go and the socket stays. Owns nothing but what it hands out. Loop thread only.
#include "net/conn_listen.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "net/conn_internal.h"

namespace {

constexpr int backlog = 4096; // as far as the kernel lets it: who finds it full sends its SYN again after a whole second
constexpr uint64_t rest_ms = 100;

// libuv has a descriptor in reserve with which it drops who cannot be accepted, without a word; without it we are asked. It opens it anew with each stream that
// is made while it has none (-1), so it gets a number that is no descriptor.
void reserve_forget(uv_loop_t *loop) {
    constexpr int no_descriptor = INT_MAX;
    if (loop->emfile_fd == no_descriptor) return;
    if (loop->emfile_fd > STDERR_FILENO) close(loop->emfile_fd);
    loop->emfile_fd = no_descriptor;
}

void handle_closed(Listener *l) {
    if (--l->handles == 0) free(l);
}

void rest_over(uv_timer_t *timer);

void fall_asleep(Listener *l) {
    l->is_awake = l->has_guest = false;
    uv_close(&l->handle, [](uv_handle_t *handle) {
        Listener *rested = (Listener *)handle->data;
        if (rested->socket >= 0) uv_timer_start(&rested->rest, rest_over, rest_ms, 0);
        handle_closed(rested);
    });
}

void somebody_comes(uv_stream_t *stream, int status) {
    Listener *l = (Listener *)stream->data;
    if (status == 0) {
        l->guest(l);
        return reserve_forget(l->loop); // the guest's stream may have opened it, where a file may still be opened
    }
    static uint64_t said_ms;
    uint64_t now_ms = uv_now(l->loop);
    if (said_ms == 0 || now_ms - said_ms > 60'000) log_warn("newcomers wait: %s; is the limit on open files too low?", uv_strerror(status));
    said_ms = now_ms;
    accept_spare_one();
    fall_asleep(l);
}

void take_handle(Listener *l) {
    if (l->is_unix) uv_pipe_init(l->loop, &l->pipe, 0);
    else uv_tcp_init(l->loop, &l->tcp);
    reserve_forget(l->loop);
    l->handle.data = l;
    l->handles++;
    l->is_awake = true;
}

int hear(Listener *l) { return uv_listen(&l->stream, backlog, somebody_comes); }

// Needs no right to make or to bind a socket.
int wake(Listener *l) {
    int fd = fcntl(l->socket, F_DUPFD_CLOEXEC, 3);
    if (fd < 0) return -errno;
    take_handle(l);
    int failed = l->is_unix ? uv_pipe_open(&l->pipe, fd) : uv_tcp_open(&l->tcp, fd);
    if (failed) close(fd);
    return failed ? failed : hear(l);
}

void rest_over(uv_timer_t *timer) {
    Listener *l = (Listener *)timer->data;
    if (wake(l) == 0) return;
    if (l->is_awake) fall_asleep(l);
    else uv_timer_start(timer, rest_over, rest_ms, 0);
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

int bind_unix(Listener *l, const char *path, mode_t mode) {
    sockaddr_un un = {};
    un.sun_family = AF_UNIX;
    if (strlen(path) >= sizeof un.sun_path) return UV_ENAMETOOLONG;
    memcpy(un.sun_path, path, strlen(path));
    int r = clear_stale(path);
    if (r != 0) return r;
    l->socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (l->socket < 0) return -errno;
    mode_t before = umask(0777 & ~mode); // from the first moment on
    r = bind(l->socket, (sockaddr *)&un, sizeof un) == 0 ? 0 : -errno;
    umask(before);
    // libuv would remove the path with the handle, also with one that only rests.
    struct stat st;
    if (r != 0 || lstat(path, &st) != 0) return r;
    memcpy(l->path, path, strlen(path));
    l->device = st.st_dev;
    l->file = st.st_ino;
    return 0;
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
    uv_os_fd_t fd;
    if (r == 0) r = uv_fileno(&l->handle, &fd);
    if (r == 0) r = (l->socket = fcntl(fd, F_DUPFD_CLOEXEC, 3)) < 0 ? -errno : 0;
    return r;
}

} // namespace

int listener_open(Listener **out, uv_loop_t *loop, const ListenAddress &where, mode_t mode, void (*guest)(Listener *), uint16_t *port) {
    Listener *l = (Listener *)mem_zero(sizeof *l);
    l->loop = loop;
    l->guest = guest;
    l->is_unix = where.address.is_unix;
    l->socket = -1;
    uv_timer_init(loop, &l->rest);
    l->rest.data = l;
    l->handles = 1;
    if (!l->is_unix) take_handle(l);
    int r = l->is_unix ? bind_unix(l, where.unix_path, mode) : bind_tcp(l, where, port);
    if (r == 0) r = l->is_unix ? wake(l) : hear(l);
    if (r != 0) listener_close(l);
    else *out = l;
    return r;
}

void listener_close(Listener *l) {
    if (l->socket >= 0) close(l->socket);
    l->socket = -1;
    struct stat st;
    if (l->path[0] && lstat(l->path, &st) == 0 && st.st_dev == l->device && st.st_ino == l->file) unlink(l->path);
    uv_close((uv_handle_t *)&l->rest, [](uv_handle_t *handle) { handle_closed((Listener *)handle->data); });
    if (l->is_awake) uv_close(&l->handle, [](uv_handle_t *handle) { handle_closed((Listener *)handle->data); });
}
