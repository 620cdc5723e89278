/* Clients: opening, keys, and daemons that move. */
#include "tests/unit/common/client/fake.h"

#include "common/base/file.h"
#include "common/base/time.h"

#include "tests/support/test.h"

static struct fake *fake_create(void)
{
    struct fake *fake = ab_new(struct fake);
    fake_init(fake, 2);
    return fake;
}

static void fake_destroy(struct fake *fake)
{
    fake_fini(fake);
    ab_delete(fake);
}

/* Opens with options that must be refused, and returns what was said; closed by the caller. */
static struct anabranch_client *refused(const struct anabranch_options *options, enum anabranch_result result)
{
    struct anabranch_client *client = NULL;
    struct anabranch_answer *answer = NULL;
    struct anabranch_producer *producer = NULL;
    struct anabranch_producer_options producer_options = {.stream = "s"};
    assert_int_equal(anabranch_open(options, &client), result);
    assert_non_null(client);
    assert_int_equal(anabranch_query(client, "SELECT 1", &answer), ANABRANCH_USAGE);
    assert_int_equal(anabranch_producer_open(client, &producer_options, &producer), ANABRANCH_USAGE);
    return client;
}

static void assert_says(struct anabranch_client *client, const char *text)
{
    if (strstr(anabranch_last_error(client), text) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", anabranch_last_error(client), text);
    }
    anabranch_close(client);
}

static void test_client_opens_by_directory(void **state)
{
    (void)state;
    struct fake *fake = fake_create();
    anabranch_close(fake_client(fake, 0));
    anabranch_close(NULL);
    assert_int_equal(anabranch_open(NULL, NULL), ANABRANCH_USAGE);
    fake_destroy(fake);
}

static void test_client_opens_by_address_and_learns_the_cluster(void **state)
{
    (void)state;
    struct fake *fake = fake_create();
    struct anabranch_client *client = NULL;
    char key[2 * AB_WIRE_KEY_BYTES + 1] = "";
    char *path = ab_new_format("%s/keys/operator.key", fake->directory);
    for (size_t i = 0; i < AB_WIRE_KEY_BYTES; i++) {
        snprintf(key + 2 * i, 3, "%02x", fake->keys.public_key[i]);
    }
    struct anabranch_options options = {
        .address = ab_server_address(fake->serving), .server_key = key, .key_file = path, .timeout_ms = 5000};
    assert_int_equal(anabranch_open(&options, &client), ANABRANCH_OK);
    struct anabranch_answer *answer = NULL;
    assert_int_equal(anabranch_query(client, "SELECT 1", &answer), ANABRANCH_OK);
    anabranch_answer_free(answer);
    anabranch_close(client);
    options.server_key = "abc";
    assert_says(refused(&options, ANABRANCH_USAGE), "64 hexadecimal digits");
    options.server_key = NULL;
    assert_says(refused(&options, ANABRANCH_USAGE), "give a data directory");
    ab_delete(path);
    fake_destroy(fake);
}

static void test_client_missing_directory_says_what_to_do(void **state)
{
    (void)state;
    struct anabranch_options options = {.data_directory = "/nowhere/at/all"};
    assert_says(refused(&options, ANABRANCH_DEFINITELY_NOT), "is not the directory of a cluster");
    struct fake *fake = fake_create();
    char *path = scratch_path(fake->directory, "run/serving.json");
    assert_int_equal(remove(path), 0);
    options.data_directory = fake->directory;
    assert_says(refused(&options, ANABRANCH_TIMEOUT), "serving");
    scratch_write(path, bytes_of("{\"address\":"), 0600);
    assert_says(refused(&options, ANABRANCH_DEFINITELY_NOT), "serving.json");
    ab_delete(path);
    fake_destroy(fake);
}

static void test_client_missing_key_names_the_file(void **state)
{
    (void)state;
    struct fake *fake = fake_create();
    char *path = scratch_path(fake->directory, "keys/none.key");
    struct anabranch_options options = {.data_directory = fake->directory, .key_file = path};
    assert_says(refused(&options, ANABRANCH_DEFINITELY_NOT), "none.key");
    ab_delete(path);
    fake_destroy(fake);
}

static void test_client_key_that_is_not_on_the_list_is_refused_soon(void **state)
{
    (void)state;
    struct fake *fake = fake_create();
    char *path = scratch_path(fake->directory, "keys/stranger.key");
    struct anabranch_options options = {.data_directory = fake->directory, .key_file = path, .timeout_ms = 20000};
    int64_t begun_us = ab_time_monotonic_us();
    assert_says(refused(&options, ANABRANCH_DEFINITELY_NOT), "refuses this key");
    assert_true(ab_time_monotonic_us() - begun_us < 10 * AB_US_PER_SECOND);
    ab_delete(path);
    fake_destroy(fake);
}

static void test_client_malformed_catalog_answers_are_refused(void **state)
{
    (void)state;
    static const char *const answers[][2] = {
        {"nothing", ""},
        {"{}", "cluster_id"},
        {"{\"cluster_id\":\"000102030405060708090a0b0c0d0e0f\"}", "partitions"},
        {"{\"cluster_id\":\"000102030405060708090a0b0c0d0e0f\",\"partitions\":99999999}", "partitions"},
        {"{\"cluster_id\":\"000102030405060708090a0b0c0d0e0f\",\"partitions\":2}", "another cluster"},
    };
    struct fake *fake = fake_create();
    struct anabranch_options options = {.data_directory = fake->directory, .timeout_ms = 5000};
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        fake_catalog_answer(fake, answers[i][0]);
        struct anabranch_client *client = NULL;
        assert_int_equal(anabranch_open(&options, &client), ANABRANCH_DEFINITELY_NOT);
        assert_says(client, answers[i][1]);
    }
    char id[33];
    ab_cluster_id_format(fake->cluster_id, id);
    static const char *const rest[][2] = {
        {"\"speed\":{\"address\":\"\"}", "speed"},
        {"\"speed\":{\"address\":\"tcp://x\",\"public_key\":\"12\"}", "speed"},
        {"\"catalog\":\"0g\"", "catalog"},
        {"\"catalog\":\"00\"", "catalog"},
    };
    for (size_t i = 0; i < sizeof rest / sizeof *rest; i++) {
        char *answer = ab_new_format("{\"cluster_id\":\"%s\",\"partitions\":2,%s}", id, rest[i][0]);
        fake_catalog_answer(fake, answer);
        struct anabranch_client *client = NULL;
        assert_int_equal(anabranch_open(&options, &client), ANABRANCH_DEFINITELY_NOT);
        assert_says(client, rest[i][1]);
        fake_catalog_answer(fake, NULL);
        ab_delete(answer);
    }
    fake_destroy(fake);
}

static void test_client_without_speed_can_ask_but_not_produce(void **state)
{
    (void)state;
    struct fake *fake = fake_create();
    struct anabranch_producer *producer = NULL;
    struct anabranch_producer_options options = {.stream = "s"};
    struct ab_server *speed = fake->speed;
    fake->speed = NULL;
    fake_sync(fake);
    struct anabranch_client *client = fake_client(fake, 5000);
    struct anabranch_answer *answer = NULL;
    assert_int_equal(anabranch_query(client, "SELECT 1", &answer), ANABRANCH_OK);
    anabranch_answer_free(answer);
    assert_int_equal(anabranch_producer_open(client, &options, &producer), ANABRANCH_TIMEOUT);
    assert_says(client, "speed daemon has not said");
    fake->speed = speed;
    fake_destroy(fake);
}

static void test_client_finds_a_serving_node_that_moved(void **state)
{
    (void)state;
    struct fake *fake = fake_create();
    struct anabranch_client *client = fake_client(fake, 20000);
    struct anabranch_answer *answer = NULL;
    int64_t begun_us = ab_time_monotonic_us();
    fake_move_serving(fake);
    assert_int_equal(anabranch_query(client, "SELECT 1", &answer), ANABRANCH_OK);
    assert_true(ab_time_monotonic_us() - begun_us < 10 * AB_US_PER_SECOND);
    anabranch_answer_free(answer);
    anabranch_close(client);
    fake_destroy(fake);
}

/* Serving is being started again: it says where it answers half a second later. */
static void serving_returns(void *context)
{
    struct fake *fake = context;
    char *hidden = scratch_path(fake->directory, "run/hidden.json");
    char *path = scratch_path(fake->directory, "run/serving.json");
    ab_time_sleep_us(500 * AB_US_PER_MS);
    (void)rename(hidden, path);
    ab_delete(hidden);
    ab_delete(path);
}

static void test_client_open_waits_for_a_serving_node_that_is_started_again(void **state)
{
    (void)state;
    struct fake *fake = fake_create();
    struct ab_thread thread;
    struct ab_buffer endpoint = {0};
    struct ab_error error = {0};
    struct anabranch_client *client = NULL;
    char *controller = scratch_path(fake->directory, "run/controller.json");
    char *hidden = scratch_path(fake->directory, "run/hidden.json");
    char *path = scratch_path(fake->directory, "run/serving.json");
    struct anabranch_options options = {.data_directory = fake->directory, .timeout_ms = 20000};
    assert_ok(ab_file_read_all(path, &endpoint, &error));
    scratch_write(controller, ab_buffer_view(&endpoint), 0600);
    assert_int_equal(rename(path, hidden), 0);
    ab_thread_start(&thread, "returns", serving_returns, fake);
    int64_t begun_us = ab_time_monotonic_us();
    assert_int_equal(anabranch_open(&options, &client), ANABRANCH_OK);
    int64_t took_us = ab_time_monotonic_us() - begun_us;
    assert_true(took_us > 100 * AB_US_PER_MS && took_us < 10 * AB_US_PER_SECOND);
    ab_thread_join(&thread);
    anabranch_close(client);

    /* It never says: the timeout is kept. */
    assert_int_equal(remove(path), 0);
    options.timeout_ms = 300;
    begun_us = ab_time_monotonic_us();
    assert_says(refused(&options, ANABRANCH_TIMEOUT), "serving");
    took_us = ab_time_monotonic_us() - begun_us;
    assert_true(took_us >= 300 * AB_US_PER_MS && took_us < 5 * AB_US_PER_SECOND);
    ab_buffer_fini(&endpoint);
    ab_delete(controller);
    ab_delete(hidden);
    ab_delete(path);
    fake_destroy(fake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_client_opens_by_directory),
        cmocka_unit_test(test_client_opens_by_address_and_learns_the_cluster),
        cmocka_unit_test(test_client_missing_directory_says_what_to_do),
        cmocka_unit_test(test_client_missing_key_names_the_file),
        cmocka_unit_test(test_client_key_that_is_not_on_the_list_is_refused_soon),
        cmocka_unit_test(test_client_malformed_catalog_answers_are_refused),
        cmocka_unit_test(test_client_without_speed_can_ask_but_not_produce),
        cmocka_unit_test(test_client_finds_a_serving_node_that_moved),
        cmocka_unit_test(test_client_open_waits_for_a_serving_node_that_is_started_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
