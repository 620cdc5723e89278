/* MIN and MAX: the least or greatest value in value order. */
#include "common/aggregate/cell.h"
#include "common/aggregate/primitive.h"

/* A state. DECIMAL and TEXT use all of it, the other types only the first two words. */
struct extreme_state {
    uint64_t has_value;
    union ab_cell cell;
};

static size_t extreme_state_bytes(struct ab_type type)
{
    bool is_wide = type.kind == AB_TYPE_DECIMAL || type.kind == AB_TYPE_TEXT;
    return is_wide ? sizeof(struct extreme_state) : 2 * sizeof(uint64_t);
}

/* +1 keeps the greater, -1 the lesser. */
static inline int direction_of(const struct ab_primitive_context *context)
{
    return context->kind == AB_PRIMITIVE_MAX ? 1 : -1;
}

static void extreme_take(struct ab_primitive_context *context, struct extreme_state *state, const union ab_cell *cell)
{
    uint8_t kind = context->type.kind;
    bool is_wide = kind == AB_TYPE_DECIMAL || kind == AB_TYPE_TEXT;
    if (!is_wide) {
        bool wins = state->has_value == 0 || (direction_of(context) > 0 ? cell->word.low > state->cell.word.low
                                                                        : cell->word.low < state->cell.word.low);
        state->cell.word.low = wins ? cell->word.low : state->cell.word.low;
        state->has_value = 1;
        return;
    }
    if (state->has_value == 0 || ab_cell_compare(kind, cell, &state->cell) * direction_of(context) > 0) {
        ab_cell_assign(kind, &state->cell, state->has_value != 0, cell, context->memory);
        state->has_value = 1;
    }
}

static inline void word_take(struct extreme_state *state, uint64_t word, bool is_max)
{
    uint64_t old = state->cell.word.low;
    bool wins = (is_max ? word > old : word < old) | (state->has_value == 0);
    state->cell.word.low = wins ? word : old;
    state->has_value = 1;
}

static inline void bigint_update(const struct ab_primitive_batch *batch, bool is_max)
{
    const int64_t *values = batch->column->values;
    for (size_t i = 0; i < batch->count; i++) {
        word_take(
            (void *)(batch->states + batch->stride * batch->groups[i]), ab_cell_bigint(values[batch->rows[i]]), is_max);
    }
}

static inline void double_update(const struct ab_primitive_batch *batch, bool is_max)
{
    const double *values = batch->column->values;
    for (size_t i = 0; i < batch->count; i++) {
        word_take(
            (void *)(batch->states + batch->stride * batch->groups[i]), ab_cell_double(values[batch->rows[i]]), is_max);
    }
}

static void extreme_update(struct ab_primitive_context *context, const struct ab_primitive_batch *batch)
{
    bool is_max = context->kind == AB_PRIMITIVE_MAX;
    if (context->type.kind == AB_TYPE_BIGINT || context->type.kind == AB_TYPE_TIMESTAMP) {
        if (is_max) {
            bigint_update(batch, true);
        } else {
            bigint_update(batch, false);
        }
        return;
    }
    if (context->type.kind == AB_TYPE_DOUBLE) {
        if (is_max) {
            double_update(batch, true);
        } else {
            double_update(batch, false);
        }
        return;
    }
    for (size_t i = 0; i < batch->count; i++) {
        union ab_cell cell = ab_cell_of_column(batch->column, batch->rows[i]);
        extreme_take(context, (void *)(batch->states + batch->stride * batch->groups[i]), &cell);
    }
}

static void extreme_merge(struct ab_primitive_context *context, void *state,
    const struct ab_primitive_context *other_context, const void *other_bytes)
{
    (void)other_context;
    const struct extreme_state *other = other_bytes;
    if (other->has_value != 0) {
        extreme_take(context, state, &other->cell);
    }
}

static void extreme_encode(const struct ab_primitive_context *context, const void *state_bytes, struct ab_buffer *out)
{
    const struct extreme_state *state = state_bytes;
    if (state->has_value != 0) {
        ab_buffer_put_u8(out, context->type.kind);
        ab_cell_put(context->type.kind, &state->cell, out);
    }
}

static ab_err extreme_validate(struct ab_bytes payload, uint8_t *type_kind)
{
    *type_kind = 0;
    if (payload.bytes == 0) {
        return AB_OK;
    }
    AB_TRY(ab_cell_validate(payload.data[0], ab_bytes_of(payload.data + 1, payload.bytes - 1)));
    *type_kind = payload.data[0];
    return AB_OK;
}

static void extreme_absorb(struct ab_primitive_context *context, void *state, struct ab_bytes payload)
{
    if (payload.bytes > 0) {
        union ab_cell cell = ab_cell_take(payload.data[0], ab_bytes_of(payload.data + 1, payload.bytes - 1));
        extreme_take(context, state, &cell);
    }
}

static void extreme_release(struct ab_primitive_context *context, void *state_bytes)
{
    struct extreme_state *state = state_bytes;
    if (context->type.kind == AB_TYPE_TEXT) {
        ab_cell_release(context->type.kind, &state->cell, context->memory);
    }
    memset(state, 0, extreme_state_bytes(context->type));
}

const union ab_cell *ab_primitive_extreme_cell(const void *state_bytes)
{
    const struct extreme_state *state = state_bytes;
    return state->has_value != 0 ? &state->cell : NULL;
}

const struct ab_primitive_ops ab_primitive_min = {
    .name = "min",
    .state_bytes = extreme_state_bytes,
    .update = extreme_update,
    .merge = extreme_merge,
    .encode = extreme_encode,
    .validate = extreme_validate,
    .absorb = extreme_absorb,
    .release = extreme_release,
    .selects = -1,
};

const struct ab_primitive_ops ab_primitive_max = {
    .name = "max",
    .state_bytes = extreme_state_bytes,
    .update = extreme_update,
    .merge = extreme_merge,
    .encode = extreme_encode,
    .validate = extreme_validate,
    .absorb = extreme_absorb,
    .release = extreme_release,
    .selects = 1,
};
