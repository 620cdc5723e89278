/* faults: what goes wrong, when: drawn from the seed before the run begins. */
#ifndef ANABRANCH_TESTS_SIMULATION_FAULTS_H
#define ANABRANCH_TESTS_SIMULATION_FAULTS_H

#include "tests/simulation/world.h"

/* Draws the seed's faults. */
void sim_faults_draw(struct sim_world *world);

/* Puts those that are not left out into the queue. */
void sim_faults_post(struct sim_world *world);

void sim_fault_on_event(struct sim_world *world, const struct sim_event *event);

/* All faults end; every node that is down starts, every stranger is brought in by a person. */
void sim_faults_heal(struct sim_world *world);

/* While nothing fails any more: strangers are brought in. */
void sim_faults_tend(struct sim_world *world);

#endif
