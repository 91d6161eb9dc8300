// The store on a bad disk: a layer below SQLite (a VFS of our own over the real one) that is full, fails to sync or fails to read on demand,
// and a real limit on the size of files. Nothing that failed may have been acknowledged, and what was acknowledged stays.
#include "store_world.h"

#include <errno.h>
#include <sched.h>
#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/limits.h"
#include "store/db.h"

static World world;
static int64_t anna;
constexpr int64_t lobby = 1;

// --- the layer

// What the test sets and the store's threads look at.
template <typename T>
struct Shared {
    T value;
    operator T() const { return __atomic_load_n(&value, __ATOMIC_SEQ_CST); }
    void operator=(T to) { __atomic_store_n(&value, to, __ATOMIC_SEQ_CST); }
    void operator=(const Shared &other) { *this = T(other); }
};

static struct Faults {
    Shared<bool> disk_full, sync_fails, read_fails;
    Shared<bool> is_room_reserved; // full but for the room of the reserve
    Shared<bool> sync_hangs; // until it is false again
    Shared<int> syncs;
} faults;

static int64_t reserve_size() {
    char path[256];
    struct stat st;
    world_path(world, "reserve", path);
    return stat(path, &st) == 0 ? st.st_size : -1;
}

struct FaultyFile {
    sqlite3_file base;
    sqlite3_file *real; // behind this in the same allocation
};

static sqlite3_file *real_of(sqlite3_file *file) { return reinterpret_cast<FaultyFile *>(file)->real; }
#define REAL(call) real_of(file)->pMethods->call

static int faulty_close(sqlite3_file *file) { return REAL(xClose)(real_of(file)); }
static int faulty_read(sqlite3_file *file, void *to, int n, sqlite3_int64 at) {
    if (faults.read_fails) return SQLITE_IOERR_READ;
    return REAL(xRead)(real_of(file), to, n, at);
}
static int faulty_write(sqlite3_file *file, const void *from, int n, sqlite3_int64 at) {
    if (faults.disk_full || (faults.is_room_reserved && reserve_size() > 0)) return SQLITE_FULL;
    return REAL(xWrite)(real_of(file), from, n, at);
}
static int faulty_sync(sqlite3_file *file, int flags) {
    __atomic_add_fetch(&faults.syncs.value, 1, __ATOMIC_SEQ_CST);
    while (faults.sync_hangs) sched_yield();
    if (faults.sync_fails) return SQLITE_IOERR_FSYNC;
    return REAL(xSync)(real_of(file), flags);
}
static int faulty_truncate(sqlite3_file *file, sqlite3_int64 size) { return REAL(xTruncate)(real_of(file), size); }
static int faulty_size(sqlite3_file *file, sqlite3_int64 *size) { return REAL(xFileSize)(real_of(file), size); }
static int faulty_lock(sqlite3_file *file, int lock) { return REAL(xLock)(real_of(file), lock); }
static int faulty_unlock(sqlite3_file *file, int lock) { return REAL(xUnlock)(real_of(file), lock); }
static int faulty_check_lock(sqlite3_file *file, int *out) { return REAL(xCheckReservedLock)(real_of(file), out); }
static int faulty_control(sqlite3_file *file, int op, void *argument) { return REAL(xFileControl)(real_of(file), op, argument); }
static int faulty_sector(sqlite3_file *file) { return REAL(xSectorSize)(real_of(file)); }
static int faulty_traits(sqlite3_file *file) { return REAL(xDeviceCharacteristics)(real_of(file)); }
static int faulty_shm_map(sqlite3_file *file, int page, int size, int extend, void volatile **out) { return REAL(xShmMap)(real_of(file), page, size, extend, out); }
static int faulty_shm_lock(sqlite3_file *file, int at, int n, int flags) { return REAL(xShmLock)(real_of(file), at, n, flags); }
static void faulty_shm_barrier(sqlite3_file *file) { REAL(xShmBarrier)(real_of(file)); }
static int faulty_shm_unmap(sqlite3_file *file, int remove) { return REAL(xShmUnmap)(real_of(file), remove); }

static const sqlite3_io_methods faulty_methods = {
    2,           faulty_close,   faulty_read,    faulty_write,  faulty_truncate, faulty_sync,    faulty_size,     faulty_lock,        faulty_unlock, faulty_check_lock,
    faulty_control, faulty_sector, faulty_traits, faulty_shm_map, faulty_shm_lock, faulty_shm_barrier, faulty_shm_unmap, nullptr, nullptr,
};

static sqlite3_vfs *real_vfs;
static sqlite3_vfs faulty_vfs;

static int faulty_open(sqlite3_vfs *, const char *name, sqlite3_file *file, int flags, int *out) {
    auto *faulty = reinterpret_cast<FaultyFile *>(file);
    faulty->real = reinterpret_cast<sqlite3_file *>(faulty + 1);
    int rc = real_vfs->xOpen(real_vfs, name, faulty->real, flags, out);
    faulty->base.pMethods = rc == SQLITE_OK ? &faulty_methods : nullptr;
    return rc;
}

static int install(void **) {
    db_start(true);
    real_vfs = sqlite3_vfs_find(nullptr);
    faulty_vfs = *real_vfs;
    faulty_vfs.zName = "faulty";
    faulty_vfs.szOsFile += (int)sizeof(FaultyFile);
    faulty_vfs.xOpen = faulty_open;
    return sqlite3_vfs_register(&faulty_vfs, 1);
}

// --- the tests

static int failed_calls;
static void on_failed() { failed_calls++; }

static int setup_with(Durability durability) {
    faults = {};
    failed_calls = 0;
    world_make(world, durability);
    world_close(world);
    ScopedBuf error;
    StoreOptions options;
    options.dir = world.dir;
    options.durability = durability;
    world.s = store_open(options, &world.loop, on_failed, &error);
    assert_non_null(world.s);
    anna = user_make(world, "anna");
    return 0;
}
static int setup(void **) { return setup_with(Durability::full); }
static int setup_normal(void **) { return setup_with(Durability::normal); }

static int teardown(void **) {
    faults = {};
    ScopedBuf report;
    bool is_sound = store_check(world.s, &report);
    check(is_sound, "%.*s", (int)report.len, report.data);
    world_remove(world);
    return 0;
}

static Err try_post(const char *text, const char *nonce = "") { return err_of(world, a_post(anna, lobby, text, nonce)); }

static void full_syncs_every_commit_and_normal_none(void **) {
    for (Durability durability : {Durability::full, Durability::normal}) {
        world_close(world);
        world.durability = durability;
        world_open(world);
        post(world, anna, lobby, "warm");
        faults.syncs = 0;
        for (int i = 0; i < 5; i++) post(world, anna, lobby, "x");
        assert_int_equal(faults.syncs, durability == Durability::full ? 5 : 0);
    }
}

static void a_full_disk_refuses_the_batch_and_goes_on(void **) {
    post(world, anna, lobby, "before");
    int64_t rev = store_rev(world.s);
    faults.disk_full = true;
    StoreWrite *batch[3] = {a_post(anna, lobby, "a", "a"), about_user(WriteKind::user_profile, anna), a_post(anna, lobby, "b", "b")};
    for (StoreWrite *w : batch) say(world, w);
    world_settle(world);
    for (StoreWrite *w : batch) {
        assert_int_equal((int)w->err, (int)Err::storage_full);
        assert_int_equal(w->changes_count, 0);
        store_write_free(w);
    }
    assert_int_equal(store_rev(world.s), rev);
    assert_int_equal(failed_calls, 0);
    StoreRead *r = a_read(ReadKind::changes);
    r->since = rev;
    did_read(world, r); // reading still works, and shows nothing of it
    assert_int_equal(r->changes_count, 0);
    store_read_free(r);
    faults.disk_full = false;
    assert_int_equal((int)try_post("a", "a"), (int)Err::ok);
    assert_int_equal(store_rev(world.s), rev + 1);
}

// In one batch with what is not: only that is refused, and the log has no gap.
static void what_is_vital_is_stored_on_a_full_disk(void **) {
    assert_int_equal(reserve_size(), reserve_bytes);
    int64_t bert = user_make(world, "bert"), carl = user_make(world, "carl", Role::moderator);
    int64_t kept = post(world, anna, lobby, "kept"), removed = post(world, anna, lobby, "removed");
    int64_t rev = store_rev(world.s);
    faults.is_room_reserved = true;
    assert_int_equal((int)try_post("alone", "a"), (int)Err::storage_full);
    assert_int_equal(reserve_size(), reserve_bytes);
    StoreWrite *vital[] = {a_delete(anna, removed),
                           about_user(WriteKind::user_block, bert),
                           a_refusal(anna, Err::stop_word),
                           about_user(WriteKind::user_role, bert),
                           about_user(WriteKind::user_password, bert),
                           about_user(WriteKind::session_add, carl),
                           about_user(WriteKind::user_delete, bert)};
    vital[1]->flag = true;
    vital[5]->token_hash[0] = 1;
    StoreWrite *others[] = {a_post(anna, lobby, "b", "b"), an_edit(anna, kept, "edited"), about_user(WriteKind::user_profile, anna),
                            about_user(WriteKind::session_add, anna), about_user(WriteKind::user_password, anna), a_refusal(anna, Err::empty, "c")};
    others[4]->renew_only = true;
    int count = 0;
    for (StoreWrite *w : others) {
        say(world, w);
        if (count < 7) say(world, vital[count++]);
    }
    say(world, vital[count]);
    world_settle(world);
    for (StoreWrite *w : others) {
        assert_int_equal((int)w->err, (int)Err::storage_full);
        store_write_free(w);
    }
    for (StoreWrite *w : vital) {
        check(w->err == Err::ok, "%d: %s", (int)w->kind, err_info(w->err).code);
        store_write_free(w);
    }
    assert_int_equal(reserve_size(), 0);
    assert_int_equal(store_rev(world.s), rev + 4); // deleted; a role; left the lobby, gone
    assert_int_equal(sql_value(world, "SELECT count(*) FROM messages WHERE text = 'kept'"), 1);
    assert_int_equal((int)try_post("still not"), (int)Err::storage_full); // though there would be room
    // After a while it looks for room, and here it finds some.
    faults = {};
    Err err = Err::storage_full;
    for (int i = 0; i < 500 && err == Err::storage_full; i++) err = try_post("a", "a"), usleep(20'000);
    assert_int_equal((int)err, (int)Err::ok);
    assert_int_equal(store_rev(world.s), rev + 5);
    assert_int_equal(reserve_size(), reserve_bytes);
    assert_int_equal(failed_calls, 0);
}

static void a_failed_sync_stops_the_store_until_it_is_opened_anew(void **) {
    int64_t before = post(world, anna, lobby, "acknowledged");
    char epoch[64];
    snprintf(epoch, sizeof epoch, "%s", store_epoch(world.s));
    faults.sync_fails = true;
    StoreWrite *first = a_post(anna, lobby, "not known", "n");
    say(world, first);
    store_turn(world.s);
    StoreWrite *second = a_post(anna, lobby, "behind it");
    if (!is_done(first)) say(world, second);
    world_settle(world);
    assert_int_equal((int)first->err, (int)Err::unavailable);
    assert_int_equal(failed_calls, 1);
    if (!is_done(second)) assert_int_equal((int)did(world, second)->err, (int)Err::unavailable);
    assert_int_equal((int)second->err, (int)Err::unavailable);
    store_write_free(first);
    store_write_free(second);
    faults.sync_fails = false;
    assert_int_equal((int)try_post("still not"), (int)Err::unavailable); // a sync that works again proves nothing
    assert_int_equal(failed_calls, 1);
    ScopedBuf error;
    bool is_open = store_reopen(world.s, &error);
    check(is_open, "%.*s", (int)error.len, error.data);
    assert_string_equal(store_epoch(world.s), epoch); // at full nothing acknowledged is gone
    assert_int_equal(sql_value(world, "SELECT count(*) FROM messages WHERE text = 'acknowledged'"), 1);
    assert_in_range(store_rev(world.s), before, before + 1);
    // The nonce settles whether it was stored.
    assert_int_equal((int)try_post("not known", "n"), (int)Err::ok);
    assert_int_equal(sql_value(world, "SELECT count(*) FROM messages WHERE text = 'not known'"), 1);
    StoreRead *r = a_read(ReadKind::health);
    store_read_free(did_read(world, r));
}

static void at_normal_opening_anew_makes_a_new_epoch(void **) {
    post(world, anna, lobby, "x");
    char epoch[64];
    snprintf(epoch, sizeof epoch, "%s", store_epoch(world.s));
    faults.read_fails = true;
    // The page is in no cache of the writer: many rooms of messages push it out.
    Err err = Err::ok;
    for (int i = 0; i < 200 && err == Err::ok; i++) {
        StoreWrite *w = an_edit(anna, store_rev(world.s), "changed");
        err = err_of(world, w);
        faults.read_fails = false;
        for (int k = 0; k < 50; k++) try_post("filling the cache");
        faults.read_fails = true;
        if (err == Err::ok) err = err_of(world, an_edit(anna, 4, i % 2 ? "a" : "b"));
    }
    faults.read_fails = false;
    assert_int_equal((int)err, (int)Err::unavailable);
    assert_int_equal(failed_calls, 1);
    ScopedBuf error;
    assert_true(store_reopen(world.s, &error));
    assert_string_not_equal(store_epoch(world.s), epoch);
    post(world, anna, lobby, "goes on");
}

static void a_failed_reopening_may_be_tried_again(void **) {
    faults.sync_fails = true;
    assert_int_equal((int)try_post("x"), (int)Err::unavailable);
    faults.read_fails = true;
    ScopedBuf error;
    assert_false(store_reopen(world.s, &error));
    assert_true(error.len > 0);
    assert_int_equal((int)try_post("x"), (int)Err::unavailable);
    StoreRead *r = a_read(ReadKind::health);
    assert_false(store_read(world.s, r));
    store_read_free(r);
    faults = {};
    assert_true(store_reopen(world.s, &error));
    post(world, anna, lobby, "goes on");
}

// While a commit is being synced, which on a slow card takes long, what can be read is what was there before, and is read at once.
static void a_read_does_not_wait_for_a_sync(void **) {
    world_close(world);
    world_open(world); // a disk that is not known yet: the first commit is made on the thread
    int64_t rev = store_rev(world.s);
    StoreWrite *w = a_post(anna, lobby, "under way");
    faults.sync_hangs = true;
    say(world, w);
    int syncs = faults.syncs;
    store_turn(world.s);
    while (faults.syncs == syncs) sched_yield();
    StoreRead *r = a_read(ReadKind::page);
    r->room = lobby;
    r->limit = 10;
    did_read(world, r);
    assert_false(is_done(w));
    assert_int_equal(r->snapshot_rev, rev);
    faults.sync_hangs = false;
    world_settle(world);
    assert_int_equal((int)w->err, (int)Err::ok);
    store_write_free(w);
    store_read_free(r);
}

// No layer of ours: the kernel refuses to let the files grow.
static void a_limit_on_file_sizes_is_a_full_disk(void **) {
    signal(SIGXFSZ, SIG_IGN);
    struct rlimit old;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    struct rlimit tight = {300 * 1024, old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
    Err err = Err::ok;
    int stored = 0;
    char text[1001];
    memset(text, 'a', 1000);
    text[1000] = 0;
    while (stored < 2000 && (err = try_post(text)) == Err::ok) stored++;
    assert_int_equal((int)err, (int)Err::storage_full);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_true(stored > 10 && stored < 2000);
    assert_int_equal(failed_calls, 0);
    assert_int_equal((int)try_post(text), (int)Err::ok);
    assert_int_equal(sql_value(world, "SELECT count(*) FROM messages"), stored + 1);
}

// --- the write-ahead log

static void the_log_is_kept_small(void **) {
    char path[256], text[3001];
    memset(text, 'a', 3000);
    text[3000] = 0;
    world_path(world, "chatterbox.db-wal", path);
    int64_t largest = 0;
    static StoreWrite *posts[200];
    for (int round = 0; round < 60; round++) { // about 40 MiB
        for (StoreWrite *&w : posts) say(world, w = a_post(anna, lobby, text));
        world_settle(world);
        for (StoreWrite *w : posts) store_write_free(w);
        FILE *file = fopen(path, "r");
        fseek(file, 0, SEEK_END);
        if (ftell(file) > largest) largest = ftell(file);
        fclose(file);
    }
    assert_in_range(largest, 4 << 20, 16 << 20);
    for (int i = 0; i < 20; i++) post(world, anna, lobby, "a quiet time"), usleep(2'000);
    assert_true(sql_value(world, "SELECT count(*) FROM messages") == 12'020);
}

// What is worth trying again, and what is not: the worst that a batch has met decides.
static void what_a_failure_means(void **) {
    static const struct {
        int rc, error;
        Failure failure;
    } rows[] = {
        {SQLITE_OK, 0, Failure::none},
        {SQLITE_DONE, 0, Failure::none},
        {SQLITE_CONSTRAINT_UNIQUE, 0, Failure::rule},
        {SQLITE_TOOBIG, 0, Failure::rule},
        {SQLITE_BUSY, 0, Failure::passing},
        {SQLITE_NOMEM, 0, Failure::passing},
        {SQLITE_IOERR_NOMEM, 0, Failure::passing},
        {SQLITE_IOERR_BLOCKED, 0, Failure::passing},
        {SQLITE_FULL, ENOSPC, Failure::full},
        {SQLITE_IOERR_WRITE, ENOSPC, Failure::full}, // a quota and a limit on sizes are full disks too, also to the index of the log
        {SQLITE_IOERR_WRITE, EDQUOT, Failure::full},
        {SQLITE_IOERR_WRITE, EFBIG, Failure::full},
        {SQLITE_IOERR_SHMSIZE, ENOSPC, Failure::full},
        {SQLITE_IOERR_SHMMAP, ENOSPC, Failure::full},
        {SQLITE_IOERR_WRITE, EIO, Failure::broken},
        {SQLITE_IOERR_FSYNC, ENOSPC, Failure::broken}, // pages are lost that were taken already
        {SQLITE_IOERR_READ, EIO, Failure::broken},
        {SQLITE_CORRUPT, 0, Failure::broken},
        {SQLITE_NOTADB, 0, Failure::broken},
        {SQLITE_MISUSE, 0, Failure::broken},
    };
    for (auto &row : rows) {
        Db db;
        errno = row.error;
        db_note(db, row.rc, "a test");
        check(db.failure == row.failure, "%d with errno %d: %d, not %d", row.rc, row.error, (int)db.failure, (int)row.failure);
        check(db.is_damaged == (row.rc == SQLITE_CORRUPT || row.rc == SQLITE_NOTADB), "%d", row.rc);
    }
    Db db;
    db_note(db, SQLITE_CORRUPT, "first");
    db_note(db, SQLITE_BUSY, "then");
    assert_true(db.failure == Failure::broken && strncmp(db.reason, "first: ", 7) == 0);
}

// SQLite may roll a transaction back by itself where memory runs out; what is run behind that would be committed alone, without the rest.
static void nothing_is_run_behind_a_failure(void **) {
    char path[256];
    ScopedBuf error;
    world_path(world, "chatterbox.db", path);
    Db db;
    assert_true(db_open(db, path, DbMode::write, &error));
    db_run(db, Sql::begin_write);
    db_run(db, Sql::invite_add, Blob{"one", 3});
    assert_true(db_exec(db, "ROLLBACK"));
    db_note(db, SQLITE_NOMEM, "a test");
    db_run(db, Sql::invite_add, Blob{"two", 3});
    db_end(db, Sql::commit); // none is open
    assert_true(db.failure == Failure::passing);
    db_forgive(db);
    assert_int_equal(db_value(db, "SELECT count(*) FROM invites WHERE token_hash IN (X'6f6e65', X'74776f')"), 0);
    // One that is still open can be ended.
    db_run(db, Sql::begin_write);
    db_note(db, SQLITE_BUSY, "a test");
    db_end(db, Sql::rollback);
    assert_true(sqlite3_get_autocommit(db.handle) && db.failure == Failure::passing);
    db_close(db, false);
}

#define in_world(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
#define in_normal_world(test) cmocka_unit_test_setup_teardown(test, setup_normal, teardown)

int main() {
    const struct CMUnitTest tests[] = {
        in_world(full_syncs_every_commit_and_normal_none),
        in_world(a_full_disk_refuses_the_batch_and_goes_on),
        in_world(what_is_vital_is_stored_on_a_full_disk),
        in_world(a_failed_sync_stops_the_store_until_it_is_opened_anew),
        in_normal_world(at_normal_opening_anew_makes_a_new_epoch),
        in_world(a_read_does_not_wait_for_a_sync),
        in_world(a_failed_reopening_may_be_tried_again),
        in_normal_world(a_limit_on_file_sizes_is_a_full_disk),
        in_normal_world(the_log_is_kept_small),
        cmocka_unit_test(what_a_failure_means),
        in_world(nothing_is_run_behind_a_failure),
    };
    return cmocka_run_group_tests(tests, install, nullptr);
}
