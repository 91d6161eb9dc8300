// The server. In this order: the turn; starting; stopping; signals; server_run, which is the outline of all.
#include "server.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/worker.h"
#include "chat/auth.h"
#include "control_client.h"
#include "greeting.h"
#include "memory_bound.h"
#include "notify.h"
#include "server_control.h"
#include "web/api.h"
#include "web/audit.h"
#include "web/delay.h"
#include "web/socket.h"
#include "version.h"
#include "words_file.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <uv.h>

#include <algorithm>

constexpr uint64_t stop_ms_max = 4'000;      // from the signal to the end, whatever still hangs
constexpr uint64_t results_ms_max = 1'000;   // … and until who takes nothing has had time enough for the last results

enum class Stage : uint8_t { serving, finishing, closing, over };

static uv_loop_t loop;
static uv_prepare_t end_of_turn;
static uv_idle_t no_sleep;                   // runs while there is more to do at once
static uv_timer_t alarm_clock;               // for what is due later
static uv_signal_t signals[3];
static Options *options;
static Store *store;
static Hub hub;
static Stage stage;
static uint64_t stop_at_ms;
static int exit_status;

// --- the turn

static void wake(uv_timer_t *) {}            // being awake is enough: the turn does the rest
static void go_round(uv_idle_t *) {}

static uint64_t earlier(uint64_t a, uint64_t b) { return !a || (b && b < a) ? b : a; }

// Who stood at the port before the loop began to turn is accepted, read and answered in the first turns. After them come the threads, and the invitation, whose
// commit is the disk's time and a quarter of a millisecond of the processor's.
static uint32_t turns_before_greeting = 4;
static void greet();

// Sleep until something arrives, but not beyond what is due, and not at all while there is more to do.
static void plan_sleep(uint64_t now_ms) {
    if (turns_before_greeting || store_wants_turn(store) || sockets_want_turn()) uv_idle_start(&no_sleep, go_round);
    else uv_idle_stop(&no_sleep);
    uint64_t due = earlier(earlier(hub_due_ms(&hub), delay_due_ms()), audit_due_ms());
    if (stage != Stage::serving) due = earlier(due, now_ms + 20);
    if (due) uv_timer_start(&alarm_clock, wake, due > now_ms ? due - now_ms : 0, 0);
    else uv_timer_stop(&alarm_clock);
}

static void stop_step(uint64_t now_ms);

// How long it takes to serve all readers, as a running mean. A commit that is faster than that is waited for: a batch that is not costs one more such round (measured
// with 5,000 readers on a disk with 2 ms commits: half the throughput). Bounded, for the sake of everything else that the loop does.
static uint32_t round_us;
constexpr uint32_t round_us_max = 8'000;

static void serve_readers() {
    static uint64_t head_served;
    bool is_round = hub.ring.head != head_served;
    head_served = hub.ring.head;
    uint64_t begin = is_round ? clock_us() : 0;
    sockets_turn();
    if (!is_round) return;
    uint64_t took = clock_us() - begin;
    round_us = static_cast<uint32_t>((round_us * 7 + (took < round_us_max ? took : round_us_max)) / 8);
}

static void turn(uv_prepare_t *) {
    uint64_t now = clock_ms();
    delay_turn(now);             // who waited for the rate is heard, before the writes of this turn are gathered
    hub_turn(&hub, now);         // what is due: presence, ticks, marks
    audit_turn(now);             // and lines about what the log left out
    if (turns_before_greeting && --turns_before_greeting == 0 && stage == Stage::serving) greet();
    store_turn(store, round_us); // the turn's writes as one batch; a fast disk has committed, and the ring has it, when this returns
    serve_readers();             // one write for each socket with news
    if (stage != Stage::serving) stop_step(now);
    if (stage != Stage::over) plan_sleep(now);
}

// --- starting

static bool raise_limits() {
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    return signal(SIGPIPE, SIG_IGN) != SIG_ERR; // a peer that has gone is an error code, not the end
}

static void session_ended(Session *session) { sockets_of_session_close(session); }
static void user_blocked(User *user) { sockets_of_user_block(user); }

// The writer does not know any more what is on the disk: everybody goes and comes back, and the store is opened anew.
static void store_failed() {
    ScopedBuf error;
    log_error("the store failed; it is opened anew");
    sockets_close_all(1001, "the store is opened anew");
    if (store_reopen(store, &error) && hub_reload(&hub)) return log_info("the store is open again");
    log_error("the store cannot be opened again: %.*s", static_cast<int>(error.len), error.data);
    exit_status = 1;
    stage = Stage::closing;
    stop_at_ms = clock_ms();
}

static HubOptions hub_options(const Options *o) {
    constexpr int64_t day_ms = 24LL * 3600 * 1000;
    return {.registration = o->registration,
            .warnings_limit = o->warnings,
            .text_chars_max = o->text_max,
            .frame_bytes_max = o->frame_max,
            .message_rate = o->message_rate,
            .request_rate = o->request_rate,
            .rooms_made_max = o->max_rooms_per_user,
            .session_life = {.unused_ms_max = o->session_idle * day_ms, .age_ms_max = o->session_age * day_ms},
            .server_name = o->name};
}

static AuthOptions auth_options(const Options *o) {
    return {.password_memory_kib = uint64_t{o->password_memory_mib} * 1024,
            .password_ops = o->password_ops,
            .login_rate = o->login_rate,
            .login_rate_per_address = o->login_rate_per_address,
            .sessions_max = o->max_sessions_per_user};
}

static size_t ring_header(char out[16], size_t payload_bytes) { return ws_text_header(out, payload_bytes, false); }

static long cores;                           // counted early, as the memory is: some C libraries read /proc for it
static MemoryBound bound;

// Those that this process may use; sysconf of glibc reads a file for what the machine has.
static long usable_cores() {
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
}

static unsigned hash_threads() {
    return cores > 2 ? static_cast<unsigned>(cores < 5 ? cores - 1 : 4) : 1;
}

static bool start_chat(Words *words, Buf *error) {
    if (!store_is_locked(options->data) && control_answers(options->data)) {
        buf_printf(*error, "a server is already running on %s, though its lock has been removed", options->data);
        words_free(words);
        return false;
    }
    StoreOptions so = {.dir = options->data, .durability = options->durability};
    store = store_open(so, &loop, store_failed, error);
    if (!store) {
        words_free(words);
        return false;
    }
    RingFraming framing = {.header = ring_header, .deflate = ws_encode_deflated};
    HubHooks hooks = {.session_ended = session_ended, .user_blocked = user_blocked};
    if (!hub_start(&hub, store, framing, hub_options(options), hooks, words)) {
        buf_printf(*error, "the database in %s cannot be read", options->data);
        return false;
    }
    if (!auth_start(&hub, &loop, auth_options(options), hash_threads())) {
        buf_add(*error, "there is no memory for the thread that hashes passwords");
        return false;
    }
    return true;
}

// As many as there are descriptors for, so that who is too many gets an answer; the answers that linger need some too, and so do the database, the log and the
// control socket, by which an attack can be ended.
static void set_connections_max(NetOptions *no, uint32_t wanted) {
    constexpr rlim_t others = 32;
    struct rlimit files;
    no->connections_max = wanted;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur >= wanted + no->refused_max + others) return;
    auto left = static_cast<uint32_t>(files.rlim_cur > others ? files.rlim_cur - others : 0);
    no->refused_max = std::min(no->refused_max, left / 4);
    no->connections_max = std::max<uint32_t>(left - no->refused_max, others);
    log_warn("this process may have %llu files open: at most %u connections (ulimit -n, LimitNOFILE= in systemd)", static_cast<unsigned long long>(files.rlim_cur),
             no->connections_max);
}

static bool port_was_asked_before(uint32_t which) {
    if (options->listen[which].unix_path[0]) return false;
    for (uint32_t i = 0; i < which; i++)
        if (!options->listen[i].unix_path[0] && options->listen[i].port_asked == options->listen[which].port_asked) return true;
    return false;
}

static bool start_net(Buf *error) {
    NetOptions no;
    set_connections_max(&no, options->max_sockets + 512);
    no.connections_per_address_max = options->max_connections_per_address;
    no.trusted = options->trust_proxy;
    no.trusted_count = options->trust_proxy_count;
    no.origins = {.allowed = options->allow_origin, .allowed_count = options->allow_origin_count};
    no.guests_per_address_max = options->max_guests_per_address;
    no.head_bytes_max = options->head_max;
    no.body_bytes_max = options->body_max;
    no.head_ms_max = options->head_time * 1000;
    no.body_ms_max = options->body_time * 1000;
    no.idle_ms_max = options->keep_alive * 1000;
    no.frame_bytes_max = options->frame_max;
    no.fragments_max = options->fragments_max;
    no.held_bytes_max = bound.held_max;
    no.ping_idle_ms = options->ping_idle * 1000;
    no.silent_ms_max = options->silent_max * 1000;
    no.stuck_ms_max = options->stuck_max * 1000;
    net_start(&loop, no, {.request = api_request, .text = socket_text, .frame = socket_frame, .writable = socket_writable, .closed = socket_closed, .malformed = api_malformed});
    ws_set_deflate(options->deflate);
    api_start(&hub);
    sockets_start(&hub, {.sockets_max = options->max_sockets, .sockets_per_user_max = options->max_sockets_per_user});
    for (uint32_t i = 0; i < options->listen_count; i++) {
        ListenAddress *where = &options->listen[i];
        uint16_t port = where->port;
        if (int failed = net_listen(*where, &port)) {
            ScopedBuf place;
            greeting_address(*where, place);
            if (failed == UV_EADDRINUSE && store_is_locked(options->data)) {
                buf_printf(*error, "a server is already running on %s", options->data);
                return false;
            }
            const char *hint = where->unix_path[0]         ? " (another server is there, or a file that is no socket)"
                               : port_was_asked_before(i) ? " (by another server, or by the --listen before: [::] takes IPv4 too)"
                                                          : " (another server is there; choose another port with --listen)";
            buf_printf(*error, "cannot listen on %.*s: %s%s", static_cast<int>(place.len), place.data, uv_strerror(failed), failed == UV_EADDRINUSE ? hint : "");
            return false;
        }
        where->port = port;
    }
    return true;
}

static void leave_socket_file(const ListenAddress &where, UserIds ids) {
    if (ids.uid && where.unix_path[0] && chown(where.unix_path, ids.uid, ids.gid) != 0) log_warn("%s stays root's: %s", where.unix_path, strerror(errno));
}

// What could not be given up: one line, or with --sandbox require the end.
static bool is_confined(bool good, Buf *why) {
    if (good) return true;
    if (options->sandbox == SandboxMode::require) {
        buf_add(*why, " (--sandbox require)");
        return false;
    }
    log_warn("not all is confined: %.*s", static_cast<int>(why->len), why->data);
    buf_clear(*why);
    return true;
}

// Before any thread starts. The ports are open; all files but those of the data folder that will ever be needed are, or have their folder named here.
static bool give_up_files(Buf *error) {
    for (uint32_t i = 0; i < options->listen_count; i++) leave_socket_file(options->listen[i], options->user);
    if (!sandbox_become(options->user, options->data, error)) return false;
    if (options->sandbox == SandboxMode::off) return true;
    SandboxPlace places[3 + options_list_max] = {{options->data, SandboxUse::own}};
    uint32_t count = 1;
    for (const char *file : {options->config, options->stop_words})
        if (file[0]) places[count++] = {file, SandboxUse::read};
    for (uint32_t i = 0; i < options->listen_count; i++)
        if (options->listen[i].unix_path[0]) places[count++] = {options->listen[i].unix_path, SandboxUse::remove};
    bool good = sandbox_files(places, count, error);
    return is_confined(good, error);
}

static bool give_up_calls(Buf *error) {
    if (options->sandbox == SandboxMode::off) return true;
    bool good = sandbox_calls(error);
    return is_confined(good, error);
}

// The invitation is in the store: now everything that the greeting says is true.
static char admin_invite[33];

static void invited(Hub *, StoreWrite *w) {
    if (w->err != Err::ok) admin_invite[0] = '\0';
    log_info("ChatterBox %s serves %s", CB_VERSION, options->data);
    greeting_print(options, &hub, admin_invite);
    notify_ready();
    memory_wipe({admin_invite, sizeof admin_invite});
}

static void stop_begin(const char *why);

static void greet() {
    if (!workers_begin()) {
        fprintf(stderr, "chatterbox: no thread could be started: is the memory limit too low?\n");
        exit_status = 1;
        return stop_begin("a start without threads");
    }
    auth_make_admin_invite(admin_invite, invited);
}

// --- stopping: stop accepting and reading; commit what waits and send the results; close; end

static void stop_begin(const char *why) {
    if (stage != Stage::serving) {
        log_warn("%s again: ending at once", why);
        _exit(exit_status);
    }
    log_info("%s: stopping", why);
    notify_stopping();
    stage = Stage::finishing;
    stop_at_ms = clock_ms() + stop_ms_max;
    net_stop_listening();
    net_stop_reading();
    hub_flush_marks(&hub);
}

static void close_handles() {
    stage = Stage::over;
    net_stop();
    control_stop();
    auth_stop();
    for (uv_signal_t &s : signals) uv_close(reinterpret_cast<uv_handle_t *>(&s), nullptr);
    uv_close(reinterpret_cast<uv_handle_t *>(&end_of_turn), nullptr);
    uv_close(reinterpret_cast<uv_handle_t *>(&no_sleep), nullptr);
    uv_close(reinterpret_cast<uv_handle_t *>(&alarm_clock), nullptr);
    uv_stop(&loop);
}

static void stop_step(uint64_t now_ms) {
    bool late = now_ms >= stop_at_ms;
    bool finished = late;
    if (stage == Stage::finishing && !store_has_work(store)) {
        sockets_turn(true); // the last results
        finished |= !sockets_owe() || now_ms >= stop_at_ms - stop_ms_max + results_ms_max;
    }
    if (stage == Stage::finishing && finished) {
        sockets_close_all(1001, "the server is stopping");
        stage = Stage::closing;
    }
    if (stage == Stage::closing && (net_finish() == 0 || late)) close_handles();
}

// --- signals

static void on_stop_signal(uv_signal_t *, int number) { stop_begin(number == SIGINT ? "SIGINT" : "SIGTERM"); }

static void on_reload_signal(uv_signal_t *, int) {
    ScopedBuf message;
    if (!options_reload(options, &message)) return log_error("SIGHUP: nothing changed: %.*s", static_cast<int>(message.len), message.data);
    log_start(options->log_level, options->log_json);
    hub.options = hub_options(options);
    auth_set_options(auth_options(options));
    ws_set_deflate(options->deflate);
    if (message.len) log_info("SIGHUP: %.*s", static_cast<int>(message.len), message.data);
    buf_clear(message);
    Words *words = words_file_read(options->stop_words, &message);
    if (!words) return log_error("SIGHUP: the stop words stay as they were: %.*s", static_cast<int>(message.len), message.data);
    words_free(hub.words);
    hub.words = words;
    log_info("SIGHUP: configuration and stop words read again (%u stop words)", words_count(words));
}

static int watch_signals() {
    static const struct {
        int number;
        uv_signal_cb act;
    } table[] = {{SIGTERM, on_stop_signal}, {SIGINT, on_stop_signal}, {SIGHUP, on_reload_signal}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        int failed = uv_signal_init(&loop, &signals[i]);
        if (!failed) failed = uv_signal_start(&signals[i], table[i].act, table[i].number);
        if (failed) return failed;
        uv_unref(reinterpret_cast<uv_handle_t *>(&signals[i]));
    }
    return 0;
}

// --- the outline

static int start_failed(const Buf &error, int status) {
    fprintf(stderr, "chatterbox: %.*s\n", static_cast<int>(error.len), error.data);
    net_stop_listening(); // removes the files of Unix sockets
    control_stop();
    if (store) store_close(store);
    return status;
}

int server_run(Options *o) {
    options = o;
    log_start(o->log_level, o->log_json);
    log_never_wait();
    (void)signal(SIGHUP, SIG_IGN); // until watch_signals: all has just been read
    // libuv aborts without a word where its table of descriptors cannot grow; ours says what it was.
    (void)uv_replace_allocator(malloc, mem_grow, calloc, free);
    ScopedBuf error;
    if (o->sandbox != SandboxMode::off) sandbox_no_ring();
    if (int failed = uv_loop_init(&loop)) {
        fprintf(stderr, "chatterbox: cannot start: %s\n", uv_strerror(failed));
        return 1;
    }
    Words *words = words_file_read(o->stop_words, &error);
    if (!words) return start_failed(error, 2); // a list that cannot be read is a mistake on the command line
    cores = usable_cores();
    bound = memory_bound(o, hash_threads(), static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE)));
    notify_open();
    bool ready = raise_limits() && start_net(&error) && give_up_files(&error);
    if (!ready) words_free(words);
    if (!ready || !start_chat(words, &error) || !control_start(&loop, &hub, o->data, &error)) return start_failed(error, 1);
    greeting_look(o);
    auto mb = [](uint64_t bytes) { return static_cast<unsigned long long>(bytes / 1'000'000); };
    log_info("memory bound: %llu MB = %llu for itself + %llu hashing passwords + %llu waiting for the disk + %llu idle connections + %llu what they hold; accounts and rooms on top",
             mb(bound.total), mb(bound.fixed + bound.one_connection), mb(bound.hashing), mb(bound.writing), mb(bound.idle), mb(bound.held));
    if (!give_up_calls(&error)) return start_failed(error, 1);
    uv_prepare_init(&loop, &end_of_turn);
    uv_prepare_start(&end_of_turn, turn);
    uv_idle_init(&loop, &no_sleep);
    uv_timer_init(&loop, &alarm_clock);
    if (int failed = watch_signals()) {
        buf_printf(error, "cannot watch for signals: %s", uv_strerror(failed));
        return start_failed(error, 1);
    }
    uv_run(&loop, UV_RUN_DEFAULT);

    store_close(store);
    uv_run(&loop, UV_RUN_DEFAULT); // for the close callbacks
    hub_stop(&hub);
    delay_free();
    audit_stop();
    log_info("stopped");
    return exit_status;
}
