/* anabranch.h: the public C client of Anabranch.
 *
 * Producing: open a client, open a producer for a stream, append typed rows; the library hashes each row to its
 * partition, gathers blocks by size and time, numbers them, sends them over ZeroMQ with CURVE, retries, and reports one
 * of three outcomes: done, definitely not done, unknown (sending the same again is safe and happens by itself until the
 * deadline). Querying: one SQL text, one answer with its token.
 *
 * Threads: a client and what was opened from it belong to one thread at a time.
 * Memory: a producer holds at most `memory_bytes` of rows, and one block; anabranch_append waits for acknowledgements
 * when it is reached. While nobody is connected up to 32 messages wait in its socket besides.
 * Errors: 0 is success; others are explained by anabranch_error_text and, per client, by anabranch_last_error.
 */
#ifndef ANABRANCH_COMMON_CLIENT_ANABRANCH_H
#define ANABRANCH_COMMON_CLIENT_ANABRANCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ANABRANCH_API __attribute__((visibility("default")))

/* How a call ended: what matters to a program. */
enum anabranch_result {
    ANABRANCH_OK = 0,
    ANABRANCH_DEFINITELY_NOT = 1, /* nothing of it happened; the text says why */
    ANABRANCH_UNKNOWN = 2,        /* it may or may not have happened; sending the same sequence again is safe */
    ANABRANCH_TIMEOUT = 3,        /* no answer in time to something that changes nothing (a query) */
    ANABRANCH_USAGE = 4,          /* the call is wrong */
    ANABRANCH_END = 5,            /* no more rows */
};

/* Types of columns; numbers as on the wire. */
enum anabranch_type {
    ANABRANCH_BOOLEAN = 1,
    ANABRANCH_BIGINT = 2,
    ANABRANCH_DOUBLE = 3,
    ANABRANCH_DECIMAL = 4,
    ANABRANCH_TEXT = 5,
    ANABRANCH_TIMESTAMP = 6,
};

struct anabranch_client;
struct anabranch_producer;
struct anabranch_answer;

/* One serving node of several. */
struct anabranch_serving {
    const char *address;
    const char *server_key;
};

struct anabranch_options {
    const char *data_directory; /* of a node on this machine: address and keys are found there; or NULL and: */
    const char *address;        /* "tcp://host:port" of a serving node */
    const char *server_key;     /* its public key, 64 hexadecimal digits */
    const char *key_file;       /* this program's key file (a producer, query or operator key) */
    /* instead of address and server_key: several serving nodes, of which one has to answer; others of the cluster are
     * learnt from it */
    const struct anabranch_serving *servings;
    size_t servings_count;
    int timeout_ms; /* for each call; 0 = 30,000 */
};

/* Opens a client and fetches the catalog; a serving node that is being started again is waited for until the timeout.
 * On failure *client is still set, so that anabranch_last_error works; close it. */
ANABRANCH_API enum anabranch_result anabranch_open(
    const struct anabranch_options *options, struct anabranch_client **client);

/* Closes; NULL is legal. Producers and answers must be closed before. */
ANABRANCH_API void anabranch_close(struct anabranch_client *client);

/* What the last failed call of this client said, for a person; borrowed until the next call. */
ANABRANCH_API const char *anabranch_last_error(const struct anabranch_client *client);

/* ---- producing ---- */

struct anabranch_producer_options {
    const char *stream;
    const char
        *source; /* name of a replayable source, or NULL: then rows are idempotent only within this producer's life */
    uint32_t block_rows; /* rows a block at most; 0 = 8192 */
    uint32_t linger_ms;  /* oldest row of an unsent block waits at most this long; 0 = 100 */
    size_t memory_bytes; /* rows not yet acknowledged, a quarter of it for those not yet in a block; 0 = 64 MiB */
    int deadline_ms;     /* a block that is not acknowledged by then has the outcome UNKNOWN; 0 = 120,000 */
};

/* What became of the rows so far. */
struct anabranch_counts {
    uint64_t appended;   /* rows given to anabranch_append* */
    uint64_t accepted;   /* acknowledged, durable */
    uint64_t duplicates; /* rows that had been counted before */
    uint64_t rejected;   /* dead letters, durable with their reasons */
    uint64_t unknown;    /* rows of blocks whose outcome is unknown */
    uint64_t refused;    /* rows of blocks that were definitely not written */
    uint64_t bytes;      /* encoded bytes acknowledged */
};

/* A row whose rejection the server reported: at most 100 a block are named. position is the source position, or the
 * row's number since opening. */
typedef void (*anabranch_on_rejected_fn)(uint64_t position, const char *reason, void *context);

/* Opens a producer: a new producer id; with a source, also asks where each partition stands in it. */
ANABRANCH_API enum anabranch_result anabranch_producer_open(struct anabranch_client *client,
    const struct anabranch_producer_options *options, struct anabranch_producer **producer);

/* Sends what is gathered, waits for all outcomes and closes. ANABRANCH_OK only if every block is done. */
ANABRANCH_API enum anabranch_result anabranch_producer_close(struct anabranch_producer *producer);

/* Columns of the stream, in declared order; name borrowed from the client. NULL past the end. */
ANABRANCH_API const char *anabranch_producer_column(const struct anabranch_producer *producer, uint32_t column,
    enum anabranch_type *type, uint8_t *precision, uint8_t *scale);

/* Set one column of the row being built; columns not set are NULL. Text is copied. set_parsed reads the text form of
 * the column's type and returns ANABRANCH_DEFINITELY_NOT when it does not fit (the reason in anabranch_last_error). */
ANABRANCH_API void anabranch_set_null(struct anabranch_producer *producer, uint32_t column);
ANABRANCH_API enum anabranch_result anabranch_set_boolean(
    struct anabranch_producer *producer, uint32_t column, bool value);
ANABRANCH_API enum anabranch_result anabranch_set_bigint(
    struct anabranch_producer *producer, uint32_t column, int64_t value);
ANABRANCH_API enum anabranch_result anabranch_set_double(
    struct anabranch_producer *producer, uint32_t column, double value);
ANABRANCH_API enum anabranch_result anabranch_set_timestamp(
    struct anabranch_producer *producer, uint32_t column, int64_t microseconds);
ANABRANCH_API enum anabranch_result anabranch_set_text(
    struct anabranch_producer *producer, uint32_t column, const char *text, size_t bytes);
ANABRANCH_API enum anabranch_result anabranch_set_parsed(
    struct anabranch_producer *producer, uint32_t column, const char *text, size_t bytes);

/* Appends the row that was set and starts a new one. With a source, `position` is its place there (rising, from 1;
 * ANABRANCH_USAGE otherwise), else 0. A row whose position its partition has already counted is dropped here and
 * counted as a duplicate. Waits while the memory bound is reached. A row without its partition key, or of more than
 * 4 MiB, becomes a raw row with that reason. Once a block has failed every later row is refused
 * (ANABRANCH_DEFINITELY_NOT), while blocks on their way to other partitions go on. */
ANABRANCH_API enum anabranch_result anabranch_append(struct anabranch_producer *producer, uint64_t position);

/* Appends a row that could not be typed or routed: it becomes a dead letter with this reason (at most 1 KiB). At most
 * 64 KiB of the text are kept, and what is not UTF-8 in either is replaced by U+FFFD. Drops the row being set. */
ANABRANCH_API enum anabranch_result anabranch_append_raw(
    struct anabranch_producer *producer, uint64_t position, const char *text, size_t bytes, const char *reason);

/* Tells the producer how far the source has been read: decompressed bytes up to the end of the row appended last, and a
 * function that gives the hash of that prefix (16 bytes) when a block is sealed. */
typedef void (*anabranch_prefix_hash_fn)(void *context, uint8_t hash[16]);
ANABRANCH_API void anabranch_source_progress(
    struct anabranch_producer *producer, uint64_t byte_offset, anabranch_prefix_hash_fn prefix_hash, void *context);

/* What the partitions know of the source: for checking that a prefix has not changed. Returns false past the last. */
struct anabranch_source_mark {
    uint32_t partition;
    uint64_t last_position;
    uint64_t byte_offset;
    uint8_t prefix_hash[16];
};
ANABRANCH_API bool anabranch_source_mark_at(
    const struct anabranch_producer *producer, size_t index, struct anabranch_source_mark *mark);

/* Sends blocks whose time has come and takes in answers, without waiting. Append does so too; call it when idle. */
ANABRANCH_API enum anabranch_result anabranch_poll(struct anabranch_producer *producer);

/* Sends everything and waits until every row has an outcome. */
ANABRANCH_API enum anabranch_result anabranch_flush(struct anabranch_producer *producer);

/* Counts so far; and who is told of rejected rows. */
ANABRANCH_API void anabranch_producer_counts(
    const struct anabranch_producer *producer, struct anabranch_counts *counts);
ANABRANCH_API void anabranch_on_rejected(
    struct anabranch_producer *producer, anabranch_on_rejected_fn on_rejected, void *context);

/* ---- querying ---- */

/* Asks; on ANABRANCH_OK the answer is the caller's to free. It includes every row that was acknowledged to this client,
 * or included in an answer to it, before: whichever nodes answer, a client never goes back in time (rows whose loss an
 * operator has accepted make its queries time out: open a new one). A serving node that is slow or gone is not waited
 * for when there are others. */
ANABRANCH_API enum anabranch_result anabranch_query(
    struct anabranch_client *client, const char *sql, struct anabranch_answer **answer);
ANABRANCH_API void anabranch_answer_free(struct anabranch_answer *answer);

/* Shape, names (borrowed from the answer; NULL past the end) and types of an answer. */
ANABRANCH_API uint32_t anabranch_answer_rows(const struct anabranch_answer *answer);
ANABRANCH_API uint32_t anabranch_answer_columns(const struct anabranch_answer *answer);
ANABRANCH_API const char *anabranch_answer_name(const struct anabranch_answer *answer, uint32_t column);
ANABRANCH_API enum anabranch_type anabranch_answer_type(
    const struct anabranch_answer *answer, uint32_t column, uint8_t *precision, uint8_t *scale);

/* One value: true when NULL (or outside of the answer); its number (BOOLEAN 0/1, BIGINT, TIMESTAMP, the whole part of a
 * DECIMAL, held at the ends of int64; DOUBLE as double); and its text form as the command prints it, borrowed until the
 * next call on this answer. */
ANABRANCH_API bool anabranch_answer_is_null(const struct anabranch_answer *answer, uint32_t row, uint32_t column);
ANABRANCH_API int64_t anabranch_answer_bigint(const struct anabranch_answer *answer, uint32_t row, uint32_t column);
ANABRANCH_API double anabranch_answer_double(const struct anabranch_answer *answer, uint32_t row, uint32_t column);
ANABRANCH_API const char *anabranch_answer_text(
    struct anabranch_answer *answer, uint32_t row, uint32_t column, size_t *bytes);

/* What the answer says of itself. */
struct anabranch_token {
    uint64_t cut;        /* the version's cut; 0 = no version yet: speed only */
    const char *version; /* borrowed from the answer */
    int64_t as_of_us;
    int64_t horizon_us;
    bool is_complete;
};
ANABRANCH_API void anabranch_answer_token(const struct anabranch_answer *answer, struct anabranch_token *token);
ANABRANCH_API size_t anabranch_answer_warnings(const struct anabranch_answer *answer);
ANABRANCH_API const char *anabranch_answer_warning(const struct anabranch_answer *answer, size_t index);

/* Text of a result code; a static string. */
ANABRANCH_API const char *anabranch_result_text(enum anabranch_result result);

#ifdef __cplusplus
}
#endif

#endif
