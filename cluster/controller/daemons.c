#include "cluster/controller/controller.h"

#include "cluster/layout.h"
#include "common/base/file.h"
#include "common/base/logging.h"
#include "common/crypto/crypto.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#define STOP_PATIENCE_US (60 * AB_US_PER_SECOND)
#define LEFT_OVER_PATIENCE_US (10 * AB_US_PER_SECOND)

static const char *const daemon_names[AB_DAEMONS_COUNT] = {
    [AB_DAEMON_SERVING] = "serving",
    [AB_DAEMON_SPEED] = "speed",
};

static void info_remove(const struct ab_controller *controller, const char *name)
{
    char *path = ab_layout_path(controller->node.directory, "run/%s.json", name);
    (void)unlink(path); /* absent is fine */
    ab_delete(path);
}

/* Ends a daemon of an earlier controller: it dies with that one, but may not be gone yet. */
static void left_over_end(const struct ab_controller *controller, const char *name)
{
    struct ab_node_endpoint endpoint = {0};
    if (ab_node_endpoint_read(controller->node.directory, name, &endpoint, NULL) == AB_OK) {
        char *path = ab_layout_path(controller->node.directory, "run/%s.json", name);
        struct ab_process process = {.pid = endpoint.pid};
        char *program = ab_new_format("/proc/%" PRId64 "/comm", endpoint.pid);
        struct ab_buffer comm;
        ab_buffer_init(&comm, NULL, 64);
        /* The system keeps 15 characters of a program's name. */
        char *wanted = ab_new_format("anabranch-%s", name);
        bool is_ours = ab_process_start_ticks(endpoint.pid, &process.start_ticks) &&
                       ab_file_read_all(program, &comm, NULL) == AB_OK &&
                       strncmp(ab_buffer_text(&comm), wanted, 15) == 0;
        int64_t until = ab_time_monotonic_us() + LEFT_OVER_PATIENCE_US;
        while (is_ours && ab_process_is_alive(&process) && ab_time_monotonic_us() < until) {
            ab_process_signal(&process, SIGTERM);
            ab_time_sleep_us(50 * AB_US_PER_MS);
        }
        if (is_ours) {
            ab_process_signal(&process, SIGKILL);
        }
        ab_buffer_fini(&comm);
        ab_delete(wanted);
        ab_delete(program);
        ab_delete(path);
    }
    info_remove(controller, name);
}

void ab_daemons_open(struct ab_controller *controller)
{
    for (int i = 0; i < AB_DAEMONS_COUNT; i++) {
        controller->daemons[i].name = daemon_names[i];
        left_over_end(controller, daemon_names[i]);
    }
}

/* Keeps the log below its bound: what was written is copied aside, the file is emptied; the daemon's descriptor stays
 * good, for it appends. */
static void log_rotate(const struct ab_controller *controller, const char *name)
{
    char *path = ab_layout_path(controller->node.directory, "logs/%s.log", name);
    char *old = ab_layout_path(controller->node.directory, "logs/%s.log.1", name);
    int fd = -1;
    uint64_t bytes = 0;
    if (ab_file_open(path, O_RDWR, 0600, &fd, NULL) == AB_OK && ab_file_bytes(fd, &bytes) == AB_OK &&
        bytes > AB_CONTROLLER_LOG_BYTES_MAX) {
        struct ab_buffer content;
        ab_buffer_init(&content, NULL, 4 * (size_t)AB_CONTROLLER_LOG_BYTES_MAX);
        if (ab_file_read_all(path, &content, NULL) == AB_OK &&
            ab_file_replace(old, ab_buffer_view(&content), 0600, NULL) == AB_OK) {
            if (ftruncate(fd, 0) != 0) {
                ab_warn("log not rotated", "%s", path);
            }
        }
        ab_buffer_fini(&content);
    }
    ab_file_close(&fd);
    ab_delete(old);
    ab_delete(path);
}

static ab_err daemon_spawn(
    const struct ab_controller *controller, const char *name, struct ab_process *process, struct ab_error *error)
{
    char *program = ab_new_format("%s/anabranch-%s", controller->program_directory, name);
    char *log = ab_layout_path(controller->node.directory, "logs/%s.log", name);
    const char *arguments[] = {program, "--data", controller->node.directory, NULL};
    int fd = -1;
    ab_err err = ab_file_open(log, O_WRONLY | O_CREAT | O_APPEND, 0600, &fd, error);
    if (err == AB_OK) {
        const struct ab_process_options options = {.arguments = arguments, .output_fd = fd};
        err = ab_process_start(&options, process, error);
    }
    ab_file_close(&fd);
    ab_delete(log);
    ab_delete(program);
    return err;
}

static void daemon_start(struct ab_controller *controller, struct ab_daemon *daemon)
{
    struct ab_error error = {0};
    struct ab_process process = {0};
    info_remove(controller, daemon->name);
    ab_err err = daemon_spawn(controller, daemon->name, &process, &error);
    int64_t now = ab_time_monotonic_us();
    ab_lock_take(&controller->lock);
    ab_supervision_started(&daemon->supervision, now);
    daemon->process = process;
    daemon->has_endpoint = false;
    daemon->started_us = ab_time_now();
    if (err != AB_OK) {
        (void)ab_supervision_ended(&daemon->supervision, now);
        daemon->last_code = 127;
    }
    controller->is_endpoints_changed = true;
    ab_lock_give(&controller->lock);
    if (err == AB_OK) {
        ab_info("daemon started", "%s, pid %" PRId64, daemon->name, process.pid);
    } else {
        ab_error_log("daemon not started", "%s", error.text);
    }
}

/* Others need not wait until the session of a process has expired that is known to be dead. */
static void registration_release(const struct ab_controller *controller, const struct ab_daemon *daemon)
{
    if (controller->acting_loop != NULL && daemon->has_endpoint &&
        !ab_hash128_equal(daemon->endpoint.incarnation, (struct ab_hash128){0})) {
        ab_acting_loop_release(controller->acting_loop, daemon->endpoint.incarnation);
    }
}

static void daemon_reap(struct ab_controller *controller, struct ab_daemon *daemon)
{
    int code = 0;
    if (!daemon->supervision.is_running || !ab_process_reap(&daemon->process, &code)) {
        return;
    }
    ab_lock_take(&controller->lock);
    bool is_loop = ab_supervision_ended(&daemon->supervision, ab_time_monotonic_us());
    daemon->last_code = code;
    daemon->process = (struct ab_process){0};
    controller->is_endpoints_changed = true;
    ab_lock_give(&controller->lock);
    registration_release(controller, daemon);
    info_remove(controller, daemon->name); /* nobody shall ask there */
    if (atomic_load(&controller->is_stopping)) {
        return;
    }
    ab_warn("daemon ended", "%s, code %d; next start in %" PRId64 " ms", daemon->name, code,
        daemon->supervision.wait_us / AB_US_PER_MS);
    if (is_loop) {
        ab_error_log("daemon in a crash loop", "%s ended %d times within a minute; see logs/%s.log", daemon->name,
            AB_SUPERVISION_CRASHES, daemon->name);
    }
}

/* Takes in where a daemon says that it answers. */
static void daemon_endpoint(struct ab_controller *controller, struct ab_daemon *daemon)
{
    struct ab_node_endpoint endpoint = {0};
    if (!daemon->supervision.is_running || daemon->has_endpoint ||
        ab_node_endpoint_read(controller->node.directory, daemon->name, &endpoint, NULL) != AB_OK ||
        endpoint.pid != daemon->process.pid) {
        return;
    }
    ab_lock_take(&controller->lock);
    daemon->endpoint = endpoint;
    daemon->has_endpoint = true;
    controller->is_endpoints_changed = true;
    ab_lock_give(&controller->lock);
    ab_info("daemon answers", "%s at %s", daemon->name, endpoint.address);
}

static struct ab_json *endpoint_encode(const struct ab_node_endpoint *endpoint, const struct ab_process *process)
{
    char key[2 * AB_CRYPTO_KEY_BYTES + 1];
    struct ab_json *entry = ab_json_object();
    ab_crypto_key_format(endpoint->public_key, key);
    ab_json_set(entry, "pid", ab_json_integer(process->pid));
    ab_json_set_u64(entry, "pid_start_ticks", process->start_ticks);
    ab_json_set(entry, "address", ab_json_text(endpoint->address));
    ab_json_set(entry, "public_key", ab_json_text(key));
    return entry;
}

static void endpoints_write(struct ab_controller *controller)
{
    struct ab_json *all = ab_json_object();
    struct ab_process self = ab_process_self();
    struct ab_node_endpoint own = {0};
    memcpy(own.public_key, controller->node.keys.public_key, sizeof own.public_key);
    (void)snprintf(own.address, sizeof own.address, "%s", ab_server_address(controller->server));
    ab_json_set(all, "controller", endpoint_encode(&own, &self));
    ab_lock_take(&controller->lock);
    controller->is_endpoints_changed = false;
    for (int i = 0; i < AB_DAEMONS_COUNT; i++) {
        const struct ab_daemon *daemon = &controller->daemons[i];
        /* The last known address stays while a daemon is started again: whoever asks there waits and tries again. */
        struct ab_json *entry = endpoint_encode(&daemon->endpoint, &daemon->process);
        ab_json_set(entry, "crashes", ab_json_integer(daemon->supervision.crashes_count));
        ab_json_set(entry, "answers", ab_json_boolean(daemon->has_endpoint && daemon->supervision.is_running));
        ab_json_set(all, daemon->name, entry);
    }
    ab_lock_give(&controller->lock);
    struct ab_error error = {0};
    char *path = ab_layout_path(controller->node.directory, "run/endpoints.json");
    if (ab_layout_json_write(path, all, &error) != AB_OK) {
        ab_error_log("endpoints not written", "%s", error.text);
        ab_lock_take(&controller->lock);
        controller->is_endpoints_changed = true; /* tried again at the next tick */
        ab_lock_give(&controller->lock);
    }
    ab_delete(path);
    ab_json_destroy(all);
}

void ab_daemons_tick(struct ab_controller *controller)
{
    int64_t now = ab_time_monotonic_us();
    /* Speed first: serving asks it as soon as it answers. */
    for (int i = AB_DAEMONS_COUNT - 1; i >= 0; i--) {
        struct ab_daemon *daemon = &controller->daemons[i];
        daemon_reap(controller, daemon);
        if (ab_supervision_is_due(&daemon->supervision, now) && !atomic_load(&controller->is_stopping)) {
            log_rotate(controller, daemon->name);
            daemon_start(controller, daemon);
        }
        daemon_endpoint(controller, daemon);
    }
    static const int64_t rotate_every_us = 10 * AB_US_PER_SECOND;
    if (now / rotate_every_us != (now - AB_CONTROLLER_TICK_US) / rotate_every_us) {
        for (int i = 0; i < AB_DAEMONS_COUNT; i++) {
            log_rotate(controller, controller->daemons[i].name);
        }
        log_rotate(controller, "controller");
    }
    if (controller->is_endpoints_changed) {
        endpoints_write(controller);
    }
}

void ab_daemons_stop(struct ab_controller *controller)
{
    for (int i = 0; i < AB_DAEMONS_COUNT; i++) {
        struct ab_daemon *daemon = &controller->daemons[i];
        int64_t until = ab_time_monotonic_us() + STOP_PATIENCE_US;
        if (daemon->supervision.is_running) {
            ab_process_signal(&daemon->process, SIGTERM);
        }
        while (daemon->supervision.is_running && ab_time_monotonic_us() < until) {
            daemon_reap(controller, daemon);
            ab_time_sleep_us(5 * AB_US_PER_MS);
        }
        if (daemon->supervision.is_running) {
            ab_error_log(
                "daemon did not stop in time", "%s is killed; its log repairs what is unfinished", daemon->name);
            ab_process_signal(&daemon->process, SIGKILL);
        }
        while (daemon->supervision.is_running) {
            daemon_reap(controller, daemon);
            ab_time_sleep_us(5 * AB_US_PER_MS);
        }
        info_remove(controller, daemon->name);
    }
    char *path = ab_layout_path(controller->node.directory, "run/endpoints.json");
    (void)unlink(path); /* absent is fine */
    ab_delete(path);
    info_remove(controller, "controller");
}
