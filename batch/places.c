#include "batch/places.h"

#include "common/history/manifest.h"

#include <inttypes.h>
#include <stdio.h>

static void place_fini(struct ab_place *place)
{
    ab_delete(place->host);
    ab_delete(place->directory);
    ab_delete(place->speed_address);
    ab_delete(place->speed_key);
    ab_delete(place->ranks);
}

void ab_places_fini(struct ab_places *places)
{
    for (uint32_t i = 0; i < places->count; i++) {
        place_fini(&places->items[i]);
    }
    ab_delete(places->cluster);
    ab_delete(places->items);
    ab_delete(places->place_of);
    ab_delete(places->owners);
    ab_delete(places->leaders);
    ab_delete(places->moves);
    *places = (struct ab_places){0};
}

static ab_err member_bad(struct ab_error *error, const char *member)
{
    return ab_error_set(error, AB_INVALID, "the controller's answer: member \"%s\" is missing or malformed", member);
}

static uint32_t place_find(const struct ab_places *places, uint64_t node)
{
    for (uint32_t i = 0; i < places->count; i++) {
        if (places->items[i].node == node) {
            return i;
        }
    }
    return AB_PLACES_NONE;
}

static ab_err nodes_decode(const struct ab_json *list, struct ab_places *places, struct ab_error *error)
{
    size_t count = ab_json_count(list);
    if (count == 0 || count > AB_PLACES_NODES_MAX) {
        return member_bad(error, "nodes");
    }
    places->items = ab_new_array(struct ab_place, count);
    for (size_t i = 0; i < count; i++) {
        const struct ab_json *entry = ab_json_at(list, i);
        const struct ab_json *speed = ab_json_get(entry, "speed");
        uint64_t node = ab_json_u64_or(ab_json_get(entry, "node"), 0);
        bool is_known = place_find(places, node) != AB_PLACES_NONE;
        struct ab_place *place = &places->items[places->count++];
        place->node = (uint32_t)node;
        place->host = ab_new_text(ab_json_text_or(ab_json_get(entry, "host"), ""));
        place->directory = ab_new_text(ab_json_text_or(ab_json_get(entry, "directory"), ""));
        place->speed_address = ab_new_text(ab_json_text_or(ab_json_get(speed, "address"), ""));
        place->speed_key = ab_new_text(ab_json_text_or(ab_json_get(speed, "key"), ""));
        place->ranks = ab_new_array(uint32_t, places->ranks_count);
        if (node == 0 || node > UINT32_MAX || is_known || place->host[0] == 0 || place->directory[0] != '/') {
            return member_bad(error, "nodes");
        }
    }
    return AB_OK;
}

/* The place on a host that has the fewest ranks. */
static uint32_t place_on(const struct ab_places *places, const char *host)
{
    uint32_t found = AB_PLACES_NONE;
    for (uint32_t i = 0; i < places->count; i++) {
        bool is_here = strcmp(places->items[i].host, host) == 0;
        if (is_here && (found == AB_PLACES_NONE || places->items[i].ranks_count < places->items[found].ranks_count)) {
            found = i;
        }
    }
    return found;
}

static ab_err ranks_place(struct ab_places *places, const char *const *hosts, struct ab_error *error)
{
    for (uint32_t r = 0; r < places->ranks_count; r++) {
        uint32_t found = place_on(places, hosts[r]);
        if (found == AB_PLACES_NONE) {
            return ab_error_set(
                error, AB_USAGE, "rank %" PRIu32 " is on host %s, where no live node has its data", r, hosts[r]);
        }
        places->place_of[r] = found;
        places->items[found].ranks[places->items[found].ranks_count++] = r;
    }
    return AB_OK;
}

/* Takes out the nodes that no rank works for. */
static void idle_remove(struct ab_places *places)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < places->count; i++) {
        struct ab_place *place = &places->items[i];
        for (uint32_t r = 0; r < place->ranks_count; r++) {
            places->place_of[place->ranks[r]] = kept;
        }
        if (place->ranks_count > 0) {
            struct ab_place moved = *place;
            *place = places->items[kept];
            places->items[kept++] = moved;
        }
    }
    for (uint32_t i = kept; i < places->count; i++) {
        place_fini(&places->items[i]);
    }
    places->count = kept;
}

static ab_err leaders_decode(const struct ab_json *list, struct ab_places *places, struct ab_error *error)
{
    uint32_t count = (uint32_t)ab_json_count(list);
    places->partitions_count = count;
    places->owners = ab_new_array(uint32_t, count);
    places->leaders = ab_new_array(uint32_t, count);
    places->moves = ab_new_array(uint32_t, count);
    for (uint32_t i = 0; i < count; i++) {
        places->leaders[i] = AB_PLACES_NONE;
    }
    for (uint32_t i = 0; i < count; i++) {
        const struct ab_json *entry = ab_json_at(list, i);
        uint64_t partition = ab_json_u64_or(ab_json_get(entry, "partition"), UINT64_MAX);
        if (partition >= count) {
            return member_bad(error, "partitions");
        }
        places->leaders[partition] = place_find(places, ab_json_u64_or(ab_json_get(entry, "leader"), 0));
    }
    return AB_OK;
}

static void owner_set(struct ab_places *places, uint32_t partition)
{
    if (places->count == 0) {
        places->owners[partition] = partition % places->ranks_count;
        return;
    }
    const struct ab_place *place = &places->items[ab_places_of_partition(places, partition)];
    places->owners[partition] = place->ranks[(partition / places->count) % place->ranks_count];
}

static ab_err places_read(
    const struct ab_json *answer, const char *const *hosts, struct ab_places *places, struct ab_error *error)
{
    const struct ab_json *nodes = ab_json_get(answer, "nodes");
    const struct ab_json *partitions = ab_json_get(answer, "partitions");
    if (ab_json_count(partitions) == 0 || ab_json_count(partitions) > AB_MANIFEST_SHARDS_MAX) {
        return member_bad(error, "partitions");
    }
    places->place_of = ab_new_array(uint32_t, places->ranks_count);
    if (!ab_json_is_null(nodes)) {
        places->cluster = ab_new_text(ab_json_text_or(ab_json_get(answer, "cluster"), ""));
        if (places->cluster[0] == 0) {
            return member_bad(error, "cluster");
        }
        AB_TRY(nodes_decode(nodes, places, error));
        AB_TRY(ranks_place(places, hosts, error));
        idle_remove(places);
    }
    AB_TRY(leaders_decode(partitions, places, error));
    for (uint32_t p = 0; p < places->partitions_count; p++) {
        owner_set(places, p);
    }
    return AB_OK;
}

ab_err ab_places_decode(const struct ab_json *answer, const char *const *hosts, uint32_t hosts_count,
    struct ab_places *places, struct ab_error *error)
{
    struct ab_places made = {.ranks_count = hosts_count};
    ab_err err = places_read(answer, hosts, &made, error);
    if (err != AB_OK) {
        ab_places_fini(&made);
        return err;
    }
    *places = made;
    return AB_OK;
}

uint32_t ab_places_of_rank(const struct ab_places *places, uint32_t rank)
{
    return places->count == 0 ? AB_PLACES_NONE : places->place_of[rank];
}

bool ab_places_is_carrier(const struct ab_places *places, uint32_t rank)
{
    return places->count > 0 && places->items[places->place_of[rank]].ranks[0] == rank;
}

uint32_t ab_places_of_partition(const struct ab_places *places, uint32_t partition)
{
    if (places->count == 0) {
        return AB_PLACES_NONE;
    }
    uint32_t leader = places->leaders[partition];
    uint32_t first = leader != AB_PLACES_NONE ? leader : partition % places->count;
    return (first + places->moves[partition]) % places->count;
}

bool ab_places_move(struct ab_places *places, uint32_t partition)
{
    if (places->moves[partition] + 1 >= places->count) {
        return false;
    }
    places->moves[partition]++;
    owner_set(places, partition);
    return true;
}
