// The server's end of the control socket. One call at a time on each connection, one connection for each call; the answer ends it.
#include "server_control.h"

#include "admin.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "net/conn_listen.h"
#include "web/audit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

constexpr size_t call_bytes_max = 128 * 1024; // stop-words with the longest text that may be sent
constexpr uint32_t calls_max = 16;
constexpr uint64_t quiet_ms_max = 1'000; // a command asks as soon as it is there

struct ControlConn {
    uv_pipe_t pipe; // first
    uv_write_t write;
    Buf in, out;
    bool asked, writing, closed; // while asked, an answer is still to come and this memory stays
    bool copying;                // its process copies the database as long as it stays
    uid_t uid;                   // of that process
    uint64_t since_ms;           // when it came
};

static Hub *hub;
static Listener *listener; // null: the path of the data is too long for one
static ControlConn *conns[calls_max];

static void free_conn(ControlConn *c) {
    buf_free(c->in);
    buf_free(c->out);
    free(c);
}

static void on_closed(uv_handle_t *h) {
    auto *c = reinterpret_cast<ControlConn *>(h);
    c->closed = true;
    if (!c->asked) free_conn(c);
}

static void end(ControlConn *c) {
    if (uv_is_closing(reinterpret_cast<uv_handle_t *>(c))) return;
    if (c->copying) store_copying(hub->store, false);
    for (ControlConn *&place : conns)
        if (place == c) place = nullptr;
    uv_close(reinterpret_cast<uv_handle_t *>(c), on_closed);
}

static void answer(ControlConn *c, AdminAnswer *a) {
    c->asked = false;
    if (c->closed) {
        admin_answer_free(a);
        return free_conn(c);
    }
    JsonWriter w{.out = &c->out};
    json_begin(w, '{');
    json_field_int(w, "status", a->status);
    json_field(w, "out", buf_view(a->out));
    json_field(w, "error", buf_view(a->error));
    json_end(w, '}');
    admin_answer_free(a);
    uv_buf_t buf = uv_buf_init(c->out.data, static_cast<unsigned>(c->out.len));
    auto written = [](uv_write_t *request, int) { end(static_cast<ControlConn *>(request->data)); };
    c->write.data = c;
    if (uv_is_closing(reinterpret_cast<uv_handle_t *>(c)) || uv_write(&c->write, reinterpret_cast<uv_stream_t *>(c), &buf, 1, written)) end(c);
}

// Whoever may use the control socket is trusted, and that is why it is written down what was done by it.
static void note_command(const ControlConn *c, const StoreWrite *w, const AdminAnswer &a) {
    std::string_view told = buf_view(w->err == Err::ok ? a.out : a.error);
    if (told.ends_with('\n')) told.remove_suffix(1);
    audit(Audit::command, {.is_unix = true}, w->name, "uid %u: %.*s", c->uid, static_cast<int>(told.size()), told.data());
}

static void decided(Hub *, StoreWrite *w) {
    AdminAnswer a;
    admin_conclude(w, &a);
    note_command(reinterpret_cast<ControlConn *>(w->owner_id), w, a);
    answer(reinterpret_cast<ControlConn *>(w->owner_id), &a);
}

static void carry_out(ControlConn *c, const AdminCall &call) {
    AdminAnswer a;
    c->asked = true;
    if (StoreWrite *w = admin_prepare(&hub->model, call, &a)) {
        admin_answer_free(&a);
        return hub_submit(hub, w, {.id = reinterpret_cast<uint64_t>(c)}, decided);
    }
    answer(c, &a);
}

static void on_alloc(uv_handle_t *h, size_t, uv_buf_t *buf);

// `chatterbox backup` copies the database itself, where this server may not write, and stays connected meanwhile. There is nothing to answer; the end says that it is done.
static void let_copy(ControlConn *c) {
    c->copying = true;
    store_copying(hub->store, true);
    uv_read_start(reinterpret_cast<uv_stream_t *>(c), on_alloc, [](uv_stream_t *stream, ssize_t n, const uv_buf_t *) {
        if (n) end(reinterpret_cast<ControlConn *>(stream));
    });
}

static void say(ControlConn *c, int status, std::string_view out, std::string_view error) {
    AdminAnswer a;
    a.status = status;
    buf_add(a.out, out);
    buf_add(a.error, error);
    answer(c, &a);
}

static void tell_stop_words(ControlConn *c, const AdminCall &call) {
    if (call.words_count == 1) return say(c, 0, words_text(hub->words), {});
    bool stopped = words_match(hub->words, call.words[1]);
    say(c, stopped ? 1 : 0, stopped ? "stopped\n" : "let through\n", {});
}

static void hear(ControlConn *c, std::string_view line) {
    JsonRef root = json_parse(line), words = json_get(root, "words");
    AdminCall call = {};
    uint32_t count;
    bool good = json_array(words, &count) && count <= admin_words_max && json_string(json_get(root, "role"), &call.role) &&
                json_string(json_get(root, "hash"), &call.password_hash);
    for (uint32_t i = 0; good && i < count; i++) good = json_string(json_at(words, i), &call.words[i]);
    if (!good) return end(c);
    call.words_count = count;
    if (count == 1 && call.words[0] == "backup") return let_copy(c);
    if (count >= 1 && count <= 2 && call.words[0] == "stop-words") return tell_stop_words(c, call);
    carry_out(c, call);
}

static void on_alloc(uv_handle_t *h, size_t, uv_buf_t *buf) {
    auto *c = reinterpret_cast<ControlConn *>(h);
    buf_reserve(c->in, 4096);
    *buf = uv_buf_init(c->in.data + c->in.len, 4096);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *) {
    auto *c = reinterpret_cast<ControlConn *>(stream);
    if (n < 0) return end(c);
    c->in.len += static_cast<size_t>(n);
    const void *newline = memchr(c->in.data, '\n', c->in.len);
    if (!newline && c->in.len > call_bytes_max) return end(c);
    if (!newline) return;
    uv_read_stop(stream);
    hear(c, {c->in.data, static_cast<size_t>(static_cast<const char *>(newline) - c->in.data)});
}

static bool is_allowed(uv_pipe_t *pipe, uid_t *uid) {
    uv_os_fd_t fd;
    struct ucred peer;
    socklen_t len = sizeof peer;
    if (uv_fileno(reinterpret_cast<uv_handle_t *>(pipe), &fd) || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len)) return false;
    *uid = peer.uid;
    return peer.uid == 0 || peer.uid == geteuid();
}

// Who has not asked anything for a while makes room for who comes.
static ControlConn **find_place() {
    for (ControlConn *&place : conns)
        if (!place) return &place;
    for (ControlConn *&place : conns) // end() empties it
        if (!place->asked && !place->copying && !place->out.len && clock_ms() - place->since_ms > quiet_ms_max) {
            end(place);
            return &place;
        }
    return nullptr;
}

static void on_connection(Listener *l) {
    auto *c = static_cast<ControlConn *>(mem_zero(sizeof(ControlConn)));
    uv_pipe_init(l->loop, &c->pipe, 0);
    c->since_ms = clock_ms();
    bool good = uv_accept(&l->stream, reinterpret_cast<uv_stream_t *>(c)) == 0 && is_allowed(&c->pipe, &c->uid);
    ControlConn **place = find_place();
    if (place) *place = c;
    if (!good) return end(c);
    if (!place) return say(c, 1, {}, "the server has as many commands under way as it takes; try again");
    if (uv_read_start(reinterpret_cast<uv_stream_t *>(c), on_alloc, on_read)) end(c);
}

bool control_start(uv_loop_s *loop, Hub *h, const char *data_dir, Buf *error) {
    hub = h;
    ListenAddress where;
    where.address.is_unix = true;
    if (static_cast<size_t>(snprintf(where.unix_path, sizeof where.unix_path, "%s/control", data_dir)) >= sizeof where.unix_path) {
        log_warn("the path of the data directory is too long for a control socket; commands need the server stopped");
        return true;
    }
    unlink(where.unix_path);
    uint16_t no_port;
    int failed = listener_open(&listener, loop, where, 0600, on_connection, &no_port);
    if (failed) buf_printf(*error, "cannot make the control socket %s: %s", where.unix_path, uv_strerror(failed));
    return failed == 0;
}

void control_stop() {
    if (!listener) return;
    listener_close(listener);
    listener = nullptr;
    for (ControlConn *c : conns)
        if (c) end(c);
}
