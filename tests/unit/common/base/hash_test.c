#include "common/base/hash.h"

#include "tests/support/test.h"

/* The values are part of the formats: partitions and chain hashes of existing data depend on them. */
static void test_hash_values_never_change(void **state)
{
    (void)state;
    char text[33];
    assert_true(ab_hash64(AB_HASH_PARTITION, bytes_of("anabranch")) == UINT64_C(0xc5975ad84f4665ee));
    ab_hash128_format(ab_hash128(AB_HASH_RECORD, bytes_of("anabranch")), text);
    assert_string_equal(text, "bd2fd0fcd25aa8a7d3b23a49645370f0");
}

static void test_hash_domains_differ(void **state)
{
    (void)state;
    struct ab_bytes nothing = ab_bytes_of(NULL, 0);
    assert_true(ab_hash64(AB_HASH_TABLE, nothing) != ab_hash64(AB_HASH_SHARD, nothing));
    assert_false(
        ab_hash128_equal(ab_hash128(AB_HASH_DIGEST, bytes_of("a")), ab_hash128(AB_HASH_CONTENT, bytes_of("a"))));
}

static void test_hash_stream_equals_one_shot(void **state)
{
    (void)state;
    uint8_t data[5000];
    for (size_t i = 0; i < sizeof(data); i++) {
        data[i] = (uint8_t)(i * 7);
    }
    struct ab_hash_stream *stream = ab_hash_stream_create(AB_HASH_CONTENT);
    ab_hash_stream_update(stream, ab_bytes_of(NULL, 0));
    for (size_t i = 0; i < sizeof(data); i += 100) {
        ab_hash_stream_update(stream, ab_bytes_of(data + i, 100));
        struct ab_hash128 whole = ab_hash128(AB_HASH_CONTENT, ab_bytes_of(data, i + 100));
        assert_true(ab_hash128_equal(ab_hash_stream_digest(stream), whole));
    }
    ab_hash_stream_destroy(stream);
    ab_hash_stream_destroy(NULL);
}

static void test_hash128_text_reads_back(void **state)
{
    (void)state;
    struct ab_hash128 hash = {.low = UINT64_C(0x0123456789abcdef), .high = UINT64_C(0xfedcba9876543210)};
    struct ab_hash128 back = {0};
    char text[33];
    ab_hash128_format(hash, text);
    assert_string_equal(text, "fedcba98765432100123456789abcdef");
    assert_ok(ab_hash128_parse(bytes_of(text), &back));
    assert_true(ab_hash128_equal(hash, back));
    assert_ok(ab_hash128_parse(bytes_of("FEDCBA98765432100123456789ABCDEF"), &back));
    assert_int_equal(ab_hash128_parse(bytes_of("fedcba98765432100123456789abcde"), &back), AB_INVALID);
    assert_int_equal(ab_hash128_parse(bytes_of("fedcba98765432100123456789abcdeg"), &back), AB_INVALID);
    assert_int_equal(ab_hash128_parse(bytes_of("gedcba98765432100123456789abcdef"), &back), AB_INVALID);
    assert_int_equal(ab_hash128_parse(bytes_of(""), &back), AB_INVALID);
    assert_true(ab_hash128_equal(hash, back));
}

static void test_hash128_adds_with_carry(void **state)
{
    (void)state;
    struct ab_hash128 a = {.low = UINT64_MAX, .high = UINT64_MAX};
    struct ab_hash128 one = {.low = 1, .high = 0};
    assert_true(ab_hash128_equal(ab_hash128_add(a, one), (struct ab_hash128){0}));
    struct ab_hash128 carried = ab_hash128_add((struct ab_hash128){.low = UINT64_MAX}, one);
    assert_true(carried.low == 0 && carried.high == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hash_values_never_change),
        cmocka_unit_test(test_hash_domains_differ),
        cmocka_unit_test(test_hash_stream_equals_one_shot),
        cmocka_unit_test(test_hash128_text_reads_back),
        cmocka_unit_test(test_hash128_adds_with_carry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
