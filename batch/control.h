/* control: rank 0's line to the controller and to speed, under the batch key.
 *
 * Threads: owner. Blocks: up to the stated time-outs; whoever does not answer is asked again for a while.
 */
#ifndef ANABRANCH_BATCH_CONTROL_H
#define ANABRANCH_BATCH_CONTROL_H

#include "batch/places.h"

struct ab_control;

/* Opens the cluster's directory and the channel to the controller. AB_NOT_FOUND, AB_UNAVAILABLE with what to do. */
AB_MUST_USE ab_err ab_control_open(const char *directory, struct ab_control **control, struct ab_error *error);
void ab_control_close(struct ab_control *control);

/* The budget of a rank that the cluster's configuration states. */
uint64_t ab_control_memory_bytes(const struct ab_control *control);

/* Reports for work: the controller takes the cut, or names the one the job has. The answer is the caller's (plan.h says
 * what is in it). */
AB_MUST_USE ab_err ab_control_begin(struct ab_control *control, const char *job, bool is_full, uint32_t ranks_count,
    struct ab_json **answer, struct ab_error *error);

/* Where the job is, all ranks together; sent when a stage begins and then at most once a second, answers are not waited
 * for. */
struct ab_control_progress {
    const char *job;
    uint32_t attempt;
    const char *stage; /* static */
    uint64_t rows;     /* in this stage: read from the log, scanned, or groups written */
    uint64_t bytes;    /* in this stage: read from the log, or written */
    uint64_t done;     /* of `total`, in units of the stage: records, rows, results or directories */
    uint64_t total;
};
void ab_control_progress(struct ab_control *control, const struct ab_control_progress *progress);

/* Speed's digests of a view in a span: of each partition what the speed says that led it, as the places have it.
 * AB_NOT_FOUND when one of them does not hold it. The answer is the caller's. */
AB_MUST_USE ab_err ab_control_digest(struct ab_control *control, const struct ab_places *places, uint64_t span,
    uint32_t view_uid, struct ab_json **answer, struct ab_error *error);

/* Asks the controller to publish; takes neither argument. AB_OK when the version pointers moved. */
AB_MUST_USE ab_err ab_control_publish(
    struct ab_control *control, const struct ab_json *request, struct ab_error *error);

#endif
