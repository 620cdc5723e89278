/* The hybrid of runs and bit-packed groups: every width, every mixture, every truncation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/random.h"
#include "common/history/encoding.h"

#define VALUES_MAX 3000

static void values_fill(struct ab_random *random, uint32_t *values, size_t count, unsigned width)
{
    uint32_t mask = width == 32 ? UINT32_MAX : (UINT32_C(1) << width) - 1;
    size_t at = 0;
    while (at < count) {
        size_t run = ab_random_below(random, 3) == 0 ? 1 + ab_random_below(random, 40) : 1;
        uint32_t value = (uint32_t)ab_random_u64(random) & mask;
        for (; run > 0 && at < count; run--) {
            values[at++] = value;
        }
    }
}

/* Decodes from a padded copy of exactly `bytes` bytes. */
static ab_err take_copy(const struct ab_buffer *encoded, size_t bytes, unsigned width, uint32_t *values, size_t count)
{
    uint8_t *copy = ab_new_bytes(bytes + AB_ENCODING_PAD_BYTES);
    if (bytes > 0) {
        memcpy(copy, encoded->data, bytes);
    }
    ab_err err = ab_encoding_take(ab_bytes_of(copy, bytes), width, values, count);
    ab_delete(copy);
    return err;
}

static void test_encoding_every_width_round_trips(void **state)
{
    (void)state;
    static uint32_t values[VALUES_MAX];
    static uint32_t taken[VALUES_MAX];
    struct ab_random random;
    ab_random_init(&random, 1);
    for (unsigned width = 0; width <= 32; width++) {
        for (int round = 0; round < 20; round++) {
            size_t count = ab_random_below(&random, VALUES_MAX);
            values_fill(&random, values, count, width);
            struct ab_buffer out = {0};
            ab_encoding_put(&out, values, count, width);
            assert_int_equal(take_copy(&out, out.bytes, width, taken, count), AB_OK);
            if (count > 0) {
                assert_memory_equal(taken, values, count * sizeof *values);
            }
            ab_buffer_fini(&out);
        }
    }
}

static void test_encoding_truncations_are_corrupt(void **state)
{
    (void)state;
    uint32_t values[200];
    uint32_t taken[200];
    struct ab_random random;
    ab_random_init(&random, 2);
    values_fill(&random, values, 200, 5);
    values[199] = 21;
    values[198] = 3;
    struct ab_buffer out = {0};
    ab_encoding_put(&out, values, 200, 5);
    for (size_t bytes = 0; bytes + 5 < out.bytes; bytes++) {
        assert_int_equal(take_copy(&out, bytes, 5, taken, 200), AB_CORRUPT);
    }
    ab_buffer_fini(&out);
}

static void test_encoding_levels_and_bits(void **state)
{
    (void)state;
    uint32_t levels[777];
    uint8_t nulls[777];
    struct ab_random random;
    ab_random_init(&random, 3);
    values_fill(&random, levels, 777, 1);
    struct ab_buffer out = {0};
    ab_encoding_put(&out, levels, 777, 1);
    size_t encoded = out.bytes;
    for (size_t i = 0; i < AB_ENCODING_PAD_BYTES; i++) {
        ab_buffer_put_u8(&out, 0);
    }
    size_t nulls_count = 0;
    size_t expected = 0;
    assert_int_equal(ab_encoding_take_nulls(ab_bytes_of(out.data, encoded), nulls, 777, &nulls_count), AB_OK);
    for (size_t i = 0; i < 777; i++) {
        assert_int_equal(nulls[i], levels[i] == 0);
        expected += levels[i] == 0;
    }
    assert_int_equal(nulls_count, expected);
    uint8_t bits[3] = {0xA5, 0x0F, 0x01};
    uint8_t bytes[17];
    assert_int_equal(ab_encoding_take_bits(ab_bytes_of(bits, 3), bytes, 17), AB_OK);
    for (size_t i = 0; i < 17; i++) {
        assert_int_equal(bytes[i], (bits[i / 8] >> (i % 8)) & 1);
    }
    assert_int_equal(ab_encoding_take_bits(ab_bytes_of(bits, 2), bytes, 17), AB_CORRUPT);
    ab_buffer_fini(&out);
}

static void test_encoding_random_bytes_never_crash(void **state)
{
    (void)state;
    uint8_t bytes[64 + AB_ENCODING_PAD_BYTES] = {0};
    uint32_t values[256];
    uint8_t nulls[256];
    size_t nulls_count;
    struct ab_random random;
    ab_random_init(&random, 4);
    for (int round = 0; round < 20000; round++) {
        size_t length = ab_random_below(&random, 64);
        for (size_t i = 0; i < length; i++) {
            bytes[i] = (uint8_t)ab_random_u64(&random);
        }
        unsigned width = (unsigned)ab_random_below(&random, 40);
        ab_err err = ab_encoding_take(ab_bytes_of(bytes, length), width, values, ab_random_below(&random, 256));
        assert_true(err == AB_OK || err == AB_CORRUPT);
        err = ab_encoding_take_nulls(ab_bytes_of(bytes, length), nulls, ab_random_below(&random, 256), &nulls_count);
        assert_true(err == AB_OK || err == AB_CORRUPT);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_encoding_every_width_round_trips),
        cmocka_unit_test(test_encoding_truncations_are_corrupt),
        cmocka_unit_test(test_encoding_levels_and_bits),
        cmocka_unit_test(test_encoding_random_bytes_never_crash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
