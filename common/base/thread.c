#include "common/base/thread.h"

#include "common/base/assert.h"
#include "common/base/memory.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>

/* What a new thread needs to begin; owned by the thread. */
struct thread_start {
    ab_thread_fn run;
    void *context; /* borrowed from the caller */
    char name[16];
};

static void *thread_main(void *argument)
{
    struct thread_start start = *(struct thread_start *)argument;
    ab_delete(argument);
    (void)pthread_setname_np(pthread_self(), start.name); /* a name is a convenience */
    start.run(start.context);
    return NULL;
}

void ab_thread_start(struct ab_thread *thread, const char *name, ab_thread_fn run, void *context)
{
    struct thread_start *start = ab_new(struct thread_start);
    start->run = run;
    start->context = context;
    (void)snprintf(start->name, sizeof(start->name), "%.15s", name);
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    AB_ASSERT(pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
    AB_ASSERT(pthread_create(&thread->handle, NULL, thread_main, start) == 0);
    AB_ASSERT(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    thread->is_started = true;
}

void ab_thread_join(struct ab_thread *thread)
{
    if (thread->is_started) {
        AB_ASSERT(pthread_join(thread->handle, NULL) == 0);
        thread->is_started = false;
    }
}

void ab_lock_init(struct ab_lock *lock)
{
    AB_ASSERT(pthread_mutex_init(&lock->mutex, NULL) == 0);
}

void ab_lock_fini(struct ab_lock *lock)
{
    AB_ASSERT(pthread_mutex_destroy(&lock->mutex) == 0);
}

void ab_lock_take(struct ab_lock *lock)
{
    AB_ASSERT(pthread_mutex_lock(&lock->mutex) == 0);
}

void ab_lock_give(struct ab_lock *lock)
{
    AB_ASSERT(pthread_mutex_unlock(&lock->mutex) == 0);
}

void ab_condition_init(struct ab_condition *condition)
{
    pthread_condattr_t attributes;
    AB_ASSERT(pthread_condattr_init(&attributes) == 0);
    AB_ASSERT(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0);
    AB_ASSERT(pthread_cond_init(&condition->condition, &attributes) == 0);
    (void)pthread_condattr_destroy(&attributes); /* cannot fail on an initialised object */
}

void ab_condition_fini(struct ab_condition *condition)
{
    AB_ASSERT(pthread_cond_destroy(&condition->condition) == 0);
}

void ab_condition_signal_all(struct ab_condition *condition)
{
    AB_ASSERT(pthread_cond_broadcast(&condition->condition) == 0);
}

bool ab_condition_wait(struct ab_condition *condition, struct ab_lock *lock, int64_t until_us)
{
    if (until_us < 0) {
        AB_ASSERT(pthread_cond_wait(&condition->condition, &lock->mutex) == 0);
        return true;
    }
    struct timespec until = {.tv_sec = until_us / 1000000, .tv_nsec = until_us % 1000000 * 1000};
    int result = pthread_cond_timedwait(&condition->condition, &lock->mutex, &until);
    AB_ASSERT(result == 0 || result == ETIMEDOUT);
    return result == 0;
}
