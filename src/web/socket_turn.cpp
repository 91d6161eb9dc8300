// The end of a turn: who is written to, and in which order. Those who wrote; then those who were there, a part of them while every turn brings news; then who has something else to be told or is on the way to the
// present; then who has just come (newcomers.h). The last two have a bounded part of it, and the rest of them is served in the next one.
#include "web/socket_internal.h"

#include "base/assert.h"
#include "base/clock.h"
#include "web/newcomers.h"

#include <stdlib.h>
#include <string.h>

static SocketList dirty_list;   // sockets to be looked at in this turn though the ring has nothing new
static Socket *graveyard;       // linked by next_of_user
static uint32_t first_served;   // rotates, so that nobody is always the last
static uint64_t ring_seen;      // the ring's head at the last look
static uint32_t behind;         // sockets from `first_served` on that were not served since then
static uint64_t served_us;      // when some of them last were,
static uint64_t served_bytes;   // … and how far the ring's bytes went then
static uint32_t turn_sockets_min;

void sockets_turn_start(uint32_t at_least) {
    turn_sockets_min = at_least;
    ring_seen = sockets_hub->ring.head;
    behind = 0;
    newcomers_free();
}

// Who closes is replaced by the last in the list, which may so have been passed over, and who comes makes it longer: once round from here.
void sockets_list_changed() {
    if (behind) behind = sockets_all_count;
}

void socket_mark_dirty(Socket *s) {
    if (s->dirty) return;
    s->dirty = true;
    socket_list_add(dirty_list, s->id);
}

void socket_bury(Socket *s) {
    s->next_of_user = graveyard;
    graveyard = s;
}

// Most often everything new is for everybody, and is written as it lies in the ring. False: it has to be gathered.
static bool flush_span(Socket *s) {
    if (conn_busy(s->conn) || conn_private_bytes(s->conn)) return false;
    std::string_view bytes[2];
    int count;
    size_t frames = reader_span(&s->reader, ws_deflates(s->conn), bytes, &count);
    if (!frames) return false;
    Piece pieces[2];
    for (int i = 0; i < count; i++) pieces[i] = {bytes[i].data(), static_cast<uint32_t>(bytes[i].size())};
    size_t taken;
    if (conn_flush_span(s->conn, pieces, static_cast<size_t>(count), frames, &taken)) {
        reader_took_all(&s->reader, s->id);
    } else {
        std::string_view rest;
        frames = reader_took_bytes(&s->reader, s->id, taken, &rest);
        conn_flush_rest(s->conn, {rest.data(), static_cast<uint32_t>(rest.size())}, frames);
    }
    return true;
}

static void flush_live(Socket *s) {
    constexpr size_t frames_max = 256;
    static LiveFrame frames[frames_max]; // not on the stack: they would be cleared for each socket anew
    static Piece pieces[frames_max + 1];
    static Buf ready_wire;
    ConnId id = s->id;
    if (flush_span(s)) return;
    while (!conn_busy(s->conn)) {
        size_t gathered = reader_gather(&s->reader, id, ws_deflates(s->conn), frames, frames_max);
        if (s->reader.state != ReaderState::live) return socket_mark_dirty(s);
        for (size_t i = 0; i < gathered; i++) pieces[i] = {frames[i].bytes.data(), static_cast<uint32_t>(frames[i].bytes.size())};
        size_t count = gathered;
        if (std::string_view ready = reader_ready(&s->reader, gathered, frames_max); !ready.empty()) {
            buf_clear(ready_wire);
            socket_encode(s, ready_wire, ready);
            pieces[count++] = {ready_wire.data, static_cast<uint32_t>(ready_wire.len)};
        }
        size_t taken = count || conn_private_bytes(s->conn) ? conn_flush(s->conn, pieces, count) : 0;
        if (!socket_of(id)) return;
        if (taken > gathered) {
            reader_told_ready(&s->reader);
            taken = gathered;
        }
        reader_took(&s->reader, id, frames, gathered, frames_max, taken);
        if (gathered < frames_max || taken < gathered) return;
    }
}

static void serve(Socket *s) {
    ConnId id = s->id;
    if (s->reader.state == ReaderState::live) {
        flush_live(s);
    } else if (!conn_busy(s->conn)) {
        // Who goes on in the ring gets `welcome`, what was missed and `ready` with one write.
        bool goes_on = conn_private_bytes(s->conn) && reader_step_into_ring(&s->reader, id);
        if (!goes_on && conn_private_bytes(s->conn)) conn_flush(s->conn, nullptr, 0);
        if (!goes_on && socket_of(id) && conn_queued(s->conn) == 0) reader_step(&s->reader, id);
        // `ready` may have been queued just now, and the ring may have news behind it.
        if (socket_of(id) && s->reader.state == ReaderState::live) {
            if (!s->newcomer) newcomers_add(id, clock_ms());
            s->newcomer = true;
            flush_live(s);
        }
    }
    if (socket_of(id)) socket_update_pause(s);
}

// Those who have waited longest are heard, each with its share: so many at a time that all of them find room. If the first could take it all, it would be the first
// again the next time, with its answers, and others would wait for ever.
static void hear_the_crowd() {
    constexpr uint32_t room = write_queue_max - write_queue_crowded, share = room < 32 ? 1 : 32, heard_max = room / share;
    if (store_is_crowded(sockets_hub->store)) return;
    uint32_t heard = sockets_crowded.count < heard_max ? sockets_crowded.count : heard_max;
    for (uint32_t i = 0; i < heard; i++) {
        Socket *s = socket_of(sockets_crowded.ids[i]);
        if (!s) continue;
        s->crowded = false;
        s->share_left = share;
        socket_mark_dirty(s);
    }
    sockets_take_turns = heard > 0;
    if (!heard) return;
    sockets_crowded.count -= heard;
    memmove(sockets_crowded.ids, sockets_crowded.ids + heard, sockets_crowded.count * sizeof *sockets_crowded.ids);
}

// Who wrote has its acknowledgement before the others have the news, and so writes again before they all have it: what comes is one batch, not the most of one
// and its rest. With 100 readers and 10 writers a batch grew from 34 messages to 40. Not where most write, since then the others would always be the last.
static void serve_authors(uint32_t marked) {
    if (marked > sockets_all_count / 4) return;
    for (uint32_t i = 0; i < marked; i++) {
        Socket *s = socket_of(dirty_list.ids[i]);
        if (!s || s->reader.state != ReaderState::live) continue;
        s->dirty = false;
        serve(s);
    }
}

// A write costs nearly the same for one message and for a hundred. So while every turn brings news, a turn serves only a part of the sockets, each in its time; when a turn
// brings none, more of them, until all have everything. Nobody waits longer than this, or until so much waits; and nobody where there is time, or newcomers wait too.
constexpr uint64_t news_us_max = 8'000;
constexpr uint64_t news_bytes_max = 16 * 1024; // more in one write saves little, and would not fit into the kernel's buffer (socket_send_buffer_bytes)

static uint32_t part_due(bool is_news) {
    uint64_t now_us = clock_us(), n = sockets_all_count, bytes = sockets_hub->ring.byte_head;
    uint64_t part = turn_sockets_min, late = (now_us - served_us) * n / news_us_max, full = (bytes - served_bytes) * n / news_bytes_max;
    served_us = now_us;
    served_bytes = bytes;
    if (newcomers_wait()) return behind;
    if (is_news && late > part) part = late;
    if (is_news && full > part) part = full;
    return part < behind ? static_cast<uint32_t>(part) : behind;
}

// Of those who are live and no newcomers the next `count`. Returns how many there were.
static uint32_t serve_settled(uint32_t count) {
    uint32_t n = sockets_all_count, served = 0, i = 0;
    if (first_served >= n) first_served = 0; // some have gone since
    for (; i < behind && served < count; i++) {
        uint32_t at = first_served + i < n ? first_served + i : first_served + i - n;
        if (at + 8 < sockets_all_count) __builtin_prefetch(&sockets_all[at + 8]->reader), __builtin_prefetch(sockets_all[at + 8]);
        if (at + 4 < sockets_all_count) conn_prefetch(sockets_all[at + 4]->conn);
        if (at >= sockets_all_count || sockets_all[at]->newcomer || sockets_all[at]->reader.state != ReaderState::live) continue;
        served++;
        serve(sockets_all[at]);
    }
    if (sockets_all_count == n) behind -= i;
    first_served += i + (behind == 0); // or the same one would always be the first
    if (first_served >= n) first_served -= n;
    return served;
}

// Who is marked while it is served has its turn in the next one.
static void serve_marked(uint32_t marked) {
    uint64_t begin_us = marked ? clock_us() : 0;
    uint32_t served = 0;
    while (served < marked) {
        Socket *s = socket_of(dirty_list.ids[served++]);
        if (!s || !s->dirty) continue;
        s->dirty = false;
        serve(s);
        if (served % 4 == 0 && clock_us() - begin_us > arrivals_us_max) break; // the others first in the next turn
    }
    dirty_list.count -= served;
    if (served) memmove(dirty_list.ids, dirty_list.ids + served, dirty_list.count * sizeof *dirty_list.ids);
}

static void serve_newcomer(ConnId id) {
    Socket *s = socket_of(id);
    if (s && s->reader.state == ReaderState::live && s->reader.cursor != sockets_hub->ring.head) serve(s);
}

static void settle(ConnId id) {
    Socket *s = socket_of(id);
    if (!s) return;
    s->newcomer = false;
    if (s->reader.cursor != sockets_hub->ring.head) socket_mark_dirty(s); // the news may have been before
}

void sockets_turn(bool to_all) {
    static uint64_t share_us; // what newcomers may take of a turn: as much as those who were there took, or all when nobody was
    if (sockets_take_turns) hear_the_crowd();
    newcomers_settle(clock_ms(), settle);
    uint32_t marked = dirty_list.count; // before anybody is served
    if (ring_seen != sockets_hub->ring.head) {
        uint64_t begin_us = clock_us();
        serve_authors(marked);
        ring_seen = sockets_hub->ring.head;
        behind = sockets_all_count;
        bool alone = !serve_settled(to_all ? behind : part_due(true));
        uint64_t took_us = clock_us() - begin_us;
        share_us = alone ? UINT64_MAX : took_us > arrivals_us_max ? took_us : arrivals_us_max;
        newcomers_news();
    } else if (behind) {
        serve_settled(to_all ? behind : part_due(false));
    }
    serve_marked(marked);
    newcomers_serve(share_us, serve_newcomer);
    while (graveyard) {
        Socket *s = graveyard;
        graveyard = s->next_of_user;
        free(s);
    }
}

bool sockets_owe() {
    for (uint32_t i = 0; i < sockets_all_count; i++) {
        const Socket *s = sockets_all[i];
        if (conn_queued(s->conn)) return true;
        if (s->reader.state == ReaderState::live && s->reader.cursor != sockets_hub->ring.head) return true;
    }
    return false;
}

bool sockets_want_turn() {
    return dirty_list.count > 0 || behind > 0 || ring_seen != sockets_hub->ring.head || newcomers_wait() ||
        (sockets_take_turns && !store_is_crowded(sockets_hub->store));
}
