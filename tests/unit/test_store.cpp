// The store as a whole: opening and its refusals, the lock, the epoch by durability, loading, the queue's bounds, the order of completions, and
// that a read never overtakes the log.
#include "store_world.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/limits.h"

static World world;
constexpr int64_t lobby = 1;

static int setup_with(Durability durability) {
    world_make(world, durability);
    return 0;
}
static int setup(void **) { return setup_with(Durability::normal); }
static int setup_full(void **) { return setup_with(Durability::full); }

static int teardown(void **) {
    world_remove(world);
    return 0;
}

static void check_refused_open(const char *dir, const char *sentence) {
    ScopedBuf error;
    StoreOptions options;
    options.dir = dir;
    Store *s = store_open(options, nullptr, nullptr, &error);
    assert_null(s);
    buf_add_char(error, 0);
    check(strstr(error.data, sentence) != nullptr, "\"%s\" does not say \"%s\"", error.data, sentence);
}

static unsigned mode_of(const char *name) {
    char path[256];
    world_path(world, name, path);
    struct stat st;
    check(stat(path, &st) == 0, "no %s", path);
    return st.st_mode & 0777;
}

// --- opening

static void files_are_for_the_owner_only(void **) {
    int64_t anna = user_make(world, "anna");
    post(world, anna, lobby, "hello");
    assert_int_equal(mode_of("chatterbox.db"), 0600);
    assert_int_equal(mode_of("chatterbox.db-wal"), 0600);
    assert_int_equal(mode_of("chatterbox.db-shm"), 0600);
    assert_int_equal(mode_of("lock"), 0600);
    char path[256];
    world_path(world, "chatterbox.db", path);
    world_close(world);
    // A restored copy that others could read is mended.
    assert_int_equal(chmod(path, 0644), 0);
    world_open(world);
    assert_int_equal(mode_of("chatterbox.db"), 0600);
    char inner[300];
    snprintf(inner, sizeof inner, "%s/inner", world.dir);
    ScopedBuf error;
    StoreOptions options;
    options.dir = inner;
    Store *s = store_open(options, nullptr, nullptr, &error);
    assert_non_null(s);
    assert_int_equal(mode_of("inner"), 0700);
    store_close(s);
}

static void a_new_database_has_a_lobby(void **) {
    assert_int_equal(store_rev(world.s), 1);
    assert_int_equal(strlen(store_epoch(world.s)), 36);
    assert_int_equal(sql_value(world, "SELECT count(*) FROM rooms WHERE id = 1 AND name = 'Lobby' AND rev = 1"), 1);
    assert_int_equal(sql_value(world, "SELECT count(*) FROM pragma_journal_mode WHERE journal_mode = 'wal'"), 1);
}

static void a_second_server_is_refused(void **) {
    assert_true(store_is_locked(world.dir));
    char sentence[128];
    snprintf(sentence, sizeof sentence, "a server is already running on %s (pid %d)", world.dir, (int)getpid());
    check_refused_open(world.dir, sentence);
    world_close(world);
    assert_false(store_is_locked(world.dir));
    assert_false(store_is_locked("/nonexistent"));
    world_open(world);
}

static void the_lock_is_waited_for_a_moment(void **) {
    world_close(world);
    char path[256];
    world_path(world, "lock", path);
    int fd = open(path, O_RDONLY);
    assert_int_equal(flock(fd, LOCK_SH), 0); // as `check` does
    pid_t child = fork();
    if (child == 0) {
        usleep(60'000);
        _exit(0); // and with it the lock, once we have closed ours
    }
    close(fd);
    world_open(world);
    assert_int_equal(waitpid(child, nullptr, 0), child);
}

// By SQLite's lock on the file a stranger's program sees that the database is in use: without it, it takes away the write-ahead log when it ends.
static void strangers_see_that_it_is_in_use(void **) {
    char path[256];
    world_path(world, "chatterbox.db", path);
    for (int start = 1; start <= 2; start++) {
        pid_t child = fork();
        if (child == 0) {
            struct flock lock = {};
            lock.l_type = F_WRLCK;
            lock.l_whence = SEEK_SET;
            _exit(fcntl(open(path, O_RDWR), F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK ? 0 : 1);
        }
        int status = -1;
        assert_int_equal(waitpid(child, &status, 0), child);
        check(status == 0, "no lock after start %d", start);
        world_close(world);
        world_open(world);
    }
}

static void what_is_no_database_of_ours_is_refused(void **) {
    world_close(world);
    char path[256];
    world_path(world, "chatterbox.db", path);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (int i = 0; i < 1000; i++) fputs("this is not a database\n", file);
    fclose(file);
    check_refused_open(world.dir, "not a database");
    fclose(fopen(path, "w")); // empty: SQLite's beginning of any database
    sql_run(world, "CREATE TABLE somebody_elses (x)");
    check_refused_open(world.dir, "not of ChatterBox");
}

static void folders_that_cannot_be_made_are_refused(void **) {
    check_refused_open("/proc/nonexistent/data", "cannot make the data folder /proc/nonexistent/data: No such file or directory");
    char path[256];
    world_path(world, "lock", path);
    check_refused_open(path, "cannot make the data folder");
}

static void the_way_to_the_folder_is_made_too(void **) {
    char path[256];
    world_path(world, "way/to/data/", path);
    world_close(world);
    ScopedBuf error;
    Store *s = store_open({.dir = path}, nullptr, nullptr, &error);
    check(s, "%.*s", (int)error.len, error.data);
    store_close(s);
    mode_t mask = umask(0);
    umask(mask);
    const struct {
        const char *name;
        mode_t mode;
    } rows[] = {{"way", 0777 & ~mask}, {"way/to", 0777 & ~mask}, {"way/to/data", 0700}};
    for (auto &row : rows) {
        struct stat st;
        world_path(world, row.name, path);
        assert_int_equal(stat(path, &st), 0);
        check((st.st_mode & 07777) == row.mode, "%s: %o", row.name, st.st_mode);
    }
    world_open(world);
}

static void a_database_that_cannot_be_made_is_refused(void **) {
    world_close(world);
    char path[256], in_the_way[256];
    world_path(world, "chatterbox.db", path);
    world_path(world, "chatterbox.db.new", in_the_way);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(in_the_way, 0700), 0);
    check_refused_open(world.dir, "cannot make");
    assert_int_equal(rmdir(in_the_way), 0);
    // Nor is one opened that is no file; the reason is said once.
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    char sentence[320];
    snprintf(sentence, sizeof sentence, "cannot open %s: Is a directory", path);
    ScopedBuf error;
    assert_null(store_open({.dir = world.dir}, nullptr, nullptr, &error));
    check_text(buf_view(error), sentence, "all that is said");
    assert_int_equal(rmdir(path), 0);
    world_open(world);
}

// --- epoch

static char epoch_before[64];
static void remember_epoch() { snprintf(epoch_before, sizeof epoch_before, "%s", store_epoch(world.s)); }
static bool epoch_stayed() { return strcmp(epoch_before, store_epoch(world.s)) == 0; }

// The store is used by a process that ends without closing it.
static void crash_with(Durability durability) {
    fflush(nullptr);
    pid_t child = fork();
    if (child == 0) {
        world.durability = durability;
        world_open(world);
        int64_t anna = user_make(world, "anna");
        _exit(post(world, anna, lobby, "acknowledged") > 0 ? 0 : 1);
    }
    int status = 0;
    waitpid(child, &status, 0);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_int_equal(sql_value(world, "SELECT count(*) FROM messages WHERE text = 'acknowledged'"), 1);
}

static void the_epoch_stays_over_clean_stops(void **) {
    remember_epoch();
    for (Durability durability : {Durability::normal, Durability::full, Durability::normal, Durability::normal}) {
        world_close(world);
        world.durability = durability;
        world_open(world);
        assert_true(epoch_stayed());
    }
}

static void an_unclean_stop_at_full_keeps_the_epoch(void **) {
    remember_epoch();
    world_close(world);
    crash_with(Durability::full);
    world_open(world);
    assert_true(epoch_stayed());
    assert_int_equal(store_rev(world.s), 4); // lobby, anna, her membership, the message
}

static void an_unclean_stop_at_normal_makes_a_new_epoch(void **) {
    for (Durability next : {Durability::normal, Durability::full}) {
        remember_epoch();
        world_close(world);
        sql_run(world, "DELETE FROM users; DELETE FROM members; DELETE FROM messages");
        crash_with(Durability::normal);
        world.durability = next;
        world_open(world);
        assert_false(epoch_stayed());
        remember_epoch();
        world_close(world);
        world_open(world); // once
        assert_true(epoch_stayed());
    }
}

// Somebody has been at the file: what cannot be an epoch is none.
static void an_epoch_that_is_too_long_is_made_anew(void **) {
    world_close(world);
    sql_run(world, "UPDATE meta SET value = printf('%.500c', 'e') WHERE key = 'epoch'");
    world_open(world);
    assert_int_equal(strlen(store_epoch(world.s)), 36);
    assert_null(strstr(store_epoch(world.s), "eeeeeeee")); // nor is its beginning one
}

// --- loading

struct Loaded {
    int users, rooms, members, sessions;
    int64_t last;
    char order[64];
};

static void note(Loaded *l, char what) {
    size_t length = strlen(l->order);
    if (length > 0 && l->order[length - 1] == what) return;
    l->order[length] = what;
}

static void loading_gives_every_row(void **) {
    int64_t anna = user_make(world, "anna"), bob = user_make(world, "bob");
    int64_t room = room_make(world, anna, "garden");
    join(world, bob, room);
    assert_int_equal((int)err_of(world, about_room(WriteKind::member_remove, room, bob, bob)), (int)Err::ok);
    int64_t newest = post(world, anna, room, "hello");
    StoreWrite *w = about_user(WriteKind::session_add, anna);
    memset(w->token_hash, 5, hash_bytes);
    w->agent = "Browser";
    assert_int_equal((int)err_of(world, w), (int)Err::ok);
    world_close(world);
    world_open(world);
    Loaded loaded = {};
    StoreLoad into = {};
    into.owner = &loaded;
    into.user = [](void *owner, const UserRow &row, std::string_view key) {
        auto *l = static_cast<Loaded *>(owner);
        note(l, 'u');
        check_text(key, l->users++ == 0 ? "anna" : "bob", "key");
        check_text(row.name, key, "name");
    };
    into.room = [](void *owner, const RoomRow &row, std::string_view key) {
        auto *l = static_cast<Loaded *>(owner);
        note(l, 'r');
        check_text(key, l->rooms++ == 0 ? "lobby" : "garden", "key");
        l->last = row.last;
    };
    into.member = [](void *owner, const MemberRow &row) {
        auto *l = static_cast<Loaded *>(owner);
        note(l, 'm');
        l->members++;
        assert_false(row.left);
    };
    into.session = [](void *owner, const SessionRow &row) {
        auto *l = static_cast<Loaded *>(owner);
        note(l, 's');
        l->sessions++;
        assert_int_equal(row.token_hash[0], 5);
        assert_int_equal(row.agent.size(), 0);
    };
    assert_true(store_load(world.s, into));
    assert_int_equal(loaded.users, 2);
    assert_int_equal(loaded.rooms, 2);
    assert_int_equal(loaded.members, 3); // both in the lobby, anna in the garden
    assert_int_equal(loaded.sessions, 1);
    assert_int_equal(loaded.last, newest);
    assert_string_equal(loaded.order, "urms");
}

// --- the queue

static int completed;
static uint64_t completed_order[64];
static void count_done(StoreWrite *w) {
    completed_order[completed % 64] = w->owner_id;
    completed++;
    store_write_free(w);
}

static void the_queue_is_bounded(void **) {
    completed = 0;
    for (uint32_t i = 0; i < write_queue_max; i++) {
        StoreWrite *w = a_write(WriteKind::marks);
        w->done = count_done;
        assert_true(store_submit(world.s, w));
    }
    StoreWrite *w = a_write(WriteKind::marks);
    assert_false(store_submit(world.s, w));
    assert_true(store_has_work(world.s));
    world_settle(world);
    assert_int_equal(completed, write_queue_max);
    assert_false(store_has_work(world.s));
    assert_int_equal((int)err_of(world, w), (int)Err::ok); // it was still ours
}

static void completions_come_in_order_and_in_the_end_inline(void **) {
    int64_t anna = user_make(world, "anna");
    completed = 0;
    int inline_turns = 0;
    for (uint64_t i = 0; i < 60;) {
        for (int k = 0; k < 3; k++) {
            StoreWrite *w = a_post(anna, lobby, "x");
            w->owner_id = i++;
            w->done = count_done;
            say(world, w);
        }
        int before = completed;
        store_turn(world.s);
        inline_turns += completed == before + 3;
        world_settle(world);
        assert_int_equal(completed, i);
    }
    for (uint64_t i = 0; i < 60; i++) assert_int_equal(completed_order[i], i);
    assert_true(inline_turns > 0); // at durability normal a commit is no fsync
}

static StoreWrite *second_write;
static int in_done_turns;
static void ask_again(StoreWrite *w) {
    w->owner_extra = 1;
    say(world, second_write);
    in_done_turns++;
    store_turn(world.s); // does not run a batch inside a batch
    assert_false(is_done(second_write));
}

static void a_completion_may_ask_again(void **) {
    int64_t anna = user_make(world, "anna");
    for (int i = 0; i < 30; i++) post(world, anna, lobby, "warm");
    second_write = a_post(anna, lobby, "second");
    StoreWrite *first = a_post(anna, lobby, "first");
    first->done = ask_again;
    say(world, first);
    world_settle(world);
    assert_true(is_done(first) && is_done(second_write));
    assert_int_equal(in_done_turns, 1);
    assert_int_equal(second_write->changes[0].rev, first->changes[0].rev + 1);
    store_write_free(first);
    store_write_free(second_write);
}

static void closing_commits_what_waits(void **) {
    int64_t anna = user_make(world, "anna");
    completed = 0;
    StoreRead *r = a_read(ReadKind::health);
    say_read(world, r);
    for (int i = 0; i < 5; i++) {
        StoreWrite *w = a_post(anna, lobby, "last words");
        w->done = count_done;
        say(world, w);
        if (i == 2) store_turn(world.s);
    }
    world_close(world);
    assert_int_equal(completed, 5);
    assert_true(is_read(r));
    store_read_free(r);
    assert_int_equal(sql_value(world, "SELECT count(*) FROM messages"), 5);
    char path[256];
    world_path(world, "chatterbox.db-wal", path);
    assert_int_not_equal(access(path, F_OK), 0); // all of it is in the database
}

// --- reads and the log

static int64_t rev_at_done;
static void note_rev(StoreRead *r) {
    r->owner_extra = 1;
    rev_at_done = store_rev(world.s);
}

static void a_read_never_overtakes_the_log(void **) {
    int64_t anna = user_make(world, "anna");
    world_close(world);
    world_open(world); // commits are not known to be fast yet, so the batch goes to the thread
    StoreWrite *w = a_post(anna, lobby, "committed, not told");
    int64_t rev = store_rev(world.s);
    say(world, w);
    store_turn(world.s);
    for (int i = 0; i < 5000 && sql_value(world, "SELECT count(*) FROM messages") == 0; i++) usleep(1000);
    // It is in the database, but the loop has not run: the read sees it.
    StoreRead *r = a_read(ReadKind::changes);
    r->since = rev;
    r->done = note_rev;
    say_read(world, r);
    usleep(50'000);
    assert_false(is_done(w));
    assert_int_equal(store_rev(world.s), rev);
    while (!is_read(r)) uv_run(&world.loop, UV_RUN_ONCE);
    assert_int_equal(r->snapshot_rev, rev + 1);
    assert_int_equal(r->changes_count, 1);
    assert_true(is_done(w));
    assert_int_equal(rev_at_done, rev + 1);
    store_read_free(r);
    store_write_free(w);
}

static int reads_done;
static void count_read(StoreRead *r) {
    reads_done++;
    store_read_free(r);
}

static void the_queue_of_reads_is_bounded(void **) {
    reads_done = 0;
    for (uint32_t i = 0; i < read_queue_max; i++) {
        StoreRead *r = a_read(ReadKind::health);
        r->done = count_read;
        say_read(world, r);
    }
    StoreRead *r = a_read(ReadKind::health);
    assert_false(store_read(world.s, r));
    while (reads_done < (int)read_queue_max) uv_run(&world.loop, UV_RUN_ONCE);
    store_read_free(did_read(world, r));
}

// --- without a loop

static void the_command_line_writes_and_reads_at_once(void **) {
    world_close(world);
    ScopedBuf error;
    StoreOptions options;
    options.dir = world.dir;
    Store *s = store_open(options, nullptr, nullptr, &error);
    assert_non_null(s);
    StoreWrite *w = store_write_new(WriteKind::user_add);
    w->name = w->key = "anna";
    w->text = "hash";
    store_write_now(s, w);
    assert_int_equal((int)w->err, (int)Err::ok);
    assert_int_equal(w->changes_count, 2);
    assert_int_equal(store_rev(s), 3);
    StoreRead *r = store_read_new(ReadKind::password);
    r->user = w->user;
    store_read_now(s, r);
    check_text(r->text, "hash", "password");
    store_read_free(r);
    store_write_free(w);
    w = store_write_new(WriteKind::user_add);
    w->name = w->key = "anna";
    store_write_now(s, w);
    assert_int_equal((int)w->err, (int)Err::name_taken);
    assert_int_equal(store_rev(s), 3);
    store_write_free(w);
    store_close(s);
    world_open(world);
    assert_int_equal(store_rev(world.s), 3);
}

#define in_world(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
#define in_full_world(test) cmocka_unit_test_setup_teardown(test, setup_full, teardown)

int main() {
    const struct CMUnitTest tests[] = {
        in_world(files_are_for_the_owner_only),
        in_world(a_new_database_has_a_lobby),
        in_world(a_second_server_is_refused),
        in_world(the_lock_is_waited_for_a_moment),
        in_world(strangers_see_that_it_is_in_use),
        in_world(what_is_no_database_of_ours_is_refused),
        in_world(folders_that_cannot_be_made_are_refused),
        in_world(the_way_to_the_folder_is_made_too),
        in_world(a_database_that_cannot_be_made_is_refused),
        in_world(the_epoch_stays_over_clean_stops),
        in_full_world(an_unclean_stop_at_full_keeps_the_epoch),
        in_world(an_unclean_stop_at_normal_makes_a_new_epoch),
        in_world(an_epoch_that_is_too_long_is_made_anew),
        in_world(loading_gives_every_row),
        in_world(the_queue_is_bounded),
        in_world(completions_come_in_order_and_in_the_end_inline),
        in_world(a_completion_may_ask_again),
        in_world(closing_commits_what_waits),
        in_world(a_read_never_overtakes_the_log),
        in_world(the_queue_of_reads_is_bounded),
        in_world(the_command_line_writes_and_reads_at_once),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
