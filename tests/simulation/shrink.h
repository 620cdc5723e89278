/* shrink: a failing seed with as few faults as still make it fail. */
#ifndef ANABRANCH_TESTS_SIMULATION_SHRINK_H
#define ANABRANCH_TESTS_SIMULATION_SHRINK_H

#include "tests/simulation/world.h"

/* One run of a configuration with some faults left out (bits; NULL = none). Returns the world, to be destroyed. */
struct sim_world *sim_run(const struct sim_config *config, const bool *faults_off, bool is_verbose);

/* Leaves out what the failure does not need, and prints what is left. */
void sim_shrink(const struct sim_config *config);

#endif
