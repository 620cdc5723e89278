/* I2, and I1 and I10 with it: a partition's process is killed at random points of sending, cutting, flushing and
 * retiring; whoever opens it next finds every acknowledged row, each exactly once. Also: queries beside flushes see
 * every row exactly once. */
#include "common/base/random.h"
#include "common/base/thread.h"
#include "speed/flusher.h"
#include "tests/support/test.h"
#include "tests/unit/speed/rig.h"

#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROUNDS 20
#define ROWS_MAX 400u
#define CUTS_MAX 100000u
#define SQL "SELECT n, total, least, most FROM by_user"

/* What the children leave behind for the next one; shared memory survives their death. */
struct ledger {
    atomic_uint_fast64_t acknowledged; /* rows 1 .. acknowledged were acknowledged */
    atomic_uint_fast64_t sent;         /* rows handed over, perhaps not acknowledged */
    atomic_uint_fast64_t next_producer;
    uint64_t cut_position[CUTS_MAX]; /* rows up to here lie before the cut */
};

static uint64_t mark_position(struct rig *rig)
{
    struct ab_source_state mark = {0};
    bool is_known = ab_partition_source(rig->partition, bytes_of("events"), bytes_of("feed"), &mark);
    return is_known ? mark.last_position : 0;
}

/* Compares what is stored with what positions say; exits with a message when it is wrong. */
static void child_verify(struct rig *rig, struct ledger *ledger)
{
    struct ab_partition_report report;
    struct rig_totals got;
    struct rig_totals wanted;
    struct ab_error error = {0};
    ab_partition_report(rig->partition, &report);
    uint64_t last = mark_position(rig);
    uint64_t first = report.retired_cut == 0 ? 1 : ledger->cut_position[report.retired_cut] + 1;
    if (last < ledger->acknowledged || last > ledger->sent) {
        (void)fprintf(stderr, "mark %lu, acknowledged %lu, sent %lu\n", (unsigned long)last,
            (unsigned long)ledger->acknowledged, (unsigned long)ledger->sent);
        _exit(3);
    }
    if (rig_query(rig, SQL, report.retired_cut, &got, &error) != AB_OK) {
        (void)fprintf(stderr, "query: %s\n", error.text);
        _exit(4);
    }
    rig_expect(first, last, &wanted);
    if (got.count != wanted.count || got.sum != wanted.sum || got.min != wanted.min || got.max != wanted.max) {
        (void)fprintf(stderr, "rows %lu..%lu: %lu counted\n", (unsigned long)first, (unsigned long)last,
            (unsigned long)got.count);
        _exit(5);
    }
}

static void nothing_done(struct ab_partition *partition, void *context)
{
    (void)partition;
    (void)context;
}

static void child_send(
    struct rig *rig, struct ledger *ledger, struct ab_random *random, uint64_t producer, uint64_t sequence)
{
    struct ab_error error = {0};
    struct ab_staged staged;
    struct ab_buffer payload = {0};
    uint64_t last = mark_position(rig);
    uint64_t back = ab_random_below(random, 4) == 0 ? ab_random_below(random, last + 1 < 50 ? last + 1 : 50) : 0;
    struct rig_block block = {.producer_id = producer,
        .sequence = sequence,
        .first_position = last + 1 - back,
        .rows_count = (uint32_t)(back + 1 + ab_random_below(random, ROWS_MAX))};
    rig_block_encode(&block, &payload);
    ledger->sent = block.first_position + block.rows_count - 1;
    if (rig_send(rig, ab_buffer_view(&payload), &staged, &error) != AB_OK || staged.outcome.duplicates != back) {
        (void)fprintf(stderr, "send: %s (%u duplicates)\n", error.text, staged.outcome.duplicates);
        _exit(6);
    }
    ledger->acknowledged = ledger->sent;
    ab_buffer_fini(&payload);
}

/* Cuts, retires, trims and flushes now and then. */
static void child_disturb(struct rig *rig, struct ledger *ledger, struct ab_random *random)
{
    struct ab_error error = {0};
    struct ab_partition_report report;
    ab_partition_report(rig->partition, &report);
    uint64_t dice = ab_random_below(random, 60);
    if (dice < 3 && report.last_cut + 1 < CUTS_MAX && report.spans_count < 20) {
        ledger->cut_position[report.last_cut + 1] = mark_position(rig);
        struct ab_partition_cut cut = {.cut = report.last_cut + 1,
            .time_us = (int64_t)report.last_cut + 1,
            .now_us = ab_time_now(),
            .on_done = nothing_done};
        if (ab_partition_cut(rig->partition, &cut, &error) != AB_OK) {
            _exit(7);
        }
    } else if (dice < 10) {
        (void)ab_partition_flush_begin(rig->partition);
    } else if (dice == 10 && report.last_cut > report.retired_cut + 2) {
        ab_err err = ab_partition_retire(rig->partition, report.last_cut - 2, nothing_done, NULL, &error);
        if (err != AB_OK && err != AB_AGAIN) {
            _exit(8);
        }
    } else if (dice == 11 && ab_partition_trim(rig->partition, report.end_offset, &error) != AB_OK) {
        _exit(9); /* trims what it may */
    }
}

/* Opens, verifies, then works until it is killed; never returns. */
static _Noreturn void child_run(char *directory, struct ledger *ledger, uint64_t seed)
{
    struct ab_random random;
    struct ab_error error = {0};
    struct rig rig;
    ab_random_init(&random, seed);
    struct ab_flusher *flusher = ab_flusher_start(1, 1);
    struct rig_options options = {.on_flush_wanted = ab_flusher_want, .context = flusher, .partials_bytes = 1 << 20};
    if (rig_open(&rig, directory, &options, &error) != AB_OK) {
        (void)fprintf(stderr, "open: %s\n", error.text);
        _exit(2);
    }
    child_verify(&rig, ledger);
    uint64_t producer = ++ledger->next_producer;
    for (uint64_t sequence = 1;; sequence++) {
        child_send(&rig, ledger, &random, producer, sequence);
        child_disturb(&rig, ledger, &random);
    }
}

static void test_killed_partition_holds_each_acknowledged_row_once(void **state)
{
    (void)state;
    char *directory = scratch_make();
    struct ledger *ledger = mmap(NULL, sizeof(*ledger), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(ledger != MAP_FAILED);
    struct ab_random random;
    ab_random_init(&random, 20130601);
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t seed = ab_random_u64(&random);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            child_run(directory, ledger, seed);
        }
        uint64_t before = ledger->acknowledged;
        for (int wait = 0; round % 4 != 3 && wait < 1000 && ledger->acknowledged == before; wait++) {
            ab_time_sleep_us(
                10 * AB_US_PER_MS); /* mostly it gets to work, now and then it is killed while it recovers */
        }
        ab_time_sleep_us((int64_t)(50 + ab_random_below(&random, 350)) * AB_US_PER_MS);
        (void)kill(child, SIGKILL);
        int status = 0;
        assert_int_equal(waitpid(child, &status, 0), child);
        if (!WIFSIGNALED(status)) {
            fail_msg("round %d (seed %lu): exit %d", round, (unsigned long)seed, WEXITSTATUS(status));
        }
        if (round % 7 == 6) {
            char *path = scratch_path(directory, "partition-0/state"); /* lost: rebuilt from the log */
            struct ab_error error = {0};
            assert_ok(ab_file_remove_tree(path, &error));
            ab_delete(path);
        }
    }
    assert_true(ledger->acknowledged > 0);
    (void)munmap(ledger, sizeof(*ledger));
    scratch_remove(directory);
}

/* ---- queries beside flushes ---- */

#define READERS 2
#define BLOCKS 400
#define BLOCK_ROWS 200u

struct beside {
    struct rig rig;
    atomic_uint_fast64_t acknowledged;
    atomic_uint_fast64_t sent;
    atomic_bool is_done;
    atomic_int answers;
    atomic_int wrong;
    const char *sql;
};

static void reader_run(void *context)
{
    struct beside *beside = context;
    while (!beside->is_done) {
        uint64_t at_least = beside->acknowledged;
        struct rig_totals got = {0};
        struct ab_error error = {0};
        ab_err err = rig_query(&beside->rig, beside->sql, 0, &got, &error);
        uint64_t at_most = beside->sent;
        struct rig_totals wanted;
        rig_expect(1, got.count, &wanted); /* rows come in order: count names them */
        bool is_right = err == AB_OK && got.count >= at_least && got.count <= at_most && got.sum == wanted.sum;
        beside->wrong += !is_right;
        beside->answers++;
    }
}

static void beside_send(struct beside *beside, uint64_t sequence)
{
    struct ab_error error = {0};
    struct ab_staged staged;
    struct ab_buffer payload = {0};
    struct rig_block block = {.producer_id = 5,
        .sequence = sequence,
        .first_position = (sequence - 1) * BLOCK_ROWS + 1,
        .rows_count = BLOCK_ROWS};
    rig_block_encode(&block, &payload);
    beside->sent = sequence * BLOCK_ROWS;
    assert_ok(rig_send(&beside->rig, ab_buffer_view(&payload), &staged, &error));
    beside->acknowledged = beside->sent;
    ab_buffer_fini(&payload);
}

static void run_beside(const char *sql)
{
    char *directory = scratch_make();
    struct ab_error error = {0};
    struct beside *beside = ab_new(struct beside);
    beside->sql = sql;
    struct ab_flusher *flusher = ab_flusher_start(1, 1);
    struct rig_options options = {.on_flush_wanted = ab_flusher_want, .context = flusher};
    assert_ok(rig_open(&beside->rig, directory, &options, &error));
    struct ab_thread readers[READERS] = {0};
    for (int i = 0; i < READERS; i++) {
        ab_thread_start(&readers[i], "reader", reader_run, beside);
    }
    for (uint64_t sequence = 1; sequence <= BLOCKS; sequence++) {
        beside_send(beside, sequence);
        if (sequence % 7 == 0) {
            (void)ab_partition_flush_begin(beside->rig.partition); /* false: one is on its way */
        }
        if (sequence % 100 == 0) {
            struct ab_partition_cut cut = {
                .cut = sequence / 100, .time_us = (int64_t)sequence, .now_us = ab_time_now(), .on_done = nothing_done};
            assert_ok(ab_partition_cut(beside->rig.partition, &cut, &error));
        }
    }
    assert_ok(ab_flusher_drain(flusher, ab_time_monotonic_us() + 60 * AB_US_PER_SECOND));
    beside->is_done = true;
    for (int i = 0; i < READERS; i++) {
        ab_thread_join(&readers[i]);
    }
    assert_true(beside->answers > 0);
    assert_int_equal(beside->wrong, 0);
    ab_flusher_stop(flusher);
    rig_close(&beside->rig);
    ab_delete(beside);
    scratch_remove(directory);
}

static void test_queries_beside_flushes_see_each_row_once(void **state)
{
    (void)state;
    run_beside(SQL);
    run_beside("SELECT n, total, least, most FROM everything");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_killed_partition_holds_each_acknowledged_row_once),
        cmocka_unit_test(test_queries_beside_flushes_see_each_row_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
