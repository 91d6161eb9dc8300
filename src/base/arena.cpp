// Arena: chunks of at least 1 KiB, each twice the one before up to 64 KiB; an allocation larger than that gets a chunk of its own size.
#include "base/arena.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

struct alignas(16) ArenaChunk {
    ArenaChunk *older;
    size_t size;    // of the bytes behind this header
    bool is_lent;   // by arena_lend
};

static constexpr size_t chunk_min = 1024;
static constexpr size_t chunk_max = 64 * 1024;

void *arena_alloc(Arena &a, size_t bytes) {
    bytes = (bytes + 15) & ~size_t{15};
    if (!a.chunk || a.chunk->size - a.used < bytes) {
        size_t size = a.chunk ? a.chunk->size * 2 : chunk_min;
        if (size > chunk_max) size = chunk_max;
        if (size < bytes) size = bytes;
        auto *chunk = static_cast<ArenaChunk *>(mem_alloc(sizeof(ArenaChunk) + size));
        *chunk = {.older = a.chunk, .size = size, .is_lent = false};
        a.chunk = chunk;
        a.used = 0;
    }
    char *at = reinterpret_cast<char *>(a.chunk + 1) + a.used;
    a.used += bytes;
    return at;
}

std::string_view arena_copy(Arena &a, std::string_view bytes) {
    if (bytes.empty()) return bytes.data() ? std::string_view("") : std::string_view();
    auto *copy = static_cast<char *>(arena_alloc(a, bytes.size()));
    memcpy(copy, bytes.data(), bytes.size());
    return {copy, bytes.size()};
}

size_t arena_bytes(const Arena &a) {
    size_t bytes = 0;
    for (const ArenaChunk *chunk = a.chunk; chunk; chunk = chunk->older)
        if (!chunk->is_lent) bytes += sizeof *chunk + chunk->size;
    return bytes;
}

void arena_free(Arena &a) {
    while (a.chunk) {
        ArenaChunk *older = a.chunk->older;
        if (!a.chunk->is_lent) free(a.chunk);
        a.chunk = older;
    }
    a.used = 0;
}

void arena_lend(Arena &a, void *place, size_t bytes) {
    CB_ASSERT(!a.chunk && bytes > sizeof(ArenaChunk));
    a.chunk = static_cast<ArenaChunk *>(place);
    *a.chunk = {.older = nullptr, .size = bytes - sizeof(ArenaChunk), .is_lent = true};
}
