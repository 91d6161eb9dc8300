// The books: which change of the log has which rev, what the server has been told of, and what it has handed to each connection. From these follows after each step what
// every connection must have got by now, so that nothing has to be quiet for a gap to be seen. Single-threaded.
#pragma once

#include "sim_store.h"

constexpr int64_t ids_max = 1 << 13;      // revs of a run
constexpr uint32_t rooms_max = 48, people_max = 12;

// How often a message was sent on a connection, and how often it was answered there: by an error, a warning or a repeat.
struct Answers {
    uint32_t sent, asked, answered;
};

// Of one connection: what was handed to the network for it.
struct Ledger {
    bool is_welcomed, is_ready;
    int64_t base;               // what it has from before: up to here nothing is owed
    int64_t position;           // the rev of the last log frame or `ready`
    int64_t settled;            // up to here all that was owed has been handed over
    uint32_t requests, answers; // frames that it sent; errors, warnings, repeats and pongs for it
    uint64_t handed[ids_max / 64];
    bool page_due[rooms_max], page_given[rooms_max]; // a snapshot's histories
    List<Answers> messages;
};

struct Client;
void ledger_start();                                       // listens to the store
void ledger_disk_replaced();                               // the disk has become another one
bool ledger_is_member(int64_t room, int64_t user);         // by what the server has been told
bool ledger_came_and_went(int64_t room, int64_t user);     // both within this step, which has several turns
int64_t ledger_joined(int64_t room, int64_t user);         // at which rev; 0: it is not in it
void ledger_open(Ledger *l);                               // a new connection
void ledger_asks(Client *c, std::string_view request);     // it sends one
void ledger_hand(Client *c, std::string_view frame);       // a text frame is handed to the network
void ledger_step();                                        // what must hold now
