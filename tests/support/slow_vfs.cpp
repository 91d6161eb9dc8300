// A bad disk for tests: the server's own objects, linked (never into the shipped program) with --wrap=sqlite3_initialize, so that SQLite's files go through here.
// The real file system does the work; a few of its methods are replaced by what the environment asks for. Any thread.
//
//   SLOW_SYNC_MS=N    each sync of a file of the database takes N milliseconds longer
#include <sqlite3.h>
#include <stdlib.h>
#include <time.h>

extern "C" int __real_sqlite3_initialize();
extern "C" int __wrap_sqlite3_initialize();

static long sync_ms;
static sqlite3_vfs *real_vfs;
static sqlite3_vfs slow_vfs;

// A file keeps its own structure and gets another table of methods. The real file system has a table for each way of locking.
struct Methods {
    const sqlite3_io_methods *real;
    sqlite3_io_methods ours;
};
static Methods tables[8];
static int tables_count;

static const Methods *methods_of(const sqlite3_file *file) {
    for (const Methods &m : tables)
        if (file->pMethods == &m.ours) return &m;
    abort();
}

// --- the methods

static int slow_sync(sqlite3_file *file, int flags) {
    struct timespec wait = {.tv_sec = sync_ms / 1000, .tv_nsec = sync_ms % 1000 * 1'000'000};
    nanosleep(&wait, nullptr);
    return methods_of(file)->real->xSync(file, flags);
}

static void replace(sqlite3_io_methods *methods) {
    if (sync_ms > 0) methods->xSync = slow_sync;
}

// --- putting them in the place of the real ones

// Files are opened by several threads; the tables only grow, and are all there after the first connection.
static int open_file(sqlite3_vfs *, const char *name, sqlite3_file *file, int flags, int *out) {
    static volatile char lock;
    int rc = real_vfs->xOpen(real_vfs, name, file, flags, out);
    if (!file->pMethods) return rc;
    while (__atomic_test_and_set(&lock, __ATOMIC_ACQUIRE)) {}
    int i = 0;
    while (i < tables_count && tables[i].real != file->pMethods) i++;
    if (i == tables_count) {
        if (tables_count == (int)(sizeof tables / sizeof tables[0])) abort();
        tables[i] = {file->pMethods, *file->pMethods};
        replace(&tables[i].ours);
        tables_count++;
    }
    file->pMethods = &tables[i].ours;
    __atomic_clear(&lock, __ATOMIC_RELEASE);
    return rc;
}

int __wrap_sqlite3_initialize() {
    int rc = __real_sqlite3_initialize();
    if (rc != SQLITE_OK || real_vfs) return rc;
    const char *text = getenv("SLOW_SYNC_MS");
    sync_ms = text ? strtol(text, nullptr, 10) : 0;
    real_vfs = sqlite3_vfs_find(nullptr);
    slow_vfs = *real_vfs;
    slow_vfs.zName = "slow";
    slow_vfs.xOpen = open_file;
    return sqlite3_vfs_register(&slow_vfs, 1);
}
