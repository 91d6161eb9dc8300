// The log. Its level and format are set once at start (and at SIGHUP by the loop thread); a line is put together on the stack and
// written with one call, so lines of several threads never mix. What comes from outside is escaped: a name can hold no second line and
// no terminal command.
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/unicode.h"

namespace {

constexpr const char *level_names[] = {"error", "warn", "info", "debug"};
constexpr size_t message_bytes_max = 1000;

int level_now = (int)LogLevel::info;
bool format_json_now = false;
unsigned lines_lost = 0; // since the last that was taken
int taker = STDERR_FILENO;
bool is_socket = false;

// 2026-11-22T16:43:26.123Z, computed here because gmtime_r reads time zone files.
size_t log_time(char *out, size_t room) {
    int64_t wall_ms = clock_wall_ms();
    int64_t days = wall_ms / 86'400'000, rest_ms = wall_ms % 86'400'000;
    if (rest_ms < 0) rest_ms += 86'400'000, days--;
    // Days to a date in the proleptic Gregorian calendar, in years that begin in March.
    int64_t shifted = days + 719'468;
    int64_t era = (shifted >= 0 ? shifted : shifted - 146'096) / 146'097;
    int64_t day_of_era = shifted - era * 146'097;
    int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36'524 - day_of_era / 146'096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month_from_march = (5 * day_of_year + 2) / 153;
    int day = (int)(day_of_year - (153 * month_from_march + 2) / 5 + 1);
    int month = (int)(month_from_march < 10 ? month_from_march + 3 : month_from_march - 9);
    int year = (int)(year_of_era + era * 400 + (month <= 2 ? 1 : 0));
    int length = snprintf(out, room, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", year, month, day, (int)(rest_ms / 3'600'000),
                          (int)(rest_ms / 60'000 % 60), (int)(rest_ms / 1000 % 60), (int)(rest_ms % 1000));
    return length < 0 ? 0 : (size_t)length;
}

// Controls (C1 too, which terminals obey) become \u00XX, in JSON quotes and backslashes are escaped; in bytes that are no UTF-8
// everything beyond ASCII is shown as \u00XX. `out` has room for six times the message.
size_t log_escape(char *out, std::string_view message, bool json) {
    bool utf8 = utf8_valid(message);
    size_t length = 0;
    for (size_t i = 0; i < message.size(); i++) {
        unsigned char c = (unsigned char)message[i];
        bool c1 = utf8 && c == 0xc2 && (unsigned char)message[i + 1] < 0xa0;
        if (c1) c = (unsigned char)message[++i];
        if (c < 0x20 || c == 0x7f || c1 || (c >= 0x80 && !utf8)) {
            length += (size_t)snprintf(out + length, 7, "\\u%04x", c);
        } else {
            if (json && (c == '"' || c == '\\')) out[length++] = '\\';
            out[length++] = (char)c;
        }
    }
    return length;
}

// Who reads it may have stopped: a terminal that is held, a pager, a collector that hangs. The server must not stand still for that, so lines are lost, and counted.
bool is_taken_by(int patience_ms) {
    pollfd where = {.fd = taker, .events = POLLOUT, .revents = 0};
    int n = poll(&where, 1, patience_ms);
    while (n < 0 && errno == EINTR) n = poll(&where, 1, 0);
    return n != 0; // an error is for write to meet
}

// False when it was not taken, or not whole.
bool log_put(const char *line, size_t length) {
    if (!is_socket && taker == STDERR_FILENO && !is_taken_by(0)) return false;
    ssize_t n = is_socket ? send(taker, line, length, MSG_DONTWAIT | MSG_NOSIGNAL) : write(taker, line, length);
    return n == (ssize_t)length || (n < 0 && errno != EAGAIN); // with another error there is nobody who could read of it
}

void log_write(const char *line, size_t length) {
    constexpr int patience_ms = 20;
    bool lost_before = __atomic_load_n(&lines_lost, __ATOMIC_RELAXED) != 0;
    if (log_put(line, length) || (!lost_before && is_taken_by(patience_ms) && log_put(line, length))) return;
    __atomic_add_fetch(&lines_lost, 1, __ATOMIC_RELAXED);
}

} // namespace

void log_start(LogLevel level, bool format_json) {
    __atomic_store_n(&level_now, (int)level, __ATOMIC_RELAXED);
    __atomic_store_n(&format_json_now, format_json, __ATOMIC_RELAXED);
}

// Whether writing waits is for all who share a descriptor: so a pipe and a terminal are opened once more. A file has a place in it, and is left alone.
void log_never_wait() {
    struct stat st;
    if (fstat(STDERR_FILENO, &st) != 0) return;
    is_socket = S_ISSOCK(st.st_mode);
    if (!S_ISFIFO(st.st_mode) && !S_ISCHR(st.st_mode)) return;
    int fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd >= 0) taker = fd;
}

bool log_level_parse(const char *name, LogLevel *out) {
    for (int i = 0; i < 4; i++) {
        if (strcmp(name, level_names[i]) != 0) continue;
        *out = (LogLevel)i;
        return true;
    }
    return false;
}

void log_line(LogLevel level, const char *format, ...) {
    if ((int)level > __atomic_load_n(&level_now, __ATOMIC_RELAXED)) return;
    if (unsigned lost = __atomic_load_n(&lines_lost, __ATOMIC_RELAXED); lost != 0 && is_taken_by(0)) {
        __atomic_store_n(&lines_lost, 0, __ATOMIC_RELAXED);
        log_line(LogLevel::error, "log: %u lines were lost: nobody took them", lost);
    }
    char message[message_bytes_max];
    va_list arguments;
    va_start(arguments, format);
    int wanted = vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    if (wanted < 0) return;
    size_t length = (size_t)wanted < sizeof message ? (size_t)wanted : sizeof message - 1;
    if ((size_t)wanted > length) { // cut: not inside a character
        while (length > 0 && ((unsigned char)message[length - 1] & 0xc0) == 0x80) length--;
        if (length > 0 && (unsigned char)message[length - 1] >= 0xc0) length--;
    }
    char line[message_bytes_max * 6 + 128];
    char time[40];
    log_time(time, sizeof time);
    bool json = __atomic_load_n(&format_json_now, __ATOMIC_RELAXED);
    const char *shape = json ? "{\"time\":\"%s\",\"level\":\"%s\",\"message\":\"" : "%s %-5s ";
    size_t used = (size_t)snprintf(line, 120, shape, time, level_names[(int)level]);
    used += log_escape(line + used, {message, length}, json);
    if (json) line[used++] = '"', line[used++] = '}';
    line[used++] = '\n';
    log_write(line, used);
}
