// libFuzzer: a configuration file, and behind it, each after a NUL, variables (CHATTERBOX_NAME=VALUE) and arguments. Promises: what is accepted is within the
// table's ranges; what is refused is one line that can be shown; a flag wins over a variable and a variable over the file; reading the same again at SIGHUP
// changes nothing; commands take the same options out of their arguments; a list of stop words from a file is the one that is parsed from its text.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/unicode.h"
#include "fuzz.h"
#include "options_table.h"
#include "words_file.h"

namespace {

constexpr int words_max = 40;

struct Sources {
    char path[64];
    char *variables[words_max];
    char *words[words_max + 2];
    int variables_count = 0, words_count = 0;
};

char file_path[64];
int file_fd = -1;

// The file is memory with a name, so nothing is left anywhere.
void file_write(std::string_view text) {
    if (file_fd < 0) {
        file_fd = memfd_create("config", 0);
        snprintf(file_path, sizeof file_path, "/proc/self/fd/%d", file_fd);
    }
    CB_ASSERT(file_fd >= 0 && ftruncate(file_fd, 0) == 0 && pwrite(file_fd, text.data(), text.size(), 0) == (ssize_t)text.size());
}

// No other file is opened than ours: what an input says of --config is left out.
bool names_a_file(std::string_view word) { return word.starts_with("--config") || word.starts_with("CHATTERBOX_CONFIG"); }

void sources_read(FuzzInput in, Sources &s) {
    while (!in.rest.empty() && s.words_count < words_max && s.variables_count < words_max) {
        std::string_view word = fuzz_field(in);
        if (names_a_file(word)) continue;
        bool variable = word.starts_with("CHATTERBOX_") && word.find('=') != word.npos;
        (variable ? s.variables[s.variables_count++] : s.words[s.words_count++]) = mem_copy(word);
    }
}

void sources_free(Sources &s) {
    for (int i = 0; i < s.variables_count; i++) free(s.variables[i]);
    for (int i = 0; i < s.words_count; i++) free(s.words[i]);
}

enum Use { use_file = 1, use_variables = 2, use_words = 4, use_all = 7 };

// The variables in the environment while this lives.
struct Environment {
    explicit Environment(const Sources &s, bool wanted) {
        clearenv();
        for (int i = 0; wanted && i < s.variables_count; i++) putenv(s.variables[i]);
    }
    ~Environment() { clearenv(); }
};

struct Reading {
    Options *options;
    char *argv[words_max + 2];
    int argc;
    bool ok;
    Buf error;
};

char config_flag[80];

void reading_make(Reading &r, const Sources &s, int use) {
    r = {.options = new Options, .argv = {}, .argc = 0, .ok = false, .error = {}};
    if (use & use_file) r.argv[r.argc++] = config_flag;
    for (int i = 0; (use & use_words) && i < s.words_count; i++) r.argv[r.argc++] = s.words[i];
    r.ok = options_parse(r.argc, r.argv, r.options, &r.error);
}

void reading_free(Reading &r) {
    delete r.options;
    buf_free(r.error);
}

bool input_is_utf8;

void check_message(const Buf &b) {
    CB_ASSERT(b.len > 0 && (!input_is_utf8 || utf8_valid(buf_view(b)))); // what is cut is cut between characters
    for (char c : buf_view(b)) CB_ASSERT((unsigned char)c >= 0x20 && c != 0x7f);
}

void check_values(const Options *o) {
    for (size_t i = 0; i < option_rows_count; i++) {
        const OptionRow &row = option_rows[i];
        const char *place = (const char *)o + row.offset;
        if (row.kind == OptionKind::number || row.kind == OptionKind::number_or_off) {
            uint32_t n;
            memcpy(&n, place, sizeof n);
            CB_ASSERT((n >= row.least && n <= row.most) || (row.kind == OptionKind::number_or_off && n == 0));
        }
        if (row.count_offset == 0 && (row.kind == OptionKind::text || row.kind == OptionKind::path)) CB_ASSERT(memchr(place, 0, row.size) != nullptr);
        if (uint32_t *count = option_count(const_cast<Options *>(o), row)) CB_ASSERT(*count <= options_list_max);
    }
    CB_ASSERT((int)o->registration <= 2 && (int)o->durability <= 1 && (int)o->deflate <= 2 && (int)o->log_level <= 3);
    CB_ASSERT(o->listen_count >= 1 && o->silent_max > o->ping_idle && utf8_valid(o->name) && o->name[0] != 0);
    for (uint32_t i = 0; i < o->allow_origin_count; i++) CB_ASSERT(o->allow_origin[i] == o->allow_origin_text[i]);
    for (const Rate *rate : {&o->message_rate, &o->request_rate}) CB_ASSERT(rate->burst == 0 || (rate->per_second > 0 && rate->per_second < 1e12));
}

// Is the option named by this source? Flags: `--name`, perhaps with =value; the word may also be another flag's value, which is why a value is only compared below.
bool flag_names(const Sources &s, const OptionRow &row) {
    for (int i = 0; i < s.words_count; i++) {
        std::string_view word = s.words[i];
        if (!word.starts_with("--")) continue;
        if (word.substr(2, word.find('=') == word.npos ? word.npos : word.find('=') - 2) == row.name) return true;
    }
    return false;
}

bool variable_names(const Sources &s, const OptionRow &row) {
    char name[64];
    size_t n = (size_t)snprintf(name, sizeof name, "CHATTERBOX_%s=", row.name);
    for (char *c = name + 11; *c != 0; c++) *c = *c == '-' ? '_' : *c >= 'a' && *c <= 'z' ? (char)(*c - 32) : *c;
    bool named = false; // the last one of a name counts, and an empty one is none
    for (int i = 0; i < s.variables_count; i++)
        if (strncmp(s.variables[i], name, n) == 0) named = s.variables[i][n] != 0 && strspn(s.variables[i] + n, ", \t\n") != strlen(s.variables[i] + n);
    return named;
}

// Each option has the value that its strongest source gives it alone.
void check_precedence(const Sources &s, const Options *all) {
    Reading flags, variables, file;
    {
        Environment none(s, false);
        reading_make(flags, s, use_words);
        reading_make(file, s, use_file);
    }
    {
        Environment some(s, true);
        reading_make(variables, s, use_variables);
    }
    for (size_t i = 0; i < option_rows_count; i++) {
        const OptionRow &row = option_rows[i];
        if (strcmp(row.name, "config") == 0) continue;
        const Reading &strongest = flag_names(s, row) ? flags : variable_names(s, row) ? variables : file;
        if (strongest.ok && !strongest.options->help) CB_ASSERT(!option_differs(all, strongest.options, row)); // alone it may make no sense: --silent-max
    }
    reading_free(flags);
    reading_free(variables);
    reading_free(file);
}

// A command's arguments: options are taken out, the rest stays in order.
void check_taking(const Sources &s) {
    char *argv[words_max + 2];
    int argc = 0, before = 0;
    for (int i = 0; i < s.words_count; i++) argv[argc++] = s.words[i];
    before = argc;
    auto *o = new Options;
    ScopedBuf error;
    if (options_take(&argc, argv, o, &error)) {
        CB_ASSERT(argc >= 0 && argc <= before && error.len == 0);
        int at = 0;
        for (int i = 0; i < argc; i++) {
            while (at < before && s.words[at] != argv[i]) at++;
            CB_ASSERT(at++ < before);
        }
    } else {
        check_message(error);
    }
    delete o;
}

void check_words_file(std::string_view text) {
    ScopedBuf error, error2;
    Words *from_file = words_file_read(file_path, &error), *from_text = words_parse(text, &error2);
    CB_ASSERT((from_file == nullptr) == (from_text == nullptr));
    if (from_file == nullptr) check_message(error);
    else CB_ASSERT(words_count(from_file) == words_count(from_text));
    words_free(from_file);
    words_free(from_text);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    FuzzInput in = fuzz_input(data, size);
    input_is_utf8 = utf8_valid(in.rest);
    std::string_view text = fuzz_field(in);
    file_write(text);
    snprintf(config_flag, sizeof config_flag, "--config=%s", file_path);
    Sources s;
    sources_read(in, s);
    Reading all;
    {
        Environment some(s, true);
        reading_make(all, s, use_all);
        if (!all.ok) check_message(all.error);
        else CB_ASSERT(all.error.len == 0);
        if (all.ok && !all.options->help) {
            check_values(all.options);
            ScopedBuf message;
            CB_ASSERT(options_reload(all.options, &message) && message.len == 0);
        }
        check_taking(s);
    }
    if (all.ok && !all.options->help) check_precedence(s, all.options);
    reading_free(all);
    sources_free(s);
    check_words_file(text);
    return 0;
}
