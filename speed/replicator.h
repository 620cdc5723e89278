/* replicator: the shell around one replica's decisions (replication.h): it appends, syncs, truncates, reads, answers
 * and applies as they say, on the worker that owns the partition.
 *
 * What the leader appended itself waits in memory until it is committed and is applied from there; everything else is
 * applied from the log. When the leadership ends, or too few replicas are in sync, what waits has an unknown outcome:
 * the record may yet be committed, and its producer asks again with the same sequence.
 *
 * A fetch is a request that is answered when there is something to bring; the last one of each follower is held. The
 * outlets are called on the worker and must not block: links to other nodes, and the thread that speaks to the
 * coordination service.
 *
 * Files: `epoch` in the partition's directory: "ABE1", leader epoch u64, XXH3-64 of the 12 bytes before; little-endian.
 *
 * Invariants: I1 (an answer leaves after the commit), I3. Threads: the partition's worker. Memory: a reader a follower.
 */
#ifndef ANABRANCH_SPEED_REPLICATOR_H
#define ANABRANCH_SPEED_REPLICATOR_H

#include "speed/partition.h"
#include "speed/replication.h"
#include "common/wire/wire.h"

#include <stdatomic.h>

struct ab_replicator;

/* Something appended that waits for its commit; embedded by whoever waits. */
struct ab_waiting;
/* Called once: AB_OK, committed and the records before it are applied; else its outcome is unknown. */
typedef void (*ab_waiting_fn)(struct ab_waiting *waiting, ab_err err);
struct ab_waiting {
    struct ab_waiting *next;
    uint64_t end_offset; /* after its record */
    ab_waiting_fn on_end;
};

/* What a replica asks of the rest of its node. None may block or call back. */
struct ab_replicator_outlets {
    /* Sends a request to node message->to; it may be lost. The message is borrowed. */
    void (*send)(void *context, const struct ab_replica_message *message);
    /* Compare-and-set of the partition's state, checking that its member `joining` lives (AB_NODE_NONE: none); the end
     * comes as ab_replicator_on_proposal_ended. */
    void (*propose)(void *context, const struct ab_replica_set *state, uint64_t version, uint32_t joining);
    /* Reads the partition's state, synced; it comes as ab_replicator_on_state with this epoch. */
    void (*read_state)(void *context, uint32_t partition, uint64_t epoch);
    /* This incarnation of the node is over: the replica's lease has run out. Called once or more. */
    void (*over)(void *context);
};

struct ab_replicator_options {
    struct ab_partition *partition; /* borrowed; opened as replicated */
    const char *directory;          /* the partition's; copied */
    uint32_t node;
    struct ab_hash128 incarnation;
    struct ab_hash128 disk_id;
    uint64_t damaged_until;           /* as in struct ab_replica_options */
    int64_t lag_us_max;               /* the same */
    struct ab_memory *memory;         /* borrowed: a state on its way to or from another replica; may be NULL */
    atomic_int_fast64_t *progress_us; /* borrowed; set to the monotonic time while it works on something long */
    const struct ab_replicator_outlets *outlets; /* static */
    void *context;
};

/* Reads the persisted epoch. AB_CORRUPT, AB_IO. */
AB_MUST_USE ab_err ab_replicator_create(
    const struct ab_replicator_options *options, struct ab_replicator **replicator, struct ab_error *error);

/* Ends what waits as unknown and drops held requests; NULL is legal. */
void ab_replicator_destroy(struct ab_replicator *replicator);

/* May a block or a cut be appended now? AB_UNAVAILABLE with a text that says why not, and who leads. */
AB_MUST_USE ab_err ab_replicator_may_append(const struct ab_replicator *replicator, struct ab_error *error);

/* True while the newest state may be read here. Any thread. */
bool ab_replicator_may_serve(const struct ab_replicator *replicator);

/* True while the log lacks what it once held. Any thread. */
bool ab_replicator_is_damaged(const struct ab_replicator *replicator);

/* Waits for the commit of a record that was staged; in the order of staging. */
void ab_replicator_wait(struct ab_replicator *replicator, struct ab_waiting *waiting);

/* No block is staged from here on until the cut whose record ends at `end_offset` is applied: blocks behind it are
 * judged by the catalog that it brings. */
void ab_replicator_hold_for_cut(struct ab_replicator *replicator, uint64_t end_offset);

/* Records were written here. */
void ab_replicator_written(struct ab_replicator *replicator);

/* Syncs what is written, and goes on with what is left to apply: at the end of each round of the worker; at most 100 ms
 * apart. */
void ab_replicator_settle(struct ab_replicator *replicator);

/* A request of the verb REPLICATE; taken. */
void ab_replicator_on_request(struct ab_replicator *replicator, struct ab_request *request);

/* The answer to one that was sent. */
void ab_replicator_on_answer(struct ab_replicator *replicator, const struct ab_replica_message *message);

/* From the thread that speaks to the coordination service, by way of the worker's queue. */
void ab_replicator_on_state(struct ab_replicator *replicator, const struct ab_replica_set *state, uint64_t version,
    bool is_synced, uint64_t epoch);
void ab_replicator_on_session(
    struct ab_replicator *replicator, enum ab_replica_session session, int64_t since_us, int64_t timeout_us);
void ab_replicator_on_node_gone(struct ab_replicator *replicator, uint32_t node, struct ab_hash128 incarnation);
void ab_replicator_on_proposal_ended(
    struct ab_replicator *replicator, struct ab_hash128 token, enum ab_replica_outcome outcome, uint64_t version);

/* What it says of itself; the state is borrowed until the next event. Worker. */
void ab_replicator_look(const struct ab_replicator *replicator, struct ab_replica_view *view);

#endif
