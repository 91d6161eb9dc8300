// Sockets. In this order: the list of them; opening and closing; what a client sends; what it is answered. Who is written to, and when, is socket_turn.cpp.
#include "web/socket_internal.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "chat/presence.h"
#include "chat/protocol.h"
#include "chat/seen.h"
#include "web/api.h"
#include "web/audit.h"
#include "web/delay.h"

#include <stdlib.h>
#include <string.h>

Hub *sockets_hub;
Socket **sockets_all;
uint32_t sockets_all_count;
SocketList sockets_crowded;
bool sockets_take_turns;
static SocketOptions options;
static uint32_t all_capacity;

Socket *socket_of(ConnId id) {
    Conn *c = conn_get(id);
    return c ? static_cast<Socket *>(conn_owner(c)) : nullptr;
}

void socket_list_add(SocketList &list, ConnId id) {
    if (list.count == list.capacity) {
        list.capacity = list.capacity ? list.capacity * 2 : 64;
        list.ids = static_cast<ConnId *>(mem_grow(list.ids, list.capacity * sizeof *list.ids));
    }
    list.ids[list.count++] = id;
}

static bool send(Socket *s, std::string_view payload) {
    if (!ws_send_text(s->conn, payload)) return false;
    socket_mark_dirty(s);
    return true;
}

// --- the reader's port

static Reader *port_find(uint64_t id) {
    Socket *s = socket_of(id);
    return s ? &s->reader : nullptr;
}

static bool port_queue(uint64_t id, std::string_view payload) {
    Socket *s = socket_of(id);
    return s && send(s, payload);
}

void socket_encode(const Socket *s, Buf &wire, std::string_view payload) {
    if (!ws_deflates(s->conn) || payload.size() < deflate_bytes_min || !ws_encode_deflated(wire, payload)) ws_encode_text(wire, payload);
}

// Frames of a page are encoded one behind the other and go out with one write. What the kernel does not take is dropped; the reader's cursor knows where to begin again.
static size_t port_page(uint64_t id, const std::string_view *payloads, size_t count) {
    static Buf wire;
    Socket *s = socket_of(id);
    if (!s || conn_busy(s->conn)) return 0;
    buf_clear(wire);
    auto *ends = static_cast<size_t *>(mem_alloc(count * sizeof(size_t)));
    for (size_t i = 0; i < count; i++) {
        socket_encode(s, wire, payloads[i]);
        ends[i] = wire.len;
    }
    auto *pieces = static_cast<Piece *>(mem_alloc(count * sizeof(Piece)));
    for (size_t i = 0, at = 0; i < count; at = ends[i++]) pieces[i] = {wire.data + at, static_cast<uint32_t>(ends[i] - at)};
    size_t taken = conn_flush(s->conn, pieces, count);
    free(pieces);
    free(ends);
    return taken;
}

static void port_wake(uint64_t id) {
    if (Socket *s = socket_of(id)) socket_mark_dirty(s);
}

static void port_fail(uint64_t id) {
    if (Socket *s = socket_of(id)) ws_close(s->conn, 1013, "the store cannot be read now");
}

void sockets_start(Hub *h, const SocketOptions &o) {
    sockets_hub = h;
    options = o;
    sockets_turn_start(options.turn_sockets_min);
    sync_start(h, {.find = port_find, .queue = port_queue, .page = port_page, .wake = port_wake, .fail = port_fail});
}

uint32_t sockets_count() { return sockets_all_count; }

// Back-pressure: who does not take the answers is not read, and answers that the store still owes count as queued. While the store has too much to do, who writes
// waits for room.
void socket_update_pause(Socket *s) {
    bool full = conn_private_bytes(s->conn) > private_queue_pause_bytes || s->asked_bytes > asked_bytes_max;
    bool must_wait = s->share_left ? store_is_nearly_full(sockets_hub->store) : sockets_take_turns || store_is_crowded(sockets_hub->store);
    if (!s->crowded && s->asked_bytes && must_wait) {
        s->crowded = sockets_take_turns = true;
        socket_list_add(sockets_crowded, s->id);
    }
    bool unwelcomed = s->reader.state == ReaderState::starting; // `welcome` is the first frame, always
    conn_pause(s->conn, unwelcomed || s->history_asked || s->slowed || s->crowded || full);
}

// --- opening and closing

void socket_open(HttpRequest *r, Session *session, bool has_since, int64_t since, std::string_view epoch, uint32_t max) {
    User *user = session->user;
    if (sockets_all_count >= options.sockets_max || user->sockets >= options.sockets_per_user_max) {
        bool mine = user->sockets >= options.sockets_per_user_max;
        return http_respond_error(r, Err::overloaded, mine ? "Too many windows of this account are open. Close one." : nullptr, 10);
    }
    Conn *c = r->conn;
    bool resume = has_since && epoch == store_epoch(sockets_hub->store);
    ws_accept(r, true);
    auto *s = static_cast<Socket *>(mem_zero(sizeof(Socket)));
    s->conn = c;
    s->id = conn_id(c);
    s->session = session;
    s->next_of_user = static_cast<Socket *>(user->first_socket);
    user->first_socket = s;
    if (sockets_all_count == all_capacity) {
        all_capacity = all_capacity ? all_capacity * 2 : 64;
        sockets_all = static_cast<Socket **>(mem_grow(sockets_all, all_capacity * sizeof *sockets_all));
    }
    s->index = sockets_all_count;
    sockets_all[sockets_all_count++] = s;
    sockets_list_changed();
    conn_set_owner(c, s);
    conn_set_authenticated(c);
    socket_mark_dirty(s); // the 101 waits, for `welcome` is most often there with it
    presence_come(sockets_hub, user, clock_ms());
    reader_start(&s->reader, s->id, user, {.resume = resume, .since = since, .max = max});
    if (s->conn) socket_update_pause(s);
}

void socket_closed(Conn *c) {
    auto *s = static_cast<Socket *>(conn_owner(c));
    if (!s) return;
    conn_set_owner(c, nullptr);
    s->conn = nullptr;
    User *user = s->reader.user;
    auto **at = reinterpret_cast<Socket **>(&user->first_socket);
    while (*at != s) at = &(*at)->next_of_user;
    *at = s->next_of_user;
    sockets_all[s->index] = sockets_all[--sockets_all_count];
    sockets_all[s->index]->index = s->index;
    sockets_list_changed();
    reader_end(&s->reader);
    presence_leave(sockets_hub, user, clock_ms());
    session_touch(s->session); // it was in use until now
    socket_bury(s);
}

void sockets_of_session_close(Session *session) {
    for (auto *s = static_cast<Socket *>(session->user->first_socket); s;) {
        Socket *next = s->next_of_user; // ws_close unlinks s
        if (s->session == session) ws_close(s->conn, 4001, "the session has ended");
        s = next;
    }
}

void sockets_of_user_block(User *user) {
    ScopedBuf frame;
    frame_blocked(frame, err_info(Err::blocked).message);
    while (auto *s = static_cast<Socket *>(user->first_socket)) {
        Conn *c = s->conn;
        (void)ws_send_text(c, buf_view(frame)); // one that is broken or full is not told, but goes all the same
        ws_close(c, 4002, "blocked");
    }
}

void sockets_close_all(uint16_t code, const char *reason) {
    while (sockets_all_count) ws_close(sockets_all[sockets_all_count - 1]->conn, code, reason);
}

// --- what a client is answered

// Notes it at the frame's place, for what the store decides later comes behind what was refused at once. True: so many in a row are too many.
static bool note_refused(Socket *s, uint16_t frame) {
    static_assert(refused_in_a_row_max <= 32);
    auto ago = static_cast<uint16_t>(s->frames - frame);
    if (ago >= 32) return false;
    s->refused |= uint32_t{1} << ago;
    uint32_t runs = s->refused; // where n in a row begin
    for (uint32_t n = 1; n < refused_in_a_row_max; n++) runs &= s->refused >> n;
    return runs != 0;
}

static void answer_error(Socket *s, uint16_t at_frame, Err err, std::string_view nonce, std::string_view ref, uint32_t retry_after_s = 0) {
    metric_add(Metric::frames_refused);
    if (err == Err::rate_limited) metric_add(Metric::rate_limited);
    ScopedBuf frame;
    frame_error(frame, err, {}, nonce, ref, retry_after_s);
    if (!send(s, buf_view(frame))) return;
    // What the server cannot do is no fault of the client's: it is to try again.
    bool is_ours = err == Err::storage_full || err == Err::unavailable || err == Err::internal;
    if (is_ours || !note_refused(s, at_frame)) return socket_update_pause(s);
    audit(Audit::frames_refused, conn_peer(s->conn), s->reader.user->name, "%u in a row, the last %s", refused_in_a_row_max, err_info(err).code);
    ws_close(s->conn, 1008, "too many refused frames in a row");
}

// not_found, but it is there.
static bool is_hidden_room(const Socket *s, Err err, int64_t room) {
    const Model *m = &sockets_hub->model;
    return err == Err::not_found && model_room(m, room) && !model_member(m, room, s->reader.user->id);
}

static void note_refusal(const Socket *s, Err err, bool is_hidden, const char *what, int64_t id) {
    if (!is_hidden && !audit_is_forbidden(err)) return;
    const char *code = is_hidden ? "hidden" : err_info(err).code;
    audit(Audit::forbidden, conn_peer(s->conn), s->reader.user->name, "%s, %s %lld", code, what, static_cast<long long>(id));
}

// A message, an edit or a deletion has been decided. What was committed has gone to everybody through the ring; here is what its author alone is told.
static void decided(Hub *h, StoreWrite *w) {
    Socket *s = socket_of(w->owner_id);
    if (hub_is_warning(w) && w->user_row.blocked)
        audit(Audit::stop_words, s ? conn_peer(s->conn) : Address{}, model_user(&h->model, w->user)->name, "%u warnings", w->user_row.warnings);
    if (!s) return;
    s->asked_bytes -= static_cast<uint32_t>(w->owner_extra);
    socket_mark_dirty(s);
    if (w->err != Err::ok) {
        bool is_post = w->kind == WriteKind::message_post || w->kind == WriteKind::message_refuse;
        bool is_hidden = w->is_hidden || (is_post && is_hidden_room(s, w->err, w->room));
        note_refusal(s, w->err, is_hidden, is_post ? "posting in room" : w->kind == WriteKind::message_edit ? "editing message" : "deleting message", is_post ? w->room : w->message);
        return answer_error(s, static_cast<uint16_t>(w->owner_extra >> 32), w->err, w->nonce, hub_ref(w));
    }
    ScopedBuf frame;
    if (hub_is_warning(w)) frame_warning(frame, w->user_row.warnings, w->limit, w->nonce, hub_ref(w));
    else if (w->is_repeat) frame_message(frame, &h->model, w->changes[0].message, true, hub_ref(w));
    else return;
    if (send(s, buf_view(frame))) socket_update_pause(s);
}

static void history_answered(uint64_t id) {
    Socket *s = socket_of(id);
    if (!s) return;
    s->history_asked = false;
    socket_mark_dirty(s); // read on when the page has left
}

// --- what a client sends

// What the answer to a write may hold: what was said is never longer there than in the request; around it are the sender's name, ids and times, and for
// an edit or a deletion the nonce of the message, which the request did not name.
constexpr size_t answer_bytes_around = 160;

static uint32_t answer_bytes(const Socket *s, RequestKind kind, std::string_view request) {
    size_t nonce = kind == RequestKind::message ? 0 : nonce_bytes_max;
    return static_cast<uint32_t>(answer_bytes_around + strlen(s->reader.user->name) + nonce + request.size());
}

static bool is_write(RequestKind kind) { return kind == RequestKind::message || kind == RequestKind::edit || kind == RequestKind::del; }

static Err handle(Socket *s, const Request &q, uint32_t owed, uint64_t now_ms, uint32_t *retry_after_s) {
    User *user = s->reader.user;
    HubOrigin origin = {.id = s->id, .extra = uint64_t{s->frames} << 32 | owed, .ref = q.ref};
    if (is_write(q.kind)) {
        if (uint32_t wait = bucket_take(user->messages, sockets_hub->options.message_rate, now_ms)) {
            *retry_after_s = (wait + 999) / 1000;
            audit(Audit::over_the_rate, conn_peer(s->conn), user->name, "messages");
            return Err::rate_limited;
        }
    }
    switch (q.kind) {
    case RequestKind::message: return hub_post(sockets_hub, user, q.room, q.text, q.nonce, q.reply, origin, decided);
    case RequestKind::edit: return hub_edit(sockets_hub, user, q.id, q.text, origin, decided);
    case RequestKind::del: return hub_delete(sockets_hub, user, q.id, origin, decided);
    case RequestKind::seen: {
        Err err = seen_mark(sockets_hub, user, q.room, q.id, now_ms);
        if (err != Err::ok || !q.ref.data()) return err;
        ScopedBuf frame; // to who asks by a ref; the others are told once a second
        frame_seen(frame, q.room, user, model_member(&sockets_hub->model, q.room, user->id)->seen, q.ref);
        send(s, buf_view(frame));
        return Err::ok;
    }
    case RequestKind::typing: return presence_typing(sockets_hub, user, q.room, now_ms);
    case RequestKind::history: {
        Err err = sync_history(sockets_hub, s->id, user, {.room = q.room, .before = q.before, .limit = q.limit, .ref = q.ref}, history_answered);
        s->history_asked = err == Err::ok;
        return err;
    }
    case RequestKind::ping: {
        ScopedBuf frame;
        frame_pong(frame, q.ref, reader_position(&s->reader));
        send(s, buf_view(frame));
        return Err::ok;
    }
    }
    return Err::unknown_type;
}

static void hear_again(ConnId id) {
    Socket *s = socket_of(id);
    if (!s) return;
    uint64_t now = clock_ms();
    if (uint32_t wait = bucket_take(s->reader.user->requests, sockets_hub->options.request_rate, now)) return delay_until(id, now + wait, hear_again);
    s->slowed = false;
    socket_update_pause(s);
}

// The frame over the rate is served; the token that it lacks is taken before the next one is read.
static void count_frame(Socket *s, uint64_t now) {
    uint32_t wait = bucket_take(s->reader.user->requests, sockets_hub->options.request_rate, now);
    if (!wait) return;
    s->slowed = true;
    audit(Audit::over_the_rate, conn_peer(s->conn), s->reader.user->name, "frames");
    delay_until(s->id, now + wait, hear_again);
}

void socket_frame(Conn *c) {
    auto *s = static_cast<Socket *>(conn_owner(c));
    session_touch(s->session); // who only listens answers pings
    count_frame(s, clock_ms());
    if (s->slowed) socket_update_pause(s);
}

void socket_text(Conn *c, std::string_view message) {
    auto *s = static_cast<Socket *>(conn_owner(c));
    metric_add(Metric::frames_in);
    s->frames++;
    s->refused <<= 1;
    uint64_t now = clock_ms();
    session_touch(s->session);
    count_frame(s, now);
    Request q;
    uint32_t retry_after_s = 0;
    ConnId id = s->id;
    Err err = protocol_parse(message, &q);
    // Counted before: with a full queue the decision comes at once.
    uint32_t owed = err == Err::ok && is_write(q.kind) ? answer_bytes(s, q.kind, message) : 0;
    s->asked_bytes += owed;
    if (owed && s->share_left) s->share_left--;
    if (err == Err::ok) err = handle(s, q, owed, now, &retry_after_s);
    if (!socket_of(id)) return; // the answer did not fit: it has been closed
    if (err != Err::ok) {
        s->asked_bytes -= owed;
        bool is_change = q.kind == RequestKind::edit || q.kind == RequestKind::del;
        note_refusal(s, err, !is_change && is_hidden_room(s, err, q.room), is_change ? "changing message" : "a request about room", is_change ? q.id : q.room);
        return answer_error(s, s->frames, err, q.nonce, q.ref, retry_after_s);
    }
    socket_update_pause(s);
}

void socket_writable(Conn *c) {
    if (auto *s = static_cast<Socket *>(conn_owner(c))) socket_mark_dirty(s);
}
