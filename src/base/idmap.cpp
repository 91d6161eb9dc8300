// Linear probing with backward-shift deletion: no tombstones, so a map that lives for months stays as fast as a new one.
// Owns its table, neither keys' nor values' things. One thread at a time.
#include "base/idmap.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/buf.h"

namespace {

// Ids are dense and come from us, names are hashed under a secret key: one multiplication spreads either well enough.
uint32_t idmap_home(const IdMap &map, uint64_t key) {
    uint64_t mixed = (key ^ (key >> 32)) * 0x9e3779b97f4a7c15u;
    return (uint32_t)(mixed >> 32) & (map.capacity - 1);
}

// Where the key is, or the empty place where it belongs.
uint32_t idmap_place(const IdMap &map, uint64_t key) {
    uint32_t at = idmap_home(map, key);
    while (map.entries[at].value != nullptr && map.entries[at].key != key) at = (at + 1) & (map.capacity - 1);
    return at;
}

void idmap_grow(IdMap &map) {
    IdMap larger;
    larger.capacity = map.capacity == 0 ? 16 : map.capacity * 2;
    CB_ASSERT(larger.capacity != 0);
    larger.count = map.count;
    larger.entries = (IdMapEntry *)mem_zero(sizeof(IdMapEntry) * (size_t)larger.capacity);
    for (uint32_t i = 0; i < map.capacity; i++) {
        if (map.entries[i].value != nullptr) larger.entries[idmap_place(larger, map.entries[i].key)] = map.entries[i];
    }
    free(map.entries);
    map = larger;
}

} // namespace

void *idmap_get(const IdMap &map, uint64_t key) {
    return map.count == 0 ? nullptr : map.entries[idmap_place(map, key)].value;
}

void idmap_put(IdMap &map, uint64_t key, void *value) {
    CB_ASSERT(value != nullptr);
    if ((uint64_t)(map.count + 1) * 4 > (uint64_t)map.capacity * 3) idmap_grow(map);
    IdMapEntry &entry = map.entries[idmap_place(map, key)];
    if (entry.value == nullptr) map.count++;
    entry = {key, value};
}

void *idmap_remove(IdMap &map, uint64_t key) {
    if (map.count == 0) return nullptr;
    uint32_t mask = map.capacity - 1;
    uint32_t hole = idmap_place(map, key);
    void *value = map.entries[hole].value;
    if (value == nullptr) return nullptr;
    // What stands behind the hole moves into it, unless it would come before its home.
    for (uint32_t at = (hole + 1) & mask; map.entries[at].value != nullptr; at = (at + 1) & mask) {
        uint32_t home = idmap_home(map, map.entries[at].key);
        if (((at - home) & mask) >= ((at - hole) & mask)) {
            map.entries[hole] = map.entries[at];
            hole = at;
        }
    }
    map.entries[hole] = {0, nullptr};
    map.count--;
    return value;
}

void idmap_free(IdMap &map) {
    free(map.entries);
    map = IdMap{};
}

bool idmap_next(const IdMap &map, uint32_t *i, IdMapEntry *out) {
    for (; *i < map.capacity; (*i)++) {
        if (map.entries[*i].value == nullptr) continue;
        *out = map.entries[(*i)++];
        return true;
    }
    return false;
}
