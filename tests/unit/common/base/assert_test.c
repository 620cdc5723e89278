#include "common/base/assert.h"

#include "tests/support/test.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

/* Evaluates the assertion in a child; returns the signal that ended it, 0 for none. */
static int signal_of_child(int value)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)signal(SIGABRT, SIG_DFL);
        (void)freopen("/dev/null", "w", stderr);
        AB_ASSERT(value > 0);
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void test_assert_aborts_in_any_build(void **state)
{
    (void)state;
    assert_int_equal(signal_of_child(1), 0);
    assert_int_equal(signal_of_child(0), SIGABRT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_assert_aborts_in_any_build),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
