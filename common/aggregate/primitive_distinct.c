/* DISTINCT: a set of hashes up to AB_DISTINCT_EXACT_MAX, beyond that HyperLogLog registers with p = 14 (Flajolet 2007),
 * read with the estimator of Ertl 2017, "New cardinality estimation algorithms for HyperLogLog sketches", section 3.3:
 * no bias tables. */
#include "common/aggregate/primitive_distinct.h"

#include "common/base/assert.h"
#include "common/base/hash.h"
#include "common/block/key.h"

#include <math.h>

#define PRECISION 14
#define RANK_MAX (64 - PRECISION + 1)
#define FORM_EXACT 1
#define FORM_REGISTERS 2
#define REGISTERS_PAYLOAD_BYTES (AB_DISTINCT_REGISTERS * 6 / 8)
#define SET_CAPACITY_FIRST 8
/* 1 / (2 ln 2). */
#define ALPHA_INFINITY 0.721347520444481703680

/* A state: an open-addressed set of hashes (0 = free place) of `capacity` places, or registers when capacity is 0. */
struct distinct_state {
    union {
        uint64_t *hashes;   /* owned */
        uint8_t *registers; /* owned; AB_DISTINCT_REGISTERS of them */
    } at;
    uint32_t count;    /* hashes in the set */
    uint32_t capacity; /* a power of two; with at = NULL: nothing yet */
};

static size_t distinct_state_bytes(struct ab_type type)
{
    (void)type;
    return sizeof(struct distinct_state);
}

static bool has_registers(const struct distinct_state *state)
{
    return state->capacity == 0 && state->at.registers != NULL;
}

static inline void register_raise(uint8_t *registers, uint64_t hash)
{
    uint32_t index = (uint32_t)(hash >> (64 - PRECISION));
    uint64_t rest = hash << PRECISION;
    uint8_t rank = (uint8_t)(rest == 0 ? RANK_MAX : __builtin_clzll(rest) + 1);
    registers[index] = registers[index] < rank ? rank : registers[index];
}

static inline uint64_t *set_place(uint64_t *hashes, uint32_t capacity, uint64_t hash)
{
    uint32_t mask = capacity - 1;
    uint32_t place = (uint32_t)hash & mask;
    while (hashes[place] != 0 && hashes[place] != hash) {
        place = (place + 1) & mask;
    }
    return &hashes[place];
}

static void set_free(struct ab_memory *memory, struct distinct_state *state)
{
    ab_memory_free(memory, state->at.hashes, state->capacity * sizeof(uint64_t));
}

static void state_to_registers(struct ab_memory *memory, struct distinct_state *state)
{
    uint8_t *registers = ab_memory_alloc_total(memory, AB_DISTINCT_REGISTERS);
    for (uint32_t i = 0; i < state->capacity; i++) {
        if (state->at.hashes[i] != 0) {
            register_raise(registers, state->at.hashes[i]);
        }
    }
    set_free(memory, state);
    *state = (struct distinct_state){.at.registers = registers};
}

/* Makes room for one more hash: three quarters full at most. */
static void set_grow(struct ab_memory *memory, struct distinct_state *state)
{
    uint32_t capacity = state->capacity == 0 ? SET_CAPACITY_FIRST : state->capacity * 2;
    uint64_t *hashes = ab_memory_alloc_total(memory, capacity * sizeof(uint64_t));
    for (uint32_t i = 0; i < state->capacity; i++) {
        if (state->at.hashes[i] != 0) {
            *set_place(hashes, capacity, state->at.hashes[i]) = state->at.hashes[i];
        }
    }
    set_free(memory, state);
    state->at.hashes = hashes;
    state->capacity = capacity;
}

static void distinct_add(struct ab_memory *memory, struct distinct_state *state, uint64_t hash)
{
    if (has_registers(state)) {
        register_raise(state->at.registers, hash);
        return;
    }
    if (state->count * 4 >= state->capacity * 3) {
        set_grow(memory, state);
    }
    uint64_t *place = set_place(state->at.hashes, state->capacity, hash);
    if (*place == hash) {
        return;
    }
    if (state->count == AB_DISTINCT_EXACT_MAX) {
        state_to_registers(memory, state);
        register_raise(state->at.registers, hash);
        return;
    }
    *place = hash;
    state->count++;
}

static void distinct_update(struct ab_primitive_context *context, const struct ab_primitive_batch *batch)
{
    const uint32_t *codes = context->type.kind == AB_TYPE_TEXT ? batch->column->values : NULL;
    for (size_t i = 0; i < batch->count; i++) {
        uint32_t row = batch->rows[i];
        uint64_t hash = batch->hashes[codes == NULL ? row : codes[row]];
        distinct_add(context->memory, (void *)(batch->states + batch->stride * batch->groups[i]), hash);
    }
}

static void distinct_merge(struct ab_primitive_context *context, void *state_bytes,
    const struct ab_primitive_context *other_context, const void *other_bytes)
{
    (void)other_context;
    struct distinct_state *state = state_bytes;
    const struct distinct_state *other = other_bytes;
    if (!has_registers(other)) {
        for (uint32_t i = 0; i < other->capacity; i++) {
            if (other->at.hashes[i] != 0) {
                distinct_add(context->memory, state, other->at.hashes[i]);
            }
        }
        return;
    }
    if (!has_registers(state)) {
        state_to_registers(context->memory, state);
    }
    uint8_t *into = state->at.registers;
    const uint8_t *from = other->at.registers;
    for (uint32_t i = 0; i < AB_DISTINCT_REGISTERS; i++) {
        into[i] = into[i] < from[i] ? from[i] : into[i];
    }
}

/* ---- payload ---- */

static void hashes_sort(uint64_t *hashes, uint32_t count)
{
    /* Shell sort with Ciura's gaps: at most AB_DISTINCT_EXACT_MAX numbers. */
    static const uint32_t gaps[] = {301, 132, 57, 23, 10, 4, 1};
    for (size_t g = 0; g < sizeof(gaps) / sizeof(gaps[0]); g++) {
        uint32_t gap = gaps[g];
        for (uint32_t i = gap; i < count; i++) {
            uint64_t hash = hashes[i];
            uint32_t j = i;
            for (; j >= gap && hashes[j - gap] > hash; j -= gap) {
                hashes[j] = hashes[j - gap];
            }
            hashes[j] = hash;
        }
    }
}

static void registers_encode(const uint8_t *registers, struct ab_buffer *out)
{
    uint8_t *at = ab_buffer_extend(out, REGISTERS_PAYLOAD_BYTES);
    for (uint32_t i = 0; at != NULL && i < AB_DISTINCT_REGISTERS; i += 4, at += 3) {
        uint32_t four = registers[i] | (uint32_t)registers[i + 1] << 6 | (uint32_t)registers[i + 2] << 12 |
                        (uint32_t)registers[i + 3] << 18;
        at[0] = (uint8_t)four;
        at[1] = (uint8_t)(four >> 8);
        at[2] = (uint8_t)(four >> 16);
    }
}

static inline uint8_t register_at(const uint8_t *packed, uint32_t index)
{
    const uint8_t *at = packed + index / 4 * 3;
    uint32_t four = at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16;
    return (uint8_t)(four >> index % 4 * 6 & 63);
}

static void distinct_encode(const struct ab_primitive_context *context, const void *state_bytes, struct ab_buffer *out)
{
    (void)context;
    const struct distinct_state *state = state_bytes;
    if (has_registers(state)) {
        ab_buffer_put_u8(out, FORM_REGISTERS);
        registers_encode(state->at.registers, out);
        return;
    }
    if (state->count == 0) {
        return;
    }
    uint64_t hashes[AB_DISTINCT_EXACT_MAX];
    uint32_t count = 0;
    for (uint32_t i = 0; i < state->capacity; i++) {
        if (state->at.hashes[i] != 0) {
            hashes[count++] = state->at.hashes[i];
        }
    }
    hashes_sort(hashes, count);
    ab_buffer_put_u8(out, FORM_EXACT);
    ab_buffer_put(out, hashes, count * sizeof(uint64_t));
}

static ab_err exact_validate(struct ab_bytes hashes)
{
    size_t count = hashes.bytes / sizeof(uint64_t);
    if (hashes.bytes % sizeof(uint64_t) != 0 || count == 0 || count > AB_DISTINCT_EXACT_MAX) {
        return AB_CORRUPT;
    }
    uint64_t before = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t hash;
        memcpy(&hash, hashes.data + i * sizeof(hash), sizeof(hash));
        if (hash <= before) {
            return AB_CORRUPT;
        }
        before = hash;
    }
    return AB_OK;
}

static ab_err distinct_validate(struct ab_bytes payload, uint8_t *type_kind)
{
    *type_kind = 0;
    if (payload.bytes == 0) {
        return AB_OK;
    }
    struct ab_bytes body = ab_bytes_of(payload.data + 1, payload.bytes - 1);
    if (payload.data[0] == FORM_EXACT) {
        return exact_validate(body);
    }
    if (payload.data[0] != FORM_REGISTERS || body.bytes != REGISTERS_PAYLOAD_BYTES) {
        return AB_CORRUPT;
    }
    for (uint32_t i = 0; i < AB_DISTINCT_REGISTERS; i++) {
        if (register_at(body.data, i) > RANK_MAX) {
            return AB_CORRUPT;
        }
    }
    return AB_OK;
}

static void distinct_absorb(struct ab_primitive_context *context, void *state_bytes, struct ab_bytes payload)
{
    struct distinct_state *state = state_bytes;
    if (payload.bytes == 0) {
        return;
    }
    const uint8_t *body = payload.data + 1;
    if (payload.data[0] == FORM_EXACT) {
        for (size_t i = 0; i < (payload.bytes - 1) / sizeof(uint64_t); i++) {
            uint64_t hash;
            memcpy(&hash, body + i * sizeof(hash), sizeof(hash));
            distinct_add(context->memory, state, hash);
        }
        return;
    }
    if (!has_registers(state)) {
        state_to_registers(context->memory, state);
    }
    for (uint32_t i = 0; i < AB_DISTINCT_REGISTERS; i++) {
        uint8_t rank = register_at(body, i);
        uint8_t *at = &state->at.registers[i];
        *at = *at < rank ? rank : *at;
    }
}

static void distinct_release(struct ab_primitive_context *context, void *state_bytes)
{
    struct distinct_state *state = state_bytes;
    if (has_registers(state)) {
        ab_memory_free(context->memory, state->at.registers, AB_DISTINCT_REGISTERS);
    } else {
        set_free(context->memory, state);
    }
    memset(state, 0, sizeof(*state));
}

/* ---- reading ---- */

/* Ertl, algorithm 6: sigma(x) = x + sum of x^(2^k) 2^(k-1). x in [0, 1). */
static double sigma_of(double x)
{
    double y = 1.0;
    double z = x;
    double before;
    do {
        x *= x;
        before = z;
        z += x * y;
        y += y;
    } while (z != before);
    return z;
}

/* Ertl, algorithm 6: tau(x) = (1 - x - sum of (1 - x^(2^-k))^2 2^-k) / 3. x in [0, 1]. */
static double tau_of(double x)
{
    if (x == 0.0 || x == 1.0) {
        return 0.0;
    }
    double y = 1.0;
    double z = 1.0 - x;
    double before;
    do {
        x = sqrt(x);
        before = z;
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
    } while (z != before);
    return z / 3.0;
}

static double registers_estimate(const uint8_t *registers)
{
    uint32_t histogram[RANK_MAX + 1] = {0};
    for (uint32_t i = 0; i < AB_DISTINCT_REGISTERS; i++) {
        histogram[registers[i]]++;
    }
    double m = AB_DISTINCT_REGISTERS;
    if (histogram[0] == AB_DISTINCT_REGISTERS) {
        return 0.0;
    }
    double z = m * tau_of(1.0 - histogram[RANK_MAX] / m);
    for (uint32_t k = RANK_MAX - 1; k >= 1; k--) {
        z = 0.5 * (z + histogram[k]);
    }
    z += m * sigma_of(histogram[0] / m);
    return ALPHA_INFINITY * m * m / z;
}

uint64_t ab_primitive_distinct_value(const void *state_bytes)
{
    const struct distinct_state *state = state_bytes;
    if (!has_registers(state)) {
        return state->count;
    }
    double estimate = registers_estimate(state->at.registers);
    return estimate < 9e18 ? (uint64_t)(estimate + 0.5) : INT64_MAX;
}

double ab_primitive_distinct_error(const void *state)
{
    /* 1.04 / sqrt(16384) twice. */
    return has_registers(state) ? 2.0 * 1.04 / 128.0 : 0.0;
}

size_t ab_primitive_distinct_hashes_count(const struct ab_column *column)
{
    return column->type.kind == AB_TYPE_TEXT ? column->dictionary.count : column->rows_count;
}

void ab_primitive_distinct_hashes(const struct ab_column *column, uint64_t *hashes)
{
    struct ab_buffer key = {0};
    size_t count = ab_primitive_distinct_hashes_count(column);
    for (size_t i = 0; i < count; i++) {
        struct ab_value value;
        if (column->type.kind == AB_TYPE_TEXT) {
            value = (struct ab_value){.type = column->type};
            value.text = ab_dictionary_at(&column->dictionary, (uint32_t)i);
        } else if (ab_column_is_null(column, (uint32_t)i)) {
            continue;
        } else {
            value = ab_column_value(column, (uint32_t)i);
        }
        ab_buffer_clear(&key);
        ab_key_put(&key, &value);
        uint64_t hash = ab_hash64(AB_HASH_SKETCH, ab_buffer_view(&key));
        hashes[i] = hash == 0 ? 1 : hash;
    }
    ab_buffer_fini(&key);
}

static void distinct_print(struct ab_bytes payload, struct ab_buffer *out)
{
    struct ab_primitive_context context = {.kind = AB_PRIMITIVE_DISTINCT};
    uint64_t state[AB_PRIMITIVE_STATE_WORDS_MAX] = {0};
    distinct_absorb(&context, state, payload);
    ab_buffer_put_format(out, "%llu", (unsigned long long)ab_primitive_distinct_value(state));
    distinct_release(&context, state);
}

const struct ab_primitive_ops ab_primitive_distinct = {
    .name = "distinct",
    .state_bytes = distinct_state_bytes,
    .update = distinct_update,
    .merge = distinct_merge,
    .encode = distinct_encode,
    .validate = distinct_validate,
    .absorb = distinct_absorb,
    .release = distinct_release,
    .print = distinct_print,
    .needs_hashes = true,
};
