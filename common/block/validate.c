#include "common/block/validate.h"

#define EACH_BYTE UINT64_C(0x0101010101010101)
#define BIT_OF_BYTE UINT64_C(0x8040201008040201) /* byte i holds bit i */

bool ab_validate_bitmap(const uint8_t *bitmap, uint32_t rows_count, uint8_t *nulls, bool *any)
{
    uint32_t bytes_count = (rows_count + 7) / 8;
    uint8_t all = 0;
    for (uint32_t i = 0; i < bytes_count; i++) {
        /* Eight bits to eight bytes: pick bit i into byte i, then carry any set bit up to the top bit of its byte. */
        uint64_t spread = (bitmap[i] * EACH_BYTE) & BIT_OF_BYTE;
        spread = ((spread + 0x7F * EACH_BYTE) >> 7) & EACH_BYTE;
        memcpy(nulls + (size_t)i * 8, &spread, sizeof spread);
        all |= bitmap[i];
    }
    *any = all != 0;
    uint32_t bits_last = rows_count % 8;
    return bits_last == 0 || bitmap[bytes_count - 1] >> bits_last == 0;
}

void ab_validate_bitmap_make(const uint8_t *nulls, uint32_t rows_count, uint8_t *bitmap)
{
    memset(bitmap, 0, (rows_count + 7) / 8);
    for (uint32_t row = 0; row < rows_count; row++) {
        bitmap[row / 8] |= (uint8_t)((nulls[row] != 0) << (row % 8));
    }
}

bool ab_validate_booleans(const uint8_t *values, uint32_t rows_count)
{
    uint8_t all = 0;
    for (uint32_t row = 0; row < rows_count; row++) {
        all |= values[row];
    }
    return all <= 1;
}

void ab_validate_doubles_make_canonical(uint64_t *bits, uint32_t rows_count)
{
    const uint64_t infinity = UINT64_C(0x7FF) << 53; /* without the sign, shifted out */
    const uint64_t nan = UINT64_C(0x7FF8) << 48;
    for (uint32_t row = 0; row < rows_count; row++) {
        uint64_t magnitude = bits[row] << 1;
        uint64_t canonical = magnitude > infinity ? nan : bits[row];
        bits[row] = magnitude == 0 ? 0 : canonical;
    }
}

bool ab_validate_decimals(const ab_int128 *units, uint32_t rows_count, ab_int128 bound)
{
    bool is_outside = false;
    for (uint32_t row = 0; row < rows_count; row++) {
        is_outside |= (units[row] >= bound) | (units[row] <= -bound);
    }
    return !is_outside;
}

bool ab_validate_codes(const uint32_t *codes, uint32_t rows_count, uint32_t count)
{
    uint32_t code_max = 0;
    for (uint32_t row = 0; row < rows_count; row++) {
        code_max = codes[row] > code_max ? codes[row] : code_max;
    }
    return code_max < count;
}

bool ab_validate_dictionary(const uint32_t *ends, uint32_t count, struct ab_bytes bytes)
{
    uint32_t before = 0;
    if (!ab_bytes_is_utf8(bytes)) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (ends[i] < before || ends[i] > bytes.bytes) {
            return false;
        }
        if (ends[i] < bytes.bytes && (bytes.data[ends[i]] & 0xC0) == 0x80) {
            return false;
        }
        before = ends[i];
    }
    return before == bytes.bytes;
}

bool ab_validate_positions(const uint32_t *deltas, uint32_t rows_count, uint64_t first, uint64_t *positions)
{
    uint64_t sum = 0; /* at most 2^16 rows of 2^32: never overflows */
    bool is_rising = deltas[0] == 0;
    positions[0] = first;
    for (uint32_t row = 1; row < rows_count; row++) {
        sum += deltas[row];
        is_rising &= deltas[row] != 0;
        positions[row] = first + sum;
    }
    return is_rising && first <= UINT64_MAX - sum;
}
