// The writer: takes what waits as one batch, runs it in one transaction, and hands the results back in order. A batch runs on the loop while
// commits are fast and on the writer thread while they are slow; the code is the same. At most one is under way, so each loop turn's changes are
// one commit and one fan-out. Loop thread, but batch_run and what it calls, which run on either.
#include "store/state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/metrics.h"

// The write-ahead log in pages of 4 KiB. A checkpoint has two halves: the long one, copying and syncing megabytes, runs beside the batches; the short one, on
// the writer's connection and between batches, copies what came meanwhile, so that the next commit begins the log anew.
constexpr uint32_t checkpoint_frames = 4 * 256;  // 4 MiB: copied into the database
constexpr uint32_t checkpoint_step = 256;        // 1 MiB more until the next try, when readers kept the last one from ending
constexpr uint32_t restart_slow_frames = 25 * 128; // 12.5 MiB: on a slow disk the short half is put off until here
constexpr uint32_t restart_frames = 13 * 256;    // 13 MiB: batches wait for the copying, and the writer for the readers
constexpr uint32_t log_frames_max = 16 * 256;    // 16 MiB: what batch_room leaves to a batch ends here
constexpr size_t batch_text_max = 1024 * 1024;   // a batch of the longest messages alone would be larger than that
constexpr uint32_t commit_sample_us_max = 4 * commit_inline_us_max; // so that one slow commit among fast ones changes nothing, and two in a row do
constexpr uint32_t commit_mean_start_us = commit_sample_us_max;     // a disk that we do not know yet is taken for a slow one

// A write, and behind it the beginning of its arena: a usual message with all that belongs to it is one allocation.
constexpr size_t write_bytes = 1024, write_place = (sizeof(StoreWrite) + 15) & ~size_t{15};
static_assert(write_place % 16 == 0 && write_place <= 512);

StoreWrite *store_write_new(WriteKind kind) {
    auto *w = static_cast<StoreWrite *>(mem_alloc(write_bytes));
    memset(static_cast<void *>(w), 0, sizeof *w);
    arena_lend(w->arena, reinterpret_cast<char *>(w) + write_place, write_bytes - write_place);
    w->kind = kind;
    return w;
}

void store_write_free(StoreWrite *w) {
    arena_free(w->arena);
    free(w);
}

// --- one batch, on either thread

static void batch_fail(Store *s, Batch *b, Failure failure) {
    Db &db = s->writing;
    db_end(db, Sql::rollback);
    db_forgive(db);
    b->failure = failure;
    b->rev_after = s->rev_committed;
    for (StoreWrite *w = b->first; w; w = w->next) {
        w->err = failure == Failure::full ? Err::storage_full : Err::unavailable;
        w->changes_count = 0;
        w->ended_sessions_count = 0;
        w->is_repeat = w->is_hidden = false;
    }
}

// What is said not to be committed may be there all the same: memory that runs out behind the last sync is enough. The log has then moved on without us, so
// nothing is known any more, and opening it anew settles what happened.
static void commit_fail(Store *s, Batch *b) {
    Db &db = s->writing;
    Failure failure = db.failure;
    batch_fail(s, b, failure);
    if (s->has_written || db_get(db, Sql::rev_get, -1) != s->rev_committed) batch_fail(s, b, Failure::broken);
}

static void batch_try(Store *s, Batch *b) {
    Db &db = s->writing;
    db_forgive(db);
    b->failure = Failure::none;
    b->commit_us = 0;
    db_run(db, Sql::begin_write);
    if (db.failure != Failure::none) return batch_fail(s, b, db.failure);
    Tx tx = {.db = db, .rev = s->rev_committed};
    for (StoreWrite *w = b->first; w; w = w->next) {
        w->err = s->is_reserve_gone && !operation_is_vital(tx, w) ? Err::storage_full : operation_run(tx, w);
        if (db.failure > Failure::rule) return batch_fail(s, b, db.failure);
    }
    db_forgive(db);
    if (tx.rev != s->rev_committed) db_run(db, Sql::rev_set, tx.rev);
    if (db.failure != Failure::none) return batch_fail(s, b, db.failure);
    s->has_written = false;
    // Counted before, so that no reader sees the rows without the count.
    __atomic_store_n(&s->rev_begun[(s->commits_begun + 1) % 4], (uint32_t)tx.rev, __ATOMIC_SEQ_CST);
    __atomic_add_fetch(&s->commits_begun, 1, __ATOMIC_SEQ_CST);
    uint64_t begin = clock_us();
    db_run(db, Sql::commit);
    if (db.failure != Failure::none) return commit_fail(s, b);
    s->rev_committed = b->rev_after = tx.rev;
    if (s->has_written) b->commit_us = clock_us() - begin + 1;
}

static bool batch_is_vital(Store *s, Batch *b) {
    Tx tx = {.db = s->writing, .rev = 0};
    for (StoreWrite *w = b->first; w; w = w->next)
        if (operation_is_vital(tx, w)) return true;
    return false;
}

static void batch_run(Store *s, Batch *b) {
    reserve_regain(s);
    batch_try(s, b);
    // Messages alone are only refused. For what is vital the reserve is given, and it is tried again without the rest.
    if (b->failure != Failure::full || s->is_reserve_gone || !batch_is_vital(s, b) || !reserve_give(s)) return;
    batch_try(s, b);
    s->checkpoint_at = s->wal_frames; // a log that is copied begins anew, and takes no room for long
}

// --- the write-ahead log

static int log_grew(void *store, sqlite3 *, const char *, int frames) {
    auto *s = static_cast<Store *>(store);
    s->has_written = true;
    s->wal_frames = (uint32_t)frames;
    if (s->wal_frames < checkpoint_frames) s->checkpoint_at = checkpoint_frames; // it began anew
    return SQLITE_OK;
}

void writer_watch_log(Store *s) {
    sqlite3_wal_hook(s->writing.handle, log_grew, s);
    s->wal_frames = 0;
    s->checkpoint_at = checkpoint_frames;
    s->is_log_copied = false;
}

static void checkpoint_run(Store *s) {
    // A copy being made holds its view of the database for long: then waiting for the readers would only stop the chat.
    bool may_wait = s->wal_frames >= restart_frames && !__atomic_load_n(&s->copies_running, __ATOMIC_RELAXED);
    db_forgive(s->writing);
    errno = 0;
    int rc = sqlite3_wal_checkpoint_v2(s->writing.handle, "main", may_wait ? SQLITE_CHECKPOINT_RESTART : SQLITE_CHECKPOINT_PASSIVE, nullptr, nullptr);
    if ((rc & 0xff) != SQLITE_BUSY) db_note(s->writing, rc, "checkpoint");
    s->checkpoint_at = s->wal_frames + checkpoint_step;
}

static Store *store_of_cleaning(Job *job) {
    return reinterpret_cast<Store *>(reinterpret_cast<char *>(job) - __builtin_offsetof(Store, cleaning));
}

static void cleaning_work(Job *job) {
    ScopedBuf error;
    Db db;
    // A connection for once: it is rare, and one that stays would cost memory. What fails here fails again, and is told, in the short half.
    if (!db_open(db, store_of_cleaning(job)->path, DbMode::write, &error)) return;
    sqlite3_wal_checkpoint_v2(db.handle, "main", SQLITE_CHECKPOINT_PASSIVE, nullptr, nullptr);
    db_close(db, false);
}

static void cleaning_done(Job *job) {
    Store *s = store_of_cleaning(job);
    s->is_cleaning = false;
    s->is_log_copied = true;
}

static bool is_fast(const Store *s) { return s->commit_mean_us < commit_inline_us_max; }

// Begins the long half when the log has grown enough. True when the short one is due. It syncs twice while everybody waits: where that takes long it is put
// off until the log is too long; meanwhile the long half is done again for every step, so that the short one stays short.
static bool log_wants_writer(Store *s) {
    if (s->is_cleaning) return false; // two checkpoints at once are what SQLite before 3.51.3 may lose pages by, when a commit begins the log anew meanwhile
    if (s->is_log_copied && (is_fast(s) || s->is_reserve_gone || s->wal_frames >= restart_slow_frames)) return true;
    if (s->wal_frames < s->checkpoint_at) return false;
    s->checkpoint_at = s->wal_frames + checkpoint_step;
    // Half copied it would have taken the room that the reserve has given.
    if (s->is_reserve_gone && !reserve_holds_log(s)) return false;
    s->cleaning.work = cleaning_work;
    s->cleaning.done = cleaning_done;
    s->is_cleaning = chores_submit(s, &s->cleaning);
    return !s->is_cleaning;
}

// Batches wait while one is under way, and when the log outgrows its cleaning.
static bool is_busy(const Store *s) { return s->batch.in_flight || (s->is_cleaning && s->wal_frames >= restart_frames); }

void writer_truncate_log(Store *s) {
    db_forgive(s->writing);
    errno = 0;
    int rc = sqlite3_wal_checkpoint_v2(s->writing.handle, "main", SQLITE_CHECKPOINT_TRUNCATE, nullptr, nullptr);
    if ((rc & 0xff) != SQLITE_BUSY) db_note(s->writing, rc, "checkpoint");
}

// --- results, on the loop

static void complete(Store *s, StoreWrite *w) {
    if (w->changes_count > 0) s->rev = w->changes[w->changes_count - 1].rev;
    w->done(w);
}

// Of one that waits, whose arena does not change meanwhile.
static size_t weight_of(const StoreWrite *w) { return write_bytes + arena_bytes(w->arena); }

static void answer_waiting(Store *s, Err err) {
    // Only those that wait now: a completion may ask again, and is answered in the next turn.
    StoreWrite *list = s->first;
    s->first = s->last = nullptr;
    s->waiting = 0;
    s->waiting_bytes = 0;
    while (list) {
        StoreWrite *w = list;
        list = w->next;
        w->err = err;
        w->done(w);
    }
}

static void note_failure(Store *s, Failure failure) {
    metric_add(Metric::commit_failures);
    if (failure == Failure::full) {
        uint64_t now = clock_ms();
        if (s->full_logged_ms && now - s->full_logged_ms < 10'000) return;
        s->full_logged_ms = now;
        if (s->wal_frames > 0) s->checkpoint_at = s->wal_frames; // what is copied from the log can be written over there
        log_error("store: the disk is full, nothing can be stored (%s)", s->writing.reason);
        return;
    }
    log_error("store: a transaction failed: %s%s", s->writing.reason, s->writing.is_damaged ? "; `chatterbox check` says what is wrong and what to do" : "");
}

static void batch_finish(Store *s) {
    Batch *b = &s->batch;
    StoreWrite *list = b->first;
    b->first = nullptr;
    bool is_broken = b->failure == Failure::broken;
    if (b->failure > Failure::rule) note_failure(s, b->failure);
    if (b->count > 0 && b->failure == Failure::none) {
        metric_add(Metric::operations, b->count);
        if (b->commit_us) {
            metric_add(Metric::commits);
            metric_add(Metric::commit_microseconds, b->commit_us);
            uint64_t sample = b->commit_us < commit_sample_us_max ? b->commit_us : commit_sample_us_max;
            s->commit_mean_us = (uint32_t)((s->commit_mean_us * 7 + sample) / 8);
        }
    }
    // Writes that a completion asks for are of the next batch, even if it calls store_turn.
    while (list) {
        StoreWrite *w = list;
        list = w->next;
        if (w->kind == WriteKind::message_post && w->changes_count > 0) metric_add(Metric::messages_stored);
        complete(s, w);
    }
    s->rev = b->failure == Failure::none && b->count > 0 ? b->rev_after : s->rev;
    s->commits_told = s->commits_begun;
    b->in_flight = false;
    b->count = 0;
    if (is_broken) {
        s->is_broken = true;
        answer_waiting(s, Err::unavailable);
    }
    reader_release(s);
    if (is_broken && s->failed) s->failed();
}

static Store *store_of(Job *job) {
    return reinterpret_cast<Store *>(reinterpret_cast<char *>(job) - __builtin_offsetof(Store, batch.job));
}

static void job_work(Job *job) {
    Store *s = store_of(job);
    if (s->batch.first) batch_run(s, &s->batch);
    if (s->batch.is_checkpoint) {
        checkpoint_run(s);
        if (s->writing.failure > s->batch.failure) s->batch.failure = s->writing.failure;
    }
}

static void job_done(Job *job) { batch_finish(store_of(job)); }

// --- the queue

// In pages: what the log may still grow by. A message changes a page of nonces of its own where they are at random, and shares the others; its text may take pages of its own.
static uint32_t batch_room(const Store *s) {
    constexpr uint32_t least = 64;
    return s->wal_frames + least < log_frames_max ? log_frames_max - s->wal_frames : least;
}

static void batch_take(Store *s, uint32_t count_max) {
    Batch *b = &s->batch;
    uint32_t room = batch_room(s);
    size_t text_max = size_t{room} * 1024 < batch_text_max ? size_t{room} * 1024 : batch_text_max;
    if (count_max > room * 2 / 3) count_max = room * 2 / 3;
    CB_ASSERT(!b->in_flight && !b->first);
    StoreWrite *first = s->first, *last = nullptr;
    b->count = 0;
    size_t text = 0;
    while (s->first && b->count < count_max && text < text_max) {
        last = s->first;
        s->first = last->next;
        text += last->text.size();
        s->waiting_bytes -= weight_of(last);
        b->count++;
    }
    b->first = last ? first : nullptr;
    if (last) last->next = nullptr;
    if (!s->first) s->last = nullptr;
    s->waiting -= b->count;
    b->failure = Failure::none;
    b->is_checkpoint = false;
    b->in_flight = true;
}

bool store_submit(Store *s, StoreWrite *w) {
    size_t weight = weight_of(w);
    if (s->waiting >= write_queue_max || s->waiting_bytes + weight > write_queue_bytes_max || s->is_closing) return false;
    w->next = nullptr;
    if (s->last) s->last->next = w;
    else s->first = w;
    s->last = w;
    s->waiting++;
    s->waiting_bytes += weight;
    return true;
}

bool store_is_crowded(const Store *s) { return s->waiting >= write_queue_crowded || s->waiting_bytes >= write_queue_bytes_crowded; }

bool store_is_nearly_full(const Store *s) {
    return s->waiting >= (write_queue_crowded + write_queue_max) / 2 || s->waiting_bytes >= (write_queue_bytes_crowded + write_queue_bytes_max) / 2;
}

bool store_has_work(const Store *s) { return s->first || s->batch.in_flight; }

bool store_wants_turn(const Store *s) { return (s->first && !is_busy(s)) || reader_wants_turn(s); }

static void batch_start(Store *s, bool is_checkpoint) {
    Batch *b = &s->batch;
    b->is_checkpoint = is_checkpoint;
    b->job.work = job_work;
    b->job.done = job_done;
    if (is_checkpoint) s->is_log_copied = false;
    if (worker_submit(s->writer, &b->job)) return;
    job_work(&b->job); // no thread can be started: the loop has to wait
    job_done(&b->job);
}

void store_turn(Store *s, uint32_t worth_us) {
    reader_release(s);
    if (s->is_broken && !s->batch.in_flight) return answer_waiting(s, Err::unavailable);
    if (is_busy(s)) return;
    bool is_inline = is_fast(s) || s->commit_mean_us < (worth_us < commit_worth_us_max ? worth_us : commit_worth_us_max);
    if (s->first && is_inline) {
        batch_take(s, batch_operations_max);
        uint64_t begin = clock_us();
        batch_run(s, &s->batch);
        uint64_t waited = clock_us() - begin;
        if (waited > metrics[(int)Metric::turn_store_wait_max]) metric_set(Metric::turn_store_wait_max, waited);
        batch_finish(s);
        if (s->batch.in_flight || s->is_broken) return;
    }
    bool is_checkpoint = log_wants_writer(s);
    // By itself: a batch before it would be told only after its syncs.
    if (is_checkpoint || (s->first && !is_inline)) {
        batch_take(s, is_checkpoint ? 0 : batch_operations_max);
        batch_start(s, is_checkpoint);
    }
}

void store_write_now(Store *s, StoreWrite *w) {
    CB_ASSERT(!s->batch.in_flight && !s->first);
    if (s->is_broken) {
        w->err = Err::unavailable;
        return;
    }
    Batch b = {};
    w->next = nullptr;
    b.first = w;
    batch_run(s, &b);
    s->commits_told = s->commits_begun;
    s->rev = s->rev_committed;
    if (b.failure > Failure::rule) note_failure(s, b.failure);
    s->is_broken = b.failure == Failure::broken;
    if (s->wal_frames >= s->checkpoint_at) checkpoint_run(s);
}

// --- beginning and end

bool writer_start(Store *s, Buf *error) {
    s->commit_mean_us = commit_mean_start_us;
    if (!s->loop || s->writer) return true;
    s->writer = worker_start(s->loop, 1, 4);
    if (!s->writer) buf_printf(*error, "cannot start a thread");
    return s->writer != nullptr;
}

void writer_stop(Store *s) {
    if (!s->writer) return;
    worker_stop(s->writer);
    s->writer = nullptr;
}

void writer_drain(Store *s) {
    CB_ASSERT(!s->batch.in_flight);
    while (s->first && !s->is_broken) {
        batch_take(s, batch_operations_max);
        batch_run(s, &s->batch);
        batch_finish(s);
    }
    answer_waiting(s, Err::unavailable);
}
