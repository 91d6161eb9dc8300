// The server of the simulation: the real hub, net and web on the simulated store, network and clock, as src/server.cpp puts them together. Single-threaded.
#pragma once

#include "chat/hub.h"

struct ServerOptions {
    HubOptions hub;
    uint32_t sockets_per_user_max;
    uint32_t login_rate;        // a minute; 0: no limit
    size_t held_bytes_max;      // of all connections
};
extern Hub hub;
extern Store *store;
extern bool server_is_up;
extern uint32_t server_reopens;

void server_start(const ServerOptions &options);
void server_turn();            // one turn of the loop
void server_change_words();    // SIGHUP, with another file of stop words
void server_crash();           // kill -9
void server_stop();            // SIGTERM
const char *server_unrest();   // what there is to do at once, or is under way; null: nothing
