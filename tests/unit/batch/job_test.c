/* Whole jobs under mpirun, against a controller and a speed that live in this test: 1, 2 and 4 ranks, incremental and
 * full, with all cuts or with history's spans, the same states; counts that differ are not published; a killed rank
 * publishes nothing, and the next attempt does. */
#include "common/config/config.h"
#include "common/crypto/key_file.h"
#include "common/aggregate/group_key.h"
#include "common/aggregate/group_table.h"
#include "common/history/manifest.h"
#include "common/store/version.h"
#include "common/wire/node.h"
#include "tests/unit/batch/fixture.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const stage_names[] = {"seal", "combine", "reconcile", "write", "publish"};
#define STAGES (sizeof stage_names / sizeof stage_names[0])

/* The stand-in for controller and speed. Fields are set while no job runs; the server's thread writes what it got. */
struct stage {
    struct fixture fixture;
    struct ab_node node;
    struct ab_server *server;
    uint32_t attempt;
    bool is_full;              /* what the next BEGIN says of previous versions: none */
    uint64_t pruned_cut;       /* the controller has forgotten the cuts up to this one; 0 = none */
    bool is_lying;             /* speed's counts are off by one */
    bool is_drifting;          /* speed's digests differ */
    struct ab_json *published; /* owned: manifests in force, by view */
    struct ab_json *report;    /* owned: of the newest publish */
    int publishes;
    uint64_t totals[STAGES]; /* what progress said last of each stage */
    size_t stages_count;     /* stages begun, in order; SIZE_MAX = progress that makes no sense */
};

static struct stage *the_stage;

static struct ab_json *json_copy(const struct ab_json *json)
{
    struct ab_buffer text = {0};
    struct ab_json *copy = NULL;
    ab_json_write(json, 0, &text);
    assert_ok(ab_json_parse(ab_buffer_view(&text), &copy, NULL));
    ab_buffer_fini(&text);
    return copy;
}

static void reply_json(struct ab_request *request, struct ab_json *json)
{
    struct ab_buffer text = {0};
    ab_json_write(json, 0, &text);
    ab_request_reply(request, AB_OK, NULL, ab_buffer_view(&text));
    ab_buffer_fini(&text);
    ab_json_destroy(json);
}

static void digest_reply(struct stage *stage, struct ab_request *request, const struct ab_json *body)
{
    uint64_t span = ab_json_u64_or(ab_json_get(body, "span"), 0);
    struct ab_json *answer =
        fixture_digest_answer(&stage->fixture, (uint32_t)ab_json_u64_or(ab_json_get(body, "view_uid"), 0), span);
    struct ab_json *first = ab_json_at(ab_json_get(answer, "partitions"), 0);
    if (stage->is_lying) {
        ab_json_set(first, "filtered", ab_json_integer(ab_json_integer_or(ab_json_get(first, "filtered"), 0) + 1));
    }
    if (stage->is_drifting) {
        ab_json_set(first, "digest", ab_json_text("00000000000000000000000000000007"));
    }
    reply_json(request, answer);
}

static void publish_take(struct stage *stage, const struct ab_json *body)
{
    const struct ab_json *views = ab_json_get(body, "views");
    for (size_t i = 0; i < ab_json_count(views); i++) {
        const struct ab_json *manifest = ab_json_at(views, i);
        ab_json_set(stage->published, ab_json_text_or(ab_json_get(manifest, "view"), "?"), json_copy(manifest));
    }
    ab_json_destroy(stage->report);
    stage->report = json_copy(ab_json_get(body, "report"));
    stage->publishes++;
}

/* Stages come one after the other, and never is more done than there is to do. */
static void progress_take(struct stage *stage, const struct ab_json *body)
{
    const char *name = ab_json_text_or(ab_json_get(body, "stage"), "?");
    uint64_t total = ab_json_u64_or(ab_json_get(body, "total"), UINT64_MAX);
    bool is_next = stage->stages_count < STAGES && strcmp(name, stage_names[stage->stages_count]) == 0;
    stage->stages_count += is_next;
    size_t current = stage->stages_count - 1;
    bool is_right = current < STAGES && strcmp(name, stage_names[current]) == 0 &&
                    (is_next || stage->totals[current] == total) &&
                    ab_json_u64_or(ab_json_get(body, "done"), UINT64_MAX) <= total;
    if (is_right) {
        stage->totals[current] = total;
    } else {
        stage->stages_count = SIZE_MAX;
    }
}

static void on_request(struct ab_request *request, void *context)
{
    struct stage *stage = context;
    struct ab_json *body = NULL;
    if (ab_json_parse(request->payload, &body, NULL) != AB_OK) {
        ab_request_reply(request, AB_INVALID, "not JSON", (struct ab_bytes){0});
        return;
    }
    switch (request->envelope.verb) {
    case AB_VERB_JOB_BEGIN: {
        stage->attempt++;
        stage->stages_count = 0;
        struct ab_json *answer = fixture_begin_answer(&stage->fixture, ab_json_text_or(ab_json_get(body, "job"), "x"),
            stage->attempt, json_copy(stage->published));
        ab_json_set(answer, "full", ab_json_boolean(stage->is_full));
        if (stage->pruned_cut > 0) {
            fixture_answer_prune(&stage->fixture, answer, stage->pruned_cut);
        }
        reply_json(request, answer);
        break;
    }
    case AB_VERB_JOB_PROGRESS:
        progress_take(stage, body);
        ab_request_reply(request, AB_OK, NULL, ab_bytes_of("{}", 2));
        break;
    case AB_VERB_DIGEST:
        digest_reply(stage, request, body);
        break;
    case AB_VERB_JOB_PUBLISH:
        if (ab_json_u64_or(ab_json_get(body, "attempt"), 0) != stage->attempt) {
            ab_request_reply(request, AB_STALE, "a newer attempt has begun", (struct ab_bytes){0});
            break;
        }
        publish_take(stage, body);
        ab_request_reply(request, AB_OK, NULL, ab_bytes_of("{}", 2));
        break;
    default:
        ab_request_reply(request, AB_OK, NULL, ab_bytes_of("{}", 2));
    }
    ab_json_destroy(body);
}

static void key_make(const char *directory, const char *role, struct ab_allow_entry *entry)
{
    struct ab_error error = {0};
    struct ab_key_file key = {0};
    char *path = ab_new_format("%s/keys/%s.key", directory, role);
    ab_crypto_keys_generate(&key.keys);
    (void)snprintf(key.role, sizeof key.role, "%s", role);
    (void)snprintf(key.name, sizeof key.name, "%s", role);
    assert_ok(ab_key_file_write(path, &key, &error));
    memcpy(entry->public_key, key.keys.public_key, sizeof entry->public_key);
    memcpy(entry->role, key.role, sizeof entry->role);
    memcpy(entry->name, key.name, sizeof entry->name);
    ab_delete(path);
}

static void cluster_make(const char *directory)
{
    static const char *const folders[] = {"keys", "config", "run"};
    struct ab_error error = {0};
    struct ab_allow_entry entries[2] = {0};
    struct ab_cluster_identity identity = {.cluster_id = {1, 2, 3}, .partitions_count = FIXTURE_PARTITIONS};
    struct ab_config config = {0};
    for (size_t i = 0; i < 3; i++) {
        char *path = scratch_path(directory, folders[i]);
        assert_ok(ab_file_make_directory(path, 0700, &error));
        ab_delete(path);
    }
    char *allow = scratch_path(directory, "keys/allow");
    char *yaml = scratch_path(directory, "config/node.yaml");
    (void)snprintf(config.data, sizeof config.data, "%s", directory);
    ab_config_defaults(&config);
    assert_ok(ab_crypto_init(&error));
    assert_ok(ab_cluster_identity_write(directory, &identity, &error));
    assert_ok(ab_config_write(yaml, &config, &error));
    key_make(directory, "node", &entries[0]);
    key_make(directory, "batch", &entries[1]);
    assert_ok(ab_allow_list_write(allow, entries, 2, &error));
    ab_delete(yaml);
    ab_delete(allow);
}

static int setup(void **state)
{
    struct stage *stage = ab_new(struct stage);
    struct ab_error error = {0};
    fixture_init(&stage->fixture);
    cluster_make(stage->fixture.directory);
    stage->published = ab_json_object();
    struct ab_node_options options = {
        .directory = stage->fixture.directory, .role = "node", .name = "stage", .is_server = true};
    if (ab_node_open(&options, &stage->node, &error) != AB_OK) {
        fail_msg("%s", error.text);
    }
    struct ab_server_options server = {.address = "tcp://127.0.0.1:*", .on_request = on_request, .context = stage};
    assert_ok(ab_server_open(stage->node.wire, &server, &stage->server, &error));
    assert_ok(ab_node_endpoint_write(&stage->node, "controller", ab_server_address(stage->server), &error));
    assert_ok(ab_node_endpoint_write(&stage->node, "speed", ab_server_address(stage->server), &error));
    fixture_span_add(&stage->fixture, 30000);
    fixture_span_add(&stage->fixture, 10000);
    *state = the_stage = stage;
    return 0;
}

static int teardown(void **state)
{
    struct stage *stage = *state;
    ab_server_close(stage->server);
    ab_node_close(&stage->node);
    ab_json_destroy(stage->published);
    ab_json_destroy(stage->report);
    fixture_fini(&stage->fixture);
    ab_delete(stage);
    return 0;
}

/* Starts batch/run in a process group of its own. */
static pid_t job_start(int ranks, const char *job, const char *memory_mb)
{
    char number[16];
    (void)snprintf(number, sizeof number, "%d", ranks);
    pid_t pid = fork();
    if (pid == 0) {
        (void)setpgid(0, 0);
        (void)setenv("ANABRANCH_BIN", AB_TEST_BIN, 1);
        (void)execl(AB_TEST_RUN, AB_TEST_RUN, "-n", number, "--", "--data", the_stage->fixture.directory, "--job", job,
            "--memory-mb", memory_mb, (char *)NULL);
        _exit(127);
    }
    return pid;
}

static int job_wait(pid_t pid)
{
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int job_run(int ranks, const char *job)
{
    return job_wait(job_start(ranks, job, "64"));
}

/* Digest of all a version holds of a view: states merged over its directories, group by group. */
static struct ab_hash128 version_content(const struct stage *stage, const char *view, uint64_t *rows)
{
    struct ab_version_manifest manifest;
    struct ab_error error = {0};
    struct ab_digest digest = {0};
    const struct ab_view *definition = ab_catalog_view(stage->fixture.catalog, ab_bytes_of_text(view));
    struct ab_aggregation *aggregation = NULL;
    assert_ok(ab_version_manifest_decode(ab_json_get(stage->published, view), &manifest, &error));
    assert_ok(ab_aggregation_create(definition, &aggregation, &error));
    struct ab_group_table *table = ab_group_table_create(aggregation, NULL);
    for (uint32_t d = 0; d < manifest.directories_count; d++) {
        for (uint32_t s = 0; s < manifest.shards_count; s++) {
            struct ab_version_reader *reader = NULL;
            struct ab_version_iterator *iterator = NULL;
            struct ab_bytes all = {0};
            struct ab_bytes key;
            struct ab_bytes row;
            char *path = ab_version_shard_path(stage->fixture.directory, &manifest.directories[d], s);
            assert_ok(ab_version_reader_open(path, NULL, true, &reader, &error));
            assert_ok(ab_version_iterator_open(reader, all, all, &iterator, &error));
            while (ab_version_iterator_next(iterator, &key, &row, &error) == AB_OK) {
                ab_time_us pane = 0;
                assert_ok(ab_group_key_pane(key, &pane));
                bool is_gone = definition->pane_us > 0 && pane + definition->pane_us <= manifest.horizon_us;
                assert_true(!is_gone || d + 1 < manifest.directories_count);
                if (!is_gone) {
                    assert_ok(ab_group_table_merge_row(table, key, row));
                }
            }
            ab_version_iterator_close(iterator);
            ab_version_reader_close(reader);
            ab_delete(path);
        }
    }
    struct ab_group_cursor *cursor = ab_group_cursor_open(table, NULL);
    struct ab_bytes key;
    struct ab_bytes row;
    while (ab_group_cursor_next(cursor, &key, &row)) {
        assert_ok(ab_digest_add(&digest, key, row));
    }
    ab_group_cursor_close(cursor);
    ab_group_table_destroy(table);
    ab_aggregation_destroy(aggregation);
    ab_version_manifest_fini(&manifest);
    *rows = digest.rows_count;
    return digest.sum;
}

static const char *const view_names[FIXTURE_VIEWS] = {"by_user", "by_city", "total", "big"};

static void contents_take(const struct stage *stage, struct ab_hash128 contents[FIXTURE_VIEWS])
{
    for (size_t v = 0; v < FIXTURE_VIEWS; v++) {
        uint64_t rows = 0;
        contents[v] = version_content(stage, view_names[v], &rows);
        uint64_t expected = 0;
        for (size_t s = 0; s < stage->fixture.spans_count; s++) {
            for (uint32_t p = 0; p < FIXTURE_PARTITIONS; p++) {
                expected += stage->fixture.counts[v][s][p].aggregated;
            }
        }
        /* Views with keep have lost panes; the others hold every row that was aggregated. */
        assert_true(v <= 1 ? rows <= expected && rows > 0 : rows == expected);
    }
}

/* What the job said of itself is the same with any number of ranks: all of them together. */
static void progress_check(const struct stage *stage)
{
    const struct fixture *fixture = &stage->fixture;
    uint64_t records = 0;
    uint64_t rows = 0;
    for (uint32_t p = 0; p < FIXTURE_PARTITIONS; p++) {
        records += fixture->end_offsets[fixture->spans_count - 1][p];
    }
    for (size_t s = 0; s < fixture->spans_count; s++) {
        rows += fixture->accepted[s];
    }
    assert_int_equal(stage->stages_count, STAGES);
    assert_int_equal(stage->totals[0], records);
    assert_int_equal(stage->totals[1], rows);
    assert_int_equal(stage->totals[3], FIXTURE_PARTITIONS * FIXTURE_VIEWS);
}

static void test_job_any_number_of_ranks_gives_the_same_states(void **state)
{
    struct stage *stage = *state;
    static const int ranks[] = {1, 2, 4};
    struct ab_hash128 contents[3][FIXTURE_VIEWS];
    stage->is_full = true;
    for (size_t i = 0; i < 3; i++) {
        char job[16];
        (void)snprintf(job, sizeof job, "full-%d", ranks[i]);
        assert_int_equal(job_run(ranks[i], job), 0);
        assert_int_equal(stage->publishes, (int)i + 1);
        assert_int_equal(ab_json_u64_or(ab_json_get(stage->report, "drift"), 99), 0);
        assert_int_equal(
            ab_json_u64_or(ab_json_get(stage->report, "compared"), 0), FIXTURE_VIEWS * FIXTURE_PARTITIONS * 2);
        contents_take(stage, contents[i]);
        progress_check(stage);
    }
    assert_memory_equal(contents[0], contents[1], sizeof contents[0]);
    assert_memory_equal(contents[0], contents[2], sizeof contents[0]);
}

static void test_job_incremental_equals_full(void **state)
{
    struct stage *stage = *state;
    struct ab_hash128 contents[2][FIXTURE_VIEWS];
    static const uint32_t sizes[] = {500, 20000, 300};
    for (size_t i = 0; i < 3; i++) {
        fixture_span_add(&stage->fixture, sizes[i]);
        stage->is_full = false;
        assert_int_equal(job_run(1 + (int)i, "incremental"), 0);
        contents_take(stage, contents[0]);
        stage->is_full = true;
        struct ab_json *before = json_copy(stage->published);
        assert_int_equal(job_run(2, "full"), 0);
        contents_take(stage, contents[1]);
        assert_memory_equal(contents[0], contents[1], sizeof contents[0]);
        ab_json_destroy(stage->published);
        stage->published = before;
    }
    struct ab_json *by_city = ab_json_get(stage->published, "by_city");
    assert_true(ab_json_count(ab_json_get(by_city, "directories")) > 1);
}

/* What the cuts no longer say is said by the markers, to a full run and to an incremental one. */
static void test_job_spans_of_forgotten_cuts_come_from_history(void **state)
{
    struct stage *stage = *state;
    struct ab_hash128 contents[2][FIXTURE_VIEWS];
    fixture_span_add(&stage->fixture, 700);
    stage->is_full = true;
    assert_int_equal(job_run(1, "all-cuts"), 0);
    contents_take(stage, contents[0]);
    fixture_span_add(&stage->fixture, 900);
    stage->pruned_cut = stage->fixture.spans_count - 2;
    stage->is_full = false;
    assert_int_equal(job_run(2, "pruned"), 0);
    contents_take(stage, contents[0]);
    stage->is_full = true;
    for (int ranks = 1; ranks <= 2; ranks++) {
        assert_int_equal(job_run(ranks, "pruned-full"), 0);
        contents_take(stage, contents[1]);
        assert_memory_equal(contents[0], contents[1], sizeof contents[0]);
    }
    /* A span less is no view at all. */
    int before = stage->publishes;
    char *marker = scratch_path(stage->fixture.directory, "history/_sealed/partition-2/span-2.json");
    char *aside = scratch_path(stage->fixture.directory, "aside.json");
    assert_int_equal(rename(marker, aside), 0);
    assert_int_equal(job_run(2, "lacking"), 1);
    assert_int_equal(stage->publishes, before);
    assert_int_equal(rename(aside, marker), 0);
    stage->pruned_cut = 0;
    ab_delete(aside);
    ab_delete(marker);
}

static void test_job_counts_that_differ_are_not_published(void **state)
{
    struct stage *stage = *state;
    int before = stage->publishes;
    stage->is_full = true;
    stage->is_lying = true;
    assert_int_equal(job_run(2, "lied-to"), 1);
    stage->is_lying = false;
    assert_int_equal(stage->publishes, before);
}

static void test_job_drift_is_reported_and_published(void **state)
{
    struct stage *stage = *state;
    int before = stage->publishes;
    stage->is_full = true;
    stage->is_drifting = true;
    assert_int_equal(job_run(2, "drifting"), 0);
    stage->is_drifting = false;
    assert_int_equal(stage->publishes, before + 1);
    assert_int_equal(
        ab_json_u64_or(ab_json_get(stage->report, "drift"), 0), FIXTURE_VIEWS * stage->fixture.spans_count);
    assert_true(ab_json_count(ab_json_get(stage->report, "evidence")) > 0);
}

/* Kills the whole job at many moments; whatever was half done, the next attempt ends with the same states and nothing
 * left over. */
static void test_job_killed_at_any_moment_publishes_nothing_and_is_done_again(void **state)
{
    struct stage *stage = *state;
    struct ab_hash128 contents[2][FIXTURE_VIEWS];
    stage->is_full = true;
    assert_int_equal(job_run(1, "reference"), 0);
    contents_take(stage, contents[0]);
    fixture_span_add(&stage->fixture, 40000);
    for (int i = 0; i < 8; i++) {
        /* Ranks outlive mpirun for a moment: attempts overlap here, and must not harm each other. */
        int before = stage->publishes;
        pid_t pid = job_start(2, "killed", "64");
        ab_time_sleep_us(120000 + i * 60000);
        (void)kill(-pid, SIGKILL);
        int code = job_wait(pid);
        assert_true(code == 0 || code == 128 + SIGKILL);
        assert_true(stage->publishes <= before + 1);
    }
    assert_int_equal(job_run(2, "killed"), 0);
    contents_take(stage, contents[0]);
    assert_int_equal(job_run(3, "again"), 0);
    contents_take(stage, contents[1]);
    assert_memory_equal(contents[0], contents[1], sizeof contents[0]);
    char *work = scratch_path(stage->fixture.directory, "jobs/killed/work");
    assert_false(ab_file_exists(work));
    ab_delete(work);
}

static void test_job_wrong_usage_is_exit_code_2(void **state)
{
    (void)state;
    pid_t pid = fork();
    if (pid == 0) {
        (void)setenv("ANABRANCH_BIN", AB_TEST_BIN, 1);
        (void)unsetenv("ANABRANCH_DATA");
        (void)freopen("/dev/null", "w", stderr);
        (void)execl(AB_TEST_RUN, AB_TEST_RUN, "-n", "2", "--", "--wrong", (char *)NULL);
        _exit(127);
    }
    assert_int_equal(job_wait(pid), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_job_any_number_of_ranks_gives_the_same_states),
        cmocka_unit_test(test_job_incremental_equals_full),
        cmocka_unit_test(test_job_spans_of_forgotten_cuts_come_from_history),
        cmocka_unit_test(test_job_counts_that_differ_are_not_published),
        cmocka_unit_test(test_job_drift_is_reported_and_published),
        cmocka_unit_test(test_job_killed_at_any_moment_publishes_nothing_and_is_done_again),
        cmocka_unit_test(test_job_wrong_usage_is_exit_code_2),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
