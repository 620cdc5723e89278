#include "cluster/jobs.h"

#include <inttypes.h>
#include <stdio.h>

static void job_destroy(struct ab_job *job)
{
    ab_json_destroy(job->progress);
    ab_json_destroy(job->report);
    ab_delete(job);
}

void ab_jobs_fini(struct ab_jobs *jobs)
{
    for (size_t i = 0; i < jobs->count; i++) {
        job_destroy(jobs->items[i]);
    }
    ab_delete(jobs->items);
    *jobs = (struct ab_jobs){0};
}

struct ab_job *ab_jobs_find(const struct ab_jobs *jobs, const char *id)
{
    for (size_t i = 0; i < jobs->count; i++) {
        if (strcmp(jobs->items[i]->id, id) == 0) {
            return jobs->items[i];
        }
    }
    return NULL;
}

struct ab_job *ab_jobs_running(const struct ab_jobs *jobs)
{
    for (size_t i = 0; i < jobs->count; i++) {
        if (jobs->items[i]->state == AB_JOB_RUNNING) {
            return jobs->items[i];
        }
    }
    return NULL;
}

static void job_add(struct ab_jobs *jobs, struct ab_job *job)
{
    jobs->items = ab_renew_bytes(jobs->items, (jobs->count + 1) * sizeof jobs->items[0]);
    jobs->items[jobs->count++] = job;
}

static struct ab_job *job_new(struct ab_jobs *jobs, const struct ab_job_request *request, ab_time_us now)
{
    struct ab_job *job = ab_new(struct ab_job);
    (void)snprintf(job->id, sizeof job->id, "job-%" PRIu64, ++jobs->last_number);
    (void)snprintf(job->request_id, sizeof job->request_id, "%s", request->request_id);
    job->state = AB_JOB_SUBMITTED;
    job->is_full = request->is_full;
    job->ranks_count = request->ranks_count;
    job->submitted_us = now;
    job->due_us = now;
    job_add(jobs, job);
    return job;
}

static ab_err request_check(const struct ab_jobs *jobs, const struct ab_job_request *request, struct ab_error *error)
{
    if (request->ranks_count < 1 || request->ranks_count > AB_JOB_RANKS_MAX) {
        return ab_error_set(error, AB_USAGE, "a job has 1 to %u ranks, not %u", AB_JOB_RANKS_MAX, request->ranks_count);
    }
    if (strlen(request->request_id) >= AB_JOB_REQUEST_BYTES) {
        return ab_error_set(error, AB_USAGE, "a request id has at most %d characters", AB_JOB_REQUEST_BYTES - 1);
    }
    if (jobs->count >= 2 * AB_JOBS_KEPT_MAX) {
        return ab_error_set(error, AB_FULL, "%zu jobs wait already", jobs->count);
    }
    return AB_OK;
}

ab_err ab_jobs_submit(struct ab_jobs *jobs, const struct ab_job_request *request, ab_time_us now, struct ab_job **job,
    bool *is_new, struct ab_error *error)
{
    AB_TRY(request_check(jobs, request, error));
    for (size_t i = 0; request->request_id[0] != '\0' && i < jobs->count; i++) {
        if (strcmp(jobs->items[i]->request_id, request->request_id) == 0) {
            *job = jobs->items[i];
            *is_new = false;
            return AB_OK;
        }
    }
    *job = job_new(jobs, request, now);
    *is_new = true;
    return AB_OK;
}

static void job_over(struct ab_job *job, enum ab_job_state state, const char *reason, ab_time_us now)
{
    job->state = state;
    job->finished_us = now;
    job->process = (struct ab_process){0};
    (void)snprintf(job->error, sizeof job->error, "%s", reason);
}

ab_err ab_jobs_begin(struct ab_jobs *jobs, const char *id, const struct ab_job_request *request, ab_time_us now,
    struct ab_job **job, struct ab_error *error)
{
    AB_TRY(request_check(jobs, request, error));
    bool is_by_hand = id[0] == '\0';
    struct ab_job *found = is_by_hand ? NULL : ab_jobs_find(jobs, id);
    struct ab_job *running = ab_jobs_running(jobs);
    if (!is_by_hand && found == NULL) {
        return ab_error_set(error, AB_NOT_FOUND, "there is no job '%s'", id);
    }
    if (found != NULL && (found->state == AB_JOB_DONE || found->state == AB_JOB_FAILED)) {
        return ab_error_set(error, AB_CLOSED, "%s is %s", id, ab_job_state_name(found->state));
    }
    if (running != NULL && running != found) {
        return ab_error_set(error, AB_BUSY, "%s runs; one job runs at a time", running->id);
    }
    if (found == NULL) {
        found = job_new(jobs, request, now);
        found->is_by_hand = true;
    }
    if (found->state == AB_JOB_SUBMITTED) {
        found->state = AB_JOB_RUNNING;
        found->started_us = now;
        found->is_by_hand = true; /* nobody of ours started this process */
    }
    found->attempt++;
    found->heard_us = now;
    *job = found;
    return AB_OK;
}

ab_err ab_jobs_check(
    struct ab_jobs *jobs, const char *id, uint32_t attempt, ab_time_us now, struct ab_job **job, struct ab_error *error)
{
    struct ab_job *found = ab_jobs_find(jobs, id);
    if (found == NULL) {
        return ab_error_set(error, AB_NOT_FOUND, "there is no job '%s'", id);
    }
    if (found->state != AB_JOB_RUNNING) {
        return ab_error_set(error, AB_CLOSED, "%s is %s", id, ab_job_state_name(found->state));
    }
    if (found->attempt != attempt) {
        return ab_error_set(
            error, AB_STALE, "attempt %u of %s was replaced by attempt %u", attempt, id, found->attempt);
    }
    found->heard_us = now;
    *job = found;
    return AB_OK;
}

struct ab_job *ab_jobs_due(const struct ab_jobs *jobs, ab_time_us now)
{
    if (ab_jobs_running(jobs) != NULL) {
        return NULL;
    }
    for (size_t i = 0; i < jobs->count; i++) {
        if (jobs->items[i]->state == AB_JOB_SUBMITTED) {
            return jobs->items[i]->due_us <= now ? jobs->items[i]
                                                 : NULL; /* in order: a waiting retry is not overtaken */
        }
    }
    return NULL;
}

void ab_job_started(struct ab_job *job, const struct ab_process *process, ab_time_us now)
{
    job->state = AB_JOB_RUNNING;
    job->is_by_hand = false;
    job->starts_count++;
    job->started_us = now;
    job->heard_us = now;
    job->process = *process;
}

static ab_time_us backoff_us(uint32_t starts_count)
{
    ab_time_us wait = AB_JOB_BACKOFF_US_FIRST;
    for (uint32_t i = 1; i < starts_count && wait < AB_JOB_BACKOFF_US_MAX; i++) {
        wait *= 4;
    }
    return wait < AB_JOB_BACKOFF_US_MAX ? wait : AB_JOB_BACKOFF_US_MAX;
}

void ab_job_ended(struct ab_job *job, const char *reason, ab_time_us now)
{
    if (job->state == AB_JOB_DONE || job->state == AB_JOB_FAILED) {
        job->process = (struct ab_process){0};
        return;
    }
    if (job->state == AB_JOB_SUBMITTED) {
        job->starts_count++; /* it could not even be started */
    }
    if (job->is_by_hand || job->starts_count >= AB_JOB_STARTS_MAX) {
        job_over(job, AB_JOB_FAILED, reason, now);
        return;
    }
    job->state = AB_JOB_SUBMITTED;
    job->process = (struct ab_process){0};
    job->due_us = now + backoff_us(job->starts_count);
    (void)snprintf(job->error, sizeof job->error, "%s", reason);
}

void ab_job_interrupted(struct ab_job *job, ab_time_us now)
{
    if (job->is_by_hand) {
        job_over(job, AB_JOB_FAILED, "the cluster was stopped", now);
        return;
    }
    job->state = AB_JOB_SUBMITTED;
    job->starts_count -= job->starts_count > 0;
    job->process = (struct ab_process){0};
    job->due_us = now;
}

void ab_job_published(struct ab_job *job, struct ab_json *report, ab_time_us now)
{
    struct ab_process process = job->process; /* it still has to end: the controller reaps it */
    job_over(job, AB_JOB_DONE, "", now);
    job->process = process;
    ab_json_destroy(job->progress); /* the report says what was done */
    job->progress = NULL;
    ab_json_destroy(job->report);
    job->report = report;
}

void ab_job_refused(struct ab_job *job, const char *reason, ab_time_us now)
{
    struct ab_process process = job->process;
    job_over(job, AB_JOB_FAILED, reason, now);
    job->process = process;
}

struct ab_job *ab_jobs_silent(const struct ab_jobs *jobs, ab_time_us now)
{
    struct ab_job *running = ab_jobs_running(jobs);
    bool is_silent = running != NULL && running->is_by_hand && now - running->heard_us > AB_JOB_SILENCE_US;
    return is_silent ? running : NULL;
}

struct ab_job *ab_jobs_surplus(const struct ab_jobs *jobs)
{
    for (size_t i = 0; jobs->count > AB_JOBS_KEPT_MAX && i < jobs->count; i++) {
        struct ab_job *job = jobs->items[i];
        if ((job->state == AB_JOB_DONE || job->state == AB_JOB_FAILED) && job->process.pid == 0) {
            return job;
        }
    }
    return NULL;
}

void ab_jobs_remove(struct ab_jobs *jobs, struct ab_job *job)
{
    size_t kept = 0;
    for (size_t i = 0; i < jobs->count; i++) {
        if (jobs->items[i] != job) {
            jobs->items[kept++] = jobs->items[i];
        }
    }
    jobs->count = kept;
    job_destroy(job);
}
