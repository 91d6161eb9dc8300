// Accounts and logins on a real store: registration, login, change of password, throttles, the administrator's link; and what happens when things overlap.
#include "chat_world.h"

#include "base/clock.h"
#include "base/limits.h"
#include "chat/auth.h"

struct Outcome {
    bool done;
    Err err;
    uint32_t retry_after_s;
    char token[uuid_chars + 1];
    int64_t session, user;
};
static Outcome outcomes[128];

static void note(AuthTask *t) {
    Outcome &o = outcomes[t->owner_id];
    o = {.done = true, .err = t->err, .retry_after_s = t->retry_after_s, .token = {}, .session = 0, .user = t->user_id};
    if (t->err == Err::ok && t->kind != AuthKind::password) {
        o.session = t->session->id;
        memcpy(o.token, t->token, sizeof o.token);
        assert_ptr_equal(t->session->user, t->user);
    }
}

static AuthOptions options = {.password_memory_kib = 8, .password_ops = 1, .login_rate = 10};

static int setup(void **) {
    chat_make();
    options = {.password_memory_kib = 8, .password_ops = 1, .login_rate = 10};
    assert_true(auth_start(&chat.hub, &chat.store.loop, options, 2));
    memset(outcomes, 0, sizeof outcomes);
    return 0;
}

static int teardown(void **) {
    auth_stop();
    chat_settle();
    chat_remove();
    return 0;
}

static void attempt(uint64_t place, AuthKind kind, const char *name, const char *password, const char *invite = nullptr, const char *address = "a") {
    AuthTask *t = auth_new(kind);
    t->done = note;
    t->owner_id = place;
    t->name = arena_copy(t->arena, name);
    t->password = arena_copy(t->arena, password);
    t->address = t->address_group = arena_copy(t->arena, address);
    t->has_invite = invite != nullptr;
    if (invite) t->invite = arena_copy(t->arena, invite);
    auth_begin(t);
}

static void change(uint64_t place, User *user, const char *old_password, const char *new_password, int64_t keep = 0) {
    AuthTask *t = auth_new(AuthKind::password);
    t->done = note;
    t->owner_id = place;
    t->user = user;
    t->keep_session = keep;
    t->password = arena_copy(t->arena, old_password);
    t->new_password = arena_copy(t->arena, new_password);
    t->address = t->address_group = "a";
    auth_begin(t);
}

static Outcome &settled(uint64_t place) {
    chat_settle();
    assert_true(outcomes[place].done);
    return outcomes[place];
}

static Outcome &registers(const char *name, const char *password) {
    attempt(0, AuthKind::registration, name, password);
    return settled(0);
}

static Err logs_in(const char *name, const char *password, const char *address = "a") {
    attempt(1, AuthKind::login, name, password, nullptr, address);
    return settled(1).err;
}

static void register_then_login(void **) {
    Outcome &o = registers("Alice", "correct horse");
    assert_int_equal(o.err, Err::ok);
    User *alice = chat_find("alice");
    assert_ptr_equal(model_session(&chat.hub.model, o.token, {})->user, alice);
    assert_int_equal(alice->role, Role::user);
    assert_non_null(model_member(&chat.hub.model, lobby_id, alice->id));
    assert_int_equal(logs_in("ALICE", "correct horse"), Err::ok);
    assert_string_not_equal(outcomes[0].token, outcomes[1].token);
    assert_int_equal(logs_in("alice", "wrong horse"), Err::bad_credentials);
    assert_int_equal(logs_in("nobody", "correct horse"), Err::bad_credentials);
    assert_int_equal(logs_in("", ""), Err::bad_credentials);
}

// What no name and no password can be waits for no hash, and holds no memory meanwhile; what is long only because its letters are written in parts does.
static void what_is_too_long_is_refused_at_once(void **) {
    static char name[username_chars_max * 16 + 2], password[password_chars_max * 16 + 2];
    memset(name, 'n', sizeof name - 1);
    memset(password, 'p', sizeof password - 1);
    registers("alice", "correct horse");
    attempt(1, AuthKind::login, name, "correct horse");
    attempt(2, AuthKind::login, "alice", password);
    change(3, chat_find("alice"), password, "another horse");
    for (int i = 1; i <= 3; i++) check(outcomes[i].done && outcomes[i].err == Err::bad_credentials, "%d", i);
    attempt(5, AuthKind::registration, "bob", "correct horse", name); // of 512 characters
    check(outcomes[5].done && outcomes[5].err == Err::bad_invite, "an invitation");
    name[username_chars_max * 16] = password[password_chars_max * 16] = 0;
    attempt(4, AuthKind::login, name, password);
    assert_false(outcomes[4].done);
    assert_int_equal(settled(4).err, Err::bad_credentials);
}

static void what_a_registration_can_be_refused_for(void **) {
    registers("alice", "correct horse");
    const struct {
        const char *name, *password;
        Err err;
    } rows[] = {
        {"ALICE", "correct horse", Err::name_taken}, {"a b", "correct horse", Err::bad_username}, {"", "correct horse", Err::bad_username},
        {"bob", "short", Err::bad_password},         {"bobbobbob", "BobBobBob", Err::bad_password}, {"bob", "password", Err::bad_password},
        {"hate", "correct horse", Err::stop_word},   {"bob", "correct horse", Err::ok},
    };
    for (auto &row : rows) check(registers(row.name, row.password).err == row.err, "%s: %s", row.name, err_info(outcomes[0].err).code);
}

static void two_at_once_for_one_name(void **) {
    attempt(0, AuthKind::registration, "alice", "correct horse");
    attempt(1, AuthKind::registration, "Alice", "correct horse");
    chat_settle();
    assert_true(outcomes[0].done && outcomes[1].done);
    assert_true((outcomes[0].err == Err::ok && outcomes[1].err == Err::name_taken) || (outcomes[1].err == Err::ok && outcomes[0].err == Err::name_taken));
}

static char link_token[33];
static Err link_err;
static void link_made(Hub *, StoreWrite *w) { link_err = w->err; }

static void make_link() {
    auth_make_admin_invite(link_token, link_made);
    chat_settle();
    assert_int_equal(link_err, Err::ok);
}

static void the_link_makes_one_administrator(void **) {
    chat.hub.options.registration = Registration::closed;
    make_link();
    assert_int_equal(strlen(link_token), 32);
    char first[33];
    memcpy(first, link_token, 33);
    make_link(); // at the next start: the one before is void
    attempt(0, AuthKind::registration, "mallory", "correct horse");
    attempt(1, AuthKind::registration, "mallory", "correct horse", first);
    attempt(2, AuthKind::registration, "mallory", "correct horse", "x");
    chat_settle();
    assert_int_equal(outcomes[0].err, Err::registration_closed);
    assert_int_equal(outcomes[1].err, Err::bad_invite);
    assert_int_equal(outcomes[2].err, Err::bad_invite);
    attempt(3, AuthKind::registration, "alice", "correct horse", link_token);
    assert_int_equal(settled(3).err, Err::ok);
    assert_int_equal(chat_find("alice")->role, Role::admin);
    attempt(4, AuthKind::registration, "mallory", "correct horse", link_token);
    assert_int_equal(settled(4).err, Err::bad_invite); // used
    make_link();
    assert_int_equal(link_token[0], 0); // there is an administrator
}

static void blocked_and_deleted_people_do_not_come_in(void **) {
    registers("alice", "correct horse");
    User *alice = chat_find("alice");
    StoreWrite *w = hub_write_new(WriteKind::user_block, nullptr);
    w->user = alice->id;
    w->flag = true;
    chat_did(w);
    assert_int_equal(logs_in("alice", "correct horse"), Err::blocked);
    assert_int_equal(logs_in("alice", "wrong horse"), Err::bad_credentials); // only who knows the password is told
    w = hub_write_new(WriteKind::user_delete, nullptr);
    w->user = alice->id;
    chat_did(w);
    assert_int_equal(logs_in("alice", "correct horse"), Err::bad_credentials);
    assert_int_equal(registers("alice", "another horse").err, Err::name_taken);
}

static void a_new_password_replaces_the_old_and_ends_the_other_sessions(void **) {
    int64_t kept = registers("alice", "correct horse").session;
    User *alice = chat_find("alice");
    logs_in("alice", "correct horse");
    change(2, alice, "wrong horse", "battery staple", kept);
    assert_int_equal(settled(2).err, Err::bad_credentials);
    change(2, alice, "correct horse", "short", kept);
    assert_int_equal(settled(2).err, Err::bad_password);
    change(2, alice, "correct horse", "battery staple", kept);
    assert_int_equal(settled(2).err, Err::ok);
    assert_non_null(model_session_of(alice, kept));
    assert_null(alice->sessions->next_of_user);
    assert_int_equal(logs_in("alice", "correct horse"), Err::bad_credentials);
    assert_int_equal(logs_in("alice", "battery staple"), Err::ok);
}

// Whoever knew the old password and logs in while it is being changed must not have a session that outlives the change. Wherever the one meets the
// other, afterwards there is the kept session alone, or a login that came first and was ended.
static void a_login_does_not_slip_past_a_change_of_password(void **) {
    int64_t kept = registers("alice", "correct horse").session;
    User *alice = chat_find("alice");
    const char *passwords[] = {"correct horse", "battery staple"};
    options.login_rate = 0;
    auth_set_options(options);
    for (int round = 0; round < 30; round++) {
        memset(outcomes, 0, sizeof outcomes);
        const char *old_password = passwords[round % 2], *new_password = passwords[1 - round % 2];
        if (round % 3 == 0) attempt(1, AuthKind::login, "alice", old_password);
        change(2, alice, old_password, new_password, kept);
        for (int i = 0; i < round % 5; i++) chat_turn();
        attempt(3, AuthKind::login, "alice", old_password);
        for (int i = 0; i < round % 4; i++) chat_turn();
        attempt(4, AuthKind::login, "alice", old_password);
        chat_settle();
        assert_int_equal(outcomes[2].err, Err::ok);
        check(alice->sessions && alice->sessions->id == kept && !alice->sessions->next_of_user, "round %d: a session of the old password is left", round);
        assert_int_equal(sql_value(chat.store, "SELECT count(*) FROM sessions"), 1);
    }
}

// A block is above all: it is decided while the password is still being verified.
static void a_block_meets_a_login_that_is_under_way(void **) {
    registers("alice", "correct horse");
    attempt(1, AuthKind::login, "alice", "correct horse");
    StoreWrite *w = hub_write_new(WriteKind::user_block, nullptr);
    w->user = chat_find("alice")->id;
    w->flag = true;
    chat_did(w);
    assert_int_equal(settled(1).err, Err::blocked);
}

static void an_older_hash_is_renewed_at_login(void **) {
    int64_t kept = registers("alice", "correct horse").session;
    ScopedBuf sql;
    assert_int_equal(sql_value(chat.store, "SELECT password LIKE '%m=8,t=1,%' FROM users WHERE name_key = 'alice'"), 1);
    options.password_memory_kib = 16;
    options.password_ops = 2;
    auth_set_options(options);
    assert_int_equal(logs_in("alice", "wrong horse"), Err::bad_credentials);
    assert_int_equal(sql_value(chat.store, "SELECT password LIKE '%m=8,t=1,%' FROM users WHERE name_key = 'alice'"), 1);
    assert_int_equal(logs_in("alice", "correct horse"), Err::ok);
    assert_int_equal(sql_value(chat.store, "SELECT password LIKE '%m=16,t=2,%' FROM users WHERE name_key = 'alice'"), 1);
    assert_non_null(model_session_of(chat_find("alice"), kept)); // it is the same password
    assert_int_equal(logs_in("alice", "correct horse"), Err::ok);
}

static void tries_are_counted_by_address_and_name(void **) {
    registers("alice", "correct horse");
    options.login_rate = 3;
    auth_set_options(options);
    for (int i = 0; i < 3; i++) assert_int_equal(logs_in(i % 2 ? "ALICE" : "alice", "wrong horse", "evil"), Err::bad_credentials);
    assert_int_equal(logs_in("alice", "correct horse", "evil"), Err::rate_limited);
    assert_true(outcomes[1].retry_after_s >= 1 && outcomes[1].retry_after_s <= 60);
    assert_int_equal(logs_in("alice", "correct horse", "home"), Err::ok);          // the owner, from elsewhere
    assert_int_equal(logs_in("bob", "correct horse", "evil"), Err::bad_credentials); // another name
    uint32_t more = 0;
    char name[24];
    for (Err err = Err::ok; err != Err::rate_limited && more < 200; more++) {
        snprintf(name, sizeof name, "n%u", more);
        err = logs_in(name, "correct horse", "evil");
    }
    check(more > 40 && more <= logins_per_address_max, "%u names from one address", more);
    options.login_rate = 0;
    auth_set_options(options);
    assert_int_equal(logs_in("alice", "correct horse", "evil"), Err::ok); // no limit at all
}

static void a_flood_is_refused_and_the_stop_is_quick(void **) {
    options = {.password_memory_kib = 19 * 1024, .password_ops = 60, .login_rate = 0};
    auth_set_options(options);
    uint64_t begin = clock_ms();
    // About a second each: two are being hashed, so many wait, the others are refused at once.
    for (uint64_t i = 0; i < hash_queue_max + 10; i++) attempt(i, AuthKind::registration, "bob", "correct horse");
    uint32_t refused = 0;
    for (uint64_t i = 0; i < hash_queue_max + 10; i++) {
        if (!outcomes[i].done) continue;
        assert_int_equal(outcomes[i].err, Err::rate_limited);
        assert_true(outcomes[i].retry_after_s > 0);
        refused++;
    }
    assert_true(refused >= 8);
    auth_stop();
    uint64_t took_ms = clock_ms() - begin;
    chat_settle(); // those two go on to the store
    uint32_t unavailable = 0;
    for (uint64_t i = 0; i < hash_queue_max + 10; i++) {
        assert_true(outcomes[i].done);
        unavailable += outcomes[i].err == Err::unavailable;
    }
    assert_true(unavailable >= hash_queue_max - 2);
    check(took_ms < 15'000, "the stop took %d ms", (int)took_ms);
}

// The server stops hashing before it closes the store, which then answers the reads that wait: a login among them is told, and nothing is hashed.
static void a_login_that_is_being_read_for_when_the_server_stops_is_refused(void **) {
    settled((attempt(0, AuthKind::registration, "alice", "correct horse"), 0));
    attempt(1, AuthKind::login, "alice", "correct horse");
    auth_stop();
    assert_int_equal(settled(1).err, Err::unavailable);
}

int main() {
#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        test(a_login_that_is_being_read_for_when_the_server_stops_is_refused),
        test(register_then_login),
        test(what_is_too_long_is_refused_at_once),
        test(what_a_registration_can_be_refused_for),
        test(two_at_once_for_one_name),
        test(the_link_makes_one_administrator),
        test(blocked_and_deleted_people_do_not_come_in),
        test(a_new_password_replaces_the_old_and_ends_the_other_sessions),
        test(a_login_does_not_slip_past_a_change_of_password),
        test(a_block_meets_a_login_that_is_under_way),
        test(an_older_hash_is_renewed_at_login),
        test(tries_are_counted_by_address_and_name),
        test(a_flood_is_refused_and_the_stop_is_quick),
    };
    return cmocka_run_group_tests_name("auth", tests, nullptr, nullptr);
}
