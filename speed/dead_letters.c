/* Dead letters: the newest rejected rows of a stream, read from the logs and, where these have gone, from history. */
#include "speed/engine_private.h"
#include "speed/letters.h"
#include "speed/sealed_letters.h"

#include "common/base/json.h"
#include "common/block/row_json.h"
#include "common/log/log.h"

#include <inttypes.h>

#define TRIM_PATIENCE_US (2 * AB_US_PER_SECOND)
#define TRIM_POLL_US (5 * AB_US_PER_MS)

struct letter_scan {
    struct ab_engine *engine;
    struct ab_bytes stream; /* empty = all */
    struct ab_letters letters;
    struct ab_arena arena; /* of one block */
};

static ab_err row_add(struct letter_scan *scan, const struct ab_record_header *header, const struct ab_block *block,
    const struct ab_verdict_entry *entry)
{
    struct ab_letter letter = {.place = {.time_us = header->append_time_us,
                                   .partition = block->partition,
                                   .offset = header->offset,
                                   .row = entry->row},
        .stream = block->stream,
        .source = block->mark.source,
        .has_line = block->positions != NULL,
        .reason = entry->reason};
    scan->letters.total++;
    if (!ab_letters_wants(&scan->letters, &letter.place)) {
        return AB_OK;
    }
    if (letter.has_line) {
        letter.line = (int64_t)block->positions[entry->row];
    }
    bool is_raw = ab_row_raw_text(block, entry->row, &letter.raw);
    return ab_letters_add(&scan->letters, &letter, is_raw ? NULL : ab_row_json(block, entry->row));
}

static ab_err record_scan(struct letter_scan *scan, const struct ab_record *record, struct ab_error *error)
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
            AB_TRY(row_add(scan, &record->header, &block, &entry));
        }
    }
    return err == AB_END ? AB_OK : err;
}

/* Reads what the log holds in [*from, until); *from is then after the last record read. */
static ab_err log_scan(struct letter_scan *scan, const struct ab_partition *partition, uint64_t until, uint64_t *from,
    struct ab_error *error)
{
    struct ab_log_reader *reader = NULL;
    struct ab_record record;
    AB_TRY(ab_log_reader_open(ab_partition_log_directory(partition), *from, until, &reader, error));
    ab_err err;
    while ((err = ab_log_reader_next(reader, &record, error)) == AB_OK) {
        err = record_scan(scan, &record, error);
        if (err != AB_OK) {
            break;
        }
        *from = record.header.offset + 1;
    }
    ab_log_reader_close(reader);
    return err == AB_END ? AB_OK : err;
}

/* Reads what was sealed of records in [from, below), which the log has no longer. */
static ab_err sealed_scan(
    struct letter_scan *scan, uint32_t partition, uint64_t from, uint64_t below, struct ab_error *error)
{
    const struct ab_served_catalog *served = ab_catalogs_newest(scan->engine->catalogs);
    ab_err err = AB_OK;
    for (uint32_t s = 0; from < below && served != NULL && s < served->catalog->streams_count && err == AB_OK; s++) {
        const char *name = served->catalog->streams[s].name;
        struct ab_sealed_letters sealed = {.directory = scan->engine->options.directory,
            .stream = name,
            .partition = partition,
            .from_offset = from,
            .below_offset = below,
            .memory = &scan->engine->queries};
        if (scan->stream.bytes == 0 || ab_bytes_equal(scan->stream, ab_bytes_of_text(name))) {
            err = ab_sealed_letters_read(&sealed, &scan->letters, error);
        }
    }
    return err;
}

/* Where the log begins once records from `offset` on could not be read: it is being trimmed if that moves soon, files
 * going before the offset does. */
static uint64_t start_after(struct ab_partition *partition, uint64_t offset)
{
    struct ab_partition_report report;
    int64_t until_us = ab_time_monotonic_us() + TRIM_PATIENCE_US;
    ab_partition_report(partition, &report);
    while (report.start_offset <= offset && ab_time_monotonic_us() < until_us) {
        ab_time_sleep_us(TRIM_POLL_US);
        ab_partition_report(partition, &report);
    }
    return report.start_offset;
}

/* The log first: its letters are the newest, and most of history then need not be looked at. A record is sealed before
 * it goes from the log, so what goes meanwhile is read there. */
static ab_err partition_scan(struct letter_scan *scan, struct ab_partition *partition, struct ab_error *error)
{
    uint32_t number = ab_partition_number(partition);
    struct ab_partition_report report;
    ab_partition_report(partition, &report);
    uint64_t from = report.start_offset;
    while (from < report.committed_offset) {
        struct ab_error detail = {0};
        ab_err err = log_scan(scan, partition, report.committed_offset, &from, &detail);
        if (err == AB_OK) {
            break;
        }
        uint64_t start = ab_err_kind_of(err) == AB_KIND_FULL ? 0 : start_after(partition, from);
        if (start <= from) {
            *error = detail;
            return err;
        }
        AB_TRY(sealed_scan(scan, number, from, start, error));
        from = start;
    }
    return sealed_scan(scan, number, 0, report.start_offset, error);
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
    struct letter_scan scan = {.engine = engine, .stream = ab_json_bytes(ab_json_get(body, "stream"))};
    ab_err err = stream_check(engine, scan.stream, error);
    if (err == AB_OK && (limit < 1 || limit > (int64_t)AB_DEAD_LETTERS_MAX)) {
        err = ab_error_set(error, AB_INVALID, "\"limit\" is a whole number from 1 to %u", AB_DEAD_LETTERS_MAX);
    }
    if (err == AB_OK) {
        ab_letters_init(&scan.letters, (size_t)limit, &engine->queries);
        ab_arena_init(&scan.arena, &engine->queries, 0);
        for (uint32_t p = 0; p < engine->options.partitions_count && err == AB_OK; p++) {
            struct ab_partition *partition = ab_slots_acquire(engine->slots, p);
            if (partition != NULL) {
                err = partition_scan(&scan, partition, error);
                ab_slots_release(engine->slots, p);
            }
        }
        if (err == AB_OK) {
            ab_letters_write(&scan.letters, out);
        }
        ab_arena_fini(&scan.arena);
        ab_letters_fini(&scan.letters);
    }
    ab_json_destroy(body);
    return err;
}
