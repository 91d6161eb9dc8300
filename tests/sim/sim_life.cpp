// The simulated store's life: the queue, batches and how they end, opening, crash. Everything random comes from the seed. See sim_store.h.
#ifdef SIM_TWIN
#include "twin.h"
#endif
#include "sim.h"
#include "sim_state.h"

#include "base/assert.h"
#include "base/limits.h"

#include <stdlib.h>
#include <string.h>

#ifndef SIM_TWIN
StoreWrite *store_write_new(WriteKind kind) {
    auto *w = static_cast<StoreWrite *>(mem_zero(sizeof(StoreWrite)));
    w->kind = kind;
    return w;
}

void store_write_free(StoreWrite *w) {
    arena_free(w->arena);
    free(w);
}

StoreRead *store_read_new(ReadKind kind) {
    auto *r = static_cast<StoreRead *>(mem_zero(sizeof(StoreRead)));
    r->kind = kind;
    return r;
}

void store_read_free(StoreRead *r) {
    arena_free(r->arena);
    free(r);
}
#endif

Store *store_open(const StoreOptions &, uv_loop_s *, StoreFailed failed, Buf *) {
    auto *s = static_cast<Store *>(mem_zero(sizeof(Store)));
    s->failed = failed;
    s->rev = sim_disk.rev;
    if (!sim_disk.epoch[0]) uuid_make(sim_disk.epoch);
    return s;
}

const char *store_epoch(const Store *) { return sim_disk.epoch; }
int64_t store_rev(const Store *s) { return s->rev; }

// --- the queue

bool store_submit(Store *s, StoreWrite *w) {
    if (s->waiting >= write_queue_max || s->is_closing) return false;
    w->next = nullptr;
    if (s->last) s->last->next = w;
    else s->first = w;
    s->last = w;
    s->waiting++;
    return true;
}

bool store_is_crowded(const Store *s) { return s->waiting >= write_queue_crowded; }
bool store_is_nearly_full(const Store *s) { return s->waiting >= (write_queue_crowded + write_queue_max) / 2; }
bool store_has_work(const Store *s) { return s->first || s->in_flight; }
bool store_wants_turn(const Store *s) { return s->first && !s->in_flight; }

static void answer_waiting(Store *s, Err err) {
    StoreWrite *list = s->first;
    s->first = s->last = nullptr;
    s->waiting = 0;
    while (list) {
        StoreWrite *w = list;
        list = w->next;
        w->err = err;
        w->done(w);
    }
}

// --- a batch: taken, decided (its transaction ends), told

static void batch_take(Store *s) {
    uint32_t most = fault(100) ? between(1, 3) : batch_operations_max;
    StoreWrite *last = nullptr;
    s->batch = s->first;
    for (; s->first && most > 0; most--, s->waiting--) last = s->first, s->first = last->next;
    last->next = nullptr;
    if (!s->first) s->last = nullptr;
    s->in_flight = true;
    s->is_decided = false;
}

static Outcome draw_outcome() {
    if (sim_faults.is_full && !sim.is_healing) return Outcome::full;
    if (fault(sim_faults.full)) return Outcome::full;
    if (fault(sim_faults.passing)) return Outcome::passing;
    return fault(sim_faults.broken) ? Outcome::broken : Outcome::good;
}

static SimData before; // what a transaction that fails goes back to
static SimData maybe;  // after a failed fsync: what the disk may turn out to hold when it is opened again
static bool has_maybe;

static void disk_decide() {
    if (has_maybe && chance(500)) trace("store: what failed is there after all"), sim_disk_copy(&sim_disk, maybe), sim_watch.replaced ? sim_watch.replaced() : (void)0;
    has_maybe = false;
}

static void batch_decide(Store *s) {
    s->outcome = draw_outcome();
    s->is_decided = true;
    if (s->outcome != Outcome::good) sim_disk_copy(&before, sim_disk);
    for (StoreWrite *w = s->batch; w; w = w->next) sim_operate(sim_disk, w);
    s->commits_begun++;
    if (s->outcome == Outcome::good) {
        for (const StoreWrite *w = s->batch; w && sim_watch.committed; w = w->next)
            for (uint32_t i = 0; i < w->changes_count; i++) sim_watch.committed(w->changes[i]);
        return;
    }
    has_maybe = s->outcome == Outcome::broken;
    if (has_maybe) sim_disk_copy(&maybe, sim_disk);
    sim_disk_copy(&sim_disk, before);
    trace("store: the batch fails: %s", s->outcome == Outcome::full ? "full" : s->outcome == Outcome::passing ? "passing" : "broken");
    for (StoreWrite *w = s->batch; w; w = w->next) {
        w->err = s->outcome == Outcome::full ? Err::storage_full : Err::unavailable;
        w->changes_count = w->ended_sessions_count = 0;
        w->is_repeat = false;
    }
}

static void batch_tell(Store *s) {
    bool is_broken = s->outcome == Outcome::broken;
    for (StoreWrite *list = s->batch; list;) {
        StoreWrite *w = list;
        list = w->next;
        if (w->changes_count) s->rev = w->changes[w->changes_count - 1].rev;
        for (uint32_t i = 0; i < w->changes_count && sim_watch.told; i++) sim_watch.told(w->changes[i]);
        w->done(w);
    }
    s->batch = nullptr;
    s->in_flight = false;
    s->commits_told = s->commits_begun;
    if (is_broken) {
        s->is_broken = true;
        answer_waiting(s, Err::unavailable);
    }
    sim_reads_release(s);
    if (is_broken) s->failed();
}

void store_turn(Store *s, uint32_t) {
    if (s->is_broken && !s->in_flight) return answer_waiting(s, Err::unavailable);
    if (s->in_flight || !s->first) return;
    batch_take(s);
    if (fault(sim_faults.slow)) return;
    batch_decide(s);
    batch_tell(s);
}


void sim_store_poll(Store *s) {
    bool hurry = sim.is_healing;
    if (s->in_flight && !s->is_decided && (hurry || chance(500))) batch_decide(s);
    sim_reads_poll(s, hurry); // between the commit and its completions
    if (s->in_flight && s->is_decided && (hurry || chance(500))) batch_tell(s);
    sim_reads_poll(s, hurry);
}

bool sim_store_idle(const Store *s) { return !store_has_work(s) && !s->reads; }

// --- failure, end

bool store_reopen(Store *s, Buf *) {
    CB_ASSERT(!s->in_flight);
    sim_reads_poll(s, true);
    disk_decide();
    if (fault(sim_faults.reopen_fails)) return false;
    s->is_broken = false;
    s->rev = sim_disk.rev;
    s->commits_told = s->commits_begun;
    return true;
}

static void writes_drop(StoreWrite *list) {
    while (list) {
        StoreWrite *next = list->next;
        store_write_free(list);
        list = next;
    }
}

void sim_store_crash(Store *s) {
    if (s->in_flight && !s->is_decided && chance(500)) batch_decide(s); // it got to the disk, and nobody heard of it
    disk_decide();
    writes_drop(s->batch);
    writes_drop(s->first);
    for (StoreRead *list : {s->read_first, s->held_first})
        while (list) {
            StoreRead *next = list->next_held;
            store_read_free(list);
            list = next;
        }
    free(s);
}

void store_close(Store *s) {
    sim_reads_poll(s, true);
    s->is_closing = true;
    if (s->in_flight && !s->is_decided) batch_decide(s);
    if (s->in_flight) batch_tell(s);
    while (s->first && !s->is_broken) {
        batch_take(s);
        batch_decide(s);
        batch_tell(s);
    }
    answer_waiting(s, Err::unavailable);
    sim_reads_poll(s, true);
    sim_store_crash(s);
}

void store_write_now(Store *s, StoreWrite *w) {
    sim_operate(sim_disk, w);
    s->rev = sim_disk.rev;
}

bool store_load(Store *, const StoreLoad &into) {
    if (sim_watch.loaded) sim_watch.loaded();
    for (const SimUser &u : sim_disk.users)
        if (into.user) into.user(into.owner, u.row, u.key);
    for (const SimRoom &r : sim_disk.rooms) {
        RoomRow row = r.row;
        for (const MessageRow &m : sim_disk.messages)
            if (m.room == row.id) row.last = m.id;
        if (into.room) into.room(into.owner, row, r.key);
    }
    for (const MemberRow &m : sim_disk.members)
        if (!m.left && into.member) into.member(into.owner, m);
    for (const SessionRow &s : sim_disk.sessions)
        if (into.session) into.session(into.owner, s);
    return true;
}

// --- what the invariants ask

uint32_t sim_store_reads_of(const Store *s, uint64_t owner) {
    uint32_t n = 0;
    for (const StoreRead *list : {s->read_first, s->held_first})
        for (const StoreRead *r = list; r; r = r->next_held) n += r->owner_id == owner;
    return n;
}

uint64_t sim_store_asked_of(const Store *s, uint64_t owner) {
    uint64_t n = 0;
    for (const StoreWrite *list : {s->batch, s->first})
        for (const StoreWrite *w = list; w; w = w->next) n += w->owner_id == owner ? (uint32_t)w->owner_extra : 0; // above it is the number of its frame
    return n;
}

uint32_t sim_store_reads(const Store *s) { return s->reads; }
