#include "bench/copies.h"
#include "bench/failover.h"
#include "bench/limits.h"
#include "bench/load.h"
#include "bench/options.h"
#include "bench/report.h"
#include "bench/verbs.h"

#include "cluster/zookeeper.h"
#include "common/base/memory.h"
#include "common/base/time.h"

#include <inttypes.h>
#include <stdio.h>

#define BLOCKS_A_PARTITION 8u
#define LIMIT_SECONDS 2.0
#define VIEWS 2

struct cluster_options {
    uint64_t nodes, partitions, keys, rows, seconds, quiet, failovers;
    bool as_json;
};

/* What one cluster took. */
struct throughput {
    double events_per_second;
    double events_per_cpu_second;
    double bytes_an_event;
};

/* ---- throughput ---- */

static ab_err throughput_measure(const struct ab_temporary_cluster *cluster, const struct ab_events *events,
    double seconds, struct throughput *throughput, struct ab_error *error)
{
    struct ab_load *load = NULL;
    AB_TRY(ab_load_open(cluster, events, &load, error));
    double cpu_before = ab_temporary_cluster_cpu_seconds(cluster);
    int64_t start_us = ab_time_monotonic_us();
    ab_err err = ab_load_run(load, seconds, error);
    double wall_seconds = (double)(ab_time_monotonic_us() - start_us) / 1e6;
    double cpu_seconds = ab_temporary_cluster_cpu_seconds(cluster) - cpu_before;
    const struct ab_load_counts *counts = ab_load_count(load);
    double rows = (double)counts->rows_acknowledged;
    if (err == AB_OK && (rows == 0 || cpu_seconds <= 0)) {
        err = ab_error_set(error, AB_TIMEOUT, "nothing was acknowledged in %.0f s", seconds);
    }
    if (err == AB_OK) {
        double blocks = rows / ab_events_rows(events) + (double)counts->retries;
        throughput->events_per_second = rows / wall_seconds;
        throughput->events_per_cpu_second = rows / cpu_seconds;
        throughput->bytes_an_event = (double)counts->bytes_sent / blocks / ab_events_rows(events);
    }
    ab_load_close(load);
    return err;
}

/* The one-machine mode: one replica, which is not copied. */
static ab_err single_measure(const struct cluster_options *options, const struct ab_events *events, const char *catalog,
    struct throughput *throughput, struct ab_error *error)
{
    struct ab_temporary_cluster_options cluster_options = {
        .catalog = catalog, .partitions_count = (uint32_t)options->partitions};
    struct ab_temporary_cluster cluster = {0};
    ab_err err = ab_temporary_cluster_open(&cluster_options, &cluster, error);
    if (err == AB_OK) {
        err = throughput_measure(&cluster, events, (double)options->seconds, throughput, error);
    }
    ab_temporary_cluster_close(&cluster);
    return err;
}

static void throughput_report(struct ab_json *report, const char *name, const struct throughput *throughput,
    const struct ab_copies_result *copies, uint32_t replicas)
{
    struct ab_json *figures = ab_json_object();
    double limit = copies->bytes_per_second / throughput->bytes_an_event / replicas;
    double cpu_limit = 1e9 / copies->cpu_ns_a_byte / throughput->bytes_an_event / replicas;
    ab_json_set(figures, "replicas", ab_json_integer(replicas));
    ab_json_set(figures, "events_per_second", ab_json_real(throughput->events_per_second));
    ab_json_set(figures, "events_per_cpu_second", ab_json_real(throughput->events_per_cpu_second));
    ab_json_set(figures, "bytes_an_event", ab_json_real(throughput->bytes_an_event));
    ab_json_set(figures, "limit_events_per_second", ab_json_real(limit));
    ab_json_set(figures, "ratio_to_limit", ab_json_real(throughput->events_per_second / limit));
    ab_json_set(figures, "limit_events_per_cpu_second", ab_json_real(cpu_limit));
    ab_json_set(figures, "ratio_to_cpu_limit", ab_json_real(throughput->events_per_cpu_second / cpu_limit));
    ab_json_set(report, name, figures);
}

/* Every byte of an event is copied once a replica over loopback, from the producer to who leads and from there to the
 * others, and written and synced once a replica: what this machine does when that is all there is to do, with as many
 * replicas at once. What either takes alone is told beside it. */
static ab_err limits_measure(const struct ab_temporary_cluster *cluster, const struct ab_events *events,
    double bytes_an_event, struct ab_copies_result limits[2], struct ab_json *report, struct ab_error *error)
{
    double write_bytes = 0;
    double copy_bytes = 0;
    size_t block_bytes = (size_t)(bytes_an_event * ab_events_rows(events));
    struct ab_copies_options options = {.keys = &cluster->node.keys,
        .directory = cluster->directory,
        .replicas = AB_NODES_REPLICAS,
        .message_bytes = block_bytes,
        .sync_messages = AB_LOAD_WINDOW_BLOCKS,
        .seconds = LIMIT_SECONDS};
    AB_TRY(ab_copies_run(&options, &limits[1], error));
    options.replicas = 1;
    AB_TRY(ab_copies_run(&options, &limits[0], error));
    AB_TRY(ab_limit_sync_write_bytes(
        cluster->directory, AB_LOAD_WINDOW_BLOCKS * block_bytes, LIMIT_SECONDS / 2, &write_bytes, error));
    AB_TRY(ab_limit_curve_copy_bytes(&cluster->node.keys, block_bytes, LIMIT_SECONDS / 2, &copy_bytes, error));
    ab_json_set(report, "copied_and_synced_bytes_per_second", ab_json_real(limits[1].bytes_per_second));
    ab_json_set(report, "synced_bytes_per_second", ab_json_real(write_bytes));
    ab_json_set(report, "curve_copied_bytes_per_second", ab_json_real(copy_bytes));
    return AB_OK;
}

static ab_err throughputs_measure(const struct cluster_options *options, const struct ab_temporary_cluster *cluster,
    const struct ab_events *events, const struct throughput *single, struct ab_json *report, struct ab_error *error)
{
    struct throughput several = {0};
    struct ab_copies_result limits[2];
    AB_TRY(throughput_measure(cluster, events, (double)options->seconds, &several, error));
    AB_TRY(limits_measure(cluster, events, several.bytes_an_event, limits, report, error));
    throughput_report(report, "one_machine", single, &limits[0], 1);
    throughput_report(report, "several_nodes", &several, &limits[1], AB_NODES_REPLICAS);
    ab_json_set(
        report, "ratio_of_events_per_second", ab_json_real(several.events_per_second / single->events_per_second));
    ab_json_set(report, "ratio_of_events_per_cpu_second",
        ab_json_real(several.events_per_cpu_second / single->events_per_cpu_second));
    /* 1 = as much work a replica as the only one does: what copying, and agreeing on it, adds. */
    ab_json_set(report, "cpu_of_single_replicas_to_cpu",
        ab_json_real(several.events_per_cpu_second * AB_NODES_REPLICAS / single->events_per_cpu_second));
    return AB_OK;
}

/* ---- coordination ---- */

/* What a quiet cluster asks; question[] takes what asking one controller for its status costs. */
static void quiet_measure(const struct cluster_options *options, const struct ab_temporary_cluster *cluster,
    uint64_t question[AB_COORDINATION_OPERATIONS_COUNT], struct ab_json *report)
{
    struct ab_several_nodes_operations snapshots[3];
    uint64_t cost[AB_COORDINATION_OPERATIONS_COUNT];
    uint64_t counts[AB_COORDINATION_OPERATIONS_COUNT];
    struct ab_json *json = ab_json_object();
    double sum = 0;
    ab_several_nodes_operations(cluster, &snapshots[0]);
    ab_several_nodes_operations(cluster, &snapshots[1]);
    int64_t start_us = ab_time_monotonic_us();
    ab_time_sleep_us((int64_t)options->quiet * AB_US_PER_SECOND);
    ab_several_nodes_operations(cluster, &snapshots[2]);
    double hours = (double)(ab_time_monotonic_us() - start_us) / (double)AB_US_PER_HOUR;
    ab_several_nodes_operations_between(&snapshots[0], &snapshots[1], cost);
    ab_several_nodes_operations_between(&snapshots[1], &snapshots[2], counts);
    for (int i = 0; i < AB_COORDINATION_OPERATIONS_COUNT; i++) {
        double each = (counts[i] > cost[i] ? (double)(counts[i] - cost[i]) : 0) / hours / (double)options->partitions;
        ab_json_set(json, ab_coordination_operation_name(i), ab_json_real(each));
        sum += each;
        question[i] = cost[i] / cluster->nodes_count;
    }
    ab_json_set(json, "all", ab_json_real(sum));
    ab_json_set(report, "coordination_a_partition_and_hour", json);
}

/* ---- all together ---- */

static ab_err cluster_measure(const struct cluster_options *options, const struct ab_temporary_cluster *cluster,
    const struct ab_events *events, const struct throughput *single, struct ab_json *report, struct ab_error *error)
{
    uint64_t question[AB_COORDINATION_OPERATIONS_COUNT];
    const struct ab_failover_options failover_options = {.kills = options->failovers, .question_operations = question};
    struct ab_failover_result *result = ab_new(struct ab_failover_result);
    ab_err err = ab_several_nodes_settle(cluster, NULL, error);
    if (err == AB_OK) {
        err = throughputs_measure(options, cluster, events, single, report, error);
    }
    if (err == AB_OK) {
        err = ab_several_nodes_settle(cluster, NULL, error);
    }
    if (err == AB_OK) {
        quiet_measure(options, cluster, question, report);
        err = ab_failover_run(cluster, &failover_options, result, error);
    }
    if (err == AB_OK) {
        ab_failover_report(result, report);
    }
    ab_delete(result);
    return err;
}

static void work_report(const struct cluster_options *options, struct ab_json *report)
{
    struct ab_json *work = ab_json_object();
    ab_json_set(work, "nodes", ab_json_integer((int64_t)options->nodes));
    ab_json_set(work, "replicas", ab_json_integer(AB_NODES_REPLICAS));
    ab_json_set(work, "min_isr", ab_json_integer(AB_NODES_MIN_ISR));
    ab_json_set(work, "session_timeout_ms", ab_json_integer(AB_NODES_SESSION_TIMEOUT_MS));
    ab_json_set(work, "partitions", ab_json_integer((int64_t)options->partitions));
    ab_json_set(work, "views", ab_json_integer(VIEWS));
    ab_json_set(work, "aggregates_a_view", ab_json_integer(4));
    ab_json_set(work, "keys", ab_json_integer((int64_t)options->keys));
    ab_json_set(work, "block_rows", ab_json_integer((int64_t)options->rows));
    ab_json_set(work, "seconds", ab_json_integer((int64_t)options->seconds));
    ab_json_set(work, "quiet_seconds", ab_json_integer((int64_t)options->quiet));
    ab_json_set(report, "work", work);
}

static ab_err cluster_run(const struct cluster_options *options, struct ab_json *report, struct ab_error *error)
{
    const struct ab_events_options made = {.keys_count = (uint32_t)options->keys,
        .partitions_count = (uint32_t)options->partitions,
        .block_rows = (uint32_t)options->rows,
        .blocks_a_partition = BLOCKS_A_PARTITION,
        .seed = 1};
    AB_TRY(ab_zookeeper_check(error));
    struct throughput single = {0};
    struct ab_temporary_cluster cluster = {0};
    char *catalog = ab_events_catalog(VIEWS);
    struct ab_events *events = ab_events_create(&made);
    struct ab_temporary_cluster_options cluster_options = {
        .catalog = catalog, .partitions_count = (uint32_t)options->partitions, .nodes_count = (uint32_t)options->nodes};
    work_report(options, report);
    ab_err err = single_measure(options, events, catalog, &single, error);
    if (err == AB_OK) {
        err = ab_temporary_cluster_open(&cluster_options, &cluster, error);
    }
    if (err == AB_OK) {
        err = cluster_measure(options, &cluster, events, &single, report, error);
    }
    ab_temporary_cluster_close(&cluster);
    ab_events_destroy(events);
    ab_delete(catalog);
    return err;
}

static bool options_are_valid(const struct cluster_options *options)
{
    return options->nodes >= AB_NODES_MIN && options->nodes <= AB_NODES_MAX && options->partitions >= 1 &&
           options->partitions <= 64 && options->keys >= options->partitions * 16 && options->keys <= 100000000 &&
           options->rows >= 1 && options->rows <= AB_BLOCK_ROWS_MAX && options->seconds >= 1 &&
           options->seconds <= 600 && options->quiet >= 1 && options->quiet <= 3600 && options->failovers >= 1 &&
           options->failovers <= 1000;
}

int ab_bench_cluster(int argc, char **argv)
{
    struct cluster_options cluster = {
        .nodes = 3, .partitions = 6, .keys = 100000, .rows = 8192, .seconds = 5, .quiet = 10, .failovers = 6};
    const struct ab_bench_option options[] = {
        {.name = "nodes", .help = "nodes, 3 .. 5 (3)", .number = &cluster.nodes},
        {.name = "partitions", .help = "partitions, 1 .. 64 (6)", .number = &cluster.partitions},
        {.name = "keys", .help = "distinct keys, by Zipf's law (100000)", .number = &cluster.keys},
        {.name = "rows", .help = "rows a block (8192)", .number = &cluster.rows},
        {.name = "seconds", .help = "how long each throughput is measured (5)", .number = &cluster.seconds},
        {.name = "quiet", .help = "seconds for which a quiet cluster is watched (10)", .number = &cluster.quiet},
        {.name = "failovers", .help = "kills, of speed and of a whole node in turn (6)", .number = &cluster.failovers},
        {.name = "json", .help = "print one JSON object", .flag = &cluster.as_json},
    };
    int status = ab_bench_options_read("cluster",
        "Three replicas on several nodes of this machine: throughput beside one replica and beside writing and copying "
        "the\nbytes; failover after SIGKILL, with what it cost queries; operations of coordination. Needs ZooKeeper.",
        options, sizeof options / sizeof options[0], argc, argv, 2);
    if (status >= 0) {
        return status;
    }
    if (!options_are_valid(&cluster)) {
        fprintf(stderr, "anabranch-bench cluster: a number is out of its range; see --help\n");
        return 2;
    }
    struct ab_error error = {0};
    struct ab_json *report = ab_report_create("cluster");
    ab_err err = cluster_run(&cluster, report, &error);
    if (err != AB_OK) {
        fprintf(stderr, "anabranch-bench cluster: %s\n", error.text[0] != '\0' ? error.text : ab_err_text(err));
        ab_json_destroy(report);
        return 1;
    }
    ab_report_print(report, cluster.as_json);
    return 0;
}
