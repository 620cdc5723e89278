#include "cluster/controller/controller.h"

#include "cluster/controller/catch_up.h"
#include "cluster/layout.h"
#include "common/base/file.h"
#include "common/base/logging.h"
#include "common/base/random.h"
#include "common/crypto/crypto.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define QUEUE_BYTES_MAX (64u << 20)

static ab_err lock_take(struct ab_controller *controller, const char *directory, struct ab_error *error)
{
    char *run = ab_layout_path(directory, "run");
    char *path = ab_layout_path(directory, "run/controller.lock");
    ab_err err = ab_file_make_directory(run, 0700, error);
    if (err == AB_OK) {
        err = ab_file_lock(path, &controller->lock_fd, error);
    }
    if (err == AB_BUSY) {
        err = ab_error_wrap(error, err, "another controller runs in %s", directory);
    }
    ab_delete(path);
    ab_delete(run);
    return err;
}

static ab_err server_open(struct ab_controller *controller, struct ab_error *error)
{
    const struct ab_server_options options = {.address = controller->node.config.listen.controller,
        .on_request = ab_controller_on_request,
        .context = controller};
    AB_TRY(ab_server_open(controller->node.wire, &options, &controller->server, error));
    AB_TRY(ab_server_self_test(controller->server, error));
    return ab_node_endpoint_write(&controller->node, "controller", ab_server_address(controller->server), error);
}

/* Told by the acting loop: requests go where the acting controller is now. */
static void on_acting_change(void *context)
{
    struct ab_controller *controller = context;
    struct ab_acting_controller current;
    bool is_elsewhere = ab_acting_loop_current(controller->acting_loop, &current) &&
                        !ab_hash128_equal(current.incarnation, controller->incarnation);
    if (is_elsewhere) {
        ab_info("acting controller seen", "node %u at %s", current.node, current.address);
    }
    ab_forward_target(controller->forward, is_elsewhere ? &current : NULL);
}

/* What one of several nodes has besides. */
static void acting_open(struct ab_controller *controller)
{
    if (!ab_controller_is_of_several(controller)) {
        return;
    }
    controller->incarnation = (struct ab_hash128){.low = ab_random_id(), .high = ab_random_id()};
    struct ab_acting_loop_options options = {
        .own = {.node = controller->node.config.cluster.node, .incarnation = controller->incarnation},
        .identity = controller->node.identity,
        .config = &controller->node.config,
        .directory = controller->node.directory,
        .on_change = on_acting_change,
        .context = controller};
    memcpy(options.own.public_key, controller->node.keys.public_key, sizeof options.own.public_key);
    controller->forward = ab_forward_create(controller->node.wire);
    controller->acting_loop = ab_acting_loop_create(&options);
}

ab_err ab_controller_open(const char *directory, struct ab_controller *controller, struct ab_error *error)
{
    *controller = (struct ab_controller){.lock_fd = -1};
    ab_lock_init(&controller->lock);
    ab_lock_init(&controller->session_gate.lock);
    controller->started_us = ab_time_now();
    controller->program_directory = ab_process_program_directory();
    AB_TRY(ab_crypto_init(error));
    const struct ab_node_options options = {
        .directory = directory, .role = "node", .name = "controller", .is_server = true};
    AB_TRY(ab_node_open(&options, &controller->node, error));
    AB_TRY(lock_take(controller, directory, error));
    AB_TRY(ab_controller_session_open(controller, error));
    if (ab_controller_is_of_several(controller)) {
        ab_job_leftover_end(controller);
    } else {
        AB_TRY(ab_job_runner_open(controller, error)); /* else when it begins to act */
    }
    ab_daemons_open(controller);
    controller->slow_requests = ab_queue_create(AB_CONTROLLER_QUEUE_MAX, QUEUE_BYTES_MAX);
    controller->quick_requests = ab_queue_create(AB_CONTROLLER_QUEUE_MAX, QUEUE_BYTES_MAX);
    acting_open(controller);
    return server_open(controller, error);
}

static void requests_drop(struct ab_queue *queue)
{
    void *item = NULL;
    while (queue != NULL && ab_queue_take(queue, &item, 1, 0) > 0) {
        ab_request_drop(item);
    }
    ab_queue_destroy(queue);
}

void ab_controller_close(struct ab_controller *controller)
{
    if (controller->server != NULL) {
        ab_server_close(controller->server);
    }
    ab_acting_loop_destroy(controller->acting_loop);
    ab_forward_destroy(controller->forward);
    if (controller->slow_requests != NULL) {
        ab_queue_close(controller->slow_requests);
        ab_queue_close(controller->quick_requests);
    }
    ab_thread_join(&controller->slow_thread);
    ab_thread_join(&controller->quick_thread);
    requests_drop(controller->slow_requests);
    requests_drop(controller->quick_requests);
    ab_jobs_fini(&controller->jobs);
    ab_coordination_close(controller->coordination);
    ab_node_close(&controller->node);
    ab_file_close(&controller->lock_fd);
    ab_delete(controller->program_directory);
    ab_lock_fini(&controller->session_gate.lock);
    ab_lock_fini(&controller->lock);
    *controller = (struct ab_controller){.lock_fd = -1};
}

/* Signals as a descriptor: the main loop reads them, no handler runs. */
static ab_err signals_open(int *fd, struct ab_error *error)
{
    sigset_t wanted;
    sigemptyset(&wanted);
    sigaddset(&wanted, SIGTERM);
    sigaddset(&wanted, SIGINT);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)sigprocmask(SIG_BLOCK, &wanted, NULL);
    *fd = signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK);
    return *fd >= 0 ? AB_OK : ab_error_set(error, AB_IO, "signalfd: %s", strerror(errno));
}

ab_err ab_controller_run(struct ab_controller *controller, struct ab_error *error)
{
    int signals = -1;
    struct signalfd_siginfo got;
    AB_TRY(signals_open(&signals, error));
    ab_thread_start(&controller->slow_thread, "slow", ab_controller_slow_run, controller);
    ab_thread_start(&controller->quick_thread, "quick", ab_controller_quick_run, controller);
    if (controller->acting_loop != NULL) {
        ab_acting_loop_start(controller->acting_loop, ab_server_address(controller->server));
        ab_thread_start(&controller->catch_up_thread, "catch-up", ab_catch_up_run, controller);
    }
    controller->is_endpoints_changed = true;
    ab_info("controller started", "%s in %s", ab_server_address(controller->server), controller->node.directory);
    while (!atomic_load(&controller->is_stopping)) {
        ab_daemons_tick(controller);
        ab_job_runner_tick(controller);
        if (controller->forward != NULL) {
            ab_forward_tick(controller->forward, ab_time_monotonic_us());
        }
        if (read(signals, &got, sizeof got) == (ssize_t)sizeof got) {
            ab_info("signal", "%u", got.ssi_signo);
            atomic_store(&controller->is_stopping, true);
        }
        ab_time_sleep_us(AB_CONTROLLER_TICK_US);
    }
    if (controller->acting_loop != NULL) {
        ab_acting_loop_stop(controller->acting_loop); /* another begins to act before our daemons go */
        ab_thread_join(&controller->catch_up_thread);
    }
    ab_job_runner_stop(controller);
    ab_daemons_stop(controller);
    ab_file_close(&signals);
    ab_info("controller stopped", "after %" PRId64 " s", (ab_time_now() - controller->started_us) / AB_US_PER_SECOND);
    return AB_OK;
}
