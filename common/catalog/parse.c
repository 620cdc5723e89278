#include "common/catalog/ast.h"
#include "common/catalog/catalog.h"
#include "common/catalog/grammar.h"
#include "common/catalog/words.h"

#include "common/base/buffer.h"

#include <stdarg.h>
#include <stdio.h>

#define TREE_BYTES_MAX ((size_t)512 << 20)

static bool token_is(const struct ab_token *token, const char *word)
{
    return token->number == T_NAME && !token->is_quoted && ab_bytes_equal(token->text, ab_bytes_of_text(word));
}

static void failure_record(
    struct ab_parse *parse, struct ab_place place, ab_err code, const char *format, va_list arguments)
{
    char text[AB_ERROR_TEXT_BYTES];
    if (parse->code == AB_OK) {
        (void)vsnprintf(text, sizeof(text), format, arguments);
        parse->code = ab_error_set(parse->error, code, "line %u, column %u: %.900s", place.line, place.column, text);
    }
}

ab_err ab_parse_fail(struct ab_parse *parse, struct ab_place place, ab_err code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    failure_record(parse, place, code, format, arguments);
    va_end(arguments);
    return parse->code;
}

void ab_parse_mark(struct ab_parse *parse, struct ab_place place, ab_err code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    failure_record(parse, place, code, format, arguments);
    va_end(arguments);
}

/* Reads the next token as the lexer sees it. */
static struct ab_token token_read(struct ab_parse *parse)
{
    struct ab_token token = {0};
    if (parse->has_ahead) {
        token = parse->ahead;
        parse->has_ahead = false;
    } else {
        token.number = ab_lexer_read(&token, parse->scanner);
    }
    return token;
}

static const struct ab_token *token_peek(struct ab_parse *parse)
{
    if (!parse->has_ahead) {
        parse->ahead = (struct ab_token){0};
        parse->ahead.number = ab_lexer_read(&parse->ahead, parse->scanner);
        parse->has_ahead = true;
    }
    return &parse->ahead;
}

/* Makes one token of two neighbours. */
static void token_join(struct ab_parse *parse, struct ab_token *token, int number, bool takes_text)
{
    struct ab_token next = token_read(parse);
    token->number = number;
    token->place.end = next.place.end;
    if (takes_text) {
        token->text = next.text;
    }
}

static bool ends_operand(int number)
{
    return number == T_NAME || number == T_NUMBER || number == T_TEXT || number == T_TIMESTAMP || number == T_NULL ||
           number == ')';
}

static bool starts_operand(int number)
{
    return number == T_NAME || number == T_NUMBER || number == T_TEXT || number == '(' || number == '-' ||
           number == T_NULL || number == T_NOT;
}

/* Words that begin a pair: they are names unless the right neighbour follows. */
static bool token_pair(struct ab_parse *parse, struct ab_token *token)
{
    const struct ab_token *next = token_peek(parse);
    if (token_is(token, "event") && token_is(next, "time")) {
        token_join(parse, token, T_EVENT_TIME, false);
    } else if (parse->previous.number == T_CREATE && token_is(token, "time") && token_is(next, "zone")) {
        token_join(parse, token, T_TIME_ZONE, false);
    } else if (token_is(token, "partition") && token_is(next, "key")) {
        token_join(parse, token, T_PARTITION_KEY, false);
    } else if (token_is(token, "double") && token_is(next, "precision")) {
        token_join(parse, token, T_NAME, false);
    } else if (token_is(token, "interval") && next->number == T_TEXT) {
        token_join(parse, token, T_INTERVAL, true);
    } else if (token_is(token, "timestamp") && next->number == T_TEXT) {
        token_join(parse, token, T_TIMESTAMP, true);
    } else {
        return false;
    }
    return true;
}

/* Words that are keywords only between certain neighbours. */
static void token_single(struct ab_parse *parse, struct ab_token *token)
{
    int before = parse->previous.number;
    int after = token_peek(parse)->number;
    if (before == T_CREATE) {
        token->number = token_is(token, "stream") ? T_STREAM : token_is(token, "view") ? T_VIEW : T_NAME;
    } else if (token_is(token, "check") && after == '(' && before != '.') {
        token->number = T_CHECK;
    } else if (token_is(token, "filter") && after == '(' && before == ')') {
        token->number = T_FILTER;
    } else if (token_is(token, "is") && ends_operand(before) &&
               (after == T_NULL || after == T_NOT || after == T_NAME)) {
        token->number = T_IS;
    } else if ((token_is(token, "asc") || token_is(token, "desc")) && ends_operand(before) &&
               (after == ',' || after == T_LIMIT || after == ';' || after == T_END || after == T_NAME)) {
        token->number = token_is(token, "asc") ? T_ASC : T_DESC;
    } else if (token_is(token, "distinct") && before == '(' && starts_operand(after)) {
        token->number = T_DISTINCT;
    } else if (token_is(token, "distinct") && before == T_SELECT && (starts_operand(after) || after == '*')) {
        ab_parse_mark(parse, token->place, AB_UNSUPPORTED, "SELECT DISTINCT is not supported yet; use GROUP BY");
    }
}

int ab_grammar_lex(AB_GRAMMAR_STYPE *value, struct ab_place *place, struct ab_parse *parse)
{
    if (!parse->is_started) {
        parse->is_started = true;
        *place = (struct ab_place){.line = 1, .column = 1};
        return parse->is_query ? T_START_QUERY : T_START_CATALOG;
    }
    struct ab_token token = token_read(parse);
    if (token.number == T_NAME && !token.is_quoted && !token_pair(parse, &token)) {
        token_single(parse, &token);
    }
    if (parse->code != AB_OK) {
        token.number = T_INVALID; /* Ends the parse; the failure is recorded. */
    }
    parse->later = NULL;
    if (token_is(&parse->previous, "case")) {
        parse->later = "CASE";
    } else if (token.number == T_BY && token_is(&parse->previous, "deduplicate")) {
        parse->later = "DEDUPLICATE BY";
    }
    parse->later_place = parse->previous.place;
    parse->previous = token;
    value->token = token;
    *place = token.place;
    return token.number;
}

static bool list_take(const char **names, int *count, const char *name)
{
    for (int i = 0; i < *count; i++) {
        if (strcmp(names[i], name) == 0) {
            memmove(names + i, names + i + 1, (size_t)(*count - i - 1) * sizeof(*names));
            (*count)--;
            return true;
        }
    }
    return false;
}

static void list_take_all(const char **names, int *count, const char *const *taken, size_t taken_count)
{
    for (size_t i = 0; i < taken_count; i++) {
        (void)list_take(names, count, taken[i]);
    }
}

static bool list_has(const char **names, int count, const char *name)
{
    for (int i = 0; i < count; i++) {
        if (strcmp(names[i], name) == 0) {
            return true;
        }
    }
    return false;
}

/* Names whole groups of tokens by one word: nobody wants to read twenty operators. */
static void expected_shorten(const char **names, int *count)
{
    static const char *const starts[] = {"a name", "a number", "'text'", "INTERVAL 'text'", "TIMESTAMP 'text'", "NULL",
        "NOT", "'('", "'-'", "'+'", "DISTINCT"};
    static const char *const operators[] = {"'+'", "'-'", "'*'", "'/'", "'%'", "'='", "'<'", "'>'", "<>",
        "<=", ">=", "AND", "OR", "NOT", "IN", "BETWEEN", "IS", "'.'", "'('", "FILTER"};
    if (list_has(names, *count, "a number") && list_has(names, *count, "a name")) {
        list_take_all(names, count, starts, sizeof(starts) / sizeof(starts[0]));
        names[(*count)++] = "an expression";
    } else if (list_has(names, *count, "'/'")) {
        list_take_all(names, count, operators, sizeof(operators) / sizeof(operators[0]));
        names[(*count)++] = "an operator";
    }
}

/* "found X, expected Y, Z or W; did you mean V?", or that the word is not built yet. */
ab_err ab_parse_report(struct ab_parse *parse, struct ab_place place, int found, const char *const *expected, int count)
{
    if (found == T_INVALID || parse->code != AB_OK) {
        return parse->code;
    }
    struct ab_bytes shown = ab_parse_slice(parse, place);
    struct ab_bytes word = parse->previous.text;
    int shown_bytes = shown.bytes > 60 ? 60 : (int)shown.bytes;
    if (found == T_NAME && !parse->previous.is_quoted && ab_words_is_later_word(word)) {
        return ab_parse_fail(parse, place, AB_UNSUPPORTED, "%.*s is not supported yet", shown_bytes, shown.data);
    }
    if (parse->later != NULL) {
        return ab_parse_fail(parse, parse->later_place, AB_UNSUPPORTED, "%s is not supported yet", parse->later);
    }
    const char *names[80];
    int names_count = count > 64 ? 64 : count;
    for (int i = 0; i < names_count; i++) {
        names[i] = expected[i];
    }
    expected_shorten(names, &names_count);
    struct ab_buffer text = {0};
    if (found == T_END) {
        ab_buffer_put_format(&text, "found the end of the text, expected ");
    } else {
        ab_buffer_put_format(&text, "found \"%.*s\", expected ", shown_bytes, shown.data);
    }
    const char *nearest = NULL;
    for (int i = 0; i < names_count; i++) {
        char lower[24];
        const char *separator = i == 0 ? "" : i + 1 == names_count ? " or " : ", ";
        ab_buffer_put_format(&text, "%s%s", separator, names[i]);
        (void)snprintf(lower, sizeof(lower), "%s", names[i]);
        for (char *at = lower; *at != '\0'; at++) {
            *at = (char)(*at >= 'A' && *at <= 'Z' ? *at + ('a' - 'A') : *at);
        }
        const char *candidate = lower;
        if (names[i][0] >= 'A' && names[i][0] <= 'Z' && ab_catalog_nearest(word, &candidate, 1) != NULL) {
            nearest = names[i];
        }
    }
    if (found == T_NAME && nearest != NULL) {
        ab_buffer_put_format(&text, "; did you mean %s?", nearest);
    }
    ab_err code = ab_parse_fail(parse, place, AB_SYNTAX, "%s", ab_buffer_text(&text));
    ab_buffer_fini(&text);
    return code;
}

static bool line_is_text(struct ab_bytes line)
{
    return ab_bytes_is_utf8(line) && (line.bytes == 0 || memchr(line.data, '\0', line.bytes) == NULL);
}

/* Refuses bytes that are not UTF-8, and NUL, at the first line that has them. */
static ab_err text_validate(struct ab_parse *parse)
{
    if (parse->text.bytes > AB_CATALOG_TEXT_BYTES_MAX) {
        return ab_error_set(parse->error, AB_TOO_LARGE, "the text has %zu bytes, at most %u are read",
            parse->text.bytes, AB_CATALOG_TEXT_BYTES_MAX);
    }
    if (line_is_text(parse->text)) {
        return AB_OK;
    }
    struct ab_place place = {.line = 1, .column = 1};
    for (size_t start = 0, at = 0; at <= parse->text.bytes; at++) {
        if (at == parse->text.bytes || parse->text.data[at] == '\n') {
            if (!line_is_text(ab_bytes_of(parse->text.data + start, at - start))) {
                break;
            }
            place.line++;
            start = at + 1;
        }
    }
    return ab_parse_fail(parse, place, AB_SYNTAX, "this line is not UTF-8 text");
}

ab_err ab_parse_text(struct ab_parse *parse, struct ab_bytes text, bool is_query, struct ab_error *error)
{
    *parse = (struct ab_parse){.text = text, .error = error, .is_query = is_query, .next_line = 1, .next_column = 1};
    ab_memory_init(&parse->memory, TREE_BYTES_MAX, NULL);
    ab_arena_init(&parse->arena, &parse->memory, 0);
    AB_TRY(text_validate(parse));
    AB_TRY(ab_lexer_open(parse));
    parse->at.end = 0;
    int refused = ab_grammar_parse(parse);
    if (parse->code == AB_OK && refused != 0) {
        return ab_parse_fail(parse, parse->previous.place, AB_SYNTAX, "not understood");
    }
    return parse->code;
}

void ab_parse_fini(struct ab_parse *parse)
{
    ab_lexer_close(parse);
    ab_arena_fini(&parse->arena);
}
