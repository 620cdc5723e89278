/* slots: which partitions a node holds, opened and closed while it runs.
 *
 * The only node holds all of them for good. One of several holds those of which it is a replica or a learner: a slot is
 * opened by the partition's worker when the coordination service says so, and closed when it does not any more. Other
 * threads acquire what they use; a slot that is leaving cannot be acquired, and is closed once nobody uses it and
 * nothing of it waits to be stored.
 *
 * What is left of a partition's directory goes only after the state that excludes this node was seen to be in force
 * (membership.h), under another name first: a directory that has its own name is whole. A replica that has failed stays
 * on disk as it is, as evidence.
 *
 * Invariants: I3 (a replica that is counted has its log). Threads: acquire, release and holds from any thread; open and
 * close by the partition's worker, or before workers run. One lock, a leaf, taken a query and partition at a time.
 */
#ifndef ANABRANCH_SPEED_SLOTS_H
#define ANABRANCH_SPEED_SLOTS_H

#include "speed/partition.h"
#include "speed/replicator.h"

struct ab_slots;

/* None is held; destroy closes those that are, with nobody using them. NULL is legal. */
struct ab_slots *ab_slots_create(uint32_t partitions_count);
void ab_slots_destroy(struct ab_slots *slots);

/* Puts an open partition in its slot; both are taken. The replicator is NULL for an only replica. */
void ab_slots_put(
    struct ab_slots *slots, uint32_t number, struct ab_partition *partition, struct ab_replicator *replicator);

/* The partition, until it is released; NULL when it is not held here. */
struct ab_partition *ab_slots_acquire(struct ab_slots *slots, uint32_t number);
void ab_slots_release(struct ab_slots *slots, uint32_t number);

/* True while the partition can be acquired. Any thread. */
bool ab_slots_hold(struct ab_slots *slots, uint32_t number);

/* True while its newest state may be read here; for one that is acquired, else false when it is not held. */
bool ab_slots_may_serve(struct ab_slots *slots, uint32_t number);

/* Says of one that is not held that this disk may have had it, so that its log counts as lost until it is put, or until
 * the coordination service is seen not to list this node (then false is said). */
void ab_slots_set_missing(struct ab_slots *slots, uint32_t number, bool is_missing);

/* True while its log lacks what it once held, or may have held. */
bool ab_slots_is_damaged(struct ab_slots *slots, uint32_t number);

/* For its worker, and while no other thread runs: what is in a slot, leaving or not; NULL. */
struct ab_partition *ab_slots_partition(const struct ab_slots *slots, uint32_t number);
struct ab_replicator *ab_slots_replicator(const struct ab_slots *slots, uint32_t number);

/* Ends the replicator, if there is one: what waits for other replicas has an unknown outcome. */
void ab_slots_end_replicator(struct ab_slots *slots, uint32_t number);

/* From here on it cannot be acquired any more; its replicator ends. */
void ab_slots_leave(struct ab_slots *slots, uint32_t number);

/* Closes one that is leaving, once nobody uses it and nothing waits to be stored; true when it is closed. Whether the
 * flusher is done with it is asked by the caller. */
bool ab_slots_close(struct ab_slots *slots, uint32_t number);

/* "<directory>/partition-<number>"; freed with ab_delete. */
char *ab_slots_directory(const char *directory, uint32_t number);

/* Takes a partition's directory out of use: gives it another name, durably. What is in it goes later, for that may take
 * long. AB_OK when it is not there; AB_BUSY while what an earlier one left has not gone; AB_IO. */
AB_MUST_USE ab_err ab_slots_directory_retire(const char *directory, uint32_t number, struct ab_error *error);

/* Removes what was taken out of use; trouble is logged, and harms nothing. One thread at a time. */
void ab_slots_leftover_remove(const char *directory, uint32_t number);

#endif
