/* BLOOM: a set of hashes while they are few, then bits. */
#include "common/aggregate/primitive_bloom.h"

#include "common/aggregate/sketch.h"

#define FORM_HASHES 1
#define FORM_BITS 2
#define BITS_A_VALUE 10

/* log2_bits = 0: no value yet. bits = NULL: the set holds all. */
struct bloom_state {
    struct ab_hash_set set;
    uint64_t *bits; /* owned */
    uint64_t log2_bits;
};

static size_t bloom_state_bytes(struct ab_type type)
{
    (void)type;
    return sizeof(struct bloom_state);
}

static uint32_t log2_for(uint64_t expected)
{
    uint32_t log2_bits = AB_BLOOM_BITS_MIN;
    while (log2_bits < AB_BLOOM_BITS_MAX && UINT64_C(1) << log2_bits < expected * BITS_A_VALUE) {
        log2_bits++;
    }
    return log2_bits;
}

static uint32_t hashes_max(uint64_t log2_bits)
{
    return (uint32_t)1 << (log2_bits - 7);
}

static size_t bits_bytes(uint64_t log2_bits)
{
    return (size_t)1 << (log2_bits - 3);
}

static inline void bits_set(uint64_t *bits, uint64_t log2_bits, uint64_t hash)
{
    uint32_t mask = ((uint32_t)1 << log2_bits) - 1;
    uint32_t place = (uint32_t)hash;
    uint32_t step = (uint32_t)(hash >> 32) | 1;
    for (uint32_t i = 0; i < AB_BLOOM_PROBES; i++, place += step) {
        bits[(place & mask) / 64] |= UINT64_C(1) << place % 64;
    }
}

/* From hashes to bits. */
static void state_to_bits(struct ab_memory *memory, struct bloom_state *state)
{
    state->bits = ab_memory_alloc_total(memory, bits_bytes(state->log2_bits));
    for (uint32_t i = 0; i < state->set.capacity; i++) {
        if (state->set.hashes[i] != 0) {
            bits_set(state->bits, state->log2_bits, state->set.hashes[i]);
        }
    }
    ab_hash_set_free(&state->set, memory);
}

static inline void bloom_add(struct ab_memory *memory, struct bloom_state *state, uint64_t hash)
{
    if (state->bits != NULL) {
        bits_set(state->bits, state->log2_bits, hash);
        return;
    }
    if (ab_hash_set_add(&state->set, hash, memory) && state->set.count > hashes_max(state->log2_bits)) {
        state_to_bits(memory, state);
    }
}

static void bloom_update(struct ab_primitive_context *context, const struct ab_primitive_batch *batch)
{
    const uint32_t *codes = batch->column->type.kind == AB_TYPE_TEXT ? batch->column->values : NULL;
    uint32_t log2_bits = log2_for((uint64_t)context->parameters[0].bigint);
    for (size_t i = 0; i < batch->count; i++) {
        uint32_t row = batch->rows[i];
        struct bloom_state *state = (void *)(batch->states + batch->stride * batch->groups[i]);
        state->log2_bits = log2_bits;
        bloom_add(context->memory, state, batch->hashes[codes == NULL ? row : codes[row]]);
    }
}

/* ORs bits in. */
static void bits_join(struct ab_memory *memory, struct bloom_state *state, const uint8_t *other_bits)
{
    if (state->bits == NULL) {
        state_to_bits(memory, state);
    }
    for (size_t i = 0; i < bits_bytes(state->log2_bits) / sizeof(uint64_t); i++) {
        state->bits[i] |= ab_hash_set_at(other_bits, i);
    }
}

static void bloom_merge(struct ab_primitive_context *context, void *state_bytes,
    const struct ab_primitive_context *other_context, const void *other_bytes)
{
    (void)other_context;
    struct bloom_state *state = state_bytes;
    const struct bloom_state *other = other_bytes;
    if (other->log2_bits == 0) {
        return;
    }
    state->log2_bits = other->log2_bits;
    if (other->bits != NULL) {
        bits_join(context->memory, state, (const uint8_t *)other->bits);
        return;
    }
    for (uint32_t i = 0; i < other->set.capacity; i++) {
        if (other->set.hashes[i] != 0) {
            bloom_add(context->memory, state, other->set.hashes[i]);
        }
    }
}

static void bloom_encode(const struct ab_primitive_context *context, const void *state_bytes, struct ab_buffer *out)
{
    (void)context;
    const struct bloom_state *state = state_bytes;
    if (state->log2_bits == 0) {
        return;
    }
    ab_buffer_put_u8(out, (uint8_t)state->log2_bits);
    ab_buffer_put_u8(out, state->bits == NULL ? FORM_HASHES : FORM_BITS);
    if (state->bits != NULL) {
        ab_buffer_put(out, state->bits, bits_bytes(state->log2_bits));
        return;
    }
    uint64_t *hashes = ab_new_array(uint64_t, state->set.count);
    ab_hash_set_list(&state->set, hashes);
    ab_buffer_put(out, hashes, state->set.count * sizeof(uint64_t));
    ab_delete(hashes);
}

static ab_err bloom_validate(struct ab_bytes payload, uint8_t *type_kind)
{
    *type_kind = 0;
    if (payload.bytes == 0) {
        return AB_OK;
    }
    if (payload.bytes < 2 || payload.data[0] < AB_BLOOM_BITS_MIN || payload.data[0] > AB_BLOOM_BITS_MAX) {
        return AB_CORRUPT;
    }
    uint32_t log2_bits = payload.data[0];
    struct ab_bytes body = ab_bytes_of(payload.data + 2, payload.bytes - 2);
    if (payload.data[1] == FORM_HASHES) {
        return ab_hash_set_validate(body, hashes_max(log2_bits));
    }
    if (payload.data[1] != FORM_BITS || body.bytes != bits_bytes(log2_bits)) {
        return AB_CORRUPT;
    }
    for (size_t i = 0; i < body.bytes; i++) {
        if (body.data[i] != 0) {
            return AB_OK;
        }
    }
    return AB_CORRUPT;
}

static void bloom_absorb(struct ab_primitive_context *context, void *state_bytes, struct ab_bytes payload)
{
    struct bloom_state *state = state_bytes;
    if (payload.bytes == 0) {
        return;
    }
    const uint8_t *body = payload.data + 2;
    state->log2_bits = payload.data[0];
    if (payload.data[1] == FORM_BITS) {
        bits_join(context->memory, state, body);
        return;
    }
    for (size_t i = 0; i < (payload.bytes - 2) / sizeof(uint64_t); i++) {
        bloom_add(context->memory, state, ab_hash_set_at(body, i));
    }
}

static void bloom_release(struct ab_primitive_context *context, void *state_bytes)
{
    struct bloom_state *state = state_bytes;
    ab_hash_set_free(&state->set, context->memory);
    if (state->bits != NULL) {
        ab_memory_free(context->memory, state->bits, bits_bytes(state->log2_bits));
    }
    memset(state, 0, sizeof(*state));
}

static size_t bloom_head_bytes(struct ab_bytes payload)
{
    (void)payload;
    return 1;
}

static void bloom_head_put(const struct ab_primitive_context *context, struct ab_buffer *out)
{
    ab_buffer_put_u8(out, (uint8_t)log2_for((uint64_t)context->parameters[0].bigint));
}

static void bloom_print(struct ab_bytes payload, struct ab_buffer *out)
{
    ab_buffer_put_format(out, "%zu bytes", payload.bytes);
}

const struct ab_primitive_ops ab_primitive_bloom = {
    .name = "bloom",
    .state_bytes = bloom_state_bytes,
    .update = bloom_update,
    .merge = bloom_merge,
    .encode = bloom_encode,
    .validate = bloom_validate,
    .absorb = bloom_absorb,
    .release = bloom_release,
    .head_bytes = bloom_head_bytes,
    .head_put = bloom_head_put,
    .print = bloom_print,
    .needs_hashes = true,
};

/* ---- reading ---- */

bool ab_primitive_bloom_is_empty(const void *state)
{
    return ((const struct bloom_state *)state)->log2_bits == 0;
}

bool ab_primitive_bloom_has(const void *state_bytes, uint64_t hash)
{
    const struct bloom_state *state = state_bytes;
    if (state->bits == NULL) {
        return ab_hash_set_has(&state->set, hash);
    }
    uint32_t mask = ((uint32_t)1 << state->log2_bits) - 1;
    uint32_t place = (uint32_t)hash;
    uint32_t step = (uint32_t)(hash >> 32) | 1;
    for (uint32_t i = 0; i < AB_BLOOM_PROBES; i++, place += step) {
        if ((state->bits[(place & mask) / 64] >> place % 64 & 1) == 0) {
            return false;
        }
    }
    return true;
}

double ab_primitive_bloom_error(const void *state_bytes)
{
    const struct bloom_state *state = state_bytes;
    if (state->bits == NULL) {
        return 0.0;
    }
    uint64_t set = 0;
    for (size_t i = 0; i < bits_bytes(state->log2_bits) / sizeof(uint64_t); i++) {
        set += (uint64_t)__builtin_popcountll(state->bits[i]);
    }
    double share = (double)set / (double)(UINT64_C(1) << state->log2_bits);
    double error = share;
    for (uint32_t i = 1; i < AB_BLOOM_PROBES; i++) {
        error *= share;
    }
    return error;
}
