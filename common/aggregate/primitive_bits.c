/* BIT_AND, BIT_OR, BIT_XOR: bitwise over BIGINT. A payload is the 8 bytes of the word, little-endian; empty = no value.
 * BIT_XOR depends on how often a value comes, as in PostgreSQL. */
#include "common/aggregate/primitive_bits.h"

struct bits_state {
    uint64_t has_value;
    uint64_t word;
};

static size_t bits_state_bytes(struct ab_type type)
{
    (void)type;
    return sizeof(struct bits_state);
}

static inline void bits_take(enum ab_primitive_kind kind, struct bits_state *state, uint64_t word)
{
    uint64_t old = state->word;
    state->word = kind == AB_PRIMITIVE_BIT_AND  ? (state->has_value != 0 ? old & word : word)
                  : kind == AB_PRIMITIVE_BIT_OR ? old | word
                                                : old ^ word;
    state->has_value = 1;
}

static void bits_update(struct ab_primitive_context *context, const struct ab_primitive_batch *batch)
{
    const int64_t *values = batch->column->values;
    for (size_t i = 0; i < batch->count; i++) {
        bits_take(context->kind, (void *)(batch->states + batch->stride * batch->groups[i]),
            (uint64_t)values[batch->rows[i]]);
    }
}

static void bits_merge(struct ab_primitive_context *context, void *state,
    const struct ab_primitive_context *other_context, const void *other_bytes)
{
    (void)other_context;
    const struct bits_state *other = other_bytes;
    if (other->has_value != 0) {
        bits_take(context->kind, state, other->word);
    }
}

static void bits_encode(const struct ab_primitive_context *context, const void *state_bytes, struct ab_buffer *out)
{
    (void)context;
    const struct bits_state *state = state_bytes;
    if (state->has_value != 0) {
        ab_buffer_put(out, &state->word, sizeof(state->word));
    }
}

static ab_err bits_validate(struct ab_bytes payload, uint8_t *type_kind)
{
    *type_kind = 0;
    return payload.bytes == 0 || payload.bytes == sizeof(uint64_t) ? AB_OK : AB_CORRUPT;
}

static void bits_absorb(struct ab_primitive_context *context, void *state, struct ab_bytes payload)
{
    if (payload.bytes > 0) {
        uint64_t word;
        memcpy(&word, payload.data, sizeof(word));
        bits_take(context->kind, state, word);
    }
}

static void bits_print(struct ab_bytes payload, struct ab_buffer *out)
{
    if (payload.bytes > 0) {
        uint64_t word;
        memcpy(&word, payload.data, sizeof(word));
        ab_buffer_put_format(out, "%lld", (long long)word);
    }
}

bool ab_primitive_bits_value(const void *state_bytes, int64_t *number)
{
    const struct bits_state *state = state_bytes;
    *number = (int64_t)state->word;
    return state->has_value != 0;
}

#define BITS_OPS(text)                                                                                                 \
    {                                                                                                                  \
        .name = text, .state_bytes = bits_state_bytes, .update = bits_update, .merge = bits_merge,                     \
        .encode = bits_encode, .validate = bits_validate, .absorb = bits_absorb, .print = bits_print                   \
    }

const struct ab_primitive_ops ab_primitive_bit_and = BITS_OPS("bit_and");
const struct ab_primitive_ops ab_primitive_bit_or = BITS_OPS("bit_or");
const struct ab_primitive_ops ab_primitive_bit_xor = BITS_OPS("bit_xor");
