/* Changes of which nodes a cluster has: what an operator asks of the acting controller.
 *
 *   {"action":"add","node":4}      gives a live node that is new its part of the partitions
 *   {"action":"remove","node":2}   gives all partitions of a node to others
 *   {"action":"cancel"}            what is on its way and has not arrived goes back
 *   {"action":"forget","node":2}   a node that is not live and holds nothing is none of the cluster's any more
 *   {"action":"replace","node":2}  a node that is lost with its disk: another disk may come in under its number
 *
 * -> {"action","node","moves":n}: n partitions are on their way, as /reassignment says (reassigning.h takes the steps);
 * 0 = nothing had to be done. The same change asked for twice is one.
 *
 * Each is refused with a reason when it would leave a partition with fewer than min_isr live in-sync replicas (H16), or
 * nobody who can lead it (H17), and while another reassignment is on its way.
 *
 * What replace forgets is the disk (/nodes/<K>), nothing else: the node stays a replica of its partitions, and what
 * comes in has an empty log, is in no in-sync set, and neither counts nor is elected before it holds everything (R5,
 * R10). The lost disk is refused should it come back. */
#include "cluster/controller/controller.h"

#include "cluster/controller/reassigning.h"
#include "cluster/placement.h"
#include "common/base/logging.h"

#include <inttypes.h>
#include <stdio.h>

#define REASONS_MAX 3u

/* What is looked at before anything is changed. */
struct change {
    struct ab_controller *controller;
    struct ab_facts facts;
    struct ab_live_set live;
    struct ab_node_registration *registrations; /* owned; by rising node */
    uint64_t *registration_versions;            /* owned */
    uint32_t registrations_count;
    struct ab_reassignment stored; /* none: no moves */
    uint64_t stored_version;
    uint32_t node;
};

/* ---- looking ---- */

static ab_err registration_add(struct change *change, const char *name, struct ab_error *error)
{
    char path[AB_REGISTRATION_PATH_BYTES];
    struct ab_buffer text = {0};
    struct ab_coordination_stat stat = {0};
    struct ab_node_registration read = {0};
    (void)snprintf(path, sizeof path, "/nodes/%.40s", name);
    ab_err err = ab_coordination_get(change->controller->coordination, path, &text, &stat, error);
    if (err == AB_OK) {
        err = ab_node_registration_decode(ab_buffer_view(&text), &read, error);
    }
    ab_buffer_fini(&text);
    AB_TRY(err);
    uint32_t at = change->registrations_count++;
    for (; at > 0 && change->registrations[at - 1].node > read.node; at--) { /* few nodes: by insertion */
        change->registrations[at] = change->registrations[at - 1];
        change->registration_versions[at] = change->registration_versions[at - 1];
    }
    change->registrations[at] = read;
    change->registration_versions[at] = stat.version;
    return AB_OK;
}

static ab_err registrations_read(struct change *change, struct ab_error *error)
{
    char **names = NULL;
    size_t count = 0;
    AB_TRY(ab_coordination_list(change->controller->coordination, "/nodes", &names, &count, error));
    change->registrations = ab_new_array(struct ab_node_registration, count + 1);
    change->registration_versions = ab_new_array(uint64_t, count + 1);
    ab_err err = AB_OK;
    for (size_t i = 0; i < count && err == AB_OK; i++) {
        err = registration_add(change, names[i], error);
    }
    ab_coordination_names_free(names, count);
    return err;
}

static ab_err look(struct change *change, struct ab_error *error)
{
    struct ab_coordination *coordination = change->controller->coordination;
    uint32_t partitions_count = change->controller->node.identity.partitions_count;
    struct ab_error attempt = {0};
    AB_TRY(registrations_read(change, error));
    AB_TRY(ab_facts_read_live(&change->facts, coordination, error));
    ab_live_set_init(&change->live, change->facts.live, change->facts.live_count);
    AB_TRY(ab_facts_read_partitions(&change->facts, coordination, partitions_count, error));
    if (change->facts.partitions_count != partitions_count) {
        return ab_error_set(error, AB_UNAVAILABLE, "%" PRIu32 " partitions have no state yet, or one that is broken",
            partitions_count - change->facts.partitions_count);
    }
    ab_err err = ab_reassigning_read(coordination, &change->stored, &change->stored_version, &attempt);
    return err == AB_OK || err == AB_NOT_FOUND ? AB_OK : ab_error_set(error, err, "%s", attempt.text);
}

static void change_fini(struct change *change)
{
    ab_reassignment_fini(&change->stored);
    ab_live_set_fini(&change->live);
    ab_facts_fini(&change->facts);
    ab_delete(change->registrations);
    ab_delete(change->registration_versions);
}

/* The place among the registered; UINT32_MAX. */
static uint32_t registration_find(const struct change *change, uint32_t node)
{
    for (uint32_t i = 0; i < change->registrations_count; i++) {
        if (change->registrations[i].node == node) {
            return i;
        }
    }
    return UINT32_MAX;
}

static bool is_live(const struct change *change, uint32_t node)
{
    return ab_live_set_only(&change->live, node) != NULL;
}

/* ---- what is refused ---- */

/* Partitions of which the node is a replica, or is to be one. */
static uint32_t held_count(const struct change *change)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < change->facts.partitions_count; i++) {
        const struct ab_replica_set *state = &change->facts.states[i];
        count += ab_replica_nodes_has(&state->replicas, change->node) ||
                 ab_replica_nodes_has(&state->learners, change->node);
    }
    return count;
}

static ab_err known_check(const struct change *change, struct ab_error *error)
{
    return registration_find(change, change->node) != UINT32_MAX
               ? AB_OK
               : ab_error_set(error, AB_NOT_FOUND, "there is no node %" PRIu32 " in the cluster", change->node);
}

static ab_err idle_check(const struct change *change, struct ab_error *error)
{
    if (change->stored.moves_count == 0) {
        return AB_OK;
    }
    return ab_error_set(error, AB_BUSY,
        "another reassignment is on its way (%s node %" PRIu32 "): wait for it, see `anabranch node list`, or take it "
        "back by `anabranch node cancel`",
        ab_reassignment_action_name(change->stored.action), change->stored.node);
}

/* Puts the first reasons behind an error's text. */
static ab_err reasons_add(ab_err err, const struct ab_partition_plan *plan, struct ab_error *error)
{
    char text[AB_ERROR_TEXT_BYTES];
    size_t used = (size_t)snprintf(text, sizeof text, "%s", error->text);
    for (uint32_t i = 0; i < plan->reasons_count && used < sizeof text; i++) {
        used += (size_t)snprintf(text + used, sizeof text - used, "; %s", plan->reasons[i].text);
    }
    *error = (struct ab_error){0};
    return ab_error_set(error, err, "%s", text);
}

typedef ab_err (*may_fn)(const struct ab_live_set *live, const struct ab_partition_fact *partitions,
    uint32_t partitions_count, uint32_t node, struct ab_partition_plan *plan, struct ab_error *error);

/* Asks H16 or H17. */
static ab_err may_go(const struct change *change, may_fn may, struct ab_error *error)
{
    struct ab_partition_plan plan;
    ab_partition_plan_init(&plan, 0, REASONS_MAX);
    ab_err err =
        may(&change->live, change->facts.partitions, change->facts.partitions_count, change->node, &plan, error);
    if (err != AB_OK) {
        err = reasons_add(err, &plan, error);
    }
    ab_partition_plan_fini(&plan);
    return err;
}

/* ---- what is stored ---- */

static ab_err reply_make(const char *action, uint32_t node, uint32_t moves_count, struct ab_json **reply)
{
    *reply = ab_json_object();
    ab_json_set(*reply, "action", ab_json_text(action));
    ab_json_set(*reply, "node", ab_json_integer(node));
    ab_json_set(*reply, "moves", ab_json_integer(moves_count));
    return AB_OK;
}

/* Writes a reassignment in place of what is stored, or of none. */
static ab_err reassignment_store(
    struct change *change, const struct ab_reassignment *reassignment, struct ab_error *error)
{
    struct ab_changes changes = {0};
    struct ab_buffer text = {0};
    bool is_new = change->stored.moves_count == 0;
    ab_err err = ab_reassignment_encode(reassignment, &text, error);
    if (err == AB_OK) {
        ab_changes_add(&changes, is_new ? AB_COORDINATION_CREATE : AB_COORDINATION_SET, AB_REASSIGNMENT_PATH,
            ab_buffer_view(&text), change->stored_version);
        err = ab_controller_commit(change->controller, &changes, error);
    }
    ab_buffer_fini(&text);
    if (err == AB_OK) {
        ab_info("reassignment begun", "%s node %" PRIu32 ": %" PRIu32 " partitions to move",
            ab_reassignment_action_name(reassignment->action), reassignment->node, reassignment->moves_count);
    }
    return err == AB_EXISTS || err == AB_CONFLICT || err == AB_NOT_FOUND
               ? ab_error_wrap(error, AB_BUSY, "another reassignment was begun or ended meanwhile; ask again")
               : err;
}

/* Nodes that may hold partitions afterwards. For a removal only those that live take over. */
static struct ab_placement_node *placement_nodes(const struct change *change, bool is_removal, uint32_t *count)
{
    struct ab_placement_node *nodes = ab_new_array(struct ab_placement_node, change->registrations_count + 1);
    *count = 0;
    for (uint32_t i = 0; i < change->registrations_count; i++) {
        const struct ab_node_registration *registration = &change->registrations[i];
        if (!is_removal || (registration->node != change->node && is_live(change, registration->node))) {
            nodes[(*count)++] = (struct ab_placement_node){
                .node = registration->node, .weight = registration->weight, .rack = registration->rack};
        }
    }
    return nodes;
}

static ab_err reassignment_propose(struct change *change, enum ab_reassignment_action action,
    struct ab_reassignment *reassignment, struct ab_error *error)
{
    uint32_t count = change->facts.partitions_count;
    bool is_removal = action == AB_REASSIGNMENT_REMOVE;
    struct ab_replica_target *current = ab_new_array(struct ab_replica_target, count + 1);
    struct ab_replica_target *targets = ab_new_array(struct ab_replica_target, count + 1);
    for (uint32_t p = 0; p < count; p++) {
        const struct ab_replica_set *state = &change->facts.states[p];
        current[p] = (struct ab_replica_target){.partition = state->partition, .replicas = state->replicas};
    }
    uint32_t nodes_count = 0;
    struct ab_placement_node *nodes = placement_nodes(change, is_removal, &nodes_count);
    struct ab_placement_change placement = {
        .nodes = nodes, .nodes_count = nodes_count, .current = current, .partitions_count = count, .targets = targets};
    ab_err err = is_removal ? ab_placement_remove(&placement, change->node, error)
                            : ab_placement_add(&placement, change->node, error);
    if (err == AB_OK) {
        ab_reassignment_init(reassignment, action, change->node, current, targets, count);
    }
    ab_delete(nodes);
    ab_delete(targets);
    ab_delete(current);
    return err;
}

static ab_err reassign(
    struct change *change, enum ab_reassignment_action action, struct ab_json **reply, struct ab_error *error)
{
    struct ab_reassignment reassignment = {0};
    ab_err err = reassignment_propose(change, action, &reassignment, error);
    if (err == AB_OK && reassignment.moves_count > 0) {
        err = reassignment_store(change, &reassignment, error);
    }
    if (err == AB_OK) {
        err = reply_make(ab_reassignment_action_name(action), change->node, reassignment.moves_count, reply);
    }
    ab_reassignment_fini(&reassignment);
    return err;
}

/* ---- the actions ---- */

/* True when just this is on its way. */
static bool is_stored(const struct change *change, enum ab_reassignment_action action)
{
    return change->stored.moves_count > 0 && change->stored.action == action && change->stored.node == change->node;
}

static ab_err action_add(struct change *change, struct ab_json **reply, struct ab_error *error)
{
    if (is_stored(change, AB_REASSIGNMENT_ADD)) {
        return reply_make("add", change->node, change->stored.moves_count, reply);
    }
    AB_TRY(known_check(change, error));
    AB_TRY(idle_check(change, error));
    if (!is_live(change, change->node)) {
        return ab_error_set(error, AB_UNAVAILABLE, "node %" PRIu32 " is not live: start it first", change->node);
    }
    return reassign(change, AB_REASSIGNMENT_ADD, reply, error);
}

static ab_err action_remove(struct change *change, struct ab_json **reply, struct ab_error *error)
{
    if (is_stored(change, AB_REASSIGNMENT_REMOVE)) {
        return reply_make("remove", change->node, change->stored.moves_count, reply);
    }
    if (held_count(change) == 0) { /* one that is being replaced has no registration, and may go */
        AB_TRY(known_check(change, error));
    }
    AB_TRY(idle_check(change, error));
    AB_TRY(may_go(change, ab_reassign_may_remove, error));
    return reassign(change, AB_REASSIGNMENT_REMOVE, reply, error);
}

/* Partitions that have arrived stay; the others go back to where they were. */
static ab_err action_cancel(struct change *change, struct ab_json **reply, struct ab_error *error)
{
    struct ab_reassignment *stored = &change->stored;
    if (stored->moves_count == 0) {
        return ab_error_set(error, AB_NOT_FOUND, "no reassignment is on its way");
    }
    if (stored->action == AB_REASSIGNMENT_CANCEL) {
        return reply_make("cancel", stored->node, stored->moves_count, reply);
    }
    struct ab_reassignment back = {.action = AB_REASSIGNMENT_CANCEL,
        .node = stored->node,
        .began_us = ab_time_now(),
        .targets = ab_new_array(struct ab_replica_target, stored->moves_count),
        .former = ab_new_array(struct ab_replica_target, stored->moves_count)};
    for (uint32_t i = 0; i < stored->moves_count; i++) {
        const struct ab_replica_set *state = &change->facts.states[stored->targets[i].partition];
        if (!ab_reassign_is_done(&change->live, state, &stored->targets[i])) {
            back.former[back.moves_count] = stored->targets[i];
            back.targets[back.moves_count++] = stored->former[i];
        }
    }
    ab_err err = back.moves_count == 0 ? AB_OK : reassignment_store(change, &back, error);
    if (err == AB_OK) {
        err = reply_make("cancel", back.node, back.moves_count, reply);
    }
    ab_reassignment_fini(&back);
    return err;
}

static ab_err registration_delete(struct change *change, bool has_place, struct ab_error *error)
{
    char path[AB_REGISTRATION_PATH_BYTES];
    struct ab_changes changes = {0};
    ab_node_path(change->node, path);
    ab_changes_add(&changes, AB_COORDINATION_DELETE, path, (struct ab_bytes){0},
        change->registration_versions[registration_find(change, change->node)]);
    (void)snprintf(path, sizeof path, "/places/%" PRIu32, change->node);
    if (has_place && ab_coordination_get(change->controller->coordination, path, NULL, NULL, NULL) == AB_OK) {
        ab_changes_add(&changes, AB_COORDINATION_DELETE, path, (struct ab_bytes){0}, AB_COORDINATION_ANY_VERSION);
    }
    ab_err err = ab_controller_commit(change->controller, &changes, error);
    return err == AB_CONFLICT ? ab_error_wrap(error, AB_BUSY, "node %" PRIu32 " has just been started", change->node)
                              : err;
}

static ab_err action_forget(struct change *change, struct ab_json **reply, struct ab_error *error)
{
    uint32_t held = held_count(change);
    if (registration_find(change, change->node) == UINT32_MAX && held == 0) {
        return reply_make("forget", change->node, 0, reply);
    }
    AB_TRY(idle_check(change, error));
    if (is_live(change, change->node)) {
        return ab_error_set(error, AB_BUSY, "node %" PRIu32 " still runs", change->node);
    }
    if (held > 0) {
        return ab_error_set(error, AB_BUSY, "node %" PRIu32 " is a replica of %" PRIu32 " partitions: remove it first",
            change->node, held);
    }
    AB_TRY(registration_delete(change, true, error));
    ab_info("node forgotten", "node %" PRIu32 " belongs to the cluster no more", change->node);
    return reply_make("forget", change->node, 0, reply);
}

static ab_err action_replace(struct change *change, struct ab_json **reply, struct ab_error *error)
{
    if (registration_find(change, change->node) == UINT32_MAX && held_count(change) > 0) {
        return reply_make("replace", change->node, held_count(change), reply); /* forgotten already */
    }
    AB_TRY(known_check(change, error));
    AB_TRY(idle_check(change, error));
    AB_TRY(may_go(change, ab_reassign_may_replace, error));
    AB_TRY(registration_delete(change, false, error));
    ab_warn("disk of a node given up", "node %" PRIu32 ": another one may come in its place; this one is refused",
        change->node);
    return reply_make("replace", change->node, held_count(change), reply);
}

static const struct action_row {
    const char *name;
    ab_err (*run)(struct change *change, struct ab_json **reply, struct ab_error *error);
} actions[] = {
    {"add", action_add},
    {"remove", action_remove},
    {"cancel", action_cancel},
    {"forget", action_forget},
    {"replace", action_replace},
};

ab_err ab_verb_node_change(
    struct ab_controller *controller, const struct ab_json *payload, struct ab_json **reply, struct ab_error *error)
{
    const char *name = ab_json_text_or(ab_json_get(payload, "action"), "");
    int64_t node = ab_json_integer_or(ab_json_get(payload, "node"), 0);
    const struct action_row *action = NULL;
    for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++) {
        action = strcmp(actions[i].name, name) == 0 ? &actions[i] : action;
    }
    if (!ab_controller_is_of_several(controller)) {
        return ab_error_set(error, AB_UNSUPPORTED, "a cluster of one node has no other nodes");
    }
    if (action == NULL) {
        return ab_error_set(error, AB_USAGE, "unknown change of nodes '%.40s'", name);
    }
    if (action->run != action_cancel && (node < 1 || node >= UINT32_MAX)) {
        return ab_error_set(error, AB_USAGE, "which node? \"node\" is a number from 1 on");
    }
    struct change change = {.controller = controller, .node = (uint32_t)node};
    ab_err err = look(&change, error);
    if (err == AB_OK) {
        err = action->run(&change, reply, error);
    }
    change_fini(&change);
    return err;
}
