/* Version manifests: what is written is read again, and what does not hold together is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/history/manifest.h"

static const char good[] =
    "{\"format\":1,\"view\":\"v\",\"definition_version\":2,\"uid\":7,\"cut\":\"3\",\"attempt\":1,\"time_us\":99,"
    "\"horizon_us\":5,\"shards\":2,\"chunk_us\":3600,\"aligned\":true,\"directories\":["
    "{\"path\":\"versions/v-2/2-1\",\"span_from\":\"1\",\"span_to\":\"2\",\"shards\":["
    "{\"rows\":\"10\",\"bytes\":\"100\",\"content\":\"000102030405060708090a0b0c0d0e0f\"},"
    "{\"rows\":\"0\",\"bytes\":\"0\",\"content\":\"00000000000000000000000000000000\"}]},"
    "{\"path\":\"versions/v-2/3-1\",\"span_from\":\"3\",\"span_to\":\"3\",\"shards\":["
    "{\"rows\":\"1\",\"bytes\":\"1\",\"content\":\"ffffffffffffffffffffffffffffffff\"},"
    "{\"rows\":\"2\",\"bytes\":\"2\",\"content\":\"00000000000000000000000000000001\"}]}]}";

static ab_err decode(const char *text, struct ab_version_manifest *manifest)
{
    struct ab_json *json = NULL;
    struct ab_error error = {0};
    if (ab_json_parse(ab_bytes_of_text(text), &json, &error) != AB_OK) {
        return AB_SYNTAX;
    }
    ab_err err = ab_version_manifest_decode(json, manifest, &error);
    ab_json_destroy(json);
    return err;
}

static void test_manifest_round_trips(void **state)
{
    (void)state;
    struct ab_version_manifest manifest = {0};
    assert_int_equal(decode(good, &manifest), AB_OK);
    assert_string_equal(manifest.view, "v");
    assert_int_equal(manifest.cut, 3);
    assert_int_equal(manifest.directories_count, 2);
    assert_int_equal(manifest.directories[1].shards[1].rows_count, 2);
    struct ab_json *json = ab_version_manifest_encode(&manifest);
    struct ab_buffer text = {0};
    ab_json_write(json, 0, &text);
    assert_string_equal(ab_buffer_text(&text), good);
    char *path = ab_version_shard_path("/d", &manifest.directories[0], 1);
    assert_string_equal(path, "/d/versions/v-2/2-1/shard-1");
    ab_delete(path);
    ab_buffer_fini(&text);
    ab_json_destroy(json);
    ab_version_manifest_fini(&manifest);
}

static void test_manifest_refuses_what_does_not_hold_together(void **state)
{
    (void)state;
    static const char *const changes[][2] = {
        {"\"format\":1", "\"format\":2"},
        {"\"format\":1", "\"format\":0"},
        {"\"view\":\"v\"", "\"view\":\"\""},
        {"\"uid\":7", "\"uid\":0"},
        {"\"cut\":\"3\"", "\"cut\":\"4\""},
        {"\"cut\":\"3\"", "\"cut\":\"0\""},
        {"\"shards\":2", "\"shards\":3"},
        {"\"shards\":2", "\"shards\":70000"},
        {"versions/v-2/2-1", "versions/../../etc"},
        {"versions/v-2/2-1", "/etc/passwd"},
        {"\"span_from\":\"3\"", "\"span_from\":\"2\""},
        {"\"span_to\":\"2\"", "\"span_to\":\"0\""},
        {"\"rows\":\"10\"", "\"rows\":\"x\""},
        {"000102030405", "zz0102030405"},
        {"\"directories\":[", "\"directories\":{},\"x\":["},
    };
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        char *text = ab_new_text(good);
        char *at = strstr(text, changes[i][0]);
        assert_non_null(at);
        *at = 0;
        char *changed = ab_new_format("%s%s%s", text, changes[i][1], at + strlen(changes[i][0]));
        struct ab_version_manifest manifest = {0};
        assert_true(decode(changed, &manifest) != AB_OK);
        assert_null(manifest.view);
        ab_delete(changed);
        ab_delete(text);
    }
}

static void test_manifest_truncations_are_refused(void **state)
{
    (void)state;
    for (size_t bytes = 0; bytes + 1 < sizeof good; bytes++) {
        struct ab_bytes part = ab_bytes_of(good, bytes);
        char *text = ab_new_text_of(part);
        struct ab_version_manifest manifest = {0};
        assert_true(decode(text, &manifest) != AB_OK);
        ab_delete(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_manifest_round_trips),
        cmocka_unit_test(test_manifest_refuses_what_does_not_hold_together),
        cmocka_unit_test(test_manifest_truncations_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
