#include "common/catalog/check_window.h"

#include "common/catalog/words.h"

#include <stdio.h>

#define MONTHS_MAX 1200
#define PANES_MAX 100000 /* of one window */

/* The parts of a call, whichever it is. */
struct call {
    struct ab_parse *parse;
    const struct ab_ast *ast;
    const struct ab_ast *name;
    const struct ab_ast *first;  /* an interval */
    const struct ab_ast *second; /* an interval, or NULL */
    const struct ab_ast *until;  /* a time, or NULL */
    const struct ab_zone *zone;  /* NULL = none named */
    bool has_zone;               /* named, known or not */
};

static bool text_is(struct ab_bytes text, const char *word)
{
    return ab_bytes_equal(text, ab_bytes_of_text(word));
}

static const char *const forms[][2] = {
    {"tumble", "TUMBLE(column, INTERVAL 'n unit' [, 'time zone'])"},
    {"hop", "HOP(column, INTERVAL 'slide', INTERVAL 'size' [, 'time zone'])"},
    {"cumulate", "CUMULATE(column, INTERVAL 'step', INTERVAL 'size' [, 'time zone'])"},
    {"session", "SESSION(column, INTERVAL 'gap')"},
    {"slide", "SLIDE(column, INTERVAL 'size')"},
    {"last", "LAST(window_start, INTERVAL 'n unit' [, TIMESTAMP 'end'])"},
};

static const char *form_of(const struct ab_ast *ast)
{
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        if (text_is(ast->text, forms[i][0])) {
            return forms[i][1];
        }
    }
    return NULL;
}

struct ab_bytes ab_check_window_name(const struct ab_ast *ast)
{
    return ab_bytes_of((const uint8_t *)form_of(ast), ast->text.bytes); /* a form begins with the name */
}

bool ab_check_is_window(const struct ab_ast *ast)
{
    return ast->kind == AB_AST_CALL && form_of(ast) != NULL;
}

/* Windows that begin or end with any event would need the events themselves, which states do not have. */
static ab_err slide_refuse(const struct call *call)
{
    return ab_parse_fail(call->parse, call->ast->place, AB_UNSUPPORTED,
        "windows that slide with every event are not kept, since states of panes do not split: HOP(column, INTERVAL "
        "'slide', INTERVAL 'size') slides by as fine a pane as wanted");
}

/* Sorts the arguments out by kind and place. */
static ab_err call_read(struct call *call)
{
    const struct ab_ast *ast = call->ast;
    const struct ab_ast *argument = ast->list.first;
    bool is_pair = text_is(ast->text, "hop") || text_is(ast->text, "cumulate");
    bool is_right = argument != NULL && argument->kind == AB_AST_NAME && !ast->is_set && ast->b == NULL;
    call->name = argument;
    argument = is_right ? argument->next : NULL;
    call->first = argument;
    is_right = is_right && argument != NULL && argument->kind == AB_AST_INTERVAL;
    argument = is_right ? argument->next : NULL;
    if (is_right && is_pair) {
        call->second = argument;
        is_right = argument != NULL && argument->kind == AB_AST_INTERVAL;
        argument = is_right ? argument->next : NULL;
    }
    const struct ab_ast *zone = NULL;
    if (is_right && argument != NULL && text_is(ast->text, "last")) {
        call->until = argument;
        is_right = argument->kind == AB_AST_TIMESTAMP || argument->kind == AB_AST_TEXT;
        argument = argument->next;
    } else if (is_right && argument != NULL && argument->kind == AB_AST_TEXT && !text_is(ast->text, "session")) {
        zone = argument;
        argument = argument->next;
    }
    if (!is_right || argument != NULL) {
        return ab_parse_fail(call->parse, ast->place, AB_SYNTAX, "expected %s", form_of(ast));
    }
    call->has_zone = zone != NULL;
    return AB_OK;
}

static const struct ab_ast *zone_node(const struct ab_ast *ast)
{
    const struct ab_ast *last = ast->list.last;
    bool may_have = ab_check_is_window(ast) && !text_is(ast->text, "last") && !text_is(ast->text, "session");
    return may_have && ast->list.count >= 3 && last->kind == AB_AST_TEXT ? last : NULL;
}

static ab_err zone_find(struct call *call, const struct ab_catalog *catalog)
{
    const struct ab_ast *node = zone_node(call->ast);
    call->zone = node == NULL ? NULL : ab_catalog_zone(catalog, node->text);
    if (node != NULL && call->zone == NULL) {
        return ab_parse_fail(call->parse, node->place, AB_SYNTAX,
            "the rules of time zone \"%.*s\" are not pinned here, expected CREATE TIME ZONE '%.*s' AS '...'",
            node->text.bytes > 60 ? 60 : (int)node->text.bytes, node->text.data,
            node->text.bytes > 60 ? 60 : (int)node->text.bytes, node->text.data);
    }
    return AB_OK;
}

void ab_check_zones_named(
    const struct ab_parse *parse, void (*found)(void *context, const struct ab_ast *name), void *context)
{
    for (const struct ab_ast *ast = parse->statements.first; ast != NULL; ast = ast->next) {
        const struct ab_ast *group = ast->kind == AB_AST_VIEW ? ast->a->second.first : NULL;
        for (; group != NULL; group = group->next) {
            if (group->kind == AB_AST_CALL && zone_node(group) != NULL) {
                found(context, zone_node(group));
            }
        }
    }
}

/* ---- lengths ---- */

static ab_err fixed_read(struct call *call, const struct ab_ast *interval, int64_t *width_us)
{
    char why[200];
    if (ab_words_duration(interval->text, true, false, width_us, why) == AB_OK) {
        return AB_OK;
    }
    bool is_calendar = strstr(why, "no fixed length") != NULL && zone_node(call->ast) == NULL;
    return ab_parse_fail(call->parse, interval->place, AB_SYNTAX, "%s%s", why,
        is_calendar ? "; in a time zone it has bounds: add one, such as 'UTC', as the last argument" : "");
}

static bool word_is(const char *word, const char *singular)
{
    size_t bytes = strlen(singular);
    return strncmp(word, singular, bytes) == 0 &&
           (word[bytes] == '\0' || (word[bytes] == 's' && word[bytes + 1] == '\0'));
}

/* Days and months of "2 weeks" or "1 quarter": one of them is > 0, or both are 0 for other units. */
static void calendar_read(struct ab_bytes text, int64_t *days, int64_t *months)
{
    static const struct {
        const char *unit;
        int64_t days, months;
    } units[] = {{"day", 1, 0}, {"week", 7, 0}, {"month", 0, 1}, {"quarter", 0, 3}, {"year", 0, 12}};
    char lower[40] = "";
    char word[40] = "";
    int number = 0;
    for (size_t i = 0; i < text.bytes && i + 1 < sizeof(lower); i++) {
        lower[i] = (char)(text.data[i] >= 'A' && text.data[i] <= 'Z' ? text.data[i] + ('a' - 'A') : text.data[i]);
    }
    *days = *months = 0;
    if (sscanf(lower, " %5d %39s", &number, word) != 2 || number <= 0) {
        return;
    }
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (word_is(word, units[i].unit)) {
            *days = number * units[i].days;
            *months = number * units[i].months;
        }
    }
}

static bool is_week(struct ab_bytes text)
{
    for (size_t i = 0; i < text.bytes; i++) {
        if (text.data[i] == 'w' || text.data[i] == 'W') {
            return true;
        }
    }
    return false;
}

static ab_err calendar_refuse(struct call *call, const struct ab_ast *interval)
{
    return ab_parse_fail(call->parse, interval->place, AB_SYNTAX,
        "in a time zone expected 1 day, 1 week, months that divide a year, years, or a part of a day such as '6 "
        "hours'");
}

/* A period of the zone's calendar. */
static ab_err calendar_period(struct call *call, const struct ab_ast *interval, struct ab_period *period)
{
    int64_t days;
    int64_t months;
    calendar_read(interval->text, &days, &months);
    *period = (struct ab_period){.zone = call->zone};
    if (months > 0) {
        if ((months % 12 != 0 && 12 % months != 0) || months > MONTHS_MAX) {
            return calendar_refuse(call, interval);
        }
        period->unit = AB_PERIOD_MONTHS;
        period->months = (uint32_t)months;
        period->width_us = (months % 12 == 0 ? months / 12 * 365 : months * 30) * AB_US_PER_DAY;
        return AB_OK;
    }
    if (days > 0) {
        bool is_weeks = is_week(interval->text);
        if (days != (is_weeks ? 7 : 1)) {
            return calendar_refuse(call, interval);
        }
        period->unit = is_weeks ? AB_PERIOD_WEEK : AB_PERIOD_DAY;
        period->width_us = days * AB_US_PER_DAY;
        return AB_OK;
    }
    AB_TRY(fixed_read(call, interval, &period->step_us));
    if (period->step_us >= AB_US_PER_DAY || AB_US_PER_DAY % period->step_us != 0) {
        return calendar_refuse(call, interval);
    }
    period->unit = AB_PERIOD_DAY;
    period->width_us = AB_US_PER_DAY;
    return AB_OK;
}

static ab_err period_read(struct call *call, const struct ab_ast *interval, struct ab_period *period)
{
    if (call->zone != NULL) {
        return calendar_period(call, interval, period);
    }
    *period = (struct ab_period){.unit = AB_PERIOD_FIXED};
    return fixed_read(call, interval, &period->width_us);
}

/* How many periods a length in days or months, or a fixed one, consists of; 0 when it is not a whole number. */
static ab_err periods_count(
    struct call *call, const struct ab_ast *interval, const struct ab_period *period, int64_t *count)
{
    int64_t days;
    int64_t months;
    int64_t width_us = 0;
    *count = 0;
    calendar_read(interval->text, &days, &months);
    if (period->unit == AB_PERIOD_MONTHS) {
        *count = months % period->months == 0 ? months / period->months : 0;
    } else if (period->unit == AB_PERIOD_WEEK) {
        *count = days % 7 == 0 ? days / 7 : 0;
    } else if (period->unit == AB_PERIOD_DAY && period->step_us == 0) {
        *count = days;
    } else if (period->unit == AB_PERIOD_FIXED) {
        AB_TRY(fixed_read(call, interval, &width_us));
        *count = width_us % period->width_us == 0 ? width_us / period->width_us : 0;
    }
    *count = *count > PANES_MAX ? 0 : *count;
    return AB_OK;
}

static int64_t nominal_us(const struct ab_period *period)
{
    return period->step_us > 0 ? period->step_us : period->width_us;
}

/* ---- the kinds ---- */

static ab_err overlap_refuse(struct call *call, int64_t count)
{
    return ab_parse_fail(call->parse, call->ast->place, AB_SYNTAX,
        "each pane would be in %lld windows, at most %d are composed; take coarser steps, or ask for one window with "
        "LAST(window_start, INTERVAL '...')",
        (long long)count, AB_WINDOW_OVERLAP_MAX);
}

static int64_t common_divisor(int64_t a, int64_t b)
{
    while (b != 0) {
        int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* HOP over a calendar: as many periods as the size has. */
static ab_err hop_calendar(struct call *call, struct ab_window *window)
{
    int64_t count = 0;
    AB_TRY(calendar_period(call, call->first, &window->period));
    if (window->period.step_us > 0) {
        return calendar_refuse(call, call->first);
    }
    AB_TRY(periods_count(call, call->second, &window->period, &count));
    if (count < 2) {
        return ab_parse_fail(
            call->parse, call->second->place, AB_SYNTAX, "expected a size of two or more slides, in the slide's unit");
    }
    window->periods = (uint32_t)count;
    return count > AB_WINDOW_OVERLAP_MAX ? overlap_refuse(call, count) : AB_OK;
}

/* The longer interval is the size, whichever comes first: dialects differ. */
static ab_err hop_read(struct call *call, struct ab_window *window)
{
    window->kind = AB_WINDOW_HOP;
    if (call->zone != NULL) {
        return hop_calendar(call, window);
    }
    int64_t slide_us;
    int64_t size_us;
    AB_TRY(fixed_read(call, call->first, &slide_us));
    AB_TRY(fixed_read(call, call->second, &size_us));
    if (slide_us == size_us) {
        return ab_parse_fail(call->parse, call->second->place, AB_SYNTAX,
            "size and slide are equal, expected TUMBLE(column, INTERVAL '%.*s')", (int)call->first->text.bytes,
            call->first->text.data);
    }
    window->size_us = slide_us > size_us ? slide_us : size_us;
    slide_us = slide_us > size_us ? size_us : slide_us;
    window->period = (struct ab_period){.unit = AB_PERIOD_FIXED, .width_us = slide_us};
    int64_t overlap = window->size_us / slide_us + (window->size_us % slide_us != 0);
    return overlap > AB_WINDOW_OVERLAP_MAX ? overlap_refuse(call, overlap) : AB_OK;
}

static ab_err cumulate_read(struct call *call, struct ab_window *window)
{
    window->kind = AB_WINDOW_CUMULATE;
    AB_TRY(period_read(call, call->first, &window->step));
    AB_TRY(period_read(call, call->second, &window->period));
    bool is_whole =
        ab_period_divides(&window->step, &window->period) && !ab_period_equal(&window->step, &window->period);
    if (!is_whole) {
        return ab_parse_fail(call->parse, call->second->place, AB_SYNTAX,
            "expected a size of whole steps, longer than one: CUMULATE(column, INTERVAL 'step', INTERVAL 'size')");
    }
    int64_t overlap = window->period.width_us / nominal_us(&window->step);
    return overlap > AB_WINDOW_OVERLAP_MAX ? overlap_refuse(call, overlap) : AB_OK;
}

/* The finest panes that compose a view's windows. */
static ab_err pane_choose(struct call *call, const struct ab_window *window, struct ab_period *pane)
{
    *pane = window->kind == AB_WINDOW_CUMULATE ? window->step : window->period;
    if (window->kind == AB_WINDOW_SESSION) {
        *pane = (struct ab_period){.unit = AB_PERIOD_FIXED, .width_us = window->size_us};
    } else if (window->kind == AB_WINDOW_HOP && window->periods == 0) {
        pane->width_us = common_divisor(window->size_us, window->period.width_us);
        if (window->size_us / pane->width_us > PANES_MAX) {
            char width[AB_WORDS_DURATION_BYTES];
            return ab_parse_fail(call->parse, call->ast->place, AB_SYNTAX,
                "size and slide have only panes of '%s' in common, expected a size of whole slides",
                ab_words_duration_format(pane->width_us, width));
        }
    }
    return AB_OK;
}

static ab_err window_read(struct call *call, struct ab_window *window)
{
    if (text_is(call->ast->text, "hop")) {
        return hop_read(call, window);
    }
    if (text_is(call->ast->text, "cumulate")) {
        return cumulate_read(call, window);
    }
    if (text_is(call->ast->text, "session")) {
        window->kind = AB_WINDOW_SESSION;
        return fixed_read(call, call->first, &window->size_us);
    }
    window->kind = AB_WINDOW_TUMBLE;
    return period_read(call, call->first, &window->period);
}

ab_err ab_check_view_window(struct ab_parse *parse, const struct ab_catalog *catalog, const struct ab_ast *ast,
    const struct ab_ast **name, struct ab_period *pane, struct ab_window *window)
{
    struct call call = {.parse = parse, .ast = ast};
    struct ab_window made = {0};
    if (text_is(ast->text, "last")) {
        return ab_parse_fail(parse, ast->place, AB_SYNTAX,
            "LAST is asked of a view: declare TUMBLE here, and query GROUP BY LAST(window_start, INTERVAL '...')");
    }
    if (text_is(ast->text, "slide")) {
        return slide_refuse(&call);
    }
    AB_TRY(call_read(&call));
    AB_TRY(zone_find(&call, catalog));
    AB_TRY(window_read(&call, &made));
    AB_TRY(pane_choose(&call, &made, pane));
    *name = call.name;
    *window = made;
    return AB_OK;
}

/* ---- queries ---- */

/* The view's pane in words. */
static const char *pane_text(const struct ab_view *view, char text[AB_WORDS_DURATION_BYTES])
{
    const struct ab_period *pane = &view->pane;
    if (pane->unit == AB_PERIOD_WEEK || pane->unit == AB_PERIOD_MONTHS) {
        (void)snprintf(text, AB_WORDS_DURATION_BYTES, "%u %s%s", pane->unit == AB_PERIOD_WEEK ? 1 : pane->months,
            pane->unit == AB_PERIOD_WEEK ? "week" : "month", pane->months > 1 ? "s" : "");
        return text;
    }
    return ab_words_duration_format(nominal_us(pane), text);
}

static ab_err multiple_refuse(struct call *call, const struct ab_view *view, const struct ab_ast *interval)
{
    char pane[AB_WORDS_DURATION_BYTES];
    char below[AB_WORDS_DURATION_BYTES];
    char above[AB_WORDS_DURATION_BYTES];
    int64_t width_us = 0;
    char why[200];
    bool is_fixed =
        view->pane.unit == AB_PERIOD_FIXED && ab_words_duration(interval->text, true, false, &width_us, why) == AB_OK;
    if (!is_fixed) {
        return ab_parse_fail(call->parse, interval->place, AB_SYNTAX,
            "expected whole panes of the view, which are '%s'; for finer ones declare a view with finer panes",
            pane_text(view, pane));
    }
    int64_t pane_us = view->pane_us;
    int64_t floor_us = width_us / pane_us * pane_us;
    (void)ab_words_duration_format(floor_us == 0 ? pane_us : floor_us, below);
    (void)ab_words_duration_format(floor_us + pane_us * (floor_us == 0 ? 2 : 1), above);
    return ab_parse_fail(call->parse, interval->place, AB_SYNTAX,
        "expected a multiple of the pane, which is '%s': the nearest are '%s' and '%s'%s", pane_text(view, pane), below,
        above, floor_us == 0 ? "; for finer windows declare a view with a finer pane" : "");
}

/* The last `n` panes until an edge; without an edge, until the end of the pane that holds the moment of the query. */
static ab_err last_read(struct call *call, const struct ab_view *view, struct ab_window *window)
{
    int64_t count = 0;
    window->kind = AB_WINDOW_LAST;
    AB_TRY(periods_count(call, call->first, &view->pane, &count));
    if (count == 0) {
        return multiple_refuse(call, view, call->first);
    }
    if (view->keep_us > 0 && count > view->keep_us / view->pane_us) {
        char keep[AB_WORDS_DURATION_BYTES];
        return ab_parse_fail(call->parse, call->first->place, AB_SYNTAX, "view %s keeps its panes for '%s' only",
            view->name, ab_print_keep(view, keep));
    }
    window->periods = (uint32_t)count;
    if (call->until == NULL) {
        return AB_OK;
    }
    if (ab_time_parse(call->until->text, &window->end_us) != AB_OK) {
        return ab_parse_fail(call->parse, call->until->place, AB_SYNTAX, "\"%.*s\" is not a time",
            (int)call->until->text.bytes, call->until->text.data);
    }
    if (ab_period_floor(&view->pane, window->end_us) != window->end_us) {
        char lower[AB_TIME_TEXT_BYTES];
        char upper[AB_TIME_TEXT_BYTES];
        char pane[AB_WORDS_DURATION_BYTES];
        return ab_parse_fail(call->parse, call->until->place, AB_SYNTAX,
            "not on the edge of a pane of '%s': windows that end at any event are not kept; the nearest edges are '%s' "
            "and '%s', for finer ones declare a view with a finer pane",
            pane_text(view, pane), ab_time_format(ab_period_floor(&view->pane, window->end_us), lower),
            ab_time_format(ab_period_next(&view->pane, window->end_us), upper));
    }
    window->start_us = ab_period_add(&view->pane, window->end_us, -count);
    return AB_OK;
}

static ab_err query_zone(struct call *call, const struct ab_view *view)
{
    const struct ab_ast *node = zone_node(call->ast);
    call->zone = view->pane.zone;
    bool is_other = node != NULL && (call->zone == NULL || !text_is(node->text, call->zone->name));
    if (is_other) {
        return ab_parse_fail(call->parse, node->place, AB_SYNTAX,
            "the panes of view %s begin in %s; for another time zone declare a view with TUMBLE(column, INTERVAL "
            "'...', "
            "'%.*s')",
            view->name, call->zone == NULL ? "UTC" : call->zone->name,
            node->text.bytes > 60 ? 60 : (int)node->text.bytes, node->text.data);
    }
    return AB_OK;
}

ab_err ab_check_query_window(
    struct ab_parse *parse, const struct ab_view *view, const struct ab_ast *ast, struct ab_window *window)
{
    struct call call = {.parse = parse, .ast = ast};
    struct ab_window made = {0};
    if (text_is(ast->text, "slide")) {
        return slide_refuse(&call);
    }
    AB_TRY(call_read(&call));
    AB_TRY(query_zone(&call, view));
    bool is_session = text_is(ast->text, "session");
    if (view->window.kind == AB_WINDOW_SESSION || is_session) {
        return ab_parse_fail(parse, ast->place, AB_SYNTAX,
            is_session ? "sessions are declared: a view with GROUP BY SESSION(column, INTERVAL 'gap')"
                       : "the windows of view %s are sessions, which do not regroup: expected window_start",
            view->name);
    }
    if (text_is(ast->text, "last")) {
        AB_TRY(last_read(&call, view, &made));
        *window = made;
        return AB_OK;
    }
    AB_TRY(window_read(&call, &made));
    const struct ab_period *finest = made.kind == AB_WINDOW_CUMULATE ? &made.step : &made.period;
    if (!ab_period_divides(&view->pane, finest)) {
        return multiple_refuse(&call, view, call.first);
    }
    if (made.kind == AB_WINDOW_HOP && made.periods == 0 && made.size_us % view->pane_us != 0) {
        return multiple_refuse(&call, view, call.second);
    }
    *window = made;
    return AB_OK;
}

/* ---- canonical text ---- */

static void interval_put(struct ab_buffer *out, int64_t width_us)
{
    char text[AB_WORDS_DURATION_BYTES];
    ab_buffer_put_format(out, ", INTERVAL '%s'", ab_words_duration_format(width_us, text));
}

static void period_put(struct ab_buffer *out, const struct ab_period *period, uint32_t count)
{
    if (period->unit == AB_PERIOD_WEEK || period->unit == AB_PERIOD_MONTHS) {
        uint32_t number = count * (period->unit == AB_PERIOD_WEEK ? 1 : period->months);
        ab_buffer_put_format(out, ", INTERVAL '%u %s%s'", number, period->unit == AB_PERIOD_WEEK ? "week" : "month",
            number == 1 ? "" : "s");
    } else {
        interval_put(out, nominal_us(period) * count);
    }
}

void ab_print_window(const struct ab_view *view, struct ab_buffer *out)
{
    static const char *const names[] = {"", "TUMBLE", "HOP", "CUMULATE", "LAST", "SESSION"};
    const struct ab_window *window = &view->window;
    ab_buffer_put_format(out, "%s(", names[window->kind]);
    ab_words_put_name(out, view->stream->columns[view->pane_column].name);
    switch (window->kind) {
    case AB_WINDOW_TUMBLE:
        period_put(out, &window->period, 1);
        break;
    case AB_WINDOW_HOP:
        period_put(out, &window->period, 1);
        if (window->periods > 0) {
            period_put(out, &window->period, window->periods);
        } else {
            interval_put(out, window->size_us);
        }
        break;
    case AB_WINDOW_CUMULATE:
        period_put(out, &window->step, 1);
        period_put(out, &window->period, 1);
        break;
    case AB_WINDOW_SESSION:
        interval_put(out, window->size_us);
        break;
    case AB_WINDOW_LAST:
    case AB_WINDOW_NONE:
        break;
    }
    if (window->period.zone != NULL) {
        ab_buffer_put_format(out, ", '%s'", window->period.zone->name);
    }
    ab_buffer_put_bytes(out, ab_bytes_of_text(")"));
}

/* ---- keep ---- */

ab_err ab_check_keep(struct ab_bytes text, struct ab_view *view, char why[200])
{
    int64_t days = 0;
    int64_t months = 0;
    view->keep_months = view->keep_days = 0;
    if (view->pane_us > 0 && view->pane.zone != NULL) {
        calendar_read(text, &days, &months);
    }
    if ((days == 0 && months == 0) || months > 12 * 1000) {
        return ab_words_duration(text, false, true, &view->keep_us, why);
    }
    view->keep_months = (uint32_t)months;
    view->keep_days = (uint32_t)days;
    view->keep_us = (days + months / 12 * 365 + months % 12 * 30) * AB_US_PER_DAY;
    return AB_OK;
}

const char *ab_print_keep(const struct ab_view *view, char text[48])
{
    bool is_hours = view->pane_us > 0 && view->pane.zone != NULL && view->keep_days == 0; /* days are the calendar's */
    if (view->keep_months == 0 && is_hours && view->keep_us > 0 && view->keep_us % AB_US_PER_DAY == 0) {
        (void)snprintf(text, 48, "%lld hours", (long long)(view->keep_us / AB_US_PER_HOUR));
        return text;
    }
    if (view->keep_months == 0) {
        return ab_words_duration_format(view->keep_us, text);
    }
    (void)snprintf(text, 48, "%u month%s", view->keep_months, view->keep_months == 1 ? "" : "s");
    return text;
}

int64_t ab_check_keep_most(const struct ab_view *view)
{
    const struct ab_window *window = &view->window;
    int64_t most = view->keep_us;
    if (view->keep_months > 0) {
        most = ((int64_t)(view->keep_months / 12) * 366 + (int64_t)(view->keep_months % 12) * 31) * AB_US_PER_DAY;
    }
    if (window->kind == AB_WINDOW_HOP) {
        int64_t size_us = window->periods > 0 ? window->period.width_us * window->periods : window->size_us;
        most = ab_window_add(most, size_us - nominal_us(&view->pane));
    } else if (window->kind == AB_WINDOW_CUMULATE) {
        most = ab_window_add(most, window->period.width_us - nominal_us(&view->pane));
    }
    return most;
}
