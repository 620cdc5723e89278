#include "cluster/controller/controller.h"

#include "common/base/logging.h"

#include <inttypes.h>
#include <unistd.h>

#define RANKS_DEFAULT_MAX 4
#define IDLE_US (200 * AB_US_PER_MS)

static ab_err verb_ping(
    struct ab_controller *controller, const struct ab_json *payload, struct ab_json **reply, struct ab_error *error)
{
    (void)controller;
    (void)payload;
    (void)error;
    *reply = ab_json_object();
    return AB_OK;
}

static ab_err verb_shutdown(
    struct ab_controller *controller, const struct ab_json *payload, struct ab_json **reply, struct ab_error *error)
{
    (void)payload;
    (void)error;
    ab_info("shutdown asked for", "by a client");
    atomic_store(&controller->is_stopping, true);
    *reply = ab_json_object();
    return AB_OK;
}

/* As many ranks as processors, but not more than pay off on one machine. */
static int64_t ranks_default(void)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    return processors < 1 ? 1 : processors > RANKS_DEFAULT_MAX ? RANKS_DEFAULT_MAX : processors;
}

/* Among several nodes a job that is not written down is none: another controller would not know of it. */
static ab_err submitted_store_locked(
    struct ab_controller *controller, struct ab_job *job, bool is_new, struct ab_error *error)
{
    if (!is_new) {
        return AB_OK;
    }
    if (!ab_controller_is_of_several(controller)) {
        ab_job_store_locked(controller, job);
        return AB_OK;
    }
    ab_err err = ab_job_write_locked(controller, job, error);
    if (err != AB_OK) {
        ab_jobs_remove(&controller->jobs, job);
    }
    return err;
}

static ab_err verb_job_submit(
    struct ab_controller *controller, const struct ab_json *payload, struct ab_json **reply, struct ab_error *error)
{
    const char *kind = ab_json_text_or(ab_json_get(payload, "kind"), "recompute");
    if (strcmp(kind, "recompute") != 0) {
        return ab_error_set(error, AB_USAGE, "unknown kind of job '%.40s'; known: recompute", kind);
    }
    int64_t ranks = ab_json_integer_or(ab_json_get(payload, "ranks"), 0);
    const struct ab_job_request request = {.request_id = ab_json_text_or(ab_json_get(payload, "request_id"), ""),
        .is_full = ab_json_boolean_or(ab_json_get(payload, "full"), false),
        .ranks_count = (uint32_t)(ranks == 0                        ? ranks_default()
                                  : ranks < 0 || ranks > UINT32_MAX ? UINT32_MAX
                                                                    : ranks)};
    struct ab_job *job = NULL;
    bool is_new = false;
    ab_lock_take(&controller->lock);
    ab_err err = ab_jobs_submit(&controller->jobs, &request, ab_time_now(), &job, &is_new, error);
    if (err == AB_OK) {
        err = submitted_store_locked(controller, job, is_new, error);
    }
    if (err == AB_OK) {
        *reply = ab_job_encode(job);
    }
    ab_lock_give(&controller->lock);
    return err;
}

static ab_err verb_job_list(
    struct ab_controller *controller, const struct ab_json *payload, struct ab_json **reply, struct ab_error *error)
{
    (void)payload;
    (void)error;
    struct ab_json *list = ab_json_array();
    ab_lock_take(&controller->lock);
    for (size_t i = 0; i < controller->jobs.count; i++) {
        ab_json_append(list, ab_job_encode(controller->jobs.items[i]));
    }
    ab_lock_give(&controller->lock);
    *reply = ab_json_object();
    ab_json_set(*reply, "jobs", list);
    return AB_OK;
}

static ab_err verb_job_show(
    struct ab_controller *controller, const struct ab_json *payload, struct ab_json **reply, struct ab_error *error)
{
    const char *id = ab_json_text_or(ab_json_get(payload, "job"), "");
    ab_lock_take(&controller->lock);
    const struct ab_job *job = ab_jobs_find(&controller->jobs, id);
    *reply = job == NULL ? NULL : ab_job_encode(job);
    ab_lock_give(&controller->lock);
    return *reply != NULL ? AB_OK : ab_error_set(error, AB_NOT_FOUND, "there is no job '%.40s'", id);
}

/* Notes how far a job is; only in memory, for a restarted controller starts the attempt anew. */
static ab_err verb_job_progress(
    struct ab_controller *controller, const struct ab_json *payload, struct ab_json **reply, struct ab_error *error)
{
    struct ab_job *job = NULL;
    struct ab_buffer text;
    struct ab_json *copy = NULL;
    ab_buffer_init(&text, NULL, 64u << 10);
    ab_json_write(payload, 0, &text);
    ab_err err = ab_json_parse(ab_buffer_view(&text), &copy, error);
    ab_buffer_fini(&text);
    AB_TRY(err);
    uint64_t attempt = ab_json_u64_or(ab_json_get(payload, "attempt"), 0);
    ab_lock_take(&controller->lock);
    err = ab_jobs_check(&controller->jobs, ab_json_text_or(ab_json_get(payload, "job"), ""), (uint32_t)attempt,
        ab_time_now(), &job, error);
    if (err == AB_OK) {
        ab_json_destroy(job->progress);
        job->progress = copy;
    }
    ab_lock_give(&controller->lock);
    if (err != AB_OK) {
        ab_json_destroy(copy);
        return err;
    }
    *reply = ab_json_object();
    return AB_OK;
}

static const struct verb_row {
    ab_controller_verb_fn answer;
    bool is_slow;
    bool is_of_acting; /* for the controller that acts for all nodes */
    bool is_of_jobs;   /* wants the list of jobs */
} verbs[AB_VERB_COUNT] = {
    [AB_VERB_PING] = {verb_ping, false, false, false},
    [AB_VERB_STATUS] = {ab_verb_status, false, false, false},
    [AB_VERB_SHUTDOWN] = {verb_shutdown, false, false, false},
    [AB_VERB_JOB_SUBMIT] = {verb_job_submit, false, true, true},
    [AB_VERB_JOB_LIST] = {verb_job_list, false, true, true},
    [AB_VERB_JOB_SHOW] = {verb_job_show, false, true, true},
    [AB_VERB_JOB_PROGRESS] = {verb_job_progress, false, true, true},
    [AB_VERB_APPLY] = {ab_verb_apply, true, true, false},
    [AB_VERB_NODE_CHANGE] = {ab_verb_node_change, false, true, false},
    [AB_VERB_JOB_BEGIN] = {ab_verb_job_begin, true, true, true},
    [AB_VERB_JOB_PUBLISH] = {ab_verb_job_publish, true, true, true},
};

/* False when somebody else sees to the request's answer. A node hands on what others asked of it: among several. */
static bool is_taken(struct ab_controller *controller, struct ab_request *request)
{
    if (controller->forward == NULL && request->role == AB_ROLE_NODE) {
        ab_request_reply(request, AB_DENIED, "a node hands requests on only among several", (struct ab_bytes){0});
        return false;
    }
    if (ab_controller_is_acting(controller)) {
        return true;
    }
    ab_forward_request(controller->forward, request);
    return false;
}

void ab_controller_on_request(struct ab_request *request, void *context)
{
    struct ab_controller *controller = context;
    enum ab_verb verb = request->envelope.verb;
    if ((unsigned)verb >= AB_VERB_COUNT || verbs[verb].answer == NULL) {
        ab_request_reply(request, AB_UNSUPPORTED, "the controller does not answer this verb", (struct ab_bytes){0});
        return;
    }
    if (verbs[verb].is_of_acting && !is_taken(controller, request)) {
        return;
    }
    struct ab_queue *queue = verbs[verb].is_slow ? controller->slow_requests : controller->quick_requests;
    if (ab_queue_try_put(queue, request, request->payload.bytes) != AB_OK) {
        ab_request_reply(request, AB_FULL, "too many requests wait at the controller", (struct ab_bytes){0});
    }
}

static void request_answer(struct ab_controller *controller, struct ab_request *request)
{
    struct ab_error error = {0};
    struct ab_json *payload = NULL;
    struct ab_json *reply = NULL;
    ab_err err = AB_OK;
    if (ab_time_monotonic_us() > request->deadline_us) {
        ab_request_drop(request); /* nobody waits for it any more, and has asked again if it matters */
        return;
    }
    if (request->payload.bytes > 0) {
        err = ab_json_parse(request->payload, &payload, &error);
        err = err == AB_OK ? AB_OK : ab_error_wrap(&error, AB_INVALID, "the request's JSON");
        if (err == AB_OK && !ab_json_is_object(payload)) {
            err = ab_error_set(&error, AB_INVALID, "the request is no JSON object");
        }
    }
    if (err == AB_OK && verbs[request->envelope.verb].is_of_jobs && !ab_jobs_are_known(controller)) {
        err = ab_error_set(&error, AB_UNAVAILABLE, "this controller has just begun to act, or ends; ask again");
    }
    if (err == AB_OK) {
        ab_controller_session_enter(controller);
        err = verbs[request->envelope.verb].answer(controller, payload, &reply, &error);
        ab_controller_session_leave(controller);
    }
    struct ab_buffer text;
    ab_buffer_init(&text, NULL, AB_WIRE_MESSAGE_BYTES_MAX - 4096);
    if (err == AB_OK) {
        ab_json_write(reply, 0, &text);
        if (ab_buffer_finish(&text) != AB_OK) {
            err = ab_error_set(&error, AB_TOO_LARGE, "the answer is larger than a message may be");
            ab_buffer_clear(&text);
        }
    }
    ab_request_reply(request, err, err == AB_OK ? NULL : error.text, ab_buffer_view(&text));
    ab_buffer_fini(&text);
    ab_json_destroy(reply);
    ab_json_destroy(payload);
}

static void requests_run(struct ab_controller *controller, struct ab_queue *queue)
{
    void *item = NULL;
    while (ab_queue_take(queue, &item, 1, -1) > 0) {
        request_answer(controller, item);
    }
}

void ab_controller_slow_run(void *context)
{
    struct ab_controller *controller = context;
    requests_run(controller, controller->slow_requests);
    ab_speed_links_close(&controller->slow_links);
}

void ab_controller_quick_run(void *context)
{
    struct ab_controller *controller = context;
    requests_run(controller, controller->quick_requests);
    ab_speed_links_close(&controller->quick_links);
}
