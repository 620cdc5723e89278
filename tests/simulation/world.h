/* world: one simulated cluster: virtual time, a queue of events, nodes, network, coordination service, clients, and the
 * checks. Everything follows from one seed. See README.md for the files and what each does. */
#ifndef ANABRANCH_TESTS_SIMULATION_WORLD_H
#define ANABRANCH_TESTS_SIMULATION_WORLD_H

#include "tests/simulation/log_model.h"
#include "tests/simulation/marks.h"

#include "speed/replication_mutants.h"

#include "common/base/random.h"

#define SIM_NODES_MAX 5u
#define SIM_CLIENTS_MAX SIM_PRODUCERS_MAX
#define SIM_WINDOW_MAX 3u
#define SIM_WAITERS_MAX 32u
#define SIM_FAULTS_MAX 160u
#define SIM_VIOLATION_BYTES 400u

/* ---- what a seed draws: the swarm ---- */

struct sim_config {
    uint64_t seed;
    uint32_t nodes, partitions, replicas, min_isr, clients, window;
    int64_t link_us, client_us, sync_us, coordination_us, watch_us, think_us, session_us, lag_us, patience_us,
        replay_us;
    int64_t hold_us;      /* an operation that lost its connection may land that much later; 0 = it is lost */
    int64_t safety_us;    /* how long faults happen */
    int64_t watch_us_max; /* a connected session hears of a change by then */
    double loss, replay, damage, client_loss, coordination_loss, stale_reads, crash_in_step, trim;
    double crash_in_install, short_reads;
    bool has_batch;    /* cuts are published as versions, and logs are trimmed behind them */
    uint32_t retained; /* versions of a view that are kept */
    int64_t ship_us;   /* how long a version takes to a node */
    bool is_trim_far;  /* trims what an installation can bring, not only behind what all have */
    bool is_lying;     /* disks lose what they called synced: losses are not checked */
    bool has_skew;
    double moves;                    /* of leaders, a round of the controller */
    double rates[SIM_NODES_MAX + 1]; /* of the nodes' clocks */
};

/* Draws it. */
void sim_config_draw(struct sim_config *config, uint64_t seed);
void sim_config_print(const struct sim_config *config);

/* ---- faults ---- */

#define SIM_FAULT_KINDS(X)                                                                                             \
    X(CRASH, "a process dies")                                                                                         \
    X(CRASH_ALL, "all processes die at once")                                                                          \
    X(PAUSE, "a process stands still")                                                                                 \
    X(FSYNC_ERROR, "a sync fails")                                                                                     \
    X(SLOW_DISK, "a disk is slow")                                                                                     \
    X(REPLACE_DISK, "a disk is replaced")                                                                              \
    X(OLD_IMAGE, "an older image of a disk is put back")                                                               \
    X(ROT, "a synced record is lost")                                                                                  \
    X(ISOLATE, "a node hears no other, is heard by none")                                                              \
    X(ONE_WAY, "a link is cut in one direction")                                                                       \
    X(SPLIT, "the nodes fall into two halves")                                                                         \
    X(BRIDGE, "only one node reaches all others")                                                                      \
    X(CLOG, "a link holds its messages back")                                                                          \
    X(SWIZZLE, "links stall one by one and are freed in another order")                                                \
    X(COORDINATION_CUT, "a node is cut from the coordination service")                                                 \
    X(EXPIRE, "a session ends at the service")                                                                         \
    X(HOLD, "proposals reach the service late")                                                                        \
    X(CONTROLLER, "another controller takes over")                                                                     \
    X(CONTROLLER_STALLS, "what the controllers write arrives late")                                                    \
    X(REASSIGN, "a partition is wanted at other nodes")                                                                \
    X(KILL_JOBS, "the ranks of batch jobs die")                                                                        \
    X(ROLLBACK, "a view goes back to the version before")                                                              \
    X(REGRESS, "the service loses what it had acknowledged")

enum sim_fault_kind {
#define SIM_FAULT_ENUM(name, text) SIM_FAULT_##name,
    SIM_FAULT_KINDS(SIM_FAULT_ENUM)
#undef SIM_FAULT_ENUM
        SIM_FAULT_KINDS_COUNT,
};

struct sim_fault {
    enum sim_fault_kind kind;
    int64_t at_us, lasts_us;
    uint32_t node, other;
    uint64_t number;
    bool is_off; /* left out while a failing seed is shrunk */
};

const char *sim_fault_name(enum sim_fault_kind kind);

/* ---- mutants of the shell; those of the core are in speed/replication_mutants.h ---- */

#define SIM_SHELL_MUTANTS(X)                                                                                           \
    X(CUT_UNCOMMITTED, "a cut's offset is told before it is committed (H35)")                                          \
    X(DEDUP_NOT_ROLLED_BACK, "truncation leaves the table of repeated blocks as it was (H24)")                         \
    X(DEDUP_FORGOTTEN, "the table of repeated blocks is empty after a restart (H24)")                                  \
    X(CUT_TWICE, "a cut that is asked for again is appended again (H34)")                                              \
    X(UNKNOWN_IS_REFUSED, "a leader that loses its office says that what it appended was refused (H30)")               \
    X(EMPTIED_DISK_KEEPS_ID, "a disk that lost everything keeps its id (R10, F17)")                                    \
    X(OLD_IMAGE_ADMITTED, "an older image of a disk joins as if nothing had happened (F16)")                           \
    X(DAMAGE_HIDDEN, "a log that lost a synced record says nothing (H9)")                                              \
    X(EARLY_TRIM, "the log goes before its state is flushed (S12)")                                                    \
    X(REFUSED_START_COUNTS, "a start that is refused counts on the disk: an old image catches up (F16)")               \
    X(SYNC_ERROR_IGNORED, "a failed sync counts as done (H8)")                                                         \
    X(PROMOTED_COUNTS, "a learner is in the in-sync set as soon as it is a replica (R5)")                              \
    X(REMOVED_BELOW_MINIMUM, "a replica goes although too few would remain (H16)")                                     \
    X(TRIM_UNPUBLISHED, "the log goes where no published version holds it (H44)")                                      \
    X(RETIRE_UNPUBLISHED, "spans go before the version is published (H47)")                                            \
    X(PUBLISH_HELD_BY_ONE, "a version is published that one node has (H44)")                                           \
    X(PUBLISH_UNFENCED, "a publication lands, whatever is in force and whoever acts (H42)")                            \
    X(OVERTAKEN_PUBLISHES, "an attempt publishes although another one was begun since (H42)")                          \
    X(ROLLBACK_UNFENCED, "a view goes back to a version that is not kept any more (H47)")                              \
    X(COUNTS_UNCHECKED, "a job does not hold what it read against the counts of the cut (H43)")                        \
    X(UNIT_OF_OTHER_CUT, "a job takes a finished unit of another cut for its own (H49)")                               \
    X(POINTER_READ_AGAIN, "an answer is merged with the version in force after the speed states were read (H46)")      \
    X(TOKEN_IGNORED, "a leader answers with less than the token names (H19)")                                          \
    X(GONE_SPANS_ANSWERED, "a leader answers over a version whose next spans it has dropped (H47)")                    \
    X(MERGED_TWICE, "an answer that comes twice is merged twice (H13)")                                                \
    X(LATE_ANSWER_MERGED, "an answer to a question over the version before is merged (H14)")                           \
    X(INSTALL_AT_APPLIED, "a log begins anew at the leader's state, without the records that are not sealed (H44)")    \
    X(INSTALL_KEEPS_SPANS, "an installed state keeps the spans of the one before (F39)")                               \
    X(INSTALL_HALF, "a crash leaves a log that begins anew beside the state from before (F39)")

enum sim_shell_mutant {
    SIM_MUTANT_NONE,
#define SIM_MUTANT_ENUM(name, text) SIM_MUTANT_##name,
    SIM_SHELL_MUTANTS(SIM_MUTANT_ENUM)
#undef SIM_MUTANT_ENUM
        SIM_SHELL_MUTANTS_COUNT,
};
extern enum sim_shell_mutant sim_shell_mutant;

/* ---- events ---- */

enum sim_event_kind {
    SIM_EVENT_TICK = 1, /* of a node */
    SIM_EVENT_START,    /* a process starts */
    SIM_EVENT_MESSAGE,  /* between replicas */
    SIM_EVENT_SYNCED,
    SIM_EVENT_EPOCH_PERSISTED,
    SIM_EVENT_INSTALL,
    SIM_EVENT_OPERATION, /* reaches the coordination service */
    SIM_EVENT_RESULT,    /* reaches who asked it */
    SIM_EVENT_WATCH,     /* a state changed, says the service */
    SIM_EVENT_GONE,      /* an incarnation is gone, says the service */
    SIM_EVENT_EXPIRY,    /* of a session, perhaps */
    SIM_EVENT_CONTROLLER,
    SIM_EVENT_CLIENT,       /* a client thinks */
    SIM_EVENT_REQUEST,      /* of a client, reaches a node */
    SIM_EVENT_REPLY,        /* to a client */
    SIM_EVENT_QUESTION,     /* of a client, for a merged answer */
    SIM_EVENT_ANSWER,       /* to a client */
    SIM_EVENT_STATE_QUERY,  /* of a serving node, reaches a leader */
    SIM_EVENT_STATE_ANSWER, /* of a leader */
    SIM_EVENT_SHIP,         /* a version reaches a node */
    SIM_EVENT_HELD,         /* a controller hears that it has */
    SIM_EVENT_RETIRE,       /* a node hears what is not needed any more */
    SIM_EVENT_FAULT,        /* begins */
    SIM_EVENT_FAULT_END,
};

struct sim_event {
    int64_t at_us;
    uint64_t order;
    enum sim_event_kind kind;
    uint32_t node;    /* 0 = of no node */
    uint32_t process; /* which process of the node it is for; 0 = any */
    uint32_t partition;
    uint64_t number;
    void *payload; /* owned, or NULL */
};

struct sim_world;

/* ---- the world ---- */

struct sim_node;
struct sim_network;
struct sim_coordination;
struct sim_client;
struct sim_checker;
struct sim_batch;
struct sim_serving;

struct sim_world {
    struct sim_config config;
    int64_t now_us;
    uint64_t order;
    uint64_t hash; /* of everything that happened */
    uint64_t steps;
    bool is_verbose;
    bool is_healing;           /* no faults any more */
    bool is_regressed;         /* the coordination service went back on purpose */
    int64_t no_lease_until_us; /* a session was ended before its time: nothing is promised of reads */
    struct sim_event *heap;
    size_t heap_count, heap_capacity;
    struct ab_random network_random, node_random, coordination_random, client_random, id_random, batch_random;
    struct sim_node *nodes; /* nodes[1..] */
    struct sim_network *network;
    struct sim_coordination *coordination;
    struct sim_client *clients;
    struct sim_checker *checker;
    struct sim_batch *batch;
    struct sim_fault faults[SIM_FAULTS_MAX];
    size_t faults_count;
    char violation[SIM_VIOLATION_BYTES]; /* "" = none */
    uint64_t marks[SIM_MARKS_COUNT];
    int64_t recovered_us; /* how long after the last fault everything had converged */
    uint64_t acknowledged, refused, reads, elections, answers, versions;
    uint64_t checker_attempts;         /* of clients, ever */
    struct ab_replica_actions actions; /* of the step being done */
};

/* A world of a seed, with its faults drawn. */
struct sim_world *sim_world_create(const struct sim_config *config, bool is_verbose);
void sim_world_destroy(struct sim_world *world);

/* Runs it to its end or to the first violation. */
void sim_world_run(struct sim_world *world);

/* Puts an event into the queue, `after_us` from now; gives it to be filled further. */
void sim_world_post(struct sim_world *world, int64_t after_us, const struct sim_event *event);

/* The first violation ends the run. */
void sim_violate(struct sim_world *world, const char *format, ...) AB_PRINTF(2, 3);
static inline bool sim_is_violated(const struct sim_world *world)
{
    return world->violation[0] != '\0';
}

/* A line of the trace, and its place in the hash. */
void sim_trace(struct sim_world *world, const char *format, ...) AB_PRINTF(2, 3);

static inline void sim_mark(struct sim_world *world, enum sim_mark mark)
{
    world->marks[mark]++;
}

/* Chance, an exponential delay (at least 1 us), and a 128-bit id. */
bool sim_chance(struct ab_random *random, double probability);
int64_t sim_delay(struct ab_random *random, int64_t mean_us);
struct ab_hash128 sim_id(struct sim_world *world);

#endif
