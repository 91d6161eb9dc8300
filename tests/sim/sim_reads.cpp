// The simulated store's reads: what each answers, when it is looked at, and that none overtakes the log. See sim_store.h.
#ifdef SIM_TWIN
#include "twin.h"
#endif
#include "sim.h"
#include "sim_state.h"

#include "base/limits.h"

#include <stdlib.h>
#include <string.h>

constexpr size_t row_bytes = 200;

// --- pages: the room's messages as far as `upto`, then the part that was asked for

static List<const MessageRow *> shelf;

static void take(StoreRead *r, uint32_t from, uint32_t to) {
    for (uint32_t i = from; i < to; i++) r->changes[r->changes_count++] = {.kind = ChangeKind::message, .rev = shelf[i]->rev, .message = *shelf[i]};
}

// How many of the shelf's messages from `at` on, in the direction `step`, fit.
static uint32_t fitting(uint32_t at, uint32_t end, int step, uint32_t limit, size_t bytes_max) {
    uint32_t n = 0;
    size_t bytes = 0;
    for (; at != end && n < limit; at += (uint32_t)step, n++) {
        bytes += shelf[step < 0 ? at - 1 : at]->text.size() + row_bytes;
        if (n && bytes > bytes_max) break;
    }
    return n;
}

static void look_page(const SimData &d, StoreRead *r) {
    shelf.count = 0;
    for (const MessageRow &m : d.messages)
        if (m.room == r->room && (!r->upto || m.id <= r->upto)) shelf.add(&m);
    auto behind = [](int64_t id) { // how many have ids below it
        uint32_t n = 0;
        while (n < shelf.count && shelf[n]->id < id) n++;
        return n;
    };
    uint32_t limit = r->limit < slice_rows_max ? r->limit : slice_rows_max, from, to;
    r->changes = static_cast<Change *>(arena_alloc(r->arena, (limit + 1) * sizeof(Change)));
    if (r->around) {
        uint32_t middle = behind(r->around);
        from = middle - fitting(middle, 0, -1, limit / 2, frame_out_bytes_max / 2);
        to = middle + fitting(middle, shelf.count, 1, limit - limit / 2, frame_out_bytes_max / 2);
    } else if (r->after) {
        from = behind(r->after + 1);
        to = from + fitting(from, shelf.count, 1, limit, frame_out_bytes_max);
    } else {
        to = r->before ? behind(r->before) : shelf.count;
        from = to - fitting(to, 0, -1, limit, frame_out_bytes_max);
    }
    take(r, from, to);
    r->more_before = from > 0;
    r->more_after = to < shelf.count;
}

// --- changes

static int by_rev(const void *a, const void *b) {
    int64_t x = static_cast<const Change *>(a)->rev, y = static_cast<const Change *>(b)->rev;
    return x < y ? -1 : x > y;
}

static void look_changes(const SimData &d, StoreRead *r) {
    static List<Change> all;
    all.count = 0;
    for (const MessageRow &m : d.messages)
        if (m.rev > r->since) all.add({.kind = ChangeKind::message, .rev = m.rev, .message = m});
    for (const SimUser &u : d.users)
        if (u.row.rev > r->since) all.add({.kind = ChangeKind::user, .rev = u.row.rev, .user = u.row});
    for (const SimRoom &o : d.rooms)
        if (o.row.rev > r->since) all.add({.kind = ChangeKind::room, .rev = o.row.rev, .room = o.row});
    for (const MemberRow &m : d.members)
        if (m.rev > r->since && (!r->user || m.user == r->user)) all.add({.kind = ChangeKind::member, .rev = m.rev, .member = m});
    if (all.count) qsort(static_cast<void *>(all.at), all.count, sizeof(Change), by_rev);
    uint32_t most = r->limit && r->limit < slice_rows_max ? r->limit : slice_rows_max;
    if (fault(sim_faults.slices_small)) most = between(1, 5) < most ? between(1, 5) : most;
    r->changes = static_cast<Change *>(arena_alloc(r->arena, (all.count + 1) * sizeof(Change)));
    size_t bytes = 0;
    uint32_t n = 0;
    for (; n < all.count && n < most && bytes <= frame_out_bytes_max; n++) {
        r->changes[n] = all[n];
        bytes += all[n].kind == ChangeKind::message ? all[n].message.text.size() + row_bytes : row_bytes;
    }
    r->changes_count = n;
    r->complete = n == all.count;
    r->upto = !r->complete ? all[n - 1].rev : d.rev > r->since ? d.rev : r->since;
}

// --- the small ones

static void look_unread(const SimData &d, StoreRead *r) {
    r->counts = static_cast<UnreadCount *>(arena_alloc(r->arena, (r->marks_count + 1) * sizeof(UnreadCount)));
    for (uint32_t i = 0; i < r->marks_count; i++) {
        UnreadCount n = {};
        for (const MessageRow &m : d.messages) {
            if (m.room != r->marks[i].room || m.id <= r->marks[i].id || m.sender == r->user || m.deleted) continue;
            n.unread++;
            for (uint32_t k = 0; k < m.mentions_count; k++) n.mentions += m.mentions[k] == r->user;
        }
        r->counts[i] = {n.unread < unread_max ? n.unread : unread_max, n.mentions < unread_max ? n.mentions : unread_max};
    }
    if (!r->limit) return;
    for (const MessageRow &m : d.messages) {
        bool mine = false;
        for (uint32_t i = 0; i < r->marks_count; i++) mine |= r->marks[i].room == m.room;
        if (mine && m.rev > r->since && r->waiting <= r->limit) r->waiting++;
    }
}

static void look_authors(const SimData &d, StoreRead *r) {
    r->ids = static_cast<int64_t *>(arena_alloc(r->arena, 100 * sizeof(int64_t)));
    uint32_t looked = 0;
    for (uint32_t i = d.messages.count; i > 0 && looked < 100; i--) {
        const MessageRow &m = d.messages[i - 1];
        if (m.room != r->room || m.id <= r->after || m.id > r->before) continue;
        looked++;
        bool known = false;
        for (uint32_t k = 0; k < r->ids_count; k++) known |= r->ids[k] == m.sender;
        if (!known) r->ids[r->ids_count++] = m.sender;
    }
}

static int newest_use_first(const void *a, const void *b) {
    const auto *x = static_cast<const SessionRow *>(a), *y = static_cast<const SessionRow *>(b);
    return x->last_used > y->last_used ? -1 : x->last_used < y->last_used;
}

static void look_sessions(const SimData &d, StoreRead *r) {
    r->sessions = static_cast<SessionRow *>(arena_alloc(r->arena, (d.sessions.count + 1) * sizeof(SessionRow)));
    for (const SessionRow &s : d.sessions)
        if (s.user == r->user) r->sessions[r->sessions_count++] = s;
    if (r->sessions_count) qsort(r->sessions, r->sessions_count, sizeof(SessionRow), newest_use_first);
}

static void look_password(const SimData &d, StoreRead *r) {
    const SimUser *u = sim_user(d, r->user);
    if (u && !u->row.deleted) r->text = u->password;
}

void sim_look(const SimData &d, StoreRead *r) {
    r->snapshot_rev = d.rev;
    r->err = Err::ok;
    switch (r->kind) {
    case ReadKind::page: return look_page(d, r);
    case ReadKind::changes: return look_changes(d, r);
    case ReadKind::unread: return look_unread(d, r);
    case ReadKind::authors: return look_authors(d, r);
    case ReadKind::sessions: return look_sessions(d, r);
    case ReadKind::password: return look_password(d, r);
    case ReadKind::health: return;
    }
}

// --- queue: looked at in order, on a thread, at any time; told when the log has been

static void chain(StoreRead **first, StoreRead **last, StoreRead *r) {
    r->next_held = nullptr;
    if (*last) (*last)->next_held = r;
    else *first = r;
    *last = r;
}

static StoreRead *unchain(StoreRead **first, StoreRead **last) {
    StoreRead *r = *first;
    *first = r->next_held;
    if (!*first) *last = nullptr;
    return r;
}

bool store_read(Store *s, StoreRead *r) {
    if (s->reads >= read_queue_max || s->is_closing) return false;
    s->reads++;
    chain(&s->read_first, &s->read_last, r);
    return true;
}

void store_read_now(Store *, StoreRead *r) { sim_look(sim_disk, r); }

void sim_reads_release(Store *s) {
    while (s->held_first && s->held_first->seen_commits <= s->commits_told) {
        StoreRead *r = unchain(&s->held_first, &s->held_last);
        s->reads--;
        r->done(r);
    }
}

void sim_reads_poll(Store *s, bool all) {
    // Those that are asked for by a completion wait for the next time.
    for (uint32_t n = s->reads; n > 0 && s->read_first && (all || !fault(sim_faults.read_late)); n--) {
        StoreRead *r = unchain(&s->read_first, &s->read_last);
        if (fault(sim_faults.read_fails)) r->err = Err::unavailable;
        else sim_look(sim_disk, r);
        r->seen_commits = s->commits_begun;
        chain(&s->held_first, &s->held_last, r);
        // Its thread may be behind with telling.
        if (all || !fault(300)) sim_reads_release(s);
    }
    if (all || !fault(300)) sim_reads_release(s);
}
