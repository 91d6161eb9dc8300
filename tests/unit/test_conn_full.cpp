// A kernel that takes only a part. Whatever the part, frames that were not taken need something to wait with, or nobody
// would ever come back for them: a flush that took fewer than it was given leaves the connection busy, and `writable` follows.
// On a Unix socket, whose buffer fills in large steps, so that a step can end exactly between two frames.
#include "net_world.h"
#include "dial.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>

#include "base/clock.h"
#include "base/limits.h"
#include "net/ws.h"

static char folder[] = "/tmp/chatterbox-full-XXXXXX";
static char path[64];
static Conn *accepted;

static void turn() { uv_run(&world.loop, UV_RUN_NOWAIT); }

static int dial_socket() {
    char text[80];
    snprintf(path, sizeof path, "%s/s", folder);
    snprintf(text, sizeof text, "unix:%s", path);
    ListenAddress where;
    uint16_t port = 0;
    assert_true(listen_parse(text, &where));
    assert_int_equal(net_listen(where, &port), 0);
    int fd = dial_unix(path);
    accepted = nullptr;
    world.request = [](HttpRequest *r) {
        accepted = r->conn;
        ws_accept(r);
    };
    const char *head = "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                       "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    assert_int_equal(write(fd, head, strlen(head)), strlen(head));
    for (int i = 0; i < 10; i++) turn();
    assert_non_null(accepted);
    char answer[1024];
    assert_true(read(fd, answer, sizeof answer) > 0);
    return fd;
}

// What the kernel takes at a time is some steps of its own; a frame of the step's length divides it.
static size_t first_step(int fd) {
    static char noise[4 * 1024 * 1024];
    int sender = -1;
    uv_fileno(&accepted->handle, &sender);
    ssize_t taken = send(sender, noise, sizeof noise, MSG_DONTWAIT);
    assert_true(taken > 0);
    ssize_t n;
    while ((n = read(fd, noise, sizeof noise)) > 0) {}
    return (size_t)taken;
}

// Frames of `bytes`: sends until the kernel is full, three times over, and counts what arrives.
static void send_frames(int fd, size_t bytes, size_t queued) {
    static char chunk[256 * 1024];
    static char frame[64 * 1024];
    constexpr size_t all = 1500;
    Piece pieces[256];
    for (Piece &p : pieces) p = {frame, (uint32_t)bytes};
    size_t sent = 0, arrived = 0;
    if (queued != 0) assert_true(conn_queue(accepted, {frame, (uint32_t)queued}));
    world.log.len = 0;
    for (int i = 0; i < 20'000 && arrived < all * bytes + queued; i++) {
        if (!conn_busy(accepted) && sent < all) {
            size_t count = std::min<size_t>(256, all - sent), taken = conn_flush(accepted, pieces, count);
            sent += taken;
            assert_true(taken == count || conn_busy(accepted));
            continue;
        }
        ssize_t n = read(fd, chunk, sizeof chunk);
        if (n > 0) arrived += (size_t)n;
        turn();
    }
    assert_int_equal(arrived, all * bytes + queued);
    assert_int_equal(sent, all);
}

// The same frames as they lie in a ring: in one piece, or in two.
static void send_spans(int fd, size_t bytes, int pieces_count) {
    static char chunk[256 * 1024];
    static char frames[256 * 4096];
    for (size_t i = 0; i < sizeof frames; i++) frames[i] = (char)(i % bytes % 251);
    constexpr size_t all = 1500, at_once = 200;
    size_t sent = 0, arrived = 0;
    for (int i = 0; i < 20'000 && arrived < all * bytes; i++) {
        if (!conn_busy(accepted) && sent < all) {
            size_t count = std::min(at_once, all - sent), half = pieces_count == 2 ? count / 2 * bytes : 0, taken = 0;
            Piece pieces[2] = {{frames, (uint32_t)half}, {frames + half, (uint32_t)(count * bytes - half)}};
            if (!conn_flush_span(accepted, pieces + 2 - pieces_count, (size_t)pieces_count, count, &taken)) {
                count = taken / bytes + 1; // with the one that was cut, or the next one
                conn_flush_rest(accepted, {frames + taken, (uint32_t)(count * bytes - taken)}, count);
                assert_true(conn_busy(accepted));
            }
            sent += count;
            continue;
        }
        ssize_t n = read(fd, chunk, sizeof chunk);
        for (ssize_t k = 0; k < n; k++) check(chunk[k] == (char)((arrived + (size_t)k) % bytes % 251), "byte %d", (int)(arrived + (size_t)k));
        if (n > 0) arrived += (size_t)n;
        turn();
    }
    assert_int_equal(arrived, all * bytes);
    assert_int_equal(sent, all);
}

static void what_was_not_taken_is_waited_for(void **) {
    world_begin();
    assert_non_null(mkdtemp(folder));
    int fd = dial_socket();
    size_t step = first_step(fd);
    for (size_t parts : {64, 128, 100})
        if (step / parts > 16 && step / parts < 64 * 1024) send_frames(fd, step / parts, 0);
    for (size_t bytes : {500, 512, 1000, 1024, 1663, 3326, 4096}) send_frames(fd, bytes, 0);
    for (size_t bytes : {500, 512, 1024, 1663, 4096})
        for (int pieces : {1, 2}) send_spans(fd, bytes, pieces);
    // The private queue ends where the kernel's room does.
    send_frames(fd, 1024, 1024);
    send_frames(fd, 1663, 1663);
    close(fd);
    for (int i = 0; i < 10; i++) turn();
    world.request = nullptr;
    world_end();
    rmdir(folder);
}

// Who comes when the turn has been long already is accepted in the next ones, and so are those behind: nobody is forgotten.
static void a_crowd_is_accepted_over_several_turns(void **) {
    constexpr int crowd = 6;
    world_begin();
    strcpy(folder + sizeof folder - 7, "XXXXXX");
    assert_non_null(mkdtemp(folder));
    int first = dial_socket(), fds[crowd];
    world.request = [](HttpRequest *r) {
        uint64_t until = clock_us() + 2 * arrivals_us_max;
        while (clock_us() < until) {}
        http_respond(r, {});
    };
    int asks = dial_unix(path);
    for (int i = 0; i < 10; i++) turn();
    assert_int_equal(net_connections(), 2);
    const char *head = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    assert_int_equal(write(asks, head, strlen(head)), strlen(head)); // is heard first, and takes all the time there is
    for (int &fd : fds) fd = dial_unix(path);
    usleep(2'000); // the loop's clock, which counts milliseconds, has gone on
    turn();
    assert_int_equal(net_connections(), 2);
    for (int i = 0; i < 1000 && net_connections() < 2 + crowd; i++) {
        usleep(1'000);
        turn();
    }
    assert_int_equal(net_connections(), 2 + crowd);
    for (int fd : fds) close(fd);
    close(first);
    close(asks);
    for (int i = 0; i < 10; i++) turn();
    world.request = nullptr;
    world_end();
    rmdir(folder);
}

int main() {
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_was_not_taken_is_waited_for), cmocka_unit_test(a_crowd_is_accepted_over_several_turns)};
    return cmocka_run_group_tests_name("conn_full", tests, nullptr, nullptr);
}
