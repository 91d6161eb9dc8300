// Arena: many small allocations with one end. Memory comes in chunks that never move, so views into it stay good until arena_free. One thread at a time.
#pragma once

#include "base/buf.h"

struct ArenaChunk;

struct Arena {
    ArenaChunk *chunk = nullptr; // the newest; older ones hang behind it
    size_t used = 0;             // of the newest
};

void *arena_alloc(Arena &a, size_t bytes); // aligned for any type, not cleared
std::string_view arena_copy(Arena &a, std::string_view bytes); // what is empty needs no room; a null pointer stays one
size_t arena_bytes(const Arena &a); // what it takes, but for what was lent
void arena_free(Arena &a);                 // a is empty and usable again
// A new arena begins in these bytes (aligned to 16), which stay the caller's; chunks follow when they are full. arena_free forgets them.
void arena_lend(Arena &a, void *place, size_t bytes);
