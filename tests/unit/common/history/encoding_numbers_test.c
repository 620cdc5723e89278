/* Numbers as differences and as streams of bytes: what is written is read, other writers' blocks are read, and damage
 * ends in an error or in numbers, never past the memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/random.h"
#include "common/history/encoding.h"
#include "common/history/encoding_numbers.h"

#define VALUES_MAX 1000

/* Numbers whose differences take up to `width` bits, now and then none at all. */
static void values_fill(struct ab_random *random, uint64_t *values, size_t count, unsigned width)
{
    uint64_t mask = width == 64 ? UINT64_MAX : (UINT64_C(1) << width) - 1;
    uint64_t last = ab_random_u64(random);
    bool is_flat = false;
    for (size_t i = 0; i < count; i++) {
        is_flat = i % 32 == 0 ? ab_random_below(random, 4) == 0 : is_flat;
        last += is_flat ? 7 : (ab_random_u64(random) & mask) - (mask >> 1);
        values[i] = last;
    }
}

/* Decodes from a padded copy of exactly `bytes` bytes. */
static ab_err take_copy(const uint8_t *data, size_t bytes, bool is_split, uint64_t *values, size_t count)
{
    uint8_t *copy = ab_new_bytes(bytes + AB_ENCODING_PAD_BYTES);
    if (bytes > 0) {
        memcpy(copy, data, bytes);
    }
    ab_err err = is_split ? ab_encoding_take_split(ab_bytes_of(copy, bytes), (uint8_t *)values, count)
                          : ab_encoding_take_deltas(ab_bytes_of(copy, bytes), values, count);
    ab_delete(copy);
    return err;
}

static void test_deltas_of_every_width_round_trip(void **state)
{
    (void)state;
    uint64_t values[VALUES_MAX];
    uint64_t taken[VALUES_MAX];
    struct ab_random random;
    ab_random_init(&random, 1);
    for (unsigned width = 0; width <= 64; width++) {
        for (int round = 0; round < 20; round++) {
            size_t count = ab_random_below(&random, VALUES_MAX);
            struct ab_buffer out = {0};
            values_fill(&random, values, count, width);
            ab_encoding_put_deltas(&out, values, count);
            assert_int_equal(take_copy(out.data, out.bytes, false, taken, count), AB_OK);
            assert_memory_equal(taken, values, count * sizeof *values);
            ab_buffer_fini(&out);
        }
    }
}

static void test_deltas_of_the_format_s_example(void **state)
{
    (void)state;
    /* 7, 5, 3, 1, 2, 3, 4, 5: differences -2 -2 -2 1 1 1 1, less their least 0 0 0 3 3 3 3 in two bits. */
    static const uint64_t values[8] = {7, 5, 3, 1, 2, 3, 4, 5};
    static const uint8_t head[10] = {0x80, 0x01, 0x04, 0x08, 0x0e, 0x03, 2, 0, 0, 0};
    struct ab_buffer out = {0};
    uint64_t taken[8];
    ab_encoding_put_deltas(&out, values, 8);
    assert_int_equal(out.bytes, sizeof head + 8);
    assert_memory_equal(out.data, head, sizeof head);
    assert_int_equal(out.data[10], 0xc0);
    assert_int_equal(out.data[11], 0x3f);
    /* A writer that does not fill up its last miniblock is read too. */
    assert_int_equal(take_copy(out.data, 12, false, taken, 8), AB_OK);
    assert_memory_equal(taken, values, sizeof values);
    assert_int_equal(take_copy(out.data, 11, false, taken, 8), AB_CORRUPT);
    assert_int_equal(take_copy(out.data, out.bytes, false, taken, 7), AB_CORRUPT);
    ab_buffer_fini(&out);
}

static void test_deltas_truncated_or_flipped_stay_in_bounds(void **state)
{
    (void)state;
    uint64_t values[200];
    uint64_t taken[200];
    struct ab_random random;
    struct ab_buffer out = {0};
    ab_random_init(&random, 2);
    values_fill(&random, values, 200, 60);
    ab_encoding_put_deltas(&out, values, 200);
    for (size_t bytes = 0; bytes + 240 < out.bytes; bytes++) { /* the filling at the end may be missing */
        assert_int_equal(take_copy(out.data, bytes, false, taken, 200), AB_CORRUPT);
    }
    for (size_t bit = 0; bit < out.bytes * 8; bit++) {
        out.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        ab_err err = take_copy(out.data, out.bytes, false, taken, 200);
        assert_true(err == AB_OK || err == AB_CORRUPT);
        out.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
    ab_buffer_fini(&out);
}

static void test_deltas_refuse_heads_that_lie(void **state)
{
    (void)state;
    static const uint64_t heads[][3] = {
        {0, 4, 5}, {128, 0, 5}, {128, 3, 5}, {96, 4, 5}, {UINT64_MAX, 4, 5}, {128, UINT64_MAX, 5}, {128, 4, 6}};
    uint64_t taken[5];
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        struct ab_buffer out = {0};
        for (size_t k = 0; k < 3; k++) {
            ab_buffer_put_varint(&out, heads[i][k]);
        }
        for (size_t k = 0; k < 200; k++) {
            ab_buffer_put_u8(&out, 0);
        }
        assert_int_equal(take_copy(out.data, out.bytes, false, taken, 5), AB_CORRUPT);
        ab_buffer_fini(&out);
    }
    assert_int_equal(take_copy(NULL, 0, false, taken, 0), AB_OK);
    assert_int_equal(take_copy(NULL, 0, false, taken, 1), AB_CORRUPT);
}

static void test_split_of_every_count_round_trips(void **state)
{
    (void)state;
    uint64_t values[100];
    uint64_t taken[100];
    struct ab_random random;
    ab_random_init(&random, 3);
    for (size_t count = 0; count <= 100; count++) {
        struct ab_buffer out = {0};
        values_fill(&random, values, count, 64);
        ab_encoding_put_split(&out, (const uint8_t *)values, count);
        assert_int_equal(out.bytes, count * 8);
        for (size_t k = 0; count > 0 && k < 8; k++) {
            assert_int_equal(out.data[k * count], values[0] >> (8 * k) & 0xff);
        }
        assert_int_equal(take_copy(out.data, out.bytes, true, taken, count), AB_OK);
        assert_memory_equal(taken, values, count * 8);
        if (count > 0) {
            assert_int_equal(take_copy(out.data, out.bytes - 1, true, taken, count), AB_CORRUPT);
            assert_int_equal(take_copy(out.data, out.bytes, true, taken, count - 1), AB_CORRUPT);
        }
        ab_buffer_fini(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_deltas_of_every_width_round_trip),
        cmocka_unit_test(test_deltas_of_the_format_s_example),
        cmocka_unit_test(test_deltas_truncated_or_flipped_stay_in_bounds),
        cmocka_unit_test(test_deltas_refuse_heads_that_lie),
        cmocka_unit_test(test_split_of_every_count_round_trips),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
