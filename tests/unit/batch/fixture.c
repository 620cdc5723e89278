#include "tests/unit/batch/fixture.h"

#include "common/aggregate/group_table.h"
#include "common/base/random.h"
#include "common/block/block.h"
#include "common/log/log.h"

#include <string.h>

#define COLUMNS 5u
#define BLOCK_ROWS 700u

static const char catalog_text[] =
    "CREATE STREAM payments (\n"
    "  user_name TEXT NOT NULL,\n"
    "  city TEXT,\n"
    "  amount DOUBLE,\n"
    "  cents DECIMAL(12, 2),\n"
    "  paid TIMESTAMP NOT NULL,\n"
    "  EVENT TIME paid,\n"
    "  PARTITION KEY (user_name)\n"
    ");\n"
    "CREATE VIEW by_user AS SELECT user_name, count(*) AS n, sum(amount) AS spent, min(cents) AS least, max(amount) AS "
    "most,\n"
    "  last(city) AS place FROM payments GROUP BY user_name, TUMBLE(paid, INTERVAL '1 hour') WITH (keep = '30 days');\n"
    "CREATE VIEW by_city AS SELECT city, count(*) AS n, sum(cents) AS spent, avg(amount) AS mean, "
    "count_distinct(user_name) AS users\n"
    "  FROM payments GROUP BY city, TUMBLE(paid, INTERVAL '1 day') WITH (keep = '30 days');\n"
    "CREATE VIEW total AS SELECT count(*) AS n, sum(amount) AS spent, var_pop(amount) AS spread FROM payments;\n"
    "CREATE VIEW big AS SELECT city, count(*) AS n, first(cents) AS earliest FROM payments WHERE amount > 50 GROUP BY "
    "city;\n";

ab_time_us fixture_time(uint64_t cut)
{
    return FIXTURE_TIME + (ab_time_us)cut * 10 * AB_US_PER_DAY;
}

void fixture_init(struct fixture *fixture)
{
    struct ab_error error = {0};
    memset(fixture, 0, sizeof *fixture);
    fixture->directory = scratch_make();
    if (ab_catalog_parse(ab_bytes_of_text(catalog_text), &fixture->catalog, &error) != AB_OK) {
        fail_msg("%s", error.text);
    }
    assert_int_equal(fixture->catalog->views_count, FIXTURE_VIEWS);
}

void fixture_fini(struct fixture *fixture)
{
    ab_catalog_release(fixture->catalog);
    scratch_remove(fixture->directory);
}

int fixture_view_index(const struct fixture *fixture, uint32_t view_uid)
{
    for (uint32_t v = 0; v < fixture->catalog->views_count; v++) {
        if (fixture->catalog->views[v].uid == view_uid) {
            return (int)v;
        }
    }
    return -1;
}

/* One partition's span in the making. */
struct filling {
    struct fixture *fixture;
    struct ab_random random;
    struct ab_log *log;
    uint32_t partition;
    struct ab_aggregation *aggregations[FIXTURE_VIEWS];
    struct ab_group_table *tables[FIXTURE_VIEWS];
    uint64_t sequence;
};

static void row_make(struct filling *filling, struct ab_column_builder **builders, bool is_bad)
{
    const struct ab_stream *stream = &filling->fixture->catalog->streams[0];
    struct ab_random *random = &filling->random;
    char user[32];
    char city[32];
    (void)snprintf(user, sizeof user, "u%u-%u", filling->partition, (unsigned)ab_random_below(random, 40));
    (void)snprintf(city, sizeof city, "city %u", (unsigned)ab_random_below(random, 30));
    struct ab_value values[COLUMNS];
    for (uint32_t c = 0; c < COLUMNS; c++) {
        values[c] = (struct ab_value){.type = stream->columns[c].type};
    }
    values[0].text = ab_bytes_of_text(user);
    values[1].text = ab_bytes_of_text(city);
    values[1].is_null = ab_random_below(random, 20) == 0;
    values[2].real = (ab_random_unit(random) - 0.3) * 1e3;
    values[2].is_null = ab_random_below(random, 10) == 0;
    values[3].decimal = (ab_int128)ab_random_below(random, 1000000);
    values[4].bigint = FIXTURE_TIME + (int64_t)ab_random_below(random, 60) * AB_US_PER_DAY +
                       (int64_t)ab_random_below(random, AB_US_PER_DAY);
    values[0].is_null = is_bad;
    for (uint32_t c = 0; c < COLUMNS; c++) {
        assert_ok(ab_column_builder_add(builders[c], &values[c]));
    }
}

/* What speed would have done with the block. */
static void block_apply(struct filling *filling, const struct ab_block *block, const uint8_t *skip, uint64_t offset)
{
    struct fixture *fixture = filling->fixture;
    const struct ab_column *columns[COLUMNS];
    size_t span = fixture->spans_count;
    struct ab_arena scratch = {0};
    for (uint32_t c = 0; c < COLUMNS; c++) {
        columns[c] = &block->columns[c].column;
    }
    for (uint32_t v = 0; v < FIXTURE_VIEWS; v++) {
        const struct ab_view *view = &fixture->catalog->views[v];
        struct ab_rows rows = {.columns = columns,
            .rows_count = block->rows_count,
            .skip = skip,
            .partition = filling->partition,
            .offset = offset,
            .expired_until_us = span > 0 ? ab_view_horizon(view, fixture_time(span)) : INT64_MIN};
        ab_group_table_update(filling->tables[v], &rows, &scratch, &fixture->counts[v][span][filling->partition]);
        ab_arena_reset(&scratch);
    }
    ab_arena_fini(&scratch);
}

static void record_append(struct filling *filling, struct ab_record *record)
{
    struct ab_error error = {0};
    uint64_t offset = 0;
    record->header.leader_epoch = 1;
    record->header.append_time_us = FIXTURE_TIME + (ab_time_us)ab_log_end_offset(filling->log);
    assert_ok(ab_log_append(filling->log, record, &offset));
    assert_ok(ab_log_write(filling->log, &error));
}

static void block_add(struct filling *filling, uint32_t rows)
{
    struct fixture *fixture = filling->fixture;
    const struct ab_stream *stream = &fixture->catalog->streams[0];
    struct ab_column_builder *builders[COLUMNS];
    struct ab_block_column columns[COLUMNS];
    struct ab_verdict_builder verdict;
    uint8_t skip[BLOCK_ROWS] = {0};
    ab_verdict_builder_init(&verdict, NULL);
    for (uint32_t c = 0; c < COLUMNS; c++) {
        builders[c] = ab_column_builder_create(stream->columns[c].type, BLOCK_ROWS, NULL);
    }
    for (uint32_t r = 0; r < rows; r++) {
        uint64_t fate = ab_random_below(&filling->random, 50);
        row_make(filling, builders, fate == 0);
        skip[r] = fate <= 1;
        if (fate <= 1) {
            ab_verdict_builder_add(&verdict, r, fate == 0 ? AB_DECISION_REJECTED : AB_DECISION_DUPLICATE,
                ab_bytes_of_text(fate == 0 ? "user_name: NULL" : ""));
        }
    }
    for (uint32_t c = 0; c < COLUMNS; c++) {
        columns[c].name = ab_bytes_of_text(stream->columns[c].name);
        ab_column_builder_view(builders[c], &columns[c].column);
    }
    struct ab_block block = {.stream = ab_bytes_of_text(stream->name),
        .producer_id = 7,
        .sequence = ++filling->sequence,
        .partition = filling->partition,
        .rows_count = rows,
        .columns_count = COLUMNS,
        .columns = columns};
    struct ab_buffer body = {0};
    struct ab_buffer decisions = {0};
    assert_ok(ab_block_encode(&block, AB_BLOCK_LZ4, &body));
    ab_verdict_builder_encode(&verdict, &decisions);
    block_apply(filling, &block, skip, ab_log_end_offset(filling->log));
    struct ab_record record = {.header = {.kind = AB_RECORD_BLOCK,
                                   .rows_count = rows,
                                   .rejected_count = verdict.rejected_count,
                                   .duplicate_count = verdict.duplicate_count},
        .verdict = ab_buffer_view(&decisions),
        .body = ab_buffer_view(&body)};
    record_append(filling, &record);
    size_t span = fixture->spans_count;
    fixture->rows[span] += rows;
    fixture->rejected[span] += verdict.rejected_count;
    fixture->duplicates[span] += verdict.duplicate_count;
    fixture->accepted[span] += rows - verdict.rejected_count - verdict.duplicate_count;
    ab_buffer_fini(&body);
    ab_buffer_fini(&decisions);
    ab_verdict_builder_fini(&verdict);
    for (uint32_t c = 0; c < COLUMNS; c++) {
        ab_column_builder_destroy(builders[c]);
    }
}

static void cut_add(struct filling *filling)
{
    struct fixture *fixture = filling->fixture;
    struct ab_error error = {0};
    struct ab_buffer body = {0};
    struct ab_cut cut = {.cut = fixture->spans_count + 1,
        .time_us = fixture_time(fixture->spans_count + 1),
        .catalog_version = 1,
        .catalog_hash = fixture->catalog->hash};
    ab_cut_encode(&cut, &body);
    struct ab_buffer no_verdict = {0};
    struct ab_record record = {
        .header = {.kind = AB_RECORD_CUT}, .verdict = ab_buffer_view(&no_verdict), .body = ab_buffer_view(&body)};
    record_append(filling, &record);
    assert_ok(ab_log_sync(filling->log, &error));
    fixture->chains[fixture->spans_count][filling->partition] = ab_log_chain(filling->log);
    fixture->end_offsets[fixture->spans_count][filling->partition] = ab_log_end_offset(filling->log);
    ab_buffer_fini(&body);
}

static void digest_take(struct filling *filling, uint32_t view)
{
    struct ab_digest *digest = &filling->fixture->digests[view][filling->fixture->spans_count][filling->partition];
    struct ab_group_cursor *cursor = ab_group_cursor_open(filling->tables[view], NULL);
    struct ab_bytes key;
    struct ab_bytes row;
    while (ab_group_cursor_next(cursor, &key, &row)) {
        assert_ok(ab_digest_add(digest, key, row));
    }
    ab_group_cursor_close(cursor);
}

static void partition_fill(struct fixture *fixture, uint32_t partition, uint32_t rows)
{
    struct ab_error error = {0};
    struct ab_log_options options = {.partition = partition};
    struct ab_log_recovery recovery;
    struct filling filling = {.fixture = fixture, .partition = partition, .sequence = fixture->spans_count * 1000};
    char *path = ab_new_format("%s/partition-%u/log", fixture->directory, partition);
    ab_random_init(&filling.random, partition * 100 + fixture->spans_count);
    if (ab_log_open(path, &options, &filling.log, &recovery, &error) != AB_OK) {
        fail_msg("%s", error.text);
    }
    for (uint32_t v = 0; v < FIXTURE_VIEWS; v++) {
        assert_ok(ab_aggregation_create(&fixture->catalog->views[v], &filling.aggregations[v], &error));
        filling.tables[v] = ab_group_table_create(filling.aggregations[v], NULL);
    }
    while (rows > 0) {
        uint32_t count = rows < BLOCK_ROWS ? rows : BLOCK_ROWS;
        block_add(&filling, count);
        rows -= count;
    }
    cut_add(&filling);
    for (uint32_t v = 0; v < FIXTURE_VIEWS; v++) {
        digest_take(&filling, v);
        ab_group_table_destroy(filling.tables[v]);
        ab_aggregation_destroy(filling.aggregations[v]);
    }
    ab_log_close(filling.log);
    ab_delete(path);
}

void fixture_span_add(struct fixture *fixture, uint32_t rows)
{
    for (uint32_t p = 0; p < FIXTURE_PARTITIONS; p++) {
        /* One partition has nothing in every second span. */
        bool is_empty = p == 3 && fixture->spans_count % 2 == 1;
        partition_fill(fixture, p, is_empty ? 0 : rows / FIXTURE_PARTITIONS);
    }
    fixture->spans_count++;
}

static struct ab_json *spans_json(const struct fixture *fixture, size_t from)
{
    struct ab_json *spans = ab_json_array();
    for (size_t s = from; s < fixture->spans_count; s++) {
        struct ab_json *span = ab_json_object();
        struct ab_json *offsets = ab_json_array();
        for (uint32_t p = 0; p < FIXTURE_PARTITIONS; p++) {
            ab_json_append(offsets, ab_json_integer((int64_t)fixture->end_offsets[s][p]));
        }
        ab_json_set(span, "cut", ab_json_integer((int64_t)s + 1));
        ab_json_set(span, "offsets", offsets);
        ab_json_append(spans, span);
    }
    return spans;
}

struct ab_json *fixture_begin_answer(
    const struct fixture *fixture, const char *job, uint32_t attempt, struct ab_json *previous)
{
    struct ab_json *answer = ab_json_object();
    struct ab_json *partitions = ab_json_array();
    struct ab_buffer encoded = {0};
    struct ab_buffer hex = {0};
    for (uint32_t p = 0; p < FIXTURE_PARTITIONS; p++) {
        struct ab_json *entry = ab_json_object();
        char chain[33];
        ab_hash128_format(fixture->chains[fixture->spans_count - 1][p], chain);
        ab_json_set(entry, "partition", ab_json_integer(p));
        ab_json_set(entry, "leader_epoch", ab_json_integer(1));
        ab_json_set(entry, "offset", ab_json_integer((int64_t)fixture->end_offsets[fixture->spans_count - 1][p]));
        ab_json_set(entry, "chain", ab_json_text(chain));
        ab_json_append(partitions, entry);
    }
    ab_catalog_encode(fixture->catalog, &encoded);
    for (size_t i = 0; i < encoded.bytes; i++) {
        ab_buffer_put_format(&hex, "%02x", encoded.data[i]);
    }
    ab_json_set(answer, "job", ab_json_text(job));
    ab_json_set(answer, "attempt", ab_json_integer(attempt));
    ab_json_set(answer, "cut", ab_json_integer((int64_t)fixture->spans_count));
    ab_json_set(answer, "time_us", ab_json_integer(fixture_time(fixture->spans_count)));
    ab_json_set(answer, "catalog", ab_json_text(ab_buffer_text(&hex)));
    ab_json_set(answer, "partitions", partitions);
    ab_json_set(answer, "spans", spans_json(fixture, 0));
    ab_json_set(answer, "previous", previous == NULL ? ab_json_object() : previous);
    ab_json_set(answer, "shards", ab_json_integer(FIXTURE_PARTITIONS));
    ab_buffer_fini(&hex);
    ab_buffer_fini(&encoded);
    return answer;
}

void fixture_answer_prune(const struct fixture *fixture, struct ab_json *answer, uint64_t cut)
{
    struct ab_json *history = ab_json_object();
    struct ab_json *offsets = ab_json_array();
    struct ab_json *chains = ab_json_array();
    for (uint32_t p = 0; p < FIXTURE_PARTITIONS; p++) {
        char chain[33];
        ab_hash128_format(fixture->chains[cut - 1][p], chain);
        ab_json_append(offsets, ab_json_integer((int64_t)fixture->end_offsets[cut - 1][p]));
        ab_json_append(chains, ab_json_text(chain));
    }
    ab_json_set(history, "cut", ab_json_integer((int64_t)cut));
    ab_json_set(history, "offsets", offsets);
    ab_json_set(history, "chains", chains);
    ab_json_set(answer, "history", history);
    ab_json_set(answer, "spans", spans_json(fixture, cut));
}

struct ab_json *fixture_digest_answer(const struct fixture *fixture, uint32_t view_uid, uint64_t span)
{
    int view = fixture_view_index(fixture, view_uid);
    struct ab_json *answer = ab_json_object();
    struct ab_json *partitions = ab_json_array();
    for (uint32_t p = 0; p < FIXTURE_PARTITIONS; p++) {
        const struct ab_digest *digest = &fixture->digests[view][span - 1][p];
        const struct ab_row_counts *counts = &fixture->counts[view][span - 1][p];
        struct ab_json *entry = ab_json_object();
        char sum[33];
        ab_hash128_format(digest->sum, sum);
        ab_json_set(entry, "partition", ab_json_integer(p));
        ab_json_set(entry, "digest", ab_json_text(sum));
        ab_json_set(entry, "groups", ab_json_integer((int64_t)digest->groups_count));
        ab_json_set(entry, "rows", ab_json_integer((int64_t)digest->rows_count));
        ab_json_set(entry, "aggregated", ab_json_integer((int64_t)counts->aggregated));
        ab_json_set(entry, "filtered", ab_json_integer((int64_t)counts->filtered));
        ab_json_set(entry, "expired", ab_json_integer((int64_t)counts->expired));
        ab_json_append(partitions, entry);
    }
    ab_json_set(answer, "partitions", partitions);
    return answer;
}
