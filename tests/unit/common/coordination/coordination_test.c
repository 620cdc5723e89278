/* The local implementation: the contract, and what is its own. */
#include "common/coordination/coordination.h"
#include "common/coordination/operations.h"

#include "tests/support/test.h"
#include "tests/unit/common/coordination/contract.h"

#include <sys/stat.h>

/* ---- fixture and helpers ---- */

static int place_setup(void **state)
{
    struct contract_place *place = ab_new(struct contract_place);
    char *directory = scratch_make();
    place->address = ab_new_format("local:%s", directory);
    ab_delete(directory);
    *state = place;
    return 0;
}

static int place_teardown(void **state)
{
    struct contract_place *place = *state;
    scratch_remove(ab_new_text(place->address + strlen("local:")));
    ab_delete(place->address);
    ab_delete(place);
    return 0;
}

static struct ab_coordination *session_open(const char *directory)
{
    struct contract_place place = {.address = ab_new_format("local:%s", directory)};
    struct ab_coordination *session = contract_open(&place);
    ab_delete(place.address);
    return session;
}

static ab_err create(struct ab_coordination *session, const char *path, const char *value)
{
    return ab_coordination_create(session, path, bytes_of(value), false, NULL);
}

static ab_err set(struct ab_coordination *session, const char *path, const char *value, uint64_t version)
{
    return ab_coordination_set(session, path, bytes_of(value), version, NULL);
}

static void check_value(struct ab_coordination *session, const char *path, const char *value, uint64_t version)
{
    struct ab_buffer found = {0};
    struct ab_coordination_stat stat = {0};
    assert_ok(ab_coordination_get(session, path, &found, &stat, NULL));
    assert_true(ab_bytes_equal(ab_buffer_view(&found), bytes_of(value)));
    assert_int_equal(stat.version, version);
    ab_buffer_fini(&found);
}

/* ---- opening ---- */

static void test_addresses_of_no_kind_are_refused(void **state)
{
    (void)state;
    struct ab_error error = {0};
    struct ab_coordination *none = NULL;
    assert_int_equal(ab_coordination_open("telepathy:/x", &none, &error), AB_USAGE);
    assert_int_equal(ab_coordination_open("local", &none, &error), AB_USAGE);
    assert_int_equal(ab_coordination_open("zookeeperx:/a", &none, &error), AB_USAGE);
    ab_err err = ab_coordination_open("zookeeper:127.0.0.1:1/a", &none, &error);
    assert_true(err == AB_USAGE || err == AB_UNSUPPORTED); /* no credential; or no ZooKeeper in this build */
    assert_null(none);
}

static void check_credential(const char *directory, const char *content, int mode, ab_err expected)
{
    char *path = scratch_path(directory, "credential");
    struct ab_buffer found = {0};
    scratch_write(path, bytes_of(content), mode);
    assert_int_equal(ab_coordination_credential_read(path, &found, NULL), expected);
    assert_int_equal(found.bytes > 0, expected == AB_OK);
    ab_buffer_fini(&found);
    ab_delete(path);
}

static void test_credential_is_read_from_a_private_file(void **state)
{
    const char *directory = *state;
    struct ab_buffer found = {0};
    char *path = scratch_path(directory, "credential");
    assert_int_equal(ab_coordination_credential_read(path, &found, NULL), AB_NOT_FOUND);
    scratch_write(path, bytes_of("name:pass:word\n"), 0600);
    assert_ok(ab_coordination_credential_read(path, &found, NULL));
    assert_string_equal(ab_buffer_text(&found), "name:pass:word");
    ab_buffer_fini(&found);
    check_credential(directory, "a:b", 0400, AB_OK);
    check_credential(directory, "a:b", 0640, AB_DENIED);
    check_credential(directory, "a:b", 0604, AB_DENIED);
    check_credential(directory, "", 0600, AB_INVALID);
    check_credential(directory, "ab", 0600, AB_INVALID);
    check_credential(directory, ":b", 0600, AB_INVALID);
    check_credential(directory, "a:", 0600, AB_INVALID);
    check_credential(directory, "a:b\n\n", 0600, AB_INVALID);
    check_credential(directory, "a:b c", 0600, AB_INVALID);
    char *large = ab_new_bytes(AB_COORDINATION_CREDENTIAL_BYTES_MAX + 2);
    memset(large, 'x', AB_COORDINATION_CREDENTIAL_BYTES_MAX + 1);
    large[1] = ':';
    check_credential(directory, large, 0600, AB_INVALID);
    large[AB_COORDINATION_CREDENTIAL_BYTES_MAX] = '\0';
    check_credential(directory, large, 0600, AB_OK);
    ab_delete(large);
    ab_delete(path);
}

/* ---- sizes ---- */

static void test_values_of_the_stated_size_are_taken(void **state)
{
    (void)state;
    char *directory = scratch_make();
    struct ab_coordination *session = session_open(directory);
    uint8_t *large = ab_new_bytes(AB_COORDINATION_VALUE_BYTES_MAX);
    struct ab_bytes value = ab_bytes_of(large, AB_COORDINATION_VALUE_BYTES_MAX);
    assert_ok(ab_coordination_create(session, "/large", value, false, NULL));
    ab_delete(large);
    ab_coordination_close(session);
    scratch_remove(directory);
}

static void test_multi_larger_than_the_tree_is_refused(void **state)
{
    (void)state;
    enum { OPS = 18 };
    char *directory = scratch_make();
    struct ab_coordination *session = session_open(directory);
    uint8_t *large = ab_new_bytes(AB_COORDINATION_VALUE_BYTES_MAX);
    struct ab_coordination_op ops[OPS];
    for (int i = 0; i < OPS; i++) {
        ops[i] = (struct ab_coordination_op){.kind = AB_COORDINATION_SET,
            .path = "/a",
            .value = ab_bytes_of(large, AB_COORDINATION_VALUE_BYTES_MAX),
            .version = AB_COORDINATION_ANY_VERSION};
    }
    size_t failed = 0;
    assert_ok(create(session, "/a", "small"));
    assert_int_equal(ab_coordination_multi(session, ops, OPS, &failed, NULL), AB_TOO_LARGE);
    assert_true(failed > 0);
    check_value(session, "/a", "small", 0);
    assert_ok(ab_coordination_multi(session, ops, 2, &failed, NULL));
    ab_coordination_close(session);
    ab_delete(large);
    scratch_remove(directory);
}

/* ---- the file ---- */

static void test_journal_is_compacted_under_the_eyes_of_others(void **state)
{
    (void)state;
    char *directory = scratch_make();
    char *journal = scratch_path(directory, "journal");
    struct ab_coordination *writer = session_open(directory);
    struct ab_coordination *other = session_open(directory);
    uint8_t *value = ab_new_bytes(100000);
    assert_ok(create(writer, "/small", "kept"));
    assert_ok(create(writer, "/large", ""));
    for (uint64_t version = 0; version < 40; version++) {
        value[0] = (uint8_t)version;
        assert_ok(ab_coordination_set(writer, "/large", ab_bytes_of(value, 100000), version, NULL));
        if (version % 7 == 0) {
            check_value(other, "/small", "kept", version == 0 ? 0 : (version / 7) * 1);
            assert_ok(set(other, "/small", "kept", AB_COORDINATION_ANY_VERSION));
        }
    }
    struct stat status;
    assert_int_equal(stat(journal, &status), 0);
    assert_true(status.st_size < 1500000);
    struct ab_coordination_stat found = {0};
    assert_ok(ab_coordination_get(other, "/large", NULL, &found, NULL));
    assert_int_equal(found.version, 40);
    ab_coordination_close(writer);
    ab_coordination_close(other);
    writer = session_open(directory);
    check_value(writer, "/small", "kept", 6);
    ab_coordination_close(writer);
    ab_delete(value);
    ab_delete(journal);
    scratch_remove(directory);
}

/* ---- counting ---- */

static void test_operations_are_counted_by_kind(void **state)
{
    uint64_t before[AB_COORDINATION_OPERATIONS_COUNT];
    for (int i = 0; i < AB_COORDINATION_OPERATIONS_COUNT; i++) {
        before[i] = ab_coordination_operations(i);
    }
    struct ab_coordination *session = session_open(*state);
    char **names = NULL;
    size_t count = 0;
    assert_ok(create(session, "/a", "1"));
    assert_int_equal(create(session, "/a", "1"), AB_EXISTS);
    assert_int_equal(ab_coordination_get(session, "no path", NULL, NULL, NULL), AB_USAGE); /* asks nobody */
    check_value(session, "/a", "1", 0);
    assert_ok(ab_coordination_children(session, "/", &names, &count, NULL));
    ab_coordination_names_free(names, count);
    ab_coordination_close(session);
    assert_int_equal(ab_coordination_operations(AB_COORDINATION_CHANGES) - before[AB_COORDINATION_CHANGES], 2);
    assert_int_equal(ab_coordination_operations(AB_COORDINATION_GETS) - before[AB_COORDINATION_GETS], 1);
    assert_int_equal(ab_coordination_operations(AB_COORDINATION_LISTS) - before[AB_COORDINATION_LISTS], 1);
    assert_int_equal(ab_coordination_operations(AB_COORDINATION_PROBES), before[AB_COORDINATION_PROBES]);
    struct ab_json *json = ab_coordination_operations_json();
    assert_int_equal(ab_json_count(json), AB_COORDINATION_OPERATIONS_COUNT);
    assert_int_equal(
        ab_json_integer_or(ab_json_get(json, "gets"), -1), (int64_t)ab_coordination_operations(AB_COORDINATION_GETS));
    ab_json_destroy(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CONTRACT_CASES(place_setup, place_teardown),
        cmocka_unit_test(test_addresses_of_no_kind_are_refused),
        cmocka_unit_test_setup_teardown(test_operations_are_counted_by_kind, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_credential_is_read_from_a_private_file, scratch_setup, scratch_teardown),
        cmocka_unit_test(test_values_of_the_stated_size_are_taken),
        cmocka_unit_test(test_multi_larger_than_the_tree_is_refused),
        cmocka_unit_test(test_journal_is_compacted_under_the_eyes_of_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
