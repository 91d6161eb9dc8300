// WebSockets: bytes to whole messages and back. A wslay context (8.6 KB) is on loan while something is in flight: taken at
// the first byte of a frame, given back at a boundary; one that was given back is kept for the next, since making one costs as
// much as reading a message. It is fed one frame at a time, so that a pause, a close or a full queue takes effect between two
// messages. wslay's own answers (pong, close) leave as private frames. Owns the loan. Loop thread only.
// The handshake's negotiation is ws_accept.cpp's part.
#include "net/ws.h"

#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <wslay/wslay.h>

#include <algorithm>

#include "base/assert.h"
#include "base/unicode.h"
#include "net/conn_internal.h"
#include "net/deflate.h"

constexpr uint8_t opcode_text = 0x1;
constexpr uint8_t opcode_binary = 0x2;
constexpr uint8_t opcode_close = 0x8;
constexpr uint8_t opcode_ping = 0x9;
constexpr uint8_t final_bit = 0x80;
constexpr uint8_t rsv1_bit = 0x40;

struct WsIn {
    wslay_event_context_ptr ctx;
    Conn *conn;
    const char *data; // of this feeding: what wslay has not been given
    size_t left;
    unsigned char head[14]; // the frame header that is passing through
    uint8_t head_len;       // 0: at a frame boundary
    uint8_t head_need;
    bool control; // the frame is one
    bool packed;  // the message has RSV1
    bool binary;  // and its kind
    bool open;    // a message has begun and not ended
    bool running; // wslay is on the stack
    bool doomed;  // the connection has ended meanwhile
    bool replied; // a pong waits in the private queue
    bool peer_closed;
    uint16_t peer_code; // 0: none was given
    uint16_t fail;      // close code for a fault of the peer's; 0: none
    const char *fail_reason;
    uint64_t payload_left;
    uint32_t fragments;
    Buf message;
    uint8_t control_len;
    char control_payload[125]; // of a control frame that has not come whole
};

namespace {

void refuse(WsIn *in, uint16_t code, const char *reason) {
    if (in->fail == 0) in->fail = code, in->fail_reason = reason;
    wslay_event_shutdown_read(in->ctx);
}

// How long the header is, known from its second byte on.
uint8_t header_bytes(const unsigned char *head) {
    uint8_t length = head[1] & 0x7f;
    return (uint8_t)(2 + (length == 126 ? 2 : length == 127 ? 8 : 0) + (head[1] & 0x80 ? 4 : 0));
}

uint64_t payload_bytes(const unsigned char *head) {
    uint64_t n = head[1] & 0x7f;
    uint8_t wide = n == 126 ? 2 : n == 127 ? 8 : 0;
    if (wide != 0) n = 0;
    for (uint8_t i = 0; i < wide; i++) n = n << 8 | head[2 + i];
    return n;
}

// wslay's pongs go to the private queue. After our close frame nothing may follow.
void take_replies(WsIn *in) {
    uint8_t frames[512];
    while (wslay_event_want_write(in->ctx)) {
        ssize_t n = wslay_event_write(in->ctx, frames, sizeof frames);
        if (n <= 0) return;
        if (in->conn->state != ConnState::socket) continue;
        conn_queue_control(in->conn, {(const char *)frames, (uint32_t)n});
        in->replied = true;
    }
}

ssize_t would_block(wslay_event_context_ptr ctx) {
    wslay_event_set_error(ctx, WSLAY_ERR_WOULDBLOCK);
    return -1;
}

// A control frame's payload is given whole: wslay checks the reason of a close piece by piece, and skips two bytes of each. True
// when it is complete.
bool take_control(WsIn *in) {
    size_t n = (size_t)std::min<uint64_t>(in->payload_left, in->left);
    memcpy(in->control_payload + in->control_len, in->data, n);
    in->control_len = (uint8_t)(in->control_len + n);
    in->data += n;
    in->left -= n;
    in->payload_left -= n;
    return in->payload_left == 0;
}

// Gives wslay what there is of the present frame, and a new frame only if it may be looked at now.
ssize_t on_want_bytes(wslay_event_context_ptr ctx, uint8_t *to, size_t room, int, void *user) {
    WsIn *in = (WsIn *)user;
    if (in->head_len == 0 && !in->doomed) take_replies(in);
    if (in->left == 0 || in->doomed || (in->head_len == 0 && !conn_wants_input(in->conn))) { return would_block(ctx); }
    size_t n = 0;
    while (n < room && in->left > 0 && (in->head_len < 2 || in->head_len < in->head_need)) {
        unsigned char byte = (unsigned char)*in->data++;
        in->left--;
        to[n++] = byte;
        in->head[in->head_len++] = byte;
        if (in->head_len == 2) in->head_need = header_bytes(in->head);
        if (in->head_len >= 2 && in->head_len == in->head_need) in->payload_left = payload_bytes(in->head);
    }
    if (in->head_len < 2 || in->head_len < in->head_need) return (ssize_t)n;
    bool small_control = (in->head[0] & 0x08) != 0 && in->payload_left + in->control_len <= sizeof in->control_payload;
    if (small_control) {
        if (!take_control(in)) return n > 0 ? (ssize_t)n : would_block(ctx);
        memcpy(to + n, in->control_payload, in->control_len);
        n += in->control_len;
        in->control_len = in->head_len = 0;
        return n > 0 ? (ssize_t)n : would_block(ctx);
    }
    size_t of_payload = (size_t)std::min<uint64_t>(in->payload_left, std::min(room - n, in->left));
    memcpy(to + n, in->data, of_payload);
    in->data += of_payload;
    in->left -= of_payload;
    in->payload_left -= of_payload;
    n += of_payload;
    if (in->payload_left == 0) in->head_len = 0;
    return (ssize_t)n;
}

void on_frame(wslay_event_context_ptr, const wslay_event_on_frame_recv_start_arg *frame, void *user) {
    WsIn *in = (WsIn *)user;
    in->control = frame->opcode >= opcode_close;
    bool ends = in->control ? frame->opcode == opcode_close : frame->fin != 0; // what ends something is told of as that
    if (!ends && in->conn->state == ConnState::socket && net.handlers.frame != nullptr) net.handlers.frame(in->conn);
    if (in->control) return;
    if (frame->opcode == opcode_binary && net.handlers.binary == nullptr) return refuse(in, 1003, "text frames only");
    if (frame->opcode == opcode_text || frame->opcode == opcode_binary) {
        in->open = true;
        in->binary = frame->opcode == opcode_binary;
        in->packed = wslay_get_rsv1(frame->rsv);
        in->fragments = 0;
        in->message.len = 0;
    }
    // The empty frame with which some end a message brings nothing and is not counted.
    if (frame->payload_length != 0 || !frame->fin) in->fragments++;
    if (in->fragments > net.options.fragments_max) return refuse(in, 1009, "too many fragments");
    if (in->message.len + frame->payload_length > net.options.frame_bytes_max) refuse(in, 1009, "message too large");
}

void on_payload(wslay_event_context_ptr, const wslay_event_on_frame_recv_chunk_arg *chunk, void *user) {
    WsIn *in = (WsIn *)user;
    if (!in->control && in->fail == 0) buf_add(in->message, {(const char *)chunk->data, chunk->data_length});
}

void deliver(WsIn *in) {
    Conn *c = in->conn;
    if (c->state != ConnState::socket) return; // after our close frame nothing counts
    std::string_view payload = buf_view(in->message);
    ScopedBuf plain;
    if (in->packed) {
        InflateResult r = inflate_message(payload, net.options.frame_bytes_max, plain);
        if (r == InflateResult::too_large) return refuse(in, 1009, "message too large");
        if (r == InflateResult::no_memory) return refuse(in, 1013, "out of memory");
        if (r == InflateResult::corrupt) return refuse(in, 1007, "not deflated data");
        // wslay could not look at it before.
        if (!in->binary && !utf8_valid(buf_view(plain))) return refuse(in, 1007, "not UTF-8");
        payload = buf_view(plain);
    }
    (in->binary ? net.handlers.binary : net.handlers.text)(c, payload);
}

void on_message(wslay_event_context_ptr, const wslay_event_on_msg_recv_arg *message, void *user) {
    WsIn *in = (WsIn *)user;
    if (in->fail != 0 || in->doomed) return;
    if (message->opcode == opcode_close) {
        // wslay takes half a code for none.
        if (message->msg_length == 1) return refuse(in, 1002, "half a close code");
        in->peer_closed = true;
        in->peer_code = message->status_code;
    } else if (message->opcode == opcode_text || message->opcode == opcode_binary) {
        in->open = false;
        deliver(in);
    }
}

WsIn *spare; // at a boundary, with nothing of anybody in it

WsIn *context_make() {
    constexpr wslay_event_callbacks callbacks = {
        .recv_callback = on_want_bytes,
        .send_callback = nullptr, // frames are fetched with wslay_event_write
        .genmask_callback = nullptr,
        .on_frame_recv_start_callback = on_frame,
        .on_frame_recv_chunk_callback = on_payload,
        .on_frame_recv_end_callback = nullptr,
        .on_msg_recv_callback = on_message,
    };
    WsIn *in = (WsIn *)mem_zero(sizeof *in);
    if (wslay_event_context_server_init(&in->ctx, &callbacks, in) != 0) {
        free(in);
        return nullptr;
    }
    // Messages are gathered here, as they come: wslay would allocate what a header announces, and a chunk for each fragment.
    wslay_event_config_set_no_buffering(in->ctx, 1);
    return in;
}

// Null when there is no memory.
WsIn *begin(Conn *c) {
    WsIn *in = spare != nullptr ? spare : context_make();
    spare = nullptr;
    if (in == nullptr) return nullptr;
    wslay_event_config_set_max_recv_msg_length(in->ctx, std::max<uint64_t>(net.options.frame_bytes_max, 125));
    wslay_event_config_set_allowed_rsv_bits(in->ctx, c->deflates ? WSLAY_RSV1_BIT : WSLAY_RSV_NONE);
    in->conn = c;
    c->ws = in;
    return in;
}

void give_back(WsIn *in) {
    wslay_event_context_free(in->ctx);
    buf_free(in->message);
    free(in);
}

// At a boundary, with nothing queued, wslay's state is that of a new context.
void put_aside(WsIn *in) {
    constexpr size_t kept_max = 4096; // of the room for a message
    if (spare != nullptr || wslay_event_get_queued_msg_count(in->ctx) != 0) return give_back(in);
    Buf message = in->message;
    wslay_event_context_ptr ctx = in->ctx;
    if (message.cap > kept_max) buf_free(message);
    message.len = 0;
    *in = {};
    in->ctx = ctx;
    in->message = message;
    spare = in;
}

// The code of the close frame that wslay has queued for a fault it found; a frame it could not make sense of has none.
uint16_t code_of_wslay(WsIn *in) {
    uint8_t frame[256];
    ssize_t n = wslay_event_write(in->ctx, frame, sizeof frame);
    return n >= 4 && frame[0] == (final_bit | opcode_close) && frame[1] >= 2 ? (uint16_t)(frame[2] << 8 | frame[3]) : 1002;
}

// Queues the close frame (code 0: without one) behind what is queued already.
void close_with(Conn *c, uint16_t code, std::string_view reason, bool hang_up) {
    char frame[2 + 125];
    size_t len = 0;
    if (code != 0) {
        reason = reason.substr(0, 123);
        while (!utf8_valid(reason)) reason.remove_suffix(1); // cut inside a character
        frame[2] = (char)(code >> 8);
        frame[3] = (char)code;
        reason.copy(frame + 4, reason.size());
        len = 2 + reason.size();
    }
    frame[0] = (char)(final_bit | opcode_close);
    frame[1] = (char)len;
    conn_queue_control(c, {frame, (uint32_t)(2 + len)});
    c->hang_up = hang_up;
    conn_enter(c, ConnState::closing);
    conn_tell_closed(c);
    if (c->state == ConnState::closing && conn_flush_private(c)) ws_sent(c);
    conn_resume_soon(c); // it may have been paused
}

const char *sentence_of(uint16_t code) {
    switch (code) {
    case 1007: return "not UTF-8";
    case 1009: return "message too large";
    default: return "protocol error";
    }
}

// wslay reads no more: the peer has closed, or has made a mistake.
void reading_ended(Conn *c, WsIn *in) {
    if (c->state == ConnState::closing) { // and so have we
        c->hang_up = true;
        if (conn_flush_private(c)) ws_sent(c);
        return;
    }
    if (c->state != ConnState::socket) return;
    if (in->fail == 0 && in->peer_closed) return close_with(c, in->peer_code, {}, true);
    uint16_t code = in->fail != 0 ? in->fail : code_of_wslay(in);
    const char *reason = in->fail != 0 ? in->fail_reason : sentence_of(code);
    if (code != 1013) conn_tell_malformed(c, reason); // that one is our fault
    close_with(c, code, reason, true);
}

} // namespace

size_t ws_input(Conn *c, const char *data, size_t len) {
    WsIn *in = c->ws != nullptr ? c->ws : begin(c);
    if (in == nullptr) {
        if (c->state == ConnState::socket) close_with(c, 1013, "out of memory", true);
        return len;
    }
    in->data = data;
    in->left = len;
    in->running = true;
    int r = 0;
    size_t before;
    do {
        before = in->left;
        r = wslay_event_recv(in->ctx);
    } while (r == 0 && wslay_event_get_read_enabled(in->ctx) && in->left > 0 && in->left < before && !in->doomed);
    in->running = false;
    if (in->doomed) {
        give_back(in);
        return len;
    }
    size_t taken = len - in->left;
    if (r != 0 || !wslay_event_get_read_enabled(in->ctx)) {
        reading_ended(c, in);
        return len; // nothing behind it counts
    }
    take_replies(in);
    // Answers of the room to the right wait for the end of the turn, where they leave with its news; a pong does not.
    if (in->replied && c->state == ConnState::socket) conn_flush_private(c);
    in->replied = false;
    if (in->head_len == 0 && !in->open && c->ws == in) {
        c->ws = nullptr;
        put_aside(in);
    }
    return taken;
}

size_t ws_weight(const Conn *c) {
    constexpr size_t wslay_bytes = 9 * 1024; // its context, with a buffer of 4 KiB for what arrives and one for what leaves
    return sizeof *c->ws + wslay_bytes + c->ws->message.cap;
}

void ws_stop() {
    if (spare != nullptr) give_back(spare);
    spare = nullptr;
}

void ws_free(Conn *c) {
    WsIn *in = c->ws;
    if (in == nullptr) return;
    c->ws = nullptr;
    if (in->running) in->doomed = true;
    else give_back(in);
}

uint64_t ws_gathers(const Conn *c) { return c->ws == nullptr ? 0 : c->ws->message.len + c->ws->payload_left; }

bool ws_is_close(char first) { return first == (char)(final_bit | opcode_close); }

void ws_refuse(Conn *c) {
    close_with(c, 1013, "overloaded", true);
    ws_free(c);
    if (c->out != nullptr) return conn_end(c);
    budget_note(c);
}

void ws_ping(Conn *c) {
    constexpr char frame[2] = {(char)(final_bit | opcode_ping), 0};
    conn_queue_control(c, {frame, sizeof frame});
    if (!conn_busy(c)) conn_flush_private(c);
}

void ws_sent(Conn *c) {
    if (c->hang_up || c->eof) conn_hang_up(c);
}

void ws_close(Conn *c, uint16_t code, std::string_view reason) {
    if (c->state == ConnState::socket) close_with(c, code, reason, false);
}

bool ws_deflates(const Conn *c) { return c->packs; }

namespace {

size_t frame_header(char out[ws_header_max], uint8_t opcode, size_t payload_bytes, bool compressed) {
    out[0] = (char)(final_bit | (compressed ? rsv1_bit : 0) | opcode);
    if (payload_bytes < 126) {
        out[1] = (char)payload_bytes;
        return 2;
    }
    size_t wide = payload_bytes < 65536 ? 2 : 8;
    out[1] = (char)(wide == 2 ? 126 : 127);
    for (size_t i = 0; i < wide; i++) out[2 + i] = (char)((uint64_t)payload_bytes >> (8 * (wide - 1 - i)));
    return 2 + wide;
}

void encode_plain(Buf &out, uint8_t opcode, std::string_view payload) {
    char header[ws_header_max];
    size_t n = frame_header(header, opcode, payload.size(), false);
    buf_reserve(out, n + payload.size());
    buf_add(out, {header, n});
    buf_add(out, payload);
}

bool encode_deflated(Buf &out, uint8_t opcode, std::string_view payload) {
    // The header's length depends on the result's, which is known afterwards: room for the longest, then close the gap.
    size_t begin = out.len;
    buf_reserve(out, ws_header_max);
    out.len += ws_header_max;
    if (!deflate_message(payload, out)) {
        out.len = begin;
        return false;
    }
    size_t packed = out.len - begin - ws_header_max;
    char header[ws_header_max];
    size_t n = frame_header(header, opcode, packed, true);
    memcpy(out.data + begin, header, n);
    memmove(out.data + begin + n, out.data + begin + ws_header_max, packed);
    out.len = begin + n + packed;
    return true;
}

bool send_message(Conn *c, uint8_t opcode, std::string_view payload) {
    ScopedBuf frame;
    if (!c->packs || payload.size() < deflate_bytes_min || !encode_deflated(frame, opcode, payload)) encode_plain(frame, opcode, payload);
    return conn_queue(c, {frame.data, (uint32_t)frame.len});
}

} // namespace

size_t ws_text_header(char out[ws_header_max], size_t payload_bytes, bool compressed) {
    return frame_header(out, opcode_text, payload_bytes, compressed);
}
void ws_encode_text(Buf &out, std::string_view payload) { encode_plain(out, opcode_text, payload); }
bool ws_encode_deflated(Buf &out, std::string_view payload) { return encode_deflated(out, opcode_text, payload); }
bool ws_send_text(Conn *c, std::string_view payload) { return send_message(c, opcode_text, payload); }
bool ws_send_binary(Conn *c, std::string_view payload) { return send_message(c, opcode_binary, payload); }
