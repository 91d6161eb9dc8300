// Matching of stop words with one automaton (Aho and Corasick, 1975): all entries at once, each byte of the text looked at once, however long the list.
// Text and entries are brought into one form first: folded, each run of what is no letter or digit as one space, a space at both ends. In it "a whole
// word" is nothing but a space before and behind, and a wildcard is a space left out. Owns its nodes; read-only after words_parse.
#include "chat/words.h"

#include <stdlib.h>
#include <string.h>

#include "base/unicode.h"

namespace {

// A node of the trie of entries; 0 is the root. Siblings are a list, since few nodes have more than one or two; the root has a table.
struct WordNode {
    uint32_t child, sibling;
    uint32_t fail; // the longest proper suffix that is a node too
    uint8_t byte;
    bool ends;     // an entry ends here, or at one of its suffixes
};

constexpr const char builtin[] =
    "# The list of a server that was given no other. Plainly abusive words only; a list of one's own replaces it.\n"
    "hate\nstupid\nidiot\nidiots\nmoron\nmorons\nbastard\nbastards\nbitch\nbitches\nasshole\nassholes\nfuck*\ncunt\nretard\nkill yourself\n";

} // namespace

struct Words {
    WordNode *nodes;
    uint32_t nodes_count, nodes_capacity;
    uint32_t entries_count;
    uint32_t root[256];
    // For ASCII and a list that is not too long the automaton as a table: where to go from each node with each key's class, with the highest bit
    // set when an entry ends there. Null: the list is long, and the nodes are walked.
    uint16_t *table;
    Buf text;
};

// What unicode_fold_key makes of ASCII, as classes: 0 for what is no letter or digit (as the space stands for it), then the digits and the letters.
constexpr unsigned classes_count = 37;
constexpr size_t table_bytes_max = 64 * 1024;
constexpr uint16_t table_ends = 0x8000;

struct AsciiClasses {
    uint8_t of[128] = {};
    constexpr AsciiClasses() {
        for (int c = '0'; c <= '9'; c++) of[c] = (uint8_t)(1 + c - '0');
        for (int c = 'a'; c <= 'z'; c++) of[c] = of[c - 'a' + 'A'] = (uint8_t)(11 + c - 'a');
    }
};
constexpr AsciiClasses ascii_classes;
static_assert(table_bytes_max / (classes_count * sizeof(uint16_t)) < table_ends);

namespace {

uint32_t node_child(const Words *words, uint32_t node, uint8_t byte) {
    if (node == 0) return words->root[byte];
    uint32_t child = words->nodes[node].child;
    while (child != 0 && words->nodes[child].byte != byte) child = words->nodes[child].sibling;
    return child;
}

uint32_t node_add(Words *words, uint32_t parent, uint8_t byte) {
    if (words->nodes_count == words->nodes_capacity) {
        words->nodes_capacity = words->nodes_capacity == 0 ? 256 : words->nodes_capacity * 2;
        words->nodes = (WordNode *)mem_grow(words->nodes, words->nodes_capacity * sizeof(WordNode));
    }
    uint32_t node = words->nodes_count++;
    words->nodes[node] = {0, 0, 0, byte, false};
    if (parent == 0) {
        words->root[byte] = node;
    } else {
        words->nodes[node].sibling = words->nodes[parent].child;
        words->nodes[parent].child = node;
    }
    return node;
}

void words_insert(Words *words, std::string_view pattern) {
    uint32_t node = 0;
    for (char c : pattern) {
        uint32_t next = node_child(words, node, (uint8_t)c);
        node = next != 0 ? next : node_add(words, node, (uint8_t)c);
    }
    words->nodes[node].ends = true;
    words->entries_count++;
}

// Where the automaton goes from `node` with `byte`: back along the suffixes until one goes on.
uint32_t words_step(const Words *words, uint32_t node, uint8_t byte) {
    for (;;) {
        uint32_t next = node_child(words, node, byte);
        if (next != 0 || node == 0) return next;
        node = words->nodes[node].fail;
    }
}

// A node's row of the table is that of its suffix with its own children in their places: made in order of depth, so that the suffix has its row.
void row_set(Words *words, uint32_t node, uint32_t child) {
    uint8_t byte = words->nodes[child].byte;
    unsigned i = byte == ' ' ? 0u : byte >= '0' && byte <= '9' ? byte - '0' + 1u : byte >= 'a' && byte <= 'z' ? byte - 'a' + 11u : classes_count;
    if (i < classes_count) words->table[node * classes_count + i] = (uint16_t)(child | (words->nodes[child].ends ? table_ends : 0));
}

// Sets `fail` and makes the table in order of depth: a node's is found from its parent's, which is shorter.
void words_link(Words *words) {
    size_t bytes = words->nodes_count * classes_count * sizeof(uint16_t);
    if (bytes <= table_bytes_max) words->table = (uint16_t *)mem_zero(bytes);
    uint32_t *queue = (uint32_t *)mem_alloc(words->nodes_count * sizeof(uint32_t));
    uint32_t head = 0, tail = 0;
    for (uint32_t first : words->root) {
        if (first == 0) continue;
        queue[tail++] = first;
        if (words->table) row_set(words, 0, first);
    }
    while (head < tail) {
        uint32_t node = queue[head++];
        if (words->table) memcpy(words->table + node * classes_count, words->table + words->nodes[node].fail * classes_count, classes_count * sizeof(uint16_t));
        for (uint32_t child = words->nodes[node].child; child != 0; child = words->nodes[child].sibling) {
            uint32_t fail = words_step(words, words->nodes[node].fail, words->nodes[child].byte);
            words->nodes[child].fail = fail;
            words->nodes[child].ends |= words->nodes[fail].ends;
            queue[tail++] = child;
            if (words->table) row_set(words, node, child);
        }
    }
    free(queue);
}

bool may_join(int32_t c) { return unicode_is_space(c) || c == '-' || c == '\'' || c == 0x2019 || c == '.' || c == '_'; }

// Makes the pattern of one line, comments and white space gone already. Returns null, or what is wrong with it.
const char *words_pattern(std::string_view entry, Buf &folded, Buf &pattern) {
    if (!utf8_valid(entry)) return "it is not UTF-8";
    if (utf8_count(entry) > words_entry_chars_max) return "it is over 100 characters long";
    bool open_begin = entry.starts_with('*'), open_end = entry.size() > 1 && entry.ends_with('*');
    if (open_begin) entry.remove_prefix(1);
    if (open_end) entry.remove_suffix(1);
    if (entry.find('*') != entry.npos) return "* may stand only at its beginning and end";
    buf_clear(folded);
    if (!unicode_fold_key(entry, folded)) return "it cannot be read";
    buf_clear(pattern);
    if (!open_begin) buf_add_char(pattern, ' ');
    bool word = false, gap = false;
    for (size_t at = 0; at < folded.len;) {
        int32_t c = utf8_next(buf_view(folded), &at);
        if (unicode_is_letter_or_digit(c)) {
            if (gap) buf_add_char(pattern, ' ');
            utf8_put(pattern, c);
            word = true, gap = false;
        } else if (!may_join(c) || !word) {
            return "only letters and digits are matched, and between words white space - ' . _";
        } else {
            gap = true;
        }
    }
    if (!word) return "it has no letter or digit";
    if (gap) return "it must end in a letter, a digit or *";
    if (!open_end) buf_add_char(pattern, ' ');
    return nullptr;
}

// Without comment and white space around.
std::string_view words_line(std::string_view line) {
    for (size_t i = 0; i < line.size(); i++) {
        if (line[i] == '#' && (i == 0 || line[i - 1] == ' ' || line[i - 1] == '\t')) line = line.substr(0, i);
    }
    while (!line.empty() && (line.back() == ' ' || line.back() == '\t' || line.back() == '\r')) line.remove_suffix(1);
    while (!line.empty() && (line.front() == ' ' || line.front() == '\t')) line.remove_prefix(1);
    return line;
}

} // namespace

Words *words_parse(std::string_view text, Buf *error) {
    if (text.size() > words_file_bytes_max) {
        buf_printf(*error, "the list is longer than %zu KiB", words_file_bytes_max / 1024);
        return nullptr;
    }
    if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3); // what some editors put before UTF-8
    Words *words = (Words *)mem_zero(sizeof(Words));
    buf_add(words->text, text);
    node_add(words, 0, 0);
    words->root[0] = 0; // the root is nobody's child
    ScopedBuf folded, pattern;
    for (unsigned number = 1; !text.empty(); number++) {
        size_t end = text.find('\n');
        std::string_view entry = words_line(text.substr(0, end));
        text.remove_prefix(end == text.npos ? text.size() : end + 1);
        if (entry.empty()) continue;
        if (const char *wrong = words_pattern(entry, folded, pattern)) {
            buf_printf(*error, "line %u: %s", number, wrong);
            words_free(words);
            return nullptr;
        }
        words_insert(words, buf_view(pattern));
    }
    words_link(words);
    return words;
}

void words_free(Words *words) {
    if (words == nullptr) return;
    free(words->nodes);
    free(words->table);
    buf_free(words->text);
    free(words);
}

std::string_view words_text(const Words *words) { return buf_view(words->text); }

uint32_t words_count(const Words *words) { return words->entries_count; }

namespace {

bool words_match_table(const Words *words, std::string_view text) {
    uint32_t node = words->table[0] & ~table_ends; // the space that stands before every text
    unsigned before = 0;
    for (char c : text) {
        unsigned now = ascii_classes.of[(uint8_t)c];
        if (!(before | now)) continue; // a gap is one space, however long
        before = now;
        uint16_t next = words->table[node * classes_count + now];
        if (next & table_ends) return true;
        node = next;
    }
    return before && (words->table[node * classes_count] & table_ends);
}

} // namespace

bool words_match(const Words *words, std::string_view text) {
    if (words->entries_count == 0) return false;
    if (words->table != nullptr && text_is_ascii(text)) return words_match_table(words, text);
    ScopedBuf folded;
    if (!unicode_fold_key(text, folded)) return true;
    uint32_t node = words_step(words, 0, ' ');
    bool gap = true;
    for (size_t at = 0; at < folded.len;) {
        size_t begin = at;
        if (!unicode_is_letter_or_digit(utf8_next(buf_view(folded), &at))) {
            if (gap) continue;
            gap = true;
            node = words_step(words, node, ' ');
        } else {
            gap = false;
            for (size_t i = begin; i < at; i++) node = words_step(words, node, (uint8_t)folded.data[i]);
        }
        if (words->nodes[node].ends) return true;
    }
    return !gap && words->nodes[words_step(words, node, ' ')].ends;
}

std::string_view words_builtin() { return {builtin, sizeof builtin - 1}; }
