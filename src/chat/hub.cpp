// The hub. In this order: starting; applying what was committed; submitting; what people do; time.
#include "chat/hub.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "base/unicode.h"
#include "chat/presence.h"
#include "chat/protocol.h"
#include "chat/rules.h"
#include "chat/seen.h"
#include "chat/unread.h"

#include <stdlib.h>
#include <string.h>

// --- starting

static void load_user(void *owner, const UserRow &row, std::string_view key) { model_put_user(static_cast<Model *>(owner), row, key); }
static void load_room(void *owner, const RoomRow &row, std::string_view) { model_put_room(static_cast<Model *>(owner), row); }
static void load_member(void *owner, const MemberRow &row) { model_put_member(static_cast<Model *>(owner), row); }
static void load_session(void *owner, const SessionRow &row) { model_put_session(static_cast<Model *>(owner), row); }

static bool load(Hub *h) {
    unread_forget();
    StoreLoad into = {.owner = &h->model, .user = load_user, .room = load_room, .member = load_member, .session = load_session};
    return store_load(h->store, into);
}

bool hub_start(Hub *h, Store *store, const RingFraming &framing, const HubOptions &options, const HubHooks &hooks, Words *words) {
    *h = {};
    h->store = store;
    h->options = options;
    h->hooks = hooks;
    h->words = words;
    ring_start(&h->ring, framing, store_rev(store));
    return load(h);
}

static void forget(Hub *h) {
    model_free(&h->model);
    h->marks_dirty.count = h->marks_pending.count = 0;
    h->marks_dirty_since_ms = h->marks_pending_due_ms = 0;
    h->marks_writing = false;
    h->presence_count = 0;
    h->presence_due_ms = h->linger_due_ms = 0;
    h->online_json_valid = false;
}

// What of its people no store knows: a login that is under way must still meet a password that was changed meanwhile, nobody's rate begins anew, and a mark that was told does
// not go back.
static void keep_from(Hub *h, const Model *before) {
    IdMapEntry e;
    for (uint32_t i = 0; idmap_next(before->users_by_id, &i, &e);) {
        const auto *was = static_cast<const User *>(e.value);
        User *user = model_user(&h->model, was->id);
        if (!user) continue;
        user->passwords = was->passwords;
        user->messages = was->messages;
        user->requests = was->requests;
    }
    for (uint32_t i = 0; idmap_next(before->members, &i, &e);) {
        const auto *was = static_cast<const Member *>(e.value);
        if (Member *member = model_member(&h->model, was->room->id, was->user->id)) seen_keep(h, member, was->seen, clock_ms());
    }
}

bool hub_reload(Hub *h) {
    RingFraming framing = h->ring.framing;
    Model before = h->model;
    h->model = {};
    forget(h);
    ring_free(&h->ring);
    ring_start(&h->ring, framing, store_rev(h->store));
    bool is_loaded = load(h);
    keep_from(h, &before);
    model_free(&before);
    return is_loaded;
}

void hub_stop(Hub *h) {
    forget(h);
    ring_free(&h->ring);
    words_free(h->words);
    free(h->marks_dirty.refs);
    free(h->marks_pending.refs);
    free(h->presence_changed);
    buf_free(h->online_json);
    *h = {};
}

// What the hub remembers of a submitted write, in the write's own arena.
struct Pending {
    Hub *hub;
    HubFinish finish;
    std::string_view ref;
};

std::string_view hub_ref(const StoreWrite *w) { return static_cast<const Pending *>(w->owner)->ref; }

// --- applying what was committed: the only place that changes the model by the log, and the only one that pushes its frames

static void end_session(Hub *h, Session *session) {
    h->hooks.session_ended(session);
    model_drop_session(&h->model, session);
}

// First the model takes in all changes of a write, then their frames are pushed: so that a new room's frame already counts its members.
static void apply(Hub *h, const Change &c) {
    Model *m = &h->model;
    switch (c.kind) {
    case ChangeKind::user: {
        ScopedBuf key;
        CB_ASSERT(unicode_fold_key(c.user.name, key));
        User *user = model_put_user(m, c.user, buf_view(key));
        while (user->deleted && user->sessions) end_session(h, user->sessions);
        if (user->deleted) presence_end(h, user, clock_ms());
        break;
    }
    case ChangeKind::room: model_put_room(m, c.room); break;
    case ChangeKind::member:
        if (!c.member.left) model_put_member(m, c.member);
        else if (Member *member = model_member(m, c.member.room, c.member.user)) model_drop_member(m, member);
        break;
    case ChangeKind::message:
        if (c.message.id == c.message.rev) model_room(m, c.message.room)->last = c.message.id;
        break;
    }
}

static void push_room(Hub *h, const Change &c, bool is_new, Buf &frame) {
    const Room *room = model_room(&h->model, c.room.id);
    bool for_all = room->kind == RoomKind::room && !room->is_private;
    frame_room(frame, c.rev, room);
    // Who is in a new room from the start gets it with the frame of having joined.
    AudienceKind kind = is_new && for_all ? AudienceKind::outsiders : for_all ? AudienceKind::everybody : AudienceKind::room;
    if (is_new && !for_all) ring_skip(&h->ring, c.rev);
    else ring_push(&h->ring, c.rev, {.kind = kind, .room = room->id}, buf_view(frame));
}

static void push_member(Hub *h, const Change &c, Buf &frame) {
    const Member *member = model_member(&h->model, c.member.room, c.member.user);
    // Who has left again before the frame of having joined is sent is not told about the room any more.
    int64_t room = 0;
    if (c.member.left || !member) frame_room_left(frame, c.rev, c.member.room);
    else frame_room_joined(frame, c.rev, member), room = c.member.room;
    ring_push(&h->ring, c.rev, {.kind = AudienceKind::users, .room = room, .users = &c.member.user, .users_count = 1}, buf_view(frame));
}

static void push_message(Hub *h, const StoreWrite *w, const Change &c, Buf &frame) {
    const MessageRow &m = c.message;
    NewMessage fresh;
    if (m.id == m.rev) fresh = {.id = m.id, .sender = m.sender, .mentions = m.mentions, .mentions_count = m.mentions_count};
    frame_message(frame, &h->model, m);
    ScopedBuf own;
    Asked asked;
    if (std::string_view ref = hub_ref(w); ref.data()) {
        frame_message(own, &h->model, m, false, ref);
        asked = {.reader = w->owner_id, .payload = buf_view(own)};
    }
    // Everybody is in the lobby, so what is for the lobby needs no judging.
    AudienceKind kind = m.room == lobby_id ? AudienceKind::everybody : AudienceKind::room;
    ring_push(&h->ring, c.rev, {.kind = kind, .room = m.room}, buf_view(frame), fresh, asked);
}

static void push(Hub *h, const StoreWrite *w, const Change &c) {
    ScopedBuf frame;
    switch (c.kind) {
    case ChangeKind::user:
        frame_user(frame, c.rev, model_user(&h->model, c.user.id));
        return ring_push(&h->ring, c.rev, {}, buf_view(frame));
    case ChangeKind::room: return push_room(h, c, w->kind == WriteKind::room_add, frame);
    case ChangeKind::member: return push_member(h, c, frame);
    case ChangeKind::message: return push_message(h, w, c, frame);
    }
}

// --- warnings. A page that had no answer sends its message again, even while the first one still waits for a slow disk, and one message is to bring one warning. So the last ones of all
// people are remembered from when they are handed to the store, by nonce and text. When one was not given after all, that person's are forgotten: what comes again is counted then.

static void forget_warned(Hub *h, int64_t user) {
    for (Warned &known : h->warned)
        if (known.user == user) known = {};
}

static bool warned_before(Hub *h, int64_t user, std::string_view nonce, std::string_view text) {
    if (nonce.empty()) return false;
    ScopedBuf both;
    buf_add(both, nonce);
    buf_add_char(both, '\0');
    buf_add(both, text);
    uint64_t hash = keyed_hash(buf_view(both));
    for (const Warned &known : h->warned)
        if (known.user == user && known.hash == hash) return true;
    h->warned[h->warned_next++ % (sizeof h->warned / sizeof *h->warned)] = {user, hash};
    return false;
}

// What a write did beside its changes: sessions, warnings and blocks have no rev.
static void apply_rest(Hub *h, const StoreWrite *w) {
    User *user = model_user(&h->model, w->user);
    for (uint32_t i = 0; user && i < w->ended_sessions_count; i++)
        if (Session *ended = model_session_of(user, w->ended_sessions[i])) end_session(h, ended);
    switch (w->kind) {
    case WriteKind::session_add: {
        SessionRow row = {.id = w->session_id, .user = w->user, .token_hash = {}, .created = w->time, .last_used = w->time, .agent = {}, .address = {}};
        memcpy(row.token_hash, w->token_hash, hash_bytes);
        model_put_session(&h->model, row);
        break;
    }
    case WriteKind::session_end:
        if (Session *session = user ? model_session_of(user, w->session_id) : nullptr) end_session(h, session);
        break;
    case WriteKind::user_password:
        CB_ASSERT(user);
        if (!w->renew_only) user->passwords++;
        break;
    case WriteKind::message_refuse:
        if (!w->flag) metric_add(Metric::warnings);
        [[fallthrough]];
    case WriteKind::user_block: {
        CB_ASSERT(user);
        bool was_blocked = user->blocked;
        user->warnings = w->user_row.warnings;
        user->blocked = w->user_row.blocked;
        if (!user->warnings) forget_warned(h, user->id); // it was unblocked, and begins anew
        if (!user->blocked || was_blocked) break;
        h->hooks.user_blocked(user);
        presence_end(h, user, clock_ms());
        break;
    }
    default: break;
    }
}

static void take_in(Hub *h, const StoreWrite *w) {
    for (uint32_t i = 0; i < w->changes_count; i++) apply(h, w->changes[i]);
    for (uint32_t i = 0; i < w->changes_count; i++) push(h, w, w->changes[i]);
}

static void decided(StoreWrite *w) {
    auto *pending = static_cast<Pending *>(w->owner);
    Hub *h = pending->hub;
    HubFinish finish = pending->finish;
    // A warning is told before the block that it may bring, so `finish` comes first there.
    bool is_news = w->err == Err::ok && !w->is_repeat, is_warning = hub_is_warning(w);
    if (is_news) take_in(h, w);
    if (is_news && !is_warning) apply_rest(h, w);
    finish(h, w);
    if (is_warning) apply_rest(h, w);
    if (w->kind == WriteKind::message_refuse && w->verdict == Err::stop_word && !is_warning && !w->flag) forget_warned(h, w->user);
    store_write_free(w);
}

void hub_submit(Hub *h, StoreWrite *w, const HubOrigin &origin, HubFinish finish) {
    auto *pending = static_cast<Pending *>(arena_alloc(w->arena, sizeof(Pending)));
    *pending = {h, finish, arena_copy(w->arena, origin.ref)};
    w->owner_id = origin.id;
    w->owner_extra = origin.extra;
    w->owner = pending;
    w->done = decided;
    if (store_submit(h->store, w)) return;
    w->err = Err::unavailable;
    decided(w);
}

StoreWrite *hub_write_new(WriteKind kind, const User *by) {
    StoreWrite *w = store_write_new(kind);
    w->by = by ? by->id : 0;
    w->time = clock_wall_ms();
    return w;
}

// --- what people do

Err hub_check_words(const Hub *h, std::string_view text) { return words_match(h->words, text) ? Err::stop_word : Err::ok; }

Err hub_member(const Hub *h, const User *user, int64_t room_id, Member **out) {
    const Room *room = model_room(&h->model, room_id);
    if (!room) return Err::not_found;
    *out = model_member(&h->model, room_id, user->id);
    if (*out) return Err::ok;
    return room->is_private || room->kind == RoomKind::direct ? Err::not_found : Err::not_member;
}

// Whom the text calls: each @name of somebody in the room, once.
static void find_mentions(Hub *h, int64_t room, std::string_view text, StoreWrite *w) {
    if (text.find('@') == std::string_view::npos) return;
    auto *ids = static_cast<int64_t *>(arena_alloc(w->arena, mentions_max * sizeof(int64_t)));
    for (size_t at = 0; at < text.size() && w->ids_count < mentions_max;) {
        size_t here = at;
        if (utf8_next(text, &at) != '@') continue;
        unsigned char before = here ? static_cast<unsigned char>(text[here - 1]) : ' ';
        bool inside_word = (before >= '0' && before <= '9') || (before >= 'a' && before <= 'z') || (before >= 'A' && before <= 'Z');
        if (inside_word) continue; // an e-mail address; scripts without spaces may well stand before a name
        size_t end = at, chars = 0;
        for (size_t next = end; chars <= username_chars_max; chars++) {
            int32_t n = utf8_next(text, &next);
            if (n < 0 || !(unicode_is_letter_or_digit(n) || n == '_' || n == '-' || n == '.')) break;
            end = next;
        }
        std::string_view name = text.substr(at, end - at);
        while (!name.empty() && name.back() == '.') name.remove_suffix(1); // the sentence's, not the name's
        const User *user = name.empty() ? nullptr : model_user_by_name(&h->model, name);
        if (!user || user->deleted || !model_member(&h->model, room, user->id)) continue;
        bool known = false;
        for (uint32_t i = 0; i < w->ids_count; i++) known |= ids[i] == user->id;
        if (!known) ids[w->ids_count++] = user->id;
    }
    w->ids = ids;
}

// The text of a message or an edit: cleaned into `clean`, or the reason against it.
static Err check_text(Hub *h, std::string_view text, Buf &clean) {
    if (Err err = rules_text(text, h->options.text_chars_max, &clean); err != Err::ok) return err;
    return hub_check_words(h, buf_view(clean));
}

// What can be said against a message before the store is asked.
static Err check_post(Hub *h, const User *user, int64_t room, std::string_view text, Buf &clean) {
    Member *member;
    if (Err err = hub_member(h, user, room, &member); err != Err::ok) return err;
    if (member->room->archived) return Err::archived;
    return check_text(h, text, clean);
}

// Refuses a message or an edit: here and now, unless the store has to be asked for what it knows by the nonce, or has to count a warning.
static Err refuse(Hub *h, User *user, Err verdict, int64_t room, std::string_view text, std::string_view nonce, const HubOrigin &origin, HubFinish finish) {
    if (nonce.empty() && verdict != Err::stop_word) return verdict;
    StoreWrite *w = hub_write_new(WriteKind::message_refuse, user);
    w->user = user->id;
    w->room = room;
    w->verdict = verdict;
    w->limit = h->options.warnings_limit;
    w->flag = verdict == Err::stop_word && warned_before(h, user->id, nonce, text);
    w->nonce = arena_copy(w->arena, nonce);
    hub_submit(h, w, origin, finish);
    return Err::ok;
}

Err hub_post(Hub *h, User *user, int64_t room, std::string_view text, std::string_view nonce, int64_t reply, const HubOrigin &origin, HubFinish finish) {
    if (user->blocked) return Err::blocked;
    ScopedBuf clean;
    if (Err verdict = check_post(h, user, room, text, clean); verdict != Err::ok) return refuse(h, user, verdict, room, text, nonce, origin, finish);
    StoreWrite *w = hub_write_new(WriteKind::message_post, user);
    w->user = user->id;
    w->room = room;
    w->reply = reply;
    w->text = arena_copy(w->arena, buf_view(clean));
    w->nonce = arena_copy(w->arena, nonce);
    find_mentions(h, room, w->text, w);
    hub_submit(h, w, origin, finish);
    return Err::ok;
}

Err hub_edit(Hub *h, User *user, int64_t message, std::string_view text, const HubOrigin &origin, HubFinish finish) {
    if (user->blocked) return Err::blocked;
    if (message < 1) return Err::bad_request;
    ScopedBuf clean;
    if (Err verdict = check_text(h, text, clean); verdict != Err::ok) return refuse(h, user, verdict, 0, {}, {}, origin, finish);
    StoreWrite *w = hub_write_new(WriteKind::message_edit, user);
    w->user = user->id;
    w->message = message;
    w->text = arena_copy(w->arena, buf_view(clean));
    find_mentions(h, lobby_id, w->text, w); // every user is in the lobby; the store leaves out who is not in the message's room
    hub_submit(h, w, origin, finish);
    return Err::ok;
}

Err hub_delete(Hub *h, User *user, int64_t message, const HubOrigin &origin, HubFinish finish) {
    if (user->blocked) return Err::blocked;
    if (message < 1) return Err::bad_request;
    StoreWrite *w = hub_write_new(WriteKind::message_delete, user);
    w->user = user->id;
    w->message = message;
    hub_submit(h, w, origin, finish);
    return Err::ok;
}

// --- time

// A session that is over is refused from then on. Here its row goes too, and with it the address and the browser that its owner could see. That is for good, so it is not done by a
// clock that has just been set, perhaps wrongly: only where it went like the monotonic one since the last look. Nobody is woken for it.
static bool clock_goes_steadily(Hub *h) {
    constexpr int64_t difference_ms_max = 60'000;
    int64_t difference = clock_wall_ms() - static_cast<int64_t>(clock_ms());
    int64_t change = difference - h->sweep_clock_difference;
    h->sweep_clock_difference = difference;
    return clock_is_set() && change < difference_ms_max && change > -difference_ms_max;
}

static uint32_t end_old_sessions(Hub *h) {
    uint32_t found = 0;
    IdMapEntry e;
    for (uint32_t i = 0; found < sessions_swept_max && idmap_next(h->model.sessions_by_token, &i, &e);) {
        const auto *session = static_cast<const Session *>(e.value);
        bool in_use = session->touched_ms && clock_ms() - session->touched_ms < 2 * session_touch_ms; // whatever the dates say
        if (in_use || !session_is_over(session, h->options.session_life)) continue;
        found++;
        StoreWrite *w = hub_write_new(WriteKind::session_end, nullptr);
        w->user = session->user->id;
        w->session_id = session->id;
        w->flag = true;
        hub_submit(h, w, {}, hub_unanswered);
    }
    return found;
}

static void sweep_turn(Hub *h, uint64_t now_ms) {
    if (h->sweep_due_ms > now_ms) return;
    bool is_first = !h->sweep_due_ms, steady = clock_goes_steadily(h);
    uint32_t found = is_first || !steady ? 0 : end_old_sessions(h);
    h->sweep_due_ms = now_ms + (found == sessions_swept_max ? sweep_again_ms : sweep_ms);
}

void hub_turn(Hub *h, uint64_t now_ms) {
    seen_turn(h, now_ms);
    presence_turn(h, now_ms);
    sweep_turn(h, now_ms);
}

uint64_t hub_due_ms(const Hub *h) {
    uint64_t seen = seen_due_ms(h), presence = presence_due_ms(h);
    if (!seen || !presence) return seen ? seen : presence;
    return seen < presence ? seen : presence;
}
