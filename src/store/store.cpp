// Opening and closing: the folder and its lock, the two connections, the schema, the epoch and what durability asks for. Owns the Store. Loop thread.
//
// The epoch changes whenever what clients saw may be gone. A server at durability normal therefore writes clean = 0 (fsynced) before it acknowledges anything
// and clean = 1 when it has closed well; who opens a database that is not clean makes a new epoch. At durability full nothing acknowledged
// can be gone, and `clean` stays 1.
#include "store/state.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/embedded.h"
#include "base/log.h"

// --- the folder and its lock

// The way to a folder, as far as it is missing.
static void parents_make(const char *dir) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s", dir);
    for (size_t end = strlen(path); end > 1 && path[end - 1] == '/';) path[--end] = 0;
    for (char *slash = path; (slash = strchr(slash + 1, '/'));) {
        *slash = 0;
        if (mkdir(path, 0777) != 0 && errno != EEXIST) return; // whoever makes the folder itself says so
        *slash = '/';
    }
}

bool store_make_folder(const char *dir, bool *is_new, Buf *error) {
    *is_new = mkdir(dir, 0700) == 0;
    if (!*is_new && errno == ENOENT) {
        parents_make(dir);
        *is_new = mkdir(dir, 0700) == 0;
    }
    struct stat st;
    if (*is_new || (errno == EEXIST && stat(dir, &st) == 0 && S_ISDIR(st.st_mode))) return true;
    buf_printf(*error, "cannot make the data folder %s: %s", dir, strerror(errno));
    return false;
}

static void lock_path(const char *dir, char out[PATH_MAX]) { snprintf(out, PATH_MAX, "%s/lock", dir); }

constexpr int lock_tries = 25;
constexpr unsigned lock_try_us = 20'000;

// The lock is the kernel's (flock) and ends with the process, however it ends; the file's text only names who has it.
static int lock_take(const char *dir, Buf *error) {
    char path[PATH_MAX];
    lock_path(dir, path);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        buf_printf(*error, "cannot open %s: %s", path, strerror(errno));
        return -1;
    }
    char pid[24];
    // A command has it for a moment, to look or to write; a server keeps it.
    bool is_taken = flock(fd, LOCK_EX | LOCK_NB) == 0;
    for (int i = 0; !is_taken && errno == EWOULDBLOCK && i < lock_tries; i++) {
        usleep(lock_try_us);
        is_taken = flock(fd, LOCK_EX | LOCK_NB) == 0;
    }
    if (is_taken) {
        // As long as the longest, so that it covers the last one without a truncation, which some disks take a millisecond for.
        int length = snprintf(pid, sizeof pid, "%-10ld\n", (long)getpid());
        // Nobody depends on the text, so a full disk may keep it empty.
        if (pwrite(fd, pid, (size_t)length, 0) != length) log_debug("store: the lock file has no pid");
        return fd;
    }
    if (errno == EWOULDBLOCK) {
        ssize_t length = pread(fd, pid, sizeof pid - 1, 0);
        pid[length > 0 ? length : 0] = 0;
        buf_printf(*error, "a server is already running on %s (pid %ld)", dir, strtol(pid, nullptr, 10));
    } else {
        buf_printf(*error, "cannot lock %s: %s", path, strerror(errno));
    }
    close(fd);
    return -1;
}

bool store_is_locked(const char *dir) {
    char path[PATH_MAX];
    lock_path(dir, path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    bool is_locked = flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    close(fd);
    return is_locked;
}

// SQLite gives its companion files the mode of the database, so that is made (or mended: a restored copy) first.
static bool file_make(const char *path, bool *is_new, Buf *error) {
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        buf_printf(*error, "cannot open %s: %s", path, strerror(errno));
        return false;
    }
    struct stat st;
    bool is_known = fstat(fd, &st) == 0;
    if (is_known && (st.st_mode & 0077) != 0 && fchmod(fd, 0600) != 0) log_warn("store: others may read %s: %s", path, strerror(errno));
    *is_new = is_known && st.st_size == 0;
    close(fd);
    return true;
}

// A backup put in the place of the database after a crash meets the old one's write-ahead log, which SQLite would take for its own. Ours are always in
// WAL mode (the header's bytes 18 and 19 are 2) before they have a log; a backup is not yet.
bool db_is_backup(const char *path) {
    unsigned char header[20] = {};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    bool is_backup = pread(fd, header, sizeof header, 0) == (ssize_t)sizeof header && header[18] == 1;
    close(fd);
    return is_backup;
}

static void stranger_log_remove(const char *path) {
    bool is_backup = db_is_backup(path);
    char companion[sizeof(Store::path) + 8];
    for (const char *end : {"-wal", "-shm"}) {
        snprintf(companion, sizeof companion, "%s%s", path, end);
        if (is_backup && unlink(companion) == 0) log_info("store: %s belonged to the database before this one: removed", companion);
    }
}

// --- epoch and durability

static bool meta_set_text(Db &db, const char *key, std::string_view value) {
    db_run(db, Sql::meta_set, std::string_view(key), value);
    return db.failure == Failure::none;
}

static bool meta_set_int(Db &db, const char *key, int64_t value) {
    db_run(db, Sql::meta_set, std::string_view(key), value);
    return db.failure == Failure::none;
}

static bool state_read(Store *s, Buf *error) {
    Db &db = s->writing;
    db_forgive(db);
    s->rev = s->rev_committed = db_get(db, Sql::rev_get, 0);
    bool is_clean = db_get(db, Sql::meta_get, 0, std::string_view("clean")) != 0;
    s->epoch[0] = 0;
    {
        Query q(db, Sql::meta_get, std::string_view("epoch"));
        if (query_step(q) && query_text(q, 0).size() < sizeof s->epoch) {
            std::string_view epoch = query_text(q, 0);
            s->epoch[epoch.copy(s->epoch, sizeof s->epoch - 1)] = 0;
        }
    }
    bool is_new_epoch = s->epoch[0] == 0 || !is_clean;
    if (s->epoch[0] && !is_clean) log_info("store: the last stop was not clean, clients start afresh");
    if (is_new_epoch) uuid_make(s->epoch);
    bool is_to_be_clean = s->durability == Durability::full;
    // Synced whatever the durability: what comes after relies on it.
    db_exec(db, "PRAGMA synchronous=FULL");
    if (is_new_epoch || is_clean != is_to_be_clean) {
        db_run(db, Sql::begin_write);
        if (is_new_epoch) meta_set_text(db, "epoch", s->epoch);
        meta_set_int(db, "clean", is_to_be_clean);
        db_run(db, Sql::commit);
        db_end(db, Sql::rollback);
    }
    if (s->durability == Durability::normal) db_exec(db, "PRAGMA synchronous=NORMAL");
    if (db.failure == Failure::none) return true;
    buf_printf(*error, "cannot read or write %s: %s", s->path, db.reason);
    return false;
}

// --- the connections

// A new database is made beside its place, synced once as a whole and then renamed: a power cut leaves either none or all of it. (SQLite by itself takes
// eight syncs, which on a card is a second.) Until it has answered somebody the rest has nothing to lose: its parts are synced once each, the
// write-ahead log by the first commit of state_read.
static bool database_make(Store *s, Buf *error) {
    char path[sizeof(Store::path) + 8];
    snprintf(path, sizeof path, "%s.new", s->path);
    unlink(path); // half made by a start that was cut
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd >= 0) {
        close(fd);
        Db &db = s->writing;
        bool is_made = db_open(db, path, DbMode::write, error);
        if (is_made) db_exec(db, "PRAGMA journal_mode=MEMORY; PRAGMA synchronous=OFF");
        is_made = is_made && db_migrate(db, path, embedded_schema, error);
        db_close(db, false);
        if (is_made && db_sync(path) && rename(path, s->path) == 0) return true;
    }
    if (!error->len) buf_printf(*error, "cannot make %s: %s", s->path, strerror(errno));
    unlink(path);
    return false;
}

// Through SQLite's own descriptor: whoever closes another one of the database takes from this process the lock by which strangers know that it is in use.
static bool new_file_sync(Store *s, Buf *error) {
    sqlite3_file *file = nullptr;
    sqlite3_file_control(s->writing.handle, "main", SQLITE_FCNTL_FILE_POINTER, &file);
    if (file && file->pMethods->xSync(file, SQLITE_SYNC_NORMAL) == SQLITE_OK && db_sync_folder_of(s->path)) return true;
    buf_printf(*error, "cannot sync %s: %s", s->path, strerror(errno));
    return false;
}

static bool connections_open(Store *s, bool is_new, Buf *error) {
    Db &db = s->writing;
    if (!db_open(db, s->path, DbMode::write, error)) return false;
    if (is_new) db_exec(db, "PRAGMA journal_mode=MEMORY; PRAGMA synchronous=OFF");
    // What a killed server left in its write-ahead log is taken up here.
    bool is_wal = db_says(db, "PRAGMA journal_mode=WAL", "wal");
    if (!is_wal) {
        buf_printf(*error, "cannot open %s: %s", s->path, db.failure == Failure::none ? "its file system has no shared memory" : db.reason);
        return false;
    }
    if (!db_migrate(db, s->path, embedded_schema, error)) return false;
    db_forgive(db);
    writer_watch_log(s);
    if (!state_read(s, error) || (is_new && !new_file_sync(s, error))) return false;
    s->commits_told = s->commits_begun;
    return reader_start(s, error) && writer_start(s, error);
}

static void connections_close(Store *s, bool checkpoint) {
    chores_stop(s);
    reader_stop(s, checkpoint);
    db_close(s->writing, checkpoint);
}

static void store_free(Store *s) {
    if (s->reserve_fd >= 0) close(s->reserve_fd);
    if (s->lock_fd >= 0) close(s->lock_fd);
    free(s);
}

// Once a sync has failed, the kernel may show pages that never reached the disk, and will not try to write them again. It forgets those that it can.
static void cache_drop(const char *path, const char *end) {
    char name[sizeof(Store::path) + 8];
    snprintf(name, sizeof name, "%s%s", path, end);
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    if (int failed = posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED)) log_debug("store: %s stays in memory: %s", name, strerror(failed));
    close(fd);
}

Store *store_open(const StoreOptions &options, uv_loop_s *loop, StoreFailed failed, Buf *error) {
    if (strlen(options.dir) > 1000) {
        buf_printf(*error, "the path of the data folder is too long");
        return nullptr;
    }
    bool is_new = false;
    if (!store_make_folder(options.dir, &is_new, error)) return nullptr;
    int lock_fd = lock_take(options.dir, error);
    if (lock_fd < 0) return nullptr;
    auto *s = static_cast<Store *>(mem_zero(sizeof(Store)));
    s->lock_fd = lock_fd;
    s->durability = options.durability;
    s->loop = loop;
    s->failed = failed;
    snprintf(s->path, sizeof s->path, "%s/chatterbox.db", options.dir);
    db_start(options.fix_memory_bound);
    bool is_there = file_make(s->path, &is_new, error);
    if (is_there && is_new) is_there = database_make(s, error);
    if (is_there) stranger_log_remove(s->path);
    s->reserve_fd = -1;
    if (is_there && !is_new) cache_drop(s->path, "-wal"); // that a killed server left: it may have been killed because its disk failed
    bool is_open = is_there && connections_open(s, is_new, error);
    bool is_full = is_there && (s->writing.failure == Failure::full || s->reading.failure == Failure::full);
    if (is_open || is_full) reserve_open(s, options.dir);
    // On a full disk the index of the log, or a new epoch, may still find the room that the reserve has.
    if (!is_open && is_full && reserve_give(s)) {
        connections_close(s, false);
        buf_clear(*error);
        is_open = connections_open(s, is_new, error);
    }
    if (is_open) return s;
    if (s->writing.is_damaged || s->reading.is_damaged)
        buf_printf(*error, "; `chatterbox check --data %s` says what is wrong and what to do", options.dir);
    connections_close(s, false);
    writer_stop(s);
    store_free(s);
    return nullptr;
}

// What the log shows is written over itself and synced. A page of it that is not on the disk would hide all that comes behind, however well that was synced; and a part of the log
// that is taken for the whole, when the power has failed, would set some pages of the database back and others not.
static bool log_write_again(const char *database, Buf *error) {
    char path[sizeof(Store::path) + 8], bytes[64 * 1024];
    snprintf(path, sizeof path, "%s-wal", database);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) return true;
    if (fd < 0) {
        buf_printf(*error, "cannot open %s again: %s", path, strerror(errno));
        return false;
    }
    off_t at = 0;
    ssize_t n;
    while ((n = pread(fd, bytes, sizeof bytes, at)) > 0 && pwrite(fd, bytes, (size_t)n, at) == n) at += n;
    bool is_good = n == 0 && fsync(fd) == 0;
    if (!is_good) buf_printf(*error, "cannot write %s again: %s", path, strerror(errno));
    close(fd);
    return is_good;
}

bool store_reopen(Store *s, Buf *error) {
    CB_ASSERT(!s->batch.in_flight);
    // What is in the write-ahead log is not copied into the database now: opening verifies it first.
    connections_close(s, false);
    reader_release(s, UINT64_MAX);
    for (const char *end : {"", "-wal"}) cache_drop(s->path, end);
    bool is_open = log_write_again(s->path, error) && connections_open(s, false, error);
    // What is missing in the database, since a sync of it may have failed too, is still in the log. The next one begins anew.
    if (is_open) {
        writer_truncate_log(s);
        is_open = s->writing.failure == Failure::none;
        if (!is_open) buf_printf(*error, "cannot write %s: %s", s->path, s->writing.reason);
    }
    if (!is_open) connections_close(s, false);
    s->is_broken = !is_open;
    return is_open;
}

void store_close(Store *s) {
    chores_stop(s);
    // Readers first: what their completions ask for is committed with the rest.
    Worker *reader = s->reader;
    s->reader = nullptr;
    if (reader) worker_stop(reader);
    writer_stop(s);
    s->is_closing = true;
    writer_drain(s);
    reader_release(s, UINT64_MAX);
    bool is_sound = s->writing.handle && !s->is_broken;
    if (is_sound) {
        db_forgive(s->writing);
        if (s->durability == Durability::normal) {
            db_exec(s->writing, "PRAGMA synchronous=FULL");
            meta_set_int(s->writing, "clean", 1);
        }
        reader_stop(s, true);
        writer_truncate_log(s);
        if (s->writing.failure != Failure::none) log_warn("store: closing: %s", s->writing.reason);
    }
    connections_close(s, is_sound && s->writing.failure < Failure::broken);
    store_free(s);
}

const char *store_epoch(const Store *s) { return s->epoch; }
int64_t store_rev(const Store *s) { return s->rev; }
