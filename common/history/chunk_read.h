/* chunk_read: the pages of one column chunk turned into a column. Everything in the bytes is checked.
 *
 * Threads: owner. Memory: the result from `arena`, working memory from `scratch` (reset by the caller between chunks).
 */
#ifndef ANABRANCH_COMMON_HISTORY_CHUNK_READ_H
#define ANABRANCH_COMMON_HISTORY_CHUNK_READ_H

#include "common/history/footer.h"

struct ab_zstd;

struct ab_chunk_source {
    const struct ab_parquet_field *field;
    const struct ab_parquet_chunk *chunk;
    struct ab_bytes bytes; /* of the chunk; AB_ENCODING_PAD_BYTES more are readable */
    uint32_t rows_count;
    struct ab_zstd *zstd; /* borrowed */
};

/* Decodes all rows of a chunk. AB_CORRUPT, AB_UNSUPPORTED (an encoding that is not read), AB_FULL. */
AB_MUST_USE ab_err ab_chunk_read(
    const struct ab_chunk_source *source, struct ab_arena *arena, struct ab_arena *scratch, struct ab_column *column);

/* Reads one value of a statistic. False when the bytes do not fit the type. Text is borrowed from `bytes`. */
bool ab_chunk_bound(struct ab_type type, struct ab_bytes bytes, struct ab_value *value);

#endif
