/* Reads 4 million values of each kind and prints values a CPU-second, decompression included. */
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "common/base/random.h"
#include "common/history/parquet.h"

#define ROWS 4194304u
#define BATCH 65536u

static const struct ab_parquet_field fields[] = {
    {"bigint_dictionary", {.kind = AB_TYPE_BIGINT}, false},
    {"bigint_plain", {.kind = AB_TYPE_BIGINT}, false},
    {"double_dictionary", {.kind = AB_TYPE_DOUBLE}, false},
    {"double_plain", {.kind = AB_TYPE_DOUBLE}, false},
    {"bigint_zstd", {.kind = AB_TYPE_BIGINT}, false},
};
#define FIELDS (sizeof fields / sizeof *fields)

static int64_t values[FIELDS][BATCH];

static void batch_fill(struct ab_random *random, int64_t first)
{
    for (uint32_t i = 0; i < BATCH; i++) {
        double few = (double)ab_random_below(random, 5000) / 7.0;
        double many = ab_random_unit(random);
        values[0][i] = (int64_t)ab_random_below(random, 30000);
        values[1][i] = (int64_t)ab_random_u64(random);
        memcpy(&values[2][i], &few, 8);
        memcpy(&values[3][i], &many, 8);
        values[4][i] = first + i;
    }
}

static ab_err file_write(const char *path, struct ab_error *error)
{
    struct ab_parquet_writer *writer = NULL;
    struct ab_random random;
    ab_random_init(&random, 5);
    AB_TRY(ab_parquet_writer_create(path, fields, FIELDS, NULL, &writer, error));
    int64_t start = ab_time_process_cpu_ns();
    int64_t filling = 0;
    for (uint32_t row = 0; row < ROWS; row += BATCH) {
        struct ab_column columns[FIELDS];
        const struct ab_column *pointers[FIELDS];
        int64_t before = ab_time_process_cpu_ns();
        batch_fill(&random, row);
        filling += ab_time_process_cpu_ns() - before;
        for (size_t f = 0; f < FIELDS; f++) {
            columns[f] = (struct ab_column){.type = fields[f].type, .rows_count = BATCH, .values = values[f]};
            pointers[f] = &columns[f];
        }
        AB_TRY(ab_parquet_writer_add(writer, pointers, BATCH, NULL, error));
    }
    AB_TRY(ab_parquet_writer_finish(writer, NULL, 0, NULL, error));
    double seconds = (double)(ab_time_process_cpu_ns() - start - filling) / 1e9;
    printf("written: %.1f M values a CPU-second\n", (double)ROWS * FIELDS / seconds / 1e6);
    return AB_OK;
}

int main(void)
{
    const char *path = "/tmp/anabranch-parquet-speed.parquet";
    struct ab_error error = {0};
    struct ab_parquet_reader *reader = NULL;
    if (file_write(path, &error) != AB_OK || ab_parquet_reader_open(path, &reader, &error) != AB_OK) {
        (void)fprintf(stderr, "%s\n", error.text);
        return 1;
    }
    struct ab_arena arena = {0};
    for (size_t f = 0; f < FIELDS; f++) {
        bool wanted[FIELDS] = {false};
        wanted[f] = true;
        int64_t start = ab_time_process_cpu_ns();
        for (size_t group = 0; group < ab_parquet_reader_groups(reader); group++) {
            struct ab_column columns[FIELDS];
            if (ab_parquet_reader_read(reader, group, wanted, &arena, columns, &error) != AB_OK) {
                (void)fprintf(stderr, "%s\n", error.text);
                return 1;
            }
            ab_arena_reset(&arena);
        }
        double seconds = (double)(ab_time_process_cpu_ns() - start) / 1e9;
        printf("%-18s %.1f M values a CPU-second\n", fields[f].name, (double)ROWS / seconds / 1e6);
    }
    ab_arena_fini(&arena);
    ab_parquet_reader_close(reader);
    (void)unlink(path);
    return 0;
}
