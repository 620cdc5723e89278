/* hedge: when a question is asked a second time, of another node, and which answer is taken. A pure core.
 *
 * Any serving node gives the same answer, so one that is slow or gone need not be waited for: when the first has not
 * answered by the time in which nineteen of twenty answers came lately, the other is asked too, and the first good
 * answer is taken. A node that refuses for a reason of its own is replaced at once. So a question costs at most one
 * more, about one in twenty does, and its deadline is never moved.
 *
 *        ┌──────────── tick before the time ───────┐
 *        ▼                                         │
 *   first asked ── tick after it, bad answer ──▶ both asked ── good answer of either ──▶ taken
 *        └── bad answer, no other ──▶ lost ◀── bad answers of both
 *
 * Threads: values. Memory: none.
 */
#ifndef ANABRANCH_COMMON_CLIENT_HEDGE_H
#define ANABRANCH_COMMON_CLIENT_HEDGE_H

#include <stdbool.h>
#include <stdint.h>

#define CLIENT_HEDGE_KEPT 64u  /* latencies that are remembered */
#define CLIENT_HEDGE_LEAST 16u /* below so many nothing is known of them */
#define CLIENT_HEDGE_UNKNOWN_US 250000
#define CLIENT_HEDGE_LEAST_US 1000 /* a second question costs more than it gains sooner than that */

/* How long answers took lately. Zeroed memory knows nothing. */
struct client_latencies {
    int64_t us[CLIENT_HEDGE_KEPT];
    uint32_t count; /* of all that were learnt; at most UINT32_MAX / 2 are counted */
};

/* Remembers one; negative ones are 0. */
void client_latencies_learn(struct client_latencies *latencies, int64_t latency_us);

/* How long to wait before another node is asked: the 95th percentile, at least CLIENT_HEDGE_LEAST_US;
 * CLIENT_HEDGE_UNKNOWN_US while too few are known. */
int64_t client_latencies_delay_us(const struct client_latencies *latencies);

/* One question at up to two places: 0 is the first, 1 the other. */
struct client_hedge {
    int64_t second_us; /* when the other is asked */
    int64_t until_us;  /* the deadline */
    bool has_other;
    bool is_asked[2];
    bool is_refused[2];
};

enum client_hedge_event {
    CLIENT_HEDGE_TICK, /* time has passed */
    CLIENT_HEDGE_GOOD, /* an answer that is final, whatever it says */
    CLIENT_HEDGE_BAD,  /* a refusal that another node need not share, or no way there */
};

enum client_hedge_act {
    CLIENT_HEDGE_WAIT, /* until wait_us, for answers of those who were asked */
    CLIENT_HEDGE_ASK,  /* the other, now */
    CLIENT_HEDGE_TAKE, /* this answer */
    CLIENT_HEDGE_LOST, /* everybody who was asked refused */
    CLIENT_HEDGE_LATE, /* the deadline has passed */
};

struct client_hedge_step {
    enum client_hedge_act act;
    int64_t wait_us; /* monotonic, for WAIT: at most the deadline */
};

/* The first is asked at now_us. */
void client_hedge_init(struct client_hedge *hedge, int64_t now_us, int64_t delay_us, int64_t until_us, bool has_other);

/* What to do after an event at a place (of no meaning for TICK). An answer that came in time is taken even when the
 * deadline has passed meanwhile. After ASK the other counts as asked. */
struct client_hedge_step client_hedge_step(
    struct client_hedge *hedge, enum client_hedge_event event, unsigned place, int64_t now_us);

#endif
