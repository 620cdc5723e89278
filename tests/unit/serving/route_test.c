#include "serving/route.h"

#include <inttypes.h>

#include "common/aggregate/group_key.h"

#include "tests/support/test.h"

#define PARTITIONS 16u

static const char catalog_text[] =
    "CREATE STREAM s (user_id BIGINT NOT NULL, region TEXT NOT NULL, shop TEXT NOT NULL, amount DOUBLE,\n"
    "  at TIMESTAMP NOT NULL, EVENT TIME at, PARTITION KEY (user_id, region));\n"
    "CREATE VIEW aligned AS SELECT region, user_id, count(*) AS n FROM s GROUP BY region, user_id;\n"
    "CREATE VIEW crossing AS SELECT shop, count(*) AS n FROM s GROUP BY shop;\n"
    "CREATE VIEW whole AS SELECT count(*) AS n FROM s GROUP BY TUMBLE(at, INTERVAL '1 hour');\n";

struct routed {
    bool partitions[PARTITIONS];
    bool shards[PARTITIONS];
    uint32_t partitions_count;
    uint32_t shards_count;
};

static struct routed route(const char *sql)
{
    struct ab_catalog *catalog = NULL;
    struct ab_query *query = NULL;
    struct ab_error error = {0};
    struct routed routed = {0};
    assert_ok(ab_catalog_parse(bytes_of(catalog_text), &catalog, &error));
    assert_ok(ab_query_parse(catalog, bytes_of(sql), &query, &error));
    ab_route_query(query, PARTITIONS, routed.partitions, routed.shards);
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        routed.partitions_count += routed.partitions[p];
        routed.shards_count += routed.shards[p];
    }
    ab_query_destroy(query);
    ab_catalog_release(catalog);
    return routed;
}

static uint32_t partition_of(int64_t user_id, const char *region)
{
    struct ab_buffer key = {0};
    struct ab_value user = {.type = {.kind = AB_TYPE_BIGINT}, .bigint = user_id};
    struct ab_value place = {.type = {.kind = AB_TYPE_TEXT}, .text = bytes_of(region)};
    ab_key_put(&key, &user);
    ab_key_put(&key, &place);
    uint64_t hash = ab_hash64(AB_HASH_PARTITION, ab_buffer_view(&key));
    ab_buffer_fini(&key);
    return (uint32_t)(hash % PARTITIONS);
}

static void test_route_pinned_group_of_an_aligned_view_touches_one_partition(void **state)
{
    (void)state;
    for (int64_t user = 0; user < 40; user++) {
        char sql[120];
        snprintf(sql, sizeof sql, "SELECT n FROM aligned WHERE user_id = %" PRId64 " AND region = 'north'", user);
        struct routed routed = route(sql);
        assert_int_equal(routed.partitions_count, 1);
        assert_int_equal(routed.shards_count, 1);
        assert_true(routed.partitions[partition_of(user, "north")]); /* keys stand in another order in the view */
        assert_true(routed.shards[partition_of(user, "north")]);
    }
}

static void test_route_in_list_touches_the_partition_of_each_value(void **state)
{
    (void)state;
    struct routed routed = route("SELECT n FROM aligned WHERE user_id IN (1, 2, 3) AND region IN ('a', 'b')");
    static const char *const regions[2] = {"a", "b"};
    bool expected[PARTITIONS] = {0};
    for (int64_t user = 1; user <= 3; user++) {
        for (int r = 0; r < 2; r++) {
            expected[partition_of(user, regions[r])] = true;
        }
    }
    assert_memory_equal(routed.partitions, expected, sizeof expected);
    assert_memory_equal(routed.shards, expected, sizeof expected);
}

static void test_route_missing_pin_touches_everything(void **state)
{
    (void)state;
    struct routed routed = route("SELECT n FROM aligned WHERE user_id = 1");
    assert_int_equal(routed.partitions_count, PARTITIONS);
    assert_int_equal(routed.shards_count, PARTITIONS);
}

static void test_route_crossing_view_asks_one_shard_and_every_partition(void **state)
{
    (void)state;
    struct routed routed = route("SELECT n FROM crossing WHERE shop = 'x'");
    assert_int_equal(routed.partitions_count, PARTITIONS);
    assert_int_equal(routed.shards_count, 1);
}

static void test_route_view_without_keys_touches_everything(void **state)
{
    (void)state;
    struct routed routed = route("SELECT n FROM whole");
    assert_int_equal(routed.partitions_count, PARTITIONS);
    assert_int_equal(routed.shards_count, PARTITIONS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_route_pinned_group_of_an_aligned_view_touches_one_partition),
        cmocka_unit_test(test_route_in_list_touches_the_partition_of_each_value),
        cmocka_unit_test(test_route_missing_pin_touches_everything),
        cmocka_unit_test(test_route_crossing_view_asks_one_shard_and_every_partition),
        cmocka_unit_test(test_route_view_without_keys_touches_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
