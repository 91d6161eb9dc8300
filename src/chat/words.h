// Words: the stop words of moderation. A list is made once from a text and never changes, so any thread may match against it; who parsed it frees it.
// A match is of whole words after NFKC and case folding with ignorable characters removed: "h<zero width space>ate" matches "hate", "whatever" does not.
#pragma once

#include "base/buf.h"

struct Words;

constexpr size_t words_file_bytes_max = 256 * 1024; // 20,000 words; each byte costs at most 16 of memory
constexpr uint32_t words_entry_chars_max = 100;

// One word or phrase a line; `*` at its beginning or end stands for any further letters; `#` at the beginning of a line, or after white space, begins a
// comment. Words of a phrase may be joined by white space, - ' . or _, and match across any run of white space, punctuation and symbols.
// Null when a line makes no sense; then one line saying which and why is appended to *error. An empty list is a list: it matches nothing.
Words *words_parse(std::string_view text, Buf *error);
std::string_view words_text(const Words *words);             // what it was made of
void words_free(Words *words);                               // null is fine
uint32_t words_count(const Words *words);                    // entries
// Linear in the text's length. What is not valid UTF-8 counts as a match: nobody could say what it holds.
bool words_match(const Words *words, std::string_view text);
// The short list that is used when no file is given, in the same format.
std::string_view words_builtin();
