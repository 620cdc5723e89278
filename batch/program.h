/* program: anabranch-batch, run by every rank: `mpirun -n N anabranch-batch --data DIR [--full] [--job ID]`.
 *
 * Rank 0 speaks with the controller and speed; all ranks do the work of their partitions. A rank that dies ends the
 * job; nothing is published, and the next attempt does only what is not done.
 */
#ifndef ANABRANCH_BATCH_PROGRAM_H
#define ANABRANCH_BATCH_PROGRAM_H

/* Runs the program; returns the exit code: 0 published, 1 failed, 2 wrong usage. */
int ab_batch_program(int argc, char **argv);

#endif
