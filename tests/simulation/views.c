#include "tests/simulation/views.h"

#include "tests/simulation/log_model.h"

#include <string.h>

/* ---- totals ---- */

void sim_totals_add(struct sim_totals *totals, const struct sim_record *record)
{
    if (record->kind != SIM_DATA) {
        return;
    }
    uint64_t identity = sim_mix(sim_mix(record->payload, record->producer), record->sequence);
    sim_total_merge(&totals->views[0], (struct sim_total){.count = 1, .sum = identity});
    if (record->payload % 2 == 0) {
        sim_total_merge(&totals->views[1], (struct sim_total){.count = 1, .sum = identity});
    }
}

void sim_total_merge(struct sim_total *total, struct sim_total other)
{
    total->count += other.count;
    total->sum += other.sum;
}

void sim_totals_merge(struct sim_totals *totals, const struct sim_totals *other)
{
    for (uint32_t v = 0; v < SIM_VIEWS; v++) {
        sim_total_merge(&totals->views[v], other->views[v]);
    }
}

bool sim_total_equal(struct sim_total a, struct sim_total b)
{
    return a.count == b.count && a.sum == b.sum;
}

bool sim_totals_equal(const struct sim_totals *a, const struct sim_totals *b)
{
    bool is_equal = true;
    for (uint32_t v = 0; v < SIM_VIEWS; v++) {
        is_equal = is_equal && sim_total_equal(a->views[v], b->views[v]);
    }
    return is_equal;
}

/* ---- spans ---- */

void sim_speed_apply(struct sim_speed *speed, const struct sim_record *record)
{
    sim_totals_add(&speed->open.totals, record);
    if (record->kind != SIM_CUT) {
        return;
    }
    if (speed->closed_count == SIM_SPANS_MAX) { /* only while a long log is replayed: what was retired elsewhere */
        (void)sim_speed_retire(speed, speed->closed[0].number);
    }
    speed->open.number = record->sequence;
    if (record->sequence > speed->retired) {
        speed->closed[speed->closed_count++] = speed->open;
    } /* else it was retired before this replica had it */
    speed->last_cut = record->sequence;
    speed->open = (struct sim_span){.start = record->offset + 1};
}

struct sim_totals sim_speed_after(const struct sim_speed *speed, uint64_t cut)
{
    struct sim_totals totals = speed->open.totals;
    for (uint32_t i = 0; i < speed->closed_count; i++) {
        if (speed->closed[i].number > cut) {
            sim_totals_merge(&totals, &speed->closed[i].totals);
        }
    }
    return totals;
}

bool sim_speed_retire(struct sim_speed *speed, uint64_t cut)
{
    if (speed->last_cut < cut) {
        return false;
    }
    uint32_t gone = 0;
    while (gone < speed->closed_count && speed->closed[gone].number <= cut) {
        gone++;
    }
    speed->closed_count -= gone;
    memmove(speed->closed, speed->closed + gone, speed->closed_count * sizeof speed->closed[0]);
    speed->retired = cut > speed->retired ? cut : speed->retired;
    return true;
}

uint64_t sim_speed_start(const struct sim_speed *speed)
{
    return speed->closed_count > 0 ? speed->closed[0].start : speed->open.start;
}

/* ---- versions ---- */

const struct sim_version *sim_versions_find(const struct sim_versions *versions, struct ab_version_number number)
{
    for (uint32_t i = 0; i < versions->count; i++) {
        const struct sim_version *version = &versions->items[i];
        if (version->number.cut == number.cut && version->number.attempt == number.attempt) {
            return version;
        }
    }
    return NULL;
}

bool sim_versions_add(struct sim_versions *versions, const struct sim_version *version)
{
    if (versions->count == SIM_VERSIONS_MAX) {
        return false;
    }
    versions->items[versions->count++] = *version;
    return true;
}
