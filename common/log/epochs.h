/* epochs: which leader epoch wrote which part of a log: (epoch, first offset), both rising. Pure.
 *
 * A log answers from it up to where it can agree with a leader of another epoch (KIP-101, KIP-279). The table is
 * derived from record headers and never stored, so it cannot say anything else than the records do. A floor is an
 * entry at the log's start for the epoch of the record before it, of which no record is held.
 *
 * Memory: 16 bytes an epoch; a leader's election costs one. Internal to common/log.
 */
#ifndef ANABRANCH_COMMON_LOG_EPOCHS_H
#define ANABRANCH_COMMON_LOG_EPOCHS_H

#include "common/log/log.h"

/* Zeroed memory is an empty table. */
struct ab_epochs {
    struct ab_log_epoch *entries; /* owned */
    size_t count;
    size_t capacity;
    bool has_floor; /* the first entry is one */
};

void ab_epochs_fini(struct ab_epochs *epochs);

/* Empties the table and puts a floor: the record before `offset` has `epoch`. */
void ab_epochs_set_floor(struct ab_epochs *epochs, uint64_t epoch, uint64_t offset);

/* True when a record of this epoch may come next: it does not fall. */
bool ab_epochs_may_add(const struct ab_epochs *epochs, uint64_t epoch);

/* Notes the record at `offset`. Before: ab_epochs_may_add, offsets rise (asserted). */
void ab_epochs_add(struct ab_epochs *epochs, uint64_t epoch, uint64_t offset);

/* Forgets records at or past `end_offset`. */
void ab_epochs_truncate(struct ab_epochs *epochs, uint64_t end_offset);

/* Forgets records below `start_offset`, which is not past the log's end; what comes before it becomes the floor. */
void ab_epochs_trim(struct ab_epochs *epochs, uint64_t start_offset);

/* Epoch of the record before `offset` as far as known, 0 when not. */
uint64_t ab_epochs_before(const struct ab_epochs *epochs, uint64_t offset);

/* The largest epoch <= `epoch` and the offset after its last record; AB_NOT_FOUND when all are larger or none is. */
AB_MUST_USE ab_err ab_epochs_find(
    const struct ab_epochs *epochs, uint64_t epoch, uint64_t log_end, uint64_t *found_epoch, uint64_t *end_offset);

#endif
