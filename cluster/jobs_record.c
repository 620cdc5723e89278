#include "cluster/jobs.h"

#include <inttypes.h>
#include <stdio.h>

static const char *const state_names[] = {
    [AB_JOB_SUBMITTED] = "submitted",
    [AB_JOB_RUNNING] = "running",
    [AB_JOB_DONE] = "done",
    [AB_JOB_FAILED] = "failed",
};

const char *ab_job_state_name(enum ab_job_state state)
{
    return state_names[state];
}

static void text_set(struct ab_json *record, const char *key, const char *text)
{
    if (text[0] != '\0') {
        ab_json_set(record, key, ab_json_text(text));
    }
}

static void time_set(struct ab_json *record, const char *key, ab_time_us time)
{
    if (time != 0) {
        ab_json_set(record, key, ab_json_integer(time));
    }
}

/* A copy through text: members are owned by one container only. */
static struct ab_json *json_copy(const struct ab_json *value)
{
    struct ab_buffer text;
    struct ab_json *copy = NULL;
    ab_buffer_init(&text, NULL, 0);
    ab_json_write(value, 0, &text);
    if (ab_json_parse(ab_buffer_view(&text), &copy, NULL) != AB_OK) {
        copy = ab_json_null();
    }
    ab_buffer_fini(&text);
    return copy;
}

struct ab_json *ab_job_encode(const struct ab_job *job)
{
    struct ab_json *record = ab_json_object();
    ab_json_set(record, "id", ab_json_text(job->id));
    ab_json_set(record, "kind", ab_json_text("recompute"));
    ab_json_set(record, "state", ab_json_text(ab_job_state_name(job->state)));
    ab_json_set(record, "full", ab_json_boolean(job->is_full));
    ab_json_set(record, "ranks", ab_json_integer(job->ranks_count));
    ab_json_set(record, "by_hand", ab_json_boolean(job->is_by_hand));
    ab_json_set(record, "starts", ab_json_integer(job->starts_count));
    ab_json_set(record, "attempt", ab_json_integer(job->attempt));
    ab_json_set(record, "cut", ab_json_integer((int64_t)job->cut));
    text_set(record, "request_id", job->request_id);
    time_set(record, "submitted_us", job->submitted_us);
    time_set(record, "started_us", job->started_us);
    time_set(record, "finished_us", job->finished_us);
    time_set(record, "due_us", job->due_us);
    time_set(record, "heard_us", job->heard_us);
    if (job->process.pid != 0) {
        ab_json_set(record, "pid", ab_json_integer(job->process.pid));
        ab_json_set_u64(record, "pid_start_ticks", job->process.start_ticks);
        if (job->process_node != 0) {
            ab_json_set(record, "pid_node", ab_json_integer(job->process_node));
        }
    }
    text_set(record, "error", job->error);
    if (job->progress != NULL) {
        ab_json_set(record, "progress", json_copy(job->progress));
    }
    if (job->report != NULL) {
        ab_json_set(record, "report", json_copy(job->report));
    }
    return record;
}

static bool state_parse(const char *name, enum ab_job_state *state)
{
    for (size_t i = 0; i < sizeof state_names / sizeof state_names[0]; i++) {
        if (strcmp(state_names[i], name) == 0) {
            *state = (enum ab_job_state)i;
            return true;
        }
    }
    return false;
}

static struct ab_json *member_copy(const struct ab_json *record, const char *key)
{
    const struct ab_json *member = ab_json_get(record, key);
    return ab_json_is_null(member) ? NULL : json_copy(member);
}

static ab_time_us time_get(const struct ab_json *record, const char *key)
{
    return ab_json_integer_or(ab_json_get(record, key), 0);
}

static uint32_t small_get(const struct ab_json *record, const char *key)
{
    int64_t number = ab_json_integer_or(ab_json_get(record, key), 0);
    return number < 0 || number > UINT32_MAX ? 0 : (uint32_t)number;
}

ab_err ab_jobs_decode(struct ab_jobs *jobs, const struct ab_json *record, struct ab_error *error)
{
    const char *id = ab_json_text_or(ab_json_get(record, "id"), "");
    uint64_t number = 0;
    enum ab_job_state state = AB_JOB_FAILED;
    if (sscanf(id, "job-%" SCNu64, &number) != 1 || strlen(id) >= AB_JOB_ID_BYTES ||
        !state_parse(ab_json_text_or(ab_json_get(record, "state"), ""), &state)) {
        return ab_error_set(error, AB_CORRUPT, "the record of job '%.40s' is malformed", id);
    }
    struct ab_job *job = ab_new(struct ab_job);
    (void)snprintf(job->id, sizeof job->id, "%s", id);
    (void)snprintf(
        job->request_id, sizeof job->request_id, "%s", ab_json_text_or(ab_json_get(record, "request_id"), ""));
    (void)snprintf(job->error, sizeof job->error, "%s", ab_json_text_or(ab_json_get(record, "error"), ""));
    job->state = state;
    job->is_full = ab_json_boolean_or(ab_json_get(record, "full"), false);
    job->is_by_hand = ab_json_boolean_or(ab_json_get(record, "by_hand"), false);
    job->ranks_count = small_get(record, "ranks");
    job->starts_count = small_get(record, "starts");
    job->attempt = small_get(record, "attempt");
    job->cut = ab_json_u64_or(ab_json_get(record, "cut"), 0);
    job->submitted_us = time_get(record, "submitted_us");
    job->started_us = time_get(record, "started_us");
    job->finished_us = time_get(record, "finished_us");
    job->due_us = time_get(record, "due_us");
    job->heard_us = time_get(record, "heard_us");
    job->process.pid = ab_json_integer_or(ab_json_get(record, "pid"), 0);
    job->process.start_ticks = ab_json_u64_or(ab_json_get(record, "pid_start_ticks"), 0);
    job->process_node = small_get(record, "pid_node");
    job->progress = member_copy(record, "progress");
    job->report = member_copy(record, "report");
    /* Kept in order of number, whatever order the records come in. */
    jobs->items = ab_renew_bytes(jobs->items, (jobs->count + 1) * sizeof jobs->items[0]);
    size_t place = jobs->count++;
    for (; place > 0; place--) {
        uint64_t before = 0;
        (void)sscanf(jobs->items[place - 1]->id, "job-%" SCNu64, &before); /* checked when it came in */
        if (before < number) {
            break;
        }
        jobs->items[place] = jobs->items[place - 1];
    }
    jobs->items[place] = job;
    jobs->last_number = jobs->last_number > number ? jobs->last_number : number;
    return AB_OK;
}
