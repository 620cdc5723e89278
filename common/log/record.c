#include "common/log/record.h"

#include "common/base/assert.h"

static const uint8_t record_magic[4] = {'A', 'B', 'R', '1'};

enum {
    RECORD_FORMAT_VERSION = 1,
    RECORD_ALIGNMENT = 8,
    RECORD_BODY_CHECKSUM_AT = 112,
    RECORD_HEADER_CHECKSUM_AT = 120,
};

static size_t payload_bytes(const struct ab_record_header *header)
{
    return (size_t)header->verdict_bytes + header->body_bytes;
}

size_t ab_record_bytes(const struct ab_record_header *header)
{
    size_t bytes = AB_RECORD_HEADER_BYTES + payload_bytes(header);
    return (bytes + RECORD_ALIGNMENT - 1) / RECORD_ALIGNMENT * RECORD_ALIGNMENT;
}

/* ---- writing ---- */

static void put_u16(uint8_t *at, uint16_t value)
{
    at[0] = (uint8_t)value;
    at[1] = (uint8_t)(value >> 8);
}

static void put_u32(uint8_t *at, uint32_t value)
{
    put_u16(at, (uint16_t)value);
    put_u16(at + 2, (uint16_t)(value >> 16));
}

static void put_u64(uint8_t *at, uint64_t value)
{
    put_u32(at, (uint32_t)value);
    put_u32(at + 4, (uint32_t)(value >> 32));
}

/* All of the header but its two checksums. */
static void header_write(const struct ab_record_header *header, uint8_t *at)
{
    memset(at, 0, AB_RECORD_HEADER_BYTES);
    memcpy(at, record_magic, sizeof(record_magic));
    put_u16(at + 4, RECORD_FORMAT_VERSION);
    at[6] = (uint8_t)header->kind;
    put_u32(at + 8, header->verdict_bytes);
    put_u32(at + 12, header->body_bytes);
    memcpy(at + 16, header->cluster_id, sizeof(header->cluster_id));
    put_u32(at + 32, header->partition);
    put_u64(at + 40, header->leader_epoch);
    put_u64(at + 48, header->offset);
    put_u64(at + 56, (uint64_t)header->append_time_us);
    put_u64(at + 64, header->durable_offset);
    put_u64(at + 72, header->catalog_version);
    put_u32(at + 80, header->rows_count);
    put_u32(at + 84, header->rejected_count);
    put_u32(at + 88, header->duplicate_count);
    put_u64(at + 96, header->previous_chain.low);
    put_u64(at + 104, header->previous_chain.high);
}

void ab_record_encode(struct ab_record *record, struct ab_buffer *out)
{
    AB_ASSERT(record->verdict.bytes + record->body.bytes <= AB_RECORD_BYTES_MAX);
    struct ab_record_header *header = &record->header;
    header->verdict_bytes = (uint32_t)record->verdict.bytes;
    header->body_bytes = (uint32_t)record->body.bytes;
    size_t bytes = ab_record_bytes(header);
    uint8_t *at = ab_buffer_extend(out, bytes);
    if (at == NULL) {
        return;
    }
    size_t payload = payload_bytes(header);
    uint8_t *body = at + AB_RECORD_HEADER_BYTES;
    header_write(header, at);
    if (record->verdict.bytes > 0) {
        memcpy(body, record->verdict.data, record->verdict.bytes);
    }
    if (record->body.bytes > 0) {
        memcpy(body + record->verdict.bytes, record->body.data, record->body.bytes);
    }
    memset(body + payload, 0, bytes - AB_RECORD_HEADER_BYTES - payload);
    put_u64(at + RECORD_BODY_CHECKSUM_AT, ab_hash64(AB_HASH_RECORD, ab_bytes_of(body, payload)));
    put_u64(at + RECORD_HEADER_CHECKSUM_AT, ab_hash64(AB_HASH_RECORD, ab_bytes_of(at, RECORD_HEADER_CHECKSUM_AT)));
    record->chain = ab_hash128(AB_HASH_RECORD, ab_bytes_of(at, AB_RECORD_HEADER_BYTES + payload));
}

/* ---- reading ---- */

static bool header_is_plausible(const struct ab_record_header *header)
{
    bool kind_is_known = header->kind >= AB_RECORD_BLOCK && header->kind <= AB_RECORD_EPOCH_START;
    return kind_is_known && payload_bytes(header) <= AB_RECORD_BYTES_MAX - AB_RECORD_HEADER_BYTES &&
           (uint64_t)header->rejected_count + header->duplicate_count <= header->rows_count;
}

ab_err ab_record_header_decode(struct ab_bytes bytes, struct ab_record_header *header)
{
    if (bytes.bytes < AB_RECORD_HEADER_BYTES) {
        return AB_END;
    }
    struct ab_reader tail = ab_reader_of(ab_bytes_of(bytes.data + RECORD_HEADER_CHECKSUM_AT, sizeof(uint64_t)));
    if (memcmp(bytes.data, record_magic, sizeof(record_magic)) != 0 ||
        ab_reader_u64(&tail) != ab_hash64(AB_HASH_RECORD, ab_bytes_of(bytes.data, RECORD_HEADER_CHECKSUM_AT))) {
        return AB_CORRUPT;
    }
    struct ab_reader reader =
        ab_reader_of(ab_bytes_of(bytes.data + sizeof(record_magic), AB_RECORD_HEADER_BYTES - sizeof(record_magic)));
    if (ab_reader_u16(&reader) != RECORD_FORMAT_VERSION) {
        return AB_UNSUPPORTED;
    }
    struct ab_record_header read = {.kind = (enum ab_record_kind)ab_reader_u8(&reader)};
    uint32_t reserved = ab_reader_u8(&reader);
    read.verdict_bytes = ab_reader_u32(&reader);
    read.body_bytes = ab_reader_u32(&reader);
    memcpy(read.cluster_id, ab_reader_bytes(&reader, sizeof(read.cluster_id)).data, sizeof(read.cluster_id));
    read.partition = ab_reader_u32(&reader);
    reserved |= ab_reader_u32(&reader);
    read.leader_epoch = ab_reader_u64(&reader);
    read.offset = ab_reader_u64(&reader);
    read.append_time_us = (ab_time_us)ab_reader_u64(&reader);
    read.durable_offset = ab_reader_u64(&reader);
    read.catalog_version = ab_reader_u64(&reader);
    read.rows_count = ab_reader_u32(&reader);
    read.rejected_count = ab_reader_u32(&reader);
    read.duplicate_count = ab_reader_u32(&reader);
    reserved |= ab_reader_u32(&reader);
    read.previous_chain.low = ab_reader_u64(&reader);
    read.previous_chain.high = ab_reader_u64(&reader);
    if (reserved != 0 || !header_is_plausible(&read)) {
        return AB_CORRUPT;
    }
    *header = read;
    return AB_OK;
}

/* The padding is under no checksum, so it is checked to be what it must be. */
static bool padding_is_zero(const uint8_t *at, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        if (at[i] != 0) {
            return false;
        }
    }
    return true;
}

ab_err ab_record_view(struct ab_bytes bytes, struct ab_hash128 chain, struct ab_record *record)
{
    struct ab_record read = {.chain = chain};
    AB_TRY(ab_record_header_decode(bytes, &read.header));
    size_t whole = ab_record_bytes(&read.header);
    if (bytes.bytes < whole) {
        return AB_END;
    }
    const uint8_t *body = bytes.data + AB_RECORD_HEADER_BYTES;
    read.verdict = ab_bytes_of(body, read.header.verdict_bytes);
    read.body = ab_bytes_of(body + read.header.verdict_bytes, read.header.body_bytes);
    read.encoded = ab_bytes_of(bytes.data, whole);
    *record = read;
    return AB_OK;
}

ab_err ab_record_decode(struct ab_bytes bytes, struct ab_record *record)
{
    struct ab_record read;
    AB_TRY(ab_record_view(bytes, (struct ab_hash128){0}, &read));
    size_t payload = payload_bytes(&read.header);
    const uint8_t *body = bytes.data + AB_RECORD_HEADER_BYTES;
    struct ab_reader checksum = ab_reader_of(ab_bytes_of(bytes.data + RECORD_BODY_CHECKSUM_AT, sizeof(uint64_t)));
    if (ab_reader_u64(&checksum) != ab_hash64(AB_HASH_RECORD, ab_bytes_of(body, payload)) ||
        !padding_is_zero(body + payload, read.encoded.bytes - AB_RECORD_HEADER_BYTES - payload)) {
        return AB_CORRUPT;
    }
    read.chain = ab_hash128(AB_HASH_RECORD, ab_bytes_of(bytes.data, AB_RECORD_HEADER_BYTES + payload));
    *record = read;
    return AB_OK;
}
