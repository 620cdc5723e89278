#include "bench/payments.h"

#include "common/base/memory.h"

#include <inttypes.h>

#define USERS_DEFAULT 10000u
#define ROWS_A_DAY_DEFAULT 200000u
#define BURST_PAYMENTS 6u

const char ab_payments_catalog[] =
    "-- Card payments: the stream and the views of the quickstart.\n"
    "CREATE STREAM payments (\n"
    "  payment_id BIGINT NOT NULL,\n"
    "  user_id    BIGINT NOT NULL,\n"
    "  merchant   TEXT NOT NULL,\n"
    "  country    TEXT NOT NULL,\n"
    "  amount     DECIMAL(12, 2) NOT NULL CHECK (amount > 0),\n"
    "  is_fraud   BOOLEAN,\n"
    "  paid_at    TIMESTAMP NOT NULL,\n"
    "  EVENT TIME paid_at,\n"
    "  PARTITION KEY (user_id)\n"
    ") WITH (history_retention = 'forever', max_future = '1 day');\n"
    "\n"
    "-- A user's groups all live in one partition: nothing is exchanged for this view.\n"
    "CREATE VIEW spending_by_user AS\n"
    "  SELECT user_id, count(*) AS payments, sum(amount) AS spent, min(amount) AS smallest, max(amount) AS largest\n"
    "  FROM payments\n"
    "  GROUP BY user_id, TUMBLE(paid_at, INTERVAL '1 hour');\n"
    "\n"
    "-- Countries are spread over all partitions: batch shuffles them, queries merge them as states.\n"
    "CREATE VIEW spending_by_country AS\n"
    "  SELECT country, count(*) AS payments, sum(amount) AS spent, avg(amount) AS mean, stddev_samp(amount) AS "
    "deviation,\n"
    "         min(amount) AS smallest, max(amount) AS largest, count_distinct(user_id) AS users,\n"
    "         count(*) FILTER (WHERE is_fraud) AS frauds\n"
    "  FROM payments\n"
    "  GROUP BY country, TUMBLE(paid_at, INTERVAL '1 hour');\n";

const char ab_payments_csv_header[] = "payment_id,user_id,merchant,country,amount,is_fraud,paid_at\n";

static const char countries[AB_PAYMENTS_COUNTRIES][3] = {"DE", "FR", "GB", "IT", "ES", "PL", "NL", "BE", "SE", "AT",
    "CH", "CZ", "PT", "GR", "DK", "FI", "NO", "IE", "HU", "RO", "US", "CA", "BR", "JP"};

/* Payments an hour of the day, relative: people sleep, shop at noon and in the evening. */
static const uint32_t rhythm[24] = {
    12, 7, 5, 4, 4, 7, 16, 34, 52, 58, 62, 74, 92, 84, 66, 62, 68, 86, 104, 98, 76, 54, 36, 22};

struct ab_payments {
    struct ab_payments_options options;
    struct ab_random random;
    double *cumulative; /* owned; Zipf weights 1/1 .. 1/users summed up */
    uint64_t next_number;
    ab_time_us clock_us;
    struct ab_payment last;
    uint32_t burst_left; /* payments of a stolen card still to come */
    uint32_t burst_user;
};

void ab_payments_defaults(struct ab_payments_options *options)
{
    *options = (struct ab_payments_options){.seed = 1,
        .users_count = USERS_DEFAULT,
        .start_us = INT64_C(1709251200) * AB_US_PER_SECOND, /* 2024-03-01T00:00:00Z */
        .rows_a_day = ROWS_A_DAY_DEFAULT,
        .late_share = 0.02,
        .duplicate_share = 0.002,
        .broken_share = 0.001,
        .fraud_share = 0.0005};
}

struct ab_payments *ab_payments_create(const struct ab_payments_options *options)
{
    struct ab_payments *payments = ab_new(struct ab_payments);
    payments->options = *options;
    if (payments->options.users_count == 0) {
        payments->options.users_count = USERS_DEFAULT;
    }
    if (payments->options.rows_a_day == 0) {
        payments->options.rows_a_day = ROWS_A_DAY_DEFAULT;
    }
    ab_random_init(&payments->random, options->seed);
    payments->cumulative = ab_new_array(double, payments->options.users_count);
    double sum = 0;
    for (uint32_t i = 0; i < payments->options.users_count; i++) {
        sum += 1.0 / (double)(i + 1);
        payments->cumulative[i] = sum;
    }
    payments->clock_us = payments->options.start_us;
    payments->next_number = 1;
    return payments;
}

void ab_payments_destroy(struct ab_payments *payments)
{
    if (payments == NULL) {
        return;
    }
    ab_delete(payments->cumulative);
    ab_delete(payments);
}

static bool happens(struct ab_payments *payments, double share)
{
    return ab_random_unit(&payments->random) < share;
}

/* Rank by Zipf's law, by binary search in the summed weights. */
static uint32_t user_draw(struct ab_payments *payments)
{
    double sum = payments->cumulative[payments->options.users_count - 1];
    double at = ab_random_unit(&payments->random) * sum;
    uint32_t low = 0;
    uint32_t high = payments->options.users_count - 1;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (payments->cumulative[middle] <= at) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low + 1;
}

/* A fixed property of a user or merchant in [0, bound). */
static uint32_t habit(uint32_t who, uint32_t what, uint32_t bound)
{
    struct ab_random random;
    ab_random_init(&random, (uint64_t)who << 8 | what);
    return (uint32_t)ab_random_below(&random, bound);
}

/* Lets the clock run on: slowly by day, fast by night, on average rows_a_day. */
static void clock_advance(struct ab_payments *payments)
{
    uint64_t hour = (uint64_t)(ab_time_floor(payments->clock_us, AB_US_PER_HOUR) / AB_US_PER_HOUR) % 24;
    uint32_t mean_weight = 0;
    for (size_t h = 0; h < 24; h++) {
        mean_weight += rhythm[h];
    }
    double step = (double)AB_US_PER_DAY / (double)payments->options.rows_a_day;
    step = step * mean_weight / 24.0 / rhythm[hour];
    payments->clock_us += (int64_t)(step * 2.0 * ab_random_unit(&payments->random));
}

static int64_t amount_draw(struct ab_payments *payments, uint32_t user, uint32_t merchant)
{
    int64_t level = 300 + (int64_t)habit(user, 1, 4700);   /* cents: what this user usually spends */
    int64_t price = 20 + (int64_t)habit(merchant, 2, 380); /* per cent: how dear this merchant is */
    int64_t chance = 40 + (int64_t)ab_random_below(&payments->random, 121);
    int64_t cents = level * price / 100 * chance / 100;
    return cents < 1 ? 1 : cents;
}

static void payment_draw(struct ab_payments *payments, struct ab_payment *payment)
{
    uint32_t user = payments->burst_left > 0 ? payments->burst_user : user_draw(payments);
    uint32_t merchant = (habit(user, 3, AB_PAYMENTS_MERCHANTS) + (uint32_t)ab_random_below(&payments->random, 12)) %
                        AB_PAYMENTS_MERCHANTS;
    *payment = (struct ab_payment){.user = user,
        .merchant = merchant,
        .country = habit(user, 4, AB_PAYMENTS_COUNTRIES - 4),
        .amount_cents = amount_draw(payments, user, merchant),
        .paid_at_us = payments->clock_us};
    if (payments->burst_left == 0 && happens(payments, payments->options.fraud_share)) {
        payments->burst_left = BURST_PAYMENTS;
        payments->burst_user = user;
    }
    if (payments->burst_left > 0) {
        payments->burst_left--;
        payment->is_fraud = true;
        payment->amount_cents *= 20 + (int64_t)ab_random_below(&payments->random, 30);
        payment->country = AB_PAYMENTS_COUNTRIES - 1 - (uint32_t)ab_random_below(&payments->random, 4);
    }
    if (happens(payments, payments->options.late_share)) { /* most by minutes, some by a day */
        uint64_t most = ab_random_below(&payments->random, 20) == 0 ? 86400 : 3600;
        payment->paid_at_us -= (int64_t)ab_random_below(&payments->random, most) * AB_US_PER_SECOND;
    }
    if (happens(payments, payments->options.broken_share)) {
        payment->broken = 1 + (uint32_t)ab_random_below(&payments->random, AB_PAYMENT_FAULTS - 1);
    }
}

void ab_payments_next(struct ab_payments *payments, struct ab_payment *payment)
{
    if (payments->next_number > 1 && happens(payments, payments->options.duplicate_share)) {
        *payment = payments->last;
        payment->is_duplicate = true;
        return;
    }
    clock_advance(payments);
    payment_draw(payments, payment);
    payment->number = payments->next_number++;
    payments->last = *payment;
}

const char *ab_payment_country(uint32_t country)
{
    return countries[country % AB_PAYMENTS_COUNTRIES];
}

void ab_payment_write_csv(const struct ab_payment *payment, struct ab_buffer *out)
{
    char time[AB_TIME_TEXT_BYTES];
    ab_buffer_put_format(out, "%" PRIu64 ",%" PRIu32 ",m%04" PRIu32 ",%s,", payment->number, payment->user,
        payment->merchant, ab_payment_country(payment->country));
    if (payment->broken == AB_PAYMENT_SHORT_LINE) {
        ab_buffer_put_u8(out, '\n');
        return;
    }
    if (payment->broken == AB_PAYMENT_BAD_NUMBER) {
        ab_buffer_put_format(out, "about ten");
    } else {
        ab_buffer_put_format(out, "%s%" PRId64 ".%02" PRId64, payment->broken == AB_PAYMENT_NEGATIVE ? "-" : "",
            payment->amount_cents / 100, payment->amount_cents % 100);
    }
    ab_buffer_put_format(
        out, ",%s,%s\n", payment->is_fraud ? "true" : "false", ab_time_format(payment->paid_at_us, time));
}
