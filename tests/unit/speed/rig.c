#include "tests/unit/speed/rig.h"

#include "tests/support/test.h"

#define BASE_TIME_US (INT64_C(1370044800) * AB_US_PER_SECOND) /* 2013-06-01 */

const char *const rig_catalog_text =
    "CREATE STREAM events (usr TEXT NOT NULL, amount DOUBLE CHECK (amount >= 0), at TIMESTAMP NOT NULL, "
    "EVENT TIME at, PARTITION KEY (usr)); "
    "CREATE VIEW by_user AS SELECT usr, count(*) AS n, sum(amount) AS total, min(amount) AS least, max(amount) AS most "
    "FROM events GROUP BY usr, TUMBLE(at, INTERVAL '1 hour'); "
    "CREATE VIEW everything AS SELECT count(*) AS n, sum(amount) AS total, min(amount) AS least, max(amount) AS most "
    "FROM events;";

void rig_catalog(const char *text, struct ab_bytes before, struct ab_buffer *encoded)
{
    struct ab_error error = {0};
    struct ab_catalog *old = NULL;
    struct ab_catalog *made = NULL;
    struct ab_buffer changes = {0};
    if (before.bytes > 0) {
        assert_ok(ab_catalog_decode(before, &old, &error));
    }
    if (ab_catalog_evolve(ab_bytes_of_text(text), old, &made, &changes, &error) != AB_OK) {
        fail_msg("%s", error.text);
    }
    made->version = old == NULL ? 1 : old->version + 1;
    ab_catalog_encode(made, encoded);
    ab_catalog_release(made);
    ab_catalog_release(old);
    ab_buffer_fini(&changes);
}

ab_err rig_open(struct rig *rig, char *directory, const struct rig_options *options, struct ab_error *error)
{
    *rig = (struct rig){.directory = directory};
    ab_memory_init(&rig->memory, (size_t)1 << 30, NULL);
    ab_memory_init(
        &rig->partials, options->partials_bytes == 0 ? (size_t)64 << 20 : options->partials_bytes, &rig->memory);
    rig->cache = ab_store_cache_create(8 << 20, 2);
    rig->catalogs = ab_catalogs_create();
    rig->plans = ab_plans_create();
    ab_arena_init(&rig->arena, &rig->memory, 0);
    ab_arena_init(&rig->scratch, NULL, 0);
    struct ab_buffer encoded = {0};
    rig_catalog(rig_catalog_text, ab_bytes_of(NULL, 0), &encoded);
    const struct ab_served_catalog *initial = NULL;
    assert_ok(ab_catalogs_add(rig->catalogs, ab_buffer_view(&encoded), &initial, error));
    ab_buffer_fini(&encoded);
    char *path = scratch_path(directory, "partition-0");
    struct ab_partition_options partition = {.directory = path,
        .number = options->number,
        .partitions_count = options->partitions_count == 0 ? 1 : options->partitions_count,
        .leader_epoch = 1,
        .is_replicated = options->is_replicated,
        .was_here = options->was_here,
        .segment_bytes = options->segment_bytes == 0 ? 1 << 20 : options->segment_bytes,
        .cache = rig->cache,
        .memory = &rig->memory,
        .partials = &rig->partials,
        .catalogs = rig->catalogs,
        .initial = initial,
        .on_flush_wanted = options->on_flush_wanted,
        .context = options->context};
    ab_err err = ab_partition_open(&partition, &rig->partition, error);
    ab_delete(path);
    return err;
}

void rig_close(struct rig *rig)
{
    ab_partition_close(rig->partition);
    ab_plans_destroy(rig->plans);
    ab_catalogs_destroy(rig->catalogs);
    ab_store_cache_destroy(rig->cache);
    ab_arena_fini(&rig->arena);
    ab_arena_fini(&rig->scratch);
    *rig = (struct rig){0};
}

struct rig_row rig_row_at(uint64_t position)
{
    uint64_t mixed = position * UINT64_C(0x9e3779b97f4a7c15);
    mixed ^= mixed >> 29;
    return (struct rig_row){.user = (uint32_t)(mixed % RIG_USERS),
        .amount = (double)(mixed >> 8 & 0xffff) / 4,
        .at = BASE_TIME_US + (int64_t)(mixed >> 24 & 0xff) * AB_US_PER_MINUTE};
}

static void builders_fill(const struct rig_block *block, struct ab_column_builder *const *builders)
{
    static const struct ab_type text_type = {.kind = AB_TYPE_TEXT};
    for (uint32_t row = 0; row < block->rows_count; row++) {
        struct rig_row made = rig_row_at(block->first_position + row);
        char user[16];
        (void)snprintf(user, sizeof(user), "u%u", made.user);
        struct ab_value usr = {.type = text_type, .text = ab_bytes_of_text(user)};
        struct ab_value reason = {.type = text_type, .text = ab_bytes_of_text("not a number")};
        struct ab_value amount = {.type = {.kind = AB_TYPE_DOUBLE}, .real = made.amount};
        struct ab_value at = {.type = {.kind = AB_TYPE_TIMESTAMP}, .bigint = made.at};
        assert_ok(ab_column_builder_add(builders[0], &usr));
        assert_ok(ab_column_builder_add(builders[1], block->is_raw ? &reason : &amount));
        if (!block->is_raw) {
            assert_ok(ab_column_builder_add(builders[2], &at));
        }
    }
}

void rig_block_encode(const struct rig_block *block, struct ab_buffer *out)
{
    struct ab_type text = {.kind = AB_TYPE_TEXT};
    struct ab_type types[3] = {text, {.kind = AB_TYPE_DOUBLE}, {.kind = AB_TYPE_TIMESTAMP}};
    types[1] = block->is_raw ? text : types[1];
    static const char *const typed_names[3] = {"usr", "amount", "at"};
    static const char *const raw_names[2] = {"raw", "reason"};
    struct ab_column_builder *builders[3];
    struct ab_block_column columns[3];
    for (int c = 0; c < 3; c++) {
        builders[c] = ab_column_builder_create(types[c], block->rows_count, NULL);
    }
    builders_fill(block, builders);
    uint32_t columns_count = block->is_raw ? 2 : 3;
    for (uint32_t c = 0; c < columns_count; c++) {
        columns[c].name = ab_bytes_of_text(block->is_raw ? raw_names[c] : typed_names[c]);
        ab_column_builder_view(builders[c], &columns[c].column);
    }
    uint64_t *positions = ab_new_array(uint64_t, block->rows_count);
    for (uint32_t row = 0; row < block->rows_count; row++) {
        positions[row] = block->first_position + row;
    }
    struct ab_block made = {.stream = ab_bytes_of_text("events"),
        .producer_id = block->producer_id,
        .sequence = block->sequence,
        .partition = block->partition,
        .rows_count = block->rows_count,
        .is_raw = block->is_raw,
        .columns_count = columns_count,
        .columns = columns};
    if (!block->has_no_source) {
        made.positions = positions;
        made.mark.source = ab_bytes_of_text("feed");
        made.mark.first_position = positions[0];
        made.mark.last_position = positions[block->rows_count - 1];
        made.mark.byte_offset = made.mark.last_position * 10;
    }
    assert_ok(ab_block_encode(&made, AB_BLOCK_PLAIN, out));
    for (int c = 0; c < 3; c++) {
        ab_column_builder_destroy(builders[c]);
    }
    ab_delete(positions);
}

ab_err rig_send(struct rig *rig, struct ab_bytes payload, struct ab_staged *staged, struct ab_error *error)
{
    ab_arena_reset(&rig->arena);
    AB_TRY(ab_partition_stage(rig->partition, payload, ab_time_now(), &rig->arena, staged, error));
    AB_TRY(ab_partition_commit(rig->partition, error));
    ab_partition_apply(rig->partition, staged, &rig->scratch);
    return AB_OK;
}

void rig_flush(struct rig *rig)
{
    struct ab_error error = {0};
    (void)ab_partition_flush_begin(rig->partition); /* false: nothing new */
    ab_err err = AB_OK;
    while (err == AB_OK) {
        err = ab_partition_flush_step(rig->partition, &error);
    }
    assert_int_equal(err, AB_END);
}

static void count_done(struct ab_partition *partition, void *context)
{
    (void)partition;
    *(int *)context += 1;
}

ab_err rig_cut(
    struct rig *rig, uint64_t cut, ab_time_us time_us, const struct ab_served_catalog *served, struct ab_error *error)
{
    int done = 0;
    struct ab_partition_cut options = {.cut = cut,
        .time_us = time_us,
        .served = served,
        .now_us = ab_time_now(),
        .on_done = count_done,
        .context = &done};
    AB_TRY(ab_partition_cut(rig->partition, &options, error));
    rig_flush(rig);
    assert_int_equal(done, 1);
    return AB_OK;
}

static void totals_read(const struct ab_column *columns, struct rig_totals *totals)
{
    struct ab_value count = ab_column_value(&columns[0], 0);
    struct ab_value sum = ab_column_value(&columns[1], 0);
    struct ab_value least = ab_column_value(&columns[2], 0);
    struct ab_value most = ab_column_value(&columns[3], 0);
    totals->count = (uint64_t)count.bigint;
    totals->sum = sum.is_null ? 0 : sum.real;
    totals->min = least.is_null ? 0 : least.real;
    totals->max = most.is_null ? 0 : most.real;
}

ab_err rig_query(struct rig *rig, const char *sql, uint64_t cut, struct rig_totals *totals, struct ab_error *error)
{
    const struct ab_plan *plan = NULL;
    struct ab_rollup *rollup = NULL;
    AB_TRY(ab_plans_acquire(rig->plans, ab_catalogs_newest(rig->catalogs), ab_bytes_of_text(sql), &plan, error));
    assert_ok(ab_rollup_create(plan->query, plan->aggregation, INT64_MIN, &rig->memory, &rollup, error));
    struct ab_group_scan *scan = ab_group_scan_create(plan->query, INT64_MIN);
    struct ab_snapshot_position position = {0};
    ab_err err = ab_snapshot_add(rig->partition, plan, cut, scan, rollup, &position, error);
    if (err == AB_OK) {
        struct ab_arena arena = {0};
        struct ab_column *columns = NULL;
        uint32_t rows_count = 0;
        uint64_t overflows = 0;
        assert_ok(ab_rollup_finish(rollup, &arena, &columns, &rows_count, &overflows, error));
        assert_int_equal(rows_count, 1);
        totals_read(columns, totals);
        totals->applied_offset = position.applied_offset;
        ab_arena_fini(&arena);
    }
    ab_group_scan_destroy(scan);
    ab_rollup_destroy(rollup);
    ab_plans_release(rig->plans, plan);
    return err;
}

void rig_expect(uint64_t first, uint64_t last, struct rig_totals *totals)
{
    *totals = (struct rig_totals){0};
    for (uint64_t position = first; position <= last; position++) {
        double amount = rig_row_at(position).amount;
        totals->min = totals->count == 0 || amount < totals->min ? amount : totals->min;
        totals->max = totals->count == 0 || amount > totals->max ? amount : totals->max;
        totals->sum += amount;
        totals->count++;
    }
}
