#include "cluster/command/node.h"
#include "common/base/time.h"

#include <inttypes.h>

#define SESSION_PATIENCE_US (20 * AB_US_PER_SECOND)

ab_err ab_node_replace(struct ab_node_command *command, struct ab_error *error)
{
    uint32_t replicas = 0;
    if (ab_node_is_running(command)) {
        return ab_error_set(error, AB_BUSY,
            "node %" PRIu32 " runs: only one that is lost is replaced; `anabranch down --node %" PRIu32
            "` stops it, `anabranch node remove %" PRIu32 "` gives its partitions to others",
            command->node, command->node, command->node);
    }
    /* A process that has just died counts as live until its session has expired: AB_USAGE. */
    AB_TRY(ab_node_ask_until(command, "replace", AB_USAGE, SESSION_PATIENCE_US, &replicas, error));
    AB_TRY(ab_node_directory_retire(command, "lost", error));
    AB_TRY(ab_node_start(command, error));
    if (command->is_waiting) {
        AB_TRY(ab_node_wait(command, error));
    }
    ab_node_say(command, "replace", replicas, command->is_waiting);
    return AB_OK;
}
