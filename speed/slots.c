#include "speed/slots.h"

#include "common/base/assert.h"
#include "common/base/file.h"
#include "common/base/logging.h"
#include "common/base/thread.h"

struct slot {
    struct ab_partition *partition;   /* owned; NULL = not held */
    struct ab_replicator *replicator; /* owned; NULL = the only replica, or it has ended */
    uint32_t users;
    bool is_leaving;
    bool is_missing; /* not held, and nobody has said yet that it need not be */
};

struct ab_slots {
    struct ab_lock lock;
    struct slot *items; /* owned; by number; guarded by lock, but that its worker reads without what it alone writes */
    uint32_t count;
};

struct ab_slots *ab_slots_create(uint32_t partitions_count)
{
    struct ab_slots *slots = ab_new(struct ab_slots);
    ab_lock_init(&slots->lock);
    slots->items = ab_new_array(struct slot, partitions_count);
    slots->count = partitions_count;
    return slots;
}

void ab_slots_destroy(struct ab_slots *slots)
{
    if (slots == NULL) {
        return;
    }
    for (uint32_t p = 0; p < slots->count; p++) {
        AB_ASSERT(slots->items[p].users == 0);
        ab_replicator_destroy(slots->items[p].replicator);
        ab_partition_close(slots->items[p].partition);
    }
    ab_lock_fini(&slots->lock);
    ab_delete(slots->items);
    ab_delete(slots);
}

void ab_slots_put(
    struct ab_slots *slots, uint32_t number, struct ab_partition *partition, struct ab_replicator *replicator)
{
    AB_ASSERT(number < slots->count && slots->items[number].partition == NULL);
    ab_lock_take(&slots->lock);
    slots->items[number] = (struct slot){.partition = partition, .replicator = replicator};
    ab_lock_give(&slots->lock);
}

void ab_slots_set_missing(struct ab_slots *slots, uint32_t number, bool is_missing)
{
    ab_lock_take(&slots->lock);
    slots->items[number].is_missing = is_missing;
    ab_lock_give(&slots->lock);
}

struct ab_partition *ab_slots_acquire(struct ab_slots *slots, uint32_t number)
{
    AB_ASSERT(number < slots->count);
    struct slot *slot = &slots->items[number];
    ab_lock_take(&slots->lock);
    struct ab_partition *partition = slot->is_leaving ? NULL : slot->partition;
    slot->users += partition != NULL;
    ab_lock_give(&slots->lock);
    return partition;
}

void ab_slots_release(struct ab_slots *slots, uint32_t number)
{
    ab_lock_take(&slots->lock);
    AB_ASSERT(slots->items[number].users > 0);
    slots->items[number].users--;
    ab_lock_give(&slots->lock);
}

bool ab_slots_hold(struct ab_slots *slots, uint32_t number)
{
    const struct slot *slot = &slots->items[number];
    ab_lock_take(&slots->lock);
    bool is_held = slot->partition != NULL && !slot->is_leaving;
    ab_lock_give(&slots->lock);
    return is_held;
}

bool ab_slots_may_serve(struct ab_slots *slots, uint32_t number)
{
    const struct slot *slot = &slots->items[number];
    ab_lock_take(&slots->lock);
    bool is_held = slot->partition != NULL && !slot->is_leaving;
    bool may_serve = is_held && (slot->replicator == NULL || ab_replicator_may_serve(slot->replicator));
    ab_lock_give(&slots->lock);
    return may_serve;
}

bool ab_slots_is_damaged(struct ab_slots *slots, uint32_t number)
{
    const struct slot *slot = &slots->items[number];
    ab_lock_take(&slots->lock);
    bool is_damaged =
        slot->is_missing || (slot->replicator != NULL && ab_replicator_is_damaged(slot->replicator));
    ab_lock_give(&slots->lock);
    return is_damaged;
}

struct ab_partition *ab_slots_partition(const struct ab_slots *slots, uint32_t number)
{
    return slots->items[number].partition;
}

struct ab_replicator *ab_slots_replicator(const struct ab_slots *slots, uint32_t number)
{
    return slots->items[number].replicator;
}

void ab_slots_end_replicator(struct ab_slots *slots, uint32_t number)
{
    ab_lock_take(&slots->lock);
    struct ab_replicator *replicator = slots->items[number].replicator;
    slots->items[number].replicator = NULL;
    ab_lock_give(&slots->lock);
    ab_replicator_destroy(replicator);
}

void ab_slots_leave(struct ab_slots *slots, uint32_t number)
{
    ab_lock_take(&slots->lock);
    slots->items[number].is_leaving = true; /* before its replicator is NULL, which means another thing */
    ab_lock_give(&slots->lock);
    ab_slots_end_replicator(slots, number);
}

bool ab_slots_close(struct ab_slots *slots, uint32_t number)
{
    struct slot *slot = &slots->items[number];
    struct ab_partition_report report;
    AB_ASSERT(slot->is_leaving && slot->partition != NULL);
    ab_partition_report(slot->partition, &report);
    ab_lock_take(&slots->lock);
    bool is_free = slot->users == 0 && report.jobs_count == 0;
    struct ab_partition *partition = is_free ? slot->partition : NULL;
    if (is_free) {
        *slot = (struct slot){0};
    }
    ab_lock_give(&slots->lock);
    ab_partition_close(partition);
    return is_free;
}

/* ---- directories ---- */

char *ab_slots_directory(const char *directory, uint32_t number)
{
    return ab_new_format("%s/partition-%u", directory, number);
}

static char *leftover_path(const char *directory, uint32_t number)
{
    return ab_new_format("%s/partition-%u.removed", directory, number);
}

ab_err ab_slots_directory_retire(const char *directory, uint32_t number, struct ab_error *error)
{
    char *own = ab_slots_directory(directory, number);
    char *leftover = leftover_path(directory, number);
    ab_err err = AB_OK;
    if (ab_file_exists(own)) {
        err = ab_file_exists(leftover) ? ab_error_set(error, AB_BUSY, "%s has not gone yet", leftover)
                                       : ab_file_rename(own, leftover, error);
    }
    ab_delete(leftover);
    ab_delete(own);
    return err;
}

void ab_slots_leftover_remove(const char *directory, uint32_t number)
{
    struct ab_error error = {0};
    char *leftover = leftover_path(directory, number);
    if (ab_file_exists(leftover) && ab_file_remove_tree(leftover, &error) != AB_OK) {
        ab_warn("left directory not removed", "%s", error.text);
    }
    ab_delete(leftover);
}
