// Model: what the chat keeps in memory, which is everything but the messages: people, rooms, memberships with their read marks, sessions. It shows what is
// committed and whose completion has run, nothing else (store.h, "Order"). It owns all of it. Loop thread only. hub.cpp changes it; everybody reads it.
#pragma once

#include "base/bucket.h"
#include "base/idmap.h"
#include "base/limits.h"
#include "store/store.h"

struct Member;
struct Session;
struct Room;

struct User {
    int64_t id, rev, created;
    char *name;              // as registered; never changes
    char *key;               // the name folded: under which it is unique, and sorted in lists
    char *display_name;      // "" : shown as the name
    char *shown_key;         // the display name folded, for searching
    char *status;
    Role role;
    bool blocked, deleted;
    bool online;             // as the others were told (presence.h)
    uint32_t warnings;
    uint32_t sockets;        // open WebSockets
    uint32_t passwords;      // how often the password was changed since the start: what was verified against an older one is void
    uint64_t offline_at_ms;  // monotonic; when the linger after the last socket ends; 0: not lingering
    Bucket messages, requests;
    Member *members;         // of this user, linked by next_of_user
    Session *sessions;       // linked by next_of_user
    void *first_socket;      // web/socket.cpp's list; not looked at here
};

struct Room {
    int64_t id, rev;
    int64_t last;            // id of the newest message; 0: none
    User *owner;             // null: nobody
    char *name;
    char *topic;
    RoomKind kind;
    bool is_private, archived;
    Member **members;        // in no order
    uint32_t members_count, members_capacity;
};

struct Member {
    Room *room;
    User *user;
    Member *next_of_user;
    uint32_t index;          // in room->members
    bool seen_dirty;         // the mark is not written yet
    bool seen_pending;       // the mark moved and the others have not been told
    int64_t rev;             // of joining
    int64_t seen;            // the read mark
    int64_t seen_told;       // what the others were told last
    uint64_t seen_stamp;     // model.seen_stamp when it was told: who fell behind is told marks with a higher stamp than its own
    uint64_t seen_told_ms, typing_told_ms;
};

struct Session {
    int64_t id;
    User *user;
    Session *next_of_user;
    unsigned char token_hash[hash_bytes];
    int64_t created, last_used;  // wall clock, for expiry and for the list
    uint64_t touched_ms;         // monotonic; when last_used was written last
};

// How long a session lasts.
struct SessionLife {
    int64_t unused_ms_max = session_unused_ms_max, age_ms_max = session_age_ms_max;
};

struct Model {
    IdMap users_by_id, users_by_name;   // keyed_hash of the folded name
    IdMap rooms_by_id;
    IdMap members;                      // room << 32 | user
    IdMap sessions_by_token;            // the first 8 bytes of the token's hash
    uint32_t users_count;               // those not deleted
    uint32_t online_count;
    uint32_t admins_count;              // not deleted
    uint64_t seen_stamp;                // counts the marks told
};

constexpr int64_t lobby_id = 1;

User *model_user(const Model *m, int64_t id);
User *model_user_by_name(const Model *m, std::string_view name);     // folded here; null for an invalid or unknown name
Room *model_room(const Model *m, int64_t id);
Member *model_member(const Model *m, int64_t room, int64_t user);    // null: not in it
// The session of a presented token, or null: unknown, or expired (PROTOCOL §4; never while the clock is not set).
Session *model_session(const Model *m, std::string_view token, const SessionLife &life);
Session *model_session_of(const User *user, int64_t id);
// Its time is over, though nobody has asked for it since: unused for too long, or too old however much it is used. Never while the clock is not set.
bool session_is_over(const Session *session, const SessionLife &life);
bool session_is_too_old(const Session *session, const SessionLife &life);

// Applying what was committed. Each returns the present object.
User *model_put_user(Model *m, const UserRow &row, std::string_view name_key);
Room *model_put_room(Model *m, const RoomRow &row);
Member *model_put_member(Model *m, const MemberRow &row);            // asserts that room and user are there
void model_drop_member(Model *m, Member *member);
Session *model_put_session(Model *m, const SessionRow &row);         // null when the user is not there
void model_drop_session(Model *m, Session *session);
// Moves a mark up; false when it was there already.
bool model_move_mark(Member *member, int64_t id);
void model_free(Model *m);

inline const char *user_shown_name(const User *u) { return u->display_name[0] ? u->display_name : u->name; }
