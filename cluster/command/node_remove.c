#include "cluster/command/command.h"
#include "cluster/command/down.h"
#include "cluster/command/node.h"
#include "common/base/time.h"

#include <inttypes.h>

#define SESSION_PATIENCE_US (20 * AB_US_PER_SECOND)

ab_err ab_node_remove(struct ab_node_command *command, struct ab_error *error)
{
    uint32_t moves = 0;
    ab_err err = ab_node_ask(command, "remove", &moves, error);
    if (err == AB_OK) {
        err = ab_node_wait(command, error);
    } else if (err == AB_NOT_FOUND) { /* forgotten already: only its number is left, as below */
        *error = (struct ab_error){0};
        err = AB_OK;
    }
    AB_TRY(err);
    if (!command->is_json) {
        ab_command_say("node %" PRIu32 " holds nothing any more; it is taken down", command->node);
    }
    (void)ab_down_nodes(command->directory, command->node, command->node); /* false: it did not run */
    AB_TRY(ab_node_ask_until(command, "forget", AB_BUSY, SESSION_PATIENCE_US, NULL, error));
    AB_TRY(ab_node_directory_retire(command, "removed", error));
    ab_nodes_number_give(&command->nodes, command->node);
    AB_TRY(ab_nodes_write(command->directory, &command->nodes, error));
    ab_node_say(command, "remove", moves, true);
    return AB_OK;
}
