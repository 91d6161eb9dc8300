// Who is here, and who is typing.
#include "chat/presence.h"

#include "chat/protocol.h"

#include <stdlib.h>

static void changed(Hub *h, User *user, bool online, uint64_t now_ms) {
    user->online = online;
    h->model.online_count += online ? 1 : -1;
    h->online_json_valid = false;
    if (h->presence_count == h->presence_capacity) {
        h->presence_capacity = h->presence_capacity ? h->presence_capacity * 2 : 16;
        h->presence_changed = static_cast<int64_t *>(mem_grow(h->presence_changed, h->presence_capacity * sizeof *h->presence_changed));
    }
    for (uint32_t i = 0; i < h->presence_count; i++)
        if (h->presence_changed[i] == user->id) return; // what is told is how it stands then
    h->presence_changed[h->presence_count++] = user->id;
    if (!h->presence_due_ms) h->presence_due_ms = now_ms + presence_gather_ms;
}

void presence_come(Hub *h, User *user, uint64_t now_ms) {
    user->sockets++;
    user->offline_at_ms = 0;
    if (!user->online) changed(h, user, true, now_ms);
}

void presence_leave(Hub *h, User *user, uint64_t now_ms) {
    if (--user->sockets > 0) return;
    user->offline_at_ms = now_ms + presence_linger_ms;
    if (!h->linger_due_ms || user->offline_at_ms < h->linger_due_ms) h->linger_due_ms = user->offline_at_ms;
}

void presence_end(Hub *h, User *user, uint64_t now_ms) {
    if (!user->online || user->sockets) return;
    user->offline_at_ms = 0;
    changed(h, user, false, now_ms);
}

// Each look goes through everybody, so there are at most four in a second, however many leave.
constexpr uint32_t look_gap_ms = 250;

static void end_lingering(Hub *h, uint64_t now_ms) {
    h->linger_due_ms = 0;
    IdMapEntry e;
    for (uint32_t i = 0; idmap_next(h->model.users_by_id, &i, &e);) {
        auto *user = static_cast<User *>(e.value);
        if (!user->offline_at_ms) continue;
        if (user->offline_at_ms <= now_ms) {
            user->offline_at_ms = 0;
            changed(h, user, false, now_ms);
        } else if (!h->linger_due_ms || user->offline_at_ms < h->linger_due_ms) {
            h->linger_due_ms = user->offline_at_ms;
        }
    }
    if (h->linger_due_ms && h->linger_due_ms < now_ms + look_gap_ms) h->linger_due_ms = now_ms + look_gap_ms;
}

void presence_turn(Hub *h, uint64_t now_ms) {
    if (h->linger_due_ms && h->linger_due_ms <= now_ms) end_lingering(h, now_ms);
    if (!h->presence_due_ms || h->presence_due_ms > now_ms) return;
    h->presence_due_ms = 0;
    // In portions, so that a crowd that comes back after a restart does not make one frame beyond all bounds.
    for (uint32_t from = 0; from < h->presence_count; from += online_names_max) {
        uint32_t to = from + online_names_max < h->presence_count ? from + online_names_max : h->presence_count;
        ScopedBuf frame;
        JsonWriter w{.out = &frame};
        json_begin(w, '{');
        json_field(w, "type", "presence");
        for (bool online : {true, false}) {
            json_key(w, online ? "online" : "offline");
            json_begin(w, '[');
            for (uint32_t i = from; i < to; i++) {
                const User *user = model_user(&h->model, h->presence_changed[i]);
                if (user && user->online == online) json_put_string(w, user->name);
            }
            json_end(w, ']');
        }
        json_end(w, '}');
        ring_push(&h->ring, 0, {}, buf_view(frame));
    }
    h->presence_count = 0;
}

uint64_t presence_due_ms(const Hub *h) {
    if (!h->presence_due_ms) return h->linger_due_ms;
    if (!h->linger_due_ms) return h->presence_due_ms;
    return h->presence_due_ms < h->linger_due_ms ? h->presence_due_ms : h->linger_due_ms;
}

void presence_put_online(Hub *h, JsonWriter &w) {
    if (h->model.online_count > online_names_max) {
        json_field_int(w, "online_count", h->model.online_count);
        return;
    }
    if (!h->online_json_valid) {
        buf_clear(h->online_json);
        JsonWriter names{.out = &h->online_json};
        json_begin(names, '[');
        IdMapEntry e;
        for (uint32_t i = 0; idmap_next(h->model.users_by_id, &i, &e);)
            if (static_cast<User *>(e.value)->online) json_put_string(names, static_cast<User *>(e.value)->name);
        json_end(names, ']');
        h->online_json_valid = true;
    }
    json_key(w, "online");
    json_put_raw(w, buf_view(h->online_json));
}

Err presence_typing(Hub *h, User *user, int64_t room, uint64_t now_ms) {
    Member *member;
    if (Err err = hub_member(h, user, room, &member); err != Err::ok) return err;
    if (member->typing_told_ms && now_ms - member->typing_told_ms < typing_gap_ms) return Err::ok;
    member->typing_told_ms = now_ms;
    ScopedBuf frame;
    frame_typing(frame, room, user);
    ring_push(&h->ring, 0, {.kind = AudienceKind::room_but, .room = room, .but = user->id}, buf_view(frame));
    return Err::ok;
}
