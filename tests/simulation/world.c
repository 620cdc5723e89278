#include "tests/simulation/world.h"

#include "tests/simulation/batch.h"
#include "tests/simulation/checker.h"
#include "tests/simulation/client.h"
#include "tests/simulation/coordination.h"
#include "tests/simulation/faults.h"
#include "tests/simulation/network.h"
#include "tests/simulation/node.h"

#include "common/base/memory.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define HEAL_US_MAX (20 * AB_US_PER_SECOND)
#define REGRESS_US (15 * AB_US_PER_SECOND)
#define CHECK_US (200 * AB_US_PER_MS)
#define STEPS_MAX 3000000u

enum sim_shell_mutant sim_shell_mutant = SIM_MUTANT_NONE;

/* ---- chance ---- */

bool sim_chance(struct ab_random *random, double probability)
{
    return probability > 0 && ab_random_unit(random) < probability;
}

int64_t sim_delay(struct ab_random *random, int64_t mean_us)
{
    double wanted = -log(1.0 - ab_random_unit(random)) * (double)mean_us;
    return 1 + (int64_t)wanted;
}

struct ab_hash128 sim_id(struct sim_world *world)
{
    return (struct ab_hash128){.low = ab_random_u64(&world->id_random) | 1, .high = ab_random_u64(&world->id_random)};
}

/* ---- what is told ---- */

void sim_violate(struct sim_world *world, const char *format, ...)
{
    if (sim_is_violated(world)) {
        return;
    }
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(world->violation, sizeof world->violation, format, arguments);
    va_end(arguments);
    sim_trace(world, "VIOLATION %s", world->violation);
}

void sim_trace(struct sim_world *world, const char *format, ...)
{
    if (!world->is_verbose) {
        return;
    }
    va_list arguments;
    va_start(arguments, format);
    printf("%10.4f ", (double)world->now_us / 1e6);
    (void)vprintf(format, arguments);
    printf("\n");
    va_end(arguments);
}

/* ---- the queue of events: a binary heap by (time, order) ---- */

static bool is_before(const struct sim_event *a, const struct sim_event *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

static void heap_push(struct sim_world *world, const struct sim_event *event)
{
    if (world->heap_count == world->heap_capacity) {
        world->heap_capacity = world->heap_capacity > 0 ? 2 * world->heap_capacity : 256;
        world->heap = ab_renew_bytes(world->heap, world->heap_capacity * sizeof *world->heap);
    }
    size_t i = world->heap_count++;
    while (i > 0 && is_before(event, &world->heap[(i - 1) / 2])) {
        world->heap[i] = world->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    world->heap[i] = *event;
}

static struct sim_event heap_pop(struct sim_world *world)
{
    struct sim_event first = world->heap[0];
    struct sim_event last = world->heap[--world->heap_count];
    size_t i = 0;
    for (size_t child = 1; child < world->heap_count; child = 2 * i + 1) {
        if (child + 1 < world->heap_count && is_before(&world->heap[child + 1], &world->heap[child])) {
            child++;
        }
        if (!is_before(&world->heap[child], &last)) {
            break;
        }
        world->heap[i] = world->heap[child];
        i = child;
    }
    if (world->heap_count > 0) {
        world->heap[i] = last;
    }
    return first;
}

void sim_world_post(struct sim_world *world, int64_t after_us, const struct sim_event *event)
{
    struct sim_event posted = *event;
    posted.at_us = world->now_us + (after_us > 0 ? after_us : 0);
    posted.order = ++world->order;
    heap_push(world, &posted);
}

/* ---- life ---- */

struct sim_world *sim_world_create(const struct sim_config *config, bool is_verbose)
{
    struct sim_world *world = ab_new(struct sim_world);
    world->config = *config;
    world->is_verbose = is_verbose;
    ab_random_init(&world->network_random, config->seed * 8 + 1);
    ab_random_init(&world->node_random, config->seed * 8 + 2);
    ab_random_init(&world->coordination_random, config->seed * 8 + 3);
    ab_random_init(&world->client_random, config->seed * 8 + 4);
    ab_random_init(&world->id_random, config->seed * 8 + 5);
    ab_random_init(&world->batch_random, config->seed * 8 + 7);
    sim_checker_create(world);
    sim_network_create(world);
    sim_nodes_create(world);
    sim_coordination_create(world);
    sim_batch_create(world);
    sim_clients_create(world);
    sim_faults_draw(world);
    return world;
}

void sim_world_destroy(struct sim_world *world)
{
    if (world == NULL) {
        return;
    }
    for (size_t i = 0; i < world->heap_count; i++) {
        ab_delete(world->heap[i].payload);
    }
    ab_delete(world->heap);
    sim_clients_destroy(world);
    sim_batch_destroy(world);
    sim_nodes_destroy(world);
    sim_coordination_destroy(world);
    sim_network_destroy(world);
    sim_checker_destroy(world);
    ab_delete(world);
}

/* ---- the loop ---- */

static void dispatch(struct sim_world *world, const struct sim_event *event)
{
    switch (event->kind) {
    case SIM_EVENT_TICK:
    case SIM_EVENT_START:
    case SIM_EVENT_MESSAGE:
    case SIM_EVENT_SYNCED:
    case SIM_EVENT_EPOCH_PERSISTED:
    case SIM_EVENT_INSTALL:
    case SIM_EVENT_WATCH:
    case SIM_EVENT_GONE:
    case SIM_EVENT_REQUEST:
    case SIM_EVENT_QUESTION:
    case SIM_EVENT_STATE_QUERY:
    case SIM_EVENT_STATE_ANSWER:
    case SIM_EVENT_SHIP:
    case SIM_EVENT_RETIRE:
        sim_node_on_event(world, event);
        break;
    case SIM_EVENT_RESULT:
        if (event->node == 0) {
            sim_controller_on_result(world, event);
        } else {
            sim_node_on_event(world, event);
        }
        break;
    case SIM_EVENT_OPERATION:
    case SIM_EVENT_EXPIRY:
        sim_coordination_on_event(world, event);
        break;
    case SIM_EVENT_CONTROLLER:
        sim_controller_on_event(world, event);
        break;
    case SIM_EVENT_HELD:
        sim_batch_on_held(world, event);
        break;
    case SIM_EVENT_CLIENT:
    case SIM_EVENT_REPLY:
    case SIM_EVENT_ANSWER:
        sim_client_on_event(world, event);
        break;
    case SIM_EVENT_FAULT:
    case SIM_EVENT_FAULT_END:
        sim_fault_on_event(world, event);
        break;
    }
}

static void one_event(struct sim_world *world)
{
    struct sim_event event = heap_pop(world);
    if (event.node != 0 && sim_node_defers(world, &event)) {
        return;
    }
    world->now_us = event.at_us;
    world->steps++;
    world->hash = sim_mix(world->hash, (uint64_t)event.at_us);
    world->hash = sim_mix(world->hash, ((uint64_t)event.kind << 32) | event.node << 8 | event.partition);
    world->hash = sim_mix(world->hash, event.number);
    dispatch(world, &event);
    ab_delete(event.payload);
    if (world->steps > STEPS_MAX) {
        sim_violate(world, "S15: %" PRIu64 " events and no end", world->steps);
    }
}

static void run_until(struct sim_world *world, int64_t until_us)
{
    while (!sim_is_violated(world) && world->heap_count > 0 && world->heap[0].at_us <= until_us) {
        one_event(world);
    }
}

/* Phases: faults; none any more, until everything has converged; then everything is compared. */
void sim_world_run(struct sim_world *world)
{
    sim_faults_post(world);
    run_until(world, world->config.safety_us);
    if (world->is_regressed) {
        run_until(world, world->now_us + REGRESS_US);
        sim_check_regress(world);
        return;
    }
    if (sim_is_violated(world)) {
        return;
    }
    sim_trace(world, "---- no faults from here on ----");
    world->is_healing = true;
    sim_faults_heal(world);
    int64_t until_us = world->config.safety_us;
    while (!sim_is_violated(world) && !sim_check_converged(world, NULL, 0)) {
        until_us += CHECK_US;
        if (until_us > world->config.safety_us + HEAL_US_MAX) {
            char why[SIM_VIOLATION_BYTES / 2];
            (void)sim_check_converged(world, why, sizeof why);
            sim_violate(world, "S15: not converged %" PRId64 " s after the last fault: %s",
                HEAL_US_MAX / AB_US_PER_SECOND, why);
        }
        sim_faults_tend(world);
        run_until(world, until_us);
    }
    world->recovered_us = world->now_us - world->config.safety_us;
    sim_check_drained(world);
}
