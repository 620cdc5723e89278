/* plan: the inside of an aggregation (aggregation.h): primitives, the expressions that feed them, and what measures
 * read; for this folder alone. */
#ifndef ANABRANCH_COMMON_AGGREGATE_PLAN_H
#define ANABRANCH_COMMON_AGGREGATE_PLAN_H

#include "common/aggregate/aggregation.h"
#include "common/aggregate/primitive.h"

#define AB_PLAN_NONE UINT32_MAX

/* Rows on which all of some arguments are not NULL and a filter is TRUE. */
struct ab_plan_feed {
    uint32_t arguments[AB_MEASURE_ARGUMENTS_MAX]; /* indexes of arguments, rising */
    uint32_t arguments_count;                     /* 0: count(*) */
    uint32_t filter;                              /* index of filters, or AB_PLAN_NONE */
};

/* Two primitives that are equal in all of this are one. */
struct ab_plan_primitive {
    enum ab_primitive_kind kind;
    struct ab_type type; /* of the first column; kind 0 for count(*) */
    uint32_t feed;
    uint32_t columns[AB_MEASURE_ARGUMENTS_MAX]; /* arguments it reads, in its order; all of them are in the feed */
    struct ab_type types[AB_MEASURE_ARGUMENTS_MAX];
    uint32_t columns_count;
    const struct ab_value *parameters; /* borrowed from the view */
    uint32_t parameters_count;
    struct ab_buffer head; /* owned; of all its payloads that are not empty */
};

/* What a measure is finished from. */
enum ab_plan_part {
    AB_PART_COUNT, /* rows of all the others, unless there is AB_PART_COUNT_Y */
    AB_PART_SUM,
    AB_PART_SQUARES,
    AB_PART_OTHER, /* min, max, first, last, distinct … */
    AB_PART_COUNT_Y,
    AB_PART_SUM_Y, /* of the second argument */
    AB_PART_SQUARES_Y,
    AB_PART_PRODUCTS,
    AB_PART_CUBES,
    AB_PART_FOURTHS,
    AB_PART_SKETCH, /* one that all parameters share */
    AB_PART_DECAYED_COUNT,
    AB_PARTS_COUNT
};

/* Primitives of a measure by part; AB_PLAN_NONE where it needs none. */
struct ab_plan_measure {
    uint32_t parts[AB_PARTS_COUNT];
};

/* A distinct expression, and its SQL and type, by which equal ones are found. */
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

/* The context of a primitive's states. */
static inline struct ab_primitive_context ab_plan_context(
    const struct ab_plan_primitive *plan, struct ab_memory *memory)
{
    return (struct ab_primitive_context){.kind = plan->kind,
        .type = plan->type,
        .types = plan->types,
        .parameters = plan->parameters,
        .parameters_count = plan->parameters_count,
        .memory = memory};
}

#endif
