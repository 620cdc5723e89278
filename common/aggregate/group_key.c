#include "common/aggregate/group_key.h"

#include "common/aggregate/pane.h"

uint32_t ab_group_key_chunk(const struct ab_view *view, ab_time_us pane_start_us)
{
    if (view->pane_us == 0 || view->chunk_us == 0) {
        return 0;
    }
    int64_t quotient = pane_start_us / view->chunk_us;
    quotient -= pane_start_us % view->chunk_us < 0 ? 1 : 0;
    int64_t half = INT64_C(1) << 31;
    return quotient < -half ? 0 : quotient >= half ? UINT32_MAX : (uint32_t)(quotient + half);
}

static void put_u32_big_endian(struct ab_buffer *out, uint32_t number)
{
    number = __builtin_bswap32(number);
    ab_buffer_put(out, &number, sizeof(number));
}

void ab_group_key_encode(
    const struct ab_view *view, const struct ab_value *values, ab_time_us pane_start_us, struct ab_buffer *out)
{
    ab_time_us pane = view->pane_us == 0 ? 0 : pane_start_us;
    put_u32_big_endian(out, ab_group_key_chunk(view, pane));
    for (uint32_t k = 0; k < view->keys_count; k++) {
        ab_key_put(out, &values[k]);
    }
    ab_key_put_i64(out, pane);
}

ab_err ab_group_key_decode(const struct ab_view *view, struct ab_bytes key, struct ab_arena *arena,
    struct ab_value *values, ab_time_us *pane_start_us)
{
    struct ab_reader reader = ab_reader_of(key);
    uint32_t chunk = __builtin_bswap32(ab_reader_u32(&reader));
    for (uint32_t k = 0; k < view->keys_count; k++) {
        AB_TRY(ab_key_take(&reader, view->keys[k].type, arena, &values[k]));
        if (values[k].is_null && view->stream->columns[view->keys[k].column].is_not_null) {
            return AB_CORRUPT;
        }
    }
    if (reader.has_failed || ab_reader_left(&reader) != sizeof(int64_t)) {
        return AB_CORRUPT;
    }
    ab_time_us pane = ab_key_take_i64(&reader);
    bool is_consistent = view->pane_us == 0 ? chunk == 0 && pane == 0 : chunk == ab_group_key_chunk(view, pane);
    if (!is_consistent) {
        return AB_CORRUPT;
    }
    *pane_start_us = pane;
    return ab_reader_finish(&reader);
}

ab_err ab_group_key_pane(struct ab_bytes key, ab_time_us *pane_start_us)
{
    if (key.bytes < sizeof(uint32_t) + sizeof(int64_t)) {
        return AB_CORRUPT;
    }
    struct ab_reader reader = ab_reader_of(ab_bytes_of(key.data + key.bytes - sizeof(int64_t), sizeof(int64_t)));
    *pane_start_us = ab_key_take_i64(&reader);
    return AB_OK;
}

uint32_t ab_group_key_shard(struct ab_bytes key, uint32_t shards_count)
{
    size_t around = sizeof(uint32_t) + sizeof(int64_t);
    struct ab_bytes keys = ab_bytes_of(key.data, 0);
    if (key.bytes > around) {
        keys = ab_bytes_of(key.data + sizeof(uint32_t), key.bytes - around);
    }
    return (uint32_t)(ab_hash64(AB_HASH_SHARD, keys) % shards_count);
}
