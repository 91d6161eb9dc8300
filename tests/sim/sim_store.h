// The simulated store: the contract of src/store/store.h in memory, from one seed, with faults on purpose. Linked in the place of src/store. Written from the
// contract as a second opinion about it: differ.cpp runs the same random operations through this and through SQLite. Single-threaded.
#pragma once

#include "store/store.h"

// A growable array of plain values. Never shrinks; nobody frees it: a run is a process.
template <typename T>
struct List {
    T *at = nullptr;
    uint32_t count = 0, capacity = 0;
    T *begin() const { return at; }
    T *end() const { return at + count; }
    T &operator[](uint32_t i) const { return at[i]; }
    T *add(const T &value) {
        if (count == capacity) at = static_cast<T *>(mem_grow(at, (capacity = capacity ? capacity * 2 : 16) * sizeof(T)));
        at[count] = value;
        return &at[count++];
    }
};

struct SimUser {
    UserRow row;
    std::string_view key, password;
};

struct SimRoom {
    RoomRow row;
    std::string_view key;
};

struct SimInvite {
    unsigned char token_hash[hash_bytes];
    Role role;
};

// All that is on the simulated disk. Strings live as long as the process.
struct SimData {
    List<SimUser> users;
    List<SimRoom> rooms;
    List<MemberRow> members;     // left ones too
    List<MessageRow> messages;   // ascending by id
    List<SessionRow> sessions;
    List<SimInvite> invites;
    int64_t rev = 0, last_session = 0;
    char epoch[uuid_chars + 1] = "";
};

// Parts in a thousand, unless said otherwise. All zero: a store that works.
struct SimFaults {
    uint32_t slow;               // a batch goes to the writer's thread instead of being committed at once
    uint32_t full, passing, broken; // how a batch ends
    bool is_full;                // every batch: until it is over
    uint32_t read_fails, read_late;
    uint32_t slices_small;       // a slice of changes ends early
    uint32_t reopen_fails;
};

// Told of what happens to the log; any may be null.
struct SimWatch {
    void (*committed)(const Change &c);  // it is on the disk
    void (*told)(const Change &c);       // the server is about to hear of it
    void (*replaced)();                  // the disk holds something else than before
    void (*loaded)();                    // the server reads all of it
};
extern SimWatch sim_watch;

extern SimData sim_disk;         // what is committed; survives a crash
extern SimFaults sim_faults;

void sim_disk_make();            // an empty database
void sim_disk_copy(SimData *to, const SimData &from);
void sim_store_poll(Store *s);   // what the threads do meanwhile, and completions: once a turn of the loop
void sim_store_crash(Store *s);  // the process has ended: what was under way is committed or not
bool sim_store_idle(const Store *s);
// Of one asker: how many reads wait, and what the answers to its waiting writes may hold.
uint32_t sim_store_reads_of(const Store *s, uint64_t owner);
uint64_t sim_store_asked_of(const Store *s, uint64_t owner);
uint32_t sim_store_reads(const Store *s);

const MessageRow *sim_message(const SimData &d, int64_t id);
const SimUser *sim_user(const SimData &d, int64_t id);
const SimRoom *sim_room(const SimData &d, int64_t id);
const MemberRow *sim_member(const SimData &d, int64_t room, int64_t user); // null: not in it now
