#include "cluster/command/up.h"

#include "cluster/command/command.h"
#include "cluster/command/session.h"
#include "cluster/layout.h"
#include "common/base/decimal.h"
#include "common/base/file.h"
#include "common/base/time.h"
#include "common/coordination/configured.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

/* "HOST:PORT" to "tcp://HOST:PORT"; a port in use is told here, before anything starts. */
static ab_err listen_set(const char *given, char *address, size_t room, struct ab_error *error)
{
    char host[AB_CONFIG_ADDRESS_BYTES];
    const char *colon = strrchr(given, ':');
    int64_t port = -1;
    if (colon == NULL || colon == given || (size_t)(colon - given) >= sizeof host ||
        (strcmp(colon + 1, "*") != 0 &&
            (ab_bigint_parse(ab_bytes_of_text(colon + 1), &port) != AB_OK || port < 1 || port > 65535))) {
        return ab_error_set(error, AB_USAGE, "--listen takes HOST:PORT, not '%s'", given);
    }
    (void)snprintf(address, room, "tcp://%s", given);
    if (port < 0) {
        return AB_OK;
    }
    (void)snprintf(host, sizeof host, "%.*s", (int)(colon - given), given);
    struct addrinfo *found = NULL;
    const struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    if (getaddrinfo(strcmp(host, "*") == 0 ? NULL : host, colon + 1, &hints, &found) != 0 || found == NULL) {
        return ab_error_set(error, AB_USAGE, "--listen %s: this machine has no address '%s'", given, host);
    }
    int fd = socket(found->ai_family, found->ai_socktype | SOCK_CLOEXEC, 0);
    int yes = 1;
    ab_err err = AB_OK;
    if (fd >= 0) {
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
        if (bind(fd, found->ai_addr, found->ai_addrlen) != 0 || listen(fd, 1) != 0) {
            err = ab_error_set(
                error, AB_BUSY, "cannot listen on %s: %s; give another --listen HOST:PORT", given, strerror(errno));
        }
    }
    freeaddrinfo(found);
    ab_file_close(&fd);
    return err;
}

ab_err ab_up_options_take(const struct ab_arguments *arguments, uint32_t nodes_count, struct ab_config *config,
    bool *is_changed, struct ab_error *error)
{
    int64_t workers = 0;
    const char *listen = ab_arguments_value(arguments, "--listen");
    const char *memory = ab_arguments_value(arguments, "--memory");
    AB_TRY(ab_arguments_number(arguments, "--workers", 1, 256, 0, &workers, error));
    if (workers > 0 || listen != NULL || memory != NULL) {
        *is_changed = true;
    }
    if (workers > 0) {
        config->workers = (uint32_t)workers;
    }
    if (memory != NULL) {
        uint64_t bytes = 0;
        if (ab_arguments_size_parse(memory, &bytes) != AB_OK || bytes / nodes_count < (256u << 20)) {
            return ab_error_set(
                error, AB_USAGE, "--memory takes a size of at least %uM, not '%s'", 256 * nodes_count, memory);
        }
        bytes /= nodes_count;
        config->memory_bytes.speed = bytes / 2;
        config->memory_bytes.serving = bytes / 4;
        config->memory_bytes.batch = bytes / 4;
    }
    return listen == NULL ? AB_OK : listen_set(listen, config->listen.serving, sizeof config->listen.serving, error);
}

/* Finds the cluster of the directory, or makes a new one. */
static ab_err identity_settle(struct ab_up *up, struct ab_error *error)
{
    int64_t partitions = 0;
    AB_TRY(ab_arguments_number(up->arguments, "--partitions", 1, AB_CLUSTER_PARTITIONS_MAX, 0, &partitions, error));
    if (ab_layout_is_vacant(up->directory)) {
        if (ab_arguments_value(up->arguments, "--catalog") == NULL) {
            return ab_error_set(error, AB_USAGE, "%s is empty: a new cluster needs --catalog FILE", up->directory);
        }
        uint32_t count = partitions == 0 ? AB_CLUSTER_PARTITIONS_DEFAULT : (uint32_t)partitions;
        return ab_layout_create(up->directory, count, &up->identity, error);
    }
    ab_err err = ab_cluster_identity_read(up->directory, &up->identity, error);
    if (err == AB_NOT_FOUND) {
        *error = (struct ab_error){0};
        return ab_error_set(error, AB_EXISTS,
            "%s is neither empty nor the directory of a cluster; nothing was touched, give another --data",
            up->directory);
    }
    AB_TRY(err);
    if (partitions != 0 && (uint32_t)partitions != up->identity.partitions_count) {
        return ab_error_set(error, AB_UNSUPPORTED,
            "the cluster in %s has %u partitions, fixed when it was made; --partitions %" PRId64 " is refused",
            up->directory, up->identity.partitions_count, partitions);
    }
    return AB_OK;
}

static ab_err config_settle(struct ab_up *up, struct ab_error *error)
{
    bool is_changed = false;
    char *path = ab_layout_path(up->directory, "config/node.yaml");
    ab_err err = ab_file_exists(path) ? ab_config_load(path, &up->config, error) : AB_OK;
    ab_delete(path);
    AB_TRY(err);
    if (strlen(up->directory) >= sizeof up->config.data) {
        return ab_error_set(error, AB_USAGE, "the path of --data is longer than %zu bytes", sizeof up->config.data - 1);
    }
    bool has_moved = strcmp(up->config.data, up->directory) != 0;
    (void)snprintf(up->config.data, sizeof up->config.data, "%s", up->directory);
    ab_config_defaults(&up->config);
    AB_TRY(ab_up_options_take(up->arguments, 1, &up->config, &is_changed, error));
    AB_TRY(ab_config_validate(&up->config, error));
    return ab_layout_complete(up->directory, &up->config, is_changed || has_moved, error);
}

static ab_err catalog_settle(struct ab_up *up, struct ab_error *error)
{
    struct ab_coordination *coordination = NULL;
    AB_TRY(ab_coordination_open_configured(&up->config, up->directory, &coordination, error));
    ab_err err = ab_up_catalog_settle(up, coordination, error);
    ab_coordination_close(coordination);
    return err;
}

/* Everything that must be right before a process is started, under the controller's lock. */
static ab_err up_prepare(struct ab_up *up, struct ab_error *error)
{
    int lock_fd = -1;
    AB_TRY(identity_settle(up, error));
    ab_err err = ab_up_node_lock(up->directory, &lock_fd, error);
    if (err == AB_OK) {
        err = config_settle(up, error);
    }
    if (err == AB_OK) {
        err = catalog_settle(up, error);
    }
    ab_file_close(&lock_fd);
    return err;
}

static ab_err ready_wait(const struct ab_up_node *node, struct ab_error *error)
{
    int64_t started = ab_time_monotonic_us();
    int64_t said = started;
    for (;;) {
        ab_err err = ab_up_node_look(node, error);
        if (err != AB_AGAIN) {
            return err;
        }
        int64_t now = ab_time_monotonic_us();
        if (now - started > AB_UP_READY_PATIENCE_US) {
            ab_log_tail_print(&node->tails, "speed");
            return ab_error_set(error, AB_TIMEOUT, "the cluster does not answer after ten minutes");
        }
        if (now - said > AB_UP_READY_SAY_US) {
            said = now;
            ab_command_say(
                "still starting (%" PRId64 " s): recovering what the log holds", (now - started) / AB_US_PER_SECOND);
        }
        ab_time_sleep_us(AB_UP_READY_POLL_US);
    }
}

static void up_say(const struct ab_up *up)
{
    struct ab_running running;
    (void)ab_running_read(up->directory, &running);
    (void)printf("cluster is up in %s: %u partitions, %u workers, serving at %s\n", up->directory,
        up->identity.partitions_count, up->config.workers, running.serving.address);
    (void)fflush(stdout);
}

/* In the foreground: lives until the controller ends; signals are handed on. */
static ab_err foreground_wait(const struct ab_process *controller, struct ab_error *error)
{
    sigset_t wanted;
    int code = 0;
    sigemptyset(&wanted);
    sigaddset(&wanted, SIGTERM);
    sigaddset(&wanted, SIGINT);
    const struct timespec tick = {.tv_nsec = 100000000};
    while (!ab_process_reap(controller, &code)) {
        int got = sigtimedwait(&wanted, NULL, &tick);
        if (got > 0) {
            ab_process_signal(controller, SIGTERM);
        }
    }
    return code == 0 ? AB_OK : ab_error_set(error, AB_UNAVAILABLE, "the controller ended with code %d", code);
}

static ab_err up_start(struct ab_up *up, struct ab_error *error)
{
    struct ab_up_node node = {.directory = up->directory};
    bool is_foreground = ab_arguments_has(up->arguments, "--foreground");
    sigset_t wanted;
    sigemptyset(&wanted);
    sigaddset(&wanted, SIGTERM);
    sigaddset(&wanted, SIGINT);
    if (is_foreground) {
        (void)sigprocmask(SIG_BLOCK, &wanted, NULL); /* before the start, so that none is lost */
    }
    AB_TRY(ab_up_node_start(&node, is_foreground, error));
    ab_err err = ready_wait(&node, error);
    if (err != AB_OK) {
        ab_up_node_end(&node);
        return err;
    }
    up_say(up);
    return is_foreground ? foreground_wait(&node.controller, error) : AB_OK;
}

/* The only node of this machine; or one whose configuration names others, elsewhere, and their coordination service. */
static ab_err up_single_run(struct ab_up *up, struct ab_error *error)
{
    AB_TRY(up_prepare(up, error));
    return up_start(up, error);
}

static ab_err up_run(const struct ab_arguments *arguments, struct ab_error *error)
{
    struct ab_up up = {.arguments = arguments};
    AB_TRY(ab_command_directory(arguments, &up.directory, error));
    ab_err err = ab_up_catalog_load(&up, error);
    if (err == AB_OK) {
        err = ab_up_nodes_are_wanted(&up) ? ab_up_nodes_run(&up, error) : up_single_run(&up, error);
    }
    ab_buffer_fini(&up.catalog_text);
    ab_delete(up.directory);
    return err;
}

static const struct ab_option up_options[] = {
    AB_OPTION_DATA,
    {"--catalog", "FILE", "streams and views in SQL; needed for a new cluster"},
    {"--partitions", "P", "number of partitions of a new cluster (8)"},
    {"--workers", "N", "ingestion threads (one a processor)"},
    {"--listen", "HOST:PORT", "where queries are answered (127.0.0.1, any free port)"},
    {"--memory", "BYTES", "budget for speed, serving and batch together, e.g. 2G"},
    {"--nodes", "N", "a new cluster of N nodes on this machine (3 to 5), with a ZooKeeper of its own"},
    {"--zookeepers", "N", "ZooKeeper servers of a new cluster of several nodes: 1 or 3 (1)"},
    {"--node", "K", "start only node K of the several ones"},
    {"--foreground", NULL, "stay in the foreground until SIGTERM or `anabranch down`"},
    {0},
};

const struct ab_command ab_command_up = {
    .name = "up",
    .words = "",
    .summary = "start a cluster on this machine, making it first where there is none",
    .options = up_options,
    .run = up_run,
};
