// What the files of src/net know of a connection and nobody else does: its structure, its states, and the calls between conn.cpp (slots, states),
// conn_read.cpp and conn_write.cpp (bytes), conn_accept.cpp (who may come in; listeners have a header of their own, conn_listen.h), conn_budget.cpp (what they hold), conn_deadlines.cpp (the wheel), http.cpp and
// http_answer.cpp (requests, answers) and ws.cpp (messages). Loop thread only.
#pragma once

#include <uv.h>

#include "net/ws.h"

// One row of life. What may arrive, and which deadline is running, follows from it.
enum class ConnState : uint8_t {
    idle,     // HTTP, nothing of a request has come
    head,     // HTTP, a request's head is arriving
    body,     // HTTP, its body is
    request,  // HTTP, handed out and not answered
    answer,   // HTTP, the answer is on its way to the kernel
    socket,   // a WebSocket
    closing,  // a WebSocket whose close frame is queued or sent; `closed` has been called
    draining, // our side is shut; what still comes is thrown away until the peer has heard us
    gone,     // waits for libuv to let go of the handle
};

struct HttpIn;
struct WsIn;

// What is under way to the kernel: made when it would not take something whole, gone when it has.
struct Out {
    uv_write_t req;
    Conn *conn;
    Buf owned;
    size_t private_bytes; // how much of it came from the private queue
};

// How many connections a limit group (address_limit_group) has.
struct AddressCount {
    Address group;
    uint32_t connections;
    uint32_t without_session;
    Conn *oldest = nullptr; // of those without a session and a request in hand, by when they became so
    Conn *newest = nullptr;
};

struct Link {
    Conn *before;
    Conn *after;
};

constexpr int list_all = 0;     // everybody without a session and a request in hand
constexpr int list_address = 1; // those of one address

struct Conn {
    ConnId id;
    Address peer;
    ConnState state;
    uint8_t ping_spread; // of the idle time before a ping: 1/1024ths
    bool paused : 1;     // by conn_pause
    bool reading : 1;    // the kernel is asked for what the peer says: it is being listened to
    bool eof : 1;     // the peer has shut its side
    bool broken : 1;  // to be ended by the next turn's work
    bool pumping : 1; // its bytes are being looked at
    bool authenticated : 1;
    bool on_lists : 1; // waits in the two lists of those who go first
    bool on_wheel : 1;
    bool on_todo : 1;
    bool handle_closed : 1; // libuv has let go; freed unless on_todo
    bool pinged : 1;        // a ping is out and nothing has been heard since
    bool deflates : 1;      // permessage-deflate was agreed
    bool packs : 1;         // and our window suits the peer
    bool closed_told : 1;
    bool hang_up : 1; // shut our side when all is sent
    bool fresh : 1;   // no request yet
    bool answer_closes : 1;
    bool put_off : 1; // its request waits, and nothing of it has been done
    bool refused : 1; // one too many: it lingers until it has read that, and takes nobody's place
    void *owner;
    HttpIn *http;
    WsIn *ws;
    Out *out;
    Buf queue; // whole private frames
    Buf held;  // what arrived and may not be looked at yet, from held_at on
    uint64_t since_ms;    // when this state began
    uint64_t heard_ms;    // when a byte came, or we began to listen again
    uint64_t progress_ms; // when the kernel last took something of `out`
    uint64_t due_ms; // when the wheel looks next
    Conn **wheel_before;
    Conn *wheel_after;
    Conn *todo_after;
    Link links[2];
    AddressCount *count;
    uint32_t held_at;
    uint32_t progress_left; // bytes of `out` at the last look; that they changed is what counts
    uint32_t drained_bytes;
    uint32_t holds;         // bytes, as conn_budget.cpp counts them
    uint32_t holds_since_s; // since when it is not 0
    uint32_t answer_bytes; // of the answer under way: a slow reader's time depends on it
    Buf *sent;             // tests: bytes go here and there is no handle
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    };
};
static_assert(
    offsetof(Conn, handle) <= 320, "an idle connection is to cost less than 1 KiB with its handle, libuv's and the room's part");

struct Net {
    uv_loop_t *loop;
    NetOptions options;
    NetHandlers handlers;
    Conn **slots;
    uint32_t *generations;
    uint32_t *free_slots;
    uint32_t free_count;
    uint32_t slots_used; // high-water mark
    uint32_t slots_room; // of the three lists; doubled when it is used up
    uint32_t slots_max;
    uint32_t open;         // connections not gone
    uint32_t refused;      // of those
    uint32_t sockets;      // of those: WebSockets whose end has not been told
    uint32_t handles;      // of this module, not yet closed
    Conn *oldest, *newest; // list_all
    Conn *todo, *todo_last;
    char *read_buffer;
    Buf answer_head; // of the answer that is being made
    size_t held_bytes; // the sum of `holds`
    size_t room_at;    // above this budget_make_room has something to do
    size_t held_most;  // since memory was given back to the system
    uint64_t ticked_ms; // when the deadlines were looked at last
    uint64_t deaf_ms;   // until then the loop stood still (a stopped process, a paused machine): what came meanwhile may not have been read yet
    bool started, stopping, reading_stopped;
};
extern Net net;
constexpr size_t read_buffer_bytes = 64 * 1024;

inline uint64_t net_now() { return uv_now(net.loop); }

// --- conn.cpp
Conn *conn_new();                          // takes a slot; null when there is none. Its handle is not initialised yet
void conn_start(Conn *c);                  // the handle is connected: begin to read
void conn_enter(Conn *c, ConnState state); // another state: lists, deadlines
void conn_end(Conn *c);                    // gone, telling `closed` when it was a WebSocket
void conn_end_soon(Conn *c);               // the same at the next turn: for faults met while others hold the pointer
void conn_resume_soon(Conn *c);            // conn_resume at the next turn
void conn_tell_closed(Conn *c);
void conn_tell_malformed(const Conn *c, const char *why); // `why`: a literal of ours
Conn *conn_for_test(const Address &peer, Buf *sent); // a connection without a socket
void conn_work();                                    // what was put off to the next turn
void net_work_soon();                                // conn_work at the next turn
// Has this turn been handling who comes, asks and goes for arrivals_us_max, or longer where no socket is open? Then they wait for the next: messages
// that have come meanwhile are committed and sent in between.
bool net_turn_is_long();
void net_closed(); // a handle of this module has closed: when it was the last, all memory goes

// --- conn_read.cpp
void conn_feed(Conn *c, std::string_view bytes); // what the read callback does
void conn_resume(Conn *c);                       // looks at `held` again and reads on
void conn_go_on(Conn *c);                        // the same soon, when what was held back may be looked at now
void conn_update_reading(Conn *c);               // asks the kernel for more, or no longer, as its state wants
bool conn_wants_input(const Conn *c);            // may what has arrived be looked at now?
void conn_hang_up(Conn *c);                      // all has been sent: shut our side, drain, end

// --- conn_write.cpp
// Sends `head` and then `body`: now what fits, the rest in the background, copied unless the body is static. When all has gone at
// once: true.
bool conn_send(Conn *c, std::string_view head, std::string_view body = {}, bool body_is_static = false);
void conn_queue_control(Conn *c, Piece frame); // appends to the private queue whatever its length: for control frames
bool conn_flush_private(Conn *c);              // what can be sent of the private queue; true when nothing is left
uint32_t conn_out_left(const Conn *c);         // bytes of `out`, which must be there, that the kernel has not taken

// --- conn_accept.cpp
void accept_admit(Conn *c); // its peer is known: counts it, makes room or refuses it, starts it
void accept_go_on();         // takes those who came when the turn was long already
void accept_spare_one();     // a descriptor is missing: who would be the first to go at the limit goes
void accept_list_enter(Conn *c);
void accept_list_leave(Conn *c);
void accept_authenticated(Conn *c);
void accept_forget(Conn *c); // takes it out of its address's count
void accept_stop_listening();
void accept_free();

// --- conn_budget.cpp
void budget_note(Conn *c);                            // what it holds may have changed
bool budget_allows(const Conn *c, size_t more);       // may it hold so many bytes more?
bool budget_is_spent();                               // then nobody is read
void budget_make_room();
void budget_tick();                                   // once a second

// --- conn_deadlines.cpp
void deadline_start();
void deadline_stop();
void deadline_arm(Conn *c, uint64_t at_ms); // look at it then, or sooner if that was said before
void deadline_disarm(Conn *c);
uint64_t deadline_of(const Conn *c); // for its present state; UINT64_MAX: none
void deadline_check(Conn *c);        // acts on what is due and arms the next
void deadline_tick();

// --- http.cpp, http_answer.cpp
size_t http_input(Conn *c, const char *data, size_t len); // returns how much it took; stops behind a whole request
size_t http_weight(const Conn *c); // bytes of the loan
void http_free(Conn *c);
void http_stop(); // the spare loan goes
void http_timed_out(Conn *c);
void http_fail(Conn *c, Err err, const char *sentence); // a malformed request: answer, drain, close
void http_answer_done(Conn *c);                         // the answer has left
void http_refuse(Conn *c);                              // 503 to one over a limit, whatever of a request has come, but not one in hand
HttpRequest *http_request_of(Conn *c);
bool http_keeps_alive(const HttpRequest *r);
bool http_is_1_0(const HttpRequest *r);
std::string_view http_joined(
    const HttpRequest *r, std::string_view name, Buf &room); // a list header's values in one; `room` holds them if need be

// --- ws.cpp, ws_accept.cpp
bool ws_negotiate(std::string_view offers, Buf &answer, bool *packs);
bool ws_is_close(char first); // of a frame: is it a close?
uint64_t ws_gathers(const Conn *c); // bytes of the message that has begun, those of its present frame that have not come included
size_t ws_input(Conn *c, const char *data, size_t len);
size_t ws_weight(const Conn *c); // bytes of the loan
void ws_free(Conn *c);
void ws_refuse(Conn *c);         // close 1013, and what it holds is free
void ws_stop();                  // the spare loan goes
void ws_ping(Conn *c);
void ws_sent(Conn *c); // closing, and everything has left
