#include "cluster/controller/controller.h"

#define ANSWER_SLICE_MS 50

void ab_speed_link_close(struct ab_speed_link *link)
{
    ab_channel_close(link->channel);
    *link = (struct ab_speed_link){0};
}

/* Opens the channel again when speed answers elsewhere than before. */
static ab_err link_refresh(struct ab_controller *controller, struct ab_speed_link *link, struct ab_error *error)
{
    const struct ab_daemon *speed = &controller->daemons[AB_DAEMON_SPEED];
    ab_lock_take(&controller->lock);
    bool is_known = speed->has_endpoint && speed->supervision.is_running;
    struct ab_node_endpoint endpoint = speed->endpoint;
    ab_lock_give(&controller->lock);
    if (!is_known) {
        return ab_error_set(error, AB_UNAVAILABLE, "the speed daemon does not run yet");
    }
    if (link->channel != NULL && memcmp(&endpoint, &link->endpoint, sizeof endpoint) == 0) {
        return AB_OK;
    }
    ab_speed_link_close(link);
    struct ab_channel_options options = {.address = endpoint.address};
    memcpy(options.server_key, endpoint.public_key, sizeof options.server_key);
    AB_TRY(ab_channel_open(controller->node.wire, &options, &link->channel, error));
    link->endpoint = endpoint;
    return AB_OK;
}

/* True while the process that was asked is the one that runs. */
static bool link_holds(struct ab_controller *controller, const struct ab_speed_link *link)
{
    const struct ab_daemon *speed = &controller->daemons[AB_DAEMON_SPEED];
    ab_lock_take(&controller->lock);
    bool holds = speed->supervision.is_running && speed->has_endpoint && speed->endpoint.pid == link->endpoint.pid;
    ab_lock_give(&controller->lock);
    return holds && !atomic_load(&controller->is_stopping);
}

/* Sends and waits for this request's answer, but not for a process that has died meanwhile. */
static ab_err link_call(struct ab_controller *controller, struct ab_speed_link *link, enum ab_verb verb,
    struct ab_bytes payload, int timeout_ms, struct ab_answer *answer, struct ab_error *error)
{
    struct ab_envelope envelope = {.verb = verb, .deadline_ms = (uint32_t)timeout_ms};
    struct ab_answer received = {0};
    int64_t until_us = ab_time_monotonic_us() + timeout_ms * AB_US_PER_MS;
    ab_err err = ab_channel_send(link->channel, &envelope, payload);
    while (err == AB_OK) {
        err = ab_channel_receive(link->channel, ANSWER_SLICE_MS, &received);
        if (err == AB_OK && received.envelope.request_id == envelope.request_id) {
            break;
        }
        ab_answer_free(&received); /* of an earlier request that was given up */
        received = (struct ab_answer){0};
        if (!link_holds(controller, link)) {
            return ab_error_set(error, AB_UNAVAILABLE, "the speed daemon ended before it answered");
        }
        bool is_waiting = err == AB_OK || err == AB_TIMEOUT;
        err = is_waiting && ab_time_monotonic_us() < until_us ? AB_OK : is_waiting ? AB_TIMEOUT : err;
    }
    if (err != AB_OK) {
        return ab_error_set(error, err, "%s", ab_err_text(err));
    }
    if (received.envelope.status != AB_OK) {
        err = ab_error_set(error, received.envelope.status, "%s", received.envelope.error);
        ab_answer_free(&received);
        return err;
    }
    *answer = received;
    return AB_OK;
}

ab_err ab_speed_call(struct ab_controller *controller, struct ab_speed_link *link, enum ab_verb verb,
    const struct ab_json *payload, int timeout_ms, struct ab_json **reply, struct ab_error *error)
{
    AB_TRY(link_refresh(controller, link, error));
    struct ab_buffer text;
    ab_buffer_init(&text, NULL, AB_WIRE_MESSAGE_BYTES_MAX);
    if (payload != NULL) {
        ab_json_write(payload, 0, &text);
    }
    struct ab_answer answer = {0};
    ab_err err = ab_buffer_finish(&text);
    if (err == AB_OK) {
        err = link_call(controller, link, verb, ab_buffer_view(&text), timeout_ms, &answer, error);
    }
    ab_buffer_fini(&text);
    if (err != AB_OK) {
        return ab_error_wrap(error, err, "ask speed for %s", ab_verb_name(verb));
    }
    if (answer.payload.bytes == 0) {
        *reply = ab_json_object();
    } else if (ab_json_parse(answer.payload, reply, error) != AB_OK) {
        err = ab_error_wrap(error, AB_INVALID, "speed's answer to %s", ab_verb_name(verb));
    }
    ab_answer_free(&answer);
    return err;
}
