/* live_set: how the members that partitions' states name stand towards the processes that live now. Pure.
 *
 * A member is (node, incarnation, disk). It is
 *   live       when exactly this process is registered and its log of the partition is not damaged;
 *   restarted  when a newer process of the same disk is, undamaged: what was acknowledged is on the disk, so the member
 *              may be adopted under its new incarnation;
 *   damaged    when a process of the disk is registered, but says that its log of the partition lost something;
 *   gone       otherwise. Another disk of the same node is never the member (REPLICATION R10, F17).
 * Of two processes of one disk the one with more starts counts: a disk has one process, so the other is dead and only
 * its session lives on. With equal starts neither does: one of them runs on a copy.
 *
 * Threads: owner; read-only after init. Memory: a list of borrowed pointers.
 */
#ifndef ANABRANCH_CLUSTER_LIVE_SET_H
#define ANABRANCH_CLUSTER_LIVE_SET_H

#include "common/coordination/replica_set.h"

enum ab_standing { AB_STANDING_LIVE, AB_STANDING_RESTARTED, AB_STANDING_DAMAGED, AB_STANDING_GONE };

struct ab_live_set {
    const struct ab_live_node **items; /* owned list of borrowed nodes: by node, disk, falling starts */
    uint32_t count;
};

/* Sorts the registrations, which stay the caller's and must outlive the set. Fini is idempotent. */
void ab_live_set_init(struct ab_live_set *set, const struct ab_live_node *nodes, uint32_t count);
void ab_live_set_fini(struct ab_live_set *set);

/* The process that counts of a node's disk; NULL. */
const struct ab_live_node *ab_live_set_find(const struct ab_live_set *set, uint32_t node, struct ab_hash128 disk_id);

/* The process of a node, when processes of exactly one disk are registered; NULL. */
const struct ab_live_node *ab_live_set_only(const struct ab_live_set *set, uint32_t node);

/* How a member of a partition stands; *now (may be NULL) is the member under its present incarnation when it is live or
 * restarted, else untouched. */
enum ab_standing ab_live_set_standing(const struct ab_live_set *set, uint32_t partition,
    const struct ab_replica_member *member, struct ab_replica_member *now);

/* The same for a node of the list; AB_STANDING_GONE when it is not there. */
enum ab_standing ab_live_set_standing_of(const struct ab_live_set *set, uint32_t partition,
    const struct ab_replica_members *members, uint32_t node, struct ab_replica_member *now);

/* Appends to *live those of the list that stand live. */
void ab_live_set_members(const struct ab_live_set *set, uint32_t partition, const struct ab_replica_members *members,
    struct ab_replica_members *live);

/* "{1 (live), 2 (gone)}" into a text that is cut when too long. */
void ab_live_set_describe(const struct ab_live_set *set, uint32_t partition, const struct ab_replica_members *members,
    char *text, size_t text_bytes);

#endif
