// Reading the log: pages, changes since a position (each thing once, in its present state), unread counts, authors. And a random history against a model:
// a follower who takes slices from any position ends with what one who saw everything live has.
#include "store_world.h"

#include <time.h>

#include "base/limits.h"

static World world;
static int64_t anna, bob;
constexpr int64_t lobby = 1;

static int setup(void **) {
    world_make(world);
    anna = user_make(world, "anna");
    bob = user_make(world, "bob");
    return 0;
}

static int teardown(void **) {
    world_end(world);
    return 0;
}

static StoreRead *a_page(int64_t room, uint32_t limit, int64_t before = 0, int64_t after = 0, int64_t around = 0, int64_t upto = 0) {
    StoreRead *r = a_read(ReadKind::page);
    r->room = room;
    r->limit = limit;
    r->before = before;
    r->after = after;
    r->around = around;
    r->upto = upto;
    return did_read(world, r);
}

static StoreRead *a_slice(int64_t since, uint32_t limit) {
    StoreRead *r = a_read(ReadKind::changes);
    r->since = since;
    r->limit = limit;
    return did_read(world, r);
}

// --- pages

static void pages_in_every_direction(void **) {
    int64_t other = room_make(world, anna, "other");
    int64_t ids[20];
    for (int i = 0; i < 20; i++) {
        ids[i] = post(world, anna, lobby, "x");
        post(world, anna, other, "between");
    }
    struct Row {
        const char *name;
        int64_t before, after, around, upto;
        uint32_t limit;
        int first, count; // of ids
        bool more_before, more_after;
    } rows[] = {
        {"the newest", 0, 0, 0, 0, 5, 15, 5, true, false},
        {"the newest up to an id", 0, 0, 0, ids[9], 5, 5, 5, true, false},
        {"all", 0, 0, 0, 0, 20, 0, 20, false, false},
        {"more than there are", 0, 0, 0, 0, 200, 0, 20, false, false},
        {"before", ids[10], 0, 0, 0, 4, 6, 4, true, true},
        {"before, at the beginning", ids[3], 0, 0, 0, 4, 0, 3, false, true},
        {"before, with upto", ids[10], 0, 0, ids[8], 4, 5, 4, true, false},
        {"before the first", ids[0], 0, 0, 0, 4, 0, 0, false, true},
        {"after", 0, ids[10], 0, 0, 4, 11, 4, true, true},
        {"after, at the end", 0, ids[17], 0, 0, 4, 18, 2, true, false},
        {"after the last", 0, ids[19], 0, 0, 4, 20, 0, true, false},
        {"after, with upto", 0, ids[10], 0, ids[12], 4, 11, 2, true, false},
        {"after, with upto before the first", 0, ids[2], 0, ids[0] - 1, 4, 0, 0, false, false},
        {"around", 0, 0, ids[10], 0, 6, 7, 6, true, true},
        {"around, an odd number", 0, 0, ids[10], 0, 5, 8, 5, true, true},
        {"around the first", 0, 0, ids[0], 0, 6, 0, 3, false, true},
        {"around the last", 0, 0, ids[19], 0, 6, 16, 4, true, false},
        {"around, one", 0, 0, ids[10], 0, 1, 10, 1, true, true},
        {"around what is of another room", 0, 0, ids[10] + 1, 0, 4, 9, 4, true, true},
    };
    for (const Row &row : rows) {
        StoreRead *r = a_page(lobby, row.limit, row.before, row.after, row.around, row.upto);
        check(r->changes_count == (uint32_t)row.count, "%s: %u messages", row.name, r->changes_count);
        for (int i = 0; i < row.count; i++) check(r->changes[i].message.id == ids[row.first + i], "%s: message %d", row.name, i);
        check(r->more_before == row.more_before, "%s: more_before", row.name);
        check(r->more_after == row.more_after, "%s: more_after", row.name);
        store_read_free(r);
    }
}

static void pages_are_bounded_in_bytes(void **) {
    char text[16'001];
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = 0;
    int64_t ids[40];
    for (int64_t &id : ids) id = post(world, anna, lobby, text);
    StoreRead *r = a_page(lobby, 200);
    assert_in_range(r->changes_count, 1, frame_out_bytes_max / 16'000);
    assert_true(r->more_before);
    assert_int_equal(r->changes[r->changes_count - 1].message.id, ids[39]); // the oldest were left out
    store_read_free(r);
    r = a_page(lobby, 200, 0, 0, ids[20]);
    assert_true(r->more_before && r->more_after);
    bool holds_it = false;
    for (uint32_t i = 0; i < r->changes_count; i++) {
        holds_it = holds_it || r->changes[i].message.id == ids[20];
        if (i > 0) assert_int_equal(r->changes[i].message.id, r->changes[i - 1].message.id + 1);
    }
    assert_true(holds_it);
    store_read_free(r);
    r = a_slice(0, 1000);
    assert_false(r->complete);
    assert_in_range(r->changes_count, 1, 20);
    store_read_free(r);
}

// --- changes

static void what_changed_comes_once_in_its_present_state(void **) {
    int64_t room = room_make(world, anna, "garden");
    int64_t first = post(world, anna, lobby, "one"), second = post(world, anna, lobby, "two");
    int64_t since = store_rev(world.s);
    for (const char *text : {"one!", "one!!", "one!!!"}) assert_int_equal((int)err_of(world, an_edit(anna, first, text)), (int)Err::ok);
    int64_t third = post(world, anna, room, "three");
    assert_int_equal((int)err_of(world, a_delete(anna, third)), (int)Err::ok);
    join(world, bob, room);
    StoreWrite *w = about_user(WriteKind::user_profile, bob);
    w->has_status = true;
    w->status = "here";
    assert_int_equal((int)err_of(world, w), (int)Err::ok);
    StoreRead *r = a_slice(since, 100);
    assert_true(r->complete);
    assert_int_equal(r->upto, store_rev(world.s));
    assert_int_equal(r->snapshot_rev, store_rev(world.s));
    assert_int_equal(r->changes_count, 4);
    assert_int_equal(r->changes[0].message.id, first);
    check_text(r->changes[0].message.text, "one!!!", "the last edit only");
    assert_int_equal(r->changes[1].message.id, third);
    check_text(r->changes[1].message.text, "", "never shown");
    assert_int_equal((int)r->changes[2].kind, (int)ChangeKind::member);
    assert_int_equal((int)r->changes[3].kind, (int)ChangeKind::user);
    store_read_free(r);
    r = a_slice(store_rev(world.s), 100);
    assert_int_equal(r->changes_count, 0);
    assert_true(r->complete);
    assert_int_equal(r->upto, store_rev(world.s));
    store_read_free(r);
    // From the beginning the lobby comes first: it was made with the database.
    r = a_slice(0, 1);
    assert_false(r->complete);
    assert_int_equal(r->upto, 1);
    assert_int_equal(r->changes[0].room.id, lobby);
    check_text(r->changes[0].room.name, "Lobby", "lobby");
    store_read_free(r);
    // The untouched message is where it was made.
    r = a_slice(second - 1, 1);
    assert_int_equal(r->changes[0].message.id, second);
    store_read_free(r);
}

// A client that comes back wants to know of its own comings and goings, not of ten thousand others'.
static void only_ones_own_memberships_when_asked(void **) {
    int64_t room = room_make(world, anna, "garden");
    int64_t since = store_rev(world.s);
    join(world, bob, room);
    assert_int_equal((int)err_of(world, about_room(WriteKind::member_remove, room, bob, bob)), (int)Err::ok);
    int64_t carl = user_make(world, "carl");
    join(world, carl, room);
    StoreRead *r = a_read(ReadKind::changes);
    r->since = since;
    r->user = bob;
    did_read(world, r);
    assert_true(r->complete);
    assert_int_equal(r->upto, store_rev(world.s));
    assert_int_equal(r->changes_count, 2);
    assert_int_equal(r->changes[0].member.user, bob);
    assert_true(r->changes[0].member.left);
    assert_int_equal(r->changes[1].user.id, carl);
    store_read_free(r);
    r = a_slice(since, 100);
    assert_int_equal(r->changes_count, 4); // bob's, carl, his memberships of lobby and garden
    store_read_free(r);
}

// Each new message was changed later, so that none is told at its own place: a slice does not look for one without end.
static void a_slice_passes_over_a_bounded_part_of_the_log(void **) {
    constexpr int64_t count = slice_ids_max + 100;
    int64_t since = store_rev(world.s), first = 0;
    for (int64_t i = 0; i < count; i++) {
        int64_t id = post(world, anna, lobby, "x");
        if (i == 0) first = id;
    }
    for (int64_t i = 0; i < count; i++) assert_int_equal((int)err_of(world, an_edit(anna, first + i, "y")), (int)Err::ok);
    StoreRead *r = a_slice(since, 100);
    assert_false(r->complete);
    assert_int_equal(r->changes_count, 0);
    assert_int_equal(r->upto, since + slice_ids_max);
    store_read_free(r);
    int64_t got = 0;
    for (bool is_complete = false; !is_complete;) {
        r = a_slice(since, 1000);
        assert_true(r->upto > since);
        got += r->changes_count;
        since = r->upto;
        is_complete = r->complete;
        store_read_free(r);
    }
    assert_int_equal(got, count);
}

static void the_position_never_goes_back(void **) {
    StoreRead *r = a_slice(store_rev(world.s) + 50, 100);
    assert_int_equal(r->changes_count, 0);
    assert_int_equal(r->upto, store_rev(world.s) + 50);
    store_read_free(r);
}

// --- unread and authors

static StoreRead *unread_of(int64_t user, const Mark *marks, uint32_t count, int64_t since = 0, uint32_t limit = 0) {
    StoreRead *r = a_read(ReadKind::unread);
    r->user = user;
    r->marks = marks;
    r->marks_count = count;
    r->since = since;
    r->limit = limit;
    return did_read(world, r);
}

static void unread_counts_what_others_wrote_above_the_mark(void **) {
    int64_t room = room_make(world, anna, "garden");
    join(world, bob, room);
    int64_t mark = post(world, anna, room, "seen");
    post(world, bob, room, "his own");
    int64_t doomed = post(world, anna, room, "doomed");
    const int64_t ids[] = {bob};
    for (int i = 0; i < 3; i++) {
        StoreWrite *w = a_post(anna, room, "hey");
        w->ids = ids;
        w->ids_count = i < 2;
        assert_int_equal((int)err_of(world, w), (int)Err::ok);
    }
    assert_int_equal((int)err_of(world, a_delete(anna, doomed)), (int)Err::ok);
    const Mark marks[] = {{room, bob, mark}, {lobby, bob, 0}, {room, bob, store_rev(world.s)}};
    StoreRead *r = unread_of(bob, marks, 3);
    assert_int_equal(r->counts[0].unread, 3);
    assert_int_equal(r->counts[0].mentions, 2);
    assert_int_equal(r->counts[1].unread, 0);
    assert_int_equal(r->counts[2].unread, 0);
    assert_int_equal(r->counts[2].mentions, 0);
    assert_int_equal(r->waiting, 0); // not asked for
    store_read_free(r);
    r = unread_of(anna, marks, 1);
    assert_int_equal(r->counts[0].unread, 1);
    assert_int_equal(r->counts[0].mentions, 0);
    store_read_free(r);
}

static void unread_stops_counting(void **) {
    static StoreWrite *posts[unread_max + 5];
    for (StoreWrite *&w : posts) say(world, w = a_post(anna, lobby, "x"));
    world_settle(world);
    for (StoreWrite *w : posts) store_write_free(w);
    const Mark marks[] = {{lobby, bob, 0}};
    StoreRead *r = unread_of(bob, marks, 1);
    assert_int_equal(r->counts[0].unread, unread_max);
    store_read_free(r);
}

static void waiting_counts_messages_of_ones_rooms_since(void **) {
    int64_t room = room_make(world, anna, "garden"), hidden = room_make(world, anna, "hidden", true);
    join(world, bob, room);
    int64_t old = post(world, anna, room, "old"), old_hidden = post(world, anna, hidden, "old");
    int64_t since = store_rev(world.s);
    int64_t fresh = post(world, anna, room, "new");
    post(world, anna, hidden, "unseen");
    for (int64_t id : {old, old_hidden, fresh}) assert_int_equal((int)err_of(world, an_edit(anna, id, "changed")), (int)Err::ok);
    const Mark marks[] = {{lobby, bob, 0}, {room, bob, 0}};
    StoreRead *r = unread_of(bob, marks, 2, since, 100);
    assert_int_equal(r->waiting, 2); // the new one once, the changed old one
    store_read_free(r);
    r = unread_of(bob, marks, 2, since, 1);
    assert_int_equal(r->waiting, 2); // one over the limit is enough to know
    store_read_free(r);
    for (int i = 0; i < 5; i++) post(world, anna, room, "more");
    r = unread_of(bob, marks, 2, since, 3);
    assert_int_equal(r->waiting, 4);
    store_read_free(r);
}

static void authors_are_distinct_and_newest_first(void **) {
    int64_t first = post(world, anna, lobby, "1");
    post(world, bob, lobby, "2");
    post(world, anna, lobby, "3");
    int64_t last = post(world, anna, lobby, "4");
    StoreRead *r = a_read(ReadKind::authors);
    r->room = lobby;
    r->after = first;
    r->before = last;
    did_read(world, r);
    assert_int_equal(r->ids_count, 2);
    assert_int_equal(r->ids[0], anna);
    assert_int_equal(r->ids[1], bob);
    store_read_free(r);
    for (int i = 0; i < 100; i++) post(world, bob, lobby, "x");
    r = a_read(ReadKind::authors);
    r->room = lobby;
    r->before = store_rev(world.s);
    did_read(world, r);
    assert_int_equal(r->ids_count, 1); // of the newest 100
    store_read_free(r);
}

// --- a random history

constexpr int things_max = 4000;

// What a follower holds of the world: the rev and a fingerprint of each thing by kind and id.
struct Follower {
    int64_t position;
    int64_t rev[4][things_max];
    uint64_t print[4][things_max];
};

static uint64_t print_text(uint64_t print, std::string_view text) {
    for (char c : text) print = (print ^ (unsigned char)c) * 1099511628211u;
    return (print ^ 0xff) * 1099511628211u;
}

static uint64_t print_number(uint64_t print, int64_t number) { return (print ^ (uint64_t)number) * 1099511628211u + (print >> 32); }

static void follow(Follower &f, const Change &change) {
    int64_t id = 0;
    uint64_t print = 14695981039346656037u;
    switch (change.kind) {
    case ChangeKind::message:
        id = change.message.id;
        print = print_text(print_text(print, change.message.text), change.message.nonce);
        for (int64_t n : {change.message.sender, change.message.room, change.message.edited, change.message.deleted, change.message.reply})
            print = print_number(print, n);
        break;
    case ChangeKind::user:
        id = change.user.id;
        print = print_text(print_text(print, change.user.display_name), change.user.name);
        print = print_number(print_number(print, (int64_t)change.user.role), change.user.deleted);
        break;
    case ChangeKind::room:
        id = change.room.id;
        print = print_text(print_text(print, change.room.name), change.room.topic);
        print = print_number(print, change.room.archived);
        break;
    case ChangeKind::member:
        id = change.member.room * 64 + change.member.user;
        print = print_number(print, change.member.left);
        break;
    }
    assert_in_range(id, 1, things_max - 1);
    check(change.rev > f.position, "rev %lld after %lld", (long long)change.rev, (long long)f.position);
    f.position = change.rev;
    f.rev[(int)change.kind][id] = change.rev;
    f.print[(int)change.kind][id] = print;
}

static uint64_t random_state;
static uint32_t random_up_to(uint32_t bound) {
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((random_state >> 33) % bound);
}

static int64_t author_of[things_max]; // so that some edits are the author's

static StoreWrite *a_random_write() {
    int64_t user = 1 + random_up_to(8), room = 1 + random_up_to(6), message = 1 + random_up_to((uint32_t)store_rev(world.s) + 5);
    char word[32];
    snprintf(word, sizeof word, "w%u", random_up_to(1'000'000));
    StoreWrite *w;
    switch (random_up_to(20)) {
    case 0:
        w = about_user(WriteKind::user_profile, user);
        w->has_display_name = true;
        w->display_name = in_arena(w, word);
        return w;
    case 1:
        w = about_room(WriteKind::room_change, room, random_up_to(2) ? user : 0);
        w->has_topic = true;
        w->topic = in_arena(w, word);
        w->has_archived = room != lobby && random_up_to(4) == 0;
        w->archived = random_up_to(2);
        return w;
    case 2: return about_room(WriteKind::member_add, room, user, user);
    case 3: return about_room(WriteKind::member_add, room, user, 1 + random_up_to(8));
    case 4: return about_room(WriteKind::member_remove, room, user, user);
    case 5: return about_room(WriteKind::member_remove, room, user, 1 + random_up_to(8));
    case 6:
        w = a_write(WriteKind::room_add, user);
        w->name = w->key = in_arena(w, word);
        w->limit = 1;
        w->flag = random_up_to(2);
        return w;
    case 7:
        if (random_up_to(40) > 0) return a_refusal(user, Err::stop_word);
        return about_user(WriteKind::user_delete, user);
    case 8:
        w = a_write(WriteKind::user_add);
        w->name = w->key = in_arena(w, random_up_to(3) ? "anna" : word);
        return w;
    case 9:
        w = about_user(WriteKind::user_block, user);
        w->flag = random_up_to(6) == 0;
        return w;
    case 10:
    case 11:
    case 12: return an_edit(random_up_to(3) && author_of[message] ? author_of[message] : user, message, word);
    case 13: return a_delete(random_up_to(2) ? author_of[message] : user, message);
    default:
        snprintf(word, sizeof word, "%u", random_up_to(2000));
        w = a_post(user, random_up_to(3) ? lobby : room, word, word);
        w->reply = random_up_to(10) == 0 ? message : 0;
        return w;
    }
}

constexpr int operations_count = 1500, positions_max = operations_count;
static Follower live, late;
static struct {
    int64_t rev[positions_max];
    int count;
} seen_positions;

static void a_follower_from_anywhere_ends_like_one_who_saw_everything(void **) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    const char *given = getenv("SEED");
    uint64_t seed = given ? strtoull(given, nullptr, 10) : (uint64_t)now.tv_nsec ^ (uint64_t)now.tv_sec;
    print_message("SEED=%llu\n", (unsigned long long)seed);
    random_state = seed;
    live = {};
    late = {};
    seen_positions.count = 0;
    for (const char *name : {"c", "d", "e", "f", "g", "h"}) user_make(world, name);
    StoreRead *r = a_slice(0, 1000);
    for (uint32_t i = 0; i < r->changes_count; i++) follow(live, r->changes[i]);
    store_read_free(r);
    // Many operations are refused, more so once people are blocked or deleted: it goes on until enough has happened.
    constexpr int64_t changes_wanted = operations_count / 4;
    for (int done = 0; done < operations_count || (live.position <= changes_wanted && done < 20 * operations_count);) {
        StoreWrite *batch[40];
        int count = 1 + (int)random_up_to(40);
        for (int i = 0; i < count; i++) say(world, batch[i] = a_random_write());
        world_settle(world);
        for (int i = 0; i < count; i++) {
            for (uint32_t c = 0; c < batch[i]->changes_count; c++) {
                assert_int_equal(batch[i]->changes[c].rev, live.position + 1); // dense, and in order
                follow(live, batch[i]->changes[c]);
                if (batch[i]->changes[c].kind == ChangeKind::message) author_of[batch[i]->changes[c].message.id] = batch[i]->changes[c].message.sender;
            }
            store_write_free(batch[i]);
        }
        assert_int_equal(store_rev(world.s), live.position);
        done += count;
        if (seen_positions.count < positions_max) seen_positions.rev[seen_positions.count++] = live.position;
        // Somebody reads the log from its beginning in slices, stops at random and goes on, while writes go on in between.
        if (random_up_to(4) > 0) continue;
        bool is_complete = false;
        while (!is_complete && random_up_to(6) > 0) {
            r = a_slice(late.position, 1 + random_up_to(60));
            assert_true(r->upto >= late.position);
            for (uint32_t i = 0; i < r->changes_count; i++) follow(late, r->changes[i]);
            late.position = r->upto;
            is_complete = r->complete;
            store_read_free(r);
        }
    }
    for (bool is_complete = false; !is_complete;) {
        r = a_slice(late.position, 1 + random_up_to(100));
        for (uint32_t i = 0; i < r->changes_count; i++) follow(late, r->changes[i]);
        late.position = r->upto;
        is_complete = r->complete;
        store_read_free(r);
    }
    assert_int_equal(late.position, live.position);
    assert_true(live.position > changes_wanted);
    assert_memory_equal(late.rev, live.rev, sizeof live.rev);
    assert_memory_equal(late.print, live.print, sizeof live.print);
    // From each position in the middle: exactly the things that changed since, each once.
    for (int p = 0; p < seen_positions.count; p += 7) {
        int64_t since = seen_positions.rev[p];
        uint32_t expected = 0, got = 0;
        for (int kind = 0; kind < 4; kind++)
            for (int64_t rev : live.rev[kind]) expected += rev > since;
        for (bool is_complete = false; !is_complete;) {
            r = a_slice(since, 1000);
            got += r->changes_count;
            for (uint32_t i = 0; i < r->changes_count; i++) {
                since = r->changes[i].rev;
                check(i == 0 || since > r->changes[i - 1].rev, "in order");
            }
            since = r->upto;
            is_complete = r->complete;
            store_read_free(r);
        }
        assert_int_equal(got, expected);
    }
}

#define in_world(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main() {
    const struct CMUnitTest tests[] = {
        in_world(pages_in_every_direction),
        in_world(pages_are_bounded_in_bytes),
        in_world(what_changed_comes_once_in_its_present_state),
        in_world(only_ones_own_memberships_when_asked),
        in_world(a_slice_passes_over_a_bounded_part_of_the_log),
        in_world(the_position_never_goes_back),
        in_world(unread_counts_what_others_wrote_above_the_mark),
        in_world(unread_stops_counting),
        in_world(waiting_counts_messages_of_ones_rooms_since),
        in_world(authors_are_distinct_and_newest_first),
        in_world(a_follower_from_anywhere_ends_like_one_who_saw_everything),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
