// Numeric addresses, networks of them, and what --listen takes. Nothing here asks a resolver: inet_pton and inet_ntop only
// translate. Owns nothing; any thread. Host names and origins are origin.cpp's part.
#include "net/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

namespace {

constexpr unsigned char v4_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

bool is_v4(const Address &a) { return !a.is_unix && memcmp(a.bytes, v4_prefix, 12) == 0; }

// Decimal digits and nothing else, at most `max`.
bool digits_parse(std::string_view text, uint32_t max, uint32_t *out) {
    if (text.empty() || text.size() > 5) return false;
    uint32_t n = 0;
    for (char c : text) {
        if (c < '0' || c > '9') return false;
        n = n * 10 + (uint32_t)(c - '0');
    }
    if (n > max) return false;
    *out = n;
    return true;
}

} // namespace

Address address_from_sockaddr(const sockaddr *sa) {
    Address a;
    if (sa->sa_family == AF_INET) {
        memcpy(a.bytes, v4_prefix, 12);
        memcpy(a.bytes + 12, &((const sockaddr_in *)(const void *)sa)->sin_addr, 4);
    } else if (sa->sa_family == AF_INET6) {
        memcpy(a.bytes, &((const sockaddr_in6 *)(const void *)sa)->sin6_addr, 16);
    } else if (sa->sa_family == AF_UNIX) {
        a.is_unix = true;
    }
    return a;
}

bool address_parse(std::string_view text, Address *out) {
    bool brackets = text.size() >= 2 && text.front() == '[' && text.back() == ']';
    if (brackets) text = text.substr(1, text.size() - 2);
    char buf[INET6_ADDRSTRLEN + 1];
    if (text.empty() || text.size() >= sizeof buf) return false;
    memcpy(buf, text.data(), text.size());
    buf[text.size()] = 0;
    if (strlen(buf) != text.size()) return false;
    Address a;
    if (!brackets && inet_pton(AF_INET, buf, a.bytes + 12) == 1) {
        memcpy(a.bytes, v4_prefix, 12);
    } else if (inet_pton(AF_INET6, buf, a.bytes) != 1) {
        return false;
    }
    *out = a;
    return true;
}

void address_print(const Address &a, Buf &out) {
    if (a.is_unix) return buf_add(out, "unix");
    char text[INET6_ADDRSTRLEN] = "";
    if (is_v4(a)) inet_ntop(AF_INET, a.bytes + 12, text, sizeof text);
    else inet_ntop(AF_INET6, a.bytes, text, sizeof text);
    buf_add(out, text);
}

bool address_equal(const Address &a, const Address &b) { return a.is_unix == b.is_unix && memcmp(a.bytes, b.bytes, 16) == 0; }

bool address_is_loopback(const Address &a) {
    if (a.is_unix) return true;
    if (is_v4(a)) return a.bytes[12] == 127;
    constexpr unsigned char v6[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
    return memcmp(a.bytes, v6, 16) == 0;
}

Address address_limit_group(const Address &a) {
    Address group = a;
    if (!a.is_unix && !is_v4(a)) memset(group.bytes + 8, 0, 8);
    return group;
}

bool cidr_parse(std::string_view text, Cidr *out) {
    Cidr c;
    if (text == "unix") {
        c.is_unix = true;
        *out = c;
        return true;
    }
    size_t slash = text.find('/');
    Address a;
    if (!address_parse(text.substr(0, slash), &a)) return false;
    uint32_t bits = is_v4(a) ? 32 : 128;
    if (slash != std::string_view::npos && !digits_parse(text.substr(slash + 1), bits, &bits)) return false;
    c.prefix_bits = (uint8_t)(is_v4(a) ? bits + 96 : bits);
    memcpy(c.bytes, a.bytes, 16);
    *out = c;
    return true;
}

bool cidr_contains(const Cidr &c, const Address &a) {
    if (c.is_unix || a.is_unix) return c.is_unix && a.is_unix;
    uint32_t whole = c.prefix_bits / 8, rest = c.prefix_bits % 8;
    if (memcmp(c.bytes, a.bytes, whole) != 0) return false;
    return rest == 0 || ((c.bytes[whole] ^ a.bytes[whole]) >> (8 - rest)) == 0;
}

bool listen_parse(std::string_view text, ListenAddress *out) {
    ListenAddress where;
    if (text.starts_with("unix:")) {
        text.remove_prefix(5);
        // A NUL would end the path early, and an empty one would be an abstract socket.
        if (text.empty() || text.size() >= sizeof where.unix_path || text.find('\0') != std::string_view::npos) return false;
        memcpy(where.unix_path, text.data(), text.size());
        where.address.is_unix = true;
        *out = where;
        return true;
    }
    size_t colon = text.rfind(':');
    if (colon == std::string_view::npos) return false;
    std::string_view host = text.substr(0, colon);
    // A bare ::1:80 could be read in two ways.
    if (host.find(':') != std::string_view::npos && (host.front() != '[' || host.back() != ']')) return false;
    uint32_t port = 0;
    if (!address_parse(host, &where.address) || !digits_parse(text.substr(colon + 1), 65535, &port)) return false;
    where.port = where.port_asked = (uint16_t)port;
    *out = where;
    return true;
}
