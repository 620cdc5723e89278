/* THETA: a set of hashes, cut back to the least AB_THETA_SAMPLE + 1 whenever it has grown to twice as many. */
#include "common/aggregate/primitive_theta.h"

#include "common/aggregate/sketch.h"

#include <math.h>

#define KEPT_MAX (AB_THETA_SAMPLE + 1)
#define HASHES_MAX (2 * KEPT_MAX)

struct theta_state {
    struct ab_hash_set set;
    uint64_t above; /* all bits of the bound turned: hashes beyond the bound do not count; 0 = no bound */
};

/* What is kept of a state, rising, and what lies below theta. */
struct theta_view {
    uint64_t *hashes; /* owned */
    uint32_t count;   /* below theta */
    uint64_t theta;   /* UINT64_MAX while all values are there */
};

static size_t theta_state_bytes(struct ab_type type)
{
    (void)type;
    return sizeof(struct theta_state);
}

static void theta_cut(struct ab_memory *memory, struct theta_state *state)
{
    uint64_t *hashes = ab_new_array(uint64_t, state->set.count);
    ab_hash_set_list(&state->set, hashes);
    memset(state->set.hashes, 0, state->set.capacity * sizeof(uint64_t));
    state->set.count = 0;
    for (uint32_t i = 0; i < KEPT_MAX; i++) {
        (void)ab_hash_set_add(&state->set, hashes[i], memory);
    }
    state->above = ~hashes[KEPT_MAX - 1];
    ab_delete(hashes);
}

static inline void theta_add(struct ab_memory *memory, struct theta_state *state, uint64_t hash)
{
    if (~hash < state->above) {
        return;
    }
    if (ab_hash_set_add(&state->set, hash, memory) && state->set.count == HASHES_MAX) {
        theta_cut(memory, state);
    }
}

static void theta_update(struct ab_primitive_context *context, const struct ab_primitive_batch *batch)
{
    const uint32_t *codes = batch->column->type.kind == AB_TYPE_TEXT ? batch->column->values : NULL;
    for (size_t i = 0; i < batch->count; i++) {
        uint32_t row = batch->rows[i];
        uint64_t hash = batch->hashes[codes == NULL ? row : codes[row]];
        theta_add(context->memory, (void *)(batch->states + batch->stride * batch->groups[i]), hash);
    }
}

static void theta_merge(struct ab_primitive_context *context, void *state,
    const struct ab_primitive_context *other_context, const void *other_bytes)
{
    (void)other_context;
    const struct theta_state *other = other_bytes;
    for (uint32_t i = 0; i < other->set.capacity; i++) {
        if (other->set.hashes[i] != 0) {
            theta_add(context->memory, state, other->set.hashes[i]);
        }
    }
}

static void theta_encode(const struct ab_primitive_context *context, const void *state_bytes, struct ab_buffer *out)
{
    (void)context;
    const struct theta_state *state = state_bytes;
    uint32_t count = state->set.count;
    uint64_t *hashes = ab_new_array(uint64_t, count);
    ab_hash_set_list(&state->set, hashes);
    ab_buffer_put(out, hashes, (count < KEPT_MAX ? count : KEPT_MAX) * sizeof(uint64_t));
    ab_delete(hashes);
}

static ab_err theta_validate(struct ab_bytes payload, uint8_t *type_kind)
{
    *type_kind = 0;
    return payload.bytes == 0 ? AB_OK : ab_hash_set_validate(payload, KEPT_MAX);
}

static void theta_absorb(struct ab_primitive_context *context, void *state, struct ab_bytes payload)
{
    for (size_t i = 0; i < payload.bytes / sizeof(uint64_t); i++) {
        theta_add(context->memory, state, ab_hash_set_at(payload.data, i));
    }
}

static void theta_release(struct ab_primitive_context *context, void *state_bytes)
{
    struct theta_state *state = state_bytes;
    ab_hash_set_free(&state->set, context->memory);
    state->above = 0;
}

static void theta_print(struct ab_bytes payload, struct ab_buffer *out)
{
    size_t count = payload.bytes / sizeof(uint64_t);
    double estimate = (double)count;
    if (count > AB_THETA_SAMPLE) {
        estimate = AB_THETA_SAMPLE / ((double)ab_hash_set_at(payload.data, AB_THETA_SAMPLE) * 0x1p-64);
    }
    ab_buffer_put_format(out, "%.0f", estimate);
}

const struct ab_primitive_ops ab_primitive_theta = {
    .name = "theta",
    .state_bytes = theta_state_bytes,
    .update = theta_update,
    .merge = theta_merge,
    .encode = theta_encode,
    .validate = theta_validate,
    .absorb = theta_absorb,
    .release = theta_release,
    .print = theta_print,
    .needs_hashes = true,
};

/* ---- reading ---- */

static struct theta_view view_of(const void *state_bytes)
{
    const struct theta_state *state = state_bytes;
    struct theta_view view = {.count = state->set.count, .theta = UINT64_MAX};
    view.hashes = ab_new_array(uint64_t, state->set.count);
    ab_hash_set_list(&state->set, view.hashes);
    if (view.count > AB_THETA_SAMPLE) {
        view.theta = view.hashes[AB_THETA_SAMPLE];
        view.count = AB_THETA_SAMPLE;
    }
    return view;
}

static struct ab_theta_estimate estimate_of(uint64_t count, uint64_t theta)
{
    if (theta == UINT64_MAX) {
        return (struct ab_theta_estimate){.count = (double)count};
    }
    double share = (double)theta * 0x1p-64;
    double seen = count == 0 ? 1.0 : (double)count; /* none in a sample does not mean none at all */
    return (struct ab_theta_estimate){
        .count = (double)count / share,
        .standard_error = sqrt(seen * (1.0 - share)) / share,
    };
}

struct ab_theta_estimate ab_primitive_theta_value(const void *state)
{
    struct theta_view view = view_of(state);
    ab_delete(view.hashes);
    return estimate_of(view.count, view.theta);
}

struct ab_theta_estimate ab_primitive_theta_combine(const void *a, const void *b, enum ab_theta_operation operation)
{
    struct theta_view left = view_of(a);
    struct theta_view right = view_of(b);
    uint64_t theta = left.theta < right.theta ? left.theta : right.theta;
    uint64_t both = 0;
    uint64_t left_only = 0;
    uint64_t right_only = 0;
    uint32_t i = 0;
    uint32_t j = 0;
    while (i < left.count || j < right.count) {
        uint64_t from_left = i < left.count ? left.hashes[i] : UINT64_MAX;
        uint64_t from_right = j < right.count ? right.hashes[j] : UINT64_MAX;
        uint64_t hash = from_left < from_right ? from_left : from_right;
        bool is_below = theta == UINT64_MAX || hash < theta;
        both += is_below && from_left == from_right;
        left_only += is_below && from_left < from_right;
        right_only += is_below && from_left > from_right;
        i += i < left.count && from_left == hash;
        j += j < right.count && from_right == hash;
    }
    ab_delete(left.hashes);
    ab_delete(right.hashes);
    switch (operation) {
    case AB_THETA_UNION:
        return estimate_of(both + left_only + right_only, theta);
    case AB_THETA_INTERSECTION:
        return estimate_of(both, theta);
    case AB_THETA_DIFFERENCE:
        break;
    }
    return estimate_of(left_only, theta);
}
