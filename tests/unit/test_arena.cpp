// Arena: what it gives is aligned, apart from everything else, stays where it is, and goes all at once.
#include "unit.h"

#include "base/arena.h"

static void gives_memory_of_its_own(void **) {
    Arena a;
    static unsigned char *places[2000];
    static size_t sizes[2000];
    for (size_t i = 0; i < 2000; i++) {
        sizes[i] = i % 97 == 0 ? 100'000 : i % 61; // some larger than any chunk, some of no bytes at all
        places[i] = (unsigned char *)arena_alloc(a, sizes[i]);
        assert_int_equal((uintptr_t)places[i] % alignof(max_align_t), 0);
        memset(places[i], (int)(i & 0xff), sizes[i]);
    }
    for (size_t i = 0; i < 2000; i++) { // nothing moved, nothing overlaps
        for (size_t j = 0; j < sizes[i]; j++) assert_int_equal(places[i][j], i & 0xff);
    }
    arena_free(a);
    assert_null(a.chunk);
}

static void copies_texts(void **) {
    Arena a;
    char text[] = "hello";
    std::string_view copy = arena_copy(a, text), empty = arena_copy(a, {});
    memset(text, 'x', 5);
    check_text(copy, "hello", "copy");
    assert_true(empty.empty());
    arena_free(a);
    arena_free(a); // empty already
    check_text(arena_copy(a, "again"), "again", "used again");
    arena_free(a);
}

int main() {
    const struct CMUnitTest tests[] = {cmocka_unit_test(gives_memory_of_its_own), cmocka_unit_test(copies_texts)};
    return cmocka_run_group_tests_name("arena", tests, nullptr, nullptr);
}
