/* crash: a child process that tells of its progress is watched, and killed in the middle of it. */
#ifndef ANABRANCH_TESTS_SUPPORT_CRASH_H
#define ANABRANCH_TESTS_SUPPORT_CRASH_H

#include "common/base/time.h"

#include "tests/support/test.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

/* Reads 64-bit numbers from the pipe, kills the child at a monotonic time, and returns the last number that came out
 * whole: what it had acknowledged. Closes the pipe; fails the test if the child ended by itself. */
static inline uint64_t crash_watch(int pipe_fd, pid_t child, int64_t kill_at_us)
{
    uint64_t acknowledged = 0;
    bool is_killed = false;
    int status = 0;
    assert_int_equal(fcntl(pipe_fd, F_SETFL, O_NONBLOCK), 0);
    for (;;) {
        uint64_t number = 0;
        ssize_t got = read(pipe_fd, &number, sizeof number);
        if (got == 0) {
            break;
        }
        if (got == sizeof number) {
            acknowledged = number;
        } else {
            ab_time_sleep_us(200);
        }
        if (!is_killed && ab_time_monotonic_us() >= kill_at_us) {
            assert_int_equal(kill(child, SIGKILL), 0);
            is_killed = true;
        }
    }
    close(pipe_fd);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    return acknowledged;
}

#endif
