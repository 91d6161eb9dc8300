// Read marks. Two lists of (room, user): what the others do not know yet, and what the disk does not. Ids, not pointers: a membership may end while it waits.
#include "chat/seen.h"

#include "base/clock.h"
#include "chat/protocol.h"

#include <stdlib.h>
#include <string.h>

static void list_add(MarkList *list, const Member *member) {
    if (list->count == list->capacity) {
        list->capacity = list->capacity ? list->capacity * 2 : 16;
        list->refs = static_cast<MarkRef *>(mem_grow(list->refs, list->capacity * sizeof *list->refs));
    }
    list->refs[list->count++] = {member->room->id, member->user->id};
}

// Tells a mark. The stamp is of now, not of when the mark moved: who loses this frame was at the head of the ring before it.
static void push_seen(Hub *h, Member *member, const Audience &audience) {
    member->seen_stamp = ++h->model.seen_stamp;
    ScopedBuf frame;
    frame_seen(frame, member->room->id, member->user, member->seen_told);
    ring_push(&h->ring, 0, audience, buf_view(frame));
}

// In a large room the mark goes to the reader's own sockets and to the authors of what was newly covered (PROTOCOL §3.2 "Ticks"). Who they are may not be
// known, when the store cannot be read: then their ticks come with the next mark, but the reader's other windows count by this one.
static void tell_authors(StoreRead *r) {
    auto *h = static_cast<Hub *>(r->owner);
    if (Member *member = model_member(&h->model, r->room, r->user)) {
        auto *users = static_cast<int64_t *>(arena_alloc(r->arena, (r->ids_count + 1) * sizeof(int64_t)));
        uint32_t count = 0;
        users[count++] = r->user;
        for (uint32_t i = 0; i < r->ids_count; i++)
            if (r->ids[i] != r->user) users[count++] = r->ids[i];
        push_seen(h, member, {.kind = AudienceKind::users, .room = r->room, .users = users, .users_count = count}); // an author may have left
    }
    store_read_free(r);
}

static void tell(Hub *h, Member *member, uint64_t now_ms) {
    int64_t before = member->seen_told;
    member->seen_told = member->seen;
    member->seen_told_ms = now_ms;
    member->seen_pending = false;
    if (member->room->members_count <= seen_detail_members_max) {
        push_seen(h, member, {.kind = AudienceKind::room, .room = member->room->id});
        return;
    }
    StoreRead *r = store_read_new(ReadKind::authors);
    r->owner = h;
    r->done = tell_authors;
    r->room = member->room->id;
    r->user = member->user->id;
    r->after = before;
    r->before = member->seen;
    if (!store_read(h->store, r)) tell_authors(r);
}

// Each look goes through all that wait: on a tenth of a second, so that there are at most ten in one, however many people read.
static void look_at(Hub *h, uint64_t due_ms) {
    due_ms = (due_ms + 99) / 100 * 100;
    if (!h->marks_pending_due_ms || due_ms < h->marks_pending_due_ms) h->marks_pending_due_ms = due_ms;
}

static bool move(Hub *h, Member *member, int64_t id, uint64_t now_ms) {
    bool was_dirty = member->seen_dirty;
    if (!model_move_mark(member, id)) return false;
    if (was_dirty) return true;
    list_add(&h->marks_dirty, member);
    if (!h->marks_dirty_since_ms) h->marks_dirty_since_ms = now_ms;
    return true;
}

void seen_keep(Hub *h, Member *member, int64_t id, uint64_t now_ms) {
    int64_t last = member->room->last; // not beyond what is there: the newest messages may be gone
    if (move(h, member, id < last ? id : last, now_ms)) member->seen_told = member->seen;
}

Err seen_mark(Hub *h, User *user, int64_t room, int64_t id, uint64_t now_ms) {
    Member *member;
    if (Err err = hub_member(h, user, room, &member); err != Err::ok) return err;
    if (id < 1) return Err::bad_request;
    if (id > member->room->last) id = member->room->last;
    if (!move(h, member, id, now_ms)) return Err::ok;
    if (member->seen_pending) return Err::ok;
    if (!member->seen_told_ms || now_ms - member->seen_told_ms >= seen_gap_ms) {
        tell(h, member, now_ms);
    } else {
        member->seen_pending = true;
        list_add(&h->marks_pending, member);
        look_at(h, member->seen_told_ms + seen_gap_ms);
    }
    return Err::ok;
}

static void written(Hub *h, StoreWrite *w) {
    h->marks_writing = false;
    if (w->err == Err::ok) return;
    // Not on disk: they wait for the next write, which is not sooner than the usual one.
    for (uint32_t i = 0; i < w->marks_count; i++) {
        Member *member = model_member(&h->model, w->marks[i].room, w->marks[i].user);
        if (!member || member->seen_dirty) continue;
        member->seen_dirty = true;
        list_add(&h->marks_dirty, member);
    }
    h->marks_dirty_since_ms = clock_ms();
}

// One write of those that wait longest. The others keep their age, so the next turn goes on with them.
static void write_some(Hub *h) {
    uint32_t count = h->marks_dirty.count < marks_per_write_max ? h->marks_dirty.count : marks_per_write_max;
    StoreWrite *w = hub_write_new(WriteKind::marks, nullptr);
    auto *marks = static_cast<Mark *>(arena_alloc(w->arena, count * sizeof(Mark)));
    for (uint32_t i = 0; i < count; i++) {
        Member *member = model_member(&h->model, h->marks_dirty.refs[i].room, h->marks_dirty.refs[i].user);
        if (!member || !member->seen_dirty) continue;
        member->seen_dirty = false;
        marks[w->marks_count++] = {member->room->id, member->user->id, member->seen};
    }
    w->marks = marks;
    h->marks_dirty.count -= count;
    memmove(h->marks_dirty.refs, h->marks_dirty.refs + count, h->marks_dirty.count * sizeof *h->marks_dirty.refs);
    if (!h->marks_dirty.count) h->marks_dirty_since_ms = 0;
    h->marks_writing = true;
    hub_submit(h, w, {}, written);
}

void hub_flush_marks(Hub *h) {
    // Counted before: what a full queue refuses waits again.
    for (uint32_t writes = (h->marks_dirty.count + marks_per_write_max - 1) / marks_per_write_max; writes > 0; writes--) write_some(h);
}

static void tell_pending(Hub *h, uint64_t now_ms) {
    uint32_t kept = 0;
    h->marks_pending_due_ms = 0;
    for (uint32_t i = 0; i < h->marks_pending.count; i++) {
        MarkRef ref = h->marks_pending.refs[i];
        Member *member = model_member(&h->model, ref.room, ref.user);
        if (!member || !member->seen_pending) continue;
        uint64_t at = member->seen_told_ms + seen_gap_ms;
        if (at <= now_ms) {
            tell(h, member, now_ms);
            continue;
        }
        h->marks_pending.refs[kept++] = ref;
        look_at(h, at);
    }
    h->marks_pending.count = kept;
}

void seen_turn(Hub *h, uint64_t now_ms) {
    if (h->marks_pending_due_ms && h->marks_pending_due_ms <= now_ms) tell_pending(h, now_ms);
    // Marks ride along with other commits once they are two seconds old, and make one of their own only at the limit.
    uint64_t age = h->marks_dirty_since_ms ? now_ms - h->marks_dirty_since_ms : 0;
    bool due = age >= seen_write_ms_max - 500 || (age >= 2000 && store_has_work(h->store));
    if (due && !h->marks_writing && h->marks_dirty.count) write_some(h);
}

uint64_t seen_due_ms(const Hub *h) {
    uint64_t write = h->marks_dirty_since_ms && !h->marks_writing ? h->marks_dirty_since_ms + seen_write_ms_max - 500 : 0;
    uint64_t tell = h->marks_pending_due_ms;
    return write && (!tell || write < tell) ? write : tell;
}
