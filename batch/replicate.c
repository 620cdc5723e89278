#include "batch/replicate.h"

#include "batch/exchange.h"
#include "batch/history_spans.h"
#include "common/base/logging.h"

#include <inttypes.h>
#include <stdlib.h>

#define PASSES 2

/* ---- what everybody has ---- */

/* Collective: what all ranks say, to all, in order of rank. */
static void gather_for_all(struct ab_bytes own, struct ab_buffer *all)
{
    ab_exchange_gather(own, all);
    ab_exchange_broadcast(all);
}

/* What each place has of each unit. */
struct looks {
    uint64_t *items; /* owned; [place * units + unit] */
};

static ab_err looks_take(const struct ab_replicate *replicate, struct looks *looks, struct ab_error *error)
{
    const struct ab_places *places = replicate->places;
    uint32_t rank = ab_exchange_rank();
    struct ab_buffer own = {0};
    struct ab_buffer all = {0};
    for (uint32_t u = 0; ab_places_is_carrier(places, rank) && u < replicate->units_count; u++) {
        ab_buffer_put_u64(&own, ab_copy_look(replicate->directory, &replicate->units[u], replicate->is_deep));
    }
    gather_for_all(ab_buffer_view(&own), &all);
    struct ab_reader reader = ab_reader_of(ab_buffer_view(&all));
    for (uint32_t r = 0; r < places->ranks_count; r++) {
        for (uint32_t u = 0; ab_places_is_carrier(places, r) && u < replicate->units_count; u++) {
            looks->items[(size_t)ab_places_of_rank(places, r) * replicate->units_count + u] = ab_reader_u64(&reader);
        }
    }
    ab_err err = ab_reader_finish(&reader);
    ab_buffer_fini(&all);
    ab_buffer_fini(&own);
    return err == AB_OK ? AB_OK : ab_error_set(error, AB_INVALID, "what nodes have was told in part only");
}

static uint64_t look_at(const struct ab_replicate *replicate, const struct looks *looks, uint32_t place, uint32_t unit)
{
    return looks->items[(size_t)place * replicate->units_count + unit];
}

static uint32_t source_of(const struct ab_replicate *replicate, const struct looks *looks, uint32_t unit)
{
    if (replicate->sources[unit] != AB_PLACES_NONE) {
        return replicate->sources[unit];
    }
    for (uint32_t i = 0; i < replicate->places->count; i++) {
        if (look_at(replicate, looks, i, unit) != 0) {
            return i;
        }
    }
    return AB_PLACES_NONE;
}

/* True when a place is to get a unit. */
static bool lacks(const struct ab_replicate *replicate, const struct looks *looks, uint32_t place, uint32_t unit)
{
    uint32_t source = source_of(replicate, looks, unit);
    uint64_t there = source == AB_PLACES_NONE ? 0 : look_at(replicate, looks, source, unit);
    return there != 0 && place != source && look_at(replicate, looks, place, unit) != there;
}

/* ---- rounds ---- */

struct rounds {
    const struct ab_replicate *replicate;
    const struct looks *looks;
    uint32_t ranks_count;
    struct ab_buffer *send;              /* owned; per rank */
    struct ab_buffer *receive;           /* owned; per rank */
    struct ab_copy_receiver **receivers; /* owned; per rank */
    uint32_t *order;                     /* owned: what this rank sends */
    struct ab_copy_sender *sender;       /* owned */
    struct ab_buffer frame;
    bool has_more;
    ab_err err; /* this rank's first error: it goes on taking part, with nothing to say */
    struct ab_error *error;
};

static void rounds_open(struct rounds *rounds)
{
    const struct ab_replicate *replicate = rounds->replicate;
    const struct ab_places *places = replicate->places;
    uint32_t own = ab_places_of_rank(places, ab_exchange_rank());
    bool is_carrier = ab_places_is_carrier(places, ab_exchange_rank());
    size_t count = 0;
    rounds->ranks_count = ab_exchange_ranks();
    rounds->send = ab_new_array(struct ab_buffer, rounds->ranks_count);
    rounds->receive = ab_new_array(struct ab_buffer, rounds->ranks_count);
    rounds->receivers = ab_new_array(struct ab_copy_receiver *, rounds->ranks_count);
    rounds->order = ab_new_array(uint32_t, replicate->units_count + 1u);
    for (uint32_t u = 0; is_carrier && u < replicate->units_count; u++) {
        bool is_wanted = false;
        for (uint32_t i = 0; i < places->count && source_of(replicate, rounds->looks, u) == own; i++) {
            is_wanted = is_wanted || lacks(replicate, rounds->looks, i, u);
        }
        rounds->order[count] = u;
        count += is_wanted;
    }
    for (uint32_t r = 0; is_carrier && r < rounds->ranks_count; r++) {
        rounds->receivers[r] =
            ab_copy_receiver_create(replicate->directory, replicate->attempt, replicate->units, replicate->units_count);
    }
    rounds->sender = ab_copy_sender_create(replicate->directory, replicate->units, rounds->order, count);
    rounds->has_more = count > 0;
}

static void rounds_close(struct rounds *rounds)
{
    for (uint32_t r = 0; r < rounds->ranks_count; r++) {
        ab_buffer_fini(&rounds->send[r]);
        ab_buffer_fini(&rounds->receive[r]);
        ab_copy_receiver_destroy(rounds->receivers[r]);
    }
    ab_copy_sender_destroy(rounds->sender);
    ab_buffer_fini(&rounds->frame);
    ab_delete(rounds->send);
    ab_delete(rounds->receive);
    ab_delete(rounds->receivers);
    ab_delete(rounds->order);
}

/* Puts a frame into the buffers of those that lack its unit; the fullest one's bytes. */
static size_t frame_put(struct rounds *rounds, uint32_t unit)
{
    const struct ab_places *places = rounds->replicate->places;
    size_t fullest = 0;
    for (uint32_t i = 0; i < places->count; i++) {
        if (lacks(rounds->replicate, rounds->looks, i, unit)) {
            struct ab_buffer *buffer = &rounds->send[places->items[i].ranks[0]];
            ab_buffer_put_bytes(buffer, ab_buffer_view(&rounds->frame));
            fullest = buffer->bytes > fullest ? buffer->bytes : fullest;
        }
    }
    return fullest;
}

/* Fills the buffers until one is full or nothing is left. */
static ab_err send_fill(struct rounds *rounds)
{
    const struct ab_replicate *replicate = rounds->replicate;
    for (;;) {
        uint32_t unit = 0;
        ab_err err = ab_copy_sender_next(rounds->sender, &rounds->frame, &unit);
        if (err == AB_END) {
            rounds->has_more = false;
            return AB_OK;
        }
        if (err != AB_OK) {
            return ab_error_set(rounds->error, err, "no memory for a piece of a file");
        }
        size_t fullest = frame_put(rounds, unit);
        if (replicate->on_sent != NULL) {
            replicate->on_sent(rounds->frame.bytes, replicate->context);
        }
        if (fullest >= replicate->round_bytes) {
            return AB_OK;
        }
    }
}

static ab_err received_take(struct rounds *rounds)
{
    for (uint32_t r = 0; r < rounds->ranks_count; r++) {
        if (rounds->receive[r].bytes > 0 && rounds->receivers[r] != NULL) {
            AB_TRY(ab_copy_receiver_take(rounds->receivers[r], ab_buffer_view(&rounds->receive[r]), rounds->error));
        }
    }
    return AB_OK;
}

static ab_err rounds_run(const struct ab_replicate *replicate, const struct looks *looks, struct ab_error *error)
{
    struct rounds rounds = {.replicate = replicate, .looks = looks, .error = error};
    uint64_t more = 1;
    rounds_open(&rounds);
    while (more > 0) {
        for (uint32_t r = 0; r < rounds.ranks_count; r++) {
            ab_buffer_clear(&rounds.send[r]);
        }
        if (rounds.err == AB_OK && rounds.has_more) {
            rounds.err = send_fill(&rounds);
        }
        ab_exchange_all_to_all(rounds.send, rounds.receive);
        if (rounds.err == AB_OK) {
            rounds.err = received_take(&rounds);
        }
        more = rounds.err == AB_OK && rounds.has_more;
        ab_exchange_sum(&more, 1);
    }
    rounds_close(&rounds);
    return ab_exchange_agree(rounds.err);
}

/* ---- the whole ---- */

static uint64_t lacking_count(const struct ab_replicate *replicate, const struct looks *looks)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < replicate->places->count; i++) {
        for (uint32_t u = 0; u < replicate->units_count; u++) {
            count += lacks(replicate, looks, i, u);
        }
    }
    return count;
}

static void holds_note(const struct ab_replicate *replicate, const struct looks *looks, bool *holds)
{
    for (uint32_t i = 0; i < replicate->places->count; i++) {
        for (uint32_t u = 0; u < replicate->units_count && holds[i]; u++) {
            bool is_nowhere = source_of(replicate, looks, u) == AB_PLACES_NONE; /* then nobody can be behind */
            holds[i] = is_nowhere || (look_at(replicate, looks, i, u) != 0 && !lacks(replicate, looks, i, u));
        }
    }
}

ab_err ab_replicate_run(const struct ab_replicate *replicate, bool *holds, struct ab_error *error)
{
    if (replicate->places->count == 0) {
        return AB_OK;
    }
    struct looks looks = {
        .items = ab_new_array(uint64_t, (size_t)replicate->places->count * replicate->units_count + 1)};
    ab_err err = ab_exchange_agree(looks_take(replicate, &looks, error));
    uint64_t lacking = err == AB_OK ? lacking_count(replicate, &looks) : 0;
    for (int pass = 0; pass < PASSES && lacking > 0 && err == AB_OK; pass++) {
        err = rounds_run(replicate, &looks, error);
        if (err == AB_OK) {
            err = ab_exchange_agree(looks_take(replicate, &looks, error));
        }
        uint64_t left = err == AB_OK ? lacking_count(replicate, &looks) : 0;
        if (err == AB_OK && ab_exchange_rank() == 0) {
            ab_info("copied between nodes", "%" PRIu64 " of %" PRIu64, lacking - left, lacking);
        }
        lacking = left;
    }
    if (err == AB_OK) {
        holds_note(replicate, &looks, holds);
    }
    ab_delete(looks.items);
    return err;
}

/* ---- spans that anybody has ---- */

static int unit_order(const void *a, const void *b)
{
    const struct ab_copy_unit *x = a;
    const struct ab_copy_unit *y = b;
    if (x->partition != y->partition) {
        return x->partition < y->partition ? -1 : 1;
    }
    return (x->span > y->span) - (x->span < y->span);
}

static ab_err own_spans_put(const struct ab_places *places, const char *directory, uint64_t span_max,
    struct ab_buffer *own, struct ab_error *error)
{
    for (uint32_t p = 0; p < places->partitions_count; p++) {
        uint64_t *numbers = NULL;
        size_t count = 0;
        AB_TRY(ab_history_spans_list(directory, p, span_max, &numbers, &count, error));
        for (size_t i = 0; i < count; i++) {
            ab_buffer_put_u32(own, p);
            ab_buffer_put_u64(own, numbers[i]);
        }
        ab_delete(numbers);
    }
    return AB_OK;
}

static void spans_take(struct ab_bytes all, struct ab_copy_unit **units, uint32_t *count)
{
    struct ab_reader reader = ab_reader_of(all);
    struct ab_copy_unit *made = ab_new_array(struct ab_copy_unit, all.bytes / 12 + 1);
    size_t read = 0;
    while (ab_reader_left(&reader) >= 12) {
        made[read].partition = ab_reader_u32(&reader);
        made[read++].span = ab_reader_u64(&reader);
    }
    qsort(made, read, sizeof made[0], unit_order);
    uint32_t kept = 0;
    for (size_t i = 0; i < read; i++) {
        if (kept == 0 || unit_order(&made[kept - 1], &made[i]) != 0) {
            made[kept++] = made[i];
        }
    }
    *units = made;
    *count = kept;
}

ab_err ab_replicate_spans(const struct ab_places *places, const char *directory, uint64_t span_max,
    struct ab_copy_unit **units, uint32_t *count, struct ab_error *error)
{
    struct ab_buffer own = {0};
    struct ab_buffer all = {0};
    ab_err err = AB_OK;
    if (ab_places_is_carrier(places, ab_exchange_rank())) {
        err = own_spans_put(places, directory, span_max, &own, error);
    }
    err = ab_exchange_agree(err);
    if (err == AB_OK) {
        gather_for_all(ab_buffer_view(&own), &all);
        spans_take(ab_buffer_view(&all), units, count);
    }
    ab_buffer_fini(&all);
    ab_buffer_fini(&own);
    return err;
}
