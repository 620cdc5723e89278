#include "cluster/command/session.h"
#include "cluster/command/up.h"
#include "cluster/layout.h"
#include "common/base/file.h"
#include "common/base/time.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>

#define CRASHES_PATIENCE 3u
#define PING_TIMEOUT_MS 1000
#define LOCK_PATIENCE_US (5 * AB_US_PER_SECOND)
#define LOCK_PAUSE_US (50 * AB_US_PER_MS)

/* A killed controller holds its lock until the system has taken it down: a holder that is not known to be alive is
 * waited for. */
static ab_err lock_wait(const char *directory, const char *path, int *lock_fd, struct ab_error *error)
{
    int64_t until_us = ab_time_monotonic_us() + LOCK_PATIENCE_US;
    for (;;) {
        struct ab_running running;
        ab_err err = ab_file_lock(path, lock_fd, error);
        if (err != AB_BUSY || ab_running_read(directory, &running) || ab_time_monotonic_us() >= until_us) {
            return err;
        }
        *error = (struct ab_error){0};
        ab_time_sleep_us(LOCK_PAUSE_US);
    }
}

ab_err ab_up_node_lock(const char *directory, int *lock_fd, struct ab_error *error)
{
    struct ab_running running;
    char *run = ab_layout_path(directory, "run");
    char *path = ab_layout_path(directory, "run/controller.lock");
    ab_err err = ab_file_make_directory(run, 0700, error);
    if (err == AB_OK) {
        err = lock_wait(directory, path, lock_fd, error);
    }
    ab_delete(path);
    ab_delete(run);
    if (err == AB_BUSY) {
        *error = (struct ab_error){0};
        bool is_known = ab_running_read(directory, &running);
        return ab_error_set(error, AB_BUSY,
            "a cluster is running in %s already (controller pid %" PRId64 "); see `anabranch status`", directory,
            is_known ? running.controller.pid : 0);
    }
    return err;
}

ab_err ab_up_node_start(struct ab_up_node *node, bool is_foreground, struct ab_error *error)
{
    int fd = -1;
    ab_log_tails_note(&node->tails, node->directory);
    char *folder = ab_process_program_directory();
    char *program = ab_new_format("%s/anabranch-controller", folder);
    char *log = ab_layout_path(node->directory, "logs/controller.log");
    const char *arguments[] = {program, "--data", node->directory, NULL};
    ab_err err = is_foreground ? AB_OK : ab_file_open(log, O_WRONLY | O_CREAT | O_APPEND, 0600, &fd, error);
    if (err == AB_OK) {
        const char *const foreground[] = {"ANABRANCH_FOREGROUND=1", NULL}; /* it dies with us then */
        const struct ab_process_options options = {.arguments = arguments,
            .output_fd = fd,
            .is_session = !is_foreground,
            .environment = is_foreground ? foreground : NULL};
        err = ab_process_start(&options, &node->controller, error);
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

ab_err ab_up_node_look(const struct ab_up_node *node, struct ab_error *error)
{
    struct ab_running running;
    struct ab_session session;
    int code = 0;
    if (node->controller.pid > 0 && ab_process_reap(&node->controller, &code)) {
        ab_log_tail_print(&node->tails, "controller");
        return ab_error_set(error, AB_UNAVAILABLE, "the controller ended with code %d", code);
    }
    if (!ab_running_read(node->directory, &running) ||
        (node->controller.pid > 0 && running.controller.pid != node->controller.pid)) {
        return AB_AGAIN;
    }
    const struct ab_running_daemon *daemons[] = {&running.speed, &running.serving};
    static const char *const names[] = {"speed", "serving"};
    for (int i = 0; i < 2 && node->controller.pid > 0; i++) {
        if (daemons[i]->crashes_count >= CRASHES_PATIENCE) {
            ab_log_tail_print(&node->tails, names[i]);
            return ab_error_set(
                error, AB_UNAVAILABLE, "the %s daemon keeps ending at its start; its last lines are above", names[i]);
        }
    }
    if (!running.speed.is_answering || !running.serving.is_answering) {
        return AB_AGAIN;
    }
    ab_err err = ab_session_open(node->directory, "operator", &session, error);
    if (err == AB_OK) {
        err = daemons_answer(&session) ? AB_OK : AB_AGAIN;
    }
    ab_session_close(&session);
    return err;
}

void ab_up_node_end(const struct ab_up_node *node)
{
    const struct ab_process *controller = &node->controller;
    int code = 0;
    int64_t until = ab_time_monotonic_us() + 30 * AB_US_PER_SECOND;
    ab_process_signal(controller, SIGTERM);
    while (!ab_process_reap(controller, &code) && ab_process_is_alive(controller)) {
        if (ab_time_monotonic_us() > until) {
            ab_process_signal(controller, SIGKILL);
        }
        ab_time_sleep_us(AB_UP_READY_POLL_US);
    }
}
