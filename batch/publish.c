#include "batch/publish.h"

static struct ab_version_directory directory_copy(const struct ab_version_directory *directory, uint32_t shards_count)
{
    struct ab_version_directory copy = *directory;
    copy.path = ab_new_text(directory->path);
    copy.shards = ab_new_array(struct ab_version_shard, shards_count);
    memcpy(copy.shards, directory->shards, shards_count * sizeof *copy.shards);
    return copy;
}

static ab_err directory_fill(const struct ab_plan *plan, size_t view, const struct ab_shard_result *results,
    size_t results_count, struct ab_version_directory *directory, struct ab_error *error)
{
    uint32_t found = 0;
    bool *is_found = ab_new_array(bool, plan->partitions_count);
    for (size_t i = 0; i < results_count; i++) {
        const struct ab_shard_result *result = &results[i];
        if (result->view != view || result->shard >= plan->partitions_count || is_found[result->shard]) {
            continue;
        }
        is_found[result->shard] = true;
        found++;
        directory->shards[result->shard] = (struct ab_version_shard){.rows_count = result->summary.rows_count,
            .bytes = result->summary.bytes,
            .content = result->summary.content};
    }
    ab_delete(is_found);
    return found == plan->partitions_count ? AB_OK
                                           : ab_error_set(error, AB_INVALID, "view %s: %u of %u shards were written",
                                                 plan->views[view].view->name, found, plan->partitions_count);
}

ab_err ab_publish_manifest(const struct ab_plan *plan, size_t view, uint32_t kept,
    const struct ab_shard_result *results, size_t results_count, struct ab_version_manifest *manifest,
    struct ab_error *error)
{
    const struct ab_plan_view *planned = &plan->views[view];
    struct ab_version_manifest made = {.view = ab_new_text(planned->view->name),
        .definition_version = planned->view->definition_version,
        .uid = planned->view->uid,
        .cut = plan->cut,
        .attempt = plan->attempt,
        .time_us = plan->time_us,
        .horizon_us = ab_plan_horizon(planned->view, plan->time_us),
        .shards_count = plan->partitions_count,
        .chunk_us = planned->view->chunk_us,
        .is_aligned = planned->view->is_aligned,
        .directories = ab_new_array(struct ab_version_directory, kept + 1u)};
    for (uint32_t d = 0; d < kept; d++) {
        made.directories[d] = directory_copy(&planned->previous.directories[d], plan->partitions_count);
        made.directories_count++;
    }
    struct ab_version_directory *added = &made.directories[made.directories_count++];
    added->path = ab_new_text(planned->path);
    added->span_from = kept > 0                ? planned->previous.directories[kept - 1].span_to + 1
                       : planned->has_previous ? planned->previous.directories[0].span_from
                                               : plan->spans[0].cut;
    added->span_to = plan->cut;
    added->shards = ab_new_array(struct ab_version_shard, plan->partitions_count);
    ab_err err = directory_fill(plan, view, results, results_count, added, error);
    if (err != AB_OK) {
        ab_version_manifest_fini(&made);
        return err;
    }
    *manifest = made;
    return AB_OK;
}
