// Requests that wait for their answer, and accounts. See http.h.
#include "http.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "measure.h"

Address address_read(const char *url) {
    Address a;
    const char *rest = strncmp(url, "http://", 7) == 0 ? url + 7 : url;
    size_t n = strcspn(rest, "/");
    if (n == 0 || n >= sizeof a.name || strncmp(url, "https:", 6) == 0) die("not an address such as http://127.0.0.1:8000: ", url);
    memcpy(a.name, rest, n);
    a.name[n] = 0;
    char host[sizeof a.name];
    memcpy(host, a.name, n + 1);
    const char *port = "80";
    if (char *colon = strrchr(host, ':'); colon != nullptr && strchr(colon, ']') == nullptr) {
        *colon = 0;
        port = colon + 1;
    }
    char *name = host;
    if (*name == '[') {
        name++;
        name[strcspn(name, "]")] = 0;
    }
    addrinfo hints = {}, *found = nullptr;
    hints.ai_socktype = SOCK_STREAM;
    if (int error = getaddrinfo(name, port, &hints, &found); error != 0) die("no such server: ", gai_strerror(error));
    memcpy(&a.socket, found->ai_addr, found->ai_addrlen);
    a.socket_len = found->ai_addrlen;
    a.port = atoi(port);
    freeaddrinfo(found);
    return a;
}

int address_connect(const Address &a, bool blocking) {
    int fd = socket(a.socket.ss_family, SOCK_STREAM | SOCK_CLOEXEC | (blocking ? 0 : static_cast<int>(SOCK_NONBLOCK)), 0);
    if (fd < 0) return -1;
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(fd, reinterpret_cast<const sockaddr *>(&a.socket), a.socket_len) == 0 || errno == EINPROGRESS) return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

Answer http_ask(const Address &a, const char *method, const char *path, const char *token, const char *body) {
    static char text[answer_bytes_max];
    Answer answer = {.status = 0, .body = text};
    text[0] = 0;
    char request[2048], bearer[128] = "";
    if (token != nullptr) snprintf(bearer, sizeof bearer, "Authorization: Bearer %s\r\n", token);
    int n = snprintf(request, sizeof request, "%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n%s", method, path, a.name, bearer);
    if (body != nullptr)
        n += snprintf(request + n, sizeof request - static_cast<size_t>(n), "Content-Type: application/json\r\nContent-Length: %zu\r\n",
            strlen(body));
    n += snprintf(request + n, sizeof request - static_cast<size_t>(n), "\r\n%s", body == nullptr ? "" : body);
    int fd = address_connect(a, true);
    if (fd < 0 || n >= static_cast<int>(sizeof request)) return answer;
    timeval patience = {.tv_sec = 20, .tv_usec = 0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    size_t len = 0, whole = 0;
    char *blank = nullptr;
    if (send(fd, request, static_cast<size_t>(n), MSG_NOSIGNAL) == n)
        while (len < sizeof text - 1 && (whole == 0 || len < whole)) {
            ssize_t r = recv(fd, text + len, sizeof text - 1 - len, 0);
            if (r <= 0) break;
            len += static_cast<size_t>(r);
            text[len] = 0;
            if (blank != nullptr || (blank = strstr(text, "\r\n\r\n")) == nullptr) continue;
            char *length = strcasestr(text, "\r\ncontent-length:");
            if (length != nullptr && length < blank) whole = static_cast<size_t>(blank + 4 - text) + strtoul(length + 17, nullptr, 10);
        }
    close(fd);
    if (blank == nullptr || strncmp(text, "HTTP/1.1 ", 9) != 0 || len < whole) return answer;
    answer.status = atoi(text + 9);
    answer.body = blank + 4;
    return answer;
}

namespace {

// The name stands in comments too, there without a number behind it.
double metric(const char *text, const char *name) {
    for (const char *at = text; (at = strstr(at, name)) != nullptr;) {
        at += strlen(name);
        if (*at >= '0' && *at <= '9') return atof(at);
    }
    return 0;
}

void account_add(Accounts &accounts, const char *token) {
    accounts.tokens = static_cast<char(*)[token_bytes_max]>(
        must(realloc(accounts.tokens, (accounts.count + 1) * sizeof *accounts.tokens)));
    snprintf(accounts.tokens[accounts.count++], token_bytes_max, "%s", token);
}

// Names and passwords are ours or the user's own: what JSON would have to escape is refused.
void account_enter(Accounts &accounts, const Address &a, const char *path, int good, const char *name, const char *password) {
    char body[512];
    if (strpbrk(name, "\"\\") != nullptr || strpbrk(password, "\"\\") != nullptr) die("quotes and backslashes are not for a name here: ", name);
    snprintf(body, sizeof body, "{\"username\":\"%s\",\"password\":\"%s\"}", name, password);
    Answer answer = http_ask(a, "POST", path, nullptr, body);
    char *token = answer.status == good ? strstr(answer.body, "\"token\":\"") : nullptr;
    if (token == nullptr) die("the server lets nobody in: ", answer.status == 0 ? "no answer" : answer.body);
    token += 9;
    token[strcspn(token, "\"")] = 0;
    account_add(accounts, token);
}

FILE *open_or_die(const char *path, const char *mode) {
    FILE *file = fopen(path, mode);
    if (file == nullptr) die("cannot open ", path);
    return file;
}

} // namespace

Counts counts_now(const Address &a, const char *token) {
    Answer answer = http_ask(a, "GET", "/metrics", token, nullptr);
    if (answer.status != 200) return {};
    return {metric(answer.body, "_frames_out "), metric(answer.body, "_writes "), metric(answer.body, "_commits "),
        metric(answer.body, "_operations "), metric(answer.body, "_turns ")};
}

void accounts_read(Accounts &accounts, const char *path) {
    FILE *file = open_or_die(path, "re");
    char line[token_bytes_max];
    while (fscanf(file, "%63s", line) == 1) account_add(accounts, line);
    fclose(file);
    if (accounts.count == 0) die("no token in ", path);
}

void accounts_login(Accounts &accounts, const Address &a, const char *path) {
    FILE *file = open_or_die(path, "re");
    char line[256];
    while (fgets(line, sizeof line, file) != nullptr) {
        line[strcspn(line, "\r\n")] = 0;
        char *space = strchr(line, ' ');
        if (space == nullptr) continue;
        *space = 0;
        account_enter(accounts, a, "/api/login", 200, line, space + 1);
    }
    fclose(file);
    if (accounts.count == 0) die("no name and password in ", path);
}

void accounts_register(Accounts &accounts, const Address &a, unsigned count) {
    unsigned long long seed = now_ns();
    for (unsigned i = 0; i < count; i++) {
        char name[33], password[64];
        snprintf(name, sizeof name, "load-%llx-%u", seed & 0xffffffffffull, i);
        // An account for measuring, yet nobody shall walk in: what the clock cannot tell comes from the system.
        unsigned char secret[16];
        FILE *random = open_or_die("/dev/urandom", "re");
        if (fread(secret, 1, sizeof secret, random) != sizeof secret) die("no random numbers");
        fclose(random);
        for (size_t k = 0; k < sizeof secret; k++) snprintf(password + 2 * k, 3, "%02x", secret[k]);
        account_enter(accounts, a, "/api/register", 201, name, password);
    }
}

void accounts_write(const Accounts &accounts, const char *path) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    FILE *file = fd < 0 ? nullptr : fdopen(fd, "w");
    if (file == nullptr) die("cannot write ", path);
    for (unsigned i = 0; i < accounts.count; i++) fprintf(file, "%s\n", accounts.tokens[i]);
    fclose(file);
}
