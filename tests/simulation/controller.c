/* Two controllers, of which at least one believes that it is the one. They plan with the product's election core from
 * what they read, and write later, when it may be too late. */
#include "tests/simulation/batch.h"

#include "cluster/election.h"
#include "common/base/memory.h"

#include <inttypes.h>
#include <string.h>

#define ROUND_US (150 * AB_US_PER_MS)

/* The live nodes as a controller reads them. `damaged` has room for all their lists. */
static uint32_t live_read(struct sim_world *world, struct ab_live_node *live, uint32_t *damaged)
{
    const struct sim_coordination *coordination = world->coordination;
    for (size_t i = 0; i < coordination->sessions_count; i++) {
        const struct sim_session *session = &coordination->sessions[i];
        live[i] = (struct ab_live_node){.node = session->node,
            .incarnation = session->incarnation,
            .disk_id = session->disk_id,
            .starts = session->starts,
            .damaged = damaged};
        for (uint32_t p = 0; p < world->config.partitions; p++) {
            if ((session->damaged >> p & 1) != 0) {
                damaged[live[i].damaged_count++] = p;
            }
        }
        damaged += live[i].damaged_count;
    }
    return (uint32_t)coordination->sessions_count;
}

static void change_submit(struct sim_world *world, uint32_t index, const struct ab_partition_change *change)
{
    struct sim_operation operation = {.kind = SIM_ELECT,
        .process = index,
        .partition = change->state.partition,
        .set = change->state,
        .version = change->version,
        .relied = change->relied,
        .controller_epoch = world->coordination->controllers[index].epoch};
    operation.set.token = sim_id(world);
    sim_coordination_submit(world, &operation);
}

/* Somebody else of the in-sync set shall lead (F32). */
static void move_one(
    struct sim_world *world, uint32_t index, const struct ab_live_set *live, const struct ab_partition_fact *fact)
{
    const struct ab_replica_members *isr = &fact->state->isr;
    uint32_t node = isr->items[ab_random_below(&world->coordination_random, isr->count)].node;
    struct ab_partition_change change;
    struct ab_error error = {0};
    if (ab_election_move(live, fact, node, &change, &error) == AB_OK) {
        change_submit(world, index, &change);
    }
}

/* ---- other replicas ---- */

/* Leaders say which learners hold everything that is committed. */
static void learners_report(struct sim_world *world)
{
    struct sim_coordination *coordination = world->coordination;
    for (uint32_t p = 0; p < world->config.partitions; p++) {
        const struct ab_replica_set *set = &coordination->states[p].set;
        if (set->leader == AB_NODE_NONE || world->nodes[set->leader].replicas[p].role != AB_REPLICA_LEADING) {
            continue;
        }
        const struct sim_replica *leader = &world->nodes[set->leader].replicas[p];
        for (uint32_t i = 0; i < set->learners.count; i++) {
            uint32_t node = set->learners.items[i];
            if (world->nodes[node].disk.partitions[p].log.durable >= leader->committed) {
                coordination->caught_up[coordination->caught_up_count++ % SIM_REPORTS_MAX] =
                    (struct ab_caught_up){.partition = p, .node = node, .leader_epoch = set->leader_epoch};
            }
        }
    }
}

/* A target that is reached is deleted, by the controller that acts. */
static void targets_finish(struct sim_world *world, const struct ab_live_set *live)
{
    struct sim_coordination *coordination = world->coordination;
    for (uint32_t p = 0; p < world->config.partitions; p++) {
        struct ab_replica_target *target = &coordination->targets[p];
        if (target->replicas.count > 0 && ab_reassign_is_done(live, &coordination->states[p].set, target)) {
            sim_mark(world, SIM_MARK_H15);
            sim_trace(world, "p%u: is where it is wanted", p);
            target->replicas.count = 0;
        }
    }
}

static void reassign_changes(
    struct sim_world *world, uint32_t index, const struct ab_partition_plan *wanted, const struct ab_replica_set *sets)
{
    for (uint32_t i = 0; i < wanted->changes_count; i++) {
        struct ab_partition_change change = wanted->changes[i];
        change.state.min_isr = sets[change.state.partition].min_isr;
        if (sim_shell_mutant == SIM_MUTANT_PROMOTED_COUNTS && change.kind == AB_CHANGE_PROMOTE &&
            change.state.isr.count < change.state.replicas.count) {
            ab_replica_members_add(&change.state.isr, change.relied.items[0]);
            change.state.elr.count = 0;
        }
        sim_trace(world, "controller %u: p%u %s node %u", index, change.state.partition,
            ab_change_kind_name(change.kind), change.node);
        change_submit(world, index, &change);
    }
    for (uint32_t i = 0; i < wanted->reasons_count; i++) {
        if (strstr(wanted->reasons[i].text, "would remain") != NULL) {
            sim_mark(world, SIM_MARK_H16);
        }
    }
}

static void reassign(struct sim_world *world, uint32_t index, const struct ab_live_node *live, uint32_t live_count)
{
    struct sim_coordination *coordination = world->coordination;
    struct ab_replica_set sets[SIM_PARTITIONS_MAX];
    struct ab_partition_fact facts[SIM_PARTITIONS_MAX];
    struct ab_replica_target targets[SIM_PARTITIONS_MAX];
    uint32_t targets_count = 0;
    for (uint32_t p = 0; p < world->config.partitions; p++) {
        sets[p] = coordination->states[p].set;
        if (sim_shell_mutant == SIM_MUTANT_REMOVED_BELOW_MINIMUM) {
            sets[p].min_isr = 1;
        }
        facts[p] = (struct ab_partition_fact){.state = &sets[p], .version = coordination->states[p].version};
        if (coordination->targets[p].replicas.count > 0) {
            targets[targets_count++] = coordination->targets[p];
        }
    }
    uint64_t reports =
        coordination->caught_up_count < SIM_REPORTS_MAX ? coordination->caught_up_count : SIM_REPORTS_MAX;
    struct ab_reassign_input input = {.live = live,
        .live_count = live_count,
        .partitions = facts,
        .partitions_count = world->config.partitions,
        .targets = targets,
        .targets_count = targets_count,
        .caught_up = coordination->caught_up,
        .caught_up_count = (uint32_t)reports,
        .copies_max = 1};
    struct ab_partition_plan wanted;
    ab_partition_plan_init(&wanted, SIM_PARTITIONS_MAX, SIM_PARTITIONS_MAX);
    if (ab_reassign_plan(&input, &wanted) != AB_OK) {
        sim_violate(world, "the reassignment core refused its input");
    }
    for (uint32_t p = 0; p < world->config.partitions; p++) {
        sets[p].min_isr = world->config.min_isr;
    }
    reassign_changes(world, index, &wanted, sets);
    ab_partition_plan_fini(&wanted);
}

/* Another node in the place of one, one more, or one less. */
static void target_draw(const struct sim_world *world, uint64_t number, struct ab_replica_nodes *nodes)
{
    uint32_t added = 1 + (uint32_t)(number % world->config.nodes);
    uint32_t place = (uint32_t)((number >> 8) % nodes->count);
    bool is_new = !ab_replica_nodes_has(nodes, added);
    switch (number >> 16 & 3) {
    case 0:
        if (is_new) {
            ab_replica_nodes_add(nodes, added);
            return;
        }
        break;
    case 1:
        if (nodes->count > world->config.min_isr) {
            ab_replica_nodes_remove(nodes, nodes->items[place]);
            return;
        }
        break;
    default:
        break;
    }
    if (is_new) {
        nodes->items[place] = added;
    } else { /* another one is preferred as leader */
        uint32_t first = nodes->items[0];
        nodes->items[0] = nodes->items[place];
        nodes->items[place] = first;
    }
}

void sim_controller_reassign(struct sim_world *world, uint64_t number)
{
    struct sim_coordination *coordination = world->coordination;
    uint32_t partition = (uint32_t)((number >> 20) % world->config.partitions);
    struct ab_replica_target *target = &coordination->targets[partition];
    if (target->replicas.count > 0 && (number >> 32 & 1) != 0) {
        sim_mark(world, SIM_MARK_F35);
        target->replicas = coordination->former[partition]; /* called off: back from where it is */
        return;
    }
    coordination->former[partition] = coordination->states[partition].set.replicas;
    target->partition = partition;
    target->replicas = coordination->states[partition].set.replicas;
    target_draw(world, number, &target->replicas);
    sim_trace(world, "p%u: wanted at %u %u %u %u", partition, target->replicas.items[0], target->replicas.items[1],
        target->replicas.count > 2 ? target->replicas.items[2] : 0,
        target->replicas.count > 3 ? target->replicas.items[3] : 0);
}

/* ---- rounds ---- */

static void plan(struct sim_world *world, uint32_t index)
{
    struct ab_live_node live[SIM_SESSIONS_MAX];
    uint32_t damaged[SIM_SESSIONS_MAX * SIM_PARTITIONS_MAX];
    struct ab_partition_fact facts[SIM_PARTITIONS_MAX];
    uint32_t live_count = live_read(world, live, damaged);
    for (uint32_t p = 0; p < world->config.partitions; p++) {
        facts[p] = (struct ab_partition_fact){
            .state = &world->coordination->states[p].set, .version = world->coordination->states[p].version};
    }
    struct ab_election_input input = {
        .live = live, .live_count = live_count, .partitions = facts, .partitions_count = world->config.partitions};
    struct ab_partition_plan wanted;
    ab_partition_plan_init(&wanted, SIM_PARTITIONS_MAX, SIM_PARTITIONS_MAX);
    if (ab_election_plan(&input, &wanted) != AB_OK) {
        sim_violate(world, "the election core refused its input");
    }
    for (uint32_t i = 0; i < wanted.changes_count; i++) {
        change_submit(world, index, &wanted.changes[i]);
    }
    reassign(world, index, live, live_count);
    struct ab_live_set set;
    ab_live_set_init(&set, live, live_count);
    if (world->coordination->controllers[index].epoch == world->coordination->controller_epoch) {
        targets_finish(world, &set);
    }
    if (!world->is_healing && sim_chance(&world->coordination_random, world->config.moves)) {
        move_one(world, index, &set, &facts[ab_random_below(&world->coordination_random, world->config.partitions)]);
    }
    ab_live_set_fini(&set);
    ab_partition_plan_fini(&wanted);
}

void sim_controller_on_event(struct sim_world *world, const struct sim_event *event)
{
    uint32_t index = (uint32_t)event->number;
    struct sim_controller *controller = &world->coordination->controllers[index];
    if (controller->is_active && !world->is_regressed) {
        controller->rounds++;
        learners_report(world);
        plan(world, index);
        sim_batch_round(world, index);
    }
    struct sim_event next = {.kind = SIM_EVENT_CONTROLLER, .number = index};
    sim_world_post(world, ROUND_US + sim_delay(&world->coordination_random, ROUND_US), &next);
}

/* The old one does not hear of it before something that it writes is refused. */
void sim_controller_take_over(struct sim_world *world)
{
    struct sim_coordination *coordination = world->coordination;
    uint32_t newest = 0;
    for (uint32_t i = 1; i < SIM_CONTROLLERS; i++) {
        newest = coordination->controllers[i].epoch >= coordination->controllers[newest].epoch ? i : newest;
    }
    struct sim_controller *next = &coordination->controllers[(newest + 1) % SIM_CONTROLLERS];
    coordination->controller_epoch++;
    *next = (struct sim_controller){.is_active = true, .epoch = coordination->controller_epoch};
}

void sim_controller_on_result(struct sim_world *world, const struct sim_event *event)
{
    const struct sim_operation *operation = event->payload;
    struct sim_controller *controller = &world->coordination->controllers[operation->process];
    if (operation->is_expired && operation->controller_epoch == controller->epoch) {
        controller->is_active = false;
    }
    sim_batch_on_result(world, operation);
}
