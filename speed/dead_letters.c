/* Dead letters, read from the logs and, where these have gone, from history: the newest rejected rows of a stream,
 * oldest of them first. */
#include "speed/engine_private.h"
#include "speed/sealed_letters.h"

#include "common/base/json.h"
#include "common/log/log.h"

#include <inttypes.h>

#define LOG_OPEN_TRIES 4

/* The newest letters of one partition: a ring of at most limit ones. */
struct letters {
    struct ab_json **ring; /* owned; limit places */
    size_t limit;
    uint64_t count; /* seen; ring[count % limit] is the next place */
};

struct letter_scan {
    struct ab_bytes stream;  /* empty = all */
    struct letters *letters; /* of one partition */
    uint32_t partition;
    struct ab_arena arena;
};

static void letters_push(struct letters *letters, struct ab_json *letter)
{
    struct ab_json **place = &letters->ring[letters->count % letters->limit];
    ab_json_destroy(*place);
    *place = letter;
    letters->count++;
}

static void letters_fini(struct letters *letters)
{
    for (size_t i = 0; letters->ring != NULL && i < letters->limit; i++) {
        ab_json_destroy(letters->ring[i]);
    }
    ab_delete(letters->ring);
}

static struct ab_json *value_json(const struct ab_value *value)
{
    if (value->is_null) {
        return ab_json_null();
    }
    if (value->type.kind == AB_TYPE_BOOLEAN) {
        return ab_json_boolean(value->boolean);
    }
    if (value->type.kind == AB_TYPE_BIGINT) {
        return ab_json_integer(value->bigint);
    }
    if (value->type.kind == AB_TYPE_DOUBLE) {
        return ab_json_real(value->real);
    }
    struct ab_buffer text = {0};
    ab_value_format(value, &text);
    struct ab_json *json = ab_json_text_of(ab_buffer_view(&text));
    ab_buffer_fini(&text);
    return json;
}

static struct ab_json *row_json(const struct ab_block *block, uint32_t row)
{
    struct ab_json *json = ab_json_object();
    for (uint32_t c = 0; c < block->columns_count; c++) {
        struct ab_value value = ab_column_value(&block->columns[c].column, row);
        char *name = ab_new_text_of(block->columns[c].name);
        ab_json_set(json, name, value_json(&value));
        ab_delete(name);
    }
    return json;
}

static struct ab_json *letter_json(const struct letter_scan *scan, const struct ab_record_header *header,
    const struct ab_block *block, const struct ab_verdict_entry *entry)
{
    char time[AB_TIME_TEXT_BYTES];
    struct ab_json *json = ab_json_object();
    ab_json_set(json, "time", ab_json_text(ab_time_format(header->append_time_us, time)));
    ab_json_set(json, "stream", ab_json_text_of(block->stream));
    ab_json_set(json, "partition", ab_json_integer(scan->partition));
    ab_json_set(json, "offset", ab_json_integer((int64_t)header->offset));
    ab_json_set(json, "row", ab_json_integer(entry->row));
    ab_json_set(json, "source", block->mark.source.bytes == 0 ? ab_json_null() : ab_json_text_of(block->mark.source));
    ab_json_set(json, "line",
        block->positions == NULL ? ab_json_null() : ab_json_integer((int64_t)block->positions[entry->row]));
    ab_json_set(json, "reason", ab_json_text_of(entry->reason));
    const struct ab_column *raw = block->is_raw ? ab_block_find(block, ab_bytes_of_text("raw")) : NULL;
    if (raw != NULL) {
        struct ab_value value = ab_column_value(raw, entry->row);
        ab_json_set(json, "raw", value_json(&value));
    } else {
        ab_json_set(json, "values", row_json(block, entry->row));
    }
    return json;
}

static ab_err scan_record(struct letter_scan *scan, const struct ab_record *record, struct ab_error *error)
{
    if (record->header.kind != AB_RECORD_BLOCK || record->header.rejected_count == 0) {
        return AB_OK;
    }
    struct ab_block block;
    ab_arena_reset(&scan->arena);
    AB_TRY(ab_block_decode(record->body, &scan->arena, &block, error));
    if (scan->stream.bytes > 0 && !ab_bytes_equal(scan->stream, block.stream)) {
        return AB_OK;
    }
    struct ab_verdict_reader reader;
    struct ab_verdict_entry entry;
    AB_TRY(ab_verdict_reader_init(&reader, record->verdict));
    ab_err err;
    while ((err = ab_verdict_reader_next(&reader, block.rows_count, &entry)) == AB_OK) {
        if (entry.decision == AB_DECISION_REJECTED) {
            letters_push(scan->letters, letter_json(scan, &record->header, &block, &entry));
        }
    }
    return err == AB_END ? AB_OK : err;
}

static void sealed_push(struct ab_json *letter, void *context)
{
    letters_push(context, letter);
}

/* What was in the log below an offset; it was sealed before it went. */
static ab_err scan_sealed(
    struct ab_engine *engine, const struct letter_scan *scan, uint64_t below_offset, struct ab_error *error)
{
    const struct ab_served_catalog *served = ab_catalogs_newest(engine->catalogs);
    ab_err err = AB_OK;
    for (uint32_t s = 0; below_offset > 0 && served != NULL && s < served->catalog->streams_count; s++) {
        const char *name = served->catalog->streams[s].name;
        const struct ab_sealed_letters sealed = {.directory = engine->options.directory,
            .stream = name,
            .partition = scan->partition,
            .below_offset = below_offset,
            .memory = &engine->queries,
            .on_letter = sealed_push,
            .context = scan->letters};
        if (err == AB_OK && (scan->stream.bytes == 0 || ab_bytes_equal(scan->stream, ab_bytes_of_text(name)))) {
            err = ab_sealed_letters_read(&sealed, error);
        }
    }
    return err;
}

static ab_err scan_partition(
    struct ab_engine *engine, struct ab_partition *partition, struct letter_scan *scan, struct ab_error *error)
{
    struct ab_partition_report report;
    struct ab_log_reader *reader = NULL;
    ab_err open = AB_NOT_FOUND;
    for (int tries = 0; open == AB_NOT_FOUND && tries < LOG_OPEN_TRIES; tries++) { /* it may be trimmed meanwhile */
        ab_partition_report(partition, &report);
        open = ab_log_reader_open(
            ab_partition_log_directory(partition), report.start_offset, report.durable_offset, &reader, error);
    }
    AB_TRY(open);
    scan->partition = ab_partition_number(partition);
    ab_err sealed = scan_sealed(engine, scan, report.start_offset, error);
    if (sealed != AB_OK) {
        ab_log_reader_close(reader);
        return sealed;
    }
    ab_arena_init(&scan->arena, &engine->queries, 0);
    struct ab_record record;
    ab_err err;
    while ((err = ab_log_reader_next(reader, &record, error)) == AB_OK) {
        err = scan_record(scan, &record, error);
        if (err != AB_OK) {
            break;
        }
    }
    ab_arena_fini(&scan->arena);
    ab_log_reader_close(reader);
    return err == AB_END ? AB_OK : err;
}

/* Lays out the newest `limit` letters of all partitions, by partition and position; stops before the answer grows too
 * large. */
static void letters_write(const struct letters *letters, uint32_t count, size_t limit, struct ab_buffer *out)
{
    size_t left = limit;
    uint64_t total = 0;
    size_t written = 0;
    ab_buffer_put_format(out, "{\"rows\":[");
    for (uint32_t p = 0; p < count; p++) {
        total += letters[p].count;
        size_t held = letters[p].count < letters[p].limit ? (size_t)letters[p].count : letters[p].limit;
        for (size_t i = 0; i < held && left > 0 && out->bytes < AB_DEAD_LETTERS_BYTES_MAX; i++, left--) {
            size_t place = (size_t)((letters[p].count - held + i) % letters[p].limit);
            ab_buffer_put_format(out, written++ == 0 ? "" : ",");
            ab_json_write(letters[p].ring[place], 0, out);
        }
    }
    ab_buffer_put_format(out, "],\"total\":%" PRIu64 "}", total);
}

/* A name that is no stream's is a mistake, not a stream without dead letters. */
static ab_err stream_check(struct ab_engine *engine, struct ab_bytes name, struct ab_error *error)
{
    const struct ab_served_catalog *served = ab_catalogs_newest(engine->catalogs);
    if (name.bytes == 0 || served == NULL || ab_catalog_stream(served->catalog, name) != NULL) {
        return AB_OK;
    }
    const struct ab_catalog *catalog = served->catalog;
    const char **names = ab_new_array(const char *, catalog->streams_count + 1);
    for (uint32_t s = 0; s < catalog->streams_count; s++) {
        names[s] = catalog->streams[s].name;
    }
    const char *nearest = ab_catalog_nearest(name, names, catalog->streams_count);
    ab_err err = ab_error_set(error, AB_NOT_FOUND, "there is no stream '%.*s'%s%s%s", (int)name.bytes, name.data,
        nearest == NULL ? "" : "; did you mean ", nearest == NULL ? "" : nearest, nearest == NULL ? "" : "?");
    ab_delete(names);
    return err;
}

ab_err ab_report_dead_letters(
    struct ab_engine *engine, struct ab_bytes payload, struct ab_buffer *out, struct ab_error *error)
{
    struct ab_json *body = NULL;
    AB_TRY(ab_json_parse(payload, &body, error));
    int64_t limit = ab_json_integer_or(ab_json_get(body, "limit"), 100);
    limit = limit < 1 ? 1 : limit > (int64_t)AB_DEAD_LETTERS_MAX ? (int64_t)AB_DEAD_LETTERS_MAX : limit;
    uint32_t partitions_count = engine->options.partitions_count;
    struct letters *letters = ab_new_array(struct letters, partitions_count);
    ab_err err = stream_check(engine, ab_json_bytes(ab_json_get(body, "stream")), error);
    for (uint32_t p = 0; p < partitions_count && err == AB_OK; p++) {
        letters[p].limit = (size_t)limit;
        letters[p].ring = ab_new_array(struct ab_json *, limit);
        struct letter_scan scan = {.stream = ab_json_bytes(ab_json_get(body, "stream")), .letters = &letters[p]};
        err = scan_partition(engine, engine->partitions[p], &scan, error);
    }
    if (err == AB_OK) {
        letters_write(letters, partitions_count, (size_t)limit, out);
    }
    for (uint32_t p = 0; p < partitions_count; p++) {
        letters_fini(&letters[p]);
    }
    ab_delete(letters);
    ab_json_destroy(body);
    return err;
}
