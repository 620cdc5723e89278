/* places: where the data of a cluster is, and which rank works where on what. Pure.
 *
 * The controller's answer (plan.h) has, for a cluster of several nodes, "cluster" (hex), "nodes":
 * [{"node","host","directory","speed":{"address","key"}}], those that live, the controller's own first, and in each of
 * its "partitions" the "leader", a node's number. A rank works in the directory of a node on its own host, of the one
 * with the fewest ranks so far; the first rank of a node also carries what is copied from and to that node.
 *
 * A partition, and the shard of the same number, belongs to a rank of the node that led it when the cut was taken: its
 * log certainly has the cut. When that replica does not have what the cut says, the partition goes on to the next node
 * in the list, and so round.
 *
 * Without "nodes" there is one directory, and rank = partition mod ranks.
 *
 * Threads: all ranks hold equal ones; read-only but for ab_places_move.
 */
#ifndef ANABRANCH_BATCH_PLACES_H
#define ANABRANCH_BATCH_PLACES_H

#include "common/base/json.h"

#define AB_PLACES_NODES_MAX 64u
#define AB_PLACES_NONE UINT32_MAX

struct ab_place {
    uint32_t node;       /* its number */
    char *host;          /* owned */
    char *directory;     /* owned */
    char *speed_address; /* owned */
    char *speed_key;     /* owned; hexadecimal */
    uint32_t *ranks;     /* owned, rising; room for all */
    uint32_t ranks_count;
};

struct ab_places {
    char *cluster;          /* owned; hexadecimal id; "" for one directory */
    struct ab_place *items; /* owned */
    uint32_t count;         /* 0 = one directory, without a node's number */
    uint32_t *place_of;     /* owned; per rank */
    uint32_t ranks_count;
    uint32_t *owners;  /* owned; rank per partition */
    uint32_t *leaders; /* owned; place per partition that led it; AB_PLACES_NONE = none of these */
    uint32_t *moves;   /* owned; per partition: how often it went on to the next place */
    uint32_t partitions_count;
};

/* Reads the answer and places hosts_count ranks, of which rank r is on hosts[r]. Nodes without a rank are left out.
 * AB_INVALID with the member; AB_USAGE when a rank's host has no node. */
AB_MUST_USE ab_err ab_places_decode(const struct ab_json *answer, const char *const *hosts, uint32_t hosts_count,
    struct ab_places *places, struct ab_error *error);
void ab_places_fini(struct ab_places *places);

/* The place that a rank works in; AB_PLACES_NONE when there is one directory. */
uint32_t ab_places_of_rank(const struct ab_places *places, uint32_t rank);

/* True for the rank that carries what is copied from and to its node. */
bool ab_places_is_carrier(const struct ab_places *places, uint32_t rank);

/* The place whose node led a partition, or the one it went on to. */
uint32_t ab_places_of_partition(const struct ab_places *places, uint32_t partition);

/* Gives a partition to a rank of the next place; false when all had it. */
bool ab_places_move(struct ab_places *places, uint32_t partition);

#endif
