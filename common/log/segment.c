#include "common/log/segment.h"

#include "common/base/assert.h"
#include "common/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

enum { SEGMENT_DIGITS = 20, SEGMENT_READ_TRIES = 16, SEGMENT_SKIP_BYTES = 4096 };

static const char segment_suffix[] = ".seg";

char *ab_segment_path(const char *directory, uint64_t first_offset)
{
    return ab_new_format("%s/%020" PRIu64 "%s", directory, first_offset, segment_suffix);
}

/* True when `name` is a segment's; gives its first offset. */
static bool segment_name_parse(const char *name, uint64_t *first_offset)
{
    if (strlen(name) != SEGMENT_DIGITS + strlen(segment_suffix) || strspn(name, "0123456789") != SEGMENT_DIGITS ||
        strcmp(name + SEGMENT_DIGITS, segment_suffix) != 0) {
        return false;
    }
    errno = 0;
    *first_offset = strtoull(name, NULL, 10);
    return errno == 0;
}

ab_err ab_segment_list(const char *directory, uint64_t **first_offsets, size_t *count, struct ab_error *error)
{
    char **names = NULL;
    size_t names_count = 0;
    AB_TRY(ab_file_list(directory, &names, &names_count, error));
    uint64_t *offsets = ab_new_array(uint64_t, names_count + 1);
    size_t found = 0;
    for (size_t i = 0; i < names_count; i++) {
        found += segment_name_parse(names[i], &offsets[found]);
    }
    ab_file_names_free(names, names_count);
    *first_offsets = offsets;
    *count = found;
    return AB_OK;
}

ab_err ab_segment_create(const char *directory, uint64_t first_offset, int *fd, struct ab_error *error)
{
    char *path = ab_segment_path(directory, first_offset);
    int opened = -1;
    ab_err err = ab_file_open(path, O_RDWR | O_CREAT | O_EXCL, 0600, &opened, error);
    if (err == AB_OK) {
        err = ab_file_sync(opened);
        if (err == AB_OK) {
            err = ab_file_sync_directory(directory);
        }
        if (err != AB_OK) {
            (void)unlink(path); /* the error to report is the first one */
            ab_file_close(&opened);
            (void)ab_error_set(error, err, "make segment %s durable: %s", path, ab_err_text(err));
        }
    }
    ab_delete(path);
    if (err == AB_OK) {
        *fd = opened;
    }
    return err;
}

ab_err ab_segment_truncate(int fd, uint64_t bytes)
{
    int result;
    do {
        result = ftruncate(fd, (off_t)bytes);
    } while (result != 0 && errno == EINTR);
    return result == 0 ? AB_OK : AB_IO;
}

/* ---- scanning ---- */

void ab_segment_scan_seek(struct ab_segment_scan *scan, int fd, uint64_t position)
{
    scan->fd = fd;
    scan->position = position;
    scan->start = 0;
    scan->end = 0;
}

void ab_segment_scan_fini(struct ab_segment_scan *scan)
{
    ab_delete(scan->window);
    *scan = (struct ab_segment_scan){.fd = -1};
}

/* Moves what is unread to the front and makes room for at least `bytes` in all. */
static void window_make_room(struct ab_segment_scan *scan, size_t bytes)
{
    size_t unread = scan->end - scan->start;
    if (scan->capacity < bytes || scan->capacity < AB_SEGMENT_WINDOW_BYTES) {
        size_t capacity = bytes < AB_SEGMENT_WINDOW_BYTES ? AB_SEGMENT_WINDOW_BYTES : bytes;
        uint8_t *window = ab_new_bytes(capacity);
        if (unread > 0) {
            memcpy(window, scan->window + scan->start, unread);
        }
        ab_delete(scan->window);
        scan->window = window;
        scan->capacity = capacity;
    } else if (scan->start > 0) {
        memmove(scan->window, scan->window + scan->start, unread);
    }
    scan->start = 0;
    scan->end = unread;
}

/* Reads on from the file until the window is full or the file ends; *added says how much came. */
static ab_err window_fill(struct ab_segment_scan *scan, size_t bytes, size_t *added)
{
    window_make_room(scan, bytes);
    for (int tries = 0; tries < SEGMENT_READ_TRIES; tries++) {
        uint64_t file_bytes = 0;
        AB_TRY(ab_file_bytes(scan->fd, &file_bytes));
        uint64_t from = scan->position + scan->end;
        uint64_t left = file_bytes > from ? file_bytes - from : 0;
        size_t wanted = scan->capacity - scan->end;
        wanted = left < wanted ? (size_t)left : wanted;
        ab_err err = wanted == 0 ? AB_OK : ab_file_read_at(scan->fd, scan->window + scan->end, wanted, from);
        if (err == AB_OK) {
            scan->end += wanted;
            *added = wanted;
            return AB_OK;
        }
        /* AB_END: the writer cut a failed group off between the two calls. Look again. */
        if (err != AB_END) {
            return err;
        }
    }
    return AB_IO;
}

/* How many bytes the record at the window's start needs to be decoded, as far as is known. */
static size_t record_bytes_needed(struct ab_bytes view)
{
    struct ab_record_header header;
    return ab_record_header_decode(view, &header) == AB_OK ? ab_record_bytes(&header) : AB_RECORD_HEADER_BYTES;
}

ab_err ab_segment_scan_next(struct ab_segment_scan *scan, struct ab_record *record)
{
    for (;;) {
        struct ab_bytes view = ab_bytes_of(scan->window + scan->start, scan->end - scan->start);
        ab_err err = view.bytes == 0 ? AB_END : ab_record_decode(view, record);
        if (err == AB_OK) {
            size_t bytes = ab_record_bytes(&record->header);
            scan->start += bytes;
            scan->position += bytes;
            return AB_OK;
        }
        if (err != AB_END) {
            return err;
        }
        size_t added = 0;
        AB_TRY(window_fill(scan, record_bytes_needed(view), &added));
        if (added == 0) {
            return scan->end == scan->start ? AB_END : AB_CORRUPT;
        }
    }
}

/* Reads the header at the scan's position into the window when it is not there: with some bytes behind it, so that a
 * walk over small records costs a call for many and one over large records a small read each. */
static ab_err header_fill(struct ab_segment_scan *scan)
{
    if (scan->end - scan->start >= AB_RECORD_HEADER_BYTES) {
        return AB_OK;
    }
    uint64_t file_bytes = 0;
    AB_TRY(ab_file_bytes(scan->fd, &file_bytes));
    if (file_bytes <= scan->position) {
        return file_bytes == scan->position ? AB_END : AB_CORRUPT;
    }
    ab_segment_scan_seek(scan, scan->fd, scan->position);
    window_make_room(scan, SEGMENT_SKIP_BYTES);
    uint64_t left = file_bytes - scan->position;
    size_t wanted = left < SEGMENT_SKIP_BYTES ? (size_t)left : SEGMENT_SKIP_BYTES;
    AB_TRY(ab_file_read_at(scan->fd, scan->window, wanted, scan->position));
    scan->end = wanted;
    return AB_OK;
}

ab_err ab_segment_scan_skip(struct ab_segment_scan *scan, struct ab_record_header *header)
{
    AB_TRY(header_fill(scan));
    ab_err err = ab_record_header_decode(ab_bytes_of(scan->window + scan->start, scan->end - scan->start), header);
    if (err != AB_OK) {
        return err == AB_END ? AB_CORRUPT : err;
    }
    size_t bytes = ab_record_bytes(header);
    if (scan->end - scan->start >= bytes) {
        scan->start += bytes;
        scan->position += bytes;
    } else {
        ab_segment_scan_seek(scan, scan->fd, scan->position + bytes);
    }
    return AB_OK;
}

ab_err ab_segment_scan_to(struct ab_segment_scan *scan, uint64_t at_offset, uint64_t offset)
{
    struct ab_record_header header;
    for (uint64_t at = at_offset; at < offset; at++) {
        ab_err err = ab_segment_scan_skip(scan, &header);
        if (err == AB_OK && header.offset != at) {
            err = AB_CORRUPT;
        }
        if (err != AB_OK) {
            return err == AB_END ? AB_NOT_FOUND : err;
        }
    }
    return AB_OK;
}
