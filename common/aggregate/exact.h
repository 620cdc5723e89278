/* exact: signed numbers words * 2^position of any size that sums of DOUBLE need, and their one rounding.
 *
 * Used where states are encoded, merged and finished, never per row. The largest numbers are the fourth power of a sum
 * and the square of count * sum of squares: exponents -4296 .. 4484, so AB_EXACT_WORDS_MAX words are enough for any sum
 * of a few of them and for the words a division adds. Nothing here calls libm.
 *
 * Threads: values.
 */
#ifndef ANABRANCH_COMMON_AGGREGATE_EXACT_H
#define ANABRANCH_COMMON_AGGREGATE_EXACT_H

#include "common/base/bytes.h"

#define AB_EXACT_WORDS_MAX 144

struct ab_exact {
    bool is_negative;
    uint32_t words_count;               /* the top word is not 0; no words = zero */
    int32_t position;                   /* exponent of bit 0 */
    uint64_t words[AB_EXACT_WORDS_MAX]; /* magnitude, least significant first */
};

/* Sets from two's complement words; count <= AB_EXACT_WORDS_MAX. */
void ab_exact_from_words(struct ab_exact *exact, const uint64_t *words, uint32_t count, int32_t position);

/* Shifts out low zero bits, so that the magnitude is odd; zero gets position 0 and no sign: one form per value. */
void ab_exact_normalise(struct ab_exact *exact);

/* Bits of the magnitude; 0 for zero. */
uint32_t ab_exact_bits(const struct ab_exact *exact);

/* out = a + b, or a - b. out may be neither a nor b. */
void ab_exact_add(const struct ab_exact *a, const struct ab_exact *b, struct ab_exact *out);
void ab_exact_subtract(const struct ab_exact *a, const struct ab_exact *b, struct ab_exact *out);

/* out = a * b; out may be neither. */
void ab_exact_multiply(const struct ab_exact *a, const struct ab_exact *b, struct ab_exact *out);

/* exact *= factor. */
void ab_exact_multiply_word(struct ab_exact *exact, uint64_t factor);

/* exact / (product of the divisors), none of them 0, rounded once to nearest, ties to even; beyond the range of DOUBLE
 * it is infinite, as IEEE 754 has it. At most 8 divisors. */
double ab_exact_divide(const struct ab_exact *exact, const uint64_t *divisors, uint32_t divisors_count);

/* a / b, b not zero, rounded once to nearest, ties to even, as ab_exact_divide. Time grows with the words of b. */
double ab_exact_quotient(const struct ab_exact *a, const struct ab_exact *b);

/* The number as a 128-bit integer; false when it is not one or does not fit. */
bool ab_exact_to_int128(const struct ab_exact *exact, ab_int128 *number);

/* out = (words[0 .. count) << shift) in two's complement, as many words as `out_count`; false when the magnitude does
 * not stay below 2^(64 * out_count - 2). shift >= 0. */
bool ab_exact_to_words(const struct ab_exact *exact, uint32_t shift, uint64_t *out, uint32_t out_count);

#endif
