// What the two halves of the connections share: conns.cpp reads and writes one, loop.cpp has them all and the loop.
#pragma once

#include "conns.h"

struct Stamp {
    uint64_t ns;
    Histogram *into;
    uint32_t room;
};

struct Room {
    unsigned id;
    uint32_t readers; // connections that read
};

enum class State : uint8_t { none, connecting, handshake, joining, open, closed };

struct Conn : Watched {
    uint32_t at = 0;
    int sender = -1; // its number among the senders
    State state = State::none;
    bool waits_to_write = false, stalled = false, deflates = false;
    bool resumer = false, resuming = false;
    uint32_t under_way = 0; // messages of its own that have not come back
    uint32_t sent = 0;
    uint64_t delivered = 0;
    uint64_t rev = 0;                    // a resumer's place in the log
    Stamp *stamps = nullptr;      // a sender's: when each of its last messages was sent or due
    uint16_t *rooms = nullptr;           // a sender's: of its account
    uint32_t rooms_count = 0, room_next = 0;
    char *in = nullptr, *out = nullptr;  // the rest of a frame cut in two; what the kernel would not take
    size_t in_len = 0, in_cap = 0, out_len = 0, out_cap = 0;
};

extern Conn *conns;
extern uint32_t conns_pending; // being opened
extern Conn **senders;
extern uint32_t stamps_max; // for each sender; a power of two
extern uint32_t *next_of;   // for each connection and sender: the number of the message that may come next
constexpr uint32_t rooms_max = 4096;
extern Room rooms[rooms_max]; // load.rooms of them

void conn_start(Conn *c);
void conn_send_message(Conn *c, uint64_t stamp_ns);
void conn_flush(Conn *c);
void text_make();
