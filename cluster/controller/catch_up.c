#include "cluster/controller/catch_up.h"

#include "cluster/controller/controller.h"

#define PAUSE_US (100 * AB_US_PER_MS)
#define ASK_TIMEOUT_MS 2000

/* A member of a partition's entry in a node's answer; 0 when it is not there. */
static uint64_t offset_of(const struct ab_catch_up_answer *answers, uint32_t answers_count, uint32_t node,
    uint32_t partition, const char *member)
{
    for (uint32_t a = 0; a < answers_count; a++) {
        const struct ab_json *list = ab_json_get(answers[a].log_state, "partitions");
        for (size_t i = 0; answers[a].node == node && i < ab_json_count(list); i++) {
            const struct ab_json *entry = ab_json_at(list, i);
            if (ab_json_u64_or(ab_json_get(entry, "partition"), UINT64_MAX) == partition) {
                return ab_json_u64_or(ab_json_get(entry, member), 0);
            }
        }
    }
    return 0;
}

uint32_t ab_catch_up_judge(const struct ab_learner *learners, uint32_t learners_count,
    const struct ab_catch_up_answer *answers, uint32_t answers_count, struct ab_catch_up_mark *marks,
    uint32_t partitions_count, struct ab_caught_up *caught_up)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < learners_count; i++) {
        const struct ab_learner *learner = &learners[i];
        if (learner->partition >= partitions_count) {
            continue;
        }
        const struct ab_catch_up_mark *mark = &marks[learner->partition];
        uint64_t durable = offset_of(answers, answers_count, learner->node, learner->partition, "durable");
        bool is_known = mark->committed > 0 && mark->leader_epoch == learner->leader_epoch;
        if (is_known && durable >= mark->committed) {
            caught_up[count++] = (struct ab_caught_up){
                .partition = learner->partition, .node = learner->node, .leader_epoch = learner->leader_epoch};
        }
    }
    for (uint32_t i = 0; i < learners_count; i++) {
        const struct ab_learner *learner = &learners[i];
        if (learner->partition < partitions_count) {
            marks[learner->partition] = (struct ab_catch_up_mark){.leader_epoch = learner->leader_epoch,
                .committed = offset_of(answers, answers_count, learner->leader, learner->partition, "committed")};
        }
    }
    return count;
}

/* ---- asking ---- */

static void ask(struct ab_controller *controller, struct ab_speed_links *links, const struct ab_learner *learners,
    uint32_t learners_count, struct ab_catch_up_mark *marks)
{
    const struct ab_speed_question question = {.verb = AB_VERB_LOG_STATE, .timeout_ms = ASK_TIMEOUT_MS};
    struct ab_speed_asked *asked = NULL;
    uint32_t asked_count = 0;
    if (ab_speed_asked_create(controller, &asked, &asked_count, NULL) != AB_OK) {
        return; /* it acts no more, or knows of no live node */
    }
    ab_speed_ask(controller, links, asked, asked_count, &question);
    struct ab_catch_up_answer *answers = ab_new_array(struct ab_catch_up_answer, asked_count);
    for (uint32_t i = 0; i < asked_count; i++) {
        answers[i] = (struct ab_catch_up_answer){.node = asked[i].target.node, .log_state = asked[i].reply};
    }
    struct ab_caught_up *caught_up = ab_new_array(struct ab_caught_up, learners_count);
    uint32_t count = ab_catch_up_judge(
        learners, learners_count, answers, asked_count, marks, controller->node.identity.partitions_count, caught_up);
    ab_acting_loop_tell_caught_up(controller->acting_loop, caught_up, count);
    ab_delete(caught_up);
    ab_delete(answers);
    ab_speed_asked_destroy(asked, asked_count);
}

void ab_catch_up_run(void *context)
{
    struct ab_controller *controller = context;
    struct ab_speed_links links = {0};
    struct ab_catch_up_mark *marks = ab_new_array(struct ab_catch_up_mark, controller->node.identity.partitions_count);
    while (!atomic_load(&controller->is_stopping)) {
        struct ab_learner *learners = NULL;
        uint32_t count = 0;
        ab_acting_loop_learners(controller->acting_loop, &learners, &count);
        if (count > 0) {
            ask(controller, &links, learners, count, marks);
        } else if (links.count > 0) {
            ab_speed_links_close(&links);
        }
        ab_delete(learners);
        ab_time_sleep_us(PAUSE_US);
    }
    ab_speed_links_close(&links);
    ab_delete(marks);
}
