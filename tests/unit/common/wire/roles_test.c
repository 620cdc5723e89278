/* Names of roles and verbs; unknown numbers are denied. The table itself is in invariant_9_closed_test.c. */
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_role_names_go_there_and_back),
        cmocka_unit_test(test_role_unknown_numbers_are_denied),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
