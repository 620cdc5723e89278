#include "tests/simulation/serving.h"

#include "tests/simulation/batch.h"
#include "tests/simulation/network.h"

#include "speed/span_window.h"

#include "common/base/memory.h"

#include <inttypes.h>
#include <string.h>

#define QUESTIONS_MAX 8u
#define READ_EVERY_US (250 * AB_US_PER_MS)
#define READ_AGAIN_US (100 * AB_US_PER_MS)
#define ASK_AGAIN_US (300 * AB_US_PER_MS)
#define STALE_WAIT_US (30 * AB_US_PER_MS)
#define FETCH_AGAIN_US (500 * AB_US_PER_MS)
#define DEADLINE_US (1500 * AB_US_PER_MS)
#define ATTEMPTS_MAX 5u

/* A question in hand: the version it has pinned and what has been merged so far. */
struct question {
    bool is_open;
    struct sim_question asked;
    uint64_t id;                /* of this attempt: an answer to another one is passed over */
    struct sim_version version; /* number 0: none yet, and everything comes from speed */
    bool is_merged[SIM_PARTITIONS_MAX];
    struct sim_total totals[SIM_PARTITIONS_MAX]; /* of speed */
    uint64_t offsets[SIM_PARTITIONS_MAX];
    int64_t ask_us[SIM_PARTITIONS_MAX];
    uint32_t attempts;
    bool is_waiting; /* for a newer version, before it begins anew */
    int64_t restart_us, until_us;
};

struct sim_serving {
    bool has_views;
    struct ab_version_number pointers[SIM_VIEWS]; /* in force, as far as is known here */
    uint64_t view_versions[SIM_VIEWS];
    uint32_t leaders[SIM_PARTITIONS_MAX];
    struct sim_version served[SIM_VIEWS]; /* opened; stays when a newer one is not there yet */
    int64_t read_us, fetch_us;
    uint64_t questions_made;
    struct question questions[QUESTIONS_MAX];
};

/* Between serving nodes and leaders. */
struct state_query {
    uint32_t from, from_process, view;
    uint64_t id, cut, offset;
};
struct state_answer {
    uint64_t id, offset;
    enum sim_answer status; /* UNKNOWN: the version is too old */
    struct sim_total total;
};

struct sim_serving *sim_serving_create(void)
{
    return ab_new(struct sim_serving);
}

void sim_serving_destroy(struct sim_serving *serving)
{
    ab_delete(serving);
}

/* ---- what is in force ---- */

static void views_read(struct sim_world *world, struct sim_node *node)
{
    node->serving->read_us = world->now_us + READ_EVERY_US;
    struct sim_operation operation = {
        .kind = SIM_READ_VIEWS, .node = node->node, .process = node->process, .session = node->session};
    sim_coordination_submit(world, &operation);
}

/* Soon, because something that was thought is not so. */
static void views_read_soon(struct sim_world *world, struct sim_serving *serving)
{
    int64_t soon_us = world->now_us + READ_AGAIN_US;
    serving->read_us = soon_us < serving->read_us ? soon_us : serving->read_us;
}

/* Opens what is in force where it is on the disk; what is not there is fetched from whom has it. */
static void versions_open(struct sim_world *world, struct sim_node *node)
{
    struct sim_serving *serving = node->serving;
    bool may_fetch = world->now_us >= serving->fetch_us;
    for (uint32_t v = 0; v < SIM_VIEWS; v++) {
        struct ab_version_number wanted = serving->pointers[v];
        bool is_open =
            serving->served[v].number.cut == wanted.cut && serving->served[v].number.attempt == wanted.attempt;
        if (is_open) {
            continue;
        }
        const struct sim_version *found = sim_versions_find(&node->disk.versions, wanted);
        if (found != NULL) {
            serving->served[v] = *found;
            continue;
        }
        sim_mark(world, SIM_MARK_F42);
        for (uint32_t n = 1; n <= world->config.nodes && may_fetch; n++) {
            const struct sim_version *theirs = sim_versions_find(&world->nodes[n].disk.versions, wanted);
            if (theirs != NULL && world->nodes[n].status == SIM_UP && n != node->node) {
                serving->fetch_us = world->now_us + FETCH_AGAIN_US;
                sim_batch_ship(world, node->node, theirs, SIM_CONTROLLERS);
                break;
            }
        }
    }
}

void sim_serving_on_views(struct sim_world *world, struct sim_node *node, const struct sim_operation *operation)
{
    struct sim_serving *serving = node->serving;
    for (uint32_t v = 0; v < SIM_VIEWS; v++) {
        if (operation->view_versions[v] < serving->view_versions[v]) {
            return; /* an old copy */
        }
    }
    memcpy(serving->view_versions, operation->view_versions, sizeof serving->view_versions);
    memcpy(serving->pointers, operation->pointers, sizeof serving->pointers);
    memcpy(serving->leaders, operation->leaders, sizeof serving->leaders);
    serving->has_views = true;
    versions_open(world, node);
}

/* ---- asking leaders ---- */

static void partition_ask(struct sim_world *world, struct sim_node *node, struct question *question, uint32_t partition)
{
    uint32_t leader = node->serving->leaders[partition];
    question->ask_us[partition] = world->now_us + ASK_AGAIN_US;
    if (leader == AB_NODE_NONE) {
        return;
    }
    struct state_query query = {.from = node->node,
        .from_process = node->process,
        .view = question->asked.view,
        .id = question->id,
        .cut = question->version.number.cut,
        .offset = question->asked.offsets[partition]};
    struct sim_event event = {
        .kind = SIM_EVENT_STATE_QUERY, .node = leader, .partition = partition, .number = question->id};
    sim_network_carry(world, node->node, &event, &query, sizeof query);
}

static void reply(struct sim_world *world, struct question *question, enum sim_answer answer)
{
    struct sim_question_reply said = {
        .question = question->asked, .answer = answer, .cut = question->version.number.cut};
    for (uint32_t p = 0; p < world->config.partitions; p++) {
        said.offsets[p] = question->offsets[p];
        said.totals[p] = question->version.totals[p].views[question->asked.view];
        sim_total_merge(&said.totals[p], question->totals[p]);
    }
    question->is_open = false;
    sim_client_answer(world, &said);
}

/* Pins the version that is open now, and asks everybody for what came after it. */
static void attempt_begin(struct sim_world *world, struct sim_node *node, struct question *question)
{
    struct sim_serving *serving = node->serving;
    uint32_t view = question->asked.view;
    bool is_open = serving->pointers[view].cut == 0 || serving->served[view].number.cut > 0;
    if (!serving->has_views || !is_open) {
        sim_mark(world, SIM_MARK_H48);
        reply(world, question, SIM_REFUSED); /* a version is in force that is not here */
        return;
    }
    if (sim_shell_mutant != SIM_MUTANT_LATE_ANSWER_MERGED || question->id == 0) {
        question->id = (uint64_t)node->process << 32 | ++serving->questions_made;
    }
    question->version = serving->served[view];
    question->is_waiting = false;
    memset(question->is_merged, 0, sizeof question->is_merged);
    memset(question->totals, 0, sizeof question->totals);
    memset(question->offsets, 0, sizeof question->offsets);
    for (uint32_t p = 0; p < world->config.partitions; p++) {
        partition_ask(world, node, question, p);
    }
}

void sim_serving_on_question(struct sim_world *world, struct sim_node *node, const struct sim_event *event)
{
    if (node->serving == NULL) {
        return;
    }
    for (uint32_t q = 0; q < QUESTIONS_MAX; q++) {
        struct question *question = &node->serving->questions[q];
        if (!question->is_open) {
            *question = (struct question){.is_open = true,
                .asked = *(const struct sim_question *)event->payload,
                .until_us = world->now_us + DEADLINE_US};
            attempt_begin(world, node, question);
            return;
        }
    }
}

/* ---- the leader ---- */

static enum sim_answer state_answer(struct sim_world *world, struct sim_node *node, const struct state_query *query,
    uint32_t partition, struct state_answer *answer)
{
    const struct sim_replica *replica = &node->replicas[partition];
    if (replica->core == NULL || !ab_replica_may_serve(replica->core, sim_node_clock(world, node->node))) {
        return SIM_REFUSED;
    }
    uint64_t wanted = replica->committed; /* what was committed when it was asked is what it has to see */
    if (query->offset > wanted && sim_shell_mutant != SIM_MUTANT_TOKEN_IGNORED) {
        sim_mark(world, SIM_MARK_S9_TOKEN);
        wanted = query->offset;
    }
    if (replica->applied < wanted) {
        return SIM_REFUSED;
    }
    switch (ab_span_window_of(replica->speed.retired, replica->speed.last_cut + 1, query->cut)) {
    case AB_SPANS_GONE:
        sim_mark(world, SIM_MARK_S9_STALE);
        if (sim_shell_mutant != SIM_MUTANT_GONE_SPANS_ANSWERED) {
            return SIM_UNKNOWN;
        }
        break;
    case AB_SPANS_AHEAD:
        return SIM_REFUSED;
    case AB_SPANS_HERE:
        break;
    }
    answer->offset = replica->applied;
    answer->total = sim_speed_after(&replica->speed, query->cut).views[query->view];
    return SIM_DONE;
}

void sim_serving_on_state_query(struct sim_world *world, struct sim_node *node, const struct sim_event *event)
{
    const struct state_query *query = event->payload;
    struct state_answer answer = {.id = query->id};
    answer.status = state_answer(world, node, query, event->partition, &answer);
    struct sim_event told = {.kind = SIM_EVENT_STATE_ANSWER,
        .node = query->from,
        .process = query->from_process,
        .partition = event->partition,
        .number = query->id};
    sim_network_carry(world, node->node, &told, &answer, sizeof answer);
}

/* ---- merging ---- */

static void finish(struct sim_world *world, struct sim_node *node, struct question *question)
{
    const struct sim_serving *serving = node->serving;
    struct ab_version_number in_force = world->coordination->views[question->asked.view].pointer;
    if (in_force.cut != question->version.number.cut) {
        sim_mark(world, SIM_MARK_H46);
    }
    if (sim_shell_mutant == SIM_MUTANT_POINTER_READ_AGAIN) {
        question->version = serving->served[question->asked.view];
    }
    reply(world, question, SIM_DONE);
}

/* The version is too old for this leader: everything is begun anew with a newer one. */
static void attempt_stale(struct sim_world *world, struct sim_node *node, struct question *question)
{
    question->attempts++;
    if (question->attempts == ATTEMPTS_MAX) {
        reply(world, question, SIM_UNKNOWN);
        return;
    }
    question->is_waiting = true;
    question->restart_us = world->now_us + STALE_WAIT_US * question->attempts;
    if (world->now_us + READ_AGAIN_US < node->serving->read_us) {
        views_read(world, node);
    }
}

void sim_serving_on_state_answer(struct sim_world *world, struct sim_node *node, const struct sim_event *event)
{
    const struct state_answer *answer = event->payload;
    struct question *question = NULL;
    for (uint32_t q = 0; q < QUESTIONS_MAX && node->serving != NULL; q++) {
        bool is_its = node->serving->questions[q].is_open && node->serving->questions[q].id == answer->id;
        question = is_its ? &node->serving->questions[q] : question;
    }
    if (question == NULL || question->is_waiting) {
        return;
    }
    uint32_t partition = event->partition;
    bool is_again = question->is_merged[partition];
    if (is_again) {
        sim_mark(world, SIM_MARK_H13);
    }
    if (is_again && sim_shell_mutant != SIM_MUTANT_MERGED_TWICE) {
        return;
    }
    if (answer->status == SIM_UNKNOWN) {
        attempt_stale(world, node, question);
        return;
    }
    if (answer->status != SIM_DONE) {
        views_read_soon(world, node->serving); /* perhaps somebody else leads */
        return;
    }
    sim_total_merge(&question->totals[partition], answer->total);
    question->offsets[partition] = answer->offset;
    question->is_merged[partition] = true;
    for (uint32_t p = 0; p < world->config.partitions; p++) {
        if (!question->is_merged[p]) {
            return;
        }
    }
    finish(world, node, question);
}

/* ---- time ---- */

static void question_tick(struct sim_world *world, struct sim_node *node, struct question *question)
{
    if (world->now_us >= question->until_us) {
        reply(world, question, SIM_REFUSED);
        return;
    }
    if (question->is_waiting) {
        if (world->now_us >= question->restart_us) {
            attempt_begin(world, node, question);
        }
        return;
    }
    for (uint32_t p = 0; p < world->config.partitions; p++) {
        if (!question->is_merged[p] && world->now_us >= question->ask_us[p]) {
            views_read_soon(world, node->serving);
            partition_ask(world, node, question, p);
        }
    }
}

void sim_serving_tick(struct sim_world *world, struct sim_node *node)
{
    struct sim_serving *serving = node->serving;
    if (world->now_us >= serving->read_us) {
        views_read(world, node);
    }
    if (serving->has_views) {
        versions_open(world, node);
    }
    for (uint32_t q = 0; q < QUESTIONS_MAX; q++) {
        if (serving->questions[q].is_open) {
            question_tick(world, node, &serving->questions[q]);
        }
    }
}
