/* publication: may a version of views be published, and which versions stay. Pure: what the controller decides from
 * what it has read.
 *
 * A version is known by (cut, attempt): a later one has a later cut, or is a later attempt at the same. It may be
 * published once at least the in-sync minimum of the replicas of each partition hold it, verified; logs may be trimmed
 * behind it when all of them do (H44). The version in force and the newest before it stay, for who has to go back;
 * newer ones were never published, or were gone back from.
 */
#ifndef ANABRANCH_CLUSTER_PUBLICATION_H
#define ANABRANCH_CLUSTER_PUBLICATION_H

#include "common/coordination/replica_set.h"

#include <stddef.h>

struct ab_version_number {
    uint64_t cut; /* 0 = none */
    uint32_t attempt;
};

/* True when `number` was published later than `than`, or would be. */
bool ab_version_is_newer(struct ab_version_number number, struct ab_version_number than);

/* How many of a partition's replicas are among the nodes that hold a version. *is_everywhere is cleared when that is
 * not all of them, or when one is not in sync or still to become a replica: that one wants records from the leader's
 * log, whatever files it has. */
uint32_t ab_publication_holders(
    const struct ab_replica_set *state, const uint32_t *holders, size_t holders_count, bool *is_everywhere);

/* Marks which of a view's versions, any order, stay: `in_force` and the newest before it, at most retained_max
 * altogether. Returns the oldest cut of those; UINT64_MAX when none stays. */
uint64_t ab_publication_retain(const struct ab_version_number *versions, size_t versions_count,
    struct ab_version_number in_force, uint32_t retained_max, bool *stays);

#endif
