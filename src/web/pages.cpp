// Pages, assets, health, metrics, and the way into the WebSocket.
#include "base/metrics.h"
#include "net/assets.h"
#include "web/api.h"
#include "web/socket.h"

static void redirect(HttpRequest *r, std::string_view where) {
    ScopedBuf line;
    buf_add(line, "Location: ");
    buf_add(line, where);
    buf_add(line, "\r\n");
    answer_empty(r, 302, buf_view(line));
}

void get_chat_page(Call *call) {
    if (call->session) assets_respond_page(call->r, "index.html");
    else redirect(call->r, "/login");
}

void get_login_page(Call *call) {
    if (call->session) redirect(call->r, "/");
    else assets_respond_page(call->r, "login.html");
}

void get_register_page(Call *call) {
    if (call->session) redirect(call->r, "/");
    else assets_respond_page(call->r, "register.html");
}

void get_asset(Call *call) { assets_respond(call->r); }

static void health_known(StoreRead *read) {
    if (HttpRequest *r = http_pending(read->owner_id)) {
        if (read->err == Err::ok) http_respond(r, {.status = 200, .type = "text/plain; charset=utf-8", .body = "ok\n"});
        else http_respond_error(r, Err::unavailable, "The store does not answer.");
    }
    store_read_free(read);
}

void get_health(Call *call) {
    StoreRead *read = store_read_new(ReadKind::health);
    read->owner_id = call->r->id;
    read->done = health_known;
    if (store_read(web_hub->store, read)) return;
    store_read_free(read);
    http_respond_error(call->r, Err::unavailable, "The store does not answer.");
}

void get_metrics(Call *call) {
    HttpRequest *r = call->r;
    bool proxied = http_has_header(r, "forwarded") || http_has_header(r, "x-forwarded-for") || http_has_header(r, "via");
    const Address &peer = conn_peer(r->conn);
    bool local = address_is_loopback(peer) && !peer.is_unix && !proxied; // a Unix socket is there for a proxy, whatever headers that sends
    bool admin = call->user && call->user->role == Role::admin && !call->user->blocked;
    if (!local && !admin) return answer_error(call, call->user ? Err::forbidden : Err::unauthorized);
    metric_set(Metric::users_online, web_hub->model.online_count);
    ScopedBuf text;
    metrics_print(text);
    http_respond(r, {.status = 200, .type = "text/plain; version=0.0.4; charset=utf-8", .body = buf_view(text)});
}

void get_socket(Call *call) {
    HttpRequest *r = call->r;
    if (!call->session) return answer_error(call, Err::unauthorized);
    if (call->user->blocked) return answer_error(call, Err::blocked);
    if (!r->upgrade_websocket && http_has_header(r, "upgrade") && http_header(r, "sec-websocket-version") == "13") return answer_error(call, Err::bad_request);
    if (!r->upgrade_websocket)
        return http_respond(r, {.status = 426,
                                .type = "application/json",
                                .body = "{\"error\":\"bad_request\",\"message\":\"Open this address as a WebSocket (RFC 6455, version 13).\"}",
                                .headers = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"});
    int64_t since = -1, max = resume_max_none;
    if (!query_number(call, "since", &since) || !query_number(call, "max", &max)) return;
    if (max < 0) max = 0;
    if (max > resume_max_counted) max = resume_max_none;
    ScopedBuf epoch;
    (void)http_query(r, "epoch", epoch);
    socket_open(r, call->session, since >= 0, since, buf_view(epoch), static_cast<uint32_t>(max));
}
