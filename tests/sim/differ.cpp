// Two opinions about the contract of src/store/store.h: the same random operations and reads through SQLite and through the simulated store. Whatever they answer must
// be the same. `differ COUNT FIRST OPERATIONS`; each seed has a folder of its own in TMPDIR.
#include "sim.h"
#include "sim_store.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

void twin_write_now(Store *s, StoreWrite *w);
void twin_read_now(Store *s, StoreRead *r);
Store *twin_open(const StoreOptions &options, uv_loop_s *loop, StoreFailed failed, Buf *error);
bool twin_load(Store *s, const StoreLoad &into);

Sim sim;
static uint64_t state;
uint32_t below(uint32_t bound) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return bound ? (uint32_t)((state >> 33) % bound) : 0;
}
void trace(const char *, ...) {}
void breach(const char *format, ...) {
    fprintf(stderr, "differ: seed %llu, operation %u: ", (unsigned long long)sim.seed, sim.step);
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\n");
    exit(3);
}

static Store *real, *twin;

// --- what is asked: drawn once, filled into both

struct Wish {
    WriteKind kind;
    int64_t by, user, room, message, reply, time, session_id, keep_session;
    char name[24], key[24], text[40], nonce[8], word[24];
    unsigned char hash;
    Role role;
    Err verdict;
    uint32_t limit, ids_count;
    bool flag, has_name, has_topic, has_archived, archived, has_display_name, has_status, renew_only;
    int64_t ids[5];
    Mark marks[4];
};

static Wish draw() {
    static int64_t time = 1000;
    Wish w = {};
    bool often = chance(500); // what is done most
    w.kind = often ? (WriteKind)between((uint32_t)WriteKind::message_post, (uint32_t)WriteKind::message_refuse) : (WriteKind)below((uint32_t)WriteKind::invite_set + 1);
    if (w.kind == WriteKind::user_delete && chance(700)) w.kind = WriteKind::member_add;
    w.by = chance(60) ? 0 : between(1, 9);
    w.user = chance(300) ? w.by : between(1, 9);
    w.room = between(1, 8);
    w.message = between(1, (uint32_t)store_rev(real) + 3);
    w.reply = chance(100) ? between(1, (uint32_t)store_rev(real) + 3) : 0;
    w.time = chance(50) ? 0 : time += below(3);
    w.session_id = between(1, 20);
    w.keep_session = chance(500) ? between(1, 20) : 0;
    snprintf(w.name, sizeof w.name, "n%u", below(14));
    snprintf(w.key, sizeof w.key, "%s", w.name);
    if (w.kind == WriteKind::user_password) snprintf(w.key, sizeof w.key, chance(400) ? "" : "t%u", below(5)); // the password that it is to be changed from
    snprintf(w.text, sizeof w.text, "t%u", below(chance(300) ? 5 : 100000));
    snprintf(w.nonce, sizeof w.nonce, "%.*s", chance(700) ? 7 : 0, w.text);
    snprintf(w.word, sizeof w.word, "%u", below(1000));
    w.hash = (unsigned char)(w.kind == WriteKind::session_add ? 0 : chance(200) ? between(1, 3) : 0);
    w.role = (Role)below(3);
    w.verdict = chance(500) ? Err::stop_word : Err::empty;
    w.limit = below(4);
    w.flag = chance(400);
    w.has_name = chance(300);
    w.has_topic = chance(500);
    w.has_archived = chance(300);
    w.archived = chance(400);
    w.has_display_name = chance(500);
    w.has_status = chance(500);
    w.renew_only = chance(300);
    w.ids_count = w.kind == WriteKind::room_add || w.kind == WriteKind::message_post || w.kind == WriteKind::message_edit ? below(5) : 0;
    for (int64_t &id : w.ids) id = between(1, 10);
    // Of what there is: the hub lets no mark pass the end of the log, and `chatterbox check` finds one that does.
    for (Mark &m : w.marks) m = {.room = between(1, 9), .user = between(1, 9), .id = between(1, store_rev(real) ? (uint32_t)store_rev(real) : 1)};
    return w;
}

static std::string_view put(StoreWrite *w, const char *text) { return arena_copy(w->arena, text); }

static StoreWrite *filled(const Wish &wish, uint32_t nth) {
    StoreWrite *w = store_write_new(wish.kind);
    w->by = wish.by, w->user = wish.user, w->room = wish.room, w->message = wish.message, w->reply = wish.reply, w->time = wish.time;
    w->session_id = wish.session_id, w->keep_session = wish.keep_session, w->role = wish.role, w->verdict = wish.verdict, w->limit = wish.limit, w->flag = wish.flag;
    w->has_name = wish.has_name, w->has_topic = wish.has_topic, w->has_archived = wish.has_archived, w->archived = wish.archived;
    w->has_display_name = wish.has_display_name, w->has_status = wish.has_status, w->renew_only = wish.renew_only;
    w->name = put(w, wish.name), w->key = put(w, wish.key), w->text = put(w, wish.text), w->topic = put(w, wish.word), w->nonce = put(w, wish.nonce);
    w->display_name = put(w, wish.word), w->status = put(w, wish.text), w->agent = put(w, wish.word), w->address = put(w, "here");
    memset(w->token_hash, wish.hash, hash_bytes);
    if (wish.kind == WriteKind::session_add) memcpy(w->token_hash, &nth, sizeof nth);
    auto *ids = static_cast<int64_t *>(arena_alloc(w->arena, sizeof wish.ids));
    memcpy(ids, wish.ids, sizeof wish.ids);
    w->ids = ids, w->ids_count = wish.ids_count;
    if (wish.kind == WriteKind::message_post || wish.kind == WriteKind::message_edit) // mentions are each once
        for (uint32_t i = 0; i < w->ids_count; i++) ids[i] = wish.kind == WriteKind::message_post ? (int64_t)i + 1 : wish.ids[0] + (int64_t)i;
    auto *marks = static_cast<Mark *>(arena_alloc(w->arena, sizeof wish.marks));
    memcpy(marks, wish.marks, sizeof wish.marks);
    w->marks = marks, w->marks_count = 4;
    return w;
}

// --- what is answered, as text

static void show(Buf &out, const UserRow &r) {
    buf_printf(out, "user %lld rev %lld %.*s/%.*s/%.*s role %d created %lld warnings %u%s%s\n", (long long)r.id, (long long)r.rev, (int)r.name.size(), r.name.data(), (int)r.display_name.size(),
               r.display_name.data(), (int)r.status.size(), r.status.data(), (int)r.role, (long long)r.created, r.warnings, r.blocked ? " blocked" : "", r.deleted ? " deleted" : "");
}

static void show(Buf &out, const Change &c) {
    buf_printf(out, "%lld: ", (long long)c.rev);
    switch (c.kind) {
    case ChangeKind::user: return show(out, c.user);
    case ChangeKind::room:
        buf_printf(out, "room %lld rev %lld %d %.*s/%.*s%s%s owner %lld\n", (long long)c.room.id, (long long)c.room.rev, (int)c.room.kind, (int)c.room.name.size(), c.room.name.data(),
                   (int)c.room.topic.size(), c.room.topic.data(), c.room.is_private ? " private" : "", c.room.archived ? " archived" : "", (long long)c.room.owner);
        return;
    case ChangeKind::member:
        buf_printf(out, "member %lld %lld rev %lld seen %lld%s\n", (long long)c.member.room, (long long)c.member.user, (long long)c.member.rev, (long long)c.member.seen, c.member.left ? " left" : "");
        return;
    case ChangeKind::message: {
        const MessageRow &m = c.message;
        buf_printf(out, "message %lld rev %lld room %lld by %lld at %lld %lld %lld reply %lld '%.*s' '%.*s'", (long long)m.id, (long long)m.rev, (long long)m.room, (long long)m.sender, (long long)m.time,
                   (long long)m.edited, (long long)m.deleted, (long long)m.reply, (int)m.text.size(), m.text.data(), (int)m.nonce.size(), m.nonce.data());
        for (uint32_t i = 0; i < m.mentions_count; i++) buf_printf(out, " @%lld", (long long)m.mentions[i]);
        buf_add(out, "\n");
    }
    }
}

static int ids_ascending(const void *a, const void *b) {
    int64_t x = *static_cast<const int64_t *>(a), y = *static_cast<const int64_t *>(b);
    return x < y ? -1 : x > y;
}

static void show(Buf &out, StoreWrite *w) {
    buf_printf(out, "%s%s\n", err_info(w->err).code, w->is_repeat ? " repeat" : "");
    if (w->err != Err::ok) return;
    for (uint32_t i = 0; i < w->changes_count + w->is_repeat; i++) show(out, w->changes[i]);
    if (w->ended_sessions_count > 0) qsort(w->ended_sessions, w->ended_sessions_count, sizeof(int64_t), ids_ascending); // in no order
    for (uint32_t i = 0; i < w->ended_sessions_count; i++) buf_printf(out, "ended %lld\n", (long long)w->ended_sessions[i]);
    if (w->kind == WriteKind::user_add) buf_printf(out, "user %lld\n", (long long)w->user);
    if (w->kind == WriteKind::session_add) buf_printf(out, "session %lld\n", (long long)w->session_id);
    if (w->kind == WriteKind::message_refuse || w->kind == WriteKind::user_block || w->kind == WriteKind::user_profile || w->kind == WriteKind::user_role) show(out, w->user_row);
}

static void show(Buf &out, const SessionRow &s) {
    buf_printf(out, "session %lld of %lld made %lld used %lld hash %02x%02x\n", (long long)s.id, (long long)s.user, (long long)s.created, (long long)s.last_used, s.token_hash[0], s.token_hash[1]);
}

static int sessions_in_order(const void *a, const void *b) {
    const auto *x = static_cast<const SessionRow *>(a), *y = static_cast<const SessionRow *>(b);
    if (x->last_used != y->last_used) return x->last_used > y->last_used ? -1 : 1;
    return x->id < y->id ? -1 : 1;
}

static void show(Buf &out, StoreRead *r) {
    buf_printf(out, "%s at %lld upto %lld %d%d%d waiting %u '%.*s'\n", err_info(r->err).code, (long long)r->snapshot_rev, (long long)(r->kind == ReadKind::changes ? r->upto : 0), r->more_before,
               r->more_after, r->complete, r->waiting, (int)r->text.size(), r->text.data());
    for (uint32_t i = 0; i < r->changes_count; i++) show(out, r->changes[i]);
    for (uint32_t i = 0; r->counts && i < r->marks_count; i++) buf_printf(out, "unread %u mentions %u\n", r->counts[i].unread, r->counts[i].mentions);
    for (uint32_t i = 0; i < r->ids_count; i++) buf_printf(out, "id %lld\n", (long long)r->ids[i]);
    if (r->sessions_count) qsort(static_cast<void *>(r->sessions), r->sessions_count, sizeof(SessionRow), sessions_in_order); // of the same moment in no order
    for (uint32_t i = 0; i < r->sessions_count; i++) show(out, r->sessions[i]);
}

static void compare(const Buf &a, const Buf &b, const char *what, int kind) {
    if (buf_view(a) != buf_view(b)) breach("%s %d differs.\nSQLite:\n%.*s\nsimulated:\n%.*s", what, kind, (int)a.len, a.data, (int)b.len, b.data);
}

// --- one operation, one read, everything

static void operate(uint32_t nth) {
    Wish wish = draw();
    StoreWrite *a = filled(wish, nth), *b = filled(wish, nth);
    store_write_now(real, a);
    twin_write_now(twin, b);
    ScopedBuf x, y;
    show(x, a);
    show(y, b);
    compare(x, y, "write", (int)wish.kind);
    promise(store_rev(real) == sim_disk.rev, "the log is at %lld and at %lld", (long long)store_rev(real), (long long)sim_disk.rev);
    store_write_free(a);
    store_write_free(b);
}

static void look() {
    auto kind = (ReadKind)below((uint32_t)ReadKind::health);
    uint32_t rev = (uint32_t)store_rev(real), way = below(4);
    int64_t room = between(1, 9), user = below(10), at = between(1, rev + 2), upto = chance(300) ? between(1, rev) : 0, since = below(rev + 2);
    uint32_t limit = chance(300) ? 200 : between(1, 12);
    Mark marks[3];
    for (Mark &m : marks) m = {.room = between(1, 8), .user = user, .id = below(rev + 1)};
    marks[1].room = marks[0].room + 1, marks[2].room = marks[0].room + 2;
    ScopedBuf out[2];
    for (int i = 0; i < 2; i++) {
        StoreRead *r = store_read_new(kind);
        r->room = room, r->user = user, r->since = since, r->limit = kind == ReadKind::unread && way == 0 ? 0 : limit, r->upto = kind == ReadKind::page ? upto : 0;
        if (kind == ReadKind::page) (way == 1 ? r->before : way == 2 ? r->after : r->around) = way ? at : 0;
        if (kind == ReadKind::authors) r->after = at / 2, r->before = at;
        r->marks = marks, r->marks_count = 3;
        if (i) twin_read_now(twin, r);
        else store_read_now(real, r);
        show(out[i], r);
        store_read_free(r);
    }
    compare(out[0], out[1], "read", (int)kind);
}

static void load(bool is_twin, Buf &out) {
    StoreLoad into = {.owner = &out,
                      .user = [](void *o, const UserRow &row, std::string_view key) { show(*static_cast<Buf *>(o), row), buf_add(*static_cast<Buf *>(o), key); },
                      .room = [](void *o, const RoomRow &row, std::string_view key) {
                          Change c = {.kind = ChangeKind::room, .rev = row.last, .room = row};
                          show(*static_cast<Buf *>(o), c), buf_add(*static_cast<Buf *>(o), key);
                      },
                      .member = nullptr, // compared as changes since 0: the order of loading them is nobody's business
                      .session = [](void *o, const SessionRow &row) { show(*static_cast<Buf *>(o), row); }};
    promise(is_twin ? twin_load(twin, into) : store_load(real, into), "loading");
}

static void run(uint64_t seed, uint32_t operations) {
    sim.seed = seed;
    state = seed * 77 + 5;
    char dir[200], command[240];
    snprintf(dir, sizeof dir, "%s/differ-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    promise(mkdtemp(dir), "no folder");
    ScopedBuf error, report;
    real = store_open({.dir = dir, .durability = Durability::normal}, nullptr, nullptr, &error);
    promise(real, "%.*s", (int)error.len, error.data);
    sim_disk_make();
    twin = twin_open({}, nullptr, nullptr, nullptr);
    for (sim.step = 1; sim.step <= operations; sim.step++) {
        operate(sim.step);
        if (chance(400)) look();
        if (sim.step % 100) continue;
        ScopedBuf a, b;
        load(false, a);
        load(true, b);
        compare(a, b, "load", 0);
    }
    promise(store_check(real, &report), "%.*s", (int)report.len, report.data);
    store_close(real);
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    promise(system(command) == 0, "%s", command);
}

int main(int argc, char **argv) {
    if (argc != 4 || !crypto_start()) return 2;
    uint64_t first = strtoull(argv[2], nullptr, 10);
    for (int i = 0; i < atoi(argv[1]); i++) {
        // A process each: what the simulated disk holds is freed by its end.
        fflush(nullptr);
        pid_t child = fork();
        if (child == 0) {
            run(first + (uint64_t)i, (uint32_t)atoi(argv[3]));
            return 0;
        }
        int status = 1;
        if (child < 0 || waitpid(child, &status, 0) != child || status != 0) return 1;
    }
    printf("%s seeds: two stores, one answer\n", argv[1]);
    return 0;
}
