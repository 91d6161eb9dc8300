// The door to utf8proc, and UTF-8 itself. No state; any thread.
#include "base/unicode.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "base/assert.h"

namespace {

// utf8proc sorts runs of combining marks by exchanging neighbours, which is quadratic in the run's length. As in the Stream-Safe Text
// Format of UAX #15, what comes after 30 marks in a row is normalized by itself: nobody writes that, and it keeps the time linear.
constexpr unsigned marks_in_a_row_max = 30;

size_t stream_safe_end(std::string_view text, size_t begin) {
    unsigned marks = 0;
    for (size_t at = begin; at < text.size();) {
        size_t start = at;
        int32_t c = utf8_next(text, &at);
        if (c < 0x300) {
            if (c != 0xad) marks = 0; // soft hyphen is removed, and joins what stands around it
            continue;
        }
        const utf8proc_property_t *property = utf8proc_get_property(c);
        if (property->combining_class == 0) {
            if (!property->ignorable) marks = 0;
        } else if (++marks > marks_in_a_row_max) {
            return start;
        }
    }
    return text.size();
}

bool normalize(std::string_view text, int options, Buf &out) {
    for (size_t begin = 0; begin < text.size();) {
        size_t end = stream_safe_end(text, begin);
        utf8proc_uint8_t *result = nullptr;
        utf8proc_ssize_t length = utf8proc_map((const utf8proc_uint8_t *)text.data() + begin, (utf8proc_ssize_t)(end - begin), &result,
                                               (utf8proc_option_t)options);
        if (length < 0) return false; // only out of memory is left: the text was valid
        buf_add(out, {(const char *)result, (size_t)length});
        free(result);
        begin = end;
    }
    return true;
}

} // namespace

bool text_is_ascii(std::string_view text) {
    size_t i = 0;
    for (; i + 8 <= text.size(); i += 8) {
        uint64_t eight;
        memcpy(&eight, text.data() + i, 8);
        if (eight & 0x8080808080808080u) return false;
    }
    for (; i < text.size(); i++) {
        if ((unsigned char)text[i] >= 0x80) return false;
    }
    return true;
}

bool utf8_valid(std::string_view text) {
    const unsigned char *at = (const unsigned char *)text.data();
    const unsigned char *end = at + text.size();
    while (at < end) {
        if (end - at >= 8) {
            uint64_t eight;
            memcpy(&eight, at, 8);
            if (!(eight & 0x8080808080808080u)) {
                at += 8;
                continue;
            }
        }
        unsigned char c = *at++;
        if (c < 0x80) continue;
        // The first continuation byte has a narrower range after e0 (overlong), ed (surrogates), f0 (overlong) and f4 (beyond U+10FFFF).
        int more = c >= 0xc2 && c <= 0xdf ? 1 : c >= 0xe0 && c <= 0xef ? 2 : c >= 0xf0 && c <= 0xf4 ? 3 : 0;
        if (more == 0 || end - at < more) return false;
        unsigned char low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
        unsigned char high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
        if (*at < low || *at > high) return false;
        at++;
        for (int i = 1; i < more; i++) {
            if ((*at++ & 0xc0) != 0x80) return false;
        }
    }
    return true;
}

size_t utf8_count(std::string_view text) {
    size_t count = 0;
    for (char c : text) count += ((unsigned char)c & 0xc0) != 0x80;
    return count;
}

int32_t utf8_next(std::string_view text, size_t *at) {
    if (*at >= text.size()) return -1;
    const unsigned char *s = (const unsigned char *)text.data() + *at;
    unsigned char c = *s;
    size_t bytes = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
    CB_ASSERT(bytes <= text.size() - *at);
    *at += bytes;
    switch (bytes) {
    case 1: return c;
    case 2: return (c & 0x1f) << 6 | (s[1] & 0x3f);
    case 3: return (c & 0x0f) << 12 | (s[1] & 0x3f) << 6 | (s[2] & 0x3f);
    default: return (c & 0x07) << 18 | (s[1] & 0x3f) << 12 | (s[2] & 0x3f) << 6 | (s[3] & 0x3f);
    }
}

void utf8_put(Buf &out, int32_t c) {
    CB_ASSERT(c >= 0 && c <= 0x10ffff && !(c >= 0xd800 && c <= 0xdfff));
    if (c < 0x80) {
        buf_add_char(out, (char)c);
    } else if (c < 0x800) {
        buf_add_char(out, (char)(0xc0 | c >> 6));
        buf_add_char(out, (char)(0x80 | (c & 0x3f)));
    } else if (c < 0x10000) {
        buf_add_char(out, (char)(0xe0 | c >> 12));
        buf_add_char(out, (char)(0x80 | (c >> 6 & 0x3f)));
        buf_add_char(out, (char)(0x80 | (c & 0x3f)));
    } else {
        buf_add_char(out, (char)(0xf0 | c >> 18));
        buf_add_char(out, (char)(0x80 | (c >> 12 & 0x3f)));
        buf_add_char(out, (char)(0x80 | (c >> 6 & 0x3f)));
        buf_add_char(out, (char)(0x80 | (c & 0x3f)));
    }
}

bool unicode_fold_key(std::string_view text, Buf &out) {
    if (text_is_ascii(text)) { // most names and texts: folding is lower case and nothing is ignorable
        buf_reserve(out, text.size());
        for (char c : text) out.data[out.len++] = c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
        return true;
    }
    if (!utf8_valid(text)) return false;
    return normalize(text, UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT | UTF8PROC_CASEFOLD | UTF8PROC_IGNORE, out);
}

bool unicode_nfc(std::string_view text, Buf &out) {
    if (text_is_ascii(text)) {
        buf_add(out, text);
        return true;
    }
    if (!utf8_valid(text)) return false;
    return normalize(text, UTF8PROC_STABLE | UTF8PROC_COMPOSE, out);
}

bool unicode_is_letter_or_digit(int32_t c) {
    if (c < 0x80) return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (unicode_is_invisible(c)) return false; // Hangul fillers are letters to Unicode, and blank to the eye
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC: return true;
    default: return false;
    }
}

bool unicode_is_mark(int32_t c) {
    utf8proc_category_t category = utf8proc_category(c);
    return category == UTF8PROC_CATEGORY_MN || category == UTF8PROC_CATEGORY_MC || category == UTF8PROC_CATEGORY_ME;
}

bool unicode_is_control(int32_t c) { return (c >= 0 && c < 0x20) || (c >= 0x7f && c < 0xa0); }

bool unicode_is_space(int32_t c) {
    return (c >= 9 && c <= 13) || c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 ||
           c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

bool unicode_is_invisible(int32_t c) {
    if (c < 0x80) return c <= 0x20 || c == 0x7f;
    if (unicode_is_control(c) || unicode_is_space(c) || c == 0x2800) return true; // the empty Braille pattern
    return utf8proc_get_property(c)->ignorable || utf8proc_category(c) == UTF8PROC_CATEGORY_CF;
}

std::string_view unicode_trim(std::string_view text) {
    while (!text.empty()) {
        size_t at = 0;
        if (!unicode_is_space(utf8_next(text, &at))) break;
        text.remove_prefix(at);
    }
    while (!text.empty()) {
        size_t last = text.size() - 1;
        while (last > 0 && ((unsigned char)text[last] & 0xc0) == 0x80) last--;
        size_t at = last;
        if (!unicode_is_space(utf8_next(text, &at))) break;
        text.remove_suffix(text.size() - last);
    }
    return text;
}
