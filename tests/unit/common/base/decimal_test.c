#include "common/base/decimal.h"

#include "common/base/random.h"

#include "tests/support/test.h"

#include <math.h>

static void assert_decimal(const char *text, unsigned precision, unsigned scale, const char *expected)
{
    ab_int128 units = -7;
    char formatted[AB_DECIMAL_TEXT_BYTES];
    assert_ok(ab_decimal_parse(bytes_of(text), precision, scale, &units));
    assert_string_equal(ab_decimal_format(units, scale, formatted), expected);
}

static void test_decimal_parse_and_format(void **state)
{
    (void)state;
    assert_decimal("0", 10, 2, "0.00");
    assert_decimal("-0.00", 10, 2, "0.00");
    assert_decimal("12.5", 10, 2, "12.50");
    assert_decimal("+12.5000000", 10, 2, "12.50");
    assert_decimal("-0.05", 10, 2, "-0.05");
    assert_decimal("1e3", 10, 2, "1000.00");
    assert_decimal("1250E-2", 4, 1, "12.5");
    assert_decimal("0000000000000000000000000000000000000000000000001", 1, 0, "1");
    assert_decimal("1000000000000000000000000000000000000000e-39", 1, 0, "1");
    assert_decimal("0e999999999999999999999999", 1, 0, "0");
    assert_decimal("99999999999999999999999999999999999999", 38, 0, "99999999999999999999999999999999999999");
    assert_decimal("-0.99999999999999999999999999999999999999", 38, 38, "-0.99999999999999999999999999999999999999");
}

static void test_decimal_parse_refuses(void **state)
{
    (void)state;
    const char *const bad[] = {
        "", "+", "-", ".", ".5", "5.", "1e", "1e+", "1 ", " 1", "0x10", "1.2.3", "--1", "1e2.5", "nan", "1,5", "1_000"};
    const char *const wide[] = {"123.45", "1e3", "0.001", "1e-3", "99999999999999999999999999999999999999999",
        "1e99999", "1e999999999999999999999", "1e-999999999999999999999", "123456789012345678901234567890123456789.5"};
    ab_int128 units = 42;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(ab_decimal_parse(bytes_of(bad[i]), 4, 2, &units), AB_INVALID);
    }
    for (size_t i = 0; i < sizeof(wide) / sizeof(wide[0]); i++) {
        assert_int_equal(ab_decimal_parse(bytes_of(wide[i]), 4, 2, &units), AB_OVERFLOW);
    }
    assert_true(units == 42);
}

static void test_decimal_fits(void **state)
{
    (void)state;
    assert_true(ab_decimal_fits(99, 2));
    assert_true(ab_decimal_fits(-99, 2));
    assert_false(ab_decimal_fits(100, 2));
    assert_true(ab_decimal_power(38) / ab_decimal_power(37) == 10);
    ab_int128 least = (ab_int128)1 << 126;
    least = -least - least;
    assert_false(ab_decimal_fits(least, 38));
    char text[AB_DECIMAL_TEXT_BYTES];
    assert_string_equal(ab_decimal_format(least, 38, text), "-1.70141183460469231731687303715884105728");
}

static void test_bigint_parse(void **state)
{
    (void)state;
    int64_t number = 7;
    assert_ok(ab_bigint_parse(bytes_of("-9223372036854775808"), &number));
    assert_true(number == INT64_MIN);
    assert_ok(ab_bigint_parse(bytes_of("+9223372036854775807"), &number));
    assert_true(number == INT64_MAX);
    assert_ok(ab_bigint_parse(bytes_of("00000000000000000000000000012"), &number));
    assert_true(number == 12);
    assert_int_equal(ab_bigint_parse(bytes_of("9223372036854775808"), &number), AB_OVERFLOW);
    assert_int_equal(ab_bigint_parse(bytes_of("-9223372036854775809"), &number), AB_OVERFLOW);
    assert_int_equal(ab_bigint_parse(bytes_of("99999999999999999999999"), &number), AB_OVERFLOW);
    const char *const bad[] = {"", "-", "+", "1.0", "1e3", " 1", "1 ", "0x1", "--1", "99999999999999999999999x"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(ab_bigint_parse(bytes_of(bad[i]), &number), AB_INVALID);
    }
    assert_true(number == 12);
}

static double double_of(const char *text)
{
    double number = 0;
    assert_ok(ab_double_parse(bytes_of(text), &number));
    return number;
}

static void test_double_parse_forms(void **state)
{
    (void)state;
    assert_true(double_of("1.5") == 1.5);
    assert_true(double_of(".5") == 0.5);
    assert_true(double_of("5.") == 5.0);
    assert_true(double_of("-1e-3") == -0.001);
    assert_true(double_of("1e400") == (double)INFINITY);
    assert_true(double_of("1e-400") == 0.0);
    assert_true(double_of("4.9406564584124654e-324") == 0x1p-1074);
    assert_true(double_of("2.2250738585072011e-308") == 0x1.ffffffffffffep-1023);
    assert_true(double_of("9007199254740993") == 9007199254740992.0);
    assert_true(double_of("9007199254740993.00000000000000000000000000000000000000000001") == 9007199254740994.0);
    assert_true(double_of("1.7976931348623157e308") == 0x1.fffffffffffffp1023);
    assert_true(signbit(double_of("-0")));
    assert_true(isnan(double_of("NaN")));
    assert_true(isnan(double_of("-nan")));
    assert_true(double_of("-Infinity") == -(double)INFINITY);
    assert_true(double_of("INF") == (double)INFINITY);
}

static void test_double_parse_refuses(void **state)
{
    (void)state;
    const char *const bad[] = {"", " 1", "1 ", "0x10", "0x1p3", "nan(1)", "infin", "infinityx", "1e", "e5", ".", "-",
        "+-1", "1.5.2", "1,5", "1f", "1d", "\t1", "n\x01n"};
    double number = 42;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(ab_double_parse(bytes_of(bad[i]), &number), AB_INVALID);
    }
    assert_int_equal(ab_double_parse(ab_bytes_of("1\0", 2), &number), AB_INVALID);
    assert_true(number == 42);
}

static void test_double_parse_takes_long_texts(void **state)
{
    (void)state;
    char text[2000];
    memset(text, '0', sizeof(text));
    text[0] = '1';
    text[1] = '.';
    double number = 0;
    assert_ok(ab_double_parse(ab_bytes_of(text, sizeof(text)), &number));
    assert_true(number == 1.0);
    text[sizeof(text) - 1] = 'x';
    assert_int_equal(ab_double_parse(ab_bytes_of(text, sizeof(text)), &number), AB_INVALID);
}

static double random_double(struct ab_random *random)
{
    uint64_t bits = ab_random_u64(random);
    double number;
    memcpy(&number, &bits, sizeof(number));
    return number;
}

static void test_double_format_reads_back(void **state)
{
    (void)state;
    struct ab_random random;
    ab_random_init(&random, 3);
    for (int i = 0; i < 100000; i++) {
        double number = i % 2 == 0 ? random_double(&random) : (double)(int64_t)ab_random_below(&random, 1000000) / 1000;
        char text[AB_DECIMAL_TEXT_BYTES];
        double back = double_of(ab_double_format(number, text));
        assert_true(isnan(number) ? isnan(back) : back == number);
    }
}

/* The short way and strtod must agree on every text. */
static void test_double_parse_equals_strtod(void **state)
{
    (void)state;
    struct ab_random random;
    ab_random_init(&random, 5);
    for (int i = 0; i < 200000; i++) {
        char text[64];
        uint64_t digits = ab_random_u64(&random) >> ab_random_below(&random, 64);
        int exponent = (int)ab_random_below(&random, 61) - 30;
        (void)snprintf(text, sizeof(text), "%llue%d", (unsigned long long)digits, exponent);
        assert_true(double_of(text) == strtod(text, NULL));
    }
}

static void test_double_format_special_values(void **state)
{
    (void)state;
    char text[AB_DECIMAL_TEXT_BYTES];
    assert_string_equal(ab_double_format((double)NAN, text), "NaN");
    assert_string_equal(ab_double_format((double)INFINITY, text), "Infinity");
    assert_string_equal(ab_double_format(-(double)INFINITY, text), "-Infinity");
    assert_string_equal(ab_double_format(-0.0, text), "0");
    assert_string_equal(ab_double_format(0.1, text), "0.10000000000000001");
    assert_int_equal(strlen(ab_double_format(-0x1.ffffffffffffep-1023, text)), 24);
}

static void test_double_canonical(void **state)
{
    (void)state;
    uint64_t bits = UINT64_C(0xfff8000000000123);
    double number;
    memcpy(&number, &bits, sizeof(number));
    number = ab_double_canonical(number);
    memcpy(&bits, &number, sizeof(bits));
    assert_true(bits == UINT64_C(0x7ff8000000000000));
    assert_false(signbit(ab_double_canonical(-0.0)));
    assert_true(ab_double_canonical(-1.5) == -1.5);
}

static void test_decimal_to_double_rounds_once(void **state)
{
    (void)state;
    assert_true(ab_decimal_to_double(15, 1) == 1.5);
    assert_true(ab_decimal_to_double(-1, 2) == -0.01);
    assert_true(ab_decimal_to_double(((ab_int128)1 << 53) + 1, 0) == 9007199254740992.0);
    assert_true(ab_decimal_to_double((((ab_int128)1 << 53) + 1) * 10 + 1, 1) == 9007199254740994.0);
    struct ab_random random;
    ab_random_init(&random, 11);
    for (int i = 0; i < 50000; i++) {
        ab_int128 units =
            ((ab_int128)(int64_t)ab_random_u64(&random) * ((ab_int128)1 << 40)) >> ab_random_below(&random, 104);
        unsigned scale = (unsigned)ab_random_below(&random, 39);
        char text[AB_DECIMAL_TEXT_BYTES];
        assert_true(ab_decimal_to_double(units, scale) == strtod(ab_decimal_format(units, scale, text), NULL));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decimal_parse_and_format),
        cmocka_unit_test(test_decimal_parse_refuses),
        cmocka_unit_test(test_decimal_fits),
        cmocka_unit_test(test_bigint_parse),
        cmocka_unit_test(test_double_parse_forms),
        cmocka_unit_test(test_double_parse_refuses),
        cmocka_unit_test(test_double_parse_takes_long_texts),
        cmocka_unit_test(test_double_format_reads_back),
        cmocka_unit_test(test_double_parse_equals_strtod),
        cmocka_unit_test(test_double_format_special_values),
        cmocka_unit_test(test_double_canonical),
        cmocka_unit_test(test_decimal_to_double_rounds_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
