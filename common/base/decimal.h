/* decimal: DECIMAL(p, s) as a 128-bit integer of units of 10^-s, p <= 38; and numbers as text.
 *
 * Reading and printing are exact. DOUBLE is read to the nearest value and printed so that reading gives it back.
 */
#ifndef ANABRANCH_COMMON_BASE_DECIMAL_H
#define ANABRANCH_COMMON_BASE_DECIMAL_H

#include "common/base/bytes.h"

#define AB_DECIMAL_PRECISION_MAX 38
#define AB_DECIMAL_TEXT_BYTES 48

/* 10^exponent; exponent 0..38. */
ab_int128 ab_decimal_power(unsigned exponent);

/* True when |units| has at most `precision` digits. */
bool ab_decimal_fits(ab_int128 units, unsigned precision);

/* Reads [+-]digits[.digits][e[+-]digits]; AB_INVALID when it is not a number, AB_OVERFLOW when it does not fit
 * (precision, scale) exactly (trailing zeros beyond the scale are fine; other digits there are an error, not
 * rounded). */
AB_MUST_USE ab_err ab_decimal_parse(struct ab_bytes text, unsigned precision, unsigned scale, ab_int128 *units);

/* Writes with exactly `scale` digits after the point. Returns text. */
const char *ab_decimal_format(ab_int128 units, unsigned scale, char text[AB_DECIMAL_TEXT_BYTES]);

/* Reads a whole number [+-]digits; AB_INVALID or AB_OVERFLOW. */
AB_MUST_USE ab_err ab_bigint_parse(struct ab_bytes text, int64_t *number);

/* Reads a DOUBLE as strtod in the C locale does, the whole text, also inf, infinity and nan in any case; AB_INVALID. */
AB_MUST_USE ab_err ab_double_parse(struct ab_bytes text, double *number);

/* Nearest double to units * 10^-scale, correctly rounded. */
double ab_decimal_to_double(ab_int128 units, unsigned scale);

/* Writes 17 significant digits (%.17g); NaN, Infinity, -Infinity; -0 as 0. Returns text. */
const char *ab_double_format(double number, char text[AB_DECIMAL_TEXT_BYTES]);

/* One bit pattern for NaN (0x7ff8000000000000) and +0 for -0; all else unchanged. */
double ab_double_canonical(double number);

#endif
