/* acting: which controller of a cluster acts, and the fence that keeps an earlier one out.
 *
 *   /controller        ephemeral   {"node":3,"address":"tcp://...","key":"<64 hex>","incarnation":"<32 hex>"}
 *   /controller_epoch  persistent  how many have acted; raised with each one
 *
 * Raising the counter and creating the node are one multi: of two controllers one wins, and the winner knows the
 * version of /controller_epoch that is its own. Whatever decides about partitions is one multi with a check of that
 * version (REPLICATION R9, H23): a controller that was followed by another may believe what it likes, its changes are
 * refused.
 *
 * A controller acts only while its session lives by its own clock (ab_coordination_must_step_down, asked by the loop):
 * that is for its answers; the fence is what keeps the cluster right.
 *
 * Threads: owner. Memory: none.
 */
#ifndef ANABRANCH_CLUSTER_CONTROLLER_ACTING_H
#define ANABRANCH_CLUSTER_CONTROLLER_ACTING_H

#include "common/base/hash.h"
#include "common/coordination/coordination.h"
#include "common/wire/wire.h"

#define AB_CONTROLLER_PATH "/controller"
#define AB_CONTROLLER_EPOCH_PATH "/controller_epoch"

/* What /controller says. */
struct ab_acting_controller {
    uint32_t node;
    struct ab_hash128 incarnation; /* of that process; zero = nobody */
    char address[256];
    uint8_t public_key[AB_WIRE_KEY_BYTES];
};

struct ab_acting {
    struct ab_acting_controller own;
    struct ab_acting_controller current; /* who acts as far as was seen; zeroed = nobody */
    bool is_acting;
    uint64_t epoch_version; /* of /controller_epoch, while acting */
};

/* Begins as one who does not act. `own` is copied; its incarnation is not zero. */
void ab_acting_init(struct ab_acting *acting, const struct ab_acting_controller *own);

/* One look: takes in who acts, and stands for it when nobody does. After AB_OK `is_acting` and `current` say how it is.
 * After an error nothing is known: it does not act. AB_CORRUPT when /controller cannot be read. */
AB_MUST_USE ab_err ab_acting_look(
    struct ab_acting *acting, struct ab_coordination *coordination, struct ab_error *error);

/* Acts no more, until a look says so again. */
void ab_acting_step_down(struct ab_acting *acting);

/* The check that stands in every change: the first operation of a multi. */
struct ab_coordination_op ab_acting_fence(uint64_t epoch_version);

#endif
