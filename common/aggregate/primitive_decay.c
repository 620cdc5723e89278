/* DECAYED_SUM and DECAYED_COUNT: exact sums by half-life, the latest last. */
#include "common/aggregate/primitive_decay.h"

#include "common/aggregate/primitive_exact.h"
#include "common/aggregate/primitive_exact_add.h"
#include "common/aggregate/sketch.h"
#include "common/base/assert.h"

#define CAPACITY_FIRST 2
/* A DOUBLE times less than this power of two is 0. */
#define EXPONENT_LEAST (-2200)

struct decay_bucket {
    int64_t number;
    uint64_t sum[4]; /* a state of SUM_DOUBLE */
};

struct decay_state {
    struct decay_bucket *buckets; /* owned; rising numbers, less than AB_DECAY_BUCKETS_MAX apart */
    ab_time_us latest;
    int64_t half_life; /* 0 = no row yet */
    uint32_t count;
    uint32_t capacity;
};

/* ---- powers of two ---- */

double ab_decay_power(uint64_t part, uint64_t whole)
{
    /* 2^(i / 32). */
    static const double steps[] = {0x1.0000000000000p+0, 0x1.059b0d3158574p+0, 0x1.0b5586cf9890fp+0,
        0x1.11301d0125b51p+0, 0x1.172b83c7d517bp+0, 0x1.1d4873168b9aap+0, 0x1.2387a6e756238p+0, 0x1.29e9df51fdee1p+0,
        0x1.306fe0a31b715p+0, 0x1.371a7373aa9cbp+0, 0x1.3dea64c123422p+0, 0x1.44e086061892dp+0, 0x1.4bfdad5362a27p+0,
        0x1.5342b569d4f82p+0, 0x1.5ab07dd485429p+0, 0x1.6247eb03a5585p+0, 0x1.6a09e667f3bcdp+0, 0x1.71f75e8ec5f74p+0,
        0x1.7a11473eb0187p+0, 0x1.82589994cce13p+0, 0x1.8ace5422aa0dbp+0, 0x1.93737b0cdc5e5p+0, 0x1.9c49182a3f090p+0,
        0x1.a5503b23e255dp+0, 0x1.ae89f995ad3adp+0, 0x1.b7f76f2fb5e47p+0, 0x1.c199bdd85529cp+0, 0x1.cb720dcef9069p+0,
        0x1.d5818dcfba487p+0, 0x1.dfc97337b9b5fp+0, 0x1.ea4afa2a490dap+0, 0x1.f50765b6e4540p+0};
    /* ln(2)^n / n!, the highest first: with g < 1 / 32 the next term is below 2^-60. */
    static const double terms[] = {0x1.ffcbfc588b0c7p-17, 0x1.430912f86c787p-13, 0x1.5d87fe78a6731p-10,
        0x1.3b2ab6fba4e77p-7, 0x1.c6b08d704a0c0p-5, 0x1.ebfbdff82c58fp-3, 0x1.62e42fefa39efp-1};
    uint64_t step = part * 32 / whole;
    uint64_t rest = part * 32 - step * whole;
    double g = (double)rest / ((double)whole * 32.0);
    double sum = 0.0;
    for (size_t i = 0; i < sizeof(terms) / sizeof(terms[0]); i++) {
        sum = (sum + terms[i]) * g;
    }
    double power = steps[step] + steps[step] * sum;
    /* Rounding must not reach 2: the exponent belongs to the caller. */
    return power < 2.0 ? power : 0x1.fffffffffffffp+0;
}

/* ---- buckets ---- */

/* The bucket of a time, k with (k - 1) H < t <= k H. */
static int64_t number_of(ab_time_us time, int64_t half_life)
{
    int64_t quotient = time / half_life;
    return quotient + (time % half_life > 0);
}

/* The context of the sums inside. */
static struct ab_primitive_context sum_context(const struct ab_primitive_context *context)
{
    return (struct ab_primitive_context){.kind = AB_PRIMITIVE_SUM_DOUBLE,
        .type = {.kind = AB_TYPE_DOUBLE},
        .memory = context->memory,
        .has_base = context->has_base,
        .base = context->base};
}

static void base_keep(struct ab_primitive_context *context, const struct ab_primitive_context *sum)
{
    context->has_base = sum->has_base;
    context->base = sum->base;
}

/* Drops the buckets that are too old beside `number`. */
static void buckets_drop(struct ab_primitive_context *sum, struct decay_state *state, int64_t number)
{
    uint32_t old = 0;
    while (old < state->count && (uint64_t)number - (uint64_t)state->buckets[old].number >= AB_DECAY_BUCKETS_MAX) {
        ab_primitive_sum_double.release(sum, state->buckets[old].sum);
        old++;
    }
    if (old > 0) {
        state->count -= old;
        memmove(state->buckets, state->buckets + old, state->count * sizeof(*state->buckets));
    }
}

/* The sum of a bucket, made if it is not there; NULL when the bucket is too old. */
static void *bucket_of(struct ab_primitive_context *sum, struct decay_state *state, int64_t number)
{
    uint32_t at = state->count;
    while (at > 0 && state->buckets[at - 1].number > number) {
        at--;
    }
    if (at > 0 && state->buckets[at - 1].number == number) {
        return state->buckets[at - 1].sum;
    }
    if (state->count > 0 && state->buckets[state->count - 1].number > number &&
        (uint64_t)state->buckets[state->count - 1].number - (uint64_t)number >= AB_DECAY_BUCKETS_MAX) {
        return NULL;
    }
    if (at == state->count) {
        buckets_drop(sum, state, number);
        at = state->count;
    }
    if (state->count == state->capacity) {
        uint32_t capacity = state->capacity == 0 ? CAPACITY_FIRST : state->capacity * 2;
        struct decay_bucket *buckets = ab_memory_alloc_total(sum->memory, capacity * sizeof(*buckets));
        if (state->count > 0) {
            memcpy(buckets, state->buckets, state->count * sizeof(*buckets));
        }
        ab_memory_free(sum->memory, state->buckets, state->capacity * sizeof(*buckets));
        state->buckets = buckets;
        state->capacity = capacity;
    }
    memmove(state->buckets + at + 1, state->buckets + at, (state->count - at) * sizeof(*state->buckets));
    state->buckets[at] = (struct decay_bucket){.number = number};
    state->count++;
    return state->buckets[at].sum;
}

static void latest_raise(struct decay_state *state, ab_time_us time, int64_t half_life)
{
    state->latest = state->half_life == 0 || time > state->latest ? time : state->latest;
    state->half_life = half_life;
}

/* ---- the monoid ---- */

static size_t decay_state_bytes(struct ab_type type)
{
    (void)type;
    return sizeof(struct decay_state);
}

static void row_add(
    struct ab_primitive_context *sum, struct decay_state *state, int64_t half_life, ab_time_us time, double number)
{
    static const uint32_t zero = 0;
    int64_t rest = time % half_life;
    int64_t bucket = time / half_life + (rest > 0);
    latest_raise(state, time, half_life);
    void *into = bucket_of(sum, state, bucket);
    if (into == NULL) {
        return;
    }
    /* Microseconds since the bucket's start, 1 .. H: 2^-((k H - t) / H) is half of 2^(since / H), or 1. */
    int64_t since = rest > 0 ? rest : rest + half_life;
    double weight = since == half_life ? 1.0 : 0.5 * ab_decay_power((uint64_t)since, (uint64_t)half_life);
    double weighted = number * weight;
    struct ab_column column = {.type = {.kind = AB_TYPE_DOUBLE}, .rows_count = 1, .values = &weighted};
    struct ab_primitive_batch one = {.states = into, .groups = &zero, .rows = &zero, .count = 1, .column = &column};
    ab_primitive_sum_double.update(sum, &one);
}

static void decay_update(struct ab_primitive_context *context, const struct ab_primitive_batch *batch)
{
    struct ab_primitive_context sum = sum_context(context);
    int64_t half_life = context->parameters[0].bigint;
    bool is_count = context->kind == AB_PRIMITIVE_DECAYED_COUNT;
    for (size_t i = 0; i < batch->count; i++) {
        uint32_t row = batch->rows[i];
        ab_time_us time = batch->identity->times == NULL ? INT64_MIN : batch->identity->times[row];
        row_add(&sum, (void *)(batch->states + batch->stride * batch->groups[i]), half_life, time,
            is_count ? 1.0 : ab_sketch_number(batch->column, row));
    }
    base_keep(context, &sum);
}

static void decay_merge(struct ab_primitive_context *context, void *state_bytes,
    const struct ab_primitive_context *other_context, const void *other_bytes)
{
    struct decay_state *state = state_bytes;
    const struct decay_state *other = other_bytes;
    struct ab_primitive_context sum = sum_context(context);
    struct ab_primitive_context other_sum = sum_context(other_context);
    if (other->half_life == 0) {
        return;
    }
    latest_raise(state, other->latest, other->half_life);
    for (uint32_t i = other->count; i > 0; i--) {
        void *into = bucket_of(&sum, state, other->buckets[i - 1].number);
        if (into != NULL) {
            ab_primitive_sum_double.merge(&sum, into, &other_sum, other->buckets[i - 1].sum);
        }
    }
    base_keep(context, &sum);
}

static void decay_release(struct ab_primitive_context *context, void *state_bytes)
{
    struct decay_state *state = state_bytes;
    struct ab_primitive_context sum = sum_context(context);
    for (uint32_t i = 0; i < state->count; i++) {
        ab_primitive_sum_double.release(&sum, state->buckets[i].sum);
    }
    ab_memory_free(context->memory, state->buckets, state->capacity * sizeof(*state->buckets));
    memset(state, 0, sizeof(*state));
}

/* ---- payload ---- */

static void decay_encode(const struct ab_primitive_context *context, const void *state_bytes, struct ab_buffer *out)
{
    const struct decay_state *state = state_bytes;
    struct ab_primitive_context sum = sum_context(context);
    struct ab_buffer payload = {0};
    if (state->half_life == 0) {
        return;
    }
    ab_buffer_put_varint(out, (uint64_t)state->half_life);
    ab_buffer_put_varint(out, ab_sketch_zigzag(state->latest));
    for (uint32_t i = state->count; i > 0; i--) {
        bool is_latest = i == state->count;
        ab_buffer_put_varint(out, is_latest ? 0 : (uint64_t)(state->buckets[i].number - state->buckets[i - 1].number));
        ab_buffer_clear(&payload);
        ab_primitive_sum_double.encode(&sum, state->buckets[i - 1].sum, &payload);
        ab_buffer_put_blob(out, ab_buffer_view(&payload));
    }
    ab_buffer_fini(&payload);
}

static ab_err decay_validate(struct ab_bytes payload, uint8_t *type_kind)
{
    *type_kind = 0;
    if (payload.bytes == 0) {
        return AB_OK;
    }
    struct ab_reader reader = ab_reader_of(payload);
    uint64_t half_life = ab_sketch_varint(&reader);
    ab_time_us latest = ab_sketch_unzigzag(ab_sketch_varint(&reader));
    if (reader.has_failed || half_life == 0 || half_life > AB_DECAY_HALF_LIFE_MAX_US) {
        return AB_CORRUPT;
    }
    /* How far before the latest bucket the first of all is. */
    uint64_t age_max =
        (uint64_t)number_of(latest, (int64_t)half_life) - (uint64_t)number_of(INT64_MIN, (int64_t)half_life);
    age_max = age_max < AB_DECAY_BUCKETS_MAX - 1 ? age_max : AB_DECAY_BUCKETS_MAX - 1;
    uint64_t age = 0;
    uint32_t count = 0;
    for (; ab_reader_left(&reader) > 0; count++) {
        uint8_t ignored;
        uint64_t distance = ab_sketch_varint(&reader);
        struct ab_bytes sum = ab_reader_bytes(&reader, (size_t)ab_sketch_varint(&reader));
        if (reader.has_failed || (distance == 0) != (count == 0) || distance > age_max - age) {
            return AB_CORRUPT;
        }
        age += distance;
        AB_TRY(ab_primitive_sum_double.validate(sum, &ignored));
    }
    return count > 0 ? AB_OK : AB_CORRUPT;
}

static void decay_absorb(struct ab_primitive_context *context, void *state_bytes, struct ab_bytes payload)
{
    struct decay_state *state = state_bytes;
    if (payload.bytes == 0) {
        return;
    }
    struct ab_primitive_context sum = sum_context(context);
    struct ab_reader reader = ab_reader_of(payload);
    int64_t half_life = (int64_t)ab_reader_varint(&reader);
    ab_time_us latest = ab_sketch_unzigzag(ab_reader_varint(&reader));
    uint64_t number = (uint64_t)number_of(latest, half_life);
    latest_raise(state, latest, half_life);
    while (ab_reader_left(&reader) > 0) {
        number -= ab_reader_varint(&reader);
        struct ab_bytes bytes = ab_reader_blob(&reader);
        void *into = bucket_of(&sum, state, (int64_t)number);
        if (into != NULL) {
            ab_primitive_sum_double.absorb(&sum, into, bytes);
        }
    }
    base_keep(context, &sum);
}

static size_t decay_head_bytes(struct ab_bytes payload)
{
    size_t bytes = 1;
    while ((payload.data[bytes - 1] & 0x80) != 0) {
        bytes++;
    }
    return bytes;
}

static void decay_head_put(const struct ab_primitive_context *context, struct ab_buffer *out)
{
    ab_buffer_put_varint(out, (uint64_t)context->parameters[0].bigint);
}

static void decay_print(struct ab_bytes payload, struct ab_buffer *out)
{
    struct ab_reader reader = ab_reader_of(payload);
    uint64_t half_life = ab_reader_varint(&reader);
    ab_buffer_put_format(out, "half-life %llu us, %zu bytes", (unsigned long long)half_life, payload.bytes);
}

const struct ab_primitive_ops ab_primitive_decayed_sum = {
    .name = "decayed_sum",
    .state_bytes = decay_state_bytes,
    .update = decay_update,
    .merge = decay_merge,
    .encode = decay_encode,
    .validate = decay_validate,
    .absorb = decay_absorb,
    .release = decay_release,
    .head_bytes = decay_head_bytes,
    .head_put = decay_head_put,
    .print = decay_print,
    .needs_identity = true,
};

const struct ab_primitive_ops ab_primitive_decayed_count = {
    .name = "decayed_count",
    .state_bytes = decay_state_bytes,
    .update = decay_update,
    .merge = decay_merge,
    .encode = decay_encode,
    .validate = decay_validate,
    .absorb = decay_absorb,
    .release = decay_release,
    .head_bytes = decay_head_bytes,
    .head_put = decay_head_put,
    .print = decay_print,
    .needs_identity = true,
};

/* ---- reading ---- */

bool ab_primitive_decay_latest(const void *state_bytes, ab_time_us *latest_us)
{
    const struct decay_state *state = state_bytes;
    *latest_us = state->latest;
    return state->half_life != 0;
}

/* number 2^exponent: steps of exact powers, so that only the last one can round. */
static double scaled(double number, ab_int128 exponent)
{
    if (exponent < EXPONENT_LEAST) {
        return 0.0 * number;
    }
    for (; exponent > 512; exponent -= 512) {
        number *= 0x1p512;
        if (number == 0.0 || __builtin_isinf(number)) {
            return number;
        }
    }
    for (; exponent < -512; exponent += 512) {
        number *= 0x1p-512;
    }
    uint64_t bits = (uint64_t)(exponent + 1023) << 52;
    double power;
    memcpy(&power, &bits, sizeof(power));
    return number * power;
}

/* All buckets at the end of the latest one, exact; returns the flags of special values. */
static uint32_t buckets_sum(
    const struct ab_primitive_context *context, const struct decay_state *state, struct ab_exact *total)
{
    struct ab_primitive_context sum = sum_context(context);
    int64_t last = state->buckets[state->count - 1].number;
    uint32_t flags = 0;
    ab_exact_from_words(total, NULL, 0, 0);
    for (uint32_t i = 0; i < state->count; i++) {
        struct ab_exact exact;
        struct ab_exact before = *total;
        flags |= ab_primitive_exact_value(&sum, state->buckets[i].sum, &exact);
        exact.position -= (int32_t)(last - state->buckets[i].number);
        ab_exact_normalise(&exact);
        ab_exact_add(&before, &exact, total);
    }
    return flags;
}

bool ab_primitive_decay_value(
    const struct ab_primitive_context *context, const void *state_bytes, ab_time_us reference_us, double *value)
{
    const struct decay_state *state = state_bytes;
    struct ab_exact total;
    if (state->half_life == 0) {
        return false;
    }
    if (ab_primitive_exact_special(buckets_sum(context, state, &total), value)) {
        return true;
    }
    /* From the latest bucket's end to the reference: 2^((end - reference) / H), its whole part apart. */
    ab_int128 half_life = state->half_life;
    ab_int128 ahead = state->buckets[state->count - 1].number * half_life - reference_us;
    ab_int128 whole = ahead / half_life;
    ab_int128 part = ahead % half_life;
    whole -= part < 0;
    part += part < 0 ? half_life : 0;
    double power = ab_decay_power((uint64_t)part, (uint64_t)half_life);
    *value = scaled(ab_exact_divide(&total, NULL, 0) * power, whole);
    return true;
}
