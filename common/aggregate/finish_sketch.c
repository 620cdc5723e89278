/* Finishing sketches: numbers, and lists as JSON text in the arena of the query. */
#include "common/aggregate/cell.h"
#include "common/aggregate/finish_private.h"
#include "common/aggregate/primitive_bloom.h"
#include "common/aggregate/primitive_decay.h"
#include "common/aggregate/primitive_distinct.h"
#include "common/aggregate/primitive_quantiles.h"
#include "common/aggregate/primitive_sample.h"
#include "common/aggregate/primitive_theta.h"
#include "common/aggregate/primitive_top_k.h"
#include "common/aggregate/sketch.h"
#include "common/base/assert.h"
#include "common/base/decimal.h"

/* Standard errors that an estimate stays within with probability 95 %. */
#define STANDARD_ERRORS 2.0

/* ---- texts ---- */

static void put_cell(struct ab_buffer *out, struct ab_type type, const union ab_cell *cell)
{
    struct ab_value value = ab_cell_value(type, cell);
    ab_finish_put_value(out, &value);
}

static void put_real(struct ab_buffer *out, double real)
{
    struct ab_value value = {.type = {.kind = AB_TYPE_DOUBLE}, .real = real};
    ab_finish_put_value(out, &value);
}

/* ---- quantiles ---- */

/* The quantile of a share (DECIMAL); false without values. */
static bool quantile_at(const struct ab_finishing *finishing, ab_int128 share, uint32_t scale, double *real)
{
    const void *state = ab_finish_state(finishing, AB_PART_SKETCH);
    if (!ab_primitive_quantile(state, (uint64_t)share, (uint64_t)ab_decimal_power(scale), real)) {
        return false;
    }
    *real /= (double)ab_decimal_power(ab_finish_scale(finishing, 0));
    return true;
}

ab_err ab_finish_quantiles(struct ab_finishing *finishing, struct ab_value *value)
{
    static const struct {
        const char *name;
        uint32_t thousandths;
    } shown[] = {{"p50", 500}, {"p90", 900}, {"p95", 950}, {"p99", 990}, {"p999", 999}};
    uint64_t count = ab_primitive_quantiles_count(ab_finish_state(finishing, AB_PART_SKETCH));
    value->is_null = count == 0;
    if (value->is_null) {
        return AB_OK;
    }
    struct ab_buffer out = {0};
    ab_buffer_put_format(&out, "{\"count\":%llu", (unsigned long long)count);
    for (size_t i = 0; i < sizeof(shown) / sizeof(shown[0]); i++) {
        double real = 0;
        (void)quantile_at(finishing, shown[i].thousandths, 3, &real); /* there are values */
        ab_buffer_put_format(&out, ",\"%s\":", shown[i].name);
        put_real(&out, real);
    }
    ab_buffer_put_u8(&out, '}');
    return ab_finish_keep_text(finishing, &out, value);
}

ab_err ab_finish_quantile(struct ab_finishing *finishing, struct ab_value *value)
{
    const struct ab_value *share = &finishing->measure->parameters[0];
    value->is_null = !quantile_at(finishing, share->decimal, share->type.scale, &value->real);
    return AB_OK;
}

/* ---- lists ---- */

static ab_err top_put(struct ab_finishing *finishing, uint32_t k, struct ab_value *value)
{
    struct ab_top_k_item *items = ab_new_array(struct ab_top_k_item, k);
    uint64_t error_rows = 0;
    uint32_t count = ab_primitive_top_k(ab_finish_state(finishing, AB_PART_SKETCH), k, items, &error_rows);
    struct ab_buffer out = {0};
    ab_buffer_put_u8(&out, '[');
    for (uint32_t i = 0; i < count; i++) {
        /* Not above its own count: nothing is counted less than no time. */
        uint64_t error = error_rows < items[i].count ? error_rows : items[i].count;
        ab_buffer_put_format(&out, "%s{\"value\":", i == 0 ? "" : ",");
        put_cell(&out, finishing->measure->argument_types[0], &items[i].cell);
        ab_buffer_put_format(
            &out, ",\"count\":%llu,\"error\":%llu}", (unsigned long long)items[i].count, (unsigned long long)error);
    }
    ab_buffer_put_u8(&out, ']');
    ab_delete(items);
    value->is_null = count == 0;
    return ab_finish_keep_text(finishing, &out, value);
}

ab_err ab_finish_top_k(struct ab_finishing *finishing, struct ab_value *value)
{
    return top_put(finishing, (uint32_t)finishing->measure->parameters[0].bigint, value);
}

ab_err ab_finish_sample(struct ab_finishing *finishing, struct ab_value *value)
{
    union ab_cell *cells = ab_new_array(union ab_cell, AB_SAMPLE_MAX);
    uint32_t count = ab_primitive_sample(ab_finish_state(finishing, AB_PART_OTHER), cells);
    struct ab_buffer out = {0};
    ab_buffer_put_u8(&out, '[');
    for (uint32_t i = 0; i < count; i++) {
        ab_buffer_put_format(&out, i == 0 ? "" : ",");
        put_cell(&out, finishing->measure->argument_types[0], &cells[i]);
    }
    ab_buffer_put_u8(&out, ']');
    ab_delete(cells);
    value->is_null = count == 0;
    return ab_finish_keep_text(finishing, &out, value);
}

ab_err ab_finish_bloom(struct ab_finishing *finishing, struct ab_value *value)
{
    value->is_null = ab_primitive_bloom_is_empty(ab_finish_state(finishing, AB_PART_OTHER));
    struct ab_buffer out = {0};
    ab_buffer_put_format(&out, "{\"expected\":%lld,\"error\":", (long long)finishing->measure->parameters[0].bigint);
    put_real(&out, ab_primitive_bloom_error(ab_finish_state(finishing, AB_PART_OTHER)));
    ab_buffer_put_u8(&out, '}');
    return ab_finish_keep_text(finishing, &out, value);
}

/* ---- distinct values ---- */

static ab_err estimate_put(struct ab_finishing *finishing, struct ab_theta_estimate estimate, struct ab_value *value)
{
    finishing->overflows = !(estimate.count < 9.2e18);
    value->bigint = finishing->overflows ? 0 : (int64_t)(estimate.count + 0.5);
    return AB_OK;
}

static double estimate_error(struct ab_theta_estimate estimate)
{
    if (estimate.standard_error == 0.0) {
        return 0.0;
    }
    return estimate.count > 0 ? STANDARD_ERRORS * estimate.standard_error / estimate.count : __builtin_inf();
}

ab_err ab_finish_theta(struct ab_finishing *finishing, struct ab_value *value)
{
    return estimate_put(finishing, ab_primitive_theta_value(ab_finish_state(finishing, AB_PART_SKETCH)), value);
}

/* ---- decay ---- */

ab_err ab_finish_decayed(struct ab_finishing *finishing, struct ab_value *value)
{
    ab_time_us reference = finishing->at->reference_us;
    bool has_sum = finishing->plan->parts[AB_PART_OTHER] != AB_PLAN_NONE;
    bool has_count = finishing->plan->parts[AB_PART_DECAYED_COUNT] != AB_PLAN_NONE;
    double count = 0;
    if (has_sum) {
        value->is_null = !ab_primitive_decay_value(ab_finish_context(finishing, AB_PART_OTHER),
            ab_finish_state(finishing, AB_PART_OTHER), reference, &value->real);
        value->real /= (double)ab_decimal_power(ab_finish_scale(finishing, 0));
    }
    if (has_count && !ab_primitive_decay_value(ab_finish_context(finishing, AB_PART_DECAYED_COUNT),
                         ab_finish_state(finishing, AB_PART_DECAYED_COUNT), reference, &count)) {
        count = 0;
    }
    if (has_sum && has_count && !value->is_null) {
        /* All has decayed to nothing: no mean is left. */
        value->is_null = count == 0.0;
        value->real /= value->is_null ? 1.0 : count;
    } else if (has_count && !has_sum) {
        value->real = count;
    }
    return AB_OK;
}

ab_time_us ab_finish_latest(const struct ab_group_store *store)
{
    ab_time_us latest = INT64_MIN;
    for (uint32_t p = 0; p < store->layout.primitives_count; p++) {
        enum ab_primitive_kind kind = store->contexts[p].kind;
        bool decays = kind == AB_PRIMITIVE_DECAYED_SUM || kind == AB_PRIMITIVE_DECAYED_COUNT;
        for (size_t entry = 0; decays && entry < store->entries_count; entry++) {
            ab_time_us here;
            if (ab_primitive_decay_latest(ab_group_store_state(store, entry, p), &here) && here > latest) {
                latest = here;
            }
        }
    }
    return latest;
}

/* ---- readings ---- */

static struct ab_theta_estimate combined(
    const struct ab_finish_entry *at, const struct ab_finishing *left, const struct ab_query_reading *reading)
{
    static const enum ab_theta_operation operations[] = {[AB_READING_UNION] = AB_THETA_UNION,
        [AB_READING_INTERSECTION] = AB_THETA_INTERSECTION,
        [AB_READING_DIFFERENCE] = AB_THETA_DIFFERENCE};
    struct ab_finishing right = {.at = at, .plan = &at->aggregation->measures[reading->other]};
    return ab_primitive_theta_combine(
        ab_finish_state(left, AB_PART_SKETCH), ab_finish_state(&right, AB_PART_SKETCH), operations[reading->kind]);
}

/* Relative; of top_k relative to all rows; of bloom the share of other values that seem to be there. */
static double error_of(const struct ab_finishing *finishing)
{
    switch (finishing->measure->kind) {
    case AB_MEASURE_COUNT_DISTINCT:
        return ab_primitive_distinct_error(ab_finish_state(finishing, AB_PART_OTHER));
    case AB_MEASURE_TOP_K:
        return ab_primitive_top_k_error(ab_finish_state(finishing, AB_PART_SKETCH));
    case AB_MEASURE_THETA:
        return estimate_error(ab_primitive_theta_value(ab_finish_state(finishing, AB_PART_SKETCH)));
    case AB_MEASURE_BLOOM:
        return ab_primitive_bloom_error(ab_finish_state(finishing, AB_PART_OTHER));
    default:
        return AB_QUANTILES_ERROR;
    }
}

static bool contains(const struct ab_finishing *finishing, const struct ab_query_reading *reading)
{
    struct ab_buffer key = {0};
    uint64_t hash = ab_sketch_value_hash(&reading->value, &key);
    ab_buffer_fini(&key);
    return ab_primitive_bloom_has(ab_finish_state(finishing, AB_PART_OTHER), hash);
}

ab_err ab_finish_reading(
    const struct ab_finish_entry *at, const struct ab_query_reading *reading, struct ab_value *value, bool *fits)
{
    struct ab_finishing finishing = {.at = at,
        .measure = &at->aggregation->view->measures[reading->measure],
        .plan = &at->aggregation->measures[reading->measure]};
    struct ab_value finished = {.type = reading->type};
    switch (reading->kind) {
    case AB_READING_QUANTILE:
        finished.is_null = !quantile_at(&finishing, reading->value.decimal, reading->value.type.scale, &finished.real);
        break;
    case AB_READING_TOP_K:
        AB_TRY(top_put(&finishing, (uint32_t)reading->value.bigint, &finished));
        break;
    case AB_READING_CONTAINS:
        finished.boolean = contains(&finishing, reading);
        break;
    case AB_READING_UNION:
    case AB_READING_INTERSECTION:
    case AB_READING_DIFFERENCE:
        if (reading->is_error) {
            finished.real = estimate_error(combined(at, &finishing, reading));
        } else {
            AB_TRY(estimate_put(&finishing, combined(at, &finishing, reading), &finished));
        }
        break;
    case AB_READING_ERROR:
        finished.real = error_of(&finishing);
        break;
    }
    finished.is_null |= finishing.overflows;
    *fits = !finishing.overflows;
    *value = finished;
    return AB_OK;
}
