#include "common/aggregate/primitive_walk.h"

#include "common/aggregate/primitive_exact_add.h"
#include "common/aggregate/primitive_extreme.h"

/* How far ahead an entry is fetched: finding the groups of a whole batch has pushed many of them out of the first cache
 * again. */
#define FETCH_AHEAD 6u

/* Notes the place of a primitive unless there is one of its kind already. */
static bool place_take(bool *has, uint32_t *place, uint32_t at)
{
    if (*has) {
        return false;
    }
    *has = true;
    *place = at;
    return true;
}

static bool has_values(const struct ab_primitive_walk *walk)
{
    return walk->has_sum || walk->has_min || walk->has_max;
}

bool ab_primitive_walk_take(struct ab_primitive_walk *walk, struct ab_primitive_context *context, uint32_t at)
{
    if (context->kind == AB_PRIMITIVE_COUNT && walk->counts < 2) {
        walk->count_at[walk->counts++] = at;
        return true;
    }
    if (context->type.kind != AB_TYPE_DOUBLE) {
        return false;
    }
    switch (context->kind) {
    case AB_PRIMITIVE_SUM_DOUBLE:
        walk->sum = walk->has_sum ? walk->sum : context;
        return place_take(&walk->has_sum, &walk->sum_at, at);
    case AB_PRIMITIVE_MIN:
        return place_take(&walk->has_min, &walk->min_at, at);
    case AB_PRIMITIVE_MAX:
        return place_take(&walk->has_max, &walk->max_at, at);
    default:
        return false;
    }
}

/* `counts` > 0 says that the walk has just so many counts and all the others: nothing is left to ask of a row. */
static inline __attribute__((always_inline)) void rows_run(
    struct ab_primitive_walk walk, const struct ab_primitive_batch *batch, int32_t base, uint32_t counts)
{
    bool is_usual = counts > 0;
    uint8_t *states = batch->states;
    size_t stride = batch->stride;
    size_t count = batch->count;
    const uint32_t *groups = batch->groups;
    const uint32_t *rows = batch->rows;
    const double *values = is_usual || has_values(&walk) ? batch->column->values : NULL;
    for (size_t i = 0; i < count; i++) {
        uint8_t *entry = states + stride * groups[i];
        const uint8_t *later = states + stride * groups[i + FETCH_AHEAD < count ? i + FETCH_AHEAD : i];
        __builtin_prefetch(later, 1);
        __builtin_prefetch(later + stride - 1, 1);
        double number = is_usual || values != NULL ? values[rows[i]] : 0;
        uint64_t order = ab_cell_double(number);
        for (uint32_t c = 0; c < (is_usual ? counts : walk.counts); c++) {
            ++*(uint64_t *)(void *)(entry + walk.count_at[c]);
        }
        if (is_usual || walk.has_sum) {
            ab_exact_sum_add(walk.sum, (void *)(entry + walk.sum_at), number, base);
        }
        if (is_usual || walk.has_min) {
            ab_extreme_take((void *)(entry + walk.min_at), ab_extreme_word(AB_PRIMITIVE_MIN, order));
        }
        if (is_usual || walk.has_max) {
            ab_extreme_take((void *)(entry + walk.max_at), ab_extreme_word(AB_PRIMITIVE_MAX, order));
        }
    }
}

void ab_primitive_walk_run(const struct ab_primitive_walk *walk, const struct ab_primitive_batch *batch)
{
    int32_t base = walk->has_sum ? ab_primitive_exact_base(walk->sum, batch) : 0;
    bool has_all = walk->has_sum && walk->has_min && walk->has_max;
    if (has_all && walk->counts == 1) {
        rows_run(*walk, batch, base, 1);
    } else if (has_all && walk->counts == 2) {
        rows_run(*walk, batch, base, 2);
    } else if (has_values(walk) || walk->counts > 0) {
        rows_run(*walk, batch, base, 0);
    }
}
