// The connections of the load generator: what is said on them (four dialects), what each must receive, when. See conns.h.
#include "conns.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

Load load;

namespace {

// ---------------------------------------------------------------- what is said on the socket

// The mark in a message's text: its sender among the senders and the how-manieth of that sender it is. It must come back
// unchanged.
constexpr size_t mark_bytes = 15; // T#sender{3}.count{8}#
constexpr char text_rest[] = " and some words as people write them in a chat";

struct Dialect {
    const char *name, *path, *headers;
    uint8_t opcode;
    bool many;         // one frame may hold several messages, or a part of one
    const char *ready; // bytes that say that this connection gets what is sent from now on; null: at once
    size_t ready_bytes;
    size_t (*hello)(char *out, uint32_t at);                      // sent first
    size_t (*message)(char *out, const char *text, size_t bytes); // wraps one message
};

size_t hello_none(char *, uint32_t) { return 0; }

size_t message_bare(char *out, const char *text, size_t bytes) {
    memcpy(out, text, bytes);
    return bytes;
}

// MQTT 3.1.1: CONNECT with a clean session, then SUBSCRIBE to the topic "r", quality 0.
size_t hello_mqtt(char *out, uint32_t at) {
    char id[16];
    size_t n = static_cast<size_t>(snprintf(id, sizeof id, "c%u", at));
    size_t len = 0;
    const char connect[] = {0x10, static_cast<char>(12 + n), 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 0, 0, static_cast<char>(n)};
    memcpy(out, connect, sizeof connect);
    memcpy(out + sizeof connect, id, n);
    len = sizeof connect + n;
    const char subscribe[] = {static_cast<char>(0x82), 6, 0, 1, 0, 1, 'r', 0};
    memcpy(out + len, subscribe, sizeof subscribe);
    return len + sizeof subscribe;
}

size_t message_mqtt(char *out, const char *text, size_t bytes) {
    size_t left = bytes + 3, len = 0;
    out[len++] = 0x30;
    for (; left >= 128; left >>= 7) out[len++] = static_cast<char>((left & 127) | 128);
    out[len++] = static_cast<char>(left);
    memcpy(out + len, "\0\1r", 3);
    memcpy(out + len + 3, text, bytes);
    return len + 3 + bytes;
}

size_t hello_nats(char *out, uint32_t) {
    constexpr char text[] = "CONNECT {\"verbose\":false,\"pedantic\":false}\r\nSUB r 1\r\nPING\r\n";
    memcpy(out, text, sizeof text - 1);
    return sizeof text - 1;
}

size_t message_nats(char *out, const char *text, size_t bytes) {
    size_t len = static_cast<size_t>(sprintf(out, "PUB r %zu\r\n", bytes));
    memcpy(out + len, text, bytes);
    memcpy(out + len + bytes, "\r\n", 2);
    return len + bytes + 2;
}

const Dialect dialects[] = {
    {"plain", "/", "", 1, false, nullptr, 0, hello_none, message_bare},
    {"chatterbox", "/ws", "", 1, false, "\"type\":\"ready\"", 14, hello_none, message_bare},
    {"mqtt", "/mqtt", "Sec-WebSocket-Protocol: mqtt\r\n", 2, true, "\x90\x03\x00\x01", 4, hello_mqtt, message_mqtt},
    {"nats", "/", "", 2, true, "PONG\r\n", 6, hello_nats, message_nats},
};
const Dialect *dialect;

// ---------------------------------------------------------------- connections

enum class State : uint8_t { none, connecting, handshake, joining, open, closed };

struct Conn {
    int fd = -1;
    uint32_t at = 0;
    int sender = -1; // its number among the senders
    State state = State::none;
    bool waits_to_write = false;
    uint32_t under_way = 0; // messages of its own that have not come back
    uint32_t sent = 0;
    uint64_t delivered = 0;
    uint64_t *stamps = nullptr;         // a sender's: when each of its last messages was sent or due
    char *in = nullptr, *out = nullptr; // the rest of a frame cut in two; what the kernel would not take
    size_t in_len = 0, in_cap = 0, out_len = 0, out_cap = 0;
};

constexpr size_t read_bytes = 4 << 20;
constexpr uint32_t handshakes_max = 64, stamps_max = 1 << 16;
Conn *conns;
uint32_t conns_count, conns_started, conns_pending;
Conn **senders;
uint32_t *next_of; // for each connection and sender: the number of the message that must come next
char (*tokens)[64];
uint32_t tokens_count;
int poller;
char *read_buffer;
uint64_t clock_ns; // when the bytes at hand were read

void keep(char *&buffer, size_t &len, size_t &cap, const char *data, size_t n) {
    if (len + n > cap) {
        cap = (len + n) * 2;
        buffer = static_cast<char *>(must(realloc(buffer, cap)));
    }
    memcpy(buffer + len, data, n);
    len += n;
}

void conn_watch(Conn *c, bool writing) {
    if (c->waits_to_write == writing) return;
    c->waits_to_write = writing;
    epoll_event e = {.events = EPOLLIN | (writing ? uint32_t{EPOLLOUT} : 0u), .data = {.ptr = c}};
    epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &e);
}

void conn_close(Conn *c) {
    if (c->state == State::closed) return;
    if (c->state == State::open) load.open--;
    else conns_pending--;
    load.lost++;
    c->state = State::closed;
    close(c->fd);
    c->fd = -1;
}

void conn_flush(Conn *c) {
    if (c->out_len == 0 || c->fd < 0) return;
    ssize_t n = send(c->fd, c->out, c->out_len, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN) return conn_close(c);
    if (n > 0) {
        c->out_len -= static_cast<size_t>(n);
        memmove(c->out, c->out + n, c->out_len);
    }
    conn_watch(c, c->out_len != 0);
}

void conn_frame(Conn *c, uint8_t opcode, const char *payload, size_t n) {
    uint32_t key = 0x9e3779b9u * (c->at + 7) | 0x01010101u;
    char head[8] = {static_cast<char>(0x80 | opcode), static_cast<char>(0x80 | n)};
    size_t len = 2;
    if (n >= 126) {
        head[1] = static_cast<char>(0x80 | 126);
        head[2] = static_cast<char>(n >> 8);
        head[3] = static_cast<char>(n);
        len = 4;
    }
    memcpy(head + len, &key, 4);
    keep(c->out, c->out_len, c->out_cap, head, len + 4);
    size_t from = c->out_len;
    keep(c->out, c->out_len, c->out_cap, payload, n);
    for (size_t i = 0; i < n; i++) c->out[from + i] = static_cast<char>(c->out[from + i] ^ reinterpret_cast<char *>(&key)[i & 3]);
}

// The same JSON for every server, with the nonce that a real client sends; servers that store nothing just hand it on.
void conn_send_message(Conn *c, uint64_t stamp_ns) {
    char text[256], wrapped[300];
    int n = snprintf(text, sizeof text, "{\"type\":\"message\",\"nonce\":\"%d-%u\",\"text\":\"T#%03d.%08u#%s\"}", c->sender,
        c->sent, c->sender, c->sent, text_rest);
    c->stamps[c->sent % stamps_max] = stamp_ns;
    conn_frame(c, dialect->opcode, wrapped, dialect->message(wrapped, text, static_cast<size_t>(n)));
    c->sent++;
    c->under_way++;
    load.sent++;
}

// Eight digits at once, since this is done for every delivery: pairs, then fours, then all.
uint32_t eight_digits(const char *p) {
    uint64_t v;
    memcpy(&v, p, 8);
    v -= 0x3030303030303030ull;
    v = v * 10 + (v >> 8);
    return static_cast<uint32_t>(
        ((v & 0x000000ff000000ffull) * 0x000f424000000064ull + (v >> 16 & 0x000000ff000000ffull) * 0x0000271000000001ull) >> 32);
}

void delivery(Conn *c, const char *mark) {
    uint32_t from = static_cast<uint32_t>((mark[2] - '0') * 100 + (mark[3] - '0') * 10 + mark[4] - '0'),
             count = eight_digits(mark + 6);
    if (from >= load.senders || count >= senders[from]->sent) {
        load.wrong++;
        return;
    }
    uint32_t &next = next_of[c->at * load.senders + from];
    if (count != next) load.wrong++;
    next = count + 1;
    c->delivered++;
    load.delivered++;
    if (load.measuring) {
        uint64_t stamp = senders[from]->stamps[count % stamps_max];
        histogram_add(load.latency, clock_ns > stamp ? clock_ns - stamp : 0);
    }
    if (static_cast<int>(from) == c->sender && c->under_way > 0) c->under_way--;
}

bool is_mark(const char *p) { return p[0] == 'T' && p[1] == '#' && p[5] == '.' && p[14] == '#'; }

void payload_read(Conn *c, const char *p, size_t n) {
    static size_t hint; // where the last one was: it moves only when a number before it gets longer
    if (!dialect->many && n >= hint + mark_bytes && is_mark(p + hint)) return delivery(c, p + hint);
    for (size_t at = 0; at + mark_bytes <= n; at++) {
        auto *t = static_cast<const char *>(memchr(p + at, 'T', n - mark_bytes + 1 - at));
        if (t == nullptr) return;
        at = static_cast<size_t>(t - p);
        if (!is_mark(t)) continue;
        delivery(c, t);
        if (!dialect->many) {
            hint = at;
            return;
        }
        at += mark_bytes - 1;
    }
}

void conn_joined(Conn *c) {
    c->state = State::open;
    conns_pending--;
    load.open++;
}

// The answer to the handshake: 101 with the right accept key for the key of RFC 6455's example, which we always send.
bool handshake_read(Conn *c, char *&p, char *end) {
    auto *blank = static_cast<char *>(memmem(p, static_cast<size_t>(end - p), "\r\n\r\n", 4));
    if (blank == nullptr) return false;
    *blank = 0;
    if (strncmp(p, "HTTP/1.1 101 ", 13) != 0 || strstr(p, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=") == nullptr)
        die("the handshake was refused: ", p);
    p = blank + 4;
    c->state = State::joining;
    char hello[256];
    size_t n = dialect->hello(hello, c->at);
    if (n != 0) conn_frame(c, dialect->opcode, hello, n);
    if (dialect->ready == nullptr) conn_joined(c);
    return true;
}

void frame_read(Conn *c, uint8_t opcode, char *p, size_t n) {
    if (opcode == 9) return conn_frame(c, 10, p, n);
    if (opcode == 8) return conn_close(c);
    if (opcode > 2) return;
    if (c->state == State::joining) {
        if (memmem(p, n, dialect->ready, dialect->ready_bytes) != nullptr) conn_joined(c);
        return;
    }
    load.frames++;
    load.frame_bytes += n;
    payload_read(c, p, n);
}

void conn_read(Conn *c) {
    size_t had = c->in_len;
    if (had != 0) memcpy(read_buffer, c->in, had);
    ssize_t r = recv(c->fd, read_buffer + had, read_bytes - had, 0);
    if (r < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (r <= 0) return conn_close(c);
    clock_ns = now_ns();
    load.reads++;
    char *p = read_buffer, *end = read_buffer + had + r;
    bool whole = c->state != State::handshake || handshake_read(c, p, end);
    while (whole && c->fd >= 0 && end - p >= 2) {
        auto *u = reinterpret_cast<uint8_t *>(p);
        size_t n = u[1] & 127, head = 2;
        if (n == 126) {
            head = 4;
            n = static_cast<size_t>(u[2] << 8 | u[3]);
        } else if (n == 127) {
            head = 10;
            n = 0;
            for (int i = 2; i < 10 && end - p >= 10; i++) n = n << 8 | u[i];
        }
        if (head + n > read_bytes / 2) die("a frame is too long");
        if (static_cast<size_t>(end - p) < head + n) break;
        frame_read(c, u[0] & 15, p + head, n);
        p += head + n;
    }
    if (c->fd < 0) return;
    c->in_len = 0;
    if (p < end) keep(c->in, c->in_len, c->in_cap, p, static_cast<size_t>(end - p));
    if (load.sending && load.window != 0 && c->sender >= 0)
        while (c->under_way < load.window) conn_send_message(c, clock_ns);
    conn_flush(c);
}

void conn_connected(Conn *c) {
    int error = 0;
    socklen_t len = sizeof error;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len);
    if (error != 0) die("cannot connect: ", strerror(error));
    char request[1024], bearer[128] = "";
    if (tokens_count != 0) snprintf(bearer, sizeof bearer, "Authorization: Bearer %s\r\n", tokens[c->at % tokens_count]);
    int n = snprintf(request, sizeof request,
        "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s%s\r\n",
        dialect->path, load.server.port, dialect->headers, bearer);
    c->state = State::handshake;
    keep(c->out, c->out_len, c->out_cap, request, static_cast<size_t>(n));
    conn_flush(c);
}

// ---------------------------------------------------------------- the loop

int timer_fd = -1;
uint64_t due_ns, due_step_ns;
uint32_t due_sender;

void timer_arm() {
    itimerspec t = {};
    t.it_value.tv_sec = static_cast<time_t>(due_ns / 1000000000);
    t.it_value.tv_nsec = static_cast<long>(due_ns % 1000000000);
    timerfd_settime(timer_fd, TFD_TIMER_ABSTIME, &t, nullptr);
}

// Messages are stamped with the time at which they were due, so that a server that makes us late is not spared the wait.
void timer_due() {
    uint64_t expirations;
    if (read(timer_fd, &expirations, sizeof expirations) < 0 || !load.sending) return;
    for (uint64_t now = now_ns(); due_ns <= now; due_ns += due_step_ns) {
        Conn *c = senders[due_sender++ % load.senders];
        conn_send_message(c, due_ns);
        conn_flush(c);
    }
    timer_arm();
}

} // namespace

void conns_turn(int wait_ms) {
    static epoll_event events[2048];
    int n = epoll_wait(poller, events, 2048, wait_ms);
    for (int i = 0; i < n; i++) {
        auto *c = static_cast<Conn *>(events[i].data.ptr);
        if (c == nullptr) {
            timer_due();
            continue;
        }
        if (c->state == State::connecting && events[i].events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) conn_connected(c);
        else if (c->fd >= 0 && events[i].events & EPOLLOUT) conn_flush(c);
        if (c->fd >= 0 && c->state != State::connecting && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) conn_read(c);
    }
}

void conns_run(double seconds) {
    uint64_t until = now_ns() + static_cast<uint64_t>(seconds * 1e9);
    for (uint64_t now = now_ns(); now < until; now = now_ns()) conns_turn(static_cast<int>((until - now) / 1000000) + 1);
}

void conns_connect(uint32_t count) {
    while (load.open + load.lost < count) {
        while (conns_started < count && conns_pending < handshakes_max) {
            Conn *c = &conns[conns_started];
            c->at = conns_started++;
            c->fd = loopback_connect(load.server.port, false);
            if (c->fd < 0) die("cannot connect: ", strerror(errno));
            c->state = State::connecting;
            c->waits_to_write = true;
            conns_pending++;
            epoll_event e = {.events = EPOLLIN | EPOLLOUT, .data = {.ptr = c}};
            epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &e);
        }
        conns_turn(100);
        if (load.lost != 0) die("the server closed a connection while we connected");
    }
}

bool dialect_choose(const char *name) {
    for (const Dialect &d : dialects)
        if (strcmp(d.name, name) == 0) dialect = &d;
    return dialect != nullptr;
}

bool conns_make(uint32_t count) {
    rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    if (files.rlim_max < count + 64) return false;
    conns_count = count;
    conns = static_cast<Conn *>(must(malloc((count + 1) * sizeof(Conn))));
    for (uint32_t i = 0; i < count; i++) conns[i] = Conn{};
    read_buffer = static_cast<char *>(must(malloc(read_bytes)));
    poller = epoll_create1(EPOLL_CLOEXEC);
    return true;
}

void conns_tokens(const char *path) {
    FILE *file = fopen(path, "re");
    if (file == nullptr) die("cannot read ", path);
    char line[64];
    while (fscanf(file, "%63s", line) == 1) {
        tokens = static_cast<char(*)[64]>(must(realloc(tokens, (tokens_count + 1) * sizeof *tokens)));
        memcpy(tokens[tokens_count++], line, sizeof line);
    }
    fclose(file);
    if (tokens_count == 0) die("no token in ", path);
}

void conns_send(uint32_t count, uint32_t window, double rate) {
    load.senders = count;
    load.window = window;
    load.sending = true;
    next_of = static_cast<uint32_t *>(must(calloc(static_cast<size_t>(conns_count) * count, sizeof *next_of)));
    senders = static_cast<Conn **>(must(calloc(count, sizeof *senders)));
    for (uint32_t i = 0; i < count; i++) {
        senders[i] = &conns[static_cast<uint64_t>(i) * conns_count / count];
        senders[i]->sender = static_cast<int>(i);
        senders[i]->stamps = static_cast<uint64_t *>(must(calloc(stamps_max, sizeof(uint64_t))));
    }
    if (window == 0) {
        timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
        epoll_event e = {.events = EPOLLIN, .data = {.ptr = nullptr}};
        epoll_ctl(poller, EPOLL_CTL_ADD, timer_fd, &e);
        due_step_ns = static_cast<uint64_t>(1e9 / rate);
        due_ns = now_ns() + due_step_ns;
        return timer_arm();
    }
    for (uint32_t i = 0; i < count; i++) {
        while (senders[i]->under_way < window) conn_send_message(senders[i], now_ns());
        conn_flush(senders[i]);
    }
}

uint64_t conns_missing() {
    uint64_t missing = 0;
    for (uint32_t i = 0; i < conns_count; i++) missing += load.sent > conns[i].delivered ? load.sent - conns[i].delivered : 0;
    return missing;
}

void conns_close() {
    for (uint32_t i = 0; i < conns_count; i++)
        if (conns[i].fd >= 0) close(conns[i].fd);
    conns_count = 0;
}
