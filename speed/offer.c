#include "speed/offer.h"

#define FORMAT_VERSION 1u
#define HEAD_BYTES 64u
#define HASH_BYTES 8u

static const char magic[4] = {'A', 'B', 'I', '1'};

void ab_offer_encode(const struct ab_offer *offer, struct ab_buffer *out)
{
    ab_buffer_put(out, magic, sizeof magic);
    ab_buffer_put_u16(out, FORMAT_VERSION);
    ab_buffer_put_u16(out, 0);
    ab_buffer_put_u32(out, offer->partition);
    ab_buffer_put_u32(out, 0);
    ab_buffer_put(out, offer->cluster_id, sizeof offer->cluster_id);
    ab_buffer_put_u64(out, offer->offset);
    ab_buffer_put_u64(out, offer->epoch);
    ab_buffer_put_u64(out, offer->chain.low);
    ab_buffer_put_u64(out, offer->chain.high);
    ab_buffer_put_bytes(out, offer->tables);
    ab_buffer_put_u64(out, ab_hash64(AB_HASH_CONTENT, ab_buffer_view(out)));
}

/* True when the last bytes are the hash of all before. */
static bool is_whole(struct ab_bytes bytes)
{
    struct ab_bytes content = ab_bytes_of(bytes.data, bytes.bytes - HASH_BYTES);
    struct ab_reader tail = ab_reader_of(ab_bytes_of(bytes.data + content.bytes, HASH_BYTES));
    return ab_reader_u64(&tail) == ab_hash64(AB_HASH_CONTENT, content);
}

ab_err ab_offer_decode(struct ab_bytes bytes, struct ab_offer *offer)
{
    if (bytes.bytes < HEAD_BYTES + HASH_BYTES || memcmp(bytes.data, magic, sizeof magic) != 0 || !is_whole(bytes)) {
        return AB_CORRUPT;
    }
    struct ab_reader reader = ab_reader_of(ab_bytes_of(bytes.data, bytes.bytes - HASH_BYTES));
    struct ab_offer decoded = {0};
    (void)ab_reader_bytes(&reader, sizeof magic);
    uint16_t version = ab_reader_u16(&reader);
    if (version != FORMAT_VERSION) {
        return version > FORMAT_VERSION ? AB_UNSUPPORTED : AB_CORRUPT;
    }
    bool is_reserved_zero = ab_reader_u16(&reader) == 0;
    decoded.partition = ab_reader_u32(&reader);
    is_reserved_zero = ab_reader_u32(&reader) == 0 && is_reserved_zero;
    memcpy(decoded.cluster_id, ab_reader_bytes(&reader, sizeof decoded.cluster_id).data, sizeof decoded.cluster_id);
    decoded.offset = ab_reader_u64(&reader);
    decoded.epoch = ab_reader_u64(&reader);
    decoded.chain.low = ab_reader_u64(&reader);
    decoded.chain.high = ab_reader_u64(&reader);
    decoded.tables = ab_reader_bytes(&reader, ab_reader_left(&reader));
    if (!is_reserved_zero) {
        return AB_CORRUPT;
    }
    *offer = decoded;
    return AB_OK;
}
