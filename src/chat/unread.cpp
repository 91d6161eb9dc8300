// Unread counts: see unread.h. A count belongs to a room, a user and the mark it begins at, whoever is in the room, so it never shows more than the store would.
#include "chat/unread.h"

#include <string.h>

struct Counted {
    Mark mark;              // of the counts; room 0: the place is empty
    int64_t rev;            // as of which they are
    UnreadCount counts;
};

static Counted counted[unread_kept];
static bool any;

static Counted *place_of(int64_t room, int64_t user) {
    uint64_t hash = (static_cast<uint64_t>(room) << 32 ^ static_cast<uint64_t>(user)) * 0x9e3779b97f4a7c15u;
    return &counted[hash >> 32 & (unread_kept - 1)];
}

void unread_note(const Mark &mark, int64_t rev, const UnreadCount &counts) {
    *place_of(mark.room, mark.user) = {mark, rev, counts};
    any = true;
}

void unread_forget() {
    if (any) memset(counted, 0, sizeof counted); // else its memory stays untouched
    any = false;
}

static void count(uint32_t &n, uint32_t by) { n = n + by < unread_max ? n + by : unread_max; }

bool unread_add_newer(const Hub *h, const Member *member, int64_t rev, uint32_t *looks, UnreadCount *counts) {
    const Ring *ring = &h->ring;
    const User *user = member->user;
    if (!ring_covers(ring, rev)) return false;
    bool is_exact = true;
    for (uint64_t seq = ring->head; seq != ring->tail; seq--) {
        const RingEntry *e = &ring->entries[(seq - 1) & (ring_entries - 1)];
        if (e->rev && e->rev <= rev) break;
        if (*looks == 0) return false;
        --*looks;
        if (!e->rev || e->room != member->room->id || e->kind == AudienceKind::users) continue;
        if (!e->message) {
            is_exact = false; // a change: what it was before is not in memory; what is new counts all the same
            continue;
        }
        if (e->message <= member->seen || e->sender == user->id) continue;
        uint32_t calls = 0;
        for (uint32_t i = 0; i < e->users_count; i++) calls |= e->users[i] == user->id;
        count(counts->unread, 1);
        count(counts->mentions, calls);
    }
    return is_exact;
}

bool unread_known(const Hub *h, const Member *member, uint32_t *looks, UnreadCount *out) {
    const Room *room = member->room;
    *out = {};
    if (member->seen >= room->last) return true;
    const Counted *kept = place_of(room->id, member->user->id);
    bool is_kept = kept->mark.room == room->id && kept->mark.user == member->user->id && kept->mark.id == member->seen;
    if (is_kept) *out = kept->counts;
    if (!unread_add_newer(h, member, is_kept ? kept->rev : member->seen, looks, out)) return false;
    unread_note({room->id, member->user->id, member->seen}, hub_rev(h), *out); // whoever comes next has less to look at
    return true;
}

bool unread_of_read(const Hub *h, const StoreRead *rd, const Member *member, UnreadCount *out) {
    uint32_t looks = UINT32_MAX;
    *out = {};
    if (member->seen >= member->room->last) return true;
    for (uint32_t i = 0; i < rd->marks_count; i++) {
        if (rd->marks[i].room != member->room->id) continue;
        *out = rd->counts[i];
        // What was changed in the blink of the read may be counted once too often, and of a mark that moved what is above the old one: that lasts until the next `seen`.
        (void)unread_add_newer(h, member, rd->snapshot_rev, &looks, out);
        return true;
    }
    return unread_known(h, member, &looks, out);
}
