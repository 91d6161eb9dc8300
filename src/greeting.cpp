// The greeting. On a LAN it also draws the address as a QR code, because that is how phones come in.
#include "greeting.h"

#include "base/clock.h"
#include "base/crypto.h"
#include "qr.h"
#include "version.h"

#include <errno.h>
#include <ifaddrs.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

constexpr size_t invite_line_bytes = 512;

static bool is_any(const Address &a) {
    static const uint8_t any6[16] = {}, any4[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0};
    return !a.is_unix && (memcmp(a.bytes, any6, 16) == 0 || memcmp(a.bytes, any4, 16) == 0);
}

static void put_url(const Address &a, uint16_t port, Buf &out) {
    ScopedBuf text;
    address_print(a, text);
    bool is_v6 = memchr(text.data, ':', text.len) != nullptr;
    buf_printf(out, is_v6 ? "http://[%.*s]:%u" : "http://%.*s:%u", static_cast<int>(text.len), text.data, port);
}

void greeting_address(const ListenAddress &where, Buf &out) {
    if (where.unix_path[0]) buf_printf(out, "unix:%s", where.unix_path);
    else put_url(where.address, where.port, out);
}

// The addresses under which the LAN finds a server that listens on all of them. The first is the best guess for the QR code.
static void put_lan_urls(uint16_t port, Buf &lines, Buf &first) {
    struct ifaddrs *list = nullptr;
    if (getifaddrs(&list) != 0) return;
    for (const struct ifaddrs *i = list; i; i = i->ifa_next) {
        if (!i->ifa_addr || (i->ifa_addr->sa_family != AF_INET && i->ifa_addr->sa_family != AF_INET6)) continue;
        Address a = address_from_sockaddr(i->ifa_addr);
        bool link_local = a.bytes[0] == 0xfe && (a.bytes[1] & 0xc0) == 0x80; // needs a zone, which browsers don't take
        if (address_is_loopback(a) || link_local) continue;
        buf_add(lines, "  ");
        put_url(a, port, lines);
        buf_add(lines, "\n");
        if (!first.len) put_url(a, port, first);
    }
    freeifaddrs(list);
}

static Buf lan, best;         // lines for people, and the one for the QR code
static bool beyond_loopback;

void greeting_look(const Options *options) {
    for (uint32_t i = 0; i < options->listen_count; i++) {
        const ListenAddress &where = options->listen[i];
        if (where.unix_path[0] || address_is_loopback(where.address)) continue;
        beyond_loopback = true;
        if (is_any(where.address)) put_lan_urls(where.port, lan, best);
        else if (!best.len) put_url(where.address, where.port, best);
    }
}

// Past the library, whose buffer would keep the secret for as long as the server runs.
static void print_invite(std::string_view base, const char *invite) {
    SecretBuf lines(invite_line_bytes);
    buf_printf(lines, "No administrator yet. Whoever opens this link and registers becomes one (it works once, until the next start):\n  %.*s/register#invite=%s\n",
               static_cast<int>(base.size()), base.data(), invite);
    fflush(stdout);
    for (std::string_view rest = buf_view(lines); !rest.empty();) {
        ssize_t n = write(STDOUT_FILENO, rest.data(), rest.size());
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return;
        rest.remove_prefix(static_cast<size_t>(n));
    }
}

void greeting_print(const Options *options, const Hub *hub, const char *invite) {
    if (strcmp(options->name, "ChatterBox") != 0) printf("%s: ", options->name);
    printf("ChatterBox %s, data in %s, %u account%s\n", CB_VERSION, options->data, hub->model.users_count, hub->model.users_count == 1 ? "" : "s");
    if (!clock_is_set()) printf("The clock is not set: messages get no dates, and nothing expires.\n");
    if (beyond_loopback && options->registration == Registration::open)
        printf("Note: registration is open to everybody who can reach this server (--registration invite or closed changes that).\n");
    if (lan.len) printf("In this network open:\n%.*s", static_cast<int>(lan.len), lan.data);
    if (best.len) qr_print(stdout, {best.data, best.len});
    if (invite[0]) {
        ScopedBuf base;
        if (best.len) buf_add(base, buf_view(best));
        else if (options->listen[0].unix_path[0] && options->allow_origin_count) buf_add(base, options->allow_origin[0]); // a proxy's
        else greeting_address(options->listen[0], base);
        print_invite(buf_view(base), invite);
    }
    for (uint32_t i = 0; i < options->listen_count; i++) {
        ScopedBuf place;
        greeting_address(options->listen[i], place);
        printf("listening on %.*s\n", static_cast<int>(place.len), place.data);
    }
    fflush(stdout);
    buf_free(lan);
    buf_free(best);
}
