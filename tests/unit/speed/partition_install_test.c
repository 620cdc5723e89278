/* One partition takes the tables that another one offers, and its records: it equals it, whenever the process or a file
 * fails on the way, and says nothing before it is whole. */
#include "speed/partition_install.h"

#include "speed/digest.h"
#include "speed/offer.h"
#include "speed/partition_private.h"
#include "common/base/random.h"
#include "tests/support/crash.h"
#include "tests/unit/speed/rig.h"

#include <stdio.h>

#define SQL "SELECT n, total, least, most FROM by_user"
#define ROWS 50u
#define SEGMENT_BYTES 8000u
#define CHILD_PIPE 100 /* of this program when it is run again as the one that is killed */
#define RECORDS_MAX 400u
#define KILL_ROUNDS 8
#define GONE 60u  /* blocks of span 1, which is retired */
#define KEPT 100u /* blocks up to the cut after it */
#define LAST 120u

/* ---- fixture: a leader whose log was trimmed twice, all the records it ever had, and a follower ---- */

struct fixture {
    char *leader_directory;
    char *directory;
    struct rig leader;
    struct rig rig; /* the follower */
    struct ab_buffer records;
    size_t starts[RECORDS_MAX + 1]; /* of each record in them */
    uint64_t records_count;
    struct ab_buffer early; /* an offer of before the last trim */
    struct ab_buffer late;
};

static void open_rig(struct rig *rig, char *directory, size_t partials_bytes)
{
    struct ab_error error = {0};
    struct rig_options options = {
        .is_replicated = true, .segment_bytes = SEGMENT_BYTES, .partials_bytes = partials_bytes};
    if (rig->directory != NULL) {
        rig_close(rig);
    }
    if (rig_open(rig, directory, &options, &error) != AB_OK) {
        fail_msg("%s", error.text);
    }
}

static void commit_all(struct rig *rig)
{
    struct ab_error error = {0};
    ab_err err = AB_AGAIN;
    ab_partition_sync(rig->partition);
    ab_partition_set_committed(rig->partition, ab_partition_durable(rig->partition));
    while (err == AB_AGAIN) {
        err = ab_partition_apply_log(rig->partition, ab_partition_committed(rig->partition), &rig->scratch, &error);
    }
    if (err != AB_OK) {
        fail_msg("%s", error.text);
    }
}

static void lead(struct rig *rig, uint64_t epoch)
{
    struct ab_error error = {0};
    assert_ok(ab_partition_begin_epoch(rig->partition, epoch, &error));
    commit_all(rig);
}

/* Writes blocks first .. last, of one producer. */
static void blocks_write(struct rig *rig, uint64_t first, uint64_t last)
{
    struct ab_error error = {0};
    for (uint64_t sequence = first; sequence <= last; sequence++) {
        struct ab_buffer payload = {0};
        struct ab_staged staged;
        struct rig_block block = {
            .producer_id = 7, .sequence = sequence, .first_position = (sequence - 1) * ROWS + 1, .rows_count = ROWS};
        rig_block_encode(&block, &payload);
        ab_arena_reset(&rig->arena);
        assert_ok(
            ab_partition_stage(rig->partition, ab_buffer_view(&payload), ab_time_now(), &rig->arena, &staged, &error));
        assert_false(staged.is_repeat);
        assert_ok(ab_partition_write(rig->partition, &error));
        ab_buffer_fini(&payload);
    }
    commit_all(rig);
}

static void done_nothing(struct ab_partition *partition, void *context)
{
    (void)partition;
    (void)context;
}

static uint64_t take_cut(struct rig *rig, uint64_t number)
{
    struct ab_error error = {0};
    uint64_t end_offset = 0;
    const struct ab_partition_cut cut = {
        .cut = number, .time_us = (int64_t)number * 1000, .now_us = ab_time_now(), .on_done = done_nothing};
    assert_ok(ab_partition_cut_stage(rig->partition, &cut, &end_offset, &error));
    assert_ok(ab_partition_write(rig->partition, &error));
    commit_all(rig);
    rig_flush(rig);
    return end_offset;
}

static void retire(struct rig *rig, uint64_t cut, uint64_t offset)
{
    struct ab_error error = {0};
    assert_ok(ab_partition_retire(rig->partition, cut, done_nothing, NULL, &error));
    rig_flush(rig);
    assert_ok(ab_partition_trim(rig->partition, offset, &error));
}

/* Takes in all records of the leader's log from the last known one on. */
static void records_note(struct fixture *fixture)
{
    struct ab_error error = {0};
    struct ab_log_reader *reader = NULL;
    struct ab_record record;
    uint64_t end = ab_partition_committed(fixture->leader.partition);
    assert_ok(ab_partition_reader_open(fixture->leader.partition, fixture->records_count, end, &reader, &error));
    while (fixture->records_count < end) {
        assert_true(fixture->records_count < RECORDS_MAX);
        assert_ok(ab_log_reader_next(reader, &record, &error));
        fixture->starts[fixture->records_count++] = fixture->records.bytes;
        ab_buffer_put_bytes(&fixture->records, record.encoded);
    }
    fixture->starts[fixture->records_count] = fixture->records.bytes;
    ab_log_reader_close(reader);
}

static int setup(void **state)
{
    struct ab_error error = {0};
    struct fixture *fixture = ab_new(struct fixture);
    fixture->leader_directory = scratch_make();
    fixture->directory = scratch_make();
    open_rig(&fixture->leader, fixture->leader_directory, 0);
    lead(&fixture->leader, 1);
    blocks_write(&fixture->leader, 1, GONE / 2);
    lead(&fixture->leader, 2);
    blocks_write(&fixture->leader, GONE / 2 + 1, GONE);
    uint64_t cut = take_cut(&fixture->leader, 1);
    blocks_write(&fixture->leader, GONE + 1, KEPT);
    uint64_t later = take_cut(&fixture->leader, 2);
    blocks_write(&fixture->leader, KEPT + 1, LAST - 1);
    records_note(fixture);
    retire(&fixture->leader, 1, cut);
    assert_true(ab_log_start_offset(fixture->leader.partition->log) > GONE / 2);
    assert_ok(ab_partition_offer(fixture->leader.partition, &fixture->early, &error));
    blocks_write(&fixture->leader, LAST, LAST);
    records_note(fixture);
    uint64_t start = ab_log_start_offset(fixture->leader.partition->log);
    retire(&fixture->leader, 2, later);
    assert_true(ab_log_start_offset(fixture->leader.partition->log) > start);
    assert_ok(ab_partition_offer(fixture->leader.partition, &fixture->late, &error));
    (void)take_cut(&fixture->leader, 3);
    records_note(fixture);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    ab_file_fault_clear();
    if (fixture->rig.directory != NULL) {
        rig_close(&fixture->rig);
    }
    rig_close(&fixture->leader);
    ab_buffer_fini(&fixture->records);
    ab_buffer_fini(&fixture->early);
    ab_buffer_fini(&fixture->late);
    scratch_remove(fixture->leader_directory);
    scratch_remove(fixture->directory);
    ab_delete(fixture);
    return 0;
}

/* ---- the follower ---- */

/* Copies records from its log's end up to `until`, commits and applies them. */
static void copy_until(struct fixture *fixture, uint64_t until)
{
    struct ab_error error = {0};
    uint64_t from = ab_log_end_offset(fixture->rig.partition->log);
    for (uint64_t at = from; at < until; at++) {
        struct ab_bytes record =
            ab_bytes_of(fixture->records.data + fixture->starts[at], fixture->starts[at + 1] - fixture->starts[at]);
        if (ab_partition_copy(fixture->rig.partition, record, &error) != AB_OK) {
            fail_msg("record %u: %s", (unsigned)at, error.text);
        }
    }
    commit_all(&fixture->rig);
}

static void empty_follower(struct fixture *fixture)
{
    char *path = scratch_path(fixture->directory, "partition-0");
    struct ab_error error = {0};
    if (fixture->rig.directory != NULL) {
        rig_close(&fixture->rig);
    }
    assert_ok(ab_file_remove_tree(path, &error));
    ab_delete(path);
    open_rig(&fixture->rig, fixture->directory, 0);
}

/* A follower whose log ends far before the leader's begins, with a state of its own. */
static void old_follower(struct fixture *fixture)
{
    empty_follower(fixture);
    copy_until(fixture, GONE / 4);
    rig_flush(&fixture->rig);
}

static void install(struct fixture *fixture, const struct ab_buffer *offer)
{
    struct ab_error error = {0};
    if (ab_partition_install(fixture->rig.partition, ab_buffer_view(offer), &error) != AB_OK) {
        fail_msg("%s", error.text);
    }
}

static uint64_t log_start(const struct fixture *fixture)
{
    return ab_log_start_offset(fixture->rig.partition->log);
}

static struct ab_offer decoded(const struct ab_buffer *bytes)
{
    struct ab_offer offer;
    assert_ok(ab_offer_decode(ab_buffer_view(bytes), &offer));
    return offer;
}

/* It has none of the records, and answers nothing. */
static void expect_behind(struct fixture *fixture, const struct ab_buffer *bytes)
{
    struct ab_error error = {0};
    struct rig_totals totals;
    struct ab_buffer out = {0};
    struct ab_partition_report report;
    struct ab_offer offer = decoded(bytes);
    ab_partition_report(fixture->rig.partition, &report);
    assert_int_equal(report.start_offset, offer.offset);
    assert_int_equal(report.end_offset, offer.offset);
    assert_int_equal(report.committed_offset, offer.offset);
    assert_true(report.damaged_until > offer.offset);
    assert_true(ab_partition_is_behind(fixture->rig.partition));
    assert_int_equal(rig_query(&fixture->rig, SQL, 2, &totals, &error), AB_UNAVAILABLE);
    assert_int_equal(ab_partition_offer(fixture->rig.partition, &out, &error), AB_AGAIN);
    assert_int_equal(out.bytes, 0);
}

static void expect_digests(struct fixture *fixture, uint64_t cut)
{
    for (uint32_t uid = 1; uid <= 2; uid++) {
        struct ab_error error = {0};
        struct ab_digest own;
        struct ab_digest other;
        struct ab_row_counts own_counts;
        struct ab_row_counts other_counts;
        assert_ok(ab_digest_span(fixture->rig.partition, cut, uid, &own, &own_counts, &error));
        assert_ok(ab_digest_span(fixture->leader.partition, cut, uid, &other, &other_counts, &error));
        assert_true(ab_hash128_equal(own.sum, other.sum));
        assert_true(own.groups_count == other.groups_count && own.groups_count > 0);
        assert_int_equal(own_counts.aggregated, other_counts.aggregated);
    }
}

static void expect_totals(struct rig *rig, uint64_t cut, uint64_t first, uint64_t last)
{
    struct ab_error error = {0};
    struct rig_totals totals = {0};
    struct rig_totals expected = {0};
    assert_ok(rig_query(rig, SQL, cut, &totals, &error));
    rig_expect((first - 1) * ROWS + 1, last * ROWS, &expected);
    assert_int_equal(totals.count, expected.count);
    assert_true(totals.sum == expected.sum && totals.min == expected.min && totals.max == expected.max);
}

/* The same entries of the tables, everything included. */
static void expect_same_tables(struct fixture *fixture)
{
    struct ab_error error = {0};
    struct ab_buffer own = {0};
    struct ab_buffer other = {0};
    assert_ok(ab_partition_offer(fixture->rig.partition, &own, &error));
    assert_ok(ab_partition_offer(fixture->leader.partition, &other, &error));
    assert_true(ab_bytes_equal(decoded(&own).tables, decoded(&other).tables));
    ab_buffer_fini(&own);
    ab_buffer_fini(&other);
}

/* It gets the records that are left, and then leads on from what the leader had; so does the leader. */
static void expect_equal(struct fixture *fixture)
{
    copy_until(fixture, fixture->records_count);
    assert_false(ab_partition_is_behind(fixture->rig.partition));
    expect_totals(&fixture->rig, 2, KEPT + 1, LAST);
    rig_flush(&fixture->rig);
    expect_totals(&fixture->rig, 2, KEPT + 1, LAST);
    expect_digests(fixture, 3);
    if (fixture->rig.partition->retired_cut == 2) {
        expect_same_tables(fixture);
    }
    open_rig(&fixture->rig, fixture->directory, 0);
    commit_all(&fixture->rig);
    expect_totals(&fixture->rig, 2, KEPT + 1, LAST);
    lead(&fixture->rig, 9);
    blocks_write(&fixture->rig, LAST + 1, LAST + 5); /* the producer's next sequence */
    expect_totals(&fixture->rig, 2, KEPT + 1, LAST + 5);
}

/* ---- cases ---- */

static void test_partition_install_makes_an_empty_replica_equal(void **state)
{
    struct fixture *fixture = *state;
    empty_follower(fixture);
    install(fixture, &fixture->late);
    expect_behind(fixture, &fixture->late);
    expect_equal(fixture);
}

static void test_partition_install_makes_an_old_replica_equal(void **state)
{
    struct fixture *fixture = *state;
    old_follower(fixture);
    expect_totals(&fixture->rig, 0, 1, GONE / 4 - 2);
    install(fixture, &fixture->late);
    expect_behind(fixture, &fixture->late);
    expect_equal(fixture);
}

/* Spans that were closed before the offer was made are closed and stored here too, with the same content. */
static void test_partition_install_fills_closed_spans(void **state)
{
    struct fixture *fixture = *state;
    struct ab_error error = {0};
    struct ab_digest digest;
    struct ab_row_counts counts;
    old_follower(fixture);
    install(fixture, &fixture->early);
    expect_behind(fixture, &fixture->early);
    copy_until(fixture, decoded(&fixture->early).offset + 20);
    rig_flush(&fixture->rig);
    assert_int_equal(ab_digest_span(fixture->rig.partition, 2, 1, &digest, &counts, &error), AB_AGAIN);
    copy_until(fixture, fixture->records_count);
    rig_flush(&fixture->rig);
    expect_totals(&fixture->rig, 1, GONE + 1, LAST);
    assert_ok(ab_digest_span(fixture->rig.partition, 2, 1, &digest, &counts, &error));
    assert_int_equal(counts.aggregated, (KEPT - GONE) * ROWS);
    struct ab_closed_span span;
    assert_ok(ab_partition_closed_span(fixture->rig.partition, 2, &span, &error));
    assert_int_equal(span.accepted, (KEPT - GONE) * ROWS); /* counted once: they are in the tables */
    expect_equal(fixture);
}

/* Another replica that is installed from one that was: the offer goes on. */
static void test_partition_install_from_one_that_was_installed(void **state)
{
    struct fixture *fixture = *state;
    struct ab_error error = {0};
    struct ab_buffer offer = {0};
    empty_follower(fixture);
    install(fixture, &fixture->late);
    copy_until(fixture, fixture->records_count);
    assert_ok(ab_partition_offer(fixture->rig.partition, &offer, &error));
    empty_follower(fixture);
    install(fixture, &offer);
    expect_behind(fixture, &offer);
    expect_equal(fixture);
    ab_buffer_fini(&offer);
}

/* Opened again after each few records, and with memory for few groups, which have to be stored on the way. */
static void test_partition_install_survives_restarts_and_little_memory(void **state)
{
    struct fixture *fixture = *state;
    empty_follower(fixture);
    install(fixture, &fixture->early);
    open_rig(&fixture->rig, fixture->directory, 0);
    expect_behind(fixture, &fixture->early);
    for (uint64_t until = log_start(fixture) + 1; until < fixture->records_count; until += 13) {
        copy_until(fixture, until);
        (void)ab_partition_flush_begin(fixture->rig.partition);
        if (until % 2 == 0) {
            rig_flush(&fixture->rig);
        }
        open_rig(&fixture->rig, fixture->directory, 200u << 10);
        assert_int_equal(ab_log_end_offset(fixture->rig.partition->log), until);
    }
    expect_equal(fixture);
}

/* Memory that is short while it is behind is relieved: what is in the span at hand can be stored. */
static void test_partition_behind_its_tables_stores_what_is_in_memory(void **state)
{
    struct fixture *fixture = *state;
    empty_follower(fixture);
    install(fixture, &fixture->early);
    assert_false(ab_partition_flush_begin(fixture->rig.partition));
    copy_until(fixture, GONE + 20);
    assert_true(ab_partition_is_behind(fixture->rig.partition));
    assert_true(ab_partition_active_bytes(fixture->rig.partition) > 0);
    assert_true(ab_partition_flush_begin(fixture->rig.partition));
    rig_flush(&fixture->rig);
    assert_int_equal(ab_partition_active_bytes(fixture->rig.partition), 0);
    assert_false(ab_partition_flush_begin(fixture->rig.partition));
    expect_equal(fixture);
}

/* ---- what is refused ---- */

static void expect_refused(struct fixture *fixture, struct ab_bytes bytes, ab_err wanted)
{
    struct ab_error error = {0};
    assert_int_equal(ab_partition_install(fixture->rig.partition, bytes, &error), wanted);
    assert_int_equal(log_start(fixture), 0);
    assert_int_equal(ab_log_end_offset(fixture->rig.partition->log), GONE / 4);
    expect_totals(&fixture->rig, 0, 1, GONE / 4 - 2);
}

static void test_partition_install_refuses_what_is_not_for_it_and_changes_nothing(void **state)
{
    struct fixture *fixture = *state;
    struct ab_buffer bytes = {0};
    old_follower(fixture);
    expect_refused(fixture, ab_bytes_of(NULL, 0), AB_CORRUPT);
    expect_refused(fixture, ab_bytes_of(fixture->late.data, fixture->late.bytes - 1), AB_CORRUPT);
    fixture->late.data[fixture->late.bytes / 2] ^= 1;
    expect_refused(fixture, ab_buffer_view(&fixture->late), AB_CORRUPT);
    fixture->late.data[fixture->late.bytes / 2] ^= 1;
    struct ab_offer offer = decoded(&fixture->late);
    offer.partition++;
    ab_offer_encode(&offer, &bytes);
    expect_refused(fixture, ab_buffer_view(&bytes), AB_MISMATCH);
    offer = decoded(&fixture->late);
    offer.cluster_id[3] ^= 1;
    ab_buffer_clear(&bytes);
    ab_offer_encode(&offer, &bytes);
    expect_refused(fixture, ab_buffer_view(&bytes), AB_MISMATCH);
    offer = decoded(&fixture->late);
    offer.tables.bytes--; /* whole in itself, but its tables are not */
    ab_buffer_clear(&bytes);
    ab_offer_encode(&offer, &bytes);
    expect_refused(fixture, ab_buffer_view(&bytes), AB_CORRUPT);
    offer = decoded(&fixture->late);
    offer.offset += 10000; /* spans begin before the log */
    ab_buffer_clear(&bytes);
    ab_offer_encode(&offer, &bytes);
    expect_refused(fixture, ab_buffer_view(&bytes), AB_CORRUPT);
    ab_buffer_fini(&bytes);
}

static void test_partition_install_refuses_what_ends_before_what_is_committed(void **state)
{
    struct fixture *fixture = *state;
    struct ab_error error = {0};
    empty_follower(fixture);
    copy_until(fixture, fixture->records_count);
    rig_flush(&fixture->rig);
    assert_int_equal(ab_partition_install(fixture->rig.partition, ab_buffer_view(&fixture->early), &error), AB_STALE);
    expect_totals(&fixture->rig, 0, 1, LAST);
}

static void test_partition_install_waits_for_what_is_being_stored(void **state)
{
    struct fixture *fixture = *state;
    struct ab_error error = {0};
    empty_follower(fixture);
    copy_until(fixture, GONE / 4);
    assert_true(ab_partition_flush_begin(fixture->rig.partition));
    assert_int_equal(ab_partition_install(fixture->rig.partition, ab_buffer_view(&fixture->late), &error), AB_AGAIN);
    rig_flush(&fixture->rig);
    install(fixture, &fixture->late);
    expect_equal(fixture);
}

/* A record that is not the one that the tables end with is found out there. */
static void test_partition_install_with_a_foreign_record_is_found_out(void **state)
{
    struct fixture *fixture = *state;
    struct ab_error error = {0};
    empty_follower(fixture);
    install(fixture, &fixture->late);
    struct ab_partition *partition = fixture->rig.partition;
    copy_until(fixture, partition->tables_from - 1);
    assert_true(ab_partition_is_behind(partition));
    assert_ok(ab_partition_begin_epoch(partition, 50, &error));
    ab_partition_sync(partition);
    ab_partition_set_committed(partition, ab_partition_durable(partition));
    assert_int_equal(
        ab_partition_apply_log(partition, ab_partition_committed(partition), &fixture->rig.scratch, &error),
        AB_CORRUPT);
    assert_non_null(strstr(error.text, "tables"));
}

/* ---- failing on the way ---- */

/* It is what it was, or what was offered; never anything else. */
static void expect_old_or_new(struct fixture *fixture, bool *is_new)
{
    *is_new = log_start(fixture) > 0;
    if (*is_new) {
        expect_behind(fixture, &fixture->late);
    } else {
        assert_int_equal(ab_log_end_offset(fixture->rig.partition->log), GONE / 4);
        assert_false(ab_partition_is_behind(fixture->rig.partition));
        expect_totals(&fixture->rig, 0, 1, GONE / 4 - 2);
    }
}

static void test_partition_install_with_a_failing_file_leaves_the_old_or_the_new(void **state)
{
    struct fixture *fixture = *state;
    static const ab_err codes[] = {AB_IO, AB_NO_SPACE};
    size_t seen[2] = {0};
    for (size_t c = 0; c < 2; c++) {
        bool is_over = false;
        for (int countdown = 0; !is_over; countdown += codes[c] == AB_IO ? 1 : 3) {
            struct ab_error error = {0};
            bool is_new = false;
            old_follower(fixture);
            ab_file_fault_set(countdown, 1, codes[c]);
            ab_err err = ab_partition_install(fixture->rig.partition, ab_buffer_view(&fixture->late), &error);
            is_over = !ab_file_fault_was_hit();
            ab_file_fault_clear();
            assert_true(err == AB_OK || err == AB_IO || err == AB_NO_SPACE);
            if (err == AB_NO_SPACE) { /* goes on as it was, without being opened anew */
                expect_old_or_new(fixture, &is_new);
                assert_false(is_new);
                copy_until(fixture, GONE / 4);
                assert_false(ab_file_exists(fixture->rig.partition->install_path));
            }
            open_rig(&fixture->rig, fixture->directory, 0);
            expect_old_or_new(fixture, &is_new);
            assert_true(is_new || err != AB_OK);
            seen[is_new]++;
            if (countdown % 4 == 0) { /* and gets there, from either */
                if (!is_new) {
                    install(fixture, &fixture->late);
                }
                copy_until(fixture, fixture->records_count);
                expect_totals(&fixture->rig, 2, KEPT + 1, LAST);
            }
        }
    }
    assert_true(seen[0] > 2 && seen[1] > 4);
}

/* A crash between two of its steps, each put there by hand: opening finishes it. */
static void test_partition_install_is_finished_at_opening(void **state)
{
    struct fixture *fixture = *state;
    for (int step = 0; step < 4; step++) {
        struct ab_error error = {0};
        struct ab_offer offer = decoded(&fixture->late);
        old_follower(fixture);
        struct ab_partition *partition = fixture->rig.partition;
        assert_ok(ab_file_replace(partition->install_path, ab_buffer_view(&fixture->late), 0600, &error));
        if (step > 0) {
            assert_ok(ab_log_reset(partition->log, offer.offset, offer.chain, offer.epoch, &error));
        }
        if (step > 1) {
            assert_ok(ab_partition_state_clear(partition->state, &error));
        }
        if (step > 2) {
            assert_ok(ab_file_replace(partition->retained_path, offer.tables, 0600, &error));
        }
        open_rig(&fixture->rig, fixture->directory, 0);
        expect_behind(fixture, &fixture->late);
        assert_false(ab_file_exists(fixture->rig.partition->install_path));
        expect_equal(fixture);
    }
}

/* While it is being finished, opening itself fails: the next one does it. */
static void test_partition_install_finishing_survives_failures(void **state)
{
    struct fixture *fixture = *state;
    bool is_over = false;
    for (int countdown = 0; !is_over; countdown += countdown < 60 ? 1 : 9) { /* then the state's own files */
        struct ab_error error = {0};
        struct rig_options options = {.is_replicated = true, .segment_bytes = SEGMENT_BYTES};
        empty_follower(fixture);
        copy_until(fixture, GONE / 4);
        assert_ok(ab_file_replace(fixture->rig.partition->install_path, ab_buffer_view(&fixture->late), 0600, &error));
        rig_close(&fixture->rig);
        ab_file_fault_set(countdown, 1, AB_IO);
        ab_err err = rig_open(&fixture->rig, fixture->directory, &options, &error);
        is_over = !ab_file_fault_was_hit();
        ab_file_fault_clear();
        if (err != AB_OK) {
            fixture->rig.partition = NULL;
        }
        open_rig(&fixture->rig, fixture->directory, 0);
        expect_behind(fixture, &fixture->late);
    }
    expect_equal(fixture);
}

/* An offer that a disk has damaged while it was being exchanged: refused with what to do, and nothing is made up. */
static void test_partition_install_that_cannot_be_read_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct ab_error error = {0};
    struct rig_options options = {.is_replicated = true, .segment_bytes = SEGMENT_BYTES};
    old_follower(fixture);
    assert_ok(ab_file_replace(
        fixture->rig.partition->install_path, ab_bytes_of(fixture->late.data, fixture->late.bytes - 3), 0600, &error));
    rig_close(&fixture->rig);
    assert_int_equal(rig_open(&fixture->rig, fixture->directory, &options, &error), AB_CORRUPT);
    assert_non_null(strstr(error.text, "install"));
    fixture->rig.partition = NULL;
}

/* ---- what says nothing any more ---- */

static void remove_of(const struct fixture *fixture, const char *name)
{
    struct ab_error error = {0};
    char *path = ab_new_format("%s/partition-0/%s", fixture->directory, name);
    assert_true(ab_file_exists(path));
    assert_ok(ab_file_remove_tree(path, &error));
    ab_delete(path);
}

static bool has(const struct fixture *fixture, const char *name)
{
    char *path = ab_new_format("%s/partition-0/%s", fixture->directory, name);
    bool is_there = ab_file_exists(path);
    ab_delete(path);
    return is_there;
}

/* A log that begins late, without anything that says what came before. */
static void lose_state_and_tables(struct fixture *fixture)
{
    empty_follower(fixture);
    install(fixture, &fixture->late);
    copy_until(fixture, fixture->records_count);
    rig_flush(&fixture->rig);
    rig_close(&fixture->rig);
    remove_of(fixture, "state");
    remove_of(fixture, "retained");
}

static void expect_begun_with_nothing(struct fixture *fixture)
{
    struct ab_partition_report report;
    ab_partition_report(fixture->rig.partition, &report);
    assert_true(report.start_offset == 0 && report.end_offset == 0 && report.applied_offset == 0);
    assert_true(report.damaged_until >= fixture->records_count);
    assert_false(ab_partition_is_behind(fixture->rig.partition));
}

static void test_partition_that_lost_state_and_tables_is_set_aside_and_installed(void **state)
{
    struct fixture *fixture = *state;
    lose_state_and_tables(fixture);
    open_rig(&fixture->rig, fixture->directory, 0);
    expect_begun_with_nothing(fixture);
    assert_true(has(fixture, "log.lost-1"));
    open_rig(&fixture->rig, fixture->directory, 0);
    expect_begun_with_nothing(fixture); /* it is not forgotten */
    install(fixture, &fixture->late);
    expect_equal(fixture);
}

static void test_partition_that_lost_its_state_and_has_bad_tables_is_set_aside(void **state)
{
    struct fixture *fixture = *state;
    struct ab_error error = {0};
    lose_state_and_tables(fixture);
    char *path = ab_new_format("%s/partition-0/retained", fixture->directory);
    struct ab_offer offer = decoded(&fixture->late);
    assert_ok(ab_file_replace(path, ab_bytes_of(offer.tables.data, offer.tables.bytes - 1), 0600, &error));
    open_rig(&fixture->rig, fixture->directory, 0);
    expect_begun_with_nothing(fixture);
    assert_true(has(fixture, "log.lost-1") && has(fixture, "retained.lost-1") && !has(fixture, "retained"));
    install(fixture, &fixture->late);
    expect_equal(fixture);
    ab_delete(path);
}

/* The log is another one than that of the tables. */
static void test_partition_with_the_tables_of_another_log_is_set_aside(void **state)
{
    struct fixture *fixture = *state;
    struct ab_error error = {0};
    empty_follower(fixture);
    lead(&fixture->rig, 1);
    blocks_write(&fixture->rig, 1, LAST + 40);
    rig_close(&fixture->rig);
    remove_of(fixture, "state");
    char *path = ab_new_format("%s/partition-0/retained", fixture->directory);
    assert_ok(ab_file_replace(path, decoded(&fixture->late).tables, 0600, &error));
    open_rig(&fixture->rig, fixture->directory, 0);
    expect_begun_with_nothing(fixture);
    install(fixture, &fixture->late);
    expect_equal(fixture);
    ab_delete(path);
}

/* All segments are gone, and what says where the log began does not say it any more. */
static void test_partition_whose_log_lost_its_beginning_is_set_aside(void **state)
{
    struct fixture *fixture = *state;
    struct ab_error error = {0};
    empty_follower(fixture);
    install(fixture, &fixture->late);
    copy_until(fixture, fixture->records_count);
    char *first = ab_new_format("%s/partition-0/log/%020u.seg", fixture->directory, (unsigned)log_start(fixture));
    struct ab_buffer bytes = {0};
    rig_flush(&fixture->rig);
    rig_close(&fixture->rig);
    assert_ok(ab_file_read_all(first, &bytes, &error));
    bytes.data[3] ^= 1; /* the first record of all */
    assert_ok(ab_file_replace(first, ab_buffer_view(&bytes), 0600, &error));
    remove_of(fixture, "log/watermark");
    open_rig(&fixture->rig, fixture->directory, 0);
    struct ab_partition_report report;
    ab_partition_report(fixture->rig.partition, &report);
    assert_true(report.start_offset == 0 && report.end_offset == 0 && report.damaged_until > 0);
    assert_true(has(fixture, "log.lost-1"));
    install(fixture, &fixture->late);
    expect_equal(fixture);
    ab_buffer_fini(&bytes);
    ab_delete(first);
}

/* The only replica has nobody to ask: it refuses, and everything stays where it is. */
static void test_partition_alone_that_lost_state_and_tables_refuses(void **state)
{
    struct fixture *fixture = *state;
    struct ab_error error = {0};
    struct rig_options options = {.segment_bytes = SEGMENT_BYTES};
    lose_state_and_tables(fixture);
    assert_int_equal(rig_open(&fixture->rig, fixture->directory, &options, &error), AB_NOT_FOUND);
    assert_false(has(fixture, "log.lost-1"));
    fixture->rig.partition = NULL;
}

/* And when its log ends before its tables. */
static void test_partition_alone_with_a_log_before_its_tables_refuses(void **state)
{
    struct fixture *fixture = *state;
    struct ab_error error = {0};
    struct rig_options options = {.segment_bytes = SEGMENT_BYTES};
    empty_follower(fixture);
    install(fixture, &fixture->late);
    rig_close(&fixture->rig);
    assert_int_equal(rig_open(&fixture->rig, fixture->directory, &options, &error), AB_CORRUPT);
    fixture->rig.partition = NULL;
}

/* As lose_state_and_tables left it, from what was set aside. */
static void put_back(const struct fixture *fixture)
{
    struct ab_error error = {0};
    char *aside = ab_new_format("%s/partition-0/log.lost-1", fixture->directory);
    char *log = ab_new_format("%s/partition-0/log", fixture->directory);
    remove_of(fixture, "state");
    remove_of(fixture, "log");
    assert_ok(ab_file_rename(aside, log, &error));
    ab_delete(aside);
    ab_delete(log);
}

static void test_partition_set_aside_survives_failures(void **state)
{
    struct fixture *fixture = *state;
    bool is_over = false;
    int failed = 0;
    lose_state_and_tables(fixture);
    for (int countdown = 0; !is_over; countdown++) {
        struct ab_error error = {0};
        struct rig_options options = {.is_replicated = true, .segment_bytes = SEGMENT_BYTES, .was_here = true};
        ab_file_fault_set(countdown, 1, AB_IO);
        ab_err err = rig_open(&fixture->rig, fixture->directory, &options, &error);
        is_over = !ab_file_fault_was_hit();
        ab_file_fault_clear();
        failed += err != AB_OK;
        if (err != AB_OK) {
            fixture->rig.partition = NULL;
        }
        rig_close(&fixture->rig);
        assert_ok(rig_open(&fixture->rig, fixture->directory, &options, &error));
        expect_begun_with_nothing(fixture);
        assert_true(has(fixture, "log.lost-1") && !has(fixture, "log.lost-2"));
        rig_close(&fixture->rig);
        put_back(fixture);
    }
    assert_true(failed > 10);
}

/* A disk that the node has run on, and a partition that is not there: it is not a new one. */
static void test_partition_without_a_log_on_a_disk_that_had_one_counts_as_damaged(void **state)
{
    struct fixture *fixture = *state;
    struct ab_error error = {0};
    struct ab_partition_report report;
    struct rig_options options = {.is_replicated = true, .segment_bytes = SEGMENT_BYTES};
    assert_ok(rig_open(&fixture->rig, fixture->directory, &options, &error));
    ab_partition_report(fixture->rig.partition, &report);
    assert_int_equal(report.damaged_until, 0);
    rig_close(&fixture->rig);
    remove_of(fixture, "log");
    options.was_here = true;
    for (int i = 0; i < 2; i++) {
        assert_ok(rig_open(&fixture->rig, fixture->directory, &options, &error));
        ab_partition_report(fixture->rig.partition, &report);
        assert_true(report.damaged_until == UINT64_MAX);
        copy_until(fixture, 5);
        rig_close(&fixture->rig);
    }
    assert_ok(rig_open(&fixture->rig, fixture->directory, &options, &error));
    assert_ok(ab_partition_clear_damage(fixture->rig.partition, &error));
    rig_close(&fixture->rig);
    assert_ok(rig_open(&fixture->rig, fixture->directory, &options, &error));
    ab_partition_report(fixture->rig.partition, &report);
    assert_int_equal(report.damaged_until, 0);
}

/* ---- killed ---- */

static void offer_load(const char *directory, const char *name, struct ab_buffer *bytes)
{
    struct ab_error error = {0};
    char *path = ab_new_format("%s/%s", directory, name);
    assert_ok(ab_file_read_all(path, bytes, &error));
    ab_delete(path);
}

/* Installs one offer over the other for ever, telling how often. */
static int child_run(char *directory)
{
    struct rig rig = {0};
    struct ab_buffer offers[2] = {{0}, {0}};
    open_rig(&rig, directory, 0);
    offer_load(directory, "early", &offers[0]);
    offer_load(directory, "late", &offers[1]);
    for (uint64_t count = 1;; count++) {
        struct ab_error error = {0};
        if (ab_partition_install(rig.partition, ab_buffer_view(&offers[count % 2]), &error) != AB_OK ||
            write(CHILD_PIPE, &count, sizeof count) != sizeof count) {
            (void)fprintf(stderr, "%s\n", error.text);
            return 1;
        }
    }
}

static uint64_t child_run_and_kill(const struct fixture *fixture, int64_t after_us)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if (dup2(ends[1], CHILD_PIPE) == CHILD_PIPE) {
            close(ends[1]);
            (void)execl("/proc/self/exe", "killed", fixture->directory, (char *)NULL);
        }
        _exit(127);
    }
    close(ends[1]);
    return crash_watch(ends[0], child, ab_time_monotonic_us() + after_us);
}

static void offer_save(const struct fixture *fixture, const char *name, const struct ab_buffer *bytes)
{
    struct ab_error error = {0};
    char *path = ab_new_format("%s/%s", fixture->directory, name);
    assert_ok(ab_file_replace(path, ab_buffer_view(bytes), 0600, &error));
    ab_delete(path);
}

static void test_partition_install_killed_anywhere_leaves_one_offer_whole(void **state)
{
    struct fixture *fixture = *state;
    struct ab_random random;
    uint64_t installed = 0;
    ab_random_init(&random, 20130601);
    offer_save(fixture, "early", &fixture->early);
    offer_save(fixture, "late", &fixture->late);
    for (int round = 0; round < KILL_ROUNDS; round++) {
        empty_follower(fixture);
        rig_close(&fixture->rig);
        installed += child_run_and_kill(fixture, 150000 + (int64_t)ab_random_below(&random, 150000));
        open_rig(&fixture->rig, fixture->directory, 0);
        uint64_t start = log_start(fixture);
        if (start == 0) {
            assert_int_equal(ab_log_end_offset(fixture->rig.partition->log), 0); /* killed before the first */
            continue;
        }
        bool is_early = start == decoded(&fixture->early).offset;
        expect_behind(fixture, is_early ? &fixture->early : &fixture->late);
        expect_equal(fixture);
    }
    assert_true(installed > 0);
}

int main(int count, char **arguments)
{
    if (count == 2) {
        return child_run(arguments[1]); /* the program that is killed */
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_partition_install_makes_an_empty_replica_equal, setup, teardown),
        cmocka_unit_test_setup_teardown(test_partition_install_makes_an_old_replica_equal, setup, teardown),
        cmocka_unit_test_setup_teardown(test_partition_install_fills_closed_spans, setup, teardown),
        cmocka_unit_test_setup_teardown(test_partition_install_from_one_that_was_installed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_partition_install_survives_restarts_and_little_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(test_partition_behind_its_tables_stores_what_is_in_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_partition_install_refuses_what_is_not_for_it_and_changes_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_partition_install_refuses_what_ends_before_what_is_committed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_partition_install_waits_for_what_is_being_stored, setup, teardown),
        cmocka_unit_test_setup_teardown(test_partition_install_with_a_foreign_record_is_found_out, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_partition_install_with_a_failing_file_leaves_the_old_or_the_new, setup, teardown),
        cmocka_unit_test_setup_teardown(test_partition_install_is_finished_at_opening, setup, teardown),
        cmocka_unit_test_setup_teardown(test_partition_install_finishing_survives_failures, setup, teardown),
        cmocka_unit_test_setup_teardown(test_partition_install_that_cannot_be_read_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_partition_that_lost_state_and_tables_is_set_aside_and_installed, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_partition_that_lost_its_state_and_has_bad_tables_is_set_aside, setup, teardown),
        cmocka_unit_test_setup_teardown(test_partition_with_the_tables_of_another_log_is_set_aside, setup, teardown),
        cmocka_unit_test_setup_teardown(test_partition_whose_log_lost_its_beginning_is_set_aside, setup, teardown),
        cmocka_unit_test_setup_teardown(test_partition_alone_that_lost_state_and_tables_refuses, setup, teardown),
        cmocka_unit_test_setup_teardown(test_partition_alone_with_a_log_before_its_tables_refuses, setup, teardown),
        cmocka_unit_test_setup_teardown(test_partition_set_aside_survives_failures, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_partition_without_a_log_on_a_disk_that_had_one_counts_as_damaged, setup, teardown),
        cmocka_unit_test_setup_teardown(test_partition_install_killed_anywhere_leaves_one_offer_whole, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
