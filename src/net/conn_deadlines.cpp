// Deadlines: one wheel of one-second slots for everything that may take only so long. A connection is in at most one slot, the
// soonest that was asked for; when it comes round the present state says what is due. So a byte that arrives costs nothing here.
// Owns the wheel and its timer; loop thread only.
#include "net/conn_internal.h"

#include <algorithm>

namespace {

constexpr uint32_t wheel_slots = 128; // deadlines that are further away are looked at on the way
constexpr uint64_t tick_ms = 1000;
constexpr uint64_t late_ms_max = 5000; // a tick that is later says that the loop stood still

uv_timer_t timer;
Conn *wheel[wheel_slots];
uint32_t tick;
uint32_t pings_left;

void link_at(Conn *c, uint32_t slot) {
    c->wheel_before = &wheel[slot];
    c->wheel_after = wheel[slot];
    if (c->wheel_after != nullptr) c->wheel_after->wheel_before = &c->wheel_after;
    wheel[slot] = c;
    c->on_wheel = true;
}

uint64_t ping_at(const Conn *c) {
    return c->heard_ms + net.options.ping_idle_ms + (uint64_t)net.options.ping_idle_ms * c->ping_spread / 1024;
}

uint64_t silent_at(const Conn *c) { return std::max(c->heard_ms, net.deaf_ms) + net.options.silent_ms_max; }

// When the answer under way must have left: a minute, and a second for each KiB.
uint64_t answer_until(const Conn *c) { return c->since_ms + http_write_ms_max + (uint64_t)c->answer_bytes * 1000 / 1024; }

// How long the kernel has taken nothing of what is under way. That it has is seen at the next look, which is at most as far away as the deadline is long.
uint64_t standing_ms(Conn *c, uint64_t now) {
    if (c->out == nullptr) return 0;
    uint32_t left = conn_out_left(c);
    if (left != c->progress_left) {
        c->progress_left = left;
        c->progress_ms = now;
    }
    return now - c->progress_ms;
}

void check_socket(Conn *c, uint64_t now) {
    if (now >= silent_at(c) && c->reading) return conn_end(c); // who is not listened to is not silent
    if (standing_ms(c, now) >= net.options.stuck_ms_max) return ws_close(c, 4003, "took nothing");
    if (c->pinged || now < ping_at(c)) return;
    if (pings_left == 0) return deadline_arm(c, now + tick_ms);
    pings_left--;
    c->pinged = true;
    ws_ping(c);
}

} // namespace

void deadline_start() {
    uv_timer_init(net.loop, &timer);
    net.handles++;
    std::fill(std::begin(wheel), std::end(wheel), nullptr);
    tick = 0;
    net.ticked_ms = net_now();
    net.deaf_ms = 0;
    pings_left = pings_per_turn_max;
    uv_timer_start(
        &timer, [](uv_timer_t *) { deadline_tick(); }, tick_ms, tick_ms);
}

void deadline_stop() {
    uv_close((uv_handle_t *)&timer, [](uv_handle_t *) {
        net.handles--;
        net_closed();
    });
}

void deadline_arm(Conn *c, uint64_t at_ms) {
    if (c->state == ConnState::gone || (c->on_wheel && c->due_ms <= at_ms)) return;
    deadline_disarm(c);
    // Rounded up, from the last tick on: never too early, and less than a second late.
    uint64_t ticks = at_ms <= net.ticked_ms + tick_ms ? 1 : (at_ms - net.ticked_ms + tick_ms - 1) / tick_ms;
    c->due_ms = at_ms;
    link_at(c, (tick + (uint32_t)std::min<uint64_t>(ticks, wheel_slots - 1)) % wheel_slots);
}

void deadline_disarm(Conn *c) {
    if (!c->on_wheel) return;
    *c->wheel_before = c->wheel_after;
    if (c->wheel_after != nullptr) c->wheel_after->wheel_before = c->wheel_before;
    c->on_wheel = false;
}

uint64_t deadline_of(const Conn *c) {
    switch (c->state) {
    case ConnState::idle: return c->since_ms + (c->fresh ? net.options.head_ms_max : net.options.idle_ms_max);
    case ConnState::head: return c->since_ms + net.options.head_ms_max;
    case ConnState::body: return c->since_ms + net.options.body_ms_max;
    case ConnState::answer: return std::min(c->progress_ms + http_write_ms_max, answer_until(c));
    case ConnState::closing:
    case ConnState::draining: return c->since_ms + drain_ms_max;
    case ConnState::socket: {
        uint64_t at = silent_at(c);
        if (!c->pinged) at = std::min(at, ping_at(c));
        if (c->out != nullptr) at = std::min(at, c->progress_ms + net.options.stuck_ms_max);
        return at;
    }
    default: return UINT64_MAX;
    }
}

void deadline_check(Conn *c) {
    uint64_t now = net_now();
    if (c->state == ConnState::socket) {
        check_socket(c, now);
    } else if (c->state == ConnState::answer) {
        if (standing_ms(c, now) >= http_write_ms_max || now >= answer_until(c)) return conn_end(c);
    } else if (now >= deadline_of(c)) {
        bool asks = c->state == ConnState::head || c->state == ConnState::body;
        return asks ? http_timed_out(c) : conn_end(c);
    }
    uint64_t due = deadline_of(c);
    if (due != UINT64_MAX) deadline_arm(c, due);
}

void deadline_tick() {
    tick = (tick + 1) % wheel_slots;
    uint64_t now = net_now();
    if (now - net.ticked_ms > late_ms_max) net.deaf_ms = now;
    net.ticked_ms = now;
    pings_left = pings_per_turn_max;
    budget_tick();
    // Taken off one by one: looking at one may end others of the same slot. Nobody is linked into this slot meanwhile, the
    // soonest is the next.
    while (wheel[tick] != nullptr) {
        Conn *c = wheel[tick];
        deadline_disarm(c);
        deadline_check(c);
    }
}
