/* job: one attempt of a batch job as each rank holds it, and its stages. Private to the program.
 *
 * Stages are collective: all ranks call them in the same order and get the same result (the greatest error of all);
 * each rank has its own text.
 *
 *   seal ─▶ combine ─▶ (rank 0: reconcile) ─▶ write ─▶ (rank 0: publish)
 *
 * Over several nodes there is a catch-up before it, which brings each node what the others have of history and of the
 * versions that stand, and before the publication what is new goes to every node (replicate.h).
 */
#ifndef ANABRANCH_BATCH_JOB_H
#define ANABRANCH_BATCH_JOB_H

#include "batch/control.h"
#include "batch/exchange.h"
#include "batch/places.h"
#include "batch/plan.h"
#include "batch/publish.h"
#include "batch/sealed.h"
#include "batch/unit.h"

enum ab_job_stage {
    AB_STAGE_BEGIN,
    AB_STAGE_CATCH_UP,
    AB_STAGE_SEAL,
    AB_STAGE_COMBINE,
    AB_STAGE_RECONCILE,
    AB_STAGE_WRITE,
    AB_STAGE_REPLICATE,
    AB_STAGE_PUBLISH
};

struct ab_job {
    const char *directory; /* borrowed: the cluster's, or of the node that this rank works for */
    struct ab_places places;
    struct ab_control *control; /* owned; rank 0 only */
    struct ab_plan plan;
    char *work;                          /* owned: folder of runs */
    struct ab_memory memory;             /* of this rank */
    size_t first_span;                   /* the first that some view has not */
    struct ab_sealed_span *sealed;       /* owned; [span * partitions + partition], own partitions only */
    uint64_t *sealed_now;                /* owned; per span: partitions that this job sealed, on all ranks */
    bool *holds;                         /* owned; per place: it has all that it should have */
    struct ab_buffer results;            /* struct ab_unit_result each: of this rank */
    struct ab_buffer shards;             /* struct ab_shard_result each: of this rank */
    uint32_t *kept;                      /* owned; per view: directories that stay */
    struct ab_control_progress progress; /* of this rank, but for the total */
    enum ab_job_stage stage;
    struct ab_exchange_note *heard; /* owned; rank 0: what each rank told last */
    int64_t told_us;                /* monotonic: when it was told, or passed on, last */
};

/* Before the plan: every node gets the sealed spans up to the cut that others have. */
AB_MUST_USE ab_err ab_job_bring_history(struct ab_job *job, uint64_t cut, uint32_t attempt, struct ab_error *error);

/* Prepares what follows from the plan; and frees everything. */
void ab_job_prepare(struct ab_job *job);
void ab_job_fini(struct ab_job *job);

/* Every node gets the directories of the versions that stand. */
AB_MUST_USE ab_err ab_job_catch_up(struct ab_job *job, struct ab_error *error);

/* Seals the spans of own partitions that are not sealed. A partition whose log here is not what the cut says goes on to
 * a rank of another node. */
AB_MUST_USE ab_err ab_job_seal(struct ab_job *job, struct ab_error *error);

/* Combines own units into runs. */
AB_MUST_USE ab_err ab_job_combine(struct ab_job *job, struct ab_error *error);

/* Shuffles what is not aligned and writes the directories of own shards. */
AB_MUST_USE ab_err ab_job_write(struct ab_job *job, struct ab_error *error);

/* Every node gets what was sealed and written. */
AB_MUST_USE ab_err ab_job_replicate(struct ab_job *job, struct ab_error *error);

/* Begins to count anew, for a stage of `total` units on all ranks together. */
void ab_job_stage_begin(struct ab_job *job, enum ab_job_stage stage, uint64_t total);

/* Tells where the job is if it is time: rank 0 the controller, the others rank 0. */
void ab_job_tick(struct ab_job *job);

/* True when this rank does the work of a partition, and writes the shard of that number. */
bool ab_job_owns(const struct ab_job *job, uint32_t partition);

#endif
