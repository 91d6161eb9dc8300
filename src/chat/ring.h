// The broadcast ring: the hot tail of the log in memory. Each frame is encoded once, framed for the wire once, and stands at its place in bytes that all readers
// share. A reader is a cursor into it, not a queue: it costs nothing to have, and one that falls so far behind that its place was overwritten knows it by one comparison and
// catches up from the store (sync.h).
//
//      lost_rev │ entry tail │ … │ entry head-1 │            seq: counted up for ever, masked on use
//               └── oldest still here            └── next
//
// Entries of the log carry their rev, in rising order. Between them stand passing ones (typing, seen, presence) with rev 0: who misses them loses nothing that the store
// does not know. Loop thread only.
#pragma once

#include "base/buf.h"
#include "base/limits.h"

enum class AudienceKind : uint8_t {
    everybody,
    room,       // who is in `room` when the frame is sent
    room_but,   // … but the user `but`
    outsiders,  // who is not in `room` when the frame is sent
    users,      // `users`, and nobody else; with a `room`, those of them who are in it when the frame is sent
};

struct Audience {
    AudienceKind kind = AudienceKind::everybody;
    int64_t room = 0, but = 0;
    const int64_t *users = nullptr; // user ids; copied by ring_push
    uint32_t users_count = 0;
};

// A new message's entry says whose it is and whom it calls, so that unread counts read from the store can be brought up to date (sync.cpp).
struct NewMessage {
    int64_t id = 0, sender = 0;
    const int64_t *mentions = nullptr;
    uint32_t mentions_count = 0;
};

// Who asked for a change by a `ref` gets a frame of its own in the place of the others'. It is the same but for the ref, which is nobody else's business.
struct Asked {
    uint64_t reader = 0;            // Reader::id; 0: nobody
    std::string_view payload = {};
};

// What every reader looks at comes first: it fits into one line of the cache.
struct RingEntry {
    int64_t rev;                // 0: not of the log
    uint64_t asker;             // Reader::id of who gets `asked` instead; 0: nobody
    char *asked;                // a whole wire frame; owned
    char *deflated;             // the same frame compressed; made when the first reader wants it; owned
    uint32_t at, len;           // of the wire frame in the ring's bytes
    uint32_t deflated_len, asked_len;
    AudienceKind kind;
    bool deflate_tried;
    uint8_t asked_header;       // bytes of the wire frame before its payload
    uint32_t users_count;
    int64_t room, but;
    int64_t *users;             // the audience, or whom a new message calls; owned
    int64_t message, sender;    // of a new message, else 0
};

// How a frame looks on the wire is not the ring's business: whoever starts it says.
struct RingFraming {
    size_t (*header)(char out[16], size_t payload_bytes);             // returns its length, 2 to 16
    bool (*deflate)(Buf &out, std::string_view payload);              // appends a whole compressed frame; false: does not pay
};

struct Ring {
    uint64_t head, tail;            // seqs
    uint64_t restricted;            // seq behind the newest entry that is not for everybody: beyond it, no entry needs to be judged
    int64_t head_rev, lost_rev;     // the newest rev in it or before it; the newest rev that it has no more
    uint64_t personal;              // seq behind the newest entry that one reader gets as a frame of its own
    uint64_t byte_head;             // counted up for ever, masked on use
    uint32_t wrap_end;              // where the frames ended before they last began anew at the start of the bytes
    RingFraming framing;
    RingEntry *entries;             // ring_entries
    char *bytes;                    // ring_bytes
};

// Starts empty behind `rev`. Memory is touched only as it is used.
void ring_start(Ring *r, const RingFraming &framing, int64_t rev);
void ring_free(Ring *r);
// Appends one frame. rev 0, or higher than every one before. Overwrites the oldest as needed.
void ring_push(Ring *r, int64_t rev, const Audience &audience, std::string_view payload, const NewMessage &message = {}, const Asked &asked = {});
// Marks that the log has reached rev without a frame.
void ring_skip(Ring *r, int64_t rev);
// True when every log entry after `rev` is here: who has seen all up to rev can go on from the ring.
inline bool ring_covers(const Ring *r, int64_t rev) { return rev >= r->lost_rev; }
// The seq of the first log entry after `rev`, or the head: where one reads on who has seen all up to rev.
uint64_t ring_find(const Ring *r, int64_t rev);
inline RingEntry *ring_at(Ring *r, uint64_t seq) { return &r->entries[seq & (ring_entries - 1)]; }
// The bytes of all frames from `seq` (< head) on, as they lie: in one piece, or in two when they wrap. Returns how many pieces.
int ring_span(const Ring *r, uint64_t seq, std::string_view pieces[2]);
inline std::string_view ring_frame(const Ring *r, const RingEntry *e) { return {r->bytes + e->at, e->len}; }
inline std::string_view ring_frame_asked(const RingEntry *e) { return {e->asked, e->asked_len}; }
inline std::string_view ring_payload_asked(const RingEntry *e) { return ring_frame_asked(e).substr(e->asked_header); }
// The compressed frame, or the plain one when compressing does not pay.
std::string_view ring_frame_deflated(Ring *r, RingEntry *e);
