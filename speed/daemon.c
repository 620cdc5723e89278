#include "speed/daemon.h"

#include "speed/engine.h"
#include "speed/membership.h"
#include "common/base/file.h"
#include "common/base/logging.h"
#include "common/coordination/configured.h"
#include "common/wire/node.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define LAG_US_MIN (6 * AB_US_PER_SECOND)
#define TICK_NS (200 * 1000 * 1000)

struct daemon {
    struct ab_node node;
    struct ab_coordination *coordination; /* owned */
    uint64_t revision;                    /* of the coordination when it was last looked at */
    uint64_t catalog_version;             /* version of its /catalog then, plus 1; 0 = none seen */
    struct ab_membership *membership;     /* owned; NULL = the only node */
    struct ab_engine *engine;             /* owned */
    struct ab_server *server;             /* owned */
    sigset_t signals;
};

/* Blocks the signals that end it, before any thread starts; has the parent's death send one of them. */
static void signals_prepare(struct daemon *daemon)
{
    sigemptyset(&daemon->signals);
    sigaddset(&daemon->signals, SIGTERM);
    sigaddset(&daemon->signals, SIGINT);
    (void)sigprocmask(SIG_BLOCK, &daemon->signals, NULL); /* cannot fail with these arguments */
    (void)signal(SIGPIPE, SIG_IGN);
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
}

/* Waits one tick; true when a signal says to stop. */
static bool signals_wait(const struct daemon *daemon)
{
    struct timespec tick = {.tv_nsec = TICK_NS};
    return sigtimedwait(&daemon->signals, NULL, &tick) > 0;
}

/* Reads the catalog when it changed; AB_NOT_FOUND while there is none. */
static ab_err catalog_read(struct daemon *daemon, struct ab_buffer *encoded, struct ab_error *error)
{
    struct ab_coordination_stat stat = {0};
    AB_TRY(ab_coordination_get(daemon->coordination, "/catalog", encoded, &stat, error));
    daemon->catalog_version = stat.version + 1;
    return AB_OK;
}

/* Waits for the first catalog: partitions that are new begin with it. AB_CLOSED when told to stop. */
static ab_err catalog_wait(struct daemon *daemon, struct ab_buffer *encoded, struct ab_error *error)
{
    for (;;) {
        ab_err err = catalog_read(daemon, encoded, error);
        if (err != AB_NOT_FOUND) {
            return err;
        }
        if (signals_wait(daemon)) {
            return ab_error_set(error, AB_CLOSED, "stopped while waiting for a catalog");
        }
        *error = (struct ab_error){0};
    }
}

/* Looks for a newer catalog; trouble is logged and tried again at the next tick. */
static void catalog_poll(struct daemon *daemon)
{
    struct ab_error error = {0};
    uint64_t revision = 0;
    ab_err err = ab_coordination_revision(daemon->coordination, &revision, &error);
    if (err != AB_OK || revision == daemon->revision) {
        return;
    }
    struct ab_buffer encoded = {0};
    uint64_t before = daemon->catalog_version;
    err = catalog_read(daemon, &encoded, &error);
    if (err == AB_OK && daemon->catalog_version != before) {
        err = ab_engine_add_catalog(daemon->engine, ab_buffer_view(&encoded), &error);
        ab_info("catalog seen", "version %" PRIu64 " of the coordination", daemon->catalog_version - 1);
    }
    if (err == AB_OK) {
        daemon->revision = revision;
    } else {
        daemon->catalog_version = before;
        ab_warn("catalog could not be read", "%s", error.text);
    }
    ab_buffer_fini(&encoded);
}

/* At least the timeout of sessions (replication.h), however long that is. */
static int64_t lag_us_max(const struct ab_config *config)
{
    int64_t timeout_us = config->cluster.session_timeout_ms * AB_US_PER_MS;
    return timeout_us > LAG_US_MIN ? timeout_us : LAG_US_MIN;
}

static ab_err engine_open(struct daemon *daemon, struct ab_error *error)
{
    struct ab_buffer encoded = {0};
    ab_err err = catalog_wait(daemon, &encoded, error);
    if (err == AB_OK) {
        const struct ab_config *config = &daemon->node.config;
        struct ab_engine_replication replication = {0};
        struct ab_engine_options options = {.directory = daemon->node.directory,
            .partitions_count = daemon->node.identity.partitions_count,
            .workers = config->workers,
            .query_threads = config->query_threads,
            .memory_bytes = config->memory_bytes.speed,
            .flush_interval_us = (int64_t)config->flush_interval_ms * AB_US_PER_MS,
            .segment_bytes = config->segment_bytes,
            .disk_watermark_percent = config->disk_watermark_percent,
            .scrub_bytes_per_second = config->scrub_bytes_per_second,
            .catalog = ab_buffer_view(&encoded)};
        memcpy(options.cluster_id, daemon->node.identity.cluster_id, sizeof(options.cluster_id));
        if (daemon->membership != NULL) {
            replication = (struct ab_engine_replication){.node = config->cluster.node,
                .incarnation = ab_membership_incarnation(daemon->membership),
                .disk_id = ab_membership_disk_id(daemon->membership),
                .was_here = ab_membership_was_here(daemon->membership),
                .lag_us_max = lag_us_max(config),
                .outlets = &ab_membership_outlets,
                .context = daemon->membership};
            options.replication = &replication;
        }
        err = ab_engine_open(&options, &daemon->engine, error);
    }
    ab_buffer_fini(&encoded);
    return err;
}

static ab_err server_open(struct daemon *daemon, struct ab_error *error)
{
    struct ab_server_options options = {
        .address = daemon->node.config.listen.speed, .on_request = ab_engine_on_request, .context = daemon->engine};
    AB_TRY(ab_server_open(daemon->node.wire, &options, &daemon->server, error));
    AB_TRY(ab_server_self_test(daemon->server, error));
    return ab_node_endpoint_write(&daemon->node, "speed", ab_server_address(daemon->server), error);
}

/* Whose disk and process this is among several nodes; nothing for the only one. */
static ab_err membership_open(struct daemon *daemon, struct ab_error *error)
{
    const struct ab_config_cluster *cluster = &daemon->node.config.cluster;
    if (cluster->node == 0) {
        return AB_OK;
    }
    const struct ab_membership_options options = {.directory = daemon->node.directory,
        .node = cluster->node,
        .partitions_count = daemon->node.identity.partitions_count,
        .rack = cluster->rack,
        .weight = cluster->weight,
        .wire = daemon->node.wire,
        .coordination = daemon->coordination};
    AB_TRY(ab_membership_create(&options, &daemon->membership, error));
    daemon->node.registration = ab_membership_incarnation(daemon->membership);
    return AB_OK;
}

static ab_err membership_start(struct daemon *daemon, struct ab_error *error)
{
    if (daemon->membership == NULL) {
        return AB_OK;
    }
    const struct ab_membership_start start = {.address = ab_server_address(daemon->server),
        .public_key = daemon->node.keys.public_key,
        .on_input = ab_engine_on_input,
        .on_over = ab_engine_ask_to_stop,
        .damaged = ab_engine_damaged,
        .holds = ab_engine_holds,
        .context = daemon->engine};
    return ab_membership_start(daemon->membership, &start, error);
}

static ab_err daemon_open(struct daemon *daemon, const char *directory, struct ab_error *error)
{
    struct ab_node_options options = {.directory = directory, .role = "node", .name = "speed", .is_server = true};
    AB_TRY(ab_node_open(&options, &daemon->node, error));
    AB_TRY(ab_coordination_open_configured(&daemon->node.config, directory, &daemon->coordination, error));
    AB_TRY(membership_open(daemon, error));
    AB_TRY(engine_open(daemon, error));
    AB_TRY(server_open(daemon, error));
    return membership_start(daemon, error);
}

static void daemon_close(struct daemon *daemon)
{
    if (daemon->node.directory != NULL && daemon->server != NULL) {
        char *path = ab_new_format("%s/run/speed.json", daemon->node.directory);
        struct ab_error error = {0};
        if (ab_file_remove_tree(path, &error) != AB_OK) {
            ab_warn("endpoint file not removed", "%s: it is replaced at the next start", error.text);
        }
        ab_delete(path);
    }
    if (daemon->membership != NULL) {
        ab_membership_stop(daemon->membership);
    }
    if (daemon->engine != NULL) {
        ab_engine_stop(daemon->engine); /* answers what is queued while the socket is still there */
    }
    ab_server_close(daemon->server);
    ab_engine_close(daemon->engine);
    ab_membership_destroy(daemon->membership);
    ab_coordination_close(daemon->coordination);
    ab_node_close(&daemon->node);
}

ab_err ab_speed_run(const char *directory, struct ab_error *error)
{
    struct daemon daemon = {0};
    signals_prepare(&daemon);
    ab_err err = daemon_open(&daemon, directory, error);
    if (err == AB_OK) {
        ab_info("ready", "pid %d at %s", (int)getpid(), ab_server_address(daemon.server));
        while (!signals_wait(&daemon) && !ab_engine_wants_stop(daemon.engine)) {
            catalog_poll(&daemon);
            ab_engine_tick(daemon.engine);
        }
        ab_info("stopping", "what is in memory is flushed first");
    }
    daemon_close(&daemon);
    return err == AB_CLOSED ? AB_OK : err;
}
