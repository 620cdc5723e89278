#include "cluster/command/command.h"
#include "cluster/command/relation.h"
#include "cluster/command/session.h"
#include "common/base/time.h"

#include <inttypes.h>
#include <stdio.h>

static enum ab_cell_kind cell_kind(enum anabranch_type type)
{
    switch (type) {
    case ANABRANCH_BIGINT:
    case ANABRANCH_DOUBLE:
    case ANABRANCH_DECIMAL:
        return AB_CELL_NUMBER;
    case ANABRANCH_BOOLEAN:
        return AB_CELL_BOOLEAN;
    case ANABRANCH_TEXT:
    case ANABRANCH_TIMESTAMP:
        return AB_CELL_TEXT;
    }
    return AB_CELL_TEXT;
}

static void answer_take(struct anabranch_answer *answer, struct ab_relation *relation)
{
    uint32_t columns = anabranch_answer_columns(answer);
    uint32_t rows = anabranch_answer_rows(answer);
    ab_relation_init(relation, columns);
    for (uint32_t c = 0; c < columns; c++) {
        uint8_t precision = 0;
        uint8_t scale = 0;
        enum anabranch_type type = anabranch_answer_type(answer, c, &precision, &scale);
        ab_relation_column(relation, c, anabranch_answer_name(answer, c), cell_kind(type));
    }
    for (uint32_t r = 0; r < rows; r++) {
        for (uint32_t c = 0; c < columns; c++) {
            size_t bytes = 0;
            if (anabranch_answer_is_null(answer, r, c)) {
                ab_relation_add_null(relation);
            } else {
                const char *text = anabranch_answer_text(answer, r, c, &bytes);
                ab_relation_add(relation, ab_bytes_of(text, bytes));
            }
        }
    }
}

static void token_say(const struct anabranch_answer *answer, int64_t took_us)
{
    struct anabranch_token token;
    char as_of[AB_TIME_TEXT_BYTES];
    char horizon[AB_TIME_TEXT_BYTES];
    anabranch_answer_token(answer, &token);
    ab_command_say("%" PRIu32 " rows in %.1f ms; version %s (cut %" PRIu64 "), as of %s, horizon %s, %s",
        anabranch_answer_rows(answer), (double)took_us / 1000, token.cut == 0 ? "none" : token.version, token.cut,
        token.as_of_us == 0 ? "nothing yet" : ab_time_format(token.as_of_us, as_of),
        token.horizon_us == 0 ? "none" : ab_time_format(token.horizon_us, horizon),
        token.is_complete ? "complete" : "incomplete");
}

static ab_err answer_print(struct anabranch_answer *answer, enum ab_output_format format, bool is_verbose,
    int64_t took_us, struct ab_error *error)
{
    struct ab_relation relation;
    struct ab_buffer out;
    ab_buffer_init(&out, NULL, 0);
    answer_take(answer, &relation);
    ab_relation_write(&relation, format, &out);
    ab_err err = ab_output_print(&out, error);
    for (size_t i = 0; i < anabranch_answer_warnings(answer); i++) {
        ab_command_say("warning: %s", anabranch_answer_warning(answer, i));
    }
    if (is_verbose) {
        token_say(answer, took_us);
    }
    ab_buffer_fini(&out);
    ab_relation_fini(&relation);
    return err;
}

static ab_err query_ask(const struct ab_arguments *arguments, const char *directory, enum ab_output_format format,
    int64_t timeout_ms, struct ab_error *error)
{
    struct anabranch_client *client = NULL;
    struct anabranch_answer *answer = NULL;
    enum anabranch_result result = ab_session_client_open(directory, "query", (int)timeout_ms, &client, error);
    if (client == NULL) {
        return AB_UNAVAILABLE;
    }
    int64_t started = ab_time_monotonic_us();
    if (result == ANABRANCH_OK) {
        result = anabranch_query(client, arguments->words[0], &answer);
    }
    ab_err err = AB_OK;
    if (result == ANABRANCH_OK) {
        err = answer_print(
            answer, format, ab_arguments_has(arguments, "--verbose"), ab_time_monotonic_us() - started, error);
    } else {
        err = ab_error_set(error, AB_UNAVAILABLE, "%s", anabranch_last_error(client));
    }
    anabranch_answer_free(answer);
    anabranch_close(client);
    return err;
}

static ab_err query_run(const struct ab_arguments *arguments, struct ab_error *error)
{
    char *directory = NULL;
    enum ab_output_format format = AB_OUTPUT_TABLE;
    int64_t timeout_ms = 0;
    AB_TRY(ab_output_format_parse(ab_arguments_value(arguments, "--format"), &format, error));
    AB_TRY(ab_arguments_number(arguments, "--timeout-ms", 1, 3600000, 30000, &timeout_ms, error));
    AB_TRY(ab_command_directory(arguments, &directory, error));
    ab_err err = query_ask(arguments, directory, format, timeout_ms, error);
    ab_delete(directory);
    return err;
}

static const struct ab_option query_options[] = {
    AB_OPTION_DATA,
    {"--format", "table|csv|json", "table (default), CSV with numbers in full, or a JSON array"},
    {"--timeout-ms", "N", "how long to wait for the answer (30000)"},
    {"--verbose", NULL, "say what the answer rests on: version, cut, freshness"},
    {0},
};

const struct ab_command ab_command_query = {
    .name = "query",
    .words = "'SELECT …'",
    .summary = "ask a view; the answer is fresh to the last acknowledged event",
    .options = query_options,
    .words_min = 1,
    .words_max = 1,
    .run = query_run,
};
