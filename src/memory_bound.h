// How much memory the server takes at most, whatever strangers do: the sum of all that can grow, by the options, the limits and the machine. What is stored and kept in
// memory (accounts, rooms, memberships, sessions) comes on top; it grows by what people make, within its own limits.
#pragma once

#include "options.h"

struct MemoryBound { // bytes
    uint64_t fixed;          // the program, SQLite's heap and pages, the ring, tables, one result of each reading
    uint64_t hashing;        // passwords at once, and those that wait
    uint64_t writing;        // operations that wait for the disk
    uint64_t idle;           // all connections there may be, when none holds anything
    uint64_t held_max;       // for the net (NetOptions.held_bytes_max): what they hold, together
    uint64_t held;           // … and how far that may be passed in one turn
    uint64_t one_connection; // at its worst; one is looked at at a time, its message inflated, its answer made
    uint64_t total;
};

MemoryBound memory_bound(const Options *o, unsigned hash_threads, uint64_t machine_bytes);
