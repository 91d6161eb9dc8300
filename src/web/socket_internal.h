// What the two files of sockets share and nobody else knows: socket.cpp (opening, closing, requests, answers) and socket_turn.cpp (who is written to, and when). Loop
// thread only.
#pragma once

#include "web/socket.h"

struct Socket {
    Conn *conn;                 // null: it has closed, and this memory goes at the end of the turn
    ConnId id;
    Session *session;
    Socket *next_of_user;
    uint32_t index;             // in `all`
    uint32_t asked_bytes;       // of requests that wait for the store: what their answers may hold
    uint32_t refused;           // of the last 32 frames, the newest in the lowest bit: 1 when it was refused
    uint16_t frames;            // heard so far; wraps
    bool dirty : 1;             // in `dirty_list`
    bool history_asked : 1;     // one page at a time; meanwhile it is not read
    bool slowed : 1;            // over the request rate; meanwhile it is not read
    bool crowded : 1;           // in sockets_crowded: the store has too much to do; meanwhile it is not read
    bool newcomer : 1;          // went live a moment ago: has its turn behind the others
    uint8_t share_left;         // writes that it may bring before it waits in sockets_crowded (again)
    Reader reader;
};
static_assert(sizeof(Socket) <= 104, "a fan-out to thousands looks at each of them: every 16 bytes more are a quarter of a cache line, and 160 KB of 10,000 sockets");

struct SocketList {
    ConnId *ids;
    uint32_t count, capacity;
};

extern Hub *sockets_hub;
extern Socket **sockets_all;            // in no order
extern uint32_t sockets_all_count;
extern SocketList sockets_crowded;      // those that wait until the store has less to do, the longest first
extern bool sockets_take_turns;         // some wait there, or were heard from there in the last turn

Socket *socket_of(ConnId id);
void socket_list_add(SocketList &list, ConnId id);
void socket_mark_dirty(Socket *s);      // it is looked at in this turn though the ring has nothing new
void socket_encode(const Socket *s, Buf &wire, std::string_view payload);
void socket_update_pause(Socket *s);
void socket_bury(Socket *s);            // whoever called may still hold it: it goes at the end of the turn
void sockets_list_changed();            // one came or went
void sockets_turn_start(uint32_t at_least);
