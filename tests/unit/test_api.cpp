// The API's routes, a request and its answer at a time: who may ask for what, pages of people and of messages, and how much one request can cost.
#include "web_world.h"

#include "base/unicode.h"
#include "store/state.h"

#include <poll.h>

// One request on a connection of its own, waited for: its whole answer.
static std::string_view asks(const char *method, const char *path, const char *token, const char *body = nullptr, const char *more = "") {
    Tab &t = a_tab();
    Address peer;
    assert_true(address_parse("203.0.113.5", &peer));
    buf_clear(t.sent);
    t.id = conn_id(conn_for_test(peer, &t.sent));
    ScopedBuf head;
    buf_printf(head, "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%s", method, path, more);
    if (token) buf_printf(head, "Authorization: Bearer %s\r\n", token);
    if (body) buf_printf(head, "Content-Type: application/json\r\nContent-Length: %zu\r\n", strlen(body));
    buf_printf(head, "\r\n%s", body ? body : "");
    feed(t, buf_view(head));
    until([&] { return t.sent.len > 0; }, path);
    conn_abort(conn_get(t.id));
    conn_work();
    tabs_count--;
    return buf_view(t.sent);
}

static int status_of(std::string_view answer) { return atoi(answer.data() + 9); }
static std::string_view body_of(std::string_view answer) { return answer.substr(answer.find("\r\n\r\n") + 4); }

static void what_is_asked_without_a_session(void **) {
    const struct {
        const char *method, *path;
        int status;
    } rows[] = {
        {"GET", "/", 302},           {"GET", "/login", 200},       {"GET", "/nowhere", 404},      {"POST", "/login", 405},          {"GET", "/api/me", 401},
        {"GET", "/api/users", 401},  {"GET", "/api/rooms", 401},   {"GET", "/api/rooms/1", 405},  {"GET", "/api/rooms/x/members", 404}, {"DELETE", "/api/rooms/1/members/bob", 401},
        {"GET", "/metrics", 401},    {"GET", "/healthz", 200},     {"HEAD", "/healthz", 200},     {"GET", "/ws", 401},              {"POST", "/api/login", 415},
        {"PUT", "/api/me", 405},     {"GET", "/api/rooms/1/members/", 404}, {"GET", "/api/rooms/1234567890123456/members", 404},
    };
    for (auto &row : rows) {
        std::string_view answer = asks(row.method, row.path, nullptr);
        check(status_of(answer) == row.status, "%s %s: %d", row.method, row.path, status_of(answer));
    }
    assert_true(asks("POST", "/login", nullptr).find("Allow: GET, HEAD\r\n") != std::string_view::npos);
}

// --- people

// The names in an answer: "alice bob +" when there are more.
static void names_in(std::string_view answer, const char *field, Buf &out) {
    JsonRef root = json_parse(body_of(answer)), list = json_get(root, field);
    uint32_t count;
    bool more;
    check(json_array(list, &count) && json_bool(json_get(root, "more"), &more), "no page: %.*s", (int)answer.size(), answer.data());
    for (uint32_t i = 0; i < count; i++) {
        std::string_view name;
        assert_true(json_string(json_get(json_at(list, i), "username"), &name));
        buf_printf(out, "%.*s ", (int)name.size(), name.data());
    }
    if (more) buf_add_char(out, '+');
}

static void pages_of_people_are_in_the_order_of_their_names(void **) {
    hub.options.request_rate = {};
    const char *names[] = {"zoe", "Mia", "carl", "Émile", "adam", "mIB", "ida"};
    for (const char *name : names) {
        StoreWrite *w = hub_write_new(WriteKind::user_add, nullptr);
        ScopedBuf key;
        assert_true(unicode_fold_key(name, key));
        w->name = in_arena(w, name);
        w->key = arena_copy(w->arena, buf_view(key));
        w->text = "hash";
        did_write(w);
    }
    StoreWrite *w = hub_write_new(WriteKind::user_profile, bob);
    w->user = bob->id;
    w->display_name = "Robert the GREAT";
    w->has_display_name = true;
    did_write(w);
    const struct {
        const char *query, *names;
    } rows[] = {
        {"", "adam alice bob carl ida Mia mIB zoe Émile "},
        {"limit=1", "adam +"},
        {"limit=3", "adam alice bob +"},
        {"limit=3&after=bob", "carl ida Mia +"},
        {"limit=3&after=BOB", "carl ida Mia +"},
        {"limit=3&after=MIA", "mIB zoe Émile "},
        {"limit=2&after=mia", "mIB zoe +"},
        {"after=%C3%A9mile", ""},
        {"limit=0", "adam +"},
        {"limit=100000", "adam alice bob carl ida Mia mIB zoe Émile "},
        {"q=MI", "Mia mIB Émile "},
        {"q=great", "bob "},
        {"q=robert&after=bob", ""},
        {"q=nobody", ""},
        {"online=1", ""},
    };
    for (auto &row : rows) {
        char path[80];
        ScopedBuf got;
        snprintf(path, sizeof path, "/api/users?%s", row.query);
        names_in(asks("GET", path, tokens[0]), "users", got);
        check_text(buf_view(got), row.names, row.query);
        if (strncmp(row.query, "q=", 2) == 0 || strncmp(row.query, "on", 2) == 0) continue;
        buf_clear(got);
        snprintf(path, sizeof path, "/api/rooms/1/members?%s", row.query); // everybody is in the lobby
        names_in(asks("GET", path, tokens[0]), "members", got);
        check_text(buf_view(got), row.names, path);
    }
    assert_int_equal(status_of(asks("GET", "/api/users?limit=x", tokens[0])), 400);
}

// Warnings are for oneself and for administrators.
static void what_others_need_not_know(void **) {
    auto count = [](std::string_view answer) {
        uint32_t n = 0;
        for (size_t at = 0; (at = answer.find("\"warnings\"", at)) != std::string_view::npos; at++) n++;
        return n;
    };
    assert_int_equal(count(asks("GET", "/api/users", tokens[0])), 1);
    StoreWrite *w = hub_write_new(WriteKind::user_role, nullptr);
    w->user = alice->id;
    w->role = Role::admin;
    did_write(w);
    assert_int_equal(count(asks("GET", "/api/users", tokens[0])), 2);
    assert_int_equal(count(asks("GET", "/api/users", tokens[1])), 1);
}

// A row is removed when something ends it; one that only became too old stays, and is no session all the same.
static void sessions_that_are_over_are_not_listed(void **) {
    char other[uuid_chars + 1];
    int64_t first = alice->sessions->id, second = log_in(alice, other)->id;
    char text[40];
    auto is_listed = [&](int64_t id) {
        snprintf(text, sizeof text, "{\"id\":%lld,", (long long)id);
        return asks("GET", "/api/me/sessions", tokens[0]).find(text) != std::string_view::npos;
    };
    assert_true(is_listed(first) && is_listed(second));
    alice->sessions->last_used -= session_unused_ms_max + 1000;
    assert_true(is_listed(first));
    assert_false(is_listed(second));
}

// --- pages of messages

static void pages_of_messages(void **) {
    for (int i = 0; i < 5; i++) {
        StoreWrite *w = hub_write_new(WriteKind::message_post, alice);
        w->room = lobby_id;
        w->text = "x";
        did_write(w);
    }
    int64_t last = model_room(&hub.model, lobby_id)->last;
    char path[80];
    assert_true(asks("GET", "/api/rooms/1/messages?limit=2", tokens[1]).find("\"more\":true") != std::string_view::npos);
    snprintf(path, sizeof path, "/api/rooms/1/messages?around=%d&limit=3", (int)last);
    assert_true(asks("GET", path, tokens[1]).find("\"more_before\":true,\"more_after\":false") != std::string_view::npos);
    snprintf(path, sizeof path, "/api/rooms/1/messages?after=%d", (int)last);
    check_text(body_of(asks("GET", path, tokens[1])), R"({"messages":[],"more":false})", "after the last");
    for (const char *bad : {"before=x", "before=1&after=1", "limit=", "around=1e5"}) {
        snprintf(path, sizeof path, "/api/rooms/1/messages?%s", bad);
        check(status_of(asks("GET", path, tokens[1])) == 400, "%s", bad);
    }
}

// --- the list of rooms

static void posts(User *by) {
    StoreWrite *w = hub_write_new(WriteKind::message_post, by);
    w->room = lobby_id;
    w->text = "x";
    hub_submit(&hub, w, {}, note);
}

// The store has counted, and before the list is answered one more message comes: `last`, `seen` and `unread` are of one moment all the same.
static void what_is_unread_is_as_new_as_the_list(void **) {
    posts(alice);
    until([] { return !store_has_work(world.s); }, "a message");
    for (bool is_read_meanwhile : {false, true}) {
        Tab &t = a_tab();
        buf_clear(t.sent);
        t.id = conn_id(conn_for_test({}, &t.sent));
        ScopedBuf request;
        buf_printf(request, "GET /api/rooms HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n\r\n", tokens[1]);
        feed(t, buf_view(request));
        struct pollfd counted = {.fd = uv_backend_fd(&world.loop), .events = POLLIN, .revents = 0};
        assert_int_equal(poll(&counted, 1, 10'000), 1);
        write_decided = false;
        posts(alice);
        world.s->commit_mean_us = 0; // so it is committed here and now
        store_turn(world.s);
        assert_true(write_decided);
        int64_t last = model_room(&hub.model, lobby_id)->last;
        if (is_read_meanwhile) model_member(&hub.model, lobby_id, bob->id)->seen = last;
        assert_int_equal(t.sent.len, 0);
        until([&] { return t.sent.len > 0; }, "the list");
        int64_t unread, told_last;
        JsonRef rooms = json_get(json_parse(body_of(buf_view(t.sent))), "rooms"), lobby = json_at(rooms, 0);
        assert_true(json_int(json_get(lobby, "unread"), &unread) && json_int(json_get(lobby, "last"), &told_last));
        assert_int_equal(told_last, last);
        assert_int_equal(unread, is_read_meanwhile ? 0 : 2);
        conn_abort(conn_get(t.id));
        conn_work();
        tabs_count--;
    }
}

// --- rooms that are nobody's business

static void a_private_room_is_not_there_for_others(void **) {
    std::string_view made = asks("POST", "/api/rooms", tokens[0], R"({"name":"Secret","private":true})");
    assert_int_equal(status_of(made), 201);
    const struct {
        const char *method, *path, *body;
    } rows[] = {
        {"PATCH", "/api/rooms/%d", R"({"topic":"x"})"}, {"GET", "/api/rooms/%d/members", nullptr},          {"POST", "/api/rooms/%d/members", R"({"username":"bob"})"},
        {"GET", "/api/rooms/%d/messages", nullptr},     {"DELETE", "/api/rooms/%d/members/alice", nullptr}, {"DELETE", "/api/rooms/%d/members/bob", nullptr},
    };
    for (auto &row : rows) {
        char path[80], there[400], nowhere[400];
        snprintf(path, sizeof path, row.path, 2);
        std::string_view answer = body_of(asks(row.method, path, tokens[1], row.body));
        there[answer.copy(there, 399)] = 0;
        snprintf(path, sizeof path, row.path, 77);
        answer = body_of(asks(row.method, path, tokens[1], row.body));
        nowhere[answer.copy(nowhere, 399)] = 0;
        assert_string_equal(there, nowhere);
        assert_non_null(strstr(there, "not_found"));
    }
    assert_true(asks("GET", "/api/rooms", tokens[1]).find("Secret") == std::string_view::npos);
    assert_true(asks("GET", "/api/rooms", tokens[0]).find("Secret") != std::string_view::npos);
}

int main() {
#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        test(what_is_asked_without_a_session),
        test(pages_of_people_are_in_the_order_of_their_names),
        test(what_others_need_not_know),
        test(sessions_that_are_over_are_not_listed),
        test(pages_of_messages),
        test(what_is_unread_is_as_new_as_the_list),
        test(a_private_room_is_not_there_for_others),
    };
    return cmocka_run_group_tests_name("api", tests, nullptr, nullptr);
}
