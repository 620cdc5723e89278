/* speed_link: asking speed, of this node or of all: a thread's own channels, opened again when a process answers
 * elsewhere.
 *
 * The only node asks the daemon that it supervises; one of several asks those that are registered as live. Whoever was
 * asked is waited for as long as his process lives, and no longer than the question allows.
 *
 * Threads: a set of links belongs to one thread. Memory: a channel a node.
 */
#ifndef ANABRANCH_CLUSTER_CONTROLLER_SPEED_LINK_H
#define ANABRANCH_CLUSTER_CONTROLLER_SPEED_LINK_H

#include "cluster/controller/acting_loop.h"
#include "common/base/json.h"
#include "common/wire/wire.h"

struct ab_controller;

/* A thread's own channels to speed, one a node. Zeroed memory is none. */
struct ab_speed_links {
    struct ab_speed_link {
        struct ab_speed_target target; /* what the channel was opened for */
        struct ab_channel *channel;    /* owned; NULL = to be opened */
    } * items;                         /* owned */
    uint32_t count;
};

/* One node's part in a question to many. */
struct ab_speed_asked {
    struct ab_speed_target target;
    uint64_t request_id;
    ab_err err;            /* how it ended, with the reason in `error` */
    struct ab_json *reply; /* owned; AB_OK only */
    struct ab_error error;
};

struct ab_speed_question {
    enum ab_verb verb;
    const struct ab_json *payload; /* borrowed; NULL = none */
    int timeout_ms;                /* for all of them together */
};

/* Speed of every live node as far as is known; *targets is the caller's (ab_delete). AB_UNAVAILABLE: of none. */
AB_MUST_USE ab_err ab_speed_targets(
    struct ab_controller *controller, struct ab_speed_target **targets, uint32_t *count, struct ab_error *error);

/* The same as a list of parts to ask; freed with its destroy, which is legal on NULL. */
AB_MUST_USE ab_err ab_speed_asked_create(
    struct ab_controller *controller, struct ab_speed_asked **asked, uint32_t *count, struct ab_error *error);
void ab_speed_asked_destroy(struct ab_speed_asked *asked, uint32_t count);

/* Asks all of them at once, and waits for each as long as its process lives. */
void ab_speed_ask(struct ab_controller *controller, struct ab_speed_links *links, struct ab_speed_asked *asked,
    uint32_t count, const struct ab_speed_question *question);

/* Asks this node's speed. AB_UNAVAILABLE when it is not known where it answers. *reply is the caller's. */
AB_MUST_USE ab_err ab_speed_call(struct ab_controller *controller, struct ab_speed_links *links,
    const struct ab_speed_question *question, struct ab_json **reply, struct ab_error *error);
void ab_speed_links_close(struct ab_speed_links *links);

#endif
