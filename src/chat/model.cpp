// Model: tables of people, rooms, memberships and sessions. See model.h; no rule of the chat is in here.
#include "chat/model.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/unicode.h"

#include <stdlib.h>
#include <string.h>

static uint64_t member_key(int64_t room, int64_t user) { return static_cast<uint64_t>(room) << 32 | static_cast<uint32_t>(user); }

static uint64_t token_key(const unsigned char hash[hash_bytes]) {
    uint64_t key;
    memcpy(&key, hash, sizeof key);
    return key;
}

static void replace_text(char **at, std::string_view text) {
    if (*at && text == *at) return;
    free(*at);
    *at = mem_copy(text);
}

User *model_user(const Model *m, int64_t id) { return static_cast<User *>(idmap_get(m->users_by_id, static_cast<uint64_t>(id))); }
Room *model_room(const Model *m, int64_t id) { return static_cast<Room *>(idmap_get(m->rooms_by_id, static_cast<uint64_t>(id))); }

// A keyed 64-bit hash cannot be made to collide from outside; still the key found is compared, so that a collision is "unknown", never somebody else.
User *model_user_by_name(const Model *m, std::string_view name) {
    ScopedBuf key;
    if (!unicode_fold_key(name, key)) return nullptr;
    auto *user = static_cast<User *>(idmap_get(m->users_by_name, keyed_hash(buf_view(key))));
    return user && buf_view(key) == user->key ? user : nullptr;
}

Member *model_member(const Model *m, int64_t room, int64_t user) {
    return static_cast<Member *>(idmap_get(m->members, member_key(room, user)));
}

// A time of 0 was taken while the clock was not set: nothing expires by it.
static bool passed(int64_t since, int64_t ms_max) { return since && clock_is_set() && clock_wall_ms() - since > ms_max; }

bool session_is_too_old(const Session *session, const SessionLife &life) { return passed(session->created, life.age_ms_max); }
bool session_is_over(const Session *session, const SessionLife &life) { return passed(session->last_used, life.unused_ms_max) || session_is_too_old(session, life); }

Session *model_session(const Model *m, std::string_view token, const SessionLife &life) {
    if (!uuid_valid(token)) return nullptr;
    unsigned char hash[hash_bytes];
    token_hash(token, hash);
    auto *session = static_cast<Session *>(idmap_get(m->sessions_by_token, token_key(hash)));
    if (!session || !equal_constant_time(session->token_hash, hash, hash_bytes)) return nullptr;
    return session_is_over(session, life) ? nullptr : session;
}

Session *model_session_of(const User *user, int64_t id) {
    for (Session *s = user->sessions; s; s = s->next_of_user)
        if (s->id == id) return s;
    return nullptr;
}

User *model_put_user(Model *m, const UserRow &row, std::string_view name_key) {
    User *u = model_user(m, row.id);
    if (!u) {
        u = static_cast<User *>(mem_zero(sizeof *u));
        u->id = row.id;
        u->name = mem_copy(row.name);
        u->key = mem_copy(name_key);
        idmap_put(m->users_by_id, static_cast<uint64_t>(row.id), u);
        idmap_put(m->users_by_name, keyed_hash(name_key), u);
        u->deleted = true; // so that the counts below see it come
    }
    bool was_admin = !u->deleted && u->role == Role::admin;
    if (u->deleted != row.deleted) m->users_count += row.deleted ? -1 : 1;
    u->rev = row.rev;
    u->created = row.created;
    u->role = row.role;
    u->warnings = row.warnings;
    u->blocked = row.blocked;
    u->deleted = row.deleted;
    ScopedBuf shown_key;
    (void)unicode_fold_key(row.display_name, shown_key); // one that cannot be folded is not found by searching
    replace_text(&u->display_name, row.display_name);
    replace_text(&u->shown_key, buf_view(shown_key));
    replace_text(&u->status, row.status);
    bool is_admin = !u->deleted && u->role == Role::admin;
    if (was_admin != is_admin) m->admins_count += is_admin ? 1 : -1;
    return u;
}

Room *model_put_room(Model *m, const RoomRow &row) {
    Room *r = model_room(m, row.id);
    if (!r) {
        r = static_cast<Room *>(mem_zero(sizeof *r));
        r->id = row.id;
        idmap_put(m->rooms_by_id, static_cast<uint64_t>(row.id), r);
    }
    r->rev = row.rev;
    r->kind = row.kind;
    r->is_private = row.is_private;
    r->archived = row.archived;
    r->owner = row.owner ? model_user(m, row.owner) : nullptr;
    if (row.last > r->last) r->last = row.last;
    replace_text(&r->name, row.name);
    replace_text(&r->topic, row.topic);
    return r;
}

Member *model_put_member(Model *m, const MemberRow &row) {
    Member *member = model_member(m, row.room, row.user);
    if (!member) {
        Room *room = model_room(m, row.room);
        User *user = model_user(m, row.user);
        CB_ASSERT(room && user);
        member = static_cast<Member *>(mem_zero(sizeof *member));
        member->room = room;
        member->user = user;
        member->next_of_user = user->members;
        user->members = member;
        if (room->members_count == room->members_capacity) {
            room->members_capacity = room->members_capacity ? room->members_capacity * 2 : 4;
            room->members = static_cast<Member **>(mem_grow(room->members, room->members_capacity * sizeof *room->members));
        }
        member->index = room->members_count;
        room->members[room->members_count++] = member;
        idmap_put(m->members, member_key(row.room, row.user), member);
    }
    member->rev = row.rev;
    if (row.seen > member->seen) member->seen = row.seen;
    member->seen_told = member->seen;
    return member;
}

void model_drop_member(Model *m, Member *member) {
    Room *room = member->room;
    Member *moved = room->members[--room->members_count];
    room->members[member->index] = moved;
    moved->index = member->index;
    Member **at = &member->user->members;
    while (*at != member) at = &(*at)->next_of_user;
    *at = member->next_of_user;
    idmap_remove(m->members, member_key(room->id, member->user->id));
    free(member);
}

Session *model_put_session(Model *m, const SessionRow &row) {
    User *user = model_user(m, row.user);
    if (!user) return nullptr;
    auto *s = static_cast<Session *>(mem_zero(sizeof(Session)));
    s->id = row.id;
    s->user = user;
    memcpy(s->token_hash, row.token_hash, hash_bytes);
    s->created = row.created;
    s->last_used = row.last_used;
    s->next_of_user = user->sessions;
    user->sessions = s;
    idmap_put(m->sessions_by_token, token_key(s->token_hash), s);
    return s;
}

void model_drop_session(Model *m, Session *session) {
    Session **at = &session->user->sessions;
    while (*at != session) at = &(*at)->next_of_user;
    *at = session->next_of_user;
    idmap_remove(m->sessions_by_token, token_key(session->token_hash));
    free(session);
}

bool model_move_mark(Member *member, int64_t id) {
    if (id <= member->seen) return false;
    member->seen = id;
    member->seen_dirty = true;
    return true;
}

void model_free(Model *m) {
    IdMapEntry e;
    for (uint32_t i = 0; idmap_next(m->sessions_by_token, &i, &e);) free(e.value);
    for (uint32_t i = 0; idmap_next(m->members, &i, &e);) free(e.value);
    for (uint32_t i = 0; idmap_next(m->rooms_by_id, &i, &e);) {
        auto *room = static_cast<Room *>(e.value);
        free(room->name);
        free(room->topic);
        free(room->members);
        free(room);
    }
    for (uint32_t i = 0; idmap_next(m->users_by_id, &i, &e);) {
        auto *user = static_cast<User *>(e.value);
        free(user->name);
        free(user->key);
        free(user->display_name);
        free(user->shown_key);
        free(user->status);
        free(user);
    }
    for (IdMap *map : {&m->users_by_id, &m->users_by_name, &m->rooms_by_id, &m->members, &m->sessions_by_token}) idmap_free(*map);
    *m = {};
}
