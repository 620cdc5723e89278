/* batch_scan: the batch branch of a query: the groups of a version's shards that can match, into the query's rollup. */
#ifndef ANABRANCH_SERVING_BATCH_SCAN_H
#define ANABRANCH_SERVING_BATCH_SCAN_H

#include "serving/versions.h"

#include "common/aggregate/rollup.h"

/* Adds every stored group of the wanted shards that can match; skips by key order. AB_TIMEOUT past the monotonic
 * deadline, AB_CORRUPT naming the directory, AB_FULL when the result does not fit the query's memory. */
AB_MUST_USE ab_err ab_batch_scan(const struct ab_served_version *version, const struct ab_query *query,
    const bool *wanted_shards, int64_t deadline_us, struct ab_rollup *rollup, struct ab_error *error);

#endif
