// ws_echo: the server's own net/ code as an echo, for conformance suites that need one: text comes back as text and binary as
// binary, up to 16 MiB a message in up to 65,536 fragments, without a rate limit, with permessage-deflate.
//   ws_echo [--listen ADDR:PORT] [--deflate on|off]
// Prints the server's line `listening on http://ADDR:PORT` (port 0 picks one), stops on SIGTERM. Every path is a WebSocket.
// What a connection holds: a message that arrives, and of its answers 16 KiB (private_queue_pause_bytes, above which nothing
// more is read) and one message.
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/crypto.h"
#include "greeting.h"
#include "net/conn_internal.h"

namespace {

constexpr size_t message_bytes_max = 16 * 1024 * 1024;
constexpr uint32_t message_fragments_max = 65'536;

uv_loop_t loop;
uv_signal_t signals[2];

void on_request(HttpRequest *r) {
    if (r->upgrade_websocket) return ws_accept(r);
    HttpAnswer answer;
    answer.status = 426;
    answer.type = "text/plain";
    answer.body = "This is a WebSocket.\n";
    answer.headers = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n";
    answer.close = true;
    http_respond(r, answer);
}

void on_text(Conn *c, std::string_view message) {
    if (ws_send_text(c, message)) conn_flush(c, nullptr, 0);
}

void on_binary(Conn *c, std::string_view message) {
    if (ws_send_binary(c, message)) conn_flush(c, nullptr, 0);
}

void on_stop(uv_signal_t *, int) {
    net_stop();
    for (uv_signal_t &s : signals)
        if (!uv_is_closing((uv_handle_t *)&s)) uv_close((uv_handle_t *)&s, nullptr);
}

int usage() {
    fprintf(stderr, "usage: ws_echo [--listen ADDR:PORT] [--deflate on|off]\n");
    return 2;
}

} // namespace

int main(int argc, char **argv) {
    ListenAddress where;
    if (!crypto_start() || !listen_parse("127.0.0.1:0", &where)) return 1;
    ws_set_deflate(DeflateMode::on);
    for (int i = 1; i < argc; i += 2) {
        if (i + 1 == argc) return usage();
        if (strcmp(argv[i], "--listen") == 0) {
            if (!listen_parse(argv[i + 1], &where)) return usage();
        } else if (strcmp(argv[i], "--deflate") == 0) {
            ws_set_deflate(strcmp(argv[i + 1], "off") == 0 ? DeflateMode::off : DeflateMode::on);
        } else {
            return usage();
        }
    }

    NetOptions options;
    options.frame_bytes_max = message_bytes_max;
    options.held_bytes_max = size_t{1} << 30; // of the longest messages, whole and on the way back
    options.fragments_max = message_fragments_max;
    options.private_queue_bytes_max = private_queue_pause_bytes + message_bytes_max + ws_header_max + 128; // 128: pings of ours
    options.connections_per_address_max = options.connections_max;
    CB_ASSERT(uv_loop_init(&loop) == 0);
    net_start(&loop, options,
        {.request = on_request, .text = on_text, .binary = on_binary, .writable = [](Conn *) {}, .closed = [](Conn *) {}});
    int failed = net_listen(where, &where.port);
    if (failed != 0) {
        fprintf(stderr, "ws_echo: cannot listen: %s\n", uv_strerror(failed));
        return 1;
    }
    constexpr int stops[] = {SIGTERM, SIGINT};
    for (int i = 0; i < 2; i++) {
        uv_signal_init(&loop, &signals[i]);
        uv_signal_start(&signals[i], on_stop, stops[i]);
    }
    ScopedBuf place;
    greeting_address(where, place);
    printf("listening on %.*s\n", (int)place.len, place.data);
    fflush(stdout);
    uv_run(&loop, UV_RUN_DEFAULT);
    return uv_loop_close(&loop) == 0 ? 0 : 1;
}
