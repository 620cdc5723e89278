#include "common/client/client_private.h"

#include "common/base/json.h"
#include "common/base/random.h"
#include "common/block/block.h"
#include "common/block/key.h"

#include <inttypes.h>

#define BLOCK_ROWS_DEFAULT 8192u
#define BLOCK_BYTES_TARGET (1u << 20)
#define ROW_BYTES_MAX (4u << 20) /* a block of one such row is well below AB_BLOCK_BYTES_MAX */
#define RAW_BYTES_MAX (64u << 10)
#define REASON_BYTES_MAX 1024u
#define STEP_EVERY_US (500 * INT64_C(1))
/* Share of the memory bound for rows that are not in a block yet. */
#define GATHERED_SHARE 4u
#define LINGER_MS_DEFAULT 100u
#define MARKS_TRY_MS 1000 /* then it is asked again where speed is */
#define MARKS_PAUSE_MS 50
#define MEMORY_BYTES_DEFAULT (64u << 20)
#define DEADLINE_MS_DEFAULT 120000

/* Rows gathered for one partition: typed ones, or raw ones (never both in a block, so that positions rise). */
struct gathering {
    struct ab_column_builder **columns; /* owned; stream columns, or raw and reason */
    uint32_t columns_count;
    uint64_t *positions; /* owned, block_rows of them; without a source the rows' numbers since opening */
    uint32_t rows_count;
    size_t bytes;
    int64_t oldest_us; /* monotonic */
};

struct partition_gathering {
    struct gathering typed;
    struct gathering raw;
    uint64_t counted_position; /* rows of the source up to here are durable in this partition */
};

struct anabranch_producer {
    struct anabranch_client *client; /* borrowed */
    const struct ab_stream *stream;  /* borrowed from the catalog reference below */
    struct ab_catalog *catalog;      /* owned reference */
    char *source;                    /* owned; NULL = none */
    uint64_t producer_id;
    uint32_t block_rows;
    int64_t linger_us;
    struct partition_gathering *partitions; /* owned, partitions_count of them */
    uint32_t partitions_count;
    struct client_sender *sender; /* owned */
    size_t memory_bytes;
    size_t gathered_bytes;   /* in all gatherings */
    int64_t linger_until_us; /* no gathering is due before; INT64_MAX = all are empty */
    int64_t stepped_us;
    struct anabranch_counts counts;
    struct ab_value *row;      /* owned; the row being built */
    struct ab_arena row_arena; /* its texts */
    struct ab_buffer key;
    struct anabranch_source_mark *marks; /* owned */
    size_t marks_count;
    uint64_t last_position; /* appended last, any partition */
    uint64_t byte_offset;
    anabranch_prefix_hash_fn prefix_hash;
    void *prefix_hash_context;
};

static void gathering_fini(struct gathering *gathering)
{
    for (uint32_t c = 0; c < gathering->columns_count; c++) {
        ab_column_builder_destroy(gathering->columns[c]);
    }
    ab_delete(gathering->columns);
    ab_delete(gathering->positions);
    *gathering = (struct gathering){0};
}

static void gathering_prepare(struct anabranch_producer *producer, struct gathering *gathering, bool is_raw)
{
    if (gathering->columns != NULL) {
        return;
    }
    static const struct ab_type text = {.kind = AB_TYPE_TEXT};
    gathering->columns_count = is_raw ? 2 : producer->stream->columns_count;
    gathering->columns = ab_new_array(struct ab_column_builder *, gathering->columns_count);
    for (uint32_t c = 0; c < gathering->columns_count; c++) {
        struct ab_type type = is_raw ? text : producer->stream->columns[c].type;
        gathering->columns[c] = ab_column_builder_create(type, producer->block_rows, NULL);
    }
    gathering->positions = ab_new_array(uint64_t, producer->block_rows);
}

/* Rows change something, so what is not unknown is definitely not done. */
static enum anabranch_result producer_result(ab_err err)
{
    enum anabranch_result result = client_result_of(err);
    return result == ANABRANCH_TIMEOUT ? ANABRANCH_DEFINITELY_NOT : result;
}

/* ---- opening ---- */

/* Marks being asked for: of which partitions they are known. */
struct marks_asked {
    struct anabranch_producer *producer;
    struct ab_bytes payload;
    bool *is_known; /* owned; by partition */
};

/* A node says which of its partitions it has answered for; the only one has for all. */
static void marks_note_known(struct marks_asked *asked, const struct ab_json *reply)
{
    const struct ab_json *list = ab_json_get(reply, "partitions");
    uint32_t count = list == NULL ? asked->producer->partitions_count : (uint32_t)ab_json_count(list);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t partition = list == NULL ? i : ab_json_u64_or(ab_json_at(list, i), UINT64_MAX);
        if (partition < asked->producer->partitions_count) {
            asked->is_known[partition] = true;
        }
    }
}

static ab_err mark_read(struct marks_asked *asked, const struct ab_json *entry)
{
    struct anabranch_producer *producer = asked->producer;
    uint64_t partition = ab_json_u64_or(ab_json_get(entry, "partition"), UINT64_MAX);
    struct ab_hash128 hash = {0};
    if (partition >= producer->partitions_count ||
        ab_hash128_parse(ab_json_bytes(ab_json_get(entry, "prefix_hash")), &hash) != AB_OK) {
        return ab_error_set(&producer->client->error, AB_INVALID, "malformed source mark in the server's answer");
    }
    if (asked->is_known[partition] || producer->marks_count == producer->partitions_count) {
        return AB_OK; /* another leader has said so already */
    }
    struct anabranch_source_mark *mark = &producer->marks[producer->marks_count++];
    mark->partition = (uint32_t)partition;
    mark->last_position = ab_json_u64_or(ab_json_get(entry, "last_position"), 0);
    mark->byte_offset = ab_json_u64_or(ab_json_get(entry, "byte_offset"), 0);
    memcpy(mark->prefix_hash, &hash.low, 8);
    memcpy(mark->prefix_hash + 8, &hash.high, 8);
    producer->partitions[partition].counted_position = mark->last_position;
    return AB_OK;
}

static ab_err marks_read(struct marks_asked *asked, struct ab_bytes payload)
{
    struct ab_json *reply = NULL;
    AB_TRY(ab_json_parse(payload, &reply, &asked->producer->client->error));
    const struct ab_json *list = ab_json_get(reply, "marks");
    ab_err err = AB_OK;
    for (size_t i = 0; i < ab_json_count(list) && err == AB_OK; i++) {
        err = mark_read(asked, ab_json_at(list, i));
    }
    if (err == AB_OK) {
        marks_note_known(asked, reply);
    }
    ab_json_destroy(reply);
    return err;
}

static bool is_worth_asking_again(ab_err err)
{
    return err == AB_TIMEOUT || err == AB_UNAVAILABLE || err == AB_AGAIN || err == AB_NETWORK;
}

/* Asks every leader once of which something is not known. AB_UNAVAILABLE, or what a leader said, when something is
 * unknown still. */
static ab_err marks_round(struct marks_asked *asked)
{
    struct anabranch_client *client = asked->producer->client;
    const struct ab_channel *failed = NULL;
    ab_err result = AB_OK;
    for (uint32_t p = 0; p < asked->producer->partitions_count; p++) {
        struct ab_channel *channel = client_sender_channel(asked->producer->sender, p);
        struct ab_answer answer = {0};
        if (asked->is_known[p] || (channel != NULL && channel == failed)) {
            continue;
        }
        ab_err err =
            channel == NULL
                ? ab_error_set(&client->error, AB_UNAVAILABLE, "no leader is known of partition %" PRIu32, p)
                : ab_channel_call(channel, AB_VERB_SOURCE_MARKS, asked->payload, MARKS_TRY_MS, &answer, &client->error);
        if (err == AB_OK) {
            err = marks_read(asked, answer.payload);
            ab_answer_free(&answer);
        }
        if (err == AB_OK && !asked->is_known[p]) {
            err = ab_error_set(&client->error, AB_UNAVAILABLE, "partition %" PRIu32 " is led by somebody else", p);
        }
        if (err != AB_OK && !is_worth_asking_again(err)) {
            return err;
        }
        failed = err == AB_OK ? failed : channel;
        result = err == AB_OK ? result : err;
    }
    return result;
}

/* Asks until every partition has answered; speed may be starting again, elsewhere, or leaders change. */
static ab_err marks_ask(struct marks_asked *asked)
{
    struct anabranch_client *client = asked->producer->client;
    int64_t until_us = ab_time_monotonic_us() + (int64_t)client->timeout_ms * AB_US_PER_MS;
    for (;;) {
        ab_err err = marks_round(asked);
        if (!is_worth_asking_again(err) || ab_time_monotonic_us() >= until_us) {
            return err;
        }
        ab_time_sleep_us(err == AB_TIMEOUT ? 0 : MARKS_PAUSE_MS * AB_US_PER_MS);
        struct ab_error before = client->error;
        client_sender_refresh(asked->producer->sender);
        client->error = before;
    }
}

/* Asks every partition how far it has counted the source. */
static ab_err marks_fetch(struct anabranch_producer *producer)
{
    struct ab_json *request = ab_json_object();
    ab_json_set(request, "stream", ab_json_text(producer->stream->name));
    ab_json_set(request, "source", ab_json_text(producer->source));
    struct ab_buffer text = {0};
    ab_json_write(request, 0, &text);
    ab_json_destroy(request);
    producer->marks = ab_new_array(struct anabranch_source_mark, producer->partitions_count);
    struct marks_asked asked = {.producer = producer,
        .payload = ab_buffer_view(&text),
        .is_known = ab_new_array(bool, producer->partitions_count)};
    ab_err err = marks_ask(&asked);
    ab_delete(asked.is_known);
    ab_buffer_fini(&text);
    return err;
}

/* Opens the way to speed; while it is starting, nobody knows yet where it answers. */
static ab_err sender_open(struct anabranch_producer *producer, const struct client_sender_options *options)
{
    struct anabranch_client *client = producer->client;
    int64_t until_us = ab_time_monotonic_us() + (int64_t)client->timeout_ms * AB_US_PER_MS;
    for (;;) {
        ab_err err = client_sender_create(client, options, &producer->counts, &producer->sender);
        if (err != AB_UNAVAILABLE || ab_time_monotonic_us() >= until_us) {
            return err;
        }
        struct ab_error before = client->error;
        ab_time_sleep_us(MARKS_PAUSE_MS * AB_US_PER_MS);
        ab_err_ignore(client_refresh(client, MARKS_TRY_MS)); /* else it is tried again with what is known */
        client->error = before;
    }
}

static ab_err producer_set_up(struct anabranch_producer *producer, const struct anabranch_producer_options *options)
{
    struct anabranch_client *client = producer->client;
    producer->stream = ab_catalog_stream(producer->catalog, ab_bytes_of_text(options->stream));
    if (producer->stream == NULL) {
        return ab_error_set(&client->error, AB_NOT_FOUND, "no stream is named %s in the catalog", options->stream);
    }
    producer->partitions_count = client->partitions_count;
    producer->partitions = ab_new_array(struct partition_gathering, producer->partitions_count);
    producer->row = ab_new_array(struct ab_value, producer->stream->columns_count);
    for (uint32_t c = 0; c < producer->stream->columns_count; c++) {
        producer->row[c] = (struct ab_value){.type = producer->stream->columns[c].type, .is_null = true};
    }
    producer->memory_bytes = options->memory_bytes == 0 ? MEMORY_BYTES_DEFAULT : options->memory_bytes;
    const struct client_sender_options sender = {
        .memory_bytes = producer->memory_bytes - producer->memory_bytes / GATHERED_SHARE,
        .deadline_ms = options->deadline_ms <= 0 ? DEADLINE_MS_DEFAULT : options->deadline_ms};
    AB_TRY(sender_open(producer, &sender));
    return producer->source == NULL ? AB_OK : marks_fetch(producer);
}

static void producer_destroy(struct anabranch_producer *producer)
{
    for (uint32_t p = 0; p < producer->partitions_count; p++) {
        gathering_fini(&producer->partitions[p].typed);
        gathering_fini(&producer->partitions[p].raw);
    }
    client_sender_destroy(producer->sender);
    ab_arena_fini(&producer->row_arena);
    ab_buffer_fini(&producer->key);
    ab_catalog_release(producer->catalog);
    ab_delete(producer->partitions);
    ab_delete(producer->row);
    ab_delete(producer->marks);
    ab_delete(producer->source);
    ab_delete(producer);
}

enum anabranch_result anabranch_producer_open(struct anabranch_client *client,
    const struct anabranch_producer_options *options, struct anabranch_producer **producer)
{
    if (client == NULL || options == NULL || producer == NULL || options->stream == NULL || !client->is_open) {
        return ANABRANCH_USAGE;
    }
    struct anabranch_producer *made = ab_new(struct anabranch_producer);
    made->client = client;
    made->catalog = ab_catalog_acquire(client->catalog);
    made->producer_id = ab_random_id();
    made->linger_until_us = INT64_MAX;
    made->source = options->source == NULL ? NULL : ab_new_text(options->source);
    made->block_rows = options->block_rows == 0 ? BLOCK_ROWS_DEFAULT : options->block_rows;
    made->block_rows = made->block_rows > AB_BLOCK_ROWS_MAX ? AB_BLOCK_ROWS_MAX : made->block_rows;
    made->linger_us = (int64_t)(options->linger_ms == 0 ? LINGER_MS_DEFAULT : options->linger_ms) * AB_US_PER_MS;
    ab_arena_init(&made->row_arena, NULL, 0);
    ab_err err = producer_set_up(made, options);
    if (err != AB_OK) {
        producer_destroy(made);
        return client_result_of(err);
    }
    *producer = made;
    return ANABRANCH_OK;
}

/* ---- building a row ---- */

const char *anabranch_producer_column(const struct anabranch_producer *producer, uint32_t column,
    enum anabranch_type *type, uint8_t *precision, uint8_t *scale)
{
    if (column >= producer->stream->columns_count) {
        return NULL;
    }
    const struct ab_stream_column *found = &producer->stream->columns[column];
    *type = (enum anabranch_type)found->type.kind;
    *precision = found->type.precision;
    *scale = found->type.scale;
    return found->name;
}

void anabranch_set_null(struct anabranch_producer *producer, uint32_t column)
{
    if (column < producer->stream->columns_count) {
        producer->row[column].is_null = true;
    }
}

/* Puts a value of a kind into the row; the column's own precision and scale stay. */
static enum anabranch_result row_set(struct anabranch_producer *producer, uint32_t column, struct ab_value value)
{
    if (column >= producer->stream->columns_count || producer->row[column].type.kind != value.type.kind) {
        (void)ab_error_set(&producer->client->error, AB_USAGE, "column %" PRIu32 " does not have that type", column);
        return ANABRANCH_USAGE;
    }
    value.type = producer->row[column].type;
    producer->row[column] = value;
    return ANABRANCH_OK;
}

enum anabranch_result anabranch_set_boolean(struct anabranch_producer *producer, uint32_t column, bool value)
{
    return row_set(producer, column, (struct ab_value){.type = {.kind = AB_TYPE_BOOLEAN}, .boolean = value});
}

enum anabranch_result anabranch_set_bigint(struct anabranch_producer *producer, uint32_t column, int64_t value)
{
    return row_set(producer, column, (struct ab_value){.type = {.kind = AB_TYPE_BIGINT}, .bigint = value});
}

enum anabranch_result anabranch_set_double(struct anabranch_producer *producer, uint32_t column, double value)
{
    return row_set(producer, column, (struct ab_value){.type = {.kind = AB_TYPE_DOUBLE}, .real = value});
}

enum anabranch_result anabranch_set_timestamp(
    struct anabranch_producer *producer, uint32_t column, int64_t microseconds)
{
    return row_set(producer, column, (struct ab_value){.type = {.kind = AB_TYPE_TIMESTAMP}, .bigint = microseconds});
}

enum anabranch_result anabranch_set_text(
    struct anabranch_producer *producer, uint32_t column, const char *text, size_t bytes)
{
    struct ab_value value = {.type = {.kind = AB_TYPE_TEXT}, .is_null = true};
    enum anabranch_result result = row_set(producer, column, value);
    if (result != ANABRANCH_OK) {
        return result;
    }
    if (!ab_bytes_is_utf8(ab_bytes_of(text, bytes))) {
        (void)ab_error_set(&producer->client->error, AB_INVALID, "column %s: the text is not UTF-8",
            producer->stream->columns[column].name);
        return ANABRANCH_DEFINITELY_NOT;
    }
    value.is_null = false;
    value.text = ab_arena_copy(&producer->row_arena, ab_bytes_of(text, bytes));
    return row_set(producer, column, value);
}

enum anabranch_result anabranch_set_parsed(
    struct anabranch_producer *producer, uint32_t column, const char *text, size_t bytes)
{
    if (column >= producer->stream->columns_count) {
        return ANABRANCH_USAGE;
    }
    const struct ab_stream_column *target = &producer->stream->columns[column];
    if (target->type.kind == AB_TYPE_TEXT) {
        return anabranch_set_text(producer, column, text, bytes);
    }
    struct ab_value value = {0};
    ab_err err = ab_value_parse(target->type, ab_bytes_of(text, bytes), &value);
    if (err != AB_OK) {
        char name[AB_TYPE_TEXT_BYTES];
        (void)ab_error_set(&producer->client->error, err, "column %s: \"%.*s\" %s %s", target->name,
            bytes > 60 ? 60 : (int)bytes, text, err == AB_OVERFLOW ? "does not fit" : "is not a",
            ab_type_format(target->type, name));
        return ANABRANCH_DEFINITELY_NOT;
    }
    producer->row[column] = value;
    return ANABRANCH_OK;
}

static void row_reset(struct anabranch_producer *producer)
{
    for (uint32_t c = 0; c < producer->stream->columns_count; c++) {
        producer->row[c].is_null = true;
    }
    ab_arena_reset(&producer->row_arena);
}

/* ---- gathering and sealing blocks ---- */

static void mark_fill(
    const struct anabranch_producer *producer, const struct gathering *gathering, struct ab_block *block)
{
    block->positions = gathering->positions;
    block->mark.source = ab_bytes_of_text(producer->source);
    block->mark.first_position = gathering->positions[0];
    block->mark.last_position = gathering->positions[gathering->rows_count - 1];
    if (producer->prefix_hash != NULL) {
        uint8_t hash[16];
        producer->prefix_hash(producer->prefix_hash_context, hash);
        block->mark.byte_offset = producer->byte_offset;
        memcpy(&block->mark.prefix_hash.low, hash, 8);
        memcpy(&block->mark.prefix_hash.high, hash + 8, 8);
    }
}

static void gathering_clear(struct anabranch_producer *producer, struct gathering *gathering)
{
    for (uint32_t c = 0; c < gathering->columns_count; c++) {
        ab_column_builder_clear(gathering->columns[c]);
    }
    producer->gathered_bytes -= gathering->bytes;
    gathering->rows_count = 0;
    gathering->bytes = 0;
}

/* Makes a block of what was gathered and gives it to the sender. */
static ab_err gathering_seal(
    struct anabranch_producer *producer, struct gathering *gathering, uint32_t partition, bool is_raw)
{
    if (gathering->rows_count == 0) {
        return AB_OK;
    }
    static const char *const raw_names[2] = {"raw", "reason"};
    struct ab_block_column *columns = ab_new_array(struct ab_block_column, gathering->columns_count);
    for (uint32_t c = 0; c < gathering->columns_count; c++) {
        columns[c].name = ab_bytes_of_text(is_raw ? raw_names[c] : producer->stream->columns[c].name);
        ab_column_builder_view(gathering->columns[c], &columns[c].column);
    }
    struct client_outgoing outgoing = {.partition = partition,
        .rows_count = gathering->rows_count,
        .sequence = client_sender_next_sequence(producer->sender, partition)};
    struct ab_block block = {.stream = ab_bytes_of_text(producer->stream->name),
        .producer_id = producer->producer_id,
        .sequence = outgoing.sequence,
        .partition = partition,
        .rows_count = gathering->rows_count,
        .is_raw = is_raw,
        .columns_count = gathering->columns_count,
        .columns = columns};
    if (producer->source != NULL) {
        mark_fill(producer, gathering, &block);
    }
    ab_err err = ab_block_encode(&block, AB_BLOCK_PLAIN, &outgoing.encoded);
    ab_delete(columns);
    if (err != AB_OK) {
        ab_buffer_fini(&outgoing.encoded);
        gathering_clear(producer, gathering);
        producer->counts.refused += block.rows_count;
        client_sender_note_error(producer->sender, err, "a block could not be encoded");
        return ab_error_set(&producer->client->error, err, "a block could not be encoded: %s", ab_err_text(err));
    }
    outgoing.positions = ab_new_array(uint64_t, gathering->rows_count);
    memcpy(outgoing.positions, gathering->positions, gathering->rows_count * sizeof(uint64_t));
    gathering_clear(producer, gathering);
    client_sender_take(producer->sender, &outgoing);
    return AB_OK;
}

/* What a row of values takes, about. */
static size_t values_bytes(const struct ab_value *values, uint32_t count)
{
    size_t bytes = sizeof(uint64_t);
    for (uint32_t c = 0; c < count; c++) {
        bytes += values[c].type.kind == AB_TYPE_TEXT && !values[c].is_null ? values[c].text.bytes + 4 : 8;
    }
    return bytes;
}

/* Adds a row of values; seals when the block is large enough. */
static ab_err gathering_add(struct anabranch_producer *producer, uint32_t partition, bool is_raw,
    const struct ab_value *values, uint64_t position)
{
    struct partition_gathering *target = &producer->partitions[partition];
    struct gathering *gathering = is_raw ? &target->raw : &target->typed;
    struct gathering *other = is_raw ? &target->typed : &target->raw;
    if (producer->source != NULL) {
        AB_TRY(gathering_seal(producer, other, partition, !is_raw)); /* positions must rise within a partition */
    }
    gathering_prepare(producer, gathering, is_raw);
    size_t bytes = values_bytes(values, gathering->columns_count);
    if (gathering->bytes + bytes > 2 * BLOCK_BYTES_TARGET) {
        AB_TRY(gathering_seal(producer, gathering, partition, is_raw)); /* a large row goes alone */
    }
    if (gathering->rows_count == 0) {
        gathering->oldest_us = ab_time_monotonic_us();
        int64_t until_us = gathering->oldest_us + producer->linger_us;
        producer->linger_until_us = until_us < producer->linger_until_us ? until_us : producer->linger_until_us;
    }
    for (uint32_t c = 0; c < gathering->columns_count; c++) {
        AB_TRY(ab_column_builder_add(gathering->columns[c], &values[c]));
    }
    gathering->positions[gathering->rows_count++] = producer->source != NULL ? position : producer->counts.appended;
    gathering->bytes += bytes;
    producer->gathered_bytes += bytes;
    if (gathering->rows_count >= producer->block_rows || gathering->bytes >= BLOCK_BYTES_TARGET) {
        return gathering_seal(producer, gathering, partition, is_raw);
    }
    return AB_OK;
}

/* Sends what has waited long enough, or everything. */
static ab_err producer_seal_due(struct anabranch_producer *producer, int64_t now, bool is_all)
{
    ab_err result = AB_OK;
    if (!is_all && now < producer->linger_until_us) {
        return AB_OK;
    }
    producer->linger_until_us = INT64_MAX;
    for (uint32_t p = 0; p < producer->partitions_count; p++) {
        struct partition_gathering *partition = &producer->partitions[p];
        for (int is_raw = 0; is_raw < 2; is_raw++) {
            struct gathering *gathering = is_raw ? &partition->raw : &partition->typed;
            int64_t until_us = gathering->oldest_us + producer->linger_us;
            if (gathering->rows_count > 0 && (is_all || now >= until_us)) {
                ab_err err = gathering_seal(producer, gathering, p, is_raw != 0);
                result = result == AB_OK ? err : result;
            } else if (gathering->rows_count > 0 && until_us < producer->linger_until_us) {
                producer->linger_until_us = until_us;
            }
        }
    }
    return result;
}

/* Before a row is taken: sends what is due and waits for acknowledgements while the memory bound is reached. On an
 * error the row has not been taken. */
static ab_err producer_breathe(struct anabranch_producer *producer)
{
    int64_t now = ab_time_monotonic_us();
    bool is_much = producer->gathered_bytes >= producer->memory_bytes / GATHERED_SHARE;
    AB_TRY(producer_seal_due(producer, now, is_much));
    if (is_much || now - producer->stepped_us >= STEP_EVERY_US) {
        client_sender_step(producer->sender, 0);
        producer->stepped_us = now;
    }
    while (client_sender_is_full(producer->sender)) {
        client_sender_step(producer->sender, 50);
    }
    return AB_OK;
}

/* Partition of the row being built; false when a key column is NULL. */
static bool row_partition(struct anabranch_producer *producer, uint32_t *partition)
{
    ab_buffer_clear(&producer->key);
    for (uint32_t k = 0; k < producer->stream->partition_columns_count; k++) {
        const struct ab_value *value = &producer->row[producer->stream->partition_columns[k]];
        if (value->is_null) {
            return false;
        }
        ab_key_put(&producer->key, value);
    }
    uint64_t hash = ab_hash64(AB_HASH_PARTITION, ab_buffer_view(&producer->key));
    *partition = (uint32_t)(hash % producer->partitions_count);
    return true;
}

/* True when the row's partition has counted this position before. */
static bool row_is_counted(struct anabranch_producer *producer, uint32_t partition, uint64_t position)
{
    if (producer->source == NULL || position > producer->partitions[partition].counted_position) {
        return false;
    }
    producer->counts.duplicates++;
    return true;
}

static ab_err row_append(struct anabranch_producer *producer, uint32_t partition, bool is_raw,
    const struct ab_value *values, uint64_t position)
{
    producer->counts.appended++;
    if (row_is_counted(producer, partition, position)) {
        return AB_OK;
    }
    return gathering_add(producer, partition, is_raw, values, position);
}

/* What every append begins with. On an error the row is refused; *result says with what. */
static bool row_is_welcome(struct anabranch_producer *producer, uint64_t position, enum anabranch_result *result)
{
    struct anabranch_client *client = producer->client;
    if (producer->source != NULL && position <= producer->last_position) {
        (void)ab_error_set(&client->error, AB_USAGE, "position %" PRIu64 " does not rise above %" PRIu64, position,
            producer->last_position);
        *result = ANABRANCH_USAGE;
        return false;
    }
    ab_err err = producer_breathe(producer);
    err = err == AB_OK ? client_sender_error(producer->sender, &client->error) : err;
    if (err != AB_OK) {
        producer->counts.appended++;
        producer->counts.refused++;
        *result = ANABRANCH_DEFINITELY_NOT; /* whatever became of the block that failed, this row goes nowhere */
        return false;
    }
    producer->last_position = position;
    return true;
}

/* Appends text as UTF-8, at most bytes_max bytes and cut between characters; what is not UTF-8 becomes U+FFFD. */
static void text_put_clean(struct ab_buffer *out, struct ab_bytes text, size_t bytes_max)
{
    static const uint8_t replacement[3] = {0xef, 0xbf, 0xbd};
    while (text.bytes > 0) {
        size_t length = ab_bytes_utf8_next(text);
        struct ab_bytes put = length == 0 ? ab_bytes_of(replacement, 3) : ab_bytes_of(text.data, length);
        if (out->bytes + put.bytes > bytes_max) {
            return;
        }
        ab_buffer_put_bytes(out, put);
        length += length == 0;
        text = ab_bytes_of(text.data + length, text.bytes - length);
    }
}

static ab_err raw_append(
    struct anabranch_producer *producer, uint64_t position, struct ab_bytes text, const char *reason)
{
    const char *source = producer->source != NULL ? producer->source : producer->stream->name;
    uint64_t hash = ab_hash64(AB_HASH_SOURCE, ab_bytes_of_text(source));
    uint32_t partition = (uint32_t)(hash % producer->partitions_count);
    static const struct ab_type type = {.kind = AB_TYPE_TEXT};
    struct ab_buffer raw = {0};
    struct ab_buffer why = {0};
    text_put_clean(&raw, text, RAW_BYTES_MAX);
    text_put_clean(&why, ab_bytes_of_text(reason == NULL ? "" : reason), REASON_BYTES_MAX);
    struct ab_value values[2] = {
        {.type = type, .text = ab_buffer_view(&raw)}, {.type = type, .text = ab_buffer_view(&why)}};
    ab_err err = row_append(producer, partition, true, values, position);
    ab_buffer_fini(&why);
    ab_buffer_fini(&raw);
    return err;
}

/* The row being built as a dead letter: its values as text, in declared order. */
static ab_err row_append_as_raw(struct anabranch_producer *producer, uint64_t position, const char *reason)
{
    struct ab_buffer text = {0};
    for (uint32_t c = 0; c < producer->stream->columns_count && text.bytes < RAW_BYTES_MAX; c++) {
        ab_buffer_put_format(&text, "%s", c == 0 ? "" : ",");
        ab_value_format(&producer->row[c], &text);
    }
    ab_err err = raw_append(producer, position, ab_buffer_view(&text), reason);
    ab_buffer_fini(&text);
    return err;
}

enum anabranch_result anabranch_append(struct anabranch_producer *producer, uint64_t position)
{
    uint32_t partition = 0;
    enum anabranch_result result = ANABRANCH_OK;
    if (row_is_welcome(producer, position, &result)) {
        ab_err err = AB_OK;
        if (!row_partition(producer, &partition)) {
            err = row_append_as_raw(producer, position, "a partition key column is NULL");
        } else if (values_bytes(producer->row, producer->stream->columns_count) > ROW_BYTES_MAX) {
            err = row_append_as_raw(producer, position, "the row is larger than 4 MiB");
        } else {
            err = row_append(producer, partition, false, producer->row, position);
        }
        result = producer_result(err);
    }
    row_reset(producer);
    return result;
}

enum anabranch_result anabranch_append_raw(
    struct anabranch_producer *producer, uint64_t position, const char *text, size_t bytes, const char *reason)
{
    enum anabranch_result result = ANABRANCH_OK;
    if (row_is_welcome(producer, position, &result)) {
        result = producer_result(raw_append(producer, position, ab_bytes_of(text, bytes), reason));
    }
    row_reset(producer);
    return result;
}

void anabranch_source_progress(
    struct anabranch_producer *producer, uint64_t byte_offset, anabranch_prefix_hash_fn prefix_hash, void *context)
{
    producer->byte_offset = byte_offset;
    producer->prefix_hash = prefix_hash;
    producer->prefix_hash_context = context;
}

bool anabranch_source_mark_at(
    const struct anabranch_producer *producer, size_t index, struct anabranch_source_mark *mark)
{
    if (index >= producer->marks_count) {
        return false;
    }
    *mark = producer->marks[index];
    return true;
}

/* ---- sending ---- */

enum anabranch_result anabranch_poll(struct anabranch_producer *producer)
{
    ab_err err = producer_seal_due(producer, ab_time_monotonic_us(), false);
    client_sender_step(producer->sender, 0);
    return producer_result(err != AB_OK ? err : client_sender_error(producer->sender, &producer->client->error));
}

enum anabranch_result anabranch_flush(struct anabranch_producer *producer)
{
    ab_err err = producer_seal_due(producer, 0, true);
    while (client_sender_pending(producer->sender) > 0) {
        client_sender_step(producer->sender, 50);
    }
    return producer_result(err != AB_OK ? err : client_sender_error(producer->sender, &producer->client->error));
}

enum anabranch_result anabranch_producer_close(struct anabranch_producer *producer)
{
    if (producer == NULL) {
        return ANABRANCH_OK;
    }
    enum anabranch_result result = anabranch_flush(producer);
    producer_destroy(producer);
    return result;
}

void anabranch_producer_counts(const struct anabranch_producer *producer, struct anabranch_counts *counts)
{
    *counts = producer->counts;
}

void anabranch_on_rejected(struct anabranch_producer *producer, anabranch_on_rejected_fn on_rejected, void *context)
{
    client_sender_on_rejected(producer->sender, on_rejected, context);
}
