#include "cluster/supervision.h"

bool ab_supervision_is_due(const struct ab_supervision *supervision, int64_t now_us)
{
    return !supervision->is_running && now_us >= supervision->due_us;
}

void ab_supervision_started(struct ab_supervision *supervision, int64_t now_us)
{
    supervision->is_running = true;
    supervision->started_us = now_us;
    supervision->restarts_count += supervision->starts_count > 0;
    supervision->starts_count++;
}

bool ab_supervision_ended(struct ab_supervision *supervision, int64_t now_us)
{
    bool was_calm = supervision->is_running && now_us - supervision->started_us >= AB_SUPERVISION_CALM_US;
    supervision->is_running = false;
    supervision->crashes_us[supervision->crashes_count % AB_SUPERVISION_CRASHES] = now_us;
    supervision->crashes_count++;
    int64_t oldest = supervision->crashes_us[supervision->crashes_count % AB_SUPERVISION_CRASHES];
    bool is_loop = supervision->crashes_count >= AB_SUPERVISION_CRASHES && now_us - oldest < AB_SUPERVISION_WINDOW_US;
    bool has_begun = is_loop && !supervision->is_in_crash_loop;
    if (was_calm) {
        supervision->is_in_crash_loop = false;
        supervision->wait_us = 0;
    }
    if (is_loop) {
        supervision->is_in_crash_loop = true;
    }
    if (supervision->is_in_crash_loop) {
        supervision->wait_us = AB_SUPERVISION_LOOP_WAIT_US;
    } else if (supervision->wait_us == 0) {
        supervision->wait_us = AB_SUPERVISION_WAIT_US_FIRST;
    } else {
        int64_t doubled = supervision->wait_us * 2;
        supervision->wait_us = doubled < AB_SUPERVISION_WAIT_US_MAX ? doubled : AB_SUPERVISION_WAIT_US_MAX;
    }
    supervision->due_us = now_us + supervision->wait_us;
    return has_begun;
}
