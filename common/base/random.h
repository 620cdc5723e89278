/* random: a seeded, repeatable generator (xoshiro256**, Blackman and Vigna 2018) for generators and tests, and random
 * ids from the operating system. Nothing a protocol decides comes from here. */
#ifndef ANABRANCH_COMMON_BASE_RANDOM_H
#define ANABRANCH_COMMON_BASE_RANDOM_H

#include <stdint.h>

struct ab_random {
    uint64_t state[4];
};

/* Seeds the generator (splitmix64 expands the seed). */
void ab_random_init(struct ab_random *random, uint64_t seed);

/* The next 64 bits. */
uint64_t ab_random_u64(struct ab_random *random);

/* Uniform in [0, bound), without bias; bound > 0. */
uint64_t ab_random_below(struct ab_random *random, uint64_t bound);

/* Uniform in [0, 1), 53 bits. */
double ab_random_unit(struct ab_random *random);

/* A non-zero 64-bit id from the operating system's generator. */
uint64_t ab_random_id(void);

#endif
