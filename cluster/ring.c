#include "cluster/ring.h"

#include "common/base/buffer.h"
#include "common/base/hash.h"
#include "common/base/memory.h"

#include <stdlib.h>

struct ring_point {
    uint64_t place;
    uint32_t node;
};

struct ab_ring {
    struct ring_point *points; /* owned, by rising place */
    uint32_t points_count;
    uint32_t *weights; /* owned */
    uint32_t *racks;   /* owned: a number per rack; nodes without one have their own */
    uint32_t nodes_count;
    uint32_t racks_count;
    uint64_t weight_sum;
};

static uint64_t place_of(const char *name, uint64_t number)
{
    struct ab_buffer key = {0};
    ab_buffer_put(&key, name, strlen(name) + 1);
    ab_buffer_put_u64(&key, number);
    uint64_t place = ab_hash64(AB_HASH_RING, ab_buffer_view(&key));
    ab_buffer_fini(&key);
    return place;
}

static int point_compare(const void *a, const void *b)
{
    const struct ring_point *x = a;
    const struct ring_point *y = b;
    if (x->place != y->place) {
        return x->place < y->place ? -1 : 1;
    }
    return (x->node > y->node) - (x->node < y->node);
}

static ab_err nodes_check(const struct ab_ring_node *nodes, uint32_t nodes_count)
{
    if (nodes_count == 0 || nodes_count > AB_RING_NODES_MAX) {
        return AB_USAGE;
    }
    uint64_t weight_sum = 0;
    for (uint32_t i = 0; i < nodes_count; i++) {
        weight_sum += nodes[i].weight;
        if (nodes[i].weight == 0 || weight_sum > AB_RING_WEIGHT_SUM_MAX) {
            return AB_USAGE;
        }
        for (uint32_t j = 0; j < i; j++) {
            if (strcmp(nodes[i].name, nodes[j].name) == 0) {
                return AB_USAGE;
            }
        }
    }
    return AB_OK;
}

/* Numbers the racks in order of first appearance. */
static void racks_number(struct ab_ring *ring, const struct ab_ring_node *nodes)
{
    for (uint32_t i = 0; i < ring->nodes_count; i++) {
        ring->racks[i] = UINT32_MAX;
        for (uint32_t j = 0; nodes[i].rack[0] != '\0' && j < i; j++) {
            if (strcmp(nodes[i].rack, nodes[j].rack) == 0) {
                ring->racks[i] = ring->racks[j];
                break;
            }
        }
        if (ring->racks[i] == UINT32_MAX) {
            ring->racks[i] = ring->racks_count++;
        }
    }
}

ab_err ab_ring_create(const struct ab_ring_node *nodes, uint32_t nodes_count, struct ab_ring **ring)
{
    AB_TRY(nodes_check(nodes, nodes_count));
    struct ab_ring *made = ab_new(struct ab_ring);
    made->nodes_count = nodes_count;
    made->weights = ab_new_array(uint32_t, nodes_count);
    made->racks = ab_new_array(uint32_t, nodes_count);
    for (uint32_t i = 0; i < nodes_count; i++) {
        made->weights[i] = nodes[i].weight;
        made->weight_sum += nodes[i].weight;
    }
    racks_number(made, nodes);
    made->points = ab_new_array(struct ring_point, made->weight_sum * AB_RING_VIRTUAL_NODES);
    for (uint32_t i = 0; i < nodes_count; i++) {
        for (uint64_t v = 0; v < (uint64_t)nodes[i].weight * AB_RING_VIRTUAL_NODES; v++) {
            made->points[made->points_count++] = (struct ring_point){.place = place_of(nodes[i].name, v), .node = i};
        }
    }
    qsort(made->points, made->points_count, sizeof *made->points, point_compare);
    *ring = made;
    return AB_OK;
}

void ab_ring_destroy(struct ab_ring *ring)
{
    if (ring == NULL) {
        return;
    }
    ab_delete(ring->points);
    ab_delete(ring->weights);
    ab_delete(ring->racks);
    ab_delete(ring);
}

/* Index of the first point at or after a place, around the circle. */
static uint32_t point_after(const struct ab_ring *ring, uint64_t place)
{
    uint32_t low = 0;
    uint32_t high = ring->points_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (ring->points[middle].place < place) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low == ring->points_count ? 0 : low;
}

/* What one walk around the circle accepts: a first walk wants free nodes in new racks, later ones are content with
 * less. */
struct walk {
    bool wants_room;
    bool wants_new_rack;
};

static bool node_is_taken(
    const struct ab_ring *ring, const uint32_t *chosen, uint32_t count, uint32_t node, bool by_rack)
{
    for (uint32_t i = 0; i < count; i++) {
        if (chosen[i] == node || (by_rack && ring->racks[chosen[i]] == ring->racks[node])) {
            return true;
        }
    }
    return false;
}

static uint32_t walk_choose(const struct ab_ring *ring, uint32_t start, struct walk walk, const uint32_t *room,
    uint32_t *chosen, uint32_t count, uint32_t replicas)
{
    for (uint32_t step = 0; step < ring->points_count && count < replicas; step++) {
        uint32_t node = ring->points[(start + step) % ring->points_count].node;
        if ((walk.wants_room && room[node] == 0) || node_is_taken(ring, chosen, count, node, walk.wants_new_rack)) {
            continue;
        }
        chosen[count++] = node;
    }
    return count;
}

ab_err ab_ring_assign(
    const struct ab_ring *ring, uint32_t partitions_count, uint32_t replicas, double load_bound, uint32_t *nodes)
{
    if (replicas == 0 || replicas > ring->nodes_count || !(load_bound >= 1.0)) {
        return AB_USAGE;
    }
    static const struct walk walks[] = {{true, true}, {false, true}, {true, false}, {false, false}};
    uint32_t *room = ab_new_array(uint32_t, ring->nodes_count);
    for (uint32_t i = 0; i < ring->nodes_count; i++) {
        double share = load_bound * partitions_count * replicas * ring->weights[i] / (double)ring->weight_sum;
        room[i] = (uint32_t)share + ((double)(uint32_t)share < share);
    }
    for (uint32_t p = 0; p < partitions_count; p++) {
        uint32_t *chosen = nodes + (size_t)p * replicas;
        uint32_t start = point_after(ring, place_of("partition", p));
        uint32_t count = 0;
        for (size_t w = 0; w < sizeof walks / sizeof walks[0] && count < replicas; w++) {
            count = walk_choose(ring, start, walks[w], room, chosen, count, replicas);
        }
        for (uint32_t i = 0; i < count; i++) {
            room[chosen[i]] -= room[chosen[i]] > 0;
        }
    }
    ab_delete(room);
    return AB_OK;
}
