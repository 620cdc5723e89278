/* FIRST and LAST: the value at the least or greatest (event time, partition, offset, row). */
#include "common/aggregate/primitive_identity.h"

#include "common/aggregate/cell.h"

struct identity_state {
    int64_t time;
    uint64_t offset;
    int64_t row;
    uint32_t partition;
    uint32_t has_value;
    union ab_cell cell;
};

static size_t identity_state_bytes(struct ab_type type)
{
    (void)type;
    return sizeof(struct identity_state);
}

/* Orders by identity, then by value, so that even rows that claim one identity merge the same way in any order. */
static inline int identity_compare(uint8_t kind, const struct identity_state *a, const struct identity_state *b)
{
    if (__builtin_expect(a->time != b->time, 1)) {
        return a->time < b->time ? -1 : 1;
    }
    if (a->partition != b->partition) {
        return a->partition < b->partition ? -1 : 1;
    }
    if (a->offset != b->offset) {
        return a->offset < b->offset ? -1 : 1;
    }
    if (a->row != b->row) {
        return a->row < b->row ? -1 : 1;
    }
    return ab_cell_compare(kind, &a->cell, &b->cell);
}

/* `other` borrows its text; it is copied if it wins. */
static inline void identity_take(
    struct ab_primitive_context *context, struct identity_state *state, const struct identity_state *other)
{
    uint8_t kind = context->type.kind;
    int direction = context->kind == AB_PRIMITIVE_LAST ? 1 : -1;
    if (state->has_value != 0 && identity_compare(kind, other, state) * direction <= 0) {
        return;
    }
    ab_cell_assign(kind, &state->cell, state->has_value != 0, &other->cell, context->memory);
    state->time = other->time;
    state->offset = other->offset;
    state->row = other->row;
    state->partition = other->partition;
    state->has_value = 1;
}

static void identity_update(struct ab_primitive_context *context, const struct ab_primitive_batch *batch)
{
    const struct ab_primitive_identity *identity = batch->identity;
    struct identity_state other = {.partition = identity->partition, .has_value = 1};
    for (size_t i = 0; i < batch->count; i++) {
        uint32_t row = batch->rows[i];
        other.time = identity->times == NULL ? INT64_MIN : identity->times[row];
        other.offset = identity->offsets == NULL ? identity->offset : (uint64_t)identity->offsets[row];
        other.row = identity->ordinals == NULL ? (int64_t)row : identity->ordinals[row];
        other.cell = ab_cell_of_column(batch->column, row);
        identity_take(context, (void *)(batch->states + batch->stride * batch->groups[i]), &other);
    }
}

static void identity_merge(struct ab_primitive_context *context, void *state,
    const struct ab_primitive_context *other_context, const void *other_bytes)
{
    (void)other_context;
    const struct identity_state *other = other_bytes;
    if (other->has_value != 0) {
        identity_take(context, state, other);
    }
}

static void identity_encode(const struct ab_primitive_context *context, const void *state_bytes, struct ab_buffer *out)
{
    const struct identity_state *state = state_bytes;
    if (state->has_value == 0) {
        return;
    }
    const struct ab_identity identity = {
        .time = state->time, .offset = state->offset, .row = state->row, .partition = state->partition};
    ab_identity_put(&identity, out);
    ab_buffer_put_u8(out, context->type.kind);
    ab_cell_put(context->type.kind, &state->cell, out);
}

static ab_err identity_validate(struct ab_bytes payload, uint8_t *type_kind)
{
    *type_kind = 0;
    if (payload.bytes == 0) {
        return AB_OK;
    }
    if (payload.bytes <= AB_IDENTITY_BYTES) {
        return AB_CORRUPT;
    }
    const uint8_t *at = payload.data + AB_IDENTITY_BYTES;
    AB_TRY(ab_cell_validate(at[0], ab_bytes_of(at + 1, payload.bytes - AB_IDENTITY_BYTES - 1)));
    *type_kind = at[0];
    return AB_OK;
}

static void identity_absorb(struct ab_primitive_context *context, void *state, struct ab_bytes payload)
{
    if (payload.bytes == 0) {
        return;
    }
    struct ab_identity identity = ab_identity_take(payload.data);
    const uint8_t *at = payload.data + AB_IDENTITY_BYTES;
    struct identity_state other = {
        .time = identity.time,
        .offset = identity.offset,
        .row = identity.row,
        .partition = identity.partition,
        .has_value = 1,
        .cell = ab_cell_take(at[0], ab_bytes_of(at + 1, payload.bytes - AB_IDENTITY_BYTES - 1)),
    };
    identity_take(context, state, &other);
}

static void identity_release(struct ab_primitive_context *context, void *state_bytes)
{
    struct identity_state *state = state_bytes;
    if (state->has_value != 0) {
        ab_cell_release(context->type.kind, &state->cell, context->memory);
    }
    memset(state, 0, sizeof(*state));
}

static void identity_print(struct ab_bytes payload, struct ab_buffer *out)
{
    if (payload.bytes > 0) {
        ab_cell_print(ab_bytes_of(payload.data + AB_IDENTITY_BYTES, payload.bytes - AB_IDENTITY_BYTES), out);
    }
}

bool ab_primitive_identity_cell(const void *state_bytes, union ab_cell *cell)
{
    const struct identity_state *state = state_bytes;
    *cell = state->cell;
    return state->has_value != 0;
}

const struct ab_primitive_ops ab_primitive_first = {
    .name = "first",
    .state_bytes = identity_state_bytes,
    .update = identity_update,
    .merge = identity_merge,
    .encode = identity_encode,
    .validate = identity_validate,
    .absorb = identity_absorb,
    .release = identity_release,
    .print = identity_print,
    .needs_identity = true,
    .selects = -1,
};

const struct ab_primitive_ops ab_primitive_last = {
    .name = "last",
    .state_bytes = identity_state_bytes,
    .update = identity_update,
    .merge = identity_merge,
    .encode = identity_encode,
    .validate = identity_validate,
    .absorb = identity_absorb,
    .release = identity_release,
    .print = identity_print,
    .needs_identity = true,
    .selects = 1,
};
