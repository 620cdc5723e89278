#include "tests/simulation/coordination.h"

#include "tests/simulation/checker.h"
#include "tests/simulation/node.h"

#include "common/base/assert.h"
#include "common/base/memory.h"

#include <inttypes.h>
#include <string.h>

#define STALE_US AB_US_PER_SECOND

/* ---- life ---- */

static void state_begin(struct sim_world *world, uint32_t partition)
{
    const struct sim_config *config = &world->config;
    struct sim_partition_state *state = &world->coordination->states[partition];
    struct ab_replica_set *set = &state->set;
    *set = (struct ab_replica_set){.partition = partition,
        .assignment_version = 1,
        .min_isr = config->min_isr,
        .history_id = 1,
        .token = sim_id(world)};
    for (uint32_t i = 0; i < config->replicas; i++) {
        uint32_t node = (partition + i) % config->nodes + 1;
        ab_replica_nodes_add(&set->replicas, node);
        struct ab_replica_member member = {
            .node = node, .incarnation = sim_id(world), .disk_id = world->nodes[node].disk.disk_id};
        ab_replica_members_add(&set->isr, member);
    }
    state->version = 1;
}

void sim_coordination_create(struct sim_world *world)
{
    struct sim_coordination *coordination = ab_new(struct sim_coordination);
    world->coordination = coordination;
    for (uint32_t p = 0; p < world->config.partitions; p++) {
        state_begin(world, p);
    }
    for (uint32_t n = 1; n <= world->config.nodes; n++) {
        coordination->registered[n] =
            (struct ab_node_registration){.node = n, .disk_id = world->nodes[n].disk.disk_id, .starts = 0};
    }
    coordination->controller_epoch = 1;
    for (uint32_t i = 0; i < SIM_CONTROLLERS; i++) {
        coordination->controllers[i] = (struct sim_controller){.is_active = i == 0, .epoch = 1};
        struct sim_event event = {.kind = SIM_EVENT_CONTROLLER, .number = i};
        sim_world_post(world, sim_delay(&world->coordination_random, 100 * AB_US_PER_MS), &event);
    }
}

void sim_coordination_destroy(struct sim_world *world)
{
    ab_delete(world->coordination);
}

/* ---- sessions ---- */

struct sim_session *sim_coordination_live(
    struct sim_coordination *coordination, uint32_t node, struct ab_hash128 incarnation)
{
    for (size_t i = 0; i < coordination->sessions_count; i++) {
        struct sim_session *session = &coordination->sessions[i];
        if (session->node == node && ab_hash128_equal(session->incarnation, incarnation)) {
            return session;
        }
    }
    return NULL;
}

static struct sim_session *session_find(struct sim_coordination *coordination, uint64_t id)
{
    for (size_t i = 0; i < coordination->sessions_count; i++) {
        if (coordination->sessions[i].id == id) {
            return &coordination->sessions[i];
        }
    }
    return NULL;
}

/* When a notice reaches a node; later when it is cut then. */
static int64_t notice_us(struct sim_world *world)
{
    int64_t delay = sim_delay(&world->coordination_random, world->config.watch_us);
    return delay < world->config.watch_us_max ? delay : world->config.watch_us_max;
}

void sim_coordination_expire(struct sim_world *world, uint64_t id)
{
    struct sim_coordination *coordination = world->coordination;
    struct sim_session *session = session_find(coordination, id);
    if (session == NULL) {
        return;
    }
    struct sim_session gone = *session;
    sim_trace(world, "service: session of node %u, process %u is gone", gone.node, gone.process);
    size_t place = (size_t)(session - coordination->sessions);
    coordination->sessions_count--;
    memmove(session, session + 1, (coordination->sessions_count - place) * sizeof *session);
    for (size_t i = 0; i < coordination->sessions_count; i++) {
        struct ab_replica_member *member = ab_new(struct ab_replica_member);
        *member = (struct ab_replica_member){.node = gone.node, .incarnation = gone.incarnation};
        struct sim_event event = {.kind = SIM_EVENT_GONE,
            .node = coordination->sessions[i].node,
            .process = coordination->sessions[i].process,
            .number = gone.process,
            .payload = member};
        sim_world_post(world, notice_us(world), &event);
    }
}

static void expiry_post(struct sim_world *world, const struct sim_session *session)
{
    struct sim_event event = {.kind = SIM_EVENT_EXPIRY, .number = session->id};
    sim_world_post(world, session->heard_us + world->config.session_us - world->now_us, &event);
}

static void on_expiry(struct sim_world *world, uint64_t id)
{
    const struct sim_session *session = session_find(world->coordination, id);
    if (session == NULL) {
        return;
    }
    if (session->heard_us + world->config.session_us > world->now_us) {
        expiry_post(world, session);
    } else {
        sim_coordination_expire(world, id);
    }
}

void sim_coordination_readmit(struct sim_world *world, uint32_t node)
{
    struct ab_node_registration *registered = &world->coordination->registered[node];
    registered->disk_id = world->nodes[node].disk.disk_id;
    registered->starts = world->nodes[node].disk.starts;
}

/* ---- states ---- */

static void watches_fire(struct sim_world *world, uint32_t partition)
{
    struct sim_coordination *coordination = world->coordination;
    for (size_t i = 0; i < coordination->sessions_count; i++) {
        struct sim_session *session = &coordination->sessions[i];
        if ((session->watches >> partition & 1) == 0) {
            continue;
        }
        session->watches &= ~(1u << partition);
        struct sim_event event = {
            .kind = SIM_EVENT_WATCH, .node = session->node, .process = session->process, .partition = partition};
        sim_world_post(world, notice_us(world), &event);
    }
}

static void state_write(struct sim_world *world, uint32_t partition, const struct ab_replica_set *set, const char *by)
{
    struct sim_partition_state *state = &world->coordination->states[partition];
    struct ab_error error = {0};
    if (ab_replica_set_validate(set, &error) != AB_OK) {
        sim_violate(world, "partition %u: a state was written that is not valid: %s", partition, error.text);
        return;
    }
    state->past[state->past_count++ % SIM_PAST_MAX] =
        (struct sim_past){.set = state->set, .version = state->version, .until_us = world->now_us};
    state->set = *set;
    state->version++;
    sim_trace(world,
        "service: %s writes p%u version %" PRIu64 ": leader %u epoch %" PRIu64 ", isr %u (%u %u %u), elr %u (%u)", by,
        partition, state->version, set->leader, set->leader_epoch, set->isr.count, set->isr.items[0].node,
        set->isr.count > 1 ? set->isr.items[1].node : 0, set->isr.count > 2 ? set->isr.items[2].node : 0,
        set->elr.count, set->elr.items[0].node);
    sim_check_state(world, partition);
    watches_fire(world, partition);
}

bool sim_coordination_regress(struct sim_world *world, uint32_t partition)
{
    struct sim_partition_state *state = &world->coordination->states[partition];
    uint64_t kept = state->past_count < SIM_PAST_MAX ? state->past_count : SIM_PAST_MAX;
    for (uint64_t i = 1; i <= kept; i++) {
        const struct sim_past *past = &state->past[(state->past_count - i) % SIM_PAST_MAX];
        if (past->set.leader_epoch + 1 < state->set.leader_epoch) {
            state->set = past->set;
            state->version = past->version;
            return true;
        }
    }
    return false;
}

/* ---- operations ---- */

void sim_coordination_submit(struct sim_world *world, const struct sim_operation *operation)
{
    struct sim_coordination *coordination = world->coordination;
    struct ab_random *random = &world->coordination_random;
    int64_t delay = sim_delay(random, world->config.coordination_us);
    bool is_late = operation->kind == SIM_PROPOSE && world->now_us < coordination->held_until_us;
    bool is_of_controller =
        operation->kind == SIM_ELECT || operation->kind == SIM_PUBLISH || operation->kind == SIM_ROLLBACK;
    is_late = is_late || (is_of_controller && world->now_us < coordination->stalled_until_us);
    if (is_late) {
        delay += sim_delay(random, 2 * AB_US_PER_SECOND);
    }
    if (operation->kind == SIM_ROLLBACK) {
        delay += sim_delay(random, AB_US_PER_SECOND); /* a person reads, and thinks */
    }
    if (coordination->cuts[operation->node] > 0) {
        if (world->config.hold_us == 0 || operation->kind != SIM_PROPOSE) {
            return;
        }
        delay += sim_delay(random, world->config.hold_us); /* it was on its way already, somewhere */
    }
    struct sim_operation *sent = ab_new(struct sim_operation);
    *sent = *operation;
    struct sim_event event = {
        .kind = SIM_EVENT_OPERATION, .partition = operation->partition, .number = operation->kind, .payload = sent};
    sim_world_post(world, delay, &event);
}

static void do_register(struct sim_world *world, struct sim_operation *operation)
{
    struct sim_coordination *coordination = world->coordination;
    struct ab_node_registration *stored = &coordination->registered[operation->node];
    struct sim_session *live = sim_coordination_live(coordination, operation->node, operation->incarnation);
    if (live != NULL) {
        operation->session = live->id;
        return;
    }
    struct ab_error error = {0};
    ab_err admitted = ab_node_registration_admits(stored, operation->disk_id, operation->starts, &error);
    bool is_let = admitted == AB_STALE && sim_shell_mutant == SIM_MUTANT_OLD_IMAGE_ADMITTED;
    if (admitted != AB_OK && !is_let) {
        operation->is_refused = true;
        operation->outcome = admitted == AB_MISMATCH ? AB_REPLICA_NOT_APPLIED : AB_REPLICA_UNKNOWN;
        return;
    }
    if (operation->kind == SIM_ADMIT) {
        return;
    }
    stored->starts = operation->starts;
    AB_ASSERT(coordination->sessions_count < SIM_SESSIONS_MAX);
    struct sim_session *session = &coordination->sessions[coordination->sessions_count++];
    *session = (struct sim_session){.id = ++coordination->sessions_made,
        .node = operation->node,
        .process = operation->process,
        .incarnation = operation->incarnation,
        .disk_id = operation->disk_id,
        .starts = operation->starts,
        .damaged = operation->damaged,
        .heard_us = world->now_us};
    operation->session = session->id;
    expiry_post(world, session);
}

static void do_read(struct sim_world *world, struct sim_operation *operation, struct sim_session *session)
{
    struct sim_coordination *coordination = world->coordination;
    const struct sim_partition_state *state = &coordination->states[operation->partition];
    operation->set = state->set;
    operation->version = state->version;
    session->watches |= 1u << operation->partition;
    if (!operation->is_synced && state->past_count > 0 &&
        sim_chance(&world->coordination_random, world->config.stale_reads)) {
        const struct sim_past *past = &state->past[(state->past_count - 1) % SIM_PAST_MAX];
        if (past->until_us > world->now_us - STALE_US) {
            operation->set = past->set;
            operation->version = past->version;
            session->watches &= ~(1u << operation->partition); /* the newer one is on its way, and fires it */
            struct sim_event event = {.kind = SIM_EVENT_WATCH,
                .node = session->node,
                .process = session->process,
                .partition = operation->partition};
            sim_world_post(world, notice_us(world), &event);
        }
    }
    operation->gone.count = 0;
    for (uint32_t i = 0; i < operation->set.isr.count; i++) {
        const struct ab_replica_member *member = &operation->set.isr.items[i];
        if (sim_coordination_live(coordination, member->node, member->incarnation) == NULL) {
            ab_replica_members_add(&operation->gone, *member);
        }
    }
}

static void do_propose(struct sim_world *world, struct sim_operation *operation)
{
    struct sim_coordination *coordination = world->coordination;
    struct sim_partition_state *state = &coordination->states[operation->partition];
    operation->outcome = AB_REPLICA_NOT_APPLIED;
    if (operation->joining != AB_NODE_NONE) {
        uint32_t place = ab_replica_members_find(&operation->set.isr, operation->joining);
        AB_ASSERT(place != UINT32_MAX);
        if (sim_coordination_live(coordination, operation->joining, operation->set.isr.items[place].incarnation) ==
            NULL) {
            sim_mark(world, SIM_MARK_H6);
            return;
        }
    }
    if (operation->version == state->version) {
        for (uint32_t i = 0; i < state->set.isr.count; i++) {
            const struct ab_replica_member *member = &state->set.isr.items[i];
            if (!ab_replica_members_has(&operation->set.isr, member->node) &&
                sim_coordination_live(coordination, member->node, member->incarnation) != NULL) {
                sim_mark(world, SIM_MARK_H21);
            }
        }
        state_write(world, operation->partition, &operation->set, "leader");
        operation->outcome = AB_REPLICA_APPLIED;
        operation->version = state->version;
    }
}

static void do_elect(struct sim_world *world, struct sim_operation *operation)
{
    struct sim_coordination *coordination = world->coordination;
    operation->outcome = AB_REPLICA_NOT_APPLIED;
    operation->is_expired = operation->controller_epoch != coordination->controller_epoch;
    bool is_sound = !operation->is_expired && operation->version == coordination->states[operation->partition].version;
    for (uint32_t i = 0; i < operation->relied.count && is_sound; i++) {
        const struct ab_replica_member *member = &operation->relied.items[i];
        is_sound = sim_coordination_live(coordination, member->node, member->incarnation) != NULL;
    }
    if (is_sound) {
        sim_check_election(world, operation->partition, &operation->set);
        state_write(world, operation->partition, &operation->set, "controller");
        operation->outcome = AB_REPLICA_APPLIED;
    }
}

/* Pointers move only from where they were when it was decided, and only for the controller that acts (H23, H42). */
static void do_publish(struct sim_world *world, struct sim_operation *operation)
{
    struct sim_coordination *coordination = world->coordination;
    bool is_unfenced = sim_shell_mutant == SIM_MUTANT_PUBLISH_UNFENCED;
    operation->outcome = AB_REPLICA_NOT_APPLIED;
    operation->is_expired = operation->controller_epoch != coordination->controller_epoch;
    bool is_overtaken = operation->number.attempt != coordination->attempt;
    bool is_sound = !operation->is_expired && (!is_overtaken || sim_shell_mutant == SIM_MUTANT_OVERTAKEN_PUBLISHES);
    for (uint32_t v = 0; v < SIM_VIEWS; v++) {
        const struct sim_view_state *view = &coordination->views[v];
        bool has_room = view->published_count < SIM_VERSIONS_MAX;
        is_sound = is_sound && operation->view_versions[v] == view->version && has_room;
    }
    if (!is_sound && !is_unfenced) {
        sim_mark(world, SIM_MARK_H42);
        return;
    }
    memcpy(coordination->views_before, coordination->views, sizeof coordination->views);
    coordination->views_changed_us = world->now_us;
    for (uint32_t v = 0; v < SIM_VIEWS; v++) {
        struct sim_view_state *view = &coordination->views[v];
        if ((operation->views >> v & 1) != 0 && view->published_count < SIM_VERSIONS_MAX) {
            sim_check_pointer(world, v, operation->number, false);
            view->pointer = operation->number;
            view->published[view->published_count++] = operation->number;
            view->version++;
        }
    }
    sim_trace(
        world, "service: cut %" PRIu64 " attempt %u is published", operation->number.cut, operation->number.attempt);
    operation->outcome = AB_REPLICA_APPLIED;
}

/* Back to a version that is kept still, from the one that the person saw. */
static void do_rollback(struct sim_world *world, struct sim_operation *operation)
{
    struct sim_coordination *coordination = world->coordination;
    for (uint32_t v = 0; v < SIM_VIEWS; v++) {
        struct sim_view_state *view = &coordination->views[v];
        bool is_kept = false;
        for (uint32_t i = 0; i < view->published_count; i++) {
            is_kept = is_kept || (view->published[i].cut == operation->number.cut &&
                                     view->published[i].attempt == operation->number.attempt);
        }
        bool is_sound = operation->view_versions[v] == view->version && is_kept;
        if ((operation->views >> v & 1) != 0 && (is_sound || sim_shell_mutant == SIM_MUTANT_ROLLBACK_UNFENCED)) {
            memcpy(coordination->views_before, coordination->views, sizeof coordination->views);
            coordination->views_changed_us = world->now_us;
            sim_check_pointer(world, v, operation->number, true);
            sim_mark(world, SIM_MARK_S9_ROLLBACK);
            sim_trace(world, "service: view %u goes back to cut %" PRIu64, v, operation->number.cut);
            view->pointer = operation->number;
            view->version++;
        }
    }
}

static void do_read_views(struct sim_world *world, struct sim_operation *operation)
{
    const struct sim_coordination *coordination = world->coordination;
    bool is_stale = coordination->views_changed_us > world->now_us - STALE_US &&
                    sim_chance(&world->coordination_random, world->config.stale_reads);
    const struct sim_view_state *views = is_stale ? coordination->views_before : coordination->views;
    for (uint32_t v = 0; v < SIM_VIEWS; v++) {
        operation->pointers[v] = views[v].pointer;
        operation->view_versions[v] = views[v].version;
    }
    for (uint32_t p = 0; p < world->config.partitions; p++) {
        operation->leaders[p] = coordination->states[p].set.leader;
    }
}

static void operation_do(struct sim_world *world, struct sim_operation *operation)
{
    struct sim_session *session = session_find(world->coordination, operation->session);
    switch (operation->kind) {
    case SIM_ADMIT:
    case SIM_REGISTER:
        do_register(world, operation);
        return;
    case SIM_ELECT:
        do_elect(world, operation);
        return;
    case SIM_PUBLISH:
        do_publish(world, operation);
        return;
    case SIM_ROLLBACK:
        do_rollback(world, operation);
        return;
    case SIM_PING:
    case SIM_READ:
    case SIM_PROPOSE:
    case SIM_READ_VIEWS:
        break;
    }
    if (session == NULL) {
        operation->is_expired = true;
        operation->outcome = AB_REPLICA_NOT_APPLIED;
        return;
    }
    if (operation->kind == SIM_PING) {
        session->heard_us = world->now_us;
        session->damaged = operation->damaged; /* what has become whole is told until it was heard */
    } else if (operation->kind == SIM_READ) {
        do_read(world, operation, session);
    } else if (operation->kind == SIM_READ_VIEWS) {
        do_read_views(world, operation);
    } else {
        do_propose(world, operation);
    }
}

void sim_coordination_on_event(struct sim_world *world, const struct sim_event *event)
{
    if (event->kind == SIM_EVENT_EXPIRY) {
        on_expiry(world, event->number);
        return;
    }
    struct sim_operation *answer = ab_new(struct sim_operation);
    *answer = *(const struct sim_operation *)event->payload;
    operation_do(world, answer);
    bool is_lost = world->coordination->cuts[answer->node] > 0 ||
                   (!world->is_healing && sim_chance(&world->coordination_random, world->config.coordination_loss));
    if (is_lost) {
        ab_delete(answer);
        return;
    }
    struct sim_event result = {.kind = SIM_EVENT_RESULT,
        .node = answer->node,
        .process = answer->node == 0 ? 0 : answer->process,
        .partition = answer->partition,
        .number = answer->kind,
        .payload = answer};
    sim_world_post(world, sim_delay(&world->coordination_random, world->config.coordination_us), &result);
}
