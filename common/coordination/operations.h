/* operations: how much this process has asked of the coordination service, by kind, over all its sessions since its
 * start. What one process asks is small; what all of a cluster ask is what the service has to bear.
 *
 * Threads: any; each number is atomic by itself. Memory: fixed.
 */
#ifndef ANABRANCH_COMMON_COORDINATION_OPERATIONS_H
#define ANABRANCH_COMMON_COORDINATION_OPERATIONS_H

#include "common/base/json.h"

/* Kinds of what is asked. Waiting and taking a revision ask nothing. */
enum ab_coordination_operation {
    AB_COORDINATION_GETS,    /* values read */
    AB_COORDINATION_LISTS,   /* children listed */
    AB_COORDINATION_CHANGES, /* multis, of one step or more, whatever became of them */
    AB_COORDINATION_PROBES,  /* signs of life asked for; none when local */
    AB_COORDINATION_OPERATIONS_COUNT,
};

/* Counts one. */
void ab_coordination_operation_count(enum ab_coordination_operation operation);

/* How many there were of a kind. */
uint64_t ab_coordination_operations(enum ab_coordination_operation operation);

/* The name of a kind: "gets", "lists", "changes", "probes". */
const char *ab_coordination_operation_name(enum ab_coordination_operation operation);

/* {"gets":N,"lists":N,"changes":N,"probes":N}; owned by the caller. */
struct ab_json *ab_coordination_operations_json(void);

#endif
