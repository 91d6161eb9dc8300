// The simulated store's inside: what sim_store.cpp (operations), sim_life.cpp (queue and faults) and sim_reads.cpp share.
#pragma once

#include "sim_store.h"

enum class Outcome : uint8_t { good, full, passing, broken };

struct Store {
    StoreFailed failed;
    int64_t rev;                     // told
    StoreWrite *first, *last;        // waiting
    uint32_t waiting;
    StoreWrite *batch;               // under way
    bool in_flight, is_decided;      // on the thread; its transaction has ended
    Outcome outcome;
    bool is_broken, is_closing;
    uint32_t commits_begun, commits_told;
    StoreRead *read_first, *read_last;
    StoreRead *held_first, *held_last;
    uint32_t reads;
};

void sim_operate(SimData &d, StoreWrite *w);       // judges and does one operation
void sim_look(const SimData &d, StoreRead *r);     // answers one read
void sim_reads_poll(Store *s, bool all);
void sim_reads_release(Store *s);
