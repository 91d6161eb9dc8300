// A client as PROTOCOL.md §1 says: it holds a position and an epoch, resumes, drops rooms that it left, asks for the history of those it joined, and sends a nonce again
// until it is answered. What it is told it checks at once; what it holds in the end is compared with the disk (sim_check.cpp). Single-threaded.
#pragma once

#include "base/buf.h"
#include "sim_ledger.h"
#include "sim_net.h"

constexpr uint32_t clients_max = 24, calls_max = 8;

// A person: who exists on the server is what the server says; this is who tries.
struct Person {
    char name[16], password[32];
    bool is_registered, is_asking, is_gone; // gone: deleted
};

// One message that somebody tried to send.
struct Sent {
    uint32_t person;
    char nonce[16];
    int64_t room;
    std::string_view text;
    int64_t acked;               // id; 0: not
};

struct Outgoing {
    uint32_t sent;               // in sim_sent
    bool is_under_way;           // on this connection
    uint64_t again_us;           // not before
    int64_t said_rev;            // how far the log was when it last was sent
};

struct Known {                   // a room
    bool is_there, joined, wants_history;
    int64_t rev;
    uint64_t print;
    int64_t low;                 // complete from this id on; ids_max: nothing yet
    uint32_t asked;              // number of the history request; 0: none under way
    int64_t dropped;             // rev at which it was dropped last
    int64_t marks[people_max];   // what each has seen, its own too
    uint32_t unread, mentions;   // as `welcome` said
};

struct Held {                    // a message
    int64_t rev, room;
    uint64_t print;
};

enum class Stage : uint8_t { off, entering, asked, welcomed, ready };

struct Client {
    uint32_t index, person;
    bool is_probe;
    char token[uuid_chars + 1];
    bool is_entering;            // a call for a token is under way
    Stage stage;
    Wire *wire;
    Buf in;
    bool head_done;
    uint32_t speed;              // bytes a step; 0: takes nothing
    uint64_t again_us;           // connects not before
    uint64_t since_us;           // of the stage
    // what it knows
    bool has_position;
    int64_t position, base;      // base: the rev of its snapshot
    char epoch[uuid_chars + 1];
    Known rooms[rooms_max];
    Held *held;                  // ids_max
    int64_t user_rev[people_max];
    uint64_t user_print[people_max];
    bool online[people_max], knows_online; // with many people `ready` does not name them
    uint32_t member_step[rooms_max]; // when it was in the room last, in this connection; 0: not
    uint32_t free_step;          // when nothing was under way to it and nothing queued for it last
    int64_t connected_rev;       // where the server was
    bool has_heard;              // something since it was looked at
    // of this connection
    Ledger ledger;
    bool resumed;
    int64_t welcome_rev;
    uint32_t connections, *came; // for each message the connection on which it last came in a replay
    uint32_t ready_count;
    List<Outgoing> out;
    uint32_t requests;
};

extern Person people[people_max];
extern uint32_t people_count;
extern Client *clients[clients_max];
extern uint32_t clients_count;
extern List<Sent> sim_sent;
extern uint64_t sim_frames;              // that clients got

struct ClientStats {
    uint64_t frames, messages, acks, repeats, resumes, snapshots, overruns, warnings, blocks, refusals, cuts, crashes, leaks_looked, calls, ended, storage_errors, crowded;
};
extern ClientStats stats;

Client *client_make(uint32_t person);
void client_connect(Client *c, bool afresh);
void client_hear(Client *c, size_t most);  // takes what has arrived
void client_lost(Client *c, const char *why); // its connection has gone
void client_say(Client *c, std::string_view json);
void client_post(Client *c, int64_t room, std::string_view text);
void client_push(Client *c);               // what is to be sent (again), and histories to be asked for
// What a frame says that came compressed (RFC 7692, no context taken over). False: it is none.
bool sim_inflate(std::string_view deflated, Buf &out);
void client_forget(Client *c);             // all it knows
int person_of(std::string_view name);
int64_t room_of_person(const Client *c, bool any); // one that it is in, at random; 0: none

uint64_t print_room(std::string_view name, std::string_view topic, bool is_private, bool archived, std::string_view owner);
uint64_t print_user(std::string_view display_name, std::string_view status, std::string_view role, bool deleted);
uint64_t print_message(int64_t room, std::string_view sender, std::string_view text, std::string_view nonce, int64_t time, int64_t edited, int64_t deleted, int64_t reply);
uint64_t print_more(uint64_t print, std::string_view text);
