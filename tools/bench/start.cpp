// start: how long a server takes from its start as a process to the first byte of its first answer. For `make bench` only.
//   start PORT PATH CPU COMMAND [ARGUMENTS]          CPU: where the server runs
// Prints milliseconds and the status of the answer, then ends the server (SIGTERM, after 6 s SIGKILL). Asks over and over on
// 127.0.0.1 until it is answered, so PORT must be the one that the command will use.
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "http.h"
#include "measure.h"

int main(int argc, char **argv) {
    if (argc < 5) die("usage: start PORT PATH CPU COMMAND [ARGUMENTS]");
    char url[64], request[512], answer[256] = "";
    snprintf(url, sizeof url, "http://127.0.0.1:%s", argv[1]);
    Address a = address_read(url);
    int n = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", argv[2], a.name);
    uint64_t begun = now_ns();
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
        dup2(nothing, 0);
        dup2(nothing, 1);
        cpu_set_t cpus;
        CPU_ZERO(&cpus);
        CPU_SET(atoi(argv[3]), &cpus);
        sched_setaffinity(0, sizeof cpus, &cpus);
        execvp(argv[4], argv + 4);
        _exit(127);
    }
    double ms = -1;
    int status = 0;
    while (ms < 0) {
        if (waitpid(pid, &status, WNOHANG) == pid) die("the server ended");
        if (now_ns() - begun > 20000000000ull) die("the server does not answer");
        int fd = address_connect(a, true);
        if (fd >= 0 && send(fd, request, static_cast<size_t>(n), MSG_NOSIGNAL) == n && recv(fd, answer, sizeof answer - 1, 0) > 12)
            ms = static_cast<double>(now_ns() - begun) / 1e6;
        if (fd >= 0) close(fd);
        if (ms < 0) usleep(50);
    }
    kill(pid, SIGTERM);
    for (int i = 0; waitpid(pid, &status, WNOHANG) == 0; i++) {
        if (i == 600) kill(pid, SIGKILL);
        usleep(10000);
    }
    printf("{\"start_ms\":%.3f,\"answer\":%d,\"ended_well\":%s}\n", ms, atoi(answer + 9), WIFEXITED(status) && WEXITSTATUS(status) == 0 ? "true" : "false");
    return 0;
}
