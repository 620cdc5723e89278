/* plan: the inside of an aggregation (aggregation.h): primitives, the expressions that feed them, and what measures
 * read; for this folder alone. */
#ifndef ANABRANCH_COMMON_AGGREGATE_PLAN_H
#define ANABRANCH_COMMON_AGGREGATE_PLAN_H

#include "common/aggregate/aggregation.h"
#include "common/aggregate/primitive.h"

#define AB_PLAN_NONE UINT32_MAX

/* Rows on which an argument is not NULL and a filter is TRUE. */
struct ab_plan_feed {
    uint32_t argument; /* index of arguments, or AB_PLAN_NONE: count(*) */
    uint32_t filter;   /* index of filters, or AB_PLAN_NONE */
};

struct ab_plan_primitive {
    enum ab_primitive_kind kind;
    struct ab_type type; /* of the argument; kind 0 for count(*) */
    uint32_t feed;
};

/* Primitives that a measure is finished from; AB_PLAN_NONE where it needs none. */
struct ab_plan_measure {
    uint32_t count;
    uint32_t sum;
    uint32_t squares;
    uint32_t other; /* min, max, first, last, distinct */
};

/* A distinct expression and its SQL, by which equal ones are found. */
struct ab_plan_expression {
    const struct ab_expression *expression; /* borrowed from the view */
    int column;                             /* its only input, or -1 */
    char *text;                             /* owned */
};

struct ab_aggregation {
    const struct ab_view *view; /* borrowed */
    struct ab_plan_expression *arguments;
    uint32_t arguments_count;
    struct ab_plan_expression *filters;
    uint32_t filters_count;
    struct ab_plan_feed *feeds;
    uint32_t feeds_count;
    struct ab_plan_primitive *primitives; /* the first counts the rows */
    uint32_t primitives_count;
    struct ab_plan_measure *measures;
    uint32_t session_first; /* sessions: the least and greatest time of a pane's rows; else AB_PLAN_NONE */
    uint32_t session_last;
};

#endif
