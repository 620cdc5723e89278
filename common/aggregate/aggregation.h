/* aggregation: a view compiled into what has to be kept and how columns feed it.
 *
 * The measures of a view are mapped to unique primitive states (primitive.h): avg(x) is count(x) and sum(x), var_pop(x)
 * is count(x), sum(x) and the sum of squares. Two measures with the same argument and filter share them. The first
 * primitive of every view is the number of rows, so counts can always be reconciled. The same aggregation runs in the
 * stream worker, the MPI rank and the router; states never depend on which of them made them (I5).
 *
 * Threads: read-only after creation, any thread.
 */
#ifndef ANABRANCH_COMMON_AGGREGATE_AGGREGATION_H
#define ANABRANCH_COMMON_AGGREGATE_AGGREGATION_H

#include "common/catalog/catalog.h"

struct ab_aggregation;

/* Compiles a view; the view (its catalog) must outlive the aggregation. */
AB_MUST_USE ab_err ab_aggregation_create(
    const struct ab_view *view, struct ab_aggregation **aggregation, struct ab_error *error);
void ab_aggregation_destroy(struct ab_aggregation *aggregation);

/* The view it was made of. */
const struct ab_view *ab_aggregation_view(const struct ab_aggregation *aggregation);

/* Marks used[i] for every stream column that keys, pane, filters or arguments read (event time too when first/last need
 * it): the projection of a scan. */
void ab_aggregation_columns(const struct ab_aggregation *aggregation, bool *used, size_t used_count);

/* Rows to aggregate: columns by stream column index (NULL entry = all NULL); no row that counts is NULL in a NOT NULL
 * column. Row r's identity is (partition, offsets[r] or offset, ordinals[r] or r). */
struct ab_rows {
    const struct ab_column *const *columns;
    uint32_t rows_count;
    const uint8_t *skip; /* 1 = the row does not count (duplicate or rejected); NULL = none */
    uint32_t partition;
    uint64_t offset;             /* of the record, when offsets is NULL */
    const int64_t *offsets;      /* per row, from history; NULL in the stream */
    const int64_t *ordinals;     /* per row, from history; NULL in the stream */
    ab_time_us expired_until_us; /* panes that end at or before it have expired for these rows; INT64_MIN = none */
};

/* What became of rows that were not skipped: rows = aggregated + filtered + expired. */
struct ab_row_counts {
    uint64_t aggregated;
    uint64_t filtered; /* WHERE was not TRUE, or the pane's time was NULL */
    uint64_t expired;
    uint64_t faults; /* expression results made NULL by overflow or division by zero */
};

#endif
