#include "cluster/ensemble.h"

#include "cluster/layout.h"
#include "common/base/file.h"
#include "common/base/json.h"
#include "common/base/logging.h"
#include "common/base/time.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define TICK_MS 50
#define STOP_PATIENCE_US (10 * AB_US_PER_SECOND)
#define POLL_US (20 * AB_US_PER_MS)

/* ---- run/zookeeper.json ---- */

static struct ab_json *process_encode(const struct ab_process *process)
{
    struct ab_json *entry = ab_json_object();
    ab_json_set(entry, "pid", ab_json_integer(process->pid));
    ab_json_set_u64(entry, "pid_start_ticks", process->start_ticks);
    return entry;
}

static struct ab_process process_decode(const struct ab_json *entry)
{
    return (struct ab_process){.pid = ab_json_integer_or(ab_json_get(entry, "pid"), 0),
        .start_ticks = ab_json_u64_or(ab_json_get(entry, "pid_start_ticks"), 0)};
}

static void running_write(const struct ab_ensemble *ensemble)
{
    struct ab_error error = {0};
    struct ab_process self = ab_process_self();
    struct ab_json *json = ab_json_object();
    struct ab_json *servers = ab_json_array();
    ab_json_set(json, "supervisor", process_encode(&self));
    for (uint32_t i = 0; i < ensemble->nodes.zookeepers_count; i++) {
        struct ab_json *entry = process_encode(&ensemble->members[i].process);
        ab_json_set(entry, "crashes", ab_json_integer(ensemble->members[i].supervision.crashes_count));
        ab_json_append(servers, entry);
    }
    ab_json_set(json, "servers", servers);
    char *path = ab_layout_path(ensemble->directory, "run/zookeeper.json");
    if (ab_layout_json_write(path, json, &error) != AB_OK) {
        ab_error_log("servers not recorded", "%s", error.text);
    }
    ab_delete(path);
    ab_json_destroy(json);
}

bool ab_ensemble_running_read(const char *directory, struct ab_ensemble_running *running)
{
    struct ab_json *json = NULL;
    char *path = ab_layout_path(directory, "run/zookeeper.json");
    ab_err err = ab_layout_json_read(path, &json, NULL);
    ab_delete(path);
    *running = (struct ab_ensemble_running){0};
    if (err != AB_OK) {
        return false;
    }
    const struct ab_json *servers = ab_json_get(json, "servers");
    running->supervisor = process_decode(ab_json_get(json, "supervisor"));
    for (size_t i = 0; i < ab_json_count(servers) && i < AB_ZOOKEEPER_SERVERS_MAX; i++) {
        running->servers[running->servers_count++] = process_decode(ab_json_at(servers, i));
        running->crashes_count += ab_json_u64_or(ab_json_get(ab_json_at(servers, i), "crashes"), 0);
    }
    ab_json_destroy(json);
    return ab_process_is_alive(&running->supervisor);
}

static bool is_any_server_alive(const struct ab_ensemble_running *running)
{
    for (uint32_t i = 0; i < running->servers_count; i++) {
        if (ab_process_is_alive(&running->servers[i])) {
            return true;
        }
    }
    return false;
}

bool ab_ensemble_is_any_alive(const struct ab_ensemble_running *running)
{
    return ab_process_is_alive(&running->supervisor) || is_any_server_alive(running);
}

static void servers_signal(const struct ab_ensemble_running *running, int signal_number)
{
    for (uint32_t i = 0; i < running->servers_count; i++) {
        ab_process_signal(&running->servers[i], signal_number);
    }
}

void ab_ensemble_end(const struct ab_ensemble_running *running, int64_t patience_us)
{
    int64_t until = ab_time_monotonic_us() + patience_us;
    if (ab_process_is_alive(&running->supervisor)) {
        ab_process_signal(&running->supervisor, SIGTERM);
    } else {
        servers_signal(running, SIGTERM);
    }
    while (ab_ensemble_is_any_alive(running)) {
        if (ab_time_monotonic_us() > until) {
            ab_process_signal(&running->supervisor, SIGKILL);
            servers_signal(running, SIGKILL);
        }
        ab_time_sleep_us(POLL_US);
    }
}

/* ---- the process ---- */

static ab_err lock_take(struct ab_ensemble *ensemble, struct ab_error *error)
{
    char *path = ab_layout_path(ensemble->directory, "run/zookeeper.lock");
    ab_err err = ab_file_lock(path, &ensemble->lock_fd, error);
    ensemble->has_lock = err == AB_OK;
    ab_delete(path);
    return err == AB_BUSY ? ab_error_wrap(error, err, "another process keeps the servers of %s", ensemble->directory)
                          : err;
}

ab_err ab_ensemble_open(const char *directory, struct ab_ensemble *ensemble, struct ab_error *error)
{
    struct ab_ensemble_running left;
    *ensemble = (struct ab_ensemble){.directory = ab_new_text(directory)};
    AB_TRY(ab_zookeeper_check(error));
    AB_TRY(ab_nodes_read(directory, &ensemble->nodes, error));
    AB_TRY(lock_take(ensemble, error));
    ab_nodes_servers(directory, &ensemble->nodes, ensemble->servers);
    /* We hold the lock: the process that is recorded is gone, or was another's in an earlier life of the machine. */
    (void)ab_ensemble_running_read(directory, &left);
    left.supervisor = (struct ab_process){0};
    if (ab_ensemble_is_any_alive(&left)) {
        ab_warn("servers were left", "they are ended and started anew");
        ab_ensemble_end(&left, STOP_PATIENCE_US);
    }
    return AB_OK;
}

void ab_ensemble_close(struct ab_ensemble *ensemble)
{
    ab_nodes_servers_free(ensemble->servers);
    if (ensemble->has_lock) {
        ab_file_close(&ensemble->lock_fd);
    }
    ab_delete(ensemble->directory);
    *ensemble = (struct ab_ensemble){0};
}

static void log_put_aside(const char *path)
{
    int fd = -1;
    uint64_t bytes = 0;
    struct ab_error error = {0};
    char *old = ab_new_format("%s.1", path);
    if (ab_file_open(path, O_RDONLY, 0, &fd, NULL) == AB_OK && ab_file_bytes(fd, &bytes) == AB_OK &&
        bytes > AB_ENSEMBLE_LOG_BYTES_MAX && ab_file_rename(path, old, &error) != AB_OK) {
        ab_warn("log not put aside", "%s", error.text);
    }
    ab_file_close(&fd);
    ab_delete(old);
}

static ab_err server_spawn(struct ab_ensemble *ensemble, uint32_t index, struct ab_error *error)
{
    int fd = -1;
    char *log = ab_layout_path(ensemble->directory, "logs/zookeeper-%u.log", index + 1);
    log_put_aside(log);
    ab_err err = ab_zookeeper_prepare(ensemble->servers, ensemble->nodes.zookeepers_count, index, error);
    if (err == AB_OK) {
        err = ab_file_open(log, O_WRONLY | O_CREAT | O_APPEND, 0600, &fd, error);
    }
    if (err == AB_OK) {
        char **command = ab_zookeeper_command(ensemble->servers[index].directory);
        const struct ab_process_options options = {
            .arguments = (const char *const *)command, .output_fd = fd, .is_group = true};
        err = ab_process_start(&options, &ensemble->members[index].process, error);
        ab_zookeeper_command_free(command);
    }
    ab_file_close(&fd);
    ab_delete(log);
    return err;
}

static void server_start(struct ab_ensemble *ensemble, uint32_t index)
{
    struct ab_error error = {0};
    struct ab_ensemble_member *member = &ensemble->members[index];
    int64_t now = ab_time_monotonic_us();
    ab_supervision_started(&member->supervision, now);
    if (server_spawn(ensemble, index, &error) == AB_OK) {
        ab_info("server started", "%u, port %u, pid %" PRId64, index + 1, ensemble->servers[index].client_port,
            member->process.pid);
    } else {
        ab_error_log("server not started", "%s", error.text);
        (void)ab_supervision_ended(&member->supervision, now);
    }
}

/* True when it has ended since the last look. */
static bool server_reap(struct ab_ensemble *ensemble, uint32_t index)
{
    int code = 0;
    struct ab_ensemble_member *member = &ensemble->members[index];
    if (!member->supervision.is_running || !ab_process_reap(&member->process, &code)) {
        return false;
    }
    bool is_loop = ab_supervision_ended(&member->supervision, ab_time_monotonic_us());
    member->process = (struct ab_process){0};
    ab_warn("server ended", "%u, code %d; next start in %" PRId64 " ms", index + 1, code,
        member->supervision.wait_us / AB_US_PER_MS);
    if (is_loop) {
        ab_error_log("server in a crash loop", "%u ended %d times within a minute; see logs/zookeeper-%u.log",
            index + 1, AB_SUPERVISION_CRASHES, index + 1);
    }
    return true;
}

static void servers_tick(struct ab_ensemble *ensemble)
{
    bool is_changed = false;
    for (uint32_t i = 0; i < ensemble->nodes.zookeepers_count; i++) {
        is_changed = server_reap(ensemble, i) || is_changed;
        if (ab_supervision_is_due(&ensemble->members[i].supervision, ab_time_monotonic_us())) {
            server_start(ensemble, i);
            is_changed = true;
        }
    }
    if (is_changed) {
        running_write(ensemble);
    }
}

/* Our children: they are reaped here, where ab_ensemble_end would see them as dead already. */
static void servers_stop(struct ab_ensemble *ensemble)
{
    int64_t until = ab_time_monotonic_us() + STOP_PATIENCE_US;
    int code = 0;
    for (uint32_t i = 0; i < ensemble->nodes.zookeepers_count; i++) {
        ab_process_signal(&ensemble->members[i].process, SIGTERM);
    }
    for (uint32_t i = 0; i < ensemble->nodes.zookeepers_count; i++) {
        struct ab_process *process = &ensemble->members[i].process;
        while (process->pid > 0 && !ab_process_reap(process, &code)) {
            if (ab_time_monotonic_us() > until) {
                ab_process_signal(process, SIGKILL);
            }
            ab_time_sleep_us(POLL_US);
        }
    }
    char *path = ab_layout_path(ensemble->directory, "run/zookeeper.json");
    (void)unlink(path); /* absent is fine */
    ab_delete(path);
}

ab_err ab_ensemble_run(struct ab_ensemble *ensemble, struct ab_error *error)
{
    sigset_t wanted;
    struct signalfd_siginfo got;
    sigemptyset(&wanted);
    sigaddset(&wanted, SIGTERM);
    sigaddset(&wanted, SIGINT);
    (void)sigprocmask(SIG_BLOCK, &wanted, NULL);
    int signals = signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK);
    if (signals < 0) {
        return ab_error_set(error, AB_IO, "signalfd: %s", strerror(errno));
    }
    struct pollfd waited = {.fd = signals, .events = POLLIN};
    do {
        servers_tick(ensemble);
        (void)poll(&waited, 1, TICK_MS); /* an interrupted wait is a short one */
    } while (read(signals, &got, sizeof got) != (ssize_t)sizeof got);
    ab_info("signal", "%u", got.ssi_signo);
    servers_stop(ensemble);
    ab_file_close(&signals);
    return AB_OK;
}
