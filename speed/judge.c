#include "speed/judge.h"

#include "speed/convert.h"
#include "common/block/key.h"

#include <inttypes.h>
#include <stdio.h>

/* Why a row does not count; with the column index it makes a row's code. */
enum row_fault {
    FAULT_NONE,
    FAULT_DUPLICATE,
    FAULT_RAW,
    FAULT_NULL,
    FAULT_FUTURE,
    FAULT_PAST,
    FAULT_CHECK,
};
#define CODE_OF(fault, column) ((uint16_t)((unsigned)(fault) << 12 | (unsigned)(column)))
_Static_assert(AB_CATALOG_COLUMNS_MAX <= 4096, "a column index fits below the fault");

/* One block being judged. */
struct judge {
    const struct ab_bound *bound;
    const struct ab_judge_rules *rules;
    struct ab_arena *arena;
    uint32_t rows_count;
    uint16_t *codes; /* in the arena; NULL until some row is at fault */
};

/* ---- binding ---- */

static ab_err unknown_column(const struct ab_block *block, const struct ab_stream *stream, struct ab_error *error)
{
    for (uint32_t c = 0; c < block->columns_count; c++) {
        struct ab_bytes name = block->columns[c].name;
        if (ab_stream_column_index(stream, name) < 0) {
            return ab_error_set(error, AB_INVALID, "stream %s has no column %.*s", stream->name, (int)name.bytes,
                (const char *)name.data);
        }
    }
    return ab_error_set(error, AB_INVALID, "stream %s: a column stands in the block twice", stream->name);
}

static ab_err bind_raw(const struct ab_bound *bound, struct ab_error *error)
{
    const struct ab_column *raw = ab_block_find(&bound->block, ab_bytes_of_text("raw"));
    const struct ab_column *reason = ab_block_find(&bound->block, ab_bytes_of_text("reason"));
    bool is_right = bound->block.columns_count == 2 && raw != NULL && reason != NULL &&
                    raw->type.kind == AB_TYPE_TEXT && reason->type.kind == AB_TYPE_TEXT;
    return is_right ? AB_OK
                    : ab_error_set(error, AB_INVALID, "a raw block has the TEXT columns raw and reason, nothing else");
}

static ab_err convert_one(const struct ab_column *column, const struct ab_stream_column *declared,
    struct ab_arena *arena, const struct ab_column **result, struct ab_error *error)
{
    struct ab_column *converted = ab_arena_zalloc(arena, sizeof(*converted));
    ab_err err = converted == NULL ? AB_FULL : ab_convert_column(column, declared->type, arena, converted);
    if (err == AB_FULL) {
        return ab_error_set(error, AB_FULL, "no memory to convert column %s", declared->name);
    }
    if (err != AB_OK) {
        char given[AB_TYPE_TEXT_BYTES];
        char wanted[AB_TYPE_TEXT_BYTES];
        return ab_error_set(error, AB_INVALID, "column %s is %s, the block has %s%s", declared->name,
            ab_type_format(declared->type, wanted), ab_type_format(column->type, given),
            err == AB_OVERFLOW ? " with values that do not convert exactly" : "");
    }
    *result = converted;
    return AB_OK;
}

/* Encodes the block with its converted columns, so that the log holds declared types. */
static ab_err encode_again(
    struct ab_bound *bound, const struct ab_column **columns, struct ab_arena *arena, struct ab_error *error)
{
    struct ab_block_column *renewed = ab_arena_zalloc(arena, bound->block.columns_count * sizeof(*renewed));
    if (renewed == NULL) {
        return ab_error_set(error, AB_FULL, "no memory to encode a converted block");
    }
    for (uint32_t c = 0; c < bound->block.columns_count; c++) {
        renewed[c].name = bound->block.columns[c].name;
        renewed[c].column = *columns[ab_stream_column_index(bound->stream, renewed[c].name)];
    }
    bound->block.columns = renewed;
    struct ab_buffer encoded = {0};
    ab_err err = ab_block_encode(&bound->block, AB_BLOCK_PLAIN, &encoded);
    if (err == AB_OK) {
        bound->body = ab_arena_copy(arena, ab_buffer_view(&encoded));
        err = bound->body.data == NULL ? AB_FULL : AB_OK;
    }
    ab_buffer_fini(&encoded);
    return err == AB_OK ? AB_OK : ab_error_set(error, err, "encode the converted block");
}

static ab_err bind_columns(struct ab_bound *bound, struct ab_arena *arena, struct ab_error *error)
{
    const struct ab_stream *stream = bound->stream;
    const struct ab_column **columns = ab_arena_zalloc(arena, stream->columns_count * sizeof(*columns));
    if (columns == NULL) {
        return ab_error_set(error, AB_FULL, "no memory to bind a block");
    }
    uint32_t found = 0;
    bool is_converted = false;
    for (uint32_t c = 0; c < stream->columns_count; c++) {
        const struct ab_stream_column *declared = &stream->columns[c];
        columns[c] = ab_block_find(&bound->block, ab_bytes_of_text(declared->name));
        found += columns[c] != NULL;
        if (columns[c] != NULL && !ab_type_equal(columns[c]->type, declared->type)) {
            AB_TRY(convert_one(columns[c], declared, arena, &columns[c], error));
            is_converted = true;
        }
    }
    if (found != bound->block.columns_count) {
        return unknown_column(&bound->block, stream, error);
    }
    bound->columns = columns;
    return is_converted ? encode_again(bound, columns, arena, error) : AB_OK;
}

ab_err ab_judge_bind(struct ab_bytes payload, const struct ab_catalog *catalog, struct ab_arena *arena,
    struct ab_bound *bound, struct ab_error *error)
{
    *bound = (struct ab_bound){.body = payload};
    AB_TRY(ab_block_decode(payload, arena, &bound->block, error));
    bound->stream = ab_catalog_stream(catalog, bound->block.stream);
    if (bound->stream == NULL) {
        return ab_error_set(error, AB_INVALID, "there is no stream %.*s in the catalog (version %" PRIu64 ")",
            (int)bound->block.stream.bytes, (const char *)bound->block.stream.data, catalog->version);
    }
    return bound->block.is_raw ? bind_raw(bound, error) : bind_columns(bound, arena, error);
}

/* ---- judging rows ---- */

/* The array of codes, made when the first row is at fault. */
static uint16_t *judge_codes(struct judge *judge)
{
    if (judge->codes == NULL) {
        judge->codes = ab_arena_zalloc(judge->arena, judge->rows_count * sizeof(*judge->codes));
    }
    return judge->codes;
}

/* Marks rows whose flag equals `wanted`, keeping what an earlier rule said. */
static ab_err mark_where(struct judge *judge, const uint8_t *flags, uint8_t wanted, uint16_t code)
{
    if (memchr(flags, wanted, judge->rows_count) == NULL) {
        return AB_OK;
    }
    uint16_t *codes = judge_codes(judge);
    if (codes == NULL) {
        return AB_FULL;
    }
    for (uint32_t row = 0; row < judge->rows_count; row++) {
        codes[row] = codes[row] == 0 && flags[row] == wanted ? code : codes[row];
    }
    return AB_OK;
}

static ab_err mark_rest(struct judge *judge, uint16_t code)
{
    uint16_t *codes = judge_codes(judge);
    if (codes == NULL) {
        return AB_FULL;
    }
    for (uint32_t row = 0; row < judge->rows_count; row++) {
        codes[row] = codes[row] == 0 ? code : codes[row];
    }
    return AB_OK;
}

static ab_err judge_duplicates(struct judge *judge)
{
    const uint64_t *positions = judge->bound->block.positions;
    uint64_t last = judge->rules->last_position;
    if (!judge->rules->has_mark || positions == NULL || positions[0] > last) {
        return AB_OK;
    }
    uint16_t *codes = judge_codes(judge);
    if (codes == NULL) {
        return AB_FULL;
    }
    for (uint32_t row = 0; row < judge->rows_count && positions[row] <= last; row++) {
        codes[row] = CODE_OF(FAULT_DUPLICATE, 0);
    }
    return AB_OK;
}

static ab_err judge_nulls(struct judge *judge)
{
    const struct ab_stream *stream = judge->bound->stream;
    for (uint32_t c = 0; c < stream->columns_count; c++) {
        const struct ab_column *column = judge->bound->columns[c];
        if (!stream->columns[c].is_not_null) {
            continue;
        }
        if (column == NULL) {
            AB_TRY(mark_rest(judge, CODE_OF(FAULT_NULL, c)));
        } else if (column->nulls != NULL) {
            AB_TRY(mark_where(judge, column->nulls, 1, CODE_OF(FAULT_NULL, c)));
        }
    }
    return AB_OK;
}

static int64_t bound_add(int64_t time, int64_t delta)
{
    int64_t sum;
    if (__builtin_add_overflow(time, delta, &sum)) {
        return delta < 0 ? INT64_MIN : INT64_MAX;
    }
    return sum;
}

static ab_err judge_event_times(struct judge *judge)
{
    const struct ab_stream *stream = judge->bound->stream;
    const struct ab_column *column = judge->bound->columns[stream->event_time_column];
    if (column == NULL) {
        return AB_OK; /* NOT NULL has spoken already */
    }
    int64_t latest = bound_add(judge->rules->append_time_us, stream->future_bound_us);
    int64_t earliest =
        stream->past_bound_us == 0 ? INT64_MIN : bound_add(judge->rules->append_time_us, -stream->past_bound_us);
    const int64_t *times = column->values;
    int64_t least = INT64_MAX;
    int64_t most = INT64_MIN;
    for (uint32_t row = 0; row < judge->rows_count; row++) {
        least = times[row] < least ? times[row] : least;
        most = times[row] > most ? times[row] : most;
    }
    if (least >= earliest && most <= latest) {
        return AB_OK;
    }
    uint16_t *codes = judge_codes(judge);
    if (codes == NULL) {
        return AB_FULL;
    }
    for (uint32_t row = 0; row < judge->rows_count; row++) {
        if (codes[row] == 0 && (times[row] > latest || times[row] < earliest)) {
            codes[row] = CODE_OF(times[row] > latest ? FAULT_FUTURE : FAULT_PAST, stream->event_time_column);
        }
    }
    return AB_OK;
}

static ab_err judge_checks(struct judge *judge)
{
    const struct ab_stream *stream = judge->bound->stream;
    for (uint32_t c = 0; c < stream->columns_count; c++) {
        if (stream->columns[c].check == NULL) {
            continue;
        }
        struct ab_column result;
        AB_TRY(ab_expression_evaluate(
            stream->columns[c].check, judge->bound->columns, judge->rows_count, judge->arena, &result, NULL));
        const uint8_t *holds = result.values;
        if (memchr(holds, 0, judge->rows_count) == NULL) {
            continue;
        }
        uint16_t *codes = judge_codes(judge);
        if (codes == NULL) {
            return AB_FULL;
        }
        for (uint32_t row = 0; row < judge->rows_count; row++) {
            bool is_false = holds[row] == 0 && !ab_column_is_null(&result, row); /* NULL passes, as in SQL */
            codes[row] = codes[row] == 0 && is_false ? CODE_OF(FAULT_CHECK, c) : codes[row];
        }
    }
    return AB_OK;
}

static bool has_null_key(const struct judge *judge, const struct ab_column *const *keys, uint32_t row)
{
    for (uint32_t k = 0; k < judge->bound->stream->partition_columns_count; k++) {
        if (ab_column_is_null(keys[k], row)) {
            return true;
        }
    }
    return false;
}

/* Every row whose key is whole must hash to this partition. */
static ab_err judge_routes(struct judge *judge, struct ab_error *error)
{
    const struct ab_stream *stream = judge->bound->stream;
    uint32_t keys_count = stream->partition_columns_count;
    const struct ab_column **keys = ab_arena_alloc(judge->arena, keys_count * sizeof(*keys));
    uint64_t *hashes = ab_arena_alloc(judge->arena, judge->rows_count * sizeof(*hashes));
    if (keys == NULL || hashes == NULL) {
        return AB_FULL;
    }
    for (uint32_t k = 0; k < keys_count; k++) {
        keys[k] = judge->bound->columns[stream->partition_columns[k]];
        if (keys[k] == NULL) {
            return AB_OK; /* all rows lack it and are rejected */
        }
    }
    AB_TRY(ab_key_partition_hashes(keys, keys_count, judge->rows_count, hashes));
    for (uint32_t row = 0; row < judge->rows_count; row++) {
        uint64_t partition = hashes[row] % judge->rules->partitions_count;
        if (partition != judge->rules->partition && !has_null_key(judge, keys, row)) {
            return ab_error_set(error, AB_INVALID,
                "row %u of stream %s belongs to partition %" PRIu64 ", the block was sent to %u", row, stream->name,
                partition, judge->rules->partition);
        }
    }
    return AB_OK;
}

static ab_err judge_typed(struct judge *judge, struct ab_error *error)
{
    if (judge->rules->partitions_count > 1) {
        AB_TRY(judge_routes(judge, error));
    }
    AB_TRY(judge_nulls(judge));
    AB_TRY(judge_event_times(judge));
    return judge_checks(judge);
}

/* ---- the verdict ---- */

static struct ab_bytes reason_raw(const struct judge *judge, uint32_t row)
{
    const struct ab_column *reason = ab_block_find(&judge->bound->block, ab_bytes_of_text("reason"));
    struct ab_value value = ab_column_value(reason, row);
    return value.is_null ? ab_bytes_of_text("no reason given") : value.text;
}

/* Formats a typed row's reason into the buffer. */
static void reason_typed(const struct judge *judge, uint32_t row, uint16_t code, struct ab_buffer *out)
{
    uint32_t c = code & 0xfffu;
    const struct ab_stream_column *declared = &judge->bound->stream->columns[c];
    const struct ab_column *column = judge->bound->columns[c];
    ab_buffer_put_format(out, "column %s: ", declared->name);
    if (code >> 12 == FAULT_NULL) {
        ab_buffer_put_format(out, "NULL where NOT NULL is declared");
        return;
    }
    struct ab_value value = column == NULL ? (struct ab_value){.is_null = true} : ab_column_value(column, row);
    if (value.type.kind == AB_TYPE_TEXT && !value.is_null && value.text.bytes > 80) {
        value.text.bytes = 80; /* cut at a whole character */
        while (value.text.bytes > 0 && (value.text.data[value.text.bytes] & 0xc0) == 0x80) {
            value.text.bytes--;
        }
    }
    if (value.is_null) {
        ab_buffer_put_format(out, "NULL");
    } else {
        ab_value_format(&value, out);
    }
    if (code >> 12 == FAULT_CHECK) {
        ab_buffer_put_format(out, " fails CHECK (%s)", declared->check_text == NULL ? "?" : declared->check_text);
        return;
    }
    bool is_future = code >> 12 == FAULT_FUTURE;
    char time[AB_TIME_TEXT_BYTES];
    ab_buffer_put_format(out, " lies more than max_%s %s the append time %s", is_future ? "future" : "past",
        is_future ? "after" : "before", ab_time_format(judge->rules->append_time_us, time));
}

static ab_err verdict_row(struct judge *judge, uint32_t row, struct ab_buffer *text, struct ab_verdict_builder *verdict,
    struct ab_judged *judged, struct ab_wire_rejected *rejected_rows)
{
    uint16_t code = judge->codes[row];
    if (code >> 12 == FAULT_DUPLICATE) {
        ab_verdict_builder_add(verdict, row, AB_DECISION_DUPLICATE, ab_bytes_of(NULL, 0));
        judged->duplicates++;
        return AB_OK;
    }
    struct ab_bytes reason;
    if (code >> 12 == FAULT_RAW) {
        reason = reason_raw(judge, row);
    } else {
        ab_buffer_clear(text);
        reason_typed(judge, row, code, text);
        reason = ab_buffer_view(text);
    }
    ab_verdict_builder_add(verdict, row, AB_DECISION_REJECTED, reason);
    judged->rejected++;
    if (judged->rejected_rows_count < AB_PRODUCE_REJECTED_MAX) {
        reason.bytes = reason.bytes < AB_REASON_BYTES_MAX ? reason.bytes : AB_REASON_BYTES_MAX;
        struct ab_bytes copy = ab_arena_copy(judge->arena, reason);
        if (copy.data == NULL) {
            return AB_FULL;
        }
        rejected_rows[judged->rejected_rows_count++] = (struct ab_wire_rejected){.row = row, .reason = copy};
    }
    return AB_OK;
}

static ab_err verdict_build(struct judge *judge, struct ab_verdict_builder *verdict, struct ab_judged *judged)
{
    uint8_t *skip = ab_arena_zalloc(judge->arena, judge->rows_count);
    struct ab_wire_rejected *rows = ab_arena_alloc(judge->arena, AB_PRODUCE_REJECTED_MAX * sizeof(*rows));
    if (skip == NULL || rows == NULL) {
        return AB_FULL;
    }
    judged->skip = skip;
    judged->rejected_rows = rows;
    struct ab_buffer text = {0};
    ab_err err = AB_OK;
    for (uint32_t row = 0; row < judge->rows_count && err == AB_OK; row++) {
        if (judge->codes[row] != 0) {
            skip[row] = 1;
            err = verdict_row(judge, row, &text, verdict, judged, rows);
        }
    }
    ab_buffer_fini(&text);
    return err;
}

ab_err ab_judge_rows(const struct ab_bound *bound, const struct ab_judge_rules *rules, struct ab_arena *arena,
    struct ab_verdict_builder *verdict, struct ab_judged *judged, struct ab_error *error)
{
    struct judge judge = {.bound = bound, .rules = rules, .arena = arena, .rows_count = bound->block.rows_count};
    *judged = (struct ab_judged){0};
    ab_verdict_builder_clear(verdict);
    ab_err err = judge_duplicates(&judge);
    if (err == AB_OK) {
        err = bound->block.is_raw ? mark_rest(&judge, CODE_OF(FAULT_RAW, 0)) : judge_typed(&judge, error);
    }
    if (err == AB_OK && judge.codes != NULL) {
        err = verdict_build(&judge, verdict, judged);
    }
    if (err == AB_FULL) {
        return ab_error_set(error, AB_FULL, "no memory to judge a block of %u rows", judge.rows_count);
    }
    judged->accepted = judge.rows_count - judged->rejected - judged->duplicates;
    return err;
}
