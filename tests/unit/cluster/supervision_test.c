#include "cluster/supervision.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void test_supervision_first_start_is_due_at_once(void **state)
{
    (void)state;
    struct ab_supervision daemon = {0};
    assert_true(ab_supervision_is_due(&daemon, 0));
    ab_supervision_started(&daemon, 5);
    assert_false(ab_supervision_is_due(&daemon, 6));
    assert_int_equal(daemon.restarts_count, 0);
}

static void test_supervision_waits_double_up_to_the_bound(void **state)
{
    (void)state;
    struct ab_supervision daemon = {0};
    int64_t now = 0;
    int64_t wait = AB_SUPERVISION_WAIT_US_FIRST;
    for (int i = 0; i < AB_SUPERVISION_CRASHES - 1; i++) {
        ab_supervision_started(&daemon, now);
        assert_false(ab_supervision_ended(&daemon, now + 10));
        assert_int_equal(daemon.due_us, now + 10 + wait);
        assert_false(ab_supervision_is_due(&daemon, daemon.due_us - 1));
        assert_true(ab_supervision_is_due(&daemon, daemon.due_us));
        now = daemon.due_us;
        wait = wait * 2 < AB_SUPERVISION_WAIT_US_MAX ? wait * 2 : AB_SUPERVISION_WAIT_US_MAX;
    }
    assert_int_equal(daemon.restarts_count, AB_SUPERVISION_CRASHES - 2);
}

static void test_supervision_crash_loop_is_reported_once_and_tried_slowly(void **state)
{
    (void)state;
    struct ab_supervision daemon = {0};
    int reported = 0;
    int64_t now = 0;
    for (int i = 0; i < 30; i++) {
        ab_supervision_started(&daemon, now);
        reported += ab_supervision_ended(&daemon, now);
        now = daemon.due_us;
    }
    assert_int_equal(reported, 1);
    assert_true(daemon.is_in_crash_loop);
    assert_int_equal(daemon.wait_us, AB_SUPERVISION_LOOP_WAIT_US);
}

static void test_supervision_calm_ends_the_loop(void **state)
{
    (void)state;
    struct ab_supervision daemon = {0};
    int64_t now = 0;
    for (int i = 0; i < 12; i++) {
        ab_supervision_started(&daemon, now);
        (void)ab_supervision_ended(&daemon, now);
        now = daemon.due_us;
    }
    assert_true(daemon.is_in_crash_loop);
    ab_supervision_started(&daemon, now);
    assert_false(ab_supervision_ended(&daemon, now + 10 * AB_SUPERVISION_WINDOW_US));
    assert_false(daemon.is_in_crash_loop);
    assert_int_equal(daemon.wait_us, AB_SUPERVISION_WAIT_US_FIRST);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_supervision_first_start_is_due_at_once),
        cmocka_unit_test(test_supervision_waits_double_up_to_the_bound),
        cmocka_unit_test(test_supervision_crash_loop_is_reported_once_and_tried_slowly),
        cmocka_unit_test(test_supervision_calm_ends_the_loop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
