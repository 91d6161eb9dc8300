// The hub: every change of the chat goes through here. A request is refused early where what is committed already forbids it; what is left goes to the store, whose transaction
// judges; and when it is committed the completion applies it to the model and pushes its frame into the ring, in the order of the log. Nothing is shown before that, so there is
// nothing to undo. It owns the model and the ring; it knows no socket and no SQL. Loop thread only.
#pragma once

#include "chat/model.h"
#include "chat/ring.h"
#include "chat/words.h"

enum class Registration : uint8_t { open, invite, closed };

struct HubOptions {
    Registration registration = Registration::open;
    uint32_t warnings_limit = 3;          // the N-th violation blocks; 0: never
    uint32_t text_chars_max = ::text_chars_max;
    size_t frame_bytes_max = ::frame_bytes_max; // here it is only told; net/ws keeps to it
    Rate message_rate = {20, 5};
    Rate request_rate = {100, 50};
    uint32_t rooms_made_max = ::rooms_made_max; // by a user
    SessionLife session_life = {};
    const char *server_name = "ChatterBox";
};

// What the rooms to the right must do at once. Called while a committed change is applied.
struct HubHooks {
    void (*session_ended)(Session *session);          // close its sockets (4001); the session dies when this returns
    void (*user_blocked)(User *user);                 // say so and close the user's sockets (4002)
};

struct MarkRef {
    int64_t room, user;
};

struct MarkList {
    MarkRef *refs;
    uint32_t count, capacity;
};

// A text that brought a warning, as a hash of it and its nonce.
struct Warned {
    int64_t user;
    uint64_t hash;
};

struct Hub {
    Model model;
    Ring ring;
    Store *store;
    Words *words;                  // owned; replaced at SIGHUP
    HubOptions options;
    HubHooks hooks;
    Warned warned[64];             // the last ones
    uint32_t warned_next;          // counts them; the oldest is overwritten
    // seen.cpp
    MarkList marks_dirty;          // moved and not yet written
    MarkList marks_pending;        // moved and not yet told
    uint64_t marks_pending_due_ms; // the next look at them; 0: none waits
    uint64_t marks_dirty_since_ms; // of the oldest; 0: none
    bool marks_writing;
    // presence.cpp
    int64_t *presence_changed;     // user ids
    uint32_t presence_count, presence_capacity;
    uint64_t presence_due_ms;      // 0: nothing to tell
    uint64_t linger_due_ms;        // the next look at people who left; 0: none linger
    Buf online_json;               // the array for `ready`, as long as nobody comes or goes
    bool online_json_valid;
    uint64_t sweep_due_ms;         // the next look at sessions that are over; 0: no turn has been
    int64_t sweep_clock_difference; // of the wall clock and the monotonic one at the last
};

// Loads the model from the store. False when it cannot be read.
[[nodiscard]] bool hub_start(Hub *h, Store *store, const RingFraming &framing, const HubOptions &options, const HubHooks &hooks, Words *words);
// Forgets everything and loads anew: after store_reopen. No socket may be open.
[[nodiscard]] bool hub_reload(Hub *h);
void hub_stop(Hub *h);
inline int64_t hub_rev(const Hub *h) { return h->ring.head_rev; }

// Who asked, for the answer: `id` and `extra` come back as w->owner_id and w->owner_extra, `ref` stands in the frames that answer the reader `id`, in
// nobody else's (and is hub_ref(w) in `finish`).
struct HubOrigin {
    uint64_t id = 0;
    uint64_t extra = 0;
    std::string_view ref = {};
};
std::string_view hub_ref(const StoreWrite *w);

// Hands a write to the store. When it is decided its changes are applied and pushed, and then `finish` runs; the write is freed afterwards (w->owner is the
// hub's). With a full queue `finish` runs at once with `unavailable`. A warning is the exception: `finish` runs before the block that it may bring.
using HubFinish = void (*)(Hub *h, StoreWrite *w);
void hub_submit(Hub *h, StoreWrite *w, const HubOrigin &origin, HubFinish finish);
inline void hub_unanswered(Hub *, StoreWrite *) {} // the finish of what nobody waits for
// A write of a kind by a user (null: the system), dated now.
StoreWrite *hub_write_new(WriteKind kind, const User *by);

// A text held a stop word, and its author was warned: w->user_row tells how often.
inline bool hub_is_warning(const StoreWrite *w) { return w->kind == WriteKind::message_refuse && w->err == Err::ok && !w->is_repeat; }

// --- what people do. Each checks what can be known now and submits; on an early refusal it returns the Err, and nothing was submitted.
// Of a message with a nonce only `blocked` is said early: it may be stored already, which the store knows (message_refuse) and which then is the answer. The store is also told of a text
// with a stop word: the answer is a warning, not a refusal; the same text under the same nonce is warned of again, but not counted.
Err hub_post(Hub *h, User *user, int64_t room, std::string_view text, std::string_view nonce, int64_t reply, const HubOrigin &origin, HubFinish finish);
Err hub_edit(Hub *h, User *user, int64_t message, std::string_view text, const HubOrigin &origin, HubFinish finish);
Err hub_delete(Hub *h, User *user, int64_t message, const HubOrigin &origin, HubFinish finish);
// Names and texts of rooms and profiles: the rules and the stop words. Cleaned text is appended.
Err hub_check_words(const Hub *h, std::string_view text);

// A user's place in a room, judged early: not_found when the room is none of the user's business, not_member when it is public but not joined.
Err hub_member(const Hub *h, const User *user, int64_t room, Member **out);

// --- time. Once a turn before store_turn; and at hub_due_ms (monotonic; 0: nothing to wait for).
void hub_turn(Hub *h, uint64_t now_ms);
uint64_t hub_due_ms(const Hub *h);
// Writes every mark that is not on disk. For the stop.
void hub_flush_marks(Hub *h);
