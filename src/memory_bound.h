// How much memory the server takes at most, whatever strangers do: the sum of all that can grow, by the options and the limits. What is stored and kept in memory
// (accounts, rooms, memberships, sessions) comes on top; it grows by what people make, within its own limits.
#pragma once

#include "options.h"

struct MemoryBound { // bytes
    uint64_t fixed;          // the program, SQLite's heap and pages, the ring, tables, one result of each reading
    uint64_t hashing;        // passwords at once, and those that wait
    uint64_t writing;        // operations that wait for the disk
    uint64_t one_connection; // at its worst
    uint64_t connections;    // all of them at their worst at once
    uint64_t total;
};

MemoryBound memory_bound(const Options *o, unsigned hash_threads);
