/* query: a SELECT over a view, parsed, checked and typed against a catalog.
 *
 * The relation a query reads has the columns (inputs of select, order and predicate expressions, in this order):
 *   0 .. keys_count-1       the view's keys
 *   keys_count              window_start (TIMESTAMP; NULL for views without panes)
 *   keys_count + 1          window_end
 *   keys_count + 2 + m      measure m, finished
 *   keys_count + 2 + measures_count + r   reading r: what else the state of a measure tells
 * Forms (DESIGN 8): without GROUP BY a query lists panes (one row per group and pane), unless only measures are
 * selected: then all matching groups merge into one row [a bare `SELECT count FROM v` merges; selecting any key or
 * window column lists panes]. With GROUP BY, groups are the named keys and/or TUMBLE(window_start, INTERVAL …), a
 * multiple of the pane; every selected non-measure must be grouped. WHERE may use keys and window_start / window_end
 * only, and bounds on the window must lie on pane edges: refused otherwise. Rows come in key order without ORDER BY.
 *
 * Windows (window.h): a listing shows the view's own; GROUP BY may also compose HOP, CUMULATE or LAST(window_start,
 * ...) of its panes. WHERE over window_start and window_end chooses panes before they merge; where windows share panes
 * (HOP, CUMULATE) and for sessions it chooses windows, which come whole.
 *
 * Threads: read-only after parsing.
 */
#ifndef ANABRANCH_COMMON_CATALOG_QUERY_H
#define ANABRANCH_COMMON_CATALOG_QUERY_H

#include "common/catalog/catalog.h"

struct ab_query_item {
    const char *name;                 /* output column name */
    struct ab_expression *expression; /* over the relation above */
};

struct ab_query_order {
    struct ab_expression *expression;
    bool is_descending;
};

/* The values one key may have, when WHERE pins it by = or IN at its top level (AND): drives point look-ups. */
struct ab_query_pin {
    uint32_t key;                  /* index of the view key */
    const struct ab_value *values; /* of the key's type, sorted, distinct, not NULL */
    uint32_t values_count;
};

/* What is read from the states of measures. */
enum ab_reading_kind {
    AB_READING_QUANTILE,     /* p50(m) .., quantile(m, q): of quantiles or quantile; DOUBLE */
    AB_READING_TOP_K,        /* top_k(m, k): another k than the view's; TEXT */
    AB_READING_CONTAINS,     /* might_contain(m, constant): of bloom; BOOLEAN */
    AB_READING_UNION,        /* theta_union(a, b): of theta; BIGINT */
    AB_READING_INTERSECTION, /* theta_intersection(a, b) */
    AB_READING_DIFFERENCE,   /* theta_difference(a, b): in a and not in b */
    AB_READING_ERROR,        /* error(m); DOUBLE */
};

struct ab_query_reading {
    enum ab_reading_kind kind;
    bool is_error;         /* error(theta_union(a, b)) and the like: its error instead of it */
    uint32_t measure;      /* index in the view */
    uint32_t other;        /* of UNION, INTERSECTION, DIFFERENCE: b; else the same */
    struct ab_value value; /* the constant: share, k, or value of the measure's argument type */
    struct ab_type type;
    const char *text; /* canonical SQL */
};

#define AB_QUERY_READINGS_MAX 64

struct ab_query {
    struct ab_catalog *catalog; /* referenced */
    const struct ab_view *view;
    struct ab_query_item *items;
    uint32_t items_count;
    struct ab_expression *where; /* over keys and window columns; NULL = all */
    struct ab_query_pin *pins;
    uint32_t pins_count;
    struct ab_expression *having; /* over windows, and keys of the result: sessions are chosen once they are whole */
    int64_t window_from_us;       /* panes start >= this; INT64_MIN = open */
    int64_t window_until_us;      /* panes end <= this; INT64_MAX = open */
    bool *is_grouped;             /* per view key: part of the result's group */
    struct ab_window window;      /* the result's windows; kind NONE = windows are merged away */
    bool is_listing;              /* no GROUP BY: one row per group and window */
    size_t moment_place;          /* LAST without an end: where in the text the end goes; 0 = nothing is missing */
    bool *needs_measure;          /* per measure of the view: some expression reads it */
    struct ab_query_reading *readings;
    uint32_t readings_count;
    struct ab_query_order *order;
    uint32_t order_count;
    uint64_t limit; /* UINT64_MAX = none */
    struct ab_query_private *private_part;
};

/* Parses one SELECT. AB_SYNTAX with line, column, found, expected and the nearest known name; AB_NOT_FOUND for an
 * unknown view. */
AB_MUST_USE ab_err ab_query_parse(
    struct ab_catalog *catalog, struct ab_bytes sql, struct ab_query **query, struct ab_error *error);

/* Completes a query whose LAST has no end: appends its text with the end of the pane that holds `now`, so that every
 * node answers for the same window. Before: query->moment_place > 0, and sql is the text it was parsed from. */
void ab_query_settle(const struct ab_query *query, struct ab_bytes sql, ab_time_us now, struct ab_buffer *out);
void ab_query_destroy(struct ab_query *query);

#endif
