/* engine: the speed layer of one node without its sockets' set-up: partitions, workers, flush and query threads, and
 * the function that takes requests.
 *
 * A request comes in on the network thread and goes to a bounded queue: blocks to the worker that owns the partition,
 * questions to the query threads, control verbs to all workers (control.h). A full queue is AB_FULL at once: that is
 * the credit of a producer.
 *
 * Memory: the budget is split: half for partials, a quarter for requests that wait, an eighth each for the block cache
 * and running queries. Above its part ingestion is refused with AB_FULL; partials are flushed from half of theirs on
 * (I8). Threads: on_request on any thread; the rest by the daemon's main thread.
 */
#ifndef ANABRANCH_SPEED_ENGINE_H
#define ANABRANCH_SPEED_ENGINE_H

#include "speed/partition.h"
#include "speed/plans.h"
#include "speed/replica_input.h"
#include "speed/replicator.h"
#include "common/wire/wire.h"

struct ab_engine;

/* What makes partitions replicas of several. */
struct ab_engine_replication {
    uint32_t node;
    struct ab_hash128 incarnation;
    struct ab_hash128 disk_id;
    bool was_here;                               /* the node has run on this disk before */
    int64_t lag_us_max;                          /* as in struct ab_replica_options */
    const struct ab_replicator_outlets *outlets; /* static */
    void *context;                               /* of the outlets */
};

struct ab_engine_options {
    const char *directory; /* the cluster's; copied */
    uint8_t cluster_id[16];
    uint32_t partitions_count;
    uint32_t workers;
    uint32_t query_threads;
    uint64_t memory_bytes;
    int64_t flush_interval_us;
    uint64_t segment_bytes;
    uint32_t disk_watermark_percent;                 /* ingestion stops above this use of the disk */
    uint64_t scrub_bytes_per_second;                 /* of closed log segments, verified in the background; 0 = none */
    struct ab_bytes catalog;                         /* encoded; for partitions that are new */
    const struct ab_engine_replication *replication; /* copied; NULL = this is the only replica of every partition */
};

/* Opens and recovers all partitions, of several replicas those that have a directory, and starts the threads. Errors of
 * ab_partition_open. */
AB_MUST_USE ab_err ab_engine_open(
    const struct ab_engine_options *options, struct ab_engine **engine, struct ab_error *error);

/* Refuses new work, finishes what is queued, flushes everything and ends the threads; requests are refused from then
 * on. */
void ab_engine_stop(struct ab_engine *engine);

/* Stops if that was not done, and closes; no request may come any more. NULL is legal. */
void ab_engine_close(struct ab_engine *engine);

/* Takes a request; fits ab_server_on_request_fn with the engine as context. Never blocks. */
void ab_engine_on_request(struct ab_request *request, void *engine);

/* Makes a catalog known that the coordination service holds: queries may name it before a cut brings it into force. */
AB_MUST_USE ab_err ab_engine_add_catalog(struct ab_engine *engine, struct ab_bytes encoded, struct ab_error *error);

/* Puts the numbers of partitions whose log lacks records that it once had, rising, into a list with room for all; how
 * many. Any thread, but not once it is stopped. */
uint32_t ab_engine_damaged(uint32_t *partitions, void *engine);

/* True while the partition is open here. Any thread, but not once it is stopped. */
bool ab_engine_holds(uint32_t partition, void *engine);

/* Takes what replicas hear, on any thread; false when their worker takes no more now. */
bool ab_engine_on_input(struct ab_replica_input *input, void *engine);

/* Asks for the end of the process, as AB_VERB_SHUTDOWN does. */
void ab_engine_ask_to_stop(void *engine);

/* Looks at the disk, verifies a little of the logs and removes what partitions left that were taken away; to be called
 * every few hundred milliseconds. Main thread. */
void ab_engine_tick(struct ab_engine *engine);

/* True once somebody sent AB_VERB_SHUTDOWN. */
bool ab_engine_wants_stop(const struct ab_engine *engine);

#endif
