// Options: every source and their order, every kind's mistakes with the line that is said, the help, and reading again at SIGHUP.
#include "unit.h"

#include "options.h"

static char directory[64], file_path[128];

// The arguments of a command line, up to 12.
struct Line {
    const char *words[13] = {};
    int count() const {
        int n = 0;
        while (n < 12 && words[n] != nullptr) n++;
        return n;
    }
    char **argv() { return (char **)words; }
};

static void write_file(const char *text) {
    FILE *f = fopen(file_path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

// Parses and expects success.
static void parse(Line &line, Options *o) {
    ScopedBuf error;
    bool ok = options_parse(line.count(), line.argv(), o, &error);
    check(ok && error.len == 0, "%.*s", (int)error.len, error.data);
}

static void defaults_are_the_protocols(void **) {
    Line none;
    Options o;
    parse(none, &o);
    assert_int_equal(o.listen_count, 1);
    ScopedBuf address;
    address_print(o.listen[0].address, address);
    check_text(buf_view(address), "127.0.0.1", "address");
    assert_int_equal(o.listen[0].port, 8000);
    assert_string_equal(o.data, "./data");
    assert_string_equal(o.name, "ChatterBox");
    assert_true(o.registration == Registration::open && o.durability == Durability::full && o.deflate == DeflateMode::automatic);
    assert_string_equal(o.stop_words, "");
    assert_int_equal(o.warnings, 3);
    assert_int_equal(o.password_memory_mib, 19);
    assert_int_equal(o.password_ops, 2);
    assert_true(o.message_rate.burst == 20 && o.message_rate.per_second == 5);
    assert_true(o.request_rate.burst == 100 && o.request_rate.per_second == 50);
    assert_int_equal(o.login_rate, 10);
    assert_int_equal(o.max_sockets, 10000);
    assert_int_equal(o.max_sockets_per_user, 64);
    assert_int_equal(o.max_connections_per_address, 256);
    assert_int_equal(o.login_rate_per_address, 60);
    assert_int_equal(o.max_guests_per_address, 32);
    assert_int_equal(o.max_sessions_per_user, 32);
    assert_int_equal(o.max_rooms_per_user, 100);
    assert_true(o.session_idle == 30 && o.session_age == 365);
    assert_true(o.head_max == 8192 && o.head_time == 10 && o.body_max == 65'536 && o.body_time == 20 && o.keep_alive == 60);
    assert_int_equal(o.fragments_max, 16'384);
    assert_int_equal(o.text_max, 4000);
    assert_int_equal(o.frame_max, 65536);
    assert_int_equal(o.ping_idle, 30);
    assert_int_equal(o.silent_max, 75);
    assert_int_equal(o.stuck_max, 60);
    assert_int_equal(o.allow_origin_count, 0);
    assert_int_equal(o.trust_proxy_count, 0);
    assert_true(o.sandbox == SandboxMode::automatic && o.user.uid == 0);
    assert_string_equal(o.config, "");
    assert_true(o.log_level == LogLevel::info && !o.log_json && !o.help);
}

static void flags_set_every_kind(void **) {
    Options o;
    Line first = {{"--listen", "0.0.0.0:80", "--listen=[::1]:0", "--listen", "unix:/run/chat.sock", "--data", "/var/lib/chat", "--name=Our Chat", "--registration", "closed"}};
    parse(first, &o);
    assert_int_equal(o.listen_count, 3);
    assert_int_equal(o.listen[0].port, 80);
    assert_int_equal(o.listen[1].port, 0);
    assert_string_equal(o.listen[2].unix_path, "/run/chat.sock");
    assert_string_equal(o.data, "/var/lib/chat");
    assert_string_equal(o.name, "Our Chat");
    assert_true(o.registration == Registration::closed);

    Options p;
    Line second = {{"--message-rate", "off", "--login-rate", "off", "--log-level", "debug", "--log-format=json", "--deflate", "off", "--durability=normal"}};
    parse(second, &p);
    assert_int_equal(p.message_rate.burst, 0);
    assert_int_equal(p.login_rate, 0);
    assert_true(p.log_level == LogLevel::debug && p.log_json && p.deflate == DeflateMode::off && p.durability == Durability::normal);

    Options q;
    Line third = {{"--allow-origin", "https://chat.example.org", "--allow-origin", "http://10.0.0.1:8080", "--trust-proxy", "10.0.0.0/8", "--trust-proxy", "unix", "--warnings", "0"}};
    parse(third, &q);
    assert_int_equal(q.allow_origin_count, 2);
    assert_string_equal(q.allow_origin[0], "https://chat.example.org");
    assert_string_equal(q.allow_origin[1], "http://10.0.0.1:8080");
    assert_int_equal(q.trust_proxy_count, 2);
    assert_true(q.trust_proxy[1].is_unix);
    assert_int_equal(q.warnings, 0);

    Options s;
    Line confined = {{"--user", "1000:65534", "--sandbox=require"}};
    parse(confined, &s);
    assert_true(s.user.uid == 1000 && s.user.gid == 65534 && s.sandbox == SandboxMode::require);

    Options r;
    Line last_wins = {{"--warnings", "5", "--warnings", "6", "--request-rate=7/0.5"}};
    parse(last_wins, &r);
    assert_int_equal(r.warnings, 6);
    assert_true(r.request_rate.burst == 7 && r.request_rate.per_second == 0.5);
}

#define TEN_TIMES(text) text text text text text text text text text text
#define HUNDRED_ALMOST TEN_TIMES("aaaaaaaaa") "bbbbbbbbb"

static void mistakes_say_what_and_how(void **) {
    static const struct {
        Line line;
        const char *error;
    } rows[] = {
        {{{"--no-such-option"}}, "--no-such-option: there is no such option; chatterbox --help lists them"},
        {{{"--lisen", "x"}}, "--lisen: there is no such option; is listen meant?"},
        {{{"--max-socket=3"}}, "--max-socket=3: there is no such option; is max-sockets meant?"},
        {{{"-l", "x"}}, "-l: there is no such option; chatterbox --help lists them"},
        {{{"serve"}}, "serve: this is no option; they begin with -- (chatterbox --help lists them)"},
        {{{"--data", "x", "unexpected"}}, "unexpected: this is no option; they begin with -- (chatterbox --help lists them)"},
        {{{""}}, ": this is no option; they begin with -- (chatterbox --help lists them)"},
        {{{"--"}}, "--: there is no such option; chatterbox --help lists them"},
        {{{"--listen"}}, "--listen: its value is missing; write --listen ADDR:PORT"},
        {{{"--data", "--name", "x"}}, "--data: its value is missing; write --data DIR"},
        {{{"--user", "nobody"}}, "--user nobody: it must be two numbers from 1 on like 1000:1000 (names are not looked up)"},
        {{{"--user", "0:1000"}}, "--user 0:1000: it must be two numbers from 1 on like 1000:1000 (names are not looked up)"},
        {{{"--user", "1000:0"}}, "--user 1000:0: it must be two numbers from 1 on like 1000:1000 (names are not looked up)"},
        {{{"--user", "1000"}}, "--user 1000: it must be two numbers from 1 on like 1000:1000 (names are not looked up)"},
        {{{"--user", "1000:"}}, "--user 1000:: it must be two numbers from 1 on like 1000:1000 (names are not looked up)"},
        {{{"--user", "1:2:3"}}, "--user 1:2:3: it must be two numbers from 1 on like 1000:1000 (names are not looked up)"},
        {{{"--user", "4294967295:1"}}, "--user 4294967295:1: it must be two numbers from 1 on like 1000:1000 (names are not looked up)"},
        {{{"--sandbox", "on"}}, "--sandbox on: it must be one of auto|require|off"},
        {{{"--config"}}, "--config: its value is missing; write --config FILE"},
        {{{"--listen", "localhost:8000"}}, "--listen localhost:8000: it must be ADDR:PORT like 127.0.0.1:8000, 0.0.0.0:8000 or [::1]:8000, or unix:PATH (of 107 bytes at most)"},
        {{{"--listen", "127.0.0.1:99999"}}, "--listen 127.0.0.1:99999: it must be ADDR:PORT like 127.0.0.1:8000, 0.0.0.0:8000 or [::1]:8000, or unix:PATH (of 107 bytes at most)"},
        {{{"--data="}}, "--data : it must be a path of 1 to 1023 bytes"},
        {{{"--name", "\xe2\x80\x8b"}}, "--name \xe2\x80\x8b: it must be 1 to 64 visible characters on one line"},
        {{{"--name", "two\nlines"}}, "--name two?lines: it must be 1 to 64 visible characters on one line"},
        {{{"--name", "\xff"}}, "--name \xff: it must be 1 to 64 visible characters on one line"},
        {{{"--registration", "perhaps"}}, "--registration perhaps: it must be one of open|invite|closed"},
        {{{"--registration", "ope"}}, "--registration ope: it must be one of open|invite|closed"},
        {{{"--registration", "open|invite"}}, "--registration open|invite: it must be one of open|invite|closed"},
        {{{"--registration", ""}}, "--registration : it must be one of open|invite|closed"},
        // The 100th byte is inside a character.
        {{{"--warnings", HUNDRED_ALMOST "\xc3\xa4\xc3\xa4"}}, "--warnings " HUNDRED_ALMOST "...: it must be a number from 0 to 1000"},
        {{{"--warnings", "many"}}, "--warnings many: it must be a number from 0 to 1000"},
        {{{"--warnings", "-1"}}, "--warnings -1: it must be a number from 0 to 1000"},
        {{{"--warnings", "1001"}}, "--warnings 1001: it must be a number from 0 to 1000"},
        {{{"--warnings", "3 "}}, "--warnings 3 : it must be a number from 0 to 1000"},
        {{{"--warnings", "0x3"}}, "--warnings 0x3: it must be a number from 0 to 1000"},
        {{{"--warnings", "99999999999999999999"}}, "--warnings 99999999999999999999: it must be a number from 0 to 1000"},
        {{{"--password-memory", "0"}}, "--password-memory 0: it must be a number from 1 to 1024"},
        {{{"--login-rate", "0"}}, "--login-rate 0: it must be a number from 1 to 100000, or off"},
        {{{"--message-rate", "20"}}, "--message-rate 20: it must be BURST/PER_SECOND like 20/5, or off"},
        {{{"--request-rate", "0/0"}}, "--request-rate 0/0: it must be BURST/PER_SECOND like 20/5, or off"},
        {{{"--allow-origin", "not an origin"}}, "--allow-origin not an origin: it must be an origin like https://chat.example.org, without a path"},
        {{{"--allow-origin", "chat.example.org"}}, "--allow-origin chat.example.org: it must be an origin like https://chat.example.org, without a path"},
        {{{"--allow-origin", "https://a.org/"}}, "--allow-origin https://a.org/: it must be an origin like https://chat.example.org, without a path"},
        {{{"--allow-origin", "https://"}}, "--allow-origin https://: it must be an origin like https://chat.example.org, without a path"},
        {{{"--allow-origin", "null"}}, "--allow-origin null: it must be an origin like https://chat.example.org, without a path"},
        {{{"--trust-proxy", "10.0.0.0/99"}}, "--trust-proxy 10.0.0.0/99: it must be an address like 10.0.0.1, a network like 10.0.0.0/8, or unix"},
        {{{"--silent-max", "30"}}, "--silent-max 30: it must be more than --ping-idle (30), or every idle socket is dropped"},
        {{{"--config", "/nowhere/at/all"}}, "--config /nowhere/at/all: it cannot be read (No such file or directory)"},
        {{{"--config", "/"}}, "--config /: it cannot be read (Is a directory)"},
    };
    for (auto &row : rows) {
        Line line = row.line;
        Options o;
        ScopedBuf error;
        check(!options_parse(line.count(), line.argv(), &o, &error), "%s was taken", row.error);
        check_text(buf_view(error), row.error, "mistake");
    }
    // Too many of a list, and a very long word.
    static char *many[40];
    for (int i = 0; i < 40; i += 2) many[i] = (char *)"--listen", many[i + 1] = (char *)"127.0.0.1:0";
    Options o, p;
    ScopedBuf error;
    assert_false(options_parse(40, many, &o, &error));
    check_text(buf_view(error), "--listen 127.0.0.1:0: it must be at most 16 times", "many");
    static char endless[5000];
    memset(endless, 'x', sizeof endless - 1);
    Line line = {{"--data", endless}};
    buf_clear(error);
    assert_false(options_parse(line.count(), line.argv(), &p, &error));
    assert_true(error.len < 200);
}

static void help_comes_from_the_table(void **) {
    ScopedBuf help;
    options_help(&help);
    static const char *names[] = {"listen", "data", "registration", "durability", "stop-words", "warnings", "password-memory", "password-ops", "message-rate",
                                  "request-rate", "login-rate", "max-sockets", "max-sockets-per-user", "max-connections-per-address", "deflate", "allow-origin",
                                  "trust-proxy", "config", "log-level", "log-format"};
    for (const char *name : names) {
        ScopedBuf want;
        buf_printf(want, "  --%s ", name);
        check(buf_view(help).find(buf_view(want)) != std::string_view::npos, "%s is missing", name);
    }
    assert_true(buf_view(help).find("[127.0.0.1:8000]") != std::string_view::npos);
    size_t begin = 0;
    for (size_t i = 0; i < help.len; i++) {
        if (help.data[i] != '\n') continue;
        check(i - begin <= 110, "a line of %zu", i - begin);
        check(i == begin || help.data[i - 1] != ' ', "a space at the end of a line");
        begin = i + 1;
    }
    Line line = {{"--max-sockets", "nonsense", "--help"}}; // help wins over mistakes
    Options o;
    parse(line, &o);
    assert_true(o.help);
    Line brief = {{"-h"}};
    Options p;
    parse(brief, &p);
    assert_true(p.help);
    Line value = {{"--name", "-h"}}; // a value, not the flag
    Options q;
    parse(value, &q);
    assert_true(!q.help);
    assert_string_equal(q.name, "-h");
}

static void a_file_is_read(void **) {
    write_file("\xef\xbb\xbf# a comment\n\n  registration = closed  \r\nwarnings=7 # trailing\n\tlisten = 127.0.0.1:1\nlisten = 127.0.0.1:2\n"
               "name = A = B # C\nstop-words = /a/path with#hash\nallow-origin = https://a.example.org");
    Line line = {{"--config", file_path}};
    Options o;
    parse(line, &o);
    assert_true(o.registration == Registration::closed);
    assert_int_equal(o.warnings, 7);
    assert_int_equal(o.listen_count, 2); // the default is replaced, not added to
    assert_int_equal(o.listen[1].port, 2);
    assert_string_equal(o.name, "A = B");
    assert_string_equal(o.stop_words, "/a/path with#hash");
    assert_string_equal(o.allow_origin[0], "https://a.example.org");

    static const struct {
        const char *text, *error; // FILE in front
    } rows[] = {
        {"warnings 7\n", ":1: write it as `name = value`"},
        {"\n= 7\n", ":2: write it as `name = value`"},
        {"warning = 7\n", ":1: warning: there is no such option; is warnings meant?"},
        {"--warnings = 7\n", ":1: --warnings: there is no such option; is warnings meant?"},
        {"Warnings = 7\n", ":1: Warnings: there is no such option; is warnings meant?"},
        {"# x\nwarnings = lots\n", ":2: warnings lots: it must be a number from 0 to 1000"},
        {"warnings =\n", ":1: warnings : it must be a number from 0 to 1000"},
        {"warnings = 1\nwarnings = 2\n", ":2: warnings is there already; keep one of the two"},
        {"config = other\n", ":1: config cannot be in the file itself"},
        {"help = yes\n", ":1: help: there is no such option; chatterbox --help lists them"},
    };
    for (auto &row : rows) {
        write_file(row.text);
        Options p;
        ScopedBuf error, want;
        check(!options_parse(line.count(), line.argv(), &p, &error), "%s was taken", row.text);
        buf_printf(want, "%s%s", file_path, row.error);
        check_text(buf_view(error), buf_view(want), row.text);
    }
    FILE *f = fopen(file_path, "w");
    for (int i = 0; i < 10000; i++) fputs("# filling\n", f);
    fclose(f);
    Options p;
    ScopedBuf error;
    assert_false(options_parse(line.count(), line.argv(), &p, &error));
    assert_true(buf_view(error).ends_with(": it is longer than 64 KiB"));
}

static void flag_wins_over_variable_over_file(void **) {
    write_file("warnings = 1\nregistration = invite\nlisten = 127.0.0.1:1\nlisten = 127.0.0.1:2\nallow-origin = https://file.example.org\ndata = /from/file\n");
    setenv("CHATTERBOX_WARNINGS", "2", 1);
    setenv("CHATTERBOX_LISTEN", "127.0.0.1:3, [::1]:4 unix:/x", 1);
    setenv("CHATTERBOX_MAX_SOCKETS_PER_USER", "5", 1);
    setenv("CHATTERBOX_REGISTRATION", "", 1); // empty: as if it were not there
    setenv("CHATTERBOX_NAME", "With spaces, and a comma", 1);
    setenv("CHATTERBOX_CONFIG", file_path, 1);
    setenv("CHATTERBOX_SERVICE_HOST", "10.0.0.1", 1); // what a cluster puts there is not ours
    Options o;
    Line none;
    parse(none, &o);
    assert_int_equal(o.warnings, 2);
    assert_true(o.registration == Registration::invite);
    assert_int_equal(o.listen_count, 3);
    assert_int_equal(o.listen[1].port, 4);
    assert_int_equal(o.max_sockets_per_user, 5);
    assert_string_equal(o.name, "With spaces, and a comma");
    assert_string_equal(o.data, "/from/file");
    assert_string_equal(o.allow_origin[0], "https://file.example.org");

    Options p;
    Line flags = {{"--warnings", "9", "--listen", "127.0.0.1:9", "--config", "/dev/null"}};
    parse(flags, &p);
    assert_int_equal(p.warnings, 9);
    assert_int_equal(p.listen_count, 1);
    assert_int_equal(p.listen[0].port, 9);
    assert_true(p.registration == Registration::open); // the flag's file is the one that is read
    assert_string_equal(p.config, "/dev/null");
    assert_string_equal(p.data, "./data");

    setenv("CHATTERBOX_WARNINGS", "two", 1);
    Options q;
    ScopedBuf error;
    assert_false(options_parse(none.count(), none.argv(), &q, &error));
    check_text(buf_view(error), "CHATTERBOX_WARNINGS two: it must be a number from 0 to 1000", "variable");
    for (const char *name : {"WARNINGS", "LISTEN", "MAX_SOCKETS_PER_USER", "REGISTRATION", "NAME", "CONFIG", "SERVICE_HOST"}) {
        char variable[64];
        snprintf(variable, sizeof variable, "CHATTERBOX_%s", name);
        unsetenv(variable);
    }
}

static void commands_take_what_is_theirs(void **) {
    Line line = {{"user", "--data", "/d", "add", "--role", "admin", "--password-ops=1", "bob", "--", "--data", "x"}};
    int argc = line.count();
    Options o;
    ScopedBuf error;
    assert_true(options_take(&argc, line.argv(), &o, &error));
    static const char *left[] = {"user", "add", "--role", "admin", "bob", "--", "--data", "x"};
    assert_int_equal(argc, 8);
    for (int i = 0; i < argc; i++) assert_string_equal(line.words[i], left[i]);
    assert_string_equal(o.data, "/d");
    assert_int_equal(o.password_ops, 1);
    Line wrong = {{"user", "list", "--data"}};
    argc = wrong.count();
    Options p;
    assert_false(options_take(&argc, wrong.argv(), &p, &error));
    check_text(buf_view(error), "--data: its value is missing; write --data DIR", "command");
}

static void reads_again(void **) {
    write_file("warnings = 1\nregistration = open\n");
    Line line = {{"--config", file_path, "--message-rate", "9/9"}};
    Options o;
    parse(line, &o);
    ScopedBuf message;
    assert_true(options_reload(&o, &message)); // nothing changed, nothing said
    assert_int_equal(message.len, 0);

    write_file("warnings = 4\nregistration = closed\nmessage-rate = 1/1\nrequest-rate = off\nlog-level = debug\n");
    assert_true(options_reload(&o, &message));
    assert_int_equal(message.len, 0);
    assert_int_equal(o.warnings, 4);
    assert_true(o.registration == Registration::closed && o.log_level == LogLevel::debug);
    assert_int_equal(o.message_rate.burst, 9); // the flag still wins
    assert_int_equal(o.request_rate.burst, 0);

    write_file("warnings = 5\nlisten = 127.0.0.1:1\ndata = /elsewhere\nallow-origin = https://a.example.org\ntrust-proxy = 10.0.0.1\n");
    assert_true(options_reload(&o, &message));
    check_text(buf_view(message), "changed for the next start: listen, data, allow-origin, trust-proxy", "message");
    assert_int_equal(o.warnings, 5);
    assert_string_equal(o.data, "./data");
    assert_int_equal(o.listen[0].port, 8000);
    assert_int_equal(o.allow_origin_count, 0);
    assert_true(o.registration == Registration::open); // no longer in the file: the default again

    buf_clear(message);
    write_file("warnings = 6\nregistration = nobody\n");
    assert_false(options_reload(&o, &message)); // a mistake changes nothing
    assert_int_equal(o.warnings, 5);
    assert_true(message.len > 0);
    unlink(file_path);
    buf_clear(message);
    assert_false(options_reload(&o, &message));
    assert_int_equal(o.warnings, 5);
}

// The server puts the port that it got in the place of 0. That is no change, and 0 made into a number is one.
static void a_picked_port_is_no_change(void **) {
    write_file("listen = 127.0.0.1:0\n");
    Line line = {{"--config", file_path}};
    Options o;
    parse(line, &o);
    o.listen[0].port = 41234;
    ScopedBuf message;
    assert_true(options_reload(&o, &message));
    assert_int_equal(message.len, 0);
    assert_int_equal(o.listen[0].port, 41234);
    write_file("listen = 127.0.0.1:41234\n");
    assert_true(options_reload(&o, &message));
    check_text(buf_view(message), "changed for the next start: listen", "message");
}

static int make_directory(void **) {
    strcpy(directory, "/tmp/chatterbox-unit-XXXXXX");
    if (mkdtemp(directory) == nullptr) return -1;
    snprintf(file_path, sizeof file_path, "%s/options", directory);
    return 0;
}

static int remove_directory(void **) {
    unlink(file_path);
    return rmdir(directory);
}

int main() {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_the_protocols),
        cmocka_unit_test(flags_set_every_kind),
        cmocka_unit_test(mistakes_say_what_and_how),
        cmocka_unit_test(help_comes_from_the_table),
        cmocka_unit_test(a_file_is_read),
        cmocka_unit_test(flag_wins_over_variable_over_file),
        cmocka_unit_test(commands_take_what_is_theirs),
        cmocka_unit_test(reads_again),
        cmocka_unit_test(a_picked_port_is_no_change),
    };
    return cmocka_run_group_tests_name("options", tests, make_directory, remove_directory);
}
