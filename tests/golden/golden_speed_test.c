/* The bytes of what speed keeps of a partition beside states: tables of producers, sources and spans, the file in which
 * they outlive a trimmed log, the keys of a span's family; and of a stored catalog. */
#include "common/catalog/catalog.h"
#include "speed/dedup.h"
#include "speed/span.h"
#include "tests/golden/golden.h"
#include "tests/support/test.h"

static const char sql[] =
    "CREATE STREAM s (k TEXT NOT NULL, i BIGINT CHECK (i > 0), at TIMESTAMP NOT NULL, EVENT TIME at, "
    "PARTITION KEY (k)) WITH (history_retention = '30 days');\n"
    "CREATE VIEW v AS SELECT k, count(*) AS n FROM s GROUP BY k, TUMBLE(at, INTERVAL '1 hour');\n";

static void catalog_encode(struct ab_buffer *out)
{
    struct ab_catalog *catalog = NULL;
    struct ab_error error = {0};
    if (ab_catalog_parse(ab_bytes_of_text(sql), &catalog, &error) != AB_OK) {
        fail_msg("%s", error.text);
    }
    catalog->version = 3;
    ab_catalog_encode(catalog, out);
    ab_catalog_release(catalog);
}

static void test_golden_catalog(void **state)
{
    (void)state;
    struct ab_buffer bytes = {0};
    struct ab_catalog *catalog = NULL;
    struct ab_error error = {0};
    catalog_encode(&bytes);
    golden_expect("catalog.bin", ab_buffer_view(&bytes));
    ab_buffer_clear(&bytes);
    golden_read("catalog.bin", &bytes);
    assert_ok(ab_catalog_decode(ab_buffer_view(&bytes), &catalog, &error));
    assert_int_equal(catalog->version, 3);
    assert_string_equal(catalog->views[0].name, "v");
    ab_catalog_release(catalog);
    ab_buffer_fini(&bytes);
}

static void test_golden_offset_entry_and_keys(void **state)
{
    (void)state;
    struct ab_row_counts counts = {.aggregated = 1, .filtered = 300, .expired = UINT64_C(1) << 40, .faults = 2};
    struct ab_row_counts read = {0};
    uint64_t offset = 0;
    struct ab_buffer bytes = {0};
    ab_span_state_prefix(0x01020304, &bytes);
    ab_span_offset_key(0x01020304, &bytes);
    size_t keys_bytes = bytes.bytes;
    ab_span_offset_encode(UINT64_C(1) << 33, &counts, &bytes);
    golden_expect("span_family.bin", ab_buffer_view(&bytes));
    struct ab_bytes entry = ab_bytes_of(bytes.data + keys_bytes, bytes.bytes - keys_bytes);
    assert_ok(ab_span_offset_decode(entry, &offset, &read));
    assert_true(offset == UINT64_C(1) << 33 && read.expired == counts.expired && read.faults == 2);
    ab_buffer_fini(&bytes);
}

static void test_golden_span_entry(void **state)
{
    (void)state;
    struct ab_buffer encoded = {0};
    struct ab_buffer bytes = {0};
    struct ab_span_entry entry;
    struct ab_error error = {0};
    struct ab_catalogs *catalogs = ab_catalogs_create();
    struct ab_span_start start = {.number = 5, .start_offset = UINT64_C(1) << 33, .start_time_us = 1370000000000000};
    catalog_encode(&encoded);
    assert_ok(ab_catalogs_add(catalogs, ab_buffer_view(&encoded), &start.served, &error));
    struct ab_span *span = ab_span_create(&start);
    ab_span_count(span, start.served->catalog->streams[0].id, 1000, 3, 20);
    span->is_closed = true;
    span->cut_time_us = 1370063820123456;
    span->horizon_us = 1369000000000000;
    span->end_offset = start.start_offset + 40;
    span->chain = (struct ab_hash128){.low = 5, .high = 6};
    span->leader_epoch = 2;
    ab_span_encode(span, &bytes);
    golden_expect("span_entry.bin", ab_buffer_view(&bytes));
    assert_ok(ab_span_decode(ab_buffer_view(&bytes), &entry));
    assert_true(entry.number == 5 && entry.end_offset == span->end_offset && entry.is_closed);
    ab_span_destroy(span);
    ab_catalogs_destroy(catalogs);
    ab_buffer_fini(&bytes);
    ab_buffer_fini(&encoded);
}

static ab_err entry_load(struct ab_bytes key, struct ab_bytes value, void *context, struct ab_error *error)
{
    (void)error;
    return ab_dedup_load(context, key, value);
}

static void test_golden_tables_file(void **state)
{
    (void)state;
    struct ab_dedup *dedup = ab_dedup_create(8, 8, NULL);
    struct ab_table_puts puts = {0};
    struct ab_buffer bytes = {0};
    struct ab_error error = {0};
    for (uint64_t sequence = 1; sequence <= 7; sequence++) { /* more than are remembered */
        struct ab_outcome outcome = {
            .offset = 100 + sequence, .accepted = 10, .rejected = 1, .duplicates = (uint32_t)sequence};
        ab_dedup_note(dedup, 77, sequence, (struct ab_hash128){.low = sequence, .high = 9}, &outcome);
    }
    ab_dedup_note(dedup, UINT64_MAX, 1, (struct ab_hash128){0}, &(struct ab_outcome){.offset = 3});
    struct ab_source_state mark = {.last_position = 4711, .byte_offset = UINT64_C(1) << 35, .prefix_hash = {1, 2}};
    ab_dedup_source_note(dedup, bytes_of("s"), bytes_of("/data/file.csv"), 0, &mark);
    ab_dedup_commit(dedup, UINT64_MAX);
    ab_dedup_put(dedup, true, &puts);
    ab_table_puts_sort(&puts);
    ab_table_puts_encode(&puts, &bytes);
    golden_expect("tables.bin", ab_buffer_view(&bytes));
    struct ab_dedup *read = ab_dedup_create(8, 8, NULL);
    struct ab_source_state found = {0};
    struct ab_outcome outcome = {0};
    assert_ok(ab_table_puts_decode(ab_buffer_view(&bytes), entry_load, read, &error));
    assert_true(ab_dedup_source(read, bytes_of("s"), bytes_of("/data/file.csv"), &found));
    assert_int_equal(found.last_position, 4711);
    struct ab_hash128 hash = {.low = 7, .high = 9};
    assert_int_equal(ab_dedup_check(read, 77, 7, hash, &outcome, &error), AB_EXISTS);
    assert_int_equal(outcome.offset, 107);
    ab_dedup_destroy(read);
    ab_dedup_destroy(dedup);
    ab_table_puts_fini(&puts);
    ab_buffer_fini(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_catalog),
        cmocka_unit_test(test_golden_offset_entry_and_keys),
        cmocka_unit_test(test_golden_span_entry),
        cmocka_unit_test(test_golden_tables_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
