/* execute: one query from SQL to columns: plan, gather states from both branches, merge, finish.
 *
 * The batch part comes from the pinned version's shards, the speed part from the leaders of the partitions that can
 * hold matching groups, for spans after the version's cut (gather.h); both are merged as states in one rollup and
 * finished once (I4, I5). If a node says that a span is gone, a newer version has been published: the query starts
 * again with it, at most a few times within its deadline.
 *
 * Threads: an executor belongs to one query thread. Memory: each query within `memory`; AB_FULL beyond.
 */
#ifndef ANABRANCH_SERVING_EXECUTE_H
#define ANABRANCH_SERVING_EXECUTE_H

#include "serving/snapshot.h"

struct ab_executor;

/* An executor with channels of its own to those who lead; everything is borrowed and must outlive it. */
struct ab_executor *ab_executor_create(
    struct ab_wire *wire, struct ab_snapshot_source *source, struct ab_memory *memory);
void ab_executor_destroy(struct ab_executor *executor);

/* Answers a query before the monotonic deadline_us, appending an encoded QueryReply to `reply`. Errors carry a text for
 * the person who asked: AB_SYNTAX, AB_NOT_FOUND, AB_TIMEOUT, AB_UNAVAILABLE (speed not reachable, view not whole yet,
 * partitions without a leader),
 * AB_FULL, AB_CORRUPT. */
AB_MUST_USE ab_err ab_executor_query(struct ab_executor *executor, const struct ab_wire_query *request,
    int64_t deadline_us, struct ab_buffer *reply, struct ab_error *error);

/* A round trip to this node's speed that does nothing there: the floor under every query's latency. AB_UNAVAILABLE,
 * AB_TIMEOUT. */
AB_MUST_USE ab_err ab_executor_ping(struct ab_executor *executor, int64_t deadline_us, struct ab_error *error);

#endif
