/* Producers among several nodes: blocks go to who leads, and a block's outcome is told as it is when leaders change. */
#include "tests/unit/common/client/fake.h"

#include "common/base/time.h"

#include "tests/support/test.h"

#define KEYS 40

struct world {
    struct fake fake;
    struct anabranch_client *client;
    struct anabranch_producer *producer;
};

/* Partition 0 is led by the first speed, partition 1 by `second`; blocks have so long for an outcome. */
static struct world *world_open(enum fake_leader second, int deadline_ms)
{
    struct world *world = ab_new(struct world);
    fake_init(&world->fake, 2);
    fake_lead(&world->fake, 0, FAKE_FIRST);
    fake_lead(&world->fake, 1, second);
    world->client = fake_client(&world->fake, 5000);
    const struct anabranch_producer_options options = {.stream = "s", .deadline_ms = deadline_ms};
    if (anabranch_producer_open(world->client, &options, &world->producer) != ANABRANCH_OK) {
        fail_msg("%s", anabranch_last_error(world->client));
    }
    return world;
}

static struct anabranch_counts world_close(struct world *world, enum anabranch_result result)
{
    struct anabranch_counts counts;
    assert_int_equal(anabranch_flush(world->producer), result);
    anabranch_producer_counts(world->producer, &counts);
    (void)anabranch_producer_close(world->producer); /* the same again */
    anabranch_close(world->client);
    fake_fini(&world->fake);
    ab_delete(world);
    return counts;
}

/* One row of each of many keys: some for either partition. */
static void append_keys(struct world *world)
{
    for (int i = 0; i < KEYS; i++) {
        char key[16];
        int bytes = snprintf(key, sizeof key, "k%d", i);
        assert_int_equal(anabranch_set_text(world->producer, 0, key, (size_t)bytes), ANABRANCH_OK);
        assert_int_equal(anabranch_set_timestamp(world->producer, 1, 1), ANABRANCH_OK);
        assert_int_equal(anabranch_append(world->producer, 0), ANABRANCH_OK);
    }
}

static void test_nodes_blocks_go_to_who_leads_their_partition(void **state)
{
    (void)state;
    struct world *world = world_open(FAKE_SECOND, 0);
    append_keys(world);
    assert_int_equal(anabranch_flush(world->producer), ANABRANCH_OK);
    assert_int_equal(fake_blocks_count(&world->fake), 2);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(world->fake.blocks[i].is_at_second, world->fake.blocks[i].block.partition == 1);
    }
    struct anabranch_counts counts = world_close(world, ANABRANCH_OK);
    assert_int_equal(counts.accepted, KEYS);
}

static void test_nodes_a_leader_that_leads_no_more_is_replaced(void **state)
{
    (void)state;
    struct world *world = world_open(FAKE_FIRST, 20000);
    fake_otherwise(&world->fake, FAKE_REFUSE, AB_UNAVAILABLE);
    append_keys(world);
    int64_t begun_us = ab_time_monotonic_us();
    assert_int_equal(anabranch_poll(world->producer), ANABRANCH_OK);
    while (fake_blocks_count(&world->fake) < 2) {
        assert_int_equal(anabranch_poll(world->producer), ANABRANCH_OK);
        ab_time_sleep_us(AB_US_PER_MS);
    }
    fake_lead(&world->fake, 0, FAKE_SECOND);
    fake_lead(&world->fake, 1, FAKE_SECOND);
    fake_otherwise(&world->fake, FAKE_TAKE, AB_OK);
    assert_int_equal(anabranch_flush(world->producer), ANABRANCH_OK);
    assert_true(ab_time_monotonic_us() - begun_us < 10 * AB_US_PER_SECOND);
    assert_int_equal(fake_rows_taken(&world->fake), KEYS);
    struct anabranch_counts counts = world_close(world, ANABRANCH_OK);
    assert_int_equal(counts.accepted, KEYS);
}

static void test_nodes_unanswered_by_the_old_leader_and_taken_there_is_not_counted_twice(void **state)
{
    (void)state;
    struct world *world = world_open(FAKE_FIRST, 20000);
    fake_script(&world->fake, FAKE_LOSE_ANSWER, AB_OK); /* both are taken, and nobody hears of it */
    fake_script(&world->fake, FAKE_LOSE_ANSWER, AB_OK);
    append_keys(world);
    while (fake_blocks_count(&world->fake) < 2) {
        assert_int_equal(anabranch_poll(world->producer), ANABRANCH_OK);
        ab_time_sleep_us(AB_US_PER_MS);
    }
    fake_lead(&world->fake, 0, FAKE_SECOND);
    fake_lead(&world->fake, 1, FAKE_SECOND);
    assert_int_equal(anabranch_flush(world->producer), ANABRANCH_OK);
    assert_int_equal(fake_rows_taken(&world->fake), KEYS);
    struct anabranch_counts counts = world_close(world, ANABRANCH_OK);
    assert_int_equal(counts.accepted, KEYS);
}

static void test_nodes_unanswered_by_the_old_leader_and_refused_by_the_new_is_unknown(void **state)
{
    (void)state;
    struct world *world = world_open(FAKE_FIRST, 4000);
    fake_script(&world->fake, FAKE_LOSE_REQUEST, AB_OK);
    fake_script(&world->fake, FAKE_LOSE_REQUEST, AB_OK);
    fake_otherwise(&world->fake, FAKE_REFUSE, AB_UNAVAILABLE);
    append_keys(world);
    while (fake_blocks_count(&world->fake) < 2) {
        assert_int_equal(anabranch_poll(world->producer), ANABRANCH_OK);
        ab_time_sleep_us(AB_US_PER_MS);
    }
    fake_lead(&world->fake, 0, FAKE_SECOND);
    fake_lead(&world->fake, 1, FAKE_SECOND);
    struct anabranch_counts counts = world_close(world, ANABRANCH_UNKNOWN);
    assert_int_equal(counts.unknown, KEYS);
    assert_int_equal(counts.refused, 0);
}

static void test_nodes_without_a_leader_a_block_waits_and_is_definitely_not_written(void **state)
{
    (void)state;
    struct world *world = world_open(FAKE_NOBODY, 1000);
    append_keys(world);
    struct anabranch_counts counts = world_close(world, ANABRANCH_DEFINITELY_NOT);
    assert_true(counts.refused > 0 && counts.accepted > 0); /* partition 0 has a leader */
    assert_int_equal(counts.accepted + counts.refused, KEYS);
    assert_int_equal(counts.unknown, 0);
}

static void test_nodes_a_leader_that_is_elected_late_gets_what_waits(void **state)
{
    (void)state;
    struct world *world = world_open(FAKE_NOBODY, 20000);
    append_keys(world);
    for (int i = 0; i < 50; i++) {
        assert_int_equal(anabranch_poll(world->producer), ANABRANCH_OK);
        ab_time_sleep_us(5 * AB_US_PER_MS);
    }
    fake_lead(&world->fake, 1, FAKE_SECOND);
    struct anabranch_counts counts = world_close(world, ANABRANCH_OK);
    assert_int_equal(counts.accepted, KEYS);
}

/* A leader that dies takes its connections along: who leads now is asked before the leader has been silent for long. */
static void test_nodes_a_leader_whose_connection_went_is_not_waited_for(void **state)
{
    (void)state;
    struct world *world = world_open(FAKE_SECOND, 20000);
    int64_t least_us = INT64_MAX;
    for (unsigned i = 0; i < 5; i++) {
        append_keys(world);
        assert_int_equal(anabranch_flush(world->producer), ANABRANCH_OK);
        fake_move_speed(&world->fake);
        ab_time_sleep_us(20 * AB_US_PER_MS); /* it goes while nothing is on its way */
        append_keys(world);
        int64_t begun_us = ab_time_monotonic_us();
        assert_int_equal(anabranch_flush(world->producer), ANABRANCH_OK);
        int64_t spent_us = ab_time_monotonic_us() - begun_us;
        least_us = spent_us < least_us ? spent_us : least_us;
    }
    assert_true(least_us < 900 * AB_US_PER_MS); /* a second of silence is what it would take otherwise */
    struct anabranch_counts counts = world_close(world, ANABRANCH_OK);
    assert_int_equal(counts.accepted, 10 * KEYS);
}

static void test_nodes_malformed_answers_are_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "\"leaders\":[{\"partition\":2,\"address\":\"tcp://127.0.0.1:1\",\"key\":\"00\"}]",
        "\"leaders\":[{\"partition\":0,\"address\":\"\",\"key\":\"00\"}]",
        "\"leaders\":[{\"partition\":0,\"address\":\"tcp://127.0.0.1:1\",\"key\":\"00\"}]",
        "\"leaders\":[{}]",
        "\"leaders\":[],\"serving\":[{\"address\":\"tcp://127.0.0.1:1\"}]",
    };
    struct fake *fake = ab_new(struct fake);
    char id[33];
    fake_init(fake, 2);
    ab_cluster_id_format(fake->cluster_id, id);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char *answer = ab_new_format("{\"cluster_id\":\"%s\",\"partitions\":2,%s}", id, wrong[i]);
        struct anabranch_options options = {.data_directory = fake->directory, .timeout_ms = 5000};
        struct anabranch_client *client = NULL;
        fake_catalog_answer(fake, answer);
        assert_int_equal(anabranch_open(&options, &client), ANABRANCH_DEFINITELY_NOT);
        assert_non_null(strstr(anabranch_last_error(client), "malformed answer"));
        anabranch_close(client);
        fake_catalog_answer(fake, NULL);
        ab_delete(answer);
    }
    fake_fini(fake);
    ab_delete(fake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nodes_blocks_go_to_who_leads_their_partition),
        cmocka_unit_test(test_nodes_a_leader_that_leads_no_more_is_replaced),
        cmocka_unit_test(test_nodes_unanswered_by_the_old_leader_and_taken_there_is_not_counted_twice),
        cmocka_unit_test(test_nodes_unanswered_by_the_old_leader_and_refused_by_the_new_is_unknown),
        cmocka_unit_test(test_nodes_without_a_leader_a_block_waits_and_is_definitely_not_written),
        cmocka_unit_test(test_nodes_a_leader_that_is_elected_late_gets_what_waits),
        cmocka_unit_test(test_nodes_a_leader_whose_connection_went_is_not_waited_for),
        cmocka_unit_test(test_nodes_malformed_answers_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
