/* MIN and MAX: the least or greatest value in value order. */
#include "common/aggregate/primitive_extreme.h"

/* A state. DECIMAL and TEXT use all of it, BOOLEAN, BIGINT and TIMESTAMP the first two words; DOUBLE has one word of
 * its own (primitive_extreme.h). */
struct extreme_state {
    uint64_t has_value;
    union ab_cell cell;
};

static size_t extreme_state_bytes(struct ab_type type)
{
    bool is_wide = type.kind == AB_TYPE_DECIMAL || type.kind == AB_TYPE_TEXT;
    return is_wide                       ? sizeof(struct extreme_state)
           : type.kind == AB_TYPE_DOUBLE ? sizeof(uint64_t)
                                         : 2 * sizeof(uint64_t);
}

/* +1 keeps the greater, -1 the lesser. */
static inline int direction_of(const struct ab_primitive_context *context)
{
    return context->kind == AB_PRIMITIVE_MAX ? 1 : -1;
}

static void extreme_take(struct ab_primitive_context *context, void *state_bytes, const union ab_cell *cell)
{
    struct extreme_state *state = state_bytes;
    uint8_t kind = context->type.kind;
    if (kind == AB_TYPE_DOUBLE) {
        ab_extreme_take(state_bytes, ab_extreme_word(context->kind, cell->word.low));
        return;
    }
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

static void double_update(struct ab_primitive_context *context, const struct ab_primitive_batch *batch)
{
    const double *values = batch->column->values;
    for (size_t i = 0; i < batch->count; i++) {
        uint64_t *state = (void *)(batch->states + batch->stride * batch->groups[i]);
        ab_extreme_take(state, ab_extreme_word(context->kind, ab_cell_double(values[batch->rows[i]])));
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
        double_update(context, batch);
        return;
    }
    for (size_t i = 0; i < batch->count; i++) {
        union ab_cell cell = ab_cell_of_column(batch->column, batch->rows[i]);
        extreme_take(context, (void *)(batch->states + batch->stride * batch->groups[i]), &cell);
    }
}

bool ab_primitive_extreme_cell(const struct ab_primitive_context *context, const void *state_bytes, union ab_cell *cell)
{
    const struct extreme_state *state = state_bytes;
    if (context->type.kind == AB_TYPE_DOUBLE) {
        uint64_t word = *(const uint64_t *)state_bytes;
        cell->word.low = ab_extreme_word(context->kind, word);
        return word != 0;
    }
    if (state->has_value == 0) {
        return false;
    }
    memcpy(cell, &state->cell, extreme_state_bytes(context->type) - sizeof(state->has_value));
    return true;
}

static void extreme_merge(struct ab_primitive_context *context, void *state,
    const struct ab_primitive_context *other_context, const void *other)
{
    union ab_cell cell;
    if (ab_primitive_extreme_cell(other_context, other, &cell)) {
        extreme_take(context, state, &cell);
    }
}

static void extreme_encode(const struct ab_primitive_context *context, const void *state, struct ab_buffer *out)
{
    union ab_cell cell;
    if (ab_primitive_extreme_cell(context, state, &cell)) {
        ab_buffer_put_u8(out, context->type.kind);
        ab_cell_put(context->type.kind, &cell, out);
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

const struct ab_primitive_ops ab_primitive_min = {
    .name = "min",
    .state_bytes = extreme_state_bytes,
    .update = extreme_update,
    .merge = extreme_merge,
    .encode = extreme_encode,
    .validate = extreme_validate,
    .absorb = extreme_absorb,
    .release = extreme_release,
    .print = ab_cell_print,
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
    .print = ab_cell_print,
    .selects = 1,
};
