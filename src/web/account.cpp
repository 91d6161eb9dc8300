// Accounts: registering, logging in and out, oneself, one's sessions, and who else there is.
#include "base/clock.h"
#include "base/crypto.h"
#include "base/unicode.h"
#include "chat/protocol.h"
#include "chat/rules.h"
#include "web/api.h"
#include "web/audit.h"

#include <algorithm>
#include <stdlib.h>
#include <string.h>

constexpr size_t agent_bytes_max = 200;
constexpr size_t own_json_bytes = 4096;   // one's own profile and a token: names and the status are 1 KiB at most
constexpr size_t cookie_line_bytes = 256;

// --- registering and logging in

static void put_user(Buf &json, const User *user, Eyes eyes) {
    JsonWriter w{.out = &json};
    json_begin(w, '{');
    json_key(w, "user");
    protocol_user(w, user, eyes);
    json_end(w, '}');
}

static Address address_of(std::string_view printed) {
    Address a;
    a.is_unix = !address_parse(printed, &a);
    return a;
}

// A name is told when somebody has it: who types a password into the wrong field does not find it in the log.
static std::string_view known_name(const AuthTask *t) {
    const User *user = t->kind == AuthKind::registration && !t->user_id ? nullptr : model_user_by_name(&web_hub->model, t->name);
    return user ? user->name : std::string_view{};
}

static void note_grant(const AuthTask *t, const Address &from, std::string_view who) {
    switch (t->kind) {
    case AuthKind::registration: return audit(Audit::registration, from, who, t->has_invite ? "an administrator, by invitation" : "registration is open");
    case AuthKind::login: return audit(Audit::login, from, who, "session %lld", static_cast<long long>(t->session->id));
    case AuthKind::password: return audit(Audit::password, from, who, "the old one was given; other sessions end");
    }
}

static void note_attempt(const AuthTask *t) {
    static constexpr Audit refused[] = {Audit::registration_refused, Audit::login_refused, Audit::password_refused};
    Address from = address_of(t->address);
    std::string_view who = known_name(t);
    bool is_made = t->kind == AuthKind::registration && t->user_id; // though the session may have failed
    switch (is_made ? Err::ok : t->err) {
    case Err::ok: return note_grant(t, from, who);
    case Err::bad_credentials:
    case Err::blocked:
    case Err::bad_invite:
    case Err::registration_closed: return audit(refused[static_cast<int>(t->kind)], from, who, "%s", err_info(t->err).code);
    case Err::rate_limited: return audit(Audit::login_limit, from, who, "for %u s", t->retry_after_s);
    default: return; // a form filled in badly, or a fault of ours, which has its own line
    }
}

static void note_end(Hub *h, const StoreWrite *w, Audit what) {
    if (w->err == Err::ok) audit(what, address_of(w->address), model_user(&h->model, w->user)->name, "session %lld", static_cast<long long>(w->session_id));
}

static void former_ended(Hub *h, StoreWrite *w) { note_end(h, w, Audit::session_end); }

// A browser has one session of a person: with the new cookie it loses the token of the one before, which somebody else may have. Another person's is not touched.
static void end_former(const AuthTask *t) {
    if (!t->former_session || !model_session_of(t->user, t->former_session)) return;
    StoreWrite *w = hub_write_new(WriteKind::session_end, t->user);
    w->user = t->user->id;
    w->session_id = t->former_session;
    w->address = arena_copy(w->arena, t->address);
    hub_submit(web_hub, w, {}, former_ended);
}

static void answer_attempt(HttpRequest *r, const AuthTask *t) { http_respond_error(r, t->err, nullptr, t->retry_after_s); }

static void logged_in(AuthTask *t) {
    note_attempt(t);
    HttpRequest *r = http_pending(t->owner_id);
    if (!r) return;
    if (t->err != Err::ok) return answer_attempt(r, t);
    end_former(t);
    const SessionLife &life = web_hub->options.session_life;
    SecretBuf json(own_json_bytes), cookie(cookie_line_bytes);
    JsonWriter w{.out = &json};
    json_begin(w, '{');
    json_field(w, "token", t->token);
    json_field_int(w, "expires", t->session->created + std::min(life.unused_ms_max, life.age_ms_max));
    json_key(w, "user");
    protocol_user(w, t->user, Eyes::own);
    json_end(w, '}');
    put_cookie(cookie, r->tls, t->token);
    conn_set_authenticated(r->conn);
    answer_json(r, t->kind == AuthKind::registration ? 201 : 200, json, buf_view(cookie));
}

static AuthTask *attempt(Call *call, AuthKind kind, void (*done)(AuthTask *t)) {
    AuthTask *t = auth_new(kind);
    t->owner_id = call->r->id;
    t->done = done;
    ScopedBuf address;
    address_print(call->r->client, address);
    t->address = arena_copy(t->arena, buf_view(address));
    Address group = address_limit_group(call->r->client);
    t->address_group = arena_copy(t->arena, {reinterpret_cast<const char *>(group.bytes), sizeof group.bytes});
    std::string_view agent = http_header(call->r, "user-agent");
    if (agent.size() > agent_bytes_max) {
        size_t end = agent_bytes_max;
        while (end > 0 && (static_cast<unsigned char>(agent[end]) & 0xc0) == 0x80) end--; // not inside a character, or it would be no UTF-8 at all
        agent = agent.substr(0, end);
    }
    if (utf8_valid(agent)) t->agent = arena_copy(t->arena, agent);
    return t;
}

static void enter(Call *call, AuthKind kind) {
    std::string_view name, password, invite;
    JsonRef invited = json_get(call->body, "invite");
    bool has_invite = invited && !json_is_null(invited);
    if (!json_string(json_get(call->body, "username"), &name) || !json_string(json_get(call->body, "password"), &password) ||
        (has_invite && !json_string(invited, &invite))) {
        json_forget();
        return answer_error(call, Err::bad_request);
    }
    AuthTask *t = attempt(call, kind, logged_in);
    t->name = arena_copy(t->arena, name);
    t->password = arena_copy(t->arena, password);
    t->invite = arena_copy(t->arena, invite);
    t->has_invite = has_invite && !invite.empty();
    if (call->by_cookie) t->former_session = call->session->id;
    json_forget();
    http_forget_body(call->r);
    auth_begin(t);
}

void post_register(Call *call) { enter(call, AuthKind::registration); }
void post_login(Call *call) { enter(call, AuthKind::login); }

static void logged_out(Hub *h, StoreWrite *w) {
    note_end(h, w, Audit::logout);
    HttpRequest *r = http_pending(w->owner_id);
    if (!r) return;
    if (w->err != Err::ok && w->err != Err::not_found) return answer_write_error(r, w);
    ScopedBuf cookie;
    put_cookie(cookie, r->tls, {});
    answer_empty(r, 204, buf_view(cookie));
}

static void end_session(Call *call, int64_t session, HubFinish finish) {
    StoreWrite *w = hub_write_new(WriteKind::session_end, call->user);
    ScopedBuf address;
    address_print(call->r->client, address);
    w->address = arena_copy(w->arena, buf_view(address)); // for the log, when it is done
    w->user = call->user->id;
    w->session_id = session;
    hub_submit(web_hub, w, {.id = call->r->id}, finish);
}

void post_logout(Call *call) { end_session(call, call->session->id, logged_out); }

// --- oneself

void get_me(Call *call) {
    ScopedBuf json;
    JsonWriter w{.out = &json};
    json_begin(w, '{');
    json_key(w, "user");
    protocol_user(w, call->user, Eyes::own);
    json_field(w, "epoch", store_epoch(web_hub->store));
    json_field_int(w, "rev", hub_rev(web_hub));
    json_key(w, "limits");
    protocol_limits(w, web_hub->options.text_chars_max, web_hub->options.frame_bytes_max);
    json_end(w, '}');
    answer_json(call->r, 200, json);
}

static void profile_changed(Hub *h, StoreWrite *w) {
    HttpRequest *r = http_pending(w->owner_id);
    if (!r) return;
    if (w->err != Err::ok) return answer_write_error(r, w);
    ScopedBuf json;
    put_user(json, model_user(&h->model, w->user), Eyes::own);
    answer_json(r, 200, json);
}

// An optional text field: cleaned by its rule, free of stop words, copied into the write.
static Err take_text(Call *call, const char *field, Err (*rule)(std::string_view, Buf *), StoreWrite *w, std::string_view *out, bool *has) {
    JsonRef v = json_get(call->body, field);
    if (!v) return Err::ok;
    std::string_view text;
    if (!json_string(v, &text)) return Err::bad_request;
    ScopedBuf clean;
    if (Err err = rule(text, &clean); err != Err::ok) return err;
    if (Err err = hub_check_words(web_hub, buf_view(clean)); err != Err::ok) return err;
    *out = arena_copy(w->arena, buf_view(clean));
    *has = true;
    return Err::ok;
}

// An empty one goes back to the username.
static Err display_name_or_none(std::string_view name, Buf *clean) { return name.empty() ? Err::ok : rules_display_name(name, clean); }

void patch_me(Call *call) {
    StoreWrite *w = hub_write_new(WriteKind::user_profile, call->user);
    w->user = call->user->id;
    Err err = take_text(call, "display_name", display_name_or_none, w, &w->display_name, &w->has_display_name);
    if (err == Err::ok) err = take_text(call, "status", rules_status, w, &w->status, &w->has_status);
    if (err == Err::ok && (w->has_display_name || w->has_status)) return hub_submit(web_hub, w, {.id = call->r->id}, profile_changed);
    store_write_free(w);
    if (err != Err::ok) return answer_error(call, err);
    ScopedBuf json;
    put_user(json, call->user, Eyes::own); // nothing to change is no mistake
    answer_json(call->r, 200, json);
}

static void password_changed(AuthTask *t) {
    note_attempt(t);
    HttpRequest *r = http_pending(t->owner_id);
    if (!r) return;
    if (t->err == Err::ok) answer_empty(r, 204);
    else answer_attempt(r, t);
}

void post_password(Call *call) {
    std::string_view old_password, new_password;
    if (!json_string(json_get(call->body, "old"), &old_password) || !json_string(json_get(call->body, "new"), &new_password)) {
        json_forget();
        return answer_error(call, Err::bad_request);
    }
    AuthTask *t = attempt(call, AuthKind::password, password_changed);
    t->user = call->user;
    t->name = arena_copy(t->arena, call->user->name);
    t->keep_session = call->session->id;
    t->password = arena_copy(t->arena, old_password);
    t->new_password = arena_copy(t->arena, new_password);
    json_forget();
    http_forget_body(call->r);
    auth_begin(t);
}

// --- sessions

static void sessions_known(StoreRead *read) {
    HttpRequest *r = http_pending(read->owner_id);
    if (r && read->err != Err::ok) {
        http_respond_error(r, read->err);
    } else if (r) {
        ScopedBuf json;
        JsonWriter w{.out = &json};
        json_begin(w, '{');
        json_key(w, "sessions");
        json_begin(w, '[');
        const User *user = model_user(&web_hub->model, read->user);
        for (uint32_t i = 0; i < read->sessions_count; i++) {
            const SessionRow &s = read->sessions[i];
            const Session *session = model_session_of(user, s.id);
            if (!session || session_is_over(session, web_hub->options.session_life)) continue; // its row may outlive it
            json_begin(w, '{');
            json_field_int(w, "id", s.id);
            json_field_int(w, "created", s.created);
            json_field_int(w, "last_used", s.last_used);
            json_field(w, "agent", s.agent);
            json_field(w, "address", s.address);
            json_field_bool(w, "current", static_cast<uint64_t>(s.id) == read->owner_extra);
            json_end(w, '}');
        }
        json_end(w, ']');
        json_end(w, '}');
        answer_json(r, 200, json);
    }
    store_read_free(read);
}

void get_sessions(Call *call) {
    StoreRead *read = store_read_new(ReadKind::sessions);
    read->user = call->user->id;
    read->owner_id = call->r->id;
    read->owner_extra = static_cast<uint64_t>(call->session->id);
    read->done = sessions_known;
    if (store_read(web_hub->store, read)) return;
    store_read_free(read);
    answer_error(call, Err::unavailable);
}

static void session_ended(Hub *h, StoreWrite *w) {
    note_end(h, w, Audit::session_end);
    finish_empty(h, w);
}

void delete_session(Call *call) {
    if (!model_session_of(call->user, call->id)) return answer_hidden(call, "session", call->id); // it has ended, or it is somebody else's
    end_session(call, call->id, session_ended);
}

// --- who else there is

void page_start(UserPage *page, uint32_t limit) {
    *page = {.users = static_cast<const User **>(mem_alloc((limit + 1) * sizeof(User *))), .count = 0, .limit = limit};
}

void page_take(UserPage *page, const User *user) {
    uint32_t low = 0, high = page->count;
    if (high > page->limit && strcmp(user->key, page->users[high - 1]->key) > 0) return; // the usual case in a large house
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (strcmp(page->users[middle]->key, user->key) < 0) low = middle + 1;
        else high = middle;
    }
    if (page->count > page->limit) page->count--; // the last makes way
    memmove(page->users + low + 1, page->users + low, (page->count - low) * sizeof *page->users);
    page->users[low] = user;
    page->count++;
}

void page_answer(UserPage *page, Call *call, const char *field) {
    Eyes eyes = call->user->role == Role::admin ? Eyes::admin : Eyes::anybody;
    ScopedBuf json;
    JsonWriter w{.out = &json};
    json_begin(w, '{');
    json_key(w, field);
    json_begin(w, '[');
    for (uint32_t i = 0; i < page->count && i < page->limit; i++) protocol_user(w, page->users[i], page->users[i] == call->user ? Eyes::own : eyes);
    json_end(w, ']');
    json_field_bool(w, "more", page->count > page->limit);
    json_end(w, '}');
    free(page->users);
    answer_json(call->r, 200, json);
}

// Does a user come behind the cursor and fit the search? Both are folded; empty ones always fit.
static bool fits(const User *user, std::string_view after, std::string_view search) {
    if (user->deleted || (!after.empty() && std::string_view{user->key} <= after)) return false;
    return search.empty() || std::string_view{user->key}.find(search) != std::string_view::npos || std::string_view{user->shown_key}.find(search) != std::string_view::npos;
}

void get_users(Call *call) {
    uint32_t limit;
    ScopedBuf after, search, online;
    if (!query_limit(call, page_users_default, page_users_max, &limit) || !query_folded(call, "after", after) || !query_folded(call, "q", search)) return;
    bool online_only = http_query(call->r, "online", online) && buf_view(online) == "1";
    UserPage page;
    page_start(&page, limit);
    IdMapEntry e;
    for (uint32_t i = 0; idmap_next(web_hub->model.users_by_id, &i, &e);) {
        const auto *user = static_cast<const User *>(e.value);
        if ((!online_only || user->online) && fits(user, buf_view(after), buf_view(search))) page_take(&page, user);
    }
    page_answer(&page, call, "users");
}
