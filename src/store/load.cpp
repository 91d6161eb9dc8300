// Loading: everything that the chat keeps in memory, streamed row by row from the writer's connection before the first batch. Strings live for one
// call. Loop thread.
#include "store/state.h"

#include "base/assert.h"
#include "base/log.h"

bool store_load(Store *s, const StoreLoad &into) {
    CB_ASSERT(!s->batch.in_flight);
    Db &db = s->writing;
    db_forgive(db);
    // One view for all four, should a stranger write meanwhile.
    db_run(db, Sql::begin_read);
    Arena arena;
    {
        Query q(db, Sql::load_users);
        for (UserRow row; query_step(q); arena_free(arena)) {
            row_user(q, arena, &row);
            if (into.user) into.user(into.owner, row, query_text(q, user_columns));
        }
    }
    {
        Query q(db, Sql::load_rooms);
        for (RoomRow row; query_step(q); arena_free(arena)) {
            row_room(q, arena, &row);
            row.last = query_int(q, room_columns + 1);
            if (into.room) into.room(into.owner, row, query_text(q, room_columns));
        }
    }
    {
        Query q(db, Sql::load_members);
        for (MemberRow row; query_step(q);) {
            row_member(q, &row);
            if (into.member) into.member(into.owner, row);
        }
    }
    {
        Query q(db, Sql::load_sessions);
        for (SessionRow row; query_step(q); arena_free(arena)) {
            row_session(q, arena, &row);
            if (into.session) into.session(into.owner, row);
        }
    }
    bool is_done = db.failure == Failure::none;
    if (!is_done) log_error("store: loading failed: %s", db.reason);
    db_end(db, Sql::commit);
    return is_done;
}
