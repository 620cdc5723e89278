#include "cluster/controller/elections.h"

#include "cluster/controller/changes.h"
#include "common/base/hash.h"
#include "common/base/logging.h"
#include "common/base/random.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct ab_elections {
    uint32_t partitions_count;
    struct ab_election_record *records;  /* owned; by partition */
    uint64_t *reasons;                   /* owned; by partition: hash of what was said last, 0 = nothing */
    struct ab_election_record *gathered; /* owned; those of the facts at hand */
};

struct ab_elections *ab_elections_create(uint32_t partitions_count)
{
    struct ab_elections *elections = ab_new(struct ab_elections);
    elections->partitions_count = partitions_count;
    elections->records = ab_new_array(struct ab_election_record, partitions_count);
    elections->gathered = ab_new_array(struct ab_election_record, partitions_count);
    elections->reasons = ab_new_array(uint64_t, partitions_count);
    return elections;
}

void ab_elections_destroy(struct ab_elections *elections)
{
    if (elections == NULL) {
        return;
    }
    ab_delete(elections->records);
    ab_delete(elections->gathered);
    ab_delete(elections->reasons);
    ab_delete(elections);
}

void ab_elections_reset(struct ab_elections *elections)
{
    memset(elections->records, 0, elections->partitions_count * sizeof elections->records[0]);
    memset(elections->reasons, 0, elections->partitions_count * sizeof elections->reasons[0]);
}

/* Says each reason when it is new, and that a partition has none any more. */
static void reasons_say(struct ab_elections *elections, const struct ab_partition_plan *plan)
{
    uint32_t next = 0;
    for (uint32_t p = 0; p < elections->partitions_count; p++) {
        const struct ab_partition_reason *reason = NULL;
        for (; next < plan->reasons_count && plan->reasons[next].partition <= p; next++) {
            reason = &plan->reasons[next];
        }
        uint64_t hash = reason == NULL ? 0 : ab_hash64(AB_HASH_TABLE, ab_bytes_of_text(reason->text)) | 1;
        if (hash != 0 && hash != elections->reasons[p]) {
            ab_warn("partition without a leader", "%s", reason->text);
        }
        elections->reasons[p] = hash;
    }
}

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

/* One change as one multi. AB_CONFLICT, AB_NOT_FOUND: facts have changed. */
static ab_err change_commit(struct ab_partition_change *change, const struct ab_facts *facts,
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

static void change_say(const struct ab_partition_change *change)
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

/* True when the change may have happened, or did. */
static bool is_counted(ab_err err)
{
    return err == AB_OK || err == AB_OUTCOME_UNKNOWN || err == AB_UNAVAILABLE || err == AB_TIMEOUT;
}

static ab_err changes_commit(struct ab_elections *elections, struct ab_partition_plan *plan,
    const struct ab_facts *facts, struct ab_coordination *coordination, uint64_t epoch_version, uint64_t now_ms,
    struct ab_elections_result *result, struct ab_error *error)
{
    for (uint32_t i = 0; i < plan->changes_count; i++) {
        struct ab_partition_change *change = &plan->changes[i];
        struct ab_error attempt = {0};
        ab_err err = change_commit(change, facts, coordination, epoch_version, &attempt);
        if (change->kind == AB_CHANGE_ELECT && is_counted(err)) {
            ab_election_record_note(&elections->records[change->state.partition], now_ms);
        }
        if (err == AB_OK) {
            change_say(change);
            result->committed++;
        } else if (err == AB_CONFLICT || err == AB_NOT_FOUND) {
            ab_info("partition changed meanwhile", "partition %" PRIu32 ": %s", change->state.partition, attempt.text);
            result->left++;
        } else {
            result->left += plan->changes_count - i;
            return ab_error_set(error, err, "%s", attempt.text);
        }
    }
    result->left += plan->changes_left;
    return AB_OK;
}

ab_err ab_elections_round(struct ab_elections *elections, const struct ab_facts *facts,
    struct ab_coordination *coordination, uint64_t epoch_version, uint64_t now_ms, struct ab_elections_result *result,
    struct ab_error *error)
{
    *result = (struct ab_elections_result){0};
    for (uint32_t i = 0; i < facts->partitions_count; i++) {
        elections->gathered[i] = elections->records[facts->partitions[i].state->partition];
    }
    const struct ab_election_input input = {.live = facts->live,
        .live_count = facts->live_count,
        .partitions = facts->partitions,
        .records = elections->gathered,
        .partitions_count = facts->partitions_count,
        .breaker = {.elections_max = AB_ELECTIONS_MAX, .window_ticks = AB_ELECTIONS_WINDOW_MS, .tick = now_ms}};
    struct ab_partition_plan plan;
    ab_partition_plan_init(&plan, AB_ELECTIONS_CHANGES_MAX, elections->partitions_count);
    ab_err err = ab_election_plan(&input, &plan);
    if (err == AB_OK) {
        reasons_say(elections, &plan);
        result->unserved = plan.reasons_count;
        err = changes_commit(elections, &plan, facts, coordination, epoch_version, now_ms, result, error);
    }
    ab_partition_plan_fini(&plan);
    return err;
}
