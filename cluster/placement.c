#include "cluster/placement.h"

#include "cluster/ring.h"

#include "common/base/hash.h"
#include "common/wire/node.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

_Static_assert(AB_PARTITIONS_MAX == AB_CLUSTER_PARTITIONS_MAX, "every partition of a cluster has a state");
_Static_assert(AB_PLACEMENT_NODES_MAX <= AB_RING_NODES_MAX, "every node fits on the ring");

/* The nodes by number, with what they hold. */
struct grid {
    struct ab_placement_node *nodes; /* owned */
    uint32_t *racks;                 /* owned: a number per rack */
    uint64_t *loads;                 /* owned: replicas */
    uint64_t *leaders;               /* owned: first places */
    uint32_t count;
    uint64_t weight_sum;
};

static void grid_fini(struct grid *grid)
{
    ab_delete(grid->nodes);
    ab_delete(grid->racks);
    ab_delete(grid->loads);
    ab_delete(grid->leaders);
    *grid = (struct grid){0};
}

static int node_compare(const void *a, const void *b)
{
    const struct ab_placement_node *x = a;
    const struct ab_placement_node *y = b;
    return (x->node > y->node) - (x->node < y->node);
}

/* Numbers racks by first appearance; a node without one has its own. */
static void racks_number(struct grid *grid)
{
    uint32_t racks_count = 0;
    for (uint32_t i = 0; i < grid->count; i++) {
        uint32_t j = 0;
        while (j < i && (grid->nodes[i].rack[0] == '\0' || strcmp(grid->nodes[i].rack, grid->nodes[j].rack) != 0)) {
            j++;
        }
        grid->racks[i] = j < i ? grid->racks[j] : racks_count++;
    }
}

static ab_err grid_init(
    struct grid *grid, const struct ab_placement_node *nodes, uint32_t count, struct ab_error *error)
{
    if (count == 0 || count > AB_PLACEMENT_NODES_MAX) {
        return ab_error_set(error, AB_USAGE, "from 1 to %u nodes", AB_PLACEMENT_NODES_MAX);
    }
    *grid = (struct grid){.count = count};
    grid->nodes = ab_new_array(struct ab_placement_node, count);
    grid->racks = ab_new_array(uint32_t, count);
    grid->loads = ab_new_array(uint64_t, count);
    grid->leaders = ab_new_array(uint64_t, count);
    memcpy(grid->nodes, nodes, count * sizeof *nodes);
    qsort(grid->nodes, count, sizeof grid->nodes[0], node_compare);
    for (uint32_t i = 0; i < count; i++) {
        const struct ab_placement_node *node = &grid->nodes[i];
        bool is_twice = i > 0 && node->node == grid->nodes[i - 1].node;
        if (node->node == AB_NODE_NONE || is_twice || node->weight == 0 || node->weight > AB_NODE_WEIGHT_MAX) {
            ab_err err = ab_error_set(error, AB_USAGE,
                "node %" PRIu32 " is none, there twice, or its weight is not from 1 to %u", node->node,
                AB_NODE_WEIGHT_MAX);
            grid_fini(grid);
            return err;
        }
        grid->weight_sum += node->weight;
    }
    racks_number(grid);
    return AB_OK;
}

/* Index of a node; UINT32_MAX when it is none of these. */
static uint32_t grid_find(const struct grid *grid, uint32_t node)
{
    uint32_t low = 0;
    uint32_t high = grid->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (grid->nodes[middle].node < node) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < grid->count && grid->nodes[low].node == node ? low : UINT32_MAX;
}

/* Racks that replicas stand in; nodes that are none of these count for one each. */
static uint32_t racks_used(const struct grid *grid, const struct ab_replica_nodes *replicas)
{
    uint32_t used = 0;
    for (uint32_t i = 0; i < replicas->count; i++) {
        uint32_t a = grid_find(grid, replicas->items[i]);
        bool is_new = true;
        for (uint32_t j = 0; j < i && a != UINT32_MAX; j++) {
            uint32_t b = grid_find(grid, replicas->items[j]);
            is_new = is_new && (b == UINT32_MAX || grid->racks[a] != grid->racks[b]);
        }
        used += is_new;
    }
    return used;
}

/* True when a share x/weight(a) is below y/weight(b). */
static bool share_is_less(const struct grid *grid, uint64_t x, uint32_t a, uint64_t y, uint32_t b)
{
    return x * grid->nodes[b].weight < y * grid->nodes[a].weight;
}

/* Puts first the replica that leads least for its weight; of equals the one that stands before. Replicas that are none
 * of these nodes (another one that is lost) are passed over. */
static void leader_deal(struct grid *grid, struct ab_replica_nodes *replicas)
{
    uint32_t best = UINT32_MAX;
    uint32_t best_at = UINT32_MAX;
    for (uint32_t i = 0; i < replicas->count; i++) {
        uint32_t at = grid_find(grid, replicas->items[i]);
        if (at != UINT32_MAX && (best == UINT32_MAX || share_is_less(grid, grid->leaders[at] + 1, at,
                                                           grid->leaders[best_at] + 1, best_at))) {
            best = i;
            best_at = at;
        }
    }
    if (best != UINT32_MAX) {
        uint32_t leader = replicas->items[best];
        memmove(&replicas->items[1], &replicas->items[0], best * sizeof replicas->items[0]);
        replicas->items[0] = leader;
        grid->leaders[best_at]++;
    }
}

static ab_err request_check(const struct ab_placement_request *request, struct ab_error *error)
{
    if (request->partitions_count == 0 || request->partitions_count > AB_PARTITIONS_MAX) {
        return ab_error_set(error, AB_USAGE, "from 1 to %u partitions", AB_PARTITIONS_MAX);
    }
    if (request->replication_factor == 0 || request->replication_factor > AB_REPLICATION_FACTOR_MAX) {
        return ab_error_set(error, AB_USAGE, "a replication factor from 1 to %u", AB_REPLICATION_FACTOR_MAX);
    }
    if (request->replication_factor > request->nodes_count) {
        return ab_error_set(error, AB_USAGE,
            "a replication factor of %" PRIu32 " needs as many nodes; there are %" PRIu32, request->replication_factor,
            request->nodes_count);
    }
    if (request->min_isr == 0 || request->min_isr > request->replication_factor) {
        return ab_error_set(error, AB_USAGE, "a min_isr from 1 to the replication factor");
    }
    return AB_OK;
}

/* The ring's proposal: indexes of the grid. The ring bounds the sum of weights; larger ones are scaled down. */
static ab_err ring_assign(const struct grid *grid, const struct ab_placement_request *request, uint32_t *assigned)
{
    struct ab_ring_node *nodes = ab_new_array(struct ab_ring_node, grid->count);
    char(*names)[16] = ab_new_bytes(grid->count * sizeof *names);
    struct ab_ring *ring = NULL;
    for (uint32_t i = 0; i < grid->count; i++) {
        uint64_t weight = grid->nodes[i].weight;
        if (grid->weight_sum > AB_RING_WEIGHT_SUM_MAX) {
            weight = weight * (AB_RING_WEIGHT_SUM_MAX / 2) / grid->weight_sum;
        }
        (void)snprintf(names[i], sizeof names[i], "%" PRIu32, grid->nodes[i].node);
        nodes[i] = (struct ab_ring_node){
            .name = names[i], .rack = grid->nodes[i].rack, .weight = weight == 0 ? 1 : (uint32_t)weight};
    }
    ab_err err = ab_ring_create(nodes, grid->count, &ring);
    if (err == AB_OK) {
        err = ab_ring_assign(
            ring, request->partitions_count, request->replication_factor, AB_PLACEMENT_LOAD_BOUND, assigned);
    }
    ab_ring_destroy(ring);
    ab_delete(names);
    ab_delete(nodes);
    return err;
}

static void state_fill(struct grid *grid, const struct ab_placement_request *request, const uint32_t *assigned,
    struct ab_replica_set *state)
{
    for (uint32_t i = 0; i < request->replication_factor; i++) {
        ab_replica_nodes_add(&state->replicas, grid->nodes[assigned[i]].node);
    }
    leader_deal(grid, &state->replicas);
    for (uint32_t i = 0; i < state->replicas.count; i++) {
        ab_replica_members_add(&state->isr, grid->nodes[grid_find(grid, state->replicas.items[i])].member);
    }
    state->min_isr = request->min_isr;
    state->assignment_version = 1;
    state->history_id = 1;
}

ab_err ab_placement_create(const struct ab_placement_request *request, struct ab_replica_set *states,
    uint32_t *shared_racks_count, struct ab_error *error)
{
    struct grid grid;
    AB_TRY(request_check(request, error));
    AB_TRY(grid_init(&grid, request->nodes, request->nodes_count, error));
    uint32_t *assigned = ab_new_array(uint32_t, (size_t)request->partitions_count * request->replication_factor);
    ab_err err = ring_assign(&grid, request, assigned);
    uint32_t shared = 0;
    for (uint32_t p = 0; p < request->partitions_count && err == AB_OK; p++) {
        states[p] = (struct ab_replica_set){.partition = p};
        state_fill(&grid, request, assigned + (size_t)p * request->replication_factor, &states[p]);
        shared += racks_used(&grid, &states[p].replicas) < states[p].replicas.count;
    }
    ab_delete(assigned);
    grid_fini(&grid);
    if (err == AB_OK && shared_racks_count != NULL) {
        *shared_racks_count = shared;
    }
    return err == AB_OK ? AB_OK : ab_error_set(error, err, "the ring refuses these nodes");
}

/* Copies what is to the targets and counts it. */
static ab_err change_begin(struct ab_placement_change *change, struct grid *grid, struct ab_error *error)
{
    AB_TRY(grid_init(grid, change->nodes, change->nodes_count, error));
    for (uint32_t i = 0; i < change->partitions_count; i++) {
        const struct ab_replica_target *current = &change->current[i];
        if (i > 0 && current->partition <= change->current[i - 1].partition) {
            grid_fini(grid);
            return ab_error_set(error, AB_USAGE, "partitions are not in rising order");
        }
        change->targets[i] = *current;
        for (uint32_t r = 0; r < current->replicas.count; r++) {
            uint32_t at = grid_find(grid, current->replicas.items[r]);
            if (at != UINT32_MAX) {
                grid->loads[at]++;
                grid->leaders[at] += r == 0;
            }
        }
    }
    change->moved_count = 0;
    change->shared_racks_count = 0;
    return AB_OK;
}

static void change_end(struct ab_placement_change *change, struct grid *grid)
{
    for (uint32_t i = 0; i < change->partitions_count; i++) {
        const struct ab_replica_nodes *replicas = &change->targets[i].replicas;
        change->shared_racks_count += racks_used(grid, replicas) < replicas->count;
    }
    grid_fini(grid);
}

/* A fixed order of pairs that has nothing to do with their numbers. */
static uint64_t pair_hash(uint32_t node, uint32_t partition)
{
    uint8_t key[8];
    memcpy(key, &node, 4);
    memcpy(key + 4, &partition, 4);
    return ab_hash64(AB_HASH_RING, ab_bytes_of(key, sizeof key));
}

/* Puts a node in the place of another and deals the first place when that is open. */
static void place_give(struct ab_placement_change *change, struct grid *grid, uint32_t i, uint32_t place, uint32_t to)
{
    struct ab_replica_nodes *replicas = &change->targets[i].replicas;
    uint32_t from = grid_find(grid, replicas->items[place]);
    if (from != UINT32_MAX) {
        grid->loads[from]--;
        grid->leaders[from] -= place == 0;
    }
    replicas->items[place] = grid->nodes[to].node;
    grid->loads[to]++;
    change->moved_count++;
    if (place == 0) {
        leader_deal(grid, replicas);
    }
}

struct ordered_partition {
    uint64_t hash;
    uint32_t index;
};

static int ordered_compare(const void *a, const void *b)
{
    const struct ordered_partition *x = a;
    const struct ordered_partition *y = b;
    if (x->hash != y->hash) {
        return x->hash < y->hash ? -1 : 1;
    }
    return (x->index > y->index) - (x->index < y->index);
}

/* The place of the replica with most for its weight that has more than `floor` shares, more than the new node would
 * have, and may go without loss of a rack; UINT32_MAX. */
static uint32_t donor_place(const struct grid *grid, const struct ab_replica_nodes *replicas, uint32_t to, double floor,
    double replicas_per_weight)
{
    uint32_t best = UINT32_MAX;
    uint32_t best_at = UINT32_MAX;
    for (uint32_t r = 0; r < replicas->count; r++) {
        uint32_t at = grid_find(grid, replicas->items[r]);
        if (at == UINT32_MAX || (double)grid->loads[at] <= floor * replicas_per_weight * grid->nodes[at].weight ||
            !share_is_less(grid, grid->loads[to] + 1, to, grid->loads[at], at)) {
            continue;
        }
        struct ab_replica_nodes after = *replicas;
        after.items[r] = grid->nodes[to].node;
        bool keeps_racks = racks_used(grid, &after) >= racks_used(grid, replicas);
        if (keeps_racks &&
            (best == UINT32_MAX || share_is_less(grid, grid->loads[best_at], best_at, grid->loads[at], at))) {
            best = r;
            best_at = at;
        }
    }
    return best;
}

/* The new node may prefer to lead what it holds when it leads less than who is preferred now. */
static void leadership_take(struct grid *grid, struct ab_replica_nodes *replicas, uint32_t to)
{
    uint32_t place = ab_replica_nodes_find(replicas, grid->nodes[to].node);
    uint32_t head = grid_find(grid, replicas->items[0]);
    if (place != 0 && head != UINT32_MAX && share_is_less(grid, grid->leaders[to] + 1, to, grid->leaders[head], head)) {
        replicas->items[place] = replicas->items[0];
        replicas->items[0] = grid->nodes[to].node;
        grid->leaders[to]++;
        grid->leaders[head]--;
    }
}

ab_err ab_placement_add(struct ab_placement_change *change, uint32_t node, struct ab_error *error)
{
    static const double floors[] = {1.2, 1.15, 1.1, 1.05, 1.0, 0.0}; /* who has most gives first */
    struct grid grid;
    AB_TRY(change_begin(change, &grid, error));
    uint32_t to = grid_find(&grid, node);
    if (to == UINT32_MAX) {
        grid_fini(&grid);
        return ab_error_set(error, AB_USAGE, "node %" PRIu32 " is not among the nodes", node);
    }
    uint64_t replicas_count = 0;
    struct ordered_partition *order = ab_new_array(struct ordered_partition, change->partitions_count);
    for (uint32_t i = 0; i < change->partitions_count; i++) {
        replicas_count += change->targets[i].replicas.count;
        order[i] = (struct ordered_partition){pair_hash(node, change->targets[i].partition), i};
    }
    if (change->partitions_count > 0) {
        qsort(order, change->partitions_count, sizeof order[0], ordered_compare);
    }
    double per_weight = (double)replicas_count / (double)grid.weight_sum;
    uint64_t share = replicas_count * grid.nodes[to].weight / grid.weight_sum;
    for (size_t f = 0; f < sizeof floors / sizeof floors[0]; f++) {
        for (uint32_t o = 0; o < change->partitions_count && grid.loads[to] < share; o++) {
            struct ab_replica_nodes *replicas = &change->targets[order[o].index].replicas;
            if (ab_replica_nodes_has(replicas, node)) {
                continue;
            }
            uint32_t place = donor_place(&grid, replicas, to, floors[f], per_weight);
            if (place != UINT32_MAX) {
                place_give(change, &grid, order[o].index, place, to);
                leadership_take(&grid, replicas, to);
            }
        }
    }
    ab_delete(order);
    change_end(change, &grid);
    return AB_OK;
}

/* Who takes the place of a node that leaves a partition: a new rack, then the least load for its weight. UINT32_MAX. */
static uint32_t heir_choose(
    const struct grid *grid, uint32_t partition, const struct ab_replica_nodes *replicas, uint32_t place)
{
    struct ab_replica_nodes after = *replicas;
    uint32_t best = UINT32_MAX;
    uint32_t best_racks = 0;
    uint64_t best_hash = 0;
    for (uint32_t i = 0; i < grid->count; i++) {
        if (ab_replica_nodes_has(replicas, grid->nodes[i].node)) {
            continue;
        }
        after.items[place] = grid->nodes[i].node;
        uint32_t racks = racks_used(grid, &after);
        uint64_t hash = pair_hash(grid->nodes[i].node, partition);
        bool is_better = best == UINT32_MAX || racks > best_racks;
        if (!is_better && racks == best_racks) {
            bool is_less = share_is_less(grid, grid->loads[i] + 1, i, grid->loads[best] + 1, best);
            bool is_more = share_is_less(grid, grid->loads[best] + 1, best, grid->loads[i] + 1, i);
            is_better = is_less || (!is_more && hash < best_hash);
        }
        if (is_better) {
            best = i;
            best_racks = racks;
            best_hash = hash;
        }
    }
    return best;
}

/* Gives every place of a node away: to `preferred` (UINT32_MAX: nobody is) where it may have it, else to an heir. */
static ab_err places_give(
    struct ab_placement_change *change, struct grid *grid, uint32_t node, uint32_t preferred, struct ab_error *error)
{
    if (grid_find(grid, node) != UINT32_MAX) {
        return ab_error_set(error, AB_USAGE, "node %" PRIu32 " is among those that are to hold partitions", node);
    }
    for (uint32_t i = 0; i < change->partitions_count; i++) {
        struct ab_replica_nodes *replicas = &change->targets[i].replicas;
        uint32_t place = ab_replica_nodes_find(replicas, node);
        if (place == UINT32_MAX) {
            continue;
        }
        uint32_t to = preferred;
        if (to == UINT32_MAX || ab_replica_nodes_has(replicas, grid->nodes[to].node)) {
            to = heir_choose(grid, change->targets[i].partition, replicas, place);
        }
        if (to == UINT32_MAX) {
            return ab_error_set(error, AB_UNAVAILABLE,
                "partition %" PRIu32 " has %" PRIu32 " replicas and no node is left to take the one of node %" PRIu32,
                change->targets[i].partition, replicas->count, node);
        }
        place_give(change, grid, i, place, to);
    }
    return AB_OK;
}

ab_err ab_placement_replace(struct ab_placement_change *change, uint32_t lost, uint32_t node, struct ab_error *error)
{
    struct grid grid;
    AB_TRY(change_begin(change, &grid, error));
    uint32_t to = grid_find(&grid, node);
    ab_err err = to == UINT32_MAX ? ab_error_set(error, AB_USAGE, "node %" PRIu32 " is not among the nodes", node)
                                  : places_give(change, &grid, lost, to, error);
    change_end(change, &grid);
    return err;
}

ab_err ab_placement_remove(struct ab_placement_change *change, uint32_t node, struct ab_error *error)
{
    struct grid grid;
    AB_TRY(change_begin(change, &grid, error));
    ab_err err = places_give(change, &grid, node, UINT32_MAX, error);
    change_end(change, &grid);
    return err;
}
