// Backups of a store that may be at work, and the check of a whole database.
#include "store/state.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/assert.h"
#include "base/log.h"

// --- backups

bool store_backup(const char *dir, const char *path, Buf *error) {
    struct stat st;
    if (lstat(path, &st) == 0) {
        buf_add(*error, "there is a file of that name already; name a new one");
        return false;
    }
    char from[sizeof(Store::path)];
    snprintf(from, sizeof from, "%s/chatterbox.db", dir);
    db_start(false);
    Db db;
    bool is_done = db_open(db, from, DbMode::read, error) && db_copy(db, path, error);
    db_close(db, false);
    return is_done;
}

void store_copying(Store *s, bool begins) { __atomic_add_fetch(&s->copies_running, begins ? 1 : -1, __ATOMIC_RELAXED); }

// --- chores

bool chores_submit(Store *s, Job *job) {
    if (!s->chores) s->chores = worker_start(s->loop, 1, 4);
    return s->chores && worker_submit(s->chores, job);
}

void chores_stop(Store *s) {
    if (s->chores) worker_stop(s->chores);
    s->chores = nullptr;
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
