#include "common/coordination/operations.h"

#include <stdatomic.h>

static const char *const names[AB_COORDINATION_OPERATIONS_COUNT] = {"gets", "lists", "changes", "probes"};
static atomic_uint_fast64_t counts[AB_COORDINATION_OPERATIONS_COUNT]; /* atomic: any thread */

void ab_coordination_operation_count(enum ab_coordination_operation operation)
{
    atomic_fetch_add_explicit(&counts[operation], 1, memory_order_relaxed);
}

uint64_t ab_coordination_operations(enum ab_coordination_operation operation)
{
    return atomic_load_explicit(&counts[operation], memory_order_relaxed);
}

const char *ab_coordination_operation_name(enum ab_coordination_operation operation)
{
    return names[operation];
}

struct ab_json *ab_coordination_operations_json(void)
{
    struct ab_json *json = ab_json_object();
    for (int i = 0; i < AB_COORDINATION_OPERATIONS_COUNT; i++) {
        ab_json_set(json, names[i], ab_json_integer((int64_t)ab_coordination_operations(i)));
    }
    return json;
}
