#include "common/base/queue.h"

#include "common/base/thread.h"
#include "common/base/time.h"

#include "tests/support/test.h"

static void *number(uintptr_t value)
{
    return (void *)value;
}

static void test_queue_keeps_order_and_bounds_items(void **state)
{
    (void)state;
    struct ab_queue *queue = ab_queue_create(3, 1000);
    for (uintptr_t i = 1; i <= 3; i++) {
        assert_ok(ab_queue_try_put(queue, number(i), 10));
    }
    assert_int_equal(ab_queue_try_put(queue, number(4), 10), AB_FULL);
    assert_int_equal(ab_queue_items(queue), 3);
    assert_int_equal(ab_queue_bytes(queue), 30);
    void *items[8];
    assert_int_equal(ab_queue_take(queue, items, 2, 0), 2);
    assert_ptr_equal(items[0], number(1));
    assert_ptr_equal(items[1], number(2));
    assert_ok(ab_queue_try_put(queue, number(5), 10));
    assert_int_equal(ab_queue_take(queue, items, 8, 0), 2);
    assert_ptr_equal(items[1], number(5));
    assert_int_equal(ab_queue_take(queue, items, 8, 0), 0);
    ab_queue_destroy(queue);
    ab_queue_destroy(NULL);
}

static void test_queue_bounds_bytes_but_admits_one(void **state)
{
    (void)state;
    struct ab_queue *queue = ab_queue_create(10, 100);
    void *item;
    assert_ok(ab_queue_try_put(queue, number(1), 1000));
    assert_int_equal(ab_queue_try_put(queue, number(2), 0), AB_FULL);
    assert_int_equal(ab_queue_take(queue, &item, 1, 0), 1);
    assert_ok(ab_queue_try_put(queue, number(1), 60));
    assert_int_equal(ab_queue_try_put(queue, number(2), 41), AB_FULL);
    assert_ok(ab_queue_try_put(queue, number(2), 40));
    assert_int_equal(ab_queue_try_put(queue, number(2), SIZE_MAX), AB_FULL);
    ab_queue_destroy(queue);
}

static void test_queue_waits_time_out(void **state)
{
    (void)state;
    struct ab_queue *queue = ab_queue_create(1, 100);
    void *item;
    int64_t begin = ab_time_monotonic_us();
    assert_int_equal(ab_queue_take(queue, &item, 1, begin + 5000), 0);
    assert_true(ab_time_monotonic_us() - begin >= 5000);
    assert_ok(ab_queue_put(queue, number(1), 1, -1));
    begin = ab_time_monotonic_us();
    assert_int_equal(ab_queue_put(queue, number(2), 1, begin + 5000), AB_TIMEOUT);
    assert_true(ab_time_monotonic_us() - begin >= 5000);
    ab_queue_destroy(queue);
}

static void test_queue_close_refuses_puts_and_drains(void **state)
{
    (void)state;
    struct ab_queue *queue = ab_queue_create(4, 100);
    void *items[4];
    assert_ok(ab_queue_try_put(queue, number(1), 1));
    assert_false(ab_queue_is_closed(queue));
    ab_queue_close(queue);
    assert_true(ab_queue_is_closed(queue));
    assert_int_equal(ab_queue_try_put(queue, number(2), 1), AB_CLOSED);
    assert_int_equal(ab_queue_put(queue, number(2), 1, -1), AB_CLOSED);
    assert_int_equal(ab_queue_take(queue, items, 4, -1), 1);
    assert_int_equal(ab_queue_take(queue, items, 4, -1), 0);
    ab_queue_destroy(queue);
}

#define PRODUCERS 3
#define CONSUMERS 2
#define ITEMS_EACH 20000

struct crowd {
    struct ab_queue *queue;
    struct ab_lock lock;
    uint64_t sum; /* guarded by lock */
    uint64_t count;
};

static void produce(void *context)
{
    struct crowd *crowd = context;
    for (uintptr_t i = 1; i <= ITEMS_EACH; i++) {
        if (ab_queue_put(crowd->queue, number(i), i % 7, -1) != AB_OK) {
            abort();
        }
    }
}

static void consume(void *context)
{
    struct crowd *crowd = context;
    void *items[16];
    size_t taken;
    while ((taken = ab_queue_take(crowd->queue, items, 16, -1)) > 0) {
        ab_lock_take(&crowd->lock);
        for (size_t i = 0; i < taken; i++) {
            crowd->sum += (uintptr_t)items[i];
        }
        crowd->count += taken;
        ab_lock_give(&crowd->lock);
    }
}

static void test_queue_between_threads_loses_nothing(void **state)
{
    (void)state;
    struct crowd crowd = {.queue = ab_queue_create(32, 100)};
    ab_lock_init(&crowd.lock);
    struct ab_thread producers[PRODUCERS] = {0};
    struct ab_thread consumers[CONSUMERS] = {0};
    for (int i = 0; i < CONSUMERS; i++) {
        ab_thread_start(&consumers[i], "consumer", consume, &crowd);
    }
    for (int i = 0; i < PRODUCERS; i++) {
        ab_thread_start(&producers[i], "producer", produce, &crowd);
    }
    for (int i = 0; i < PRODUCERS; i++) {
        ab_thread_join(&producers[i]);
    }
    ab_queue_close(crowd.queue);
    for (int i = 0; i < CONSUMERS; i++) {
        ab_thread_join(&consumers[i]);
    }
    assert_true(crowd.count == PRODUCERS * ITEMS_EACH);
    assert_true(crowd.sum == (uint64_t)PRODUCERS * ITEMS_EACH * (ITEMS_EACH + 1) / 2);
    assert_int_equal(ab_queue_bytes(crowd.queue), 0);
    ab_lock_fini(&crowd.lock);
    ab_queue_destroy(crowd.queue);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_queue_keeps_order_and_bounds_items),
        cmocka_unit_test(test_queue_bounds_bytes_but_admits_one),
        cmocka_unit_test(test_queue_waits_time_out),
        cmocka_unit_test(test_queue_close_refuses_puts_and_drains),
        cmocka_unit_test(test_queue_between_threads_loses_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
