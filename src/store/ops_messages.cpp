// Operations on messages: posting, the hot path of the whole server, editing, deleting and refusing. See ops.h.
// A deleted message keeps its row and its nonce; text, mentions and the time of its edit are gone for good.
#include "store/ops.h"

#include "base/assert.h"

// A time of zero means "never" in the columns edited and deleted.
static int64_t time_of(const StoreWrite *w) { return w->time > 0 ? w->time : 1; }

// What is so already is no change, but who asked is answered with it.
static void answer_present(StoreWrite *w, const MessageRow &row) {
    changes_reserve(w, 1);
    change_add(w, ChangeKind::message, row.rev)->message = row;
    w->changes_count = 0;
    w->is_repeat = true;
}

// --- messages

static Blob nonce_blob(const StoreWrite *w) {
    if (w->nonce.empty()) return {nullptr, 0};
    return {w->nonce.data(), w->nonce.size()};
}

// True when the sender has used this nonce before: then the stored message is the answer.
static bool post_is_repeat(Tx &tx, StoreWrite *w, int64_t sender) {
    if (w->nonce.empty()) return false;
    Query q(tx.db, Sql::message_by_nonce, sender, nonce_blob(w));
    if (!query_step(q)) return false;
    MessageRow row;
    row_message(q, w->arena, &row);
    answer_present(w, row);
    return true;
}

// What speaks against a message may be newer than the message: it was stored, acknowledged into a connection that was gone, and then the room was archived or
// one of its words became a stop word. The sender is to know that it is there, as long as it may see it.
static bool refused_is_repeat(Tx &tx, StoreWrite *w, int64_t sender) {
    int64_t seen;
    w->is_repeat = post_is_repeat(tx, w, sender) && is_member_now(tx, w->changes[0].message.room, sender, &seen);
    return w->is_repeat;
}

// The nonce is taken, perhaps by a message in another room, which its sender may have left: what became of it is not to be told then.
static Err answer_to_taken_nonce(Tx &tx, StoreWrite *w) {
    if (refused_is_repeat(tx, w, w->by)) return Err::ok;
    return w->changes ? Err::not_found : Err::internal;
}

static Err poster_refusal(Tx &tx, StoreWrite *w) {
    Poster &known = tx.posters[(uint64_t)(w->by + w->room * 7) % posters_places];
    if (known.user == w->by && known.room == w->room && w->by != 0) return Err::ok;
    Query q(tx.db, Sql::post_check, w->by, w->room);
    if (!query_step(q) || query_int(q, 0) != 0) return Err::blocked;
    // A room that does not exist and one that the sender is not in look the same.
    if (query_is_null(q, 1) || query_is_null(q, 2) || query_int(q, 2) != 0) return Err::not_member;
    if (query_int(q, 1) != 0) return Err::archived;
    known = {w->by, w->room};
    tx.has_posters = true;
    return Err::ok;
}

static Err post_refusal(Tx &tx, StoreWrite *w) {
    if (Err err = poster_refusal(tx, w); err != Err::ok) return err;
    if (w->reply != 0 && db_get(tx.db, Sql::reply_check, 0, w->reply, w->room) == 0) return Err::not_found;
    return Err::ok;
}

// The hot path: one statement for a message, and one for each writer of a batch.
Err op_message_post(Tx &tx, StoreWrite *w) {
    if (Err err = post_refusal(tx, w); err != Err::ok) return err != Err::blocked && refused_is_repeat(tx, w, w->by) ? Err::ok : err;
    int64_t rev = tx.rev + 1;
    if (!db_run(tx.db, Sql::message_add, rev, w->room, w->by, w->time, w->reply, nonce_blob(w), mentions_encode(w->arena, w->ids, w->ids_count), w->text))
        return answer_to_taken_nonce(tx, w);
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
    w->is_hidden = !is_system && (query_is_null(q, gone) || query_int(q, gone) != 0);
    if (w->is_hidden) return Err::not_found;
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

Err op_message_edit(Tx &tx, StoreWrite *w) {
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

Err op_message_delete(Tx &tx, StoreWrite *w) {
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

Err op_message_refuse(Tx &tx, StoreWrite *w) {
    CB_ASSERT(w->verdict != Err::ok);
    if (!user_alive(tx, w)) return Err::not_found;
    if (w->user_row.blocked) return Err::blocked;
    if (refused_is_repeat(tx, w, w->user)) return Err::ok;
    if (w->verdict != Err::stop_word) return w->verdict;
    if (!w->flag) user_warn(tx, w);
    return Err::ok;
}
