// Starting, turning and ending the server of the simulation. It keeps to src/server.cpp, whose loop is the only part that is not run here.
#include "sim_server.h"

#include "sim.h"
#include "sim_net.h"
#include "sim_store.h"

#include "base/clock.h"
#include "chat/auth.h"
#include "net/ws.h"
#include "web/api.h"
#include "web/delay.h"
#include "web/socket.h"

#include <string.h>

Hub hub;
Store *store;
bool server_is_up;
uint32_t server_reopens;
static uv_loop_t loop;
static bool has_given_up; // the store could not be opened again
static const char *words = "hate\n";

void sim_worker_poll();
bool sim_worker_idle();

static void session_ended(Session *session) { sockets_of_session_close(session); }
static void user_blocked(User *user) { sockets_of_user_block(user); }
static size_t ring_header(char out[16], size_t payload_bytes) { return ws_text_header(out, payload_bytes, false); }

static void store_failed() {
    ScopedBuf error;
    trace("server: the store failed; it is opened anew");
    server_reopens++; // the marks of the last seconds go, as after a crash
    sockets_close_all(1001, "the store is opened anew");
    has_given_up = !(store_reopen(store, &error) && hub_reload(&hub));
}

static void invited(Hub *, StoreWrite *) {}

void server_start(const ServerOptions &options) {
    ScopedBuf error;
    static char invite[33];
    StoreOptions so = {.dir = "simulated"};
    store = store_open(so, &loop, store_failed, &error);
    RingFraming framing = {.header = ring_header, .deflate = ws_encode_deflated};
    HubHooks hooks = {.session_ended = session_ended, .user_blocked = user_blocked};
    promise(hub_start(&hub, store, framing, options.hub, hooks, words_parse(words, &error)), "the hub does not start");
    promise(auth_start(&hub, &loop, {.password_memory_kib = 8, .password_ops = between(1, 2), .login_rate = options.login_rate}, 1), "auth does not start");
    net_start(&loop, {.connections_max = 200, .origins = {}, .held_bytes_max = options.held_bytes_max}, {.request = api_request, .text = socket_text, .frame = socket_frame, .writable = socket_writable, .closed = socket_closed});
    ws_set_deflate(DeflateMode::on);
    api_start(&hub);
    sockets_start(&hub, {.sockets_max = 64, .sockets_per_user_max = options.sockets_per_user_max, .turn_sockets_min = 2});
    ListenAddress where = {};
    uint16_t port;
    promise(address_parse("127.0.0.1", &where.address) && net_listen(where, &port) == 0, "the net does not listen");
    auth_make_admin_invite(invite, invited);
    has_given_up = false;
    server_is_up = true;
    trace("server: starts at rev %lld, epoch %.8s", (long long)store_rev(store), store_epoch(store));
}

void server_change_words() {
    ScopedBuf error;
    words = strchr(words, '*') ? "hate\n" : "hate\nt5*\n"; // what is said begins with t1, t2, …
    if (!server_is_up) return;
    words_free(hub.words);
    hub.words = words_parse(words, &error);
    trace("server: other stop words");
}

void server_turn() {
    if (!server_is_up) return;
    net_sim_before();
    uint64_t now = clock_ms();
    delay_turn(now);
    hub_turn(&hub, now);
    store_turn(store);
    sockets_turn();
    net_sim_after();
    sim_worker_poll();
    sim_store_poll(store);
    if (has_given_up) server_crash();
}

const char *server_unrest() {
    if (!server_is_up) return "the server is down";
    if (!sim_store_idle(store)) return "the store";
    if (sockets_want_turn()) return "a socket";
    if (const char *what = net_sim_unrest()) return what;
    if (!sim_worker_idle()) return "a login";
    return delay_due_ms() ? "somebody waits for the rate" : nullptr;
}

// What is left of the process goes. Nothing of it reaches a client or the disk any more.
static void memory_free() {
    server_is_up = false;
    net_stop();
    while (net_sim_handles()) net_sim_after();
    delay_free();
    hub_stop(&hub);
}

void server_crash() {
    trace("server: CRASH at rev %lld, on disk %lld", (long long)hub_rev(&hub), (long long)sim_disk.rev);
    wires_drop();
    sockets_close_all(1001, "");
    sockets_turn();
    sim_store_crash(store);
    store = nullptr;
    // Attempts to log in that were under way belong to nobody; their memory stays with the old process.
    hub.store = nullptr;
    memory_free();
}

void server_stop() {
    trace("server: stops");
    net_stop_listening();
    net_stop_reading();
    hub_flush_marks(&hub);
    for (uint32_t i = 0; i < 1000 && server_is_up && store_has_work(store); i++) server_turn();
    if (!server_is_up) return; // it crashed on the way
    sockets_turn(true);
    sockets_close_all(1001, "the server is stopping");
    for (uint32_t i = 0; i < 5; i++) server_turn();
    if (!server_is_up) return;
    auth_stop();
    store_close(store);
    store = nullptr;
    wires_drop();
    memory_free();
}
