#include "speed/partition_install.h"

#include "speed/offer.h"
#include "speed/partition_private.h"

#include "speed/limits.h"
#include "common/base/assert.h"
#include "common/base/file.h"
#include "common/base/logging.h"

#include <inttypes.h>

/* ---- offering ---- */

/* The epoch of the record before `start`, or a later one where that is not known. */
static uint64_t epoch_before(const struct ab_log *log, uint64_t start)
{
    size_t count = 0;
    const struct ab_log_epoch *epochs = ab_log_epochs(log, &count);
    return start > 0 && count > 0 ? epochs[0].epoch : 0;
}

ab_err ab_partition_offer(struct ab_partition *partition, struct ab_buffer *out, struct ab_error *error)
{
    struct ab_offer offer = {.partition = partition->options.number};
    struct ab_table_puts puts = {0};
    memcpy(offer.cluster_id, partition->options.cluster_id, sizeof offer.cluster_id);
    offer.offset = ab_log_start_offset(partition->log);
    offer.epoch = epoch_before(partition->log, offer.offset);
    AB_TRY(ab_log_chain_at(partition->log, offer.offset, &offer.chain, error));
    ab_lock_take(&partition->lock);
    bool is_ready = partition_open_span(partition) != NULL && !partition_is_behind(partition);
    if (is_ready) {
        ab_partition_tables_put_locked(partition, true, &puts);
    }
    ab_lock_give(&partition->lock);
    if (!is_ready) {
        return ab_error_set(error, AB_AGAIN, "partition %u has not applied its own tables yet", offer.partition);
    }
    struct ab_buffer tables = {0};
    ab_table_puts_encode(&puts, &tables);
    ab_table_puts_fini(&puts);
    offer.tables = ab_buffer_view(&tables);
    ab_offer_encode(&offer, out);
    ab_buffer_fini(&tables);
    return ab_buffer_finish(out) == AB_OK
               ? AB_OK
               : ab_error_set(error, AB_FULL, "no memory for the state of partition %u", offer.partition);
}

/* ---- checking what is offered ---- */

/* What the tables say, looked at before anything changes. */
struct checked {
    struct ab_partition *partition; /* borrowed */
    struct ab_dedup *dedup;         /* owned; only to see that the entries can be loaded */
    struct tables_position position;
    bool has_position;
    uint64_t spans_count;
    uint64_t first_record; /* of the spans that live */
};

static ab_err span_check(struct checked *checked, struct ab_bytes value)
{
    struct ab_span_entry entry;
    AB_TRY(ab_span_decode(value, &entry));
    bool is_first = checked->spans_count == 0 || entry.start_offset < checked->first_record;
    checked->first_record = is_first ? entry.start_offset : checked->first_record;
    checked->spans_count++;
    return AB_OK;
}

static ab_err entry_check(struct ab_bytes key, struct ab_bytes value, void *context, struct ab_error *error)
{
    struct checked *checked = context;
    const struct ab_served_catalog *served = NULL;
    ab_err err = AB_CORRUPT;
    switch (key.bytes == 0 ? 0 : key.data[0]) {
    case 'c':
        return ab_catalogs_add(checked->partition->options.catalogs, value, &served, error);
    case 'k':
        err = span_check(checked, value);
        break;
    case 'o':
        err = ab_tables_position_decode(value, &checked->position);
        checked->has_position = err == AB_OK;
        break;
    case 'p':
    case 's':
        err = ab_dedup_load(checked->dedup, key, value);
        break;
    default:
        break;
    }
    return err == AB_OK ? AB_OK : ab_error_set(error, AB_CORRUPT, "an entry of the tables offered is malformed");
}

static ab_err tables_check(struct ab_partition *partition, const struct ab_offer *offer,
    struct tables_position *position, struct ab_error *error)
{
    struct checked checked = {.partition = partition,
        .dedup = ab_dedup_create(AB_DEDUP_PRODUCERS_MAX, AB_DEDUP_SOURCES_MAX, partition->options.memory)};
    ab_err err = ab_table_puts_decode(offer->tables, entry_check, &checked, error);
    ab_dedup_destroy(checked.dedup);
    AB_TRY(err);
    if (!checked.has_position || checked.spans_count == 0 || checked.first_record < offer->offset ||
        checked.position.applied_offset < checked.first_record) {
        return ab_error_set(
            error, AB_CORRUPT, "the tables offered do not go with a log that begins at %" PRIu64, offer->offset);
    }
    *position = checked.position;
    return AB_OK;
}

static ab_err offer_check(
    struct ab_partition *partition, struct ab_bytes bytes, struct ab_offer *offer, struct ab_error *error)
{
    struct tables_position position = {0};
    ab_err err = ab_offer_decode(bytes, offer);
    if (err != AB_OK) {
        return ab_error_set(error, err, "a state offered for partition %u does not decode", partition->options.number);
    }
    if (offer->partition != partition->options.number ||
        memcmp(offer->cluster_id, partition->options.cluster_id, sizeof offer->cluster_id) != 0) {
        return ab_error_set(error, AB_MISMATCH,
            "a state of partition %u, perhaps of another cluster, was offered to %u", offer->partition,
            partition->options.number);
    }
    AB_TRY(tables_check(partition, offer, &position, error));
    if (position.applied_offset < ab_partition_committed(partition)) {
        return ab_error_set(error, AB_STALE,
            "the state offered ends at offset %" PRIu64 ", records up to %" PRIu64 " are committed here",
            position.applied_offset, ab_partition_committed(partition));
    }
    return AB_OK;
}

/* ---- the exchange ---- */

/* Keeps flushes out; AB_AGAIN while there is one. */
static ab_err gate_close(struct ab_partition *partition, struct ab_error *error)
{
    ab_lock_take(&partition->lock);
    bool is_still = partition->jobs == NULL && !partition->is_flushing;
    partition->is_installing = is_still;
    ab_lock_give(&partition->lock);
    return is_still ? AB_OK : ab_error_set(error, AB_AGAIN, "partition %u is being stored", partition->options.number);
}

static void gate_open(struct ab_partition *partition)
{
    ab_lock_take(&partition->lock);
    partition->is_installing = false;
    ab_condition_signal_all(&partition->changed);
    ab_lock_give(&partition->lock);
}

/* The last two steps, which are the same in a running process and at opening. */
static ab_err tables_exchange(struct ab_partition *partition, const struct ab_offer *offer, struct ab_error *error)
{
    AB_TRY(ab_file_replace(partition->retained_path, offer->tables, 0600, error));
    AB_TRY(ab_file_remove_tree(partition->install_path, error));
    ab_err err = ab_file_sync_directory(partition->options.directory);
    return err == AB_OK ? AB_OK : ab_error_set(error, err, "sync of %s", partition->options.directory);
}

static ab_err exchange(struct ab_partition *partition, const struct ab_offer *offer, struct ab_error *error)
{
    AB_TRY(ab_log_reset(partition->log, offer->offset, offer->chain, offer->epoch, error));
    AB_TRY(ab_partition_state_clear(partition->state, error));
    AB_TRY(tables_exchange(partition, offer, error));
    return ab_partition_reload(partition, error);
}

/* Makes the offer durable beside what is there; false in *is_there when it surely is not. */
static ab_err offer_store(struct ab_partition *partition, struct ab_bytes bytes, bool *is_there, struct ab_error *error)
{
    ab_err err = ab_file_replace(partition->install_path, bytes, 0600, error);
    struct ab_error detail = {0};
    *is_there = err == AB_OK;
    if (err != AB_OK && ab_file_exists(partition->install_path)) {
        *is_there = ab_file_remove_tree(partition->install_path, &detail) != AB_OK ||
                    ab_file_sync_directory(partition->options.directory) != AB_OK;
    }
    return err;
}

ab_err ab_partition_install(struct ab_partition *partition, struct ab_bytes bytes, struct ab_error *error)
{
    struct ab_offer offer;
    struct ab_error detail = {0};
    bool is_begun = false;
    AB_ASSERT(partition->staged_count == 0);
    AB_TRY(gate_close(partition, error)); /* first: it is tried again and again, and checking takes long */
    ab_err err = offer_check(partition, bytes, &offer, error);
    if (err != AB_OK) {
        gate_open(partition);
        return err;
    }
    err = offer_store(partition, bytes, &is_begun, &detail);
    if (err == AB_OK) {
        err = exchange(partition, &offer, &detail);
    }
    if (err != AB_OK && is_begun) {
        return ab_error_set(error, AB_IO, "an installation is half done: %s", detail.text);
    }
    gate_open(partition);
    if (err != AB_OK) {
        return ab_error_set(error, AB_NO_SPACE, "a state to be installed is not stored: %s", detail.text);
    }
    ab_info("state installed", "partition %u: the log begins anew at offset %" PRIu64 ", tables are of %" PRIu64,
        partition->options.number, offer.offset, partition->tables_from);
    return AB_OK;
}

/* ---- at opening ---- */

ab_err ab_partition_finish_install(struct ab_partition *partition, struct ab_error *error)
{
    struct ab_offer offer;
    struct ab_buffer bytes = {0};
    if (!ab_file_exists(partition->install_path)) {
        return AB_OK;
    }
    ab_err err = ab_file_read_all(partition->install_path, &bytes, error);
    if (err == AB_OK) {
        err = ab_offer_decode(ab_buffer_view(&bytes), &offer);
        if (err != AB_OK) {
            err = ab_error_set(error, err,
                "%s, an installation that was begun, does not decode: remove it, with %s and %s, and "
                "this replica is installed anew",
                partition->install_path, partition->state_directory, partition->retained_path);
        }
    }
    if (err == AB_OK) {
        ab_info("finishing an installation", "partition %u, from offset %" PRIu64, offer.partition, offer.offset);
        err = ab_log_reset(partition->log, offer.offset, offer.chain, offer.epoch, error);
    }
    if (err == AB_OK) {
        err = ab_file_remove_tree(partition->state_directory, error);
    }
    if (err == AB_OK) {
        err = tables_exchange(partition, &offer, error);
    }
    ab_buffer_fini(&bytes);
    return err;
}
