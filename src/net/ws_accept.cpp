// The handshake's answer (RFC 6455 §4.2.2) and the negotiation of permessage-deflate (RFC 7692 §7.1): every valid offer is taken,
// always without context takeover on both sides, because one deflated frame is shared by all. Owns the mode of --deflate. Loop
// thread only.
#include <string.h>

#include "base/assert.h"
#include "base/crypto.h"
#include "base/metrics.h"
#include "net/conn_internal.h"
#include "net/deflate.h"

namespace {

DeflateMode mode = DeflateMode::automatic;

std::string_view trim(std::string_view s) {
    while (!s.empty() && (s.front() == ' ' || s.front() == '\t')) s.remove_prefix(1);
    while (!s.empty() && (s.back() == ' ' || s.back() == '\t')) s.remove_suffix(1);
    return s;
}

// Cuts the next part off a list; no value here may hold a separator, quoted or not.
std::string_view cut(std::string_view *list, char separator) {
    size_t at = list->find(separator);
    std::string_view part = trim(list->substr(0, at));
    *list = at == std::string_view::npos ? std::string_view() : list->substr(at + 1);
    return part;
}

// "8" to "15", quoted or not, no leading zero. 0: not one.
int window_bits(std::string_view text) {
    if (text.size() >= 2 && text.front() == '"' && text.back() == '"') text = text.substr(1, text.size() - 2);
    if (text == "8" || text == "9") return text[0] - '0';
    return text.size() == 2 && text[0] == '1' && text[1] >= '0' && text[1] <= '5' ? 10 + text[1] - '0' : 0;
}

struct Offer {
    int server_bits = 0; // 0: not asked for
    bool client_bits = false;
    bool server_fresh = false;
    bool client_fresh = false;
};

// A parameter that is unknown, comes twice or has a wrong value makes the whole offer one to decline.
bool offer_parse(std::string_view params, Offer *offer) {
    while (!params.empty()) {
        std::string_view param = cut(&params, ';');
        size_t equals = param.find('=');
        bool has_value = equals != std::string_view::npos;
        std::string_view name = trim(param.substr(0, equals)),
                         value = has_value ? trim(param.substr(equals + 1)) : std::string_view();
        if (name == "server_no_context_takeover" && !has_value && !offer->server_fresh) {
            offer->server_fresh = true;
        } else if (name == "client_no_context_takeover" && !has_value && !offer->client_fresh) {
            offer->client_fresh = true;
        } else if (name == "server_max_window_bits" && offer->server_bits == 0 && window_bits(value) != 0) {
            offer->server_bits = window_bits(value);
        } else if (name == "client_max_window_bits" && !offer->client_bits && (!has_value || window_bits(value) != 0)) {
            offer->client_bits = true; // we inflate with the largest window, so there is nothing to ask for
        } else {
            return false;
        }
    }
    return true;
}

// The first acceptable offer in the order of the client's preference.
bool negotiate(std::string_view offers, Offer *offer) {
    while (!offers.empty()) {
        std::string_view params = cut(&offers, ',');
        bool ends_open = params.ends_with(';'); // "permessage-deflate;" is no offer
        if (cut(&params, ';') != "permessage-deflate" || ends_open) continue;
        *offer = {};
        if (offer_parse(params, offer)) return true;
    }
    return false;
}

bool wanted_for(const Address &client) {
    return mode == DeflateMode::on || (mode == DeflateMode::automatic && !address_is_loopback(client));
}

} // namespace

void ws_set_deflate(DeflateMode m) { mode = m; }

bool ws_negotiate(std::string_view offers, Buf &answer, bool *packs) {
    Offer offer;
    if (!negotiate(offers, &offer)) return false;
    buf_add(answer, "permessage-deflate; server_no_context_takeover; client_no_context_takeover");
    if (offer.server_bits != 0) buf_printf(answer, "; server_max_window_bits=%d", offer.server_bits);
    // Frames are deflated once for all; a peer with a smaller window than ours gets them plain, which it must accept too.
    *packs = offer.server_bits == 0 || offer.server_bits >= deflate_window_bits;
    return true;
}

void ws_accept(HttpRequest *r, bool waits) {
    Conn *c = r->conn;
    CB_ASSERT(r->upgrade_websocket && c->state == ConnState::request);
    if (c->out != nullptr) return conn_end_soon(c);

    ScopedBuf key, offers, extensions;
    buf_add(key, http_header(r, "sec-websocket-key"));
    buf_add(key, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    unsigned char digest[20];
    sha1(buf_view(key), digest);
    bool packs = false;
    if (wanted_for(r->client)) c->deflates = ws_negotiate(http_joined(r, "sec-websocket-extensions", offers), extensions, &packs);
    c->packs = packs;
    c->peer = r->client;

    ScopedBuf out;
    buf_add(out, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ");
    base64_encode(digest, sizeof digest, out);
    if (c->deflates) {
        buf_add(out, "\r\nSec-WebSocket-Extensions: ");
        buf_add(out, buf_view(extensions));
    }
    buf_add(out, "\r\n\r\n");
    http_free(c);

    c->ping_spread = (uint8_t)(c->id * 0x9e3779b97f4a7c15u >> 56); // neighbours far apart: all that a spread needs
    conn_set_authenticated(c);
    net.sockets++;
    metric_add(Metric::sockets_open);
    conn_enter(c, ConnState::socket);
    if (c->sent == nullptr) {
        int bytes = socket_send_buffer_bytes;
        uv_send_buffer_size(&c->handle, &bytes);
    }
    if (waits) buf_add(c->queue, buf_view(out));
    else conn_send(c, buf_view(out));
    budget_note(c); // who waited for its turn is not being read now
    if (!c->pumping && (c->held.len != 0 || c->eof)) conn_resume_soon(c);
}
