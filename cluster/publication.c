#include "cluster/publication.h"

bool ab_version_is_newer(struct ab_version_number number, struct ab_version_number than)
{
    return number.cut != than.cut ? number.cut > than.cut : number.attempt > than.attempt;
}

uint32_t ab_publication_holders(
    const struct ab_replica_set *state, const uint32_t *holders, size_t holders_count, bool *is_everywhere)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < state->replicas.count; i++) {
        bool is_holder = false;
        for (size_t h = 0; h < holders_count && !is_holder; h++) {
            is_holder = holders[h] == state->replicas.items[i];
        }
        count += is_holder;
    }
    bool is_in_sync = state->isr.count == state->replicas.count && state->learners.count == 0;
    *is_everywhere = *is_everywhere && is_in_sync && count == state->replicas.count;
    return count;
}

uint64_t ab_publication_retain(const struct ab_version_number *versions, size_t versions_count,
    struct ab_version_number in_force, uint32_t retained_max, bool *stays)
{
    uint64_t oldest_cut = UINT64_MAX;
    for (size_t i = 0; i < versions_count; i++) {
        size_t newer = 0; /* published versions before this one, newest first */
        for (size_t j = 0; j < versions_count; j++) {
            newer += ab_version_is_newer(versions[j], versions[i]) && !ab_version_is_newer(versions[j], in_force);
        }
        stays[i] = in_force.cut > 0 && !ab_version_is_newer(versions[i], in_force) && newer < retained_max;
        oldest_cut = stays[i] && versions[i].cut < oldest_cut ? versions[i].cut : oldest_cut;
    }
    return oldest_cut;
}
