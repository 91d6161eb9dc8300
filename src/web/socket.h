// Socket: one user's WebSocket. It joins a connection to a person, a session and a Reader: the requests that arrive go to the hub, the frames that wait go out with one
// vectored write a turn. Loop thread only.
#pragma once

#include "chat/sync.h"
#include "net/ws.h"

struct SocketOptions {
    uint32_t sockets_max = sockets_max_default;
    uint32_t sockets_per_user_max = sockets_per_user_max_default;
    uint32_t turn_sockets_min = 40; // served in each turn, if as many lack news: in that time those who wrote have their acknowledgement, and write again
};

void sockets_start(Hub *h, const SocketOptions &options);

// Answers a handshake for a session: 101 and a socket, or 503 at a limit. `r` is dead afterwards.
void socket_open(HttpRequest *r, Session *session, bool has_since, int64_t since, std::string_view epoch, uint32_t max);

// --- the net's handlers
void socket_text(Conn *c, std::string_view message);
void socket_frame(Conn *c);   // has its part of the request rate like any other
void socket_writable(Conn *c);
void socket_closed(Conn *c);

// --- the hub's hooks
void sockets_of_session_close(Session *session);   // 4001
void sockets_of_user_block(User *user);            // `blocked`, 4002

// At the end of a loop turn, after the store's completions: sockets with news get one write each. Those who wrote always, of the others as many as are due; or all.
void sockets_turn(bool to_all = false);
// True when a socket waits for another turn at once.
bool sockets_want_turn();
// Has somebody who is up to date not taken yet what there is? Who is catching up resumes with the next server.
bool sockets_owe();
// Everybody gets this close code (1001 at the stop).
void sockets_close_all(uint16_t code, const char *reason);
uint32_t sockets_count();
