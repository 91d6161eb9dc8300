// Sync, in the ring: who sees which entry, what is new for a reader since its cursor, and how far it has come by what the kernel took. See sync.h for the
// picture.
#include "chat/sync_internal.h"

#include "base/metrics.h"
#include "chat/presence.h"

static void put_ready(Buf &out, int64_t rev) {
    JsonWriter w{.out = &out};
    json_begin(w, '{');
    json_field(w, "type", "ready");
    json_field_int(w, "rev", rev);
    presence_put_online(sync_hub, w);
    json_end(w, '}');
}

void reader_tell_ready(Reader *r, uint64_t id) {
    r->owes_ready = false;
    ScopedBuf ready;
    put_ready(ready, r->position);
    sync_port.queue(id, buf_view(ready));
}

std::string_view reader_ready(const Reader *r, size_t gathered, size_t max) {
    static Buf ready;
    if (!r->owes_ready || gathered == max) return {};
    buf_clear(ready);
    put_ready(ready, r->position > hub_rev(sync_hub) ? r->position : hub_rev(sync_hub));
    return buf_view(ready);
}

bool reader_sees(const Reader *r, const RingEntry *e) {
    switch (e->kind) {
    case AudienceKind::everybody: return true;
    case AudienceKind::room_but:
        if (e->but == r->user->id) return false;
        [[fallthrough]];
    case AudienceKind::room: return model_member(&sync_hub->model, e->room, r->user->id) != nullptr;
    case AudienceKind::outsiders: return model_member(&sync_hub->model, e->room, r->user->id) == nullptr;
    case AudienceKind::users:
        if (e->room && !model_member(&sync_hub->model, e->room, r->user->id)) return false;
        for (uint32_t i = 0; i < e->users_count; i++)
            if (e->users[i] == r->user->id) return true;
        return false;
    }
    return false;
}

size_t reader_gather(Reader *r, uint64_t id, bool deflated, LiveFrame *out, size_t max) {
    Ring *ring = &sync_hub->ring;
    if (r->cursor < ring->tail) {
        r->state = ReaderState::catching_up;
        r->replay_to = hub_rev(sync_hub);
        r->cursor = ring->head;
        metric_add(Metric::sockets_overrun);
        metric_add(Metric::sockets_catching_up);
        return 0;
    }
    size_t count = 0;
    bool judge = r->cursor < ring->restricted;
    for (uint64_t seq = r->cursor; seq != ring->head && count < max; seq++) {
        RingEntry *e = ring_at(ring, seq);
        if (e->rev ? e->rev <= r->position : seq < r->hints_from) continue; // it came with the replay, or passed before the reader was here
        if (judge && !reader_sees(r, e)) continue;
        std::string_view frame = e->asker && e->asker == id ? ring_frame_asked(e) : deflated ? ring_frame_deflated(ring, e) : ring_frame(ring, e);
        out[count++] = {frame, seq};
    }
    return count;
}

size_t reader_span(const Reader *r, bool deflated, std::string_view pieces[2], int *pieces_count) {
    Ring *ring = &sync_hub->ring;
    if (deflated || r->cursor < ring->tail || r->cursor == ring->head || r->cursor < r->hints_from) return 0;
    if (r->cursor < ring->restricted || r->cursor < ring->personal) return 0;
    // What came with a replay is not sent again, nor what passed before it.
    if (ring_at(ring, r->cursor)->rev <= r->position) return 0;
    *pieces_count = ring_span(ring, r->cursor, pieces);
    return ring->head - r->cursor;
}

void reader_took_all(Reader *r, uint64_t id) {
    Ring *ring = &sync_hub->ring;
    r->cursor = ring->head;
    if (ring->head_rev > r->position) r->position = ring->head_rev;
    r->seen_stamp = sync_hub->model.seen_stamp;
    if (r->owes_ready) reader_tell_ready(r, id);
}

size_t reader_took_bytes(Reader *r, uint64_t id, size_t bytes, std::string_view *rest) {
    Ring *ring = &sync_hub->ring;
    uint64_t from = r->cursor;
    const RingEntry *e;
    for (;; bytes -= e->len) {
        e = ring_at(ring, r->cursor++);
        if (e->rev) r->position = e->rev;
        if (bytes < e->len) break;
    }
    *rest = ring_frame(ring, e).substr(bytes);
    size_t frames = r->cursor - from;
    if (r->cursor == ring->head) reader_took_all(r, id);
    return frames;
}

void reader_took(Reader *r, uint64_t id, const LiveFrame *frames, size_t gathered, size_t max, size_t taken) {
    Ring *ring = &sync_hub->ring;
    uint64_t from = r->cursor;
    if (taken == gathered && gathered < max) return reader_took_all(r, id); // what lies behind the last one was not for this reader
    if (taken) r->cursor = frames[taken - 1].seq + 1;
    if (r->cursor == ring->head) return reader_took_all(r, id);
    for (uint64_t seq = r->cursor; seq != from; seq--) {
        const RingEntry *e = ring_at(ring, seq - 1);
        if (!e->rev) continue;
        if (e->rev > r->position) r->position = e->rev;
        break;
    }
}
