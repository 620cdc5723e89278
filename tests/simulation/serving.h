/* serving: the part of a node's process that answers merged queries: it knows from the coordination service which
 * version of each view is in force and who leads, pins a version, asks the leaders for the spans after it, and merges.
 */
#ifndef ANABRANCH_TESTS_SIMULATION_SERVING_H
#define ANABRANCH_TESTS_SIMULATION_SERVING_H

#include "tests/simulation/client.h"
#include "tests/simulation/coordination.h"
#include "tests/simulation/node.h"

struct sim_serving;

/* Of a process that has just come up; and of one that is gone (NULL is legal). */
struct sim_serving *sim_serving_create(void);
void sim_serving_destroy(struct sim_serving *serving);

/* Time goes on: versions are looked for, what was not answered is asked again, or given up. */
void sim_serving_tick(struct sim_world *world, struct sim_node *node);

/* The service says what is in force. */
void sim_serving_on_views(struct sim_world *world, struct sim_node *node, const struct sim_operation *operation);

/* A client's question; a question of a serving node to a leader here; a leader's answer. */
void sim_serving_on_question(struct sim_world *world, struct sim_node *node, const struct sim_event *event);
void sim_serving_on_state_query(struct sim_world *world, struct sim_node *node, const struct sim_event *event);
void sim_serving_on_state_answer(struct sim_world *world, struct sim_node *node, const struct sim_event *event);

#endif
