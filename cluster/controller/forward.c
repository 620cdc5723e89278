#include "cluster/controller/forward.h"

#include "common/base/logging.h"
#include "common/base/memory.h"
#include "common/base/thread.h"
#include "common/base/time.h"
#include "common/wire/link.h"

#include <stdio.h>

/* A request that waits for its answer. */
struct pending {
    uint64_t id; /* of the message to the acting controller; 0 = free */
    struct ab_request *request;
    int64_t until_us;
};

struct ab_forward {
    struct ab_wire *wire; /* borrowed */
    struct ab_lock lock;
    struct ab_link *link;               /* owned; guarded by lock, as all below; NULL = nobody acts */
    struct ab_acting_controller target; /* of the link */
    struct pending pending[AB_FORWARD_MAX];
    uint64_t next_id;
};

struct ab_forward *ab_forward_create(struct ab_wire *wire)
{
    struct ab_forward *forward = ab_new(struct ab_forward);
    forward->wire = wire;
    forward->next_id = 1;
    ab_lock_init(&forward->lock);
    return forward;
}

static void refuse(struct ab_request *request, ab_err err, const char *text)
{
    ab_request_reply(request, err, text, (struct ab_bytes){0});
}

/* Takes out what is due by `now_us`, at most as many as there are; the caller answers them without the lock. */
static size_t due_take(struct ab_forward *forward, int64_t now_us, struct ab_request *requests[AB_FORWARD_MAX])
{
    size_t count = 0;
    ab_lock_take(&forward->lock);
    for (size_t i = 0; i < AB_FORWARD_MAX; i++) {
        struct pending *pending = &forward->pending[i];
        if (pending->id != 0 && pending->until_us <= now_us) {
            requests[count++] = pending->request;
            *pending = (struct pending){0};
        }
    }
    ab_lock_give(&forward->lock);
    return count;
}

static void due_refuse(struct ab_forward *forward, int64_t now_us, ab_err err, const char *text)
{
    struct ab_request *requests[AB_FORWARD_MAX];
    size_t count = due_take(forward, now_us, requests);
    for (size_t i = 0; i < count; i++) {
        refuse(requests[i], err, text);
    }
}

void ab_forward_tick(struct ab_forward *forward, int64_t now_us)
{
    due_refuse(forward, now_us, AB_TIMEOUT, "the acting controller did not answer in time");
}

/* On the link's thread. */
static void on_answer(struct ab_answer *answer, void *context)
{
    struct ab_forward *forward = context;
    struct ab_answer taken = *answer;
    struct ab_request *request = NULL;
    ab_lock_take(&forward->lock);
    for (size_t i = 0; i < AB_FORWARD_MAX && request == NULL; i++) {
        struct pending *pending = &forward->pending[i];
        if (pending->id != 0 && pending->id == taken.envelope.request_id) {
            request = pending->request;
            *pending = (struct pending){0};
        }
    }
    ab_lock_give(&forward->lock);
    if (request != NULL) {
        const char *text = taken.envelope.status == AB_OK ? NULL : taken.envelope.error;
        ab_request_reply(request, taken.envelope.status, text, taken.payload);
    }
    ab_answer_free(&taken);
}

/* The link is closed without the lock: its thread may be about to take it. */
static void link_replace(struct ab_forward *forward, struct ab_link *link, const struct ab_acting_controller *target)
{
    ab_lock_take(&forward->lock);
    struct ab_link *before = forward->link;
    forward->link = link;
    forward->target = target == NULL ? (struct ab_acting_controller){0} : *target;
    ab_lock_give(&forward->lock);
    ab_link_close(before);
}

void ab_forward_target(struct ab_forward *forward, const struct ab_acting_controller *target)
{
    struct ab_link *link = NULL;
    struct ab_error error = {0};
    ab_lock_take(&forward->lock);
    bool is_same = target == NULL
                       ? forward->link == NULL
                       : forward->link != NULL && ab_hash128_equal(forward->target.incarnation, target->incarnation);
    ab_lock_give(&forward->lock);
    if (is_same) {
        return;
    }
    link_replace(forward, NULL, NULL);
    due_refuse(
        forward, INT64_MAX, AB_OUTCOME_UNKNOWN, "the acting controller went before it answered; asking again is safe");
    if (target == NULL) {
        return;
    }
    struct ab_link_options options = {.address = target->address, .on_answer = on_answer, .context = forward};
    memcpy(options.server_key, target->public_key, sizeof options.server_key);
    if (ab_link_open(forward->wire, &options, &link, &error) != AB_OK) {
        ab_error_log("acting controller cannot be reached", "node %u: %s", target->node, error.text);
        return;
    }
    link_replace(forward, link, target);
}

void ab_forward_destroy(struct ab_forward *forward)
{
    if (forward == NULL) {
        return;
    }
    link_replace(forward, NULL, NULL);
    due_refuse(forward, INT64_MAX, AB_UNAVAILABLE, "this controller stops");
    ab_lock_fini(&forward->lock);
    ab_delete(forward);
}

/* Sends it and notes that it waits; AB_FULL, AB_UNAVAILABLE leave the request to the caller. */
static ab_err request_send_locked(struct ab_forward *forward, struct ab_request *request, int64_t now_us)
{
    size_t at = 0;
    while (at < AB_FORWARD_MAX && forward->pending[at].id != 0) {
        at++;
    }
    if (forward->link == NULL) {
        return AB_UNAVAILABLE;
    }
    if (at == AB_FORWARD_MAX) {
        return AB_FULL;
    }
    int64_t left_us = request->deadline_us == INT64_MAX ? AB_FORWARD_WAIT_US : request->deadline_us - now_us;
    struct ab_envelope envelope = {.verb = request->envelope.verb,
        .partition = request->envelope.partition,
        .request_id = forward->next_id,
        .deadline_ms = (uint32_t)(left_us / AB_US_PER_MS + 1)};
    struct ab_buffer payload = {0};
    ab_buffer_put_bytes(&payload, request->payload);
    ab_err err = ab_link_send(forward->link, &envelope, &payload);
    ab_buffer_fini(&payload);
    if (err == AB_OK) {
        forward->pending[at] =
            (struct pending){.id = forward->next_id++, .request = request, .until_us = now_us + left_us};
    }
    return err;
}

void ab_forward_request(struct ab_forward *forward, struct ab_request *request)
{
    int64_t now_us = ab_time_monotonic_us();
    if (request->role == AB_ROLE_NODE) {
        refuse(request, AB_UNAVAILABLE, "this controller does not act (any more); ask again");
        return;
    }
    if (now_us >= request->deadline_us) {
        ab_request_drop(request); /* nobody waits for it any more */
        return;
    }
    ab_lock_take(&forward->lock);
    ab_err err = request_send_locked(forward, request, now_us);
    ab_lock_give(&forward->lock);
    if (err == AB_UNAVAILABLE) {
        refuse(request, err, "no controller of the cluster acts now; one will within seconds");
    } else if (err != AB_OK) {
        refuse(request, err, "too many requests wait for the acting controller");
    }
}
