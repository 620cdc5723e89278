/* PRODUCTS_DOUBLE and PRODUCTS_INTEGER: exact sums of the products of two columns; states as those of squares (Neal
 * 2015, primitive_exact.c), with a sign. */
#include "common/aggregate/primitive_exact.h"
#include "common/aggregate/primitive_integer.h"

#define PRODUCTS_WORDS 5
#define MANTISSA_MASK ((UINT64_C(1) << 52) - 1)

/* ---- PRODUCTS_DOUBLE ---- */

/* A double taken apart: mantissa * 2^lowest. */
struct parts {
    uint64_t mantissa;
    int32_t lowest;
    bool is_negative;
    bool is_special; /* NaN or infinite */
};

static inline struct parts parts_of(double number)
{
    uint64_t bits;
    memcpy(&bits, &number, sizeof(bits));
    uint32_t biased = (uint32_t)(bits >> 52) & 0x7ff;
    return (struct parts){.mantissa = (bits & MANTISSA_MASK) | (uint64_t)(biased != 0) << 52,
        .lowest = (int32_t)(biased + (biased == 0)) - 1075,
        .is_negative = bits >> 63 != 0,
        .is_special = biased == 0x7ff};
}

static void product_add_outside(struct ab_primitive_context *context, struct ab_exact_state *state,
    ab_uint128 magnitude, int32_t position, bool is_negative)
{
    const uint64_t words[3] = {(uint64_t)magnitude, (uint64_t)(magnitude >> 64), 0};
    struct ab_exact exact;
    ab_exact_from_words(&exact, words, 3, position);
    exact.is_negative = is_negative;
    ab_exact_add_exact(context, state, &exact);
}

/* By IEEE 754: an infinity times zero is NaN. */
static void product_add_special(struct ab_primitive_context *context, struct ab_exact_state *state, double product)
{
    ab_exact_flag(context, state,
        product != product ? AB_EXACT_NAN
        : product > 0      ? AB_EXACT_PLUS_INFINITY
                           : AB_EXACT_MINUS_INFINITY);
}

static void base_choose(struct ab_primitive_context *context, const struct ab_primitive_batch *batch)
{
    const double *left = batch->columns[0]->values;
    const double *right = batch->columns[1]->values;
    int32_t low = INT32_MAX;
    int32_t high = INT32_MIN;
    for (size_t i = 0; i < batch->count; i++) {
        struct parts a = parts_of(left[batch->rows[i]]);
        struct parts b = parts_of(right[batch->rows[i]]);
        if (a.mantissa != 0 && b.mantissa != 0 && !a.is_special && !b.is_special) {
            int32_t lowest = a.lowest + b.lowest;
            low = lowest < low ? lowest : low;
            high = lowest > high ? lowest : high;
        }
    }
    if (low <= high) {
        ab_exact_base_choose(context, low, high);
    }
}

static void double_update(struct ab_primitive_context *context, const struct ab_primitive_batch *batch)
{
    const double *left = batch->columns[0]->values;
    const double *right = batch->columns[1]->values;
    if (!context->has_base) {
        base_choose(context, batch);
    }
    for (size_t i = 0; i < batch->count; i++) {
        struct ab_exact_state *state = (void *)(batch->states + batch->stride * batch->groups[i]);
        struct parts a = parts_of(left[batch->rows[i]]);
        struct parts b = parts_of(right[batch->rows[i]]);
        ab_uint128 magnitude = (ab_uint128)a.mantissa * b.mantissa;
        bool is_negative = a.is_negative != b.is_negative;
        if (__builtin_expect(a.is_special || b.is_special, 0)) {
            product_add_special(context, state, left[batch->rows[i]] * right[batch->rows[i]]);
        } else if (magnitude != 0) { /* then there is a base */
            uint32_t shift = (uint32_t)(a.lowest + b.lowest - context->base);
            if (__builtin_expect(shift > AB_EXACT_WIDE_SHIFT_MAX, 0)) {
                product_add_outside(context, state, magnitude, a.lowest + b.lowest, is_negative);
            } else {
                ab_exact_wide_add(state, magnitude, shift, is_negative);
            }
        }
    }
}

const struct ab_primitive_ops ab_primitive_products_double = {
    .name = "products_double",
    .state_bytes = ab_exact_wide_bytes,
    .update = double_update,
    .merge = ab_exact_merge_state,
    .encode = ab_exact_encode_state,
    .validate = ab_exact_validate_products,
    .absorb = ab_exact_absorb_state,
    .release = ab_exact_release_state,
    .print = ab_exact_print_state,
};

/* ---- PRODUCTS_INTEGER ---- */

static size_t integer_state_bytes(struct ab_type type)
{
    (void)type;
    return PRODUCTS_WORDS * sizeof(uint64_t);
}

/* words = a * b as two's complement of 5 words. */
static void product_of(ab_int128 a, ab_int128 b, uint64_t *words)
{
    ab_uint128 left = a < 0 ? -(ab_uint128)a : (ab_uint128)a;
    ab_uint128 right = b < 0 ? -(ab_uint128)b : (ab_uint128)b;
    const uint64_t x[2] = {(uint64_t)left, (uint64_t)(left >> 64)};
    const uint64_t y[2] = {(uint64_t)right, (uint64_t)(right >> 64)};
    ab_integer_multiply(x, 2, y, 2, words);
    words[4] = 0;
    if ((a < 0) != (b < 0)) {
        ab_integer_negate(words, PRODUCTS_WORDS);
    }
}

static void integer_update(struct ab_primitive_context *context, const struct ab_primitive_batch *batch)
{
    (void)context;
    for (size_t i = 0; i < batch->count; i++) {
        uint64_t words[PRODUCTS_WORDS];
        uint32_t row = batch->rows[i];
        product_of(ab_integer_at(batch->columns[0], row), ab_integer_at(batch->columns[1], row), words);
        ab_integer_add((void *)(batch->states + batch->stride * batch->groups[i]), words, PRODUCTS_WORDS);
    }
}

static void integer_merge(struct ab_primitive_context *context, void *state,
    const struct ab_primitive_context *other_context, const void *other)
{
    (void)context;
    (void)other_context;
    ab_integer_add(state, other, PRODUCTS_WORDS);
}

static void integer_encode(const struct ab_primitive_context *context, const void *state, struct ab_buffer *out)
{
    (void)context;
    ab_integer_put(out, state, PRODUCTS_WORDS, true);
}

static ab_err integer_validate(struct ab_bytes payload, uint8_t *type_kind)
{
    *type_kind = 0;
    return ab_integer_validate_signed(payload, PRODUCTS_WORDS * sizeof(uint64_t));
}

static void integer_absorb(struct ab_primitive_context *context, void *state, struct ab_bytes payload)
{
    (void)context;
    uint64_t words[PRODUCTS_WORDS];
    ab_integer_take(payload, words, PRODUCTS_WORDS, true);
    ab_integer_add(state, words, PRODUCTS_WORDS);
}

const struct ab_primitive_ops ab_primitive_products_integer = {
    .name = "products_integer",
    .state_bytes = integer_state_bytes,
    .update = integer_update,
    .merge = integer_merge,
    .encode = integer_encode,
    .validate = integer_validate,
    .absorb = integer_absorb,
    .print = ab_integer_print_signed,
};
