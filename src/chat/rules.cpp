// The rules for what people may call themselves and write. Pure functions of their arguments.
#include "chat/rules.h"

#include <string.h>

#include "base/crypto.h"
#include "base/limits.h"
#include "base/unicode.h"
#include "chat/passwords.h"

namespace {

bool name_char(int32_t c) { return unicode_is_letter_or_digit(c) || c == '_' || c == '-' || c == '.'; }

bool username_ok(std::string_view name) {
    size_t at = 0;
    int32_t first = utf8_next(name, &at);
    if (first < 0 || !unicode_is_letter_or_digit(first) || unicode_is_mark(first)) return false;
    while (at < name.size()) {
        if (!name_char(utf8_next(name, &at))) return false;
    }
    return !name.ends_with('.');
}

// Joiners make emoji and are letters' servants in Persian and Indic scripts; variation selectors choose an emoji's look.
bool joiner(int32_t c) { return c == 0x200c || c == 0x200d; }
bool variation_selector(int32_t c) { return c >= 0xfe00 && c <= 0xfe0f; }

bool visible(std::string_view text) {
    for (size_t at = 0; at < text.size();) {
        if (!unicode_is_invisible(utf8_next(text, &at))) return true;
    }
    return false;
}

// One line that cannot pass for another or change the direction of what stands around it.
Err rules_line(std::string_view line, uint32_t chars_max, Buf *clean) {
    line = unicode_trim(line);
    if (utf8_count(line) > chars_max) return Err::too_long;
    int32_t before = -1;
    for (size_t at = 0; at < line.size();) {
        int32_t c = utf8_next(line, &at);
        if (unicode_is_control(c) || c == 0x2028 || c == 0x2029) return Err::bad_request;
        if (unicode_is_invisible(c) && !unicode_is_space(c) && c != 0x2800) {
            bool inside = before >= 0 && !unicode_is_space(before) && !joiner(before);
            if (!inside) return Err::bad_request;
            if (!variation_selector(c) && !(joiner(c) && at < line.size())) return Err::bad_request;
        }
        before = c;
    }
    buf_add(*clean, line);
    return Err::ok;
}

// Most of most texts: eight characters of ASCII without controls. *shows is set when one is no space.
bool eight_plain(const char *text, bool *shows) {
    constexpr uint64_t ones = 0x0101010101010101u, highs = 0x8080808080808080u;
    uint64_t eight;
    memcpy(&eight, text, 8);
    // Without high bits no byte's sum or difference reaches into the next one's high bit: 0x7f + 1 and 0x1f - 0x20 set their own.
    if ((eight & highs) || ((eight + ones) & highs) || (((eight | highs) - ones * 0x20) & highs) != highs) return false;
    *shows = *shows || eight != ones * ' ';
    return true;
}

} // namespace

Err rules_username(std::string_view name, Buf *key) {
    if (name.size() > username_chars_max * 4 || utf8_count(name) > username_chars_max || !username_ok(name)) return Err::bad_username;
    // Folding can bring out what the rule keeps out: the letter U+FDFA unfolds to words with spaces, U+2488 to "1.".
    ScopedBuf folded;
    if (!unicode_fold_key(name, folded) || !username_ok(buf_view(folded))) return Err::bad_username;
    buf_add(*key, buf_view(folded));
    return Err::ok;
}

Err rules_password(std::string_view password, std::string_view username) {
    if (password.size() > password_chars_max * 16) return Err::bad_password; // before any work on it
    ScopedBuf nfc, folded, folded_username;
    if (!unicode_nfc(password, nfc) || !unicode_fold_key(password, folded) || !unicode_fold_key(username, folded_username)) return Err::bad_password;
    size_t chars = utf8_count(buf_view(nfc));
    bool good = chars >= password_chars_min && chars <= password_chars_max && buf_view(folded) != buf_view(folded_username) && !password_is_common(buf_view(folded));
    memory_wipe(buf_view(nfc));
    memory_wipe(buf_view(folded));
    return good ? Err::ok : Err::bad_password;
}

Err rules_room_name(std::string_view name, Buf *clean, Buf *key) {
    name = unicode_trim(name);
    if (name.empty() || name.size() > room_name_chars_max * 16) return Err::bad_name; // before any work on it
    ScopedBuf single, folded;
    int32_t before = ' ';
    for (size_t at = 0; at < name.size();) {
        int32_t c = utf8_next(name, &at);
        if (c != ' ' && !name_char(c)) return Err::bad_name;
        if (before == ' ' && unicode_is_mark(c)) return Err::bad_name; // it would sit on the space
        if (c != ' ' || before != ' ') utf8_put(single, c);
        before = c;
    }
    if (utf8_count(buf_view(single)) > room_name_chars_max) return Err::bad_name;
    if (!unicode_fold_key(buf_view(single), folded)) return Err::bad_name;
    for (size_t at = 0; at < folded.len;) {
        int32_t c = utf8_next(buf_view(folded), &at);
        if (c != ' ' && !name_char(c)) return Err::bad_name; // as with usernames
    }
    buf_add(*clean, buf_view(single));
    buf_add(*key, buf_view(folded));
    return Err::ok;
}

Err rules_topic(std::string_view topic, Buf *clean) { return rules_line(topic, topic_chars_max, clean); }

Err rules_display_name(std::string_view name, Buf *clean) {
    if (!visible(name)) return Err::empty;
    return rules_line(name, display_name_chars_max, clean);
}

Err rules_status(std::string_view status, Buf *clean) { return rules_line(status, status_chars_max, clean); }

Err rules_text(std::string_view text, uint32_t chars_max, Buf *clean) {
    text = unicode_trim(text);
    bool shows = false;
    uint32_t chars = 0;
    for (size_t at = 0; at < text.size();) {
        if (at + 8 <= text.size() && eight_plain(text.data() + at, &shows)) {
            at += 8, chars += 8;
            if (chars > chars_max) return Err::too_long;
            continue;
        }
        int32_t c = utf8_next(text, &at);
        if (c == '\r' && at < text.size() && text[at] == '\n') continue; // counts as the LF behind it
        if (unicode_is_control(c) && c != '\t' && c != '\n') return Err::bad_request;
        shows = shows || !unicode_is_invisible(c);
        if (++chars > chars_max) return Err::too_long;
    }
    if (!shows) return Err::empty;
    for (size_t from = 0; from < text.size();) {
        size_t cr = text.find('\r', from); // each is before an LF
        buf_add(*clean, text.substr(from, cr == text.npos ? cr : cr - from));
        from = cr == text.npos ? text.size() : cr + 1;
    }
    return Err::ok;
}
