/* gather: the speed branch of one query: one question for each node that leads wanted partitions, all at once, and
 * their answers merged as states.
 *
 * A node that does not lead any more, does not answer, or is replaced meanwhile costs no more than time: who leads now
 * is asked for just what is missing. The version and its cut stay those of the query: a new leader that has dropped a
 * span after the cut says so (AB_STALE), as the old one would have. Each partition is merged once: answers are taken
 * whole, for exactly the partitions that their question named, and a late one to a question that was asked again
 * elsewhere only while none of its partitions has been merged (I4, I5).
 *
 *          ask            answer
 *   missing ───▶ asked ─────────────▶ merged
 *      ▲           │ refused, leader replaced, too long
 *      └───────────┘
 *
 * In a cluster of one node a refusal is final, as is speed that is not known; who asks decides.
 *
 * Threads: one. Memory: of a query, its arena; a channel per leading node.
 */
#ifndef ANABRANCH_SERVING_GATHER_H
#define ANABRANCH_SERVING_GATHER_H

#include "serving/snapshot.h"

#include "common/aggregate/rollup.h"

struct ab_gather;

/* Borrows both, which must outlive it. */
struct ab_gather *ab_gather_create(struct ab_wire *wire, struct ab_snapshot_source *source);
void ab_gather_destroy(struct ab_gather *gather);

/* A question; everything is borrowed until ab_gather_end. */
struct ab_gather_question {
    struct ab_snapshot *snapshot; /* the query's */
    struct ab_bytes sql;
    struct ab_hash128 catalog_key;
    uint64_t cut;
    const bool *wanted;      /* by partition */
    const uint64_t *offsets; /* by partition: what has to be applied; may be shorter */
    size_t offsets_count;
    bool allow_partial; /* partitions that nobody answers for are waited for half of the time only */
    int64_t deadline_us;
    struct ab_arena *arena;
    struct ab_rollup *rollup;
};

/* Asks, without waiting for answers. AB_UNAVAILABLE: the only node is not known or not reached; AB_FULL: the arena.
 * Must be followed by ab_gather_end in either case. */
AB_MUST_USE ab_err ab_gather_begin(
    struct ab_gather *gather, const struct ab_gather_question *question, struct ab_error *error);

/* Waits for the answers and merges them. AB_STALE: a node cannot answer over the query's version, or its catalog:
 * begin anew with a newer snapshot. AB_UNAVAILABLE: partitions have had no leader; AB_TIMEOUT: no answer in time; or
 * what a node refused the question with. What was merged before an error stays. */
AB_MUST_USE ab_err ab_gather_wait(struct ab_gather *gather, struct ab_error *error);

/* What was merged: offset by partition (0 of those without an answer), append time of the newest record. Borrowed until
 * the arena is reset. */
struct ab_gathered {
    const uint64_t *offsets;
    int64_t as_of_us;
    bool is_complete;
};
struct ab_gathered ab_gather_result(const struct ab_gather *gather);

/* Appends the numbers of partitions without an answer, "3, 5", the first twenty. */
void ab_gather_put_missing(const struct ab_gather *gather, struct ab_buffer *out);

/* Forgets the question: answers that come later are passed over. Legal without one. */
void ab_gather_end(struct ab_gather *gather);

/* A round trip to this node's own speed that does nothing there. AB_UNAVAILABLE, AB_TIMEOUT. */
AB_MUST_USE ab_err ab_gather_ping(
    struct ab_gather *gather, const struct ab_snapshot *snapshot, int64_t deadline_us, struct ab_error *error);

#endif
