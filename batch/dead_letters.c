#include "batch/dead_letters.h"

#include "common/block/row_json.h"

enum { OFFSET, ROW, APPEND_TIME, SOURCE, POSITION, REASON, RAW, IS_RAW, FIELDS };

static const struct ab_parquet_field fields[FIELDS] = {
    [OFFSET] = {"_offset", {.kind = AB_TYPE_BIGINT}, true},
    [ROW] = {"_row", {.kind = AB_TYPE_BIGINT}, true},
    [APPEND_TIME] = {"_append_time", {.kind = AB_TYPE_TIMESTAMP}, true},
    [SOURCE] = {"source", {.kind = AB_TYPE_TEXT}, false},
    [POSITION] = {"position", {.kind = AB_TYPE_BIGINT}, false},
    [REASON] = {"reason", {.kind = AB_TYPE_TEXT}, true},
    [RAW] = {"raw", {.kind = AB_TYPE_TEXT}, true},
    [IS_RAW] = {"is_raw", {.kind = AB_TYPE_BOOLEAN}, true},
};

/* Rows handed to the writer at once. */
#define ROWS_PER_BATCH 1024u

struct ab_dead_letters {
    struct ab_parquet_writer *writer;           /* owned */
    struct ab_column_builder *builders[FIELDS]; /* owned */
    uint32_t rows_count;                        /* in the builders */
    struct ab_buffer text;                      /* scratch */
};

static void letters_free(struct ab_dead_letters *letters)
{
    for (size_t i = 0; i < FIELDS; i++) {
        ab_column_builder_destroy(letters->builders[i]);
    }
    ab_buffer_fini(&letters->text);
    ab_delete(letters);
}

void ab_dead_letters_abandon(struct ab_dead_letters *letters)
{
    if (letters != NULL) {
        ab_parquet_writer_abandon(letters->writer);
        letters_free(letters);
    }
}

ab_err ab_dead_letters_create(
    const char *path, struct ab_memory *memory, struct ab_dead_letters **letters, struct ab_error *error)
{
    struct ab_parquet_writer *writer = NULL;
    AB_TRY(ab_parquet_writer_create(path, fields, FIELDS, memory, &writer, error));
    struct ab_dead_letters *made = ab_new(struct ab_dead_letters);
    made->writer = writer;
    for (size_t i = 0; i < FIELDS; i++) {
        made->builders[i] = ab_column_builder_create(fields[i].type, ROWS_PER_BATCH, memory);
    }
    ab_buffer_init(&made->text, memory, 0);
    *letters = made;
    return AB_OK;
}

uint64_t ab_dead_letters_rows(const struct ab_dead_letters *letters)
{
    return ab_parquet_writer_rows(letters->writer) + letters->rows_count;
}

static ab_err batch_flush(struct ab_dead_letters *letters, struct ab_error *error)
{
    struct ab_column columns[FIELDS];
    const struct ab_column *pointers[FIELDS];
    for (size_t i = 0; i < FIELDS; i++) {
        ab_column_builder_view(letters->builders[i], &columns[i]);
        pointers[i] = &columns[i];
    }
    AB_TRY(ab_parquet_writer_add(letters->writer, pointers, letters->rows_count, NULL, error));
    for (size_t i = 0; i < FIELDS; i++) {
        ab_column_builder_clear(letters->builders[i]);
    }
    letters->rows_count = 0;
    return AB_OK;
}

/* The row as it came: the raw text (true), or a JSON object of its columns. */
static bool row_text(const struct ab_block *block, uint32_t row, struct ab_buffer *text)
{
    struct ab_bytes raw;
    ab_buffer_clear(text);
    if (ab_row_raw_text(block, row, &raw)) {
        ab_buffer_put_bytes(text, raw);
        return true;
    }
    struct ab_json *object = ab_row_json(block, row);
    ab_json_write(object, 0, text);
    ab_json_destroy(object);
    return false;
}

static ab_err row_add(struct ab_dead_letters *letters, const struct ab_record *record, const struct ab_block *block,
    const struct ab_verdict_entry *entry)
{
    bool has_source = block->mark.source.bytes > 0;
    bool is_raw = row_text(block, entry->row, &letters->text);
    AB_TRY(ab_buffer_finish(&letters->text));
    struct ab_value values[FIELDS];
    for (size_t i = 0; i < FIELDS; i++) {
        values[i] = (struct ab_value){.type = fields[i].type};
    }
    values[OFFSET].bigint = (int64_t)record->header.offset;
    values[ROW].bigint = entry->row;
    values[APPEND_TIME].bigint = record->header.append_time_us;
    values[SOURCE].is_null = !has_source;
    values[SOURCE].text = block->mark.source;
    values[POSITION].is_null = !has_source || block->positions == NULL;
    values[POSITION].bigint = values[POSITION].is_null ? 0 : (int64_t)block->positions[entry->row];
    values[REASON].text = entry->reason;
    values[RAW].text = ab_buffer_view(&letters->text);
    values[IS_RAW].boolean = is_raw;
    for (size_t i = 0; i < FIELDS; i++) {
        AB_TRY(ab_column_builder_add(letters->builders[i], &values[i]));
    }
    letters->rows_count++;
    return AB_OK;
}

ab_err ab_dead_letters_add(struct ab_dead_letters *letters, const struct ab_record *record,
    const struct ab_block *block, struct ab_error *error)
{
    struct ab_verdict_reader reader;
    struct ab_verdict_entry entry;
    ab_err err = ab_verdict_reader_init(&reader, record->verdict);
    while (err == AB_OK) {
        err = ab_verdict_reader_next(&reader, block->rows_count, &entry);
        if (err == AB_OK && entry.decision == AB_DECISION_REJECTED) {
            err = row_add(letters, record, block, &entry);
        }
        if (err == AB_OK && letters->rows_count == ROWS_PER_BATCH) {
            AB_TRY(batch_flush(letters, error));
        }
    }
    return err == AB_END ? AB_OK : ab_error_set(error, err, "dead letters of a block: %s", ab_err_text(err));
}

ab_err ab_dead_letters_finish(
    struct ab_dead_letters *letters, const struct ab_parquet_note *notes, size_t notes_count, struct ab_error *error)
{
    ab_err err = letters->rows_count > 0 ? batch_flush(letters, error) : AB_OK;
    if (err != AB_OK) {
        ab_dead_letters_abandon(letters);
        return err;
    }
    err = ab_parquet_writer_finish(letters->writer, notes, notes_count, NULL, error);
    letters_free(letters);
    return err;
}
