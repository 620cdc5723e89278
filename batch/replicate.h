/* replicate: units (copy.h) go to every node that lacks them, in bounded rounds.
 *
 * Every node says what it has of each unit; its source is the node that is named, or the first one that has it. Sources
 * read, receivers write and verify; then every node says again what it has, and what was refused is sent once more.
 * What is there is not sent: a job that died goes on where it stood. A node that cannot take a unit does not hold up
 * the others: it is not among those that hold all.
 *
 * Threads: owner; collective. Memory: 2 buffers a rank, each at most a round's size and a piece; 8 bytes a unit and
 * node.
 */
#ifndef ANABRANCH_BATCH_REPLICATE_H
#define ANABRANCH_BATCH_REPLICATE_H

#include "batch/copy.h"
#include "batch/places.h"

struct ab_replicate {
    const struct ab_places *places;
    const char *directory; /* of this rank's node */
    uint32_t attempt;
    bool is_deep; /* see ab_copy_look; else a span that a node has is not compared */
    size_t round_bytes;
    const struct ab_copy_unit *units; /* the same on all ranks */
    const uint32_t *sources;          /* place per unit; AB_PLACES_NONE = the first that has it */
    uint32_t units_count;
    void (*on_sent)(uint64_t bytes, void *context); /* this rank has sent some; may be NULL */
    void *context;
};

/* Copies; holds[i] is made false when place i does not have every unit in the end (untouched otherwise). All ranks
 * return the same: AB_OK, also when some node could not take something; else the greatest error. */
AB_MUST_USE ab_err ab_replicate_run(const struct ab_replicate *replicate, bool *holds, struct ab_error *error);

/* The sealed spans that any node has up to `span_max`, of partitions below partitions_count, as units in order of
 * partition and span; *units is the caller's (ab_delete). */
AB_MUST_USE ab_err ab_replicate_spans(const struct ab_places *places, const char *directory, uint64_t span_max,
    struct ab_copy_unit **units, uint32_t *count, struct ab_error *error);

#endif
