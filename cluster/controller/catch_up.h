/* catch_up: asks speed how far learners have come, for the acting loop, which waits for nobody but the coordination
 * service. A thread of its own: it asks only while this controller acts and there are learners.
 *
 * A learner has caught up when its synced log holds what its leader had committed when that was asked the time before,
 * in the same epoch: producers go on meanwhile, so it may never hold all that is committed now. It is a hint: a learner
 * that is promoted too early is a replica that lags, and is not counted before its leader takes it into the in-sync
 * set.
 *
 * Threads: its own; judging is pure. Memory: one number a partition.
 */
#ifndef ANABRANCH_CLUSTER_CONTROLLER_CATCH_UP_H
#define ANABRANCH_CLUSTER_CONTROLLER_CATCH_UP_H

#include "cluster/controller/reassigning.h"
#include "common/base/json.h"

struct ab_controller;

/* What was committed when a leader was asked last. */
struct ab_catch_up_mark {
    uint64_t leader_epoch;
    uint64_t committed; /* 0 = not known */
};

/* An answer of speed to AB_VERB_LOG_STATE. */
struct ab_catch_up_answer {
    uint32_t node;
    const struct ab_json *log_state; /* borrowed; NULL = it did not answer */
};

/* Fills `caught_up`, which has room for all learners, with those that have; how many. `marks`, one a partition, are
 * those of the time before, and are replaced by those of now. What answers lack is not known. Pure. */
uint32_t ab_catch_up_judge(const struct ab_learner *learners, uint32_t learners_count,
    const struct ab_catch_up_answer *answers, uint32_t answers_count, struct ab_catch_up_mark *marks,
    uint32_t partitions_count, struct ab_caught_up *caught_up);

/* The thread's function: asks until the controller stops. */
void ab_catch_up_run(void *controller);

#endif
