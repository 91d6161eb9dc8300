// IdMap: an open-addressing hash table from a 64-bit key (an id, or keyed_hash of a name) to a pointer. It owns neither. One thread at a time.
#pragma once

#include <stddef.h>
#include <stdint.h>

struct IdMapEntry {
    uint64_t key;
    void *value; // null: the place is empty
};

struct IdMap {
    IdMapEntry *entries = nullptr;
    uint32_t count = 0;
    uint32_t capacity = 0; // 0 or a power of two, at most three quarters full
};

void *idmap_get(const IdMap &map, uint64_t key);            // null when there is none
void idmap_put(IdMap &map, uint64_t key, void *value);      // value not null; replaces
void *idmap_remove(IdMap &map, uint64_t key);               // what was there, or null
void idmap_free(IdMap &map);

// for (uint32_t i = 0; idmap_next(map, &i, &entry);) — in no order; the map must not change meanwhile.
bool idmap_next(const IdMap &map, uint32_t *i, IdMapEntry *out);
