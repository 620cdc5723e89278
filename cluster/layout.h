/* layout: what lies where in a cluster's directory, and how a new one is made.
 *
 *   cluster.json      common/wire/node.h; written first: a directory with it is ours, and all else is made when
 * missing, so a crash while making it is mended by the next `up` keys/             <role>.key, one pair a role (0600),
 * and the allow list config/node.yaml  common/config coordination/     the local coordination service run/
 * controller.lock, endpoints.json, <daemon>.json logs/             <daemon>.log, <daemon>.log.1 jobs/<id>/log     what
 * a batch job printed versions/, history/, partition-<p>/  belong to batch and speed
 *
 * Threads: any; nothing is kept.
 */
#ifndef ANABRANCH_CLUSTER_LAYOUT_H
#define ANABRANCH_CLUSTER_LAYOUT_H

#include "common/config/config.h"
#include "common/wire/node.h"

#define AB_CLUSTER_PARTITIONS_DEFAULT 8u

/* A path under the directory, printf-style; freed with ab_delete. */
char *ab_layout_path(const char *directory, const char *format, ...) AB_PRINTF(2, 3);

/* True when nothing of ours or of others is there: absent, or an empty directory; not one that may
 * not be looked at. */
bool ab_layout_is_vacant(const char *directory);

/* Makes the directory and cluster.json with a new id. AB_EXISTS when the directory is neither absent nor empty. */
AB_MUST_USE ab_err ab_layout_create(
    const char *directory, uint32_t partitions_count, struct ab_cluster_identity *identity, struct ab_error *error);

/* Makes the keys of the roles that are missing, and an allow list that has them; a list that is there belongs to the
 * operator and stays. */
AB_MUST_USE ab_err ab_layout_keys_complete(const char *directory, struct ab_error *error);

/* Makes what is missing of folders, keys, allow list and config (written from `config`, also when `overwrite_config`).
 */
AB_MUST_USE ab_err ab_layout_complete(
    const char *directory, const struct ab_config *config, bool overwrite_config, struct ab_error *error);

/* Reads a whole JSON file of at most 16 MiB. */
struct ab_json;
AB_MUST_USE ab_err ab_layout_json_read(const char *path, struct ab_json **value, struct ab_error *error);

/* Replaces a JSON file durably and at once, mode 0600. */
AB_MUST_USE ab_err ab_layout_json_write(const char *path, const struct ab_json *value, struct ab_error *error);

#endif
