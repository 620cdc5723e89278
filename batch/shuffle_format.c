#include "batch/shuffle.h"

size_t ab_shuffle_round_bytes(size_t memory_bytes, uint32_t ranks_count)
{
    size_t bytes = memory_bytes == 0 ? AB_SHUFFLE_ROUND_BYTES_MAX : memory_bytes / 4 / ranks_count;
    /* What one rank sends or receives in a round stays within MPI's 31-bit counts. */
    size_t most = ((size_t)512 << 20) / ranks_count;
    bytes = bytes < most ? bytes : most;
    bytes = bytes < AB_SHUFFLE_ROUND_BYTES_MAX ? bytes : AB_SHUFFLE_ROUND_BYTES_MAX;
    return bytes > (64u << 10) ? bytes : (64u << 10);
}

void ab_shuffle_put(struct ab_buffer *buffer, struct ab_bytes key, struct ab_bytes row)
{
    ab_buffer_put_blob(buffer, key);
    ab_buffer_put_blob(buffer, row);
}

ab_err ab_shuffle_take(struct ab_reader *reader, struct ab_bytes *key, struct ab_bytes *row)
{
    if (ab_reader_left(reader) == 0 && !reader->has_failed) {
        return AB_END;
    }
    struct ab_bytes found_key = ab_reader_blob(reader);
    struct ab_bytes found_row = ab_reader_blob(reader);
    if (reader->has_failed) {
        return AB_CORRUPT;
    }
    *key = found_key;
    *row = found_row;
    return AB_OK;
}
