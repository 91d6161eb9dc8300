// The store's own door to SQLite: a connection with its prepared statements, a query, and what a failure means. Nobody outside src/store
// includes this. A Db is used by one thread at a time; whoever hands it to another thread does so through a lock (the worker's queue).
#pragma once

#include <sqlite3.h>

#include "base/arena.h"
#include "store/sql.h"
#include "store/store.h"

enum class Sql : uint8_t {
#define X(name, text) name,
    CB_SQL(X)
#undef X
    count
};

// What a failed statement means for what was asked, worst last.
enum class Failure : uint8_t {
    none,
    rule,    // a constraint that the operation should have looked at before: our mistake, this operation alone fails
    passing, // out of memory, locked by a stranger: the transaction is gone, a later one may pass
    full,    // no space: the transaction is gone, going on is fine
    broken,  // I/O error, corrupt page, failed fsync: what is on the disk is not known
};

struct Db {
    sqlite3 *handle = nullptr;
    sqlite3_stmt *statements[(int)Sql::count] = {};
    Failure failure = Failure::none; // the worst since db_forgive
    bool is_damaged = false;         // a file that is no database, or whose pages make no sense, was ever met
    char reason[160] = "";           // of that one, for the log
};

constexpr int db_page_bytes = 4096;

enum class DbMode : uint8_t {
    read,
    write,
    alone, // read, with no look at its log and no lock: nobody writes, and there is no log, or it is not its own
};

// Once before the first connection; later calls do nothing. With `bounded` SQLite gets a static heap where it was built for one.
void db_start(bool bounded);
// While it may grow, what that heap has no room for comes from the C library: a schema step's index, whose sorted pieces SQLite opens all at once. Before any thread.
void db_memory_grows(bool grows);
// False, with a sentence in *error. The database file exists already (mode 0600; SQLite gives its companions the same).
bool db_open(Db &db, const char *path, DbMode mode, Buf *error);
// Without `checkpoint` the write-ahead log is left as it is, for the next opening to verify and recover.
void db_close(Db &db, bool checkpoint);
inline void db_forgive(Db &db) { db.failure = Failure::none; }
// Notes that a call on this connection ended with the SQLite result `rc`; errno was 0 before it and is still the call's.
void db_note(Db &db, int rc, const char *what);
// Runs one or more statements that are not worth keeping: pragmas, schema steps.
bool db_exec(Db &db, const char *sql);
// The one value of a pragma or a query, -1 when it fails.
int64_t db_value(Db &db, const char *sql);
// Whether the first column of its first row is this text.
bool db_says(Db &db, const char *sql, std::string_view text);

// --- queries

struct Blob {
    const void *data; // null: NULL
    size_t size;
};

void db_bind(sqlite3_stmt *statement, int at, int64_t value);
void db_bind(sqlite3_stmt *statement, int at, std::string_view text); // not copied: it stays until the query ends
void db_bind(sqlite3_stmt *statement, int at, Blob blob);
sqlite3_stmt *db_statement(Db &db, Sql sql); // null when it can't be prepared, which is noted

// A prepared statement while it runs: bound when made, reset at the end of the scope. One of each Sql at a time.
struct Query {
    Db &db;
    sqlite3_stmt *statement;

    template <class... Values>
    Query(Db &on, Sql sql, Values... values) : db(on), statement(db_statement(on, sql)) {
        int at = 0;
        (db_bind(statement, ++at, values), ...);
    }
    Query(const Query &) = delete;
    Query &operator=(const Query &) = delete;
    ~Query() { sqlite3_reset(statement); }
};

// True: a row is there. False: no more, or a failure, which is noted. Behind one that is more than a rule nothing is run until db_forgive: SQLite may have rolled the transaction back by
// itself, and what came then would each be committed alone.
bool query_step(Query &q);
inline int64_t query_int(const Query &q, int column) { return sqlite3_column_int64(q.statement, column); }
inline bool query_is_null(const Query &q, int column) { return sqlite3_column_type(q.statement, column) == SQLITE_NULL; }
std::string_view query_text(const Query &q, int column); // text or blob; good until the next step

// Runs a statement that gives no rows; how many it changed.
template <class... Values>
int64_t db_run(Db &db, Sql sql, Values... values) {
    Query q(db, sql, values...);
    query_step(q);
    return sqlite3_changes(db.handle);
}
// Ends a transaction, COMMIT or ROLLBACK, whatever failed in it; nothing where none is open.
void db_end(Db &db, Sql how);
// The first column of the first row, or `none`.
template <class... Values>
int64_t db_get(Db &db, Sql sql, int64_t none, Values... values) {
    Query q(db, sql, values...);
    return query_step(q) ? query_int(q, 0) : none;
}

// --- rows (rows.cpp): from the columns SQL_MESSAGE … of sql.h, beginning with the first; strings are copied into the arena

void row_message(const Query &q, Arena &arena, MessageRow *out);
void row_user(const Query &q, Arena &arena, UserRow *out);
void row_room(const Query &q, Arena &arena, RoomRow *out);
void row_member(const Query &q, MemberRow *out);
void row_session(const Query &q, Arena &arena, SessionRow *out);
constexpr int message_columns = 11, user_columns = 10, room_columns = 8;
Blob mentions_encode(Arena &arena, const int64_t *ids, uint32_t count);
bool mentions_hold(std::string_view blob, int64_t user);

// --- log_file.cpp

// Puts a layer below SQLite that gathers what is written to the write-ahead log. Once, after sqlite3_initialize.
void log_file_start();

// --- migrate.cpp

// The number of the last step of `schema` (the text of schema.sql).
int db_schema_version(const char *schema);
// Brings the database up to it. An older one that is not new is copied first, to PATH.before-N, where N is the first step it lacks; of such copies the two newest
// are kept.
bool db_migrate(Db &db, const char *path, const char *schema, Buf *error);
// A consistent copy of the database at `path`, where there must be nothing, with an empty epoch, fsynced; until it is whole it is called PATH.part. False, with a sentence in *error, and
// nothing is left behind.
bool db_copy(Db &db, const char *path, Buf *error);
// The file at `path` and its entry in its folder survive power loss after this.
bool db_sync(const char *path);
bool db_sync_folder_of(const char *path);
