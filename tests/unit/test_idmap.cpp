// IdMap: a long random life beside a plain array, keys that collide, iteration.
#include "unit.h"

#include "base/idmap.h"

static void puts_gets_removes(void **) {
    IdMap map;
    int a, b;
    assert_null(idmap_get(map, 1));
    assert_null(idmap_remove(map, 1));
    idmap_put(map, 0, &a); // key 0 is like any other
    idmap_put(map, UINT64_MAX, &b);
    assert_ptr_equal(idmap_get(map, 0), &a);
    assert_ptr_equal(idmap_get(map, UINT64_MAX), &b);
    assert_null(idmap_get(map, 1));
    idmap_put(map, 0, &b);
    assert_ptr_equal(idmap_get(map, 0), &b);
    assert_int_equal(map.count, 2);
    assert_ptr_equal(idmap_remove(map, 0), &b);
    assert_null(idmap_get(map, 0));
    assert_null(idmap_remove(map, 0));
    assert_int_equal(map.count, 1);
    idmap_free(map);
    assert_int_equal(map.capacity, 0);
    assert_null(idmap_get(map, UINT64_MAX));
}

static void lives_long(void **) {
    unsigned seed = (unsigned)getpid();
    print_message("seed %u\n", seed);
    srand(seed);
    static char things[3000];
    static bool there[3000];
    // Dense ids, ids far apart, and ids whose low halves are the same.
    for (int kind = 0; kind < 3; kind++) {
        auto key = [kind](uint64_t i) { return kind == 0 ? i : kind == 1 ? i * 1000003u : i << 32; };
        IdMap map;
        memset(there, 0, sizeof there);
        uint32_t count = 0;
        for (int step = 0; step < 60000; step++) {
            uint64_t i = (uint64_t)rand() % 3000;
            bool add = rand() % 100 < (step / 10000 % 2 == 0 ? 70 : 30); // grows for a while, then shrinks
            if (add) {
                idmap_put(map, key(i), &things[i]);
                count += !there[i];
                there[i] = true;
            } else {
                void *was = idmap_remove(map, key(i));
                check(was == (there[i] ? &things[i] : nullptr), "remove at step %d", step);
                count -= there[i];
                there[i] = false;
            }
            assert_int_equal(map.count, count);
            assert_true((uint64_t)map.count * 4 <= (uint64_t)map.capacity * 3);
        }
        for (uint64_t i = 0; i < 3000; i++) assert_ptr_equal(idmap_get(map, key(i)), there[i] ? &things[i] : nullptr);
        uint32_t seen = 0;
        IdMapEntry entry;
        for (uint32_t i = 0; idmap_next(map, &i, &entry); seen++) {
            size_t which = (size_t)((char *)entry.value - things);
            assert_true(there[which] && entry.key == key(which));
        }
        assert_int_equal(seen, count);
        idmap_free(map);
    }
}

static void iterates_over_nothing(void **) {
    IdMap map;
    IdMapEntry entry;
    uint32_t i = 0;
    assert_false(idmap_next(map, &i, &entry));
    int x;
    idmap_put(map, 5, &x);
    idmap_remove(map, 5);
    i = 0;
    assert_false(idmap_next(map, &i, &entry));
    idmap_free(map);
}

static void null_is_no_value(void **) {
    assert_true(aborts([] {
        IdMap map;
        idmap_put(map, 1, nullptr);
    }));
}

int main() {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(puts_gets_removes), cmocka_unit_test(lives_long), cmocka_unit_test(iterates_over_nothing), cmocka_unit_test(null_is_no_value),
    };
    return cmocka_run_group_tests_name("idmap", tests, nullptr, nullptr);
}
