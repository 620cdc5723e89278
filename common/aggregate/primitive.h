/* primitive: the monoids that every measure is made of: one const table of functions.
 *
 * Each is commutative and associative with `init` as identity, and encodes canonically: equal states, equal bytes (I5).
 * Payloads:
 *
 *   COUNT             u64, little-endian, no zero bytes at the top (0 = empty). Counts rows, or rows where the argument
 * is not NULL. SUM_INTEGER       BIGINT and DECIMAL units: 192-bit two's complement, little-endian, shortest form (0 =
 * empty). 2^64 values of 38 digits fit, so no order of adding overflows; `finish` reports what does not fit the result.
 *   SQUARES_INTEGER   320 bits unsigned, little-endian, no zero bytes at the top.
 *   SUM_DOUBLE        exact: u8 flags (1 NaN, 2 +infinity, 4 -infinity seen; 8 finite part negative), then, unless the
 * finite part is zero: zigzag varint exponent of the lowest set bit, odd magnitude little-endian without zero bytes at
 * the top. The finite part is kept beside the flags. NaN, or infinities of both signs: the result is NaN. -0 counts as
 * +0. SQUARES_DOUBLE    the same form for the exact sum of squares (2: an infinity was squared). MIN, MAX          u8
 * type kind, then the value in order-preserving bytes (cell.h); empty = no value. NaN sorts above all numbers, as in
 *                     PostgreSQL, -0 is +0, text is compared bytewise.
 *   FIRST, LAST       event time i64, partition u32, offset u64, row i64 (big-endian, order preserving), then as MIN;
 * the least or greatest of these bytes wins, so ties in time are broken by position in the log; empty = no value.
 *   PRODUCTS_INTEGER  320 bits two's complement as SUM_INTEGER; PRODUCTS_DOUBLE as SUM_DOUBLE, of twice the exponents.
 *   CUBES_INTEGER     448 bits as SUM_INTEGER; FOURTHS_INTEGER 576 bits as SQUARES_INTEGER; CUBES_DOUBLE and
 *                     FOURTHS_DOUBLE as SUM_DOUBLE, over powers rounded as primitive_power.c says.
 *   MIN_BY, MAX_BY    head: u8 type kind of the value, u8 of the key; identity as FIRST (28 bytes), key, value, each
 *                     as cell.h ends it; empty = no value. Ties go to the least identity.
 *   FIRST_K, LAST_K,  head: u8 type kind, varint k; then at most k entries, best first: identity (28 bytes, FIRST_K
 *   SMALLEST, LARGEST and LAST_K alone), value; empty = no value.
 *   BIT_AND, _OR, _XOR  8 bytes, little-endian; empty = no value.
 *   HISTOGRAM         head: u8 number of bounds, u64 hash of them; then a varint count for each bin; empty = no value.
 *   DISTINCT          u8 1, then at most AB_DISTINCT_EXACT_MAX rising u64 hashes (exact); or u8 2 and 16,384 registers
 * of 6 bits, little-endian bit order (HyperLogLog, p = 14); which of them depends on the set of values alone; empty =
 * no value. Hash: XXH3-64 (AB_HASH_SKETCH) of the value's key encoding (common/block/key.h), 0 taken as 1.
 *
 * A primitive reads one or more columns and may have constant parameters (a k, bounds of bins): they are part of its
 * identity. What of them the merge of encoded states needs stands at the front of the payload, its head, so that
 * payloads merge without a catalog; payloads of different heads never merge. A state without values is empty whatever
 * the parameters.
 *
 * Threads: states belong to their table's thread. Memory: what a state keeps elsewhere is charged, past the limit, to
 * the context's budget.
 */
#ifndef ANABRANCH_COMMON_AGGREGATE_PRIMITIVE_H
#define ANABRANCH_COMMON_AGGREGATE_PRIMITIVE_H

#include "common/base/buffer.h"
#include "common/block/column.h"

#define AB_DISTINCT_EXACT_MAX 512
#define AB_DISTINCT_REGISTERS 16384
/* Bytes before the value in FIRST and LAST. */
#define AB_IDENTITY_BYTES 28

/* Words of the largest state of a primitive that does not select: what merging without a catalog makes room for. */
#define AB_PRIMITIVE_STATE_WORDS_MAX 9

/* Numbers are part of the format; 40 to 79 are of sketches. */
enum ab_primitive_kind {
    AB_PRIMITIVE_COUNT = 1,
    AB_PRIMITIVE_SUM_INTEGER = 2,
    AB_PRIMITIVE_SUM_DOUBLE = 3,
    AB_PRIMITIVE_SQUARES_INTEGER = 4,
    AB_PRIMITIVE_SQUARES_DOUBLE = 5,
    AB_PRIMITIVE_MIN = 6,
    AB_PRIMITIVE_MAX = 7,
    AB_PRIMITIVE_FIRST = 8,
    AB_PRIMITIVE_LAST = 9,
    AB_PRIMITIVE_DISTINCT = 10,
    AB_PRIMITIVE_PRODUCTS_INTEGER = 11,
    AB_PRIMITIVE_PRODUCTS_DOUBLE = 12,
    AB_PRIMITIVE_CUBES_INTEGER = 13,
    AB_PRIMITIVE_CUBES_DOUBLE = 14,
    AB_PRIMITIVE_FOURTHS_INTEGER = 15,
    AB_PRIMITIVE_FOURTHS_DOUBLE = 16,
    AB_PRIMITIVE_MIN_BY = 17,
    AB_PRIMITIVE_MAX_BY = 18,
    AB_PRIMITIVE_FIRST_K = 19,
    AB_PRIMITIVE_LAST_K = 20,
    AB_PRIMITIVE_SMALLEST = 21,
    AB_PRIMITIVE_LARGEST = 22,
    AB_PRIMITIVE_BIT_AND = 23,
    AB_PRIMITIVE_BIT_OR = 24,
    AB_PRIMITIVE_BIT_XOR = 25,
    AB_PRIMITIVE_HISTOGRAM = 26,
    /* Sketches: each is described in its own header, primitive_<name>.h. */
    AB_PRIMITIVE_QUANTILES = 40,
    AB_PRIMITIVE_TOP_K = 41,
    AB_PRIMITIVE_THETA = 42,
    AB_PRIMITIVE_BLOOM = 43,
    AB_PRIMITIVE_SAMPLE = 44,
    AB_PRIMITIVE_DECAYED_SUM = 45,
    AB_PRIMITIVE_DECAYED_COUNT = 46,
};

/* What the states of one primitive in one table share. */
struct ab_primitive_context {
    enum ab_primitive_kind kind;
    struct ab_type type;               /* of the first column; kind 0 for count(*) and where there is no catalog */
    const struct ab_type *types;       /* borrowed from the plan; of all columns; NULL where there is no catalog */
    const struct ab_value *parameters; /* borrowed from the view; NULL = none or no catalog: absorb learns them */
    uint32_t parameters_count;
    struct ab_memory *memory; /* borrowed; may be NULL */
    bool has_base;            /* exact doubles: a base was chosen from the first data */
    int32_t base;             /* exponent of bit 0 of the state's integer; never encoded */
};

/* Who a row is: for first and last. */
struct ab_primitive_identity {
    const int64_t *times; /* event time by row; NULL = none is known: INT64_MIN */
    uint32_t partition;
    uint64_t offset;         /* when offsets is NULL */
    const int64_t *offsets;  /* by row, or NULL */
    const int64_t *ordinals; /* by row, or NULL: the row number itself */
};

/* Rows to add to states: row rows[i] of the columns belongs to states + stride * groups[i]. No listed row is NULL in
 * any of the columns. */
struct ab_primitive_batch {
    uint8_t *states;
    size_t stride;
    const uint32_t *groups;
    const uint32_t *rows;
    size_t count;
    const struct ab_column *column;               /* the first; NULL for count(*) */
    const struct ab_column *const *columns;       /* all of them; may be NULL when there is one */
    const uint64_t *hashes;                       /* needs_hashes: of the first, by row, or by code for TEXT */
    const struct ab_primitive_identity *identity; /* needs_identity */
};

struct ab_primitive_ops {
    const char *name;
    /* Bytes of a state in place, a multiple of 8; all its fields are 8-byte aligned. Zeroed bytes are the identity. */
    size_t (*state_bytes)(struct ab_type type);
    void (*update)(struct ab_primitive_context *context, const struct ab_primitive_batch *batch);
    /* state += other, whose context may have another base. */
    void (*merge)(struct ab_primitive_context *context, void *state, const struct ab_primitive_context *other_context,
        const void *other);
    /* Appends the payload. */
    void (*encode)(const struct ab_primitive_context *context, const void *state, struct ab_buffer *out);
    /* AB_OK when a payload is well formed and canonical; *type_kind is set to the value's type kind, 0 when it has
     * none. */
    ab_err (*validate)(struct ab_bytes payload, uint8_t *type_kind);
    /* state += a payload that validate accepted. */
    void (*absorb)(struct ab_primitive_context *context, void *state, struct ab_bytes payload);
    /* Frees what the state keeps elsewhere; NULL = nothing. The state is then the identity. */
    void (*release)(struct ab_primitive_context *context, void *state);
    /* Bytes of a payload that validate accepted and is not empty, from its start, that tell its types and parameters;
     * no head is the start of another. NULL = there is no head. */
    size_t (*head_bytes)(struct ab_bytes payload);
    /* Appends the head of all payloads under a context that comes from a plan; set when head_bytes is. */
    void (*head_put)(const struct ab_primitive_context *context, struct ab_buffer *out);
    /* Appends what a validated payload amounts to, for a person. */
    void (*print)(struct ab_bytes payload, struct ab_buffer *out);
    bool needs_identity; /* update reads batch->identity */
    bool needs_hashes;   /* update reads batch->hashes */
    /* > 0: among payloads of one type the greatest bytes win, < 0: the least; 0: payloads merge through states. */
    int selects;
};

/* The functions of a kind; NULL for an unknown number. */
const struct ab_primitive_ops *ab_primitive_ops_of(uint8_t kind);

/* The value held by a MIN, MAX, FIRST, LAST, MIN_BY or MAX_BY state, text borrowed from it; false when there is none.
 */
union ab_cell;
bool ab_primitive_cell(const struct ab_primitive_context *context, const void *state, union ab_cell *cell);

/* From the files that implement kinds; registered in primitive.c. */
bool ab_primitive_extreme_cell(const struct ab_primitive_context *context, const void *state, union ab_cell *cell);
bool ab_primitive_identity_cell(const void *state, union ab_cell *cell);
extern const struct ab_primitive_ops ab_primitive_count;
extern const struct ab_primitive_ops ab_primitive_sum_integer;
extern const struct ab_primitive_ops ab_primitive_squares_integer;
extern const struct ab_primitive_ops ab_primitive_sum_double;
extern const struct ab_primitive_ops ab_primitive_squares_double;
extern const struct ab_primitive_ops ab_primitive_min;
extern const struct ab_primitive_ops ab_primitive_max;
extern const struct ab_primitive_ops ab_primitive_first;
extern const struct ab_primitive_ops ab_primitive_last;
extern const struct ab_primitive_ops ab_primitive_distinct;
extern const struct ab_primitive_ops ab_primitive_products_integer;
extern const struct ab_primitive_ops ab_primitive_products_double;
extern const struct ab_primitive_ops ab_primitive_cubes_integer;
extern const struct ab_primitive_ops ab_primitive_cubes_double;
extern const struct ab_primitive_ops ab_primitive_fourths_integer;
extern const struct ab_primitive_ops ab_primitive_fourths_double;
extern const struct ab_primitive_ops ab_primitive_min_by;
extern const struct ab_primitive_ops ab_primitive_max_by;
extern const struct ab_primitive_ops ab_primitive_first_k;
extern const struct ab_primitive_ops ab_primitive_last_k;
extern const struct ab_primitive_ops ab_primitive_smallest;
extern const struct ab_primitive_ops ab_primitive_largest;
extern const struct ab_primitive_ops ab_primitive_bit_and;
extern const struct ab_primitive_ops ab_primitive_bit_or;
extern const struct ab_primitive_ops ab_primitive_bit_xor;
extern const struct ab_primitive_ops ab_primitive_histogram;
extern const struct ab_primitive_ops ab_primitive_quantiles;
extern const struct ab_primitive_ops ab_primitive_top_k_ops;
extern const struct ab_primitive_ops ab_primitive_theta;
extern const struct ab_primitive_ops ab_primitive_bloom;
extern const struct ab_primitive_ops ab_primitive_sample_ops;
extern const struct ab_primitive_ops ab_primitive_decayed_sum;
extern const struct ab_primitive_ops ab_primitive_decayed_count;

#endif
