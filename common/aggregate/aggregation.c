#include "common/aggregate/aggregation.h"

#include "common/aggregate/plan.h"

#include "common/base/buffer.h"

/* ---- what measures are made of ---- */

/* Arguments of a measure: those a primitive reads, and those that must not be NULL on its rows. */
enum arguments {
    NO_ARGUMENT,
    ARGUMENT_X, /* the first */
    ARGUMENT_Y, /* the second */
    ARGUMENTS,  /* all of them */
};

/* One primitive of a measure. */
struct ingredient {
    enum ab_plan_part part;
    enum ab_primitive_kind kind;      /* where x is BIGINT or DECIMAL, and all other types but DOUBLE */
    enum ab_primitive_kind real_kind; /* where it is DOUBLE; 0 = the same */
    enum arguments columns;
    enum arguments rows;
};

#define INGREDIENTS_MAX 6

#define COUNT AB_PART_COUNT, AB_PRIMITIVE_COUNT, 0, NO_ARGUMENT, ARGUMENTS
#define SUM AB_PART_SUM, AB_PRIMITIVE_SUM_INTEGER, AB_PRIMITIVE_SUM_DOUBLE, ARGUMENT_X, ARGUMENTS
#define SQUARES AB_PART_SQUARES, AB_PRIMITIVE_SQUARES_INTEGER, AB_PRIMITIVE_SQUARES_DOUBLE, ARGUMENT_X, ARGUMENTS
#define OTHER(kind) AB_PART_OTHER, kind, 0, ARGUMENTS, ARGUMENTS
#define SUM_Y AB_PART_SUM_Y, AB_PRIMITIVE_SUM_INTEGER, AB_PRIMITIVE_SUM_DOUBLE, ARGUMENT_Y, ARGUMENTS
#define SQUARES_Y AB_PART_SQUARES_Y, AB_PRIMITIVE_SQUARES_INTEGER, AB_PRIMITIVE_SQUARES_DOUBLE, ARGUMENT_Y, ARGUMENTS
#define PRODUCTS AB_PART_PRODUCTS, AB_PRIMITIVE_PRODUCTS_INTEGER, AB_PRIMITIVE_PRODUCTS_DOUBLE, ARGUMENTS, ARGUMENTS
#define CUBES AB_PART_CUBES, AB_PRIMITIVE_CUBES_INTEGER, AB_PRIMITIVE_CUBES_DOUBLE, ARGUMENT_X, ARGUMENTS
#define FOURTHS AB_PART_FOURTHS, AB_PRIMITIVE_FOURTHS_INTEGER, AB_PRIMITIVE_FOURTHS_DOUBLE, ARGUMENT_X, ARGUMENTS
/* What parameters ask of it does not change it: p50 and p99, top_k of any k are one state. */
#define SKETCH(kind) AB_PART_SKETCH, kind, 0, ARGUMENTS, ARGUMENTS
/* It reads its argument, though not the values: the feed of all rows has nothing but their count. */
#define DECAYED_COUNT AB_PART_DECAYED_COUNT, AB_PRIMITIVE_DECAYED_COUNT, 0, ARGUMENTS, ARGUMENTS
/* Of each argument's own rows. */
#define COUNT_X AB_PART_COUNT, AB_PRIMITIVE_COUNT, 0, NO_ARGUMENT, ARGUMENT_X
#define COUNT_Y AB_PART_COUNT_Y, AB_PRIMITIVE_COUNT, 0, NO_ARGUMENT, ARGUMENT_Y
#define OWN_SUM_X AB_PART_SUM, AB_PRIMITIVE_SUM_INTEGER, AB_PRIMITIVE_SUM_DOUBLE, ARGUMENT_X, ARGUMENT_X
#define OWN_SUM_Y AB_PART_SUM_Y, AB_PRIMITIVE_SUM_INTEGER, AB_PRIMITIVE_SUM_DOUBLE, ARGUMENT_Y, ARGUMENT_Y

/* The order of a line is the order of the states in a row, so it is part of the format. */
static const struct ingredient recipes[AB_MEASURE_KIND_MAX + 1][INGREDIENTS_MAX] = {
    [AB_MEASURE_COUNT_ROWS] = {{COUNT}},
    [AB_MEASURE_COUNT] = {{COUNT}},
    [AB_MEASURE_SUM] = {{SUM}, {COUNT}},
    [AB_MEASURE_AVG] = {{SUM}, {COUNT}},
    [AB_MEASURE_MIN] = {{OTHER(AB_PRIMITIVE_MIN)}},
    [AB_MEASURE_MAX] = {{OTHER(AB_PRIMITIVE_MAX)}},
    [AB_MEASURE_VAR_POP] = {{SQUARES}, {SUM}, {COUNT}},
    [AB_MEASURE_VAR_SAMP] = {{SQUARES}, {SUM}, {COUNT}},
    [AB_MEASURE_STDDEV_POP] = {{SQUARES}, {SUM}, {COUNT}},
    [AB_MEASURE_STDDEV_SAMP] = {{SQUARES}, {SUM}, {COUNT}},
    [AB_MEASURE_FIRST] = {{OTHER(AB_PRIMITIVE_FIRST)}},
    [AB_MEASURE_LAST] = {{OTHER(AB_PRIMITIVE_LAST)}},
    [AB_MEASURE_COUNT_DISTINCT] = {{OTHER(AB_PRIMITIVE_DISTINCT)}},
    [AB_MEASURE_MIN_BY] = {{OTHER(AB_PRIMITIVE_MIN_BY)}},
    [AB_MEASURE_MAX_BY] = {{OTHER(AB_PRIMITIVE_MAX_BY)}},
    [AB_MEASURE_FIRST_K] = {{OTHER(AB_PRIMITIVE_FIRST_K)}},
    [AB_MEASURE_LAST_K] = {{OTHER(AB_PRIMITIVE_LAST_K)}},
    [AB_MEASURE_LARGEST] = {{OTHER(AB_PRIMITIVE_LARGEST)}},
    [AB_MEASURE_SMALLEST] = {{OTHER(AB_PRIMITIVE_SMALLEST)}},
    [AB_MEASURE_SKEWNESS] = {{CUBES}, {SQUARES}, {SUM}, {COUNT}},
    [AB_MEASURE_KURTOSIS] = {{FOURTHS}, {CUBES}, {SQUARES}, {SUM}, {COUNT}},
    [AB_MEASURE_COVAR_POP] = {{PRODUCTS}, {SUM}, {SUM_Y}, {COUNT}},
    [AB_MEASURE_COVAR_SAMP] = {{PRODUCTS}, {SUM}, {SUM_Y}, {COUNT}},
    [AB_MEASURE_CORR] = {{PRODUCTS}, {SQUARES}, {SQUARES_Y}, {SUM}, {SUM_Y}, {COUNT}},
    [AB_MEASURE_REGR_SLOPE] = {{PRODUCTS}, {SQUARES_Y}, {SUM}, {SUM_Y}, {COUNT}},
    [AB_MEASURE_REGR_INTERCEPT] = {{PRODUCTS}, {SQUARES_Y}, {SUM}, {SUM_Y}, {COUNT}},
    [AB_MEASURE_REGR_R2] = {{PRODUCTS}, {SQUARES}, {SQUARES_Y}, {SUM}, {SUM_Y}, {COUNT}},
    [AB_MEASURE_BOOL_AND] = {{OTHER(AB_PRIMITIVE_MIN)}},
    [AB_MEASURE_BOOL_OR] = {{OTHER(AB_PRIMITIVE_MAX)}},
    [AB_MEASURE_BIT_AND] = {{OTHER(AB_PRIMITIVE_BIT_AND)}},
    [AB_MEASURE_BIT_OR] = {{OTHER(AB_PRIMITIVE_BIT_OR)}},
    [AB_MEASURE_BIT_XOR] = {{OTHER(AB_PRIMITIVE_BIT_XOR)}},
    [AB_MEASURE_AVG_WEIGHTED] = {{PRODUCTS}, {SUM_Y}, {COUNT}},
    [AB_MEASURE_RATIO] = {{OWN_SUM_X}, {COUNT_X}, {OWN_SUM_Y}, {COUNT_Y}},
    [AB_MEASURE_RATE] = {{SUM}, {COUNT}},
    [AB_MEASURE_HISTOGRAM] = {{OTHER(AB_PRIMITIVE_HISTOGRAM)}},
    [AB_MEASURE_QUANTILES] = {{SKETCH(AB_PRIMITIVE_QUANTILES)}},
    [AB_MEASURE_QUANTILE] = {{SKETCH(AB_PRIMITIVE_QUANTILES)}},
    [AB_MEASURE_TOP_K] = {{SKETCH(AB_PRIMITIVE_TOP_K)}},
    [AB_MEASURE_THETA] = {{SKETCH(AB_PRIMITIVE_THETA)}},
    [AB_MEASURE_BLOOM] = {{OTHER(AB_PRIMITIVE_BLOOM)}},
    [AB_MEASURE_SAMPLE] = {{OTHER(AB_PRIMITIVE_SAMPLE)}},
    [AB_MEASURE_DECAYED_SUM] = {{OTHER(AB_PRIMITIVE_DECAYED_SUM)}},
    [AB_MEASURE_DECAYED_COUNT] = {{DECAYED_COUNT}},
    [AB_MEASURE_DECAYED_AVG] = {{OTHER(AB_PRIMITIVE_DECAYED_SUM)}, {DECAYED_COUNT}},
};

/* ---- finding what is there already ---- */

static uint32_t expression_find(
    struct ab_plan_expression *list, uint32_t *count, const struct ab_expression *expression)
{
    if (expression == NULL) {
        return AB_PLAN_NONE;
    }
    struct ab_buffer text = {0};
    char type[AB_TYPE_TEXT_BYTES];
    ab_expression_print(expression, &text);
    ab_buffer_put_format(&text, ": %s", ab_type_format(ab_expression_type(expression), type));
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

static uint32_t feed_find(struct ab_aggregation *aggregation, const struct ab_plan_feed *feed)
{
    for (uint32_t i = 0; i < aggregation->feeds_count; i++) {
        const struct ab_plan_feed *known = &aggregation->feeds[i];
        bool is_same = known->filter == feed->filter && known->arguments_count == feed->arguments_count;
        for (uint32_t a = 0; is_same && a < feed->arguments_count; a++) {
            is_same = known->arguments[a] == feed->arguments[a];
        }
        if (is_same) {
            return i;
        }
    }
    aggregation->feeds[aggregation->feeds_count] = *feed;
    return aggregation->feeds_count++;
}

static bool are_same_values(const struct ab_value *a, const struct ab_value *b, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (!ab_type_equal(a[i].type, b[i].type) || ab_value_compare(&a[i], &b[i]) != 0) {
            return false;
        }
    }
    return true;
}

static bool is_same_primitive(const struct ab_plan_primitive *a, const struct ab_plan_primitive *b)
{
    bool is_same = a->kind == b->kind && a->feed == b->feed && a->columns_count == b->columns_count &&
                   a->parameters_count == b->parameters_count;
    for (uint32_t i = 0; is_same && i < a->columns_count; i++) {
        is_same = a->columns[i] == b->columns[i];
    }
    return is_same && are_same_values(a->parameters, b->parameters, a->parameters_count);
}

static uint32_t primitive_find(struct ab_aggregation *aggregation, const struct ab_plan_primitive *wanted)
{
    for (uint32_t i = 0; i < aggregation->primitives_count; i++) {
        if (is_same_primitive(&aggregation->primitives[i], wanted)) {
            return i;
        }
    }
    struct ab_plan_primitive *added = &aggregation->primitives[aggregation->primitives_count];
    const struct ab_primitive_ops *ops = ab_primitive_ops_of((uint8_t)wanted->kind);
    *added = *wanted;
    if (ops->head_put != NULL) {
        struct ab_primitive_context context = ab_plan_context(added, NULL);
        ops->head_put(&context, &added->head);
    }
    return aggregation->primitives_count++;
}

/* ---- one measure ---- */

/* Whether argument i of a measure is among those named. */
static bool is_among(enum arguments named, uint32_t i)
{
    return named == ARGUMENTS || (named == ARGUMENT_X && i == 0) || (named == ARGUMENT_Y && i == 1);
}

static bool is_never_null(const struct ab_aggregation *aggregation, uint32_t argument)
{
    int column = aggregation->arguments[argument].column;
    return column >= 0 && aggregation->view->stream->columns[column].is_not_null;
}

static void feed_take(struct ab_plan_feed *feed, uint32_t argument)
{
    uint32_t at = feed->arguments_count;
    for (uint32_t i = 0; i < feed->arguments_count; i++) {
        if (feed->arguments[i] == argument) {
            return;
        }
    }
    for (; at > 0 && feed->arguments[at - 1] > argument; at--) {
        feed->arguments[at] = feed->arguments[at - 1];
    }
    feed->arguments[at] = argument;
    feed->arguments_count++;
}

/* Rows of what an ingredient reads, and of what else must not be NULL; arguments that are never NULL and not read are
 * left out, so that equal rows have one feed and are counted once. */
static uint32_t ingredient_feed(struct ab_aggregation *aggregation, const struct ingredient *ingredient,
    const uint32_t *arguments, uint32_t arguments_count, uint32_t filter)
{
    struct ab_plan_feed feed = {.filter = filter};
    for (uint32_t i = 0; i < arguments_count; i++) {
        bool is_read = is_among(ingredient->columns, i);
        if (is_read || (is_among(ingredient->rows, i) && !is_never_null(aggregation, arguments[i]))) {
            feed_take(&feed, arguments[i]);
        }
    }
    return feed_find(aggregation, &feed);
}

static uint32_t ingredient_compile(struct ab_aggregation *aggregation, const struct ab_measure *measure,
    const struct ingredient *ingredient, const uint32_t *arguments, uint32_t filter)
{
    struct ab_plan_primitive primitive = {.kind = ingredient->kind};
    for (uint32_t i = 0; i < measure->arguments_count; i++) {
        if (is_among(ingredient->columns, i)) {
            primitive.types[primitive.columns_count] = measure->argument_types[i];
            primitive.columns[primitive.columns_count++] = arguments[i];
        }
    }
    primitive.type = primitive.types[0];
    if (primitive.type.kind == AB_TYPE_DOUBLE && ingredient->real_kind != 0) {
        primitive.kind = ingredient->real_kind;
    }
    if (ingredient->part == AB_PART_OTHER || ingredient->part == AB_PART_DECAYED_COUNT) {
        primitive.parameters = measure->parameters;
        primitive.parameters_count = measure->parameters_count;
    }
    primitive.feed = ingredient_feed(aggregation, ingredient, arguments, measure->arguments_count, filter);
    return primitive_find(aggregation, &primitive);
}

static void measure_compile(
    struct ab_aggregation *aggregation, const struct ab_measure *measure, struct ab_plan_measure *plan)
{
    uint32_t arguments[AB_MEASURE_ARGUMENTS_MAX];
    for (uint32_t i = 0; i < measure->arguments_count; i++) {
        arguments[i] = expression_find(aggregation->arguments, &aggregation->arguments_count, measure->arguments[i]);
    }
    uint32_t filter = expression_find(aggregation->filters, &aggregation->filters_count, measure->filter);
    memset(plan->parts, 0xff, sizeof(plan->parts));
    for (uint32_t i = 0; i < INGREDIENTS_MAX && recipes[measure->kind][i].kind != 0; i++) {
        const struct ingredient *ingredient = &recipes[measure->kind][i];
        plan->parts[ingredient->part] = ingredient_compile(aggregation, measure, ingredient, arguments, filter);
    }
}

static bool is_summable(struct ab_type type)
{
    return type.kind == AB_TYPE_BIGINT || type.kind == AB_TYPE_DECIMAL || type.kind == AB_TYPE_DOUBLE;
}

static ab_err measure_check(const struct ab_measure *measure, struct ab_error *error)
{
    const struct ingredient *recipe = recipes[measure->kind];
    for (uint32_t i = 0; i < INGREDIENTS_MAX && recipe[i].kind != 0; i++) {
        bool is_missing = (is_among(recipe[i].columns, 0) && measure->arguments_count == 0) ||
                          (recipe[i].columns == ARGUMENT_Y && measure->arguments_count < 2);
        if (is_missing) {
            return ab_error_set(error, AB_USAGE, "measure %s has no argument", measure->name);
        }
        for (uint32_t a = 0; a < measure->arguments_count; a++) {
            char text[AB_TYPE_TEXT_BYTES];
            if (recipe[i].real_kind != 0 && !is_summable(measure->argument_types[a])) {
                return ab_error_set(error, AB_UNSUPPORTED, "measure %s: values of type %s cannot be summed",
                    measure->name, ab_type_format(measure->argument_types[a], text));
            }
        }
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
    const struct ab_type type = {.kind = AB_TYPE_TIMESTAMP};
    uint32_t argument = expression_find(aggregation->arguments, &aggregation->arguments_count, view->pane_time);
    const struct ab_plan_feed feed = {.filter = AB_PLAN_NONE, .arguments = {argument}, .arguments_count = 1};
    struct ab_plan_primitive primitive = {.kind = AB_PRIMITIVE_MIN,
        .type = type,
        .types = {type},
        .columns = {argument},
        .columns_count = 1,
        .feed = feed_find(aggregation, &feed)};
    aggregation->session_first = primitive_find(aggregation, &primitive);
    primitive.kind = AB_PRIMITIVE_MAX;
    aggregation->session_last = primitive_find(aggregation, &primitive);
}

/* ---- the whole ---- */

ab_err ab_aggregation_create(const struct ab_view *view, struct ab_aggregation **aggregation, struct ab_error *error)
{
    for (uint32_t i = 0; i < view->measures_count; i++) {
        AB_TRY(measure_check(&view->measures[i], error));
    }
    size_t ingredients_max = (size_t)INGREDIENTS_MAX * view->measures_count;
    struct ab_aggregation *created = ab_new(struct ab_aggregation);
    created->view = view;
    created->arguments =
        ab_new_array(struct ab_plan_expression, (size_t)AB_MEASURE_ARGUMENTS_MAX * view->measures_count + 1);
    created->filters = ab_new_array(struct ab_plan_expression, view->measures_count);
    /* One more for the rows, and those of sessions. */
    created->feeds = ab_new_array(struct ab_plan_feed, ingredients_max + 2);
    created->primitives = ab_new_array(struct ab_plan_primitive, ingredients_max + 3);
    created->measures = ab_new_array(struct ab_plan_measure, view->measures_count);
    const struct ab_plan_feed all_rows = {.filter = AB_PLAN_NONE};
    const struct ab_plan_primitive rows = {.kind = AB_PRIMITIVE_COUNT, .feed = feed_find(created, &all_rows)};
    (void)primitive_find(created, &rows);
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
    for (uint32_t i = 0; i < aggregation->primitives_count; i++) {
        ab_buffer_fini(&aggregation->primitives[i].head);
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
        bool needs_time = ab_primitive_ops_of((uint8_t)aggregation->primitives[i].kind)->needs_identity;
        if (needs_time && view->stream->event_time_column < used_count) {
            used[view->stream->event_time_column] = true;
        }
    }
}
