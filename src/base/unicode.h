// Unicode: what the rules of names, passwords, texts and stop words need of it, through utf8proc. Any thread.
#pragma once

#include "base/buf.h"

// No byte above 0x7f.
bool text_is_ascii(std::string_view text);
// Valid UTF-8 (RFC 3629: no surrogates, no overlong forms, at most U+10FFFF).
bool utf8_valid(std::string_view text);
// Code points in a valid text.
size_t utf8_count(std::string_view text);
// The code point at *at (which moves behind it) in a valid text; -1 at the end.
int32_t utf8_next(std::string_view text, size_t *at);
void utf8_put(Buf &out, int32_t code_point);

// NFKC with case folding, default-ignorable code points removed: the key under which names are unique and stop words are compared.
// False when the text is not valid. Appends to out.
bool unicode_fold_key(std::string_view text, Buf &out);
// NFC (passwords are compared in it). Appends to out.
bool unicode_nfc(std::string_view text, Buf &out);

bool unicode_is_letter_or_digit(int32_t code_point);   // categories L*, Nd, Nl, No, and marks (Mn, Mc), part of a letter; nothing invisible
bool unicode_is_mark(int32_t code_point);              // Mn, Mc, Me
bool unicode_is_control(int32_t code_point);           // Cc, and nothing else
bool unicode_is_space(int32_t code_point);             // White_Space
bool unicode_is_invisible(int32_t code_point);         // controls, format characters (Cf), default-ignorables, white space, blank fillers (U+2800, U+3164 …)
// Without white space at both ends.
std::string_view unicode_trim(std::string_view text);
