/* payments: a realistic generated stream of card payments, the same for the same seed on every machine.
 *
 * Users follow Zipf's law (exponent 1), time follows a daily rhythm, amounts correlate with the user's habits and the
 * merchant's price level, and now and then a card is stolen: a burst of large payments from another country. Some
 * events come late, some twice (two events, as a careless producer sends them), some broken: what a real source does to
 * a system. Only integers and + - * / on doubles are used, so no library decides a value.
 *
 * Threads: owner. Memory: 8 bytes a user.
 */
#ifndef ANABRANCH_BENCH_PAYMENTS_H
#define ANABRANCH_BENCH_PAYMENTS_H

#include "common/base/buffer.h"
#include "common/base/random.h"
#include "common/base/time.h"

#define AB_PAYMENTS_MERCHANTS 500u
#define AB_PAYMENTS_COUNTRIES 24u

struct ab_payments_options {
    uint64_t seed;
    uint32_t users_count; /* 0 = 10,000 */
    ab_time_us start_us;  /* time of the first payment */
    uint64_t rows_a_day;  /* mean density of events in event time; 0 = 200,000 */
    double late_share;    /* shares of all events */
    double duplicate_share;
    double broken_share;
    double fraud_share;
};

/* One payment as it happened. */
struct ab_payment {
    uint64_t number; /* from 1 */
    uint32_t user;
    uint32_t merchant;
    uint32_t country;
    int64_t amount_cents;
    bool is_fraud;
    ab_time_us paid_at_us;
    bool is_duplicate; /* the same as the one before */
    uint32_t broken;   /* 0 = sound, else how it is broken (enum ab_payment_fault) */
};

enum ab_payment_fault {
    AB_PAYMENT_SOUND = 0,
    AB_PAYMENT_BAD_NUMBER = 1, /* the amount is a word: cannot be typed */
    AB_PAYMENT_SHORT_LINE = 2, /* fields are missing: cannot be typed */
    AB_PAYMENT_NEGATIVE = 3,   /* the amount breaks the stream's CHECK */
    AB_PAYMENT_FAULTS = 4,
};

struct ab_payments;

/* The defaults that the command line and the quickstart use. */
void ab_payments_defaults(struct ab_payments_options *options);

struct ab_payments *ab_payments_create(const struct ab_payments_options *options);
void ab_payments_destroy(struct ab_payments *payments);

/* The next payment. */
void ab_payments_next(struct ab_payments *payments, struct ab_payment *payment);

/* The catalog that fits: one stream, views aligned and not aligned with its partition key. */
extern const char ab_payments_catalog[];

/* The header line of the CSV form, and one line; both with a newline. */
extern const char ab_payments_csv_header[];
void ab_payment_write_csv(const struct ab_payment *payment, struct ab_buffer *out);

/* Name of a country (two letters) and of a merchant ("m0042"). */
const char *ab_payment_country(uint32_t country);

#endif
