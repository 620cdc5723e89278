#include "serving/gather.h"

#include "common/base/time.h"

#include <inttypes.h>
#include <stdio.h>

#define LOOK_EVERY_US (100 * AB_US_PER_MS) /* while nobody answers: whether others lead by now */
#define BACK_OFF_FIRST_US (10 * AB_US_PER_MS)
#define BACK_OFF_MOST_US (200 * AB_US_PER_MS)
#define AGAIN_FIRST_US (2 * AB_US_PER_SECOND) /* a question may get lost with a connection */
#define MARGIN_US (200 * AB_US_PER_MS)        /* so that who asked hears what was missing, before the deadline */
#define MARGIN_SHARE 10
#define MISSING_TOLD_MAX 20u

/* A channel to the speed of a node's process. */
struct route {
    struct ab_leaders_node node;
    struct ab_channel *channel; /* owned */
};

/* A question on its way. */
struct asking {
    struct asking *next; /* in the arena, as it is */
    struct ab_leaders_node node;
    struct ab_channel *channel; /* borrowed from the route, which stays while the query runs */
    uint64_t request_id;
    uint32_t *partitions; /* in the arena; rising */
    uint32_t partitions_count;
    int64_t again_us; /* when it is asked again if there is no answer */
    bool is_open;     /* its answer has not come */
};

struct ab_gather {
    struct ab_wire *wire;              /* borrowed */
    struct ab_snapshot_source *source; /* borrowed */
    struct route *routes;              /* owned */
    size_t routes_count;
    /* of the question in hand: */
    struct ab_gather_question question;
    struct ab_snapshot *newest; /* owned reference: who leads now */
    struct asking *askings;     /* in the arena, as all below */
    struct asking **asked;      /* by partition: who is waited for; NULL = nobody */
    bool *is_merged;            /* by partition */
    uint64_t *offsets;
    uint32_t missing_count; /* wanted and not merged */
    int64_t as_of_us;
    int64_t until_us;
    int64_t ask_us; /* when what is missing may be asked for again */
    int64_t back_off_us;
    int64_t again_us;  /* the next question waits so long before it is repeated */
    char trouble[256]; /* what was refused last */
};

struct ab_gather *ab_gather_create(struct ab_wire *wire, struct ab_snapshot_source *source)
{
    struct ab_gather *gather = ab_new(struct ab_gather);
    gather->wire = wire;
    gather->source = source;
    return gather;
}

void ab_gather_destroy(struct ab_gather *gather)
{
    if (gather == NULL) {
        return;
    }
    ab_gather_end(gather);
    for (size_t i = 0; i < gather->routes_count; i++) {
        ab_channel_close(gather->routes[i].channel);
    }
    ab_delete(gather->routes);
    ab_delete(gather);
}

/* ---- routes ---- */

static bool leads_something(const struct ab_leaders *leaders, const struct ab_leaders_node *node)
{
    for (uint32_t n = 0; n < leaders->nodes_count; n++) {
        if (ab_leaders_node_equal(&leaders->nodes[n], node)) {
            return true;
        }
    }
    return false;
}

/* Between queries: processes that lead nothing any more are left. */
static void routes_prune(struct ab_gather *gather, const struct ab_leaders *leaders)
{
    size_t kept = 0;
    for (size_t i = 0; i < gather->routes_count; i++) {
        if (leads_something(leaders, &gather->routes[i].node)) {
            gather->routes[kept++] = gather->routes[i];
        } else {
            ab_channel_close(gather->routes[i].channel);
        }
    }
    gather->routes_count = kept;
}

static ab_err route_to(
    struct ab_gather *gather, const struct ab_leaders_node *node, struct ab_channel **channel, struct ab_error *error)
{
    for (size_t i = 0; i < gather->routes_count; i++) {
        if (ab_leaders_node_equal(&gather->routes[i].node, node)) {
            *channel = gather->routes[i].channel;
            return AB_OK;
        }
    }
    struct ab_channel_options options = {.address = node->endpoint.address};
    memcpy(options.server_key, node->endpoint.public_key, sizeof options.server_key);
    AB_TRY(ab_channel_open(gather->wire, &options, channel, error));
    gather->routes = ab_renew_bytes(gather->routes, (gather->routes_count + 1) * sizeof *gather->routes);
    gather->routes[gather->routes_count++] = (struct route){.node = *node, .channel = *channel};
    return AB_OK;
}

/* ---- asking ---- */

static bool is_single(const struct ab_gather *gather)
{
    return gather->newest->leaders.is_single;
}

static bool is_missing(const struct ab_gather *gather, uint32_t partition)
{
    return gather->question.wanted[partition] && !gather->is_merged[partition];
}

static uint64_t offset_wanted(const struct ab_gather_question *question, uint32_t partition)
{
    return partition < question->offsets_count ? question->offsets[partition] : 0;
}

static ab_err asking_send(struct ab_gather *gather, struct asking *asking, struct ab_error *error)
{
    const struct ab_gather_question *question = &gather->question;
    struct ab_wire_state_query wire = {.sql = question->sql,
        .catalog_hash = question->catalog_key,
        .cut = question->cut,
        .partitions = asking->partitions,
        .partitions_count = asking->partitions_count};
    if (question->offsets_count > 0) {
        uint64_t *offsets = ab_arena_alloc(question->arena, asking->partitions_count * sizeof *offsets);
        for (uint32_t i = 0; offsets != NULL && i < asking->partitions_count; i++) {
            offsets[i] = offset_wanted(question, asking->partitions[i]);
        }
        wire.offsets = offsets;
    }
    if (question->offsets_count > 0 && wire.offsets == NULL) {
        return ab_error_set(error, AB_FULL, "no memory for another query now");
    }
    AB_TRY(route_to(gather, &asking->node, &asking->channel, error));
    struct ab_buffer payload = {0};
    ab_wire_state_query_encode(&wire, &payload);
    int64_t left_us = gather->until_us - ab_time_monotonic_us();
    int64_t left_ms = (is_single(gather) ? left_us : left_us - left_us / MARGIN_SHARE) / AB_US_PER_MS;
    struct ab_envelope envelope = {.verb = AB_VERB_STATE_QUERY, .deadline_ms = left_ms < 1 ? 1 : (uint32_t)left_ms};
    ab_err err = ab_channel_send(asking->channel, &envelope, ab_buffer_view(&payload));
    ab_buffer_fini(&payload);
    asking->request_id = envelope.request_id;
    asking->is_open = err == AB_OK;
    return err == AB_OK ? AB_OK : ab_error_set(error, AB_UNAVAILABLE, "the speed layer cannot be reached");
}

static void trouble_note(struct ab_gather *gather, const struct asking *asking, const char *text)
{
    (void)snprintf(gather->trouble, sizeof gather->trouble, "node %" PRIu32 ": %.200s", asking->node.node, text);
}

/* Who was asked for these partitions is not waited for any more. */
static void asking_give_up(struct ab_gather *gather, const struct asking *asking)
{
    for (uint32_t i = 0; i < asking->partitions_count; i++) {
        struct asking **asked = &gather->asked[asking->partitions[i]];
        *asked = *asked == asking ? NULL : *asked;
    }
}

/* What is missing is asked for again, after a while that grows. */
static void back_off(struct ab_gather *gather)
{
    gather->ask_us = ab_time_monotonic_us() + gather->back_off_us;
    gather->back_off_us = gather->back_off_us * 2 > BACK_OFF_MOST_US ? BACK_OFF_MOST_US : gather->back_off_us * 2;
}

/* A question to a node for partitions of its own that are neither merged nor asked for. NULL: no memory. */
static struct asking *asking_make(struct ab_gather *gather, uint32_t place, uint32_t partitions_count)
{
    const struct ab_leaders *leaders = &gather->newest->leaders;
    struct asking *asking = ab_arena_zalloc(gather->question.arena, sizeof *asking);
    uint32_t *partitions = ab_arena_alloc(gather->question.arena, partitions_count * sizeof *partitions);
    if (asking == NULL || partitions == NULL) {
        return NULL;
    }
    *asking = (struct asking){.next = gather->askings,
        .node = leaders->nodes[place],
        .partitions = partitions,
        .again_us = ab_time_monotonic_us() + gather->again_us};
    for (uint32_t p = 0; p < leaders->partitions_count; p++) {
        if (leaders->of_partitions[p] == place && is_missing(gather, p) && gather->asked[p] == NULL) {
            partitions[asking->partitions_count++] = p;
            gather->asked[p] = asking;
        }
    }
    gather->askings = asking;
    return asking;
}

/* Asks every node for what it leads of what is missing and has not been asked for. The only node has to be reached. */
static ab_err ask_missing(struct ab_gather *gather, struct ab_error *error)
{
    const struct ab_leaders *leaders = &gather->newest->leaders;
    uint32_t *counts = ab_arena_zalloc(gather->question.arena, (leaders->nodes_count + 1) * sizeof *counts);
    if (counts == NULL) {
        return ab_error_set(error, AB_FULL, "no memory for another query now");
    }
    for (uint32_t p = 0; p < leaders->partitions_count; p++) {
        if (is_missing(gather, p) && gather->asked[p] == NULL && leaders->of_partitions[p] != AB_LEADER_NONE) {
            counts[leaders->of_partitions[p]]++;
        }
    }
    for (uint32_t n = 0; n < leaders->nodes_count; n++) {
        struct asking *asking = counts[n] == 0 ? NULL : asking_make(gather, n, counts[n]);
        if (counts[n] > 0 && asking == NULL) {
            return ab_error_set(error, AB_FULL, "no memory for another query now");
        }
        ab_err err = asking == NULL ? AB_OK : asking_send(gather, asking, error);
        if (err == AB_FULL || (err != AB_OK && is_single(gather))) {
            return err;
        }
        if (err != AB_OK) {
            trouble_note(gather, asking, error->text);
            *error = (struct ab_error){0};
            asking_give_up(gather, asking);
            back_off(gather);
        }
    }
    return AB_OK;
}

/* By when answers have to be there. */
static int64_t until_of(const struct ab_gather_question *question)
{
    int64_t now = ab_time_monotonic_us();
    int64_t left_us = question->deadline_us - now;
    if (question->snapshot->leaders.is_single) {
        return question->deadline_us;
    }
    if (question->allow_partial) {
        return now + left_us / 2;
    }
    return question->deadline_us - (left_us / MARGIN_SHARE < MARGIN_US ? left_us / MARGIN_SHARE : MARGIN_US);
}

ab_err ab_gather_begin(struct ab_gather *gather, const struct ab_gather_question *question, struct ab_error *error)
{
    const struct ab_leaders *leaders = &question->snapshot->leaders;
    uint32_t count = leaders->partitions_count;
    ab_gather_end(gather);
    routes_prune(gather, leaders);
    gather->question = *question;
    gather->newest = ab_snapshot_acquire(question->snapshot);
    gather->asked = ab_arena_zalloc(question->arena, count * sizeof(struct asking *));
    gather->is_merged = ab_arena_zalloc(question->arena, count * sizeof(bool));
    gather->offsets = ab_arena_zalloc(question->arena, count * sizeof(uint64_t));
    if (gather->asked == NULL || gather->is_merged == NULL || gather->offsets == NULL) {
        return ab_error_set(error, AB_FULL, "no memory for another query now");
    }
    gather->until_us = until_of(question);
    gather->back_off_us = BACK_OFF_FIRST_US;
    gather->again_us = AGAIN_FIRST_US;
    for (uint32_t p = 0; p < count; p++) {
        gather->missing_count += question->wanted[p];
    }
    if (leaders->is_single && leaders->nodes_count == 0 && gather->missing_count > 0) {
        return ab_error_set(error, AB_UNAVAILABLE, "the speed layer has not started yet");
    }
    return ask_missing(gather, error);
}

/* ---- answers ---- */

static ab_err asking_merge(struct ab_gather *gather, const struct asking *asking, struct ab_bytes payload)
{
    struct ab_wire_state_reply reply = {0};
    AB_TRY(ab_wire_state_reply_decode(payload, gather->question.arena, &reply));
    if (reply.partitions_count != asking->partitions_count ||
        memcmp(reply.partitions, asking->partitions, asking->partitions_count * sizeof(uint32_t)) != 0) {
        return AB_INVALID; /* not an answer to this question */
    }
    for (uint32_t i = 0; i < asking->partitions_count; i++) {
        if (gather->is_merged[asking->partitions[i]]) {
            return AB_OK; /* asked again meanwhile, and answered: nothing is counted twice */
        }
    }
    AB_TRY(ab_rollup_merge(gather->question.rollup, reply.rows));
    for (uint32_t i = 0; i < asking->partitions_count; i++) {
        gather->is_merged[asking->partitions[i]] = true;
        gather->offsets[asking->partitions[i]] = reply.offsets[i];
    }
    gather->missing_count -= asking->partitions_count;
    gather->as_of_us = reply.as_of_us > gather->as_of_us ? reply.as_of_us : gather->as_of_us;
    return AB_OK;
}

/* True when somebody else may answer what this node did not. */
static bool is_worth_repeating(const struct ab_gather *gather, ab_err status)
{
    return !is_single(gather) &&
           (status == AB_UNAVAILABLE || status == AB_AGAIN || status == AB_TIMEOUT || status == AB_CLOSED);
}

static ab_err asking_refused(
    struct ab_gather *gather, const struct asking *asking, const struct ab_envelope *envelope, struct ab_error *error)
{
    bool is_waited_for = false;
    for (uint32_t i = 0; i < asking->partitions_count; i++) {
        is_waited_for = is_waited_for || gather->asked[asking->partitions[i]] == asking;
    }
    if (!is_waited_for) {
        return AB_OK; /* of somebody who was given up: others have been asked */
    }
    const char *text = envelope->error[0] == '\0' ? ab_err_text(envelope->status) : envelope->error;
    if (!is_worth_repeating(gather, envelope->status)) {
        return ab_error_set(error, envelope->status, "%s", text);
    }
    trouble_note(gather, asking, text);
    asking_give_up(gather, asking);
    back_off(gather);
    return AB_OK;
}

static ab_err answer_take_in(
    struct ab_gather *gather, const struct ab_channel *channel, const struct ab_answer *answer, struct ab_error *error)
{
    struct asking *asking = gather->askings;
    while (asking != NULL && (asking->channel != channel || asking->request_id != answer->envelope.request_id)) {
        asking = asking->next;
    }
    if (asking == NULL || !asking->is_open) {
        return AB_OK; /* to an earlier query */
    }
    asking->is_open = false;
    ab_err err = answer->envelope.status == AB_OK ? asking_merge(gather, asking, answer->payload)
                                                  : asking_refused(gather, asking, &answer->envelope, error);
    return err == AB_OK ? AB_OK : ab_error_wrap(error, err, "speed layer");
}

/* Who leads now: who was asked and does not any more, or lets wait for too long, is not waited for. */
static void leaders_look(struct ab_gather *gather)
{
    int64_t now = ab_time_monotonic_us();
    ab_snapshot_release(gather->newest);
    gather->newest = ab_snapshot_source_current(gather->source);
    for (uint32_t p = 0; p < gather->newest->leaders.partitions_count; p++) {
        const struct asking *asking = is_missing(gather, p) ? gather->asked[p] : NULL;
        const struct ab_leaders_node *leader = ab_leaders_of(&gather->newest->leaders, p);
        if (asking == NULL) {
            continue;
        }
        if (leader != NULL && !ab_leaders_node_equal(leader, &asking->node)) {
            gather->asked[p] = NULL;
        } else if (now >= asking->again_us && !is_single(gather)) {
            asking_give_up(gather, asking);
            gather->again_us *= 2;
        }
    }
}

/* Channels on which an answer may come. */
static size_t channels_open(const struct ab_gather *gather, struct ab_channel *channels[AB_CHANNELS_MAX])
{
    size_t count = 0;
    for (const struct asking *asking = gather->askings; asking != NULL && count < AB_CHANNELS_MAX;
         asking = asking->next) {
        bool is_new = asking->is_open;
        for (size_t i = 0; i < count && is_new; i++) {
            is_new = channels[i] != asking->channel;
        }
        if (is_new) {
            channels[count++] = asking->channel;
        }
    }
    return count;
}

/* Partitions that are missing and asked of nobody: they wait for a leader, or for the next try. */
static bool has_unasked(const struct ab_gather *gather)
{
    for (uint32_t p = 0; p < gather->newest->leaders.partitions_count; p++) {
        if (is_missing(gather, p) && gather->asked[p] == NULL) {
            return true;
        }
    }
    return false;
}

/* Waits for one answer, at most until `until_us`, and takes it in. AB_TIMEOUT. */
static ab_err answer_wait(struct ab_gather *gather, int64_t until_us, struct ab_error *error)
{
    struct ab_channel *channels[AB_CHANNELS_MAX];
    struct ab_answer answer = {0};
    size_t which = 0;
    size_t count = channels_open(gather, channels);
    int64_t left_us = until_us - ab_time_monotonic_us();
    int wait_ms = left_us <= 0 ? 0 : (int)((left_us + AB_US_PER_MS - 1) / AB_US_PER_MS);
    if (count == 0) {
        ab_time_sleep_us(wait_ms * AB_US_PER_MS);
        return AB_TIMEOUT;
    }
    AB_TRY(ab_channel_receive_any(channels, count, wait_ms, &which, &answer));
    ab_err err = answer_take_in(gather, channels[which], &answer, error);
    ab_answer_free(&answer);
    return err;
}

/* What is said when the time is over. */
static ab_err time_over(const struct ab_gather *gather, struct ab_error *error)
{
    if (is_single(gather)) {
        return ab_error_set(error, AB_TIMEOUT, "the speed layer did not answer before the deadline");
    }
    struct ab_buffer missing = {0};
    bool has_leaders = true;
    for (uint32_t p = 0; p < gather->newest->leaders.partitions_count; p++) {
        has_leaders = has_leaders && (!is_missing(gather, p) || ab_leaders_of(&gather->newest->leaders, p) != NULL);
    }
    ab_gather_put_missing(gather, &missing);
    ab_err err = has_leaders ? AB_TIMEOUT : AB_UNAVAILABLE;
    ab_error_set(error, err, "%s %s%s%s",
        has_leaders ? "no answer before the deadline for partitions" : "no leader, or no answer, for partitions",
        ab_buffer_text(&missing), gather->trouble[0] == '\0' ? "" : "; ", gather->trouble);
    ab_buffer_fini(&missing);
    return err;
}

ab_err ab_gather_wait(struct ab_gather *gather, struct ab_error *error)
{
    while (gather->missing_count > 0) {
        int64_t now = ab_time_monotonic_us();
        if (now >= gather->until_us) {
            return time_over(gather, error);
        }
        int64_t wait_until_us = now + LOOK_EVERY_US;
        if (has_unasked(gather)) {
            if (now >= gather->ask_us) {
                AB_TRY(ask_missing(gather, error));
            }
            if (has_unasked(gather)) {
                wait_until_us = now + BACK_OFF_FIRST_US;
            }
        }
        wait_until_us = wait_until_us < gather->until_us ? wait_until_us : gather->until_us;
        ab_err err = answer_wait(gather, wait_until_us, error);
        if (err == AB_TIMEOUT) {
            *error = (struct ab_error){0};
        } else {
            AB_TRY(err);
        }
        if (err == AB_TIMEOUT || has_unasked(gather)) {
            leaders_look(gather);
        }
    }
    return AB_OK;
}

struct ab_gathered ab_gather_result(const struct ab_gather *gather)
{
    return (struct ab_gathered){
        .offsets = gather->offsets, .as_of_us = gather->as_of_us, .is_complete = gather->missing_count == 0};
}

void ab_gather_put_missing(const struct ab_gather *gather, struct ab_buffer *out)
{
    uint32_t told = 0;
    for (uint32_t p = 0; p < gather->question.snapshot->partitions_count && told <= MISSING_TOLD_MAX; p++) {
        if (is_missing(gather, p) && told++ < MISSING_TOLD_MAX) {
            ab_buffer_put_format(out, "%s%" PRIu32, told == 1 ? "" : ", ", p);
        }
    }
    if (told > MISSING_TOLD_MAX) {
        ab_buffer_put_format(out, " and others");
    }
}

void ab_gather_end(struct ab_gather *gather)
{
    ab_snapshot_release(gather->newest);
    *gather = (struct ab_gather){
        .wire = gather->wire, .source = gather->source, .routes = gather->routes, .routes_count = gather->routes_count};
}

ab_err ab_gather_ping(
    struct ab_gather *gather, const struct ab_snapshot *snapshot, int64_t deadline_us, struct ab_error *error)
{
    const struct ab_leaders_node own = {.endpoint = snapshot->speed};
    struct ab_channel *channel = NULL;
    struct ab_answer answer = {0};
    if (!snapshot->speed.is_known) {
        return ab_error_set(error, AB_UNAVAILABLE, "the speed layer has not started yet");
    }
    AB_TRY(route_to(gather, &own, &channel, error));
    int64_t left_ms = (deadline_us - ab_time_monotonic_us()) / AB_US_PER_MS;
    ab_err err =
        ab_channel_call(channel, AB_VERB_PING, (struct ab_bytes){0}, left_ms < 1 ? 1 : (int)left_ms, &answer, error);
    ab_answer_free(&answer);
    return err;
}
