#include "common/log/damage.h"

#include "common/log/aside.h"
#include "common/log/segment.h"

#include "common/base/file.h"
#include "common/base/logging.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static ab_err segment_open(const char *directory, uint64_t first_offset, int *fd, struct ab_error *error)
{
    char *path = ab_segment_path(directory, first_offset);
    ab_err err = ab_file_open(path, O_RDWR, 0, fd, error);
    ab_delete(path);
    return err;
}

/* The offset behind the last record of the last segment, as far as its headers can be walked. */
static ab_err last_segment_until(
    const char *directory, const struct ab_damage *damage, uint64_t *until, struct ab_error *error)
{
    uint64_t first_offset = damage->first_offsets[damage->segments_count - 1];
    int fd = -1;
    AB_TRY(segment_open(directory, first_offset, &fd, error));
    struct ab_segment_scan scan = {0};
    struct ab_record_header header;
    ab_segment_scan_seek(&scan, fd, 0);
    *until = first_offset;
    while (ab_segment_scan_skip(&scan, &header) == AB_OK && header.offset == *until) {
        (*until)++;
    }
    ab_segment_scan_fini(&scan);
    ab_file_close(&fd);
    return AB_OK;
}

/* The end that the log once had, as far as anything tells. */
static ab_err damage_until(const char *directory, const struct ab_damage *damage, const struct ab_watermark *watermark,
    uint64_t *until, struct ab_error *error)
{
    uint64_t known = larger(damage->next_offset + 1, damage->later_until);
    known = larger(known, larger(watermark->durable_offset, watermark->damaged_until));
    if (damage->segment_index + 1 < damage->segments_count) {
        uint64_t last_until = 0;
        AB_TRY(last_segment_until(directory, damage, &last_until, error));
        known = larger(known, last_until);
    }
    *until = known;
    return AB_OK;
}

bool ab_damage_takes_segment(const struct ab_damage *damage)
{
    return damage->position == 0 && damage->segment_index > 0;
}

/* Copies the bad segment's rest. */
static ab_err rest_copy(
    const struct ab_damage *damage, int fd, const char *path, bool *is_copied, struct ab_error *error)
{
    uint64_t file_bytes = 0;
    ab_err err = ab_file_bytes(fd, &file_bytes);
    if (err != AB_OK) {
        return ab_error_set(error, err, "size of a corrupt segment: %s", ab_err_text(err));
    }
    *is_copied = file_bytes > damage->position;
    return *is_copied ? ab_aside_copy(path, fd, damage->position, file_bytes - damage->position, error) : AB_OK;
}

static ab_err rest_cut(const struct ab_damage *damage, int fd, struct ab_error *error)
{
    ab_err err = ab_segment_truncate(fd, damage->position);
    if (err == AB_OK) {
        err = ab_file_sync(fd);
    }
    return err == AB_OK ? AB_OK : ab_error_set(error, err, "cut a corrupt segment: %s", ab_err_text(err));
}

/* Renames the segments from `first` on, newest first. */
static ab_err segments_rename(
    const char *directory, const struct ab_damage *damage, size_t first, uint64_t serial, struct ab_error *error)
{
    for (size_t i = damage->segments_count; i > first; i--) {
        char *from = ab_segment_path(directory, damage->first_offsets[i - 1]);
        char *to = ab_aside_path(directory, AB_ASIDE_BAD, damage->first_offsets[i - 1], serial);
        ab_err err = ab_file_rename(from, to, error);
        ab_delete(from);
        ab_delete(to);
        AB_TRY(err);
    }
    return AB_OK;
}

static void name_of(const char *path, char name[AB_LOG_ASIDE_NAME_BYTES])
{
    const char *slash = strrchr(path, '/');
    (void)snprintf(name, AB_LOG_ASIDE_NAME_BYTES, "%s", slash == NULL ? path : slash + 1);
}

ab_err ab_damage_set_aside(const char *directory, const struct ab_log_options *options, const struct ab_damage *damage,
    struct ab_watermark *watermark, char name[AB_LOG_ASIDE_NAME_BYTES], struct ab_error *error)
{
    struct ab_watermark lowered = *watermark;
    uint64_t serial = 0;
    AB_TRY(damage_until(directory, damage, watermark, &lowered.damaged_until, error));
    AB_TRY(ab_aside_next_serial(directory, AB_ASIDE_BAD, &serial, error));
    if (lowered.durable_offset > damage->next_offset) {
        lowered.durable_offset = damage->next_offset;
    }
    bool is_whole = ab_damage_takes_segment(damage);
    uint64_t bad_first = damage->first_offsets[damage->segment_index];
    int fd = -1;
    AB_TRY(segment_open(directory, bad_first, &fd, error));
    char *path = ab_aside_path(directory, AB_ASIDE_BAD, is_whole ? bad_first : damage->next_offset, serial);
    bool is_kept = is_whole;
    ab_err err = is_whole ? AB_OK : rest_copy(damage, fd, path, &is_kept, error);
    if (err == AB_OK) {
        err = ab_watermark_store(directory, options, &lowered, error);
    }
    if (err == AB_OK) {
        *watermark = lowered;
        err = segments_rename(directory, damage, damage->segment_index + !is_whole, serial, error);
    }
    if (err == AB_OK && !is_whole) {
        err = rest_cut(damage, fd, error);
    }
    if (err == AB_OK) {
        name[0] = '\0';
        if (is_kept) {
            name_of(path, name);
        }
        ab_warn("corrupt part of a log set aside", "%s: records %" PRIu64 " to %" PRIu64 " are missing until fetched",
            directory, damage->next_offset, lowered.damaged_until);
    }
    ab_file_close(&fd);
    ab_delete(path);
    return err;
}

/* ---- beginning anew ---- */

static ab_err segments_drop(const char *directory, struct ab_error *error)
{
    uint64_t *first_offsets = NULL;
    size_t count = 0;
    AB_TRY(ab_segment_list(directory, &first_offsets, &count, error));
    ab_err err = AB_OK;
    for (size_t i = count; err == AB_OK && i > 0; i--) {
        err = ab_aside_drop_segment(directory, first_offsets[i - 1], error);
    }
    ab_delete(first_offsets);
    return err;
}

ab_err ab_damage_finish_reset(
    const char *directory, const struct ab_log_options *options, struct ab_watermark *watermark, struct ab_error *error)
{
    AB_TRY(segments_drop(directory, error));
    int fd = -1;
    AB_TRY(ab_segment_create(directory, watermark->begin.offset, &fd, error)); /* syncs the directory */
    ab_file_close(&fd);
    struct ab_watermark done = *watermark;
    done.is_resetting = false;
    AB_TRY(ab_watermark_store(directory, options, &done, error));
    *watermark = done;
    return AB_OK;
}
