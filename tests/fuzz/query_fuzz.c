/* Query text over a fixed catalog: what parses has windows and pins in order, and its expressions evaluate over a few
 * rows. */
#include "common/base/assert.h"
#include "common/base/buffer.h"
#include "common/catalog/query.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

#define ROWS 3

static const char catalog_sql[] =
    "CREATE STREAM s (k TEXT NOT NULL, j BIGINT, p DECIMAL(12, 2), x DOUBLE, b BOOLEAN, t TIMESTAMP NOT NULL, EVENT "
    "TIME t, "
    "PARTITION KEY (k));"
    "CREATE VIEW v AS SELECT k, j, b, count(*) AS n, sum(p) AS total, avg(x) AS mean, max(k) AS top FROM s "
    "GROUP BY k, j, p, x, b, TUMBLE(t, INTERVAL '1 hour');"
    "CREATE VIEW w AS SELECT k, count(*) AS n, first(t) AS begun, quantiles(x) AS dist, top_k(j, 3) AS busy, theta(k) "
    "AS ks, theta(k) FILTER (WHERE b) AS ks_b, bloom(j, 10) AS seen FROM s GROUP BY k;"
    "CREATE TIME ZONE 'Europe/Berlin' AS '3600 0=7200 5000=3600 | CET-1CEST,M3.5.0,M10.5.0/3';"
    "CREATE VIEW y AS SELECT k, count(*) AS n FROM s GROUP BY k, TUMBLE(t, INTERVAL '1 day', 'Europe/Berlin');"
    "CREATE VIEW z AS SELECT k, count(*) AS n, p99(x) AS high, top_k(j, 3) AS busy, rate(x) AS pace, "
    "decayed_sum(x, INTERVAL '1 hour') AS lately FROM s GROUP BY k, SESSION(t, INTERVAL '30 minutes');";

static void evaluate_check(const struct ab_expression *expression, const struct ab_column *const *inputs)
{
    struct ab_memory memory;
    struct ab_arena arena;
    struct ab_column column;
    ab_memory_init(&memory, (size_t)64 << 20, NULL);
    ab_arena_init(&arena, &memory, 4096);
    ab_err code = ab_expression_evaluate(expression, inputs, ROWS, &arena, &column, NULL);
    AB_ASSERT(code == AB_OK || code == AB_FULL);
    if (code == AB_OK) {
        AB_ASSERT(ab_type_equal(column.type, ab_expression_type(expression)));
        for (uint32_t row = 0; row < ROWS; row++) {
            struct ab_value value = ab_column_value(&column, row);
            AB_ASSERT(value.type.kind != 0);
        }
    }
    ab_arena_fini(&arena);
}

static void query_check(const struct ab_query *query)
{
    enum { INPUTS_MAX = AB_CATALOG_KEYS_MAX + 2 + AB_CATALOG_MEASURES_MAX + AB_QUERY_READINGS_MAX };
    static const int64_t numbers[ROWS] = {INT64_MIN, 7, INT64_C(1370044800000000)};
    static const uint8_t nulls[ROWS] = {0, 1, 0};
    struct ab_column columns[INPUTS_MAX];
    const struct ab_column *inputs[INPUTS_MAX] = {NULL};
    uint32_t window = query->view->keys_count;
    uint32_t readings = window + 2 + query->view->measures_count;
    for (uint32_t i = 0; i < readings + query->readings_count; i++) {
        struct ab_type type = i < window       ? query->view->keys[i].type
                              : i < window + 2 ? (struct ab_type){.kind = AB_TYPE_TIMESTAMP}
                              : i < readings   ? query->view->measures[i - window - 2].type
                                               : query->readings[i - readings].type;
        columns[i] = (struct ab_column){.type = type, .rows_count = ROWS, .values = numbers, .nulls = nulls};
        bool is_number = type.kind == AB_TYPE_BIGINT || type.kind == AB_TYPE_TIMESTAMP;
        inputs[i] = is_number ? &columns[i] : NULL;
    }
    for (uint32_t i = 0; i < query->items_count; i++) {
        evaluate_check(query->items[i].expression, inputs);
    }
    for (uint32_t i = 0; i < query->order_count; i++) {
        evaluate_check(query->order[i].expression, inputs);
    }
    if (query->where != NULL) {
        evaluate_check(query->where, inputs);
    }
    for (uint32_t i = 0; i < query->pins_count; i++) {
        AB_ASSERT(query->pins[i].key < window);
        for (uint32_t j = 1; j < query->pins[i].values_count; j++) {
            AB_ASSERT(ab_value_compare(&query->pins[i].values[j - 1], &query->pins[i].values[j]) < 0);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static struct ab_catalog *catalog;
    struct ab_query *query = NULL;
    struct ab_error error = {0};
    if (catalog == NULL) {
        AB_ASSERT(ab_catalog_parse(ab_bytes_of_text(catalog_sql), &catalog, NULL) == AB_OK);
    }
    if (ab_query_parse(catalog, ab_bytes_of(data, bytes), &query, &error) == AB_OK) {
        query_check(query);
        ab_query_destroy(query);
    } else {
        AB_ASSERT(error.text[0] != '\0');
    }
    return 0;
}
