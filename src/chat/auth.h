// Accounts and logins: registration, login, change of password. Argon2id runs on a worker of its own with bounded threads and queue, so that a flood of logins never delays a
// message. A login is throttled by (address, name) and by address; wrong passwords from elsewhere never lock an owner out (PROTOCOL §4). Loop thread only.
#pragma once

#include "chat/hub.h"

struct AuthOptions {
    uint64_t password_memory_kib = 19 * 1024;
    uint64_t password_ops = 2;
    uint32_t login_rate = 10;       // a minute for each (address, name); 0: no limit, and none for each address either
    uint32_t login_rate_per_address = logins_per_address_max; // over all names
    uint32_t sessions_max = ::sessions_max; // of a user
};

// threads: how many passwords are hashed at once, each with password_memory_kib. False when there is no memory for it.
[[nodiscard]] bool auth_start(Hub *h, uv_loop_s *loop, const AuthOptions &options, unsigned threads);
void auth_set_options(const AuthOptions &options);
// Waits for the hashes that are being made; those that wait are given up (`unavailable`), so that a flood of logins does not hold up the end.
void auth_stop();

enum class AuthKind : uint8_t { registration, login, password };

// One attempt. The caller makes it with auth_new, fills the input, gives it to auth_begin and gets it back in `done` (perhaps at once), where it reads the result; it dies when
// `done` returns.
struct AuthTask {
    Job job;                        // first
    AuthKind kind;
    void (*done)(AuthTask *t);
    uint64_t owner_id;
    Arena arena;                    // owns every view here
    // in
    std::string_view address;       // printed, for the list of sessions
    std::string_view address_group; // what limits are counted by; any bytes
    std::string_view agent;
    std::string_view name;          // registration, login; password: not looked at here
    std::string_view password;      // registration, login; password: the old one
    std::string_view new_password;  // password
    std::string_view invite;
    bool has_invite;
    User *user;                     // password: whose; else out
    int64_t keep_session;           // password: this one stays
    int64_t former_session;         // login: of the browser that logs in again; not looked at here
    // out
    Err err;
    uint32_t retry_after_s;         // of rate_limited
    char token[uuid_chars + 1];
    Session *session;
    // between
    std::string_view stored_hash;
    int64_t user_id;
    uint32_t passwords;             // of the user when it began: a password changed meanwhile makes the attempt void
    char new_hash[password_hash_max];
    bool matched, given_up;
    bool no_memory;                 // to hash in: nothing is known of the password
    AuthOptions options;            // as they were when it began
};

AuthTask *auth_new(AuthKind kind);
void auth_begin(AuthTask *t);

// Makes the one-time link that makes an administrator: a token of 128 random bits in hexadecimal; the one before is void. Empty when there is an administrator: then
// none is valid any more.
void auth_make_admin_invite(char token[33], HubFinish finish);
