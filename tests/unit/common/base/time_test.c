#include "common/base/time.h"

#include "common/base/random.h"

#include "tests/support/test.h"

static ab_time_us parsed(const char *text)
{
    ab_time_us time = 0;
    assert_ok(ab_time_parse(bytes_of(text), &time));
    return time;
}

static void test_time_parse_forms(void **state)
{
    (void)state;
    assert_true(parsed("1970-01-01") == 0);
    assert_true(parsed("2013-06-01T05:17:00Z") == INT64_C(1370063820000000));
    assert_true(parsed("2013-06-01 05:17") == INT64_C(1370063820000000));
    assert_true(parsed("2013-06-01 05:17:00.5") == INT64_C(1370063820500000));
    assert_true(parsed("2013-06-01T05:17:00.000001Z") == INT64_C(1370063820000001));
    assert_true(parsed("2013-06-01T07:17:00+02:00") == INT64_C(1370063820000000));
    assert_true(parsed("2013-05-31 23:47-05:30") == INT64_C(1370063820000000));
    assert_true(parsed("1969-12-31T23:59:59.999999Z") == -1);
    assert_true(parsed("0000-01-01") == INT64_C(-62167219200000000));
    assert_true(parsed("9999-12-31T23:59:59.999999Z") == INT64_C(253402300799999999));
    assert_true(parsed("2000-02-29") == INT64_C(951782400000000));
}

static void test_time_parse_refuses(void **state)
{
    (void)state;
    const char *const bad[] = {"", "2013", "2013-06", "2013-6-1", "2013-06-01T", "2013-06-01 ", "2013-02-30",
        "2013-02-29", "1900-02-29", "2013-00-01", "2013-13-01", "2013-01-00", "2013-04-31", "2013-01-32",
        "2013-06-01T24:00:00Z", "2013-06-01T23:60:00Z", "2013-06-01T23:59:60Z", "2013-06-01T5:17",
        "2013-06-01T05:17:00.", "2013-06-01T05:17:00.1234567", "2013-06-01T05:17:00z", "2013-06-01t05:17:00",
        "2013-06-01T05:17:00+2", "2013-06-01T05:17:00+0200", "2013-06-01T05:17:00+24:00", "2013-06-01T05:17:00+02:60",
        "2013-06-01T05:17:00ZZ", "2013-06-01T05:17:00Z ", " 2013-06-01", "+2013-06-01", "-013-06-01", "2013-06-01Z",
        "2013/06/01", "2013-06-01T05", "2013-06-01T05:17.5", "20a3-06-01"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ab_time_us time = 42;
        assert_int_equal(ab_time_parse(bytes_of(bad[i]), &time), AB_INVALID);
        assert_true(time == 42);
    }
}

static void test_time_parse_of_every_truncation_is_safe(void **state)
{
    (void)state;
    const char *whole = "2013-06-01T05:17:00.123456+02:30";
    for (size_t cut = 0; cut <= strlen(whole); cut++) {
        ab_time_us time = 42;
        char *copy = ab_new_text_of(ab_bytes_of(whole, cut));
        ab_err err = ab_time_parse(ab_bytes_of(copy, cut), &time);
        assert_true(err == AB_OK || (err == AB_INVALID && time == 42));
        ab_delete(copy);
    }
}

static void assert_formats(ab_time_us time, const char *expected)
{
    char text[AB_TIME_TEXT_BYTES];
    assert_string_equal(ab_time_format(time, text), expected);
}

static void test_time_format_forms(void **state)
{
    (void)state;
    assert_formats(0, "1970-01-01T00:00:00Z");
    assert_formats(-1, "1969-12-31T23:59:59.999999Z");
    assert_formats(INT64_C(1370063820000000), "2013-06-01T05:17:00Z");
    assert_formats(INT64_C(1370063820100000), "2013-06-01T05:17:00.1Z");
    assert_formats(INT64_C(1370063820000120), "2013-06-01T05:17:00.00012Z");
    assert_formats(INT64_C(-62167219200000000), "0000-01-01T00:00:00Z");
    assert_formats(INT64_MAX, "+294247-01-10T04:00:54.775807Z");
    assert_formats(INT64_MIN, "-290308-12-21T19:59:05.224192Z");
}

static void test_time_format_reads_back(void **state)
{
    (void)state;
    struct ab_random random;
    ab_random_init(&random, 7);
    uint64_t width = UINT64_C(62167219200000000) + UINT64_C(253402300800000000);
    for (int i = 0; i < 100000; i++) {
        ab_time_us time = (ab_time_us)ab_random_below(&random, width) - INT64_C(62167219200000000);
        char text[AB_TIME_TEXT_BYTES];
        assert_true(parsed(ab_time_format(time, text)) == time);
    }
}

static void test_time_days_are_consecutive(void **state)
{
    (void)state;
    /* Every day of 400 years and a bit, counted by hand. */
    static const unsigned lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int64_t days = -25567; /* 1900-01-01 */
    for (unsigned year = 1900; year <= 2304; year++) {
        bool is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
        for (unsigned month = 1; month <= 12; month++) {
            unsigned length = lengths[month - 1] + (month == 2 && is_leap);
            for (unsigned day = 1; day <= length; day++, days++) {
                char text[AB_TIME_TEXT_BYTES];
                (void)snprintf(text, sizeof(text), "%04u-%02u-%02u", year, month, day);
                assert_true(parsed(text) == days * AB_US_PER_DAY);
            }
        }
    }
}

static void test_time_floor_before_1970(void **state)
{
    (void)state;
    assert_true(ab_time_floor(-1, 10) == -10);
    assert_true(ab_time_floor(-10, 10) == -10);
    assert_true(ab_time_floor(19, 10) == 10);
    assert_true(ab_time_floor(0, 10) == 0);
}

static void test_time_clocks_move(void **state)
{
    (void)state;
    int64_t before = ab_time_monotonic_us();
    ab_time_sleep_us(2000);
    ab_time_sleep_us(-1);
    assert_true(ab_time_monotonic_us() - before >= 2000);
    assert_true(ab_time_now() > INT64_C(1600000000000000));
    assert_true(ab_time_process_cpu_ns() >= ab_time_thread_cpu_ns() / 2);
    assert_true(ab_time_thread_cpu_ns() > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_time_parse_forms),
        cmocka_unit_test(test_time_parse_refuses),
        cmocka_unit_test(test_time_parse_of_every_truncation_is_safe),
        cmocka_unit_test(test_time_format_forms),
        cmocka_unit_test(test_time_format_reads_back),
        cmocka_unit_test(test_time_days_are_consecutive),
        cmocka_unit_test(test_time_floor_before_1970),
        cmocka_unit_test(test_time_clocks_move),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
