#include "speed/catalogs.h"

#include "common/base/assert.h"
#include "common/base/thread.h"

struct ab_catalogs {
    struct ab_lock lock;
    struct ab_served_catalog **list; /* owned; guarded by lock; entries never move or change */
    size_t count;
};

struct ab_catalogs *ab_catalogs_create(void)
{
    struct ab_catalogs *catalogs = ab_new(struct ab_catalogs);
    ab_lock_init(&catalogs->lock);
    return catalogs;
}

static void served_destroy(struct ab_served_catalog *served)
{
    for (uint32_t v = 0; served->aggregations != NULL && v < served->catalog->views_count; v++) {
        ab_aggregation_destroy(served->aggregations[v]);
    }
    ab_delete(served->aggregations);
    ab_catalog_release(served->catalog);
    ab_delete((void *)served->encoded.data);
    ab_delete(served);
}

void ab_catalogs_destroy(struct ab_catalogs *catalogs)
{
    if (catalogs == NULL) {
        return;
    }
    for (size_t i = 0; i < catalogs->count; i++) {
        served_destroy(catalogs->list[i]);
    }
    ab_delete(catalogs->list);
    ab_lock_fini(&catalogs->lock);
    ab_delete(catalogs);
}

static ab_err served_create(
    struct ab_bytes encoded, struct ab_hash128 key, struct ab_served_catalog **result, struct ab_error *error)
{
    struct ab_served_catalog *served = ab_new(struct ab_served_catalog);
    served->key = key;
    served->encoded = ab_bytes_of(ab_new_text_of(encoded), encoded.bytes);
    ab_err err = ab_catalog_decode(encoded, &served->catalog, error);
    if (err == AB_OK) {
        served->aggregations = ab_new_array(struct ab_aggregation *, served->catalog->views_count + 1);
        for (uint32_t v = 0; v < served->catalog->views_count && err == AB_OK; v++) {
            err = ab_aggregation_create(&served->catalog->views[v], &served->aggregations[v], error);
        }
    }
    if (err != AB_OK) {
        served_destroy(served);
        return err;
    }
    *result = served;
    return AB_OK;
}

static struct ab_served_catalog *find_locked(struct ab_catalogs *catalogs, struct ab_hash128 key)
{
    for (size_t i = 0; i < catalogs->count; i++) {
        if (ab_hash128_equal(catalogs->list[i]->key, key)) {
            return catalogs->list[i];
        }
    }
    return NULL;
}

ab_err ab_catalogs_add(struct ab_catalogs *catalogs, struct ab_bytes encoded, const struct ab_served_catalog **served,
    struct ab_error *error)
{
    struct ab_hash128 key = ab_hash128(AB_HASH_CATALOG, encoded);
    *served = ab_catalogs_find(catalogs, key);
    if (*served != NULL) {
        return AB_OK;
    }
    struct ab_served_catalog *made = NULL;
    AB_TRY(served_create(encoded, key, &made, error));
    ab_lock_take(&catalogs->lock);
    struct ab_served_catalog *there = find_locked(catalogs, key);
    if (there == NULL) {
        catalogs->list = ab_renew_bytes(catalogs->list, (catalogs->count + 1) * sizeof(struct ab_served_catalog *));
        catalogs->list[catalogs->count++] = made;
        there = made;
        made = NULL;
    }
    ab_lock_give(&catalogs->lock);
    if (made != NULL) {
        served_destroy(made); /* somebody else was faster */
    }
    *served = there;
    return AB_OK;
}

const struct ab_served_catalog *ab_catalogs_find(struct ab_catalogs *catalogs, struct ab_hash128 key)
{
    ab_lock_take(&catalogs->lock);
    const struct ab_served_catalog *found = find_locked(catalogs, key);
    ab_lock_give(&catalogs->lock);
    return found;
}

/* The highest version among those that match. */
static const struct ab_served_catalog *newest_of(struct ab_catalogs *catalogs, const struct ab_hash128 *text_hash)
{
    const struct ab_served_catalog *newest = NULL;
    ab_lock_take(&catalogs->lock);
    for (size_t i = 0; i < catalogs->count; i++) {
        const struct ab_served_catalog *at = catalogs->list[i];
        bool is_match = text_hash == NULL || ab_hash128_equal(at->catalog->hash, *text_hash);
        if (is_match && (newest == NULL || at->catalog->version >= newest->catalog->version)) {
            newest = at;
        }
    }
    ab_lock_give(&catalogs->lock);
    return newest;
}

const struct ab_served_catalog *ab_catalogs_by_text(struct ab_catalogs *catalogs, struct ab_hash128 text_hash)
{
    return newest_of(catalogs, &text_hash);
}

const struct ab_served_catalog *ab_catalogs_newest(struct ab_catalogs *catalogs)
{
    return newest_of(catalogs, NULL);
}

const struct ab_aggregation *ab_served_aggregation(const struct ab_served_catalog *served, const struct ab_view *view)
{
    size_t index = (size_t)(view - served->catalog->views);
    AB_ASSERT(index < served->catalog->views_count);
    return served->aggregations[index];
}
