#include "common/base/thread.h"

#include "common/base/time.h"

#include "tests/support/test.h"

#include <signal.h>

struct shared {
    struct ab_lock lock;
    struct ab_condition condition;
    bool is_set; /* guarded by lock */
    bool blocks_signals;
    char name[16];
};

static void run(void *context)
{
    struct shared *shared = context;
    sigset_t set;
    ab_lock_take(&shared->lock);
    (void)pthread_sigmask(SIG_SETMASK, NULL, &set);
    shared->blocks_signals = sigismember(&set, SIGTERM) == 1 && sigismember(&set, SIGINT) == 1;
    (void)pthread_getname_np(pthread_self(), shared->name, sizeof(shared->name));
    shared->is_set = true;
    ab_condition_signal_all(&shared->condition);
    ab_lock_give(&shared->lock);
}

static void test_thread_runs_named_with_signals_blocked(void **state)
{
    (void)state;
    struct shared shared = {.is_set = false};
    struct ab_thread thread = {0};
    ab_lock_init(&shared.lock);
    ab_condition_init(&shared.condition);
    ab_thread_join(&thread);
    ab_thread_start(&thread, "a-name-longer-than-15", run, &shared);
    ab_lock_take(&shared.lock);
    while (!shared.is_set) {
        assert_true(ab_condition_wait(&shared.condition, &shared.lock, -1));
    }
    ab_lock_give(&shared.lock);
    ab_thread_join(&thread);
    ab_thread_join(&thread);
    assert_true(shared.blocks_signals);
    assert_string_equal(shared.name, "a-name-longer-t");
    sigset_t set;
    assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &set), 0);
    assert_int_equal(sigismember(&set, SIGTERM), 0);
    ab_condition_fini(&shared.condition);
    ab_lock_fini(&shared.lock);
}

static void test_condition_wait_times_out(void **state)
{
    (void)state;
    struct ab_lock lock;
    struct ab_condition condition;
    ab_lock_init(&lock);
    ab_condition_init(&condition);
    ab_lock_take(&lock);
    int64_t until = ab_time_monotonic_us() + 3000;
    while (ab_condition_wait(&condition, &lock, until)) {
    }
    assert_true(ab_time_monotonic_us() >= until);
    ab_lock_give(&lock);
    ab_condition_fini(&condition);
    ab_lock_fini(&lock);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_thread_runs_named_with_signals_blocked),
        cmocka_unit_test(test_condition_wait_times_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
