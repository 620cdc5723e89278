/* Spans from markers: all of them, in order; and every way in which markers do not hold together. */
#include "batch/history_spans.h"

#include "batch/sealed.h"
#include "common/history/layout.h"
#include "tests/support/test.h"

#define PARTITIONS 3u
#define SPANS 12u /* of which the answer leaves PRUNED to history */
#define PRUNED 11u

static uint64_t end_of(uint32_t partition, uint64_t span)
{
    return span * (10 + partition) + (span > 0);
}

static struct ab_hash128 chain_of(uint32_t partition, uint64_t span)
{
    return ab_hash128(AB_HASH_RECORD, ab_bytes_of(&(uint64_t[2]){partition, span}, 16));
}

static void marker_write(const char *directory, uint32_t partition, uint64_t span, uint64_t from)
{
    struct ab_error error = {0};
    struct ab_sealed_span sealed = {.partition = partition,
        .span = span,
        .from_offset = from,
        .until_offset = end_of(partition, span),
        .chain = chain_of(partition, span)};
    assert_ok(ab_sealed_span_store(directory, &sealed, &error));
}

static int setup(void **state)
{
    (void)scratch_setup(state);
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        for (uint64_t k = 1; k <= SPANS; k++) {
            marker_write(*state, p, k, end_of(p, k - 1));
        }
    }
    return 0;
}

static struct ab_json *answer_make(uint64_t pruned)
{
    struct ab_json *answer = ab_json_object();
    struct ab_json *history = ab_json_object();
    struct ab_json *offsets = ab_json_array();
    struct ab_json *chains = ab_json_array();
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        char chain[33];
        ab_hash128_format(chain_of(p, pruned), chain);
        ab_json_append(offsets, ab_json_integer((int64_t)end_of(p, pruned)));
        ab_json_append(chains, ab_json_text(chain));
    }
    ab_json_set(history, "cut", ab_json_integer((int64_t)pruned));
    ab_json_set(history, "offsets", offsets);
    ab_json_set(history, "chains", chains);
    ab_json_set(answer, "history", history);
    return answer;
}

/* The error names the partition and the span, and nothing was added. */
static void check_refused(const char *directory, struct ab_json *answer, const char *place, const char *what)
{
    struct ab_error error = {0};
    assert_int_equal(ab_history_spans_add(directory, answer, &error), AB_CORRUPT);
    if (strstr(error.text, place) == NULL || strstr(error.text, what) == NULL ||
        strstr(error.text, "put history/_sealed back") == NULL) {
        fail_msg("expected %s and %s in: %s", place, what, error.text);
    }
    assert_null(ab_json_get(ab_json_get(answer, "history"), "spans"));
    ab_json_destroy(answer);
}

static void test_history_spans_are_all_up_to_the_cut(void **state)
{
    struct ab_error error = {0};
    struct ab_json *answer = answer_make(PRUNED);
    char *leftover = scratch_path(*state, "history/_sealed/partition-1/span-3.json.tmp-77");
    scratch_write(leftover, bytes_of("half"), 0600);
    assert_ok(ab_history_spans_add(*state, answer, &error));
    const struct ab_json *spans = ab_json_get(ab_json_get(answer, "history"), "spans");
    assert_int_equal(ab_json_count(spans), PRUNED);
    for (uint64_t k = 1; k <= PRUNED; k++) {
        const struct ab_json *span = ab_json_at(spans, k - 1);
        assert_int_equal(ab_json_u64_or(ab_json_get(span, "cut"), 0), k);
        assert_int_equal(ab_json_count(ab_json_get(span, "offsets")), PARTITIONS);
        for (uint32_t p = 0; p < PARTITIONS; p++) {
            assert_int_equal(ab_json_u64_or(ab_json_at(ab_json_get(span, "offsets"), p), 0), end_of(p, k));
        }
    }
    ab_json_destroy(answer);
    ab_delete(leftover);
}

/* A number that was never a cut is no gap: the records follow each other. */
static void test_history_spans_may_skip_a_number(void **state)
{
    struct ab_error error = {0};
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        char *path = ab_history_marker_path(*state, p, 5);
        assert_ok(ab_file_remove_tree(path, &error));
        marker_write(*state, p, 6, end_of(p, 4));
        ab_delete(path);
    }
    struct ab_json *answer = answer_make(PRUNED);
    assert_ok(ab_history_spans_add(*state, answer, &error));
    assert_int_equal(ab_json_count(ab_json_get(ab_json_get(answer, "history"), "spans")), PRUNED - 1);
    ab_json_destroy(answer);
}

/* Each marker of each partition in turn. */
static void test_history_spans_missing_marker_is_named(void **state)
{
    struct ab_error error = {0};
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        for (uint64_t k = 1; k <= PRUNED; k++) {
            char place[64];
            char *path = ab_history_marker_path(*state, p, k);
            (void)snprintf(place, sizeof place, "partition %u, span %u: ", p, (unsigned)k);
            assert_ok(ab_file_remove_tree(path, &error));
            check_refused(*state, answer_make(PRUNED), place, "is missing");
            marker_write(*state, p, k, end_of(p, k - 1));
            ab_delete(path);
        }
    }
}

static void test_history_spans_missing_in_all_partitions_is_a_gap(void **state)
{
    struct ab_error error = {0};
    static const uint64_t spans[] = {1, 5, PRUNED};
    for (size_t i = 0; i < sizeof spans / sizeof spans[0]; i++) {
        uint64_t k = spans[i];
        char place[64];
        for (uint32_t p = 0; p < PARTITIONS; p++) {
            char *path = ab_history_marker_path(*state, p, k);
            assert_ok(ab_file_remove_tree(path, &error));
            ab_delete(path);
        }
        (void)snprintf(place, sizeof place, "partition 0, span %u: ", (unsigned)(k == PRUNED ? k : k + 1));
        check_refused(*state, answer_make(PRUNED), place, "missing");
        for (uint32_t p = 0; p < PARTITIONS; p++) {
            marker_write(*state, p, k, end_of(p, k - 1));
        }
    }
}

static void test_history_spans_without_history_are_missing(void **state)
{
    struct ab_error error = {0};
    char *folder = scratch_path(*state, "history");
    assert_ok(ab_file_remove_tree(folder, &error));
    check_refused(*state, answer_make(PRUNED), "partition 0, span 11: ", "is missing");
    ab_delete(folder);
}

static void test_history_spans_gap_of_records_is_named(void **state)
{
    marker_write(*state, 1, 4, end_of(1, 3) + 1);
    check_refused(*state, answer_make(PRUNED), "partition 1, span 4: ", "what is before ends at");
    marker_write(*state, 1, 4, end_of(1, 3) - 1);
    check_refused(*state, answer_make(PRUNED), "partition 1, span 4: ", "what is before ends at");
    marker_write(*state, 1, 4, end_of(1, 3));
    marker_write(*state, 0, 1, 1);
    check_refused(*state, answer_make(PRUNED), "partition 0, span 1: ", "what is before ends at 0");
}

static void test_history_spans_damaged_marker_is_named(void **state)
{
    static const char *const texts[] = {"", "{}", "{\"format\":1,\"partition\":2", "[]"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        char *path = ab_history_marker_path(*state, 2, 7);
        scratch_write(path, bytes_of(texts[i]), 0600);
        check_refused(*state, answer_make(PRUNED), "partition 2, span 7: ", "span-7.json");
        ab_delete(path);
    }
}

static void test_history_spans_of_another_log_are_refused(void **state)
{
    struct ab_json *answer = answer_make(PRUNED);
    struct ab_json *history = ab_json_get(answer, "history");
    struct ab_json *chains = ab_json_array();
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        char chain[33];
        ab_hash128_format(chain_of(p, p == 1 ? 1 : PRUNED), chain);
        ab_json_append(chains, ab_json_text(chain));
    }
    ab_json_set(history, "chains", chains);
    check_refused(*state, answer, "partition 1, span 11: ", "another log");
}

static void test_history_spans_malformed_answer_is_refused(void **state)
{
    static const char *const members[] = {"cut", "offsets", "chains"};
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        struct ab_error error = {0};
        struct ab_json *answer = answer_make(PRUNED);
        ab_json_set(ab_json_get(answer, "history"), members[i], ab_json_null());
        assert_int_equal(ab_history_spans_add(*state, answer, &error), AB_INVALID);
        assert_non_null(strstr(error.text, "history"));
        ab_json_destroy(answer);
    }
}

/* No call of a file function may fail unnoticed. */
static void test_history_spans_any_failed_read_is_an_error(void **state)
{
    bool has_succeeded = false;
    for (int n = 0; !has_succeeded && n < 1000; n++) {
        struct ab_error error = {0};
        struct ab_json *answer = answer_make(PRUNED);
        ab_file_fault_set(n, 1, AB_IO);
        ab_err err = ab_history_spans_add(*state, answer, &error);
        ab_file_fault_clear();
        has_succeeded = err == AB_OK;
        assert_int_equal(has_succeeded, ab_json_get(ab_json_get(answer, "history"), "spans") != NULL);
        assert_true(!has_succeeded || n >= (int)(PARTITIONS * PRUNED));
        ab_json_destroy(answer);
    }
    assert_true(has_succeeded);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, scratch_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_history_spans_are_all_up_to_the_cut),
        CASE(test_history_spans_may_skip_a_number),
        CASE(test_history_spans_missing_marker_is_named),
        CASE(test_history_spans_missing_in_all_partitions_is_a_gap),
        CASE(test_history_spans_without_history_are_missing),
        CASE(test_history_spans_gap_of_records_is_named),
        CASE(test_history_spans_damaged_marker_is_named),
        CASE(test_history_spans_of_another_log_are_refused),
        CASE(test_history_spans_malformed_answer_is_refused),
        CASE(test_history_spans_any_failed_read_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
