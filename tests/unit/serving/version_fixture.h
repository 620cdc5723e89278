/* version_fixture: version directories on disk and the manifests that name them. */
#ifndef ANABRANCH_TESTS_UNIT_SERVING_VERSION_FIXTURE_H
#define ANABRANCH_TESTS_UNIT_SERVING_VERSION_FIXTURE_H

#include "common/history/manifest.h"
#include "common/store/version.h"

/* What a version is made of: spans 1..cut, the last directory holding only span `cut` when there are two. */
struct version_wanted {
    const char *view;
    uint32_t uid;
    uint32_t definition_version;
    uint64_t cut;
    uint32_t directories_count; /* 1: spans 1..cut; 2: 1..cut - 1 and cut */
    uint32_t shards_count;
};

/* Writes the directories that do not exist yet below `root` (rows "shard row" -> cut) and gives the manifest. */
struct ab_json *version_make(const char *root, const struct version_wanted *wanted);

/* The manifest as text, freed with ab_delete. */
char *version_text(const char *root, const struct version_wanted *wanted);

#endif
