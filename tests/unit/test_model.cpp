// What the chat keeps in memory: people, rooms, memberships and sessions are found by every key they have, and what is taken away leaves nothing behind.
#include "unit.h"

#include "base/clock.h"
#include "base/crypto.h"
#include "base/limits.h"
#include "chat/model.h"

static Model m;

static UserRow a_user(int64_t id, const char *name, Role role = Role::user, bool deleted = false) {
    return {.id = id, .rev = 100 + id, .name = name, .display_name = "", .status = "", .role = role, .created = 5, .warnings = 0, .blocked = false, .deleted = deleted};
}

static RoomRow a_room(int64_t id, const char *name, int64_t owner = 0, RoomKind kind = RoomKind::room) {
    return {.id = id, .rev = 200 + id, .kind = kind, .name = name, .topic = "", .is_private = false, .archived = false, .owner = owner, .last = 0};
}

static MemberRow a_member(int64_t room, int64_t user, int64_t seen = 0) { return {.rev = 300, .room = room, .user = user, .seen = seen, .left = false}; }

static int setup(void **) {
    assert_true(crypto_start());
    m = {};
    model_put_user(&m, a_user(1, "Alice"), "alice");
    model_put_user(&m, a_user(2, "bob"), "bob");
    model_put_user(&m, a_user(3, "Карл"), "карл");
    model_put_room(&m, a_room(1, "Lobby"));
    model_put_room(&m, a_room(2, "The Plans", 1));
    return 0;
}

static int teardown(void **) {
    model_free(&m);
    return 0;
}

static void people_are_found_by_id_and_by_folded_name(void **) {
    check_text(model_user(&m, 1)->name, "Alice", "by id");
    for (const char *name : {"alice", "Alice", "ALICE", "ａｌｉｃｅ"}) assert_ptr_equal(model_user_by_name(&m, name), model_user(&m, 1));
    assert_ptr_equal(model_user_by_name(&m, "КАРЛ"), model_user(&m, 3));
    for (const char *name : {"", "alic", "alicee", "al ice", "nobody", "\xff"}) assert_null(model_user_by_name(&m, name));
    assert_null(model_user(&m, 0));
    assert_null(model_user(&m, -1));
    assert_null(model_user(&m, 4));
}

static void a_changed_user_is_the_same_one(void **) {
    User *alice = model_user(&m, 1);
    UserRow row = a_user(1, "Alice", Role::admin);
    row.rev = 500;
    row.display_name = "Alice A.";
    row.warnings = 2;
    assert_ptr_equal(model_put_user(&m, row, "alice"), alice);
    assert_int_equal(alice->rev, 500);
    check_text(user_shown_name(alice), "Alice A.", "shown");
    check_text(user_shown_name(model_user(&m, 2)), "bob", "without a display name");
    assert_int_equal(m.users_count, 3);
}

static void people_and_administrators_are_counted(void **) {
    const struct {
        Role role;
        bool deleted;
        uint32_t users, admins;
    } rows[] = {{Role::admin, false, 3, 1}, {Role::admin, false, 3, 1}, {Role::moderator, false, 3, 0}, {Role::admin, false, 3, 1}, {Role::admin, true, 2, 0}, {Role::user, true, 2, 0}};
    for (auto &row : rows) {
        model_put_user(&m, a_user(2, "bob", row.role, row.deleted), "bob");
        check(m.users_count == row.users && m.admins_count == row.admins, "%u users, %u admins", m.users_count, m.admins_count);
    }
    model_put_user(&m, a_user(9, "gone", Role::admin, true), "gone"); // loaded as it is
    assert_int_equal(m.users_count, 2);
    assert_int_equal(m.admins_count, 0);
    assert_non_null(model_user_by_name(&m, "gone")); // the name stays taken
}

static void a_changed_room_is_the_same_one(void **) {
    RoomRow row = a_room(2, "Done", 1);
    row.archived = true;
    Room *room = model_put_room(&m, row);
    assert_ptr_equal(room, model_room(&m, 2));
    check_text(room->name, "Done", "name");
    assert_true(room->archived);
    assert_null(model_room(&m, 3));
}

static void a_room_knows_its_owner_and_its_newest_message(void **) {
    Room *room = model_room(&m, 2);
    assert_ptr_equal(room->owner, model_user(&m, 1));
    RoomRow row = a_room(2, "The Plans", 1);
    row.last = 40;
    model_put_room(&m, row);
    row.last = 0; // only a load knows it
    model_put_room(&m, row);
    assert_int_equal(room->last, 40);
}

static void memberships_join_people_and_rooms(void **) {
    for (int64_t user = 1; user <= 3; user++) model_put_member(&m, a_member(1, user));
    Member *member = model_put_member(&m, a_member(2, 2, 7));
    assert_ptr_equal(model_member(&m, 2, 2), member);
    assert_null(model_member(&m, 2, 1));
    assert_int_equal(model_room(&m, 1)->members_count, 3);
    assert_int_equal(member->seen, 7);
    assert_int_equal(member->seen_told, 7); // so it stands in everybody's welcome
    assert_ptr_equal(model_put_member(&m, a_member(2, 2, 3)), member);
    assert_int_equal(member->seen, 7); // a mark never goes back
    uint32_t rooms = 0;
    for (Member *at = model_user(&m, 2)->members; at; at = at->next_of_user) rooms++;
    assert_int_equal(rooms, 2);
}

static void who_leaves_leaves_the_others(void **) {
    for (int64_t user = 1; user <= 3; user++) model_put_member(&m, a_member(1, user));
    model_put_member(&m, a_member(2, 1));
    model_drop_member(&m, model_member(&m, 1, 1)); // the first: the last takes its place
    assert_null(model_member(&m, 1, 1));
    const Room *lobby = model_room(&m, 1);
    assert_int_equal(lobby->members_count, 2);
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal(lobby->members[i]->index, i);
        assert_ptr_equal(model_member(&m, 1, lobby->members[i]->user->id), lobby->members[i]);
    }
    assert_ptr_equal(model_user(&m, 1)->members, model_member(&m, 2, 1));
    model_drop_member(&m, model_member(&m, 2, 1));
    assert_null(model_user(&m, 1)->members);
    assert_int_equal(model_room(&m, 2)->members_count, 0);
    assert_non_null(model_put_member(&m, a_member(2, 1))); // and in again
}

// Ids are far apart, as after a year: the key of a membership is made of both.
static void large_ids_do_not_meet(void **) {
    model_put_user(&m, a_user(0x7fffffff, "late"), "late");
    model_put_room(&m, a_room(0x10000, "late"));
    model_put_member(&m, a_member(0x10000, 0x7fffffff));
    model_put_member(&m, a_member(1, 0x7fffffff));
    assert_int_equal(model_member(&m, 0x10000, 0x7fffffff)->room->id, 0x10000);
    assert_int_equal(model_member(&m, 1, 0x7fffffff)->room->id, 1);
    assert_null(model_member(&m, 0, 0x7fffffff));
    assert_null(model_member(&m, 0x10000, 1));
}

static void marks_only_grow(void **) {
    Member *a = model_put_member(&m, a_member(1, 1)), *b = model_put_member(&m, a_member(1, 2));
    assert_true(model_move_mark(a, 10));
    assert_true(model_move_mark(b, 5));
    assert_false(model_move_mark(a, 10));
    assert_false(model_move_mark(a, 9));
    assert_int_equal(a->seen, 10);
    assert_true(a->seen_dirty && b->seen_dirty);
}

static Session *a_session(int64_t id, int64_t user, char token[37], int64_t used_ms_ago = 0, int64_t made_ms_ago = 0) {
    uuid_make(token);
    SessionRow row = {.id = id, .user = user, .token_hash = {}, .created = clock_wall_ms() - made_ms_ago, .last_used = clock_wall_ms() - used_ms_ago, .agent = {}, .address = {}};
    token_hash(token, row.token_hash);
    return model_put_session(&m, row);
}

static void sessions_are_found_by_their_token(void **) {
    char first[37], second[37], never[37];
    Session *a = a_session(1, 1, first), *b = a_session(2, 1, second);
    uuid_make(never);
    assert_ptr_equal(model_session(&m, first, {}), a);
    assert_ptr_equal(model_session(&m, second, {}), b);
    assert_ptr_equal(model_session_of(model_user(&m, 1), 2), b);
    assert_null(model_session_of(model_user(&m, 2), 2)); // somebody else's
    for (std::string_view token : {std::string_view{never}, std::string_view{}, std::string_view{"1"}, std::string_view{first, 35}}) assert_null(model_session(&m, token, {}));
    model_drop_session(&m, a);
    assert_null(model_session(&m, first, {}));
    assert_ptr_equal(model_session(&m, second, {}), b);
    assert_ptr_equal(model_user(&m, 1)->sessions, b);
    assert_null(a_session(3, 77, first)); // nobody's
}

static void sessions_expire_while_the_clock_is_set(void **) {
    constexpr int64_t minute = 60'000;
    assert_true(clock_is_set());
    const struct {
        int64_t used, made;
        bool good;
    } rows[] = {{0, 0, true}, {session_unused_ms_max - minute, session_unused_ms_max, true}, {session_unused_ms_max + minute, session_unused_ms_max + minute, false},
                {0, session_age_ms_max - minute, true}, {0, session_age_ms_max + minute, false}};
    for (auto &row : rows) {
        char token[37];
        Session *s = a_session(1, 1, token, row.used, row.made);
        check((model_session(&m, token, {}) == s) == row.good, "used %lld ms ago", (long long)row.used);
        model_drop_session(&m, s);
    }
    // Another life that the operator has chosen.
    char token[37];
    Session *s = a_session(1, 1, token, 3 * minute, 5 * minute);
    assert_ptr_equal(model_session(&m, token, {.unused_ms_max = 4 * minute, .age_ms_max = 6 * minute}), s);
    assert_null(model_session(&m, token, {.unused_ms_max = 2 * minute, .age_ms_max = 6 * minute}));
    assert_null(model_session(&m, token, {.unused_ms_max = 4 * minute, .age_ms_max = 4 * minute}));
}

int main() {
#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        test(people_are_found_by_id_and_by_folded_name),
        test(a_changed_user_is_the_same_one),
        test(people_and_administrators_are_counted),
        test(a_changed_room_is_the_same_one),
        test(a_room_knows_its_owner_and_its_newest_message),
        test(memberships_join_people_and_rooms),
        test(who_leaves_leaves_the_others),
        test(large_ids_do_not_meet),
        test(marks_only_grow),
        test(sessions_are_found_by_their_token),
        test(sessions_expire_while_the_clock_is_set),
    };
    return cmocka_run_group_tests_name("model", tests, nullptr, nullptr);
}
