#include "speed/install.h"

#include "speed/limits.h"

#define PATIENCE_US (1500 * AB_US_PER_MS)
#define RESTART_US (500 * AB_US_PER_MS)
#define OFFER_IDLE_US (10 * AB_US_PER_SECOND)
#define OFFER_AGE_US_MAX (60 * AB_US_PER_SECOND)

/* ---- the follower's part ---- */

static void forget(struct ab_install *install)
{
    ab_buffer_fini(&install->bytes);
    ab_buffer_init(&install->bytes, install->memory, AB_INSTALL_BYTES_MAX);
    install->hash = (struct ab_hash128){0};
    install->bytes_total = 0;
    install->is_whole = false;
    install->is_waiting = false;
}

void ab_install_begin(struct ab_install *install, uint32_t leader, uint64_t epoch, uint64_t request_first)
{
    forget(install);
    install->is_active = true;
    install->leader = leader;
    install->epoch = epoch;
    install->request = request_first;
    install->ask_us = 0;
}

void ab_install_end(struct ab_install *install)
{
    ab_buffer_fini(&install->bytes);
    *install = (struct ab_install){.memory = install->memory, .restarts_count = install->restarts_count};
}

void ab_install_restart(struct ab_install *install, int64_t now_us)
{
    forget(install);
    install->restarts_count++;
    install->ask_us = now_us + RESTART_US;
}

bool ab_install_ask(struct ab_install *install, int64_t now_us, struct ab_replica_message *message)
{
    if (!install->is_active || install->is_whole || now_us < install->ask_us) {
        return false;
    }
    install->is_waiting = true;
    install->ask_us = now_us + PATIENCE_US;
    *message = (struct ab_replica_message){.kind = AB_REPLICA_INSTALL_ASK,
        .to = install->leader,
        .leader_epoch = install->epoch,
        .request = ++install->request,
        .offset = install->bytes.bytes,
        .bytes_max = AB_INSTALL_PART_BYTES,
        .chain = install->hash};
    return true;
}

/* What was asked for, of the whole that was begun, and not more than that. */
static bool is_fitting(const struct ab_install *install, const struct ab_replica_message *message)
{
    bool is_begun = install->bytes_total > 0;
    bool is_same =
        !is_begun || (message->bytes_total == install->bytes_total && ab_hash128_equal(message->chain, install->hash));
    return is_same && message->offset == install->bytes.bytes && message->records.bytes > 0 &&
           message->bytes_total <= AB_INSTALL_BYTES_MAX && message->offset < message->bytes_total &&
           message->records.bytes <= message->bytes_total - message->offset;
}

void ab_install_on_part(struct ab_install *install, const struct ab_replica_message *message, int64_t now_us)
{
    bool is_expected = install->is_active && install->is_waiting && message->kind == AB_REPLICA_INSTALL_PART &&
                       message->request == install->request && message->from == install->leader &&
                       message->leader_epoch == install->epoch;
    if (!is_expected) {
        return;
    }
    install->is_waiting = false;
    if (message->status == AB_REPLICA_FENCED || message->status == AB_REPLICA_NOT_LEADER ||
        message->status == AB_REPLICA_NOT_LISTED) {
        install->ask_us = now_us + RESTART_US; /* it may just not have heard of its election */
        return;
    }
    if (message->status != AB_REPLICA_OK || !is_fitting(install, message)) {
        ab_install_restart(install, now_us);
        return;
    }
    install->hash = message->chain;
    install->bytes_total = message->bytes_total;
    install->ask_us = now_us;
    ab_buffer_put_bytes(&install->bytes, message->records);
    bool is_there = install->bytes.bytes == install->bytes_total;
    bool is_right =
        !is_there || ab_hash128_equal(ab_hash128(AB_HASH_CONTENT, ab_buffer_view(&install->bytes)), install->hash);
    if (ab_buffer_finish(&install->bytes) != AB_OK || !is_right) {
        ab_install_restart(install, now_us); /* no memory now, or damaged on its way */
        return;
    }
    install->is_whole = is_there;
}

/* ---- the leader's part ---- */

void ab_install_source_fini(struct ab_install_source *source)
{
    ab_buffer_fini(&source->bytes);
    *source = (struct ab_install_source){.memory = source->memory};
}

void ab_install_source_tick(struct ab_install_source *source, int64_t now_us)
{
    if (source->bytes.bytes > 0 && now_us - source->asked_us > OFFER_IDLE_US) {
        ab_install_source_fini(source);
    }
}

static ab_err offer_make(struct ab_install_source *source, int64_t now_us, ab_install_offer_fn on_offer, void *context,
    struct ab_error *error)
{
    ab_install_source_fini(source);
    ab_buffer_init(&source->bytes, source->memory, AB_INSTALL_BYTES_MAX);
    ab_err err = on_offer(context, &source->bytes, error);
    if (err == AB_OK && ab_buffer_finish(&source->bytes) != AB_OK) {
        err = ab_error_set(error, AB_FULL, "no memory for a state to be installed elsewhere");
    }
    if (err != AB_OK) {
        ab_install_source_fini(source);
        return err;
    }
    source->hash = ab_hash128(AB_HASH_CONTENT, ab_buffer_view(&source->bytes));
    source->made_us = now_us;
    return AB_OK;
}

ab_err ab_install_source_answer(struct ab_install_source *source, const struct ab_replica_message *ask, int64_t now_us,
    ab_install_offer_fn on_offer, void *context, struct ab_replica_message *part, struct ab_error *error)
{
    static const struct ab_hash128 none;
    bool is_first = ab_hash128_equal(ask->chain, none);
    bool is_old =
        source->bytes.bytes == 0 || now_us - source->made_us > OFFER_AGE_US_MAX || source->log_start != part->log_start;
    if (is_first && is_old) {
        AB_TRY(offer_make(source, now_us, on_offer, context, error));
        source->log_start = part->log_start;
    }
    bool is_its = source->bytes.bytes > 0 && (is_first || ab_hash128_equal(ask->chain, source->hash)) &&
                  ask->offset < source->bytes.bytes && (!is_first || ask->offset == 0);
    if (!is_its) {
        part->status = AB_REPLICA_OUT_OF_RANGE;
        return AB_OK;
    }
    uint64_t left = source->bytes.bytes - ask->offset;
    uint64_t bytes = ask->bytes_max < left ? ask->bytes_max : left;
    bytes = bytes < AB_INSTALL_PART_BYTES ? bytes : AB_INSTALL_PART_BYTES;
    source->asked_us = now_us;
    part->status = bytes == 0 ? AB_REPLICA_OUT_OF_RANGE : AB_REPLICA_OK;
    part->offset = ask->offset;
    part->chain = source->hash;
    part->bytes_total = source->bytes.bytes;
    part->records = ab_bytes_of(source->bytes.data + ask->offset, (size_t)bytes);
    return AB_OK;
}
