// load: puts a load on a running ChatterBox and measures it: how many messages arrive, how late, and whether each arrives once and
// in order. See --help. One thread; it opens the accounts it is told to, leaves them behind, and writes no file unless asked.
// `make bench` uses it for all its figures (tools/bench).
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conns.h"

namespace {

struct Options {
    const char *url = "http://127.0.0.1:8000", *tokens = nullptr, *login = nullptr, *save = nullptr, *get = nullptr;
    const char *flood_name = "", *flood_password = "", *label = "";
    double connections = 100, senders = 10, outstanding = 4, rate = 0, duration = 5, warm = 1, register_count = 0, room = 1, text = 62;
    double stalled = 0, resume = 0, behind = 100, repeat = 1, flood = 0, low = 1, high = 1, pid = 0, limit = 300;
    bool json = false, all_rooms = false, deflate = false, plain = false, counts = false;
} options;

struct Flag {
    const char *name, *value, *help;
    const char **text;
    double *number;
    bool *on;
    double least, most;
};

const Flag flags[] = {
    {nullptr, nullptr, "Who the connections are (one of these; connections use the accounts in turn)", nullptr, nullptr, nullptr, 0, 0},
    {"--register", "N", "make N new accounts, whose names begin with load-", nullptr, &options.register_count, nullptr, 0, 100000},
    {"--login", "FILE", "log in: a name and a password a line", &options.login, nullptr, nullptr, 0, 0},
    {"--tokens", "FILE", "a token a line", &options.tokens, nullptr, nullptr, 0, 0},
    {"--save-tokens", "FILE", "write down the tokens, for the next time", &options.save, nullptr, nullptr, 0, 0},
    {nullptr, nullptr, "What they do", nullptr, nullptr, nullptr, 0, 0},
    {"--connections", "N", "WebSockets; each checks that it gets everything once and in order (100)", nullptr, &options.connections, nullptr, 0, 1000000},
    {"--senders", "N", "how many of them send; 0: all are idle (10)", nullptr, &options.senders, nullptr, 0, 9999},
    {"--outstanding", "N", "messages that each sender keeps under way (4)", nullptr, &options.outstanding, nullptr, 1, 1000000},
    {"--rate", "R", "instead: R messages a second in all, each timed from when it was due", nullptr, &options.rate, nullptr, 0, 10000000},
    {"--text", "BYTES", "length of a message (62)", nullptr, &options.text, nullptr, 16, 16000},
    {"--room", "ID", "where to send; everybody must be a member (1, the lobby)", nullptr, &options.room, nullptr, 1, 1e15},
    {"--all-rooms", nullptr, "send to every room of one's account in turn, but not to the lobby", nullptr, nullptr, &options.all_rooms, 0, 0},
    {"--deflate", nullptr, "ask for compression", nullptr, nullptr, &options.deflate, 0, 0},
    {"--stalled", "N", "of the connections, how many read nothing", nullptr, &options.stalled, nullptr, 0, 1000000},
    {"--warm", "S", "seconds before measuring (1)", nullptr, &options.warm, nullptr, 0, 3600},
    {"--duration", "S", "seconds measured (5)", nullptr, &options.duration, nullptr, 0, 86400},
    {nullptr, nullptr, "A disturbance, after the measuring and with a latency of its own", nullptr, nullptr, nullptr, 0, 0},
    {"--resume", "N", "N more connections leave and come back at once …", nullptr, &options.resume, nullptr, 0, 1000000},
    {"--behind", "M", "… M messages later (100); wants --rate", nullptr, &options.behind, nullptr, 0, 1000000},
    {"--repeat", "K", "… K times (1)", nullptr, &options.repeat, nullptr, 1, 99},
    {"--flood", "N", "N logins under way all the time, for --duration …", nullptr, &options.flood, nullptr, 0, 1024},
    {"--flood-name", "NAME", "… of this account", &options.flood_name, nullptr, nullptr, 0, 0},
    {"--flood-password", "TEXT", "… with this password, right or wrong", &options.flood_password, nullptr, nullptr, 0, 0},
    {nullptr, nullptr, "Instead of chat", nullptr, nullptr, nullptr, 0, 0},
    {"--get", "PATH", "GET it on --connections kept connections; %r: a random number …", &options.get, nullptr, nullptr, 0, 0},
    {"--low", "N", "… from N (1)", nullptr, &options.low, nullptr, 0, 1e15},
    {"--high", "N", "… to N (1)", nullptr, &options.high, nullptr, 0, 1e15},
    {nullptr, nullptr, "What is told", nullptr, nullptr, nullptr, 0, 0},
    {"--json", nullptr, "one line of JSON instead of text", nullptr, nullptr, &options.json, 0, 0},
    {"--label", "TEXT", "copied to the JSON", &options.label, nullptr, nullptr, 0, 0},
    {"--pid", "PID", "the server's process on this machine: its CPU time and memory", nullptr, &options.pid, nullptr, 0, 1e9},
    {"--counts", nullptr, "what the server counts (GET /metrics): messages a write, operations a commit", nullptr, nullptr, &options.counts, 0, 0},
    {"--limit", "S", "give up after so many seconds (300)", nullptr, &options.limit, nullptr, 1, 1e6},
    {"--plain", nullptr, "the server hands on what it gets and knows no accounts (for comparing)", nullptr, nullptr, &options.plain, 0, 0},
};

void help() {
    printf("load [options] [URL]\n"
           "Puts a load on a running ChatterBox (default http://127.0.0.1:8000) and tells how many messages arrived, how late, and\n"
           "whether each did once and in order. A server as it comes allows each account 20 messages at once and 5 a second: start it\n"
           "with --message-rate off --request-rate off, and for many accounts --login-rate off. Exit status 3: messages were missing.\n");
    for (const Flag &f : flags) {
        if (f.name == nullptr) {
            printf("\n%s:\n", f.help);
            continue;
        }
        char left[40];
        snprintf(left, sizeof left, "%s%s%s", f.name, f.value == nullptr ? "" : " ", f.value == nullptr ? "" : f.value);
        printf("  %-22s %s\n", left, f.help);
    }
    exit(0);
}

void options_read(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) help();
        if (argv[i][0] != '-') {
            options.url = argv[i];
            continue;
        }
        const Flag *flag = nullptr;
        for (const Flag &f : flags)
            if (f.name != nullptr && strcmp(f.name, argv[i]) == 0) flag = &f;
        if (flag == nullptr) die("unknown option (see load --help): ", argv[i]);
        if (flag->on != nullptr) {
            *flag->on = true;
            continue;
        }
        if (++i == argc) die("this option wants a value: ", flag->name);
        if (flag->text != nullptr) {
            *flag->text = argv[i];
            continue;
        }
        char *end = nullptr;
        *flag->number = strtod(argv[i], &end);
        if (*end != 0 || !(*flag->number >= flag->least && *flag->number <= flag->most)) die("not in range: ", flag->name);
    }
    if (options.senders > options.connections - options.stalled) options.senders = options.connections - options.stalled;
    if (options.stalled > options.connections || (options.stalled > 0 && options.all_rooms)) die("--stalled must be among --connections, and goes not with --all-rooms");
    if (options.resume > 0 && (options.rate <= 0 || options.plain)) die("--resume wants --rate");
}

// ---------------------------------------------------------------- what is read before and after

struct Moment {
    uint64_t ns, sent, delivered, frames, frame_bytes, bytes, reads;
    ProcessCpu split;
    double server_cpu, own_cpu, machine_cpu;
};
int pid;

Moment moment_now() {
    return {now_ns(), load.sent, load.delivered, load.frames, load.frame_bytes, load.bytes, load.reads, process_cpu(pid),
        process_cpu_seconds(pid), own_cpu_seconds(), machine_cpu_seconds()};
}

// The result as names and numbers, printed at the end in one of two ways.
struct Field {
    const char *name;
    double value;
    int digits;
};
Field fields[64];
size_t fields_count;

void tell(const char *name, double value, int digits) { fields[fields_count++] = {name, value, digits}; }

void tell_latency(const char *const names[5], const Histogram &h) {
    constexpr double shares[] = {0.5, 0.9, 0.99, 0.999};
    for (int i = 0; i < 4; i++) tell(names[i], histogram_ms(h, shares[i]), 3);
    tell(names[4], static_cast<double>(h.highest) / 1e6, 3);
}

double tell_time(const Moment &a, const Moment &b) {
    double s = static_cast<double>(b.ns - a.ns) / 1e9, cpu = b.server_cpu - a.server_cpu, own = b.own_cpu - a.own_cpu;
    tell("seconds", s, 2);
    if (pid != 0) {
        tell("cpu", cpu / s, 3);
        tell("cpu_user", (b.split.user - a.split.user) / s, 3);
        tell("cpu_system", (b.split.system - a.split.system) / s, 3);
    }
    tell("cpu_load", own / s, 3);
    tell("cpu_others", (b.machine_cpu - a.machine_cpu - cpu - own) / s, 2);
    return s;
}

int print() {
    double missing = 0;
    if (options.json) printf("{\"label\":\"%s\"", options.label);
    for (size_t i = 0; i < fields_count; i++) {
        const Field &f = fields[i];
        if (options.json) printf(",\"%s\":%.*f", f.name, f.digits, f.value);
        else printf("%-24s %.*f\n", f.name, f.digits, f.value);
        if (strcmp(f.name, "missing") == 0 || strcmp(f.name, "wrong") == 0 || strcmp(f.name, "closed") == 0) missing += f.value;
    }
    if (options.json) printf("}\n");
    return missing == 0 ? 0 : 3;
}

// ---------------------------------------------------------------- the two things that can be measured

Moment get_begin;

int run_gets() {
    gets_run(options.get, static_cast<uint64_t>(options.low), static_cast<uint64_t>(options.high),
        static_cast<uint32_t>(options.connections), options.warm, options.duration, [] { get_begin = moment_now(); });
    Moment end = moment_now();
    constexpr const char *names[] = {"p50_ms", "p90_ms", "p99_ms", "p999_ms", "max_ms"};
    double s = tell_time(get_begin, end), n = static_cast<double>(gets.answers), cpu = end.server_cpu - get_begin.server_cpu;
    tell("requests_s", n / s, 1);
    if (pid != 0) tell("requests_cpu_s", cpu > 0 ? n / cpu : 0, 1);
    tell("body_bytes", n > 0 ? static_cast<double>(gets.bytes) / n : 0, 1);
    tell_latency(names, gets.latency);
    return print();
}

double rss_kb() { return static_cast<double>(process_memory_kb(pid, "status", "VmRSS:")); }

void tell_disturbance(Histogram &disturbed) {
    if (options.resume > 0) {
        double took[99];
        size_t n = static_cast<size_t>(options.repeat);
        for (size_t i = 0; i < n; i++) {
            double x = conns_resume(static_cast<uint32_t>(options.behind), &disturbed);
            size_t at = i;
            for (; at > 0 && took[at - 1] > x; at--) took[at] = took[at - 1];
            took[at] = x;
        }
        tell("resume_s", took[n / 2], 3);
        tell("resume_max_s", took[n - 1], 3);
    } else {
        flood = {.name = options.flood_name, .password = options.flood_password};
        flood_set(static_cast<uint32_t>(options.flood));
        conns_run(0.5);
        uint64_t before = flood.answers;
        load.into = &disturbed;
        conns_run(options.duration);
        load.into = nullptr;
        tell("logins_s", static_cast<double>(flood.answers - before) / options.duration, 1);
        tell("logins_refused", static_cast<double>(flood.refused), 0);
        flood_set(0);
    }
}

int run_chat() {
    static Histogram quiet, disturbed;
    uint32_t n = static_cast<uint32_t>(options.connections), senders = static_cast<uint32_t>(options.senders);
    const char *token = load.accounts.count != 0 ? load.accounts.tokens[0] : nullptr;
    conns_make(n, static_cast<uint32_t>(options.resume));
    double rss_start = rss_kb();
    Moment a = moment_now(), b = {};
    conns_connect(n, static_cast<uint32_t>(options.stalled));
    b = moment_now();
    tell("connections", n, 0);
    tell("connect_s", static_cast<double>(b.ns - a.ns) / 1e9, 3);
    if (pid != 0) tell("handshake_us", n > 0 ? (b.server_cpu - a.server_cpu) / n * 1e6 : 0, 1);
    conns_run(senders == 0 ? options.duration : 0.3); // presence and the like come to rest
    double rss_connected = rss_kb();
    if (pid != 0) {
        tell("rss_start_kb", rss_start, 0);
        tell("rss_connected_kb", rss_connected, 0);
        tell("pss_connected_kb", static_cast<double>(process_memory_kb(pid, "smaps_rollup", "Pss:")), 0);
    }
    if (senders == 0) {
        tell("closed", load.lost, 0);
        conns_close();
        return print();
    }
    process_forget_peak(pid);
    conns_send(senders, options.rate > 0 ? 0 : static_cast<uint32_t>(options.outstanding), options.rate);
    conns_run(options.warm);
    Counts before = options.counts ? counts_now(load.server, token) : Counts{};
    load.into = &quiet;
    a = moment_now();
    conns_run(options.duration);
    b = moment_now();
    load.into = nullptr;
    Counts after = options.counts ? counts_now(load.server, token) : Counts{};
    SendQueues queues = pid != 0 ? send_queues(load.server.port) : SendQueues{};
    double peak = static_cast<double>(process_memory_kb(pid, "status", "VmHWM:"));
    if (options.resume > 0 || options.flood > 0) tell_disturbance(disturbed);
    uint64_t missing = conns_finish(15);
    double got = static_cast<double>(b.delivered - a.delivered), cpu = b.server_cpu - a.server_cpu, s = tell_time(a, b);
    tell("sent", static_cast<double>(load.sent), 0);
    tell("refused", static_cast<double>(load.refused), 0);
    tell("missing", static_cast<double>(missing), 0);
    tell("wrong", static_cast<double>(load.wrong), 0);
    tell("closed", load.lost, 0);
    tell("sent_s", static_cast<double>(b.sent - a.sent) / s, 1);
    tell("deliveries_s", got / s, 0);
    if (pid != 0) tell("deliveries_cpu_s", cpu > 0 ? got / cpu : 0, 0);
    constexpr const char *names[] = {"p50_ms", "p90_ms", "p99_ms", "p999_ms", "max_ms"};
    constexpr const char *more[] = {"disturbed_p50_ms", "disturbed_p90_ms", "disturbed_p99_ms", "disturbed_p999_ms", "disturbed_max_ms"};
    tell_latency(names, quiet);
    if (disturbed.count != 0) tell_latency(more, disturbed);
    tell("mbytes_s", static_cast<double>(b.bytes - a.bytes) / s / 1e6, 3);
    tell("frame_bytes", b.frames > a.frames ? static_cast<double>(b.frame_bytes - a.frame_bytes) / static_cast<double>(b.frames - a.frames) : 0, 0);
    tell("per_read", b.reads > a.reads ? got / static_cast<double>(b.reads - a.reads) : 0, 1);
    if (options.counts) {
        tell("per_write", after.writes > before.writes ? (after.frames_out - before.frames_out) / (after.writes - before.writes) : 0, 2);
        tell("per_commit", after.commits > before.commits ? (after.operations - before.operations) / (after.commits - before.commits) : 0, 2);
    }
    if (load.rooms > 1) tell("rooms", load.rooms, 0);
    if (pid != 0) {
        tell("rss_peak_kb", peak, 0);
        tell("kernel_queued_kb", static_cast<double>(queues.all) / 1024, 0);
        tell("kernel_queue_longest_kb", static_cast<double>(queues.longest) / 1024, 1);
    }
    conns_close();
    return print();
}

} // namespace

int main(int argc, char **argv) {
    options_read(argc, argv);
    signal(SIGPIPE, SIG_IGN);
    alarm(static_cast<unsigned>(options.limit));
    load.server = address_read(options.url);
    load.plain = options.plain;
    load.deflate = options.deflate;
    load.all_rooms = options.all_rooms;
    load.room = static_cast<unsigned>(options.room);
    load.text_bytes = static_cast<size_t>(options.text);
    pid = static_cast<int>(options.pid);
    if (options.tokens != nullptr) accounts_read(load.accounts, options.tokens);
    else if (options.login != nullptr) accounts_login(load.accounts, load.server, options.login);
    else if (options.register_count > 0) accounts_register(load.accounts, load.server, static_cast<unsigned>(options.register_count));
    else if (!options.plain && options.get == nullptr) die("say who the connections are: --register N, --login FILE or --tokens FILE");
    if (options.save != nullptr) accounts_write(load.accounts, options.save);
    if (options.get != nullptr) return run_gets();
    return options.connections > 0 ? run_chat() : 0;
}
