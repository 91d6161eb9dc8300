// The log: one line an event on standard error, text or JSON. For operators: starts, stops, faults of the world. Never a line per packet,
// never a query string, a token, a password or a message's text. Any thread; a line is one write.
#pragma once

enum class LogLevel { error, warn, info, debug };

// format_json: one JSON object a line instead of text.
void log_start(LogLevel level, bool format_json);
// For a server, before it is confined and before any thread: from now on a line that standard error does not take within 20 ms is lost, and counted.
void log_never_wait();
bool log_level_parse(const char *name, LogLevel *out); // "error" "warn" "info" "debug"
[[gnu::format(printf, 2, 3)]] void log_line(LogLevel level, const char *format, ...);

#define log_error(...) log_line(LogLevel::error, __VA_ARGS__)
#define log_warn(...) log_line(LogLevel::warn, __VA_ARGS__)
#define log_info(...) log_line(LogLevel::info, __VA_ARGS__)
#define log_debug(...) log_line(LogLevel::debug, __VA_ARGS__)
