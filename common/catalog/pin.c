/* Pinning: what a catalog's text says of time zones is completed with their rules. */
#include "common/catalog/check.h"
#include "common/catalog/check_window.h"

#include <stdio.h>

/* One run over the zones that a text names. */
struct pinning {
    struct ab_parse *parse;
    const struct ab_catalog *before;
    const char *directory;
    struct ab_buffer *out;
    struct ab_bytes done[64];
    uint32_t done_count;
};

/* True when the text has the rules itself. */
static bool is_declared(const struct pinning *pinning, struct ab_bytes name)
{
    for (const struct ab_ast *ast = pinning->parse->statements.first; ast != NULL; ast = ast->next) {
        if (ast->kind == AB_AST_ZONE && ab_bytes_equal(ast->text, name)) {
            return true;
        }
    }
    for (uint32_t i = 0; i < pinning->done_count; i++) {
        if (ab_bytes_equal(pinning->done[i], name)) {
            return true;
        }
    }
    return false;
}

static void zone_pin(void *context, const struct ab_ast *name)
{
    struct pinning *pinning = context;
    char why[200];
    if (is_declared(pinning, name->text)) {
        return;
    }
    if (pinning->done_count == sizeof(pinning->done) / sizeof(pinning->done[0])) {
        ab_parse_mark(pinning->parse, name->place, AB_SYNTAX, "more than %u time zones", pinning->done_count);
        return;
    }
    struct ab_zone read;
    const struct ab_zone *zone = pinning->before == NULL ? NULL : ab_catalog_zone(pinning->before, name->text);
    if (zone == NULL) {
        ab_err err = ab_zone_read_system(pinning->directory, name->text, &pinning->parse->arena, &read, why);
        if (err != AB_OK) {
            ab_parse_mark(pinning->parse, name->place, AB_SYNTAX, "%s", why);
            return;
        }
        zone = &read;
    }
    pinning->done[pinning->done_count++] = name->text;
    ab_buffer_put_bytes(pinning->out, ab_bytes_of_text(pinning->done_count == 1 ? "\n;\n" : ""));
    ab_print_zone(zone, pinning->out);
    ab_buffer_put_bytes(pinning->out, ab_bytes_of_text(";\n"));
}

ab_err ab_catalog_pin(struct ab_bytes text, const struct ab_catalog *before, const char *directory,
    struct ab_buffer *out, struct ab_error *error)
{
    struct ab_parse parse;
    ab_err code = ab_parse_text(&parse, text, false, error);
    if (code == AB_OK) {
        struct pinning pinning = {.parse = &parse, .before = before, .directory = directory, .out = out};
        ab_buffer_put_bytes(out, text);
        ab_check_zones_named(&parse, zone_pin, &pinning);
        code = parse.code;
    }
    ab_parse_fini(&parse);
    return code;
}
