/* engine_private: what the files of the engine share: engine.c, ingest.c, worker.c, control.c, query.c, reports.c,
 * dead_letters.c. */
#ifndef ANABRANCH_SPEED_ENGINE_PRIVATE_H
#define ANABRANCH_SPEED_ENGINE_PRIVATE_H

#include "speed/engine.h"
#include "speed/flusher.h"
#include "speed/limits.h"
#include "speed/scrubber.h"
#include "speed/slots.h"
#include "common/base/queue.h"
#include "common/base/thread.h"

#include <stdatomic.h>

struct ab_worker;
struct ab_query_pool;
struct ab_control;

struct ab_engine {
    struct ab_engine_options options;         /* constant; directory owned */
    struct ab_engine_replication replication; /* constant; when options.replication is set */
    struct ab_memory memory;                  /* the whole budget */
    struct ab_memory partials;                /* within it */
    struct ab_memory queries;
    struct ab_store_cache *cache;
    struct ab_catalogs *catalogs;
    struct ab_plans *plans;
    struct ab_flusher *flusher;
    struct ab_slots *slots;                  /* owned; the partitions that are held here */
    bool is_replicated;                      /* constant: they are replicas of several */
    const struct ab_served_catalog *initial; /* constant; borrowed from catalogs: of new partitions; NULL = none */
    struct ab_worker **workers;              /* owned; constant after opening */
    struct ab_query_pool *query_pool;
    struct ab_scrubber *scrubber;     /* main thread; counters by any */
    atomic_int_fast64_t *progress_us; /* owned; per worker: when it last went round, monotonic */
    int64_t started_us;
    bool is_stopped;         /* main thread */
    atomic_bool is_stopping; /* no new work */
    atomic_bool is_disk_full;
    atomic_bool is_stop_wanted;
    atomic_bool has_leftovers; /* directories of partitions that were taken away are to be removed */
    atomic_uint_fast64_t blocks, rows_accepted, rows_rejected, rows_duplicate, refused_full, refused_invalid,
        queries_count;
};

/* Opens a partition, new or as its directory has it, and puts it in its slot; `was_here` as in struct
 * ab_partition_options. Its worker, or before workers run. Errors of ab_partition_open and ab_replicator_create. */
AB_MUST_USE ab_err ab_engine_slot_open(
    struct ab_engine *engine, uint32_t partition, bool was_here, struct ab_error *error);

/* ---- workers (worker.c) ---- */

/* One thing for a worker: a block or a replica's request, its part of a control request, or what a replica hears. */
struct ab_work {
    struct ab_request *request;     /* owned, or NULL */
    struct ab_control *control;     /* counted by its parts, or NULL */
    struct ab_replica_input *input; /* owned, or NULL */
};

/* Starts the index-th worker; it owns the partitions whose number is index modulo the number of workers. */
struct ab_worker *ab_worker_start(struct ab_engine *engine, uint32_t index, size_t queue_bytes_max);

/* Finishes what is queued and ends the thread, then freezes its partitions for a last flush. */
void ab_worker_stop(struct ab_worker *worker);
void ab_worker_destroy(struct ab_worker *worker);

/* Queues one thing (what it points to is taken on AB_OK); AB_FULL, AB_CLOSED. */
AB_MUST_USE ab_err ab_worker_put(struct ab_worker *worker, const struct ab_work *work);

/* Bytes that wait. */
size_t ab_worker_queued_bytes(struct ab_worker *worker);

/* ---- control verbs (control.c) ---- */

/* Takes a cut, retire or source-marks request and hands it to all workers. */
void ab_control_begin(struct ab_engine *engine, struct ab_request *request);

/* Does one partition's part, on its worker, with nothing staged; the replicator is NULL for an only replica. */
void ab_control_run(struct ab_control *control, struct ab_partition *partition, struct ab_replicator *replicator);

/* The same for a partition that is not held here: another node has to be asked. */
void ab_control_run_elsewhere(struct ab_control *control, uint32_t partition);

/* ---- query threads (query.c) ---- */

/* Starts them. */
struct ab_query_pool *ab_query_pool_start(struct ab_engine *engine, uint32_t threads_count);

/* Answers what is queued and ends the threads. */
void ab_query_pool_stop(struct ab_query_pool *pool);
void ab_query_pool_destroy(struct ab_query_pool *pool);

/* Queues a question; taken on AB_OK; AB_FULL, AB_CLOSED. */
AB_MUST_USE ab_err ab_query_pool_put(struct ab_query_pool *pool, struct ab_request *request);

/* Appends the JSON answer of a report verb, on a query thread. */
AB_MUST_USE ab_err ab_report_status(struct ab_engine *engine, struct ab_buffer *out, struct ab_error *error);
AB_MUST_USE ab_err ab_report_log_state(struct ab_engine *engine, struct ab_buffer *out, struct ab_error *error);
AB_MUST_USE ab_err ab_report_digest(
    struct ab_engine *engine, struct ab_bytes payload, struct ab_buffer *out, struct ab_error *error);
AB_MUST_USE ab_err ab_report_dead_letters(
    struct ab_engine *engine, struct ab_bytes payload, struct ab_buffer *out, struct ab_error *error);

#endif
