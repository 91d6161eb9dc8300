// The table of options: each one's name, kind, range, default, help and place in an Options. For options.cpp, which reads the sources. Read-only, any thread.
#pragma once

#include "options.h"

enum class OptionKind : uint8_t { text, path, choice, number, number_or_off, rate, listen, origin, proxy, ids };

struct OptionRow {
    const char *name;    // --NAME, CHATTERBOX_NAME, NAME = …
    const char *value;   // its value in the help; for a choice the words, in the enum's order
    const char *initial; // as one would write it; "": empty, or an empty list
    const char *help;
    OptionKind kind;
    bool reload;         // may change while the server runs
    uint16_t offset, size;
    uint16_t count_offset;     // of repeatable ones; 0: not repeatable
    uint32_t least, most;      // of numbers
};

constexpr size_t option_rows_max = 48;
extern const OptionRow option_rows[];
extern const size_t option_rows_count; // at most option_rows_max

const OptionRow *option_find(std::string_view name);   // null when there is none
const OptionRow *option_nearest(std::string_view name); // the one that is probably meant; null when none is near
uint32_t *option_count(Options *o, const OptionRow &row); // of a repeatable one; else null
// Puts one value in its place, at the end of a list. On a mistake false, and what it must be is appended to *wanted.
bool option_put(Options *o, const OptionRow &row, std::string_view text, Buf *wanted);
bool option_differs(const Options *a, const Options *b, const OptionRow &row);
void option_copy(Options *to, const Options *from, const OptionRow &row); // not for repeatable ones
