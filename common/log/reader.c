#include "common/log/log_private.h"
#include "common/log/segment.h"

#include "common/base/file.h"

#include <fcntl.h>
#include <inttypes.h>

struct ab_log_reader {
    struct ab_log *log;  /* borrowed; NULL = a directory alone */
    uint64_t generation; /* of the log when the reader was opened */
    char *directory;     /* owned */
    int fd;              /* current segment; -1 before the first */
    uint64_t next_offset;
    uint64_t until_offset;
    uint64_t
        trusted_offset;     /* what the window holds of records from here on may have been read before it was written */
    uint64_t segment_first; /* first offset of the current segment, for texts */
    bool is_chain_known;
    struct ab_hash128 chain; /* of the record before */
    bool has_origin;         /* the two fields below are known */
    uint8_t cluster_id[16];  /* of the first record read */
    uint32_t partition;      /* of the first record read */
    struct ab_segment_scan scan;
};

static ab_err corrupt_here(const struct ab_log_reader *reader, ab_err err, struct ab_error *error)
{
    return ab_error_set(error, err, "log %s: segment %020" PRIu64 ", byte %" PRIu64 ": record %" PRIu64 ": %s",
        reader->directory, reader->segment_first, reader->scan.position, reader->next_offset, ab_err_text(err));
}

/* Goes to the beginning of the segment whose first record is first_offset. */
static ab_err segment_enter(struct ab_log_reader *reader, uint64_t first_offset, struct ab_error *error)
{
    char *path = ab_segment_path(reader->directory, first_offset);
    int fd = -1;
    ab_err err = ab_file_open(path, O_RDONLY, 0, &fd, error);
    ab_delete(path);
    AB_TRY(err);
    ab_file_close(&reader->fd);
    reader->fd = fd;
    reader->segment_first = first_offset;
    ab_segment_scan_seek(&reader->scan, fd, 0);
    return AB_OK;
}

/* Finds the segment that holds next_offset and goes there. */
static ab_err start_seek(struct ab_log_reader *reader, struct ab_error *error)
{
    uint64_t *first_offsets = NULL;
    size_t count = 0;
    AB_TRY(ab_segment_list(reader->directory, &first_offsets, &count, error));
    size_t behind = 0;
    while (behind < count && first_offsets[behind] <= reader->next_offset) {
        behind++;
    }
    uint64_t first_offset = behind == 0 ? 0 : first_offsets[behind - 1];
    ab_delete(first_offsets);
    if (behind == 0) {
        return ab_error_set(error, AB_NOT_FOUND, "log %s: record %" PRIu64 " is not held any more", reader->directory,
            reader->next_offset);
    }
    AB_TRY(segment_enter(reader, first_offset, error));
    struct ab_log_mark near = {.offset = first_offset};
    if (reader->log != NULL) {
        near = ab_log_near(reader->log, first_offset, reader->next_offset);
        ab_segment_scan_seek(&reader->scan, reader->fd, near.position);
    }
    ab_err err = ab_segment_scan_to(&reader->scan, near.offset, reader->next_offset);
    return err == AB_OK ? AB_OK : corrupt_here(reader, err, error);
}

/* AB_STALE once records were removed under the reader. Checked before anything is read, for what the window holds may
 * have gone, and again behind it, for the file may have changed meanwhile: the generation moves before records go. */
static ab_err stale_check(const struct ab_log_reader *reader, struct ab_error *error)
{
    if (reader->log == NULL || ab_log_generation(reader->log) == reader->generation) {
        return AB_OK;
    }
    return ab_error_set(error, AB_STALE, "log %s: records were removed while it was read at %" PRIu64,
        reader->directory, reader->next_offset);
}

static ab_err reader_open(struct ab_log *log, const char *directory, uint64_t from_offset, uint64_t until_offset,
    struct ab_log_reader **reader, struct ab_error *error)
{
    struct ab_log_reader *opened = ab_new(struct ab_log_reader);
    opened->log = log;
    opened->directory = ab_new_text(directory);
    opened->fd = -1;
    opened->next_offset = from_offset;
    opened->until_offset = until_offset;
    opened->trusted_offset = until_offset;
    opened->is_chain_known = from_offset == 0;
    if (log != NULL) {
        opened->generation = ab_log_generation(log) & ~UINT64_C(1); /* an odd one never matches */
    }
    struct ab_error detail = {0};
    ab_err err = start_seek(opened, &detail);
    ab_err stale = stale_check(opened, error);
    if (stale != AB_OK) {
        err = stale;
    } else if (err != AB_OK && error != NULL) {
        *error = detail;
    }
    if (err != AB_OK) {
        ab_log_reader_close(opened);
        return err;
    }
    *reader = opened;
    return AB_OK;
}

ab_err ab_log_reader_open(const char *directory, uint64_t from_offset, uint64_t until_offset,
    struct ab_log_reader **reader, struct ab_error *error)
{
    return reader_open(NULL, directory, from_offset, until_offset, reader, error);
}

ab_err ab_log_reader_open_on(struct ab_log *log, uint64_t from_offset, uint64_t until_offset,
    struct ab_log_reader **reader, struct ab_error *error)
{
    return reader_open(log, log->directory, from_offset, until_offset, reader, error);
}

void ab_log_reader_close(struct ab_log_reader *reader)
{
    if (reader == NULL) {
        return;
    }
    ab_segment_scan_fini(&reader->scan);
    ab_file_close(&reader->fd);
    ab_delete(reader->directory);
    ab_delete(reader);
}

void ab_log_reader_extend(struct ab_log_reader *reader, uint64_t until_offset)
{
    if (until_offset > reader->until_offset) {
        reader->until_offset = until_offset;
    }
}

/* AB_CORRUPT unless the record is the one that must come next. */
static ab_err record_check(struct ab_log_reader *reader, const struct ab_record *record)
{
    const struct ab_record_header *header = &record->header;
    if (header->offset != reader->next_offset) {
        return AB_CORRUPT;
    }
    if (reader->is_chain_known && !ab_hash128_equal(header->previous_chain, reader->chain)) {
        return AB_CORRUPT;
    }
    return AB_OK;
}

/* AB_CORRUPT when the record is of another cluster or partition than the first one read. */
static ab_err origin_check(struct ab_log_reader *reader, const struct ab_record_header *header)
{
    if (!reader->has_origin) {
        reader->has_origin = true;
        memcpy(reader->cluster_id, header->cluster_id, sizeof(reader->cluster_id));
        reader->partition = header->partition;
        return AB_OK;
    }
    bool is_same = header->partition == reader->partition &&
                   memcmp(header->cluster_id, reader->cluster_id, sizeof(reader->cluster_id)) == 0;
    return is_same ? AB_OK : AB_CORRUPT;
}

/* The next record of the segment, or of the one after it when this one ends here. */
static ab_err record_read(struct ab_log_reader *reader, struct ab_record *record, struct ab_error *error)
{
    ab_err err = ab_segment_scan_next(&reader->scan, record);
    if (err == AB_END && reader->next_offset > reader->segment_first) {
        err = segment_enter(reader, reader->next_offset, error);
        if (err == AB_OK) {
            err = ab_segment_scan_next(&reader->scan, record);
        }
    }
    /* The caller was promised this record, so an end here is a loss. */
    return err == AB_END || err == AB_NOT_FOUND ? AB_CORRUPT : err;
}

/* Reads and checks the next record; the generation is looked at around it. */
static ab_err checked_read(struct ab_log_reader *reader, struct ab_record *record, struct ab_error *error)
{
    AB_TRY(stale_check(reader, error));
    ab_err err = record_read(reader, record, error);
    if (err == AB_OK) {
        err = record_check(reader, record);
    }
    if (err == AB_OK) {
        err = origin_check(reader, &record->header);
    }
    AB_TRY(stale_check(reader, error));
    return err == AB_OK ? AB_OK : corrupt_here(reader, err, error);
}

ab_err ab_log_reader_next(struct ab_log_reader *reader, struct ab_record *record, struct ab_error *error)
{
    if (reader->next_offset >= reader->until_offset) {
        return AB_END;
    }
    if (reader->next_offset >= reader->trusted_offset) {
        ab_segment_scan_seek(&reader->scan, reader->fd, reader->scan.position);
        reader->trusted_offset = reader->until_offset;
    }
    struct ab_record read;
    AB_TRY(checked_read(reader, &read, error));
    reader->next_offset++;
    reader->chain = read.chain;
    reader->is_chain_known = true;
    *record = read;
    return AB_OK;
}
