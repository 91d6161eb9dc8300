// What a client does with what it is told. See sim_client.h.
#include "sim_client.h"

#include "sim.h"
#include "sim_server.h"

#include "base/json.h"
#include "base/limits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

Person people[people_max];
uint32_t people_count;
Client *clients[clients_max];
uint32_t clients_count;
List<Sent> sim_sent;
ClientStats stats;

#define own(c, holds, ...) ((holds) ? (void)0 : (trace("client %u (%s):", (c)->index, people[(c)->person].name), breach(__VA_ARGS__)))

// --- prints: what a thing looks like, as one number

static uint64_t mix(uint64_t print, uint64_t n) { return (print ^ n) * 1099511628211u + (print >> 29); }
uint64_t print_more(uint64_t print, std::string_view text) {
    for (char ch : text) print = (print ^ (unsigned char)ch) * 1099511628211u;
    return mix(print, text.size());
}
uint64_t print_room(std::string_view name, std::string_view topic, bool is_private, bool archived, std::string_view owner) {
    return mix(print_more(print_more(print_more(7, name), topic), owner), is_private * 2u + archived);
}
uint64_t print_user(std::string_view display_name, std::string_view status, std::string_view role, bool deleted) {
    return deleted ? 1 : print_more(print_more(print_more(5, display_name), status), role);
}
uint64_t print_message(int64_t room, std::string_view sender, std::string_view text, std::string_view nonce, int64_t time, int64_t edited, int64_t deleted, int64_t reply) {
    uint64_t print = print_more(print_more(print_more(3, sender), text), nonce);
    for (int64_t n : {room, time, edited, deleted, reply}) print = mix(print, (uint64_t)n);
    return print;
}

int person_of(std::string_view name) {
    for (uint32_t i = 0; i < people_count; i++)
        if (name == people[i].name) return (int)i;
    return -1;
}

// --- fields

static std::string_view text_of(JsonRef o, const char *key) {
    std::string_view text;
    (void)json_string(json_get(o, key), &text);
    return text;
}
static int64_t int_of(JsonRef o, const char *key) {
    int64_t n = 0;
    (void)json_int(json_get(o, key), &n);
    return n;
}
static bool bool_of(JsonRef o, const char *key) {
    bool b = false;
    (void)json_bool(json_get(o, key), &b);
    return b;
}

// --- what it holds

static Known *room_at(Client *c, int64_t id) {
    own(c, id > 0 && id < rooms_max, "room %lld", (long long)id);
    return &c->rooms[id];
}

static void room_drop(Client *c, int64_t id, int64_t rev) {
    *room_at(c, id) = {};
    c->rooms[id].low = ids_max;
    c->rooms[id].dropped = rev;
    for (int64_t i = 0; i < ids_max; i++)
        if (c->held[i].room == id) c->held[i] = {};
    // All that it holds of it: also what it sent and was not told of. What was committed before it left it does not see any more.
    for (uint32_t k = 0; rev && k < c->out.count; k++)
        if (sim_sent[c->out[k].sent].room == id && c->out[k].is_under_way) c->out[k--] = c->out[--c->out.count];
}

void client_forget(Client *c) {
    for (int64_t id = 1; id < rooms_max; id++) c->rooms[id] = {}, c->rooms[id].low = ids_max;
    memset(static_cast<void *>(c->held), 0, ids_max * sizeof(Held));
    memset(c->user_rev, 0, sizeof c->user_rev);
    memset(c->online, 0, sizeof c->online);
    c->has_position = false;
    c->position = c->base = 0;
}

Client *client_make(uint32_t person) {
    auto *c = static_cast<Client *>(mem_zero(sizeof(Client)));
    c->index = clients_count;
    c->person = person;
    c->held = static_cast<Held *>(mem_zero(ids_max * sizeof(Held)));
    c->came = static_cast<uint32_t *>(mem_zero(ids_max * sizeof *c->came));
    c->speed = 1 << 20;
    client_forget(c);
    promise(clients_count < clients_max, "too many clients");
    return clients[clients_count++] = c;
}

static void mark_up(Client *c, Known *k, std::string_view who, int64_t id) {
    int person = person_of(who);
    own(c, person >= 0, "a mark of %.*s", (int)who.size(), who.data());
    if (id > k->marks[person]) k->marks[person] = id;
}

// The others' marks of a room object, where they are told one by one.
static void take_marks(Client *c, Known *k, JsonRef room) {
    JsonRef seen_by = json_get(room, "seen_by");
    for (uint32_t i = 0; seen_by && i < people_count; i++)
        if (int64_t id = int_of(seen_by, people[i].name)) mark_up(c, k, people[i].name, id);
    if (json_get(room, "seen")) mark_up(c, k, people[c->person].name, int_of(room, "seen"));
}

// A frame that says `joined` begins the room anew, even one that is held: one may have left it for a while without being told before one was back.
static void take_room(Client *c, JsonRef room, bool is_frame) {
    int64_t id = int_of(room, "id"), rev = int_of(room, "rev");
    Known *k = room_at(c, id);
    bool joined = bool_of(room, "joined"), is_own = (bool)json_get(room, "joined");
    if (joined && (is_frame || !(k->is_there && k->joined))) {
        int64_t dropped = k->dropped;
        room_drop(c, id, dropped);
        k->is_there = k->joined = k->wants_history = true;
    }
    if (is_own) take_marks(c, k, room);
    if (k->is_there && rev <= k->rev) return;
    k->is_there = true;
    k->rev = rev;
    k->print = print_room(text_of(room, "name"), text_of(room, "topic"), bool_of(room, "private"), bool_of(room, "archived"), text_of(room, "owner"));
}

static void take_message(Client *c, JsonRef m, bool is_history) {
    int64_t id = int_of(m, "id"), rev = int_of(m, "rev"), room = int_of(m, "room");
    std::string_view sender = text_of(m, "sender"), nonce = text_of(m, "nonce");
    own(c, id > 0 && id < ids_max && rev >= id, "message %lld at rev %lld", (long long)id, (long long)rev);
    const MessageRow *row = sim_message(sim_disk, id);
    own(c, row && row->rev >= rev, "message %lld at rev %lld is not on the disk", (long long)id, (long long)rev);
    stats.messages++;
    // Acknowledged: by whatever frame it comes.
    if (sender == people[c->person].name && !nonce.empty()) {
        for (uint32_t i = 0; i < sim_sent.count; i++) {
            Sent &s = sim_sent[i];
            if (s.person != c->person || nonce != s.nonce) continue;
            own(c, !s.acked || s.acked == id, "nonce %s is message %lld, and was %lld", s.nonce, (long long)id, (long long)s.acked);
            own(c, row->nonce == nonce && row->room == s.room, "nonce %s is acknowledged with another message", s.nonce);
            if (!s.acked) stats.acks++, trace("client %u: %s acknowledged as %lld", c->index, s.nonce, (long long)id);
            s.acked = id;
            for (uint32_t k = 0; k < c->out.count; k++)
                if (c->out[k].sent == i) c->out[k--] = c->out[--c->out.count];
        }
    }
    char mine[16];
    snprintf(mine, sizeof mine, "c%u", c->index);
    own(c, text_of(m, "ref").empty() || text_of(m, "ref") == mine, "a ref of somebody else");
    Known *k = room_at(c, room);
    if (!k->is_there || !k->joined) return; // rooms that it does not have are none of its business
    (void)is_history;
    Held &held = c->held[id];
    uint64_t print = print_message(room, sender, text_of(m, "text"), nonce, int_of(m, "time"), int_of(m, "edited"), int_of(m, "deleted"), int_of(m, "reply"));
    JsonRef mentions = json_get(m, "mentions");
    uint32_t count = 0;
    if (mentions && json_array(mentions, &count))
        for (uint32_t i = 0; i < count; i++) {
            std::string_view name;
            own(c, json_string(json_at(mentions, i), &name), "mentions");
            print = print_more(print, name);
        }
    if (rev == row->rev) { // its present state, and so it must look
        own(c, row->text == text_of(m, "text") && row->deleted == int_of(m, "deleted"), "message %lld at rev %lld does not say what is on the disk", (long long)id, (long long)rev);
    }
    if (rev > held.rev) held = {rev, room, print};
}

// --- frames

static void log_frame(Client *c, int64_t rev, const char *what) {
    own(c, c->stage >= Stage::welcomed, "%s before welcome", what);
    own(c, rev > c->position, "%s at rev %lld behind position %lld", what, (long long)rev, (long long)c->position);
    own(c, rev <= sim_disk.rev, "%s at rev %lld, the disk is at %lld", what, (long long)rev, (long long)sim_disk.rev);
    c->position = rev;
    c->has_position = true;
}

static void on_welcome(Client *c, JsonRef f) {
    own(c, c->stage == Stage::asked, "a second welcome");
    int64_t rev = int_of(f, "rev");
    bool resumed = bool_of(f, "resumed");
    own(c, text_of(json_get(f, "user"), "username") == people[c->person].name, "welcome of somebody else");
    own(c, rev <= sim_disk.rev, "welcome at rev %lld, the disk is at %lld", (long long)rev, (long long)sim_disk.rev);
    std::string_view epoch = text_of(f, "epoch");
    own(c, epoch == sim_disk.epoch, "welcome of epoch %.*s", (int)epoch.size(), epoch.data());
    own(c, !resumed || (c->has_position && epoch == c->epoch), "resumed, which was not asked for");
    if (!resumed) client_forget(c);
    c->resumed = resumed;
    c->welcome_rev = rev;
    c->connections++;
    (resumed ? stats.resumes : stats.snapshots)++;
    epoch.copy(c->epoch, sizeof c->epoch - 1);
    c->stage = Stage::welcomed;
    bool here[rooms_max] = {};
    uint32_t count = 0;
    JsonRef rooms = json_get(f, "rooms");
    own(c, json_array(rooms, &count), "welcome without rooms");
    for (uint32_t i = 0; i < count; i++) {
        JsonRef room = json_at(rooms, i);
        int64_t id = int_of(room, "id");
        own(c, bool_of(room, "joined"), "a room in welcome that is not joined");
        take_room(c, room, false);
        if (!resumed) c->rooms[id].wants_history = false; // it is to come by itself
        here[id] = true;
        c->rooms[id].unread = (uint32_t)int_of(room, "unread");
        c->rooms[id].mentions = (uint32_t)int_of(room, "mentions");
    }
    for (int64_t id = 1; id < rooms_max; id++)
        if (!here[id] && c->rooms[id].is_there && c->rooms[id].joined) room_drop(c, id, rev);
    if (!resumed) {
        // More than welcome_rooms_max: the histories of the others are to be asked for. Here: those without one at `ready`.
        c->base = c->position = rev;
        c->has_position = false;
    }
    trace("client %u: welcome at %lld, %s, %u rooms", c->index, (long long)rev, resumed ? "resumed" : "afresh", count);
}

static void on_history(Client *c, JsonRef f) {
    int64_t id = int_of(f, "room");
    Known *k = room_at(c, id);
    std::string_view ref = text_of(f, "ref");
    JsonRef messages = json_get(f, "messages");
    uint32_t count = 0;
    own(c, json_array(messages, &count), "history without messages");
    own(c, !ref.empty() || c->stage == Stage::welcomed, "a history that nobody asked for");
    int64_t before = 0, first = 0;
    for (uint32_t i = 0; i < count; i++) {
        JsonRef m = json_at(messages, i);
        int64_t at = int_of(m, "id");
        own(c, at > before && int_of(m, "room") == id, "a history out of order, or of another room");
        if (!i) first = at;
        before = at;
        own(c, !ref.empty() || int_of(m, "rev") <= c->base, "a snapshot's history ahead of it");
        take_message(c, m, true);
    }
    if (!k->is_there || !k->joined) return;
    char wanted[16];
    snprintf(wanted, sizeof wanted, "h%u", k->asked);
    if (!ref.empty() && ref != wanted) return; // of before it was joined anew
    int64_t low = !bool_of(f, "more") ? 0 : first ? first : c->base + 1;
    if (low < k->low) k->low = low;
    k->asked = 0;
    k->wants_history = false;
}

static void on_room(Client *c, JsonRef f) {
    int64_t rev = int_of(f, "rev");
    JsonRef room = json_get(f, "room");
    log_frame(c, rev, "room");
    if (!bool_of(f, "left")) return take_room(c, room, true);
    trace("client %u: left room %lld at %lld", c->index, (long long)int_of(room, "id"), (long long)rev);
    room_drop(c, int_of(room, "id"), rev);
}

static void on_user(Client *c, JsonRef f) {
    JsonRef user = json_get(f, "user");
    log_frame(c, int_of(f, "rev"), "user");
    int person = person_of(text_of(user, "username"));
    own(c, person >= 0, "an unknown user");
    if (int_of(user, "rev") <= c->user_rev[person]) return;
    c->user_rev[person] = int_of(user, "rev");
    c->user_print[person] = print_user(text_of(user, "display_name"), text_of(user, "status"), text_of(user, "role"), bool_of(user, "deleted"));
}

static void take_online(Client *c, JsonRef names, bool online) {
    uint32_t count = 0;
    if (!names || !json_array(names, &count)) return;
    for (uint32_t i = 0; i < count; i++) {
        std::string_view name;
        own(c, json_string(json_at(names, i), &name) && person_of(name) >= 0, "somebody unknown is online");
        c->online[person_of(name)] = online;
    }
}

static void on_ready(Client *c, JsonRef f) {
    int64_t rev = int_of(f, "rev");
    own(c, c->stage >= Stage::welcomed && rev >= c->position, "ready at %lld behind %lld", (long long)rev, (long long)c->position);
    if (c->stage == Stage::ready) stats.overruns++;
    c->position = rev;
    c->has_position = true;
    // Also when this is a resume: the snapshot before it may have been cut before its `ready`.
    if (c->stage == Stage::welcomed)
        for (Known &k : c->rooms)
            if (k.joined && k.low == ids_max) k.wants_history = true;
    c->stage = Stage::ready;
    c->ready_count++;
    memset(c->online, 0, sizeof c->online);
    take_online(c, json_get(f, "online"), true);
    c->knows_online = (bool)json_get(f, "online");
    own(c, c->knows_online || int_of(f, "online_count") > online_names_max, "ready names nobody");
}

// Whatever speaks against a message: if it was stored before it was sent this time, in a room that its sender is in since then, it is the answer.
static void check_refusal(const Client *c, std::string_view nonce, int64_t said_rev) {
    for (const SimUser &u : sim_disk.users) {
        if (u.row.name != people[c->person].name) continue;
        for (const MessageRow &m : sim_disk.messages) {
            if (m.sender != u.row.id || m.nonce != nonce || m.id > said_rev) continue;
            const MemberRow *in = sim_member(sim_disk, m.room, m.sender);
            own(c, !in || in->rev > said_rev, "%.*s is refused, and is message %lld", (int)nonce.size(), nonce.data(), (long long)m.id);
        }
    }
}

static void give_up(Client *c, std::string_view nonce, bool for_good, bool is_judged) {
    for (uint32_t k = 0; k < c->out.count; k++) {
        if (nonce != sim_sent[c->out[k].sent].nonce) continue;
        if (is_judged) check_refusal(c, nonce, c->out[k].said_rev);
        c->out[k].is_under_way = false;
        c->out[k].again_us = sim.now_us + between(100, 3000) * 1000;
        if (for_good) c->out[k--] = c->out[--c->out.count];
    }
}

static void on_error(Client *c, JsonRef f) {
    std::string_view code = text_of(f, "code"), ref = text_of(f, "ref");
    stats.refusals++;
    bool later = code == "unavailable" || code == "storage_full" || code == "rate_limited";
    if (code == "unavailable" || code == "storage_full") stats.storage_errors++;
    if (std::string_view nonce = text_of(f, "nonce"); !nonce.empty()) give_up(c, nonce, !later, !later && code != "blocked");
    for (Known &k : c->rooms) {
        char wanted[16];
        snprintf(wanted, sizeof wanted, "h%u", k.asked);
        if (k.asked && ref == wanted) k.asked = 0; // wanted still, if the room is still there
    }
}

static void on_frame(Client *c, std::string_view payload) {
    stats.frames++;
    c->has_heard = true;
    JsonRef f = json_parse(payload);
    own(c, (bool)f, "not JSON: %.*s", (int)payload.size(), payload.data());
    std::string_view type = text_of(f, "type");
    own(c, c->stage != Stage::asked || type == "welcome" || type == "blocked", "first comes %.*s", (int)type.size(), type.data());
    if (type == "welcome") on_welcome(c, f);
    else if (type == "history") on_history(c, f);
    else if (type == "message") {
        if (bool_of(f, "repeat")) {
            stats.repeats++;
        } else {
            int64_t id = int_of(f, "id"), rev = int_of(f, "rev");
            log_frame(c, rev, "message");
            if (rev <= c->welcome_rev && id > 0 && id < ids_max) {
                own(c, c->came[id] != c->connections, "message %lld comes twice in one replay", (long long)id);
                c->came[id] = c->connections;
            }
        }
        take_message(c, f, false);
    } else if (type == "room") on_room(c, f);
    else if (type == "user") on_user(c, f);
    else if (type == "seen") {
        Known *k = room_at(c, int_of(f, "room"));
        if (k->joined) mark_up(c, k, text_of(f, "user"), int_of(f, "id"));
    } else if (type == "presence") {
        take_online(c, json_get(f, "online"), true);
        take_online(c, json_get(f, "offline"), false);
    } else if (type == "ready") on_ready(c, f);
    else if (type == "warning") {
        stats.warnings++;
        own(c, int_of(f, "limit") == 0 || int_of(f, "count") <= int_of(f, "limit"), "warning %lld of %lld", (long long)int_of(f, "count"), (long long)int_of(f, "limit"));
        give_up(c, text_of(f, "nonce"), true, true);
    } else if (type == "blocked") stats.blocks++;
    else if (type == "error") on_error(c, f);
    else own(c, type == "typing" || type == "pong", "a frame of type %.*s", (int)type.size(), type.data());
}

// --- bytes

bool sim_inflate(std::string_view deflated, Buf &out) {
    static z_stream z;
    if (!z.state && inflateInit2(&z, -15) != Z_OK) return false;
    inflateReset(&z);
    ScopedBuf in;
    buf_add(in, deflated);
    buf_add(in, {"\0\0\xff\xff", 4});
    z.next_in = reinterpret_cast<unsigned char *>(in.data);
    z.avail_in = (unsigned)in.len;
    while (z.avail_in) {
        char piece[4096];
        z.next_out = reinterpret_cast<unsigned char *>(piece);
        z.avail_out = sizeof piece;
        int end = inflate(&z, Z_SYNC_FLUSH);
        if (end != Z_OK && end != Z_BUF_ERROR) return false;
        buf_add(out, {piece, sizeof piece - z.avail_out});
        if (z.avail_out && z.avail_in) return false;
    }
    return true;
}

static void send_frame(Client *c, char opcode, std::string_view payload) {
    ScopedBuf frame;
    buf_add_char(frame, (char)(0x80 | opcode));
    if (payload.size() < 126) {
        buf_add_char(frame, (char)(0x80 | payload.size()));
    } else {
        buf_add_char(frame, (char)(0x80 | 126));
        buf_add_char(frame, (char)(payload.size() >> 8));
        buf_add_char(frame, (char)payload.size());
    }
    buf_add(frame, {"\0\0\0\0", 4});
    buf_add(frame, payload);
    wire_send(c->wire, buf_view(frame));
}

void client_say(Client *c, std::string_view json) {
    ledger_asks(c, json);
    send_frame(c, 1, json);
}

void client_lost(Client *c, const char *why) {
    trace("client %u (%s): off, %s, position %lld", c->index, people[c->person].name, why, (long long)(c->has_position ? c->position : -1));
    wire_free(c->wire);
    c->wire = nullptr;
    c->stage = Stage::off;
    c->in.len = 0;
    c->again_us = sim.now_us + (sim.is_healing ? 100 : between(0, 4000)) * 1000;
    for (Outgoing &o : c->out) o.is_under_way = false;
    for (Known &k : c->rooms)
        if (k.asked) k.asked = 0;
}

// The handshake's answer. False: there is none yet, or it was a refusal.
static bool take_head(Client *c) {
    size_t end = buf_view(c->in).find("\r\n\r\n");
    if (end == std::string_view::npos) return false;
    int status = c->in.len > 12 ? atoi(c->in.data + 9) : 0;
    if (status == 101) {
        c->wire->deflates = buf_view(c->in).substr(0, end).find("permessage-deflate") != std::string_view::npos;
        buf_drop_front(c->in, end + 4);
        c->head_done = true;
        return true;
    }
    own(c, status == 401 || status == 403 || status == 408 || status == 503, "the handshake is answered %d", status);
    trace("client %u: handshake %d", c->index, status);
    if (status == 401) c->token[0] = 0;
    client_lost(c, "refused");
    return false;
}

void client_hear(Client *c, size_t most) {
    wire_take(c->wire, most, c->in);
    if (!c->head_done && !take_head(c)) {
        if (c->wire && wire_ended(c->wire)) client_lost(c, "no handshake");
        return;
    }
    while (c->wire && c->in.len >= 2) {
        auto *at = reinterpret_cast<unsigned char *>(c->in.data);
        size_t len = at[1], skip = 2;
        if (len == 126) {
            if (c->in.len < 4) break;
            len = (size_t)at[2] << 8 | at[3], skip = 4;
        }
        own(c, at[1] < 127, "a frame beyond all bounds");
        own(c, !(at[0] & 0x40) || c->wire->deflates, "a compressed frame, which was not agreed");
        if (c->in.len < skip + len) break;
        ScopedBuf payload;
        if (at[0] & 0x40) own(c, sim_inflate({c->in.data + skip, len}, payload), "a compressed frame that is none");
        else buf_add(payload, {c->in.data + skip, len});
        unsigned char opcode = at[0];
        buf_drop_front(c->in, skip + len);
        if (opcode == 0x81 || opcode == 0xc1) on_frame(c, buf_view(payload));
        else if (opcode == 0x89) send_frame(c, 10, buf_view(payload));
        else if (opcode == 0x88) {
            int code = len >= 2 ? (unsigned char)payload.data[0] << 8 | (unsigned char)payload.data[1] : 1005;
            bool known = code == 1001 || code == 1008 || code == 1013 || code == 4001 || code == 4002 || code == 4003;
            own(c, known, "closed with %d", code);
            if (code == 4001) c->token[0] = 0, stats.ended++;
            char why[32];
            snprintf(why, sizeof why, "closed %d", code);
            return client_lost(c, why);
        } else own(c, false, "a frame of opcode %x", opcode);
    }
    if (c->wire && wire_ended(c->wire)) client_lost(c, "the connection broke");
}

void client_connect(Client *c, bool afresh) {
    if (afresh) client_forget(c);
    bool small = !sim.is_healing && chance(400);
    c->wire = wire_connect(small ? between(200, 3000) : between(4000, 60000));
    c->wire->client = c;
    ledger_open(&c->ledger);
    c->speed = 1 << 20;
    c->head_done = false;
    c->stage = Stage::asked;
    c->since_us = sim.now_us;
    c->ready_count = 0;
    memset(c->member_step, 0, sizeof c->member_step);
    c->free_step = 0;
    c->connected_rev = server_is_up ? hub_rev(&hub) : INT64_MAX;
    ScopedBuf head, query;
    bool is_ahead = !sim.is_healing && chance(15); // of all there is, as nobody can be
    if (c->has_position) buf_printf(query, "?since=%lld&epoch=%s", (long long)(is_ahead ? sim_disk.rev + 1000 : c->position), c->epoch);
    if (c->has_position && chance(200)) buf_printf(query, "&max=%u", chance(100) ? 0 : between(1, 60));
    buf_printf(head, "GET /ws%.*s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n", (int)query.len, query.data ? query.data : "", c->token,
               chance(300) ? "Sec-WebSocket-Extensions: permessage-deflate\r\n" : "");
    trace("client %u (%s): connects %.*s", c->index, people[c->person].name, (int)query.len, query.data ? query.data : "");
    wire_send(c->wire, buf_view(head));
}

// --- sending

int64_t room_of_person(const Client *c, bool any) {
    int64_t found = 0;
    uint32_t n = 0;
    for (int64_t id = 1; id < rooms_max; id++)
        if (any ? c->rooms[id].is_there : c->rooms[id].is_there && c->rooms[id].joined)
            if (below(++n) == 0) found = id;
    return found;
}

static void say_message(Client *c, const Outgoing &o) {
    const Sent &s = sim_sent[o.sent];
    ScopedBuf json;
    JsonWriter w{.out = &json};
    json_begin(w, '{');
    json_field(w, "type", "message");
    json_field_int(w, "room", s.room);
    json_field(w, "text", s.text);
    json_field(w, "nonce", s.nonce);
    char ref[16];
    snprintf(ref, sizeof ref, "c%u", c->index);
    if (chance(200)) json_field(w, "ref", ref);
    json_end(w, '}');
    client_say(c, buf_view(json));
}

void client_post(Client *c, int64_t room, std::string_view text) {
    Sent s = {.person = c->person, .nonce = {}, .room = room, .text = {mem_copy(text), text.size()}, .acked = 0};
    snprintf(s.nonce, sizeof s.nonce, "n%u", sim_sent.count + 1);
    sim_sent.add(s);
    c->out.add({.sent = sim_sent.count - 1, .is_under_way = false, .again_us = 0, .said_rev = 0});
}

void client_push(Client *c) {
    if (c->stage != Stage::ready) return;
    for (Outgoing &o : c->out) {
        if (o.is_under_way || o.again_us > sim.now_us) continue;
        o.is_under_way = true;
        o.said_rev = sim_disk.rev;
        say_message(c, o);
    }
    for (int64_t id = 1; id < rooms_max; id++) {
        Known &k = c->rooms[id];
        if (!k.is_there || !k.joined || !k.wants_history || k.asked) continue;
        k.asked = ++c->requests;
        char json[120];
        snprintf(json, sizeof json, R"({"type":"history","room":%lld,"limit":%u,"ref":"h%u"})", (long long)id, between(1, 60), k.asked);
        client_say(c, json);
    }
}
