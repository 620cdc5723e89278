#include "cluster/reassignment.h"

#include "common/base/json.h"

#include <inttypes.h>

#define FORMAT 1
#define PARTITION_NONE UINT32_MAX

static const char *const action_names[] = {
    [AB_REASSIGNMENT_ADD] = "add", [AB_REASSIGNMENT_REMOVE] = "remove", [AB_REASSIGNMENT_CANCEL] = "cancel"};
#define ACTIONS_COUNT (sizeof action_names / sizeof action_names[0])

void ab_reassignment_fini(struct ab_reassignment *reassignment)
{
    ab_delete(reassignment->targets);
    ab_delete(reassignment->former);
    *reassignment = (struct ab_reassignment){0};
}

const char *ab_reassignment_action_name(enum ab_reassignment_action action)
{
    return (size_t)action < ACTIONS_COUNT && action_names[action] != NULL ? action_names[action] : "none";
}

static void moves_reserve(struct ab_reassignment *reassignment, size_t count)
{
    reassignment->targets = ab_new_array(struct ab_replica_target, count + 1);
    reassignment->former = ab_new_array(struct ab_replica_target, count + 1);
}

void ab_reassignment_init(struct ab_reassignment *reassignment, enum ab_reassignment_action action, uint32_t node,
    const struct ab_replica_target *former, const struct ab_replica_target *targets, uint32_t count)
{
    *reassignment = (struct ab_reassignment){.action = action, .node = node, .began_us = ab_time_now()};
    moves_reserve(reassignment, count);
    for (uint32_t i = 0; i < count; i++) {
        if (!ab_replica_nodes_equal(&former[i].replicas, &targets[i].replicas)) {
            reassignment->former[reassignment->moves_count] = former[i];
            reassignment->targets[reassignment->moves_count++] = targets[i];
        }
    }
}

/* ---- what makes one valid ---- */

static ab_err nodes_check(const struct ab_replica_nodes *nodes, const char *what, struct ab_error *error)
{
    if (nodes->count == 0 || nodes->count > AB_REPLICATION_FACTOR_MAX) {
        return ab_error_set(error, AB_CORRUPT, "%s: from 1 to %u nodes", what, AB_REPLICATION_FACTOR_MAX);
    }
    for (uint32_t i = 0; i < nodes->count; i++) {
        if (nodes->items[i] == AB_NODE_NONE || ab_replica_nodes_find(nodes, nodes->items[i]) != i) {
            return ab_error_set(
                error, AB_CORRUPT, "%s: node %" PRIu32 " is none or there twice", what, nodes->items[i]);
        }
    }
    return AB_OK;
}

static ab_err reassignment_check(const struct ab_reassignment *reassignment, struct ab_error *error)
{
    if ((size_t)reassignment->action >= ACTIONS_COUNT || action_names[reassignment->action] == NULL ||
        reassignment->node == AB_NODE_NONE) {
        return ab_error_set(error, AB_CORRUPT, "action: add, remove or cancel, about a node");
    }
    if (reassignment->moves_count == 0 || reassignment->moves_count > AB_PARTITIONS_MAX) {
        return ab_error_set(error, AB_CORRUPT, "moves: from 1 to %u", AB_PARTITIONS_MAX);
    }
    for (uint32_t i = 0; i < reassignment->moves_count; i++) {
        uint32_t partition = reassignment->targets[i].partition;
        if (partition >= AB_PARTITIONS_MAX || partition != reassignment->former[i].partition ||
            (i > 0 && partition <= reassignment->targets[i - 1].partition)) {
            return ab_error_set(error, AB_CORRUPT, "partition: below %u and rising", AB_PARTITIONS_MAX);
        }
        AB_TRY(nodes_check(&reassignment->targets[i].replicas, "to", error));
        AB_TRY(nodes_check(&reassignment->former[i].replicas, "from", error));
    }
    return AB_OK;
}

/* ---- JSON ---- */

static struct ab_json *nodes_json(const struct ab_replica_nodes *nodes)
{
    struct ab_json *list = ab_json_array();
    for (uint32_t i = 0; i < nodes->count; i++) {
        ab_json_append(list, ab_json_integer(nodes->items[i]));
    }
    return list;
}

ab_err ab_reassignment_encode(const struct ab_reassignment *reassignment, struct ab_buffer *out, struct ab_error *error)
{
    if (reassignment_check(reassignment, error) != AB_OK) {
        return ab_error_wrap(error, AB_USAGE, "encode a reassignment");
    }
    struct ab_json *json = ab_json_object();
    struct ab_json *moves = ab_json_array();
    ab_json_set(json, "format", ab_json_integer(FORMAT));
    ab_json_set(json, "action", ab_json_text(ab_reassignment_action_name(reassignment->action)));
    ab_json_set(json, "node", ab_json_integer(reassignment->node));
    ab_json_set_u64(json, "began_us", (uint64_t)reassignment->began_us);
    for (uint32_t i = 0; i < reassignment->moves_count; i++) {
        struct ab_json *move = ab_json_object();
        ab_json_set(move, "partition", ab_json_integer(reassignment->targets[i].partition));
        ab_json_set(move, "to", nodes_json(&reassignment->targets[i].replicas));
        ab_json_set(move, "from", nodes_json(&reassignment->former[i].replicas));
        ab_json_append(moves, move);
    }
    ab_json_set(json, "moves", moves);
    ab_json_write(json, 0, out);
    ab_json_destroy(json);
    return ab_buffer_finish(out);
}

/* Numbers that are none become such as are refused afterwards. */
static uint32_t number_read(const struct ab_json *value, uint32_t wrong)
{
    int64_t number = ab_json_integer_or(value, -1);
    return number < 0 || number >= UINT32_MAX ? wrong : (uint32_t)number;
}

static void nodes_read(const struct ab_json *list, struct ab_replica_nodes *nodes)
{
    size_t count = ab_json_count(list);
    for (size_t i = 0; i < count && count <= AB_REPLICATION_FACTOR_MAX; i++) {
        ab_replica_nodes_add(nodes, number_read(ab_json_at(list, i), AB_NODE_NONE));
    }
}

static void reassignment_read(const struct ab_json *json, struct ab_reassignment *reassignment)
{
    const char *action = ab_json_text_or(ab_json_get(json, "action"), "");
    const struct ab_json *moves = ab_json_get(json, "moves");
    size_t count = ab_json_is_array(moves) ? ab_json_count(moves) : 0;
    for (size_t a = AB_REASSIGNMENT_ADD; a < ACTIONS_COUNT; a++) {
        if (strcmp(action, action_names[a]) == 0) {
            reassignment->action = (enum ab_reassignment_action)a;
        }
    }
    reassignment->node = number_read(ab_json_get(json, "node"), AB_NODE_NONE);
    reassignment->began_us = (ab_time_us)ab_json_u64_or(ab_json_get(json, "began_us"), 0);
    count = count > AB_PARTITIONS_MAX ? 0 : count;
    moves_reserve(reassignment, count);
    for (size_t i = 0; i < count; i++) {
        const struct ab_json *move = ab_json_at(moves, i);
        uint32_t partition = number_read(ab_json_get(move, "partition"), PARTITION_NONE);
        reassignment->targets[i].partition = partition;
        reassignment->former[i].partition = partition;
        nodes_read(ab_json_get(move, "to"), &reassignment->targets[i].replicas);
        nodes_read(ab_json_get(move, "from"), &reassignment->former[i].replicas);
        reassignment->moves_count++;
    }
}

ab_err ab_reassignment_decode(struct ab_bytes text, struct ab_reassignment *reassignment, struct ab_error *error)
{
    struct ab_json *json = NULL;
    struct ab_reassignment read = {0};
    ab_err err = ab_json_parse(text, &json, error);
    if (err != AB_OK) {
        return ab_error_wrap(error, AB_CORRUPT, "a reassignment");
    }
    int64_t format = ab_json_integer_or(ab_json_get(json, "format"), 0);
    if (format > FORMAT) {
        err = ab_error_set(error, AB_UNSUPPORTED, "it is of a newer format");
    } else if (format != FORMAT) {
        err = ab_error_set(error, AB_CORRUPT, "format: %d", FORMAT);
    } else {
        reassignment_read(json, &read);
        err = reassignment_check(&read, error);
    }
    ab_json_destroy(json);
    if (err != AB_OK) {
        ab_reassignment_fini(&read);
        return ab_error_wrap(error, err, "a reassignment");
    }
    *reassignment = read;
    return AB_OK;
}
