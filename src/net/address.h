// Addresses: numeric only (no resolver: the binary runs from an empty chroot). IPv4 is kept as ::ffff:a.b.c.d, so one comparison serves both.
// Also the host and origin rules of PROTOCOL §2.2, which are about addresses and names and nothing else. Any thread.
#pragma once

#include "base/buf.h"

struct sockaddr;

struct Address {
    uint8_t bytes[16] = {}; // all zero: unknown, or a peer on a Unix socket
    bool is_unix = false;
};

struct Cidr {
    uint8_t bytes[16] = {};
    uint8_t prefix_bits = 128; // of the 16 bytes
    bool is_unix = false;      // the word `unix`: matches peers on Unix sockets
};

// What --listen takes: "127.0.0.1:8000", "[::]:8000", "unix:/path".
struct ListenAddress {
    Address address;
    uint16_t port = 0;
    uint16_t port_asked = 0; // as it was written; `port` becomes the one that was bound
    char unix_path[108] = "";
};

Address address_from_sockaddr(const sockaddr *sa);
bool address_parse(std::string_view text, Address *out);           // "10.0.0.1", "::1", "[::1]" ; no port
void address_print(const Address &a, Buf &out);                    // "unix" for Unix sockets
bool address_equal(const Address &a, const Address &b);
bool address_is_loopback(const Address &a);                        // 127/8, ::1; Unix sockets count too
// The address that limits are counted by: IPv4 whole, IPv6 its /64 (PROTOCOL §4).
Address address_limit_group(const Address &a);
bool cidr_parse(std::string_view text, Cidr *out);                 // "10.0.0.0/8", "::1", "unix"
bool cidr_contains(const Cidr &c, const Address &a);
bool listen_parse(std::string_view text, ListenAddress *out);

// --- Host and Origin (PROTOCOL §2.2). `allowed` are the --allow-origin values, e.g. "https://chat.example.org".
struct OriginRules {
    const char *const *allowed = nullptr;
    uint32_t allowed_count = 0;
};
// Syntax of a Host header: host[:port], an IP literal in brackets or not, no user info, no comma, no path.
bool host_syntax_ok(std::string_view host);
// May requests name this host? An IP literal, localhost, a name without a dot, .local .lan .home.arpa .internal, or the host of an allowed origin.
bool host_allowed(std::string_view host, const OriginRules &rules);
// Both at once: the syntax, and in *allowed the rest.
bool host_judge(std::string_view host, const OriginRules &rules, bool *allowed);
// Does the Origin header match Host (case-insensitive; missing ports are 80 for http, 443 for https), or is it an allowed one? "null" and lists never.
bool origin_matches(std::string_view origin, std::string_view host, bool tls, const OriginRules &rules);
