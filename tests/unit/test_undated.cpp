// Sessions made while the clock was not set, as on a board without a battery before the network tells the time. They have no
// date: setting the clock must not end them, and their first use afterwards gives them one.
#include "store_world.h"

#include "base/clock.h"
#include "base/crypto.h"
#include "chat/model.h"

static Session *load(Model &m, int64_t created, int64_t last_used, char token[37]) {
    SessionRow row = {.id = 1, .user = 1, .token_hash = {}, .created = created, .last_used = last_used, .agent = {}, .address = {}};
    uuid_make(token);
    token_hash(token, row.token_hash);
    return model_put_session(&m, row);
}

static void they_do_not_expire(void **) {
    assert_true(crypto_start());
    assert_true(clock_is_set());
    Model m = {};
    UserRow user = {};
    user.id = 1;
    user.name = "anna";
    model_put_user(&m, user, "anna");
    char token[37];
    Session *s = load(m, 0, 0, token);
    assert_ptr_equal(model_session(&m, token, {}), s);
    model_drop_session(&m, s);
    s = load(m, 0, 1, token); // used for the last time in 1970, with a clock that somebody had set
    assert_null(model_session(&m, token, {}));
    model_drop_session(&m, s);
    load(m, 1, clock_wall_ms(), token);
    assert_null(model_session(&m, token, {}));
    model_free(&m);
}

static StoreWrite *touch_at(int64_t session, int64_t time) {
    StoreWrite *w = a_write(WriteKind::session_touch);
    w->session_id = session;
    w->time = time;
    return w;
}

static void the_first_use_dates_them(void **) {
    World world;
    world_make(world);
    StoreWrite *w = about_user(WriteKind::session_add, user_make(world, "anna"));
    w->time = 0;
    did(world, w);
    assert_int_equal((int)w->err, (int)Err::ok);
    int64_t id = w->session_id;
    store_write_free(w);
    assert_int_equal((int)err_of(world, touch_at(id, 700)), (int)Err::ok);
    assert_int_equal((int)err_of(world, touch_at(id, 900)), (int)Err::ok);
    assert_int_equal(sql_value(world, "SELECT created FROM sessions"), 700); // and only the first
    assert_int_equal(sql_value(world, "SELECT last_used FROM sessions"), 900);
    world_remove(world);
}

int main() {
    const struct CMUnitTest tests[] = {cmocka_unit_test(they_do_not_expire), cmocka_unit_test(the_first_use_dates_them)};
    return cmocka_run_group_tests_name("undated", tests, nullptr, nullptr);
}
