/* workspace: a job's folder below jobs/, and the cleaning up after attempts that died.
 *
 *   jobs/<id>/work/               runs: kept over attempts, removed when the job has published
 *   jobs/<id>/report-<attempt>.json
 *
 * Only rank 0 cleans, before the others begin; over several nodes the first rank of each.
 */
#ifndef ANABRANCH_BATCH_WORKSPACE_H
#define ANABRANCH_BATCH_WORKSPACE_H

#include "batch/plan.h"

/* Folder of a job's runs; freed with ab_delete. */
char *ab_workspace_path(const char *directory, const char *job);

/* Makes the job's folder; removes the runs of other jobs (only one runs at a time), what earlier attempts of this cut
 * wrote below versions/ and no manifest names, and what a power cut may have left of this attempt's own directories;
 * and versions that nothing names any more, when it was told which are named. */
AB_MUST_USE ab_err ab_workspace_prepare(const char *directory, const struct ab_plan *plan, struct ab_error *error);

/* Writes the report durably. */
AB_MUST_USE ab_err ab_workspace_report(
    const char *directory, const struct ab_plan *plan, const struct ab_json *report, struct ab_error *error);

/* Removes the job's runs. */
AB_MUST_USE ab_err ab_workspace_clean(const char *directory, const char *job, struct ab_error *error);

#endif
