// The chat for unit tests: see chat_world.h.
#include "chat_world.h"

#include "chat/presence.h"

ChatWorld chat;
Decided decided;

// --- made-up sockets

// A client that connects again is another one, as a connection's slot has another generation.
uint64_t chat_id(const Client *c) { return (uint64_t)c->generation << 8 | (uint64_t)(c - chat.clients); }

static Client *client_of(uint64_t id) {
    Client *c = &chat.clients[id & 0xff];
    return c->open && chat_id(c) == id ? c : nullptr;
}

static void arrive(Client *c, std::string_view frame) {
    buf_add(c->got, frame);
    buf_add_char(c->got, '\n');
    if (c->hears) c->hears(c, frame);
}

static void flush_queue(Client *c) {
    while (c->queue.len && c->taken < c->takes) {
        ScopedBuf frame;
        size_t end = buf_view(c->queue).find('\n');
        buf_add(frame, buf_view(c->queue).substr(0, end));
        buf_drop_front(c->queue, end + 1);
        c->taken++;
        arrive(c, buf_view(frame));
    }
}

static Reader *port_find(uint64_t id) {
    Client *c = client_of(id);
    return c ? &c->reader : nullptr;
}

static bool port_queue(uint64_t id, std::string_view payload) {
    Client *c = client_of(id);
    if (!c) return false;
    buf_add(c->queue, payload);
    buf_add_char(c->queue, '\n');
    return true;
}

static size_t port_page(uint64_t id, const std::string_view *payloads, size_t count) {
    Client *c = client_of(id);
    if (!c) return 0;
    flush_queue(c);
    size_t taken = 0;
    for (; taken < count && c->taken < c->takes; taken++, c->taken++) arrive(c, payloads[taken]);
    return taken;
}

static void port_wake(uint64_t) {}

static void port_fail(uint64_t id) {
    if (Client *c = client_of(id)) {
        c->failed = true;
        chat_disconnect(c);
    }
}

// As a socket does that writes what lies in the ring as it lies there: the last frame it takes may be cut anywhere. False: it has to be gathered.
static bool serve_span(Client *c) {
    std::string_view pieces[2];
    int pieces_count;
    size_t count = c->queue.len ? 0 : reader_span(&c->reader, false, pieces, &pieces_count);
    if (!count) return false;
    const Ring *ring = &chat.hub.ring;
    ScopedBuf bytes;
    for (int i = 0; i < pieces_count; i++) buf_add(bytes, pieces[i]);
    size_t takes = c->takes - c->taken < count ? c->takes - c->taken : count;
    if (!takes) return false;
    uint64_t seq = c->reader.cursor;
    size_t at = 0, len = 0, before_last = 0;
    for (size_t i = 0; i < takes; i++, c->taken++, at += len) {
        before_last = at;
        len = ring->entries[(seq + i) & (ring_entries - 1)].len;
        arrive(c, buf_view(bytes).substr(at + 2, len - 2));
    }
    if (takes == count) {
        reader_took_all(&c->reader, chat_id(c));
    } else {
        static unsigned cut;
        size_t begun = before_last + cut++ % len;
        std::string_view rest;
        assert_int_equal(reader_took_bytes(&c->reader, chat_id(c), begun, &rest), takes);
        check_text(rest, buf_view(bytes).substr(begun, at - begun), "the rest of the frame that was cut");
    }
    flush_queue(c);
    return true;
}

static void serve_live(Client *c) {
    static unsigned times;
    if (times++ % 2 && serve_span(c)) return;
    LiveFrame frames[7]; // few, so that the bound is met
    for (;;) {
        size_t gathered = reader_gather(&c->reader, chat_id(c), false, frames, 7);
        if (c->reader.state != ReaderState::live) return;
        flush_queue(c);
        size_t taken = 0;
        for (; taken < gathered && c->taken < c->takes; taken++, c->taken++) arrive(c, frames[taken].bytes.substr(2));
        // `ready` behind the last of them, if it is time and there is room; else it is queued when they have all left.
        std::string_view ready = reader_ready(&c->reader, gathered, 7);
        if (!ready.empty() && taken == gathered && c->taken < c->takes && times % 4) {
            c->taken++;
            arrive(c, ready);
            reader_told_ready(&c->reader);
        }
        reader_took(&c->reader, chat_id(c), frames, gathered, 7, taken);
        if (gathered < 7 || taken < gathered) return flush_queue(c);
    }
}

static void serve(Client *c) {
    if (c->reader.state == ReaderState::live) return serve_live(c);
    if (c->queue.len == 0 || !reader_step_into_ring(&c->reader, chat_id(c))) {
        flush_queue(c);
        if (c->queue.len == 0) reader_step(&c->reader, chat_id(c));
    }
    if (c->open && c->reader.state == ReaderState::live) serve_live(c);
}

// --- the world

static size_t header(char out[16], size_t) {
    memcpy(out, "F:", 2);
    return 2;
}

static bool deflate(Buf &, std::string_view) { return false; }

static void session_ended(Session *session) { buf_printf(chat.hooks, "session of %s ended\n", session->user->name); }
static void user_blocked(User *user) { buf_printf(chat.hooks, "%s blocked\n", user->name); }

void chat_make(const HubOptions &options) {
    chat = {};
    decided = {};
    world_make(chat.store);
    chat.now_ms = 1'000'000;
    ScopedBuf error;
    Words *words = words_parse("hate\n", &error);
    assert_true(hub_start(&chat.hub, chat.store.s, {.header = header, .deflate = deflate}, options,
                          {.session_ended = session_ended, .user_blocked = user_blocked}, words));
    sync_start(&chat.hub, {.find = port_find, .queue = port_queue, .page = port_page, .wake = port_wake, .fail = port_fail});
}

void chat_remove() {
    for (Client &c : chat.clients) {
        if (c.open) chat_disconnect(&c);
        buf_free(c.queue);
        buf_free(c.got);
    }
    buf_free(chat.hooks);
    world_close(chat.store);
    hub_stop(&chat.hub);
    world_remove(chat.store);
}

void chat_turn() {
    uv_run(&chat.store.loop, UV_RUN_NOWAIT);
    hub_turn(&chat.hub, chat.now_ms);
    store_turn(chat.store.s);
    for (Client &c : chat.clients) {
        c.taken = 0;
        if (c.open) serve(&c);
    }
}

static bool waits(const Client *c) {
    if (!c->open || c->takes == 0) return false;
    return c->reader.state != ReaderState::live || c->reader.cursor != chat.hub.ring.head || c->reader.owes_ready || c->queue.len;
}

void chat_settle() {
    for (uint32_t turns = 0;; turns++) {
        check(turns < 100'000, "the chat does not settle");
        chat_turn();
        bool waiting = store_has_work(chat.store.s), reading = uv_loop_alive(&chat.store.loop);
        for (const Client &c : chat.clients) waiting |= waits(&c);
        if (!waiting && !reading) return;
        if (reading) uv_run(&chat.store.loop, UV_RUN_ONCE);
    }
}

void chat_wait(uint64_t ms) {
    chat.now_ms += ms;
    chat_settle();
}

// --- what people do

void chat_finish(Hub *, StoreWrite *w) {
    decided.err = w->err;
    decided.kind = w->kind;
    decided.is_repeat = w->is_repeat;
    bool is_message = w->err == Err::ok && w->changes && w->changes[0].kind == ChangeKind::message;
    decided.message = is_message ? w->changes[0].message.id : 0;
    decided.rev = is_message ? w->changes[0].rev : 0;
    decided.text_room = is_message ? w->changes[0].message.room : w->room;
    decided.warnings = w->user_row.warnings;
    decided.blocked = w->user_row.blocked;
    decided.count++;
    snprintf(decided.ref, sizeof decided.ref, "%.*s", (int)hub_ref(w).size(), hub_ref(w).data());
}

Err chat_did(StoreWrite *w) {
    hub_submit(&chat.hub, w, {}, chat_finish);
    chat_settle();
    return decided.err;
}

User *chat_find(const char *name) { return model_user_by_name(&chat.hub.model, name); }

User *chat_user(const char *name, Role role) {
    StoreWrite *w = hub_write_new(WriteKind::user_add, nullptr);
    w->name = w->key = in_arena(w, name);
    w->text = "hash";
    w->role = role;
    assert_int_equal(chat_did(w), Err::ok);
    return chat_find(name);
}

Err chat_post(User *by, int64_t room, std::string_view text, std::string_view nonce, const HubOrigin &origin) {
    Err err = hub_post(&chat.hub, by, room, text, nonce, 0, origin, chat_finish);
    if (err != Err::ok) return err;
    chat_settle();
    return decided.err;
}

int64_t chat_room(User *owner, const char *name, bool is_private) {
    StoreWrite *w = hub_write_new(WriteKind::room_add, owner);
    w->name = w->key = in_arena(w, name);
    w->flag = is_private;
    assert_int_equal(chat_did(w), Err::ok);
    return decided.text_room;
}

static StoreWrite *membership(WriteKind kind, User *user, int64_t room, User *by) {
    StoreWrite *w = hub_write_new(kind, by ? by : user);
    w->room = room;
    w->user = user->id;
    return w;
}

Err chat_join(User *user, int64_t room, User *by) { return chat_did(membership(WriteKind::member_add, user, room, by)); }
Err chat_leave(User *user, int64_t room, User *by) { return chat_did(membership(WriteKind::member_remove, user, room, by)); }

Err chat_rename(User *user, const char *display_name) {
    StoreWrite *w = hub_write_new(WriteKind::user_profile, user);
    w->user = user->id;
    w->display_name = in_arena(w, display_name);
    w->has_display_name = true;
    return chat_did(w);
}

// --- clients

Client *chat_connect(User *user, const ReaderStart &how, uint32_t takes) {
    Client *c = chat.clients;
    while (c->open || c->got.len) {
        c++;
        check(c < chat.clients + clients_max, "too many clients");
    }
    c->takes = takes;
    chat_reconnect(c, user, how);
    return c;
}

void chat_reconnect(Client *c, User *user, const ReaderStart &how) {
    c->open = true;
    c->failed = false;
    c->generation++;
    presence_come(&chat.hub, user, chat.now_ms);
    reader_start(&c->reader, chat_id(c), user, how);
}

void chat_disconnect(Client *c) {
    c->open = false;
    buf_clear(c->queue);
    presence_leave(&chat.hub, c->reader.user, chat.now_ms);
    reader_end(&c->reader);
}

static std::string_view next_line(std::string_view *rest) {
    size_t end = rest->find('\n');
    std::string_view line = rest->substr(0, end);
    rest->remove_prefix(end == std::string_view::npos ? rest->size() : end + 1);
    return line;
}

uint32_t lines_with(const Buf &lines, std::string_view part) {
    uint32_t count = 0;
    for (std::string_view rest = buf_view(lines); !rest.empty();) count += next_line(&rest).find(part) != std::string_view::npos;
    return count;
}

std::string_view line_with(const Buf &lines, std::string_view part) {
    std::string_view found;
    for (std::string_view rest = buf_view(lines); !rest.empty();) {
        std::string_view line = next_line(&rest);
        if (line.find(part) != std::string_view::npos) found = line;
    }
    return found;
}
