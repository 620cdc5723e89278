#include "serving/route.h"

#include "common/aggregate/group_key.h"

static const struct ab_query_pin *pin_of_key(const struct ab_query *query, uint32_t key)
{
    for (uint32_t i = 0; i < query->pins_count; i++) {
        if (query->pins[i].key == key) {
            return &query->pins[i];
        }
    }
    return NULL;
}

static const struct ab_query_pin *pin_of_column(const struct ab_query *query, uint32_t column)
{
    for (uint32_t k = 0; k < query->view->keys_count; k++) {
        if (query->view->keys[k].column == column) {
            return pin_of_key(query, k);
        }
    }
    return NULL;
}

/* The pins that decide the place of a group, in the order in which they are hashed. 0 when some are missing or there
 * are too many combinations. */
static uint32_t deciding_pins(const struct ab_query *query, const struct ab_query_pin **pins)
{
    const struct ab_view *view = query->view;
    uint32_t count = view->is_aligned ? view->stream->partition_columns_count : view->keys_count;
    uint64_t combinations = 1;
    for (uint32_t i = 0; i < count; i++) {
        pins[i] = view->is_aligned ? pin_of_column(query, view->stream->partition_columns[i]) : pin_of_key(query, i);
        if (pins[i] == NULL) {
            return 0;
        }
        combinations *= pins[i]->values_count;
        if (combinations > AB_ROUTE_COMBINATIONS_MAX) {
            return 0;
        }
    }
    return count;
}

/* Marks the place of one combination of values. */
static void combination_mark(const struct ab_query *query, const struct ab_value *values, uint32_t count,
    uint32_t partitions_count, bool *wanted)
{
    struct ab_buffer key = {0};
    if (query->view->is_aligned) {
        for (uint32_t i = 0; i < count; i++) {
            ab_key_put(&key, &values[i]);
        }
        wanted[ab_hash64(AB_HASH_PARTITION, ab_buffer_view(&key)) % partitions_count] = true;
    } else {
        ab_group_key_encode(query->view, values, 0, &key);
        wanted[ab_group_key_shard(ab_buffer_view(&key), partitions_count)] = true;
    }
    ab_buffer_fini(&key);
}

/* Counts through all combinations like an odometer. */
static void combinations_mark(const struct ab_query *query, const struct ab_query_pin *const *pins, uint32_t count,
    uint32_t partitions_count, bool *wanted)
{
    uint32_t at[AB_CATALOG_KEYS_MAX] = {0};
    struct ab_value values[AB_CATALOG_KEYS_MAX];
    for (;;) {
        for (uint32_t i = 0; i < count; i++) {
            if (pins[i]->values_count == 0) {
                return; /* contradicting pins: nothing matches */
            }
            values[i] = pins[i]->values[at[i]];
        }
        combination_mark(query, values, count, partitions_count, wanted);
        uint32_t digit = 0;
        while (digit < count && ++at[digit] == pins[digit]->values_count) {
            at[digit++] = 0;
        }
        if (digit == count) {
            return;
        }
    }
}

void ab_route_query(
    const struct ab_query *query, uint32_t partitions_count, bool *wanted_partitions, bool *wanted_shards)
{
    const struct ab_query_pin *pins[AB_CATALOG_KEYS_MAX] = {0};
    uint32_t count =
        query->view->stream->partition_columns_count > AB_CATALOG_KEYS_MAX ? 0 : deciding_pins(query, pins);
    for (uint32_t p = 0; p < partitions_count; p++) {
        wanted_partitions[p] = count == 0 || !query->view->is_aligned;
        wanted_shards[p] = count == 0;
    }
    if (count == 0) {
        return;
    }
    combinations_mark(query, pins, count, partitions_count, wanted_shards);
    for (uint32_t p = 0; query->view->is_aligned && p < partitions_count; p++) {
        wanted_partitions[p] = wanted_shards[p];
    }
}
