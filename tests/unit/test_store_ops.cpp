// The store's operations: for each WriteKind what it does and every reason to refuse it, and that conditions are judged in order within a batch.
#include "store_world.h"

static World world;
static int64_t anna, bob, carl, chief; // carl is a stranger to most rooms, chief an administrator
constexpr int64_t lobby = 1;

static int setup(void **) {
    world_make(world);
    anna = user_make(world, "anna");
    bob = user_make(world, "bob");
    carl = user_make(world, "carl");
    chief = user_make(world, "chief", Role::admin);
    return 0;
}

static int teardown(void **) {
    world_end(world);
    return 0;
}

#define refused(err, write) check_err(err_of(world, write), Err::err, __LINE__)
static void check_err(Err got, Err want, int line) { check(got == want, "line %d: %s, not %s", line, err_info(got).code, err_info(want).code); }
#define done_well(write) refused(ok, write)

static void block(int64_t user, bool on = true) {
    StoreWrite *w = about_user(WriteKind::user_block, user);
    w->flag = on;
    done_well(w);
}

static void archive(int64_t room, bool on = true) {
    StoreWrite *w = about_room(WriteKind::room_change, room, 0);
    w->has_archived = true;
    w->archived = on;
    done_well(w);
}

// --- users

static StoreWrite *a_user(const char *name, const char *key) {
    StoreWrite *w = a_write(WriteKind::user_add);
    w->name = in_arena(w, name);
    w->key = in_arena(w, key);
    w->text = "hash";
    return w;
}

static void user_add_makes_user_and_lobby_membership(void **) {
    int64_t newest = post(world, anna, lobby, "first");
    int64_t rev = store_rev(world.s);
    StoreWrite *w = did(world, a_user("Dora", "dora"));
    assert_int_equal((int)w->err, (int)Err::ok);
    assert_int_equal(w->changes_count, 2);
    const UserRow &user = w->changes[0].user;
    assert_int_equal((int)w->changes[0].kind, (int)ChangeKind::user);
    assert_int_equal(w->changes[0].rev, rev + 1);
    assert_int_equal(user.rev, rev + 1);
    assert_int_equal(user.id, w->user);
    check_text(user.name, "Dora", "name");
    check_text(user.display_name, "", "display name");
    assert_false(user.blocked || user.deleted);
    const MemberRow &member = w->changes[1].member;
    assert_int_equal((int)w->changes[1].kind, (int)ChangeKind::member);
    assert_int_equal(member.rev, rev + 2);
    assert_int_equal(member.room, lobby);
    assert_int_equal(member.user, w->user);
    assert_int_equal(member.seen, newest);
    assert_false(member.left);
    assert_int_equal(store_rev(world.s), rev + 2);
    store_write_free(w);
}

static void user_add_refuses_a_name_in_use_for_ever(void **) {
    int64_t rev = store_rev(world.s);
    refused(name_taken, a_user("ANNA", "anna"));
    assert_int_equal(store_rev(world.s), rev);
    done_well(about_user(WriteKind::user_delete, anna));
    refused(name_taken, a_user("Anna", "anna"));
}

static StoreWrite *an_invite(unsigned char byte) {
    StoreWrite *w = a_write(WriteKind::invite_set);
    memset(w->token_hash, byte, hash_bytes);
    return w;
}

static StoreWrite *invited(const char *name, unsigned char byte) {
    StoreWrite *w = a_user(name, name);
    memset(w->token_hash, byte, hash_bytes);
    return w;
}

static void role_set(int64_t user, Role role) {
    StoreWrite *w = about_user(WriteKind::user_role, user);
    w->role = role;
    done_well(w);
}

// Once there has been an administrator the link is void, though that one goes again.
static void an_administrator_ends_the_invite(void **) {
    role_set(chief, Role::user);
    done_well(an_invite(7));
    role_set(anna, Role::admin);
    role_set(anna, Role::user);
    refused(bad_invite, invited("dora", 7));
    done_well(an_invite(7));
    StoreWrite *w = a_user("boss", "boss");
    w->role = Role::admin;
    w = did(world, w);
    assert_int_equal((int)w->err, (int)Err::ok);
    int64_t boss = w->changes[0].user.id;
    store_write_free(w);
    done_well(about_user(WriteKind::user_delete, boss));
    refused(bad_invite, invited("dora", 7));
}

static void invites_make_one_administrator(void **) {
    done_well(an_invite(7));
    refused(bad_invite, invited("dora", 7)); // there is an administrator
    StoreWrite *demote = about_user(WriteKind::user_role, chief);
    demote->role = Role::user;
    done_well(demote);
    refused(bad_invite, invited("dora", 8)); // unknown
    done_well(an_invite(9));                 // replaces the one before
    refused(bad_invite, invited("dora", 7));
    refused(name_taken, invited("anna", 9)); // is not used up by this
    StoreWrite *w = did(world, invited("dora", 9));
    assert_int_equal((int)w->err, (int)Err::ok);
    assert_int_equal((int)w->changes[0].user.role, (int)Role::admin);
    store_write_free(w);
    refused(bad_invite, invited("emil", 9));
    done_well(an_invite(0));
    assert_int_equal(sql_value(world, "SELECT count(*) FROM invites"), 0);
}

static void user_profile_changes_what_is_given(void **) {
    StoreWrite *w = about_user(WriteKind::user_profile, anna);
    w->has_display_name = true;
    w->display_name = "Anna the Great";
    did(world, w);
    assert_int_equal(w->changes_count, 1);
    check_text(w->changes[0].user.display_name, "Anna the Great", "display name");
    assert_int_equal(w->changes[0].rev, store_rev(world.s));
    store_write_free(w);
    w = about_user(WriteKind::user_profile, anna);
    w->has_status = true;
    w->status = "out";
    did(world, w);
    check_text(w->changes[0].user.display_name, "Anna the Great", "display name stays");
    check_text(w->changes[0].user.status, "out", "status");
    check_text(w->user_row.status, "out", "user_row");
    store_write_free(w);
    refused(not_found, about_user(WriteKind::user_profile, 999));
}

static void user_role_is_a_change(void **) {
    StoreWrite *w = about_user(WriteKind::user_role, bob);
    w->role = Role::moderator;
    did(world, w);
    assert_int_equal(w->changes_count, 1);
    assert_int_equal((int)w->changes[0].user.role, (int)Role::moderator);
    store_write_free(w);
    refused(not_found, about_user(WriteKind::user_role, 999));
}

static void warnings_lead_to_a_block(void **) {
    int64_t rev = store_rev(world.s);
    for (uint32_t i = 1; i <= 3; i++) {
        StoreWrite *w = a_refusal(anna, Err::stop_word);
        w->limit = 3;
        did(world, w);
        assert_int_equal((int)w->err, (int)Err::ok);
        assert_int_equal(w->user_row.warnings, i);
        assert_true(w->user_row.blocked == (i == 3));
        assert_int_equal(w->changes_count, 0);
        store_write_free(w);
    }
    refused(blocked, a_refusal(anna, Err::stop_word));
    block(anna, false);
    StoreWrite *w = a_refusal(anna, Err::stop_word); // limit 0: never
    did(world, w);
    assert_int_equal(w->user_row.warnings, 1); // counted from 0 again
    assert_false(w->user_row.blocked);
    store_write_free(w);
    refused(not_found, a_refusal(999, Err::stop_word));
    refused(not_found, about_user(WriteKind::user_block, 999));
    assert_int_equal(store_rev(world.s), rev);
}

static void user_delete_ends_everything_but_the_name(void **) {
    int64_t room = room_make(world, anna, "Garden");
    int64_t message = post(world, anna, room, "stays");
    StoreWrite *session = about_user(WriteKind::session_add, anna);
    memset(session->token_hash, 1, hash_bytes);
    done_well(session);
    int64_t rev = store_rev(world.s);
    StoreWrite *w = did(world, about_user(WriteKind::user_delete, anna));
    assert_int_equal((int)w->err, (int)Err::ok);
    assert_int_equal(w->changes_count, 3); // lobby, garden, herself
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal((int)w->changes[i].kind, (int)ChangeKind::member);
        assert_true(w->changes[i].member.left);
        assert_int_equal(w->changes[i].rev, rev + 1 + i);
    }
    assert_int_equal(w->changes[2].rev, rev + 3);
    assert_true(w->changes[2].user.deleted);
    check_text(w->changes[2].user.name, "anna", "name");
    assert_int_equal(w->ended_sessions_count, 1);
    store_write_free(w);
    assert_int_equal(sql_value(world, "SELECT count(*) FROM sessions"), 0);
    refused(not_found, about_user(WriteKind::user_delete, anna));
    refused(not_found, about_user(WriteKind::user_profile, anna));
    refused(not_found, about_user(WriteKind::user_password, anna));
    refused(not_found, about_user(WriteKind::session_add, anna));
    refused(blocked, a_post(anna, room, "ghost"));
    StoreRead *r = a_read(ReadKind::page);
    r->room = room;
    r->limit = 10;
    did_read(world, r);
    assert_int_equal(r->changes_count, 1);
    assert_int_equal(r->changes[0].message.id, message);
    store_read_free(r);
}

// --- sessions

static int64_t session_make(int64_t user, unsigned char byte, int64_t time, uint32_t limit = 0) {
    StoreWrite *w = about_user(WriteKind::session_add, user);
    memset(w->token_hash, byte, hash_bytes);
    w->time = time;
    w->limit = limit;
    w->agent = "Browser";
    w->address = "192.0.2.1";
    did(world, w);
    assert_int_equal((int)w->err, (int)Err::ok);
    int64_t id = w->session_id;
    store_write_free(w);
    return id;
}

static void the_longest_unused_sessions_go(void **) {
    int64_t a = session_make(anna, 1, 100), b = session_make(anna, 2, 200), c = session_make(anna, 3, 300);
    session_make(bob, 4, 50);
    StoreWrite *touch = a_write(WriteKind::session_touch);
    touch->session_id = a;
    touch->time = 400;
    done_well(touch);
    StoreWrite *w = about_user(WriteKind::session_add, anna);
    memset(w->token_hash, 5, hash_bytes);
    w->time = 10; // a clock that is not set: the new session stays all the same
    w->limit = 3;
    did(world, w);
    assert_int_equal(w->ended_sessions_count, 1);
    assert_int_equal(w->ended_sessions[0], b);
    int64_t d = w->session_id;
    store_write_free(w);
    StoreRead *r = a_read(ReadKind::sessions);
    r->user = anna;
    did_read(world, r);
    assert_int_equal(r->sessions_count, 3);
    assert_int_equal(r->sessions[0].id, a);
    assert_int_equal(r->sessions[0].last_used, 400);
    assert_int_equal(r->sessions[1].id, c);
    assert_int_equal(r->sessions[2].id, d);
    check_text(r->sessions[1].agent, "Browser", "agent");
    check_text(r->sessions[1].address, "192.0.2.1", "address");
    assert_int_equal(r->sessions[1].token_hash[31], 3);
    store_read_free(r);
}

static void sessions_end(void **) {
    int64_t id = session_make(anna, 1, 100);
    StoreWrite *w = about_user(WriteKind::session_end, bob);
    w->session_id = id;
    refused(not_found, w); // somebody else's
    w = about_user(WriteKind::session_end, anna);
    w->session_id = id;
    done_well(w);
    w = about_user(WriteKind::session_end, anna);
    w->session_id = id;
    refused(not_found, w);
    assert_true(session_make(anna, 2, 100) > id); // ids are never used again
    session_make(anna, 3, 100);
    session_make(bob, 4, 100);
    w = did(world, about_user(WriteKind::session_end, anna)); // without an id: all of hers
    assert_int_equal((int)w->err, (int)Err::ok);
    assert_int_equal(w->ended_sessions_count, 2);
    store_write_free(w);
    assert_int_equal(sql_value(world, "SELECT count(*) FROM sessions"), 1);
    done_well(about_user(WriteKind::session_end, anna));
    refused(not_found, about_user(WriteKind::session_end, 999));
    block(bob);
    refused(blocked, about_user(WriteKind::session_add, bob));
}

// The one who asks has verified a hash; when that is not the present one any more, it proves nothing.
static void a_password_is_changed_only_from_the_one_verified(void **) {
    StoreWrite *w = about_user(WriteKind::user_password, anna);
    w->text = "first";
    done_well(w);
    w = about_user(WriteKind::user_password, anna);
    w->key = "first";
    w->text = "second";
    done_well(w);
    for (bool renew_only : {false, true}) {
        w = about_user(WriteKind::user_password, anna);
        w->key = "first";
        w->text = "renewed from the first";
        w->renew_only = renew_only;
        refused(not_found, w);
    }
    StoreRead *r = a_read(ReadKind::password);
    r->user = anna;
    check_text(did_read(world, r)->text, "second", "password");
    store_read_free(r);
}

static void a_new_password_ends_the_other_sessions(void **) {
    int64_t keep = session_make(anna, 1, 100);
    session_make(anna, 2, 200);
    session_make(anna, 3, 300);
    session_make(bob, 4, 300);
    StoreWrite *w = about_user(WriteKind::user_password, anna);
    w->text = "renewed";
    w->renew_only = true;
    did(world, w);
    assert_int_equal(w->ended_sessions_count, 0);
    store_write_free(w);
    w = about_user(WriteKind::user_password, anna);
    w->text = "another";
    w->keep_session = keep;
    did(world, w);
    assert_int_equal((int)w->err, (int)Err::ok);
    assert_int_equal(w->ended_sessions_count, 2);
    store_write_free(w);
    assert_int_equal(sql_value(world, "SELECT count(*) FROM sessions"), 2);
    StoreRead *r = a_read(ReadKind::password);
    r->user = anna;
    check_text(did_read(world, r)->text, "another", "password");
    store_read_free(r);
    r = a_read(ReadKind::password);
    r->user = 999;
    check_text(did_read(world, r)->text, "", "nobody's password");
    store_read_free(r);
    refused(not_found, about_user(WriteKind::user_password, 999));
}

// --- rooms

static void room_add_makes_room_and_members(void **) {
    int64_t rev = store_rev(world.s);
    StoreWrite *w = a_write(WriteKind::room_add, anna);
    int64_t ids[] = {bob, anna, bob, 999, carl};
    w->name = "Garden";
    w->key = "garden";
    w->topic = "Roses";
    w->flag = true;
    w->ids = ids;
    w->ids_count = 5;
    did(world, w);
    assert_int_equal((int)w->err, (int)Err::ok);
    assert_int_equal(w->changes_count, 4);
    const RoomRow &room = w->changes[0].room;
    assert_int_equal(room.rev, rev + 1);
    assert_int_equal(room.owner, anna);
    assert_true(room.is_private);
    check_text(room.topic, "Roses", "topic");
    const int64_t members[] = {anna, bob, carl};
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(w->changes[i + 1].member.user, members[i]);
        assert_int_equal(w->changes[i + 1].member.rev, rev + 2 + i);
        assert_int_equal(w->changes[i + 1].member.room, room.id);
        assert_int_equal(w->changes[i + 1].member.seen, 0);
    }
    store_write_free(w);
    w = a_write(WriteKind::room_add, bob);
    w->name = "GARDEN";
    w->key = "garden";
    refused(name_taken, w);
    w = a_write(WriteKind::room_add, anna);
    w->name = w->key = "second";
    w->limit = 1;
    refused(too_many, w);
    block(anna);
    w = a_write(WriteKind::room_add, anna);
    w->name = w->key = "third";
    refused(blocked, w);
}

static StoreWrite *a_rename(int64_t by, int64_t room, const char *name) {
    StoreWrite *w = about_room(WriteKind::room_change, room, by);
    w->has_name = true;
    w->name = w->key = in_arena(w, name);
    return w;
}

static void room_change_is_for_owner_and_administrator(void **) {
    int64_t room = room_make(world, anna, "garden");
    int64_t hidden = room_make(world, anna, "hidden", true);
    join(world, bob, room);
    StoreWrite *w = did(world, a_rename(anna, room, "park"));
    assert_int_equal((int)w->err, (int)Err::ok);
    check_text(w->changes[0].room.name, "park", "name");
    assert_int_equal(w->changes[0].room.rev, store_rev(world.s));
    store_write_free(w);
    w = about_room(WriteKind::room_change, room, chief);
    w->has_topic = true;
    w->topic = "Trees";
    did(world, w);
    check_text(w->changes[0].room.name, "park", "name stays");
    check_text(w->changes[0].room.topic, "Trees", "topic");
    store_write_free(w);
    done_well(a_rename(anna, room, "Park")); // its own name, written otherwise
    refused(forbidden, a_rename(bob, room, "mine"));
    refused(name_taken, a_rename(anna, room, "lobby"));
    refused(not_found, a_rename(anna, 999, "nowhere"));
    refused(not_found, a_rename(chief, hidden, "found")); // private rooms don't show, to an administrator either
    block(anna);
    refused(blocked, a_rename(anna, room, "again"));
}

static void joining_and_inviting(void **) {
    int64_t room = room_make(world, anna, "garden");
    int64_t hidden = room_make(world, anna, "hidden", true);
    int64_t newest = post(world, anna, room, "hello");
    StoreWrite *w = did(world, about_room(WriteKind::member_add, room, bob, bob));
    assert_int_equal((int)w->err, (int)Err::ok);
    assert_int_equal(w->changes_count, 1);
    assert_int_equal(w->changes[0].member.seen, newest);
    assert_int_equal(w->changes[0].rev, store_rev(world.s));
    store_write_free(w);
    int64_t rev = store_rev(world.s);
    w = did(world, about_room(WriteKind::member_add, room, bob, bob)); // in already
    assert_int_equal((int)w->err, (int)Err::ok);
    assert_int_equal(w->changes_count, 0);
    store_write_free(w);
    assert_int_equal(store_rev(world.s), rev);
    refused(not_member, about_room(WriteKind::member_add, room, carl, chief)); // only members invite
    refused(not_found, about_room(WriteKind::member_add, hidden, bob, bob));
    refused(not_found, about_room(WriteKind::member_add, hidden, bob, carl));
    refused(not_found, about_room(WriteKind::member_add, 999, bob, bob));
    refused(not_found, about_room(WriteKind::member_add, room, anna, 999));
    done_well(about_room(WriteKind::member_add, hidden, anna, bob));
    done_well(about_room(WriteKind::member_add, hidden, bob, carl)); // any member
    archive(room);
    refused(archived, about_room(WriteKind::member_add, room, carl, carl));
    block(carl);
    refused(blocked, about_room(WriteKind::member_add, room, carl, carl));
}

static void leaving_removing_and_coming_back(void **) {
    int64_t room = room_make(world, anna, "garden");
    int64_t hidden = room_make(world, anna, "hidden", true);
    join(world, bob, room);
    join(world, carl, room);
    refused(forbidden, about_room(WriteKind::member_remove, room, carl, bob));
    refused(forbidden, about_room(WriteKind::member_remove, lobby, bob, bob));
    refused(forbidden, about_room(WriteKind::member_remove, lobby, chief, bob));
    StoreWrite *w = did(world, about_room(WriteKind::member_remove, room, bob, bob));
    assert_int_equal((int)w->err, (int)Err::ok);
    assert_int_equal(w->changes_count, 1);
    assert_true(w->changes[0].member.left);
    store_write_free(w);
    refused(not_member, about_room(WriteKind::member_remove, room, bob, bob));
    refused(not_found, about_room(WriteKind::member_remove, room, anna, bob));
    refused(not_found, about_room(WriteKind::member_remove, hidden, bob, bob));
    refused(not_found, about_room(WriteKind::member_remove, hidden, chief, anna));
    done_well(about_room(WriteKind::member_remove, room, anna, carl));
    refused(not_member, a_post(bob, room, "from outside"));
    int64_t newest = post(world, anna, room, "meanwhile");
    w = did(world, about_room(WriteKind::member_add, room, bob, bob));
    assert_int_equal(w->changes[0].member.seen, newest);
    assert_false(w->changes[0].member.left);
    store_write_free(w);
    post(world, bob, room, "back");
    done_well(about_room(WriteKind::member_remove, room, chief, bob));
    assert_int_equal(sql_value(world, "SELECT count(*) FROM members WHERE room = 2"), 3); // each has one row, for ever
}

// Between the hub's look and the transaction somebody may have been blocked: with a slow disk that is a long time.
static void who_was_just_blocked_changes_nothing(void **) {
    int64_t room = room_make(world, anna, "garden");
    join(world, bob, room);
    block(anna);
    int64_t rev = store_rev(world.s);
    StoreWrite *w = about_user(WriteKind::user_profile, anna, anna);
    w->has_status = true;
    w->status = "still here";
    refused(blocked, w);
    w = about_user(WriteKind::user_password, anna, anna);
    w->text = "another";
    refused(blocked, w);
    refused(blocked, about_room(WriteKind::member_remove, room, anna, bob));
    refused(blocked, about_room(WriteKind::member_remove, room, anna, anna));
    assert_int_equal(store_rev(world.s), rev);
    assert_int_equal(sql_value(world, "SELECT count(*) FROM users WHERE password = 'another'"), 0);
    w = about_user(WriteKind::user_password, anna); // the console may
    w->text = "another";
    done_well(w);
    done_well(about_room(WriteKind::member_remove, room, 0, anna));
}

// --- messages

static void a_post_is_stored(void **) {
    int64_t first = post(world, anna, lobby, "first");
    int64_t rev = store_rev(world.s);
    StoreWrite *w = a_post(bob, lobby, "h\xC3\xA9llo", "n-1");
    int64_t ids[] = {anna, carl};
    w->reply = first;
    w->ids = ids;
    w->ids_count = 2;
    w->time = 1234;
    did(world, w);
    assert_int_equal((int)w->err, (int)Err::ok);
    assert_false(w->is_repeat);
    assert_int_equal(w->changes_count, 1);
    StoreRead *r = a_read(ReadKind::page);
    r->room = lobby;
    r->limit = 1;
    did_read(world, r);
    for (const MessageRow *row : {&w->changes[0].message, &r->changes[0].message}) {
        assert_int_equal(row->id, rev + 1);
        assert_int_equal(row->rev, rev + 1);
        assert_int_equal(row->sender, bob);
        assert_int_equal(row->room, lobby);
        assert_int_equal(row->time, 1234);
        assert_int_equal(row->reply, first);
        assert_int_equal(row->edited, 0);
        assert_int_equal(row->deleted, 0);
        assert_int_equal(row->mentions_count, 2);
        assert_int_equal(row->mentions[1], carl);
        check_text(row->text, "h\xC3\xA9llo", "text");
        check_text(row->nonce, "n-1", "nonce");
    }
    store_read_free(r);
    store_write_free(w);
}

static void posts_are_refused(void **) {
    int64_t room = room_make(world, anna, "garden");
    int64_t elsewhere = post(world, anna, lobby, "elsewhere");
    int64_t rev = store_rev(world.s);
    refused(not_member, a_post(bob, room, "no"));
    refused(not_member, a_post(bob, 999, "no")); // looks the same
    StoreWrite *w = a_post(anna, room, "answer");
    w->reply = elsewhere; // of another room
    refused(not_found, w);
    w = a_post(anna, room, "answer");
    w->reply = 999;
    refused(not_found, w);
    assert_int_equal(store_rev(world.s), rev);
    archive(room);
    refused(archived, a_post(anna, room, "late"));
    archive(room, false);
    post(world, anna, room, "again");
    block(anna);
    refused(blocked, a_post(anna, room, "no"));
    refused(blocked, a_post(999, lobby, "nobody"));
}

static void a_nonce_is_used_once_for_as_long_as_the_row_lives(void **) {
    int64_t room = room_make(world, anna, "garden");
    int64_t id = post(world, anna, room, "once", "n");
    int64_t rev = store_rev(world.s);
    StoreWrite *w = did(world, a_post(anna, room, "twice", "n"));
    assert_int_equal((int)w->err, (int)Err::ok);
    assert_true(w->is_repeat);
    assert_int_equal(w->changes_count, 0);
    assert_int_equal(w->changes[0].message.id, id);
    check_text(w->changes[0].message.text, "once", "the stored one");
    store_write_free(w);
    assert_int_equal(store_rev(world.s), rev);
    assert_true(post(world, bob, lobby, "another sender's", "n") > id);
    done_well(a_delete(anna, id));
    w = did(world, a_post(anna, room, "thrice", "n"));
    assert_true(w->is_repeat);
    assert_true(w->changes[0].message.deleted != 0);
    check_text(w->changes[0].message.text, "", "tombstone");
    store_write_free(w);
    archive(room);
    w = did(world, a_post(anna, room, "once", "n")); // stored before it was archived
    assert_int_equal((int)w->err, (int)Err::ok);
    assert_true(w->is_repeat);
    store_write_free(w);
    world_close(world);
    world_open(world);
    w = did(world, a_post(anna, lobby, "after a restart", "n"));
    assert_true(w->is_repeat);
    store_write_free(w);
    assert_true(post(world, anna, lobby, "no nonce") != post(world, anna, lobby, "no nonce"));
}

// It was stored, and what speaks against it came later.
static void a_nonce_is_looked_for_before_the_refusal(void **) {
    int64_t room = room_make(world, anna, "garden"), other = room_make(world, bob, "other");
    int64_t id = post(world, anna, room, "once", "n");
    int64_t rev = store_rev(world.s);
    StoreWrite *answer_to_nothing = a_post(anna, room, "once", "n");
    answer_to_nothing->reply = 999;
    StoreWrite *again[] = {a_refusal(anna, Err::stop_word, "n"), a_refusal(anna, Err::too_long, "n"), a_post(anna, other, "once", "n"), answer_to_nothing};
    for (StoreWrite *w : again) {
        did(world, w);
        check(w->err == Err::ok && w->is_repeat, "%d: %s", (int)w->kind, err_info(w->err).code);
        assert_int_equal(w->changes_count, 0);
        assert_int_equal(w->changes[0].message.id, id);
        store_write_free(w);
    }
    assert_int_equal(sql_value(world, "SELECT sum(warnings) FROM users"), 0);
    refused(too_long, a_refusal(anna, Err::too_long, "n2"));
    refused(too_long, a_refusal(bob, Err::too_long, "n")); // a nonce belongs to its sender
    refused(empty, a_refusal(anna, Err::empty));
    assert_int_equal(store_rev(world.s), rev);
    // Who is no longer in the room does not see it.
    done_well(about_room(WriteKind::member_remove, room, chief, anna));
    refused(not_member, a_post(anna, room, "once", "n"));
    refused(too_long, a_refusal(anna, Err::too_long, "n"));
    StoreWrite *w = did(world, a_refusal(anna, Err::stop_word, "n"));
    assert_int_equal((int)w->err, (int)Err::ok);
    assert_false(w->is_repeat);
    assert_int_equal(w->user_row.warnings, 1);
    store_write_free(w);
    join(world, anna, room);
    block(anna);
    refused(blocked, a_refusal(anna, Err::too_long, "n"));
    refused(blocked, a_post(anna, other, "once", "n"));
}

// Somebody who may write there is remembered within a batch, but not past a warning that blocks.
static void nothing_is_posted_behind_the_last_warning(void **) {
    StoreWrite *w[] = {a_post(anna, lobby, "good"), a_refusal(anna, Err::stop_word, "bad"), a_post(anna, lobby, "late")};
    w[1]->limit = 1;
    for (StoreWrite *one : w) say(world, one);
    world_settle(world);
    const Err expected[] = {Err::ok, Err::ok, Err::blocked};
    for (int i = 0; i < 3; i++) {
        assert_int_equal((int)w[i]->err, (int)expected[i]);
        store_write_free(w[i]);
    }
}

static void edits(void **) {
    int64_t room = room_make(world, anna, "garden");
    join(world, bob, room);
    int64_t id = post(world, anna, room, "draft", "n");
    StoreWrite *w = an_edit(anna, id, "final");
    int64_t ids[] = {carl, bob, 999}; // carl is not in the room: he is not called
    w->ids = ids;
    w->ids_count = 3;
    w->time = 777;
    did(world, w);
    assert_int_equal((int)w->err, (int)Err::ok);
    assert_int_equal(w->changes_count, 1);
    const MessageRow &row = w->changes[0].message;
    assert_int_equal(row.id, id);
    assert_int_equal(row.rev, store_rev(world.s));
    assert_int_equal(row.edited, 777);
    check_text(row.text, "final", "text");
    check_text(row.nonce, "n", "nonce");
    assert_int_equal(row.mentions_count, 1);
    assert_int_equal(row.mentions[0], bob);
    store_write_free(w);
    int64_t rev = store_rev(world.s);
    w = did(world, an_edit(anna, id, "final"));
    assert_int_equal((int)w->err, (int)Err::ok);
    assert_true(w->is_repeat);
    assert_int_equal(w->changes_count, 0);
    assert_int_equal(w->changes[0].message.rev, rev);
    store_write_free(w);
    assert_int_equal(store_rev(world.s), rev);
    refused(forbidden, an_edit(bob, id, "not mine"));
    refused(forbidden, an_edit(0, id, "the system writes nobody's words"));
    refused(not_found, an_edit(carl, id, "guessed id"));
    refused(not_found, an_edit(anna, 999, "nothing there"));
    archive(room);
    refused(archived, an_edit(anna, id, "late"));
    archive(room, false);
    done_well(about_room(WriteKind::member_remove, room, chief, anna));
    refused(not_found, an_edit(anna, id, "outside"));
    join(world, anna, room);
    block(anna);
    refused(blocked, an_edit(anna, id, "blocked"));
    block(anna, false);
    done_well(a_delete(anna, id));
    refused(not_found, an_edit(anna, id, "dead"));
}

static void deletions(void **) {
    int64_t room = room_make(world, anna, "garden");
    join(world, bob, room);
    join(world, carl, room);
    int64_t by_bob = post(world, bob, room, "a secret that must go", "n");
    refused(forbidden, a_delete(carl, by_bob));
    refused(not_found, a_delete(chief, by_bob)); // not in the room
    archive(room);
    refused(archived, a_delete(bob, by_bob));
    archive(room, false);
    done_well(an_edit(bob, by_bob, "a worse secret"));
    StoreWrite *w = did(world, a_delete(anna, by_bob)); // the room's owner
    assert_int_equal((int)w->err, (int)Err::ok);
    assert_int_equal(w->changes_count, 1);
    const MessageRow &row = w->changes[0].message;
    assert_true(row.deleted != 0);
    assert_int_equal(row.edited, 0);
    assert_int_equal(row.rev, store_rev(world.s));
    check_text(row.text, "", "text");
    check_text(row.nonce, "n", "nonce stays");
    store_write_free(w);
    int64_t rev = store_rev(world.s);
    w = did(world, a_delete(bob, by_bob));
    assert_int_equal((int)w->err, (int)Err::ok);
    assert_true(w->is_repeat);
    assert_int_equal(w->changes_count, 0);
    assert_true(w->changes[0].message.deleted != 0);
    store_write_free(w);
    assert_int_equal(store_rev(world.s), rev);
    StoreWrite *promote = about_user(WriteKind::user_role, carl);
    promote->role = Role::moderator;
    done_well(promote);
    done_well(a_delete(carl, post(world, bob, room, "moderated")));
    done_well(a_delete(0, post(world, bob, room, "by the command line")));
    done_well(a_delete(bob, post(world, bob, room, "one's own")));
    refused(not_found, a_delete(bob, 999));
    block(bob);
    refused(blocked, a_delete(bob, by_bob));
}

// What was deleted is not in the files either, once the log has been copied.
static void deleted_text_leaves_the_files(void **) {
    int64_t id = post(world, anna, lobby, "XyzzySecretXyzzy");
    done_well(a_delete(anna, id));
    world_close(world);
    char command[128];
    snprintf(command, sizeof command, "grep -q XyzzySecretXyzzy %s/*", world.dir);
    assert_int_not_equal(system(command), 0);
    world_open(world);
}

static void marks_only_grow(void **) {
    int64_t first = post(world, anna, lobby, "1"), second = post(world, anna, lobby, "2");
    int64_t rev = store_rev(world.s);
    const int64_t ids[] = {second, first};
    for (int64_t id : ids) {
        Mark marks[] = {{lobby, bob, id}, {lobby, carl, first}, {999, bob, id}};
        StoreWrite *w = a_write(WriteKind::marks);
        w->marks = marks;
        w->marks_count = 3;
        done_well(w);
    }
    assert_int_equal(store_rev(world.s), rev);
    StoreRead *r = a_read(ReadKind::changes);
    did_read(world, r);
    int64_t seen_bob = 0, seen_carl = 0;
    for (uint32_t i = 0; i < r->changes_count; i++) {
        if (r->changes[i].kind != ChangeKind::member) continue;
        if (r->changes[i].member.user == bob) seen_bob = r->changes[i].member.seen;
        if (r->changes[i].member.user == carl) seen_carl = r->changes[i].member.seen;
    }
    assert_int_equal(seen_bob, second);
    assert_int_equal(seen_carl, first);
    store_read_free(r);
}

// --- one batch

static void conditions_are_judged_in_order_within_a_batch(void **) {
    int64_t room = room_make(world, anna, "garden");
    int64_t rev = store_rev(world.s);
    StoreWrite *w[12];
    int n = 0;
    w[n++] = a_post(anna, lobby, "one", "same");
    w[n++] = a_post(anna, lobby, "two", "same");
    w[n++] = about_room(WriteKind::member_add, room, bob, bob);
    w[n++] = a_post(bob, room, "just joined");
    w[n++] = about_room(WriteKind::member_remove, room, bob, bob);
    w[n++] = a_post(bob, room, "just left");
    w[n++] = about_user(WriteKind::user_block, anna);
    w[n - 1]->flag = true;
    w[n++] = a_post(anna, lobby, "blocked just now");
    w[n++] = a_user("dora", "dora");
    w[n++] = a_user("Dora", "dora");
    w[n++] = a_post(carl, lobby, "goes on");
    w[n++] = an_edit(carl, rev + 7, "and is edited"); // the id it is going to have
    const Err want[] = {Err::ok, Err::ok,      Err::ok, Err::ok,         Err::ok, Err::not_member,
                        Err::ok, Err::blocked, Err::ok, Err::name_taken, Err::ok, Err::ok};
    for (int i = 0; i < n; i++) say(world, w[i]);
    world_settle(world);
    int64_t next = rev;
    for (int i = 0; i < n; i++) {
        check(w[i]->err == want[i], "operation %d: %s", i, err_info(w[i]->err).code);
        // Refused ones have given their place in the log back: it is dense.
        for (uint32_t c = 0; c < w[i]->changes_count; c++) assert_int_equal(w[i]->changes[c].rev, ++next);
    }
    assert_true(w[1]->is_repeat);
    assert_int_equal(w[1]->changes[0].message.id, w[0]->changes[0].message.id);
    assert_int_equal(store_rev(world.s), next);
    for (int i = 0; i < n; i++) store_write_free(w[i]);
}

#define in_world(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main() {
    const struct CMUnitTest tests[] = {
        in_world(user_add_makes_user_and_lobby_membership),
        in_world(user_add_refuses_a_name_in_use_for_ever),
        in_world(an_administrator_ends_the_invite),
        in_world(invites_make_one_administrator),
        in_world(user_profile_changes_what_is_given),
        in_world(user_role_is_a_change),
        in_world(warnings_lead_to_a_block),
        in_world(user_delete_ends_everything_but_the_name),
        in_world(the_longest_unused_sessions_go),
        in_world(sessions_end),
        in_world(a_password_is_changed_only_from_the_one_verified),
        in_world(a_new_password_ends_the_other_sessions),
        in_world(room_add_makes_room_and_members),
        in_world(room_change_is_for_owner_and_administrator),
        in_world(joining_and_inviting),
        in_world(leaving_removing_and_coming_back),
        in_world(who_was_just_blocked_changes_nothing),
        in_world(a_post_is_stored),
        in_world(posts_are_refused),
        in_world(a_nonce_is_used_once_for_as_long_as_the_row_lives),
        in_world(a_nonce_is_looked_for_before_the_refusal),
        in_world(nothing_is_posted_behind_the_last_warning),
        in_world(edits),
        in_world(deletions),
        in_world(deleted_text_leaves_the_files),
        in_world(marks_only_grow),
        in_world(conditions_are_judged_in_order_within_a_batch),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
