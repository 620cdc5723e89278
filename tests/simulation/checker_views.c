/* What must hold of versions, pointers, spans and merged answers. */
#include "tests/simulation/checker.h"

#include "tests/simulation/batch.h"

#include <inttypes.h>

void sim_check_publication(struct sim_world *world, const struct sim_version *version)
{
    uint32_t nodes = sim_batch_stored_by(world, version->number);
    world->versions++;
    for (uint32_t p = 0; p < world->config.partitions && !sim_check_is_off(world); p++) {
        const struct sim_totals *truth = sim_check_totals(world, p, version->offsets[p]);
        if (truth == NULL || !sim_totals_equal(truth, &version->totals[p])) {
            sim_violate(world,
                "S11: cut %" PRIu64 " attempt %u: partition %u is not the fold of what was committed below %" PRIu64,
                version->number.cut, version->number.attempt, p, version->offsets[p]);
        }
        const struct ab_replica_set *set = &world->coordination->states[p].set;
        uint32_t held = 0;
        for (uint32_t i = 0; i < set->replicas.count; i++) {
            held += nodes >> set->replicas.items[i] & 1;
        }
        if (held < set->min_isr) {
            sim_violate(world, "S11: cut %" PRIu64 " attempt %u: %u replicas of partition %u have it, at least %u must",
                version->number.cut, version->number.attempt, held, p, set->min_isr);
        }
    }
}

void sim_check_pointer(struct sim_world *world, uint32_t view, struct ab_version_number next, bool is_back)
{
    const struct sim_view_state *state = &world->coordination->views[view];
    if (!is_back && !ab_version_is_newer(next, state->pointer)) {
        sim_violate(
            world, "S11: view %u: cut %" PRIu64 " is published over cut %" PRIu64, view, next.cut, state->pointer.cut);
    }
    bool is_kept = !is_back;
    for (uint32_t i = 0; i < state->published_count; i++) {
        is_kept = is_kept || (state->published[i].cut == next.cut && state->published[i].attempt == next.attempt);
    }
    if (!is_kept) {
        sim_violate(world, "S12: view %u goes back to cut %" PRIu64 ", which is not kept any more", view, next.cut);
    }
}

void sim_check_retire(struct sim_world *world, const struct sim_replica *replica, uint64_t cut)
{
    for (uint32_t v = 0; v < SIM_VIEWS && !sim_check_is_off(world); v++) {
        const struct sim_view_state *state = &world->coordination->views[v];
        uint64_t oldest = state->pointer.cut;
        for (uint32_t i = 0; i < state->published_count; i++) {
            oldest = state->published[i].cut < oldest ? state->published[i].cut : oldest;
        }
        if (cut > oldest) {
            sim_violate(world,
                "S12: node %u p%u drops the spans up to %" PRIu64 ", view %u may be answered over cut %" PRIu64,
                replica->node, replica->partition, cut, v, oldest);
        }
    }
}

uint64_t sim_check_sealed(const struct sim_world *world, uint32_t partition)
{
    uint64_t sealed = 0;
    if (!world->config.has_batch || sim_check_is_off(world)) {
        return UINT64_MAX;
    }
    for (uint32_t n = 1; n <= world->config.nodes; n++) {
        const struct sim_versions *versions = &world->nodes[n].disk.versions;
        for (uint32_t i = 0; i < versions->count && world->nodes[n].status != SIM_STRANGER; i++) {
            uint64_t offset = versions->items[i].offsets[partition];
            sealed = offset > sealed ? offset : sealed;
        }
    }
    return sealed;
}

void sim_check_trim(struct sim_world *world, const struct sim_replica *replica, uint64_t offset)
{
    if (offset > sim_check_sealed(world, replica->partition)) {
        sim_violate(world, "S12: node %u p%u trims its log to %" PRIu64 ", and no version holds what goes",
            replica->node, replica->partition, offset);
    }
}

void sim_check_install(struct sim_world *world, const struct sim_replica *replica)
{
    const struct sim_log *log = &world->nodes[replica->node].disk.partitions[replica->partition].log;
    if (!sim_check_is_off(world) && sim_check_totals(world, replica->partition, log->installed_until) == NULL) {
        sim_violate(world, "S7: node %u p%u installs tables of %" PRIu64 ", which were never committed", replica->node,
            replica->partition, log->installed_until);
    }
}

void sim_check_answer(
    struct sim_world *world, const struct sim_question_reply *reply, const uint64_t floors[SIM_PARTITIONS_MAX])
{
    world->answers++;
    for (uint32_t p = 0; p < world->config.partitions && !sim_check_is_off(world); p++) {
        uint64_t offset = reply->offsets[p];
        struct sim_total told = reply->totals[p];
        const struct sim_totals *truth = sim_check_totals(world, p, offset);
        if (offset < reply->question.offsets[p]) {
            sim_violate(world, "S9: p%u: a merged answer reaches %" PRIu64 ", its question's token said %" PRIu64, p,
                offset, reply->question.offsets[p]);
        } else if (truth == NULL || !sim_total_equal(told, truth->views[reply->question.view])) {
            sim_violate(world,
                "S9: p%u: a merged answer over cut %" PRIu64 " says %" PRIu64 " records at %" PRIu64
                ", there are %" PRIu64 "%s",
                p, reply->cut, told.count, offset, truth == NULL ? 0 : truth->views[reply->question.view].count,
                truth != NULL && truth->views[reply->question.view].count == told.count ? ", and others" : "");
        } else if (offset < floors[p] && world->now_us >= world->no_lease_until_us) {
            sim_violate(world,
                "H19: p%u: a merged answer saw %" PRIu64 " records, %" PRIu64 " were acknowledged or read before it "
                "was asked for",
                p, offset, floors[p]);
        }
        sim_check_seen(world, p, offset);
    }
}
