#include "bench/options.h"
#include "bench/payments.h"
#include "bench/verbs.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define CHUNK_BYTES (256u << 10)

/* Writes all of a buffer and clears it; false when the reader went away or the disk is full. */
static bool chunk_write(struct ab_buffer *chunk)
{
    size_t done = 0;
    while (done < chunk->bytes) {
        ssize_t count = write(STDOUT_FILENO, chunk->data + done, chunk->bytes - done);
        if (count < 0 && errno != EINTR) {
            fprintf(stderr, "anabranch-bench generate: cannot write: %s\n", strerror(errno));
            return false;
        }
        done += count > 0 ? (size_t)count : 0;
    }
    ab_buffer_clear(chunk);
    return true;
}

static bool rows_write(const struct ab_payments_options *options, uint64_t rows)
{
    struct ab_payments *payments = ab_payments_create(options);
    struct ab_buffer chunk = {0};
    struct ab_payment payment;
    bool is_good = true;
    ab_buffer_put_format(&chunk, "%s", ab_payments_csv_header);
    for (uint64_t i = 0; i < rows && is_good; i++) {
        ab_payments_next(payments, &payment);
        ab_payment_write_csv(&payment, &chunk);
        if (chunk.bytes >= CHUNK_BYTES) {
            is_good = chunk_write(&chunk);
        }
    }
    is_good = is_good && chunk_write(&chunk);
    ab_buffer_fini(&chunk);
    ab_payments_destroy(payments);
    return is_good;
}

int ab_bench_generate(int argc, char **argv)
{
    struct ab_payments_options payments;
    ab_payments_defaults(&payments);
    uint64_t rows = 100000;
    uint64_t users = payments.users_count;
    bool only_catalog = false;
    const struct ab_bench_option options[] = {
        {.name = "rows", .help = "how many lines (100000)", .number = &rows},
        {.name = "seed", .help = "the same seed gives the same bytes (1)", .number = &payments.seed},
        {.name = "users", .help = "card holders (10000)", .number = &users},
        {.name = "rows-a-day", .help = "density in event time (200000)", .number = &payments.rows_a_day},
        {.name = "late", .help = "share of late events (0.02)", .real = &payments.late_share},
        {.name = "duplicates", .help = "share of events sent twice (0.002)", .real = &payments.duplicate_share},
        {.name = "broken", .help = "share of broken events (0.001)", .real = &payments.broken_share},
        {.name = "fraud", .help = "chance that a payment begins a fraud (0.0005)", .real = &payments.fraud_share},
        {.name = "catalog", .help = "print the catalog instead of rows", .flag = &only_catalog},
    };
    int status = ab_bench_options_read("generate", "Prints a realistic stream of card payments as CSV.", options,
        sizeof options / sizeof options[0], argc, argv, 2);
    if (status >= 0) {
        return status;
    }
    if (only_catalog) {
        printf("%s", ab_payments_catalog);
        return 0;
    }
    if (users == 0 || users > 100000000) {
        fprintf(stderr, "anabranch-bench generate: --users must be 1 .. 100000000\n");
        return 2;
    }
    payments.users_count = (uint32_t)users;
    return rows_write(&payments, rows) ? 0 : 1;
}
