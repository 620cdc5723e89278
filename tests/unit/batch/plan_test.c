/* The plan of a job: what is new, what is merged, what has expired; and answers that do not hold together. */
#include "batch/plan.h"

#include "common/aggregate/group_key.h"
#include "tests/unit/batch/fixture.h"

static int setup(void **state)
{
    struct fixture *fixture = ab_new(struct fixture);
    fixture_init(fixture);
    fixture_span_add(fixture, 500);
    fixture_span_add(fixture, 500);
    fixture_span_add(fixture, 500);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    fixture_fini(*state);
    ab_delete(*state);
    return 0;
}

/* A manifest of view `index` as of `cut`, with directories of the given rows in shard 0. */
static struct ab_json *manifest_make(const struct fixture *fixture, uint32_t index, uint64_t cut, const uint64_t *rows)
{
    const struct ab_view *view = &fixture->catalog->views[index];
    struct ab_version_manifest manifest = {.view = ab_new_text(view->name),
        .definition_version = view->definition_version,
        .uid = view->uid,
        .cut = cut,
        .attempt = 1,
        .shards_count = FIXTURE_PARTITIONS,
        .chunk_us = view->chunk_us,
        .horizon_us = INT64_MIN,
        .directories = ab_new_array(struct ab_version_directory, cut)};
    for (uint32_t d = 0; d < cut; d++) {
        struct ab_version_directory *directory = &manifest.directories[manifest.directories_count++];
        directory->path = ab_new_format("versions/x-1/%u-1", d + 1);
        directory->span_from = directory->span_to = d + 1;
        directory->shards = ab_new_array(struct ab_version_shard, FIXTURE_PARTITIONS);
        directory->shards[0].rows_count = rows[d];
    }
    struct ab_json *json = ab_version_manifest_encode(&manifest);
    ab_version_manifest_fini(&manifest);
    return json;
}

static void test_plan_first_version_takes_all_spans(void **state)
{
    struct ab_plan plan;
    struct ab_error error = {0};
    struct ab_json *answer = fixture_begin_answer(*state, "job-1", 1, NULL);
    assert_ok(ab_plan_decode(answer, false, &plan, &error));
    assert_int_equal(plan.views_count, FIXTURE_VIEWS);
    assert_int_equal(plan.spans_count, 3);
    assert_false(plan.views[0].has_previous);
    assert_int_equal(plan.views[0].first_span, 0);
    assert_string_equal(plan.views[0].path, "versions/by_user-1/3-1");
    assert_false(plan.views[0].is_sharded); /* aligned */
    assert_true(plan.views[1].is_sharded);
    assert_false(plan.views[2].is_sharded); /* no keys */
    assert_int_equal(ab_plan_from_offset(&plan, 0, 2), 0);
    assert_int_equal(ab_plan_from_offset(&plan, 1, 2), plan.spans[0].end_offsets[2]);
    ab_plan_fini(&plan);
    ab_json_destroy(answer);
}

static void test_plan_builds_on_the_version_before(void **state)
{
    const struct fixture *fixture = *state;
    const uint64_t rows[2] = {1000, 100};
    for (int is_full = 0; is_full <= 1; is_full++) {
        struct ab_json *previous = ab_json_object();
        ab_json_set(previous, "by_user", manifest_make(fixture, 0, 2, rows));
        ab_json_set(previous, "by_city", ab_json_null());
        struct ab_json *answer = fixture_begin_answer(fixture, "job-1", 4, previous);
        struct ab_plan plan;
        struct ab_error error = {0};
        assert_ok(ab_plan_decode(answer, is_full, &plan, &error));
        assert_int_equal(plan.views[0].has_previous, !is_full);
        assert_int_equal(plan.views[0].first_span, is_full ? 0 : 2);
        assert_int_equal(plan.views[1].first_span, 0);
        assert_true(ab_plan_is_referenced(&plan, "versions/x-1/2-1"));
        assert_false(ab_plan_is_referenced(&plan, "versions/x-1/3-1"));
        /* 20 new groups stay apart from 100, which stay apart from 1000; 30 take the 100 in, 300 all. */
        assert_int_equal(ab_plan_keep_directories(&plan.views[0], 20), is_full ? 0 : 2);
        assert_int_equal(ab_plan_keep_directories(&plan.views[0], 30), is_full ? 0 : 1);
        assert_int_equal(ab_plan_keep_directories(&plan.views[0], 300), 0);
        ab_plan_fini(&plan);
        ab_json_destroy(answer);
    }
}

static void test_plan_current_view_has_nothing_to_do(void **state)
{
    const uint64_t rows[3] = {1, 1, 1};
    struct ab_json *previous = ab_json_object();
    ab_json_set(previous, "by_user", manifest_make(*state, 0, 3, rows));
    struct ab_json *answer = fixture_begin_answer(*state, "job-1", 4, previous);
    struct ab_plan plan;
    struct ab_error error = {0};
    assert_ok(ab_plan_decode(answer, false, &plan, &error));
    assert_int_equal(plan.views_count, FIXTURE_VIEWS - 1);
    ab_plan_fini(&plan);
    ab_json_destroy(answer);
}

/* An answer that leaves spans 1 and 2 to history, for views of which all, or all but one, hold what is at cut `held`.
 */
static struct ab_json *pruned_answer(const struct fixture *fixture, uint64_t held, bool is_one_new)
{
    const uint64_t rows[3] = {1, 1, 1};
    struct ab_json *previous = ab_json_object();
    for (uint32_t v = is_one_new; v < FIXTURE_VIEWS; v++) {
        ab_json_set(previous, fixture->catalog->views[v].name, manifest_make(fixture, v, held, rows));
    }
    struct ab_json *answer = fixture_begin_answer(fixture, "job-1", 1, previous);
    fixture_answer_prune(fixture, answer, 2);
    return answer;
}

/* What history_spans adds, made up here. */
static void history_spans_set(const struct fixture *fixture, struct ab_json *answer)
{
    struct ab_json *spans = ab_json_array();
    for (size_t s = 0; s < 2; s++) {
        struct ab_json *span = ab_json_object();
        struct ab_json *offsets = ab_json_array();
        for (uint32_t p = 0; p < FIXTURE_PARTITIONS; p++) {
            ab_json_append(offsets, ab_json_integer((int64_t)fixture->end_offsets[s][p]));
        }
        ab_json_set(span, "cut", ab_json_integer((int64_t)s + 1));
        ab_json_set(span, "offsets", offsets);
        ab_json_append(spans, span);
    }
    ab_json_set(ab_json_get(answer, "history"), "spans", spans);
}

static void test_plan_incremental_needs_only_the_spans_that_are_kept(void **state)
{
    const struct fixture *fixture = *state;
    struct ab_json *answer = pruned_answer(fixture, 2, false);
    struct ab_plan plan;
    struct ab_error error = {0};
    bool needs_history = true;
    assert_ok(ab_plan_needs_history(answer, false, &needs_history, &error));
    assert_false(needs_history);
    assert_ok(ab_plan_decode(answer, false, &plan, &error));
    assert_int_equal(plan.spans_count, 1);
    assert_int_equal(plan.spans[0].cut, 3);
    assert_int_equal(plan.views_count, FIXTURE_VIEWS);
    for (uint32_t v = 0; v < FIXTURE_VIEWS; v++) {
        assert_true(plan.views[v].has_previous);
        assert_int_equal(plan.views[v].first_span, 0);
    }
    for (uint32_t p = 0; p < FIXTURE_PARTITIONS; p++) {
        assert_int_equal(ab_plan_from_offset(&plan, 0, p), fixture->end_offsets[1][p]);
    }
    ab_plan_fini(&plan);
    ab_json_destroy(answer);
}

/* A full run, one new view, and a version older than what was pruned. */
static void test_plan_that_lacks_spans_is_never_made(void **state)
{
    const struct fixture *fixture = *state;
    for (int kind = 0; kind < 4; kind++) {
        struct ab_json *answer = pruned_answer(fixture, kind == 2 ? 1 : 2, kind == 1);
        struct ab_plan plan;
        struct ab_error error = {0};
        bool is_full = kind == 0;
        bool needs_history = false;
        if (kind == 3) {
            ab_json_set(answer, "full", ab_json_boolean(true)); /* as the job was submitted */
        }
        assert_ok(ab_plan_needs_history(answer, is_full, &needs_history, &error));
        assert_true(needs_history);
        assert_int_equal(ab_plan_decode(answer, is_full, &plan, &error), AB_INVALID);
        assert_non_null(strstr(error.text, "history"));
        history_spans_set(fixture, answer);
        assert_ok(ab_plan_needs_history(answer, is_full, &needs_history, &error));
        assert_false(needs_history);
        assert_ok(ab_plan_decode(answer, is_full, &plan, &error));
        assert_int_equal(plan.spans_count, 3);
        assert_int_equal(plan.views_count, FIXTURE_VIEWS);
        assert_int_equal(plan.views[0].first_span, kind == 2 ? 1 : 0);
        assert_int_equal(ab_plan_from_offset(&plan, 0, 1), 0);
        assert_int_equal(ab_plan_from_offset(&plan, 2, 1), fixture->end_offsets[1][1]);
        ab_plan_fini(&plan);
        ab_json_destroy(answer);
    }
}

static void test_plan_history_that_does_not_meet_the_spans_is_refused(void **state)
{
    for (int kind = 0; kind < 6; kind++) {
        struct ab_json *answer = pruned_answer(*state, 2, true);
        struct ab_json *history = ab_json_get(answer, "history");
        struct ab_plan plan;
        struct ab_error error = {0};
        history_spans_set(*state, answer);
        switch (kind) {
        case 0: /* one span fewer */
            ab_json_set(history, "cut", ab_json_integer(1));
            break;
        case 1: /* the list has it too */
            ab_json_set(history, "cut", ab_json_integer(3));
            break;
        case 2: {
            struct ab_json *offsets = ab_json_get(ab_json_at(ab_json_get(history, "spans"), 1), "offsets");
            ab_json_append(offsets, ab_json_integer(7));
            break;
        }
        case 3:
            ab_json_append(ab_json_get(history, "offsets"), ab_json_integer(7));
            break;
        case 4:
            ab_json_set(history, "spans", ab_json_array());
            break;
        default: /* a span between them is gone */
            ab_json_set(answer, "spans", ab_json_array());
        }
        assert_int_equal(ab_plan_decode(answer, false, &plan, &error), AB_INVALID);
        ab_json_destroy(answer);
    }
}

static void test_plan_panes_expire_at_their_end(void **state)
{
    const struct fixture *fixture = *state;
    const struct ab_view *view = &fixture->catalog->views[0];
    struct ab_buffer key = {0};
    struct ab_value user = {.type = {.kind = AB_TYPE_TEXT}, .text = ab_bytes_of_text("u")};
    ab_group_key_encode(view, &user, 10 * AB_US_PER_HOUR, &key);
    assert_false(ab_plan_is_expired(view, ab_buffer_view(&key), INT64_MIN));
    assert_false(ab_plan_is_expired(view, ab_buffer_view(&key), 11 * AB_US_PER_HOUR - 1));
    assert_true(ab_plan_is_expired(view, ab_buffer_view(&key), 11 * AB_US_PER_HOUR));
    assert_true(ab_plan_horizon(view, 0) == INT64_MIN);
    assert_true(ab_plan_horizon(&fixture->catalog->views[2], FIXTURE_TIME) == INT64_MIN);
    assert_true(ab_plan_horizon(view, FIXTURE_TIME) == FIXTURE_TIME - 30 * AB_US_PER_DAY);
    ab_buffer_fini(&key);
}

static void test_plan_malformed_answers_are_refused(void **state)
{
    static const char *const members[] = {"job", "attempt", "cut", "catalog", "partitions", "spans", "history"};
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        bool may_be_null = strcmp(members[i], "history") == 0;
        for (int kind = may_be_null; kind < 4; kind++) {
            struct ab_json *answer = fixture_begin_answer(*state, "job-1", 1, NULL);
            struct ab_plan plan;
            struct ab_error error = {0};
            ab_json_set(answer, members[i],
                kind == 0   ? ab_json_null()
                : kind == 1 ? ab_json_text("../x")
                : kind == 2 ? ab_json_array()
                            : ab_json_integer(-1));
            assert_true(ab_plan_decode(answer, false, &plan, &error) != AB_OK);
            assert_true(error.text[0] != 0);
            ab_json_destroy(answer);
        }
    }
}

static void test_plan_spans_that_do_not_meet_the_cut_are_refused(void **state)
{
    struct ab_json *answer = fixture_begin_answer(*state, "job-1", 1, NULL);
    struct ab_json *partition = ab_json_at(ab_json_get(answer, "partitions"), 1);
    struct ab_plan plan;
    struct ab_error error = {0};
    ab_json_set(partition, "offset", ab_json_integer(ab_json_integer_or(ab_json_get(partition, "offset"), 0) + 1));
    assert_int_equal(ab_plan_decode(answer, false, &plan, &error), AB_INVALID);
    ab_json_destroy(answer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plan_first_version_takes_all_spans),
        cmocka_unit_test(test_plan_builds_on_the_version_before),
        cmocka_unit_test(test_plan_current_view_has_nothing_to_do),
        cmocka_unit_test(test_plan_incremental_needs_only_the_spans_that_are_kept),
        cmocka_unit_test(test_plan_that_lacks_spans_is_never_made),
        cmocka_unit_test(test_plan_history_that_does_not_meet_the_spans_is_refused),
        cmocka_unit_test(test_plan_panes_expire_at_their_end),
        cmocka_unit_test(test_plan_malformed_answers_are_refused),
        cmocka_unit_test(test_plan_spans_that_do_not_meet_the_cut_are_refused),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
