#include "cluster/election.h"

#include "common/base/assert.h"

#include <inttypes.h>

void ab_election_record_note(struct ab_election_record *record, uint64_t tick)
{
    record->ticks[record->count % AB_ELECTION_RECORD_MAX] = tick;
    record->count++;
}

bool ab_election_is_too_often(const struct ab_election_record *record, const struct ab_election_breaker *breaker)
{
    AB_ASSERT(breaker->elections_max <= AB_ELECTION_RECORD_MAX);
    if (breaker->elections_max == 0 || record->count < breaker->elections_max) {
        return false;
    }
    /* The elections_max-th youngest: is it within the window still? */
    uint64_t tick = record->ticks[(record->count - breaker->elections_max) % AB_ELECTION_RECORD_MAX];
    return breaker->tick < tick + breaker->window_ticks;
}

/* The first of the replicas, in their order, that is a member of the list with this standing; else AB_NODE_NONE. */
static uint32_t first_with(const struct ab_live_set *live, const struct ab_replica_set *state,
    const struct ab_replica_members *members, enum ab_standing wanted)
{
    for (uint32_t i = 0; i < state->replicas.count; i++) {
        uint32_t node = state->replicas.items[i];
        if (ab_live_set_standing_of(live, state->partition, members, node, NULL) == wanted) {
            return node;
        }
    }
    return AB_NODE_NONE;
}

/* Rules 1 and 2. */
static uint32_t candidate_choose(const struct ab_live_set *live, const struct ab_replica_set *state)
{
    const struct ab_replica_members *const lists[] = {&state->isr, &state->elr};
    static const enum ab_standing standings[] = {AB_STANDING_LIVE, AB_STANDING_RESTARTED};
    for (size_t l = 0; l < 2; l++) {
        for (size_t s = 0; s < 2; s++) {
            uint32_t node = first_with(live, state, lists[l], standings[s]);
            if (node != AB_NODE_NONE) {
                return node;
            }
        }
    }
    return AB_NODE_NONE;
}

/* Appends those who are not damaged and not in the ISR: they stay eligible (rules 4 to 6). */
static void eligible_add(
    const struct ab_live_set *live, const struct ab_replica_members *members, struct ab_replica_set *next)
{
    for (uint32_t i = 0; i < members->count; i++) {
        const struct ab_replica_member *member = &members->items[i];
        bool is_damaged = ab_live_set_standing(live, next->partition, member, NULL) == AB_STANDING_DAMAGED;
        if (!is_damaged && !ab_replica_members_has(&next->isr, member->node)) {
            ab_replica_members_add(&next->elr, *member);
        }
    }
}

/* Makes a candidate the leader of the next epoch. */
static void elect(const struct ab_live_set *live, const struct ab_partition_fact *fact, uint32_t node,
    enum ab_change_kind kind, struct ab_partition_change *change)
{
    const struct ab_replica_set *state = fact->state;
    bool is_from_isr = ab_replica_members_has(&state->isr, node);
    *change = (struct ab_partition_change){.kind = kind, .node = node, .state = *state, .version = fact->version};
    struct ab_replica_set *next = &change->state;
    next->token = (struct ab_hash128){0};
    next->isr.count = 0;
    next->elr.count = 0;
    const struct ab_replica_members *members = is_from_isr ? &state->isr : &state->elr;
    for (uint32_t i = 0; i < members->count; i++) {
        struct ab_replica_member now;
        enum ab_standing standing = ab_live_set_standing(live, state->partition, &members->items[i], &now);
        bool is_there = standing == AB_STANDING_LIVE || standing == AB_STANDING_RESTARTED;
        if (is_there && (is_from_isr || now.node == node)) {
            ab_replica_members_add(&next->isr, now);
        }
    }
    if (next->isr.count < next->min_isr) {
        eligible_add(live, &state->isr, next);
        eligible_add(live, &state->elr, next);
    }
    next->leader = node;
    next->leader_incarnation = next->isr.items[ab_replica_members_find(&next->isr, node)].incarnation;
    next->leader_epoch = state->leader_epoch + 1;
    change->relied = next->isr;
}

static bool leader_is_live(const struct ab_live_set *live, const struct ab_replica_set *state)
{
    return state->leader != AB_NODE_NONE &&
           ab_live_set_standing_of(live, state->partition, &state->isr, state->leader, NULL) == AB_STANDING_LIVE;
}

static void nobody_reason(
    const struct ab_live_set *live, const struct ab_replica_set *state, struct ab_partition_plan *plan)
{
    char isr[AB_PLAN_REASON_BYTES / 2];
    char elr[AB_PLAN_REASON_BYTES / 2];
    ab_live_set_describe(live, state->partition, &state->isr, isr, sizeof isr);
    ab_live_set_describe(live, state->partition, &state->elr, elr, sizeof elr);
    ab_partition_plan_reason(plan, state->partition, "partition %" PRIu32 " has no electable replica: isr %s, elr %s",
        state->partition, isr, elr);
}

static void partition_plan(const struct ab_live_set *live, const struct ab_partition_fact *fact,
    const struct ab_election_record *record, const struct ab_election_breaker *breaker, struct ab_partition_plan *plan)
{
    const struct ab_replica_set *state = fact->state;
    if (leader_is_live(live, state)) {
        return; /* rule 7 */
    }
    uint32_t node = candidate_choose(live, state);
    if (node == AB_NODE_NONE) {
        nobody_reason(live, state, plan);
        if (state->leader != AB_NODE_NONE) {
            struct ab_partition_change change = {
                .kind = AB_CHANGE_NO_LEADER, .node = state->leader, .state = *state, .version = fact->version};
            change.state.token = (struct ab_hash128){0};
            change.state.leader = AB_NODE_NONE;
            change.state.leader_incarnation = (struct ab_hash128){0};
            change.state.leader_epoch = state->leader_epoch + 1;
            ab_partition_plan_change(plan, &change);
        }
        return;
    }
    if (record != NULL && ab_election_is_too_often(record, breaker)) {
        ab_partition_plan_reason(plan, state->partition,
            "partition %" PRIu32 " lost its leader %" PRIu32 " times within %" PRIu64
            " ticks and is left alone: node %" PRIu32 " would be next",
            state->partition, breaker->elections_max, breaker->window_ticks, node);
        return;
    }
    struct ab_partition_change change;
    elect(live, fact, node, AB_CHANGE_ELECT, &change);
    ab_partition_plan_change(plan, &change);
}

ab_err ab_election_plan(const struct ab_election_input *input, struct ab_partition_plan *plan)
{
    uint32_t *order = NULL;
    AB_TRY(ab_partition_facts_order(input->partitions, input->partitions_count, &order));
    struct ab_live_set live;
    ab_live_set_init(&live, input->live, input->live_count);
    for (uint32_t i = 0; i < input->partitions_count; i++) {
        const struct ab_election_record *record = input->records == NULL ? NULL : &input->records[order[i]];
        partition_plan(&live, &input->partitions[order[i]], record, &input->breaker, plan);
    }
    ab_live_set_fini(&live);
    ab_delete(order);
    return AB_OK;
}

ab_err ab_election_rebalance(const struct ab_election_input *input, struct ab_partition_plan *plan)
{
    uint32_t *order = NULL;
    AB_TRY(ab_partition_facts_order(input->partitions, input->partitions_count, &order));
    struct ab_live_set live;
    ab_live_set_init(&live, input->live, input->live_count);
    for (uint32_t i = 0; i < input->partitions_count; i++) {
        const struct ab_partition_fact *fact = &input->partitions[order[i]];
        const struct ab_replica_set *state = fact->state;
        struct ab_replica_members present = {.count = 0};
        ab_live_set_members(&live, state->partition, &state->isr, &present);
        uint32_t preferred = first_with(&live, state, &state->isr, AB_STANDING_LIVE);
        if (!leader_is_live(&live, state) || preferred == state->leader || state->learners.count > 0 ||
            present.count < state->min_isr) {
            continue;
        }
        struct ab_partition_change change;
        elect(&live, fact, preferred, AB_CHANGE_MOVE, &change);
        ab_partition_plan_change(plan, &change);
    }
    ab_live_set_fini(&live);
    ab_delete(order);
    return AB_OK;
}

ab_err ab_election_move(const struct ab_live_set *live, const struct ab_partition_fact *partition, uint32_t node,
    struct ab_partition_change *change, struct ab_error *error)
{
    const struct ab_replica_set *state = partition->state;
    char isr[AB_PLAN_REASON_BYTES / 2];
    if (!leader_is_live(live, state)) {
        return ab_error_set(error, AB_UNAVAILABLE,
            "partition %" PRIu32 " has no live leader: one is elected, not moved", state->partition);
    }
    if (node == state->leader) {
        return ab_error_set(
            error, AB_USAGE, "node %" PRIu32 " leads partition %" PRIu32 " already", node, state->partition);
    }
    if (ab_live_set_standing_of(live, state->partition, &state->isr, node, NULL) != AB_STANDING_LIVE) {
        ab_live_set_describe(live, state->partition, &state->isr, isr, sizeof isr);
        return ab_error_set(error, AB_USAGE,
            "node %" PRIu32 " is no live member of the in-sync set of partition %" PRIu32 ": isr %s", node,
            state->partition, isr);
    }
    elect(live, partition, node, AB_CHANGE_MOVE, change);
    return AB_OK;
}

ab_err ab_election_force(const struct ab_live_set *live, const struct ab_partition_fact *partition, uint32_t node,
    struct ab_partition_change *change, struct ab_error *error)
{
    const struct ab_replica_set *state = partition->state;
    uint32_t candidate = candidate_choose(live, state);
    if (candidate != AB_NODE_NONE) {
        return ab_error_set(error, AB_EXISTS, "node %" PRIu32 " can lead partition %" PRIu32 " without a loss",
            candidate, state->partition);
    }
    const struct ab_live_node *process = ab_live_set_only(live, node);
    if (!ab_replica_nodes_has(&state->replicas, node) || process == NULL) {
        return ab_error_set(
            error, AB_USAGE, "node %" PRIu32 " is no live replica of partition %" PRIu32, node, state->partition);
    }
    if (ab_live_node_is_damaged(process, state->partition)) {
        return ab_error_set(
            error, AB_USAGE, "node %" PRIu32 ": its log of partition %" PRIu32 " is damaged", node, state->partition);
    }
    *change = (struct ab_partition_change){
        .kind = AB_CHANGE_FORCE, .node = node, .state = *state, .version = partition->version};
    struct ab_replica_set *next = &change->state;
    next->token = (struct ab_hash128){0};
    next->isr = (struct ab_replica_members){
        .items = {{.node = node, .incarnation = process->incarnation, .disk_id = process->disk_id}}, .count = 1};
    next->elr.count = 0; /* the others' records are of another history from here on */
    next->leader = node;
    next->leader_incarnation = process->incarnation;
    next->leader_epoch = state->leader_epoch + 1;
    next->history_id = state->history_id + 1;
    change->relied = next->isr;
    return AB_OK;
}
