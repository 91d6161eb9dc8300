// The simulated network: a libuv of our own under the real src/net, and the clients' ends of its connections. A wire is one TCP connection: bytes keep their
// order within it and nowhere else, and are on their way for as long as the seed likes. Single-threaded.
#pragma once

#include <uv.h>

#include "base/buf.h"

struct Wire {
    uint32_t id;
    uv_stream_t *stream;         // the server's end; null: it has closed, or was never accepted
    bool is_reading, server_shut, client_shut, is_cut, is_deaf; // cut: nothing arrives any more; deaf: and the server is not told
    bool is_let_go;             // by the client before anybody accepted it: it is accepted all the same
    Buf up, down;                // on the way to the server, and to the client
    uint32_t down_max;           // what the way to the client holds
    size_t lost;                 // what the server wrote behind a cut
    uv_alloc_cb alloc;
    uv_read_cb read;
    uv_write_t *req;             // under way
    uv_write_cb req_done;
    std::string_view rest[2];    // of it, not yet in `down`
    void *client;                // whose it is
    bool deflates;               // permessage-deflate was agreed
    Buf handed;                  // what the server has handed over and the watcher has not understood yet
    bool handed_head;
};

Wire *wire_connect(uint32_t down_max);        // the server hears of it in the next turn
void wire_send(Wire *w, std::string_view bytes);
size_t wire_take(Wire *w, size_t most, Buf &out);
bool wire_ended(const Wire *w);               // the server has shut it, and all has been taken
void wire_close(Wire *w);                     // by the client, in good order
void wire_cut(Wire *w);                       // what is on the way is lost in part; the server learns of it later, or never
void wire_free(Wire *w);                      // the client forgets it
Wire *wire_of(const uv_stream_t *stream);
void wires_drop();                            // the server's process has ended

// One turn of the loop but for the server's own part: net_sim_before (time, timers, what was put off), the server's turn, net_sim_after (bytes, ends).
void net_sim_before();
void net_sim_after();
void net_sim_heal();                          // the server learns of every cut
const char *net_sim_unrest();                 // what is on the way; null: nothing
bool net_sim_handles();                       // handles that are not closed yet
// Called with what the server hands to a wire, when it does.
extern void (*net_sim_watch)(Wire *w, std::string_view bytes);
