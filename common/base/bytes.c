#include "common/base/bytes.h"

/* Length of the well-formed UTF-8 sequence at `at`, of which `left` bytes exist; 0 when it is malformed. The bounds of
 * the second byte are those of RFC 3629 section 4: they exclude overlong forms, surrogates and code points > 10FFFF. */
static size_t utf8_sequence_bytes(const uint8_t *at, size_t left)
{
    uint8_t first = at[0];
    if (first < 0x80) {
        return 1;
    }
    size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || left < length) {
        return 0;
    }
    uint8_t low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    uint8_t high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    if (at[1] < low || at[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < length; i++) {
        if ((at[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return length;
}

size_t ab_bytes_utf8_next(struct ab_bytes bytes)
{
    return bytes.bytes == 0 ? 0 : utf8_sequence_bytes(bytes.data, bytes.bytes);
}

bool ab_bytes_is_utf8(struct ab_bytes bytes)
{
    size_t at = 0;
    while (at < bytes.bytes) {
        uint64_t word;
        if (bytes.bytes - at >= sizeof(word)) {
            memcpy(&word, bytes.data + at, sizeof(word));
            if ((word & UINT64_C(0x8080808080808080)) == 0) {
                at += sizeof(word);
                continue;
            }
        }
        size_t length = utf8_sequence_bytes(bytes.data + at, bytes.bytes - at);
        if (length == 0) {
            return false;
        }
        at += length;
    }
    return true;
}

static const uint8_t *reader_take(struct ab_reader *reader, size_t bytes)
{
    if (reader->has_failed || ab_reader_left(reader) < bytes) {
        reader->has_failed = true;
        return NULL;
    }
    const uint8_t *at = reader->at;
    if (bytes > 0) {
        reader->at += bytes;
    }
    return at;
}

static uint64_t reader_number(struct ab_reader *reader, size_t bytes)
{
    const uint8_t *at = reader_take(reader, bytes);
    uint64_t number = 0;
    for (size_t i = 0; at != NULL && i < bytes; i++) {
        number |= (uint64_t)at[i] << (8 * i);
    }
    return number;
}

uint8_t ab_reader_u8(struct ab_reader *reader)
{
    return (uint8_t)reader_number(reader, 1);
}

uint16_t ab_reader_u16(struct ab_reader *reader)
{
    return (uint16_t)reader_number(reader, 2);
}

uint32_t ab_reader_u32(struct ab_reader *reader)
{
    return (uint32_t)reader_number(reader, 4);
}

uint64_t ab_reader_u64(struct ab_reader *reader)
{
    return reader_number(reader, 8);
}

uint64_t ab_reader_varint(struct ab_reader *reader)
{
    uint64_t number = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        const uint8_t *at = reader_take(reader, 1);
        if (at == NULL) {
            return 0;
        }
        if (shift == 63 && *at > 1) {
            break; /* more than 64 bits */
        }
        number |= (uint64_t)(*at & 0x7f) << shift;
        if ((*at & 0x80) == 0) {
            return number;
        }
    }
    reader->has_failed = true;
    return 0;
}

uint64_t ab_reader_varint_short(struct ab_reader *reader)
{
    const uint8_t *start = reader->at;
    uint64_t number = ab_reader_varint(reader);
    if (!reader->has_failed && reader->at - start > 1 && reader->at[-1] == 0) {
        reader->has_failed = true;
        return 0;
    }
    return number;
}

struct ab_bytes ab_reader_bytes(struct ab_reader *reader, size_t bytes)
{
    const uint8_t *at = reader_take(reader, bytes);
    return at == NULL ? ab_bytes_of(NULL, 0) : ab_bytes_of(at, bytes);
}

struct ab_bytes ab_reader_blob(struct ab_reader *reader)
{
    uint64_t bytes = ab_reader_varint(reader);
    if (bytes > ab_reader_left(reader)) {
        reader->has_failed = true;
        return ab_bytes_of(NULL, 0);
    }
    return ab_reader_bytes(reader, (size_t)bytes);
}

ab_err ab_reader_finish(const struct ab_reader *reader)
{
    return reader->has_failed || reader->at != reader->end ? AB_CORRUPT : AB_OK;
}
