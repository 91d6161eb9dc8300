// JSON in and out. Reading is RapidJSON's DOM behind this door (RFC 8259, iterative parser: no recursion to exhaust the stack);
// writing is a small escaping writer into a Buf, because encoding a frame is on the path of every message. Loop thread only for
// reading (one document at a time); the writer may be used on any thread.
#pragma once

#include "base/buf.h"

// A value inside the document parsed last. Values die with the next json_parse.
struct JsonRef {
    const void *value = nullptr;
    explicit operator bool() const { return value != nullptr; }
};

// Parses a text (at most 64 KiB by the callers' limits) that must be one JSON object without anything behind it. Null on a syntax error, on invalid
// UTF-8, on another kind of value, when it is nested deeper than 16, or has more than 4,096 values and names.
JsonRef json_parse(std::string_view text);

// Overwrites the document parsed last, which held a secret. Its values die.
void json_forget();

// The member of an object, or a null ref when `object` is null, is no object, or has no such member. Of two the first counts.
JsonRef json_get(JsonRef object, const char *key);
bool json_is_null(JsonRef v);   // true for JSON null only; a missing member is !v
// Each returns false, leaving *out alone, when the value is missing or of another kind.
bool json_string(JsonRef v, std::string_view *out); // valid UTF-8 guaranteed; lone surrogates make json_parse fail
bool json_int(JsonRef v, int64_t *out);             // an integer without fraction within ±2^53
bool json_bool(JsonRef v, bool *out);
bool json_array(JsonRef v, uint32_t *count);
JsonRef json_at(JsonRef array, uint32_t index);

// Writing. Commas are the writer's business; a value in the wrong place is an assertion. Depth is at most 16.
struct JsonWriter {
    Buf *out;
    uint32_t has_items = 0; // for each open scope two bits: something is in it already, and it is an object
    uint8_t depth = 0;
    bool after_key = false;
};
void json_begin(JsonWriter &w, char open);             // '{' or '['
void json_end(JsonWriter &w, char close);              // '}' or ']'
void json_key(JsonWriter &w, std::string_view key);    // key is plain ASCII, written as it is
void json_put_string(JsonWriter &w, std::string_view text); // escapes; text must be valid UTF-8
void json_put_int(JsonWriter &w, int64_t n);
void json_put_bool(JsonWriter &w, bool b);
void json_put_raw(JsonWriter &w, std::string_view json);    // one ready-made value
// key and value in one
void json_field(JsonWriter &w, std::string_view key, std::string_view text);
void json_field_int(JsonWriter &w, std::string_view key, int64_t n);
void json_field_bool(JsonWriter &w, std::string_view key, bool b);
