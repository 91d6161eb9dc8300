// The operations: one function for each WriteKind, in a table. Each judges its conditions inside the writer's transaction, where it sees the
// operations before it, and either does everything or refuses. Runs on whichever thread commits the batch; owns nothing.
//
// Conditions come first and writes after, so that a refusal has written nothing. A savepoint is there for operations of several writes all the same:
// a constraint that we overlooked then undoes that operation alone.
#include "store/state.h"

#include <string.h>

#include "base/assert.h"
#include "base/limits.h"
#include "base/log.h"

constexpr int64_t lobby_id = 1;

// --- what the operations share

static bool hash_is_set(const unsigned char *hash) {
    for (size_t i = 0; i < hash_bytes; i++)
        if (hash[i]) return true;
    return false;
}

static Blob hash_blob(const unsigned char *hash) { return {hash, hash_bytes}; }

// A time of zero means "never" in the columns edited and deleted.
static int64_t time_of(const StoreWrite *w) { return w->time > 0 ? w->time : 1; }

static void changes_reserve(StoreWrite *w, size_t count) {
    w->changes = static_cast<Change *>(arena_alloc(w->arena, count * sizeof(Change)));
}

static Change *change_add(StoreWrite *w, ChangeKind kind, int64_t rev) {
    Change *change = &w->changes[w->changes_count++];
    memset(static_cast<void *>(change), 0, sizeof *change);
    change->kind = kind;
    change->rev = rev;
    return change;
}

// What is so already is no change, but who asked is answered with it.
static void answer_present(StoreWrite *w, const MessageRow &row) {
    changes_reserve(w, 1);
    change_add(w, ChangeKind::message, row.rev)->message = row;
    w->changes_count = 0;
    w->is_repeat = true;
}

static bool user_get(Tx &tx, Arena &arena, int64_t id, UserRow *out) {
    Query q(tx.db, Sql::user_get, id);
    if (!query_step(q)) return false;
    row_user(q, arena, out);
    return true;
}

// An account that exists and may be changed.
static bool user_alive(Tx &tx, StoreWrite *w) {
    return user_get(tx, w->arena, w->user, &w->user_row) && !w->user_row.deleted;
}

static void change_user(Tx &tx, StoreWrite *w, int64_t rev) {
    Change *change = change_add(w, ChangeKind::user, rev);
    user_get(tx, w->arena, w->user, &change->user);
    w->user_row = change->user;
}

// Puts a user into a room (again); the room's messages so far count as seen.
static void member_join(Tx &tx, StoreWrite *w, int64_t room, int64_t user) {
    int64_t rev = ++tx.rev;
    int64_t seen = db_get(tx.db, Sql::member_put, 0, room, user, rev);
    change_add(w, ChangeKind::member, rev)->member = {.rev = rev, .room = room, .user = user, .seen = seen, .left = false};
}

static void member_leave(Tx &tx, StoreWrite *w, int64_t room, int64_t user, int64_t seen) {
    int64_t rev = ++tx.rev;
    db_run(tx.db, Sql::member_leave, room, user, rev);
    change_add(w, ChangeKind::member, rev)->member = {.rev = rev, .room = room, .user = user, .seen = seen, .left = true};
}

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

static bool is_member_now(Tx &tx, int64_t room, int64_t user, int64_t *seen) {
    Query q(tx.db, Sql::member_get, room, user);
    if (!query_step(q)) return false;
    MemberRow row;
    row_member(q, &row);
    *seen = row.seen;
    return !row.left;
}

static void sessions_ended(StoreWrite *w, Query &q) {
    constexpr uint32_t places = sizeof w->ended_sessions / sizeof w->ended_sessions[0];
    while (query_step(q))
        if (w->ended_sessions_count < places) w->ended_sessions[w->ended_sessions_count++] = query_int(q, 0);
}

static void sessions_end_but(Tx &tx, StoreWrite *w, int64_t keep) {
    Query q(tx.db, Sql::sessions_others, w->user, keep);
    sessions_ended(w, q);
}

// --- users

static Err op_user_add(Tx &tx, StoreWrite *w) {
    bool is_invited = hash_is_set(w->token_hash);
    if (is_invited) {
        int64_t role = db_get(tx.db, Sql::invite_get, -1, hash_blob(w->token_hash));
        if (role < 0) return Err::bad_invite;
        if (role == (int64_t)Role::admin && db_get(tx.db, Sql::admin_get, 0) != 0) return Err::bad_invite;
        w->role = (Role)role;
    }
    if (!db_run(tx.db, Sql::user_add, tx.rev + 1, w->name, w->key, (int64_t)w->role, w->time, w->text)) return Err::name_taken;
    w->user = sqlite3_last_insert_rowid(tx.db.handle);
    changes_reserve(w, 2);
    change_user(tx, w, ++tx.rev);
    member_join(tx, w, lobby_id, w->user);
    if (is_invited) db_run(tx.db, Sql::invite_remove, hash_blob(w->token_hash));
    return Err::ok;
}

static Err op_user_profile(Tx &tx, StoreWrite *w) {
    if (!user_alive(tx, w)) return Err::not_found;
    int64_t rev = ++tx.rev;
    db_run(tx.db, Sql::user_profile, w->user, rev, w->has_display_name ? w->display_name : w->user_row.display_name,
           w->has_status ? w->status : w->user_row.status);
    changes_reserve(w, 1);
    change_user(tx, w, rev);
    return Err::ok;
}

static Err op_user_password(Tx &tx, StoreWrite *w) {
    if (!db_run(tx.db, Sql::user_password, w->user, w->text)) return Err::not_found;
    if (!w->renew_only) sessions_end_but(tx, w, w->keep_session);
    return Err::ok;
}

static Err op_user_role(Tx &tx, StoreWrite *w) {
    if (!user_alive(tx, w)) return Err::not_found;
    int64_t rev = ++tx.rev;
    db_run(tx.db, Sql::user_role, w->user, rev, (int64_t)w->role);
    changes_reserve(w, 1);
    change_user(tx, w, rev);
    return Err::ok;
}

static void user_fault_set(Tx &tx, StoreWrite *w, uint32_t warnings, bool blocked) {
    db_run(tx.db, Sql::user_fault, w->user, (int64_t)warnings, (int64_t)blocked);
    w->user_row.warnings = warnings;
    w->user_row.blocked = blocked;
}

static Err op_user_block(Tx &tx, StoreWrite *w) {
    if (!user_alive(tx, w)) return Err::not_found;
    user_fault_set(tx, w, w->flag ? w->user_row.warnings : 0, w->flag);
    return Err::ok;
}

static Err op_user_warn(Tx &tx, StoreWrite *w) {
    if (!user_alive(tx, w)) return Err::not_found;
    if (w->user_row.blocked) return Err::blocked;
    uint32_t warnings = w->user_row.warnings + 1;
    // "at least": the limit may have been lowered since the last warning
    user_fault_set(tx, w, warnings, w->limit != 0 && warnings >= w->limit);
    return Err::ok;
}

static Err op_user_delete(Tx &tx, StoreWrite *w) {
    if (!user_alive(tx, w)) return Err::not_found;
    struct Left {
        int64_t room, seen;
        Left *next;
    } *left = nullptr, **end = &left;
    size_t count = 0;
    {
        Query q(tx.db, Sql::user_members, w->user);
        for (; query_step(q); count++) {
            *end = static_cast<Left *>(arena_alloc(w->arena, sizeof(Left)));
            **end = {query_int(q, 0), query_int(q, 1), nullptr};
            end = &(*end)->next;
        }
    }
    changes_reserve(w, count + 1);
    for (; left; left = left->next) member_leave(tx, w, left->room, w->user, left->seen);
    sessions_end_but(tx, w, 0);
    int64_t rev = ++tx.rev;
    db_run(tx.db, Sql::user_delete, w->user, rev);
    change_user(tx, w, rev);
    return Err::ok;
}

// --- sessions and invitations

static Err op_session_add(Tx &tx, StoreWrite *w) {
    if (!user_alive(tx, w)) return Err::not_found;
    if (w->user_row.blocked) return Err::blocked;
    db_run(tx.db, Sql::session_add, w->user, hash_blob(w->token_hash), w->time, w->agent, w->address);
    w->session_id = sqlite3_last_insert_rowid(tx.db.handle);
    if (w->limit == 0) return Err::ok;
    // The new one stays even if its time is the oldest: the clock may not be set.
    Query q(tx.db, Sql::sessions_trim, w->user, w->session_id, (int64_t)w->limit - 1);
    sessions_ended(w, q);
    return Err::ok;
}

static Err op_session_end(Tx &tx, StoreWrite *w) {
    return db_run(tx.db, Sql::session_end, w->session_id, w->user) ? Err::ok : Err::not_found;
}

static Err op_session_touch(Tx &tx, StoreWrite *w) {
    db_run(tx.db, Sql::session_touch, w->session_id, w->time);
    return Err::ok;
}

static Err op_invite_set(Tx &tx, StoreWrite *w) {
    db_run(tx.db, Sql::invites_clear);
    if (hash_is_set(w->token_hash)) db_run(tx.db, Sql::invite_add, hash_blob(w->token_hash));
    return Err::ok;
}

// --- rooms

static Err op_room_add(Tx &tx, StoreWrite *w) {
    Asker asker = asker_get(tx, w);
    if (!asker.exists || asker.blocked) return Err::blocked;
    if (w->limit != 0 && !asker.is_system && db_get(tx.db, Sql::rooms_owned, 0, w->by) >= w->limit) return Err::too_many;
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

static Err op_room_change(Tx &tx, StoreWrite *w) {
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

static Err op_member_add(Tx &tx, StoreWrite *w) {
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
    changes_reserve(w, 1);
    member_join(tx, w, w->room, w->user);
    return Err::ok;
}

static Err op_member_remove(Tx &tx, StoreWrite *w) {
    Asker asker = asker_get(tx, w);
    if (!asker.exists) return Err::not_found;
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

static Err op_marks(Tx &tx, StoreWrite *w) {
    for (uint32_t i = 0; i < w->marks_count; i++) db_run(tx.db, Sql::mark, w->marks[i].room, w->marks[i].user, w->marks[i].id);
    return Err::ok;
}

// --- messages

static Blob nonce_blob(const StoreWrite *w) {
    if (w->nonce.empty()) return {nullptr, 0};
    return {w->nonce.data(), w->nonce.size()};
}

// True when the sender has used this nonce before: then the stored message is the answer.
static bool post_is_repeat(Tx &tx, StoreWrite *w) {
    if (w->nonce.empty()) return false;
    Query q(tx.db, Sql::message_by_nonce, w->by, nonce_blob(w));
    if (!query_step(q)) return false;
    MessageRow row;
    row_message(q, w->arena, &row);
    answer_present(w, row);
    return true;
}

static Err post_refusal(Tx &tx, StoreWrite *w) {
    Query q(tx.db, Sql::post_check, w->by, w->room);
    if (!query_step(q) || query_int(q, 0) != 0) return Err::blocked;
    // A room that does not exist and one that the sender is not in look the same.
    if (query_is_null(q, 1) || query_is_null(q, 2) || query_int(q, 2) != 0) return Err::not_member;
    if (query_int(q, 1) != 0) return Err::archived;
    if (w->reply != 0 && db_get(tx.db, Sql::reply_check, 0, w->reply, w->room) == 0) return Err::not_found;
    return Err::ok;
}

// The hot path: two statements for a message.
static Err op_message_post(Tx &tx, StoreWrite *w) {
    if (Err err = post_refusal(tx, w); err != Err::ok) {
        // Sent before the room was archived, acknowledged into a connection that was gone: it is stored, and the sender is to know.
        if (err == Err::archived && post_is_repeat(tx, w)) return Err::ok;
        return err;
    }
    int64_t rev = tx.rev + 1;
    if (!db_run(tx.db, Sql::message_add, rev, w->room, w->by, w->time, w->reply, nonce_blob(w), mentions_encode(w->arena, w->ids, w->ids_count), w->text))
        return post_is_repeat(tx, w) ? Err::ok : Err::internal;
    tx.rev = rev;
    changes_reserve(w, 1);
    change_add(w, ChangeKind::message, rev)->message = {.id = rev,
                                                        .rev = rev,
                                                        .room = w->room,
                                                        .sender = w->by,
                                                        .time = w->time,
                                                        .edited = 0,
                                                        .deleted = 0,
                                                        .reply = w->reply,
                                                        .text = w->text,
                                                        .nonce = w->nonce,
                                                        .mentions = w->ids,
                                                        .mentions_count = w->ids_count};
    return Err::ok;
}

// A message and what decides who may change it.
struct Judged {
    MessageRow row;
    bool archived, is_owner, is_moderator;
};

static Err message_judge(Tx &tx, StoreWrite *w, Judged *out) {
    Query q(tx.db, Sql::message_judge, w->message, w->by);
    if (!query_step(q)) return Err::not_found;
    const int room_archived = message_columns, room_owner = room_archived + 1, gone = room_owner + 1, blocked = gone + 1, role = blocked + 1;
    bool is_system = w->by == 0;
    if (!is_system && (query_is_null(q, blocked) || query_int(q, blocked) != 0)) return Err::blocked;
    // To somebody outside the room a guessed id must not show that it exists.
    if (!is_system && (query_is_null(q, gone) || query_int(q, gone) != 0)) return Err::not_found;
    row_message(q, w->arena, &out->row);
    out->archived = query_int(q, room_archived) != 0;
    out->is_owner = !is_system && query_int(q, room_owner) == w->by;
    out->is_moderator = is_system || query_int(q, role) >= (int64_t)Role::moderator;
    return Err::ok;
}

static void change_message(StoreWrite *w, const MessageRow &row) {
    changes_reserve(w, 1);
    change_add(w, ChangeKind::message, row.rev)->message = row;
}

// The one who edits knows the message's id, not its room: who is not in that is not called.
static void mentions_keep_members(Tx &tx, StoreWrite *w, int64_t room) {
    auto *kept = static_cast<int64_t *>(arena_alloc(w->arena, (size_t)w->ids_count * sizeof(int64_t)));
    uint32_t count = 0;
    for (uint32_t i = 0; i < w->ids_count; i++) {
        int64_t seen;
        if (is_member_now(tx, room, w->ids[i], &seen)) kept[count++] = w->ids[i];
    }
    w->ids = kept;
    w->ids_count = count;
}

static Err op_message_edit(Tx &tx, StoreWrite *w) {
    Judged judged;
    if (Err err = message_judge(tx, w, &judged); err != Err::ok) return err;
    MessageRow &row = judged.row;
    if (row.deleted) return Err::not_found;
    if (row.sender != w->by) return Err::forbidden;
    if (judged.archived) return Err::archived;
    if (row.text == w->text) {
        answer_present(w, row);
        return Err::ok;
    }
    mentions_keep_members(tx, w, row.room);
    row.rev = ++tx.rev;
    row.edited = time_of(w);
    row.text = w->text;
    row.mentions = w->ids;
    row.mentions_count = w->ids_count;
    db_run(tx.db, Sql::message_edit, row.id, row.rev, row.edited, row.text, mentions_encode(w->arena, w->ids, w->ids_count));
    change_message(w, row);
    return Err::ok;
}

static Err op_message_delete(Tx &tx, StoreWrite *w) {
    Judged judged;
    if (Err err = message_judge(tx, w, &judged); err != Err::ok) return err;
    MessageRow &row = judged.row;
    if (row.sender != w->by && !judged.is_owner && !judged.is_moderator) return Err::forbidden;
    if (row.deleted) {
        answer_present(w, row);
        return Err::ok;
    }
    if (judged.archived && w->by != 0) return Err::archived;
    row.rev = ++tx.rev;
    row.deleted = time_of(w);
    row.edited = 0;
    row.text = {};
    row.mentions = nullptr;
    row.mentions_count = 0;
    db_run(tx.db, Sql::message_delete, row.id, row.rev, row.deleted);
    change_message(w, row);
    return Err::ok;
}

// --- the table

struct Operation {
    WriteKind kind;
    Err (*run)(Tx &tx, StoreWrite *w);
    bool has_savepoint; // it writes with several statements
};

static const Operation operations[] = {
    {WriteKind::user_add, op_user_add, true},
    {WriteKind::user_profile, op_user_profile, false},
    {WriteKind::user_password, op_user_password, true},
    {WriteKind::user_role, op_user_role, false},
    {WriteKind::user_block, op_user_block, false},
    {WriteKind::user_warn, op_user_warn, false},
    {WriteKind::user_delete, op_user_delete, true},
    {WriteKind::session_add, op_session_add, true},
    {WriteKind::session_end, op_session_end, false},
    {WriteKind::session_touch, op_session_touch, false},
    {WriteKind::room_add, op_room_add, true},
    {WriteKind::room_change, op_room_change, true},
    {WriteKind::member_add, op_member_add, false},
    {WriteKind::member_remove, op_member_remove, false},
    {WriteKind::message_post, op_message_post, false},
    {WriteKind::message_edit, op_message_edit, false},
    {WriteKind::message_delete, op_message_delete, false},
    {WriteKind::marks, op_marks, false},
    {WriteKind::invite_set, op_invite_set, true},
};
static_assert(sizeof operations / sizeof operations[0] == (size_t)WriteKind::invite_set + 1);

Err operation_run(Tx &tx, StoreWrite *w) {
    const Operation &operation = operations[(int)w->kind];
    CB_ASSERT(operation.kind == w->kind);
    int64_t rev_before = tx.rev;
    db_forgive(tx.db);
    if (operation.has_savepoint) db_run(tx.db, Sql::savepoint);
    Err err = operation.run(tx, w);
    if (tx.db.failure == Failure::rule) {
        log_error("store: operation %d: %s", (int)w->kind, tx.db.reason);
        err = Err::internal;
    }
    if (err != Err::ok) {
        tx.rev = rev_before;
        w->changes_count = 0;
        w->ended_sessions_count = 0;
        w->is_repeat = false;
    }
    // After anything worse the whole transaction is gone, and its savepoints with it.
    if (operation.has_savepoint && tx.db.failure <= Failure::rule) {
        if (err != Err::ok) db_run(tx.db, Sql::savepoint_undo);
        db_run(tx.db, Sql::savepoint_end);
    }
    return err;
}
