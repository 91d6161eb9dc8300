// The measured server as a child process, and the clocks and counts that are read while it is measured. See child.h.
#include "child.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

namespace {

constexpr uint64_t second = 1000000000;
constexpr uint64_t start_limit_ns = 20 * second;
cpu_set_t child_cores;
bool split;

double seconds_of(clockid_t clock) {
    timespec t = {};
    clock_gettime(clock, &t);
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) / 1e9;
}

sockaddr_in loopback(int port) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

// A port that was free a moment ago, for servers that must be told theirs.
int port_free() {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = loopback(0);
    socklen_t len = sizeof address;
    if (bind(fd, reinterpret_cast<sockaddr *>(&address), len) != 0 ||
        getsockname(fd, reinterpret_cast<sockaddr *>(&address), &len) != 0)
        die("no free port");
    close(fd);
    return ntohs(address.sin_port);
}

// Reads the child's standard output until the line that names the port. 0 when it ended or nothing came.
int port_said(int out, uint64_t until_ns) {
    char text[8192];
    size_t len = 0;
    while (len < sizeof text - 1) {
        uint64_t now = now_ns();
        pollfd p = {.fd = out, .events = POLLIN, .revents = 0};
        if (now >= until_ns || poll(&p, 1, static_cast<int>((until_ns - now) / 1000000) + 1) <= 0) return 0;
        ssize_t n = read(out, text + len, sizeof text - 1 - len);
        if (n <= 0) return 0;
        len += static_cast<size_t>(n);
        text[len] = 0;
        const char *line = strstr(text, "listening on http://127.0.0.1:");
        if (line != nullptr && strchr(line, '\n') != nullptr) return atoi(strrchr(line, ':') + 1);
    }
    return 0;
}

} // namespace

void die(const char *what, const char *more) {
    fprintf(stderr, "load: %s%s\n", what, more);
    exit(1);
}

void *must(void *allocated) {
    if (allocated == nullptr) die("out of memory");
    return allocated;
}

uint64_t now_ns() {
    timespec t = {};
    clock_gettime(CLOCK_MONOTONIC, &t);
    return static_cast<uint64_t>(t.tv_sec) * second + static_cast<uint64_t>(t.tv_nsec);
}

bool cores_split() {
    cpu_set_t may;
    if (sched_getaffinity(0, sizeof may, &may) != 0 || CPU_COUNT(&may) < 2) return false;
    int first = 0, last = CPU_SETSIZE - 1;
    while (!CPU_ISSET(first, &may)) first++;
    while (!CPU_ISSET(last, &may)) last--;
    cpu_set_t mine;
    CPU_ZERO(&mine);
    CPU_SET(last, &mine);
    CPU_ZERO(&child_cores);
    CPU_SET(first, &child_cores);
    split = sched_setaffinity(0, sizeof mine, &mine) == 0;
    return split;
}

Child child_start(char *const *command, bool named) {
    Child c;
    int out[2];
    if (pipe2(out, O_CLOEXEC) != 0) die("no pipe");
    if (named) {
        c.port = port_free();
        char text[16];
        snprintf(text, sizeof text, "%d", c.port);
        setenv("PORT", text, 1);
    }
    c.started_ns = now_ns();
    int us = getpid();
    c.pid = fork();
    if (c.pid < 0) die("cannot fork");
    if (c.pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != us) _exit(1);
        if (split) sched_setaffinity(0, sizeof child_cores, &child_cores);
        dup2(out[1], 1);
        execvp(command[0], command);
        fprintf(stderr, "load: %s: %s\n", command[0], strerror(errno));
        _exit(127);
    }
    close(out[1]);
    uint64_t until = c.started_ns + start_limit_ns;
    if (!named) {
        // The pipe stays open and is not read any more: what our servers print after this line fits in it.
        c.port = port_said(out[0], until);
        if (c.port == 0) die("the server did not say where it listens");
        return c;
    }
    for (;;) {
        int fd = loopback_connect(c.port, true);
        if (fd >= 0) {
            close(fd);
            return c;
        }
        if (!child_alive(c)) die("the server ended while it started");
        if (now_ns() > until) die("the server takes no connections");
        usleep(500);
    }
}

bool child_alive(const Child &c) {
    siginfo_t info = {};
    return waitid(P_PID, static_cast<id_t>(c.pid), &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == 0;
}

int child_stop(Child &c) {
    kill(c.pid, SIGTERM);
    int status = 0;
    for (int i = 0; waitpid(c.pid, &status, WNOHANG) == 0; i++) {
        if (i == 600) kill(c.pid, SIGKILL);
        usleep(10000);
    }
    c.pid = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

double child_cpu_seconds(const Child &c) {
    clockid_t clock;
    return clock_getcpuclockid(c.pid, &clock) == 0 ? seconds_of(clock) : 0;
}

double own_cpu_seconds() { return seconds_of(CLOCK_PROCESS_CPUTIME_ID); }

double machine_cpu_seconds() {
    FILE *file = fopen("/proc/stat", "re");
    if (file == nullptr) return 0;
    unsigned long user = 0, nice = 0, system = 0, idle = 0, iowait = 0, irq = 0, softirq = 0;
    int got = fscanf(file, "cpu %lu %lu %lu %lu %lu %lu %lu", &user, &nice, &system, &idle, &iowait, &irq, &softirq);
    fclose(file);
    return got < 4 ? 0 : static_cast<double>(user + nice + system + irq + softirq) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

long child_memory_kb(const Child &c, const char *file, std::string_view field) {
    char path[64], line[256];
    snprintf(path, sizeof path, "/proc/%d/%s", c.pid, file);
    FILE *f = fopen(path, "re");
    if (f == nullptr) return 0;
    long kb = 0;
    while (fgets(line, sizeof line, f) != nullptr)
        if (std::string_view{line}.starts_with(field)) {
            kb = atol(line + field.size());
            break;
        }
    fclose(f);
    return kb;
}

int loopback_connect(int port, bool blocking) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | (blocking ? 0 : static_cast<int>(SOCK_NONBLOCK)), 0);
    if (fd < 0) return -1;
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    sockaddr_in address = loopback(port);
    if (connect(fd, reinterpret_cast<sockaddr *>(&address), sizeof address) == 0 || errno == EINPROGRESS) return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

// A value's leading bit and the six bits behind it.
void histogram_add(Histogram &h, uint64_t ns) {
    int top = ns < 64 ? 0 : 63 - __builtin_clzll(ns);
    size_t at = ns < 64 ? ns : static_cast<size_t>(top - 5) * 64 + ((ns >> (top - 6)) & 63);
    h.buckets[at]++;
    h.count++;
    if (ns > h.highest) h.highest = ns;
}

double histogram_ms(const Histogram &h, double share) {
    uint64_t want = static_cast<uint64_t>(static_cast<double>(h.count) * share), seen = 0;
    if (h.count == 0) return 0;
    for (size_t i = 0; i < sizeof h.buckets / sizeof *h.buckets; i++) {
        seen += h.buckets[i];
        if (seen <= want && seen < h.count) continue;
        if (i < 64) return static_cast<double>(i) / 1e6;
        size_t top = i / 64 + 5;
        return static_cast<double>((1ull << top) + ((i % 64) << (top - 6)) + (1ull << (top - 6)) / 2) / 1e6;
    }
    return static_cast<double>(h.highest) / 1e6;
}
