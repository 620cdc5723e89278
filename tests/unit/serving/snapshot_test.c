/* Snapshots: what a router knows follows the coordination service and the endpoints, and stays whole for who holds one.
 */
#include "serving/snapshot.h"

#include "common/coordination/coordination.h"
#include "common/wire/node.h"

#include "tests/support/test.h"
#include "tests/unit/serving/version_fixture.h"

#include <unistd.h>

#define STREAM "CREATE STREAM s (k TEXT NOT NULL, t TIMESTAMP NOT NULL, n BIGINT, EVENT TIME t, PARTITION KEY (k));\n"
#define VIEW_V "CREATE VIEW v AS SELECT k, count(*) AS rows FROM s GROUP BY k;\n"
#define VIEW_V_CHANGED "CREATE VIEW v AS SELECT k, sum(n) AS total FROM s GROUP BY k;\n"
#define VIEW_W "CREATE VIEW w AS SELECT k, max(n) AS most FROM s GROUP BY k;\n"

struct world {
    char *directory;
    struct ab_coordination *coordination; /* the controller's */
    struct ab_catalog *catalog;           /* the newest */
    struct ab_store_cache *cache;
    struct ab_versions *versions;
    struct ab_snapshot_source *source;
    struct ab_snapshot *snapshot; /* what world_look saw last */
};

static void node_put(struct world *world, const char *path, struct ab_bytes value)
{
    struct ab_error error = {0};
    ab_err err = ab_coordination_create(world->coordination, path, value, false, &error);
    if (err == AB_EXISTS) {
        err = ab_coordination_set(world->coordination, path, value, AB_COORDINATION_ANY_VERSION, &error);
    }
    if (err != AB_OK) {
        fail_msg("%s: %s", path, error.text);
    }
}

/* Applies a catalog as the controller does: kept by its version, and the newest. */
static void catalog_apply(struct world *world, const char *text)
{
    struct ab_error error = {0};
    struct ab_catalog *next = NULL;
    struct ab_buffer encoded = {0};
    if (ab_catalog_evolve(ab_bytes_of_text(text), world->catalog, &next, NULL, &error) != AB_OK) {
        fail_msg("%s", error.text);
    }
    next->version = world->catalog == NULL ? 1 : world->catalog->version + 1;
    ab_catalog_encode(next, &encoded);
    char *path = ab_new_format("/catalogs/%llu", (unsigned long long)next->version);
    node_put(world, path, ab_buffer_view(&encoded));
    node_put(world, "/catalog", ab_buffer_view(&encoded));
    ab_delete(path);
    ab_buffer_fini(&encoded);
    ab_catalog_release(world->catalog);
    world->catalog = next;
}

/* Publishes a version of v's newest definition. */
static void version_publish(struct world *world, uint64_t cut)
{
    const struct ab_view *view = ab_catalog_view(world->catalog, ab_bytes_of_text("v"));
    struct version_wanted wanted = {"v", view->uid, view->definition_version, cut, cut > 1 ? 2 : 1, 1};
    char *text = version_text(world->directory, &wanted);
    node_put(world, "/views/v", ab_bytes_of_text(text));
    ab_delete(text);
}

static ab_err source_open(struct world *world, struct ab_error *error)
{
    static const struct ab_config config; /* the only node */
    const struct ab_snapshot_options options = {
        .directory = world->directory, .config = &config, .partitions_count = 4, .versions = world->versions};
    return ab_snapshot_source_open(&options, &world->source, error);
}

/* A cluster's directory with an empty coordination tree; no source yet. */
static struct world world_make(void)
{
    struct world world = {.directory = scratch_make(), .cache = ab_store_cache_create(4u << 20, 1)};
    struct ab_error error = {0};
    char *run = scratch_path(world.directory, "run");
    char *address = ab_new_format("local:%s/coordination", world.directory);
    assert_ok(ab_file_make_directory(run, 0700, &error));
    assert_ok(ab_coordination_open(address, &world.coordination, &error));
    node_put(&world, "/catalogs", (struct ab_bytes){0});
    node_put(&world, "/views", (struct ab_bytes){0});
    world.versions = ab_versions_create(world.directory, world.cache);
    ab_delete(address);
    ab_delete(run);
    return world;
}

/* One with a catalog of the view v and a source. */
static struct world world_open(void)
{
    struct world world = world_make();
    struct ab_error error = {0};
    catalog_apply(&world, STREAM VIEW_V);
    if (source_open(&world, &error) != AB_OK) {
        fail_msg("%s", error.text);
    }
    return world;
}

static void world_close(struct world *world)
{
    ab_snapshot_release(world->snapshot);
    ab_snapshot_source_close(world->source);
    ab_versions_destroy(world->versions);
    ab_store_cache_destroy(world->cache);
    ab_catalog_release(world->catalog);
    ab_coordination_close(world->coordination);
    scratch_remove(world->directory);
}

/* Refreshes, and gives the view as it is answered now; NULL when there is none. */
static const struct ab_served_view *world_look(struct world *world, const char *view)
{
    ab_snapshot_source_refresh(world->source);
    ab_snapshot_release(world->snapshot);
    world->snapshot = ab_snapshot_source_current(world->source);
    return ab_snapshot_view(world->snapshot, ab_bytes_of_text(view));
}

static void test_snapshot_without_a_catalog_is_unavailable(void **state)
{
    (void)state;
    struct world world = world_make();
    struct ab_error error = {0};
    assert_int_equal(source_open(&world, &error), AB_UNAVAILABLE);
    assert_string_equal(error.text, "the cluster has no catalog yet");
    assert_null(world.source);
    node_put(&world, "/catalog", ab_bytes_of_text("nonsense"));
    assert_int_not_equal(source_open(&world, &error), AB_OK);
    assert_null(world.source);
    world_close(&world);
}

static void test_snapshot_follows_the_catalog(void **state)
{
    (void)state;
    struct world world = world_open();
    const struct ab_served_view *v = world_look(&world, "v");
    assert_non_null(v);
    assert_null(v->version);
    assert_int_equal(world.snapshot->partitions_count, 4);
    assert_null(ab_snapshot_view(world.snapshot, ab_bytes_of_text("w")));
    struct ab_snapshot *before = ab_snapshot_acquire(world.snapshot);
    catalog_apply(&world, STREAM VIEW_V VIEW_W);
    assert_non_null(world_look(&world, "w"));
    assert_non_null(world_look(&world, "v"));
    assert_int_equal(before->views_count, 1); /* who holds one keeps it */
    assert_non_null(ab_snapshot_view(before, ab_bytes_of_text("v"))->aggregation);
    ab_snapshot_release(before);
    catalog_apply(&world, STREAM VIEW_W);
    assert_null(world_look(&world, "v"));
    world_close(&world);
}

static void test_snapshot_follows_the_version_pointer(void **state)
{
    (void)state;
    struct world world = world_open();
    version_publish(&world, 1);
    assert_int_equal(ab_served_version_manifest(world_look(&world, "v")->version)->cut, 1);
    struct ab_snapshot *before = ab_snapshot_acquire(world.snapshot);
    version_publish(&world, 2);
    assert_int_equal(ab_served_version_manifest(world_look(&world, "v")->version)->cut, 2);
    const struct ab_served_view *pinned = ab_snapshot_view(before, ab_bytes_of_text("v"));
    assert_int_equal(ab_served_version_manifest(pinned->version)->cut, 1);
    struct ab_buffer value = {0};
    struct ab_error error = {0};
    assert_ok(ab_version_reader_get(
        ab_served_version_reader(pinned->version, 0, 0), ab_bytes_of_text("00000000-1"), &value, &error));
    ab_buffer_fini(&value);
    ab_snapshot_release(before);
    world_close(&world);
}

static void test_snapshot_serves_the_old_definition_until_the_new_one_has_a_version(void **state)
{
    (void)state;
    struct world world = world_open();
    version_publish(&world, 1);
    uint32_t old_uid = world_look(&world, "v")->view->uid;
    for (int i = 0; i < 5; i++) { /* catalogs 2 to 11: their names do not sort as numbers */
        catalog_apply(&world, STREAM VIEW_V VIEW_W);
        catalog_apply(&world, STREAM VIEW_V);
    }
    catalog_apply(&world, STREAM VIEW_V_CHANGED);
    const struct ab_served_view *v = world_look(&world, "v");
    assert_int_equal(v->view->uid, old_uid);
    assert_string_equal(v->view->measures[0].name, "rows");
    assert_int_equal(ab_served_version_manifest(v->version)->uid, old_uid);
    assert_int_equal(v->catalog->version, 11);
    assert_int_equal(world.snapshot->catalog->version, 12);
    version_publish(&world, 2);
    v = world_look(&world, "v");
    assert_int_not_equal(v->view->uid, old_uid);
    assert_string_equal(v->view->measures[0].name, "total");
    assert_int_equal(ab_served_version_manifest(v->version)->cut, 2);
    world_close(&world);
}

static void test_snapshot_forgotten_definition_is_not_served(void **state)
{
    (void)state;
    struct world world = world_open();
    struct ab_error error = {0};
    version_publish(&world, 1);
    uint32_t old_uid = world_look(&world, "v")->view->uid;
    catalog_apply(&world, STREAM VIEW_V_CHANGED);
    assert_ok(ab_coordination_delete(world.coordination, "/catalogs/1", AB_COORDINATION_ANY_VERSION, &error));
    const struct ab_served_view *v = world_look(&world, "v");
    assert_int_not_equal(v->view->uid, old_uid);
    assert_null(v->version);
    world_close(&world);
}

static void test_snapshot_that_cannot_be_made_leaves_the_one_before(void **state)
{
    (void)state;
    static const char *const pointers[] = {"", "{", "{\"format\":1}", "{\"format\":2}"};
    struct world world = world_open();
    version_publish(&world, 1);
    assert_non_null(world_look(&world, "v")->version);
    for (size_t i = 0; i < sizeof pointers / sizeof *pointers; i++) {
        node_put(&world, "/views/v", ab_bytes_of_text(pointers[i]));
        assert_int_equal(ab_served_version_manifest(world_look(&world, "v")->version)->cut, 1);
    }
    version_publish(&world, 2);
    assert_int_equal(ab_served_version_manifest(world_look(&world, "v")->version)->cut, 2);
    world_close(&world);
}

static void test_snapshot_damaged_version_is_told_beside_good_views_until_it_is_mended(void **state)
{
    (void)state;
    struct world world = world_open();
    struct ab_error error = {0};
    catalog_apply(&world, STREAM VIEW_V VIEW_W);
    version_publish(&world, 1);
    char *version = scratch_path(world.directory, "versions");
    char *aside = scratch_path(world.directory, "aside");
    assert_int_equal(rename(version, aside), 0);
    ab_snapshot_source_close(world.source); /* a new process: nothing good was ever open */
    assert_ok(source_open(&world, &error));
    const struct ab_served_view *v = world_look(&world, "v");
    assert_null(v->version);
    assert_non_null(strstr(v->damage, "versions/"));
    assert_null(world_look(&world, "w")->damage);
    assert_int_equal(rename(aside, version), 0);
    for (int i = 0; i < 500 && world_look(&world, "v")->damage != NULL; i++) {
        ab_time_sleep_us(10 * AB_US_PER_MS);
    }
    v = world_look(&world, "v");
    assert_null(v->damage);
    assert_int_equal(ab_served_version_manifest(v->version)->cut, 1);
    assert_int_equal(rename(version, aside), 0); /* open already: it stays */
    catalog_apply(&world, STREAM VIEW_V);
    assert_null(world_look(&world, "v")->damage);
    ab_delete(version);
    ab_delete(aside);
    world_close(&world);
}

static void test_snapshot_endpoints_appear_move_and_vanish(void **state)
{
    (void)state;
    struct world world = world_open();
    struct ab_error error = {0};
    struct ab_node node = {.directory = world.directory, .keys = {.public_key = {1, 2, 3}}};
    char *path = scratch_path(world.directory, "run/speed.json");
    (void)world_look(&world, "v");
    assert_false(world.snapshot->speed.is_known);
    assert_ok(ab_node_endpoint_write(&node, "speed", "tcp://127.0.0.1:4000", &error));
    (void)world_look(&world, "v");
    assert_true(world.snapshot->speed.is_known);
    assert_string_equal(world.snapshot->speed.address, "tcp://127.0.0.1:4000");
    assert_memory_equal(world.snapshot->speed.public_key, node.keys.public_key, AB_WIRE_KEY_BYTES);
    assert_ok(ab_node_endpoint_write(&node, "speed", "tcp://127.0.0.1:4001", &error));
    (void)world_look(&world, "v");
    assert_string_equal(world.snapshot->speed.address, "tcp://127.0.0.1:4001");
    assert_int_equal(unlink(path), 0);
    (void)world_look(&world, "v");
    assert_false(world.snapshot->speed.is_known);
    ab_delete(path);
    world_close(&world);
}

static void test_snapshot_changes_are_noticed_without_being_asked(void **state)
{
    (void)state;
    struct world world = world_open();
    uint32_t views_count = 0;
    catalog_apply(&world, STREAM VIEW_V VIEW_W);
    for (int i = 0; i < 500 && views_count != 2; i++) {
        ab_time_sleep_us(10 * AB_US_PER_MS);
        struct ab_snapshot *snapshot = ab_snapshot_source_current(world.source);
        views_count = snapshot->views_count;
        ab_snapshot_release(snapshot);
    }
    assert_int_equal(views_count, 2);
    world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_snapshot_without_a_catalog_is_unavailable),
        cmocka_unit_test(test_snapshot_follows_the_catalog),
        cmocka_unit_test(test_snapshot_follows_the_version_pointer),
        cmocka_unit_test(test_snapshot_serves_the_old_definition_until_the_new_one_has_a_version),
        cmocka_unit_test(test_snapshot_forgotten_definition_is_not_served),
        cmocka_unit_test(test_snapshot_that_cannot_be_made_leaves_the_one_before),
        cmocka_unit_test(test_snapshot_damaged_version_is_told_beside_good_views_until_it_is_mended),
        cmocka_unit_test(test_snapshot_endpoints_appear_move_and_vanish),
        cmocka_unit_test(test_snapshot_changes_are_noticed_without_being_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
