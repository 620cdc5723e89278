/* combine: the rows of one view, span and partition become groups in key order: a run with digest and counts.
 *
 * Groups gather in a hash table; when the rank's budget is passed the table is written out as a sorted run and begun
 * anew, and the runs are merged at the end. States merge exactly, so the result is the same bytes whether or not
 * anything was spilled (I5, I8).
 *
 * Threads: owner.
 */
#ifndef ANABRANCH_BATCH_COMBINE_H
#define ANABRANCH_BATCH_COMBINE_H

#include "batch/run_file.h"
#include "common/aggregate/group_table.h"

#define AB_COMBINE_SPILLS_MAX 64u /* more are merged into one */

struct ab_combine;

/* Starts; the finished run will stand at `path`, spills beside it. Aggregation and budget must outlive it. */
struct ab_combine *ab_combine_create(
    const struct ab_aggregation *aggregation, const char *path, struct ab_memory *memory);

/* Gives up and removes spills; NULL is legal. */
void ab_combine_destroy(struct ab_combine *combine);

/* Aggregates rows. Scratch is the caller's to reset. */
void ab_combine_add(struct ab_combine *combine, const struct ab_rows *rows, struct ab_arena *scratch);

/* Bytes that spilling would free. */
size_t ab_combine_bytes(const struct ab_combine *combine);

/* Writes the table out and begins a new one. */
AB_MUST_USE ab_err ab_combine_spill(struct ab_combine *combine, struct ab_error *error);

/* Writes the run and its summary. The caller still destroys. */
AB_MUST_USE ab_err ab_combine_finish(
    struct ab_combine *combine, struct ab_run_summary *summary, struct ab_error *error);

#endif
