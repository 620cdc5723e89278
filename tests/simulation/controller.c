/* Two controllers, of which at least one believes that it is the one. They plan with the product's election core from
 * what they read, and write later, when it may be too late. */
#include "tests/simulation/batch.h"

#include "cluster/election.h"
#include "common/base/memory.h"

#include <inttypes.h>

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
    if (!world->is_healing && sim_chance(&world->coordination_random, world->config.moves)) {
        struct ab_live_set set;
        ab_live_set_init(&set, live, live_count);
        move_one(world, index, &set, &facts[ab_random_below(&world->coordination_random, world->config.partitions)]);
        ab_live_set_fini(&set);
    }
    ab_partition_plan_fini(&wanted);
}

void sim_controller_on_event(struct sim_world *world, const struct sim_event *event)
{
    uint32_t index = (uint32_t)event->number;
    struct sim_controller *controller = &world->coordination->controllers[index];
    if (controller->is_active && !world->is_regressed) {
        controller->rounds++;
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
