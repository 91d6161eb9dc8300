// HTTP/1.1 (RFC 9110, 9112): bytes to requests, answers to bytes. llhttp behind this door, with the checks that it leaves to us (strict framing, one Host,
// no folding, no smuggling; see the table in http.cpp). A malformed request is answered and the connection drained and closed; what follows on it is never
// parsed. Requests on one connection are handled strictly one after another. Loop thread only.
#pragma once

#include "base/errors.h"
#include "net/conn.h"

enum class HttpMethod : uint8_t { get, head, post, put, patch, del, options, other };

// A whole request. It belongs to the connection; all views die when the request has been answered. While it is not answered nothing more is read there.
struct HttpRequest {
    Conn *conn;
    ConnId id;                     // keep this, not the pointer, across anything asynchronous, then http_pending
    HttpMethod method;
    std::string_view path;         // percent-decoded, begins with '/', no ".." segment, no NUL, valid UTF-8
    std::string_view query;        // raw, without '?'; see http_query
    std::string_view host;         // the Host header, syntax checked; "" only in HTTP/1.0
    std::string_view body;
    Address client;                // the peer's, or what a trusted proxy says (PROTOCOL §2.2)
    bool tls;                      // a trusted proxy said X-Forwarded-Proto: https
    bool host_ok;                  // host_allowed
    bool origin_present;
    bool origin_ok;                // present and matching
    bool upgrade_websocket;        // a well-formed RFC 6455 handshake: GET, Upgrade, Connection, Version 13, a 16-byte key
    uint8_t headers_count;
};

// A header's value by its lower-case name, "" when missing; of several the first (for Cookie: joined by "; "). http_has_header tells "" from missing.
std::string_view http_header(const HttpRequest *r, std::string_view name);
bool http_has_header(const HttpRequest *r, std::string_view name);
// A query parameter, percent-decoded into out; false when it is missing or badly encoded (or no UTF-8), which *is_bad tells apart.
bool http_query(const HttpRequest *r, std::string_view name, Buf &out, bool *is_bad = nullptr);
// Each cookie of that name in turn: *at starts at 0. False when there is no more.
bool http_cookie_next(const HttpRequest *r, std::string_view name, size_t *at, std::string_view *value);

// The request that is waiting for its answer on that connection; null when the connection has gone.
HttpRequest *http_pending(ConnId id);
// While it is put off nothing has been done of it yet, so where memory is short it may be refused (503) like one that is still arriving.
void http_put_off(HttpRequest *r, bool put_off);
// Its body has been read and is let go before the answer: it may be long, a secret may be in it, and the answer may take its time.
void http_forget_body(HttpRequest *r);

// Lines "Name: value\r\n" that every response carries are added by http_respond: security headers of PROTOCOL §2.1, Date only if the clock is set,
// Content-Length, Connection. HEAD sends no body. An answer ends the request: all its views die.
struct HttpAnswer {
    int status = 200;
    const char *type = nullptr;            // Content-Type; null: none
    std::string_view body = {};            // copied unless body_is_static
    bool body_is_static = false;           // the bytes live for ever (embedded): never copied
    bool no_store = true;                  // Cache-Control: no-store
    std::string_view headers = {};         // more whole lines, each ending in \r\n
    bool close = false;
};
void http_respond(HttpRequest *r, const HttpAnswer &answer);
// {"error":code,"message":sentence}; `sentence` null: the table's. retry_after_s > 0 adds Retry-After.
void http_respond_error(HttpRequest *r, Err err, const char *sentence = nullptr, uint32_t retry_after_s = 0, std::string_view headers = {});
