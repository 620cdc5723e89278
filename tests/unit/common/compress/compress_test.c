#include "common/compress/compress.h"

#include "common/base/random.h"

#include "tests/support/test.h"

/* The two codecs have the same shape, and so the same tests. */
struct codec {
    ab_err (*compress)(struct ab_bytes plain, struct ab_buffer *out);
    ab_err (*decompress)(struct ab_bytes compressed, uint8_t *out, size_t bytes);
    size_t (*bound)(size_t bytes);
};

/* Of all tests, so that calls after a failed one are tested too. */
static struct ab_zstd working;

static ab_err zstd_compress(struct ab_bytes plain, struct ab_buffer *out)
{
    return ab_zstd_compress(&working, plain, AB_ZSTD_LEVEL_DEFAULT, out);
}

static ab_err zstd_decompress(struct ab_bytes compressed, uint8_t *out, size_t bytes)
{
    return ab_zstd_decompress(&working, compressed, out, bytes);
}

static struct codec zstd = {zstd_compress, zstd_decompress, ab_zstd_bound};
static struct codec lz4 = {ab_lz4_compress, ab_lz4_decompress, ab_lz4_bound};

/* Text that compresses somewhat. */
static void sample_make(struct ab_buffer *out, size_t bytes)
{
    struct ab_random random;
    ab_random_init(&random, bytes);
    while (out->bytes < bytes) {
        ab_buffer_put_format(out, "%llu,", (unsigned long long)ab_random_below(&random, 1000));
    }
    out->bytes = bytes;
}

static void test_codec_gives_back_what_it_took(void **state)
{
    const struct codec *codec = *state;
    const size_t sizes[] = {0, 1, 2, 100, 65537, 3000000};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct ab_buffer plain = {0};
        struct ab_buffer packed = {0};
        sample_make(&plain, sizes[i]);
        ab_buffer_put(&packed, "ab", 2);
        assert_ok(codec->compress(ab_buffer_view(&plain), &packed));
        assert_memory_equal(packed.data, "ab", 2);
        assert_true(packed.bytes - 2 <= codec->bound(sizes[i]));
        uint8_t *back = ab_new_bytes(sizes[i]);
        assert_ok(codec->decompress(ab_bytes_of(packed.data + 2, packed.bytes - 2), back, sizes[i]));
        assert_true(ab_bytes_equal(ab_bytes_of(back, sizes[i]), ab_buffer_view(&plain)));
        ab_delete(back);
        ab_buffer_fini(&packed);
        ab_buffer_fini(&plain);
    }
}

static void test_codec_wants_the_exact_size(void **state)
{
    const struct codec *codec = *state;
    struct ab_buffer plain = {0};
    struct ab_buffer packed = {0};
    sample_make(&plain, 1000);
    assert_ok(codec->compress(ab_buffer_view(&plain), &packed));
    const size_t wrong[] = {0, 1, 999, 1001, 100000};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        uint8_t *back = ab_new_bytes(wrong[i]);
        assert_int_equal(codec->decompress(ab_buffer_view(&packed), back, wrong[i]), AB_CORRUPT);
        ab_delete(back);
    }
    ab_buffer_fini(&packed);
    ab_buffer_fini(&plain);
}

static void test_codec_refuses_every_truncation(void **state)
{
    const struct codec *codec = *state;
    struct ab_buffer plain = {0};
    struct ab_buffer packed = {0};
    sample_make(&plain, 3000);
    assert_ok(codec->compress(ab_buffer_view(&plain), &packed));
    uint8_t *back = ab_new_bytes(3000);
    for (size_t cut = 0; cut < packed.bytes; cut++) {
        uint8_t *copy = ab_new_bytes(cut);
        memcpy(copy, packed.data, cut);
        assert_int_equal(codec->decompress(ab_bytes_of(copy, cut), back, 3000), AB_CORRUPT);
        ab_delete(copy);
    }
    ab_delete(back);
    ab_buffer_fini(&packed);
    ab_buffer_fini(&plain);
}

/* A flipped bit may go unseen (neither format is meant to detect it), but never leads out of bounds. */
static void test_codec_survives_every_bit_flip(void **state)
{
    const struct codec *codec = *state;
    struct ab_buffer plain = {0};
    struct ab_buffer packed = {0};
    sample_make(&plain, 500);
    assert_ok(codec->compress(ab_buffer_view(&plain), &packed));
    uint8_t *back = ab_new_bytes(500);
    for (size_t bit = 0; bit < packed.bytes * 8; bit++) {
        packed.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        ab_err err = codec->decompress(ab_buffer_view(&packed), back, 500);
        assert_true(err == AB_OK || err == AB_CORRUPT);
        packed.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
    ab_delete(back);
    ab_buffer_fini(&packed);
    ab_buffer_fini(&plain);
}

static void test_codec_without_room_leaves_the_buffer_alone(void **state)
{
    const struct codec *codec = *state;
    struct ab_buffer plain = {0};
    struct ab_buffer packed;
    sample_make(&plain, 1000);
    ab_buffer_init(&packed, NULL, 50);
    ab_buffer_put(&packed, "ab", 2);
    assert_int_equal(codec->compress(ab_buffer_view(&plain), &packed), AB_FULL);
    assert_ok(ab_buffer_finish(&packed));
    assert_string_equal(ab_buffer_text(&packed), "ab");
    ab_buffer_put(&packed, NULL, 0);
    (void)ab_buffer_extend(&packed, 100);
    assert_int_equal(codec->compress(ab_buffer_view(&plain), &packed), AB_FULL);
    assert_int_equal(ab_buffer_finish(&packed), AB_FULL);
    ab_buffer_fini(&packed);
    ab_buffer_fini(&plain);
}

static void test_codec_refuses_nothing_at_all(void **state)
{
    const struct codec *codec = *state;
    uint8_t byte;
    assert_int_equal(codec->decompress(ab_bytes_of(NULL, 0), &byte, 0), AB_CORRUPT);
    assert_int_equal(codec->decompress(ab_bytes_of(NULL, 0), &byte, 1), AB_CORRUPT);
}

static void test_lz4_bound_is_zero_past_its_limit(void **state)
{
    (void)state;
    assert_int_equal(ab_lz4_bound(SIZE_MAX), 0);
    assert_true(ab_lz4_bound(1000) >= 1000);
    struct ab_buffer out = {0};
    assert_int_equal(ab_lz4_compress(ab_bytes_of(&out, SIZE_MAX / 2), &out), AB_TOO_LARGE);
    uint8_t byte;
    assert_int_equal(ab_lz4_decompress(bytes_of("abc"), &byte, SIZE_MAX), AB_CORRUPT);
}

static int working_free(void **state)
{
    (void)state;
    ab_zstd_fini(&working);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(test_codec_gives_back_what_it_took, &zstd),
        cmocka_unit_test_prestate(test_codec_wants_the_exact_size, &zstd),
        cmocka_unit_test_prestate(test_codec_refuses_every_truncation, &zstd),
        cmocka_unit_test_prestate(test_codec_survives_every_bit_flip, &zstd),
        cmocka_unit_test_prestate(test_codec_without_room_leaves_the_buffer_alone, &zstd),
        cmocka_unit_test_prestate(test_codec_refuses_nothing_at_all, &zstd),
        cmocka_unit_test_prestate(test_codec_gives_back_what_it_took, &lz4),
        cmocka_unit_test_prestate(test_codec_wants_the_exact_size, &lz4),
        cmocka_unit_test_prestate(test_codec_refuses_every_truncation, &lz4),
        cmocka_unit_test_prestate(test_codec_survives_every_bit_flip, &lz4),
        cmocka_unit_test_prestate(test_codec_without_room_leaves_the_buffer_alone, &lz4),
        cmocka_unit_test_prestate(test_codec_refuses_nothing_at_all, &lz4),
        cmocka_unit_test(test_lz4_bound_is_zero_past_its_limit),
    };
    return cmocka_run_group_tests(tests, NULL, working_free);
}
