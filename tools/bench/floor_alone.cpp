// floor --alone: what a way to send costs without a generator beside it, and what a second thread gains when it has a core of its
// own. The process connects to itself; only the fan-outs are timed, by the clock and by the CPU seconds of all its threads. The
// other ends are in an epoll set, as a reader's are, and are emptied in between.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "floor_send.h"

namespace {

double seconds_of(clockid_t clock) {
    timespec t = {};
    clock_gettime(clock, &t);
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) / 1e9;
}

void pairs_make(int *near, int *far, uint32_t count) {
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), readers = epoll_create1(EPOLL_CLOEXEC), on = 1;
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t len = sizeof address;
    auto *at = reinterpret_cast<sockaddr *>(&address);
    bool ok = bind(listener, at, len) == 0 && listen(listener, 16) == 0 && getsockname(listener, at, &len) == 0;
    for (uint32_t i = 0; ok && i < count; i++) {
        far[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ok = connect(far[i], at, len) == 0;
        near[i] = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
        epoll_event e = {.events = EPOLLIN, .data = {.fd = far[i]}};
        ok = ok && setsockopt(near[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0 && epoll_ctl(readers, EPOLL_CTL_ADD, far[i], &e) == 0;
    }
    if (ok) return;
    perror("floor: connections to itself");
    exit(1);
}

void empty(const int *far, const int32_t *taken, uint32_t count) {
    static char into[turn_bytes_max];
    for (uint32_t i = 0; i < count; i++)
        for (int32_t left = taken[i]; left > 0;) {
            ssize_t n = recv(far[i], into, sizeof into, 0);
            if (n <= 0) exit(1);
            left -= static_cast<int32_t>(n);
        }
}

} // namespace

int alone_run(bool by_sender, uint32_t count, size_t len) {
    constexpr double seconds = 0.5, warm = 0.1; // of fan-outs
    auto *near = static_cast<int *>(must(calloc(count, sizeof(int)))), *far = static_cast<int *>(must(calloc(count, sizeof(int))));
    auto *taken = static_cast<int32_t *>(must(calloc(count, sizeof(int32_t))));
    auto *data = static_cast<uint8_t *>(must(calloc(len + 1, 1)));
    pairs_make(near, far, count);
    for (uint32_t i = 0; by_sender && i < count; i++) sender_file(near[i], true);
    double spent = 0, cpu = 0;
    uint64_t sends = 0, whole = 0, turns = 0, copied = 0;
    for (bool is_warm = false; spent < seconds;) {
        double begun = seconds_of(CLOCK_MONOTONIC), cpu_begun = seconds_of(CLOCK_PROCESS_CPUTIME_ID);
        if (by_sender) {
            sender_begin(near, taken, count, data, len);
            sender_finish();
        } else
            for (uint32_t i = 0; i < count; i++) taken[i] = static_cast<int32_t>(send(near[i], data, len, MSG_NOSIGNAL | MSG_DONTWAIT));
        cpu += seconds_of(CLOCK_PROCESS_CPUTIME_ID) - cpu_begun;
        spent += seconds_of(CLOCK_MONOTONIC) - begun;
        empty(far, taken, count);
        for (uint32_t i = 0; i < count; i++) whole += taken[i] == static_cast<int32_t>(len);
        sends += count;
        turns++;
        if (is_warm || spent < warm) continue;
        is_warm = true;
        spent = cpu = 0;
        sends = whole = turns = 0;
        copied = sender_copied();
    }
    printf("{\"sends_s\":%.0f,\"sends_cpu_s\":%.0f,\"turn_us\":%.1f,\"whole\":%.3f,\"copied\":%.3f}\n", static_cast<double>(sends) / spent, static_cast<double>(sends) / cpu,
        spent * 1e6 / static_cast<double>(turns), static_cast<double>(whole) / static_cast<double>(sends),
        static_cast<double>(sender_copied() - copied) / static_cast<double>(sends));
    return 0;
}
