/* The controller's session with the coordination service, and what is committed through it. */
#include "cluster/controller/controller.h"

#include "cluster/controller/creation.h"
#include "cluster/controller/job_nodes.h"
#include "common/base/logging.h"
#include "common/coordination/configured.h"

bool ab_controller_is_of_several(const struct ab_controller *controller)
{
    return controller->node.config.cluster.node != 0;
}

bool ab_controller_is_acting(struct ab_controller *controller)
{
    return !ab_controller_is_of_several(controller) || ab_acting_loop_is_acting(controller->acting_loop, NULL);
}

/* Nothing is done in the tree of another cluster. No settings yet is no contradiction. */
static ab_err cluster_check(struct ab_controller *controller, struct ab_error *error)
{
    struct ab_cluster_settings settings;
    struct ab_error attempt = {0};
    ab_err err = ab_cluster_settings_read(controller->coordination, &controller->node.identity, &settings, &attempt);
    return err == AB_OK || err == AB_NOT_FOUND ? AB_OK : ab_error_set(error, err, "%s", attempt.text);
}

ab_err ab_controller_session_open(struct ab_controller *controller, struct ab_error *error)
{
    static const char *const folders[] = {"/catalogs", "/cuts", "/jobs", "/versions", "/views"};
    ab_err err = ab_coordination_open_configured(
        &controller->node.config, controller->node.directory, &controller->coordination, error);
    if (err == AB_OK && ab_controller_is_of_several(controller)) {
        err = cluster_check(controller, error);
    }
    for (size_t i = 0; err == AB_OK && i < sizeof folders / sizeof folders[0]; i++) {
        err = ab_coordination_ensure(controller->coordination, folders[i], error);
    }
    if (err == AB_OK && ab_controller_is_of_several(controller)) {
        err = ab_job_nodes_register(controller, error);
    }
    return err;
}

/* Opens another session in place of one that has expired. */
static void session_renew_locked(struct ab_controller *controller)
{
    struct ab_coordination_session_state state;
    struct ab_coordination *session = NULL;
    struct ab_error error = {0};
    ab_coordination_session_state(controller->coordination, &state);
    if (state.state != AB_COORDINATION_EXPIRED) {
        return;
    }
    if (ab_coordination_open_configured(&controller->node.config, controller->node.directory, &session, &error) !=
        AB_OK) {
        ab_warn("no session with the coordination service", "%s", error.text);
        return; /* the next request tries again */
    }
    ab_coordination_close(controller->coordination);
    controller->coordination = session;
}

void ab_controller_session_enter(struct ab_controller *controller)
{
    ab_lock_take(&controller->session_gate.lock);
    if (ab_controller_is_of_several(controller) && controller->session_gate.users == 0) {
        session_renew_locked(controller);
    }
    controller->session_gate.users++;
    ab_lock_give(&controller->session_gate.lock);
}

void ab_controller_session_leave(struct ab_controller *controller)
{
    ab_lock_take(&controller->session_gate.lock);
    controller->session_gate.users--;
    ab_lock_give(&controller->session_gate.lock);
}

ab_err ab_controller_commit(struct ab_controller *controller, struct ab_changes *changes, struct ab_error *error)
{
    uint64_t epoch_version = 0;
    if (changes->count > 0 && controller->acting_loop != NULL) {
        if (!ab_acting_loop_is_acting(controller->acting_loop, &epoch_version)) {
            ab_changes_fini(changes);
            return ab_error_set(error, AB_STALE, "this controller acts no more: nothing was changed");
        }
        ab_changes_fence(changes, epoch_version);
    }
    return ab_changes_commit(changes, controller->coordination, error);
}
