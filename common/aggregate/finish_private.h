/* finish_private: what the functions that finish measures share (finish.c holds their table); for this folder alone. */
#ifndef ANABRANCH_COMMON_AGGREGATE_FINISH_PRIVATE_H
#define ANABRANCH_COMMON_AGGREGATE_FINISH_PRIVATE_H

#include "common/aggregate/exact.h"
#include "common/aggregate/finish.h"

/* The greatest power of ten that fits a word, and how many factors ab_exact_divide takes. */
#define AB_FINISH_POWER_MAX 19
#define AB_FINISH_FACTORS_MAX 8

/* One measure of one group on its way to a value. */
struct ab_finishing {
    const struct ab_finish_entry *at;
    const struct ab_measure *measure;
    const struct ab_plan_measure *plan;
    bool overflows; /* set when the result does not fit its type */
};

/* Sets *value, whose type is set, is_null when there is none; called only when what the measure counts is there.
 * AB_FULL. */
typedef ab_err (*ab_finish_fn)(struct ab_finishing *finishing, struct ab_value *value);

/* The state of a part, its context, and the number of rows it counts. */
const void *ab_finish_state(const struct ab_finishing *finishing, enum ab_plan_part part);
const struct ab_primitive_context *ab_finish_context(const struct ab_finishing *finishing, enum ab_plan_part part);
uint64_t ab_finish_count(const struct ab_finishing *finishing, enum ab_plan_part part);

/* The exact number of a part that sums; returns the flags of doubles (primitive_exact.h). */
uint32_t ab_finish_exact(const struct ab_finishing *finishing, enum ab_plan_part part, struct ab_exact *exact);

/* Appends 10^exponent as factors that fit a word; returns the new count. */
uint32_t ab_finish_power(uint32_t exponent, uint64_t *factors, uint32_t count);

/* Scale of an argument; 0 for what is not DECIMAL. */
uint32_t ab_finish_scale(const struct ab_finishing *finishing, uint32_t argument);

/* Appends a value that is not NULL as JSON, in the form that finish_list.c describes. */
void ab_finish_put_value(struct ab_buffer *out, const struct ab_value *value);

/* Moves what was written into the query's arena, as the text of the value; `out` is freed. AB_FULL. */
AB_MUST_USE ab_err ab_finish_keep_text(struct ab_finishing *finishing, struct ab_buffer *out, struct ab_value *value);

/* Finishers (ab_finish_fn) from finish_moments.c and finish_list.c. */
AB_MUST_USE ab_err ab_finish_variance(struct ab_finishing *finishing, struct ab_value *value);
AB_MUST_USE ab_err ab_finish_skewness(struct ab_finishing *finishing, struct ab_value *value);
AB_MUST_USE ab_err ab_finish_kurtosis(struct ab_finishing *finishing, struct ab_value *value);
AB_MUST_USE ab_err ab_finish_covariance(struct ab_finishing *finishing, struct ab_value *value);
AB_MUST_USE ab_err ab_finish_correlation(struct ab_finishing *finishing, struct ab_value *value);
AB_MUST_USE ab_err ab_finish_slope(struct ab_finishing *finishing, struct ab_value *value);
AB_MUST_USE ab_err ab_finish_intercept(struct ab_finishing *finishing, struct ab_value *value);
AB_MUST_USE ab_err ab_finish_weighted(struct ab_finishing *finishing, struct ab_value *value);
AB_MUST_USE ab_err ab_finish_ratio(struct ab_finishing *finishing, struct ab_value *value);
AB_MUST_USE ab_err ab_finish_list(struct ab_finishing *finishing, struct ab_value *value);
AB_MUST_USE ab_err ab_finish_histogram(struct ab_finishing *finishing, struct ab_value *value);

/* From finish_sketch.c. */
AB_MUST_USE ab_err ab_finish_quantiles(struct ab_finishing *finishing, struct ab_value *value);
AB_MUST_USE ab_err ab_finish_quantile(struct ab_finishing *finishing, struct ab_value *value);
AB_MUST_USE ab_err ab_finish_top_k(struct ab_finishing *finishing, struct ab_value *value);
AB_MUST_USE ab_err ab_finish_theta(struct ab_finishing *finishing, struct ab_value *value);
AB_MUST_USE ab_err ab_finish_bloom(struct ab_finishing *finishing, struct ab_value *value);
AB_MUST_USE ab_err ab_finish_sample(struct ab_finishing *finishing, struct ab_value *value);
AB_MUST_USE ab_err ab_finish_decayed(struct ab_finishing *finishing, struct ab_value *value);

#endif
