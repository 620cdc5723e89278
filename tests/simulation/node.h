/* node: a machine with a disk and perhaps a process on it: its session with the coordination service, its clock, and
 * a replica of each partition: the shell that does what a core asks for. */
#ifndef ANABRANCH_TESTS_SIMULATION_NODE_H
#define ANABRANCH_TESTS_SIMULATION_NODE_H

#include "tests/simulation/client.h"
#include "tests/simulation/coordination.h"

#include "speed/dedup.h"

#define SIM_PROPOSALS_MAX 32u

/* Somebody who waits until an offset is committed. */
struct sim_waiter {
    struct sim_request request;
    uint64_t offset;
};

struct sim_pending_proposal {
    bool is_open;
    struct ab_hash128 token;
    int64_t until_us; /* by the node's clock */
};

struct sim_replica {
    struct ab_replica *core; /* NULL while the process is not up */
    uint32_t node, partition;
    enum ab_replica_role role;
    struct sim_dedup dedup;  /* of everything in the log */
    struct ab_dedup *blocks; /* owned; the same, by the product's own table */
    uint64_t committed, applied, fold;
    struct sim_speed speed; /* at applied */
    struct sim_waiter waiters[SIM_WAITERS_MAX];
    size_t waiters_count;
    bool is_syncing;
    uint64_t sync_end;
    int64_t sync_began_us;
    uint64_t epoch_pending;              /* being persisted; 0 = none */
    bool is_read_wanted, is_read_synced; /* until an answer to what was asked since then */
    int64_t read_wanted_us;
    uint64_t read_epoch;
    int64_t read_until_us;
    struct sim_pending_proposal proposals[SIM_PROPOSALS_MAX];
    uint64_t last_epoch; /* highest seen by the core, for S5 */
    bool is_log_changed, is_copy_refused;
    bool is_packet_damaged;          /* the message being stepped is */
    uint32_t truncations;            /* since it began to truncate */
    struct ab_hash128 unknown_token; /* of the last proposal without an end */
    uint64_t installation;           /* which one; rises */
    uint32_t install_from;
    uint64_t install_offset;
    struct sim_state *incoming; /* owned; a state that is being copied; NULL */
    uint64_t installed_until;   /* the tables that come with it are of records below */
    uint64_t trim_allowed;      /* records below it are sealed and published, as this process was told */
};

/* What a controller tells every node after a publication. */
struct sim_retirement {
    uint64_t cut; /* spans up to it go */
    bool has_offsets;
    uint64_t offsets[SIM_PARTITIONS_MAX];                        /* and records below them */
    struct ab_version_number kept[SIM_VIEWS * SIM_VERSIONS_MAX]; /* versions that are needed; newer ones may be */
    uint32_t kept_count;
    uint64_t newest_cut;
};

enum sim_node_status { SIM_DOWN, SIM_ADMITTING, SIM_REGISTERING, SIM_UP, SIM_STRANGER };

struct sim_node {
    uint32_t node;
    struct sim_disk disk;
    struct sim_disk image; /* taken once, for an image that is put back */
    enum sim_node_status status;
    uint32_t process; /* rises */
    struct ab_hash128 incarnation;
    uint64_t session;
    enum ab_replica_session session_state;
    int64_t sign_us; /* when what was answered last was asked, by its clock */
    int64_t ask_again_us;
    int64_t paused_until_us, slow_until_us;
    bool has_sync_error;         /* the next sync fails */
    struct sim_serving *serving; /* owned; of the process that is up; NULL */
    struct sim_replica replicas[SIM_PARTITIONS_MAX];
};

void sim_nodes_create(struct sim_world *world);
void sim_nodes_destroy(struct sim_world *world);
void sim_node_on_event(struct sim_world *world, const struct sim_event *event);

/* True when the event is not for now: its process is gone (dropped), or stands still (put off). */
bool sim_node_defers(struct sim_world *world, struct sim_event *event);

/* The node's monotonic clock. */
int64_t sim_node_clock(const struct sim_world *world, uint32_t node);

/* The process dies; what was not synced is there in part, or not at all. Another one starts after that long; never when
 * negative. */
void sim_node_kill(struct sim_world *world, uint32_t node, bool is_tail_lost, int64_t start_after_us);
void sim_node_start(struct sim_world *world, uint32_t node, int64_t after_us);

/* True when the node holds a replica of the partition. */
bool sim_node_holds(const struct sim_world *world, uint32_t node, uint32_t partition);

/* True when it holds one, or is to. */
bool sim_node_is_listed(const struct sim_world *world, uint32_t node, uint32_t partition);

/* ---- replica.c ---- */

/* Opens what is on disk, and makes a core; frees it. */
void sim_replica_open(struct sim_world *world, struct sim_replica *replica);
void sim_replica_close(struct sim_replica *replica);

/* One event into the core, and everything that follows at once. */
void sim_replica_step(struct sim_world *world, struct sim_replica *replica, struct ab_replica_event *event);

void sim_replica_tick(struct sim_world *world, struct sim_replica *replica);
void sim_replica_on_message(struct sim_world *world, struct sim_replica *replica, const struct sim_event *event);
void sim_replica_on_synced(struct sim_world *world, struct sim_replica *replica, const struct sim_event *event);
void sim_replica_on_epoch_persisted(
    struct sim_world *world, struct sim_replica *replica, const struct sim_event *event);
void sim_replica_on_result(struct sim_world *world, struct sim_replica *replica, const struct sim_operation *operation);

/* Reads the state again, not synced. */
void sim_replica_read(struct sim_world *world, struct sim_replica *replica);

/* Begins to sync what was written, unless it is being done. */
void sim_replica_sync(struct sim_world *world, struct sim_replica *replica);

struct sim_disk_partition *sim_replica_disk(struct sim_world *world, const struct sim_replica *replica);

/* ---- upkeep.c ---- */

/* Flushes and trims, now and then. */
void sim_upkeep_tick(struct sim_world *world, struct sim_replica *replica);

/* Drops spans, and lets the log be trimmed. */
void sim_upkeep_retire(struct sim_world *world, struct sim_replica *replica, const struct sim_retirement *retirement);

/* The core asks for a state: begins to copy it; a step of that. */
void sim_install_begin(struct sim_world *world, struct sim_replica *replica, uint32_t from, uint64_t offset);
void sim_install_on_event(struct sim_world *world, struct sim_replica *replica, const struct sim_event *event);

/* ---- ingest.c: what clients ask of a replica ---- */

void sim_ingest_on_request(struct sim_world *world, struct sim_replica *replica, const struct sim_request *request);
/* Makes the table of repeated blocks anew from what the log begins with and holds; notes one more record. */
void sim_ingest_rebuild(struct sim_world *world, struct sim_replica *replica);
void sim_ingest_note(struct sim_replica *replica, const struct sim_record *record);
/* Records up to `committed` are: who waited for them is told. */
void sim_ingest_on_commit(struct sim_world *world, struct sim_replica *replica);
/* The office is lost: who waits is told that the end is unknown. */
void sim_ingest_on_role(struct sim_world *world, struct sim_replica *replica);

#endif
