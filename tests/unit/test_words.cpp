// Stop words: which texts a list matches and which it leaves alone, the file's format, and that time grows with the text only.
#include "unit.h"

#include <time.h>

#include "chat/words.h"

static Words *parse(std::string_view text) {
    ScopedBuf error;
    Words *words = words_parse(text, &error);
    check(words != nullptr, "%.*s", (int)error.len, error.data);
    return words;
}

static void matches_pairs(void **) {
    static const struct {
        const char *list;
        std::string_view text;
        bool matches;
    } rows[] = {
        {"hate", "hate", true},
        {"hate", "I hate you", true},
        {"hate", "whatever", false},
        {"hate", "hates", false},
        {"hate", "xhate", false},
        {"hate", "hate2", false},
        {"hate", "HATE!", true},
        {"hate", "(hate)", true},
        {"hate", "so.hate,this", true},
        {"hate", "_hate_", true},
        {"hate", "**hate**", true},
        {"hate", "I\nhate\tit", true},
        {"hate", "hate\xf0\x9f\x98\x80", true},
        {"hate", "h\xe2\x80\x8b" "ate", true},       // zero width space
        {"hate", "h\xc2\xad" "a\xe2\x81\xa0te", true}, // soft hyphen, word joiner
        {"hate", "\xef\xbd\x88\xef\xbd\x81\xef\xbd\x94\xef\xbd\x85", true}, // fullwidth
        {"hate", "\xe2\x93\x97\xe2\x93\x90\xe2\x93\xa3\xe2\x93\x94", true}, // circled
        {"hate", "\xf0\x9d\x95\x99\xf0\x9d\x95\x92\xf0\x9d\x95\xa5\xf0\x9d\x95\x96", true}, // double-struck
        {"hate", "hat\xc3\xa9", false}, // another letter
        {"hate", "h a t e", false},
        {"hate", "", false},
        {"hate", " ", false},
        {"hate", "hat", false},
        {"hate", "ha hat hatt hatet hate", true},
        {"hate", "what a hat, ehate hate-", true},
        {"hate", bytes_of("a\0hate\0b"), true},
        {"hate", "bad utf-8 \xff", true},
        {"HATE", "hate", true},
        {"h\xc3\x84SSLICH", "H\xc3\xa4\xc3\x9flich", true},
        {"h\xc3\xa4sslich", "HA\xcc\x88SSLICH", true}, // decomposed
        {"hat*", "hat", true},
        {"hat*", "hatter", true},
        {"hat*", "a hatred", true},
        {"hat*", "that", false},
        {"*hate", "whate", true},
        {"*hate", "hate", true},
        {"*hate", "hated", false},
        {"*hate*", "whatever", true},
        {"*hate*", "hat e", false},
        {"kill yourself", "kill yourself", true},
        {"kill yourself", "Kill  --  Yourself!", true},
        {"kill yourself", "kill\nyourself", true},
        {"kill yourself", "kill_yourself", true},
        {"kill yourself", "kill \xf0\x9f\x98\x80 yourself", true},
        {"kill yourself", "killyourself", false},
        {"kill yourself", "kill not yourself", false},
        {"kill yourself", "skill yourself", false},
        {"kill yourself", "kill kill yourself", true},
        {"kill yourself", "yourself kill", false},
        {"kill your*", "kill yours", true},
        {"*kill yourself", "skill yourself", true},
        {"don't", "don't", true},
        {"don't", "don\xe2\x80\x99t", true},
        {"don't", "don t", true},
        {"don't", "dont", false},
        {"a b\na c\nb c", "a d b", false},
        {"a b\na c\nb c", "a a c", true},
        {"abcd\nbc*", "abc bcx", true},
        {"*abcx\n*bcd*", "zabcdz", true}, // found at a suffix of where the search stands
        {"*abcde*\n*bcd*\n*c*", "xcx", true},
        {"\xd0\xb4\xd1\x83\xd1\x80\xd0\xb0\xd0\xba", "\xd0\x94\xd0\xa3\xd0\xa0\xd0\x90\xd0\x9a", true},
        {"*\xe7\xac\xa8\xe8\x9b\x8b*", "\xe4\xbd\xa0\xe6\x98\xaf\xe7\xac\xa8\xe8\x9b\x8b\xe5\x90\x97", true}, // no spaces in Chinese
        {"\xe7\xac\xa8\xe8\x9b\x8b", "\xe4\xbd\xa0\xe6\x98\xaf\xe7\xac\xa8\xe8\x9b\x8b\xe5\x90\x97", false},
        {"", "hate", false},
        {"# hate", "hate", false},
    };
    for (auto &row : rows) {
        Words *words = parse(row.list);
        check(words_match(words, row.text) == row.matches, "\"%s\" against \"%.*s\"", row.list, (int)row.text.size(), row.text.data());
        words_free(words);
    }
}

static void reads_the_format(void **) {
    static const struct {
        std::string_view list;
        uint32_t entries; // 999: refused
        const char *error;
    } rows[] = {
        {"", 0, nullptr},
        {"\n\n  \n\t\n", 0, nullptr},
        {"# only\n#comments", 0, nullptr},
        {"one\ntwo", 2, nullptr},
        {"one\r\ntwo\r\n", 2, nullptr},
        {"  one  \n\ttwo # strong\n", 2, nullptr},
        {"\xef\xbb\xbfone\n", 1, nullptr},
        {"one* \n*two\n*three*", 3, nullptr},
        {"hello big world", 1, nullptr},
        {"one\n*", 999, "line 2: it has no letter or digit"},
        {"**", 999, "line 1: it has no letter or digit"},
        {"***", 999, "line 1: * may stand only at its beginning and end"},
        {"a*b", 999, "line 1: * may stand only at its beginning and end"},
        {"a\n\nb* c", 999, "line 3: * may stand only at its beginning and end"},
        {"a$$", 999, "line 1: only letters and digits are matched, and between words white space - ' . _"},
        {"@ss", 999, "line 1: only letters and digits are matched, and between words white space - ' . _"},
        {"-", 999, "line 1: only letters and digits are matched, and between words white space - ' . _"},
        {"word-", 999, "line 1: it must end in a letter, a digit or *"},
        {"\xe2\x80\x8b", 999, "line 1: it has no letter or digit"},
        {"a\xff", 999, "line 1: it is not UTF-8"},
        {"c#", 999, "line 1: only letters and digits are matched, and between words white space - ' . _"},
    };
    for (auto &row : rows) {
        ScopedBuf error;
        Words *words = words_parse(row.list, &error);
        if (row.error != nullptr) {
            assert_null(words);
            check_text(buf_view(error), row.error, row.list.data());
        } else {
            check(words != nullptr, "%.*s: %.*s", (int)row.list.size(), row.list.data(), (int)error.len, error.data);
            check(words_count(words) == row.entries, "%.*s: %u entries", (int)row.list.size(), row.list.data(), words_count(words));
        }
        words_free(words);
    }
    // Bounds.
    ScopedBuf list, error;
    for (uint32_t i = 0; i < words_entry_chars_max; i++) buf_add_char(list, 'a');
    words_free(parse(buf_view(list)));
    buf_add_char(list, 'a');
    assert_null(words_parse(buf_view(list), &error));
    check_text(buf_view(error), "line 1: it is over 100 characters long", "long entry");
    buf_clear(list);
    buf_clear(error);
    while (list.len <= words_file_bytes_max) buf_add(list, "# comment\n");
    assert_null(words_parse(buf_view(list), &error));
    check_text(buf_view(error), "the list is longer than 256 KiB", "long file");
}

static void the_builtin_list_is_sane(void **) {
    Words *words = parse(words_builtin());
    assert_in_range(words_count(words), 10, 20);
    static const struct {
        const char *text;
        bool matches;
    } rows[] = {
        {"I hate you", true},      {"you are stupid", true}, {"Idiot!", true},          {"fucking", true},
        {"hello, how are you?", false}, {"whatever", false}, {"Scunthorpe", false},     {"a classic assessment", false},
        {"the chateau in Bitche", false}, {"retardant foam", false}, {"skill yourself up", false}, {"", false},
    };
    for (auto &row : rows) check(words_match(words, row.text) == row.matches, "%s", row.text);
    words_free(words);
}

// What a matcher that tries each entry, or each length at each place, would take minutes for.
static void time_grows_with_the_text_only(void **) {
    ScopedBuf list, text;
    unsigned entries = 0;
    for (char c = 'b'; c <= 'z'; c++) {
        for (int length = 10; length < 95; length++, entries++) {
            buf_add(list, "*");
            for (int i = 0; i < length; i++) buf_add_char(list, 'a');
            buf_add_char(list, c);
            buf_add(list, "*\n");
        }
    }
    Words *words = parse(buf_view(list));
    assert_int_equal(words_count(words), entries);
    while (text.len < 64 * 1024) buf_add(text, "a");
    clock_t begin = clock();
    assert_false(words_match(words, buf_view(text)));
    double seconds = (double)(clock() - begin) / CLOCKS_PER_SEC;
    check(seconds < 0.25, "%.3f s", seconds);
    buf_add(text, "q!");
    assert_true(words_match(words, buf_view(text)));
    words_free(words);
}

// Against a matcher so simple that it is right: list and text are made of few letters, so that they meet often.
static void agrees_with_a_simple_matcher(void **) {
    unsigned seed = (unsigned)getpid();
    print_message("seed %u\n", seed);
    srand(seed);
    auto random_word = [](char *out, int least) {
        int n = least + rand() % 4;
        for (int i = 0; i < n; i++) out[i] = (char)('a' + rand() % 2);
        out[n] = 0;
    };
    unsigned matched = 0;
    for (int round = 0; round < 3000; round++) {
        char entries[4][8];
        bool front[4], back[4];
        ScopedBuf list, text;
        for (int i = 0; i < 4; i++) {
            random_word(entries[i], 2);
            front[i] = rand() % 4 == 0;
            back[i] = rand() % 4 == 0;
            buf_printf(list, "%s%s%s\n", front[i] ? "*" : "", entries[i], back[i] ? "*" : "");
        }
        bool want = false;
        for (int w = rand() % 6; w > 0; w--) {
            char word[8];
            random_word(word, 1);
            buf_printf(text, "%s%s", word, w % 2 ? " " : " - ");
            for (int i = 0; i < 4; i++) {
                size_t n = strlen(word), m = strlen(entries[i]);
                for (size_t at = 0; at + m <= n; at++) {
                    if (memcmp(word + at, entries[i], m) == 0 && (front[i] || at == 0) && (back[i] || at + m == n)) want = true;
                }
            }
        }
        if (round % 3 == 0) buf_add(text, "\xe2\x80\xa6"); // an ellipsis: not ASCII, and no letter
        if (round % 4 == 0) // so long a list that it is walked and not looked up in a table
            for (int i = 0; i < 2000; i++) buf_printf(list, "zz%d\n", i);
        Words *words = parse(buf_view(list));
        check(words_match(words, buf_view(text)) == want, "list\n%.*sagainst \"%.*s\"", (int)list.len, list.data, (int)text.len, text.data);
        matched += want;
        words_free(words);
    }
    assert_in_range(matched, 300, 2700); // both answers came up
}

int main() {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matches_pairs),
        cmocka_unit_test(reads_the_format),
        cmocka_unit_test(the_builtin_list_is_sane),
        cmocka_unit_test(time_grows_with_the_text_only),
        cmocka_unit_test(agrees_with_a_simple_matcher),
    };
    return cmocka_run_group_tests_name("words", tests, nullptr, nullptr);
}
