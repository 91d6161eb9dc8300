// A connection as a client makes it, for tests of sockets that are real.
#pragma once

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "unit.h"

// A client's end on a Unix socket, not blocking.
inline int dial_unix(const char *path) {
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un un = {};
    un.sun_family = AF_UNIX;
    strcpy(un.sun_path, path);
    assert_int_equal(connect(fd, (sockaddr *)&un, sizeof un), 0);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}
