/* A killed flush leaves state and offset together, or neither. The child is this program run again, because nothing may
 * fork after a database was opened. */
#include "common/base/random.h"
#include "common/base/time.h"
#include "tests/support/crash.h"
#include "tests/unit/common/store/fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

/* On a slow machine a child needs longer until its first flush: then more rounds, each with more time, until enough is
 * stored. */
enum { KILL_ROUNDS = 15, ROUNDS_MOST = 150, STORED_LEAST = 20, KEYS = 300 };

/* Goes on flushing from the stored offset for ever, telling standard output each offset that is durable. */
static int child_main(const char *directory)
{
    struct ab_partition_state *state = fixture_open(directory, NULL);
    if (ab_partition_state_span_create(state, 1, NULL) != AB_OK) {
        return 1;
    }
    for (uint64_t offset = fixture_offset(state, 1) + 1;; offset++) {
        if (fixture_flush(state, 1, offset, 0, KEYS) != AB_OK ||
            write(STDOUT_FILENO, &offset, sizeof(offset)) != sizeof(offset)) {
            return 1;
        }
    }
}

static uint64_t child_run_and_kill(const char *directory, int64_t shortest_us, struct ab_random *random)
{
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dup2(ends[1], STDOUT_FILENO);
        execl("/proc/self/exe", "partition_state_crash_test", directory, (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    int64_t life_us = shortest_us + (int64_t)ab_random_below(random, 250000);
    return crash_watch(ends[0], child, ab_time_monotonic_us() + life_us);
}

/* Every key holds the sum of k + offset over all offsets up to the stored one. */
static uint64_t state_check(const char *directory)
{
    struct ab_partition_state *state = fixture_open(directory, NULL);
    uint64_t offset = fixture_offset(state, 1);
    for (uint64_t k = 0; offset > 0 && k < KEYS; k++) {
        assert_int_equal(fixture_number(state, 1, k), offset * k + offset * (offset + 1) / 2);
    }
    ab_partition_state_close(state);
    return offset;
}

static void test_ingest_killed_at_any_moment_keeps_state_and_offset_together(void **unused)
{
    (void)unused;
    char *directory = scratch_make();
    struct ab_random random;
    ab_random_init(&random, 20131231);
    uint64_t acknowledged = 0;
    uint64_t stored = 0;
    for (int round = 0; round < KILL_ROUNDS || (stored <= STORED_LEAST && round < ROUNDS_MOST); round++) {
        uint64_t more = child_run_and_kill(directory, 50000 * (1 + round / KILL_ROUNDS), &random);
        acknowledged = more > acknowledged ? more : acknowledged;
        stored = state_check(directory);
        assert_true(stored >= acknowledged);
    }
    assert_true(stored > STORED_LEAST);
    scratch_remove(directory);
}

int main(int argc, char **argv)
{
    if (argc == 2) {
        return child_main(argv[1]);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ingest_killed_at_any_moment_keeps_state_and_offset_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
