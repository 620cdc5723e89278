#include "common/base/map.h"

#include "common/base/random.h"

#include "tests/support/test.h"

static struct ab_bytes key_of(const uint64_t *number)
{
    return ab_bytes_of(number, sizeof(*number));
}

static void test_map_sets_gets_and_walks_in_order(void **state)
{
    (void)state;
    struct ab_map *map = ab_map_create(NULL);
    for (uint64_t i = 0; i < 5000; i++) {
        uint64_t key = i * 7919;
        assert_ok(ab_map_set(map, key_of(&key), i));
    }
    assert_int_equal(ab_map_count(map), 5000);
    for (uint64_t i = 0; i < 5000; i++) {
        uint64_t key = i * 7919;
        uint64_t value = 0;
        assert_true(ab_map_get(map, key_of(&key), &value));
        assert_true(value == i);
    }
    size_t cursor = 0;
    struct ab_bytes key;
    uint64_t value;
    for (uint64_t i = 0; i < 5000; i++) {
        assert_true(ab_map_next(map, &cursor, &key, &value));
        assert_true(value == i);
    }
    assert_false(ab_map_next(map, &cursor, &key, &value));
    ab_map_destroy(map);
    ab_map_destroy(NULL);
}

static void test_map_empty_and_absent(void **state)
{
    (void)state;
    struct ab_map *map = ab_map_create(NULL);
    uint64_t value = 3;
    assert_false(ab_map_get(map, bytes_of("a"), &value));
    assert_false(ab_map_remove(map, bytes_of("a")));
    assert_ok(ab_map_set(map, bytes_of(""), 1));
    assert_ok(ab_map_set(map, bytes_of(""), 2));
    assert_true(ab_map_get(map, ab_bytes_of(NULL, 0), &value));
    assert_true(value == 2);
    assert_int_equal(ab_map_count(map), 1);
    assert_true(ab_map_get(map, bytes_of(""), NULL));
    ab_map_destroy(map);
}

/* Keys set and removed for ever: neither memory nor probes may grow. */
static void test_map_removal_gives_memory_back(void **state)
{
    (void)state;
    struct ab_memory memory;
    ab_memory_init(&memory, 64 * 1024, NULL);
    struct ab_map *map = ab_map_create(&memory);
    for (uint64_t i = 0; i < 100000; i++) {
        assert_ok(ab_map_set(map, key_of(&i), i));
        uint64_t old = i - 100;
        assert_int_equal(ab_map_remove(map, key_of(&old)), i >= 100);
    }
    assert_int_equal(ab_map_count(map), 100);
    size_t cursor = 0;
    struct ab_bytes key;
    uint64_t value;
    uint64_t expected = 99900;
    while (ab_map_next(map, &cursor, &key, &value)) {
        assert_true(value == expected++);
    }
    assert_true(expected == 100000);
    ab_map_destroy(map);
    assert_int_equal(ab_memory_used(&memory), 0);
}

static void test_map_refused_by_its_budget_stays_whole(void **state)
{
    (void)state;
    struct ab_memory memory;
    ab_memory_init(&memory, 8 * 1024, NULL);
    struct ab_map *map = ab_map_create(&memory);
    uint64_t count = 0;
    while (ab_map_set(map, key_of(&count), count) == AB_OK) {
        count++;
        assert_true(count < 100000);
    }
    assert_true(count > 10);
    assert_int_equal(ab_map_count(map), count);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t value = UINT64_MAX;
        assert_true(ab_map_get(map, key_of(&i), &value) && value == i);
        assert_ok(ab_map_set(map, key_of(&i), i + 1));
    }
    assert_false(ab_map_get(map, key_of(&count), NULL));
    ab_map_destroy(map);
    assert_int_equal(ab_memory_used(&memory), 0);
}

/* Against a plain array, with random sets and removals. */
static void test_map_equals_a_model(void **state)
{
    (void)state;
    struct ab_random random;
    ab_random_init(&random, 4);
    struct ab_map *map = ab_map_create(NULL);
    uint64_t model[300] = {0}; /* value + 1; 0 = absent */
    size_t count = 0;
    for (uint64_t i = 0; i < 50000; i++) {
        uint64_t key = ab_random_below(&random, 300);
        if (ab_random_below(&random, 3) == 0) {
            assert_int_equal(ab_map_remove(map, key_of(&key)), model[key] != 0);
            count -= model[key] != 0;
            model[key] = 0;
        } else {
            assert_ok(ab_map_set(map, key_of(&key), i));
            count += model[key] == 0;
            model[key] = i + 1;
        }
        uint64_t probe = ab_random_below(&random, 300);
        uint64_t value = 0;
        assert_int_equal(ab_map_get(map, key_of(&probe), &value), model[probe] != 0);
        assert_true(model[probe] == 0 || value + 1 == model[probe]);
        assert_int_equal(ab_map_count(map), count);
    }
    ab_map_destroy(map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_map_sets_gets_and_walks_in_order),
        cmocka_unit_test(test_map_empty_and_absent),
        cmocka_unit_test(test_map_removal_gives_memory_back),
        cmocka_unit_test(test_map_refused_by_its_budget_stays_whole),
        cmocka_unit_test(test_map_equals_a_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
