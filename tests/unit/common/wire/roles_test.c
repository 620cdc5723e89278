/* Default deny: only what the table lists is allowed (I9). */
#include "common/wire/roles.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_role_names_go_there_and_back(void **state)
{
    (void)state;
    for (int role = AB_ROLE_PRODUCER; role <= AB_ROLE_OPERATOR; role++) {
        enum ab_role parsed = AB_ROLE_NONE;
        assert_int_equal(ab_role_parse(ab_role_name(role), &parsed), AB_OK);
        assert_int_equal(parsed, role);
    }
    enum ab_role untouched = AB_ROLE_QUERY;
    assert_int_equal(ab_role_parse("none", &untouched), AB_NOT_FOUND);
    assert_int_equal(ab_role_parse("Producer", &untouched), AB_NOT_FOUND);
    assert_int_equal(untouched, AB_ROLE_QUERY);
    assert_string_equal(ab_verb_name(AB_VERB_STATE_QUERY), "STATE_QUERY");
    assert_string_equal(ab_verb_name((enum ab_verb)99), "NONE");
}

static void test_role_unknown_numbers_are_denied(void **state)
{
    (void)state;
    assert_false(ab_role_allows((enum ab_role)6, AB_VERB_PING));
    assert_false(ab_role_allows((enum ab_role) - 1, AB_VERB_PING));
    assert_false(ab_role_allows(AB_ROLE_OPERATOR, AB_VERB_NONE));
    assert_false(ab_role_allows(AB_ROLE_OPERATOR, AB_VERB_COUNT));
    assert_false(ab_role_allows(AB_ROLE_NONE, AB_VERB_PING));
}

static void test_role_table_is_this(void **state)
{
    (void)state;
    static const char *const expected[AB_VERB_COUNT] = {/* producer, query, node, batch, operator */
        [AB_VERB_PING] = "pqnbo",
        [AB_VERB_PRODUCE] = "p...o",
        [AB_VERB_SOURCE_MARKS] = "p.n.o",
        [AB_VERB_QUERY] = ".q..o",
        [AB_VERB_STATE_QUERY] = "..n..",
        [AB_VERB_DEAD_LETTERS] = ".q..o",
        [AB_VERB_CATALOG] = "pqnbo",
        [AB_VERB_STATUS] = "..nbo",
        [AB_VERB_CUT] = "..n..",
        [AB_VERB_DIGEST] = "..nb.",
        [AB_VERB_RETIRE] = "..n..",
        [AB_VERB_APPLY] = "....o",
        [AB_VERB_JOB_SUBMIT] = "....o",
        [AB_VERB_JOB_LIST] = "....o",
        [AB_VERB_JOB_SHOW] = "....o",
        [AB_VERB_JOB_BEGIN] = "...b.",
        [AB_VERB_JOB_PROGRESS] = "...b.",
        [AB_VERB_JOB_PUBLISH] = "...b.",
        [AB_VERB_SHUTDOWN] = "..n.o",
        [AB_VERB_LOG_STATE] = "..nb."};
    for (int verb = AB_VERB_PING; verb < AB_VERB_COUNT; verb++) {
        for (int role = AB_ROLE_PRODUCER; role <= AB_ROLE_OPERATOR; role++) {
            assert_int_equal(ab_role_allows(role, verb), expected[verb][role - 1] != '.');
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_role_names_go_there_and_back),
        cmocka_unit_test(test_role_unknown_numbers_are_denied),
        cmocka_unit_test(test_role_table_is_this),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
