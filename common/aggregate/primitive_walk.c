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

/* Fetches an entry. */
static inline void entry_fetch(const uint8_t *entry, size_t stride)
{
    __builtin_prefetch(entry, 1);
    __builtin_prefetch(entry + stride - 1, 1);
}

/* Any choice of primitives. */
static void any_run(const struct ab_primitive_walk *walk, const struct ab_primitive_batch *batch, int32_t base)
{
    const double *values = has_values(walk) ? batch->column->values : NULL;
    for (size_t i = 0; i < batch->count; i++) {
        uint8_t *entry = batch->states + batch->stride * batch->groups[i];
        size_t later = i + FETCH_AHEAD < batch->count ? i + FETCH_AHEAD : i;
        entry_fetch(batch->states + batch->stride * batch->groups[later], batch->stride);
        double number = values != NULL ? values[batch->rows[i]] : 0;
        uint64_t order = ab_cell_double(number);
        for (uint32_t c = 0; c < walk->counts; c++) {
            ++*(uint64_t *)(void *)(entry + walk->count_at[c]);
        }
        if (walk->has_sum) {
            ab_exact_sum_add(walk->sum, (void *)(entry + walk->sum_at), number, base);
        }
        if (walk->has_min) {
            ab_extreme_take((void *)(entry + walk->min_at), ab_extreme_word(AB_PRIMITIVE_MIN, order));
        }
        if (walk->has_max) {
            ab_extreme_take((void *)(entry + walk->max_at), ab_extreme_word(AB_PRIMITIVE_MAX, order));
        }
    }
}

/* All of them side by side in the order of their kinds, as a store lays them out: what follows the counts. */
struct usual {
    uint64_t outside_and_words[AB_EXACT_SUM_WORDS + 1];
    uint64_t min;
    uint64_t max;
};
_Static_assert(offsetof(struct ab_exact_state, words) == sizeof(uint64_t), "a sum begins with its pointer");

/* Whether it is so; *at is the place of the first. */
static bool is_usual(const struct ab_primitive_walk *walk, uint32_t *at)
{
    if (!walk->has_sum || !walk->has_min || !walk->has_max || walk->counts == 0) {
        return false;
    }
    uint32_t last = walk->counts - 1;
    bool counts_first = walk->count_at[last] == walk->count_at[0] + last * (uint32_t)sizeof(uint64_t);
    *at = walk->count_at[0];
    return counts_first && walk->sum_at == walk->count_at[last] + sizeof(uint64_t) &&
           walk->min_at == walk->sum_at + offsetof(struct usual, min) &&
           walk->max_at == walk->sum_at + offsetof(struct usual, max);
}

static inline __attribute__((always_inline)) void usual_run(struct ab_primitive_context *context,
    const struct ab_primitive_batch *batch, uint32_t at, int32_t base, uint32_t counts)
{
    const double *values = batch->column->values;
    const uint32_t *groups = batch->groups;
    const uint32_t *rows = batch->rows;
    uint8_t *entries = batch->states;
    uint8_t *states = entries + at;
    size_t stride = batch->stride;
    size_t count = batch->count;
    for (size_t i = 0; i < count; i++) {
        uint64_t *state = (uint64_t *)(void *)(states + stride * groups[i]);
        struct usual *usual = (void *)(state + counts);
        struct ab_exact_state *sum = (void *)usual;
        uint64_t bits;
        memcpy(&bits, &values[rows[i]], sizeof(bits));
        entry_fetch(entries + stride * groups[i + FETCH_AHEAD < count ? i + FETCH_AHEAD : i], stride);
        uint64_t order = bits ^ ((0 - (bits >> 63)) | UINT64_C(1) << 63);
        for (uint32_t c = 0; c < counts; c++) {
            state[c]++;
        }
        if (__builtin_expect(!ab_exact_sum_add_near(sum, bits, base), 0)) {
            ab_exact_sum_add_far(context, sum, values[rows[i]], base);
            order = ab_cell_double(values[rows[i]]);
        }
        ab_extreme_take(&usual->min, ab_extreme_word(AB_PRIMITIVE_MIN, order));
        ab_extreme_take(&usual->max, ab_extreme_word(AB_PRIMITIVE_MAX, order));
    }
}

void ab_primitive_walk_run(const struct ab_primitive_walk *walk, const struct ab_primitive_batch *batch)
{
    int32_t base = walk->has_sum ? ab_primitive_exact_base(walk->sum, batch) : 0;
    uint32_t at = 0;
    if (!is_usual(walk, &at)) {
        any_run(walk, batch, base);
    } else if (walk->counts == 1) {
        usual_run(walk->sum, batch, at, base, 1);
    } else {
        usual_run(walk->sum, batch, at, base, 2);
    }
}
