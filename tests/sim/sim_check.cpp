// The promises. See sim_check.h.
#include "sim_check.h"

#include "sim.h"
#include "sim_server.h"

#include "base/limits.h"
#include "net/conn_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define own(holds, ...) ((holds) ? (void)0 : (trace("client %u (%s), position %lld, base %lld:", c->index, people[c->person].name, (long long)c->position, (long long)c->base), breach(__VA_ARGS__)))

// --- what the server hands over: visibility is judged when a frame is sent

static int64_t number_behind(std::string_view frame, std::string_view key) {
    size_t at = frame.find(key);
    return at == frame.npos ? -1 : strtoll(frame.data() + at + key.size(), nullptr, 10);
}

static bool is_of(std::string_view frame, std::string_view type) {
    constexpr std::string_view begin = R"({"type":")";
    return frame.substr(begin.size()).starts_with(type) && frame[begin.size() + type.size()] == '"';
}

// The counts of `welcome` hold what came while they were read: never less than there was at its rev.
static void check_unread(std::string_view frame, const User *user) {
    int64_t rev = number_behind(frame, R"("rev":)");
    size_t at = frame.find(R"("rooms":[)");
    for (at = frame.find(R"({"id":)", at); at != frame.npos; at = frame.find(R"({"id":)", at + 1)) {
        std::string_view one = frame.substr(at);
        int64_t room = number_behind(one, R"("id":)"), seen = number_behind(one, R"("seen":)"), unread = number_behind(one, R"("unread":)"), n = 0;
        for (const MessageRow &m : sim_disk.messages) n += m.room == room && m.id > seen && m.id <= rev && m.sender != user->id && (!m.deleted || m.rev > rev);
        if (n > unread_max) n = unread_max;
        promise(unread >= n, "welcome at %lld tells %s of %lld unread messages in room %lld, of %lld", (long long)rev, user->name, (long long)unread, (long long)room, (long long)n);
    }
}

static void judge(const Wire *w, std::string_view frame) {
    auto *c = static_cast<Client *>(w->client);
    const char *name = people[c->person].name;
    const User *user = model_user_by_name(&hub.model, name);
    promise(user, "room: a frame for %s, whom the server does not know", name);
    stats.leaks_looked++;
    ledger_hand(c, frame);
    int64_t room = is_of(frame, "room") ? number_behind(frame, R"("room":{"id":)") : number_behind(frame, R"("room":)");
    bool is_member = ledger_is_member(room, user->id);
    // What is queued for one connection is judged when it is queued: somebody who is not in the room any more may get it as long as it could not leave.
    uint32_t left_step = room > 0 && room < rooms_max ? c->member_step[room] : 0;
    bool was_member = (left_step && c->free_step <= left_step) || ledger_came_and_went(room, user->id);
    std::string_view begin = frame.substr(0, 120);
    if (is_of(frame, "message")) {
        bool is_repeat = frame.ends_with(R"("repeat":true})") || frame.find(R"("repeat":true,"ref")") != frame.npos;
        // A stored message is answered to its sender, who may have left since.
        if (is_repeat) promise(number_behind(frame, R"("room":)") == room && left_step, "room: %s gets a repeat of a room never its own: %.*s", name, (int)begin.size(), begin.data());
        else promise(is_member, "room: %s gets a message of a room that is not its own: %.*s", name, (int)begin.size(), begin.data());
    } else if (is_of(frame, "room")) {
        bool is_hidden = frame.find(R"("private":true)") != frame.npos;
        bool says_left = frame.find(R"("left":true)") != frame.npos;
        promise(is_member || !is_hidden || says_left, "room: %s gets a room that is not its own: %.*s", name, (int)begin.size(), begin.data());
        bool says_joined = frame.find(R"("joined":true)") != frame.npos;
        promise(!says_joined || is_member, "room: %s is told to have joined room %lld", name, (long long)room);
    } else if (is_of(frame, "history") && (frame.ends_with(R"("more":true})") || frame.ends_with(R"("more":false})"))) {
        // Without a `ref` it is a snapshot's, which is never queued: it goes whole in the moment in which it is judged.
        promise(is_member, "room: %s gets a snapshot of a room that is not its own: %.*s", name, (int)begin.size(), begin.data());
    } else if (is_of(frame, "history") || is_of(frame, "seen") || is_of(frame, "typing")) {
        promise(is_member || was_member, "room: %s gets %.*s", name, (int)begin.size(), begin.data());
    }
    if (is_of(frame, "welcome") && hub.ring.lost_rev <= c->connected_rev) check_unread(frame, user);
    bool is_log = is_of(frame, "message") || is_of(frame, "room") || is_of(frame, "user");
    if (is_log) promise(number_behind(frame, R"("rev":)") <= hub_rev(&hub), "order: %s gets what has not been told yet: %.*s", name, (int)begin.size(), begin.data());
}

void check_watch(Wire *w, std::string_view bytes) {
    if (!w->client || !server_is_up) return;
    buf_add(w->handed, bytes);
    if (!w->handed_head) {
        size_t end = buf_view(w->handed).find("\r\n\r\n");
        if (end == std::string_view::npos) return;
        buf_drop_front(w->handed, end + 4);
        w->handed_head = true;
    }
    size_t at = 0;
    for (;;) {
        auto *head = reinterpret_cast<unsigned char *>(w->handed.data) + at;
        size_t left = w->handed.len - at;
        if (left < 4) break;
        size_t len = head[1] == 126 ? (size_t)head[2] << 8 | head[3] : head[1], skip = head[1] == 126 ? 4 : 2;
        if (left < skip + len) break;
        std::string_view payload = buf_view(w->handed).substr(at + skip, len);
        if (head[0] == 0x81) judge(w, payload);
        if (head[0] == 0xc1) {
            ScopedBuf plain;
            promise(sim_inflate(payload, plain), "a compressed frame that is none");
            judge(w, buf_view(plain));
        }
        at += skip + len;
    }
    buf_drop_front(w->handed, at);
}

// --- after each step

static void check_ring() {
    const Ring *r = &hub.ring;
    promise(r->head - r->tail <= ring_entries, "memory: the ring holds %llu entries", (unsigned long long)(r->head - r->tail));
    int64_t before = r->lost_rev;
    size_t bytes = 0;
    for (uint64_t seq = r->tail; seq != r->head; seq++) {
        const RingEntry *e = &r->entries[seq & (ring_entries - 1)];
        promise(e->at + e->len <= ring_bytes, "memory: a ring entry beyond its bytes");
        promise(!e->rev || e->rev > before, "order: the ring is out of order: %lld behind %lld", (long long)e->rev, (long long)before);
        if (e->rev) before = e->rev;
        bytes += e->len;
        promise(e->asked_len <= frame_out_bytes_max + 16 && e->len <= frame_out_bytes_max + 16, "memory: a frame of %u bytes", e->len);
    }
    promise(bytes <= ring_bytes, "memory: the ring holds %zu bytes", bytes);
    promise(before <= r->head_rev && r->head_rev <= store_rev(store), "order: the ring is at %lld, the store at %lld", (long long)r->head_rev, (long long)store_rev(store));
}

static void check_connections() {
    uint32_t sockets = 0;
    for (uint32_t i = 0; i < net.slots_used; i++) {
        const Conn *c = net.slots[i];
        if (!c || c->state != ConnState::socket) continue;
        sockets++;
        promise(c->queue.len <= private_queue_bytes_max + 1024, "memory: a private queue of %zu bytes", c->queue.len);
        promise(!c->out || c->out->owned.len <= private_queue_bytes_max + frame_out_bytes_max + 1024, "memory: %zu bytes under way", c->out->owned.len);
        promise(c->held.len <= read_buffer_bytes, "memory: %zu bytes held back", c->held.len);
        // Back-pressure: asked_bytes_max of answers owed, and the one request that went over.
        uint64_t asked = sim_store_asked_of(store, c->id);
        promise(asked <= asked_bytes_max + frame_bytes_max + 256, "memory: %llu bytes of answers are owed to one connection", (unsigned long long)asked);
        promise(sim_store_reads_of(store, c->id) <= 2, "memory: %u reads for one connection", sim_store_reads_of(store, c->id));
        const Wire *w = wire_of(&c->stream);
        const auto *client = w ? static_cast<const Client *>(w->client) : nullptr;
        if (!client) continue;
        const User *user = model_user_by_name(&hub.model, people[client->person].name);
        promise(user && !user->blocked, "room: %s is blocked and has a socket", people[client->person].name);
        bool has_session = false;
        for (const SessionRow &s : sim_disk.sessions) {
            unsigned char hash[hash_bytes];
            token_hash(client->token, hash);
            has_session |= memcmp(hash, s.token_hash, hash_bytes) == 0;
        }
        promise(has_session || store_has_work(store), "room: %s has a socket and no session", people[client->person].name);
    }
    promise(sim_store_reads(store) <= 2 * sockets + 2 * calls_max + people_max, "memory: %u reads wait for %u sockets", sim_store_reads(store), sockets);
}

// What a client has taken in, judged by its own position: of each room that it is in since before that, from where its history begins, it lacks nothing and has nothing that is not
// there; of any other room it has nothing. What it has not been told yet is not looked at, nor what has changed since, which comes again.
static void check_taken(const Client *c) {
    int64_t user = 0;
    for (const SimUser &u : sim_disk.users)
        if (u.row.name == people[c->person].name) user = u.row.id;
    for (const MemberRow &m : sim_disk.members) {
        if (m.user != user || m.rev > c->position) continue;
        const Known &k = c->rooms[m.room];
        own((k.is_there && k.joined) == !m.left, "room: at %lld it %s room %lld, which it %s at %lld", (long long)c->position, k.joined ? "is in" : "is not in", (long long)m.room,
            m.left ? "left" : "joined", (long long)m.rev);
    }
    for (const MessageRow &m : sim_disk.messages) {
        const Known &k = c->rooms[m.room];
        const Held &held = c->held[m.id];
        bool has_room = k.is_there && k.joined;
        own(has_room || !held.rev, "room: it holds message %lld of room %lld, which it does not have", (long long)m.id, (long long)m.room);
        own(held.rev <= m.rev, "stored: it holds message %lld at rev %lld, and on the disk it is at %lld", (long long)m.id, (long long)held.rev, (long long)m.rev);
        if (!has_room || m.id < k.low || m.rev > c->position || held.rev == m.rev) continue;
        const MemberRow *member = sim_member(sim_disk, m.room, user);
        own(!member || member->rev > c->position, "gap: at %lld it has message %lld of room %lld at rev %lld, and should at %lld", (long long)c->position, (long long)m.id, (long long)m.room,
            (long long)held.rev, (long long)m.rev);
    }
}

// The sum of what connections hold is what they hold: nothing is forgotten, nothing counted that was given back. And it is within its bound and an eighth, but for the one connection that was
// read just before that was reached: beside the real bound of megabytes one is nothing, beside a scale model's it counts.
static void check_held() {
    size_t sum = 0, most = 0, limit = net.options.held_bytes_max;
    for (uint32_t i = 0; i < net.slots_used; i++) {
        const Conn *c = net.slots[i];
        if (!c) continue;
        size_t bytes = c->queue.cap + c->held.cap + (c->out ? sizeof *c->out + c->out->owned.cap : 0) + (c->http ? http_weight(c) : 0) + (c->ws ? ws_weight(c) : 0);
        promise(c->holds == bytes, "memory: a connection in state %d holds %zu bytes, and %u are counted", (int)c->state, bytes, c->holds);
        sum += bytes;
        most = bytes > most ? bytes : most;
    }
    promise(net.held_bytes == sum, "memory: connections hold %zu bytes, and %zu are counted", sum, net.held_bytes);
    promise(sum - most <= limit + limit / 8, "memory: connections hold %zu bytes of %zu, the largest of them %zu", sum, limit, most);
    stats.crowded += sum > limit / 4 * 3;
}

// The server's loop sleeps until hub_due_ms, and here it never sleeps: what waits must have a time.
static void check_due() {
    bool waits = hub.presence_count || hub.marks_pending.count || (hub.marks_dirty.count && !hub.marks_writing);
    for (uint32_t i = 0; i < people_count && !waits; i++)
        if (const User *user = model_user_by_name(&hub.model, people[i].name)) waits = user->offline_at_ms != 0;
    promise(!waits || hub_due_ms(&hub), "late: something waits to be told or written, and for no time");
}

void check_step() {
    ledger_step();
    for (uint32_t i = 0; i < clients_count; i++) {
        Client *c = clients[i];
        if (c->has_heard) check_taken(c);
        c->has_heard = false;
    }
    for (uint32_t i = 0; i < clients_count && server_is_up; i++) {
        Client *c = clients[i];
        const User *user = c->wire ? model_user_by_name(&hub.model, people[c->person].name) : nullptr;
        for (const Member *m = user ? user->members : nullptr; m; m = m->next_of_user) c->member_step[m->room->id] = sim.step;
        bool is_free = c->wire && c->wire->stream && !c->wire->req && reinterpret_cast<const Conn *>(reinterpret_cast<const uv_handle_t *>(c->wire->stream)->data)->queue.len == 0;
        if (is_free) c->free_step = sim.step;
    }
    if (!server_is_up) return;
    check_ring();
    check_connections();
    check_held();
    check_due();
}

// --- memory and disk

void check_memory(bool marks_may_be_lost) {
    promise(hub_rev(&hub) == sim_disk.rev, "the hub is at %lld, the disk at %lld", (long long)hub_rev(&hub), (long long)sim_disk.rev);
    uint32_t members = 0;
    for (const SimUser &u : sim_disk.users) {
        const User *user = model_user(&hub.model, u.row.id);
        promise(user && user->rev == u.row.rev && user->blocked == u.row.blocked && user->warnings == u.row.warnings && user->deleted == u.row.deleted && user->role == u.row.role &&
                    u.row.display_name == user->display_name && u.row.status == user->status,
                "user %.*s is not in memory as on the disk", (int)u.row.name.size(), u.row.name.data());
        promise(!user->deleted || (!user->members && !user->sessions), "a deleted user has rooms or sessions");
    }
    for (const SimRoom &r : sim_disk.rooms) {
        const Room *room = model_room(&hub.model, r.row.id);
        int64_t last = 0;
        for (const MessageRow &m : sim_disk.messages)
            if (m.room == r.row.id) last = m.id;
        promise(room && room->rev == r.row.rev && r.row.name == room->name && r.row.topic == room->topic && room->archived == r.row.archived && room->last == last,
                "room %lld is not in memory as on the disk", (long long)r.row.id);
    }
    for (const MemberRow &m : sim_disk.members) {
        const Member *member = model_member(&hub.model, m.room, m.user);
        promise(!member == m.left, "user %lld and room %lld: a member in memory or on the disk, not in both", (long long)m.user, (long long)m.room);
        if (!member) continue;
        members++;
        promise(member->rev == m.rev && member->seen >= m.seen, "user %lld in room %lld is not in memory as on the disk", (long long)m.user, (long long)m.room);
        promise(member->seen == m.seen || marks_may_be_lost, "the mark of user %lld in room %lld is %lld, on the disk %lld", (long long)m.user, (long long)m.room,
                (long long)member->seen, (long long)m.seen);
    }
    promise(hub.model.members.count == members, "%u members in memory, %u on the disk", hub.model.members.count, members);
    for (const SessionRow &s : sim_disk.sessions) promise(model_session_of(model_user(&hub.model, s.user), s.id), "session %lld is not in memory", (long long)s.id);
    promise(hub.model.sessions_by_token.count == sim_disk.sessions.count, "%u sessions in memory, %u on the disk", hub.model.sessions_by_token.count, sim_disk.sessions.count);
    for (const MessageRow &m : sim_disk.messages)
        for (uint32_t i = 0; i < sim_disk.messages.count; i++)
            promise(m.nonce.empty() || sim_disk.messages[i].id == m.id || sim_disk.messages[i].sender != m.sender || sim_disk.messages[i].nonce != m.nonce, "a nonce made two messages");
}

// --- what clients hold

static std::string_view name_of(int64_t id) {
    const SimUser *u = sim_user(sim_disk, id);
    return u ? u->row.name : std::string_view{};
}

static uint64_t print_row(const MessageRow &m) {
    uint64_t print = print_message(m.room, name_of(m.sender), m.text, m.nonce, m.time, m.edited, m.deleted, m.reply);
    for (uint32_t i = 0; i < m.mentions_count; i++) print = print_more(print, name_of(m.mentions[i]));
    return print;
}


static void check_messages(const Client *c, int64_t user) {
    for (const MessageRow &m : sim_disk.messages) {
        const Known &k = c->rooms[m.room];
        const Held &held = c->held[m.id];
        bool is_mine = sim_member(sim_disk, m.room, user) != nullptr;
        own(is_mine || !held.rev, "it holds message %lld of a room that is not its own", (long long)m.id);
        if (!is_mine) continue;
        own(held.rev || m.id < k.low, "it lacks message %lld of room %lld, which it has from %lld on", (long long)m.id, (long long)m.room, (long long)k.low);
        if (!held.rev) continue;
        own(held.rev == m.rev, "it holds message %lld at rev %lld, now %lld", (long long)m.id, (long long)held.rev, (long long)m.rev);
        own(held.print == print_row(m), "it holds another message %lld than is on the disk", (long long)m.id);
    }
}

static void check_rooms(const Client *c, int64_t user) {
    for (int64_t id = 1; id < rooms_max; id++) {
        const Known &k = c->rooms[id];
        const SimRoom *r = sim_room(sim_disk, id);
        const MemberRow *m = r ? sim_member(sim_disk, id, user) : nullptr;
        own(!k.is_there || r, "it has a room %lld that does not exist", (long long)id);
        own((k.is_there && k.joined) == (m != nullptr), "room %lld: it %s, and %s in it", (long long)id, k.joined ? "has it" : "lacks it", m ? "is" : "is not");
        if (!r) continue;
        own(!k.is_there || m || !r->row.is_private, "it has private room %lld", (long long)id);
        bool must = m || (!r->row.is_private && r->row.rev > c->base && r->row.rev > k.dropped);
        own(!must || k.is_there, "it never heard of room %lld (rev %lld)", (long long)id, (long long)r->row.rev);
        if (!k.is_there) continue;
        own(k.print == print_room(r->row.name, r->row.topic, r->row.is_private, r->row.archived, name_of(r->row.owner)), "room %lld (rev %lld) looks another way: it has rev %lld",
            (long long)id, (long long)r->row.rev, (long long)k.rev);
        if (!m) continue;
        own(!k.wants_history && k.low < ids_max, "it never got the history of room %lld", (long long)id);
        const Room *room = model_room(&hub.model, id);
        uint32_t ever = 0; // in a room that may have been large, marks were for the authors
        for (const MemberRow &row : sim_disk.members) ever += row.room == id;
        bool was_large = ever > seen_detail_members_max;
        for (uint32_t i = 0; i < room->members_count; i++) {
            const Member *other = room->members[i];
            int64_t mark = k.marks[person_of(other->user->name)];
            // What the others were told is known; a mark that came with joining need not be. One's own may be ahead of a server that crashed.
            bool was_told = other->seen_stamp != 0 && (!was_large || other->user->id == user);
            own(mark >= other->seen || !was_told, "in room %lld it has mark %lld of %s, which is %lld", (long long)id, (long long)mark, other->user->name, (long long)other->seen);
            own(mark <= other->seen || stats.crashes || server_reopens || other->seen_stamp == 0, "in room %lld it has mark %lld of %s, which is only %lld", (long long)id, (long long)mark, other->user->name,
                (long long)other->seen);
        }
    }
}

static void check_people(const Client *c) {
    static const char *const roles[] = {"user", "moderator", "admin"};
    for (const SimUser &u : sim_disk.users) {
        int person = person_of(u.row.name);
        own(u.row.rev <= c->base || c->user_rev[person] == u.row.rev, "it has %s at rev %lld, now %lld", people[person].name, (long long)c->user_rev[person], (long long)u.row.rev);
        uint64_t print = print_user(u.row.display_name.empty() ? u.row.name : u.row.display_name, u.row.status, roles[(int)u.row.role], u.row.deleted);
        own(!c->user_rev[person] || c->user_print[person] == print, "%s looks another way", people[person].name);
        bool online = false;
        for (uint32_t i = 0; i < clients_count; i++) online |= clients[i]->person == (uint32_t)person && clients[i]->wire;
        own(c->online[person] == online || !c->knows_online, "it has %s %s", people[person].name, online ? "offline, and it is online" : "online, and it is offline");
    }
}

static void check_nonces() {
    for (const Sent &s : sim_sent) {
        int64_t sender = 0;
        for (const SimUser &u : sim_disk.users)
            if (u.row.name == people[s.person].name) sender = u.row.id;
        uint32_t found = 0;
        for (const MessageRow &m : sim_disk.messages) {
            if (m.sender != sender || m.nonce != s.nonce) continue;
            found++;
            promise(!s.acked || m.id == s.acked, "nonce %s was acknowledged as %lld and is %lld", s.nonce, (long long)s.acked, (long long)m.id);
            promise(m.room == s.room && (m.edited || m.deleted || m.text == s.text), "nonce %s is another message than was sent", s.nonce);
        }
        promise(found <= 1, "nonce %s made %u messages", s.nonce, found);
        promise(found || !s.acked, "message %lld (%s) was acknowledged and is not on the disk", (long long)s.acked, s.nonce);
    }
}

void check_quiet() {
    check_memory(false);
    check_nonces();
    for (const SimUser &u : sim_disk.users) {
        const User *user = model_user(&hub.model, u.row.id);
        uint32_t sockets = 0;
        for (uint32_t i = 0; i < clients_count; i++) sockets += clients[i]->wire && u.row.name == people[clients[i]->person].name;
        promise(user->sockets == sockets && user->online == (sockets > 0), "%s has %u sockets, the server says %u", user->name, sockets, user->sockets);
    }
    for (uint32_t i = 0; i < clients_count; i++) {
        const Client *c = clients[i];
        if (c->stage == Stage::off) continue;
        own(c->stage == Stage::ready, "it is not ready");
        own(c->out.count == 0, "%u messages were never answered", c->out.count);
        own(c->position <= sim_disk.rev, "it stands at %lld, the log at %lld", (long long)c->position, (long long)sim_disk.rev);
        int64_t user = 0;
        for (const SimUser &u : sim_disk.users)
            if (u.row.name == people[c->person].name) user = u.row.id;
        check_rooms(c, user);
        check_messages(c, user);
        check_people(c);
    }
}

void check_probe(const Client *c) {
    const User *user = model_user_by_name(&hub.model, people[c->person].name);
    for (const Member *m = user->members; m; m = m->next_of_user) {
        const Known &k = c->rooms[m->room->id];
        uint32_t unread = 0, mentions = 0;
        for (const MessageRow &row : sim_disk.messages) {
            if (row.room != m->room->id || row.id <= m->seen || row.sender == user->id || row.deleted) continue;
            unread++;
            for (uint32_t i = 0; i < row.mentions_count; i++) mentions += row.mentions[i] == user->id;
        }
        if (unread > unread_max) unread = unread_max;
        if (mentions > unread_max) mentions = unread_max; // each is counted that far
        own(k.unread == unread && k.mentions == mentions, "room %lld: %u unread, %u mentions; welcome says %u and %u", (long long)m->room->id, unread, mentions, k.unread, k.mentions);
        own(k.marks[c->person] == m->seen, "room %lld: seen up to %lld, welcome says %lld", (long long)m->room->id, (long long)m->seen, (long long)k.marks[c->person]);
        bool is_small = m->room->members_count <= seen_detail_members_max;
        for (uint32_t i = 0; is_small && i < m->room->members_count; i++) {
            const Member *other = m->room->members[i];
            own(k.marks[person_of(other->user->name)] == other->seen, "room %lld: seen_by of %s", (long long)m->room->id, other->user->name);
        }
    }
}
