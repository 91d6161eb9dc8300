// From nothing, or from where one was, to the present (PROTOCOL §1, §3.1): examples of welcome, snapshot, resume and falling behind; then random histories
// with readers that start, resume from any position, are slow and are overrun, each held to what the protocol promises (SEED repeats a run).
#include "chat_world.h"

#include <time.h>

#include "base/json.h"
#include "base/limits.h"
#include "chat/presence.h"
#include "chat/protocol.h"
#include "chat/seen.h"
#include "chat/unread.h"

static User *alice, *bob, *carol;

static int setup(void **) {
    chat_make();
    alice = chat_user("alice");
    bob = chat_user("bob");
    carol = chat_user("carol");
    return 0;
}

static int teardown(void **) {
    chat_remove();
    return 0;
}

// The types of all frames that arrived, with their rev where they have one: "welcome history ready@5 message@6".
static void shape(const Client *c, Buf &out) {
    for (std::string_view rest = buf_view(c->got); !rest.empty();) {
        size_t end = rest.find('\n');
        JsonRef root = json_parse(rest.substr(0, end));
        rest.remove_prefix(end + 1);
        std::string_view type;
        int64_t rev;
        assert_true(json_string(json_get(root, "type"), &type));
        if (out.len) buf_add_char(out, ' ');
        buf_add(out, type);
        if (type != "welcome" && json_int(json_get(root, "rev"), &rev)) buf_printf(out, "@%d", (int)rev);
        bool left;
        if (json_bool(json_get(root, "left"), &left)) buf_add(out, "-left");
    }
}

static void got_is(Client *c, const char *want) {
    ScopedBuf got;
    shape(c, got);
    check_text(buf_view(got), want, "frames");
    buf_clear(c->got);
}

static ReaderStart since(int64_t rev, uint32_t max = resume_max_none) { return {.resume = true, .since = rev, .max = max}; }

// What a client that resumes from a position gets, in short.
static void resumes_as(User *user, int64_t rev, const char *want) {
    Client *c = chat_connect(user, since(rev));
    chat_settle();
    got_is(c, want);
    chat_disconnect(c);
}

static int64_t now() { return hub_rev(&chat.hub); }

static void overrun() { // every reader that is not served meanwhile loses its place
    for (uint32_t i = 0; i < ring_entries; i++) ring_push(&chat.hub.ring, 0, {.kind = AudienceKind::users}, "{}");
}

// --- starting

static void a_newcomer_gets_welcome_history_ready(void **) {
    chat_post(alice, lobby_id, "first");
    Client *c = chat_connect(bob);
    assert_int_equal(c->got.len, 0);
    chat_settle();
    got_is(c, "welcome history ready@8");
    assert_int_equal(c->reader.position, now());
    chat_post(alice, lobby_id, "second");
    got_is(c, "message@9");
}

static void welcome_says_where_one_is(void **) {
    int64_t first = (chat_post(alice, lobby_id, "one @bob"), decided.message);
    chat_post(alice, lobby_id, "two");
    chat_post(bob, lobby_id, "my own");
    seen_mark(&chat.hub, alice, lobby_id, first, chat.now_ms);
    Client *c = chat_connect(bob);
    chat_settle();
    std::string_view welcome = line_with(c->got, "\"welcome\"");
    JsonRef root = json_parse(welcome), room = json_at(json_get(root, "rooms"), 0);
    int64_t rev = 0, unread = -1, mentions = -1, seen = -1, by = 0;
    std::string_view epoch;
    bool resumed, joined;
    assert_true(json_string(json_get(root, "epoch"), &epoch) && epoch == store_epoch(chat.store.s));
    assert_true(json_int(json_get(root, "rev"), &rev) && rev == now());
    assert_true(json_bool(json_get(root, "resumed"), &resumed) && !resumed);
    assert_true(json_get(json_get(root, "user"), "warnings"));
    assert_true(json_bool(json_get(room, "joined"), &joined) && joined);
    assert_true(json_int(json_get(room, "unread"), &unread) && json_int(json_get(room, "mentions"), &mentions) && json_int(json_get(room, "seen"), &seen));
    assert_int_equal(unread, 2);
    assert_int_equal(mentions, 1);
    assert_int_equal(seen, 0);
    assert_true(json_int(json_get(json_get(room, "seen_by"), "alice"), &by));
    assert_int_equal(by, first);
}

static void what_happens_meanwhile_comes_behind_the_snapshot(void **) {
    chat_post(alice, lobby_id, "first");
    Client *c = chat_connect(bob, {}, 0);
    chat_settle(); // welcome is on its way
    hub_edit(&chat.hub, alice, decided.message, "changed", {}, chat_finish);
    hub_post(&chat.hub, alice, lobby_id, "second", {}, 0, {}, chat_finish);
    chat_settle();
    c->takes = takes_all;
    chat_settle();
    // The first was changed after the snapshot: it is not in the page, but comes as a frame.
    got_is(c, "welcome history message@9 message@10 ready@10");
    assert_int_equal(lines_with(c->got, "first"), 0);
}

static void rooms_come_the_most_recent_first_and_no_more_than_twenty(void **) {
    int64_t rooms[24];
    char name[24];
    for (int i = 0; i < 24; i++) {
        snprintf(name, sizeof name, "room-%d", i);
        rooms[i] = chat_room(alice, name);
    }
    chat_post(alice, rooms[5], "newest but one");
    chat_post(alice, rooms[3], "newest");
    Client *c = chat_connect(alice);
    chat_settle();
    assert_int_equal(lines_with(c->got, "{\"type\":\"history\""), welcome_rooms_max);
    char want[64];
    ScopedBuf got;
    buf_add(got, buf_view(c->got).substr(buf_view(c->got).find("\"history\"")));
    snprintf(want, sizeof want, "\"history\",\"room\":%d,", (int)rooms[3]);
    assert_true(buf_view(got).starts_with(want));
}

// --- resuming

static void resume_tells_each_thing_once_in_its_present_state(void **) {
    int64_t from = now();
    chat_post(alice, lobby_id, "one");
    int64_t one = decided.message;
    chat_post(alice, lobby_id, "two");
    for (const char *text : {"one, mended", "one, mended again"}) {
        hub_edit(&chat.hub, alice, one, text, {}, chat_finish);
        chat_settle();
    }
    chat_rename(carol, "Carol C.");
    resumes_as(bob, from, "welcome message@9 message@11 user@12 ready@12");
    resumes_as(bob, from + 2, "welcome message@11 user@12 ready@12");
    resumes_as(bob, now(), "welcome ready@12");
    // From the beginning: alice, bob, the lobby that he is in since 5; carol came at 6 and has changed at 12.
    resumes_as(bob, 0, "welcome user@2 user@4 room@5 message@9 message@11 user@12 ready@12");
}

static void without_a_place_in_this_log_one_starts_afresh(void **) {
    chat_post(alice, lobby_id, "one");
    chat_post(alice, lobby_id, "two");
    resumes_as(bob, now() + 1, "welcome history ready@9"); // beyond the present
    Client *c = chat_connect(bob, since(now() - 2, 2));
    chat_settle();
    got_is(c, "welcome message@8 message@9 ready@9");
    c = chat_connect(bob, since(now() - 2, 1)); // more wait than it wants
    chat_settle();
    got_is(c, "welcome history ready@9");
}

// --- rooms one is in, and others

static void of_a_private_room_nothing_leaves_it(void **) {
    int64_t from = now();
    Client *live = chat_connect(bob);
    chat_settle();
    buf_clear(live->got);
    int64_t room = chat_room(alice, "secret", true);
    chat_post(alice, room, "whispered");
    chat_join(carol, room, alice);
    presence_typing(&chat.hub, alice, room, chat.now_ms);
    seen_mark(&chat.hub, carol, room, decided.rev, chat.now_ms);
    chat_leave(carol, room);
    chat_wait(2000);
    got_is(live, "presence");
    resumes_as(bob, from, "welcome ready@12");
    resumes_as(carol, from, "welcome room@12-left ready@12");
    resumes_as(alice, from, "welcome room@9 message@10 ready@12");
}

// Whose membership it is matters: others come and go in rooms that one is in, or is not.
static void memberships_of_others_are_not_ones_own(void **) {
    int64_t room = chat_room(alice, "plans");
    chat_join(bob, room);
    int64_t from = now();
    chat_join(carol, room);
    resumes_as(bob, from, "welcome ready@11");
    chat_leave(carol, room);
    resumes_as(bob, from, "welcome ready@12");
    resumes_as(carol, from, "welcome room@12-left ready@12");
}

static void who_comes_into_a_room_gets_what_follows(void **) {
    int64_t room = chat_room(alice, "plans");
    chat_post(alice, room, "before");
    int64_t from = now();
    Client *c = chat_connect(bob);
    chat_settle();
    buf_clear(c->got);
    chat_join(bob, room);
    assert_true(line_with(c->got, "\"room\"").find("\"joined\":true,\"seen\":10") != std::string_view::npos);
    chat_post(alice, room, "after");
    got_is(c, "room@11 message@12");
    chat_leave(bob, room);
    chat_post(alice, room, "without bob");
    got_is(c, "room@13-left");
    resumes_as(bob, from, "welcome room@13-left ready@14");
}

// Visibility is judged when a frame is sent: bob was let into a private room and put out again before he could be told.
static void who_has_left_again_is_not_told_of_the_room(void **) {
    int64_t room = chat_room(alice, "secret", true);
    Client *c = chat_connect(bob);
    chat_settle();
    buf_clear(c->got);
    c->takes = 0;
    chat_join(bob, room, alice);
    chat_leave(bob, room, alice);
    c->takes = takes_all;
    chat_settle();
    got_is(c, "room@11-left");
}

static void a_new_public_room_is_shown_to_all_and_comes_once(void **) {
    Client *a = chat_connect(alice), *b = chat_connect(bob);
    chat_settle();
    buf_clear(a->got);
    buf_clear(b->got);
    chat_room(alice, "plans");
    got_is(a, "room@9");
    got_is(b, "room@8");
    resumes_as(alice, 7, "welcome room@9 ready@9");
    resumes_as(bob, 7, "welcome room@8 ready@9");
}

// --- falling behind

static void who_was_overrun_misses_nothing_of_the_log(void **) {
    Client *c = chat_connect(bob);
    chat_settle();
    chat_post(alice, lobby_id, "one");
    buf_clear(c->got);
    c->takes = 0;
    chat_post(alice, lobby_id, "two");
    int64_t two = decided.message;
    chat_post(alice, lobby_id, "three");
    hub_delete(&chat.hub, alice, two, {}, chat_finish);
    chat_settle();
    presence_typing(&chat.hub, alice, lobby_id, chat.now_ms);
    overrun();
    c->takes = takes_all;
    chat_settle();
    got_is(c, "message@10 message@11 ready@11");
    chat_post(alice, lobby_id, "four");
    got_is(c, "message@12");
}

static void marks_that_moved_meanwhile_come_before_ready(void **) {
    chat_post(alice, lobby_id, "one");
    int64_t one = decided.message;
    Client *c = chat_connect(bob);
    chat_wait(2000);
    buf_clear(c->got);
    c->takes = 0;
    seen_mark(&chat.hub, alice, lobby_id, one, chat.now_ms);
    seen_mark(&chat.hub, carol, lobby_id, one, chat.now_ms);
    chat_wait(2000);
    overrun();
    c->takes = takes_all;
    chat_settle();
    got_is(c, "seen seen ready@8");
}

// More of them than go into one page.
static void all_marks_that_moved_are_told(void **) {
    constexpr int people = 45, rooms = 6;
    User *others[people];
    int64_t where[rooms], last[rooms];
    for (int i = 0; i < people; i++) {
        char name[24];
        snprintf(name, sizeof name, "p%d", i);
        others[i] = chat_user(name);
    }
    for (int i = 0; i < rooms; i++) {
        char name[24];
        snprintf(name, sizeof name, "room %d", i);
        where[i] = chat_room(alice, name);
        for (User *user : others) model_put_member(&chat.hub.model, {.rev = now(), .room = where[i], .user = user->id, .seen = 0, .left = false});
        model_put_member(&chat.hub.model, {.rev = now(), .room = where[i], .user = bob->id, .seen = 0, .left = false});
        chat_post(alice, where[i], "one");
        last[i] = decided.message;
    }
    Client *c = chat_connect(bob);
    chat_wait(2000);
    buf_clear(c->got);
    c->takes = 0;
    for (int i = 0; i < rooms; i++)
        for (User *user : others) assert_int_equal((int)seen_mark(&chat.hub, user, where[i], last[i], chat.now_ms), (int)Err::ok);
    chat_wait(2000);
    overrun();
    c->takes = takes_all;
    chat_settle();
    assert_int_equal(lines_with(c->got, "\"type\":\"seen\""), rooms * people);
    assert_int_equal(lines_with(c->got, "\"type\":\"ready\""), 1);
}

// It moved while the reader was up to date, but its second had not passed: the frame that told it was overrun.
static void a_mark_that_waited_is_told_to_who_was_overrun(void **) {
    chat_post(alice, lobby_id, "one");
    int64_t one = decided.message;
    chat_post(alice, lobby_id, "two");
    Client *c = chat_connect(bob);
    chat_wait(2000);
    seen_mark(&chat.hub, alice, lobby_id, one, chat.now_ms);
    seen_mark(&chat.hub, alice, lobby_id, one + 1, chat.now_ms);
    chat_settle();
    assert_int_equal(lines_with(c->got, "\"type\":\"seen\""), 1);
    c->takes = 0;
    chat_wait(2000);
    overrun();
    buf_clear(c->got);
    c->takes = takes_all;
    chat_settle();
    got_is(c, "seen ready@9");
}

static void a_slow_reader_costs_the_others_nothing(void **) {
    Client *slow = chat_connect(bob, {}, 1), *fast = chat_connect(carol);
    chat_settle();
    slow->takes = 0;
    buf_clear(slow->got);
    buf_clear(fast->got);
    for (int i = 0; i < 20; i++) chat_post(alice, lobby_id, "x");
    assert_int_equal(lines_with(fast->got, "\"message\""), 20);
    assert_int_equal(slow->got.len, 0);
    slow->takes = 1;
    chat_settle();
    assert_int_equal(lines_with(slow->got, "\"message\""), 20);
}

// --- without the store

// What `welcome` says of a room, and what the store says.
static UnreadCount welcomed(const Client *c, int64_t room) {
    JsonRef rooms = json_get(json_parse(line_with(c->got, "\"welcome\"")), "rooms");
    uint32_t count;
    assert_true(json_array(rooms, &count));
    for (uint32_t i = 0; i < count; i++) {
        int64_t id = 0, unread = -1, mentions = -1;
        JsonRef one = json_at(rooms, i);
        assert_true(json_int(json_get(one, "id"), &id) && json_int(json_get(one, "unread"), &unread) && json_int(json_get(one, "mentions"), &mentions));
        if (id == room) return {(uint32_t)unread, (uint32_t)mentions};
    }
    check(false, "room %d is not in welcome", (int)room);
    return {};
}

static UnreadCount stored(const User *user, int64_t room) {
    StoreRead *rd = store_read_new(ReadKind::unread);
    Mark mark = {room, user->id, model_member(&chat.hub.model, room, user->id)->seen};
    rd->user = user->id;
    rd->marks = &mark;
    rd->marks_count = 1;
    UnreadCount counts = {};
    rd->owner = &counts;
    rd->done = [](StoreRead *done) {
        assert_int_equal(done->err, Err::ok);
        *static_cast<UnreadCount *>(done->owner) = done->counts[0];
        done->owner = nullptr;
    };
    assert_true(store_read(chat.store.s, rd));
    while (rd->owner) chat_turn();
    store_read_free(rd);
    return counts;
}

static void unread_is_as_stored(User *user, int64_t room) {
    UnreadCount want = stored(user, room);
    Client *c = chat_connect(user);
    chat_settle();
    UnreadCount got = welcomed(c, room);
    check(got.unread == want.unread && got.mentions == want.mentions, "%s, room %d: welcome says %u and %u, the store %u and %u", user->name, (int)room, got.unread, got.mentions,
          want.unread, want.mentions);
    chat_disconnect(c);
    buf_clear(c->got);
}

// The ring has all that bob missed and all that he has not read: nothing is read for him.
static void who_was_away_for_a_moment_needs_no_reading(void **) {
    chat_post(alice, lobby_id, "seen");
    seen_mark(&chat.hub, bob, lobby_id, decided.message, chat.now_ms);
    int64_t from = now();
    chat_post(alice, lobby_id, "one @bob");
    chat_post(carol, lobby_id, "two");
    Client *c = chat_connect(bob, since(from));
    assert_true(c->reader.state == ReaderState::catching_up && !c->reader.reading);
    chat_turn();
    UnreadCount counts = welcomed(c, lobby_id);
    assert_int_equal(counts.unread, 2);
    assert_int_equal(counts.mentions, 1);
    got_is(c, "welcome message@9 message@10 ready@10");
    Client *other = chat_connect(bob, since(from, 1)); // more than one waits: a snapshot
    assert_true(other->reader.reading);
    chat_settle();
    got_is(other, "welcome history ready@10");
}

static void what_was_typed_before_is_no_news(void **) {
    chat_post(alice, lobby_id, "seen");
    seen_mark(&chat.hub, bob, lobby_id, decided.message, chat.now_ms);
    int64_t from = now();
    chat_post(alice, lobby_id, "one");
    presence_typing(&chat.hub, carol, lobby_id, chat.now_ms);
    chat_post(alice, lobby_id, "two");
    presence_typing(&chat.hub, alice, lobby_id, chat.now_ms);
    Client *c = chat_connect(bob, since(from), 2); // it takes welcome and one more
    chat_turn();
    got_is(c, "welcome message@9");
    chat.now_ms += typing_gap_ms;
    presence_typing(&chat.hub, carol, lobby_id, chat.now_ms);
    c->takes = takes_all;
    chat_turn();
    got_is(c, "message@10 typing presence ready@10"); // who came is told too
}

// Bob comes into a room while his snapshot is under way, and then a mark moves there: it is told behind the room, which he would not know before.
static void a_mark_behind_a_room_that_was_joined_meanwhile(void **) {
    int64_t room = chat_room(alice, "plans");
    assert_true(chat_join(carol, room, alice) == Err::ok);
    chat_post(carol, room, "read this");
    int64_t message = decided.message;
    Client *c = chat_connect(bob, {}, 0); // takes nothing, not even welcome
    chat_settle();
    assert_true(c->reader.state == ReaderState::snapshot);
    assert_true(chat_join(bob, room, alice) == Err::ok);
    seen_mark(&chat.hub, alice, room, message, chat.now_ms);
    c->takes = takes_all;
    chat_settle();
    std::string_view got = buf_view(c->got);
    size_t joined = got.rfind("\"joined\":true"), mark = got.rfind("\"seen\",\"room\"");
    assert_true(joined != got.npos && mark != got.npos && joined < mark);
}

static void unread_needs_the_store_when_a_message_was_changed(void **) {
    chat_post(alice, lobby_id, "one @bob");
    int64_t one = decided.message;
    chat_post(alice, lobby_id, "two");
    int64_t two = decided.message;
    unread_is_as_stored(bob, lobby_id);
    hub_edit(&chat.hub, alice, one, "nobody is called", {}, chat_finish);
    chat_settle();
    unread_is_as_stored(bob, lobby_id);
    hub_delete(&chat.hub, alice, two, {}, chat_finish);
    chat_settle();
    unread_is_as_stored(bob, lobby_id);
    chat_post(carol, lobby_id, "three, @bob");
    seen_mark(&chat.hub, bob, lobby_id, one, chat.now_ms);
    unread_is_as_stored(bob, lobby_id);
    unread_is_as_stored(alice, lobby_id);
}

// The counts are as of a moment ago; since then something was said and an older message was edited: that the counts may not be exact is no reason to leave the new one out.
static void what_is_new_counts_beside_a_change(void **) {
    chat_post(alice, lobby_id, "one");
    int64_t one = decided.message, then = now();
    chat_post(alice, lobby_id, "two, @bob");
    hub_edit(&chat.hub, alice, one, "not one", {}, chat_finish);
    chat_settle();
    const Member *member = model_member(&chat.hub.model, lobby_id, bob->id);
    UnreadCount counts = {1, 0};
    uint32_t looks = UINT32_MAX;
    assert_false(unread_add_newer(&chat.hub, member, then, &looks, &counts));
    assert_int_equal(counts.unread, 2);
    assert_int_equal(counts.mentions, 1);
}

// Bob's counts are being read when he comes into a room: what was said there since is unread all the same, whether the ring has it or not.
static void a_room_joined_while_the_counts_are_read_is_counted(void **) {
    int64_t room = chat_room(alice, "plans");
    int64_t before = (chat_post(alice, room, "before"), decided.message);
    chat_post(alice, room, "after, @bob");
    chat_post(alice, lobby_id, "unread");
    for (bool covered : {true, false}) {
        unread_forget();
        Client *c = chat_connect(bob);
        assert_true(c->reader.reading); // for the lobby: bob's mark there is older than the ring
        model_put_member(&chat.hub.model, {.rev = now(), .room = room, .user = bob->id, .seen = before, .left = false});
        if (!covered) overrun();
        chat_settle();
        assert_int_equal(welcomed(c, room).unread, 1);
        chat_disconnect(c);
        buf_clear(c->got);
        model_drop_member(&chat.hub.model, model_member(&chat.hub.model, room, bob->id));
    }
}

// --- a page that is asked for

static uint32_t answered;

// The usual case, and the quick one: all that is new lies in the ring end to end, and is sent as it lies there.
static void what_is_new_for_all_is_one_piece(void **) {
    Client *c = chat_connect(bob);
    chat_settle();
    c->takes = 0;
    for (int i = 0; i < 3; i++) chat_post(alice, lobby_id, "x");
    std::string_view pieces[2];
    int count = 0;
    assert_int_equal(reader_span(&c->reader, false, pieces, &count), 3);
    assert_int_equal(count, 1);
    assert_int_equal(reader_span(&c->reader, true, pieces, &count), 0); // compressed ones lie elsewhere
    c->takes = takes_all;
    chat_settle();
    assert_int_equal(reader_span(&c->reader, false, pieces, &count), 0);
}

static void history_when_asked(void **) {
    int64_t room = chat_room(alice, "plans", true);
    for (int i = 0; i < 5; i++) chat_post(alice, room, "x");
    int64_t newest = decided.message;
    Client *c = chat_connect(alice);
    chat_settle();
    buf_clear(c->got);
    answered = 0;
    auto done = [](uint64_t) { answered++; };
    uint64_t id = (uint64_t)c->generation << 8 | (uint64_t)(c - chat.clients);
    assert_int_equal(sync_history(&chat.hub, id, alice, {.room = room, .before = newest, .limit = 2, .ref = "h\"1"}, done), Err::ok);
    chat_settle();
    assert_int_equal(answered, 1);
    std::string_view page = line_with(c->got, "\"history\"");
    assert_true(page.ends_with("\"more\":true,\"ref\":\"h\\\"1\"}"));
    assert_int_equal(sync_history(&chat.hub, id, bob, {.room = room, .before = 0, .limit = 2, .ref = {}}, done), Err::not_found);
    assert_int_equal(sync_history(&chat.hub, id, bob, {.room = 99, .before = 0, .limit = 2, .ref = {}}, done), Err::not_found);
    // Out of the room before the page is there.
    buf_clear(c->got);
    assert_int_equal(sync_history(&chat.hub, id, alice, {.room = room, .before = 0, .limit = 2, .ref = "late"}, done), Err::ok);
    model_drop_member(&chat.hub.model, model_member(&chat.hub.model, room, alice->id));
    chat_settle();
    assert_true(line_with(c->got, "late").find("not_member") != std::string_view::npos);
    // And away before it is.
    sync_history(&chat.hub, id, alice, {.room = lobby_id, .before = 0, .limit = 2, .ref = {}}, done);
    chat_disconnect(c);
    chat_settle();
    assert_int_equal(answered, 2);
}

// A page is cut to what a frame may hold, with all that stands around its messages: then there is more.
static void the_longest_page_fits_a_frame(void **) {
    char text[400], ref[ref_bytes_max];
    memset(text, '"', sizeof text);         // two bytes each in JSON, which the store does not count
    memset(ref, '\x01', sizeof ref); // six bytes each in JSON
    for (uint32_t i = 0; i < page_messages_max; i++) chat_post(alice, lobby_id, {text, sizeof text});
    Client *c = chat_connect(bob);
    chat_settle();
    buf_clear(c->got);
    HistoryAsk ask = {.room = lobby_id, .before = 0, .limit = page_messages_max, .ref = {ref, sizeof ref}};
    assert_int_equal(sync_history(&chat.hub, chat_id(c), bob, ask, [](uint64_t) {}), Err::ok);
    chat_settle();
    std::string_view page = line_with(c->got, "\"history\"");
    assert_true(page.find("\"more\":true") != std::string_view::npos);
    check(page.size() <= frame_out_bytes_max, "%zu bytes", page.size());
    check(page.size() > frame_out_bytes_max - 2048, "only %zu bytes", page.size());
}

// --- random histories

static uint64_t random_state;

static uint32_t pick(uint32_t below) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)((random_state >> 16) % below);
}

constexpr uint32_t people = 6, revs_max = 4096, rooms_max = 64, versions_max = 6;

// What happened, written down as the writes were decided: the truth that the readers are held to.
struct Version {
    int64_t rev;
    uint32_t text; // a number that stands in the text; 0: deleted
};
struct Truth {
    Version versions[versions_max];
    uint32_t count;
    int64_t room;
};
static Truth truth[revs_max];            // by message id
static bool was_in[rooms_max][people];   // has this person ever been in that room?
static User *person[people];
static uint32_t next_text;

static int index_of(const User *user) {
    for (uint32_t i = 0; i < people; i++)
        if (person[i] == user) return (int)i;
    return -1;
}

static void note(Hub *h, StoreWrite *w) {
    chat_finish(h, w);
    if (w->err != Err::ok || w->is_repeat) return;
    for (uint32_t i = 0; i < w->changes_count; i++) {
        const Change &c = w->changes[i];
        check(c.rev < revs_max && (c.kind != ChangeKind::room || c.room.id < rooms_max), "the history is too long for this test");
        if (c.kind == ChangeKind::member) was_in[c.member.room][index_of(model_user(&h->model, c.member.user))] = true;
        if (c.kind != ChangeKind::message) continue;
        Truth &t = truth[c.message.id];
        uint32_t text = 0;
        char words[64]; // with an end, which the frame's piece has not
        snprintf(words, sizeof words, "%.*s", (int)c.message.text.size(), c.message.text.data());
        if (!c.message.deleted) assert_int_equal(sscanf(words, "text %u.", &text), 1);
        t.room = c.message.room;
        check(t.count < versions_max, "too many versions");
        t.versions[t.count++] = {c.rev, text};
    }
}

static const Version &version_at(int64_t id, int64_t rev) { // the newest that is not newer than rev
    const Truth &t = truth[id];
    uint32_t i = t.count - 1;
    while (i > 0 && t.versions[i].rev > rev) i--;
    return t.versions[i];
}

// --- what a client holds by the rules of §1

struct HeldRoom {
    bool here;
    int64_t rev;
    int64_t from;       // every message with a higher id is to be here
    char topic[24];
};
struct Tab {
    Client *c;
    HeldRoom rooms[rooms_max];
    Version messages[revs_max];
    char names[people][24];
    int64_t names_rev[people];
    int64_t position;   // -1: none
    int64_t welcome_rev, floor;
    bool welcomed, ready, resumed;
    int who;
    uint32_t frames, readies, histories;
};
constexpr uint32_t tabs_max = 12;
static Tab *tabs;

static int64_t number(JsonRef object, const char *key) {
    int64_t n = -1;
    check(json_int(json_get(object, key), &n), "a frame without %s", key);
    return n;
}

static std::string_view text_of(JsonRef object, const char *key) {
    std::string_view text;
    check(json_string(json_get(object, key), &text), "a frame without %s", key);
    return text;
}

static bool is_true(JsonRef object, const char *key) {
    bool b = false;
    return json_bool(json_get(object, key), &b) && b;
}

static void copy(char out[24], std::string_view text) { out[text.copy(out, 23)] = 0; }

static Version version_of(JsonRef message) {
    unsigned text = 0;
    bool deleted = (bool)json_get(message, "deleted");
    std::string_view words = text_of(message, "text");
    check(deleted ? words.empty() : words.size() > 6, "a message's text is \"%.*s\"", (int)words.size(), words.data());
    if (!deleted) assert_int_equal(sscanf(words.data(), "text %u.", &text), 1);
    return {number(message, "rev"), text};
}

static void take_message(Tab *p, JsonRef message) {
    int64_t id = number(message, "id"), room = number(message, "room");
    check(model_member(&chat.hub.model, room, person[p->who]->id) != nullptr, "a message of a room that the reader is not in");
    Version v = version_of(message);
    check(truth[id].room == room, "message %d is of another room", (int)id);
    check(version_at(id, v.rev).rev == v.rev && version_at(id, v.rev).text == v.text, "message %d at %d was another one", (int)id, (int)v.rev);
    if (p->rooms[room].here && v.rev > p->messages[id].rev) p->messages[id] = v;
}

static void forget_room(Tab *p, int64_t room) {
    p->rooms[room] = {};
    for (int64_t id = 0; id < revs_max; id++)
        if (truth[id].room == room) p->messages[id] = {};
}

static void take_room(Tab *p, JsonRef room, int64_t from) {
    int64_t id = number(room, "id"), rev = number(room, "rev");
    HeldRoom &held = p->rooms[id];
    if (!held.here) held = {.here = true, .rev = 0, .from = from, .topic = {}};
    if (rev <= held.rev) return;
    held.rev = rev;
    copy(held.topic, text_of(room, "topic"));
}

static void hear_welcome(Tab *p, JsonRef root) {
    check(!p->welcomed, "a second welcome");
    p->welcomed = true;
    p->welcome_rev = number(root, "rev");
    p->resumed = is_true(root, "resumed");
    if (!p->resumed) {
        memset(p->messages, 0, sizeof p->messages);
        memset(p->rooms, 0, sizeof p->rooms);
        memset(p->names_rev, 0, sizeof p->names_rev);
        p->position = -1;
        p->floor = p->welcome_rev;
    }
    // The rooms are whole and as of R: those that are missing have been left, new ones were joined.
    bool named[rooms_max] = {};
    JsonRef list = json_get(root, "rooms");
    uint32_t count;
    assert_true(json_array(list, &count));
    for (uint32_t i = 0; i < count; i++) {
        JsonRef room = json_at(list, i);
        named[number(room, "id")] = true;
        check(number(room, "rev") <= p->welcome_rev && is_true(room, "joined"), "a room in welcome is ahead, or not joined");
        // A new one: what the log tells from the position on is whole. (A position before joining is before its first frame.)
        take_room(p, room, p->resumed ? p->position : p->welcome_rev);
    }
    for (int64_t id = 1; id < rooms_max; id++) {
        const Member *m = model_member(&chat.hub.model, id, person[p->who]->id);
        if (p->welcome_rev == now()) check(named[id] == (m != nullptr), "welcome is not as of its rev: room %d", (int)id);
        if (!named[id] && p->rooms[id].here) forget_room(p, id);
    }
}

// The snapshot rule: of the newest 50 with id ≤ R those with rev ≤ R.
static void hear_history(Tab *p, JsonRef root) {
    int64_t room = number(root, "room"), R = p->welcome_rev, wanted[page_messages_default], below = -1;
    uint32_t count, n = 0;
    p->histories++;
    check(!p->resumed && !p->ready && p->position < 0, "a history frame outside the snapshot");
    check(model_member(&chat.hub.model, room, person[p->who]->id) != nullptr, "history of a room that the reader is not in");
    JsonRef list = json_get(root, "messages");
    assert_true(json_array(list, &count));
    for (int64_t id = R; id > 0 && n < page_messages_default; id--)
        if (truth[id].room == room) wanted[n++] = id;
    for (uint32_t i = 0; i < count; i++) {
        JsonRef message = json_at(list, i);
        int64_t id = number(message, "id"), rev = number(message, "rev");
        check(id > below && id <= R && rev <= R && n > 0 && id >= wanted[n - 1], "message %d at %d in a snapshot at %d", (int)id, (int)rev, (int)R);
        below = id;
        take_message(p, message);
    }
    for (uint32_t i = 0; i < n; i++) {
        bool changed_since = truth[wanted[i]].versions[truth[wanted[i]].count - 1].rev > R;
        check(p->messages[wanted[i]].rev || changed_since, "message %d is missing in a snapshot at %d", (int)wanted[i], (int)R);
    }
    bool more = false;
    for (int64_t id = 0; id < (n ? wanted[n - 1] : 0); id++) more |= truth[id].room == room;
    check(is_true(root, "more") == more, "more in a snapshot");
    p->rooms[room].from = n ? wanted[n - 1] - 1 : 0;
}

static void hear_log(Tab *p, JsonRef root, std::string_view type) {
    int64_t rev = number(root, "rev");
    check(rev > p->floor, "%.*s at %d behind %d", (int)type.size(), type.data(), (int)rev, (int)p->floor);
    p->floor = p->position = rev;
    if (type == "message") return take_message(p, root);
    if (type == "user") {
        JsonRef user = json_get(root, "user");
        int i = index_of(model_user_by_name(&chat.hub.model, text_of(user, "username")));
        if (i < 0 || number(user, "rev") <= p->names_rev[i]) return;
        p->names_rev[i] = number(user, "rev");
        return copy(p->names[i], text_of(user, "display_name"));
    }
    JsonRef room = json_get(root, "room");
    int64_t id = number(room, "id");
    if (is_true(root, "left")) {
        check(was_in[id][p->who], "room %d is left that the reader was never in", (int)id);
        return forget_room(p, id);
    }
    bool is_in = model_member(&chat.hub.model, id, person[p->who]->id) != nullptr;
    check(is_in || !is_true(room, "private"), "a private room that the reader is not in");
    // Having joined always begins the room anew: who left and came back before the one was told has passed over what was written in between.
    if (is_true(room, "joined")) forget_room(p, id);
    if (p->rooms[id].here || is_true(room, "joined")) take_room(p, room, rev);
}

static void tab_hears(Client *c, std::string_view frame) {
    Tab *p = nullptr;
    for (uint32_t i = 0; i < tabs_max; i++)
        if (tabs[i].c == c) p = &tabs[i];
    JsonRef root = json_parse(frame);
    assert_true(p && root);
    buf_clear(c->got);
    p->frames++;
    std::string_view type = text_of(root, "type");
    check(p->welcomed || type == "welcome", "%.*s before welcome", (int)type.size(), type.data());
    if (type == "welcome") return hear_welcome(p, root);
    if (type == "history") return hear_history(p, root);
    if (type == "message" || type == "room" || type == "user") return hear_log(p, root, type);
    if (type == "ready") {
        int64_t rev = number(root, "rev");
        check(rev >= p->floor && rev >= p->welcome_rev, "ready at %d, behind %d", (int)rev, (int)p->floor);
        p->floor = p->position = rev;
        p->ready = true;
        p->readies++;
    } else if (type == "seen") { // it may have waited in the queue for `ready`
        check(was_in[number(root, "room")][p->who], "seen of a room that the reader was never in");
    } else if (type == "typing") {
        check(model_member(&chat.hub.model, number(root, "room"), person[p->who]->id) != nullptr, "%.*s of a room that the reader is not in", (int)type.size(), type.data());
    } else {
        assert_true(type == "presence");
    }
}

// What a tab holds is what there is, as its user may see it.
static void tab_is_right(const Tab *p) {
    const User *user = person[p->who];
    check(p->ready, "not ready");
    for (int64_t id = 1; id < rooms_max; id++) {
        const Room *room = model_room(&chat.hub.model, id);
        const Member *member = room ? model_member(&chat.hub.model, id, user->id) : nullptr;
        check(p->rooms[id].here == (member != nullptr), "%s, room %d: here %d, a member %d", user->name, (int)id, p->rooms[id].here, member != nullptr);
        if (!member) continue;
        check(p->rooms[id].rev == (room->rev > member->rev ? room->rev : member->rev), "%s, room %d: at %d", user->name, (int)id, (int)p->rooms[id].rev);
        check_text(p->rooms[id].topic, room->topic, "topic");
    }
    for (int64_t id = 1; id < revs_max; id++) {
        const Truth &t = truth[id];
        if (!t.count || !p->rooms[t.room].here) continue;
        const Version &newest = t.versions[t.count - 1], &held = p->messages[id];
        if (!held.rev && id <= p->rooms[t.room].from) continue; // older than what it began with
        check(held.rev == newest.rev && held.text == newest.text, "%s: message %d of room %d is at %d, not at %d (from %d)", user->name, (int)id, (int)t.room,
              (int)held.rev, (int)newest.rev, (int)p->rooms[t.room].from);
    }
    for (uint32_t i = 0; i < people; i++)
        if (p->names_rev[i]) check_text(p->names[i], user_shown_name(person[i]), "display name");
}

// --- what may happen

static void do_message() {
    char text[40];
    User *by = person[pick(people)];
    int64_t about = 1 + (int64_t)pick((uint32_t)now());
    snprintf(text, sizeof text, "text %u. %.*s", ++next_text, (int)pick(20), "abcdefghijklmnopqrstuvwxyz");
    switch (pick(8)) {
    case 0:
    case 1:
        if (truth[about].count + 2 < versions_max) hub_edit(&chat.hub, by, about, text, {}, note);
        return;
    case 2:
        if (truth[about].count + 1 < versions_max) hub_delete(&chat.hub, by, about, {}, note);
        return;
    default: hub_post(&chat.hub, by, 1 + pick(12), text, {}, 0, {}, note);
    }
}

static void do_room() {
    char name[24];
    snprintf(name, sizeof name, "n%u", ++next_text);
    User *by = person[pick(people)];
    uint32_t what = pick(10);
    int64_t room = 1 + pick(12);
    StoreWrite *w;
    if (what == 0 && chat.hub.model.rooms_by_id.count < 14) {
        w = hub_write_new(WriteKind::room_add, by);
        w->name = w->key = in_arena(w, name);
        w->flag = pick(2);
        auto *ids = static_cast<int64_t *>(arena_alloc(w->arena, 2 * sizeof(int64_t)));
        ids[0] = person[pick(people)]->id;
        w->ids = ids;
        w->ids_count = pick(2);
    } else if (what <= 2) {
        w = hub_write_new(WriteKind::room_change, by);
        w->room = room;
        w->topic = in_arena(w, name);
        w->has_topic = true;
    } else if (what == 3) {
        w = hub_write_new(WriteKind::user_profile, by);
        w->user = by->id;
        w->display_name = in_arena(w, name);
        w->has_display_name = true;
    } else {
        w = hub_write_new(what <= 7 ? WriteKind::member_add : WriteKind::member_remove, by);
        w->room = room;
        w->user = pick(3) ? by->id : person[pick(people)]->id;
    }
    hub_submit(&chat.hub, w, {}, note);
}

static void tab_opens(Tab *p) {
    p->welcomed = p->ready = false;
    ReaderStart how = {};
    if (p->position >= 0 && pick(5)) {
        // From its own position, or from any before it: it may have lost what it took in last.
        how = since(pick(3) ? p->position : (int64_t)pick((uint32_t)p->position + 1), pick(4) ? 0 : 1 + pick(30));
        if (how.since < p->position) {
            // As if it had never heard what came later: it can only have begun each room before that.
            how.since = p->position - (int64_t)pick(3);
            if (how.since < 0) how.since = 0;
        }
        p->floor = how.since;
    }
    p->c->takes = pick(3) ? takes_all : 1 + pick(9);
    chat_reconnect(p->c, person[p->who], how);
}

static void do_tab(Tab *p) {
    if (!p->c->open) return tab_opens(p);
    switch (pick(6)) {
    case 0: return chat_disconnect(p->c);
    case 1: p->c->takes = 0; return;
    case 2: p->c->takes = 1 + pick(4); return;
    default: p->c->takes = takes_all;
    }
}

static void do_count() {
    User *user = person[pick(people)];
    for (uint32_t i = 0; i < tabs_max; i++) // theirs, though they may be away
        if (!tabs[i].c->got.len) buf_add(tabs[i].c->got, "taken\n");
    for (const Member *m = user->members; m; m = m->next_of_user) unread_is_as_stored(user, m->room->id);
}

static void do_passing() {
    User *by = person[pick(people)];
    int64_t room = 1 + pick(12);
    chat.now_ms += pick(1500);
    if (pick(2)) (void)presence_typing(&chat.hub, by, room, chat.now_ms);
    else (void)seen_mark(&chat.hub, by, room, 1 + pick((uint32_t)now()), chat.now_ms);
}

static void every_tab_ends_with_the_present_state(void **) {
    const char *given = getenv("SEED");
    uint64_t seed = given ? strtoull(given, nullptr, 10) : (uint64_t)time(nullptr);
    print_message("SEED=%llu\n", (unsigned long long)seed);
    random_state = seed * 0x9e3779b97f4a7c15u | 1;
    memset(truth, 0, sizeof truth);
    memset(was_in, 0, sizeof was_in);
    tabs = (Tab *)mem_zero(tabs_max * sizeof(Tab));
    next_text = 0;
    const char *const names[] = {"alice", "bob", "carol", "dave", "erin", "frank"};
    for (uint32_t i = 0; i < people; i++) {
        person[i] = i < 3 ? chat_find(names[i]) : chat_user(names[i], i == 3 ? Role::moderator : Role::user);
        was_in[lobby_id][i] = true;
    }
    uint32_t overruns = 0, readies = 0, histories = 0;
    for (uint32_t i = 0; i < tabs_max; i++) {
        Tab *p = &tabs[i];
        p->who = (int)(i % people);
        p->position = -1;
        p->c = chat_connect(person[p->who]);
        p->c->hears = tab_hears;
        buf_add(p->c->got, "taken\n");
    }
    for (uint32_t step = 0; step < 5000; step++) {
        uint32_t what = pick(20);
        if (what < 9) do_message();
        else if (what < 12) do_room();
        else if (what < 14) do_passing();
        else if (what < 17) do_tab(&tabs[pick(tabs_max)]);
        else chat_turn();
        if (pick(300) == 0) {
            overrun();
            overruns++;
        }
        if (pick(100) == 0) {
            for (uint32_t i = 0; i < tabs_max; i++) tabs[i].c->takes = takes_all;
            chat_settle();
            for (uint32_t i = 0; i < tabs_max; i++)
                if (tabs[i].c->open) tab_is_right(&tabs[i]);
            do_count();
        }
    }
    for (uint32_t i = 0; i < tabs_max; i++) {
        tabs[i].c->takes = takes_all;
        if (!tabs[i].c->open) tab_opens(&tabs[i]);
        tabs[i].c->takes = takes_all;
    }
    chat_settle();
    for (uint32_t i = 0; i < tabs_max; i++) {
        tab_is_right(&tabs[i]);
        check(tabs[i].c->reader.position == now(), "a reader stands at %d of %d", (int)tabs[i].c->reader.position, (int)now());
        readies += tabs[i].readies;
        histories += tabs[i].histories;
    }
    check(overruns && readies > tabs_max && histories > tabs_max && now() > 300, "a poor run: %u overruns, %u ready, %u histories, %d revs", overruns, readies, histories, (int)now());
    free(tabs);
}

int main() {
#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        test(a_newcomer_gets_welcome_history_ready),
        test(welcome_says_where_one_is),
        test(what_happens_meanwhile_comes_behind_the_snapshot),
        test(rooms_come_the_most_recent_first_and_no_more_than_twenty),
        test(resume_tells_each_thing_once_in_its_present_state),
        test(without_a_place_in_this_log_one_starts_afresh),
        test(of_a_private_room_nothing_leaves_it),
        test(memberships_of_others_are_not_ones_own),
        test(who_comes_into_a_room_gets_what_follows),
        test(who_has_left_again_is_not_told_of_the_room),
        test(a_new_public_room_is_shown_to_all_and_comes_once),
        test(who_was_overrun_misses_nothing_of_the_log),
        test(marks_that_moved_meanwhile_come_before_ready),
        test(all_marks_that_moved_are_told),
        test(a_mark_that_waited_is_told_to_who_was_overrun),
        test(a_slow_reader_costs_the_others_nothing),
        test(who_was_away_for_a_moment_needs_no_reading),
        test(what_was_typed_before_is_no_news),
        test(a_mark_behind_a_room_that_was_joined_meanwhile),
        test(unread_needs_the_store_when_a_message_was_changed),
        test(what_is_new_counts_beside_a_change),
        test(a_room_joined_while_the_counts_are_read_is_counted),
        test(what_is_new_for_all_is_one_piece),
        test(history_when_asked),
        test(the_longest_page_fits_a_frame),
        test(every_tab_ends_with_the_present_state),
    };
    return cmocka_run_group_tests_name("sync", tests, nullptr, nullptr);
}
