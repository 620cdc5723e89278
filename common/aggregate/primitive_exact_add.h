/* primitive_exact_add: adding a double to the state of SUM_DOUBLE, for loops that update several primitives at once;
 * primitive_exact.c tells what a state is. Threads: as primitive.h. */
#ifndef ANABRANCH_COMMON_AGGREGATE_PRIMITIVE_EXACT_ADD_H
#define ANABRANCH_COMMON_AGGREGATE_PRIMITIVE_EXACT_ADD_H

#include "common/aggregate/primitive.h"

#define AB_EXACT_STATE_WORDS_MAX 4
/* How far above the base the lowest bit of a value (53 bits), a square or a product (106 bits) may stand. */
#define AB_EXACT_SUM_SHIFT_MAX 74
#define AB_EXACT_WIDE_SHIFT_MAX 84

struct ab_exact_outside;

/* A state of a sum of doubles, squares or products. A sum has 3 words and ends there. */
struct ab_exact_state {
    struct ab_exact_outside *outside; /* owned; NULL until needed */
    uint64_t words[AB_EXACT_STATE_WORDS_MAX];
};

/* The base to add the rows of a batch at; chosen now if these are the first. */
int32_t ab_primitive_exact_base(struct ab_primitive_context *context, const struct ab_primitive_batch *batch);

/* Adds a number (SQUARES: its square) that misses the window to the accumulator outside. */
void ab_exact_add_outside(struct ab_primitive_context *context, struct ab_exact_state *state, double number);

/* Adds a number to a sum. */
static inline void ab_exact_sum_add(
    struct ab_primitive_context *context, struct ab_exact_state *state, double number, int32_t base)
{
    uint64_t bits;
    memcpy(&bits, &number, sizeof(bits));
    uint32_t biased = (uint32_t)(bits >> 52) & 0x7ff;
    uint32_t shift = (uint32_t)((int32_t)(biased + (biased == 0)) - 1075 - base);
    if (__builtin_expect(shift > AB_EXACT_SUM_SHIFT_MAX, 0)) {
        if (bits << 1 != 0) {
            ab_exact_add_outside(context, state, number);
        }
        return;
    }
    int64_t mantissa = (int64_t)((bits & ((UINT64_C(1) << 52) - 1)) | (uint64_t)(biased != 0) << 52);
    int64_t sign = (int64_t)bits >> 63;
    mantissa = (mantissa ^ sign) - sign;
    ab_uint128 value = (ab_uint128)(ab_int128)mantissa << shift;
    ab_uint128 low = (ab_uint128)state->words[1] << 64 | state->words[0];
    ab_uint128 sum = low + value;
    state->words[0] = (uint64_t)sum;
    state->words[1] = (uint64_t)(sum >> 64);
    state->words[2] += (uint64_t)(sum < low) + (uint64_t)(mantissa >> 63);
}

/* Adds a magnitude of at most 106 bits, shifted by at most AB_EXACT_WIDE_SHIFT_MAX, to a state of 4 words. */
static inline void ab_exact_wide_add(
    struct ab_exact_state *state, ab_uint128 magnitude, uint32_t shift, bool is_negative)
{
    uint32_t skip = shift >> 6;
    uint32_t part = shift & 63;
    ab_uint128 low_part = magnitude << part;
    uint64_t top = part == 0 ? 0 : (uint64_t)(magnitude >> (128 - part));
    ab_uint128 low = skip == 0 ? low_part : low_part << 64;
    ab_uint128 high = skip == 0 ? top : (ab_uint128)top << 64 | (uint64_t)(low_part >> 64);
    if (is_negative) {
        low = -low;
        high = ~high + (low == 0);
    }
    ab_uint128 old = (ab_uint128)state->words[1] << 64 | state->words[0];
    ab_uint128 sum = old + low;
    ab_uint128 above = ((ab_uint128)state->words[3] << 64 | state->words[2]) + high + (sum < old);
    state->words[0] = (uint64_t)sum;
    state->words[1] = (uint64_t)(sum >> 64);
    state->words[2] = (uint64_t)above;
    state->words[3] = (uint64_t)(above >> 64);
}

#endif
