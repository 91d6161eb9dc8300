// The broadcast ring, the heart of the chat: what it keeps, what it gives up and how it says so. First by example, then a random history against a
// model (SEED repeats a run): each reader gets exactly the log, byte for byte, or is told that it was overrun; never a wrong byte.
#include "unit.h"

#include <time.h>

#include "chat/ring.h"

// A header like WebSocket's: 2, 4 or 10 bytes, from the payload's length alone.
static size_t header(char out[16], size_t payload_bytes) {
    size_t wide = payload_bytes < 126 ? 0 : payload_bytes < 65536 ? 2 : 8;
    out[0] = 'H';
    out[1] = (char)('0' + wide);
    for (size_t i = 0; i < wide; i++) out[2 + i] = (char)(payload_bytes >> (8 * i));
    return 2 + wide;
}

static int deflate_calls;

// "Compressed" is the length and the first byte; what begins with '!' does not pay.
static bool deflate(Buf &out, std::string_view payload) {
    deflate_calls++;
    if (payload[0] == '!') return false;
    buf_printf(out, "Z%zu%c", payload.size(), payload[0]);
    return true;
}

static Ring ring;

static int setup(void **) {
    ring_start(&ring, {.header = header, .deflate = deflate}, 100);
    deflate_calls = 0;
    return 0;
}

static int teardown(void **) {
    ring_free(&ring);
    return 0;
}

static std::string_view payload_of(std::string_view frame) {
    size_t skip = 2 + (size_t)(frame[1] - '0');
    return frame.substr(skip);
}

static std::string_view payload_at(uint64_t seq) { return payload_of(ring_frame(&ring, ring_at(&ring, seq))); }

static void fill(int64_t from_rev, int count, size_t bytes) {
    char *text = (char *)mem_alloc(bytes);
    memset(text, 'x', bytes);
    for (int i = 0; i < count; i++) ring_push(&ring, from_rev + i, {}, {text, bytes});
    free(text);
}

// --- examples

static void starts_empty_behind_a_rev(void **) {
    assert_int_equal(ring.head, 0);
    assert_int_equal(ring.head_rev, 100);
    assert_true(ring_covers(&ring, 100));
    assert_false(ring_covers(&ring, 99)); // it never had the 100th
    assert_int_equal(ring_find(&ring, 100), 0);
    assert_int_equal(ring_find(&ring, 5000), 0); // ahead of the log: nothing to read
}

static void gives_back_what_was_pushed(void **) {
    ring_push(&ring, 101, {}, "one");
    ring_push(&ring, 102, {}, "two");
    ring_push(&ring, 0, {}, "somebody types");
    ring_push(&ring, 105, {}, "five"); // 103 and 104 had no frame
    assert_int_equal(ring.head, 4);
    assert_int_equal(ring.head_rev, 105);
    check_text(ring_frame(&ring, ring_at(&ring, 0)), "H0one", "framed");
    check_text(payload_at(1), "two", "second");
    check_text(payload_at(2), "somebody types", "third");
    check_text(payload_at(3), "five", "fourth");
    assert_int_equal(ring_at(&ring, 1)->rev, 102);
    assert_int_equal(ring_at(&ring, 2)->rev, 0);
}

static void finds_where_to_read_on(void **) {
    const int64_t revs[] = {101, 0, 102, 105, 0, 0, 106, 0};
    for (int64_t rev : revs) ring_push(&ring, rev, {}, "x");
    const struct {
        int64_t seen;
        uint64_t seq;
    } rows[] = {{100, 0}, {101, 2}, {102, 3}, {103, 3}, {104, 3}, {105, 6}, {106, 8}, {107, 8}};
    for (auto &row : rows) check(ring_find(&ring, row.seen) == row.seq, "seen %d: seq %d", (int)row.seen, (int)ring_find(&ring, row.seen));
}

static void gives_up_the_oldest_for_bytes(void **) {
    size_t bytes = 1000, frames = ring_bytes / (bytes + 4);
    fill(101, (int)frames, bytes);
    assert_int_equal(ring.tail, 0);
    assert_int_equal(ring.lost_rev, 100);
    fill(9000, 1, ring_bytes % (bytes + 4)); // with its header too long for what is left
    assert_int_equal(ring.tail, 1); // the first stood at the bytes where this one stands now
    assert_int_equal(ring.lost_rev, 101);
    assert_false(ring_covers(&ring, 100));
    assert_true(ring_covers(&ring, 101));
    assert_int_equal(ring_find(&ring, 101), 1);
    assert_int_equal(ring_at(&ring, ring.head - 1)->at, 0);
}

static void gives_up_the_oldest_for_entries(void **) {
    fill(101, ring_entries, 1);
    assert_int_equal(ring.tail, 0);
    ring_push(&ring, 9000, {}, "y");
    assert_int_equal(ring.tail, 1);
    assert_int_equal(ring.head - ring.tail, ring_entries);
    assert_int_equal(ring.lost_rev, 101);
    assert_int_equal(ring_at(&ring, ring.tail)->rev, 102);
}

static void losing_a_passing_frame_loses_nothing_of_the_log(void **) {
    ring_push(&ring, 0, {}, "typing");
    fill(101, ring_entries, 1);
    assert_int_equal(ring.tail, 1);
    assert_true(ring_covers(&ring, 100));
    assert_int_equal(ring_find(&ring, 100), 1);
}

static void a_frame_is_in_one_piece_at_the_end_of_the_bytes(void **) {
    size_t bytes = 100'000;
    fill(101, (int)(ring_bytes / bytes), bytes); // ten, and 48,576 bytes are left
    ring_push(&ring, 200, {}, std::string_view("begins anew at the start"));
    assert_int_equal(ring_at(&ring, ring.head - 1)->at, ring_at(&ring, 9)->at + 100'010);
    char *text = (char *)mem_alloc(bytes);
    memset(text, 'y', bytes);
    ring_push(&ring, 201, {}, {text, bytes});
    assert_int_equal(ring_at(&ring, ring.head - 1)->at, 0);
    assert_int_equal(ring.tail, 1);
    check_text(payload_at(ring.head - 1), {text, bytes}, "newest");
    free(text);
    assert_int_equal(payload_at(1).find_first_not_of('x'), std::string_view::npos);
}

// The bytes that are left free at the end belong to frames of the lap before: these must go first, then those at the start.
static void old_frames_at_the_end_go_before_those_at_the_start(void **) {
    fill(101, 1040, 1000); // to the end, nearly
    fill(2000, 10, 100'000); // over them, up to 1,000,100: behind it stand some of the small ones
    assert_true(ring_at(&ring, ring.tail)->len < 2000);
    char *text = (char *)mem_alloc(100'000);
    memset(text, 'y', 100'000);
    ring_push(&ring, 3000, {}, {text, 100'000}); // no room at the end: over the first of the large ones
    assert_int_equal(ring_at(&ring, ring.head - 1)->at, 0);
    assert_int_equal(ring_at(&ring, ring.tail)->rev, 2001);
    assert_int_equal(ring.lost_rev, 2000);
    for (uint64_t seq = ring.tail; seq != ring.head - 1; seq++)
        check(payload_at(seq).find_first_not_of('x') == std::string_view::npos, "seq %d was overwritten", (int)seq);
    check_text(payload_at(ring.head - 1), {text, 100'000}, "newest");
    free(text);
}

static void keeps_its_own_copy_of_the_audience(void **) {
    int64_t users[] = {7, 8, 9};
    ring_push(&ring, 101, {.kind = AudienceKind::users, .users = users, .users_count = 3}, "for three");
    ring_push(&ring, 0, {.kind = AudienceKind::room_but, .room = 4, .but = 7}, "typing");
    users[0] = users[1] = users[2] = 0;
    const RingEntry *e = ring_at(&ring, 0);
    assert_int_equal(e->kind, AudienceKind::users);
    assert_int_equal(e->users_count, 3);
    assert_int_equal(e->users[0], 7);
    assert_int_equal(e->users[2], 9);
    e = ring_at(&ring, 1);
    assert_int_equal(e->kind, AudienceKind::room_but);
    assert_int_equal(e->room, 4);
    assert_int_equal(e->but, 7);
    assert_null(e->users);
}

static void a_new_message_says_whose_it_is_and_whom_it_calls(void **) {
    int64_t called[] = {5, 6};
    ring_push(&ring, 101, {.kind = AudienceKind::room, .room = 2}, "hello @eve",
              {.id = 101, .sender = 3, .mentions = called, .mentions_count = 2});
    called[0] = 0;
    const RingEntry *e = ring_at(&ring, 0);
    assert_int_equal(e->message, 101);
    assert_int_equal(e->sender, 3);
    assert_int_equal(e->users_count, 2);
    assert_int_equal(e->users[0], 5);
}

static void who_asked_gets_a_frame_of_its_own(void **) {
    ring_push(&ring, 101, {}, "for all", {}, {.reader = 77, .payload = "for one"});
    ring_push(&ring, 102, {}, "for all");
    const RingEntry *e = ring_at(&ring, 0);
    assert_int_equal(e->asker, 77);
    check_text(ring_frame_asked(e), "H0for one", "asked");
    check_text(ring_frame(&ring, e), "H0for all", "the others'");
    assert_int_equal(ring_at(&ring, 1)->asker, 0);
    fill(103, ring_entries, 1); // what is given up is freed
    assert_int_equal(ring_at(&ring, ring.head - 1)->asker, 0);
}

static void says_from_where_on_all_is_for_everybody(void **) {
    assert_int_equal(ring.restricted, 0);
    ring_push(&ring, 101, {}, "a");
    assert_int_equal(ring.restricted, 0);
    ring_push(&ring, 102, {.kind = AudienceKind::room, .room = 2}, "b");
    ring_push(&ring, 103, {}, "c");
    assert_int_equal(ring.restricted, 2);
}

static void deflates_once_and_only_what_pays(void **) {
    char text[400];
    memset(text, 'a', sizeof text);
    ring_push(&ring, 101, {}, {text, 400});
    text[0] = '!';
    ring_push(&ring, 102, {}, {text, 400});
    ring_push(&ring, 103, {}, "short");
    for (int i = 0; i < 3; i++) check_text(ring_frame_deflated(&ring, ring_at(&ring, 0)), "Z400a", "deflated");
    assert_int_equal(deflate_calls, 1);
    for (int i = 0; i < 3; i++)
        check_text(ring_frame_deflated(&ring, ring_at(&ring, 1)), ring_frame(&ring, ring_at(&ring, 1)), "does not pay");
    assert_int_equal(deflate_calls, 2);
    check_text(ring_frame_deflated(&ring, ring_at(&ring, 2)), "H0short", "too short");
    assert_int_equal(deflate_calls, 2);
}

// The payload that is deflated begins behind the header, whose length changes at 126 and at 65,536.
static void deflates_the_payload_whatever_its_header(void **) {
    const size_t sizes[] = {200, 65'531, 65'532, 65'535, 65'536, 65'540, 100'000};
    for (size_t size : sizes) {
        char *text = (char *)mem_alloc(size), want[32];
        memset(text, 'b', size);
        ring_push(&ring, ring.head_rev + 1, {}, {text, size});
        snprintf(want, sizeof want, "Z%zub", size);
        check_text(ring_frame_deflated(&ring, ring_at(&ring, ring.head - 1)), want, "deflated");
        free(text);
    }
}

static void a_new_frame_in_an_old_place_has_no_old_copy(void **) {
    char text[400];
    memset(text, 'a', sizeof text);
    int64_t user = 1;
    for (int i = 0; i < (int)ring_entries; i++) {
        ring_push(&ring, 101 + i, {.kind = AudienceKind::users, .users = &user, .users_count = 1}, {text, i % 2 ? 1u : 220u});
        (void)ring_frame_deflated(&ring, ring_at(&ring, ring.head - 1));
    }
    memset(text, 'c', sizeof text);
    ring_push(&ring, 9000, {}, {text, 300});
    const RingEntry *e = ring_at(&ring, ring.head - 1);
    assert_null(e->users);
    assert_int_equal(e->users_count, 0);
    check_text(ring_frame_deflated(&ring, ring_at(&ring, ring.head - 1)), "Z300c", "deflated");
}

static void the_log_can_go_on_without_a_frame(void **) {
    ring_skip(&ring, 103);
    assert_int_equal(ring.head_rev, 103);
    assert_false(ring_covers(&ring, 100)); // an empty ring: whoever asks for less must read the store
    assert_true(ring_covers(&ring, 103));
    ring_push(&ring, 104, {}, "a");
    ring_skip(&ring, 106);
    ring_push(&ring, 107, {}, "b");
    assert_true(ring_covers(&ring, 103));
    assert_int_equal(ring_find(&ring, 104), 1);
    assert_int_equal(ring_find(&ring, 105), 1);
    assert_int_equal(ring_find(&ring, 106), 1);
    assert_int_equal(ring_find(&ring, 107), 2);
}

static void refuses_what_would_break_it(void **) {
    ring_push(&ring, 101, {}, "a");
    assert_true(aborts([] { ring_push(&ring, 101, {}, "the same rev"); }));
    assert_true(aborts([] { ring_push(&ring, 50, {}, "an older one"); }));
    assert_true(aborts([] { ring_skip(&ring, 100); }));
    assert_true(aborts([] { (void)ring_find(&ring, 99); })); // not covered: what is missing there cannot be told
    static char large[ring_bytes];
    assert_true(aborts([] { ring_push(&ring, 102, {}, {large, sizeof large}); }));
    ring_push(&ring, 102, {}, {large, ring_bytes / 2 - 10});
}

// The frames from seq on as bytes, one by one and as the ring gives them in one or two pieces.
static void span_is_the_frames(uint64_t seq) {
    std::string_view pieces[2];
    int count = ring_span(&ring, seq, pieces);
    for (int i = 0; i < count; i++) {
        for (std::string_view rest = pieces[i]; !rest.empty(); seq++) {
            std::string_view frame = ring_frame(&ring, ring_at(&ring, seq));
            check(seq != ring.head && rest.data() == frame.data() && rest.size() >= frame.size(), "seq %d of %d", (int)seq, (int)ring.head);
            rest.remove_prefix(frame.size());
        }
    }
    assert_int_equal(seq, ring.head);
}

static void what_lies_together_is_one_piece(void **) {
    std::string_view pieces[2];
    ring_push(&ring, 101, {}, "one");
    ring_push(&ring, 102, {}, "two");
    assert_int_equal(ring_span(&ring, 0, pieces), 1);
    check_text(pieces[0], "H0oneH0two", "both");
    assert_int_equal(ring_span(&ring, 1, pieces), 1);
    check_text(pieces[0], "H0two", "the second");
}

// Frames whose lengths do and do not divide the bytes: now the last one ends where the bytes end, now some are left over.
static void what_lies_around_the_end_is_two_pieces(void **) {
    for (size_t bytes : {1'020u, 1'000u, 60'000u, 65'526u, 65'535u}) {
        unsigned twice = 0;
        for (int i = 0; i < 1200; i++) {
            fill(ring.head_rev + 1, 1, bytes);
            std::string_view pieces[2];
            uint64_t oldest = ring.tail, middle = ring.tail + (ring.head - ring.tail) / 2;
            twice += ring_span(&ring, oldest, pieces) == 2;
            for (uint64_t seq : {oldest, middle, ring.head - 1}) span_is_the_frames(seq);
        }
        assert_true(twice > 0);
    }
}

static void says_from_where_on_nothing_is_for_one_alone(void **) {
    ring_push(&ring, 101, {}, "a");
    assert_int_equal(ring.personal, 0);
    ring_push(&ring, 102, {}, "b", {}, {.reader = 7, .payload = "for one"});
    ring_push(&ring, 103, {}, "c");
    assert_int_equal(ring.personal, 2);
}

// --- a random history

static uint64_t random_state;

static uint32_t pick(uint32_t below) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)((random_state >> 16) % below);
}

// What was pushed as seq n. Its bytes follow from n, so they need not be kept.
struct Pushed {
    int64_t rev; // 0: a passing frame
    uint32_t bytes;
};

constexpr uint32_t pushes = 8'000;
static Pushed pushed[pushes];
static char expected[ring_bytes];

static std::string_view expected_payload(uint64_t seq) {
    uint64_t x = (seq + 1) * 0x9e3779b97f4a7c15u;
    for (size_t i = 0; i < pushed[seq].bytes; i += 8, x += 0x0101010101010101u) memcpy(expected + i, &x, 8);
    return {expected, pushed[seq].bytes};
}

static void is_as_pushed(uint64_t seq, const char *where) {
    const RingEntry *e = ring_at(&ring, seq);
    check(e->rev == pushed[seq].rev, "%s: seq %d has rev %d, not %d", where, (int)seq, (int)e->rev, (int)pushed[seq].rev);
    std::string_view frame = ring_frame(&ring, e);
    char head[16];
    size_t head_bytes = header(head, pushed[seq].bytes);
    check(frame.size() == head_bytes + pushed[seq].bytes && memcmp(frame.data(), head, head_bytes) == 0, "%s: seq %d has another header", where, (int)seq);
    check(payload_of(frame) == expected_payload(seq), "%s: seq %d has wrong bytes", where, (int)seq);
}

// A reader as sync_live.cpp has them: a place in the ring, and the position that it has reached by it.
struct TestReader {
    uint64_t cursor;
    int64_t position;
    uint32_t speed, overruns, frames;
};

static void read_some(TestReader &r) {
    if (r.cursor < ring.tail) {
        r.overruns++;
        // What it has lost is of the log, or passing frames alone; the ring says which, and the truth is in `pushed`.
        bool lost = false;
        for (uint64_t seq = r.cursor; seq < ring.tail; seq++) lost |= pushed[seq].rev > r.position;
        check(ring_covers(&ring, r.position) == !lost, "a reader at %d: covered %d, lost %d", (int)r.position, !lost, lost);
        if (lost) r.position = ring.lost_rev + (int64_t)pick(3); // it has read the store up to here, or a little further
        r.cursor = ring_find(&ring, r.position);
        for (uint64_t seq = ring.tail; seq < r.cursor; seq++) check(pushed[seq].rev <= r.position, "seq %d was passed over", (int)seq);
    }
    for (uint32_t n = pick(r.speed) + pick(2); n > 0 && r.cursor != ring.head; n--, r.cursor++) {
        is_as_pushed(r.cursor, "a reader");
        int64_t rev = pushed[r.cursor].rev;
        if (rev <= r.position) continue;
        // Nothing of the log between the last one and this: `pushed` is the log.
        for (uint64_t seq = r.cursor; seq-- > 0;) {
            if (!pushed[seq].rev) continue;
            check(pushed[seq].rev <= r.position, "rev %d was not read before %d", (int)pushed[seq].rev, (int)rev);
            break;
        }
        r.position = rev;
        r.frames++;
    }
}

static uint32_t random_bytes_count(uint32_t mood) {
    switch (mood) {
    case 0: return 1 + pick(40);                                        // typing, seen: the entries run out first
    case 1: return 100 + pick(400);                                     // talk
    case 2: return 1 + pick(16'000);
    case 3: return (uint32_t)frame_out_bytes_max - pick(2000);          // pages' worth
    case 4: return pick(8) ? 1 + pick(300) : (uint32_t)frame_out_bytes_max - pick(40'000);
    default: return pick(50) ? 1000 : (uint32_t)(ring_bytes / 2 - 10) - pick(3000); // the largest that it takes
    }
}

static void readers_get_the_log_or_are_told(void **) {
    const char *given = getenv("SEED");
    uint64_t seed = given ? strtoull(given, nullptr, 10) : (uint64_t)time(nullptr);
    print_message("SEED=%llu\n", (unsigned long long)seed);
    random_state = seed * 0x9e3779b97f4a7c15u | 1;
    TestReader readers[24] = {};
    for (uint32_t i = 0; i < 24; i++) readers[i] = {.cursor = 0, .position = 100, .speed = i == 0 ? 1000 : 1u << (i % 12), .overruns = 0, .frames = 0};
    int64_t rev = 100;
    uint32_t mood = 0;
    const uint64_t count = under_valgrind() ? pushes / 8 : pushes;
    for (uint64_t seq = 0; seq < count; seq++) {
        if (pick(200) == 0) mood = pick(6);
        if (pick(40) == 0) ring_skip(&ring, rev += pick(3));
        bool of_the_log = pick(4) != 0;
        if (of_the_log) rev += 1 + pick(2);
        pushed[seq] = {of_the_log ? rev : 0, random_bytes_count(mood)};
        ring_push(&ring, pushed[seq].rev, {}, expected_payload(seq));
        check(ring.head == seq + 1 && ring.head_rev == rev, "head %d, rev %d", (int)ring.head, (int)ring.head_rev);
        if (seq % 64 == 0 || mood >= 4) { // all that it says it has is right
            for (uint64_t at = ring.tail; at != ring.head; at++) is_as_pushed(at, "the ring");
        }
        if (ring.tail > 0 && ring.head - ring.tail < ring_entries) { // and it keeps what it can: a frame more would not fit
            uint64_t kept = 0, longest = 0;
            for (uint64_t at = ring.tail - 1; at != ring.head; at++) {
                uint32_t bytes = pushed[at].bytes + 10;
                kept += bytes;
                if (bytes > longest) longest = bytes;
            }
            check(kept + longest >= ring_bytes, "it keeps %d bytes and gave up more", (int)kept);
        }
        for (TestReader &r : readers)
            if (&r == readers || pick(4) == 0) read_some(r);
    }
    uint32_t overruns = 0, whole = 0;
    for (TestReader &r : readers) {
        while (r.cursor != ring.head) read_some(r);
        int64_t newest = 0;
        for (uint64_t seq = count; seq-- > 0 && !newest;) newest = pushed[seq].rev;
        check(r.position >= newest, "a reader ends at %d of %d", (int)r.position, (int)newest);
        overruns += r.overruns;
        whole += r.overruns == 0;
    }
    check(overruns > 0 && whole > 0, "a poor run: %u overruns, %u readers without", overruns, whole);
}

int main() {
#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        test(starts_empty_behind_a_rev),
        test(gives_back_what_was_pushed),
        test(finds_where_to_read_on),
        test(gives_up_the_oldest_for_bytes),
        test(gives_up_the_oldest_for_entries),
        test(losing_a_passing_frame_loses_nothing_of_the_log),
        test(a_frame_is_in_one_piece_at_the_end_of_the_bytes),
        test(old_frames_at_the_end_go_before_those_at_the_start),
        test(keeps_its_own_copy_of_the_audience),
        test(a_new_message_says_whose_it_is_and_whom_it_calls),
        test(who_asked_gets_a_frame_of_its_own),
        test(says_from_where_on_all_is_for_everybody),
        test(what_lies_together_is_one_piece),
        test(what_lies_around_the_end_is_two_pieces),
        test(says_from_where_on_nothing_is_for_one_alone),
        test(deflates_once_and_only_what_pays),
        test(deflates_the_payload_whatever_its_header),
        test(a_new_frame_in_an_old_place_has_no_old_copy),
        test(the_log_can_go_on_without_a_frame),
        test(refuses_what_would_break_it),
        test(readers_get_the_log_or_are_told),
    };
    return cmocka_run_group_tests_name("ring", tests, nullptr, nullptr);
}
