/* The stored reassignment: it comes back as it was, or is refused. */
#include "cluster/reassignment.h"

#include "tests/support/test.h"

#define MOVE "{\"partition\":3,\"to\":[1,2,4],\"from\":[1,2,3]}"

static struct ab_replica_target target_of(uint32_t partition, uint32_t a, uint32_t b, uint32_t c)
{
    return (struct ab_replica_target){.partition = partition, .replicas = {.items = {a, b, c}, .count = 3}};
}

static void test_reassignment_of_two_assignments_has_what_differs(void **state)
{
    (void)state;
    const struct ab_replica_target former[] = {target_of(1, 1, 2, 3), target_of(2, 2, 3, 1), target_of(5, 3, 1, 2)};
    const struct ab_replica_target targets[] = {target_of(1, 1, 2, 3), target_of(2, 2, 3, 4), target_of(5, 1, 3, 2)};
    struct ab_reassignment made;
    ab_reassignment_init(&made, AB_REASSIGNMENT_ADD, 4, former, targets, 3);
    assert_int_equal(made.moves_count, 2);
    assert_int_equal(made.targets[0].partition, 2);
    assert_true(ab_replica_nodes_equal(&made.targets[0].replicas, &targets[1].replicas));
    assert_true(ab_replica_nodes_equal(&made.former[0].replicas, &former[1].replicas));
    assert_int_equal(made.targets[1].partition, 5); /* another one is preferred as leader */
    ab_reassignment_fini(&made);
    ab_reassignment_init(&made, AB_REASSIGNMENT_ADD, 4, former, former, 3);
    assert_int_equal(made.moves_count, 0);
    ab_reassignment_fini(&made);
    ab_reassignment_fini(&made);
}

static void test_reassignment_comes_back_as_it_was(void **state)
{
    (void)state;
    static const enum ab_reassignment_action actions[] = {
        AB_REASSIGNMENT_ADD, AB_REASSIGNMENT_REMOVE, AB_REASSIGNMENT_CANCEL};
    const struct ab_replica_target former[] = {target_of(0, 1, 2, 3), target_of(16383, 2, 3, 1)};
    const struct ab_replica_target targets[] = {target_of(0, 4, 2, 3), target_of(16383, 2, 3, 4)};
    for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++) {
        struct ab_reassignment made;
        struct ab_reassignment read = {0};
        struct ab_buffer text = {0};
        ab_reassignment_init(&made, actions[i], 7, former, targets, 2);
        assert_ok(ab_reassignment_encode(&made, &text, NULL));
        assert_ok(ab_reassignment_decode(ab_buffer_view(&text), &read, NULL));
        assert_int_equal(read.action, actions[i]);
        assert_int_equal(read.node, 7);
        assert_int_equal(read.began_us, made.began_us);
        assert_int_equal(read.moves_count, 2);
        for (uint32_t m = 0; m < 2; m++) {
            assert_int_equal(read.targets[m].partition, targets[m].partition);
            assert_true(ab_replica_nodes_equal(&read.targets[m].replicas, &targets[m].replicas));
            assert_true(ab_replica_nodes_equal(&read.former[m].replicas, &former[m].replicas));
        }
        ab_reassignment_fini(&read);
        ab_reassignment_fini(&made);
        ab_buffer_fini(&text);
    }
}

static void test_reassignment_that_is_none_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        ab_err err;
    } cases[] = {
        {"{\"format\":1,\"action\":\"add\",\"node\":4,\"began_us\":\"1\",\"moves\":[" MOVE "]}", AB_OK},
        {"{\"format\":2,\"action\":\"add\",\"node\":4,\"began_us\":\"1\",\"moves\":[" MOVE "]}", AB_UNSUPPORTED},
        {"{\"action\":\"add\",\"node\":4,\"began_us\":\"1\",\"moves\":[" MOVE "]}", AB_CORRUPT},
        {"{\"format\":1,\"action\":\"mend\",\"node\":4,\"began_us\":\"1\",\"moves\":[" MOVE "]}", AB_CORRUPT},
        {"{\"format\":1,\"action\":\"add\",\"node\":0,\"began_us\":\"1\",\"moves\":[" MOVE "]}", AB_CORRUPT},
        {"{\"format\":1,\"action\":\"add\",\"node\":-4,\"began_us\":\"1\",\"moves\":[" MOVE "]}", AB_CORRUPT},
        {"{\"format\":1,\"action\":\"add\",\"node\":4,\"began_us\":\"1\",\"moves\":[]}", AB_CORRUPT},
        {"{\"format\":1,\"action\":\"add\",\"node\":4,\"began_us\":\"1\",\"moves\":{\"a\":1}}", AB_CORRUPT},
        {"{\"format\":1,\"action\":\"add\",\"node\":4,\"began_us\":\"1\",\"moves\":[7]}", AB_CORRUPT},
        {"{\"format\":1,\"action\":\"add\",\"node\":4,\"began_us\":\"1\",\"moves\":[" MOVE "," MOVE "]}", AB_CORRUPT},
        {"{\"format\":1,\"action\":\"add\",\"node\":4,\"began_us\":\"1\",\"moves\":"
         "[{\"partition\":16384,\"to\":[1],\"from\":[2]}]}",
            AB_CORRUPT},
        {"{\"format\":1,\"action\":\"add\",\"node\":4,\"began_us\":\"1\",\"moves\":"
         "[{\"partition\":1,\"to\":[1,1],\"from\":[2]}]}",
            AB_CORRUPT},
        {"{\"format\":1,\"action\":\"add\",\"node\":4,\"began_us\":\"1\",\"moves\":"
         "[{\"partition\":1,\"to\":[1],\"from\":[0]}]}",
            AB_CORRUPT},
        {"{\"format\":1,\"action\":\"add\",\"node\":4,\"began_us\":\"1\",\"moves\":"
         "[{\"partition\":1,\"to\":[1,2,3,4,5,6,7,8,9],\"from\":[2]}]}",
            AB_CORRUPT},
        {"{\"format\":1,\"action\":\"add\",\"node\":4,\"began_us\":\"1\",\"moves\":[{\"partition\":1,\"to\":[1]}]}",
            AB_CORRUPT},
        {"[]", AB_CORRUPT},
        {"", AB_CORRUPT},
        {"{\"format\":1", AB_CORRUPT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct ab_reassignment read = {.node = 99};
        ab_err err = ab_reassignment_decode(bytes_of(cases[i].text), &read, NULL);
        if (err != cases[i].err) {
            fail_msg("%s: %s", cases[i].text, ab_err_text(err));
        }
        assert_int_equal(read.node, err == AB_OK ? 4 : 99);
        if (err == AB_OK) {
            ab_reassignment_fini(&read);
        }
    }
}

static void test_reassignment_that_is_not_valid_is_not_written(void **state)
{
    (void)state;
    struct ab_replica_target former[] = {target_of(2, 1, 2, 3)};
    struct ab_replica_target targets[] = {target_of(2, 4, 2, 3)};
    struct ab_reassignment made;
    struct ab_buffer text = {0};
    ab_reassignment_init(&made, AB_REASSIGNMENT_ADD, 4, former, targets, 1);
    made.targets[0].replicas.items[1] = 4;
    assert_int_equal(ab_reassignment_encode(&made, &text, NULL), AB_USAGE);
    made.targets[0] = targets[0];
    made.moves_count = 0;
    assert_int_equal(ab_reassignment_encode(&made, &text, NULL), AB_USAGE);
    assert_int_equal(text.bytes, 0);
    assert_string_equal(ab_reassignment_action_name((enum ab_reassignment_action)17), "none");
    ab_reassignment_fini(&made);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reassignment_of_two_assignments_has_what_differs),
        cmocka_unit_test(test_reassignment_comes_back_as_it_was),
        cmocka_unit_test(test_reassignment_that_is_none_is_refused),
        cmocka_unit_test(test_reassignment_that_is_not_valid_is_not_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
