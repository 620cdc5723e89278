/* temporary_cluster: a one-machine cluster of the real programs in a directory of its own, for the time of a
 * measurement. */
#ifndef ANABRANCH_BENCH_TEMPORARY_CLUSTER_H
#define ANABRANCH_BENCH_TEMPORARY_CLUSTER_H

#include "common/wire/node.h"

struct ab_temporary_cluster {
    char *directory;     /* owned */
    bool is_own;         /* made here: stopped and removed at the end */
    struct ab_node node; /* this program's place in it, with the operator key */
};

struct ab_temporary_cluster_options {
    const char *directory; /* of a running cluster; NULL = make one */
    const char *catalog;   /* SQL; for one that is made */
    uint32_t partitions_count;
    uint32_t workers; /* 0 = one a processor */
};

/* Starts (or joins) a cluster and opens the wire to it. AB_UNAVAILABLE with what `anabranch up` said. */
AB_MUST_USE ab_err ab_temporary_cluster_open(
    const struct ab_temporary_cluster_options *options, struct ab_temporary_cluster *cluster, struct ab_error *error);

/* Stops and removes a cluster that was made here; closes the wire. Legal on zeroed memory. */
void ab_temporary_cluster_close(struct ab_temporary_cluster *cluster);

/* Opens a channel to a daemon ("speed", "serving", "controller"). */
AB_MUST_USE ab_err ab_temporary_cluster_connect(const struct ab_temporary_cluster *cluster, const char *daemon,
    struct ab_channel **channel, struct ab_error *error);

/* CPU seconds used so far by all daemons of the cluster. */
double ab_temporary_cluster_cpu_seconds(const struct ab_temporary_cluster *cluster);

#endif
