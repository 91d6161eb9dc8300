// The operations' own header: what the table in ops.cpp needs of ops_users, ops_rooms and ops_messages, and what those share. Each operation runs inside
// the writer's transaction, on whichever thread commits it. Conditions come first and writes after, so that a refusal has written nothing.
#pragma once

#include "store/state.h"

constexpr int64_t lobby_id = 1;

Err op_user_add(Tx &tx, StoreWrite *w);
Err op_user_profile(Tx &tx, StoreWrite *w);
Err op_user_password(Tx &tx, StoreWrite *w);
Err op_user_role(Tx &tx, StoreWrite *w);
Err op_user_block(Tx &tx, StoreWrite *w);
Err op_user_delete(Tx &tx, StoreWrite *w);
Err op_session_add(Tx &tx, StoreWrite *w);
Err op_session_end(Tx &tx, StoreWrite *w);
Err op_session_touch(Tx &tx, StoreWrite *w);
Err op_invite_set(Tx &tx, StoreWrite *w);
Err op_room_add(Tx &tx, StoreWrite *w);
Err op_room_change(Tx &tx, StoreWrite *w);
Err op_member_add(Tx &tx, StoreWrite *w);
Err op_member_remove(Tx &tx, StoreWrite *w);
Err op_marks(Tx &tx, StoreWrite *w);
Err op_message_post(Tx &tx, StoreWrite *w);
Err op_message_edit(Tx &tx, StoreWrite *w);
Err op_message_delete(Tx &tx, StoreWrite *w);
Err op_message_refuse(Tx &tx, StoreWrite *w);

// Room for the changes that the operation is going to make; then each of them, all zero but for kind and rev.
void changes_reserve(StoreWrite *w, size_t count);
Change *change_add(StoreWrite *w, ChangeKind kind, int64_t rev);

bool user_get(Tx &tx, Arena &arena, int64_t id, UserRow *out);
// w->user exists and may be changed; its row is in w->user_row.
bool user_alive(Tx &tx, StoreWrite *w);
// One more warning for w->user, whose row is in w->user_row; at w->limit it is blocked.
void user_warn(Tx &tx, StoreWrite *w);

// Puts a user into a room (again); the room's messages so far count as seen. Both take a rev and add a change.
void member_join(Tx &tx, StoreWrite *w, int64_t room, int64_t user);
void member_leave(Tx &tx, StoreWrite *w, int64_t room, int64_t user, int64_t seen);
bool is_member_now(Tx &tx, int64_t room, int64_t user, int64_t *seen);
