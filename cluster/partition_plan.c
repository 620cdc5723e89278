#include "cluster/partition_plan.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void ab_partition_plan_init(struct ab_partition_plan *plan, uint32_t changes_max, uint32_t reasons_max)
{
    *plan = (struct ab_partition_plan){.changes_max = changes_max, .reasons_max = reasons_max};
    plan->changes = ab_new_array(struct ab_partition_change, changes_max);
    plan->reasons = ab_new_array(struct ab_partition_reason, reasons_max);
}

void ab_partition_plan_fini(struct ab_partition_plan *plan)
{
    ab_delete(plan->changes);
    ab_delete(plan->reasons);
    *plan = (struct ab_partition_plan){0};
}

void ab_partition_plan_change(struct ab_partition_plan *plan, const struct ab_partition_change *change)
{
    if (plan->changes_count == plan->changes_max) {
        plan->changes_left++;
        return;
    }
    plan->changes[plan->changes_count++] = *change;
}

void ab_partition_plan_reason(struct ab_partition_plan *plan, uint32_t partition, const char *format, ...)
{
    if (plan->reasons_count == plan->reasons_max) {
        plan->reasons_left++;
        return;
    }
    struct ab_partition_reason *reason = &plan->reasons[plan->reasons_count++];
    va_list arguments;
    reason->partition = partition;
    va_start(arguments, format);
    (void)vsnprintf(reason->text, sizeof reason->text, format, arguments); /* cut when too long */
    va_end(arguments);
}

const char *ab_change_kind_name(enum ab_change_kind kind)
{
    static const char *const names[] = {
        [AB_CHANGE_ELECT] = "elect",
        [AB_CHANGE_NO_LEADER] = "no-leader",
        [AB_CHANGE_MOVE] = "move",
        [AB_CHANGE_FORCE] = "force",
        [AB_CHANGE_ADD_LEARNER] = "add-learner",
        [AB_CHANGE_DROP_LEARNER] = "drop-learner",
        [AB_CHANGE_PROMOTE] = "promote",
        [AB_CHANGE_REMOVE] = "remove",
        [AB_CHANGE_ORDER] = "order",
    };
    return names[kind];
}

static int key_compare(const void *a, const void *b)
{
    const uint64_t *x = a;
    const uint64_t *y = b;
    return (*x > *y) - (*x < *y);
}

ab_err ab_partition_keys_sort(uint64_t *keys, uint32_t count)
{
    if (count > 0) {
        qsort(keys, count, sizeof keys[0], key_compare);
    }
    for (uint32_t i = 1; i < count; i++) {
        if (keys[i] >> 32 == keys[i - 1] >> 32) {
            return AB_USAGE;
        }
    }
    return AB_OK;
}

ab_err ab_partition_facts_order(const struct ab_partition_fact *facts, uint32_t count, uint32_t **order)
{
    uint64_t *keys = ab_new_array(uint64_t, count);
    uint32_t *made = ab_new_array(uint32_t, count);
    for (uint32_t i = 0; i < count; i++) {
        keys[i] = (uint64_t)facts[i].state->partition << 32 | i;
    }
    ab_err err = ab_partition_keys_sort(keys, count);
    for (uint32_t i = 0; i < count; i++) {
        made[i] = (uint32_t)keys[i];
    }
    ab_delete(keys);
    if (err != AB_OK) {
        ab_delete(made);
        return err;
    }
    *order = made;
    return AB_OK;
}
