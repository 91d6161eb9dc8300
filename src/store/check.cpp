// The check of a whole database: SQLite's own, and what must hold beyond it. It only reads, on a connection of its own, so it may run beside a
// server; each question is a short transaction, so that the server's write-ahead log can be cleaned between them. Any thread.
#include "store/state.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/embedded.h"

// What changed after it was made, and what is no message: few beside the messages, whose id is the rev they were made at.
#define OTHER_REVS \
    "(SELECT rev FROM messages WHERE rev <> id UNION ALL SELECT rev FROM users UNION ALL SELECT rev FROM rooms UNION ALL SELECT rev FROM members)"
#define LOG_END "(SELECT value FROM meta WHERE key = 'rev')"

// Each query gives the number of rows that break the rule.
struct Invariant {
    const char *broken; // "N …"
    const char *sql;
};
static const Invariant invariants[] = {
    {"changes are newer than the log's end",
     "SELECT (SELECT count(*) FROM messages WHERE id > " LOG_END ") + (SELECT count(*) FROM " OTHER_REVS " WHERE rev > " LOG_END ")"},
    {"changes share their place in the log with another",
     "SELECT (SELECT count(*) - count(DISTINCT rev) FROM " OTHER_REVS ") + (SELECT count(*) FROM " OTHER_REVS " WHERE rev IN (SELECT id FROM messages))"},
    {"end of the log is missing (its newest change is not there)",
     "SELECT max((SELECT ifnull(max(id), 0) FROM messages), (SELECT max(rev) FROM " OTHER_REVS ")) < " LOG_END},
    {"messages are older than their creation", "SELECT count(*) FROM messages WHERE rev < id"},
    {"messages have a sender that is no user", "SELECT count(*) FROM messages WHERE sender NOT IN (SELECT id FROM users)"},
    {"messages are in no room", "SELECT count(*) FROM messages WHERE room NOT IN (SELECT id FROM rooms)"},
    {"messages answer one of another room or none",
     "SELECT count(*) FROM messages x WHERE reply <> 0 AND NOT EXISTS (SELECT 1 FROM messages y WHERE y.id = x.reply AND y.room = x.room)"},
    {"deleted messages still have a text", "SELECT count(*) FROM messages WHERE deleted <> 0 AND (text <> '' OR mentions IS NOT NULL)"},
    {"memberships are of no room", "SELECT count(*) FROM members WHERE room NOT IN (SELECT id FROM rooms)"},
    {"memberships are of no user", "SELECT count(*) FROM members WHERE user NOT IN (SELECT id FROM users)"},
    {"read marks are beyond the log's end", "SELECT count(*) FROM members WHERE seen > " LOG_END},
    {"sessions are of no user", "SELECT count(*) FROM sessions WHERE user NOT IN (SELECT id FROM users WHERE deleted = 0)"},
    {"users are not in the lobby", "SELECT count(*) FROM users WHERE deleted = 0 AND id NOT IN (SELECT user FROM members WHERE room = 1 AND gone = 0)"},
    {"users have a role or a number of warnings that there is not", "SELECT count(*) FROM users WHERE role NOT BETWEEN 0 AND 2 OR warnings < 0"},
    {"lobby is missing", "SELECT count(*) = 0 FROM rooms WHERE id = 1"},
};

static bool check_structure(Db &db, Buf *report) {
    sqlite3_stmt *statement = nullptr;
    bool is_sound = true;
    int rc = sqlite3_prepare_v2(db.handle, "PRAGMA integrity_check(20)", -1, &statement, nullptr);
    while (rc == SQLITE_OK || rc == SQLITE_ROW) {
        rc = sqlite3_step(statement);
        if (rc != SQLITE_ROW) break;
        const char *line = reinterpret_cast<const char *>(sqlite3_column_text(statement, 0));
        if (line && strcmp(line, "ok") == 0) continue;
        buf_printf(*report, "%s\n", line ? line : "unreadable");
        is_sound = false;
    }
    if (rc != SQLITE_DONE) {
        buf_printf(*report, "cannot be read: %s\n", sqlite3_errmsg(db.handle));
        is_sound = false;
    }
    sqlite3_finalize(statement);
    return is_sound;
}

static bool check_invariants(Db &db, Buf *report) {
    bool is_sound = true;
    for (const Invariant &invariant : invariants) {
        db_forgive(db);
        int64_t count = db_value(db, invariant.sql);
        if (count == 0) continue;
        is_sound = false;
        if (count > 0) buf_printf(*report, "%lld %s\n", (long long)count, invariant.broken);
        else buf_printf(*report, "%s: not known: %s\n", invariant.broken, db.reason);
    }
    return is_sound;
}

// Is it one that this program can judge? Whose version differs is looked at by SQLite alone.
static bool check_version(Db &db, Buf *report, bool *is_ours) {
    constexpr int64_t application = 1128809048; // schema.sql
    int64_t version = db_value(db, "PRAGMA user_version");
    int known = db_schema_version(embedded_schema);
    *is_ours = version == known && db_value(db, "PRAGMA application_id") == application;
    if (*is_ours || (version > 0 && version < known)) return true;
    if (version > known) buf_printf(*report, "it was written by a newer ChatterBox: its version is %lld, this program knows %d\n", (long long)version, known);
    else buf_printf(*report, "it is not a database of ChatterBox\n");
    return false;
}

static Soundness check_file(const char *path, DbMode mode, Buf *report, Buf *summary) {
    Db db;
    if (!db_open(db, path, mode, report)) {
        if (!db.is_damaged) return Soundness::unknown;
        buf_add_char(*report, '\n');
        return Soundness::damaged;
    }
    bool is_ours = false;
    bool is_sound = check_structure(db, report);
    if (is_sound) is_sound = check_version(db, report, &is_ours);
    if (is_ours && !check_invariants(db, report)) is_sound = false;
    if (is_sound && summary) {
        buf_printf(*summary, "%lld messages, %lld accounts, %lld rooms; the log ends at %lld", (long long)db_value(db, "SELECT count(*) FROM messages"),
                   (long long)db_value(db, "SELECT count(*) FROM users"), (long long)db_value(db, "SELECT count(*) FROM rooms"),
                   (long long)db_value(db, "SELECT value FROM meta WHERE key = 'rev'"));
    }
    db_close(db, false);
    return is_sound ? Soundness::sound : Soundness::damaged;
}

bool store_check(Store *s, Buf *report) { return check_file(s->path, DbMode::read, report, nullptr) == Soundness::sound; }

// A log needs a file of shared memory beside it, so that where nothing can be written (a disk that was mounted anew for reading after an error, a folder of somebody else's, a
// full disk) not even reading begins. False with the reason when it is that.
static bool can_be_read(const char *path, Buf *reason, bool *is_passing) {
    Db db;
    *is_passing = false;
    if (!db_open(db, path, DbMode::read, reason)) return db.is_damaged; // that is for the check to say
    int rc = sqlite3_exec(db.handle, "SELECT count(*) FROM sqlite_schema", nullptr, nullptr, nullptr);
    int kind = sqlite3_extended_errcode(db.handle);
    *is_passing = (rc & 0xff) == SQLITE_BUSY || (rc & 0xff) == SQLITE_NOMEM;
    bool is_of_place = *is_passing || (rc & 0xff) == SQLITE_CANTOPEN || (rc & 0xff) == SQLITE_READONLY || kind == SQLITE_IOERR_SHMOPEN || kind == SQLITE_IOERR_SHMSIZE ||
                       kind == SQLITE_IOERR_SHMMAP || kind == SQLITE_IOERR_SHMLOCK;
    if (is_of_place) buf_printf(*reason, "%s (%d)", sqlite3_errmsg(db.handle), kind);
    db_close(db, false);
    return !is_of_place;
}

// Is there a log with something in it?
static bool has_log(const char *path) {
    char log[sizeof(Store::path) + 8];
    snprintf(log, sizeof log, "%s-wal", path);
    struct stat st;
    return stat(log, &st) == 0 && st.st_size > 0;
}

Soundness store_check_folder(const char *dir, Buf *report, Buf *summary) {
    char path[sizeof(Store::path)];
    snprintf(path, sizeof path, "%s/chatterbox.db", dir);
    db_start(false); // a list of many revs takes more than a server allows itself
    DbMode mode = db_is_backup(path) ? DbMode::alone : DbMode::read; // the log beside it is that of the database before
    ScopedBuf reason;
    bool is_passing;
    if (mode == DbMode::read && !can_be_read(path, &reason, &is_passing)) {
        if (is_passing) {
            buf_add(*report, buf_view(reason));
            return Soundness::unknown;
        }
        if (has_log(path)) {
            buf_printf(*report, "%.*s. Its newest changes are in %s-wal, which needs a folder that can be written: copy the whole folder to such a place and check it there",
                       static_cast<int>(reason.len), reason.data, path);
            return Soundness::unknown;
        }
        mode = DbMode::alone;
    }
    return check_file(path, mode, report, summary);
}
