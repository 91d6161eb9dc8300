// The rules for names, passwords, lines and texts, as tables of examples.
#include "unit.h"

#include "base/limits.h"
#include "base/unicode.h"
#include "chat/rules.h"

#define ZWSP "\xe2\x80\x8b"
#define ZWJ "\xe2\x80\x8d"
#define ZWNJ "\xe2\x80\x8c"
#define RLO "\xe2\x80\xae"
#define RLM "\xe2\x80\x8f"
#define PDI "\xe2\x81\xa9"
#define EMOJI "\xf0\x9f\x91\x8d"
#define ACUTE "\xcc\x81"

// `times` times `unit`; each call's text lives as long as the process.
static std::string_view repeat(const char *unit, size_t times, const char *tail = "") {
    static char place[1 << 20];
    static size_t used;
    size_t begin = used;
    for (size_t i = 0; i < times; i++) used += (size_t)sprintf(place + used, "%s", unit);
    used += (size_t)sprintf(place + used, "%s", tail) + 1;
    assert_true(used < sizeof place);
    return {place + begin, used - 1 - begin};
}

static void usernames(void **) {
    const struct {
        std::string_view name;
        const char *key; // null: bad_username
    } rows[] = {
        {"a", "a"},
        {"Alice", "alice"},
        {"0day", "0day"},
        {"a_b-c.d", "a_b-c.d"},
        {"a..b", "a..b"},
        {"J\xc3\xbcrgen", "j\xc3\xbcrgen"},
        {"Ju\xcc\x88rgen", "j\xc3\xbcrgen"}, // the same name, decomposed
        {"\xe7\x94\xb0\xe4\xb8\xad", "\xe7\x94\xb0\xe4\xb8\xad"},
        {"\xd0\x98\xd0\xb2\xd0\xb0\xd0\xbd", "\xd0\xb8\xd0\xb2\xd0\xb0\xd0\xbd"},
        {"\xe0\xa4\xb9\xe0\xa4\xbf\xe0\xa4\x82", "\xe0\xa4\xb9\xe0\xa4\xbf\xe0\xa4\x82"}, // marks belong to letters
        {"\xd7\x93\xd7\x9f", "\xd7\x93\xd7\x9f"},
        {"\xef\xbc\xa1\xef\xbc\xac", "al"}, // fullwidth AL is al
        {repeat("x", 32), repeat("x", 32).data()},
        {repeat("\xc3\xa4", 32), repeat("\xc3\xa4", 32).data()},
        {repeat("x", 33), nullptr},
        {repeat("\xc3\xa4", 33), nullptr},
        {repeat("x", 60000), nullptr},
        {"", nullptr},
        {" ", nullptr},
        {" alice", nullptr},
        {"alice ", nullptr},
        {"al ice", nullptr},
        {".alice", nullptr},
        {"_alice", nullptr},
        {"-alice", nullptr},
        {"alice.", nullptr},
        {".", nullptr},
        {"..", nullptr},
        {"al/ice", nullptr},
        {"al@ice", nullptr},
        {"al<b>", nullptr},
        {"al\"ice", nullptr},
        {"*", nullptr},
        {bytes_of("al\0ice"), nullptr},
        {"al\nice", nullptr},
        {"al\x7fice", nullptr},
        {"al" ZWSP "ice", nullptr},
        {"alice" ZWJ, nullptr},
        {"al" ZWNJ "ice", nullptr},
        {RLO "alice", nullptr},
        {"alice" RLM, nullptr},
        {"alice\xef\xb8\x8f", nullptr}, // variation selector
        {"al\xc2\xad" "ice", nullptr},  // soft hyphen
        {"al\xc2\xa0" "ice", nullptr},
        {"\xe3\x85\xa4", nullptr}, // Hangul filler: a letter that shows nothing
        {"a\xe1\x85\xa0", nullptr},
        {"\xe2\xa0\x80", nullptr}, // empty Braille
        {ACUTE "a", nullptr}, // a mark on nothing
        {"a\xd2\x88", nullptr}, // enclosing mark
        {EMOJI, nullptr},
        {"alice" EMOJI, nullptr},
        {"\xef\xb7\xba", nullptr}, // one letter that unfolds to a sentence
        {"a\xc2\xbd", nullptr}, // one half unfolds to 1/2
        {"a\xe2\x92\x88", nullptr}, // "1." as one character: would end in a dot
        {"\xef\xbe\x9e" "a", nullptr}, // halfwidth mark: a letter that unfolds to a mark
    };
    for (auto &row : rows) {
        ScopedBuf key;
        Err err = rules_username(row.name, &key);
        check(err == (row.key != nullptr ? Err::ok : Err::bad_username), "%.*s: %s", (int)row.name.size(), row.name.data(), err_info(err).code);
        check_text(buf_view(key), row.key != nullptr ? row.key : "", "key");
    }
}

static void passwords(void **) {
    const struct {
        std::string_view password;
        const char *username;
        bool good;
    } rows[] = {
        {"correct horse battery", "alice", true},
        {"x7#kQ9!z", "alice", true},
        {"x 7 q \xc3\xa4k", "alice", true}, // spaces are characters
        {repeat("zq7x ", 25, "abc"), "alice", true},
        {repeat("\xf0\x9f\x91\x8d\xf0\x9f\x8e\x89", 4), "alice", true},
        {"dragonfly over the lake", "alice", true},
        {"monkey-wrench", "alice", true},
        {"hunter2 and I", "alice", true},
        {"4815162343", "alice", true},
        {"x7#kQ9!", "alice", false},
        {"", "alice", false},
        {repeat("zq7x ", 25, "abcd"), "alice", false},
        {repeat("z", 60000), "alice", false},
        {repeat("\xcc\x81", 30000), "alice", false},
        {"alexandria", "alexandria", false},
        {"ALEXandria", "alexANDRIA", false},
        {"alex" ZWSP "andria", "alexandria", false},
        {"tarrasque1", "tarrasque", true},
        {"password", "alice", false},
        {"PassWord", "alice", false},
        {"\xef\xbd\x90" "assword", "alice", false}, // fullwidth p
        {"12345678", "alice", false},
        {"zxcvbnm,", "alice", false},
        {"!qaz2wsx", "alice", false},
        {"monkey123", "alice", false}, // a word and what people put behind it
        {"Dragon2020", "alice", false},
        {"123Dragon!", "alice", false},
        {"p@$$w0rd99", "alice", false},
        {"qweasdzxc", "alice", false}, // ways over the keyboard
        {"1qaz2wsx3edc", "alice", false},
        {"poiuytrewq", "alice", false},
        {"abcd1234", "alice", false},
        {"11223344", "alice", false},
        {"asdfasdf", "alice", false}, // again and again
        {"12312312", "alice", false},
        {"\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4", "alice", false},
        {"chatterbox", "alice", false}, // ourselves
        {"zaq1zaq1", "alice", false},
        {"iloveyou", "alice", false},
        {"michigan", "alice", false}, // of the list of leaked ones
        {"4815162342", "alice", false},
        {"Christmas24!", "alice", false},
        {"fktrcfylh", "alice", false},
        {"contrase\xc3\xb1" "a", "alice", true}, // lists are of ASCII
        {"Contrasena1", "alice", false}, // the last of ours that begins so
        {"youtube2024", "alice", false},
        {"00000000", "alice", false}, // one sign
        {"zzzzzzzz", "alice", false},
        {"zzzzzzzzzzzzzzzz", "alice", false},
        {"zzzzzzzzzzzzzzzzz", "alice", true}, // how long it goes on is a secret too
        {"abcdefghijklmnopq", "alice", true},
        {"aeio\xcc\x81u\xcc\x81" "123", "alice", true},
        {"a" ACUTE "bcdefg", "alice", false}, // eight as sent, seven in NFC
    };
    for (auto &row : rows) {
        Err err = rules_password(row.password, row.username);
        check(err == (row.good ? Err::ok : Err::bad_password), "%.*s: %s", (int)row.password.size(), row.password.data(), err_info(err).code);
    }
}

// A hash that is the same as a word's must not refuse what nobody guesses. (Some of these were, while only the hash was looked at.)
static void passwords_made_at_random(void **) {
    char password[33];
    for (uint32_t i = 0; i < 10'000; i++) {
        uint32_t state = i;
        for (size_t k = 0; k < 32; k++) {
            state = state * 1664525 + 1013904223;
            password[k] = "0123456789abcdef"[state >> 28];
        }
        password[32] = 0;
        check(rules_password(password, "alice") == Err::ok, "%s", password);
    }
}

static void room_names(void **) {
    const struct {
        std::string_view name;
        const char *clean, *key; // null: bad_name
    } rows[] = {
        {"general", "general", "general"},
        {"The Lobby", "The Lobby", "the lobby"},
        {"  The   Lobby ", "The Lobby", "the lobby"},
        {"v1.0_rc-2", "v1.0_rc-2", "v1.0_rc-2"},
        {"Caf\xc3\xa9", "Caf\xc3\xa9", "caf\xc3\xa9"},
        {"Cafe" ACUTE, "Cafe" ACUTE, "caf\xc3\xa9"},
        {"\xe3\x80\x80x", "x", "x"},
        {repeat("r", 64), repeat("r", 64).data(), repeat("r", 64).data()},
        {repeat("r", 32, " ").data(), repeat("r", 32).data(), repeat("r", 32).data()},
        {repeat("r", 65), nullptr, nullptr},
        {repeat(" ", 60000), nullptr, nullptr},
        {repeat("r ", 30000), nullptr, nullptr},
        {"", nullptr, nullptr},
        {"  ", nullptr, nullptr},
        {"a/b", nullptr, nullptr},
        {"#general", nullptr, nullptr},
        {"a\nb", nullptr, nullptr},
        {"a\tb", nullptr, nullptr},
        {"a\xc2\xa0" "b", nullptr, nullptr},
        {"<b>", nullptr, nullptr},
        {EMOJI, nullptr, nullptr},
        {"a" ZWSP, nullptr, nullptr},
        {RLO "a", nullptr, nullptr},
        {ACUTE "a", nullptr, nullptr},
        {"a " ACUTE "b", nullptr, nullptr},
        {"\xef\xb7\xbb x\xc2\xbd", nullptr, nullptr},
    };
    for (auto &row : rows) {
        ScopedBuf clean, key;
        Err err = rules_room_name(row.name, &clean, &key);
        check(err == (row.clean != nullptr ? Err::ok : Err::bad_name), "%.*s: %s", (int)row.name.size(), row.name.data(), err_info(err).code);
        check_text(buf_view(clean), row.clean != nullptr ? row.clean : "", "clean");
        check_text(buf_view(key), row.key != nullptr ? row.key : "", "key");
    }
}

static void lines(void **) {
    const struct {
        std::string_view line;
        Err err;
        const char *clean;
    } rows[] = {
        {"Alice Doe", Err::ok, "Alice Doe"},
        {"  trimmed\t", Err::ok, "trimmed"},
        {"<script>alert(1)</script>", Err::ok, "<script>alert(1)</script>"}, // harmless: the page never parses it
        {"\xd7\x93\xd7\x9f " EMOJI, Err::ok, "\xd7\x93\xd7\x9f " EMOJI},
        {"\xf0\x9f\x91\xa9" ZWJ "\xf0\x9f\x92\xbb", Err::ok, "\xf0\x9f\x91\xa9" ZWJ "\xf0\x9f\x92\xbb"}, // woman technologist
        {"\xe2\x9d\xa4\xef\xb8\x8f" ZWJ "\xf0\x9f\x94\xa5", Err::ok, "\xe2\x9d\xa4\xef\xb8\x8f" ZWJ "\xf0\x9f\x94\xa5"},
        {"\xd9\x85\xdb\x8c" ZWNJ "\xd8\xae", Err::ok, "\xd9\x85\xdb\x8c" ZWNJ "\xd8\xae"}, // Persian
        {"a\nb", Err::bad_request, ""},
        {"a\tb", Err::bad_request, ""},
        {"a\x7f", Err::bad_request, ""},
        {"a\xc2\x9b" "b", Err::bad_request, ""},
        {bytes_of("a\0b"), Err::bad_request, ""},
        {"a\xe2\x80\xa8" "b", Err::bad_request, ""}, // line separator
        {RLO "evil", Err::bad_request, ""},
        {"ev" RLM "il", Err::bad_request, ""},
        {"x" PDI, Err::bad_request, ""},
        {"al" ZWSP "ice", Err::bad_request, ""},
        {"alice" ZWJ, Err::bad_request, ""},
        {ZWJ "alice", Err::bad_request, ""},
        {"a" ZWJ ZWJ "b", Err::bad_request, ""},
        {"a " ZWJ "b", Err::bad_request, ""},
        {"\xef\xb8\x8f" "a", Err::bad_request, ""},
        {"a\xf3\xa0\x81\xa1", Err::bad_request, ""}, // tag character
        {"a\xe3\x85\xa4", Err::bad_request, ""},
        {"\xef\xbb\xbf" "a", Err::bad_request, ""},
    };
    for (auto &row : rows) {
        ScopedBuf name, topic, status;
        Err err = rules_display_name(row.line, &name);
        check(err == row.err, "%.*s: %s", (int)row.line.size(), row.line.data(), err_info(err).code);
        check_text(buf_view(name), row.clean, "clean");
        assert_true(rules_topic(row.line, &topic) == row.err && buf_view(topic) == row.clean);
        assert_true(rules_status(row.line, &status) == row.err && buf_view(status) == row.clean);
    }
    ScopedBuf out;
    assert_true(rules_display_name("", &out) == Err::empty);
    assert_true(rules_display_name(" \xc2\xa0", &out) == Err::empty);
    assert_true(rules_display_name("\xe2\xa0\x80", &out) == Err::empty);
    assert_true(rules_topic("", &out) == Err::ok);
    assert_true(rules_status("  ", &out) == Err::ok);
    assert_int_equal(out.len, 0);
    assert_true(rules_display_name(repeat("\xc3\xa4", 64), &out) == Err::ok);
    assert_true(rules_display_name(repeat("\xc3\xa4", 65), &out) == Err::too_long);
    assert_true(rules_topic(repeat("x", 250), &out) == Err::ok);
    assert_true(rules_topic(repeat("x", 251), &out) == Err::too_long);
    assert_true(rules_status(repeat("x", 100), &out) == Err::ok);
    assert_true(rules_status(repeat("x", 101), &out) == Err::too_long);
}

static void texts(void **) {
    const struct {
        std::string_view text;
        Err err;
        std::string_view clean;
    } rows[] = {
        {"hello", Err::ok, "hello"},
        {" \n hello \t\n", Err::ok, "hello"},
        {"\xe3\x80\x80hello\xc2\xa0", Err::ok, "hello"},
        {"a\r\nb\r\n\r\nc\r\n", Err::ok, "a\nb\n\nc"},
        {"a\n\tb", Err::ok, "a\n\tb"},
        {"a  b", Err::ok, "a  b"},
        {RLO "stored as sent" ZWSP, Err::ok, RLO "stored as sent" ZWSP},
        {EMOJI, Err::ok, EMOJI},
        {"<img src=x onerror=alert(1)>", Err::ok, "<img src=x onerror=alert(1)>"},
        {"e\xcc\x81", Err::ok, "e\xcc\x81"}, // not normalized
        {"", Err::empty, ""},
        {" \t\r\n", Err::empty, ""},
        {ZWSP, Err::empty, ""},
        {ZWJ " " RLO "\xef\xbb\xbf" "\xe3\x85\xa4\xe2\xa0\x80", Err::empty, ""},
        {bytes_of("\0"), Err::bad_request, ""},
        {bytes_of("a\0b"), Err::bad_request, ""},
        {"a\rb", Err::bad_request, ""},
        {"a\r\r\nb", Err::bad_request, ""},
        {"a\x1b[31mb", Err::bad_request, ""},
        {"a\x7f" "b", Err::bad_request, ""},
        {"a\xc2\x85" "b", Err::bad_request, ""},
        {"a\x0b" "b", Err::bad_request, ""},
        {repeat("x", 4000), Err::ok, repeat("x", 4000)},
        {repeat(EMOJI, 4000), Err::ok, repeat(EMOJI, 4000)},
        {repeat("x", 4001), Err::too_long, ""},
        {repeat(" ", 10000, "x"), Err::ok, "x"}, // what is trimmed does not count
        {repeat("x\r\n", 2000), Err::ok, repeat("x\n", 1999, "x")},
        {repeat("x\r\n", 2000, "xx"), Err::too_long, ""},
        {repeat(ZWSP, 4001), Err::too_long, ""},
    };
    for (auto &row : rows) {
        ScopedBuf clean;
        Err err = rules_text(row.text, text_chars_max, &clean);
        check(err == row.err, "%.*s: %s", (int)row.text.size(), row.text.data(), err_info(err).code);
        check_text(buf_view(clean), row.clean, "clean");
    }
    ScopedBuf out;
    assert_true(rules_text("12345", 5, &out) == Err::ok);
    assert_true(rules_text("123456", 5, &out) == Err::too_long);
    check_text(buf_view(out), "12345", "appended only when ok");
    // Eight bytes at a time only where they are eight characters, all of them harmless.
    assert_true(rules_text("éééééééé", 8, &out) == Err::ok);
    assert_true(rules_text("ééééééééé", 8, &out) == Err::too_long);
    for (const char *bad : {"1234567\x7f", "12345678123\x1f" "5678", "\x01" "2345678"}) check(rules_text(bad, 100, &out) == Err::bad_request, "%s", bad);
}

int main() {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(usernames), cmocka_unit_test(passwords),
        cmocka_unit_test(passwords_made_at_random), cmocka_unit_test(room_names), cmocka_unit_test(lines), cmocka_unit_test(texts),
    };
    return cmocka_run_group_tests_name("rules", tests, nullptr, nullptr);
}
