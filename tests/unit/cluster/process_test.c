#include "cluster/process.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/time.h"

static struct ab_process shell(const char *script, bool is_group)
{
    const char *arguments[] = {"/bin/sh", "-c", script, NULL};
    const char *environment[] = {"ANABRANCH_TEST_CODE=7", NULL};
    const struct ab_process_options options = {
        .arguments = arguments, .output_fd = -1, .is_group = is_group, .environment = environment};
    struct ab_process process = {0};
    struct ab_error error = {0};
    assert_int_equal(ab_process_start(&options, &process, &error), AB_OK);
    return process;
}

static int reap(const struct ab_process *process)
{
    int code = -1;
    for (int i = 0; i < 2000 && !ab_process_reap(process, &code); i++) {
        ab_time_sleep_us(5000);
    }
    return code;
}

static void test_process_code_and_environment_come_through(void **state)
{
    (void)state;
    struct ab_process process = shell("exit $ANABRANCH_TEST_CODE", false);
    assert_int_equal(reap(&process), 7);
    assert_false(ab_process_is_alive(&process));
}

static void test_process_signal_is_told_as_code(void **state)
{
    (void)state;
    struct ab_process process = shell("kill -9 $$", false);
    assert_int_equal(reap(&process), 128 + SIGKILL);
}

static void test_process_missing_program_is_an_error(void **state)
{
    (void)state;
    const char *arguments[] = {"/nonexistent/program", NULL};
    const struct ab_process_options options = {.arguments = arguments, .output_fd = -1};
    struct ab_process process = {0};
    struct ab_error error = {0};
    assert_int_equal(ab_process_start(&options, &process, &error), AB_NOT_FOUND);
    assert_int_equal(process.pid, 0);
}

static void test_process_of_another_start_is_not_alive(void **state)
{
    (void)state;
    struct ab_process self = ab_process_self();
    assert_int_equal(self.pid, getpid());
    assert_true(ab_process_is_alive(&self));
    self.start_ticks++;
    assert_false(ab_process_is_alive(&self));
    ab_process_signal(&self, SIGKILL); /* would end this test */
    const struct ab_process none = {0};
    assert_false(ab_process_is_alive(&none));
    assert_false(ab_process_group_is_alive(&none));
}

static void test_process_group_ends_as_a_whole_even_without_its_leader(void **state)
{
    (void)state;
    struct ab_process process = shell("sleep 100 & sleep 100 & exit 0", true);
    assert_int_equal(reap(&process), 0);
    assert_false(ab_process_is_alive(&process));
    assert_true(ab_process_group_is_alive(&process));
    ab_process_signal_group(&process, SIGKILL);
    for (int i = 0; i < 2000 && ab_process_group_is_alive(&process); i++) {
        ab_time_sleep_us(5000);
    }
    assert_false(ab_process_group_is_alive(&process));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_process_code_and_environment_come_through),
        cmocka_unit_test(test_process_signal_is_told_as_code),
        cmocka_unit_test(test_process_missing_program_is_an_error),
        cmocka_unit_test(test_process_of_another_start_is_not_alive),
        cmocka_unit_test(test_process_group_ends_as_a_whole_even_without_its_leader),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
