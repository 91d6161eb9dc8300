// libFuzzer: a list of stop words, a NUL, and a text. Promises: the automaton finds what a naive search finds, entry by entry; lists that it takes are those that
// a second reader of the format takes, with as many entries; a mistake is one line that names its line; a list is the same with CRLF and comments.
#include "base/unicode.h"
#include "chat/words.h"
#include "fuzz.h"

namespace {

// The text as words with one space around each, which is the form in which a whole word is easy to find.
void spaced(std::string_view folded, Buf &out) {
    buf_add_char(out, ' ');
    for (size_t at = 0; at < folded.size();) {
        int32_t c = utf8_next(folded, &at);
        if (unicode_is_letter_or_digit(c)) utf8_put(out, c);
        else if (out.data[out.len - 1] != ' ') buf_add_char(out, ' ');
    }
    if (out.data[out.len - 1] != ' ') buf_add_char(out, ' ');
}

std::string_view strip(std::string_view line) {
    const char *blanks = " \t";
    for (size_t i = 0; i < line.size(); i++)
        if (line[i] == '#' && (i == 0 || strchr(blanks, line[i - 1]) != nullptr)) line = line.substr(0, i);
    while (!line.empty() && (line.back() == ' ' || line.back() == '\t' || line.back() == '\r')) line.remove_suffix(1);
    while (!line.empty() && (line.front() == ' ' || line.front() == '\t')) line.remove_prefix(1);
    return line;
}

bool joins(int32_t c) { return unicode_is_space(c) || c == '-' || c == '\'' || c == 0x2019 || c == '.' || c == '_'; }

// An entry as what is looked for in the spaced text; false when it makes no sense.
bool pattern_of(std::string_view entry, Buf &out) {
    if (!utf8_valid(entry) || utf8_count(entry) > words_entry_chars_max) return false;
    bool any_before = entry.front() == '*', any_behind = entry.size() > 1 && entry.back() == '*';
    entry = entry.substr(any_before, entry.size() - any_before - any_behind);
    if (entry.find('*') != entry.npos) return false;
    ScopedBuf folded;
    CB_ASSERT(unicode_fold_key(entry, folded));
    bool word = false, joined = false;
    for (size_t at = 0; at < folded.len;) {
        int32_t c = utf8_next(buf_view(folded), &at);
        bool letter = unicode_is_letter_or_digit(c);
        if (!letter && (!joins(c) || !word)) return false;
        joined = !letter;
        word = true;
    }
    if (!word || joined) return false;
    spaced(buf_view(folded), out);
    if (any_before) buf_drop_front(out, 1);
    if (any_behind) out.len--;
    return true;
}

// Each line by itself. Returns the number of entries, or -1 at a mistake; *found: one of them is in the text.
int naive(std::string_view list, std::string_view text, bool *found) {
    ScopedBuf folded, haystack;
    bool readable = unicode_fold_key(text, folded);
    if (readable) spaced(buf_view(folded), haystack);
    if (list.starts_with("\xef\xbb\xbf")) list.remove_prefix(3);
    int count = 0;
    *found = false;
    while (!list.empty()) {
        size_t end = list.find('\n');
        std::string_view entry = strip(list.substr(0, end));
        list.remove_prefix(end == list.npos ? list.size() : end + 1);
        if (entry.empty()) continue;
        ScopedBuf pattern;
        if (!pattern_of(entry, pattern)) return -1;
        count++;
        *found |= !readable || buf_view(haystack).find(buf_view(pattern)) != std::string_view::npos;
    }
    return count;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    FuzzInput in = fuzz_input(data, size);
    std::string_view list = fuzz_field(in), text = in.rest;
    ScopedBuf error;
    Words *words = words_parse(list, &error);
    bool expected = false;
    int count = naive(list, text, &expected);
    CB_ASSERT((words != nullptr) == (count >= 0));
    if (words == nullptr) {
        CB_ASSERT(buf_view(error).starts_with("line ") && buf_view(error).find('\n') == std::string_view::npos && utf8_valid(buf_view(error)));
        return 0;
    }
    CB_ASSERT(error.len == 0 && (int)words_count(words) == count);
    CB_ASSERT(words_match(words, text) == expected);
    words_free(words);
    // With other ends of lines it is the same list.
    ScopedBuf dos;
    for (char c : list) {
        if (c == '\n') buf_add(dos, " # said\r");
        buf_add_char(dos, c);
    }
    words = words_parse(buf_view(dos), &error);
    CB_ASSERT(words != nullptr && (int)words_count(words) == count && words_match(words, text) == expected);
    words_free(words);
    return 0;
}
