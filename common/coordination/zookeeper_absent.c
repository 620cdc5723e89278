/* What stands in for zookeeper.c where the build found no ZooKeeper client library: its addresses are known and
 * refused. */
#include "common/coordination/coordination_table.h"

static ab_err absent_open(const char *place, const struct ab_coordination_options *options,
    struct ab_coordination **session, struct ab_error *error)
{
    (void)options;
    (void)session;
    return ab_error_set(error, AB_UNSUPPORTED,
        "coordination: zookeeper:%s: this build has no ZooKeeper: install libzookeeper-mt-dev and configure again",
        place);
}

/* No session is ever made, so nothing else is ever called. */
const struct ab_coordination_table ab_coordination_zookeeper = {
    .kind = "zookeeper",
    .version = AB_COORDINATION_TABLE_VERSION,
    .open = absent_open,
};
