/* What the status says of several nodes: read from the coordination service by whoever is asked, so that it can be had
 * when no controller acts. */
#include "cluster/controller/controller.h"

#include "cluster/controller/creation.h"
#include "cluster/controller/reassigning.h"
#include "cluster/election.h"

#include <stdio.h>
#include <stdlib.h>

#define REASONS_MAX 16u

static struct ab_json *members_json(const struct ab_replica_members *members)
{
    struct ab_json *list = ab_json_array();
    for (uint32_t i = 0; i < members->count; i++) {
        ab_json_append(list, ab_json_integer(members->items[i].node));
    }
    return list;
}

static struct ab_json *numbers_json(const uint32_t *numbers, uint32_t count)
{
    struct ab_json *list = ab_json_array();
    for (uint32_t i = 0; i < count; i++) {
        ab_json_append(list, ab_json_integer(numbers[i]));
    }
    return list;
}

/* ---- nodes ---- */

/* Where serving of a node says that it answers; "" when it does not. */
static struct ab_json *serving_json(struct ab_coordination *coordination, uint32_t node)
{
    struct ab_json *registered = NULL;
    struct ab_json *address = NULL;
    char *path = ab_new_format("/serving/%u", node);
    if (ab_coordination_get_json(coordination, path, &registered, NULL, NULL) == AB_OK) {
        address = ab_json_text(ab_json_text_or(ab_json_get(registered, "address"), ""));
    }
    ab_json_destroy(registered);
    ab_delete(path);
    return address != NULL ? address : ab_json_text("");
}

static struct ab_json *node_json(const struct ab_node_registration *node, const struct ab_live_set *live)
{
    struct ab_json *entry = ab_json_object();
    const struct ab_live_node *process = ab_live_set_find(live, node->node, node->disk_id);
    const struct ab_registration_endpoints *endpoints = process == NULL ? &node->endpoints : &process->endpoints;
    ab_json_set(entry, "node", ab_json_integer(node->node));
    ab_json_set(entry, "state", ab_json_text(process == NULL ? "gone" : "live"));
    ab_json_set(entry, "speed", ab_json_text(ab_registration_endpoint_find(endpoints, "speed")));
    ab_json_set(entry, "rack", ab_json_text(node->rack));
    ab_json_set(entry, "weight", ab_json_integer(node->weight));
    ab_json_set(entry, "starts", ab_json_integer((int64_t)node->starts));
    ab_json_set(
        entry, "damaged", process == NULL ? ab_json_array() : numbers_json(process->damaged, process->damaged_count));
    return entry;
}

static ab_err registration_read(
    struct ab_coordination *coordination, const char *name, struct ab_node_registration *node, struct ab_error *error)
{
    struct ab_buffer text = {0};
    char *path = ab_new_format("/nodes/%s", name);
    ab_err err = ab_coordination_get(coordination, path, &text, NULL, error);
    if (err == AB_OK) {
        err = ab_node_registration_decode(ab_buffer_view(&text), node, error);
    }
    ab_delete(path);
    ab_buffer_fini(&text);
    return err;
}

static int registration_compare(const void *a, const void *b)
{
    const struct ab_node_registration *x = a;
    const struct ab_node_registration *y = b;
    return (x->node > y->node) - (x->node < y->node);
}

/* All nodes that have ever registered, by rising number. */
static ab_err nodes_status(struct ab_coordination *coordination, const struct ab_live_set *live, struct ab_json *status,
    struct ab_error *error)
{
    char **names = NULL;
    size_t count = 0;
    uint32_t read_count = 0;
    AB_TRY(ab_coordination_list(coordination, "/nodes", &names, &count, error));
    struct ab_node_registration *nodes = ab_new_array(struct ab_node_registration, count + 1);
    ab_err err = AB_OK;
    for (size_t i = 0; i < count && err == AB_OK; i++) {
        err = registration_read(coordination, names[i], &nodes[read_count], error);
        read_count += err == AB_OK;
    }
    ab_coordination_names_free(names, count);
    if (err == AB_OK) {
        struct ab_json *list = ab_json_array();
        qsort(nodes, read_count, sizeof nodes[0], registration_compare);
        for (uint32_t i = 0; i < read_count; i++) {
            struct ab_json *entry = node_json(&nodes[i], live);
            ab_json_set(entry, "serving", serving_json(coordination, nodes[i].node));
            ab_json_append(list, entry);
        }
        ab_json_set(status, "nodes", list);
    }
    ab_delete(nodes);
    return err;
}

/* ---- partitions ---- */

struct partition_counts {
    int64_t under_replicated;
    int64_t leaderless;
};

static struct ab_json *partition_json(
    const struct ab_replica_set *state, const struct ab_live_set *live, struct partition_counts *counts)
{
    struct ab_json *entry = ab_json_object();
    bool has_leader = ab_election_leader_is_live(live, state);
    bool is_under_replicated = state->isr.count < state->replicas.count;
    counts->leaderless += !has_leader;
    counts->under_replicated += is_under_replicated;
    ab_json_set(entry, "partition", ab_json_integer(state->partition));
    ab_json_set(entry, "leader", state->leader == AB_NODE_NONE ? ab_json_null() : ab_json_integer(state->leader));
    ab_json_set(entry, "is_leader_live", ab_json_boolean(has_leader));
    ab_json_set(entry, "epoch", ab_json_integer((int64_t)state->leader_epoch));
    ab_json_set(entry, "replicas", numbers_json(state->replicas.items, state->replicas.count));
    ab_json_set(entry, "isr", members_json(&state->isr));
    ab_json_set(entry, "elr", members_json(&state->elr));
    ab_json_set(entry, "learners", numbers_json(state->learners.items, state->learners.count));
    ab_json_set(entry, "min_isr", ab_json_integer(state->min_isr));
    ab_json_set(entry, "is_under_replicated", ab_json_boolean(is_under_replicated));
    return entry;
}

static void partitions_status(const struct ab_facts *facts, const struct ab_live_set *live, struct ab_json *status)
{
    struct partition_counts counts = {0};
    struct ab_json *list = ab_json_array();
    for (uint32_t i = 0; i < facts->partitions_count; i++) {
        ab_json_append(list, partition_json(&facts->states[i], live, &counts));
    }
    ab_json_set(status, "partitions", list);
    ab_json_set(status, "under_replicated", ab_json_integer(counts.under_replicated));
    ab_json_set(status, "leaderless", ab_json_integer(counts.leaderless));
    ab_json_set(status, "not_created", ab_json_integer(facts->missing_count));
}

/* ---- what is on its way ---- */

static struct ab_json *moves_json(
    const struct ab_reassignment *reassignment, const struct ab_facts *facts, const struct ab_live_set *live)
{
    struct ab_json *list = ab_json_array();
    for (uint32_t i = 0; i < reassignment->moves_count; i++) {
        const struct ab_replica_target *target = &reassignment->targets[i];
        bool is_known = facts->missing_count == 0 && target->partition < facts->partitions_count;
        bool is_done = is_known && ab_reassign_is_done(live, &facts->states[target->partition], target);
        struct ab_json *entry = ab_json_object();
        ab_json_set(entry, "partition", ab_json_integer(target->partition));
        ab_json_set(entry, "to", numbers_json(target->replicas.items, target->replicas.count));
        ab_json_set(entry, "is_done", ab_json_boolean(is_done));
        ab_json_append(list, entry);
    }
    return list;
}

/* Why partitions do not move at this moment; whether a learner has caught up is not known here. */
static struct ab_json *waits_json(const struct ab_reassignment *reassignment, const struct ab_facts *facts)
{
    struct ab_json *list = ab_json_array();
    struct ab_partition_plan plan;
    const struct ab_reassign_input input = {.live = facts->live,
        .live_count = facts->live_count,
        .partitions = facts->partitions,
        .partitions_count = facts->partitions_count,
        .targets = reassignment->targets,
        .targets_count = reassignment->moves_count,
        .copies_max = AB_REASSIGNING_COPIES_MAX};
    ab_partition_plan_init(&plan, 0, REASONS_MAX);
    if (ab_reassign_plan(&input, &plan) == AB_OK) {
        for (uint32_t i = 0; i < plan.reasons_count; i++) {
            ab_json_append(list, ab_json_text(plan.reasons[i].text));
        }
    }
    ab_partition_plan_fini(&plan);
    return list;
}

/* Null when nothing is. */
static ab_err reassignment_status(struct ab_coordination *coordination, const struct ab_facts *facts,
    const struct ab_live_set *live, struct ab_json *status, struct ab_error *error)
{
    struct ab_reassignment reassignment = {0};
    struct ab_error attempt = {0};
    uint64_t version = 0;
    struct ab_json *entry = ab_json_null();
    ab_err err = ab_reassigning_read(coordination, &reassignment, &version, &attempt);
    if (err == AB_OK) {
        struct ab_json *moves = moves_json(&reassignment, facts, live);
        int64_t left = 0;
        for (size_t i = 0; i < ab_json_count(moves); i++) {
            left += !ab_json_boolean_or(ab_json_get(ab_json_at(moves, i), "is_done"), false);
        }
        ab_json_destroy(entry);
        entry = ab_json_object();
        ab_json_set(entry, "action", ab_json_text(ab_reassignment_action_name(reassignment.action)));
        ab_json_set(entry, "node", ab_json_integer(reassignment.node));
        ab_json_set(entry, "began_us", ab_json_integer(reassignment.began_us));
        ab_json_set(entry, "partitions", ab_json_integer(reassignment.moves_count));
        ab_json_set(entry, "left", ab_json_integer(left));
        ab_json_set(entry, "moves", moves);
        ab_json_set(entry, "waits", waits_json(&reassignment, facts));
    }
    ab_reassignment_fini(&reassignment);
    ab_json_set(status, "reassignment", entry);
    return err == AB_OK || err == AB_NOT_FOUND ? AB_OK : ab_error_set(error, err, "%s", attempt.text);
}

/* ---- all of it ---- */

static void controller_status(struct ab_controller *controller, struct ab_json *status)
{
    struct ab_acting_controller current;
    struct ab_json *entry = ab_json_null();
    if (ab_acting_loop_current(controller->acting_loop, &current)) {
        ab_json_destroy(entry);
        entry = ab_json_object();
        ab_json_set(entry, "node", ab_json_integer(current.node));
        ab_json_set(entry, "address", ab_json_text(current.address));
    }
    ab_json_set(status, "controller", entry);
    ab_json_set(status, "is_acting", ab_json_boolean(ab_controller_is_acting(controller)));
}

static ab_err status_fill(struct ab_controller *controller, struct ab_json *status, struct ab_error *error)
{
    struct ab_facts facts = {0};
    struct ab_live_set live = {0};
    struct ab_coordination *coordination = controller->coordination;
    ab_err err = ab_facts_read_live(&facts, coordination, error);
    if (err == AB_OK) {
        ab_live_set_init(&live, facts.live, facts.live_count);
        err = nodes_status(coordination, &live, status, error);
    }
    if (err == AB_OK) {
        err = ab_facts_read_partitions(&facts, coordination, controller->node.identity.partitions_count, error);
    }
    if (err == AB_OK) {
        partitions_status(&facts, &live, status);
        err = reassignment_status(coordination, &facts, &live, status, error);
    }
    ab_live_set_fini(&live);
    ab_facts_fini(&facts);
    return err;
}

void ab_nodes_status(struct ab_controller *controller, struct ab_json *status)
{
    struct ab_error error = {0};
    if (controller->acting_loop == NULL) {
        return;
    }
    struct ab_json *cluster = ab_json_object();
    ab_json_set(cluster, "node", ab_json_integer(controller->node.config.cluster.node));
    controller_status(controller, cluster);
    if (status_fill(controller, cluster, &error) != AB_OK) {
        ab_json_set(cluster, "error", ab_json_text(error.text));
    }
    ab_json_set(status, "cluster", cluster);
}
