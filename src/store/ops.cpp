// The operations: the table of them, one row for each WriteKind, how one is run, and what they share. Runs on whichever thread commits the batch;
// owns nothing.
//
// An operation judges its conditions first and writes after, so that a refusal has written nothing. A savepoint is there for operations of several
// writes all the same: a constraint that we overlooked then undoes that operation alone.
#include "store/ops.h"

#include <string.h>

#include "base/assert.h"
#include "base/log.h"

// --- what the operations share

void changes_reserve(StoreWrite *w, size_t count) {
    w->changes = static_cast<Change *>(arena_alloc(w->arena, count * sizeof(Change)));
}

Change *change_add(StoreWrite *w, ChangeKind kind, int64_t rev) {
    Change *change = &w->changes[w->changes_count++];
    memset(static_cast<void *>(change), 0, sizeof *change);
    change->kind = kind;
    change->rev = rev;
    return change;
}

bool user_get(Tx &tx, Arena &arena, int64_t id, UserRow *out) {
    Query q(tx.db, Sql::user_get, id);
    if (!query_step(q)) return false;
    row_user(q, arena, out);
    return true;
}

bool user_alive(Tx &tx, StoreWrite *w) {
    return user_get(tx, w->arena, w->user, &w->user_row) && !w->user_row.deleted;
}

void member_join(Tx &tx, StoreWrite *w, int64_t room, int64_t user) {
    int64_t rev = ++tx.rev;
    int64_t seen = db_get(tx.db, Sql::member_put, 0, room, user, rev);
    change_add(w, ChangeKind::member, rev)->member = {.rev = rev, .room = room, .user = user, .seen = seen, .left = false};
}

void member_leave(Tx &tx, StoreWrite *w, int64_t room, int64_t user, int64_t seen) {
    int64_t rev = ++tx.rev;
    db_run(tx.db, Sql::member_leave, room, user, rev);
    change_add(w, ChangeKind::member, rev)->member = {.rev = rev, .room = room, .user = user, .seen = seen, .left = true};
}

bool is_member_now(Tx &tx, int64_t room, int64_t user, int64_t *seen) {
    Query q(tx.db, Sql::member_get, room, user);
    if (!query_step(q)) return false;
    MemberRow row;
    row_member(q, &row);
    *seen = row.seen;
    return !row.left;
}

static void posters_forget(Tx &tx) {
    if (!tx.has_posters) return;
    for (Poster &p : tx.posters) p = {};
    tx.has_posters = false;
}

// --- the table

struct Operation {
    WriteKind kind;
    Err (*run)(Tx &tx, StoreWrite *w);
    bool has_savepoint; // it writes with several statements
    bool is_vital = false; // it frees room, or protects people from somebody
};

static const Operation operations[] = {
    {WriteKind::user_add, op_user_add, true},
    {WriteKind::user_profile, op_user_profile, false},
    {WriteKind::user_password, op_user_password, true, true},
    {WriteKind::user_role, op_user_role, true, true},
    {WriteKind::user_block, op_user_block, false, true},
    {WriteKind::user_delete, op_user_delete, true, true},
    {WriteKind::session_add, op_session_add, true},
    {WriteKind::session_end, op_session_end, false, true},
    {WriteKind::session_touch, op_session_touch, false},
    {WriteKind::room_add, op_room_add, true},
    {WriteKind::room_change, op_room_change, true},
    {WriteKind::member_add, op_member_add, false},
    {WriteKind::member_remove, op_member_remove, false, true},
    {WriteKind::message_post, op_message_post, false},
    {WriteKind::message_edit, op_message_edit, false},
    {WriteKind::message_delete, op_message_delete, false, true},
    {WriteKind::message_refuse, op_message_refuse, false, true},
    {WriteKind::marks, op_marks, false},
    {WriteKind::invite_set, op_invite_set, true},
};
static_assert(sizeof operations / sizeof operations[0] == (size_t)WriteKind::invite_set + 1);

bool operation_is_vital(Tx &tx, StoreWrite *w) {
    // Those who delete and block may have to log in first.
    if (w->kind == WriteKind::session_add) return user_alive(tx, w) && w->user_row.role >= Role::moderator;
    // Of the refusals only a warning writes anything.
    if (w->kind == WriteKind::message_refuse) return w->verdict == Err::stop_word;
    if (w->kind == WriteKind::session_end && w->flag) return false;
    return operations[(int)w->kind].is_vital && !w->renew_only;
}

Err operation_run(Tx &tx, StoreWrite *w) {
    const Operation &operation = operations[(int)w->kind];
    CB_ASSERT(operation.kind == w->kind);
    int64_t rev_before = tx.rev;
    db_forgive(tx.db);
    if (w->kind != WriteKind::message_post) posters_forget(tx);
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
