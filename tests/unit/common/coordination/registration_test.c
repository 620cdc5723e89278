#include "common/coordination/registration.h"

#include "tests/support/test.h"

#define ID(n) ((struct ab_hash128){.low = (n), .high = 0xabcd})

/* What the bytes have always been: a change here is a change of format. */
static const char golden_node[] =
    "{\"format\":1,\"node\":3,\"disk\":\"000000000000abcd0000000000000020\",\"starts\":\"7\",\"rack\":\"r1\","
    "\"weight\":10,\"endpoints\":{\"speed\":\"tcp://10.0.0.3:7101\",\"serving\":\"tcp://10.0.0.3:7102\"}}";
static const char golden_live[] = "{\"format\":1,\"node\":3,\"incarnation\":\"000000000000abcd0000000000000016\","
                                  "\"disk\":\"000000000000abcd0000000000000020\",\"starts\":\"7\","
                                  "\"endpoints\":{\"speed\":\"tcp://10.0.0.3:7101\"},\"damaged\":[5,9]}";

static struct ab_node_registration example_node(void)
{
    return (struct ab_node_registration){.node = 3,
        .disk_id = ID(0x20),
        .starts = 7,
        .rack = "r1",
        .weight = 10,
        .endpoints = {.items = {{"speed", "tcp://10.0.0.3:7101"}, {"serving", "tcp://10.0.0.3:7102"}}, .count = 2}};
}

static uint32_t damaged[] = {5, 9};

static struct ab_live_node example_live(void)
{
    return (struct ab_live_node){.node = 3,
        .incarnation = ID(0x16),
        .disk_id = ID(0x20),
        .starts = 7,
        .endpoints = {.items = {{"speed", "tcp://10.0.0.3:7101"}}, .count = 1},
        .damaged = damaged,
        .damaged_count = 2};
}

static void node_refused(const struct ab_node_registration *node)
{
    struct ab_error error = {0};
    struct ab_buffer out = {0};
    assert_int_equal(ab_node_registration_encode(node, &out, &error), AB_USAGE);
    assert_true(error.text[0] != '\0' && out.bytes == 0);
    ab_buffer_fini(&out);
}

static void live_refused(const struct ab_live_node *live)
{
    struct ab_error error = {0};
    struct ab_buffer out = {0};
    assert_int_equal(ab_live_node_encode(live, &out, &error), AB_USAGE);
    assert_true(error.text[0] != '\0' && out.bytes == 0);
    ab_buffer_fini(&out);
}

/* Decodes `golden` with the first `from` replaced; which of the two kinds is told by the text. */
static void decode_refused(const char *golden, const char *from, const char *to, ab_err expected)
{
    const char *place = strstr(golden, from);
    assert_non_null(place);
    char *text = ab_new_format("%.*s%s%s", (int)(place - golden), golden, to, place + strlen(from));
    struct ab_error error = {0};
    struct ab_node_registration node = {0};
    struct ab_live_node live = {0};
    ab_err err = golden == golden_node ? ab_node_registration_decode(bytes_of(text), &node, &error)
                                       : ab_live_node_decode(bytes_of(text), &live, &error);
    assert_int_equal(err, expected);
    assert_true(error.text[0] != '\0' && node.node == 0 && live.node == 0 && live.damaged == NULL);
    ab_delete(text);
}

static void test_registration_bytes_are_those_of_format_1(void **unused)
{
    (void)unused;
    struct ab_node_registration node = example_node();
    struct ab_live_node live = example_live();
    struct ab_buffer out = {0};
    assert_ok(ab_node_registration_encode(&node, &out, NULL));
    assert_string_equal(ab_buffer_text(&out), golden_node);
    ab_buffer_clear(&out);
    assert_ok(ab_live_node_encode(&live, &out, NULL));
    assert_string_equal(ab_buffer_text(&out), golden_live);
    ab_buffer_fini(&out);
}

static void test_registration_comes_back_as_it_was(void **unused)
{
    (void)unused;
    struct ab_node_registration node = {0};
    struct ab_node_registration expected = example_node();
    struct ab_live_node live = {0};
    assert_ok(ab_node_registration_decode(bytes_of(golden_node), &node, NULL));
    assert_memory_equal(&node.endpoints, &expected.endpoints, sizeof node.endpoints);
    assert_true(node.node == 3 && node.starts == 7 && node.weight == 10 && strcmp(node.rack, "r1") == 0);
    assert_true(ab_hash128_equal(node.disk_id, ID(0x20)));
    assert_ok(ab_live_node_decode(bytes_of(golden_live), &live, NULL));
    assert_true(ab_hash128_equal(live.incarnation, ID(0x16)) && live.damaged_count == 2);
    assert_true(ab_live_node_is_damaged(&live, 5) && ab_live_node_is_damaged(&live, 9));
    assert_false(ab_live_node_is_damaged(&live, 0) || ab_live_node_is_damaged(&live, 6));
    assert_false(ab_live_node_is_damaged(&live, 10));
    ab_live_node_fini(&live);
    ab_live_node_fini(&live);
    assert_false(ab_live_node_is_damaged(&live, 5));
}

static void test_registration_invalid_nodes_are_refused(void **unused)
{
    (void)unused;
    struct ab_node_registration node = example_node();
    node.node = AB_NODE_NONE;
    node_refused(&node);
    node = example_node();
    node.disk_id = (struct ab_hash128){0};
    node_refused(&node);
    node = example_node();
    node.starts = 0;
    node_refused(&node);
    node = example_node();
    node.weight = AB_NODE_WEIGHT_MAX + 1;
    node_refused(&node);
    node = example_node();
    node.rack[0] = '\n';
    node_refused(&node);
    node = example_node();
    memset(node.rack, 'r', sizeof node.rack); /* no NUL */
    node_refused(&node);
    node = example_node();
    memcpy(node.endpoints.items[1].name, "speed", 6);
    node_refused(&node);
    node = example_node();
    node.endpoints.items[1].address[0] = '\0';
    node_refused(&node);
    node = example_node();
    node.endpoints.count = AB_NODE_ENDPOINTS_MAX + 1;
    node_refused(&node);
}

static void test_registration_invalid_live_nodes_are_refused(void **unused)
{
    (void)unused;
    uint32_t falling[] = {9, 5};
    uint32_t high[] = {AB_PARTITIONS_MAX};
    struct ab_live_node live = example_live();
    live.incarnation = (struct ab_hash128){0};
    live_refused(&live);
    live = example_live();
    live.starts = 0;
    live_refused(&live);
    live = example_live();
    live.damaged = falling;
    live_refused(&live);
    live.damaged = high;
    live.damaged_count = 1;
    live_refused(&live);
}

static void test_registration_malformed_texts_are_refused(void **unused)
{
    (void)unused;
    decode_refused(golden_node, "\"format\":1", "\"format\":2", AB_UNSUPPORTED);
    decode_refused(golden_node, "\"node\":3", "\"node\":0", AB_CORRUPT);
    decode_refused(golden_node, "\"weight\":10", "\"weight\":1025", AB_CORRUPT);
    decode_refused(golden_node, "\"weight\":10,", "", AB_CORRUPT);
    decode_refused(golden_node, "\"starts\":\"7\"", "\"starts\":\"0\"", AB_CORRUPT);
    decode_refused(golden_node, "\"starts\":\"7\"", "\"starts\":\" 7\"", AB_CORRUPT);
    decode_refused(golden_node, "\"r1\"", "\"\\u0000\"", AB_CORRUPT);
    decode_refused(golden_node, "\"r1\"", "null", AB_CORRUPT);
    decode_refused(golden_node, "\"speed\"", "\"a-name-of-16-byt\"", AB_CORRUPT);
    decode_refused(golden_node, "\"speed\"", "\"\"", AB_CORRUPT);
    decode_refused(golden_node, "\"serving\"", "\"speed\"", AB_CORRUPT);
    decode_refused(golden_node, "\"tcp://10.0.0.3:7101\"", "1", AB_CORRUPT);
    decode_refused(golden_node, "}}", "}", AB_CORRUPT);
    decode_refused(golden_live, "\"damaged\":[5,9]", "\"damaged\":[9,5]", AB_CORRUPT);
    decode_refused(golden_live, "\"damaged\":[5,9]", "\"damaged\":[5,5]", AB_CORRUPT);
    decode_refused(golden_live, "\"damaged\":[5,9]", "\"damaged\":[5,16384]", AB_CORRUPT);
    decode_refused(golden_live, "\"damaged\":[5,9]", "\"damaged\":null", AB_CORRUPT);
    decode_refused(golden_live, "\"damaged\":[5,9]", "\"damage\":[5,9]", AB_CORRUPT);
    decode_refused(golden_live, "0016", "001g", AB_CORRUPT);
    decode_refused(golden_live, "{\"format\":1", "[1", AB_CORRUPT);
}

/* F16, F17: an older image of the disk, and another disk, are told apart from a plain restart. */
static void test_registration_older_images_and_other_disks_are_not_admitted(void **unused)
{
    (void)unused;
    struct ab_node_registration stored = example_node();
    struct ab_error error = {0};
    assert_ok(ab_node_registration_admits(&stored, ID(0x20), 8, NULL));
    assert_ok(ab_node_registration_admits(&stored, ID(0x20), 12, NULL)); /* died before it could register */
    assert_int_equal(ab_node_registration_admits(&stored, ID(0x20), 7, &error), AB_STALE);
    assert_int_equal(ab_node_registration_admits(&stored, ID(0x20), 3, NULL), AB_STALE);
    assert_int_equal(ab_node_registration_admits(&stored, ID(0x21), 8, &error), AB_MISMATCH);
    assert_non_null(strstr(error.text, "another disk"));
}

static void test_registration_paths(void **unused)
{
    (void)unused;
    char path[AB_REGISTRATION_PATH_BYTES];
    ab_node_path(UINT32_MAX, path);
    assert_string_equal(path, "/nodes/4294967295");
    ab_live_path(UINT32_MAX, ID(0x16), path);
    assert_string_equal(path, "/live/4294967295-000000000000abcd0000000000000016");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_registration_bytes_are_those_of_format_1),
        cmocka_unit_test(test_registration_comes_back_as_it_was),
        cmocka_unit_test(test_registration_invalid_nodes_are_refused),
        cmocka_unit_test(test_registration_invalid_live_nodes_are_refused),
        cmocka_unit_test(test_registration_malformed_texts_are_refused),
        cmocka_unit_test(test_registration_older_images_and_other_disks_are_not_admitted),
        cmocka_unit_test(test_registration_paths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
