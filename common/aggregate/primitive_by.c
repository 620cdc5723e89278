/* MIN_BY and MAX_BY: of two columns, the value of the first at the least or greatest of the second; among equal keys
 * the least identity wins for both, and among rows that claim one identity the least value. */
#include "common/aggregate/primitive_by.h"

#include "common/aggregate/primitive_identity.h"

struct by_state {
    struct ab_identity identity;
    uint8_t has_value;
    uint8_t value_kind;
    uint8_t key_kind;
    union ab_cell key;   /* owned */
    union ab_cell value; /* owned */
};

_Static_assert(sizeof(struct by_state) <= AB_PRIMITIVE_STATE_WORDS_MAX * sizeof(uint64_t), "merged without a catalog");

static size_t by_state_bytes(struct ab_type type)
{
    (void)type;
    return sizeof(struct by_state);
}

/* Whether `other` takes the place of a state that has a value. */
static bool does_win(enum ab_primitive_kind kind, const struct by_state *other, const struct by_state *state)
{
    int order = ab_cell_compare(state->key_kind, &other->key, &state->key);
    if (order != 0) {
        return kind == AB_PRIMITIVE_MAX_BY ? order > 0 : order < 0;
    }
    order = ab_identity_compare(&other->identity, &state->identity);
    return (order != 0 ? order : ab_cell_compare(state->value_kind, &other->value, &state->value)) < 0;
}

/* `other` borrows its text; it is copied if it wins. */
static void by_take(struct ab_primitive_context *context, struct by_state *state, const struct by_state *other)
{
    bool has_old = state->has_value != 0;
    if (has_old && !does_win(context->kind, other, state)) {
        return;
    }
    ab_cell_assign(other->key_kind, &state->key, has_old, &other->key, context->memory);
    ab_cell_assign(other->value_kind, &state->value, has_old, &other->value, context->memory);
    state->identity = other->identity;
    state->key_kind = other->key_kind;
    state->value_kind = other->value_kind;
    state->has_value = 1;
}

static void by_update(struct ab_primitive_context *context, const struct ab_primitive_batch *batch)
{
    struct by_state other = {.has_value = 1, .value_kind = context->types[0].kind, .key_kind = context->types[1].kind};
    for (size_t i = 0; i < batch->count; i++) {
        uint32_t row = batch->rows[i];
        other.identity = ab_identity_of(batch->identity, row);
        other.value = ab_cell_of_column(batch->columns[0], row);
        other.key = ab_cell_of_column(batch->columns[1], row);
        by_take(context, (void *)(batch->states + batch->stride * batch->groups[i]), &other);
    }
}

static void by_merge(struct ab_primitive_context *context, void *state,
    const struct ab_primitive_context *other_context, const void *other_bytes)
{
    (void)other_context;
    const struct by_state *other = other_bytes;
    if (other->has_value != 0) {
        by_take(context, state, other);
    }
}

/* ---- payload ---- */

static void by_head_put(const struct ab_primitive_context *context, struct ab_buffer *out)
{
    ab_buffer_put_u8(out, context->types[0].kind);
    ab_buffer_put_u8(out, context->types[1].kind);
}

static size_t by_head_bytes(struct ab_bytes payload)
{
    (void)payload;
    return 2;
}

static void by_encode(const struct ab_primitive_context *context, const void *state_bytes, struct ab_buffer *out)
{
    (void)context;
    const struct by_state *state = state_bytes;
    if (state->has_value != 0) {
        ab_buffer_put_u8(out, state->value_kind);
        ab_buffer_put_u8(out, state->key_kind);
        ab_identity_put(&state->identity, out);
        ab_cell_put_ended(state->key_kind, &state->key, out);
        ab_cell_put_ended(state->value_kind, &state->value, out);
    }
}

/* Reads a payload that is not empty; text is borrowed. AB_CORRUPT. */
static ab_err by_read(struct ab_bytes payload, struct by_state *state)
{
    struct ab_reader reader = ab_reader_of(payload);
    memset(state, 0, sizeof(*state));
    state->has_value = 1;
    state->value_kind = ab_reader_u8(&reader);
    state->key_kind = ab_reader_u8(&reader);
    struct ab_bytes identity = ab_reader_bytes(&reader, AB_IDENTITY_BYTES);
    if (reader.has_failed) {
        return AB_CORRUPT;
    }
    state->identity = ab_identity_take(identity.data);
    AB_TRY(ab_cell_take_ended(&reader, state->key_kind, &state->key));
    AB_TRY(ab_cell_take_ended(&reader, state->value_kind, &state->value));
    return ab_reader_finish(&reader);
}

static ab_err by_validate(struct ab_bytes payload, uint8_t *type_kind)
{
    struct by_state state;
    *type_kind = 0;
    return payload.bytes == 0 ? AB_OK : by_read(payload, &state);
}

static void by_absorb(struct ab_primitive_context *context, void *state, struct ab_bytes payload)
{
    struct by_state other;
    if (payload.bytes > 0 && by_read(payload, &other) == AB_OK) {
        by_take(context, state, &other);
    }
}

static void by_release(struct ab_primitive_context *context, void *state_bytes)
{
    struct by_state *state = state_bytes;
    if (state->has_value != 0) {
        ab_cell_release(state->key_kind, &state->key, context->memory);
        ab_cell_release(state->value_kind, &state->value, context->memory);
    }
    memset(state, 0, sizeof(*state));
}

static void cell_print(uint8_t type_kind, const union ab_cell *cell, struct ab_buffer *out)
{
    struct ab_type type = {.kind = type_kind, .precision = type_kind == AB_TYPE_DECIMAL ? 38 : 0};
    struct ab_value value = ab_cell_value(type, cell);
    ab_value_format(&value, out);
}

static void by_print(struct ab_bytes payload, struct ab_buffer *out)
{
    struct by_state state;
    if (payload.bytes > 0 && by_read(payload, &state) == AB_OK) {
        cell_print(state.value_kind, &state.value, out);
        ab_buffer_put_bytes(out, ab_bytes_of_text("@"));
        cell_print(state.key_kind, &state.key, out);
    }
}

bool ab_primitive_by_cell(const void *state_bytes, union ab_cell *cell)
{
    const struct by_state *state = state_bytes;
    *cell = state->value;
    return state->has_value != 0;
}

const struct ab_primitive_ops ab_primitive_min_by = {
    .name = "min_by",
    .state_bytes = by_state_bytes,
    .update = by_update,
    .merge = by_merge,
    .encode = by_encode,
    .validate = by_validate,
    .absorb = by_absorb,
    .release = by_release,
    .head_bytes = by_head_bytes,
    .head_put = by_head_put,
    .print = by_print,
    .needs_identity = true,
};

const struct ab_primitive_ops ab_primitive_max_by = {
    .name = "max_by",
    .state_bytes = by_state_bytes,
    .update = by_update,
    .merge = by_merge,
    .encode = by_encode,
    .validate = by_validate,
    .absorb = by_absorb,
    .release = by_release,
    .head_bytes = by_head_bytes,
    .head_put = by_head_put,
    .print = by_print,
    .needs_identity = true,
};
