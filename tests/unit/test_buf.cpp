// Buf: growth, numbers, formatting, dropping from the front, giving the memory back.
#include "unit.h"

#include "base/assert.h"
#include "base/buf.h"

static void appends_and_frees(void **) {
    Buf b;
    assert_true(buf_view(b).empty());
    buf_add(b, "");
    assert_null(b.data); // nothing added, nothing allocated
    buf_add(b, "hello");
    buf_add_char(b, ',');
    buf_add(b, bytes_of(" w\0rld"));
    check_text(buf_view(b), bytes_of("hello, w\0rld"), "appended");
    buf_clear(b);
    assert_int_equal(b.len, 0);
    assert_true(b.cap > 0);
    buf_free(b);
    assert_null(b.data);
    assert_int_equal(b.cap, 0);
    buf_add(b, "again");
    check_text(buf_view(b), "again", "after buf_free");
    buf_free(b);
}

static void grows_by_doubling(void **) {
    ScopedBuf b;
    unsigned growths = 0;
    for (unsigned i = 0; i < 100000; i++) {
        size_t cap = b.cap;
        buf_add_char(b, (char)('a' + i % 26));
        growths += b.cap != cap;
    }
    assert_int_equal(b.len, 100000);
    assert_true(growths < 16);
    for (unsigned i = 0; i < 100000; i++) assert_int_equal(b.data[i], 'a' + i % 26);
}

static void reserves_without_changing(void **) {
    ScopedBuf b;
    buf_add(b, "x");
    buf_reserve(b, 5000);
    assert_true(b.cap >= 5001);
    assert_int_equal(b.len, 1);
    char *before = b.data;
    for (int i = 0; i < 5000; i++) buf_add_char(b, 'y');
    assert_ptr_equal(before, b.data);
}

static void writes_numbers(void **) {
    static const struct {
        int64_t n;
        const char *text;
    } rows[] = {
        {0, "0"}, {7, "7"}, {10, "10"}, {-1, "-1"}, {1234567890123, "1234567890123"}, {INT64_MAX, "9223372036854775807"},
        {INT64_MIN, "-9223372036854775808"},
    };
    for (auto &row : rows) {
        ScopedBuf b;
        buf_add_int(b, row.n);
        check_text(buf_view(b), row.text, row.text);
    }
    ScopedBuf b;
    buf_add_uint(b, UINT64_MAX);
    check_text(buf_view(b), "18446744073709551615", "largest");
}

static void formats(void **) {
    ScopedBuf b;
    buf_add(b, "<");
    buf_printf(b, "%s=%d", "n", 42);
    buf_add(b, ">");
    check_text(buf_view(b), "<n=42>", "short");
    char long_text[3000];
    memset(long_text, 'z', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = 0;
    buf_clear(b);
    buf_printf(b, "%s!", long_text);
    assert_int_equal(b.len, sizeof long_text);
    assert_int_equal(b.data[b.len - 1], '!');
}

static void drops_from_the_front(void **) {
    ScopedBuf b;
    buf_drop_front(b, 0);
    buf_add(b, "0123456789");
    buf_drop_front(b, 4);
    check_text(buf_view(b), "456789", "four gone");
    buf_drop_front(b, 6);
    assert_int_equal(b.len, 0);
}

static void mistakes_stop_the_process(void **) {
    assert_true(aborts([] {
        Buf b;
        buf_add(b, "ab");
        buf_drop_front(b, 3);
    }));
    assert_true(aborts([] {
        Buf b;
        buf_reserve(b, SIZE_MAX / 2);
    }));
    assert_true(aborts([] { CB_ASSERT(1 + 1 == 3); }));
    assert_false(aborts([] { CB_ASSERT(1 + 1 == 2); }));
}

static void copies_with_a_nul(void **) {
    char *copy = mem_copy(std::string_view("abcdef").substr(2, 3));
    assert_string_equal(copy, "cde");
    free(copy);
    copy = mem_copy({});
    assert_string_equal(copy, "");
    copy = (char *)mem_grow(copy, 100);
    assert_string_equal(copy, "");
    free(copy);
    char *zeros = (char *)mem_zero(10);
    for (int i = 0; i < 10; i++) assert_int_equal(zeros[i], 0);
    free(zeros);
}

int main() {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appends_and_frees),    cmocka_unit_test(grows_by_doubling), cmocka_unit_test(reserves_without_changing),
        cmocka_unit_test(writes_numbers),       cmocka_unit_test(formats),           cmocka_unit_test(drops_from_the_front),
        cmocka_unit_test(mistakes_stop_the_process), cmocka_unit_test(copies_with_a_nul),
    };
    return cmocka_run_group_tests_name("buf", tests, nullptr, nullptr);
}
