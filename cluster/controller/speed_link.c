#include "cluster/controller/controller.h"

#define ANSWER_SLICE_MS 50

void ab_speed_links_close(struct ab_speed_links *links)
{
    for (uint32_t i = 0; i < links->count; i++) {
        ab_channel_close(links->items[i].channel);
    }
    ab_delete(links->items);
    *links = (struct ab_speed_links){0};
}

/* The daemon that this controller supervises. */
static ab_err own_target(struct ab_controller *controller, struct ab_speed_target *target, struct ab_error *error)
{
    const struct ab_daemon *speed = &controller->daemons[AB_DAEMON_SPEED];
    ab_lock_take(&controller->lock);
    bool is_known = speed->has_endpoint && speed->supervision.is_running;
    *target = (struct ab_speed_target){.endpoint = speed->endpoint};
    ab_lock_give(&controller->lock);
    return is_known ? AB_OK : ab_error_set(error, AB_UNAVAILABLE, "the speed daemon does not run yet");
}

ab_err ab_speed_targets(
    struct ab_controller *controller, struct ab_speed_target **targets, uint32_t *count, struct ab_error *error)
{
    struct ab_speed_target own;
    if (controller->acting_loop != NULL) {
        ab_acting_loop_targets(controller->acting_loop, targets, count);
        if (*count > 0) {
            return AB_OK;
        }
        ab_delete(*targets);
        return ab_error_set(error, AB_UNAVAILABLE, "this controller knows of no live node");
    }
    AB_TRY(own_target(controller, &own, error));
    *targets = ab_new_array(struct ab_speed_target, 1);
    (*targets)[0] = own;
    *count = 1;
    return AB_OK;
}

/* The link to a node, with its channel opened again when speed answers elsewhere than before. */
static ab_err link_refresh(struct ab_controller *controller, struct ab_speed_links *links,
    const struct ab_speed_target *target, struct ab_speed_link **found, struct ab_error *error)
{
    struct ab_speed_link *link = NULL;
    for (uint32_t i = 0; i < links->count && link == NULL; i++) {
        link = links->items[i].target.node == target->node ? &links->items[i] : NULL;
    }
    if (link == NULL) {
        links->items = ab_renew_bytes(links->items, (links->count + 1) * sizeof links->items[0]);
        link = &links->items[links->count++];
        *link = (struct ab_speed_link){.target.node = target->node};
    }
    *found = link;
    if (link->channel != NULL && memcmp(&target->endpoint, &link->target.endpoint, sizeof target->endpoint) == 0) {
        link->target = *target;
        return AB_OK;
    }
    ab_channel_close(link->channel);
    link->channel = NULL;
    struct ab_channel_options options = {.address = target->endpoint.address};
    memcpy(options.server_key, target->endpoint.public_key, sizeof options.server_key);
    AB_TRY(ab_channel_open(controller->node.wire, &options, &link->channel, error));
    link->target = *target;
    return AB_OK;
}

/* True while the process that was asked is the one that runs. */
static bool link_holds(struct ab_controller *controller, const struct ab_speed_target *target)
{
    if (atomic_load(&controller->is_stopping)) {
        return false;
    }
    if (target->node != 0) {
        return ab_acting_loop_target_lives(controller->acting_loop, target);
    }
    const struct ab_daemon *speed = &controller->daemons[AB_DAEMON_SPEED];
    ab_lock_take(&controller->lock);
    bool holds = speed->supervision.is_running && speed->has_endpoint && speed->endpoint.pid == target->endpoint.pid;
    ab_lock_give(&controller->lock);
    return holds;
}

/* Waits for this request's answer, but not for a process that has died meanwhile. */
static ab_err link_receive(struct ab_controller *controller, struct ab_speed_link *link, uint64_t request_id,
    int64_t until_us, struct ab_answer *answer, struct ab_error *error)
{
    struct ab_answer received = {0};
    ab_err err = AB_OK;
    while (err == AB_OK) {
        err = ab_channel_receive(link->channel, ANSWER_SLICE_MS, &received);
        if (err == AB_OK && received.envelope.request_id == request_id) {
            break;
        }
        ab_answer_free(&received); /* of an earlier request that was given up */
        received = (struct ab_answer){0};
        if (!link_holds(controller, &link->target)) {
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

static ab_err reply_parse(struct ab_answer *answer, struct ab_json **reply, struct ab_error *error)
{
    if (answer->payload.bytes == 0) {
        *reply = ab_json_object();
        return AB_OK;
    }
    return ab_json_parse(answer->payload, reply, error) == AB_OK ? AB_OK
                                                                 : ab_error_wrap(error, AB_INVALID, "its answer");
}

/* Says whom was asked for what. */
static ab_err ask_wrap(const struct ab_speed_target *target, enum ab_verb verb, ab_err err, struct ab_error *error)
{
    if (target->node != 0) {
        return ab_error_wrap(error, err, "ask speed of node %u for %s", target->node, ab_verb_name(verb));
    }
    return ab_error_wrap(error, err, "ask speed for %s", ab_verb_name(verb));
}

static void ask_send(struct ab_controller *controller, struct ab_speed_links *links, struct ab_speed_asked *asked,
    const struct ab_speed_question *question, struct ab_bytes payload)
{
    struct ab_speed_link *link = NULL;
    struct ab_envelope envelope = {.verb = question->verb, .deadline_ms = (uint32_t)question->timeout_ms};
    asked->err = link_refresh(controller, links, &asked->target, &link, &asked->error);
    if (asked->err == AB_OK) {
        asked->err = ab_channel_send(link->channel, &envelope, payload);
        asked->request_id = envelope.request_id;
        if (asked->err != AB_OK) {
            asked->err = ab_error_set(&asked->error, asked->err, "%s", ab_err_text(asked->err));
        }
    }
}

static void ask_receive(
    struct ab_controller *controller, struct ab_speed_links *links, struct ab_speed_asked *asked, int64_t until_us)
{
    struct ab_speed_link *link = NULL;
    struct ab_answer answer = {0};
    asked->err = link_refresh(controller, links, &asked->target, &link, &asked->error); /* finds it: it was just used */
    if (asked->err == AB_OK) {
        asked->err = link_receive(controller, link, asked->request_id, until_us, &answer, &asked->error);
    }
    if (asked->err == AB_OK) {
        asked->err = reply_parse(&answer, &asked->reply, &asked->error);
    }
    ab_answer_free(&answer);
}

void ab_speed_ask(struct ab_controller *controller, struct ab_speed_links *links, struct ab_speed_asked *asked,
    uint32_t count, const struct ab_speed_question *question)
{
    struct ab_buffer text;
    int64_t until_us = ab_time_monotonic_us() + question->timeout_ms * AB_US_PER_MS;
    ab_buffer_init(&text, NULL, AB_WIRE_MESSAGE_BYTES_MAX);
    if (question->payload != NULL) {
        ab_json_write(question->payload, 0, &text);
    }
    ab_err err = ab_buffer_finish(&text);
    for (uint32_t i = 0; i < count; i++) {
        asked[i].err = err;
        if (err == AB_OK) {
            ask_send(controller, links, &asked[i], question, ab_buffer_view(&text));
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        if (asked[i].err == AB_OK) {
            ask_receive(controller, links, &asked[i], until_us);
        }
        if (asked[i].err != AB_OK) {
            asked[i].err = ask_wrap(&asked[i].target, question->verb, asked[i].err, &asked[i].error);
        }
    }
    ab_buffer_fini(&text);
}

ab_err ab_speed_call(struct ab_controller *controller, struct ab_speed_links *links,
    const struct ab_speed_question *question, struct ab_json **reply, struct ab_error *error)
{
    struct ab_speed_asked asked = {0};
    AB_TRY(own_target(controller, &asked.target, error));
    ab_speed_ask(controller, links, &asked, 1, question);
    if (asked.err != AB_OK) {
        return ab_error_set(error, asked.err, "%s", asked.error.text);
    }
    *reply = asked.reply;
    return AB_OK;
}

ab_err ab_speed_asked_create(
    struct ab_controller *controller, struct ab_speed_asked **asked, uint32_t *count, struct ab_error *error)
{
    struct ab_speed_target *targets = NULL;
    AB_TRY(ab_speed_targets(controller, &targets, count, error));
    *asked = ab_new_array(struct ab_speed_asked, *count);
    for (uint32_t i = 0; i < *count; i++) {
        (*asked)[i].target = targets[i];
    }
    ab_delete(targets);
    return AB_OK;
}

void ab_speed_asked_destroy(struct ab_speed_asked *asked, uint32_t count)
{
    for (uint32_t i = 0; asked != NULL && i < count; i++) {
        ab_json_destroy(asked[i].reply);
    }
    ab_delete(asked);
}
