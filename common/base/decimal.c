#include "common/base/decimal.h"

#include "common/base/assert.h"
#include "common/base/memory.h"

#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

/* Exponents are kept below this bound; no text that fits memory gets near it. */
#define EXPONENT_BOUND INT64_C(1000000000000000)
/* Largest power of ten that is exact as a DOUBLE. */
#define DOUBLE_POWER_EXACT 22
#define DOUBLE_INTEGER_EXACT (UINT64_C(1) << 53)

static locale_t c_locale;
static pthread_once_t c_locale_once = PTHREAD_ONCE_INIT;

static void c_locale_make(void)
{
    c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    AB_ASSERT(c_locale != (locale_t)0);
}

static locale_t c_locale_get(void)
{
    AB_ASSERT(pthread_once(&c_locale_once, c_locale_make) == 0);
    return c_locale;
}

ab_int128 ab_decimal_power(unsigned exponent)
{
    AB_ASSERT(exponent <= AB_DECIMAL_PRECISION_MAX);
    static const int64_t powers[] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000, 1000000000,
        10000000000, 100000000000, 1000000000000, 10000000000000, 100000000000000, 1000000000000000, 10000000000000000,
        100000000000000000, 1000000000000000000};
    ab_int128 power = 1;
    for (; exponent > 18; exponent -= 18) {
        power *= powers[18];
    }
    return power * powers[exponent];
}

static ab_uint128 magnitude_of(ab_int128 units)
{
    return units < 0 ? -(ab_uint128)units : (ab_uint128)units;
}

bool ab_decimal_fits(ab_int128 units, unsigned precision)
{
    return magnitude_of(units) < (ab_uint128)ab_decimal_power(precision);
}

/* A decimal number taken apart: magnitude * 10^exponent, without trailing zeros in the magnitude. */
struct number_parts {
    ab_uint128 magnitude;
    unsigned digits; /* of the magnitude; 0 when it is 0 */
    int64_t exponent;
    bool is_negative;
    bool is_long; /* more than 38 significant digits: magnitude is not whole */
};

static bool at_digit(const struct ab_reader *reader)
{
    return ab_reader_left(reader) > 0 && *reader->at >= '0' && *reader->at <= '9';
}

/* Adds the digits at the reader; counts in *zeros those zeros that are not yet in the magnitude. Returns how many. */
static int64_t take_mantissa(struct ab_reader *reader, struct number_parts *parts, int64_t *zeros)
{
    int64_t taken = 0;
    for (; at_digit(reader); taken++) {
        unsigned digit = *reader->at++ - (unsigned)'0';
        if (digit == 0) {
            *zeros += parts->digits > 0;
            continue;
        }
        if (parts->digits + *zeros + 1 > AB_DECIMAL_PRECISION_MAX) {
            parts->is_long = true;
            continue;
        }
        parts->magnitude = parts->magnitude * (ab_uint128)ab_decimal_power((unsigned)*zeros + 1) + digit;
        parts->digits = parts->digits == 0 ? 1 : parts->digits + (unsigned)*zeros + 1;
        *zeros = 0;
    }
    return taken;
}

static bool take_sign(struct ab_reader *reader)
{
    bool is_negative = ab_reader_left(reader) > 0 && *reader->at == '-';
    if (is_negative || (ab_reader_left(reader) > 0 && *reader->at == '+')) {
        reader->at++;
    }
    return is_negative;
}

static bool take_exponent(struct ab_reader *reader, int64_t *exponent)
{
    bool is_negative = take_sign(reader);
    int64_t value = 0;
    if (!at_digit(reader)) {
        return false;
    }
    while (at_digit(reader)) {
        value = value * 10 + (*reader->at++ - '0');
        value = value > EXPONENT_BOUND ? EXPONENT_BOUND : value;
    }
    *exponent = is_negative ? -value : value;
    return true;
}

/* Reads [+-]digits[.digits][e[+-]digits]. */
static bool number_split(struct ab_bytes text, struct number_parts *parts)
{
    struct ab_reader reader = ab_reader_of(text);
    int64_t zeros = 0;
    int64_t fraction_digits = 0;
    int64_t exponent = 0;
    *parts = (struct number_parts){.is_negative = take_sign(&reader)};
    if (take_mantissa(&reader, parts, &zeros) == 0) {
        return false;
    }
    if (ab_reader_left(&reader) > 0 && *reader.at == '.') {
        reader.at++;
        fraction_digits = take_mantissa(&reader, parts, &zeros);
        if (fraction_digits == 0) {
            return false;
        }
    }
    if (ab_reader_left(&reader) > 0 && (*reader.at == 'e' || *reader.at == 'E')) {
        reader.at++;
        if (!take_exponent(&reader, &exponent)) {
            return false;
        }
    }
    parts->exponent = exponent - fraction_digits + zeros;
    return ab_reader_left(&reader) == 0;
}

ab_err ab_decimal_parse(struct ab_bytes text, unsigned precision, unsigned scale, ab_int128 *units)
{
    struct number_parts parts;
    if (!number_split(text, &parts)) {
        return AB_INVALID;
    }
    if (parts.digits == 0) {
        *units = 0;
        return AB_OK;
    }
    int64_t shift = parts.exponent + (int64_t)scale;
    if (parts.is_long || shift < 0 || shift > (int64_t)precision - (int64_t)parts.digits) {
        return AB_OVERFLOW;
    }
    ab_int128 value = (ab_int128)parts.magnitude * ab_decimal_power((unsigned)shift);
    *units = parts.is_negative ? -value : value;
    return AB_OK;
}

const char *ab_decimal_format(ab_int128 units, unsigned scale, char text[AB_DECIMAL_TEXT_BYTES])
{
    AB_ASSERT(scale <= AB_DECIMAL_PRECISION_MAX);
    char reversed[AB_DECIMAL_TEXT_BYTES];
    size_t used = 0;
    ab_uint128 rest = magnitude_of(units);
    for (unsigned digit = 0; rest != 0 || digit <= scale; digit++) {
        if (digit == scale && scale > 0) {
            reversed[used++] = '.';
        }
        reversed[used++] = (char)('0' + (int)(rest % 10));
        rest /= 10;
    }
    char *at = text;
    if (units < 0) {
        *at++ = '-';
    }
    while (used > 0) {
        *at++ = reversed[--used];
    }
    *at = '\0';
    return text;
}

ab_err ab_bigint_parse(struct ab_bytes text, int64_t *number)
{
    struct ab_reader reader = ab_reader_of(text);
    bool is_negative = take_sign(&reader);
    if (!at_digit(&reader)) {
        return AB_INVALID;
    }
    int64_t value = 0; /* kept negative: that side reaches further */
    bool has_overflowed = false;
    for (; at_digit(&reader); reader.at++) {
        has_overflowed |= __builtin_mul_overflow(value, (int64_t)10, &value);
        has_overflowed |= __builtin_sub_overflow(value, (int64_t)(*reader.at - '0'), &value);
    }
    if (ab_reader_left(&reader) > 0) {
        return AB_INVALID;
    }
    if (has_overflowed || (!is_negative && value == INT64_MIN)) {
        return AB_OVERFLOW;
    }
    *number = is_negative ? value : -value;
    return AB_OK;
}

/* magnitude * 10^exponent where both are exact as DOUBLE, so that one operation rounds once (Clinger 1990). */
static bool double_exact(const struct number_parts *parts, double *number)
{
    static const double powers[DOUBLE_POWER_EXACT + 1] = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11,
        1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    if (parts->is_long || parts->magnitude > DOUBLE_INTEGER_EXACT || parts->exponent > DOUBLE_POWER_EXACT ||
        parts->exponent < -DOUBLE_POWER_EXACT) {
        return false;
    }
    double value = (double)(uint64_t)parts->magnitude;
    value = parts->exponent < 0 ? value / powers[-parts->exponent] : value * powers[parts->exponent];
    *number = parts->is_negative ? -value : value;
    return true;
}

static bool text_is_word(struct ab_bytes text, const char *word)
{
    size_t length = strlen(word);
    for (size_t i = 0; i < length && text.bytes == length; i++) {
        if ((text.data[i] | 0x20) != (uint8_t)word[i]) {
            return false;
        }
    }
    return text.bytes == length;
}

static bool double_word(struct ab_bytes text, double *number)
{
    struct ab_reader reader = ab_reader_of(text);
    bool is_negative = take_sign(&reader);
    struct ab_bytes word = ab_bytes_of(reader.at, ab_reader_left(&reader));
    double value;
    if (text_is_word(word, "nan")) {
        value = (double)NAN;
    } else if (text_is_word(word, "inf") || text_is_word(word, "infinity")) {
        value = (double)INFINITY;
    } else {
        return false;
    }
    *number = is_negative ? -value : value;
    return true;
}

/* The general way: strtod rounds correctly whatever the length. False when it does not take the whole text. */
static bool double_strtod(struct ab_bytes text, double *number)
{
    char small[128];
    char *copy = small;
    if (text.bytes >= sizeof(small)) {
        copy = ab_new_text_of(text);
    } else if (text.bytes > 0) {
        memcpy(small, text.data, text.bytes);
    }
    copy[text.bytes] = '\0';
    char *end = copy;
    double value = strtod_l(copy, &end, c_locale_get());
    bool is_whole = text.bytes > 0 && end == copy + text.bytes;
    if (copy != small) {
        ab_delete(copy);
    }
    if (is_whole) {
        *number = value;
    }
    return is_whole;
}

ab_err ab_double_parse(struct ab_bytes text, double *number)
{
    struct number_parts parts;
    if (number_split(text, &parts) && double_exact(&parts, number)) {
        return AB_OK;
    }
    if (double_word(text, number)) {
        return AB_OK;
    }
    /* Only what a decimal number is made of reaches strtod: no spaces, hexadecimal floats or nan(...). */
    for (size_t i = 0; i < text.bytes; i++) {
        uint8_t c = text.data[i];
        if ((c < '0' || c > '9') && c != '.' && c != '+' && c != '-' && c != 'e' && c != 'E') {
            return AB_INVALID;
        }
    }
    return double_strtod(text, number) ? AB_OK : AB_INVALID;
}

double ab_decimal_to_double(ab_int128 units, unsigned scale)
{
    struct number_parts parts = {
        .magnitude = magnitude_of(units), .exponent = -(int64_t)scale, .is_negative = units < 0};
    double number = 0;
    if (!double_exact(&parts, &number)) {
        char text[AB_DECIMAL_TEXT_BYTES];
        AB_ASSERT(double_strtod(ab_bytes_of_text(ab_decimal_format(units, scale, text)), &number));
    }
    return number;
}

const char *ab_double_format(double number, char text[AB_DECIMAL_TEXT_BYTES])
{
    if (isnan(number) || isinf(number)) {
        const char *word = isnan(number) ? "NaN" : number > 0 ? "Infinity" : "-Infinity";
        (void)snprintf(text, AB_DECIMAL_TEXT_BYTES, "%s", word);
        return text;
    }
    locale_t before = uselocale(c_locale_get());
    (void)snprintf(text, AB_DECIMAL_TEXT_BYTES, "%.17g", ab_double_canonical(number));
    (void)uselocale(before);
    return text;
}

double ab_double_canonical(double number)
{
    if (isnan(number)) {
        uint64_t bits = UINT64_C(0x7ff8000000000000);
        double canonical;
        memcpy(&canonical, &bits, sizeof(canonical));
        return canonical;
    }
    return number == 0 ? 0.0 : number;
}
