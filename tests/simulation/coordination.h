/* coordination: the service as nodes and controllers see it: states that change by compare-and-set, sessions that end
 * unheard, live registrations, watches that fire once and late, answers that never come. */
#ifndef ANABRANCH_TESTS_SIMULATION_COORDINATION_H
#define ANABRANCH_TESTS_SIMULATION_COORDINATION_H

#include "tests/simulation/world.h"

#include "cluster/reassign.h"
#include "common/coordination/registration.h"

#define SIM_SESSIONS_MAX 64u
#define SIM_PAST_MAX 16u
#define SIM_CONTROLLERS 2u
#define SIM_REPORTS_MAX 16u

enum sim_operation_kind {
    SIM_ADMIT,      /* may this disk be this node? */
    SIM_REGISTER,   /* a session begins, the process is live */
    SIM_PING,       /* the session lives; and which partitions are damaged (still) */
    SIM_READ,       /* a partition's state; sets a watch */
    SIM_PROPOSE,    /* of a leader */
    SIM_ELECT,      /* of a controller */
    SIM_PUBLISH,    /* of a controller: pointers of views move to a version */
    SIM_ROLLBACK,   /* of a person: one moves back */
    SIM_READ_VIEWS, /* which versions are in force, and who leads */
};

struct sim_operation {
    enum sim_operation_kind kind;
    uint32_t node, process, partition; /* node 0: process is the controller's index */
    uint64_t session;
    int64_t asked_us; /* by the asker's clock */
    struct ab_hash128 incarnation, disk_id;
    uint64_t starts;
    uint32_t damaged; /* bits of partitions */
    struct ab_replica_set set;
    uint64_t version;
    uint64_t epoch;
    bool is_synced;
    uint32_t joining;
    uint64_t controller_epoch;
    struct ab_replica_members relied;
    struct ab_version_number number;   /* PUBLISH, ROLLBACK */
    uint32_t views;                    /* bits of those that it moves */
    uint64_t view_versions[SIM_VIEWS]; /* expected; READ_VIEWS: the answer */
    /* the answer */
    struct ab_version_number pointers[SIM_VIEWS];
    uint32_t leaders[SIM_PARTITIONS_MAX];
    bool is_expired, is_refused;
    enum ab_replica_outcome outcome;
    struct ab_replica_members gone;
};

struct sim_session {
    uint64_t id;
    uint32_t node, process;
    struct ab_hash128 incarnation, disk_id;
    uint64_t starts;
    uint32_t damaged, watches;
    int64_t heard_us;
};

struct sim_past {
    struct ab_replica_set set;
    uint64_t version;
    int64_t until_us;
};

struct sim_partition_state {
    struct ab_replica_set set;
    uint64_t version;
    struct sim_past past[SIM_PAST_MAX]; /* a ring */
    uint64_t past_count;
};

/* A view: which version is in force, and which are kept. */
struct sim_view_state {
    struct ab_version_number pointer; /* cut 0 = none yet */
    uint64_t version;
    struct ab_version_number published[SIM_VERSIONS_MAX]; /* retained */
    uint32_t published_count;
};

struct sim_controller {
    bool is_active;
    uint64_t epoch; /* as which it writes */
    uint64_t rounds;
};

struct sim_coordination {
    struct sim_partition_state states[SIM_PARTITIONS_MAX];
    struct sim_view_state views[SIM_VIEWS];
    struct sim_view_state views_before[SIM_VIEWS]; /* as they were before the last change */
    int64_t views_changed_us;
    uint32_t attempt; /* of a job, the last one that was begun: only that one may publish */
    struct ab_node_registration registered[SIM_NODES_MAX + 1];
    struct sim_session sessions[SIM_SESSIONS_MAX];
    size_t sessions_count;
    uint64_t sessions_made;
    uint64_t controller_epoch;
    struct sim_controller controllers[SIM_CONTROLLERS];
    int cuts[SIM_NODES_MAX + 1];
    struct ab_replica_target targets[SIM_PARTITIONS_MAX]; /* no replicas = none */
    struct ab_replica_nodes former[SIM_PARTITIONS_MAX];   /* what a target began with */
    struct ab_caught_up caught_up[SIM_REPORTS_MAX];       /* leaders' reports, a ring; some are old */
    uint64_t caught_up_count;
    int64_t held_until_us;    /* proposals are late */
    int64_t stalled_until_us; /* what controllers write is late */
};

void sim_coordination_create(struct sim_world *world);
void sim_coordination_destroy(struct sim_world *world);
void sim_coordination_on_event(struct sim_world *world, const struct sim_event *event);

/* Sends an operation; its result comes as an event, or never. */
void sim_coordination_submit(struct sim_world *world, const struct sim_operation *operation);

/* The live session of an incarnation; NULL. */
struct sim_session *sim_coordination_live(
    struct sim_coordination *coordination, uint32_t node, struct ab_hash128 incarnation);

/* Ends a session at the service. */
void sim_coordination_expire(struct sim_world *world, uint64_t session);

/* A person brings a node back with the disk that it has now (R10). */
void sim_coordination_readmit(struct sim_world *world, uint32_t node);

/* Goes back to a state of an earlier leader epoch; false when it remembers none. */
bool sim_coordination_regress(struct sim_world *world, uint32_t partition);

/* ---- controller.c ---- */

void sim_controller_on_event(struct sim_world *world, const struct sim_event *event);
void sim_controller_on_result(struct sim_world *world, const struct sim_event *event);
void sim_controller_take_over(struct sim_world *world);

/* A person wants other replicas of a partition, or changes his mind. */
void sim_controller_reassign(struct sim_world *world, uint64_t number);

#endif
