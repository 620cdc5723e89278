#include "bench/events.h"
#include "bench/options.h"
#include "bench/report.h"
#include "bench/temporary_cluster.h"
#include "bench/verbs.h"

#include "common/base/random.h"

#include <inttypes.h>
#include <stdio.h>

#define CALL_MS 10000

struct query_options {
    const char *directory;
    uint64_t keys, seconds, blocks;
    bool as_json;
};

/* Sends a block to its partition and waits for the acknowledgement. */
static ab_err block_produce(
    struct ab_channel *channel, uint32_t partition, struct ab_bytes block, struct ab_error *error)
{
    struct ab_envelope envelope = {.verb = AB_VERB_PRODUCE, .partition = partition};
    struct ab_answer answer = {0};
    AB_TRY(ab_channel_send(channel, &envelope, block));
    ab_err err = ab_channel_receive(channel, CALL_MS, &answer);
    if (err != AB_OK) {
        return ab_error_set(error, err, "a block was not acknowledged within 10 s");
    }
    err = answer.envelope.status;
    if (err != AB_OK) {
        (void)ab_error_set(error, err, "a block was refused: %s", answer.envelope.error);
    }
    ab_answer_free(&answer);
    return err;
}

/* Sends every block once and waits for it: data to ask about. */
static ab_err data_load(
    const struct query_options *options, struct ab_temporary_cluster *cluster, struct ab_error *error)
{
    struct ab_channel *channel = NULL;
    struct ab_events_options made = {.keys_count = (uint32_t)options->keys,
        .partitions_count = cluster->node.identity.partitions_count,
        .block_rows = 8192,
        .blocks_a_partition = (uint32_t)options->blocks,
        .seed = 2};
    struct ab_events *events = ab_events_create(&made);
    struct ab_buffer encoded = {0};
    uint64_t producer_id = ab_random_id();
    ab_err err = ab_temporary_cluster_connect(cluster, 1, "speed", &channel, error);
    for (uint32_t p = 0; p < made.partitions_count && err == AB_OK; p++) {
        for (uint64_t i = 0; i < options->blocks && err == AB_OK; i++) {
            ab_buffer_clear(&encoded);
            err = ab_events_encode(events, ab_events_at(events, p, i), producer_id, i + 1, &encoded);
            if (err == AB_OK) {
                err = block_produce(channel, p, ab_buffer_view(&encoded), error);
            }
        }
    }
    ab_buffer_fini(&encoded);
    ab_channel_close(channel);
    ab_events_destroy(events);
    return err;
}

/* One call of a verb, timed. */
static ab_err call_time(struct ab_channel *channel, enum ab_verb verb, struct ab_bytes payload,
    struct ab_histogram *latency_us, struct ab_error *error)
{
    struct ab_answer answer = {0};
    int64_t start_us = ab_time_monotonic_us();
    ab_err err = ab_channel_call(channel, verb, payload, CALL_MS, &answer, error);
    ab_histogram_add(latency_us, (uint64_t)(ab_time_monotonic_us() - start_us));
    ab_answer_free(&answer);
    return err;
}

/* Queries and empty round trips in turn, so that both see the same machine. */
static ab_err calls_run(const struct query_options *options, struct ab_channel *channel, struct ab_histogram *query_us,
    struct ab_histogram *empty_us, struct ab_error *error)
{
    struct ab_random random;
    struct ab_buffer payload = {0};
    ab_random_init(&random, 3);
    ab_err err = AB_OK;
    int64_t stop_us = ab_time_monotonic_us() + (int64_t)options->seconds * AB_US_PER_SECOND;
    while (err == AB_OK && ab_time_monotonic_us() < stop_us) {
        char sql[160];
        snprintf(sql, sizeof sql, "SELECT key, n, total, low, high FROM by_key WHERE key = %" PRIu64,
            ab_random_below(&random, options->keys));
        struct ab_wire_query query = {.sql = ab_bytes_of_text(sql)};
        ab_buffer_clear(&payload);
        ab_wire_query_encode(&query, &payload);
        err = call_time(channel, AB_VERB_QUERY, ab_buffer_view(&payload), query_us, error);
        if (err == AB_OK) {
            err = call_time(channel, AB_VERB_PING, ab_bytes_of_text("speed"), empty_us, error);
        }
    }
    ab_buffer_fini(&payload);
    return err;
}

static ab_err query_measure(const struct query_options *options, struct ab_temporary_cluster *cluster,
    struct ab_json *report, struct ab_error *error)
{
    struct ab_histogram *query_us = ab_new(struct ab_histogram);
    struct ab_histogram *empty_us = ab_new(struct ab_histogram);
    struct ab_channel *channel = NULL;
    ab_err err = options->directory == NULL ? data_load(options, cluster, error) : AB_OK;
    if (err == AB_OK) {
        err = ab_temporary_cluster_connect(cluster, 1, "serving", &channel, error);
    }
    if (err == AB_OK) {
        err = calls_run(options, channel, query_us, empty_us, error);
    }
    if (err == AB_OK) {
        ab_json_set(report, "keys", ab_json_integer((int64_t)options->keys));
        ab_report_latency(report, "point_query", query_us);
        ab_report_latency(report, "same_path_answering_nothing", empty_us);
        double ratio = (double)ab_histogram_quantile(query_us, 0.5) / (double)ab_histogram_quantile(empty_us, 0.5);
        ab_json_set(report, "ratio_of_medians", ab_json_real(ratio));
    }
    ab_channel_close(channel);
    ab_delete(query_us);
    ab_delete(empty_us);
    return err;
}

int ab_bench_query(int argc, char **argv)
{
    struct query_options query = {.keys = 100000, .seconds = 10, .blocks = 16};
    const struct ab_bench_option options[] = {
        {.name = "data",
            .help = "a running cluster with the bench catalog and data (default: make one)",
            .text = &query.directory},
        {.name = "keys", .help = "distinct keys (100000)", .number = &query.keys},
        {.name = "seconds", .help = "how long (10)", .number = &query.seconds},
        {.name = "blocks", .help = "blocks of 8192 rows a partition to load first (16)", .number = &query.blocks},
        {.name = "json", .help = "print one JSON object", .flag = &query.as_json},
    };
    int status = ab_bench_options_read("query",
        "Latency of point queries, beside the same path (client, serving, speed and back) answering nothing.", options,
        sizeof options / sizeof options[0], argc, argv, 2);
    if (status >= 0) {
        return status;
    }
    if (query.keys == 0 || query.keys > 100000000 || query.blocks == 0 || query.blocks > 1000 || query.seconds == 0) {
        fprintf(stderr, "anabranch-bench query: a number is out of its range; see --help\n");
        return 2;
    }
    char *catalog = ab_events_catalog(2);
    struct ab_temporary_cluster_options cluster_options = {
        .directory = query.directory, .catalog = catalog, .partitions_count = 8};
    struct ab_temporary_cluster cluster = {0};
    struct ab_error error = {0};
    struct ab_json *report = ab_report_create("query");
    ab_err err = ab_temporary_cluster_open(&cluster_options, &cluster, &error);
    if (err == AB_OK) {
        err = query_measure(&query, &cluster, report, &error);
    }
    ab_temporary_cluster_close(&cluster);
    ab_delete(catalog);
    if (err != AB_OK) {
        fprintf(stderr, "anabranch-bench query: %s\n", error.text[0] != '\0' ? error.text : ab_err_text(err));
        ab_json_destroy(report);
        return 1;
    }
    ab_report_print(report, query.as_json);
    return 0;
}
