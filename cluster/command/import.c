/* import: a CSV or JSON lines file into a stream, every row once however often it is run (DESIGN 4: source positions).
 */
#include "cluster/command/command.h"
#include "cluster/command/import_progress.h"
#include "cluster/command/import_rows.h"
#include "cluster/command/import_source.h"
#include "cluster/command/session.h"
#include "common/base/random.h"

#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define RENAMES_MAX 64u
#define IDLE_MS 50
#define CLOCK_EVERY_ROWS 512u
#define SHOW_TERMINAL_US (200 * AB_US_PER_MS)
#define SHOW_PIPE_US (5 * AB_US_PER_SECOND)
#define REJECTED_SAID_MAX 5u

enum import_format { FORMAT_CSV, FORMAT_JSONL };

struct import {
    const char *stream_name; /* borrowed */
    const char *path;        /* borrowed; "-" = standard input */
    enum import_format format;
    char delimiter;
    char *source_name;                            /* owned */
    struct ab_import_rename renames[RENAMES_MAX]; /* fields owned by rename_texts */
    char *rename_texts[RENAMES_MAX];              /* owned */
    struct ab_catalog *catalog;                   /* owned reference */
    struct anabranch_client *client;              /* owned */
    struct anabranch_producer *producer;          /* owned */
    struct ab_import_source source;
    struct ab_import_rows rows;
    uint64_t line; /* the next row starts there */
    uint64_t rows_count;
    bool is_terminal;
    int64_t started_us;
    int64_t shown_us;
    uint64_t shown_rows;
    uint64_t rejected_said;
};

static void import_fini(struct import *import)
{
    ab_import_rows_fini(&import->rows);
    if (import->producer != NULL) {
        (void)anabranch_producer_close(import->producer); /* flushed before, or given up */
    }
    anabranch_close(import->client);
    ab_import_source_close(&import->source);
    ab_catalog_release(import->catalog);
    for (size_t i = 0; i < import->rows.renames_count; i++) {
        ab_delete(import->rename_texts[i]);
    }
    ab_delete(import->source_name);
}

/* ---- options ---- */

static bool ends_with(const char *text, const char *end)
{
    size_t text_bytes = strlen(text);
    size_t end_bytes = strlen(end);
    return text_bytes >= end_bytes && strcmp(text + text_bytes - end_bytes, end) == 0;
}

/* By name, unless --format says it. */
static ab_err format_settle(struct import *import, const struct ab_arguments *arguments, struct ab_error *error)
{
    static const char *const jsonl_ends[] = {
        ".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz", ".jsonl.zst", ".ndjson.zst"};
    const char *given = ab_arguments_value(arguments, "--format");
    if (given != NULL && strcmp(given, "csv") != 0 && strcmp(given, "jsonl") != 0) {
        return ab_error_set(error, AB_USAGE, "--format is csv or jsonl, not '%s'", given);
    }
    import->format = given != NULL && strcmp(given, "jsonl") == 0 ? FORMAT_JSONL : FORMAT_CSV;
    for (size_t i = 0; given == NULL && i < sizeof jsonl_ends / sizeof jsonl_ends[0]; i++) {
        if (ends_with(import->path, jsonl_ends[i])) {
            import->format = FORMAT_JSONL;
        }
    }
    const char *delimiter = ab_arguments_value(arguments, "--delimiter");
    if (delimiter != NULL && strcmp(delimiter, "\\t") == 0) {
        delimiter = "\t";
    }
    if (delimiter != NULL && (strlen(delimiter) != 1 || strchr("\"\r\n", delimiter[0]) != NULL)) {
        return ab_error_set(error, AB_USAGE, "--delimiter takes one byte that is no quote or line end (\\t = tab)");
    }
    import->delimiter = delimiter == NULL ? ',' : delimiter[0];
    return AB_OK;
}

static ab_err renames_settle(struct import *import, const struct ab_arguments *arguments, struct ab_error *error)
{
    size_t cursor = 0;
    for (const char *given = ab_arguments_next(arguments, "--rename", &cursor); given != NULL;
         given = ab_arguments_next(arguments, "--rename", &cursor)) {
        const char *equals = strchr(given, '=');
        if (equals == NULL || equals == given || equals[1] == '\0') {
            return ab_error_set(error, AB_USAGE, "--rename takes COLUMN=FIELD, not '%s'", given);
        }
        size_t i = import->rows.renames_count++;
        import->rename_texts[i] = ab_new_text_of(ab_bytes_of(given, (size_t)(equals - given)));
        import->renames[i] = (struct ab_import_rename){.column = import->rename_texts[i], .field = equals + 1};
        for (size_t before = 0; before < i; before++) {
            if (strcmp(import->renames[before].column, import->renames[i].column) == 0) {
                return ab_error_set(error, AB_USAGE, "column %s is renamed twice", import->renames[i].column);
            }
        }
    }
    import->rows.renames = import->renames;
    return AB_OK;
}

static ab_err unit_settle(struct import *import, const struct ab_arguments *arguments, struct ab_error *error)
{
    static const struct {
        const char *name;
        int64_t multiply, divide;
    } units[] = {{"s", 1000000, 1}, {"ms", 1000, 1}, {"us", 1, 1}, {"ns", 1, 1000}};
    const char *given = ab_arguments_value(arguments, "--time-unit");
    for (size_t i = 0; given != NULL && i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(units[i].name, given) == 0) {
            import->rows.unit_multiply = units[i].multiply;
            import->rows.unit_divide = units[i].divide;
        }
    }
    return given == NULL || import->rows.unit_divide != 0
               ? AB_OK
               : ab_error_set(error, AB_USAGE, "--time-unit is s, ms, us or ns, not '%s'", given);
}

/* The name under which the cluster remembers how far it has read. */
static ab_err source_settle(struct import *import, const struct ab_arguments *arguments, struct ab_error *error)
{
    const char *given = ab_arguments_value(arguments, "--source");
    if (given != NULL && given[0] == '\0') {
        return ab_error_set(error, AB_USAGE, "--source needs a name");
    }
    if (given != NULL) {
        import->source_name = ab_new_text(given);
    } else if (strcmp(import->path, "-") == 0) {
        import->source_name = ab_new_format("stdin-%016" PRIx64, ab_random_id());
        ab_command_say("standard input without --source is a new source each time: %s", import->source_name);
    } else {
        char absolute[PATH_MAX];
        if (realpath(import->path, absolute) == NULL) {
            return ab_error_set(error, AB_NOT_FOUND, "there is no file %s", import->path);
        }
        import->source_name = ab_new_text(absolute);
    }
    return AB_OK;
}

static ab_err options_settle(struct import *import, const struct ab_arguments *arguments, struct ab_error *error)
{
    import->stream_name = arguments->words[0];
    import->path = arguments->words[1];
    import->rows.null_text = ab_arguments_value(arguments, "--null");
    import->rows.null_bytes = import->rows.null_text == NULL ? 0 : strlen(import->rows.null_text);
    AB_TRY(format_settle(import, arguments, error));
    AB_TRY(renames_settle(import, arguments, error));
    return unit_settle(import, arguments, error);
}

/* ---- connecting ---- */

static ab_err rename_refuse(
    const struct ab_stream *stream, const struct ab_import_rename *rename, struct ab_error *error)
{
    const char **names = ab_new_array(const char *, stream->columns_count);
    for (uint32_t c = 0; c < stream->columns_count; c++) {
        names[c] = stream->columns[c].name;
    }
    const char *nearest = ab_catalog_nearest(ab_bytes_of_text(rename->column), names, stream->columns_count);
    ab_delete(names);
    return ab_error_set(error, AB_USAGE, "--rename %s=%s: stream %s has no column %s%s%s%s", rename->column,
        rename->field, stream->name, rename->column, nearest == NULL ? "" : "; did you mean ",
        nearest == NULL ? "" : nearest, nearest == NULL ? "" : "?");
}

/* Renamed columns must be the stream's. */
static ab_err renames_check(const struct import *import, struct ab_error *error)
{
    for (size_t i = 0; i < import->rows.renames_count; i++) {
        if (ab_stream_column_index(import->rows.stream, ab_bytes_of_text(import->renames[i].column)) < 0) {
            return rename_refuse(import->rows.stream, &import->renames[i], error);
        }
    }
    return AB_OK;
}

static ab_err catalog_fetch(struct import *import, const char *directory, struct ab_error *error)
{
    struct ab_session session;
    ab_err err = ab_session_open(directory, "producer", &session, error);
    if (err == AB_OK) {
        err = ab_session_catalog(&session, &import->catalog, error);
    }
    ab_session_close(&session);
    AB_TRY(err);
    AB_TRY(ab_session_stream_check(import->catalog, import->stream_name, error));
    import->rows.stream = ab_catalog_stream(import->catalog, ab_bytes_of_text(import->stream_name));
    return renames_check(import, error);
}

static void rejected_say(uint64_t position, const char *reason, void *context)
{
    struct import *import = context;
    if (import->rejected_said++ < REJECTED_SAID_MAX) {
        ab_command_say("%sdead letter: line %" PRIu64 ": %s", import->is_terminal ? "\r\033[K" : "", position, reason);
    }
}

/* What the client's call ended with, as an error of ours. */
static ab_err client_error(const struct import *import, enum anabranch_result result, struct ab_error *error)
{
    return result == ANABRANCH_OK ? AB_OK
                                  : ab_error_set(error, AB_UNAVAILABLE, "%s: %s", anabranch_result_text(result),
                                        anabranch_last_error(import->client));
}

static ab_err producer_open(struct import *import, const char *directory, struct ab_error *error)
{
    enum anabranch_result result = ab_session_client_open(directory, "producer", 0, &import->client, error);
    if (import->client == NULL) {
        return AB_UNAVAILABLE;
    }
    AB_TRY(client_error(import, result, error));
    const struct anabranch_producer_options producer = {.stream = import->stream_name, .source = import->source_name};
    AB_TRY(client_error(import, anabranch_producer_open(import->client, &producer, &import->producer), error));
    anabranch_on_rejected(import->producer, rejected_say, import);
    import->rows.client = import->client;
    import->rows.producer = import->producer;
    return AB_OK;
}

/* Compares what the cluster remembers of the source with what stands there now. */
static ab_err marks_compare(struct import *import, struct ab_error *error)
{
    struct ab_import_mark *marks = NULL;
    struct anabranch_source_mark mark;
    size_t count = 0;
    while (anabranch_source_mark_at(import->producer, count, &mark)) {
        marks = ab_renew_bytes(marks, (count + 1) * sizeof marks[0]);
        marks[count] = (struct ab_import_mark){.byte_offset = mark.byte_offset};
        memcpy(&marks[count].hash.low, mark.prefix_hash, 8);
        memcpy(&marks[count].hash.high, mark.prefix_hash + 8, 8);
        count++;
    }
    ab_err err = ab_import_source_marks(&import->source, marks, count, error);
    ab_delete(marks);
    return err == AB_OK ? AB_OK : ab_error_wrap(error, err, "source %s", import->source_name);
}

/* ---- reading ---- */

static void prefix_hash(void *context, uint8_t hash[16])
{
    ab_import_source_hash(context, hash);
}

/* The prefix up to `told` has been read: the next block that is sealed says so. */
static void progress_tell(struct import *import, uint64_t told)
{
    ab_import_source_tell(&import->source, told);
    anabranch_source_progress(import->producer, told, prefix_hash, &import->source);
}

static void progress_show(struct import *import, int64_t now)
{
    char text[160];
    struct ab_import_moment moment = {.rows = import->rows_count,
        .raw_bytes = ab_inflate_stream_raw_bytes(import->source.inflate),
        .raw_bytes_total = import->source.raw_bytes,
        .elapsed_us = now - import->started_us,
        .recent_rows = import->rows_count - import->shown_rows,
        .recent_us = now - import->shown_us};
    ab_import_progress_format(&moment, text, sizeof text);
    (void)fprintf(stderr, import->is_terminal ? "\r\033[K%s" : "%s\n", text);
    (void)fflush(stderr);
    import->shown_us = now;
    import->shown_rows = import->rows_count;
}

static void progress_look(struct import *import)
{
    int64_t now = ab_time_monotonic_us();
    if (now - import->shown_us >= (import->is_terminal ? SHOW_TERMINAL_US : SHOW_PIPE_US)) {
        progress_show(import, now);
    }
}

/* Gets more bytes; while a pipe has none, what was gathered is sent. */
static ab_err more_read(struct import *import, struct ab_error *error)
{
    progress_tell(import, import->source.at);
    while (!ab_import_source_wait(&import->source, IDLE_MS)) {
        AB_TRY(client_error(import, anabranch_poll(import->producer), error));
        progress_look(import);
    }
    ab_err err = ab_import_source_fill(&import->source, error);
    if (err != AB_OK) {
        return ab_error_wrap(error, err, "%s", import->path);
    }
    return ab_import_source_check(&import->source, import->line, error);
}

/* Takes the next CSV row, reading as needed; AB_END. */
static ab_err csv_next(struct import *import, struct ab_csv *csv, struct ab_csv_row *row, struct ab_error *error)
{
    for (;;) {
        ab_err err = ab_csv_next(csv, ab_import_source_window(&import->source), import->source.is_last, row);
        if (err != AB_AGAIN) {
            return err;
        }
        AB_TRY(more_read(import, error));
    }
}

/* A row was handled: its bytes are used up. */
static void row_done(struct import *import, size_t bytes, uint64_t lines)
{
    ab_import_source_advance(&import->source, bytes);
    import->line += lines;
    if (++import->rows_count % CLOCK_EVERY_ROWS == 0) {
        progress_look(import);
    }
}

static ab_err bom_skip(struct import *import, struct ab_error *error)
{
    static const uint8_t mark[3] = {0xEF, 0xBB, 0xBF};
    struct ab_bytes window = ab_import_source_window(&import->source);
    while (window.bytes < sizeof mark && !import->source.is_last) {
        AB_TRY(more_read(import, error));
        window = ab_import_source_window(&import->source);
    }
    if (window.bytes >= sizeof mark && memcmp(window.data, mark, sizeof mark) == 0) {
        ab_import_source_advance(&import->source, sizeof mark);
    }
    return AB_OK;
}

static ab_err header_read(struct import *import, struct ab_csv *csv, struct ab_error *error)
{
    struct ab_csv_row header;
    ab_err err = csv_next(import, csv, &header, error);
    if (err == AB_END) {
        return ab_error_set(error, AB_INVALID, "%s is empty: a CSV file begins with a header", import->path);
    }
    AB_TRY(err);
    AB_TRY(ab_import_rows_header(&import->rows, &header, error));
    ab_import_source_advance(&import->source, header.bytes);
    import->line += header.lines_count;
    return AB_OK;
}

static ab_err csv_rows(struct import *import, struct ab_csv *csv, struct ab_error *error)
{
    AB_TRY(bom_skip(import, error));
    AB_TRY(header_read(import, csv, error));
    for (;;) {
        struct ab_csv_row row;
        ab_err err = csv_next(import, csv, &row, error);
        if (err != AB_OK) {
            return err == AB_END ? AB_OK : err;
        }
        if (row.is_rest || row.whole.bytes == 0) { /* an empty line is no row */
            ab_import_source_advance(&import->source, row.bytes);
            import->line += row.lines_count;
            continue;
        }
        progress_tell(import, import->source.at + row.bytes);
        AB_TRY(client_error(import, ab_import_rows_csv(&import->rows, &row, import->line), error));
        row_done(import, row.bytes, row.lines_count);
    }
}

static ab_err csv_import(struct import *import, struct ab_error *error)
{
    struct ab_csv csv;
    ab_csv_init(&csv, (uint8_t)import->delimiter);
    ab_err err = csv_rows(import, &csv, error);
    ab_csv_fini(&csv);
    return err;
}

static bool is_blank(struct ab_bytes line)
{
    for (size_t i = 0; i < line.bytes; i++) {
        if (strchr(" \t\r", line.data[i]) == NULL || line.data[i] == '\0') {
            return false;
        }
    }
    return true;
}

/* A line longer than the bound is one dead letter; the rest of it is passed over. */
static ab_err long_line(struct import *import, struct ab_error *error)
{
    struct ab_bytes window = ab_import_source_window(&import->source);
    progress_tell(import, import->source.at + window.bytes);
    AB_TRY(client_error(import,
        anabranch_append_raw(
            import->producer, import->line, (const char *)window.data, window.bytes, "the row is longer than 1 MiB"),
        error));
    for (;;) {
        const uint8_t *end = window.bytes == 0 ? NULL : memchr(window.data, '\n', window.bytes);
        size_t bytes = end == NULL ? window.bytes : (size_t)(end - window.data) + 1;
        ab_import_source_advance(&import->source, bytes);
        if (end != NULL || import->source.is_last) {
            import->line++;
            return AB_OK;
        }
        AB_TRY(more_read(import, error));
        window = ab_import_source_window(&import->source);
    }
}

static ab_err line_append(struct import *import, struct ab_bytes line, size_t bytes, struct ab_error *error)
{
    if (!is_blank(line)) {
        progress_tell(import, import->source.at + bytes);
        AB_TRY(client_error(import, ab_import_rows_json(&import->rows, line, import->line), error));
        import->rows_count++;
        if (import->rows_count % CLOCK_EVERY_ROWS == 0) {
            progress_look(import);
        }
    }
    ab_import_source_advance(&import->source, bytes);
    import->line++;
    return AB_OK;
}

static ab_err jsonl_import(struct import *import, struct ab_error *error)
{
    AB_TRY(ab_import_rows_names(&import->rows, error));
    AB_TRY(bom_skip(import, error));
    for (;;) {
        struct ab_bytes window = ab_import_source_window(&import->source);
        const uint8_t *end = window.bytes == 0 ? NULL : memchr(window.data, '\n', window.bytes);
        size_t line_bytes = end == NULL ? window.bytes : (size_t)(end - window.data);
        if (line_bytes > AB_CSV_ROW_BYTES_MAX) {
            AB_TRY(long_line(import, error));
        } else if (end != NULL || (import->source.is_last && window.bytes > 0)) {
            AB_TRY(line_append(import, ab_bytes_of(window.data, line_bytes), line_bytes + (end != NULL), error));
        } else if (import->source.is_last) {
            return AB_OK;
        } else {
            AB_TRY(more_read(import, error));
        }
    }
}

/* ---- the end ---- */

static void counts_say(const struct import *import)
{
    struct anabranch_counts counts;
    char rows[32];
    char rate[32];
    double seconds = (double)(ab_time_monotonic_us() - import->started_us) / 1e6;
    anabranch_producer_counts(import->producer, &counts);
    ab_number_format(import->rows_count, rows);
    ab_number_format(seconds > 0 ? (uint64_t)((double)import->rows_count / seconds) : 0, rate);
    ab_command_say("%s%s rows read in %.1f s, %s rows/s", import->is_terminal ? "\r\033[K" : "", rows, seconds, rate);
    if (import->rejected_said > REJECTED_SAID_MAX) {
        ab_command_say("more dead letters: `anabranch dead-letters list %s`", import->stream_name);
    }
    (void)printf("rows accepted %" PRIu64 ", duplicates %" PRIu64 ", dead letters %" PRIu64 "\n", counts.accepted,
        counts.duplicates, counts.rejected);
    if (counts.unknown > 0 || counts.refused > 0) {
        ab_command_say("outcome unknown for %" PRIu64 " rows, not written %" PRIu64
                       " rows; run the same import again: every row counts once",
            counts.unknown, counts.refused);
    }
    (void)fflush(stdout);
}

static ab_err rows_import(struct import *import, struct ab_error *error)
{
    import->line = 1;
    import->is_terminal = isatty(STDERR_FILENO);
    import->started_us = ab_time_monotonic_us();
    import->shown_us = import->started_us;
    ab_err err = import->format == FORMAT_CSV ? csv_import(import, error) : jsonl_import(import, error);
    if (err == AB_OK) {
        progress_tell(import, import->source.at);
        err = ab_import_source_finish(&import->source, error);
    }
    if (err == AB_OK) {
        err = client_error(import, anabranch_flush(import->producer), error);
    }
    if (import->rows_count > 0 || err == AB_OK) {
        counts_say(import);
    }
    return err;
}

static ab_err import_run(const struct ab_arguments *arguments, struct ab_error *error)
{
    char *directory = NULL;
    struct import *import = ab_new(struct import);
    import->source.fd = -1;
    ab_err err = options_settle(import, arguments, error);
    if (err == AB_OK) {
        err = ab_command_directory(arguments, &directory, error);
    }
    if (err == AB_OK) {
        err = catalog_fetch(import, directory, error);
    }
    if (err == AB_OK) {
        err = source_settle(import, arguments, error);
    }
    if (err == AB_OK) {
        err = ab_import_source_open(&import->source, import->path, error);
    }
    if (err == AB_OK) {
        err = producer_open(import, directory, error);
    }
    if (err == AB_OK) {
        err = marks_compare(import, error);
    }
    if (err == AB_OK) {
        err = rows_import(import, error);
    }
    import_fini(import);
    ab_delete(import);
    ab_delete(directory);
    return err;
}

static const struct ab_option import_options[] = {
    AB_OPTION_DATA,
    {"--format", "csv|jsonl", "by default told from the file's name"},
    {"--source", "NAME", "what positions are remembered under (the absolute path)"},
    {"--rename", "COLUMN=FIELD", "read a column from a field of another name; may be repeated"},
    {"--delimiter", "C", "between the fields of a CSV row (,); \\t for a tab"},
    {"--null", "TEXT", "this field is NULL too, besides the empty one"},
    {"--time-unit", "s|ms|us|ns", "unit of times that are integers since 1970 UTC"},
    {0},
};

const struct ab_command ab_command_import = {
    .name = "import",
    .words = "STREAM FILE|-",
    .summary = "read CSV or JSON lines, plain, gzip or zstd, into a stream; safe to run again",
    .options = import_options,
    .words_min = 2,
    .words_max = 2,
    .run = import_run,
};
