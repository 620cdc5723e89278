#include "tests/unit/common/catalog/fixture.h"

#include "common/base/buffer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>

const char flights_sql[] =
    "CREATE STREAM flights (\n"
    "  carrier    TEXT NOT NULL,\n"
    "  origin     TEXT NOT NULL,\n"
    "  dest       TEXT NOT NULL,\n"
    "  tailnum    TEXT,\n"
    "  dep_delay  DOUBLE CHECK (dep_delay BETWEEN -120 AND 2880),\n"
    "  arr_delay  DOUBLE,\n"
    "  distance   BIGINT,\n"
    "  departed   TIMESTAMP NOT NULL,\n"
    "  EVENT TIME departed,\n"
    "  PARTITION KEY (carrier)\n"
    ") WITH (history_retention = 'forever');\n"
    "\n"
    "CREATE VIEW delay_by_carrier AS\n"
    "  SELECT carrier, count(*) AS flights, avg(dep_delay) AS mean_delay, stddev_samp(dep_delay) AS sd_delay,\n"
    "         count_distinct(tailnum) AS planes\n"
    "  FROM flights WHERE dep_delay IS NOT NULL\n"
    "  GROUP BY carrier, TUMBLE(departed, INTERVAL '1 hour')\n"
    "  WITH (keep = '2 years');\n"
    "\n"
    "CREATE VIEW by_origin AS\n"
    "  SELECT origin, count(*), sum(distance) AS miles, min(dep_delay) AS least, max(dep_delay) AS most\n"
    "  FROM flights GROUP BY origin;\n";

struct ab_catalog *catalog_of(const char *text)
{
    struct ab_error error = {0};
    struct ab_catalog *catalog = NULL;
    if (ab_catalog_parse(ab_bytes_of_text(text), &catalog, &error) != AB_OK) {
        print_error("%s\n%s\n", text, error.text);
        fail();
    }
    return catalog;
}

void expect_refused(const char *text, ab_err code, const char *expected)
{
    struct ab_error error = {0};
    struct ab_catalog *catalog = NULL;
    ab_err found = ab_catalog_parse(ab_bytes_of_text(text), &catalog, &error);
    if (found != code || strcmp(error.text, expected) != 0) {
        print_error("%s\nfound    %s: %s\nexpected %s: %s\n", text, ab_err_name(found), error.text, ab_err_name(code),
            expected);
        fail();
    }
    assert_null(catalog);
}

void expect_print(const struct ab_expression *expression, const char *expected)
{
    struct ab_buffer out = {0};
    ab_expression_print(expression, &out);
    assert_string_equal(ab_buffer_text(&out), expected);
    ab_buffer_fini(&out);
}
