// Real sockets, on 127.0.0.1 and in a folder of our own: listening, Unix sockets and what is left of them, half-closed peers, refusals that arrive, answers that nobody takes.
#include "net_world.h"
#include "dial.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>

#include "base/clock.h"
#include "base/limits.h"

static uint16_t listen_tcp() {
    ListenAddress where;
    uint16_t port = 0;
    assert_true(listen_parse("127.0.0.1:0", &where));
    assert_int_equal(net_listen(where, &port), 0);
    assert_true(port != 0);
    return port;
}

// `receive_bytes`: how much its side of the kernel takes without it; 0: as usual.
static int dial(uint16_t port, int receive_bytes = 0) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (receive_bytes != 0) assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof receive_bytes), 0);
    sockaddr_in sa = {};
    sa.sin_family = AF_INET;
    sa.sin_port = htons(port);
    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(fd, (sockaddr *)&sa, sizeof sa), 0);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

static void say(int fd, std::string_view text) { assert_int_equal(write(fd, text.data(), text.size()), text.size()); }

// Lets the loop run until the server has shut the connection, or for so many turns. True when it has.
static bool hear(int fd, Buf &out, int turns = 2000) {
    char chunk[4096];
    while (turns-- > 0) {
        uv_run(&world.loop, UV_RUN_NOWAIT);
        ssize_t n = read(fd, chunk, sizeof chunk);
        if (n == 0) return true;
        if (n > 0) buf_add(out, {chunk, (size_t)n});
        else if (errno != EAGAIN) return false; // a reset
        else usleep(100);
    }
    return false;
}

#define GET "GET /x HTTP/1.1\r\nHost: localhost\r\n"

static void serves_over_tcp(void **) {
    world_begin();
    uint16_t port = listen_tcp();
    int fd = dial(port);
    say(fd, GET "\r\n" GET "Connection: close\r\n\r\n");
    ScopedBuf got;
    assert_true(hear(fd, got));
    check_text(buf_view(world.log), "GET /x\nGET /x\n", "both");
    close(fd);
    ListenAddress taken;
    taken.port = port;
    assert_true(address_parse("127.0.0.1", &taken.address));
    assert_int_equal(net_listen(taken, &port), UV_EADDRINUSE);
    world_end();
}

// A piece as long as the buffer that bytes are read into: the loop looks for more, and that there is none is no end.
static void a_piece_that_fills_the_buffer_is_not_the_last(void **) {
    world_begin();
    int fd = dial(listen_tcp());
    ScopedBuf piece, got;
    size_t head = strlen("POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 12345\r\n\r\n");
    buf_printf(piece, "POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: %05zu\r\n\r\n", read_buffer_bytes - head);
    while (piece.len < read_buffer_bytes) buf_add_char(piece, 'b');
    say(fd, buf_view(piece));
    assert_false(hear(fd, got, 50));
    say(fd, GET "Connection: close\r\n\r\n");
    assert_true(hear(fd, got));
    assert_true(has(world.log, "POST /x") && has(world.log, "GET /x"));
    close(fd);
    world_end();
}

// What is read is a secret until the request is done, and then nowhere: not in the buffer that the next one is read into.
static void a_password_does_not_stay_in_the_buffer(void **) {
    world_begin();
    int fd = dial(listen_tcp());
    say(fd, "POST /login HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 14\r\n\r\nopen, sesame!!");
    ScopedBuf got;
    assert_true(hear(fd, got));
    assert_true(has(world.log, "POST /login [open, sesame!!]"));
    assert_null(memmem(net.read_buffer, read_buffer_bytes, "sesame", 6));
    close(fd);
    world_end();
}

// No descriptor for who comes: they wait in the kernel and come in once there is one, on either kind of socket.
static void who_finds_no_descriptor_waits(void **) {
    if (under_valgrind()) skip(); // there a connection is accepted before the limit is looked at, and closed
    char folder[] = "/tmp/chatterbox-conn-XXXXXX";
    assert_non_null(mkdtemp(folder));
    char path[64], text[80];
    snprintf(path, sizeof path, "%s/s", folder);
    snprintf(text, sizeof text, "unix:%s", path);
    for (bool is_unix : {false, true}) {
        world_begin();
        ListenAddress where;
        uint16_t port = 0;
        assert_true(listen_parse(text, &where));
        if (is_unix) assert_int_equal(net_listen(where, &port), 0);
        int fd = is_unix ? dial_unix(path) : dial(listen_tcp());
        struct rlimit usual, none;
        assert_int_equal(getrlimit(RLIMIT_NOFILE, &usual), 0);
        none = usual;
        none.rlim_cur = (rlim_t)fd + 1; // all numbers below are taken
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
        for (int i = 0; i < 20; i++) uv_run(&world.loop, UV_RUN_NOWAIT);
        uint32_t came = net_connections();
        none.rlim_cur = 3; // nor for the listener itself, when it tries again
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
        for (uint64_t end = clock_ms() + 150; clock_ms() < end; usleep(1000)) uv_run(&world.loop, UV_RUN_NOWAIT);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &usual), 0);
        assert_int_equal(came, 0);
        say(fd, GET "Connection: close\r\n\r\n");
        ScopedBuf got;
        assert_true(hear(fd, got, 20'000));
        assert_true(buf_view(got).starts_with("HTTP/1.1 200 "));
        close(fd);
        world_end();
    }
    assert_int_equal(rmdir(folder), 0);
}

// A peer that has shut its side still hears its answers, even one that comes late.
static ConnId waiting;
static void half_closed_peers_are_answered(void **) {
    world_begin();
    int fd = dial(listen_tcp());
    say(fd, GET "\r\n" GET "\r\n");
    shutdown(fd, SHUT_WR);
    ScopedBuf got;
    assert_true(hear(fd, got));
    assert_int_equal(buf_view(got).find("HTTP/1.1 200"), 0);
    assert_true(buf_view(got).rfind("HTTP/1.1 200") > 0);
    close(fd);
    world.request = [](HttpRequest *r) { waiting = r->id; };
    fd = dial(listen_tcp());
    say(fd, GET "\r\n");
    shutdown(fd, SHUT_WR);
    got.len = 0;
    assert_false(hear(fd, got, 50));
    http_respond(http_pending(waiting), {});
    assert_true(hear(fd, got));
    assert_true(has(got, "HTTP/1.1 200"));
    close(fd);
    // Who has shut its side before its handshake is answered has left: nothing would ever be heard of it.
    fd = dial(listen_tcp());
    say(fd, GET "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
    shutdown(fd, SHUT_WR);
    got.len = 0;
    assert_false(hear(fd, got, 50));
    ws_accept(http_pending(waiting));
    assert_true(hear(fd, got, 50));
    assert_true(has(got, "HTTP/1.1 101"));
    assert_int_equal(net_connections(), 0);
    close(fd);
    world_end();
}

// What follows a request that has no answer yet stays in the kernel but for one piece: who asks and asks is slowed down, and holds no memory of ours.
static void who_waits_for_an_answer_is_not_read(void **) {
    world_begin();
    world.request = [](HttpRequest *r) { waiting = r->id; };
    int fd = dial(listen_tcp());
    say(fd, GET "\r\n");
    static char more[64 * 1024];
    memset(more, 'x', sizeof more);
    for (int i = 0; i < 100; i++) {
        (void)!write(fd, more, sizeof more); // as much as the kernel takes
        uv_run(&world.loop, UV_RUN_NOWAIT);
        check(net.held_bytes <= 3 * read_buffer_bytes, "%zu bytes", net.held_bytes);
    }
    http_respond(http_pending(waiting), {});
    ScopedBuf got;
    hear(fd, got, 50);
    assert_true(buf_view(got).starts_with("HTTP/1.1 200 "));
    close(fd);
    world_end();
}

// A clock that is turned by hand: a second goes by for a connection, and the wheel goes on by one.
static void a_second_goes_by(ConnId id) {
    Conn *c = conn_get(id);
    c->since_ms -= 1000;
    c->progress_ms -= 1000;
    c->due_ms -= 1000;
    deadline_tick();
    conn_work();
}

constexpr int answer_seconds_max = (int)(http_write_ms_max / 1000) + 900; // a minute, and a second for each KiB

// A client that has asked for 900 KiB, and whose side of the kernel takes little of it.
static int ask_for_much() {
    static char much[900 * 1024];
    world.request = [](HttpRequest *r) {
        waiting = r->id;
        // Else it would take anything only when 40 KiB have gone, which at half a KiB a second is more than a minute.
        int server_side = -1, bytes = 4096;
        uv_fileno(&r->conn->handle, &server_side);
        setsockopt(server_side, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
        HttpAnswer answer;
        answer.body = {much, sizeof much};
        answer.body_is_static = true;
        http_respond(r, answer);
    };
    int fd = dial(listen_tcp(), 4096);
    say(fd, GET "\r\n");
    for (int i = 0; i < 50; i++) uv_run(&world.loop, UV_RUN_NOWAIT);
    Conn *c = conn_get(waiting);
    assert_true(c != nullptr && c->state == ConnState::answer && c->out != nullptr);
    return fd;
}

// Takes up to `bytes` and gives the server its turns; how many there were.
static size_t take(int fd, size_t bytes) {
    static char chunk[64 * 1024];
    size_t taken = 0;
    for (int i = 0; i < 200 && taken < bytes; i++) {
        ssize_t n = read(fd, chunk, std::min(sizeof chunk, bytes - taken));
        if (n > 0) taken += (size_t)n;
        uv_run(&world.loop, UV_RUN_NOWAIT);
    }
    return taken;
}

static void who_takes_nothing_of_an_answer_is_gone_after_a_minute(void **) {
    world_begin();
    int fd = ask_for_much();
    int seconds = 0;
    for (; conn_get(waiting) != nullptr && seconds < answer_seconds_max; seconds++) a_second_goes_by(waiting);
    check(seconds >= 60 && seconds <= 62, "%d seconds", seconds);
    close(fd);
    world_end();
}

static void who_takes_nothing_of_an_answer_makes_room(void **) {
    NetOptions options;
    options.connections_max = 1;
    world_begin(options);
    int slow = ask_for_much();
    world.request = nullptr;
    int fd = dial(listen_tcp());
    say(fd, GET "Connection: close\r\n\r\n");
    ScopedBuf got;
    assert_true(hear(fd, got));
    assert_int_equal(buf_view(got).find("HTTP/1.1 200 "), 0);
    assert_null(conn_get(waiting));
    close(fd);
    close(slow);
    world_end();
}

// 30 seconds of nothing are no minute of it.
static void who_takes_an_answer_slowly_has_a_second_for_each_kib(void **) {
    world_begin();
    int fd = ask_for_much();
    int seconds = 0;
    size_t taken = 0;
    while (conn_get(waiting) != nullptr && seconds < 2 * answer_seconds_max) { // half a KiB a second
        a_second_goes_by(waiting);
        if (++seconds % 30 == 0) taken += take(fd, 15 * 1024);
    }
    check(seconds >= answer_seconds_max && seconds <= answer_seconds_max + 2, "%d seconds", seconds);
    assert_true(taken > 400'000 && taken < 900 * 1024);
    close(fd);

    fd = ask_for_much();
    seconds = 0;
    taken = 0;
    while (taken < 900 * 1024 && seconds < answer_seconds_max) { // and one, which is enough
        if (conn_get(waiting) != nullptr) a_second_goes_by(waiting);
        if (++seconds % 30 == 0) taken += take(fd, 30 * 1024);
    }
    check(taken >= 900 * 1024, "%zu bytes in %d seconds", taken, seconds);
    assert_non_null(conn_get(waiting)); // kept for the next request
    assert_int_equal((int)conn_get(waiting)->state, (int)ConnState::idle);
    close(fd);
    world_end();
}

// Closing while bytes wait unread would be a reset, which takes the answer back.
static void a_refusal_arrives_though_more_is_coming(void **) {
    world_begin();
    int fd = dial(listen_tcp());
    say(fd, "POST /p HTTP/1.1\r\nHost: localhost\r\nContent-Length: 300000\r\n\r\n");
    static char noise[300'000];
    ScopedBuf got;
    size_t sent = 0;
    for (int turn = 0; turn < 5000 && sent < sizeof noise; turn++) {
        uv_run(&world.loop, UV_RUN_NOWAIT);
        ssize_t n = write(fd, noise + sent, sizeof noise - sent);
        if (n > 0) sent += (size_t)n;
        else assert_int_equal(errno, EAGAIN);
    }
    assert_int_equal(sent, sizeof noise);
    assert_true(hear(fd, got));
    assert_true(buf_view(got).starts_with("HTTP/1.1 413 "));
    close(fd);
    world_end();
}

static void unix_sockets(void **) {
    world_begin();
    char folder[] = "/tmp/chatterbox-conn-XXXXXX";
    assert_non_null(mkdtemp(folder));
    char path[64], text[80];
    snprintf(path, sizeof path, "%s/s", folder);
    snprintf(text, sizeof text, "unix:%s", path);
    ListenAddress where;
    uint16_t port = 0;
    assert_true(listen_parse(text, &where));

    // What a killed server leaves behind: a socket file that nobody serves.
    int stale = socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un un = {};
    un.sun_family = AF_UNIX;
    strcpy(un.sun_path, path);
    assert_int_equal(bind(stale, (sockaddr *)&un, sizeof un), 0);
    close(stale);
    assert_int_equal(net_listen(where, &port), 0);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0660);

    int fd = dial_unix(path);
    world.request = [](HttpRequest *r) {
        assert_true(r->client.is_unix);
        http_respond(r, {});
    };
    say(fd, GET "Connection: close\r\n\r\n");
    ScopedBuf got;
    assert_true(hear(fd, got));
    assert_true(has(got, "HTTP/1.1 200"));
    close(fd);

    assert_int_equal(net_listen(where, &port), UV_EADDRINUSE); // this one is served
    assert_int_equal(stat(path, &st), 0);
    net_stop_listening();
    uv_run(&world.loop, UV_RUN_NOWAIT);
    assert_int_equal(stat(path, &st), -1); // gone with its listener

    int file = open(path, O_CREAT | O_WRONLY, 0600); // and no file of somebody else's is taken away
    close(file);
    assert_int_equal(net_listen(where, &port), UV_EADDRINUSE);
    assert_int_equal(stat(path, &st), 0);
    unlink(path);
    rmdir(folder);
    world_end();
}

static void more_than_all_slots(void **) {
    NetOptions options;
    options.connections_max = 8;
    world_begin(options);
    world.request = [](HttpRequest *) {};
    uint16_t port = listen_tcp();
    int fds[100];
    for (int &fd : fds) {
        fd = dial(port);
        say(fd, GET "\r\n");
        for (int i = 0; i < 3; i++) uv_run(&world.loop, UV_RUN_NOWAIT);
    }
    int answered = 0, cut = 0;
    for (int i = 8; i < 100; i++) {
        ScopedBuf got;
        hear(fds[i], got, 20);
        if (buf_view(got).starts_with("HTTP/1.1 503 ")) answered++;
        else cut++;
    }
    assert_int_equal(answered, 64); // as many as linger at a time
    assert_int_equal(cut, 28);
    for (int fd : fds) close(fd);
    for (int i = 0; i < 50; i++) uv_run(&world.loop, UV_RUN_NOWAIT);
    world.request = nullptr;
    world_end();
}

int main() {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(serves_over_tcp), cmocka_unit_test(a_piece_that_fills_the_buffer_is_not_the_last),
        cmocka_unit_test(a_password_does_not_stay_in_the_buffer), cmocka_unit_test(who_finds_no_descriptor_waits),
        cmocka_unit_test(who_waits_for_an_answer_is_not_read),
        cmocka_unit_test(who_takes_nothing_of_an_answer_is_gone_after_a_minute),
        cmocka_unit_test(who_takes_nothing_of_an_answer_makes_room),
        cmocka_unit_test(who_takes_an_answer_slowly_has_a_second_for_each_kib),
        cmocka_unit_test(half_closed_peers_are_answered), cmocka_unit_test(a_refusal_arrives_though_more_is_coming),
        cmocka_unit_test(unix_sockets),    cmocka_unit_test(more_than_all_slots),
    };
    return cmocka_run_group_tests_name("conn", tests, nullptr, nullptr);
}
