#include "cluster/command/command.h"
#include "cluster/command/letters.h"
#include "cluster/command/relation.h"
#include "common/base/time.h"
#include "common/catalog/catalog.h"

#include <inttypes.h>
#include <stdio.h>

#define LIMIT_DEFAULT 20
#define COLUMNS_MAX 32

/* Adds one member in text form; times are told by their name. */
static void member_add(struct ab_relation *relation, const char *key, const struct ab_json *member)
{
    char text[64];
    struct ab_buffer json;
    size_t length = strlen(key);
    if (ab_json_is_null(member)) {
        ab_relation_add_null(relation);
    } else if (ab_json_is_text(member)) {
        ab_relation_add(relation, ab_json_bytes(member));
    } else if (ab_json_is_integer(member) && length > 3 && strcmp(key + length - 3, "_us") == 0) {
        ab_relation_add_text(relation, ab_time_format(ab_json_integer_or(member, 0), text));
    } else {
        ab_buffer_init(&json, NULL, 0);
        ab_json_write(member, 0, &json);
        ab_relation_add(relation, ab_buffer_view(&json));
        ab_buffer_fini(&json);
    }
}

/* Every member name of any row, in order of appearance. */
static size_t columns_of(const struct ab_letter_list *list, const char *names[COLUMNS_MAX])
{
    size_t count = 0;
    for (size_t r = 0; r < list->rows_count; r++) {
        const struct ab_json *row = list->rows[r];
        for (size_t m = 0; m < ab_json_count(row); m++) {
            const char *key = ab_json_key_at(row, m);
            size_t at = 0;
            while (at < count && strcmp(names[at], key) != 0) {
                at++;
            }
            if (at == count && count < COLUMNS_MAX) {
                names[count++] = key;
            }
        }
    }
    return count;
}

static ab_err rows_print(const struct ab_letter_list *list, enum ab_output_format format, struct ab_error *error)
{
    struct ab_relation relation;
    struct ab_buffer out;
    const char *names[COLUMNS_MAX];
    size_t columns = columns_of(list, names);
    ab_buffer_init(&out, NULL, 0);
    ab_relation_init(&relation, columns);
    for (size_t c = 0; c < columns; c++) {
        bool is_number = ab_json_is_integer(ab_json_get(list->rows[0], names[c])) && strstr(names[c], "_us") == NULL;
        ab_relation_column(&relation, c, names[c], is_number ? AB_CELL_NUMBER : AB_CELL_TEXT);
    }
    for (size_t r = 0; r < list->rows_count; r++) {
        for (size_t c = 0; c < columns; c++) {
            member_add(&relation, names[c], ab_json_get(list->rows[r], names[c]));
        }
    }
    if (columns > 0 || format == AB_OUTPUT_JSON) {
        ab_relation_write(&relation, format, &out);
    }
    ab_err err = ab_output_print(&out, error);
    if (columns == 0 && format == AB_OUTPUT_TABLE) {
        ab_command_say("no dead letters");
    }
    ab_buffer_fini(&out);
    ab_relation_fini(&relation);
    return err;
}

/* Says on standard error when there are more letters than were printed. */
static void rest_say(const struct ab_letter_list *list)
{
    if (list->rows_count < list->total) {
        ab_command_say("%zu of %s%" PRIu64 " shown, the newest", list->rows_count,
            list->answers_count > 1 ? "at least " : "", list->total);
    }
}

static ab_err list_print(
    const char *stream, int64_t limit, char *directory, enum ab_output_format format, struct ab_error *error)
{
    struct ab_session session;
    struct ab_letter_list list = {0};
    struct ab_catalog *catalog = NULL;
    ab_err err = ab_session_open(directory, "query", &session, error);
    if (err == AB_OK) {
        err = ab_session_catalog(&session, &catalog, error);
    }
    if (err == AB_OK) {
        err = ab_session_stream_check(catalog, stream, error);
    }
    ab_catalog_release(catalog);
    if (err == AB_OK) {
        err = ab_letter_list_ask(&session, stream, (size_t)limit, &list, error);
    }
    if (err == AB_OK) {
        err = rows_print(&list, format, error);
    }
    if (err == AB_OK) {
        rest_say(&list);
    }
    ab_letter_list_fini(&list);
    ab_session_close(&session);
    return err;
}

static ab_err dead_letters_run(const struct ab_arguments *arguments, struct ab_error *error)
{
    char *directory = NULL;
    enum ab_output_format format = AB_OUTPUT_TABLE;
    int64_t limit = 0;
    if (strcmp(arguments->words[0], "list") != 0) {
        return ab_error_set(error, AB_USAGE, "unknown action '%s'; known: list", arguments->words[0]);
    }
    AB_TRY(ab_output_format_parse(ab_arguments_value(arguments, "--format"), &format, error));
    AB_TRY(ab_arguments_number(arguments, "--limit", 1, AB_DEAD_LETTERS_MAX, LIMIT_DEFAULT, &limit, error));
    AB_TRY(ab_command_directory(arguments, &directory, error));
    ab_err err = list_print(arguments->words[1], limit, directory, format, error);
    ab_delete(directory);
    return err;
}

static const struct ab_option dead_letters_options[] = {
    AB_OPTION_DATA,
    {"--limit", "N", "at most so many, the newest first (20; at most 10000)"},
    {"--format", "table|csv|json", "table (default), CSV, or a JSON array"},
    {0},
};

const struct ab_command ab_command_dead_letters = {
    .name = "dead-letters",
    .words = "list STREAM",
    .summary = "rows that broke their stream's rules, with the reasons",
    .options = dead_letters_options,
    .words_min = 2,
    .words_max = 2,
    .run = dead_letters_run,
};
