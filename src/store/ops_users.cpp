// Operations on accounts, sessions and invitations: see ops.h.
// Warnings and blocks have no rev: only the user and administrators see them, and the operation's answer tells.
#include "store/ops.h"

static bool hash_is_set(const unsigned char *hash) {
    for (size_t i = 0; i < hash_bytes; i++)
        if (hash[i]) return true;
    return false;
}

static Blob hash_blob(const unsigned char *hash) { return {hash, hash_bytes}; }

static void change_user(Tx &tx, StoreWrite *w, int64_t rev) {
    Change *change = change_add(w, ChangeKind::user, rev);
    user_get(tx, w->arena, w->user, &change->user);
    w->user_row = change->user;
}

static void sessions_ended(StoreWrite *w, Query &q) {
    w->ended_sessions = static_cast<int64_t *>(arena_alloc(w->arena, ended_sessions_max * sizeof(int64_t)));
    while (query_step(q))
        if (w->ended_sessions_count < ended_sessions_max) w->ended_sessions[w->ended_sessions_count++] = query_int(q, 0);
}

static void sessions_end_but(Tx &tx, StoreWrite *w, int64_t keep) {
    Query q(tx.db, Sql::sessions_others, w->user, keep);
    sessions_ended(w, q);
}

// --- users

// For good, whatever becomes of the administrator.
static void admin_link_void(Tx &tx, Role role) {
    if (role == Role::admin) db_run(tx.db, Sql::invites_clear);
}

Err op_user_add(Tx &tx, StoreWrite *w) {
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
    admin_link_void(tx, w->role);
    return Err::ok;
}

// Who asks for oneself may have been blocked since the hub looked. The system may do so for anybody.
static bool is_blocked_asker(const StoreWrite *w) { return w->by != 0 && w->user_row.blocked; }

Err op_user_profile(Tx &tx, StoreWrite *w) {
    if (!user_alive(tx, w)) return Err::not_found;
    if (is_blocked_asker(w)) return Err::blocked;
    int64_t rev = ++tx.rev;
    db_run(tx.db, Sql::user_profile, w->user, rev, w->has_display_name ? w->display_name : w->user_row.display_name,
           w->has_status ? w->status : w->user_row.status);
    changes_reserve(w, 1);
    change_user(tx, w, rev);
    return Err::ok;
}

Err op_user_password(Tx &tx, StoreWrite *w) {
    if (w->by != 0 && user_alive(tx, w) && is_blocked_asker(w)) return Err::blocked;
    if (!db_run(tx.db, Sql::user_password, w->user, w->text, w->key)) return Err::not_found;
    if (!w->renew_only) sessions_end_but(tx, w, w->keep_session);
    return Err::ok;
}

Err op_user_role(Tx &tx, StoreWrite *w) {
    if (!user_alive(tx, w)) return Err::not_found;
    int64_t rev = ++tx.rev;
    db_run(tx.db, Sql::user_role, w->user, rev, (int64_t)w->role);
    admin_link_void(tx, w->role);
    changes_reserve(w, 1);
    change_user(tx, w, rev);
    return Err::ok;
}

static void user_fault_set(Tx &tx, StoreWrite *w, uint32_t warnings, bool blocked) {
    db_run(tx.db, Sql::user_fault, w->user, (int64_t)warnings, (int64_t)blocked);
    w->user_row.warnings = warnings;
    w->user_row.blocked = blocked;
}

Err op_user_block(Tx &tx, StoreWrite *w) {
    if (!user_alive(tx, w)) return Err::not_found;
    user_fault_set(tx, w, w->flag ? w->user_row.warnings : 0, w->flag);
    return Err::ok;
}

void user_warn(Tx &tx, StoreWrite *w) {
    uint32_t warnings = w->user_row.warnings + 1;
    // "at least": the limit may have been lowered since the last warning
    user_fault_set(tx, w, warnings, w->limit != 0 && warnings >= w->limit);
}

Err op_user_delete(Tx &tx, StoreWrite *w) {
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

Err op_session_add(Tx &tx, StoreWrite *w) {
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

Err op_session_end(Tx &tx, StoreWrite *w) {
    if (w->session_id == 0) {
        if (!user_alive(tx, w)) return Err::not_found;
        sessions_end_but(tx, w, 0);
        return Err::ok;
    }
    return db_run(tx.db, Sql::session_end, w->session_id, w->user) ? Err::ok : Err::not_found;
}

Err op_session_touch(Tx &tx, StoreWrite *w) {
    db_run(tx.db, Sql::session_touch, w->session_id, w->time);
    return Err::ok;
}

Err op_invite_set(Tx &tx, StoreWrite *w) {
    db_run(tx.db, Sql::invites_clear);
    if (hash_is_set(w->token_hash)) db_run(tx.db, Sql::invite_add, hash_blob(w->token_hash));
    return Err::ok;
}
