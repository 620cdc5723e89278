/* jobs: which batch job runs, which waits, which is tried again. A pure core: no clock, process, file or lock.
 *
 *              submit                    start               publish
 *   (none) ───────────▶ submitted ─────────────▶ running ─────────────▶ done
 *                          ▲                        │
 *                          │ process ended, starts  │ process ended, no starts left;
 *                          └──── left: back-off ────┤ refused for good
 *                                                   └─────────────────▶ failed
 *
 * One job runs at a time, in order of submission. A job keeps its cut over all its starts (I6: a retry publishes the
 * same span); every BEGIN gets a higher attempt, and only the highest may publish: that is the fence against a process
 * that was thought dead. A job by hand (mpirun without the controller) has no process of ours: it counts as gone when
 * nothing was heard of it for AB_JOB_SILENCE_US.
 *
 * Threads: owner; the controller holds its lock around every call.
 */
#ifndef ANABRANCH_CLUSTER_JOBS_H
#define ANABRANCH_CLUSTER_JOBS_H

#include "cluster/process.h"
#include "common/base/json.h"
#include "common/base/time.h"

#define AB_JOB_STARTS_MAX 3u
#define AB_JOB_BACKOFF_US_FIRST (1 * AB_US_PER_SECOND)
#define AB_JOB_BACKOFF_US_MAX (60 * AB_US_PER_SECOND)
#define AB_JOB_SILENCE_US (5 * AB_US_PER_MINUTE)
#define AB_JOB_RANKS_MAX 1024u
#define AB_JOBS_KEPT_MAX 1000u
#define AB_JOB_ID_BYTES 32
#define AB_JOB_REQUEST_BYTES 64
#define AB_JOB_ERROR_BYTES 512

enum ab_job_state { AB_JOB_SUBMITTED, AB_JOB_RUNNING, AB_JOB_DONE, AB_JOB_FAILED };

struct ab_job {
    char id[AB_JOB_ID_BYTES];              /* "job-7" */
    char request_id[AB_JOB_REQUEST_BYTES]; /* of the submission; "" = none */
    enum ab_job_state state;
    bool is_full;
    bool is_by_hand;
    uint32_t ranks_count;
    uint32_t starts_count; /* processes started */
    uint32_t attempt;      /* fencing number: of the newest BEGIN */
    uint64_t cut;          /* 0 = not taken yet */
    ab_time_us submitted_us, started_us, finished_us;
    ab_time_us due_us;              /* not started before */
    ab_time_us heard_us;            /* last verb from it */
    struct ab_process process;      /* leader of its group; pid 0 = none */
    uint32_t process_node;          /* whose process it is; 0 = the only node's */
    struct ab_json *progress;       /* owned; NULL = none */
    struct ab_json *report;         /* owned; NULL = none */
    char error[AB_JOB_ERROR_BYTES]; /* why it failed last; "" */
};

/* Zeroed memory is an empty list. */
struct ab_jobs {
    struct ab_job **items; /* owned, in order of submission */
    size_t count;
    uint64_t last_number; /* of the newest id */
};

void ab_jobs_fini(struct ab_jobs *jobs);

/* Finds by id; NULL. */
struct ab_job *ab_jobs_find(const struct ab_jobs *jobs, const char *id);

/* The job that runs, or NULL. */
struct ab_job *ab_jobs_running(const struct ab_jobs *jobs);

/* What a submission asks for. */
struct ab_job_request {
    const char *request_id; /* "" = not idempotent */
    bool is_full;
    uint32_t ranks_count;
};

/* Adds a submitted job, or finds the one of the same request id (*is_new false). AB_USAGE for ranks out of range,
 * AB_FULL. */
AB_MUST_USE ab_err ab_jobs_submit(struct ab_jobs *jobs, const struct ab_job_request *request, ab_time_us now,
    struct ab_job **job, bool *is_new, struct ab_error *error);

/* A batch process reports for work. `id` "" = by hand: a job is made for it. AB_BUSY when another job runs,
 * AB_NOT_FOUND, AB_CLOSED when the job is over. On AB_OK job->attempt is the caller's fencing number. */
AB_MUST_USE ab_err ab_jobs_begin(struct ab_jobs *jobs, const char *id, const struct ab_job_request *request,
    ab_time_us now, struct ab_job **job, struct ab_error *error);

/* May this attempt go on (progress, publish)? AB_STALE when a newer one has begun, AB_CLOSED when the job is over,
 * AB_NOT_FOUND. Notes that it was heard. */
AB_MUST_USE ab_err ab_jobs_check(struct ab_jobs *jobs, const char *id, uint32_t attempt, ab_time_us now,
    struct ab_job **job, struct ab_error *error);

/* The next job whose process is to be started now, or NULL. */
struct ab_job *ab_jobs_due(const struct ab_jobs *jobs, ab_time_us now);

/* Its process was started. */
void ab_job_started(struct ab_job *job, const struct ab_process *process, ab_time_us now);

/* Its process ended without publishing, or could not be started: tried again later, or failed. `reason` for a person.
 */
void ab_job_ended(struct ab_job *job, const char *reason, ab_time_us now);

/* It was stopped with the controller: back to the queue, this start not counted. */
void ab_job_interrupted(struct ab_job *job, ab_time_us now);

/* What it published is in force; takes `report` (may be NULL). */
void ab_job_published(struct ab_job *job, struct ab_json *report, ab_time_us now);

/* It cannot succeed. */
void ab_job_refused(struct ab_job *job, const char *reason, ab_time_us now);

/* A running job by hand of which nothing was heard for too long, or NULL. */
struct ab_job *ab_jobs_silent(const struct ab_jobs *jobs, ab_time_us now);

/* The oldest job that is over, when more than AB_JOBS_KEPT_MAX are kept, else NULL; and taking it out of the list
 * (frees it). */
struct ab_job *ab_jobs_surplus(const struct ab_jobs *jobs);
void ab_jobs_remove(struct ab_jobs *jobs, struct ab_job *job);

/* "submitted", "running", "done", "failed"; a static string. */
const char *ab_job_state_name(enum ab_job_state state);

/* The record as stored and shown. The result is the caller's. */
struct ab_json *ab_job_encode(const struct ab_job *job);

/* Adds the job of a stored record; AB_CORRUPT. */
AB_MUST_USE ab_err ab_jobs_decode(struct ab_jobs *jobs, const struct ab_json *record, struct ab_error *error);

#endif
