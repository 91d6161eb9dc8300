// The table of options, how a value of each kind is read into its place, and --help, which is printed from it. No state.
#include "options_table.h"

#include <string.h>

#include "base/assert.h"
#include "base/limits.h"
#include "base/unicode.h"
#include "chat/rules.h"

#define PLACE(field) (uint16_t) offsetof(Options, field), (uint16_t)sizeof(Options::field)

// Options has a deleted copy constructor and plain members: what offsetof wants is there, though the standard promises less.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Winvalid-offsetof"
const OptionRow option_rows[] = {
    {"listen", "ADDR:PORT", "127.0.0.1:8000", "where to serve, or unix:PATH; port 0 picks one; repeatable", OptionKind::listen, false, PLACE(listen), offsetof(Options, listen_count), 0, 0},
    {"data", "DIR", "./data", "where everything is kept; made if missing", OptionKind::path, false, PLACE(data), 0, 0, 0},
    {"name", "TEXT", "ChatterBox", "the server's name, shown on the page", OptionKind::text, false, PLACE(name), 0, 0, 0},
    {"registration", "open|invite|closed", "open", "who may make an account", OptionKind::choice, true, PLACE(registration), 0, 0, 0},
    {"durability", "full|normal", "full", "full: acknowledged is on disk; normal: power loss may cost the last moments", OptionKind::choice, false, PLACE(durability), 0, 0, 0},
    {"stop-words", "FILE", "", "one word or phrase a line; none given: a short built-in list", OptionKind::path, true, PLACE(stop_words), 0, 0, 0},
    {"warnings", "N", "3", "the N-th stop word blocks its writer; 0: never", OptionKind::number, true, PLACE(warnings), 0, 0, 1000},
    {"password-memory", "MIB", "19", "memory of one Argon2id hash", OptionKind::number, true, PLACE(password_memory_mib), 0, 1, 1024},
    {"password-ops", "N", "2", "rounds of one Argon2id hash", OptionKind::number, true, PLACE(password_ops), 0, 1, 100},
    {"message-rate", "BURST/PER_SECOND", "20/5", "messages, edits, deletions of a user; off: no limit", OptionKind::rate, true, PLACE(message_rate), 0, 0, 0},
    {"request-rate", "BURST/PER_SECOND", "100/50", "all requests of a user; off: no limit", OptionKind::rate, true, PLACE(request_rate), 0, 0, 0},
    {"login-rate", "N", "10", "logins and registrations a minute for each address and name; off: no limit", OptionKind::number_or_off, true, PLACE(login_rate), 0, 1, 100'000},
    {"login-rate-per-address", "N", "60", "the same over all names, for each address (IPv6: each /64)", OptionKind::number, true, PLACE(login_rate_per_address), 0, 1, 100'000},
    {"max-sockets", "N", "10000", "WebSockets in all", OptionKind::number, false, PLACE(max_sockets), 0, 1, 1'000'000},
    {"max-sockets-per-user", "N", "64", "WebSockets of one user", OptionKind::number, false, PLACE(max_sockets_per_user), 0, 1, 1'000'000},
    {"max-connections-per-address", "N", "256", "connections from one address; loopback has no limit", OptionKind::number, false, PLACE(max_connections_per_address), 0, 1, 1'000'000},
    {"max-guests-per-address", "N", "32", "of those, without a session", OptionKind::number, false, PLACE(max_guests_per_address), 0, 1, 1'000'000},
    {"max-sessions-per-user", "N", "32", "sessions of one user; the longest unused goes", OptionKind::number, true, PLACE(max_sessions_per_user), 0, 1, sessions_max_highest},
    {"max-rooms-per-user", "N", "100", "rooms that one user may make", OptionKind::number, true, PLACE(max_rooms_per_user), 0, 0, 10'000},
    {"session-idle", "DAYS", "30", "a session ends when it is unused for", OptionKind::number, true, PLACE(session_idle), 0, 1, 3650},
    {"session-age", "DAYS", "365", "a session ends, used or not, after", OptionKind::number, true, PLACE(session_age), 0, 1, 3650},
    {"head-max", "BYTES", "8192", "the largest head of an HTTP request", OptionKind::number, false, PLACE(head_max), 0, 1024, 32'768},
    {"head-time", "SECONDS", "10", "within which it must have come", OptionKind::number, false, PLACE(head_time), 0, 1, 3600},
    {"body-max", "BYTES", "65536", "the largest body of an HTTP request", OptionKind::number, false, PLACE(body_max), 0, 1024, 65'536},
    {"body-time", "SECONDS", "20", "within which it must have come", OptionKind::number, false, PLACE(body_time), 0, 1, 3600},
    {"keep-alive", "SECONDS", "60", "an HTTP connection without a request is closed after", OptionKind::number, false, PLACE(keep_alive), 0, 1, 3600},
    {"text-max", "CHARACTERS", "4000", "the longest message", OptionKind::number, true, PLACE(text_max), 0, 1, 16'000},
    {"frame-max", "BYTES", "65536", "the largest WebSocket message from a client", OptionKind::number, false, PLACE(frame_max), 0, 1024, 65'536},
    {"fragments-max", "N", "16384", "fragments of such a message", OptionKind::number, false, PLACE(fragments_max), 0, 1, 1'000'000},
    {"ping-idle", "SECONDS", "30", "an idle WebSocket is pinged after", OptionKind::number, false, PLACE(ping_idle), 0, 1, 3600},
    {"silent-max", "SECONDS", "75", "a silent WebSocket is dropped after", OptionKind::number, false, PLACE(silent_max), 0, 2, 7200},
    {"stuck-max", "SECONDS", "60", "one that takes nothing although data waits is dropped after", OptionKind::number, false, PLACE(stuck_max), 0, 1, 3600},
    {"deflate", "auto|on|off", "auto", "compress WebSocket frames; auto: not for loopback", OptionKind::choice, true, PLACE(deflate), 0, 0, 0},
    {"allow-origin", "ORIGIN", "", "https://NAME of a proxy in front; repeatable", OptionKind::origin, false, PLACE(allow_origin_text), offsetof(Options, allow_origin_count), 0, 0},
    {"trust-proxy", "CIDR|unix", "", "peers whose X-Forwarded-* headers are believed; repeatable", OptionKind::proxy, false, PLACE(trust_proxy), offsetof(Options, trust_proxy_count), 0, 0},
    {"user", "UID:GID", "", "become this user once the ports are open; for a start as root", OptionKind::ids, false, PLACE(user), 0, 0, 0},
    {"sandbox", "auto|require|off", "auto", "give up all files but the data and all system calls but its own; auto: as far as the kernel can", OptionKind::choice, false, PLACE(sandbox), 0, 0, 0},
    {"config", "FILE", "", "more options, one `name = value` a line", OptionKind::path, false, PLACE(config), 0, 0, 0},
    {"log-level", "error|warn|info|debug", "info", "how much goes to standard error", OptionKind::choice, true, PLACE(log_level), 0, 0, 0},
    {"log-format", "text|json", "text", "for people or for programs", OptionKind::choice, true, PLACE(log_json), 0, 0, 0},
};
#pragma GCC diagnostic pop
#undef PLACE
const size_t option_rows_count = sizeof option_rows / sizeof option_rows[0];
static_assert(sizeof option_rows / sizeof option_rows[0] <= option_rows_max);

// The words of a choice are in the order of its enum.
static_assert((int)Registration::open == 0 && (int)Registration::invite == 1 && (int)Registration::closed == 2);
static_assert((int)Durability::full == 0 && (int)Durability::normal == 1);
static_assert((int)DeflateMode::automatic == 0 && (int)DeflateMode::on == 1 && (int)DeflateMode::off == 2);
static_assert((int)SandboxMode::automatic == 0 && (int)SandboxMode::require == 1 && (int)SandboxMode::off == 2);
static_assert((int)LogLevel::error == 0 && (int)LogLevel::warn == 1 && (int)LogLevel::info == 2 && (int)LogLevel::debug == 3);

namespace {

void *option_place(Options *o, const OptionRow &row) { return (char *)o + row.offset; }

// How many letters differ, as a person mistypes them; for short names.
unsigned distance(std::string_view a, std::string_view b) {
    unsigned row[40] = {};
    if (b.size() >= sizeof row / sizeof row[0]) return 99;
    for (unsigned j = 0; j <= b.size(); j++) row[j] = j;
    for (unsigned i = 0; i < a.size(); i++) {
        unsigned diagonal = row[0];
        row[0] = i + 1;
        for (unsigned j = 0; j < b.size(); j++) {
            unsigned best = diagonal + (a[i] != b[j]);
            if (row[j] + 1 < best) best = row[j] + 1;
            diagonal = row[j + 1];
            if (diagonal + 1 < best) best = diagonal + 1;
            row[j + 1] = best;
        }
    }
    return row[b.size()];
}

bool number_parse(std::string_view text, uint32_t least, uint32_t most, uint32_t *out) {
    uint64_t n = 0;
    if (text.empty() || text.size() > 9) return false;
    for (char c : text) {
        if (c < '0' || c > '9') return false;
        n = n * 10 + (uint64_t)(c - '0');
    }
    if (n < least || n > most) return false;
    *out = (uint32_t)n;
    return true;
}

// "1000:1000". Neither may be root's, which would be no change, nor the highest, which the kernel takes for none.
bool ids_parse(std::string_view text, UserIds *out) {
    uint32_t parts[2];
    for (uint32_t &part : parts) {
        uint64_t n = 0;
        size_t digits = 0;
        for (; digits < text.size() && digits < 11 && text[digits] >= '0' && text[digits] <= '9'; digits++) n = n * 10 + (uint64_t)(text[digits] - '0');
        text.remove_prefix(digits);
        bool goes_on = &part == parts;
        if (digits == 0 || n == 0 || n >= UINT32_MAX || text.empty() == goes_on || (goes_on && text[0] != ':')) return false;
        if (goes_on) text.remove_prefix(1);
        part = (uint32_t)n;
    }
    *out = {parts[0], parts[1]};
    return true;
}

// The place of a word among "one|two|three", or -1.
int choice_parse(std::string_view words, std::string_view word) {
    for (int i = 0;; i++) {
        size_t end = words.find('|');
        if (!word.empty() && words.substr(0, end) == word) return i;
        if (end == words.npos) return -1;
        words.remove_prefix(end + 1);
    }
}

bool origin_ok(std::string_view text) {
    size_t scheme = text.starts_with("https://") ? 8 : text.starts_with("http://") ? 7 : 0;
    return scheme != 0 && text.size() < options_origin_max && host_syntax_ok(text.substr(scheme));
}

bool copy_text(Options *o, const OptionRow &row, std::string_view text) {
    if (text.size() >= row.size || text.find('\0') != text.npos) return false;
    char *place = (char *)option_place(o, row);
    memcpy(place, text.data(), text.size());
    place[text.size()] = 0;
    return true;
}

// One more of a repeatable option. Null, or what would be right.
const char *value_add(Options *o, const OptionRow &row, std::string_view text, uint32_t *count) {
    if (*count == options_list_max) return "at most 16 times";
    if (row.kind == OptionKind::listen) {
        if (!listen_parse(text, &o->listen[*count])) return "ADDR:PORT like 127.0.0.1:8000, 0.0.0.0:8000 or [::1]:8000, or unix:PATH (of 107 bytes at most)";
    } else if (row.kind == OptionKind::origin) {
        if (!origin_ok(text)) return "an origin like https://chat.example.org, without a path";
        memcpy(o->allow_origin_text[*count], text.data(), text.size());
        o->allow_origin_text[*count][text.size()] = 0;
        o->allow_origin[*count] = o->allow_origin_text[*count];
    } else {
        if (!cidr_parse(text, &o->trust_proxy[*count])) return "an address like 10.0.0.1, a network like 10.0.0.0/8, or unix";
    }
    (*count)++;
    return nullptr;
}

// Null, or what would be right; a hint that is made for the occasion is put into `hint`.
const char *value_put(Options *o, const OptionRow &row, std::string_view text, Buf &hint) {
    if (uint32_t *count = option_count(o, row)) return value_add(o, row, text, count);
    void *place = option_place(o, row);
    switch (row.kind) {
    case OptionKind::text: {
        ScopedBuf clean;
        if (!utf8_valid(text) || rules_display_name(text, &clean) != Err::ok || !copy_text(o, row, buf_view(clean))) return "1 to 64 visible characters on one line";
        return nullptr;
    }
    case OptionKind::ids: return ids_parse(text, (UserIds *)place) ? nullptr : "two numbers from 1 on like 1000:1000 (names are not looked up)";
    case OptionKind::path: return !text.empty() && copy_text(o, row, text) ? nullptr : "a path of 1 to 1023 bytes";
    case OptionKind::choice: {
        int index = choice_parse(row.value, text);
        if (index < 0) {
            buf_printf(hint, "one of %s", row.value);
            return "";
        }
        if (row.size == 1) *(uint8_t *)place = (uint8_t)index;
        else *(int *)place = index;
        return nullptr;
    }
    case OptionKind::number_or_off:
        if (text == "off") {
            *(uint32_t *)place = 0;
            return nullptr;
        }
        [[fallthrough]];
    case OptionKind::number:
        if (number_parse(text, row.least, row.most, (uint32_t *)place)) return nullptr;
        buf_printf(hint, "a number from %u to %u%s", row.least, row.most, row.kind == OptionKind::number_or_off ? ", or off" : "");
        return "";
    case OptionKind::rate: {
        char copy[64] = {};
        if (text.size() >= sizeof copy) return "BURST/PER_SECOND like 20/5, or off";
        memcpy(copy, text.data(), text.size());
        return rate_parse(copy, (Rate *)place) ? nullptr : "BURST/PER_SECOND like 20/5, or off";
    }
    case OptionKind::listen:
    case OptionKind::origin:
    case OptionKind::proxy: break;
    }
    CB_ASSERT(!"a row of a list's kind has a count_offset");
    return nullptr;
}

} // namespace

uint32_t *option_count(Options *o, const OptionRow &row) { return row.count_offset == 0 ? nullptr : (uint32_t *)((char *)o + row.count_offset); }

const OptionRow *option_find(std::string_view name) {
    for (const OptionRow &row : option_rows) {
        if (name == row.name) return &row;
    }
    return nullptr;
}

const OptionRow *option_nearest(std::string_view name) {
    const OptionRow *nearest = nullptr;
    unsigned least = 3;
    for (const OptionRow &row : option_rows) {
        unsigned d = name.size() < 60 ? distance(name, row.name) : 99;
        if (d < least) least = d, nearest = &row;
    }
    return nearest;
}

bool option_put(Options *o, const OptionRow &row, std::string_view text, Buf *wanted) {
    ScopedBuf hint;
    const char *right = value_put(o, row, text, hint);
    if (right == nullptr) return true;
    buf_add(*wanted, right);
    buf_add(*wanted, buf_view(hint));
    return false;
}

// Places beyond a list's count do not matter.
bool option_differs(const Options *a, const Options *b, const OptionRow &row) {
    const char *here = (const char *)a + row.offset, *there = (const char *)b + row.offset;
    if (row.kind == OptionKind::text || row.kind == OptionKind::path) return strcmp(here, there) != 0;
    if (row.kind == OptionKind::rate) {
        const Rate *x = (const Rate *)here, *y = (const Rate *)there;
        return x->burst != y->burst || x->per_second != y->per_second;
    }
    if (row.count_offset == 0) return memcmp(here, there, row.size) != 0;
    uint32_t count = *(const uint32_t *)((const char *)a + row.count_offset);
    if (count != *(const uint32_t *)((const char *)b + row.count_offset)) return true;
    for (uint32_t i = 0; i < count; i++) {
        switch (row.kind) {
        case OptionKind::listen: {
            const ListenAddress &x = a->listen[i], &y = b->listen[i];
            if (!address_equal(x.address, y.address) || x.port_asked != y.port_asked || strcmp(x.unix_path, y.unix_path) != 0) return true;
            break;
        }
        case OptionKind::origin:
            if (strcmp(a->allow_origin_text[i], b->allow_origin_text[i]) != 0) return true;
            break;
        default: {
            const Cidr &x = a->trust_proxy[i], &y = b->trust_proxy[i];
            if (memcmp(x.bytes, y.bytes, sizeof x.bytes) != 0 || x.prefix_bits != y.prefix_bits || x.is_unix != y.is_unix) return true;
        }
        }
    }
    return false;
}

void option_copy(Options *to, const Options *from, const OptionRow &row) {
    CB_ASSERT(row.count_offset == 0);
    memcpy(option_place(to, row), (const char *)from + row.offset, row.size);
}

void options_help(Buf *out) {
    constexpr size_t column = 32, width = 100;
    for (const OptionRow &row : option_rows) {
        size_t begin = out->len;
        buf_printf(*out, "  --%s %s", row.name, row.value);
        if (out->len - begin >= column) buf_add_char(*out, '\n'), begin = out->len;
        while (out->len - begin < column) buf_add_char(*out, ' ');
        ScopedBuf words;
        buf_add(words, row.help);
        if (row.initial[0] != 0) buf_printf(words, "%s[%s]", words.len != 0 ? " " : "", row.initial);
        for (std::string_view rest = buf_view(words); !rest.empty();) {
            size_t end = rest.find(' ');
            std::string_view word = rest.substr(0, end);
            rest.remove_prefix(end == rest.npos ? rest.size() : end + 1);
            if (out->len - begin + word.size() > width) {
                while (out->data[out->len - 1] == ' ') out->len--;
                buf_add_char(*out, '\n');
                begin = out->len;
                while (out->len - begin < column) buf_add_char(*out, ' ');
            }
            buf_add(*out, word);
            if (!rest.empty()) buf_add_char(*out, ' ');
        }
        buf_add_char(*out, '\n');
    }
    buf_add(*out,
            "\nEach option is also a variable, --max-sockets as CHATTERBOX_MAX_SOCKETS, and a line `max-sockets = N`\n"
            "in the --config file. A flag wins over the variable, the variable over the file.\n");
}
