/* Values, columns and their builder. */
#include "common/base/buffer.h"
#include "common/base/decimal.h"
#include "common/block/column.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>

static const struct ab_type boolean_type = {.kind = AB_TYPE_BOOLEAN};
static const struct ab_type bigint_type = {.kind = AB_TYPE_BIGINT};
static const struct ab_type double_type = {.kind = AB_TYPE_DOUBLE};
static const struct ab_type decimal_type = {.kind = AB_TYPE_DECIMAL, .precision = 12, .scale = 2};
static const struct ab_type text_type = {.kind = AB_TYPE_TEXT};
static const struct ab_type timestamp_type = {.kind = AB_TYPE_TIMESTAMP};

static ab_err parse(struct ab_type type, const char *text, struct ab_value *value)
{
    return ab_value_parse(type, ab_bytes_of_text(text), value);
}

static void expect_text(struct ab_type type, const char *text, const char *expected)
{
    struct ab_value value;
    struct ab_buffer out = {0};
    assert_int_equal(parse(type, text, &value), AB_OK);
    ab_value_format(&value, &out);
    assert_string_equal(ab_buffer_text(&out), expected);
    ab_buffer_fini(&out);
}

static void test_value_parse_and_format_go_together(void **state)
{
    (void)state;
    expect_text(boolean_type, "true", "true");
    expect_text(boolean_type, "T", "true");
    expect_text(boolean_type, "0", "false");
    expect_text(bigint_type, "-9223372036854775808", "-9223372036854775808");
    expect_text(decimal_type, "-12.5", "-12.50");
    expect_text(text_type, "Zürich", "Zürich");
    expect_text(double_type, "0.5", "0.5");
    expect_text(double_type, "-0", "0");
    expect_text(timestamp_type, "2013-06-01 05:17", "2013-06-01T05:17:00Z");
}

static void test_value_parse_refuses_what_is_not_of_the_type(void **state)
{
    (void)state;
    struct ab_value value = {.bigint = 7};
    assert_int_equal(parse(boolean_type, "yes", &value), AB_INVALID);
    assert_int_equal(parse(boolean_type, "", &value), AB_INVALID);
    assert_int_equal(parse(bigint_type, "1.5", &value), AB_INVALID);
    assert_int_equal(parse(bigint_type, "9223372036854775808", &value), AB_OVERFLOW);
    assert_int_equal(parse(double_type, "1x", &value), AB_INVALID);
    assert_int_equal(parse(decimal_type, "1.005", &value), AB_OVERFLOW);
    assert_int_equal(parse(timestamp_type, "2013-02-30", &value), AB_INVALID);
    assert_int_equal(parse(text_type, "\xC3\x28", &value), AB_INVALID);
    assert_int_equal(value.bigint, 7); /* untouched */
}

static void test_value_null_formats_as_nothing(void **state)
{
    (void)state;
    struct ab_value null = {.type = bigint_type, .is_null = true};
    struct ab_buffer out = {0};
    ab_value_format(&null, &out);
    assert_int_equal(out.bytes, 0);
    ab_buffer_fini(&out);
}

static void test_value_compare_puts_null_first_and_nan_last(void **state)
{
    (void)state;
    struct ab_value null = {.type = double_type, .is_null = true};
    struct ab_value low = {.type = double_type, .real = -INFINITY};
    struct ab_value high = {.type = double_type, .real = INFINITY};
    struct ab_value nan = {.type = double_type, .real = NAN};
    assert_true(ab_value_compare(&null, &low) < 0);
    assert_true(ab_value_compare(&high, &nan) < 0);
    assert_true(ab_value_compare(&nan, &nan) == 0);
    assert_true(ab_value_compare(&nan, &null) > 0);
    assert_true(ab_value_compare(&null, &null) == 0);
}

static void test_type_format_names_types(void **state)
{
    (void)state;
    char text[AB_TYPE_TEXT_BYTES];
    assert_string_equal(ab_type_format(decimal_type, text), "DECIMAL(12, 2)");
    assert_string_equal(ab_type_format(text_type, text), "TEXT");
    assert_string_equal(ab_type_format((struct ab_type){.kind = 77}, text), "?");
}

static void expect_constant(struct ab_value value)
{
    struct ab_arena arena = {0};
    struct ab_column column;
    assert_int_equal(ab_column_constant(&arena, value, 5, &column), AB_OK);
    assert_int_equal(column.rows_count, 5);
    for (uint32_t row = 0; row < 5; row++) {
        struct ab_value got = ab_column_value(&column, row);
        assert_int_equal(got.is_null, value.is_null);
        assert_int_equal(ab_value_compare(&got, &value), 0);
    }
    ab_arena_fini(&arena);
}

static void test_column_constant_repeats_every_type(void **state)
{
    (void)state;
    expect_constant((struct ab_value){.type = boolean_type, .boolean = true});
    expect_constant((struct ab_value){.type = bigint_type, .bigint = -5});
    expect_constant((struct ab_value){.type = double_type, .real = 2.5});
    expect_constant((struct ab_value){.type = decimal_type, .decimal = -123456});
    expect_constant((struct ab_value){.type = text_type, .text = ab_bytes_of_text("abc")});
    expect_constant((struct ab_value){.type = text_type, .text = ab_bytes_of_text("")});
    expect_constant((struct ab_value){.type = timestamp_type, .bigint = 1});
    expect_constant((struct ab_value){.type = text_type, .is_null = true});
}

static void test_column_constant_full_budget_returns_full(void **state)
{
    (void)state;
    struct ab_memory memory;
    struct ab_arena arena;
    struct ab_column column;
    ab_memory_init(&memory, 1, NULL);
    ab_arena_init(&arena, &memory, 0);
    struct ab_value value = {.type = bigint_type, .bigint = 1};
    assert_int_equal(ab_column_constant(&arena, value, 5, &column), AB_FULL);
    ab_arena_fini(&arena);
}

static void test_column_builder_keeps_values_and_nulls(void **state)
{
    (void)state;
    struct ab_column_builder *builder = ab_column_builder_create(decimal_type, 1000, NULL);
    for (int round = 0; round < 2; round++) {
        struct ab_column column;
        for (int i = 0; i < 1000; i++) {
            struct ab_value value = {.type = decimal_type, .decimal = (ab_int128)i << 64, .is_null = i % 7 == 3};
            assert_int_equal(ab_column_builder_add(builder, &value), AB_OK);
        }
        struct ab_value more = {.type = decimal_type};
        assert_int_equal(ab_column_builder_add(builder, &more), AB_FULL);
        ab_column_builder_view(builder, &column);
        assert_int_equal(column.rows_count, 1000);
        for (uint32_t i = 0; i < 1000; i++) {
            assert_int_equal(ab_column_is_null(&column, i), i % 7 == 3);
            ab_int128 units = ((const ab_int128 *)column.values)[i];
            assert_true(units == (i % 7 == 3 ? 0 : (ab_int128)i << 64));
        }
        assert_int_equal(ab_column_builder_bytes(builder), 16 * 1000 + 125);
        ab_column_builder_clear(builder);
    }
    ab_column_builder_destroy(builder);
}

static void test_column_builder_stores_each_text_once(void **state)
{
    (void)state;
    struct ab_column_builder *builder = ab_column_builder_create(text_type, 5000, NULL);
    for (int round = 0; round < 2; round++) {
        struct ab_column column;
        char text[32];
        for (int i = 0; i < 5000; i++) {
            snprintf(text, sizeof text, "name %d", i % 300);
            struct ab_value value = {.type = text_type, .text = ab_bytes_of_text(i % 300 == 299 ? "" : text)};
            assert_int_equal(ab_column_builder_add(builder, &value), AB_OK);
        }
        ab_column_builder_view(builder, &column);
        assert_int_equal(column.dictionary.count, 300);
        assert_null(column.nulls);
        for (uint32_t i = 0; i < 5000; i++) {
            snprintf(text, sizeof text, "name %u", i % 300);
            struct ab_bytes expected = ab_bytes_of_text(i % 300 == 299 ? "" : text);
            assert_true(ab_bytes_equal(ab_column_value(&column, i).text, expected));
        }
        ab_column_builder_clear(builder);
    }
    ab_column_builder_destroy(builder);
}

static void test_column_builder_full_budget_keeps_what_stands(void **state)
{
    (void)state;
    struct ab_memory memory;
    ab_memory_init(&memory, 16384, NULL);
    struct ab_column_builder *builder = ab_column_builder_create(text_type, 100000, &memory);
    char text[64];
    uint32_t added = 0;
    for (;; added++) {
        snprintf(text, sizeof text, "a rather long name to fill the budget %u", added);
        struct ab_value value = {.type = text_type, .text = ab_bytes_of_text(text)};
        if (ab_column_builder_add(builder, &value) != AB_OK) {
            break;
        }
    }
    struct ab_column column;
    ab_column_builder_view(builder, &column);
    assert_int_equal(column.rows_count, added);
    assert_true(added > 10);
    snprintf(text, sizeof text, "a rather long name to fill the budget %u", added - 1);
    assert_true(ab_bytes_equal(ab_column_value(&column, added - 1).text, ab_bytes_of_text(text)));
    assert_true(ab_memory_used(&memory) <= 16384);
    ab_column_builder_destroy(builder);
    assert_int_equal(ab_memory_used(&memory), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_value_parse_and_format_go_together),
        cmocka_unit_test(test_value_parse_refuses_what_is_not_of_the_type),
        cmocka_unit_test(test_value_null_formats_as_nothing),
        cmocka_unit_test(test_value_compare_puts_null_first_and_nan_last),
        cmocka_unit_test(test_type_format_names_types),
        cmocka_unit_test(test_column_constant_repeats_every_type),
        cmocka_unit_test(test_column_constant_full_budget_returns_full),
        cmocka_unit_test(test_column_builder_keeps_values_and_nulls),
        cmocka_unit_test(test_column_builder_stores_each_text_once),
        cmocka_unit_test(test_column_builder_full_budget_keeps_what_stands),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
