// Whole databases: backup and restore, the check, schema steps and the copy made before them; the plans of all statements.
#include "store_world.h"

#include <sys/stat.h>

#include "base/embedded.h"
#include "store/db.h"
#include "store/state.h"

static World world;
static int64_t anna;
constexpr int64_t lobby = 1;

static int setup(void **) {
    world_make(world);
    anna = user_make(world, "anna");
    return 0;
}

static int teardown(void **) {
    world_remove(world);
    return 0;
}

static bool exists(const char *name) {
    char path[256];
    world_path(world, name, path);
    return access(path, F_OK) == 0;
}

static void rename_in_world(const char *from, const char *to) {
    char old_path[256], new_path[256];
    world_path(world, from, old_path);
    world_path(world, to, new_path);
    assert_int_equal(rename(old_path, new_path), 0);
}

// --- backup

struct Backup {
    char path[256];
    bool good;
    ScopedBuf error;
    bool is_done;
};

static void backup_run(void *argument) {
    Backup *b = (Backup *)argument;
    b->good = store_backup(world.dir, b->path, &b->error);
    buf_add_char(b->error, 0);
    __atomic_store_n(&b->is_done, true, __ATOMIC_RELEASE);
}

static void backup_to(Backup &b, const char *name) {
    buf_clear(b.error);
    world_path(world, name, b.path);
    backup_run(&b);
}

static void a_backup_restores_under_a_new_epoch(void **) {
    int64_t kept = post(world, anna, lobby, "kept", "n");
    char epoch[64];
    snprintf(epoch, sizeof epoch, "%s", store_epoch(world.s));
    Backup b = {};
    backup_to(b, "copy.db");
    check(b.good, "%s", b.error.data);
    post(world, anna, lobby, "lost");
    char path[256];
    world_path(world, "copy.db", path);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_false(exists("copy.db.part") || exists("copy.db.part-journal"));
    // Restoring: stop, put the file in its place, start.
    world_close(world);
    rename_in_world("copy.db", "chatterbox.db");
    world_open(world);
    assert_int_equal(store_rev(world.s), kept);
    assert_string_not_equal(store_epoch(world.s), epoch);
    assert_int_equal(strlen(store_epoch(world.s)), 36);
    StoreWrite *w = did(world, a_post(anna, lobby, "kept", "n"));
    assert_true(w->is_repeat);
    assert_int_equal(w->changes[0].message.id, kept);
    store_write_free(w);
    ScopedBuf report;
    assert_true(store_check(world.s, &report));
}

// A killed server leaves its write-ahead log behind, which does not belong to the backup.
static void a_backup_restores_after_a_crash(void **) {
    int64_t kept = post(world, anna, lobby, "kept");
    Backup b = {};
    backup_to(b, "copy.db");
    world_close(world);
    fflush(nullptr);
    pid_t child = fork();
    if (child == 0) {
        world_open(world);
        for (int i = 0; i < 50; i++) post(world, anna, lobby, "after the backup");
        _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    assert_true(exists("chatterbox.db-wal"));
    rename_in_world("copy.db", "chatterbox.db");
    world_open(world);
    assert_int_equal(store_rev(world.s), kept);
    assert_int_equal(sql_value(world, "SELECT count(*) FROM messages"), 1);
    ScopedBuf report;
    bool is_sound = store_check(world.s, &report);
    check(is_sound, "%.*s", (int)report.len, report.data);
}

static void a_backup_never_replaces_a_file(void **) {
    Backup b = {};
    backup_to(b, "chatterbox.db");
    assert_false(b.good);
    check(strstr(b.error.data, "there is a file of that name already") != nullptr, "%s", b.error.data);
    backup_to(b, "no/such/folder.db");
    assert_false(b.good);
    check(strstr(b.error.data, "No such file or directory") != nullptr, "%s", b.error.data);
    post(world, anna, lobby, "goes on");
}

static void writes_go_on_while_a_backup_runs(void **) {
    static StoreWrite *posts[2000];
    for (StoreWrite *&w : posts) say(world, w = a_post(anna, lobby, "some text of which there will be much in the end, so that the copy takes its time"));
    world_settle(world);
    for (StoreWrite *w : posts) store_write_free(w);
    Backup b = {};
    world_path(world, "copy.db", b.path);
    uv_thread_t other;
    store_copying(world.s, true);
    assert_int_equal(uv_thread_create(&other, backup_run, &b), 0);
    do {
        post(world, anna, lobby, "meanwhile");
        uv_run(&world.loop, UV_RUN_NOWAIT);
    } while (!__atomic_load_n(&b.is_done, __ATOMIC_ACQUIRE));
    assert_int_equal(uv_thread_join(&other), 0);
    store_copying(world.s, false);
    check(b.good, "%s", b.error.data);
    assert_true(sql_value(world, "SELECT count(*) FROM messages") > 2000);
}

static void nobody_need_be_at_work_for_a_backup(void **) {
    int64_t kept = post(world, anna, lobby, "kept");
    world_close(world);
    Backup b = {};
    backup_to(b, "copy.db");
    check(b.good, "%s", b.error.data);
    rename_in_world("copy.db", "chatterbox.db");
    world_open(world);
    assert_int_equal(store_rev(world.s), kept);
}

// --- the check

static void the_check_finds_what_is_wrong(void **) {
    int64_t first = post(world, anna, lobby, "one");
    post(world, anna, lobby, "two");
    ScopedBuf report;
    assert_true(store_check(world.s, &report));
    assert_int_equal(report.len, 0);
    world_close(world);
    struct Row {
        const char *harm, *undo, *finding;
    } rows[] = {
        {"UPDATE messages SET sender = 99 WHERE text = 'one'", "UPDATE messages SET sender = 1 WHERE text = 'one'", "1 messages have a sender that is no user"},
        {"UPDATE messages SET room = 99 WHERE text = 'one'", "UPDATE messages SET room = 1 WHERE text = 'one'", "1 messages are in no room"},
        {"UPDATE meta SET value = value - 1 WHERE key = 'rev'", "UPDATE meta SET value = value + 1 WHERE key = 'rev'", "1 changes are newer than the log's end"},
        {"UPDATE meta SET value = value + 1 WHERE key = 'rev'", "UPDATE meta SET value = value - 1 WHERE key = 'rev'", "end of the log is missing"},
        {"UPDATE messages SET deleted = 1 WHERE text = 'one'", "UPDATE messages SET deleted = 0 WHERE text = 'one'", "1 deleted messages still have a text"},
        {"UPDATE members SET gone = 1", "UPDATE members SET gone = 0", "1 users are not in the lobby"},
        {"UPDATE users SET rev = 1", "UPDATE users SET rev = 2", "1 changes share their place in the log"},
    };
    for (const Row &row : rows) {
        sql_run(world, row.harm);
        world_open(world);
        buf_clear(report);
        check(!store_check(world.s, &report), "%s: not found", row.harm);
        buf_add_char(report, 0);
        check(strstr(report.data, row.finding) != nullptr, "%s: \"%s\"", row.harm, report.data);
        world_close(world);
        sql_run(world, row.undo);
    }
    // A byte of an index page: SQLite's own check.
    char path[256];
    world_path(world, "chatterbox.db", path);
    int64_t page = sql_value(world, "SELECT rootpage FROM sqlite_schema WHERE name = 'messages_room'");
    FILE *file = fopen(path, "r+");
    assert_non_null(file);
    fseek(file, (long)(page * 4096 - 3), SEEK_SET);
    fputc((int)first, file);
    fputc(0x55, file);
    fclose(file);
    world_open(world);
    buf_clear(report);
    assert_false(store_check(world.s, &report));
    assert_true(report.len > 0);
}

// --- schema steps

static const char one_step[] = "-- head\n\n-- migration 1\nCREATE TABLE meta (key TEXT PRIMARY KEY, value ANY) STRICT;\n"
                               "INSERT INTO meta VALUES ('epoch', 'e'), ('clean', 1);\nCREATE TABLE t (a INTEGER);\nINSERT INTO t VALUES (1);\n";
static const char two_steps[] = "-- head\n\n-- migration 1\nCREATE TABLE meta (key TEXT PRIMARY KEY, value ANY) STRICT;\n"
                                "INSERT INTO meta VALUES ('epoch', 'e'), ('clean', 1);\nCREATE TABLE t (a INTEGER);\nINSERT INTO t VALUES (1);\n"
                                "\n-- migration 2\nALTER TABLE t ADD COLUMN b INTEGER NOT NULL DEFAULT 7;\nUPDATE t SET a = a + 1;\n";
static const char bad_step[] = "-- head\n\n-- migration 1\nCREATE TABLE meta (key TEXT PRIMARY KEY, value ANY) STRICT;\n"
                               "INSERT INTO meta VALUES ('epoch', 'e'), ('clean', 1);\nCREATE TABLE t (a INTEGER);\nINSERT INTO t VALUES (1);\n"
                               "\n-- migration 2\nUPDATE t SET a = a + 1;\nALTER TABLE nothing ADD COLUMN b;\n";

static bool migrate(const char *name, const char *schema, Buf *error) {
    char path[256];
    world_path(world, name, path);
    FILE *file = fopen(path, "a"); // the store makes the file before SQLite opens it
    assert_non_null(file);
    fclose(file);
    Db db;
    assert_true(db_open(db, path, DbMode::write, error));
    bool is_done = db_migrate(db, path, schema, error);
    db_close(db, true);
    return is_done;
}

static int64_t value_in(const char *name, const char *sql) {
    char path[256];
    world_path(world, name, path);
    Db db;
    ScopedBuf error;
    assert_true(db_open(db, path, DbMode::read, &error));
    int64_t value = db_value(db, sql);
    db_close(db, false);
    return value;
}

static void steps_run_once_and_after_a_copy(void **) {
    ScopedBuf error;
    assert_true(migrate("m.db", one_step, &error));
    assert_false(exists("m.db.before-1")); // there was nothing to lose
    assert_true(migrate("m.db", one_step, &error));
    assert_int_equal(value_in("m.db", "SELECT a FROM t"), 1);
    assert_true(migrate("m.db", two_steps, &error));
    assert_int_equal(value_in("m.db", "SELECT a * 10 + b FROM t"), 27);
    assert_int_equal(value_in("m.db", "PRAGMA user_version"), 2);
    assert_int_equal(value_in("m.db.before-2", "SELECT a FROM t"), 1);
    assert_int_equal(value_in("m.db.before-2", "PRAGMA user_version"), 1);
    assert_int_equal(value_in("m.db.before-2", "SELECT value = '' FROM meta WHERE key = 'epoch'"), 1);
    assert_true(migrate("new.db", two_steps, &error)); // a new one takes all steps
    assert_int_equal(value_in("new.db", "SELECT a FROM t"), 2);
    assert_false(exists("new.db.before-2"));
}

// Memory is bounded, and what is sorted for an index is not.
static void an_index_larger_than_memory_is_made(void **) {
    ScopedBuf error, first;
    std::string_view all = embedded_schema;
    buf_add(first, all.substr(0, all.find("\n-- migration 2\n")));
    buf_add_char(first, 0);
    assert_true(migrate("m.db", first.data, &error));
    char path[256];
    world_path(world, "m.db", path);
    Db db;
    assert_true(db_open(db, path, DbMode::write, &error));
    assert_true(db_exec(db, "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < 60000) INSERT INTO messages (id, rev, room, sender, time, reply, nonce, text) "
                            "SELECT i, i, 1, i % 20, i, 0, CAST(printf('%08x-%d', i * 2654435761 % 4294967296, i) AS BLOB), 'text' FROM n"));
    db_close(db, true);
    // The pieces that were sorted are opened together, so a database that is large enough needs more than any bound: here, than what is left.
    void *taken[64];
    size_t count = 0;
    while (count < 64 && (taken[count] = sqlite3_malloc(64 * 1024)) != nullptr) count++;
    assert_in_range(count, 8, 63);
    for (int i = 0; i < 3; i++) sqlite3_free(taken[--count]);
    check(migrate("m.db", embedded_schema, &error), "%s", error.data);
    assert_null(sqlite3_malloc(512 * 1024)); // and it is bounded again
    while (count > 0) sqlite3_free(taken[--count]);
    assert_int_equal(value_in("m.db", "SELECT count(*) FROM messages INDEXED BY messages_nonce WHERE nonce IS NOT NULL"), 59999);
    assert_int_equal(value_in("m.db", "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'"), 0);
}

static void a_step_that_fails_changes_nothing(void **) {
    ScopedBuf error;
    assert_true(migrate("m.db", one_step, &error));
    assert_false(migrate("m.db", bad_step, &error));
    buf_add_char(error, 0);
    check(strstr(error.data, "could not be brought to version 2") != nullptr, "%s", error.data);
    assert_int_equal(value_in("m.db", "SELECT a FROM t"), 1);
    assert_int_equal(value_in("m.db", "PRAGMA user_version"), 1);
    buf_clear(error);
    assert_true(migrate("m.db", two_steps, &error)); // the mended program
}

// However often it is started, and however many steps there have been: the copies are two at most, and whole.
static void copies_before_a_step_do_not_pile_up(void **) {
    ScopedBuf error, schema;
    assert_true(migrate("m.db", one_step, &error));
    for (int i = 0; i < 3; i++) assert_false(migrate("m.db", bad_step, &error));
    assert_int_equal(value_in("m.db.before-2", "SELECT a FROM t"), 1);
    assert_int_equal(value_in("m.db.before-2", "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check = 'ok'"), 1);
    assert_false(exists("m.db.before-3") || exists("m.db.before-2.part"));
    assert_true(migrate("m.db", two_steps, &error)); // the mended program
    buf_add(schema, two_steps);
    for (int step = 3; step < 7; step++) {
        char text[100], copy[32];
        snprintf(text, sizeof text, "\n-- migration %d\nUPDATE t SET a = a + 1;\n", step);
        buf_add(schema, text);
        ScopedBuf whole;
        buf_add(whole, buf_view(schema));
        buf_add_char(whole, 0);
        for (int i = 0; i < 2; i++) assert_true(migrate("m.db", whole.data, &error)); // the second time there is nothing to do
        snprintf(copy, sizeof copy, "m.db.before-%d", step);
        assert_true(exists(copy));
    }
    assert_int_equal(value_in("m.db.before-6", "SELECT a FROM t"), 5);
    assert_true(exists("m.db.before-5"));
    assert_false(exists("m.db.before-2") || exists("m.db.before-3") || exists("m.db.before-4"));
}

static void a_newer_database_is_refused(void **) {
    ScopedBuf error;
    assert_true(migrate("m.db", two_steps, &error));
    assert_false(migrate("m.db", one_step, &error));
    buf_add_char(error, 0);
    check(strstr(error.data, "was written by a newer ChatterBox (its version is 2, this program knows 1)") != nullptr, "%s", error.data);
    check(strstr(error.data, "before-2") == nullptr, "there is no copy: %s", error.data);
    // Where the newer program has made a copy, it is named.
    buf_clear(error);
    assert_true(migrate("old.db", one_step, &error));
    assert_true(migrate("old.db", two_steps, &error));
    assert_false(migrate("old.db", one_step, &error));
    buf_add_char(error, 0);
    check(strstr(error.data, "old.db.before-2 in its place") != nullptr, "%s", error.data);
}

// A sync that could not be made is no sync.
static void what_is_not_there_is_not_synced(void **) {
    char path[256];
    world_path(world, "chatterbox.db", path);
    assert_true(db_sync(path));
    world_path(world, "nothing", path);
    assert_false(db_sync(path));
}

// --- statements

static const struct {
    const char *name, *text;
} statements[] = {
#define X(name, text) {#name, text},
    CB_SQL(X)
#undef X
};

// With ten million messages each statement still finds its rows by an index, in the order it gives them.
static void no_statement_walks_through_a_table(void **) {
    char path[256];
    world_path(world, "chatterbox.db", path);
    sqlite3 *handle = nullptr;
    assert_int_equal(sqlite3_open_v2(path, &handle, SQLITE_OPEN_READWRITE, nullptr), SQLITE_OK);
    for (const auto &row : statements) {
        // Loading is a walk; there is one administrator's invitation.
        bool may_scan = strncmp(row.name, "load_", 5) == 0 || strcmp(row.name, "invites_clear") == 0;
        char sql[2048];
        snprintf(sql, sizeof sql, "EXPLAIN QUERY PLAN %s", row.text);
        sqlite3_stmt *statement = nullptr;
        check(sqlite3_prepare_v2(handle, sql, -1, &statement, nullptr) == SQLITE_OK, "%s: %s", row.name, sqlite3_errmsg(handle));
        while (sqlite3_step(statement) == SQLITE_ROW) {
            const char *plan = reinterpret_cast<const char *>(sqlite3_column_text(statement, 3));
            bool is_walk = strncmp(plan, "SCAN ", 5) == 0 && !strstr(plan, "users_admins") && !strstr(plan, "(subquery");
            check(may_scan || !is_walk, "%s: %s", row.name, plan);
            check(!strstr(plan, "TEMP B-TREE"), "%s: %s", row.name, plan);
        }
        sqlite3_finalize(statement);
    }
    sqlite3_close(handle);
}

#define in_world(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main() {
    const struct CMUnitTest tests[] = {
        in_world(a_backup_restores_under_a_new_epoch),
        in_world(a_backup_restores_after_a_crash),
        in_world(a_backup_never_replaces_a_file),
        in_world(writes_go_on_while_a_backup_runs),
        in_world(nobody_need_be_at_work_for_a_backup),
        in_world(the_check_finds_what_is_wrong),
        in_world(steps_run_once_and_after_a_copy),
        in_world(an_index_larger_than_memory_is_made),
        in_world(a_step_that_fails_changes_nothing),
        in_world(copies_before_a_step_do_not_pile_up),
        in_world(a_newer_database_is_refused),
        in_world(what_is_not_there_is_not_synced),
        in_world(no_statement_walks_through_a_table),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
