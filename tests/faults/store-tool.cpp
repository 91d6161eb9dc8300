// What the tests of faults and crashes ask of a database without a server:
//   store-tool prefill DIR COUNT              COUNT more messages of user 1 in the lobby
//   store-tool texts DIR                      the text of each message of the lobby, a line each
//   store-tool power-cut TRACE DIR full|normal EPOCH SEED COUNT
//     TRACE is a record that inject.cpp has made. At COUNT points, half of them right after an fsync and half between, it makes in DIR what a power cut
//     could have left there: what was synced, and of the rest nothing, everything, the first writes, or random sectors or pages; opens it as the server
//     would, and looks whether it is sound and has every message and edit that anybody had been told of before, once, under the id that they were told.
// Messages are `said:NUMBER.`, and `edit:NUMBER.` when edited.
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sqlite3.h>

#include "base/buf.h"
#include "base/crypto.h"
#include "base/log.h"
#include "store/store.h"

[[noreturn]] static void fail(const char *what, const char *about = "") {
    printf("store-tool: %s%s\n", what, about);
    exit(1);
}

static int64_t run_sql(const char *path, const char *sql) {
    sqlite3 *handle = nullptr;
    sqlite3_stmt *statement = nullptr;
    int64_t value = 0;
    if (sqlite3_open_v2(path, &handle, SQLITE_OPEN_READWRITE, nullptr) != SQLITE_OK) fail("cannot open ", path);
    for (const char *rest = sql; *rest;) {
        if (sqlite3_prepare_v2(handle, rest, -1, &statement, &rest) != SQLITE_OK) fail(sqlite3_errmsg(handle));
        while (sqlite3_step(statement) == SQLITE_ROW) value = sqlite3_column_int64(statement, 0);
        if (sqlite3_finalize(statement) != SQLITE_OK) fail(sqlite3_errmsg(handle));
    }
    sqlite3_close(handle);
    return value;
}

static int prefill(const char *dir, long count) {
    char path[1024], sql[2048];
    snprintf(path, sizeof path, "%s/chatterbox.db", dir);
    int64_t rev = run_sql(path, "SELECT value FROM meta WHERE key = 'rev'");
    snprintf(sql, sizeof sql,
             "PRAGMA synchronous = OFF; BEGIN; WITH RECURSIVE n(i) AS (SELECT %lld + 1 UNION ALL SELECT i + 1 FROM n WHERE i < %lld + %ld) "
             "INSERT INTO messages (id, rev, room, sender, time, reply, nonce, text) SELECT i, i, 1, 1, 1795305600000 + i, 0, CAST('p' || i AS BLOB), "
             "'an earlier message, of about the length that messages have: ' || i FROM n; "
             "UPDATE meta SET value = %lld + %ld WHERE key = 'rev'; COMMIT; PRAGMA wal_checkpoint(TRUNCATE)",
             (long long)rev, (long long)rev, count, (long long)rev, count);
    run_sql(path, sql);
    printf("prefilled up to %lld\n", (long long)rev + count);
    return 0;
}

static int texts(const char *dir) {
    char path[1024];
    snprintf(path, sizeof path, "%s/chatterbox.db", dir);
    sqlite3 *handle = nullptr;
    sqlite3_stmt *statement = nullptr;
    if (sqlite3_open_v2(path, &handle, SQLITE_OPEN_READWRITE, nullptr) != SQLITE_OK) fail("cannot open ", path);
    if (sqlite3_prepare_v2(handle, "SELECT text FROM messages WHERE room = 1 ORDER BY id", -1, &statement, nullptr) != SQLITE_OK) fail(sqlite3_errmsg(handle));
    while (sqlite3_step(statement) == SQLITE_ROW) puts(reinterpret_cast<const char *>(sqlite3_column_text(statement, 0)));
    bool is_done = sqlite3_finalize(statement) == SQLITE_OK;
    sqlite3_close(handle);
    return is_done ? 0 : 1;
}

// --- the record

struct Record {
    uint64_t type, offset, length;
    char name[64];
};

// --- a folder as the kernel has it, and as the disk does

struct Op {
    bool is_truncate;
    uint64_t offset, length; // of a truncation: offset is the size
    const char *bytes;
};
struct Inode {
    Buf synced;              // what the last fsync has put on the disk
    Op ops[20000];           // and what came since
    uint32_t ops_count;
};
struct Entry {
    char name[64];
    int inode; // -1: no such file
};
constexpr int inodes_max = 64, entries_max = 32;
static Inode *inodes[inodes_max];
static int inodes_count;
static struct Folder {
    Entry entries[entries_max];
    int count;
} now, durable;

static Entry *entry_of(Folder &folder, const char *name) {
    for (int i = 0; i < folder.count; i++)
        if (strcmp(folder.entries[i].name, name) == 0) return &folder.entries[i];
    if (folder.count == entries_max) fail("too many files");
    Entry *e = &folder.entries[folder.count++];
    snprintf(e->name, sizeof e->name, "%s", name);
    e->inode = -1;
    return e;
}

static Inode *inode_of(const char *name) {
    Entry *e = entry_of(now, name);
    if (e->inode < 0) {
        if (inodes_count == inodes_max) fail("too many files were made");
        inodes[inodes_count] = static_cast<Inode *>(mem_zero(sizeof(Inode)));
        e->inode = inodes_count++;
    }
    return inodes[e->inode];
}

static void resize(Buf &content, size_t size) {
    if (size > content.len) {
        size_t more = size - content.len;
        buf_reserve(content, more);
        memset(content.data + content.len, 0, more);
    }
    content.len = size;
}

static void apply(Buf &content, uint64_t offset, const char *bytes, size_t length) {
    if (offset + length > content.len) resize(content, offset + length);
    memcpy(content.data + offset, bytes, length);
}

static void apply(Buf &content, const Op &op) {
    if (op.is_truncate) resize(content, op.offset);
    else apply(content, op.offset, op.bytes, op.length);
}

// Of the blocks that it touches some, at random.
static void apply_sectors(Buf &content, const Op &op, uint64_t unit) {
    if (op.is_truncate) {
        if (random() % 2) apply(content, op);
        return;
    }
    for (uint64_t from = op.offset; from < op.offset + op.length;) {
        uint64_t to = (from / unit + 1) * unit;
        if (to > op.offset + op.length) to = op.offset + op.length;
        if (random() % 2) apply(content, from, op.bytes + (from - op.offset), to - from);
        from = to;
    }
}

static void take(const Record &r, const char *bytes) {
    switch ((char)r.type) {
    case 'C': (void)inode_of(r.name); break;
    case 'W':
    case 'T': {
        Inode *inode = inode_of(r.name);
        if (inode->ops_count == sizeof inode->ops / sizeof *inode->ops) fail("too much is not synced");
        inode->ops[inode->ops_count++] = {r.type == 'T', r.offset, r.length, bytes};
        break;
    }
    case 'S': {
        Inode *inode = inode_of(r.name);
        for (uint32_t i = 0; i < inode->ops_count; i++) apply(inode->synced, inode->ops[i]);
        inode->ops_count = 0;
        break;
    }
    case 'F': { // it failed: of what it was to write nothing may be on the disk, or some sectors, and nothing will write it again
        Inode *inode = inode_of(r.name);
        bool is_all_lost = random() % 2;
        for (uint32_t i = 0; i < inode->ops_count && !is_all_lost; i++) apply_sectors(inode->synced, inode->ops[i], 512);
        inode->ops_count = 0;
        break;
    }
    case 'D': entry_of(now, r.name)->inode = -1; break;
    case 'R': {
        char to[64] = "";
        memcpy(to, bytes, r.length < sizeof to ? r.length : sizeof to - 1);
        entry_of(now, to)->inode = entry_of(now, r.name)->inode;
        entry_of(now, r.name)->inode = -1;
        break;
    }
    case 'Y': durable = now; break;
    default: break;
    }
}

// --- what people had been told

constexpr int numbers_max = 20000;
static bool told_said[numbers_max], told_edit[numbers_max];
static int64_t told_id[numbers_max]; // 0: not seen

// Of the message whose text is at `text`: the last "id" before it in the same bytes.
static int64_t id_before(const char *bytes, const char *text) {
    for (const char *at = text; at - bytes >= 5; at--)
        if (memcmp(at - 5, "\"id\":", 5) == 0) return atoll(at);
    return 0;
}

static void hear(const char *bytes, size_t length, const char *word, bool *told) {
    for (const char *at = bytes; (at = static_cast<const char *>(memmem(at, (size_t)(bytes + length - at), word, 5))) != nullptr; at += 5) {
        const char *end = bytes + length;
        long number = 0;
        const char *digit = at + 5;
        while (digit < end && *digit >= '0' && *digit <= '9') number = number * 10 + (*digit++ - '0');
        if (digit < end && *digit == '.' && digit > at + 5 && number < numbers_max) {
            int64_t id = id_before(bytes, at);
            if (id && told_id[number] && id != told_id[number]) printf("message %ld was told of under two ids, %lld and %lld\n", number, (long long)told_id[number], (long long)id), exit(1);
            if (id) told_id[number] = id;
            told[number] = true;
        }
    }
}

// --- an image

enum Mode { nothing, everything, a_prefix, sectors, pages, modes_count };

static void build_file(const char *path, const Inode *inode, Mode mode) {
    ScopedBuf content;
    buf_add(content, buf_view(inode->synced));
    uint32_t stop = mode == nothing ? 0 : mode == a_prefix ? (uint32_t)random() % (inode->ops_count + 1) : inode->ops_count;
    for (uint32_t i = 0; i < stop; i++) {
        const Op &op = inode->ops[i];
        if (mode == everything || (mode == a_prefix && i + 1 < stop)) {
            apply(content, op);
            continue;
        }
        apply_sectors(content, op, mode == pages ? 4096 : 512);
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || write(fd, content.data, content.len) != (ssize_t)content.len) fail("cannot write ", path);
    close(fd);
}

static void build(const char *dir, Mode mode) {
    if (DIR *folder = opendir(dir)) {
        while (struct dirent *e = readdir(folder)) {
            char path[1024];
            snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
            unlink(path);
        }
        closedir(folder);
    }
    mkdir(dir, 0700);
    for (int i = 0; i < now.count; i++) {
        const char *name = now.entries[i].name;
        if (strstr(name, "-shm")) continue; // shared memory: it is made anew
        int before = entry_of(durable, name)->inode, after = now.entries[i].inode;
        int inode = mode == nothing ? before : mode == everything ? after : random() % 2 ? before : after;
        if (inode < 0) continue;
        char path[1024];
        snprintf(path, sizeof path, "%s/%s", dir, name);
        build_file(path, inodes[inode], mode);
    }
}

static bool judge(const char *dir, bool is_full, const char *epoch, bool *is_missing) {
    ScopedBuf error, report;
    Store *s = store_open({.dir = dir, .durability = is_full ? Durability::full : Durability::normal}, nullptr, nullptr, &error);
    if (!s) return printf("cannot be opened: %.*s\n", (int)error.len, error.data), false;
    bool is_good = store_check(s, &report);
    if (!is_good) printf("is not sound: %.*s\n", (int)report.len, report.data);
    bool is_same_history = strcmp(store_epoch(s), epoch) == 0;
    store_close(s);
    char path[1024];
    snprintf(path, sizeof path, "%s/chatterbox.db", dir);
    static bool has_said[numbers_max], has_edit[numbers_max];
    memset(has_said, 0, sizeof has_said);
    memset(has_edit, 0, sizeof has_edit);
    sqlite3 *handle = nullptr;
    sqlite3_stmt *statement = nullptr;
    sqlite3_open_v2(path, &handle, SQLITE_OPEN_READWRITE, nullptr);
    if (sqlite3_prepare_v2(handle, "SELECT text, id FROM messages", -1, &statement, nullptr) != SQLITE_OK) fail(sqlite3_errmsg(handle));
    while (sqlite3_step(statement) == SQLITE_ROW) {
        const char *text = reinterpret_cast<const char *>(sqlite3_column_text(statement, 0));
        long number = strlen(text) > 5 ? atol(text + 5) : -1;
        bool is_edit = strncmp(text, "edit:", 5) == 0;
        if (number < 0 || number >= numbers_max) continue;
        if (has_said[number] || has_edit[number]) is_good = false, printf("message %ld is there twice\n", number);
        (is_edit ? has_edit : has_said)[number] = true;
        // Whoever was told of another history must be told so; at full there is only one.
        if (is_full && told_id[number] && told_id[number] != sqlite3_column_int64(statement, 1)) is_good = false, printf("message %ld has another id\n", number);
    }
    sqlite3_finalize(statement);
    sqlite3_close(handle);
    *is_missing = false;
    bool was_told = false;
    for (int i = 0; i < numbers_max; i++) {
        was_told |= told_said[i];
        bool is_there = told_edit[i] ? has_edit[i] : !told_said[i] || has_said[i] || has_edit[i];
        if (is_there) continue;
        *is_missing = true;
        if (is_full || is_same_history) is_good = false, printf("message %d was told of and is lost%s\n", i, is_full ? "" : ", and the epoch is the old one");
    }
    if (is_full && was_told && !is_same_history) is_good = false, printf("the epoch changed\n");
    return is_good;
}

static int power_cut(const char *trace, const char *dir, bool is_full, const char *epoch, long seed, long count) {
    int fd = open(trace, O_RDONLY);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0) fail("cannot read ", trace);
    static char *all = static_cast<char *>(mem_alloc((size_t)st.st_size + 1));
    for (ssize_t have = 0, n; have < st.st_size; have += n)
        if ((n = read(fd, all + have, (size_t)(st.st_size - have))) <= 0) fail("cannot read ", trace);
    close(fd);
    log_start(LogLevel::error, false);
    // Records are of two kinds of moment: right after a sync, and any other. How often to stop so that COUNT images come of it?
    long records = 0, records_sync = 0;
    auto next = [&](char *at, Record *r) {
        memcpy(static_cast<void *>(r), at, sizeof *r);
        bool has_bytes = r->type == 'W' || r->type == 'N' || r->type == 'R';
        return at + sizeof *r + (has_bytes ? r->length : 0);
    };
    Record r;
    for (char *at = all; at < all + st.st_size; at = next(at, &r)) records++, records_sync += r.type == 'S' || r.type == 'Y';
    srandom((unsigned)seed);
    constexpr long looked_at_behind_failure = 120;
    long images = 0, bad = 0, lost = 0, syncs = 0, told = 0, behind_failure = 0;
    for (char *at = all; at < all + st.st_size;) {
        char *end = next(at, &r);
        const char *bytes = at + sizeof r;
        at = end;
        if (r.type == 'N') {
            hear(bytes, r.length, "said:", told_said);
            hear(bytes, r.length, "edit:", told_edit);
        } else {
            take(r, bytes);
        }
        bool is_sync = r.type == 'S' || r.type == 'Y';
        syncs += is_sync;
        behind_failure = r.type == 'F' ? 1 : behind_failure + (behind_failure > 0);
        // After a sync what is not synced is dropped; elsewhere it is kept in part. Of what comes right behind a failed sync every moment counts.
        if ((behind_failure == 0 || behind_failure > looked_at_behind_failure) && random() % (is_sync ? records_sync : records - records_sync) >= count / 2) continue;
        int mode = is_sync ? (int)nothing : (int)(random() % modes_count);
        build(dir, (Mode)mode);
        bool is_missing = false;
        images++;
        if (judge(dir, is_full, epoch, &is_missing)) {
            lost += is_missing;
            continue;
        }
        bad++;
        printf("  in image %ld: after record %c %.40s at byte %ld, mode %d\n", images, (char)r.type, r.name, (long)(at - all), mode);
        if (bad > 10) fail("too many bad images");
    }
    for (bool t : told_said) told += t;
    printf("%ld records, %ld syncs, %ld images, %ld messages told, %ld images without some of them, %ld bad\n", records, syncs, images, told, lost, bad);
    return bad != 0;
}

int main(int argc, char **argv) {
    if (!crypto_start()) return 1;
    if (argc == 4 && strcmp(argv[1], "prefill") == 0) return prefill(argv[2], atol(argv[3]));
    if (argc == 3 && strcmp(argv[1], "texts") == 0) return texts(argv[2]);
    if (argc == 8 && strcmp(argv[1], "power-cut") == 0)
        return power_cut(argv[2], argv[3], strcmp(argv[4], "full") == 0, argv[5], atol(argv[6]), atol(argv[7]));
    fprintf(stderr, "usage: store-tool prefill DIR COUNT | texts DIR | power-cut TRACE DIR full|normal EPOCH SEED COUNT\n");
    return 2;
}
