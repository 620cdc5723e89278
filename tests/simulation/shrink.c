#include "tests/simulation/shrink.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct sim_world *sim_run(const struct sim_config *config, const bool *faults_off, bool is_verbose)
{
    struct sim_world *world = sim_world_create(config, is_verbose);
    for (size_t i = 0; faults_off != NULL && i < world->faults_count; i++) {
        world->faults[i].is_off = faults_off[i];
    }
    sim_world_run(world);
    return world;
}

/* What is being shrunk. */
struct failure {
    struct sim_config config;
    char check[8]; /* the number of the check that fails */
    bool off[SIM_FAULTS_MAX];
    size_t count;
};

static bool still_fails(const struct failure *failure)
{
    struct sim_world *world = sim_run(&failure->config, failure->off, false);
    bool is_failing = strncmp(world->violation, failure->check, strlen(failure->check)) == 0;
    sim_world_destroy(world);
    return is_failing;
}

static void try_number(struct failure *failure, double *number)
{
    double before = *number;
    *number = 0;
    if (before != 0 && !still_fails(failure)) {
        *number = before;
    }
}

static void config_shrink(struct failure *failure)
{
    struct sim_config *config = &failure->config;
    double *const numbers[] = {&config->loss, &config->replay, &config->damage, &config->client_loss,
        &config->coordination_loss, &config->stale_reads, &config->crash_in_step, &config->trim, &config->moves,
        &config->crash_in_install, &config->short_reads};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        try_number(failure, numbers[i]);
    }
}

/* Leaves out ever smaller pieces of the list. */
static void faults_shrink(struct failure *failure)
{
    for (size_t piece = failure->count; piece > 0; piece /= 2) {
        for (size_t first = 0; first < failure->count; first += piece) {
            bool before[SIM_FAULTS_MAX];
            memcpy(before, failure->off, sizeof before);
            size_t left = failure->count - first < piece ? failure->count - first : piece;
            memset(failure->off + first, true, left);
            if (memcmp(before, failure->off, sizeof before) != 0 && !still_fails(failure)) {
                memcpy(failure->off, before, sizeof before);
            }
        }
    }
}

void sim_shrink(const struct sim_config *config)
{
    struct failure failure = {.config = *config};
    struct sim_world *world = sim_run(config, NULL, false);
    failure.count = world->faults_count;
    (void)snprintf(failure.check, sizeof failure.check, "%.*s", (int)strcspn(world->violation, ":"), world->violation);
    sim_world_destroy(world);
    faults_shrink(&failure);
    config_shrink(&failure);
    faults_shrink(&failure);
    world = sim_run(&failure.config, failure.off, false);
    printf("  shrunk: %s\n", world->violation);
    sim_config_print(&failure.config);
    for (size_t i = 0; i < world->faults_count; i++) {
        const struct sim_fault *fault = &world->faults[i];
        if (!fault->is_off) {
            printf("  fault %zu at %.3f s: %s node %u other %u for %.3f s\n", i, (double)fault->at_us / 1e6,
                sim_fault_name(fault->kind), fault->node, fault->other, (double)fault->lasts_us / 1e6);
        }
    }
    sim_world_destroy(world);
}
