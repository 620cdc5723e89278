#include "cluster/partition_plan.h"

#include <stdarg.h>
#include <stdio.h>

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

ab_err ab_partition_facts_order(const struct ab_partition_fact *facts, uint32_t count, uint32_t **order)
{
    /* Partition numbers are small and dense: a table by number is an order. */
    uint32_t *places = ab_new_array(uint32_t, AB_PARTITIONS_MAX);
    uint32_t *made = ab_new_array(uint32_t, count);
    ab_err err = AB_OK;
    for (uint32_t i = 0; i < count && err == AB_OK; i++) {
        uint32_t partition = facts[i].state->partition;
        if (partition >= AB_PARTITIONS_MAX || places[partition] != 0) {
            err = AB_USAGE;
        } else {
            places[partition] = i + 1;
        }
    }
    uint32_t next = 0;
    for (uint32_t p = 0; p < AB_PARTITIONS_MAX && err == AB_OK; p++) {
        if (places[p] != 0) {
            made[next++] = places[p] - 1;
        }
    }
    ab_delete(places);
    if (err != AB_OK) {
        ab_delete(made);
        return err;
    }
    *order = made;
    return AB_OK;
}
