// The storage contract: what the chat may ask of a store and what it is promised. SQLite is the implementation beside this header; another one
// (PostgreSQL for many servers) is to fit behind it, so no type and no word of SQL is in here.
//
// The log. Every durable change takes the next `rev` in the transaction that commits it: dense, in commit order (PROTOCOL §1). A Change is one of them, the
// row as it is after it. Writes answer with the changes they made; replay answers with the rows changed since, each in its present state.
//
// Order. Writes are judged and committed in the order of store_submit. Their completions run on the loop in that order, after the commit (fsynced at
// Durability::full), before anything of a later batch. A read's completion never overtakes the log: it runs after the completions of
// every write that the read could see.
//
// The transaction judges: each write carries its conditions (WriteKind) and is refused with an Err, alone, if they don't hold at its place in the log.
#pragma once

#include "base/arena.h"
#include "base/crypto.h"
#include "base/errors.h"
#include "base/limits.h"
#include "base/worker.h"

struct Store;
struct uv_loop_s;

// --- rows. Strings are views into the arena of what carries them.

enum class Role : uint8_t { user, moderator, admin };
enum class RoomKind : uint8_t { room, direct };

struct UserRow {
    int64_t id;               // internal; never shown
    int64_t rev;
    std::string_view name;    // as registered
    std::string_view display_name, status;
    Role role;
    int64_t created;          // ms; like every time here: Unix epoch, UTC, only shown
    uint32_t warnings;
    bool blocked, deleted;
};

struct RoomRow {
    int64_t id;               // 1 is the lobby
    int64_t rev;
    RoomKind kind;
    std::string_view name, topic;
    bool is_private, archived;
    int64_t owner;            // a user id; 0: nobody
    int64_t last;             // id of the newest message, 0: none (filled by store_load only)
};

struct MemberRow {
    int64_t rev;              // of joining or leaving
    int64_t room, user;
    int64_t seen;             // read mark: a message id
    bool left;
};

struct MessageRow {
    int64_t id, rev, room, sender; // sender: a user id
    int64_t time, edited, deleted; // edited, deleted: 0 or when
    int64_t reply;                 // 0 or a message id
    std::string_view text, nonce;
    const int64_t *mentions;       // user ids
    uint32_t mentions_count;
};

struct SessionRow {
    int64_t id, user;
    unsigned char token_hash[hash_bytes];
    int64_t created, last_used;
    std::string_view agent, address;
};

enum class ChangeKind : uint8_t { message, user, room, member };
struct Change {
    ChangeKind kind;
    int64_t rev;
    union {
        MessageRow message;
        UserRow user;
        RoomRow room;
        MemberRow member;
    };
};

// --- writes

//                        in (beside `by`, the user who asks; 0: the system)      refusals                                   changes
enum class WriteKind : uint8_t {
    user_add,          // name, key, text=password hash, role, time, [token_hash=invite] name_taken bad_invite                user, member (lobby, seen=its newest)
                       //   out: user. The invite's role counts, `role` only without one; a used invite is consumed; one that makes an
                       //   administrator is void once there is one
    user_profile,      // user, [display_name] [status] (has_… flags)                not_found blocked                        user
    user_password,     // user, text=password hash; key=the present one (empty: any); keep_session (0: none)  not_found blocked  -; all other sessions of the user end. renew_only: no session ends
    user_role,         // user, role                                                not_found                                 user
    user_block,        // user, flag=blocked (false: warnings back to 0)            not_found                                 - (out: user_row)
    user_delete,       // user: sessions and memberships end, name stays taken      not_found                                 member(left)…, user
    session_add,       // user, token_hash, time, agent, address; more than limit sessions: the longest unused go             - (out: session_id)
                       //                                                           not_found (a deleted user), blocked
    session_end,       // user, session_id (0: all of the user's)                   not_found                                 -
    session_touch,     // session_id, time                                                                                    -
    room_add,          // name, key, topic, flag=private, members; by=owner          name_taken too_many(limit) blocked       room, member…
    room_change,       // room, [name+key] [topic] [archived]; by owner or admin     not_found forbidden name_taken            room
    member_add,        // room, user: oneself into a public room, or a member invites not_found not_member forbidden archived blocked too_many   member, or none if in already
                       //   (also room_change, member_remove: a private room that `by` is not in is not_found, to administrators too)
    member_remove,     // room, user: leave, or owner/admin removes; never the lobby  not_found not_member forbidden blocked   member(left)
    message_post,      // room, text, nonce, reply, time, mentions                    blocked not_member archived not_found(reply) message; a known nonce: is_repeat, no change
                       //   (the nonce is the sender's: the stored message may be of another room, and even of one that was left since). The nonce is looked for
                       //   before any refusal but blocked; then only a message of a room that the sender is in is the answer
    message_edit,      // message, text, time, mentions (who is not in the message's room is left out); author, member  not_found forbidden blocked archived not_member message (unchanged text: none)
    message_delete,    // message, time; author, room owner, moderator, admin; member not_found forbidden blocked archived    message (deleted already: none)
    message_refuse,    // user, verdict: why the caller refuses what the user said    not_found blocked, the verdict          - (out: user_row)
                       //   nonce (may be empty): a message that is stored already is the answer, as with a refused message_post: is_repeat. Else the verdict
                       //   is; stop_word is no error but a warning: limit; warnings += 1, blocked when == limit (limit 0: never); flag: it was warned of before and is not counted
    marks,             // marks: read marks, each only grows; no rev                                                          -
    invite_set,        // token_hash of the administrator link (replaces the one before); zero bytes: none                    -
};

struct Mark {
    int64_t room, user, id;
};

// One write. The caller allocates it with store_write_new, fills the fields its kind names (strings copied into the arena), submits it, and in `done` reads the results
// and frees it with store_write_free.
struct StoreWrite {
    StoreWrite *next;
    WriteKind kind;
    void (*done)(StoreWrite *w);
    void *owner;                 // the caller's, not looked at
    uint64_t owner_id, owner_extra;
    Arena arena;                 // owns every view here, in and out
    // in
    int64_t by, user, room, message, reply, time, session_id, keep_session;
    std::string_view name, key, text, topic, nonce, display_name, status, agent, address;
    unsigned char token_hash[hash_bytes];
    Role role;
    Err verdict;
    uint32_t limit;
    bool flag, has_name, has_topic, has_archived, archived, has_display_name, has_status, renew_only;
    const int64_t *ids;          // mentions, or members: user ids
    uint32_t ids_count;
    const Mark *marks;
    uint32_t marks_count;
    // out
    Err err;                     // ok, a refusal, storage_full, unavailable
    bool is_repeat;              // message_…: nothing happened since it is so already; changes_count is 0, and
                                 //   `changes[0].message` holds the present row for who asked
    bool is_hidden;              // message_edit, message_delete: not_found is said of one that is there, in a room that `by` is not in
    Change *changes;
    uint32_t changes_count;
    UserRow user_row;
    int64_t *ended_sessions;     // ids that ended with this write, the first ended_sessions_max (user_password, session_add, session_end of all: all; user_delete: hub knows)
    uint32_t ended_sessions_count;
};

constexpr uint32_t ended_sessions_max = sessions_max_highest;

StoreWrite *store_write_new(WriteKind kind);
void store_write_free(StoreWrite *w);

// --- reads: on the reader thread, each one short read transaction.

enum class ReadKind : uint8_t {
    page,        // room, before|after|around (0: not given), upto (ids ≤ it; 0: all), limit → messages ascending, more_before, more_after. When all three
                 //   are 0: the newest. before: id < it. after: id > it. around: limit/2 before it, and from it on limit - limit/2.
                 //   Ends earlier (with more_…) when the texts come to frame_out_bytes_max; ids > upto count as not there.
    changes,     // since, limit, user (whose memberships; 0: everybody's) → changes with rev > since by rev, each row in its present state; `upto`: the position reached (the snapshot's rev when complete).
                 //   A slice ends earlier, incomplete, after frame_out_bytes_max or 2 ms, and holds at least one change, or none where it passed over slice_ids_max.
    unread,      // user, marks (room, user, id), since, limit → counts per mark; waiting: messages of those rooms with rev > since, counted to limit + 1 (limit 0: not; said to be more than
                 //   limit, too, when counting would take too long)
    authors,     // room, after, before → distinct senders (as ids) of the newest 100 messages with after < id ≤ before
    sessions,    // user → sessions, newest use first
    password,    // user → text: the stored password hash, "" when there is none
    health,      // → err
                 // Any read: err is ok or unavailable.
};

struct UnreadCount {
    uint32_t unread, mentions;   // others' messages above the mark, not deleted, counted to unread_max
};

struct StoreRead {
    Job job;                     // first
    ReadKind kind;
    void (*done)(StoreRead *r);
    void *owner;
    uint64_t owner_id, owner_extra;
    Arena arena;
    Store *store;
    // in
    int64_t room, user, before, after, around, upto, since;
    uint32_t limit;
    const Mark *marks;
    uint32_t marks_count;
    // out
    Err err;
    int64_t snapshot_rev;        // the log as this read saw it
    Change *changes;             // page: messages
    uint32_t changes_count;
    bool more_before, more_after, complete;
    UnreadCount *counts;         // unread: one for each mark
    uint32_t waiting;
    int64_t *ids;
    uint32_t ids_count;
    SessionRow *sessions;
    uint32_t sessions_count;
    std::string_view text;
    uint32_t repeats;            // the owner's: how often it was read again
    StoreRead *next_held;        // the store's, as the next one
    uint32_t seen_commits;
};

StoreRead *store_read_new(ReadKind kind);
void store_read_free(StoreRead *r);

// --- the store itself. Loop thread, all of it.

enum class Durability : uint8_t { full, normal };

struct StoreOptions {
    const char *dir;             // made if missing, as store_make_folder does
    Durability durability = Durability::full;
    bool fix_memory_bound = true;// a static heap for SQLite where the build has one
};

// Called when the writer met a failure that leaves the disk's state unknown (a failed fsync, a corrupt page). Every waiting write has been answered
// `unavailable`. The owner closes its sockets, then calls store_reopen and loads again.
using StoreFailed = void (*)();

// Opens DIR/chatterbox.db under DIR/lock, migrates (with a copy made first), makes an epoch where there is none or where what clients saw may be gone. On failure null and one
// line in *error saying what and how to fix it (locked by another process: "a server is already running on DIR (pid N)"). loop null: no threads; only store_write_now, store_read_now.
Store *store_open(const StoreOptions &options, uv_loop_s *loop, StoreFailed failed, Buf *error);
// Makes the data folder where it is missing, mode 0700, and the way to it, as the umask says. For who must give it away before it is opened. False with a sentence.
[[nodiscard]] bool store_make_folder(const char *dir, bool *is_new, Buf *error);
// Is another process holding DIR/lock? For the command line, which then speaks through DIR/control.
bool store_is_locked(const char *dir);
// Commits what waits, runs the completions, checkpoints, closes. The loop must run once more for the handles to close.
void store_close(Store *s);
bool store_reopen(Store *s, Buf *error);

const char *store_epoch(const Store *s);   // 32 or 36 characters
int64_t store_rev(const Store *s);         // of the newest committed change whose completion has run

// Everything that is kept in memory, row by row, in this order: users, rooms (with `last`), members (left ones not), sessions (without agent and address).
struct StoreLoad {
    void *owner;
    void (*user)(void *owner, const UserRow &row, std::string_view name_key);
    void (*room)(void *owner, const RoomRow &row, std::string_view name_key);
    void (*member)(void *owner, const MemberRow &row);
    void (*session)(void *owner, const SessionRow &row);
};
[[nodiscard]] bool store_load(Store *s, const StoreLoad &into);

// Takes a write. False when write_queue_max wait, or write_queue_bytes_max: nothing was taken, the caller still owns it.
[[nodiscard]] bool store_submit(Store *s, StoreWrite *w);
// True when so many wait (write_queue_crowded) that who can be kept waiting should not be read.
bool store_is_crowded(const Store *s);
// True when half of the room beyond that is taken: then also who was promised some of it should wait, since nobody knows when the promise will be used.
bool store_is_nearly_full(const Store *s);
// True when writes wait or a batch is under way.
bool store_has_work(const Store *s);
// True when writes wait and no batch is under way: the loop should not sleep before the next store_turn.
bool store_wants_turn(const Store *s);
// Once at the end of every loop turn (also of the turn in which completions ran): if no batch is under way, what waits becomes one. While commits are fast (running
// mean below commit_inline_us_max, or below `worth_us`) it is committed here and now and its completions run before this returns; else on the writer thread, and they run
// in a later turn. worth_us: so long a commit (commit_worth_us_max at most) is worth waiting for, because the readers are then served once for this batch and what came meanwhile, not twice.
void store_turn(Store *s, uint32_t worth_us = 0);
// Asks for a read. False when read_queue_max wait.
[[nodiscard]] bool store_read(Store *s, StoreRead *r);

// For the command line, without a loop: one transaction, synchronously; results are in *w. `done` is not called.
void store_write_now(Store *s, StoreWrite *w);
void store_read_now(Store *s, StoreRead *r);

// A consistent copy of the database in `dir` at `path` (which must not exist), with an empty epoch, fsynced. For the command line: it blocks, with a connection of its own that only
// reads, and needs no Store, for another process may be at work on it. False with a sentence.
[[nodiscard]] bool store_backup(const char *dir, const char *path, Buf *error);
// Somebody begins or ends such a copy of this store: while one is made the log cannot be cleaned, and the writer does not wait for that.
void store_copying(Store *s, bool begins);
// Is the whole database sound: the structure of the file and our own invariants (no rev twice, every sender a user …)? False with the findings in *report, a
// line each. It only reads, also while the store works.
bool store_check(Store *s, Buf *report);
// The same for the folder of a store that is not open here (another process may have it open); what is in it, when sound, to *summary. Unknown: it could not be looked at here, for
// the reason in *report, which says nothing against it.
enum class Soundness : uint8_t { sound, damaged, unknown };
Soundness store_check_folder(const char *dir, Buf *report, Buf *summary);
