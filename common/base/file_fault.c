#include "common/base/file_fault.h"

#include "common/base/file.h"
#include "common/base/thread.h"

/* Production pays one relaxed load a call; all else is guarded by the lock and used by tests alone. */
static atomic_bool is_armed;
static pthread_mutex_t fault_lock = PTHREAD_MUTEX_INITIALIZER;
static int calls_before; /* guarded by fault_lock, as all below */
static int calls_failing;
static ab_err fault_code;
static bool was_hit;

ab_err ab_file_fault_take(void)
{
    if (!atomic_load_explicit(&is_armed, memory_order_relaxed)) {
        return AB_OK;
    }
    ab_err err = AB_OK;
    (void)pthread_mutex_lock(&fault_lock);
    if (calls_before > 0) {
        calls_before--;
    } else if (calls_failing > 0) {
        calls_failing--;
        was_hit = true;
        err = fault_code;
    }
    (void)pthread_mutex_unlock(&fault_lock);
    return err;
}

void ab_file_fault_set(int countdown, int repeat, ab_err code)
{
    (void)pthread_mutex_lock(&fault_lock);
    calls_before = countdown;
    calls_failing = repeat;
    fault_code = code;
    was_hit = false;
    (void)pthread_mutex_unlock(&fault_lock);
    atomic_store(&is_armed, repeat > 0);
}

void ab_file_fault_clear(void)
{
    atomic_store(&is_armed, false);
}

bool ab_file_fault_was_hit(void)
{
    (void)pthread_mutex_lock(&fault_lock);
    bool hit = was_hit;
    (void)pthread_mutex_unlock(&fault_lock);
    return hit;
}
