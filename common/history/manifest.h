/* manifest: what one published version of a view is made of: a list of immutable directories. JSON, format 1.
 *
 * {"format":1,"view":"v","definition_version":1,"uid":1,"cut":"3","attempt":1,"time_us":…,"horizon_us":…,"shards":8,
 *  "chunk_us":…,"aligned":true,"directories":[{"path":"versions/v-1/3-1","span_from":"1","span_to":"3",
 *  "shards":[{"rows":"…","bytes":"…","content":"32 hex"},…]},…]}
 *
 * A state of a group may stand in several directories: readers merge them. Shard s of a directory is <path>/shard-<s>.
 * Written by batch, checked and pointed at by the controller, read by serving. Threads: a value.
 */
#ifndef ANABRANCH_COMMON_HISTORY_MANIFEST_H
#define ANABRANCH_COMMON_HISTORY_MANIFEST_H

#include "common/base/hash.h"
#include "common/base/json.h"
#include "common/base/time.h"

#define AB_MANIFEST_FORMAT 1
#define AB_MANIFEST_DIRECTORIES_MAX 64u
#define AB_MANIFEST_SHARDS_MAX 65536u

struct ab_version_shard {
    uint64_t rows_count;
    uint64_t bytes;
    struct ab_hash128 content; /* digest of keys and values (common/store/version.h) */
};

struct ab_version_directory {
    char *path;         /* owned; relative to the cluster's directory, no ".." */
    uint64_t span_from; /* spans held, both ends included */
    uint64_t span_to;
    struct ab_version_shard *shards; /* owned; shards_count of them */
};

struct ab_version_manifest {
    char *view; /* owned */
    uint32_t definition_version;
    uint32_t uid;
    uint64_t cut; /* spans <= cut are inside */
    uint32_t attempt;
    ab_time_us time_us;    /* the cut's T */
    ab_time_us horizon_us; /* panes that end at or before it are gone; INT64_MIN = none */
    uint32_t shards_count;
    int64_t chunk_us;
    bool is_aligned;
    struct ab_version_directory *directories; /* owned */
    uint32_t directories_count;
};

/* Makes the JSON form; the caller owns it. */
struct ab_json *ab_version_manifest_encode(const struct ab_version_manifest *manifest);

/* Reads and checks the JSON form: bounds, paths inside "versions/", spans without gap or overlap from the first to the
 * cut. AB_INVALID with the member's name, AB_UNSUPPORTED for a newer format. On success the manifest is the caller's to
 * fini. */
AB_MUST_USE ab_err ab_version_manifest_decode(
    const struct ab_json *json, struct ab_version_manifest *manifest, struct ab_error *error);

/* Frees what it owns; legal on zeroed memory. */
void ab_version_manifest_fini(struct ab_version_manifest *manifest);

/* Path of one shard's directory below `root`; freed with ab_delete. */
char *ab_version_shard_path(const char *root, const struct ab_version_directory *directory, uint32_t shard);

#endif
