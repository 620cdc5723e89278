/* acting_loop: what a controller does for all nodes of a cluster without being asked: it stands for the acting one, and
 * while it acts, makes the first states of partitions, gives those a leader whose leader is gone, and takes the steps
 * of a reassignment (reassigning.h).
 *
 * Level triggered: a step reads all facts anew and does what they ask for; nothing is remembered that a crash would
 * lose. A step never waits for anybody but the coordination service, so cuts and jobs cannot hold up an election.
 *
 * The loop has a session of its own. When that is lost the controller stops acting at once, by its own clock, before
 * anybody else can begin; the process and the daemons that it supervises stay, and a new session is opened.
 *
 * Threads: step on one thread (start runs one that does nothing else); the readers from any thread.
 * Memory: the facts of one look, a copy of the live nodes.
 */
#ifndef ANABRANCH_CLUSTER_CONTROLLER_ACTING_LOOP_H
#define ANABRANCH_CLUSTER_CONTROLLER_ACTING_LOOP_H

#include "cluster/controller/acting.h"
#include "cluster/controller/reassigning.h"
#include "common/config/config.h"
#include "common/wire/node.h"

struct ab_acting_loop;

/* Told on the loop's thread, without locks, whenever who acts may have changed. Must not block. */
typedef void (*ab_acting_loop_change_fn)(void *context);

struct ab_acting_loop_options {
    struct ab_acting_controller own; /* its incarnation is not zero */
    struct ab_cluster_identity identity;
    const struct ab_config *config;     /* borrowed: sessions are opened by it; NULL = only step is used */
    const char *directory;              /* borrowed, as above */
    ab_acting_loop_change_fn on_change; /* may be NULL */
    void *context;
};

struct ab_acting_loop *ab_acting_loop_create(const struct ab_acting_loop_options *options);
/* Stops; NULL is legal. */
void ab_acting_loop_destroy(struct ab_acting_loop *loop);

/* One look at everything with this session, and what follows from it. *is_done: nothing is left that another look at
 * once would do. Errors are of the coordination service, or AB_STALE when another controller acts by now; the next step
 * goes on in any case. */
AB_MUST_USE ab_err ab_acting_loop_step(
    struct ab_acting_loop *loop, struct ab_coordination *coordination, bool *is_done, struct ab_error *error);

/* Runs steps on a thread, opening sessions by the configuration; `address` is where this controller answers. Stop ends
 * it and gives /controller up. */
void ab_acting_loop_start(struct ab_acting_loop *loop, const char *address);
void ab_acting_loop_stop(struct ab_acting_loop *loop);

/* ---- any thread ---- */

/* A process of this node, registered as live under this incarnation, is known to be dead: its registration is removed,
 * so that its partitions get other leaders now. As soon as the service can be asked; the process must have been reaped,
 * for a living one would lose what it leads. Of several that come at once the last one is removed by us. */
void ab_acting_loop_release(struct ab_acting_loop *loop, struct ab_hash128 incarnation);

/* True while this controller acts. *epoch_version (may be NULL) is then what its changes check. */
bool ab_acting_loop_is_acting(struct ab_acting_loop *loop, uint64_t *epoch_version);

/* Who acts as far as is known; false = nobody. */
bool ab_acting_loop_current(struct ab_acting_loop *loop, struct ab_acting_controller *current);

/* Where speed of a node answers. */
struct ab_speed_target {
    uint32_t node;                 /* 0 = the only one */
    struct ab_hash128 incarnation; /* of the process; zero for the only node */
    struct ab_node_endpoint endpoint;
};

/* The live nodes' speed, by rising node, when this controller acts; *targets is the caller's (ab_delete). */
void ab_acting_loop_targets(struct ab_acting_loop *loop, struct ab_speed_target **targets, uint32_t *count);

/* Learners that are to catch up, when this controller acts; *learners is the caller's (ab_delete). */
void ab_acting_loop_learners(struct ab_acting_loop *loop, struct ab_learner **learners, uint32_t *count);

/* Those of them that have, in place of what was told before; the next step counts on it. Copied. */
void ab_acting_loop_tell_caught_up(struct ab_acting_loop *loop, const struct ab_caught_up *caught_up, uint32_t count);

/* True while this process of a node is registered as live. */
bool ab_acting_loop_target_lives(struct ab_acting_loop *loop, const struct ab_speed_target *target);

#endif
