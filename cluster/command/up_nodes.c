#include "cluster/command/command.h"
#include "cluster/command/session.h"
#include "cluster/command/up.h"
#include "cluster/ensemble.h"
#include "cluster/layout.h"
#include "common/base/file.h"
#include "common/base/logging.h"
#include "common/base/time.h"
#include "common/coordination/replica_set.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#define ZOOKEEPER_PATIENCE_US (60 * AB_US_PER_SECOND)
#define ZOOKEEPER_CALL_US (2 * AB_US_PER_SECOND)
#define ZOOKEEPER_CRASHES_PATIENCE 3u
#define ENSEMBLE_END_US (20 * AB_US_PER_SECOND)

/* What is being started. */
struct up_nodes {
    struct ab_up *up; /* borrowed */
    struct ab_nodes nodes;
    uint32_t first; /* the nodes to start: all, or one */
    uint32_t last;
    struct ab_up_node started[AB_NODES_MAX]; /* own their directories */
    bool is_answering[AB_NODES_MAX];         /* seen once */
    struct ab_process ensemble;              /* pid 0 = not started here */
    struct ab_log_tails tails;               /* of ZooKeeper */
    struct ab_coordination *coordination;    /* owned */
};

bool ab_up_nodes_are_wanted(const struct ab_up *up)
{
    return ab_arguments_has(up->arguments, "--nodes") || ab_arguments_has(up->arguments, "--zookeepers") ||
           ab_arguments_has(up->arguments, "--node") || ab_nodes_is(up->directory);
}

/* ---- before anything starts ---- */

static ab_err options_check(const struct ab_up *up, struct ab_error *error)
{
    if (ab_arguments_has(up->arguments, "--foreground")) {
        return ab_error_set(error, AB_USAGE, "--foreground is for the only node of a machine; several run beside it");
    }
    if (ab_arguments_has(up->arguments, "--listen")) {
        return ab_error_set(error, AB_USAGE,
            "--listen is for the only node of a machine; each of several has its own in DIR/node-K/config/node.yaml");
    }
    return ab_zookeeper_check(error);
}

static ab_err nodes_create(
    struct up_nodes *all, int64_t count, int64_t partitions, int64_t zookeepers, struct ab_error *error)
{
    const struct ab_up *up = all->up;
    const struct ab_nodes_create_options options = {
        .partitions_count = partitions == 0 ? AB_CLUSTER_PARTITIONS_DEFAULT : (uint32_t)partitions,
        .count = count == 0 ? AB_NODES_DEFAULT : (uint32_t)count,
        .zookeepers_count = zookeepers == 0 ? 1 : (uint32_t)zookeepers};
    if (up->catalog_text.bytes == 0) {
        return ab_error_set(error, AB_USAGE, "%s is empty: a new cluster needs --catalog FILE", up->directory);
    }
    if (ab_arguments_has(up->arguments, "--node")) {
        return ab_error_set(error, AB_USAGE, "%s is empty: a new cluster starts with all of its nodes", up->directory);
    }
    return ab_nodes_create(up->directory, &options, &all->nodes, error);
}

/* One number that was fixed when the cluster was made. */
static ab_err fixed_check(const struct ab_up *up, const char *option, const char *what, int64_t given, uint32_t stored,
    struct ab_error *error)
{
    if (given == 0 || given == stored) {
        return AB_OK;
    }
    return ab_error_set(error, AB_UNSUPPORTED,
        "the cluster in %s has %u %s, fixed when it was made; %s %" PRId64 " is refused", up->directory, stored, what,
        option, given);
}

static ab_err nodes_settle(struct up_nodes *all, struct ab_error *error)
{
    const struct ab_up *up = all->up;
    int64_t count = 0;
    int64_t partitions = 0;
    int64_t zookeepers = 0;
    int64_t node = 0;
    AB_TRY(ab_arguments_number(up->arguments, "--nodes", AB_NODES_MIN, AB_NODES_MAX, 0, &count, error));
    AB_TRY(ab_arguments_number(up->arguments, "--partitions", 1, AB_CLUSTER_PARTITIONS_MAX, 0, &partitions, error));
    AB_TRY(ab_arguments_number(up->arguments, "--zookeepers", 1, AB_ZOOKEEPER_SERVERS_MAX, 0, &zookeepers, error));
    if (!ab_nodes_is(up->directory)) {
        if (!ab_layout_is_vacant(up->directory)) {
            return ab_error_set(error, AB_EXISTS,
                "%s is neither empty nor the directory of a cluster of several nodes; nothing was touched, give "
                "another --data",
                up->directory);
        }
        AB_TRY(nodes_create(all, count, partitions, zookeepers, error));
    } else {
        AB_TRY(ab_nodes_read(up->directory, &all->nodes, error));
        AB_TRY(fixed_check(up, "--nodes", "nodes", count, ab_nodes_present(&all->nodes), error));
        AB_TRY(fixed_check(up, "--partitions", "partitions", partitions, all->nodes.identity.partitions_count, error));
        AB_TRY(fixed_check(up, "--zookeepers", "ZooKeeper servers", zookeepers, all->nodes.zookeepers_count, error));
    }
    AB_TRY(ab_arguments_number(up->arguments, "--node", 1, all->nodes.count, 0, &node, error));
    if (node > 0 && !ab_nodes_has(&all->nodes, (uint32_t)node)) {
        return ab_error_set(error, AB_USAGE, "node %" PRId64 " was removed from the cluster", node);
    }
    all->first = node == 0 ? 1 : (uint32_t)node;
    all->last = node == 0 ? all->nodes.count : (uint32_t)node;
    return AB_OK;
}

/* A node's configuration, under its controller's lock. */
static ab_err config_settle(struct up_nodes *all, uint32_t node, const char *directory, struct ab_error *error)
{
    struct ab_config config = {0};
    bool is_changed = false;
    char *path = ab_layout_path(directory, "config/node.yaml");
    ab_err err = AB_OK;
    if (ab_file_exists(path)) {
        err = ab_config_load(path, &config, error);
    } else {
        ab_config_defaults(&config);
        ab_nodes_config_share(&all->nodes, &config);
    }
    ab_delete(path);
    AB_TRY(err);
    ab_nodes_config_set(all->up->directory, &all->nodes, node, &config, &is_changed);
    AB_TRY(ab_up_options_take(all->up->arguments, ab_nodes_present(&all->nodes), &config, &is_changed, error));
    AB_TRY(ab_config_validate(&config, error));
    return ab_layout_complete(directory, &config, is_changed, error);
}

/* ---- ZooKeeper ---- */

static ab_err ensemble_start(struct up_nodes *all, struct ab_error *error)
{
    struct ab_ensemble_running running;
    int fd = -1;
    const char *directory = all->up->directory;
    ab_log_tails_note(&all->tails, directory);
    if (ab_ensemble_running_read(directory, &running)) {
        return AB_OK;
    }
    char *folder = ab_process_program_directory();
    char *program = ab_new_format("%s/anabranch-zookeeper", folder);
    char *log = ab_layout_path(directory, "logs/zookeeper.log");
    const char *arguments[] = {program, "--data", directory, NULL};
    ab_err err = ab_file_open(log, O_WRONLY | O_CREAT | O_APPEND, 0600, &fd, error);
    if (err == AB_OK) {
        const struct ab_process_options options = {.arguments = arguments, .output_fd = fd, .is_session = true};
        err = ab_process_start(&options, &all->ensemble, error);
    }
    ab_file_close(&fd);
    ab_delete(log);
    ab_delete(program);
    ab_delete(folder);
    return err;
}

/* AB_OK while the servers may still come. */
static ab_err ensemble_look(const struct up_nodes *all, struct ab_error *error)
{
    struct ab_ensemble_running running;
    int code = 0;
    bool is_running = ab_ensemble_running_read(all->up->directory, &running);
    if (all->ensemble.pid > 0 && ab_process_reap(&all->ensemble, &code)) {
        return ab_error_set(error, AB_UNAVAILABLE,
            "what keeps ZooKeeper running ended with code %d; see %s/logs/zookeeper.log", code, all->up->directory);
    }
    if (is_running && all->ensemble.pid > 0 && running.crashes_count >= ZOOKEEPER_CRASHES_PATIENCE) {
        ab_log_tail_print(&all->tails, "zookeeper-1");
        return ab_error_set(error, AB_UNAVAILABLE, "ZooKeeper keeps ending at its start; its last lines are above");
    }
    return AB_OK;
}

static ab_err session_wait(struct up_nodes *all, struct ab_error *error)
{
    int64_t started = ab_time_monotonic_us();
    int64_t said = started;
    for (;;) {
        struct ab_error failure = {0};
        ab_err err =
            ab_nodes_session_open(all->up->directory, &all->nodes, ZOOKEEPER_CALL_US, &all->coordination, &failure);
        int64_t now = ab_time_monotonic_us();
        bool is_again = err == AB_UNAVAILABLE || err == AB_TIMEOUT || err == AB_OUTCOME_UNKNOWN || err == AB_CLOSED;
        if (!is_again || now - started > ZOOKEEPER_PATIENCE_US) {
            *error = failure;
            return err == AB_OK ? AB_OK : ab_error_wrap(error, err, "ZooKeeper");
        }
        AB_TRY(ensemble_look(all, error));
        if (now - said > AB_UP_READY_SAY_US) {
            said = now;
            ab_command_say("still starting (%" PRId64 " s): ZooKeeper", (now - started) / AB_US_PER_SECOND);
        }
        ab_time_sleep_us(AB_UP_READY_POLL_US);
    }
}

/* ---- nodes ---- */

static ab_err node_start(struct up_nodes *all, uint32_t number, struct ab_error *error)
{
    struct ab_running running;
    int lock_fd = -1;
    struct ab_up_node *node = &all->started[number - 1];
    if (!ab_nodes_has(&all->nodes, number) || ab_running_read(node->directory, &running)) {
        return AB_OK;
    }
    AB_TRY(ab_up_node_lock(node->directory, &lock_fd, error));
    ab_err err = config_settle(all, number, node->directory, error);
    ab_file_close(&lock_fd);
    AB_TRY(err);
    return ab_up_node_start(node, false, error);
}

/* One look at all nodes that are started; *count is how many have answered. */
static ab_err nodes_look(struct up_nodes *all, uint32_t *count, struct ab_error *error)
{
    uint32_t answering = 0;
    for (uint32_t n = all->first; n <= all->last; n++) {
        if (ab_nodes_has(&all->nodes, n) && !all->is_answering[n - 1]) {
            ab_err err = ab_up_node_look(&all->started[n - 1], error);
            if (err != AB_OK && err != AB_AGAIN) {
                return ab_error_wrap(error, err, "node %u", n);
            }
            all->is_answering[n - 1] = err == AB_OK;
        }
        answering += all->is_answering[n - 1];
    }
    *count = answering;
    return AB_OK;
}

/* True when the process that leads by the partition's state is registered as live. */
static bool partition_is_led(struct ab_coordination *coordination, uint32_t partition)
{
    char path[AB_REGISTRATION_PATH_BYTES];
    struct ab_buffer text;
    struct ab_replica_set state;
    ab_buffer_init(&text, NULL, AB_COORDINATION_VALUE_BYTES_MAX);
    ab_replica_set_path(partition, path);
    bool is_led = ab_coordination_get(coordination, path, &text, NULL, NULL) == AB_OK &&
                  ab_replica_set_decode(ab_buffer_view(&text), &state, NULL) == AB_OK && state.leader != AB_NODE_NONE;
    ab_buffer_fini(&text);
    if (is_led) {
        ab_live_path(state.leader, state.leader_incarnation, path);
        is_led = ab_coordination_get(coordination, path, NULL, NULL, NULL) == AB_OK;
    }
    return is_led;
}

/* How many partitions are led; one node that is started again waits for its daemons only. */
static uint32_t partitions_look(const struct up_nodes *all)
{
    uint32_t led = 0;
    uint32_t partitions = all->nodes.identity.partitions_count;
    for (uint32_t p = 0; p < partitions; p++) {
        led += partition_is_led(all->coordination, p);
    }
    return led;
}

static bool is_single(const struct up_nodes *all)
{
    return all->first == all->last;
}

static ab_err ready_wait(struct up_nodes *all, struct ab_error *error)
{
    int64_t started = ab_time_monotonic_us();
    int64_t said = started;
    uint32_t wanted = is_single(all) ? 1 : ab_nodes_present(&all->nodes);
    uint32_t partitions = is_single(all) ? 0 : all->nodes.identity.partitions_count;
    for (;;) {
        uint32_t answering = 0;
        AB_TRY(nodes_look(all, &answering, error));
        uint32_t led = partitions == 0 || answering < wanted ? 0 : partitions_look(all);
        if (answering == wanted && led == partitions) {
            return AB_OK;
        }
        int64_t now = ab_time_monotonic_us();
        if (now - started > AB_UP_READY_PATIENCE_US) {
            return ab_error_set(error, AB_TIMEOUT,
                "after ten minutes %u of %u nodes answer, %u of %u partitions have a leader; see logs/ in the nodes' "
                "directories",
                answering, wanted, led, partitions);
        }
        if (now - said > AB_UP_READY_SAY_US) {
            said = now;
            ab_command_say("still starting (%" PRId64 " s): %u of %u nodes answer, %u of %u partitions have a leader",
                (now - started) / AB_US_PER_SECOND, answering, wanted, led, partitions);
        }
        ab_time_sleep_us(AB_UP_READY_POLL_US);
    }
}

static void summary_print(const struct up_nodes *all)
{
    char *coordination = ab_nodes_coordination(&all->nodes);
    if (!is_single(all)) {
        (void)printf("cluster is up in %s: %u nodes, %u partitions of %u replicas, coordinated by %s\n",
            all->up->directory, ab_nodes_present(&all->nodes), all->nodes.identity.partitions_count, AB_NODES_REPLICAS,
            coordination);
    }
    for (uint32_t n = all->first; n <= all->last; n++) {
        struct ab_running running;
        if (ab_nodes_has(&all->nodes, n)) {
            (void)ab_running_read(all->started[n - 1].directory, &running);
            (void)printf("node %u is up, serving at %s\n", n, running.serving.address);
        }
    }
    (void)fflush(stdout);
    ab_delete(coordination);
}

/* ---- all together ---- */

static ab_err nodes_start(struct up_nodes *all, struct ab_error *error)
{
    AB_TRY(ab_nodes_complete(all->up->directory, &all->nodes, error));
    AB_TRY(ensemble_start(all, error));
    AB_TRY(session_wait(all, error));
    AB_TRY(ab_nodes_settle(&all->nodes, all->coordination, error));
    AB_TRY(ab_up_catalog_settle(all->up, all->coordination, error));
    for (uint32_t n = all->first; n <= all->last; n++) {
        AB_TRY(node_start(all, n, error));
    }
    return ready_wait(all, error);
}

/* What was started here is ended again: a start that failed leaves what ran before. */
static void nodes_end(struct up_nodes *all)
{
    int code = 0;
    for (uint32_t n = all->first; n <= all->last; n++) {
        ab_process_signal(&all->started[n - 1].controller, SIGTERM); /* all are asked before one is waited for */
    }
    for (uint32_t n = all->first; n <= all->last; n++) {
        if (all->started[n - 1].controller.pid > 0) {
            ab_up_node_end(&all->started[n - 1]);
        }
    }
    int64_t until = ab_time_monotonic_us() + ENSEMBLE_END_US;
    ab_process_signal(&all->ensemble, SIGTERM);
    while (all->ensemble.pid > 0 && !ab_process_reap(&all->ensemble, &code) && ab_process_is_alive(&all->ensemble)) {
        if (ab_time_monotonic_us() > until) {
            ab_process_signal(&all->ensemble, SIGKILL);
        }
        ab_time_sleep_us(AB_UP_READY_POLL_US);
    }
}

static ab_err lock_take(const char *directory, int *lock_fd, struct ab_error *error)
{
    char *run = ab_layout_path(directory, "run");
    char *path = ab_layout_path(directory, "run/up.lock");
    ab_err err = ab_file_make_directory(run, 0700, error);
    if (err == AB_OK) {
        err = ab_file_lock(path, lock_fd, error);
    }
    ab_delete(path);
    ab_delete(run);
    return err == AB_BUSY ? ab_error_wrap(error, err, "another `anabranch up` is at work in %s", directory) : err;
}

ab_err ab_up_nodes_run(struct ab_up *up, struct ab_error *error)
{
    int lock_fd = -1;
    struct up_nodes all = {.up = up};
    ab_logging_init("anabranch", AB_LOG_ERROR, STDERR_FILENO); /* not every try to reach a server that starts */
    AB_TRY(options_check(up, error));
    AB_TRY(nodes_settle(&all, error));
    AB_TRY(lock_take(up->directory, &lock_fd, error));
    for (uint32_t n = 1; n <= all.nodes.count; n++) {
        all.started[n - 1].directory = ab_nodes_directory(up->directory, n);
    }
    ab_err err = nodes_start(&all, error);
    if (err == AB_OK && !up->is_quiet) {
        summary_print(&all);
    } else if (err != AB_OK) {
        nodes_end(&all);
    }
    ab_coordination_close(all.coordination);
    for (uint32_t n = 1; n <= all.nodes.count; n++) {
        ab_delete((void *)all.started[n - 1].directory);
    }
    ab_file_close(&lock_fd);
    return err;
}
