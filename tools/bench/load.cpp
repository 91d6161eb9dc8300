// load: the load generator and meter of `make bench`. It starts one server as its child, puts one load on it, and prints what it
// saw as one line of JSON. It counts and checks every delivery: each connection must get each message of each sender once and in
// order. Talks to 127.0.0.1 only, one thread, ends by itself (--limit). tools/bench/run says which servers and scenarios,
// tools/bench/table makes the table.
//   load SCENARIO [options] -- SERVER [arguments]
//     fan    --senders S of --readers N connections keep --window W messages each under way        (closed loop)
//     rate   --senders S send --rate R messages a second in all, timed from when each was due      (open loop)
//     idle   memory with no sockets, 1,000 and --readers N
//     start  process start to the first byte of the answer to GET --path, --repeat times
//     page   GET --path on --readers N kept connections as fast as the answers come
//     tokens makes --readers N accounts and writes their tokens to --tokens FILE
//   --dialect plain|chatterbox|mqtt|nats  what is said on the socket        --port named|said  how the port is agreed (child.h)
//   --tokens FILE  one a line, used in turn      --warm, --seconds  before and while measuring      --name, --limit
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "child.h"

namespace {

struct Options {
    const char *scenario = "", *name = "", *dialect = "plain", *tokens = nullptr, *path = "/", *port = "said";
    double readers = 100, senders = 10, window = 4, rate = 50, warm = 0.5, seconds = 2, repeat = 5, limit = 60;
    char **command = nullptr;
} options;

[[noreturn]] void die(const char *what, const char *more = "") {
    fprintf(stderr, "load: %s%s\n", what, more);
    exit(1);
}

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
uint32_t conns_count, conns_started, conns_pending, conns_open, conns_lost, senders_count;
Conn **senders;
uint32_t *next_of; // for each connection and sender: the number of the message that must come next
char (*tokens)[64];
uint32_t tokens_count;
Child server;
int poller;
char *read_buffer;
uint64_t clock_ns; // when the bytes at hand were read
bool sending, measuring;
uint64_t sent, delivered, wrong, frames, frame_sum, reads, bytes_in;
Histogram latency;

void *must(void *p) {
    if (p == nullptr) die("out of memory");
    return p;
}

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
    if (c->state == State::open) conns_open--;
    else conns_pending--;
    conns_lost++;
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
    sent++;
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
    if (from >= senders_count || count >= senders[from]->sent) {
        wrong++;
        return;
    }
    uint32_t &next = next_of[c->at * senders_count + from];
    if (count != next) wrong++;
    next = count + 1;
    c->delivered++;
    delivered++;
    if (measuring) {
        uint64_t stamp = senders[from]->stamps[count % stamps_max];
        histogram_add(latency, clock_ns > stamp ? clock_ns - stamp : 0);
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
    conns_open++;
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
    frames++;
    frame_sum += n;
    payload_read(c, p, n);
}

void conn_read(Conn *c) {
    size_t had = c->in_len;
    if (had != 0) memcpy(read_buffer, c->in, had);
    ssize_t r = recv(c->fd, read_buffer + had, read_bytes - had, 0);
    if (r < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (r <= 0) return conn_close(c);
    clock_ns = now_ns();
    reads++;
    bytes_in += static_cast<uint64_t>(r);
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
    if (sending && options.rate == 0 && c->sender >= 0)
        while (c->under_way < static_cast<uint32_t>(options.window)) conn_send_message(c, clock_ns);
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
        dialect->path, server.port, dialect->headers, bearer);
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
    if (read(timer_fd, &expirations, sizeof expirations) < 0 || !sending) return;
    for (uint64_t now = now_ns(); due_ns <= now; due_ns += due_step_ns) {
        Conn *c = senders[due_sender++ % senders_count];
        conn_send_message(c, due_ns);
        conn_flush(c);
    }
    timer_arm();
}

void loop_once(int wait_ms) {
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

void loop_for(double seconds) {
    uint64_t until = now_ns() + static_cast<uint64_t>(seconds * 1e9);
    for (uint64_t now = now_ns(); now < until; now = now_ns()) loop_once(static_cast<int>((until - now) / 1000000) + 1);
}

// Opens connections until there are `count`, each of which has said that it is ready.
void connect_all(uint32_t count) {
    while (conns_open + conns_lost < count) {
        while (conns_started < count && conns_pending < handshakes_max) {
            Conn *c = &conns[conns_started];
            c->at = conns_started++;
            c->fd = loopback_connect(server.port, false);
            if (c->fd < 0) die("cannot connect: ", strerror(errno));
            c->state = State::connecting;
            c->waits_to_write = true;
            conns_pending++;
            epoll_event e = {.events = EPOLLIN | EPOLLOUT, .data = {.ptr = c}};
            epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &e);
        }
        loop_once(100);
        if (conns_lost != 0) die("the server closed a connection while we connected");
    }
}

void world_make(uint32_t count) {
    conns_count = count;
    rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    if (files.rlim_max < count + 64) {
        printf("{\"scenario\":\"%s\",\"server\":\"%s\",\"readers\":%u,\"skipped\":\"only %llu open files are allowed\"}\n",
            options.scenario, options.name, count, static_cast<unsigned long long>(files.rlim_max));
        exit(0);
    }
    conns = static_cast<Conn *>(must(malloc((count + 1) * sizeof(Conn))));
    for (uint32_t i = 0; i < count; i++) conns[i] = Conn{};
    read_buffer = static_cast<char *>(must(malloc(read_bytes)));
    poller = epoll_create1(EPOLL_CLOEXEC);
}

void tokens_read() {
    FILE *file = options.tokens == nullptr ? nullptr : fopen(options.tokens, "re");
    if (options.tokens == nullptr) return;
    if (file == nullptr) die("cannot read ", options.tokens);
    char line[64];
    while (fscanf(file, "%63s", line) == 1) {
        tokens = static_cast<char(*)[64]>(must(realloc(tokens, (tokens_count + 1) * sizeof *tokens)));
        memcpy(tokens[tokens_count++], line, sizeof line);
    }
    fclose(file);
    if (tokens_count == 0) die("no token in ", options.tokens);
}

struct Moment {
    uint64_t ns, sent, delivered, frames, frame_sum, reads, bytes;
    double server_cpu, own_cpu, machine_cpu;
};

Moment moment_now() {
    return {now_ns(), sent, delivered, frames, frame_sum, reads, bytes_in, child_cpu_seconds(server), own_cpu_seconds(),
        machine_cpu_seconds()};
}

// ---------------------------------------------------------------- scenarios

void server_end() {
    if (!child_alive(server)) die("the server ended by itself");
    // We go first: a server that ends waits for the answers to its close frames, which nobody here would give.
    for (uint32_t i = 0; i < conns_count; i++)
        if (conns[i].fd >= 0) close(conns[i].fd);
    conns_count = 0;
    int status = child_stop(server);
    // A peer may take a signal for an end; ours must end well.
    if (status != 0 && strcmp(options.dialect, "chatterbox") == 0) die("the server did not end well");
}

// fan and rate.
int run_messages(bool fixed_rate) {
    uint32_t n = static_cast<uint32_t>(options.readers);
    senders_count = static_cast<uint32_t>(options.senders);
    if (senders_count > n) die("--senders must be among --readers");
    if (!fixed_rate) options.rate = 0;
    next_of = static_cast<uint32_t *>(must(calloc(static_cast<size_t>(n) * senders_count, sizeof *next_of)));
    senders = static_cast<Conn **>(must(calloc(senders_count, sizeof *senders)));
    connect_all(n);
    for (uint32_t i = 0; i < senders_count; i++) {
        senders[i] = &conns[static_cast<uint64_t>(i) * n / senders_count];
        senders[i]->sender = static_cast<int>(i);
        senders[i]->stamps = static_cast<uint64_t *>(must(calloc(stamps_max, sizeof(uint64_t))));
    }
    loop_for(0.3); // presence and the like come to rest
    sending = true;
    if (fixed_rate) {
        timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
        epoll_event e = {.events = EPOLLIN, .data = {.ptr = nullptr}};
        epoll_ctl(poller, EPOLL_CTL_ADD, timer_fd, &e);
        due_step_ns = static_cast<uint64_t>(1e9 / options.rate);
        due_ns = now_ns() + due_step_ns;
        timer_arm();
    } else {
        for (uint32_t i = 0; i < senders_count; i++) {
            while (senders[i]->under_way < static_cast<uint32_t>(options.window)) conn_send_message(senders[i], now_ns());
            conn_flush(senders[i]);
        }
    }
    loop_for(options.warm);
    Moment a = moment_now();
    measuring = true;
    loop_for(options.seconds);
    measuring = false;
    Moment b = moment_now();
    sending = false;
    // What is still under way must arrive: up to 15 s, and no longer than 5 s without anything.
    uint64_t end = now_ns() + 15000000000ull, moved = now_ns();
    while (delivered < sent * n && now_ns() < end && now_ns() - moved < 5000000000ull && conns_lost == 0) {
        uint64_t before = delivered;
        loop_once(50);
        if (delivered != before) moved = now_ns();
    }
    uint64_t missing = 0;
    for (uint32_t i = 0; i < n; i++) missing += sent > conns[i].delivered ? sent - conns[i].delivered : 0;
    long rss = child_memory_kb(server, "status", "VmHWM:");
    double s = static_cast<double>(b.ns - a.ns) / 1e9, cpu = b.server_cpu - a.server_cpu, own = b.own_cpu - a.own_cpu;
    double got = static_cast<double>(b.delivered - a.delivered), others = b.machine_cpu - a.machine_cpu - cpu - own;
    server_end();
    printf("{\"scenario\":\"%s\",\"server\":\"%s\",\"readers\":%u,\"senders\":%u,\"window\":%.0f,\"rate\":%.0f,\"seconds\":%.2f,"
           "\"sent\":%llu,\"missing\":%llu,\"wrong\":%llu,\"closed\":%u,"
           "\"sent_s\":%.1f,\"deliveries_s\":%.0f,\"deliveries_cpu_s\":%.0f,\"p50_ms\":%.3f,\"p90_ms\":%.3f,\"p99_ms\":%.3f,"
           "\"max_ms\":%.3f,"
           "\"cpu\":%.3f,\"cpu_load\":%.3f,\"cpu_others\":%.2f,\"per_read\":%.1f,\"frame_bytes\":%.0f,\"rss_peak_kb\":%ld}\n",
        options.scenario, options.name, n, senders_count, options.window, options.rate, s, static_cast<unsigned long long>(sent),
        static_cast<unsigned long long>(missing), static_cast<unsigned long long>(wrong), conns_lost,
        static_cast<double>(b.sent - a.sent) / s, got / s, cpu > 0 ? got / cpu : 0, histogram_ms(latency, 0.5),
        histogram_ms(latency, 0.9), histogram_ms(latency, 0.99), static_cast<double>(latency.highest) / 1e6, cpu / s, own / s,
        others / s, b.reads > a.reads ? got / static_cast<double>(b.reads - a.reads) : 0,
        b.frames > a.frames ? static_cast<double>(b.frame_sum - a.frame_sum) / static_cast<double>(b.frames - a.frames) : 0, rss);
    return missing == 0 && wrong == 0 && conns_lost == 0 ? 0 : 3;
}

int run_idle() {
    uint32_t n = static_cast<uint32_t>(options.readers), steps[] = {0, n < 1000 ? n : 1000, n};
    long rss[3], pss[3];
    Moment a = {}, b = {};
    for (int i = 0; i < 3; i++) {
        a = moment_now();
        connect_all(steps[i]);
        b = moment_now();
        loop_for(options.seconds);
        rss[i] = child_memory_kb(server, "status", "VmRSS:");
        pss[i] = child_memory_kb(server, "smaps_rollup", "Pss:");
    }
    double opened = n > steps[1] ? n - steps[1] : n;
    bool lost = conns_lost != 0;
    server_end();
    printf("{\"scenario\":\"%s\",\"server\":\"%s\",\"readers\":%u,\"closed\":%u,\"rss_0_kb\":%ld,\"rss_1000_kb\":%ld,\"rss_all_"
           "kb\":%ld,\"pss_all_kb\":%ld,"
           "\"socket_kb\":%.3f,\"connect_s\":%.2f,\"handshake_us\":%.1f}\n",
        options.scenario, options.name, n, conns_lost, rss[0], rss[1], rss[2], pss[2], static_cast<double>(rss[2] - rss[0]) / n,
        static_cast<double>(b.ns - a.ns) / 1e9, (b.server_cpu - a.server_cpu) / opened * 1e6);
    return lost ? 3 : 0;
}

double start_once() {
    server = child_start(options.command, strcmp(options.port, "named") == 0);
    int fd = loopback_connect(server.port, true);
    char request[256], answer[256];
    int n = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", options.path);
    if (fd < 0 || send(fd, request, static_cast<size_t>(n), MSG_NOSIGNAL) != n || recv(fd, answer, sizeof answer, 0) < 12)
        die("no answer");
    double ms = static_cast<double>(now_ns() - server.started_ns) / 1e6;
    if (memcmp(answer, "HTTP/1.1 200", 12) != 0) die("not the answer that was expected");
    close(fd);
    server_end();
    return ms;
}

int run_start() {
    double ms[64];
    size_t count = static_cast<size_t>(options.repeat < 64 ? options.repeat : 64);
    for (size_t i = 0; i < count; i++) {
        double x = start_once();
        size_t at = i;
        for (; at > 0 && ms[at - 1] > x; at--) ms[at] = ms[at - 1];
        ms[at] = x;
    }
    printf(
        "{\"scenario\":\"%s\",\"server\":\"%s\",\"repeat\":%zu,\"start_ms\":%.3f,\"start_ms_min\":%.3f,\"start_ms_max\":%.3f}\n",
        options.scenario, options.name, count, ms[count / 2], ms[0], ms[count - 1]);
    return 0;
}

// Requests go out one at a time on each connection; an answer is whole when as many bytes have come as the first one had.
int run_page() {
    uint32_t n = static_cast<uint32_t>(options.readers);
    char request[256];
    int request_bytes = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", options.path);
    size_t answer_bytes = 0, body_bytes = 0;
    uint64_t answers = 0;
    for (uint32_t i = 0; i < n; i++) {
        Conn *c = &conns[i];
        c->fd = loopback_connect(server.port, true);
        if (c->fd < 0) die("cannot connect: ", strerror(errno));
        epoll_event e = {.events = EPOLLIN, .data = {.ptr = c}};
        epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &e);
        if (send(c->fd, request, static_cast<size_t>(request_bytes), MSG_NOSIGNAL) != request_bytes)
            die("cannot ask for the page");
    }
    Moment a = moment_now(), b = a;
    uint64_t first = 0, warm_until = a.ns + static_cast<uint64_t>(options.warm * 1e9);
    for (bool warm = true;; b = moment_now()) {
        if (warm && b.ns >= warm_until) {
            warm = false;
            a = b;
            first = answers;
        }
        if (!warm && static_cast<double>(b.ns - a.ns) / 1e9 >= options.seconds) break;
        for (uint64_t until = now_ns() + 20000000; now_ns() < until;) {
            epoll_event events[256];
            int ready = epoll_wait(poller, events, 256, 20);
            for (int i = 0; i < ready; i++) {
                auto *c = static_cast<Conn *>(events[i].data.ptr);
                ssize_t r = recv(c->fd, read_buffer, read_bytes - 1, 0);
                if (r <= 0) die("the server closed a connection");
                if (c->in_len == 0 && (r < 12 || memcmp(read_buffer, "HTTP/1.1 200", 12) != 0))
                    die("not the page that was expected");
                if (answer_bytes == 0) {
                    read_buffer[r] = 0;
                    char *blank = strstr(read_buffer, "\r\n\r\n"), *length = strcasestr(read_buffer, "\r\ncontent-length:");
                    if (blank == nullptr || length == nullptr || length > blank) die("the answer says no length");
                    body_bytes = strtoul(length + 17, nullptr, 10);
                    answer_bytes = static_cast<size_t>(blank + 4 - read_buffer) + body_bytes;
                }
                c->in_len += static_cast<size_t>(r);
                if (c->in_len < answer_bytes) continue;
                if (c->in_len > answer_bytes) die("an answer is longer than the first one");
                c->in_len = 0;
                answers++;
                if (send(c->fd, request, static_cast<size_t>(request_bytes), MSG_NOSIGNAL) != request_bytes)
                    die("cannot ask for the page");
            }
        }
    }
    double s = static_cast<double>(b.ns - a.ns) / 1e9, got = static_cast<double>(answers - first),
           cpu = b.server_cpu - a.server_cpu;
    server_end();
    printf("{\"scenario\":\"%s\",\"server\":\"%s\",\"connections\":%u,\"body_bytes\":%zu,\"head_bytes\":%zu,\"requests_s\":%.0f,"
           "\"requests_cpu_s\":%.0f,"
           "\"cpu\":%.3f,\"cpu_load\":%.3f,\"cpu_others\":%.2f}\n",
        options.scenario, options.name, n, body_bytes, answer_bytes - body_bytes, got / s, cpu > 0 ? got / cpu : 0, cpu / s,
        (b.own_cpu - a.own_cpu) / s, (b.machine_cpu - a.machine_cpu - cpu - (b.own_cpu - a.own_cpu)) / s);
    return 0;
}

int run_tokens() {
    FILE *file = options.tokens == nullptr ? nullptr : fopen(options.tokens, "we");
    if (file == nullptr) die("--tokens must name a file that can be written");
    for (uint32_t i = 0; i < static_cast<uint32_t>(options.readers); i++) {
        int fd = loopback_connect(server.port, true);
        char body[128], request[512], answer[4096];
        int n = snprintf(body, sizeof body, "{\"username\":\"load%u\",\"password\":\"a measured word %u\"}", i, i);
        n = snprintf(request, sizeof request,
            "POST /api/register HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: "
            "%d\r\nConnection: close\r\n\r\n%s",
            n, body);
        size_t len = 0;
        if (fd < 0 || send(fd, request, static_cast<size_t>(n), MSG_NOSIGNAL) != n) die("cannot register");
        for (ssize_t r; len < sizeof answer - 1 && (r = recv(fd, answer + len, sizeof answer - 1 - len, 0)) > 0;)
            len += static_cast<size_t>(r);
        answer[len] = 0;
        close(fd);
        char *token = strstr(answer, "\"token\":\"");
        if (strncmp(answer, "HTTP/1.1 201", 12) != 0 || token == nullptr) die("an account was refused: ", answer);
        fprintf(file, "%.36s\n", token + 9);
    }
    fclose(file);
    server_end();
    return 0;
}

// ---------------------------------------------------------------- the command line

struct Flag {
    const char *name;
    const char **text;
    double *number;
};

void options_read(int argc, char **argv) {
    const Flag flags[] = {
        {"--name", &options.name, nullptr},
        {"--dialect", &options.dialect, nullptr},
        {"--tokens", &options.tokens, nullptr},
        {"--path", &options.path, nullptr},
        {"--port", &options.port, nullptr},
        {"--readers", nullptr, &options.readers},
        {"--senders", nullptr, &options.senders},
        {"--window", nullptr, &options.window},
        {"--rate", nullptr, &options.rate},
        {"--warm", nullptr, &options.warm},
        {"--seconds", nullptr, &options.seconds},
        {"--repeat", nullptr, &options.repeat},
        {"--limit", nullptr, &options.limit},
    };
    if (argc > 1) options.scenario = argv[1];
    int i = 2;
    for (; i + 1 < argc && strcmp(argv[i], "--") != 0; i += 2) {
        const Flag *flag = nullptr;
        for (const Flag &f : flags)
            if (strcmp(f.name, argv[i]) == 0) flag = &f;
        if (flag == nullptr) die("unknown option: ", argv[i]);
        if (flag->text != nullptr) *flag->text = argv[i + 1];
        else *flag->number = atof(argv[i + 1]);
    }
    if (i + 1 >= argc) die("usage: load SCENARIO [options] -- SERVER [arguments]");
    options.command = argv + i + 1;
    for (const Dialect &d : dialects)
        if (strcmp(d.name, options.dialect) == 0) dialect = &d;
    if (dialect == nullptr) die("unknown dialect: ", options.dialect);
    if (options.readers < 1 || options.senders < 1 || options.senders > 999 || options.rate <= 0 || options.window < 1 ||
        options.repeat < 1 || options.limit < 1)
        die("a number is out of range");
}

} // namespace

int main(int argc, char **argv) {
    options_read(argc, argv);
    alarm(static_cast<unsigned>(options.limit)); // the signal ends us, our end kills the server
    cores_split();
    bool tokens_wanted = strcmp(options.scenario, "tokens") == 0;
    if (strcmp(options.scenario, "start") == 0) return run_start();
    world_make(static_cast<uint32_t>(options.readers));
    if (!tokens_wanted) tokens_read();
    server = child_start(options.command, strcmp(options.port, "named") == 0);
    if (tokens_wanted) return run_tokens();
    if (strcmp(options.scenario, "fan") == 0) return run_messages(false);
    if (strcmp(options.scenario, "rate") == 0) return run_messages(true);
    if (strcmp(options.scenario, "idle") == 0) return run_idle();
    if (strcmp(options.scenario, "page") == 0) return run_page();
    die("unknown scenario: ", options.scenario);
}
