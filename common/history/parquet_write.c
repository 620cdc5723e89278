#include "common/history/parquet.h"

#include "common/history/column_buffer.h"
#include "common/history/footer.h"

#include "common/base/file.h"
#include "common/base/hash.h"
#include "common/compress/compress.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

/* A group ends early when its columns hold this much, so that memory stays bounded whatever the texts. */
#define GROUP_BYTES_MAX (24u << 20)
#define ZSTD_LEVEL 1

struct ab_parquet_writer {
    char *path;           /* owned */
    char *temporary_path; /* owned */
    int fd;
    struct ab_memory *memory; /* borrowed */
    struct ab_arena arena;    /* footer: fields, chunks, bounds */
    struct ab_parquet_field *fields;
    size_t fields_count;
    struct ab_column_buffer *columns; /* owned, one a field */
    uint32_t group_rows;
    uint64_t rows_count;
    struct ab_parquet_group *groups; /* owned */
    size_t groups_count;
    size_t groups_capacity;
    uint64_t file_bytes;
    struct ab_column_pages pages; /* scratch */
    struct ab_buffer chunk;       /* scratch: the bytes of one chunk */
    struct ab_buffer compressed;  /* scratch */
    struct ab_zstd zstd;
};

static void writer_free(struct ab_parquet_writer *writer)
{
    if (writer == NULL) {
        return;
    }
    ab_file_close(&writer->fd);
    for (size_t i = 0; i < writer->fields_count && writer->columns != NULL; i++) {
        ab_column_buffer_fini(&writer->columns[i]);
    }
    ab_column_pages_fini(&writer->pages);
    ab_buffer_fini(&writer->chunk);
    ab_buffer_fini(&writer->compressed);
    ab_zstd_fini(&writer->zstd);
    ab_arena_fini(&writer->arena);
    ab_delete(writer->columns);
    ab_delete(writer->groups);
    ab_delete(writer->path);
    ab_delete(writer->temporary_path);
    ab_delete(writer);
}

void ab_parquet_writer_abandon(struct ab_parquet_writer *writer)
{
    if (writer != NULL && writer->fd >= 0) {
        (void)unlink(writer->temporary_path); /* nothing depends on it: the next writer truncates it */
    }
    writer_free(writer);
}

static ab_err fields_copy(struct ab_parquet_writer *writer, const struct ab_parquet_field *fields, size_t count)
{
    writer->fields = ab_arena_zalloc(&writer->arena, (count + 1) * sizeof *writer->fields);
    writer->columns = ab_new_array(struct ab_column_buffer, count + 1);
    if (writer->fields == NULL) {
        return AB_FULL;
    }
    for (size_t i = 0; i < count; i++) {
        writer->fields[i] = fields[i];
        writer->fields[i].name = (const char *)ab_arena_copy(&writer->arena, ab_bytes_of_text(fields[i].name)).data;
        if (writer->fields[i].name == NULL) {
            return AB_FULL;
        }
        ab_column_buffer_init(&writer->columns[i], fields[i].type, fields[i].is_required, writer->memory);
        writer->fields_count = i + 1;
    }
    return AB_OK;
}

ab_err ab_parquet_writer_create(const char *path, const struct ab_parquet_field *fields, size_t fields_count,
    struct ab_memory *memory, struct ab_parquet_writer **writer, struct ab_error *error)
{
    if (fields_count == 0 || fields_count > AB_PARQUET_FIELDS_MAX) {
        return ab_error_set(error, AB_USAGE, "a Parquet file has 1 to %u columns", AB_PARQUET_FIELDS_MAX);
    }
    struct ab_parquet_writer *made = ab_new(struct ab_parquet_writer);
    made->fd = -1;
    made->memory = memory;
    made->path = ab_new_text(path);
    /* Two processes may write the same file at once (an attempt that was thought dead): each its own, equal bytes. */
    made->temporary_path = ab_new_format("%s.%d.tmp", path, (int)getpid());
    ab_arena_init(&made->arena, memory, 0);
    ab_buffer_init(&made->chunk, memory, 0);
    ab_buffer_init(&made->compressed, memory, 0);
    ab_err err = fields_copy(made, fields, fields_count);
    if (err != AB_OK) {
        err = ab_error_set(error, err, "%s: no memory in the budget for its columns", path);
        goto fail;
    }
    err = ab_file_open(made->temporary_path, O_WRONLY | O_CREAT | O_TRUNC, 0640, &made->fd, error);
    if (err != AB_OK) {
        goto fail;
    }
    err = ab_file_write_at(made->fd, ab_bytes_of_text(AB_PARQUET_MAGIC), 0);
    if (err != AB_OK) {
        err = ab_error_set(error, err, "write %s", made->temporary_path);
        goto fail;
    }
    made->file_bytes = 4;
    *writer = made;
    return AB_OK;
fail:
    ab_parquet_writer_abandon(made);
    return err;
}

uint64_t ab_parquet_writer_rows(const struct ab_parquet_writer *writer)
{
    return writer->rows_count;
}

/* Appends a page to the chunk as the codec says. */
static void page_put(struct ab_buffer *chunk, struct ab_parquet_page_head head, struct ab_bytes plain,
    const struct ab_bytes *compressed, uint64_t *uncompressed_bytes)
{
    struct ab_bytes stored = compressed != NULL ? *compressed : plain;
    head.uncompressed_bytes = (uint32_t)plain.bytes;
    head.compressed_bytes = (uint32_t)stored.bytes;
    size_t before = chunk->bytes;
    ab_parquet_page_head_encode(&head, chunk);
    *uncompressed_bytes += chunk->bytes - before + plain.bytes;
    ab_buffer_put_bytes(chunk, stored);
}

/* zstd when it saves at least a quarter, else plain: what saves less, mostly codes and differences that are dense
 * already, is not worth its time at every reading. The codec belongs to the whole chunk. */
static ab_err pages_put(struct ab_parquet_writer *writer, struct ab_parquet_chunk *chunk)
{
    const struct ab_column_pages *pages = &writer->pages;
    struct ab_bytes dictionary = ab_buffer_view(&pages->dictionary);
    struct ab_bytes data = ab_buffer_view(&pages->data);
    struct ab_buffer *compressed = &writer->compressed;
    ab_buffer_clear(compressed);
    ab_buffer_clear(&writer->chunk);
    if (pages->has_dictionary) {
        AB_TRY(ab_zstd_compress(&writer->zstd, dictionary, ZSTD_LEVEL, compressed));
    }
    size_t split = compressed->bytes;
    AB_TRY(ab_zstd_compress(&writer->zstd, data, ZSTD_LEVEL, compressed));
    size_t plain_bytes = dictionary.bytes + data.bytes;
    bool pays = compressed->bytes + plain_bytes / 4 < plain_bytes;
    struct ab_bytes parts[2] = {
        ab_bytes_of(compressed->data, split), ab_bytes_of(compressed->data + split, compressed->bytes - split)};
    chunk->codec = pays ? AB_CODEC_ZSTD : AB_CODEC_PLAIN;
    chunk->has_dictionary = pages->has_dictionary;
    chunk->encoding = pages->encoding;
    if (pages->has_dictionary) {
        struct ab_parquet_page_head head = {
            .kind = AB_PAGE_DICTIONARY, .values_count = pages->dictionary_count, .encoding = AB_ENCODING_PLAIN};
        page_put(&writer->chunk, head, dictionary, pays ? &parts[0] : NULL, &chunk->uncompressed_bytes);
    }
    chunk->data_page_offset = chunk->start + writer->chunk.bytes;
    struct ab_parquet_page_head head = {
        .kind = AB_PAGE_DATA, .values_count = writer->group_rows, .encoding = pages->encoding};
    page_put(&writer->chunk, head, data, pays ? &parts[1] : NULL, &chunk->uncompressed_bytes);
    return ab_buffer_finish(&writer->chunk);
}

static ab_err chunk_write(
    struct ab_parquet_writer *writer, const struct ab_column_buffer *column, struct ab_parquet_chunk *chunk)
{
    chunk->start = writer->file_bytes;
    chunk->values_count = writer->group_rows;
    chunk->nulls_count = column->nulls_count;
    AB_TRY(ab_column_buffer_encode(column, &writer->pages));
    chunk->has_bounds = writer->pages.has_bounds;
    chunk->min = ab_arena_copy(&writer->arena, ab_buffer_view(&writer->pages.min));
    chunk->max = ab_arena_copy(&writer->arena, ab_buffer_view(&writer->pages.max));
    if (chunk->min.data == NULL || chunk->max.data == NULL) {
        return AB_FULL;
    }
    AB_TRY(pages_put(writer, chunk));
    chunk->compressed_bytes = writer->chunk.bytes;
    chunk->hash = ab_hash64(AB_HASH_CONTENT, ab_buffer_view(&writer->chunk));
    AB_TRY(ab_file_write_at(writer->fd, ab_buffer_view(&writer->chunk), writer->file_bytes));
    writer->file_bytes += writer->chunk.bytes;
    return AB_OK;
}

/* Writes the rows held as one row group. */
static ab_err group_flush(struct ab_parquet_writer *writer, struct ab_error *error)
{
    if (writer->groups_count == writer->groups_capacity) {
        writer->groups_capacity = writer->groups_capacity == 0 ? 16 : writer->groups_capacity * 2;
        writer->groups = ab_renew_bytes(writer->groups, writer->groups_capacity * sizeof *writer->groups);
    }
    struct ab_parquet_group *group = &writer->groups[writer->groups_count];
    group->rows_count = writer->group_rows;
    group->chunks = ab_arena_zalloc(&writer->arena, writer->fields_count * sizeof *group->chunks);
    if (group->chunks == NULL) {
        return ab_error_set(error, AB_FULL, "%s: no memory in the budget for a row group", writer->path);
    }
    for (size_t i = 0; i < writer->fields_count; i++) {
        ab_err err = chunk_write(writer, &writer->columns[i], &group->chunks[i]);
        if (err != AB_OK) {
            return ab_error_set(error, err, "write %s: column %s of row group %zu: %s", writer->temporary_path,
                writer->fields[i].name, writer->groups_count, ab_err_text(err));
        }
        ab_column_buffer_clear(&writer->columns[i]);
    }
    writer->groups_count++;
    writer->group_rows = 0;
    return AB_OK;
}

/* The end of the longest run of rows from `from` that has at most `room` rows that count; *counted gets how many. */
static uint32_t slice_end(uint32_t from, uint32_t rows_count, const uint8_t *skip, uint32_t room, uint32_t *counted)
{
    uint32_t until = from;
    uint32_t count = 0;
    while (until < rows_count && count < room) {
        count += skip == NULL || skip[until] == 0;
        until++;
    }
    *counted = count;
    return until;
}

static size_t held_bytes(const struct ab_parquet_writer *writer)
{
    size_t bytes = 0;
    for (size_t i = 0; i < writer->fields_count; i++) {
        bytes += ab_column_buffer_bytes(&writer->columns[i]);
    }
    return bytes;
}

ab_err ab_parquet_writer_add(struct ab_parquet_writer *writer, const struct ab_column *const *columns,
    uint32_t rows_count, const uint8_t *skip, struct ab_error *error)
{
    uint32_t from = 0;
    while (from < rows_count) {
        uint32_t counted = 0;
        uint32_t until = slice_end(from, rows_count, skip, AB_PARQUET_ROW_GROUP_ROWS - writer->group_rows, &counted);
        for (size_t i = 0; i < writer->fields_count; i++) {
            ab_err err = ab_column_buffer_add(&writer->columns[i], columns[i], from, until, skip);
            if (err != AB_OK) {
                return ab_error_set(error, err, "%s: column %s: %s", writer->path, writer->fields[i].name,
                    err == AB_INVALID ? "a NULL where none may be, or another type" : ab_err_text(err));
            }
        }
        writer->group_rows += counted;
        writer->rows_count += counted;
        from = until;
        if (writer->group_rows == AB_PARQUET_ROW_GROUP_ROWS || held_bytes(writer) > GROUP_BYTES_MAX) {
            AB_TRY(group_flush(writer, error));
        }
    }
    return AB_OK;
}

static ab_err footer_write(struct ab_parquet_writer *writer, const struct ab_parquet_note *notes, size_t notes_count)
{
    struct ab_parquet_footer footer = {.rows_count = writer->rows_count,
        .fields = writer->fields,
        .fields_count = writer->fields_count,
        .groups = writer->groups,
        .groups_count = writer->groups_count,
        .notes = (struct ab_parquet_note *)notes,
        .notes_count = notes_count};
    struct ab_buffer *out = &writer->chunk;
    ab_buffer_clear(out);
    ab_parquet_footer_encode(&footer, out);
    ab_buffer_put_u32(out, (uint32_t)out->bytes);
    ab_buffer_put(out, AB_PARQUET_MAGIC, 4);
    AB_TRY(ab_buffer_finish(out));
    AB_TRY(ab_file_write_at(writer->fd, ab_buffer_view(out), writer->file_bytes));
    writer->file_bytes += out->bytes;
    return ab_file_sync(writer->fd);
}

/* Gives the file its name, durably. */
static ab_err writer_publish(struct ab_parquet_writer *writer, struct ab_error *error)
{
    if (rename(writer->temporary_path, writer->path) != 0) {
        return ab_error_set(error, AB_IO, "rename %s to %s", writer->temporary_path, writer->path);
    }
    ab_file_close(&writer->fd);
    char *directory = ab_new_text(writer->path);
    char *slash = strrchr(directory, '/');
    if (slash != NULL) {
        slash[slash == directory ? 1 : 0] = 0;
    }
    ab_err err = ab_file_sync_directory(slash == NULL ? "." : directory);
    if (err != AB_OK) {
        err = ab_error_set(error, err, "sync directory of %s", writer->path);
    }
    ab_delete(directory);
    return err;
}

ab_err ab_parquet_writer_finish(struct ab_parquet_writer *writer, const struct ab_parquet_note *notes,
    size_t notes_count, uint64_t *bytes, struct ab_error *error)
{
    ab_err err = writer->group_rows > 0 ? group_flush(writer, error) : AB_OK;
    if (err == AB_OK) {
        err = footer_write(writer, notes, notes_count);
        if (err != AB_OK) {
            err = ab_error_set(error, err, "write the footer of %s: %s", writer->path, ab_err_text(err));
        }
    }
    if (err == AB_OK) {
        err = writer_publish(writer, error);
    }
    if (err != AB_OK) {
        ab_parquet_writer_abandon(writer);
        return err;
    }
    if (bytes != NULL) {
        *bytes = writer->file_bytes;
    }
    writer_free(writer);
    return AB_OK;
}
