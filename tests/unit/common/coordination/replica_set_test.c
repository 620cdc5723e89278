#include "common/coordination/replica_set.h"

#include "tests/support/test.h"

#define ID(n) ((struct ab_hash128){.low = (n), .high = 0xabcd})

/* What the bytes of a state have always been: a change here is a change of format. */
static const char golden[] =
    "{\"format\":1,\"partition\":3,\"replicas\":[1,2,4],\"learners\":[5],\"assignment_version\":\"2\",\"leader\":2,"
    "\"leader_incarnation\":\"000000000000abcd0000000000000016\",\"leader_epoch\":\"18446744073709551615\","
    "\"isr\":[{\"node\":2,\"incarnation\":\"000000000000abcd0000000000000016\","
    "\"disk\":\"000000000000abcd0000000000000020\"}],"
    "\"elr\":[{\"node\":4,\"incarnation\":\"000000000000abcd000000000000002a\","
    "\"disk\":\"000000000000abcd0000000000000040\"}],"
    "\"min_isr\":2,\"history_id\":\"1\",\"token\":\"000000000000abcd0000000000000063\"}";

static struct ab_replica_set example(void)
{
    return (struct ab_replica_set){
        .partition = 3,
        .replicas = {.items = {1, 2, 4}, .count = 3},
        .learners = {.items = {5}, .count = 1},
        .assignment_version = 2,
        .leader = 2,
        .leader_incarnation = ID(0x16),
        .leader_epoch = UINT64_MAX,
        .isr = {.items = {{2, ID(0x16), ID(0x20)}}, .count = 1},
        .elr = {.items = {{4, ID(0x2a), ID(0x40)}}, .count = 1},
        .min_isr = 2,
        .history_id = 1,
        .token = ID(0x63),
    };
}

static char *encoded(const struct ab_replica_set *state)
{
    struct ab_buffer out = {0};
    assert_ok(ab_replica_set_encode(state, &out, NULL));
    char *text = ab_new_text_of(ab_buffer_view(&out));
    ab_buffer_fini(&out);
    return text;
}

/* Asserts that a state is refused both ways, with a reason that holds `word`. */
static void refused(const struct ab_replica_set *state, const char *word)
{
    struct ab_error error = {0};
    struct ab_buffer out = {0};
    assert_int_equal(ab_replica_set_validate(state, &error), AB_CORRUPT);
    assert_non_null(strstr(error.text, word));
    assert_int_equal(ab_replica_set_encode(state, &out, NULL), AB_USAGE);
    assert_int_equal(out.bytes, 0);
    ab_buffer_fini(&out);
}

/* The golden text with the first `from` replaced. */
static char *edited(const char *from, const char *to)
{
    const char *place = strstr(golden, from);
    assert_non_null(place);
    return ab_new_format("%.*s%s%s", (int)(place - golden), golden, to, place + strlen(from));
}

static void decode_refused(const char *from, const char *to, ab_err expected)
{
    struct ab_replica_set state = {.partition = 77};
    struct ab_error error = {0};
    char *text = edited(from, to);
    assert_int_equal(ab_replica_set_decode(bytes_of(text), &state, &error), expected);
    assert_true(error.text[0] != '\0');
    assert_int_equal(state.partition, 77); /* untouched */
    ab_delete(text);
}

static void test_replica_set_bytes_are_those_of_format_1(void **unused)
{
    (void)unused;
    struct ab_replica_set state = example();
    char *text = encoded(&state);
    assert_string_equal(text, golden);
    ab_delete(text);
}

static void test_replica_set_comes_back_as_it_was(void **unused)
{
    (void)unused;
    struct ab_replica_set state = example();
    struct ab_replica_set read = {0};
    assert_ok(ab_replica_set_decode(bytes_of(golden), &read, NULL));
    assert_memory_equal(&read.replicas, &state.replicas, sizeof state.replicas);
    assert_memory_equal(&read.learners, &state.learners, sizeof state.learners);
    assert_true(ab_replica_members_equal(&read.isr, &state.isr));
    assert_true(ab_replica_members_equal(&read.elr, &state.elr));
    assert_true(read.leader_epoch == UINT64_MAX && read.leader == 2 && read.min_isr == 2);

    state.leader = AB_NODE_NONE;
    state.leader_incarnation = (struct ab_hash128){0};
    state.leader_epoch = 0;
    char *text = encoded(&state);
    assert_non_null(strstr(text, "\"leader\":null,\"leader_incarnation\":null,\"leader_epoch\":\"0\""));
    assert_ok(ab_replica_set_decode(bytes_of(text), &read, NULL));
    assert_true(read.leader == AB_NODE_NONE && read.leader_epoch == 0);
    ab_delete(text);
}

static void test_replica_set_longest_text_fits_its_bound(void **unused)
{
    (void)unused;
    struct ab_hash128 all = {.low = UINT64_MAX, .high = UINT64_MAX};
    struct ab_replica_set state = {.partition = AB_PARTITIONS_MAX - 1,
        .assignment_version = UINT64_MAX,
        .leader_epoch = UINT64_MAX,
        .history_id = UINT64_MAX,
        .token = all,
        .min_isr = AB_REPLICAS_MAX};
    for (uint32_t i = 0; i < AB_REPLICAS_MAX; i++) {
        struct ab_replica_member member = {UINT32_MAX - i, all, all};
        ab_replica_nodes_add(&state.replicas, member.node);
        ab_replica_nodes_add(&state.learners, UINT32_MAX - 100 - i);
        ab_replica_members_add(i < 4 ? &state.isr : &state.elr, member);
    }
    state.leader = state.isr.items[0].node;
    state.leader_incarnation = all;
    char *text = encoded(&state);
    assert_true(strlen(text) < 2500 && strlen(text) <= AB_REPLICA_SET_BYTES_MAX);
    ab_delete(text);
}

static void test_replica_set_invalid_assignments_are_refused(void **unused)
{
    (void)unused;
    struct ab_replica_set state = example();
    state.partition = AB_PARTITIONS_MAX;
    refused(&state, "partition");
    state = example();
    state.replicas.items[2] = 1;
    refused(&state, "twice");
    state = example();
    state.replicas.items[2] = AB_NODE_NONE;
    refused(&state, "none");
    state = example();
    state.replicas.count = 0;
    refused(&state, "no replica");
    state = example();
    state.replicas.count = AB_REPLICAS_MAX + 1;
    refused(&state, "more than");
    state = example();
    state.learners.items[0] = 1;
    refused(&state, "is a replica");
    state = example();
    state.min_isr = 4;
    refused(&state, "min_isr");
    state.min_isr = 0;
    refused(&state, "min_isr");
    state = example();
    state.assignment_version = 0;
    refused(&state, "zero");
    state = example();
    state.history_id = 0;
    refused(&state, "zero");
    state = example();
    state.token = (struct ab_hash128){0};
    refused(&state, "zero");
}

static void test_replica_set_invalid_members_are_refused(void **unused)
{
    (void)unused;
    struct ab_replica_set state = example();
    state.isr.items[0].node = 5; /* a learner is not counted */
    refused(&state, "no replica");
    state = example();
    state.isr.items[1] = state.isr.items[0];
    state.isr.count = 2;
    refused(&state, "twice");
    state = example();
    state.isr.items[0].incarnation = (struct ab_hash128){0};
    refused(&state, "incarnation");
    state = example();
    state.elr.items[0].disk_id = (struct ab_hash128){0};
    refused(&state, "disk");
    state = example();
    state.isr.count = 0;
    refused(&state, "empty");
    state = example();
    state.elr.items[0] = state.isr.items[0];
    refused(&state, "is in the isr");
    state = example();
    ab_replica_members_add(&state.isr, (struct ab_replica_member){1, ID(1), ID(2)});
    refused(&state, "elr: not empty");
}

static void test_replica_set_invalid_leaders_are_refused(void **unused)
{
    (void)unused;
    struct ab_replica_set state = example();
    state.leader = 4; /* in the elr only */
    refused(&state, "not in the isr");
    state = example();
    state.leader_incarnation = ID(99);
    refused(&state, "another incarnation");
    state = example();
    state.leader_epoch = 0;
    refused(&state, "epoch 0");
    state = example();
    state.leader = AB_NODE_NONE;
    refused(&state, "without a leader");
}

static void test_replica_set_malformed_texts_are_refused(void **unused)
{
    (void)unused;
    decode_refused("\"format\":1", "\"format\":2", AB_UNSUPPORTED);
    decode_refused("\"format\":1", "\"format\":0", AB_CORRUPT);
    decode_refused("\"min_isr\":2,", "", AB_CORRUPT);
    decode_refused("\"min_isr\":2,", "\"min_isr\":2,\"more\":1,", AB_CORRUPT);
    decode_refused("\"min_isr\":2", "\"min_isr\":2,\"min_isr\":2", AB_CORRUPT);
    decode_refused("\"min_isr\":2", "\"min_isr\":-2", AB_CORRUPT);
    decode_refused("\"min_isr\":2", "\"min_isr\":\"2\"", AB_CORRUPT);
    decode_refused("\"partition\":3", "\"partition\":16384", AB_CORRUPT);
    decode_refused("\"replicas\":[1,2,4]", "\"replicas\":[1,2,4,6,7,8,9,10,11]", AB_CORRUPT);
    decode_refused("\"replicas\":[1,2,4]", "\"replicas\":{}", AB_CORRUPT);
    decode_refused("\"replicas\":[1,2,4]", "\"replicas\":[1,2,4294967296]", AB_CORRUPT);
    decode_refused("\"replicas\":[1,2,4]", "\"replicas\":[1,2,1.5]", AB_CORRUPT);
    decode_refused("\"leader\":2", "\"leader\":null", AB_CORRUPT);
    decode_refused("\"leader\":2", "\"leader\":0", AB_CORRUPT);
    decode_refused("\"18446744073709551615\"", "\"18446744073709551616\"", AB_CORRUPT);
    decode_refused("\"18446744073709551615\"", "\"007\"", AB_CORRUPT);
    decode_refused("\"18446744073709551615\"", "7", AB_CORRUPT);
    decode_refused("abcd0000000000000016", "ABCD0000000000000016", AB_CORRUPT);
    decode_refused("abcd0000000000000016", "abcd000000000000001", AB_CORRUPT);
    decode_refused("{\"node\":2,", "{\"node\":2,\"x\":1,", AB_CORRUPT);
    decode_refused("{\"node\":4,", "{\"nodes\":4,", AB_CORRUPT);
    decode_refused("{\"format\"", "[{\"format\"", AB_CORRUPT);
}

/* Whatever one byte becomes: it is refused, or it is a valid state again whose text is the one of its value. */
static void test_replica_set_every_byte_may_be_wrong(void **unused)
{
    (void)unused;
    static const uint8_t flips[] = {0x01, 0x04, 0x80, 0xff};
    uint32_t accepted = 0;
    for (size_t i = 0; i < sizeof golden; i++) {
        for (size_t f = 0; f < sizeof flips; f++) {
            char *text = ab_new_text(golden);
            struct ab_replica_set state = {0};
            text[i] = (char)((uint8_t)text[i] ^ flips[f]);
            if (ab_replica_set_decode(ab_bytes_of(text, sizeof golden - 1), &state, NULL) == AB_OK) {
                assert_ok(ab_replica_set_validate(&state, NULL));
                char *again = encoded(&state);
                assert_string_equal(again, i + 1 == sizeof golden ? golden : text);
                ab_delete(again);
                accepted++;
            }
            ab_delete(text);
        }
        struct ab_replica_set state = {0};
        if (i + 1 < sizeof golden) {
            assert_int_equal(ab_replica_set_decode(ab_bytes_of(golden, i), &state, NULL), AB_CORRUPT);
        }
    }
    assert_true(accepted > 50); /* digits of numbers and ids */
}

static void test_replica_set_lists_keep_their_order(void **unused)
{
    (void)unused;
    struct ab_replica_set state = example();
    ab_replica_nodes_remove(&state.replicas, 2);
    assert_true(state.replicas.count == 2 && state.replicas.items[0] == 1 && state.replicas.items[1] == 4);
    ab_replica_nodes_remove(&state.replicas, 77);
    assert_int_equal(state.replicas.count, 2);
    ab_replica_nodes_add(&state.replicas, 9);
    assert_int_equal(ab_replica_nodes_find(&state.replicas, 9), 2);
    assert_int_equal(ab_replica_nodes_find(&state.replicas, 2), UINT32_MAX);
    ab_replica_members_remove(&state.isr, 2);
    ab_replica_members_remove(&state.isr, 2);
    assert_int_equal(state.isr.count, 0);
    char path[AB_REGISTRATION_PATH_BYTES];
    ab_replica_set_path(AB_PARTITIONS_MAX - 1, path);
    assert_string_equal(path, "/partitions/16383/state");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replica_set_bytes_are_those_of_format_1),
        cmocka_unit_test(test_replica_set_comes_back_as_it_was),
        cmocka_unit_test(test_replica_set_longest_text_fits_its_bound),
        cmocka_unit_test(test_replica_set_invalid_assignments_are_refused),
        cmocka_unit_test(test_replica_set_invalid_members_are_refused),
        cmocka_unit_test(test_replica_set_invalid_leaders_are_refused),
        cmocka_unit_test(test_replica_set_malformed_texts_are_refused),
        cmocka_unit_test(test_replica_set_every_byte_may_be_wrong),
        cmocka_unit_test(test_replica_set_lists_keep_their_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
