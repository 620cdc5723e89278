/* plans: parsed queries kept by catalog and text, so that a repeated question is parsed once.
 *
 * Threads: any; one lock inside. A plan is read-only and counted: it may be dropped from the table while a query uses
 * it.
 */
#ifndef ANABRANCH_SPEED_PLANS_H
#define ANABRANCH_SPEED_PLANS_H

#include "speed/catalogs.h"
#include "common/catalog/query.h"

/* One parsed query; read-only. */
struct ab_plan {
    struct ab_query *query;                   /* owned */
    const struct ab_served_catalog *served;   /* borrowed from the registry */
    const struct ab_aggregation *aggregation; /* of query->view */
};

struct ab_plans;
struct ab_plans *ab_plans_create(void);
void ab_plans_destroy(struct ab_plans *plans);

/* Parses or finds; ends with ab_plans_release. Errors of ab_query_parse. */
AB_MUST_USE ab_err ab_plans_acquire(struct ab_plans *plans, const struct ab_served_catalog *served, struct ab_bytes sql,
    const struct ab_plan **plan, struct ab_error *error);
void ab_plans_release(struct ab_plans *plans, const struct ab_plan *plan);

#endif
