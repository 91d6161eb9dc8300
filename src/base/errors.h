// Errors: one table of everything that can go wrong for somebody outside. A row has the code of PROTOCOL §2.3 and §3.3,
// the HTTP status that carries it, and one plain sentence. Functions return an Err; Err::ok is success.
#pragma once

#include <stdint.h>

//        enumerator           code                   HTTP  sentence
#define CB_ERRORS(X) \
    X(bad_json,            "bad_json",            400, "That is not a JSON object, or it has too many parts.") \
    X(bad_request,         "bad_request",         400, "A field is missing, of the wrong kind or out of range.") \
    X(unknown_type,        "unknown_type",        400, "This server does not know that type of message.") \
    X(unauthorized,        "unauthorized",        401, "Log in first.") \
    X(bad_credentials,     "bad_credentials",     401, "That name and password do not match.") \
    X(forbidden,           "forbidden",           403, "You may not do that.") \
    X(blocked,             "blocked",             403, "This account is blocked. An administrator can open it again.") \
    X(registration_closed, "registration_closed", 403, "Registration is closed here. Ask an administrator for an account.") \
    X(bad_invite,          "bad_invite",          403, "This invitation is not valid, or not any more.") \
    X(bad_origin,          "bad_origin",          403, "The request comes from another site.") \
    X(not_member,          "not_member",          403, "You are not in that room.") \
    X(not_found,           "not_found",           404, "There is no such thing here.") \
    X(bad_method,          "bad_method",          405, "This address does not know that method.") \
    X(timed_out,           "timed_out",           408, "The request took too long to arrive.") \
    X(name_taken,          "name_taken",          409, "That name is taken.") \
    X(archived,            "archived",            409, "That room is archived: it can be read, not written.") \
    X(not_matched,         "not_matched",         412, "This is not the version that If-Match asks for.") \
    X(too_large,           "too_large",           413, "The request is too large.") \
    X(target_too_long,     "target_too_long",     414, "The request's address is too long.") \
    X(bad_type,            "bad_type",            415, "Send the body as application/json.") \
    X(bad_expectation,     "bad_expectation",     417, "The only Expect here is 100-continue.") \
    X(bad_host,            "bad_host",            421, "This server is not known by that host name; start it with --allow-origin to add one.") \
    X(bad_username,        "bad_username",        422, "A username has 1 to 32 letters, digits, _, - or .; it begins with a letter or digit and does not end in a dot.") \
    X(bad_password,        "bad_password",        422, "A password has 8 to 128 characters, is not a common one and not the username.") \
    X(bad_name,            "bad_name",            422, "A room name has 1 to 64 letters, digits, spaces, _, - or .") \
    X(stop_word,           "stop_word",           422, "That holds a word which this server does not allow.") \
    X(too_long,            "too_long",            422, "That is too long.") \
    X(empty,               "empty",               422, "There is nothing visible in it.") \
    X(bad_nonce,           "bad_nonce",           422, "A nonce is a string of 1 to 64 bytes.") \
    X(too_many,            "too_many",            422, "That would be too many.") \
    X(rate_limited,        "rate_limited",        429, "Too fast. Wait a moment and try again.") \
    X(head_too_large,      "head_too_large",      431, "The request's head is too large.") \
    X(internal,            "internal",            500, "The server made a mistake.") \
    X(bad_method_unknown,  "not_implemented",     501, "This server does not know that method.") \
    X(unavailable,         "unavailable",         503, "Not known to be done. Try again.") \
    X(overloaded,          "overloaded",          503, "The server is full. Try again soon.") \
    X(bad_version,         "bad_version",         505, "This server speaks HTTP/1.1 and HTTP/1.0.") \
    X(storage_full,        "storage_full",        507, "The server's disk is full. Nothing was stored.")

enum class Err : uint8_t {
    ok,
#define X(name, code, http, message) name,
    CB_ERRORS(X)
#undef X
};

struct ErrInfo {
    const char *code;
    uint16_t http;
    const char *message;
};

// The row of an error; of Err::ok: {"ok", 200, ""}. Static memory, any thread.
const ErrInfo &err_info(Err err);
