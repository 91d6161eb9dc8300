// The wire vocabulary (PROTOCOL §2.3 and §3): objects and frames to JSON, a client's frames to requests. It knows how things are written, not what is allowed. Every function
// appends one JSON value to `out`. Loop thread only.
#pragma once

#include "base/json.h"
#include "chat/model.h"

// What a room is written without when a frame would grow too large otherwise.
enum class Brevity : uint8_t {
    none,
    marks,  // seen_by only as {"*":…}, whatever the room's size
    topic,  // and without the topic
};

// The reader's own fields of a room, and whose they are. counts null: 0.
struct RoomView {
    const User *reader;
    const Member *member;         // null: not in it
    UnreadCount counts = {};
    Brevity brevity = {};
};

enum class Eyes : uint8_t { anybody, own, admin }; // who looks at a user: to oneself and to administrators also warnings and blocked

void protocol_user(JsonWriter &w, const User *user, Eyes eyes);
// Without the reader's own fields when `view` is null.
void protocol_room(JsonWriter &w, const Room *room, const RoomView *view);
// What a message frame says beside the message itself: `repeat` is PROTOCOL §1 "acknowledged", `ref` the handle of the request that made or changed it. Here as everywhere a `ref` may
// be empty; with a null pointer there is none.
struct MessageExtra {
    bool type = false;            // write "type":"message": it is a frame of its own
    bool repeat = false;
    std::string_view ref = {};
};
void protocol_message(JsonWriter &w, const Model *m, const MessageRow &message, const MessageExtra &extra);

void protocol_ref(JsonWriter &w, std::string_view ref);

// {"text":…,"frame":…,"upload":…}
void protocol_limits(JsonWriter &w, uint32_t text_chars_max, size_t frame_bytes_max);

// --- frames of the log; the same for live and replay
void frame_message(Buf &out, const Model *m, const MessageRow &message, bool repeat = false, std::string_view ref = {});
void frame_user(Buf &out, int64_t rev, const User *user);
void frame_room(Buf &out, int64_t rev, const Room *room);
void frame_room_joined(Buf &out, int64_t rev, const Member *member, const UnreadCount &counts = {});
void frame_room_left(Buf &out, int64_t rev, int64_t room);

// --- passing and private frames
void frame_seen(Buf &out, int64_t room, const User *user, int64_t id, std::string_view ref = {});
void frame_typing(Buf &out, int64_t room, const User *user);
void frame_error(Buf &out, Err err, std::string_view sentence, std::string_view nonce, std::string_view ref, uint32_t retry_after_s);
void frame_warning(Buf &out, uint32_t count, uint32_t limit, std::string_view nonce, std::string_view ref);
void frame_blocked(Buf &out, std::string_view reason);
void frame_pong(Buf &out, std::string_view ref, int64_t rev);

// A page of messages as it fits: `{"messages":[…]` and the `more` fields, without the last brace. Messages come ascending; those nearest to the anchor are kept when not all fit into
// `bytes_max`, at least one is. anchor: the side that the page was asked from.
enum class PageAnchor : uint8_t { newest, oldest, middle };
struct Page {
    const Change *messages;
    uint32_t count;
    PageAnchor anchor;
    int64_t rev_max;          // those changed after it are left out (a snapshot's history); 0: none
    int64_t around;           // PageAnchor::middle: the id that it is about
    bool more_before, more_after;
};
void protocol_page(JsonWriter &w, const Model *m, const Page &page, size_t bytes_max);

// --- what a client sends

enum class RequestKind : uint8_t { message, edit, del, seen, typing, history, ping };
struct Request {
    RequestKind kind;
    std::string_view text, nonce, ref;
    int64_t room, id, reply, before;
    uint32_t limit;
};
// Views live as long as the parsed document (json.h). On failure ref and nonce are filled as far as they could be read, for the answer.
Err protocol_parse(std::string_view frame, Request *out);
