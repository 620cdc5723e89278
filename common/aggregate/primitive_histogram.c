/* HISTOGRAM: counts of values between fixed, rising bounds b[0] .. b[n-1], the parameters: bin 0 is below b[0], bin i
 * holds b[i-1] <= x < b[i], bin n is from b[n-1] up. NaN is above all numbers, so in the last bin, and -0 is +0. Counts
 * add modulo 2^64, as COUNT's. What payloads tell of the bounds is their number and a hash (XXH3-64, AB_HASH_SKETCH, of
 * type kind and values as cell.h writes them). */
#include "common/aggregate/primitive_histogram.h"

#include "common/aggregate/cell.h"
#include "common/base/hash.h"
#include "common/catalog/catalog.h"

#define HEAD_BYTES 9

struct ab_bins {
    uint64_t bounds_hash;
    uint32_t count; /* bounds + 1 */
    uint64_t counts[];
};

struct histogram_state {
    struct ab_bins *bins; /* owned; NULL = no value */
};

static size_t histogram_state_bytes(struct ab_type type)
{
    (void)type;
    return sizeof(struct histogram_state);
}

static size_t bins_bytes(uint32_t count)
{
    return sizeof(struct ab_bins) + count * sizeof(uint64_t);
}

static struct ab_bins *bins_of(
    struct ab_primitive_context *context, struct histogram_state *state, uint32_t count, uint64_t bounds_hash)
{
    if (state->bins == NULL) {
        state->bins = ab_memory_alloc_total(context->memory, bins_bytes(count));
        state->bins->count = count;
        state->bins->bounds_hash = bounds_hash;
    }
    return state->bins;
}

static union ab_cell cell_of_value(const struct ab_value *value)
{
    union ab_cell cell = {.word = {0, 0}};
    if (value->type.kind == AB_TYPE_DOUBLE) {
        cell.word.low = ab_cell_double(value->real);
    } else if (value->type.kind == AB_TYPE_DECIMAL) {
        cell.word.low = (uint64_t)value->decimal;
        cell.word.high = (uint64_t)((ab_uint128)value->decimal >> 64) ^ UINT64_C(1) << 63;
    } else {
        cell.word.low = ab_cell_bigint(value->bigint);
    }
    return cell;
}

/* The bounds as cells; returns their hash. */
static uint64_t bounds_take(const struct ab_primitive_context *context, union ab_cell *bounds)
{
    struct ab_buffer bytes = {0};
    ab_buffer_put_u8(&bytes, context->type.kind);
    for (uint32_t i = 0; i < context->parameters_count; i++) {
        bounds[i] = cell_of_value(&context->parameters[i]);
        ab_cell_put(context->type.kind, &bounds[i], &bytes);
    }
    uint64_t hash = ab_hash64(AB_HASH_SKETCH, ab_buffer_view(&bytes));
    ab_buffer_fini(&bytes);
    return hash;
}

/* Bounds that are not above the value: the number of its bin. */
static uint32_t bin_of(uint8_t type_kind, const union ab_cell *bounds, uint32_t count, const union ab_cell *value)
{
    uint32_t low = 0;
    uint32_t high = count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (ab_cell_compare(type_kind, &bounds[middle], value) <= 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static void histogram_update(struct ab_primitive_context *context, const struct ab_primitive_batch *batch)
{
    union ab_cell bounds[AB_MEASURE_PARAMETERS_MAX];
    uint64_t hash = bounds_take(context, bounds);
    for (size_t i = 0; i < batch->count; i++) {
        struct histogram_state *state = (void *)(batch->states + batch->stride * batch->groups[i]);
        union ab_cell value = ab_cell_of_column(batch->column, batch->rows[i]);
        struct ab_bins *bins = bins_of(context, state, context->parameters_count + 1, hash);
        bins->counts[bin_of(context->type.kind, bounds, context->parameters_count, &value)]++;
    }
}

static void histogram_merge(struct ab_primitive_context *context, void *state,
    const struct ab_primitive_context *other_context, const void *other_bytes)
{
    (void)other_context;
    const struct ab_bins *other = ((const struct histogram_state *)other_bytes)->bins;
    if (other == NULL) {
        return;
    }
    struct ab_bins *bins = bins_of(context, state, other->count, other->bounds_hash);
    for (uint32_t i = 0; i < other->count; i++) {
        bins->counts[i] += other->counts[i];
    }
}

static void head_put(uint32_t bounds_count, uint64_t bounds_hash, struct ab_buffer *out)
{
    ab_buffer_put_u8(out, (uint8_t)bounds_count);
    ab_buffer_put_u64(out, bounds_hash);
}

static void histogram_head_put(const struct ab_primitive_context *context, struct ab_buffer *out)
{
    union ab_cell bounds[AB_MEASURE_PARAMETERS_MAX];
    head_put(context->parameters_count, bounds_take(context, bounds), out);
}

static size_t histogram_head_bytes(struct ab_bytes payload)
{
    (void)payload;
    return HEAD_BYTES;
}

/* Counts that came to nothing (modulo 2^64) are no value, so that such a state has one form. */
static bool is_zero(const struct ab_bins *bins)
{
    for (uint32_t i = 0; bins != NULL && i < bins->count; i++) {
        if (bins->counts[i] != 0) {
            return false;
        }
    }
    return true;
}

static void histogram_encode(const struct ab_primitive_context *context, const void *state, struct ab_buffer *out)
{
    (void)context;
    const struct ab_bins *bins = ((const struct histogram_state *)state)->bins;
    if (is_zero(bins)) {
        return;
    }
    head_put(bins->count - 1, bins->bounds_hash, out);
    for (uint32_t i = 0; i < bins->count; i++) {
        ab_buffer_put_varint(out, bins->counts[i]);
    }
}

static ab_err histogram_validate(struct ab_bytes payload, uint8_t *type_kind)
{
    struct ab_reader reader = ab_reader_of(payload);
    uint64_t any = 0;
    *type_kind = 0;
    if (payload.bytes == 0) {
        return AB_OK;
    }
    uint32_t bounds_count = ab_reader_u8(&reader);
    (void)ab_reader_u64(&reader);
    if (reader.has_failed || bounds_count == 0 || bounds_count > AB_MEASURE_PARAMETERS_MAX) {
        return AB_CORRUPT;
    }
    for (uint32_t i = 0; i <= bounds_count; i++) {
        any |= ab_reader_varint_short(&reader);
    }
    AB_TRY(ab_reader_finish(&reader));
    return any != 0 ? AB_OK : AB_CORRUPT;
}

static void histogram_absorb(struct ab_primitive_context *context, void *state, struct ab_bytes payload)
{
    struct ab_reader reader = ab_reader_of(payload);
    if (payload.bytes == 0) {
        return;
    }
    uint32_t count = ab_reader_u8(&reader) + 1u;
    uint64_t hash = ab_reader_u64(&reader);
    struct ab_bins *bins = bins_of(context, state, count, hash);
    for (uint32_t i = 0; i < count; i++) {
        bins->counts[i] += ab_reader_varint(&reader);
    }
}

static void histogram_release(struct ab_primitive_context *context, void *state_bytes)
{
    struct histogram_state *state = state_bytes;
    if (state->bins != NULL) {
        ab_memory_free(context->memory, state->bins, bins_bytes(state->bins->count));
    }
    state->bins = NULL;
}

static void histogram_print(struct ab_bytes payload, struct ab_buffer *out)
{
    struct ab_reader reader = ab_reader_of(payload);
    uint32_t count = payload.bytes == 0 ? 0 : ab_reader_u8(&reader) + 1u;
    (void)ab_reader_u64(&reader);
    for (uint32_t i = 0; i < count; i++) {
        ab_buffer_put_format(out, "%s%llu", i == 0 ? "" : ",", (unsigned long long)ab_reader_varint(&reader));
    }
}

uint32_t ab_primitive_histogram_counts(const void *state, const uint64_t **counts)
{
    const struct ab_bins *bins = ((const struct histogram_state *)state)->bins;
    if (is_zero(bins)) {
        return 0;
    }
    *counts = bins->counts;
    return bins->count;
}

const struct ab_primitive_ops ab_primitive_histogram = {
    .name = "histogram",
    .state_bytes = histogram_state_bytes,
    .update = histogram_update,
    .merge = histogram_merge,
    .encode = histogram_encode,
    .validate = histogram_validate,
    .absorb = histogram_absorb,
    .release = histogram_release,
    .head_bytes = histogram_head_bytes,
    .head_put = histogram_head_put,
    .print = histogram_print,
};
