#include "bench/several_nodes.h"

#include "cluster/command/running.h"
#include "cluster/command/session.h"
#include "cluster/command/status.h"
#include "common/base/time.h"

#include <signal.h>

#define STATUS_MS 5000
#define SETTLE_US (90 * AB_US_PER_SECOND)
#define SETTLE_POLL_US (200 * AB_US_PER_MS)

static const char *const daemons[3] = {"controller", "speed", "serving"};

/* What the first controller that answers says of the cluster. */
static ab_err status_ask(const struct ab_temporary_cluster *cluster, struct ab_json **status, struct ab_error *error)
{
    ab_err err = ab_error_set(error, AB_UNAVAILABLE, "no node of the cluster answers");
    for (uint32_t node = 1; node <= cluster->nodes_count; node++) {
        struct ab_json *answer = NULL;
        char *directory = ab_temporary_cluster_node(cluster, node);
        err = ab_status_ask(directory, STATUS_MS, &answer, error);
        ab_delete(directory);
        if (err == AB_OK) {
            *status = answer;
            return AB_OK;
        }
    }
    return err;
}

ab_err ab_several_nodes_leaders(
    const struct ab_temporary_cluster *cluster, uint32_t *leaders, uint32_t partitions_count, struct ab_error *error)
{
    struct ab_json *status = NULL;
    for (uint32_t p = 0; p < partitions_count; p++) {
        leaders[p] = cluster->is_of_several ? 0 : 1;
    }
    if (!cluster->is_of_several) {
        return AB_OK;
    }
    AB_TRY(status_ask(cluster, &status, error));
    const struct ab_json *list = ab_json_get(ab_json_get(status, "cluster"), "partitions");
    for (size_t i = 0; i < ab_json_count(list); i++) {
        const struct ab_json *entry = ab_json_at(list, i);
        int64_t partition = ab_json_integer_or(ab_json_get(entry, "partition"), -1);
        int64_t leader = ab_json_integer_or(ab_json_get(entry, "leader"), 0);
        bool is_live = ab_json_boolean_or(ab_json_get(entry, "is_leader_live"), false);
        if (partition >= 0 && partition < partitions_count && is_live && leader >= 1 &&
            leader <= cluster->nodes_count) {
            leaders[partition] = (uint32_t)leader;
        }
    }
    ab_json_destroy(status);
    return AB_OK;
}

static bool is_whole(const struct ab_json *cluster)
{
    return ab_json_integer_or(ab_json_get(cluster, "leaderless"), 1) == 0 &&
           ab_json_integer_or(ab_json_get(cluster, "under_replicated"), 1) == 0 &&
           ab_json_integer_or(ab_json_get(cluster, "not_created"), 1) == 0;
}

ab_err ab_several_nodes_settle(const struct ab_temporary_cluster *cluster, uint64_t *questions, struct ab_error *error)
{
    int64_t until_us = ab_time_monotonic_us() + SETTLE_US;
    while (ab_time_monotonic_us() < until_us) {
        struct ab_json *status = NULL;
        struct ab_error ignored = {0};
        bool is_settled = status_ask(cluster, &status, &ignored) == AB_OK && is_whole(ab_json_get(status, "cluster"));
        ab_json_destroy(status);
        if (questions != NULL) {
            (*questions)++;
        }
        if (is_settled) {
            return AB_OK;
        }
        ab_time_sleep_us(SETTLE_POLL_US);
    }
    return ab_error_set(error, AB_TIMEOUT, "not all replicas are in sync after 90 s");
}

static void killed_ignore(int64_t pid)
{
    (void)pid; /* the measurement says it */
}

ab_err ab_several_nodes_kill(const struct ab_temporary_cluster *cluster, uint32_t node,
    enum ab_several_nodes_victim victim, struct ab_error *error)
{
    struct ab_running running = {0};
    char *directory = ab_temporary_cluster_node(cluster, node);
    (void)ab_running_read(directory, &running);
    ab_delete(directory);
    if (!ab_process_is_alive(&running.speed.process)) {
        return ab_error_set(error, AB_NOT_FOUND, "no speed of node %u runs", node);
    }
    if (victim == AB_VICTIM_SPEED) {
        ab_process_signal(&running.speed.process, SIGKILL);
    } else {
        ab_running_kill(&running, killed_ignore);
    }
    return AB_OK;
}

/* ---- operations of coordination ---- */

static void process_ask(const char *directory, const char *daemon, struct ab_several_nodes_process *process)
{
    struct ab_session session = {0};
    struct ab_node_endpoint endpoint = {0};
    struct ab_json *status = NULL;
    struct ab_error error = {0};
    ab_err err = ab_node_endpoint_read(directory, daemon, &endpoint, &error);
    if (err == AB_OK) {
        err = ab_session_open(directory, "operator", &session, &error);
    }
    if (err == AB_OK) {
        err = ab_session_call(&session, daemon, AB_VERB_STATUS, NULL, STATUS_MS, &status, &error);
    }
    if (err == AB_OK) {
        const struct ab_json *counts = ab_json_get(status, "coordination");
        process->pid = endpoint.pid;
        for (int i = 0; i < AB_COORDINATION_OPERATIONS_COUNT; i++) {
            process->counts[i] =
                (uint64_t)ab_json_integer_or(ab_json_get(counts, ab_coordination_operation_name(i)), 0);
        }
    }
    ab_json_destroy(status);
    ab_session_close(&session);
}

void ab_several_nodes_operations(
    const struct ab_temporary_cluster *cluster, struct ab_several_nodes_operations *operations)
{
    *operations = (struct ab_several_nodes_operations){0};
    for (uint32_t node = 1; node <= cluster->nodes_count; node++) {
        char *directory = ab_temporary_cluster_node(cluster, node);
        for (size_t d = 0; d < sizeof daemons / sizeof daemons[0]; d++) {
            process_ask(directory, daemons[d], &operations->processes[node - 1][d]);
        }
        ab_delete(directory);
    }
}

void ab_several_nodes_operations_between(const struct ab_several_nodes_operations *before,
    const struct ab_several_nodes_operations *after, uint64_t counts[AB_COORDINATION_OPERATIONS_COUNT])
{
    memset(counts, 0, AB_COORDINATION_OPERATIONS_COUNT * sizeof counts[0]);
    for (size_t n = 0; n < AB_SEVERAL_NODES_MAX; n++) {
        for (size_t d = 0; d < sizeof daemons / sizeof daemons[0]; d++) {
            const struct ab_several_nodes_process *first = &before->processes[n][d];
            const struct ab_several_nodes_process *last = &after->processes[n][d];
            for (int i = 0; i < AB_COORDINATION_OPERATIONS_COUNT; i++) {
                counts[i] += last->counts[i] - (first->pid == last->pid ? first->counts[i] : 0);
            }
        }
    }
}
