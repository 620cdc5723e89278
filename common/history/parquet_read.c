#include "common/history/parquet.h"

#include "common/history/chunk_read.h"
#include "common/history/encoding.h"
#include "common/history/footer.h"

#include "common/base/file.h"
#include "common/base/hash.h"
#include "common/compress/compress.h"

#include <fcntl.h>

/* Room for a chunk of the usual row group with all that decoding it needs: one block, kept from chunk to chunk. */
#define SCRATCH_BYTES ((size_t)4 << 20)

struct ab_parquet_reader {
    char *path;                     /* owned; for texts */
    int fd;                         /* -1 when only a footer was parsed */
    uint64_t pages_end;             /* file offset where the footer starts */
    struct ab_memory footer_memory; /* what the decoded footer may take */
    struct ab_arena arena;          /* footer bytes and what was decoded from them */
    struct ab_parquet_footer footer;
    struct ab_arena scratch; /* of one chunk */
    struct ab_zstd zstd;
};

void ab_parquet_reader_close(struct ab_parquet_reader *reader)
{
    if (reader == NULL) {
        return;
    }
    ab_file_close(&reader->fd);
    ab_zstd_fini(&reader->zstd);
    ab_arena_fini(&reader->scratch);
    ab_arena_fini(&reader->arena);
    ab_delete(reader->path);
    ab_delete(reader);
}

static struct ab_parquet_reader *reader_new(const char *path, size_t footer_bytes)
{
    struct ab_parquet_reader *reader = ab_new(struct ab_parquet_reader);
    reader->fd = -1;
    reader->path = ab_new_text(path);
    /* A chunk of ours takes some 100 bytes of footer and 150 decoded; one of an attacker at least 8 and 150. */
    ab_memory_init(&reader->footer_memory, ((size_t)1 << 20) + footer_bytes * 32, NULL);
    ab_arena_init(&reader->arena, &reader->footer_memory, 0);
    return reader;
}

ab_err ab_parquet_footer_parse(struct ab_bytes footer, struct ab_parquet_reader **reader, struct ab_error *error)
{
    if (footer.bytes > AB_PARQUET_FOOTER_BYTES_MAX) {
        return ab_error_set(error, AB_CORRUPT, "a Parquet footer of %zu bytes", footer.bytes);
    }
    struct ab_parquet_reader *made = reader_new("(footer)", footer.bytes);
    struct ab_bytes copy = ab_arena_copy(&made->arena, footer);
    ab_err err = copy.data == NULL ? ab_error_set(error, AB_FULL, "no memory for a Parquet footer")
                                   : ab_parquet_footer_decode(copy, &made->arena, &made->footer, error);
    if (err != AB_OK) {
        ab_parquet_reader_close(made);
        return err;
    }
    *reader = made;
    return AB_OK;
}

/* Finds the footer by the file's last eight bytes. */
static ab_err tail_read(int fd, uint64_t *footer_start, uint32_t *footer_bytes)
{
    uint8_t tail[AB_PARQUET_TAIL_BYTES];
    uint8_t head[4];
    uint64_t file_bytes = 0;
    AB_TRY(ab_file_bytes(fd, &file_bytes));
    if (file_bytes < 4 + sizeof tail) {
        return AB_CORRUPT;
    }
    AB_TRY(ab_file_read_at(fd, head, sizeof head, 0));
    AB_TRY(ab_file_read_at(fd, tail, sizeof tail, file_bytes - sizeof tail));
    struct ab_reader reader = ab_reader_of(ab_bytes_of(tail, sizeof tail));
    *footer_bytes = ab_reader_u32(&reader);
    if (memcmp(head, AB_PARQUET_MAGIC, 4) != 0 || memcmp(tail + 4, AB_PARQUET_MAGIC, 4) != 0 ||
        *footer_bytes > file_bytes - 4 - sizeof tail || *footer_bytes > AB_PARQUET_FOOTER_BYTES_MAX) {
        return AB_CORRUPT;
    }
    *footer_start = file_bytes - sizeof tail - *footer_bytes;
    return AB_OK;
}

ab_err ab_parquet_reader_open(const char *path, struct ab_parquet_reader **reader, struct ab_error *error)
{
    struct ab_parquet_reader *made = NULL;
    uint8_t *footer = NULL;
    uint64_t start = 0;
    uint32_t bytes = 0;
    int fd = -1;
    AB_TRY(ab_file_open(path, O_RDONLY, 0, &fd, error));
    ab_err err = tail_read(fd, &start, &bytes);
    if (err == AB_OK) {
        footer = ab_memory_alloc(NULL, (size_t)bytes + 1);
        err = footer == NULL ? AB_FULL : ab_file_read_at(fd, footer, bytes, start);
    }
    if (err != AB_OK) {
        err = err == AB_END ? AB_CORRUPT : err;
        err = ab_error_set(error, err, "%s: %s", path, err == AB_CORRUPT ? "not a Parquet file" : ab_err_text(err));
        goto done;
    }
    err = ab_parquet_footer_parse(ab_bytes_of(footer, bytes), &made, error);
    if (err != AB_OK) {
        err = ab_error_wrap(error, err, "%s", path);
        goto done;
    }
    made->fd = fd;
    fd = -1;
    made->pages_end = start;
    ab_delete(made->path);
    made->path = ab_new_text(path);
    *reader = made;
done:
    ab_memory_free(NULL, footer, (size_t)bytes + 1);
    ab_file_close(&fd);
    return err;
}

size_t ab_parquet_reader_fields(const struct ab_parquet_reader *reader, const struct ab_parquet_field **fields)
{
    *fields = reader->footer.fields;
    return reader->footer.fields_count;
}

uint64_t ab_parquet_reader_rows(const struct ab_parquet_reader *reader)
{
    return reader->footer.rows_count;
}

size_t ab_parquet_reader_groups(const struct ab_parquet_reader *reader)
{
    return reader->footer.groups_count;
}

uint64_t ab_parquet_reader_group_rows(const struct ab_parquet_reader *reader, size_t group)
{
    return reader->footer.groups[group].rows_count;
}

const char *ab_parquet_reader_note(const struct ab_parquet_reader *reader, const char *key)
{
    for (size_t i = 0; i < reader->footer.notes_count; i++) {
        if (strcmp(reader->footer.notes[i].key, key) == 0) {
            return reader->footer.notes[i].value;
        }
    }
    return NULL;
}

bool ab_parquet_reader_bounds(const struct ab_parquet_reader *reader, size_t group, size_t field, struct ab_value *min,
    struct ab_value *max, uint64_t *nulls_count)
{
    const struct ab_parquet_chunk *chunk = &reader->footer.groups[group].chunks[field];
    struct ab_type type = reader->footer.fields[field].type;
    struct ab_value low;
    struct ab_value high;
    if (!chunk->has_bounds || !chunk->has_nulls_count || !ab_chunk_bound(type, chunk->min, &low) ||
        !ab_chunk_bound(type, chunk->max, &high)) {
        return false;
    }
    *min = low;
    *max = high;
    *nulls_count = chunk->nulls_count;
    return true;
}

/* The bytes of a chunk, padded, in scratch memory. */
static ab_err chunk_load(
    struct ab_parquet_reader *reader, const struct ab_parquet_chunk *chunk, struct ab_chunk_source *source)
{
    if (chunk->start < 4 || chunk->start > reader->pages_end ||
        chunk->compressed_bytes > reader->pages_end - chunk->start) {
        return AB_CORRUPT;
    }
    size_t bytes = (size_t)chunk->compressed_bytes;
    uint8_t *data = ab_arena_alloc(&reader->scratch, bytes + AB_ENCODING_PAD_BYTES);
    if (data == NULL) {
        return AB_FULL;
    }
    memset(data + bytes, 0, AB_ENCODING_PAD_BYTES);
    AB_TRY(ab_file_read_at(reader->fd, data, bytes, chunk->start));
    source->bytes = ab_bytes_of(data, bytes);
    bool is_intact = !chunk->has_hash || ab_hash64(AB_HASH_CONTENT, source->bytes) == chunk->hash;
    return is_intact ? AB_OK : AB_CORRUPT;
}

static ab_err column_read(struct ab_parquet_reader *reader, size_t group, size_t field, struct ab_arena *arena,
    struct ab_column *column, struct ab_error *error)
{
    const struct ab_parquet_footer *footer = &reader->footer;
    struct ab_chunk_source source = {.field = &footer->fields[field],
        .chunk = &footer->groups[group].chunks[field],
        .rows_count = (uint32_t)footer->groups[group].rows_count,
        .zstd = &reader->zstd};
    ab_arena_reset(&reader->scratch);
    ab_err err = chunk_load(reader, source.chunk, &source);
    if (err == AB_OK) {
        err = ab_chunk_read(&source, arena, &reader->scratch, column);
    }
    if (err == AB_OK) {
        return AB_OK;
    }
    err = err == AB_END ? AB_CORRUPT : err;
    return ab_error_set(error, err, "%s: row group %zu, column %s: %s", reader->path, group, source.field->name,
        err == AB_UNSUPPORTED ? "an encoding that is not read" : ab_err_text(err));
}

ab_err ab_parquet_reader_read(struct ab_parquet_reader *reader, size_t group, const bool *wanted,
    struct ab_arena *arena, struct ab_column *columns, struct ab_error *error)
{
    if (reader->fd < 0 || group >= reader->footer.groups_count) {
        return ab_error_set(error, AB_USAGE, "%s: no row group %zu to read", reader->path, group);
    }
    if (reader->scratch.memory != arena->memory) {
        ab_arena_fini(&reader->scratch);
        ab_arena_init(&reader->scratch, arena->memory, SCRATCH_BYTES);
    }
    for (size_t i = 0; i < reader->footer.fields_count; i++) {
        if (wanted[i]) {
            AB_TRY(column_read(reader, group, i, arena, &columns[i], error));
        }
    }
    return AB_OK;
}
