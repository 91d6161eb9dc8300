// The simulation: a seed makes people, what they do, what goes wrong, and when; every promise is checked all the while. `sim_run SEED STEPS` runs one with a
// trace, `sim_run -n COUNT FIRST STEPS` many, each in a process of its own, so that each is the same alone. See README.md beside this.
#include "sim.h"
#include "sim_calls.h"
#include "sim_check.h"
#include "sim_server.h"

#include "base/limits.h"
#include "base/log.h"
#include "chat/auth.h"
#include "net/conn_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

void sim_crypto_start();

// --- the mood of a seed: parts in a thousand of each step

struct Mood {
    uint32_t post, edit, remove, seen, typing, history, noise, again; // what a client that is ready does
    uint32_t rooms, people, moderation, sessions;                     // through HTTP and the administrator
    uint32_t cut, leave, stuck, crash, stop, restore;
    uint32_t text_max, stop_word, words, room_count, long_wait;
};
static Mood mood;
static ServerOptions server_options;
static SimData backup; // a copy of the disk; rev 0: none
static uint64_t up_again_us;

static uint32_t some(uint32_t most) { return chance(400) ? 0 : below(most + 1); }

static void draw_mood() {
    mood = {.post = between(100, 700), .edit = some(100), .remove = some(60), .seen = some(200), .typing = some(50), .history = some(60), .noise = some(30), .again = some(60),
            .rooms = some(150), .people = some(40), .moderation = some(25), .sessions = some(20), .cut = some(30), .leave = some(20), .stuck = some(120), .crash = some(8), .stop = some(4),
            .restore = chance(150) ? 5u : 0u, .text_max = chance(300) ? 1500u : 60u, .stop_word = some(40), .words = some(20), .room_count = between(1, 14), .long_wait = some(15)};
    sim_faults = {.slow = chance(300) ? 0 : between(100, 1000), .full = some(40), .passing = some(40), .broken = some(12), .is_full = false, .read_fails = some(25), .read_late = chance(200) ? 950 : some(700),
                  .slices_small = some(500), .reopen_fails = some(200)};
    if (chance(100)) sim_faults = {}; // and some seeds in which nothing fails
    server_options = {.hub = {.warnings_limit = between(0, 4), .text_chars_max = 2000}, .sockets_per_user_max = between(4, 8), .login_rate = chance(200) ? between(2, 6) : 0, .held_bytes_max = held_bytes_max};
    if (chance(120)) mood.rooms = 700, sim_faults.read_late = 900; // restless: people come and go while their histories are read
    if (chance(200)) { // memory is short, and some take nothing of much that is said
        server_options.held_bytes_max = between(24, 48) * 1024;
        mood.text_max = 1500, mood.noise = 100, mood.stuck = between(200, 500), mood.history = 150;
    }
    if (chance(500)) server_options.hub.message_rate = {}, server_options.hub.request_rate = {};
    else if (chance(300)) server_options.hub.message_rate = {.burst = 3, .per_second = 2}, server_options.hub.request_rate = {.burst = 5, .per_second = 10};
}

// --- people

static void person_add() {
    if (people_count == people_max) return;
    Person *p = &people[people_count++];
    snprintf(p->name, sizeof p->name, "u%u", people_count);
    snprintf(p->password, sizeof p->password, "correct horse %u", people_count);
    for (uint32_t n = between(1, 3); n > 0 && clients_count + 1 < clients_max; n--) client_make(people_count - 1); // one place stays, for the probe
}

static User *user_of(uint32_t person) { return model_user_by_name(&hub.model, people[person].name); }

// Registers, or logs in.
static void client_enter(Client *c) {
    Person *p = &people[c->person];
    if (p->is_asking || c->is_entering) return;
    char body[120];
    snprintf(body, sizeof body, R"({"username":"%s","password":"%s"})", p->name, p->password);
    if (call_begin(CallKind::enter, c, "POST", p->is_registered ? "/api/login" : "/api/register", {body, strlen(body)})) p->is_asking = true;
}

static void written(Hub *, StoreWrite *) {}

static StoreWrite *by_system(WriteKind kind, uint32_t person) {
    User *user = user_of(person);
    if (!user || user->deleted) return nullptr;
    StoreWrite *w = hub_write_new(kind, nullptr);
    w->user = user->id;
    return w;
}

static void moderate() {
    uint32_t person = below(people_count), what = below(10);
    StoreWrite *w = by_system(what < 6 ? WriteKind::user_block : what < 9 ? WriteKind::user_role : WriteKind::user_delete, person);
    if (!w) return;
    w->flag = what < 2;
    w->role = (Role)below(3);
    if (w->kind == WriteKind::user_delete && (person == 0 || chance(500))) return store_write_free(w);
    trace("system: %s %s", what < 2 ? "blocks" : what < 6 ? "unblocks" : what < 9 ? "sets the role of" : "deletes", people[person].name);
    hub_submit(&hub, w, {}, written);
}

static void unblock_all() {
    for (uint32_t i = 0; i < people_count; i++)
        if (User *user = user_of(i); user && user->blocked)
            if (StoreWrite *w = by_system(WriteKind::user_block, i)) hub_submit(&hub, w, {}, written);
}

// --- what a client does over HTTP

// Somebody leaves or joins a room just when histories are read, or unread messages counted, for their other windows.
static void begin_meanwhile(Client *c) {
    for (uint32_t i = 0; i < clients_count; i++) {
        Client *other = clients[i];
        if (other->person != c->person || other == c || other->is_probe || !other->token[0] || chance(500)) continue;
        if (other->wire && chance(400)) { // and hears of it when it comes back
            wire_cut(other->wire);
            client_lost(other, "CUT");
            continue;
        }
        if (other->wire) wire_close(other->wire), client_lost(other, "begins afresh");
        client_connect(other, true);
    }
}

static void call_about_rooms(Client *c) {
    char path[80], body[160] = "";
    const char *method = "POST", *other = people[below(people_count)].name;
    int64_t room = chance(800) ? room_of_person(c, chance(500)) : between(1, mood.room_count);
    switch (below(8)) {
    case 0:
        snprintf(path, sizeof path, "/api/rooms");
        snprintf(body, sizeof body, R"({"name":"room %u","private":%s,"members":["%s"]})", below(mood.room_count), chance(400) ? "true" : "false", other);
        if (sim_disk.rooms.count >= mood.room_count || sim_disk.rooms.count + calls_max >= rooms_max) return;
        break;
    case 1:
        method = "PATCH";
        snprintf(path, sizeof path, "/api/rooms/%lld", (long long)room);
        if (chance(400)) snprintf(body, sizeof body, R"({"archived":%s})", chance(600) ? "true" : "false");
        else snprintf(body, sizeof body, R"({"topic":"topic %u"})", below(1000));
        break;
    case 2:
    case 3: // leaves, or is removed
        method = "DELETE";
        if (c->stage == Stage::ready && room) {
            char json[80];
            snprintf(json, sizeof json, R"({"type":"history","room":%lld,"ref":"l"})", (long long)room);
            if (chance(600)) client_say(c, json);
            begin_meanwhile(c);
        }
        snprintf(path, sizeof path, "/api/rooms/%lld/members/%s", (long long)room, chance(700) ? people[c->person].name : other);
        break;
    case 4:
        method = "GET";
        snprintf(path, sizeof path, chance(500) ? "/api/rooms" : "/api/rooms/%lld/messages?limit=%u", (long long)room, between(1, 50));
        break;
    default:
        if (chance(500)) room = between(2, mood.room_count);
        if (chance(300) && c->stage == Stage::ready) begin_meanwhile(c);
        snprintf(path, sizeof path, "/api/rooms/%lld/members", (long long)room);
        snprintf(body, sizeof body, R"({"username":"%s"})", chance(600) ? people[c->person].name : other);
    }
    call_begin(CallKind::other, c, method, path, {body, strlen(body)});
}

static void call_about_oneself(Client *c) {
    char body[120];
    snprintf(body, sizeof body, R"({"display_name":"%s the %u","status":"%u"})", people[c->person].name, below(100), below(100));
    call_begin(CallKind::other, c, "PATCH", "/api/me", {body, strlen(body)});
}

static void call_about_sessions(Client *c) {
    Person *p = &people[c->person];
    if (chance(600)) {
        call_begin(CallKind::other, c, "POST", "/api/logout", {});
        return;
    }
    char body[160];
    snprintf(body, sizeof body, R"({"old":"%s","new":"%s"})", p->password, p->password); // all other sessions end
    call_begin(CallKind::other, c, "POST", "/api/me/password", {body, strlen(body)});
}

// --- what a client does on its socket

static void say_text(Client *c, int64_t message) {
    static uint32_t counted;
    ScopedBuf text;
    buf_printf(text, "t%u ", ++counted);
    for (uint32_t n = chance(150) ? between(1, 3) : 0; n > 0; n--) buf_printf(text, chance(100) ? "x@%s. " : "@%s. ", people[below(people_count)].name);
    if (fault(mood.stop_word)) buf_add(text, "hate ");
    for (uint32_t n = chance(100) ? below(mood.text_max * 2 / 3 + 1) : below(40); n > 0; n--) buf_add_char(text, (char)('a' + n % 26));
    buf_add_char(text, '.'); // white space at the end would be trimmed
    if (!message) {
        if (int64_t room = room_of_person(c, false)) client_post(c, room, buf_view(text));
        return;
    }
    ScopedBuf json;
    buf_printf(json, R"({"type":"edit","id":%lld,"text":"%.*s")", (long long)message, (int)text.len, text.data);
    if (chance(300)) buf_printf(json, R"(,"ref":"c%u")", c->index);
    buf_add_char(json, '}');
    client_say(c, buf_view(json));
}

// A message that it holds, at random.
static int64_t message_of(const Client *c) {
    for (int tries = 0; tries < 8; tries++)
        if (int64_t id = 1 + below((uint32_t)sim_disk.rev); id < ids_max && c->held[id].rev) return id;
    return 0;
}

// What no page would send.
static void client_oddity(Client *c) {
    static const char *const odd[] = {R"({"type":"edit","id":0,"text":"x"})", R"({"type":"delete","id":-1})", R"({"type":"message","text":"  "})", R"({"type":"message","text":" ","nonce":"x"})",
                                      R"({"type":"seen","room":1,"id":0})", R"({"type":"seen","room":1,"id":9000})", R"({"type":"seen","room":47,"id":1})", R"({"type":"typing","room":47})",
                                      R"({"type":"message","room":47,"text":"x"})", R"({"type":"message","text":"I hate","nonce":"y"})", "[]", R"({"type":"message"})"};
    client_say(c, odd[below(sizeof odd / sizeof *odd)]);
}

static void client_act(Client *c) {
    char json[200];
    int64_t room = room_of_person(c, chance(50)), message = message_of(c);
    if (chance(mood.post)) say_text(c, 0);
    if (chance(mood.edit) && message) say_text(c, message);
    if (chance(mood.remove) && message) snprintf(json, sizeof json, R"({"type":"delete","id":%lld})", (long long)message), client_say(c, json);
    if (chance(mood.seen) && message) {
        snprintf(json, sizeof json, R"({"type":"seen","room":%lld,"id":%lld})", (long long)c->held[message].room, (long long)message);
        client_say(c, json);
    }
    if (chance(mood.typing) && room) snprintf(json, sizeof json, R"({"type":"typing","room":%lld})", (long long)room), client_say(c, json);
    if (chance(mood.history) && room && !c->rooms[room].asked && c->rooms[room].low > 0) { // further back
        Known &k = c->rooms[room];
        if (!k.joined || k.low == ids_max) return;
        k.asked = ++c->requests;
        snprintf(json, sizeof json, R"({"type":"history","room":%lld,"before":%lld,"limit":%u,"ref":"h%u"})", (long long)room, (long long)k.low, between(1, 20), k.asked);
        client_say(c, json);
    }
    if (chance(mood.noise)) client_say(c, chance(500) ? R"({"type":"ping","ref":"p"})" : chance(500) ? R"({"type":"nothing"})" : R"({"type":"history","room":99})");
    if (chance(mood.noise)) client_oddity(c);
    if (chance(mood.noise) && chance(100)) { // more at once than is listened to
        char long_text[900];
        snprintf(long_text, sizeof long_text, R"({"type":"message","text":"%0800u"})", below(1'000'000));
        for (int i = 0; i < 20; i++) client_say(c, long_text);
    }
    if (chance(mood.again) && sim_sent.count) { // what it sent already, acknowledged or not, on any of its connections
        const Sent &s = sim_sent[below(sim_sent.count)];
        if (s.person != c->person) return;
        ScopedBuf again;
        buf_printf(again, R"({"type":"message","room":%lld,"text":"%.*s","nonce":"%s"})", (long long)s.room, (int)s.text.size(), s.text.data(), s.nonce);
        client_say(c, buf_view(again));
    }
}

static void client_step(Client *c) {
    if (c->is_probe) return;
    if (c->stage == Stage::off) {
        if (people[c->person].is_gone) return;
        if (c->again_us > sim.now_us || (!sim.is_healing && chance(600))) return;
        if (!c->token[0]) return client_enter(c);
        return client_connect(c, fault(100));
    }
    if (!sim.is_healing && chance(mood.stuck)) c->speed = chance(300) ? 0 : chance(500) ? between(1, 400) : 1 << 20;
    client_hear(c, sim.is_healing ? 1 << 20 : c->speed == 1 << 20 && chance(300) ? below(2000) : c->speed);
    if (!c->wire) return;
    if (fault(mood.cut)) {
        stats.cuts++;
        wire_cut(c->wire);
        if (chance(500)) client_hear(c, 1 << 20); // what had arrived is taken
        if (c->wire) client_lost(c, "CUT");
        return;
    }
    if (fault(mood.leave)) {
        wire_close(c->wire);
        return client_lost(c, "leaves");
    }
    if (c->stage == Stage::asked && sim.now_us - c->since_us > 90'000'000) return client_lost(c, "no answer");
    if (!sim.is_healing && c->stage == Stage::ready && chance(400)) client_act(c);
    if (sim.is_healing || chance(300)) client_push(c);
    // Nobody could log in again and again while a person has too few windows: that is the server's limit, met in the handshake.
    if (fault(mood.rooms) && chance(300)) call_about_rooms(c);
    if (fault(mood.people) && chance(300)) call_about_oneself(c);
    if (fault(mood.sessions) && chance(200)) call_about_sessions(c);
}

// --- what happens to the server

static void everybody_lost(const char *why) {
    for (uint32_t i = 0; i < clients_count; i++)
        if (clients[i]->wire) client_lost(clients[i], why);
    calls_lost();
}

static void disk_restore() {
    trace("the disk is restored from a backup of rev %lld", (long long)backup.rev);
    sim_disk_copy(&sim_disk, backup);
    sim_disk.epoch[0] = 0;
    ledger_disk_replaced();
    // What was acknowledged since is gone, and the epoch says so.
    for (Sent &s : sim_sent)
        if (s.acked > backup.rev) s.acked = 0;
    for (uint32_t i = 0; i < people_count; i++) {
        people[i].is_registered = people[i].is_gone = false;
        for (const SimUser &u : sim_disk.users)
            if (u.row.name == people[i].name) people[i].is_registered = !u.row.deleted, people[i].is_gone = u.row.deleted;
    }
}

static void server_happens() {
    if (!server_is_up) {
        if (sim.now_us < up_again_us && !sim.is_healing) return;
        return server_start(server_options);
    }
    if (fault(mood.crash)) {
        bool is_restore = backup.rev && fault(300);
        bool is_another = is_restore || chance(100); // durability normal: nothing was lost, but it might have been
        if (is_another) everybody_lost("the epoch will be another"); // what is on the way must not be judged by the new one
        server_crash();
        if (is_restore) disk_restore();
        if (is_another) sim_disk.epoch[0] = 0;
    } else if (fault(mood.stop)) {
        server_stop();
        if (server_is_up) server_crash();
    } else {
        return;
    }
    stats.crashes++;
    up_again_us = sim.now_us + between(0, 3000) * 1000;
}

static void time_passes() {
    uint64_t ms = sim.is_healing ? 250 : chance(mood.long_wait) ? between(1000, 40'000) : chance(100) ? between(50, 1500) : below(40);
    // The timers of the net are looked at once a second at least.
    for (; ms > 900; ms -= 900) {
        sim.now_us += 900'000;
        server_turn();
    }
    sim.now_us += ms * 1000;
}

static void step() {
    bool was_up = server_is_up;
    sim.step++;
    time_passes();
    server_happens();
    for (uint32_t i = 0; i < clients_count; i++)
        if (sim.is_healing || chance(600)) client_step(clients[i]);
    calls_hear();
    if (!sim.is_healing && server_is_up && fault(mood.moderation)) moderate();
    if (fault(mood.words)) server_change_words();
    if (!sim.is_healing && chance(10)) person_add();
    if (fault(10)) sim_faults.is_full = chance(300) && sim_faults.full;
    if (mood.restore && fault(20) && server_is_up) sim_disk_copy(&backup, sim_disk);
    for (uint32_t turns = sim.is_healing ? 2 : between(0, 3); turns > 0; turns--) server_turn();
    if (was_up && !server_is_up) stats.crashes++, up_again_us = sim.now_us;
    promise(sim_disk.rev + 64 < ids_max, "the log is too long for the simulation: fewer steps");
    check_step();
}

// --- quiet: nothing fails any more, everybody comes, and everything is as it must be

// What still moves; null: nothing.
static const char *moving() {
    static char text[120];
    if (const char *what = server_unrest()) return what;
    if (calls_under_way()) return "a call";
    for (uint32_t i = 0; i < clients_count; i++) {
        const Client *c = clients[i];
        if ((people[c->person].is_gone && !c->wire) || c->is_probe) continue;
        bool wants = c->out.count > 0;
        for (const Known &k : c->rooms) wants |= k.wants_history && k.joined;
        bool stays_away = c->stage == Stage::off && c->again_us == UINT64_MAX;
        if (stays_away || (c->stage == Stage::ready && !wants)) continue;
        snprintf(text, sizeof text, "client %u in stage %d, %u to send, token %d, entering %d", i, (int)c->stage, c->out.count, c->token[0] != 0, c->is_entering);
        return text;
    }
    return nullptr;
}

static void settle() {
    uint64_t begun = sim.now_us;
    for (;;) {
        step();
        if (server_is_up && sim_store_idle(store)) unblock_all(); // an outbox may hold a stop word
        const char *what = moving();
        if (!what) return;
        promise(sim.now_us - begun < 300'000'000, "it does not come to rest: %s", what);
    }
}

static void probe(Client *c) {
    static Client *p;
    if (!p) p = client_make(c->person), p->is_probe = true;
    p->person = c->person;
    memcpy(p->token, c->token, sizeof p->token);
    client_connect(p, true);
    for (uint32_t i = 0; p->stage != Stage::ready; i++) {
        promise(i < 200, "a fresh connection does not get ready");
        sim.now_us += 10'000;
        server_turn();
        if (p->wire) client_hear(p, 1 << 20);
        promise(p->wire, "a fresh connection is refused");
        if (p->stage == Stage::welcomed && !p->resumed) check_probe(p);
    }
    wire_close(p->wire);
    client_lost(p, "a probe");
    for (int i = 0; i < 4; i++) server_turn();
}

static void quiet() {
    sim.is_healing = true;
    server_options.hub.message_rate = server_options.hub.request_rate = {};
    if (server_is_up) hub.options.message_rate = hub.options.request_rate = {};
    server_options.login_rate = 0;
    auth_set_options({.password_memory_kib = 8, .password_ops = 1, .login_rate = 0});
    server_options.held_bytes_max = net.options.held_bytes_max = held_bytes_max; // nobody is turned away any more
    net_sim_heal();
    if (!server_is_up) server_happens();
    unblock_all();
    // Some stay away this time. There is a place for each: the limit of windows counts those that are half closed too.
    for (uint32_t i = 0; i < clients_count; i++) {
        Client *c = clients[i];
        c->again_us = chance(150) && c->stage == Stage::off ? UINT64_MAX : c->stage == Stage::off ? sim.now_us : c->again_us;
    }
    trace("QUIET");
    settle();
    uint64_t until = sim.now_us + 13'000'000; // those who went are offline, and all marks are told and written
    while (sim.now_us < until) step();
    settle();
    check_quiet();
    for (uint32_t i = 0; i < clients_count; i++)
        if (clients[i]->stage == Stage::ready && chance(300)) probe(clients[i]);
    for (uint32_t i = 0; i < clients_count; i++)
        if (clients[i]->again_us > sim.now_us) clients[i]->again_us = sim.now_us;
    trace("on");
    sim.is_healing = false;
}

static void live(uint64_t seed, uint32_t steps) {
    sim_begin(seed);
    sim_crypto_start();
    log_start(sim.is_verbose ? LogLevel::info : LogLevel::error, false);
    net_sim_watch = check_watch;
    sim_disk_make();
    ledger_start();
    draw_mood();
    for (uint32_t n = between(2, 5); n > 0; n--) person_add();
    server_start(server_options);
    for (uint32_t i = 1; i <= steps; i++) {
        step();
        if (i % 150 == 0 && i + 50 < steps) quiet();
    }
    quiet();
}

// --- running

struct Total {
    ClientStats sum;
    uint32_t seeds, failed;
    uint64_t first_failed;
};

static void add_up(ClientStats *to, const ClientStats &from) {
    auto *a = reinterpret_cast<uint64_t *>(to);
    auto *b = reinterpret_cast<const uint64_t *>(&from);
    for (size_t i = 0; i < sizeof *to / sizeof *a; i++) a[i] += b[i];
}

static ClientStats *shared; // a child's

extern "C" [[gnu::weak]] void __gcov_dump(); // there in a build that counts what is run (make KIND=coverage OUT=build/coverage build/coverage/sim/run)

// What a crashed server left in memory is nobody's leak.
[[noreturn]] static void leave() {
    fflush(stdout);
    if (__gcov_dump) __gcov_dump();
    _exit(0);
}

static bool run_one(uint64_t seed, uint32_t steps, Total *total) {
    fflush(nullptr);
    pid_t child = fork();
    if (child == 0) {
        alarm(60);
        live(seed, steps);
        *shared = stats;
        leave();
    }
    int status = 0;
    waitpid(child, &status, 0);
    total->seeds++;
    if (status == 0) {
        add_up(&total->sum, *shared);
        return true;
    }
    if (!total->failed++) total->first_failed = seed;
    if (WIFSIGNALED(status)) fprintf(stderr, "seed %llu: ended by signal %d\n", (unsigned long long)seed, WTERMSIG(status));
    return false;
}

static void print_total(const Total &t) {
    const ClientStats &s = t.sum;
    printf("%u seeds, %u failed: %llu frames, %llu messages acknowledged, %llu repeats, %llu resumes, %llu snapshots, %llu overruns, %llu cuts, %llu crashes and stops, %llu calls, %llu warnings, "
           "%llu blocks, %llu sessions ended, %llu storage errors, %llu crowded steps\n",
           t.seeds, t.failed, (unsigned long long)s.frames, (unsigned long long)s.acks, (unsigned long long)s.repeats, (unsigned long long)s.resumes, (unsigned long long)s.snapshots,
           (unsigned long long)s.overruns, (unsigned long long)s.cuts, (unsigned long long)s.crashes, (unsigned long long)s.calls, (unsigned long long)s.warnings, (unsigned long long)s.blocks,
           (unsigned long long)s.ended, (unsigned long long)s.storage_errors, (unsigned long long)s.crowded);
}

int main(int argc, char **argv) {
    if (argc == 3) {
        sim.is_verbose = true;
        live(strtoull(argv[1], nullptr, 10), (uint32_t)atoi(argv[2]));
        printf("seed %s, %s steps: every promise held\n", argv[1], argv[2]);
        leave();
    }
    if (argc < 5 || strcmp(argv[1], "-n") != 0) {
        fprintf(stderr, "sim_run SEED STEPS, or sim_run -n COUNT FIRST STEPS [FAILURES]\n");
        return 2;
    }
    uint32_t count = (uint32_t)atoi(argv[2]), steps = (uint32_t)atoi(argv[4]), most = argc > 5 ? (uint32_t)atoi(argv[5]) : 5;
    uint64_t first = strtoull(argv[3], nullptr, 10);
    shared = static_cast<ClientStats *>(mmap(nullptr, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    Total total = {};
    for (uint32_t i = 0; i < count && total.failed < most; i++) run_one(first + i, steps, &total);
    print_total(total);
    return total.failed ? 1 : 0;
}
