// Accounts and logins: each attempt is a task that walks from step to step, on the loop but for the hashing.
#include "chat/auth.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/metrics.h"
#include "base/unicode.h"
#include "chat/rules.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

constexpr size_t invite_bytes_max = 64; // they have 32

static Hub *hub;
static Worker *hasher;
static AuthOptions current;
static bool stopping; // read by the hashing threads too

// --- throttling: two tables of buckets, each place found by the key's hash, four to a set; the one that has rested longest makes way. A stranger can push a bucket out only by
// filling the sets at random, which costs as many attempts as it frees.

struct Throttle {
    uint64_t key;
    Bucket bucket;
};
constexpr uint32_t throttle_sets = 1024, throttle_ways = 4;
constinit static Throttle by_name[throttle_sets][throttle_ways] = {}, by_address[throttle_sets][throttle_ways] = {};

static uint32_t throttle(Throttle table[throttle_sets][throttle_ways], uint64_t key, uint32_t a_minute, uint64_t now_ms) {
    Throttle *set = table[key % throttle_sets], *place = &set[0];
    for (uint32_t i = 0; i < throttle_ways; i++) {
        if (set[i].key == key) {
            place = &set[i];
            break;
        }
        if (set[i].bucket.at_ms < place->bucket.at_ms) place = &set[i];
    }
    if (place->key != key) *place = {.key = key, .bucket = {}};
    Rate rate = {.burst = a_minute, .per_second = a_minute / 60.0};
    return bucket_take(place->bucket, rate, now_ms);
}

// 0, or the seconds to wait.
static uint32_t throttled(const AuthTask *t, std::string_view name) {
    if (!current.login_rate) return 0;
    uint64_t now = clock_ms();
    ScopedBuf key;
    buf_add(key, t->address_group);
    uint32_t wait = throttle(by_address, keyed_hash(buf_view(key)), current.login_rate_per_address, now);
    buf_add_char(key, '\0');
    if (!unicode_fold_key(name, key)) buf_add(key, name);
    uint32_t wait_name = throttle(by_name, keyed_hash(buf_view(key)), current.login_rate, now);
    if (wait_name > wait) wait = wait_name;
    return (wait + 999) / 1000;
}

// --- the steps

bool auth_start(Hub *h, uv_loop_s *loop, const AuthOptions &options, unsigned threads) {
    hub = h;
    current = options;
    __atomic_store_n(&stopping, false, __ATOMIC_RELAXED);
    hasher = worker_start(loop, threads, hash_queue_max, hash_nice);
    return hasher != nullptr;
}

void auth_set_options(const AuthOptions &options) { current = options; }

void auth_stop() {
    __atomic_store_n(&stopping, true, __ATOMIC_RELAXED);
    if (hasher) worker_stop(hasher);
    hasher = nullptr;
}

AuthTask *auth_new(AuthKind kind) {
    auto *t = static_cast<AuthTask *>(mem_zero(sizeof(AuthTask)));
    t->kind = kind;
    return t;
}

static void finish(AuthTask *t, Err err) {
    t->err = err;
    if (err == Err::bad_credentials) metric_add(Metric::logins_refused);
    if (err == Err::rate_limited) metric_add(Metric::rate_limited);
    t->done(t);
    memory_wipe(t->password);
    memory_wipe(t->new_password);
    memory_wipe(t->invite);
    memory_wipe({t->token, sizeof t->token});
    arena_free(t->arena);
    free(t);
}

static void busy(AuthTask *t) {
    t->retry_after_s = 1 + worker_waiting(hasher) / 8;
    finish(t, Err::rate_limited);
}

// Has the password been changed since the attempt began? Whoever changes it ends all other sessions, and one made of the old password is one of them.
static bool is_void(const AuthTask *t) {
    const User *user = model_user(&hub->model, t->user_id); // at durability normal the account itself may be gone, when the store was opened anew
    return !user || user->passwords != t->passwords;
}

// --- a session at the end of registration and login

static void session_made(Hub *, StoreWrite *w) {
    auto *t = reinterpret_cast<AuthTask *>(w->owner_extra);
    t->user = model_user(&hub->model, t->user_id);
    if (w->err != Err::ok) return finish(t, w->err);
    if (is_void(t)) {
        StoreWrite *end = hub_write_new(WriteKind::session_end, nullptr);
        end->user = w->user;
        end->session_id = w->session_id;
        hub_submit(hub, end, {}, hub_unanswered);
        return finish(t, Err::bad_credentials);
    }
    t->session = model_session_of(t->user, w->session_id);
    metric_add(Metric::logins);
    finish(t, t->session ? Err::ok : Err::unavailable);
}

static void make_session(AuthTask *t) {
    uuid_make(t->token);
    StoreWrite *w = hub_write_new(WriteKind::session_add, nullptr);
    w->user = t->user_id;
    w->limit = current.sessions_max;
    if (!clock_is_set()) w->time = 0; // no date rather than one by which it has expired as soon as the clock is set
    w->agent = arena_copy(w->arena, t->agent);
    w->address = arena_copy(w->arena, t->address);
    token_hash(t->token, w->token_hash);
    hub_submit(hub, w, {.extra = reinterpret_cast<uint64_t>(t)}, session_made);
}

// --- registration: rules, hash, account, session

static void account_made(Hub *, StoreWrite *w) {
    auto *t = reinterpret_cast<AuthTask *>(w->owner_extra);
    if (w->err != Err::ok) return finish(t, w->err);
    t->user_id = w->changes[0].user.id;
    make_session(t);
}

static void registration_hashed(AuthTask *t) {
    if (!t->new_hash[0]) return finish(t, Err::overloaded);
    StoreWrite *w = hub_write_new(WriteKind::user_add, nullptr);
    w->name = arena_copy(w->arena, t->name);
    ScopedBuf key;
    CB_ASSERT(unicode_fold_key(t->name, key));
    w->key = arena_copy(w->arena, buf_view(key));
    w->text = arena_copy(w->arena, t->new_hash);
    if (t->has_invite) {
        token_hash(t->invite, w->token_hash);
        w->role = Role::admin; // the only invitation there is yet makes an administrator
    }
    hub_submit(hub, w, {.extra = reinterpret_cast<uint64_t>(t)}, account_made);
}

static Err check_registration(const AuthTask *t) {
    if (!t->has_invite && hub->options.registration != Registration::open) return Err::registration_closed;
    ScopedBuf key;
    if (Err err = rules_username(t->name, &key); err != Err::ok) return err;
    if (Err err = rules_password(t->password, t->name); err != Err::ok) return err;
    if (t->invite.size() > invite_bytes_max) return Err::bad_invite;
    if (Err err = hub_check_words(hub, t->name); err != Err::ok) return err;
    // An invitation is judged by the transaction, before the name: else a guessed one would tell which names are taken where registration is closed.
    return !t->has_invite && model_user_by_name(&hub->model, t->name) ? Err::name_taken : Err::ok;
}

// --- login: read the hash, verify, perhaps renew it, session

static void login_verified(AuthTask *t) {
    if (!t->matched) return finish(t, Err::bad_credentials);
    const User *user = model_user(&hub->model, t->user_id);
    if (!user || user->deleted || is_void(t)) return finish(t, Err::bad_credentials);
    if (user->blocked) return finish(t, Err::blocked);
    if (t->new_hash[0]) {
        StoreWrite *w = hub_write_new(WriteKind::user_password, nullptr);
        w->user = t->user_id;
        w->text = arena_copy(w->arena, t->new_hash);
        w->key = arena_copy(w->arena, t->stored_hash); // not if it has been changed meanwhile
        w->renew_only = true;
        hub_submit(hub, w, {}, hub_unanswered); // what could not be renewed now will be at the next login
    }
    make_session(t);
}

// --- change of password: read the hash, verify the old one, hash the new one, write

// Not found: it has been changed since the old one was read, so that is not the old one any more.
static void password_written(Hub *, StoreWrite *w) { finish(reinterpret_cast<AuthTask *>(w->owner_extra), w->err == Err::not_found ? Err::bad_credentials : w->err); }

static void change_verified(AuthTask *t) {
    if (!t->matched || is_void(t)) return finish(t, Err::bad_credentials);
    if (!t->new_hash[0]) return finish(t, Err::overloaded);
    StoreWrite *w = hub_write_new(WriteKind::user_password, model_user(&hub->model, t->user_id));
    w->user = t->user_id;
    w->text = arena_copy(w->arena, t->new_hash);
    w->key = arena_copy(w->arena, t->stored_hash);
    w->keep_session = t->keep_session;
    hub_submit(hub, w, {.extra = reinterpret_cast<uint64_t>(t)}, password_written);
}

// --- the worker's part

static void hash_work(Job *job) {
    auto *t = reinterpret_cast<AuthTask *>(job);
    const AuthOptions &o = t->options;
    t->given_up = __atomic_load_n(&stopping, __ATOMIC_RELAXED);
    if (t->given_up) return;
    ScopedBuf password;
    if (!unicode_nfc(t->password, password)) return;
    if (t->stored_hash.empty() && t->kind == AuthKind::login) {
        // Nobody has that name. It takes as long as a wrong password does.
        char unused[password_hash_max];
        t->no_memory = !password_hash(buf_view(password), o.password_memory_kib, o.password_ops, unused);
    } else if (t->kind == AuthKind::registration) {
        if (!password_hash(buf_view(password), o.password_memory_kib, o.password_ops, t->new_hash)) t->new_hash[0] = '\0';
    } else {
        t->matched = password_verify(t->stored_hash, buf_view(password), &t->no_memory);
        bool renew = t->kind == AuthKind::login && t->matched && password_outdated(t->stored_hash, o.password_memory_kib, o.password_ops);
        bool change = t->kind == AuthKind::password && t->matched;
        if (change) {
            memory_wipe(buf_view(password));
            buf_clear(password);
            if (!unicode_nfc(t->new_password, password)) return;
        }
        if (renew || change)
            if (!password_hash(buf_view(password), o.password_memory_kib, o.password_ops, t->new_hash)) t->new_hash[0] = '\0';
    }
    memory_wipe(buf_view(password));
}

static void hash_done(Job *job) {
    auto *t = reinterpret_cast<AuthTask *>(job);
    if (t->given_up) return finish(t, Err::unavailable);
    if (t->no_memory) return finish(t, Err::overloaded);
    switch (t->kind) {
    case AuthKind::registration: return registration_hashed(t);
    case AuthKind::login: return login_verified(t);
    case AuthKind::password: return change_verified(t);
    }
}

static void hash(AuthTask *t) {
    if (!hasher) return finish(t, Err::unavailable); // the server stops, and the store has just answered the last reads
    t->job.work = hash_work;
    t->job.done = hash_done;
    if (!worker_submit(hasher, &t->job)) busy(t);
}

static void hash_was_read(StoreRead *r) {
    auto *t = static_cast<AuthTask *>(r->owner);
    Err err = r->err;
    t->stored_hash = arena_copy(t->arena, r->text);
    store_read_free(r);
    if (err != Err::ok) return finish(t, err);
    hash(t);
}

static void read_hash(AuthTask *t) {
    StoreRead *r = store_read_new(ReadKind::password);
    r->owner = t;
    r->done = hash_was_read;
    r->user = t->user_id; // 0 for an unknown name: the read is made all the same
    if (store_read(hub->store, r)) return;
    store_read_free(r);
    finish(t, Err::unavailable);
}

// Longer than the rules let any name and password be, however its letters are written: to hash it would tell nothing, and what waits for that is to be small.
static bool is_nobodys(const AuthTask *t) { return t->name.size() > username_chars_max * 16 || t->password.size() > password_chars_max * 16; }

void auth_begin(AuthTask *t) {
    t->options = current;
    uint32_t wait = throttled(t, t->kind == AuthKind::password ? t->user->name : t->name);
    if (wait) {
        t->retry_after_s = wait;
        return finish(t, Err::rate_limited);
    }
    if (t->kind != AuthKind::registration && is_nobodys(t)) return finish(t, Err::bad_credentials);
    if (t->kind == AuthKind::registration) {
        if (Err err = check_registration(t); err != Err::ok) return finish(t, err);
        return hash(t);
    }
    if (t->kind == AuthKind::password) {
        if (Err err = rules_password(t->new_password, t->user->name); err != Err::ok) return finish(t, err);
        t->user_id = t->user->id;
        t->passwords = t->user->passwords;
    } else if (const User *user = model_user_by_name(&hub->model, t->name); user && !user->deleted) {
        t->user_id = user->id;
        t->passwords = user->passwords;
    }
    read_hash(t);
}

void auth_make_admin_invite(char token[33], HubFinish finish_write) {
    token[0] = '\0';
    StoreWrite *w = hub_write_new(WriteKind::invite_set, nullptr);
    if (hub->model.admins_count == 0) {
        unsigned char random[16];
        random_bytes(random, sizeof random);
        for (unsigned i = 0; i < sizeof random; i++) snprintf(token + 2 * i, 3, "%02x", random[i]);
        memory_wipe({reinterpret_cast<const char *>(random), sizeof random});
        token_hash(token, w->token_hash);
    }
    hub_submit(hub, w, {}, finish_write);
}
