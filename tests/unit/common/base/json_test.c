#include "common/base/json.h"

#include "tests/support/test.h"

#include <math.h>

static struct ab_json *parsed(const char *text)
{
    struct ab_json *value = NULL;
    struct ab_error error = {0};
    assert_ok(ab_json_parse(bytes_of(text), &value, &error));
    return value;
}

static void assert_writes(const struct ab_json *value, const char *expected)
{
    struct ab_buffer out = {0};
    ab_json_write(value, 0, &out);
    assert_string_equal(ab_buffer_text(&out), expected);
    ab_buffer_fini(&out);
}

static void test_json_keeps_order_and_values(void **state)
{
    (void)state;
    struct ab_json *object = ab_json_object();
    ab_json_set(object, "z", ab_json_integer(INT64_MIN));
    ab_json_set(object, "a", ab_json_real(0.1));
    ab_json_set_u64(object, "n", UINT64_MAX);
    struct ab_json *array = ab_json_array();
    ab_json_append(array, ab_json_boolean(true));
    ab_json_append(array, ab_json_null());
    ab_json_append(array, ab_json_text("x\"y"));
    ab_json_set(object, "list", array);
    assert_writes(object, "{\"z\":-9223372036854775808,\"a\":0.10000000000000001,\"n\":\"18446744073709551615\","
                          "\"list\":[true,null,\"x\\\"y\"]}");
    assert_int_equal(ab_json_count(object), 4);
    assert_string_equal(ab_json_key_at(object, 1), "a");
    assert_null(ab_json_key_at(object, 4));
    assert_true(ab_json_u64_or(ab_json_get(object, "n"), 0) == UINT64_MAX);
    ab_json_destroy(object);
    ab_json_destroy(NULL);
}

static void test_json_reads_scalars_with_fallbacks(void **state)
{
    (void)state;
    struct ab_json *value = parsed("{\"i\":5,\"r\":1.5,\"b\":false,\"t\":\"text\",\"n\":null,\"u\":\"7\",\"m\":-1}");
    assert_int_equal(ab_json_integer_or(ab_json_get(value, "i"), 9), 5);
    assert_int_equal(ab_json_integer_or(ab_json_get(value, "r"), 9), 9);
    assert_int_equal(ab_json_integer_or(NULL, 9), 9);
    assert_true(ab_json_real_or(ab_json_get(value, "r"), 9) == 1.5);
    assert_true(ab_json_real_or(ab_json_get(value, "i"), 9) == 5.0);
    assert_true(ab_json_real_or(ab_json_get(value, "t"), 9) == 9.0);
    assert_false(ab_json_boolean_or(ab_json_get(value, "b"), true));
    assert_true(ab_json_boolean_or(ab_json_get(value, "i"), true));
    assert_string_equal(ab_json_text_or(ab_json_get(value, "t"), "no"), "text");
    assert_string_equal(ab_json_text_or(ab_json_get(value, "absent"), "no"), "no");
    assert_true(ab_json_u64_or(ab_json_get(value, "u"), 9) == 7);
    assert_true(ab_json_u64_or(ab_json_get(value, "m"), 9) == 9);
    assert_true(ab_json_u64_or(ab_json_get(value, "t"), 9) == 9);
    assert_true(ab_json_is_null(ab_json_get(value, "n")) && ab_json_is_null(NULL));
    assert_true(ab_json_is_object(value) && !ab_json_is_array(value));
    assert_true(ab_json_is_real(ab_json_get(value, "r")) && ab_json_is_integer(ab_json_get(value, "i")));
    assert_null(ab_json_get(ab_json_get(value, "i"), "x"));
    assert_null(ab_json_at(value, 0));
    ab_json_destroy(value);
}

static void test_json_u64_text_must_be_a_number_that_fits(void **state)
{
    (void)state;
    const char *const bad[] = {"", "-1", "1x", "18446744073709551616", "99999999999999999999999", " 1"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct ab_json *text = ab_json_text(bad[i]);
        assert_true(ab_json_u64_or(text, 3) == 3);
        ab_json_destroy(text);
    }
}

static void test_json_repairs_what_is_not_utf8(void **state)
{
    (void)state;
    struct ab_json *text = ab_json_text_of(ab_bytes_of("a\xff"
                                                       "b",
        3));
    assert_writes(text, "\"a\xef\xbf\xbd"
                        "b\"");
    ab_json_destroy(text);
    struct ab_json *object = ab_json_object();
    ab_json_set(object, "k\xc3", ab_json_integer(1));
    assert_writes(object, "{\"k\xef\xbf\xbd\":1}");
    ab_json_destroy(object);
    struct ab_json *empty = ab_json_text_of(ab_bytes_of(NULL, 0));
    assert_writes(empty, "\"\"");
    ab_json_destroy(empty);
    struct ab_json *real = ab_json_real((double)NAN);
    assert_writes(real, "null");
    ab_json_destroy(real);
}

static void test_json_text_with_nul_is_not_a_c_string(void **state)
{
    (void)state;
    struct ab_json *value = parsed("\"a\\u0000b\"");
    assert_int_equal(ab_json_bytes(value).bytes, 3);
    assert_string_equal(ab_json_text_or(value, "no"), "no");
    assert_writes(value, "\"a\\u0000b\"");
    ab_json_destroy(value);
}

static void test_json_parse_refuses(void **state)
{
    (void)state;
    const char *const bad[] = {"", "{", "{\"a\":}", "[1,]", "{\"a\":1,\"a\":2}", "nul", "1 2", "\"\xff\"", "01",
        "123456789012345678901234567890", "1e999", "{'a':1}", "\"\\ud800\""};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct ab_json *value = NULL;
        struct ab_error error = {0};
        assert_int_equal(ab_json_parse(bytes_of(bad[i]), &value, &error), AB_SYNTAX);
        assert_null(value);
        assert_non_null(strstr(error.text, "line 1, column "));
    }
}

static void test_json_parse_bounds_depth(void **state)
{
    (void)state;
    struct ab_buffer deep = {0};
    for (int i = 0; i < 100000; i++) {
        ab_buffer_put_u8(&deep, '[');
    }
    struct ab_json *value = NULL;
    struct ab_error error = {0};
    assert_int_equal(ab_json_parse(ab_buffer_view(&deep), &value, &error), AB_SYNTAX);
    ab_buffer_fini(&deep);
}

static void test_json_every_truncation_is_refused(void **state)
{
    (void)state;
    const char *whole = "{\"a\":[1,2.5,\"x\\u00e9\"],\"b\":{\"c\":null}}";
    for (size_t cut = 0; cut < strlen(whole); cut++) {
        struct ab_json *value = NULL;
        assert_int_equal(ab_json_parse(ab_bytes_of(whole, cut), &value, NULL), AB_SYNTAX);
    }
}

static void test_json_write_indents_and_meets_a_full_buffer(void **state)
{
    (void)state;
    struct ab_json *value = parsed("{\"a\":[1]}");
    struct ab_buffer out = {0};
    ab_json_write(value, 2, &out);
    assert_string_equal(ab_buffer_text(&out), "{\n  \"a\": [\n    1\n  ]\n}");
    ab_buffer_fini(&out);
    ab_buffer_init(&out, NULL, 4);
    ab_json_write(value, 0, &out);
    assert_int_equal(ab_buffer_finish(&out), AB_FULL);
    ab_buffer_fini(&out);
    ab_json_destroy(value);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_keeps_order_and_values),
        cmocka_unit_test(test_json_reads_scalars_with_fallbacks),
        cmocka_unit_test(test_json_u64_text_must_be_a_number_that_fits),
        cmocka_unit_test(test_json_repairs_what_is_not_utf8),
        cmocka_unit_test(test_json_text_with_nul_is_not_a_c_string),
        cmocka_unit_test(test_json_parse_refuses),
        cmocka_unit_test(test_json_parse_bounds_depth),
        cmocka_unit_test(test_json_every_truncation_is_refused),
        cmocka_unit_test(test_json_write_indents_and_meets_a_full_buffer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
