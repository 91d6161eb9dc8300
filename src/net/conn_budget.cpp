// What connections hold beyond being there: unfinished requests and messages, bytes that wait to be looked at or to be sent. One sum and one limit for all of
// them. It is brought up to date where such memory comes or goes, so that a reader who takes what it is given costs nothing here. Above three
// quarters of the limit the next turn ends those that hold most for longest, until half is free; at the limit nobody is read and nobody may add
// more than a little. Owns the sum. Loop thread only.
#include "net/conn_internal.h"

#include <algorithm>

#include "base/assert.h"
#include "base/metrics.h"

namespace {

constexpr size_t trim_bytes = 4 * 1024 * 1024; // so much having been held and freed, the C library is asked to give it back
constexpr size_t little_bytes = 4 * 1024; // so much anybody may have, even at the limit: an honest answer is seldom longer

size_t held_limit() { return net.options.held_bytes_max; }
size_t held_crowded() { return held_limit() / 4 * 3; }

size_t weight_of(const Conn *c) {
    size_t bytes = c->queue.cap + c->held.cap;
    if (c->out != nullptr) bytes += sizeof *c->out + c->out->owned.cap;
    if (c->http != nullptr) bytes += http_weight(c);
    if (c->ws != nullptr) bytes += ws_weight(c);
    return bytes;
}

// Bytes times seconds. Who is well behaved holds nothing between two requests, so it is never old.
uint64_t burden_of(const Conn *c) {
    uint32_t now_s = (uint32_t)(net_now() / 1000);
    return (uint64_t)c->holds * (1 + now_s - c->holds_since_s);
}

int bits_of(uint64_t n) { return n == 0 ? 0 : 64 - __builtin_clzll(n); }

// A request that is being done gets its answer soon, and only its answer may tell whether it was done.
bool is_in_hand(const Conn *c) { return c->state == ConnState::request && !c->put_off; }

bool may_go(const Conn *c) { return c != nullptr && c->holds != 0 && c->state != ConnState::gone && !is_in_hand(c); }

void let_go(Conn *c) {
    metric_add(Metric::connections_shed);
    if (c->out != nullptr) return conn_end(c); // it does not take what it has: it would not take a word of explanation
    switch (c->state) {
    case ConnState::idle:
    case ConnState::head:
    case ConnState::body:
    case ConnState::request: return http_refuse(c);
    case ConnState::socket: return ws_refuse(c);
    default: return conn_end(c);
    }
}

} // namespace

void budget_note(Conn *c) {
    size_t bytes = weight_of(c);
    if (bytes == c->holds) return;
    bool more = bytes > c->holds;
    if (c->holds == 0) c->holds_since_s = (uint32_t)(net_now() / 1000);
    net.held_bytes += bytes - c->holds;
    metric_set(Metric::connections_bytes, net.held_bytes);
    c->holds = (uint32_t)bytes;
    net.held_most = std::max(net.held_most, net.held_bytes);
    if (more && net.held_bytes > net.room_at) net_work_soon();
}

// A crowd that read slowly leaves holes between what stays, which glibc keeps: 10,000 who came while the network stood left 50 MB.
void budget_tick() {
    if (net.held_most < net.held_bytes + trim_bytes) return;
    net.held_most = net.held_bytes;
    mem_trim();
}

bool budget_allows(const Conn *c, size_t more) {
    size_t sum = net.held_bytes + more;
    return sum <= held_limit() || (c->holds + more <= little_bytes && sum <= held_limit() + held_limit() / 8);
}

bool budget_is_spent() { return net.held_bytes > held_limit(); }

// Two looks at everybody, and both together let go of a quarter of the limit: the attackers have sent that much since the last time.
void budget_make_room() {
    if (net.held_bytes <= net.room_at || net.stopping) return;
    size_t sums[65] = {};
    for (uint32_t i = 0; i < net.slots_used; i++)
        if (may_go(net.slots[i])) sums[bits_of(burden_of(net.slots[i]))] += net.slots[i]->holds;
    size_t excess = net.held_bytes - held_limit() / 2;
    int least = 64;
    for (size_t sum = sums[64]; least > 0 && sum < excess;) sum += sums[--least];
    for (int pass = 0; pass < 2; pass++) // the heaviest first, then of the last class as many as it needs
        for (uint32_t i = 0; i < net.slots_used && net.held_bytes > held_limit() / 2; i++) {
            Conn *c = net.slots[i];
            if (!may_go(c)) continue;
            int class_of = bits_of(burden_of(c));
            if (class_of > least || (pass == 1 && class_of == least)) let_go(c);
        }
    // What is left is handed out and will be answered: looked at again when it has grown.
    net.room_at = net.held_bytes <= held_crowded() ? held_crowded() : std::min(net.held_bytes + held_limit() / 16, held_limit());
}
