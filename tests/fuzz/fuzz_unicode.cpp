// libFuzzer: any bytes as names and texts. Promises: UTF-8 is judged and decoded as by the second decoder here; folding and NFC are idempotent, and texts that
// are canonically the same, or differ in the case of ASCII letters, fold to one key; trimming takes white space from both ends and nothing else; what the rules
// clean is clean, within its limits, and comes out the same when it goes in again; a refusal writes nothing.
#include "base/limits.h"
#include "base/unicode.h"
#include "chat/rules.h"
#include "fuzz.h"

namespace {

// RFC 3629 by way of the code point: shortest form, no surrogates, not beyond U+10FFFF. Its length, or 0.
size_t decode(std::string_view text, int32_t *out) {
    unsigned char c = (unsigned char)text[0];
    size_t len = c < 0x80 ? 1 : (c & 0xe0) == 0xc0 ? 2 : (c & 0xf0) == 0xe0 ? 3 : (c & 0xf8) == 0xf0 ? 4 : 0;
    if (len == 0 || len > text.size()) return 0;
    int32_t n = len == 1 ? c : c & (0xff >> (len + 1));
    for (size_t i = 1; i < len; i++) {
        if (((unsigned char)text[i] & 0xc0) != 0x80) return 0;
        n = n << 6 | ((unsigned char)text[i] & 0x3f);
    }
    constexpr int32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    if (n < least[len] || n > 0x10ffff || (n >= 0xd800 && n < 0xe000)) return 0;
    *out = n;
    return len;
}

void check_decoding(std::string_view text) {
    ScopedBuf again;
    bool said_valid = utf8_valid(text), valid = true;
    size_t count = 0, at = 0;
    for (std::string_view rest = text; !rest.empty() && valid; count++) {
        int32_t c = -1;
        size_t len = decode(rest, &c);
        valid = len != 0;
        if (said_valid) CB_ASSERT(utf8_next(text, &at) == c);
        if (valid) utf8_put(again, c);
        rest.remove_prefix(len);
    }
    CB_ASSERT(said_valid == valid);
    if (!valid) return;
    CB_ASSERT(utf8_next(text, &at) == -1 && utf8_count(text) == count);
    fuzz_equal(buf_view(again), text, "decoded and encoded");
}

void check_folding(std::string_view text) {
    ScopedBuf key, key2, nfc, nfc2, nfc_key, upper, upper_key;
    CB_ASSERT(unicode_fold_key(text, key) && unicode_nfc(text, nfc));
    CB_ASSERT(utf8_valid(buf_view(key)) && utf8_valid(buf_view(nfc)));
    CB_ASSERT(unicode_fold_key(buf_view(key), key2) && unicode_nfc(buf_view(nfc), nfc2) && unicode_fold_key(buf_view(nfc), nfc_key));
    fuzz_equal(buf_view(key2), buf_view(key), "folded twice");
    fuzz_equal(buf_view(nfc2), buf_view(nfc), "NFC twice");
    fuzz_equal(buf_view(nfc_key), buf_view(key), "the key of the NFC");
    for (char c : text) buf_add_char(upper, c >= 'a' && c <= 'z' ? (char)(c - 32) : c);
    CB_ASSERT(unicode_fold_key(buf_view(upper), upper_key));
    fuzz_equal(buf_view(upper_key), buf_view(key), "the key in capitals");
}

void check_trimming(std::string_view text) {
    std::string_view inner = unicode_trim(text);
    CB_ASSERT(inner.empty() || (inner.data() >= text.data() && inner.data() + inner.size() <= text.data() + text.size()));
    CB_ASSERT(utf8_valid(inner) && unicode_trim(inner).size() == inner.size());
    size_t before = inner.empty() ? 0 : (size_t)(inner.data() - text.data());
    for (std::string_view cut : {inner.empty() ? text : text.substr(0, before), inner.empty() ? text : text.substr(before + inner.size())}) {
        CB_ASSERT(utf8_valid(cut));
        for (size_t at = 0; at < cut.size();) CB_ASSERT(unicode_is_space(utf8_next(cut, &at)));
    }
}

// A rule that cleans: the same again, and within its length.
template <typename Rule>
void check_cleaning(Rule rule, std::string_view text, uint32_t chars_max, const char *what) {
    ScopedBuf clean, again;
    buf_add(clean, "before");
    if (rule(text, &clean) != Err::ok) return fuzz_equal(buf_view(clean), "before", what);
    std::string_view out = buf_view(clean).substr(6);
    CB_ASSERT(buf_view(clean).starts_with("before") && utf8_valid(out) && utf8_count(out) <= chars_max);
    CB_ASSERT(unicode_trim(out).size() == out.size() && out.find('\r') == out.npos && out.find('\0') == out.npos);
    CB_ASSERT(rule(out, &again) == Err::ok);
    fuzz_equal(buf_view(again), out, what);
}

void check_username(std::string_view name) {
    ScopedBuf key, folded;
    if (rules_username(name, &key) != Err::ok) {
        CB_ASSERT(key.len == 0);
        return;
    }
    CB_ASSERT(name.size() == unicode_trim(name).size() && utf8_count(name) <= username_chars_max && key.len > 0);
    CB_ASSERT(unicode_fold_key(name, folded));
    fuzz_equal(buf_view(folded), buf_view(key), "a username's key");
    for (std::string_view text : {name, buf_view(key)}) {
        for (size_t at = 0; at < text.size();) {
            int32_t c = utf8_next(text, &at);
            CB_ASSERT(!unicode_is_invisible(c) && c != '"' && c != '\\' && c != '/' && c != '<' && c != '@' && c != '*');
        }
    }
}

void check_room_name(std::string_view name) {
    ScopedBuf clean, key, clean2, key2;
    if (rules_room_name(name, &clean, &key) != Err::ok) {
        CB_ASSERT(clean.len == 0 && key.len == 0);
        return;
    }
    CB_ASSERT(utf8_count(buf_view(clean)) <= room_name_chars_max && clean.len > 0 && key.len > 0);
    CB_ASSERT(buf_view(clean).find("  ") == std::string_view::npos && unicode_trim(buf_view(clean)).size() == clean.len);
    CB_ASSERT(rules_room_name(buf_view(clean), &clean2, &key2) == Err::ok);
    fuzz_equal(buf_view(clean2), buf_view(clean), "a room's name");
    fuzz_equal(buf_view(key2), buf_view(key), "a room's key");
}

void check_password(std::string_view password, std::string_view username) {
    bool ok = rules_password(password, username) == Err::ok;
    ScopedBuf nfc;
    CB_ASSERT(unicode_nfc(password, nfc));
    size_t chars = utf8_count(buf_view(nfc));
    if (ok) CB_ASSERT(chars >= password_chars_min && chars <= password_chars_max && password != username);
    // The bound on bytes comes before any work, so it is about the password as sent.
    if (password.size() <= password_chars_max * 16) CB_ASSERT((rules_password(buf_view(nfc), username) == Err::ok) == ok);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    FuzzInput in = fuzz_input(data, size);
    uint32_t chars_max = 1 + fuzz_byte(in);
    std::string_view text = in.rest;
    check_decoding(text);
    if (!utf8_valid(text)) {
        ScopedBuf out;
        CB_ASSERT(!unicode_fold_key(text, out) && !unicode_nfc(text, out) && out.len == 0);
        return 0;
    }
    check_folding(text);
    check_trimming(text);
    check_username(text);
    check_room_name(text);
    check_cleaning(rules_topic, text, topic_chars_max, "a topic");
    check_cleaning(rules_display_name, text, display_name_chars_max, "a display name");
    check_cleaning(rules_status, text, status_chars_max, "a status");
    check_cleaning([chars_max](std::string_view t, Buf *out) { return rules_text(t, chars_max, out); }, text, chars_max, "a message");
    FuzzInput names = {text};
    std::string_view username = fuzz_field(names);
    check_password(names.rest, username);
    return 0;
}
