#include "bench/events.h"
#include "bench/limits.h"
#include "bench/options.h"
#include "bench/report.h"
#include "bench/temporary_cluster.h"
#include "bench/verbs.h"

#include "common/base/random.h"

#include <inttypes.h>
#include <stdio.h>

#define WINDOW_BLOCKS 4u
#define RETRY_US (2 * AB_US_PER_MS)
#define DRAIN_US (30 * AB_US_PER_SECOND)
#define ECHO_ROUNDS 2000
#define BLOCKS_A_PARTITION 8u

struct ingest_options {
    const char *directory;
    uint64_t views, keys, seconds, partitions, workers, rows;
    bool as_json;
};

/* A block that was sent and not yet acknowledged. */
struct in_flight {
    uint64_t request_id; /* 0 = free */
    uint64_t sequence;
    int64_t first_sent_us;
    int64_t retry_at_us; /* 0 = waiting for its answer */
};

struct partition_load {
    struct in_flight window[WINDOW_BLOCKS];
    uint64_t next_sequence;
};

struct load {
    struct ab_channel *channel;
    struct ab_events *events;
    struct partition_load *partitions; /* owned */
    uint32_t partitions_count;
    uint64_t producer_id;
    uint64_t next_request_id;
    uint64_t rows_acknowledged;
    uint64_t bytes_sent;
    uint64_t retries;
    uint32_t waiting; /* blocks in flight */
    struct ab_buffer encoded;
    struct ab_histogram latency_us;
    struct ab_arena arena;
};

static ab_err block_send(struct load *load, uint32_t partition, struct in_flight *slot)
{
    const struct ab_events_block *block = ab_events_at(load->events, partition, slot->sequence);
    ab_buffer_clear(&load->encoded);
    AB_TRY(ab_events_encode(load->events, block, load->producer_id, slot->sequence, &load->encoded));
    struct ab_envelope envelope = {
        .verb = AB_VERB_PRODUCE, .partition = partition, .request_id = load->next_request_id++};
    ab_err err = ab_channel_send(load->channel, &envelope, ab_buffer_view(&load->encoded));
    int64_t now = ab_time_monotonic_us();
    slot->request_id = envelope.request_id;
    slot->first_sent_us = slot->first_sent_us == 0 ? now : slot->first_sent_us;
    slot->retry_at_us = err == AB_AGAIN ? now + RETRY_US : 0;
    load->bytes_sent += load->encoded.bytes;
    return err == AB_AGAIN ? AB_OK : err;
}

/* Fills the windows; sends again what was refused for the moment. */
static ab_err load_send(struct load *load, bool may_start)
{
    int64_t now = ab_time_monotonic_us();
    for (uint32_t p = 0; p < load->partitions_count; p++) {
        for (uint32_t w = 0; w < WINDOW_BLOCKS; w++) {
            struct in_flight *slot =
                &load->partitions[p].window[(load->partitions[p].next_sequence + w) % WINDOW_BLOCKS];
            if (slot->request_id == 0 && may_start) {
                *slot = (struct in_flight){.sequence = ++load->partitions[p].next_sequence};
                load->waiting++;
                AB_TRY(block_send(load, p, slot));
            } else if (slot->retry_at_us != 0 && now >= slot->retry_at_us) {
                load->retries++;
                AB_TRY(block_send(load, p, slot));
            }
        }
    }
    return AB_OK;
}

static struct in_flight *slot_find(struct load *load, uint64_t request_id)
{
    for (uint32_t p = 0; p < load->partitions_count; p++) {
        for (uint32_t w = 0; w < WINDOW_BLOCKS; w++) {
            if (load->partitions[p].window[w].request_id == request_id) {
                return &load->partitions[p].window[w];
            }
        }
    }
    return NULL;
}

static ab_err answer_take(struct load *load, const struct ab_answer *answer, struct ab_error *error)
{
    struct in_flight *slot = slot_find(load, answer->envelope.request_id);
    ab_err status = answer->envelope.status;
    if (slot == NULL) {
        return AB_OK;
    }
    int64_t now = ab_time_monotonic_us();
    if (status == AB_OK) {
        struct ab_wire_produce_reply reply = {0};
        ab_arena_reset(&load->arena);
        AB_TRY(ab_wire_produce_reply_decode(answer->payload, &load->arena, &reply));
        load->rows_acknowledged += reply.accepted;
        ab_histogram_add(&load->latency_us, (uint64_t)(now - slot->first_sent_us));
        slot->request_id = 0;
        load->waiting--;
        return AB_OK;
    }
    enum ab_err_kind kind = ab_err_kind_of(status);
    if (kind == AB_KIND_FULL || kind == AB_KIND_RETRY || status == AB_SEQUENCE) {
        slot->retry_at_us = now + RETRY_US;
        return AB_OK;
    }
    return ab_error_set(error, status, "a block was refused: %s", answer->envelope.error);
}

static ab_err load_run(struct load *load, double seconds, struct ab_error *error)
{
    int64_t stop_us = ab_time_monotonic_us() + (int64_t)(seconds * 1e6);
    for (;;) {
        int64_t now = ab_time_monotonic_us();
        if (now >= stop_us && (load->waiting == 0 || now > stop_us + DRAIN_US)) {
            return load->waiting == 0 ? AB_OK
                                      : ab_error_set(error, AB_TIMEOUT, "blocks were not acknowledged within 30 s");
        }
        AB_TRY(load_send(load, now < stop_us));
        struct ab_answer answer = {0};
        for (int wait_ms = 1; ab_channel_receive(load->channel, wait_ms, &answer) == AB_OK; wait_ms = 0) {
            ab_err err = answer_take(load, &answer, error);
            ab_answer_free(&answer);
            AB_TRY(err);
        }
    }
}

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

static void load_report(const struct ingest_options *options, const struct load *load, double wall_seconds,
    double cpu_seconds, struct ab_json *report)
{
    struct ab_json *work = ab_json_object();
    ab_json_set(work, "views", ab_json_integer((int64_t)options->views));
    ab_json_set(work, "aggregates_a_view", ab_json_integer(4));
    ab_json_set(work, "keys", ab_json_integer((int64_t)options->keys));
    ab_json_set(work, "partitions", ab_json_integer((int64_t)options->partitions));
    ab_json_set(work, "block_rows", ab_json_integer((int64_t)options->rows));
    ab_json_set(report, "work", work);
    double rows = (double)load->rows_acknowledged;
    double limit = 1e9 / ab_limit_hash_aggregate_ns(load->events, load->partitions_count, 1.0);
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

static void load_fini(struct load *load)
{
    ab_channel_close(load->channel);
    ab_events_destroy(load->events);
    ab_delete(load->partitions);
    ab_buffer_fini(&load->encoded);
    ab_arena_fini(&load->arena);
}

static ab_err ingest_measure(const struct ingest_options *options, struct ab_temporary_cluster *cluster,
    struct ab_json *report, struct ab_error *error)
{
    struct load *load = ab_new(struct load);
    load->partitions_count = cluster->node.identity.partitions_count;
    load->partitions = ab_new_array(struct partition_load, load->partitions_count);
    load->producer_id = ab_random_id();
    load->next_request_id = 1;
    struct ab_events_options events = {.keys_count = (uint32_t)options->keys,
        .partitions_count = load->partitions_count,
        .block_rows = (uint32_t)options->rows,
        .blocks_a_partition = BLOCKS_A_PARTITION,
        .seed = 1};
    load->events = ab_events_create(&events);
    ab_err err = ab_temporary_cluster_connect(cluster, "speed", &load->channel, error);
    if (err == AB_OK) {
        err = echo_measure(load->channel, report, error);
    }
    if (err == AB_OK) {
        double cpu_before = ab_temporary_cluster_cpu_seconds(cluster);
        int64_t start_us = ab_time_monotonic_us();
        err = load_run(load, (double)options->seconds, error);
        double wall_seconds = (double)(ab_time_monotonic_us() - start_us) / 1e6;
        double cpu_seconds = ab_temporary_cluster_cpu_seconds(cluster) - cpu_before;
        if (err == AB_OK) {
            load_report(options, load, wall_seconds, cpu_seconds, report);
        }
    }
    load_fini(load);
    ab_delete(load);
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
