// The wire vocabulary. Encoders first, in the order of the header; then the table of a client's requests.
#include "chat/protocol.h"

#include "base/assert.h"
#include "base/limits.h"

#include <stdlib.h>
#include <string.h>

static const char *role_name(Role role) {
    static const char *const names[] = {"user", "moderator", "admin"};
    return names[static_cast<int>(role)];
}

static std::string_view name_of(const Model *m, int64_t user_id) {
    const User *u = model_user(m, user_id);
    return u ? std::string_view{u->name} : std::string_view{};
}

void protocol_user(JsonWriter &w, const User *user, Eyes eyes) {
    json_begin(w, '{');
    json_field(w, "username", user->name);
    json_field_int(w, "rev", user->rev);
    if (user->deleted) {
        json_field_bool(w, "deleted", true);
    } else {
        json_field(w, "display_name", user_shown_name(user));
        json_field(w, "role", role_name(user->role));
        if (user->status[0]) json_field(w, "status", user->status);
        json_field_int(w, "created", user->created);
        if (eyes != Eyes::anybody) {
            json_field_int(w, "warnings", user->warnings);
            json_field_bool(w, "blocked", user->blocked);
        }
    }
    json_end(w, '}');
}

static void put_seen_by(JsonWriter &w, const Room *room, const RoomView &view) {
    json_key(w, "seen_by");
    json_begin(w, '{');
    if (room->members_count > seen_detail_members_max || view.brevity != Brevity::none) {
        int64_t highest = 0;
        for (uint32_t i = 0; i < room->members_count; i++)
            if (room->members[i]->user != view.reader && room->members[i]->seen > highest) highest = room->members[i]->seen;
        if (highest) json_field_int(w, "*", highest);
    } else {
        for (uint32_t i = 0; i < room->members_count; i++)
            if (room->members[i]->user != view.reader && room->members[i]->seen) json_field_int(w, room->members[i]->user->name, room->members[i]->seen); // a username needs no escapes
    }
    json_end(w, '}');
}

void protocol_room(JsonWriter &w, const Room *room, const RoomView *view) {
    json_begin(w, '{');
    json_field_int(w, "id", room->id);
    int64_t rev = room->rev;
    if (view && view->member && view->member->rev > rev) rev = view->member->rev;
    json_field_int(w, "rev", rev);
    json_field(w, "kind", room->kind == RoomKind::direct ? "direct" : "room");
    json_field(w, "name", room->name);
    json_field(w, "topic", view && view->brevity == Brevity::topic ? "" : room->topic);
    json_field_bool(w, "private", room->is_private);
    json_field_bool(w, "archived", room->archived);
    json_key(w, "owner");
    if (room->owner) json_put_string(w, room->owner->name);
    else json_put_raw(w, "null");
    json_field_int(w, "members", room->members_count);
    json_field_int(w, "last", room->last);
    if (view) {
        json_field_bool(w, "joined", view->member != nullptr);
        if (view->member) {
            json_field_int(w, "seen", view->member->seen);
            json_field_int(w, "unread", view->counts.unread);
            json_field_int(w, "mentions", view->counts.mentions);
            put_seen_by(w, room, *view);
        }
    }
    json_end(w, '}');
}

void protocol_ref(JsonWriter &w, std::string_view ref) {
    if (ref.data()) json_field(w, "ref", ref);
}

void protocol_message(JsonWriter &w, const Model *m, const MessageRow &message, const MessageExtra &extra) {
    json_begin(w, '{');
    if (extra.type) json_field(w, "type", "message");
    json_field_int(w, "id", message.id);
    json_field_int(w, "rev", message.rev);
    json_field_int(w, "room", message.room);
    json_field(w, "sender", name_of(m, message.sender));
    json_field(w, "text", message.text);
    json_field_int(w, "time", message.time);
    if (!message.nonce.empty()) json_field(w, "nonce", message.nonce);
    if (message.reply) json_field_int(w, "reply", message.reply);
    if (message.edited) json_field_int(w, "edited", message.edited);
    if (message.deleted) json_field_int(w, "deleted", message.deleted);
    if (message.mentions_count) {
        json_key(w, "mentions");
        json_begin(w, '[');
        for (uint32_t i = 0; i < message.mentions_count; i++) json_put_string(w, name_of(m, message.mentions[i]));
        json_end(w, ']');
    }
    if (extra.repeat) json_field_bool(w, "repeat", true);
    protocol_ref(w, extra.ref);
    json_end(w, '}');
}

void protocol_limits(JsonWriter &w, uint32_t text_chars_max, size_t frame_bytes_max) {
    json_begin(w, '{');
    json_field_int(w, "text", text_chars_max);
    json_field_int(w, "frame", static_cast<int64_t>(frame_bytes_max));
    json_field_int(w, "upload", upload_bytes_max);
    json_end(w, '}');
}

// --- frames

// Opens {"type":type; the caller adds fields and closes.
static JsonWriter open_frame(Buf &out, const char *type) {
    JsonWriter w{.out = &out};
    json_begin(w, '{');
    json_field(w, "type", type);
    return w;
}

constexpr size_t message_frame_around = 250;

void frame_message(Buf &out, const Model *m, const MessageRow &message, bool repeat, std::string_view ref) {
    buf_reserve(out, message_frame_around + message.text.size()); // most often all of it, and grown once
    JsonWriter w{.out = &out};
    protocol_message(w, m, message, {.type = true, .repeat = repeat, .ref = ref});
}

void frame_user(Buf &out, int64_t rev, const User *user) {
    JsonWriter w = open_frame(out, "user");
    json_field_int(w, "rev", rev);
    json_key(w, "user");
    protocol_user(w, user, Eyes::anybody);
    json_end(w, '}');
}

static void put_room_frame(Buf &out, int64_t rev, const Room *room, const RoomView *view) {
    JsonWriter w = open_frame(out, "room");
    json_field_int(w, "rev", rev);
    json_key(w, "room");
    protocol_room(w, room, view);
    json_end(w, '}');
}

void frame_room(Buf &out, int64_t rev, const Room *room) { put_room_frame(out, rev, room, nullptr); }

void frame_room_joined(Buf &out, int64_t rev, const Member *member, const UnreadCount &counts) {
    RoomView view = {.reader = member->user, .member = member, .counts = counts};
    put_room_frame(out, rev, member->room, &view);
}

void frame_room_left(Buf &out, int64_t rev, int64_t room) {
    JsonWriter w = open_frame(out, "room");
    json_field_int(w, "rev", rev);
    json_field_bool(w, "left", true);
    json_key(w, "room");
    json_begin(w, '{');
    json_field_int(w, "id", room);
    json_end(w, '}');
    json_end(w, '}');
}

void frame_seen(Buf &out, int64_t room, const User *user, int64_t id, std::string_view ref) {
    JsonWriter w = open_frame(out, "seen");
    json_field_int(w, "room", room);
    json_field(w, "user", user->name);
    json_field_int(w, "id", id);
    protocol_ref(w, ref);
    json_end(w, '}');
}

void frame_typing(Buf &out, int64_t room, const User *user) {
    JsonWriter w = open_frame(out, "typing");
    json_field_int(w, "room", room);
    json_field(w, "user", user->name);
    json_end(w, '}');
}

static void put_handles(JsonWriter &w, std::string_view nonce, std::string_view ref) {
    if (!nonce.empty()) json_field(w, "nonce", nonce);
    protocol_ref(w, ref);
}

void frame_error(Buf &out, Err err, std::string_view sentence, std::string_view nonce, std::string_view ref, uint32_t retry_after_s) {
    const ErrInfo &info = err_info(err);
    JsonWriter w = open_frame(out, "error");
    json_field(w, "code", info.code);
    json_field(w, "message", sentence.empty() ? std::string_view{info.message} : sentence);
    put_handles(w, nonce, ref);
    if (retry_after_s) json_field_int(w, "retry_after", retry_after_s);
    json_end(w, '}');
}

void frame_warning(Buf &out, uint32_t count, uint32_t limit, std::string_view nonce, std::string_view ref) {
    JsonWriter w = open_frame(out, "warning");
    json_field_int(w, "count", count);
    json_field_int(w, "limit", limit);
    put_handles(w, nonce, ref);
    json_end(w, '}');
}

void frame_blocked(Buf &out, std::string_view reason) {
    JsonWriter w = open_frame(out, "blocked");
    json_field(w, "reason", reason);
    json_end(w, '}');
}

void frame_pong(Buf &out, std::string_view ref, int64_t rev) {
    JsonWriter w = open_frame(out, "pong");
    protocol_ref(w, ref);
    json_field_int(w, "rev", rev);
    json_end(w, '}');
}

// --- pages

void protocol_page(JsonWriter &w, const Model *m, const Page &page, size_t bytes_max) {
    // Encode from the anchor outwards until the bytes are spent, then write in ascending order.
    struct Piece {
        size_t at, len;
    };
    ScopedBuf encoded;
    auto *pieces = static_cast<Piece *>(mem_zero((page.count + 1) * sizeof(Piece)));
    uint32_t first = 0, last = 0; // kept: [first, last)
    auto encode = [&](uint32_t i) {
        const MessageRow &message = page.messages[i].message;
        if (page.rev_max && message.rev > page.rev_max) return true; // an empty piece: it comes later, as a change
        size_t at = encoded.len;
        JsonWriter one{.out = &encoded};
        protocol_message(one, m, message, {});
        if (encoded.len > bytes_max && at > 0) return false;
        pieces[i] = {at, encoded.len - at};
        return true;
    };
    if (page.anchor == PageAnchor::oldest) {
        while (last < page.count && encode(last)) last++;
    } else if (page.anchor == PageAnchor::newest) {
        first = last = page.count;
        while (first > 0 && encode(first - 1)) first--;
    } else {
        while (last < page.count && page.messages[last].message.id < page.around) last++;
        first = last;
        bool down = true, up = true;
        while (down || up) {
            up = up && last < page.count && encode(last);
            if (up) last++;
            down = down && first > 0 && encode(first - 1);
            if (down) first--;
        }
    }
    json_key(w, "messages");
    json_begin(w, '[');
    for (uint32_t i = first; i < last; i++)
        if (pieces[i].len) json_put_raw(w, {encoded.data + pieces[i].at, pieces[i].len});
    json_end(w, ']');
    free(pieces);
    bool before = page.more_before || first > 0, after = page.more_after || last < page.count;
    if (page.anchor == PageAnchor::middle) {
        json_field_bool(w, "more_before", before);
        json_field_bool(w, "more_after", after);
    } else {
        json_field_bool(w, "more", page.anchor == PageAnchor::newest ? before : after);
    }
}

// --- requests

// A field that may be missing, but not of another kind; null counts as missing.
static bool optional_id(JsonRef object, const char *key, int64_t *out) {
    JsonRef v = json_get(object, key);
    return !v || json_is_null(v) || (json_int(v, out) && *out > 0);
}

static bool optional_string(JsonRef object, const char *key, std::string_view *out) {
    JsonRef v = json_get(object, key);
    return !v || json_is_null(v) || json_string(v, out);
}

static Err parse_message(JsonRef o, Request *r) {
    r->room = lobby_id;
    if (!json_string(json_get(o, "text"), &r->text) || !optional_id(o, "room", &r->room) || !optional_id(o, "reply", &r->reply)) return Err::bad_request;
    JsonRef file = json_get(o, "file");
    return file && !json_is_null(file) ? Err::bad_request : Err::ok; // no files yet: better refused than lost
}

static Err parse_edit(JsonRef o, Request *r) {
    return json_int(json_get(o, "id"), &r->id) && json_string(json_get(o, "text"), &r->text) ? Err::ok : Err::bad_request;
}

static Err parse_delete(JsonRef o, Request *r) { return json_int(json_get(o, "id"), &r->id) ? Err::ok : Err::bad_request; }

static Err parse_seen(JsonRef o, Request *r) {
    return json_int(json_get(o, "room"), &r->room) && json_int(json_get(o, "id"), &r->id) ? Err::ok : Err::bad_request;
}

static Err parse_typing(JsonRef o, Request *r) { return json_int(json_get(o, "room"), &r->room) ? Err::ok : Err::bad_request; }

static Err parse_history(JsonRef o, Request *r) {
    int64_t limit = page_messages_default;
    JsonRef v = json_get(o, "limit");
    if (!json_int(json_get(o, "room"), &r->room) || !optional_id(o, "before", &r->before)) return Err::bad_request;
    if (v && !json_is_null(v) && !json_int(v, &limit)) return Err::bad_request;
    r->limit = limit < 1 ? 1 : limit > page_messages_max ? page_messages_max : static_cast<uint32_t>(limit);
    return Err::ok;
}

static Err parse_ping(JsonRef, Request *) { return Err::ok; }

static const struct {
    const char *type;
    RequestKind kind;
    Err (*parse)(JsonRef object, Request *out);
} request_table[] = {
    {"message", RequestKind::message, parse_message}, {"edit", RequestKind::edit, parse_edit},
    {"delete", RequestKind::del, parse_delete},       {"seen", RequestKind::seen, parse_seen},
    {"typing", RequestKind::typing, parse_typing},    {"history", RequestKind::history, parse_history},
    {"ping", RequestKind::ping, parse_ping},
};

Err protocol_parse(std::string_view frame, Request *out) {
    *out = {};
    JsonRef object = json_parse(frame);
    if (!object) return Err::bad_json;
    std::string_view type, ref, nonce;
    bool handles_ok = optional_string(object, "ref", &ref) && ref.size() <= ref_bytes_max;
    if (handles_ok) out->ref = ref;
    JsonRef n = json_get(object, "nonce");
    bool nonce_given = n && !json_is_null(n);
    bool nonce_ok = !nonce_given || (json_string(n, &nonce) && !nonce.empty() && nonce.size() <= nonce_bytes_max);
    if (nonce_ok) out->nonce = nonce;
    if (!json_string(json_get(object, "type"), &type)) return Err::bad_request;
    for (const auto &row : request_table) {
        if (type != row.type) continue;
        out->kind = row.kind;
        if (!handles_ok) return Err::bad_request;
        if (row.kind == RequestKind::message && !nonce_ok) return Err::bad_nonce;
        return row.parse(object, out);
    }
    return Err::unknown_type;
}
