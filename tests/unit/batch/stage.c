#include "tests/unit/batch/stage.h"

#include "common/aggregate/group_key.h"
#include "common/aggregate/group_table.h"
#include "common/config/config.h"
#include "common/crypto/key_file.h"
#include "common/history/manifest.h"
#include "common/store/version.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const stage_names[STAGES] = {"seal", "combine", "reconcile", "write", "publish"};
static struct stage *the_stage;

struct ab_json *stage_json_copy(const struct ab_json *json)
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
        ab_json_set(stage->published, ab_json_text_or(ab_json_get(manifest, "view"), "?"), stage_json_copy(manifest));
    }
    ab_json_destroy(stage->report);
    stage->report = stage_json_copy(ab_json_get(body, "report"));
    const struct ab_json *holders = ab_json_get(body, "holders");
    stage->holders = 0;
    for (size_t i = 0; i < ab_json_count(holders); i++) {
        stage->holders |= 1u << (ab_json_u64_or(ab_json_at(holders, i), 0) - 1);
    }
    stage->publishes++;
}

/* Names the nodes that live, and who leads what. */
static void nodes_set(struct stage *stage, struct ab_json *answer)
{
    char host[256] = "";
    char key[2 * AB_CRYPTO_KEY_BYTES + 1];
    char cluster[33];
    uint32_t live[STAGE_NODES];
    uint32_t live_count = 0;
    struct ab_json *nodes = ab_json_array();
    assert_int_equal(gethostname(host, sizeof host - 1), 0);
    ab_crypto_key_format(stage->node.keys.public_key, key);
    ab_cluster_id_format(stage->node.identity.cluster_id, cluster);
    for (uint32_t n = 0; n < STAGE_NODES; n++) {
        if (stage->is_down[n]) {
            continue;
        }
        struct ab_json *entry = ab_json_object();
        struct ab_json *speed = ab_json_object();
        ab_json_set(speed, "address", ab_json_text(ab_server_address(stage->server)));
        ab_json_set(speed, "key", ab_json_text(key));
        ab_json_set(entry, "node", ab_json_integer(n + 1));
        ab_json_set(entry, "host", ab_json_text(host));
        ab_json_set(entry, "directory", ab_json_text(stage->directories[n]));
        ab_json_set(entry, "speed", speed);
        ab_json_append(nodes, entry);
        live[live_count++] = n + 1;
    }
    ab_json_set(answer, "cluster", ab_json_text(cluster));
    ab_json_set(answer, "retained", ab_json_array()); /* nothing but what stands */
    ab_json_set(answer, "nodes", nodes);
    for (uint32_t p = 0; p < FIXTURE_PARTITIONS; p++) {
        ab_json_set(ab_json_at(ab_json_get(answer, "partitions"), p), "leader", ab_json_integer(live[p % live_count]));
    }
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
            stage->attempt, stage_json_copy(stage->published));
        ab_json_set(answer, "full", ab_json_boolean(stage->is_full));
        if (stage->pruned_cut > 0) {
            fixture_answer_prune(&stage->fixture, answer, stage->pruned_cut);
        }
        if (stage->is_of_several) {
            nodes_set(stage, answer);
        }
        reply_json(request, answer);
        break;
    }
    case AB_VERB_JOB_PROGRESS:
        if (!stage->is_of_several) {
            progress_take(stage, body);
        }
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

int stage_setup(void **state)
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
    stage->directories[0] = stage->fixture.directory;
    *state = the_stage = stage;
    return 0;
}

int stage_teardown(void **state)
{
    struct stage *stage = *state;
    ab_server_close(stage->server);
    ab_node_close(&stage->node);
    for (uint32_t n = 1; n < STAGE_NODES; n++) {
        if (stage->directories[n] != NULL) {
            scratch_remove(stage->directories[n]);
        }
    }
    ab_json_destroy(stage->published);
    ab_json_destroy(stage->report);
    fixture_fini(&stage->fixture);
    ab_delete(stage);
    return 0;
}

/* ---- several nodes ---- */

static void config_write(const char *directory, uint32_t node)
{
    struct ab_config config = {0};
    struct ab_error error = {0};
    char *yaml = scratch_path(directory, "config/node.yaml");
    (void)snprintf(config.data, sizeof config.data, "%s", directory);
    config.cluster.node = node;
    ab_config_defaults(&config);
    assert_ok(ab_config_write(yaml, &config, &error));
    ab_delete(yaml);
}

static void tree_copy(const char *from, const char *to)
{
    pid_t pid = fork();
    if (pid == 0) {
        (void)execlp("cp", "cp", "-a", from, to, (char *)NULL);
        _exit(127);
    }
    assert_int_equal(stage_job_wait(pid), 0);
}

void stage_logs_copy(const struct stage *stage)
{
    struct ab_error error = {0};
    for (uint32_t n = 1; n < STAGE_NODES; n++) {
        for (uint32_t p = 0; p < FIXTURE_PARTITIONS; p++) {
            char *from = ab_new_format("%s/partition-%u", stage->directories[0], p);
            char *to = ab_new_format("%s/partition-%u", stage->directories[n], p);
            assert_ok(ab_file_remove_tree(to, &error));
            tree_copy(from, to);
            ab_delete(to);
            ab_delete(from);
        }
    }
}

void stage_nodes_make(struct stage *stage)
{
    struct ab_error error = {0};
    config_write(stage->directories[0], 1);
    for (uint32_t n = 1; n < STAGE_NODES; n++) {
        stage->directories[n] = scratch_make();
        char *config = scratch_path(stage->directories[n], "config");
        assert_ok(ab_file_make_directory(config, 0700, &error));
        assert_ok(ab_cluster_identity_write(stage->directories[n], &stage->node.identity, &error));
        config_write(stage->directories[n], n + 1);
        ab_delete(config);
    }
    stage_logs_copy(stage);
    stage->is_of_several = true;
}

/* ---- jobs ---- */

/* Starts batch/run in a process group of its own. */
pid_t stage_job_start(int ranks, const char *job, const char *memory_mb)
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

int stage_job_wait(pid_t pid)
{
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int stage_job_run(int ranks, const char *job)
{
    return stage_job_wait(stage_job_start(ranks, job, "64"));
}

/* Digest of all a version holds of a view: states merged over its directories, group by group. */
static struct ab_hash128 version_content(
    const struct stage *stage, const char *directory, const char *view, uint64_t *rows)
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
            char *path = ab_version_shard_path(directory, &manifest.directories[d], s);
            assert_ok(ab_version_reader_open(path, NULL, true, &reader, &error));
            assert_ok(ab_version_iterator_open(reader, all, all, &iterator, &error));
            while (ab_version_iterator_next(iterator, &key, &row, &error) == AB_OK) {
                ab_time_us pane = 0;
                assert_ok(ab_group_key_pane(key, &pane));
                bool is_gone = definition->pane_us > 0 && manifest.horizon_us != INT64_MIN &&
                               ab_period_next(&definition->pane, pane) <= manifest.horizon_us;
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

void stage_contents(const struct stage *stage, const char *directory, struct ab_hash128 contents[FIXTURE_VIEWS])
{
    for (size_t v = 0; v < FIXTURE_VIEWS; v++) {
        uint64_t rows = 0;
        contents[v] = version_content(stage, directory, view_names[v], &rows);
        uint64_t expected = 0;
        for (size_t s = 0; s < stage->fixture.spans_count; s++) {
            for (uint32_t p = 0; p < FIXTURE_PARTITIONS; p++) {
                expected += stage->fixture.counts[v][s][p].aggregated;
            }
        }
        /* Views with keep have lost panes, with the ninth cut the last ones; the others hold every row that was
         * aggregated. */
        bool has_some = rows > 0 || stage->fixture.spans_count >= 9;
        assert_true(v <= 1 ? rows <= expected && has_some : rows == expected);
    }
}
