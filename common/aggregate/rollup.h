/* rollup: one query's accumulation: stored groups in, filtered, regrouped and merged as states, finished numbers out.
 *
 * The same code runs at every place that holds states (frozen partials and span families in speed, version directories
 * in serving) and in the router, which merges what they encoded and finishes once. States are merged, never finished
 * numbers.
 *
 * Encoded rows: u8 format (1), then per group: varint-length rollup key, varint-length state row with only the
 * primitives the query needs; the rollup key is the memcomparable grouped keys followed by the window start (8 bytes).
 *
 * Threads: owner. Memory: charged to the budget; AB_FULL when the result does not fit (the query fails, nothing else
 * does).
 */
#ifndef ANABRANCH_COMMON_AGGREGATE_ROLLUP_H
#define ANABRANCH_COMMON_AGGREGATE_ROLLUP_H

#include "common/aggregate/group_key.h"
#include "common/aggregate/group_table.h"

struct ab_rollup;

/* An empty rollup; query, aggregation (of query->view) and budget must outlive it. */
AB_MUST_USE ab_err ab_rollup_create(const struct ab_query *query, const struct ab_aggregation *aggregation,
    ab_time_us hidden_until_us, struct ab_memory *memory, struct ab_rollup **rollup, struct ab_error *error);
void ab_rollup_destroy(struct ab_rollup *rollup);

/* Adds one stored group: WHERE, window bounds and expiry decide whether it counts. AB_CORRUPT, AB_FULL. Bytes are not
 * kept. */
AB_MUST_USE ab_err ab_rollup_add(struct ab_rollup *rollup, struct ab_bytes key, struct ab_bytes row);

/* Adds every group of a frozen table. AB_FULL. */
AB_MUST_USE ab_err ab_rollup_add_table(struct ab_rollup *rollup, const struct ab_group_table *table);

/* Groups held. */
size_t ab_rollup_count(const struct ab_rollup *rollup);

/* Appends the encoded rows; AB_FULL when the buffer's maximum is reached. */
AB_MUST_USE ab_err ab_rollup_encode(struct ab_rollup *rollup, struct ab_buffer *out);

/* Merges encoded rows of another rollup of the same query. AB_CORRUPT, AB_FULL. */
AB_MUST_USE ab_err ab_rollup_merge(struct ab_rollup *rollup, struct ab_bytes rows);

/* Finishes: evaluates the query's items over keys, window bounds and finished measures, orders, limits. columns[i]
 * belongs to query->items[i] and lives in the arena. `overflows` counts finished values that did not fit their type
 * (shown as NULL). Without any matching group, a query that merges everything into one row still gives that row (counts
 * 0, others NULL). */
AB_MUST_USE ab_err ab_rollup_finish(struct ab_rollup *rollup, struct ab_arena *arena, struct ab_column **columns,
    uint32_t *rows_count, uint64_t *overflows, struct ab_error *error);

#endif
