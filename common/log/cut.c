#include "common/log/record.h"

void ab_cut_encode(const struct ab_cut *cut, struct ab_buffer *out)
{
    ab_buffer_put_u64(out, cut->cut);
    ab_buffer_put_u64(out, (uint64_t)cut->time_us);
    ab_buffer_put_u64(out, (uint64_t)cut->horizon_us);
    ab_buffer_put_u64(out, cut->catalog_version);
    ab_buffer_put_u64(out, cut->catalog_hash.low);
    ab_buffer_put_u64(out, cut->catalog_hash.high);
    ab_buffer_put_blob(out, cut->catalog_text);
}

ab_err ab_cut_decode(struct ab_bytes body, struct ab_cut *cut)
{
    struct ab_reader reader = ab_reader_of(body);
    struct ab_cut read = {.cut = ab_reader_u64(&reader)};
    read.time_us = (ab_time_us)ab_reader_u64(&reader);
    read.horizon_us = (ab_time_us)ab_reader_u64(&reader);
    read.catalog_version = ab_reader_u64(&reader);
    read.catalog_hash.low = ab_reader_u64(&reader);
    read.catalog_hash.high = ab_reader_u64(&reader);
    read.catalog_text = ab_reader_blob(&reader);
    AB_TRY(ab_reader_finish(&reader));
    *cut = read;
    return AB_OK;
}
