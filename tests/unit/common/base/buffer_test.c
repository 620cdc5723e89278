#include "common/base/buffer.h"

#include "tests/support/test.h"

static void test_buffer_puts_what_the_reader_takes(void **state)
{
    (void)state;
    struct ab_buffer buffer = {0};
    ab_buffer_put_u8(&buffer, 1);
    ab_buffer_put_u16(&buffer, 0x0203);
    ab_buffer_put_u32(&buffer, 0x04050607);
    ab_buffer_put_u64(&buffer, UINT64_C(0x08090a0b0c0d0e0f));
    ab_buffer_put_blob(&buffer, bytes_of("blob"));
    ab_buffer_put_bytes(&buffer, bytes_of(""));
    assert_ok(ab_buffer_finish(&buffer));
    assert_memory_equal(buffer.data, "\x01\x03\x02\x07\x06\x05\x04", 7);
    struct ab_reader reader = ab_reader_of(ab_buffer_view(&buffer));
    assert_int_equal(ab_reader_u8(&reader), 1);
    assert_int_equal(ab_reader_u16(&reader), 0x0203);
    assert_int_equal(ab_reader_u32(&reader), 0x04050607);
    assert_true(ab_reader_u64(&reader) == UINT64_C(0x08090a0b0c0d0e0f));
    assert_true(ab_bytes_equal(ab_reader_blob(&reader), bytes_of("blob")));
    assert_ok(ab_reader_finish(&reader));
    ab_buffer_fini(&buffer);
    ab_buffer_fini(&buffer);
}

static void test_buffer_past_its_maximum_fails_once_and_for_all(void **state)
{
    (void)state;
    struct ab_buffer buffer;
    ab_buffer_init(&buffer, NULL, 10);
    ab_buffer_put(&buffer, "12345678", 8);
    ab_buffer_put_u32(&buffer, 1);
    assert_true(buffer.has_failed);
    assert_int_equal(buffer.bytes, 8);
    ab_buffer_put_u8(&buffer, 1);
    assert_int_equal(buffer.bytes, 8);
    assert_int_equal(ab_buffer_finish(&buffer), AB_FULL);
    assert_string_equal(ab_buffer_text(&buffer), "");
    ab_buffer_clear(&buffer);
    ab_buffer_put(&buffer, "1234567890", 10);
    assert_ok(ab_buffer_finish(&buffer));
    assert_string_equal(ab_buffer_text(&buffer), "1234567890");
    assert_int_equal(buffer.bytes, 10);
    assert_null(ab_buffer_extend(&buffer, SIZE_MAX));
    ab_buffer_fini(&buffer);
}

static void test_buffer_respects_its_budget(void **state)
{
    (void)state;
    struct ab_memory memory;
    struct ab_buffer buffer;
    ab_memory_init(&memory, 100, NULL);
    ab_buffer_init(&buffer, &memory, 0);
    for (int i = 0; i < 100; i++) {
        ab_buffer_put_u8(&buffer, (uint8_t)i);
    }
    assert_ok(ab_buffer_finish(&buffer));
    ab_buffer_put_u8(&buffer, 1);
    assert_int_equal(ab_buffer_finish(&buffer), AB_FULL);
    assert_int_equal(buffer.bytes, 100);
    ab_buffer_fini(&buffer);
    assert_int_equal(ab_memory_used(&memory), 0);
}

static void test_buffer_formats(void **state)
{
    (void)state;
    struct ab_buffer buffer;
    ab_buffer_init(&buffer, NULL, 8);
    ab_buffer_put_format(&buffer, "%s", "");
    ab_buffer_put_format(&buffer, "%d%s", 12, "ab");
    ab_buffer_put_format(&buffer, "%04d", 7);
    assert_string_equal(ab_buffer_text(&buffer), "12ab0007");
    ab_buffer_put_format(&buffer, "x");
    assert_int_equal(ab_buffer_finish(&buffer), AB_FULL);
    ab_buffer_fini(&buffer);
    struct ab_buffer empty = {0};
    assert_string_equal(ab_buffer_text(&empty), "");
    ab_buffer_fini(&empty);
}

static void test_buffer_format_without_room_for_its_nul_fails(void **state)
{
    (void)state;
    struct ab_memory memory;
    struct ab_buffer buffer;
    ab_memory_init(&memory, 64, NULL);
    ab_buffer_init(&buffer, &memory, 0);
    for (int i = 0; i < 60; i++) {
        ab_buffer_put_u8(&buffer, 'x');
    }
    ab_buffer_put_format(&buffer, "1234");
    assert_int_equal(ab_buffer_finish(&buffer), AB_FULL);
    ab_buffer_fini(&buffer);
}

static void test_buffer_grows_to_large_sizes(void **state)
{
    (void)state;
    struct ab_buffer buffer = {0};
    for (uint32_t i = 0; i < 300000; i++) {
        ab_buffer_put_u32(&buffer, i);
    }
    struct ab_reader reader = ab_reader_of(ab_buffer_view(&buffer));
    for (uint32_t i = 0; i < 300000; i++) {
        assert_true(ab_reader_u32(&reader) == i);
    }
    assert_ok(ab_reader_finish(&reader));
    ab_buffer_fini(&buffer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buffer_puts_what_the_reader_takes),
        cmocka_unit_test(test_buffer_past_its_maximum_fails_once_and_for_all),
        cmocka_unit_test(test_buffer_respects_its_budget),
        cmocka_unit_test(test_buffer_formats),
        cmocka_unit_test(test_buffer_format_without_room_for_its_nul_fails),
        cmocka_unit_test(test_buffer_grows_to_large_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
