#include "bench/events.h"
#include "bench/limits.h"
#include "bench/options.h"
#include "bench/report.h"
#include "bench/verbs.h"

#include "common/aggregate/group_table.h"
#include "common/base/file.h"
#include "common/history/parquet.h"

#include <stdio.h>
#include <stdlib.h>

#define BLOCK_ROWS 8192u
#define BLOCKS 64u
/* A row group's columns, and what aggregating them needs, fit in one chunk of an arena. */
#define ARENA_BYTES ((size_t)8 << 20)

struct scan_options {
    uint64_t rows, keys;
    bool as_json;
};

static ab_err history_write(
    const char *path, const struct ab_events *events, uint64_t rows, uint64_t *bytes, struct ab_error *error)
{
    const struct ab_parquet_field fields[3] = {{.name = "key", .type = {.kind = AB_TYPE_BIGINT}, .is_required = true},
        {.name = "at", .type = {.kind = AB_TYPE_TIMESTAMP}, .is_required = true},
        {.name = "amount", .type = {.kind = AB_TYPE_DOUBLE}}};
    struct ab_parquet_writer *writer = NULL;
    AB_TRY(ab_parquet_writer_create(path, fields, 3, NULL, &writer, error));
    for (uint64_t i = 0; i * BLOCK_ROWS < rows; i++) {
        const struct ab_events_block *block = ab_events_at(events, 0, i);
        struct ab_column columns[3] = {{.type = fields[0].type, .rows_count = BLOCK_ROWS, .values = block->keys},
            {.type = fields[1].type, .rows_count = BLOCK_ROWS, .values = block->times},
            {.type = fields[2].type, .rows_count = BLOCK_ROWS, .values = block->amounts}};
        const struct ab_column *const pointers[3] = {&columns[0], &columns[1], &columns[2]};
        ab_err err = ab_parquet_writer_add(writer, pointers, BLOCK_ROWS, NULL, error);
        if (err != AB_OK) {
            ab_parquet_writer_abandon(writer);
            return err;
        }
    }
    return ab_parquet_writer_finish(writer, NULL, 0, bytes, error);
}

/* Reads every row group and aggregates it: what a batch rank does with its share. */
static ab_err history_scan(const char *path, const struct ab_aggregation *aggregation, struct ab_row_counts *counts,
    size_t *groups, struct ab_error *error)
{
    struct ab_parquet_reader *reader = NULL;
    struct ab_arena arena;
    struct ab_arena scratch;
    static const bool wanted[3] = {true, true, true};
    AB_TRY(ab_parquet_reader_open(path, &reader, error));
    ab_arena_init(&arena, NULL, ARENA_BYTES);
    ab_arena_init(&scratch, NULL, ARENA_BYTES);
    struct ab_group_table *table = ab_group_table_create(aggregation, NULL);
    ab_err err = AB_OK;
    for (size_t g = 0; g < ab_parquet_reader_groups(reader) && err == AB_OK; g++) {
        struct ab_column columns[3] = {0};
        ab_arena_reset(&arena);
        ab_arena_reset(&scratch);
        err = ab_parquet_reader_read(reader, g, wanted, &arena, columns, error);
        const struct ab_column *const pointers[3] = {&columns[0], &columns[1], &columns[2]};
        struct ab_rows rows = {.columns = pointers, .rows_count = columns[0].rows_count, .expired_until_us = INT64_MIN};
        if (err == AB_OK) {
            ab_group_table_update(table, &rows, &scratch, counts);
        }
    }
    *groups = ab_group_table_count(table);
    ab_group_table_destroy(table);
    ab_arena_fini(&arena);
    ab_arena_fini(&scratch);
    ab_parquet_reader_close(reader);
    return err;
}

static ab_err view_scan(const struct ab_catalog *catalog, uint32_t view, const char *path,
    const struct ab_events *events, struct ab_json *report, struct ab_error *error)
{
    struct ab_aggregation *aggregation = NULL;
    struct ab_row_counts counts = {0};
    size_t groups = 0;
    AB_TRY(ab_aggregation_create(&catalog->views[view], &aggregation, error));
    int64_t start_ns = ab_time_thread_cpu_ns();
    ab_err err = history_scan(path, aggregation, &counts, &groups, error);
    double seconds = (double)(ab_time_thread_cpu_ns() - start_ns) / 1e9;
    ab_aggregation_destroy(aggregation);
    if (err == AB_OK) {
        struct ab_json *figures = ab_json_object();
        double rate = (double)counts.aggregated / seconds;
        double limit = 1e9 / ab_limit_hash_aggregate_ns(events, 1, 0.5);
        ab_json_set(figures, "groups", ab_json_integer((int64_t)groups));
        ab_json_set(figures, "rows_per_core_second", ab_json_real(rate));
        ab_json_set(figures, "raw_limit_rows_per_second", ab_json_real(limit));
        ab_json_set(figures, "ratio_to_raw_limit", ab_json_real(rate / limit));
        ab_json_set(report, catalog->views[view].name, figures);
    }
    return err;
}

static ab_err scan_measure(
    const struct scan_options *options, const char *directory, struct ab_json *report, struct ab_error *error)
{
    struct ab_events_options made = {.keys_count = (uint32_t)options->keys,
        .partitions_count = 1,
        .block_rows = BLOCK_ROWS,
        .blocks_a_partition = BLOCKS,
        .seed = 4};
    struct ab_events *events = ab_events_create(&made);
    char *path = ab_new_format("%s/events.parquet", directory);
    char *text = ab_events_catalog(3);
    struct ab_catalog *catalog = NULL;
    uint64_t bytes = 0;
    ab_err err = ab_catalog_parse(ab_bytes_of_text(text), &catalog, error);
    if (err == AB_OK) {
        err = history_write(path, events, options->rows, &bytes, error);
    }
    if (err == AB_OK) {
        ab_json_set(report, "rows", ab_json_integer((int64_t)options->rows));
        ab_json_set(report, "keys", ab_json_integer((int64_t)options->keys));
        ab_json_set(report, "file_bytes_a_row", ab_json_real((double)bytes / (double)options->rows));
        ab_json_set(report, "memcpy_bytes_per_second", ab_json_real(ab_limit_memcpy_bytes(0.5)));
    }
    for (uint32_t v = 0; err == AB_OK && v < catalog->views_count; v++) {
        err = view_scan(catalog, v, path, events, report, error);
    }
    ab_catalog_release(catalog);
    ab_delete(text);
    ab_delete(path);
    ab_events_destroy(events);
    return err;
}

int ab_bench_scan(int argc, char **argv)
{
    struct scan_options scan = {.rows = 10000000, .keys = 100000};
    const struct ab_bench_option options[] = {
        {.name = "rows", .help = "rows of history (10000000)", .number = &scan.rows},
        {.name = "keys", .help = "distinct keys, by Zipf's law (100000)", .number = &scan.keys},
        {.name = "json", .help = "print one JSON object", .flag = &scan.as_json},
    };
    int status =
        ab_bench_options_read("scan", "Rows per second and core from sealed history (Parquet) into merged states.",
            options, sizeof options / sizeof options[0], argc, argv, 2);
    if (status >= 0) {
        return status;
    }
    if (scan.rows < BLOCK_ROWS || scan.rows > UINT64_C(10000000000) || scan.keys == 0 || scan.keys > 100000000) {
        fprintf(stderr, "anabranch-bench scan: a number is out of its range; see --help\n");
        return 2;
    }
    scan.rows = scan.rows / BLOCK_ROWS * BLOCK_ROWS;
    const char *parent = getenv("TMPDIR");
    char *directory = ab_new_format("%s/anabranch-scan-XXXXXX", parent == NULL ? "/tmp" : parent);
    struct ab_error error = {0};
    struct ab_json *report = ab_report_create("scan");
    ab_err err = mkdtemp(directory) == NULL ? ab_error_set(&error, AB_IO, "cannot make a temporary directory")
                                            : scan_measure(&scan, directory, report, &error);
    if (ab_file_exists(directory)) {
        ab_err_ignore(ab_file_remove_tree(directory, NULL)); /* what is left is in the temporary folder */
    }
    ab_delete(directory);
    if (err != AB_OK) {
        fprintf(stderr, "anabranch-bench scan: %s\n", error.text);
        ab_json_destroy(report);
        return 1;
    }
    ab_report_print(report, scan.as_json);
    return 0;
}
