/* versions: the batch versions this node serves: directories opened once, shared and counted.
 *
 * A served version is one manifest with a reader per directory and shard. Successive versions of a view share
 * directories, so readers are kept by path and counted: a directory closes when the last version and the last query
 * that use it let go. A query pins one version for its whole life (I4, I6).
 *
 * Threads: any; one lock guards the table of readers, and no reader is opened or closed under it.
 */
#ifndef ANABRANCH_SERVING_VERSIONS_H
#define ANABRANCH_SERVING_VERSIONS_H

#include "common/history/manifest.h"
#include "common/store/partition_state.h"
#include "common/store/version.h"

struct ab_versions; /* the table of readers */

/* Versions below the cluster directory `root`; the cache is borrowed. */
struct ab_versions *ab_versions_create(const char *root, struct ab_store_cache *cache);

/* All served versions must have been released. */
void ab_versions_destroy(struct ab_versions *versions);

struct ab_served_version;

/* Opens every directory of a manifest (those already open are shared); new ones are checked against their manifest's
 * file sizes and content digests as the version manifest names them. AB_NOT_FOUND, AB_CORRUPT with the path. The result
 * carries one reference. */
AB_MUST_USE ab_err ab_served_version_open(struct ab_versions *versions, const struct ab_json *manifest,
    struct ab_served_version **version, struct ab_error *error);

/* Counted references. release(NULL) is legal. */
struct ab_served_version *ab_served_version_acquire(struct ab_served_version *version);
void ab_served_version_release(struct ab_served_version *version);

/* Its manifest, borrowed while a reference is held. */
const struct ab_version_manifest *ab_served_version_manifest(const struct ab_served_version *version);

/* Reader of one directory and shard, borrowed while a reference is held. */
struct ab_version_reader *ab_served_version_reader(
    const struct ab_served_version *version, uint32_t directory, uint32_t shard);

#endif
