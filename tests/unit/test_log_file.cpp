// The layer below SQLite that gathers what is written to the write-ahead log, by itself: above a disk that counts what reaches it and can fail, and without SQLite.
#include "unit.h"

#include "store/db.h"

// --- the disk: one file in memory

static struct Disk {
    char bytes[512 * 1024];
    sqlite3_int64 size;
    int writes, syncs, fail_writes, fail_syncs;
} disk;

static int disk_close(sqlite3_file *) { return SQLITE_OK; }
static int disk_read(sqlite3_file *, void *to, int n, sqlite3_int64 at) {
    if (at + n > disk.size) return SQLITE_IOERR_SHORT_READ;
    memcpy(to, disk.bytes + at, (size_t)n);
    return SQLITE_OK;
}
static int disk_write(sqlite3_file *, const void *bytes, int n, sqlite3_int64 at) {
    assert_true(at + n <= (sqlite3_int64)sizeof disk.bytes);
    if (disk.fail_writes > 0 && disk.fail_writes--) return SQLITE_FULL;
    disk.writes++;
    memcpy(disk.bytes + at, bytes, (size_t)n);
    if (at + n > disk.size) disk.size = at + n;
    return SQLITE_OK;
}
static int disk_truncate(sqlite3_file *, sqlite3_int64 size) { return disk.size = size, SQLITE_OK; }
static int disk_sync(sqlite3_file *, int) {
    if (disk.fail_syncs > 0 && disk.fail_syncs--) return SQLITE_IOERR_FSYNC;
    disk.syncs++;
    return SQLITE_OK;
}
static int disk_size(sqlite3_file *, sqlite3_int64 *bytes) { return *bytes = disk.size, SQLITE_OK; }

static int disk_open(sqlite3_vfs *, const char *, sqlite3_file *file, int, int *) {
    static sqlite3_io_methods methods;
    methods.iVersion = 1;
    methods.xClose = disk_close;
    methods.xRead = disk_read;
    methods.xWrite = disk_write;
    methods.xTruncate = disk_truncate;
    methods.xSync = disk_sync;
    methods.xFileSize = disk_size;
    file->pMethods = &methods;
    return SQLITE_OK;
}

// --- the log as SQLite writes it: a header of 32 bytes, then for each page a header of 24, which says whether a transaction ends here, and the page

static sqlite3_vfs *layer;
static sqlite3_file *file;
static char page[db_page_bytes];
constexpr sqlite3_int64 page_step = 24 + db_page_bytes;
static sqlite3_int64 page_at(int n) { return 32 + n * page_step; }

static int put(const void *bytes, int n, sqlite3_int64 at) { return file->pMethods->xWrite(file, bytes, n, at); }
static int begin_log() { return put("the log's own header, 32 bytes..", 32, 0); }
static int put_page(int n, bool is_last, char fill) {
    char header[24] = {};
    header[7] = is_last; // the size of the database, big-endian
    memset(page, fill, sizeof page);
    if (int rc = put(header, sizeof header, page_at(n)); rc != SQLITE_OK) return rc;
    return put(page, sizeof page, page_at(n) + 24);
}
static int sync_log() { return file->pMethods->xSync(file, SQLITE_SYNC_NORMAL); }
static bool disk_has_page(int n, char fill) {
    memset(page, fill, sizeof page);
    return disk.size >= page_at(n + 1) && memcmp(disk.bytes + page_at(n) + 24, page, sizeof page) == 0;
}

static int start(void **) {
    sqlite3_initialize();
    static sqlite3_vfs below;
    below = *sqlite3_vfs_find(nullptr);
    below.zName = "disk";
    below.szOsFile = sizeof(sqlite3_file);
    below.xOpen = disk_open;
    sqlite3_vfs_register(&below, 1);
    log_file_start();
    layer = sqlite3_vfs_find(nullptr);
    return 0;
}

static int open_log(void **) {
    disk = {};
    file = (sqlite3_file *)calloc(1, (size_t)layer->szOsFile);
    assert_int_equal(layer->xOpen(layer, "chatterbox.db-wal", file, SQLITE_OPEN_WAL | SQLITE_OPEN_READWRITE, nullptr), SQLITE_OK);
    assert_int_equal(begin_log(), SQLITE_OK);
    return 0;
}

static int close_log(void **) {
    assert_int_equal(file->pMethods->xClose(file), SQLITE_OK);
    free(file);
    return 0;
}

// --- what it promises

static void a_transaction_is_one_write(void **) {
    int before = disk.writes;
    assert_int_equal(put_page(0, false, 'a'), SQLITE_OK);
    assert_int_equal(put_page(1, false, 'b'), SQLITE_OK);
    assert_int_equal(disk.writes, before); // nobody asks for these pages before the commit
    assert_int_equal(put_page(2, true, 'c'), SQLITE_OK);
    assert_int_equal(disk.writes, before + 1);
    assert_true(disk_has_page(0, 'a') && disk_has_page(1, 'b') && disk_has_page(2, 'c'));
    assert_int_equal(put_page(3, true, 'd'), SQLITE_OK); // the next, of one page
    assert_int_equal(disk.writes, before + 2);
    assert_int_equal(put_page(4, false, 'e'), SQLITE_OK);
    assert_int_equal(disk.writes, before + 2);
}

static void a_large_one_is_a_few(void **) {
    int before = disk.writes;
    constexpr int pages = 40;
    for (int n = 0; n < pages; n++) assert_int_equal(put_page(n, n == pages - 1, (char)('a' + n % 26)), SQLITE_OK);
    for (int n = 0; n < pages; n++) check(disk_has_page(n, (char)('a' + n % 26)), "page %d", n);
    check(disk.writes - before <= 4, "%d writes of at most 64 KiB for 40 pages", disk.writes - before);
}

static void what_is_gathered_can_be_read_and_counts(void **) {
    assert_int_equal(put_page(0, false, 'a'), SQLITE_OK);
    sqlite3_int64 size = 0;
    assert_int_equal(file->pMethods->xFileSize(file, &size), SQLITE_OK);
    assert_int_equal(size, page_at(1));
    assert_int_equal(put_page(1, false, 'b'), SQLITE_OK);
    char got[db_page_bytes];
    assert_int_equal(file->pMethods->xRead(file, got, sizeof got, page_at(1) + 24), SQLITE_OK);
    memset(page, 'b', sizeof page);
    assert_memory_equal(got, page, sizeof page);
}

// SQLite writes a page again in its place when it changes twice in a transaction; what was gathered before goes first.
static void a_page_written_again_is_the_later_one(void **) {
    assert_int_equal(put_page(0, false, 'a'), SQLITE_OK);
    assert_int_equal(put_page(1, false, 'b'), SQLITE_OK);
    assert_int_equal(put_page(0, false, 'A'), SQLITE_OK);
    assert_int_equal(put_page(2, true, 'c'), SQLITE_OK);
    assert_true(disk_has_page(0, 'A') && disk_has_page(1, 'b') && disk_has_page(2, 'c'));
    assert_int_equal(disk.size, page_at(3));
    // The log goes on where it was, and gathers.
    int before = disk.writes;
    assert_int_equal(put_page(3, false, 'd'), SQLITE_OK);
    assert_int_equal(disk.writes, before);
}

// After a checkpoint the log begins anew and is written over.
static void a_log_that_begins_anew_is_gathered_too(void **) {
    for (int n = 0; n < 4; n++) assert_int_equal(put_page(n, true, 'a'), SQLITE_OK);
    assert_int_equal(begin_log(), SQLITE_OK);
    int before = disk.writes;
    assert_int_equal(put_page(0, false, 'x'), SQLITE_OK);
    assert_int_equal(put_page(1, true, 'y'), SQLITE_OK);
    assert_int_equal(disk.writes, before + 1);
    assert_true(disk_has_page(0, 'x') && disk_has_page(1, 'y') && disk_has_page(2, 'a'));
}

static void what_is_on_the_disk_is_not_synced_again(void **) {
    assert_int_equal(put_page(0, true, 'a'), SQLITE_OK);
    assert_int_equal(sync_log(), SQLITE_OK);
    assert_int_equal(disk.syncs, 1);
    assert_int_equal(sync_log(), SQLITE_OK); // a checkpoint begins with this
    assert_int_equal(disk.syncs, 1);
    assert_int_equal(put_page(1, false, 'b'), SQLITE_OK); // gathered: the sync must bring it down first
    assert_int_equal(sync_log(), SQLITE_OK);
    assert_int_equal(disk.syncs, 2);
    assert_true(disk_has_page(1, 'b'));
    assert_int_equal(put("again", 5, 8), SQLITE_OK); // inside the log
    assert_int_equal(sync_log(), SQLITE_OK);
    assert_int_equal(disk.syncs, 3);
    assert_int_equal(file->pMethods->xTruncate(file, 0), SQLITE_OK); // the new length must survive a power cut too
    assert_int_equal(sync_log(), SQLITE_OK);
    assert_int_equal(disk.syncs, 4);
}

static void a_truncation_keeps_nothing_back(void **) {
    assert_int_equal(put_page(0, false, 'a'), SQLITE_OK);
    assert_int_equal(file->pMethods->xTruncate(file, 32), SQLITE_OK);
    assert_int_equal(disk.size, 32);
    assert_int_equal(put_page(0, true, 'b'), SQLITE_OK);
    assert_true(disk_has_page(0, 'b'));
    assert_int_equal(disk.size, page_at(1));
}

static void a_sync_that_failed_is_made_again(void **) {
    assert_int_equal(put_page(0, true, 'a'), SQLITE_OK);
    disk.fail_syncs = 1;
    assert_int_equal(sync_log(), SQLITE_IOERR_FSYNC);
    assert_int_equal(sync_log(), SQLITE_OK);
    assert_int_equal(disk.syncs, 1);
}

static void a_write_that_failed_fails_the_commit(void **) {
    assert_int_equal(put_page(0, true, 'a'), SQLITE_OK);
    disk.fail_writes = 1;
    assert_int_equal(put_page(1, true, 'b'), SQLITE_FULL);
    assert_false(disk_has_page(1, 'b'));
    // SQLite gives the transaction up and writes the next in its place; nothing of the old one comes after it.
    assert_int_equal(put_page(1, true, 'c'), SQLITE_OK);
    assert_int_equal(sync_log(), SQLITE_OK);
    assert_true(disk_has_page(0, 'a') && disk_has_page(1, 'c'));
    assert_int_equal(disk.size, page_at(2));
}

static void half_a_transaction_ends_with_the_file(void **) {
    assert_int_equal(put_page(0, true, 'a'), SQLITE_OK);
    assert_int_equal(put_page(1, false, 'b'), SQLITE_OK);
    int before = disk.writes;
    close_log(nullptr);
    assert_int_equal(disk.writes, before);
    file = (sqlite3_file *)calloc(1, (size_t)layer->szOsFile);
    assert_int_equal(layer->xOpen(layer, "chatterbox.db-wal", file, SQLITE_OPEN_WAL | SQLITE_OPEN_READWRITE, nullptr), SQLITE_OK);
}

// The database itself goes straight to the disk.
static void other_files_are_left_alone(void **) {
    auto *other = (sqlite3_file *)calloc(1, (size_t)layer->szOsFile);
    assert_int_equal(layer->xOpen(layer, "chatterbox.db", other, SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_READWRITE, nullptr), SQLITE_OK);
    assert_ptr_equal(other->pMethods->xWrite, disk_write);
    free(other);
}

#define test(name) cmocka_unit_test_setup_teardown(name, open_log, close_log)

int main() {
    const CMUnitTest tests[] = {
        test(a_transaction_is_one_write),
        test(a_large_one_is_a_few),
        test(what_is_gathered_can_be_read_and_counts),
        test(a_page_written_again_is_the_later_one),
        test(a_log_that_begins_anew_is_gathered_too),
        test(what_is_on_the_disk_is_not_synced_again),
        test(a_truncation_keeps_nothing_back),
        test(a_sync_that_failed_is_made_again),
        test(a_write_that_failed_fails_the_commit),
        test(half_a_transaction_ends_with_the_file),
        test(other_files_are_left_alone),
    };
    return cmocka_run_group_tests(tests, start, nullptr);
}
