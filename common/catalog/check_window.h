/* check_window: TUMBLE, HOP, CUMULATE, SESSION and LAST, from calls to windows. Inside of common/catalog only. */
#ifndef ANABRANCH_COMMON_CATALOG_CHECK_WINDOW_H
#define ANABRANCH_COMMON_CATALOG_CHECK_WINDOW_H

#include "common/catalog/ast.h"
#include "common/catalog/catalog.h"

/* True for calls that make windows, or would: tumble, hop, cumulate, session, last, slide. */
bool ab_check_is_window(const struct ab_ast *ast);

/* The name of such a call in capitals. */
struct ab_bytes ab_check_window_name(const struct ab_ast *ast);

/* What a view's call says: its column, its panes and its windows. The zones are the catalog's. */
AB_MUST_USE ab_err ab_check_view_window(struct ab_parse *parse, const struct ab_catalog *catalog,
    const struct ab_ast *call, const struct ab_ast **name, struct ab_period *pane, struct ab_window *window);

/* What a query's call over window_start says: windows made of the view's panes. */
AB_MUST_USE ab_err ab_check_query_window(
    struct ab_parse *parse, const struct ab_view *view, const struct ab_ast *call, struct ab_window *window);

/* Finds the zones that views name: calls `found` with each name's node. */
void ab_check_zones_named(
    const struct ab_parse *parse, void (*found)(void *context, const struct ab_ast *name), void *context);

/* Appends a view's call in canonical SQL; `column` is quoted where it has to be. */
void ab_print_window(const struct ab_view *view, struct ab_buffer *out);

/* Reads keep: a duration, or for panes of a calendar months and days of it. */
AB_MUST_USE ab_err ab_check_keep(struct ab_bytes text, struct ab_view *view, char why[200]);

/* Writes keep as canonical SQL has it. */
const char *ab_print_keep(const struct ab_view *view, char text[48]);

/* The most that keep and the panes of its oldest windows can reach back, for comparison with a stream's retention. */
int64_t ab_check_keep_most(const struct ab_view *view);

#endif
