#include "serving/service.h"

#include "serving/elsewhere.h"
#include "serving/execute.h"

#include "common/base/histogram.h"
#include "common/base/queue.h"
#include "common/base/thread.h"
#include "common/coordination/operations.h"
#include "common/crypto/crypto.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#define QUEUE_REQUESTS 1024u
#define QUEUE_BYTES (16u << 20)
#define QUERY_MS_DEFAULT 30000
#define CACHE_SHARE 2 /* half of the memory budget goes to the block cache */
#define BACKGROUND_THREADS 2

struct ab_service {
    const struct ab_node *node;        /* borrowed */
    struct ab_memory memory;           /* of queries */
    struct ab_store_cache *cache;      /* owned */
    struct ab_versions *versions;      /* owned */
    struct ab_snapshot_source *source; /* owned */
    struct ab_server *server;          /* owned */
    struct ab_queue *queue;            /* owned; of struct ab_request */
    struct ab_thread *threads;         /* owned */
    uint32_t threads_count;
    struct ab_lock statistics_lock; /* a histogram written by query threads and read by status */
    struct ab_histogram latency_us; /* guarded by statistics_lock */
    uint64_t failed_count;          /* guarded by statistics_lock */
};

/* ---- answers of the network thread ---- */

static void reply_json(struct ab_request *request, struct ab_json *value)
{
    struct ab_buffer text = {0};
    ab_json_write(value, 0, &text);
    ab_request_reply(request, AB_OK, NULL, ab_buffer_view(&text));
    ab_buffer_fini(&text);
    ab_json_destroy(value);
}

static struct ab_json *speed_json(const struct ab_endpoint *speed)
{
    char key[2 * AB_WIRE_KEY_BYTES + 1];
    struct ab_json *object = ab_json_object();
    ab_crypto_key_format(speed->public_key, key);
    ab_json_set(object, "address", ab_json_text(speed->address));
    ab_json_set(object, "public_key", ab_json_text(key));
    return object;
}

/* {"node","address","key"} of a daemon of one of several nodes. */
static struct ab_json *node_json(const struct ab_leaders_node *node)
{
    char key[2 * AB_WIRE_KEY_BYTES + 1];
    struct ab_json *object = ab_json_object();
    ab_crypto_key_format(node->endpoint.public_key, key);
    ab_json_set(object, "node", ab_json_integer(node->node));
    ab_json_set(object, "address", ab_json_text(node->endpoint.address));
    ab_json_set(object, "key", ab_json_text(key));
    return object;
}

/* Who leads and who serves. A partition without a leader is not in the list. */
static void leaders_put(const struct ab_leaders *leaders, struct ab_json *reply)
{
    struct ab_json *leading = ab_json_array();
    struct ab_json *servings = ab_json_array();
    for (uint32_t p = 0; p < leaders->partitions_count; p++) {
        const struct ab_leaders_node *leader = ab_leaders_of(leaders, p);
        if (leader != NULL) {
            struct ab_json *entry = node_json(leader);
            ab_json_set(entry, "partition", ab_json_integer(p));
            ab_json_append(leading, entry);
        }
    }
    for (uint32_t n = 0; n < leaders->servings_count; n++) {
        ab_json_append(servings, node_json(&leaders->servings[n]));
    }
    ab_json_set(reply, "leaders", leading);
    ab_json_set(reply, "serving", servings);
}

/* The answer to VERB_CATALOG: {"cluster_id":"<32 hex>","partitions":P,"catalog_version":N,"catalog":"<hex>"} and, where
 * blocks go: "speed":{"address","public_key"} of the only node, or of several "leaders":[{"partition","node","address",
 * "key"}, ...] and "serving":[{"node","address","key"}, ...]. */
static void reply_catalog(struct ab_service *service, struct ab_request *request)
{
    struct ab_snapshot *snapshot = ab_snapshot_source_current(service->source);
    struct ab_buffer encoded = {0};
    struct ab_buffer hex = {0};
    char cluster_id[33];
    ab_catalog_encode(snapshot->catalog, &encoded);
    ab_buffer_put_as_hex(&hex, ab_buffer_view(&encoded));
    ab_cluster_id_format(service->node->identity.cluster_id, cluster_id);
    struct ab_json *reply = ab_json_object();
    ab_json_set(reply, "cluster_id", ab_json_text(cluster_id));
    ab_json_set(reply, "partitions", ab_json_integer(snapshot->partitions_count));
    ab_json_set(reply, "catalog_version", ab_json_integer((int64_t)snapshot->catalog->version));
    ab_json_set(reply, "catalog", ab_json_text_of(ab_buffer_view(&hex)));
    if (!snapshot->leaders.is_single) {
        leaders_put(&snapshot->leaders, reply);
    } else if (snapshot->speed.is_known) {
        ab_json_set(reply, "speed", speed_json(&snapshot->speed));
    }
    ab_buffer_fini(&hex);
    ab_buffer_fini(&encoded);
    ab_snapshot_release(snapshot);
    reply_json(request, reply);
}

static struct ab_json *views_json(const struct ab_snapshot *snapshot)
{
    struct ab_json *views = ab_json_array();
    for (uint32_t v = 0; v < snapshot->views_count; v++) {
        const struct ab_served_view *served = &snapshot->views[v];
        struct ab_json *view = ab_json_object();
        ab_json_set(view, "view", ab_json_text(served->view->name));
        ab_json_set(view, "uid", ab_json_integer(served->view->uid));
        if (served->version != NULL) {
            const struct ab_version_manifest *manifest = ab_served_version_manifest(served->version);
            ab_json_set_u64(view, "cut", manifest->cut);
            ab_json_set(view, "attempt", ab_json_integer(manifest->attempt));
            ab_json_set(view, "directories", ab_json_integer(manifest->directories_count));
        }
        if (served->damage != NULL) {
            ab_json_set(view, "damage", ab_json_text(served->damage));
        }
        ab_json_append(views, view);
    }
    return views;
}

static void reply_status(struct ab_service *service, struct ab_request *request)
{
    struct ab_snapshot *snapshot = ab_snapshot_source_current(service->source);
    struct ab_json *reply = ab_json_object();
    ab_json_set(reply, "pid", ab_json_integer(getpid()));
    ab_json_set(reply, "memory_bytes", ab_json_integer((int64_t)ab_memory_used(&service->memory)));
    ab_json_set(reply, "queued", ab_json_integer((int64_t)ab_queue_items(service->queue)));
    ab_lock_take(&service->statistics_lock);
    ab_json_set(reply, "queries", ab_json_integer((int64_t)service->latency_us.count));
    ab_json_set(reply, "failed", ab_json_integer((int64_t)service->failed_count));
    ab_json_set(reply, "p50_us", ab_json_integer((int64_t)ab_histogram_quantile(&service->latency_us, 0.5)));
    ab_json_set(reply, "p99_us", ab_json_integer((int64_t)ab_histogram_quantile(&service->latency_us, 0.99)));
    ab_lock_give(&service->statistics_lock);
    ab_json_set(reply, "coordination", ab_coordination_operations_json());
    ab_json_set(reply, "views", views_json(snapshot));
    ab_snapshot_release(snapshot);
    reply_json(request, reply);
}

static void queue_request(struct ab_service *service, struct ab_request *request)
{
    ab_err err = ab_queue_try_put(service->queue, request, request->payload.bytes + sizeof *request);
    if (err != AB_OK) {
        ab_request_reply(request, err == AB_CLOSED ? AB_UNAVAILABLE : AB_FULL,
            "too many queries are waiting: try again later", (struct ab_bytes){0});
    }
}

static void on_request(struct ab_request *request, void *context)
{
    struct ab_service *service = context;
    switch (request->envelope.verb) {
    case AB_VERB_PING:
        if (request->payload.bytes > 0) { /* "speed": all the way there and back */
            queue_request(service, request);
        } else {
            ab_request_reply(request, AB_OK, NULL, (struct ab_bytes){0});
        }
        return;
    case AB_VERB_STATUS:
        reply_status(service, request);
        return;
    case AB_VERB_CATALOG:
    case AB_VERB_QUERY:
        queue_request(service, request);
        return;
    case AB_VERB_SHUTDOWN:
        ab_request_reply(request, AB_OK, NULL, (struct ab_bytes){0});
        (void)kill(getpid(), SIGTERM); /* cannot fail for ourselves */
        return;
    default:
        ab_request_reply(request, AB_UNSUPPORTED, "the serving layer does not answer this verb", (struct ab_bytes){0});
    }
}

/* ---- query threads ---- */

static int64_t request_deadline(const struct ab_request *request)
{
    int64_t latest_us = request->received_us + QUERY_MS_DEFAULT * AB_US_PER_MS;
    return request->deadline_us < latest_us ? request->deadline_us : latest_us;
}

static void ping_answer(struct ab_executor *executor, struct ab_request *request)
{
    struct ab_error error = {0};
    ab_err err = ab_executor_ping(executor, request_deadline(request), &error);
    ab_request_reply(request, err, err == AB_OK ? NULL : error.text, (struct ab_bytes){0});
}

/* What a query thread works with. */
struct query_tools {
    struct ab_executor *executor;   /* owned */
    struct ab_elsewhere *elsewhere; /* owned */
    struct ab_arena arena;
    struct ab_buffer reply;
};

/* The answer of another node to a query that this one has not the version for; what was wrong here, when there is none.
 */
static ab_err query_hand_on(struct ab_service *service, struct query_tools *tools, const struct ab_request *request,
    ab_err err, struct ab_error *error)
{
    struct ab_error attempt = {0};
    struct ab_snapshot *snapshot = ab_snapshot_source_current(service->source);
    ab_buffer_clear(&tools->reply);
    ab_err theirs = snapshot->leaders.is_single
                        ? AB_UNAVAILABLE
                        : ab_elsewhere_query(tools->elsewhere, &snapshot->leaders, request->payload,
                              request_deadline(request), &tools->reply, &attempt);
    ab_snapshot_release(snapshot);
    if (theirs == AB_UNAVAILABLE) {
        return err;
    }
    *error = attempt;
    return theirs;
}

static void query_answer(struct ab_service *service, struct query_tools *tools, struct ab_request *request)
{
    struct ab_buffer *reply = &tools->reply;
    struct ab_wire_query query = {0};
    struct ab_error error = {0};
    ab_buffer_clear(reply);
    ab_err err = ab_wire_query_decode(request->payload, &tools->arena, &query);
    if (err == AB_OK) {
        err = ab_executor_query(tools->executor, &query, request_deadline(request), reply, &error);
        if (err == AB_CORRUPT && request->role != AB_ROLE_NODE) { /* a node has handed it on already */
            err = query_hand_on(service, tools, request, err, &error);
        }
    } else {
        (void)ab_error_set(&error, err, "the query message is malformed");
    }
    int64_t took_us = ab_time_monotonic_us() - request->received_us;
    ab_request_reply(
        request, err, err == AB_OK ? NULL : error.text, err == AB_OK ? ab_buffer_view(reply) : (struct ab_bytes){0});
    ab_lock_take(&service->statistics_lock);
    ab_histogram_add(&service->latency_us, took_us < 0 ? 0 : (uint64_t)took_us);
    service->failed_count += err != AB_OK;
    ab_lock_give(&service->statistics_lock);
    ab_arena_reset(&tools->arena);
}

static void query_thread(void *context)
{
    struct ab_service *service = context;
    struct query_tools tools = {.executor = ab_executor_create(service->node->wire, service->source, &service->memory),
        .elsewhere = ab_elsewhere_create(service->node->wire, service->node->config.cluster.node),
        .reply = {.memory = &service->memory, .bytes_max = AB_WIRE_MESSAGE_BYTES_MAX}};
    ab_arena_init(&tools.arena, &service->memory, 0);
    void *item = NULL;
    while (ab_queue_take(service->queue, &item, 1, -1) == 1) {
        struct ab_request *request = item;
        if (request->envelope.verb == AB_VERB_PING) {
            ping_answer(tools.executor, request);
        } else if (request->envelope.verb == AB_VERB_CATALOG) {
            ab_snapshot_source_refresh(service->source); /* who has just applied a catalog is to find it */
            reply_catalog(service, request);
        } else {
            query_answer(service, &tools, request);
        }
    }
    ab_buffer_fini(&tools.reply);
    ab_arena_fini(&tools.arena);
    ab_elsewhere_destroy(tools.elsewhere);
    ab_executor_destroy(tools.executor);
}

/* ---- life ---- */

/* Has the other nodes' clients know where queries are answered here. */
static ab_err service_register(struct ab_service *service, struct ab_error *error)
{
    struct ab_endpoint endpoint = {.is_known = true};
    (void)snprintf(endpoint.address, sizeof endpoint.address, "%s", ab_server_address(service->server));
    memcpy(endpoint.public_key, service->node->keys.public_key, sizeof endpoint.public_key);
    return ab_snapshot_source_register(service->source, &endpoint, error);
}

static ab_err service_start(struct ab_service *service, struct ab_error *error)
{
    const struct ab_node *node = service->node;
    const struct ab_config *config = &node->config;
    size_t cache_bytes = config->memory_bytes.serving / CACHE_SHARE;
    ab_memory_init(&service->memory, config->memory_bytes.serving - cache_bytes, NULL);
    service->cache = ab_store_cache_create(cache_bytes, BACKGROUND_THREADS);
    service->versions = ab_versions_create(node->directory, service->cache);
    service->queue = ab_queue_create(QUEUE_REQUESTS, QUEUE_BYTES);
    const struct ab_snapshot_options source = {.directory = node->directory,
        .config = config,
        .partitions_count = node->identity.partitions_count,
        .versions = service->versions};
    AB_TRY(ab_snapshot_source_open(&source, &service->source, error));
    struct ab_server_options server = {.address = config->listen.serving, .on_request = on_request, .context = service};
    AB_TRY(ab_server_open(node->wire, &server, &service->server, error));
    AB_TRY(ab_server_self_test(service->server, error));
    service->threads_count = config->query_threads;
    service->threads = ab_new_array(struct ab_thread, service->threads_count);
    for (uint32_t i = 0; i < service->threads_count; i++) {
        ab_thread_start(&service->threads[i], "query", query_thread, service);
    }
    AB_TRY(ab_node_endpoint_write(node, "serving", ab_server_address(service->server), error));
    return service_register(service, error);
}

ab_err ab_service_open(const struct ab_node *node, struct ab_service **service, struct ab_error *error)
{
    struct ab_service *made = ab_new(struct ab_service);
    made->node = node;
    ab_lock_init(&made->statistics_lock);
    ab_err err = service_start(made, error);
    if (err != AB_OK) {
        ab_service_close(made);
        return err;
    }
    *service = made;
    return AB_OK;
}

void ab_service_close(struct ab_service *service)
{
    if (service == NULL) {
        return;
    }
    if (service->queue != NULL) {
        ab_queue_close(service->queue);
    }
    for (uint32_t i = 0; i < service->threads_count; i++) {
        ab_thread_join(&service->threads[i]);
    }
    ab_server_close(service->server);
    ab_snapshot_source_close(service->source);
    ab_versions_destroy(service->versions);
    ab_store_cache_destroy(service->cache);
    ab_queue_destroy(service->queue);
    ab_delete(service->threads);
    ab_lock_fini(&service->statistics_lock);
    ab_delete(service);
}

const char *ab_service_address(const struct ab_service *service)
{
    return ab_server_address(service->server);
}
