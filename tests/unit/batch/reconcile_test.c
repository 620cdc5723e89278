/* Reconcile: agreement is drift 0, other counts refuse, other digests are drift with evidence. */
#include "batch/reconcile.h"

#include "batch/publish.h"
#include "tests/unit/batch/fixture.h"

struct both {
    struct fixture fixture;
    struct ab_plan plan;
};

static int setup(void **state)
{
    struct both *both = ab_new(struct both);
    struct ab_error error = {0};
    fixture_init(&both->fixture);
    fixture_span_add(&both->fixture, 3000);
    fixture_span_add(&both->fixture, 3000);
    struct ab_json *answer = fixture_begin_answer(&both->fixture, "job-1", 1, NULL);
    assert_ok(ab_plan_decode(answer, false, &both->plan, &error));
    ab_json_destroy(answer);
    *state = both;
    return 0;
}

static int teardown(void **state)
{
    struct both *both = *state;
    ab_plan_fini(&both->plan);
    fixture_fini(&both->fixture);
    ab_delete(both);
    return 0;
}

/* What batch would have computed: exactly what speed holds. */
static void results_fill(const struct both *both, uint32_t view, size_t span, struct ab_unit_result *results)
{
    for (uint32_t p = 0; p < FIXTURE_PARTITIONS; p++) {
        const struct ab_row_counts *counts = &both->fixture.counts[view][span][p];
        results[p] = (struct ab_unit_result){.view = view, .partition = p, .span = span};
        results[p].summary.counts = *counts;
        results[p].summary.digest = both->fixture.digests[view][span][p];
        results[p].summary.rows_scanned = counts->aggregated + counts->filtered + counts->expired;
    }
}

static void compare(const struct both *both, struct ab_unit_result *results, uint64_t *refusals, uint64_t *drift)
{
    struct ab_error error = {0};
    struct ab_reconcile *reconcile = ab_reconcile_create(&both->plan);
    struct ab_json *answer = fixture_digest_answer(&both->fixture, both->plan.views[1].view->uid, 2);
    for (uint32_t p = 0; p < FIXTURE_PARTITIONS; p++) {
        ab_reconcile_add_result(reconcile, &results[p]);
    }
    assert_ok(ab_reconcile_compare(reconcile, results, FIXTURE_PARTITIONS, answer, &error));
    *refusals = ab_reconcile_refusals(reconcile);
    *drift = ab_reconcile_drift(reconcile);
    struct ab_json *report = ab_reconcile_report(reconcile);
    assert_int_equal(ab_json_u64_or(ab_json_get(report, "drift"), 99), *drift);
    assert_int_equal(ab_json_u64_or(ab_json_get(report, "count_differences"), 99), *refusals);
    assert_int_equal(ab_json_count(ab_json_get(report, "evidence")), *drift + *refusals);
    ab_json_destroy(report);
    ab_json_destroy(answer);
    ab_reconcile_destroy(reconcile);
}

static void test_reconcile_agreement_is_drift_zero(void **state)
{
    struct ab_unit_result results[FIXTURE_PARTITIONS];
    uint64_t refusals;
    uint64_t drift;
    results_fill(*state, 1, 1, results);
    compare(*state, results, &refusals, &drift);
    assert_int_equal(refusals, 0);
    assert_int_equal(drift, 0);
}

static void test_reconcile_other_digest_is_drift(void **state)
{
    struct ab_unit_result results[FIXTURE_PARTITIONS];
    uint64_t refusals;
    uint64_t drift;
    results_fill(*state, 1, 1, results);
    results[2].summary.digest.sum.low ^= 1;
    compare(*state, results, &refusals, &drift);
    assert_int_equal(refusals, 0);
    assert_int_equal(drift, 1);
}

/* The answer of leaders with what the replicas of node 3 say, of which one digest may be another. */
static struct ab_json *answer_with_replicas(const struct both *both, bool has_diverged)
{
    uint32_t uid = both->plan.views[1].view->uid;
    struct ab_json *answer = fixture_digest_answer(&both->fixture, uid, 2);
    struct ab_json *theirs = fixture_digest_answer(&both->fixture, uid, 2);
    struct ab_json *replicas = ab_json_array();
    for (uint32_t p = 0; p < FIXTURE_PARTITIONS; p++) {
        struct ab_json *copy = NULL;
        struct ab_buffer text = {0};
        ab_json_write(ab_json_at(ab_json_get(theirs, "partitions"), p), 0, &text);
        assert_ok(ab_json_parse(ab_buffer_view(&text), &copy, NULL));
        ab_buffer_fini(&text);
        ab_json_set(copy, "node", ab_json_integer(3));
        if (has_diverged && p == 2) {
            ab_json_set(copy, "digest", ab_json_text("00000000000000000000000000000001"));
        }
        ab_json_append(replicas, copy);
    }
    ab_json_set(answer, "replicas", replicas);
    ab_json_destroy(theirs);
    return answer;
}

static void test_reconcile_names_the_replica_that_has_diverged(void **state)
{
    const struct both *both = *state;
    for (int has_diverged = 0; has_diverged < 2; has_diverged++) {
        struct ab_unit_result results[FIXTURE_PARTITIONS];
        struct ab_error error = {0};
        struct ab_reconcile *reconcile = ab_reconcile_create(&both->plan);
        struct ab_json *answer = answer_with_replicas(both, has_diverged == 1);
        results_fill(both, 1, 1, results);
        assert_ok(ab_reconcile_compare(reconcile, results, FIXTURE_PARTITIONS, answer, &error));
        assert_int_equal(ab_reconcile_refusals(reconcile), 0);
        assert_int_equal(ab_reconcile_drift(reconcile), has_diverged);
        struct ab_json *report = ab_reconcile_report(reconcile);
        assert_int_equal(ab_json_u64_or(ab_json_get(report, "replicas_compared"), 0), FIXTURE_PARTITIONS);
        const struct ab_json *evidence = ab_json_get(report, "evidence");
        assert_int_equal(ab_json_count(evidence), has_diverged);
        if (has_diverged == 1) {
            const char *text = ab_json_text_or(ab_json_at(evidence, 0), "");
            assert_non_null(strstr(text, "partition 2"));
            assert_non_null(strstr(text, "node 3"));
        }
        ab_json_destroy(report);
        ab_json_destroy(answer);
        ab_reconcile_destroy(reconcile);
    }
}

static void test_reconcile_malformed_replicas_are_errors(void **state)
{
    const struct both *both = *state;
    struct ab_unit_result results[FIXTURE_PARTITIONS];
    struct ab_error error = {0};
    struct ab_reconcile *reconcile = ab_reconcile_create(&both->plan);
    struct ab_json *answer = answer_with_replicas(both, false);
    ab_json_set(ab_json_at(ab_json_get(answer, "replicas"), 1), "digest", ab_json_null());
    results_fill(both, 1, 1, results);
    assert_int_equal(ab_reconcile_compare(reconcile, results, FIXTURE_PARTITIONS, answer, &error), AB_INVALID);
    ab_json_destroy(answer);
    ab_reconcile_destroy(reconcile);
}

static void test_reconcile_other_counts_refuse(void **state)
{
    struct ab_unit_result results[FIXTURE_PARTITIONS];
    uint64_t refusals;
    uint64_t drift;
    results_fill(*state, 1, 1, results);
    results[2].summary.counts.filtered++;
    results[2].summary.rows_scanned++;
    compare(*state, results, &refusals, &drift);
    assert_int_equal(refusals, 1);
    results_fill(*state, 1, 1, results);
    results[4].summary.rows_scanned++; /* a row that is nowhere */
    compare(*state, results, &refusals, &drift);
    assert_int_equal(refusals, 1);
}

static void test_reconcile_sealed_rows_must_add_up(void **state)
{
    const struct both *both = *state;
    char name[] = "payments";
    struct ab_sealed_stream stream = {name, 10, 7, 2, 1};
    struct ab_sealed_span sealed = {
        .partition = 1, .span = 1, .until_offset = 3, .streams = &stream, .streams_count = 1};
    struct ab_reconcile *reconcile = ab_reconcile_create(&both->plan);
    ab_reconcile_add_sealed(reconcile, &sealed);
    assert_int_equal(ab_reconcile_refusals(reconcile), 0);
    stream.duplicates = 0;
    ab_reconcile_add_sealed(reconcile, &sealed);
    assert_int_equal(ab_reconcile_refusals(reconcile), 1);
    ab_reconcile_destroy(reconcile);
}

/* Refusals when speed acknowledged 90 rows, 5 dead letters, 5 duplicates in the cut's span and this was sealed. */
static uint64_t sealed_against_acknowledged(struct both *both, uint64_t span, uint64_t accepted, uint64_t unlisted)
{
    struct ab_plan_partition *said = &both->plan.partitions[0];
    struct ab_sealed_stream stream = {
        .name = (char *)(uintptr_t)both->plan.catalog->streams[0].name, .rows = accepted + 10, .accepted = accepted};
    struct ab_sealed_span sealed = {.span = span, .streams = &stream, .streams_count = 1, .unlisted_rows = unlisted};
    stream.rejected = 5;
    stream.duplicates = 5;
    said->has_counts = true;
    said->accepted = 90;
    said->rejected = 5;
    said->duplicates = 5;
    struct ab_reconcile *reconcile = ab_reconcile_create(&both->plan);
    ab_reconcile_add_sealed(reconcile, &sealed);
    uint64_t refusals = ab_reconcile_refusals(reconcile);
    ab_reconcile_destroy(reconcile);
    return refusals;
}

static void test_reconcile_sealed_is_what_was_acknowledged(void **state)
{
    struct both *both = *state;
    assert_int_equal(sealed_against_acknowledged(both, both->plan.cut, 90, 0), 0);
    assert_int_equal(sealed_against_acknowledged(both, both->plan.cut, 89, 0), 1);
    assert_int_equal(sealed_against_acknowledged(both, both->plan.cut, 91, 0), 1);
    assert_int_equal(sealed_against_acknowledged(both, both->plan.cut - 1, 89, 0), 0); /* another cut's span */
    assert_int_equal(sealed_against_acknowledged(both, both->plan.cut, 80, 10), 0); /* rows of a stream that is gone */
}

static void test_reconcile_malformed_answers_are_errors(void **state)
{
    const struct both *both = *state;
    static const char *const members[] = {"digest", "groups", "rows", "aggregated", "filtered", "expired", "partition"};
    struct ab_unit_result results[FIXTURE_PARTITIONS];
    results_fill(both, 1, 1, results);
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        struct ab_error error = {0};
        struct ab_reconcile *reconcile = ab_reconcile_create(&both->plan);
        struct ab_json *answer = fixture_digest_answer(&both->fixture, both->plan.views[1].view->uid, 2);
        ab_json_set(ab_json_at(ab_json_get(answer, "partitions"), 3), members[i], ab_json_null());
        assert_int_equal(ab_reconcile_compare(reconcile, results, FIXTURE_PARTITIONS, answer, &error), AB_INVALID);
        ab_json_destroy(answer);
        ab_reconcile_destroy(reconcile);
    }
}

static void test_publish_manifest_needs_every_shard(void **state)
{
    const struct both *both = *state;
    struct ab_shard_result results[FIXTURE_PARTITIONS] = {0};
    struct ab_version_manifest manifest = {0};
    struct ab_error error = {0};
    for (uint32_t s = 0; s < FIXTURE_PARTITIONS; s++) {
        results[s] = (struct ab_shard_result){.view = 1, .shard = s, .summary = {.rows_count = s}};
    }
    assert_ok(ab_publish_manifest(&both->plan, 1, 0, results, FIXTURE_PARTITIONS, &manifest, &error));
    assert_int_equal(manifest.directories_count, 1);
    assert_int_equal(manifest.directories[0].span_from, 1);
    assert_int_equal(manifest.directories[0].span_to, 2);
    assert_int_equal(manifest.directories[0].shards[3].rows_count, 3);
    ab_version_manifest_fini(&manifest);
    assert_int_equal(
        ab_publish_manifest(&both->plan, 1, 0, results, FIXTURE_PARTITIONS - 1, &manifest, &error), AB_INVALID);
    results[0].shard = 1;
    assert_int_equal(
        ab_publish_manifest(&both->plan, 1, 0, results, FIXTURE_PARTITIONS, &manifest, &error), AB_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reconcile_agreement_is_drift_zero),
        cmocka_unit_test(test_reconcile_other_digest_is_drift),
        cmocka_unit_test(test_reconcile_names_the_replica_that_has_diverged),
        cmocka_unit_test(test_reconcile_malformed_replicas_are_errors),
        cmocka_unit_test(test_reconcile_other_counts_refuse),
        cmocka_unit_test(test_reconcile_sealed_rows_must_add_up),
        cmocka_unit_test(test_reconcile_sealed_is_what_was_acknowledged),
        cmocka_unit_test(test_reconcile_malformed_answers_are_errors),
        cmocka_unit_test(test_publish_manifest_needs_every_shard),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
