// A request that is arriving: the loan of http.cpp, read by http_answer.cpp. Made at a request's first byte, given back when its answer has left.
// Loop thread only.
#pragma once

#include <llhttp.h>

#include "net/conn_internal.h"

// A header line; offsets into the head, which is 8 KiB at most.
struct Field {
    uint16_t name, name_len, value, value_len;
};

struct HttpIn {
    HttpRequest request;
    llhttp_t parser;
    Conn *conn;
    Buf head;                // the request line and the header lines, CRLFs included; names are made lower-case, the path is decoded in place
    Buf body;
    Buf cookies;             // several Cookie headers, joined
    Field fields[http_headers_max];
    uint32_t line_bytes;     // of the head's line that is arriving
    uint32_t blank_lines;    // before the request line
    uint32_t trailers;
    size_t framing_bytes;    // of a body: all that is not data
    const char *data_end;    // of the input: behind the last byte of body data
    Err err;                 // why the request is refused
    const char *sentence;
    uint8_t minor;           // of HTTP/1.x
    char before;             // the byte before: for CR and LF
    bool head_done;
    bool complete;
    bool keep_alive;
    bool chunked;
    bool expects;            // 100-continue
};
