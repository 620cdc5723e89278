#include "cluster/command/node.h"

#include "cluster/command/command.h"
#include "cluster/command/running.h"
#include "common/base/decimal.h"
#include "common/base/time.h"

#include <inttypes.h>
#include <stdio.h>

#define WAIT_S_DEFAULT 3600
#define WAIT_S_MAX (7 * 24 * 3600)

static void killed_say(int64_t pid)
{
    (void)printf("killed process %" PRId64 "\n", pid);
}

static ab_err node_kill(struct ab_node_command *command, struct ab_error *error)
{
    struct ab_running running;
    char *own = ab_nodes_directory(command->directory, command->node);
    (void)ab_running_read(own, &running);
    bool is_alive = ab_running_is_any_alive(&running);
    ab_running_kill(&running, killed_say);
    ab_delete(own);
    if (!is_alive) {
        return ab_error_set(error, AB_UNAVAILABLE, "node %" PRIu32 " does not run", command->node);
    }
    (void)printf(
        "start it again with `anabranch up --data %s --node %" PRIu32 "`\n", command->directory, command->node);
    return AB_OK;
}

static const struct action_row {
    const char *name;
    bool has_node; /* a second word: which one */
    ab_err (*run)(struct ab_node_command *command, struct ab_error *error);
} actions[] = {
    {"list", false, ab_node_list},
    {"add", false, ab_node_add},
    {"replace", true, ab_node_replace},
    {"remove", true, ab_node_remove},
    {"cancel", false, ab_node_cancel},
    {"kill", true, node_kill},
};

static ab_err action_find(const char *name, const struct action_row **action, struct ab_error *error)
{
    for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++) {
        if (strcmp(actions[i].name, name) == 0) {
            *action = &actions[i];
            return AB_OK;
        }
    }
    return ab_error_set(error, AB_USAGE, "unknown action '%s'; known: list, add, replace, remove, cancel, kill", name);
}

/* The node that the second word names. */
static ab_err node_parse(struct ab_node_command *command, const struct action_row *action, struct ab_error *error)
{
    const struct ab_arguments *arguments = command->arguments;
    int64_t node = 0;
    if (arguments->words_count != (action->has_node ? 2 : 1)) {
        return ab_error_set(error, AB_USAGE,
            action->has_node ? "which node? `anabranch node %s K`" : "`anabranch node %s` takes no number",
            action->name);
    }
    if (!action->has_node) {
        return AB_OK;
    }
    bool is_number = ab_bigint_parse(ab_bytes_of_text(arguments->words[1]), &node) == AB_OK && node >= 1 &&
                     node <= command->nodes.count;
    if (!is_number) {
        return ab_error_set(error, AB_USAGE, "the nodes are numbered from 1 to %u; there is no node '%s'",
            command->nodes.count, arguments->words[1]);
    }
    command->node = (uint32_t)node;
    return ab_nodes_has(&command->nodes, command->node)
               ? AB_OK
               : ab_error_set(error, AB_USAGE, "node %" PRIu32 " was removed", command->node);
}

static ab_err action_run(struct ab_node_command *command, struct ab_error *error)
{
    const struct action_row *action = NULL;
    int64_t wait_s = 0;
    AB_TRY(action_find(command->arguments->words[0], &action, error));
    if (!ab_nodes_is(command->directory)) {
        return ab_error_set(
            error, AB_USAGE, "%s is not the directory of a cluster of several nodes", command->directory);
    }
    AB_TRY(ab_nodes_read(command->directory, &command->nodes, error));
    AB_TRY(node_parse(command, action, error));
    AB_TRY(ab_arguments_number(command->arguments, "--timeout", 1, WAIT_S_MAX, WAIT_S_DEFAULT, &wait_s, error));
    command->is_json = ab_arguments_has(command->arguments, "--json");
    command->is_waiting = ab_arguments_has(command->arguments, "--wait");
    command->until_us = ab_time_monotonic_us() + wait_s * AB_US_PER_SECOND;
    return action->run(command, error);
}

static ab_err node_run(const struct ab_arguments *arguments, struct ab_error *error)
{
    struct ab_node_command command = {.arguments = arguments};
    AB_TRY(ab_command_directory(arguments, &command.directory, error));
    ab_err err = action_run(&command, error);
    ab_delete(command.directory);
    return err;
}

static const struct ab_option node_options[] = {
    AB_OPTION_DATA,
    {"--wait", NULL, "until all partitions have arrived (remove does so anyway)"},
    {"--timeout", "SECONDS", "how long to wait at most; the change goes on (default 3600)"},
    {"--json", NULL, "the answer as JSON"},
    {0},
};

const struct ab_command ab_command_node = {
    .name = "node",
    .words = "list|add|replace K|remove K|cancel|kill K",
    .summary = "the nodes of a cluster: add one, replace one that is lost with its disk, remove one; take back what is "
               "on its way; kill one as a crash would (SIGKILL), only to try out failures",
    .options = node_options,
    .words_min = 1,
    .words_max = 2,
    .run = node_run,
};
