// Conn: one TCP (or Unix) connection. It owns the handle, what is under way to the kernel, and nothing of chat. All bytes go in and out here;
// http.cpp and ws.cpp give them meaning. Loop thread only. libuv behind this door.
//
// What a connection may hold: the rest of one frame the kernel would not take whole (≤ frame_out_bytes_max), a private queue
// (≤ private_queue_bytes_max), and while something is arriving a parser on loan. An idle one holds none of these. What all of them hold together is
// ≤ held_bytes_max and an eighth: who holds most for longest is ended (503, 1013, or without a word when it takes nothing) before that is reached.
#pragma once

#include "base/limits.h"
#include "net/address.h"

struct uv_loop_s;
struct Conn;
struct HttpRequest;

// Slot and generation: a late completion finds another generation and stops. Never 0.
using ConnId = uint64_t;

// One whole thing that is written or not begun: a wire frame, a response. Not owned.
struct Piece {
    const char *data;
    uint32_t len;
};

// What the rooms to the right do with what arrives. Set once.
struct NetHandlers {
    void (*request)(HttpRequest *r);                     // a whole, well-formed request; answer now or later (http.h)
    void (*text)(Conn *c, std::string_view message);     // one whole text message, valid UTF-8, ≤ frame limit
    void (*binary)(Conn *c, std::string_view message) = nullptr; // one whole binary message; null: they close 1003
    void (*frame)(Conn *c) = nullptr;                    // a frame of a WebSocket that brings no message: a ping, a pong, a part of a message before its last
    void (*writable)(Conn *c);                           // what was under way has left: more may be flushed
    void (*closed)(Conn *c);                             // a WebSocket is gone, whoever closed it; called once, then conn_owner is void
    void (*malformed)(const Conn *c, const char *why) = nullptr; // what came broke the rules of HTTP or of WebSockets, a limit or a deadline, and the connection ends
};

struct NetOptions {
    uint32_t connections_max = sockets_max_default + 512;
    uint32_t refused_max = connections_refused_max;      // beyond them
    uint32_t connections_per_address_max = connections_per_address_max_default; // loopback and trusted proxies have none
    uint32_t guests_per_address_max = connections_without_session_max; // of those, without a session
    size_t head_bytes_max = http_head_bytes_max;         // a request's; < 65,536
    size_t body_bytes_max = http_body_bytes_max;
    uint32_t head_ms_max = http_head_ms_max;             // until it is whole
    uint32_t body_ms_max = http_body_ms_max;
    uint32_t idle_ms_max = http_idle_ms_max;             // between requests
    const Cidr *trusted = nullptr;                       // --trust-proxy; lives as long as the net
    uint32_t trusted_count = 0;
    OriginRules origins;                                 // lives as long as the net
    size_t frame_bytes_max = ::frame_bytes_max;
    uint32_t fragments_max = ::fragments_max;
    size_t private_queue_bytes_max = ::private_queue_bytes_max;
    size_t held_bytes_max = ::held_bytes_max;            // of all connections together
    uint32_t ping_idle_ms = ::ping_idle_ms;              // tests shorten these
    uint32_t silent_ms_max = ::silent_ms_max;
    uint32_t stuck_ms_max = ::stuck_ms_max;
};

// Starts the module on a loop; one net a process. `options` and `handlers` are copied.
void net_start(uv_loop_s *loop, const NetOptions &options, const NetHandlers &handlers);
// Binds and listens (SO_REUSEADDR; a stale Unix socket file is replaced, mode 0660). Returns 0 or a negative libuv error.
// *port gets the port that was bound.
[[nodiscard]] int net_listen(const ListenAddress &where, uint16_t *port);
// No more accepting, no more reading (PROTOCOL §5, SIGTERM). Connections stay until closed.
void net_stop_listening();
void net_stop_reading();
// Ends every connection that is not a WebSocket and has no answer under way. Returns how many are left.
uint32_t net_finish();
// Closes every connection at once without ceremony and every handle of this module; the loop must still run for the handles to close.
void net_stop();
uint32_t net_connections();

// The connection, or null when it has gone.
Conn *conn_get(ConnId id);
ConnId conn_id(const Conn *c);
const Address &conn_peer(const Conn *c); // of a WebSocket: whom a trusted proxy named at the handshake
// One pointer for the room to the right (its socket); null at first.
void *conn_owner(const Conn *c);
void conn_set_owner(Conn *c, void *owner);
// An authenticated connection is not the first to go when the server is full.
void conn_set_authenticated(Conn *c);

// --- sending on a WebSocket
// Starts to bring into the processor's cache what a flush will look at, for who is served soon: in a round of a thousand, each one's has gone cold since the last.
void conn_prefetch(const Conn *c);
// True while something is under way to the kernel: nothing can be flushed until `writable`.
bool conn_busy(const Conn *c);
// Bytes in the private queue and under way.
size_t conn_queued(const Conn *c);
// Bytes in the private queue alone.
size_t conn_private_bytes(const Conn *c);
// Appends one whole wire frame to the private queue. It goes out at the next flush, before frames given to that flush. False (and the connection
// is aborted) when the queue would exceed its bound.
bool conn_queue(Conn *c, Piece frame);
// One vectored write of the private queue and then `frames`. Returns how many of `frames` are on their way: each of them whole, for the rest of one that
// the kernel took in part is copied and kept (then conn_busy). 0 while busy. Counts the metrics writes, frames_out, bytes_out.
size_t conn_flush(Conn *c, const Piece *frames, size_t count);
// The same for `frames_count` frames that lie side by side, their bytes in at most two pieces, on a connection that is neither busy nor has private bytes. True: all
// are on their way. False: the kernel took `*taken` bytes only, and conn_flush_rest must be told at once where the frame ends that was cut (or comes next).
bool conn_flush_span(Conn *c, const Piece *pieces, size_t count, size_t frames_count, size_t *taken);
void conn_flush_rest(Conn *c, Piece rest_of_frame, size_t frames_count);

// --- reading
// Back-pressure: while paused no byte is read and no message delivered, not even one that has arrived already.
void conn_pause(Conn *c, bool paused);
// Gone at once; `closed` is called before it returns when it was a WebSocket.
void conn_abort(Conn *c);
