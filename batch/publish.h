/* publish: what the ranks wrote becomes the manifest of a view's new version. Pure.
 *
 * Threads: any.
 */
#ifndef ANABRANCH_BATCH_PUBLISH_H
#define ANABRANCH_BATCH_PUBLISH_H

#include "batch/plan.h"
#include "common/store/version.h"

/* What one rank wrote of one view. No pointers: it travels as bytes. */
struct ab_shard_result {
    uint32_t view; /* index into the plan's */
    uint32_t shard;
    struct ab_version_summary summary;
};

/* Makes the manifest of a view: the directories of the version before that stay, and the new one. `kept` as decided for
 * the view. AB_INVALID when a shard is missing or stands twice. The manifest is the caller's to fini. */
AB_MUST_USE ab_err ab_publish_manifest(const struct ab_plan *plan, size_t view, uint32_t kept,
    const struct ab_shard_result *results, size_t results_count, struct ab_version_manifest *manifest,
    struct ab_error *error);

#endif
