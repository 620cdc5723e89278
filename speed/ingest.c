/* Where requests come in: on the network thread, so nothing here waits. */
#include "speed/engine_private.h"

static void refuse(struct ab_request *request, ab_err err, const char *text)
{
    ab_request_reply(request, err, text, ab_bytes_of(NULL, 0));
}

static void take_block(struct ab_engine *engine, struct ab_request *request)
{
    uint32_t partition = request->envelope.partition;
    if (partition >= engine->options.partitions_count) {
        refuse(request, AB_INVALID, "there is no such partition");
        return;
    }
    if (atomic_load_explicit(&engine->is_disk_full, memory_order_relaxed)) {
        refuse(
            request, AB_NO_SPACE, "the disk is fuller than disk_watermark_percent allows: the block was not appended");
        return;
    }
    if (ab_memory_is_over(&engine->partials)) {
        atomic_fetch_add_explicit(&engine->refused_full, 1, memory_order_relaxed);
        refuse(request, AB_FULL, "partials are above their memory budget and being stored");
        return;
    }
    struct ab_worker *worker = engine->workers[partition % engine->options.workers];
    ab_err err = ab_worker_put(worker, &(struct ab_work){.request = request});
    if (err != AB_OK) {
        atomic_fetch_add_explicit(&engine->refused_full, 1, memory_order_relaxed);
        refuse(request, err == AB_CLOSED ? AB_UNAVAILABLE : err,
            err == AB_CLOSED ? "the daemon is stopping" : "too many bytes wait for this partition's worker");
    }
}

static void take_replica_request(struct ab_engine *engine, struct ab_request *request)
{
    uint32_t partition = request->envelope.partition;
    if (!engine->is_replicated || partition >= engine->options.partitions_count) {
        refuse(request, AB_INVALID, "there is no such replica");
        return;
    }
    struct ab_worker *worker = engine->workers[partition % engine->options.workers];
    ab_err err = ab_worker_put(worker, &(struct ab_work){.request = request});
    if (err != AB_OK) {
        refuse(request, err == AB_CLOSED ? AB_UNAVAILABLE : err, NULL);
    }
}

static void take_question(struct ab_engine *engine, struct ab_request *request)
{
    ab_err err = ab_query_pool_put(engine->query_pool, request);
    if (err != AB_OK) {
        refuse(request, err == AB_CLOSED ? AB_UNAVAILABLE : err,
            err == AB_CLOSED ? "the daemon is stopping" : "too many questions wait");
    }
}

void ab_engine_on_request(struct ab_request *request, void *context)
{
    struct ab_engine *engine = context;
    if (atomic_load_explicit(&engine->is_stopping, memory_order_acquire)) {
        refuse(request, AB_UNAVAILABLE, "the daemon is stopping");
        return;
    }
    switch ((int)request->envelope.verb) {
    case AB_VERB_PING:
        refuse(request, AB_OK, NULL);
        return;
    case AB_VERB_PRODUCE:
        take_block(engine, request);
        return;
    case AB_VERB_REPLICATE:
        take_replica_request(engine, request);
        return;
    case AB_VERB_STATE_QUERY:
    case AB_VERB_DIGEST:
    case AB_VERB_DEAD_LETTERS:
    case AB_VERB_STATUS:
    case AB_VERB_LOG_STATE:
        take_question(engine, request);
        return;
    case AB_VERB_CUT:
    case AB_VERB_RETIRE:
    case AB_VERB_SOURCE_MARKS:
        ab_control_begin(engine, request);
        return;
    case AB_VERB_SHUTDOWN:
        ab_engine_ask_to_stop(engine);
        refuse(request, AB_OK, NULL);
        return;
    default:
        refuse(request, AB_UNSUPPORTED, "speed does not answer this verb");
        return;
    }
}
