// The API's front door: who is asking, may they, and which handler is it. One table of routes; handlers answer at once or later. Loop thread only.
#pragma once

#include "base/json.h"
#include "chat/auth.h"
#include "chat/hub.h"
#include "net/http.h"

// A call on its way to its handler. It dies when the handler returns; what answers later keeps `r->id`.
struct Call {
    HttpRequest *r;
    Session *session;          // null: nobody is logged in (only routes that allow it)
    User *user;
    bool by_cookie;            // that is how the session was presented
    JsonRef body;              // of routes that take one; an object
    int64_t id;                // {id} in the path
    std::string_view name;     // {name} in the path
};

void api_start(Hub *h);
// The net's handler for every request: pages, assets, API, handshakes.
void api_request(HttpRequest *r);
// And for what is none, or breaks the rules of a WebSocket: a line in the log.
void api_malformed(const Conn *c, const char *why);
// A session has been used, by a request or over its socket. Written at most once an hour: it decides over days. One that has become too old
// ends within that hour, and its sockets with it.
void session_touch(Session *session);

// --- for handlers
extern Hub *web_hub;
void answer_error(Call *call, Err err);
// The caller may not even know of it: not_found as for what is not there, but noted in the log.
void answer_hidden(Call *call, const char *what, int64_t id);
// An error for a write that was decided against.
void answer_write_error(HttpRequest *r, const StoreWrite *w);
// Answers with the object in `json`; extra: header lines.
void answer_json(HttpRequest *r, int status, const Buf &json, std::string_view extra = {});
void answer_empty(HttpRequest *r, int status, std::string_view extra = {});

// What a decided write answers: 204, or the error. For hub_submit with origin.id = r->id.
void finish_empty(Hub *h, StoreWrite *w);
// A query parameter as a number: false (and answered 400) when it is there and no number. Missing: *out stays.
bool query_number(Call *call, const char *name, int64_t *out);
// … as text, folded as names are: false (and answered 400) when it is badly encoded.
bool query_folded(Call *call, const char *name, Buf &out);
// `limit`, clamped to 1…max.
bool query_limit(Call *call, uint32_t standard, uint32_t max, uint32_t *out);
// The cookie line that sets (or, with an empty token, clears) the session.
void put_cookie(Buf &headers, bool tls, std::string_view token);

// A page of people: the first `limit` by their folded names, which is what they are unique and paged by. Whoever comes is put into place or passed over, so that
// it costs no sorting of all. In account.cpp.
struct UserPage {
    const User **users;        // limit + 1 places: one more shows that there are more
    uint32_t count, limit;
};
void page_start(UserPage *page, uint32_t limit);
void page_take(UserPage *page, const User *user);
void page_answer(UserPage *page, Call *call, const char *field);   // ends it

// --- handlers, by file. account.cpp:
void post_register(Call *call);
void post_login(Call *call);
void post_logout(Call *call);
void get_me(Call *call);
void patch_me(Call *call);
void post_password(Call *call);
void get_sessions(Call *call);
void delete_session(Call *call);
void get_users(Call *call);
// rooms.cpp:
void get_rooms(Call *call);
void post_room(Call *call);
void patch_room(Call *call);
void get_members(Call *call);
void post_member(Call *call);
void delete_member(Call *call);
void get_messages(Call *call);
// pages.cpp:
void get_chat_page(Call *call);
void get_login_page(Call *call);
void get_register_page(Call *call);
void get_asset(Call *call);
void get_health(Call *call);
void get_metrics(Call *call);
void get_socket(Call *call);
