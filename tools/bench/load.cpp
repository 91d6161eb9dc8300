// load: the load generator and meter of `make bench`. It starts one server as its child, puts one load on it, and prints what it
// saw as one line of JSON. It counts and checks every delivery: each connection must get each message of each sender once and in
// order. Talks to 127.0.0.1 only, one thread, ends by itself (--limit). tools/bench/run says which servers and scenarios,
// tools/bench/table makes the table.
//   load SCENARIO [options] -- SERVER [arguments]
//     fan    --senders S of --readers N connections keep --window W messages each under way        (closed loop)
//     rate   --senders S send --rate R messages a second in all, timed from when each was due      (open loop)
//     idle   memory with no sockets, 1,000 and --readers N
//     start  process start to the first byte of the answer to GET --path, --repeat times
//     page   GET --path on --readers N kept connections as fast as the answers come
//     tokens makes --readers N accounts and writes their tokens to --tokens FILE
//   --dialect plain|chatterbox|mqtt|nats  what is said on the socket        --port named|said  how the port is agreed (child.h)
//   --counts yes   asks GET /metrics how many frames the server sent in how many writes, before and after
//   --tokens FILE  one a line, used in turn      --warm, --seconds  before and while measuring      --name, --limit
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "conns.h"

namespace {

struct Options {
    const char *scenario = "", *name = "", *dialect = "plain", *tokens = nullptr, *path = "/", *port = "said", *counts = "no";
    double readers = 100, senders = 10, window = 4, rate = 50, warm = 0.5, seconds = 2, repeat = 5, limit = 60;
    char **command = nullptr;
} options;

struct Moment {
    uint64_t ns, sent, delivered, frames, frame_bytes, reads;
    double server_cpu, own_cpu, machine_cpu;
};

Moment moment_now() {
    return {now_ns(), load.sent, load.delivered, load.frames, load.frame_bytes, load.reads, child_cpu_seconds(load.server),
        own_cpu_seconds(), machine_cpu_seconds()};
}

// What the server itself counts: how many frames it sent in how many writes. Zeros from one that does not tell.
struct Counts {
    double frames_out = 0, writes = 0, commits = 0, operations = 0;
};

// The name stands in comments too, there without a number behind it.
double metric(const char *text, const char *name) {
    for (const char *at = text; (at = strstr(at, name)) != nullptr;) {
        at += strlen(name);
        if (*at >= '0' && *at <= '9') return atof(at);
    }
    return 0;
}

Counts counts_now() {
    static char answer[32768];
    constexpr char request[] = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    Counts c;
    int fd = loopback_connect(load.server.port, true);
    if (fd < 0 || send(fd, request, sizeof request - 1, MSG_NOSIGNAL) != sizeof request - 1) return c;
    timeval patience = {.tv_sec = 1, .tv_usec = 0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    size_t len = 0;
    for (ssize_t r; len < sizeof answer - 1 && (r = recv(fd, answer + len, sizeof answer - 1 - len, 0)) > 0;) {
        len += static_cast<size_t>(r);
        answer[len] = 0;
        if (strstr(answer, "floor_writes") != nullptr) break; // the floor does not close
    }
    close(fd);
    answer[len] = 0;
    return {metric(answer, "_frames_out "), metric(answer, "_writes "), metric(answer, "_commits "), metric(answer, "_operations ")};
}

// ---------------------------------------------------------------- scenarios

void server_end() {
    if (!child_alive(load.server)) die("the server ended by itself");
    // We go first: a server that ends waits for the answers to its close frames, which nobody here would give.
    conns_close();
    int status = child_stop(load.server);
    // A peer may take a signal for an end; ours must end well.
    if (status != 0 && strcmp(options.dialect, "chatterbox") == 0) die("the server did not end well");
}

// fan and rate.
int run_messages(bool fixed_rate) {
    uint32_t n = static_cast<uint32_t>(options.readers), senders = static_cast<uint32_t>(options.senders);
    if (senders > n) die("--senders must be among --readers");
    conns_connect(n);
    conns_run(0.3); // presence and the like come to rest
    conns_send(senders, fixed_rate ? 0 : static_cast<uint32_t>(options.window), options.rate);
    conns_run(options.warm);
    bool counted = strcmp(options.counts, "yes") == 0;
    Counts before = counted ? counts_now() : Counts{};
    Moment a = moment_now();
    load.measuring = true;
    conns_run(options.seconds);
    load.measuring = false;
    Moment b = moment_now();
    Counts after = counted ? counts_now() : Counts{};
    after.writes -= before.writes;
    after.commits -= before.commits;
    load.sending = false;
    // What is still under way must arrive: up to 15 s, and no longer than 5 s without anything.
    uint64_t end = now_ns() + 15000000000ull, moved = now_ns();
    while (load.delivered < load.sent * n && now_ns() < end && now_ns() - moved < 5000000000ull && load.lost == 0) {
        uint64_t before = load.delivered;
        conns_turn(50);
        if (load.delivered != before) moved = now_ns();
    }
    uint64_t missing = conns_missing();
    long rss = child_memory_kb(load.server, "status", "VmHWM:");
    double s = static_cast<double>(b.ns - a.ns) / 1e9, cpu = b.server_cpu - a.server_cpu, own = b.own_cpu - a.own_cpu;
    double got = static_cast<double>(b.delivered - a.delivered), others = b.machine_cpu - a.machine_cpu - cpu - own;
    server_end();
    printf("{\"scenario\":\"%s\",\"server\":\"%s\",\"readers\":%u,\"senders\":%u,\"window\":%.0f,\"rate\":%.0f,\"seconds\":%.2f,"
           "\"sent\":%llu,\"missing\":%llu,\"wrong\":%llu,\"closed\":%u,"
           "\"sent_s\":%.1f,\"deliveries_s\":%.0f,\"deliveries_cpu_s\":%.0f,\"p50_ms\":%.3f,\"p90_ms\":%.3f,\"p99_ms\":%.3f,"
           "\"max_ms\":%.3f,"
           "\"cpu\":%.3f,\"cpu_load\":%.3f,\"cpu_others\":%.2f,\"per_read\":%.1f,\"per_write\":%.2f,\"per_commit\":%.2f,"
           "\"frame_bytes\":%.0f,\"rss_peak_kb\":%ld}\n",
        options.scenario, options.name, n, senders, fixed_rate ? 0 : options.window, fixed_rate ? options.rate : 0, s,
        static_cast<unsigned long long>(load.sent), static_cast<unsigned long long>(missing),
        static_cast<unsigned long long>(load.wrong), load.lost, static_cast<double>(b.sent - a.sent) / s, got / s,
        cpu > 0 ? got / cpu : 0, histogram_ms(load.latency, 0.5), histogram_ms(load.latency, 0.9),
        histogram_ms(load.latency, 0.99), static_cast<double>(load.latency.highest) / 1e6, cpu / s, own / s, others / s,
        b.reads > a.reads ? got / static_cast<double>(b.reads - a.reads) : 0,
        after.writes > 0 ? (after.frames_out - before.frames_out) / after.writes : 0,
        after.commits > 0 ? (after.operations - before.operations) / after.commits : 0,
        b.frames > a.frames ? static_cast<double>(b.frame_bytes - a.frame_bytes) / static_cast<double>(b.frames - a.frames) : 0,
        rss);
    return missing == 0 && load.wrong == 0 && load.lost == 0 ? 0 : 3;
}

int run_idle() {
    uint32_t n = static_cast<uint32_t>(options.readers), steps[] = {0, n < 1000 ? n : 1000, n};
    long rss[3], pss[3];
    Moment a = {}, b = {};
    for (int i = 0; i < 3; i++) {
        a = moment_now();
        conns_connect(steps[i]);
        b = moment_now();
        conns_run(options.seconds);
        rss[i] = child_memory_kb(load.server, "status", "VmRSS:");
        pss[i] = child_memory_kb(load.server, "smaps_rollup", "Pss:");
    }
    double opened = n > steps[1] ? n - steps[1] : n;
    bool lost = load.lost != 0;
    server_end();
    printf("{\"scenario\":\"%s\",\"server\":\"%s\",\"readers\":%u,\"closed\":%u,\"rss_0_kb\":%ld,\"rss_1000_kb\":%ld,\"rss_all_"
           "kb\":%ld,\"pss_all_kb\":%ld,"
           "\"socket_kb\":%.3f,\"connect_s\":%.2f,\"handshake_us\":%.1f}\n",
        options.scenario, options.name, n, load.lost, rss[0], rss[1], rss[2], pss[2], static_cast<double>(rss[2] - rss[0]) / n,
        static_cast<double>(b.ns - a.ns) / 1e9, (b.server_cpu - a.server_cpu) / opened * 1e6);
    return lost ? 3 : 0;
}

double start_once() {
    load.server = child_start(options.command, strcmp(options.port, "named") == 0);
    int fd = loopback_connect(load.server.port, true);
    char request[256], answer[256];
    int n = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", options.path);
    if (fd < 0 || send(fd, request, static_cast<size_t>(n), MSG_NOSIGNAL) != n || recv(fd, answer, sizeof answer, 0) < 12)
        die("no answer");
    double ms = static_cast<double>(now_ns() - load.server.started_ns) / 1e6;
    if (memcmp(answer, "HTTP/1.1 200", 12) != 0) die("not the answer that was expected");
    close(fd);
    server_end();
    return ms;
}

int run_start() {
    double ms[64];
    size_t count = static_cast<size_t>(options.repeat < 64 ? options.repeat : 64);
    for (size_t i = 0; i < count; i++) {
        double x = start_once();
        size_t at = i;
        for (; at > 0 && ms[at - 1] > x; at--) ms[at] = ms[at - 1];
        ms[at] = x;
    }
    printf(
        "{\"scenario\":\"%s\",\"server\":\"%s\",\"repeat\":%zu,\"start_ms\":%.3f,\"start_ms_min\":%.3f,\"start_ms_max\":%.3f}\n",
        options.scenario, options.name, count, ms[count / 2], ms[0], ms[count - 1]);
    return 0;
}

// Requests go out one at a time on each connection; an answer is whole when as many bytes have come as the first one had.
int run_page() {
    struct Asker {
        int fd;
        size_t got;
    };
    constexpr size_t buffer_bytes = 1 << 18;
    static char buffer[buffer_bytes];
    int poller = epoll_create1(EPOLL_CLOEXEC);
    uint32_t n = static_cast<uint32_t>(options.readers);
    char request[256];
    int request_bytes =
        snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\n\r\n", options.path);
    auto *askers = static_cast<Asker *>(must(calloc(n, sizeof(Asker))));
    size_t answer_bytes = 0, body_bytes = 0;
    uint64_t answers = 0;
    for (uint32_t i = 0; i < n; i++) {
        Asker *c = &askers[i];
        c->fd = loopback_connect(load.server.port, true);
        if (c->fd < 0) die("cannot connect: ", strerror(errno));
        epoll_event e = {.events = EPOLLIN, .data = {.ptr = c}};
        epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &e);
        if (send(c->fd, request, static_cast<size_t>(request_bytes), MSG_NOSIGNAL) != request_bytes)
            die("cannot ask for the page");
    }
    Moment a = moment_now(), b = a;
    uint64_t first = 0, warm_until = a.ns + static_cast<uint64_t>(options.warm * 1e9);
    for (bool warm = true;; b = moment_now()) {
        if (warm && b.ns >= warm_until) {
            warm = false;
            a = b;
            first = answers;
        }
        if (!warm && static_cast<double>(b.ns - a.ns) / 1e9 >= options.seconds) break;
        for (uint64_t until = now_ns() + 20000000; now_ns() < until;) {
            epoll_event events[256];
            int ready = epoll_wait(poller, events, 256, 20);
            for (int i = 0; i < ready; i++) {
                auto *c = static_cast<Asker *>(events[i].data.ptr);
                ssize_t r = recv(c->fd, buffer, buffer_bytes - 1, 0);
                if (r <= 0) die("the server closed a connection");
                if (c->got == 0 && (r < 12 || memcmp(buffer, "HTTP/1.1 200", 12) != 0)) die("not the page that was expected");
                if (answer_bytes == 0) {
                    buffer[r] = 0;
                    char *blank = strstr(buffer, "\r\n\r\n"), *length = strcasestr(buffer, "\r\ncontent-length:");
                    if (blank == nullptr || length == nullptr || length > blank) die("the answer says no length");
                    body_bytes = strtoul(length + 17, nullptr, 10);
                    answer_bytes = static_cast<size_t>(blank + 4 - buffer) + body_bytes;
                }
                c->got += static_cast<size_t>(r);
                if (c->got < answer_bytes) continue;
                if (c->got > answer_bytes) die("an answer is longer than the first one");
                c->got = 0;
                answers++;
                if (send(c->fd, request, static_cast<size_t>(request_bytes), MSG_NOSIGNAL) != request_bytes)
                    die("cannot ask for the page");
            }
        }
    }
    double s = static_cast<double>(b.ns - a.ns) / 1e9, got = static_cast<double>(answers - first),
           cpu = b.server_cpu - a.server_cpu;
    server_end();
    printf("{\"scenario\":\"%s\",\"server\":\"%s\",\"connections\":%u,\"body_bytes\":%zu,\"head_bytes\":%zu,\"requests_s\":%.0f,"
           "\"requests_cpu_s\":%.0f,"
           "\"cpu\":%.3f,\"cpu_load\":%.3f,\"cpu_others\":%.2f}\n",
        options.scenario, options.name, n, body_bytes, answer_bytes - body_bytes, got / s, cpu > 0 ? got / cpu : 0, cpu / s,
        (b.own_cpu - a.own_cpu) / s, (b.machine_cpu - a.machine_cpu - cpu - (b.own_cpu - a.own_cpu)) / s);
    return 0;
}

int run_tokens() {
    FILE *file = options.tokens == nullptr ? nullptr : fopen(options.tokens, "we");
    if (file == nullptr) die("--tokens must name a file that can be written");
    for (uint32_t i = 0; i < static_cast<uint32_t>(options.readers); i++) {
        int fd = loopback_connect(load.server.port, true);
        char body[128], request[512], answer[4096];
        int n = snprintf(body, sizeof body, "{\"username\":\"load%u\",\"password\":\"a measured word %u\"}", i, i);
        n = snprintf(request, sizeof request,
            "POST /api/register HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: "
            "%d\r\nConnection: close\r\n\r\n%s",
            n, body);
        size_t len = 0;
        if (fd < 0 || send(fd, request, static_cast<size_t>(n), MSG_NOSIGNAL) != n) die("cannot register");
        for (ssize_t r; len < sizeof answer - 1 && (r = recv(fd, answer + len, sizeof answer - 1 - len, 0)) > 0;)
            len += static_cast<size_t>(r);
        answer[len] = 0;
        close(fd);
        char *token = strstr(answer, "\"token\":\"");
        if (strncmp(answer, "HTTP/1.1 201", 12) != 0 || token == nullptr) die("an account was refused: ", answer);
        fprintf(file, "%.36s\n", token + 9);
    }
    fclose(file);
    server_end();
    return 0;
}

// ---------------------------------------------------------------- the command line

struct Flag {
    const char *name;
    const char **text;
    double *number;
};

void options_read(int argc, char **argv) {
    const Flag flags[] = {
        {"--name", &options.name, nullptr},
        {"--dialect", &options.dialect, nullptr},
        {"--tokens", &options.tokens, nullptr},
        {"--path", &options.path, nullptr},
        {"--counts", &options.counts, nullptr},
        {"--port", &options.port, nullptr},
        {"--readers", nullptr, &options.readers},
        {"--senders", nullptr, &options.senders},
        {"--window", nullptr, &options.window},
        {"--rate", nullptr, &options.rate},
        {"--warm", nullptr, &options.warm},
        {"--seconds", nullptr, &options.seconds},
        {"--repeat", nullptr, &options.repeat},
        {"--limit", nullptr, &options.limit},
    };
    if (argc > 1) options.scenario = argv[1];
    int i = 2;
    for (; i + 1 < argc && strcmp(argv[i], "--") != 0; i += 2) {
        const Flag *flag = nullptr;
        for (const Flag &f : flags)
            if (strcmp(f.name, argv[i]) == 0) flag = &f;
        if (flag == nullptr) die("unknown option: ", argv[i]);
        if (flag->text != nullptr) *flag->text = argv[i + 1];
        else *flag->number = atof(argv[i + 1]);
    }
    if (i + 1 >= argc) die("usage: load SCENARIO [options] -- SERVER [arguments]");
    options.command = argv + i + 1;
    if (!dialect_choose(options.dialect)) die("unknown dialect: ", options.dialect);
    if (options.readers < 1 || options.senders < 1 || options.senders > 999 || options.rate <= 0 || options.window < 1 ||
        options.repeat < 1 || options.limit < 1)
        die("a number is out of range");
}

} // namespace

int main(int argc, char **argv) {
    options_read(argc, argv);
    alarm(static_cast<unsigned>(options.limit)); // the signal ends us, our end kills the server
    cores_split();
    bool tokens_wanted = strcmp(options.scenario, "tokens") == 0;
    if (strcmp(options.scenario, "start") == 0) return run_start();
    if (!conns_make(static_cast<uint32_t>(options.readers))) {
        printf("{\"scenario\":\"%s\",\"server\":\"%s\",\"readers\":%.0f,\"skipped\":\"the system allows too few open files\"}\n",
            options.scenario, options.name, options.readers);
        return 0;
    }
    if (options.tokens != nullptr && !tokens_wanted) conns_tokens(options.tokens);
    load.server = child_start(options.command, strcmp(options.port, "named") == 0);
    if (tokens_wanted) return run_tokens();
    if (strcmp(options.scenario, "fan") == 0) return run_messages(false);
    if (strcmp(options.scenario, "rate") == 0) return run_messages(true);
    if (strcmp(options.scenario, "idle") == 0) return run_idle();
    if (strcmp(options.scenario, "page") == 0) return run_page();
    die("unknown scenario: ", options.scenario);
}
