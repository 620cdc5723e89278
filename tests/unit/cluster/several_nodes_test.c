/* A controller of one of several nodes, in one process with what plays the others: cuts over all nodes and over changes
 * of leaders, batch jobs, requests that are handed on to the acting controller, and what is refused. */
#include "tests/unit/cluster/acting_fixture.h"

#include "cluster/controller/controller.h"
#include "common/catalog/catalog.h"
#include "common/history/manifest.h"

#include <inttypes.h>

#define PARTITIONS FIXTURE_PARTITIONS
#define CALL_MS 10000
#define STREAM "CREATE STREAM s (k BIGINT NOT NULL, at TIMESTAMP NOT NULL, EVENT TIME at, PARTITION KEY (k));"

/* What plays speed of a node, or a controller: a server that answers by a function. */
struct player {
    struct several *several;
    struct ab_server *server;
    atomic_uint asked;
    atomic_uint led; /* a bit a partition: those that it answers a cut for */
    atomic_bool is_refusing;
    atomic_uint retired; /* how often it was told what may go, */
    atomic_uint trimmed; /* and how often records of the log too */
};

/* A controller that acts, one that does not, and who asks that one. */
struct handing {
    struct player acting;
    struct ab_server *other;
    struct ab_channel *caller; /* NULL = not opened */
    struct ab_acting_controller target;
};

struct several {
    struct acting_fixture *fixture;
    struct ab_wire_keys node_keys;
    struct ab_wire *node_wire;
    struct ab_wire *operator_wire;
    struct player speeds[FIXTURE_NODES];
    struct handing handing;
    struct ab_controller controller; /* of node 1; its acting loop is the fixture's first one */
};

static struct ab_wire_keys keys_new(void)
{
    struct ab_crypto_keys made;
    struct ab_wire_keys keys;
    ab_crypto_keys_generate(&made);
    memcpy(keys.public_key, made.public_key, sizeof keys.public_key);
    memcpy(keys.secret_key, made.secret_key, sizeof keys.secret_key);
    return keys;
}

/* ---- speed ---- */

static void reply_json(struct ab_request *request, struct ab_json *reply)
{
    struct ab_buffer text = {0};
    ab_json_write(reply, 0, &text);
    ab_json_destroy(reply);
    ab_request_reply(request, AB_OK, NULL, ab_buffer_view(&text));
    ab_buffer_fini(&text);
}

/* Answers a cut for the partitions that it leads, as speed does; and all else with nothing. */
static void on_speed(struct ab_request *request, void *context)
{
    struct player *player = context;
    player->asked++;
    if (request->envelope.verb == AB_VERB_RETIRE) {
        struct ab_json *body = NULL;
        assert_ok(ab_json_parse(request->payload, &body, NULL));
        player->retired++;
        player->trimmed += ab_json_is_array(ab_json_get(body, "log_offsets"));
        ab_json_destroy(body);
        reply_json(request, ab_json_object());
        return;
    }
    if (player->is_refusing) {
        ab_request_reply(request, AB_INVALID, "the cut is older than one that was taken", (struct ab_bytes){0});
        return;
    }
    struct ab_json *reply = ab_json_object();
    struct ab_json *parts = ab_json_array();
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        if ((player->led >> p & 1) != 0) {
            struct ab_json *part = ab_json_object();
            ab_json_set(part, "partition", ab_json_integer(p));
            ab_json_set(part, "leader_epoch", ab_json_integer(1));
            ab_json_set(part, "offset", ab_json_integer(1000 + p));
            ab_json_append(parts, part);
        }
    }
    ab_json_set(reply, "partitions", parts);
    reply_json(request, reply);
}

/* Registers the node with this server's address and key. */
static void speed_register(struct several *several, uint32_t node)
{
    struct acting_fixture *fixture = several->fixture;
    struct ab_live_node *live = &fixture->nodes[node - 1].live;
    char path[AB_REGISTRATION_PATH_BYTES];
    struct ab_buffer text = {0};
    struct ab_error error = {0};
    fixture_node_start(fixture, node);
    char hex[2 * AB_CRYPTO_KEY_BYTES + 1];
    ab_crypto_key_format(several->node_keys.public_key, hex);
    (void)snprintf(live->endpoints.items[0].address, sizeof live->endpoints.items[0].address, "%s",
        ab_server_address(several->speeds[node - 1].server));
    (void)snprintf(live->endpoints.items[1].address, sizeof live->endpoints.items[1].address, "%s", hex);
    ab_live_path(node, live->incarnation, path);
    assert_ok(ab_live_node_encode(live, &text, &error));
    assert_ok(ab_coordination_set(
        fixture->nodes[node - 1].session, path, ab_buffer_view(&text), AB_COORDINATION_ANY_VERSION, &error));
    ab_buffer_fini(&text);
}

/* ---- life ---- */

static void catalog_store(struct several *several)
{
    struct ab_catalog *catalog = NULL;
    struct ab_buffer encoded = {0};
    struct ab_error error = {0};
    static const char text[] = STREAM " CREATE VIEW v AS SELECT k, count(*) AS n FROM s GROUP BY k;";
    if (ab_catalog_evolve(ab_bytes_of_text(text), NULL, &catalog, NULL, &error) != AB_OK) {
        fail_msg("%s", error.text);
    }
    catalog->version = 1;
    ab_catalog_encode(catalog, &encoded);
    ab_catalog_release(catalog);
    assert_ok(ab_coordination_store(several->fixture->observer, "/catalogs/1", ab_buffer_view(&encoded), &error));
    assert_ok(ab_coordination_store(several->fixture->observer, "/catalog", ab_buffer_view(&encoded), &error));
    ab_buffer_fini(&encoded);
}

static void controller_fill(struct several *several, uint32_t node, struct ab_controller *controller)
{
    struct ab_error error = {0};
    static const char *const folders[] = {"/cuts", "/jobs", "/views", "/versions"};
    controller->lock_fd = -1;
    ab_lock_init(&controller->lock);
    ab_lock_init(&controller->session_gate.lock);
    controller->node.wire = several->node_wire;
    controller->node.identity = (struct ab_cluster_identity){.cluster_id = {7}, .partitions_count = PARTITIONS};
    controller->node.config.cluster.node = node;
    controller->node.config.retained_versions = 3;
    controller->node.directory = several->fixture->directory;
    controller->coordination = several->fixture->controllers[node - 1].session;
    controller->acting_loop = several->fixture->controllers[node - 1].loop;
    controller->forward = ab_forward_create(several->node_wire);
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        assert_ok(ab_coordination_ensure(controller->coordination, folders[i], &error));
    }
}

static void wires_open(struct several *several)
{
    struct ab_error error = {0};
    struct ab_wire_keys operator_keys = keys_new();
    struct ab_wire_peer peers[] = {
        {.role = AB_ROLE_NODE, .name = "node"}, {.role = AB_ROLE_OPERATOR, .name = "operator"}};
    several->node_keys = keys_new();
    memcpy(peers[0].public_key, several->node_keys.public_key, AB_WIRE_KEY_BYTES);
    memcpy(peers[1].public_key, operator_keys.public_key, AB_WIRE_KEY_BYTES);
    const struct ab_wire_options node = {
        .keys = several->node_keys, .peers = peers, .peers_count = 2, .node = "node", .io_threads = 1};
    const struct ab_wire_options operator= {.keys = operator_keys, .node = "operator", .io_threads = 1};
    assert_ok(ab_wire_open(&node, &several->node_wire, &error));
    assert_ok(ab_wire_open(&operator, & several->operator_wire, &error));
}

static int setup(void **state)
{
    struct several *several = ab_new(struct several);
    struct ab_error error = {0};
    void *fixture = NULL;
    assert_ok(ab_crypto_init(&error));
    (void)fixture_setup(&fixture);
    several->fixture = fixture;
    wires_open(several);
    for (uint32_t n = 1; n <= FIXTURE_NODES; n++) {
        struct player *player = &several->speeds[n - 1];
        const struct ab_server_options options = {
            .address = "tcp://127.0.0.1:*", .on_request = on_speed, .context = player};
        player->several = several;
        assert_ok(ab_server_open(several->node_wire, &options, &player->server, &error));
        speed_register(several, n);
    }
    fixture_settle(several->fixture);
    assert_int_equal(fixture_acting(several->fixture), 1);
    catalog_store(several);
    controller_fill(several, 1, &several->controller);
    *state = several;
    return 0;
}

/* But for the forward. */
static void controller_empty(struct ab_controller *controller)
{
    ab_speed_links_close(&controller->slow_links);
    ab_jobs_fini(&controller->jobs);
    ab_lock_fini(&controller->lock);
    ab_lock_fini(&controller->session_gate.lock);
}

static int teardown(void **state)
{
    struct several *several = *state;
    void *fixture = several->fixture;
    controller_empty(&several->controller);
    if (several->handing.caller != NULL) {
        ab_channel_close(several->handing.caller);
        ab_server_close(several->handing.other);
        ab_forward_target(several->controller.forward, NULL);
        ab_server_close(several->handing.acting.server);
    }
    ab_forward_destroy(several->controller.forward);
    for (uint32_t n = 0; n < FIXTURE_NODES; n++) {
        ab_server_close(several->speeds[n].server);
    }
    ab_wire_close(several->operator_wire);
    ab_wire_close(several->node_wire);
    (void)fixture_teardown(&fixture);
    ab_delete(several);
    return 0;
}

/* ---- cuts ---- */

static void cut_begin(struct several *several)
{
    struct ab_catalog *catalog = NULL;
    struct ab_changes changes = {0};
    struct ab_error error = {0};
    uint64_t cut = 0;
    assert_ok(ab_catalog_current(&several->controller, &catalog, &error));
    assert_ok(ab_cut_allocate(&several->controller, catalog, &changes, &cut, &error));
    ab_catalog_release(catalog);
    assert_int_equal(cut, 1);
}

static void assert_cut_taken(struct several *several)
{
    struct ab_json *manifest = NULL;
    struct ab_error error = {0};
    assert_ok(ab_cut_read(&several->controller, 1, &manifest, &error));
    assert_string_equal(ab_json_text_or(ab_json_get(manifest, "state"), ""), "taken");
    const struct ab_json *parts = ab_json_get(manifest, "partitions");
    assert_int_equal(ab_json_count(parts), PARTITIONS);
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        assert_int_equal(ab_json_u64_or(ab_json_get(ab_json_at(parts, p), "partition"), 99), p);
        assert_int_equal(ab_json_u64_or(ab_json_get(ab_json_at(parts, p), "offset"), 0), 1000 + p);
    }
    ab_json_destroy(manifest);
}

static void test_cuts_merge_what_the_leaders_of_all_nodes_answer(void **state)
{
    struct several *several = *state;
    struct ab_error error = {0};
    several->speeds[0].led = 0x49; /* 0 3 6 */
    several->speeds[1].led = 0x92; /* 1 4 7 */
    several->speeds[2].led = 0x24; /* 2 5 */
    cut_begin(several);
    assert_ok(ab_cuts_complete_pending(&several->controller, &error));
    assert_cut_taken(several);
    for (uint32_t n = 0; n < FIXTURE_NODES; n++) {
        assert_int_equal(several->speeds[n].asked, 1);
    }
    assert_ok(ab_cuts_complete_pending(&several->controller, &error)); /* taken: nobody is asked again */
    assert_int_equal(several->speeds[0].asked, 1);
}

/* Half a second later another node leads what nobody did. */
static void leader_change(void *context)
{
    struct several *several = context;
    ab_time_sleep_us(500 * AB_US_PER_MS);
    several->speeds[0].led |= 0x92;
}

static void test_cuts_go_on_over_a_change_of_leaders(void **state)
{
    struct several *several = *state;
    struct ab_error error = {0};
    struct ab_thread thread = {0};
    several->speeds[0].led = 0x49;
    several->speeds[2].led = 0x24;
    cut_begin(several);
    ab_thread_start(&thread, "leaders", leader_change, several);
    assert_ok(ab_cuts_complete_pending(&several->controller, &error));
    ab_thread_join(&thread);
    assert_cut_taken(several);
    assert_true(several->speeds[2].asked >= 2);
}

static void test_cuts_do_not_wait_for_a_node_that_is_gone(void **state)
{
    struct several *several = *state;
    struct ab_error error = {0};
    int64_t began_us = ab_time_monotonic_us();
    ab_server_close(several->speeds[1].server); /* its address is dead before its session is */
    several->speeds[1].server = NULL;
    several->speeds[0].led = 0xdb;
    several->speeds[2].led = 0x24;
    cut_begin(several);
    fixture_node_kill(several->fixture, 2);
    fixture_settle(several->fixture);
    assert_ok(ab_cuts_complete_pending(&several->controller, &error));
    assert_cut_taken(several);
    assert_true(ab_time_monotonic_us() - began_us < 20 * AB_US_PER_SECOND);
}

static void test_cuts_that_speed_refuses_stay_pending(void **state)
{
    struct several *several = *state;
    struct ab_error error = {0};
    struct ab_json *manifest = NULL;
    several->speeds[0].led = 0x49;
    several->speeds[1].is_refusing = true;
    cut_begin(several);
    assert_int_equal(ab_cuts_complete_pending(&several->controller, &error), AB_INVALID);
    assert_non_null(strstr(error.text, "node 2"));
    assert_ok(ab_cut_read(&several->controller, 1, &manifest, &error));
    assert_string_equal(ab_json_text_or(ab_json_get(manifest, "state"), ""), "pending");
    ab_json_destroy(manifest);
}

static void test_cuts_of_a_controller_that_was_followed_change_nothing(void **state)
{
    struct several *several = *state;
    struct ab_error error = {0};
    struct ab_catalog *catalog = NULL;
    struct ab_changes changes = {0};
    uint64_t cut = 0;
    assert_ok(ab_catalog_current(&several->controller, &catalog, &error));
    assert_ok(ab_coordination_delete(several->fixture->observer, "/controller", AB_COORDINATION_ANY_VERSION, &error));
    assert_ok(fixture_step(several->fixture, 2)); /* ours still believes that it acts */
    assert_true(ab_controller_is_acting(&several->controller));
    assert_int_equal(ab_cut_allocate(&several->controller, catalog, &changes, &cut, &error), AB_STALE);
    assert_ok(fixture_step(several->fixture, 1));
    assert_int_equal(ab_cut_allocate(&several->controller, catalog, &changes, &cut, &error), AB_STALE);
    ab_catalog_release(catalog);
    assert_ok(ab_cut_next(&several->controller, &cut, &error));
    assert_int_equal(cut, 1);
}

/* ---- jobs ---- */

/* All nodes have said where their data is; this controller has read the jobs, of which there is one that runs. */
static void jobs_prepare(struct several *several)
{
    struct ab_controller *controller = &several->controller;
    const struct ab_job_request request = {.request_id = "", .ranks_count = 2};
    struct ab_process process = {0};
    struct ab_job *job = NULL;
    struct ab_error error = {0};
    bool is_new = false;
    fixture_store(several->fixture, "/places/1", "{\"format\":1,\"node\":1,\"host\":\"here\",\"directory\":\"/one\"}");
    fixture_store(several->fixture, "/places/2", "{\"format\":1,\"node\":2,\"host\":\"afar\",\"directory\":\"/two\"}");
    fixture_store(
        several->fixture, "/places/3", "{\"format\":1,\"node\":3,\"host\":\"here\",\"directory\":\"/three\"}");
    several->speeds[0].led = 0x49;
    several->speeds[1].led = 0x92;
    several->speeds[2].led = 0x24;
    assert_false(ab_jobs_are_known(controller));
    ab_job_runner_tick(controller);
    assert_true(ab_jobs_are_known(controller));
    assert_ok(ab_jobs_submit(&controller->jobs, &request, 1, &job, &is_new, &error));
    ab_job_started(job, &process, 2);
    assert_ok(ab_job_write_locked(controller, job, &error));
}

static ab_err job_begin(struct ab_controller *controller, struct ab_json **reply, struct ab_error *error)
{
    struct ab_json *payload = ab_json_object();
    *reply = NULL;
    ab_json_set(payload, "job", ab_json_text("job-1"));
    ab_json_set(payload, "ranks", ab_json_integer(3));
    ab_err err = ab_verb_job_begin(controller, payload, reply, error);
    ab_json_destroy(payload);
    return err;
}

static void test_jobs_are_told_where_the_nodes_are(void **state)
{
    struct several *several = *state;
    struct ab_error error = {0};
    struct ab_json *reply = NULL;
    struct ab_json *again = NULL;
    static const int numbers[] = {1, 3, 2}; /* its own, those of its host, the rest */
    jobs_prepare(several);
    if (job_begin(&several->controller, &reply, &error) != AB_OK) {
        fail_msg("%s", error.text);
    }
    const struct ab_json *nodes = ab_json_get(reply, "nodes");
    assert_int_equal(ab_json_count(nodes), 3);
    for (size_t i = 0; i < 3; i++) {
        const struct ab_json *node = ab_json_at(nodes, i);
        int number = numbers[i];
        assert_int_equal(ab_json_integer_or(ab_json_get(node, "node"), 0), number);
        assert_string_equal(ab_json_text_or(ab_json_get(ab_json_get(node, "speed"), "address"), ""),
            ab_server_address(several->speeds[number - 1].server));
    }
    assert_string_equal(ab_json_text_or(ab_json_get(ab_json_at(nodes, 1), "directory"), ""), "/three");
    assert_string_equal(ab_json_text_or(ab_json_get(reply, "cluster"), ""), FIXTURE_ID);
    assert_true(ab_json_is_array(ab_json_get(reply, "retained")));
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        struct ab_replica_set now;
        uint64_t version = 0;
        fixture_state(several->fixture, p, &now, &version);
        const struct ab_json *part = ab_json_at(ab_json_get(reply, "partitions"), p);
        assert_int_equal(ab_json_integer_or(ab_json_get(part, "leader"), 0), now.leader);
    }
    fixture_node_kill(several->fixture, 3);
    fixture_settle(several->fixture);
    assert_ok(job_begin(&several->controller, &again, &error)); /* the same cut, without the node that is gone */
    assert_int_equal(ab_json_count(ab_json_get(again, "nodes")), 2);
    assert_int_equal(ab_json_integer_or(ab_json_get(again, "attempt"), 0), 2);
    assert_int_equal(ab_json_integer_or(ab_json_get(again, "cut"), 0), 1);
    ab_json_destroy(again);
    ab_json_destroy(reply);
}

static void test_jobs_without_a_place_of_the_own_node_wait(void **state)
{
    struct several *several = *state;
    struct ab_error error = {0};
    struct ab_json *reply = NULL;
    jobs_prepare(several);
    fixture_store(several->fixture, "/places/1", "{\"format\":1,\"node\":1,\"host\":\"here\",\"directory\":\"one\"}");
    assert_int_equal(job_begin(&several->controller, &reply, &error), AB_UNAVAILABLE);
    assert_null(reply);
}

/* The manifest of view v that a job made at cut 1, with files of it in the first directory or none. */
static struct ab_json *manifest_make(struct several *several, bool has_files)
{
    struct ab_version_directory directory = {.path = "versions/v-1/1-1",
        .span_from = 1,
        .span_to = 1,
        .shards = ab_new_array(struct ab_version_shard, PARTITIONS)};
    struct ab_version_manifest manifest = {.view = "v",
        .definition_version = 1,
        .uid = 1,
        .cut = 1,
        .attempt = 1,
        .horizon_us = INT64_MIN,
        .shards_count = PARTITIONS,
        .directories = &directory,
        .directories_count = 1};
    struct ab_json *json = ab_version_manifest_encode(&manifest);
    for (uint32_t s = 0; s < PARTITIONS && has_files; s++) {
        struct ab_error error = {0};
        char *folder = ab_version_shard_path(several->fixture->directory, &directory, s);
        char *path = ab_new_format("%s/manifest.json", folder);
        assert_ok(ab_file_make_directory(folder, 0700, &error));
        scratch_write(path, bytes_of("{}"), 0600);
        ab_delete(path);
        ab_delete(folder);
    }
    ab_delete(directory.shards);
    return json;
}

static ab_err job_publish(
    struct several *several, const char *holders, bool has_files, struct ab_json **reply, struct ab_error *error)
{
    struct ab_json *payload = NULL;
    struct ab_json *views = ab_json_array();
    char *text = ab_new_format("{\"job\":\"job-1\",\"attempt\":1,\"cut\":1,\"report\":{},\"holders\":%s}", holders);
    *reply = NULL;
    assert_ok(ab_json_parse(ab_bytes_of_text(text), &payload, error));
    ab_json_append(views, manifest_make(several, has_files));
    ab_json_set(payload, "views", views);
    ab_err err = ab_verb_job_publish(&several->controller, payload, reply, error);
    ab_json_destroy(payload);
    ab_delete(text);
    return err;
}

static void job_begin_first(struct several *several)
{
    struct ab_error error = {0};
    struct ab_json *reply = NULL;
    jobs_prepare(several);
    if (job_begin(&several->controller, &reply, &error) != AB_OK) {
        fail_msg("%s", error.text);
    }
    ab_json_destroy(reply);
}

static bool is_published(struct several *several)
{
    return ab_coordination_get(
               several->fixture->observer, "/views/v", &(struct ab_buffer){.bytes_max = 1}, NULL, NULL) != AB_NOT_FOUND;
}

static void assert_retired(struct several *several, uint32_t retired, uint32_t trimmed)
{
    for (uint32_t n = 0; n < FIXTURE_NODES; n++) {
        assert_int_equal(several->speeds[n].retired, retired);
        assert_int_equal(several->speeds[n].trimmed, trimmed);
    }
}

static void test_publications_need_enough_verified_replicas(void **state)
{
    struct several *several = *state;
    struct ab_json *reply = NULL;
    static const char *const holders[] = {"[]", "[2]", "[1]", "[2,2]", "[2,7]", "null"};
    job_begin_first(several);
    for (size_t i = 0; i < sizeof holders / sizeof holders[0]; i++) {
        struct ab_error error = {0};
        assert_int_equal(job_publish(several, holders[i], true, &reply, &error), AB_INVALID);
        assert_non_null(strstr(error.text, "verified"));
        assert_false(is_published(several));
    }
    struct ab_error error = {0};
    scratch_remove(ab_new_format("%s/versions", several->fixture->directory));
    assert_int_equal(job_publish(several, "[1,2]", false, &reply, &error), AB_NOT_FOUND); /* said so, but it is not */
    assert_false(is_published(several));
    assert_retired(several, 0, 0);
}

/* H44: a node that lags still needs the records. */
static void test_publications_trim_logs_only_when_every_replica_has_the_spans(void **state)
{
    struct several *several = *state;
    struct ab_error error = {0};
    struct ab_json *reply = NULL;
    job_begin_first(several);
    assert_ok(job_publish(several, "[2,3]", false, &reply, &error)); /* the own node is the one that lags */
    ab_json_destroy(reply);
    assert_true(is_published(several));
    assert_retired(several, 1, 0);
}

/* Nor while one is not in sync: it has the files, but wants records still. */
static void test_publications_trim_no_logs_while_a_replica_is_behind(void **state)
{
    struct several *several = *state;
    struct ab_error error = {0};
    struct ab_json *reply = NULL;
    struct ab_buffer text = {0};
    struct ab_replica_set now;
    uint64_t version = 0;
    char path[AB_REGISTRATION_PATH_BYTES];
    job_begin_first(several);
    fixture_state(several->fixture, 5, &now, &version);
    ab_replica_members_remove(&now.isr, now.leader == 3 ? 2 : 3);
    ab_replica_set_path(5, path);
    assert_ok(ab_replica_set_encode(&now, &text, &error));
    assert_ok(ab_coordination_set(several->fixture->observer, path, ab_buffer_view(&text), version, &error));
    ab_buffer_fini(&text);
    assert_ok(job_publish(several, "[1,2,3]", true, &reply, &error));
    ab_json_destroy(reply);
    assert_true(is_published(several));
    assert_retired(several, 1, 0);
}

/* Nor while a partition is on its way to another node: that one copies the records from the start. */
static void test_publications_trim_no_logs_while_a_replica_is_being_added(void **state)
{
    struct several *several = *state;
    struct ab_error error = {0};
    struct ab_json *reply = NULL;
    struct ab_buffer text = {0};
    struct ab_replica_set now;
    uint64_t version = 0;
    char path[AB_REGISTRATION_PATH_BYTES];
    job_begin_first(several);
    fixture_state(several->fixture, 5, &now, &version);
    ab_replica_nodes_add(&now.learners, 4);
    ab_replica_set_path(5, path);
    assert_ok(ab_replica_set_encode(&now, &text, &error));
    assert_ok(ab_coordination_set(several->fixture->observer, path, ab_buffer_view(&text), version, &error));
    ab_buffer_fini(&text);
    assert_ok(job_publish(several, "[1,2,3]", true, &reply, &error));
    ab_json_destroy(reply);
    assert_true(is_published(several));
    assert_retired(several, 1, 0);
}

static void test_publications_that_are_everywhere_trim_logs(void **state)
{
    struct several *several = *state;
    struct ab_error error = {0};
    struct ab_json *reply = NULL;
    job_begin_first(several);
    assert_ok(job_publish(several, "[3,1,2]", true, &reply, &error));
    ab_json_destroy(reply);
    assert_retired(several, 1, 1);
    assert_ok(job_publish(several, "[3,1,2]", true, &reply, &error)); /* only the answer was lost */
    ab_json_destroy(reply);
    assert_retired(several, 1, 1);
}

/* Node 2's controller acts after node 1's: it goes on with the job, and what began under the first one is over. */
static void test_jobs_are_taken_up_by_who_acts_next(void **state)
{
    struct several *several = *state;
    struct ab_controller next = {0};
    struct ab_error error = {0};
    struct ab_json *reply = NULL;
    job_begin_first(several);
    assert_ok(ab_coordination_delete(several->fixture->observer, "/controller", AB_COORDINATION_ANY_VERSION, &error));
    assert_ok(fixture_step(several->fixture, 2)); /* the first one still believes that it acts */
    assert_int_equal(job_publish(several, "[1,2,3]", true, &reply, &error), AB_STALE);
    assert_false(is_published(several));
    error = (struct ab_error){0};
    assert_int_equal(job_begin(&several->controller, &reply, &error), AB_STALE);
    controller_fill(several, 2, &next);
    ab_job_runner_tick(&next);
    assert_true(ab_jobs_are_known(&next));
    const struct ab_job *job = ab_jobs_find(&next.jobs, "job-1");
    assert_non_null(job);
    assert_int_equal(job->state, AB_JOB_SUBMITTED);
    assert_int_equal(job->attempt, 1);
    assert_int_equal(job->cut, 1);
    assert_ok(job_begin(&next, &reply, &error));
    assert_int_equal(ab_json_integer_or(ab_json_get(reply, "attempt"), 0), 2);
    assert_int_equal(ab_json_integer_or(ab_json_get(reply, "cut"), 0), 1);
    ab_json_destroy(reply);
    assert_ok(fixture_step(several->fixture, 1));
    ab_job_runner_tick(&several->controller); /* it hears of it, and lets go */
    assert_false(ab_jobs_are_known(&several->controller));
    assert_int_equal(several->controller.jobs.count, 0);
    ab_forward_destroy(next.forward);
    controller_empty(&next);
}

/* A term of its own lies between: what it remembers of the first one is worth nothing. */
static void test_jobs_of_an_earlier_term_are_read_again(void **state)
{
    struct several *several = *state;
    struct ab_error error = {0};
    struct ab_json *reply = NULL;
    job_begin_first(several);
    assert_ok(ab_coordination_delete(several->fixture->observer, "/controller", AB_COORDINATION_ANY_VERSION, &error));
    assert_ok(fixture_step(several->fixture, 2));
    assert_ok(ab_coordination_delete(several->fixture->observer, "/controller", AB_COORDINATION_ANY_VERSION, &error));
    assert_ok(fixture_step(several->fixture, 1));
    assert_true(ab_controller_is_acting(&several->controller));
    assert_int_equal(job_publish(several, "[1,2,3]", true, &reply, &error), AB_STALE);
    assert_false(is_published(several));
    ab_job_runner_tick(&several->controller);
    assert_true(ab_jobs_are_known(&several->controller));
    assert_int_equal(job_publish(several, "[1,2,3]", true, &reply, &error), AB_CLOSED); /* it waits to begin anew */
    assert_ok(job_begin(&several->controller, &reply, &error));
    assert_int_equal(ab_json_integer_or(ab_json_get(reply, "attempt"), 0), 2);
    ab_json_destroy(reply);
}

/* ---- catalogs ---- */

static void test_a_changed_catalog_is_carried_by_a_cut_of_all_nodes(void **state)
{
    struct several *several = *state;
    struct ab_error error = {0};
    struct ab_json *reply = NULL;
    struct ab_json *payload = ab_json_object();
    struct ab_catalog *catalog = NULL;
    several->speeds[0].led = 0x49;
    several->speeds[1].led = 0x92;
    several->speeds[2].led = 0x24;
    ab_json_set(payload, "text", ab_json_text(STREAM));
    assert_ok(ab_verb_apply(&several->controller, payload, &reply, &error));
    uint64_t version = ab_json_u64_or(ab_json_get(reply, "version"), 0);
    assert_int_equal(ab_json_u64_or(ab_json_get(reply, "cut"), 0), 1);
    for (uint32_t n = 0; n < FIXTURE_NODES; n++) {
        assert_int_equal(several->speeds[n].asked, 1);
    }
    assert_ok(ab_catalog_current(&several->controller, &catalog, &error));
    assert_int_equal(catalog->version, version);
    assert_non_null(ab_catalog_stream(catalog, ab_bytes_of_text("s")));
    ab_catalog_release(catalog);
    ab_json_destroy(reply);
    ab_json_destroy(payload);
}

static void test_a_catalog_is_not_in_force_before_its_cut_is_taken(void **state)
{
    struct several *several = *state;
    struct ab_error error = {0};
    struct ab_json *reply = NULL;
    struct ab_json *payload = ab_json_object();
    struct ab_catalog *before = NULL;
    struct ab_catalog *after = NULL;
    assert_ok(ab_catalog_current(&several->controller, &before, &error));
    for (uint32_t n = 0; n < FIXTURE_NODES; n++) {
        several->speeds[n].is_refusing = true;
    }
    ab_json_set(payload, "text", ab_json_text(STREAM));
    assert_int_equal(ab_verb_apply(&several->controller, payload, &reply, &error), AB_INVALID);
    assert_null(reply);
    assert_ok(ab_catalog_current(&several->controller, &after, &error));
    assert_int_equal(after->version, before->version);
    ab_catalog_release(before);
    ab_catalog_release(after);
    ab_json_destroy(payload);
}

/* ---- handing on ---- */

/* Plays the acting controller: says who it was that asked, or nothing at all. */
static void on_acting(struct ab_request *request, void *context)
{
    struct player *player = context;
    player->asked++;
    if (player->is_refusing) {
        ab_request_drop(request);
        return;
    }
    ab_request_reply(request, request->role == AB_ROLE_NODE ? AB_OK : AB_DENIED, "only from a node", request->payload);
}

/* What a controller that does not act does with requests. */
static void on_handed_on(struct ab_request *request, void *context)
{
    struct several *several = context;
    ab_forward_request(several->controller.forward, request);
}

static void handing_open(struct several *several)
{
    struct handing *handing = &several->handing;
    struct ab_error error = {0};
    const struct ab_server_options acting = {
        .address = "tcp://127.0.0.1:*", .on_request = on_acting, .context = &handing->acting};
    const struct ab_server_options other = {
        .address = "tcp://127.0.0.1:*", .on_request = on_handed_on, .context = several};
    assert_ok(ab_server_open(several->node_wire, &acting, &handing->acting.server, &error));
    assert_ok(ab_server_open(several->node_wire, &other, &handing->other, &error));
    handing->target = (struct ab_acting_controller){.node = 2, .incarnation = {.low = 5}};
    memcpy(handing->target.public_key, several->node_keys.public_key, AB_WIRE_KEY_BYTES);
    (void)snprintf(
        handing->target.address, sizeof handing->target.address, "%s", ab_server_address(handing->acting.server));
    struct ab_channel_options channel = {.address = ab_server_address(handing->other)};
    memcpy(channel.server_key, several->node_keys.public_key, AB_WIRE_KEY_BYTES);
    assert_ok(ab_channel_open(several->operator_wire, &channel, &handing->caller, &error));
}

static ab_err handing_call(struct handing *handing, int timeout_ms, struct ab_error *error)
{
    struct ab_answer answer = {0};
    *error = (struct ab_error){0};
    ab_err err =
        ab_channel_call(handing->caller, AB_VERB_JOB_LIST, ab_bytes_of_text("{\"a\":1}"), timeout_ms, &answer, error);
    if (err == AB_OK) {
        assert_int_equal(answer.payload.bytes, 7);
    }
    ab_answer_free(&answer);
    return err;
}

static void test_requests_are_handed_on_to_who_acts(void **state)
{
    struct several *several = *state;
    struct handing *handing = &several->handing;
    struct ab_error error;
    handing_open(several);
    assert_int_equal(handing_call(handing, CALL_MS, &error), AB_UNAVAILABLE);
    assert_non_null(strstr(error.text, "no controller"));
    ab_forward_target(several->controller.forward, &handing->target);
    for (int i = 0; i < 20; i++) {
        assert_ok(handing_call(handing, CALL_MS, &error));
    }
    assert_int_equal(handing->acting.asked, 20);
}

static void test_requests_that_were_handed_on_are_not_handed_on_again(void **state)
{
    struct several *several = *state;
    struct handing *handing = &several->handing;
    struct ab_error error;
    handing_open(several);
    (void)snprintf(handing->target.address, sizeof handing->target.address, "%s", ab_server_address(handing->other));
    ab_forward_target(several->controller.forward, &handing->target); /* it takes itself for the acting one */
    assert_int_equal(handing_call(handing, CALL_MS, &error), AB_UNAVAILABLE);
    assert_non_null(strstr(error.text, "does not act"));
}

/* Takes the acting controller away while a request is with it. */
static void target_remove(void *context)
{
    struct several *several = context;
    ab_time_sleep_us(300 * AB_US_PER_MS);
    ab_forward_target(several->controller.forward, NULL);
}

static void test_requests_are_answered_when_the_acting_controller_does_not(void **state)
{
    struct several *several = *state;
    struct handing *handing = &several->handing;
    struct ab_error error;
    struct ab_thread thread = {0};
    handing_open(several);
    handing->acting.is_refusing = true;
    ab_forward_target(several->controller.forward, &handing->target);
    ab_thread_start(&thread, "target", target_remove, several);
    assert_int_equal(handing_call(handing, CALL_MS, &error), AB_OUTCOME_UNKNOWN);
    ab_thread_join(&thread);
}

/* Takes answers until none comes for a while; how many have the status. */
static uint32_t answers_count(struct several *several, ab_err status)
{
    uint32_t found = 0;
    struct ab_answer answer = {0};
    while (ab_channel_receive(several->handing.caller, 500, &answer) == AB_OK) {
        found += answer.envelope.status == status;
        ab_answer_free(&answer);
    }
    return found;
}

static void test_requests_that_wait_are_bounded_in_number_and_time(void **state)
{
    struct several *several = *state;
    struct handing *handing = &several->handing;
    struct ab_error error;
    handing_open(several);
    handing->acting.is_refusing = true;
    ab_forward_target(several->controller.forward, &handing->target);
    const uint32_t count = AB_FORWARD_MAX + 50;
    for (uint32_t i = 0; i < count; i++) {
        struct ab_envelope envelope = {.verb = AB_VERB_JOB_LIST, .deadline_ms = 60000};
        while (ab_channel_send(handing->caller, &envelope, ab_bytes_of_text("{}")) != AB_OK) {
            ab_time_sleep_us(AB_US_PER_MS);
        }
    }
    uint32_t refused = answers_count(several, AB_FULL);
    assert_true(refused >= count - AB_FORWARD_MAX);
    ab_forward_tick(several->controller.forward, ab_time_monotonic_us() + 50 * AB_US_PER_SECOND);
    assert_int_equal(answers_count(several, AB_TIMEOUT), 0); /* their callers still wait */
    ab_forward_tick(several->controller.forward, ab_time_monotonic_us() + 70 * AB_US_PER_SECOND);
    assert_true(answers_count(several, AB_TIMEOUT) > 0);
    handing->acting.is_refusing = false;
    assert_ok(handing_call(handing, CALL_MS, &error)); /* there is room again */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_cuts_merge_what_the_leaders_of_all_nodes_answer, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cuts_go_on_over_a_change_of_leaders, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cuts_do_not_wait_for_a_node_that_is_gone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cuts_that_speed_refuses_stay_pending, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cuts_of_a_controller_that_was_followed_change_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_jobs_are_told_where_the_nodes_are, setup, teardown),
        cmocka_unit_test_setup_teardown(test_jobs_without_a_place_of_the_own_node_wait, setup, teardown),
        cmocka_unit_test_setup_teardown(test_publications_need_enough_verified_replicas, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_publications_trim_logs_only_when_every_replica_has_the_spans, setup, teardown),
        cmocka_unit_test_setup_teardown(test_publications_trim_no_logs_while_a_replica_is_behind, setup, teardown),
        cmocka_unit_test_setup_teardown(test_publications_trim_no_logs_while_a_replica_is_being_added, setup, teardown),
        cmocka_unit_test_setup_teardown(test_publications_that_are_everywhere_trim_logs, setup, teardown),
        cmocka_unit_test_setup_teardown(test_jobs_are_taken_up_by_who_acts_next, setup, teardown),
        cmocka_unit_test_setup_teardown(test_jobs_of_an_earlier_term_are_read_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_changed_catalog_is_carried_by_a_cut_of_all_nodes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_catalog_is_not_in_force_before_its_cut_is_taken, setup, teardown),
        cmocka_unit_test_setup_teardown(test_requests_are_handed_on_to_who_acts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_requests_that_were_handed_on_are_not_handed_on_again, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_requests_are_answered_when_the_acting_controller_does_not, setup, teardown),
        cmocka_unit_test_setup_teardown(test_requests_that_wait_are_bounded_in_number_and_time, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
