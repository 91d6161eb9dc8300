// seed: makes a data folder as a server leaves it after years, in seconds: accounts, rooms and up to many millions of messages. The
// program's own code makes the schema, then the rows go straight into SQLite: dense revs, as the store would have given them. For
// `make bench` only.
//   seed DIR [--users N] [--rooms R --each M] [--messages K] [--text BYTES] [--tokens FILE] [--wal MIB]
// Account i is `user<i>` with the password `a measured word`; everybody is in the lobby and in M of the R rooms, each room gets as
// many members as the others. One session each, its token in FILE. The messages are in the lobby. --wal ends as `kill -9` does:
// with a write-ahead log of that size that nobody has written back.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/crypto.h"
#include "base/embedded.h"
#include "store/store.h"

namespace {

constexpr char password[] = "a measured word";
constexpr uint64_t password_memory_kib = 19 * 1024, password_ops = 2; // as by default: nobody's hash is renewed at a login

sqlite3 *db;
int64_t rev;
int64_t now_ms;

[[noreturn]] void fail(const char *what) {
    fprintf(stderr, "seed: %s: %s\n", what, db != nullptr ? sqlite3_errmsg(db) : strerror(errno));
    exit(1);
}

void run(const char *sql) {
    if (sqlite3_exec(db, sql, nullptr, nullptr, nullptr) != SQLITE_OK) fail(sql);
}

int64_t value(const char *sql) {
    sqlite3_stmt *s = nullptr;
    if (sqlite3_prepare_v2(db, sql, -1, &s, nullptr) != SQLITE_OK || sqlite3_step(s) != SQLITE_ROW) fail(sql);
    int64_t v = sqlite3_column_int64(s, 0);
    sqlite3_finalize(s);
    return v;
}

sqlite3_stmt *prepare(const char *sql) {
    sqlite3_stmt *s = nullptr;
    if (sqlite3_prepare_v2(db, sql, -1, &s, nullptr) != SQLITE_OK) fail(sql);
    return s;
}

void step(sqlite3_stmt *s) {
    if (sqlite3_step(s) != SQLITE_DONE) fail("insert");
    sqlite3_reset(s);
}

void text(sqlite3_stmt *s, int at, const char *bytes, int n = -1) { sqlite3_bind_text(s, at, bytes, n, SQLITE_STATIC); }

void schema_make(const char *dir) {
    Buf error;
    Store *store = store_open({.dir = dir, .fix_memory_bound = false}, nullptr, nullptr, &error);
    if (store == nullptr) {
        fprintf(stderr, "seed: %.*s\n", (int)error.len, error.data);
        exit(1);
    }
    store_close(store);
}

void members_add(sqlite3_stmt *insert, int64_t room, int64_t user) {
    sqlite3_bind_int64(insert, 1, room);
    sqlite3_bind_int64(insert, 2, user);
    sqlite3_bind_int64(insert, 3, ++rev);
    step(insert);
}

void accounts_add(int64_t users, int64_t rooms, int64_t each, const char *tokens) {
    FILE *file = tokens == nullptr ? nullptr : fopen(tokens, "we");
    if (tokens != nullptr && file == nullptr) fail(tokens);
    char hash[password_hash_max];
    if (!password_hash(password, password_memory_kib, password_ops, hash)) fail("no memory for a password");
    sqlite3_stmt *user = prepare("INSERT INTO users (id, rev, name, name_key, role, created, password) VALUES (?1, ?2, ?3, ?3, 0, ?4, ?5)"),
                 *session = prepare("INSERT INTO sessions (user, token_hash, created, last_used, agent, address) VALUES (?1, ?2, ?3, ?3, 'bench', '127.0.0.1')"),
                 *member = prepare("INSERT INTO members (room, user, rev, seen) VALUES (?1, ?2, ?3, 0)"),
                 *room = prepare("INSERT INTO rooms (id, rev, kind, name, name_key, topic, private, owner) VALUES (?1, ?2, 0, ?3, ?3, '', 0, 1)");
    for (int64_t i = 1; i <= users; i++) {
        char name[32], token[uuid_chars + 1];
        unsigned char hashed[hash_bytes];
        snprintf(name, sizeof name, "user%lld", (long long)i);
        sqlite3_bind_int64(user, 1, i);
        sqlite3_bind_int64(user, 2, ++rev);
        text(user, 3, name);
        sqlite3_bind_int64(user, 4, now_ms);
        text(user, 5, hash);
        step(user);
        members_add(member, 1, i);
        uuid_make(token);
        token_hash(token, hashed);
        sqlite3_bind_int64(session, 1, i);
        sqlite3_bind_blob(session, 2, hashed, sizeof hashed, SQLITE_STATIC);
        sqlite3_bind_int64(session, 3, now_ms);
        step(session);
        if (file != nullptr) fprintf(file, "%s\n", token);
    }
    for (int64_t r = 0; r < rooms; r++) {
        char name[32];
        snprintf(name, sizeof name, "room%lld", (long long)r);
        sqlite3_bind_int64(room, 1, r + 2);
        sqlite3_bind_int64(room, 2, ++rev);
        text(room, 3, name);
        step(room);
    }
    // Person i is in rooms i, i + stride, …: with rooms / each as the stride every room gets as many members as the others, and two
    // people share few rooms.
    for (int64_t i = 0; i < users; i++)
        for (int64_t k = 0; k < each && rooms > 0; k++) members_add(member, (i + k * (rooms / (each < rooms ? each : rooms))) % rooms + 2, i + 1);
    if (file != nullptr) fclose(file);
    for (sqlite3_stmt *s : {user, session, member, room}) sqlite3_finalize(s);
}

void messages_add(int64_t count, int64_t users, int text_bytes, const char *wal, int64_t wal_bytes) {
    sqlite3_stmt *insert = prepare("INSERT INTO messages (id, rev, room, sender, time, reply, nonce, text) VALUES (?1, ?1, 1, ?2, ?3, 0, ?4, ?5)");
    char words[16384];
    for (int i = 0; i < (int)sizeof words; i++) words[i] = "some words as people write them in a chat "[i % 42];
    for (int64_t i = 0; wal != nullptr || i < count; i++) {
        char nonce[24];
        int n = snprintf(nonce, sizeof nonce, "s%llx", (unsigned long long)rev);
        sqlite3_bind_int64(insert, 1, ++rev);
        sqlite3_bind_int64(insert, 2, i % users + 1);
        sqlite3_bind_int64(insert, 3, now_ms + i);
        sqlite3_bind_blob(insert, 4, nonce, n, SQLITE_STATIC);
        text(insert, 5, words + i % 42, text_bytes);
        step(insert);
        if (wal == nullptr || i % 100 != 99) continue;
        run("UPDATE meta SET value = max(value, (SELECT max(id) FROM messages)) WHERE key = 'rev'; COMMIT; BEGIN");
        struct stat st;
        if (stat(wal, &st) == 0 && st.st_size >= wal_bytes) break;
    }
    sqlite3_finalize(insert);
}

// As the program has them, whatever it calls them: an index is quicker made from all rows at once than row by row.
size_t indexes_take(char *sql, size_t cap) {
    sqlite3_stmt *s = prepare("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = 'messages' AND sql IS NOT NULL");
    size_t len = 0, drops_len = 0;
    char drops[2048];
    while (sqlite3_step(s) == SQLITE_ROW) {
        len += (size_t)snprintf(sql + len, cap - len, "%s;\n", (const char *)sqlite3_column_text(s, 1));
        drops_len += (size_t)snprintf(drops + drops_len, sizeof drops - drops_len, "DROP INDEX %s;", (const char *)sqlite3_column_text(s, 0));
    }
    sqlite3_finalize(s);
    if (len >= cap || drops_len >= sizeof drops) fail("too many indexes");
    if (drops_len > 0) run(drops);
    return len;
}

} // namespace

int main(int argc, char **argv) {
    long long users = 1, rooms = 0, each = 0, messages = 0, bytes = 100, wal_mib = 0;
    const char *tokens = nullptr;
    for (int i = 2; i + 1 < argc; i += 2) {
        struct { const char *name; long long *into; } numbers[] = {{"--users", &users}, {"--rooms", &rooms}, {"--each", &each},
            {"--messages", &messages}, {"--text", &bytes}, {"--wal", &wal_mib}};
        bool known = strcmp(argv[i], "--tokens") == 0;
        if (known) tokens = argv[i + 1];
        for (auto &n : numbers)
            if (strcmp(n.name, argv[i]) == 0) known = true, *n.into = atoll(argv[i + 1]);
        if (!known) argc = 0;
    }
    if (argc < 2 || argc % 2 != 0 || users < 1 || bytes < 1 || bytes > 16000 || each > rooms) {
        fprintf(stderr, "usage: seed DIR [--users N] [--rooms R --each M] [--messages K] [--text BYTES] [--tokens FILE] [--wal MIB]\n");
        return 2;
    }
    if (!crypto_start()) fail("no random numbers");
    now_ms = (int64_t)time(nullptr) * 1000 - 3600'000;
    schema_make(argv[1]);
    char path[4096], wal[4096 + 8], indexes[8192];
    snprintf(path, sizeof path, "%s/chatterbox.db", argv[1]);
    snprintf(wal, sizeof wal, "%s-wal", path);
    if (sqlite3_open(path, &db) != SQLITE_OK) fail(path);
    run("PRAGMA journal_mode = DELETE; PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; "
        "PRAGMA cache_size = -262144; PRAGMA temp_store = FILE");
    rev = value("SELECT value FROM meta WHERE key = 'rev'");
    run("BEGIN");
    accounts_add(users, rooms, each, tokens);
    size_t indexed = indexes_take(indexes, sizeof indexes);
    messages_add(messages, users, (int)bytes, nullptr, 0);
    if (indexed > 0) run(indexes);
    char last[100];
    snprintf(last, sizeof last, "UPDATE meta SET value = %lld WHERE key = 'rev'; COMMIT", (long long)rev);
    run(last);
    run("PRAGMA locking_mode = NORMAL; PRAGMA journal_mode = WAL");
    if (wal_mib > 0) {
        run("PRAGMA wal_autocheckpoint = 0; BEGIN");
        messages_add(0, users, (int)bytes, wal, wal_mib << 20);
        _exit(0); // without a word to SQLite, which would tidy up
    }
    if (sqlite3_close(db) != SQLITE_OK) fail("close");
    printf("%lld\n", (long long)rev);
    return 0;
}
