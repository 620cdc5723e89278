/* route: which shards and partitions can hold the groups a query asks for: a pure function of the query's pins. */
#ifndef ANABRANCH_SERVING_ROUTE_H
#define ANABRANCH_SERVING_ROUTE_H

#include "common/catalog/query.h"

#define AB_ROUTE_COMBINATIONS_MAX 256u

/* Marks wanted_partitions[p] (speed) and wanted_shards[s] (batch), partitions_count of each. When the query pins every
 * partition-key column of an aligned view, only the partitions of those values are marked, for both; when it pins all
 * keys of a view that is not aligned, only the shards of those groups, and every partition; else everything. */
void ab_route_query(
    const struct ab_query *query, uint32_t partitions_count, bool *wanted_partitions, bool *wanted_shards);

#endif
