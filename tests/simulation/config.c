/* What a seed draws: each run has its own sizes, delays and probabilities, many of them none, so that no fault hides
 * what another one would show (swarm testing, Groce et al. 2012). */
#include "tests/simulation/world.h"

#include <inttypes.h>
#include <stdio.h>

static double maybe(struct ab_random *random, double chance, double most)
{
    return sim_chance(random, chance) ? most * ab_random_unit(random) : 0;
}

static int64_t between(struct ab_random *random, int64_t least_us, int64_t most_us)
{
    return least_us + (int64_t)ab_random_below(random, (uint64_t)(most_us - least_us + 1));
}

static void sizes_draw(struct sim_config *config, struct ab_random *random)
{
    config->nodes = 3 + (uint32_t)ab_random_below(random, SIM_NODES_MAX - 2);
    config->partitions = 1 + (uint32_t)ab_random_below(random, SIM_PARTITIONS_MAX);
    config->replicas = 3;
    config->min_isr = 2;
    if (sim_chance(random, 0.12)) {
        config->replicas = 2;
    } else if (config->nodes == 5 && sim_chance(random, 0.25)) {
        config->replicas = 5;
        config->min_isr = sim_chance(random, 0.5) ? 3 : 2;
    }
    if (sim_chance(random, 0.12)) {
        config->min_isr = 1;
    }
    config->clients = 1 + (uint32_t)ab_random_below(random, 3);
    config->window = 1 + (uint32_t)ab_random_below(random, SIM_WINDOW_MAX);
}

static void times_draw(struct sim_config *config, struct ab_random *random)
{
    config->link_us = between(random, 200, 15 * AB_US_PER_MS);
    config->client_us = between(random, 200, 30 * AB_US_PER_MS);
    config->sync_us = between(random, 300, 12 * AB_US_PER_MS);
    config->coordination_us = between(random, AB_US_PER_MS, 40 * AB_US_PER_MS);
    config->watch_us = between(random, AB_US_PER_MS, 400 * AB_US_PER_MS);
    config->think_us = between(random, 30 * AB_US_PER_MS, 200 * AB_US_PER_MS);
    config->session_us = between(random, 1200 * AB_US_PER_MS, 4 * AB_US_PER_SECOND);
    config->lag_us = config->session_us + between(random, 0, AB_US_PER_SECOND);
    config->watch_us_max = config->session_us / 2;
    config->patience_us = between(random, 200 * AB_US_PER_MS, 1500 * AB_US_PER_MS);
    config->replay_us = between(random, 200 * AB_US_PER_MS, 3 * AB_US_PER_SECOND);
    config->hold_us = sim_chance(random, 0.5) ? between(random, AB_US_PER_SECOND, 5 * AB_US_PER_SECOND) : 0;
    config->safety_us = between(random, 5 * AB_US_PER_SECOND, 25 * AB_US_PER_SECOND);
}

static void batch_draw(struct sim_config *config, struct ab_random *random)
{
    config->has_batch = sim_chance(random, 0.75);
    config->retained = 1 + (uint32_t)ab_random_below(random, 3);
    config->ship_us = sim_chance(random, 0.3) ? between(random, 100 * AB_US_PER_MS, AB_US_PER_SECOND) : 0;
    config->crash_in_install = maybe(random, 0.5, 0.3);
    config->short_reads = maybe(random, 0.3, 0.2);
}

void sim_config_draw(struct sim_config *config, uint64_t seed)
{
    struct ab_random random;
    ab_random_init(&random, seed * 8);
    *config = (struct sim_config){.seed = seed};
    sizes_draw(config, &random);
    times_draw(config, &random);
    config->loss = maybe(&random, 0.5, 0.3);
    config->replay = maybe(&random, 0.5, 0.5);
    config->damage = maybe(&random, 0.2, 0.05);
    config->client_loss = maybe(&random, 0.5, 0.2);
    config->coordination_loss = maybe(&random, 0.4, 0.2);
    config->stale_reads = maybe(&random, 0.5, 0.5);
    config->crash_in_step = maybe(&random, 0.2, 0.0005);
    config->trim = maybe(&random, 0.6, 0.1);
    config->is_trim_far = sim_chance(&random, 0.5);
    config->moves = maybe(&random, 0.35, 0.3);
    config->has_skew = sim_chance(&random, 0.6);
    config->is_lying = sim_chance(&random, 0.02);
    if (sim_chance(&random, 0.05)) { /* leaders come and go, and everything is said again later */
        config->moves = 0.3 + 0.4 * ab_random_unit(&random);
        config->replay = 0.5;
        config->think_us = 10 * AB_US_PER_MS;
    }
    batch_draw(config, &random);
    for (uint32_t n = 0; n <= SIM_NODES_MAX; n++) {
        config->rates[n] = config->has_skew ? 0.8 + 0.4 * ab_random_unit(&random) : 1.0;
    }
}

void sim_config_print(const struct sim_config *config)
{
    printf("  nodes %u, partitions %u, replicas %u, min_isr %u, clients %u, window %u, faults for %.1f s\n",
        config->nodes, config->partitions, config->replicas, config->min_isr, config->clients, config->window,
        (double)config->safety_us / 1e6);
    printf("  ms: link %.1f, client %.1f, sync %.1f, service %.1f, watch %.1f, session %.0f, lag %.0f, patience %.0f\n",
        (double)config->link_us / 1e3, (double)config->client_us / 1e3, (double)config->sync_us / 1e3,
        (double)config->coordination_us / 1e3, (double)config->watch_us / 1e3, (double)config->session_us / 1e3,
        (double)config->lag_us / 1e3, (double)config->patience_us / 1e3);
    printf("  loss %.2f, replay %.2f, damage %.3f, clients' loss %.2f, service's loss %.2f, stale reads %.2f, held "
           "%.1f s\n",
        config->loss, config->replay, config->damage, config->client_loss, config->coordination_loss,
        config->stale_reads, (double)config->hold_us / 1e6);
    printf("  %s, %u retained, shipped in %.1f ms, short reads %.2f, crash in an installation %.2f\n",
        config->has_batch ? "batch" : "no batch", config->retained, (double)config->ship_us / 1e3, config->short_reads,
        config->crash_in_install);
    printf("  crash in a step %.5f, moves %.2f, trim %.2f%s%s%s\n", config->crash_in_step, config->moves, config->trim,
        config->is_trim_far ? " far" : "", config->has_skew ? ", clocks differ" : "",
        config->is_lying ? ", disks lie" : "");
}
