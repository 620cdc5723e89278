/* forward: hands requests that the acting controller has to answer on to it, and its answers back. Nobody waits: a link
 * (common/wire/link.h) carries many at once, each with what is left of its caller's deadline.
 *
 * A request is handed on once: the acting controller sees from its sender's role (node) that it came through another,
 * and refuses when it does not act itself. When the acting one changes while a request is with the earlier one, its
 * outcome is unknown, and that is what the caller hears; all these verbs may be sent again.
 *
 * Threads: any, but one at a time for ab_forward_target and ab_forward_tick each. Memory: AB_FORWARD_MAX requests.
 */
#ifndef ANABRANCH_CLUSTER_CONTROLLER_FORWARD_H
#define ANABRANCH_CLUSTER_CONTROLLER_FORWARD_H

#include "cluster/controller/acting.h"

#define AB_FORWARD_MAX 256u
#define AB_FORWARD_WAIT_US (120 * AB_US_PER_SECOND) /* for a request without a deadline */

struct ab_forward;

/* `wire` is borrowed. */
struct ab_forward *ab_forward_create(struct ab_wire *wire);
/* Answers what is still open; NULL is legal. No thread uses it any more. */
void ab_forward_destroy(struct ab_forward *forward);

/* Who acts from now on; NULL = nobody, or this very controller. */
void ab_forward_target(struct ab_forward *forward, const struct ab_acting_controller *target);

/* Takes a request and sees to its answer: AB_UNAVAILABLE at once when nobody is known to act, or when it has been
 * handed on before. Never blocks. */
void ab_forward_request(struct ab_forward *forward, struct ab_request *request);

/* Gives up what is past its deadline; called several times a second. */
void ab_forward_tick(struct ab_forward *forward, int64_t now_us);

#endif
