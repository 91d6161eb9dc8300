// The hub on a real store: what people may do, what each change shows and to whom, warnings and blocks, mentions; then read marks and presence with a clock
// of the test's own.
#include "chat_world.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/limits.h"
#include "chat/presence.h"
#include "chat/seen.h"
#include "store/state.h"

static User *alice, *bob, *carol;

static int setup(void **) {
    chat_make();
    alice = chat_user("alice", Role::admin);
    bob = chat_user("bob");
    carol = chat_user("carol");
    return 0;
}

static int teardown(void **) {
    chat_remove();
    return 0;
}

// A connected client that has heard all there is.
static Client *listens(User *user) {
    Client *c = chat_connect(user);
    chat_wait(2000);
    buf_clear(c->got);
    return c;
}

// --- messages

static void a_message_goes_to_all_in_the_room(void **) {
    Client *a = listens(alice), *other = listens(alice), *b = listens(bob);
    assert_int_equal(chat_post(alice, lobby_id, "  hello\r\nthere ", "n1", {.id = chat_id(a), .ref = "r1"}), Err::ok);
    for (Client *c : {a, other, b}) {
        std::string_view frame = line_with(c->got, "\"message\"");
        assert_true(frame.find(R"("sender":"alice","text":"hello\nthere")") != std::string_view::npos);
        assert_true(frame.find(R"("nonce":"n1")") != std::string_view::npos);
        assert_int_equal(frame.find(R"("ref":"r1")") != std::string_view::npos, c == a); // others have refs of their own
    }
    check_text(decided.ref, "r1", "ref");
    assert_int_equal(model_room(&chat.hub.model, lobby_id)->last, decided.message);
}

static void what_cannot_be_is_refused_early(void **) {
    int64_t secret = chat_room(alice, "secret", true), open = chat_room(alice, "open"), old = chat_room(bob, "old");
    StoreWrite *w = hub_write_new(WriteKind::room_change, bob);
    w->room = old;
    w->archived = w->has_archived = true;
    assert_int_equal(chat_did(w), Err::ok);
    char longest[text_chars_max + 2];
    memset(longest, 'x', sizeof longest);
    const struct {
        const char *what;
        int64_t room;
        std::string_view text;
        Err err;
    } rows[] = {
        {"a private room", secret, "x", Err::not_found},
        {"no room", 99, "x", Err::not_found},
        {"no room", -1, "x", Err::not_found},
        {"not joined", open, "x", Err::not_member},
        {"archived", old, "x", Err::archived},
        {"nothing", lobby_id, " \n ", Err::empty},
        {"a control", lobby_id, "a\x01", Err::bad_request},
        {"the longest", lobby_id, {longest, text_chars_max}, Err::ok},
        {"too long", lobby_id, {longest, text_chars_max + 1}, Err::too_long},
    };
    for (auto &row : rows) {
        Err err = chat_post(bob, row.room, row.text);
        check(err == row.err, "%s: %s", row.what, err_info(err).code);
    }
    assert_int_equal(hub_edit(&chat.hub, bob, 0, "x", {}, chat_finish), Err::bad_request);
    assert_int_equal(hub_delete(&chat.hub, bob, -1, {}, chat_finish), Err::bad_request);
}

static void a_nonce_makes_one_message(void **) {
    Client *b = listens(bob);
    assert_int_equal(chat_post(alice, lobby_id, "once", "n"), Err::ok);
    int64_t id = decided.message;
    assert_int_equal(chat_post(alice, lobby_id, "once", "n"), Err::ok);
    assert_true(decided.is_repeat);
    assert_int_equal(decided.message, id);
    assert_int_equal(chat_post(bob, lobby_id, "mine", "n"), Err::ok); // a nonce belongs to its sender
    assert_false(decided.is_repeat);
    assert_int_equal(lines_with(b->got, "\"message\""), 2);
}

// It was stored, and acknowledged into a connection that was gone. That the room was archived since does not undo it.
static void a_nonce_is_answered_in_an_archived_room_too(void **) {
    int64_t room = chat_room(bob, "old");
    assert_int_equal(chat_post(bob, room, "just in time", "n"), Err::ok);
    int64_t id = decided.message;
    StoreWrite *w = hub_write_new(WriteKind::room_change, bob);
    w->room = room;
    w->archived = w->has_archived = true;
    assert_int_equal(chat_did(w), Err::ok);
    assert_int_equal(chat_post(bob, room, "just in time", "n"), Err::ok);
    assert_true(decided.is_repeat);
    assert_int_equal(decided.message, id);
    assert_int_equal(chat_post(bob, room, "too late", "n2"), Err::archived);
}

// And so it is with a text that may not be said any more, or with what a program makes of its outbox: only the nonce counts.
static void a_nonce_is_answered_whatever_speaks_against_it_now(void **) {
    int64_t room = chat_room(alice, "plans");
    chat_join(bob, room);
    assert_int_equal(chat_post(bob, room, "whatever", "n"), Err::ok);
    int64_t id = decided.message;
    ScopedBuf error;
    words_free(chat.hub.words);
    chat.hub.words = words_parse("whatever", &error);
    const struct {
        const char *text;
        int64_t room;
    } rows[] = {{"whatever", room}, {"", room}, {"a\x01", room}, {"x", 99}};
    for (auto &row : rows) {
        Err err = chat_post(bob, row.room, row.text, "n");
        check(err == Err::ok && decided.is_repeat && decided.message == id, "%s: %s", row.text, err_info(err).code);
    }
    assert_int_equal(bob->warnings, 0);
    assert_int_equal(chat_post(bob, room, "", "n2"), Err::empty);
    assert_int_equal(chat_post(bob, 99, "x", "n2"), Err::not_found);
    assert_int_equal(chat_post(bob, room, "whatever", "n2"), Err::ok);
    assert_false(decided.is_repeat);
    assert_int_equal(bob->warnings, 1);
    StoreWrite *w = hub_write_new(WriteKind::member_remove, bob);
    w->room = room;
    w->user = bob->id;
    assert_int_equal(chat_did(w), Err::ok);
    assert_int_equal(chat_post(bob, room, "whatever", "n"), Err::not_member);
}

static void mentions_name_who_is_in_the_room(void **) {
    int64_t room = chat_room(alice, "plans");
    chat_join(bob, room);
    Client *a = listens(alice);
    const struct {
        const char *text, *mentions; // of the frame; null: none
    } rows[] = {
        {"@bob", R"(["bob"])"},
        {"@BOB, @bob and @alice.", R"(["bob","alice"])"},
        {"(@bob) @bob...", R"(["bob"])"},
        {"@carol is not here", nullptr},
        {"@nobody @ @@ bob", nullptr},
        {"mail bob@bob or x@alice.org", nullptr},
        {"你好@bob", R"(["bob"])"},
        {"@bobby", nullptr},
    };
    for (auto &row : rows) {
        buf_clear(a->got);
        assert_int_equal(chat_post(alice, room, row.text), Err::ok);
        std::string_view frame = line_with(a->got, "\"message\"");
        size_t at = frame.find("\"mentions\":");
        if (!row.mentions) check(at == std::string_view::npos, "%s: calls somebody", row.text);
        else check(at != std::string_view::npos && frame.substr(at + 11).starts_with(row.mentions), "%s: %.*s", row.text, (int)frame.size(), frame.data());
    }
    hub_edit(&chat.hub, alice, decided.message, "now @carol and @bob", {}, chat_finish);
    chat_settle();
    assert_true(line_with(a->got, "edited").find(R"("mentions":["bob"])") != std::string_view::npos);
}

static void edits_and_deletions_are_for_their_own(void **) {
    int64_t room = chat_room(alice, "secret", true);
    chat_post(alice, room, "hidden");
    int64_t hidden = decided.message;
    chat_post(bob, lobby_id, "bob's");
    int64_t open = decided.message;
    Client *c = listens(carol);
    const struct {
        User *by;
        int64_t message;
        bool edit;
        Err err;
    } rows[] = {
        {bob, hidden, true, Err::not_found}, {bob, hidden, false, Err::not_found}, {carol, open, true, Err::forbidden}, {carol, open, false, Err::forbidden},
        {bob, 999, true, Err::not_found},    {bob, open, true, Err::ok},           {alice, open, true, Err::forbidden}, {alice, open, false, Err::ok},
        {bob, open, true, Err::not_found}, // it is deleted
    };
    for (auto &row : rows) {
        Err err = row.edit ? hub_edit(&chat.hub, row.by, row.message, "changed", {}, chat_finish) : hub_delete(&chat.hub, row.by, row.message, {}, chat_finish);
        assert_int_equal(err, Err::ok);
        chat_settle();
        check(decided.err == row.err, "row %d: %s", (int)(&row - rows), err_info(decided.err).code);
    }
    assert_int_equal(lines_with(c->got, "\"message\""), 2);
    assert_true(line_with(c->got, "\"deleted\":").find(R"("text":"")") != std::string_view::npos);
}

// --- stop words

static void a_stop_word_warns_and_the_last_warning_blocks(void **) {
    Client *b = listens(bob);
    const char *texts[] = {"I hate it", "HATE", "h\u200bate"};
    for (uint32_t i = 1; i <= 3; i++) {
        assert_int_equal(chat_post(bob, lobby_id, texts[i - 1], "n"), Err::ok);
        assert_int_equal(decided.kind, WriteKind::message_refuse);
        assert_int_equal(decided.warnings, i);
        assert_int_equal(decided.blocked, i == 3);
    }
    assert_int_equal(lines_with(b->got, "\"message\""), 0);
    check_text(buf_view(chat.hooks), "bob blocked\n", "hooks");
    assert_int_equal(chat_post(bob, lobby_id, "harmless"), Err::blocked);
    assert_int_equal(hub_edit(&chat.hub, bob, 1, "x", {}, chat_finish), Err::blocked);
    StoreWrite *w = hub_write_new(WriteKind::user_block, nullptr);
    w->user = bob->id;
    w->flag = false;
    assert_int_equal(chat_did(w), Err::ok);
    assert_int_equal(bob->warnings, 0);
    assert_int_equal(chat_post(bob, lobby_id, "whatever"), Err::ok);
}

// A page that had no answer sends its message again: one message, one warning.
static void the_same_message_again_is_not_another_warning(void **) {
    for (int i = 0; i < 4; i++) {
        assert_int_equal(chat_post(bob, lobby_id, "I hate it", "n"), Err::ok);
        assert_int_equal(decided.kind, WriteKind::message_refuse);
        assert_int_equal(decided.warnings, 1);
    }
    // Also while the first one is not decided yet.
    for (int i = 0; i < 4; i++) assert_int_equal(hub_post(&chat.hub, bob, lobby_id, "hate", "m", 0, {}, chat_finish), Err::ok);
    chat_settle();
    assert_int_equal(bob->warnings, 2);
    assert_false(bob->blocked);
    assert_int_equal(chat_post(carol, lobby_id, "I hate it", "n"), Err::ok); // a nonce is its sender's
    assert_int_equal(carol->warnings, 1);
    assert_int_equal(chat_post(bob, lobby_id, "hate"), Err::ok); // and without a nonce each is a message of its own
    assert_true(bob->blocked);
    StoreWrite *w = hub_write_new(WriteKind::user_block, nullptr);
    w->user = bob->id;
    w->flag = false;
    assert_int_equal(chat_did(w), Err::ok);
    assert_int_equal(chat_post(bob, lobby_id, "I hate it", "n"), Err::ok); // unblocked, one begins anew
    assert_int_equal(decided.warnings, 1);
}

// It is sent again while the store takes nothing more: that the second was not taken does not undo the first.
static void a_repeat_that_is_not_taken_is_not_another_warning(void **) {
    assert_int_equal(chat_post(bob, lobby_id, "I hate it", "n"), Err::ok);
    assert_int_equal(bob->warnings, 1);
    chat.store.s->waiting = write_queue_max;
    assert_int_equal(hub_post(&chat.hub, bob, lobby_id, "I hate it", "n", 0, {}, chat_finish), Err::ok);
    assert_int_equal(decided.err, Err::unavailable);
    chat.store.s->waiting = 0;
    assert_int_equal(chat_post(bob, lobby_id, "I hate it", "n"), Err::ok);
    assert_int_equal(bob->warnings, 1);
    chat.store.s->waiting = write_queue_max;
    assert_int_equal(hub_post(&chat.hub, bob, lobby_id, "hate", "m", 0, {}, chat_finish), Err::ok);
    chat.store.s->waiting = 0;
    assert_int_equal(chat_post(bob, lobby_id, "hate", "m"), Err::ok); // this one was never given
    assert_int_equal(bob->warnings, 2);
    assert_int_equal(chat_post(bob, lobby_id, "hate", "m"), Err::ok);
    assert_int_equal(bob->warnings, 2);
}

static void without_a_limit_nobody_is_blocked(void **) {
    chat.hub.options.warnings_limit = 0;
    for (int i = 0; i < 5; i++) assert_int_equal(chat_post(bob, lobby_id, "hate"), Err::ok);
    assert_int_equal(bob->warnings, 5);
    assert_false(bob->blocked);
}

// Two at once: both are judged before the first is decided.
static void what_was_sent_before_the_block_is_judged_behind_it(void **) {
    chat.hub.options.warnings_limit = 1;
    for (const char *text : {"hate", "hello"}) assert_int_equal(hub_post(&chat.hub, bob, lobby_id, text, {}, 0, {}, chat_finish), Err::ok);
    chat_settle();
    assert_int_equal(decided.kind, WriteKind::message_post);
    assert_int_equal(decided.err, Err::blocked);
}

// --- people

static Session *a_session(User *user) {
    StoreWrite *w = hub_write_new(WriteKind::session_add, nullptr);
    w->user = user->id;
    random_bytes(w->token_hash, sizeof w->token_hash);
    assert_int_equal(chat_did(w), Err::ok);
    return user->sessions;
}

static void a_deleted_user_leaves_everywhere(void **) {
    int64_t room = chat_room(alice, "plans");
    chat_join(bob, room);
    chat_post(bob, room, "stays");
    a_session(bob);
    a_session(bob);
    Client *a = listens(alice);
    StoreWrite *w = hub_write_new(WriteKind::user_delete, nullptr);
    w->user = bob->id;
    assert_int_equal(chat_did(w), Err::ok);
    check_text(buf_view(chat.hooks), "session of bob ended\nsession of bob ended\n", "hooks");
    assert_true(bob->deleted && !bob->members && !bob->sessions);
    assert_int_equal(model_room(&chat.hub.model, room)->members_count, 1);
    assert_int_equal(lines_with(a->got, "left"), 0); // whose membership ended is for him alone
    assert_true(line_with(a->got, "\"user\"").find(R"("user":{"username":"bob","rev":)") != std::string_view::npos);
    assert_true(line_with(a->got, "\"user\"").find(R"("deleted":true)") != std::string_view::npos);
}

static void a_new_password_ends_the_other_sessions(void **) {
    Session *kept = a_session(bob);
    a_session(bob);
    StoreWrite *w = hub_write_new(WriteKind::user_password, nullptr);
    w->user = bob->id;
    w->text = "hash";
    w->keep_session = kept->id;
    assert_int_equal(chat_did(w), Err::ok);
    assert_ptr_equal(bob->sessions, kept);
    assert_null(kept->next_of_user);
    check_text(buf_view(chat.hooks), "session of bob ended\n", "hooks");
}

// Of somebody who never came back.
static void sessions_that_are_over_leave_the_database(void **) {
    Session *fresh = a_session(bob);
    int64_t kept = fresh->id, long_ago = clock_wall_ms() - session_unused_ms_max - 60'000;
    for (uint32_t i = 0; i < sessions_swept_max + 20; i++) {
        StoreWrite *w = hub_write_new(WriteKind::session_add, nullptr);
        w->user = alice->id;
        w->time = long_ago;
        random_bytes(w->token_hash, sizeof w->token_hash);
        w->limit = 1000;
        assert_int_equal(chat_did(w), Err::ok);
    }
    Session *used = alice->sessions; // by the dates it is over, but it was in use a moment ago
    used->touched_ms = clock_ms();
    chat_wait(1000);
    assert_int_equal(chat.hub.model.sessions_by_token.count, sessions_swept_max + 21); // nothing is known of the clock yet
    chat.hub.sweep_clock_difference -= 40LL * 24 * 3600 * 1000;
    chat_wait(sweep_ms);
    assert_int_equal(chat.hub.model.sessions_by_token.count, sessions_swept_max + 21); // it has just been set
    chat_wait(sweep_ms);
    assert_int_equal(chat.hub.model.sessions_by_token.count, 21); // not all in one go
    chat_wait(sweep_again_ms);
    assert_ptr_equal(alice->sessions, used);
    assert_null(used->next_of_user);
    used->touched_ms = 0;
    chat_wait(sweep_ms);
    assert_null(alice->sessions);
    assert_int_equal(bob->sessions->id, kept);
    assert_int_equal(chat.hub.sweep_due_ms, chat.now_ms + sweep_ms);
    assert_int_equal(hub_due_ms(&chat.hub), 0); // a server without work sleeps
    check_text(buf_view(chat.hooks).substr(0, 23), "session of alice ended\n", "hooks");
    StoreRead *read = store_read_new(ReadKind::sessions);
    read->user = alice->id;
    static uint32_t rows;
    rows = 99;
    read->done = [](StoreRead *r) {
        rows = r->sessions_count;
        store_read_free(r);
    };
    assert_true(store_read(chat.hub.store, read));
    chat_wait(1);
    assert_int_equal(rows, 0);
}

static void when_the_queue_is_full_the_answer_comes_at_once(void **) {
    uint32_t sent = 0, before = decided.count;
    while (decided.count == before) {
        assert_int_equal(hub_post(&chat.hub, alice, lobby_id, "x", {}, 0, {.ref = "late"}, chat_finish), Err::ok);
        check(++sent <= write_queue_max + 1, "nothing is refused");
    }
    assert_int_equal(sent, write_queue_max + 1);
    assert_int_equal(decided.err, Err::unavailable);
    check_text(decided.ref, "late", "ref");
    chat_settle();
    assert_int_equal(decided.count, before + sent);
}

static void after_a_reload_all_is_there_again(void **) {
    int64_t room = chat_room(alice, "plans", true);
    chat_join(bob, room, alice);
    chat_post(bob, room, "hello");
    int64_t rev = hub_rev(&chat.hub), last = decided.message;
    assert_true(hub_reload(&chat.hub));
    assert_int_equal(hub_rev(&chat.hub), rev);
    bob = chat_find("bob");
    assert_non_null(model_member(&chat.hub.model, room, bob->id));
    assert_int_equal(model_room(&chat.hub.model, room)->last, last);
    assert_int_equal(chat.hub.model.admins_count, 1);
    assert_int_equal(chat_post(bob, room, "again"), Err::ok);
}

// Or a login with the old password, under way since before it was changed, would take it for unchanged; and who is over a rate would begin anew.
static void a_reload_does_not_take_marks_back(void **) {
    chat_post(alice, lobby_id, "read by bob");
    int64_t newest = decided.message;
    assert_int_equal(seen_mark(&chat.hub, bob, lobby_id, newest, chat.now_ms), Err::ok); // told, and not on disk for some seconds
    assert_true(hub_reload(&chat.hub));
    alice = model_user_by_name(&chat.hub.model, "alice");
    bob = model_user_by_name(&chat.hub.model, "bob");
    Member *member = model_member(&chat.hub.model, lobby_id, bob->id);
    assert_int_equal(member->seen, newest);
    assert_true(member->seen_dirty);
    hub_flush_marks(&chat.hub);
    chat_settle();
    assert_false(member->seen_dirty);
}

static void a_reload_does_not_forget_what_only_memory_knows(void **) {
    StoreWrite *w = hub_write_new(WriteKind::user_password, nullptr);
    w->user = bob->id;
    w->text = "hash";
    assert_int_equal(chat_did(w), Err::ok);
    assert_int_equal(bob->passwords, 1);
    Rate rate = {.burst = 1, .per_second = 0.1};
    for (Bucket User::*bucket : {&User::messages, &User::requests}) assert_int_equal(bucket_take(bob->*bucket, rate, chat.now_ms), 0);
    assert_true(hub_reload(&chat.hub));
    bob = chat_find("bob");
    assert_int_equal(bob->passwords, 1);
    for (Bucket User::*bucket : {&User::messages, &User::requests}) assert_int_not_equal(bucket_take(bob->*bucket, rate, chat.now_ms), 0);
    assert_int_equal(chat_find("carol")->passwords, 0);
}

// --- read marks

static void a_mark_is_told_at_most_once_a_second(void **) {
    int64_t ids[4];
    for (int64_t &id : ids) id = (chat_post(alice, lobby_id, "x"), decided.message);
    Client *a = listens(alice);
    for (int64_t id : ids) {
        assert_int_equal(seen_mark(&chat.hub, bob, lobby_id, id, chat.now_ms), Err::ok);
        chat_wait(100);
    }
    assert_int_equal(lines_with(a->got, "\"seen\""), 1);
    chat_wait(1000);
    assert_int_equal(lines_with(a->got, "\"seen\""), 2);
    char want[80];
    snprintf(want, sizeof want, R"({"type":"seen","room":1,"user":"bob","id":%d})", (int)ids[3]);
    check_text(line_with(a->got, "\"seen\""), want, "the highest");
    chat_wait(5000);
    assert_int_equal(lines_with(a->got, "\"seen\""), 2);
}

// The next look is for the mark whose second is over first, not for the one that came first.
static void who_waits_shorter_is_told_sooner(void **) {
    for (int i = 0; i < 2; i++) chat_post(alice, lobby_id, "x");
    chat_settle();
    Client *a = listens(alice);
    chat_wait(60'000); // presence is quiet
    uint64_t begin = chat.now_ms;
    seen_mark(&chat.hub, bob, lobby_id, decided.message - 1, begin); // told at once
    chat_wait(400);
    seen_mark(&chat.hub, carol, lobby_id, decided.message - 1, chat.now_ms);
    seen_mark(&chat.hub, carol, lobby_id, decided.message, chat.now_ms); // waits for its second
    seen_mark(&chat.hub, bob, lobby_id, decided.message, chat.now_ms);   // for the rest of his
    uint64_t due = hub_due_ms(&chat.hub);
    check(due >= begin + seen_gap_ms && due <= begin + seen_gap_ms + 100, "due after %d ms", (int)(due - begin));
    chat_settle();
    uint32_t told = lines_with(a->got, "\"seen\"");
    chat_wait(due - chat.now_ms);
    assert_int_equal(lines_with(a->got, "\"seen\""), told + 1);
    assert_true(line_with(a->got, "\"seen\"").find("bob") != std::string_view::npos);
    due = hub_due_ms(&chat.hub); // what is left: carol, before anything is to be written
    check(due >= begin + 400 + seen_gap_ms && due <= begin + 500 + seen_gap_ms, "then after %d ms", (int)(due - begin));
}

// Many read at their own pace: all are told in time, and the hub does not look at all that wait for each of them.
static void a_crowd_that_reads_is_told_in_a_few_looks(void **) {
    char name[24];
    User *crowd[20];
    for (int i = 0; i < 20; i++) {
        snprintf(name, sizeof name, "u%d", i);
        crowd[i] = chat_user(name);
    }
    for (int i = 0; i < 2; i++) chat_post(alice, lobby_id, "x");
    Client *a = listens(alice);
    for (int i = 0; i < 20; i++, chat.now_ms += 3) {
        seen_mark(&chat.hub, crowd[i], lobby_id, decided.message - 1, chat.now_ms); // told at once
        seen_mark(&chat.hub, crowd[i], lobby_id, decided.message, chat.now_ms);
    }
    chat_settle();
    assert_int_equal(lines_with(a->got, "\"seen\""), 20);
    uint32_t looks = 0;
    uint64_t begin = chat.now_ms;
    for (; chat.hub.marks_pending.count; looks++) {
        chat.now_ms = chat.hub.marks_pending_due_ms;
        chat_turn();
    }
    check(looks <= 3 && chat.now_ms <= begin + seen_gap_ms + 200, "%u looks, %d ms", looks, (int)(chat.now_ms - begin));
    chat_settle();
    assert_int_equal(lines_with(a->got, "\"seen\""), 40);
}

static void a_mark_never_goes_back_nor_beyond_the_newest(void **) {
    chat_post(alice, lobby_id, "one");
    int64_t one = decided.message;
    chat_post(alice, lobby_id, "two");
    int64_t two = decided.message;
    const Member *member = model_member(&chat.hub.model, lobby_id, bob->id);
    assert_int_equal(seen_mark(&chat.hub, bob, lobby_id, two, chat.now_ms), Err::ok);
    assert_int_equal(seen_mark(&chat.hub, bob, lobby_id, one, chat.now_ms), Err::ok);
    assert_int_equal(member->seen, two);
    assert_int_equal(seen_mark(&chat.hub, bob, lobby_id, 1LL << 50, chat.now_ms), Err::ok);
    assert_int_equal(member->seen, two);
    assert_int_equal(seen_mark(&chat.hub, bob, lobby_id, 0, chat.now_ms), Err::bad_request);
    assert_int_equal(seen_mark(&chat.hub, bob, 99, one, chat.now_ms), Err::not_found);
}

static void marks_are_written_after_at_most_five_seconds(void **) {
    chat_post(alice, lobby_id, "x");
    chat_wait(10'000);
    seen_mark(&chat.hub, bob, lobby_id, decided.message, chat.now_ms);
    char sql[80];
    snprintf(sql, sizeof sql, "SELECT seen FROM members WHERE room = 1 AND user = %d", (int)bob->id);
    chat_wait(4000);
    assert_int_equal(sql_value(chat.store, sql), 0);
    assert_true(hub_due_ms(&chat.hub) <= chat.now_ms + 1000);
    chat_wait(1000);
    assert_int_equal(sql_value(chat.store, sql), decided.message);
    assert_int_equal(hub_due_ms(&chat.hub), 0); // nothing to wait for
    // With other commits sooner, and at the stop at once.
    chat_post(alice, lobby_id, "y");
    seen_mark(&chat.hub, bob, lobby_id, decided.message, chat.now_ms);
    chat.now_ms += 2500;
    chat_post(alice, lobby_id, "z");
    chat_settle();
    assert_int_equal(sql_value(chat.store, sql), decided.message - 1);
    seen_mark(&chat.hub, bob, lobby_id, decided.message, chat.now_ms);
    hub_flush_marks(&chat.hub);
    chat_settle();
    assert_int_equal(sql_value(chat.store, sql), decided.message);
}

// Thousands of marks are written in portions, one a turn, and at the stop all at once.
static void many_marks_are_written_in_portions(void **) {
    constexpr int crowd = 3 * marks_per_write_max - 1; // the last portion is one short of full
    ScopedBuf name;
    for (int i = 0; i < crowd; i++) {
        StoreWrite *w = hub_write_new(WriteKind::user_add, nullptr);
        buf_clear(name);
        buf_printf(name, "u%d", i);
        w->name = w->key = arena_copy(w->arena, buf_view(name));
        w->text = "hash";
        hub_submit(&chat.hub, w, {}, chat_finish);
    }
    chat_settle();
    chat_post(alice, lobby_id, "x");
    int64_t id = decided.message, first = chat_find("u0")->id;
    auto written = [] { return sql_value(chat.store, "SELECT count(*) FROM members WHERE room = 1 AND seen > 0"); };
    int64_t before = written();
    for (int i = 0; i < crowd; i++) seen_mark(&chat.hub, model_user(&chat.hub.model, first + i), lobby_id, id, chat.now_ms);
    chat.now_ms += seen_write_ms_max;
    chat_turn();
    assert_int_equal(chat.hub.marks_dirty.count, crowd - marks_per_write_max);
    for (int i = 0; i < 100 && written() != before + crowd; i++) {
        chat_settle();
        chat_turn();
    }
    assert_int_equal(written(), before + crowd);
    assert_int_equal(hub_due_ms(&chat.hub), 0);
    chat_post(alice, lobby_id, "y");
    for (int i = 0; i < crowd; i++) seen_mark(&chat.hub, model_user(&chat.hub.model, first + i), lobby_id, decided.message, chat.now_ms);
    hub_flush_marks(&chat.hub);
    assert_int_equal(chat.hub.marks_dirty.count, 0);
    chat_settle();
    ScopedBuf sql;
    buf_printf(sql, "SELECT count(*) FROM members WHERE room = 1 AND seen = %d%c", (int)decided.message, 0);
    assert_int_equal(sql_value(chat.store, sql.data), crowd);
}

static void a_mark_of_who_has_left_is_forgotten(void **) {
    int64_t room = chat_room(alice, "plans");
    chat_join(bob, room);
    chat_post(alice, room, "x");
    Client *a = listens(alice);
    seen_mark(&chat.hub, bob, room, decided.message - 1, chat.now_ms); // told at once
    seen_mark(&chat.hub, bob, room, decided.message, chat.now_ms);     // waits for its second
    chat_leave(bob, room);
    chat_wait(10'000);
    assert_int_equal(lines_with(a->got, "\"seen\""), 1);
    chat_join(bob, room);
    chat_wait(10'000);
    assert_int_equal(hub_due_ms(&chat.hub), 0);
}

// More than fifty: a mark is for the reader's own sockets and for the authors of what it newly covers, if they are still there.
static void in_a_large_room_marks_are_for_the_authors(void **) {
    int64_t room = chat_room(alice, "crowd");
    char name[24];
    for (uint32_t i = 0; i < seen_detail_members_max + 3; i++) {
        snprintf(name, sizeof name, "u%u", i);
        chat_join(chat_user(name), room);
    }
    User *author = chat_find("u1"), *gone = chat_find("u2"), *reader = chat_find("u3"), *other = chat_find("u4");
    chat_post(author, room, "one");
    chat_post(gone, room, "two");
    chat_leave(gone, room);
    Client *of_author = listens(author), *of_gone = listens(gone), *of_reader = listens(reader), *of_other = listens(other);
    seen_mark(&chat.hub, reader, room, 1LL << 40, chat.now_ms);
    chat_settle();
    assert_int_equal(lines_with(of_author->got, "\"seen\""), 1);
    assert_int_equal(lines_with(of_reader->got, "\"seen\""), 1);
    assert_int_equal(lines_with(of_other->got, "\"seen\""), 0);
    assert_int_equal(lines_with(of_gone->got, "\"seen\""), 0);
    // Who the authors are is not known when the store takes no more reads: the reader's other windows are told all the same.
    chat_post(author, room, "three");
    uint32_t waiting = chat.store.s->reads_waiting;
    chat.store.s->reads_waiting = read_queue_max;
    seen_mark(&chat.hub, reader, room, 1LL << 40, chat.now_ms + seen_gap_ms);
    chat.store.s->reads_waiting = waiting;
    chat_settle();
    assert_int_equal(lines_with(of_reader->got, "\"seen\""), 2);
    assert_int_equal(lines_with(of_author->got, "\"seen\""), 1);
}

// --- presence

static void people_come_at_once_and_go_after_ten_seconds(void **) {
    Client *a = listens(alice);
    Client *b = chat_connect(bob), *second = chat_connect(bob);
    chat_wait(presence_gather_ms);
    check_text(line_with(a->got, "presence"), R"({"type":"presence","online":["bob"],"offline":[]})", "came");
    assert_true(line_with(b->got, "ready").find(R"("online":["alice","bob"])") != std::string_view::npos ||
                line_with(b->got, "ready").find(R"("online":["bob","alice"])") != std::string_view::npos);
    chat_disconnect(second);
    chat_wait(20'000);
    assert_int_equal(lines_with(a->got, "presence"), 1); // one window is left
    chat_disconnect(b);
    chat_wait(presence_linger_ms - 1000);
    assert_int_equal(lines_with(a->got, "presence"), 1);
    chat_wait(2000);
    chat_wait(presence_gather_ms);
    check_text(line_with(a->got, "presence"), R"({"type":"presence","online":[],"offline":["bob"]})", "went");
    assert_int_equal(lines_with(a->got, "presence"), 2);
    assert_int_equal(hub_due_ms(&chat.hub), 0);
}

static void who_comes_back_in_time_was_never_gone(void **) {
    Client *a = listens(alice), *b = listens(bob);
    buf_clear(a->got);
    for (int i = 0; i < 3; i++) {
        chat_disconnect(b);
        chat_wait(presence_linger_ms - 1000);
        chat_reconnect(b, bob, {});
        chat_wait(100);
    }
    chat_wait(30'000);
    assert_int_equal(lines_with(a->got, "presence"), 0);
    assert_int_equal(chat.hub.model.online_count, 2);
}

// Many leave at different times: each is told within two seconds of its time, and the hub does not look at everybody for each of them.
static void a_crowd_leaves_one_by_one(void **) {
    Client *a = listens(alice);
    char name[24];
    Client *crowd[20];
    for (int i = 0; i < 20; i++) {
        snprintf(name, sizeof name, "u%d", i);
        crowd[i] = listens(chat_user(name));
    }
    chat_wait(5000);
    buf_clear(a->got);
    for (Client *c : crowd) {
        chat_disconnect(c);
        chat.now_ms += 10;
        chat_turn();
    }
    uint64_t last_left = chat.now_ms;
    uint32_t looks = 0;
    while (chat.hub.model.online_count > 1) {
        uint64_t due = hub_due_ms(&chat.hub);
        assert_true(due > 0);
        if (due > chat.now_ms) chat.now_ms = due;
        chat_turn();
        looks++;
    }
    check(chat.now_ms <= last_left + presence_linger_ms + presence_gather_ms, "the last was seen off %d ms later", (int)(chat.now_ms - last_left));
    check(looks <= 4, "%u looks at everybody", looks);
    chat_wait(2000);
    for (int i = 0; i < 20; i++) {
        snprintf(name, sizeof name, "\"u%d\"", i);
        assert_int_equal(lines_with(a->got, name), 1);
    }
}

static void typing_is_for_the_others_and_not_too_often(void **) {
    int64_t room = chat_room(alice, "plans");
    chat_join(bob, room);
    Client *a = listens(alice), *b = listens(bob), *c = listens(carol);
    for (int i = 0; i < 7; i++) {
        assert_int_equal(presence_typing(&chat.hub, bob, room, chat.now_ms), Err::ok);
        chat_wait(1000);
    }
    assert_int_equal(lines_with(a->got, R"({"type":"typing","room":2,"user":"bob"})"), 3);
    assert_int_equal(lines_with(b->got, "typing"), 0);
    assert_int_equal(lines_with(c->got, "typing"), 0);
    assert_int_equal(presence_typing(&chat.hub, carol, room, chat.now_ms), Err::not_member);
    assert_int_equal(presence_typing(&chat.hub, carol, 99, chat.now_ms), Err::not_found);
}

int main() {
#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        test(a_message_goes_to_all_in_the_room),
        test(what_cannot_be_is_refused_early),
        test(a_nonce_makes_one_message),
        test(a_nonce_is_answered_in_an_archived_room_too),
        test(a_nonce_is_answered_whatever_speaks_against_it_now),
        test(mentions_name_who_is_in_the_room),
        test(edits_and_deletions_are_for_their_own),
        test(a_stop_word_warns_and_the_last_warning_blocks),
        test(the_same_message_again_is_not_another_warning),
        test(a_repeat_that_is_not_taken_is_not_another_warning),
        test(without_a_limit_nobody_is_blocked),
        test(what_was_sent_before_the_block_is_judged_behind_it),
        test(a_deleted_user_leaves_everywhere),
        test(a_new_password_ends_the_other_sessions),
        test(sessions_that_are_over_leave_the_database),
        test(when_the_queue_is_full_the_answer_comes_at_once),
        test(after_a_reload_all_is_there_again),
        test(a_reload_does_not_take_marks_back),
        test(a_reload_does_not_forget_what_only_memory_knows),
        test(a_mark_is_told_at_most_once_a_second),
        test(who_waits_shorter_is_told_sooner),
        test(a_crowd_that_reads_is_told_in_a_few_looks),
        test(a_mark_never_goes_back_nor_beyond_the_newest),
        test(marks_are_written_after_at_most_five_seconds),
        test(many_marks_are_written_in_portions),
        test(a_mark_of_who_has_left_is_forgotten),
        test(in_a_large_room_marks_are_for_the_authors),
        test(people_come_at_once_and_go_after_ten_seconds),
        test(who_comes_back_in_time_was_never_gone),
        test(a_crowd_leaves_one_by_one),
        test(typing_is_for_the_others_and_not_too_often),
    };
    return cmocka_run_group_tests_name("hub", tests, nullptr, nullptr);
}
