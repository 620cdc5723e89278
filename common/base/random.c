#include "common/base/random.h"

#include "common/base/assert.h"

#include <errno.h>
#include <sys/random.h>

static uint64_t splitmix64(uint64_t *seed)
{
    *seed += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = *seed;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static uint64_t rotate_left(uint64_t x, unsigned bits)
{
    return x << bits | x >> (64 - bits);
}

void ab_random_init(struct ab_random *random, uint64_t seed)
{
    for (int i = 0; i < 4; i++) {
        random->state[i] = splitmix64(&seed);
    }
}

uint64_t ab_random_u64(struct ab_random *random)
{
    uint64_t *s = random->state;
    uint64_t result = rotate_left(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return result;
}

uint64_t ab_random_below(struct ab_random *random, uint64_t bound)
{
    AB_ASSERT(bound > 0);
    /* Lemire 2019: the high half of a product is uniform once the low half is outside its biased start. */
    uint64_t threshold = (0 - bound) % bound;
    unsigned __int128 product;
    do {
        product = (unsigned __int128)ab_random_u64(random) * bound;
    } while ((uint64_t)product < threshold);
    return (uint64_t)(product >> 64);
}

double ab_random_unit(struct ab_random *random)
{
    return (double)(ab_random_u64(random) >> 11) * 0x1p-53;
}

uint64_t ab_random_id(void)
{
    uint64_t id = 0;
    while (id == 0) {
        ssize_t got = getrandom(&id, sizeof(id), 0);
        AB_ASSERT(got == (ssize_t)sizeof(id) || (got < 0 && errno == EINTR));
        id = got == (ssize_t)sizeof(id) ? id : 0;
    }
    return id;
}
