// The server that is measured, and plain requests to it: one at a time, waiting for the answer. For logins and for what the
// server tells about itself; the WebSockets are in conns.h. One thread.
#pragma once

#include <stddef.h>
#include <sys/socket.h>

struct Address {
    char name[128] = "127.0.0.1:8000"; // as it stands in Host
    int port = 8000;
    sockaddr_storage socket = {};
    socklen_t socket_len = 0;
};

// Reads `http://HOST[:PORT]`. Ends the program with a line if that cannot be resolved.
Address address_read(const char *url);
// A new connection, non-blocking if asked. -1 with errno.
int address_connect(const Address &a, bool blocking);

constexpr size_t answer_bytes_max = 1 << 18;
struct Answer {
    int status = 0; // 0: there was none
    char *body;     // ends with a zero; until the next request
};
// `token` and `body` may be null. The whole answer must come within 20 s and be no longer than answer_bytes_max.
Answer http_ask(const Address &a, const char *method, const char *path, const char *token, const char *body);

// What the server counts about itself: frames sent in how many writes, operations in how many commits. Zeros from one that does
// not tell.
struct Counts {
    double frames_out = 0, writes = 0, commits = 0, operations = 0, turns = 0;
};
Counts counts_now(const Address &a, const char *token);

// Accounts. Each connection uses one, in turn.
constexpr size_t token_bytes_max = 64;
struct Accounts {
    char (*tokens)[token_bytes_max] = nullptr;
    unsigned count = 0;
};
void accounts_read(Accounts &accounts, const char *path);                   // a token a line
void accounts_login(Accounts &accounts, const Address &a, const char *path); // a name and a password a line
void accounts_register(Accounts &accounts, const Address &a, unsigned count); // new ones, whose names begin with `load-`
void accounts_write(const Accounts &accounts, const char *path);            // mode 0600
