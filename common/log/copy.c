/* Appending what another replica wrote, byte for byte. */
#include "common/log/log_private.h"

#include <inttypes.h>

/* Where the copy has come to. */
struct copying {
    struct ab_log *log;
    uint64_t next_offset;
    uint64_t epoch_min;
    struct ab_hash128 chain;
};

/* What is wrong with a whole, valid record that should come next; AB_OK when nothing is. */
static ab_err next_check(const struct copying *copying, const struct ab_record_header *header)
{
    const struct ab_log_options *options = &copying->log->options;
    if (header->partition != options->partition ||
        memcmp(header->cluster_id, options->cluster_id, sizeof(header->cluster_id)) != 0) {
        return AB_INVALID;
    }
    if (header->offset != copying->next_offset) {
        return AB_SEQUENCE;
    }
    if (!ab_hash128_equal(header->previous_chain, copying->chain)) {
        return AB_MISMATCH;
    }
    if (header->leader_epoch < copying->epoch_min) {
        return AB_STALE;
    }
    return header->durable_offset <= header->offset ? AB_OK : AB_CORRUPT;
}

/* Checks the record at the front of `bytes`, to be staged at `at`, and moves on; its size goes to *record_bytes. */
static ab_err record_check(struct copying *copying, struct ab_bytes bytes, size_t at, size_t *record_bytes)
{
    struct ab_record record;
    ab_err err = ab_record_decode(bytes, &record);
    if (err != AB_OK) {
        return err == AB_END ? AB_INVALID : err; /* an end within a record */
    }
    AB_TRY(next_check(copying, &record.header));
    copying->next_offset++;
    copying->epoch_min = record.header.leader_epoch;
    copying->chain = record.chain;
    ab_recent_note(&copying->log->recent, at, record.chain);
    *record_bytes = ab_record_bytes(&record.header);
    return AB_OK;
}

/* Checks all records; nothing of them is noted when one is not right. */
static ab_err records_check(struct copying *copying, struct ab_bytes bytes, struct ab_error *error)
{
    struct ab_log *log = copying->log;
    size_t staged_count = (size_t)(copying->next_offset - atomic_load(&log->written_offset));
    for (size_t at = 0; at < bytes.bytes;) {
        size_t record_bytes = 0;
        ab_err err = record_check(
            copying, ab_bytes_of(bytes.data + at, bytes.bytes - at), log->staging.bytes + at, &record_bytes);
        if (err != AB_OK) {
            ab_recent_forget_staged(&log->recent, staged_count);
            return ab_error_set(error, err, "log %s: copy of record %" PRIu64 ", byte %zu of %zu: %s", log->directory,
                copying->next_offset, at, bytes.bytes, ab_err_text(err));
        }
        at += record_bytes;
    }
    return AB_OK;
}

/* Room in the staging buffer, which has the budget before what is only kept; NULL when there is none. */
static uint8_t *staging_extend(struct ab_log *log, size_t bytes)
{
    uint8_t *staged = bytes == 0 ? NULL : ab_buffer_extend(&log->staging, bytes);
    if (log->staging.has_failed) { /* nothing was added: a copy enters whole */
        ab_recent_clear(&log->recent);
        log->staging.has_failed = false;
        staged = ab_buffer_extend(&log->staging, bytes);
        log->staging.has_failed = false;
    }
    return staged;
}

/* Enters the epochs of records that were checked. */
static void epochs_enter(struct ab_log *log, struct ab_bytes bytes)
{
    struct ab_record_header header;
    for (size_t at = 0; at < bytes.bytes; at += ab_record_bytes(&header)) {
        if (ab_record_header_decode(ab_bytes_of(bytes.data + at, bytes.bytes - at), &header) == AB_OK) {
            ab_epochs_add(&log->epochs, header.leader_epoch, header.offset);
        }
    }
}

ab_err ab_log_append_copy(
    struct ab_log *log, struct ab_bytes bytes, struct ab_log_copied *copied, struct ab_error *error)
{
    if (atomic_load(&log->is_poisoned)) {
        return ab_log_poisoned(log, error);
    }
    if (!log->is_chain_known) {
        return ab_error_set(error, AB_CORRUPT, "log %s: nothing says what came before its start", log->directory);
    }
    uint64_t end_offset = atomic_load(&log->end_offset);
    struct copying copying = {.log = log, .next_offset = end_offset, .chain = log->chain};
    copying.epoch_min = ab_epochs_before(&log->epochs, end_offset);
    AB_TRY(records_check(&copying, bytes, error));
    uint8_t *staged = staging_extend(log, bytes.bytes);
    if (staged == NULL && bytes.bytes > 0) {
        ab_recent_forget_staged(&log->recent, (size_t)(end_offset - atomic_load(&log->written_offset)));
        return ab_error_set(
            error, AB_FULL, "log %s: %zu bytes do not fit into the staging buffer", log->directory, bytes.bytes);
    }
    if (staged != NULL) {
        memcpy(staged, bytes.data, bytes.bytes);
        epochs_enter(log, ab_bytes_of(staged, bytes.bytes));
    }
    log->chain = copying.chain;
    atomic_store(&log->end_offset, copying.next_offset);
    *copied =
        (struct ab_log_copied){.records_count = copying.next_offset - end_offset, .end_offset = copying.next_offset};
    return AB_OK;
}
