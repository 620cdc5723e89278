/* thread: threads, locks and conditions as thin names over POSIX; failure to create any of them aborts. */
#ifndef ANABRANCH_COMMON_BASE_THREAD_H
#define ANABRANCH_COMMON_BASE_THREAD_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

typedef void (*ab_thread_fn)(void *context);

struct ab_thread {
    pthread_t handle;
    bool is_started;
};

/* Starts a named thread (15 characters are shown by the system); signals are blocked in it. */
void ab_thread_start(struct ab_thread *thread, const char *name, ab_thread_fn run, void *context);

/* Waits for the end; legal on a thread that never started and twice. */
void ab_thread_join(struct ab_thread *thread);

struct ab_lock {
    pthread_mutex_t mutex;
};
void ab_lock_init(struct ab_lock *lock);
void ab_lock_fini(struct ab_lock *lock);
void ab_lock_take(struct ab_lock *lock);
void ab_lock_give(struct ab_lock *lock);

struct ab_condition {
    pthread_cond_t condition; /* on the monotonic clock */
};
void ab_condition_init(struct ab_condition *condition);
void ab_condition_fini(struct ab_condition *condition);
void ab_condition_signal_all(struct ab_condition *condition);
/* Waits with the lock held until signalled or until the monotonic time until_us (< 0 = for ever); false on time-out. */
bool ab_condition_wait(struct ab_condition *condition, struct ab_lock *lock, int64_t until_us);

#endif
