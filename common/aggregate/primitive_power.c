/* CUBES and FOURTHS: sums of third and fourth powers. Of BIGINT and DECIMAL they are exact. Of DOUBLE each power is a
 * fixed expression, (x * x) * x and (x * x) * (x * x) in double arithmetic, so two roundings at most, and the sum of
 * these doubles is exact; a power beyond the range of DOUBLE counts as an infinity. */
#include "common/aggregate/primitive_exact.h"
#include "common/aggregate/primitive_integer.h"

/* ---- DOUBLE ---- */

static inline double power_of(enum ab_primitive_kind kind, double number)
{
    double square = number * number;
    return kind == AB_PRIMITIVE_CUBES_DOUBLE ? square * number : square * square;
}

static void base_choose(struct ab_primitive_context *context, const struct ab_primitive_batch *batch)
{
    const double *values = batch->column->values;
    int32_t low = INT32_MAX;
    int32_t high = INT32_MIN;
    for (size_t i = 0; i < batch->count; i++) {
        double power = power_of(context->kind, values[batch->rows[i]]);
        uint64_t bits;
        memcpy(&bits, &power, sizeof(bits));
        uint32_t biased = (uint32_t)(bits >> 52) & 0x7ff;
        if (bits << 1 != 0 && biased != 0x7ff) {
            int32_t lowest = (int32_t)(biased + (biased == 0)) - 1075;
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
    const double *values = batch->column->values;
    if (!context->has_base) {
        base_choose(context, batch);
    }
    int32_t base = ab_primitive_exact_base(context, batch);
    for (size_t i = 0; i < batch->count; i++) {
        ab_exact_sum_add(context, (void *)(batch->states + batch->stride * batch->groups[i]),
            power_of(context->kind, values[batch->rows[i]]), base);
    }
}

static ab_err fourths_validate(struct ab_bytes payload, uint8_t *type_kind)
{
    /* As of squares in sign, as of sums in range. */
    AB_TRY(ab_exact_validate_sum(payload, type_kind));
    return (payload.data[0] & (AB_EXACT_NEGATIVE | AB_EXACT_MINUS_INFINITY)) == 0 ? AB_OK : AB_CORRUPT;
}

const struct ab_primitive_ops ab_primitive_cubes_double = {
    .name = "cubes_double",
    .state_bytes = ab_exact_sum_bytes,
    .update = double_update,
    .merge = ab_exact_merge_state,
    .encode = ab_exact_encode_state,
    .validate = ab_exact_validate_sum,
    .absorb = ab_exact_absorb_state,
    .release = ab_exact_release_state,
    .print = ab_exact_print_state,
};

const struct ab_primitive_ops ab_primitive_fourths_double = {
    .name = "fourths_double",
    .state_bytes = ab_exact_sum_bytes,
    .update = double_update,
    .merge = ab_exact_merge_state,
    .encode = ab_exact_encode_state,
    .validate = fourths_validate,
    .absorb = ab_exact_absorb_state,
    .release = ab_exact_release_state,
    .print = ab_exact_print_state,
};

/* ---- BIGINT and DECIMAL ---- */

static uint32_t words_of(const struct ab_primitive_context *context)
{
    return context->kind == AB_PRIMITIVE_CUBES_INTEGER ? AB_INTEGER_CUBES_WORDS : AB_INTEGER_FOURTHS_WORDS;
}

static size_t cubes_state_bytes(struct ab_type type)
{
    (void)type;
    return AB_INTEGER_CUBES_WORDS * sizeof(uint64_t);
}

static size_t fourths_state_bytes(struct ab_type type)
{
    (void)type;
    return AB_INTEGER_FOURTHS_WORDS * sizeof(uint64_t);
}

/* Fills AB_INTEGER_WORDS_MAX words. */
static void integer_power(enum ab_primitive_kind kind, ab_int128 number, uint64_t *words)
{
    ab_uint128 magnitude = number < 0 ? -(ab_uint128)number : (ab_uint128)number;
    const uint64_t x[2] = {(uint64_t)magnitude, (uint64_t)(magnitude >> 64)};
    uint64_t square[4];
    memset(words, 0, AB_INTEGER_WORDS_MAX * sizeof(uint64_t));
    ab_integer_multiply(x, 2, x, 2, square);
    if (kind == AB_PRIMITIVE_CUBES_INTEGER) {
        ab_integer_multiply(square, 4, x, 2, words);
        if (number < 0) {
            ab_integer_negate(words, AB_INTEGER_CUBES_WORDS);
        }
    } else {
        ab_integer_multiply(square, 4, square, 4, words);
    }
}

static void integer_update(struct ab_primitive_context *context, const struct ab_primitive_batch *batch)
{
    uint32_t count = words_of(context);
    for (size_t i = 0; i < batch->count; i++) {
        uint64_t words[AB_INTEGER_WORDS_MAX];
        integer_power(context->kind, ab_integer_at(batch->column, batch->rows[i]), words);
        ab_integer_add((void *)(batch->states + batch->stride * batch->groups[i]), words, count);
    }
}

static void integer_merge(struct ab_primitive_context *context, void *state,
    const struct ab_primitive_context *other_context, const void *other)
{
    (void)other_context;
    ab_integer_add(state, other, words_of(context));
}

static void integer_encode(const struct ab_primitive_context *context, const void *state, struct ab_buffer *out)
{
    ab_integer_put(out, state, words_of(context), context->kind == AB_PRIMITIVE_CUBES_INTEGER);
}

static ab_err cubes_validate(struct ab_bytes payload, uint8_t *type_kind)
{
    *type_kind = 0;
    return ab_integer_validate_signed(payload, AB_INTEGER_CUBES_WORDS * sizeof(uint64_t));
}

static ab_err fourths_integer_validate(struct ab_bytes payload, uint8_t *type_kind)
{
    *type_kind = 0;
    return ab_integer_validate_unsigned(payload, AB_INTEGER_FOURTHS_WORDS * sizeof(uint64_t));
}

static void integer_absorb(struct ab_primitive_context *context, void *state, struct ab_bytes payload)
{
    uint64_t words[AB_INTEGER_WORDS_MAX];
    uint32_t count = words_of(context);
    ab_integer_take(payload, words, count, context->kind == AB_PRIMITIVE_CUBES_INTEGER);
    ab_integer_add(state, words, count);
}

const struct ab_primitive_ops ab_primitive_cubes_integer = {
    .name = "cubes_integer",
    .state_bytes = cubes_state_bytes,
    .update = integer_update,
    .merge = integer_merge,
    .encode = integer_encode,
    .validate = cubes_validate,
    .absorb = integer_absorb,
    .print = ab_integer_print_signed,
};

const struct ab_primitive_ops ab_primitive_fourths_integer = {
    .name = "fourths_integer",
    .state_bytes = fourths_state_bytes,
    .update = integer_update,
    .merge = integer_merge,
    .encode = integer_encode,
    .validate = fourths_integer_validate,
    .absorb = integer_absorb,
    .print = ab_integer_print_unsigned,
};
