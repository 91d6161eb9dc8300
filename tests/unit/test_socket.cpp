// One user's WebSocket between the net and the hub: requests in, frames out, limits, and who is closed by what.
#include "web_world.h"
#include "dial.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "store/state.h"
#include "web/newcomers.h"
#include "web/socket_internal.h"

// --- tests

static void welcome_is_first_and_ready_follows(void **) {
    Tab &t = a_tab();
    open_tab(t, tokens[0]);
    say(t, R"({"type":"ping","ref":"early"})"); // came with the handshake
    until_has(t, "early");
    until_has(t, "\"ready\"");
    ScopedBuf frames;
    frames_of(t, frames);
    std::string_view all = buf_view(frames);
    assert_true(all.starts_with(R"({"type":"welcome",)"));
    assert_true(all.find("\"history\"") < all.find("\"ready\""));
    assert_int_equal(sockets_count(), 1);
    assert_int_equal(alice->sockets, 1);
}

static void each_request_is_answered(void **) {
    Tab &a = a_tab(), &b = a_tab();
    online(a, tokens[0]);
    online(b, tokens[1]);
    say(a, R"({"type":"message","text":"hello","nonce":"n1","ref":"r1"})");
    until_has(b, R"("text":"hello")");
    assert_false(has(b, "r1")); // a ref is between the one who asks and the server
    until_has(a, R"("nonce":"n1","ref":"r1")");
    say(a, R"({"type":"message","text":"hello","nonce":"n1","ref":"r2"})");
    until_has(a, R"("nonce":"n1","repeat":true,"ref":"r2")");
    say(a, R"({"type":"message","text":"","nonce":"n2","ref":"r3"})");
    until_has(a, R"("code":"empty","message":"There is nothing visible in it.","nonce":"n2","ref":"r3")");
    say(a, R"({"type":"message","text":"hate","nonce":"n3","ref":"r4"})");
    until_has(a, R"({"type":"warning","count":1,"limit":3,"nonce":"n3","ref":"r4"})");
    say(a, R"({"type":"delete","id":999,"ref":"r5"})");
    until_has(a, R"("code":"not_found","message":"There is no such thing here.","ref":"r5")");
    say(a, R"({"type":"typing","room":1})");
    until_has(b, R"({"type":"typing","room":1,"user":"alice"})");
    say(a, R"({"type":"history","room":1,"ref":"r6"})");
    until_has(a, R"("more":false,"ref":"r6"})");
    say(a, R"({"type":"nonsense","ref":"r7"})");
    until_has(a, R"("code":"unknown_type")");
    say(a, "nonsense");
    until_has(a, R"("code":"bad_json")");
    assert_int_equal(count_of(b, "repeat") + count_of(b, "\"warning\"") + count_of(b, "error"), 0); // private is private
}

// Who is cut in the middle of a snapshot has no position, and starts afresh: a pong must not name one.
static void a_snapshot_under_way_is_no_position(void **) {
    Tab &a = a_tab();
    char text[40];
    open_tab(a, tokens[0]);
    say(a, R"({"type":"ping","ref":"early"})");
    until_has(a, R"("ref":"early")");
    assert_true(has(a, R"("ref":"early","rev":0})"));
    until_has(a, "\"ready\"");
    say(a, R"({"type":"ping","ref":"late"})");
    snprintf(text, sizeof text, R"("ref":"late","rev":%lld})", (long long)hub_rev(&hub));
    until_has(a, text);
}

static void each_message_is_counted_once(void **) {
    Tab &a = a_tab();
    online(a, tokens[0]);
    uint64_t before = metrics[(int)Metric::frames_in], requests = metrics[(int)Metric::http_requests];
    for (int i = 0; i < 3; i++) say(a, R"({"type":"ping"})");
    until([&] { return count_of(a, "pong") == 3; }, "pongs");
    assert_int_equal(metrics[(int)Metric::frames_in] - before, 3);
    Tab &b = a_tab();
    online(b, tokens[1]);
    assert_int_equal(metrics[(int)Metric::http_requests] - requests, 1);
}

static void twenty_refusals_in_a_row_end_it(void **) {
    Tab &a = a_tab(), &b = a_tab();
    online(a, tokens[0]);
    online(b, tokens[1]);
    for (uint32_t i = 1; i < refused_in_a_row_max; i++) say(a, "{}"), say(b, "{}");
    say(a, R"({"type":"ping"})");
    for (uint32_t i = 1; i < refused_in_a_row_max; i++) say(a, "{}");
    say(b, "{}");
    until_has(b, "close 1008");
    turn();
    assert_false(has(a, "close"));
    assert_int_equal(sockets_count(), 1);
    assert_int_equal(bob->sockets, 0);
}

static void who_is_too_fast_is_heard_later_and_in_order(void **) {
    hub.options.request_rate = {.burst = 3, .per_second = 500};
    Tab &a = a_tab();
    online(a, tokens[0]);
    char text[64];
    for (int i = 0; i < 30; i++) {
        snprintf(text, sizeof text, R"({"type":"ping","ref":"p%d."})", i);
        say(a, text);
    }
    assert_true(count_of(a, "pong") < 10);
    until([&] { return count_of(a, "pong") == 30; }, "pongs");
    ScopedBuf frames;
    frames_of(a, frames);
    size_t at = 0;
    for (int i = 0; i < 30; i++) {
        snprintf(text, sizeof text, "\"p%d.\"", i);
        size_t next = buf_view(frames).find(text);
        check(next != std::string_view::npos && next > at, "pong %d", i);
        at = next;
    }
}

// A ping, a pong and a part of a message cost as much as a message: else who sends nothing but those has the server for himself.
static void frames_that_bring_nothing_are_counted_too(void **) {
    ScopedBuf pings, parts;
    for (int i = 0; i < 30; i++) put_frame(pings, i % 2 ? 0x8a : 0x89, "tick");
    for (int i = 0; i < 30; i++) put_frame(parts, i == 0 ? 0x01 : i == 29 ? 0x80 : 0x00, i == 15 ? R"({"type":"ping"})" : "    ");
    for (const Buf *script : {&pings, &parts}) {
        Tab &a = a_tab(), &b = a_tab();
        online(a, tokens[0]);
        online(b, tokens[0]);
        hub.options.request_rate = {.burst = 3, .per_second = 0.001};
        alice->requests = {};
        feed(a, buf_view(*script));
        assert_int_equal(conn_get(a.id)->held.len, script->len - 4 * 10); // three, and the one over the rate
        hub.options.request_rate = {.burst = 3, .per_second = 500};
        alice->requests = {};
        feed(b, buf_view(*script));
        if (script == &pings) until([&] { return count_of(b, "tick") == 15; }, "pongs");
        else until_has(b, "\"pong\"");
        hub.options.request_rate = {};
    }
}

static void over_the_message_rate_it_says_when(void **) {
    hub.options.message_rate = {.burst = 2, .per_second = 0.5};
    Tab &a = a_tab();
    online(a, tokens[0]);
    for (int i = 0; i < 3; i++) say(a, R"({"type":"message","text":"x","nonce":"n"})");
    until_has(a, R"("code":"rate_limited","message":"Too fast. Wait a moment and try again.","nonce":"n","retry_after":)");
}

static void a_blocked_user_is_told_and_closed_everywhere(void **) {
    Tab &a1 = a_tab(), &a2 = a_tab(), &b = a_tab();
    online(a1, tokens[0]);
    online(a2, tokens[0]);
    online(b, tokens[1]);
    hub.options.warnings_limit = 1;
    say(a1, R"({"type":"message","text":"hate","nonce":"n"})");
    for (Tab *t : {&a1, &a2}) {
        until_has(*t, "close 4002");
        assert_true(has(*t, R"({"type":"blocked")"));
    }
    assert_true(has(a1, "warning"));
    assert_false(has(b, "close"));
    assert_int_equal(sockets_count(), 1);
    Tab &again = a_tab();
    open_tab(again, tokens[0]);
    turn();
    assert_true(buf_view(again.sent).starts_with("HTTP/1.1 403"));
}

// A connection that has just broken, or is full, cannot be told: it must not keep the server from going on.
static void a_broken_connection_does_not_hold_up_a_block(void **) {
    Tab &a1 = a_tab(), &a2 = a_tab();
    online(a1, tokens[0]);
    online(a2, tokens[0]);
    conn_end_soon(conn_get(a1.id));
    conn_end_soon(conn_get(a2.id));
    sockets_of_user_block(alice);
    assert_null(alice->first_socket);
    assert_int_equal(sockets_count(), 0);
    turn();
}

static void the_end_of_a_session_closes_its_sockets_alone(void **) {
    char other[uuid_chars + 1];
    log_in(alice, other);
    Tab &a1 = a_tab(), &a2 = a_tab();
    online(a1, tokens[0]);
    online(a2, other);
    StoreWrite *w = hub_write_new(WriteKind::session_end, alice);
    w->user = alice->id;
    w->session_id = alice->sessions->id; // the newer one
    did_write(w);
    until_has(a2, "close 4001");
    assert_false(has(a1, "close"));
    w = hub_write_new(WriteKind::user_delete, nullptr);
    w->user = alice->id;
    did_write(w);
    until_has(a1, "close 4001");
    assert_int_equal(sockets_count(), 0);
}

static void pong(Tab &t) {
    ScopedBuf frame;
    put_frame(frame, 0x8a, "");
    feed(t, buf_view(frame));
}

// A month passes over an open socket: the session is in use, and the next handshake must find it.
static void an_open_socket_is_a_use_of_its_session(void **) {
    Tab &speaks = a_tab(), &listens = a_tab();
    online(speaks, tokens[0]);
    online(listens, tokens[1]);
    for (User *user : {alice, bob}) {
        user->sessions->last_used -= session_unused_ms_max + 1000;
        user->sessions->touched_ms = 0;
    }
    assert_null(model_session(&hub.model, tokens[0], {}));
    say(speaks, R"({"type":"ping"})");
    assert_non_null(model_session(&hub.model, tokens[0], {}));
    assert_null(model_session(&hub.model, tokens[1], {}));
    pong(listens);
    assert_non_null(model_session(&hub.model, tokens[1], {}));
    bob->sessions->last_used -= session_unused_ms_max + 1000;
    bob->sessions->touched_ms = 0;
    conn_abort(conn_get(listens.id));
    assert_non_null(model_session(&hub.model, tokens[1], {}));
    Tab &again = a_tab();
    online(again, tokens[1]);
}

// A year passes over one: however much it is used, the session has an end, in the database too.
static void a_session_ends_under_an_open_socket(void **) {
    char other[uuid_chars + 1];
    log_in(alice, other);
    Tab &speaks = a_tab(), &listens = a_tab(), &younger = a_tab();
    online(speaks, tokens[0]);
    online(listens, tokens[1]);
    online(younger, other);
    Session *old = alice->sessions->next_of_user;
    for (Session *session : {old, bob->sessions}) {
        session->created -= session_age_ms_max + 1000;
        session->touched_ms = 0;
    }
    say(speaks, R"({"type":"ping"})");
    pong(listens);
    say(younger, R"({"type":"ping"})");
    until_has(speaks, "close 4001");
    until_has(listens, "close 4001");
    until_has(younger, "pong");
    assert_false(has(younger, "close"));
    assert_null(bob->sessions);
    assert_int_equal(sql_value(world, "SELECT count(*) FROM sessions"), 1);
}

static void there_is_a_limit_for_each_user_and_for_all(void **) {
    teardown(nullptr);
    begin({.sockets_max = 3, .sockets_per_user_max = 2});
    Tab &first = a_tab(), &second = a_tab(), &third = a_tab(), &of_bob = a_tab(), &last = a_tab();
    online(first, tokens[0]);
    online(second, tokens[0]);
    open_tab(third, tokens[0]);
    assert_true(buf_view(third.sent).starts_with("HTTP/1.1 503"));
    assert_true(buf_view(third.sent).find("Retry-After: 10") != std::string_view::npos);
    online(of_bob, tokens[1]);
    open_tab(last, tokens[1]);
    assert_true(buf_view(last.sent).starts_with("HTTP/1.1 503"));
    conn_abort(conn_get(first.id));
    Tab &fits = a_tab();
    online(fits, tokens[1]);
}

// As the server does when the store does not know any more what is on the disk; at that moment all kinds of things are under way.
static void when_the_store_is_opened_anew_nothing_is_left_hanging(void **) {
    Tab &live = a_tab(), &starting = a_tab(), &asking = a_tab(), &http = a_tab();
    online(live, tokens[0]);
    online(asking, tokens[1]);
    open_tab(starting, tokens[1]);
    say(asking, R"({"type":"history","room":1})");
    hub.options.request_rate = {.burst = 1, .per_second = 1000};
    for (int i = 0; i < 3; i++) say(live, R"({"type":"message","text":"x"})"); // the last ones wait for the rate
    Address peer;
    assert_true(address_parse("203.0.113.5", &peer));
    http.id = conn_id(conn_for_test(peer, &http.sent));
    ScopedBuf head, error;
    buf_printf(head, "GET /api/rooms HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n\r\n", tokens[0]);
    feed(http, buf_view(head));
    while (store_has_work(world.s)) turn();
    sockets_close_all(1001, "the store is opened anew");
    assert_true(store_reopen(world.s, &error));
    assert_true(hub_reload(&hub));
    for (int i = 0; i < 20; i++) turn();
    assert_int_equal(sockets_count(), 0);
    assert_true(has(live, "close 1001") && has(asking, "close 1001") && has(starting, "close 1001"));
    until([&] { return buf_view(http.sent).starts_with("HTTP/1.1 200"); }, "the list of rooms");
    alice = model_user_by_name(&hub.model, "alice");
    assert_int_equal(alice->sockets, 0);
    Tab &again = a_tab();
    online(again, tokens[0]);
    say(again, R"({"type":"message","text":"and on","nonce":"n"})");
    until_has(again, "and on");
}

// The kernel may take a number of whole frames and then be full: nothing is begun, but what is left must not wait for the next news.
static void frames_behind_a_full_kernel_come_without_further_news(void **) {
    char path[256];
    world_path(world, "socket", path);
    ListenAddress where;
    ScopedBuf text;
    buf_printf(text, "unix:%s", path);
    buf_add_char(text, 0);
    assert_true(listen_parse(text.data, &where));
    uint16_t port = 0;
    assert_int_equal(net_listen(where, &port), 0);
    int fd = dial_unix(path);
    ScopedBuf head;
    buf_printf(head, "GET /ws?token=%s HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", tokens[0]);
    assert_int_equal(write(fd, head.data, head.len), head.len);
    Tab &t = a_tab();
    static char chunk[256 * 1024];
    auto hear = [&] {
        ssize_t n = read(fd, chunk, sizeof chunk);
        if (n > 0) buf_add(t.sent, {chunk, (size_t)n});
        else assert_true(n < 0 && errno == EAGAIN);
    };
    until([&] { return hear(), has(t, "\"ready\""); }, "ready");
    // Frames of 1,024 bytes: what the kernel takes in pieces of a page ends between two of them.
    char payload[1020];
    memset(payload, 'x', sizeof payload);
    constexpr uint32_t frames = 600;
    for (uint32_t i = 0; i < frames; i++) ring_push(&hub.ring, 0, {}, {payload, sizeof payload});
    for (int i = 0; i < 5; i++) turn(); // until the kernel is full
    size_t before = t.sent.len;
    until([&] { return hear(), t.sent.len >= before + frames * 1024; }, "all frames");
    close(fd);
}

// Who asks and does not take the answers is not read any more.
static void who_does_not_take_answers_is_not_heard(void **) {
    Tab &a = a_tab();
    online(a, tokens[0]);
    hub.options.request_rate = {};
    Conn *c = conn_get(a.id);
    c->out = (Out *)mem_zero(sizeof(Out)); // as if the kernel were full
    for (int i = 0; i < 2000; i++) say(a, R"({"type":"ping","ref":"0123456789012345678901234567890123456789"})");
    for (int i = 0; i < 5; i++) turn();
    check(conn_private_bytes(c) < private_queue_pause_bytes + 200, "%zu bytes wait", conn_private_bytes(c));
    free(c->out);
    c->out = nullptr;
    socket_writable(c);
    until([&] { return count_of(a, "pong") == 2000; }, "pongs");
}

// While the store has too much to do nobody is read who writes; then each is heard with a share, not the first with all that it has.
static void who_waits_for_the_store_takes_turns(void **) {
    constexpr int each = 100;
    Tab *writers[3] = {&a_tab(), &a_tab(), &a_tab()}, &reader = a_tab();
    for (Tab *t : writers) online(*t, tokens[0]);
    online(reader, tokens[1]);
    hub.options.message_rate = hub.options.request_rate = {};
    world.s->waiting += write_queue_crowded;
    for (int w = 0; w < 3; w++) {
        ScopedBuf frames;
        for (int i = 0; i < each; i++) {
            char text[80];
            snprintf(text, sizeof text, R"({"type":"message","text":"of %c","nonce":"%c%d"})", 'a' + w, 'a' + w, i);
            put_frame(frames, 0x81, text);
        }
        feed(*writers[w], buf_view(frames));
    }
    // One of each, which was at hand before it was known.
    until([&] { return count_of(reader, "\"text\":\"of ") == 3; }, "the first of each");
    for (int i = 0; i < 5; i++) turn();
    assert_int_equal(count_of(reader, "\"text\":\"of "), 3);
    world.s->waiting -= write_queue_crowded;
    until([&] { return count_of(reader, "\"text\":\"of ") == 3 * each; }, "all messages");
    int run = 0, longest = 0;
    char last = 0;
    std::string_view all = buf_view(reader.sent);
    for (size_t at = 0; (at = all.find("\"text\":\"of ", at)) != all.npos; at += 12) {
        run = all[at + 11] == last ? run + 1 : 1;
        last = all[at + 11];
        if (run > longest) longest = run;
    }
    check(longest <= each / 3, "%d messages of one in a row", longest);
    // What is left of a share is used later, when there may be no room for it.
    constexpr int more = 20;
    uint32_t left = write_queue_max - 8;
    for (Tab *t : writers) assert_true(socket_of(t->id)->share_left > 0);
    world.s->waiting += left;
    for (int w = 0; w < 3; w++) {
        ScopedBuf frames;
        for (int i = 0; i < more; i++) {
            char text[80];
            snprintf(text, sizeof text, R"({"type":"message","text":"of %c","nonce":"%c-%d"})", 'a' + w, 'a' + w, i);
            put_frame(frames, 0x81, text);
        }
        feed(*writers[w], buf_view(frames));
    }
    for (int i = 0; i < 5; i++) turn();
    world.s->waiting -= left;
    until([&] { return count_of(reader, "\"text\":\"of ") == 3 * (each + more); }, "those too");
    for (Tab *t : writers) assert_int_equal(count_of(*t, "unavailable"), 0);
}

// --- the order in which a turn serves

// As if they had been here for a while (test_newcomers.cpp has who has just come).
static void nobody_is_new() {
    for (uint32_t i = 0; i < sockets_all_count; i++) sockets_all[i]->newcomer = false;
    newcomers_free();
}

constexpr int crowd = 8;
static User *people[crowd];
static ConnId places[crowd];
static Buf written; // by all connections, in the order in which they were served

static void crowd_comes() {
    Address peer;
    assert_true(address_parse("203.0.113.5", &peer));
    buf_clear(written);
    for (int i = 0; i < crowd; i++) {
        char name[16], token[uuid_chars + 1];
        snprintf(name, sizeof name, "u%d", i);
        log_in(people[i] = sign_up(name), token);
        Tab t = {.id = places[i] = conn_id(conn_for_test(peer, &written)), .sent = {}};
        ScopedBuf head;
        buf_printf(head, "GET /ws?token=%s HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                         "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", token);
        feed(t, buf_view(head));
    }
    auto ready = [] {
        int count = 0;
        for (size_t at = 0; (at = buf_view(written).find("\"ready\"", at)) != std::string_view::npos; at++) count++;
        return count;
    };
    until([&] { return ready() == crowd && !sockets_want_turn(); }, "all to be ready");
    assert_int_equal(sockets_count(), crowd);
    nobody_is_new();
}

// There is news for each of them; one turn. Who was served, in order.
static void serve_all(char order[crowd + 1]) {
    buf_clear(written);
    for (int i = 0; i < crowd; i++) {
        char news[24];
        snprintf(news, sizeof news, "{\"for\":%d}", i);
        ring_push(&hub.ring, 0, {.kind = AudienceKind::users, .users = &people[i]->id, .users_count = 1}, news);
    }
    sockets_turn();
    int served = 0;
    std::string_view all = buf_view(written);
    for (size_t at = 0; (at = all.find("\"for\":", at)) != all.npos; at += 7) {
        assert_true(served < crowd);
        order[served++] = all[at + 6];
    }
    order[served] = 0;
    assert_int_equal(served, crowd);
}

static void each_is_the_first_in_its_turn(void **) {
    crowd_comes();
    char order[crowd + 1];
    int first[crowd] = {};
    for (int turn = 0; turn < crowd; turn++) serve_all(order), first[order[0] - '0']++;
    for (int i = 0; i < crowd; i++) check(first[i] == 1, "%d was the first %d times", i, first[i]);
    buf_free(written);
}

// Who writes has the news before those who only read, so that what it writes next is in the next batch with the others'.
static void writers_are_served_first(void **) {
    crowd_comes();
    char order[crowd + 1];
    for (int i = 0; i < crowd; i++) {
        Tab t = {.id = places[i], .sent = {}};
        say(t, R"({"type":"ping"})");
        serve_all(order);
        check(order[0] == '0' + i, "%d wrote, and they were served %s", i, order);
    }
    // Where most write nobody has precedence: else the others would always be the last.
    char quiet_at[crowd] = {};
    for (int turn = 0; turn < crowd; turn++) {
        for (int i = 1; i < crowd; i++) {
            Tab t = {.id = places[i], .sent = {}};
            say(t, R"({"type":"ping"})");
        }
        serve_all(order);
        quiet_at[strchr(order, '0') - order]++;
    }
    for (int i = 0; i < crowd; i++) check(quiet_at[i] == 1, "%d times at place %d", quiet_at[i], i);
    buf_free(written);
}

// --- while every turn brings news, a turn serves a part of the sockets: here one, and who wrote

static int setup_one_by_one(void **) {
    begin({.turn_sockets_min = 1});
    return 0;
}

static void tell_all(int number, size_t padding = 0) {
    ScopedBuf payload;
    buf_printf(payload, "number %d.%*s", number, (int)padding, "");
    ring_push(&hub.ring, 0, {}, buf_view(payload));
}

static bool has_number(const Tab &t, int number) {
    char text[32];
    snprintf(text, sizeof text, "number %d.", number);
    return has(t, text);
}

// Two turns with news, the second at once after the first: then some lack it.
static void tell_some(int number) {
    tell_all(number - 1);
    sockets_turn();
    tell_all(number);
    sockets_turn();
}

static void all_have(Tab *const *all, uint32_t open, int number) {
    while (sockets_want_turn()) sockets_turn();
    for (uint32_t i = 0; i < open; i++)
        check(count_of(*all[i], "number ") > 0 && has_number(*all[i], number - 1) && has_number(*all[i], number), "tab %u of %u lacks number %d", i, open, number);
}

static void nobody_is_passed_over(void **) {
    Tab *all[8];
    uint32_t open = 0;
    int number = 0;
    // One that comes between two turns makes the list longer …
    while (open < 8) {
        uint32_t had = open;
        if (open > 1) tell_some(number += 2);
        open_tab(*(all[open++] = &a_tab()), tokens[0]);
        if (had > 1) all_have(all, had, number);
        until_has(*all[had], "\"ready\"");
        until([] { return !sockets_want_turn(); }, "quiet");
        nobody_is_new();
    }
    // … and who closes is replaced by the last, which may not have been served yet when the one who closes was.
    while (open > 2) {
        tell_some(number += 2);
        sockets_turn(); // one more has it
        uint32_t gone = open - 1;
        while (gone > 0 && !has_number(*all[gone], number)) gone--;
        conn_abort(conn_get(all[gone]->id));
        all[gone] = all[--open];
        all_have(all, open, number);
    }
}

// Whoever is to be the first next time may be gone by then, with so many others that there is no such place any more.
static void a_place_that_is_gone_is_no_beginning(void **) {
    Tab *all[6];
    for (Tab *&t : all) open_tab(*(t = &a_tab()), tokens[0]);
    for (Tab *t : all) until_has(*t, "\"ready\"");
    until([] { return !sockets_want_turn(); }, "quiet");
    nobody_is_new();
    for (int number = 1; number <= 6 + 3; number++) {
        tell_all(number);
        while (sockets_want_turn()) sockets_turn();
        for (Tab *t : all)
            if (conn_get(t->id)) check(has_number(*t, number), "a tab lacks number %d", number);
        if (number == 4) // the fifth is to be the first
            for (int i = 2; i < 6; i++) conn_abort(conn_get(all[i]->id));
    }
}

static void much_news_waits_for_nobody(void **) {
    Tab *all[6];
    for (Tab *&t : all) online(*(t = &a_tab()), tokens[1]);
    until([] { return !sockets_want_turn(); }, "quiet");
    nobody_is_new();
    tell_all(1);
    sockets_turn();
    tell_all(2, 16 * 1024); // more than one write should carry: all have it with this turn, however soon it comes
    sockets_turn();
    for (Tab *t : all) assert_true(has_number(*t, 2));
    tell_all(3);
    sockets_turn(true); // the last one before the end
    for (Tab *t : all) assert_true(has_number(*t, 3));
}

int main() {
#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        test(welcome_is_first_and_ready_follows),
        test(each_request_is_answered),
        test(a_snapshot_under_way_is_no_position),
        test(each_message_is_counted_once),
        test(twenty_refusals_in_a_row_end_it),
        test(who_is_too_fast_is_heard_later_and_in_order),
        test(frames_that_bring_nothing_are_counted_too),
        test(over_the_message_rate_it_says_when),
        test(a_blocked_user_is_told_and_closed_everywhere),
        test(a_broken_connection_does_not_hold_up_a_block),
        test(the_end_of_a_session_closes_its_sockets_alone),
        test(an_open_socket_is_a_use_of_its_session),
        test(a_session_ends_under_an_open_socket),
        test(there_is_a_limit_for_each_user_and_for_all),
        test(when_the_store_is_opened_anew_nothing_is_left_hanging),
        test(frames_behind_a_full_kernel_come_without_further_news),
        test(who_does_not_take_answers_is_not_heard),
        test(who_waits_for_the_store_takes_turns),
        test(each_is_the_first_in_its_turn),
        test(writers_are_served_first),
        cmocka_unit_test_setup_teardown(nobody_is_passed_over, setup_one_by_one, teardown),
        cmocka_unit_test_setup_teardown(a_place_that_is_gone_is_no_beginning, setup_one_by_one, teardown),
        cmocka_unit_test_setup_teardown(much_news_waits_for_nobody, setup_one_by_one, teardown),
    };
    return cmocka_run_group_tests_name("socket", tests, nullptr, nullptr);
}
