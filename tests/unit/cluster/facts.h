/* facts: short ways to write down partitions' states and live nodes in tests. */
#ifndef ANABRANCH_TESTS_UNIT_CLUSTER_FACTS_H
#define ANABRANCH_TESTS_UNIT_CLUSTER_FACTS_H

#include "cluster/election.h"

#include "tests/support/test.h"

/* The process number `process` (from 1) of a disk of a node. */
static inline struct ab_hash128 disk_of(uint32_t node, uint32_t disk)
{
    return (struct ab_hash128){.low = node, .high = 0xd000 + disk};
}
static inline struct ab_hash128 incarnation_of(uint32_t node, uint32_t disk, uint32_t process)
{
    return (struct ab_hash128){.low = ((uint64_t)node << 32) + process, .high = 0xe000 + disk};
}
static inline struct ab_replica_member member_of(uint32_t node, uint32_t disk, uint32_t process)
{
    return (struct ab_replica_member){node, incarnation_of(node, disk, process), disk_of(node, disk)};
}
static inline struct ab_live_node live_of(uint32_t node, uint32_t disk, uint32_t process)
{
    return (struct ab_live_node){.node = node,
        .incarnation = incarnation_of(node, disk, process),
        .disk_id = disk_of(node, disk),
        .starts = process};
}

/* Nodes that end with 0. */
static inline struct ab_replica_nodes nodes_of(const uint32_t *numbers)
{
    struct ab_replica_nodes nodes = {.count = 0};
    for (; *numbers != 0; numbers++) {
        ab_replica_nodes_add(&nodes, *numbers);
    }
    return nodes;
}
#define NODES(...) nodes_of((const uint32_t[]){__VA_ARGS__, 0})

/* First processes of the first disks of such nodes. */
static inline struct ab_replica_members members_of(const uint32_t *numbers)
{
    struct ab_replica_members members = {.count = 0};
    for (; *numbers != 0; numbers++) {
        ab_replica_members_add(&members, member_of(*numbers, 1, 1));
    }
    return members;
}
#define MEMBERS(...) members_of((const uint32_t[]){__VA_ARGS__, 0})

/* A partition of three replicas 1, 2, 3, all in sync, led by 1 in epoch 5; min_isr 2. */
static inline struct ab_replica_set state_of(uint32_t partition)
{
    return (struct ab_replica_set){
        .partition = partition,
        .replicas = NODES(1, 2, 3),
        .assignment_version = 1,
        .leader = 1,
        .leader_incarnation = incarnation_of(1, 1, 1),
        .leader_epoch = 5,
        .isr = MEMBERS(1, 2, 3),
        .min_isr = 2,
        .history_id = 1,
        .token = {.low = 1},
    };
}

static inline void assert_members(const struct ab_replica_members *members, struct ab_replica_members expected)
{
    assert_true(ab_replica_members_equal(members, &expected));
}

/* What the shell does before it writes: a token; and the state must be valid. */
static inline struct ab_replica_set committed_of(const struct ab_partition_change *change)
{
    struct ab_replica_set state = change->state;
    struct ab_error error = {0};
    assert_true(state.token.low == 0 && state.token.high == 0);
    state.token.low = 0x70;
    if (ab_replica_set_validate(&state, &error) != AB_OK) {
        fail_msg("partition %u: %s", state.partition, error.text);
    }
    return state;
}

#endif
