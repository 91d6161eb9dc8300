// libFuzzer: any bytes as JSON. Promises: json_parse takes exactly what a second reader takes, written here from RFC 8259 and knowing nothing of RapidJSON
// (one object, no deeper than 16, UTF-8, no lone surrogates); each value has the kind and content that the second reader sees; and what was read and is
// written with JsonWriter reads the same again, and writes the same bytes.
#include <math.h>

#include "base/json.h"
#include "base/unicode.h"
#include "fuzz.h"

namespace {

constexpr unsigned depth_max = 16;

// The second reader. `ref` is the first one's view of the value at hand, null on the first pass, which only judges. `copy` gets the value written anew, when it is not null.
struct Reader {
    std::string_view text;
    size_t at = 0;
    unsigned depth = 0;
    bool unsure = false; // a number beyond what a double holds, or an exponent beyond any: JSON allows it, a reader need not
    JsonWriter *copy = nullptr;
};

void skip_space(Reader &r) {
    while (r.at < r.text.size() && strchr(" \t\r\n", r.text[r.at]) != nullptr && r.text[r.at] != 0) r.at++;
}

bool take(Reader &r, char c) {
    if (r.at == r.text.size() || r.text[r.at] != c) return false;
    r.at++;
    return true;
}

bool take_hex(Reader &r, int32_t *out) {
    if (r.text.size() - r.at < 4) return false;
    int32_t n = 0;
    for (int i = 0; i < 4; i++) {
        char c = r.text[r.at++];
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
        if (digit < 0) return false;
        n = n * 16 + digit;
    }
    *out = n;
    return true;
}

bool read_escape(Reader &r, Buf &out) {
    if (r.at == r.text.size()) return false;
    char c = r.text[r.at++];
    const char *from = "\"\\/bfnrt", *to = "\"\\/\b\f\n\r\t", *found = c != 0 ? strchr(from, c) : nullptr;
    if (found != nullptr) {
        buf_add_char(out, to[found - from]);
        return true;
    }
    int32_t high, low;
    if (c != 'u' || !take_hex(r, &high)) return false;
    if (high >= 0xdc00 && high < 0xe000) return false;
    if (high >= 0xd800 && high < 0xdc00) {
        if (!take(r, '\\') || !take(r, 'u') || !take_hex(r, &low) || low < 0xdc00 || low >= 0xe000) return false;
        high = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
    }
    utf8_put(out, high);
    return true;
}

bool read_string(Reader &r, Buf &out) {
    if (!take(r, '"')) return false;
    while (r.at < r.text.size()) {
        char c = r.text[r.at++];
        if (c == '"') return utf8_valid(buf_view(out));
        if ((unsigned char)c < 0x20) return false;
        if (c != '\\') buf_add_char(out, c);
        else if (!read_escape(r, out)) return false;
    }
    return false;
}

bool digits(Reader &r) {
    size_t begin = r.at;
    while (r.at < r.text.size() && r.text[r.at] >= '0' && r.text[r.at] <= '9') r.at++;
    return r.at > begin;
}

// A number within ±2^53 that is an integer is one for json_int, however it is written; nothing else is.
void check_number(Reader &r, std::string_view token, JsonRef ref) {
    constexpr int64_t safe = 1LL << 53;
    int64_t got = 0;
    bool is_int = json_int(ref, &got);
    ScopedBuf copy;
    buf_add(copy, token);
    buf_add_char(copy, 0);
    if (token.find_first_of(".eE") == token.npos) {
        bool minus = token[0] == '-';
        uint64_t n = 0;
        bool small = true;
        for (char c : token.substr(minus)) {
            n = n * 10 + (uint64_t)(c - '0');
            small = small && n <= (uint64_t)safe;
            if (!small) n = 0;
        }
        CB_ASSERT(is_int == small && (!small || got == (minus ? -(int64_t)n : (int64_t)n)));
    } else {
        double d = strtod(copy.data, nullptr);
        if (is_int) CB_ASSERT(got >= -safe && got <= safe && fabs(d - (double)got) <= 1e-15 * (fabs(d) + 1));
        // RapidJSON's plain numbers may be off in the last digit: only where few digits leave no doubt it must be seen.
        else CB_ASSERT(token.size() > 14 || d != floor(d) || fabs(d) > 1e14);
    }
    if (r.copy == nullptr) return;
    if (is_int) json_put_int(*r.copy, got);
    else json_put_raw(*r.copy, token);
}

bool read_number(Reader &r, JsonRef ref) {
    size_t begin = r.at;
    take(r, '-');
    if (!take(r, '0') && !digits(r)) return false;
    if (take(r, '.') && !digits(r)) return false;
    size_t exponent = r.at;
    if (take(r, 'e') || take(r, 'E')) {
        if (!take(r, '+')) take(r, '-');
        if (!digits(r)) return false;
    }
    r.unsure = r.unsure || r.at - exponent > 4 || (r.at - exponent == 4 && r.text[exponent + 1] >= '3'); // from e300 on also of 0, though it is 0
    std::string_view token = r.text.substr(begin, r.at - begin);
    ScopedBuf copy;
    buf_add(copy, token);
    buf_add_char(copy, 0);
    r.unsure = r.unsure || fabs(strtod(copy.data, nullptr)) > 1e300 || token.size() > 300;
    if (ref) check_number(r, token, ref);
    return true;
}

bool read_word(Reader &r, std::string_view word) {
    if (r.text.substr(r.at, word.size()) != word) return false;
    r.at += word.size();
    return true;
}

bool read_value(Reader &r, JsonRef ref);

bool is_plain(std::string_view key) {
    for (char c : key)
        if (c < 0x20 || c == 0x7f || c == '"' || c == '\\') return false;
    return true;
}

bool read_object(Reader &r, JsonRef ref) {
    Buf keys; // each followed by a NUL
    auto done = [&keys](bool ok) {
        buf_free(keys);
        return ok;
    };
    if (++r.depth > depth_max) return done(false);
    if (r.copy && ref) json_begin(*r.copy, '{');
    skip_space(r);
    for (bool first = true; !take(r, '}'); first = false) {
        if (!first && !take(r, ',')) return done(false);
        skip_space(r);
        ScopedBuf key;
        if (!read_string(r, key)) return done(false);
        skip_space(r);
        if (!take(r, ':')) return done(false);
        buf_add_char(key, 0);
        std::string_view name = buf_view(key).substr(0, key.len - 1), named = buf_view(key);
        JsonRef member;
        // A NUL cannot be asked for, and of two of a name the first counts.
        bool known = name.find('\0') != name.npos;
        for (size_t i = buf_view(keys).find(named); i != named.npos && !known; i = buf_view(keys).find(named, i + 1)) known = i == 0 || keys.data[i - 1] == 0;
        if (ref && !known) {
            member = json_get(ref, key.data);
            CB_ASSERT(member);
        }
        if (name.find('\0') == name.npos) buf_add(keys, named);
        bool written = r.copy && member && is_plain(name);
        JsonWriter *copy = r.copy;
        if (written) json_key(*r.copy, name);
        else r.copy = nullptr;
        bool ok = read_value(r, member);
        r.copy = copy;
        if (!ok) return done(false);
        skip_space(r);
    }
    if (r.copy && ref) json_end(*r.copy, '}');
    r.depth--;
    return done(true);
}

bool read_array(Reader &r, JsonRef ref) {
    if (++r.depth > depth_max) return false;
    uint32_t count = 0, seen = 0;
    if (ref) CB_ASSERT(json_array(ref, &count));
    if (r.copy && ref) json_begin(*r.copy, '[');
    skip_space(r);
    for (; !take(r, ']'); seen++) {
        if (seen && !take(r, ',')) return false;
        if (!read_value(r, ref ? json_at(ref, seen) : JsonRef{})) return false;
        skip_space(r);
    }
    if (ref) CB_ASSERT(seen == count && !json_at(ref, count));
    if (r.copy && ref) json_end(*r.copy, ']');
    r.depth--;
    return true;
}

// One kind and no other.
void check_kind(JsonRef ref, char first) {
    std::string_view text;
    int64_t n;
    bool b;
    uint32_t count;
    CB_ASSERT(json_string(ref, &text) == (first == '"') && json_bool(ref, &b) == (first == 't' || first == 'f'));
    CB_ASSERT(json_array(ref, &count) == (first == '[') && json_is_null(ref) == (first == 'n'));
    bool is_number = first == '-' || (first >= '0' && first <= '9');
    CB_ASSERT(!json_int(ref, &n) || is_number);
    if (first != '{') CB_ASSERT(!json_get(ref, "a"));
}

bool read_value(Reader &r, JsonRef ref) {
    skip_space(r);
    if (r.at == r.text.size()) return false;
    char first = r.text[r.at];
    if (ref) check_kind(ref, first);
    if (take(r, '{')) return read_object(r, ref);
    if (take(r, '[')) return read_array(r, ref);
    if (first == '"') {
        ScopedBuf out;
        if (!read_string(r, out)) return false;
        if (!ref) return true;
        std::string_view got;
        CB_ASSERT(json_string(ref, &got));
        fuzz_equal(got, buf_view(out), "a string");
        if (r.copy) json_put_string(*r.copy, got);
        return true;
    }
    if (first == 't' || first == 'f') {
        bool value = first == 't', got = !value;
        if (!read_word(r, value ? "true" : "false")) return false;
        if (ref) CB_ASSERT(json_bool(ref, &got) && got == value);
        if (r.copy && ref) json_put_bool(*r.copy, got);
        return true;
    }
    if (first == 'n') {
        if (r.copy && ref) json_put_raw(*r.copy, "null");
        return read_word(r, "null");
    }
    return read_number(r, ref);
}

bool read_text(Reader &r, JsonRef ref) {
    skip_space(r);
    if (r.at == r.text.size() || r.text[r.at] != '{' || !read_value(r, ref)) return false;
    skip_space(r);
    return r.at == r.text.size();
}

// Parses and compares everything; the values written anew go to `out`. False when it is no JSON.
bool pass(std::string_view text, Buf &out) {
    Reader judge{.text = text};
    bool valid = read_text(judge, {});
    JsonRef ref = json_parse(text);
    if (judge.unsure && !ref) return false;
    CB_ASSERT((bool)ref == valid);
    if (!ref) return false;
    JsonWriter writer{.out = &out};
    Reader reader{.text = text, .copy = &writer};
    CB_ASSERT(read_text(reader, ref));
    return true;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    ScopedBuf once, twice;
    if (!pass({(const char *)data, size}, once)) return 0;
    CB_ASSERT(pass(buf_view(once), twice));
    fuzz_equal(buf_view(once), buf_view(twice), "written, read and written again");
    return 0;
}
