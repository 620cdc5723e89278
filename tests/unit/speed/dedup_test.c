/* Producers and sources: what is new, what is a repeat, what is refused, and that a failed group never happened. */
#include "speed/dedup.h"
#include "tests/support/test.h"

static struct ab_hash128 hash_of(uint64_t number)
{
    return (struct ab_hash128){.low = number * 3 + 1, .high = number};
}

static void note(struct ab_dedup *dedup, uint64_t producer, uint64_t sequence, uint64_t offset)
{
    struct ab_outcome outcome = {.offset = offset, .accepted = (uint32_t)sequence, .rejected = 2, .duplicates = 1};
    ab_dedup_note(dedup, producer, sequence, hash_of(sequence), &outcome);
}

static void test_dedup_sequence_rules(void **state)
{
    (void)state;
    struct ab_error error = {0};
    struct ab_outcome outcome = {0};
    struct ab_dedup *dedup = ab_dedup_create(4, 4, NULL);
    assert_ok(ab_dedup_check(dedup, 1, 1, hash_of(1), &outcome, &error));
    assert_int_equal(ab_dedup_check(dedup, 1, 2, hash_of(2), &outcome, &error), AB_SEQUENCE);
    for (uint64_t s = 1; s <= 8; s++) {
        assert_ok(ab_dedup_check(dedup, 1, s, hash_of(s), &outcome, &error));
        note(dedup, 1, s, 100 + s);
    }
    for (uint64_t s = 4; s <= 8; s++) {
        assert_int_equal(ab_dedup_check(dedup, 1, s, hash_of(s), &outcome, &error), AB_EXISTS);
        assert_int_equal(outcome.offset, 100 + s);
        assert_int_equal(outcome.accepted, s);
    }
    assert_int_equal(ab_dedup_check(dedup, 1, 8, hash_of(9), &outcome, &error), AB_MISMATCH);
    assert_int_equal(ab_dedup_check(dedup, 1, 3, hash_of(3), &outcome, &error), AB_SEQUENCE); /* too old to tell */
    assert_int_equal(ab_dedup_check(dedup, 1, 10, hash_of(10), &outcome, &error), AB_SEQUENCE);
    assert_int_equal(ab_dedup_check(dedup, 1, 0, hash_of(0), &outcome, &error), AB_SEQUENCE);
    ab_dedup_destroy(dedup);
}

static void test_dedup_evicted_producer_is_told_when_it_goes_on(void **state)
{
    (void)state;
    struct ab_error error = {0};
    struct ab_outcome outcome = {0};
    struct ab_dedup *dedup = ab_dedup_create(3, 4, NULL);
    for (uint64_t p = 1; p <= 3; p++) {
        note(dedup, p, 1, p);
    }
    note(dedup, 1, 2, 10); /* 2 is silent longest now */
    note(dedup, 4, 1, 11);
    assert_int_equal(ab_dedup_producers(dedup), 3);
    assert_int_equal(ab_dedup_check(dedup, 2, 2, hash_of(2), &outcome, &error), AB_SEQUENCE);
    assert_non_null(strstr(error.text, "not known"));
    assert_ok(ab_dedup_check(dedup, 1, 3, hash_of(3), &outcome, &error));
    assert_ok(ab_dedup_check(dedup, 4, 2, hash_of(2), &outcome, &error));
    ab_dedup_destroy(dedup);
}

static void test_dedup_rollback_takes_back_everything_since_commit(void **state)
{
    (void)state;
    struct ab_error error = {0};
    struct ab_outcome outcome = {0};
    struct ab_source_state mark = {.last_position = 10};
    struct ab_source_state read;
    struct ab_memory memory;
    ab_memory_init(&memory, 0, NULL);
    struct ab_dedup *dedup = ab_dedup_create(2, 4, &memory);
    note(dedup, 1, 1, 1);
    note(dedup, 2, 1, 2);
    ab_dedup_source_note(dedup, bytes_of("s"), bytes_of("old"), 0, &mark);
    ab_dedup_commit(dedup, UINT64_MAX);
    note(dedup, 3, 1, 3); /* evicts 1 */
    note(dedup, 3, 2, 4);
    note(dedup, 2, 2, 5);
    mark.last_position = 20;
    ab_dedup_source_note(dedup, bytes_of("s"), bytes_of("old"), 0, &mark);
    ab_dedup_source_note(dedup, bytes_of("s"), bytes_of("new"), 0, &mark);
    ab_dedup_rollback(dedup, 0);
    assert_int_equal(ab_dedup_check(dedup, 1, 1, hash_of(1), &outcome, &error), AB_EXISTS);
    assert_ok(ab_dedup_check(dedup, 2, 2, hash_of(2), &outcome, &error));
    assert_ok(ab_dedup_check(dedup, 3, 1, hash_of(1), &outcome, &error));
    assert_true(ab_dedup_source(dedup, bytes_of("s"), bytes_of("old"), &read));
    assert_int_equal(read.last_position, 10);
    assert_false(ab_dedup_source(dedup, bytes_of("s"), bytes_of("new"), &read));
    assert_int_equal(ab_dedup_sources(dedup), 1);
    ab_dedup_destroy(dedup);
    assert_int_equal(ab_memory_used(&memory), 0);
}

static void test_dedup_rollback_of_a_first_producer_frees_its_slot(void **state)
{
    (void)state;
    struct ab_dedup *dedup = ab_dedup_create(2, 4, NULL);
    note(dedup, 5, 1, 1);
    note(dedup, 5, 2, 2);
    note(dedup, 6, 1, 3);
    ab_dedup_rollback(dedup, 0);
    assert_int_equal(ab_dedup_producers(dedup), 0);
    note(dedup, 7, 1, 4);
    assert_int_equal(ab_dedup_producers(dedup), 1);
    ab_dedup_destroy(dedup);
}

/* Of what a full disk took back nothing stays, and what was appended before can still be taken back. */
static void test_dedup_rollback_from_an_offset_leaves_the_rest_uncommitted(void **state)
{
    (void)state;
    struct ab_error error = {0};
    struct ab_outcome outcome = {0};
    struct ab_dedup *dedup = ab_dedup_create(2, 4, NULL);
    note(dedup, 5, 1, 1);
    ab_dedup_commit(dedup, 2);
    note(dedup, 5, 2, 2);
    note(dedup, 5, 3, 3);
    ab_dedup_rollback(dedup, 3);
    assert_int_equal(ab_dedup_check(dedup, 5, 2, hash_of(2), &outcome, &error), AB_EXISTS);
    assert_ok(ab_dedup_check(dedup, 5, 3, hash_of(3), &outcome, &error));
    ab_dedup_rollback(dedup, 0);
    assert_int_equal(ab_dedup_check(dedup, 5, 1, hash_of(1), &outcome, &error), AB_EXISTS);
    assert_ok(ab_dedup_check(dedup, 5, 2, hash_of(2), &outcome, &error));
    ab_dedup_destroy(dedup);
}

static void test_dedup_marks_only_move_forward(void **state)
{
    (void)state;
    struct ab_source_state read;
    struct ab_dedup *dedup = ab_dedup_create(2, 2, NULL);
    struct ab_source_state mark = {.last_position = 10, .byte_offset = 100};
    ab_dedup_source_note(dedup, bytes_of("s"), bytes_of("f"), 0, &mark);
    mark = (struct ab_source_state){.last_position = 9, .byte_offset = 90};
    ab_dedup_source_note(dedup, bytes_of("s"), bytes_of("f"), 0, &mark);
    assert_true(ab_dedup_source(dedup, bytes_of("s"), bytes_of("f"), &read));
    assert_int_equal(read.byte_offset, 100);
    assert_false(ab_dedup_source(dedup, bytes_of("t"), bytes_of("f"), &read));
    assert_false(ab_dedup_is_full(dedup));
    ab_dedup_source_note(dedup, bytes_of("s"), bytes_of("g"), 0, &mark);
    assert_true(ab_dedup_is_full(dedup));
    ab_dedup_destroy(dedup);
}

/* Loads all entries into another object. */
static struct ab_dedup *copy_of(const struct ab_table_puts *puts)
{
    struct ab_dedup *copy = ab_dedup_create(8, 8, NULL);
    for (size_t i = 0; i < puts->count; i++) {
        struct ab_bytes key;
        struct ab_bytes value;
        ab_table_puts_at(puts, i, &key, &value);
        assert_ok(ab_dedup_load(copy, key, value));
    }
    return copy;
}

static void test_dedup_stored_form_comes_back(void **state)
{
    (void)state;
    struct ab_error error = {0};
    struct ab_outcome outcome = {0};
    struct ab_source_state read;
    struct ab_dedup *dedup = ab_dedup_create(8, 8, NULL);
    for (uint64_t s = 1; s <= 7; s++) {
        note(dedup, 42, s, s * 10);
    }
    note(dedup, 43, 1, 71);
    struct ab_source_state mark = {.last_position = 10, .byte_offset = 100, .prefix_hash = hash_of(4)};
    ab_dedup_source_note(dedup, bytes_of("s"), bytes_of("f"), 0, &mark);
    ab_dedup_commit(dedup, UINT64_MAX);
    struct ab_table_puts puts = {0};
    ab_dedup_put(dedup, false, &puts);
    ab_table_puts_sort(&puts);
    assert_int_equal(puts.count, 3);
    struct ab_dedup *copy = copy_of(&puts);
    assert_int_equal(ab_dedup_check(copy, 42, 3, hash_of(3), &outcome, &error), AB_EXISTS);
    assert_int_equal(outcome.offset, 30);
    assert_int_equal(ab_dedup_check(copy, 42, 2, hash_of(2), &outcome, &error), AB_SEQUENCE);
    assert_ok(ab_dedup_check(copy, 43, 2, hash_of(2), &outcome, &error));
    assert_true(ab_dedup_source(copy, bytes_of("s"), bytes_of("f"), &read));
    assert_memory_equal(&read, &mark, sizeof(read));
    ab_dedup_destroy(copy);
    ab_table_puts_fini(&puts);
    ab_dedup_put(dedup, false, &puts); /* nothing changed since */
    assert_int_equal(puts.count, 0);
    ab_dedup_put(dedup, true, &puts);
    assert_int_equal(puts.count, 3);
    ab_table_puts_fini(&puts);
    ab_dedup_destroy(dedup);
}

static void test_dedup_puts_and_answers_what_is_committed_while_more_is_noted(void **state)
{
    (void)state;
    struct ab_error error = {0};
    struct ab_outcome outcome = {0};
    struct ab_source_state read;
    struct ab_dedup *dedup = ab_dedup_create(2, 4, NULL);
    struct ab_source_state mark = {.last_position = 10};
    note(dedup, 1, 1, 1);
    note(dedup, 2, 1, 2);
    ab_dedup_source_note(dedup, bytes_of("s"), bytes_of("old"), 2, &mark);
    note(dedup, 1, 2, 3);
    mark.last_position = 20;
    ab_dedup_source_note(dedup, bytes_of("s"), bytes_of("old"), 3, &mark);
    ab_dedup_source_note(dedup, bytes_of("s"), bytes_of("new"), 3, &mark);
    note(dedup, 3, 1, 4);      /* evicts 2 */
    ab_dedup_commit(dedup, 3); /* of offsets 1 and 2 */
    assert_true(ab_dedup_source_committed(dedup, bytes_of("s"), bytes_of("old"), &read));
    assert_int_equal(read.last_position, 10);
    assert_false(ab_dedup_source_committed(dedup, bytes_of("s"), bytes_of("new"), &read));
    struct ab_table_puts puts = {0};
    ab_dedup_put(dedup, false, &puts);
    ab_table_puts_sort(&puts);
    struct ab_dedup *copy = copy_of(&puts);
    assert_int_equal(ab_dedup_check(copy, 1, 1, hash_of(1), &outcome, &error), AB_EXISTS);
    assert_ok(ab_dedup_check(copy, 1, 2, hash_of(2), &outcome, &error));
    assert_ok(ab_dedup_check(copy, 2, 2, hash_of(2), &outcome, &error));
    assert_int_equal(ab_dedup_sources(copy), 1);
    ab_dedup_destroy(copy);
    ab_table_puts_fini(&puts);
    /* What is noted is as it was; and once it is committed, it is put. */
    assert_int_equal(ab_dedup_check(dedup, 1, 2, hash_of(2), &outcome, &error), AB_EXISTS);
    assert_ok(ab_dedup_check(dedup, 3, 2, hash_of(2), &outcome, &error));
    ab_dedup_commit(dedup, 5);
    ab_dedup_put(dedup, false, &puts);
    assert_int_equal(puts.count, 4); /* producers 1 and 3, marks old and new */
    ab_table_puts_fini(&puts);
    ab_dedup_destroy(dedup);
}

static void test_dedup_malformed_entries_are_refused(void **state)
{
    (void)state;
    struct ab_dedup *dedup = ab_dedup_create(8, 8, NULL);
    note(dedup, 42, 1, 10);
    note(dedup, 42, 2, 20);
    ab_dedup_commit(dedup, UINT64_MAX);
    struct ab_table_puts puts = {0};
    ab_dedup_put(dedup, true, &puts);
    struct ab_bytes key;
    struct ab_bytes value;
    ab_table_puts_at(&puts, 0, &key, &value);
    for (size_t bytes = 0; bytes < value.bytes; bytes++) {
        struct ab_dedup *copy = ab_dedup_create(8, 8, NULL);
        assert_int_equal(ab_dedup_load(copy, key, ab_bytes_of(value.data, bytes)), AB_CORRUPT);
        assert_int_equal(ab_dedup_load(copy, ab_bytes_of("s12", 3), ab_bytes_of(value.data, bytes % 32)), AB_CORRUPT);
        assert_int_equal(ab_dedup_load(copy, ab_bytes_of("x", 1), value), AB_CORRUPT);
        ab_dedup_destroy(copy);
    }
    ab_table_puts_fini(&puts);
    ab_dedup_destroy(dedup);
}

static ab_err count_entry(struct ab_bytes key, struct ab_bytes value, void *context, struct ab_error *error)
{
    (void)error;
    assert_true(key.bytes > 0 && value.bytes > 0);
    *(int *)context += 1;
    return AB_OK;
}

static void test_table_puts_file_detects_every_flip_and_truncation(void **state)
{
    (void)state;
    struct ab_error error = {0};
    struct ab_table_puts puts = {0};
    ab_table_puts_add(&puts, bytes_of("b"), bytes_of("two"));
    ab_table_puts_add(&puts, bytes_of("a"), bytes_of("one"));
    ab_table_puts_sort(&puts);
    struct ab_buffer file = {0};
    ab_table_puts_encode(&puts, &file);
    int count = 0;
    assert_ok(ab_table_puts_decode(ab_buffer_view(&file), count_entry, &count, &error));
    assert_int_equal(count, 2);
    for (size_t i = 0; i < file.bytes; i++) {
        assert_int_equal(ab_table_puts_decode(ab_bytes_of(file.data, i), count_entry, &count, &error), AB_CORRUPT);
        file.data[i] ^= 1;
        assert_int_equal(ab_table_puts_decode(ab_buffer_view(&file), count_entry, &count, &error), AB_CORRUPT);
        file.data[i] ^= 1;
    }
    assert_int_equal(count, 2);
    ab_buffer_fini(&file);
    ab_table_puts_fini(&puts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dedup_sequence_rules),
        cmocka_unit_test(test_dedup_evicted_producer_is_told_when_it_goes_on),
        cmocka_unit_test(test_dedup_rollback_takes_back_everything_since_commit),
        cmocka_unit_test(test_dedup_rollback_of_a_first_producer_frees_its_slot),
        cmocka_unit_test(test_dedup_rollback_from_an_offset_leaves_the_rest_uncommitted),
        cmocka_unit_test(test_dedup_marks_only_move_forward),
        cmocka_unit_test(test_dedup_stored_form_comes_back),
        cmocka_unit_test(test_dedup_puts_and_answers_what_is_committed_while_more_is_noted),
        cmocka_unit_test(test_dedup_malformed_entries_are_refused),
        cmocka_unit_test(test_table_puts_file_detects_every_flip_and_truncation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
