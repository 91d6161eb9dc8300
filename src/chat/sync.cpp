// Sync: welcome, snapshot, replay, live. See sync.h for the picture.
#include "chat/sync.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "chat/presence.h"
#include "chat/protocol.h"
#include "chat/unread.h"
#include "version.h"

#include <stdlib.h>
#include <string.h>

#include <initializer_list>

static Hub *hub;
static SyncPort port;

constexpr uint32_t frames_per_page_max = 256;
constexpr size_t slice_bytes = 64 * 1024;        // of replayed frames encoded at once; what the kernel does not take is read again

// The page under construction: payloads end to end, and for each the position that its reader has with it. One at a time.
static Buf page_bytes;
static std::string_view page_payloads[frames_per_page_max];
static int64_t page_positions[frames_per_page_max];

void sync_start(Hub *h, const SyncPort &p) {
    hub = h;
    port = p;
}

// --- welcome

static int newest_room_first(const void *a, const void *b) {
    const Room *x = *static_cast<Room *const *>(a), *y = *static_cast<Room *const *>(b);
    return x->last == y->last ? 0 : x->last < y->last ? 1 : -1;
}

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
    json_field(w, "epoch", store_epoch(hub->store));
    json_field_int(w, "rev", hub_rev(hub));
    json_field_int(w, "time", clock_wall_ms());
    json_key(w, "user");
    protocol_user(w, user, Eyes::own);
    json_field_bool(w, "resumed", resumed);
    put_rooms(w, counts, user, brevity);
    json_key(w, "limits");
    protocol_limits(w, hub->options.text_chars_max);
    json_key(w, "server");
    json_begin(w, '{');
    json_field(w, "name", hub->options.server_name);
    json_field(w, "version", CB_VERSION);
    json_end(w, '}');
    json_end(w, '}');
}

static uint32_t rooms_of(const User *user) {
    uint32_t count = 0;
    for (const Member *m = user->members; m; m = m->next_of_user) count++;
    return count;
}

static void begin_snapshot(Reader *r) {
    r->state = ReaderState::snapshot;
    r->position = hub_rev(hub);
    uint32_t count = rooms_of(r->user);
    auto **rooms = static_cast<Room **>(mem_alloc((count + 1) * sizeof(Room *)));
    uint32_t n = 0;
    for (const Member *m = r->user->members; m; m = m->next_of_user) rooms[n++] = m->room;
    qsort(rooms, n, sizeof *rooms, newest_room_first);
    if (n > welcome_rooms_max) n = welcome_rooms_max;
    r->rooms = static_cast<int64_t *>(mem_alloc((n + 1) * sizeof(int64_t)));
    for (uint32_t i = 0; i < n; i++) r->rooms[i] = rooms[i]->id;
    r->rooms_count = static_cast<uint8_t>(n);
    r->rooms_next = 0;
    free(rooms);
}

// The reader that a read was made for. Null when its socket has gone, or goes because the store cannot be read; then `rd` is freed.
static Reader *arrived(StoreRead *rd) {
    Reader *r = port.find(rd->owner_id);
    if (r) r->reading = false;
    if (r && rd->err == Err::ok) return r;
    if (r) port.fail(rd->owner_id);
    store_read_free(rd);
    return nullptr;
}

static void welcome(Reader *r, uint64_t id, const UnreadCount *counts, bool resumed, int64_t since) {
    ScopedBuf payload;
    for (Brevity brevity : {Brevity::none, Brevity::marks, Brevity::topic}) {
        buf_clear(payload);
        put_welcome(payload, counts, r->user, resumed, brevity);
        if (payload.len <= frame_out_bytes_max) break; // rooms_joined_max sees to it that the last one fits
    }
    r->seen_stamp = hub->model.seen_stamp;
    r->cursor = hub->ring.head;
    if (resumed) {
        r->state = ReaderState::catching_up;
        r->position = since;
        r->replay_to = hub_rev(hub);
    } else {
        begin_snapshot(r);
    }
    port.queue(id, buf_view(payload));
}

static void ask(Reader *r, StoreRead *rd, uint64_t id, void (*done)(StoreRead *)) {
    rd->owner_id = id;
    rd->done = done;
    r->reading = true;
    if (store_read(hub->store, rd)) return;
    store_read_free(rd);
    port.fail(id);
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
    ask(r, rd, id, welcome_was_read);
}

// The store's count of a room, brought up to date. False: it has none, since the room was joined while it counted.
static bool count_of(const StoreRead *rd, const Member *member, UnreadCount *out) {
    uint32_t looks = UINT32_MAX;
    *out = {};
    if (member->seen >= member->room->last) return true;
    for (uint32_t i = 0; i < rd->marks_count; i++) {
        if (rd->marks[i].room != member->room->id) continue;
        *out = rd->counts[i];
        // What was changed in the blink of the read may be counted once too often, and of a mark that moved what is above the old one: that lasts until the next `seen`.
        (void)unread_add_newer(hub, member, rd->snapshot_rev, &looks, out);
        return true;
    }
    return unread_known(hub, member, &looks, out);
}

static void welcome_was_read(StoreRead *rd) {
    Reader *r = arrived(rd);
    if (!r) return;
    auto max = static_cast<uint32_t>(rd->owner_extra & 0xffffffff);
    bool wants_resume = rd->owner_extra >> 32;
    for (uint32_t i = 0; i < rd->marks_count; i++) unread_note(rd->marks[i], rd->snapshot_rev, rd->counts[i]);
    auto *counts = static_cast<UnreadCount *>(arena_alloc(rd->arena, (rooms_of(r->user) + 1) * sizeof(UnreadCount)));
    bool good = true;
    UnreadCount *at = counts;
    for (const Member *m = r->user->members; m && good; m = m->next_of_user) good = count_of(rd, m, at++);
    if (!good) ask_for_counts(r, rd->owner_id, {.resume = wants_resume, .since = rd->since, .max = max});
    else welcome(r, rd->owner_id, counts, wants_resume && rd->since <= hub_rev(hub) && (max == resume_max_none || rd->waiting <= max), rd->since);
    store_read_free(rd);
}

// Do at most `max` messages wait behind `since`? False: not certain. Each message that is new or has changed has one entry in the ring at least.
static bool few_wait(int64_t since, uint32_t max) {
    const Ring *ring = &hub->ring;
    if (max == resume_max_none) return true;
    if (!ring_covers(ring, since)) return false;
    uint64_t from = ring_find(ring, since);
    return ring->head - from <= max;
}

// Most often all is known: then nothing has to be read for `welcome`.
static bool welcome_at_once(Reader *r, uint64_t id, const ReaderStart &how) {
    bool resumed = how.resume && how.since <= hub_rev(hub);
    if (resumed && !few_wait(how.since, how.max)) return false;
    ScopedBuf room;
    buf_reserve(room, (rooms_of(r->user) + 1) * sizeof(UnreadCount));
    auto *counts = reinterpret_cast<UnreadCount *>(room.data), *at = counts;
    uint32_t looks = unread_looks_max;
    for (const Member *m = r->user->members; m; m = m->next_of_user)
        if (!unread_known(hub, m, &looks, at++)) return false;
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

// --- snapshot

static void put_history(Buf &out, const StoreRead *rd, const Page &page, std::string_view ref) {
    JsonWriter w{.out = &out};
    json_begin(w, '{');
    json_field(w, "type", "history");
    json_field_int(w, "room", rd->room);
    protocol_page(w, &hub->model, page, frame_out_bytes_max - 1024);
    if (!ref.empty()) json_field(w, "ref", ref);
    json_end(w, '}');
}

static void history_of_snapshot(StoreRead *rd) {
    Reader *r = arrived(rd);
    if (!r) return;
    if (!model_member(&hub->model, rd->room, r->user->id)) {
        r->rooms_next++; // left meanwhile; the log says so in a moment
    } else {
        Page page = {.messages = rd->changes,
                     .count = rd->changes_count,
                     .anchor = PageAnchor::newest,
                     .rev_max = r->position,
                     .around = 0,
                     .more_before = rd->more_before,
                     .more_after = false};
        buf_clear(page_bytes);
        put_history(page_bytes, rd, page, {});
        std::string_view payload = buf_view(page_bytes);
        if (port.page(rd->owner_id, &payload, 1) == 1) r->rooms_next++;
    }
    port.wake(rd->owner_id);
    store_read_free(rd);
}

static void step_snapshot(Reader *r, uint64_t id) {
    if (r->rooms_next == r->rooms_count) {
        free(r->rooms);
        r->rooms = nullptr;
        r->state = ReaderState::catching_up;
        return reader_step(r, id);
    }
    StoreRead *rd = store_read_new(ReadKind::page);
    rd->room = r->rooms[r->rooms_next];
    rd->upto = r->position;
    rd->limit = page_messages_default;
    ask(r, rd, id, history_of_snapshot);
}

// --- catching up

// Encodes one change as its reader may see it. False: nothing to see.
static bool encode_change(const Reader *r, const Change &c, Buf &out) {
    const Model *m = &hub->model;
    switch (c.kind) {
    case ChangeKind::message:
        if (!model_member(m, c.message.room, r->user->id)) return false;
        frame_message(out, m, c.message);
        return true;
    case ChangeKind::user:
        frame_user(out, c.rev, model_user(m, c.user.id));
        return true;
    case ChangeKind::room: {
        const Room *room = model_room(m, c.room.id);
        const Member *member = model_member(m, room->id, r->user->id);
        if ((room->is_private || room->kind == RoomKind::direct) && !member) return false;
        if (member && member->rev > c.rev) return false; // the frame of having joined comes later and holds it all
        frame_room(out, c.rev, room);
        return true;
    }
    case ChangeKind::member: {
        CB_ASSERT(c.member.user == r->user->id); // other people's memberships are nobody's business
        const Member *member = model_member(m, c.member.room, r->user->id);
        if (member) frame_room_joined(out, c.rev, member);
        else frame_room_left(out, c.rev, c.member.room);
        return true;
    }
    }
    return false;
}

static void slice(StoreRead *rd) {
    Reader *r = arrived(rd);
    if (!r) return;
    buf_clear(page_bytes);
    size_t starts[frames_per_page_max + 1];
    uint32_t frames = 0, i = 0;
    for (; i < rd->changes_count && frames < frames_per_page_max && page_bytes.len < slice_bytes; i++) {
        starts[frames] = page_bytes.len;
        if (!encode_change(r, rd->changes[i], page_bytes)) continue;
        page_positions[frames++] = rd->changes[i].rev;
    }
    starts[frames] = page_bytes.len;
    for (uint32_t f = 0; f < frames; f++) page_payloads[f] = {page_bytes.data + starts[f], starts[f + 1] - starts[f]};
    int64_t end = i == rd->changes_count ? rd->upto : rd->changes[i - 1].rev;
    size_t taken = frames ? port.page(rd->owner_id, page_payloads, frames) : 0;
    if (taken == frames) r->position = end;
    else if (taken) r->position = page_positions[taken - 1];
    port.wake(rd->owner_id);
    store_read_free(rd);
}

static int older_stamp_first(const void *a, const void *b) {
    uint64_t x = (*static_cast<const Member *const *>(a))->seen_stamp, y = (*static_cast<const Member *const *>(b))->seen_stamp;
    return x == y ? 0 : x < y ? -1 : 1;
}

// Tells the marks that moved while the reader was away, oldest first. False when there were too many for one page: the rest comes with the next step.
static bool tell_moved_marks(Reader *r, uint64_t id) {
    if (r->seen_stamp == hub->model.seen_stamp) return true;
    uint32_t count = 0, capacity = 64;
    auto *moved = static_cast<const Member **>(mem_alloc(capacity * sizeof(Member *)));
    auto add = [&](const Member *member) {
        if (member->seen_stamp <= r->seen_stamp) return;
        if (count == capacity) moved = static_cast<const Member **>(mem_grow(moved, (capacity *= 2) * sizeof(Member *)));
        moved[count++] = member;
    };
    for (const Member *mine = r->user->members; mine; mine = mine->next_of_user) {
        // In large rooms marks are for the authors' ticks; a reader who was away gets its own, and learns the others' with what is seen next.
        bool large = mine->room->members_count > seen_detail_members_max;
        if (large) add(mine);
        for (uint32_t i = 0; !large && i < mine->room->members_count; i++) add(mine->room->members[i]);
    }
    if (count) qsort(moved, count, sizeof *moved, older_stamp_first);
    uint32_t sent = 0;
    ScopedBuf frame;
    for (; sent < count && sent < frames_per_page_max; sent++) {
        buf_clear(frame);
        frame_seen(frame, moved[sent]->room->id, moved[sent]->user, moved[sent]->seen);
        port.queue(id, buf_view(frame));
        r->seen_stamp = moved[sent]->seen_stamp;
    }
    free(moved);
    if (sent == count) r->seen_stamp = hub->model.seen_stamp;
    return sent == count;
}

static void put_ready(Buf &out, int64_t rev) {
    JsonWriter w{.out = &out};
    json_begin(w, '{');
    json_field(w, "type", "ready");
    json_field_int(w, "rev", rev);
    presence_put_online(hub, w);
    json_end(w, '}');
}

static void tell_ready(Reader *r, uint64_t id) {
    r->owes_ready = false;
    ScopedBuf ready;
    put_ready(ready, r->position);
    port.queue(id, buf_view(ready));
}

std::string_view reader_ready(const Reader *r, size_t gathered, size_t max) {
    static Buf ready;
    if (!r->owes_ready || gathered == max) return {};
    buf_clear(ready);
    put_ready(ready, r->position > hub_rev(hub) ? r->position : hub_rev(hub));
    return buf_view(ready);
}

static bool sees(const Reader *r, const RingEntry *e) {
    switch (e->kind) {
    case AudienceKind::everybody: return true;
    case AudienceKind::room_but:
        if (e->but == r->user->id) return false;
        [[fallthrough]];
    case AudienceKind::room: return model_member(&hub->model, e->room, r->user->id) != nullptr;
    case AudienceKind::outsiders: return model_member(&hub->model, e->room, r->user->id) == nullptr;
    case AudienceKind::users:
        if (e->room && !model_member(&hub->model, e->room, r->user->id)) return false;
        for (uint32_t i = 0; i < e->users_count; i++)
            if (e->users[i] == r->user->id) return true;
        return false;
    }
    return false;
}

// Can the ring tell what is still to be replayed? A replay tells each thing once, in its present state: so do the ring's entries as long as they are new messages.
static bool ring_replays(const Reader *r) {
    const Ring *ring = &hub->ring;
    if (!ring_covers(ring, r->position)) return false;
    if (r->position >= r->replay_to) return true;
    for (uint64_t seq = ring->head; seq != ring->tail; seq--) {
        const RingEntry *e = &ring->entries[(seq - 1) & (ring_entries - 1)];
        if (!e->rev || e->rev > r->replay_to) continue;
        if (e->rev <= r->position) break;
        if (!e->message && sees(r, e)) return false;
    }
    return true;
}

static void go_live(Reader *r, uint64_t id) {
    if (!tell_moved_marks(r, id)) return;
    r->state = ReaderState::live;
    r->hints_from = r->cursor; // not the head: of a room joined since, the marks come behind its frame
    r->cursor = ring_find(&hub->ring, r->position);
    metric_sub(Metric::sockets_catching_up);
    r->owes_ready = true;
    if (r->cursor == hub->ring.head) tell_ready(r, id);
}

bool reader_step_into_ring(Reader *r, uint64_t id) {
    if (r->reading || r->state != ReaderState::catching_up || !ring_replays(r)) return false;
    go_live(r, id);
    return r->state == ReaderState::live;
}

void reader_step(Reader *r, uint64_t id) {
    if (r->reading || r->state == ReaderState::starting || r->state == ReaderState::live) return;
    if (r->state == ReaderState::snapshot) return step_snapshot(r, id);
    if (ring_replays(r)) return go_live(r, id);
    StoreRead *rd = store_read_new(ReadKind::changes);
    rd->user = r->user->id;
    rd->since = r->position;
    rd->limit = frames_per_page_max;
    ask(r, rd, id, slice);
}

// --- live

size_t reader_gather(Reader *r, uint64_t id, bool deflated, LiveFrame *out, size_t max) {
    Ring *ring = &hub->ring;
    if (r->cursor < ring->tail) {
        r->state = ReaderState::catching_up;
        r->replay_to = hub_rev(hub);
        r->cursor = ring->head;
        metric_add(Metric::sockets_overrun);
        metric_add(Metric::sockets_catching_up);
        return 0;
    }
    size_t count = 0;
    bool judge = r->cursor < ring->restricted;
    for (uint64_t seq = r->cursor; seq != ring->head && count < max; seq++) {
        RingEntry *e = ring_at(ring, seq);
        if (e->rev ? e->rev <= r->position : seq < r->hints_from) continue; // it came with the replay, or passed before the reader was here
        if (judge && !sees(r, e)) continue;
        std::string_view frame = e->asker && e->asker == id ? ring_frame_asked(e) : deflated ? ring_frame_deflated(ring, e) : ring_frame(ring, e);
        out[count++] = {frame, seq};
    }
    return count;
}

size_t reader_span(const Reader *r, bool deflated, std::string_view pieces[2], int *pieces_count) {
    Ring *ring = &hub->ring;
    if (deflated || r->cursor < ring->tail || r->cursor == ring->head || r->cursor < r->hints_from) return 0;
    if (r->cursor < ring->restricted || r->cursor < ring->personal) return 0;
    // What came with a replay is not sent again, nor what passed before it.
    if (ring_at(ring, r->cursor)->rev <= r->position) return 0;
    *pieces_count = ring_span(ring, r->cursor, pieces);
    return ring->head - r->cursor;
}

void reader_took_all(Reader *r, uint64_t id) {
    Ring *ring = &hub->ring;
    r->cursor = ring->head;
    if (ring->head_rev > r->position) r->position = ring->head_rev;
    r->seen_stamp = hub->model.seen_stamp;
    if (r->owes_ready) tell_ready(r, id);
}

size_t reader_took_bytes(Reader *r, uint64_t id, size_t bytes, std::string_view *rest) {
    Ring *ring = &hub->ring;
    uint64_t from = r->cursor;
    const RingEntry *e;
    for (;; bytes -= e->len) {
        e = ring_at(ring, r->cursor++);
        if (e->rev) r->position = e->rev;
        if (bytes < e->len) break;
    }
    *rest = ring_frame(ring, e).substr(bytes);
    size_t frames = r->cursor - from;
    if (r->cursor == ring->head) reader_took_all(r, id);
    return frames;
}

void reader_took(Reader *r, uint64_t id, const LiveFrame *frames, size_t gathered, size_t max, size_t taken) {
    Ring *ring = &hub->ring;
    uint64_t from = r->cursor;
    if (taken == gathered && gathered < max) return reader_took_all(r, id); // what lies behind the last one was not for this reader
    if (taken) r->cursor = frames[taken - 1].seq + 1;
    if (r->cursor == ring->head) return reader_took_all(r, id);
    for (uint64_t seq = r->cursor; seq != from; seq--) {
        const RingEntry *e = ring_at(ring, seq - 1);
        if (!e->rev) continue;
        if (e->rev > r->position) r->position = e->rev;
        break;
    }
}

// --- a page of history, asked for

struct HistoryAsked {
    std::string_view ref;
    int64_t user;
    void (*done)(uint64_t id);
};

static void history_asked(StoreRead *rd) {
    auto *asked = static_cast<HistoryAsked *>(rd->owner);
    uint64_t id = rd->owner_id;
    if (port.find(id)) {
        ScopedBuf payload;
        if (rd->err != Err::ok) {
            frame_error(payload, rd->err, {}, {}, asked->ref, 0);
        } else if (!model_member(&hub->model, rd->room, asked->user)) {
            frame_error(payload, Err::not_member, {}, {}, asked->ref, 0);
        } else {
            Page page = {.messages = rd->changes,
                         .count = rd->changes_count,
                         .anchor = PageAnchor::newest,
                         .rev_max = 0,
                         .around = 0,
                         .more_before = rd->more_before,
                         .more_after = false};
            put_history(payload, rd, page, asked->ref);
        }
        port.queue(id, buf_view(payload));
        asked->done(id);
    }
    store_read_free(rd);
}

Err sync_history(Hub *h, uint64_t id, User *user, const HistoryAsk &ask, void (*done)(uint64_t id)) {
    Member *member;
    if (Err err = hub_member(h, user, ask.room, &member); err != Err::ok) return err;
    StoreRead *rd = store_read_new(ReadKind::page);
    auto *asked = static_cast<HistoryAsked *>(arena_alloc(rd->arena, sizeof(HistoryAsked)));
    *asked = {arena_copy(rd->arena, ask.ref), user->id, done};
    rd->owner = asked;
    rd->owner_id = id;
    rd->done = history_asked;
    rd->room = ask.room;
    rd->before = ask.before;
    rd->limit = ask.limit;
    if (store_read(h->store, rd)) return Err::ok;
    store_read_free(rd);
    return Err::unavailable;
}
