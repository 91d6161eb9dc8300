// Tells a service manager how it stands. Failing is no harm: then nobody listens.
#include "notify.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int manager = -1;

void notify_open() {
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un to = {};
    if (!path || (path[0] != '/' && path[0] != '@') || strlen(path) >= sizeof to.sun_path) return;
    to.sun_family = AF_UNIX;
    memcpy(to.sun_path, path, strlen(path));
    if (path[0] == '@') to.sun_path[0] = '\0'; // an abstract address
    manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    auto len = static_cast<socklen_t>(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    if (manager < 0 || connect(manager, reinterpret_cast<struct sockaddr *>(&to), len) == 0) return;
    close(manager);
    manager = -1;
}

static void notify(const char *state) {
    if (manager >= 0) (void)send(manager, state, strlen(state), MSG_NOSIGNAL);
}

void notify_ready() { notify("READY=1"); }
void notify_stopping() { notify("STOPPING=1"); }
