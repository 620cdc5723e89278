#include "common/aggregate/aggregation.h"

#include "common/aggregate/plan.h"

#include "common/base/buffer.h"

static uint32_t expression_find(
    struct ab_plan_expression *list, uint32_t *count, const struct ab_expression *expression)
{
    if (expression == NULL) {
        return AB_PLAN_NONE;
    }
    struct ab_buffer text = {0};
    ab_expression_print(expression, &text);
    uint32_t i = 0;
    while (i < *count && strcmp(list[i].text, ab_buffer_text(&text)) != 0) {
        i++;
    }
    if (i == *count) {
        list[(*count)++] = (struct ab_plan_expression){
            .expression = expression,
            .column = ab_expression_column(expression),
            .text = ab_new_text(ab_buffer_text(&text)),
        };
    }
    ab_buffer_fini(&text);
    return i;
}

static uint32_t feed_find(struct ab_aggregation *aggregation, uint32_t argument, uint32_t filter)
{
    for (uint32_t i = 0; i < aggregation->feeds_count; i++) {
        if (aggregation->feeds[i].argument == argument && aggregation->feeds[i].filter == filter) {
            return i;
        }
    }
    aggregation->feeds[aggregation->feeds_count] = (struct ab_plan_feed){.argument = argument, .filter = filter};
    return aggregation->feeds_count++;
}

static uint32_t primitive_find(
    struct ab_aggregation *aggregation, enum ab_primitive_kind kind, struct ab_type type, uint32_t feed)
{
    for (uint32_t i = 0; i < aggregation->primitives_count; i++) {
        if (aggregation->primitives[i].kind == kind && aggregation->primitives[i].feed == feed) {
            return i;
        }
    }
    aggregation->primitives[aggregation->primitives_count] =
        (struct ab_plan_primitive){.kind = kind, .type = type, .feed = feed};
    return aggregation->primitives_count++;
}

/* The feed of count(x): where x can never be NULL the rows themselves, so that its count is not kept twice. */
static uint32_t count_feed(struct ab_aggregation *aggregation, uint32_t argument, uint32_t filter)
{
    if (argument != AB_PLAN_NONE) {
        int column = aggregation->arguments[argument].column;
        if (column >= 0 && aggregation->view->stream->columns[column].is_not_null) {
            argument = AB_PLAN_NONE;
        }
    }
    return feed_find(aggregation, argument, filter);
}

static bool is_summable(struct ab_type type)
{
    return type.kind == AB_TYPE_BIGINT || type.kind == AB_TYPE_DECIMAL || type.kind == AB_TYPE_DOUBLE;
}

static void measure_compile(
    struct ab_aggregation *aggregation, const struct ab_measure *measure, struct ab_plan_measure *plan)
{
    uint32_t argument = expression_find(aggregation->arguments, &aggregation->arguments_count, measure->argument);
    uint32_t filter = expression_find(aggregation->filters, &aggregation->filters_count, measure->filter);
    struct ab_type type = measure->argument_type;
    bool is_double = type.kind == AB_TYPE_DOUBLE;
    *plan = (struct ab_plan_measure){AB_PLAN_NONE, AB_PLAN_NONE, AB_PLAN_NONE, AB_PLAN_NONE};
    if (measure->kind == AB_MEASURE_COUNT_ROWS || measure->kind == AB_MEASURE_COUNT) {
        plan->count = primitive_find(
            aggregation, AB_PRIMITIVE_COUNT, (struct ab_type){0}, count_feed(aggregation, argument, filter));
        return;
    }
    uint32_t feed = feed_find(aggregation, argument, filter);
    switch (measure->kind) {
    case AB_MEASURE_VAR_POP:
    case AB_MEASURE_VAR_SAMP:
    case AB_MEASURE_STDDEV_POP:
    case AB_MEASURE_STDDEV_SAMP:
        plan->squares = primitive_find(
            aggregation, is_double ? AB_PRIMITIVE_SQUARES_DOUBLE : AB_PRIMITIVE_SQUARES_INTEGER, type, feed);
        /* fall through */
    case AB_MEASURE_SUM:
    case AB_MEASURE_AVG:
        plan->sum =
            primitive_find(aggregation, is_double ? AB_PRIMITIVE_SUM_DOUBLE : AB_PRIMITIVE_SUM_INTEGER, type, feed);
        plan->count = primitive_find(
            aggregation, AB_PRIMITIVE_COUNT, (struct ab_type){0}, count_feed(aggregation, argument, filter));
        break;
    case AB_MEASURE_MIN:
        plan->other = primitive_find(aggregation, AB_PRIMITIVE_MIN, type, feed);
        break;
    case AB_MEASURE_MAX:
        plan->other = primitive_find(aggregation, AB_PRIMITIVE_MAX, type, feed);
        break;
    case AB_MEASURE_FIRST:
        plan->other = primitive_find(aggregation, AB_PRIMITIVE_FIRST, type, feed);
        break;
    case AB_MEASURE_LAST:
        plan->other = primitive_find(aggregation, AB_PRIMITIVE_LAST, type, feed);
        break;
    case AB_MEASURE_COUNT_DISTINCT:
        plan->other = primitive_find(aggregation, AB_PRIMITIVE_DISTINCT, type, feed);
        break;
    case AB_MEASURE_COUNT_ROWS:
    case AB_MEASURE_COUNT:
        break;
    }
}

static ab_err measure_check(const struct ab_measure *measure, struct ab_error *error)
{
    if (measure->kind == AB_MEASURE_COUNT_ROWS) {
        return AB_OK;
    }
    if (measure->argument == NULL) {
        return ab_error_set(error, AB_USAGE, "measure %s has no argument", measure->name);
    }
    bool needs_number = measure->kind == AB_MEASURE_SUM || measure->kind == AB_MEASURE_AVG ||
                        (measure->kind >= AB_MEASURE_VAR_POP && measure->kind <= AB_MEASURE_STDDEV_SAMP);
    if (needs_number && !is_summable(measure->argument_type)) {
        char text[AB_TYPE_TEXT_BYTES];
        return ab_error_set(error, AB_UNSUPPORTED, "measure %s: values of type %s cannot be summed", measure->name,
            ab_type_format(measure->argument_type, text));
    }
    return AB_OK;
}

/* What panes of sessions keep beside the measures, so that neighbours can be joined when they are read. */
static void sessions_compile(struct ab_aggregation *aggregation)
{
    const struct ab_view *view = aggregation->view;
    aggregation->session_first = aggregation->session_last = AB_PLAN_NONE;
    if (view->pane_time == NULL) {
        return;
    }
    struct ab_type type = {.kind = AB_TYPE_TIMESTAMP};
    uint32_t argument = expression_find(aggregation->arguments, &aggregation->arguments_count, view->pane_time);
    uint32_t feed = feed_find(aggregation, argument, AB_PLAN_NONE);
    aggregation->session_first = primitive_find(aggregation, AB_PRIMITIVE_MIN, type, feed);
    aggregation->session_last = primitive_find(aggregation, AB_PRIMITIVE_MAX, type, feed);
}

ab_err ab_aggregation_create(const struct ab_view *view, struct ab_aggregation **aggregation, struct ab_error *error)
{
    for (uint32_t i = 0; i < view->measures_count; i++) {
        AB_TRY(measure_check(&view->measures[i], error));
    }
    struct ab_aggregation *created = ab_new(struct ab_aggregation);
    created->view = view;
    created->arguments = ab_new_array(struct ab_plan_expression, view->measures_count + 1);
    created->filters = ab_new_array(struct ab_plan_expression, view->measures_count);
    created->feeds = ab_new_array(struct ab_plan_feed, 2 * view->measures_count + 2);
    created->primitives = ab_new_array(struct ab_plan_primitive, 3 * view->measures_count + 3);
    created->measures = ab_new_array(struct ab_plan_measure, view->measures_count);
    uint32_t rows_feed = feed_find(created, AB_PLAN_NONE, AB_PLAN_NONE);
    (void)primitive_find(created, AB_PRIMITIVE_COUNT, (struct ab_type){0}, rows_feed);
    for (uint32_t i = 0; i < view->measures_count; i++) {
        measure_compile(created, &view->measures[i], &created->measures[i]);
    }
    sessions_compile(created);
    *aggregation = created;
    return AB_OK;
}

void ab_aggregation_destroy(struct ab_aggregation *aggregation)
{
    if (aggregation == NULL) {
        return;
    }
    for (uint32_t i = 0; i < aggregation->arguments_count; i++) {
        ab_delete(aggregation->arguments[i].text);
    }
    for (uint32_t i = 0; i < aggregation->filters_count; i++) {
        ab_delete(aggregation->filters[i].text);
    }
    ab_delete(aggregation->arguments);
    ab_delete(aggregation->filters);
    ab_delete(aggregation->feeds);
    ab_delete(aggregation->primitives);
    ab_delete(aggregation->measures);
    ab_delete(aggregation);
}

const struct ab_view *ab_aggregation_view(const struct ab_aggregation *aggregation)
{
    return aggregation->view;
}

void ab_aggregation_columns(const struct ab_aggregation *aggregation, bool *used, size_t used_count)
{
    const struct ab_view *view = aggregation->view;
    for (uint32_t i = 0; i < view->keys_count; i++) {
        if (view->keys[i].column < used_count) {
            used[view->keys[i].column] = true;
        }
    }
    if (view->pane_us > 0 && view->pane_column < used_count) {
        used[view->pane_column] = true;
    }
    if (view->where != NULL) {
        ab_expression_inputs(view->where, used, used_count);
    }
    for (uint32_t i = 0; i < aggregation->arguments_count; i++) {
        ab_expression_inputs(aggregation->arguments[i].expression, used, used_count);
    }
    for (uint32_t i = 0; i < aggregation->filters_count; i++) {
        ab_expression_inputs(aggregation->filters[i].expression, used, used_count);
    }
    for (uint32_t i = 0; i < aggregation->primitives_count; i++) {
        enum ab_primitive_kind kind = aggregation->primitives[i].kind;
        bool needs_time = kind == AB_PRIMITIVE_FIRST || kind == AB_PRIMITIVE_LAST;
        if (needs_time && view->stream->event_time_column < used_count) {
            used[view->stream->event_time_column] = true;
        }
    }
}
