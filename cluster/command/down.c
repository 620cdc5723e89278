#include "cluster/command/down.h"

#include "cluster/command/command.h"
#include "cluster/command/session.h"
#include "cluster/ensemble.h"
#include "common/base/memory.h"
#include "common/base/time.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>

#define SHUTDOWN_TIMEOUT_MS 5000
#define PATIENCE_US (150 * AB_US_PER_SECOND)
#define ENSEMBLE_PATIENCE_US (20 * AB_US_PER_SECOND)
#define POLL_US (20 * AB_US_PER_MS)

static void killed_say(int64_t pid)
{
    ab_command_say("killing process %" PRId64, pid);
}

static ab_err shutdown_ask(char *directory, struct ab_error *error)
{
    struct ab_session session;
    ab_err err = ab_session_open(directory, "operator", &session, error);
    if (err == AB_OK) {
        err = ab_session_call(&session, "controller", AB_VERB_SHUTDOWN, NULL, SHUTDOWN_TIMEOUT_MS, NULL, error);
    }
    ab_session_close(&session);
    return err;
}

/* Asks a node to stop; false when nothing of it runs. */
static bool node_ask(char *directory, struct ab_running *running)
{
    struct ab_error refusal = {0};
    if (!ab_running_read(directory, running) && !ab_running_is_any_alive(running)) {
        return false;
    }
    if (shutdown_ask(directory, &refusal) != AB_OK) {
        ab_command_say("%s; asking by signal", refusal.text);
        ab_process_signal(&running->controller, SIGTERM);
    }
    return true;
}

/* Waits for what was asked to stop; what does not is killed. */
static void node_wait(const struct ab_running *running, int64_t until_us)
{
    while (ab_running_is_any_alive(running) && ab_time_monotonic_us() < until_us) {
        ab_time_sleep_us(POLL_US);
    }
    ab_running_kill(running, killed_say);
}

static ab_err cluster_stop(char *directory, struct ab_error *error)
{
    struct ab_running running;
    struct ab_cluster_identity identity;
    AB_TRY(ab_cluster_identity_read(directory, &identity, error));
    if (!node_ask(directory, &running)) {
        (void)printf("no cluster runs in %s\n", directory);
        return AB_OK;
    }
    node_wait(&running, ab_time_monotonic_us() + PATIENCE_US);
    (void)printf("cluster in %s is down\n", directory);
    return AB_OK;
}

bool ab_down_nodes(const char *directory, uint32_t first, uint32_t last)
{
    struct ab_running running[AB_NODES_MAX];
    bool is_asked[AB_NODES_MAX] = {false};
    bool is_any = false;
    for (uint32_t n = first; n <= last; n++) {
        char *own = ab_nodes_directory(directory, n);
        is_asked[n - 1] = node_ask(own, &running[n - 1]);
        is_any = is_any || is_asked[n - 1];
        ab_delete(own);
    }
    int64_t until_us = ab_time_monotonic_us() + PATIENCE_US;
    for (uint32_t n = first; n <= last; n++) {
        if (is_asked[n - 1]) {
            node_wait(&running[n - 1], until_us);
        }
    }
    return is_any;
}

/* ZooKeeper last: until then the nodes tell each other by it that they go. */
static bool ensemble_stop(const char *directory)
{
    struct ab_ensemble_running running;
    (void)ab_ensemble_running_read(directory, &running);
    if (!ab_ensemble_is_any_alive(&running)) {
        return false;
    }
    ab_ensemble_end(&running, ENSEMBLE_PATIENCE_US);
    return true;
}

static ab_err several_stop(const struct ab_arguments *arguments, const char *directory, struct ab_error *error)
{
    struct ab_nodes nodes;
    int64_t node = 0;
    AB_TRY(ab_nodes_read(directory, &nodes, error));
    AB_TRY(ab_arguments_number(arguments, "--node", 1, nodes.count, 0, &node, error));
    if (node > 0) {
        bool was_running = ab_down_nodes(directory, (uint32_t)node, (uint32_t)node);
        (void)printf(was_running ? "node %" PRId64 " of the cluster in %s is down\n"
                                 : "node %" PRId64 " of the cluster in %s does not run\n",
            node, directory);
        return AB_OK;
    }
    bool was_running = ab_down_nodes(directory, 1, nodes.count);
    was_running = ensemble_stop(directory) || was_running;
    (void)printf(was_running ? "cluster in %s is down\n" : "no cluster runs in %s\n", directory);
    return AB_OK;
}

static ab_err down_run(const struct ab_arguments *arguments, struct ab_error *error)
{
    char *directory = NULL;
    AB_TRY(ab_command_directory(arguments, &directory, error));
    ab_err err = AB_OK;
    if (ab_nodes_is(directory)) {
        err = several_stop(arguments, directory, error);
    } else if (ab_arguments_has(arguments, "--node")) {
        err = ab_error_set(error, AB_USAGE, "--node is for a cluster of several nodes; %s is none", directory);
    } else {
        err = cluster_stop(directory, error);
    }
    ab_delete(directory);
    return err;
}

static const struct ab_option down_options[] = {
    AB_OPTION_DATA,
    {"--node", "K", "stop only node K of several ones"},
    {0},
};

const struct ab_command ab_command_down = {
    .name = "down",
    .words = "",
    .summary = "stop the cluster: serving, speed (which flushes), running jobs; all of it is taken up again by `up`",
    .options = down_options,
    .run = down_run,
};
