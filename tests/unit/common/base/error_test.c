#include "common/base/error.h"

#include "tests/support/test.h"

#include <errno.h>
#include <string.h>

static void test_err_kind_of_known_codes(void **state)
{
    (void)state;
    assert_int_equal(ab_err_kind_of(AB_OK), AB_KIND_NONE);
    assert_int_equal(ab_err_kind_of(AB_TIMEOUT), AB_KIND_RETRY);
    assert_int_equal(ab_err_kind_of(AB_NO_SPACE), AB_KIND_FULL);
    assert_int_equal(ab_err_kind_of(AB_CORRUPT), AB_KIND_CORRUPT);
    assert_int_equal(ab_err_kind_of(AB_END), AB_KIND_GONE);
    assert_string_equal(ab_err_name(AB_NO_SPACE), "NO_SPACE");
    assert_string_equal(ab_err_text(AB_CORRUPT), "corrupt");
}

static void test_err_of_unknown_number_is_a_peer_error(void **state)
{
    (void)state;
    assert_int_equal(ab_err_kind_of(12345), AB_KIND_PEER);
    assert_string_equal(ab_err_name(-1), "UNKNOWN");
    assert_string_equal(ab_err_text(12345), "unknown error");
}

static void test_err_from_errno(void **state)
{
    (void)state;
    assert_int_equal(ab_err_from_errno(0), AB_OK);
    assert_int_equal(ab_err_from_errno(ENOSPC), AB_NO_SPACE);
    assert_int_equal(ab_err_from_errno(ENOENT), AB_NOT_FOUND);
    assert_int_equal(ab_err_from_errno(EEXIST), AB_EXISTS);
    assert_int_equal(ab_err_from_errno(EIO), AB_IO);
}

static void test_error_wraps_from_outside_in(void **state)
{
    (void)state;
    struct ab_error error = {0};
    assert_int_equal(ab_error_set(&error, AB_CORRUPT, "short read of %d bytes", 3), AB_CORRUPT);
    int line = error.line;
    assert_int_equal(ab_error_wrap(&error, AB_IO, "open %s", "segment"), AB_IO);
    assert_string_equal(error.text, "open segment: short read of 3 bytes");
    assert_int_equal(error.code, AB_CORRUPT);
    assert_int_equal(error.line, line);
}

static void test_error_wrap_of_empty_uses_the_code(void **state)
{
    (void)state;
    struct ab_error error = {0};
    (void)ab_error_wrap(&error, AB_NO_SPACE, "append");
    assert_string_equal(error.text, "append: no space left on the device");
    assert_int_equal(error.code, AB_NO_SPACE);
    assert_non_null(error.file);
}

static void test_error_may_quote_itself_and_be_absent(void **state)
{
    (void)state;
    struct ab_error error = {0};
    (void)ab_error_set(&error, AB_IO, "inner");
    (void)ab_error_set(&error, AB_IO, "outer (%s)", error.text);
    assert_string_equal(error.text, "outer (inner)");
    assert_int_equal(ab_error_set(NULL, AB_IO, "x"), AB_IO);
    assert_int_equal(ab_error_wrap(NULL, AB_IO, "x"), AB_IO);
}

static void test_error_long_texts_are_cut(void **state)
{
    (void)state;
    struct ab_error error = {0};
    char text[3 * AB_ERROR_TEXT_BYTES];
    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    (void)ab_error_set(&error, AB_IO, "%s", text);
    assert_int_equal(strlen(error.text), AB_ERROR_TEXT_BYTES - 1);
    (void)ab_error_wrap(&error, AB_IO, "open");
    assert_int_equal(strlen(error.text), AB_ERROR_TEXT_BYTES - 1);
    assert_memory_equal(error.text, "open: xx", 8);
    (void)ab_error_wrap(&error, AB_IO, "%s", text);
    assert_int_equal(strlen(error.text), AB_ERROR_TEXT_BYTES - 1);
}

static ab_err try_twice(ab_err first, int *calls)
{
    AB_TRY(first);
    (*calls)++;
    return AB_OK;
}

static void test_try_returns_on_error(void **state)
{
    (void)state;
    int calls = 0;
    assert_int_equal(try_twice(AB_FULL, &calls), AB_FULL);
    assert_ok(try_twice(AB_OK, &calls));
    assert_int_equal(calls, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_err_kind_of_known_codes),
        cmocka_unit_test(test_err_of_unknown_number_is_a_peer_error),
        cmocka_unit_test(test_err_from_errno),
        cmocka_unit_test(test_error_wraps_from_outside_in),
        cmocka_unit_test(test_error_wrap_of_empty_uses_the_code),
        cmocka_unit_test(test_error_may_quote_itself_and_be_absent),
        cmocka_unit_test(test_error_long_texts_are_cut),
        cmocka_unit_test(test_try_returns_on_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
