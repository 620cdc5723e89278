#include "speed/flusher.h"

#include "common/base/assert.h"
#include "common/base/logging.h"
#include "common/base/thread.h"

#define NO_SPACE_WAIT_US (500 * AB_US_PER_MS)

/* Where a partition stands. */
struct flush_slot {
    struct ab_partition *partition; /* borrowed */
    bool is_wanted;
    bool is_running;
};

struct ab_flusher {
    struct ab_lock lock;
    struct ab_condition changed;
    struct flush_slot *slots; /* owned; by partition number; guarded by lock, as all below */
    uint32_t slots_count;
    uint32_t next_slot; /* round robin, so that no partition starves */
    bool is_stopping;
    struct ab_thread *threads; /* owned; constant */
    uint32_t threads_count;
};

static struct flush_slot *slot_take_locked(struct ab_flusher *flusher)
{
    for (uint32_t i = 0; i < flusher->slots_count; i++) {
        uint32_t index = (flusher->next_slot + i) % flusher->slots_count;
        struct flush_slot *slot = &flusher->slots[index];
        if (slot->is_wanted && !slot->is_running) {
            flusher->next_slot = (index + 1) % flusher->slots_count;
            slot->is_wanted = false;
            slot->is_running = true;
            return slot;
        }
    }
    return NULL;
}

/* All steps of one partition; false when the disk is full and it has to be tried again. */
static bool partition_flush(struct ab_partition *partition)
{
    struct ab_error error = {0};
    ab_err err = AB_OK;
    while (err == AB_OK) {
        err = ab_partition_flush_step(partition, &error);
    }
    if (err == AB_NO_SPACE) {
        ab_warn(
            "no space to store partials, trying again", "partition %u: %s", ab_partition_number(partition), error.text);
    }
    return err == AB_END;
}

static void flusher_run(void *context)
{
    struct ab_flusher *flusher = context;
    ab_lock_take(&flusher->lock);
    while (!flusher->is_stopping) {
        struct flush_slot *slot = slot_take_locked(flusher);
        if (slot == NULL) {
            (void)ab_condition_wait(&flusher->changed, &flusher->lock, -1);
            continue;
        }
        ab_lock_give(&flusher->lock);
        bool is_done = partition_flush(slot->partition);
        if (!is_done) {
            ab_time_sleep_us(NO_SPACE_WAIT_US);
        }
        ab_lock_take(&flusher->lock);
        slot->is_running = false;
        slot->is_wanted = slot->is_wanted || !is_done;
        ab_condition_signal_all(&flusher->changed);
    }
    ab_lock_give(&flusher->lock);
}

struct ab_flusher *ab_flusher_start(uint32_t threads_count, uint32_t partitions_count)
{
    struct ab_flusher *flusher = ab_new(struct ab_flusher);
    ab_lock_init(&flusher->lock);
    ab_condition_init(&flusher->changed);
    flusher->slots = ab_new_array(struct flush_slot, partitions_count);
    flusher->slots_count = partitions_count;
    flusher->threads = ab_new_array(struct ab_thread, threads_count);
    flusher->threads_count = threads_count;
    for (uint32_t i = 0; i < threads_count; i++) {
        ab_thread_start(&flusher->threads[i], "flush", flusher_run, flusher);
    }
    return flusher;
}

void ab_flusher_want(struct ab_partition *partition, void *flusher_context)
{
    struct ab_flusher *flusher = flusher_context;
    uint32_t number = ab_partition_number(partition);
    AB_ASSERT(number < flusher->slots_count);
    ab_lock_take(&flusher->lock);
    flusher->slots[number].partition = partition;
    flusher->slots[number].is_wanted = true;
    ab_condition_signal_all(&flusher->changed);
    ab_lock_give(&flusher->lock);
}

bool ab_flusher_is_idle(struct ab_flusher *flusher, uint32_t partition)
{
    const struct flush_slot *slot = &flusher->slots[partition];
    ab_lock_take(&flusher->lock);
    bool is_idle = !slot->is_wanted && !slot->is_running;
    ab_lock_give(&flusher->lock);
    return is_idle;
}

static bool is_idle_locked(const struct ab_flusher *flusher)
{
    for (uint32_t i = 0; i < flusher->slots_count; i++) {
        if (flusher->slots[i].is_wanted || flusher->slots[i].is_running) {
            return false;
        }
    }
    return true;
}

ab_err ab_flusher_drain(struct ab_flusher *flusher, int64_t until_us)
{
    bool is_in_time = true;
    ab_lock_take(&flusher->lock);
    while (!is_idle_locked(flusher) && is_in_time) {
        is_in_time = ab_condition_wait(&flusher->changed, &flusher->lock, until_us);
    }
    bool is_idle = is_idle_locked(flusher);
    ab_lock_give(&flusher->lock);
    return is_idle ? AB_OK : AB_TIMEOUT;
}

void ab_flusher_stop(struct ab_flusher *flusher)
{
    if (flusher == NULL) {
        return;
    }
    ab_lock_take(&flusher->lock);
    flusher->is_stopping = true;
    ab_condition_signal_all(&flusher->changed);
    ab_lock_give(&flusher->lock);
    for (uint32_t i = 0; i < flusher->threads_count; i++) {
        ab_thread_join(&flusher->threads[i]);
    }
    ab_condition_fini(&flusher->changed);
    ab_lock_fini(&flusher->lock);
    ab_delete(flusher->threads);
    ab_delete(flusher->slots);
    ab_delete(flusher);
}
