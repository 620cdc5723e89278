#include "common/client/client_private.h"

#include "common/base/decimal.h"
#include "common/block/column_codec.h"

struct anabranch_answer {
    struct ab_arena arena;
    struct ab_wire_query_reply reply; /* in the arena */
    struct ab_column *columns;        /* in the arena */
    const char **names;               /* in the arena */
    const char **warnings;            /* in the arena */
    const char *version;              /* in the arena */
    struct ab_buffer text;            /* of the value formatted last */
};

void anabranch_answer_free(struct anabranch_answer *answer)
{
    if (answer == NULL) {
        return;
    }
    ab_arena_fini(&answer->arena);
    ab_buffer_fini(&answer->text);
    ab_delete(answer);
}

/* A NUL-terminated copy in the answer's arena (which has no bound, so that there always is one). */
static const char *answer_text(struct anabranch_answer *answer, struct ab_bytes text)
{
    return (const char *)ab_arena_copy(&answer->arena, text).data;
}

static ab_err answer_read(struct anabranch_answer *answer, struct ab_bytes payload, struct ab_error *error)
{
    struct ab_bytes copy = ab_arena_copy(&answer->arena, payload);
    AB_TRY(ab_wire_query_reply_decode(copy, &answer->arena, &answer->reply));
    size_t count = answer->reply.columns_count;
    answer->columns = ab_arena_zalloc(&answer->arena, (count + 1) * sizeof *answer->columns);
    answer->names = ab_arena_zalloc(&answer->arena, (count + 1) * sizeof *answer->names);
    for (size_t c = 0; c < count; c++) {
        const struct ab_wire_column *column = &answer->reply.columns[c];
        answer->names[c] = answer_text(answer, column->name);
        struct ab_block_column decoded = {0};
        AB_TRY(ab_block_column_decode(column, answer->reply.rows_count, &answer->arena, &decoded, error));
        answer->columns[c] = decoded.column;
    }
    answer->warnings = ab_arena_zalloc(&answer->arena, (answer->reply.warnings_count + 1) * sizeof *answer->warnings);
    for (size_t w = 0; w < answer->reply.warnings_count; w++) {
        answer->warnings[w] = answer_text(answer, answer->reply.warnings[w]);
    }
    answer->version = answer_text(answer, answer->reply.token.version);
    return AB_OK;
}

/* What the answer includes has been seen: later ones may not lack it. */
static void answer_note(struct anabranch_client *client, const struct anabranch_answer *answer)
{
    for (size_t p = 0; p < answer->reply.token.offsets_count; p++) {
        client_saw(client, p, answer->reply.token.offsets[p]);
    }
}

enum anabranch_result anabranch_query(
    struct anabranch_client *client, const char *sql, struct anabranch_answer **answer)
{
    if (client == NULL || sql == NULL || answer == NULL || !client->is_open) {
        return ANABRANCH_USAGE;
    }
    struct ab_wire_query query = {.sql = ab_bytes_of_text(sql)};
    if (!client->is_single) { /* the only node includes what is acknowledged anyway */
        query.offsets = client->seen;
        query.offsets_count = client->partitions_count;
    }
    struct ab_buffer request = {0};
    ab_wire_query_encode(&query, &request);
    struct ab_answer received = {0};
    int64_t until_us = ab_time_monotonic_us() + (int64_t)client->timeout_ms * AB_US_PER_MS;
    ab_err err = client_query_call(client, ab_buffer_view(&request), until_us, &received);
    ab_buffer_fini(&request);
    if (err != AB_OK) {
        return client_result_of(err);
    }
    struct anabranch_answer *made = ab_new(struct anabranch_answer);
    err = answer_read(made, received.payload, &client->error);
    ab_answer_free(&received);
    if (err != AB_OK) {
        anabranch_answer_free(made);
        return client_result_of(ab_error_wrap(&client->error, err, "the server's answer could not be read"));
    }
    answer_note(client, made);
    *answer = made;
    return ANABRANCH_OK;
}

uint32_t anabranch_answer_rows(const struct anabranch_answer *answer)
{
    return answer->reply.rows_count;
}

uint32_t anabranch_answer_columns(const struct anabranch_answer *answer)
{
    return (uint32_t)answer->reply.columns_count;
}

const char *anabranch_answer_name(const struct anabranch_answer *answer, uint32_t column)
{
    return column < answer->reply.columns_count ? answer->names[column] : NULL;
}

enum anabranch_type anabranch_answer_type(
    const struct anabranch_answer *answer, uint32_t column, uint8_t *precision, uint8_t *scale)
{
    bool exists = column < answer->reply.columns_count;
    struct ab_type type = exists ? answer->columns[column].type : (struct ab_type){.kind = AB_TYPE_TEXT};
    *precision = type.precision;
    *scale = type.scale;
    return (enum anabranch_type)type.kind;
}

/* The value at a place; NULL outside of the answer. */
static struct ab_value answer_value(const struct anabranch_answer *answer, uint32_t row, uint32_t column)
{
    if (column >= answer->reply.columns_count || row >= answer->reply.rows_count) {
        return (struct ab_value){.type = {.kind = AB_TYPE_TEXT}, .is_null = true};
    }
    return ab_column_value(&answer->columns[column], row);
}

bool anabranch_answer_is_null(const struct anabranch_answer *answer, uint32_t row, uint32_t column)
{
    return answer_value(answer, row, column).is_null;
}

/* A decimal's whole part, held between the ends of int64. */
static int64_t whole_part(struct ab_value value)
{
    ab_int128 whole = value.decimal / ab_decimal_power(value.type.scale);
    return whole > INT64_MAX ? INT64_MAX : whole < INT64_MIN ? INT64_MIN : (int64_t)whole;
}

int64_t anabranch_answer_bigint(const struct anabranch_answer *answer, uint32_t row, uint32_t column)
{
    struct ab_value value = answer_value(answer, row, column);
    if (value.is_null) {
        return 0;
    }
    switch ((enum ab_type_kind)value.type.kind) {
    case AB_TYPE_BOOLEAN:
        return value.boolean;
    case AB_TYPE_BIGINT:
    case AB_TYPE_TIMESTAMP:
        return value.bigint;
    case AB_TYPE_DECIMAL:
        return whole_part(value);
    case AB_TYPE_DOUBLE:
    case AB_TYPE_TEXT:
        return 0;
    }
    return 0;
}

double anabranch_answer_double(const struct anabranch_answer *answer, uint32_t row, uint32_t column)
{
    struct ab_value value = answer_value(answer, row, column);
    if (value.is_null) {
        return 0;
    }
    switch ((enum ab_type_kind)value.type.kind) {
    case AB_TYPE_BOOLEAN:
        return value.boolean;
    case AB_TYPE_BIGINT:
    case AB_TYPE_TIMESTAMP:
        return (double)value.bigint;
    case AB_TYPE_DECIMAL:
        return ab_decimal_to_double(value.decimal, value.type.scale);
    case AB_TYPE_DOUBLE:
        return value.real;
    case AB_TYPE_TEXT:
        return 0;
    }
    return 0;
}

const char *anabranch_answer_text(struct anabranch_answer *answer, uint32_t row, uint32_t column, size_t *bytes)
{
    struct ab_value value = answer_value(answer, row, column);
    ab_buffer_clear(&answer->text);
    ab_value_format(&value, &answer->text);
    *bytes = answer->text.bytes;
    return ab_buffer_text(&answer->text);
}

void anabranch_answer_token(const struct anabranch_answer *answer, struct anabranch_token *token)
{
    const struct ab_token *given = &answer->reply.token;
    *token = (struct anabranch_token){.cut = given->cut,
        .version = answer->version,
        .as_of_us = given->as_of_us,
        .horizon_us = given->horizon_us,
        .is_complete = given->is_complete};
}

size_t anabranch_answer_warnings(const struct anabranch_answer *answer)
{
    return answer->reply.warnings_count;
}

const char *anabranch_answer_warning(const struct anabranch_answer *answer, size_t index)
{
    return index < answer->reply.warnings_count ? answer->warnings[index] : NULL;
}
