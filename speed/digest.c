#include "speed/digest.h"

#include "speed/span.h"
#include "speed/partition_private.h"

#include <inttypes.h>

#define PREFIX_BYTES 5u

static ab_err digest_walk(
    struct ab_state_iterator *iterator, struct ab_digest *digest, struct ab_row_counts *counts, struct ab_error *error)
{
    struct ab_bytes key;
    struct ab_bytes value;
    uint64_t offset = 0;
    ab_err err = ab_state_iterator_next(iterator, &key, &value, error);
    if (err == AB_END || (err == AB_OK && (key.bytes != 7 || key.data[4] != 0))) {
        return AB_NOT_FOUND;
    }
    AB_TRY(err);
    AB_TRY(ab_span_offset_decode(value, &offset, counts));
    while ((err = ab_state_iterator_next(iterator, &key, &value, error)) == AB_OK) {
        AB_TRY(key.bytes < PREFIX_BYTES ? AB_CORRUPT : AB_OK);
        AB_TRY(ab_digest_add(digest, ab_bytes_of(key.data + PREFIX_BYTES, key.bytes - PREFIX_BYTES), value));
    }
    return err == AB_END ? AB_OK : err;
}

ab_err ab_digest_span(struct ab_partition *partition, uint64_t cut, uint32_t uid, struct ab_digest *digest,
    struct ab_row_counts *counts, struct ab_error *error)
{
    struct ab_closed_span span;
    AB_TRY(ab_partition_closed_span(partition, cut, &span, error));
    if (!span.is_flushed) {
        return ab_error_set(error, AB_AGAIN, "span %" PRIu64 " is not stored yet", cut);
    }
    struct ab_buffer from = {0};
    ab_span_offset_key(uid, &from);
    uint8_t until[PREFIX_BYTES] = {(uint8_t)(uid >> 24), (uint8_t)(uid >> 16), (uint8_t)(uid >> 8), (uint8_t)uid, 2};
    struct ab_state_iterator *iterator = NULL;
    ab_err err = ab_state_iterator_open(
        partition->state, span.family, ab_buffer_view(&from), ab_bytes_of(until, sizeof(until)), &iterator, error);
    ab_buffer_fini(&from);
    struct ab_digest found = {0};
    struct ab_row_counts found_counts = {0};
    if (err == AB_OK) {
        err = digest_walk(iterator, &found, &found_counts, error);
        ab_state_iterator_close(iterator);
    }
    if (err == AB_NOT_FOUND) {
        return ab_error_set(error, AB_NOT_FOUND, "view %u is not kept in span %" PRIu64, uid, cut);
    }
    AB_TRY(err);
    *digest = found;
    *counts = found_counts;
    return AB_OK;
}
