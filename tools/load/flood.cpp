// Logins that never end, beside the chat: what a crowd at eight in the morning does, or somebody who guesses. See conns.h.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "conns.h"

Flood flood;

namespace {

constexpr uint32_t flood_max = 1024;
struct Login : Watched {
    char answer[16]; // its beginning
    size_t len;
    bool asked;
};
Login logins[flood_max];
uint32_t logins_count;

void login_start(Login *l);

void login_end(Login *l) {
    flood.answers++;
    if (l->len < 12 || memcmp(l->answer, "HTTP/1.1 200", 12) != 0) flood.refused++;
    close(l->fd);
    l->fd = -1;
    if (l < logins + logins_count) login_start(l);
}

void login_ready(Watched *w, uint32_t) {
    auto *l = static_cast<Login *>(w);
    if (!l->asked) {
        char body[300], request[700];
        int n = snprintf(body, sizeof body, "{\"username\":\"%s\",\"password\":\"%s\"}", flood.name, flood.password);
        n = snprintf(request, sizeof request,
            "POST /api/login HTTP/1.1\r\nHost: %s\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
            load.server.name, n, body);
        if (send(l->fd, request, static_cast<size_t>(n), MSG_NOSIGNAL) != n) return login_end(l);
        l->asked = true;
        return watch(l, EPOLLIN, false);
    }
    char bytes[4096];
    ssize_t r = recv(l->fd, bytes, sizeof bytes, 0);
    if (r < 0 && errno == EAGAIN) return;
    if (r <= 0) return login_end(l);
    size_t room = sizeof l->answer - l->len, n = static_cast<size_t>(r) < room ? static_cast<size_t>(r) : room;
    memcpy(l->answer + l->len, bytes, n);
    l->len += n;
}

void login_start(Login *l) {
    l->fd = address_connect(load.server, false);
    if (l->fd < 0) die("cannot connect: ", strerror(errno));
    l->ready = login_ready;
    l->len = 0;
    l->asked = false;
    watch(l, EPOLLOUT, true);
}

} // namespace

void flood_set(uint32_t count) {
    if (count > flood_max) die("too many logins at once");
    logins_count = count;
    for (uint32_t i = 0; i < count; i++)
        if (logins[i].fd < 0) login_start(&logins[i]);
}
