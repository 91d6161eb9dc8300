// The books, and what they say must hold after each step. See sim_ledger.h. A breach names its promise: order, gap, twice, stored, room.
#include "sim_ledger.h"

#include "sim.h"
#include "sim_client.h"
#include "sim_server.h"

#include "base/limits.h"
#include "net/conn_internal.h"
#include "web/socket_internal.h"

#include <stdlib.h>
#include <string.h>

// --- the log: what each rev was given to, from the moment in which it is on the disk

struct Said {
    ChangeKind kind;
    int64_t id, room;  // of a member: the user and the room
};
static Said said[ids_max];         // id 0: nothing
static Said *said_at(int64_t rev) { return rev > 0 && rev < ids_max ? &said[rev] : nullptr; }

static void note_message(const MessageRow &m) {
    if (Said *s = said_at(m.rev)) *s = {ChangeKind::message, m.id, m.room};
}
static void note_user(const UserRow &u) {
    if (Said *s = said_at(u.rev)) *s = {ChangeKind::user, u.id, 0};
}
static void note_room(const RoomRow &r) {
    if (Said *s = said_at(r.rev)) *s = {ChangeKind::room, r.id, r.id};
}
static void note_member(const MemberRow &m) {
    if (Said *s = said_at(m.rev)) *s = {ChangeKind::member, m.user, m.room};
}

static void committed(const Change &c) {
    promise(!said_at(c.rev) || !said_at(c.rev)->id, "order: rev %lld is given twice", (long long)c.rev);
    switch (c.kind) {
    case ChangeKind::message: return note_message(c.message);
    case ChangeKind::user: return note_user(c.user);
    case ChangeKind::room: return note_room(c.room);
    case ChangeKind::member: return note_member(c.member);
    }
}

static uint32_t stored_looked; // messages on the disk whose nonces are in `stored`

void ledger_disk_replaced() {
    memset(static_cast<void *>(said), 0, sizeof said);
    for (const MessageRow &m : sim_disk.messages) note_message(m);
    for (const SimUser &u : sim_disk.users) note_user(u.row);
    for (const SimRoom &r : sim_disk.rooms) note_room(r.row);
    for (const MemberRow &m : sim_disk.members) note_member(m);
    stored_looked = 0;
}

// --- who is in which room, by what the server has been told: its own memory is not asked

struct Seat {
    int64_t rev;       // of joining or leaving; 0: never
    bool is_in;
    uint32_t came_step, went_step; // of the last joining and leaving that were told
};
static Seat seats[rooms_max][people_max + 1];
static int64_t told_rev;

static Seat seat_of(int64_t room, int64_t user) { return room > 0 && room < rooms_max && user > 0 && user <= people_max ? seats[room][user] : Seat{}; }

static void told(const Change &c) {
    promise(c.rev > told_rev, "order: rev %lld is told behind %lld", (long long)c.rev, (long long)told_rev);
    told_rev = c.rev;
    if (c.kind != ChangeKind::member) return;
    promise(c.member.room < rooms_max && c.member.user <= people_max, "more rooms or people than the simulation holds");
    Seat &seat = seats[c.member.room][c.member.user];
    seat.rev = c.rev;
    seat.is_in = !c.member.left;
    (seat.is_in ? seat.came_step : seat.went_step) = sim.step;
}

static void loaded() {
    memset(static_cast<void *>(seats), 0, sizeof seats);
    for (const MemberRow &m : sim_disk.members) seats[m.room][m.user] = {m.rev, !m.left, 0, 0};
    told_rev = sim_disk.rev;
}

bool ledger_is_member(int64_t room, int64_t user) { return seat_of(room, user).is_in; }
bool ledger_came_and_went(int64_t room, int64_t user) {
    Seat seat = seat_of(room, user);
    return !seat.is_in && seat.came_step == sim.step && seat.went_step == sim.step;
}
int64_t ledger_joined(int64_t room, int64_t user) { return seat_of(room, user).is_in ? seat_of(room, user).rev : 0; }

void ledger_start() {
    sim_watch = {.committed = committed, .told = told, .replaced = ledger_disk_replaced, .loaded = loaded};
    ledger_disk_replaced();
}

// --- a connection

#define begin_of(frame) (int)((frame).size() < 80 ? (frame).size() : 80), (frame).data()
#define own(c, holds, ...) ((holds) ? (void)0 : (trace("client %u (%s):", (c)->index, people[(c)->person].name), breach(__VA_ARGS__)))

void ledger_open(Ledger *l) {
    List<Answers> kept = l->messages;
    *l = {};
    l->messages = kept;
    l->messages.count = 0;
}

static int64_t number_behind(std::string_view frame, std::string_view key) {
    size_t at = frame.find(key);
    return at == frame.npos ? -1 : strtoll(frame.data() + at + key.size(), nullptr, 10);
}

static std::string_view text_behind(std::string_view frame, std::string_view key) {
    size_t at = frame.find(key);
    if (at == frame.npos) return {};
    std::string_view rest = frame.substr(at + key.size());
    return rest.substr(0, rest.find('"'));
}

static bool says(std::string_view frame, std::string_view what) { return frame.find(what) != frame.npos; }
static bool is_of(std::string_view frame, std::string_view type) {
    constexpr std::string_view begin = R"({"type":")";
    return frame.starts_with(begin) && frame.substr(begin.size()).starts_with(type) && frame[begin.size() + type.size()] == '"';
}

// Nonces are n1, n2, …: the places of sim_sent. Beyond it: none of them.
static uint32_t sent_of(std::string_view nonce) {
    uint32_t n = 0;
    for (size_t i = 1; i < nonce.size() && nonce[0] == 'n'; i++) n = n * 10 + (uint32_t)(nonce[i] - '0');
    return n - 1;
}

static Answers *answers_of(Ledger *l, std::string_view nonce) {
    uint32_t sent = sent_of(nonce);
    if (sent >= sim_sent.count) return nullptr;
    for (Answers &a : l->messages)
        if (a.sent == sent) return &a;
    return l->messages.add({sent, 0, 0});
}

// An edit or a deletion that changes nothing is answered with the message as it is, and so under its nonce.
void ledger_asks(Client *c, std::string_view request) {
    c->ledger.requests++;
    bool is_change = is_of(request, "edit") || is_of(request, "delete");
    const MessageRow *changed = is_change ? sim_message(sim_disk, number_behind(request, R"("id":)")) : nullptr;
    if (Answers *a = answers_of(&c->ledger, changed ? changed->nonce : text_behind(request, R"("nonce":")"))) a->asked++;
}

// What is for this connection alone answers one request, once.
static void answer(Client *c, std::string_view frame) {
    Ledger *l = &c->ledger;
    std::string_view nonce = text_behind(frame, R"("nonce":")");
    own(c, ++l->answers <= l->requests, "twice: %u requests have %u answers: %.*s", l->requests, l->answers, begin_of(frame));
    Answers *a = answers_of(l, nonce);
    if (!a) return;
    own(c, ++a->answered <= a->asked, "twice: %.*s was sent %u times and is answered %u times", (int)nonce.size(), nonce.data(), a->asked, a->answered);
}

static void hand_log(Client *c, int64_t rev, std::string_view frame) {
    Ledger *l = &c->ledger;
    own(c, l->is_welcomed, "order: before welcome comes %.*s", begin_of(frame));
    own(c, rev > 0 && rev < ids_max && said[rev].id, "stored: rev %lld is not on the disk: %.*s", (long long)rev, begin_of(frame));
    own(c, rev > l->position, "order: at %lld it is handed %.*s", (long long)l->position, begin_of(frame));
    l->position = rev;
    l->handed[rev / 64] |= uint64_t{1} << (rev % 64);
}

static void hand_message(Client *c, std::string_view frame) {
    int64_t id = number_behind(frame, R"("id":)"), rev = number_behind(frame, R"("rev":)"), room = number_behind(frame, R"("room":)");
    const MessageRow *row = sim_message(sim_disk, id);
    own(c, row && row->rev >= rev, "stored: message %lld at rev %lld is handed over and not on the disk", (long long)id, (long long)rev);
    own(c, row->room == room && row->nonce == text_behind(frame, R"("nonce":")"), "stored: message %lld is another one on the disk", (long long)id);
    const SimUser *sender = sim_user(sim_disk, row->sender);
    own(c, sender && sender->row.name == text_behind(frame, R"("sender":")"), "stored: message %lld has another sender on the disk", (long long)id);
    if (says(frame, R"("repeat":true)")) {
        own(c, row->deleted || sender->row.name == people[c->person].name, "room: a repeat for somebody else: %.*s", begin_of(frame));
        return answer(c, frame);
    }
    hand_log(c, rev, frame);
    own(c, said[rev].kind == ChangeKind::message && said[rev].id == id, "stored: rev %lld is not of message %lld", (long long)rev, (long long)id);
}

static void hand_room(Client *c, std::string_view frame, int64_t user) {
    int64_t rev = number_behind(frame, R"("rev":)"), room = number_behind(frame, R"("room":{"id":)");
    hand_log(c, rev, frame);
    const Said &s = said[rev];
    bool is_own = s.kind == ChangeKind::member && s.id == user, is_told_joined = says(frame, R"("joined":true)") || says(frame, R"("left":true)");
    own(c, s.room == room && (is_own || (s.kind == ChangeKind::room && !is_told_joined)), "stored: rev %lld is not this: %.*s", (long long)rev, begin_of(frame));
}

// A page has no holes: of what is on the disk between its ends, or down to the beginning when there is no more, it lacks nothing. A snapshot's reaches up to its rev, and leaves out what has
// changed since.
static void hand_history(Client *c, std::string_view frame) {
    Ledger *l = &c->ledger;
    int64_t room = number_behind(frame, R"("room":)"), last = 0;
    bool is_snapshot = !says(frame, R"("ref":")"), has_more = says(frame, R"("more":true)");
    static List<int64_t> ids;
    ids.count = 0;
    for (size_t at = frame.find(R"({"id":)"); at != frame.npos; at = frame.find(R"({"id":)", at + 1)) {
        int64_t id = number_behind(frame.substr(at), R"({"id":)");
        own(c, id > last && sim_message(sim_disk, id), "order: message %lld behind %lld in a page", (long long)id, (long long)last);
        ids.add(last = id);
    }
    int64_t first = has_more ? (ids.count ? ids[0] : ids_max) : 0;
    if (is_snapshot) {
        own(c, l->is_welcomed && !l->is_ready && room > 0 && room < rooms_max && !l->page_given[room], "twice: a page of room %lld that is not due", (long long)room);
        l->page_given[room] = true;
        last = l->base;
    }
    uint32_t k = 0;
    for (const MessageRow &m : sim_disk.messages) {
        if (m.room != room || m.id < first || m.id > last || (is_snapshot && m.rev > l->base)) continue;
        while (k < ids.count && ids[k] < m.id) k++;
        own(c, k < ids.count && ids[k] == m.id, "gap: a page of room %lld lacks message %lld", (long long)room, (long long)m.id);
    }
}

static void hand_welcome(Client *c, std::string_view frame) {
    Ledger *l = &c->ledger;
    own(c, !l->is_welcomed, "twice: a second welcome");
    l->is_welcomed = true;
    bool is_resumed = says(frame, R"("resumed":true)");
    l->base = l->position = l->settled = is_resumed ? c->position : number_behind(frame, R"("rev":)");
    if (is_resumed) return;
    // The liveliest rooms come with their newest page; of two that are equally lively either.
    struct Lively {
        int64_t id, last;
    } rooms[rooms_max];
    uint32_t count = 0;
    size_t at = frame.find(R"("rooms":[)");
    for (at = frame.find(R"({"id":)", at); at != frame.npos && count < rooms_max; at = frame.find(R"({"id":)", at + 1))
        rooms[count++] = {number_behind(frame.substr(at), R"("id":)"), number_behind(frame.substr(at), R"("last":)")};
    for (uint32_t i = 0; i < count; i++) {
        uint32_t as_lively = 0;
        for (uint32_t k = 0; k < count; k++) as_lively += rooms[k].last >= rooms[i].last;
        l->page_due[rooms[i].id] = as_lively <= welcome_rooms_max;
    }
}

static void hand_ready(Client *c, std::string_view frame, int64_t user) {
    Ledger *l = &c->ledger;
    int64_t rev = number_behind(frame, R"("rev":)");
    own(c, l->is_welcomed && rev >= l->position, "order: ready at %lld behind %lld", (long long)rev, (long long)l->position);
    l->position = rev;
    for (int64_t room = 1; !l->is_ready && room < rooms_max; room++) {
        int64_t joined = ledger_joined(room, user);
        own(c, l->page_given[room] || !l->page_due[room] || !joined || joined > l->base, "gap: ready, and no page of room %lld", (long long)room);
    }
    l->is_ready = true;
}

void ledger_hand(Client *c, std::string_view frame) {
    const User *user = model_user_by_name(&hub.model, people[c->person].name);
    if (is_of(frame, "message")) return hand_message(c, frame);
    if (is_of(frame, "room")) return hand_room(c, frame, user->id);
    if (is_of(frame, "user")) return hand_log(c, number_behind(frame, R"("rev":)"), frame);
    if (is_of(frame, "history")) return hand_history(c, frame);
    if (is_of(frame, "welcome")) return hand_welcome(c, frame);
    if (is_of(frame, "ready")) return hand_ready(c, frame, user->id);
    if (is_of(frame, "error") || is_of(frame, "warning") || is_of(frame, "pong")) return answer(c, frame);
}

// --- after each step

// Is what the log says at `rev` owed to this user? As it is now: what has changed since comes with its new rev, and what was said before one joined does not come.
static bool is_owed(int64_t rev, int64_t user) {
    const Said &s = said[rev];
    Seat seat = seat_of(s.room, user);
    bool was_in = seat.is_in && seat.rev < rev;
    switch (s.kind) {
    case ChangeKind::message: return was_in && sim_message(sim_disk, s.id)->rev == rev;
    case ChangeKind::user: return s.id && sim_user(sim_disk, s.id)->row.rev == rev;
    case ChangeKind::room: {
        const RoomRow &room = sim_room(sim_disk, s.id)->row;
        return room.rev == rev && (was_in || (!room.is_private && !seat.is_in && seat.rev < rev));
    }
    case ChangeKind::member: return s.id == user && seat.rev == rev;
    }
    return false;
}

static const char *name_of_kind(ChangeKind kind) {
    static const char *const names[] = {"message", "user", "room", "membership"};
    return names[(int)kind];
}

static void check_gap(Client *c, const Reader *r) {
    Ledger *l = &c->ledger;
    own(c, l->position <= r->position, "order: it was told of %lld, and the server has it at %lld", (long long)l->position, (long long)r->position);
    own(c, r->position <= told_rev, "order: the server has it at %lld, the log is at %lld", (long long)r->position, (long long)told_rev);
    for (; l->settled < r->position; l->settled++) {
        int64_t rev = l->settled + 1;
        bool was_handed = l->handed[rev / 64] >> (rev % 64) & 1;
        own(c, was_handed || !said[rev].id || !is_owed(rev, r->user->id), "gap: it is at %lld and never was handed %s %lld of room %lld, rev %lld", (long long)r->position,
            name_of_kind(said[rev].kind), (long long)said[rev].id, (long long)said[rev].room, (long long)rev);
    }
}

static void check_connections() {
    for (uint32_t i = 0; i < net.slots_used; i++) {
        const Conn *conn = net.slots[i];
        if (!conn || conn->state != ConnState::socket || conn->broken) continue; // who is about to be ended is not told everything
        const Wire *w = wire_of(&conn->stream);
        auto *c = w ? static_cast<Client *>(w->client) : nullptr;
        const Socket *s = socket_of(conn->id);
        if (c && s && c->ledger.is_welcomed) check_gap(c, &s->reader);
    }
}

// Acknowledged implies stored, and nothing is stored twice. What was stored stays, so only what is new is looked at, until the disk becomes another one.
static void check_stored() {
    static List<int64_t> stored; // by place in sim_sent
    if (!stored_looked) stored.count = 0;
    while (stored.count < sim_sent.count) stored.add(0);
    for (; stored_looked < sim_disk.messages.count; stored_looked++) {
        const MessageRow &m = sim_disk.messages[stored_looked];
        if (m.nonce.empty()) continue;
        uint32_t sent = sent_of(m.nonce);
        promise(sent < sim_sent.count && m.room == sim_sent[sent].room, "stored: message %lld was never sent", (long long)m.id);
        promise(!stored[sent], "twice: nonce n%u made the messages %lld and %lld", sent + 1, (long long)stored[sent], (long long)m.id);
        stored[sent] = m.id;
    }
    for (uint32_t i = 0; i < sim_sent.count; i++)
        promise(!sim_sent[i].acked || sim_sent[i].acked == stored[i], "stored: %s was acknowledged as message %lld, and on the disk is %lld", sim_sent[i].nonce, (long long)sim_sent[i].acked,
                (long long)stored[i]);
}

// The server's memory of who is in which room is what it was told.
static void check_seats() {
    promise(hub_rev(&hub) == told_rev, "order: the hub is at %lld, and was told of %lld", (long long)hub_rev(&hub), (long long)told_rev);
    uint32_t members = 0;
    for (const SimRoom &room : sim_disk.rooms)
        for (const SimUser &user : sim_disk.users) {
            bool is_in = ledger_is_member(room.row.id, user.row.id);
            members += is_in;
            promise(is_in == (model_member(&hub.model, room.row.id, user.row.id) != nullptr), "room: in memory %.*s %s in room %lld", (int)user.row.name.size(), user.row.name.data(),
                    is_in ? "is not" : "is", (long long)room.row.id);
        }
    promise(members == hub.model.members.count, "room: %u members in memory, told of %u", hub.model.members.count, members);
}

void ledger_step() {
    check_stored();
    if (!server_is_up) return;
    check_seats();
    check_connections();
}
