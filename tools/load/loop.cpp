// All connections of the load generator and their loop: opening, the clock that sends, waiting for the rest, coming back all at
// once. See conns.h.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "conns_internal.h"

Load load;
Conn *conns;
uint32_t conns_pending;
Conn **senders;
uint32_t stamps_max;
uint32_t *next_of;
Room rooms[rooms_max];

namespace {

uint32_t conns_count, conns_started, readers_count; // readers_count: those that may send
Conn *resumers;
uint32_t resumers_count;
int poller = -1, crowd_poller = -1;
Watched crowd; // crowd_poller, as one of those that poller looks at

Watched timer;
uint64_t due_ns, due_step_ns;
uint32_t due_sender;

void timer_arm() {
    itimerspec t = {};
    t.it_value.tv_sec = static_cast<time_t>(due_ns / 1000000000);
    t.it_value.tv_nsec = static_cast<long>(due_ns % 1000000000);
    timerfd_settime(timer.fd, TFD_TIMER_ABSTIME, &t, nullptr);
}

// Messages are stamped with the time at which they were due, so that a server that makes us late is not spared the wait.
void timer_due(Watched *, uint32_t) {
    uint64_t expirations;
    if (read(timer.fd, &expirations, sizeof expirations) < 0 || !load.sending) return;
    for (uint64_t now = now_ns(); due_ns <= now; due_ns += due_step_ns) {
        Conn *c = senders[due_sender++ % load.senders];
        if (c->state != State::open) continue;
        conn_send_message(c, due_ns);
        conn_flush(c);
    }
    timer_arm();
}

void resumers_close() {
    for (uint32_t i = 0; i < resumers_count; i++) {
        Conn *c = &resumers[i];
        if (c->state != State::open) die("a connection was closed while many came back");
        close(c->fd);
        c->fd = -1;
        c->state = State::none;
        load.open--;
    }
}

// A connect() takes longer than a read, and a thousand in a row would be our own delay in the latencies of the others: a few, then a look at what has come.
constexpr uint32_t connects_in_a_row = 4;
// The same goes for what they get.
constexpr int crowd_in_a_row = 4;

void crowd_ready(Watched *, uint32_t) {
    epoll_event events[crowd_in_a_row];
    int n = epoll_wait(crowd_poller, events, crowd_in_a_row, 0);
    for (int i = 0; i < n; i++) {
        auto *w = static_cast<Watched *>(events[i].data.ptr);
        if (w->fd >= 0) w->ready(w, events[i].events);
    }
}

void resumers_open(uint32_t at_once) {
    uint32_t before = load.open;
    for (uint32_t i = 0; load.open < before + resumers_count;) {
        for (uint32_t n = 0; n < connects_in_a_row && i < resumers_count && conns_pending < at_once; n++) conn_start(&resumers[i++]);
        conns_turn(i < resumers_count && conns_pending < at_once ? 0 : 100);
        if (load.lost != 0) die("the server closed a connection while we connected");
    }
}

} // namespace

void watch(Watched *w, uint32_t events, bool first) {
    epoll_event e = {.events = events, .data = {.ptr = w}};
    if (epoll_ctl(w->in_crowd ? crowd_poller : poller, first ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, w->fd, &e) != 0) die("cannot watch: ", strerror(errno));
}

void conns_turn(int wait_ms) {
    static epoll_event events[2048];
    int n = epoll_wait(poller, events, 2048, wait_ms);
    for (int i = 0; i < n; i++) {
        auto *w = static_cast<Watched *>(events[i].data.ptr);
        if (w->fd >= 0) w->ready(w, events[i].events);
    }
}

void conns_run(double seconds) {
    uint64_t until = now_ns() + static_cast<uint64_t>(seconds * 1e9);
    for (uint64_t now = now_ns(); now < until; now = now_ns()) conns_turn(static_cast<int>((until - now) / 1000000) + 1);
}

void conns_make(uint32_t count, uint32_t later) {
    rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    conns_count = count + later;
    resumers_count = later;
    if (files.rlim_max < conns_count + 128) die("the system allows too few open files (ulimit -Hn)");
    conns = static_cast<Conn *>(must(malloc((conns_count + 1) * sizeof(Conn))));
    for (uint32_t i = 0; i < conns_count; i++) {
        conns[i] = Conn{};
        conns[i].at = i;
        conns[i].resumer = conns[i].in_crowd = i >= count;
    }
    resumers = conns + count;
    poller = epoll_create1(EPOLL_CLOEXEC);
    crowd_poller = crowd.fd = epoll_create1(EPOLL_CLOEXEC);
    crowd.ready = crowd_ready;
    watch(&crowd, EPOLLIN, true);
    rooms[0] = {load.room, 0};
    load.rooms = load.all_rooms ? 0 : 1;
    text_make();
}

void conns_connect(uint32_t count, uint32_t stalled) {
    constexpr uint32_t handshakes_max = 64;
    while (load.open + load.lost < count) {
        while (conns_started < count && conns_pending < handshakes_max) conn_start(&conns[conns_started++]);
        conns_turn(100);
        if (load.lost != 0) die("the server closed a connection while we connected");
    }
    readers_count = count - stalled;
    for (uint32_t i = readers_count; i < count; i++) {
        int little = 4096; // so that what waits, waits at the server
        setsockopt(conns[i].fd, SOL_SOCKET, SO_RCVBUF, &little, sizeof little);
        epoll_ctl(poller, EPOLL_CTL_DEL, conns[i].fd, nullptr);
        rooms[0].readers--;
    }
}

void conns_send(uint32_t count, uint32_t outstanding, double rate) {
    load.senders = count;
    load.outstanding = outstanding;
    load.sending = true;
    if (load.rooms == 0) die("nobody is in a room besides the lobby");
    next_of = static_cast<uint32_t *>(must(calloc(static_cast<size_t>(conns_count) * count, sizeof *next_of)));
    senders = static_cast<Conn **>(must(calloc(count, sizeof *senders)));
    stamps_max = 1 << 16;
    while (stamps_max > 1024 && stamps_max * count > 1u << 20) stamps_max /= 2;
    while (stamps_max < outstanding * 2) stamps_max *= 2;
    for (uint32_t i = 0; i < count; i++) {
        senders[i] = &conns[static_cast<uint64_t>(i) * readers_count / count];
        senders[i]->sender = static_cast<int>(i);
        senders[i]->stamps = static_cast<Stamp *>(must(calloc(stamps_max, sizeof(Stamp))));
    }
    if (outstanding == 0) {
        timer.fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
        timer.ready = timer_due;
        watch(&timer, EPOLLIN, true);
        due_step_ns = static_cast<uint64_t>(1e9 / rate);
        due_ns = now_ns() + due_step_ns;
        return timer_arm();
    }
    for (uint32_t i = 0; i < count; i++) {
        while (senders[i]->under_way < outstanding) conn_send_message(senders[i], now_ns());
        conn_flush(senders[i]);
    }
}

uint64_t conns_finish(double seconds) {
    load.sending = false;
    uint64_t end = now_ns() + static_cast<uint64_t>(seconds * 1e9), moved = now_ns();
    while (load.delivered < load.owed && now_ns() < end && now_ns() - moved < 5000000000ull && load.lost == 0) {
        uint64_t before = load.delivered;
        conns_turn(50);
        if (load.delivered != before) moved = now_ns();
    }
    return load.owed > load.delivered ? load.owed - load.delivered : 0;
}

double conns_resume(uint32_t behind, Histogram *meanwhile) {
    for (uint32_t i = 0; i < resumers_count; i++) resumers[i].resuming = false;
    resumers_open(64);
    resumers_close();
    uint64_t until = load.sent + behind;
    conns_run(0.5); // their leaving has been noticed
    while (load.sent < until && load.lost == 0) conns_turn(10);
    for (uint32_t i = 0; i < resumers_count; i++) resumers[i].resuming = true;
    load.into = meanwhile;
    uint64_t begun = now_ns();
    resumers_open(resumers_count);
    double took = static_cast<double>(now_ns() - begun) / 1e9;
    load.into = nullptr;
    resumers_close();
    conns_run(0.3);
    return took;
}

void conns_close() {
    for (uint32_t i = 0; i < conns_count; i++)
        if (conns[i].fd >= 0) close(conns[i].fd);
    conns_count = 0;
}
