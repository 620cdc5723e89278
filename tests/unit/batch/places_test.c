/* Which rank works where, and which one has a partition; answers that do not hold together. */
#include "batch/places.h"

#include "tests/support/test.h"

#define DIRECTORY "\"directory\":\"/data\""
#define SPEED "\"speed\":{\"address\":\"tcp://h:1\",\"key\":\"00\"}"
#define NODE(number, host) "{\"node\":" number ",\"host\":\"" host "\"," DIRECTORY "," SPEED "}"
#define PART(number, leader) "{\"partition\":" number ",\"leader\":" leader "}"
#define PARTS PART("0", "1") "," PART("1", "2") "," PART("2", "3") "," PART("4", "2") "," PART("3", "1")
#define ANSWER(nodes, parts) "{\"cluster\":\"07\",\"nodes\":[" nodes "],\"partitions\":[" parts "]}"
#define THREE NODE("1", "a") "," NODE("2", "a") "," NODE("3", "a")

static ab_err decode(
    const char *text, const char *const *hosts, uint32_t count, struct ab_places *places, struct ab_error *error)
{
    struct ab_json *answer = NULL;
    assert_ok(ab_json_parse(ab_bytes_of_text(text), &answer, error));
    *places = (struct ab_places){0};
    ab_err err = ab_places_decode(answer, hosts, count, places, error);
    ab_json_destroy(answer);
    return err;
}

static void test_places_one_directory_is_partition_mod_ranks(void **state)
{
    (void)state;
    static const char *const hosts[] = {"a", "b"};
    struct ab_places places;
    struct ab_error error = {0};
    assert_ok(
        decode("{\"partitions\":[{\"partition\":0},{\"partition\":1},{\"partition\":2}]}", hosts, 2, &places, &error));
    assert_int_equal(places.count, 0);
    for (uint32_t p = 0; p < 3; p++) {
        assert_int_equal(places.owners[p], p % 2);
        assert_false(ab_places_move(&places, p));
    }
    assert_int_equal(ab_places_of_rank(&places, 1), AB_PLACES_NONE);
    assert_false(ab_places_is_carrier(&places, 0));
    ab_places_fini(&places);
}

static void test_places_partitions_belong_to_the_node_that_leads(void **state)
{
    (void)state;
    static const char *const hosts[] = {"a", "a", "a", "a"};
    struct ab_places places;
    struct ab_error error = {0};
    assert_ok(decode(ANSWER(THREE, PARTS), hosts, 4, &places, &error));
    assert_int_equal(places.count, 3);
    static const uint32_t place_of[] = {0, 1, 2, 0};
    for (uint32_t r = 0; r < 4; r++) {
        assert_int_equal(ab_places_of_rank(&places, r), place_of[r]);
        assert_int_equal(ab_places_is_carrier(&places, r), r < 3);
    }
    static const uint32_t owners[] = {0, 1, 2, 3, 1}; /* node 1 has ranks 0 and 3 */
    assert_memory_equal(places.owners, owners, sizeof owners);
    ab_places_fini(&places);
}

static void test_places_ranks_work_on_their_own_hosts(void **state)
{
    (void)state;
    static const char *const hosts[] = {"b", "a", "a"};
    struct ab_places places;
    struct ab_error error = {0};
    assert_ok(decode(
        ANSWER(NODE("7", "a") "," NODE("9", "b"), PART("0", "7") "," PART("1", "9")), hosts, 3, &places, &error));
    assert_int_equal(ab_places_of_rank(&places, 0), 1);
    assert_int_equal(ab_places_of_rank(&places, 1), 0);
    assert_int_equal(ab_places_of_rank(&places, 2), 0);
    assert_true(places.owners[0] == 1 || places.owners[0] == 2);
    assert_int_equal(places.owners[1], 0);
    ab_places_fini(&places);
    static const char *const strange[] = {"a", "c"};
    assert_int_equal(decode(ANSWER(NODE("7", "a"), PART("0", "7")), strange, 2, &places, &error), AB_USAGE);
    assert_non_null(strstr(error.text, "host c"));
}

/* Nodes that nobody works for are left out; what they led goes to others. */
static void test_places_without_a_rank_are_left_out(void **state)
{
    (void)state;
    static const char *const hosts[] = {"b", "b"};
    struct ab_places places;
    struct ab_error error = {0};
    assert_ok(decode(ANSWER(NODE("1", "a") "," NODE("2", "b") "," NODE("3", "b"), PARTS), hosts, 2, &places, &error));
    assert_int_equal(places.count, 2);
    assert_int_equal(places.items[0].node, 2);
    assert_int_equal(places.items[1].node, 3);
    assert_int_equal(ab_places_of_rank(&places, 0), 0);
    for (uint32_t p = 0; p < places.partitions_count; p++) {
        assert_true(places.owners[p] < 2);
    }
    assert_int_equal(places.leaders[0], AB_PLACES_NONE);
    ab_places_fini(&places);
}

static void test_places_a_partition_goes_round_once(void **state)
{
    (void)state;
    static const char *const hosts[] = {"a", "a", "a"};
    struct ab_places places;
    struct ab_error error = {0};
    assert_ok(decode(ANSWER(THREE, PARTS), hosts, 3, &places, &error));
    assert_int_equal(places.owners[1], 1);
    assert_true(ab_places_move(&places, 1));
    assert_int_equal(places.owners[1], 2);
    assert_int_equal(ab_places_of_partition(&places, 1), 2);
    assert_true(ab_places_move(&places, 1));
    assert_int_equal(places.owners[1], 0);
    assert_false(ab_places_move(&places, 1));
    assert_int_equal(places.leaders[1], 1); /* speed is still asked there */
    ab_places_fini(&places);
}

static void test_places_malformed_answers_are_refused(void **state)
{
    (void)state;
    static const char *const hosts[] = {"a"};
    static const char *const answers[] = {"{}", "{\"partitions\":[]}", ANSWER("", PARTS), ANSWER(NODE("0", "a"), PARTS),
        ANSWER(NODE("1", "a") "," NODE("1", "a"), PARTS), ANSWER(NODE("1", ""), PARTS),
        ANSWER("{\"node\":1,\"host\":\"a\",\"directory\":\"data\"}", PARTS), ANSWER(NODE("1", "a"), PART("1", "1")),
        "{\"nodes\":[" NODE("1", "a") "],\"partitions\":[" PART("0", "1") "]}"};
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        struct ab_places places;
        struct ab_error error = {0};
        assert_int_equal(decode(answers[i], hosts, 1, &places, &error), AB_INVALID);
        assert_true(error.text[0] != 0);
        assert_null(places.items);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_places_one_directory_is_partition_mod_ranks),
        cmocka_unit_test(test_places_partitions_belong_to_the_node_that_leads),
        cmocka_unit_test(test_places_ranks_work_on_their_own_hosts),
        cmocka_unit_test(test_places_without_a_rank_are_left_out),
        cmocka_unit_test(test_places_a_partition_goes_round_once),
        cmocka_unit_test(test_places_malformed_answers_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
