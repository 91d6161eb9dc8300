// The API's front door. A request passes, in this order: the host, the route, the session, the origin, the rate, the body; then its handler.
#include "web/api.h"

#include "base/clock.h"
#include "base/crypto.h"
#include "base/metrics.h"
#include "base/unicode.h"
#include "web/audit.h"
#include "web/delay.h"

#include <string.h>

Hub *web_hub;

enum RouteFlag : uint8_t {
    open_to_all = 1,   // no session is needed
    takes_json = 2,    // a JSON object as body
    blocked_too = 4,   // a blocked user may
};

struct Route {
    HttpMethod method;
    const char *pattern; // {id}: digits; {name}: one segment; a final * : the rest
    uint8_t flags;
    void (*handler)(Call *call);
};

static const Route routes[] = {
    {HttpMethod::get, "/", open_to_all, get_chat_page},
    {HttpMethod::get, "/login", open_to_all, get_login_page},
    {HttpMethod::get, "/register", open_to_all, get_register_page},
    {HttpMethod::get, "/assets/*", open_to_all, get_asset},
    {HttpMethod::get, "/healthz", open_to_all, get_health},
    {HttpMethod::get, "/metrics", open_to_all, get_metrics},
    {HttpMethod::get, "/ws", open_to_all, get_socket},
    {HttpMethod::post, "/api/register", open_to_all | takes_json, post_register},
    {HttpMethod::post, "/api/login", open_to_all | takes_json, post_login},
    {HttpMethod::post, "/api/logout", blocked_too, post_logout},
    {HttpMethod::get, "/api/me", 0, get_me},
    {HttpMethod::patch, "/api/me", takes_json, patch_me},
    {HttpMethod::post, "/api/me/password", takes_json, post_password},
    {HttpMethod::get, "/api/me/sessions", 0, get_sessions},
    {HttpMethod::del, "/api/me/sessions/{id}", 0, delete_session},
    {HttpMethod::get, "/api/users", 0, get_users},
    {HttpMethod::get, "/api/rooms", 0, get_rooms},
    {HttpMethod::post, "/api/rooms", takes_json, post_room},
    {HttpMethod::patch, "/api/rooms/{id}", takes_json, patch_room},
    {HttpMethod::get, "/api/rooms/{id}/members", 0, get_members},
    {HttpMethod::post, "/api/rooms/{id}/members", takes_json, post_member},
    {HttpMethod::del, "/api/rooms/{id}/members/{name}", 0, delete_member},
    {HttpMethod::get, "/api/rooms/{id}/messages", 0, get_messages},
};

// --- answers

void answer_json(HttpRequest *r, int status, const Buf &json, std::string_view extra) {
    http_respond(r, {.status = status, .type = "application/json", .body = buf_view(json), .headers = extra});
}

void answer_empty(HttpRequest *r, int status, std::string_view extra) { http_respond(r, {.status = status, .headers = extra}); }

static const char *method_name(HttpMethod m) {
    static const char *const names[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", ""};
    return names[static_cast<int>(m)];
}

// How a request presents a token, if it does; null: it does not. *token may be none that could be one.
static const char *token_of(const HttpRequest *r, bool handshake, SecretBuf &query, std::string_view *token) {
    std::string_view header = http_header(r, "authorization");
    if (header.size() > 7 && strncasecmp(header.data(), "Bearer ", 7) == 0) {
        header.remove_prefix(7);
        while (header.starts_with(' ')) header.remove_prefix(1);
        *token = header;
        return "bearer";
    }
    if (!handshake) return nullptr;
    buf_reserve(query, uuid_chars);
    if (!http_query(r, "token", query)) return nullptr;
    *token = buf_view(query);
    return "query";
}

static const char *cookie_name(const HttpRequest *r) { return r->tls ? "__Host-chatterbox" : "chatterbox"; }

static void note_unknown_token(const HttpRequest *r) {
    SecretBuf query(0);
    std::string_view token;
    size_t at = 0;
    const char *way = token_of(r, r->path == "/ws", query, &token);
    if (!way && http_cookie_next(r, cookie_name(r), &at, &token)) way = "cookie";
    if (way) audit(Audit::token_refused, r->client, {}, "given as %s", way);
}

// Who asked for what others may, or sent a request that another site had made, is a matter for the log. A path holds names and numbers at most.
static void note_refusal(const HttpRequest *r, const User *by, Err err) {
    std::string_view who = by ? by->name : "", path = audit_cut(r->path), origin = audit_cut(http_header(r, "origin")), host = audit_cut(r->host);
    const char *method = method_name(r->method);
    auto bytes = static_cast<int>(path.size());
    if (err == Err::unauthorized) note_unknown_token(r);
    else if (audit_is_forbidden(err)) audit(Audit::forbidden, r->client, who, "%s, %s %.*s", err_info(err).code, method, bytes, path.data());
    else if (err == Err::bad_host) audit(Audit::host_refused, r->client, who, "Host %.*s", static_cast<int>(host.size()), host.data());
    else if (err == Err::bad_origin && !r->origin_present) audit(Audit::origin_refused, r->client, who, "%s %.*s, no Origin", method, bytes, path.data());
    else if (err == Err::bad_origin) audit(Audit::origin_refused, r->client, who, "%s %.*s, Origin %.*s", method, bytes, path.data(), static_cast<int>(origin.size()), origin.data());
}

void answer_error(Call *call, Err err) {
    note_refusal(call->r, call->user, err);
    http_respond_error(call->r, err);
}

void answer_hidden(Call *call, const char *what, int64_t id) {
    audit(Audit::forbidden, call->r->client, call->user->name, "hidden, %s, %s %lld", method_name(call->r->method), what, static_cast<long long>(id));
    answer_error(call, Err::not_found);
}

void answer_write_error(HttpRequest *r, const StoreWrite *w) {
    note_refusal(r, model_user(&web_hub->model, w->by), w->err);
    http_respond_error(r, w->err);
}

void finish_empty(Hub *, StoreWrite *w) {
    HttpRequest *r = http_pending(w->owner_id);
    if (!r) return;
    if (w->err == Err::ok) answer_empty(r, 204);
    else answer_write_error(r, w);
}

void put_cookie(Buf &headers, bool tls, std::string_view token) {
    buf_add(headers, tls ? "Set-Cookie: __Host-chatterbox=" : "Set-Cookie: chatterbox=");
    buf_add(headers, token);
    buf_add(headers, "; Path=/; HttpOnly; SameSite=Strict; Max-Age=");
    buf_add_int(headers, token.empty() ? 0 : web_hub->options.session_life.age_ms_max / 1000);
    buf_add(headers, tls ? "; Secure\r\n" : "\r\n");
}

// Decimal digits, perhaps with a minus. What is beyond all ids counts as that bound: it is a number all the same.
static bool parse_number(std::string_view text, int64_t *out) {
    constexpr int64_t bound = 1LL << 53;
    bool negative = text.size() > 1 && text[0] == '-';
    if (negative) text.remove_prefix(1);
    int64_t n = 0;
    for (char c : text) {
        if (c < '0' || c > '9') return false;
        if (n < bound) n = n * 10 + (c - '0');
    }
    if (n > bound) n = bound;
    *out = negative ? -n : n;
    return !text.empty();
}

static bool query_text(Call *call, const char *name, Buf &out, bool *given) {
    bool is_bad = false;
    *given = http_query(call->r, name, out, &is_bad);
    if (is_bad) answer_error(call, Err::bad_request);
    return !is_bad;
}

bool query_number(Call *call, const char *name, int64_t *out) {
    ScopedBuf text;
    bool given;
    if (!query_text(call, name, text, &given)) return false;
    if (!given || parse_number(buf_view(text), out)) return true;
    answer_error(call, Err::bad_request);
    return false;
}

bool query_folded(Call *call, const char *name, Buf &out) {
    ScopedBuf text;
    bool given;
    if (!query_text(call, name, text, &given)) return false;
    if (!given || unicode_fold_key(buf_view(text), out)) return true;
    answer_error(call, Err::bad_request);
    return false;
}

bool query_limit(Call *call, uint32_t standard, uint32_t max, uint32_t *out) {
    int64_t n = standard;
    if (!query_number(call, "limit", &n)) return false;
    *out = n < 1 ? 1 : n > max ? max : static_cast<uint32_t>(n);
    return true;
}

// --- who is asking (PROTOCOL §2.2)

static Session *who_asks(HttpRequest *r, bool handshake, bool *by_cookie) {
    SecretBuf query(0);
    std::string_view token;
    *by_cookie = false;
    if (token_of(r, handshake, query, &token)) return model_session(&web_hub->model, token, web_hub->options.session_life);
    for (size_t at = 0; http_cookie_next(r, cookie_name(r), &at, &token);)
        if (Session *session = model_session(&web_hub->model, token, web_hub->options.session_life)) {
            *by_cookie = true;
            return session;
        }
    return nullptr;
}

// Over an open socket, that is: for a request it is none any more.
static void end_of_age(const Session *session) {
    StoreWrite *w = hub_write_new(WriteKind::session_end, nullptr);
    w->user = session->user->id;
    w->session_id = session->id;
    hub_submit(web_hub, w, {}, hub_unanswered);
}

void session_touch(Session *session) {
    uint64_t now = clock_ms();
    if ((session->touched_ms && now - session->touched_ms < session_touch_ms) || !clock_is_set()) return;
    session->touched_ms = now;
    if (session_is_too_old(session, web_hub->options.session_life)) return end_of_age(session);
    int64_t wall_ms = clock_wall_ms();
    if (session->created && wall_ms - session->last_used < static_cast<int64_t>(session_touch_ms)) return; // by the server before this one
    session->last_used = wall_ms;
    if (!session->created) session->created = session->last_used;
    StoreWrite *w = hub_write_new(WriteKind::session_touch, nullptr);
    w->user = session->user->id;
    w->session_id = session->id;
    hub_submit(web_hub, w, {}, hub_unanswered);
}

// --- routes

// Matches a path against a pattern and takes out its parts.
static bool matches(const char *pattern, std::string_view path, Call *call) {
    size_t at = 0;
    for (; *pattern; pattern++) {
        if (*pattern == '*') return true;
        if (*pattern != '{') {
            if (at == path.size() || path[at++] != *pattern) return false;
            continue;
        }
        bool number = pattern[1] == 'i';
        while (*pattern != '}') pattern++;
        size_t end = at;
        while (end < path.size() && path[end] != '/') end++;
        std::string_view part = path.substr(at, end - at);
        at = end;
        if (part.empty()) return false;
        if (!number) {
            call->name = part;
            continue;
        }
        if (part.size() > 15) return false;
        call->id = 0;
        for (char c : part) {
            if (c < '0' || c > '9') return false;
            call->id = call->id * 10 + (c - '0');
        }
    }
    return at == path.size();
}

// The route of a request. When the path is known and the method is not, answers 405; when the path is not, 404: then null.
static const Route *find_route(Call *call) {
    HttpMethod wanted = call->r->method == HttpMethod::head ? HttpMethod::get : call->r->method;
    ScopedBuf allow;
    for (const Route &route : routes) {
        if (!matches(route.pattern, call->r->path, call)) continue;
        if (route.method == wanted) return &route;
        buf_add(allow, allow.len ? ", " : "Allow: ");
        buf_add(allow, method_name(route.method));
        if (route.method == HttpMethod::get) buf_add(allow, ", HEAD");
    }
    if (!allow.len) {
        answer_error(call, Err::not_found);
    } else {
        buf_add(allow, "\r\n");
        http_respond_error(call->r, Err::bad_method, nullptr, 0, buf_view(allow));
    }
    return nullptr;
}

static bool is_json(std::string_view type) {
    static constexpr std::string_view json = "application/json";
    if (type.size() < json.size() || strncasecmp(type.data(), json.data(), json.size()) != 0) return false;
    return type.size() == json.size() || type[json.size()] == ';' || type[json.size()] == ' ';
}

// A change needs a matching Origin if it carries one, and proof of the same site if a cookie speaks for it.
static bool origin_allowed(const HttpRequest *r, bool by_cookie) {
    if (r->origin_present) return r->origin_ok;
    return !by_cookie || http_header(r, "sec-fetch-site") == "same-origin";
}

static void dispatch(HttpRequest *r, bool again);

static void heard_again(ConnId id) {
    HttpRequest *r = http_pending(id);
    if (!r) return; // there was no memory for it
    http_put_off(r, false);
    dispatch(r, true);
}

// again: it was over the rate and has waited.
static void dispatch(HttpRequest *r, bool again) {
    Call call = {.r = r, .session = nullptr, .user = nullptr, .by_cookie = false, .body = {}, .id = 0, .name = {}};
    if (!r->host_ok && r->path != "/healthz") return answer_error(&call, Err::bad_host);
    const Route *route = find_route(&call);
    if (!route) return;
    bool handshake = route->handler == get_socket, changes = route->method != HttpMethod::get;
    call.session = who_asks(r, handshake, &call.by_cookie);
    if (call.session) call.user = call.session->user;
    if (handshake && r->origin_present && !r->origin_ok) return answer_error(&call, Err::bad_origin);
    bool speaks = call.by_cookie && !(route->flags & open_to_all); // a login is by its password
    if (changes && !origin_allowed(r, speaks)) return answer_error(&call, Err::bad_origin);
    if (call.session) {
        uint64_t now = clock_ms();
        if (uint32_t wait = bucket_take(call.user->requests, web_hub->options.request_rate, now)) {
            http_put_off(r, true);
            if (!again) audit(Audit::over_the_rate, r->client, call.user->name, "requests");
            return delay_until(r->id, now + wait, heard_again);
        }
        session_touch(call.session);
    }
    if (!(route->flags & open_to_all)) {
        if (!call.session) return answer_error(&call, Err::unauthorized);
        if (call.user->blocked && !(route->flags & blocked_too)) return answer_error(&call, Err::blocked);
    }
    if (changes && !r->body.empty() && !is_json(http_header(r, "content-type"))) return answer_error(&call, Err::bad_type);
    if (route->flags & takes_json) {
        if (r->body.empty() && !is_json(http_header(r, "content-type"))) return answer_error(&call, Err::bad_type);
        call.body = json_parse(r->body);
        if (!call.body) {
            json_forget(); // a comma too many, and a password in it
            return answer_error(&call, Err::bad_json);
        }
    }
    if (call.session) conn_set_authenticated(r->conn);
    route->handler(&call);
}

void api_malformed(const Conn *c, const char *why) { audit(Audit::malformed, conn_peer(c), {}, "%s", why); }

void api_request(HttpRequest *r) {
    metric_add(Metric::http_requests);
    dispatch(r, false);
}

void api_start(Hub *h) { web_hub = h; }
