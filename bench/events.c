#include "bench/events.h"

#include "common/base/random.h"
#include "common/base/time.h"
#include "common/block/key.h"

#define EVENTS_START_US (INT64_C(1709251200) * AB_US_PER_SECOND)

struct ab_events {
    struct ab_events_options options;
    struct ab_events_block *blocks; /* owned; partitions x blocks_a_partition */
};

static const char stream_text[] = "CREATE STREAM events (\n"
                                  "  key BIGINT NOT NULL, at TIMESTAMP NOT NULL, amount DOUBLE,\n"
                                  "  EVENT TIME at, PARTITION KEY (key)\n"
                                  ") WITH (max_future = '36500 days');\n";

static const char *const view_texts[3] = {"CREATE VIEW by_key_hour AS SELECT key, count(*) AS n, sum(amount) AS total, "
                                          "min(amount) AS low, max(amount) AS high "
                                          "FROM events GROUP BY key, TUMBLE(at, INTERVAL '1 hour');\n",
    "CREATE VIEW by_key AS SELECT key, count(*) AS n, sum(amount) AS total, min(amount) AS low, max(amount) AS high "
    "FROM events GROUP BY key;\n",
    "CREATE VIEW by_minute AS SELECT count(*) AS n, sum(amount) AS total, min(amount) AS low, max(amount) AS high "
    "FROM events GROUP BY TUMBLE(at, INTERVAL '1 minute');\n"};

char *ab_events_catalog(uint32_t views)
{
    return ab_new_format(
        "%s%s%s%s", stream_text, view_texts[0], views > 1 ? view_texts[1] : "", views > 2 ? view_texts[2] : "");
}

/* Keys by Zipf's law: ranks 1..n with weight 1/rank. */
static uint32_t zipf_draw(struct ab_random *random, const double *cumulative, uint32_t count)
{
    double at = ab_random_unit(random) * cumulative[count - 1];
    uint32_t low = 0;
    uint32_t high = count - 1;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (cumulative[middle] <= at) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

uint32_t ab_events_partition_of(int64_t key, uint32_t partitions_count)
{
    struct ab_buffer encoded = {0};
    struct ab_value value = {.type = {.kind = AB_TYPE_BIGINT}, .bigint = key};
    ab_key_put(&encoded, &value);
    uint64_t hash = ab_hash64(AB_HASH_PARTITION, ab_buffer_view(&encoded));
    ab_buffer_fini(&encoded);
    return (uint32_t)(hash % partitions_count);
}

static void block_prepare(struct ab_events_block *block, uint32_t partition, uint32_t rows)
{
    block->partition = partition;
    block->keys = ab_new_array(int64_t, rows);
    block->times = ab_new_array(int64_t, rows);
    block->amounts = ab_new_array(double, rows);
}

/* Deals random events out to their partitions until every block is full. */
static void blocks_fill(struct ab_events *events, const double *cumulative, const uint32_t *partitions)
{
    const struct ab_events_options *options = &events->options;
    uint32_t wanted = options->blocks_a_partition * options->block_rows;
    uint32_t *filled = ab_new_array(uint32_t, options->partitions_count);
    struct ab_random random;
    ab_random_init(&random, options->seed);
    uint32_t full = 0;
    while (full < options->partitions_count) {
        uint32_t rank = zipf_draw(&random, cumulative, options->keys_count);
        uint32_t partition = partitions[rank];
        uint32_t row = filled[partition];
        if (row == wanted) {
            continue;
        }
        struct ab_events_block *block =
            &events->blocks[(size_t)partition * options->blocks_a_partition + row / options->block_rows];
        block->keys[row % options->block_rows] = (int64_t)rank;
        block->times[row % options->block_rows] =
            EVENTS_START_US + (int64_t)ab_random_below(&random, 4 * AB_US_PER_HOUR);
        block->amounts[row % options->block_rows] = (double)ab_random_below(&random, 1000000) / 100.0;
        filled[partition]++;
        full += filled[partition] == wanted;
    }
    ab_delete(filled);
}

struct ab_events *ab_events_create(const struct ab_events_options *options)
{
    struct ab_events *events = ab_new(struct ab_events);
    events->options = *options;
    size_t count = (size_t)options->partitions_count * options->blocks_a_partition;
    events->blocks = ab_new_array(struct ab_events_block, count);
    for (size_t i = 0; i < count; i++) {
        block_prepare(&events->blocks[i], (uint32_t)(i / options->blocks_a_partition), options->block_rows);
    }
    double *cumulative = ab_new_array(double, options->keys_count);
    uint32_t *partitions = ab_new_array(uint32_t, options->keys_count);
    double sum = 0;
    for (uint32_t i = 0; i < options->keys_count; i++) {
        sum += 1.0 / (double)(i + 1);
        cumulative[i] = sum;
        partitions[i] = ab_events_partition_of(i, options->partitions_count);
    }
    blocks_fill(events, cumulative, partitions);
    ab_delete(partitions);
    ab_delete(cumulative);
    return events;
}

void ab_events_destroy(struct ab_events *events)
{
    if (events == NULL) {
        return;
    }
    size_t count = (size_t)events->options.partitions_count * events->options.blocks_a_partition;
    for (size_t i = 0; i < count; i++) {
        ab_delete(events->blocks[i].keys);
        ab_delete(events->blocks[i].times);
        ab_delete(events->blocks[i].amounts);
    }
    ab_delete(events->blocks);
    ab_delete(events);
}

const struct ab_events_block *ab_events_at(const struct ab_events *events, uint32_t partition, uint64_t i)
{
    uint32_t count = events->options.blocks_a_partition;
    return &events->blocks[(size_t)partition * count + i % count];
}

uint32_t ab_events_partitions(const struct ab_events *events)
{
    return events->options.partitions_count;
}

uint32_t ab_events_rows(const struct ab_events *events)
{
    return events->options.block_rows;
}

ab_err ab_events_encode(const struct ab_events *events, const struct ab_events_block *block, uint64_t producer_id,
    uint64_t sequence, struct ab_buffer *out)
{
    uint32_t rows = events->options.block_rows;
    const struct ab_block_column columns[3] = {
        {.name = ab_bytes_of_text("key"),
            .column = {.type = {.kind = AB_TYPE_BIGINT}, .rows_count = rows, .values = block->keys}},
        {.name = ab_bytes_of_text("at"),
            .column = {.type = {.kind = AB_TYPE_TIMESTAMP}, .rows_count = rows, .values = block->times}},
        {.name = ab_bytes_of_text("amount"),
            .column = {.type = {.kind = AB_TYPE_DOUBLE}, .rows_count = rows, .values = block->amounts}}};
    struct ab_block encoded = {.stream = ab_bytes_of_text("events"),
        .producer_id = producer_id,
        .sequence = sequence,
        .partition = block->partition,
        .rows_count = rows,
        .columns_count = 3,
        .columns = columns};
    return ab_block_encode(&encoded, AB_BLOCK_PLAIN, out);
}
