#include "batch/combine.h"

#include "batch/sort.h"

#include <stdio.h>
#include <unistd.h>

struct ab_combine {
    const struct ab_aggregation *aggregation; /* borrowed */
    struct ab_memory *memory;                 /* borrowed */
    char *path;                               /* owned */
    struct ab_group_table *table;             /* owned */
    uint32_t spills_count;                    /* files <path>.<process>.spill-0 … */
    struct ab_row_counts counts;
    uint64_t rows_scanned;
};

struct ab_combine *ab_combine_create(
    const struct ab_aggregation *aggregation, const char *path, struct ab_memory *memory)
{
    struct ab_combine *combine = ab_new(struct ab_combine);
    combine->aggregation = aggregation;
    combine->memory = memory;
    combine->path = ab_new_text(path);
    combine->table = ab_group_table_create(aggregation, memory);
    return combine;
}

static char *spill_path(const struct ab_combine *combine, uint32_t index)
{
    return ab_new_format("%s.%d.spill-%u", combine->path, (int)getpid(), index);
}

static void spills_remove(struct ab_combine *combine, uint32_t from)
{
    for (uint32_t i = from; i < combine->spills_count; i++) {
        char *path = spill_path(combine, i);
        (void)unlink(path); /* scratch: the job's folder goes as a whole */
        ab_delete(path);
    }
    combine->spills_count = from < combine->spills_count ? from : combine->spills_count;
}

void ab_combine_destroy(struct ab_combine *combine)
{
    if (combine == NULL) {
        return;
    }
    spills_remove(combine, 0);
    ab_group_table_destroy(combine->table);
    ab_delete(combine->path);
    ab_delete(combine);
}

void ab_combine_add(struct ab_combine *combine, const struct ab_rows *rows, struct ab_arena *scratch)
{
    ab_group_table_update(combine->table, rows, scratch, &combine->counts);
    combine->rows_scanned += rows->rows_count;
}

size_t ab_combine_bytes(const struct ab_combine *combine)
{
    return ab_group_table_count(combine->table) == 0 ? 0 : ab_group_table_bytes(combine->table);
}

static ab_err cursor_next(void *source, struct ab_bytes *key, struct ab_bytes *row, struct ab_error *error)
{
    (void)error;
    return ab_group_cursor_next(source, key, row) ? AB_OK : AB_END;
}

static void cursor_close(void *source)
{
    ab_group_cursor_close(source);
}

static void table_add(struct ab_combine *combine, struct ab_sort *sort)
{
    ab_sort_add_take(sort, cursor_next, cursor_close, ab_group_cursor_open(combine->table, combine->memory));
}

static ab_err spills_add(struct ab_combine *combine, struct ab_sort *sort, struct ab_error *error)
{
    for (uint32_t i = 0; i < combine->spills_count; i++) {
        char *path = spill_path(combine, i);
        ab_err err = ab_sort_add_run(sort, path, error);
        ab_delete(path);
        AB_TRY(err);
    }
    return AB_OK;
}

/* Many spills become one, so that merging never has too many files open. */
static ab_err spills_fold(struct ab_combine *combine, struct ab_error *error)
{
    struct ab_sort *sort = ab_sort_create();
    struct ab_run_summary summary = {0};
    char *path = ab_new_format("%s.%d.fold", combine->path, (int)getpid());
    char *first = spill_path(combine, 0);
    ab_err err = spills_add(combine, sort, error);
    if (err == AB_OK) {
        err = ab_sort_write_run(sort, path, &summary, error);
    }
    ab_sort_destroy(sort);
    if (err == AB_OK) {
        spills_remove(combine, 0);
        if (rename(path, first) != 0) {
            err = ab_error_set(error, AB_IO, "rename %s", path);
        } else {
            combine->spills_count = 1;
        }
    }
    ab_delete(path);
    ab_delete(first);
    return err;
}

ab_err ab_combine_spill(struct ab_combine *combine, struct ab_error *error)
{
    if (ab_group_table_count(combine->table) == 0) {
        return AB_OK;
    }
    struct ab_sort *sort = ab_sort_create();
    struct ab_run_summary summary = {0};
    char *path = spill_path(combine, combine->spills_count);
    table_add(combine, sort);
    ab_err err = ab_sort_write_run(sort, path, &summary, error);
    ab_sort_destroy(sort);
    ab_delete(path);
    AB_TRY(err);
    combine->spills_count++;
    /* A cleared table keeps its memory: only a new one gives it back. */
    ab_group_table_destroy(combine->table);
    combine->table = ab_group_table_create(combine->aggregation, combine->memory);
    return combine->spills_count >= AB_COMBINE_SPILLS_MAX ? spills_fold(combine, error) : AB_OK;
}

ab_err ab_combine_finish(struct ab_combine *combine, struct ab_run_summary *summary, struct ab_error *error)
{
    struct ab_run_summary made = {.counts = combine->counts, .rows_scanned = combine->rows_scanned};
    struct ab_sort *sort = ab_sort_create();
    table_add(combine, sort);
    ab_err err = spills_add(combine, sort, error);
    if (err == AB_OK) {
        err = ab_sort_write_run(sort, combine->path, &made, error);
    }
    ab_sort_destroy(sort);
    if (err == AB_OK) {
        spills_remove(combine, 0);
        *summary = made;
    }
    return err;
}
