// Sync, from `welcome` to the ring: the newest page of each room, or what was missed, in pages read from the store; and the pages of history that a reader
// asks for. One page is under construction at a time. See sync.h for the picture.
#include "chat/sync_internal.h"

#include "base/assert.h"
#include "base/metrics.h"
#include "chat/protocol.h"

#include <stdlib.h>

constexpr uint32_t frames_per_page_max = 256;
constexpr size_t slice_bytes = 64 * 1024; // of replayed frames encoded at once; what the kernel does not take is read again

// The page under construction: payloads end to end, and for each the position that its reader has with it.
static Buf page_bytes;
static std::string_view page_payloads[frames_per_page_max];
static int64_t page_positions[frames_per_page_max];

// --- snapshot

static int newest_room_first(const void *a, const void *b) {
    const Room *x = *static_cast<Room *const *>(a), *y = *static_cast<Room *const *>(b);
    return x->last == y->last ? 0 : x->last < y->last ? 1 : -1;
}

void reader_begin_snapshot(Reader *r) {
    r->state = ReaderState::snapshot;
    r->position = hub_rev(sync_hub);
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

static void put_history(Buf &out, const StoreRead *rd, const Page &page, std::string_view ref) {
    JsonWriter w{.out = &out};
    json_begin(w, '{');
    json_field(w, "type", "history");
    json_field_int(w, "room", rd->room);
    protocol_page(w, &sync_hub->model, page, frame_out_bytes_max - 1024);
    protocol_ref(w, ref);
    json_end(w, '}');
}

static void history_of_snapshot(StoreRead *rd) {
    Reader *r = sync_arrived(rd);
    if (!r) return;
    if (!model_member(&sync_hub->model, rd->room, r->user->id)) {
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
        if (sync_port.page(rd->owner_id, &payload, 1) == 1) r->rooms_next++;
    }
    sync_port.wake(rd->owner_id);
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
    sync_ask(r, rd, id, history_of_snapshot);
}

// --- catching up

// The counts of `welcome` hold all that was said up to `replay_to`, and so must those told again behind it. Whoever joins later begins with nothing unread.
static UnreadCount counts_told(const Reader *r, int64_t room, int64_t rev) {
    for (const RoomCounts *j = r->joined; j && j->room; j++)
        if (j->room == room && rev <= r->replay_to) return j->counts;
    return {};
}

// Encodes one change as its reader may see it. False: nothing to see.
static bool encode_change(const Reader *r, const Change &c, Buf &out) {
    const Model *m = &sync_hub->model;
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
        if (member) frame_room_joined(out, c.rev, member, counts_told(r, c.member.room, c.rev));
        else frame_room_left(out, c.rev, c.member.room);
        return true;
    }
    }
    return false;
}

// What this reader asked for by a `ref` while it was catching up, as far as the ring has it, and is to get in the place of the others' frame.
struct Answers {
    const RingEntry *list[frames_per_page_max];
    uint32_t count;
};

static Answers answers_to(uint64_t id, int64_t since, int64_t upto) {
    Answers answers;
    answers.count = 0;
    const Ring *ring = &sync_hub->ring;
    for (uint64_t seq = ring->personal; seq > ring->tail && answers.count < sizeof answers.list / sizeof *answers.list; seq--) {
        const RingEntry *e = &ring->entries[(seq - 1) & (ring_entries - 1)];
        if (e->rev && e->rev <= since) break;
        if (e->asker == id && e->rev <= upto) answers.list[answers.count++] = e;
    }
    return answers;
}

static const RingEntry *answer_of(const Answers &answers, int64_t rev) {
    for (uint32_t i = 0; i < answers.count; i++)
        if (answers.list[i]->rev == rev) return answers.list[i];
    return nullptr;
}

static void slice(StoreRead *rd) {
    Reader *r = sync_arrived(rd);
    if (!r) return;
    Answers answers = answers_to(rd->owner_id, r->position, rd->upto);
    buf_clear(page_bytes);
    size_t starts[frames_per_page_max + 1];
    uint32_t frames = 0, i = 0;
    for (; i < rd->changes_count && frames < frames_per_page_max && page_bytes.len < slice_bytes; i++) {
        starts[frames] = page_bytes.len;
        if (!encode_change(r, rd->changes[i], page_bytes)) continue;
        if (const RingEntry *e = answer_of(answers, rd->changes[i].rev)) {
            page_bytes.len = starts[frames];
            buf_add(page_bytes, ring_payload_asked(e));
        }
        page_positions[frames++] = rd->changes[i].rev;
    }
    starts[frames] = page_bytes.len;
    for (uint32_t f = 0; f < frames; f++) page_payloads[f] = {page_bytes.data + starts[f], starts[f + 1] - starts[f]};
    int64_t end = i == rd->changes_count ? rd->upto : rd->changes[i - 1].rev;
    size_t taken = frames ? sync_port.page(rd->owner_id, page_payloads, frames) : 0;
    if (taken == frames) r->position = end;
    else if (taken) r->position = page_positions[taken - 1];
    sync_port.wake(rd->owner_id);
    store_read_free(rd);
}

static int older_stamp_first(const void *a, const void *b) {
    uint64_t x = (*static_cast<const Member *const *>(a))->seen_stamp, y = (*static_cast<const Member *const *>(b))->seen_stamp;
    return x == y ? 0 : x < y ? -1 : 1;
}

// Tells the marks that moved while the reader was away, oldest first. False when there were too many for one page: the rest comes with the next step.
static bool tell_moved_marks(Reader *r, uint64_t id) {
    if (r->seen_stamp == sync_hub->model.seen_stamp) return true;
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
        sync_port.queue(id, buf_view(frame));
        r->seen_stamp = moved[sent]->seen_stamp;
    }
    free(moved);
    if (sent == count) r->seen_stamp = sync_hub->model.seen_stamp;
    return sent == count;
}

// Can the ring tell what is still to be replayed? A replay tells each thing once, in its present state: so do the ring's entries as long as they are new messages.
static bool ring_replays(const Reader *r) {
    const Ring *ring = &sync_hub->ring;
    if (!ring_covers(ring, r->position)) return false;
    if (r->position >= r->replay_to) return true;
    for (uint64_t seq = ring->head; seq != ring->tail; seq--) {
        const RingEntry *e = &ring->entries[(seq - 1) & (ring_entries - 1)];
        if (!e->rev || e->rev > r->replay_to) continue;
        if (e->rev <= r->position) break;
        if (!e->message && reader_sees(r, e)) return false;
    }
    return true;
}

static void go_live(Reader *r, uint64_t id) {
    if (!tell_moved_marks(r, id)) return;
    r->state = ReaderState::live;
    free(r->joined);
    r->joined = nullptr;
    r->hints_from = r->cursor; // not the head: of a room joined since, the marks come behind its frame
    r->cursor = ring_find(&sync_hub->ring, r->position);
    metric_sub(Metric::sockets_catching_up);
    r->owes_ready = true;
    if (r->cursor == sync_hub->ring.head) reader_tell_ready(r, id);
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
    sync_ask(r, rd, id, slice);
}

// --- a page of history, asked for

struct HistoryAsked {
    std::string_view ref;
    int64_t user;
    void (*done)(uint64_t id);
};

static bool is_overtaken(const Ring *ring, const StoreRead *page) {
    if (!ring_covers(ring, page->snapshot_rev)) return true;
    for (uint64_t seq = ring->head; seq != ring->tail; seq--) {
        const RingEntry *e = &ring->entries[(seq - 1) & (ring_entries - 1)];
        if (e->rev && e->rev <= page->snapshot_rev) break;
        if (e->rev && e->room == page->room && !e->message) return true;
    }
    return false;
}

bool sync_read_again(Hub *h, StoreRead *page) {
    constexpr uint32_t repeats_max = 8; // somebody may edit without end
    if (page->err != Err::ok || page->repeats == repeats_max || !is_overtaken(&h->ring, page)) return false;
    page->repeats++;
    page->changes_count = 0;
    page->more_before = page->more_after = false;
    if (store_read(h->store, page)) return true;
    page->err = Err::unavailable;
    return false;
}

static void history_asked(StoreRead *rd) {
    auto *asked = static_cast<HistoryAsked *>(rd->owner);
    uint64_t id = rd->owner_id;
    if (sync_port.find(id)) {
        if (sync_read_again(sync_hub, rd)) return;
        ScopedBuf payload;
        if (rd->err != Err::ok) {
            frame_error(payload, rd->err, {}, {}, asked->ref, 0);
        } else if (!model_member(&sync_hub->model, rd->room, asked->user)) {
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
        sync_port.queue(id, buf_view(payload));
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
