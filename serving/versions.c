#include "serving/versions.h"

#include "common/base/thread.h"

#include <stdatomic.h>

/* A reader that several versions may use. */
struct shared_reader {
    struct shared_reader *next;       /* in the table */
    char *path;                       /* owned */
    struct ab_version_reader *reader; /* owned */
    uint32_t references;              /* guarded by the table's lock */
};

struct ab_versions {
    char *root;                    /* owned */
    struct ab_store_cache *cache;  /* borrowed */
    struct ab_lock lock;           /* a table shared by query threads and the refresher */
    struct shared_reader *readers; /* owned list; guarded by lock */
};

struct ab_served_version {
    struct ab_versions *versions; /* borrowed */
    struct ab_version_manifest manifest;
    struct shared_reader **readers; /* owned array; counted entries, directories x shards */
    atomic_uint references;
};

struct ab_versions *ab_versions_create(const char *root, struct ab_store_cache *cache)
{
    struct ab_versions *versions = ab_new(struct ab_versions);
    versions->root = ab_new_text(root);
    versions->cache = cache;
    ab_lock_init(&versions->lock);
    return versions;
}

void ab_versions_destroy(struct ab_versions *versions)
{
    if (versions == NULL) {
        return;
    }
    ab_lock_fini(&versions->lock);
    ab_delete(versions->root);
    ab_delete(versions);
}

/* Finds an open reader and counts it. */
static struct shared_reader *reader_find_locked(struct ab_versions *versions, const char *path)
{
    for (struct shared_reader *entry = versions->readers; entry != NULL; entry = entry->next) {
        if (strcmp(entry->path, path) == 0) {
            entry->references++;
            return entry;
        }
    }
    return NULL;
}

static void shared_reader_destroy(struct shared_reader *entry)
{
    ab_version_reader_close(entry->reader);
    ab_delete(entry->path);
    ab_delete(entry);
}

static void reader_release(struct ab_versions *versions, struct shared_reader *entry)
{
    struct shared_reader *dead = NULL;
    ab_lock_take(&versions->lock);
    if (--entry->references == 0) {
        struct shared_reader **link = &versions->readers;
        while (*link != entry) {
            link = &(*link)->next;
        }
        *link = entry->next;
        dead = entry;
    }
    ab_lock_give(&versions->lock);
    if (dead != NULL) {
        shared_reader_destroy(dead);
    }
}

/* Compares an open directory with what a version's manifest promises. */
static ab_err reader_check(const struct ab_version_reader *reader, const char *path,
    const struct ab_version_shard *promised, struct ab_error *error)
{
    struct ab_version_summary summary;
    ab_version_reader_summary(reader, &summary);
    if (summary.rows_count != promised->rows_count || !ab_hash128_equal(summary.content, promised->content)) {
        return ab_error_set(error, AB_CORRUPT, "%s is not the directory that the version was published with", path);
    }
    return AB_OK;
}

/* Gives the directory's reader, opened if nobody has it open. */
static ab_err reader_acquire(
    struct ab_versions *versions, const char *path, struct shared_reader **result, struct ab_error *error)
{
    ab_lock_take(&versions->lock);
    struct shared_reader *found = reader_find_locked(versions, path);
    ab_lock_give(&versions->lock);
    if (found != NULL) {
        *result = found;
        return AB_OK;
    }
    struct ab_version_reader *reader = NULL;
    AB_TRY(ab_version_reader_open(path, versions->cache, false, &reader, error));
    struct shared_reader *made = ab_new(struct shared_reader);
    made->path = ab_new_text(path);
    made->reader = reader;
    made->references = 1;
    ab_lock_take(&versions->lock);
    found = reader_find_locked(versions, path); /* somebody else may have been faster */
    if (found == NULL) {
        made->next = versions->readers;
        versions->readers = made;
    }
    ab_lock_give(&versions->lock);
    if (found != NULL) {
        shared_reader_destroy(made);
        made = found;
    }
    *result = made;
    return AB_OK;
}

static ab_err readers_acquire(struct ab_served_version *version, struct ab_error *error)
{
    const struct ab_version_manifest *manifest = &version->manifest;
    size_t next = 0;
    for (uint32_t d = 0; d < manifest->directories_count; d++) {
        for (uint32_t s = 0; s < manifest->shards_count; s++) {
            const struct ab_version_shard *promised = &manifest->directories[d].shards[s];
            struct shared_reader **place = &version->readers[next++];
            char *path = ab_version_shard_path(version->versions->root, &manifest->directories[d], s);
            ab_err err = reader_acquire(version->versions, path, place, error);
            err = err != AB_OK ? err : reader_check((*place)->reader, path, promised, error);
            ab_delete(path);
            AB_TRY(err);
        }
    }
    return AB_OK;
}

ab_err ab_served_version_open(struct ab_versions *versions, const struct ab_json *manifest,
    struct ab_served_version **version, struct ab_error *error)
{
    struct ab_served_version *made = ab_new(struct ab_served_version);
    made->versions = versions;
    atomic_init(&made->references, 1);
    ab_err err = ab_version_manifest_decode(manifest, &made->manifest, error);
    if (err == AB_OK) {
        size_t count = (size_t)made->manifest.directories_count * made->manifest.shards_count;
        made->readers = ab_new_array(struct shared_reader *, count);
        err = readers_acquire(made, error);
    }
    if (err != AB_OK) {
        ab_served_version_release(made);
        return err;
    }
    *version = made;
    return AB_OK;
}

struct ab_served_version *ab_served_version_acquire(struct ab_served_version *version)
{
    if (version != NULL) {
        atomic_fetch_add(&version->references, 1);
    }
    return version;
}

void ab_served_version_release(struct ab_served_version *version)
{
    if (version == NULL || atomic_fetch_sub(&version->references, 1) != 1) {
        return;
    }
    size_t count = (size_t)version->manifest.directories_count * version->manifest.shards_count;
    for (size_t i = 0; version->readers != NULL && i < count; i++) {
        if (version->readers[i] != NULL) {
            reader_release(version->versions, version->readers[i]);
        }
    }
    ab_delete(version->readers);
    ab_version_manifest_fini(&version->manifest);
    ab_delete(version);
}

const struct ab_version_manifest *ab_served_version_manifest(const struct ab_served_version *version)
{
    return &version->manifest;
}

struct ab_version_reader *ab_served_version_reader(
    const struct ab_served_version *version, uint32_t directory, uint32_t shard)
{
    return version->readers[(size_t)directory * version->manifest.shards_count + shard]->reader;
}
