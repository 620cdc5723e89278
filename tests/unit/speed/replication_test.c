/* The core by itself, where the simulator cannot tell in time what goes wrong: how soon it speaks. */
#include "speed/replication.h"

#include "tests/support/test.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

/* ---- fixture ---- */

struct core {
    struct ab_replica *replica;
    struct ab_replica_actions actions;
};

static int core_setup(void **state)
{
    struct core *core = ab_new(struct core);
    const struct ab_replica_options options = {
        .partition = 4, .node = 1, .incarnation = {.low = 11}, .disk_id = {.low = 1}, .persisted_epoch = 3};
    core->replica = ab_replica_create(&options);
    *state = core;
    return 0;
}

static int core_teardown(void **state)
{
    struct core *core = *state;
    ab_replica_destroy(core->replica);
    ab_delete(core);
    return 0;
}

static void step(struct core *core, struct ab_replica_event event)
{
    const struct ab_replica_log log = {0};
    event.now_us = AB_US_PER_SECOND;
    event.log = &log;
    ab_replica_step(core->replica, &event, &core->actions);
}

static void hear(struct core *core, enum ab_replica_message_kind kind, uint64_t epoch)
{
    const struct ab_replica_message message = {.kind = kind,
        .partition = 4,
        .from = 2,
        .to = 1,
        .from_incarnation = {.low = 22},
        .leader_epoch = epoch,
        .request = 77};
    step(core, (struct ab_replica_event){.kind = AB_REPLICA_MESSAGE, .message = &message});
}

/* The only message that is sent; NULL. */
static const struct ab_replica_message *sent(const struct core *core)
{
    const struct ab_replica_message *found = NULL;
    for (size_t i = 0; i < core->actions.count; i++) {
        if (core->actions.list[i].kind == AB_REPLICA_DO_SEND) {
            assert_null(found);
            found = &core->actions.list[i].message;
        }
    }
    return found;
}

/* ---- cases ---- */

static void assert_asked_later(const struct core *core, enum ab_replica_message_kind kind, uint64_t epoch)
{
    const struct ab_replica_message *answer = sent(core);
    assert_non_null(answer);
    assert_int_equal(answer->kind, kind);
    assert_int_equal(answer->status, AB_REPLICA_NOT_LEADER);
    assert_int_equal(answer->to, 2);
    assert_int_equal(answer->request, 77);
    assert_int_equal(answer->leader_epoch, epoch); /* the asker's: it would not listen to another one */
}

static void test_replication_who_asks_with_a_newer_epoch_is_told_to_ask_again(void **state)
{
    struct core *core = *state;
    hear(core, AB_REPLICA_EPOCH_ASK, 5);
    assert_int_equal(core->actions.list[0].kind, AB_REPLICA_DO_PERSIST_EPOCH); /* first of all (R1) */
    assert_int_equal(core->actions.list[0].epoch, 5);
    assert_asked_later(core, AB_REPLICA_EPOCH_ANSWER, 5);
    hear(core, AB_REPLICA_FETCH, 5);
    assert_asked_later(core, AB_REPLICA_FETCHED, 5);
    hear(core, AB_REPLICA_FETCH, 4); /* not of what is not persisted yet */
    assert_asked_later(core, AB_REPLICA_FETCHED, 4);
}

static void test_replication_between_epochs_a_report_is_not_answered(void **state)
{
    struct core *core = *state;
    hear(core, AB_REPLICA_REPORT, 5);
    assert_null(sent(core));
    hear(core, AB_REPLICA_FETCHED, 6);
    assert_null(sent(core));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_replication_who_asks_with_a_newer_epoch_is_told_to_ask_again, core_setup, core_teardown),
        cmocka_unit_test_setup_teardown(
            test_replication_between_epochs_a_report_is_not_answered, core_setup, core_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
