#include "batch/control.h"

#include "common/base/logging.h"
#include "common/base/time.h"
#include "common/crypto/crypto.h"
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
    char *directory;                                /* owned */
    struct ab_channel *controller;                  /* owned */
    struct ab_channel *speed;                       /* owned; NULL until first used */
    struct ab_channel *speeds[AB_PLACES_NODES_MAX]; /* owned; the same of each place */
    int64_t progress_us;                            /* monotonic: when progress was sent last */
    const char *stage;                              /* static: of then */
};

/* Who asks whom for what. */
struct ask {
    const char *daemon;
    struct ab_channel **channel;
    enum ab_verb verb;
    int timeout_ms;
    const struct ab_place *place; /* whose speed; NULL = the daemon of the own directory */
};

static ab_err endpoint_find(
    const struct ab_control *control, const struct ask *ask, struct ab_node_endpoint *endpoint, struct ab_error *error)
{
    if (ask->place == NULL) {
        return ab_node_endpoint_read(control->directory, ask->daemon, endpoint, error);
    }
    const struct ab_place *place = ask->place;
    if (place->speed_address[0] == 0 ||
        ab_crypto_key_parse(ab_bytes_of_text(place->speed_key), endpoint->public_key) != AB_OK) {
        return ab_error_set(
            error, AB_INVALID, "the controller did not say where speed of node %u answers", place->node);
    }
    (void)snprintf(endpoint->address, sizeof endpoint->address, "%s", place->speed_address);
    return AB_OK;
}

static ab_err channel_open(
    struct ab_control *control, const struct ask *ask, struct ab_channel **channel, struct ab_error *error)
{
    struct ab_node_endpoint endpoint = {0};
    AB_TRY(endpoint_find(control, ask, &endpoint, error));
    struct ab_channel_options options = {.address = endpoint.address};
    memcpy(options.server_key, endpoint.public_key, sizeof options.server_key);
    return ab_channel_open(control->node.wire, &options, channel, error);
}

void ab_control_close(struct ab_control *control)
{
    if (control == NULL) {
        return;
    }
    for (size_t i = 0; i < AB_PLACES_NODES_MAX; i++) {
        ab_channel_close(control->speeds[i]);
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
        err = channel_open(made, &(struct ask){.daemon = "controller"}, &made->controller, error);
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
        ab_err err = *ask->channel == NULL ? channel_open(control, ask, ask->channel, &detail) : AB_OK;
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
    struct ask ask = {"controller", &control->controller, AB_VERB_JOB_BEGIN, BEGIN_TIMEOUT_MS, NULL};
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

/* The place whose speed is asked about a partition: the one that led it, even if its log is read elsewhere. */
static uint32_t asked_of(const struct ab_places *places, uint32_t partition)
{
    uint32_t leader = places->leaders[partition];
    return leader != AB_PLACES_NONE ? leader : partition % places->count;
}

/* Adds what a place's speed says: of the partitions that it is asked about, and of others whose replica it has. */
static ab_err answer_add(const struct ab_places *places, uint32_t place, const struct ab_json *answer,
    struct ab_json *partitions, struct ab_json *replicas, struct ab_error *error)
{
    const struct ab_json *list = ab_json_get(answer, "partitions");
    struct ab_buffer text = {0};
    ab_err err = AB_OK;
    for (size_t i = 0; i < ab_json_count(list) && err == AB_OK; i++) {
        const struct ab_json *entry = ab_json_at(list, i);
        uint64_t partition = ab_json_u64_or(ab_json_get(entry, "partition"), UINT64_MAX);
        if (partition < places->partitions_count) {
            struct ab_json *copy = NULL;
            ab_buffer_clear(&text);
            ab_json_write(entry, 0, &text);
            err = ab_json_parse(ab_buffer_view(&text), &copy, error);
            if (err == AB_OK) {
                ab_json_set(copy, "node", ab_json_integer(places->items[place].node));
                ab_json_append(asked_of(places, (uint32_t)partition) == place ? partitions : replicas, copy);
            }
        }
    }
    ab_buffer_fini(&text);
    return err;
}

static bool is_asked(const struct ab_places *places, uint32_t place)
{
    bool is_asked = false;
    for (uint32_t p = 0; p < places->partitions_count && !is_asked; p++) {
        is_asked = asked_of(places, p) == place;
    }
    return is_asked;
}

static ab_err places_ask(struct ab_control *control, const struct ab_places *places, const struct ab_json *request,
    struct ab_json **answer, struct ab_error *error)
{
    struct ab_json *made = ab_json_object();
    struct ab_json *partitions = ab_json_array();
    struct ab_json *replicas = ab_json_array();
    ab_json_set(made, "partitions", partitions);
    ab_json_set(made, "replicas", replicas);
    ab_err err = AB_OK;
    for (uint32_t i = 0; i < places->count && err == AB_OK; i++) {
        struct ask ask = {"speed", &control->speeds[i], AB_VERB_DIGEST, DIGEST_TIMEOUT_MS, &places->items[i]};
        struct ab_json *part = NULL;
        if (!is_asked(places, i)) {
            continue;
        }
        err = call(control, &ask, request, &part, error);
        if (err == AB_OK) {
            err = answer_add(places, i, part, partitions, replicas, error);
        }
        ab_json_destroy(part);
    }
    if (err != AB_OK) {
        ab_json_destroy(made);
        return err;
    }
    *answer = made;
    return AB_OK;
}

ab_err ab_control_digest(struct ab_control *control, const struct ab_places *places, uint64_t span, uint32_t view_uid,
    struct ab_json **answer, struct ab_error *error)
{
    struct ask ask = {"speed", &control->speed, AB_VERB_DIGEST, DIGEST_TIMEOUT_MS, NULL};
    struct ab_json *request = ab_json_object();
    ab_json_set(request, "span", ab_json_integer((int64_t)span));
    ab_json_set(request, "view_uid", ab_json_integer(view_uid));
    ab_err err = places->count == 0 ? call(control, &ask, request, answer, error)
                                    : places_ask(control, places, request, answer, error);
    ab_json_destroy(request);
    /* The span was retired, or the view did not exist in it. */
    return err == AB_STALE ? AB_NOT_FOUND : err;
}

ab_err ab_control_publish(struct ab_control *control, const struct ab_json *request, struct ab_error *error)
{
    struct ask ask = {"controller", &control->controller, AB_VERB_JOB_PUBLISH, PUBLISH_TIMEOUT_MS, NULL};
    return call(control, &ask, request, NULL, error);
}
