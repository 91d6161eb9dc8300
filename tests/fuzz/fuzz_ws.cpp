// libFuzzer: any bytes as WebSocket frames, with and without deflate. Promises: no crash, messages handed out are valid UTF-8 within the limit, what is
// sent is well-formed frames with a close at their end and nowhere else, `closed` is called once, and how the bytes were cut makes no difference.
#include <algorithm>

#include "net_fuzz.h"

#define HANDSHAKE(extra) \
    "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" extra "\r\n"

static void request(HttpRequest *r) { ws_accept(r); }

static void text(Conn *c, std::string_view message) {
    CB_ASSERT(utf8_valid(message) && message.size() <= frame_bytes_max);
    buf_add(fuzz_story, message);
    buf_add(fuzz_story, "\n");
    if (message == "close") return ws_close(c, 4001, "as you wish");
    if (message == "abort") return conn_abort(c);
    if (message == "pause") { // and go on in the next turn
        conn_pause(c, true);
        conn_pause(c, false);
    }
    if (message.size() < 1000) ws_send_text(c, message);
    conn_flush(c, nullptr, 0);
}

static void check_frames(std::string_view sent) {
    size_t end = sent.find("\r\n\r\n");
    CB_ASSERT(sent.starts_with("HTTP/1.1 101 ") && end != std::string_view::npos);
    sent.remove_prefix(end + 4);
    bool closed = false;
    while (!sent.empty()) {
        CB_ASSERT(!closed && sent.size() >= 2 && ((unsigned char)sent[0] & 0xb0) == 0x80 && (sent[1] & 0x80) == 0);
        size_t head = 2, len = (unsigned char)sent[1];
        if (len == 126) head = 4, len = (size_t)(unsigned char)sent[2] << 8 | (unsigned char)sent[3];
        CB_ASSERT(len < 65536 && sent.size() >= head + len);
        uint8_t opcode = sent[0] & 0x0f;
        CB_ASSERT(opcode == 1 || opcode == 8 || opcode == 10);
        closed = opcode == 8;
        if (closed && len > 0) {
            uint32_t code = (uint32_t)(unsigned char)sent[2] << 8 | (unsigned char)sent[3];
            CB_ASSERT(len >= 2 && utf8_valid(sent.substr(4, len - 2)));
            CB_ASSERT(code >= 1000 && code < 5000 && code != 1004 && code != 1005 && code != 1006 && code != 1015);
        }
        sent.remove_prefix(head + len);
    }
}

constexpr std::string_view no_mask("\0\0\0\0", 4);

// Frames from two bytes and a payload each, masked with zeros: so that the fuzzer need not find out about masks and long lengths.
static void frames_of(std::string_view input, Buf &out) {
    while (input.size() >= 2) {
        uint8_t first = (uint8_t)input[0], second = (uint8_t)input[1];
        input.remove_prefix(2);
        size_t len = std::min<size_t>(second & 0x7f, input.size());
        buf_add_char(out, (char)first);
        if ((second & 0x80) != 0 && len > 0) { // a longer one: the payload again and again
            size_t times = 1 + (uint8_t)input[0], total = times * len;
            if (total > 125) {
                buf_add_char(out, (char)0xfe);
                buf_add_char(out, (char)(total >> 8));
                buf_add_char(out, (char)total);
            } else {
                buf_add_char(out, (char)(0x80 | total));
            }
            buf_add(out, no_mask);
            for (size_t i = 0; i < times; i++) buf_add(out, input.substr(0, len));
        } else {
            buf_add_char(out, (char)(0x80 | len));
            if (len > 125) buf_add(out, std::string_view("\0\x7e", 2));
            buf_add(out, no_mask);
            buf_add(out, input.substr(0, len));
        }
        input.remove_prefix(len);
    }
    buf_add(out, input);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static bool started = (fuzz_start(request, text), true);
    if (!started || size < 2) return 0;
    std::string_view input((const char *)data + 2, size - 2);
    ScopedBuf script;
    if (data[1] & 2) buf_add(script, input);
    else frames_of(input, script);
    std::string_view handshake = data[1] & 1 ? HANDSHAKE("Sec-WebSocket-Extensions: permessage-deflate\r\n") : HANDSHAKE("");
    ScopedBuf sent, whole;
    fuzz_live(handshake, buf_view(script), 0, sent);
    check_frames(buf_view(sent));
    buf_add(whole, buf_view(fuzz_story));
    size_t at = buf_view(whole).find("closed\n");
    CB_ASSERT(at != std::string_view::npos || buf_view(whole).find("state 5\n") != std::string_view::npos);
    for (size_t step : {(size_t)1, (size_t)data[0] + 2}) {
        ScopedBuf again;
        fuzz_live(handshake, buf_view(script), step, again);
        check_frames(buf_view(again));
        fuzz_same(whole, fuzz_story, "the story", step);
        fuzz_same(sent, again, "what was sent", step);
    }
    return 0;
}
