#include "bench/payments.h"

#include "common/catalog/catalog.h"

#include "tests/support/test.h"

#define ROWS 50000

static struct ab_buffer rows_make(uint64_t seed)
{
    struct ab_payments_options options;
    ab_payments_defaults(&options);
    options.seed = seed;
    struct ab_payments *payments = ab_payments_create(&options);
    struct ab_buffer text = {0};
    for (int i = 0; i < ROWS; i++) {
        struct ab_payment payment;
        ab_payments_next(payments, &payment);
        ab_payment_write_csv(&payment, &text);
    }
    ab_payments_destroy(payments);
    return text;
}

static void test_payments_same_seed_gives_the_same_bytes(void **state)
{
    (void)state;
    struct ab_buffer first = rows_make(7);
    struct ab_buffer second = rows_make(7);
    struct ab_buffer other = rows_make(8);
    assert_true(ab_bytes_equal(ab_buffer_view(&first), ab_buffer_view(&second)));
    assert_false(ab_bytes_equal(ab_buffer_view(&first), ab_buffer_view(&other)));
    ab_buffer_fini(&first);
    ab_buffer_fini(&second);
    ab_buffer_fini(&other);
}

static void test_payments_have_the_stated_shapes(void **state)
{
    (void)state;
    struct ab_payments_options options;
    ab_payments_defaults(&options);
    struct ab_payments *payments = ab_payments_create(&options);
    ab_time_us latest = options.start_us;
    uint64_t late = 0;
    uint64_t duplicates = 0;
    uint64_t broken = 0;
    uint64_t frauds = 0;
    uint64_t of_first_user = 0;
    uint64_t by_hour[24] = {0};
    for (int i = 0; i < 10 * ROWS; i++) {
        struct ab_payment payment;
        ab_payments_next(payments, &payment);
        late += payment.paid_at_us < latest - AB_US_PER_MINUTE;
        latest = payment.paid_at_us > latest ? payment.paid_at_us : latest;
        duplicates += payment.is_duplicate;
        broken += payment.broken != AB_PAYMENT_SOUND;
        frauds += payment.is_fraud;
        of_first_user += payment.user == 1;
        by_hour[payment.paid_at_us / AB_US_PER_HOUR % 24]++;
    }
    double rows = 10.0 * ROWS;
    assert_true((double)late > 0.01 * rows && (double)late < 0.03 * rows);
    assert_true((double)duplicates > 0.001 * rows && (double)duplicates < 0.003 * rows);
    assert_true((double)broken > 0.0005 * rows && (double)broken < 0.002 * rows);
    assert_true((double)frauds > 0.001 * rows && (double)frauds < 0.01 * rows);
    assert_true((double)of_first_user > 0.08 * rows && (double)of_first_user < 0.13 * rows); /* 1 / H(10000) = 0.102 */
    assert_true(by_hour[18] > 5 * by_hour[3]);
    ab_payments_destroy(payments);
}

static void test_payments_catalog_is_valid(void **state)
{
    (void)state;
    struct ab_catalog *catalog = NULL;
    struct ab_error error = {0};
    assert_ok(ab_catalog_parse(bytes_of(ab_payments_catalog), &catalog, &error));
    assert_int_equal(catalog->streams_count, 1);
    assert_true(ab_catalog_view(catalog, bytes_of("spending_by_user"))->is_aligned);
    assert_false(ab_catalog_view(catalog, bytes_of("spending_by_country"))->is_aligned);
    ab_catalog_release(catalog);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_payments_same_seed_gives_the_same_bytes),
        cmocka_unit_test(test_payments_have_the_stated_shapes),
        cmocka_unit_test(test_payments_catalog_is_valid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
