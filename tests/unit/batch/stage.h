/* stage: whole jobs under mpirun, against a controller and a speed that live in the test: one directory, or several
 * nodes with a directory each on this machine. */
#ifndef ANABRANCH_TESTS_UNIT_BATCH_STAGE_H
#define ANABRANCH_TESTS_UNIT_BATCH_STAGE_H

#include "common/wire/node.h"
#include "tests/unit/batch/fixture.h"

#include <sys/types.h>

#define STAGES 5u
#define STAGE_NODES 3u

/* The stand-in for controller and speed. Fields are set while no job runs; the server's thread writes what it got. */
struct stage {
    struct fixture fixture;
    struct ab_node node;
    struct ab_server *server;
    uint32_t attempt;
    bool is_full;              /* what the next BEGIN says of previous versions: none */
    uint64_t pruned_cut;       /* the controller has forgotten the cuts up to this one; 0 = none */
    bool is_lying;             /* speed's counts are off by one */
    bool is_drifting;          /* speed's digests differ */
    struct ab_json *published; /* owned: manifests in force, by view */
    struct ab_json *report;    /* owned: of the newest publish */
    int publishes;
    uint64_t totals[STAGES]; /* what progress said last of each stage */
    size_t stages_count;     /* stages begun, in order; SIZE_MAX = progress that makes no sense */

    char *directories[STAGE_NODES]; /* owned: of nodes 1, 2, 3; the first one is the fixture's */
    bool is_of_several;             /* the next BEGIN names the nodes */
    bool is_down[STAGE_NODES];      /* but not this one */
    uint32_t holders;               /* a bit a node: of the newest publish */
};

/* Setup and teardown of a group of cases; the state is a stage with two spans, and one directory. */
int stage_setup(void **state);
int stage_teardown(void **state);

/* Makes it one of several nodes: directories 2 and 3 with copies of the logs. */
void stage_nodes_make(struct stage *stage);

/* Copies the logs of node 1 to the others, as replication would have. */
void stage_logs_copy(const struct stage *stage);

/* Starts batch/run in a process group of its own; waits for its exit code; and both. */
pid_t stage_job_start(int ranks, const char *job, const char *memory_mb);
int stage_job_wait(pid_t pid);
int stage_job_run(int ranks, const char *job);

/* Digests of all that the published version of each view holds in a directory, checked against what was aggregated. */
void stage_contents(const struct stage *stage, const char *directory, struct ab_hash128 contents[FIXTURE_VIEWS]);

struct ab_json *stage_json_copy(const struct ab_json *json);

#endif
