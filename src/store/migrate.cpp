// Two things done to a whole database: bringing its schema up to date, step by step, and copying it (for backups, and before a schema step).
// Runs on the thread of the connection it is given; owns only files while they are made.
#include "store/db.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"

// --- schema steps

static const char step_mark[] = "\n-- migration ";

// The text of step `number` (from 1); null when there is none.
static const char *step_find(const char *schema, int number, size_t *length) {
    char mark[40];
    snprintf(mark, sizeof mark, "%s%d\n", step_mark, number);
    const char *begin = strstr(schema, mark);
    if (!begin) return nullptr;
    begin += strlen(mark);
    const char *end = strstr(begin, step_mark);
    *length = end ? (size_t)(end - begin) : strlen(begin);
    return begin;
}

// The steps first to last, in one transaction: a start syncs once for all of them, and an update is made whole or not at all.
static bool steps_run(Db &db, const char *schema, int first, int last, Buf *error) {
    ScopedBuf sql;
    buf_printf(sql, "BEGIN IMMEDIATE;\n");
    for (int number = first; number <= last; number++) {
        size_t length = 0;
        const char *text = step_find(schema, number, &length);
        buf_add(sql, {text, length});
    }
    buf_printf(sql, "\n;PRAGMA user_version = %d; COMMIT;", last);
    buf_add_char(sql, 0);
    db_forgive(db);
    if (db_exec(db, sql.data)) return true;
    buf_printf(*error, "the database could not be brought to version %d: %s", last, db.reason);
    if (db.failure == Failure::rule) db.is_damaged = true; // the steps ask for nothing that a sound one does not hold
    if (!sqlite3_get_autocommit(db.handle)) db_exec(db, "ROLLBACK");
    return false;
}

int db_schema_version(const char *schema) {
    int known = 0;
    for (size_t length; step_find(schema, known + 1, &length);) known++;
    return known;
}

static void folder_of(const char *path, char folder[PATH_MAX]) {
    snprintf(folder, PATH_MAX, "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash) slash[slash == folder] = 0;
    else snprintf(folder, PATH_MAX, ".");
}

// What a step sorts for an index is larger than SQLite's memory: it goes to a file without a name beside the database. The log, which has become as long as
// what the step changed, is emptied now, when nobody waits.
static bool steps_run_sorting_in_files(Db &db, const char *path, const char *schema, int first, int last, Buf *error) {
    char folder[PATH_MAX];
    folder_of(path, folder);
    sqlite3_temp_directory = sqlite3_mprintf("%s", folder);
    db_exec(db, "PRAGMA temp_store = FILE");
    bool is_done = steps_run(db, schema, first, last, error);
    if (is_done) db_exec(db, "PRAGMA wal_checkpoint(TRUNCATE)");
    db_exec(db, "PRAGMA temp_store = DEFAULT");
    sqlite3_free(sqlite3_temp_directory);
    sqlite3_temp_directory = nullptr;
    return is_done;
}

static void copy_name(char out[PATH_MAX], const char *path, int step) { snprintf(out, PATH_MAX, "%s.before-%d", path, step); }

// A copy made now is kept, and the one before it. One of an earlier try makes room first: the database is as it was then, or newer.
static bool copy_before(Db &db, const char *path, int step, Buf *error) {
    char copy[PATH_MAX];
    copy_name(copy, path, step);
    unlink(copy);
    if (!db_copy(db, copy, error)) return false;
    log_info("store: the database as it was is kept in %s", copy);
    int older = 0;
    for (int i = step - 1; i > 0; i--) {
        copy_name(copy, path, i);
        if (access(copy, F_OK) == 0 && ++older > 1 && unlink(copy) == 0) log_info("store: %s is removed", copy);
    }
    return true;
}

bool db_migrate(Db &db, const char *path, const char *schema, Buf *error) {
    int known = db_schema_version(schema);
    int64_t version = db_value(db, "PRAGMA user_version");
    bool is_new = version == 0 && db_value(db, "SELECT count(*) FROM sqlite_schema") == 0;
    if (version < 0 || db.failure != Failure::none) {
        buf_printf(*error, "%s cannot be read: %s", path, db.reason);
        return false;
    }
    if (version == 0 && !is_new) {
        buf_printf(*error, "%s is a database, but not of ChatterBox; put it elsewhere", path);
        return false;
    }
    if (version > known) {
        char copy[PATH_MAX];
        copy_name(copy, path, known + 1);
        buf_printf(*error, "%s was written by a newer ChatterBox (its version is %lld, this program knows %d); run the newer program", path,
                   (long long)version, known);
        if (access(copy, F_OK) == 0) buf_printf(*error, ", or stop, put %s in its place, which lacks what was written since, and start", copy);
        return false;
    }
    int first = (int)version + 1;
    if (first > known) return true;
    if (is_new) return steps_run(db, schema, first, known, error);
    log_info("store: the database is brought from version %lld to %d; a large one takes a while", (long long)version, known);
    db_memory_grows(true);
    bool is_done = copy_before(db, path, first, error) && steps_run_sorting_in_files(db, path, schema, first, known, error);
    db_memory_grows(false);
    if (is_done) return true;
    if (db.failure != Failure::full) return false;
    char copy[PATH_MAX];
    copy_name(copy, path, first);
    unlink(copy); // nothing has changed, so it would only take room
    long long megabytes = db_value(db, "PRAGMA page_count") * db_page_bytes / 1'000'000;
    buf_printf(*error, "; for that about %lld MB must be free", 2 * megabytes + 1);
    db.failure = Failure::full; // whatever that question did
    return false;
}

// --- copies

// What has been written to `path`, and the entry of a file in its folder, survive power loss after this.
static bool sync_path(const char *path, int flags) {
    int fd = open(path, flags | O_CLOEXEC);
    if (fd < 0) return false;
    bool is_synced = fsync(fd) == 0;
    close(fd);
    return is_synced;
}

bool db_sync_folder_of(const char *path) {
    char folder[PATH_MAX];
    folder_of(path, folder);
    return sync_path(folder, O_RDONLY | O_DIRECTORY);
}

// Who restores the copy gets a database that nobody has seen: its epoch is made at the first start.
static bool copy_forget_epoch(const char *path, Buf *error) {
    Db db;
    if (!db_open(db, path, DbMode::write, error)) return false;
    bool is_done = db_exec(db, "PRAGMA journal_mode = MEMORY; UPDATE meta SET value = '' WHERE key = 'epoch'; UPDATE meta SET value = 1 WHERE key = 'clean'");
    if (!is_done) buf_printf(*error, "cannot write %s: %s", path, db.reason);
    db_close(db, true);
    return is_done;
}

bool db_sync(const char *path) { return sync_path(path, O_RDONLY) && db_sync_folder_of(path); }

// The copy gets its name, which nobody may have taken meanwhile; a file system without links (that of many cards) replaces such a file.
static bool copy_finish(const char *temporary, const char *path) {
    if (link(temporary, path) == 0) return unlink(temporary) == 0;
    return errno != EEXIST && rename(temporary, path) == 0;
}

// The file that becomes the copy, empty; VACUUM INTO wants that, and it has the right mode from its first byte on. It is locked, for another backup of that name may be under way; one
// that was broken off is begun anew; and somebody's file that only happens to have the name stays.
static int part_open(const char *temporary, Buf *error) {
    static const char begin[] = "SQLite format 3";
    char found[sizeof begin] = {}, journal[PATH_MAX + 8];
    int fd = open(temporary, O_CREAT | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        buf_printf(*error, "cannot make %s: %s", temporary, strerror(errno));
        return -1;
    }
    struct stat st = {};
    ssize_t n = 0;
    if (flock(fd, LOCK_EX | LOCK_NB) != 0 || fstat(fd, &st) != 0 || st.st_nlink == 0) {
        buf_printf(*error, "another copy to that place is under way (%s)", temporary);
    } else if ((n = pread(fd, found, sizeof found, 0)) != 0 && (n != (ssize_t)sizeof found || memcmp(found, begin, sizeof begin) != 0)) {
        buf_printf(*error, "%s is in the way, and no copy of a database", temporary);
    } else {
        snprintf(journal, sizeof journal, "%s-journal", temporary);
        unlink(journal);
        if (ftruncate(fd, 0) == 0 && fchmod(fd, 0600) == 0) return fd;
        buf_printf(*error, "cannot write %s: %s", temporary, strerror(errno));
    }
    close(fd);
    return -1;
}

bool db_copy(Db &db, const char *path, Buf *error) {
    char temporary[PATH_MAX], journal[PATH_MAX + 8];
    if ((size_t)snprintf(temporary, sizeof temporary, "%s.part", path) >= sizeof temporary) {
        buf_printf(*error, "the path is too long");
        return false;
    }
    int part = part_open(temporary, error);
    if (part < 0) return false;
    char *sql = sqlite3_mprintf("VACUUM INTO %Q", temporary);
    db_forgive(db);
    bool is_done = sql && db_exec(db, sql);
    sqlite3_free(sql);
    if (!is_done) buf_printf(*error, "cannot copy the database to %s: %s", path, db.failure == Failure::full ? "the disk is full" : db.reason);
    is_done = is_done && copy_forget_epoch(temporary, error);
    if (is_done && !(sync_path(temporary, O_RDONLY) && copy_finish(temporary, path) && db_sync_folder_of(path))) {
        buf_printf(*error, "cannot write %s: %s", path, strerror(errno));
        is_done = false;
    }
    if (!is_done) {
        unlink(temporary);
        snprintf(journal, sizeof journal, "%s-journal", temporary);
        unlink(journal);
    }
    close(part);
    return is_done;
}
