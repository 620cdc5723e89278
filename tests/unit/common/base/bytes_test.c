#include "common/base/bytes.h"

#include "tests/support/test.h"

static void test_bytes_compare_puts_prefixes_first(void **state)
{
    (void)state;
    assert_true(ab_bytes_compare(bytes_of("a"), bytes_of("ab")) < 0);
    assert_true(ab_bytes_compare(bytes_of("b"), bytes_of("ab")) > 0);
    assert_true(ab_bytes_compare(bytes_of("\xff"), bytes_of("a")) > 0);
    assert_int_equal(ab_bytes_compare(ab_bytes_of(NULL, 0), bytes_of("")), 0);
    assert_true(ab_bytes_equal(ab_bytes_of(NULL, 0), bytes_of("")));
    assert_false(ab_bytes_equal(bytes_of("ab"), bytes_of("ac")));
}

static void test_utf8_well_formed(void **state)
{
    (void)state;
    const char *const good[] = {"", "plain ascii, longer than a word", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80",
        "\xed\x9f\xbf", "\xee\x80\x80", "\xf4\x8f\xbf\xbf", "abcdefg\xc3\xa9hijklmnop\xe2\x82\xac"};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_true(ab_bytes_is_utf8(bytes_of(good[i])));
    }
}

static void test_utf8_malformed(void **state)
{
    (void)state;
    const char *const bad[] = {"\x80", "\xc0\x80", "\xc1\xbf", "\xc3", "\xe0\x80\x80", "\xe0\x9f\xbf", "\xed\xa0\x80",
        "\xe2\x82", "\xf0\x80\x80\x80", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff",
        "\xe2\x28\xa1", "\xf0\x9f\x98", "\xf0\x9f\x98\x28", "abcdefgh\xff", "\xc3\x28"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(ab_bytes_is_utf8(bytes_of(bad[i])));
    }
    assert_int_equal(ab_bytes_utf8_next(bytes_of("\xe2\x82\xac!")), 3);
    assert_int_equal(ab_bytes_utf8_next(bytes_of("\xff!")), 0);
    assert_int_equal(ab_bytes_utf8_next(bytes_of("")), 0);
}

static void test_reader_takes_little_endian_numbers(void **state)
{
    (void)state;
    const uint8_t data[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    struct ab_reader reader = ab_reader_of(ab_bytes_of(data, sizeof(data)));
    assert_int_equal(ab_reader_u8(&reader), 1);
    assert_int_equal(ab_reader_u16(&reader), 0x0302);
    assert_int_equal(ab_reader_u32(&reader), 0x07060504);
    assert_true(ab_reader_u64(&reader) == UINT64_C(0x0f0e0d0c0b0a0908));
    assert_ok(ab_reader_finish(&reader));
}

static void test_reader_stays_failed(void **state)
{
    (void)state;
    const uint8_t data[] = {1, 2, 3};
    struct ab_reader reader = ab_reader_of(ab_bytes_of(data, sizeof(data)));
    assert_int_equal(ab_reader_u32(&reader), 0);
    assert_true(reader.has_failed);
    assert_int_equal(ab_reader_u8(&reader), 0);
    assert_int_equal(ab_reader_finish(&reader), AB_CORRUPT);
}

static void test_reader_finish_wants_the_end(void **state)
{
    (void)state;
    struct ab_reader reader = ab_reader_of(bytes_of("ab"));
    (void)ab_reader_u8(&reader);
    assert_int_equal(ab_reader_finish(&reader), AB_CORRUPT);
    struct ab_reader empty = ab_reader_of(ab_bytes_of(NULL, 0));
    assert_int_equal(ab_reader_bytes(&empty, 0).bytes, 0);
    assert_ok(ab_reader_finish(&empty));
}

static void test_reader_varint_reads_what_buffer_writes(void **state)
{
    (void)state;
    const uint64_t numbers[] = {0, 1, 127, 128, 300, UINT32_MAX, UINT64_C(1) << 63, UINT64_MAX};
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        struct ab_buffer buffer = {0};
        ab_buffer_put_varint(&buffer, numbers[i]);
        for (size_t cut = 0; cut < buffer.bytes; cut++) {
            struct ab_reader reader = ab_reader_of(ab_bytes_of(buffer.data, cut));
            assert_int_equal(ab_reader_varint(&reader), 0);
            assert_true(reader.has_failed);
        }
        struct ab_reader reader = ab_reader_of(ab_buffer_view(&buffer));
        assert_true(ab_reader_varint(&reader) == numbers[i]);
        assert_ok(ab_reader_finish(&reader));
        ab_buffer_fini(&buffer);
    }
}

static void test_reader_varint_of_more_than_64_bits_fails(void **state)
{
    (void)state;
    struct ab_reader wide = ab_reader_of(bytes_of("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"));
    assert_int_equal(ab_reader_varint(&wide), 0);
    assert_true(wide.has_failed);
    struct ab_reader endless = ab_reader_of(bytes_of("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"));
    assert_int_equal(ab_reader_varint(&endless), 0);
    assert_true(endless.has_failed);
}

static void test_reader_blob_longer_than_the_rest_fails(void **state)
{
    (void)state;
    struct ab_reader reader = ab_reader_of(bytes_of("\x02"
                                                    "ab"));
    assert_true(ab_bytes_equal(ab_reader_blob(&reader), bytes_of("ab")));
    assert_ok(ab_reader_finish(&reader));
    struct ab_reader huge = ab_reader_of(bytes_of("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"
                                                  "ab"));
    assert_int_equal(ab_reader_blob(&huge).bytes, 0);
    assert_true(huge.has_failed);
}

static void test_reader_varint_short_refuses_longer_forms(void **state)
{
    (void)state;
    static const struct {
        uint8_t bytes[3];
        uint8_t count;
        uint64_t number;
        bool has_failed;
    } cases[] = {{{0}, 1, 0, false}, {{0x7f}, 1, 127, false}, {{0x80, 1}, 2, 128, false}, {{0x80, 0}, 2, 0, true},
        {{0xff, 0x80, 0}, 3, 0, true}, {{0x80}, 1, 0, true}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct ab_reader reader = ab_reader_of(ab_bytes_of(cases[i].bytes, cases[i].count));
        assert_true(ab_reader_varint_short(&reader) == cases[i].number);
        assert_int_equal(reader.has_failed, cases[i].has_failed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_compare_puts_prefixes_first),
        cmocka_unit_test(test_utf8_well_formed),
        cmocka_unit_test(test_utf8_malformed),
        cmocka_unit_test(test_reader_takes_little_endian_numbers),
        cmocka_unit_test(test_reader_stays_failed),
        cmocka_unit_test(test_reader_finish_wants_the_end),
        cmocka_unit_test(test_reader_varint_reads_what_buffer_writes),
        cmocka_unit_test(test_reader_varint_of_more_than_64_bits_fails),
        cmocka_unit_test(test_reader_varint_short_refuses_longer_forms),
        cmocka_unit_test(test_reader_blob_longer_than_the_rest_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
