#include "speed/plans.h"

#include "speed/limits.h"
#include "common/base/thread.h"

struct plan_entry {
    struct ab_plan plan; /* first: what is handed out */
    struct ab_hash128 sql_hash;
    uint64_t used_tick;  /* guarded by the table's lock, as all below */
    uint32_t references; /* users, and one of the table while it is listed */
};

struct ab_plans {
    struct ab_lock lock;
    struct plan_entry *entries[AB_PLANS_MAX]; /* owned; guarded by lock */
    size_t count;
    uint64_t tick;
};

struct ab_plans *ab_plans_create(void)
{
    struct ab_plans *plans = ab_new(struct ab_plans);
    ab_lock_init(&plans->lock);
    return plans;
}

static void entry_destroy(struct plan_entry *entry)
{
    ab_query_destroy(entry->plan.query);
    ab_delete(entry);
}

void ab_plans_destroy(struct ab_plans *plans)
{
    if (plans == NULL) {
        return;
    }
    for (size_t i = 0; i < plans->count; i++) {
        entry_destroy(plans->entries[i]);
    }
    ab_lock_fini(&plans->lock);
    ab_delete(plans);
}

static struct plan_entry *find_locked(
    struct ab_plans *plans, const struct ab_served_catalog *served, struct ab_hash128 sql_hash)
{
    for (size_t i = 0; i < plans->count; i++) {
        struct plan_entry *entry = plans->entries[i];
        if (entry->plan.served == served && ab_hash128_equal(entry->sql_hash, sql_hash)) {
            entry->references++;
            entry->used_tick = ++plans->tick;
            return entry;
        }
    }
    return NULL;
}

/* Makes room for one more; gives back an entry nobody uses any more, to be destroyed without the lock. */
static struct plan_entry *evict_locked(struct ab_plans *plans)
{
    if (plans->count < AB_PLANS_MAX) {
        return NULL;
    }
    size_t oldest = 0;
    for (size_t i = 1; i < plans->count; i++) {
        oldest = plans->entries[i]->used_tick < plans->entries[oldest]->used_tick ? i : oldest;
    }
    struct plan_entry *entry = plans->entries[oldest];
    plans->entries[oldest] = plans->entries[--plans->count];
    return --entry->references == 0 ? entry : NULL;
}

ab_err ab_plans_acquire(struct ab_plans *plans, const struct ab_served_catalog *served, struct ab_bytes sql,
    const struct ab_plan **plan, struct ab_error *error)
{
    struct ab_hash128 sql_hash = ab_hash128(AB_HASH_TABLE, sql);
    ab_lock_take(&plans->lock);
    struct plan_entry *entry = find_locked(plans, served, sql_hash);
    ab_lock_give(&plans->lock);
    if (entry == NULL) {
        struct ab_query *query = NULL;
        AB_TRY(ab_query_parse(served->catalog, sql, &query, error));
        entry = ab_new(struct plan_entry);
        entry->plan = (struct ab_plan){
            .query = query, .served = served, .aggregation = ab_served_aggregation(served, query->view)};
        entry->sql_hash = sql_hash;
        entry->references = 2;
        ab_lock_take(&plans->lock);
        entry->used_tick = ++plans->tick;
        struct plan_entry *dropped = evict_locked(plans);
        plans->entries[plans->count++] = entry;
        ab_lock_give(&plans->lock);
        if (dropped != NULL) {
            entry_destroy(dropped);
        }
    }
    *plan = &entry->plan;
    return AB_OK;
}

void ab_plans_release(struct ab_plans *plans, const struct ab_plan *plan)
{
    if (plan == NULL) {
        return;
    }
    struct plan_entry *entry = (struct plan_entry *)(uintptr_t)plan;
    ab_lock_take(&plans->lock);
    bool is_last = --entry->references == 0;
    ab_lock_give(&plans->lock);
    if (is_last) {
        entry_destroy(entry);
    }
}
