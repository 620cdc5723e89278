/* The decoders of log records, verdicts and cuts. Checksums keep random bytes out of a record, so the same input is
 * also given to the payload decoders alone, and to the record decoder once more with its checksums put right. */
#include "common/base/assert.h"
#include "common/log/recover.h"

enum { BODY_CHECKSUM_AT = 112, HEADER_CHECKSUM_AT = 120 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

/* Whatever is accepted encodes to the same bytes. */
static void record_check(struct ab_bytes input)
{
    struct ab_record record;
    if (ab_record_decode(input, &record) != AB_OK) {
        return;
    }
    struct ab_buffer encoded = {0};
    struct ab_record again = record;
    ab_record_encode(&again, &encoded);
    AB_ASSERT(ab_bytes_equal(ab_buffer_view(&encoded), ab_bytes_of(input.data, ab_record_bytes(&record.header))));
    AB_ASSERT(ab_hash128_equal(again.chain, record.chain));
    ab_buffer_fini(&encoded);
}

static void put_u64(uint8_t *at, uint64_t value)
{
    for (int i = 0; i < 8; i++) {
        at[i] = (uint8_t)(value >> 8 * i);
    }
}

/* Gives a copy right checksums: over the payload that the header's lengths name, as far as it is there. */
static void record_reseal(struct ab_buffer *copy)
{
    struct ab_reader lengths = ab_reader_of(ab_bytes_of(copy->data + 8, 8));
    uint64_t payload = (uint64_t)ab_reader_u32(&lengths) + ab_reader_u32(&lengths);
    size_t left = copy->bytes - AB_RECORD_HEADER_BYTES;
    size_t known = payload < left ? (size_t)payload : left;
    memcpy(copy->data, "ABR1", 4);
    put_u64(copy->data + BODY_CHECKSUM_AT,
        ab_hash64(AB_HASH_RECORD, ab_bytes_of(copy->data + AB_RECORD_HEADER_BYTES, known)));
    put_u64(copy->data + HEADER_CHECKSUM_AT, ab_hash64(AB_HASH_RECORD, ab_bytes_of(copy->data, HEADER_CHECKSUM_AT)));
}

/* Rows rise and stay in the block, reasons are bounded. */
static void verdict_check(struct ab_bytes input)
{
    struct ab_verdict_reader reader;
    struct ab_verdict_entry entry;
    uint8_t skip[100] = {0};
    uint32_t entries_count = 0;
    if (ab_verdict_reader_init(&reader, input) == AB_OK) {
        while (ab_verdict_reader_next(&reader, sizeof(skip), &entry) == AB_OK) {
            AB_ASSERT(entry.row < sizeof(skip) && entry.reason.bytes <= AB_REASON_BYTES_MAX);
            entries_count++;
        }
    }
    AB_ASSERT(entries_count <= sizeof(skip));
    (void)!ab_verdict_mark(input, sizeof(skip), skip); /* only that it does not write past the rows */
}

static void cut_check(struct ab_bytes input)
{
    struct ab_cut cut;
    struct ab_cut again;
    if (ab_cut_decode(input, &cut) != AB_OK) {
        return;
    }
    struct ab_buffer encoded = {0};
    ab_cut_encode(&cut, &encoded);
    AB_ASSERT(ab_cut_decode(ab_buffer_view(&encoded), &again) == AB_OK);
    AB_ASSERT(again.cut == cut.cut && ab_bytes_equal(again.catalog_text, cut.catalog_text));
    ab_buffer_fini(&encoded);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static const uint8_t cluster_id[16] = {0};
    struct ab_bytes input = ab_bytes_of(data, bytes);
    record_check(input);
    verdict_check(input);
    cut_check(input);
    struct ab_recover_search search = {.cluster_id = cluster_id, .offset_max = UINT64_MAX};
    ab_recover_find(&search, input);
    (void)ab_recover_search_start(input, 0);
    if (bytes >= AB_RECORD_HEADER_BYTES) {
        struct ab_buffer copy = {0};
        ab_buffer_put_bytes(&copy, input);
        record_reseal(&copy);
        record_check(ab_buffer_view(&copy));
        ab_buffer_fini(&copy);
    }
    return 0;
}
