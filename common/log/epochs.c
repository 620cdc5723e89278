#include "common/log/epochs.h"

#include "common/base/assert.h"

enum { EPOCHS_CAPACITY_MIN = 8 };

void ab_epochs_fini(struct ab_epochs *epochs)
{
    ab_delete(epochs->entries);
    *epochs = (struct ab_epochs){0};
}

static void entry_push(struct ab_epochs *epochs, uint64_t epoch, uint64_t offset)
{
    if (epochs->count == epochs->capacity) {
        size_t capacity = epochs->capacity == 0 ? EPOCHS_CAPACITY_MIN : 2 * epochs->capacity;
        epochs->entries = ab_renew_bytes(epochs->entries, capacity * sizeof(*epochs->entries));
        epochs->capacity = capacity;
    }
    epochs->entries[epochs->count++] = (struct ab_log_epoch){.epoch = epoch, .first_offset = offset};
}

void ab_epochs_set_floor(struct ab_epochs *epochs, uint64_t epoch, uint64_t offset)
{
    epochs->count = 0;
    epochs->has_floor = true;
    entry_push(epochs, epoch, offset);
}

bool ab_epochs_may_add(const struct ab_epochs *epochs, uint64_t epoch)
{
    return epochs->count == 0 || epoch >= epochs->entries[epochs->count - 1].epoch;
}

void ab_epochs_add(struct ab_epochs *epochs, uint64_t epoch, uint64_t offset)
{
    AB_ASSERT(ab_epochs_may_add(epochs, epoch));
    const struct ab_log_epoch *last = epochs->count == 0 ? NULL : &epochs->entries[epochs->count - 1];
    AB_ASSERT(last == NULL || offset >= last->first_offset);
    if (last == NULL || epoch > last->epoch) {
        entry_push(epochs, epoch, offset);
    }
}

void ab_epochs_truncate(struct ab_epochs *epochs, uint64_t end_offset)
{
    size_t kept_min = epochs->has_floor ? 1 : 0;
    while (epochs->count > kept_min && epochs->entries[epochs->count - 1].first_offset >= end_offset) {
        epochs->count--;
    }
}

void ab_epochs_trim(struct ab_epochs *epochs, uint64_t start_offset)
{
    size_t dropped = 0;
    while (dropped + 1 < epochs->count && epochs->entries[dropped + 1].first_offset < start_offset) {
        dropped++;
    }
    if (epochs->count == 0 || epochs->entries[dropped].first_offset >= start_offset) {
        return;
    }
    epochs->count -= dropped;
    memmove(epochs->entries, epochs->entries + dropped, epochs->count * sizeof(*epochs->entries));
    epochs->entries[0].first_offset = start_offset;
    epochs->has_floor = true;
}

uint64_t ab_epochs_before(const struct ab_epochs *epochs, uint64_t offset)
{
    uint64_t epoch = epochs->has_floor ? epochs->entries[0].epoch : 0;
    for (size_t i = 0; i < epochs->count && epochs->entries[i].first_offset < offset; i++) {
        epoch = epochs->entries[i].epoch;
    }
    return epoch;
}

ab_err ab_epochs_find(
    const struct ab_epochs *epochs, uint64_t epoch, uint64_t log_end, uint64_t *found_epoch, uint64_t *end_offset)
{
    size_t behind = epochs->count; /* first entry of a larger epoch */
    while (behind > 0 && epochs->entries[behind - 1].epoch > epoch) {
        behind--;
    }
    if (behind == 0) {
        return AB_NOT_FOUND;
    }
    *found_epoch = epochs->entries[behind - 1].epoch;
    *end_offset = behind == epochs->count ? log_end : epochs->entries[behind].first_offset;
    return AB_OK;
}
