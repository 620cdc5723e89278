#include "bench/load.h"

#include "common/base/memory.h"
#include "common/base/random.h"

#include <inttypes.h>

#define RETRY_US (2 * AB_US_PER_MS)
#define RESEND_US (3 * AB_US_PER_SECOND) /* no answer for so long: whoever was asked may be gone */
#define ROUTE_EVERY_US (500 * AB_US_PER_MS)
#define DRAIN_US (30 * AB_US_PER_SECOND)

/* A block that was sent and not yet acknowledged. */
struct in_flight {
    uint64_t request_id; /* 0 = free */
    uint64_t sequence;
    int64_t first_sent_us;
    int64_t retry_at_us;
};

struct partition_load {
    struct in_flight window[AB_LOAD_WINDOW_BLOCKS];
    uint64_t next_sequence;
    uint32_t node; /* of who leads, from 1 on */
};

struct ab_load {
    const struct ab_temporary_cluster *cluster;        /* borrowed */
    const struct ab_events *events;                    /* borrowed */
    struct ab_channel *channels[AB_SEVERAL_NODES_MAX]; /* owned; to node i + 1 */
    size_t channels_count;
    struct partition_load *partitions; /* owned */
    uint32_t partitions_count;
    uint64_t producer_id;
    uint64_t next_request_id;
    uint32_t waiting; /* blocks in flight */
    bool is_lost;     /* somebody said that another one leads, or nothing */
    int64_t routed_us;
    struct ab_load_counts counts;
    struct ab_buffer encoded;
    struct ab_arena arena;
};

/* ---- where blocks go ---- */

/* Takes over who leads what; who led last is asked on while nobody does. */
static void load_route(struct ab_load *load)
{
    uint32_t *leaders = ab_new_array(uint32_t, load->partitions_count);
    struct ab_error error = {0};
    load->is_lost = false;
    load->routed_us = ab_time_monotonic_us();
    if (ab_several_nodes_leaders(load->cluster, leaders, load->partitions_count, &error) == AB_OK) {
        for (uint32_t p = 0; p < load->partitions_count; p++) {
            load->partitions[p].node = leaders[p] == 0 ? load->partitions[p].node : leaders[p];
        }
    }
    ab_delete(leaders);
}

static ab_err channels_open(struct ab_load *load, struct ab_error *error)
{
    for (uint32_t node = 1; node <= load->cluster->nodes_count; node++) {
        AB_TRY(ab_temporary_cluster_connect(load->cluster, node, "speed", &load->channels[node - 1], error));
        load->channels_count++;
    }
    return AB_OK;
}

ab_err ab_load_open(const struct ab_temporary_cluster *cluster, const struct ab_events *events, struct ab_load **load,
    struct ab_error *error)
{
    struct ab_load *made = ab_new(struct ab_load);
    made->cluster = cluster;
    made->events = events;
    made->partitions_count = cluster->node.identity.partitions_count;
    made->partitions = ab_new_array(struct partition_load, made->partitions_count);
    for (uint32_t p = 0; p < made->partitions_count; p++) {
        made->partitions[p].node = 1;
    }
    made->producer_id = ab_random_id();
    made->next_request_id = 1;
    ab_err err = channels_open(made, error);
    if (err != AB_OK) {
        ab_load_close(made);
        return err;
    }
    load_route(made);
    *load = made;
    return AB_OK;
}

void ab_load_close(struct ab_load *load)
{
    if (load == NULL) {
        return;
    }
    for (size_t i = 0; i < load->channels_count; i++) {
        ab_channel_close(load->channels[i]);
    }
    ab_delete(load->partitions);
    ab_buffer_fini(&load->encoded);
    ab_arena_fini(&load->arena);
    ab_delete(load);
}

struct ab_channel *ab_load_channel(const struct ab_load *load)
{
    return load->channels[load->partitions[0].node - 1];
}

const struct ab_load_counts *ab_load_count(const struct ab_load *load)
{
    return &load->counts;
}

/* ---- sending ---- */

static ab_err block_send(struct ab_load *load, uint32_t partition, struct in_flight *slot)
{
    const struct ab_events_block *block = ab_events_at(load->events, partition, slot->sequence);
    ab_buffer_clear(&load->encoded);
    AB_TRY(ab_events_encode(load->events, block, load->producer_id, slot->sequence, &load->encoded));
    struct ab_envelope envelope = {
        .verb = AB_VERB_PRODUCE, .partition = partition, .request_id = load->next_request_id++};
    ab_err err = ab_channel_send(
        load->channels[load->partitions[partition].node - 1], &envelope, ab_buffer_view(&load->encoded));
    int64_t now = ab_time_monotonic_us();
    slot->request_id = envelope.request_id;
    slot->first_sent_us = slot->first_sent_us == 0 ? now : slot->first_sent_us;
    slot->retry_at_us = now + (err == AB_AGAIN ? RETRY_US : RESEND_US);
    load->counts.bytes_sent += load->encoded.bytes;
    return err == AB_AGAIN ? AB_OK : err;
}

/* Fills the windows; sends again what was refused for the moment. */
static ab_err load_send(struct ab_load *load, bool may_start)
{
    int64_t now = ab_time_monotonic_us();
    for (uint32_t p = 0; p < load->partitions_count; p++) {
        for (uint32_t w = 0; w < AB_LOAD_WINDOW_BLOCKS; w++) {
            struct in_flight *slot =
                &load->partitions[p].window[(load->partitions[p].next_sequence + w) % AB_LOAD_WINDOW_BLOCKS];
            if (slot->request_id == 0 && may_start) {
                *slot = (struct in_flight){.sequence = ++load->partitions[p].next_sequence};
                load->waiting++;
                AB_TRY(block_send(load, p, slot));
            } else if (slot->request_id != 0 && now >= slot->retry_at_us) {
                load->counts.retries++;
                AB_TRY(block_send(load, p, slot));
            }
        }
    }
    return AB_OK;
}

static struct in_flight *slot_find(struct ab_load *load, uint64_t request_id)
{
    for (uint32_t p = 0; p < load->partitions_count; p++) {
        for (uint32_t w = 0; w < AB_LOAD_WINDOW_BLOCKS; w++) {
            if (load->partitions[p].window[w].request_id == request_id) {
                return &load->partitions[p].window[w];
            }
        }
    }
    return NULL;
}

static ab_err answer_take(struct ab_load *load, const struct ab_answer *answer, struct ab_error *error)
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
        load->counts.rows_acknowledged += reply.accepted;
        ab_histogram_add(&load->counts.latency_us, (uint64_t)(now - slot->first_sent_us));
        slot->request_id = 0;
        load->waiting--;
        return AB_OK;
    }
    enum ab_err_kind kind = ab_err_kind_of(status);
    if (kind == AB_KIND_FULL || kind == AB_KIND_RETRY || status == AB_SEQUENCE) {
        load->is_lost = load->is_lost || status == AB_UNAVAILABLE;
        slot->retry_at_us = now + RETRY_US;
        return AB_OK;
    }
    return ab_error_set(error, status, "a block was refused: %s", answer->envelope.error);
}

/* Takes what has come in, waiting a millisecond for the first. */
static ab_err answers_take(struct ab_load *load, struct ab_error *error)
{
    struct ab_answer answer = {0};
    size_t which = 0;
    int wait_ms = 1;
    while (ab_channel_receive_any(load->channels, load->channels_count, wait_ms, &which, &answer) == AB_OK) {
        ab_err err = answer_take(load, &answer, error);
        ab_answer_free(&answer);
        AB_TRY(err);
        wait_ms = 0;
    }
    return AB_OK;
}

ab_err ab_load_run(struct ab_load *load, double seconds, struct ab_error *error)
{
    int64_t stop_us = ab_time_monotonic_us() + (int64_t)(seconds * 1e6);
    for (;;) {
        int64_t now = ab_time_monotonic_us();
        if (now >= stop_us && (load->waiting == 0 || now > stop_us + DRAIN_US)) {
            return load->waiting == 0 ? AB_OK
                                      : ab_error_set(error, AB_TIMEOUT, "blocks were not acknowledged within 30 s");
        }
        if (load->is_lost && now > load->routed_us + ROUTE_EVERY_US) {
            load_route(load);
        }
        AB_TRY(load_send(load, now < stop_us));
        AB_TRY(answers_take(load, error));
    }
}
