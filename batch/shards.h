/* shards: groups in key order become a view's immutable directories, one a shard (DESIGN 5.4, 5.7).
 *
 * Threads: owner.
 */
#ifndef ANABRANCH_BATCH_SHARDS_H
#define ANABRANCH_BATCH_SHARDS_H

#include "batch/plan.h"
#include "batch/sort.h"
#include "common/store/version.h"

/* Directories open for writing at once; more shards are written in several passes over the same runs. */
#define AB_SHARDS_OPEN_MAX 64u

struct ab_shards {
    const struct ab_plan *plan;
    const char *directory; /* the cluster's */
    size_t view;           /* index into the plan's */
    uint32_t kept;         /* directories of the version before that stay; the others are merged */
};

/* Adds the groups that the version before holds in a shard, of the directories that are merged. AB_CORRUPT,
 * AB_NOT_FOUND with the place. */
AB_MUST_USE ab_err ab_shards_add_previous(
    const struct ab_shards *shards, uint32_t shard, struct ab_sort *sort, struct ab_error *error);

/* Writes the groups of `sort` into the directories of shards[0 .. count): a group belongs to `numbers[i]` where `only`
 * is its shard, or all of them to numbers[0] when the view is not sharded; groups of other shards are passed over.
 * Expired panes are left out. Each directory is then opened read-only and verified. summaries[i] belongs to numbers[i].
 */
AB_MUST_USE ab_err ab_shards_write(const struct ab_shards *shards, const uint32_t *numbers, size_t count,
    struct ab_sort *sort, struct ab_version_summary *summaries, struct ab_error *error);

/* Folder of a shard of the new directory; freed with ab_delete. */
char *ab_shards_path(const struct ab_shards *shards, uint32_t shard);

#endif
