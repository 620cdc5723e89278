#include "cluster/command/node.h"
#include "cluster/layout.h"
#include "common/base/time.h"

#include <inttypes.h>

#define REGISTER_PATIENCE_US (30 * AB_US_PER_SECOND)

/* Takes a number, and writes it down before anything of the node is made. */
static ab_err number_settle(struct ab_node_command *command, struct ab_error *error)
{
    bool is_begun = command->nodes.adding != 0;
    AB_TRY(ab_nodes_number_take(&command->nodes, &command->node, error));
    AB_TRY(ab_node_idle_check(command, "add", error));
    char *own = ab_nodes_directory(command->directory, command->node);
    ab_err err = AB_OK;
    if (!is_begun && !ab_layout_is_vacant(own)) {
        err =
            ab_error_set(error, AB_EXISTS, "%s is not empty: node %" PRIu32 " would be made there", own, command->node);
    }
    ab_delete(own);
    AB_TRY(err);
    return ab_nodes_write(command->directory, &command->nodes, error);
}

ab_err ab_node_add(struct ab_node_command *command, struct ab_error *error)
{
    uint32_t moves = 0;
    AB_TRY(number_settle(command, error));
    AB_TRY(ab_node_start(command, error));
    /* It answers, and may not be registered yet. */
    AB_TRY(ab_node_ask_until(command, "add", AB_NOT_FOUND, REGISTER_PATIENCE_US, &moves, error));
    command->nodes.adding = 0;
    AB_TRY(ab_nodes_write(command->directory, &command->nodes, error));
    if (command->is_waiting) {
        AB_TRY(ab_node_wait(command, error));
    }
    ab_node_say(command, "add", moves, command->is_waiting || moves == 0);
    return AB_OK;
}

ab_err ab_node_cancel(struct ab_node_command *command, struct ab_error *error)
{
    uint32_t moves = 0;
    AB_TRY(ab_node_ask(command, "cancel", &moves, error));
    if (command->is_waiting) {
        AB_TRY(ab_node_wait(command, error));
    }
    ab_node_say(command, "cancel", moves, command->is_waiting || moves == 0);
    return AB_OK;
}
