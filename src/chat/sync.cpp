// Sync, the beginning and the end: `welcome` and the counts of what is unread in it. See sync.h for the picture. sync_replay.cpp brings a reader into
// the ring, sync_live.cpp serves it there.
#include "chat/sync_internal.h"

#include "base/clock.h"
#include "base/metrics.h"
#include "chat/protocol.h"
#include "chat/unread.h"
#include "version.h"

#include <stdlib.h>

#include <initializer_list>

Hub *sync_hub;
SyncPort sync_port;

void sync_start(Hub *h, const SyncPort &p) {
    sync_hub = h;
    sync_port = p;
}

Reader *sync_arrived(StoreRead *rd) {
    Reader *r = sync_port.find(rd->owner_id);
    if (r) r->reading = false;
    if (r && rd->err == Err::ok) return r;
    if (r) sync_port.fail(rd->owner_id);
    store_read_free(rd);
    return nullptr;
}

void sync_ask(Reader *r, StoreRead *rd, uint64_t id, void (*done)(StoreRead *)) {
    rd->owner_id = id;
    rd->done = done;
    r->reading = true;
    if (store_read(sync_hub->store, rd)) return;
    store_read_free(rd);
    sync_port.fail(id);
}

// --- welcome

// `counts`: one for each membership, in their order.
static void put_rooms(JsonWriter &w, const UnreadCount *counts, const User *user, Brevity brevity) {
    json_key(w, "rooms");
    json_begin(w, '[');
    for (const Member *member = user->members; member; member = member->next_of_user) {
        RoomView view = {.reader = user, .member = member, .counts = *counts++, .brevity = brevity};
        protocol_room(w, member->room, &view);
    }
    json_end(w, ']');
}

static void put_welcome(Buf &out, const UnreadCount *counts, const User *user, bool resumed, Brevity brevity) {
    JsonWriter w{.out = &out};
    json_begin(w, '{');
    json_field(w, "type", "welcome");
    json_field(w, "epoch", store_epoch(sync_hub->store));
    json_field_int(w, "rev", hub_rev(sync_hub));
    json_field_int(w, "time", clock_wall_ms());
    json_key(w, "user");
    protocol_user(w, user, Eyes::own);
    json_field_bool(w, "resumed", resumed);
    put_rooms(w, counts, user, brevity);
    json_key(w, "limits");
    protocol_limits(w, sync_hub->options.text_chars_max, sync_hub->options.frame_bytes_max);
    json_key(w, "server");
    json_begin(w, '{');
    json_field(w, "name", sync_hub->options.server_name);
    json_field(w, "version", CB_VERSION);
    json_end(w, '}');
    json_end(w, '}');
}

// The rooms joined since then, of which the replay will tell once more, with the counts of `welcome`. Null: none.
static RoomCounts *joined_since(const User *user, const UnreadCount *counts, int64_t since) {
    RoomCounts *joined = nullptr;
    uint32_t count = 0;
    for (const Member *member = user->members; member; member = member->next_of_user, counts++) {
        if (member->rev <= since) continue;
        joined = static_cast<RoomCounts *>(mem_grow(joined, (count + 2) * sizeof(RoomCounts)));
        joined[count++] = {member->room->id, *counts};
        joined[count] = {};
    }
    return joined;
}

static void welcome(Reader *r, uint64_t id, const UnreadCount *counts, bool resumed, int64_t since) {
    ScopedBuf payload;
    for (Brevity brevity : {Brevity::none, Brevity::marks, Brevity::topic}) {
        buf_clear(payload);
        put_welcome(payload, counts, r->user, resumed, brevity);
        if (payload.len <= frame_out_bytes_max) break; // rooms_joined_max sees to it that the last one fits
    }
    r->seen_stamp = sync_hub->model.seen_stamp;
    r->cursor = sync_hub->ring.head;
    if (resumed) {
        r->state = ReaderState::catching_up;
        r->position = since;
        r->replay_to = hub_rev(sync_hub);
        r->joined = joined_since(r->user, counts, since);
    } else {
        reader_begin_snapshot(r);
    }
    sync_port.queue(id, buf_view(payload));
}

static void welcome_was_read(StoreRead *rd);

static void ask_for_counts(Reader *r, uint64_t id, const ReaderStart &how) {
    StoreRead *rd = store_read_new(ReadKind::unread);
    User *user = r->user;
    auto *marks = static_cast<Mark *>(arena_alloc(rd->arena, (rooms_of(user) + 1) * sizeof(Mark)));
    for (const Member *m = user->members; m; m = m->next_of_user) marks[rd->marks_count++] = {m->room->id, user->id, m->seen};
    rd->marks = marks;
    rd->user = user->id;
    rd->since = how.since;
    if (how.resume && how.max != resume_max_none) rd->limit = how.max ? how.max : 1; // 0 would be not to count
    rd->owner_extra = static_cast<uint64_t>(how.resume) << 32 | how.max;
    sync_ask(r, rd, id, welcome_was_read);
}

static void welcome_was_read(StoreRead *rd) {
    Reader *r = sync_arrived(rd);
    if (!r) return;
    auto max = static_cast<uint32_t>(rd->owner_extra & 0xffffffff);
    bool wants_resume = rd->owner_extra >> 32;
    for (uint32_t i = 0; i < rd->marks_count; i++) unread_note(rd->marks[i], rd->snapshot_rev, rd->counts[i]);
    auto *counts = static_cast<UnreadCount *>(arena_alloc(rd->arena, (rooms_of(r->user) + 1) * sizeof(UnreadCount)));
    bool good = true;
    UnreadCount *at = counts;
    for (const Member *m = r->user->members; m && good; m = m->next_of_user) good = unread_of_read(sync_hub, rd, m, at++);
    if (!good) ask_for_counts(r, rd->owner_id, {.resume = wants_resume, .since = rd->since, .max = max});
    else welcome(r, rd->owner_id, counts, wants_resume && rd->since <= hub_rev(sync_hub) && (max == resume_max_none || rd->waiting <= max), rd->since);
    store_read_free(rd);
}

// Do at most `max` messages wait behind `since`? False: not certain. Each message that is new or has changed has one entry in the ring at least.
static bool few_wait(int64_t since, uint32_t max) {
    const Ring *ring = &sync_hub->ring;
    if (max == resume_max_none) return true;
    if (!ring_covers(ring, since)) return false;
    uint64_t from = ring_find(ring, since);
    return ring->head - from <= max;
}

// Most often all is known: then nothing has to be read for `welcome`.
static bool welcome_at_once(Reader *r, uint64_t id, const ReaderStart &how) {
    bool resumed = how.resume && how.since <= hub_rev(sync_hub);
    if (resumed && !few_wait(how.since, how.max)) return false;
    ScopedBuf room;
    buf_reserve(room, (rooms_of(r->user) + 1) * sizeof(UnreadCount));
    auto *counts = reinterpret_cast<UnreadCount *>(room.data), *at = counts;
    uint32_t looks = unread_looks_max;
    for (const Member *m = r->user->members; m; m = m->next_of_user)
        if (!unread_known(sync_hub, m, &looks, at++)) return false;
    welcome(r, id, counts, resumed, how.since);
    return true;
}

void reader_start(Reader *r, uint64_t id, User *user, const ReaderStart &how) {
    *r = {};
    r->user = user;
    metric_add(Metric::sockets_catching_up);
    if (!welcome_at_once(r, id, how)) ask_for_counts(r, id, how);
}

void reader_end(Reader *r) {
    if (r->state != ReaderState::live) metric_sub(Metric::sockets_catching_up);
    free(r->rooms);
    r->rooms = nullptr;
}
