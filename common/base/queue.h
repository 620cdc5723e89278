/* queue: a bounded queue of pointers between threads, limited in items and in bytes (I8).
 *
 * Threads: any number of producers and consumers. close() wakes all; what is queued can still be taken.
 * Memory: items_max pointers, allocated at creation; the bytes are the caller's, only counted here.
 */
#ifndef ANABRANCH_COMMON_BASE_QUEUE_H
#define ANABRANCH_COMMON_BASE_QUEUE_H

#include "common/base/error.h"

#include <stddef.h>
#include <stdint.h>

struct ab_queue;

/* A queue of at most items_max items that weigh at most bytes_max together (one item may always enter an empty one). */
struct ab_queue *ab_queue_create(size_t items_max, size_t bytes_max);
void ab_queue_destroy(struct ab_queue *queue);

/* Puts an item of the given weight; AB_FULL when there is no room, AB_CLOSED after close. Never blocks. */
AB_MUST_USE ab_err ab_queue_try_put(struct ab_queue *queue, void *item, size_t bytes);

/* Like try_put, but waits for room until monotonic until_us (< 0 = for ever); AB_TIMEOUT. */
AB_MUST_USE ab_err ab_queue_put(struct ab_queue *queue, void *item, size_t bytes, int64_t until_us);

/* Takes up to count items in order, waiting until monotonic until_us (< 0 = for ever, 0 = not at all) for the first.
 * Returns how many; 0 means time-out, or closed and empty. */
size_t ab_queue_take(struct ab_queue *queue, void **items, size_t count, int64_t until_us);

/* No more puts. */
void ab_queue_close(struct ab_queue *queue);
/* True once closed. */
int ab_queue_is_closed(struct ab_queue *queue);

/* Items and bytes in the queue now. */
size_t ab_queue_items(struct ab_queue *queue);
size_t ab_queue_bytes(struct ab_queue *queue);

#endif
