// Operations on rooms, memberships and read marks: see ops.h.
// A private room that somebody is not in does not exist for them, whoever they are; the system (by = 0) sees all.
#include "base/limits.h"
#include "store/ops.h"

// The user who asks. The system (0) may do everything.
struct Asker {
    bool is_system, exists, blocked, is_admin;
};

static Asker asker_get(Tx &tx, StoreWrite *w) {
    if (w->by == 0) return {.is_system = true, .exists = true, .blocked = false, .is_admin = true};
    UserRow row;
    if (!user_get(tx, w->arena, w->by, &row)) return {};
    return {.is_system = false, .exists = true, .blocked = row.blocked || row.deleted, .is_admin = row.role == Role::admin};
}

// A room as the one who asks sees it: not at all, when it is private and they are not in it.
static bool room_visible(Tx &tx, StoreWrite *w, const Asker &asker, RoomRow *room, bool *is_member) {
    Query q(tx.db, Sql::room_get, w->room, w->by);
    if (!query_step(q)) return false;
    row_room(q, w->arena, room);
    *is_member = query_int(q, room_columns) == 1;
    return *is_member || asker.is_system || (room->kind == RoomKind::room && !room->is_private);
}

// Nobody is in more rooms than one frame of `welcome` can hold: else an inviter could lock somebody out.
static bool has_too_many(Tx &tx, int64_t user) { return db_get(tx.db, Sql::rooms_joined, 0, user) >= rooms_joined_max; }

// --- rooms

Err op_room_add(Tx &tx, StoreWrite *w) {
    Asker asker = asker_get(tx, w);
    if (!asker.exists || asker.blocked) return Err::blocked;
    if (w->limit != 0 && !asker.is_system && db_get(tx.db, Sql::rooms_owned, 0, w->by) >= w->limit) return Err::too_many;
    if (has_too_many(tx, w->by)) return Err::too_many;
    for (uint32_t i = 0; i < w->ids_count; i++)
        if (has_too_many(tx, w->ids[i])) return Err::too_many;
    if (!db_run(tx.db, Sql::room_add, tx.rev + 1, w->name, w->key, w->topic, (int64_t)w->flag, w->by)) return Err::name_taken;
    int64_t rev = ++tx.rev;
    w->room = sqlite3_last_insert_rowid(tx.db.handle);
    changes_reserve(w, (size_t)w->ids_count + 2);
    change_add(w, ChangeKind::room, rev)->room = {.id = w->room,
                                                  .rev = rev,
                                                  .kind = RoomKind::room,
                                                  .name = w->name,
                                                  .topic = w->topic,
                                                  .is_private = w->flag,
                                                  .archived = false,
                                                  .owner = w->by,
                                                  .last = 0};
    if (!asker.is_system) member_join(tx, w, w->room, w->by);
    for (uint32_t i = 0; i < w->ids_count; i++) {
        // Somebody named twice, or deleted a moment ago, is passed over.
        int64_t seen;
        UserRow user;
        if (is_member_now(tx, w->room, w->ids[i], &seen)) continue;
        if (!user_get(tx, w->arena, w->ids[i], &user) || user.deleted) continue;
        member_join(tx, w, w->room, w->ids[i]);
    }
    return Err::ok;
}

Err op_room_change(Tx &tx, StoreWrite *w) {
    Asker asker = asker_get(tx, w);
    if (!asker.exists || asker.blocked) return Err::blocked;
    RoomRow room;
    bool is_member;
    if (!room_visible(tx, w, asker, &room, &is_member)) return Err::not_found;
    if (room.kind != RoomKind::room) return Err::forbidden;
    if (!asker.is_admin && room.owner != w->by) return Err::forbidden;
    if (w->has_name && db_get(tx.db, Sql::room_name_taken, 0, w->room, w->key) != 0) return Err::name_taken;
    room.rev = ++tx.rev;
    if (w->has_name) room.name = w->name;
    if (w->has_topic) room.topic = w->topic;
    if (w->has_archived) room.archived = w->archived;
    if (w->has_name) db_run(tx.db, Sql::room_rename, w->room, w->name, w->key);
    db_run(tx.db, Sql::room_change, w->room, room.rev, room.topic, (int64_t)room.archived);
    changes_reserve(w, 1);
    change_add(w, ChangeKind::room, room.rev)->room = room;
    return Err::ok;
}

Err op_member_add(Tx &tx, StoreWrite *w) {
    Asker asker = asker_get(tx, w);
    if (!asker.exists || asker.blocked) return Err::blocked;
    RoomRow room;
    bool is_asker_in;
    if (!room_visible(tx, w, asker, &room, &is_asker_in)) return Err::not_found;
    if (!user_alive(tx, w)) return Err::not_found;
    int64_t seen;
    if (!asker.is_system && w->by != w->user && !is_asker_in) return Err::not_member;
    if (is_member_now(tx, w->room, w->user, &seen)) return Err::ok;
    if (room.kind != RoomKind::room) return Err::forbidden; // a direct room has its two
    if (room.archived) return Err::archived;
    if (has_too_many(tx, w->user)) return Err::too_many;
    changes_reserve(w, 1);
    member_join(tx, w, w->room, w->user);
    return Err::ok;
}

Err op_member_remove(Tx &tx, StoreWrite *w) {
    Asker asker = asker_get(tx, w);
    if (!asker.exists) return Err::not_found;
    if (asker.blocked) return Err::blocked;
    RoomRow room;
    bool is_asker_in;
    if (!room_visible(tx, w, asker, &room, &is_asker_in)) return Err::not_found;
    if (room.kind != RoomKind::room || w->room == lobby_id) return Err::forbidden;
    if (w->by != w->user && !asker.is_admin && room.owner != w->by) return Err::forbidden;
    int64_t seen;
    if (!is_member_now(tx, w->room, w->user, &seen)) return w->by == w->user ? Err::not_member : Err::not_found;
    changes_reserve(w, 1);
    member_leave(tx, w, w->room, w->user, seen);
    return Err::ok;
}

Err op_marks(Tx &tx, StoreWrite *w) {
    for (uint32_t i = 0; i < w->marks_count; i++) db_run(tx.db, Sql::mark, w->marks[i].room, w->marks[i].user, w->marks[i].id);
    return Err::ok;
}
