/* directory_manifest: manifest.json of a version's directory: what is in it, and the proof that it is still that.
 *
 *   {"format":1,"rows":"..","bytes":"..","content":"32 hex digits","files":[{"name":"..","bytes":"..","hash":"32 hex
 * digits"}]}
 *
 * Format 1; a reader refuses another one. It is written last, durably: a directory without it does not exist.
 * Internal to common/store.
 */
#ifndef ANABRANCH_COMMON_STORE_DIRECTORY_MANIFEST_H
#define ANABRANCH_COMMON_STORE_DIRECTORY_MANIFEST_H

#include "common/store/version.h"

struct ab_version_file {
    char *name; /* owned; a plain name in the directory */
    uint64_t bytes;
    struct ab_hash128 hash;
};

struct ab_directory_manifest {
    struct ab_version_summary summary;
    struct ab_version_file *files; /* owned */
    size_t files_count;
};

/* Frees what it owns; idempotent. */
void ab_directory_manifest_fini(struct ab_directory_manifest *manifest);

/* Hashes every file of the directory but a manifest into the list, and sums their bytes into the summary. */
AB_MUST_USE ab_err ab_directory_manifest_collect(
    const char *directory, struct ab_directory_manifest *manifest, struct ab_error *error);

/* Writes manifest.json durably. */
AB_MUST_USE ab_err ab_directory_manifest_write(
    const char *directory, const struct ab_directory_manifest *manifest, struct ab_error *error);

/* Reads manifest.json: AB_NOT_FOUND, AB_CORRUPT, AB_UNSUPPORTED (another format). */
AB_MUST_USE ab_err ab_directory_manifest_read(
    const char *directory, struct ab_directory_manifest *manifest, struct ab_error *error);

/* Checks that every file is there with its size and, if asked, its hash; AB_CORRUPT otherwise. */
AB_MUST_USE ab_err ab_directory_manifest_check(
    const char *directory, const struct ab_directory_manifest *manifest, bool verify, struct ab_error *error);

/* Adds one row to a content digest; `scratch` is reused between rows. */
void ab_version_digest_add(
    struct ab_hash128 *content, struct ab_buffer *scratch, struct ab_bytes key, struct ab_bytes value);

#endif
