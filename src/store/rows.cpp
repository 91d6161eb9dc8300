// From the columns of a query to the rows of store.h, and the mentions of a message to and from their column. Any thread; owns nothing.
#include "store/db.h"

#include <string.h>

void row_user(const Query &q, Arena &arena, UserRow *out) {
    *out = {
        .id = query_int(q, 0),
        .rev = query_int(q, 1),
        .name = arena_copy(arena, query_text(q, 2)),
        .display_name = arena_copy(arena, query_text(q, 3)),
        .status = arena_copy(arena, query_text(q, 4)),
        .role = (Role)query_int(q, 5),
        .created = query_int(q, 6),
        .warnings = (uint32_t)query_int(q, 7),
        .blocked = query_int(q, 8) != 0,
        .deleted = query_int(q, 9) != 0,
    };
}

void row_room(const Query &q, Arena &arena, RoomRow *out) {
    *out = {
        .id = query_int(q, 0),
        .rev = query_int(q, 1),
        .kind = (RoomKind)query_int(q, 2),
        .name = arena_copy(arena, query_text(q, 3)),
        .topic = arena_copy(arena, query_text(q, 4)),
        .is_private = query_int(q, 5) != 0,
        .archived = query_int(q, 6) != 0,
        .owner = query_int(q, 7),
        .last = 0,
    };
}

void row_member(const Query &q, MemberRow *out) {
    *out = {
        .rev = query_int(q, 0),
        .room = query_int(q, 1),
        .user = query_int(q, 2),
        .seen = query_int(q, 3),
        .left = query_int(q, 4) != 0,
    };
}

void row_session(const Query &q, Arena &arena, SessionRow *out) {
    *out = {
        .id = query_int(q, 0),
        .user = query_int(q, 1),
        .token_hash = {},
        .created = query_int(q, 3),
        .last_used = query_int(q, 4),
        .agent = arena_copy(arena, query_text(q, 5)),
        .address = arena_copy(arena, query_text(q, 6)),
    };
    std::string_view hash = query_text(q, 2);
    if (hash.size() == hash_bytes) memcpy(out->token_hash, hash.data(), hash_bytes);
}

// --- mentions: ids of 8 bytes, little endian, so that the file means the same on every machine

static int64_t mention_at(std::string_view blob, size_t i) {
    uint64_t id = 0;
    for (size_t b = 0; b < 8; b++) id |= (uint64_t)(unsigned char)blob[i * 8 + b] << (8 * b);
    return (int64_t)id;
}

Blob mentions_encode(Arena &arena, const int64_t *ids, uint32_t count) {
    if (count == 0) return {nullptr, 0};
    auto *bytes = static_cast<unsigned char *>(arena_alloc(arena, (size_t)count * 8));
    for (uint32_t i = 0; i < count; i++)
        for (size_t b = 0; b < 8; b++) bytes[(size_t)i * 8 + b] = (unsigned char)((uint64_t)ids[i] >> (8 * b));
    return {bytes, (size_t)count * 8};
}

bool mentions_hold(std::string_view blob, int64_t user) {
    for (size_t i = 0; i < blob.size() / 8; i++)
        if (mention_at(blob, i) == user) return true;
    return false;
}

void row_message(const Query &q, Arena &arena, MessageRow *out) {
    std::string_view blob = query_text(q, 10);
    size_t count = blob.size() / 8;
    int64_t *mentions = nullptr;
    if (count > 0) {
        mentions = static_cast<int64_t *>(arena_alloc(arena, count * sizeof(int64_t)));
        for (size_t i = 0; i < count; i++) mentions[i] = mention_at(blob, i);
    }
    *out = {
        .id = query_int(q, 0),
        .rev = query_int(q, 1),
        .room = query_int(q, 2),
        .sender = query_int(q, 3),
        .time = query_int(q, 4),
        .edited = query_int(q, 5),
        .deleted = query_int(q, 6),
        .reply = query_int(q, 7),
        .text = arena_copy(arena, query_text(q, 8)),
        .nonce = arena_copy(arena, query_text(q, 9)),
        .mentions = mentions,
        .mentions_count = (uint32_t)count,
    };
}
