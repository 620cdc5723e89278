/* Elections under random events. The first half plans random valid facts and checks what a plan must be on paper. The
 * second runs a small model of replication by R1 to R9: leaders, zombies, followers, lost sessions, restarts with and
 * without damage, replaced disks, writes that land late, replicas exchanged on the way; and asserts after every event
 * that whoever is in the ISR or eligible holds every committed record. */
#include "cluster/reassign.h"
#include "tests/unit/cluster/facts.h"

#include "common/base/random.h"

#define NODES_COUNT 5u
#define LOG_MAX 64u
#define SESSIONS_MAX 32u

static uint32_t below(struct ab_random *random, uint32_t bound)
{
    return (uint32_t)ab_random_below(random, bound);
}

static bool one_in(struct ab_random *random, uint32_t count)
{
    return below(random, count) == 0;
}

/* ---- plans on paper ---- */

static struct ab_replica_set random_state(struct ab_random *random, uint32_t partition)
{
    struct ab_replica_set state = state_of(partition);
    uint32_t numbers[NODES_COUNT] = {1, 2, 3, 4, 5};
    for (uint32_t i = NODES_COUNT - 1; i > 0; i--) {
        uint32_t j = below(random, i + 1);
        uint32_t other = numbers[i];
        numbers[i] = numbers[j];
        numbers[j] = other;
    }
    state.replicas.count = state.isr.count = state.elr.count = 0;
    uint32_t replicas = 1 + below(random, NODES_COUNT);
    state.min_isr = 1 + below(random, replicas);
    uint32_t isr = 1 + below(random, replicas);
    for (uint32_t i = 0; i < replicas; i++) {
        struct ab_replica_member member = member_of(numbers[i], 1 + below(random, 2), 1 + below(random, 2));
        ab_replica_nodes_add(&state.replicas, numbers[i]);
        if (i < isr) {
            ab_replica_members_add(&state.isr, member);
        } else if (isr < state.min_isr && one_in(random, 2)) {
            ab_replica_members_add(&state.elr, member);
        }
    }
    if (replicas < NODES_COUNT && one_in(random, 3)) {
        ab_replica_nodes_add(&state.learners, numbers[replicas]);
    }
    const struct ab_replica_member *leader = &state.isr.items[below(random, isr)];
    state.leader = one_in(random, 4) ? AB_NODE_NONE : leader->node;
    state.leader_incarnation = state.leader == AB_NODE_NONE ? (struct ab_hash128){0} : leader->incarnation;
    state.leader_epoch = 1 + below(random, 100);
    assert_ok(ab_replica_set_validate(&state, NULL));
    return state;
}

/* The change must be what the rules allow for this state. */
static void change_check(const struct ab_replica_set *state, const struct ab_partition_change *change,
    const struct ab_live_node *live, uint32_t live_count)
{
    struct ab_replica_set next = committed_of(change);
    assert_true(next.leader_epoch == state->leader_epoch + 1);
    assert_true(next.assignment_version == state->assignment_version && next.history_id == state->history_id);
    assert_true(ab_replica_nodes_equal(&next.replicas, &state->replicas));
    assert_true(ab_replica_nodes_equal(&next.learners, &state->learners));
    assert_true(next.min_isr == state->min_isr);
    assert_true(next.elr.count == 0 || next.isr.count < next.min_isr);
    const struct ab_replica_members none = {.count = 0};
    assert_members(&change->relied, next.leader == AB_NODE_NONE ? none : next.isr); /* R9 */
    for (uint32_t i = 0; next.leader != AB_NODE_NONE && i < next.isr.count; i++) {
        const struct ab_replica_member *member = &next.isr.items[i];
        uint32_t isr = ab_replica_members_find(&state->isr, member->node);
        uint32_t elr = ab_replica_members_find(&state->elr, member->node);
        assert_true(isr != UINT32_MAX || elr != UINT32_MAX);
        assert_true(isr != UINT32_MAX || next.isr.count == 1);
        struct ab_hash128 disk_id = isr != UINT32_MAX ? state->isr.items[isr].disk_id : state->elr.items[elr].disk_id;
        assert_true(ab_hash128_equal(disk_id, member->disk_id));
        bool is_live = false;
        for (uint32_t l = 0; l < live_count; l++) {
            is_live |= live[l].node == member->node && ab_hash128_equal(live[l].incarnation, member->incarnation) &&
                       !ab_live_node_is_damaged(&live[l], state->partition);
        }
        assert_true(is_live);
    }
    for (uint32_t i = 0; i < next.elr.count; i++) {
        uint32_t node = next.elr.items[i].node;
        assert_true(ab_replica_members_has(&state->isr, node) || ab_replica_members_has(&state->elr, node));
    }
}

static void plans_equal(const struct ab_partition_plan *a, const struct ab_partition_plan *b)
{
    assert_int_equal(a->changes_count, b->changes_count);
    assert_int_equal(a->reasons_count, b->reasons_count);
    for (uint32_t i = 0; i < a->changes_count; i++) {
        struct ab_buffer x = {0};
        struct ab_buffer y = {0};
        struct ab_replica_set s = committed_of(&a->changes[i]);
        struct ab_replica_set t = committed_of(&b->changes[i]);
        assert_ok(ab_replica_set_encode(&s, &x, NULL));
        assert_ok(ab_replica_set_encode(&t, &y, NULL));
        assert_true(ab_bytes_equal(ab_buffer_view(&x), ab_buffer_view(&y)));
        assert_true(a->changes[i].version == b->changes[i].version);
        assert_true(ab_replica_members_equal(&a->changes[i].relied, &b->changes[i].relied));
        ab_buffer_fini(&x);
        ab_buffer_fini(&y);
    }
    for (uint32_t i = 0; i < a->reasons_count; i++) {
        assert_string_equal(a->reasons[i].text, b->reasons[i].text);
    }
}

static struct ab_partition_plan plan_of(const struct ab_election_input *input)
{
    struct ab_partition_plan plan;
    ab_partition_plan_init(&plan, 16, 16);
    assert_ok(ab_election_plan(input, &plan));
    return plan;
}

#define PARTITIONS 6u

static void random_plan_check(struct ab_random *random)
{
    struct ab_replica_set states[PARTITIONS];
    struct ab_partition_fact facts[PARTITIONS];
    struct ab_partition_fact mixed[PARTITIONS];
    struct ab_live_node live[NODES_COUNT * 2];
    struct ab_live_node live_mixed[NODES_COUNT * 2];
    uint32_t damaged[NODES_COUNT * 2];
    uint32_t live_count = 0;
    for (uint32_t node = 1; node <= NODES_COUNT; node++) {
        for (uint32_t twice = 0; twice < 2; twice++) {
            if (one_in(random, twice == 0 ? 3 : 6)) {
                continue;
            }
            damaged[live_count] = below(random, PARTITIONS);
            live[live_count] = live_of(node, 1 + below(random, 2), 1 + below(random, 3));
            live[live_count].damaged = one_in(random, 4) ? &damaged[live_count] : NULL;
            live[live_count].damaged_count = live[live_count].damaged != NULL;
            live_count++;
            twice += one_in(random, 2);
        }
    }
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        states[p] = random_state(random, p);
        facts[p] = (struct ab_partition_fact){.state = &states[p], .version = 100 + p};
        mixed[(p * 5 + 3) % PARTITIONS] = facts[p];
    }
    for (uint32_t l = 0; l < live_count; l++) {
        live_mixed[live_count - 1 - l] = live[l];
    }
    struct ab_election_input input = {
        .live = live, .live_count = live_count, .partitions = facts, .partitions_count = PARTITIONS};
    struct ab_partition_plan plan = plan_of(&input);
    for (uint32_t i = 0; i < plan.changes_count; i++) {
        change_check(&states[plan.changes[i].state.partition], &plan.changes[i], live, live_count);
        assert_true(i == 0 || plan.changes[i - 1].state.partition < plan.changes[i].state.partition);
    }
    const struct ab_election_input other = {
        .live = live_mixed, .live_count = live_count, .partitions = mixed, .partitions_count = PARTITIONS};
    struct ab_partition_plan again = plan_of(&other);
    plans_equal(&plan, &again);
    ab_partition_plan_fini(&again);
    for (uint32_t i = 0; i < plan.changes_count; i++) {
        states[plan.changes[i].state.partition] = committed_of(&plan.changes[i]);
    }
    again = plan_of(&input);
    assert_int_equal(again.changes_count, 0); /* what was planned is all there was to do */
    ab_partition_plan_fini(&again);
    ab_partition_plan_fini(&plan);
}

static void test_election_random_plans_keep_the_rules(void **unused)
{
    (void)unused;
    struct ab_random random;
    for (uint64_t seed = 1; seed <= 5000; seed++) {
        ab_random_init(&random, seed);
        random_plan_check(&random);
    }
}

/* ---- a model of replication ---- */

struct record {
    uint64_t epoch;
    uint64_t value;
};

struct node {
    bool is_running;
    bool is_damaged;
    uint32_t disk;
    uint32_t process;           /* of this disk; also `starts` */
    struct record log[LOG_MAX]; /* all synced: what is not is not acknowledged and does not matter here */
    uint32_t log_count;
    uint32_t whole_count; /* damaged until the log is as long again */
    uint64_t epoch;       /* highest heard of, durable (R1) */
    /* what a leader knows */
    uint64_t leading; /* its epoch; 0 = follows */
    uint32_t epoch_start;
    uint32_t high_watermark;
    struct ab_replica_set state; /* as last read */
    uint64_t version;
    struct ab_replica_members proposed; /* in flight: counted by nobody, waited for (R4) */
    uint32_t acked[NODES_COUNT + 1];
    struct ab_hash128 acked_by[NODES_COUNT + 1];
};

struct session {
    uint32_t node, disk, process;
};

struct write {
    struct ab_replica_set state;
    uint64_t version;
    struct ab_replica_members relied;
};

struct model {
    struct ab_random random;
    struct node nodes[NODES_COUNT + 1]; /* from 1 */
    struct session sessions[SESSIONS_MAX];
    uint32_t sessions_count;
    struct ab_replica_set state;
    uint64_t version;
    struct write late; /* one write on its way */
    bool has_late;
    struct session stale[SESSIONS_MAX]; /* what a controller that looks away sees */
    uint32_t stale_count;
    struct ab_replica_target target;
    struct record committed[LOG_MAX];
    uint32_t committed_count;
    uint64_t values;
    uint64_t seed;
};

/* How often what happened, over all seeds: a test that never elects proves nothing. */
static struct {
    uint64_t commits, from_isr, from_elr, adopted, nobody, damaged, moved, refused_writes, late_writes, zombie_commits,
        promoted, removed;
} marks;

static struct ab_replica_member self_of(const struct model *m, uint32_t n)
{
    return member_of(n, m->nodes[n].disk, m->nodes[n].process);
}

static bool is_registered(const struct model *m, const struct ab_replica_member *member)
{
    for (uint32_t i = 0; i < m->sessions_count; i++) {
        const struct session *s = &m->sessions[i];
        if (s->node == member->node &&
            ab_hash128_equal(incarnation_of(s->node, s->disk, s->process), member->incarnation)) {
            return true;
        }
    }
    return false;
}

/* The multi: checks, and compare-and-set. */
static void state_write(struct model *m, const struct write *write)
{
    bool may = write->version == m->version;
    for (uint32_t i = 0; i < write->relied.count; i++) {
        may = may && is_registered(m, &write->relied.items[i]);
    }
    if (!may) {
        marks.refused_writes++;
        return;
    }
    assert_ok(ab_replica_set_validate(&write->state, NULL));
    assert_true(write->state.leader_epoch >= m->state.leader_epoch);
    assert_true(write->state.leader_epoch > m->state.leader_epoch || write->state.leader == m->state.leader);
    m->state = write->state;
    m->version++;
}

/* S3: whoever is in the ISR or eligible holds what was committed, unless its disk is gone or says it is damaged. */
static void strong_isr_check(const struct model *m)
{
    const struct ab_replica_members *const lists[] = {&m->state.isr, &m->state.elr};
    for (size_t l = 0; l < 2; l++) {
        for (uint32_t i = 0; i < lists[l]->count; i++) {
            const struct ab_replica_member *member = &lists[l]->items[i];
            const struct node *node = &m->nodes[member->node];
            if (!ab_hash128_equal(member->disk_id, disk_of(member->node, node->disk)) || node->is_damaged) {
                continue;
            }
            if (node->log_count < m->committed_count ||
                memcmp(node->log, m->committed, m->committed_count * sizeof m->committed[0]) != 0) {
                fail_msg("seed %lu: node %u in the %s lacks committed records", (unsigned long)m->seed, member->node,
                    l == 0 ? "isr" : "elr");
            }
        }
    }
}

static void log_append(struct model *m, struct node *node)
{
    if (node->log_count < LOG_MAX) {
        node->log[node->log_count++] = (struct record){node->leading, ++m->values};
    }
}

/* A process reads the state: it learns of the epoch, and what it is. */
static void event_read(struct model *m, uint32_t n)
{
    struct node *node = &m->nodes[n];
    if (m->version != node->version) {
        node->proposed.count = 0; /* landed, or never will */
    }
    node->state = m->state;
    node->version = m->version;
    if (m->state.leader_epoch <= node->epoch) {
        return;
    }
    node->epoch = m->state.leader_epoch;
    node->leading = 0;
    node->proposed.count = 0;
    struct ab_replica_member self = self_of(m, n);
    if (m->state.leader == n && ab_hash128_equal(m->state.leader_incarnation, self.incarnation) && !node->is_damaged) {
        node->leading = node->epoch;
        node->high_watermark = 0;
        memset(node->acked, 0, sizeof node->acked);
        memset(node->acked_by, 0, sizeof node->acked_by);
        log_append(m, node);
        node->epoch_start = node->log_count; /* reached by who has the record that opens the epoch */
    }
}

/* R1, R2: only within one epoch; truncation at the last match. */
static void event_fetch(struct model *m, uint32_t n, uint32_t from)
{
    struct node *node = &m->nodes[n];
    struct node *leader = &m->nodes[from];
    if (n == from || !leader->is_running || leader->leading == 0 || node->epoch != leader->leading) {
        return;
    }
    uint32_t match = 0;
    while (match < node->log_count && match < leader->log_count &&
           memcmp(&node->log[match], &leader->log[match], sizeof node->log[0]) == 0) {
        match++;
    }
    node->log_count = match;
    uint32_t more = below(&m->random, 8);
    for (; more > 0 && node->log_count < leader->log_count; more--) {
        node->log[node->log_count] = leader->log[node->log_count];
        node->log_count++;
    }
    if (node->is_damaged && node->log_count >= node->whole_count) {
        node->is_damaged = false;
    }
    leader->acked[n] = node->log_count;
    leader->acked_by[n] = self_of(m, n).incarnation;
}

static uint32_t acked_by_all(const struct model *m, uint32_t n, const struct ab_replica_members *members)
{
    const struct node *node = &m->nodes[n];
    uint32_t least = node->log_count;
    for (uint32_t i = 0; i < members->count; i++) {
        uint32_t other = members->items[i].node;
        bool is_it = ab_hash128_equal(node->acked_by[other], members->items[i].incarnation);
        uint32_t acked = other == n ? node->log_count : is_it ? node->acked[other] : 0;
        least = acked < least ? acked : least;
    }
    return least;
}

/* R3, R4: the maximal ISR must have it, and the committed ISR must be large enough. */
static void event_commit(struct model *m, uint32_t n)
{
    struct node *node = &m->nodes[n];
    if (node->leading == 0 || node->state.isr.count < node->state.min_isr) {
        return;
    }
    uint32_t a = acked_by_all(m, n, &node->state.isr);
    uint32_t b = acked_by_all(m, n, &node->proposed);
    uint32_t reached = a < b ? a : b;
    if (reached <= node->high_watermark) {
        return;
    }
    node->high_watermark = reached;
    uint32_t both = reached < m->committed_count ? reached : m->committed_count;
    if (memcmp(node->log, m->committed, both * sizeof node->log[0]) != 0) {
        fail_msg("seed %lu: two histories are committed", (unsigned long)m->seed);
    }
    if (reached > m->committed_count) {
        memcpy(m->committed, node->log, reached * sizeof node->log[0]);
        m->committed_count = reached;
        marks.commits++;
        marks.zombie_commits += node->leading < m->state.leader_epoch;
    }
}

/* The leader's own write of a smaller or larger ISR, under way until somebody lets it land. */
static void event_propose(struct model *m, uint32_t n)
{
    struct node *node = &m->nodes[n];
    if (node->leading == 0 || node->proposed.count > 0 || m->has_late) {
        return;
    }
    struct write write = {.state = node->state, .version = node->version};
    struct ab_replica_set *next = &write.state;
    uint32_t other = next->replicas.items[below(&m->random, next->replicas.count)];
    uint32_t place = ab_replica_members_find(&next->isr, other);
    if (other == n) {
        return;
    }
    if (place != UINT32_MAX) {
        struct ab_replica_member member = next->isr.items[place];
        ab_replica_members_remove(&next->isr, other);
        if (next->isr.count < next->min_isr) {
            ab_replica_members_add(&next->elr, member);
        }
    } else {
        struct ab_replica_member member = self_of(m, other);
        bool is_current = ab_hash128_equal(node->acked_by[other], member.incarnation);
        if (!is_current || m->nodes[other].is_damaged || node->acked[other] < node->high_watermark ||
            node->acked[other] < node->epoch_start) {
            return;
        }
        ab_replica_members_remove(&next->elr, other);
        ab_replica_members_add(&next->isr, member);
        next->elr.count = next->isr.count >= next->min_isr ? 0 : next->elr.count;
    }
    next->token.low++;
    write.relied = next->isr;
    node->proposed = next->isr;
    m->late = write;
    m->has_late = true;
}

static void event_late(struct model *m)
{
    if (m->has_late && !one_in(&m->random, 4)) { /* else it is lost */
        state_write(m, &m->late);
        marks.late_writes++;
    }
    m->has_late = false;
}

static void event_start(struct model *m, uint32_t n)
{
    struct node *node = &m->nodes[n];
    node->is_running = true;
    node->leading = 0;
    node->proposed.count = 0;
    node->version = UINT64_MAX;
    if (one_in(&m->random, 12)) { /* another disk, recovered as an empty one */
        node->disk++;
        node->process = 0;
        node->log_count = 0;
        node->epoch = 0;
        node->is_damaged = false;
    } else if (one_in(&m->random, 8) && node->log_count > 0) { /* the log lost its end, and knows */
        node->whole_count = node->is_damaged ? node->whole_count : node->log_count;
        node->log_count = below(&m->random, node->log_count);
        node->is_damaged = true;
        marks.damaged++;
    }
    node->process++;
    if (m->sessions_count < SESSIONS_MAX) {
        m->sessions[m->sessions_count++] = (struct session){n, node->disk, node->process};
    }
}

static void event_session_lost(struct model *m, uint32_t i)
{
    if (i < m->sessions_count) {
        m->sessions[i] = m->sessions[--m->sessions_count];
    }
}

/* One step of a reassignment; leaders report truly who has caught up, but for one report in ten. */
static void controller_reassign(struct model *m, const struct ab_election_input *input, struct ab_partition_plan *plan)
{
    uint32_t learner = m->state.learners.count > 0 ? m->state.learners.items[0] : AB_NODE_NONE;
    const struct node *leader = &m->nodes[m->state.leader];
    bool has_caught_up = learner != AB_NODE_NONE && m->state.leader != AB_NODE_NONE &&
                         ab_hash128_equal(leader->acked_by[learner], self_of(m, learner).incarnation) &&
                         leader->acked[learner] >= leader->high_watermark;
    const struct ab_caught_up report = {0, learner, m->state.leader_epoch};
    const struct ab_reassign_input reassign = {.live = input->live,
        .live_count = input->live_count,
        .partitions = input->partitions,
        .partitions_count = 1,
        .targets = &m->target,
        .targets_count = 1,
        .caught_up = &report,
        .caught_up_count = has_caught_up || one_in(&m->random, 10),
        .copies_max = 1};
    if (one_in(&m->random, 30)) {
        uint32_t count = m->state.min_isr + below(&m->random, NODES_COUNT - m->state.min_isr + 1);
        m->target.replicas.count = 0;
        while (m->target.replicas.count < count) {
            uint32_t node = 1 + below(&m->random, NODES_COUNT);
            if (!ab_replica_nodes_has(&m->target.replicas, node)) {
                ab_replica_nodes_add(&m->target.replicas, node);
            }
        }
    }
    assert_ok(ab_reassign_plan(&reassign, plan));
    marks.promoted += plan->changes_count == 1 && plan->changes[0].kind == AB_CHANGE_PROMOTE;
    marks.removed += plan->changes_count == 1 && plan->changes[0].kind == AB_CHANGE_REMOVE;
}

static void election_mark(const struct model *m, const struct ab_partition_change *change)
{
    uint32_t leader = change->state.leader;
    if (change->kind == AB_CHANGE_NO_LEADER) {
        marks.nobody++;
    } else if (change->kind == AB_CHANGE_ELECT) {
        marks.from_elr += !ab_replica_members_has(&m->state.isr, leader);
        marks.from_isr += ab_replica_members_has(&m->state.isr, leader);
        uint32_t place = ab_replica_members_find(&m->state.isr, leader);
        marks.adopted += place != UINT32_MAX &&
                         !ab_hash128_equal(m->state.isr.items[place].incarnation, change->state.leader_incarnation);
    }
}

/* What a controller that sees these sessions does: a plan, a move, or a step of a reassignment. */
static void event_controller(struct model *m, const struct session *sessions, uint32_t count)
{
    static uint32_t damaged[] = {0};
    struct ab_live_node live[SESSIONS_MAX];
    struct ab_partition_fact fact = {.state = &m->state, .version = m->version};
    struct ab_election_input input = {.live = live, .live_count = count, .partitions = &fact, .partitions_count = 1};
    for (uint32_t i = 0; i < count; i++) {
        const struct node *node = &m->nodes[sessions[i].node];
        live[i] = live_of(sessions[i].node, sessions[i].disk, sessions[i].process);
        bool is_damaged = node->is_damaged && node->disk == sessions[i].disk;
        live[i].damaged = is_damaged ? damaged : NULL;
        live[i].damaged_count = is_damaged;
    }
    struct ab_partition_plan plan;
    ab_partition_plan_init(&plan, 1, 1);
    uint32_t event = below(&m->random, 8);
    if (event == 0) {
        assert_ok(ab_election_rebalance(&input, &plan));
        marks.moved += plan.changes_count;
    } else if (event < 4) {
        controller_reassign(m, &input, &plan);
    } else {
        assert_ok(ab_election_plan(&input, &plan));
    }
    if (plan.changes_count == 1) {
        const struct ab_partition_change *change = &plan.changes[0];
        struct write write = {.state = committed_of(change), .version = change->version, .relied = change->relied};
        election_mark(m, change);
        state_write(m, &write);
    }
    ab_partition_plan_fini(&plan);
}

static void model_init(struct model *m, uint64_t seed)
{
    *m = (struct model){.seed = seed};
    ab_random_init(&m->random, seed);
    uint32_t replicas = 1 + below(&m->random, 4);
    m->state = state_of(0);
    m->state.replicas.count = m->state.isr.count = 0;
    for (uint32_t n = 1; n <= NODES_COUNT; n++) {
        if (n <= replicas) {
            ab_replica_nodes_add(&m->state.replicas, n);
            ab_replica_members_add(&m->state.isr, member_of(n, 1, 1));
        }
        m->nodes[n] = (struct node){.is_running = true, .disk = 1, .process = 1};
        m->sessions[m->sessions_count++] = (struct session){n, 1, 1};
    }
    m->state.min_isr = 1 + below(&m->random, replicas);
    m->target.replicas = m->state.replicas;
    m->state.leader = AB_NODE_NONE;
    m->state.leader_incarnation = (struct ab_hash128){0};
    m->state.leader_epoch = 0;
}

static void event_rare(struct model *m, uint32_t n)
{
    struct node *node = &m->nodes[n];
    switch (below(&m->random, 4)) {
    case 0: /* a crash; its session lives on for a while */
        node->is_running = false;
        break;
    case 1: /* a zombie, or the session of a dead process at last */
        event_session_lost(m, below(&m->random, SESSIONS_MAX));
        break;
    case 2:
        m->stale_count = m->sessions_count;
        memcpy(m->stale, m->sessions, sizeof m->stale);
        break;
    case 3:
        event_controller(m, m->stale, m->stale_count);
        break;
    }
}

static void model_step(struct model *m)
{
    uint32_t n = 1 + below(&m->random, NODES_COUNT);
    uint32_t from = m->state.replicas.items[below(&m->random, m->state.replicas.count)];
    struct node *node = &m->nodes[n];
    uint32_t event = below(&m->random, 32);
    if (event < 3) {
        event_controller(m, m->sessions, m->sessions_count);
    } else if (event < 5) {
        event_rare(m, n);
    } else if (event < 6) {
        event_late(m);
    } else if (!node->is_running) {
        if (one_in(&m->random, 4)) {
            event_start(m, n);
        }
    } else if (event < 10) {
        event_read(m, n);
    } else if (event < 20) {
        event_fetch(m, n, from);
    } else if (event < 24 && node->leading != 0) {
        log_append(m, node);
    } else if (event < 29) {
        event_commit(m, n);
    } else {
        event_propose(m, n);
    }
}

static void test_election_random_histories_lose_no_committed_record(void **unused)
{
    (void)unused;
    struct model *m = ab_new(struct model);
    for (uint64_t seed = 1; seed <= 4000; seed++) {
        model_init(m, seed);
        for (uint32_t step = 0; step < 1000; step++) {
            model_step(m);
            strong_isr_check(m);
        }
    }
    ab_delete(m);
    print_message(
        "commits %lu (by zombies %lu), elected from the isr %lu, from the elr %lu, restarted %lu, nobody %lu, "
        "damaged %lu, moved %lu, writes refused %lu, late %lu, promoted %lu, removed %lu\n",
        (unsigned long)marks.commits, (unsigned long)marks.zombie_commits, (unsigned long)marks.from_isr,
        (unsigned long)marks.from_elr, (unsigned long)marks.adopted, (unsigned long)marks.nobody,
        (unsigned long)marks.damaged, (unsigned long)marks.moved, (unsigned long)marks.refused_writes,
        (unsigned long)marks.late_writes, (unsigned long)marks.promoted, (unsigned long)marks.removed);
    assert_true(marks.commits > 1000 && marks.from_isr > 1000 && marks.from_elr > 50 && marks.adopted > 100);
    assert_true(marks.nobody > 100 && marks.damaged > 100 && marks.moved > 100 && marks.refused_writes > 100);
    assert_true(marks.zombie_commits > 10 && marks.late_writes > 100);
    assert_true(marks.promoted > 100 && marks.removed > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_election_random_plans_keep_the_rules),
        cmocka_unit_test(test_election_random_histories_lose_no_committed_record),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
