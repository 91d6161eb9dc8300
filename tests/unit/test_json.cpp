// JSON: what is taken, what is refused, numbers at their edges, and texts that come back as they were written.
#include "unit.h"

#include "base/json.h"
#include "base/unicode.h"

static void takes_and_refuses(void **) {
    static const struct {
        std::string_view text;
        bool taken;
    } rows[] = {
        {"{}", true},
        {" \t\r\n{ } \n", true},
        {R"({"a":1,"b":[true,false,null,-0.5e-3,"x"],"c":{"d":{}}})", true},
        {R"({"":""})", true},
        {R"({"a":1,"a":2})", true},
        {"{\"\xc3\xa4\":\"\xf0\x9f\x91\x8d\"}", true},
        {R"({"a":"\ud83d\udc4d \u0000 \/ \b"})", true},
        {"", false},
        {" ", false},
        {"null", false},
        {"true", false},
        {"1", false},
        {"\"{}\"", false},
        {"[]", false},
        {"[{}]", false},
        {"{", false},
        {"}", false},
        {"{}}", false},
        {"{} {}", false},
        {"{}x", false},
        {"{},", false},
        {R"({"a"})", false},
        {R"({"a":})", false},
        {R"({"a":1,})", false},
        {R"({,"a":1})", false},
        {R"({"a":1 "b":2})", false},
        {R"({a:1})", false},
        {R"({'a':1})", false},
        {R"({1:1})", false},
        {R"({"a":01})", false},
        {R"({"a":+1})", false},
        {R"({"a":.5})", false},
        {R"({"a":1.})", false},
        {R"({"a":1e})", false},
        {R"({"a":-})", false},
        {R"({"a":0x10})", false},
        {R"({"a":NaN})", false},
        {R"({"a":Infinity})", false},
        {R"({"a":-Infinity})", false},
        {R"({"a":1e999})", false},
        {R"({"a":tru})", false},
        {R"({"a":TRUE})", false},
        {R"({"a":undefined})", false},
        {R"({"a":[1,]})", false},
        {R"({"a":[1 2]})", false},
        {R"({"a":[1})", false},
        {R"({"a":"x)", false},
        {R"({"a":"\x41"})", false},
        {R"({"a":"\u12"})", false},
        {R"({"a":"\u12g4"})", false},
        {"{\"a\":\"line\nbreak\"}", false},
        {"{\"a\":\"tab\there\"}", false},
        {"/* comment */{}", false},
        {"{} // comment", false},
        {"\xef\xbb\xbf{}", false}, // a byte order mark is no part of JSON
        {bytes_of("{}\0"), false},
        {bytes_of("{\"a\":\"\0\"}"), false},
        {bytes_of("\0{}"), false},
        {R"({"a":"\ud83d"})", false}, // half a surrogate pair
        {R"({"a":"\ud83dx"})", false},
        {R"({"a":"\ud83d\u0041"})", false},
        {R"({"a":"\udc4d"})", false},
        {R"({"\udc4d":1})", false},
        {R"({"a":"\udc4d\ud83d"})", false},
        {"{\"a\":\"\xff\"}", false},
        {"{\"a\":\"\xc0\xaf\"}", false},     // overlong
        {"{\"a\":\"\xed\xa0\x80\"}", false}, // a surrogate as bytes
        {"{\"a\":\"\xf4\x90\x80\x80\"}", false},
        {"{\"a\":\"\xe2\x82\"}", false}, // cut
        {"{\"\xff\":1}", false},
        {"\xff{}", false},
        {"{}\xff", false},
    };
    for (auto &row : rows) {
        bool taken = (bool)json_parse(row.text);
        check(taken == row.taken, "%.*s: %s", (int)row.text.size(), row.text.data(), taken ? "taken" : "refused");
    }
}

// Wherever it stands in a string: RapidJSON goes in steps of 16 bytes where it can.
static void refuses_raw_controls_everywhere(void **) {
    for (char control = 0; control <= 0x20; control++) {
        for (size_t at = 0; at < 50; at++) {
            char text[80] = R"({"a":"..................................................","b":1})";
            text[6 + at] = control;
            assert_int_equal((bool)json_parse({text, strlen(R"({"a":"")") - 1 + 50 + strlen(R"(","b":1})")}), control == ' ');
            char key[80] = R"({"..................................................":"b"})";
            key[2 + at] = control;
            assert_int_equal((bool)json_parse({key, 2 + 50 + strlen(R"(":"b"})")}), control == ' ');
        }
    }
}

// Not more than 4,096 values and names: whoever sends 64 KiB of zeros is not to hold the loop.
static void has_so_many_values_and_no_more(void **) {
    for (int more = 0; more < 2; more++) {
        ScopedBuf list, names;
        buf_add(list, R"({"a":[0)"); // the object, its name, the array, a zero
        for (int i = 4; i < 4096 + more; i++) buf_add(list, ",0");
        buf_add(list, "]}");
        check((bool)json_parse(buf_view(list)) == (more == 0), "a list, and %d more", more);
        buf_add(names, R"({"a":{"a":0)");
        for (int i = 5; i + 2 <= 4096 + more; i += 2) buf_add(names, R"(,"a":"")");
        buf_add(names, "}}");
        check((bool)json_parse(buf_view(names)) == (more == 0), "names, and %d more", more);
    }
}

static void refuses_every_cut(void **) {
    const char *whole = R"({"type":"message","text":"a\u00e4\ud83d\udc4d","room":12,"list":[1,{"x":null}]})";
    for (size_t n = 0; n < strlen(whole); n++) {
        char *cut = (char *)malloc(n + 1); // its own memory, so that reading beyond it is seen
        memcpy(cut, whole, n);
        check(!json_parse({cut, n}), "taken when cut after %zu bytes", n);
        free(cut);
    }
    assert_true(json_parse(whole));
}

static void survives_every_changed_byte(void **) {
    const char *whole = R"({"a":"\u00e4","b":[1,-2.5e3,true,null],"c":{}})";
    char text[64];
    for (size_t i = 0; i < strlen(whole); i++) {
        for (int byte = 0; byte < 256; byte++) {
            memcpy(text, whole, strlen(whole));
            text[i] = (char)byte;
            JsonRef root = json_parse({text, strlen(whole)});
            std::string_view value;
            if (json_string(json_get(root, "a"), &value)) assert_true(utf8_valid(value));
        }
    }
}

static void bounds_the_depth(void **) {
    char text[140000];
    for (unsigned depth = 1; depth <= 40; depth++) {
        Buf b;
        buf_add(b, "{\"a\":");
        for (unsigned i = 1; i < depth; i++) buf_add_char(b, '[');
        if (depth == 1) buf_add_char(b, '0');
        for (unsigned i = 1; i < depth; i++) buf_add_char(b, ']');
        buf_add_char(b, '}');
        check((bool)json_parse(buf_view(b)) == (depth <= 16), "depth %u", depth);
        buf_free(b);
    }
    memset(text, '[', sizeof text); // neither recursion nor memory
    memcpy(text, "{\"a\":", 5);
    assert_false(json_parse({text, sizeof text}));
    for (size_t i = 0; i + 5 <= sizeof text; i += 5) memcpy(text + i, "{\"a\":", 5);
    assert_false(json_parse({text, sizeof text}));
}

static void reads_members(void **) {
    JsonRef root = json_parse(R"({"s":"text","n":-3,"t":true,"f":false,"z":null,"a":[10,"x",[]],"o":{"s":"inner"},"s":"second"})");
    assert_true(root);
    std::string_view s = "untouched";
    int64_t n = 99;
    bool b = false;
    uint32_t count = 99;
    assert_true(json_string(json_get(root, "s"), &s));
    check_text(s, "text", "the first of two");
    assert_true(json_int(json_get(root, "n"), &n));
    assert_int_equal(n, -3);
    assert_true(json_bool(json_get(root, "t"), &b) && b);
    assert_true(json_bool(json_get(root, "f"), &b) && !b);
    assert_true(json_is_null(json_get(root, "z")));
    assert_false(json_is_null(json_get(root, "missing")));
    assert_false(json_get(root, "missing"));
    assert_true(json_array(json_get(root, "a"), &count));
    assert_int_equal(count, 3);
    assert_true(json_int(json_at(json_get(root, "a"), 0), &n) && n == 10);
    assert_false(json_at(json_get(root, "a"), 3));
    assert_true(json_string(json_get(json_get(root, "o"), "s"), &s));
    check_text(s, "inner", "inner");

    // The wrong kind leaves the result alone, and a missing one is no crash.
    s = "untouched", n = 99, b = true, count = 99;
    const char *keys[] = {"s", "n", "t", "z", "a", "o", "missing"};
    for (const char *key : keys) {
        JsonRef v = json_get(root, key);
        if (strcmp(key, "s") != 0) assert_false(json_string(v, &s));
        if (strcmp(key, "n") != 0) assert_false(json_int(v, &n));
        if (strcmp(key, "t") != 0) assert_false(json_bool(v, &b));
        if (strcmp(key, "a") != 0) assert_false(json_array(v, &count));
        if (strcmp(key, "o") != 0) assert_false(json_get(v, "s"));
        if (strcmp(key, "a") != 0) assert_false(json_at(v, 0));
    }
    check_text(s, "untouched", "wrong kinds");
    assert_int_equal(n, 99);
    assert_true(b);
    assert_int_equal(count, 99);
    assert_false(json_get({}, "s"));
}

static void reads_integers_to_their_edges(void **) {
    static const struct {
        const char *text;
        bool ok;
        int64_t value;
    } rows[] = {
        {"0", true, 0},
        {"-0", true, 0},
        {"9007199254740991", true, 9007199254740991},
        {"9007199254740992", true, 9007199254740992},
        {"-9007199254740992", true, -9007199254740992},
        {"9007199254740993", false, 0},
        {"-9007199254740993", false, 0},
        {"9223372036854775807", false, 0},
        {"-9223372036854775808", false, 0},
        {"18446744073709551615", false, 0},
        {"99999999999999999999999999", false, 0},
        {"1.0", true, 1},
        {"1e3", true, 1000},
        {"-25e-1", false, 0},
        {"0.5", false, 0},
        {"1e300", false, 0},
        {"1e-300", false, 0},
        {"\"1\"", false, 0},
        {"true", false, 0},
        {"null", false, 0},
    };
    for (auto &row : rows) {
        Buf b;
        buf_printf(b, "{\"n\":%s}", row.text);
        int64_t n = 0;
        bool ok = json_int(json_get(json_parse(buf_view(b)), "n"), &n);
        check(ok == row.ok && n == row.value, "%s: %d, %lld", row.text, ok, (long long)n);
        buf_free(b);
    }
    // Thousands of digits are one number, slow to nobody.
    Buf digits;
    buf_add(digits, "{\"n\":");
    for (int i = 0; i < 60000; i++) buf_add_char(digits, '1');
    buf_add_char(digits, '}');
    int64_t n;
    assert_false(json_int(json_get(json_parse(buf_view(digits)), "n"), &n));
    buf_free(digits);
}

static void takes_large_texts_and_forgets_them(void **) {
    Buf b;
    buf_add(b, "{\"list\":[");
    for (int i = 0; i < 4000; i++) buf_add(b, i == 0 ? "0" : ",0");
    buf_add(b, "]}");
    uint32_t count;
    for (int i = 0; i < 20; i++) {
        assert_true(json_array(json_get(json_parse(buf_view(b)), "list"), &count));
        assert_int_equal(count, 4000);
    }
    buf_clear(b);
    buf_add(b, "{\"text\":\"");
    for (int i = 0; i < 60000; i++) buf_add_char(b, 'x');
    buf_add(b, "\"}");
    std::string_view text;
    assert_true(json_string(json_get(json_parse(buf_view(b)), "text"), &text));
    assert_int_equal(text.size(), 60000);
    buf_free(b);
    assert_true(json_parse("{}")); // what was large is given back now; the sanitizers would tell
}

static void decodes_escapes(void **) {
    static const struct {
        const char *escaped;
        std::string_view text;
    } rows[] = {
        {R"(\"\\\/\b\f\n\r\t)", "\"\\/\b\f\n\r\t"},
        {R"(\u0041\u00e4\u20ac)", "A\xc3\xa4\xe2\x82\xac"},
        {R"(\uD83D\uDC4D)", "\xf0\x9f\x91\x8d"},
        {R"(a\u0000b)", bytes_of("a\0b")},
        {R"(\uffff)", "\xef\xbf\xbf"},
    };
    for (auto &row : rows) {
        Buf b;
        buf_printf(b, "{\"s\":\"%s\"}", row.escaped);
        std::string_view text;
        assert_true(json_string(json_get(json_parse(buf_view(b)), "s"), &text));
        check_text(text, row.text, row.escaped);
        buf_free(b);
    }
}

static void writes(void **) {
    ScopedBuf out;
    JsonWriter w{&out};
    json_begin(w, '{');
    json_field(w, "type", "message");
    json_field_int(w, "id", -42);
    json_field_bool(w, "on", true);
    json_key(w, "list");
    json_begin(w, '[');
    json_put_int(w, 1);
    json_put_bool(w, false);
    json_put_string(w, "x");
    json_begin(w, '{');
    json_end(w, '}');
    json_begin(w, '[');
    json_end(w, ']');
    json_put_raw(w, "{\"raw\":1}");
    json_end(w, ']');
    json_key(w, "o");
    json_begin(w, '{');
    json_field(w, "k", "v");
    json_end(w, '}');
    json_key(w, "last");
    json_put_raw(w, "null");
    json_end(w, '}');
    check_text(buf_view(out), R"({"type":"message","id":-42,"on":true,"list":[1,false,"x",{},[],{"raw":1}],"o":{"k":"v"},"last":null})", "written");
    assert_true(json_parse(buf_view(out)));
}

static void escapes_what_it_writes(void **) {
    ScopedBuf out;
    JsonWriter w{&out};
    json_put_string(w, bytes_of("\"q\" \\ / \n\t\r \0 \x01 \x1f \x7f \xc3\xa4 \xf0\x9f\x91\x8d </script>"));
    check_text(buf_view(out), "\"\\\"q\\\" \\\\ / \\n\\t\\r \\u0000 \\u0001 \\u001f \x7f \xc3\xa4 \xf0\x9f\x91\x8d </script>\"", "escaped");
}

static void what_is_written_reads_the_same(void **) {
    unsigned seed = (unsigned)getpid();
    print_message("seed %u\n", seed);
    srand(seed);
    for (int round = 0; round < 2000; round++) {
        ScopedBuf text, out;
        for (int i = rand() % 40; i > 0; i--) {
            int32_t c = rand() % 4 == 0 ? rand() % 0x110000 : rand() % 0x80;
            if (c >= 0xd800 && c <= 0xdfff) c = '?';
            utf8_put(text, c);
        }
        JsonWriter w{&out};
        json_begin(w, '{');
        json_field(w, "s", buf_view(text));
        json_end(w, '}');
        std::string_view read;
        assert_true(json_string(json_get(json_parse(buf_view(out)), "s"), &read));
        check_text(read, buf_view(text), "round trip");
    }
}

static void a_value_in_the_wrong_place_is_our_mistake(void **) {
    static Buf out;
    assert_true(aborts([] {
        JsonWriter w{&out};
        json_begin(w, '{');
        json_put_int(w, 1); // no key
    }));
    assert_true(aborts([] {
        JsonWriter w{&out};
        json_begin(w, '[');
        json_key(w, "k");
    }));
    assert_true(aborts([] {
        JsonWriter w{&out};
        json_begin(w, '[');
        json_end(w, '}');
    }));
    assert_true(aborts([] {
        JsonWriter w{&out};
        json_begin(w, '{');
        json_key(w, "k");
        json_end(w, '}');
    }));
    assert_true(aborts([] {
        JsonWriter w{&out};
        for (int i = 0; i < 17; i++) json_begin(w, '[');
    }));
    assert_false(aborts([] {
        JsonWriter w{&out};
        for (int i = 0; i < 16; i++) json_begin(w, '[');
        for (int i = 0; i < 16; i++) json_end(w, ']');
    }));
    buf_free(out);
}

int main() {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_and_refuses),
        cmocka_unit_test(refuses_raw_controls_everywhere),
        cmocka_unit_test(has_so_many_values_and_no_more),
        cmocka_unit_test(refuses_every_cut),
        cmocka_unit_test(survives_every_changed_byte),
        cmocka_unit_test(bounds_the_depth),
        cmocka_unit_test(reads_members),
        cmocka_unit_test(reads_integers_to_their_edges),
        cmocka_unit_test(takes_large_texts_and_forgets_them),
        cmocka_unit_test(decodes_escapes),
        cmocka_unit_test(writes),
        cmocka_unit_test(escapes_what_it_writes),
        cmocka_unit_test(what_is_written_reads_the_same),
        cmocka_unit_test(a_value_in_the_wrong_place_is_our_mistake),
    };
    return cmocka_run_group_tests_name("json", tests, nullptr, nullptr);
}
