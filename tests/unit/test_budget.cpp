// What connections hold together: it is counted where it comes and goes, it is 0 when all have gone, and above the limit those go who hold most for
// longest, each told so in its protocol.
#include "net_world.h"

#include "base/metrics.h"

constexpr char handshake[] = "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                             "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
constexpr char post[] = "POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60000\r\n\r\n";

static Buf zeros; // what a masked frame of zeros is filled with

static void begin(size_t held_bytes_max = 1024 * 1024) {
    NetOptions options;
    options.held_bytes_max = held_bytes_max;
    world_begin(options);
    world.request = [](HttpRequest *r) {
        if (r->upgrade_websocket) ws_accept(r);
        else if (r->path != "/later") http_respond(r, {});
    };
    if (zeros.len == 0) {
        buf_reserve(zeros, 64 * 1024);
        memset(zeros.data, 0, 64 * 1024);
        zeros.len = 64 * 1024;
    }
}

// No limit of addresses.
static ConnId loopback(Buf *sent) { return world_connect(sent, "127.0.0.1"); }

static ConnId socket_open(Buf *sent) {
    ConnId id = loopback(sent);
    world_feed(id, handshake);
    assert_non_null(conn_get(id));
    return id;
}

// The beginning of a text frame of 60,000 bytes.
static void frame_begin(ConnId id, size_t bytes) {
    constexpr char head[] = {(char)0x81, (char)(0x80 | 126), (char)(60'000 >> 8), (char)(60'000 & 0xff), 0, 0, 0, 0};
    world_feed(id, {head, sizeof head});
    world_feed(id, {zeros.data, bytes});
}

static uint32_t holds(ConnId id) {
    const Conn *c = conn_get(id);
    assert_non_null(c);
    return c->holds;
}

static void counts_what_comes_and_goes(void **) {
    begin();
    Buf sent[5];
    ConnId head = loopback(&sent[0]), body = loopback(&sent[1]), frame = socket_open(&sent[2]), paused = socket_open(&sent[3]), queued = socket_open(&sent[4]);
    assert_int_equal(net.held_bytes, 0);
    world_feed(head, "GET / HTTP/1.1\r\nX: ");
    world_feed(body, post);
    world_feed(body, {zeros.data, 30'000});
    assert_true(holds(head) > 64 && holds(head) < 8192);
    assert_true(holds(body) > 30'000);
    frame_begin(frame, 20'000);
    assert_true(holds(frame) > 20'000 + 8 * 1024);
    conn_pause(conn_get(paused), true);
    frame_begin(paused, 10'000);
    assert_true(holds(paused) > 10'000);
    assert_true(conn_queue(conn_get(queued), {zeros.data, 5'000}));
    assert_true(holds(queued) >= 5'000);
    assert_int_equal(net.held_bytes, holds(head) + holds(body) + holds(frame) + holds(paused) + holds(queued));
    assert_int_equal(metrics[(int)Metric::connections_bytes], net.held_bytes);
    // What is finished is not held any more.
    world_feed(head, "1\r\nHost: localhost\r\n\r\n");
    world_feed(body, {zeros.data, 30'000});
    world_feed(frame, {zeros.data, 40'000});
    assert_int_equal(conn_flush(conn_get(queued), nullptr, 0), 0);
    assert_int_equal(holds(head) + holds(body) + holds(frame) + holds(queued), 0);
    conn_pause(conn_get(paused), false);
    conn_work();
    world_feed(paused, {zeros.data, 50'000});
    assert_int_equal(net.held_bytes, 0);
    frame_begin(frame, 100);
    world_feed(body, post);
    for (ConnId id : {head, body, frame, paused, queued}) world_disconnect(id);
    assert_int_equal(net.held_bytes, 0);
    assert_int_equal(metrics[(int)Metric::connections_bytes], 0); // on machines of 32 bits a difference would not shrink it
    world_end();
    for (Buf &b : sent) buf_free(b);
}

// A handshake that waited for its turn is answered when nothing of it is being read: its head is no longer held, and the answer is.
static void a_handshake_answered_later_is_counted(void **) {
    begin();
    world.request = [](HttpRequest *) {};
    Buf sent;
    ConnId id = loopback(&sent);
    world_feed(id, handshake);
    assert_true(holds(id) > sizeof handshake);
    Conn *c = conn_get(id);
    ws_accept(http_request_of(c), true);
    assert_true(c->queue.cap > 0);
    assert_int_equal(holds(id), c->queue.cap);
    assert_int_equal(net.held_bytes, c->queue.cap);
    conn_flush(c, nullptr, 0);
    assert_int_equal(holds(id), 0);
    world_end();
    buf_free(sent);
}

static void is_nothing_when_the_net_stops(void **) {
    begin();
    Buf sent[2];
    ConnId body = loopback(&sent[0]), frame = socket_open(&sent[1]);
    world_feed(body, post);
    frame_begin(frame, 1000);
    assert_true(net.held_bytes > 0);
    world_end(); // asserts for each connection that it holds nothing
    for (Buf &b : sent) buf_free(b);
}

// 40 sockets and 40 requests with much, and a few with little: the limit is 1 MiB.
static void who_holds_most_goes_first(void **) {
    begin();
    constexpr int each = 40;
    Buf sockets_sent[each], requests_sent[each], small_sent[2], waiting_sent;
    ConnId sockets[each], requests[each], small[2] = {loopback(&small_sent[0]), socket_open(&small_sent[1])}, waiting = loopback(&waiting_sent);
    uint64_t shed = metrics[(int)Metric::connections_shed];
    world_feed(small[0], "GET / HTTP/1.1\r\n");
    world_feed(waiting, "POST /later HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50000\r\n\r\n");
    world_feed(waiting, {zeros.data, 50'000});
    for (int i = 0; i < each; i++) {
        sockets[i] = socket_open(&sockets_sent[i]);
        frame_begin(sockets[i], 40'000);
        requests[i] = loopback(&requests_sent[i]);
        world_feed(requests[i], post);
        world_feed(requests[i], {zeros.data, 40'000});
        assert_true(net.held_bytes <= net.options.held_bytes_max);
    }
    int refused = 0, closed = 0;
    for (int i = 0; i < each; i++) {
        bool is_told_503 = has(requests_sent[i], "HTTP/1.1 503 ") && has(requests_sent[i], "Retry-After: ") && has(requests_sent[i], "\"overloaded\"");
        bool is_told_1013 = has(sockets_sent[i], std::string_view("\x03\xf5overloaded", 12));
        refused += is_told_503;
        closed += is_told_1013;
        const Conn *r = conn_get(requests[i]), *s = conn_get(sockets[i]);
        assert_int_equal(is_told_503, r == nullptr || r->state == ConnState::draining);
        assert_int_equal(is_told_1013, s == nullptr || s->state == ConnState::draining);
    }
    assert_true(refused > 5 && closed > 5);
    assert_int_equal(metrics[(int)Metric::connections_shed] - shed, refused + closed);
    world_feed(small[0], "Host: localhost\r\n\r\n");
    assert_true(has(small_sent[0], "HTTP/1.1 200 "));
    frame_begin(small[1], 100);
    assert_non_null(conn_get(small[1]));
    check(http_pending(waiting) != nullptr, "%.*s", (int)waiting_sent.len, waiting_sent.data); // it is being answered: it has done its part
    http_respond(http_pending(waiting), {});
    assert_true(has(waiting_sent, "HTTP/1.1 200 "));
    world_end();
    for (int i = 0; i < each; i++) buf_free(sockets_sent[i]), buf_free(requests_sent[i]);
    for (Buf *b : {&small_sent[0], &small_sent[1], &waiting_sent}) buf_free(*b);
}

// Requests that are put off are many and long: they go before those who talk. One that is being done stays; what it needs no more has been let go.
static void who_is_put_off_goes_before_who_talks(void **) {
    begin();
    constexpr int each = 20;
    Buf sent[each], talker_sent, done_sent;
    ConnId ids[each], talker = socket_open(&talker_sent), done = loopback(&done_sent);
    world.request = [](HttpRequest *r) { r->path == "/later" ? http_put_off(r, true) : http_forget_body(r); };
    world_feed(done, post);
    world_feed(done, {zeros.data, 60'000});
    assert_true(holds(done) > 0 && holds(done) < 8192);
    frame_begin(talker, 5'000);
    int refused = 0;
    for (int i = 0; i < each; i++) {
        world_feed(ids[i] = loopback(&sent[i]), "POST /later HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60000\r\n\r\n");
        world_feed(ids[i], {zeros.data, 60'000});
        assert_true(net.held_bytes <= net.options.held_bytes_max);
        if (i == 0) http_put_off(http_pending(ids[0]), false); // it is heard
    }
    for (int i = 0; i < each; i++) {
        bool is_told = has(sent[i], "HTTP/1.1 503 ") && has(sent[i], "Retry-After: ");
        assert_int_equal(is_told, http_pending(ids[i]) == nullptr);
        refused += is_told;
    }
    assert_true(refused > 5 && refused < each);
    assert_int_equal((int)conn_get(talker)->state, (int)ConnState::socket);
    assert_non_null(http_pending(ids[0]));
    assert_non_null(http_pending(done));
    http_respond(http_pending(done), {});
    assert_true(has(done_sent, "HTTP/1.1 200 "));
    world_end();
    for (Buf &b : sent) buf_free(b);
    buf_free(talker_sent);
    buf_free(done_sent);
}

// Little by little, from very many: here too those are ended who are there longest.
static void many_small_ones_are_bounded_too(void **) {
    begin(256 * 1024);
    constexpr int all = 400;
    static Buf sent[all];
    ConnId ids[all];
    for (int i = 0; i < all; i++) {
        ids[i] = loopback(&sent[i]);
        world_feed(ids[i], "GET / HTTP/1.1\r\nX: ");
        assert_true(net.held_bytes <= net.options.held_bytes_max);
    }
    assert_true(net.held_bytes > 0);
    int told = 0;
    for (Buf &b : sent) told += has(b, "HTTP/1.1 503 ");
    assert_true(told > 0);
    world_end();
    for (Buf &b : sent) buf_free(b);
}

// At the limit who has much gets no more, who has little still gets an answer, up to an eighth above it.
static void at_the_limit_only_a_little_is_given(void **) {
    begin(100'000);
    Buf sent[40];
    ConnId ids[40];
    for (int i = 0; i < 40; i++) ids[i] = socket_open(&sent[i]);
    assert_true(conn_queue(conn_get(ids[0]), {zeros.data, 60'000}));
    assert_true(conn_queue(conn_get(ids[1]), {zeros.data, 30'000}));
    assert_false(conn_queue(conn_get(ids[2]), {zeros.data, 30'000})); // before a turn could make room
    int given = 0;
    for (int i = 3; i < 40; i++) given += conn_queue(conn_get(ids[i]), {zeros.data, 1000});
    assert_true(given > 3 && given < 37);
    assert_true(net.held_bytes <= 100'000 + 100'000 / 8 + 1024);
    conn_work();
    assert_true(net.held_bytes <= 50'000);
    world_end();
    for (Buf &b : sent) buf_free(b);
}

// What was held back is looked at again for many in one turn, and for the message that each has begun it takes more than it was: at the limit they wait too.
static void who_is_listened_to_again_waits_at_the_limit(void **) {
    begin();
    constexpr int all = 300;
    static Buf sent[all];
    ConnId ids[all];
    for (int i = 0; i < all; i++) {
        ids[i] = socket_open(&sent[i]);
        conn_pause(conn_get(ids[i]), true);
        frame_begin(ids[i], 100);
    }
    size_t limit = net.options.held_bytes_max;
    assert_true(net.held_bytes < limit / 4);
    for (ConnId id : ids) conn_pause(conn_get(id), false);
    for (int turns = 0; turns == 0 || (net.todo != nullptr && turns < 1'000'000); turns++) {
        conn_work();
        check(net.held_bytes <= limit + limit / 8, "%zu bytes are held in turn %d", net.held_bytes, turns);
    }
    int told = 0, listened_to = 0;
    for (int i = 0; i < all; i++) {
        const Conn *c = conn_get(ids[i]);
        bool is_told = has(sent[i], "overloaded");
        told += is_told;
        listened_to += !is_told && c != nullptr && c->held.len == 0;
    }
    assert_true(told > 0 && listened_to > 0);
    assert_int_equal(told + listened_to, all); // nobody is forgotten
    world_end();
    for (Buf &b : sent) buf_free(b);
}

// The next turn makes room by itself, whoever else comes or not: all that hold most go, and of the others as many as it needs, though they came first.
static void the_heaviest_go_and_no_more_than_needed(void **) {
    begin();
    constexpr int light = 40, heavy = 5;
    static Buf sent[light + heavy];
    ConnId ids[light + heavy];
    for (int i = 0; i < light + heavy; i++) ids[i] = socket_open(&sent[i]);
    for (int i = 0; i < light + heavy; i++) assert_true(conn_queue(conn_get(ids[i]), {zeros.data, i < light ? 12'000u : 50'000u}));
    assert_true(net.held_bytes > net.options.held_bytes_max / 4 * 3);
    uv_run(&world.loop, UV_RUN_NOWAIT);
    assert_true(net.held_bytes <= net.options.held_bytes_max / 2);
    int stay = 0;
    for (int i = 0; i < light; i++) stay += !has(sent[i], "overloaded");
    for (int i = light; i < light + heavy; i++) check(has(sent[i], "overloaded"), "a heavy one stays");
    check(stay >= light * 3 / 4 && stay < light, "%d of %d light ones stay", stay, light);
    world_end();
    for (Buf &b : sent) buf_free(b);
}

int main() {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_what_comes_and_goes),      cmocka_unit_test(is_nothing_when_the_net_stops),
        cmocka_unit_test(a_handshake_answered_later_is_counted),
        cmocka_unit_test(who_is_listened_to_again_waits_at_the_limit),
        cmocka_unit_test(who_holds_most_goes_first),       cmocka_unit_test(many_small_ones_are_bounded_too),
        cmocka_unit_test(who_is_put_off_goes_before_who_talks),
        cmocka_unit_test(at_the_limit_only_a_little_is_given), cmocka_unit_test(the_heaviest_go_and_no_more_than_needed),
    };
    int failed = cmocka_run_group_tests(tests, nullptr, nullptr);
    buf_free(zeros);
    return failed;
}
