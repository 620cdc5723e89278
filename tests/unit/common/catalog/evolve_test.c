/* One catalog after another: ids, uids and what is refused; and the stored form. */
#include "tests/unit/common/catalog/fixture.h"

#include "common/base/buffer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define STREAM_A                                                                                                       \
    "CREATE STREAM a (k TEXT NOT NULL, t TIMESTAMP NOT NULL, n BIGINT CHECK (n > 0), EVENT TIME t, PARTITION KEY "     \
    "(k));\n"
#define VIEW_V "CREATE VIEW v AS SELECT k, count(*) AS c FROM a GROUP BY k;\n"
#define VIEW_W "CREATE VIEW w AS SELECT sum(n) AS s FROM a;\n"

/* Evolves, expecting success and these changes; takes `before`. */
static struct ab_catalog *evolve(struct ab_catalog *before, const char *text, const char *changes)
{
    struct ab_catalog *after = NULL;
    struct ab_buffer told = {0};
    struct ab_error error = {0};
    if (ab_catalog_evolve(ab_bytes_of_text(text), before, &after, &told, &error) != AB_OK) {
        print_error("%s\n", error.text);
        fail();
    }
    assert_string_equal(ab_buffer_text(&told), changes);
    ab_buffer_fini(&told);
    ab_catalog_release(before);
    return after;
}

static void expect_evolve_refused(const char *text, const char *expected)
{
    struct ab_catalog *before = catalog_of(STREAM_A VIEW_V);
    struct ab_catalog *after = NULL;
    struct ab_buffer told = {0};
    struct ab_error error = {0};
    assert_int_equal(ab_catalog_evolve(ab_bytes_of_text(text), before, &after, &told, &error), AB_UNSUPPORTED);
    assert_string_equal(error.text, expected);
    assert_null(after);
    assert_int_equal(told.bytes, 0);
    ab_catalog_release(before);
}

static void test_evolve_first_catalog_is_all_new(void **state)
{
    (void)state;
    struct ab_catalog *catalog = evolve(NULL, STREAM_A VIEW_V, "stream a: new\nview v: new, will be built\n");
    ab_catalog_release(catalog);
}

static void test_evolve_same_meaning_changes_nothing(void **state)
{
    (void)state;
    struct ab_catalog *catalog = catalog_of(STREAM_A VIEW_V VIEW_W);
    catalog = evolve(catalog, "/* moved */" VIEW_W "\n\n" STREAM_A "-- the same\n" VIEW_V, "");
    assert_int_equal(ab_catalog_view(catalog, ab_bytes_of_text("v"))->uid, 1);
    assert_int_equal(ab_catalog_view(catalog, ab_bytes_of_text("w"))->uid, 2);
    ab_catalog_release(catalog);
}

static void test_evolve_changed_view_has_a_new_uid_and_version(void **state)
{
    (void)state;
    struct ab_catalog *catalog = catalog_of(STREAM_A VIEW_V VIEW_W);
    catalog = evolve(catalog, STREAM_A "CREATE VIEW v AS SELECT k, count(n) AS c FROM a GROUP BY k;" VIEW_W,
        "view v: changed, will be rebuilt\n");
    const struct ab_view *view = ab_catalog_view(catalog, ab_bytes_of_text("v"));
    assert_int_equal(view->id, 1);
    assert_int_equal(view->definition_version, 2);
    assert_int_equal(view->uid, 3);
    assert_int_equal(ab_catalog_view(catalog, ab_bytes_of_text("w"))->uid, 2);
    ab_catalog_release(catalog);
}

static void test_evolve_removed_and_returned_view_gets_fresh_ids(void **state)
{
    (void)state;
    struct ab_catalog *catalog = catalog_of(STREAM_A VIEW_V VIEW_W);
    catalog = evolve(catalog, STREAM_A VIEW_V, "view w: removed\n");
    catalog = evolve(catalog, STREAM_A VIEW_V VIEW_W, "view w: new, will be built\n");
    const struct ab_view *view = ab_catalog_view(catalog, ab_bytes_of_text("w"));
    assert_int_equal(view->id, 3);
    assert_int_equal(view->uid, 3);
    assert_int_equal(view->definition_version, 1);
    ab_catalog_release(catalog);
}

static void test_evolve_stream_gains_a_nullable_column_and_views_stay(void **state)
{
    (void)state;
    struct ab_catalog *catalog = catalog_of(STREAM_A VIEW_V);
    catalog = evolve(catalog,
        "CREATE STREAM a (k TEXT NOT NULL, extra DOUBLE, t TIMESTAMP NOT NULL, n BIGINT CHECK (n > 1), EVENT TIME t, "
        "PARTITION KEY (k)) WITH (max_past = '3 days');" VIEW_V,
        "stream a: new column extra\nstream a: the CHECK of n changed, for rows that arrive from now on\nstream a: "
        "options "
        "changed\n");
    assert_int_equal(ab_catalog_view(catalog, ab_bytes_of_text("v"))->uid, 1);
    assert_int_equal(catalog->streams[0].id, 1);
    ab_catalog_release(catalog);
}

static void test_evolve_streams_come_and_go_with_their_views(void **state)
{
    (void)state;
    struct ab_catalog *catalog = catalog_of(STREAM_A VIEW_V);
    catalog =
        evolve(catalog, "CREATE STREAM b (k TEXT NOT NULL, t TIMESTAMP NOT NULL, EVENT TIME t, PARTITION KEY (k));",
            "stream b: new\nstream a: removed\nview v: removed\n");
    assert_int_equal(catalog->streams[0].id, 2);
    ab_catalog_release(catalog);
}

static void test_evolve_refuses_what_history_cannot_follow(void **state)
{
    (void)state;
    expect_evolve_refused(
        "\n  CREATE STREAM a (k TEXT NOT NULL, t TIMESTAMP NOT NULL, EVENT TIME t, PARTITION KEY (k))",
        "line 2, column 17: column n of stream a is gone, but history holds it; it must stay");
    expect_evolve_refused(
        "CREATE STREAM a (k TEXT NOT NULL, t TIMESTAMP NOT NULL, n DOUBLE, EVENT TIME t, PARTITION KEY (k))",
        "line 1, column 57: column n of stream a was BIGINT and cannot become DOUBLE; add a new column instead");
    expect_evolve_refused(
        "CREATE STREAM a (k TEXT NOT NULL, t TIMESTAMP NOT NULL, n BIGINT NOT NULL, EVENT TIME t, PARTITION KEY (k))",
        "line 1, column 57: column n of stream a could be NULL and must stay so");
    expect_evolve_refused(
        "CREATE STREAM a (k TEXT NOT NULL, t TIMESTAMP NOT NULL, n BIGINT, z BIGINT NOT NULL, EVENT TIME "
        "t, PARTITION KEY (k))",
        "line 1, column 67: the new column z of stream a is NOT NULL, but rows that are there have no value for it");
    expect_evolve_refused(
        "CREATE STREAM a (k TEXT NOT NULL, t TIMESTAMP NOT NULL, n BIGINT, EVENT TIME t, PARTITION KEY (k, t))",
        "line 1, column 81: the PARTITION KEY of stream a cannot change: rows are placed by it");
    expect_evolve_refused("CREATE STREAM a (k TEXT NOT NULL, t TIMESTAMP NOT NULL, u TIMESTAMP NOT NULL, n BIGINT, "
                          "EVENT TIME u, PARTITION "
                          "KEY (k))",
        "line 1, column 89: the EVENT TIME of stream a was t and cannot change");
}

static void test_evolve_stream_dropped_under_a_view_is_an_unknown_name(void **state)
{
    (void)state;
    struct ab_catalog *before = catalog_of(STREAM_A VIEW_V);
    struct ab_catalog *after = NULL;
    struct ab_buffer told = {0};
    struct ab_error error = {0};
    assert_int_equal(ab_catalog_evolve(ab_bytes_of_text(VIEW_V), before, &after, &told, &error), AB_SYNTAX);
    assert_string_equal(error.text, "line 1, column 47: found \"a\", expected a stream");
    ab_catalog_release(before);
}

static struct ab_catalog *decoded(struct ab_bytes bytes)
{
    struct ab_catalog *catalog = NULL;
    struct ab_error error = {0};
    if (ab_catalog_decode(bytes, &catalog, &error) != AB_OK) {
        print_error("%s\n", error.text);
        fail();
    }
    return catalog;
}

static void test_encode_keeps_ids_versions_and_what_was_given(void **state)
{
    (void)state;
    struct ab_catalog *catalog = catalog_of(STREAM_A VIEW_V VIEW_W);
    catalog = evolve(catalog, STREAM_A VIEW_V, "view w: removed\n");
    catalog = evolve(catalog, STREAM_A "CREATE VIEW v AS SELECT k, sum(n) AS c FROM a GROUP BY k;",
        "view v: changed, will be rebuilt\n");
    catalog->version = 7;
    struct ab_buffer bytes = {0};
    ab_catalog_encode(catalog, &bytes);
    struct ab_catalog *again = decoded(ab_buffer_view(&bytes));
    assert_int_equal(again->version, 7);
    assert_string_equal(again->text, catalog->text);
    assert_true(ab_hash128_equal(again->hash, catalog->hash));
    assert_int_equal(again->views[0].uid, 3);
    assert_int_equal(again->views[0].definition_version, 2);
    again = evolve(again, STREAM_A VIEW_W, "view w: new, will be built\nview v: removed\n");
    assert_int_equal(again->views[0].id, 3);
    assert_int_equal(again->views[0].uid, 4);
    ab_catalog_release(again);
    ab_catalog_release(catalog);
    ab_buffer_fini(&bytes);
}

static void test_decode_refuses_every_truncation_and_flip(void **state)
{
    (void)state;
    struct ab_catalog *catalog = catalog_of(STREAM_A VIEW_V VIEW_W);
    struct ab_buffer bytes = {0};
    ab_catalog_encode(catalog, &bytes);
    struct ab_catalog *none = NULL;
    for (size_t cut = 0; cut < bytes.bytes; cut++) {
        assert_int_equal(ab_catalog_decode(ab_bytes_of(bytes.data, cut), &none, NULL), AB_CORRUPT);
    }
    for (size_t i = 0; i < bytes.bytes; i++) {
        bytes.data[i] ^= (uint8_t)(1u << (i % 8));
        assert_int_equal(ab_catalog_decode(ab_buffer_view(&bytes), &none, NULL), AB_CORRUPT);
        bytes.data[i] ^= (uint8_t)(1u << (i % 8));
    }
    ab_catalog_release(decoded(ab_buffer_view(&bytes)));
    ab_catalog_release(catalog);
    ab_buffer_fini(&bytes);
}

/* Flips with a right hash behind them: the decoder itself must hold. */
static void test_decode_survives_flips_under_a_right_hash(void **state)
{
    (void)state;
    struct ab_catalog *catalog = catalog_of(STREAM_A VIEW_V VIEW_W);
    struct ab_buffer bytes = {0};
    ab_catalog_encode(catalog, &bytes);
    size_t covered = bytes.bytes - 16;
    for (size_t i = 0; i < covered * 8; i++) {
        bytes.data[i / 8] ^= (uint8_t)(1u << (i % 8));
        struct ab_hash128 hash = ab_hash128(AB_HASH_CATALOG, ab_bytes_of(bytes.data, covered));
        memcpy(bytes.data + covered, &hash.low, 8);
        memcpy(bytes.data + covered + 8, &hash.high, 8);
        struct ab_catalog *made = NULL;
        ab_err code = ab_catalog_decode(ab_buffer_view(&bytes), &made, NULL);
        assert_true(code == AB_OK || code == AB_CORRUPT);
        ab_catalog_release(made);
        bytes.data[i / 8] ^= (uint8_t)(1u << (i % 8));
    }
    ab_catalog_release(catalog);
    ab_buffer_fini(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_evolve_first_catalog_is_all_new),
        cmocka_unit_test(test_evolve_same_meaning_changes_nothing),
        cmocka_unit_test(test_evolve_changed_view_has_a_new_uid_and_version),
        cmocka_unit_test(test_evolve_removed_and_returned_view_gets_fresh_ids),
        cmocka_unit_test(test_evolve_stream_gains_a_nullable_column_and_views_stay),
        cmocka_unit_test(test_evolve_streams_come_and_go_with_their_views),
        cmocka_unit_test(test_evolve_refuses_what_history_cannot_follow),
        cmocka_unit_test(test_evolve_stream_dropped_under_a_view_is_an_unknown_name),
        cmocka_unit_test(test_encode_keeps_ids_versions_and_what_was_given),
        cmocka_unit_test(test_decode_refuses_every_truncation_and_flip),
        cmocka_unit_test(test_decode_survives_flips_under_a_right_hash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
