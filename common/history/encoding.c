#include "common/history/encoding.h"

unsigned ab_encoding_width(uint32_t max)
{
    return max == 0 ? 0 : 32u - (unsigned)__builtin_clz(max);
}

/* ---- writing ---- */

static void run_put(struct ab_buffer *out, uint32_t value, size_t length, unsigned width)
{
    ab_buffer_put_varint(out, (uint64_t)length << 1);
    for (unsigned shift = 0; shift < width; shift += 8) {
        ab_buffer_put_u8(out, (uint8_t)(value >> shift));
    }
}

/* Packs values in groups of eight; the last group is filled up with zeros. */
static void groups_put(struct ab_buffer *out, const uint32_t *values, size_t count, unsigned width)
{
    size_t groups = (count + 7) / 8;
    if (groups == 0) {
        return;
    }
    ab_buffer_put_varint(out, ((uint64_t)groups << 1) | 1);
    uint8_t *at = ab_buffer_extend(out, groups * width);
    if (at == NULL) {
        return;
    }
    uint64_t bits = 0;
    unsigned filled = 0;
    for (size_t i = 0; i < groups * 8; i++) {
        bits |= (uint64_t)(i < count ? values[i] : 0) << filled;
        filled += width;
        while (filled >= 8) {
            *at++ = (uint8_t)bits;
            bits >>= 8;
            filled -= 8;
        }
    }
}

void ab_encoding_put(struct ab_buffer *out, const uint32_t *values, size_t count, unsigned width)
{
    size_t literal_start = 0;
    size_t i = 0;
    while (i < count) {
        size_t run = 1;
        while (i + run < count && values[i + run] == values[i]) {
            run++;
        }
        /* A run may start only where the values before it fill whole groups: it lends them what they lack. */
        size_t lent = (8 - (i - literal_start) % 8) % 8;
        if (run >= lent + 8) {
            groups_put(out, values + literal_start, i + lent - literal_start, width);
            run_put(out, values[i], run - lent, width);
            literal_start = i + run;
        }
        i += run;
    }
    groups_put(out, values + literal_start, count - literal_start, width);
}

/* ---- reading ---- */

static inline uint64_t load64(const uint8_t *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

/* Unpacks whole groups of eight; width is a constant in every instance, so that offsets and shifts are too. */
static inline __attribute__((always_inline)) void groups_unpack(
    const uint8_t *restrict data, uint32_t *restrict values, size_t groups, unsigned width)
{
    uint64_t mask = width == 32 ? UINT32_MAX : (UINT64_C(1) << width) - 1;
    for (size_t group = 0; group < groups; group++) {
        for (unsigned k = 0; k < 8; k++) {
            values[k] = (uint32_t)((load64(data + ((k * width) >> 3)) >> ((k * width) & 7)) & mask);
        }
        data += width;
        values += 8;
    }
}

#define UNPACK_CASE(width)                                                                                             \
    case width:                                                                                                        \
        groups_unpack(data, values, groups, width);                                                                    \
        return;

static void unpack(const uint8_t *data, uint32_t *values, size_t groups, unsigned width)
{
    switch (width) {
        UNPACK_CASE(1)
        UNPACK_CASE(2)
        UNPACK_CASE(3)
        UNPACK_CASE(4)
        UNPACK_CASE(5)
        UNPACK_CASE(6)
        UNPACK_CASE(7)
        UNPACK_CASE(8)
        UNPACK_CASE(9)
        UNPACK_CASE(10)
        UNPACK_CASE(11)
        UNPACK_CASE(12)
        UNPACK_CASE(13)
        UNPACK_CASE(14)
        UNPACK_CASE(15)
        UNPACK_CASE(16)
        UNPACK_CASE(17)
        UNPACK_CASE(18)
        UNPACK_CASE(19)
        UNPACK_CASE(20)
        UNPACK_CASE(21)
        UNPACK_CASE(22)
        UNPACK_CASE(23)
        UNPACK_CASE(24)
        UNPACK_CASE(25)
        UNPACK_CASE(26)
        UNPACK_CASE(27)
        UNPACK_CASE(28)
        UNPACK_CASE(29)
        UNPACK_CASE(30)
        UNPACK_CASE(31)
        UNPACK_CASE(32)
    default:
        return;
    }
}

struct hybrid {
    struct ab_reader reader;
    unsigned width;
    /* What the last head announced: */
    bool is_packed;
    size_t left;         /* values of it that are wanted */
    uint32_t value;      /* of a run */
    const uint8_t *data; /* of groups */
};

/* Takes the next head; left is cut to `wanted`, whose bytes are there. */
static ab_err hybrid_next(struct hybrid *hybrid, size_t wanted)
{
    struct ab_reader *reader = &hybrid->reader;
    uint64_t head = ab_reader_varint(reader);
    uint64_t length = head >> 1;
    if (reader->has_failed || length == 0) {
        return AB_CORRUPT;
    }
    hybrid->is_packed = (head & 1) != 0;
    if (!hybrid->is_packed) {
        hybrid->value = 0;
        for (unsigned shift = 0; shift < hybrid->width; shift += 8) {
            hybrid->value |= (uint32_t)ab_reader_u8(reader) << shift;
        }
        hybrid->left = length < wanted ? (size_t)length : wanted;
        return reader->has_failed ? AB_CORRUPT : AB_OK;
    }
    size_t groups_wanted = (wanted + 7) / 8;
    size_t groups = length < groups_wanted ? (size_t)length : groups_wanted;
    hybrid->left = groups * 8 < wanted ? groups * 8 : wanted;
    size_t needed = (hybrid->left * hybrid->width + 7) / 8;
    size_t whole = length > SIZE_MAX / 64 ? SIZE_MAX : (size_t)length * hybrid->width;
    hybrid->data = reader->at;
    if (needed > ab_reader_left(reader)) {
        return AB_CORRUPT;
    }
    (void)ab_reader_bytes(reader, whole < ab_reader_left(reader) ? whole : ab_reader_left(reader));
    return AB_OK;
}

ab_err ab_encoding_take(struct ab_bytes data, unsigned width, uint32_t *values, size_t count)
{
    struct hybrid hybrid = {.reader = ab_reader_of(data), .width = width};
    if (width > 32) {
        return AB_CORRUPT;
    }
    if (width == 0) {
        memset(values, 0, count * sizeof *values);
        return AB_OK;
    }
    while (count > 0) {
        AB_TRY(hybrid_next(&hybrid, count));
        size_t left = hybrid.left;
        if (hybrid.is_packed) {
            uint32_t rest[8];
            unpack(hybrid.data, values, left / 8, width);
            if (left % 8 != 0) {
                unpack(hybrid.data + left / 8 * width, rest, 1, width);
                memcpy(values + left / 8 * 8, rest, left % 8 * sizeof *rest);
            }
        } else {
            for (size_t i = 0; i < left; i++) {
                values[i] = hybrid.value;
            }
        }
        values += left;
        count -= left;
    }
    return AB_OK;
}

/* Byte k of the result is bit k. */
static inline uint64_t spread(uint8_t bits)
{
    uint64_t marks = ((uint64_t)bits * UINT64_C(0x0101010101010101)) & UINT64_C(0x8040201008040201);
    return ((marks + UINT64_C(0x7f7f7f7f7f7f7f7f)) >> 7) & UINT64_C(0x0101010101010101);
}

static void bits_spread(const uint8_t *data, uint8_t *values, size_t count, uint64_t flip)
{
    for (size_t i = 0; i + 8 <= count; i += 8) {
        uint64_t word = spread(data[i / 8]) ^ flip;
        memcpy(values + i, &word, 8);
    }
    if (count % 8 != 0) {
        uint64_t word = spread(data[count / 8]) ^ flip;
        memcpy(values + count / 8 * 8, &word, count % 8);
    }
}

static size_t marks_count(const uint8_t *values, size_t count)
{
    size_t marks = 0;
    for (size_t i = 0; i < count; i++) {
        marks += values[i];
    }
    return marks;
}

ab_err ab_encoding_take_nulls(struct ab_bytes data, uint8_t *nulls, size_t count, size_t *nulls_count)
{
    struct hybrid hybrid = {.reader = ab_reader_of(data), .width = 1};
    size_t done = 0;
    while (done < count) {
        AB_TRY(hybrid_next(&hybrid, count - done));
        if (hybrid.is_packed) {
            bits_spread(hybrid.data, nulls + done, hybrid.left, UINT64_C(0x0101010101010101));
        } else if (hybrid.value > 1) {
            return AB_CORRUPT;
        } else {
            memset(nulls + done, hybrid.value == 0, hybrid.left);
        }
        done += hybrid.left;
    }
    *nulls_count = marks_count(nulls, count);
    return AB_OK;
}

ab_err ab_encoding_take_bits(struct ab_bytes data, uint8_t *values, size_t count)
{
    if ((count + 7) / 8 > data.bytes) {
        return AB_CORRUPT;
    }
    bits_spread(data.data, values, count, 0);
    return AB_OK;
}

uint32_t ab_encoding_max(const uint32_t *values, size_t count)
{
    uint32_t max = 0;
    for (size_t i = 0; i < count; i++) {
        max = values[i] > max ? values[i] : max;
    }
    return max;
}
