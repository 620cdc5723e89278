#include "cluster/controller/elections.h"

#include "cluster/controller/partition_change.h"
#include "common/base/hash.h"
#include "common/base/logging.h"

#include <inttypes.h>
#include <string.h>

struct ab_elections {
    uint32_t partitions_count;
    struct ab_election_record *records;  /* owned; by partition */
    uint64_t *reasons;                   /* owned; by partition: hash of what was said last, 0 = nothing */
    struct ab_election_record *gathered; /* owned; those of the facts at hand */
    uint64_t changed_ms;                 /* when something was changed last, or could not be */
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
        ab_err err = ab_partition_change_commit(change, facts, coordination, epoch_version, &attempt);
        if (change->kind == AB_CHANGE_ELECT && is_counted(err)) {
            ab_election_record_note(&elections->records[change->state.partition], now_ms);
        }
        if (err == AB_OK) {
            ab_partition_change_say(change);
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

/* Once nothing has happened for a while, one leadership goes back to the replica that is preferred for it: after a node
 * was away, the others have more than their part. A move is safe whoever reads meanwhile: the new leader commits
 * nothing before the old one, who is in sync, has left its epoch. */
static ab_err rebalance(struct ab_elections *elections, const struct ab_election_input *input,
    const struct ab_facts *facts, struct ab_coordination *coordination, uint64_t epoch_version,
    struct ab_elections_result *result, struct ab_error *error)
{
    uint64_t now_ms = input->breaker.tick;
    if (now_ms < elections->changed_ms + AB_ELECTIONS_QUIET_MS) {
        return AB_OK;
    }
    struct ab_partition_plan plan;
    ab_partition_plan_init(&plan, 1, 0);
    ab_err err = ab_election_rebalance(input, &plan);
    plan.changes_left = 0; /* the others have their turn later */
    if (err == AB_OK && plan.changes_count > 0) {
        elections->changed_ms = now_ms;
        err = changes_commit(elections, &plan, facts, coordination, epoch_version, now_ms, result, error);
    }
    ab_partition_plan_fini(&plan);
    return err;
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
        bool is_quiet = plan.changes_count == 0 && plan.reasons_count == 0;
        elections->changed_ms = is_quiet && elections->changed_ms > 0 ? elections->changed_ms : now_ms;
        err = is_quiet ? rebalance(elections, &input, facts, coordination, epoch_version, result, error)
                       : changes_commit(elections, &plan, facts, coordination, epoch_version, now_ms, result, error);
    }
    ab_partition_plan_fini(&plan);
    return err;
}
