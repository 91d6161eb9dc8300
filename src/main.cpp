// ChatterBox: real-time chat in the browser from one executable. This file is the outline of the program; start reading at README.md, "How it works".
#include "admin.h"
#include "base/crypto.h"
#include "options.h"
#include "sandbox.h"
#include "server.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

// Started with a standard stream closed, the next thing opened would take its number, and the log would be written into the loop's pipes or to a client. A socket
// without a peer takes the place: writing to it fails, reading from it is at the end at once, and it needs no /dev, which an empty root does not have.
static void keep_standard_streams() {
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && socket(AF_UNIX, SOCK_DGRAM, 0) == fd) (void)shutdown(fd, SHUT_RD);
}

static int fail_usage(const Buf &error) {
    fprintf(stderr, "chatterbox: %.*s\n", static_cast<int>(error.len), error.data);
    return 2;
}

// The status of a command, whose answer may have met a full disk.
static int all_said(int status) {
    if (fflush(stdout) == 0 && !ferror(stdout)) return status;
    fprintf(stderr, "chatterbox: the answer could not be written to standard output: %s\n", strerror(errno));
    return status ? status : 1;
}

static int serve(int argc, char **argv) {
    static Options options;
    ScopedBuf error;
    if (!options_parse(argc, argv, &options, &error)) return fail_usage(error);
    if (options.help) return all_said(admin_help());
    return server_run(&options);
}

int main(int argc, char **argv) {
    keep_standard_streams();
    (void)signal(SIGXFSZ, SIG_IGN); // a limit on the size of files is an error code, not the end
    sandbox_harden_process();
    mem_start();
    if (!crypto_start()) {
        fprintf(stderr, "chatterbox: the system has no source of random numbers\n");
        return 1;
    }
    bool asks_version = argc == 2 && strcmp(argv[1], "--version") == 0;
    if (asks_version) argv[1] = argv[1] + 2; // the command of that name
    bool is_command = argc > 1 && argv[1][0] != '-';
    if (!is_command) return serve(argc - 1, argv + 1);
    if (strcmp(argv[1], "serve") == 0) return serve(argc - 2, argv + 2);
    return all_said(admin_run(argc - 1, argv + 1));
}
