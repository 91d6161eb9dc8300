// What one turn of the loop takes on: those who come, ask and go may keep it for arrivals_us_max, the rest waits for the next turn, and messages wait for nobody.
// Real sockets, and a clock of our own, which only the handlers here move.
#include "net_world.h"
#include "dial.h"

#include <errno.h>
#include <time.h>

#include "base/clock.h"
#include "base/limits.h"
#include "net/ws.h"

static uint64_t now_us = 1'000'000;

uint64_t clock_us() { return now_us; }
uint64_t clock_ms() { return now_us / 1000; }
int64_t clock_wall_ms() { return time(nullptr) * 1000; }
bool clock_is_set() { return true; }

constexpr int crowd = 10;
constexpr uint64_t cost_us = arrivals_us_max / 2;
constexpr int fit = 3; // begun at 0, at a half and at the whole of what there is
static char folder[40], path[64];
static int heard;

static void turn() { uv_run(&world.loop, UV_RUN_NOWAIT); }

static void listen_here() {
    world_begin();
    strcpy(folder, "/tmp/chatterbox-turns-XXXXXX");
    assert_non_null(mkdtemp(folder));
    char text[80];
    snprintf(path, sizeof path, "%s/s", folder);
    snprintf(text, sizeof text, "unix:%s", path);
    ListenAddress where;
    uint16_t port = 0;
    assert_true(listen_parse(text, &where));
    assert_int_equal(net_listen(where, &port), 0);
    heard = 0;
    world.request = [](HttpRequest *r) {
        if (r->upgrade_websocket) return ws_accept(r);
        heard++;
        now_us += cost_us;
        http_respond(r, {});
    };
}

static void end_here() {
    for (int i = 0; i < 20; i++) turn();
    world.request = nullptr;
    world_end();
    rmdir(folder);
}

static void write_all(int fd, std::string_view text) { assert_int_equal(write(fd, text.data(), text.size()), text.size()); }

// A client that has been accepted; with `is_socket` one whose WebSocket is open.
static int guest(bool is_socket) {
    uint32_t before = net_connections();
    int fd = dial_unix(path);
    for (int i = 0; i < 10 && net_connections() == before; i++) turn();
    assert_int_equal(net_connections(), before + 1);
    if (!is_socket) return fd;
    write_all(fd, "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
    char answer[1024];
    for (int i = 0; i < 10; i++) turn();
    assert_true(read(fd, answer, sizeof answer) > 0);
    return fd;
}

// Turns until `done` of a crowd are, never more than fit into one.
static void takes_several_turns(const int *done) {
    int turns = 0;
    for (int before = 0; *done < crowd; turns++, before = *done) {
        check(turns < 50, "%d are forgotten", crowd - *done);
        turn();
        check(*done - before <= 2 * fit, "%d in one turn", *done - before); // a turn's poll, and what waited
    }
    check(turns >= crowd / (2 * fit), "%d turns", turns);
}

static void requests_are_heard_over_several_turns(void **) {
    listen_here();
    int fds[crowd], socket = guest(true);
    for (int &fd : fds) fd = guest(false);
    for (int fd : fds) write_all(fd, "GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    write_all(socket, {"\x81\x82\0\0\0\0hi", 8});
    turn();
    assert_int_equal(heard, fit);
    assert_true(has(world.log, "text 2 hi")); // a message waits for none of them
    takes_several_turns(&heard);
    for (int fd : fds) {
        char answer[1024] = {};
        assert_true(read(fd, answer, sizeof answer - 1) > 0);
        check(strncmp(answer, "HTTP/1.1 200 ", 13) == 0, "%s", answer);
        close(fd);
    }
    close(socket);
    end_here();
}

// One peer may ask as much at once as a crowd.
static void requests_in_one_piece_are_heard_over_several_turns(void **) {
    listen_here();
    int fd = guest(false), socket = guest(true);
    ScopedBuf piece;
    for (int i = 0; i < crowd; i++) buf_add(piece, "GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    write_all(fd, buf_view(piece));
    write_all(socket, {"\x81\x82\0\0\0\0hi", 8});
    turn();
    assert_int_equal(heard, fit);
    assert_true(has(world.log, "text 2 hi"));
    takes_several_turns(&heard);
    char answers[crowd * 1024] = {};
    assert_true(read(fd, answers, sizeof answers - 1) > 0);
    int answered = 0;
    for (const char *at = answers; (at = strstr(at, "HTTP/1.1 200 ")) != nullptr; at++) answered++;
    assert_int_equal(answered, crowd);
    close(fd);
    close(socket);
    end_here();
}

// Nobody waits for a turn that is long.
static void requests_have_more_of_a_turn_where_nobody_chats(void **) {
    listen_here();
    int fds[crowd];
    for (int &fd : fds) fd = guest(false);
    for (int fd : fds) write_all(fd, "GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    turn();
    assert_int_equal(heard, crowd);
    for (int fd : fds) close(fd);
    end_here();
}

static void newcomers_are_accepted_over_several_turns(void **) {
    listen_here();
    int asks = guest(false), fds[crowd];
    world.request = [](HttpRequest *r) {
        now_us += arrivals_us_max + 1; // all there is
        http_respond(r, {});
    };
    write_all(asks, "GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    for (int &fd : fds) fd = dial_unix(path);
    for (int i = 0; i < 50 && net_connections() < 1 + crowd; i++) turn();
    assert_int_equal(net_connections(), 1 + crowd); // nobody is forgotten
    for (int fd : fds) close(fd);
    close(asks);
    end_here();
}

static int gone;

// A network that goes takes thousands with it; each that goes costs something.
static void those_who_go_are_let_go_over_several_turns(void **) {
    for (bool is_polite : {true, false}) {
        listen_here();
        gone = 0;
        net.handlers.closed = [](Conn *) {
            gone++;
            now_us += cost_us;
        };
        int fds[crowd];
        for (int &fd : fds) fd = guest(true);
        for (int fd : fds) {
            if (is_polite) write_all(fd, {"\x88\x82\0\0\0\0\x03\xe8", 8});
            else close(fd);
        }
        turn();
        check(gone <= fit, "%d went in the first turn", gone);
        takes_several_turns(&gone);
        if (is_polite)
            for (int fd : fds) close(fd);
        end_here();
    }
}

static int frames;

// A piece as long as the buffer holds ten thousand pongs. One such piece may use the turn up, and then the others wait.
static void control_frames_are_heard_over_several_turns(void **) {
    listen_here();
    frames = 0;
    net.handlers.frame = [](Conn *) {
        frames++;
        now_us++;
    };
    ScopedBuf piece;
    while (piece.len < read_buffer_bytes) buf_add(piece, {"\x8a\x80\0\0\0\0", 6});
    constexpr int in_a_piece = (int)(read_buffer_bytes / 6);
    static_assert(in_a_piece > (int)arrivals_us_max);
    int fds[crowd];
    for (int &fd : fds) fd = guest(true);
    for (int fd : fds) write_all(fd, {piece.data, read_buffer_bytes});
    for (int before = 0; before < crowd * in_a_piece; before = frames) {
        turn();
        check(frames > before, "%d are forgotten", crowd * in_a_piece - before);
        check(frames - before <= 2 * in_a_piece, "%d in one turn", frames - before); // one that waited, and one that came
    }
    for (int fd : fds) close(fd);
    end_here();
}

// A message of sixty thousand bytes may cost as much as thirty others, in one piece or in many. One that is short waits for none of them.
static void long_messages_are_heard_over_several_turns(void **) {
    for (size_t first : {(size_t)20'006, (size_t)19'000}) {
        listen_here();
        world.text = [](Conn *, std::string_view text) {
            if (text.size() < 1000) return;
            heard++;
            now_us += cost_us;
        };
        ScopedBuf frame;
        buf_add(frame, {"\x81\xfe\x4e\x1e\0\0\0\0", 8}); // 19,998 bytes
        while (frame.len < 20'006) buf_add_char(frame, 'x');
        int fds[crowd], talks = guest(true);
        for (int &fd : fds) fd = guest(true);
        for (int fd : fds) write_all(fd, {frame.data, first});
        if (first < frame.len) {
            for (int i = 0; i < 5; i++) turn();
            assert_int_equal(heard, 0);
            for (int fd : fds) write_all(fd, {frame.data + first, frame.len - first});
        }
        write_all(talks, {"\x81\x82\0\0\0\0hi", 8});
        turn();
        assert_int_equal(heard, fit);
        assert_true(has(world.log, "text 2 hi"));
        takes_several_turns(&heard);
        for (int fd : fds) close(fd);
        close(talks);
        end_here();
    }
}

// Nor does it hold up the others when we have said goodbye and wait for the answer.
static void a_flood_behind_our_goodbye_waits_too(void **) {
    listen_here();
    ScopedBuf piece;
    while (piece.len < read_buffer_bytes) buf_add(piece, {"\x8a\x80\0\0\0\0", 6});
    int asks = guest(false), talks = guest(true), flood = guest(true);
    Conn *c = nullptr;
    for (uint32_t i = 0; i < net.slots_used; i++)
        if (net.slots[i] != nullptr && net.slots[i]->state == ConnState::socket) c = net.slots[i];
    ws_close(c, 1001, "");
    for (int i = 0; i < 5; i++) turn();
    write_all(asks, "GET /x HTTP/1.1\r\nHost: localhost\r\n\r\nGET /x HTTP/1.1\r\nHost: localhost\r\n\r\nGET /x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    write_all(flood, {piece.data, read_buffer_bytes});
    turn();
    assert_int_equal(c->held.len, read_buffer_bytes);
    assert_int_equal(c->drained_bytes, read_buffer_bytes); // and counts as what is still coming
    write_all(flood, {"\x88\x80\0\0\0\0", 6});
    close(asks);
    close(flood);
    close(talks);
    end_here();
}

int main() {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_heard_over_several_turns),
        cmocka_unit_test(requests_in_one_piece_are_heard_over_several_turns),
        cmocka_unit_test(requests_have_more_of_a_turn_where_nobody_chats),
        cmocka_unit_test(newcomers_are_accepted_over_several_turns),
        cmocka_unit_test(those_who_go_are_let_go_over_several_turns),
        cmocka_unit_test(control_frames_are_heard_over_several_turns),
        cmocka_unit_test(long_messages_are_heard_over_several_turns),
        cmocka_unit_test(a_flood_behind_our_goodbye_waits_too),
    };
    return cmocka_run_group_tests_name("turns", tests, nullptr, nullptr);
}
