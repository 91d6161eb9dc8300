// Rooms: listing, making and changing them, who is in them, and pages of their messages.
#include "base/unicode.h"
#include "chat/protocol.h"
#include "chat/rules.h"
#include "chat/sync.h"
#include "chat/unread.h"
#include "web/api.h"

#include <stdlib.h>

// The room of a call if it is the user's business at all; answered when not.
static Room *room_of(Call *call) {
    Room *room = model_room(&web_hub->model, call->id);
    bool visible = room && ((!room->is_private && room->kind == RoomKind::room) || model_member(&web_hub->model, room->id, call->user->id));
    if (visible) return room;
    if (room) answer_hidden(call, "room", room->id);
    else answer_error(call, Err::not_found);
    return nullptr;
}

static void put_answer(HttpRequest *r, int status, const Room *room, const RoomView &view) {
    ScopedBuf json;
    JsonWriter w{.out = &json};
    json_begin(w, '{');
    json_key(w, "room");
    protocol_room(w, room, &view);
    json_end(w, '}');
    answer_json(r, status, json);
}

static void room_counted(StoreRead *read) {
    HttpRequest *r = http_pending(read->owner_id);
    const Room *room = model_room(&web_hub->model, read->room);
    const User *user = model_user(&web_hub->model, read->user);
    const Member *member = room && user ? model_member(&web_hub->model, room->id, user->id) : nullptr;
    if (r && !member) {
        http_respond_error(r, Err::not_found); // left while it was counted
    } else if (r) {
        RoomView view = {.reader = user, .member = member};
        if (view.member && read->err == Err::ok) (void)unread_of_read(web_hub, read, view.member, &view.counts);
        put_answer(r, static_cast<int>(read->owner_extra), room, view);
    }
    store_read_free(read);
}

// With the reader's own fields, of which what is unread may have to be counted first.
static void answer_with_room(HttpRequest *r, int status, const User *user, const Room *room) {
    RoomView view = {.reader = user, .member = model_member(&web_hub->model, room->id, user->id)};
    if (!view.member || view.member->seen >= room->last) return put_answer(r, status, room, view);
    StoreRead *read = store_read_new(ReadKind::unread);
    auto *mark = static_cast<Mark *>(arena_alloc(read->arena, sizeof(Mark)));
    *mark = {room->id, user->id, view.member->seen};
    read->marks = mark;
    read->marks_count = 1;
    read->room = room->id;
    read->user = user->id;
    read->owner_id = r->id;
    read->owner_extra = static_cast<uint64_t>(status);
    read->done = room_counted;
    if (store_read(web_hub->store, read)) return;
    store_read_free(read);
    put_answer(r, status, room, view);
}

// --- listing

// One's own first, then the liveliest.
struct Listed {
    const Room *room;
    const Member *member;
};

static int own_and_lively_first(const void *a, const void *b) {
    const auto *x = static_cast<const Listed *>(a), *y = static_cast<const Listed *>(b);
    if (!x->member != !y->member) return x->member ? -1 : 1;
    return x->room->last == y->room->last ? 0 : x->room->last > y->room->last ? -1 : 1;
}

static void put_room_list(JsonWriter &w, const StoreRead *read, const User *user) {
    auto *list = static_cast<Listed *>(mem_alloc((web_hub->model.rooms_by_id.count + 1) * sizeof(Listed)));
    uint32_t count = 0;
    IdMapEntry e;
    for (uint32_t i = 0; idmap_next(web_hub->model.rooms_by_id, &i, &e);) {
        const auto *room = static_cast<const Room *>(e.value);
        const Member *member = model_member(&web_hub->model, room->id, user->id);
        if (member || !(room->is_private || room->archived || room->kind == RoomKind::direct)) list[count++] = {room, member};
    }
    qsort(list, count, sizeof *list, own_and_lively_first);
    json_key(w, "rooms");
    json_begin(w, '[');
    uint32_t written = 0;
    for (; written < count && w.out->len < room_list_bytes_max; written++) {
        RoomView view = {.reader = user, .member = list[written].member};
        if (view.member) (void)unread_of_read(web_hub, read, view.member, &view.counts);
        protocol_room(w, list[written].room, &view);
    }
    json_end(w, ']');
    if (written < count) json_field_bool(w, "more", true);
    free(list);
}

static void rooms_counted(StoreRead *read) {
    HttpRequest *r = http_pending(read->owner_id);
    const User *user = model_user(&web_hub->model, read->user);
    if (r && (read->err != Err::ok || !user)) {
        http_respond_error(r, read->err == Err::ok ? Err::unauthorized : read->err);
    } else if (r) {
        ScopedBuf json;
        JsonWriter w{.out = &json};
        json_begin(w, '{');
        put_room_list(w, read, user);
        json_end(w, '}');
        answer_json(r, 200, json);
    }
    store_read_free(read);
}

void get_rooms(Call *call) {
    StoreRead *read = store_read_new(ReadKind::unread);
    uint32_t count = 0;
    for (const Member *m = call->user->members; m; m = m->next_of_user) count++;
    auto *marks = static_cast<Mark *>(arena_alloc(read->arena, (count + 1) * sizeof(Mark)));
    for (const Member *m = call->user->members; m; m = m->next_of_user) marks[read->marks_count++] = {m->room->id, call->user->id, m->seen};
    read->marks = marks;
    read->user = call->user->id;
    read->owner_id = call->r->id;
    read->done = rooms_counted;
    if (store_read(web_hub->store, read)) return;
    store_read_free(read);
    answer_error(call, Err::unavailable);
}

// --- making and changing

static void answer_room(Hub *h, StoreWrite *w, int status) {
    HttpRequest *r = http_pending(w->owner_id);
    if (!r) return;
    if (w->err != Err::ok) return answer_write_error(r, w);
    const Room *room = model_room(&h->model, w->kind == WriteKind::room_add ? w->changes[0].room.id : w->room);
    answer_with_room(r, status, model_user(&h->model, w->by), room);
}

static void room_made(Hub *h, StoreWrite *w) { answer_room(h, w, 201); }
static void room_changed(Hub *h, StoreWrite *w) { answer_room(h, w, 200); }

static Err take_name(Call *call, StoreWrite *w) {
    std::string_view name;
    ScopedBuf clean, key;
    if (!json_string(json_get(call->body, "name"), &name)) return Err::bad_request;
    if (Err err = rules_room_name(name, &clean, &key); err != Err::ok) return err;
    if (Err err = hub_check_words(web_hub, buf_view(clean)); err != Err::ok) return err;
    w->name = arena_copy(w->arena, buf_view(clean));
    buf_clear(key);
    unicode_fold_key(w->name, key);
    w->key = arena_copy(w->arena, buf_view(key));
    w->has_name = true;
    return Err::ok;
}

static Err take_topic(Call *call, StoreWrite *w) {
    JsonRef v = json_get(call->body, "topic");
    if (!v || json_is_null(v)) return Err::ok;
    std::string_view topic;
    ScopedBuf clean;
    if (!json_string(v, &topic)) return Err::bad_request;
    if (Err err = rules_topic(topic, &clean); err != Err::ok) return err;
    if (Err err = hub_check_words(web_hub, buf_view(clean)); err != Err::ok) return err;
    w->topic = arena_copy(w->arena, buf_view(clean));
    w->has_topic = true;
    return Err::ok;
}

static Err take_flag(Call *call, const char *field, bool *out, bool *has) {
    JsonRef v = json_get(call->body, field);
    if (!v || json_is_null(v)) return Err::ok;
    if (!json_bool(v, out)) return Err::bad_request;
    *has = true;
    return Err::ok;
}

// The people to begin a room with: ids of existing ones, the maker left out, each once.
static Err take_members(Call *call, StoreWrite *w) {
    JsonRef v = json_get(call->body, "members");
    if (!v || json_is_null(v)) return Err::ok;
    uint32_t count;
    if (!json_array(v, &count)) return Err::bad_request;
    if (count > invited_at_once_max) return Err::too_many;
    auto *ids = static_cast<int64_t *>(arena_alloc(w->arena, (count + 1) * sizeof(int64_t)));
    for (uint32_t i = 0; i < count; i++) {
        std::string_view name;
        if (!json_string(json_at(v, i), &name)) return Err::bad_request;
        const User *user = model_user_by_name(&web_hub->model, name);
        if (!user || user->deleted) return Err::not_found;
        bool known = user == call->user;
        for (uint32_t k = 0; k < w->ids_count; k++) known |= ids[k] == user->id;
        if (!known) ids[w->ids_count++] = user->id;
    }
    w->ids = ids;
    return Err::ok;
}

void post_room(Call *call) {
    StoreWrite *w = hub_write_new(WriteKind::room_add, call->user);
    bool has_private = false;
    w->limit = web_hub->options.rooms_made_max;
    Err err = take_name(call, w);
    if (err == Err::ok) err = take_topic(call, w);
    if (err == Err::ok) err = take_flag(call, "private", &w->flag, &has_private);
    if (err == Err::ok) err = take_members(call, w);
    if (err == Err::ok) return hub_submit(web_hub, w, {.id = call->r->id}, room_made);
    store_write_free(w);
    answer_error(call, err);
}

void patch_room(Call *call) {
    Room *room = room_of(call);
    if (!room) return;
    if (room->owner != call->user && call->user->role != Role::admin) return answer_error(call, Err::forbidden);
    StoreWrite *w = hub_write_new(WriteKind::room_change, call->user);
    w->room = call->id;
    Err err = json_get(call->body, "name") ? take_name(call, w) : Err::ok;
    if (err == Err::ok) err = take_topic(call, w);
    if (err == Err::ok) err = take_flag(call, "archived", &w->archived, &w->has_archived);
    if (err == Err::ok && (w->has_name || w->has_topic || w->has_archived)) return hub_submit(web_hub, w, {.id = call->r->id}, room_changed);
    store_write_free(w);
    if (err != Err::ok) return answer_error(call, err);
    answer_with_room(call->r, 200, call->user, room);
}

// --- who is in them

void get_members(Call *call) {
    Room *room = room_of(call);
    if (!room) return;
    if (!model_member(&web_hub->model, room->id, call->user->id)) return answer_error(call, Err::not_member);
    uint32_t limit;
    if (!query_limit(call, page_users_default, page_users_max, &limit)) return;
    ScopedBuf key;
    if (!query_folded(call, "after", key)) return;
    UserPage page;
    page_start(&page, limit);
    for (uint32_t i = 0; i < room->members_count; i++)
        if (!key.len || std::string_view{room->members[i]->user->key} > buf_view(key)) page_take(&page, room->members[i]->user);
    page_answer(&page, call, "members");
}

static void submit_member(Call *call, WriteKind kind, const User *user) {
    StoreWrite *w = hub_write_new(kind, call->user);
    w->room = call->id;
    w->user = user->id;
    hub_submit(web_hub, w, {.id = call->r->id}, finish_empty);
}

void post_member(Call *call) {
    std::string_view name;
    if (!json_string(json_get(call->body, "username"), &name)) return answer_error(call, Err::bad_request);
    if (!room_of(call)) return;
    const User *user = model_user_by_name(&web_hub->model, name);
    if (!user || user->deleted) return answer_error(call, Err::not_found);
    submit_member(call, WriteKind::member_add, user);
}

void delete_member(Call *call) {
    if (!room_of(call)) return;
    const User *user = model_user_by_name(&web_hub->model, call->name);
    if (!user) return answer_error(call, Err::not_found);
    submit_member(call, WriteKind::member_remove, user);
}

// --- pages of messages

static void page_known(StoreRead *read) {
    HttpRequest *r = http_pending(read->owner_id);
    if (r && sync_read_again(web_hub, read)) return;
    if (r && read->err != Err::ok) {
        http_respond_error(r, read->err);
    } else if (r && !model_member(&web_hub->model, read->room, read->user)) {
        http_respond_error(r, Err::not_member); // left while the page was read
    } else if (r) {
        Page page = {.messages = read->changes,
                     .count = read->changes_count,
                     .anchor = read->around ? PageAnchor::middle : read->after ? PageAnchor::oldest : PageAnchor::newest,
                     .rev_max = 0,
                     .around = read->around,
                     .more_before = read->more_before,
                     .more_after = read->more_after};
        ScopedBuf json;
        JsonWriter w{.out = &json};
        json_begin(w, '{');
        protocol_page(w, &web_hub->model, page, frame_out_bytes_max - 256);
        json_end(w, '}');
        answer_json(r, 200, json);
    }
    store_read_free(read);
}

void get_messages(Call *call) {
    constexpr int64_t none = INT64_MIN;
    int64_t before = none, after = none, around = none;
    uint32_t limit;
    if (!query_number(call, "before", &before) || !query_number(call, "after", &after) || !query_number(call, "around", &around) ||
        !query_limit(call, page_messages_default, page_messages_max, &limit))
        return;
    if ((before != none) + (after != none) + (around != none) > 1) return answer_error(call, Err::bad_request);
    if (!room_of(call)) return;
    if (!model_member(&web_hub->model, call->id, call->user->id)) return answer_error(call, Err::not_member);
    StoreRead *read = store_read_new(ReadKind::page);
    read->room = call->id;
    read->user = call->user->id;
    // 0 means "not given" to the store; rev 1 is the lobby itself, so no message has an id below 2 and these say the same.
    auto given = [](int64_t id) { return id == none ? 0 : id < 1 ? 1 : id; };
    read->before = given(before);
    read->after = given(after);
    read->around = given(around);
    read->limit = limit;
    read->owner_id = call->r->id;
    read->done = page_known;
    if (store_read(web_hub->store, read)) return;
    store_read_free(read);
    answer_error(call, Err::unavailable);
}
