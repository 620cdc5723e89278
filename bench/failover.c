#include "bench/failover.h"

#include "bench/report.h"

#include "common/base/memory.h"
#include "common/base/time.h"

#include <inttypes.h>

#define PATIENCE_US (60 * AB_US_PER_SECOND)
#define POLL_US (5 * AB_US_PER_MS)

struct failover {
    const struct ab_temporary_cluster *cluster; /* borrowed */
    const struct ab_failover_options *options;  /* borrowed */
    struct ab_failover_result *result;          /* borrowed */
    struct ab_steady *steady;                   /* owned */
    uint32_t partitions_count;
    uint32_t *leaders; /* owned; before a kill */
};

/* The next node in turn that leads something; 0 when none does. */
static uint32_t victim_choose(const struct failover *failover)
{
    uint32_t count = failover->cluster->nodes_count;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t node = (uint32_t)((failover->result->kills + i) % count) + 1;
        for (uint32_t p = 0; p < failover->partitions_count; p++) {
            if (failover->leaders[p] == node) {
                return node;
            }
        }
    }
    return 0;
}

/* Waits for a block of each partition that the node led. */
static ab_err acknowledgements_wait(const struct failover *failover, uint32_t node, int64_t killed_us,
    struct ab_histogram *latency_us, struct ab_error *error)
{
    for (uint32_t p = 0; p < failover->partitions_count; p++) {
        int64_t acknowledged_us = 0;
        while (failover->leaders[p] == node && acknowledged_us == 0) {
            acknowledged_us = ab_steady_acknowledged_us(failover->steady, p, killed_us);
            if (acknowledged_us == 0 && ab_time_monotonic_us() > killed_us + PATIENCE_US) {
                return ab_error_set(error, AB_TIMEOUT,
                    "partition %" PRIu32 " took no block within a minute after node %" PRIu32 " was killed", p, node);
            }
            if (acknowledged_us == 0) {
                ab_time_sleep_us(POLL_US);
            }
        }
        if (acknowledged_us > 0) {
            ab_histogram_add(latency_us, (uint64_t)(acknowledged_us - killed_us));
        }
    }
    return AB_OK;
}

/* Adds what was asked since `before`, but for what our own questions cost. */
static void operations_add(
    struct failover *failover, const struct ab_several_nodes_operations *before, uint64_t questions)
{
    struct ab_several_nodes_operations after;
    uint64_t counts[AB_COORDINATION_OPERATIONS_COUNT];
    ab_several_nodes_operations(failover->cluster, &after);
    ab_several_nodes_operations_between(before, &after, counts);
    for (int i = 0; i < AB_COORDINATION_OPERATIONS_COUNT; i++) {
        uint64_t own = questions * failover->options->question_operations[i];
        failover->result->operations[i] += counts[i] > own ? counts[i] - own : 0;
    }
}

static ab_err kill_once(struct failover *failover, struct ab_error *error)
{
    struct ab_failover_result *result = failover->result;
    bool is_node = result->kills % 2 == 1;
    struct ab_several_nodes_operations before;
    AB_TRY(ab_several_nodes_leaders(failover->cluster, failover->leaders, failover->partitions_count, error));
    uint32_t node = victim_choose(failover);
    if (node == 0) {
        return ab_error_set(error, AB_UNAVAILABLE, "no partition has a leader");
    }
    ab_several_nodes_operations(failover->cluster, &before);
    uint64_t questions = failover->cluster->nodes_count; /* `before` itself: what it cost is counted after it */
    ab_steady_failing(failover->steady, true);
    int64_t killed_us = ab_time_monotonic_us();
    AB_TRY(ab_several_nodes_kill(failover->cluster, node, is_node ? AB_VICTIM_NODE : AB_VICTIM_SPEED, error));
    AB_TRY(acknowledgements_wait(failover, node, killed_us, is_node ? &result->node_us : &result->speed_us, error));
    ab_steady_failing(failover->steady, false);
    if (is_node) {
        AB_TRY(ab_temporary_cluster_node_start(failover->cluster, node, error));
    }
    AB_TRY(ab_several_nodes_settle(failover->cluster, &questions, error));
    operations_add(failover, &before, questions);
    result->kills++;
    return AB_OK;
}

ab_err ab_failover_run(const struct ab_temporary_cluster *cluster, const struct ab_failover_options *options,
    struct ab_failover_result *result, struct ab_error *error)
{
    struct failover failover = {.cluster = cluster,
        .options = options,
        .result = result,
        .partitions_count = cluster->node.identity.partitions_count};
    memset(result, 0, sizeof *result);
    ab_err err = ab_steady_start(cluster->directory, failover.partitions_count, &failover.steady, error);
    if (err == AB_OK) {
        failover.leaders = ab_new_array(uint32_t, failover.partitions_count);
    }
    while (err == AB_OK && result->kills < options->kills) {
        err = kill_once(&failover, error);
    }
    if (err == AB_OK) {
        err = ab_steady_stop(failover.steady, &result->steady, error);
    }
    ab_delete(failover.leaders);
    ab_steady_destroy(failover.steady);
    return err;
}

void ab_failover_report(const struct ab_failover_result *result, struct ab_json *report)
{
    const struct ab_steady_counts *steady = &result->steady;
    struct ab_histogram *all = ab_new(struct ab_histogram);
    struct ab_json *failover = ab_json_object();
    struct ab_json *rows = ab_json_object();
    struct ab_json *queries = ab_json_object();
    struct ab_json *operations = ab_json_object();
    ab_histogram_merge(all, &result->speed_us);
    ab_histogram_merge(all, &result->node_us);
    ab_json_set(failover, "kills", ab_json_integer((int64_t)result->kills));
    ab_report_latency(failover, "next_acknowledgement", all);
    ab_report_latency(failover, "after_kill_of_speed", &result->speed_us);
    ab_report_latency(failover, "after_kill_of_node", &result->node_us);
    ab_json_set(rows, "acknowledged", ab_json_integer((int64_t)steady->rows_acknowledged));
    ab_json_set(rows, "unknown", ab_json_integer((int64_t)steady->rows_unknown));
    ab_json_set(rows, "lost", ab_json_integer((int64_t)steady->rows_lost));
    ab_json_set(rows, "duplicated", ab_json_integer((int64_t)steady->rows_duplicated));
    ab_json_set(queries, "count", ab_json_integer((int64_t)steady->queries));
    ab_json_set(queries, "errors", ab_json_integer((int64_t)steady->query_errors));
    ab_json_set(queries, "deadline_ms", ab_json_integer(AB_STEADY_QUERY_MS));
    ab_report_latency(queries, "while_failing", &steady->failing_us);
    ab_report_latency(queries, "between", &steady->between_us);
    for (int i = 0; i < AB_COORDINATION_OPERATIONS_COUNT; i++) {
        double each = result->kills == 0 ? 0 : (double)result->operations[i] / (double)result->kills;
        ab_json_set(operations, ab_coordination_operation_name(i), ab_json_real(each));
    }
    ab_json_set(report, "failover", failover);
    ab_json_set(report, "rows", rows);
    ab_json_set(report, "queries", queries);
    ab_json_set(report, "coordination_a_failover", operations);
    ab_delete(all);
}
