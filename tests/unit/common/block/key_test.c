/* The byte order of keys is the order of values; partition hashes never change. */
#include "common/base/decimal.h"
#include "common/base/random.h"
#include "common/block/key.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <math.h>

#define VALUES_COUNT 300

static const struct ab_type types[] = {{.kind = AB_TYPE_BOOLEAN}, {.kind = AB_TYPE_BIGINT}, {.kind = AB_TYPE_DOUBLE},
    {.kind = AB_TYPE_DECIMAL, .precision = 38, .scale = 4}, {.kind = AB_TYPE_TEXT}, {.kind = AB_TYPE_TIMESTAMP}};
#define TYPES_COUNT (sizeof types / sizeof types[0])

static double random_double(struct ab_random *random)
{
    static const double special[] = {0.0, -0.0, INFINITY, -INFINITY, NAN, 5e-324, -5e-324, 1.0, -1.0};
    if (ab_random_below(random, 3) == 0) {
        return special[ab_random_below(random, sizeof special / sizeof special[0])];
    }
    uint64_t bits = ab_random_u64(random);
    double real;
    memcpy(&real, &bits, sizeof real);
    return real;
}

static struct ab_value random_value(struct ab_random *random, struct ab_type type, struct ab_arena *arena)
{
    struct ab_value value = {.type = type, .is_null = ab_random_below(random, 10) == 0};
    uint64_t bits = ab_random_u64(random);
    uint8_t text[6];
    switch ((enum ab_type_kind)type.kind) {
    case AB_TYPE_BOOLEAN:
        value.boolean = (bits & 1) != 0;
        break;
    case AB_TYPE_BIGINT:
    case AB_TYPE_TIMESTAMP:
        value.bigint = (int64_t)bits >> ab_random_below(random, 64);
        break;
    case AB_TYPE_DOUBLE:
        value.real = random_double(random);
        break;
    case AB_TYPE_DECIMAL:
        value.decimal = (ab_int128)((ab_uint128)bits << 62) >> ab_random_below(random, 120);
        value.decimal = (bits & 1) != 0 ? -value.decimal : value.decimal;
        break;
    case AB_TYPE_TEXT:
        for (size_t i = 0; i < sizeof text; i++) {
            static const uint8_t alphabet[] = {0x00, 0x01, 0x02, 0x7f, 0xfe, 0xff};
            text[i] = alphabet[ab_random_below(random, sizeof alphabet)];
        }
        value.text = ab_arena_copy(arena, ab_bytes_of(text, ab_random_below(random, sizeof text + 1)));
        break;
    }
    return value;
}

static int sign(int order)
{
    return (order > 0) - (order < 0);
}

static void test_key_order_is_value_order(void **state)
{
    (void)state;
    struct ab_random random;
    ab_random_init(&random, 7);
    for (size_t t = 0; t < TYPES_COUNT; t++) {
        struct ab_arena arena = {0};
        struct ab_value values[VALUES_COUNT];
        struct ab_buffer keys[VALUES_COUNT] = {{0}};
        for (size_t i = 0; i < VALUES_COUNT; i++) {
            values[i] = random_value(&random, types[t], &arena);
            ab_key_put(&keys[i], &values[i]);
        }
        for (size_t a = 0; a < VALUES_COUNT; a++) {
            for (size_t b = 0; b < VALUES_COUNT; b++) {
                int by_key = sign(ab_bytes_compare(ab_buffer_view(&keys[a]), ab_buffer_view(&keys[b])));
                assert_int_equal(by_key, sign(ab_value_compare(&values[a], &values[b])));
            }
        }
        for (size_t i = 0; i < VALUES_COUNT; i++) {
            ab_buffer_fini(&keys[i]);
        }
        ab_arena_fini(&arena);
    }
}

static void test_key_take_gives_back_what_was_put(void **state)
{
    (void)state;
    struct ab_random random;
    ab_random_init(&random, 8);
    for (int round = 0; round < 2000; round++) {
        struct ab_arena arena = {0};
        struct ab_buffer key = {0};
        struct ab_value values[TYPES_COUNT];
        for (size_t t = 0; t < TYPES_COUNT; t++) {
            values[t] = random_value(&random, types[t], &arena);
            ab_key_put(&key, &values[t]);
        }
        ab_key_put_i64(&key, INT64_MIN + round);
        struct ab_reader taker = ab_reader_of(ab_buffer_view(&key));
        struct ab_reader skipper = taker;
        for (size_t t = 0; t < TYPES_COUNT; t++) {
            struct ab_value taken;
            assert_int_equal(ab_key_take(&taker, types[t], &arena, &taken), AB_OK);
            assert_int_equal(ab_value_compare(&taken, &values[t]), 0);
            assert_int_equal(ab_key_skip(&skipper, types[t]), AB_OK);
            assert_ptr_equal(taker.at, skipper.at);
        }
        assert_int_equal(ab_key_take_i64(&taker), INT64_MIN + round);
        assert_int_equal(ab_reader_finish(&taker), AB_OK);
        ab_buffer_fini(&key);
        ab_arena_fini(&arena);
    }
}

static void test_key_take_every_truncation_is_corrupt(void **state)
{
    (void)state;
    struct ab_random random;
    ab_random_init(&random, 9);
    for (int round = 0; round < 500; round++) {
        struct ab_arena arena = {0};
        struct ab_type type = types[(size_t)round % TYPES_COUNT];
        struct ab_value value = random_value(&random, type, &arena);
        struct ab_value taken;
        struct ab_buffer key = {0};
        ab_key_put(&key, &value);
        for (size_t bytes = 0; bytes < key.bytes; bytes++) {
            struct ab_reader reader = ab_reader_of(ab_bytes_of(key.data, bytes));
            assert_int_equal(ab_key_take(&reader, type, &arena, &taken), AB_CORRUPT);
            reader = ab_reader_of(ab_bytes_of(key.data, bytes));
            assert_int_equal(ab_key_skip(&reader, type), AB_CORRUPT);
        }
        ab_buffer_fini(&key);
        ab_arena_fini(&arena);
    }
}

static void test_key_take_random_bytes_never_crash(void **state)
{
    (void)state;
    struct ab_random random;
    ab_random_init(&random, 10);
    for (int round = 0; round < 20000; round++) {
        struct ab_arena arena = {0};
        uint8_t bytes[24];
        for (size_t i = 0; i < sizeof bytes; i++) {
            bytes[i] = (uint8_t)ab_random_below(&random, 4);
        }
        struct ab_value taken;
        struct ab_reader reader = ab_reader_of(ab_bytes_of(bytes, sizeof bytes));
        ab_err err = ab_key_take(&reader, types[(size_t)round % TYPES_COUNT], &arena, &taken);
        assert_true(err == AB_OK || err == AB_CORRUPT);
        ab_arena_fini(&arena);
    }
}

static void test_key_bytes_are_the_stated_format(void **state)
{
    (void)state;
    struct ab_buffer key = {0};
    struct ab_value text = {.type = {.kind = AB_TYPE_TEXT}, .text = ab_bytes_of("a\0b", 3)};
    struct ab_value number = {.type = {.kind = AB_TYPE_BIGINT}, .bigint = -1};
    struct ab_value null = {.type = {.kind = AB_TYPE_DOUBLE}, .is_null = true};
    ab_key_put(&key, &text);
    ab_key_put(&key, &number);
    ab_key_put(&key, &null);
    static const uint8_t expected[] = {
        2, 'a', 0, 0xff, 'b', 0, 1, 2, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1};
    assert_int_equal(key.bytes, sizeof expected);
    assert_memory_equal(key.data, expected, sizeof expected);
    ab_buffer_fini(&key);
}

static uint64_t hash_of(const struct ab_value *values, uint32_t count)
{
    struct ab_arena arena = {0};
    struct ab_column columns[4];
    const struct ab_column *pointers[4];
    uint64_t hashes[2];
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(ab_column_constant(&arena, values[i], 2, &columns[i]), AB_OK);
        pointers[i] = &columns[i];
    }
    assert_int_equal(ab_key_partition_hashes(pointers, count, 2, hashes), AB_OK);
    assert_true(hashes[0] == hashes[1]);
    ab_arena_fini(&arena);
    return hashes[0];
}

/* These numbers decide where rows live in existing clusters: a failure here is a broken format, not a stale test. */
static void test_key_partition_hash_goldens(void **state)
{
    (void)state;
    struct ab_value text = {.type = {.kind = AB_TYPE_TEXT}, .text = ab_bytes_of_text("UA")};
    struct ab_value number = {.type = {.kind = AB_TYPE_BIGINT}, .bigint = 42};
    struct ab_value null = {.type = {.kind = AB_TYPE_TEXT}, .is_null = true};
    struct ab_value real = {.type = {.kind = AB_TYPE_DOUBLE}, .real = -0.0};
    struct ab_value pair[] = {text, number};
    assert_int_equal(hash_of(&text, 1), UINT64_C(0xaeb0d85d72e4de9d));
    assert_int_equal(hash_of(&number, 1), UINT64_C(0xec7a4bbb8cfc1476));
    assert_int_equal(hash_of(&null, 1), UINT64_C(0x0e08a51c8536156c));
    assert_int_equal(hash_of(&real, 1), UINT64_C(0xfaac3ce2235d02c6));
    assert_int_equal(hash_of(pair, 2), UINT64_C(0x92781ca1aa281d47));
}

static void test_key_partition_hashes_are_the_hash_of_the_key(void **state)
{
    (void)state;
    struct ab_random random;
    ab_random_init(&random, 11);
    enum { ROWS = 500 };
    for (uint32_t first = 0; first < TYPES_COUNT; first++) {
        for (uint32_t count = 1; count <= 3; count++) {
            struct ab_arena arena = {0};
            struct ab_column_builder *builders[3];
            struct ab_column columns[3];
            const struct ab_column *pointers[3];
            uint64_t hashes[ROWS];
            for (uint32_t i = 0; i < count; i++) {
                struct ab_type type = types[(first + i * 2) % TYPES_COUNT];
                builders[i] = ab_column_builder_create(type, ROWS, NULL);
                for (int row = 0; row < ROWS; row++) {
                    struct ab_value value = random_value(&random, type, &arena);
                    assert_int_equal(ab_column_builder_add(builders[i], &value), AB_OK);
                }
                ab_column_builder_view(builders[i], &columns[i]);
                pointers[i] = &columns[i];
            }
            assert_int_equal(ab_key_partition_hashes(pointers, count, ROWS, hashes), AB_OK);
            for (uint32_t row = 0; row < ROWS; row++) {
                struct ab_buffer key = {0};
                for (uint32_t i = 0; i < count; i++) {
                    struct ab_value value = ab_column_value(&columns[i], row);
                    ab_key_put(&key, &value);
                }
                assert_true(hashes[row] == ab_hash64(AB_HASH_PARTITION, ab_buffer_view(&key)));
                ab_buffer_fini(&key);
            }
            for (uint32_t i = 0; i < count; i++) {
                ab_column_builder_destroy(builders[i]);
            }
            ab_arena_fini(&arena);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_key_order_is_value_order),
        cmocka_unit_test(test_key_take_gives_back_what_was_put),
        cmocka_unit_test(test_key_take_every_truncation_is_corrupt),
        cmocka_unit_test(test_key_take_random_bytes_never_crash),
        cmocka_unit_test(test_key_bytes_are_the_stated_format),
        cmocka_unit_test(test_key_partition_hash_goldens),
        cmocka_unit_test(test_key_partition_hashes_are_the_hash_of_the_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
