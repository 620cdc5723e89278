#include "common/client/hedge.h"

#include <stddef.h>

void client_latencies_learn(struct client_latencies *latencies, int64_t latency_us)
{
    latencies->us[latencies->count % CLIENT_HEDGE_KEPT] = latency_us < 0 ? 0 : latency_us;
    latencies->count++;
    if (latencies->count >= UINT32_MAX / 2) {
        latencies->count -= UINT32_MAX / 4 / CLIENT_HEDGE_KEPT * CLIENT_HEDGE_KEPT; /* the place in the ring stays */
    }
}

int64_t client_latencies_delay_us(const struct client_latencies *latencies)
{
    uint32_t known = latencies->count < CLIENT_HEDGE_KEPT ? latencies->count : CLIENT_HEDGE_KEPT;
    int64_t delay_us = 0;
    if (known < CLIENT_HEDGE_LEAST) {
        return CLIENT_HEDGE_UNKNOWN_US;
    }
    uint32_t above_max = known / 20; /* so many may be above the 95th percentile */
    for (uint32_t i = 0; i < known; i++) {
        uint32_t above = 0;
        for (uint32_t j = 0; j < known; j++) {
            above += latencies->us[j] > latencies->us[i];
        }
        delay_us = above <= above_max && (delay_us == 0 || latencies->us[i] < delay_us) ? latencies->us[i] : delay_us;
    }
    return delay_us < CLIENT_HEDGE_LEAST_US ? CLIENT_HEDGE_LEAST_US : delay_us;
}

void client_hedge_init(struct client_hedge *hedge, int64_t now_us, int64_t delay_us, int64_t until_us, bool has_other)
{
    *hedge = (struct client_hedge){.until_us = until_us, .has_other = has_other, .is_asked = {true, false}};
    hedge->second_us = delay_us > INT64_MAX - now_us ? INT64_MAX : now_us + delay_us;
}

/* Waits, or asks the other when it is time to. */
static struct client_hedge_step hedge_go_on(struct client_hedge *hedge, int64_t now_us)
{
    bool may_ask = hedge->has_other && !hedge->is_asked[1];
    if (now_us >= hedge->until_us) {
        return (struct client_hedge_step){.act = CLIENT_HEDGE_LATE};
    }
    if (may_ask && (now_us >= hedge->second_us || hedge->is_refused[0])) {
        hedge->is_asked[1] = true;
        return (struct client_hedge_step){.act = CLIENT_HEDGE_ASK};
    }
    int64_t wait_us = may_ask && hedge->second_us < hedge->until_us ? hedge->second_us : hedge->until_us;
    return (struct client_hedge_step){.act = CLIENT_HEDGE_WAIT, .wait_us = wait_us};
}

struct client_hedge_step client_hedge_step(
    struct client_hedge *hedge, enum client_hedge_event event, unsigned place, int64_t now_us)
{
    switch (event) {
    case CLIENT_HEDGE_GOOD:
        return (struct client_hedge_step){.act = CLIENT_HEDGE_TAKE};
    case CLIENT_HEDGE_BAD:
        hedge->is_refused[place] = true;
        break;
    case CLIENT_HEDGE_TICK:
        break;
    }
    if (hedge->is_refused[0] && (hedge->is_asked[1] ? hedge->is_refused[1] : !hedge->has_other)) {
        return (struct client_hedge_step){.act = CLIENT_HEDGE_LOST}; /* with what was said, late or not */
    }
    return hedge_go_on(hedge, now_us);
}
