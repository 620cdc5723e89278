#include "cluster/controller/reassigning.h"

#include "cluster/controller/changes.h"
#include "cluster/controller/partition_change.h"
#include "common/base/logging.h"

#include <inttypes.h>
#include <stdio.h>

struct ab_reassigning {
    uint32_t partitions_count;
    struct ab_learner *learners; /* owned; room for all replicas */
    uint32_t learners_count;
    char trouble[AB_ERROR_TEXT_BYTES]; /* what was complained of last */
};

struct ab_reassigning *ab_reassigning_create(uint32_t partitions_count)
{
    struct ab_reassigning *reassigning = ab_new(struct ab_reassigning);
    reassigning->partitions_count = partitions_count;
    reassigning->learners = ab_new_array(struct ab_learner, (size_t)partitions_count * AB_REPLICAS_MAX);
    return reassigning;
}

void ab_reassigning_destroy(struct ab_reassigning *reassigning)
{
    if (reassigning != NULL) {
        ab_delete(reassigning->learners);
        ab_delete(reassigning);
    }
}

ab_err ab_reassigning_read(struct ab_coordination *coordination, struct ab_reassignment *reassignment,
    uint64_t *version, struct ab_error *error)
{
    struct ab_buffer text = {0};
    struct ab_coordination_stat stat = {0};
    ab_err err = ab_coordination_get(coordination, AB_REASSIGNMENT_PATH, &text, &stat, error);
    if (err == AB_OK) {
        err = ab_reassignment_decode(ab_buffer_view(&text), reassignment, error);
        *version = stat.version;
    }
    ab_buffer_fini(&text);
    return err == AB_OK || err == AB_NOT_FOUND ? err : ab_error_wrap(error, err, "read %s", AB_REASSIGNMENT_PATH);
}

/* ---- a round ---- */

/* Complains, unless it did so already in these words. */
static void trouble_say(struct ab_reassigning *reassigning, const char *text)
{
    if (strcmp(reassigning->trouble, text) != 0) {
        (void)snprintf(reassigning->trouble, sizeof reassigning->trouble, "%s", text);
        ab_warn("reassignment waits", "%s", text);
    }
}

static void learners_note(struct ab_reassigning *reassigning, const struct ab_facts *facts)
{
    reassigning->learners_count = 0;
    for (uint32_t i = 0; i < facts->partitions_count; i++) {
        const struct ab_replica_set *state = &facts->states[i];
        for (uint32_t l = 0; l < state->learners.count && state->leader != AB_NODE_NONE; l++) {
            reassigning->learners[reassigning->learners_count++] = (struct ab_learner){.partition = state->partition,
                .node = state->learners.items[l],
                .leader = state->leader,
                .leader_epoch = state->leader_epoch};
        }
    }
}

static ab_err steps_commit(struct ab_partition_plan *plan, const struct ab_facts *facts,
    struct ab_coordination *coordination, uint64_t epoch_version, struct ab_reassigning_result *result,
    struct ab_error *error)
{
    for (uint32_t i = 0; i < plan->changes_count; i++) {
        struct ab_partition_change *change = &plan->changes[i];
        struct ab_error attempt = {0};
        ab_err err = ab_partition_change_commit(change, facts, coordination, epoch_version, &attempt);
        if (err == AB_OK) {
            ab_partition_change_say(change);
            result->committed++;
        } else if (err == AB_CONFLICT || err == AB_NOT_FOUND) {
            result->left++; /* its leader changed the in-sync set meanwhile, or somebody is gone */
        } else {
            result->left += plan->changes_count - i;
            return ab_error_set(error, err, "%s", attempt.text);
        }
    }
    result->left += plan->changes_left;
    return AB_OK;
}

/* True when every partition has arrived. */
static bool is_done(const struct ab_reassignment *reassignment, const struct ab_facts *facts)
{
    struct ab_live_set live;
    uint32_t next = 0;
    bool is_all = true;
    ab_live_set_init(&live, facts->live, facts->live_count);
    for (uint32_t i = 0; i < reassignment->moves_count && is_all; i++) {
        const struct ab_replica_target *target = &reassignment->targets[i];
        while (next < facts->partitions_count && facts->states[next].partition < target->partition) {
            next++;
        }
        is_all = next < facts->partitions_count && facts->states[next].partition == target->partition &&
                 ab_reassign_is_done(&live, &facts->states[next], target);
    }
    ab_live_set_fini(&live);
    return is_all;
}

/* Deletes what is stored. Somebody may have put another one there meanwhile: then it stays. */
static ab_err finish(const struct ab_reassignment *reassignment, uint64_t version, struct ab_coordination *coordination,
    uint64_t epoch_version, struct ab_reassigning_result *result, struct ab_error *error)
{
    struct ab_changes changes = {0};
    struct ab_error attempt = {0};
    ab_changes_fence(&changes, epoch_version);
    ab_changes_add(&changes, AB_COORDINATION_DELETE, AB_REASSIGNMENT_PATH, (struct ab_bytes){0}, version);
    ab_err err = ab_changes_commit(&changes, coordination, &attempt);
    if (err == AB_OK) {
        ab_info("reassignment done", "%s node %" PRIu32 ": %" PRIu32 " partitions moved",
            ab_reassignment_action_name(reassignment->action), reassignment->node, reassignment->moves_count);
        return AB_OK;
    }
    result->left++;
    return err == AB_CONFLICT || err == AB_NOT_FOUND ? AB_OK : ab_error_set(error, err, "%s", attempt.text);
}

/* Why nothing moves, when nothing does: the first reason. */
static void reasons_say(struct ab_reassigning *reassigning, const struct ab_partition_plan *plan)
{
    if (plan->changes_count == 0 && plan->reasons_count > 0) {
        trouble_say(reassigning, plan->reasons[0].text);
    } else if (plan->changes_count > 0) {
        reassigning->trouble[0] = '\0';
    }
}

static ab_err steps_take(struct ab_reassigning *reassigning, const struct ab_reassign_input *input,
    const struct ab_facts *facts, struct ab_coordination *coordination, uint64_t epoch_version,
    struct ab_reassigning_result *result, struct ab_error *error)
{
    struct ab_partition_plan plan;
    ab_partition_plan_init(&plan, AB_REASSIGNING_CHANGES_MAX, 1);
    ab_err err = ab_reassign_plan(input, &plan);
    if (err == AB_OK) {
        reasons_say(reassigning, &plan);
        err = steps_commit(&plan, facts, coordination, epoch_version, result, error);
    }
    ab_partition_plan_fini(&plan);
    return err;
}

ab_err ab_reassigning_round(struct ab_reassigning *reassigning, const struct ab_facts *facts,
    const struct ab_caught_up *caught_up, uint32_t caught_up_count, struct ab_coordination *coordination,
    uint64_t epoch_version, struct ab_reassigning_result *result, struct ab_error *error)
{
    struct ab_reassignment reassignment = {0};
    struct ab_error attempt = {0};
    uint64_t version = 0;
    *result = (struct ab_reassigning_result){0};
    learners_note(reassigning, facts);
    ab_err err = ab_reassigning_read(coordination, &reassignment, &version, &attempt);
    if (err == AB_CORRUPT || err == AB_UNSUPPORTED) {
        trouble_say(reassigning, attempt.text);
        return AB_OK;
    }
    if (err != AB_OK) {
        return err == AB_NOT_FOUND ? AB_OK : ab_error_set(error, err, "%s", attempt.text);
    }
    if (is_done(&reassignment, facts)) {
        err = finish(&reassignment, version, coordination, epoch_version, result, error);
    } else {
        const struct ab_reassign_input input = {.live = facts->live,
            .live_count = facts->live_count,
            .partitions = facts->partitions,
            .partitions_count = facts->partitions_count,
            .targets = reassignment.targets,
            .targets_count = reassignment.moves_count,
            .caught_up = caught_up,
            .caught_up_count = caught_up_count,
            .copies_max = AB_REASSIGNING_COPIES_MAX};
        err = steps_take(reassigning, &input, facts, coordination, epoch_version, result, error);
    }
    ab_reassignment_fini(&reassignment);
    return err;
}

const struct ab_learner *ab_reassigning_learners(const struct ab_reassigning *reassigning, uint32_t *count)
{
    *count = reassigning->learners_count;
    return reassigning->learners;
}
