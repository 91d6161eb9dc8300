// The host and origin rules of PROTOCOL §2.2: who may be named in Host (against DNS rebinding), and which Origin is ours (against
// requests that other sites make a browser send). Declared in address.h. Pure functions over text, any thread.
#include "net/address.h"

#include <string.h>

namespace {

struct HostPort {
    std::string_view name; // with its brackets when it is an IPv6 address
    uint32_t port = 0;
    bool port_given = false;
};

char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c; }

bool same(std::string_view a, std::string_view b) {
    if (a.size() != b.size()) return false;
    for (size_t i = 0; i < a.size(); i++)
        if (lower(a[i]) != lower(b[i])) return false;
    return true;
}

bool ends_with(std::string_view name, std::string_view suffix) {
    return name.size() > suffix.size() && same(name.substr(name.size() - suffix.size()), suffix);
}

// Letters, digits, '-', '_' and '.', no empty label; one dot at the end is the DNS root and is fine.
bool name_ok(std::string_view name) {
    if (name.empty() || name.size() > 255) return false;
    char before = '.';
    for (char c : name) {
        char l = lower(c);
        bool inside = (l >= 'a' && l <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
        if (!inside && (c != '.' || before == '.')) return false;
        before = c;
    }
    return true;
}

bool host_split(std::string_view host, HostPort *out) {
    HostPort h;
    size_t end = host.find(':');
    if (host.starts_with('[')) {
        end = host.find(']');
        Address a;
        if (end == std::string_view::npos || !address_parse(host.substr(0, end + 1), &a)) return false;
        end++;
    } else {
        if (end == std::string_view::npos) end = host.size();
        if (!name_ok(host.substr(0, end))) return false;
    }
    h.name = host.substr(0, end);
    std::string_view rest = host.substr(end);
    if (!rest.empty()) {
        if (rest[0] != ':' || rest.size() < 2 || rest.size() > 6) return false;
        for (char c : rest.substr(1)) {
            if (c < '0' || c > '9') return false;
            h.port = h.port * 10 + (uint32_t)(c - '0');
        }
        if (h.port > 65535) return false;
        h.port_given = true;
    }
    *out = h;
    return true;
}

struct Origin {
    HostPort host;
    bool tls = false;
};

// "http://host[:port]" or the same with https, and nothing behind it. Afterwards the port is always there.
bool origin_split(std::string_view text, Origin *out) {
    Origin o;
    if (same(text.substr(0, 7), "http://")) text.remove_prefix(7);
    else if (same(text.substr(0, 8), "https://")) text.remove_prefix(8), o.tls = true;
    else return false;
    if (!host_split(text, &o.host)) return false;
    if (!o.host.port_given) o.host.port = o.tls ? 443 : 80;
    *out = o;
    return true;
}

} // namespace

bool host_syntax_ok(std::string_view host) {
    HostPort h;
    return host_split(host, &h);
}

static bool is_allowed(const HostPort &h, const OriginRules &rules) {
    Address a;
    if (address_parse(h.name, &a)) return true;
    for (uint32_t i = 0; i < rules.allowed_count; i++) {
        Origin o;
        if (origin_split(rules.allowed[i], &o) && same(o.host.name, h.name)) return true;
    }
    std::string_view name = h.name;
    if (name.ends_with('.')) name.remove_suffix(1);
    if (name.find('.') == std::string_view::npos) return true; // localhost is one of these
    for (std::string_view suffix : {".local", ".lan", ".home.arpa", ".internal"})
        if (ends_with(name, suffix)) return true;
    return false;
}

bool host_judge(std::string_view host, const OriginRules &rules, bool *allowed) {
    HostPort h;
    bool is_well = host_split(host, &h);
    *allowed = is_well && is_allowed(h, rules);
    return is_well;
}

bool host_allowed(std::string_view host, const OriginRules &rules) {
    bool allowed;
    host_judge(host, rules, &allowed);
    return allowed;
}

bool origin_matches(std::string_view origin, std::string_view host, bool tls, const OriginRules &rules) {
    Origin o;
    if (!origin_split(origin, &o)) return false;
    for (uint32_t i = 0; i < rules.allowed_count; i++) {
        Origin allowed;
        if (origin_split(rules.allowed[i], &allowed) && allowed.tls == o.tls && allowed.host.port == o.host.port &&
            same(allowed.host.name, o.host.name))
            return true;
    }
    HostPort h;
    if (!host_split(host, &h) || !same(h.name, o.host.name)) return false;
    // A browser leaves the port out of Host when it is its scheme's own. Which scheme that was we know only when a trusted proxy
    // says so; a proxy that is not trusted may be in front of us, and then the origin's scheme is the only one we are told.
    uint32_t port = h.port_given ? h.port : tls || o.tls ? 443 : 80;
    return port == o.host.port;
}
