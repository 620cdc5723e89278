/* The driver: seeds, minutes, mutants, traces. */
#include "tests/simulation/shrink.h"

#include "common/base/time.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "simulation [--seed S] [--seeds N] [--minutes M] [--mutant NAME] [--verbose] [--marks] [--help]\n"
    "  runs clusters of replicas in virtual time, one seed after the other from S on (default 1), each twice,\n"
    "  until N seeds (default 100) or M minutes are over, and holds them to the specification\n"
    "  --mutant NAME  breaks a rule; the program succeeds when a seed shows it\n"
    "  --mutants      lists the mutants\n"
    "  --verbose      prints the events of the seeds; their faults are not shrunk\n"
    "  --only LIST    leaves out all faults but these numbers (0,3,7): a shrunk seed again\n"
    "  --marks        fails when a mark was never reached\n";

struct options {
    uint64_t seed, seeds;
    double minutes;
    bool is_verbose, has_marks, has_only, is_listing;
    bool off[SIM_FAULTS_MAX];
    const char *mutant;
};

struct totals {
    uint64_t seeds, failures, virtual_us, steps, acknowledged, refused, reads, elections, answers, versions;
    int64_t slowest_us;
    uint64_t marks[SIM_MARKS_COUNT];
};

/* ---- mutants ---- */

struct mutant {
    const char *name, *text;
};

static const struct mutant core_mutants[] = {{"NONE", ""},
#define CORE_MUTANT(name, text) {#name, text},
    AB_REPLICATION_MUTANTS(CORE_MUTANT)
#undef CORE_MUTANT
};

static const struct mutant shell_mutants[] = {{"NONE", ""},
#define SHELL_MUTANT(name, text) {#name, text},
    SIM_SHELL_MUTANTS(SHELL_MUTANT)
#undef SHELL_MUTANT
};

static bool mutant_choose(const char *name)
{
    for (int i = 1; i < AB_MUTANTS_COUNT; i++) {
        if (strcmp(core_mutants[i].name, name) == 0) {
            ab_replication_mutant = (enum ab_replication_mutant)i;
            return true;
        }
    }
    for (int i = 1; i < SIM_SHELL_MUTANTS_COUNT; i++) {
        if (strcmp(shell_mutants[i].name, name) == 0) {
            sim_shell_mutant = (enum sim_shell_mutant)i;
            return true;
        }
    }
    return false;
}

static void mutants_list(void)
{
    for (int i = 1; i < AB_MUTANTS_COUNT; i++) {
        printf("%s: %s\n", core_mutants[i].name, core_mutants[i].text);
    }
    for (int i = 1; i < SIM_SHELL_MUTANTS_COUNT; i++) {
        printf("%s: %s\n", shell_mutants[i].name, shell_mutants[i].text);
    }
}

/* ---- seeds ---- */

static void totals_add(struct totals *totals, const struct sim_world *world)
{
    totals->seeds++;
    totals->virtual_us += (uint64_t)world->now_us;
    totals->steps += world->steps;
    totals->acknowledged += world->acknowledged;
    totals->refused += world->refused;
    totals->reads += world->reads;
    totals->elections += world->elections;
    totals->answers += world->answers;
    totals->versions += world->versions;
    totals->slowest_us = world->recovered_us > totals->slowest_us ? world->recovered_us : totals->slowest_us;
    for (int i = 0; i < SIM_MARKS_COUNT; i++) {
        totals->marks[i] += world->marks[i];
    }
}

/* Runs a seed twice; true when it holds. */
static bool seed_run(uint64_t seed, const struct options *options, struct totals *totals)
{
    struct sim_config config;
    sim_config_draw(&config, seed);
    const bool *off = options->has_only ? options->off : NULL;
    struct sim_world *first = sim_run(&config, off, options->is_verbose);
    struct sim_world *second = sim_run(&config, off, false);
    if (first->hash != second->hash && !sim_is_violated(first)) {
        (void)snprintf(first->violation, sizeof first->violation, "two runs of one seed differ");
    }
    totals_add(totals, first);
    bool is_failing = sim_is_violated(first);
    if (is_failing) {
        totals->failures++;
        printf("seed %" PRIu64 ": %s\n", seed, first->violation);
        sim_config_print(&config);
    }
    sim_world_destroy(first);
    sim_world_destroy(second);
    if (is_failing && !options->is_verbose && options->mutant == NULL) {
        sim_shrink(&config);
    }
    return !is_failing;
}

static bool totals_print(const struct totals *totals, int64_t taken_us, bool has_marks)
{
    bool is_complete = true;
    double seconds = (double)taken_us / 1e6;
    printf("%.1f s: %.0f seeds/s (each twice), %.1f virtual hours, %.1f million events; %" PRIu64
           " blocks acknowledged, %" PRIu64 " refused, %" PRIu64 " reads, %" PRIu64 " elections, %" PRIu64
           " versions, %" PRIu64 " merged answers; converged at the latest after %.1f s\n",
        seconds, (double)totals->seeds / (seconds > 0 ? seconds : 1), (double)totals->virtual_us / 3.6e9,
        (double)totals->steps / 1e6, totals->acknowledged, totals->refused, totals->reads, totals->elections,
        totals->versions, totals->answers, (double)totals->slowest_us / 1e6);
    static const char *const names[] = {
#define MARK_NAME(name, text) #name ": " text,
        SIM_MARKS(MARK_NAME)
#undef MARK_NAME
    };
    for (int i = 0; i < SIM_MARKS_COUNT && has_marks; i++) {
        printf("%10" PRIu64 "  %s\n", totals->marks[i], names[i]);
        is_complete = is_complete && totals->marks[i] > 0;
    }
    if (!is_complete) {
        printf("a mark was never reached\n");
    }
    return is_complete;
}

static int run(const struct options *options)
{
    struct totals totals = {0};
    int64_t began_us = ab_time_monotonic_us();
    for (uint64_t i = 0; options->minutes > 0 || i < options->seeds; i++) {
        int64_t taken_us = ab_time_monotonic_us() - began_us;
        if (options->minutes > 0 && (double)taken_us >= options->minutes * 6e7) {
            break;
        }
        bool is_good = seed_run(options->seed + i, options, &totals);
        (void)fflush(stdout);
        if (options->mutant != NULL && !is_good) {
            printf("mutant %s is caught by seed %" PRIu64 "\n", options->mutant, options->seed + i);
            return 0;
        }
    }
    bool is_complete = totals_print(&totals, ab_time_monotonic_us() - began_us, options->has_marks);
    printf("%" PRIu64 " seeds run, %" PRIu64 " failures\n", totals.seeds, totals.failures);
    if (options->mutant != NULL) {
        printf("mutant %s is not caught\n", options->mutant);
        return 1;
    }
    return totals.failures == 0 && is_complete ? 0 : 1;
}

/* ---- the command line ---- */

static void only_read(struct options *options, const char *list)
{
    options->has_only = true;
    memset(options->off, true, sizeof options->off);
    char *end = NULL;
    for (const char *at = list; *at != '\0'; at = *end == ',' ? end + 1 : end) {
        unsigned long number = strtoul(at, &end, 10);
        if (end == at) {
            break;
        }
        if (number < SIM_FAULTS_MAX) {
            options->off[number] = false;
        }
    }
}

static bool options_read(struct options *options, int argc, char **argv)
{
    *options = (struct options){.seed = 1, .seeds = 100};
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(argv[i], "--verbose") == 0) {
            options->is_verbose = true;
        } else if (strcmp(argv[i], "--marks") == 0) {
            options->has_marks = true;
        } else if (strcmp(argv[i], "--mutants") == 0) {
            options->is_listing = true;
        } else if (value == NULL) {
            return false;
        } else if (strcmp(argv[i], "--seed") == 0) {
            options->seed = strtoull(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--seeds") == 0) {
            options->seeds = strtoull(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--minutes") == 0) {
            options->minutes = strtod(argv[++i], NULL);
        } else if (strcmp(argv[i], "--mutant") == 0) {
            options->mutant = argv[++i];
        } else if (strcmp(argv[i], "--only") == 0) {
            only_read(options, argv[++i]);
        } else {
            return false;
        }
    }
    return options->mutant == NULL || mutant_choose(options->mutant);
}

int main(int argc, char **argv)
{
    struct options options;
    if (!options_read(&options, argc, argv)) {
        (void)fputs(usage, argc == 2 && strcmp(argv[1], "--help") == 0 ? stdout : stderr);
        return argc == 2 && strcmp(argv[1], "--help") == 0 ? 0 : 2;
    }
    if (options.is_listing) {
        mutants_list();
        return 0;
    }
    return run(&options);
}
