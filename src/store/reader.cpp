// Reads: each one short transaction on a read-only connection, on the reader thread. A finished read whose view is newer than what the loop has been told
// of is held back until the writer's completions have run. Slices of the log and pages end early where their size or time is used up.
#include "store/state.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"

constexpr uint64_t slice_us_max = 2'000;
constexpr size_t row_bytes = 200;                  // what a row costs a frame beside its text, roughly
constexpr uint32_t waiting_scan_max = 20'000;      // changed messages looked at for `waiting`; beyond that it is said to be over the limit

StoreRead *store_read_new(ReadKind kind) {
    auto *r = static_cast<StoreRead *>(mem_zero(sizeof(StoreRead)));
    r->kind = kind;
    return r;
}

void store_read_free(StoreRead *r) {
    arena_free(r->arena);
    free(r);
}

// --- pages

static size_t message_bytes(const MessageRow &row) { return row.text.size() + row_bytes; }

// Reads messages in one direction into `rows` until the limit or the bytes are used up. *more: there was another one.
static uint32_t page_collect(Query &q, StoreRead *r, Change *rows, uint32_t limit, size_t bytes_max, bool *more) {
    uint32_t count = 0;
    size_t bytes = 0;
    *more = false;
    while (query_step(q)) {
        // The length is known before the text is copied.
        size_t next = (size_t)sqlite3_column_bytes(q.statement, 8) + row_bytes;
        if (count == limit || (count > 0 && bytes + next > bytes_max)) {
            *more = true;
            break;
        }
        Change *change = &rows[count++];
        *change = {.kind = ChangeKind::message, .rev = 0, .message = {}};
        row_message(q, r->arena, &change->message);
        change->rev = change->message.rev;
        bytes += message_bytes(change->message);
    }
    return count;
}

static void page_reverse(Change *rows, uint32_t count) {
    for (uint32_t a = 0, b = count; a + 1 < b; a++) {
        Change held = rows[a];
        rows[a] = rows[--b];
        rows[b] = held;
    }
}

static void read_page(Db &db, StoreRead *r) {
    int64_t newest = r->upto > 0 ? r->upto : INT64_MAX;
    uint32_t limit = r->limit < slice_rows_max ? r->limit : slice_rows_max;
    bool goes_up = r->after > 0, goes_down = !goes_up;
    uint32_t down_max = limit, up_max = limit;
    int64_t below = newest, above = r->after; // messages with id ≤ below, and with id > above
    size_t bytes_max = frame_out_bytes_max;
    if (r->around > 0) {
        goes_up = true;
        down_max = limit / 2;
        up_max = limit - down_max;
        below = r->around - 1;
        above = r->around - 1;
        bytes_max /= 2;
    } else if (r->before > 0) {
        below = r->before - 1;
    }
    if (below > newest) below = newest;
    r->changes = static_cast<Change *>(arena_alloc(r->arena, ((size_t)limit + 1) * sizeof(Change)));
    if (goes_down && down_max > 0) {
        Query q(db, Sql::page_down, r->room, below, (int64_t)down_max + 1);
        r->changes_count = page_collect(q, r, r->changes, down_max, bytes_max, &r->more_before);
        page_reverse(r->changes, r->changes_count);
    }
    if (goes_up && up_max > 0) {
        Query q(db, Sql::page_up, r->room, above, newest, (int64_t)up_max + 1);
        r->changes_count += page_collect(q, r, r->changes + r->changes_count, up_max, bytes_max, &r->more_after);
    }
    // The side that was not read.
    if (!goes_down) r->more_before = db_get(db, Sql::page_any, 0, r->room, (int64_t)0, above < newest ? above : newest) != 0;
    if (!goes_up) r->more_after = db_get(db, Sql::page_any, 0, r->room, below, newest) != 0;
    if (goes_down && down_max == 0) r->more_before = db_get(db, Sql::page_any, 0, r->room, (int64_t)0, below) != 0;
}

// --- changes: five queries, each in the order of rev, merged

struct Source {
    ChangeKind kind;
    Sql sql;
    int rev_column;
};
static const Source sources[] = {
    {ChangeKind::message, Sql::since_posted, 1}, {ChangeKind::message, Sql::since_changed, 1}, {ChangeKind::user, Sql::since_users, 1},
    {ChangeKind::room, Sql::since_rooms, 1},     {ChangeKind::member, Sql::since_members, 0},
};
constexpr int sources_count = sizeof sources / sizeof sources[0];

static void change_read(const Source &source, const Query &q, Arena &arena, Change *out) {
    memset(static_cast<void *>(out), 0, sizeof *out);
    out->kind = source.kind;
    out->rev = query_int(q, source.rev_column);
    switch (source.kind) {
    case ChangeKind::message: return row_message(q, arena, &out->message);
    case ChangeKind::user: return row_user(q, arena, &out->user);
    case ChangeKind::room: return row_room(q, arena, &out->room);
    case ChangeKind::member: return row_member(q, &out->member);
    }
}

static void read_changes(Db &db, StoreRead *r) {
    uint32_t limit = r->limit > 0 && r->limit < slice_rows_max ? r->limit : slice_rows_max;
    int64_t rows = (int64_t)limit + 1;
    // New messages that were changed later are passed over one by one, and there may be a hundred thousand: no further than this in one slice.
    int64_t horizon = r->since + slice_ids_max;
    Query queries[sources_count] = {{db, sources[0].sql, r->since, rows, horizon},
                                    {db, sources[1].sql, r->since, rows},
                                    {db, sources[2].sql, r->since, rows},
                                    {db, sources[3].sql, r->since, rows},
                                    {db, r->user ? Sql::since_my_members : sources[4].sql, r->since, rows}};
    if (r->user) db_bind(queries[4].statement, 3, r->user);
    int64_t heads[sources_count]; // the rev of the row that each stands on; INT64_MAX: at its end
    for (int i = 0; i < sources_count; i++) heads[i] = query_step(queries[i]) ? query_int(queries[i], sources[i].rev_column) : INT64_MAX;
    r->changes = static_cast<Change *>(arena_alloc(r->arena, (size_t)limit * sizeof(Change)));
    r->upto = r->since;
    uint64_t begin = clock_us();
    size_t bytes = 0;
    for (;;) {
        int first = 0;
        for (int i = 1; i < sources_count; i++)
            if (heads[i] < heads[first]) first = i;
        if (heads[first] > horizon && horizon < r->snapshot_rev) {
            r->upto = horizon;
            return;
        }
        if (heads[first] == INT64_MAX) break;
        bool is_used_up = r->changes_count == limit || bytes > frame_out_bytes_max;
        if (!is_used_up && r->changes_count % 32 == 31) is_used_up = clock_us() - begin > slice_us_max;
        if (is_used_up) return;
        Change *change = &r->changes[r->changes_count++];
        change_read(sources[first], queries[first], r->arena, change);
        bytes += change->kind == ChangeKind::message ? message_bytes(change->message) : row_bytes;
        r->upto = change->rev;
        heads[first] = query_step(queries[first]) ? query_int(queries[first], sources[first].rev_column) : INT64_MAX;
    }
    r->upto = r->snapshot_rev > r->since ? r->snapshot_rev : r->since;
    r->complete = true;
}

// --- the small ones

static bool marks_hold_room(const StoreRead *r, int64_t room) {
    for (uint32_t i = 0; i < r->marks_count; i++)
        if (r->marks[i].room == room) return true;
    return false;
}

static void read_unread(Db &db, StoreRead *r) {
    r->counts = static_cast<UnreadCount *>(arena_alloc(r->arena, (size_t)(r->marks_count + 1) * sizeof(UnreadCount)));
    for (uint32_t i = 0; i < r->marks_count; i++) {
        const Mark &mark = r->marks[i];
        r->counts[i] = {.unread = (uint32_t)db_get(db, Sql::unread_count, 0, mark.room, mark.id, r->user, (int64_t)unread_max), .mentions = 0};
        Query q(db, Sql::unread_mentions, mark.room, mark.id, r->user, (int64_t)unread_max);
        while (query_step(q)) r->counts[i].mentions += mentions_hold(query_text(q, 0), r->user);
    }
    if (r->limit == 0) return;
    uint32_t enough = r->limit + 1;
    for (uint32_t i = 0; i < r->marks_count && r->waiting < enough; i++)
        r->waiting += (uint32_t)db_get(db, Sql::waiting_posted, 0, r->marks[i].room, r->since, (int64_t)(enough - r->waiting));
    uint32_t looked_at = 0;
    Query q(db, Sql::waiting_changed, r->since, (int64_t)waiting_scan_max);
    while (r->waiting < enough && query_step(q)) {
        looked_at++;
        r->waiting += marks_hold_room(r, query_int(q, 0));
    }
    if (looked_at == waiting_scan_max) r->waiting = enough;
}

static void read_authors(Db &db, StoreRead *r) {
    r->ids = static_cast<int64_t *>(arena_alloc(r->arena, 100 * sizeof(int64_t)));
    Query q(db, Sql::authors, r->room, r->after, r->before);
    while (query_step(q)) {
        int64_t sender = query_int(q, 0);
        uint32_t i = 0;
        while (i < r->ids_count && r->ids[i] != sender) i++;
        if (i == r->ids_count) r->ids[r->ids_count++] = sender;
    }
}

static void read_sessions(Db &db, StoreRead *r) {
    uint32_t places = sessions_max_highest;
    r->sessions = static_cast<SessionRow *>(arena_alloc(r->arena, places * sizeof(SessionRow)));
    Query q(db, Sql::sessions_of, r->user);
    while (r->sessions_count < places && query_step(q)) row_session(q, r->arena, &r->sessions[r->sessions_count++]);
}

static void read_password(Db &db, StoreRead *r) {
    Query q(db, Sql::password_of, r->user);
    if (query_step(q)) r->text = arena_copy(r->arena, query_text(q, 0));
}

static void read_health(Db &, StoreRead *) {} // that the snapshot's rev could be read is the answer

// --- one read

struct Reading {
    ReadKind kind;
    void (*run)(Db &db, StoreRead *r);
};
static const Reading readings[] = {
    {ReadKind::page, read_page},       {ReadKind::changes, read_changes},   {ReadKind::unread, read_unread}, {ReadKind::authors, read_authors},
    {ReadKind::sessions, read_sessions}, {ReadKind::password, read_password}, {ReadKind::health, read_health},
};
static_assert(sizeof readings / sizeof readings[0] == (size_t)ReadKind::health + 1);

// The newest commit that this transaction can see. One that is being synced is counted already, which may take as long as a card likes, and what it will
// add to the log is not here yet: then the read need not wait for it. rev_begun may be written meanwhile only when three more commits have begun.
static uint32_t commits_seen(const Store *s, int64_t rev) {
    uint32_t begun = __atomic_load_n(&s->commits_begun, __ATOMIC_SEQ_CST);
    uint32_t rev_begun = __atomic_load_n(&s->rev_begun[begun % 4], __ATOMIC_SEQ_CST);
    bool is_same = __atomic_load_n(&s->commits_begun, __ATOMIC_SEQ_CST) == begun;
    return is_same && (int32_t)((uint32_t)rev - rev_begun) < 0 ? begun - 1 : begun;
}

// Opened by the first read, since each connection reads the whole schema, which would be a tenth of a start. The writer's has found the database sound.
static bool is_connected(Store *s) {
    ScopedBuf why;
    if (s->reading.handle || db_open(s->reading, s->path, DbMode::read, &why)) return true;
    log_error("store: a read failed: %.*s", static_cast<int>(why.len), why.data);
    return false;
}

static void read_run(StoreRead *r) {
    Store *s = r->store;
    Db &db = s->reading;
    CB_ASSERT(readings[(int)r->kind].kind == r->kind);
    db_forgive(db);
    if (!is_connected(s)) {
        r->seen_commits = commits_seen(s, 0);
        r->err = Err::unavailable;
        return;
    }
    db_run(db, Sql::begin_read);
    // The first statement that reads fixes what this transaction sees; the count is read after it.
    r->snapshot_rev = db_get(db, Sql::rev_get, 0);
    r->seen_commits = commits_seen(s, r->snapshot_rev);
    if (db.failure == Failure::none) readings[(int)r->kind].run(db, r);
    Failure failure = db.failure;
    db_end(db, Sql::commit);
    r->err = failure == Failure::none ? Err::ok : Err::unavailable;
    if (failure == Failure::none) return;
    log_error("store: a read failed: %s", db.reason);
    r->changes_count = r->ids_count = r->sessions_count = 0;
    r->counts = nullptr;
    r->text = {};
}

// --- queue and completions

// What these read has a rev, so the log says how new it is; a commit without one (marks, sessions), however long it is being synced, changes nothing for them.
static bool is_of_log(ReadKind kind) { return kind != ReadKind::sessions && kind != ReadKind::password; }

static bool may_run(const Store *s, const StoreRead *r) {
    if (r->err == Err::ok && is_of_log(r->kind)) return s->rev >= r->snapshot_rev;
    return (int32_t)(s->commits_told - r->seen_commits) >= 0;
}

static void read_complete(StoreRead *r) {
    r->store->reads_waiting--;
    r->done(r);
}

static void job_work(Job *job) { read_run(reinterpret_cast<StoreRead *>(job)); }

static void job_done(Job *job) {
    auto *r = reinterpret_cast<StoreRead *>(job);
    Store *s = r->store;
    if (may_run(s, r)) return read_complete(r);
    r->next_held = nullptr;
    if (s->held_last) s->held_last->next_held = r;
    else s->held_first = r;
    s->held_last = r;
}

bool reader_wants_turn(const Store *s) { return s->held_first && may_run(s, s->held_first); }

void reader_release(Store *s, uint64_t us_max) {
    uint64_t begin = clock_us();
    while (reader_wants_turn(s)) {
        StoreRead *r = s->held_first;
        s->held_first = r->next_held;
        if (!s->held_first) s->held_last = nullptr;
        read_complete(r);
        if (clock_us() - begin > us_max) return;
    }
}

bool store_read(Store *s, StoreRead *r) {
    if (!s->reader || s->reads_waiting >= read_queue_max) return false;
    r->store = s;
    r->job.work = job_work;
    r->job.done = job_done;
    if (!worker_submit(s->reader, &r->job)) return false;
    s->reads_waiting++;
    return true;
}

void store_read_now(Store *s, StoreRead *r) {
    r->store = s;
    read_run(r);
}

bool reader_start(Store *s, Buf *error) {
    if (!s->loop) return true;
    s->reader = worker_start(s->loop, 1, read_queue_max);
    if (!s->reader) buf_printf(*error, "cannot start a thread");
    return s->reader != nullptr;
}

void reader_stop(Store *s, bool checkpoint) {
    Worker *worker = s->reader;
    s->reader = nullptr; // a completion that asks for more is refused
    if (worker) worker_stop(worker);
    db_close(s->reading, checkpoint);
}
