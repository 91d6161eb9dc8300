// Connections to SQLite: how they are opened (pragmas, memory), their prepared statements, and what its result codes mean for us. Owns the static
// memory that SQLite works in. A connection belongs to one thread at a time; db_start runs once, before any thread.
#include "store/db.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <algorithm>

#include "base/assert.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "base/log.h"

// One after the other, and where each begins: a table of pointers would have to be set at each start, and be 34 bytes a row instead of 2.
static constexpr struct {
#define X(name, text) char name[sizeof(text)];
    CB_SQL(X)
#undef X
} sql_texts = {
#define X(name, text) text,
    CB_SQL(X)
#undef X
};
static constexpr uint16_t sql_begins[] = {
#define X(name, text) offsetof(decltype(sql_texts), name),
    CB_SQL(X)
#undef X
};
static_assert(sizeof sql_texts <= UINT16_MAX);

static const char *sql_text(Sql sql) { return reinterpret_cast<const char *>(&sql_texts) + sql_begins[(int)sql]; }

// --- memory

// Pages have places of their own: from the heap each would take 8 KiB, since that heap gives powers of two and a page is 4 KiB and a header. SQLite's own list of
// places (SQLITE_CONFIG_PAGECACHE) would touch all of them at once, half a megabyte and a quarter of a millisecond of each start; these are touched when first used.
constexpr int pages_writer = 64; // an index of nonces at random is hit all over; more pages than these save little, since the kernel has the rest
constexpr int pages_reader = 32;
constexpr int page_places = 112; // both, and a copy being made
constexpr int page_header_max = 512;
constexpr int lookaside_bytes = 640, lookaside_count = 50; // a cursor is 500 to 600 bytes
constexpr int heap_bytes = 2 * 1024 * 1024;
constexpr unsigned sort_pages = 64; // what is sorted beyond these goes to a file (an index made by a schema step); SQLite's 250 do not fit into that heap
alignas(16) static char page_memory[page_places * (db_page_bytes + page_header_max)];
alignas(16) static char heap_memory[heap_bytes];

static sqlite3_mem_methods heap;     // what SQLite would have taken; from here on for all that is no page
static sqlite3_mutex *pages_mutex;   // guards the next two: connections of several threads take pages
static struct FreePage {
    FreePage *next;
} *pages_free;
static int pages_touched;
static int page_place;

// Beyond that heap, where it may grow: blocks of the C library's, each behind its length.
struct Grown {
    alignas(16) int bytes;
};
static bool is_bounded, may_grow;

static bool is_page(const void *p) { return p >= page_memory && p < page_memory + sizeof page_memory; }
static bool is_grown(const void *p) { return is_bounded && !is_page(p) && !(p >= heap_memory && p < heap_memory + sizeof heap_memory); }

static void *heap_take(int bytes) {
    void *p = heap.xMalloc(bytes);
    if (p || !is_bounded || !may_grow) return p;
    auto *grown = static_cast<Grown *>(malloc(sizeof(Grown) + static_cast<size_t>(bytes)));
    if (!grown) return nullptr;
    grown->bytes = bytes;
    return grown + 1;
}

static void *memory_take(int bytes) {
    if (bytes <= db_page_bytes || bytes > page_place) return heap_take(bytes);
    sqlite3_mutex_enter(pages_mutex);
    void *p = pages_free;
    if (p) pages_free = pages_free->next;
    else if (pages_touched < page_places) p = page_memory + page_place * pages_touched++;
    sqlite3_mutex_leave(pages_mutex);
    return p ? p : heap_take(bytes);
}

static void memory_give(void *p) {
    if (is_grown(p)) return free(static_cast<Grown *>(p) - 1);
    if (!is_page(p)) return heap.xFree(p);
    sqlite3_mutex_enter(pages_mutex);
    auto *page = static_cast<FreePage *>(p);
    page->next = pages_free;
    pages_free = page;
    sqlite3_mutex_leave(pages_mutex);
}

static int memory_size(void *p) { return is_page(p) ? page_place : is_grown(p) ? static_cast<Grown *>(p)[-1].bytes : heap.xSize(p); }

static void *memory_resize(void *p, int bytes) {
    int had = memory_size(p);
    if (is_page(p) || is_grown(p)) {
        if (bytes <= had) return p;
    } else if (void *same = heap.xRealloc(p, bytes); same || !may_grow) {
        return same;
    }
    void *more = heap_take(bytes);
    if (!more) return nullptr;
    memcpy(more, p, static_cast<size_t>(std::min(had, bytes)));
    memory_give(p);
    return more;
}

void db_memory_grows(bool grows) { may_grow = grows; }

// Before sqlite3_initialize.
static void give_pages_places() {
    int header = 0;
    sqlite3_config(SQLITE_CONFIG_PCACHE_HDRSZ, &header);
    if (header <= 0 || header > page_header_max || sqlite3_config(SQLITE_CONFIG_GETMALLOC, &heap) != SQLITE_OK || !heap.xMalloc) return;
    page_place = (db_page_bytes + header + 15) & ~15;
    sqlite3_config(SQLITE_CONFIG_PAGECACHE, nullptr, 0, 0); // nor some for each connection in advance
    sqlite3_mem_methods ours = heap;
    ours.xMalloc = memory_take;
    ours.xFree = memory_give;
    ours.xRealloc = memory_resize;
    ours.xSize = memory_size;
    sqlite3_config(SQLITE_CONFIG_MALLOC, &ours);
}

static void sqlite_log(void *, int code, const char *message) {
    // A statement prepared anew after a schema step, and the recovery of a log after a kill, are daily business.
    if (code == SQLITE_SCHEMA || (code & 0xff) == SQLITE_NOTICE || (code & 0xff) == SQLITE_CONSTRAINT) return;
    log_debug("sqlite: %s (%d)", message, code);
}

static int draw(sqlite3_vfs *, int n, char *out) {
    random_bytes(out, (size_t)n);
    return n;
}

void db_start(bool bounded) {
    static bool started = false;
    if (started) return;
    started = true;
    // Each of these is refused where SQLite was built without it; then it works as it was built.
    sqlite3_config(SQLITE_CONFIG_MULTITHREAD);
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
    sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0); // the writer has some (db_open); readers can do without
    sqlite3_config(SQLITE_CONFIG_LOG, sqlite_log, nullptr);
    is_bounded = bounded && sqlite3_config(SQLITE_CONFIG_HEAP, heap_memory, heap_bytes, 64) == SQLITE_OK;
    sqlite3_config(SQLITE_CONFIG_PMASZ, sort_pages);
    give_pages_places();
    sqlite3_initialize();
    pages_mutex = sqlite3_mutex_alloc(SQLITE_MUTEX_STATIC_APP1);
    // Ours at start, since SQLite would read /dev/urandom, which an empty root does not have and a confined process cannot open; else it takes the time.
    sqlite3_vfs_find(nullptr)->xRandomness = draw;
    log_file_start();
}

// --- connections

// The path as SQLite's URI (RFC 3986 §2.1), which can say that nothing but the file itself is to be looked at.
static void put_uri(Buf &out, const char *path) {
    buf_add(out, path[0] == '/' ? "file://" : "file:"); // or what begins with // would be a host
    for (const char *c = path; *c; c++) {
        if (*c == '%' || *c == '?' || *c == '#') buf_printf(out, "%%%02x", static_cast<unsigned char>(*c));
        else buf_add_char(out, *c);
    }
    buf_add(out, "?immutable=1");
    buf_add_char(out, '\0');
}

bool db_open(Db &db, const char *path, DbMode mode, Buf *error) {
    int flags = SQLITE_OPEN_NOMUTEX | (mode == DbMode::write ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY) | (mode == DbMode::alone ? SQLITE_OPEN_URI : 0);
    ScopedBuf uri;
    if (mode == DbMode::alone) put_uri(uri, path);
    db = {};
    int rc = sqlite3_open_v2(mode == DbMode::alone ? uri.data : path, &db.handle, flags, nullptr);
    if (rc != SQLITE_OK) {
        buf_printf(*error, "cannot open %s: %s", path, db.handle ? sqlite3_errmsg(db.handle) : "out of memory");
        db_close(db, false);
        return false;
    }
    sqlite3_extended_result_codes(db.handle, 1);
    // A stranger (a shell, a backup tool) may hold a lock for a moment; the loop must not wait long for it.
    sqlite3_busy_timeout(db.handle, mode == DbMode::write ? 250 : 1000);
    sqlite3_db_config(db.handle, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
    // Each INSERT takes and gives back a cursor for each of its indexes: from the heap that is an eighth of its time.
    if (mode == DbMode::write) sqlite3_db_config(db.handle, SQLITE_DBCONFIG_LOOKASIDE, nullptr, lookaside_bytes, lookaside_count);
    // Not as pragmas, each of which is a statement to be prepared: a start makes do with three. Temporary tables in memory and no mapped files are how SQLite is built.
    sqlite3_db_config(db.handle, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
    sqlite3_wal_autocheckpoint(db.handle, 0); // a checkpoint is the writer's decision
    char pragmas[256];
    snprintf(pragmas, sizeof pragmas, "PRAGMA cache_size=%d; %s", mode == DbMode::write ? pages_writer : pages_reader,
             // What is deleted is overwritten with zeros. The log keeps its length and is written over: a file that grows has the file system's own log synced
             // with it, which doubles the cost of a commit.
             mode == DbMode::write ? "PRAGMA secure_delete=ON; PRAGMA journal_size_limit=16777216" : "");
    if (db_exec(db, pragmas)) return true;
    buf_printf(*error, "cannot open %s: %s", path, db.reason);
    db_close(db, false);
    return false;
}

void db_close(Db &db, bool checkpoint) {
    for (sqlite3_stmt *&statement : db.statements) {
        sqlite3_finalize(statement);
        statement = nullptr;
    }
    if (db.handle) {
        if (!checkpoint) sqlite3_db_config(db.handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
        sqlite3_close(db.handle);
    }
    db.handle = nullptr;
}

// --- failures

// A quota and a limit on file sizes are a full disk to us, and SQLite says I/O error; its sqlite3_system_errno says nothing after a failed
// COMMIT, but errno does. A sync that fails for space has lost pages that were taken already: that is no full disk.
static bool is_no_space(int rc, int error) {
    bool is_growing = rc == SQLITE_IOERR_WRITE || rc == SQLITE_IOERR_SHMSIZE || rc == SQLITE_IOERR_SHMMAP;
    return is_growing && (error == ENOSPC || error == EDQUOT || error == EFBIG);
}

static Failure failure_of(int rc, int error) {
    switch (rc & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE: return Failure::none;
    case SQLITE_CONSTRAINT:
    case SQLITE_MISMATCH:
    case SQLITE_TOOBIG: return Failure::rule;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_NOMEM:
    case SQLITE_INTERRUPT: return Failure::passing;
    case SQLITE_FULL: return Failure::full;
    case SQLITE_IOERR:
        if (rc == SQLITE_IOERR_NOMEM || rc == SQLITE_IOERR_BLOCKED) return Failure::passing;
        return is_no_space(rc, error) ? Failure::full : Failure::broken;
    default: return Failure::broken;
    }
}

void db_note(Db &db, int rc, const char *what) {
    Failure failure = failure_of(rc, errno);
    if ((rc & 0xff) == SQLITE_CORRUPT || (rc & 0xff) == SQLITE_NOTADB) db.is_damaged = true;
    if (failure <= db.failure) return;
    db.failure = failure;
    snprintf(db.reason, sizeof db.reason, "%s: %s (%d)", what, db.handle ? sqlite3_errmsg(db.handle) : "closed", rc);
}

bool db_exec(Db &db, const char *sql) {
    errno = 0;
    int rc = sqlite3_exec(db.handle, sql, nullptr, nullptr, nullptr);
    db_note(db, rc, "sql");
    return rc == SQLITE_OK;
}

int64_t db_value(Db &db, const char *sql) {
    sqlite3_stmt *statement = nullptr;
    int64_t value = -1;
    int rc = sqlite3_prepare_v2(db.handle, sql, -1, &statement, nullptr);
    if (rc == SQLITE_OK) rc = sqlite3_step(statement);
    if (rc == SQLITE_ROW) value = sqlite3_column_int64(statement, 0);
    db_note(db, rc, "sql");
    sqlite3_finalize(statement);
    return value;
}

bool db_says(Db &db, const char *sql, std::string_view text) {
    sqlite3_stmt *statement = nullptr;
    int rc = sqlite3_prepare_v2(db.handle, sql, -1, &statement, nullptr);
    errno = 0;
    if (rc == SQLITE_OK) rc = sqlite3_step(statement);
    const unsigned char *said = rc == SQLITE_ROW ? sqlite3_column_text(statement, 0) : nullptr;
    bool is_so = said && text == reinterpret_cast<const char *>(said);
    db_note(db, rc, "sql");
    sqlite3_finalize(statement);
    return is_so;
}

// --- queries

sqlite3_stmt *db_statement(Db &db, Sql sql) {
    sqlite3_stmt *&statement = db.statements[(int)sql];
    if (statement) return statement;
    if (!db.handle) {
        db_note(db, SQLITE_CANTOPEN, "not open");
        return nullptr;
    }
    int rc = sqlite3_prepare_v3(db.handle, sql_text(sql), -1, SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
    db_note(db, rc, "prepare");
    return statement;
}

void db_bind(sqlite3_stmt *statement, int at, int64_t value) {
    if (statement) sqlite3_bind_int64(statement, at, value);
}

void db_bind(sqlite3_stmt *statement, int at, std::string_view text) {
    // An empty view has a null pointer, which SQLite would take for NULL.
    if (statement) sqlite3_bind_text(statement, at, text.empty() ? "" : text.data(), (int)text.size(), SQLITE_STATIC);
}

void db_bind(sqlite3_stmt *statement, int at, Blob blob) {
    if (statement) sqlite3_bind_blob(statement, at, blob.data, (int)blob.size, SQLITE_STATIC);
}

bool query_step(Query &q) {
    if (!q.statement || q.db.failure > Failure::rule) return false;
    errno = 0;
    int rc = sqlite3_step(q.statement);
    if (rc == SQLITE_ROW) return true;
    if (rc != SQLITE_DONE) db_note(q.db, rc, sqlite3_sql(q.statement));
    return false;
}

void db_end(Db &db, Sql how) {
    if (!db.handle || sqlite3_get_autocommit(db.handle)) return;
    Failure before = db.failure;
    db_forgive(db);
    db_run(db, how);
    if (db.failure < before) db.failure = before;
}

std::string_view query_text(const Query &q, int column) {
    const void *data = sqlite3_column_blob(q.statement, column);
    return {static_cast<const char *>(data), (size_t)sqlite3_column_bytes(q.statement, column)};
}
