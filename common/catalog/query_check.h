/* query_check: the inside of query parsing, shared by its parts. */
#ifndef ANABRANCH_COMMON_CATALOG_QUERY_CHECK_H
#define ANABRANCH_COMMON_CATALOG_QUERY_CHECK_H

#include "common/catalog/node.h"
#include "common/catalog/query.h"

struct ab_query_private {
    struct ab_arena arena;
};

/* Reads what WHERE says about windows and keys: refuses bounds off a pane's edge, fills window_from_us, window_until_us
 * and pins. */
AB_MUST_USE ab_err ab_query_bound(struct ab_parse *parse, struct ab_query *query);

/* Checks a call that reads the state of a measure (enum ab_reading_kind) and adds it to scope->query's readings. */
AB_MUST_USE ab_err ab_query_reading(
    const struct ab_scope *scope, const struct ab_ast *ast, bool *is_known, struct ab_expression **out);

/* Input index of window_start; window_end is the next. */
static inline uint32_t ab_query_window_input(const struct ab_query *query)
{
    return query->view->keys_count;
}

#endif
