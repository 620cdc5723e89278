/* primitive_sample: k rows chosen at random, each set of k as likely as any other, the same whoever chooses.
 *
 * A reservoir (Vitter 1985) depends on the order of rows. Here each row has a random number of its own, the hash of who
 * it is (sketch.h), and the k rows with the least numbers are the sample (bottom-k: Cohen and Kaplan 2007): a function
 * of the set of rows. It is as good as random for anyone who does not choose rows by their place in the log.
 *
 * Payload: empty = no value; else u8 type kind, varint k (1 .. AB_SAMPLE_MAX; both are the head), then 1 .. k rows in
 * rising order of number, then value: u64 number, varint bytes, the value (cell.h).
 *
 * Threads and memory: as primitive.h; 24 bytes a row and its text, twice k rows at most.
 */
#ifndef ANABRANCH_COMMON_AGGREGATE_PRIMITIVE_SAMPLE_H
#define ANABRANCH_COMMON_AGGREGATE_PRIMITIVE_SAMPLE_H

#include "common/aggregate/cell.h"
#include "common/aggregate/primitive.h"

#define AB_SAMPLE_MAX 1000u

/* Writes the values of the sample, in order of the rows' numbers; room for AB_SAMPLE_MAX; returns how many. Text is
 * borrowed from the state. */
uint32_t ab_primitive_sample(const void *state, union ab_cell *cells);

#endif
