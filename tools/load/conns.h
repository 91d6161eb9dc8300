// The connections of the load generator and their loop. Each is one WebSocket; some of them send. Every message carries its
// sender and its number, so that each connection can tell whether it gets all that it should, once and in order. One thread.
#pragma once

#include "http.h"
#include "measure.h"

// What is being measured, and what has been seen of it so far.
struct Load {
    Address server;
    Accounts accounts;
    bool plain = false;   // a server that hands on what it gets, without accounts and greetings (make bench measures such)
    bool deflate = false; // offer permessage-deflate
    bool all_rooms = false; // send to each room of one's account in turn; else to `room`
    unsigned room = 1;
    size_t text_bytes = 62;

    uint32_t senders = 0;
    uint32_t outstanding = 0; // messages that each sender keeps under way; 0: they send at a fixed rate
    bool sending = false;
    Histogram *into = nullptr; // of what is sent now; null: not measured

    uint32_t open = 0, lost = 0;      // connections that are ready, and that have been closed on us
    uint64_t sent = 0, refused = 0;   // refused by the server with an error or a warning
    uint64_t delivered = 0, owed = 0; // to all connections that read: each message to each of its room
    uint64_t wrong = 0;               // doubled, out of order, or of nobody
    uint64_t frames = 0, frame_bytes = 0, bytes = 0, reads = 0; // bytes: all that came; frame_bytes: of messages, inflated
    uint32_t rooms = 0;               // that something was sent to or could be
};
extern Load load;

// Something that waits for its descriptor in the loop: a connection here, one of flood.cpp.
struct Watched {
    int fd = -1;
    void (*ready)(Watched *w, uint32_t events) = nullptr;
    bool in_crowd = false; // looked at a few at a time, behind the others: our own work with it must not be in their latencies
};
void watch(Watched *w, uint32_t events, bool first);

// Room for `count` connections, of which the last `resumers` come later (conns_resume). Ends if the system allows no more than
// fewer open files.
void conns_make(uint32_t count, uint32_t resumers);
// Opens connections until there are `count`, each of which gets what is sent from now on. Of those, `stalled` then read nothing
// any more.
void conns_connect(uint32_t count, uint32_t stalled);
// Begins to send: `count` senders, spread over all connections, with `outstanding` messages each under way, or, if that is 0,
// `rate` messages a second in all; then latency counts from when a message was due. Ends when load.sending is made false.
void conns_send(uint32_t count, uint32_t outstanding, double rate);
// One turn of the loop, waiting at most so long; the loop for so long.
void conns_turn(int wait_ms);
void conns_run(double seconds);
// Until all that is owed has come: at most `seconds`, and no longer than 5 s without anything. Returns what is still missing.
uint64_t conns_finish(double seconds);

// The resumers of conns_make connect, note their place and go. So many messages and half a second later all come back at once;
// what is sent until each is ready counts into `meanwhile`. Returns the
// seconds that took; a message that one of them missed or got twice is counted in load.wrong. Senders must be at it.
double conns_resume(uint32_t behind, Histogram *meanwhile);
void conns_close();

// flood.cpp: keeps `count` logins under way, each on a connection of its own, until it is called with 0. The answers are counted.
struct Flood {
    const char *name = "", *password = "";
    uint64_t answers = 0, refused = 0; // refused: anything but 200
};
extern Flood flood;
void flood_set(uint32_t count);

// gets.cpp: GET `path` on so many kept connections, one request under way on each, for so long; "%r" in it is a random number
// from `low` to `high`. Every answer must be 200.
struct Gets {
    uint64_t answers = 0, bytes = 0; // bytes: of bodies
    Histogram latency = {};
};
extern Gets gets;
void gets_run(const char *path, uint64_t low, uint64_t high, uint32_t connections, double warm, double seconds, void (*begun)());
