// Options: what the operator chose, from flags, variables CHATTERBOX_<NAME> and a configuration file, in this order of precedence. One table
// (options_table.cpp) holds every option's name, kind, range, default and help; parsing and --help are made from it. Read at start and at SIGHUP on the loop
// thread. An Options holds all its texts itself: no memory to free, and pointers into it are good as long as it is.
#pragma once

#include "base/bucket.h"
#include "base/log.h"
#include "chat/hub.h"
#include "net/address.h"
#include "net/ws.h"
#include "sandbox.h"
#include "store/store.h"

constexpr uint32_t options_list_max = 16;     // of each repeatable option
constexpr size_t options_path_max = 1024;     // with its NUL
constexpr size_t options_origin_max = 270;    // https://, a name of 253 bytes, a port

struct Options {
    bool help = false;                        // --help was there; nothing else was judged

    ListenAddress listen[options_list_max];
    uint32_t listen_count = 0;
    char data[options_path_max] = "";
    char name[260] = "";                      // the server's, shown on the page
    Registration registration{};
    Durability durability{};
    char stop_words[options_path_max] = "";   // a file; "": the built-in list
    uint32_t warnings = 0;                    // 0: never block
    uint32_t password_memory_mib = 0;
    uint32_t password_ops = 0;
    Rate message_rate, request_rate;
    uint32_t login_rate = 0;                  // a minute; 0: no limit
    uint32_t login_rate_per_address = 0;      // a minute; none where login_rate is none
    uint32_t max_sockets = 0;
    uint32_t max_sockets_per_user = 0;
    uint32_t max_connections_per_address = 0;
    uint32_t max_guests_per_address = 0;
    uint32_t max_sessions_per_user = 0;
    uint32_t max_rooms_per_user = 0;
    uint32_t session_idle = 0, session_age = 0; // days
    uint32_t head_max = 0, body_max = 0;      // bytes
    uint32_t head_time = 0, body_time = 0, keep_alive = 0; // seconds
    uint32_t text_max = 0;                    // characters
    uint32_t frame_max = 0;                   // bytes
    uint32_t fragments_max = 0;
    uint32_t ping_idle = 0, silent_max = 0, stuck_max = 0; // seconds
    DeflateMode deflate{};
    char allow_origin_text[options_list_max][options_origin_max];
    const char *allow_origin[options_list_max]; // into the above, as OriginRules wants them
    uint32_t allow_origin_count = 0;
    Cidr trust_proxy[options_list_max];
    uint32_t trust_proxy_count = 0;
    UserIds user = {0, 0};
    SandboxMode sandbox{};
    char config[options_path_max] = "";
    LogLevel log_level{};
    bool log_json = false;

    int argc = 0;                             // what options_reload reads again
    char **argv = nullptr;

    Options() = default;
    Options(const Options &) = delete;        // allow_origin points into it
    Options &operator=(const Options &) = delete;
};

// Reads everything into *out, which must be new. argv[0] is the first argument to look at (behind the program's name and `serve`); argv must live as long as *out.
// False after a mistake: one line saying what and how to fix it is appended to *error, for exit status 2.
[[nodiscard]] bool options_parse(int argc, char **argv, Options *out, Buf *error);
// For commands: takes the table's options out of argv and leaves what it does not know, in order, behind `--` everything (`--` itself stays too).
[[nodiscard]] bool options_take(int *argc, char **argv, Options *out, Buf *error);
// SIGHUP: reads all again and takes over what can change while the server runs. False: *message is the mistake, and nothing changed. True: *message is empty, or names what
// was changed and waits for the next start.
[[nodiscard]] bool options_reload(Options *o, Buf *message);
// The list of options for --help, a line or two each.
void options_help(Buf *out);
