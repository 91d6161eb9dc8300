// The broadcast ring. Frames lie in a byte ring in the order of their seqs; one that would cross the end begins anew at the start, so that each is in one piece.
#include "chat/ring.h"

#include "base/assert.h"

#include <stdlib.h>
#include <string.h>

static_assert((ring_entries & (ring_entries - 1)) == 0);
static_assert((ring_bytes & (ring_bytes - 1)) == 0);
static_assert(frame_out_bytes_max * 4 <= ring_bytes, "a few of the largest frames must fit, or one of them empties the ring");

void ring_start(Ring *r, const RingFraming &framing, int64_t rev) {
    *r = {};
    r->framing = framing;
    r->head_rev = r->lost_rev = rev;
    r->entries = static_cast<RingEntry *>(mem_zero(sizeof(RingEntry) * ring_entries));
    r->bytes = static_cast<char *>(mem_alloc(ring_bytes));
}

static void evict_oldest(Ring *r) {
    RingEntry *e = ring_at(r, r->tail++);
    if (e->rev) r->lost_rev = e->rev;
    free(e->users);
    free(e->deflated);
    free(e->asked);
    e->users = nullptr;
    e->asked = nullptr;
    e->deflated = nullptr;
}

void ring_free(Ring *r) {
    while (r->tail != r->head) evict_oldest(r);
    free(r->entries);
    free(r->bytes);
    *r = {};
}

// Where the oldest entry begins, unwrapped: entries lie within ring_bytes before byte_head, so it is the largest place not beyond that with its `at`.
static uint64_t oldest_begin(const Ring *r) {
    uint64_t begin = (r->byte_head & ~uint64_t{ring_bytes - 1}) + r->entries[r->tail & (ring_entries - 1)].at;
    return begin < r->byte_head ? begin : begin - ring_bytes;
}

// Makes room for `bytes` in one piece and returns where.
static uint32_t claim(Ring *r, size_t bytes) {
    uint64_t at = r->byte_head & (ring_bytes - 1);
    uint64_t begin = at + bytes <= ring_bytes ? r->byte_head : r->byte_head - at + ring_bytes; // else anew at the start
    // The oldest go until none stands where the new one will, nor in what is left free at the end: they must go in their order.
    while (r->tail != r->head && (r->head - r->tail == ring_entries || oldest_begin(r) + ring_bytes < begin + bytes)) evict_oldest(r);
    if (begin != r->byte_head) r->wrap_end = static_cast<uint32_t>(at);
    else if (at == 0) r->wrap_end = ring_bytes;
    r->byte_head = begin + bytes;
    return static_cast<uint32_t>(begin & (ring_bytes - 1));
}

// A frame that does not stand in the ring's bytes.
static char *frame_copy(const Ring *r, std::string_view payload, uint32_t *len) {
    char header[16];
    size_t header_bytes = r->framing.header(header, payload.size());
    char *frame = static_cast<char *>(mem_alloc(header_bytes + payload.size()));
    memcpy(frame, header, header_bytes);
    memcpy(frame + header_bytes, payload.data(), payload.size());
    *len = static_cast<uint32_t>(header_bytes + payload.size());
    return frame;
}

void ring_push(Ring *r, int64_t rev, const Audience &audience, std::string_view payload, const NewMessage &message, const Asked &asked) {
    char header[16];
    size_t header_bytes = r->framing.header(header, payload.size());
    CB_ASSERT(header_bytes <= sizeof header && header_bytes + payload.size() <= ring_bytes / 2);
    CB_ASSERT(rev == 0 || rev > r->head_rev);

    uint32_t len = static_cast<uint32_t>(header_bytes + payload.size());
    uint32_t at = claim(r, len);
    memcpy(r->bytes + at, header, header_bytes);
    memcpy(r->bytes + at + header_bytes, payload.data(), payload.size());

    const int64_t *users = audience.kind == AudienceKind::users ? audience.users : message.mentions;
    uint32_t users_count = audience.kind == AudienceKind::users ? audience.users_count : message.mentions_count;
    int64_t *copy = nullptr;
    if (users_count) {
        copy = static_cast<int64_t *>(mem_alloc(users_count * sizeof *copy));
        memcpy(copy, users, users_count * sizeof *copy);
    }
    RingEntry *e = ring_at(r, r->head);
    *e = {.rev = rev,
          .asker = asked.reader,
          .asked = nullptr,
          .deflated = nullptr,
          .at = at,
          .len = len,
          .deflated_len = 0,
          .asked_len = 0,
          .kind = audience.kind,
          .deflate_tried = false,
          .asked_header = 0,
          .users_count = users_count,
          .room = audience.room,
          .but = audience.but,
          .users = copy,
          .message = message.id,
          .sender = message.sender};
    if (asked.reader) {
        e->asked = frame_copy(r, asked.payload, &e->asked_len);
        e->asked_header = (uint8_t)(e->asked_len - asked.payload.size());
    }
    r->head++;
    if (asked.reader) r->personal = r->head;
    if (rev) r->head_rev = rev;
    if (audience.kind != AudienceKind::everybody) r->restricted = r->head;
}

void ring_skip(Ring *r, int64_t rev) {
    CB_ASSERT(rev >= r->head_rev);
    r->head_rev = rev;
    if (r->tail == r->head) r->lost_rev = rev;
}

uint64_t ring_find(const Ring *r, int64_t rev) {
    CB_ASSERT(ring_covers(r, rev));
    // From the newest backwards: who asks is nearly always close to the head. Passing frames before the first one wanted are old news.
    uint64_t found = r->head;
    for (uint64_t seq = r->head; seq != r->tail; seq--) {
        const RingEntry *e = &r->entries[(seq - 1) & (ring_entries - 1)];
        if (e->rev && e->rev <= rev) break;
        if (e->rev) found = seq - 1;
    }
    return found;
}

int ring_span(const Ring *r, uint64_t seq, std::string_view pieces[2]) {
    uint32_t begin = r->entries[seq & (ring_entries - 1)].at;
    uint32_t end = static_cast<uint32_t>(r->byte_head & (ring_bytes - 1));
    if (begin < end) {
        pieces[0] = {r->bytes + begin, end - begin};
        return 1;
    }
    // The newest frame may end where the bytes end: then nothing has begun at their start.
    if (end == 0) {
        pieces[0] = {r->bytes + begin, ring_bytes - begin};
        return 1;
    }
    pieces[0] = {r->bytes + begin, r->wrap_end - begin};
    pieces[1] = {r->bytes, end};
    return 2;
}

std::string_view ring_frame_deflated(Ring *r, RingEntry *e) {
    if (!e->deflate_tried) {
        e->deflate_tried = true;
        std::string_view frame = ring_frame(r, e);
        char header[16];
        // The header's length depends on the payload's; find the one that fits this frame.
        size_t header_bytes = 2;
        while (r->framing.header(header, frame.size() - header_bytes) != header_bytes) header_bytes++;
        Buf out;
        if (frame.size() >= deflate_bytes_min && r->framing.deflate(out, frame.substr(header_bytes))) {
            e->deflated = out.data;
            e->deflated_len = static_cast<uint32_t>(out.len);
        } else {
            buf_free(out);
        }
    }
    return e->deflated ? std::string_view{e->deflated, e->deflated_len} : ring_frame(r, e);
}
