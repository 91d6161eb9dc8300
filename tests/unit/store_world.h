// A store in a folder of its own for unit tests, with a loop, and short words for what the tests ask of it. Whatever goes wrong on the way
// fails the test that called. One thread. Used by test_store*.cpp only.
#pragma once

#include "unit.h"

#include <uv.h>

#include "store/store.h"

struct World {
    char dir[64];
    uv_loop_t loop;
    Store *s;
    Durability durability;
};

void world_make(World &world, Durability durability = Durability::normal); // an empty folder, and the store open in it
void world_open(World &world);                                             // again, after world_close; on failure the test fails
void world_close(World &world);
void world_remove(World &world);                                           // closes if need be, removes the folder
void world_end(World &world);                                              // the teardown of most: the store is sound (store_check), then world_remove
void world_path(const World &world, const char *name, char out[256]);
// Runs turns until nothing waits and nothing is under way.
void world_settle(World &world);

// A write with its strings copied; `say` puts it into the queue, `did` waits for it. Results are read from the write until it is freed.
StoreWrite *a_write(WriteKind kind, int64_t by = 0);
std::string_view in_arena(StoreWrite *w, std::string_view text);
void say(World &world, StoreWrite *w);
bool is_done(const StoreWrite *w);
StoreWrite *did(World &world, StoreWrite *w);
Err err_of(World &world, StoreWrite *w); // did, freed

// The usual things.
int64_t user_make(World &world, const char *name, Role role = Role::user);
int64_t room_make(World &world, int64_t owner, const char *name, bool is_private = false);
void join(World &world, int64_t user, int64_t room, int64_t by = -1); // by: the user itself
StoreWrite *a_post(int64_t by, int64_t room, const char *text, const char *nonce = "");
int64_t post(World &world, int64_t by, int64_t room, const char *text, const char *nonce = "");
StoreWrite *an_edit(int64_t by, int64_t message, const char *text);
StoreWrite *a_delete(int64_t by, int64_t message);
StoreWrite *a_refusal(int64_t user, Err verdict, const char *nonce = "");
StoreWrite *about_user(WriteKind kind, int64_t user, int64_t by = 0);
StoreWrite *about_room(WriteKind kind, int64_t room, int64_t by, int64_t user = 0);

// A read, waited for (through the loop and the reader's thread).
StoreRead *a_read(ReadKind kind);
StoreRead *did_read(World &world, StoreRead *r);
bool is_read(const StoreRead *r);
void say_read(World &world, StoreRead *r);

int64_t sql_value(const World &world, const char *sql); // from a connection of its own
void sql_run(const World &world, const char *sql);
