/* sealed: the marker of a sealed span of one partition: what is in its files, and between which records. JSON,
 * format 1.
 *
 * {"format":1,"partition":p,"span":"k","from_offset":"…","until_offset":"…","chain":"32
 * hex","start_time_us":…,"time_us":…,
 *  "unlisted_rows":"…","streams":[{"name":"s","rows":"…","accepted":"…","rejected":"…","duplicates":"…"},…]}
 *
 * Written after all files of the span stand under their names, so a span with a marker is whole (DESIGN 5.5). Offsets
 * count records: [from, until), the last one is the cut. start_time_us is T of the cut before (0 = none): it decides
 * which rows of the span had expired. Threads: a value.
 */
#ifndef ANABRANCH_BATCH_SEALED_H
#define ANABRANCH_BATCH_SEALED_H

#include "common/base/hash.h"
#include "common/base/json.h"
#include "common/base/time.h"

/* Rows of one stream, as sealed. */
struct ab_sealed_stream {
    char *name;          /* owned */
    uint64_t rows;       /* as the log's headers say */
    uint64_t accepted;   /* in the Parquet file */
    uint64_t rejected;   /* in the file of dead letters */
    uint64_t duplicates; /* in neither */
};

struct ab_sealed_span {
    uint32_t partition;
    uint64_t span;
    uint64_t from_offset;
    uint64_t until_offset;
    struct ab_hash128 chain; /* of the cut record */
    ab_time_us start_time_us;
    ab_time_us time_us;               /* T of the cut that ends it */
    uint64_t unlisted_rows;           /* of streams that the catalog does not have */
    struct ab_sealed_stream *streams; /* owned; those with rows, in the catalog's order */
    size_t streams_count;
};

/* Makes the JSON form; the caller owns it. */
struct ab_json *ab_sealed_span_encode(const struct ab_sealed_span *span);

/* Reads and checks the JSON form; AB_INVALID, AB_UNSUPPORTED for a newer format. */
AB_MUST_USE ab_err ab_sealed_span_decode(
    const struct ab_json *json, struct ab_sealed_span *span, struct ab_error *error);
void ab_sealed_span_fini(struct ab_sealed_span *span);

/* Finds a stream by name; NULL when it has no rows in the span. */
const struct ab_sealed_stream *ab_sealed_span_stream(const struct ab_sealed_span *span, const char *name);

/* Writes the marker durably; and reads it: AB_NOT_FOUND when the span is not sealed. */
AB_MUST_USE ab_err ab_sealed_span_store(
    const char *directory, const struct ab_sealed_span *span, struct ab_error *error);
AB_MUST_USE ab_err ab_sealed_span_load(
    const char *directory, uint32_t partition, uint64_t number, struct ab_sealed_span *span, struct ab_error *error);

#endif
