// The chat without a network for unit tests: a real store in a folder of its own, the hub on it, and clients whose sockets are made up (a SyncPort): what they
// are sent is kept as lines, and how much they take in a turn is the test's choice. Time is the test's too. One world, one thread.
#pragma once

#include "store_world.h"

#include "chat/hub.h"
#include "chat/sync.h"

struct Client {
    Reader reader;
    bool open, failed;
    uint32_t generation;     // counts its connections
    uint32_t takes;          // frames in a turn; 0: it is stuck
    uint32_t taken;          // of them in this turn
    Buf queue;               // private frames, one a line
    Buf got;                 // all that arrived, one frame a line
    void (*hears)(Client *c, std::string_view frame); // called for each frame as it arrives; may be null
};

constexpr uint32_t takes_all = 1'000'000;
constexpr uint32_t clients_max = 32;

struct ChatWorld {
    World store;
    Hub hub;
    uint64_t now_ms;
    Client clients[clients_max];
    Buf hooks;               // a line for each call of a hook
};
extern ChatWorld chat;

void chat_make(const HubOptions &options = {});
void chat_remove();
// What the server's loop does in a turn, and turns until nobody has anything to do (stuck clients excepted).
void chat_turn();
void chat_settle();
void chat_wait(uint64_t ms);                       // time passes, then chat_settle

User *chat_user(const char *name, Role role = Role::user);
User *chat_find(const char *name);
// A write through the hub, waited for: how it ended. The write is freed.
Err chat_did(StoreWrite *w);
Err chat_post(User *by, int64_t room, std::string_view text, std::string_view nonce = {}, const HubOrigin &origin = {});
int64_t chat_room(User *owner, const char *name, bool is_private = false); // its id
Err chat_join(User *user, int64_t room, User *by = nullptr);
Err chat_leave(User *user, int64_t room, User *by = nullptr);
Err chat_rename(User *user, const char *display_name);
// Of the last write that ended: its error, kind, and whether it was a repeat.
struct Decided {
    Err err;
    WriteKind kind;
    bool is_repeat;
    int64_t message, rev;    // of its first change, a message
    int64_t text_room;
    uint32_t warnings;
    bool blocked;
    uint32_t count;          // of all writes decided so far
    char ref[80];
};
extern Decided decided;
void chat_finish(Hub *h, StoreWrite *w);

// The next free client connects for this user. Nothing has arrived yet.
Client *chat_connect(User *user, const ReaderStart &how = {}, uint32_t takes = takes_all);
uint64_t chat_id(const Client *c); // what its reader is called by
void chat_disconnect(Client *c);
void chat_reconnect(Client *c, User *user, const ReaderStart &how);
// How many of the lines hold this, and the last line that does ("" when none).
uint32_t lines_with(const Buf &lines, std::string_view part);
std::string_view line_with(const Buf &lines, std::string_view part);
