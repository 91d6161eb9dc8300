// Requests on kept connections, as fast as the answers come. See conns.h.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "conns.h"

Gets gets;

namespace {

struct Asker {
    int fd;
    uint32_t at;
    uint64_t asked_ns;
    size_t got, whole; // whole: 0 until the length is known
    char head[4096];
};
const char *get_path;
uint64_t random_low, random_high, dice = 0x9e3779b97f4a7c15;
bool measuring;

void ask(Asker *k) {
    char path[512], number[24], request[1024], bearer[128] = "";
    dice ^= dice << 13, dice ^= dice >> 7, dice ^= dice << 17;
    snprintf(number, sizeof number, "%llu", static_cast<unsigned long long>(random_low + dice % (random_high - random_low + 1)));
    const char *hole = strstr(get_path, "%r");
    if (hole == nullptr) snprintf(path, sizeof path, "%s", get_path);
    else snprintf(path, sizeof path, "%.*s%s%s", static_cast<int>(hole - get_path), get_path, number, hole + 2);
    if (load.accounts.count != 0)
        snprintf(bearer, sizeof bearer, "Authorization: Bearer %s\r\n", load.accounts.tokens[k->at % load.accounts.count]);
    int n = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: %s\r\nAccept-Encoding: gzip\r\n%s\r\n", path, load.server.name, bearer);
    k->got = k->whole = 0;
    k->asked_ns = now_ns();
    if (send(k->fd, request, static_cast<size_t>(n), MSG_NOSIGNAL) != n) die("cannot ask: ", strerror(errno));
}

void heard(Asker *k) {
    static char buffer[1 << 18];
    ssize_t r = recv(k->fd, buffer, sizeof buffer, 0);
    if (r <= 0) die("the server closed a connection");
    if (k->whole == 0) {
        size_t n = static_cast<size_t>(r) < sizeof k->head - 1 - k->got ? static_cast<size_t>(r) : sizeof k->head - 1 - k->got;
        memcpy(k->head + k->got, buffer, n);
        k->head[k->got + n] = 0;
        char *blank = strstr(k->head, "\r\n\r\n"), *length = strcasestr(k->head, "\r\ncontent-length:");
        if (blank == nullptr && n == static_cast<size_t>(r)) {
            k->got += n;
            return;
        }
        if (strncmp(k->head, "HTTP/1.1 200", 12) != 0) die("not the answer that was expected: ", k->head);
        if (blank == nullptr || length == nullptr || length > blank) die("the answer says no length");
        size_t body = strtoul(length + 17, nullptr, 10);
        k->whole = static_cast<size_t>(blank + 4 - k->head) + body;
        if (measuring) gets.bytes += body;
    }
    k->got += static_cast<size_t>(r);
    if (k->got < k->whole) return;
    if (k->got > k->whole) die("an answer is longer than it says");
    if (measuring) {
        gets.answers++;
        histogram_add(gets.latency, now_ns() - k->asked_ns);
    }
    ask(k);
}

} // namespace

void gets_run(const char *path, uint64_t low, uint64_t high, uint32_t connections, double warm, double seconds, void (*begun)()) {
    get_path = path;
    random_low = low;
    random_high = high < low ? low : high;
    int poller = epoll_create1(EPOLL_CLOEXEC);
    auto *askers = static_cast<Asker *>(must(calloc(connections, sizeof(Asker))));
    for (uint32_t i = 0; i < connections; i++) {
        Asker *k = &askers[i];
        k->at = i;
        k->fd = address_connect(load.server, true);
        if (k->fd < 0) die("cannot connect: ", strerror(errno));
        epoll_event e = {.events = EPOLLIN, .data = {.ptr = k}};
        epoll_ctl(poller, EPOLL_CTL_ADD, k->fd, &e);
        ask(k);
    }
    uint64_t begin = now_ns() + static_cast<uint64_t>(warm * 1e9), end = begin + static_cast<uint64_t>(seconds * 1e9);
    for (uint64_t now = now_ns(); now < end; now = now_ns()) {
        if (!measuring && now >= begin) {
            measuring = true;
            begun();
        }
        epoll_event events[256];
        int n = epoll_wait(poller, events, 256, 20);
        for (int i = 0; i < n; i++) heard(static_cast<Asker *>(events[i].data.ptr));
    }
    measuring = false;
    for (uint32_t i = 0; i < connections; i++) close(askers[i].fd);
    close(poller);
    free(askers);
}
