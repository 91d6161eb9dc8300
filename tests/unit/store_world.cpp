// The store for unit tests: see store_world.h.
#include "store_world.h"

#include <sqlite3.h>

#include "base/clock.h"
#include "base/crypto.h"

void world_open(World &world) {
    ScopedBuf error;
    StoreOptions options;
    options.dir = world.dir;
    options.durability = world.durability;
    world.s = store_open(options, &world.loop, nullptr, &error);
    check(world.s != nullptr, "store_open: %.*s", (int)error.len, error.data);
}

void world_make(World &world, Durability durability) {
    assert_true(crypto_start());
    snprintf(world.dir, sizeof world.dir, "/tmp/chatterbox-unit-XXXXXX");
    assert_non_null(mkdtemp(world.dir));
    world.durability = durability;
    assert_int_equal(uv_loop_init(&world.loop), 0);
    world_open(world);
}

void world_settle(World &world) {
    while (store_has_work(world.s)) {
        store_turn(world.s);
        // What is on the writer's thread wakes the loop.
        uv_run(&world.loop, store_has_work(world.s) ? UV_RUN_ONCE : UV_RUN_NOWAIT);
    }
}

void world_close(World &world) {
    store_close(world.s);
    world.s = nullptr;
    uv_run(&world.loop, UV_RUN_DEFAULT);
}

void world_remove(World &world) {
    if (world.s) world_close(world);
    assert_int_equal(uv_loop_close(&world.loop), 0);
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", world.dir);
    assert_int_equal(system(command), 0);
}

void world_end(World &world) {
    ScopedBuf report;
    bool is_sound = store_check(world.s, &report);
    check(is_sound, "%.*s", (int)report.len, report.data);
    world_remove(world);
}

void world_path(const World &world, const char *name, char out[256]) { snprintf(out, 256, "%s/%s", world.dir, name); }

// --- writes

static void write_done(StoreWrite *w) { w->owner_extra = 1; }

StoreWrite *a_write(WriteKind kind, int64_t by) {
    StoreWrite *w = store_write_new(kind);
    w->by = by;
    w->time = clock_wall_ms();
    w->done = write_done;
    return w;
}

std::string_view in_arena(StoreWrite *w, std::string_view text) { return arena_copy(w->arena, text); }

void say(World &world, StoreWrite *w) { assert_true(store_submit(world.s, w)); }

bool is_done(const StoreWrite *w) { return w->owner_extra == 1; }

StoreWrite *did(World &world, StoreWrite *w) {
    say(world, w);
    world_settle(world);
    assert_true(is_done(w));
    return w;
}

Err err_of(World &world, StoreWrite *w) {
    Err err = did(world, w)->err;
    store_write_free(w);
    return err;
}

int64_t user_make(World &world, const char *name, Role role) {
    StoreWrite *w = a_write(WriteKind::user_add);
    w->name = w->key = in_arena(w, name);
    w->text = "hash";
    w->role = role;
    did(world, w);
    check(w->err == Err::ok, "user_make %s: %s", name, err_info(w->err).code);
    int64_t id = w->user;
    store_write_free(w);
    return id;
}

int64_t room_make(World &world, int64_t owner, const char *name, bool is_private) {
    StoreWrite *w = a_write(WriteKind::room_add, owner);
    w->name = w->key = in_arena(w, name);
    w->flag = is_private;
    did(world, w);
    check(w->err == Err::ok, "room_make %s: %s", name, err_info(w->err).code);
    int64_t id = w->room;
    store_write_free(w);
    return id;
}

StoreWrite *about_room(WriteKind kind, int64_t room, int64_t by, int64_t user) {
    StoreWrite *w = a_write(kind, by);
    w->room = room;
    w->user = user;
    return w;
}

StoreWrite *about_user(WriteKind kind, int64_t user, int64_t by) { return about_room(kind, 0, by, user); }

void join(World &world, int64_t user, int64_t room, int64_t by) {
    Err err = err_of(world, about_room(WriteKind::member_add, room, by < 0 ? user : by, user));
    check(err == Err::ok, "join: %s", err_info(err).code);
}

StoreWrite *a_refusal(int64_t user, Err verdict, const char *nonce) {
    StoreWrite *w = about_user(WriteKind::message_refuse, user);
    w->verdict = verdict;
    w->nonce = in_arena(w, nonce);
    return w;
}

StoreWrite *a_post(int64_t by, int64_t room, const char *text, const char *nonce) {
    StoreWrite *w = a_write(WriteKind::message_post, by);
    w->room = room;
    w->text = in_arena(w, text);
    w->nonce = in_arena(w, nonce);
    return w;
}

int64_t post(World &world, int64_t by, int64_t room, const char *text, const char *nonce) {
    StoreWrite *w = did(world, a_post(by, room, text, nonce));
    check(w->err == Err::ok, "post: %s", err_info(w->err).code);
    int64_t id = w->changes[0].message.id;
    store_write_free(w);
    return id;
}

StoreWrite *an_edit(int64_t by, int64_t message, const char *text) {
    StoreWrite *w = a_write(WriteKind::message_edit, by);
    w->message = message;
    w->text = in_arena(w, text);
    return w;
}

StoreWrite *a_delete(int64_t by, int64_t message) {
    StoreWrite *w = a_write(WriteKind::message_delete, by);
    w->message = message;
    return w;
}

// --- reads

static void read_done(StoreRead *r) { r->owner_extra = 1; }

StoreRead *a_read(ReadKind kind) {
    StoreRead *r = store_read_new(kind);
    r->done = read_done;
    return r;
}

bool is_read(const StoreRead *r) { return r->owner_extra == 1; }

void say_read(World &world, StoreRead *r) { assert_true(store_read(world.s, r)); }

StoreRead *did_read(World &world, StoreRead *r) {
    say_read(world, r);
    while (!is_read(r)) {
        store_turn(world.s);
        uv_run(&world.loop, UV_RUN_ONCE);
    }
    check(r->err == Err::ok, "read: %s", err_info(r->err).code);
    return r;
}

// --- behind the store's back

static sqlite3 *sql_open(const World &world) {
    char path[256];
    world_path(world, "chatterbox.db", path);
    sqlite3 *handle = nullptr;
    assert_int_equal(sqlite3_open_v2(path, &handle, SQLITE_OPEN_READWRITE, nullptr), SQLITE_OK);
    sqlite3_busy_timeout(handle, 1000);
    return handle;
}

int64_t sql_value(const World &world, const char *sql) {
    sqlite3 *handle = sql_open(world);
    sqlite3_stmt *statement = nullptr;
    check(sqlite3_prepare_v2(handle, sql, -1, &statement, nullptr) == SQLITE_OK, "%s: %s", sql, sqlite3_errmsg(handle));
    check(sqlite3_step(statement) == SQLITE_ROW, "%s: %s", sql, sqlite3_errmsg(handle));
    int64_t value = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    sqlite3_close(handle);
    return value;
}

void sql_run(const World &world, const char *sql) {
    sqlite3 *handle = sql_open(world);
    check(sqlite3_exec(handle, sql, nullptr, nullptr, nullptr) == SQLITE_OK, "%s: %s", sql, sqlite3_errmsg(handle));
    sqlite3_close(handle);
}
