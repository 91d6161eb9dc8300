// The bound on memory: what it is for some options, and that every option that can cost memory moves it.
#include "unit.h"

#include "memory_bound.h"
#include "options_table.h"

constexpr uint64_t mib = 1024 * 1024, gib = 1024 * mib;

static MemoryBound bound_of(std::initializer_list<const char *> words, unsigned threads = 1, uint64_t machine_bytes = 4 * gib) {
    const char *argv[8] = {};
    int argc = 0;
    for (const char *word : words) argv[argc++] = word;
    Options o;
    ScopedBuf error;
    bool good = options_parse(argc, (char **)argv, &o, &error);
    check(good, "%.*s", (int)error.len, error.data);
    return memory_bound(&o, threads, machine_bytes);
}

static void it_is_the_sum_of_its_parts(void **) {
    MemoryBound b = bound_of({});
    assert_int_equal(b.total, b.fixed + b.hashing + b.writing + b.idle + b.held + b.one_connection);
    assert_int_equal(b.idle, (10'000 + 512) * 1024);
    assert_true(b.hashing >= 19 * mib);
    // A connection at its worst: the longest answer that nobody takes, a body and a head.
    assert_true(b.one_connection > mib + (64 << 10) && b.one_connection < 3 * mib / 2);
    assert_true(b.total < 170 * mib);
}

// Every option of the table is in the one list or in the other: it moves the bound, or it costs no memory that strangers could make grow.
static const struct {
    const char *name, *less, *more; // values on either side of the default; null: that is the end of its range
} costs[] = {
    {"max-sockets", "100", "20000"},
    {"password-memory", "8", "64"},
    {"frame-max", "1024", nullptr},
};
static const struct {
    const char *name, *other; // than the default
} frees[] = {
    {"listen", "127.0.0.1:1"}, {"data", "/tmp/elsewhere"}, {"name", "Another name"}, {"registration", "closed"}, {"durability", "normal"},
    {"stop-words", "/dev/null"}, {"warnings", "100"}, {"allow-origin", "https://chat.example.org"}, {"trust-proxy", "10.0.0.0/8"}, {"user", "1:1"},
    {"sandbox", "off"}, {"config", "/dev/null"}, {"log-level", "debug"}, {"log-format", "json"},
    {"password-ops", "10"},                       // time, not memory
    {"message-rate", "off"}, {"request-rate", "off"}, // what waits has bounds of its own: write_queue_bytes_max and what connections hold
    {"login-rate", "off"},                        // hash_queue_max
    {"max-sockets-per-user", "1000"}, {"max-connections-per-address", "1000"}, // within --max-sockets and the connections beside them
    {"text-max", "16000"},                        // within --frame-max
    {"max-guests-per-address", "300"},            // within --max-connections-per-address
    {"head-max", "1024"}, {"body-max", "1024"},   // a request costs less than a socket: see below
    {"head-time", "60"}, {"body-time", "60"}, {"keep-alive", "600"}, {"fragments-max", "1000000"}, // each is as long as it is, however slowly and in how many pieces it comes
    {"login-rate-per-address", "1000"},           // hash_queue_max
    {"max-sessions-per-user", "256"}, {"max-rooms-per-user", "1000"}, {"session-idle", "60"}, {"session-age", "1000"}, // what people have, not strangers
    {"ping-idle", "60"}, {"silent-max", "7200"}, {"stuck-max", "3600"}, // connections are counted as if they stayed for ever
    {"deflate", "on"},                            // messages are counted as if all were inflated
};

static uint64_t with(const char *name, const char *value) {
    ScopedBuf flag;
    buf_printf(flag, "--%s", name);
    buf_add_char(flag, 0);
    return bound_of({flag.data, value}).total;
}

static void what_costs_memory_moves_it(void **) {
    uint64_t usual = bound_of({}).total;
    for (auto &row : costs) {
        if (row.less != nullptr) check(with(row.name, row.less) < usual, "--%s %s", row.name, row.less);
        if (row.more != nullptr) check(with(row.name, row.more) > usual, "--%s %s", row.name, row.more);
    }
    for (auto &row : frees) check(with(row.name, row.other) == usual, "--%s %s", row.name, row.other);
    for (size_t i = 0; i < option_rows_count; i++) {
        int listed = 0;
        for (auto &row : costs) listed += strcmp(row.name, option_rows[i].name) == 0;
        for (auto &row : frees) listed += strcmp(row.name, option_rows[i].name) == 0;
        check(listed == 1, "--%s: does it cost memory?", option_rows[i].name);
    }
    assert_int_equal(bound_of({}, 4).total - usual, 3 * (19 * mib + 4096));
}

// The net keeps to it, so it must be enough for the largest that one connection may hold, several times.
static void what_connections_hold_goes_by_the_machine(void **) {
    assert_int_equal(bound_of({}).held_max, 64 * mib);
    assert_int_equal(bound_of({}, 1, 512 * mib).held_max, 32 * mib);
    assert_int_equal(bound_of({}, 1, 32 * mib).held_max, 8 * mib);
    assert_true(8 * mib > 4 * bound_of({}).one_connection);
    assert_int_equal(bound_of({}).held, 72 * mib);
}

static void a_board_can_have_a_small_one(void **) {
    MemoryBound b = bound_of({"--max-sockets", "200", "--password-memory", "8"}, 1, 128 * mib);
    assert_true(b.total < 70 * mib);
}

int main() {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_the_sum_of_its_parts),
        cmocka_unit_test(what_costs_memory_moves_it),
        cmocka_unit_test(what_connections_hold_goes_by_the_machine),
        cmocka_unit_test(a_board_can_have_a_small_one),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
