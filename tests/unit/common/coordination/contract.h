/* contract: what coordination.h promises, as test cases that run against any implementation. */
#ifndef ANABRANCH_TESTS_UNIT_COMMON_COORDINATION_CONTRACT_H
#define ANABRANCH_TESTS_UNIT_COMMON_COORDINATION_CONTRACT_H

#include "common/coordination/coordination.h"
#include "tests/support/test.h"

/* An empty tree of its own for one case, made by the implementation's set-up, which puts it into *state. */
struct contract_place {
    char *address; /* owned by the set-up */
    struct ab_coordination_options options;
};

/* Opens a session there; fails the test when it does not succeed. */
struct ab_coordination *contract_open(struct contract_place *place);

/* The cases. */
void contract_nodes_are_created_set_and_deleted(void **state);
void contract_nodes_survive_their_session(void **state);
void contract_created_revision_tells_a_node_from_its_predecessor(void **state);
void contract_children_are_the_names_directly_below(void **state);
void contract_bad_paths_and_values_are_refused(void **state);
void contract_multi_does_all_or_nothing(void **state);
void contract_checks_alone_change_nothing(void **state);
void contract_multi_is_held_by_any_of_its_checks(void **state);
void contract_sessions_see_each_other_at_once(void **state);
void contract_ephemeral_nodes_go_with_their_session(void **state);
void contract_wait_ends_with_a_change_or_in_time(void **state);
void contract_revision_rises_for_whatever_was_read(void **state);
void contract_live_session_says_so(void **state);
void contract_threads_share_a_session(void **state);
void contract_one_of_two_sessions_wins_each_compare_and_set(void **state);

/* The list of them, for an array of cmocka's. */
#define CONTRACT_CASE(name, setup, teardown) cmocka_unit_test_setup_teardown(contract_##name, setup, teardown)
#define CONTRACT_CASES(setup, teardown)                                                                                \
    CONTRACT_CASE(nodes_are_created_set_and_deleted, setup, teardown),                                                 \
        CONTRACT_CASE(nodes_survive_their_session, setup, teardown),                                                   \
        CONTRACT_CASE(created_revision_tells_a_node_from_its_predecessor, setup, teardown),                            \
        CONTRACT_CASE(children_are_the_names_directly_below, setup, teardown),                                         \
        CONTRACT_CASE(bad_paths_and_values_are_refused, setup, teardown),                                              \
        CONTRACT_CASE(multi_does_all_or_nothing, setup, teardown),                                                     \
        CONTRACT_CASE(checks_alone_change_nothing, setup, teardown),                                                   \
        CONTRACT_CASE(multi_is_held_by_any_of_its_checks, setup, teardown),                                            \
        CONTRACT_CASE(sessions_see_each_other_at_once, setup, teardown),                                               \
        CONTRACT_CASE(ephemeral_nodes_go_with_their_session, setup, teardown),                                         \
        CONTRACT_CASE(wait_ends_with_a_change_or_in_time, setup, teardown),                                            \
        CONTRACT_CASE(revision_rises_for_whatever_was_read, setup, teardown),                                          \
        CONTRACT_CASE(live_session_says_so, setup, teardown), CONTRACT_CASE(threads_share_a_session, setup, teardown), \
        CONTRACT_CASE(one_of_two_sessions_wins_each_compare_and_set, setup, teardown)

#endif
