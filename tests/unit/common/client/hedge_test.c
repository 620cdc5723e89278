/* When a question is asked a second time. */
#include "common/client/hedge.h"

#include "tests/support/test.h"

static void test_hedge_delay_is_the_95th_percentile_of_what_was_learnt_last(void **state)
{
    (void)state;
    struct client_latencies latencies = {0};
    assert_int_equal(client_latencies_delay_us(&latencies), CLIENT_HEDGE_UNKNOWN_US);
    for (int64_t i = 1; i < CLIENT_HEDGE_LEAST; i++) {
        client_latencies_learn(&latencies, 5000);
    }
    assert_int_equal(client_latencies_delay_us(&latencies), CLIENT_HEDGE_UNKNOWN_US);
    for (int64_t i = 0; i < CLIENT_HEDGE_KEPT; i++) {
        client_latencies_learn(&latencies, 10000 + i);
    }
    assert_int_equal(client_latencies_delay_us(&latencies), 10000 + CLIENT_HEDGE_KEPT - 1 - 3);
    for (int64_t i = 0; i < CLIENT_HEDGE_KEPT; i++) {
        client_latencies_learn(&latencies, i < 3 ? 900000 : -1); /* three of 64 are as slow as they like */
    }
    assert_int_equal(client_latencies_delay_us(&latencies), CLIENT_HEDGE_LEAST_US);
    latencies.count = UINT32_MAX / 2 - 2;
    for (int64_t i = 0; i < 2 * CLIENT_HEDGE_KEPT; i++) {
        client_latencies_learn(&latencies, 7000);
    }
    assert_int_equal(client_latencies_delay_us(&latencies), 7000);
}

static enum client_hedge_act act(
    struct client_hedge *hedge, enum client_hedge_event event, unsigned place, int64_t now_us)
{
    return client_hedge_step(hedge, event, place, now_us).act;
}

static void test_hedge_asks_the_other_after_the_delay_and_takes_the_first_good_answer(void **state)
{
    (void)state;
    struct client_hedge hedge;
    client_hedge_init(&hedge, 1000, 50, 2000, true);
    struct client_hedge_step step = client_hedge_step(&hedge, CLIENT_HEDGE_TICK, 0, 1010);
    assert_int_equal(step.act, CLIENT_HEDGE_WAIT);
    assert_int_equal(step.wait_us, 1050);
    assert_int_equal(act(&hedge, CLIENT_HEDGE_TICK, 0, 1050), CLIENT_HEDGE_ASK);
    step = client_hedge_step(&hedge, CLIENT_HEDGE_TICK, 0, 1051);
    assert_int_equal(step.act, CLIENT_HEDGE_WAIT); /* never a third */
    assert_int_equal(step.wait_us, 2000);
    assert_int_equal(act(&hedge, CLIENT_HEDGE_BAD, 0, 1060), CLIENT_HEDGE_WAIT);
    assert_int_equal(act(&hedge, CLIENT_HEDGE_GOOD, 1, 1070), CLIENT_HEDGE_TAKE);
}

static void test_hedge_replaces_who_refuses_at_once(void **state)
{
    (void)state;
    struct client_hedge hedge;
    client_hedge_init(&hedge, 1000, 500, 2000, true);
    assert_int_equal(act(&hedge, CLIENT_HEDGE_BAD, 0, 1001), CLIENT_HEDGE_ASK);
    assert_int_equal(act(&hedge, CLIENT_HEDGE_BAD, 1, 1002), CLIENT_HEDGE_LOST);
    client_hedge_init(&hedge, 1000, 500, 2000, false);
    assert_int_equal(act(&hedge, CLIENT_HEDGE_BAD, 0, 1001), CLIENT_HEDGE_LOST);
    client_hedge_init(&hedge, 1000, 500, 2000, true);
    assert_int_equal(act(&hedge, CLIENT_HEDGE_TICK, 0, 1500), CLIENT_HEDGE_ASK);
    assert_int_equal(act(&hedge, CLIENT_HEDGE_BAD, 1, 1501), CLIENT_HEDGE_WAIT); /* the first may answer yet */
    assert_int_equal(act(&hedge, CLIENT_HEDGE_BAD, 0, 1502), CLIENT_HEDGE_LOST);
}

static void test_hedge_keeps_the_deadline(void **state)
{
    (void)state;
    struct client_hedge hedge;
    client_hedge_init(&hedge, 1000, 5000, 2000, true);
    struct client_hedge_step step = client_hedge_step(&hedge, CLIENT_HEDGE_TICK, 0, 1999);
    assert_int_equal(step.act, CLIENT_HEDGE_WAIT);
    assert_int_equal(step.wait_us, 2000);
    assert_int_equal(act(&hedge, CLIENT_HEDGE_TICK, 0, 2000), CLIENT_HEDGE_LATE);
    assert_int_equal(act(&hedge, CLIENT_HEDGE_BAD, 0, 2001), CLIENT_HEDGE_LATE);  /* the other is not asked any more */
    assert_int_equal(act(&hedge, CLIENT_HEDGE_GOOD, 0, 2002), CLIENT_HEDGE_TAKE); /* what is here is taken */
    client_hedge_init(&hedge, 1000, INT64_MAX, INT64_MAX, true);
    assert_int_equal(client_hedge_step(&hedge, CLIENT_HEDGE_TICK, 0, 5000).wait_us, INT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hedge_delay_is_the_95th_percentile_of_what_was_learnt_last),
        cmocka_unit_test(test_hedge_asks_the_other_after_the_delay_and_takes_the_first_good_answer),
        cmocka_unit_test(test_hedge_replaces_who_refuses_at_once),
        cmocka_unit_test(test_hedge_keeps_the_deadline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
