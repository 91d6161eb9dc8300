// crash-log DIR AFTER: what the log of a database holds behind the rev AFTER, without a server and without the program's code: SQLite alone. First a line
// `end COUNT`: the rev of the log's end, and how many messages there are in all; then a line for each message, by id:
// id, rev, sender's name, time, edited, deleted, nonce and text, with tabs between. What the tests write holds no tabs and no line feeds.
#include <stdio.h>
#include <stdlib.h>

#include <sqlite3.h>

static sqlite3 *db;

[[noreturn]] static void fail(const char *what) {
    fprintf(stderr, "crash-log: %s: %s\n", what, sqlite3_errmsg(db));
    exit(1);
}

static sqlite3_stmt *prepare(const char *sql) {
    sqlite3_stmt *s = nullptr;
    if (sqlite3_prepare_v2(db, sql, -1, &s, nullptr) != SQLITE_OK) fail(sql);
    return s;
}

static void print_line(sqlite3_stmt *s) {
    for (int i = 0, columns = sqlite3_column_count(s); i < columns; i++) {
        if (i > 0) putchar('\t');
        if (sqlite3_column_type(s, i) != SQLITE_NULL) fwrite(sqlite3_column_text(s, i), 1, (size_t)sqlite3_column_bytes(s, i), stdout);
    }
    putchar('\n');
}

// True unless the query failed.
static bool print_all(sqlite3_stmt *s) {
    int rc;
    while ((rc = sqlite3_step(s)) == SQLITE_ROW) print_line(s);
    return rc == SQLITE_DONE && sqlite3_finalize(s) == SQLITE_OK;
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: crash-log DIR AFTER\n");
        return 2;
    }
    char path[1024];
    snprintf(path, sizeof path, "%s/chatterbox.db", argv[1]);
    // Not read-only: what a crash has left of the write-ahead log is to be taken in.
    if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, nullptr) != SQLITE_OK) fail(path);
    sqlite3_busy_timeout(db, 5000);
    if (sqlite3_exec(db, "BEGIN", nullptr, nullptr, nullptr) != SQLITE_OK) fail("begin");
    if (!print_all(prepare("SELECT (SELECT value FROM meta WHERE key = 'rev'), (SELECT count(*) FROM messages)"))) fail("end");
    // Two queries of which each has an index, instead of one that reads a million rows.
    sqlite3_stmt *rows = prepare("SELECT m.id, m.rev, u.name, m.time, m.edited, m.deleted, m.nonce, m.text FROM messages m JOIN users u ON u.id = m.sender "
                                 "WHERE m.id IN (SELECT id FROM messages WHERE id > ?1 UNION SELECT id FROM messages WHERE rev > ?1 AND rev <> id) ORDER BY m.id");
    sqlite3_bind_int64(rows, 1, atoll(argv[2]));
    if (!print_all(rows)) fail("messages");
    return 0;
}
