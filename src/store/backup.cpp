// Backups of a running store, and the check of a whole database. A backup has a thread and a connection of its own, since it may take long and
// neither readers nor the writer are to wait for it; it ends early when the store closes.
#include "store/state.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/assert.h"
#include "base/log.h"

// --- backups

static void backup_refuse(StoreBackup *b, const char *sentence) {
    b->err = Err::unavailable;
    snprintf(b->sentence, sizeof b->sentence, "%s", sentence);
}

static void backup_run(StoreBackup *b) {
    Store *s = b->store;
    struct stat st;
    if (lstat(b->path, &st) == 0) return backup_refuse(b, "there is a file of that name already; name a new one");
    ScopedBuf error;
    Db db;
    bool is_done = db_open(db, s->path, DbMode::read, &error) && db_copy(db, b->path, &s->copies_stop, &error);
    bool is_full = db.failure == Failure::full;
    db_close(db, false);
    if (is_done) return;
    buf_add_char(error, 0);
    backup_refuse(b, error.data);
    if (is_full) b->err = Err::storage_full;
}

static void job_work(Job *job) {
    auto *b = reinterpret_cast<StoreBackup *>(job);
    __atomic_add_fetch(&b->store->copies_running, 1, __ATOMIC_RELAXED);
    backup_run(b);
    __atomic_sub_fetch(&b->store->copies_running, 1, __ATOMIC_RELAXED);
}

static void job_done(Job *job) {
    auto *b = reinterpret_cast<StoreBackup *>(job);
    b->done(b);
}

bool store_backup(Store *s, StoreBackup *b) {
    b->store = s;
    b->err = Err::ok;
    b->sentence[0] = 0;
    if (!s->loop) {
        backup_run(b);
        b->done(b);
        return true;
    }
    if (s->is_closing) return false;
    b->job.work = job_work;
    b->job.done = job_done;
    return chores_submit(s, &b->job);
}

bool chores_submit(Store *s, Job *job) {
    // Two, so that a long copy does not keep the log from being cleaned.
    if (!s->chores) s->chores = worker_start(s->loop, 2, 4);
    return s->chores && worker_submit(s->chores, job);
}

void chores_stop(Store *s) {
    if (!s->chores) return;
    __atomic_store_n(&s->copies_stop, 1, __ATOMIC_RELAXED);
    worker_stop(s->chores);
    s->chores = nullptr;
    __atomic_store_n(&s->copies_stop, 0, __ATOMIC_RELAXED);
}

// --- the check

// What must hold beyond SQLite's own structure: each query gives the number of rows that break it.
struct Invariant {
    const char *broken; // "N …"
    const char *sql;
};
static const Invariant invariants[] = {
    {"changes are newer than the log's end",
     "SELECT count(*) FROM (SELECT id AS rev FROM messages UNION ALL SELECT rev FROM messages WHERE rev <> id UNION ALL SELECT rev FROM users UNION ALL "
     "SELECT rev FROM rooms UNION ALL SELECT rev FROM members) WHERE rev > (SELECT value FROM meta WHERE key = 'rev')"},
    {"changes share their place in the log with another",
     "SELECT count(*) - count(DISTINCT rev) FROM (SELECT id AS rev FROM messages UNION ALL SELECT rev FROM messages WHERE rev <> id UNION ALL "
     "SELECT rev FROM users UNION ALL SELECT rev FROM rooms UNION ALL SELECT rev FROM members)"},
    {"end of the log is missing (its newest change is not there)",
     "SELECT (SELECT max(rev) FROM (SELECT max(id) AS rev FROM messages UNION ALL SELECT max(rev) FROM messages WHERE rev <> id UNION ALL "
     "SELECT max(rev) FROM users UNION ALL SELECT max(rev) FROM rooms UNION ALL SELECT max(rev) FROM members)) < (SELECT value FROM meta WHERE key = 'rev')"},
    {"messages are older than their creation", "SELECT count(*) FROM messages WHERE rev < id"},
    {"messages have a sender that is no user", "SELECT count(*) FROM messages WHERE sender NOT IN (SELECT id FROM users)"},
    {"messages are in no room", "SELECT count(*) FROM messages WHERE room NOT IN (SELECT id FROM rooms)"},
    {"messages answer one of another room or none",
     "SELECT count(*) FROM messages x WHERE reply <> 0 AND NOT EXISTS (SELECT 1 FROM messages y WHERE y.id = x.reply AND y.room = x.room)"},
    {"deleted messages still have a text", "SELECT count(*) FROM messages WHERE deleted <> 0 AND (text <> '' OR mentions IS NOT NULL)"},
    {"memberships are of no room", "SELECT count(*) FROM members WHERE room NOT IN (SELECT id FROM rooms)"},
    {"memberships are of no user", "SELECT count(*) FROM members WHERE user NOT IN (SELECT id FROM users)"},
    {"sessions are of no user", "SELECT count(*) FROM sessions WHERE user NOT IN (SELECT id FROM users WHERE deleted = 0)"},
    {"users are not in the lobby", "SELECT count(*) FROM users WHERE deleted = 0 AND id NOT IN (SELECT user FROM members WHERE room = 1 AND gone = 0)"},
    {"lobby is missing", "SELECT count(*) = 0 FROM rooms WHERE id = 1"},
};

static bool check_structure(Db &db, Buf *report) {
    sqlite3_stmt *statement = nullptr;
    int rc = sqlite3_prepare_v2(db.handle, "PRAGMA integrity_check(20)", -1, &statement, nullptr);
    bool is_sound = rc == SQLITE_OK;
    while (is_sound && (rc = sqlite3_step(statement)) == SQLITE_ROW) {
        const char *line = reinterpret_cast<const char *>(sqlite3_column_text(statement, 0));
        if (line && strcmp(line, "ok") == 0) break;
        buf_printf(*report, "%s\n", line ? line : "unreadable");
        is_sound = false;
        while ((rc = sqlite3_step(statement)) == SQLITE_ROW) buf_printf(*report, "%s\n", sqlite3_column_text(statement, 0));
    }
    if (rc != SQLITE_OK && rc != SQLITE_ROW && rc != SQLITE_DONE) {
        buf_printf(*report, "cannot be read: %s\n", sqlite3_errmsg(db.handle));
        is_sound = false;
    }
    sqlite3_finalize(statement);
    return is_sound;
}

bool store_check(Store *s, Buf *report) {
    ScopedBuf error;
    Db db;
    if (!db_open(db, s->path, DbMode::read, &error)) {
        buf_add(*report, buf_view(error));
        buf_add_char(*report, '\n');
        return false;
    }
    db_exec(db, "BEGIN"); // one view for all
    bool is_sound = check_structure(db, report);
    for (const Invariant &invariant : invariants) {
        db_forgive(db);
        int64_t count = db_value(db, invariant.sql);
        if (count == 0) continue;
        is_sound = false;
        if (count > 0) buf_printf(*report, "%lld %s\n", (long long)count, invariant.broken);
        else buf_printf(*report, "%s: not known: %s\n", invariant.broken, db.reason);
    }
    db_exec(db, "COMMIT");
    db_close(db, false);
    return is_sound;
}
