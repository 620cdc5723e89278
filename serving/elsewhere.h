/* elsewhere: has another serving node answer a query whole, when this one lacks the version that is in force, or finds
 * it damaged.
 *
 * Batch jobs bring history and versions to every live node, so a node that was added, replaced or away answers from its
 * own disk once the next job has published; until then it hands queries on. A query is handed on once: it comes to the
 * other node under the role of a node, and that one answers or refuses. Its own refusal is told only when nobody could
 * answer. What the answer promises is the other node's: one version, pinned, and every partition's leader asked (I4).
 *
 * Threads: owner, a query thread. Memory: a channel a node that was asked.
 */
#ifndef ANABRANCH_SERVING_ELSEWHERE_H
#define ANABRANCH_SERVING_ELSEWHERE_H

#include "serving/leaders.h"

struct ab_elsewhere;

/* For the node of this number; `wire` is borrowed. Destroy is legal on NULL. */
struct ab_elsewhere *ab_elsewhere_create(struct ab_wire *wire, uint32_t node);
void ab_elsewhere_destroy(struct ab_elsewhere *elsewhere);

/* Asks the other serving nodes one after another, from the one after this node on, until one answers; appends its
 * answer to `reply`. AB_UNAVAILABLE: nobody did, for reasons that are this node's own (AB_CORRUPT) or pass; another
 * error is an answer: the query's. Blocks: until deadline_us. */
AB_MUST_USE ab_err ab_elsewhere_query(struct ab_elsewhere *elsewhere, const struct ab_leaders *leaders,
    struct ab_bytes query, int64_t deadline_us, struct ab_buffer *reply, struct ab_error *error);

#endif
