// WebSockets: scripted frames given whole, byte by byte and cut at every point; every close code; the private queue, pauses and closes in the middle;
// and one real socket on 127.0.0.1 whose reader is slow.
#include "net_world.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "base/metrics.h"
#include "base/unicode.h"

#define HANDSHAKE(extra) \
    "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" extra "\r\n"

// A client's frame, masked.
static void frame(Buf &out, uint8_t first, std::string_view payload) {
    static const unsigned char mask[4] = {0x37, 0xfa, 0x21, 0x3d};
    buf_add_char(out, (char)first);
    if (payload.size() < 126) {
        buf_add_char(out, (char)(0x80 | payload.size()));
    } else if (payload.size() < 65536) {
        buf_add_char(out, (char)(0x80 | 126));
        buf_add_char(out, (char)(payload.size() >> 8));
        buf_add_char(out, (char)payload.size());
    } else {
        buf_add_char(out, (char)(0x80 | 127));
        for (int i = 7; i >= 0; i--) buf_add_char(out, (char)((uint64_t)payload.size() >> (8 * i)));
    }
    buf_add(out, {(const char *)mask, 4});
    for (size_t i = 0; i < payload.size(); i++) buf_add_char(out, (char)(payload[i] ^ mask[i % 4]));
}

// One frame of a script; the notation of a row.
struct F {
    uint8_t first; // 0x81 text, 0x01 text unfinished, 0x80 the last continuation, 0x00 one between, 0x88 close, 0x89 ping, 0x8a pong, 0x82 binary
    std::string_view payload;
};

// "[81 hi][88 1000 why]": what a server's frames say.
static void tell(std::string_view sent, Buf &out) {
    while (sent.size() >= 2) {
        size_t head = 2, len = (unsigned char)sent[1] & 0x7f;
        assert_true((sent[1] & 0x80) == 0); // a server does not mask
        if (len == 126) len = (size_t)(unsigned char)sent[2] << 8 | (unsigned char)sent[3], head = 4;
        else if (len == 127) {
            len = 0, head = 10;
            for (int i = 2; i < 10; i++) len = len << 8 | (unsigned char)sent[i];
        }
        if (sent.size() < head + len) break;
        std::string_view payload = sent.substr(head, len);
        buf_printf(out, "[%02x", (unsigned char)sent[0]);
        if ((unsigned char)sent[0] == 0x88) {
            if (len >= 2) buf_printf(out, " %d", (unsigned char)payload[0] << 8 | (unsigned char)payload[1]);
            assert_true(len < 2 || (len <= 125 && utf8_valid(payload.substr(2))));
        } else {
            buf_add_char(out, ' ');
            buf_add(out, payload.substr(0, 80));
        }
        buf_add_char(out, ']');
        sent.remove_prefix(head + len);
    }
    if (!sent.empty()) buf_printf(out, "(%zu bytes over)", sent.size());
}

static void accept_any(HttpRequest *r) { ws_accept(r); }
static void echo(Conn *c, std::string_view text) {
    ws_send_text(c, text);
    conn_flush(c, nullptr, 0);
}

// An open WebSocket whose handshake's answer has been looked at.
static ConnId open_socket(Buf *sent, const char *handshake = HANDSHAKE(""), const char *peer = "203.0.113.5") {
    world.request = accept_any;
    ConnId id = world_connect(sent, peer);
    world_feed(id, handshake);
    check(has(*sent, "HTTP/1.1 101 Switching Protocols\r\n"), "%.*s", (int)sent->len, sent->data);
    check(has(*sent, "\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "the example of the RFC");
    sent->len = 0;
    world.log.len = 0;
    return id;
}

static void check_every_way(const char *what, const F *frames, size_t count, std::string_view want, const char *handshake = HANDSHAKE("")) {
    ScopedBuf script;
    for (size_t i = 0; i < count; i++) frame(script, frames[i].first, frames[i].payload);
    for (size_t i = 0; i <= script.len + 1; i++) {
        if (i > 300 && i + 20 < script.len && i % 997 != 0) continue; // long ones are not cut everywhere
        ScopedBuf sent, story;
        ConnId id = open_socket(&sent, handshake);
        world.text = echo;
        world_feed(id, buf_view(script), i == 0 ? Way{Way::whole, 0} : i == 1 ? Way{Way::bytes, 0} : Way{Way::cut, i - 1});
        tell(buf_view(sent), story);
        Conn *c = conn_get(id);
        buf_add(story, c == nullptr ? " gone" : c->state == ConnState::draining ? " shut" : c->state == ConnState::closing ? " closing" : " open");
        bool idle = c == nullptr || c->ws == nullptr || c->state != ConnState::socket;
        check(idle || want.find("unfinished") != std::string_view::npos, "%s, way %zu: the loan was not given back", what, i);
        world_disconnect(id);
        size_t closes = 0;
        for (size_t at = buf_view(world.log).find("closed"); at != std::string_view::npos; at = buf_view(world.log).find("closed", at + 1)) closes++;
        check(closes == 1, "%s, way %zu: closed was called %zu times", what, i, closes);
        std::string_view wanted = want.substr(0, want.find(" unfinished"));
        if (buf_view(story) != wanted)
            fail_msg("%s, way %zu:\n  got  %.*s\n  want %.*s", what, i, (int)story.len, story.data, (int)wanted.size(), wanted.data());
    }
}

static const char k125[126] = "12345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345";

static void frames_and_their_answers(void **) {
    struct {
        const char *what;
        F frames[6];
        const char *want;
    } rows[] = {
        {"a message", {{0x81, "hi"}}, "[81 hi] open"},
        {"an empty one", {{0x81, ""}, {0x81, "x"}}, "[81 ][81 x] open"},
        {"in fragments", {{0x01, "a"}, {0x00, ""}, {0x00, "b"}, {0x80, "c"}}, "[81 abc] open"},
        {"a ping between fragments", {{0x01, "a"}, {0x89, "p"}, {0x80, "b"}}, "[8a p][81 ab] open"},
        {"a character across fragments", {{0x01, "\xe2"}, {0x00, "\x82"}, {0x80, "\xac"}}, "[81 \xe2\x82\xac] open"},
        {"fragments without end", {{0x01, "a"}, {0x00, "b"}}, " open unfinished"},
        {"a ping", {{0x89, ""}, {0x89, k125}}, "[8a ][8a 12345678901234567890123456789012345678901234567890123456789012345678901234567890] open"},
        {"pongs nobody asked for", {{0x8a, ""}, {0x8a, "x"}, {0x81, "y"}}, "[81 y] open"},
        {"close", {{0x88, bytes_of("\x03\xe8")}}, "[88 1000] shut"},
        {"close with a reason", {{0x88, bytes_of("\x03\xe9going")}}, "[88 1001] shut"},
        {"close without a code", {{0x88, ""}}, "[88] shut"},
        {"nothing counts behind a close", {{0x88, bytes_of("\x03\xe8")}, {0x81, "late"}, {0x89, ""}}, "[88 1000] shut"},
        {"half a code", {{0x88, "\x03"}}, "[88 1002] shut"},
        {"a reason that is not UTF-8", {{0x88, bytes_of("\x03\xe8\xff")}}, "[88 1007] shut"},
        {"a reason in UTF-8", {{0x88, bytes_of("\x03\xe8\xe2\x82\xac\xe2\x82\xac")}}, "[88 1000] shut"},
        {"a reason cut inside a character", {{0x88, bytes_of("\x03\xe8\xe2\x82")}}, "[88 1007] shut"},
        {"binary", {{0x82, "b"}}, "[88 1003] shut"},
        {"an empty binary message", {{0x82, ""}}, "[88 1003] shut"},
        {"not UTF-8", {{0x81, "a\xff"}}, "[88 1007] shut"},
        {"a surrogate", {{0x81, "\xed\xa0\x80"}}, "[88 1007] shut"},
        {"overlong", {{0x81, "\xc0\xaf"}}, "[88 1007] shut"},
        {"beyond Unicode", {{0x81, "\xf4\x90\x80\x80"}}, "[88 1007] shut"},
        {"a character cut at the end", {{0x81, "\xe2\x82"}}, "[88 1007] shut"},
        {"not UTF-8 in a later fragment", {{0x01, "a"}, {0x00, "\xff"}, {0x80, "b"}}, "[88 1007] shut"},
        {"good ones before a bad one", {{0x81, "a"}, {0x81, "b"}, {0x81, "\xff"}, {0x81, "c"}}, "[81 a][81 b][88 1007] shut"},
        {"RSV1 without agreement", {{0xc1, "x"}}, "[88 1002] shut"},
        {"RSV2", {{0xa1, "x"}}, "[88 1002] shut"},
        {"RSV3 on a ping", {{0x99, ""}}, "[88 1002] shut"},
        {"a continuation of nothing", {{0x80, "x"}}, "[88 1002] shut"},
        {"a message inside a message", {{0x01, "a"}, {0x81, "b"}}, "[88 1002] shut"},
        {"opcode 3", {{0x83, "x"}}, "[88 1002] shut"},
        {"opcode 11", {{0x8b, "x"}}, "[88 1002] shut"},
        {"a ping in fragments", {{0x09, "x"}}, "[88 1002] shut"},
        {"a close in fragments", {{0x08, bytes_of("\x03\xe8")}}, "[88 1002] shut"},
    };
    world_begin();
    for (auto &row : rows) {
        size_t n = 0;
        while (n < 6 && row.frames[n].payload.data() != nullptr) n++;
        check_every_way(row.what, row.frames, n, row.want);
    }
    world_end();
}

static void frames_no_client_may_send(void **) {
    struct {
        const char *what;
        std::string_view bytes;
        const char *want;
    } rows[] = {
        {"not masked", bytes_of("\x81\x02hi"), "[88 1002] shut"},
        {"a length not in its shortest form", bytes_of("\x81\xfe\x00\x02\x00\x00\x00\x00hi"), "[88 1002] shut"},
        {"the same with eight bytes", bytes_of("\x81\xff\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00hi"), "[88 1002] shut"},
        {"a negative length", bytes_of("\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00x"), "[88 1002] shut"},
        {"an enormous length", bytes_of("\x81\xff\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00x"), "[88 1009] shut"},
        {"a ping of 126", bytes_of("\x89\xfe\x00\x7e\x00\x00\x00\x00x"), "[88 1002] shut"},
    };
    world_begin();
    for (auto &row : rows) {
        for (size_t i = 0; i <= row.bytes.size() + 1; i++) {
            ScopedBuf sent, story;
            ConnId id = open_socket(&sent);
            world_feed(id, row.bytes, i == 0 ? Way{Way::whole, 0} : i == 1 ? Way{Way::bytes, 0} : Way{Way::cut, i - 1});
            tell(buf_view(sent), story);
            buf_add(story, conn_get(id)->state == ConnState::draining ? " shut" : " open");
            check_text(buf_view(story), row.want, row.what);
            world_disconnect(id);
            check_text(buf_view(world.log), "closed\n", row.what);
        }
    }
    world_end();
}

static void close_codes(void **) {
    world_begin();
    for (int code = 0; code <= 65535; code = code < 5010 ? code + 1 : code + 1001) {
        bool valid = (code >= 1000 && code <= 1011 && code != 1004 && code != 1005 && code != 1006) || (code >= 3000 && code <= 4999);
        char payload[2] = {(char)(code >> 8), (char)code};
        ScopedBuf script, sent, story;
        frame(script, 0x88, {payload, 2});
        ConnId id = open_socket(&sent);
        world_feed(id, buf_view(script));
        tell(buf_view(sent), story);
        char want[24];
        snprintf(want, sizeof want, "[88 %d]", valid ? code : 1002);
        check_text(buf_view(story), want, "the answer");
        check_text(buf_view(world.log), "closed\n", "once");
        world_disconnect(id);
    }
    world_end();
}

static void sizes_have_bounds(void **) {
    world_begin();
    ScopedBuf big;
    for (size_t i = 0; i < frame_bytes_max + 1; i++) buf_add_char(big, 'b');
    std::string_view whole = buf_view(big).substr(0, frame_bytes_max);
    struct {
        const char *what;
        F frames[3];
        const char *want;
    } rows[] = {
        {"64 KiB", {{0x81, whole}}, "[81 bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb] open"},
        {"a byte more", {{0x81, buf_view(big)}}, "[88 1009] shut"},
        {"64 KiB in fragments", {{0x01, whole.substr(0, 60'000)}, {0x00, ""}, {0x80, whole.substr(60'000)}},
         "[81 bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb] open"},
        {"a byte more in fragments", {{0x01, whole.substr(0, 60'000)}, {0x80, buf_view(big).substr(60'000)}}, "[88 1009] shut"},
    };
    for (auto &row : rows) {
        size_t n = 0;
        while (n < 3 && row.frames[n].payload.data() != nullptr) n++;
        check_every_way(row.what, row.frames, n, row.want);
    }
    for (uint32_t count : {fragments_max, fragments_max + 1}) {
        ScopedBuf script, sent, story;
        for (uint32_t i = 0; i < count; i++) frame(script, i == 0 ? 0x01 : i + 1 == count ? 0x80 : 0x00, "f");
        ConnId id = open_socket(&sent);
        world.text = nullptr;
        world_feed(id, buf_view(script));
        if (count == fragments_max) check_text(buf_view(world.log).substr(0, 12), "text 16384 f", "16,384 fragments");
        tell(buf_view(sent), story);
        check_text(buf_view(story), count == fragments_max ? "" : "[88 1009]", "fragments");
        world_disconnect(id);
    }
    world_end();
}

static void a_socket_is_cheap_when_idle(void **) {
    world_begin();
    ScopedBuf sent, script;
    ConnId id = open_socket(&sent);
    Conn *c = conn_get(id);
    frame(script, 0x81, "hello");
    world_feed(id, buf_view(script).substr(0, 3));
    assert_non_null(c->ws);
    world_feed(id, buf_view(script).substr(3));
    assert_null(c->ws);
    assert_null(c->http);
    assert_null(c->queue.data);
    assert_null(c->held.data);
    assert_true(sizeof(Conn) <= 320 + sizeof(uv_pipe_t) + 8);
    world_end();
}

// --- closing, aborting and pausing from inside the callback

static void ends_inside_the_callback(void **) {
    world_begin();
    ScopedBuf script;
    for (const char *text : {"a", "b", "c"}) frame(script, 0x81, text);
    for (int way = 0; way < 2; way++) {
        ScopedBuf sent, story;
        ConnId id = open_socket(&sent);
        world.text = [](Conn *c, std::string_view text) {
            ws_send_text(c, text);
            if (text == "b") ws_close(c, 4001, "the session has ended");
        };
        world_feed(id, buf_view(script), way == 0 ? Way{Way::whole, 0} : Way{Way::bytes, 0});
        check_text(buf_view(world.log), "text 1 a\ntext 1 b\nclosed\n", "closed by its handler");
        tell(buf_view(sent), story);
        check_text(buf_view(story), "[81 a][81 b][88 4001]", "behind what was queued");
        assert_int_equal((int)conn_get(id)->state, (int)ConnState::closing);
        assert_false(conn_queue(conn_get(id), {"x", 1})); // nothing more
        ScopedBuf reply;
        frame(reply, 0x88, bytes_of("\x0f\xa1"));
        world_feed(id, buf_view(reply));
        assert_int_equal((int)conn_get(id)->state, (int)ConnState::draining);
        world_disconnect(id);

        id = open_socket(&sent);
        world.text = [](Conn *c, std::string_view text) {
            if (text == "b") conn_abort(c);
        };
        world_feed(id, buf_view(script), way == 0 ? Way{Way::whole, 0} : Way{Way::bytes, 0});
        check_text(buf_view(world.log), "text 1 a\ntext 1 b\nclosed\n", "aborted by its handler");
        assert_null(conn_get(id));
    }
    world_end();
}

static void a_pause_holds_what_has_come(void **) {
    world_begin();
    ScopedBuf script, sent;
    for (const char *text : {"a", "b", "c"}) frame(script, 0x81, text);
    frame(script, 0x88, bytes_of("\x03\xe8"));
    ConnId id = open_socket(&sent);
    world.text = [](Conn *c, std::string_view) { conn_pause(c, true); };
    world_feed(id, buf_view(script));
    const char *want[] = {"text 1 a\n", "text 1 a\ntext 1 b\n", "text 1 a\ntext 1 b\ntext 1 c\n", "text 1 a\ntext 1 b\ntext 1 c\nclosed\n"};
    for (const char *w : want) {
        conn_work();
        check_text(buf_view(world.log), w, "one at a time");
        conn_pause(conn_get(id), false);
        check_text(buf_view(world.log), w, "and never before the call returns");
        conn_work();
    }
    check_text(buf_view(world.log), want[3], "the close comes last");
    world_end();
}

static void a_handshake_may_be_followed_at_once(void **) {
    world_begin();
    world.request = accept_any;
    ScopedBuf script, sent;
    buf_add(script, HANDSHAKE(""));
    frame(script, 0x81, "early");
    for (size_t i = 0; i <= script.len; i++) {
        world.log.len = sent.len = 0;
        ConnId id = world_connect(&sent);
        world_feed(id, buf_view(script), i == 0 ? Way{Way::whole, 0} : Way{Way::cut, i});
        check_text(buf_view(world.log), "GET /ws\ntext 5 early\n", "behind the handshake");
        world_disconnect(id);
    }
    world_end();
}

static void a_closing_peer_is_heard_out_but_not_for_ever(void **) {
    world_begin();
    ScopedBuf sent, script;
    ConnId id = open_socket(&sent);
    ws_close(conn_get(id), 1001, "stopping");
    check_text(buf_view(world.log), "closed\n", "at once");
    for (int i = 0; i < 2000; i++) frame(script, 0x81, "still talking");
    world_feed(id, buf_view(script));
    check_text(buf_view(world.log), "closed\n", "nobody listens any more");
    Conn *c = conn_get(id);
    assert_non_null(c);
    c->since_ms -= drain_ms_max;
    deadline_check(c);
    assert_null(conn_get(id));
    world_end();
}

// One time for all of the end: who answers the close at its last moment gets no second one to hang up.
static void the_end_takes_no_longer_in_two_steps(void **) {
    world_begin();
    ScopedBuf sent, script;
    ConnId id = open_socket(&sent);
    ws_close(conn_get(id), 1001, "stopping");
    conn_get(id)->since_ms -= drain_ms_max - 100;
    frame(script, 0x88, "\x03\xe9");
    world_feed(id, buf_view(script));
    Conn *c = conn_get(id);
    assert_non_null(c);
    assert_int_equal((int)c->state, (int)ConnState::draining);
    c->since_ms -= 100;
    deadline_check(c);
    assert_null(conn_get(id));
    world_end();
}

static void long_reasons_are_cut_between_characters(void **) {
    world_begin();
    ScopedBuf sent, reason;
    for (int i = 0; i < 60; i++) buf_add(reason, "\xe2\x82\xac");
    ConnId id = open_socket(&sent);
    ws_close(conn_get(id), 4002, buf_view(reason));
    assert_int_equal(sent.len, 2 + 2 + 123); // 41 whole characters
    assert_true(utf8_valid(buf_view(sent).substr(4)));
    world_end();
}

// --- deflate

#define DEFLATE "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"

static void offers(void **) {
#define FRESH "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
    struct {
        const char *offer, *answer; // null: none
        bool packs;
    } rows[] = {
        {"permessage-deflate", FRESH, true},
        {"permessage-deflate; client_max_window_bits", FRESH, true},
        {"permessage-deflate; client_max_window_bits=8", FRESH, true},
        {" permessage-deflate ;client_max_window_bits = \"12\" ", FRESH, true},
        {"permessage-deflate; server_no_context_takeover; client_no_context_takeover", FRESH, true},
        {"permessage-deflate; server_max_window_bits=15", FRESH "; server_max_window_bits=15", true},
        {"permessage-deflate; server_max_window_bits=13", FRESH "; server_max_window_bits=13", true},
        {"permessage-deflate; server_max_window_bits=8", FRESH "; server_max_window_bits=8", false},
        {"permessage-deflate; server_max_window_bits=7, permessage-deflate", FRESH, true},
        {"x-webkit-deflate-frame, permessage-deflate", FRESH, true},
        {"x-webkit-deflate-frame", nullptr, false},
        {"permessage-deflate; unknown", nullptr, false},
        {"permessage-deflate; server_max_window_bits", nullptr, false},
        {"permessage-deflate; server_max_window_bits=16", nullptr, false},
        {"permessage-deflate; server_max_window_bits=08", nullptr, false},
        {"permessage-deflate; client_max_window_bits=7", nullptr, false},
        {"permessage-deflate; client_max_window_bits=", nullptr, false},
        {"permessage-deflate; client_no_context_takeover=1", nullptr, false},
        {"permessage-deflate; client_no_context_takeover; client_no_context_takeover", nullptr, false},
        {"permessage-deflate; server_max_window_bits=10; server_max_window_bits=10", nullptr, false},
        {"permessage-deflate;", nullptr, false},
        {"permessage-deflate=1", nullptr, false},
        {"", nullptr, false},
        {",,;", nullptr, false},
    };
    for (auto &row : rows) {
        ScopedBuf answer;
        bool packs = false;
        bool taken = ws_negotiate(row.offer, answer, &packs);
        check(taken == (row.answer != nullptr) && (!taken || packs == row.packs), "%s: %d %d", row.offer, taken, packs);
        if (taken) check_text(buf_view(answer), row.answer, row.offer);
    }
}

static void who_gets_deflated_frames(void **) {
    world_begin();
    struct {
        DeflateMode mode;
        const char *peer;
        bool deflates;
    } rows[] = {
        {DeflateMode::automatic, "203.0.113.5", true}, {DeflateMode::automatic, "127.0.0.1", false}, {DeflateMode::on, "127.0.0.1", true},
        {DeflateMode::off, "203.0.113.5", false},
    };
    for (auto &row : rows) {
        ScopedBuf sent;
        world.request = accept_any;
        ws_set_deflate(row.mode);
        ConnId id = world_connect(&sent, row.peer);
        world_feed(id, HANDSHAKE(DEFLATE));
        assert_int_equal(ws_deflates(conn_get(id)), row.deflates);
        assert_int_equal(has(sent, "\r\nSec-WebSocket-Extensions: permessage-deflate; "), row.deflates);
        world_disconnect(id);
    }
    ws_set_deflate(DeflateMode::automatic);
    ScopedBuf sent;
    ConnId id = open_socket(&sent); // who does not ask gets none
    assert_false(ws_deflates(conn_get(id)));
    world_end();
}

static void deflated_messages(void **) {
    world_begin();
    ScopedBuf hello, wide, bad, cut, bomb, zeros, sent, story;
    while (zeros.len < 70'000) buf_add_char(zeros, '0');
    assert_true(deflate_message("hello hello hello hello hello", hello));
    assert_true(deflate_message(buf_view(zeros).substr(0, frame_bytes_max), wide));
    assert_true(deflate_message(buf_view(zeros).substr(0, frame_bytes_max + 1), bomb));
    assert_true(deflate_message("\xff\xfe\xff\xfe\xff\xfe\xff\xfe\xff\xfe\xff\xfe\xff\xfe\xff\xfe", bad));
    std::string_view h = buf_view(hello);
    struct {
        const char *what;
        F frames[3];
        const char *want;
    } rows[] = {
        {"a deflated message", {{0xc1, h}, {0x81, "plain"}, {0xc1, h}}, "[81 hello hello hello hello hello][81 plain][81 hello hello hello hello hello] open"},
        {"in fragments", {{0x41, h.substr(0, 3)}, {0x89, "p"}, {0x80, h.substr(3)}}, "[8a p][81 hello hello hello hello hello] open"},
        {"RSV1 on a later fragment", {{0x41, h.substr(0, 3)}, {0xc0, h.substr(3)}}, "[88 1002] shut"},
        {"RSV1 on a ping", {{0xc9, ""}}, "[88 1002] shut"},
        {"not UTF-8 inside", {{0xc1, buf_view(bad)}}, "[88 1007] shut"},
        {"not deflated", {{0xc1, "\xff\xff\xff"}}, "[88 1007] shut"},
        {"cut short", {{0xc1, h.substr(0, 4)}}, "[88 1007] shut"},
        {"a byte too long inside", {{0xc1, buf_view(bomb)}}, "[88 1009] shut"},
        {"deflated binary", {{0xc2, h}}, "[88 1003] shut"},
    };
    for (auto &row : rows) {
        size_t n = 0;
        while (n < 3 && row.frames[n].payload.data() != nullptr) n++;
        check_every_way(row.what, row.frames, n, row.want, HANDSHAKE(DEFLATE));
    }
    ScopedBuf script;
    ConnId id = open_socket(&sent, HANDSHAKE(DEFLATE));
    frame(script, 0xc1, buf_view(wide));
    world_feed(id, buf_view(script));
    check_text(buf_view(world.log).substr(0, 12), "text 65536 0", "64 KiB inside");
    world_end();
}

static void what_is_sent(void **) {
    world_begin();
    ScopedBuf sent, text, back;
    char header[ws_header_max];
    assert_int_equal(ws_text_header(header, 125, false), 2);
    assert_memory_equal(header, "\x81\x7d", 2);
    assert_int_equal(ws_text_header(header, 126, true), 4);
    assert_memory_equal(header, "\xc1\x7e\x00\x7e", 4);
    assert_int_equal(ws_text_header(header, 65535, false), 4);
    assert_int_equal(ws_text_header(header, 65536, false), 10);
    assert_memory_equal(header, "\x81\x7f\0\0\0\0\0\1\0\0", 10);
    for (int i = 0; i < 50; i++) buf_add(text, "again and ");
    for (bool deflates : {false, true}) {
        sent.len = 0;
        ConnId id = open_socket(&sent, deflates ? HANDSHAKE(DEFLATE) : HANDSHAKE(""));
        Conn *c = conn_get(id);
        assert_true(ws_send_text(c, "short"));
        assert_true(ws_send_text(c, buf_view(text)));
        assert_int_equal(sent.len, 0); // not before the flush
        assert_true(conn_private_bytes(c) > 0 && conn_queued(c) == conn_private_bytes(c));
        Piece shared[2] = {{"\x81\x01x", 3}, {"\x81\x01y", 3}};
        assert_int_equal(conn_flush(c, shared, 2), 2);
        assert_int_equal(conn_private_bytes(c), 0);
        check_text(buf_view(sent).substr(0, 7), "\x81\x05short", "first");
        assert_true(buf_view(sent).ends_with("\x81\x01x\x81\x01y")); // private frames first
        assert_int_equal((unsigned char)sent.data[7], deflates ? 0xc1 : 0x81);
        if (deflates) {
            size_t len = (unsigned char)sent.data[8];
            assert_true(len < 126);
            assert_int_equal((int)inflate_message(buf_view(sent).substr(9, len), 65536, back), (int)InflateResult::ok);
            check_text(buf_view(back), buf_view(text), "deflated");
        }
        world_disconnect(id);
    }
    world_end();
}

static void the_private_queue_has_a_bound(void **) {
    world_begin();
    ScopedBuf sent, page;
    while (page.len < 1000) buf_add_char(page, 'p');
    ConnId id = open_socket(&sent);
    Conn *c = conn_get(id);
    size_t n = 0;
    while (conn_queue(c, {page.data, (uint32_t)page.len})) n++;
    assert_int_equal(n, private_queue_bytes_max / 1000);
    assert_non_null(conn_get(id)); // the caller may still hold it
    check_text(buf_view(world.log), "", "not yet");
    conn_work();
    assert_null(conn_get(id));
    check_text(buf_view(world.log), "closed\n", "then");

    // Over 16 KiB nothing more is read, pings included.
    id = open_socket(&sent);
    c = conn_get(id);
    for (int i = 0; i < 17; i++) conn_queue(c, {page.data, (uint32_t)page.len});
    ScopedBuf script;
    frame(script, 0x81, "later");
    world_feed(id, buf_view(script));
    check_text(buf_view(world.log), "", "not read");
    conn_flush(c, nullptr, 0); // all of it leaves at once: there is no completion to wait for
    conn_work();
    check_text(buf_view(world.log), "text 5 later\n", "read");

    // The same when the answers to what has just come are too many: the rest waits, and goes on when they have left.
    world.log.len = script.len = 0;
    world.text = [](Conn *conn, std::string_view) {
        static char answer[9000];
        conn_queue(conn, {answer, sizeof answer});
    };
    for (int i = 0; i < 6; i++) frame(script, 0x81, "ask");
    world_feed(id, buf_view(script));
    for (const char *want : {"text 3 ask\ntext 3 ask\n", "text 3 ask\ntext 3 ask\ntext 3 ask\ntext 3 ask\n"}) {
        conn_work();
        check_text(buf_view(world.log), want, "two answers are 18,000 bytes");
        conn_flush(c, nullptr, 0);
        conn_work();
    }
    world_end();
}

static void pings_and_silence(void **) {
    world_begin();
    ScopedBuf sent, script;
    ConnId id = open_socket(&sent);
    Conn *c = conn_get(id);
    c->heard_ms -= ping_idle_ms - 1;
    deadline_check(c);
    assert_int_equal(sent.len, 0);
    c->heard_ms -= ping_idle_ms / 4 + 1;
    deadline_check(c);
    check_text(buf_view(sent), bytes_of("\x89\x00"), "a ping");
    deadline_check(c);
    assert_int_equal(sent.len, 2); // one
    frame(script, 0x8a, "");
    world_feed(id, buf_view(script));
    assert_int_equal(c->pinged, 0);
    assert_int_equal(c->heard_ms, uv_now(&world.loop));
    c->heard_ms -= silent_ms_max;
    deadline_check(c);
    assert_null(conn_get(id));
    check_text(buf_view(world.log), "closed\n", "silent for too long");
    world_end();
}

// A slow reader who has not taken its answers is not read until it has, and what it says waits.
static void who_is_not_listened_to_is_not_silent(void **) {
    world_begin();
    ScopedBuf sent, script;
    ConnId id = open_socket(&sent);
    Conn *c = conn_get(id);
    Buf answers;
    buf_reserve(answers, private_queue_pause_bytes + 1);
    memset(answers.data, 'x', private_queue_pause_bytes + 1);
    assert_true(conn_queue(c, {answers.data, private_queue_pause_bytes + 1}));
    buf_free(answers);
    frame(script, 0x8a, "");
    world_feed(id, buf_view(script));
    assert_int_equal(c->held.len, script.len);
    c->pinged = true; // meanwhile
    c->heard_ms -= silent_ms_max;
    deadline_check(c);
    assert_non_null(conn_get(id));
    conn_flush(c, nullptr, 0);
    conn_work();
    assert_int_equal(c->held.len, 0);
    deadline_check(c); // what has come in the meantime is in the kernel
    assert_non_null(conn_get(id));
    c->heard_ms -= silent_ms_max;
    deadline_check(c);
    assert_null(conn_get(id));
    world_end();
}

// After a pause of the machine a client's pong may lie in the kernel, unread.
static void who_answered_while_the_loop_stood_still_is_not_silent(void **) {
    world_begin();
    ScopedBuf sent;
    ConnId id = open_socket(&sent);
    Conn *c = conn_get(id);
    c->pinged = true;
    c->heard_ms -= silent_ms_max;
    net.ticked_ms -= silent_ms_max;
    deadline_tick();
    deadline_check(c);
    assert_non_null(conn_get(id));
    net.deaf_ms -= silent_ms_max;
    deadline_check(c);
    assert_null(conn_get(id));
    world_end();
}

static void pings_are_spread(void **) {
    NetOptions options;
    options.connections_max = 1600;
    world_begin(options);
    ScopedBuf sent;
    for (int i = 0; i < 1500; i++) {
        Conn *c = conn_get(open_socket(&sent, HANDSHAKE(""), "127.0.0.1"));
        c->heard_ms -= ping_idle_ms * 2;
        deadline_arm(c, 0);
    }
    for (uint32_t turn = 1; turn <= 3; turn++) {
        sent.len = 0;
        deadline_tick();
        assert_int_equal(sent.len, 2 * pings_per_turn_max);
    }
    sent.len = 0;
    deadline_tick();
    assert_int_equal(sent.len, 0);
    world_end();
}

// --- a real socket

static int client;
static uint32_t frames_begun, frames_made;
static ConnId reader;

static void flush_more(Conn *c) {
    // Frames of 1,000 bytes whose number is in them, as many as it takes.
    while (frames_made < 3000 && !conn_busy(c)) {
        ScopedBuf frames[16];
        Piece pieces[16];
        for (uint32_t i = 0; i < 16; i++) {
            char payload[1000];
            memset(payload, 'x', sizeof payload);
            snprintf(payload, sizeof payload, "%08u", frames_made + i);
            ws_encode_text(frames[i], {payload, sizeof payload});
            pieces[i] = {frames[i].data, (uint32_t)frames[i].len};
        }
        if (frames_begun % 10 == 0) ws_send_text(c, "private");
        size_t taken = conn_flush(c, pieces, 16);
        frames_made += (uint32_t)taken;
        frames_begun++;
        assert_true(taken > 0 || conn_busy(c));
        if (taken < 16) assert_true(conn_busy(c));
    }
}

static void a_slow_reader_gets_every_byte_in_order(void **) {
    world_begin();
    ListenAddress where;
    uint16_t port = 0;
    assert_true(listen_parse("127.0.0.1:0", &where));
    assert_int_equal(net_listen(where, &port), 0);
    assert_true(port != 0);
    client = socket(AF_INET, SOCK_STREAM, 0);
    int small = 4096;
    setsockopt(client, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    sockaddr_in sa = {};
    sa.sin_family = AF_INET;
    sa.sin_port = htons(port);
    inet_pton(AF_INET, "127.0.0.1", &sa.sin_addr);
    assert_int_equal(connect(client, (sockaddr *)&sa, sizeof sa), 0);
    fcntl(client, F_SETFL, O_NONBLOCK);
    world.request = [](HttpRequest *r) {
        reader = r->id;
        ws_accept(r);
    };
    assert_true(write(client, HANDSHAKE(""), strlen(HANDSHAKE(""))) > 0);
    ScopedBuf got;
    char chunk[3000];
    uint32_t writables = 0;
    reader = 0;
    frames_made = 0;
    for (int turn = 0; turn < 200'000 && (frames_made < 3000 || got.len < 3'000'000); turn++) {
        uv_run(&world.loop, UV_RUN_NOWAIT);
        Conn *c = conn_get(reader);
        if (c != nullptr && frames_made == 0) flush_more(c);
        if (has(world.log, "writable")) {
            writables++;
            world.log.len = 0;
            flush_more(c);
        }
        assert_true(c == nullptr || conn_queued(c) <= private_queue_bytes_max + 1004);
        ssize_t n = read(client, chunk, sizeof chunk);
        if (n > 0) buf_add(got, {chunk, (size_t)n});
    }
    assert_true(writables > 5); // it was slow indeed
    for (int turn = 0; turn < 1000; turn++) {
        uv_run(&world.loop, UV_RUN_NOWAIT);
        ssize_t n = read(client, chunk, sizeof chunk);
        if (n > 0) buf_add(got, {chunk, (size_t)n});
    }
    std::string_view rest = buf_view(got);
    rest.remove_prefix(rest.find("\r\n\r\n") + 4);
    uint32_t next = 0, privates = 0;
    while (rest.size() >= 2) {
        if (rest.starts_with("\x81\x07private")) {
            rest.remove_prefix(9);
            privates++;
            continue;
        }
        char want[9];
        snprintf(want, sizeof want, "%08u", next);
        check(rest.starts_with("\x81\x7e\x03\xe8") && rest.substr(4, 8) == want, "frame %u is %.8s", next, rest.data() + 4);
        rest.remove_prefix(1004);
        next++;
    }
    assert_int_equal(next, frames_made);
    assert_true(next >= 3000 && privates > 10);

    // The peer goes; that is noticed.
    close(client);
    world.log.len = 0;
    for (int turn = 0; turn < 1000 && !has(world.log, "closed"); turn++) uv_run(&world.loop, UV_RUN_NOWAIT);
    check_text(buf_view(world.log), "closed\n", "gone");
    assert_int_equal(net_connections(), 0);
    world_end();
}

static void who_takes_nothing_is_let_go(void **) {
    NetOptions options;
    options.stuck_ms_max = 50;
    world_begin(options);
    ListenAddress where;
    uint16_t port = 0;
    listen_parse("127.0.0.1:0", &where);
    assert_int_equal(net_listen(where, &port), 0);
    client = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in sa = {};
    sa.sin_family = AF_INET;
    sa.sin_port = htons(port);
    inet_pton(AF_INET, "127.0.0.1", &sa.sin_addr);
    assert_int_equal(connect(client, (sockaddr *)&sa, sizeof sa), 0);
    world.request = [](HttpRequest *r) {
        reader = r->id;
        ws_accept(r);
    };
    assert_true(write(client, HANDSHAKE(""), strlen(HANDSHAKE(""))) > 0);
    reader = 0;
    while (conn_get(reader) == nullptr) uv_run(&world.loop, UV_RUN_ONCE);
    ScopedBuf big;
    while (big.len < 100'000) buf_add_char(big, 'b');
    Conn *c = conn_get(reader);
    for (int i = 0; i < 200 && !conn_busy(c); i++) {
        ScopedBuf f;
        ws_encode_text(f, buf_view(big));
        Piece p = {f.data, (uint32_t)f.len};
        conn_flush(c, &p, 1);
    }
    assert_true(conn_busy(c));
    Piece more = {"\x81\x01x", 3};
    assert_int_equal(conn_flush(c, &more, 1), 0);
    deadline_check(c);
    assert_false(has(world.log, "closed"));
    usleep(60'000);
    uv_update_time(&world.loop);
    deadline_check(c);
    assert_true(has(world.log, "closed"));
    assert_int_equal((int)c->state, (int)ConnState::closing);
    close(client);
    world_end();
}

int main() {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_and_their_answers),
        cmocka_unit_test(frames_no_client_may_send),
        cmocka_unit_test(close_codes),
        cmocka_unit_test(sizes_have_bounds),
        cmocka_unit_test(a_socket_is_cheap_when_idle),
        cmocka_unit_test(ends_inside_the_callback),
        cmocka_unit_test(a_pause_holds_what_has_come),
        cmocka_unit_test(a_handshake_may_be_followed_at_once),
        cmocka_unit_test(a_closing_peer_is_heard_out_but_not_for_ever),
        cmocka_unit_test(the_end_takes_no_longer_in_two_steps),
        cmocka_unit_test(long_reasons_are_cut_between_characters),
        cmocka_unit_test(offers),
        cmocka_unit_test(who_gets_deflated_frames),
        cmocka_unit_test(deflated_messages),
        cmocka_unit_test(what_is_sent),
        cmocka_unit_test(the_private_queue_has_a_bound),
        cmocka_unit_test(pings_and_silence),
        cmocka_unit_test(who_is_not_listened_to_is_not_silent),
        cmocka_unit_test(who_answered_while_the_loop_stood_still_is_not_silent),
        cmocka_unit_test(pings_are_spread),
        cmocka_unit_test(a_slow_reader_gets_every_byte_in_order),
        cmocka_unit_test(who_takes_nothing_is_let_go),
    };
    return cmocka_run_group_tests_name("ws", tests, nullptr, nullptr);
}
