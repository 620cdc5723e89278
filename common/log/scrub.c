#include "common/log/scrub.h"

#include "common/log/log_private.h"
#include "common/log/segment.h"

#include "common/base/file.h"

#include <fcntl.h>
#include <inttypes.h>

struct ab_log_scrub {
    struct ab_log *log; /* borrowed */
    struct ab_segment_scan scan;
    int fd;                /* segment at hand; -1 = between two */
    uint64_t first_offset; /* of it */
    uint64_t until_offset; /* where the next one begins */
    uint64_t generation;   /* of the log when it was entered */
    uint64_t next_segment; /* first offset from which to look for the next one */
    uint64_t next_offset;  /* record to come */
    bool is_chain_known;
    struct ab_hash128 chain; /* of the record before next_offset */
    struct ab_log_scrub_progress progress;
};

struct ab_log_scrub *ab_log_scrub_create(struct ab_log *log)
{
    struct ab_log_scrub *scrub = ab_new(struct ab_log_scrub);
    scrub->log = log;
    scrub->fd = -1;
    return scrub;
}

void ab_log_scrub_destroy(struct ab_log_scrub *scrub)
{
    if (scrub == NULL) {
        return;
    }
    ab_file_close(&scrub->fd);
    ab_segment_scan_fini(&scrub->scan);
    ab_delete(scrub);
}

void ab_log_scrub_progress(const struct ab_log_scrub *scrub, struct ab_log_scrub_progress *progress)
{
    *progress = scrub->progress;
}

/* Leaves the segment at hand; the next one looked for begins at next_segment or behind. */
static void segment_leave(struct ab_log_scrub *scrub, uint64_t next_segment)
{
    ab_file_close(&scrub->fd);
    scrub->next_segment = next_segment;
}

/* The first closed segment from next_segment on, and where the one behind it begins; AB_END when there is none. */
static ab_err segment_choose(
    const struct ab_log_scrub *scrub, uint64_t *first_offset, uint64_t *until_offset, struct ab_error *error)
{
    uint64_t *first_offsets = NULL;
    size_t count = 0;
    AB_TRY(ab_segment_list(scrub->log->directory, &first_offsets, &count, error));
    ab_err err = AB_END;
    for (size_t i = 0; err == AB_END && i + 1 < count; i++) {
        if (first_offsets[i] >= scrub->next_segment) {
            *first_offset = first_offsets[i];
            *until_offset = first_offsets[i + 1];
            err = AB_OK;
        }
    }
    ab_delete(first_offsets);
    return err;
}

/* Goes to the next closed segment; AB_END at the end of a pass, AB_AGAIN when the log changed just now. */
static ab_err segment_enter(struct ab_log_scrub *scrub, struct ab_error *error)
{
    uint64_t generation = ab_log_generation(scrub->log);
    uint64_t first_offset = 0;
    uint64_t until_offset = 0;
    AB_TRY(segment_choose(scrub, &first_offset, &until_offset, error));
    char *path = ab_segment_path(scrub->log->directory, first_offset);
    ab_err err = ab_file_open(path, O_RDONLY, 0, &scrub->fd, error);
    ab_delete(path);
    if (err != AB_OK) {
        return err == AB_NOT_FOUND ? AB_AGAIN : err; /* trimmed since it was listed */
    }
    (void)posix_fadvise(scrub->fd, 0, 0, POSIX_FADV_DONTNEED); /* advice: the disk is to be read, not memory */
    bool goes_on = scrub->is_chain_known && scrub->next_offset == first_offset && scrub->generation == generation;
    scrub->is_chain_known = goes_on || first_offset == 0;
    scrub->chain = goes_on ? scrub->chain : (struct ab_hash128){0};
    scrub->first_offset = first_offset;
    scrub->until_offset = until_offset;
    scrub->next_offset = first_offset;
    scrub->generation = generation;
    ab_segment_scan_seek(&scrub->scan, scrub->fd, 0);
    return AB_OK;
}

/* AB_CORRUPT unless the record is the one that must stand here. */
static ab_err record_check(struct ab_log_scrub *scrub, const struct ab_record *record)
{
    const struct ab_record_header *header = &record->header;
    const struct ab_log_options *options = &scrub->log->options;
    bool is_ours = header->partition == options->partition &&
                   memcmp(header->cluster_id, options->cluster_id, sizeof(header->cluster_id)) == 0;
    bool is_linked = !scrub->is_chain_known || ab_hash128_equal(header->previous_chain, scrub->chain);
    if (!is_ours || !is_linked || header->offset != scrub->next_offset) {
        return AB_CORRUPT;
    }
    scrub->next_offset++;
    scrub->chain = record->chain;
    scrub->is_chain_known = true;
    scrub->progress.records_count++;
    scrub->progress.bytes_count += record->encoded.bytes;
    return AB_OK;
}

/* True when what was read is still the log's: its segment was not removed, and no record with it. */
static bool is_still_there(const struct ab_log_scrub *scrub)
{
    char *path = ab_segment_path(scrub->log->directory, scrub->first_offset);
    bool is_there = ab_file_exists(path);
    ab_delete(path);
    return is_there && ab_log_generation(scrub->log) == scrub->generation && scrub->generation % 2 == 0;
}

/* Takes note of a bad place and leaves the segment. */
static ab_err bad_report(struct ab_log_scrub *scrub, ab_err err, struct ab_error *error)
{
    if (!is_still_there(scrub)) {
        scrub->is_chain_known = false;
        segment_leave(scrub, scrub->first_offset); /* looked at anew, if it is still closed */
        return AB_AGAIN;
    }
    struct ab_log_scrub_progress *progress = &scrub->progress;
    progress->bad_count++;
    progress->bad_segment = scrub->first_offset;
    progress->bad_position = scrub->scan.position;
    progress->bad_offset = scrub->next_offset;
    scrub->is_chain_known = false;
    segment_leave(scrub, scrub->until_offset);
    return ab_error_set(error, err == AB_IO ? AB_IO : AB_CORRUPT,
        "log %s: segment %020" PRIu64 ", byte %" PRIu64 ": record %" PRIu64 ": %s", scrub->log->directory,
        progress->bad_segment, progress->bad_position, progress->bad_offset, ab_err_text(err));
}

/* Verifies one record, or goes into or out of a segment. */
static ab_err one_verify(struct ab_log_scrub *scrub, struct ab_error *error)
{
    if (scrub->fd < 0) {
        return segment_enter(scrub, error);
    }
    struct ab_record record;
    ab_err err = ab_segment_scan_next(&scrub->scan, &record);
    if (err == AB_END && scrub->next_offset == scrub->until_offset) {
        segment_leave(scrub, scrub->until_offset);
        return AB_OK;
    }
    if (err == AB_OK) {
        uint64_t behind = scrub->scan.position;
        err = record_check(scrub, &record);
        scrub->scan.position = err == AB_OK ? behind : behind - record.encoded.bytes;
    }
    if (err == AB_OK) {
        return AB_OK;
    }
    return bad_report(scrub, err == AB_END ? AB_CORRUPT : err, error);
}

ab_err ab_log_scrub_step(struct ab_log_scrub *scrub, uint64_t bytes_max, struct ab_error *error)
{
    uint64_t begun_at = scrub->progress.bytes_count;
    ab_err err = AB_OK;
    while (err == AB_OK &&
           (scrub->progress.bytes_count == begun_at || scrub->progress.bytes_count - begun_at < bytes_max)) {
        err = one_verify(scrub, error);
    }
    if (err == AB_END) {
        scrub->progress.passes_count++;
        scrub->next_segment = 0;
        scrub->is_chain_known = false;
    }
    return err == AB_AGAIN ? AB_OK : err;
}
