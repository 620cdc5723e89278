#include "batch/seal.h"

#include "batch/dead_letters.h"
#include "common/base/file.h"
#include "common/block/block.h"
#include "common/history/layout.h"
#include "common/history/parquet.h"
#include "common/log/log.h"

#include <inttypes.h>
#include <stdio.h>

#define META_COLUMNS 3u
#define NOTES_MAX 12u

/* A stream's two files in the making; writers are made when the first row comes. */
struct stream_files {
    const struct ab_stream *stream;
    struct ab_parquet_writer *rows;  /* owned */
    struct ab_dead_letters *letters; /* owned */
    struct ab_sealed_stream counts;
};

struct seal {
    const struct ab_seal_unit *unit;
    struct stream_files *files; /* owned; one a stream of the catalog */
    struct ab_arena arena;      /* of one block */
    struct ab_sealed_span *sealed;
    int64_t *row_numbers; /* owned: 0, 1, 2 … */
    struct ab_error *error;
};

static void seal_fini(struct seal *seal)
{
    for (uint32_t i = 0; i < seal->unit->catalog->streams_count; i++) {
        ab_parquet_writer_abandon(seal->files[i].rows);
        ab_dead_letters_abandon(seal->files[i].letters);
        ab_delete(seal->files[i].counts.name);
    }
    ab_delete(seal->files);
    ab_delete(seal->row_numbers);
    ab_arena_fini(&seal->arena);
}

/* Makes the folder of a file and removes what attempts that died left of that file. */
static ab_err place_make(const char *path, struct ab_error *error)
{
    char *folder = ab_new_text(path);
    char *name = strrchr(folder, '/');
    char **names = NULL;
    size_t count = 0;
    *name++ = 0;
    ab_err err = ab_file_make_directory(folder, 0750, error);
    if (err == AB_OK) {
        err = ab_file_list(folder, &names, &count, error);
    }
    for (size_t i = 0; i < count && err == AB_OK; i++) {
        if (strncmp(names[i], name, strlen(name)) == 0 && strcmp(names[i], name) != 0) {
            char *leftover = ab_new_format("%s/%s", folder, names[i]);
            err = ab_file_remove_tree(leftover, error);
            ab_delete(leftover);
        }
    }
    ab_file_names_free(names, count);
    ab_delete(folder);
    return err;
}

static ab_err rows_writer_make(struct seal *seal, struct stream_files *files)
{
    const struct ab_stream *stream = files->stream;
    struct ab_parquet_field *fields = ab_new_array(struct ab_parquet_field, stream->columns_count + META_COLUMNS);
    for (uint32_t i = 0; i < stream->columns_count; i++) {
        fields[i] =
            (struct ab_parquet_field){stream->columns[i].name, stream->columns[i].type, stream->columns[i].is_not_null};
    }
    struct ab_parquet_field *meta = fields + stream->columns_count;
    meta[0] = (struct ab_parquet_field){"_offset", {.kind = AB_TYPE_BIGINT}, true};
    meta[1] = (struct ab_parquet_field){"_row", {.kind = AB_TYPE_BIGINT}, true};
    meta[2] = (struct ab_parquet_field){"_append_time", {.kind = AB_TYPE_TIMESTAMP}, true};
    char *path = ab_history_rows_path(seal->unit->directory, stream->name, seal->unit->partition, seal->unit->span);
    ab_err err = place_make(path, seal->error);
    if (err == AB_OK) {
        err = ab_parquet_writer_create(
            path, fields, stream->columns_count + META_COLUMNS, seal->unit->memory, &files->rows, seal->error);
    }
    ab_delete(path);
    ab_delete(fields);
    return err;
}

static ab_err letters_make(struct seal *seal, struct stream_files *files)
{
    char *path = ab_history_dead_letters_path(
        seal->unit->directory, files->stream->name, seal->unit->partition, seal->unit->span);
    ab_err err = place_make(path, seal->error);
    if (err == AB_OK) {
        err = ab_dead_letters_create(path, seal->unit->memory, &files->letters, seal->error);
    }
    ab_delete(path);
    return err;
}

static ab_err full(struct seal *seal)
{
    return ab_error_set(seal->error, AB_FULL, "the memory budget is too small for one block");
}

/* The block's columns in the stream's order; one that it lacks is all NULL. */
static ab_err columns_bind(
    struct seal *seal, const struct ab_stream *stream, const struct ab_block *block, const struct ab_column **columns)
{
    for (uint32_t i = 0; i < stream->columns_count; i++) {
        const struct ab_column *found = ab_block_find(block, ab_bytes_of_text(stream->columns[i].name));
        if (found == NULL) {
            struct ab_column *nulls = ab_arena_zalloc(&seal->arena, sizeof *nulls);
            struct ab_value null = {.type = stream->columns[i].type, .is_null = true};
            if (nulls == NULL || ab_column_constant(&seal->arena, null, block->rows_count, nulls) != AB_OK) {
                return full(seal);
            }
            found = nulls;
        }
        columns[i] = found;
    }
    return AB_OK;
}

/* Writes the accepted rows of a typed block. */
static ab_err rows_add(struct seal *seal, struct stream_files *files, const struct ab_record *record,
    const struct ab_block *block, const uint8_t *skip)
{
    const struct ab_stream *stream = files->stream;
    const struct ab_column **columns =
        ab_arena_zalloc(&seal->arena, (stream->columns_count + META_COLUMNS) * sizeof *columns);
    struct ab_column *meta = ab_arena_zalloc(&seal->arena, META_COLUMNS * sizeof *meta);
    if (columns == NULL || meta == NULL) {
        return full(seal);
    }
    if (files->rows == NULL) {
        AB_TRY(rows_writer_make(seal, files));
    }
    AB_TRY(columns_bind(seal, stream, block, columns));
    struct ab_value offset = {.type = {.kind = AB_TYPE_BIGINT}, .bigint = (int64_t)record->header.offset};
    struct ab_value moment = {.type = {.kind = AB_TYPE_TIMESTAMP}, .bigint = record->header.append_time_us};
    if (ab_column_constant(&seal->arena, offset, block->rows_count, &meta[0]) != AB_OK ||
        ab_column_constant(&seal->arena, moment, block->rows_count, &meta[2]) != AB_OK) {
        return full(seal);
    }
    meta[1] = (struct ab_column){.type = offset.type, .rows_count = block->rows_count, .values = seal->row_numbers};
    for (uint32_t i = 0; i < META_COLUMNS; i++) {
        columns[stream->columns_count + i] = &meta[i];
    }
    return ab_parquet_writer_add(files->rows, columns, block->rows_count, skip, seal->error);
}

static ab_err block_seal(
    struct seal *seal, const struct ab_record *record, struct stream_files *files, const struct ab_block *block)
{
    uint8_t *skip = ab_arena_zalloc(&seal->arena, block->rows_count);
    if (skip == NULL) {
        return full(seal);
    }
    if (ab_verdict_mark(record->verdict, block->rows_count, skip) != AB_OK) {
        return ab_error_set(seal->error, AB_CORRUPT, "malformed verdict");
    }
    uint32_t accepted = block->rows_count - record->header.rejected_count - record->header.duplicate_count;
    files->counts.rows += block->rows_count;
    files->counts.duplicates += record->header.duplicate_count;
    if (accepted > 0 && block->is_raw) {
        return ab_error_set(seal->error, AB_CORRUPT, "a raw block with accepted rows");
    }
    if (accepted > 0) {
        AB_TRY(rows_add(seal, files, record, block, skip));
    }
    if (record->header.rejected_count > 0) {
        if (files->letters == NULL) {
            AB_TRY(letters_make(seal, files));
        }
        AB_TRY(ab_dead_letters_add(files->letters, record, block, seal->error));
    }
    return AB_OK;
}

static ab_err record_seal(struct seal *seal, const struct ab_record *record)
{
    struct ab_block block;
    ab_arena_reset(&seal->arena);
    AB_TRY(ab_block_decode(record->body, &seal->arena, &block, seal->error));
    const struct ab_record_header *header = &record->header;
    if (block.rows_count != header->rows_count || block.rows_count > AB_BLOCK_ROWS_MAX ||
        (uint64_t)header->rejected_count + header->duplicate_count > block.rows_count) {
        return ab_error_set(seal->error, AB_CORRUPT, "the record's header and its block count rows differently");
    }
    for (uint32_t i = 0; i < seal->unit->catalog->streams_count; i++) {
        if (ab_bytes_equal(block.stream, ab_bytes_of_text(seal->files[i].stream->name))) {
            return block_seal(seal, record, &seal->files[i], &block);
        }
    }
    seal->sealed->unlisted_rows += block.rows_count;
    return AB_OK;
}

/* A cut may stand only just before the span and at its end; a log begins with cut 0, which only carries the first
 * catalog. */
static ab_err cut_seal(struct seal *seal, const struct ab_record *record)
{
    const struct ab_seal_unit *unit = seal->unit;
    struct ab_cut cut;
    ab_err err = ab_cut_decode(record->body, &cut);
    if (err != AB_OK) {
        return ab_error_set(seal->error, AB_CORRUPT, "malformed cut record");
    }
    if (record->header.offset + 1 == unit->from_offset) {
        seal->sealed->start_time_us = cut.time_us;
        return AB_OK;
    }
    if (record->header.offset == 0 && cut.cut == 0) {
        return AB_OK;
    }
    if (record->header.offset + 1 != unit->until_offset || cut.cut != unit->span) {
        return ab_error_set(
            seal->error, AB_CORRUPT, "cut %" PRIu64 " stands where span %" PRIu64 " does not end", cut.cut, unit->span);
    }
    seal->sealed->time_us = cut.time_us;
    seal->sealed->chain = record->chain;
    if (unit->chain != NULL && !ab_hash128_equal(*unit->chain, record->chain)) {
        return ab_error_set(
            seal->error, AB_CORRUPT, "the chain hash of cut %" PRIu64 " is not the manifest's", cut.cut);
    }
    return AB_OK;
}

static ab_err records_seal(struct seal *seal, struct ab_log_reader *reader)
{
    const struct ab_seal_unit *unit = seal->unit;
    struct ab_record record;
    bool has_end = false;
    ab_err err = ab_log_reader_next(reader, &record, seal->error);
    while (err == AB_OK) {
        bool is_inside = record.header.offset >= unit->from_offset;
        has_end = record.header.offset + 1 == unit->until_offset && record.header.kind == AB_RECORD_CUT;
        if (record.header.kind == AB_RECORD_CUT) {
            err = cut_seal(seal, &record);
        } else if (!is_inside) {
            err = ab_error_set(seal->error, AB_CORRUPT, "no cut stands before the span");
        } else if (record.header.kind == AB_RECORD_BLOCK) {
            err = record_seal(seal, &record);
        }
        if (err != AB_OK) {
            return ab_error_wrap(seal->error, err, "record %" PRIu64, record.header.offset);
        }
        if (is_inside && unit->on_record != NULL) {
            unit->on_record(record.header.rows_count, record.verdict.bytes + record.body.bytes, unit->context);
        }
        err = ab_log_reader_next(reader, &record, seal->error);
    }
    if (err == AB_END && !has_end) {
        return ab_error_set(seal->error, AB_CORRUPT, "no cut stands at the end of the span");
    }
    return err == AB_END ? AB_OK : err;
}

/* Texts of the footer's notes, which say what the file holds without the marker. */
struct notes {
    struct ab_parquet_note items[NOTES_MAX];
    char texts[NOTES_MAX][64];
    size_t count;
};

static void note_u64(struct notes *notes, const char *key, uint64_t value)
{
    (void)snprintf(notes->texts[notes->count], sizeof notes->texts[0], "%" PRIu64, value);
    notes->items[notes->count] = (struct ab_parquet_note){key, notes->texts[notes->count]};
    notes->count++;
}

static void notes_fill(struct notes *notes, const struct ab_sealed_span *sealed, const struct ab_sealed_stream *counts)
{
    notes->count = 0;
    note_u64(notes, "anabranch.format", 1);
    notes->items[notes->count++] = (struct ab_parquet_note){"anabranch.stream", counts->name};
    ab_hash128_format(sealed->chain, notes->texts[notes->count]);
    notes->items[notes->count] = (struct ab_parquet_note){"anabranch.chain", notes->texts[notes->count]};
    notes->count++;
    note_u64(notes, "anabranch.partition", sealed->partition);
    note_u64(notes, "anabranch.span", sealed->span);
    note_u64(notes, "anabranch.from_offset", sealed->from_offset);
    note_u64(notes, "anabranch.until_offset", sealed->until_offset);
    note_u64(notes, "anabranch.rows", counts->rows);
    note_u64(notes, "anabranch.accepted", counts->accepted);
    note_u64(notes, "anabranch.rejected", counts->rejected);
    note_u64(notes, "anabranch.duplicates", counts->duplicates);
}

/* Completes a stream's files and moves its counts into the marker. */
static ab_err files_finish(struct seal *seal, struct stream_files *files)
{
    struct ab_sealed_stream *counts = &files->counts;
    counts->accepted = files->rows == NULL ? 0 : ab_parquet_writer_rows(files->rows);
    counts->rejected = files->letters == NULL ? 0 : ab_dead_letters_rows(files->letters);
    if (counts->rows != counts->accepted + counts->rejected + counts->duplicates) {
        return ab_error_set(seal->error, AB_CORRUPT,
            "stream %s: the log has %" PRIu64 " rows, of which %" PRIu64 " were sealed, %" PRIu64
            " are dead letters and %" PRIu64 " duplicates",
            files->stream->name, counts->rows, counts->accepted, counts->rejected, counts->duplicates);
    }
    if (counts->rows == 0) {
        return AB_OK;
    }
    struct notes notes;
    counts->name = ab_new_text(files->stream->name);
    notes_fill(&notes, seal->sealed, counts);
    if (files->rows != NULL) {
        struct ab_parquet_writer *writer = files->rows;
        files->rows = NULL;
        AB_TRY(ab_parquet_writer_finish(writer, notes.items, notes.count, NULL, seal->error));
    }
    if (files->letters != NULL) {
        struct ab_dead_letters *letters = files->letters;
        files->letters = NULL;
        AB_TRY(ab_dead_letters_finish(letters, notes.items, notes.count, seal->error));
    }
    seal->sealed->streams[seal->sealed->streams_count++] = *counts;
    counts->name = NULL;
    return AB_OK;
}

static ab_err log_seal(struct seal *seal)
{
    const struct ab_seal_unit *unit = seal->unit;
    struct ab_log_reader *reader = NULL;
    char *path = ab_new_format("%s/partition-%" PRIu32 "/log", unit->directory, unit->partition);
    uint64_t from = unit->from_offset > 0 ? unit->from_offset - 1 : 0;
    ab_err err = ab_log_reader_open(path, from, unit->until_offset, &reader, seal->error);
    ab_delete(path);
    if (err != AB_OK) {
        return err;
    }
    err = records_seal(seal, reader);
    ab_log_reader_close(reader);
    for (uint32_t i = 0; i < unit->catalog->streams_count && err == AB_OK; i++) {
        err = files_finish(seal, &seal->files[i]);
    }
    return err == AB_OK ? ab_sealed_span_store(unit->directory, seal->sealed, seal->error) : err;
}

/* Whether a marker is the unit's and its files are there. */
static ab_err sealed_check(const struct ab_seal_unit *unit, const struct ab_sealed_span *sealed, struct ab_error *error)
{
    if (sealed->from_offset != unit->from_offset || sealed->until_offset != unit->until_offset ||
        (unit->chain != NULL && !ab_hash128_equal(*unit->chain, sealed->chain))) {
        return ab_error_set(error, AB_CORRUPT, "it was sealed from other records");
    }
    for (size_t i = 0; i < sealed->streams_count; i++) {
        const struct ab_sealed_stream *stream = &sealed->streams[i];
        char *paths[2] = {ab_history_rows_path(unit->directory, stream->name, unit->partition, unit->span),
            ab_history_dead_letters_path(unit->directory, stream->name, unit->partition, unit->span)};
        bool is_there =
            (stream->accepted == 0 || ab_file_exists(paths[0])) && (stream->rejected == 0 || ab_file_exists(paths[1]));
        ab_delete(paths[0]);
        ab_delete(paths[1]);
        if (!is_there) {
            return ab_error_set(error, AB_CORRUPT, "a file of stream %s is missing", stream->name);
        }
    }
    return AB_OK;
}

static ab_err unit_seal(const struct ab_seal_unit *unit, struct ab_sealed_span *sealed, struct ab_error *error)
{
    uint32_t streams_count = unit->catalog->streams_count;
    struct seal seal = {.unit = unit, .sealed = sealed, .error = error};
    seal.files = ab_new_array(struct stream_files, streams_count + 1);
    seal.row_numbers = ab_new_array(int64_t, AB_BLOCK_ROWS_MAX);
    ab_arena_init(&seal.arena, unit->memory, 1u << 20);
    for (uint32_t i = 0; i < streams_count; i++) {
        seal.files[i].stream = &unit->catalog->streams[i];
    }
    for (uint32_t i = 0; i < AB_BLOCK_ROWS_MAX; i++) {
        seal.row_numbers[i] = i;
    }
    *sealed = (struct ab_sealed_span){.partition = unit->partition,
        .span = unit->span,
        .from_offset = unit->from_offset,
        .until_offset = unit->until_offset,
        .streams = ab_new_array(struct ab_sealed_stream, streams_count + 1)};
    ab_err err = log_seal(&seal);
    seal_fini(&seal);
    if (err != AB_OK) {
        ab_sealed_span_fini(sealed);
    }
    return err;
}

ab_err ab_seal_run(
    const struct ab_seal_unit *unit, struct ab_sealed_span *sealed, bool *was_sealed, struct ab_error *error)
{
    struct ab_sealed_span found = {0};
    struct ab_error detail = {0};
    ab_err err = ab_sealed_span_load(unit->directory, unit->partition, unit->span, &found, &detail);
    bool is_sealed = err == AB_OK;
    if (err == AB_OK) {
        err = sealed_check(unit, &found, &detail);
        if (err != AB_OK) {
            ab_sealed_span_fini(&found);
        }
    } else if (err == AB_NOT_FOUND || err == AB_CORRUPT) {
        /* A damaged marker seals nothing: the log still says what is right, or is no longer there and says so. */
        detail = (struct ab_error){0};
        err = unit_seal(unit, &found, &detail);
    }
    if (err != AB_OK) {
        return ab_error_set(error, err, "seal partition %" PRIu32 ", span %" PRIu64 ": %s", unit->partition, unit->span,
            detail.text[0] != 0 ? detail.text : ab_err_text(err));
    }
    *sealed = found;
    *was_sealed = is_sealed;
    return AB_OK;
}
