// A connection of the load generator: handshake, frames, and what it must receive when. See conns.h.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "conns_internal.h"
#include "inflate.h"

namespace {

// The mark in a message's text: its sender among the senders and the how-manieth of that sender it is. It must come back
// unchanged.
constexpr size_t mark_bytes = 16; // T#sender{4}.count{8}#
constexpr size_t read_bytes = 4 << 20, text_bytes_max = 16000;
char read_buffer[read_bytes];
uint64_t clock_ns; // when the bytes at hand were read
char text_rest[text_bytes_max + 1000];
char epoch[64];
unsigned run_tag; // a nonce belongs to its message for ever: those of another run are not ours
uint64_t wall_ms; // what to add to now_ns() / 10^6 for the time since 1970

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
    watch(c, EPOLLIN | (writing ? uint32_t{EPOLLOUT} : 0u), false);
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

} // namespace

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

namespace {

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

} // namespace

// The same JSON for every server, with a nonce as the page makes it: 24 characters or so, of which the first are the time. Servers that store nothing just hand it on.
void conn_send_message(Conn *c, uint64_t stamp_ns) {
    static char text[text_bytes_max + 200];
    char room_field[32] = "";
    uint32_t at = load.all_rooms && c->rooms_count != 0 ? c->rooms[c->room_next++ % c->rooms_count] : 0;
    Room &room = rooms[at];
    if (room.id != 1) snprintf(room_field, sizeof room_field, "\"room\":%u,", room.id);
    // Long texts differ from each other as those of people do.
    size_t shift = load.text_bytes > 200 ? c->sent * 37 % 1000 : 0;
    int n = snprintf(text, sizeof text, "{\"type\":\"message\",%s\"nonce\":\"%011llx%04x.%d-%u\",\"text\":\"T#%04d.%08u#%.*s\"}", room_field,
        static_cast<unsigned long long>(wall_ms + now_ns() / 1'000'000), run_tag, c->sender, c->sent, c->sender, c->sent, static_cast<int>(load.text_bytes - mark_bytes), text_rest + shift);
    c->stamps[c->sent & (stamps_max - 1)] = {stamp_ns, load.into, at};
    conn_frame(c, 1, text, static_cast<size_t>(n));
    c->sent++;
    c->under_way++;
    load.sent++;
    load.owed += room.readers;
}

namespace {

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
    uint32_t from = static_cast<uint32_t>((mark[2] - '0') * 1000 + (mark[3] - '0') * 100 + (mark[4] - '0') * 10 + mark[5] - '0'),
             count = eight_digits(mark + 7);
    if (c->resumer) return;
    if (from >= load.senders || count >= senders[from]->sent) {
        load.wrong++;
        return;
    }
    // With one room and nothing refused each follows the one before; else some are not for this connection.
    uint32_t &next = next_of[c->at * load.senders + from];
    if (count < next || (count > next && !load.all_rooms && load.refused == 0)) load.wrong++;
    next = count + 1;
    c->delivered++;
    load.delivered++;
    const Stamp &stamp = senders[from]->stamps[count & (stamps_max - 1)];
    if (stamp.into != nullptr) histogram_add(*stamp.into, clock_ns > stamp.ns ? clock_ns - stamp.ns : 0);
    if (static_cast<int>(from) == c->sender && c->under_way > 0) c->under_way--;
}

bool is_mark(const char *p) { return p[0] == 'T' && p[1] == '#' && p[6] == '.' && p[15] == '#'; }

void payload_read(Conn *c, const char *p, size_t n) {
    static size_t hint; // where the last one was: it moves only when a number before it gets longer
    if (n >= hint + mark_bytes && is_mark(p + hint)) return delivery(c, p + hint);
    for (size_t at = 0; at + mark_bytes <= n; at++) {
        auto *t = static_cast<const char *>(memchr(p + at, 'T', n - mark_bytes + 1 - at));
        if (t == nullptr) return;
        at = static_cast<size_t>(t - p);
        if (!is_mark(t)) continue;
        hint = at;
        return delivery(c, t);
    }
}

bool payload_is(const char *p, size_t n, const char *type) {
    size_t len = strlen(type);
    return n > len + 9 && memcmp(p, "{\"type\":\"", 9) == 0 && memcmp(p + 9, type, len) == 0 && p[9 + len] == '"';
}

uint64_t number_behind(const char *p, size_t n, const char *key) {
    auto *at = static_cast<const char *>(memmem(p, n, key, strlen(key)));
    return at == nullptr ? 0 : strtoull(at + strlen(key), nullptr, 10); // a frame's brace ends it
}

// The rooms of a connection's account, as its welcome names them.
void welcome_read(Conn *c, const char *p, size_t n) {
    if (!load.all_rooms || c->resumer) return;
    c->rooms = static_cast<uint16_t *>(must(malloc(rooms_max * sizeof(uint16_t))));
    for (const char *end = p + n, *at = p; (at = static_cast<const char *>(memmem(at, static_cast<size_t>(end - at), "{\"id\":", 6))) != nullptr;) {
        at += 6;
        unsigned id = static_cast<unsigned>(strtoul(at, nullptr, 10));
        if (id == 1) continue; // everybody is in the lobby
        uint32_t i = 0;
        while (i < load.rooms && rooms[i].id != id) i++;
        if (i == rooms_max) die("too many rooms");
        if (i == load.rooms) rooms[load.rooms++] = {id, 0};
        rooms[i].readers++;
        c->rooms[c->rooms_count++] = static_cast<uint16_t>(i);
    }
}

void conn_joined(Conn *c) {
    c->state = State::open;
    c->resuming = false;
    conns_pending--;
    load.open++;
    if (!load.all_rooms && !c->resumer) rooms[0].readers++;
}

// What comes before `ready`: a snapshot, which is nothing of ours, or what was missed.
void joining_read(Conn *c, const char *p, size_t n) {
    if (payload_is(p, n, "welcome")) {
        if (c->resuming && memmem(p, n, "\"resumed\":true", 14) == nullptr) die("a connection could not resume");
        auto *at = static_cast<const char *>(memmem(p, n, "\"epoch\":\"", 9));
        if (at != nullptr) snprintf(epoch, sizeof epoch, "%.*s", static_cast<int>(strcspn(at + 9, "\"")), at + 9);
        welcome_read(c, p, n);
    }
    if (!payload_is(p, n, "ready")) return;
    c->rev = number_behind(p, n, "\"rev\":");
    conn_joined(c);
}

// A resumer gets every change after its place: without others than messages each follows the one before.
void resumer_read(Conn *c, const char *p, size_t n) {
    if (!payload_is(p, n, "message")) return;
    uint64_t rev = number_behind(p, n, "\"rev\":");
    if (c->resuming && rev != c->rev + 1) load.wrong++;
    c->rev = rev;
}

void error_read(Conn *c, const char *p, size_t n) {
    if (!payload_is(p, n, "error") && !payload_is(p, n, "warning")) return;
    auto *nonce = static_cast<const char *>(memmem(p, n, "\"nonce\":\"", 9));
    const char *dash = nonce == nullptr ? nullptr : strchr(nonce, '-');
    if (dash == nullptr || c->sender < 0) return;
    load.refused++;
    load.owed -= rooms[c->stamps[strtoul(dash + 1, nullptr, 10) & (stamps_max - 1)].room].readers;
    if (c->under_way > 0) c->under_way--;
}

// The answer to the handshake: 101 with the right accept key for the key of RFC 6455's example, which we always send.
bool handshake_read(Conn *c, char *&p, char *end) {
    auto *blank = static_cast<char *>(memmem(p, static_cast<size_t>(end - p), "\r\n\r\n", 4));
    if (blank == nullptr) return false;
    *blank = 0;
    if (strncmp(p, "HTTP/1.1 101 ", 13) != 0 || strstr(p, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=") == nullptr)
        die("the handshake was refused: ", p);
    c->deflates = strcasestr(p, "permessage-deflate") != nullptr;
    if (load.deflate && !c->deflates) die("the server does not compress: it wants --deflate on");
    p = blank + 4;
    c->state = State::joining;
    if (load.plain) conn_joined(c);
    return true;
}

void frame_read(Conn *c, uint8_t first, char *p, size_t n) {
    uint8_t opcode = first & 15;
    if (opcode == 9) return conn_frame(c, 10, p, n);
    if (opcode == 8) return conn_close(c);
    if (opcode > 2) return;
    const char *text = p;
    if (first & 0x40) text = inflate_frame(p, n, &n);
    if (c->resumer) resumer_read(c, text, n);
    if (c->state == State::joining) return joining_read(c, text, n);
    if (!load.plain && !payload_is(text, n, "message")) return error_read(c, text, n);
    load.frames++;
    load.frame_bytes += n;
    payload_read(c, text, n);
}

void conn_read(Conn *c) {
    size_t had = c->in_len;
    if (had != 0) memcpy(read_buffer, c->in, had);
    ssize_t r = recv(c->fd, read_buffer + had, read_bytes - had - 1, 0);
    if (r < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (r <= 0) return conn_close(c);
    clock_ns = now_ns();
    load.reads++;
    load.bytes += static_cast<uint64_t>(r);
    char *p = read_buffer, *end = read_buffer + had + r;
    *end = 0;
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
        frame_read(c, u[0], p + head, n);
        p += head + n;
    }
    if (c->fd < 0) return;
    c->in_len = 0;
    if (p < end) keep(c->in, c->in_len, c->in_cap, p, static_cast<size_t>(end - p));
    if (load.sending && load.outstanding != 0 && c->sender >= 0)
        while (c->under_way < load.outstanding) conn_send_message(c, clock_ns);
    conn_flush(c);
}

void conn_connected(Conn *c) {
    int error = 0;
    socklen_t len = sizeof error;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len);
    if (error != 0) die("cannot connect: ", strerror(error));
    char request[1024], bearer[128] = "", query[128] = "";
    if (load.accounts.count != 0)
        snprintf(bearer, sizeof bearer, "Authorization: Bearer %s\r\n", load.accounts.tokens[c->at % load.accounts.count]);
    if (c->resuming) snprintf(query, sizeof query, "?since=%llu&epoch=%s", static_cast<unsigned long long>(c->rev), epoch);
    int n = snprintf(request, sizeof request,
        "GET %s%s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s%s\r\n",
        load.plain ? "/" : "/ws", query, load.server.name, bearer,
        load.deflate ? "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover; server_no_context_takeover\r\n" : "");
    c->state = State::handshake;
    keep(c->out, c->out_len, c->out_cap, request, static_cast<size_t>(n));
    conn_flush(c);
}

void conn_ready(Watched *w, uint32_t events) {
    auto *c = static_cast<Conn *>(w);
    if (c->state == State::connecting && events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) conn_connected(c);
    else if (c->fd >= 0 && events & EPOLLOUT) conn_flush(c);
    if (c->fd >= 0 && c->state != State::connecting && events & (EPOLLIN | EPOLLHUP | EPOLLERR)) conn_read(c);
}

} // namespace

void conn_start(Conn *c) {
    c->fd = address_connect(load.server, false);
    if (c->fd < 0) die("cannot connect: ", strerror(errno));
    c->ready = conn_ready;
    c->state = State::connecting;
    c->waits_to_write = true;
    c->in_len = c->out_len = 0;
    conns_pending++;
    watch(c, EPOLLIN | EPOLLOUT, true);
}

// Words that people use, drawn in a fixed way, so that texts compress as theirs do.
void text_make() {
    run_tag = static_cast<unsigned>(getpid()) & 0xffff;
    timespec wall = {};
    clock_gettime(CLOCK_REALTIME, &wall);
    wall_ms = static_cast<uint64_t>(wall.tv_sec) * 1000 + static_cast<uint64_t>(wall.tv_nsec) / 1'000'000 - now_ns() / 1'000'000;
    constexpr const char *words[] = {"and", "the", "some", "words", "as", "people", "write", "them", "in", "a", "chat", "we", "meet",
        "at", "school", "tomorrow", "morning", "who", "brings", "bread", "is", "there", "anybody", "on", "this", "boat", "yes", "no",
        "later", "the", "weather", "looks", "good", "from", "here", "wind", "comes", "round", "to", "west", "bring", "your", "notes",
        "please", "where", "did", "you", "put", "key", "of", "boathouse", "it", "hangs", "behind", "door", "thanks"};
    uint32_t dice = 12345;
    for (size_t len = 0; len < sizeof text_rest - 1;) {
        dice = dice * 1664525 + 1013904223;
        len += static_cast<size_t>(snprintf(text_rest + len, sizeof text_rest - len, " %s", words[(dice >> 16) % (sizeof words / sizeof *words)]));
    }
    constexpr char first[] = " and some words as people write them in a chat";
    memcpy(text_rest, first, sizeof first - 1);
}
