#include "cluster/publication.h"

#include "tests/unit/cluster/facts.h"

static void test_publication_a_later_cut_or_attempt_is_newer(void **state)
{
    (void)state;
    assert_true(ab_version_is_newer((struct ab_version_number){2, 1}, (struct ab_version_number){1, 9}));
    assert_true(ab_version_is_newer((struct ab_version_number){2, 2}, (struct ab_version_number){2, 1}));
    assert_false(ab_version_is_newer((struct ab_version_number){2, 1}, (struct ab_version_number){2, 1}));
    assert_false(ab_version_is_newer((struct ab_version_number){1, 9}, (struct ab_version_number){2, 1}));
}

static void test_publication_counts_replicas_among_the_holders(void **state)
{
    (void)state;
    struct ab_replica_set set = state_of(3); /* replicas 1, 2, 3, all in sync */
    const uint32_t some[] = {9, 3, 1};
    const uint32_t all[] = {3, 1, 2};
    bool is_everywhere = true;
    assert_int_equal(ab_publication_holders(&set, some, 3, &is_everywhere), 2);
    assert_false(is_everywhere);
    is_everywhere = true;
    assert_int_equal(ab_publication_holders(&set, all, 3, &is_everywhere), 3);
    assert_true(is_everywhere);
    assert_int_equal(ab_publication_holders(&set, all, 0, &is_everywhere), 0);
    is_everywhere = true;
    set.isr.count--; /* who is not in sync wants records still */
    assert_int_equal(ab_publication_holders(&set, all, 3, &is_everywhere), 3);
    assert_false(is_everywhere);
}

static void test_publication_keeps_what_is_in_force_and_before(void **state)
{
    (void)state;
    const struct ab_version_number versions[] = {{4, 1}, {1, 1}, {3, 2}, {3, 1}, {6, 1}};
    bool stays[5];
    assert_int_equal(ab_publication_retain(versions, 5, versions[0], 3, stays), 3);
    assert_true(stays[0] && stays[2] && stays[3]);
    assert_false(stays[1]); /* a fourth one */
    assert_false(stays[4]); /* gone back from */
    assert_int_equal(ab_publication_retain(versions, 5, versions[0], 1, stays), 4);
    assert_true(stays[0] && !stays[1] && !stays[2] && !stays[3] && !stays[4]);
    assert_int_equal(ab_publication_retain(versions, 5, versions[0], 9, stays), 1);
    assert_true(stays[1] && !stays[4]);
}

static void test_publication_keeps_nothing_before_the_first(void **state)
{
    (void)state;
    const struct ab_version_number versions[] = {{4, 1}};
    bool stays[1] = {true};
    assert_true(ab_publication_retain(versions, 1, (struct ab_version_number){0}, 3, stays) == UINT64_MAX);
    assert_false(stays[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_publication_a_later_cut_or_attempt_is_newer),
        cmocka_unit_test(test_publication_counts_replicas_among_the_holders),
        cmocka_unit_test(test_publication_keeps_what_is_in_force_and_before),
        cmocka_unit_test(test_publication_keeps_nothing_before_the_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
