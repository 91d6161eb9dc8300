// The door to RapidJSON, and the writer. Owns the one document that was parsed last: a small one lives in a static buffer, a large one
// in chunks that the next json_parse gives back (64 KiB of text make at most about 1.5 MB of values). Loop thread for reading.
#include "base/json.h"

#include <stdlib.h>
#include <string.h>

#include <new>

#include "base/assert.h"
#include "base/crypto.h"
#include "base/unicode.h"

#define RAPIDJSON_ASSERT(expression) CB_ASSERT(expression)
#if defined(__SSE2__)
#define RAPIDJSON_SSE2 // strings and white space in steps of 16 bytes
#elif defined(__ARM_NEON) && defined(__aarch64__)
#define RAPIDJSON_NEON
#endif
#define RAPIDJSON_NOMEMBERITERATORCLASS // plain pointers: its iterator class is not C++20
#include <rapidjson/document.h>
#include <rapidjson/reader.h>

namespace {

constexpr unsigned depth_max = 16;
constexpr unsigned values_max = 4096; // names counted too; the longest honest text has some hundred
constexpr size_t simd_bytes = 16; // what one step may read behind the text

// RapidJSON does not look at what its allocator returns, so it gets one that never returns null.
struct JsonMemory {
    [[maybe_unused]] static constexpr bool kNeedFree = true;
    void *Malloc(size_t bytes) { return bytes == 0 ? nullptr : mem_alloc(bytes); }
    void *Realloc(void *old, size_t, size_t bytes) {
        if (bytes != 0) return mem_grow(old, bytes);
        free(old);
        return nullptr;
    }
    static void Free(void *memory) { free(memory); }
};

using Utf8 = rapidjson::UTF8<>;
using Pool = rapidjson::MemoryPoolAllocator<JsonMemory>;
using Document = rapidjson::GenericDocument<Utf8, Pool, JsonMemory>;
using Value = Document::ValueType;

// Stands between the reader and the document: refuses deep nesting and too many values as they come (64 KiB of zeros would hold the loop for as long as
// thirty messages do), and strings that are not UTF-8 once their escapes are resolved
// (the reader's own check, which lets a \udc00 by itself pass, is not asked for).
struct Guard {
    Document &document;
    unsigned depth = 0, values = 0;

    bool another() { return ++values <= values_max; }
    bool Null() { return another() && document.Null(); }
    bool Bool(bool b) { return another() && document.Bool(b); }
    bool Int(int n) { return another() && document.Int(n); }
    bool Uint(unsigned n) { return another() && document.Uint(n); }
    bool Int64(int64_t n) { return another() && document.Int64(n); }
    bool Uint64(uint64_t n) { return another() && document.Uint64(n); }
    bool Double(double n) { return another() && document.Double(n); }
    bool RawNumber(const char *, rapidjson::SizeType, bool) { return false; } // only with a flag that is not set
    bool String(const char *s, rapidjson::SizeType n, bool copy) { return another() && utf8_valid({s, n}) && document.String(s, n, copy); }
    bool Key(const char *s, rapidjson::SizeType n, bool copy) { return String(s, n, copy); }
    bool StartObject() { return another() && ++depth <= depth_max && document.StartObject(); }
    bool StartArray() { return another() && ++depth <= depth_max && document.StartArray(); }
    bool EndObject(rapidjson::SizeType n) { return depth-- > 0 && document.EndObject(n); }
    bool EndArray(rapidjson::SizeType n) { return depth-- > 0 && document.EndArray(n); }
};

// Parses a copy that ends in a NUL, and in which the strings stay.
struct Generator {
    char *text;
    size_t len;
    bool operator()(Document &document) {
        rapidjson::GenericInsituStringStream<Utf8> stream(text);
        rapidjson::GenericReader<Utf8, Utf8, JsonMemory> reader;
        Guard guard{document};
        return (bool)reader.Parse<rapidjson::kParseIterativeFlag | rapidjson::kParseInsituFlag>(stream, guard) && stream.Tell() == len;
    }
};

JsonMemory json_memory;
alignas(16) char first_chunk[8 * 1024];

// Pool and document, made anew for each text in the same place, so that nothing needs a constructor at start or a destructor at exit.
struct Parsed {
    Pool pool{first_chunk, sizeof first_chunk, 16 * 1024, &json_memory};
    Document document{&pool, 1024, &json_memory};
};
alignas(Parsed) char parsed_place[sizeof(Parsed)];
Parsed *parsed = nullptr;
std::string_view parsed_text; // the copy, in the first chunk or in one of its own

// Controls that are no JSON anywhere, and that RapidJSON would not refuse: a NUL looks like the end of the text to the stream, and where it takes a string in
// steps of 16 bytes it lets 0x1a to 0x1f pass (1.1.0 compares with 0x19).
bool has_odd_control(std::string_view text) {
    bool odd = false;
    for (char c : text) odd |= (c == 0) | ((unsigned char)(c - 0x1a) < 6);
    return odd;
}

const Value *value_of(JsonRef ref) { return (const Value *)ref.value; }

} // namespace

JsonRef json_parse(std::string_view text) {
    if (parsed != nullptr) parsed->~Parsed();
    parsed = new (parsed_place) Parsed;
    parsed_text = {};
    if (text.empty() || has_odd_control(text)) return {};
    char *copy = (char *)parsed->pool.Malloc(text.size() + simd_bytes);
    memcpy(copy, text.data(), text.size());
    memset(copy + text.size(), 0, simd_bytes);
    parsed_text = {copy, text.size()};
    Generator generator{copy, text.size()};
    parsed->document.Populate(generator);
    if (!parsed->document.IsObject()) return {}; // null after an error, or another kind of value
    return {static_cast<const Value *>(&parsed->document)};
}

void json_forget() {
    memory_wipe(parsed_text);
    parsed_text = {};
    if (parsed != nullptr) parsed->~Parsed();
    parsed = nullptr;
}

JsonRef json_get(JsonRef object, const char *key) {
    const Value *value = value_of(object);
    if (value == nullptr || !value->IsObject()) return {};
    auto member = value->FindMember(key);
    if (member == value->MemberEnd()) return {};
    return {&member->value};
}

bool json_is_null(JsonRef v) { return v && value_of(v)->IsNull(); }

bool json_string(JsonRef v, std::string_view *out) {
    if (!v || !value_of(v)->IsString()) return false;
    *out = {value_of(v)->GetString(), value_of(v)->GetStringLength()};
    return true;
}

bool json_int(JsonRef v, int64_t *out) {
    constexpr int64_t safe = 1LL << 53; // beyond it a browser's numbers skip integers
    if (!v || !value_of(v)->IsNumber()) return false;
    if (value_of(v)->IsInt64()) {
        int64_t n = value_of(v)->GetInt64();
        if (n < -safe || n > safe) return false;
        *out = n;
        return true;
    }
    if (value_of(v)->IsUint64()) return false;
    double d = value_of(v)->GetDouble(); // 1.0 and 1e3 are integers too
    if (!(d >= -(double)safe && d <= (double)safe) || d != (double)(int64_t)d) return false;
    *out = (int64_t)d;
    return true;
}

bool json_bool(JsonRef v, bool *out) {
    if (!v || !value_of(v)->IsBool()) return false;
    *out = value_of(v)->GetBool();
    return true;
}

bool json_array(JsonRef v, uint32_t *count) {
    if (!v || !value_of(v)->IsArray()) return false;
    *count = value_of(v)->Size();
    return true;
}

JsonRef json_at(JsonRef array, uint32_t index) {
    const Value *value = value_of(array);
    if (value == nullptr || !value->IsArray() || index >= value->Size()) return {};
    return {&(*value)[index]};
}

namespace {

// has_items keeps two bits for each scope: its lower half tells that something is in it, its upper half that it is an object.
uint32_t item_bit(const JsonWriter &w) { return 1u << (w.depth - 1); }
uint32_t object_bit(const JsonWriter &w) { return 1u << (w.depth - 1 + depth_max); }

void json_before_value(JsonWriter &w) {
    if (w.after_key) {
        w.after_key = false;
        return;
    }
    if (w.depth == 0) return;
    CB_ASSERT(!(w.has_items & object_bit(w))); // in an object a key comes first
    if (w.has_items & item_bit(w)) buf_add_char(*w.out, ',');
    w.has_items |= item_bit(w);
}

} // namespace

void json_begin(JsonWriter &w, char open) {
    CB_ASSERT((open == '{' || open == '[') && w.depth < depth_max);
    json_before_value(w);
    w.depth++;
    w.has_items &= ~(item_bit(w) | object_bit(w));
    if (open == '{') w.has_items |= object_bit(w);
    buf_add_char(*w.out, open);
}

void json_end(JsonWriter &w, char close) {
    CB_ASSERT(w.depth > 0 && !w.after_key);
    CB_ASSERT(close == (w.has_items & object_bit(w) ? '}' : ']'));
    w.depth--;
    buf_add_char(*w.out, close);
}

void json_key(JsonWriter &w, std::string_view key) {
    CB_ASSERT(w.depth > 0 && (w.has_items & object_bit(w)) && !w.after_key);
    if (w.has_items & item_bit(w)) buf_add_char(*w.out, ',');
    w.has_items |= item_bit(w);
    buf_add_char(*w.out, '"');
    buf_add(*w.out, key);
    buf_add(*w.out, "\":");
    w.after_key = true;
}

namespace {

// In eight bytes: is one below 0x20, a quote or a backslash? The usual trick for "is a byte zero", three times; it may only say yes too often for bytes
// above 0x7f behind such a one, never no.
bool needs_escape(uint64_t eight) {
    constexpr uint64_t ones = 0x0101010101010101u, highs = 0x8080808080808080u;
    uint64_t quote = eight ^ (ones * '"'), backslash = eight ^ (ones * '\\');
    return (((eight - ones * 0x20) & ~eight) | ((quote - ones) & ~quote) | ((backslash - ones) & ~backslash)) & highs;
}

} // namespace

void json_put_string(JsonWriter &w, std::string_view text) {
    json_before_value(w);
    Buf &out = *w.out;
    buf_reserve(out, text.size() + 2);
    buf_add_char(out, '"');
    size_t plain = 0; // everything before it is written
    for (size_t i = 0; i < text.size(); i++) {
        if (uint64_t eight; text.size() - i >= 8 && (memcpy(&eight, text.data() + i, 8), !needs_escape(eight))) {
            i += 7;
            continue;
        }
        unsigned char c = (unsigned char)text[i];
        if (c >= 0x20 && c != '"' && c != '\\') continue;
        buf_add(out, text.substr(plain, i - plain));
        plain = i + 1;
        char escape = c == '"' || c == '\\' ? (char)c : c == '\n' ? 'n' : c == '\t' ? 't' : c == '\r' ? 'r' : 0;
        if (escape != 0) {
            buf_add_char(out, '\\');
            buf_add_char(out, escape);
        } else {
            buf_printf(out, "\\u%04x", c);
        }
    }
    buf_add(out, text.substr(plain));
    buf_add_char(out, '"');
}

void json_put_int(JsonWriter &w, int64_t n) {
    json_before_value(w);
    buf_add_int(*w.out, n);
}

void json_put_bool(JsonWriter &w, bool b) {
    json_before_value(w);
    buf_add(*w.out, b ? "true" : "false");
}

void json_put_raw(JsonWriter &w, std::string_view json) {
    json_before_value(w);
    buf_add(*w.out, json);
}

void json_field(JsonWriter &w, std::string_view key, std::string_view text) {
    json_key(w, key);
    json_put_string(w, text);
}

void json_field_int(JsonWriter &w, std::string_view key, int64_t n) {
    json_key(w, key);
    json_put_int(w, n);
}

void json_field_bool(JsonWriter &w, std::string_view key, bool b) {
    json_key(w, key);
    json_put_bool(w, b);
}
