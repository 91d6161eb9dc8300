// What the three files of sync share and nobody else calls. Loop thread only.
#pragma once

#include "chat/sync.h"

extern Hub *sync_hub;
extern SyncPort sync_port;

// The reader that a read was made for. Null when its socket has gone, or goes because the store cannot be read; then `rd` is freed.
Reader *sync_arrived(StoreRead *rd);
// Reads for this reader; `done` begins with sync_arrived. Takes rd.
void sync_ask(Reader *r, StoreRead *rd, uint64_t id, void (*done)(StoreRead *));

inline uint32_t rooms_of(const User *user) {
    uint32_t count = 0;
    for (const Member *m = user->members; m; m = m->next_of_user) count++;
    return count;
}


void reader_begin_snapshot(Reader *r);
bool reader_sees(const Reader *r, const RingEntry *e);
void reader_tell_ready(Reader *r, uint64_t id);
