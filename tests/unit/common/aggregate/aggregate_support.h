/* aggregate_support: random rows of one stream with every type and special values, as columns, for the tests of
 * common/aggregate. */
#ifndef ANABRANCH_TESTS_UNIT_COMMON_AGGREGATE_AGGREGATE_SUPPORT_H
#define ANABRANCH_TESTS_UNIT_COMMON_AGGREGATE_AGGREGATE_SUPPORT_H

#include "common/aggregate/group_key.h"
#include "common/aggregate/group_table.h"
#include "common/base/random.h"
#include "tests/support/test.h"

#include <math.h>

/* Columns of the test stream, by index. */
enum { COLUMN_K, COLUMN_T, COLUMN_D, COLUMN_M, COLUMN_B, COLUMN_F, COLUMN_AT, COLUMN_WORD, COLUMNS_COUNT };

#define TEST_STREAM                                                                                                    \
    "CREATE STREAM s (k BIGINT, t TEXT, d DOUBLE, m DECIMAL(20, 2), b BIGINT, f BOOLEAN, at TIMESTAMP NOT NULL,\n"     \
    "  word TEXT NOT NULL, EVENT TIME at, PARTITION KEY (word));\n"

#define TEST_VIEW_EVERYTHING                                                                                           \
    "CREATE VIEW v AS SELECT k, t, count(*) AS n, count(d) AS nd, sum(d) AS sd, avg(d) AS ad, min(d) AS mid,\n"        \
    "  max(d) AS mad, var_samp(d) AS vd, sum(b) AS sb, var_pop(b) AS vb, sum(m) AS sm, stddev_pop(m) AS dm,\n"         \
    "  min(m) AS mim, max(t) AS mat, min(word) AS mw, first(b) AS fb, last(t) AS lt, max(f) AS mf,\n"                  \
    "  count_distinct(b) AS cb, count_distinct(t) AS ct, sum(b) FILTER (WHERE b > 0) AS sbp, max(at) AS maat\n"        \
    "  FROM s WHERE b IS NULL OR b <> 13 GROUP BY k, t, TUMBLE(at, INTERVAL '1 hour');\n"

/* Aggregates of several arguments, with parameters, of lists and of higher moments. */
#define TEST_VIEW_FAMILY                                                                                               \
    "CREATE VIEW w AS SELECT k, min_by(t, d) AS t_by_d, max_by(d, b) AS d_by_b, max_by(b, t) AS b_by_t,\n"             \
    "  min_by(word, f) AS w_by_f, first_k(t, 3) AS ft, last_k(b, 5) AS lb, first_k(m, 2) AS fm,\n"                     \
    "  last_k(d, 1000) AS ld, largest(d, 4) AS lad, smallest(t, 3) AS smt, largest(m, 7) AS lam,\n"                    \
    "  smallest(b, 1) AS smb, smallest(at, 2) AS sma, largest(f, 2) AS laf, skewness(d) AS skd,\n"                     \
    "  kurtosis(d) AS kud, skewness(b) AS skb, kurtosis(b) AS kub, kurtosis(m) AS kum, covar_pop(d, b) AS cpdb,\n"     \
    "  covar_samp(b, m) AS csbm, corr(d, m) AS codm, corr(b, m) AS cobm, regr_slope(b, m) AS rsbm,\n"                  \
    "  regr_intercept(m, d) AS rimd, regr_intercept(b, m) AS ribm, regr_r2(d, b) AS rrdb, bool_and(f) AS baf,\n"       \
    "  bool_or(f) AS bof, bit_and(b) AS anb, bit_or(b) AS orb, bit_xor(b) AS xob, avg_weighted(d, m) AS awdm,\n"       \
    "  avg_weighted(b, m) AS awbm, ratio(d, b) AS radb, ratio(m, b) AS ramb, rate(b) AS reb, rate(m) AS rem,\n"        \
    "  histogram(d, -10, 0, 0.5, 100) AS hid, histogram(m, 0, 5.25) AS him,\n"                                         \
    "  histogram(b, 0, 10) FILTER (WHERE f) AS hib, first_k(t, 2) AS ft2, largest(d, 4) FILTER (WHERE f) AS ladf\n"    \
    "  FROM s GROUP BY k, TUMBLE(at, INTERVAL '1 hour');\n"
/* Sketches. */
#define TEST_VIEW_SKETCHES                                                                                             \
    "CREATE VIEW x AS SELECT k, count(*) AS n, quantiles(d) AS qd, p99(b) AS qb, quantiles(m) AS qm, top_k(t, 5) AS\n" \
    "  tt, top_k(d, 3) AS td, theta(word) AS tw, theta(b) FILTER (WHERE f) AS tb, bloom(word, 100) AS bw,\n"           \
    "  bloom(m, 10000) AS bm, sample(t, 4) AS st, sample(d, 9) AS sd, decayed_sum(d, INTERVAL '1 hour') AS ds,\n"      \
    "  decayed_count(t, INTERVAL '7 seconds') AS dc, decayed_avg(b, INTERVAL '3 days') AS da FROM s\n"                 \
    "  GROUP BY k, TUMBLE(at, INTERVAL '2 hours');\n"

/* One row as the tests see it. */
struct test_row {
    struct ab_value values[COLUMNS_COUNT];
    char t[16];
    char word[16];
};

/* What random rows look like. */
struct test_shape {
    uint32_t keys;     /* different k and t */
    uint32_t hours;    /* span of event times */
    bool has_specials; /* NaN, infinities, extreme exponents */
};

static inline struct ab_catalog *test_catalog(const char *sql)
{
    struct ab_catalog *catalog = NULL;
    struct ab_error error = {0};
    if (ab_catalog_parse(ab_bytes_of_text(sql), &catalog, &error) != AB_OK) {
        fail_msg("%s", error.text);
    }
    return catalog;
}

static inline struct ab_aggregation *test_aggregation(const struct ab_view *view)
{
    struct ab_aggregation *aggregation = NULL;
    struct ab_error error = {0};
    if (ab_aggregation_create(view, &aggregation, &error) != AB_OK) {
        fail_msg("%s", error.text);
    }
    return aggregation;
}

/* A double of any kind: cents, small integers, and with specials everything else. */
static inline double test_double(struct ab_random *random, bool has_specials)
{
    static const double specials[] = {NAN, INFINITY, -INFINITY, -0.0, 0.0, 5e-324, -5e-324, 1.7976931348623157e308,
        -1.7976931348623157e308, 2.2250738585072014e-308, 1e300, -1e300, 1e-300, 3e13, 1e-9};
    uint64_t choice = ab_random_below(random, 8);
    if (!has_specials || choice < 3) {
        return (double)(int64_t)ab_random_below(random, 200000) / 100 - 1000;
    }
    if (choice < 5) {
        double number;
        uint64_t bits = ab_random_u64(random);
        memcpy(&number, &bits, sizeof(number));
        return number != number ? 1.0 : number;
    }
    if (choice == 5) {
        return ldexp(ab_random_unit(random) - 0.5, (int)ab_random_below(random, 200) - 100);
    }
    return specials[ab_random_below(random, sizeof(specials) / sizeof(specials[0]))];
}

static inline ab_int128 test_decimal(struct ab_random *random, bool has_specials)
{
    ab_int128 units = (ab_int128)((int64_t)ab_random_below(random, 2000000) - 1000000);
    return has_specials && ab_random_below(random, 4) == 0 ? units * 10000000000000 : units;
}

static inline void test_row_random(struct ab_random *random, const struct test_shape *shape, struct test_row *row)
{
    static const uint8_t kinds[COLUMNS_COUNT] = {AB_TYPE_BIGINT, AB_TYPE_TEXT, AB_TYPE_DOUBLE, AB_TYPE_DECIMAL,
        AB_TYPE_BIGINT, AB_TYPE_BOOLEAN, AB_TYPE_TIMESTAMP, AB_TYPE_TEXT};
    memset(row, 0, sizeof(*row));
    for (uint32_t c = 0; c < COLUMNS_COUNT; c++) {
        row->values[c].type.kind = kinds[c];
        row->values[c].is_null = c != COLUMN_AT && c != COLUMN_WORD && ab_random_below(random, 10) == 0;
    }
    row->values[COLUMN_M].type.precision = 20;
    row->values[COLUMN_M].type.scale = 2;
    row->values[COLUMN_K].bigint = (int64_t)ab_random_below(random, shape->keys) - shape->keys / 2;
    uint64_t t = ab_random_below(random, shape->keys);
    int length = snprintf(row->t, sizeof(row->t), "t%llu", (unsigned long long)t);
    row->t[1] = t % 7 == 0 ? '\0' : row->t[1];
    row->values[COLUMN_T].text = ab_bytes_of(row->t, t == 3 ? 0 : (size_t)length);
    row->values[COLUMN_D].real = test_double(random, shape->has_specials);
    row->values[COLUMN_M].decimal = test_decimal(random, shape->has_specials);
    row->values[COLUMN_B].bigint = (int64_t)ab_random_below(random, 100) - 40;
    if (shape->has_specials && ab_random_below(random, 8) == 0) {
        row->values[COLUMN_B].bigint = ab_random_below(random, 2) == 0 ? INT64_MIN : INT64_MAX;
    }
    row->values[COLUMN_F].boolean = ab_random_below(random, 2) == 0;
    row->values[COLUMN_AT].bigint =
        (int64_t)ab_random_below(random, shape->hours * (uint64_t)AB_US_PER_HOUR) - 2 * AB_US_PER_HOUR;
    length = snprintf(row->word, sizeof(row->word), "w%llu", (unsigned long long)ab_random_below(random, 1000));
    row->values[COLUMN_WORD].text = ab_bytes_of(row->word, (size_t)length);
}

/* Rows moved into columns; text of a row must not move before fini. */
struct test_columns {
    struct ab_column_builder *builders[COLUMNS_COUNT];
    struct ab_column columns[COLUMNS_COUNT];
    const struct ab_column *pointers[COLUMNS_COUNT];
    int64_t *offsets;
    int64_t *ordinals;
    uint32_t count;
};

/* Makes columns of rows[picked[0 .. count)]; a row's identity is its number in `rows`. */
static inline void test_columns_init(
    struct test_columns *made, struct test_row *rows, const uint32_t *picked, uint32_t count)
{
    memset(made, 0, sizeof(*made));
    made->count = count;
    made->offsets = ab_new_array(int64_t, count);
    made->ordinals = ab_new_array(int64_t, count);
    for (uint32_t c = 0; c < COLUMNS_COUNT; c++) {
        made->builders[c] = ab_column_builder_create(rows[0].values[c].type, count + 1, NULL);
        for (uint32_t i = 0; i < count; i++) {
            struct test_row *row = &rows[picked[i]];
            made->offsets[i] = picked[i] / 10;
            made->ordinals[i] = picked[i] % 10;
            assert_ok(ab_column_builder_add(made->builders[c], &row->values[c]));
        }
        ab_column_builder_view(made->builders[c], &made->columns[c]);
        made->pointers[c] = &made->columns[c];
    }
}

static inline void test_columns_fini(struct test_columns *made)
{
    for (uint32_t c = 0; c < COLUMNS_COUNT; c++) {
        ab_column_builder_destroy(made->builders[c]);
    }
    ab_delete(made->offsets);
    ab_delete(made->ordinals);
}

/* Aggregates rows[picked[…]] into a table. */
static inline void test_update(struct ab_group_table *table, struct test_row *rows, const uint32_t *picked,
    uint32_t count, struct ab_row_counts *counts)
{
    struct test_columns columns;
    struct ab_arena scratch = {0};
    struct ab_row_counts ignored = {0};
    test_columns_init(&columns, rows, picked, count);
    struct ab_rows block = {.columns = columns.pointers,
        .rows_count = count,
        .partition = 3,
        .offsets = columns.offsets,
        .ordinals = columns.ordinals,
        .expired_until_us = INT64_MIN};
    ab_group_table_update(table, &block, &scratch, counts == NULL ? &ignored : counts);
    ab_arena_fini(&scratch);
    test_columns_fini(&columns);
}

/* A random order of 0 .. count - 1. */
static inline void test_shuffle(struct ab_random *random, uint32_t *order, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t j = (uint32_t)ab_random_below(random, i + 1);
        order[i] = order[j];
        order[j] = i;
    }
}

/* Everything a table holds, in key order: key and row, each with its length. */
static inline void test_dump(const struct ab_group_table *table, struct ab_buffer *out)
{
    struct ab_group_cursor *cursor = ab_group_cursor_open(table, NULL);
    struct ab_bytes key;
    struct ab_bytes row;
    ab_buffer_clear(out);
    while (ab_group_cursor_next(cursor, &key, &row)) {
        ab_buffer_put_blob(out, key);
        ab_buffer_put_blob(out, row);
    }
    ab_group_cursor_close(cursor);
    assert_ok(ab_buffer_finish(out));
}

#endif
