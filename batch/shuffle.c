#include "batch/shuffle.h"

#include "batch/exchange.h"
#include "batch/run_file.h"
#include "common/aggregate/group_key.h"

#include <inttypes.h>

char *ab_shuffle_run_path(const struct ab_shuffle *shuffle, uint32_t from)
{
    return ab_new_format("%s/arrived-%" PRIu32 "-%" PRIu32 "-at-%" PRIu32 "-from-%" PRIu32 ".run", shuffle->work,
        shuffle->plan->attempt, shuffle->plan->views[shuffle->view].view->uid, ab_exchange_rank(), from);
}

/* The two sides of the rounds. */
struct rounds {
    const struct ab_shuffle *shuffle;
    struct ab_sort *own;
    uint32_t ranks_count;
    struct ab_buffer *send;         /* owned; per rank */
    struct ab_buffer *receive;      /* owned; per rank */
    struct ab_run_writer **writers; /* owned; per rank */
    bool has_more;                  /* own groups */
    ab_err err;                     /* this rank's first error: it goes on taking part, with nothing to say */
    struct ab_error *error;
};

static void rounds_open(struct rounds *rounds)
{
    rounds->send = ab_new_array(struct ab_buffer, rounds->ranks_count);
    rounds->receive = ab_new_array(struct ab_buffer, rounds->ranks_count);
    rounds->writers = ab_new_array(struct ab_run_writer *, rounds->ranks_count);
    rounds->has_more = true;
    for (uint32_t r = 0; r < rounds->ranks_count && rounds->err == AB_OK; r++) {
        char *path = ab_shuffle_run_path(rounds->shuffle, r);
        rounds->err = ab_run_writer_create(path, &rounds->writers[r], rounds->error);
        ab_delete(path);
    }
}

static void rounds_close(struct rounds *rounds)
{
    struct ab_run_summary none = {0};
    for (uint32_t r = 0; r < rounds->ranks_count; r++) {
        if (rounds->err == AB_OK) {
            rounds->err = ab_run_writer_finish(rounds->writers[r], &none, rounds->error);
        } else {
            ab_run_writer_abandon(rounds->writers[r]);
        }
        ab_buffer_fini(&rounds->send[r]);
        ab_buffer_fini(&rounds->receive[r]);
    }
    ab_delete(rounds->send);
    ab_delete(rounds->receive);
    ab_delete(rounds->writers);
}

/* Fills the buffers until one is full or nothing is left. */
static ab_err send_fill(struct rounds *rounds)
{
    struct ab_bytes key;
    struct ab_bytes row;
    for (uint32_t r = 0; r < rounds->ranks_count; r++) {
        ab_buffer_clear(&rounds->send[r]);
    }
    for (;;) {
        ab_err err = ab_sort_next(rounds->own, &key, &row, rounds->error);
        if (err == AB_END) {
            rounds->has_more = false;
            return AB_OK;
        }
        AB_TRY(err);
        uint32_t shard = ab_group_key_shard(key, rounds->shuffle->plan->partitions_count);
        struct ab_buffer *buffer = &rounds->send[rounds->shuffle->owners[shard]];
        ab_shuffle_put(buffer, key, row);
        if (buffer->bytes >= rounds->shuffle->round_bytes) {
            return AB_OK;
        }
    }
}

static ab_err received_write(struct rounds *rounds)
{
    for (uint32_t r = 0; r < rounds->ranks_count; r++) {
        struct ab_reader reader = ab_reader_of(ab_buffer_view(&rounds->receive[r]));
        struct ab_bytes key;
        struct ab_bytes row;
        ab_err err = ab_shuffle_take(&reader, &key, &row);
        while (err == AB_OK) {
            AB_TRY(ab_run_writer_add(rounds->writers[r], key, row, rounds->error));
            err = ab_shuffle_take(&reader, &key, &row);
        }
        if (err != AB_END) {
            return ab_error_set(rounds->error, err, "what rank %" PRIu32 " sent is malformed", r);
        }
    }
    return AB_OK;
}

ab_err ab_shuffle_run(const struct ab_shuffle *shuffle, struct ab_sort *own, struct ab_error *error)
{
    struct rounds rounds = {.shuffle = shuffle, .own = own, .ranks_count = ab_exchange_ranks(), .error = error};
    uint64_t more = 1;
    rounds_open(&rounds);
    while (more > 0) {
        if (rounds.err == AB_OK && rounds.has_more) {
            rounds.err = send_fill(&rounds);
        } else {
            for (uint32_t r = 0; r < rounds.ranks_count; r++) {
                ab_buffer_clear(&rounds.send[r]);
            }
        }
        ab_exchange_all_to_all(rounds.send, rounds.receive);
        if (rounds.err == AB_OK) {
            rounds.err = received_write(&rounds);
        }
        more = rounds.err == AB_OK && rounds.has_more;
        ab_exchange_sum(&more, 1);
    }
    rounds_close(&rounds);
    return ab_exchange_agree(rounds.err);
}
