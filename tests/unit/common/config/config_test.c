#include "common/config/config.h"

#include "tests/support/test.h"

static ab_err decode(const char *text, struct ab_config *config, struct ab_error *error)
{
    memset(error, 0, sizeof(*error));
    return ab_config_decode(bytes_of(text), config, error);
}

static void test_config_minimal_file_gets_defaults(void **state)
{
    (void)state;
    struct ab_config config;
    struct ab_error error;
    assert_ok(decode("data: /d\n", &config, &error));
    assert_string_equal(config.data, "/d");
    assert_string_equal(config.listen.speed, "tcp://127.0.0.1:*");
    assert_string_equal(config.listen.serving, "tcp://127.0.0.1:*");
    assert_string_equal(config.listen.controller, "tcp://127.0.0.1:*");
    assert_true(config.workers >= 1 && config.query_threads >= 1);
    assert_int_equal(config.flush_interval_ms, 60000);
    assert_int_equal(config.disk_watermark_percent, 95);
    assert_int_equal(config.scrub_bytes_per_second, 1048576);
    assert_int_equal(config.retained_versions, 3);
    assert_int_equal(config.cluster.session_timeout_ms, 6000);
    assert_true(config.segment_bytes == UINT64_C(256) << 20);
    assert_ok(ab_config_validate(&config, &error));
    assert_ok(decode("data: /d\nworkers: 010\nflush_interval_ms: 0\n", &config, &error));
    assert_int_equal(config.workers, 10);
    assert_int_equal(config.flush_interval_ms, 60000);
}

static void test_config_reads_every_key(void **state)
{
    (void)state;
    struct ab_config config;
    struct ab_error error;
    assert_ok(decode("data: /d  # comment\n"
                     "listen:\n  speed: tcp://127.0.0.1:7001\n  serving: ipc:///run/s\n  controller: tcp://*:7003\n"
                     "workers: 3\nquery_threads: 4\n"
                     "memory_bytes: {speed: 100000000, serving: 200000000, controller: 20000000, batch: 300000000}\n"
                     "flush_interval_ms: 100\nsegment_bytes: 1048576\nretained_versions: 7\n"
                     "disk_watermark_percent: 80\n"
                     "scrub_bytes_per_second: 5000000\n"
                     "cluster: {node: 3, rack: b, weight: 2, session_timeout_ms: 1500}\n",
        &config, &error));
    assert_string_equal(config.listen.serving, "ipc:///run/s");
    assert_string_equal(config.listen.controller, "tcp://*:7003");
    assert_int_equal(config.workers, 3);
    assert_int_equal(config.query_threads, 4);
    assert_true(config.memory_bytes.speed == 100000000 && config.memory_bytes.batch == 300000000);
    assert_true(config.memory_bytes.serving == 200000000 && config.memory_bytes.controller == 20000000);
    assert_int_equal(config.flush_interval_ms, 100);
    assert_true(config.segment_bytes == 1048576);
    assert_int_equal(config.retained_versions, 7);
    assert_int_equal(config.disk_watermark_percent, 80);
    assert_int_equal(config.scrub_bytes_per_second, 5000000);
    assert_true(config.cluster.node == 3 && config.cluster.weight == 2);
    assert_int_equal(config.cluster.session_timeout_ms, 1500);
}

static void assert_refused(const char *text, const char *place)
{
    struct ab_config config = {.workers = 77};
    struct ab_error error;
    assert_int_equal(decode(text, &config, &error), AB_INVALID);
    if (strstr(error.text, place) == NULL) {
        print_error("%s\n", error.text);
    }
    assert_non_null(strstr(error.text, place));
    assert_int_equal(config.workers, 77);
}

static void test_config_errors_name_their_place(void **state)
{
    (void)state;
    assert_refused("", "empty");
    assert_refused("workers: 3\n", "data");
    assert_refused("data: /d\nwrokers: 3\n", "wrokers");
    assert_refused("data: /d\nlisten:\n  sped: tcp://x\n", "sped");
    const char *const not_whole[] = {"many", "-1", "1.5", "99999999999", "3GB", "0x10", "1e2", "' 3'"};
    for (size_t i = 0; i < sizeof(not_whole) / sizeof(not_whole[0]); i++) {
        char *text = ab_new_format("data: /d\nworkers: %s\n", not_whole[i]);
        assert_refused(text, "workers is '");
        ab_delete(text);
    }
    assert_refused("data: /d\nworkers: 0000000000000000000000000000003\n", "line: 2");
    assert_refused("data: /d\nworkers: [1]\n", "line: 2");
    assert_refused("data: /d\ndata: /e\n", "data");
    assert_refused("data: /d\nworkers: 257\n", "workers");
    assert_refused("data: /d\nflush_interval_ms: 9\n", "flush_interval_ms");
    assert_refused("data: /d\nsegment_bytes: 1000\n", "segment_bytes");
    assert_refused("data: /d\ndisk_watermark_percent: 100\n", "disk_watermark_percent");
    assert_refused("data: /d\nscrub_bytes_per_second: 4294967297\n", "scrub_bytes_per_second");
    assert_refused("data: /d\nmemory_bytes:\n  speed: 1000\n", "memory_bytes.speed");
    assert_refused("data: /d\ncluster:\n  session_timeout_ms: 999\n", "cluster.session_timeout_ms");
    assert_refused("data: /d\ncluster:\n  session_timeout_ms: 60001\n", "cluster.session_timeout_ms");
    assert_refused("data: /d\nlisten:\n  speed: 127.0.0.1:1\n", "listen.speed");
    assert_refused("data: /d\nlisten:\n  speed: tcp://\n", "listen.speed");
    assert_refused("data: ''\n", "data");
    assert_refused("data: [\n", "line");
    assert_refused("- a\n", "MAPPING");
    assert_refused("data: &a /d\nlisten:\n  speed: *a\n", "lias");
}

static void test_config_any_truncation_or_flip_is_safe(void **state)
{
    (void)state;
    const char *whole = "data: /d\nlisten: {speed: 'tcp://a:1'}\nworkers: 3\nmemory_bytes:\n  speed: 100000000\n";
    size_t bytes = strlen(whole);
    for (size_t cut = 0; cut < bytes; cut++) {
        struct ab_config config;
        ab_err err = ab_config_decode(ab_bytes_of(whole, cut), &config, NULL);
        assert_true(err == AB_OK || err == AB_INVALID);
    }
    for (size_t bit = 0; bit < bytes * 8; bit++) {
        char *copy = ab_new_text(whole);
        struct ab_config config;
        copy[bit / 8] ^= (char)(1 << (bit % 8));
        ab_err err = ab_config_decode(ab_bytes_of(copy, bytes), &config, NULL);
        assert_true(err == AB_OK || err == AB_INVALID);
        ab_delete(copy);
    }
}

static void test_config_long_texts_are_refused(void **state)
{
    (void)state;
    struct ab_buffer text = {0};
    struct ab_config config;
    ab_buffer_put_format(&text, "data: /%02000d\n", 1);
    assert_int_equal(ab_config_decode(ab_buffer_view(&text), &config, NULL), AB_INVALID);
    ab_buffer_fini(&text);
}

static void test_config_written_reads_back(void **state)
{
    char *path = scratch_path(*state, "node.yaml");
    struct ab_config config = {.workers = 2, .disk_watermark_percent = 50, .cluster.session_timeout_ms = 3000};
    struct ab_config back;
    struct ab_error error = {0};
    (void)snprintf(config.data, sizeof(config.data), "%s", "/odd: path # with 'quotes' and \"more\"");
    (void)snprintf(config.listen.speed, sizeof(config.listen.speed), "tcp://127.0.0.1:5555");
    ab_config_defaults(&config);
    assert_ok(ab_config_write(path, &config, &error));
    assert_ok(ab_config_load(path, &back, &error));
    assert_string_equal(back.data, config.data);
    assert_string_equal(back.listen.speed, config.listen.speed);
    assert_string_equal(back.listen.controller, config.listen.controller);
    assert_memory_equal(&back.memory_bytes, &config.memory_bytes, sizeof(config.memory_bytes));
    assert_int_equal(back.workers, 2);
    assert_int_equal(back.disk_watermark_percent, 50);
    assert_int_equal(back.cluster.session_timeout_ms, 3000);
    assert_true(back.segment_bytes == config.segment_bytes);
    ab_delete(path);
}

static void test_config_write_and_load_fail_cleanly(void **state)
{
    char *path = scratch_path(*state, "node.yaml");
    struct ab_config config = {.data = "/d"};
    struct ab_error error = {0};
    assert_int_equal(ab_config_load(path, &config, &error), AB_NOT_FOUND);
    assert_int_equal(ab_config_write(path, &config, &error), AB_INVALID);
    assert_false(ab_file_exists(path));
    ab_config_defaults(&config);
    ab_file_fault_set(1, 1, AB_NO_SPACE);
    assert_int_equal(ab_config_write(path, &config, &error), AB_NO_SPACE);
    ab_file_fault_clear();
    assert_false(ab_file_exists(path));
    struct ab_buffer large = {0};
    ab_buffer_put_format(&large, "data: /d\n#%070000d\n", 1);
    scratch_write(path, ab_buffer_view(&large), 0600);
    assert_int_equal(ab_config_load(path, &config, &error), AB_TOO_LARGE);
    ab_buffer_fini(&large);
    scratch_write(path, bytes_of("nope: 1\n"), 0600);
    memset(&error, 0, sizeof(error));
    assert_int_equal(ab_config_load(path, &config, &error), AB_INVALID);
    assert_non_null(strstr(error.text, path));
    ab_delete(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_config_minimal_file_gets_defaults),
        cmocka_unit_test(test_config_reads_every_key),
        cmocka_unit_test(test_config_errors_name_their_place),
        cmocka_unit_test(test_config_any_truncation_or_flip_is_safe),
        cmocka_unit_test(test_config_long_texts_are_refused),
        cmocka_unit_test_setup_teardown(test_config_written_reads_back, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_config_write_and_load_fail_cleanly, scratch_setup, scratch_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
