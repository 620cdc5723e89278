#include "cluster/live_set.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static int id_compare(struct ab_hash128 a, struct ab_hash128 b)
{
    if (a.high != b.high) {
        return a.high < b.high ? -1 : 1;
    }
    return (a.low > b.low) - (a.low < b.low);
}

static int place_compare(const struct ab_live_node *a, uint32_t node, struct ab_hash128 disk_id)
{
    if (a->node != node) {
        return a->node < node ? -1 : 1;
    }
    return id_compare(a->disk_id, disk_id);
}

static int live_compare(const void *a, const void *b)
{
    const struct ab_live_node *x = *(const struct ab_live_node *const *)a;
    const struct ab_live_node *y = *(const struct ab_live_node *const *)b;
    int order = place_compare(x, y->node, y->disk_id);
    if (order != 0) {
        return order;
    }
    if (x->starts != y->starts) {
        return x->starts > y->starts ? -1 : 1;
    }
    return id_compare(x->incarnation, y->incarnation);
}

void ab_live_set_init(struct ab_live_set *set, const struct ab_live_node *nodes, uint32_t count)
{
    set->items = ab_new_array(const struct ab_live_node *, count);
    set->count = count;
    for (uint32_t i = 0; i < count; i++) {
        set->items[i] = &nodes[i];
    }
    if (count > 0) {
        qsort(set->items, count, sizeof set->items[0], live_compare);
    }
}

void ab_live_set_fini(struct ab_live_set *set)
{
    ab_delete(set->items);
    *set = (struct ab_live_set){0};
}

/* The first at or after (node, disk). */
static uint32_t place_of(const struct ab_live_set *set, uint32_t node, struct ab_hash128 disk_id)
{
    uint32_t low = 0;
    uint32_t high = set->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (place_compare(set->items[middle], node, disk_id) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

const struct ab_live_node *ab_live_set_find(const struct ab_live_set *set, uint32_t node, struct ab_hash128 disk_id)
{
    uint32_t place = place_of(set, node, disk_id);
    if (place == set->count || place_compare(set->items[place], node, disk_id) != 0) {
        return NULL;
    }
    const struct ab_live_node *newest = set->items[place];
    const struct ab_live_node *next = place + 1 < set->count ? set->items[place + 1] : NULL;
    bool is_copied = next != NULL && place_compare(next, node, disk_id) == 0 && next->starts == newest->starts;
    return is_copied ? NULL : newest;
}

const struct ab_live_node *ab_live_set_only(const struct ab_live_set *set, uint32_t node)
{
    uint32_t place = place_of(set, node, (struct ab_hash128){0});
    if (place == set->count || set->items[place]->node != node) {
        return NULL;
    }
    struct ab_hash128 disk_id = set->items[place]->disk_id;
    for (uint32_t i = place; i < set->count && set->items[i]->node == node; i++) {
        if (!ab_hash128_equal(set->items[i]->disk_id, disk_id)) {
            return NULL;
        }
    }
    return ab_live_set_find(set, node, disk_id);
}

enum ab_standing ab_live_set_standing(const struct ab_live_set *set, uint32_t partition,
    const struct ab_replica_member *member, struct ab_replica_member *now)
{
    const struct ab_live_node *live = ab_live_set_find(set, member->node, member->disk_id);
    if (live == NULL) {
        return AB_STANDING_GONE;
    }
    if (ab_live_node_is_damaged(live, partition)) {
        return AB_STANDING_DAMAGED;
    }
    bool is_same = ab_hash128_equal(live->incarnation, member->incarnation);
    if (now != NULL) {
        *now = (struct ab_replica_member){live->node, live->incarnation, live->disk_id};
    }
    return is_same ? AB_STANDING_LIVE : AB_STANDING_RESTARTED;
}

enum ab_standing ab_live_set_standing_of(const struct ab_live_set *set, uint32_t partition,
    const struct ab_replica_members *members, uint32_t node, struct ab_replica_member *now)
{
    uint32_t place = ab_replica_members_find(members, node);
    return place == UINT32_MAX ? AB_STANDING_GONE : ab_live_set_standing(set, partition, &members->items[place], now);
}

void ab_live_set_members(const struct ab_live_set *set, uint32_t partition, const struct ab_replica_members *members,
    struct ab_replica_members *live)
{
    for (uint32_t i = 0; i < members->count; i++) {
        if (ab_live_set_standing(set, partition, &members->items[i], NULL) == AB_STANDING_LIVE) {
            ab_replica_members_add(live, members->items[i]);
        }
    }
}

void ab_live_set_describe(const struct ab_live_set *set, uint32_t partition, const struct ab_replica_members *members,
    char *text, size_t text_bytes)
{
    static const char *const names[] = {
        [AB_STANDING_LIVE] = "live",
        [AB_STANDING_RESTARTED] = "restarted",
        [AB_STANDING_DAMAGED] = "damaged",
        [AB_STANDING_GONE] = "gone",
    };
    struct ab_buffer out = {0};
    for (uint32_t i = 0; i < members->count; i++) {
        enum ab_standing standing = ab_live_set_standing(set, partition, &members->items[i], NULL);
        ab_buffer_put_format(&out, "%s%" PRIu32 " (%s)", i == 0 ? "" : ", ", members->items[i].node, names[standing]);
    }
    (void)snprintf(text, text_bytes, "{%s}", out.bytes == 0 ? "" : ab_buffer_text(&out));
    ab_buffer_fini(&out);
}
