// The log, seen through a pipe in the place of standard error; and with it the clocks and the metrics' text.
#include "catch_log.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/unicode.h"

static void writes_one_line(void **) {
    log_start(LogLevel::info, false);
    std::string_view line = catch_log([] { log_warn("%s is %d", "answer", 42); });
    // 2026-11-22T16:43:26.123Z warn  answer is 42
    assert_int_equal(line.size(), 24 + 1 + 5 + 1 + strlen("answer is 42\n"));
    check_text(line.substr(24), " warn  answer is 42\n", "text");
    assert_true(line[4] == '-' && line[10] == 'T' && line[19] == '.' && line[23] == 'Z');
    assert_true(line.substr(0, 2) == "20");
}

// Whose other end reads nothing, as when its window hangs. In a child, since it is for good.
static void a_terminal_that_hangs_holds_nobody_up(void **) {
    pid_t child = fork();
    if (child == 0) {
        int terminal = posix_openpt(O_RDWR | O_NOCTTY);
        if (terminal < 0 || grantpt(terminal) != 0 || unlockpt(terminal) != 0) _exit(2);
        int ours = open(ptsname(terminal), O_RDWR | O_NOCTTY);
        if (ours < 0 || dup2(ours, STDERR_FILENO) < 0) _exit(3);
        alarm(10);
        log_start(LogLevel::info, false);
        log_never_wait();
        for (int i = 0; i < 5000; i++) log_info("a line of some length, number %d", i);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    check(WIFEXITED(status) && WEXITSTATUS(status) == 0, "it ended with %d", status);
}

static void keeps_to_its_level(void **) {
    static const struct {
        LogLevel level;
        int lines;
    } rows[] = {{LogLevel::error, 1}, {LogLevel::warn, 2}, {LogLevel::info, 3}, {LogLevel::debug, 4}};
    for (auto &row : rows) {
        log_start(row.level, false);
        std::string_view text = catch_log([] {
            log_error("e");
            log_warn("w");
            log_info("i");
            log_debug("d");
        });
        int lines = 0;
        for (char c : text) lines += c == '\n';
        assert_int_equal(lines, row.lines);
    }
}

static void a_name_cannot_forge_a_line(void **) {
    log_start(LogLevel::info, false);
    std::string_view line = catch_log([] { log_info("user %s", "x\n2026-01-01T00:00:00.000Z error y\x1b[31m\xc2\x9b" "1m\r\x7f"); });
    check_text(line.substr(25), "info  user x\\u000a2026-01-01T00:00:00.000Z error y\\u001b[31m\\u009b1m\\u000d\\u007f\n", "escaped");
    line = catch_log([] { log_info("bytes %s", "\xff\xc3"); });
    check_text(line.substr(25), "info  bytes \\u00ff\\u00c3\n", "no UTF-8");
}

static void writes_json(void **) {
    log_start(LogLevel::info, true);
    static const char *messages[] = {"plain", "\"quoted\" \\ and \n\t\x01", "umlaut \xc3\xa4", "not UTF-8 \xff", ""};
    for (const char *message : messages) {
        std::string_view line = catch_log([message] { log_error("%s", message); });
        assert_true(line.back() == '\n');
        JsonRef root = json_parse(line);
        assert_true(root);
        std::string_view value;
        assert_true(json_string(json_get(root, "level"), &value));
        check_text(value, "error", "level");
        assert_true(json_string(json_get(root, "time"), &value) && value.size() == 24);
        assert_true(json_string(json_get(root, "message"), &value));
        if (utf8_valid(message)) check_text(value, message, "message");
    }
    log_start(LogLevel::info, false);
}

static void cuts_what_is_long(void **) {
    static char text[5000];
    for (int shift = 0; shift < 4; shift++) {
        size_t n = 0;
        for (int i = 0; i < shift; i++) text[n++] = 'x';
        while (n + 4 < sizeof text) memcpy(text + n, "\xf0\x9f\x91\x8d", 4), n += 4;
        text[n] = 0;
        std::string_view line = catch_log([] { log_info("%s", text); });
        assert_true(line.size() < 1200 && line.size() > 900 && line.back() == '\n');
        assert_true(utf8_valid(line));
    }
    memset(text, '\x01', sizeof text - 1); // every byte six
    text[sizeof text - 1] = 0;
    assert_true(catch_log([] { log_info("%s", text); }).size() < 6200);
}

static void knows_its_levels(void **) {
    LogLevel level = LogLevel::info;
    assert_true(log_level_parse("debug", &level) && level == LogLevel::debug);
    assert_true(log_level_parse("error", &level) && level == LogLevel::error);
    assert_false(log_level_parse("Error", &level));
    assert_false(log_level_parse("", &level));
    assert_true(level == LogLevel::error);
}

static void clocks_run(void **) {
    uint64_t ms = clock_ms(), us = clock_us();
    usleep(2000);
    assert_true(clock_us() >= us + 2000);
    assert_true(clock_ms() >= ms + 1);
    assert_true(us / 1000 - ms < 1000);
    assert_true(clock_wall_ms() > 1'600'000'000'000);
    assert_true(clock_is_set()); // this machine's clock is later than its own build
}

static void metrics_are_exposed(void **) {
    metric_add(Metric::frames_in, 41);
    metric_add(Metric::frames_in);
    metric_set(Metric::sockets_open, 3);
    metric_sub(Metric::sockets_open);
    ScopedBuf out;
    metrics_print(out);
    std::string_view text = buf_view(out);
    assert_true(text.find("# HELP chatterbox_frames_in WebSocket messages received\n# TYPE chatterbox_frames_in counter\nchatterbox_frames_in 42\n") !=
                text.npos);
    assert_true(text.find("# TYPE chatterbox_sockets_open gauge\nchatterbox_sockets_open 2\n") != text.npos);
    size_t lines = 0;
    for (char c : text) lines += c == '\n';
    assert_int_equal(lines, 3 * (int)Metric::count);
}

int main() {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_terminal_that_hangs_holds_nobody_up), cmocka_unit_test(writes_one_line), cmocka_unit_test(keeps_to_its_level), cmocka_unit_test(a_name_cannot_forge_a_line),
        cmocka_unit_test(writes_json),     cmocka_unit_test(cuts_what_is_long),  cmocka_unit_test(knows_its_levels),
        cmocka_unit_test(clocks_run),      cmocka_unit_test(metrics_are_exposed),
    };
    return cmocka_run_group_tests_name("log", tests, nullptr, nullptr);
}
