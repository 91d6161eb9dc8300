// Sync: how a connection gets from nothing, or from where it was, to the present (PROTOCOL §3.1). A Reader is a position in the log. Behind the ring it reads the store in
// small slices as fast as its socket drains; in the ring it is live. Snapshot, resume and falling behind are one mechanism:
//
//      starting ──welcome──> snapshot ──history…──┐
//          └──────resumed────────────────────> catching_up ──ready──> live
//                                                     ^──overrun──────┘
//
// It sees no socket: a SyncPort says how to reach one. Loop thread only.
#pragma once

#include "chat/hub.h"

// What of a room is unread. Room 0: the end of a list.
struct RoomCounts {
    int64_t room;
    UnreadCount counts;
};

enum class ReaderState : uint8_t { starting, snapshot, catching_up, live };

struct Reader {
    User *user;
    int64_t position;        // has seen the log up to here (what it may not see included)
    union {
        int64_t replay_to;   // not live: up to here each thing is told once in its present state
        uint64_t hints_from; // live: passing frames before this seq are old news
    };
    uint64_t cursor;         // live: the seq to read next; before: where the ring was when it began to catch up
    uint64_t seen_stamp;     // marks told later than this must be told at the next `ready`
    ReaderState state;
    bool reading;            // a read of the store is under way
    bool owes_ready;         // live, but not told so yet: what the ring already holds goes first
    uint8_t rooms_next, rooms_count;
    union {
        int64_t *rooms;      // of a snapshot: whose history is still to come; freed with it
        RoomCounts *joined;  // of a resume: the rooms joined since, as `welcome` counted them; freed when live
    };
};

// Where its client may resume: nowhere while the pages of a snapshot are on their way.
inline int64_t reader_position(const Reader *r) { return r->state == ReaderState::snapshot ? 0 : r->position; }

// How a reader reaches its socket. `id` is what reader_start was given.
struct SyncPort {
    Reader *(*find)(uint64_t id);                                                        // null: it has gone
    bool (*queue)(uint64_t id, std::string_view payload);                                // a private frame; false: the socket is ending
    size_t (*page)(uint64_t id, const std::string_view *payloads, size_t count);         // frames to be written now or not at all; how many are on their way
    void (*wake)(uint64_t id);                                                           // a read is done: reader_step when the socket can take more
    void (*fail)(uint64_t id);                                                           // the store cannot be read: end the socket, it will come again
};

void sync_start(Hub *h, const SyncPort &port);

constexpr uint32_t resume_max_none = UINT32_MAX;
constexpr uint32_t resume_max_counted = 100'000; // a max beyond it is none: one client's counting would hold up all others' reading

struct ReaderStart {
    bool resume;             // since and epoch were given, and the epoch is ours
    int64_t since;
    uint32_t max;            // with more messages waiting, a snapshot instead; resume_max_none: no limit
};
void reader_start(Reader *r, uint64_t id, User *user, const ReaderStart &how);
void reader_end(Reader *r);

// Once a turn for a reader that is not live and whose socket has nothing queued and nothing under way: the next step towards `ready`.
void reader_step(Reader *r, uint64_t id);
// The same, but only when nothing has to be read for it: the ring has all that is still to come, and the reader is live now. What is queued need not have left before.
bool reader_step_into_ring(Reader *r, uint64_t id);

// Live: the frames that wait for this reader, at most `max`. A reader whose place was overwritten goes back to catching_up and gets 0.
struct LiveFrame {
    std::string_view bytes;  // a whole wire frame in the ring
    uint64_t seq;
};
size_t reader_gather(Reader *r, uint64_t id, bool deflated, LiveFrame *out, size_t max);
// `ready`, for who comes from a replay, when those `gathered` are all that waits: to go out behind them. Empty: not now. When it is on its way: reader_told_ready, before reader_took.
std::string_view reader_ready(const Reader *r, size_t gathered, size_t max);
inline void reader_told_ready(Reader *r) { r->owes_ready = false; }
// The first `taken` of those `gathered` are on their way. With the last of them a reader that has come from a replay is told `ready`.
void reader_took(Reader *r, uint64_t id, const LiveFrame *frames, size_t gathered, size_t max, size_t taken);
// The common case, without a look at each frame: when everything that waits is for this reader and as it lies in the ring, its bytes in one or two pieces and
// how many frames they are. 0: nothing waits, or it has to be gathered. Then reader_took_all; or reader_took_bytes when only so many bytes have left, fewer than all: `*rest` is what is
// still to come of the frame that was cut there, or the whole next one, and the count is of the frames that have left with it.
size_t reader_span(const Reader *r, bool deflated, std::string_view pieces[2], int *pieces_count);
void reader_took_all(Reader *r, uint64_t id);
size_t reader_took_bytes(Reader *r, uint64_t id, size_t bytes, std::string_view *rest);

// A page of history that a live client asked for; the answer goes to the port's queue. *done tells (on the loop) that it was answered.
struct HistoryAsk {
    int64_t room, before;
    uint32_t limit;
    std::string_view ref;
};
Err sync_history(Hub *h, uint64_t id, User *user, const HistoryAsk &ask, void (*done)(uint64_t id));

// A page was read beside the loop, which may have told meanwhile of a deletion or an edit in that room: it would bring back what is gone. True: it is being read again, and its `done`
// runs again.
bool sync_read_again(Hub *h, StoreRead *page);
