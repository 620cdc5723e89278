/* unit: one partition and span of a job combined: every view of every stream, in one pass over each stream's sealed
 * rows.
 *
 * A finished unit leaves one run a view: <work>/combine-<view uid>-p<partition>-s<span>.run, which a later attempt of
 * the same job uses again. A view without rows in the unit leaves none.
 *
 * Threads: owner. Memory: the tables of all views and the columns of a row group, within one budget: the largest table
 * is spilled first.
 */
#ifndef ANABRANCH_BATCH_UNIT_H
#define ANABRANCH_BATCH_UNIT_H

#include "batch/plan.h"
#include "batch/run_file.h"
#include "batch/sealed.h"

struct ab_unit {
    const struct ab_plan *plan;
    const char *directory; /* the cluster's */
    const char *work;      /* the job's folder for runs */
    uint32_t partition;
    size_t span; /* index into the plan's */
    const struct ab_sealed_span *sealed;
    struct ab_memory *memory;
    void (*on_rows)(uint64_t rows_count, void *context); /* some were scanned; may be NULL */
    void *context;
};

/* What a unit did for one view. No pointers: it travels between ranks as bytes. */
struct ab_unit_result {
    uint32_t view; /* index into the plan's */
    uint32_t partition;
    uint64_t span; /* index into the plan's */
    struct ab_run_summary summary;
};

/* Path of a unit's run; freed with ab_delete. */
char *ab_unit_run_path(const char *work, const struct ab_plan *plan, size_t view, uint32_t partition, size_t span);

/* Combines; results has a place for each view of the plan, *results_count says how many were filled: those for which
 * the span is new. is_reused says that nothing had to be read. AB_CORRUPT and the like with the place. */
AB_MUST_USE ab_err ab_unit_combine(const struct ab_unit *unit, struct ab_unit_result *results, size_t *results_count,
    bool *is_reused, struct ab_error *error);

#endif
