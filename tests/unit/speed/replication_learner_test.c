/* The core by itself: replicas that are installed, and those that are not listed any more. */
#include "speed/replication.h"

#include "tests/support/test.h"

#define LEADER 1u
#define NODES_EVER (3 * AB_REPLICAS_MAX)

static struct ab_hash128 id_of(uint64_t number)
{
    return (struct ab_hash128){.low = number, .high = 1};
}

/* One core with the log that it believes to have. */
struct rig {
    struct ab_replica *replica;
    struct ab_replica_set state;
    uint64_t version;
    struct ab_log_epoch epochs[1];
    struct ab_replica_log log;
    struct ab_replica_actions actions;
};

static void rig_init(struct rig *rig, uint32_t node, uint64_t committed)
{
    struct ab_replica_options options = {
        .node = node, .incarnation = id_of(node), .disk_id = id_of(100 + node), .committed = committed};
    *rig = (struct rig){.replica = ab_replica_create(&options)};
    rig->state = (struct ab_replica_set){.replicas = {.items = {LEADER, 2}, .count = 2},
        .assignment_version = 1,
        .leader = LEADER,
        .leader_incarnation = id_of(LEADER),
        .leader_epoch = 5,
        .isr = {.items = {{.node = LEADER, .incarnation = id_of(LEADER), .disk_id = id_of(101)}}, .count = 1},
        .min_isr = 1,
        .history_id = 1,
        .token = id_of(7)};
}

static void rig_fini(struct rig *rig)
{
    ab_replica_destroy(rig->replica);
}

static void step(struct rig *rig, struct ab_replica_event event)
{
    event.now_us = AB_US_PER_SECOND;
    event.log = &rig->log;
    ab_replica_step(rig->replica, &event, &rig->actions);
}

/* The state is read, and its epoch persisted. */
static void state_tell(struct rig *rig)
{
    rig->version++;
    step(rig, (struct ab_replica_event){.kind = AB_REPLICA_STATE_READ, .state = &rig->state, .version = rig->version});
    if (rig->actions.count > 0 && rig->actions.list[rig->actions.count - 1].kind == AB_REPLICA_DO_PERSIST_EPOCH) {
        step(rig, (struct ab_replica_event){.kind = AB_REPLICA_EPOCH_PERSISTED, .epoch = rig->state.leader_epoch});
    }
}

static const struct ab_replica_action *action_of(const struct rig *rig, enum ab_replica_action_kind kind)
{
    for (size_t i = 0; i < rig->actions.count; i++) {
        if (rig->actions.list[i].kind == kind) {
            return &rig->actions.list[i];
        }
    }
    return NULL;
}

static struct ab_replica_view view_of(const struct rig *rig)
{
    struct ab_replica_view view;
    ab_replica_look(rig->replica, &view);
    return view;
}

static void test_replication_leader_forgets_who_is_not_listed_any_more(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, LEADER, 0);
    state_tell(&rig);
    assert_non_null(action_of(&rig, AB_REPLICA_DO_START_EPOCH));
    rig.epochs[0] = (struct ab_log_epoch){.epoch = 5, .first_offset = 0};
    rig.log = (struct ab_replica_log){.end = 1, .durable = 1, .epochs = rig.epochs, .epochs_count = 1};
    step(&rig, (struct ab_replica_event){.kind = AB_REPLICA_LOG_CHANGED});
    assert_int_equal(view_of(&rig).role, AB_REPLICA_LEADING);
    for (uint32_t node = 2; node < 2 + NODES_EVER; node++) { /* in one epoch, one after the other */
        rig.state.replicas = (struct ab_replica_nodes){.items = {LEADER}, .count = 1};
        rig.state.learners = (struct ab_replica_nodes){.items = {node}, .count = 1};
        rig.state.assignment_version++;
        state_tell(&rig);
        struct ab_replica_message fetch = {.kind = AB_REPLICA_FETCH,
            .from = node,
            .to = LEADER,
            .from_incarnation = id_of(node),
            .leader_epoch = 5,
            .request = 1,
            .offset = 1,
            .durable = 1};
        step(&rig, (struct ab_replica_event){.kind = AB_REPLICA_MESSAGE, .message = &fetch, .check = AB_REPLICA_SAME});
        assert_null(action_of(&rig, AB_REPLICA_DO_SEND)); /* a refusal: no place is left */
        assert_non_null(action_of(&rig, AB_REPLICA_DO_ANSWER_FETCH));
    }
    rig_fini(&rig);
}

/* A follower whose records the leader's log does not reach back to. */
static void installing_make(struct rig *rig, uint64_t committed, uint64_t end)
{
    rig_init(rig, 2, committed);
    rig->epochs[0] = (struct ab_log_epoch){.epoch = 2, .first_offset = 0};
    rig->log = (struct ab_replica_log){
        .end = end, .durable = end, .chain = id_of(end), .epochs = rig->epochs, .epochs_count = 1};
    state_tell(rig);
    const struct ab_replica_action *asked = action_of(rig, AB_REPLICA_DO_SEND);
    assert_non_null(asked);
    assert_int_equal(asked->message.kind, AB_REPLICA_EPOCH_ASK);
    struct ab_replica_message answer = {.kind = AB_REPLICA_EPOCH_ANSWER,
        .from = LEADER,
        .to = 2,
        .from_incarnation = id_of(LEADER),
        .leader_epoch = 5,
        .request = asked->message.request,
        .log_start = 20};
    step(rig, (struct ab_replica_event){.kind = AB_REPLICA_MESSAGE, .message = &answer});
    assert_non_null(action_of(rig, AB_REPLICA_DO_INSTALL));
    assert_int_equal(view_of(rig).role, AB_REPLICA_INSTALLING);
}

static void installed_tell(struct rig *rig, uint64_t installed_until)
{
    rig->epochs[0] = (struct ab_log_epoch){.epoch = 4, .first_offset = 20};
    rig->log = (struct ab_replica_log){.start = 20,
        .end = 20,
        .durable = 20,
        .chain = id_of(20),
        .epochs = rig->epochs,
        .epochs_count = 1,
        .installed_until = installed_until};
    step(rig, (struct ab_replica_event){.kind = AB_REPLICA_LOG_CHANGED});
    assert_int_equal(view_of(rig).role, AB_REPLICA_TRUNCATING);
}

static void test_replication_installed_is_damaged_until_the_records_of_its_tables_are_there(void **state)
{
    (void)state;
    struct rig rig;
    installing_make(&rig, 5, 10);
    installed_tell(&rig, 40);
    assert_int_equal(view_of(&rig).damaged_until, 40);
    rig_fini(&rig);
}

static void test_replication_installed_is_damaged_until_what_was_committed_here_is_there(void **state)
{
    (void)state;
    struct rig rig;
    installing_make(&rig, 25, 30); /* the leader knows of less that is committed, and may have to wait for us */
    installed_tell(&rig, 22);
    assert_int_equal(view_of(&rig).damaged_until, 25);
    rig.state.leader = 2; /* so it does not lead, although it is elected */
    rig.state.leader_incarnation = id_of(2);
    rig.state.leader_epoch = 6;
    rig.state.isr.items[0] = (struct ab_replica_member){.node = 2, .incarnation = id_of(2), .disk_id = id_of(102)};
    state_tell(&rig);
    assert_int_equal(view_of(&rig).role, AB_REPLICA_IDLE);
    rig_fini(&rig);
}

static void test_replication_installed_without_anything_to_wait_for_is_whole(void **state)
{
    (void)state;
    struct rig rig;
    installing_make(&rig, 5, 10);
    installed_tell(&rig, 20);
    assert_int_equal(view_of(&rig).damaged_until, 0);
    rig_fini(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replication_leader_forgets_who_is_not_listed_any_more),
        cmocka_unit_test(test_replication_installed_is_damaged_until_the_records_of_its_tables_are_there),
        cmocka_unit_test(test_replication_installed_is_damaged_until_what_was_committed_here_is_there),
        cmocka_unit_test(test_replication_installed_without_anything_to_wait_for_is_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
