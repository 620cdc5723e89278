#include "common/coordination/registration.h"

#include "common/coordination/fact.h"

#include <inttypes.h>
#include <stdio.h>

void ab_live_node_fini(struct ab_live_node *live)
{
    ab_delete(live->damaged);
    live->damaged = NULL;
    live->damaged_count = 0;
}

bool ab_live_node_is_damaged(const struct ab_live_node *live, uint32_t partition)
{
    uint32_t low = 0;
    uint32_t high = live->damaged_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (live->damaged[middle] < partition) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < live->damaged_count && live->damaged[low] == partition;
}

void ab_node_path(uint32_t node, char path[AB_REGISTRATION_PATH_BYTES])
{
    (void)snprintf(path, AB_REGISTRATION_PATH_BYTES, "/nodes/%" PRIu32, node);
}

void ab_live_path(uint32_t node, struct ab_hash128 incarnation, char path[AB_REGISTRATION_PATH_BYTES])
{
    char text[33];
    ab_hash128_format(incarnation, text);
    (void)snprintf(path, AB_REGISTRATION_PATH_BYTES, "/live/%" PRIu32 "-%s", node, text);
}

ab_err ab_node_registration_admits(
    const struct ab_node_registration *stored, struct ab_hash128 disk_id, uint64_t starts, struct ab_error *error)
{
    if (!ab_hash128_equal(stored->disk_id, disk_id)) {
        return ab_error_set(error, AB_MISMATCH,
            "node %" PRIu32 " is known with another disk: a new or replaced disk joins by recovery only", stored->node);
    }
    if (starts <= stored->starts) {
        return ab_error_set(error, AB_STALE,
            "node %" PRIu32 ": this disk counts %" PRIu64 " starts where %" PRIu64
            " are known: it is an older image of itself, or a process has started from a copy of it",
            stored->node, starts, stored->starts);
    }
    return AB_OK;
}

static ab_err endpoints_check(const struct ab_registered_endpoints *endpoints, struct ab_error *error)
{
    if (endpoints->count > AB_NODE_ENDPOINTS_MAX) {
        return ab_error_set(error, AB_CORRUPT, "more than %u endpoints", AB_NODE_ENDPOINTS_MAX);
    }
    for (uint32_t i = 0; i < endpoints->count; i++) {
        const struct ab_registered_endpoint *endpoint = &endpoints->items[i];
        if (memchr(endpoint->name, '\0', sizeof endpoint->name) == NULL ||
            memchr(endpoint->address, '\0', sizeof endpoint->address) == NULL || endpoint->name[0] == '\0' ||
            endpoint->address[0] == '\0' || !ab_fact_is_printable(endpoint->name) ||
            !ab_fact_is_printable(endpoint->address)) {
            return ab_error_set(error, AB_CORRUPT, "endpoint %" PRIu32 " has no printable name and address", i);
        }
        for (uint32_t j = 0; j < i; j++) {
            if (strcmp(endpoints->items[j].name, endpoint->name) == 0) {
                return ab_error_set(error, AB_CORRUPT, "endpoint '%s' twice", endpoint->name);
            }
        }
    }
    return AB_OK;
}

static ab_err node_check(const struct ab_node_registration *node, struct ab_error *error)
{
    if (node->node == AB_NODE_NONE || !ab_fact_id_is_set(node->disk_id) || node->starts == 0) {
        return ab_error_set(error, AB_CORRUPT, "a node without number, disk or start");
    }
    if (node->weight == 0 || node->weight > AB_NODE_WEIGHT_MAX) {
        return ab_error_set(error, AB_CORRUPT, "weight: from 1 to %u", AB_NODE_WEIGHT_MAX);
    }
    if (memchr(node->rack, '\0', sizeof node->rack) == NULL || !ab_fact_is_printable(node->rack)) {
        return ab_error_set(error, AB_CORRUPT, "rack: no printable text");
    }
    return endpoints_check(&node->endpoints, error);
}

static ab_err live_check(const struct ab_live_node *live, struct ab_error *error)
{
    if (live->node == AB_NODE_NONE || !ab_fact_id_is_set(live->disk_id) || !ab_fact_id_is_set(live->incarnation) ||
        live->starts == 0) {
        return ab_error_set(error, AB_CORRUPT, "a live node without number, incarnation, disk or start");
    }
    for (uint32_t i = 0; i < live->damaged_count; i++) {
        if (live->damaged[i] >= AB_PARTITIONS_MAX || (i > 0 && live->damaged[i] <= live->damaged[i - 1])) {
            return ab_error_set(error, AB_CORRUPT, "damaged: no rising list of partitions");
        }
    }
    return endpoints_check(&live->endpoints, error);
}

static struct ab_json *endpoints_json(const struct ab_registered_endpoints *endpoints)
{
    struct ab_json *object = ab_json_object();
    for (uint32_t i = 0; i < endpoints->count; i++) {
        ab_json_set(object, endpoints->items[i].name, ab_json_text(endpoints->items[i].address));
    }
    return object;
}

static ab_err endpoints_read(
    const struct ab_json *value, struct ab_registered_endpoints *endpoints, struct ab_error *error)
{
    const struct ab_json *object = ab_json_get(value, "endpoints");
    if (!ab_json_is_object(object) || ab_json_count(object) > AB_NODE_ENDPOINTS_MAX) {
        return ab_error_set(error, AB_CORRUPT, "endpoints: no object of at most %u", AB_NODE_ENDPOINTS_MAX);
    }
    for (size_t i = 0; i < ab_json_count(object); i++) {
        struct ab_registered_endpoint *endpoint = &endpoints->items[i];
        const char *name = ab_json_key_at(object, i);
        if (strlen(name) >= sizeof endpoint->name) {
            return ab_error_set(error, AB_CORRUPT, "endpoints: a name of %zu bytes", strlen(name));
        }
        (void)snprintf(endpoint->name, sizeof endpoint->name, "%s", name);
        AB_TRY(ab_fact_text(object, name, sizeof endpoint->address, endpoint->address, error));
    }
    endpoints->count = (uint32_t)ab_json_count(object);
    return AB_OK;
}

ab_err ab_node_registration_encode(
    const struct ab_node_registration *node, struct ab_buffer *out, struct ab_error *error)
{
    if (node_check(node, error) != AB_OK) {
        return ab_error_wrap(error, AB_USAGE, "encode node");
    }
    struct ab_json *value = ab_fact_object();
    ab_json_set(value, "node", ab_json_integer(node->node));
    ab_fact_set_id(value, "disk", node->disk_id);
    ab_json_set_u64(value, "starts", node->starts);
    ab_json_set(value, "rack", ab_json_text(node->rack));
    ab_json_set(value, "weight", ab_json_integer(node->weight));
    ab_json_set(value, "endpoints", endpoints_json(&node->endpoints));
    return ab_fact_write(value, out);
}

static ab_err node_read(const struct ab_json *value, struct ab_node_registration *node, struct ab_error *error)
{
    AB_TRY(ab_fact_u32(value, "node", 1, UINT32_MAX, &node->node, error));
    AB_TRY(ab_fact_id(value, "disk", &node->disk_id, error));
    AB_TRY(ab_fact_u64(value, "starts", &node->starts, error));
    AB_TRY(ab_fact_text(value, "rack", sizeof node->rack, node->rack, error));
    AB_TRY(ab_fact_u32(value, "weight", 1, AB_NODE_WEIGHT_MAX, &node->weight, error));
    AB_TRY(endpoints_read(value, &node->endpoints, error));
    return node_check(node, error);
}

ab_err ab_node_registration_decode(struct ab_bytes text, struct ab_node_registration *node, struct ab_error *error)
{
    struct ab_json *value = NULL;
    struct ab_node_registration read = {0};
    ab_err err = ab_fact_parse(text, 7, &value, error);
    if (err == AB_OK) {
        err = node_read(value, &read, error);
    }
    ab_json_destroy(value);
    if (err != AB_OK) {
        return ab_error_wrap(error, err, "registration of a node");
    }
    *node = read;
    return AB_OK;
}

ab_err ab_live_node_encode(const struct ab_live_node *live, struct ab_buffer *out, struct ab_error *error)
{
    if (live_check(live, error) != AB_OK) {
        return ab_error_wrap(error, AB_USAGE, "encode live node");
    }
    struct ab_json *value = ab_fact_object();
    ab_json_set(value, "node", ab_json_integer(live->node));
    ab_fact_set_id(value, "incarnation", live->incarnation);
    ab_fact_set_id(value, "disk", live->disk_id);
    ab_json_set_u64(value, "starts", live->starts);
    ab_json_set(value, "endpoints", endpoints_json(&live->endpoints));
    ab_fact_set_numbers(value, "damaged", live->damaged, live->damaged_count);
    return ab_fact_write(value, out);
}

static ab_err live_read(const struct ab_json *value, struct ab_live_node *live, struct ab_error *error)
{
    AB_TRY(ab_fact_u32(value, "node", 1, UINT32_MAX, &live->node, error));
    AB_TRY(ab_fact_id(value, "incarnation", &live->incarnation, error));
    AB_TRY(ab_fact_id(value, "disk", &live->disk_id, error));
    AB_TRY(ab_fact_u64(value, "starts", &live->starts, error));
    AB_TRY(endpoints_read(value, &live->endpoints, error));
    size_t damaged_count = ab_json_count(ab_json_get(value, "damaged"));
    if (damaged_count > 0 && damaged_count <= AB_PARTITIONS_MAX) {
        live->damaged = ab_new_array(uint32_t, damaged_count);
    }
    AB_TRY(ab_fact_numbers(
        value, "damaged", 0, AB_PARTITIONS_MAX - 1, AB_PARTITIONS_MAX, live->damaged, &live->damaged_count, error));
    return live_check(live, error);
}

ab_err ab_live_node_decode(struct ab_bytes text, struct ab_live_node *live, struct ab_error *error)
{
    struct ab_json *value = NULL;
    struct ab_live_node read = {0};
    ab_err err = ab_fact_parse(text, 7, &value, error);
    if (err == AB_OK) {
        err = live_read(value, &read, error);
    }
    ab_json_destroy(value);
    if (err != AB_OK) {
        ab_live_node_fini(&read);
        return ab_error_wrap(error, err, "registration of a live node");
    }
    *live = read;
    return AB_OK;
}
