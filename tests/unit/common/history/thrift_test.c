/* The compact protocol: what is written is read again, and nothing malformed gets through. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/history/thrift.h"

static void test_thrift_fields_round_trip(void **state)
{
    (void)state;
    struct ab_buffer out = {0};
    struct ab_thrift_writer writer;
    ab_thrift_writer_init(&writer, &out);
    ab_thrift_put_i32(&writer, 1, -7);
    ab_thrift_begin(&writer, 3);
    ab_thrift_put_i64(&writer, 2, INT64_MIN);
    ab_thrift_put_binary(&writer, 4, ab_bytes_of_text("text"));
    ab_thrift_end(&writer);
    ab_thrift_put_list(&writer, 5, AB_THRIFT_I32, 20);
    for (int i = 0; i < 20; i++) {
        ab_thrift_element_i32(&writer, i);
    }
    ab_thrift_put_boolean(&writer, 6, true);
    ab_thrift_end(&writer);

    struct ab_reader reader = ab_reader_of(ab_buffer_view(&out));
    struct ab_thrift_field field = {0};
    assert_true(ab_thrift_next(&reader, &field));
    assert_int_equal(field.id, 1);
    assert_int_equal(ab_thrift_take_integer(&reader, &field), -7);
    assert_true(ab_thrift_next(&reader, &field));
    ab_thrift_take_struct(&reader, &field);
    struct ab_thrift_field inner = {0};
    assert_true(ab_thrift_next(&reader, &inner));
    assert_true(ab_thrift_take_integer(&reader, &inner) == INT64_MIN);
    assert_true(ab_thrift_next(&reader, &inner));
    assert_true(ab_bytes_equal(ab_thrift_take_binary(&reader, &inner), ab_bytes_of_text("text")));
    assert_false(ab_thrift_next(&reader, &inner));
    assert_true(ab_thrift_next(&reader, &field));
    assert_int_equal(ab_thrift_take_list(&reader, &field, AB_THRIFT_I32), 20);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(ab_reader_varint(&reader), i * 2);
    }
    assert_true(ab_thrift_next(&reader, &field));
    assert_true(ab_thrift_take_boolean(&reader, &field));
    assert_false(ab_thrift_next(&reader, &field));
    assert_int_equal(ab_reader_finish(&reader), AB_OK);

    /* Skipping gets to the same end, and every truncation fails. */
    for (size_t bytes = 0; bytes <= out.bytes; bytes++) {
        reader = ab_reader_of(ab_bytes_of(out.data, bytes));
        field = (struct ab_thrift_field){0};
        while (ab_thrift_next(&reader, &field)) {
            ab_thrift_skip(&reader, &field);
        }
        assert_int_equal(reader.has_failed, bytes < out.bytes);
    }
    ab_buffer_fini(&out);
}

static void test_thrift_deep_nesting_is_refused(void **state)
{
    (void)state;
    uint8_t bytes[4096];
    memset(bytes, 0x1C, sizeof bytes); /* field 1: struct, for ever */
    struct ab_reader reader = ab_reader_of(ab_bytes_of(bytes, sizeof bytes));
    struct ab_thrift_field field = {0};
    assert_true(ab_thrift_next(&reader, &field));
    ab_thrift_skip(&reader, &field);
    assert_true(reader.has_failed);
    memset(bytes, 0x19, sizeof bytes); /* lists of lists */
    reader = ab_reader_of(ab_bytes_of(bytes, sizeof bytes));
    field = (struct ab_thrift_field){0};
    assert_true(ab_thrift_next(&reader, &field));
    ab_thrift_skip(&reader, &field);
    assert_true(reader.has_failed);
}

static void test_thrift_list_longer_than_its_bytes_is_refused(void **state)
{
    (void)state;
    const uint8_t bytes[] = {0x19, 0xF5, 0xFF, 0xFF, 0xFF, 0x0F, 0x00};
    struct ab_reader reader = ab_reader_of(ab_bytes_of(bytes, sizeof bytes));
    struct ab_thrift_field field = {0};
    assert_true(ab_thrift_next(&reader, &field));
    assert_int_equal(ab_thrift_take_list(&reader, &field, AB_THRIFT_I32), 0);
    assert_true(reader.has_failed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_thrift_fields_round_trip),
        cmocka_unit_test(test_thrift_deep_nesting_is_refused),
        cmocka_unit_test(test_thrift_list_longer_than_its_bytes_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
