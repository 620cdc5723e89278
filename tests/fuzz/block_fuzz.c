/* The block decoder: whatever it accepts, its encoder writes, and reads back the same. */
#include "common/base/assert.h"
#include "common/block/block.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

/* Touches every value, so that a sanitizer sees a bad pointer or code. */
static uint64_t values_sum(const struct ab_block *block)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < block->columns_count; i++) {
        for (uint32_t row = 0; row < block->rows_count; row++) {
            struct ab_value value = ab_column_value(&block->columns[i].column, row);
            if (value.is_null) {
                continue;
            }
            if (value.type.kind == AB_TYPE_TEXT) {
                AB_ASSERT(ab_bytes_is_utf8(value.text));
                sum += value.text.bytes;
            } else if (value.type.kind == AB_TYPE_BIGINT) {
                sum += (uint64_t)value.bigint;
            }
        }
    }
    return sum;
}

static void encode_again(const struct ab_block *block, struct ab_arena *arena)
{
    for (int compression = AB_BLOCK_PLAIN; compression <= AB_BLOCK_LZ4; compression++) {
        struct ab_buffer encoded = {0};
        struct ab_block again;
        ab_err err = ab_block_encode(block, compression, &encoded);
        AB_ASSERT(err == AB_OK || err == AB_TOO_LARGE);
        if (err == AB_OK) {
            AB_ASSERT(ab_block_decode(ab_buffer_view(&encoded), arena, &again, NULL) == AB_OK);
            AB_ASSERT(again.rows_count == block->rows_count && again.columns_count == block->columns_count);
            AB_ASSERT(values_sum(&again) == values_sum(block));
        }
        ab_buffer_fini(&encoded);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct ab_arena arena = {0};
    struct ab_block block;
    struct ab_error error = {0};
    if (ab_block_decode(ab_bytes_of(data, bytes), &arena, &block, &error) == AB_OK) {
        encode_again(&block, &arena);
    }
    ab_arena_fini(&arena);
    return 0;
}
