#include "batch/run_file.h"

#include "common/base/file.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define MAGIC "ABRUN1\n"
#define MAGIC_BYTES 8u
#define SUMMARY_BYTES (9u * 8u)
#define HASH_BYTES 16u

struct ab_run_writer {
    char *path;           /* owned */
    char *temporary_path; /* owned */
    int fd;
    uint64_t file_bytes;
    struct ab_buffer buffer; /* not written yet */
    struct ab_hash_stream *hash;
};

static void writer_free(struct ab_run_writer *writer)
{
    ab_file_close(&writer->fd);
    ab_buffer_fini(&writer->buffer);
    ab_hash_stream_destroy(writer->hash);
    ab_delete(writer->path);
    ab_delete(writer->temporary_path);
    ab_delete(writer);
}

void ab_run_writer_abandon(struct ab_run_writer *writer)
{
    if (writer != NULL) {
        (void)unlink(writer->temporary_path); /* the next writer truncates what is left */
        writer_free(writer);
    }
}

ab_err ab_run_writer_create(const char *path, struct ab_run_writer **writer, struct ab_error *error)
{
    struct ab_run_writer *made = ab_new(struct ab_run_writer);
    made->fd = -1;
    made->path = ab_new_text(path);
    /* An attempt that was thought dead may still be writing the same run. */
    made->temporary_path = ab_new_format("%s.%d.tmp", path, (int)getpid());
    made->hash = ab_hash_stream_create(AB_HASH_CONTENT);
    ab_err err = ab_file_open(made->temporary_path, O_WRONLY | O_CREAT | O_TRUNC, 0640, &made->fd, error);
    if (err != AB_OK) {
        writer_free(made);
        return err;
    }
    ab_buffer_put(&made->buffer, MAGIC, MAGIC_BYTES);
    *writer = made;
    return AB_OK;
}

static ab_err writer_flush(struct ab_run_writer *writer, struct ab_error *error)
{
    struct ab_bytes bytes = ab_buffer_view(&writer->buffer);
    ab_err err = ab_file_write_at(writer->fd, bytes, writer->file_bytes);
    if (err != AB_OK) {
        return ab_error_set(error, err, "write %s: %s", writer->temporary_path, ab_err_text(err));
    }
    ab_hash_stream_update(writer->hash, bytes);
    writer->file_bytes += bytes.bytes;
    ab_buffer_clear(&writer->buffer);
    return AB_OK;
}

ab_err ab_run_writer_add(struct ab_run_writer *writer, struct ab_bytes key, struct ab_bytes row, struct ab_error *error)
{
    ab_buffer_put_varint(&writer->buffer, (uint64_t)key.bytes + 1);
    ab_buffer_put_bytes(&writer->buffer, key);
    ab_buffer_put_blob(&writer->buffer, row);
    return writer->buffer.bytes >= AB_RUN_BUFFER_BYTES ? writer_flush(writer, error) : AB_OK;
}

ab_err ab_run_writer_finish(struct ab_run_writer *writer, const struct ab_run_summary *summary, struct ab_error *error)
{
    const uint64_t numbers[] = {summary->digest.sum.low, summary->digest.sum.high, summary->digest.groups_count,
        summary->digest.rows_count, summary->counts.aggregated, summary->counts.filtered, summary->counts.expired,
        summary->counts.faults, summary->rows_scanned};
    _Static_assert(sizeof numbers == SUMMARY_BYTES, "the summary is as long as the format says");
    ab_buffer_put_varint(&writer->buffer, 0);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        ab_buffer_put_u64(&writer->buffer, numbers[i]);
    }
    ab_err err = writer_flush(writer, error);
    if (err == AB_OK) {
        struct ab_hash128 hash = ab_hash_stream_digest(writer->hash);
        ab_buffer_put_u64(&writer->buffer, hash.low);
        ab_buffer_put_u64(&writer->buffer, hash.high);
        err = writer_flush(writer, error);
    }
    if (err == AB_OK && rename(writer->temporary_path, writer->path) != 0) {
        err = ab_error_set(error, AB_IO, "rename %s", writer->temporary_path);
    }
    if (err != AB_OK) {
        ab_run_writer_abandon(writer);
        return err;
    }
    writer_free(writer);
    return AB_OK;
}

/* ---- reading ---- */

struct ab_run_reader {
    char *path; /* owned */
    int fd;
    uint64_t file_bytes;
    uint64_t at;             /* file offset after what is buffered */
    struct ab_buffer buffer; /* bytes [start, bytes) are not consumed */
    size_t start;
    struct ab_hash_stream *hash;
    struct ab_run_summary summary; /* known at the end */
    bool is_done;
};

void ab_run_reader_close(struct ab_run_reader *reader)
{
    if (reader == NULL) {
        return;
    }
    ab_file_close(&reader->fd);
    ab_buffer_fini(&reader->buffer);
    ab_hash_stream_destroy(reader->hash);
    ab_delete(reader->path);
    ab_delete(reader);
}

static ab_err corrupt(const struct ab_run_reader *reader, struct ab_error *error)
{
    return ab_error_set(
        error, AB_CORRUPT, "%s: damaged before byte %llu", reader->path, (unsigned long long)reader->at);
}

/* Reads on; what was consumed is dropped. AB_END when the file has no more. */
static ab_err reader_fill(struct ab_run_reader *reader, struct ab_error *error)
{
    uint64_t hashed_end = reader->file_bytes - HASH_BYTES;
    size_t left = reader->buffer.bytes - reader->start;
    if (reader->at == hashed_end || left > AB_RUN_GROUP_BYTES_MAX) {
        return corrupt(reader, error);
    }
    if (left > 0) {
        memmove(reader->buffer.data, reader->buffer.data + reader->start, left);
    }
    reader->buffer.bytes = left;
    reader->start = 0;
    uint64_t rest = hashed_end - reader->at;
    size_t bytes = rest < AB_RUN_BUFFER_BYTES ? (size_t)rest : AB_RUN_BUFFER_BYTES;
    uint8_t *room = ab_buffer_extend(&reader->buffer, bytes);
    ab_err err = ab_file_read_at(reader->fd, room, bytes, reader->at);
    if (err != AB_OK) {
        return ab_error_set(error, err == AB_END ? AB_CORRUPT : err, "read %s", reader->path);
    }
    ab_hash_stream_update(reader->hash, ab_bytes_of(room, bytes));
    reader->at += bytes;
    return AB_OK;
}

static struct ab_reader reader_view(const struct ab_run_reader *reader)
{
    return ab_reader_of(ab_bytes_of(reader->buffer.data + reader->start, reader->buffer.bytes - reader->start));
}

ab_err ab_run_reader_open(const char *path, struct ab_run_reader **reader, struct ab_error *error)
{
    struct ab_run_reader *made = ab_new(struct ab_run_reader);
    made->fd = -1;
    made->path = ab_new_text(path);
    made->hash = ab_hash_stream_create(AB_HASH_CONTENT);
    ab_err err = ab_file_open(path, O_RDONLY, 0, &made->fd, error);
    if (err == AB_OK) {
        err = ab_file_bytes(made->fd, &made->file_bytes);
    }
    if (err == AB_OK && made->file_bytes < MAGIC_BYTES + 1 + SUMMARY_BYTES + HASH_BYTES) {
        err = corrupt(made, error);
    }
    if (err == AB_OK) {
        err = reader_fill(made, error);
    }
    if (err == AB_OK && memcmp(made->buffer.data, MAGIC, MAGIC_BYTES) != 0) {
        err = corrupt(made, error);
    }
    if (err != AB_OK) {
        ab_run_reader_close(made);
        return err;
    }
    made->start = MAGIC_BYTES;
    *reader = made;
    return AB_OK;
}

/* After the 0: the summary, then nothing, then the hash. */
static ab_err end_read(struct ab_run_reader *reader, struct ab_error *error)
{
    while (reader->buffer.bytes - reader->start < 1 + SUMMARY_BYTES) {
        AB_TRY(reader_fill(reader, error));
    }
    struct ab_reader view = reader_view(reader);
    (void)ab_reader_u8(&view);
    struct ab_run_summary *summary = &reader->summary;
    uint64_t *const numbers[] = {&summary->digest.sum.low, &summary->digest.sum.high, &summary->digest.groups_count,
        &summary->digest.rows_count, &summary->counts.aggregated, &summary->counts.filtered, &summary->counts.expired,
        &summary->counts.faults, &summary->rows_scanned};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        *numbers[i] = ab_reader_u64(&view);
    }
    uint8_t stored[HASH_BYTES];
    ab_err err = ab_file_read_at(reader->fd, stored, sizeof stored, reader->file_bytes - sizeof stored);
    struct ab_reader hash = ab_reader_of(ab_bytes_of(stored, sizeof stored));
    struct ab_hash128 expected = {.low = ab_reader_u64(&hash)};
    expected.high = ab_reader_u64(&hash);
    if (err != AB_OK || ab_reader_finish(&view) != AB_OK || reader->at != reader->file_bytes - HASH_BYTES ||
        !ab_hash128_equal(expected, ab_hash_stream_digest(reader->hash))) {
        return corrupt(reader, error);
    }
    reader->is_done = true;
    return AB_END;
}

ab_err ab_run_reader_next(
    struct ab_run_reader *reader, struct ab_bytes *key, struct ab_bytes *row, struct ab_error *error)
{
    if (reader->is_done) {
        return AB_END;
    }
    for (;;) {
        struct ab_reader view = reader_view(reader);
        uint64_t head = ab_reader_varint(&view);
        if (!view.has_failed && head == 0) {
            return end_read(reader, error);
        }
        struct ab_bytes found_key = ab_reader_bytes(&view, (size_t)(head - 1));
        struct ab_bytes found_row = ab_reader_blob(&view);
        if (!view.has_failed) {
            reader->start = (size_t)(view.at - reader->buffer.data);
            *key = found_key;
            *row = found_row;
            return AB_OK;
        }
        AB_TRY(reader_fill(reader, error));
    }
}

ab_err ab_run_check(const char *path, struct ab_run_summary *summary, struct ab_error *error)
{
    struct ab_run_reader *reader = NULL;
    struct ab_bytes key;
    struct ab_bytes row;
    uint64_t bytes = 0;
    AB_TRY(ab_run_reader_open(path, &reader, error));
    ab_err err = AB_OK;
    while (err == AB_OK) {
        err = ab_run_reader_next(reader, &key, &row, error);
        bytes += err == AB_OK ? key.bytes + row.bytes : 0;
    }
    if (err == AB_END) {
        *summary = reader->summary;
        summary->bytes = bytes;
        err = AB_OK;
    }
    ab_run_reader_close(reader);
    return err;
}
