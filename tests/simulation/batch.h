/* batch: cuts with their manifests, and the jobs that controllers run over them: read the log up to a cut, ship a
 * version to the nodes, publish it, and let speed and the logs forget what it holds. */
#ifndef ANABRANCH_TESTS_SIMULATION_BATCH_H
#define ANABRANCH_TESTS_SIMULATION_BATCH_H

#include "tests/simulation/coordination.h"
#include "tests/simulation/node.h"

/* Where a cut is in every partition, written once when all have committed it. */
struct sim_manifest {
    uint64_t cut;
    uint64_t offsets[SIM_PARTITIONS_MAX]; /* after the cut's record */
    struct ab_hash128 chains[SIM_PARTITIONS_MAX];
    struct sim_totals digests[SIM_PARTITIONS_MAX]; /* of speed's spans since the manifest before */
};

void sim_batch_create(struct sim_world *world);
void sim_batch_destroy(struct sim_world *world);

/* The cut of the last manifest; 0 = none. And one more, of a later cut. */
uint64_t sim_batch_last_cut(const struct sim_world *world);
void sim_batch_manifest_add(struct sim_world *world, const struct sim_manifest *manifest);

/* One step of what a controller that believes to act does for jobs, publications and retirement. */
void sim_batch_round(struct sim_world *world, uint32_t controller);
void sim_batch_on_result(struct sim_world *world, const struct sim_operation *operation);

/* A version arrives at a node; a controller hears that one has it. */
void sim_batch_on_ship(struct sim_world *world, struct sim_node *node, const struct sim_event *event);
void sim_batch_on_held(struct sim_world *world, const struct sim_event *event);
/* A node is told what is not needed any more. */
void sim_batch_on_retire(struct sim_world *world, struct sim_node *node, const struct sim_event *event);

/* Sends a version to a node's process; it may be lost, or arrive damaged. `controller` hears of it; SIM_CONTROLLERS =
 * nobody. */
void sim_batch_ship(struct sim_world *world, uint32_t node, const struct sim_version *version, uint32_t controller);

/* The nodes (bits) that have ever had a version whole. */
uint32_t sim_batch_stored_by(const struct sim_world *world, struct ab_version_number number);

/* The ranks of all jobs die. */
void sim_batch_kill(struct sim_world *world);

/* A person goes back to the version before of a view, from what is in force now. */
void sim_batch_rollback(struct sim_world *world, uint32_t view);

/* All cuts are published in all views that nobody went back with; else why not. */
bool sim_batch_is_done(const struct sim_world *world, char *why, size_t why_bytes);

#endif
