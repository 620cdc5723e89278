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

static ab_err decode(const char *text, struct ab_version_manifest *manifest, struct ab_error *error)
{
    struct ab_json *json = NULL;
    if (ab_json_parse(ab_bytes_of_text(text), &json, error) != AB_OK) {
        return AB_SYNTAX;
    }
    ab_err err = ab_version_manifest_decode(json, manifest, error);
    ab_json_destroy(json);
    return err;
}

static void test_manifest_round_trips(void **state)
{
    (void)state;
    struct ab_version_manifest manifest = {0};
    assert_int_equal(decode(good, &manifest, NULL), AB_OK);
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

struct change {
    const char *before, *after;
    const char *member; /* what the text names */
};

/* The good manifest with one change must be refused and name its member. */
static void expect_refused(const struct change *change, ab_err code)
{
    char *text = ab_new_text(good);
    char *at = strstr(text, change->before);
    assert_non_null(at);
    *at = 0;
    char *changed = ab_new_format("%s%s%s", text, change->after, at + strlen(change->before));
    struct ab_version_manifest manifest = {0};
    struct ab_error error = {0};
    ab_err found = decode(changed, &manifest, &error);
    char *name = ab_new_format("\"%s\"", change->member);
    if (found != code || (code == AB_INVALID && strstr(error.text, name) == NULL)) {
        fail_msg("%s -> %s: %s \"%s\"", change->before, change->after, ab_err_name(found), error.text);
    }
    assert_null(manifest.view);
    ab_delete(name);
    ab_delete(changed);
    ab_delete(text);
}

static void test_manifest_refuses_what_does_not_hold_together(void **state)
{
    (void)state;
    static const struct change changes[] = {
        {"\"format\":1", "\"format\":0", "format"},
        {"\"format\":1", "\"format\":\"1\"", "format"},
        {"\"view\":\"v\"", "\"view\":\"\"", "view"},
        {"\"view\":\"v\"", "\"view\":\"v\\u0000w\"", "view"},
        {"\"view\":\"v\"", "\"view\":7", "view"},
        {"\"definition_version\":2", "\"definition_version\":0", "definition_version"},
        {"\"definition_version\":2", "\"definition_version\":4294967296", "definition_version"},
        {"\"uid\":7", "\"uid\":0", "uid"},
        {"\"uid\":7", "\"uid\":-1", "uid"},
        {"\"uid\":7", "\"uid\":4294967296", "uid"},
        {"\"cut\":\"3\"", "\"cut\":\"4\"", "span_to"},
        {"\"cut\":\"3\"", "\"cut\":\"2\"", "span_to"},
        {"\"cut\":\"3\"", "\"cut\":\"0\"", "cut"},
        {"\"cut\":\"3\"", "\"cut\":\"18446744073709551615\"", "cut"},
        {"\"cut\":\"3\"", "\"cut\":\"99999999999999999999999\"", "cut"},
        {"\"attempt\":1", "\"attempt\":-1", "attempt"},
        {"\"attempt\":1", "\"attempt\":4294967296", "attempt"},
        {"\"time_us\":99", "\"time_us\":\"99\"", "time_us"},
        {"\"horizon_us\":5", "\"horizon_us\":5.5", "horizon_us"},
        {"\"shards\":2", "\"shards\":3", "shards"},
        {"\"shards\":2", "\"shards\":0", "shards"},
        {"\"shards\":2", "\"shards\":70000", "shards"},
        {"\"chunk_us\":3600", "\"chunk_us\":-1", "chunk_us"},
        {"\"aligned\":true", "\"aligned\":1", "aligned"},
        {"versions/v-2/2-1", "versions/../../etc", "path"},
        {"versions/v-2/2-1", "versions/", "path"},
        {"versions/v-2/2-1", "/etc/passwd", "path"},
        {"versions/v-2/2-1", "", "path"},
        {"\"span_from\":\"1\"", "\"span_from\":\"0\"", "span_from"},
        {"\"span_from\":\"3\"", "\"span_from\":\"2\"", "span_from"},
        {"\"span_from\":\"3\"", "\"span_from\":\"4\"", "span_from"},
        {"\"span_to\":\"2\"", "\"span_to\":\"0\"", "span_to"},
        {"\"span_to\":\"2\"", "\"span_to\":\"18446744073709551615\"", "span_to"},
        {"\"rows\":\"10\"", "\"rows\":\"x\"", "shards"},
        {"\"bytes\":\"100\"", "\"bytes\":\"-1\"", "shards"},
        {"000102030405", "zz0102030405", "shards"},
        {"000102030405", "0102030405", "shards"},
        {"\"directories\":[", "\"directories\":{},\"x\":[", "directories"},
        {"\"directories\":[", "\"directories\":[],\"x\":[", "directories"},
        {"\"directories\":[", "\"directories\":[7,", "path"},
    };
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        expect_refused(&changes[i], AB_INVALID);
    }
    expect_refused(&(struct change){"\"format\":1", "\"format\":2", "format"}, AB_UNSUPPORTED);
}

static void test_manifest_missing_members_are_refused_by_name(void **state)
{
    (void)state;
    static const char *const members[] = {"format", "view", "definition_version", "uid", "cut", "attempt", "time_us",
        "horizon_us", "shards", "chunk_us", "aligned", "directories", "path", "span_from", "span_to"};
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        char *name = ab_new_format("\"%s\"", members[i]);
        expect_refused(&(struct change){name, "\"else\"", members[i]}, AB_INVALID);
        ab_delete(name);
    }
    static const char *const of_shards[] = {"rows", "bytes", "content"};
    for (size_t i = 0; i < sizeof of_shards / sizeof *of_shards; i++) {
        char *name = ab_new_format("\"%s\"", of_shards[i]);
        expect_refused(&(struct change){name, "\"else\"", "shards"}, AB_INVALID);
        ab_delete(name);
    }
}

static void test_manifest_more_directories_than_the_limit_are_refused(void **state)
{
    (void)state;
    struct ab_json *json = NULL;
    struct ab_version_manifest manifest = {0};
    struct ab_error error = {0};
    assert_int_equal(ab_json_parse(ab_bytes_of_text(good), &json, &error), AB_OK);
    struct ab_json *directories = ab_json_get(json, "directories");
    for (unsigned i = 2; i <= AB_MANIFEST_DIRECTORIES_MAX; i++) {
        ab_json_append(directories, ab_json_object());
    }
    assert_int_equal(ab_version_manifest_decode(json, &manifest, &error), AB_INVALID);
    assert_non_null(strstr(error.text, "\"directories\""));
    assert_int_equal(ab_version_manifest_decode(NULL, &manifest, &error), AB_INVALID);
    ab_json_destroy(json);
}

static void test_manifest_truncations_are_refused(void **state)
{
    (void)state;
    for (size_t bytes = 0; bytes + 1 < sizeof good; bytes++) {
        struct ab_bytes part = ab_bytes_of(good, bytes);
        char *text = ab_new_text_of(part);
        struct ab_version_manifest manifest = {0};
        assert_true(decode(text, &manifest, NULL) != AB_OK);
        ab_delete(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_manifest_round_trips),
        cmocka_unit_test(test_manifest_refuses_what_does_not_hold_together),
        cmocka_unit_test(test_manifest_missing_members_are_refused_by_name),
        cmocka_unit_test(test_manifest_more_directories_than_the_limit_are_refused),
        cmocka_unit_test(test_manifest_truncations_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
