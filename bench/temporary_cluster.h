/* temporary_cluster: a cluster of the real programs on this machine, of one node or several, in a directory of its own,
 * for the time of a measurement. */
#ifndef ANABRANCH_BENCH_TEMPORARY_CLUSTER_H
#define ANABRANCH_BENCH_TEMPORARY_CLUSTER_H

#include "common/wire/node.h"

struct ab_temporary_cluster {
    char *directory;    /* owned */
    bool is_own;        /* made here: stopped and removed at the end */
    bool is_of_several; /* nodes, with a ZooKeeper */
    uint32_t nodes_count;
    struct ab_node node; /* this program's place in it, with the operator key */
};

struct ab_temporary_cluster_options {
    const char *directory; /* of a running cluster; NULL = make one */
    const char *catalog;   /* SQL; for one that is made */
    uint32_t partitions_count;
    uint32_t workers;     /* 0 = one a processor */
    uint32_t nodes_count; /* of a cluster that is made; 0 = one without a ZooKeeper */
};

/* Starts (or joins) a cluster and opens the wire to it. AB_UNAVAILABLE with what `anabranch up` said. */
AB_MUST_USE ab_err ab_temporary_cluster_open(
    const struct ab_temporary_cluster_options *options, struct ab_temporary_cluster *cluster, struct ab_error *error);

/* Stops and removes a cluster that was made here; closes the wire. Legal on zeroed memory. */
void ab_temporary_cluster_close(struct ab_temporary_cluster *cluster);

/* The directory of a node, from 1 on, which is the cluster's if that has only one; freed with ab_delete. */
char *ab_temporary_cluster_node(const struct ab_temporary_cluster *cluster, uint32_t node);

/* Opens a channel to a daemon ("speed", "serving", "controller") of a node. */
AB_MUST_USE ab_err ab_temporary_cluster_connect(const struct ab_temporary_cluster *cluster, uint32_t node,
    const char *daemon, struct ab_channel **channel, struct ab_error *error);

/* Starts a node again, and waits until its daemons answer. AB_UNAVAILABLE with what `anabranch up` said. */
AB_MUST_USE ab_err ab_temporary_cluster_node_start(
    const struct ab_temporary_cluster *cluster, uint32_t node, struct ab_error *error);

/* CPU seconds used so far by all daemons of the cluster that run, and its ZooKeeper. */
double ab_temporary_cluster_cpu_seconds(const struct ab_temporary_cluster *cluster);

#endif
