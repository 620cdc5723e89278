#include "cluster/command/command.h"
#include "cluster/command/session.h"
#include "common/base/memory.h"
#include "common/base/time.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>

#define SHUTDOWN_TIMEOUT_MS 5000
#define PATIENCE_US (150 * AB_US_PER_SECOND)
#define POLL_US (20 * AB_US_PER_MS)

/* Only what endpoints.json names, and only if it is still the very process. */
static void recorded_kill(const struct ab_running *running)
{
    const struct ab_process *processes[] = {&running->controller, &running->serving.process, &running->speed.process};
    for (size_t i = 0; i < sizeof processes / sizeof processes[0]; i++) {
        if (ab_process_is_alive(processes[i])) {
            ab_command_say("killing process %" PRId64, processes[i]->pid);
            ab_process_signal(processes[i], SIGKILL);
        }
    }
}

static bool is_any_alive(const struct ab_running *running)
{
    return ab_process_is_alive(&running->controller) || ab_process_is_alive(&running->serving.process) ||
           ab_process_is_alive(&running->speed.process);
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

static ab_err cluster_stop(char *directory, struct ab_error *error)
{
    struct ab_running running;
    struct ab_cluster_identity identity;
    AB_TRY(ab_cluster_identity_read(directory, &identity, error));
    if (!ab_running_read(directory, &running) && !is_any_alive(&running)) {
        (void)printf("no cluster runs in %s\n", directory);
        return AB_OK;
    }
    struct ab_error refusal = {0};
    if (shutdown_ask(directory, &refusal) != AB_OK) {
        ab_command_say("%s; asking by signal", refusal.text);
        ab_process_signal(&running.controller, SIGTERM);
    }
    int64_t until = ab_time_monotonic_us() + PATIENCE_US;
    while (is_any_alive(&running) && ab_time_monotonic_us() < until) {
        ab_time_sleep_us(POLL_US);
    }
    recorded_kill(&running);
    (void)printf("cluster in %s is down\n", directory);
    return AB_OK;
}

static ab_err down_run(const struct ab_arguments *arguments, struct ab_error *error)
{
    char *directory = NULL;
    AB_TRY(ab_command_directory(arguments, &directory, error));
    ab_err err = cluster_stop(directory, error);
    ab_delete(directory);
    return err;
}

static const struct ab_option down_options[] = {AB_OPTION_DATA, {0}};

const struct ab_command ab_command_down = {
    .name = "down",
    .words = "",
    .summary = "stop the cluster: serving, speed (which flushes), running jobs; all of it is taken up again by `up`",
    .options = down_options,
    .run = down_run,
};
