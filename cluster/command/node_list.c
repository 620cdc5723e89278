#include "cluster/command/node.h"
#include "cluster/command/relation.h"
#include "cluster/command/status.h"

#include <stdio.h>

static bool list_has(const struct ab_json *list, int64_t node)
{
    bool is_there = false;
    for (size_t i = 0; i < ab_json_count(list) && !is_there; i++) {
        is_there = ab_json_integer_or(ab_json_at(list, i), 0) == node;
    }
    return is_there;
}

/* How many partitions a node has which part in. */
static void counts_add(const struct ab_json *partitions, int64_t node, struct ab_json *entry)
{
    int64_t replicas = 0;
    int64_t leads = 0;
    int64_t lagging = 0;
    int64_t learns = 0;
    for (size_t i = 0; i < ab_json_count(partitions); i++) {
        const struct ab_json *partition = ab_json_at(partitions, i);
        bool is_replica = list_has(ab_json_get(partition, "replicas"), node);
        replicas += is_replica;
        lagging += is_replica && !list_has(ab_json_get(partition, "isr"), node);
        learns += list_has(ab_json_get(partition, "learners"), node);
        leads += ab_json_integer_or(ab_json_get(partition, "leader"), 0) == node;
    }
    ab_json_set(entry, "replicas", ab_json_integer(replicas));
    ab_json_set(entry, "leads", ab_json_integer(leads));
    ab_json_set(entry, "lagging", ab_json_integer(lagging));
    ab_json_set(entry, "learns", ab_json_integer(learns));
}

/* What the coordination service says of a node's process; "unknown" when it never registered. */
static const char *standing_of(const struct ab_json *registered, int64_t node)
{
    for (size_t i = 0; i < ab_json_count(registered); i++) {
        const struct ab_json *entry = ab_json_at(registered, i);
        if (ab_json_integer_or(ab_json_get(entry, "node"), 0) == node) {
            return ab_json_text_or(ab_json_get(entry, "state"), "unknown");
        }
    }
    return "unknown";
}

static struct ab_json *list_make(const struct ab_json *status)
{
    const struct ab_json *cluster = ab_json_get(status, "cluster");
    const struct ab_json *nodes = ab_json_get(status, "nodes");
    struct ab_json *list = ab_json_array();
    for (size_t i = 0; i < ab_json_count(nodes); i++) {
        const struct ab_json *node = ab_json_at(nodes, i);
        int64_t number = ab_json_integer_or(ab_json_get(node, "node"), 0);
        struct ab_json *entry = ab_json_object();
        ab_json_set(entry, "node", ab_json_integer(number));
        ab_json_set(entry, "state", ab_json_text(ab_json_text_or(ab_json_get(node, "state"), "")));
        ab_json_set(entry, "speed", ab_json_text(standing_of(ab_json_get(cluster, "nodes"), number)));
        counts_add(ab_json_get(cluster, "partitions"), number, entry);
        ab_json_set(entry, "directory", ab_json_text(ab_json_text_or(ab_json_get(node, "directory"), "")));
        ab_json_append(list, entry);
    }
    return list;
}

/* {"nodes":[...],"reassignment":null or what the status says} */
static ab_err json_print(const struct ab_json *list, const struct ab_json *reassignment, struct ab_error *error)
{
    struct ab_buffer out;
    ab_buffer_init(&out, NULL, 0);
    ab_buffer_put_format(&out, "{\"nodes\":");
    ab_json_write(list, 0, &out);
    ab_buffer_put_format(&out, ",\"reassignment\":");
    if (ab_json_is_null(reassignment)) {
        ab_buffer_put_format(&out, "null");
    } else {
        ab_json_write(reassignment, 0, &out);
    }
    ab_buffer_put_format(&out, "}\n");
    ab_err err = ab_output_print(&out, error);
    ab_buffer_fini(&out);
    return err;
}

ab_err ab_node_list(struct ab_node_command *command, struct ab_error *error)
{
    static const char *const members[] = {
        "node", "state", "speed", "replicas", "leads", "lagging", "learns", "directory"};
    struct ab_json *status = NULL;
    AB_TRY(ab_status_nodes_ask(command->directory, &status, error));
    const struct ab_json *reassignment = ab_json_get(ab_json_get(status, "cluster"), "reassignment");
    struct ab_json *list = list_make(status);
    ab_err err = AB_OK;
    if (command->is_json) {
        err = json_print(list, reassignment, error);
    } else {
        struct ab_buffer out;
        ab_buffer_init(&out, NULL, 0);
        ab_status_reassignment_write(reassignment, &out);
        ab_status_list_write(list, "nodes", members, sizeof members / sizeof members[0], &out);
        err = ab_output_print(&out, error);
        ab_buffer_fini(&out);
    }
    ab_json_destroy(list);
    ab_json_destroy(status);
    return err;
}
