/* Where a record of a log lies, and what its header says of the one before. */
#include "common/log/log_private.h"
#include "common/log/segment.h"

#include "common/base/file.h"

#include <fcntl.h>
#include <inttypes.h>

/* The header of a staged record. */
static ab_err staged_header(const struct ab_log *log, uint64_t offset, struct ab_record_header *header)
{
    struct ab_bytes left = ab_buffer_view(&log->staging);
    do {
        AB_TRY(ab_record_header_decode(left, header));
        size_t bytes = ab_record_bytes(header);
        left = ab_bytes_of(left.data + bytes, left.bytes - bytes);
    } while (header->offset < offset);
    return AB_OK;
}

/* Index of the segment that holds a written record. */
static size_t segment_of(const struct ab_log *log, uint64_t offset)
{
    size_t index = log->segments_count - 1;
    while (index > 0 && log->first_offsets[index] > offset) {
        index--;
    }
    return index;
}

ab_err ab_log_find(struct ab_log *log, uint64_t offset, struct ab_log_place *place, struct ab_error *error)
{
    size_t index = segment_of(log, offset);
    uint64_t first_offset = log->first_offsets[index];
    char *path = ab_segment_path(log->directory, first_offset);
    int fd = -1;
    ab_err err = ab_file_open(path, O_RDONLY, 0, &fd, error);
    ab_delete(path);
    AB_TRY(err);
    struct ab_segment_scan scan = {0};
    struct ab_log_place found = {.segment_index = index};
    struct ab_log_mark near = ab_log_near(log, first_offset, offset);
    ab_segment_scan_seek(&scan, fd, near.position);
    err = ab_segment_scan_to(&scan, near.offset, offset);
    found.position = scan.position;
    if (err == AB_OK) {
        err = ab_segment_scan_skip(&scan, &found.header);
    }
    if (err == AB_OK && found.header.offset != offset) {
        err = AB_CORRUPT;
    }
    ab_segment_scan_fini(&scan);
    ab_file_close(&fd);
    if (err != AB_OK) {
        /* The record was written, so an end before it is a loss. */
        return ab_error_set(error, err == AB_END || err == AB_NOT_FOUND ? AB_CORRUPT : err,
            "log %s: segment %020" PRIu64 ", byte %" PRIu64 ": no header of record %" PRIu64, log->directory,
            first_offset, found.position, offset);
    }
    *place = found;
    return AB_OK;
}

ab_err ab_log_chain_at(struct ab_log *log, uint64_t offset, struct ab_hash128 *chain, struct ab_error *error)
{
    uint64_t end_offset = ab_log_end_offset(log);
    if (offset < ab_log_start_offset(log) || offset > end_offset) {
        return ab_error_set(error, AB_NOT_FOUND, "log %s: nothing is held at offset %" PRIu64, log->directory, offset);
    }
    if (offset == end_offset && !log->is_chain_known) {
        return ab_error_set(error, AB_CORRUPT, "log %s: nothing says what came before its start", log->directory);
    }
    if (offset == end_offset) {
        *chain = log->chain;
        return AB_OK;
    }
    struct ab_record recent;
    if (ab_log_recent_record(log, offset, &recent) == AB_OK) {
        *chain = recent.header.previous_chain;
        return AB_OK;
    }
    if (offset < atomic_load(&log->written_offset)) {
        struct ab_log_place place;
        AB_TRY(ab_log_find(log, offset, &place, error));
        *chain = place.header.previous_chain;
        return AB_OK;
    }
    struct ab_record_header header;
    if (staged_header(log, offset, &header) != AB_OK) {
        return ab_error_set(error, AB_CORRUPT, "log %s: a staged record is damaged in memory", log->directory);
    }
    *chain = header.previous_chain;
    return AB_OK;
}
