// A request that is arriving: the loan of http.cpp, read by http_answer.cpp. Made at a request's first byte, given back when its
// answer has left. Loop thread only.
#pragma once

#include <llhttp.h>

#include "net/conn_internal.h"

// A header line; offsets into the head, which is 8 KiB at most.
struct Field {
    uint16_t name, name_len, value, value_len;
};

// The headers that something here asks for, by length: found once, when their line has been parsed.
// clang-format off
enum class Known : uint8_t {
    host, cookie, expect, origin, upgrade, connection, user_agent, content_type, authorization, if_none_match, content_length, sec_fetch_site,
    accept_encoding, x_forwarded_for, transfer_encoding, x_forwarded_proto, sec_websocket_key, sec_websocket_version,
    sec_websocket_extensions, count
};
// clang-format on

struct KnownField {
    uint8_t first; // in HttpIn's fields, counted from 1
    uint8_t count;
};

struct HttpIn {
    HttpRequest request;
    llhttp_t parser;
    Conn *conn;
    Buf head; // the request line and the header lines, CRLFs included; names are made lower-case, the path is decoded in place
    Buf body;
    Buf cookies; // several Cookie headers, joined
    KnownField known[(int)Known::count];
    uint32_t line_bytes;  // of the head's line that is arriving
    uint32_t blank_lines; // before the request line
    uint32_t trailers;
    size_t framing_bytes; // of a body: all that is not data
    const char *data_end; // of the input: behind the last byte of body data
    Err err;              // why the request is refused
    const char *sentence;
    uint8_t minor; // of HTTP/1.x
    char before;   // the byte before: for CR and LF
    bool host_is_well; // its syntax
    bool head_done;
    bool complete;
    bool keep_alive;
    bool chunked;
    bool expects; // 100-continue
    Field fields[http_headers_max]; // the last member: of a loan that is given again they are not cleared
};

inline std::string_view http_text(const HttpIn *in, size_t at, size_t len) { return {in->head.data + at, len}; }
inline char http_lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c; }
// Notes why the request is refused; the first reason stays. -1, as llhttp's callbacks want it.
inline int http_in_refuse(HttpIn *in, Err err, const char *sentence = nullptr) {
    if (in->err == Err::ok) in->err = err, in->sentence = sentence;
    return -1;
}

// --- http_head.cpp
// A header's name, in lower case, has come: its field is the newest.
void http_note_field(HttpIn *in, std::string_view name);
// "METHOD SP target SP HTTP/d.d" and nothing else, or it is refused; before llhttp sees it, so that its answers can be told
// apart.
void http_check_request_line(HttpIn *in);
// All header lines are there: checks them and fills the request. False: refused.
bool http_judge_head(HttpIn *in);
