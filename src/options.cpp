// The three sources of options, flags, variables and a file, read in the order of their strength. No state of its own. Loop thread (before the loop at start).
#include "options.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "options_table.h"

namespace {

constexpr size_t file_bytes_max = 64 * 1024;

// One reading of everything: which source a row's value is from (later ones win), so that a list from a stronger source replaces a weaker one's.
enum class Source : uint8_t { initial, file, variable, flag };
struct Reading {
    Options *out;
    Buf *error;
    Source source[option_rows_max] = {};
};

// What somebody wrote, fit for one line of a message.
void add_shown(Buf &error, std::string_view text) {
    size_t shown = text.size() < 100 ? text.size() : 100;
    while (shown > 0 && shown < text.size() && ((unsigned char)text[shown] & 0xc0) == 0x80) shown--; // not inside a character
    for (char c : text.substr(0, shown)) buf_add_char(error, (unsigned char)c < 0x20 || c == 0x7f ? '?' : c);
    if (shown < text.size()) buf_add(error, "...");
}

void complain_unknown(Buf &error, std::string_view name) {
    const OptionRow *nearest = option_nearest(name);
    buf_add(error, "there is no such option");
    if (nearest != nullptr) buf_printf(error, "; is %s meant?", nearest->name);
    else buf_add(error, "; chatterbox --help lists them");
}

// `where` names the source for the message: "--listen", "CHATTERBOX_LISTEN", "FILE:12: listen".
bool option_set(Reading &r, const OptionRow &row, std::string_view text, Source source, const char *where) {
    Source &before = r.source[&row - option_rows];
    if (before != source && option_count(r.out, row) != nullptr) *option_count(r.out, row) = 0;
    before = source;
    ScopedBuf wanted;
    if (option_put(r.out, row, text, &wanted)) return true;
    buf_printf(*r.error, "%s ", where);
    add_shown(*r.error, text);
    buf_add(*r.error, ": it must be ");
    buf_add(*r.error, buf_view(wanted));
    return false;
}

// ---------------------------------------------------------------- the sources, weakest first

void options_set_initial(Reading &r) {
    for (size_t i = 0; i < option_rows_count; i++) {
        const OptionRow &row = option_rows[i];
        if (row.initial[0] == 0) continue;
        bool ok = option_set(r, row, row.initial, Source::initial, row.name);
        CB_ASSERT(ok);
    }
}

bool file_read(const char *path, Buf &text, Buf &error) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = -1;
    if (fd >= 0) {
        do {
            buf_reserve(text, 4096);
            n = read(fd, text.data + text.len, 4096);
            if (n > 0) text.len += (size_t)n;
        } while ((n > 0 && text.len <= file_bytes_max) || (n < 0 && errno == EINTR));
    }
    int failure = errno;
    if (fd >= 0) close(fd);
    if (n < 0) buf_printf(error, "--config %s: it cannot be read (%s)", path, strerror(failure));
    else if (text.len > file_bytes_max) buf_printf(error, "--config %s: it is longer than %zu KiB", path, file_bytes_max / 1024);
    else return true;
    return false;
}

std::string_view blanks_trim(std::string_view text) {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t' || text.back() == '\r')) text.remove_suffix(1);
    return text;
}

bool options_set_from_line(Reading &r, std::string_view line, unsigned number) {
    for (size_t i = 0; i < line.size(); i++) { // a comment begins a line or follows a blank
        if (line[i] == '#' && (i == 0 || line[i - 1] == ' ' || line[i - 1] == '\t')) line = line.substr(0, i);
    }
    line = blanks_trim(line);
    if (line.empty()) return true;
    char where[options_path_max + 100];
    snprintf(where, sizeof where, "%s:%u:", r.out->config, number);
    size_t equals = line.find('=');
    std::string_view name = blanks_trim(line.substr(0, equals));
    if (equals == line.npos || name.empty()) {
        buf_printf(*r.error, "%s write it as `name = value`", where);
        return false;
    }
    const OptionRow *row = option_find(name);
    if (row == nullptr) {
        buf_printf(*r.error, "%s ", where);
        add_shown(*r.error, name);
        buf_add(*r.error, ": ");
        complain_unknown(*r.error, name);
        return false;
    }
    bool again = r.source[row - option_rows] == Source::file && row->count_offset == 0;
    if (again || strcmp(row->name, "config") == 0) {
        buf_printf(*r.error, "%s %s %s", where, row->name, again ? "is there already; keep one of the two" : "cannot be in the file itself");
        return false;
    }
    snprintf(where, sizeof where, "%s:%u: %s", r.out->config, number, row->name);
    return option_set(r, *row, blanks_trim(line.substr(equals + 1)), Source::file, where);
}

bool options_set_from_file(Reading &r) {
    if (r.out->config[0] == 0) return true;
    ScopedBuf file;
    if (!file_read(r.out->config, file, *r.error)) return false;
    std::string_view text = buf_view(file);
    if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
    for (unsigned number = 1; !text.empty(); number++) {
        size_t end = text.find('\n');
        if (!options_set_from_line(r, text.substr(0, end), number)) return false;
        text.remove_prefix(end == text.npos ? text.size() : end + 1);
    }
    return true;
}

// The variable of a row; null when it is missing or empty (as `NAME=` in a unit file or a compose file means).
const char *variable_of(const OptionRow &row, char name[64]) {
    snprintf(name, 64, "CHATTERBOX_%s", row.name);
    for (char *c = name; *c != 0; c++) {
        if (*c == '-') *c = '_';
        else if (*c >= 'a' && *c <= 'z') *c = (char)(*c - 32);
    }
    const char *value = getenv(name);
    return value != nullptr && value[0] != 0 ? value : nullptr;
}

bool options_set_from_variables(Reading &r) {
    for (size_t i = 0; i < option_rows_count; i++) {
        const OptionRow &row = option_rows[i];
        char name[64];
        const char *value = variable_of(row, name);
        if (value == nullptr) continue;
        std::string_view rest = value;
        do { // a list is written with commas or blanks between
            size_t end = row.count_offset != 0 ? rest.find_first_of(", \t\n") : rest.npos;
            std::string_view one = rest.substr(0, end);
            rest.remove_prefix(end == rest.npos ? rest.size() : end + 1);
            if (one.empty()) continue;
            if (!option_set(r, row, one, Source::variable, name)) return false;
        } while (!rest.empty());
    }
    return true;
}

// One flag with its value, `--name value` or `--name=value`.
struct Flag {
    const OptionRow *row;
    std::string_view name;
    const char *value; // null: none follows
    int words;         // 1 or 2 of argv
};

Flag flag_at(int argc, char **argv, int i) {
    std::string_view word = argv[i];
    Flag flag = {nullptr, word.substr(word.starts_with("--") ? 2 : 0), nullptr, 1};
    if (!word.starts_with("--")) return flag;
    size_t equals = flag.name.find('=');
    if (equals != flag.name.npos) {
        flag.value = argv[i] + 2 + equals + 1;
        flag.name = flag.name.substr(0, equals);
    }
    flag.row = option_find(flag.name);
    if (flag.row != nullptr && flag.value == nullptr && i + 1 < argc && strncmp(argv[i + 1], "--", 2) != 0) { // `--data --name x` forgot a value
        flag.value = argv[i + 1];
        flag.words = 2;
    }
    return flag;
}

bool is_help(const char *word) { return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0; }

// Sets what the flags say; at first only --config, and --help, which must be known before the rest. What is no option of the table is
// kept, moved to the front of argv, or is a mistake when it is not to be kept.
bool options_set_from_flags(Reading &r, int *argc, char **argv, bool first, bool keep) {
    int kept = 0;
    for (int i = 0; i < *argc;) {
        if (first && is_help(argv[i])) r.out->help = true;
        bool rest = keep && strcmp(argv[i], "--") == 0;
        Flag flag = rest ? Flag{} : flag_at(*argc, argv, i);
        if (flag.row == nullptr) {
            int words = rest ? *argc - i : 1;
            if (!first && !keep) {
                add_shown(*r.error, argv[i]);
                buf_add(*r.error, ": ");
                if (argv[i][0] == '-') complain_unknown(*r.error, flag.name);
                else buf_add(*r.error, "this is no option; they begin with -- (chatterbox --help lists them)");
                return false;
            }
            if (!first) memmove(argv + kept, argv + i, (size_t)words * sizeof argv[0]);
            kept += words;
            i += words;
            continue;
        }
        i += flag.words;
        if (first && strcmp(flag.row->name, "config") != 0) continue;
        char where[64];
        snprintf(where, sizeof where, "--%s", flag.row->name);
        if (flag.value == nullptr) {
            buf_printf(*r.error, "%s: its value is missing; write %s %s", where, where, flag.row->value);
            return false;
        }
        if (!option_set(r, *flag.row, flag.value, Source::flag, where)) return false;
    }
    if (keep && !first) *argc = kept;
    return true;
}

bool options_read(int *argc, char **argv, bool keep, Options *out, Buf *error) {
    Reading r{.out = out, .error = error};
    options_set_initial(r);
    if (!options_set_from_flags(r, argc, argv, true, keep)) return false;
    if (out->help) return true;
    if (out->config[0] == 0) {
        char name[64];
        const OptionRow *row = option_find("config");
        const char *value = variable_of(*row, name);
        if (value != nullptr && !option_set(r, *row, value, Source::variable, name)) return false;
    }
    // A flag's --config must survive the variable's, which options_set_from_variables sees again: the flags are set last.
    if (!options_set_from_file(r) || !options_set_from_variables(r) || !options_set_from_flags(r, argc, argv, false, keep)) return false;
    if (out->silent_max <= out->ping_idle) {
        buf_printf(*error, "--silent-max %u: it must be more than --ping-idle (%u), or every idle socket is dropped", out->silent_max, out->ping_idle);
        return false;
    }
    return true;
}

} // namespace

bool options_parse(int argc, char **argv, Options *out, Buf *error) {
    out->argc = argc;
    out->argv = argv;
    return options_read(&argc, argv, false, out, error);
}

bool options_take(int *argc, char **argv, Options *out, Buf *error) { return options_read(argc, argv, true, out, error); }

bool options_reload(Options *o, Buf *message) {
    Options *fresh = new Options; // some 10 KiB: not on the stack
    int argc = o->argc;
    bool ok = options_read(&argc, o->argv, false, fresh, message);
    bool waiting = false;
    for (size_t i = 0; i < option_rows_count; i++) {
        const OptionRow &row = option_rows[i];
        if (!ok || !option_differs(o, fresh, row)) continue;
        if (row.reload) {
            option_copy(o, fresh, row);
        } else {
            buf_add(*message, waiting ? ", " : "changed for the next start: ");
            buf_add(*message, row.name);
            waiting = true;
        }
    }
    delete fresh;
    return ok;
}
