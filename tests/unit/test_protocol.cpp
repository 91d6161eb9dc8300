// The wire vocabulary: the exact JSON of every frame, how a page is cut at its bound of bytes, and which requests are understood.
#include "unit.h"

#include "base/crypto.h"
#include "base/limits.h"
#include "chat/protocol.h"

static Model model;

static void put_user(int64_t id, const char *name, Role role = Role::user, const char *display = "", const char *status = "") {
    model_put_user(&model, {.id = id, .rev = 10 + id, .name = name, .display_name = display, .status = status, .role = role,
                            .created = 1'700'000'000'000, .warnings = 2, .blocked = false, .deleted = false}, name);
}

static void put_member(int64_t room, int64_t user, int64_t rev, int64_t seen) {
    model_put_member(&model, {.rev = rev, .room = room, .user = user, .seen = seen, .left = false});
}

static int setup(void **) {
    assert_true(crypto_start());
    model = {};
    put_user(1, "alice", Role::admin);
    put_user(2, "bob", Role::user, "Bob \"the\" Builder", "out\nfor lunch");
    put_user(3, "кот", Role::moderator);
    model_put_room(&model, {.id = 1, .rev = 1, .kind = RoomKind::room, .name = "Lobby", .topic = "", .is_private = false, .archived = false, .owner = 0, .last = 40});
    model_put_room(&model, {.id = 2, .rev = 20, .kind = RoomKind::room, .name = "Plans", .topic = "a/b", .is_private = true, .archived = true, .owner = 1, .last = 0});
    put_member(1, 1, 11, 40);
    put_member(1, 2, 12, 30);
    put_member(1, 3, 13, 0);
    put_member(2, 2, 25, 0);
    return 0;
}

static Change *rows_of_page; // page_rows of them

static int teardown(void **) {
    free(rows_of_page);
    rows_of_page = nullptr;
    model_free(&model);
    return 0;
}

// --- objects

static void users(void **) {
    const struct {
        int64_t id;
        Eyes eyes;
        const char *json;
    } rows[] = {
        {1, Eyes::anybody, R"({"username":"alice","rev":11,"display_name":"alice","role":"admin","created":1700000000000})"},
        {2, Eyes::anybody, R"({"username":"bob","rev":12,"display_name":"Bob \"the\" Builder","role":"user","status":"out\nfor lunch","created":1700000000000})"},
        {1, Eyes::own, R"({"username":"alice","rev":11,"display_name":"alice","role":"admin","created":1700000000000,"warnings":2,"blocked":false})"},
        {3, Eyes::admin, R"({"username":"кот","rev":13,"display_name":"кот","role":"moderator","created":1700000000000,"warnings":2,"blocked":false})"},
    };
    for (auto &row : rows) {
        ScopedBuf out;
        JsonWriter w{.out = &out};
        protocol_user(w, model_user(&model, row.id), row.eyes);
        check_text(buf_view(out), row.json, "user");
    }
}

static void of_a_deleted_user_nothing_is_left_but_the_name(void **) {
    model_put_user(&model, {.id = 2, .rev = 50, .name = "bob", .display_name = "", .status = "", .role = Role::user, .created = 5, .warnings = 2,
                            .blocked = true, .deleted = true}, "bob");
    for (Eyes eyes : {Eyes::anybody, Eyes::own, Eyes::admin}) {
        ScopedBuf out;
        JsonWriter w{.out = &out};
        protocol_user(w, model_user(&model, 2), eyes);
        check_text(buf_view(out), R"({"username":"bob","rev":50,"deleted":true})", "deleted");
    }
}

static void room_as(int64_t id, int64_t reader, UnreadCount counts, Brevity brevity, const char *json) {
    ScopedBuf out;
    JsonWriter w{.out = &out};
    RoomView view = {.reader = model_user(&model, reader), .member = model_member(&model, id, reader), .counts = counts, .brevity = brevity};
    protocol_room(w, model_room(&model, id), reader ? &view : nullptr);
    check_text(buf_view(out), json, "room");
}

static void rooms(void **) {
    room_as(1, 0, {}, Brevity::none, R"({"id":1,"rev":1,"kind":"room","name":"Lobby","topic":"","private":false,"archived":false,"owner":null,"members":3,"last":40})");
    room_as(2, 0, {}, Brevity::none, R"({"id":2,"rev":20,"kind":"room","name":"Plans","topic":"a/b","private":true,"archived":true,"owner":"alice","members":1,"last":0})");
    // To a member with the reader's own fields; its rev is the later one of the room's and of joining. A mark of 0 is no mark.
    room_as(1, 2, {.unread = 5, .mentions = 1}, Brevity::none,
            R"({"id":1,"rev":12,"kind":"room","name":"Lobby","topic":"","private":false,"archived":false,"owner":null,"members":3,"last":40,)"
            R"("joined":true,"seen":30,"unread":5,"mentions":1,"seen_by":{"alice":40}})");
    room_as(2, 1, {}, Brevity::none,
            R"({"id":2,"rev":20,"kind":"room","name":"Plans","topic":"a/b","private":true,"archived":true,"owner":"alice","members":1,"last":0,"joined":false})");
    room_as(1, 3, {}, Brevity::marks,
            R"({"id":1,"rev":13,"kind":"room","name":"Lobby","topic":"","private":false,"archived":false,"owner":null,"members":3,"last":40,)"
            R"("joined":true,"seen":0,"unread":0,"mentions":0,"seen_by":{"*":40}})");
    room_as(2, 2, {}, Brevity::marks,
            R"({"id":2,"rev":25,"kind":"room","name":"Plans","topic":"a/b","private":true,"archived":true,"owner":"alice","members":1,"last":0,)"
            R"("joined":true,"seen":0,"unread":0,"mentions":0,"seen_by":{}})");
    // … and the topic when that is not enough.
    room_as(2, 2, {}, Brevity::topic,
            R"({"id":2,"rev":25,"kind":"room","name":"Plans","topic":"","private":true,"archived":true,"owner":"alice","members":1,"last":0,)"
            R"("joined":true,"seen":0,"unread":0,"mentions":0,"seen_by":{}})");
}

static void a_large_room_says_only_the_highest_mark_of_the_others(void **) {
    char name[24];
    for (int64_t id = 100; id < 100 + (int64_t)seen_detail_members_max - 3; id++) {
        snprintf(name, sizeof name, "u%d", (int)id);
        put_user(id, name);
        put_member(1, id, 200, 1);
    }
    ScopedBuf small, large;
    JsonWriter w{.out = &small};
    RoomView view = {.reader = model_user(&model, 1), .member = model_member(&model, 1, 1)};
    protocol_room(w, model_room(&model, 1), &view); // 50 members: all of them
    assert_true(buf_view(small).find(R"("seen_by":{"bob":30,"u100":1,)") != std::string_view::npos);
    put_user(99, "one_more");
    put_member(1, 99, 200, 35);
    w = {.out = &large};
    protocol_room(w, model_room(&model, 1), &view); // alice's own 40 is not the others'
    assert_true(buf_view(large).ends_with(R"("seen_by":{"*":35}})"));
}

// --- frames

static MessageRow a_message() {
    static const int64_t called[] = {1, 3};
    return {.id = 41, .rev = 43, .room = 1, .sender = 2, .time = 1'700'000'000'001, .edited = 1'700'000'000'002, .deleted = 0, .reply = 40,
            .text = "hi @alice \\ <b>\t", .nonce = "n\"1", .mentions = called, .mentions_count = 2};
}

static void messages(void **) {
    ScopedBuf out;
    frame_message(out, &model, a_message());
    check_text(buf_view(out),
               R"({"type":"message","id":41,"rev":43,"room":1,"sender":"bob","text":"hi @alice \\ <b>\t","time":1700000000001,"nonce":"n\"1","reply":40,)"
               R"("edited":1700000000002,"mentions":["alice","кот"]})", "all of it");
    buf_clear(out);
    frame_message(out, &model, {.id = 41, .rev = 41, .room = 1, .sender = 1, .time = 5, .edited = 0, .deleted = 0, .reply = 0, .text = "x", .nonce = {}, .mentions = nullptr, .mentions_count = 0});
    check_text(buf_view(out), R"({"type":"message","id":41,"rev":41,"room":1,"sender":"alice","text":"x","time":5})", "the least");
    buf_clear(out);
    frame_message(out, &model, {.id = 41, .rev = 50, .room = 1, .sender = 1, .time = 5, .edited = 0, .deleted = 6, .reply = 0, .text = "", .nonce = "n", .mentions = nullptr, .mentions_count = 0});
    check_text(buf_view(out), R"({"type":"message","id":41,"rev":50,"room":1,"sender":"alice","text":"","time":5,"nonce":"n","deleted":6})", "a tombstone");
    buf_clear(out);
    frame_message(out, &model, {.id = 41, .rev = 41, .room = 1, .sender = 1, .time = 5, .edited = 0, .deleted = 0, .reply = 0, .text = "x", .nonce = "n", .mentions = nullptr, .mentions_count = 0}, true, "r1");
    check_text(buf_view(out), R"({"type":"message","id":41,"rev":41,"room":1,"sender":"alice","text":"x","time":5,"nonce":"n","repeat":true,"ref":"r1"})", "a repeat");
}

static void frames(void **) {
    const User *alice = model_user(&model, 1);
    const Room *lobby = model_room(&model, 1), *plans = model_room(&model, 2);
    const Member *member = model_member(&model, 2, 2);
    struct {
        Buf out;
        const char *json;
    } rows[] = {
        {{}, R"({"type":"user","rev":77,"user":{"username":"alice","rev":11,"display_name":"alice","role":"admin","created":1700000000000}})"},
        {{}, R"({"type":"room","rev":78,"room":{"id":1,"rev":1,"kind":"room","name":"Lobby","topic":"","private":false,"archived":false,"owner":null,"members":3,"last":40}})"},
        {{}, R"({"type":"room","rev":25,"room":{"id":2,"rev":25,"kind":"room","name":"Plans","topic":"a/b","private":true,"archived":true,"owner":"alice","members":1,)"
             R"("last":0,"joined":true,"seen":0,"unread":0,"mentions":0,"seen_by":{}}})"},
        {{}, R"({"type":"room","rev":79,"left":true,"room":{"id":2}})"},
        {{}, R"({"type":"seen","room":2,"user":"alice","id":40})"},
        {{}, R"({"type":"typing","room":2,"user":"alice"})"},
        {{}, R"({"type":"error","code":"not_found","message":"There is no such thing here."})"},
        {{}, R"({"type":"error","code":"rate_limited","message":"Slowly.","nonce":"n","ref":"r","retry_after":3})"},
        {{}, R"({"type":"warning","count":2,"limit":3,"nonce":"n"})"},
        {{}, R"({"type":"warning","count":1,"limit":0,"ref":"r"})"},
        {{}, R"({"type":"blocked","reason":"why"})"},
        {{}, R"({"type":"pong","ref":"r","rev":5})"},
        {{}, R"({"type":"pong","rev":6})"},
        {{}, R"({"text":4000,"frame":65536,"upload":10485760})"},
    };
    int i = 0;
    frame_user(rows[i++].out, 77, alice);
    frame_room(rows[i++].out, 78, lobby);
    frame_room_joined(rows[i++].out, 25, member);
    frame_room_left(rows[i++].out, 79, plans->id);
    frame_seen(rows[i++].out, 2, alice, 40);
    frame_typing(rows[i++].out, 2, alice);
    frame_error(rows[i++].out, Err::not_found, {}, {}, {}, 0);
    frame_error(rows[i++].out, Err::rate_limited, "Slowly.", "n", "r", 3);
    frame_warning(rows[i++].out, 2, 3, "n", {});
    frame_warning(rows[i++].out, 1, 0, {}, "r");
    frame_blocked(rows[i++].out, "why");
    frame_pong(rows[i++].out, "r", 5);
    frame_pong(rows[i++].out, {}, 6);
    JsonWriter w{.out = &rows[i++].out};
    protocol_limits(w, 4000, 65536);
    assert_int_equal(i, sizeof rows / sizeof *rows);
    for (auto &row : rows) {
        check_text(buf_view(row.out), row.json, "frame");
        buf_free(row.out);
    }
}

// --- pages

constexpr uint32_t page_rows = 10;
static char page_text[200'000];

// Messages 1 to 10, each of `bytes` of text and about 70 around it, message i last changed at rev 100 + i.
static void make_rows(size_t bytes) {
    memset(page_text, 'x', sizeof page_text);
    if (!rows_of_page) rows_of_page = (Change *)mem_alloc(page_rows * sizeof(Change));
    for (uint32_t i = 0; i < page_rows; i++) {
        rows_of_page[i] = {.kind = ChangeKind::message, .rev = 101 + i, .message = {.id = 1 + i, .rev = 101 + i, .room = 1, .sender = 1, .time = 5, .edited = 0, .deleted = 0,
                           .reply = 0, .text = {page_text, bytes}, .nonce = {}, .mentions = nullptr, .mentions_count = 0}};
    }
}

// The page as "2,3,4 more" (or "before", "after").
static void page_is(const Page &page, size_t bytes_max, const char *want) {
    ScopedBuf out, short_form;
    JsonWriter w{.out = &out};
    json_begin(w, '{');
    protocol_page(w, &model, page, bytes_max);
    json_end(w, '}');
    JsonRef root = json_parse(buf_view(out)), list = json_get(root, "messages");
    uint32_t count = 0;
    check(json_array(list, &count), "%s: no page: %.*s", want, (int)(out.len < 200 ? out.len : 200), out.data);
    for (uint32_t i = 0; i < count; i++) {
        int64_t id = 0;
        assert_true(json_int(json_get(json_at(list, i), "id"), &id));
        assert_false(json_get(json_at(list, i), "type"));
        buf_printf(short_form, i ? ",%d" : "%d", (int)id);
    }
    for (const char *field : {"more", "more_before", "more_after"}) {
        bool flag;
        if (json_bool(json_get(root, field), &flag)) buf_printf(short_form, " %s:%s", field, flag ? "yes" : "no");
    }
    check_text(buf_view(short_form), want, "page");
}

static Page a_page(PageAnchor anchor, bool before = false, bool after = false, int64_t around = 0, uint32_t count = page_rows) {
    return {.messages = rows_of_page, .count = count, .anchor = anchor, .rev_max = 0, .around = around, .more_before = before, .more_after = after};
}

static void pages_that_fit(void **) {
    make_rows(10);
    page_is(a_page(PageAnchor::newest), 128'000, "1,2,3,4,5,6,7,8,9,10 more:no");
    page_is(a_page(PageAnchor::newest, true, false), 128'000, "1,2,3,4,5,6,7,8,9,10 more:yes");
    page_is(a_page(PageAnchor::newest, false, true), 128'000, "1,2,3,4,5,6,7,8,9,10 more:no"); // more means in the direction asked
    page_is(a_page(PageAnchor::oldest, true, false), 128'000, "1,2,3,4,5,6,7,8,9,10 more:no");
    page_is(a_page(PageAnchor::oldest, false, true), 128'000, "1,2,3,4,5,6,7,8,9,10 more:yes");
    page_is(a_page(PageAnchor::middle, true, false, 5), 128'000, "1,2,3,4,5,6,7,8,9,10 more_before:yes more_after:no");
    page_is(a_page(PageAnchor::newest, false, false, 0, 0), 128'000, " more:no");
    page_is(a_page(PageAnchor::middle, false, false, 5, 0), 128'000, " more_before:no more_after:no");
}

static void pages_that_are_cut_keep_what_is_nearest(void **) {
    make_rows(1000); // 1,070 or so each: three fit
    page_is(a_page(PageAnchor::newest), 3500, "8,9,10 more:yes");
    page_is(a_page(PageAnchor::oldest), 3500, "1,2,3 more:yes");
    page_is(a_page(PageAnchor::middle, false, false, 5), 3500, "4,5,6 more_before:yes more_after:yes");
    page_is(a_page(PageAnchor::middle, false, false, 1), 3500, "1,2,3 more_before:no more_after:yes");
    page_is(a_page(PageAnchor::middle, false, false, 10), 3500, "8,9,10 more_before:yes more_after:no");
    page_is(a_page(PageAnchor::middle, false, false, 11), 3500, "8,9,10 more_before:yes more_after:no"); // it is of another room: what is nearest
    // The bound is kept to the byte: three pieces exactly, and one byte less.
    ScopedBuf one;
    JsonWriter w{.out = &one};
    protocol_message(w, &model, rows_of_page[0].message, {});
    page_is(a_page(PageAnchor::oldest), one.len * 3, "1,2,3 more:yes");
    page_is(a_page(PageAnchor::oldest), one.len * 3 - 1, "1,2 more:yes");
}

static void a_page_holds_at_least_one(void **) {
    make_rows(150'000);
    page_is(a_page(PageAnchor::newest), 128'000, "10 more:yes");
    page_is(a_page(PageAnchor::oldest), 128'000, "1 more:yes");
    page_is(a_page(PageAnchor::middle, false, false, 5), 128'000, "5 more_before:yes more_after:yes");
}

static void a_snapshot_leaves_out_what_has_changed_since(void **) {
    make_rows(10);
    Page page = a_page(PageAnchor::newest, true);
    page.rev_max = 107;
    page_is(page, 128'000, "1,2,3,4,5,6,7 more:yes");
    rows_of_page[3].message.rev = 200; // edited since: it comes as a change
    page_is(page, 128'000, "1,2,3,5,6,7 more:yes");
    page.rev_max = 100;
    page_is(page, 128'000, " more:yes");
}

// --- requests

// A request in a short form: its kind, then the fields that are not empty.
static void print(Buf &out, Err err, const Request &r) {
    static const char *const kinds[] = {"message", "edit", "delete", "seen", "typing", "history", "ping"};
    buf_add(out, err == Err::ok ? kinds[(int)r.kind] : err_info(err).code);
    if (err == Err::ok) {
        if (r.room) buf_printf(out, " room=%lld", (long long)r.room);
        if (r.id) buf_printf(out, " id=%lld", (long long)r.id);
        if (r.reply) buf_printf(out, " reply=%lld", (long long)r.reply);
        if (r.before) buf_printf(out, " before=%lld", (long long)r.before);
        if (r.limit) buf_printf(out, " limit=%u", r.limit);
        if (!r.text.empty()) buf_printf(out, " text=%.*s", (int)r.text.size(), r.text.data());
    }
    if (!r.nonce.empty()) buf_printf(out, " nonce=%.*s", (int)r.nonce.size(), r.nonce.data());
    if (r.ref.data()) buf_printf(out, " ref=%.*s", (int)r.ref.size(), r.ref.data());
}

#define S64 "0123456789012345678901234567890123456789012345678901234567890123"

static void requests(void **) {
    const struct {
        const char *frame, *want;
    } rows[] = {
        {R"({"type":"message","text":"hi"})", "message room=1 text=hi"}, // the lobby
        {R"({"type":"message","text":"hi","room":7,"nonce":"n","reply":3,"ref":"r"})", "message room=7 reply=3 text=hi nonce=n ref=r"},
        {R"({"type":"message","text":"hi","room":null,"nonce":null,"reply":null,"ref":null,"file":null,"new":[1]})", "message room=1 text=hi"},
        {R"({"type":"message","text":""})", "message room=1"}, // whether it is empty is a rule's business
        {R"({"type":"message","text":"hi","nonce":")" S64 R"("})", "message room=1 text=hi nonce=" S64},
        {R"({"type":"message","text":"hi","nonce":")" S64 R"(x"})", "bad_nonce"},
        {R"({"type":"message","text":"hi","nonce":""})", "bad_nonce"},
        {R"({"type":"message","text":"hi","nonce":5})", "bad_nonce"},
        {R"({"type":"message","text":"hi","nonce":"","ref":"r"})", "bad_nonce ref=r"},
        {R"({"type":"message"})", "bad_request"},
        {R"({"type":"message","nonce":"n","ref":"r"})", "bad_request nonce=n ref=r"},
        {R"({"type":"message","text":5})", "bad_request"},
        {R"({"type":"message","text":null})", "bad_request"},
        {R"({"type":"message","text":"hi","room":"1"})", "bad_request"},
        {R"({"type":"message","text":"hi","room":0})", "bad_request"},
        {R"({"type":"message","text":"hi","room":-1})", "bad_request"},
        {R"({"type":"message","text":"hi","room":1.5})", "bad_request"},
        {R"({"type":"message","text":"hi","room":1e300})", "bad_request"},
        {R"({"type":"message","text":"hi","room":9007199254740993})", "bad_request"},
        {R"({"type":"message","text":"hi","room":7.0})", "message room=7 text=hi"},
        {R"({"type":"message","text":"hi","reply":0})", "bad_request"},
        {R"({"type":"message","text":"hi","file":3})", "bad_request"}, // no files yet: better refused than lost
        {R"({"type":"message","text":"hi","ref":7})", "bad_request"},
        {R"({"type":"message","text":"hi","ref":")" S64 R"("})", "message room=1 text=hi ref=" S64},
        {R"({"type":"message","text":"hi","ref":")" S64 R"(x","nonce":"n"})", "bad_request nonce=n"},
        {R"({"type":"edit","id":5,"text":"new"})", "edit id=5 text=new"},
        {R"({"type":"edit","id":5,"text":"new","nonce":7})", "edit id=5 text=new"}, // unknown there, so ignored
        {R"({"type":"edit","text":"new","ref":"r"})", "bad_request ref=r"},
        {R"({"type":"edit","id":5})", "bad_request"},
        {R"({"type":"edit","id":"5","text":"new"})", "bad_request"},
        {R"({"type":"delete","id":5})", "delete id=5"},
        {R"({"type":"delete"})", "bad_request"},
        {R"({"type":"seen","room":1,"id":5})", "seen room=1 id=5"},
        {R"({"type":"seen","id":5})", "bad_request"},
        {R"({"type":"seen","room":1})", "bad_request"},
        {R"({"type":"typing","room":3})", "typing room=3"},
        {R"({"type":"typing"})", "bad_request"},
        {R"({"type":"history","room":3})", "history room=3 limit=50"},
        {R"({"type":"history","room":3,"before":99,"limit":20,"ref":"h"})", "history room=3 before=99 limit=20 ref=h"},
        {R"({"type":"history","room":3,"limit":0})", "history room=3 limit=1"},
        {R"({"type":"history","room":3,"limit":-7})", "history room=3 limit=1"},
        {R"({"type":"history","room":3,"limit":1000})", "history room=3 limit=200"},
        {R"({"type":"history","room":3,"limit":"20"})", "bad_request"},
        {R"({"type":"history","room":3,"before":0})", "bad_request"},
        {R"({"type":"history"})", "bad_request"},
        {R"({"type":"ping"})", "ping"},
        {R"({"type":"ping","ref":"p"})", "ping ref=p"},
        {R"({"type":"ping","ref":""})", "ping ref="},
        {R"({"type":"Message","text":"hi"})", "unknown_type"},
        {R"({"type":"welcome","ref":"r"})", "unknown_type ref=r"},
        {R"({"type":"","ref":"r"})", "unknown_type ref=r"},
        {R"({"type":5,"ref":"r"})", "bad_request ref=r"},
        {R"({"text":"hi"})", "bad_request"},
        {R"({})", "bad_request"},
        {R"([{"type":"ping"}])", "bad_json"},
        {R"("ping")", "bad_json"},
        {R"({"type":"ping")", "bad_json"},
        {R"({"type":"ping"} x)", "bad_json"},
        {R"({"type":"message","text":"\ud800"})", "bad_json"},
        {"", "bad_json"},
    };
    for (auto &row : rows) {
        Request r;
        ScopedBuf got;
        Err err = protocol_parse(row.frame, &r);
        print(got, err, r);
        check_text(buf_view(got), row.want, row.frame);
    }
}

// Two members of the same name: the first counts, whoever else looks at the frame.
static void the_first_of_two_counts(void **) {
    Request r;
    assert_int_equal(protocol_parse(R"({"type":"seen","room":1,"room":2,"id":3,"type":"ping"})", &r), Err::ok);
    assert_int_equal(r.kind, RequestKind::seen);
    assert_int_equal(r.room, 1);
}

int main() {
#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        test(users),
        test(of_a_deleted_user_nothing_is_left_but_the_name),
        test(rooms),
        test(a_large_room_says_only_the_highest_mark_of_the_others),
        test(messages),
        test(frames),
        test(pages_that_fit),
        test(pages_that_are_cut_keep_what_is_nearest),
        test(a_page_holds_at_least_one),
        test(a_snapshot_leaves_out_what_has_changed_since),
        test(requests),
        test(the_first_of_two_counts),
    };
    return cmocka_run_group_tests_name("protocol", tests, nullptr, nullptr);
}
