/* catalogs: every catalog version this process has met, each with its compiled views, kept until the process ends.
 *
 * The same text may come back under another version with other view uids, so a catalog is named by the hash of its
 * encoding; queries name one by its text's hash, and get the newest. Versions are few (one per `apply`), so none is
 * forgotten.
 *
 * Threads: any; one lock inside, nobody is called with it held.
 */
#ifndef ANABRANCH_SPEED_CATALOGS_H
#define ANABRANCH_SPEED_CATALOGS_H

#include "common/aggregate/aggregation.h"
#include "common/catalog/catalog.h"

/* Read-only once made; lives as long as the registry. */
struct ab_served_catalog {
    struct ab_hash128 key;                /* AB_HASH_CATALOG over the encoding */
    struct ab_bytes encoded;              /* owned */
    struct ab_catalog *catalog;           /* owned reference */
    struct ab_aggregation **aggregations; /* owned; one per view, same order */
};

struct ab_catalogs;
struct ab_catalogs *ab_catalogs_create(void);
void ab_catalogs_destroy(struct ab_catalogs *catalogs);

/* Decodes and compiles an encoded catalog, or finds it again. Errors of ab_catalog_decode and ab_aggregation_create. */
AB_MUST_USE ab_err ab_catalogs_add(struct ab_catalogs *catalogs, struct ab_bytes encoded,
    const struct ab_served_catalog **served, struct ab_error *error);

/* By key; NULL. */
const struct ab_served_catalog *ab_catalogs_find(struct ab_catalogs *catalogs, struct ab_hash128 key);

/* The newest one whose text has this hash; NULL. */
const struct ab_served_catalog *ab_catalogs_by_text(struct ab_catalogs *catalogs, struct ab_hash128 text_hash);

/* The one with the highest version; NULL when there is none yet. */
const struct ab_served_catalog *ab_catalogs_newest(struct ab_catalogs *catalogs);

/* The compiled form of a view of this catalog. */
const struct ab_aggregation *ab_served_aggregation(const struct ab_served_catalog *served, const struct ab_view *view);

#endif
