#include "cluster/command/import_source.h"

#include "common/base/assert.h"
#include "common/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

ab_err ab_import_source_open(struct ab_import_source *source, const char *path, struct ab_error *error)
{
    struct stat about;
    *source = (struct ab_import_source){.fd = STDIN_FILENO, .is_stdin = strcmp(path, "-") == 0};
    if (!source->is_stdin) {
        source->fd = -1;
        ab_err err = ab_file_open(path, O_RDONLY, 0, &source->fd, NULL);
        if (err != AB_OK) {
            return ab_error_set(error, err, err == AB_NOT_FOUND ? "there is no file %s" : "%s cannot be opened", path);
        }
    }
    if (fstat(source->fd, &about) == 0 && S_ISDIR(about.st_mode)) {
        return ab_error_set(error, AB_USAGE, "%s is a directory", path);
    }
    if (fstat(source->fd, &about) == 0 && S_ISREG(about.st_mode)) {
        source->raw_bytes = (uint64_t)about.st_size;
    }
    source->data = ab_new_bytes(AB_IMPORT_WINDOW_BYTES);
    source->hash = ab_hash_stream_create(AB_HASH_SOURCE);
    return ab_inflate_stream_open_fd(source->fd, &source->inflate, error);
}

void ab_import_source_close(struct ab_import_source *source)
{
    ab_inflate_stream_close(source->inflate);
    ab_hash_stream_destroy(source->hash);
    ab_delete(source->data);
    ab_delete(source->marks);
    if (!source->is_stdin) {
        ab_file_close(&source->fd);
    }
    *source = (struct ab_import_source){.fd = -1};
}

static int mark_order(const void *left, const void *right)
{
    const struct ab_import_mark *a = left;
    const struct ab_import_mark *b = right;
    return (a->byte_offset > b->byte_offset) - (a->byte_offset < b->byte_offset);
}

/* Feeds the hash with bytes that begin at `hashed`, comparing each mark as its offset is reached; stops at the first
 * that differs. */
static void hash_feed(struct ab_import_source *source, struct ab_bytes bytes)
{
    while (bytes.bytes > 0 && !source->has_changed) {
        size_t step = bytes.bytes;
        bool has_mark = source->next_mark < source->marks_count;
        uint64_t mark_at = has_mark ? source->marks[source->next_mark].byte_offset : UINT64_MAX;
        if (mark_at - source->hashed < step) {
            step = (size_t)(mark_at - source->hashed);
        }
        ab_hash_stream_update(source->hash, ab_bytes_of(bytes.data, step));
        source->hashed += step;
        bytes = ab_bytes_of(bytes.data + step, bytes.bytes - step);
        while (source->next_mark < source->marks_count &&
               source->marks[source->next_mark].byte_offset == source->hashed && !source->has_changed) {
            struct ab_hash128 now = ab_hash_stream_digest(source->hash);
            source->has_changed = !ab_hash128_equal(now, source->marks[source->next_mark].hash);
            source->next_mark += !source->has_changed;
        }
    }
}

/* Brings the hash up to an offset inside the window. */
static void hash_catch_up(struct ab_import_source *source, uint64_t until)
{
    if (until > source->hashed) {
        /* hashed may lie before data[begin]: used-up bytes stay in place until the window moves. */
        const uint8_t *from = source->data + source->begin - (size_t)(source->at - source->hashed);
        hash_feed(source, ab_bytes_of(from, (size_t)(until - source->hashed)));
    }
}

static uint64_t last_good_mark(const struct ab_import_source *source)
{
    return source->next_mark == 0 ? 0 : source->marks[source->next_mark - 1].byte_offset;
}

ab_err ab_import_source_check(const struct ab_import_source *source, uint64_t line, struct ab_error *error)
{
    if (!source->has_changed) {
        return AB_OK;
    }
    return ab_error_set(error, AB_MISMATCH,
        "the source has changed where it had been read already: between byte %" PRIu64 " and byte %" PRIu64
        " (before line %" PRIu64 "); rows counted before cannot be taken back: give the new content another --source",
        last_good_mark(source), source->marks[source->next_mark].byte_offset, line);
}

ab_err ab_import_source_finish(const struct ab_import_source *source, struct ab_error *error)
{
    if (source->next_mark >= source->marks_count || source->has_changed) {
        return AB_OK;
    }
    return ab_error_set(error, AB_MISMATCH,
        "the source has become shorter: it ends at byte %" PRIu64 ", but had been read up to byte %" PRIu64
        "; give the new content another --source",
        source->at + (source->end - source->begin), source->marks[source->marks_count - 1].byte_offset);
}

static uint64_t count_lines(const uint8_t *data, size_t bytes)
{
    uint64_t count = 0;
    const uint8_t *end = data + bytes;
    for (const uint8_t *at = memchr(data, '\n', bytes); at != NULL; at = memchr(at + 1, '\n', (size_t)(end - at - 1))) {
        count++;
        if (at + 1 == end) {
            break;
        }
    }
    return count;
}

/* Reads a regular file up to its last mark and compares, then goes back to its beginning. */
static ab_err prefix_verify(struct ab_import_source *source, struct ab_error *error)
{
    uint64_t lines = 1;
    size_t got = 1;
    while (source->next_mark < source->marks_count && !source->has_changed && got > 0) {
        AB_TRY(ab_inflate_stream_read(source->inflate, source->data, AB_IMPORT_WINDOW_BYTES, &got, error));
        lines += got == 0 ? 0 : count_lines(source->data, got);
        hash_feed(source, ab_bytes_of(source->data, got));
        source->at = source->hashed;
    }
    AB_TRY(ab_import_source_check(source, lines, error));
    AB_TRY(ab_import_source_finish(source, error));
    ab_inflate_stream_close(source->inflate);
    source->inflate = NULL;
    ab_hash_stream_destroy(source->hash);
    source->hash = ab_hash_stream_create(AB_HASH_SOURCE);
    source->hashed = 0;
    source->at = 0;
    source->next_mark = 0;
    source->marks_count = 0; /* all of them are good */
    if (lseek(source->fd, 0, SEEK_SET) != 0) {
        return ab_error_set(error, AB_IO, "cannot go back to the beginning: %s", strerror(errno));
    }
    return ab_inflate_stream_open_fd(source->fd, &source->inflate, error);
}

ab_err ab_import_source_marks(
    struct ab_import_source *source, const struct ab_import_mark *marks, size_t count, struct ab_error *error)
{
    if (count == 0) {
        return AB_OK;
    }
    source->marks = ab_new_array(struct ab_import_mark, count);
    for (size_t i = 0; i < count; i++) {
        source->marks[source->marks_count] = marks[i];
        source->marks_count += marks[i].byte_offset > 0; /* nothing read yet: nothing to compare */
    }
    qsort(source->marks, source->marks_count, sizeof source->marks[0], mark_order);
    return source->raw_bytes > 0 || !source->is_stdin ? prefix_verify(source, error) : AB_OK;
}

struct ab_bytes ab_import_source_window(const struct ab_import_source *source)
{
    return ab_bytes_of(source->data + source->begin, source->end - source->begin);
}

void ab_import_source_advance(struct ab_import_source *source, size_t bytes)
{
    source->begin += bytes;
    source->at += bytes;
}

void ab_import_source_tell(struct ab_import_source *source, uint64_t told)
{
    source->told = told;
}

void ab_import_source_hash(struct ab_import_source *source, uint8_t hash[16])
{
    hash_catch_up(source, source->told);
    struct ab_hash128 digest = ab_hash_stream_digest(source->hash);
    for (unsigned i = 0; i < 8; i++) {
        hash[i] = (uint8_t)(digest.low >> (8 * i));
        hash[8 + i] = (uint8_t)(digest.high >> (8 * i));
    }
}

ab_err ab_import_source_fill(struct ab_import_source *source, struct ab_error *error)
{
    size_t got = 0;
    hash_catch_up(source, source->at);     /* the used-up bytes go */
    AB_ASSERT(source->told == source->at); /* else the hash would run ahead of what blocks say */
    memmove(source->data, source->data + source->begin, source->end - source->begin);
    source->end -= source->begin;
    source->begin = 0;
    if (source->end == AB_IMPORT_WINDOW_BYTES) {
        return ab_error_set(error, AB_FULL, "a row does not fit into the window");
    }
    AB_TRY(ab_inflate_stream_read(
        source->inflate, source->data + source->end, AB_IMPORT_WINDOW_BYTES - source->end, &got, error));
    source->end += got;
    source->is_last = got == 0;
    return AB_OK;
}

bool ab_import_source_wait(const struct ab_import_source *source, int timeout_ms)
{
    struct pollfd wanted = {.fd = source->fd, .events = POLLIN};
    return source->raw_bytes > 0 || poll(&wanted, 1, timeout_ms) != 0;
}
