#include "batch/control.h"

#include "common/base/logging.h"
#include "common/base/time.h"
#include "common/wire/node.h"

#include <stdio.h>

#define BEGIN_TIMEOUT_MS 120000  /* the controller takes a cut meanwhile: every partition flushes */
#define DIGEST_TIMEOUT_MS 120000 /* speed merges a span's operands meanwhile */
#define PUBLISH_TIMEOUT_MS 120000
#define PROGRESS_INTERVAL_US AB_US_PER_SECOND
#define RETRY_US (60 * AB_US_PER_SECOND)
#define RETRY_PAUSE_US (250 * AB_US_PER_MS)

struct ab_control {
    struct ab_node node;
    char *directory;               /* owned */
    struct ab_channel *controller; /* owned */
    struct ab_channel *speed;      /* owned; NULL until first used */
    int64_t progress_us;           /* monotonic: when progress was sent last */
    const char *stage;             /* static: of then */
};

static ab_err channel_open(
    struct ab_control *control, const char *daemon, struct ab_channel **channel, struct ab_error *error)
{
    struct ab_node_endpoint endpoint = {0};
    AB_TRY(ab_node_endpoint_read(control->directory, daemon, &endpoint, error));
    struct ab_channel_options options = {.address = endpoint.address};
    memcpy(options.server_key, endpoint.public_key, sizeof options.server_key);
    return ab_channel_open(control->node.wire, &options, channel, error);
}

void ab_control_close(struct ab_control *control)
{
    if (control == NULL) {
        return;
    }
    ab_channel_close(control->speed);
    ab_channel_close(control->controller);
    ab_node_close(&control->node);
    ab_delete(control->directory);
    ab_delete(control);
}

ab_err ab_control_open(const char *directory, struct ab_control **control, struct ab_error *error)
{
    struct ab_control *made = ab_new(struct ab_control);
    struct ab_node_options options = {.directory = directory, .role = "batch", .name = "batch"};
    made->directory = ab_new_text(directory);
    ab_err err = ab_node_open(&options, &made->node, error);
    if (err == AB_OK) {
        err = channel_open(made, "controller", &made->controller, error);
    }
    if (err != AB_OK) {
        ab_control_close(made);
        return err;
    }
    *control = made;
    return AB_OK;
}

uint64_t ab_control_memory_bytes(const struct ab_control *control)
{
    return control->node.config.memory_bytes.batch;
}

/* One request with a JSON answer. */
static ab_err call_once(struct ab_channel *channel, enum ab_verb verb, struct ab_bytes payload, int timeout_ms,
    struct ab_json **answer, struct ab_error *error)
{
    struct ab_answer reply = {0};
    AB_TRY(ab_channel_call(channel, verb, payload, timeout_ms, &reply, error));
    ab_err err = AB_OK;
    if (answer != NULL) {
        err = ab_json_parse(reply.payload, answer, error);
        if (err != AB_OK) {
            err = ab_error_wrap(error, AB_INVALID, "answer to %s", ab_verb_name(verb));
        }
    }
    ab_answer_free(&reply);
    return err;
}

/* Who asks whom for what. */
struct ask {
    const char *daemon;
    struct ab_channel **channel;
    enum ab_verb verb;
    int timeout_ms;
};

/* Asks until there is an answer, an error that asking again does not mend, or RETRY_US have passed. A daemon that was
 * restarted answers somewhere else: its address is read again. */
static ab_err call(struct ab_control *control, const struct ask *ask, const struct ab_json *request,
    struct ab_json **answer, struct ab_error *error)
{
    struct ab_buffer payload = {0};
    int64_t until = ab_time_monotonic_us() + RETRY_US;
    ab_json_write(request, 0, &payload);
    for (;;) {
        struct ab_error detail = {0};
        ab_err err = *ask->channel == NULL ? channel_open(control, ask->daemon, ask->channel, &detail) : AB_OK;
        if (err == AB_OK) {
            err = call_once(*ask->channel, ask->verb, ab_buffer_view(&payload), ask->timeout_ms, answer, &detail);
        }
        /* A stale or conflicting request stays so. */
        bool is_worth = ab_err_kind_of(err) == AB_KIND_RETRY && err != AB_STALE && err != AB_CONFLICT;
        if (!is_worth || ab_time_monotonic_us() > until) {
            ab_buffer_fini(&payload);
            return err == AB_OK ? AB_OK
                                : ab_error_set(error, err, "ask the %s for %s: %s", ask->daemon,
                                      ab_verb_name(ask->verb), detail.text[0] != 0 ? detail.text : ab_err_text(err));
        }
        ab_channel_close(*ask->channel);
        *ask->channel = NULL;
        ab_time_sleep_us(RETRY_PAUSE_US);
    }
}

ab_err ab_control_begin(struct ab_control *control, const char *job, bool is_full, uint32_t ranks_count,
    struct ab_json **answer, struct ab_error *error)
{
    struct ask ask = {"controller", &control->controller, AB_VERB_JOB_BEGIN, BEGIN_TIMEOUT_MS};
    struct ab_json *request = ab_json_object();
    ab_json_set(request, "job", ab_json_text(job));
    ab_json_set(request, "full", ab_json_boolean(is_full));
    ab_json_set(request, "ranks", ab_json_integer(ranks_count));
    ab_err err = call(control, &ask, request, answer, error);
    ab_json_destroy(request);
    return err;
}

void ab_control_progress(struct ab_control *control, const struct ab_control_progress *progress)
{
    int64_t now = ab_time_monotonic_us();
    bool is_due = progress->stage != control->stage || now >= control->progress_us + PROGRESS_INTERVAL_US;
    if (control->controller == NULL || !is_due) {
        return;
    }
    struct ab_buffer payload = {0};
    struct ab_json *request = ab_json_object();
    ab_json_set(request, "job", ab_json_text(progress->job));
    ab_json_set(request, "attempt", ab_json_integer(progress->attempt));
    ab_json_set(request, "stage", ab_json_text(progress->stage));
    ab_json_set(request, "rows", ab_json_integer((int64_t)progress->rows));
    ab_json_set(request, "bytes", ab_json_integer((int64_t)progress->bytes));
    ab_json_set(request, "done", ab_json_integer((int64_t)progress->done));
    ab_json_set(request, "total", ab_json_integer((int64_t)progress->total));
    ab_json_write(request, 0, &payload);
    struct ab_envelope envelope = {.verb = AB_VERB_JOB_PROGRESS};
    struct ab_answer answer = {0};
    /* Progress may be lost: the next one says more. Answers are taken off so that they do not pile up. */
    ab_err err = ab_channel_send(control->controller, &envelope, ab_buffer_view(&payload));
    while (err == AB_OK && ab_channel_receive(control->controller, 0, &answer) == AB_OK) {
        ab_answer_free(&answer);
    }
    ab_json_destroy(request);
    ab_buffer_fini(&payload);
    control->progress_us = now;
    control->stage = progress->stage;
}

ab_err ab_control_digest(
    struct ab_control *control, uint64_t span, uint32_t view_uid, struct ab_json **answer, struct ab_error *error)
{
    struct ask ask = {"speed", &control->speed, AB_VERB_DIGEST, DIGEST_TIMEOUT_MS};
    struct ab_json *request = ab_json_object();
    ab_json_set(request, "span", ab_json_integer((int64_t)span));
    ab_json_set(request, "view_uid", ab_json_integer(view_uid));
    ab_err err = call(control, &ask, request, answer, error);
    ab_json_destroy(request);
    /* The span was retired, or the view did not exist in it. */
    return err == AB_STALE ? AB_NOT_FOUND : err;
}

ab_err ab_control_publish(struct ab_control *control, const struct ab_json *request, struct ab_error *error)
{
    struct ask ask = {"controller", &control->controller, AB_VERB_JOB_PUBLISH, PUBLISH_TIMEOUT_MS};
    return call(control, &ask, request, NULL, error);
}
