#include "bench/events.h"
#include "bench/limits.h"
#include "bench/load.h"
#include "bench/options.h"
#include "bench/report.h"
#include "bench/temporary_cluster.h"
#include "bench/verbs.h"

#include "common/base/time.h"

#include <inttypes.h>
#include <stdio.h>

#define ECHO_ROUNDS 2000
#define BLOCKS_A_PARTITION 8u

struct ingest_options {
    const char *directory;
    uint64_t views, keys, seconds, partitions, workers, rows;
    bool as_json;
};

/* Events per second of one connection that echoes nothing back but a short answer: the transport's own limit is
 * measured by pings. */
static ab_err echo_measure(struct ab_channel *channel, struct ab_json *report, struct ab_error *error)
{
    struct ab_histogram *latency_us = ab_new(struct ab_histogram);
    ab_err err = AB_OK;
    for (int i = 0; i < ECHO_ROUNDS && err == AB_OK; i++) {
        struct ab_answer answer = {0};
        int64_t start_us = ab_time_monotonic_us();
        err = ab_channel_call(channel, AB_VERB_PING, (struct ab_bytes){0}, 5000, &answer, error);
        ab_histogram_add(latency_us, (uint64_t)(ab_time_monotonic_us() - start_us));
        ab_answer_free(&answer);
    }
    if (err == AB_OK) {
        ab_report_latency(report, "curve_echo", latency_us);
    }
    ab_delete(latency_us);
    return err;
}

static void load_report(const struct ingest_options *options, const struct ab_events *made,
    const struct ab_load_counts *load, double wall_seconds, double cpu_seconds, struct ab_json *report)
{
    struct ab_json *work = ab_json_object();
    ab_json_set(work, "views", ab_json_integer((int64_t)options->views));
    ab_json_set(work, "aggregates_a_view", ab_json_integer(4));
    ab_json_set(work, "keys", ab_json_integer((int64_t)options->keys));
    ab_json_set(work, "partitions", ab_json_integer((int64_t)options->partitions));
    ab_json_set(work, "block_rows", ab_json_integer((int64_t)options->rows));
    ab_json_set(report, "work", work);
    double rows = (double)load->rows_acknowledged;
    double limit = 1e9 / ab_limit_hash_aggregate_ns(made, ab_events_partitions(made), 1.0);
    ab_json_set(report, "events", ab_json_integer((int64_t)load->rows_acknowledged));
    ab_json_set(report, "wall_seconds", ab_json_real(wall_seconds));
    ab_json_set(report, "server_cpu_seconds", ab_json_real(cpu_seconds));
    ab_json_set(report, "events_per_second", ab_json_real(rows / wall_seconds));
    ab_json_set(report, "events_per_cpu_second", ab_json_real(cpu_seconds > 0 ? rows / cpu_seconds : 0));
    ab_json_set(report, "raw_limit_events_per_second", ab_json_real(limit));
    ab_json_set(report, "ratio_to_raw_limit", ab_json_real(cpu_seconds > 0 ? rows / cpu_seconds / limit : 0));
    ab_json_set(report, "memcpy_bytes_per_second", ab_json_real(ab_limit_memcpy_bytes(0.5)));
    ab_json_set(report, "bytes_an_event", ab_json_real(rows > 0 ? (double)load->bytes_sent / rows : 0));
    ab_json_set(report, "blocks_sent_again", ab_json_integer((int64_t)load->retries));
    ab_report_latency(report, "acknowledgement", &load->latency_us);
}

static ab_err ingest_measure(const struct ingest_options *options, struct ab_temporary_cluster *cluster,
    struct ab_json *report, struct ab_error *error)
{
    struct ab_load *load = NULL;
    struct ab_events_options made = {.keys_count = (uint32_t)options->keys,
        .partitions_count = cluster->node.identity.partitions_count,
        .block_rows = (uint32_t)options->rows,
        .blocks_a_partition = BLOCKS_A_PARTITION,
        .seed = 1};
    struct ab_events *events = ab_events_create(&made);
    ab_err err = ab_load_open(cluster, events, &load, error);
    if (err == AB_OK) {
        err = echo_measure(ab_load_channel(load), report, error);
    }
    if (err == AB_OK) {
        double cpu_before = ab_temporary_cluster_cpu_seconds(cluster);
        int64_t start_us = ab_time_monotonic_us();
        err = ab_load_run(load, (double)options->seconds, error);
        double wall_seconds = (double)(ab_time_monotonic_us() - start_us) / 1e6;
        double cpu_seconds = ab_temporary_cluster_cpu_seconds(cluster) - cpu_before;
        if (err == AB_OK) {
            load_report(options, events, ab_load_count(load), wall_seconds, cpu_seconds, report);
        }
    }
    ab_load_close(load);
    ab_events_destroy(events);
    return err;
}

int ab_bench_ingest(int argc, char **argv)
{
    struct ingest_options ingest = {
        .views = 1, .keys = 100000, .seconds = 10, .partitions = 8, .workers = 0, .rows = 8192};
    const struct ab_bench_option options[] = {
        {.name = "data",
            .help = "a running cluster with the bench catalog (default: make one)",
            .text = &ingest.directory},
        {.name = "views", .help = "views of four aggregates each, 1 .. 3 (1)", .number = &ingest.views},
        {.name = "keys", .help = "distinct keys, by Zipf's law (100000)", .number = &ingest.keys},
        {.name = "seconds", .help = "how long (10)", .number = &ingest.seconds},
        {.name = "partitions", .help = "partitions of a cluster that is made (8)", .number = &ingest.partitions},
        {.name = "workers", .help = "workers of a cluster that is made (one a processor)", .number = &ingest.workers},
        {.name = "rows", .help = "rows a block (8192)", .number = &ingest.rows},
        {.name = "json", .help = "print one JSON object", .flag = &ingest.as_json},
    };
    int status = ab_bench_options_read("ingest",
        "Durable events per CPU-second of the servers: CURVE on, synced before acknowledged.", options,
        sizeof options / sizeof options[0], argc, argv, 2);
    if (status >= 0) {
        return status;
    }
    if (ingest.views < 1 || ingest.views > 3 || ingest.keys == 0 || ingest.keys > 100000000 || ingest.rows == 0 ||
        ingest.rows > AB_BLOCK_ROWS_MAX || ingest.partitions == 0 || ingest.seconds == 0 || ingest.seconds > 3600) {
        fprintf(stderr, "anabranch-bench ingest: a number is out of its range; see --help\n");
        return 2;
    }
    char *catalog = ab_events_catalog((uint32_t)ingest.views);
    struct ab_temporary_cluster_options cluster_options = {.directory = ingest.directory,
        .catalog = catalog,
        .partitions_count = (uint32_t)ingest.partitions,
        .workers = (uint32_t)ingest.workers};
    struct ab_temporary_cluster cluster = {0};
    struct ab_error error = {0};
    struct ab_json *report = ab_report_create("ingest");
    ab_err err = ab_temporary_cluster_open(&cluster_options, &cluster, &error);
    if (err == AB_OK) {
        err = ingest_measure(&ingest, &cluster, report, &error);
    }
    ab_temporary_cluster_close(&cluster);
    ab_delete(catalog);
    if (err != AB_OK) {
        fprintf(stderr, "anabranch-bench ingest: %s\n", error.text[0] != '\0' ? error.text : ab_err_text(err));
        ab_json_destroy(report);
        return 1;
    }
    ab_report_print(report, ingest.as_json);
    return 0;
}
