// store_bench: what our writer costs beside SQLite itself. Without a network, it posts messages through store_submit and store_turn, and beside that runs a bare
// loop of prepared statements with the same effect (BEGIN IMMEDIATE, one INSERT a message, one UPDATE of the log's rev, COMMIT) on a database of
// the same schema and pragmas, in turns, so that a busy moment of the machine meets both. Also fills databases for other measurements. Owns its folders under DIR.
//
//   store_bench compare DIR [ROUNDS]      medians of messages per second, of CPU time and their ratios at batches of 1, 40 and 400
//   store_bench only DIR ours|bare BATCH MESSAGES   one side alone, for a profiler
//   store_bench fill DIR MESSAGES         a store with so many messages in the lobby, closed well
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "store/db.h"
#include "store/store.h"

static const char text_sample[] = "Hello, this is a line of chat as people write them: a hundred bytes, of which none is at all special.";
constexpr int64_t lobby = 1;

// Nonces either count up, as those of load generators and of programs do, or are random: then each message meets another page of the index.
static bool nonces_are_random;
static uint64_t random_state = 1;
static uint64_t nonce_next() {
    static uint64_t counted = (uint64_t)clock_wall_ms() << 20;
    if (!nonces_are_random) return ++counted;
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static size_t nonce_make(char out[24]) { return (size_t)snprintf(out, 24, "%016llx", (unsigned long long)nonce_next()); }

// --- ours

struct Ours {
    uv_loop_t loop;
    Store *store;
    int64_t user;
    uint64_t stored;
};
static Ours ours;

static void user_made(StoreWrite *w) {
    CB_ASSERT(w->err == Err::ok || w->err == Err::name_taken);
    ours.user = w->err == Err::ok ? w->user : 1; // there since an earlier run
    store_write_free(w);
}

static void message_stored(StoreWrite *w) {
    CB_ASSERT(w->err == Err::ok && w->changes_count == 1);
    ours.stored++;
    store_write_free(w);
}

static void ours_settle() {
    while (store_has_work(ours.store)) {
        store_turn(ours.store, UINT32_MAX);
        uv_run(&ours.loop, store_wants_turn(ours.store) || !store_has_work(ours.store) ? UV_RUN_NOWAIT : UV_RUN_ONCE);
    }
    uv_run(&ours.loop, UV_RUN_NOWAIT);
}

static void ours_open(const char *dir) {
    ScopedBuf error;
    StoreOptions options;
    options.dir = dir;
    CB_ASSERT(uv_loop_init(&ours.loop) == 0);
    ours.store = store_open(options, &ours.loop, nullptr, &error);
    if (!ours.store) {
        fprintf(stderr, "store_bench: %.*s\n", (int)error.len, error.data);
        exit(1);
    }
    StoreWrite *w = store_write_new(WriteKind::user_add);
    w->name = w->key = "anna";
    w->text = "hash";
    w->done = user_made;
    CB_ASSERT(store_submit(ours.store, w));
    ours_settle();
}

static void ours_post() {
    StoreWrite *w = store_write_new(WriteKind::message_post);
    char nonce[24];
    w->by = w->user = ours.user;
    w->room = lobby;
    w->time = clock_wall_ms();
    w->text = arena_copy(w->arena, text_sample);
    w->nonce = arena_copy(w->arena, {nonce, nonce_make(nonce)});
    w->done = message_stored;
    CB_ASSERT(store_submit(ours.store, w));
}

static void ours_run(uint32_t messages, uint32_t batch) {
    for (uint32_t i = 0; i < messages; i += batch) {
        for (uint32_t k = 0; k < batch; k++) ours_post();
        ours_settle();
    }
}

static void ours_close() {
    store_close(ours.store);
    uv_run(&ours.loop, UV_RUN_DEFAULT);
    CB_ASSERT(uv_loop_close(&ours.loop) == 0);
}

// --- bare: the least that SQLite can be asked to do for the same

struct Bare {
    sqlite3 *db;
    sqlite3_stmt *begin, *insert, *rev_set, *commit;
    int64_t rev;
};
static Bare bare;

static void bare_ok(int rc) {
    if (rc == SQLITE_OK || rc == SQLITE_DONE || rc == SQLITE_ROW) return;
    fprintf(stderr, "store_bench: %s\n", sqlite3_errmsg(bare.db));
    exit(1);
}

static void bare_step(sqlite3_stmt *statement) {
    bare_ok(sqlite3_step(statement));
    sqlite3_reset(statement);
}

// The schema and the user come from a store that was opened and closed there.
static void bare_open(const char *dir) {
    ours_open(dir);
    ours_close();
    char path[512];
    snprintf(path, sizeof path, "%s/chatterbox.db", dir);
    bare_ok(sqlite3_open_v2(path, &bare.db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, nullptr));
    sqlite3_db_config(bare.db, SQLITE_DBCONFIG_LOOKASIDE, nullptr, 1200, 40); // what a connection has by itself
    // Those of db_open. It has no thread for checkpoints, so it makes them itself, at the size at which ours begins one.
    bare_ok(sqlite3_exec(bare.db,
                         "PRAGMA cache_size=64; PRAGMA temp_store=MEMORY; PRAGMA mmap_size=0; PRAGMA trusted_schema=OFF; PRAGMA secure_delete=ON;"
                         "PRAGMA wal_autocheckpoint=1024; PRAGMA journal_size_limit=4194304; PRAGMA synchronous=FULL",
                         nullptr, nullptr, nullptr));
    const struct {
        sqlite3_stmt **out;
        const char *sql;
    } table[] = {{&bare.begin, "BEGIN IMMEDIATE"},
                 {&bare.insert, "INSERT INTO messages (id, rev, room, sender, time, reply, nonce, mentions, text) VALUES (?1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"},
                 {&bare.rev_set, "UPDATE meta SET value = ?1 WHERE key = 'rev'"},
                 {&bare.commit, "COMMIT"}};
    for (const auto &row : table) bare_ok(sqlite3_prepare_v3(bare.db, row.sql, -1, SQLITE_PREPARE_PERSISTENT, row.out, nullptr));
    sqlite3_stmt *rev;
    bare_ok(sqlite3_prepare_v2(bare.db, "SELECT value FROM meta WHERE key = 'rev'", -1, &rev, nullptr));
    bare_ok(sqlite3_step(rev));
    bare.rev = sqlite3_column_int64(rev, 0);
    sqlite3_finalize(rev);
}

static void bare_post() {
    char nonce[24];
    size_t nonce_bytes = nonce_make(nonce);
    sqlite3_bind_int64(bare.insert, 1, ++bare.rev);
    sqlite3_bind_int64(bare.insert, 2, lobby);
    sqlite3_bind_int64(bare.insert, 3, 1);
    sqlite3_bind_int64(bare.insert, 4, clock_wall_ms());
    sqlite3_bind_int64(bare.insert, 5, 0);
    sqlite3_bind_blob(bare.insert, 6, nonce, (int)nonce_bytes, SQLITE_STATIC);
    sqlite3_bind_null(bare.insert, 7);
    sqlite3_bind_text(bare.insert, 8, text_sample, (int)sizeof text_sample - 1, SQLITE_STATIC);
    bare_step(bare.insert);
}

static void bare_run(uint32_t messages, uint32_t batch) {
    for (uint32_t i = 0; i < messages; i += batch) {
        bare_step(bare.begin);
        for (uint32_t k = 0; k < batch; k++) bare_post();
        sqlite3_bind_int64(bare.rev_set, 1, bare.rev);
        bare_step(bare.rev_set);
        bare_step(bare.commit);
    }
}

static void bare_close() {
    for (sqlite3_stmt *statement : {bare.begin, bare.insert, bare.rev_set, bare.commit}) sqlite3_finalize(statement);
    sqlite3_close(bare.db);
}

// --- measuring

struct Sample {
    double per_s, cpu_us; // messages a second; CPU time of a message, all threads
};

static double cpu_seconds() {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) + (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static Sample measure(void (*run)(uint32_t, uint32_t), uint32_t messages, uint32_t batch) {
    double cpu = cpu_seconds();
    uint64_t begin = clock_us();
    run(messages, batch);
    double took_us = (double)(clock_us() - begin);
    return {.per_s = messages * 1e6 / took_us, .cpu_us = (cpu_seconds() - cpu) * 1e6 / messages};
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double quantile(double *values, int count, double at) {
    qsort(values, (size_t)count, sizeof *values, by_value);
    return values[(int)(at * (count - 1) + 0.5)];
}

constexpr int rounds_max = 101;

static void compare(const char *dir, int rounds) {
    static const struct {
        uint32_t batch, messages;
        bool is_random;
    } table[] = {{1, 400, false}, {40, 8'000, false}, {400, 20'000, false}, {400, 20'000, true}};
    char ours_dir[512], bare_dir[512];
    snprintf(ours_dir, sizeof ours_dir, "%s/ours", dir);
    snprintf(bare_dir, sizeof bare_dir, "%s/bare", dir);
    bare_open(bare_dir);
    ours_open(ours_dir);
    ours_run(4000, 400);
    bare_run(4000, 400);
    printf("%d rounds of each in turn, medians; messages of %zu bytes, durability full; *: with random nonces\n", rounds, sizeof text_sample - 1);
    printf("batch | ours msg/s | bare msg/s | ratio (quartiles)  | ours CPU us | bare CPU us | ratio\n");
    for (const auto &row : table) {
        nonces_are_random = row.is_random;
        static double us[rounds_max], them[rounds_max], ratio[rounds_max], us_cpu[rounds_max], them_cpu[rounds_max], cpu_ratio[rounds_max];
        for (int i = 0; i < rounds; i++) {
            Sample a, b;
            // Who is first changes.
            if (i % 2) b = measure(bare_run, row.messages, row.batch), a = measure(ours_run, row.messages, row.batch);
            else a = measure(ours_run, row.messages, row.batch), b = measure(bare_run, row.messages, row.batch);
            us[i] = a.per_s, them[i] = b.per_s, ratio[i] = a.per_s / b.per_s;
            us_cpu[i] = a.cpu_us, them_cpu[i] = b.cpu_us, cpu_ratio[i] = b.cpu_us / a.cpu_us;
        }
        printf("%4u%s | %10.0f | %10.0f | %.2f (%.2f - %.2f) | %11.2f | %11.2f | %.2f\n", row.batch, row.is_random ? "*" : " ", quantile(us, rounds, 0.5), quantile(them, rounds, 0.5),
               quantile(ratio, rounds, 0.5), quantile(ratio, rounds, 0.25), quantile(ratio, rounds, 0.75), quantile(us_cpu, rounds, 0.5),
               quantile(them_cpu, rounds, 0.5), quantile(cpu_ratio, rounds, 0.5));
        fflush(stdout);
    }
    ours_close();
    bare_close();
}

static int usage() {
    fprintf(stderr, "usage: store_bench compare DIR [ROUNDS] | only DIR ours|bare BATCH MESSAGES | fill DIR MESSAGES\n");
    return 2;
}

int main(int count, char **words) {
    mem_start();
    CB_ASSERT(crypto_start());
    if (count < 3) return usage();
    const char *dir = words[2];
    mkdir(dir, 0700);
    if (strcmp(words[1], "compare") == 0) {
        int rounds = count > 3 ? atoi(words[3]) : 11;
        if (rounds < 1 || rounds > rounds_max) return usage();
        compare(dir, rounds);
        return 0;
    }
    if (strcmp(words[1], "only") == 0 && count == 6) {
        auto batch = (uint32_t)atoi(words[4]), messages = (uint32_t)atoi(words[5]);
        bool is_ours = strcmp(words[3], "ours") == 0;
        if (batch == 0) return usage();
        if (is_ours) ours_open(dir);
        else bare_open(dir);
        Sample s = measure(is_ours ? ours_run : bare_run, messages, batch);
        printf("%s: %.0f messages/s, %.2f us CPU each\n", words[3], s.per_s, s.cpu_us);
        if (is_ours) ours_close();
        else bare_close();
        return 0;
    }
    if (strcmp(words[1], "fill") == 0 && count == 4) {
        ours_open(dir);
        ours_run((uint32_t)atoi(words[3]) / 1000 * 1000, 1000);
        ours_close();
        return 0;
    }
    return usage();
}
