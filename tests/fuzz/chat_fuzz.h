// The world of fuzz_chat.cpp: a whole server without a process, a network, a thread or a real clock. The clock and the worker threads are replaced at link time, so
// that time passes, jobs run and completions arrive when the input says; the store's folder is in memory and begins each input as the same small chat. One
// thread, deterministic.
#pragma once

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/unicode.h"
#include "chat/presence.h"
#include "chat/protocol.h"
#include "chat/seen.h"
#include "fuzz.h"
#include "net/conn_internal.h"
#include "web/api.h"
#include "web/delay.h"
#include "web/socket.h"

// --- the clock

inline uint64_t fuzz_now_us, fuzz_step_us; // each look costs a step: a slow disk, and slices that end early

uint64_t clock_us() { return fuzz_now_us += fuzz_step_us; }
uint64_t clock_ms() { return fuzz_now_us / 1000; }
int64_t clock_wall_ms() { return 1'800'000'000'000 + (int64_t)(fuzz_now_us / 1000); }
bool clock_is_set() { return true; }

// --- the workers: jobs wait in a row until they are run, and run until they are told

struct Worker {
    Job *queued, *finished;
    uint32_t waiting, queue_max;
    Worker *next;
};
inline Worker *fuzz_workers;

inline void job_append(Job **list, Job *job) {
    while (*list) list = &(*list)->next;
    job->next = nullptr;
    *list = job;
}

inline bool worker_run_one(Worker *w) {
    Job *job = w->queued;
    if (!job) return false;
    w->queued = job->next;
    w->waiting--;
    job->work(job);
    job_append(&w->finished, job);
    return true;
}

inline bool worker_tell_one(Worker *w) {
    Job *job = w->finished;
    if (!job) return false;
    w->finished = job->next;
    job->done(job);
    return true;
}

Worker *worker_start(uv_loop_s *, unsigned, uint32_t queue_max, int) {
    auto *w = (Worker *)mem_zero(sizeof(Worker));
    w->queue_max = queue_max;
    w->next = fuzz_workers;
    return fuzz_workers = w;
}

bool workers_begin() { return true; }

bool worker_submit(Worker *w, Job *job) {
    if (w->waiting >= w->queue_max) return false;
    w->waiting++;
    job_append(&w->queued, job);
    return true;
}

uint32_t worker_waiting(const Worker *w) { return w->waiting; }

void worker_stop(Worker *w) {
    w->queue_max = 0; // nothing more is taken
    while (worker_run_one(w)) {}
    while (worker_tell_one(w)) {}
    Worker **at = &fuzz_workers;
    while (*at != w) at = &(*at)->next;
    *at = w->next;
    free(w);
}

// --- the chat that every input begins with

constexpr int users_count = 5, rooms_count = 4; // alice (administrator), bob, carol (moderator), dave, eve; lobby, open, secret, old

struct FuzzWorld {
    uv_loop_t loop;
    char dir[64];
    Buf database; // the file as the first input found it
    Store *store;
    Hub hub;
    int64_t users[users_count], rooms[rooms_count];
};
inline FuzzWorld world;

inline const char *const user_names[users_count] = {"alice", "bob", "carol", "dave", "eve"};
inline void token_of(int user, char out[uuid_chars + 1]) { snprintf(out, uuid_chars + 1, "00000000-0000-4000-8000-00000000000%u", static_cast<unsigned>(user) % 10); }

inline void world_path(const char *name, char out[128]) { snprintf(out, 128, "%s/%s", world.dir, name); }

inline void world_clean() {
    DIR *dir = opendir(world.dir);
    char path[512];
    for (dirent *e; dir && (e = readdir(dir));) {
        snprintf(path, sizeof path, "%s/%s", world.dir, e->d_name);
        if (e->d_name[0] != '.') unlink(path);
    }
    if (dir) closedir(dir);
}

inline void world_unmake() {
    world_clean();
    rmdir(world.dir);
}

inline void (*world_told)(); // called after each completion

// Completions, batches and reads until nothing waits.
inline void world_drain() {
    for (bool more = true; more;) {
        more = false;
        for (Worker *w = fuzz_workers; w; w = w->next) more |= worker_run_one(w);
        for (Worker *w = fuzz_workers; w; w = w->next) {
            if (!worker_tell_one(w)) continue;
            more = true;
            if (world_told) world_told();
            break; // the list of workers may be another one now
        }
        if (store_wants_turn(world.store)) {
            store_turn(world.store);
            more = true;
        }
    }
}

inline Store *world_store_open() {
    ScopedBuf error;
    StoreOptions options;
    options.dir = world.dir;
    options.durability = Durability::full;
    Store *s = store_open(options, &world.loop, nullptr, &error);
    if (!s) fprintf(stderr, "%.*s\n", (int)error.len, error.data);
    CB_ASSERT(s != nullptr);
    return s;
}

inline StoreWrite *fuzz_write(WriteKind kind, int64_t by) {
    StoreWrite *w = store_write_new(kind);
    w->by = by;
    w->time = clock_wall_ms();
    w->done = [](StoreWrite *) {};
    return w;
}

inline int64_t did(StoreWrite *w, int64_t StoreWrite::*out) {
    CB_ASSERT(store_submit(world.store, w));
    world_drain();
    CB_ASSERT(w->err == Err::ok);
    int64_t value = w->*out;
    store_write_free(w);
    return value;
}

inline std::string_view kept(StoreWrite *w, std::string_view text) { return arena_copy(w->arena, text); }

inline void template_people() {
    for (int i = 0; i < users_count; i++) {
        StoreWrite *w = fuzz_write(WriteKind::user_add, 0);
        w->name = w->key = kept(w, user_names[i]);
        w->text = "none";
        w->role = i == 0 ? Role::admin : i == 2 ? Role::moderator : Role::user;
        world.users[i] = did(w, &StoreWrite::user);
        char token[uuid_chars + 1];
        token_of(i, token);
        w = fuzz_write(WriteKind::session_add, 0);
        w->user = world.users[i];
        w->limit = sessions_max;
        token_hash(token, w->token_hash);
        did(w, &StoreWrite::session_id);
    }
}

inline void template_rooms() {
    world.rooms[0] = lobby_id;
    const char *const names[] = {"", "open", "secret", "old"};
    for (int i = 1; i < rooms_count; i++) {
        StoreWrite *w = fuzz_write(WriteKind::room_add, world.users[i - 1]);
        w->name = w->key = kept(w, names[i]);
        w->flag = i == 2;
        w->limit = rooms_made_max;
        w->ids = world.users + i;
        w->ids_count = 2;
        world.rooms[i] = did(w, &StoreWrite::room);
    }
    for (int i = 0; i < 12; i++) {
        StoreWrite *w = fuzz_write(WriteKind::message_post, world.users[1 + i % 2]);
        w->room = world.rooms[i % 3];
        w->text = "a text that stands here from the beginning";
        did(w, &StoreWrite::message);
    }
    StoreWrite *w = fuzz_write(WriteKind::room_change, world.users[0]);
    w->room = world.rooms[3];
    w->has_archived = w->archived = true;
    CB_ASSERT(store_submit(world.store, w));
    world_drain();
    store_write_free(w);
}

// Makes the database once, and keeps its bytes.
inline void world_make() {
    CB_ASSERT(crypto_start() && uv_loop_init(&world.loop) == 0);
    const char *const memory = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(world.dir, sizeof world.dir, "%s/chatterbox-fuzz-XXXXXX", memory);
    CB_ASSERT(mkdtemp(world.dir) != nullptr);
    atexit(world_unmake);
    fuzz_now_us = 1'000'000'000;
    fuzz_step_us = 0;
    world.store = world_store_open();
    template_people();
    template_rooms();
    store_close(world.store);
    char path[128];
    world_path("chatterbox.db", path);
    int fd = open(path, O_RDONLY);
    struct stat st;
    CB_ASSERT(fd >= 0 && fstat(fd, &st) == 0);
    buf_reserve(world.database, (size_t)st.st_size);
    CB_ASSERT(read(fd, world.database.data, (size_t)st.st_size) == st.st_size);
    world.database.len = (size_t)st.st_size;
    close(fd);
}

// --- the life of one input

inline void world_begin() {
    world_clean();
    char path[128];
    world_path("chatterbox.db", path);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    CB_ASSERT(fd >= 0 && write(fd, world.database.data, world.database.len) == (ssize_t)world.database.len);
    close(fd);
    fuzz_now_us = 2'000'000'000;
    fuzz_step_us = 0;
    world.store = world_store_open();
    ScopedBuf error;
    HubOptions options = {.message_rate = {60, 5}, .request_rate = {60, 50}};
    RingFraming framing = {.header = [](char out[16], size_t n) { return ws_text_header(out, n, false); }, .deflate = ws_encode_deflated};
    HubHooks hooks = {.session_ended = sockets_of_session_close, .user_blocked = sockets_of_user_block};
    CB_ASSERT(hub_start(&world.hub, world.store, framing, options, hooks, words_parse("hate\n", &error)));
    NetOptions net_options;
    net_options.connections_max = 64;
    net_start(&world.loop, net_options, {.request = api_request, .text = socket_text, .frame = socket_frame, .writable = socket_writable, .closed = socket_closed});
    CB_ASSERT(auth_start(&world.hub, &world.loop, {.password_memory_kib = 8, .password_ops = 1, .login_rate = 0}, 1));
    api_start(&world.hub);
    sockets_start(&world.hub, {.sockets_max = 12, .sockets_per_user_max = 4});
}

inline void world_end() {
    sockets_close_all(1001, "");
    sockets_turn();
    net_stop();
    auth_stop();
    store_close(world.store);
    world.store = nullptr;
    hub_stop(&world.hub);
    delay_free();
    uv_run(&world.loop, UV_RUN_DEFAULT);
    CB_ASSERT(!fuzz_workers && !net.started && sockets_count() == 0);
}

inline void world_turn() {
    conn_work();
    uint64_t now = clock_ms();
    delay_turn(now);
    hub_turn(&world.hub, now);
    store_turn(world.store);
    sockets_turn();
}
