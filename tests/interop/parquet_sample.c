/* Writes a Parquet file of every type for another engine to read: `parquet_sample PATH ROWS`. Values are functions of
 * the row. */
#include "common/base/decimal.h"
#include "common/history/parquet.h"

#include <math.h>
#include <stdio.h>

#define FIELDS 8

static const struct ab_parquet_field fields[FIELDS] = {
    {"id", {.kind = AB_TYPE_BIGINT}, true},
    {"flag", {.kind = AB_TYPE_BOOLEAN}, false},
    {"few", {.kind = AB_TYPE_BIGINT}, false},
    {"spread", {.kind = AB_TYPE_BIGINT}, false},
    {"real", {.kind = AB_TYPE_DOUBLE}, false},
    {"price", {.kind = AB_TYPE_DECIMAL, .precision = 38, .scale = 3}, false},
    {"word", {.kind = AB_TYPE_TEXT}, false},
    {"moment", {.kind = AB_TYPE_TIMESTAMP}, false},
};

/* Every seventh value of a nullable column is NULL, in another row for each column. */
static struct ab_value value_at(size_t field, int64_t row, char text[64])
{
    struct ab_value value = {.type = fields[field].type};
    value.is_null = field > 0 && (row + (int64_t)field) % 7 == 0;
    switch (field) {
    case 1:
        value.boolean = row % 3 == 0;
        break;
    case 2:
        value.bigint = row % 10 - 5;
        break;
    case 3:
        value.bigint = row * 1000003 - 500000;
        break;
    case 4:
        value.real = row % 1000 == 500 ? NAN : row % 1000 == 501 ? -INFINITY : (double)row / 4.0;
        break;
    case 5:
        value.decimal = (ab_int128)(row - 1000) * ab_decimal_power(18);
        break;
    case 6:
        (void)snprintf(text, 64, row % 5 == 0 ? "" : "gr\xC3\xBC\xC3\x9F-%lld", (long long)(row % 997));
        value.text = ab_bytes_of_text(text);
        break;
    case 7:
        value.bigint = -86400000000 + row * 1234567;
        break;
    default:
        value.bigint = row;
    }
    return value;
}

static ab_err rows_write(struct ab_parquet_writer *writer, int64_t rows, struct ab_error *error)
{
    struct ab_column_builder *builders[FIELDS];
    struct ab_column columns[FIELDS];
    const struct ab_column *pointers[FIELDS];
    ab_err err = AB_OK;
    for (size_t f = 0; f < FIELDS; f++) {
        builders[f] = ab_column_builder_create(fields[f].type, 10000, NULL);
        pointers[f] = &columns[f];
    }
    for (int64_t row = 0; row < rows && err == AB_OK;) {
        uint32_t count = 0;
        for (; row < rows && count < 10000 && err == AB_OK; row++, count++) {
            for (size_t f = 0; f < FIELDS && err == AB_OK; f++) {
                char text[64];
                struct ab_value value = value_at(f, row, text);
                err = ab_column_builder_add(builders[f], &value);
            }
        }
        for (size_t f = 0; f < FIELDS; f++) {
            ab_column_builder_view(builders[f], &columns[f]);
        }
        err = err == AB_OK ? ab_parquet_writer_add(writer, pointers, count, NULL, error) : err;
        for (size_t f = 0; f < FIELDS; f++) {
            ab_column_builder_clear(builders[f]);
        }
    }
    for (size_t f = 0; f < FIELDS; f++) {
        ab_column_builder_destroy(builders[f]);
    }
    return err;
}

int main(int argc, char **argv)
{
    struct ab_parquet_writer *writer = NULL;
    struct ab_error error = {0};
    const struct ab_parquet_note note = {"anabranch.stream", "sample"};
    int64_t rows = 0;
    if (argc != 3 || ab_bigint_parse(ab_bytes_of_text(argv[2]), &rows) != AB_OK) {
        (void)fprintf(stderr, "usage: parquet_sample PATH ROWS\n");
        return 2;
    }
    ab_err err = ab_parquet_writer_create(argv[1], fields, FIELDS, NULL, &writer, &error);
    if (err == AB_OK) {
        err = rows_write(writer, rows, &error);
        if (err == AB_OK) {
            err = ab_parquet_writer_finish(writer, &note, 1, NULL, &error);
        } else {
            ab_parquet_writer_abandon(writer);
        }
    }
    if (err != AB_OK) {
        (void)fprintf(stderr, "parquet_sample: %s\n", error.text);
    }
    return err == AB_OK ? 0 : 1;
}
