/* rows: what the tests of producers share: a cluster with one producer, and rows of its stream. */
#ifndef ANABRANCH_TESTS_UNIT_COMMON_CLIENT_ROWS_H
#define ANABRANCH_TESTS_UNIT_COMMON_CLIENT_ROWS_H

#include "tests/unit/common/client/fake.h"

#include "tests/support/test.h"

enum { COLUMN_K, COLUMN_T, COLUMN_N, COLUMN_X, COLUMN_D, COLUMN_B };

struct rows {
    struct fake fake;
    struct anabranch_client *client;
    struct anabranch_producer *producer;
};

static inline void producer_open(struct rows *rows, const struct anabranch_producer_options *options)
{
    struct anabranch_producer_options complete = *options;
    complete.stream = "s";
    fake_sync(&rows->fake);
    rows->client = fake_client(&rows->fake, 5000);
    if (anabranch_producer_open(rows->client, &complete, &rows->producer) != ANABRANCH_OK) {
        fail_msg("%s", anabranch_last_error(rows->client));
    }
}

/* A cluster and a producer in it. Freed by rows_close. */
static inline struct rows *rows_open(uint32_t partitions_count, const struct anabranch_producer_options *options)
{
    struct rows *rows = ab_new(struct rows);
    fake_init(&rows->fake, partitions_count);
    producer_open(rows, options);
    return rows;
}

/* Closes all, a producer that a test has closed before excepted. */
static inline void rows_close(struct rows *rows)
{
    if (rows->producer != NULL) {
        (void)anabranch_producer_close(rows->producer);
    }
    anabranch_close(rows->client);
    fake_fini(&rows->fake);
    ab_delete(rows);
}

/* Appends the row {k<number mod 10>, number}. */
static inline enum anabranch_result row_append(struct anabranch_producer *producer, uint64_t number, uint64_t position)
{
    char key[16];
    int bytes = snprintf(key, sizeof key, "k%u", (unsigned)(number % 10));
    assert_int_equal(anabranch_set_text(producer, COLUMN_K, key, (size_t)bytes), ANABRANCH_OK);
    assert_int_equal(anabranch_set_timestamp(producer, COLUMN_T, (int64_t)number), ANABRANCH_OK);
    assert_int_equal(anabranch_set_bigint(producer, COLUMN_N, (int64_t)number), ANABRANCH_OK);
    return anabranch_append(producer, position);
}

/* Flushes; afterwards what arrived may be read. */
static inline enum anabranch_result rows_flush(struct rows *rows)
{
    fake_sync(&rows->fake);
    enum anabranch_result result = anabranch_flush(rows->producer);
    fake_sync(&rows->fake);
    return result;
}

static inline struct anabranch_counts counts_of(const struct rows *rows)
{
    struct anabranch_counts counts;
    anabranch_producer_counts(rows->producer, &counts);
    return counts;
}

#endif
