/* seal: the records of one partition between two cuts become Parquet files, one per stream, and a marker (DESIGN 5.3).
 *
 * Nothing is judged here: the verdict in each record says which rows count, which are dead letters and which were
 * counted before. The unit is atomic by its marker; a unit that an earlier run sealed is checked and left alone. Equal
 * records give equal files.
 *
 * Threads: owner. Memory: a row group per stream that has rows, charged to the budget.
 */
#ifndef ANABRANCH_BATCH_SEAL_H
#define ANABRANCH_BATCH_SEAL_H

#include "batch/sealed.h"
#include "common/base/memory.h"
#include "common/catalog/catalog.h"

struct ab_seal_unit {
    const char *directory; /* the cluster's */
    const struct ab_catalog *catalog;
    uint32_t partition;
    uint64_t span;
    uint64_t from_offset;           /* first record of the span */
    uint64_t until_offset;          /* after its cut record */
    const struct ab_hash128 *chain; /* what the cut record's must be; NULL = not known */
    struct ab_memory *memory;
    void (*on_record)(uint64_t rows_count, uint64_t bytes, void *context); /* a record was sealed; may be NULL */
    void *context;
};

/* Seals a unit, or finds it sealed (*was_sealed). AB_CORRUPT when the log is not what the unit says, with the place;
 * `sealed` is the caller's to fini. */
AB_MUST_USE ab_err ab_seal_run(
    const struct ab_seal_unit *unit, struct ab_sealed_span *sealed, bool *was_sealed, struct ab_error *error);

#endif
