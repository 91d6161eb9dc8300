// Connections: their slots, their states, their end, and the work that is put off to the next turn. Owns the handles. Loop thread only. Bytes come in by
// conn_read.cpp and go out by conn_write.cpp; who may come is conn_accept.cpp's part, what all of them hold conn_budget.cpp's, deadlines conn_deadlines.cpp's.
#include "net/conn_internal.h"

#include <signal.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "base/metrics.h"
#include "net/deflate.h"

Net net;

namespace {

// Who has gone keeps a slot until libuv has let go of the handle, and who comes has one before it is known whether somebody goes for it.
constexpr uint32_t leaving_slots = 64;
constexpr uint32_t slots_first = 256;

uv_idle_t work_handle; // runs while something has been put off; its being active makes the next turn come at once
uv_prepare_t turn_handle; // knows when a turn is over: uv_now does not, for in one turn libuv may ask the kernel many times
uint64_t turn_begin_us;   // when the first arrival of this turn was handled; 0: none has been

void on_todo(Conn *c) {
    if (c->on_todo) return;
    c->on_todo = true;
    c->todo_after = nullptr;
    if (net.todo == nullptr) net.todo = c;
    else net.todo_last->todo_after = c;
    net.todo_last = c;
    if (!net.stopping) net_work_soon();
}

void slot_free(Conn *c) {
    CB_ASSERT(net.handles > 0 && net.slots != nullptr && c->holds == 0);
    uint32_t slot = (uint32_t)c->id - 1;
    net.slots[slot] = nullptr;
    net.free_slots[net.free_count++] = slot;
    net.handles--;
    free(c);
    net_closed();
}

// Room for all connections that are allowed would be touched at the start, for a server that most often has few.
void slots_grow() {
    uint32_t room = net.slots_room == 0 ? slots_first : net.slots_room * 2;
    if (room > net.slots_max) room = net.slots_max;
    net.slots = (Conn **)mem_grow(net.slots, room * sizeof *net.slots);
    net.generations = (uint32_t *)mem_grow(net.generations, room * sizeof *net.generations);
    net.free_slots = (uint32_t *)mem_grow(net.free_slots, room * sizeof *net.free_slots);
    for (uint32_t i = net.slots_room; i < room; i++) {
        net.slots[i] = nullptr;
        net.generations[i] = 0;
    }
    net.slots_room = room;
}

} // namespace

void net_start(uv_loop_s *loop, const NetOptions &options, const NetHandlers &handlers) {
    CB_ASSERT(!net.started);
    signal(SIGPIPE, SIG_IGN); // writing to one who has gone is an error code
    net.started = true;
    net.loop = loop;
    net.options = options;
    net.room_at = options.held_bytes_max / 4 * 3;
    net.handlers = handlers;
    net.slots_max = options.connections_max + options.refused_max + leaving_slots;
    net.read_buffer = (char *)mem_alloc(read_buffer_bytes);
    uv_idle_init(loop, &work_handle);
    uv_prepare_init(loop, &turn_handle);
    uv_prepare_start(&turn_handle, [](uv_prepare_t *) { turn_begin_us = 0; });
    net.handles += 2;
    deadline_start();
}

void net_stop_listening() { accept_stop_listening(); }

void net_stop_reading() {
    net.reading_stopped = true;
    for (uint32_t i = 0; i < net.slots_used; i++)
        if (net.slots[i] != nullptr) conn_update_reading(net.slots[i]);
}

uint32_t net_finish() {
    for (uint32_t i = 0; i < net.slots_used; i++) {
        Conn *c = net.slots[i];
        if (c && (c->state == ConnState::idle || c->state == ConnState::head || c->state == ConnState::body)) conn_end(c);
    }
    return net.open;
}

void net_stop() {
    if (!net.started || net.stopping) return;
    accept_stop_listening();
    net.stopping = true;
    for (uint32_t i = 0; i < net.slots_used; i++)
        if (net.slots[i] != nullptr) conn_end(net.slots[i]);
    conn_work();
    deadline_stop();
    for (uv_handle_t *handle : {(uv_handle_t *)&work_handle, (uv_handle_t *)&turn_handle})
        uv_close(handle, [](uv_handle_t *) {
            net.handles--;
            net_closed();
        });
}

uint32_t net_connections() { return net.open; }

void net_closed() {
    if (!net.stopping || net.handles != 0) return;
    free(net.slots);
    free(net.generations);
    free(net.free_slots);
    free(net.read_buffer);
    buf_free(net.answer_head);
    http_stop();
    ws_stop();
    accept_free();
    deflate_stop();
    net = {};
}

Conn *conn_get(ConnId id) {
    uint32_t slot = (uint32_t)id - 1;
    if (slot >= net.slots_used || net.slots[slot] == nullptr) return nullptr;
    Conn *c = net.slots[slot];
    return c->id == id && c->state != ConnState::gone ? c : nullptr;
}

ConnId conn_id(const Conn *c) { return c->id; }
const Address &conn_peer(const Conn *c) { return c->peer; }
void *conn_owner(const Conn *c) { return c->owner; }
void conn_set_owner(Conn *c, void *owner) { c->owner = owner; }
void conn_set_authenticated(Conn *c) { accept_authenticated(c); }

Conn *conn_new() {
    if (net.free_count == 0 && net.slots_used == net.slots_max) return nullptr;
    if (net.free_count == 0 && net.slots_used == net.slots_room) slots_grow();
    uint32_t slot = net.free_count > 0 ? net.free_slots[--net.free_count] : net.slots_used++;
    Conn *c = (Conn *)mem_zero(sizeof *c);
    c->id = (uint64_t)++net.generations[slot] << 32 | (slot + 1);
    c->fresh = true;
    c->handle.data = c;
    net.slots[slot] = c;
    net.open++;
    net.handles++;
    metric_add(Metric::connections_open);
    metric_add(Metric::connections_total);
    return c;
}

void conn_start(Conn *c) {
    conn_enter(c, ConnState::idle);
    conn_update_reading(c);
}

void conn_enter(Conn *c, ConnState state) {
    bool goes_on = c->state == ConnState::closing && state == ConnState::draining; // both within drain_ms_max
    c->state = state;
    if (!goes_on) c->since_ms = net_now();
    bool waits = state != ConnState::request && !c->authenticated && !c->refused;
    if (waits && !c->on_lists) accept_list_enter(c);
    if (!waits && c->on_lists) accept_list_leave(c);
    uint64_t due = deadline_of(c);
    if (due != UINT64_MAX) deadline_arm(c, due);
}

void conn_tell_closed(Conn *c) {
    if (c->closed_told) return;
    c->closed_told = true;
    net.sockets--;
    metric_sub(Metric::sockets_open);
    net.handlers.closed(c);
    c->owner = nullptr;
}

void conn_tell_malformed(const Conn *c, const char *why) {
    if (net.handlers.malformed != nullptr) net.handlers.malformed(c, why);
}

void conn_end(Conn *c) {
    if (c->state == ConnState::gone) return;
    bool was_socket = c->state == ConnState::socket;
    c->state = ConnState::gone;
    c->reading = false; // uv_close stops it
    if (c->on_lists) accept_list_leave(c);
    accept_forget(c);
    deadline_disarm(c);
    net.open--;
    net.refused -= c->refused;
    metric_sub(Metric::connections_open);
    if (was_socket) conn_tell_closed(c);
    http_free(c);
    ws_free(c);
    buf_free(c->queue);
    memory_wipe(buf_view(c->held)); // it may be a request
    buf_free(c->held);
    budget_note(c); // what is under way is libuv's until it says so
    if (c->sent != nullptr) { // a test's, without a handle
        c->handle_closed = true;
        return on_todo(c);
    }
    uv_close(&c->handle, [](uv_handle_t *handle) {
        Conn *closed = (Conn *)handle->data;
        closed->handle_closed = true;
        if (!closed->on_todo) slot_free(closed);
    });
}

void conn_end_soon(Conn *c) {
    if (c->state == ConnState::gone) return;
    c->broken = true;
    on_todo(c);
}

void conn_resume_soon(Conn *c) {
    if (c->state != ConnState::gone) on_todo(c);
}

void net_work_soon() { uv_idle_start(&work_handle, [](uv_idle_t *) { conn_work(); }); }

// To put something off costs as much as a third of a request: where no socket is open no message waits, and nobody wins by it.
static uint64_t turn_us_max() { return net.sockets != 0 ? arrivals_us_max : 8 * arrivals_us_max; }

bool net_turn_is_long() {
    uint64_t now_us = clock_us();
    if (turn_begin_us == 0) turn_begin_us = now_us;
    return now_us - turn_begin_us > turn_us_max();
}

// Those that are put off while this runs wait for the next turn, and so does what is left when the time is used up: nobody can keep
// the loop here.
void conn_work() {
    budget_make_room();
    Conn *next = net.todo, *last = net.todo_last;
    net.todo = net.todo_last = nullptr;
    if (!net.stopping) {
        uv_idle_stop(&work_handle);
        turn_begin_us = clock_us(); // this is the first of a turn's work
        accept_go_on();
    }
    uint64_t begin_us = clock_us();
    while (next != nullptr) {
        if (!net.stopping && clock_us() - begin_us > turn_us_max()) {
            last->todo_after = net.todo;
            if (net.todo == nullptr) net.todo_last = last;
            net.todo = next;
            return net_work_soon();
        }
        Conn *c = next;
        next = c->todo_after;
        c->on_todo = false;
        if (c->handle_closed) slot_free(c);
        else if (c->state == ConnState::gone) continue;
        else if (c->broken) conn_end(c);
        else conn_resume(c);
    }
}

void conn_abort(Conn *c) { conn_end(c); }

Conn *conn_for_test(const Address &peer, Buf *sent) {
    Conn *c = conn_new();
    CB_ASSERT(c != nullptr);
    c->peer = peer;
    c->sent = sent;
    accept_admit(c);
    return c;
}
