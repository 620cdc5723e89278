#include "cluster/command/command.h"
#include "cluster/command/log_tail.h"
#include "cluster/command/session.h"
#include "cluster/layout.h"
#include "common/base/decimal.h"
#include "common/base/file.h"
#include "common/base/time.h"
#include "common/catalog/catalog.h"
#include "common/coordination/coordination.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define READY_PATIENCE_US (10 * AB_US_PER_MINUTE)
#define READY_POLL_US (20 * AB_US_PER_MS)
#define READY_SAY_US (5 * AB_US_PER_SECOND)
#define CRASHES_PATIENCE 3u
#define PING_TIMEOUT_MS 1000
#define LOCK_PATIENCE_US (5 * AB_US_PER_SECOND)
#define LOCK_PAUSE_US (50 * AB_US_PER_MS)

/* What the command line asks for. */
struct up {
    const struct ab_arguments *arguments; /* borrowed */
    char *directory;                      /* owned */
    struct ab_cluster_identity identity;
    struct ab_buffer catalog_text; /* empty when no --catalog */
    struct ab_config config;
    struct ab_log_tails tails; /* where the logs ended before */
};

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

/* Takes the options over into the config; *is_changed when one was given. */
static ab_err config_fill(struct up *up, bool *is_changed, struct ab_error *error)
{
    int64_t workers = 0;
    const char *listen = ab_arguments_value(up->arguments, "--listen");
    const char *memory = ab_arguments_value(up->arguments, "--memory");
    AB_TRY(ab_arguments_number(up->arguments, "--workers", 1, 256, 0, &workers, error));
    *is_changed = workers > 0 || listen != NULL || memory != NULL;
    if (workers > 0) {
        up->config.workers = (uint32_t)workers;
    }
    if (memory != NULL) {
        uint64_t bytes = 0;
        if (ab_arguments_size_parse(memory, &bytes) != AB_OK || bytes < (256u << 20)) {
            return ab_error_set(error, AB_USAGE, "--memory takes a size of at least 256M, not '%s'", memory);
        }
        up->config.memory_bytes.speed = bytes / 2;
        up->config.memory_bytes.serving = bytes / 4;
        up->config.memory_bytes.batch = bytes / 4;
    }
    return listen == NULL ? AB_OK
                          : listen_set(listen, up->config.listen.serving, sizeof up->config.listen.serving, error);
}

/* The catalog must be good before anything is made. */
static ab_err catalog_load(struct up *up, struct ab_error *error)
{
    const char *path = ab_arguments_value(up->arguments, "--catalog");
    struct ab_catalog *catalog = NULL;
    if (path == NULL) {
        return AB_OK;
    }
    AB_TRY(ab_command_file(path, AB_CATALOG_TEXT_BYTES_MAX, &up->catalog_text, error));
    ab_err err = ab_catalog_parse(ab_buffer_view(&up->catalog_text), &catalog, error);
    ab_catalog_release(catalog);
    return err == AB_OK ? AB_OK : ab_error_wrap(error, err, "%s", path);
}

/* Finds the cluster of the directory, or makes a new one. */
static ab_err identity_settle(struct up *up, struct ab_error *error)
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

static ab_err config_settle(struct up *up, struct ab_error *error)
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
    AB_TRY(config_fill(up, &is_changed, error));
    AB_TRY(ab_config_validate(&up->config, error));
    return ab_layout_complete(up->directory, &up->config, is_changed || has_moved, error);
}

static ab_err catalog_create(struct up *up, struct ab_coordination *coordination, struct ab_error *error)
{
    struct ab_catalog *catalog = NULL;
    struct ab_buffer encoded;
    if (up->catalog_text.bytes == 0) {
        return ab_error_set(error, AB_USAGE, "the cluster has no catalog yet: give --catalog FILE");
    }
    AB_TRY(ab_catalog_evolve(ab_buffer_view(&up->catalog_text), NULL, &catalog, NULL, error));
    catalog->version = 1;
    ab_buffer_init(&encoded, NULL, 0);
    ab_catalog_encode(catalog, &encoded);
    const struct ab_coordination_op ops[] = {
        {.kind = AB_COORDINATION_CREATE, .path = "/catalogs"},
        {.kind = AB_COORDINATION_CREATE, .path = "/catalogs/1", .value = ab_buffer_view(&encoded)},
        {.kind = AB_COORDINATION_CREATE, .path = "/catalog", .value = ab_buffer_view(&encoded)},
    };
    ab_err err = ab_coordination_multi(coordination, ops, 3, NULL, error);
    ab_buffer_fini(&encoded);
    ab_catalog_release(catalog);
    return err;
}

/* The same catalog again changes nothing; another one is not for `up` to apply. */
static ab_err catalog_compare(const struct up *up, struct ab_bytes encoded, struct ab_error *error)
{
    struct ab_catalog *current = NULL;
    struct ab_catalog *next = NULL;
    struct ab_buffer changes;
    if (up->catalog_text.bytes == 0) {
        return AB_OK;
    }
    AB_TRY(ab_catalog_decode(encoded, &current, error));
    ab_buffer_init(&changes, NULL, 0);
    ab_err err = ab_catalog_evolve(ab_buffer_view(&up->catalog_text), current, &next, &changes, error);
    if (err == AB_OK && changes.bytes > 0) {
        err = ab_error_set(error, AB_UNSUPPORTED,
            "the catalog differs from the one in force:\n%sstart without --catalog, then `anabranch apply %s --data "
            "%s`",
            ab_buffer_text(&changes), ab_arguments_value(up->arguments, "--catalog"), up->directory);
    }
    ab_catalog_release(next);
    ab_catalog_release(current);
    ab_buffer_fini(&changes);
    return err;
}

static ab_err catalog_settle(struct up *up, struct ab_error *error)
{
    struct ab_coordination *coordination = NULL;
    struct ab_buffer encoded;
    char *address = ab_new_format("local:%s/coordination", up->directory);
    ab_err err = ab_coordination_open(address, &coordination, error);
    ab_delete(address);
    AB_TRY(err);
    ab_buffer_init(&encoded, NULL, AB_COORDINATION_VALUE_BYTES_MAX);
    err = ab_coordination_get(coordination, "/catalog", &encoded, NULL, NULL);
    if (err == AB_NOT_FOUND) {
        err = catalog_create(up, coordination, error);
    } else if (err == AB_OK) {
        err = catalog_compare(up, ab_buffer_view(&encoded), error);
    } else {
        err = ab_error_set(error, err, "the catalog in %s/coordination cannot be read", up->directory);
    }
    ab_buffer_fini(&encoded);
    ab_coordination_close(coordination);
    return err;
}

/* A killed controller holds its lock until the system has taken it down: a holder that is not known to be alive is
 * waited for. */
static ab_err lock_take(const struct up *up, const char *path, int *lock_fd, struct ab_error *error)
{
    int64_t until_us = ab_time_monotonic_us() + LOCK_PATIENCE_US;
    for (;;) {
        struct ab_running running;
        ab_err err = ab_file_lock(path, lock_fd, error);
        if (err != AB_BUSY || ab_running_read(up->directory, &running) || ab_time_monotonic_us() >= until_us) {
            return err;
        }
        *error = (struct ab_error){0};
        ab_time_sleep_us(LOCK_PAUSE_US);
    }
}

/* Everything that must be right before a process is started, under the controller's lock. */
static ab_err up_prepare(struct up *up, struct ab_error *error)
{
    int lock_fd = -1;
    struct ab_running running;
    AB_TRY(catalog_load(up, error));
    AB_TRY(identity_settle(up, error));
    char *run = ab_layout_path(up->directory, "run");
    char *path = ab_layout_path(up->directory, "run/controller.lock");
    ab_err err = ab_file_make_directory(run, 0700, error);
    if (err == AB_OK) {
        err = lock_take(up, path, &lock_fd, error);
    }
    ab_delete(path);
    ab_delete(run);
    if (err == AB_BUSY) {
        *error = (struct ab_error){0};
        bool is_known = ab_running_read(up->directory, &running);
        return ab_error_set(error, AB_BUSY,
            "a cluster is running in %s already (controller pid %" PRId64 "); see `anabranch status`", up->directory,
            is_known ? running.controller.pid : 0);
    }
    if (err == AB_OK) {
        err = config_settle(up, error);
    }
    if (err == AB_OK) {
        err = catalog_settle(up, error);
    }
    ab_file_close(&lock_fd);
    return err;
}

static ab_err controller_start(struct up *up, bool is_foreground, struct ab_process *process, struct ab_error *error)
{
    int fd = -1;
    char *folder = ab_process_program_directory();
    char *program = ab_new_format("%s/anabranch-controller", folder);
    char *log = ab_layout_path(up->directory, "logs/controller.log");
    const char *arguments[] = {program, "--data", up->directory, NULL};
    ab_err err = is_foreground ? AB_OK : ab_file_open(log, O_WRONLY | O_CREAT | O_APPEND, 0600, &fd, error);
    if (err == AB_OK) {
        const char *const foreground[] = {"ANABRANCH_FOREGROUND=1", NULL}; /* it dies with us then */
        const struct ab_process_options options = {.arguments = arguments,
            .output_fd = fd,
            .is_session = !is_foreground,
            .environment = is_foreground ? foreground : NULL};
        err = ab_process_start(&options, process, error);
    }
    ab_file_close(&fd);
    ab_delete(log);
    ab_delete(program);
    ab_delete(folder);
    return err;
}

static bool daemons_answer(struct ab_session *session)
{
    struct ab_error ignored = {0};
    return ab_session_call(session, "controller", AB_VERB_PING, NULL, PING_TIMEOUT_MS, NULL, &ignored) == AB_OK &&
           ab_session_call(session, "speed", AB_VERB_PING, NULL, PING_TIMEOUT_MS, NULL, &ignored) == AB_OK &&
           ab_session_call(session, "serving", AB_VERB_PING, NULL, PING_TIMEOUT_MS, NULL, &ignored) == AB_OK;
}

/* One look: AB_OK when all answer, AB_AGAIN while they start. */
static ab_err ready_look(struct up *up, const struct ab_process *controller, struct ab_error *error)
{
    struct ab_running running;
    struct ab_session session;
    int code = 0;
    if (ab_process_reap(controller, &code)) {
        ab_log_tail_print(&up->tails, "controller");
        return ab_error_set(error, AB_UNAVAILABLE, "the controller ended with code %d", code);
    }
    if (!ab_running_read(up->directory, &running) || running.controller.pid != controller->pid) {
        return AB_AGAIN;
    }
    const struct ab_running_daemon *daemons[] = {&running.speed, &running.serving};
    static const char *const names[] = {"speed", "serving"};
    for (int i = 0; i < 2; i++) {
        if (daemons[i]->crashes_count >= CRASHES_PATIENCE) {
            ab_log_tail_print(&up->tails, names[i]);
            return ab_error_set(
                error, AB_UNAVAILABLE, "the %s daemon keeps ending at its start; its last lines are above", names[i]);
        }
    }
    if (!running.speed.is_answering || !running.serving.is_answering) {
        return AB_AGAIN;
    }
    ab_err err = ab_session_open(up->directory, "operator", &session, error);
    if (err == AB_OK) {
        err = daemons_answer(&session) ? AB_OK : AB_AGAIN;
    }
    ab_session_close(&session);
    return err;
}

static ab_err ready_wait(struct up *up, const struct ab_process *controller, struct ab_error *error)
{
    int64_t started = ab_time_monotonic_us();
    int64_t said = started;
    for (;;) {
        ab_err err = ready_look(up, controller, error);
        if (err != AB_AGAIN) {
            return err;
        }
        int64_t now = ab_time_monotonic_us();
        if (now - started > READY_PATIENCE_US) {
            ab_log_tail_print(&up->tails, "speed");
            return ab_error_set(error, AB_TIMEOUT, "the cluster does not answer after ten minutes");
        }
        if (now - said > READY_SAY_US) {
            said = now;
            ab_command_say(
                "still starting (%" PRId64 " s): recovering what the log holds", (now - started) / AB_US_PER_SECOND);
        }
        ab_time_sleep_us(READY_POLL_US);
    }
}

static void controller_end(const struct ab_process *controller)
{
    int code = 0;
    int64_t until = ab_time_monotonic_us() + 30 * AB_US_PER_SECOND;
    ab_process_signal(controller, SIGTERM);
    while (!ab_process_reap(controller, &code) && ab_process_is_alive(controller)) {
        if (ab_time_monotonic_us() > until) {
            ab_process_signal(controller, SIGKILL);
        }
        ab_time_sleep_us(READY_POLL_US);
    }
}

static void up_say(const struct up *up)
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

static ab_err up_start(struct up *up, struct ab_error *error)
{
    struct ab_process controller = {0};
    bool is_foreground = ab_arguments_has(up->arguments, "--foreground");
    sigset_t wanted;
    sigemptyset(&wanted);
    sigaddset(&wanted, SIGTERM);
    sigaddset(&wanted, SIGINT);
    if (is_foreground) {
        (void)sigprocmask(SIG_BLOCK, &wanted, NULL); /* before the start, so that none is lost */
    }
    ab_log_tails_note(&up->tails, up->directory);
    AB_TRY(controller_start(up, is_foreground, &controller, error));
    ab_err err = ready_wait(up, &controller, error);
    if (err != AB_OK) {
        controller_end(&controller);
        return err;
    }
    up_say(up);
    return is_foreground ? foreground_wait(&controller, error) : AB_OK;
}

static ab_err up_run(const struct ab_arguments *arguments, struct ab_error *error)
{
    struct up up = {.arguments = arguments};
    AB_TRY(ab_command_directory(arguments, &up.directory, error));
    ab_err err = up_prepare(&up, error);
    if (err == AB_OK) {
        err = up_start(&up, error);
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
