#include "cluster/controller/partition_change.h"

#include "cluster/controller/changes.h"
#include "common/base/logging.h"
#include "common/base/random.h"

#include <inttypes.h>
#include <stdio.h>

/* Whether a change of unknown outcome landed: its token stands in the state. */
static ab_err outcome_read(
    const struct ab_partition_change *change, struct ab_coordination *coordination, struct ab_error *error)
{
    struct ab_replica_set state;
    uint64_t version = 0;
    AB_TRY(ab_facts_state_read(coordination, change->state.partition, &state, &version, error));
    return ab_hash128_equal(state.token, change->state.token)
               ? AB_OK
               : ab_error_set(error, AB_CONFLICT, "the change of partition %u did not happen", state.partition);
}

ab_err ab_partition_change_commit(struct ab_partition_change *change, const struct ab_facts *facts,
    struct ab_coordination *coordination, uint64_t epoch_version, struct ab_error *error)
{
    char path[AB_REGISTRATION_PATH_BYTES];
    struct ab_buffer text = {0};
    struct ab_changes changes = {0};
    change->state.token = (struct ab_hash128){.low = ab_random_id(), .high = ab_random_id()};
    ab_changes_fence(&changes, epoch_version);
    for (uint32_t i = 0; i < change->relied.count; i++) {
        const struct ab_replica_member *member = &change->relied.items[i];
        uint32_t at = ab_facts_live_find(facts, member->node, member->incarnation);
        ab_live_path(member->node, member->incarnation, path);
        ab_changes_add(&changes, AB_COORDINATION_CHECK, path, (struct ab_bytes){0},
            at == UINT32_MAX ? 0 : facts->live_versions[at]);
    }
    ab_err err = ab_replica_set_encode(&change->state, &text, error);
    if (err == AB_OK) {
        ab_replica_set_path(change->state.partition, path);
        ab_changes_add(&changes, AB_COORDINATION_SET, path, ab_buffer_view(&text), change->version);
        err = ab_changes_commit(&changes, coordination, error);
    }
    ab_buffer_fini(&text);
    ab_changes_fini(&changes);
    if (err == AB_OUTCOME_UNKNOWN) {
        if (error != NULL) {
            *error = (struct ab_error){0};
        }
        err = outcome_read(change, coordination, error);
    }
    return err;
}

void ab_partition_change_say(const struct ab_partition_change *change)
{
    const struct ab_replica_set *state = &change->state;
    char isr[AB_REPLICAS_MAX * 12] = "";
    size_t used = 0;
    for (uint32_t i = 0; i < state->isr.count; i++) {
        used +=
            (size_t)snprintf(isr + used, sizeof isr - used, "%s%" PRIu32, i == 0 ? "" : " ", state->isr.items[i].node);
    }
    ab_info("partition changed", "%s: partition %" PRIu32 ", leader %" PRIu32 " in epoch %" PRIu64 ", isr %s",
        ab_change_kind_name(change->kind), state->partition, state->leader, state->leader_epoch, isr);
}
