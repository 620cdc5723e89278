#include "speed/span_window.h"

#include "tests/support/test.h"

static void test_span_window_tells_what_is_gone_here_and_not_reached(void **state)
{
    (void)state;
    assert_int_equal(ab_span_window_of(0, 1, 0), AB_SPANS_HERE); /* before any cut */
    assert_int_equal(ab_span_window_of(0, 1, 1), AB_SPANS_AHEAD);
    assert_int_equal(ab_span_window_of(3, 6, 2), AB_SPANS_GONE);
    assert_int_equal(ab_span_window_of(3, 6, 3), AB_SPANS_HERE);
    assert_int_equal(ab_span_window_of(3, 6, 5), AB_SPANS_HERE);
    assert_int_equal(ab_span_window_of(3, 6, 6), AB_SPANS_AHEAD);
}

static void test_span_window_trims_least_of_all_bounds(void **state)
{
    (void)state;
    assert_int_equal(ab_span_trim_limit(0, 0, 0), 0);
    assert_int_equal(ab_span_trim_limit(10, 20, 30), 9);
    assert_int_equal(ab_span_trim_limit(20, 10, 30), 9);
    assert_int_equal(ab_span_trim_limit(30, 20, 10), 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_span_window_tells_what_is_gone_here_and_not_reached),
        cmocka_unit_test(test_span_window_trims_least_of_all_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
