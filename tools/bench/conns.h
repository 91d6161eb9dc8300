// The connections of the load generator and their loop. Each is one WebSocket to the measured server on 127.0.0.1; some of them
// send. Every message carries its sender and its number, so that each connection can tell whether it gets all of them, once and
// in order. One thread.
#pragma once

#include "child.h"

// What is being measured, and what has been seen of it so far.
struct Load {
    Child server;
    uint32_t senders = 0;
    uint32_t window = 0; // messages that each sender keeps under way; 0: they send at a fixed rate
    bool sending = false, measuring = false;
    uint32_t open = 0, lost = 0;      // connections that are ready, and that have been closed on us
    uint64_t sent = 0, delivered = 0; // every message comes to every connection: delivered goes to sent times open
    uint64_t wrong = 0;               // doubled, out of order, or of nobody
    uint64_t frames = 0, frame_bytes = 0, reads = 0;
    Histogram latency = {}; // of what is delivered while `measuring`
};
extern Load load;

// plain: JSON, handed on as it is. chatterbox: the same behind a login. mqtt: 3.1.1, quality 0. nats: its text protocol. False:
// no such.
bool dialect_choose(const char *name);
// Room for `count` connections. False if the system allows no more than fewer open files.
bool conns_make(uint32_t count);
// Tokens to log in with, one a line; connections use them in turn.
void conns_tokens(const char *path);
// Opens connections until there are `count`, each of which gets what is sent from now on.
void conns_connect(uint32_t count);
// Begins to send: `count` senders, spread over all connections, with `window` messages each under way, or `rate` messages a
// second in all. At a fixed rate latency counts from when a message was due. Ends when load.sending is made false.
void conns_send(uint32_t count, uint32_t window, double rate);
// One turn of the loop, waiting at most so long; the loop for so long.
void conns_turn(int wait_ms);
void conns_run(double seconds);
// Deliveries that are owed, of all connections together.
uint64_t conns_missing();
void conns_close();
