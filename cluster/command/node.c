#include "cluster/command/command.h"
#include "cluster/command/running.h"
#include "cluster/nodes.h"
#include "common/base/decimal.h"

#include <inttypes.h>
#include <stdio.h>

static void killed_say(int64_t pid)
{
    (void)printf("killed process %" PRId64 "\n", pid);
}

static ab_err node_kill(const char *directory, const char *word, struct ab_error *error)
{
    struct ab_nodes nodes;
    struct ab_running running;
    int64_t node = 0;
    if (!ab_nodes_is(directory)) {
        return ab_error_set(error, AB_USAGE, "%s is not the directory of a cluster of several nodes", directory);
    }
    AB_TRY(ab_nodes_read(directory, &nodes, error));
    if (ab_bigint_parse(ab_bytes_of_text(word), &node) != AB_OK || node < 1 || node > nodes.count) {
        return ab_error_set(
            error, AB_USAGE, "the nodes are numbered from 1 to %u; there is no node '%s'", nodes.count, word);
    }
    char *own = ab_nodes_directory(directory, (uint32_t)node);
    (void)ab_running_read(own, &running);
    bool is_alive = ab_running_is_any_alive(&running);
    ab_running_kill(&running, killed_say);
    ab_delete(own);
    if (!is_alive) {
        return ab_error_set(error, AB_UNAVAILABLE, "node %" PRId64 " does not run", node);
    }
    (void)printf("start it again with `anabranch up --data %s --node %" PRId64 "`\n", directory, node);
    return AB_OK;
}

static ab_err node_run(const struct ab_arguments *arguments, struct ab_error *error)
{
    char *directory = NULL;
    if (strcmp(arguments->words[0], "kill") != 0) {
        return ab_error_set(error, AB_USAGE, "unknown action '%s'; known: kill", arguments->words[0]);
    }
    AB_TRY(ab_command_directory(arguments, &directory, error));
    ab_err err = node_kill(directory, arguments->words[1], error);
    ab_delete(directory);
    return err;
}

static const struct ab_option node_options[] = {AB_OPTION_DATA, {0}};

const struct ab_command ab_command_node = {
    .name = "node",
    .words = "kill K",
    .summary = "kill a node as a crash would (SIGKILL), only to try out failures: `down --node K` stops one in order",
    .options = node_options,
    .words_min = 2,
    .words_max = 2,
    .run = node_run,
};
