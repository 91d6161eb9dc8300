// The simulated store's writes and its life: queue, batches, faults, crash. See sim_store.h. Reads are sim_reads.cpp's part.
#ifdef SIM_TWIN
#include "twin.h"
#endif
#include "sim_state.h"

#include "base/limits.h"

#include <stdlib.h>
#include <string.h>

SimData sim_disk;
SimFaults sim_faults;
SimWatch sim_watch;

static Arena strings; // of the disk; never freed
static std::string_view keep(std::string_view text) { return text.empty() ? std::string_view{} : arena_copy(strings, text); }

static const int64_t *keep_ids(const int64_t *ids, uint32_t count) {
    if (!count) return nullptr;
    auto *copy = static_cast<int64_t *>(arena_alloc(strings, count * sizeof *ids));
    memcpy(copy, ids, count * sizeof *ids);
    return copy;
}

template <typename T>
static void list_copy(List<T> *to, const List<T> &from) {
    to->count = 0;
    for (const T &value : from) to->add(value);
}

void sim_disk_copy(SimData *to, const SimData &from) {
    list_copy(&to->users, from.users);
    list_copy(&to->rooms, from.rooms);
    list_copy(&to->members, from.members);
    list_copy(&to->messages, from.messages);
    list_copy(&to->sessions, from.sessions);
    list_copy(&to->invites, from.invites);
    to->rev = from.rev;
    to->last_session = from.last_session;
    memcpy(to->epoch, from.epoch, sizeof to->epoch);
}

void sim_disk_make() {
    sim_disk = {};
    sim_disk.rooms.add({.row = {.id = 1, .rev = 1, .kind = RoomKind::room, .name = "Lobby", .topic = {}, .is_private = false, .archived = false, .owner = 0, .last = 0},
                        .key = "lobby"});
    sim_disk.rev = 1;
}

// --- looking things up

const SimUser *sim_user(const SimData &d, int64_t id) { return id > 0 && id <= d.users.count ? &d.users[(uint32_t)id - 1] : nullptr; }
const SimRoom *sim_room(const SimData &d, int64_t id) { return id > 0 && id <= d.rooms.count ? &d.rooms[(uint32_t)id - 1] : nullptr; }

static MemberRow *membership(const SimData &d, int64_t room, int64_t user) {
    for (MemberRow &m : d.members)
        if (m.room == room && m.user == user) return &m;
    return nullptr;
}

const MemberRow *sim_member(const SimData &d, int64_t room, int64_t user) {
    const MemberRow *m = membership(d, room, user);
    return m && !m->left ? m : nullptr;
}

const MessageRow *sim_message(const SimData &d, int64_t id) {
    uint32_t low = 0, high = d.messages.count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (d.messages[middle].id < id) low = middle + 1;
        else high = middle;
    }
    return low < d.messages.count && d.messages[low].id == id ? &d.messages[low] : nullptr;
}

// --- one operation on a disk

struct Act {
    SimData &d;
    StoreWrite *w;
    List<Change> changes;

    SimUser *user(int64_t id) { return const_cast<SimUser *>(sim_user(d, id)); }
    SimUser *alive(int64_t id) { SimUser *u = user(id); return u && !u->row.deleted ? u : nullptr; }
    bool is_in(int64_t room, int64_t who) { return sim_member(d, room, who) != nullptr; }
    uint32_t joined(int64_t who) {
        uint32_t n = 0;
        for (const MemberRow &m : d.members) n += m.user == who && !m.left;
        return n;
    }
    void changed(const UserRow &row) { changes.add({.kind = ChangeKind::user, .rev = row.rev, .user = row}); w->user_row = row; }
    void changed(const RoomRow &row) { changes.add({.kind = ChangeKind::room, .rev = row.rev, .room = row}); }
    void changed(const MemberRow &row) { changes.add({.kind = ChangeKind::member, .rev = row.rev, .member = row}); }
    void changed(const MessageRow &row) { changes.add({.kind = ChangeKind::message, .rev = row.rev, .message = row}); }

    void join(int64_t room, int64_t who) {
        int64_t newest = 0;
        for (const MessageRow &m : d.messages)
            if (m.room == room) newest = m.id;
        MemberRow *m = membership(d, room, who);
        if (!m) m = d.members.add({.rev = 0, .room = room, .user = who, .seen = 0, .left = false});
        m->rev = ++d.rev;
        m->seen = newest;
        m->left = false;
        changed(*m);
    }
    void leave(MemberRow *m) {
        m->rev = ++d.rev;
        m->left = true;
        changed(*m);
    }
    void end_sessions(int64_t who, int64_t but) {
        uint32_t kept = 0;
        for (const SessionRow &s : d.sessions) {
            if (s.user != who || s.id == but) d.sessions[kept++] = s;
            else if (w->ended_sessions_count < 64) w->ended_sessions[w->ended_sessions_count++] = s.id;
        }
        d.sessions.count = kept;
    }
    void present(const MessageRow &row) { // nothing happened, it is so already
        w->is_repeat = true;
        w->changes = static_cast<Change *>(arena_alloc(w->arena, sizeof(Change)));
        w->changes[0] = {.kind = ChangeKind::message, .rev = row.rev, .message = row};
    }
};

static bool is_zero(const unsigned char *hash) {
    for (size_t i = 0; i < hash_bytes; i++)
        if (hash[i]) return false;
    return true;
}

static void admin_invites_void(Act &a) {
    uint32_t kept = 0;
    for (const SimInvite &i : a.d.invites)
        if (i.role != Role::admin) a.d.invites[kept++] = i;
    a.d.invites.count = kept;
}

static Err user_add(Act &a) {
    StoreWrite *w = a.w;
    Role role = w->role;
    int invite = -1;
    if (!is_zero(w->token_hash)) {
        for (uint32_t i = 0; i < a.d.invites.count; i++)
            if (memcmp(a.d.invites[i].token_hash, w->token_hash, hash_bytes) == 0) invite = (int)i;
        if (invite < 0) return Err::bad_invite;
        role = a.d.invites[(uint32_t)invite].role;
        for (const SimUser &u : a.d.users)
            if (role == Role::admin && u.row.role == Role::admin && !u.row.deleted) return Err::bad_invite;
    }
    for (const SimUser &u : a.d.users)
        if (u.key == w->key) return Err::name_taken;
    UserRow row = {.id = a.d.users.count + 1, .rev = ++a.d.rev, .name = keep(w->name), .display_name = {}, .status = {}, .role = role, .created = w->time,
                   .warnings = 0, .blocked = false, .deleted = false};
    a.d.users.add({.row = row, .key = keep(w->key), .password = keep(w->text)});
    w->user = row.id;
    a.changed(row);
    a.join(1, row.id);
    if (invite >= 0) a.d.invites[(uint32_t)invite] = a.d.invites[--a.d.invites.count];
    if (role == Role::admin) admin_invites_void(a);
    return Err::ok;
}

static Err user_profile(Act &a) {
    SimUser *u = a.alive(a.w->user);
    if (!u) return Err::not_found;
    if (a.w->by && u->row.blocked) return Err::blocked;
    u->row.rev = ++a.d.rev;
    if (a.w->has_display_name) u->row.display_name = keep(a.w->display_name);
    if (a.w->has_status) u->row.status = keep(a.w->status);
    a.changed(u->row);
    return Err::ok;
}

static Err user_password(Act &a) {
    SimUser *u = a.alive(a.w->user);
    if (!u) return Err::not_found;
    if (a.w->by && u->row.blocked) return Err::blocked;
    if (!a.w->key.empty() && a.w->key != u->password) return Err::not_found;
    u->password = keep(a.w->text);
    if (!a.w->renew_only) a.end_sessions(a.w->user, a.w->keep_session);
    return Err::ok;
}

static Err user_role(Act &a) {
    SimUser *u = a.alive(a.w->user);
    if (!u) return Err::not_found;
    u->row.rev = ++a.d.rev;
    u->row.role = a.w->role;
    if (a.w->role == Role::admin) admin_invites_void(a);
    a.changed(u->row);
    return Err::ok;
}

static Err user_block(Act &a) {
    SimUser *u = a.alive(a.w->user);
    if (!u) return Err::not_found;
    u->row.blocked = a.w->flag;
    if (!a.w->flag) u->row.warnings = 0;
    a.w->user_row = u->row;
    return Err::ok;
}

static Err user_delete(Act &a) {
    SimUser *u = a.alive(a.w->user);
    if (!u) return Err::not_found;
    for (;;) { // in the order in which they were joined
        MemberRow *first = nullptr;
        for (MemberRow &m : a.d.members)
            if (m.user == u->row.id && !m.left && (!first || m.rev < first->rev)) first = &m;
        if (!first) break;
        a.leave(first);
    }
    a.end_sessions(u->row.id, 0);
    u->row.rev = ++a.d.rev;
    u->row.deleted = true;
    u->row.display_name = u->row.status = u->password = {};
    u->row.role = Role::user;
    a.changed(u->row);
    return Err::ok;
}

static Err session_add(Act &a) {
    StoreWrite *w = a.w;
    SimUser *u = a.alive(w->user);
    if (!u) return Err::not_found;
    if (u->row.blocked) return Err::blocked;
    SessionRow row = {.id = ++a.d.last_session, .user = w->user, .token_hash = {}, .created = w->time, .last_used = w->time, .agent = keep(w->agent),
                      .address = keep(w->address)};
    memcpy(row.token_hash, w->token_hash, hash_bytes);
    a.d.sessions.add(row);
    w->session_id = row.id;
    for (;;) { // the longest unused go, but never the new one
        uint32_t count = 0, oldest = 0;
        for (uint32_t i = 0; i < a.d.sessions.count; i++) {
            const SessionRow &s = a.d.sessions[i];
            if (s.user != w->user || s.id == row.id) continue;
            const SessionRow &o = a.d.sessions[oldest];
            if (count++ == 0 || s.last_used < o.last_used || (s.last_used == o.last_used && s.id < o.id)) oldest = i;
        }
        if (!w->limit || count + 1 <= w->limit) return Err::ok;
        w->ended_sessions[w->ended_sessions_count++] = a.d.sessions[oldest].id;
        for (uint32_t i = oldest; i + 1 < a.d.sessions.count; i++) a.d.sessions[i] = a.d.sessions[i + 1];
        a.d.sessions.count--;
    }
}

static Err session_end(Act &a) {
    if (!a.w->session_id) {
        if (!a.alive(a.w->user)) return Err::not_found;
        a.end_sessions(a.w->user, 0);
        return Err::ok;
    }
    for (uint32_t i = 0; i < a.d.sessions.count; i++) {
        if (a.d.sessions[i].id != a.w->session_id || (a.w->user && a.d.sessions[i].user != a.w->user)) continue;
        for (; i + 1 < a.d.sessions.count; i++) a.d.sessions[i] = a.d.sessions[i + 1];
        a.d.sessions.count--;
        return Err::ok;
    }
    return Err::not_found;
}

static Err session_touch(Act &a) {
    for (SessionRow &s : a.d.sessions) {
        if (s.id != a.w->session_id || s.last_used >= a.w->time) continue;
        s.last_used = a.w->time;
        if (!s.created) s.created = a.w->time;
    }
    return Err::ok;
}

// --- rooms

// The one who asks: null for the system.
static Err asker(Act &a, Err stranger, SimUser **out) {
    *out = a.w->by ? a.user(a.w->by) : nullptr;
    if (!a.w->by) return Err::ok;
    if (!*out) return stranger;
    return (*out)->row.blocked || (*out)->row.deleted ? Err::blocked : Err::ok;
}

static SimRoom *visible(Act &a) {
    auto *r = const_cast<SimRoom *>(sim_room(a.d, a.w->room));
    if (!r || !a.w->by || a.is_in(r->row.id, a.w->by)) return r;
    return r->row.is_private || r->row.kind == RoomKind::direct ? nullptr : r;
}

static bool name_taken(Act &a, int64_t but) {
    for (const SimRoom &r : a.d.rooms)
        if (r.row.id != but && r.key == a.w->key) return true;
    return false;
}

static Err room_add(Act &a) {
    StoreWrite *w = a.w;
    SimUser *by;
    if (Err err = asker(a, Err::blocked, &by); err != Err::ok) return err;
    uint32_t owned = 0;
    for (const SimRoom &r : a.d.rooms) owned += r.row.owner == w->by;
    if (by && w->limit && owned >= w->limit) return Err::too_many;
    if (a.joined(w->by) >= rooms_joined_max) return Err::too_many;
    for (uint32_t i = 0; i < w->ids_count; i++)
        if (a.joined(w->ids[i]) >= rooms_joined_max) return Err::too_many;
    if (name_taken(a, 0)) return Err::name_taken;
    RoomRow row = {.id = a.d.rooms.count + 1, .rev = ++a.d.rev, .kind = RoomKind::room, .name = keep(w->name), .topic = keep(w->topic), .is_private = w->flag,
                   .archived = false, .owner = w->by, .last = 0};
    a.d.rooms.add({.row = row, .key = keep(w->key)});
    w->room = row.id;
    a.changed(row);
    if (by) a.join(row.id, w->by);
    for (uint32_t i = 0; i < w->ids_count; i++)
        if (a.alive(w->ids[i]) && !a.is_in(row.id, w->ids[i])) a.join(row.id, w->ids[i]);
    return Err::ok;
}

static Err room_change(Act &a) {
    StoreWrite *w = a.w;
    SimUser *by;
    if (Err err = asker(a, Err::blocked, &by); err != Err::ok) return err;
    SimRoom *r = visible(a);
    if (!r) return Err::not_found;
    if (r->row.kind == RoomKind::direct) return Err::forbidden;
    if (by && by->row.role != Role::admin && r->row.owner != w->by) return Err::forbidden;
    if (w->has_name && name_taken(a, r->row.id)) return Err::name_taken;
    r->row.rev = ++a.d.rev;
    if (w->has_name) r->row.name = keep(w->name), r->key = keep(w->key);
    if (w->has_topic) r->row.topic = keep(w->topic);
    if (w->has_archived) r->row.archived = w->archived;
    a.changed(r->row);
    return Err::ok;
}

static Err member_add(Act &a) {
    StoreWrite *w = a.w;
    SimUser *by;
    if (Err err = asker(a, Err::blocked, &by); err != Err::ok) return err;
    SimRoom *r = visible(a);
    if (!r || !a.alive(w->user)) return Err::not_found;
    if (by && w->by != w->user && !a.is_in(w->room, w->by)) return Err::not_member;
    if (a.is_in(w->room, w->user)) return Err::ok;
    if (r->row.kind == RoomKind::direct) return Err::forbidden;
    if (r->row.archived) return Err::archived;
    if (a.joined(w->user) >= rooms_joined_max) return Err::too_many;
    a.join(w->room, w->user);
    return Err::ok;
}

static Err member_remove(Act &a) {
    StoreWrite *w = a.w;
    SimUser *by;
    if (Err err = asker(a, Err::not_found, &by); err != Err::ok) return err;
    SimRoom *r = visible(a);
    if (!r) return Err::not_found;
    if (r->row.kind == RoomKind::direct || w->room == 1) return Err::forbidden;
    if (by && w->by != w->user && by->row.role != Role::admin && r->row.owner != w->by) return Err::forbidden;
    if (!a.is_in(w->room, w->user)) return w->by == w->user ? Err::not_member : Err::not_found;
    a.leave(membership(a.d, w->room, w->user));
    return Err::ok;
}

// --- messages

static const MessageRow *said_before(Act &a, int64_t sender) {
    const MessageRow *known = nullptr;
    if (!a.w->nonce.empty())
        for (const MessageRow &m : a.d.messages)
            if (m.sender == sender && m.nonce == a.w->nonce) known = &m;
    return known;
}

static Err against_post(Act &a) {
    const SimRoom *r = sim_room(a.d, a.w->room);
    if (!r || !a.is_in(a.w->room, a.w->by)) return Err::not_member;
    if (r->row.archived) return Err::archived;
    const MessageRow *reply = a.w->reply ? sim_message(a.d, a.w->reply) : nullptr;
    return a.w->reply && (!reply || reply->room != a.w->room) ? Err::not_found : Err::ok;
}

static Err message_post(Act &a) {
    StoreWrite *w = a.w;
    SimUser *by = a.alive(w->by);
    if (!by || by->row.blocked) return Err::blocked;
    const MessageRow *known = said_before(a, w->by);
    Err err = against_post(a);
    if (err != Err::ok && (!known || !a.is_in(known->room, w->by))) return err;
    if (known && !a.is_in(known->room, w->by)) return Err::not_found; // of another room, which was left
    if (known) {
        a.present(*known);
        return Err::ok;
    }
    int64_t rev = ++a.d.rev;
    MessageRow row = {.id = rev, .rev = rev, .room = w->room, .sender = w->by, .time = w->time, .edited = 0, .deleted = 0, .reply = w->reply, .text = keep(w->text),
                      .nonce = keep(w->nonce), .mentions = keep_ids(w->ids, w->ids_count), .mentions_count = w->ids_count};
    a.d.messages.add(row);
    a.changed(row);
    return Err::ok;
}

static Err message_of(Act &a, SimUser **by, MessageRow **m, const SimRoom **r) {
    *m = const_cast<MessageRow *>(sim_message(a.d, a.w->message));
    if (!*m) return Err::not_found;
    *r = sim_room(a.d, (*m)->room);
    *by = a.w->by ? a.alive(a.w->by) : nullptr;
    if (!a.w->by) return Err::ok;
    if (!*by || (*by)->row.blocked) return Err::blocked;
    return a.is_in((*m)->room, a.w->by) ? Err::ok : Err::not_found;
}

static Err message_edit(Act &a) {
    StoreWrite *w = a.w;
    SimUser *by;
    MessageRow *m;
    const SimRoom *r;
    if (Err err = message_of(a, &by, &m, &r); err != Err::ok) return err;
    if (m->deleted) return Err::not_found;
    if (m->sender != w->by) return Err::forbidden;
    if (r->row.archived) return Err::archived;
    if (m->text == w->text) {
        a.present(*m);
        return Err::ok;
    }
    auto *ids = static_cast<int64_t *>(arena_alloc(strings, (w->ids_count + 1) * sizeof(int64_t)));
    uint32_t count = 0;
    for (uint32_t i = 0; i < w->ids_count; i++)
        if (a.is_in(m->room, w->ids[i])) ids[count++] = w->ids[i];
    m->rev = ++a.d.rev;
    m->edited = w->time > 0 ? w->time : 1;
    m->text = keep(w->text);
    m->mentions = ids;
    m->mentions_count = count;
    a.changed(*m);
    return Err::ok;
}

static Err message_delete(Act &a) {
    StoreWrite *w = a.w;
    SimUser *by;
    MessageRow *m;
    const SimRoom *r;
    if (Err err = message_of(a, &by, &m, &r); err != Err::ok) return err;
    bool may = !by || m->sender == w->by || r->row.owner == w->by || by->row.role != Role::user;
    if (!may) return Err::forbidden;
    if (m->deleted) {
        a.present(*m);
        return Err::ok;
    }
    if (by && r->row.archived) return Err::archived;
    m->rev = ++a.d.rev;
    m->deleted = w->time > 0 ? w->time : 1;
    m->edited = 0;
    m->text = {};
    m->mentions = nullptr;
    m->mentions_count = 0;
    a.changed(*m);
    return Err::ok;
}

static Err message_refuse(Act &a) {
    StoreWrite *w = a.w;
    SimUser *u = a.alive(w->user);
    if (!u) return Err::not_found;
    w->user_row = u->row;
    if (u->row.blocked) return Err::blocked;
    if (const MessageRow *known = said_before(a, w->user); known && a.is_in(known->room, w->user)) {
        a.present(*known);
        return Err::ok;
    }
    if (w->verdict != Err::stop_word) return w->verdict;
    if (w->flag) return Err::ok;
    u->row.warnings++;
    if (w->limit && u->row.warnings >= w->limit) u->row.blocked = true;
    w->user_row = u->row;
    return Err::ok;
}

static Err marks(Act &a) {
    for (uint32_t i = 0; i < a.w->marks_count; i++) {
        const Mark &mark = a.w->marks[i];
        MemberRow *m = membership(a.d, mark.room, mark.user);
        if (m && !m->left && m->seen < mark.id) m->seen = mark.id;
    }
    return Err::ok;
}

static Err invite_set(Act &a) {
    admin_invites_void(a);
    if (is_zero(a.w->token_hash)) return Err::ok;
    SimInvite invite = {.token_hash = {}, .role = Role::admin};
    memcpy(invite.token_hash, a.w->token_hash, hash_bytes);
    a.d.invites.add(invite);
    return Err::ok;
}

static Err (*const operations[])(Act &a) = {user_add,    user_profile,  user_password, user_role,  user_block,  user_delete,   session_add,  session_end,  session_touch, room_add,
                                            room_change, member_add,    member_remove, message_post, message_edit, message_delete, message_refuse, marks, invite_set};
static_assert(sizeof operations / sizeof *operations == (size_t)WriteKind::invite_set + 1);

static List<Change> gathered;

void sim_operate(SimData &d, StoreWrite *w) {
    gathered.count = 0;
    Act a = {d, w, gathered};
    w->changes_count = w->ended_sessions_count = 0;
    w->ended_sessions = static_cast<int64_t *>(arena_alloc(w->arena, ended_sessions_max * sizeof(int64_t)));
    w->is_repeat = false;
    w->err = operations[(int)w->kind](a);
    gathered = a.changes;
    if (!gathered.count) return;
    w->changes = static_cast<Change *>(arena_alloc(w->arena, gathered.count * sizeof(Change)));
    memcpy(static_cast<void *>(w->changes), gathered.at, gathered.count * sizeof(Change));
    w->changes_count = gathered.count;
}
