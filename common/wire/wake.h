/* wake: how other threads wake a network thread that sleeps in zmq_poll: an eventfd to poll, rung once however many
 * ring.
 *
 * Private to common/wire. Threads: anyone rings; the network thread clears, and looks for work after that, never
 * before.
 */
#ifndef ANABRANCH_COMMON_WIRE_WAKE_H
#define ANABRANCH_COMMON_WIRE_WAKE_H

#include "common/base/error.h"

#include <stdatomic.h>
#include <stdbool.h>

/* Zeroed memory is a valid one that is not open. */
struct ab_wake {
    int fd; /* owned eventfd: readable = rung */
    bool is_open;
    atomic_bool is_rung; /* fd is readable or about to be */
};

/* Opens. */
AB_MUST_USE ab_err ab_wake_init(struct ab_wake *wake, struct ab_error *error);
/* Closes; idempotent. */
void ab_wake_fini(struct ab_wake *wake);

/* Makes fd readable. What was done before is seen by who clears. */
void ab_wake_ring(struct ab_wake *wake);
/* Makes fd unreadable. Whoever rings after it wakes again. */
void ab_wake_clear(struct ab_wake *wake);

#endif
