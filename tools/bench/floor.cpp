// floor: the least that a program with one thread can do to hand a WebSocket message on to everybody, which is what the kernel
// permits here. It parses nothing, stores nothing and knows nobody: frames read in one turn of the loop are put behind each
// other, and each connection gets them in one write. `make bench` measures it beside everything else; a figure is worth as much
// as its ratio to this one in the same minute.
//   floor [--frame BYTES] [--page BYTES] [--sends plain|uring|zerocopy|sqpoll|threads] [--alone CONNECTIONS]
// --frame grows each message with spaces to that many bytes (what another server sends for the same message); --page is the
// length of the page that any request without an upgrade is answered with; GET /metrics tells how many frames went out in how
// many writes. --sends is the way in which a turn goes out (floor_send.h), --alone measures that way without a generator
// (floor_alone.cpp). Prints `listening on http://127.0.0.1:PORT`. Loopback only, for measuring only.
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "floor_send.h"

void *must(void *allocated) {
    if (allocated == nullptr) {
        fprintf(stderr, "floor: out of memory\n");
        exit(1);
    }
    return allocated;
}

namespace {

Conn **all;
uint32_t all_count, all_cap;
int poller;
Bytes turn; // the frames of this turn
Bytes page; // the whole answer to a request without an upgrade
size_t frame_bytes;
uint64_t turn_frames, frames_out, writes; // whole frames handed over, send() calls that took something
uint8_t read_buffer[1 << 18];
const char *sends; // null: a send() for each connection, here; else what floor_send.h does, for these
int sent_fds[sender_connections_max];
int32_t sent_taken[sender_connections_max];
Conn *sent_to[sender_connections_max];
uint32_t sent_count;
uint64_t sent_frames;
Bytes sent; // the turn under way

uint8_t *bytes_room(Bytes &b, size_t more) {
    if (b.len + more > b.cap) {
        b.cap = (b.len + more) * 2;
        b.data = static_cast<uint8_t *>(must(realloc(b.data, b.cap)));
    }
    return b.data + b.len;
}

void bytes_add(Bytes &b, const void *data, size_t n) {
    memcpy(bytes_room(b, n), data, n);
    b.len += n;
}

void bytes_free(Bytes &b) {
    free(b.data);
    b = {};
}

void conn_watch(Conn *c, bool writing) {
    if (c->waits_to_write == writing) return;
    c->waits_to_write = writing;
    epoll_event e = {.events = EPOLLIN | (writing ? uint32_t{EPOLLOUT} : 0u), .data = {.ptr = c}};
    epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &e);
}

// The struct stays: an event of the same turn may still point at it. A measuring program ends soon.
void conn_close(Conn *c) {
    if (c->fd < 0) return;
    if (sends != nullptr) sender_file(c->fd, false);
    close(c->fd);
    c->fd = -1;
    bytes_free(c->in);
    bytes_free(c->out);
    all[c->at] = all[--all_count];
    all[c->at]->at = c->at;
}

void conn_write(Conn *c, const uint8_t *data, size_t n) {
    size_t taken = 0;
    if (c->out.len == 0) {
        ssize_t w = send(c->fd, data, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (w < 0 && errno != EAGAIN) return; // reading will tell
        if (w > 0) {
            taken = static_cast<size_t>(w);
            writes++;
        }
    }
    if (taken == n) return;
    bytes_add(c->out, data + taken, n - taken);
    conn_watch(c, true);
}

void conn_drain(Conn *c) {
    ssize_t w = send(c->fd, c->out.data, c->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (w <= 0) return;
    writes++;
    c->out.len -= static_cast<size_t>(w);
    memmove(c->out.data, c->out.data + w, c->out.len);
    if (c->out.len != 0) return;
    bytes_free(c->out);
    conn_watch(c, false);
}

// The load generator always sends the key of RFC 6455's example, whose answer is known.
constexpr char upgraded[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                            "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

void message_add(uint8_t *payload, size_t n, const uint8_t mask[4], uint8_t first) {
    for (size_t i = 0; i < n; i++) payload[i] ^= mask[i & 3];
    size_t whole = n < frame_bytes ? frame_bytes : n;
    uint8_t head[4] = {first, static_cast<uint8_t>(whole)};
    size_t head_bytes = 2;
    if (whole >= 126) {
        head[1] = 126;
        head[2] = static_cast<uint8_t>(whole >> 8);
        head[3] = static_cast<uint8_t>(whole);
        head_bytes = 4;
    }
    bytes_add(turn, head, head_bytes);
    bytes_add(turn, payload, n);
    memset(bytes_room(turn, whole - n), ' ', whole - n);
    turn.len += whole - n;
    turn_frames++;
}

void metrics_answer(Conn *c) {
    char body[128], answer[256];
    int n = snprintf(body, sizeof body, "floor_frames_out %llu\nfloor_writes %llu\n", static_cast<unsigned long long>(frames_out),
        static_cast<unsigned long long>(writes));
    n = snprintf(answer, sizeof answer, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", n, body);
    conn_write(c, reinterpret_cast<const uint8_t *>(answer), static_cast<size_t>(n));
}

void conn_read(Conn *c) {
    size_t had = c->in.len;
    if (had != 0) memcpy(read_buffer, c->in.data, had);
    ssize_t r = recv(c->fd, read_buffer + had, sizeof read_buffer - had, MSG_DONTWAIT);
    if (r < 0 && errno == EAGAIN) return;
    if (r <= 0) return conn_close(c);
    uint8_t *p = read_buffer, *end = read_buffer + had + r;
    while (!c->socket) {
        auto *blank = static_cast<uint8_t *>(memmem(p, static_cast<size_t>(end - p), "\r\n\r\n", 4));
        if (blank == nullptr) break;
        c->socket = memmem(p, static_cast<size_t>(blank - p), "Sec-WebSocket-Key: ", 19) != nullptr;
        bool metrics = memcmp(p, "GET /metrics ", 13) == 0;
        p = blank + 4;
        if (metrics) metrics_answer(c);
        else if (c->socket) conn_write(c, reinterpret_cast<const uint8_t *>(upgraded), sizeof upgraded - 1);
        else conn_write(c, page.data, page.len);
    }
    while (c->socket && end - p >= 6) {
        size_t n = p[1] & 127, head = 6;
        if (n == 127) return conn_close(c);
        if (n == 126) {
            if (end - p < 8) break;
            n = static_cast<size_t>(p[2] << 8 | p[3]);
            head = 8;
        }
        if (static_cast<size_t>(end - p) < head + n) break;
        if ((p[0] & 15) == 8) return conn_close(c);
        if ((p[0] & 15) <= 2) message_add(p + head, n, p + head - 4, p[0]);
        p += head + n;
    }
    bytes_free(c->in);
    if (p < end) bytes_add(c->in, p, static_cast<size_t>(end - p));
}

void conns_accept(int listener) {
    for (;;) {
        int fd = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) return;
        int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        auto *c = static_cast<Conn *>(must(calloc(1, sizeof(Conn))));
        if (all_count == all_cap) {
            all_cap = all_cap ? all_cap * 2 : 64;
            all = static_cast<Conn **>(must(realloc(all, all_cap * sizeof *all)));
        }
        c->fd = fd;
        c->at = all_count;
        all[all_count++] = c;
        if (sends != nullptr) sender_file(fd, true);
        epoll_event e = {.events = EPOLLIN, .data = {.ptr = c}};
        epoll_ctl(poller, EPOLL_CTL_ADD, fd, &e);
    }
}

void page_make(size_t body) {
    char head[128];
    int n = snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %zu\r\n\r\n", body);
    bytes_add(page, head, static_cast<size_t>(n));
    memset(bytes_room(page, body), '.', body);
    page.len += body;
}

int listen_loopback() {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t len = sizeof address;
    if (fd < 0 || bind(fd, reinterpret_cast<sockaddr *>(&address), len) != 0 || listen(fd, 4096) != 0 ||
        getsockname(fd, reinterpret_cast<sockaddr *>(&address), &len) != 0) {
        perror("floor: listen");
        exit(1);
    }
    printf("listening on http://127.0.0.1:%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

// A turn to everybody, each in one write.
void fan_out_plainly() {
    for (uint32_t i = 0; i < all_count; i++)
        if (all[i]->socket) {
            conn_write(all[i], turn.data, turn.len);
            frames_out += turn_frames;
        }
}

// What the kernel did not take waits for the connection to become writable, as in conn_write.
void fan_out_end() {
    if (sent_count == 0) return;
    sender_finish();
    for (uint32_t i = 0; i < sent_count; i++) {
        Conn *c = sent_to[i];
        if (c->fd < 0 || (sent_taken[i] < 0 && sent_taken[i] != -EAGAIN)) continue;
        size_t taken = sent_taken[i] > 0 ? static_cast<size_t>(sent_taken[i]) : 0;
        writes += taken > 0;
        frames_out += sent_frames;
        if (taken == sent.len) continue;
        bytes_add(c->out, sent.data + taken, sent.len - taken);
        conn_watch(c, true);
    }
    sent_count = 0;
}

void fan_out() {
    if (sends == nullptr || turn.len > turn_bytes_max || all_count > sender_connections_max) return fan_out_plainly();
    Bytes now = turn;
    turn = sent;
    sent = now;
    sent_frames = turn_frames;
    for (uint32_t i = 0; i < all_count; i++) {
        Conn *c = all[i];
        if (!c->socket) continue;
        if (c->out.len > 0) {
            bytes_add(c->out, sent.data, sent.len);
            frames_out += turn_frames;
            continue;
        }
        sent_fds[sent_count] = c->fd;
        sent_to[sent_count++] = c;
    }
    sender_begin(sent_fds, sent_taken, sent_count, sent.data, sent.len);
    if (!sender_is_under_way()) fan_out_end();
}

bool number(const char *text, size_t max, size_t *into) { return text != nullptr && (*into = strtoul(text, nullptr, 10)) <= max; }

} // namespace

int main(int argc, char **argv) {
    size_t page_bytes = 3, alone = 0;
    for (int i = 1; i < argc; i += 2) {
        bool known = strcmp(argv[i], "--frame") == 0   ? number(argv[i + 1], 65535, &frame_bytes)
                     : strcmp(argv[i], "--page") == 0  ? number(argv[i + 1], 65535, &page_bytes)
                     : strcmp(argv[i], "--alone") == 0 ? number(argv[i + 1], sender_connections_max, &alone)
                     : strcmp(argv[i], "--sends") == 0 && (sends = argv[i + 1]) != nullptr;
        if (!known) {
            fprintf(stderr, "usage: floor [--frame BYTES] [--page BYTES] [--sends plain|uring|zerocopy|sqpoll|threads] [--alone CONNECTIONS]\n");
            return 2;
        }
    }
    if (sends != nullptr && strcmp(sends, "plain") == 0) sends = nullptr;
    if (sends != nullptr && !sender_open(sends)) {
        fprintf(stderr, "floor: no such way to send: %s\n", sends);
        return 2;
    }
    rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    if (alone > 0) return alone_run(sends != nullptr, static_cast<uint32_t>(alone), frame_bytes);
    page_make(page_bytes);
    poller = epoll_create1(EPOLL_CLOEXEC);
    int listener = listen_loopback();
    epoll_event e = {.events = EPOLLIN, .data = {.ptr = nullptr}};
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &e);
    static epoll_event events[1024];
    for (;;) {
        int n = epoll_wait(poller, events, 1024, sent_count > 0 ? 0 : -1);
        if (n == 0) fan_out_end();
        for (int i = 0; i < n; i++) {
            auto *c = static_cast<Conn *>(events[i].data.ptr);
            if (c == nullptr) {
                conns_accept(listener);
                continue;
            }
            if (c->fd >= 0 && events[i].events & EPOLLOUT) conn_drain(c);
            if (c->fd >= 0 && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) conn_read(c);
        }
        fan_out_end();
        if (turn.len == 0) continue;
        fan_out();
        turn.len = 0;
        turn_frames = 0;
    }
}
