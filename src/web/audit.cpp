// Audit: a table of kinds, and one of places. A place belongs to a kind and an address (IPv6: a /64) for a minute from its first event on; nobody is pushed out of one,
// so whoever comes from more addresses than there are places finds them taken and shares one with all others of the kind. So the lines of a minute are bounded.
#include "web/audit.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>

constexpr size_t cut_bytes = 100;
constexpr uint32_t all = UINT32_MAX;

// Lines a minute: a guess is like the one before, but each login is another person's, a whole school's behind one address. What the machine's owner does is told always.
static const struct {
    LogLevel level;
    uint32_t lines;
    const char *text;
} kinds[] = {
    {LogLevel::info, 20, "login granted"},
    {LogLevel::warn, 3, "login refused"},
    {LogLevel::warn, 3, "login limit reached"},
    {LogLevel::info, 20, "registered"},
    {LogLevel::warn, 3, "registration refused"},
    {LogLevel::info, 20, "password changed"},
    {LogLevel::warn, 3, "change of password refused"},
    {LogLevel::info, 20, "session ended"},
    {LogLevel::debug, 20, "logged out"},
    {LogLevel::warn, 3, "origin refused"},
    {LogLevel::warn, 3, "host refused"},
    {LogLevel::info, 3, "token refused"},
    {LogLevel::warn, 3, "forbidden"},
    {LogLevel::warn, 3, "frames refused"},
    {LogLevel::info, 3, "malformed"},
    {LogLevel::info, 3, "over the rate"},
    {LogLevel::warn, 20, "blocked by stop words"},
    {LogLevel::info, all, "command"},
};
constexpr uint32_t kinds_count = static_cast<uint32_t>(Audit::count);
static_assert(sizeof kinds / sizeof *kinds == kinds_count);

struct Place {
    Address group;
    Audit what;
    uint32_t lines, left_out;
    uint64_t until_ms; // 0: free
};

static Place places[audit_places + kinds_count]; // the last ones are shared, one for each kind
static uint64_t next_due_ms;

static Place *place_of(Audit what, const Address &group, uint64_t now_ms) {
    Place *place = nullptr;
    for (uint32_t i = 0; i < audit_places; i++) {
        Place &p = places[i];
        if (!p.until_ms && !place) place = &p;
        if (p.until_ms && p.what == what && address_equal(p.group, group)) return &p;
    }
    if (!place) place = &places[audit_places + static_cast<uint32_t>(what)];
    if (!place->until_ms) {
        *place = {.group = group, .what = what, .lines = 0, .left_out = 0, .until_ms = now_ms + audit_window_ms};
        if (!next_due_ms) next_due_ms = place->until_ms; // those that began before end before
    }
    return place;
}

static void put_address(const Address &a, Buf &out) {
    if (address_equal(a, {})) buf_add(out, "an address that has gone");
    else address_print(a, out);
}

static void leave(Place *p) {
    p->until_ms = 0;
    if (!p->left_out) return;
    ScopedBuf from;
    if (p >= places + audit_places) buf_add(from, "other addresses");
    else put_address(p->group, from);
    if (buf_view(from).find(':') != std::string_view::npos) buf_add(from, "/64");
    auto &kind = kinds[static_cast<uint32_t>(p->what)];
    log_line(kind.level, "security: %s: %u more from %.*s within a minute", kind.text, p->left_out, static_cast<int>(from.len), from.data);
}

void audit(Audit what, const Address &from, std::string_view who, const char *format, ...) {
    uint64_t now_ms = clock_ms();
    audit_turn(now_ms);
    auto &kind = kinds[static_cast<uint32_t>(what)];
    if (kind.lines != all) {
        Place *place = place_of(what, address_limit_group(from), now_ms);
        if (place->lines == kind.lines) return (void)place->left_out++;
        place->lines++;
    }
    char why[4 * cut_bytes];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(why, sizeof why, format, arguments);
    va_end(arguments);
    ScopedBuf address;
    put_address(from, address);
    if (who.empty()) who = "-"; // no name begins with it
    log_line(kind.level, "security: %s: %.*s from %.*s: %s", kind.text, static_cast<int>(who.size()), who.data(), static_cast<int>(address.len), address.data, why);
}

std::string_view audit_cut(std::string_view text) { return text.substr(0, cut_bytes); }

bool audit_is_forbidden(Err err) { return err == Err::forbidden || err == Err::not_member || err == Err::blocked; }

void audit_turn(uint64_t now_ms) {
    if (!next_due_ms || now_ms < next_due_ms) return;
    next_due_ms = 0;
    for (Place &p : places) {
        if (p.until_ms && p.until_ms <= now_ms) leave(&p);
        if (p.until_ms && (!next_due_ms || p.until_ms < next_due_ms)) next_due_ms = p.until_ms;
    }
}

uint64_t audit_due_ms() { return next_due_ms; }

void audit_stop() {
    for (Place &p : places)
        if (p.until_ms) leave(&p);
    next_due_ms = 0;
}
