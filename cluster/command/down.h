/* down: stopping nodes of a cluster on one machine.
 *
 * Threads: one.
 */
#ifndef ANABRANCH_CLUSTER_COMMAND_DOWN_H
#define ANABRANCH_CLUSTER_COMMAND_DOWN_H

#include "common/base/error.h"

#include <stdbool.h>
#include <stdint.h>

/* Stops nodes first .. last: all are asked before any is waited for. True when something ran. */
bool ab_down_nodes(const char *directory, uint32_t first, uint32_t last);

#endif
