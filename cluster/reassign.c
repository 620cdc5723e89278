#include "cluster/reassign.h"

#include "cluster/election.h"

#include <inttypes.h>

/* One partition on its way. */
struct way {
    const struct ab_live_set *live;
    const struct ab_partition_fact *fact;
    const struct ab_replica_set *state;
    const struct ab_replica_target *target;
    const struct ab_reassign_input *input;
    struct ab_partition_plan *plan;
};

static bool is_in_sync(const struct ab_live_set *live, const struct ab_replica_set *state, uint32_t node)
{
    return ab_live_set_standing_of(live, state->partition, &state->isr, node, NULL) == AB_STANDING_LIVE;
}

/* The first live replica of the target that is not in sync; AB_NODE_NONE. */
static uint32_t lagging_find(
    const struct ab_live_set *live, const struct ab_replica_set *state, const struct ab_replica_target *target)
{
    for (uint32_t i = 0; i < target->replicas.count; i++) {
        uint32_t node = target->replicas.items[i];
        if (ab_replica_nodes_has(&state->replicas, node) && ab_live_set_only(live, node) != NULL &&
            !is_in_sync(live, state, node)) {
            return node;
        }
    }
    return AB_NODE_NONE;
}

static bool is_copying(
    const struct ab_live_set *live, const struct ab_replica_set *state, const struct ab_replica_target *target)
{
    for (uint32_t i = 0; i < state->learners.count; i++) {
        if (ab_live_set_only(live, state->learners.items[i]) != NULL) {
            return true;
        }
    }
    return lagging_find(live, state, target) != AB_NODE_NONE;
}

bool ab_reassign_is_done(
    const struct ab_live_set *live, const struct ab_replica_set *state, const struct ab_replica_target *target)
{
    return state->learners.count == 0 && ab_replica_nodes_equal(&state->replicas, &target->replicas) &&
           lagging_find(live, state, target) == AB_NODE_NONE;
}

/* A change of the assignment, to be filled. */
static struct ab_partition_change change_of(const struct way *way, enum ab_change_kind kind, uint32_t node)
{
    struct ab_partition_change change = {
        .kind = kind, .node = node, .state = *way->state, .version = way->fact->version};
    change.state.token = (struct ab_hash128){0};
    change.state.assignment_version++;
    return change;
}

/* Members first whom the target names, in its order: the first one is preferred as leader from now on. */
static void replicas_order(struct ab_replica_nodes *replicas, const struct ab_replica_target *target)
{
    struct ab_replica_nodes ordered = {.count = 0};
    for (uint32_t i = 0; i < target->replicas.count; i++) {
        if (ab_replica_nodes_has(replicas, target->replicas.items[i])) {
            ab_replica_nodes_add(&ordered, target->replicas.items[i]);
        }
    }
    for (uint32_t i = 0; i < replicas->count; i++) {
        if (!ab_replica_nodes_has(&ordered, replicas->items[i])) {
            ab_replica_nodes_add(&ordered, replicas->items[i]);
        }
    }
    *replicas = ordered;
}

static void relied_add(struct ab_partition_change *change, const struct ab_live_node *process)
{
    ab_replica_members_add(
        &change->relied, (struct ab_replica_member){process->node, process->incarnation, process->disk_id});
}

static bool has_caught_up(const struct way *way, uint32_t node)
{
    for (uint32_t i = 0; i < way->input->caught_up_count; i++) {
        const struct ab_caught_up *report = &way->input->caught_up[i];
        if (report->partition == way->state->partition && report->node == node &&
            report->leader_epoch == way->state->leader_epoch) {
            return true;
        }
    }
    return false;
}

/* Learners: those not wanted go, those that have caught up become replicas. True when that is this partition's step. */
static bool learner_step(const struct way *way)
{
    for (uint32_t i = 0; i < way->state->learners.count; i++) {
        uint32_t node = way->state->learners.items[i];
        if (!ab_replica_nodes_has(&way->target->replicas, node)) {
            struct ab_partition_change change = change_of(way, AB_CHANGE_DROP_LEARNER, node);
            ab_replica_nodes_remove(&change.state.learners, node);
            ab_partition_plan_change(way->plan, &change);
            return true;
        }
    }
    for (uint32_t i = 0; i < way->state->learners.count; i++) {
        uint32_t node = way->state->learners.items[i];
        const struct ab_live_node *process = ab_live_set_only(way->live, node);
        if (process == NULL || !has_caught_up(way, node) || way->state->replicas.count == AB_REPLICAS_MAX) {
            ab_partition_plan_reason(way->plan, way->state->partition, "partition %" PRIu32 ": learner %" PRIu32 " %s",
                way->state->partition, node, process == NULL ? "is not live" : "is catching up");
            continue;
        }
        struct ab_partition_change change = change_of(way, AB_CHANGE_PROMOTE, node);
        ab_replica_nodes_remove(&change.state.learners, node);
        ab_replica_nodes_add(&change.state.replicas, node);
        replicas_order(&change.state.replicas, way->target);
        relied_add(&change, process);
        ab_partition_plan_change(way->plan, &change);
        return true;
    }
    return false;
}

/* Whom to remove next: who is not in sync first, the leader last; of equals who stands last. AB_NODE_NONE. */
static uint32_t surplus_choose(const struct way *way)
{
    uint32_t best = AB_NODE_NONE;
    uint32_t best_worth = UINT32_MAX;
    for (uint32_t i = way->state->replicas.count; i-- > 0;) {
        uint32_t node = way->state->replicas.items[i];
        uint32_t worth = node == way->state->leader ? 2 : is_in_sync(way->live, way->state, node);
        if (!ab_replica_nodes_has(&way->target->replicas, node) && worth < best_worth) {
            best = node;
            best_worth = worth;
        }
    }
    return best;
}

/* Moves the leadership to the first member of the target that may have it. */
static void leader_move(const struct way *way)
{
    for (uint32_t i = 0; i < way->target->replicas.count; i++) {
        uint32_t node = way->target->replicas.items[i];
        struct ab_partition_change change;
        if (node != way->state->leader && is_in_sync(way->live, way->state, node) &&
            ab_election_move(way->live, way->fact, node, &change, NULL) == AB_OK) {
            ab_partition_plan_change(way->plan, &change);
            return;
        }
    }
    ab_partition_plan_reason(way->plan, way->state->partition,
        "partition %" PRIu32 ": leader %" PRIu32 " has no in-sync replica of the target to hand over to",
        way->state->partition, way->state->leader);
}

/* Rules 2 and 3. */
static void surplus_remove(const struct way *way, uint32_t node)
{
    const struct ab_replica_set *state = way->state;
    uint32_t lagging = lagging_find(way->live, state, way->target);
    if (lagging != AB_NODE_NONE) {
        ab_partition_plan_reason(way->plan, state->partition,
            "partition %" PRIu32 ": replica %" PRIu32 " is not in sync yet", state->partition, lagging);
        return;
    }
    if (node == state->leader) {
        leader_move(way);
        return;
    }
    struct ab_partition_change change = change_of(way, AB_CHANGE_REMOVE, node);
    ab_replica_nodes_remove(&change.state.replicas, node);
    ab_replica_members_remove(&change.state.isr, node);
    replicas_order(&change.state.replicas, way->target);
    ab_live_set_members(way->live, state->partition, &change.state.isr, &change.relied);
    if (change.relied.count < state->min_isr) {
        ab_partition_plan_reason(way->plan, state->partition,
            "partition %" PRIu32 ": without replica %" PRIu32 " %" PRIu32 " live in-sync replicas of at least %" PRIu32
            " would remain",
            state->partition, node, change.relied.count, state->min_isr);
        return;
    }
    ab_partition_plan_change(way->plan, &change);
}

/* Adds the first missing replica whose node is live; true when one was added. */
static bool learner_add(const struct way *way)
{
    uint32_t missing = AB_NODE_NONE;
    for (uint32_t i = 0; i < way->target->replicas.count; i++) {
        uint32_t node = way->target->replicas.items[i];
        if (ab_replica_nodes_has(&way->state->replicas, node)) {
            continue;
        }
        missing = node;
        const struct ab_live_node *process = ab_live_set_only(way->live, node);
        if (process != NULL) {
            struct ab_partition_change change = change_of(way, AB_CHANGE_ADD_LEARNER, node);
            ab_replica_nodes_add(&change.state.learners, node);
            relied_add(&change, process);
            ab_partition_plan_change(way->plan, &change);
            return true;
        }
    }
    ab_partition_plan_reason(way->plan, way->state->partition,
        "partition %" PRIu32 ": node %" PRIu32 ", which is to be a replica, is not live", way->state->partition,
        missing);
    return false;
}

/* One partition's next step; *copies counts who copies. */
static void way_step(const struct way *way, uint32_t *copies)
{
    const struct ab_replica_set *state = way->state;
    const struct ab_replica_nodes *wanted = &way->target->replicas;
    if (ab_reassign_is_done(way->live, state, way->target)) {
        return;
    }
    if (wanted->count < state->min_isr) {
        ab_partition_plan_reason(way->plan, state->partition,
            "partition %" PRIu32 ": the target has %" PRIu32 " replicas, min_isr is %" PRIu32, state->partition,
            wanted->count, state->min_isr);
        return;
    }
    if (!ab_election_leader_is_live(way->live, state)) {
        ab_partition_plan_reason(
            way->plan, state->partition, "partition %" PRIu32 " has no live leader", state->partition);
        return;
    }
    if (learner_step(way)) {
        return;
    }
    uint32_t surplus = surplus_choose(way);
    if (surplus != AB_NODE_NONE && state->replicas.count > wanted->count) {
        surplus_remove(way, surplus);
        return;
    }
    bool is_missing = false;
    for (uint32_t i = 0; i < wanted->count; i++) {
        is_missing = is_missing || !ab_replica_nodes_has(&state->replicas, wanted->items[i]);
    }
    if (is_missing && state->learners.count > 0) {
        return; /* its reason is given */
    }
    if (is_missing && is_copying(way->live, state, way->target)) {
        ab_partition_plan_reason(way->plan, state->partition,
            "partition %" PRIu32 ": replica %" PRIu32 " is not in sync yet", state->partition,
            lagging_find(way->live, state, way->target));
    } else if (is_missing && *copies >= way->input->copies_max) {
        ab_partition_plan_reason(way->plan, state->partition,
            "partition %" PRIu32 " waits: %" PRIu32 " partitions are being copied", state->partition, *copies);
    } else if (is_missing) {
        *copies += learner_add(way);
    } else if (!ab_replica_nodes_equal(&state->replicas, wanted)) {
        struct ab_partition_change change = change_of(way, AB_CHANGE_ORDER, wanted->items[0]);
        replicas_order(&change.state.replicas, way->target);
        ab_partition_plan_change(way->plan, &change);
    } else {
        ab_partition_plan_reason(way->plan, state->partition,
            "partition %" PRIu32 ": replica %" PRIu32 " is not in sync yet", state->partition,
            lagging_find(way->live, state, way->target));
    }
}

/* For each fact in `order` its target, or NULL; owned by the caller. AB_USAGE when a partition has two. */
static ab_err targets_match(
    const struct ab_reassign_input *input, const uint32_t *order, const struct ab_replica_target ***matched)
{
    uint64_t *keys = ab_new_array(uint64_t, input->targets_count);
    for (uint32_t i = 0; i < input->targets_count; i++) {
        keys[i] = (uint64_t)input->targets[i].partition << 32 | i;
    }
    ab_err err = ab_partition_keys_sort(keys, input->targets_count);
    const struct ab_replica_target **made = ab_new_array(const struct ab_replica_target *, input->partitions_count);
    uint32_t t = 0;
    for (uint32_t i = 0; i < input->partitions_count; i++) {
        uint32_t partition = input->partitions[order[i]].state->partition;
        while (t < input->targets_count && keys[t] >> 32 < partition) {
            t++;
        }
        if (t < input->targets_count && keys[t] >> 32 == partition) {
            made[i] = &input->targets[(uint32_t)keys[t]];
        }
    }
    ab_delete(keys);
    if (err != AB_OK) {
        ab_delete(made);
        return err;
    }
    *matched = made;
    return AB_OK;
}

ab_err ab_reassign_plan(const struct ab_reassign_input *input, struct ab_partition_plan *plan)
{
    uint32_t *order = NULL;
    const struct ab_replica_target **targets = NULL;
    AB_TRY(ab_partition_facts_order(input->partitions, input->partitions_count, &order));
    ab_err err = targets_match(input, order, &targets);
    if (err != AB_OK) {
        ab_delete(order);
        return err;
    }
    struct ab_live_set live;
    ab_live_set_init(&live, input->live, input->live_count);
    uint32_t copies = 0;
    for (uint32_t i = 0; i < input->partitions_count; i++) {
        copies += targets[i] != NULL && is_copying(&live, input->partitions[order[i]].state, targets[i]);
    }
    for (uint32_t i = 0; i < input->partitions_count; i++) {
        const struct ab_partition_fact *fact = &input->partitions[order[i]];
        const struct way way = {&live, fact, fact->state, targets[i], input, plan};
        if (way.target != NULL) {
            way_step(&way, &copies);
        }
    }
    ab_live_set_fini(&live);
    ab_delete(order);
    ab_delete(targets);
    return AB_OK;
}

ab_err ab_reassign_may_remove(const struct ab_live_set *live, const struct ab_partition_fact *partitions,
    uint32_t partitions_count, uint32_t node, struct ab_partition_plan *plan, struct ab_error *error)
{
    uint32_t short_count = 0;
    for (uint32_t i = 0; i < partitions_count; i++) {
        const struct ab_replica_set *state = partitions[i].state;
        struct ab_replica_members without = {.count = 0};
        ab_live_set_members(live, state->partition, &state->isr, &without);
        bool is_source = ab_replica_members_has(&without, node);
        ab_replica_members_remove(&without, node);
        bool may_go = without.count >= state->min_isr || (is_source && without.count + 1 == state->replicas.count);
        if (!ab_replica_nodes_has(&state->replicas, node) || may_go) {
            continue;
        }
        short_count++;
        ab_partition_plan_reason(plan, state->partition,
            "partition %" PRIu32 ": without node %" PRIu32 " %" PRIu32 " live in-sync replicas of at least %" PRIu32
            " would remain",
            state->partition, node, without.count, state->min_isr);
    }
    return short_count == 0
               ? AB_OK
               : ab_error_set(error, AB_UNAVAILABLE,
                     "node %" PRIu32 " may not be removed now: %" PRIu32 " of its partitions have too few other "
                     "in-sync replicas",
                     node, short_count);
}

ab_err ab_reassign_may_replace(const struct ab_live_set *live, const struct ab_partition_fact *partitions,
    uint32_t partitions_count, uint32_t node, struct ab_partition_plan *plan, struct ab_error *error)
{
    if (ab_live_set_only(live, node) != NULL) {
        return ab_error_set(error, AB_USAGE, "node %" PRIu32 " is live: remove it instead", node);
    }
    uint32_t lost_count = 0;
    for (uint32_t i = 0; i < partitions_count; i++) {
        const struct ab_replica_set *state = partitions[i].state;
        if (!ab_replica_nodes_has(&state->replicas, node) || ab_election_candidate(live, state) != AB_NODE_NONE) {
            continue;
        }
        char isr[AB_PLAN_REASON_BYTES / 2];
        ab_live_set_describe(live, state->partition, &state->isr, isr, sizeof isr);
        lost_count++;
        ab_partition_plan_reason(plan, state->partition,
            "partition %" PRIu32 ": nobody but node %" PRIu32 " may hold all committed records: isr %s",
            state->partition, node, isr);
    }
    return lost_count == 0 ? AB_OK
                           : ab_error_set(error, AB_UNAVAILABLE,
                                 "node %" PRIu32 " may not be given up now: %" PRIu32
                                 " of its partitions have no other electable replica",
                                 node, lost_count);
}
