// WebSocket (RFC 6455, RFC 7692): wslay behind this door, with what it leaves to us (memory on loan, fragments bounded, UTF-8 after inflating,
// inflated size capped). Pings, pongs and the closing handshake are this module's business; the room to the right sees whole messages. Loop thread only.
#pragma once

#include "net/http.h"

enum class DeflateMode : uint8_t { automatic, on, off };   // PROTOCOL §5 --deflate
void ws_set_deflate(DeflateMode mode);

// Answers a handshake (r->upgrade_websocket) with 101; from now on the connection is a WebSocket and `r` is dead. Sets SO_SNDBUF. `waits`: the 101 goes out
// with the first conn_flush, which the caller must see to, in one write with what is said first.
void ws_accept(HttpRequest *r, bool waits = false);
// Does this socket take compressed frames?
bool ws_deflates(const Conn *c);

constexpr size_t ws_header_max = 10;
// The header of a server's text frame; returns its length.
size_t ws_text_header(char out[ws_header_max], size_t payload_bytes, bool compressed);
// Appends one whole uncompressed text frame: header and payload.
void ws_encode_text(Buf &out, std::string_view payload);
// Appends one whole compressed text frame (RSV1, without context takeover). False when it would not be smaller: then nothing is appended.
bool ws_encode_deflated(Buf &out, std::string_view payload);
// One private text message to one connection, deflated when it may be and pays. See conn_queue. It goes out at the next conn_flush.
bool ws_send_text(Conn *c, std::string_view payload);
// The same, binary.
bool ws_send_binary(Conn *c, std::string_view payload);

// Starts the closing handshake: a close frame behind what is queued, then what still arrives is drained (drain_ms_max, drain_bytes_max), then the connection
// ends. `closed` is called at once. Nothing may be sent any more.
void ws_close(Conn *c, uint16_t code, std::string_view reason);
