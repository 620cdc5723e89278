/* fixture: the streams and views that the tests of the catalog share. */
#ifndef ANABRANCH_TESTS_UNIT_COMMON_CATALOG_FIXTURE_H
#define ANABRANCH_TESTS_UNIT_COMMON_CATALOG_FIXTURE_H

#include "common/catalog/query.h"

/* Streams for tables of errors: all types, and the least one (unclosed). */
#define STREAM_S                                                                                                       \
    "CREATE STREAM s (k TEXT NOT NULL, t TIMESTAMP NOT NULL, n BIGINT, x DOUBLE, d DECIMAL(10, 2), b BOOLEAN, "        \
    "u TIMESTAMP, EVENT TIME t, PARTITION KEY (k));\n"
#define STREAM_S_WEEK                                                                                                  \
    "CREATE STREAM s (k TEXT NOT NULL, t TIMESTAMP NOT NULL, n BIGINT, x DOUBLE, d DECIMAL(10, 2), b BOOLEAN, "        \
    "u TIMESTAMP, EVENT TIME t, PARTITION KEY (k)) WITH (history_retention = '7 days');\n"
#define STREAM_KT "CREATE STREAM s (k TEXT NOT NULL, t TIMESTAMP NOT NULL, EVENT TIME t, PARTITION KEY (k)"

/* The catalog of README and design. */
extern const char flights_sql[];

/* Parses text that must be right; released by the caller. */
struct ab_catalog *catalog_of(const char *text);

/* Parses text that must be wrong: code and text are compared. */
void expect_refused(const char *text, ab_err code, const char *expected);

/* The canonical SQL of an expression, compared. */
void expect_print(const struct ab_expression *expression, const char *expected);

#endif
