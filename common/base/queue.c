#include "common/base/queue.h"

#include "common/base/assert.h"
#include "common/base/memory.h"
#include "common/base/thread.h"

/* One slot of the ring. */
struct queue_item {
    void *item; /* the caller's */
    size_t bytes;
};

struct ab_queue {
    struct ab_lock lock;
    struct ab_condition has_items; /* waited on by consumers */
    struct ab_condition has_room;  /* waited on by producers */
    struct queue_item *ring;       /* owned; guarded by lock, as all below */
    size_t items_max;
    size_t bytes_max;
    size_t head; /* slot of the oldest item */
    size_t items;
    size_t bytes;
    size_t takers_waiting;
    size_t putters_waiting;
    bool is_closed;
};

struct ab_queue *ab_queue_create(size_t items_max, size_t bytes_max)
{
    AB_ASSERT(items_max > 0);
    struct ab_queue *queue = ab_new(struct ab_queue);
    queue->ring = ab_new_array(struct queue_item, items_max);
    queue->items_max = items_max;
    queue->bytes_max = bytes_max;
    ab_lock_init(&queue->lock);
    ab_condition_init(&queue->has_items);
    ab_condition_init(&queue->has_room);
    return queue;
}

void ab_queue_destroy(struct ab_queue *queue)
{
    if (queue == NULL) {
        return;
    }
    ab_condition_fini(&queue->has_room);
    ab_condition_fini(&queue->has_items);
    ab_lock_fini(&queue->lock);
    ab_delete(queue->ring);
    ab_delete(queue);
}

static bool has_room_locked(const struct ab_queue *queue, size_t bytes)
{
    if (queue->items == 0) {
        return true;
    }
    bool has_bytes = queue->bytes <= queue->bytes_max && bytes <= queue->bytes_max - queue->bytes;
    return queue->items < queue->items_max && has_bytes;
}

static ab_err put_locked(struct ab_queue *queue, void *item, size_t bytes)
{
    if (queue->is_closed) {
        return AB_CLOSED;
    }
    if (!has_room_locked(queue, bytes)) {
        return AB_FULL;
    }
    size_t tail = (queue->head + queue->items) % queue->items_max;
    queue->ring[tail] = (struct queue_item){.item = item, .bytes = bytes};
    queue->items++;
    queue->bytes += bytes;
    if (queue->takers_waiting > 0) {
        ab_condition_signal_all(&queue->has_items);
    }
    return AB_OK;
}

ab_err ab_queue_try_put(struct ab_queue *queue, void *item, size_t bytes)
{
    ab_lock_take(&queue->lock);
    ab_err err = put_locked(queue, item, bytes);
    ab_lock_give(&queue->lock);
    return err;
}

ab_err ab_queue_put(struct ab_queue *queue, void *item, size_t bytes, int64_t until_us)
{
    ab_lock_take(&queue->lock);
    ab_err err = put_locked(queue, item, bytes);
    while (err == AB_FULL) {
        queue->putters_waiting++;
        bool is_in_time = ab_condition_wait(&queue->has_room, &queue->lock, until_us);
        queue->putters_waiting--;
        err = put_locked(queue, item, bytes);
        if (err == AB_FULL && !is_in_time) {
            err = AB_TIMEOUT;
        }
    }
    ab_lock_give(&queue->lock);
    return err;
}

static size_t take_locked(struct ab_queue *queue, void **items, size_t count)
{
    size_t taken = 0;
    while (taken < count && queue->items > 0) {
        items[taken++] = queue->ring[queue->head].item;
        queue->bytes -= queue->ring[queue->head].bytes;
        queue->head = (queue->head + 1) % queue->items_max;
        queue->items--;
    }
    if (taken > 0 && queue->putters_waiting > 0) {
        ab_condition_signal_all(&queue->has_room);
    }
    return taken;
}

size_t ab_queue_take(struct ab_queue *queue, void **items, size_t count, int64_t until_us)
{
    ab_lock_take(&queue->lock);
    bool is_in_time = until_us != 0;
    while (queue->items == 0 && !queue->is_closed && is_in_time) {
        queue->takers_waiting++;
        is_in_time = ab_condition_wait(&queue->has_items, &queue->lock, until_us);
        queue->takers_waiting--;
    }
    size_t taken = take_locked(queue, items, count);
    ab_lock_give(&queue->lock);
    return taken;
}

void ab_queue_close(struct ab_queue *queue)
{
    ab_lock_take(&queue->lock);
    queue->is_closed = true;
    ab_condition_signal_all(&queue->has_items);
    ab_condition_signal_all(&queue->has_room);
    ab_lock_give(&queue->lock);
}

int ab_queue_is_closed(struct ab_queue *queue)
{
    ab_lock_take(&queue->lock);
    bool is_closed = queue->is_closed;
    ab_lock_give(&queue->lock);
    return is_closed;
}

size_t ab_queue_items(struct ab_queue *queue)
{
    ab_lock_take(&queue->lock);
    size_t items = queue->items;
    ab_lock_give(&queue->lock);
    return items;
}

size_t ab_queue_bytes(struct ab_queue *queue)
{
    ab_lock_take(&queue->lock);
    size_t bytes = queue->bytes;
    ab_lock_give(&queue->lock);
    return bytes;
}
