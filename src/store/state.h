// What the parts of the store share: the Store itself and the doors between writer, operations, readers and copies. Not for outside src/store.
//
// Threads. Everything belongs to the loop thread but: `writing` (and the batch's list) while `batch.in_flight` belongs to the writer thread,
// `reading` to the reader thread, and the members marked atomic to whoever uses __atomic on them.
#pragma once

#include "store/db.h"

struct Batch {
    Job job;
    StoreWrite *first;      // in the order of store_submit
    uint32_t count;
    bool in_flight;         // on the writer thread; a checkpoint alone has an empty list
    bool is_checkpoint;     // and nothing else
    int64_t rev_after;      // of the log when it is committed
    uint64_t commit_us;     // of COMMIT alone, the fsync in it; 0: nothing was written
    Failure failure;        // of the batch as a whole
};

struct Store {
    // fixed while it is open
    char path[1024 + 32];   // DIR/chatterbox.db
    int lock_fd;
    Durability durability;
    uv_loop_s *loop;
    StoreFailed failed;
    // the log
    char epoch[uuid_chars + 1];
    int64_t rev;            // of the newest change whose completion has run
    int64_t rev_committed;  // of the newest in the database; the writer's
    // writing
    Db writing;
    Worker *writer;
    Batch batch;
    StoreWrite *first, *last;
    uint32_t waiting;
    size_t waiting_bytes;   // what those hold
    uint32_t commit_mean_us;
    bool is_broken;         // until store_reopen: everything is answered `unavailable`
    bool is_closing;        // nothing more is taken
    uint32_t commits_begun; // atomic; counts up before a COMMIT, so that whoever sees its rows sees the count
    uint32_t rev_begun[4];  // atomic; of commit n at n % 4: the low bits of the log's rev with it, since not every board has wider atomics; before the count
    uint32_t commits_told;  // of them the completions have run
    uint32_t wal_frames;    // pages in the write-ahead log after the last commit; the writer's
    uint32_t checkpoint_at; // frames; the writer's
    bool has_written;       // the last COMMIT did; the writer's
    uint64_t full_logged_ms;
    int reserve_fd;         // -1: there is none; this and the next two are the writer's
    bool is_reserve_gone;   // only what is vital is written
    uint64_t reserve_tried_ms;
    // reading
    Db reading;
    Worker *reader;
    uint32_t reads_waiting;
    StoreRead *held_first, *held_last; // done, but ahead of the completions
    bool is_cleaning;       // the log is being copied into the database beside the batches
    bool is_log_copied;     // nearly all of it is: a checkpoint by the writer is due and will be short
    Job cleaning;
    // what may take long: copies of the database, the long half of a checkpoint
    Worker *chores;         // a thread, started when first needed
    uint32_t copies_running; // by other processes; atomic
};

// --- ops.cpp: one operation inside the writer's transaction

// Who was found to be allowed to post where, in this transaction: writers say several things in a row, and a batch is full of such rows. Every other
// operation may change that, so it empties the table.
constexpr uint32_t posters_places = 64; // direct-mapped: who shares a place is only asked about again
struct Poster {
    int64_t user, room; // user 0: empty
};

struct Tx {
    Db &db;
    int64_t rev; // the newest given in this transaction
    bool has_posters = false;
    Poster posters[posters_places] = {};
};
// Judges the operation and does it; on a refusal everything is as it was, rev included. db.failure tells of what is no refusal.
Err operation_run(Tx &tx, StoreWrite *w);
// Is it one of those that free room, or keep somebody out, and are written even when the disk is full?
bool operation_is_vital(Tx &tx, StoreWrite *w);

// --- writer.cpp

bool writer_start(Store *s, Buf *error);      // the thread, where there is a loop
void writer_stop(Store *s);                   // waits for what is in flight, runs its completions
void writer_drain(Store *s);                  // commits and completes all that waits
void writer_watch_log(Store *s);              // on a connection just opened
void writer_truncate_log(Store *s);           // a whole checkpoint, when nothing else runs

// --- reserve.cpp

void reserve_open(Store *s, const char *dir); // makes it if need be; without it the store works too
bool reserve_give(Store *s);                  // its room is free now; false: there was none to give
void reserve_regain(Store *s);                // tries, reserve_retry_ms after the last time
bool reserve_holds_log(Store *s);             // while its room is free: would a checkpoint leave half of it?

// --- reader.cpp

constexpr uint64_t release_us_max = 2'000;

bool reader_start(Store *s, Buf *error);      // the thread, where there is a loop; the first read opens the connection
void reader_stop(Store *s, bool checkpoint);  // finishes what is queued
// Runs the held completions that may run now, until the time is used up: each may encode a page, and there may be a thousand.
void reader_release(Store *s, uint64_t us_max = release_us_max);
bool reader_wants_turn(const Store *s);       // some were left

// --- store.cpp

// Is the file a copy that no store has opened since it was made?
bool db_is_backup(const char *path);

// --- backup.cpp

bool chores_submit(Store *s, Job *job); // false: no thread could be started, or too much waits
void chores_stop(Store *s);             // waits, runs the completions
