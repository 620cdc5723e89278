/* COUNT, SUM_INTEGER and SQUARES_INTEGER: integers wide enough that nothing overflows, added modulo their width. */
#include "common/aggregate/primitive_integer.h"

#define SUM_WORDS 3
#define SQUARES_WORDS 5

/* ---- COUNT ---- */

static size_t count_state_bytes(struct ab_type type)
{
    (void)type;
    return sizeof(uint64_t);
}

static void count_update(struct ab_primitive_context *context, const struct ab_primitive_batch *batch)
{
    (void)context;
    uint8_t *states = batch->states;
    size_t stride = batch->stride;
    for (size_t i = 0; i < batch->count; i++) {
        ++*(uint64_t *)(void *)(states + stride * batch->groups[i]);
    }
}

static void count_merge(struct ab_primitive_context *context, void *state,
    const struct ab_primitive_context *other_context, const void *other)
{
    (void)context;
    (void)other_context;
    *(uint64_t *)state += *(const uint64_t *)other;
}

static void count_encode(const struct ab_primitive_context *context, const void *state, struct ab_buffer *out)
{
    (void)context;
    ab_integer_put(out, state, 1, false);
}

static ab_err count_validate(struct ab_bytes payload, uint8_t *type_kind)
{
    *type_kind = 0;
    return ab_integer_validate_unsigned(payload, sizeof(uint64_t));
}

static void count_absorb(struct ab_primitive_context *context, void *state, struct ab_bytes payload)
{
    (void)context;
    uint64_t count;
    ab_integer_take(payload, &count, 1, false);
    *(uint64_t *)state += count;
}

const struct ab_primitive_ops ab_primitive_count = {
    .name = "count",
    .state_bytes = count_state_bytes,
    .update = count_update,
    .merge = count_merge,
    .encode = count_encode,
    .validate = count_validate,
    .absorb = count_absorb,
    .print = ab_integer_print_unsigned,
};

/* ---- SUM_INTEGER ---- */

static size_t sum_state_bytes(struct ab_type type)
{
    (void)type;
    return SUM_WORDS * sizeof(uint64_t);
}

static inline void sum_add(uint64_t *words, ab_int128 number)
{
    ab_uint128 low = (ab_uint128)words[1] << 64 | words[0];
    ab_uint128 sum = low + (ab_uint128)number;
    words[0] = (uint64_t)sum;
    words[1] = (uint64_t)(sum >> 64);
    words[2] += (uint64_t)(sum < low) + (number < 0 ? UINT64_MAX : 0);
}

static inline ab_int128 decimal_at(const struct ab_column *column, uint32_t row)
{
    ab_int128 units;
    memcpy(&units, (const uint8_t *)column->values + (size_t)row * sizeof(units), sizeof(units));
    return units;
}

static void sum_update(struct ab_primitive_context *context, const struct ab_primitive_batch *batch)
{
    uint8_t *states = batch->states;
    size_t stride = batch->stride;
    if (context->type.kind == AB_TYPE_DECIMAL) {
        for (size_t i = 0; i < batch->count; i++) {
            sum_add(
                (uint64_t *)(void *)(states + stride * batch->groups[i]), decimal_at(batch->column, batch->rows[i]));
        }
        return;
    }
    const int64_t *values = batch->column->values;
    for (size_t i = 0; i < batch->count; i++) {
        sum_add((uint64_t *)(void *)(states + stride * batch->groups[i]), values[batch->rows[i]]);
    }
}

static void sum_merge(struct ab_primitive_context *context, void *state,
    const struct ab_primitive_context *other_context, const void *other)
{
    (void)context;
    (void)other_context;
    ab_integer_add(state, other, SUM_WORDS);
}

static void sum_encode(const struct ab_primitive_context *context, const void *state, struct ab_buffer *out)
{
    (void)context;
    ab_integer_put(out, state, SUM_WORDS, true);
}

static ab_err sum_validate(struct ab_bytes payload, uint8_t *type_kind)
{
    *type_kind = 0;
    return ab_integer_validate_signed(payload, SUM_WORDS * sizeof(uint64_t));
}

static void sum_absorb(struct ab_primitive_context *context, void *state, struct ab_bytes payload)
{
    (void)context;
    uint64_t words[SUM_WORDS];
    ab_integer_take(payload, words, SUM_WORDS, true);
    ab_integer_add(state, words, SUM_WORDS);
}

const struct ab_primitive_ops ab_primitive_sum_integer = {
    .name = "sum_integer",
    .state_bytes = sum_state_bytes,
    .update = sum_update,
    .merge = sum_merge,
    .encode = sum_encode,
    .validate = sum_validate,
    .absorb = sum_absorb,
    .print = ab_integer_print_signed,
};

/* ---- SQUARES_INTEGER ---- */

static size_t squares_state_bytes(struct ab_type type)
{
    (void)type;
    return SQUARES_WORDS * sizeof(uint64_t);
}

/* words += magnitude squared: (h 2^64 + l)^2 = h^2 2^128 + 2 h l 2^64 + l^2. */
static void squares_add_wide(uint64_t *words, ab_uint128 magnitude)
{
    uint64_t low = (uint64_t)magnitude;
    uint64_t high = (uint64_t)(magnitude >> 64);
    ab_uint128 low_low = (ab_uint128)low * low;
    ab_uint128 middle = (ab_uint128)high * low;
    ab_uint128 high_high = (ab_uint128)high * high;
    uint64_t square[SQUARES_WORDS] = {
        (uint64_t)low_low, (uint64_t)(low_low >> 64), (uint64_t)high_high, (uint64_t)(high_high >> 64), 0};
    uint64_t twice[SQUARES_WORDS] = {0, (uint64_t)middle << 1, (uint64_t)(middle >> 63), (uint64_t)(middle >> 127), 0};
    ab_integer_add(square, twice, SQUARES_WORDS);
    ab_integer_add(words, square, SQUARES_WORDS);
}

static inline void squares_add(uint64_t *words, int64_t number)
{
    uint64_t magnitude = number < 0 ? -(uint64_t)number : (uint64_t)number;
    ab_uint128 low = (ab_uint128)words[1] << 64 | words[0];
    ab_uint128 sum = low + (ab_uint128)magnitude * magnitude;
    words[0] = (uint64_t)sum;
    words[1] = (uint64_t)(sum >> 64);
    uint64_t carry = sum < low;
    for (uint32_t i = 2; carry != 0 && i < SQUARES_WORDS; i++) {
        words[i] += carry;
        carry = words[i] == 0;
    }
}

static void squares_update(struct ab_primitive_context *context, const struct ab_primitive_batch *batch)
{
    uint8_t *states = batch->states;
    size_t stride = batch->stride;
    if (context->type.kind == AB_TYPE_DECIMAL) {
        for (size_t i = 0; i < batch->count; i++) {
            ab_int128 units = decimal_at(batch->column, batch->rows[i]);
            squares_add_wide((uint64_t *)(void *)(states + stride * batch->groups[i]),
                units < 0 ? -(ab_uint128)units : (ab_uint128)units);
        }
        return;
    }
    const int64_t *values = batch->column->values;
    for (size_t i = 0; i < batch->count; i++) {
        squares_add((uint64_t *)(void *)(states + stride * batch->groups[i]), values[batch->rows[i]]);
    }
}

static void squares_merge(struct ab_primitive_context *context, void *state,
    const struct ab_primitive_context *other_context, const void *other)
{
    (void)context;
    (void)other_context;
    ab_integer_add(state, other, SQUARES_WORDS);
}

static void squares_encode(const struct ab_primitive_context *context, const void *state, struct ab_buffer *out)
{
    (void)context;
    ab_integer_put(out, state, SQUARES_WORDS, false);
}

static ab_err squares_validate(struct ab_bytes payload, uint8_t *type_kind)
{
    *type_kind = 0;
    return ab_integer_validate_unsigned(payload, SQUARES_WORDS * sizeof(uint64_t));
}

static void squares_absorb(struct ab_primitive_context *context, void *state, struct ab_bytes payload)
{
    (void)context;
    uint64_t words[SQUARES_WORDS];
    ab_integer_take(payload, words, SQUARES_WORDS, false);
    ab_integer_add(state, words, SQUARES_WORDS);
}

const struct ab_primitive_ops ab_primitive_squares_integer = {
    .name = "squares_integer",
    .state_bytes = squares_state_bytes,
    .update = squares_update,
    .merge = squares_merge,
    .encode = squares_encode,
    .validate = squares_validate,
    .absorb = squares_absorb,
    .print = ab_integer_print_unsigned,
};
