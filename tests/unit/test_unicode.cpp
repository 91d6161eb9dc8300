// Unicode: UTF-8 whole and cut at every point, keys under which names are the same, categories, trimming.
#include "unit.h"

#include <time.h>

#include "base/unicode.h"

static void knows_valid_utf8(void **) {
    static const struct {
        std::string_view text;
        bool valid;
    } rows[] = {
        {"", true},
        {"plain", true},
        {bytes_of("a\0b"), true},
        {"\x7f", true},
        {"\xc2\x80", true},
        {"\xdf\xbf", true},
        {"\xe0\xa0\x80", true},
        {"\xed\x9f\xbf", true},
        {"\xee\x80\x80", true},
        {"\xef\xbf\xbf", true},
        {"\xf0\x90\x80\x80", true},
        {"\xf4\x8f\xbf\xbf", true},
        {"long enough for eight at once \xf0\x9f\x91\x8d and more of it", true},
        {"\x80", false},
        {"\xbf", false},
        {"\xc0\x80", false}, // overlong
        {"\xc1\xbf", false},
        {"\xe0\x9f\xbf", false},
        {"\xf0\x8f\xbf\xbf", false},
        {"\xed\xa0\x80", false}, // surrogates
        {"\xed\xbf\xbf", false},
        {"\xf4\x90\x80\x80", false}, // beyond U+10FFFF
        {"\xf5\x80\x80\x80", false},
        {"\xf8\x88\x80\x80\x80", false},
        {"\xfe", false},
        {"\xff", false},
        {"\xc3(", false},
        {"\xe2\x28\xa1", false},
        {"\xe2\x82(", false},
        {"\xf0\x9f\x91(", false},
        {"12345678\x80", false},
        {"1234567\x80" "12345678", false},
    };
    for (auto &row : rows) check(utf8_valid(row.text) == row.valid, "%.*s", (int)row.text.size(), row.text.data());
}

static void every_code_point_survives(void **) {
    ScopedBuf b;
    for (int32_t c = 0; c <= 0x10ffff; c++) {
        if (c == 0xd800) c = 0xe000;
        buf_clear(b);
        utf8_put(b, c);
        size_t at = 0;
        bool same = utf8_valid(buf_view(b)) && utf8_next(buf_view(b), &at) == c && at == b.len && utf8_next(buf_view(b), &at) == -1;
        check(same && utf8_count(buf_view(b)) == 1, "U+%04X", (unsigned)c);
    }
    assert_true(aborts([] {
        Buf out;
        utf8_put(out, 0xd800);
    }));
}

static void cut_inside_a_character_is_invalid(void **) {
    std::string_view text = "a\xc3\xa4\xe2\x82\xac\xf0\x9f\x91\x8dz";
    static const bool whole[] = {true, true, false, true, false, false, true, false, false, false, true, true};
    assert_int_equal(sizeof whole, text.size() + 1);
    for (size_t n = 0; n <= text.size(); n++) {
        char *cut = (char *)malloc(n + 1); // its own memory, so that reading beyond it is seen
        memcpy(cut, text.data(), n);
        check(utf8_valid({cut, n}) == whole[n], "cut after %zu", n);
        free(cut);
    }
    assert_int_equal(utf8_count(text), 5);
}

static void folds_to_one_key(void **) {
    static const struct {
        std::string_view text, key;
    } rows[] = {
        {"", ""},
        {"Alice", "alice"},
        {"ALICE_09.x-", "alice_09.x-"},
        {"\xc3\x84RGER", "\xc3\xa4rger"},
        {"A\xcc\x88rger", "\xc3\xa4rger"},                                   // A and a combining diaeresis
        {"stra\xc3\x9f" "e", "strasse"},                                     // sharp s
        {"STRA\xe1\xba\x9e" "E", "strasse"},                                 // capital sharp s
        {"\xef\xbc\xa1\xef\xbd\x8c\xef\xbd\x89\xef\xbd\x83\xef\xbd\x85", "alice"}, // fullwidth
        {"\xf0\x9d\x93\x90\xf0\x9d\x93\xb5\xf0\x9d\x93\xb2\xf0\x9d\x93\xac\xf0\x9d\x93\xae", "alice"}, // mathematical script
        {"\xe2\x93\x90\xe2\x93\x9b", "al"},                                  // circled
        {"\xef\xac\x81", "fi"},                                              // ligature
        {"x\xc2\xb2", "x2"},
        {"h\xe2\x80\x8b" "ate", "hate"},                                     // zero width space
        {"h\xc2\xad" "ate", "hate"},                                         // soft hyphen
        {"h\xe2\x80\x8d" "ate\xef\xb8\x8f", "hate"},                         // joiner, variation selector
        {"\xe2\x80\xae" "etah", "etah"},                                     // right-to-left override
        {"\xef\xbb\xbfhate", "hate"},                                        // byte order mark
        {"h\xe3\x85\xa4" "ate", "hate"},                                     // Hangul filler
        {"\xce\xa3\xce\x91\xce\xa3", "\xcf\x83\xce\xb1\xcf\x83"},            // sigmas
        {"\xcf\x82", "\xcf\x83"},                                            // final sigma
        {"\xd0\x9f\xd0\xa0", "\xd0\xbf\xd1\x80"},
        {"\xc4\xb0", "i\xcc\x87"},                                           // dotted capital I
        {"\xc7\x85", "d\xc5\xbe"},                                           // a digraph in title case
        {"\xe3\x82\xac", "\xe3\x82\xac"},
        {"\xef\xbd\xb6\xef\xbe\x9e", "\xe3\x82\xac"},                        // halfwidth katakana with its mark
        {"\xea\xb0\x80", "\xea\xb0\x80"},
        {"\xe1\x84\x80\xe1\x85\xa1", "\xea\xb0\x80"},                        // Hangul as its parts
        {"\xf0\x9f\x91\x8d", "\xf0\x9f\x91\x8d"},
    };
    for (auto &row : rows) {
        ScopedBuf key, again;
        assert_true(unicode_fold_key(row.text, key));
        check_text(buf_view(key), row.key, row.text.data());
        assert_true(unicode_fold_key(buf_view(key), again));
        check_text(buf_view(again), row.key, "folded twice");
    }
    ScopedBuf out;
    buf_add(out, "kept:");
    assert_true(unicode_fold_key("\xc3\x84", out));
    check_text(buf_view(out), "kept:\xc3\xa4", "appends");
    assert_false(unicode_fold_key("a\xff", out));
    assert_false(unicode_nfc("a\xff", out));
}

static void composes(void **) {
    static const struct {
        std::string_view text, nfc;
    } rows[] = {
        {"abc", "abc"},
        {"A\xcc\x88", "\xc3\x84"},
        {"\xe2\x84\xab", "\xc3\x85"},       // the Angstrom sign
        {"\xef\xac\x81", "\xef\xac\x81"},   // not a compatibility mapping
        {"a\xcc\x87\xcc\xa3", "\xe1\xba\xa1\xcc\x87"}, // marks in their canonical order
        {"h\xe2\x80\x8b" "ate", "h\xe2\x80\x8b" "ate"},
    };
    for (auto &row : rows) {
        ScopedBuf out;
        assert_true(unicode_nfc(row.text, out));
        check_text(buf_view(out), row.nfc, row.text.data());
    }
}

// Runs of combining marks in the wrong order are what makes a naive canonical ordering quadratic: seconds for 64 KiB.
static void hostile_marks_take_no_time(void **) {
    Buf text;
    buf_add(text, "a");
    for (int i = 0; i < 16000; i++) buf_add(text, "\xcc\x81");             // class 230
    for (int i = 0; i < 16000; i++) buf_add(text, i % 2 ? "\xcc\xa3" : "\xe2\x80\x8d"); // class 220, and joiners between
    ScopedBuf key;
    clock_t begin = clock();
    assert_true(unicode_fold_key(buf_view(text), key));
    double seconds = (double)(clock() - begin) / CLOCKS_PER_SEC;
    check(seconds < 0.25, "%.3f s", seconds);
    assert_true(utf8_valid(buf_view(key)));
    assert_int_equal(utf8_count(buf_view(key)), 24000); // the joiners are gone, a and the first mark are one
    buf_free(text);
}

static void knows_categories(void **) {
    enum { letter = 1, mark = 2, control = 4, space = 8, invisible = 16 };
    static const struct {
        int32_t c;
        int is;
    } rows[] = {
        {'a', letter},
        {'Z', letter},
        {'0', letter},
        {'_', 0},
        {'-', 0},
        {'<', 0},
        {0, control | invisible},
        {'\t', control | space | invisible},
        {'\n', control | space | invisible},
        {' ', space | invisible},
        {0x7f, control | invisible},
        {0x85, control | space | invisible},
        {0x9f, control | invisible},
        {0xa0, space | invisible},
        {0xad, invisible},
        {0xb2, letter}, // superscript two
        {0xe4, letter},
        {0x301, letter | mark},
        {0x34f, mark | invisible}, // combining grapheme joiner
        {0x488, mark},             // enclosing
        {0x5d0, letter},
        {0x663, letter}, // Arabic digit
        {0x93f, letter | mark}, // Devanagari vowel sign
        {0x115f, invisible},
        {0x1160, invisible},
        {0x180e, invisible},
        {0x200b, invisible},
        {0x200d, invisible},
        {0x2009, space | invisible},
        {0x2028, space | invisible},
        {0x202e, invisible},
        {0x2066, invisible},
        {0x2160, letter}, // Roman numeral
        {0x2800, invisible},
        {0x3000, space | invisible},
        {0x3164, invisible},
        {0x4e2d, letter},
        {0xfe0f, mark | invisible},
        {0xfeff, invisible},
        {0xffa0, invisible},
        {0x1f44d, 0},
        {0xe0041, invisible},
    };
    for (auto &row : rows) {
        int is = (unicode_is_letter_or_digit(row.c) ? letter : 0) | (unicode_is_mark(row.c) ? mark : 0) | (unicode_is_control(row.c) ? control : 0) |
                 (unicode_is_space(row.c) ? space : 0) | (unicode_is_invisible(row.c) ? invisible : 0);
        check(is == row.is, "U+%04X: got %d, want %d", (unsigned)row.c, is, row.is);
    }
}

static void trims(void **) {
    static const struct {
        std::string_view text, trimmed;
    } rows[] = {
        {"", ""},
        {" ", ""},
        {"x", "x"},
        {" \t\r\n x y \n", "x y"},
        {"\xe3\x80\x80x\xc2\xa0\xe2\x80\xa8", "x"},
        {"\xe2\x80\x8bx\xe2\x80\x8b", "\xe2\x80\x8bx\xe2\x80\x8b"}, // no white space
        {"\xf0\x9f\x91\x8d ", "\xf0\x9f\x91\x8d"},
        {"\xc2\xa0\xc2\xa0", ""},
    };
    for (auto &row : rows) check_text(unicode_trim(row.text), row.trimmed, row.text.data());
}

int main() {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_valid_utf8), cmocka_unit_test(every_code_point_survives), cmocka_unit_test(cut_inside_a_character_is_invalid),
        cmocka_unit_test(folds_to_one_key), cmocka_unit_test(composes),                  cmocka_unit_test(hostile_marks_take_no_time),
        cmocka_unit_test(knows_categories), cmocka_unit_test(trims),
    };
    return cmocka_run_group_tests_name("unicode", tests, nullptr, nullptr);
}
