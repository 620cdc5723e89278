#include "common/history/encoding_numbers.h"

#define BLOCK_VALUES 128u
#define MINIBLOCKS 4u
#define MINIBLOCK_VALUES (BLOCK_VALUES / MINIBLOCKS)
/* What readers accept of other writers. */
#define BLOCK_VALUES_MAX (1u << 20)
#define MINIBLOCKS_MAX 1024u
/* From this width on a value may lie in nine bytes. */
#define WIDTH_WIDE 58u

static uint64_t zigzag(uint64_t value)
{
    return value << 1 ^ (0 - (value >> 63));
}

static uint64_t unzigzag(uint64_t value)
{
    return value >> 1 ^ (0 - (value & 1));
}

static inline uint64_t load64(const uint8_t *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

static inline uint64_t mask_of(unsigned width)
{
    return width == 64 ? UINT64_MAX : (UINT64_C(1) << width) - 1;
}

/* ---- differences: writing ---- */

/* Appends a miniblock: `count` values and zeros up to its size. */
static void miniblock_put(struct ab_buffer *out, const uint64_t *values, size_t count, unsigned width)
{
    uint8_t *at = ab_buffer_extend(out, MINIBLOCK_VALUES * width / 8);
    ab_uint128 bits = 0;
    unsigned filled = 0;
    for (size_t i = 0; at != NULL && i < MINIBLOCK_VALUES; i++) {
        bits |= (ab_uint128)(i < count ? values[i] : 0) << filled;
        for (filled += width; filled >= 8; filled -= 8) {
            *at++ = (uint8_t)bits;
            bits >>= 8;
        }
    }
}

/* Appends a block of differences; overwrites them. */
static void block_put(struct ab_buffer *out, uint64_t *differences, size_t count)
{
    int64_t least = INT64_MAX;
    for (size_t i = 0; i < count; i++) {
        least = (int64_t)differences[i] < least ? (int64_t)differences[i] : least;
    }
    uint8_t widths[MINIBLOCKS] = {0};
    for (size_t i = 0; i < count; i += MINIBLOCK_VALUES) {
        uint64_t any = 0;
        for (size_t k = i; k < count && k < i + MINIBLOCK_VALUES; k++) {
            differences[k] -= (uint64_t)least;
            any |= differences[k];
        }
        widths[i / MINIBLOCK_VALUES] = (uint8_t)(any == 0 ? 0 : 64 - __builtin_clzll(any));
    }
    ab_buffer_put_varint(out, zigzag((uint64_t)least));
    ab_buffer_put(out, widths, sizeof widths);
    for (size_t i = 0; i < count; i += MINIBLOCK_VALUES) {
        size_t left = count - i < MINIBLOCK_VALUES ? count - i : MINIBLOCK_VALUES;
        if (widths[i / MINIBLOCK_VALUES] > 0) {
            miniblock_put(out, differences + i, left, widths[i / MINIBLOCK_VALUES]);
        }
    }
}

void ab_encoding_put_deltas(struct ab_buffer *out, const uint64_t *values, size_t count)
{
    ab_buffer_put_varint(out, BLOCK_VALUES);
    ab_buffer_put_varint(out, MINIBLOCKS);
    ab_buffer_put_varint(out, count);
    ab_buffer_put_varint(out, zigzag(count > 0 ? values[0] : 0));
    for (size_t from = 1; from < count; from += BLOCK_VALUES) {
        uint64_t differences[BLOCK_VALUES];
        size_t left = count - from < BLOCK_VALUES ? count - from : BLOCK_VALUES;
        for (size_t i = 0; i < left; i++) {
            differences[i] = values[from + i] - values[from + i - 1];
        }
        block_put(out, differences, left);
    }
}

/* ---- differences: reading ---- */

/* Adds `count` differences of `width` bits, each `least` more, to `last`. */
static uint64_t differences_add(const uint8_t *restrict data, unsigned width, uint64_t least, uint64_t last,
    uint64_t *restrict values, size_t count)
{
    uint64_t mask = mask_of(width);
    size_t bit = 0;
    if (width < WIDTH_WIDE) {
        for (size_t i = 0; i < count; i++, bit += width) {
            last += least + ((load64(data + (bit >> 3)) >> (bit & 7)) & mask);
            values[i] = last;
        }
        return last;
    }
    for (size_t i = 0; i < count; i++, bit += width) {
        ab_uint128 wide = (ab_uint128)data[(bit >> 3) + 8] << 64 | load64(data + (bit >> 3));
        last += least + ((uint64_t)(wide >> (bit & 7)) & mask);
        values[i] = last;
    }
    return last;
}

/* Takes one block: at most `wanted` values. */
static ab_err block_take(struct ab_reader *reader, size_t miniblocks, size_t miniblock_values, uint64_t *values,
    size_t wanted, uint64_t last)
{
    uint64_t least = unzigzag(ab_reader_varint(reader));
    struct ab_bytes widths = ab_reader_bytes(reader, miniblocks);
    if (reader->has_failed) {
        return AB_CORRUPT;
    }
    for (size_t m = 0; m < miniblocks && wanted > 0; m++) {
        unsigned width = widths.data[m];
        size_t count = miniblock_values < wanted ? miniblock_values : wanted;
        size_t left = ab_reader_left(reader);
        size_t whole = miniblock_values / 8 * width;
        if (width > 64 || (count * width + 7) / 8 > left) {
            return AB_CORRUPT;
        }
        last = differences_add(
            ab_reader_bytes(reader, whole < left ? whole : left).data, width, least, last, values, count);
        values += count;
        wanted -= count;
    }
    return AB_OK;
}

ab_err ab_encoding_take_deltas(struct ab_bytes data, uint64_t *values, size_t count)
{
    if (count == 0) { /* a page of NULLs: some writers leave out the head */
        return AB_OK;
    }
    struct ab_reader reader = ab_reader_of(data);
    uint64_t block_values = ab_reader_varint(&reader);
    uint64_t miniblocks = ab_reader_varint(&reader);
    uint64_t stored = ab_reader_varint(&reader);
    uint64_t first = unzigzag(ab_reader_varint(&reader));
    if (reader.has_failed || stored != count || block_values == 0 || block_values > BLOCK_VALUES_MAX ||
        miniblocks == 0 || miniblocks > MINIBLOCKS_MAX || block_values % (miniblocks * 32) != 0) {
        return AB_CORRUPT;
    }
    values[0] = first;
    for (size_t from = 1; from < count; from += block_values) {
        size_t wanted = count - from < block_values ? count - from : block_values;
        AB_TRY(block_take(&reader, miniblocks, block_values / miniblocks, values + from, wanted, values[from - 1]));
    }
    return AB_OK;
}

/* ---- streams of bytes ---- */

void ab_encoding_put_split(struct ab_buffer *out, const uint8_t *values, size_t count)
{
    uint8_t *streams = ab_buffer_extend(out, count * 8);
    for (size_t k = 0; streams != NULL && k < 8; k++) {
        for (size_t i = 0; i < count; i++) {
            streams[k * count + i] = values[i * 8 + k];
        }
    }
}

typedef uint8_t lanes __attribute__((vector_size(16)));

static inline lanes zip_low(lanes a, lanes b)
{
    return __builtin_shuffle(a, b, (lanes){0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23});
}

static inline lanes zip_high(lanes a, lanes b)
{
    return __builtin_shuffle(a, b, (lanes){8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31});
}

/* Sixteen values: a perfect shuffle of streams k and k + 4, three times over, puts the bytes of each value together. */
static inline void sixteen_join(const uint8_t *data, size_t stride, uint8_t *values)
{
    lanes streams[8];
    for (size_t k = 0; k < 8; k++) {
        memcpy(&streams[k], data + k * stride, sizeof(lanes));
    }
    for (int round = 0; round < 3; round++) {
        lanes zipped[8];
        for (size_t k = 0; k < 4; k++) {
            zipped[2 * k] = zip_low(streams[k], streams[k + 4]);
            zipped[2 * k + 1] = zip_high(streams[k], streams[k + 4]);
        }
        memcpy(streams, zipped, sizeof streams);
    }
    memcpy(values, streams, sizeof streams);
}

ab_err ab_encoding_take_split(struct ab_bytes data, uint8_t *values, size_t count)
{
    if (data.bytes % 8 != 0 || data.bytes / 8 != count) {
        return AB_CORRUPT;
    }
    size_t whole = count / 16 * 16;
    for (size_t i = 0; i < whole; i += 16) {
        sixteen_join(data.data + i, count, values + i * 8);
    }
    for (size_t i = whole; i < count; i++) {
        for (size_t k = 0; k < 8; k++) {
            values[i * 8 + k] = data.data[k * count + i];
        }
    }
    return AB_OK;
}
