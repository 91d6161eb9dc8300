// Audit: the security events in the log, one line each: what, who, from which address, and why. A flood of them is told, not written down: of each kind and address
// some lines a minute are written, and when the minute is over one more says how many were left out. Memory: a fixed table of audit_places and a place for each kind.
// Never given: passwords, tokens, queries, texts, and names that nobody has, since in a form's field for the name people type their passwords. Loop thread only.
#pragma once

#include "base/errors.h"
#include "net/address.h"

enum class Audit : uint8_t {
    login,
    login_refused,        // a wrong name or password, or a blocked account
    login_limit,          // more attempts than --login-rate, or than can be hashed
    registration,
    registration_refused, // an invitation that is none, or registration is closed
    password,             // its owner has changed it
    password_refused,     // the old one was wrong
    session_end,          // its owner has ended it, from whichever device
    logout,
    origin_refused,
    host_refused,
    token_refused,        // one that names no live session: most often of one that has ended
    forbidden,            // for want of a right; also what was hidden from who asked
    frames_refused,       // so many in a row that the socket was closed
    malformed,            // it broke the rules of HTTP or of WebSockets, a limit or a deadline; behind a proxy the address is the proxy's
    over_the_rate,        // it is heard later, or told to come again
    stop_words,           // they have blocked somebody
    command,              // of the command line, through the control socket
    count
};

// `from`: the client's, as trusted proxies say; all zero where it is not known any more. `who`: a username that exists, or empty. The format says why.
[[gnu::format(printf, 4, 5)]] void audit(Audit what, const Address &from, std::string_view who, const char *format, ...);
// What a stranger wrote, cut to what a line has room for.
std::string_view audit_cut(std::string_view text);
// Is it refused for want of a right, rather than for what was asked?
bool audit_is_forbidden(Err err);

// Tells what was left out in the minutes that are over. Monotonic milliseconds, as clock_ms.
void audit_turn(uint64_t now_ms);
uint64_t audit_due_ms(); // 0: nothing to tell
// Tells what was left out until now, and forgets all: at the stop.
void audit_stop();
