// libFuzzer: what several people do at once, with every frame and API call there is, on a chat of five people and four rooms (chat_fuzz.h). Promises, looked at after
// each act and each completion: `welcome` first, revs strictly rising on each connection, no frame of a room to who may not see it, no ref to who did not ask, queues
// and ring within their bounds. At the end: every client that is connected holds every message as the store has it, the model is what the store would load, the store
// is sound.
#include "chat_fuzz.h"

namespace {

constexpr int clients_max = 6, acts_max = 64, tracked = 24;
constexpr uint32_t held_max = 256;

struct Held {
    int64_t id, rev, room;
    uint64_t hash;
};

// What a client knows, from what it was sent.
struct Client {
    ConnId id;
    int user;                // whose
    bool open, is_http, upgraded, welcomed, ready, closed;
    Buf sent, outbox;        // by the server; to the server, while that does not read
    size_t heard;            // of `sent`
    int64_t last_rev, base;  // of the last log frame or `ready`; everything after `base` must come
    bool has[tracked];       // rooms
    int64_t told_left[tracked]; // the rev of the last `left` of each
    Held held[held_max];
    uint32_t held_count;
    bool forgets;            // more came than `held` has places for
};
Client clients[clients_max];

// Of the last membership that was seen: its rev, and the log when it was seen to be gone.
bool was_member[users_count][tracked];
int64_t joined_rev[users_count][tracked], left_rev[users_count][tracked];

// --- who may see what

const Member *member_of(int user, int64_t room) { return model_member(&world.hub.model, room, world.users[user]); }

void watch_members() {
    for (int u = 0; u < users_count; u++) {
        for (int64_t r = 1; r < tracked; r++) {
            const Member *member = member_of(u, r);
            if (member) joined_rev[u][r] = member->rev;
            else if (was_member[u][r]) left_rev[u][r] = hub_rev(&world.hub);
            was_member[u][r] = member != nullptr;
        }
    }
}

// A frame of the log is judged as it leaves. Memberships change only with a completion, and after each one it is looked at what came: so what is looked at was sent
// under the memberships that there are now.
bool is_member(const Client &c, int64_t room) { return member_of(c.user, room) != nullptr; }

// Other frames are judged when they are queued: while one was in the room, and then they may arrive until one is told to have left.
bool may_see(const Client &c, int64_t room, int64_t rev) {
    if (is_member(c, room) || room >= tracked) return true;
    return joined_rev[c.user][room] > c.told_left[room] && rev <= left_rev[c.user][room];
}

// --- reading what came

int64_t int_of(JsonRef o, const char *key) {
    int64_t n = 0;
    CB_ASSERT(json_int(json_get(o, key), &n));
    return n;
}

std::string_view text_of(JsonRef o, const char *key) {
    std::string_view text;
    json_string(json_get(o, key), &text);
    return text;
}

bool bool_of(JsonRef o, const char *key) {
    bool b = false;
    json_bool(json_get(o, key), &b);
    return b;
}

void log_frame(Client &c, int64_t rev) {
    CB_ASSERT(c.welcomed && rev > c.last_rev && rev <= hub_rev(&world.hub));
    c.last_rev = rev;
}

void drop_room(Client &c, int64_t room) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < c.held_count; i++)
        if (c.held[i].room != room) c.held[kept++] = c.held[i];
    c.held_count = kept;
}

void take_message(Client &c, JsonRef m) {
    Held fresh = {int_of(m, "id"), int_of(m, "rev"), int_of(m, "room"), keyed_hash(text_of(m, "text"))};
    CB_ASSERT(fresh.id > 0 && fresh.id <= fresh.rev && (json_get(m, "deleted") ? text_of(m, "text").empty() : !text_of(m, "text").empty()));
    for (uint32_t i = 0; i < c.held_count; i++) {
        if (c.held[i].id != fresh.id) continue;
        if (fresh.rev > c.held[i].rev) c.held[i] = fresh;
        else CB_ASSERT(fresh.rev < c.held[i].rev || fresh.hash == c.held[i].hash);
        return;
    }
    if (c.held_count < held_max) c.held[c.held_count++] = fresh;
    else c.forgets = true;
}

void hear_welcome(Client &c, JsonRef o) {
    CB_ASSERT(!c.welcomed);
    c.welcomed = true;
    int64_t rev = int_of(o, "rev");
    if (!bool_of(o, "resumed")) c.base = rev;
    c.last_rev = c.base;
    uint32_t count = 0;
    JsonRef rooms = json_get(o, "rooms");
    CB_ASSERT(json_array(rooms, &count));
    for (uint32_t i = 0; i < count; i++) {
        int64_t room = int_of(json_at(rooms, i), "id");
        if (room < tracked) c.has[room] = true;
        CB_ASSERT(may_see(c, room, rev) && bool_of(json_at(rooms, i), "joined"));
    }
}

void hear_history(Client &c, JsonRef o) {
    int64_t room = int_of(o, "room"), before = 0;
    uint32_t count = 0;
    JsonRef messages = json_get(o, "messages");
    CB_ASSERT(json_array(messages, &count));
    for (uint32_t i = 0; i < count; i++) {
        JsonRef m = json_at(messages, i);
        CB_ASSERT(int_of(m, "room") == room && int_of(m, "id") > before && may_see(c, room, int_of(m, "rev")));
        before = int_of(m, "id");
        if (room >= tracked || c.has[room]) take_message(c, m);
    }
}

void hear_message(Client &c, JsonRef o) {
    int64_t room = int_of(o, "room"), rev = int_of(o, "rev");
    bool mine = text_of(o, "sender") == user_names[c.user];
    if (bool_of(o, "repeat")) {
        // Sent again (its sender may have left since), or an edit or a deletion that changed nothing; only a deletion may be of another's.
        CB_ASSERT(mine || (json_get(o, "deleted") && may_see(c, room, rev)));
        return;
    }
    log_frame(c, rev);
    CB_ASSERT(is_member(c, room));
    if (room >= tracked || c.has[room]) take_message(c, o);
}

void hear_room(Client &c, JsonRef o) {
    JsonRef room = json_get(o, "room");
    int64_t id = int_of(room, "id");
    log_frame(c, int_of(o, "rev"));
    bool left = bool_of(o, "left"), joined = bool_of(room, "joined");
    if (!left && (joined || bool_of(room, "private"))) CB_ASSERT(is_member(c, id));
    if (id >= tracked) return;
    if (left) c.told_left[id] = int_of(o, "rev");
    if (left || (joined && !c.has[id])) drop_room(c, id);
    if (left || joined) c.has[id] = !left;
}

void hear_ready(Client &c, JsonRef o) {
    int64_t rev = int_of(o, "rev");
    CB_ASSERT(c.welcomed && rev >= c.last_rev && rev <= hub_rev(&world.hub));
    c.last_rev = rev;
    c.ready = true;
}

void hear_passing(Client &c, JsonRef o) { CB_ASSERT(may_see(c, int_of(o, "room"), 0)); }

void hear_other(Client &, JsonRef) {}

void hear_frame(Client &c, std::string_view frame) {
    static const struct {
        const char *type;
        void (*hear)(Client &, JsonRef);
    } table[] = {{"welcome", hear_welcome}, {"history", hear_history}, {"message", hear_message}, {"room", hear_room},    {"user", hear_other},
                 {"seen", hear_passing},    {"typing", hear_passing},  {"presence", hear_other},  {"ready", hear_ready},  {"warning", hear_other},
                 {"blocked", hear_other},   {"error", hear_other},     {"pong", hear_other}};
    CB_ASSERT(frame.size() <= frame_out_bytes_max);
    JsonRef o = json_parse(frame);
    CB_ASSERT(o);
    std::string_view type = text_of(o, "type"), ref = text_of(o, "ref");
    if (type == "user") log_frame(c, int_of(o, "rev"));
    // Refs of clients look like c0 … c5: nobody gets another's.
    if (ref.size() == 2 && ref[0] == 'c') CB_ASSERT(ref[1] == '0' + (int)(&c - clients));
    CB_ASSERT(c.welcomed || type == "welcome" || type == "blocked");
    for (const auto &row : table)
        if (type == row.type) return row.hear(c, o);
    CB_ASSERT(!"a frame of a type that there is not");
}

// Answers of the API: whole, and JSON where they say so.
void hear_answers(Client &c) {
    for (std::string_view rest = buf_view(c.sent).substr(c.heard); !rest.empty(); rest = buf_view(c.sent).substr(c.heard)) {
        size_t head = rest.find("\r\n\r\n"), length = rest.find("\r\nContent-Length: ");
        CB_ASSERT(rest.starts_with("HTTP/1.1 ") && head != rest.npos);
        size_t body = length < head ? strtoul(rest.data() + length + 18, nullptr, 10) : 0;
        if (body > rest.size() - head - 4 || rest.substr(head + 4).starts_with("HTTP/1.1 ")) body = 0; // to HEAD: at the end, or the next answer follows
        std::string_view text = rest.substr(head + 4, body);
        c.heard += head + 4 + body;
        if (body == 0 || rest.substr(0, head).find("Content-Type: application/json") == rest.npos) continue;
        JsonRef o = json_parse(text), messages = json_get(o, "messages"), rooms = json_get(o, "rooms");
        CB_ASSERT(o);
        uint32_t count = 0;
        json_array(messages, &count);
        for (uint32_t i = 0; i < count; i++) {
            int64_t room = int_of(json_at(messages, i), "room");
            CB_ASSERT(is_member(c, room) || room >= tracked || left_rev[c.user][room] > 0);
        }
        count = 0;
        json_array(rooms, &count);
        for (uint32_t i = 0; i < count; i++) CB_ASSERT(!bool_of(json_at(rooms, i), "private") || bool_of(json_at(rooms, i), "joined"));
    }
}

void hear_socket(Client &c) {
    if (!c.upgraded) {
        size_t head = buf_view(c.sent).find("\r\n\r\n");
        if (head == std::string_view::npos) return;
        c.upgraded = buf_view(c.sent).starts_with("HTTP/1.1 101 ");
        if (!c.upgraded) c.is_http = true;
        else c.heard = head + 4;
        return c.upgraded ? hear_socket(c) : hear_answers(c);
    }
    while (c.heard < c.sent.len) {
        const auto *at = (const unsigned char *)c.sent.data + c.heard;
        size_t left = c.sent.len - c.heard, head = 2, len = at[1];
        if (len == 126) head = 4, len = (size_t)at[2] << 8 | at[3];
        else if (len == 127) head = 10, len = (size_t)at[6] << 24 | (size_t)at[7] << 16 | (size_t)at[8] << 8 | at[9];
        CB_ASSERT(!c.closed && (at[0] == 0x81 || at[0] == 0x88 || at[0] == 0x8a) && head + len <= left);
        c.heard += head + len;
        c.closed = at[0] == 0x88;
        if (at[0] == 0x81) hear_frame(c, {(const char *)at + head, len});
    }
}

void hear_all() {
    watch_members();
    for (Client &c : clients)
        if (c.open) c.is_http ? hear_answers(c) : hear_socket(c);
}

// --- bounds

void check_bounds() {
    const Ring *ring = &world.hub.ring;
    CB_ASSERT(ring->head - ring->tail <= ring_entries && ring->head_rev == store_rev(world.store) && ring->lost_rev <= ring->head_rev);
    int64_t rev = ring->lost_rev;
    for (uint64_t seq = ring->tail; seq != ring->head; seq++) {
        const RingEntry *e = &ring->entries[seq & (ring_entries - 1)];
        CB_ASSERT((size_t)e->at + e->len <= ring_bytes && e->len > 2 && (unsigned char)ring->bytes[e->at] == 0x81);
        if (e->rev == 0) continue;
        CB_ASSERT(e->rev > rev && e->rev <= ring->head_rev);
        rev = e->rev;
    }
    uint32_t open = 0;
    for (Client &c : clients) {
        Conn *conn = conn_get(c.id);
        if (!c.open || !conn) continue;
        open += conn->state == ConnState::socket;
        CB_ASSERT(conn_queued(conn) <= private_queue_bytes_max + 1024 && conn->held.len <= 256 * 1024);
    }
    CB_ASSERT(sockets_count() == open);
}

// --- acts

Client *client_of(uint8_t byte) { return &clients[byte % clients_max]; }

void deliver(Client &c) {
    Conn *conn = conn_get(c.id);
    if (!conn) buf_clear(c.outbox);
    bool ending = conn && (conn->state == ConnState::closing || conn->state == ConnState::draining); // then it is read whatever waits
    if (!conn || c.outbox.len == 0 || (!ending && (conn->paused || conn->held.len != 0))) return;
    ScopedBuf bytes;
    buf_add(bytes, buf_view(c.outbox));
    buf_clear(c.outbox);
    conn_feed(conn, buf_view(bytes));
}

void hang_up(Client &c) {
    if (!c.open) return;
    if (Conn *conn = conn_get(c.id)) conn_abort(conn);
    conn_work();
    Buf sent = c.sent, outbox = c.outbox;
    sent.len = outbox.len = 0;
    c = {};
    c.sent = sent;
    c.outbox = outbox;
}

void dial(Client &c, int user, bool is_http) {
    hang_up(c);
    Address peer;
    CB_ASSERT(address_parse("203.0.113.5", &peer));
    c.open = true;
    c.user = user;
    c.is_http = is_http;
    c.id = conn_id(conn_for_test(peer, &c.sent));
}

void act_connect(FuzzInput &in) {
    Client &c = *client_of(fuzz_byte(in));
    int user = fuzz_byte(in) % users_count;
    uint8_t how = fuzz_byte(in), since = fuzz_byte(in);
    dial(c, user, false);
    char token[uuid_chars + 1];
    token_of(user, token);
    buf_printf(c.outbox, "GET /ws?token=%s", token);
    if (how & 1) buf_printf(c.outbox, "&since=%u&epoch=%s", since, how & 2 ? "another" : store_epoch(world.store));
    if (how & 4) buf_printf(c.outbox, "&max=%u", how >> 4);
    buf_add(c.outbox, " HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
    c.base = (how & 1) && !(how & 2) ? since : 0;
    deliver(c);
}

void act_hang_up(FuzzInput &in) { hang_up(*client_of(fuzz_byte(in))); }

void say(Client &c, std::string_view text) {
    if (!c.open || c.is_http || text.size() > 65535) return;
    buf_add_char(c.outbox, (char)0x81);
    bool is_short = text.size() < 126; // only the shortest form of a length is taken
    buf_add_char(c.outbox, (char)(0x80 | (is_short ? text.size() : 126)));
    if (!is_short) buf_add_char(c.outbox, (char)(text.size() >> 8));
    if (!is_short) buf_add_char(c.outbox, (char)text.size());
    buf_add(c.outbox, {"\0\0\0\0", 4});
    buf_add(c.outbox, text);
    deliver(c);
}

void act_raw(FuzzInput &in) {
    Client &c = *client_of(fuzz_byte(in));
    say(c, fuzz_field(in));
}

// A request of the vocabulary: its fields from single bytes, so that the fuzzer need not find out about JSON.
void act_request(FuzzInput &in) {
    static const char *const types[] = {"message", "message", "edit", "delete", "seen", "typing", "history", "ping"};
    Client &c = *client_of(fuzz_byte(in));
    uint8_t kind = fuzz_byte(in), room = fuzz_byte(in), id = fuzz_byte(in);
    std::string_view text = kind & 0x10 ? fuzz_field(in) : "a word @bob";
    if (!utf8_valid(text)) text = "hate";
    ScopedBuf out;
    JsonWriter w{.out = &out};
    json_begin(w, '{');
    json_field(w, "type", types[kind & 7]);
    if ((kind & 7) != 1 || room != 0) json_field_int(w, "room", room % 12);
    if ((kind & 7) > 1) json_field_int(w, "id", id);
    else if (id & 0x80) json_field_int(w, "reply", id & 0x7f);
    if ((kind & 7) < 3) json_field(w, "text", text);
    if ((kind & 7) < 2 && (kind & 0x20)) json_field(w, "nonce", id & 1 ? "n1" : id & 2 ? "n2" : "n3");
    if ((kind & 7) == 6 && (id & 1)) json_field_int(w, "before", id);
    if ((kind & 7) == 6) json_field_int(w, "limit", id % 5);
    char ref[3] = {'c', (char)('0' + (&c - clients)), 0};
    if (kind & 0x40) json_field(w, "ref", ref);
    json_end(w, '}');
    say(c, buf_view(out));
}

void act_api(FuzzInput &in) {
    static const char *const methods[] = {"GET", "POST", "PATCH", "DELETE", "HEAD"};
    Client &c = *client_of(fuzz_byte(in));
    uint8_t how = fuzz_byte(in);
    std::string_view path = fuzz_field(in), body = fuzz_field(in);
    for (size_t i = 0; i < path.size(); i++)
        if ((unsigned char)path[i] <= 0x20) path = path.substr(0, i);
    if (!c.open || !c.is_http || how & 0x80) dial(c, (how & 7) % users_count, true);
    if (path.size() > 500 || body.size() > 2000 || path.starts_with("/ws")) return;
    const char *method = methods[(how >> 3) % 5];
    bool has_body = method[0] == 'P';
    char token[uuid_chars + 1];
    token_of(c.user, token);
    buf_printf(c.outbox, "%s /%.*s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n", method, (int)path.size(), path.data(), token);
    if (has_body) buf_printf(c.outbox, "Content-Type: application/json\r\nContent-Length: %zu\r\n", body.size());
    buf_add(c.outbox, "\r\n");
    if (has_body) buf_add(c.outbox, body);
    deliver(c);
}

// What the command line and administrators do.
void act_admin(FuzzInput &in) {
    static const WriteKind kinds[] = {WriteKind::user_block, WriteKind::user_role, WriteKind::user_profile, WriteKind::user_delete, WriteKind::member_add,
                                      WriteKind::member_remove, WriteKind::room_change, WriteKind::room_add};
    uint8_t kind = fuzz_byte(in), who = fuzz_byte(in), room = fuzz_byte(in);
    const User *by = kind & 0x80 ? model_user(&world.hub.model, world.users[(who >> 4) % users_count]) : nullptr;
    StoreWrite *w = hub_write_new(kinds[kind & 7], by);
    w->user = world.users[who % users_count];
    w->room = room % 12;
    w->flag = w->archived = kind & 8;
    w->role = (Role)(room % 3);
    w->display_name = "shown";
    w->has_display_name = w->has_archived = true;
    if (w->kind == WriteKind::room_add) {
        static const char *const names[] = {"one", "two", "three", "four"};
        w->name = w->key = names[room & 3];
        w->by = world.users[who % users_count];
        w->limit = rooms_made_max;
    }
    hub_submit(&world.hub, w, {}, [](Hub *, StoreWrite *) {});
}

void act_turn(FuzzInput &) {
    for (Client &c : clients) deliver(c);
    world_turn();
}

void act_work(FuzzInput &in) {
    uint8_t which = fuzz_byte(in);
    for (Worker *w = fuzz_workers; w; w = w->next)
        if (which-- == 0) return (void)worker_run_one(w);
}

void act_tell(FuzzInput &in) {
    uint8_t which = fuzz_byte(in) % 4;
    for (Worker *w = fuzz_workers; w; w = w->next)
        if (which-- == 0) return (void)(worker_tell_one(w) || (worker_run_one(w) && worker_tell_one(w)));
}

void act_drain(FuzzInput &) { world_drain(); }
void act_time(FuzzInput &in) { fuzz_now_us += (uint64_t)fuzz_byte(in) * fuzz_byte(in) * 1000; }
void act_pace(FuzzInput &in) { fuzz_step_us = fuzz_byte(in) * 20; }

void settle() {
    fuzz_step_us = 0;
    for (int round = 0;; round++) {
        CB_ASSERT(round < 300);
        fuzz_now_us += 1'100'000;
        for (Client &c : clients) deliver(c);
        world_drain();
        world_turn();
        hear_all();
        bool waits = store_has_work(world.store) || sockets_want_turn() || net.todo || delay_due_ms();
        for (Worker *w = fuzz_workers; w; w = w->next) waits |= w->queued || w->finished;
        for (Client &c : clients) waits |= c.open && conn_get(c.id) && c.outbox.len;
        if (!waits) return;
    }
}

// --- the end

// Everything since the client's beginning that is in its rooms stands with it as it stands in the store.
void check_client(const Client &c) {
    Conn *conn = conn_get(c.id);
    if (!c.open || !c.upgraded || !conn || conn->state != ConnState::socket) return;
    CB_ASSERT(c.welcomed && c.ready);
    StoreRead *r = store_read_new(ReadKind::changes);
    r->since = c.base;
    r->limit = slice_rows_max;
    r->user = world.users[c.user];
    r->done = [](StoreRead *) {};
    CB_ASSERT(store_read(world.store, r));
    world_drain();
    CB_ASSERT(r->err == Err::ok);
    for (uint32_t i = 0; i < r->changes_count && !c.forgets; i++) {
        if (r->changes[i].kind != ChangeKind::message) continue;
        const MessageRow &m = r->changes[i].message;
        const Member *member = model_member(&world.hub.model, m.room, world.users[c.user]);
        if (!member || member->rev >= m.rev || m.room >= tracked) continue;
        CB_ASSERT(c.has[m.room]);
        bool found = false;
        for (uint32_t k = 0; k < c.held_count; k++) found |= c.held[k].id == m.id && c.held[k].rev == m.rev && c.held[k].hash == keyed_hash(m.text);
        CB_ASSERT(found);
    }
    store_read_free(r);
}

bool same_text(const char *a, const char *b) { return strcmp(a, b) == 0; }

void compare_user(const User *a, const User *b) {
    CB_ASSERT(b && a->rev == b->rev && a->role == b->role && a->blocked == b->blocked && a->deleted == b->deleted && a->warnings == b->warnings);
    CB_ASSERT(same_text(a->name, b->name) && same_text(a->display_name, b->display_name) && same_text(a->status, b->status) && same_text(a->key, b->key));
}

void compare_room(const Room *a, const Room *b) {
    CB_ASSERT(b && a->rev == b->rev && a->last == b->last && a->kind == b->kind && a->is_private == b->is_private && a->archived == b->archived);
    CB_ASSERT(same_text(a->name, b->name) && same_text(a->topic, b->topic) && a->members_count == b->members_count);
    CB_ASSERT((a->owner ? a->owner->id : 0) == (b->owner ? b->owner->id : 0));
}

// What a restart would load is what is in memory.
void check_model() {
    Model loaded = {}, *mine = &world.hub.model;
    StoreLoad into = {.owner = &loaded,
                      .user = [](void *m, const UserRow &row, std::string_view key) { model_put_user((Model *)m, row, key); },
                      .room = [](void *m, const RoomRow &row, std::string_view) { model_put_room((Model *)m, row); },
                      .member = [](void *m, const MemberRow &row) { model_put_member((Model *)m, row); },
                      .session = [](void *m, const SessionRow &row) { model_put_session((Model *)m, row); }};
    CB_ASSERT(store_load(world.store, into));
    CB_ASSERT(loaded.users_by_id.count == mine->users_by_id.count && loaded.rooms_by_id.count == mine->rooms_by_id.count);
    CB_ASSERT(loaded.members.count == mine->members.count && loaded.sessions_by_token.count == mine->sessions_by_token.count);
    CB_ASSERT(loaded.users_count == mine->users_count && loaded.admins_count == mine->admins_count);
    IdMapEntry e;
    for (uint32_t i = 0; idmap_next(mine->users_by_id, &i, &e);) compare_user((User *)e.value, (User *)idmap_get(loaded.users_by_id, e.key));
    for (uint32_t i = 0; idmap_next(mine->rooms_by_id, &i, &e);) compare_room((Room *)e.value, (Room *)idmap_get(loaded.rooms_by_id, e.key));
    for (uint32_t i = 0; idmap_next(mine->members, &i, &e);) {
        auto *a = (Member *)e.value, *b = (Member *)idmap_get(loaded.members, e.key);
        CB_ASSERT(b && a->rev == b->rev && a->seen == b->seen);
    }
    model_free(&loaded);
}

// `thorough`: an integrity check takes longer than all else, so not every input has one.
void check_end(bool thorough) {
    for (const Client &c : clients) check_client(c);
    hub_flush_marks(&world.hub);
    settle();
    check_model();
    if (!thorough) return;
    ScopedBuf report;
    bool sound = store_check(world.store, &report);
    if (!sound) fprintf(stderr, "%.*s", (int)report.len, report.data);
    CB_ASSERT(sound);
}

constexpr void (*acts[])(FuzzInput &) = {act_connect, act_request, act_request, act_raw,  act_api,   act_admin, act_turn,
                                         act_turn,    act_work,    act_tell,    act_time, act_drain, act_pace,  act_hang_up};

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static bool started = (world_make(), world_told = hear_all, true);
    if (!started) return 0;
    world_begin();
    memset(was_member, 0, sizeof was_member);
    memset(joined_rev, 0, sizeof joined_rev);
    memset(left_rev, 0, sizeof left_rev);
    watch_members();
    FuzzInput in = fuzz_input(data, size);
    for (int i = 0; i < acts_max && !in.rest.empty(); i++) {
        acts[fuzz_byte(in) % (sizeof acts / sizeof *acts)](in);
        hear_all();
        check_bounds();
    }
    settle();
    check_end(size % 8 == 0);
    for (Client &c : clients) hang_up(c);
    world_end();
    return 0;
}
