#include "common/aggregate/primitive.h"

#include "common/aggregate/cell.h"
#include "common/aggregate/primitive_by.h"

static const struct ab_primitive_ops *const ops_by_kind[] = {
    [AB_PRIMITIVE_COUNT] = &ab_primitive_count,
    [AB_PRIMITIVE_SUM_INTEGER] = &ab_primitive_sum_integer,
    [AB_PRIMITIVE_SUM_DOUBLE] = &ab_primitive_sum_double,
    [AB_PRIMITIVE_SQUARES_INTEGER] = &ab_primitive_squares_integer,
    [AB_PRIMITIVE_SQUARES_DOUBLE] = &ab_primitive_squares_double,
    [AB_PRIMITIVE_MIN] = &ab_primitive_min,
    [AB_PRIMITIVE_MAX] = &ab_primitive_max,
    [AB_PRIMITIVE_FIRST] = &ab_primitive_first,
    [AB_PRIMITIVE_LAST] = &ab_primitive_last,
    [AB_PRIMITIVE_DISTINCT] = &ab_primitive_distinct,
    [AB_PRIMITIVE_PRODUCTS_INTEGER] = &ab_primitive_products_integer,
    [AB_PRIMITIVE_PRODUCTS_DOUBLE] = &ab_primitive_products_double,
    [AB_PRIMITIVE_CUBES_INTEGER] = &ab_primitive_cubes_integer,
    [AB_PRIMITIVE_CUBES_DOUBLE] = &ab_primitive_cubes_double,
    [AB_PRIMITIVE_FOURTHS_INTEGER] = &ab_primitive_fourths_integer,
    [AB_PRIMITIVE_FOURTHS_DOUBLE] = &ab_primitive_fourths_double,
    [AB_PRIMITIVE_MIN_BY] = &ab_primitive_min_by,
    [AB_PRIMITIVE_MAX_BY] = &ab_primitive_max_by,
    [AB_PRIMITIVE_FIRST_K] = &ab_primitive_first_k,
    [AB_PRIMITIVE_LAST_K] = &ab_primitive_last_k,
    [AB_PRIMITIVE_SMALLEST] = &ab_primitive_smallest,
    [AB_PRIMITIVE_LARGEST] = &ab_primitive_largest,
    [AB_PRIMITIVE_BIT_AND] = &ab_primitive_bit_and,
    [AB_PRIMITIVE_BIT_OR] = &ab_primitive_bit_or,
    [AB_PRIMITIVE_BIT_XOR] = &ab_primitive_bit_xor,
    [AB_PRIMITIVE_HISTOGRAM] = &ab_primitive_histogram,
    [AB_PRIMITIVE_QUANTILES] = &ab_primitive_quantiles,
    [AB_PRIMITIVE_TOP_K] = &ab_primitive_top_k_ops,
    [AB_PRIMITIVE_THETA] = &ab_primitive_theta,
    [AB_PRIMITIVE_BLOOM] = &ab_primitive_bloom,
    [AB_PRIMITIVE_SAMPLE] = &ab_primitive_sample_ops,
    [AB_PRIMITIVE_DECAYED_SUM] = &ab_primitive_decayed_sum,
    [AB_PRIMITIVE_DECAYED_COUNT] = &ab_primitive_decayed_count,
};

const struct ab_primitive_ops *ab_primitive_ops_of(uint8_t kind)
{
    return kind < sizeof(ops_by_kind) / sizeof(ops_by_kind[0]) ? ops_by_kind[kind] : NULL;
}

bool ab_primitive_cell(const struct ab_primitive_context *context, const void *state, union ab_cell *cell)
{
    switch (context->kind) {
    case AB_PRIMITIVE_FIRST:
    case AB_PRIMITIVE_LAST:
        return ab_primitive_identity_cell(state, cell);
    case AB_PRIMITIVE_MIN_BY:
    case AB_PRIMITIVE_MAX_BY:
        return ab_primitive_by_cell(state, cell);
    default:
        return ab_primitive_extreme_cell(context, state, cell);
    }
}
