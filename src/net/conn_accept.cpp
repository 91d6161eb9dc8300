// Who may come in: the limit of connections in all and for each address (PROTOCOL §4), and who goes when there is no more room:
// the oldest without a session and without a request in hand, though one may be arriving or its answer leaving: by being slow nobody keeps
// others out. Owns the counts of addresses and the net's listeners, of which conn_listen.cpp knows more. Loop thread only.
#include "net/conn_internal.h"

#include <stdlib.h>

#include "base/crypto.h"
#include "base/idmap.h"
#include "base/metrics.h"
#include "net/conn_listen.h"

namespace {

constexpr uint32_t listeners_max = 16;

Listener *listeners[listeners_max];
uint32_t listeners_count;
IdMap addresses; // keyed_hash of the limit group → AddressCount

uint64_t address_key(const Address &group) { return keyed_hash({(const char *)group.bytes, sizeof group.bytes}); }

// Loopback and trusted proxies stand for many people.
bool counted(const Address &peer) {
    if (address_is_loopback(peer)) return false;
    for (uint32_t i = 0; i < net.options.trusted_count; i++)
        if (cidr_contains(net.options.trusted[i], peer)) return false;
    return true;
}

void list_push(Conn *c, int list, Conn **oldest, Conn **newest) {
    c->links[list] = {*newest, nullptr};
    if (*newest != nullptr) (*newest)->links[list].after = c;
    else *oldest = c;
    *newest = c;
}

void list_remove(Conn *c, int list, Conn **oldest, Conn **newest) {
    Link &l = c->links[list];
    if (l.before != nullptr) l.before->links[list].after = l.after;
    else *oldest = l.after;
    if (l.after != nullptr) l.after->links[list].before = l.before;
    else *newest = l.before;
    l = {};
}

void count_in(Conn *c) {
    if (!counted(c->peer)) return;
    Address group = address_limit_group(c->peer);
    uint64_t key = address_key(group);
    AddressCount *count = (AddressCount *)idmap_get(addresses, key);
    if (count == nullptr) {
        count = (AddressCount *)mem_zero(sizeof *count);
        count->group = group;
        idmap_put(addresses, key, count);
    }
    count->connections++;
    count->without_session++;
    c->count = count;
}

// Makes room for a newcomer where a limit says so. False when there is none.
bool room_for(Conn *c) {
    AddressCount *count = c->count;
    if (count != nullptr && (count->connections > net.options.connections_per_address_max || count->without_session > net.options.guests_per_address_max)) {
        if (count->oldest == nullptr) return false;
        conn_end(count->oldest);
    }
    if (net.open - net.refused > net.options.connections_max) {
        if (net.oldest == nullptr) return false;
        conn_end(net.oldest);
    }
    return true;
}

void take(Conn *c) {
    sockaddr_storage sa = {};
    int len = sizeof sa;
    if (c->handle.type == UV_TCP) {
        if (uv_tcp_getpeername(&c->tcp, (sockaddr *)&sa, &len) != 0) return conn_end(c); // gone already
        c->peer = address_from_sockaddr((sockaddr *)&sa);
        uv_tcp_nodelay(&c->tcp, 1);
        int bytes = http_send_buffer_bytes;
        uv_send_buffer_size(&c->handle, &bytes);
    } else {
        c->peer.is_unix = true;
    }
    accept_admit(c);
}

// Not even a slot is free, since many have just gone: taken off the backlog and closed. For that any stream will do.
void turn_away(uv_stream_t *listener) {
    uv_pipe_t *guest = (uv_pipe_t *)mem_zero(sizeof *guest);
    uv_pipe_init(net.loop, guest, 0);
    uv_accept(listener, (uv_stream_t *)guest);
    metric_add(Metric::connections_refused);
    net.handles++;
    uv_close((uv_handle_t *)guest, [](uv_handle_t *handle) {
        free(handle);
        net.handles--;
        net_closed();
    });
}

void somebody_comes(Listener *listener) {
    listener->has_guest = net_turn_is_long();
    if (listener->has_guest) return net_work_soon();
    Conn *c = conn_new();
    if (c == nullptr) return turn_away(&listener->stream);
    if (listener->is_unix) uv_pipe_init(net.loop, &c->pipe, 0);
    else uv_tcp_init(net.loop, &c->tcp);
    c->handle.data = c;
    if (uv_accept(&listener->stream, &c->stream) != 0) return conn_end(c);
    take(c);
}

} // namespace

int net_listen(const ListenAddress &where, uint16_t *port) {
    *port = where.port;
    if (listeners_count == listeners_max) return UV_EMFILE;
    int r = listener_open(&listeners[listeners_count], net.loop, where, 0660, somebody_comes, port);
    if (r == 0) listeners_count++;
    return r;
}

void accept_stop_listening() {
    while (listeners_count > 0) listener_close(listeners[--listeners_count]);
}

void accept_go_on() {
    for (uint32_t i = 0; i < listeners_count; i++)
        if (listeners[i]->has_guest) somebody_comes(listeners[i]);
}

void accept_spare_one() {
    if (net.oldest != nullptr) conn_end(net.oldest);
}

void accept_admit(Conn *c) {
    count_in(c);
    if (room_for(c)) return conn_start(c);
    metric_add(Metric::connections_refused);
    if (net.refused == net.options.refused_max) return conn_end(c);
    accept_forget(c);
    c->refused = true;
    net.refused++;
    conn_start(c);
    http_refuse(c);
}

void accept_list_enter(Conn *c) {
    c->on_lists = true;
    list_push(c, list_all, &net.oldest, &net.newest);
    if (c->count != nullptr) list_push(c, list_address, &c->count->oldest, &c->count->newest);
}

void accept_list_leave(Conn *c) {
    c->on_lists = false;
    list_remove(c, list_all, &net.oldest, &net.newest);
    if (c->count != nullptr) list_remove(c, list_address, &c->count->oldest, &c->count->newest);
}

void accept_authenticated(Conn *c) {
    if (c->authenticated || c->state == ConnState::gone) return;
    c->authenticated = true;
    if (c->on_lists) accept_list_leave(c);
    if (c->count != nullptr) c->count->without_session--;
}

void accept_forget(Conn *c) {
    AddressCount *count = c->count;
    if (count == nullptr) return;
    c->count = nullptr;
    count->connections--;
    if (!c->authenticated) count->without_session--;
    if (count->connections > 0) return;
    idmap_remove(addresses, address_key(count->group));
    free(count);
}

void accept_free() { idmap_free(addresses); }
