#include "tests/simulation/batch.h"

#include "tests/simulation/checker.h"

#include "common/base/memory.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define JOB_PATIENCE_US (8 * AB_US_PER_SECOND)
#define SHIP_AGAIN_US (800 * AB_US_PER_MS)
#define PUBLISH_AGAIN_US (700 * AB_US_PER_MS)
#define RETIRE_EVERY_US (500 * AB_US_PER_MS)
#define STORED_MAX 256u

enum job_phase { JOB_NONE, JOB_READING, JOB_SHIPPING, JOB_PUBLISHING };

/* An attempt of a controller. */
struct job {
    enum job_phase phase;
    struct sim_version base; /* what it begins with: the newest history that could be reached */
    struct sim_version made;
    bool is_read[SIM_PARTITIONS_MAX];
    struct sim_totals read[SIM_PARTITIONS_MAX]; /* of the records after the base */
    uint32_t holders;                           /* bits of nodes that said so */
    int64_t until_us, again_us;
};

/* A unit of work that is finished, with its marker: an attempt may take it over from one that died. */
struct unit {
    uint64_t cut, base_cut;
    struct sim_totals totals;
};

struct stored {
    struct ab_version_number number;
    uint32_t nodes;
};

struct sim_batch {
    struct sim_manifest *manifests; /* owned; rising */
    size_t count, capacity;
    struct job jobs[SIM_CONTROLLERS];
    int64_t retire_us[SIM_CONTROLLERS];
    struct unit units[SIM_PARTITIONS_MAX];
    struct stored stored[STORED_MAX]; /* a ring */
    size_t stored_count;
};

void sim_batch_create(struct sim_world *world)
{
    world->batch = ab_new(struct sim_batch);
}

void sim_batch_destroy(struct sim_world *world)
{
    ab_delete(world->batch->manifests);
    ab_delete(world->batch);
}

/* ---- manifests ---- */

uint64_t sim_batch_last_cut(const struct sim_world *world)
{
    const struct sim_batch *batch = world->batch;
    return batch->count > 0 ? batch->manifests[batch->count - 1].cut : 0;
}

void sim_batch_manifest_add(struct sim_world *world, const struct sim_manifest *manifest)
{
    struct sim_batch *batch = world->batch;
    if (batch->count == batch->capacity) {
        batch->capacity = batch->capacity > 0 ? 2 * batch->capacity : 64;
        batch->manifests = ab_renew_bytes(batch->manifests, batch->capacity * sizeof *batch->manifests);
    }
    batch->manifests[batch->count++] = *manifest;
    sim_trace(world, "cut %" PRIu64 " is in all partitions", manifest->cut);
}

/* ---- who has what ---- */

static void stored_note(struct sim_world *world, struct ab_version_number number, uint32_t node)
{
    struct sim_batch *batch = world->batch;
    for (size_t i = 0; i < batch->stored_count && i < STORED_MAX; i++) {
        struct stored *stored = &batch->stored[i];
        if (stored->number.cut == number.cut && stored->number.attempt == number.attempt) {
            stored->nodes |= 1u << node;
            return;
        }
    }
    batch->stored[batch->stored_count++ % STORED_MAX] = (struct stored){.number = number, .nodes = 1u << node};
}

uint32_t sim_batch_stored_by(const struct sim_world *world, struct ab_version_number number)
{
    const struct sim_batch *batch = world->batch;
    for (size_t i = 0; i < batch->stored_count && i < STORED_MAX; i++) {
        const struct stored *stored = &batch->stored[i];
        if (stored->number.cut == number.cut && stored->number.attempt == number.attempt) {
            return stored->nodes;
        }
    }
    return 0;
}

void sim_batch_ship(struct sim_world *world, uint32_t node, const struct sim_version *version, uint32_t controller)
{
    if (world->nodes[node].status != SIM_UP ||
        (!world->is_healing && sim_chance(&world->batch_random, world->config.loss))) {
        return;
    }
    bool is_damaged = !world->is_healing && sim_chance(&world->batch_random, world->config.damage);
    struct sim_version *sent = ab_new(struct sim_version);
    *sent = *version;
    struct sim_event event = {.kind = SIM_EVENT_SHIP,
        .node = node,
        .process = world->nodes[node].process,
        .number = controller | (is_damaged ? 1u << 8 : 0),
        .payload = sent};
    int64_t mean_us = world->is_healing ? world->config.link_us : 4 * world->config.link_us + world->config.ship_us;
    sim_world_post(world, sim_delay(&world->batch_random, mean_us), &event);
}

static bool is_published(const struct sim_world *world, struct ab_version_number number)
{
    for (uint32_t v = 0; v < SIM_VIEWS; v++) {
        const struct sim_view_state *view = &world->coordination->views[v];
        for (uint32_t i = 0; i < view->published_count; i++) {
            if (view->published[i].cut == number.cut && view->published[i].attempt == number.attempt) {
                return true;
            }
        }
    }
    return false;
}

/* Keeps a version; on a full disk one that was never published, or is not needed any more, makes room. */
static bool version_keep(
    const struct sim_world *world, struct sim_versions *versions, const struct sim_version *version)
{
    if (sim_versions_find(versions, version->number) != NULL || sim_versions_add(versions, version)) {
        return true;
    }
    for (uint32_t i = 0; i < versions->count; i++) {
        if (!is_published(world, versions->items[i].number)) {
            versions->items[i] = *version;
            return true;
        }
    }
    return false;
}

void sim_batch_on_ship(struct sim_world *world, struct sim_node *node, const struct sim_event *event)
{
    const struct sim_version *version = event->payload;
    bool is_damaged = (event->number >> 8 & 1) != 0; /* its hashes are not those that were promised: sent again */
    if (node->status != SIM_UP || is_damaged || !version_keep(world, &node->disk.versions, version)) {
        return;
    }
    stored_note(world, version->number, node->node);
    for (uint32_t p = 0; p < world->config.partitions; p++) {
        if (node->replicas[p].core != NULL && node->replicas[p].applied < version->offsets[p]) {
            sim_mark(world, SIM_MARK_H37);
        }
    }
    if ((event->number & 0xff) < SIM_CONTROLLERS) {
        struct sim_version *held = ab_new(struct sim_version);
        *held = *version;
        struct sim_event told = {
            .kind = SIM_EVENT_HELD, .partition = node->node, .number = event->number & 0xff, .payload = held};
        sim_world_post(world, sim_delay(&world->batch_random, world->config.link_us), &told);
    }
}

void sim_batch_on_held(struct sim_world *world, const struct sim_event *event)
{
    struct job *job = &world->batch->jobs[event->number];
    const struct sim_version *version = event->payload;
    bool is_its = job->made.number.cut == version->number.cut && job->made.number.attempt == version->number.attempt;
    if (job->phase == JOB_SHIPPING && is_its) {
        job->holders |= 1u << event->partition;
    }
}

/* ---- reading ---- */

static const struct sim_manifest *manifest_of(const struct sim_batch *batch, uint64_t cut)
{
    for (size_t i = batch->count; i-- > 0;) {
        if (batch->manifests[i].cut == cut) {
            return &batch->manifests[i];
        }
    }
    return NULL;
}

/* A replica whose log reaches from the base to the cut, and is the one that was cut: its chain says so (H35, H50). */
static const struct sim_log *unit_source(
    struct sim_world *world, const struct job *job, const struct sim_manifest *manifest, uint32_t partition)
{
    for (uint32_t n = 1; n <= world->config.nodes; n++) {
        const struct sim_node *node = &world->nodes[n];
        const struct sim_log *log = &node->disk.partitions[partition].log;
        uint64_t until = manifest->offsets[partition];
        bool is_there = node->status == SIM_UP && node->replicas[partition].core != NULL &&
                        log->start <= job->base.offsets[partition] && log->end >= until && log->start <= until;
        if (!is_there) {
            continue;
        }
        if (ab_hash128_equal(sim_log_chain_before(log, until), manifest->chains[partition])) {
            return log;
        }
        sim_mark(world, SIM_MARK_H50);
    }
    return NULL;
}

/* Folds what lies between the base and the cut, and holds each part between two manifests against what speed had of it
 * (reconcile). False when they differ, which is an error of the reader. */
static bool unit_fold(struct sim_world *world, const struct job *job, const struct sim_log *log, uint32_t partition,
    struct sim_totals *totals)
{
    const struct sim_batch *batch = world->batch;
    uint64_t offset = job->base.offsets[partition];
    for (size_t i = 0; i < batch->count && batch->manifests[i].cut <= job->made.number.cut; i++) {
        const struct sim_manifest *manifest = &batch->manifests[i];
        if (manifest->cut <= job->base.number.cut) {
            continue;
        }
        struct sim_totals part = {0};
        bool is_short = !world->is_healing && sim_chance(&world->batch_random, world->config.short_reads);
        for (; offset < manifest->offsets[partition]; offset++) {
            const struct sim_record *record = sim_log_at(log, offset);
            if (!is_short || record->kind != SIM_DATA) {
                sim_totals_add(&part, record);
            } else {
                is_short = false; /* an error of a reader that looks like the end */
                part.views[0].sum++;
            }
        }
        bool is_same = sim_totals_equal(&part, &manifest->digests[partition]);
        if (!is_same && sim_shell_mutant != SIM_MUTANT_COUNTS_UNCHECKED) {
            sim_mark(world, SIM_MARK_H43);
            return false;
        }
        sim_mark(world, SIM_MARK_H60);
        sim_totals_merge(totals, &part);
    }
    return true;
}

static void unit_read(struct sim_world *world, struct job *job, uint32_t partition)
{
    struct unit *unit = &world->batch->units[partition];
    bool is_its = unit->cut == job->made.number.cut ||
                  (sim_shell_mutant == SIM_MUTANT_UNIT_OF_OTHER_CUT && unit->cut > job->base.number.cut);
    if (is_its && unit->base_cut == job->base.number.cut && unit->cut > 0) {
        sim_mark(world, SIM_MARK_H49);
        job->read[partition] = unit->totals;
        job->is_read[partition] = true;
        return;
    }
    const struct sim_manifest *manifest = manifest_of(world->batch, job->made.number.cut);
    const struct sim_log *log = unit_source(world, job, manifest, partition);
    struct sim_totals totals = {0};
    if (log == NULL || !unit_fold(world, job, log, partition, &totals)) {
        return;
    }
    job->read[partition] = totals;
    job->is_read[partition] = true;
    *unit = (struct unit){.cut = job->made.number.cut, .base_cut = job->base.number.cut, .totals = totals};
}

/* ---- an attempt ---- */

/* The newest history that some node can give, not past the cut. */
static struct sim_version base_find(const struct sim_world *world, uint64_t cut)
{
    struct sim_version base = {0};
    for (uint32_t n = 1; n <= world->config.nodes; n++) {
        const struct sim_versions *versions = &world->nodes[n].disk.versions;
        for (uint32_t i = 0; i < versions->count && world->nodes[n].status == SIM_UP; i++) {
            const struct sim_version *version = &versions->items[i];
            if (version->number.cut < cut && ab_version_is_newer(version->number, base.number)) {
                base = *version;
            }
        }
    }
    return base;
}

static struct ab_version_number newest_in_force(const struct sim_world *world)
{
    struct ab_version_number newest = {0};
    for (uint32_t v = 0; v < SIM_VIEWS; v++) {
        struct ab_version_number number = world->coordination->views[v].pointer;
        newest = ab_version_is_newer(number, newest) ? number : newest;
    }
    return newest;
}

/* A new attempt is written down first, by the controller that acts: the one before can publish nothing any more. */
static void job_begin(struct sim_world *world, uint32_t controller, struct job *job)
{
    struct sim_coordination *coordination = world->coordination;
    uint64_t cut = sim_batch_last_cut(world);
    bool is_acting = coordination->controllers[controller].epoch == coordination->controller_epoch;
    if (!is_acting || cut <= newest_in_force(world).cut || !sim_chance(&world->batch_random, 0.6)) {
        return;
    }
    const struct sim_manifest *manifest = manifest_of(world->batch, cut);
    *job =
        (struct job){.phase = JOB_READING, .base = base_find(world, cut), .until_us = world->now_us + JOB_PATIENCE_US};
    job->made.number = (struct ab_version_number){.cut = cut, .attempt = ++coordination->attempt};
    memcpy(job->made.offsets, manifest->offsets, sizeof job->made.offsets);
    sim_trace(world, "job: cut %" PRIu64 " attempt %u begins from cut %" PRIu64, cut, job->made.number.attempt,
        job->base.number.cut);
}

static void job_read(struct sim_world *world, struct job *job)
{
    bool is_all = true;
    for (uint32_t p = 0; p < world->config.partitions; p++) {
        if (!job->is_read[p] && sim_chance(&world->batch_random, 0.7)) {
            unit_read(world, job, p);
        }
        is_all = is_all && job->is_read[p];
    }
    if (!is_all) {
        return;
    }
    for (uint32_t p = 0; p < world->config.partitions; p++) {
        job->made.totals[p] = job->base.totals[p];
        sim_totals_merge(&job->made.totals[p], &job->read[p]);
    }
    job->phase = JOB_SHIPPING;
    job->again_us = 0;
}

/* Enough replicas of every partition have it? */
static bool may_publish(const struct sim_world *world, const struct job *job)
{
    uint32_t holders[SIM_NODES_MAX];
    size_t count = 0;
    for (uint32_t n = 1; n <= world->config.nodes; n++) {
        holders[count] = n;
        count += job->holders >> n & 1;
    }
    bool is_enough = true;
    for (uint32_t p = 0; p < world->config.partitions; p++) {
        const struct ab_replica_set *set = &world->coordination->states[p].set;
        bool is_everywhere = true;
        uint32_t least = sim_shell_mutant == SIM_MUTANT_PUBLISH_HELD_BY_ONE ? 1 : set->min_isr;
        is_enough = is_enough && ab_publication_holders(set, holders, count, &is_everywhere) >= least;
    }
    return is_enough;
}

static void job_publish(struct sim_world *world, uint32_t controller, struct job *job)
{
    struct sim_operation operation = {.kind = SIM_PUBLISH,
        .process = controller,
        .controller_epoch = world->coordination->controllers[controller].epoch,
        .number = job->made.number};
    for (uint32_t v = 0; v < SIM_VIEWS; v++) {
        const struct sim_view_state *view = &world->coordination->views[v];
        operation.view_versions[v] = view->version;
        operation.views |= ab_version_is_newer(job->made.number, view->pointer) ? 1u << v : 0;
    }
    if (operation.views == 0) {
        sim_mark(world, SIM_MARK_H42);
        job->phase = JOB_NONE; /* a newer version is in force */
        return;
    }
    sim_check_publication(world, &job->made);
    job->phase = JOB_PUBLISHING;
    job->until_us = world->now_us + PUBLISH_AGAIN_US;
    sim_coordination_submit(world, &operation);
}

static void retire_send(struct sim_world *world, const struct sim_retirement *retirement);

static void job_ship(struct sim_world *world, uint32_t controller, struct job *job)
{
    if (world->now_us >= job->again_us) {
        job->again_us = world->now_us + SHIP_AGAIN_US;
        for (uint32_t n = 1; n <= world->config.nodes; n++) {
            if ((job->holders >> n & 1) == 0) {
                sim_batch_ship(world, n, &job->made, controller);
            }
        }
    }
    if (may_publish(world, job) && sim_chance(&world->batch_random, 0.6)) {
        if (sim_shell_mutant == SIM_MUTANT_RETIRE_UNPUBLISHED) {
            struct sim_retirement early = {.cut = job->made.number.cut};
            retire_send(world, &early);
        }
        job_publish(world, controller, job);
    }
}

/* Nobody said how the publication ended: what is in force tells (H52). */
static void job_look(struct sim_world *world, uint32_t controller, struct job *job)
{
    if (world->now_us < job->until_us) {
        return;
    }
    struct ab_version_number newest = newest_in_force(world);
    bool is_over = job->made.number.attempt != world->coordination->attempt;
    if (is_over || (newest.cut == job->made.number.cut && newest.attempt == job->made.number.attempt)) {
        job->phase = JOB_NONE;
    } else {
        job_publish(world, controller, job);
    }
}

static void job_round(struct sim_world *world, uint32_t controller)
{
    struct job *job = &world->batch->jobs[controller];
    if (job->phase != JOB_NONE && job->phase != JOB_PUBLISHING && world->now_us >= job->until_us) {
        job->phase = JOB_NONE;
    }
    switch (job->phase) {
    case JOB_NONE:
        job_begin(world, controller, job);
        break;
    case JOB_READING:
        job_read(world, job);
        break;
    case JOB_SHIPPING:
        job_ship(world, controller, job);
        break;
    case JOB_PUBLISHING:
        job_look(world, controller, job);
        break;
    }
}

void sim_batch_on_result(struct sim_world *world, const struct sim_operation *operation)
{
    struct job *job = &world->batch->jobs[operation->process];
    bool is_its = job->phase == JOB_PUBLISHING && job->made.number.attempt == operation->number.attempt;
    if (operation->kind == SIM_PUBLISH && is_its && operation->outcome == AB_REPLICA_APPLIED) {
        job->phase = JOB_NONE;
        world->batch->retire_us[operation->process] = 0;
    } else if (operation->kind == SIM_PUBLISH && is_its) {
        job->until_us = world->now_us;
    }
}

void sim_batch_kill(struct sim_world *world)
{
    for (uint32_t i = 0; i < SIM_CONTROLLERS; i++) {
        world->batch->jobs[i].phase = JOB_NONE;
    }
}

/* ---- retirement ---- */

static void retire_send(struct sim_world *world, const struct sim_retirement *retirement)
{
    for (uint32_t n = 1; n <= world->config.nodes; n++) {
        if (!world->is_healing && sim_chance(&world->batch_random, world->config.loss)) {
            continue;
        }
        struct sim_retirement *sent = ab_new(struct sim_retirement);
        *sent = *retirement;
        struct sim_event event = {
            .kind = SIM_EVENT_RETIRE, .node = n, .process = world->nodes[n].process, .payload = sent};
        sim_world_post(world, sim_delay(&world->batch_random, 2 * world->config.link_us), &event);
    }
}

/* Versions that are kept; where the cuts are refused because too many spans live, a person gives up the older ones. */
static uint32_t retained_now(const struct sim_world *world)
{
    for (uint32_t n = 1; n <= world->config.nodes; n++) {
        for (uint32_t p = 0; p < world->config.partitions; p++) {
            if (world->nodes[n].replicas[p].speed.closed_count >= SIM_SPANS_LIVE_MAX) {
                return 1;
            }
        }
    }
    return world->config.retained;
}

/* What the versions that stay make superfluous; false while a view has none. Others are forgotten first, in one write
 * of the acting controller: nobody can go back to them any more. */
static bool retirement_plan(struct sim_world *world, struct sim_retirement *retirement)
{
    retirement->cut = UINT64_MAX;
    for (uint32_t v = 0; v < SIM_VIEWS; v++) {
        struct sim_view_state *view = &world->coordination->views[v];
        bool stays[SIM_VERSIONS_MAX];
        uint64_t oldest =
            ab_publication_retain(view->published, view->published_count, view->pointer, retained_now(world), stays);
        uint32_t kept = 0;
        for (uint32_t i = 0; i < view->published_count; i++) {
            if (stays[i]) {
                view->published[kept++] = view->published[i];
                retirement->kept[retirement->kept_count++] = view->published[i];
                uint64_t cut = view->published[i].cut;
                retirement->newest_cut = cut > retirement->newest_cut ? cut : retirement->newest_cut;
            }
        }
        view->published_count = kept;
        retirement->cut = oldest < retirement->cut ? oldest : retirement->cut;
        if (oldest == UINT64_MAX) {
            return false;
        }
    }
    return true;
}

/* Logs may be trimmed behind the oldest version that stays when every replica has it; or enough, where the rest can
 * install a state. */
static void retirement_offsets(const struct sim_world *world, struct sim_retirement *retirement)
{
    uint32_t holders[SIM_NODES_MAX];
    size_t count = 0;
    const struct sim_version *oldest = NULL;
    for (uint32_t n = 1; n <= world->config.nodes; n++) {
        const struct sim_versions *versions = &world->nodes[n].disk.versions;
        for (uint32_t i = 0; i < retirement->kept_count; i++) {
            const struct sim_version *found = sim_versions_find(versions, retirement->kept[i]);
            if (found != NULL && found->number.cut == retirement->cut && world->nodes[n].status != SIM_STRANGER &&
                (count == 0 || holders[count - 1] != n)) {
                oldest = found;
                holders[count++] = n;
            }
        }
    }
    bool is_enough = oldest != NULL;
    for (uint32_t p = 0; p < world->config.partitions; p++) {
        const struct ab_replica_set *set = &world->coordination->states[p].set;
        bool is_everywhere = true;
        uint32_t held = ab_publication_holders(set, holders, count, &is_everywhere);
        is_enough = is_enough && (is_everywhere || (world->config.is_trim_far && held >= set->min_isr));
    }
    if (is_enough) {
        retirement->has_offsets = true;
        memcpy(retirement->offsets, oldest->offsets, sizeof retirement->offsets);
    }
}

static void retire_round(struct sim_world *world, uint32_t controller)
{
    if (world->now_us < world->batch->retire_us[controller]) {
        return;
    }
    world->batch->retire_us[controller] = world->now_us + RETIRE_EVERY_US;
    if (world->coordination->controllers[controller].epoch != world->coordination->controller_epoch) {
        return; /* its write is refused */
    }
    struct sim_retirement retirement = {0};
    if (retirement_plan(world, &retirement)) {
        retirement_offsets(world, &retirement);
        retire_send(world, &retirement);
    }
}

void sim_batch_on_retire(struct sim_world *world, struct sim_node *node, const struct sim_event *event)
{
    const struct sim_retirement *retirement = event->payload;
    struct sim_versions *versions = &node->disk.versions;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < versions->count; i++) {
        bool is_needed = versions->items[i].number.cut > retirement->newest_cut;
        for (uint32_t k = 0; k < retirement->kept_count && !is_needed; k++) {
            is_needed = versions->items[i].number.cut == retirement->kept[k].cut &&
                        versions->items[i].number.attempt == retirement->kept[k].attempt;
        }
        if (is_needed) {
            versions->items[kept++] = versions->items[i];
        }
    }
    versions->count = retirement->kept_count > 0 ? kept : versions->count;
    for (uint32_t p = 0; p < world->config.partitions && node->status == SIM_UP; p++) {
        if (node->replicas[p].core != NULL) {
            sim_upkeep_retire(world, &node->replicas[p], retirement);
        }
    }
}

/* ---- rounds ---- */

void sim_batch_round(struct sim_world *world, uint32_t controller)
{
    if (world->config.has_batch) {
        job_round(world, controller);
        retire_round(world, controller);
    }
}

void sim_batch_rollback(struct sim_world *world, uint32_t view)
{
    const struct sim_view_state *state = &world->coordination->views[view];
    struct ab_version_number before = {0};
    for (uint32_t i = 0; i < state->published_count; i++) {
        if (ab_version_is_newer(state->pointer, state->published[i]) &&
            ab_version_is_newer(state->published[i], before)) {
            before = state->published[i];
        }
    }
    if (!world->config.has_batch || before.cut == 0) {
        return;
    }
    struct sim_operation operation = {.kind = SIM_ROLLBACK,
        .controller_epoch = world->coordination->controller_epoch,
        .number = before,
        .views = 1u << view};
    operation.view_versions[view] = state->version;
    sim_coordination_submit(world, &operation);
}

bool sim_batch_is_done(const struct sim_world *world, char *why, size_t why_bytes)
{
    struct ab_version_number newest = newest_in_force(world);
    bool is_done = !world->config.has_batch || newest.cut == sim_batch_last_cut(world);
    if (!is_done && why != NULL) {
        (void)snprintf(why, why_bytes, "cut %" PRIu64 " is published, the last one is %" PRIu64, newest.cut,
            sim_batch_last_cut(world));
    }
    return is_done;
}
