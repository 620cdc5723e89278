/* QUANTILES: counts of bins, in an open-addressed table, so that few values cost little and no bin is ever given up. */
#include "common/aggregate/primitive_quantiles.h"

#include "common/aggregate/sketch.h"
#include "common/base/assert.h"
#include "common/base/decimal.h"

#define MANTISSA_SHIFT (52 - AB_QUANTILES_MANTISSA_BITS)
#define BINS_PER_EXPONENT (1 << AB_QUANTILES_MANTISSA_BITS)
#define BIN_INFINITY (2047 * BINS_PER_EXPONENT)
#define BIN_NAN (BIN_INFINITY + 1)
/* A bin's key is it plus this: never 0. */
#define KEY_OF_ZERO (1 << 17)
#define CAPACITY_FIRST 16
#define PLACE_BYTES (sizeof(uint64_t) + sizeof(uint32_t))

/* Places of the table: `counts`, then `keys` in the same piece of memory. */
struct quantiles_state {
    uint64_t *counts; /* owned */
    uint32_t *keys;   /* 0 = free */
    uint32_t used;
    uint32_t capacity; /* a power of two, or 0 */
};

struct bin {
    uint32_t key;
    uint64_t count;
};

static size_t quantiles_state_bytes(struct ab_type type)
{
    (void)type;
    return sizeof(struct quantiles_state);
}

static inline uint32_t key_of(double number)
{
    uint64_t bits;
    memcpy(&bits, &number, sizeof(bits));
    uint64_t magnitude = bits & ~(UINT64_C(1) << 63);
    uint32_t bin = (uint32_t)(magnitude >> MANTISSA_SHIFT);
    bin = bin < BINS_PER_EXPONENT ? 0 : bin;
    if (__builtin_expect(magnitude > UINT64_C(0x7ff) << 52, 0)) {
        return KEY_OF_ZERO + BIN_NAN;
    }
    return bits >> 63 != 0 ? KEY_OF_ZERO - bin : KEY_OF_ZERO + bin;
}

/* ---- the table ---- */

static inline uint32_t place_of(const uint32_t *keys, uint32_t capacity, uint32_t key)
{
    uint32_t mask = capacity - 1;
    /* Fibonacci hashing: neighbouring bins, the usual case, scatter evenly. */
    uint32_t place = (uint32_t)(key * UINT64_C(0x9e3779b97f4a7c15) >> 32) & mask;
    while (keys[place] != key && keys[place] != 0) {
        place = (place + 1) & mask;
    }
    return place;
}

static void table_grow(struct ab_memory *memory, struct quantiles_state *state)
{
    uint32_t capacity = state->capacity == 0 ? CAPACITY_FIRST : state->capacity * 2;
    uint64_t *counts = ab_memory_alloc_total(memory, capacity * PLACE_BYTES);
    uint32_t *keys = (uint32_t *)(void *)(counts + capacity);
    for (uint32_t i = 0; i < state->capacity; i++) {
        if (state->keys[i] != 0) {
            uint32_t place = place_of(keys, capacity, state->keys[i]);
            keys[place] = state->keys[i];
            counts[place] = state->counts[i];
        }
    }
    ab_memory_free(memory, state->counts, state->capacity * PLACE_BYTES);
    state->counts = counts;
    state->keys = keys;
    state->capacity = capacity;
}

static __attribute__((noinline)) void bin_enter(
    struct ab_memory *memory, struct quantiles_state *state, uint32_t key, uint64_t count)
{
    if (state->used * 4 >= state->capacity * 3) {
        table_grow(memory, state);
    }
    uint32_t place = place_of(state->keys, state->capacity, key);
    state->keys[place] = key;
    state->counts[place] = count;
    state->used++;
}

static inline void bin_add(struct ab_memory *memory, struct quantiles_state *state, uint32_t key, uint64_t count)
{
    if (__builtin_expect(state->capacity != 0, 1)) {
        uint32_t place = place_of(state->keys, state->capacity, key);
        if (__builtin_expect(state->keys[place] == key, 1)) {
            state->counts[place] = ab_sketch_sum(state->counts[place], count);
            return;
        }
    }
    bin_enter(memory, state, key, count);
}

static inline void *state_at(const struct ab_primitive_batch *batch, size_t i)
{
    return batch->states + batch->stride * batch->groups[i];
}

static void quantiles_update(struct ab_primitive_context *context, const struct ab_primitive_batch *batch)
{
    struct ab_memory *memory = context->memory;
    if (batch->column->type.kind == AB_TYPE_DOUBLE) {
        const double *values = batch->column->values;
        for (size_t i = 0; i < batch->count; i++) {
            bin_add(memory, state_at(batch, i), key_of(values[batch->rows[i]]), 1);
        }
        return;
    }
    for (size_t i = 0; i < batch->count; i++) {
        bin_add(memory, state_at(batch, i), key_of(ab_sketch_number(batch->column, batch->rows[i])), 1);
    }
}

static void quantiles_merge(struct ab_primitive_context *context, void *state,
    const struct ab_primitive_context *other_context, const void *other_bytes)
{
    (void)other_context;
    const struct quantiles_state *other = other_bytes;
    for (uint32_t i = 0; i < other->capacity; i++) {
        if (other->keys[i] != 0) {
            bin_add(context->memory, state, other->keys[i], other->counts[i]);
        }
    }
}

static void quantiles_release(struct ab_primitive_context *context, void *state_bytes)
{
    struct quantiles_state *state = state_bytes;
    ab_memory_free(context->memory, state->counts, state->capacity * PLACE_BYTES);
    memset(state, 0, sizeof(*state));
}

/* ---- payload ---- */

/* The bins, rising; as many as are used, for the caller to delete. Keys are sorted and their counts looked up. */
static struct bin *bins_sorted(const struct quantiles_state *state)
{
    struct bin *bins = ab_new_array(struct bin, state->used);
    uint64_t *keys = ab_new_array(uint64_t, state->used);
    uint32_t used = 0;
    for (uint32_t i = 0; i < state->capacity; i++) {
        if (state->keys[i] != 0) {
            keys[used++] = (uint64_t)state->keys[i] << 32 | i;
        }
    }
    ab_sketch_sort(keys, used);
    for (uint32_t i = 0; i < used; i++) {
        bins[i] = (struct bin){.key = (uint32_t)(keys[i] >> 32), .count = state->counts[(uint32_t)keys[i]]};
    }
    ab_delete(keys);
    return bins;
}

static void quantiles_encode(const struct ab_primitive_context *context, const void *state_bytes, struct ab_buffer *out)
{
    (void)context;
    const struct quantiles_state *state = state_bytes;
    if (state->used == 0) {
        return;
    }
    struct bin *bins = bins_sorted(state);
    for (uint32_t i = 0; i < state->used; i++) {
        int64_t bin = (int64_t)bins[i].key - KEY_OF_ZERO;
        ab_buffer_put_varint(out, i == 0 ? ab_sketch_zigzag(bin) : bins[i].key - bins[i - 1].key);
        ab_buffer_put_varint(out, bins[i].count);
    }
    ab_delete(bins);
}

static bool is_bin(int64_t bin)
{
    int64_t magnitude = bin < 0 ? -bin : bin;
    return bin == BIN_NAN || bin == 0 || (magnitude >= BINS_PER_EXPONENT && magnitude <= BIN_INFINITY);
}

static ab_err quantiles_validate(struct ab_bytes payload, uint8_t *type_kind)
{
    *type_kind = 0;
    struct ab_reader reader = ab_reader_of(payload);
    int64_t bin = 0;
    for (bool is_first = true; ab_reader_left(&reader) > 0; is_first = false) {
        uint64_t step = ab_sketch_varint(&reader);
        if (step > 4 * KEY_OF_ZERO || (!is_first && step == 0)) {
            return AB_CORRUPT;
        }
        bin = is_first ? ab_sketch_unzigzag(step) : bin + (int64_t)step;
        uint64_t count = ab_sketch_varint(&reader);
        if (reader.has_failed || count == 0 || !is_bin(bin)) {
            return AB_CORRUPT;
        }
    }
    return AB_OK;
}

static void quantiles_absorb(struct ab_primitive_context *context, void *state, struct ab_bytes payload)
{
    struct ab_reader reader = ab_reader_of(payload);
    int64_t bin = 0;
    for (bool is_first = true; ab_reader_left(&reader) > 0; is_first = false) {
        uint64_t step = ab_reader_varint(&reader);
        bin = is_first ? ab_sketch_unzigzag(step) : bin + (int64_t)step;
        bin_add(context->memory, state, (uint32_t)(bin + KEY_OF_ZERO), ab_reader_varint(&reader));
    }
}

/* The median and the number of values. */
static void quantiles_print(struct ab_bytes payload, struct ab_buffer *out)
{
    struct ab_primitive_context context = {.kind = AB_PRIMITIVE_QUANTILES};
    struct quantiles_state state = {0};
    double median = 0;
    char text[AB_DECIMAL_TEXT_BYTES];
    quantiles_absorb(&context, &state, payload);
    if (ab_primitive_quantile(&state, 1, 2, &median)) {
        ab_buffer_put_format(out, "p50 %s of %llu", ab_double_format(median, text),
            (unsigned long long)ab_primitive_quantiles_count(&state));
    }
    quantiles_release(&context, &state);
}

const struct ab_primitive_ops ab_primitive_quantiles = {
    .name = "quantiles",
    .state_bytes = quantiles_state_bytes,
    .update = quantiles_update,
    .merge = quantiles_merge,
    .encode = quantiles_encode,
    .validate = quantiles_validate,
    .absorb = quantiles_absorb,
    .release = quantiles_release,
    .print = quantiles_print,
};

/* ---- reading ---- */

/* What stands for the numbers [a, b) of a bin: 2 a b / (a + b), computed for mantissas in [1, 2] and given the exponent
 * afterwards, so that nothing overflows. */
static double value_of(int64_t bin)
{
    if (bin == 0) {
        return 0.0;
    }
    if (bin == BIN_NAN) {
        return __builtin_nan("");
    }
    uint64_t magnitude = (uint64_t)(bin < 0 ? -bin : bin);
    double value = __builtin_inf();
    if (magnitude < BIN_INFINITY) {
        double a = 1.0 + (double)(magnitude % BINS_PER_EXPONENT) / BINS_PER_EXPONENT;
        double b = a + 1.0 / BINS_PER_EXPONENT;
        double middle = 2.0 * a * b / (a + b);
        uint64_t bits;
        memcpy(&bits, &middle, sizeof(bits));
        bits = (bits & ((UINT64_C(1) << 52) - 1)) | magnitude / BINS_PER_EXPONENT << 52;
        memcpy(&value, &bits, sizeof(value));
    }
    return bin < 0 ? -value : value;
}

static ab_uint128 count_of(const struct quantiles_state *state)
{
    ab_uint128 count = 0;
    for (uint32_t i = 0; i < state->capacity; i++) {
        count += state->keys[i] != 0 ? state->counts[i] : 0;
    }
    return count;
}

uint64_t ab_primitive_quantiles_count(const void *state)
{
    ab_uint128 count = count_of(state);
    return count > UINT64_MAX ? UINT64_MAX : (uint64_t)count;
}

bool ab_primitive_quantile(const void *state_bytes, uint64_t numerator, uint64_t denominator, double *value)
{
    const struct quantiles_state *state = state_bytes;
    ab_uint128 count = count_of(state);
    AB_ASSERT(denominator > 0 && numerator <= denominator);
    if (count == 0) {
        return false;
    }
    /* floor((count - 1) numerator / denominator) in two steps: whole denominators, then the rest. */
    ab_uint128 last = count - 1;
    ab_uint128 rank = last / denominator * numerator + last % denominator * numerator / denominator;
    struct bin *bins = bins_sorted(state);
    ab_uint128 below = 0;
    uint32_t i = 0;
    for (; i + 1 < state->used && below + bins[i].count <= rank; i++) {
        below += bins[i].count;
    }
    *value = value_of((int64_t)bins[i].key - KEY_OF_ZERO);
    ab_delete(bins);
    return true;
}
