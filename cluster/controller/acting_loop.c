#include "cluster/controller/acting_loop.h"

#include "cluster/controller/creation.h"
#include "cluster/controller/elections.h"
#include "cluster/controller/reassigning.h"
#include "common/base/logging.h"
#include "common/base/thread.h"
#include "common/base/time.h"
#include "common/coordination/configured.h"
#include "common/crypto/crypto.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define LOOK_US (20 * AB_US_PER_MS)     /* for how long at most nobody looks at the session, and at who is dead */
#define LEVEL_US (5 * AB_US_PER_SECOND) /* facts are read again even when nothing has changed: time passes too */
#define TROUBLE_US (100 * AB_US_PER_MS) /* after an error */
#define AGAIN_US (2 * AB_US_PER_MS)     /* after a conflict */
#define REOPEN_US (500 * AB_US_PER_MS)  /* between attempts to open a session */

struct ab_acting_loop {
    struct ab_acting_loop_options options;
    struct ab_thread thread;
    atomic_bool is_stopping;

    struct ab_acting acting; /* loop's thread, as all below but what the lock guards */
    struct ab_facts facts;
    struct ab_elections *elections;     /* owned */
    struct ab_reassigning *reassigning; /* owned */
    char trouble[AB_ERROR_TEXT_BYTES];  /* what was complained of last */

    struct ab_lock lock;
    struct ab_coordination *session;     /* owned; NULL = to be opened; set by the loop's thread, guarded by lock */
    struct ab_acting_controller current; /* guarded by lock, as all below */
    bool is_acting;
    uint64_t epoch_version;
    struct ab_speed_target *targets; /* owned; by rising node */
    uint32_t targets_count;
    struct ab_learner *learners; /* owned; as of the last round */
    uint32_t learners_count;
    struct ab_caught_up *caught_up; /* owned; what was told last */
    uint32_t caught_up_count;
    bool is_told; /* since the last round */
    struct ab_hash128 dead; /* a process whose registration is to be removed; zero = none */
};

struct ab_acting_loop *ab_acting_loop_create(const struct ab_acting_loop_options *options)
{
    struct ab_acting_loop *loop = ab_new(struct ab_acting_loop);
    loop->options = *options;
    loop->elections = ab_elections_create(options->identity.partitions_count);
    loop->reassigning = ab_reassigning_create(options->identity.partitions_count);
    ab_acting_init(&loop->acting, &options->own);
    ab_lock_init(&loop->lock);
    return loop;
}

void ab_acting_loop_destroy(struct ab_acting_loop *loop)
{
    if (loop == NULL) {
        return;
    }
    ab_acting_loop_stop(loop);
    ab_facts_fini(&loop->facts);
    ab_elections_destroy(loop->elections);
    ab_reassigning_destroy(loop->reassigning);
    ab_delete(loop->learners);
    ab_delete(loop->caught_up);
    ab_delete(loop->targets);
    ab_lock_fini(&loop->lock);
    ab_delete(loop);
}

/* ---- what others may know ---- */

/* Complains, unless it did so already in these words. */
static void trouble_say(struct ab_acting_loop *loop, const char *event, const char *text)
{
    if (strcmp(loop->trouble, text) != 0) {
        (void)snprintf(loop->trouble, sizeof loop->trouble, "%s", text);
        if (text[0] != '\0') {
            ab_warn(event, "%s", text);
        }
    }
}

/* Lets others see whether this one acts, and tells of a change. */
static void acting_publish(struct ab_acting_loop *loop)
{
    const struct ab_acting *acting = &loop->acting;
    ab_lock_take(&loop->lock);
    bool is_changed = loop->is_acting != acting->is_acting ||
                      !ab_hash128_equal(loop->current.incarnation, acting->current.incarnation);
    bool has_begun = acting->is_acting && !loop->is_acting;
    bool has_ended = !acting->is_acting && loop->is_acting;
    loop->is_acting = acting->is_acting;
    loop->epoch_version = acting->epoch_version;
    loop->current = acting->current;
    if (!acting->is_acting) {
        loop->targets_count = 0;
        loop->learners_count = 0;
        loop->caught_up_count = 0;
    }
    ab_lock_give(&loop->lock);
    if (has_begun) {
        ab_elections_reset(loop->elections);
        ab_info("controller acts", "node %" PRIu32 ", epoch %" PRIu64, acting->own.node, acting->epoch_version);
    } else if (has_ended) {
        ab_warn("controller acts no more", "node %" PRIu32, acting->own.node);
    }
    if (is_changed && loop->options.on_change != NULL) {
        loop->options.on_change(loop->options.context);
    }
}

static int target_compare(const void *a, const void *b)
{
    const struct ab_speed_target *x = a;
    const struct ab_speed_target *y = b;
    return (x->node > y->node) - (x->node < y->node);
}

/* What the live nodes' registrations say of speed; processes that an earlier start of their disk left are passed over.
 */
static void targets_publish(struct ab_acting_loop *loop)
{
    struct ab_live_set set;
    struct ab_speed_target *targets = ab_new_array(struct ab_speed_target, loop->facts.live_count + 1);
    uint32_t count = 0;
    ab_live_set_init(&set, loop->facts.live, loop->facts.live_count);
    for (uint32_t i = 0; i < loop->facts.live_count; i++) {
        const struct ab_live_node *live = &loop->facts.live[i];
        struct ab_speed_target target = {.node = live->node, .incarnation = live->incarnation};
        const char *address = ab_registration_endpoint_find(&live->endpoints, "speed");
        const char *key = ab_registration_endpoint_find(&live->endpoints, "speed-key");
        if (ab_live_set_only(&set, live->node) == live && address[0] != '\0' &&
            ab_crypto_key_parse(ab_bytes_of_text(key), target.endpoint.public_key) == AB_OK) {
            (void)snprintf(target.endpoint.address, sizeof target.endpoint.address, "%s", address);
            targets[count++] = target;
        }
    }
    ab_live_set_fini(&set);
    qsort(targets, count, sizeof targets[0], target_compare);
    ab_lock_take(&loop->lock);
    struct ab_speed_target *before = loop->targets;
    loop->targets = targets;
    loop->targets_count = count;
    ab_lock_give(&loop->lock);
    ab_delete(before);
}

/* False when the session may be over by our clock, even while the loop's thread waits for an answer through it. */
static bool session_holds_locked(const struct ab_acting_loop *loop)
{
    struct ab_coordination_session_state state;
    if (loop->session == NULL) {
        return true; /* steps with somebody else's session */
    }
    ab_coordination_session_state(loop->session, &state);
    return !ab_coordination_must_step_down(&state, ab_time_monotonic_us());
}

bool ab_acting_loop_is_acting(struct ab_acting_loop *loop, uint64_t *epoch_version)
{
    ab_lock_take(&loop->lock);
    bool is_acting = loop->is_acting && session_holds_locked(loop);
    if (is_acting && epoch_version != NULL) {
        *epoch_version = loop->epoch_version;
    }
    ab_lock_give(&loop->lock);
    return is_acting;
}

bool ab_acting_loop_current(struct ab_acting_loop *loop, struct ab_acting_controller *current)
{
    ab_lock_take(&loop->lock);
    *current = loop->current;
    ab_lock_give(&loop->lock);
    return current->node != 0;
}

void ab_acting_loop_targets(struct ab_acting_loop *loop, struct ab_speed_target **targets, uint32_t *count)
{
    ab_lock_take(&loop->lock);
    *count = loop->targets_count;
    *targets = ab_new_array(struct ab_speed_target, loop->targets_count + 1);
    if (loop->targets_count > 0) {
        memcpy(*targets, loop->targets, loop->targets_count * sizeof loop->targets[0]);
    }
    ab_lock_give(&loop->lock);
}

bool ab_acting_loop_target_lives(struct ab_acting_loop *loop, const struct ab_speed_target *target)
{
    bool lives = false;
    ab_lock_take(&loop->lock);
    for (uint32_t i = 0; i < loop->targets_count && !lives; i++) {
        lives = ab_hash128_equal(loop->targets[i].incarnation, target->incarnation);
    }
    ab_lock_give(&loop->lock);
    return lives;
}

/* A copy of a list, never NULL. */
static void *list_copy(const void *items, uint32_t count, size_t item_bytes)
{
    void *copy = ab_new_bytes((count + 1) * item_bytes);
    if (count > 0) {
        memcpy(copy, items, count * item_bytes);
    }
    return copy;
}

void ab_acting_loop_learners(struct ab_acting_loop *loop, struct ab_learner **learners, uint32_t *count)
{
    ab_lock_take(&loop->lock);
    *count = loop->learners_count;
    *learners = list_copy(loop->learners, loop->learners_count, sizeof loop->learners[0]);
    ab_lock_give(&loop->lock);
}

void ab_acting_loop_tell_caught_up(struct ab_acting_loop *loop, const struct ab_caught_up *caught_up, uint32_t count)
{
    struct ab_caught_up *copy = list_copy(caught_up, count, sizeof caught_up[0]);
    ab_lock_take(&loop->lock);
    struct ab_caught_up *before = loop->caught_up;
    loop->caught_up = copy;
    loop->caught_up_count = count;
    loop->is_told = count > 0;
    ab_lock_give(&loop->lock);
    ab_delete(before);
}

static bool is_told(struct ab_acting_loop *loop)
{
    ab_lock_take(&loop->lock);
    bool told = loop->is_told;
    ab_lock_give(&loop->lock);
    return told;
}

static void learners_publish(struct ab_acting_loop *loop)
{
    uint32_t count = 0;
    const struct ab_learner *learners = ab_reassigning_learners(loop->reassigning, &count);
    struct ab_learner *copy = list_copy(learners, count, sizeof learners[0]);
    ab_lock_take(&loop->lock);
    struct ab_learner *before = loop->learners;
    loop->learners = copy;
    loop->learners_count = count;
    ab_lock_give(&loop->lock);
    ab_delete(before);
}

void ab_acting_loop_release(struct ab_acting_loop *loop, struct ab_hash128 incarnation)
{
    ab_lock_take(&loop->lock);
    loop->dead = incarnation;
    ab_lock_give(&loop->lock);
}

static struct ab_hash128 dead_look(struct ab_acting_loop *loop)
{
    ab_lock_take(&loop->lock);
    struct ab_hash128 dead = loop->dead;
    ab_lock_give(&loop->lock);
    return dead;
}

static bool is_none(struct ab_hash128 incarnation)
{
    return ab_hash128_equal(incarnation, (struct ab_hash128){0});
}

/* ---- a step ---- */

/* Removes the registration of the process that is known to be dead. */
static ab_err dead_release(struct ab_acting_loop *loop, struct ab_coordination *coordination, struct ab_error *error)
{
    char path[AB_REGISTRATION_PATH_BYTES];
    struct ab_error attempt = {0};
    struct ab_hash128 dead = dead_look(loop);
    if (is_none(dead)) {
        return AB_OK;
    }
    ab_live_path(loop->acting.own.node, dead, path);
    ab_err err = ab_coordination_delete(coordination, path, AB_COORDINATION_ANY_VERSION, &attempt);
    if (err == AB_UNAVAILABLE || err == AB_TIMEOUT || err == AB_OUTCOME_UNKNOWN || err == AB_CLOSED) {
        return ab_error_set(error, err, "release a dead process of this node: %s", attempt.text); /* tried again */
    }
    ab_lock_take(&loop->lock);
    if (ab_hash128_equal(loop->dead, dead)) {
        loop->dead = (struct ab_hash128){0};
    }
    ab_lock_give(&loop->lock);
    if (err == AB_OK) {
        ab_info("dead process released", "%s", path);
    } else if (err != AB_NOT_FOUND) {
        ab_warn("dead process not released", "%s: others wait until its session has expired", attempt.text);
    }
    return AB_OK;
}

/* Makes the states that are missing; waiting for nodes is no error. */
static ab_err partitions_create(
    struct ab_acting_loop *loop, struct ab_coordination *coordination, bool *is_done, struct ab_error *error)
{
    struct ab_cluster_settings settings;
    struct ab_error attempt = {0};
    if (loop->facts.missing_count == 0) {
        return AB_OK;
    }
    ab_err err = ab_cluster_settings_read(coordination, &loop->options.identity, &settings, &attempt);
    if (err == AB_OK) {
        err = ab_creation_do(&loop->facts, &settings, coordination, loop->acting.epoch_version, &attempt);
        *is_done = false; /* the states that are there now have not been looked at */
    }
    bool is_waiting = err == AB_UNAVAILABLE || err == AB_NOT_FOUND || err == AB_CONFLICT || err == AB_EXISTS ||
                      err == AB_MISMATCH || err == AB_CORRUPT || err == AB_UNSUPPORTED || err == AB_USAGE;
    if (err == AB_OK) {
        trouble_say(loop, "", "");
        return AB_OK;
    }
    if (!is_waiting) {
        return ab_error_set(error, err, "make the partitions: %s", attempt.text);
    }
    *is_done = err != AB_CONFLICT && err != AB_EXISTS;
    trouble_say(loop, "partitions not made yet", attempt.text);
    return AB_OK;
}

/* The next steps of what is stored as wanted, with what was told of learners. */
static ab_err reassign(
    struct ab_acting_loop *loop, struct ab_coordination *coordination, bool *is_done, struct ab_error *error)
{
    struct ab_reassigning_result result = {0};
    ab_lock_take(&loop->lock);
    uint32_t count = loop->caught_up_count;
    struct ab_caught_up *caught_up = list_copy(loop->caught_up, count, sizeof caught_up[0]);
    loop->is_told = false;
    ab_lock_give(&loop->lock);
    ab_err err = ab_reassigning_round(
        loop->reassigning, &loop->facts, caught_up, count, coordination, loop->acting.epoch_version, &result, error);
    ab_delete(caught_up);
    learners_publish(loop);
    *is_done = *is_done && result.left == 0;
    return err;
}

static ab_err act(
    struct ab_acting_loop *loop, struct ab_coordination *coordination, bool *is_done, struct ab_error *error)
{
    struct ab_elections_result result = {0};
    uint64_t now_ms = (uint64_t)(ab_time_monotonic_us() / AB_US_PER_MS);
    AB_TRY(ab_facts_read_live(&loop->facts, coordination, error));
    targets_publish(loop);
    AB_TRY(ab_facts_read_partitions(&loop->facts, coordination, loop->options.identity.partitions_count, error));
    AB_TRY(partitions_create(loop, coordination, is_done, error));
    ab_err err = ab_elections_round(
        loop->elections, &loop->facts, coordination, loop->acting.epoch_version, now_ms, &result, error);
    *is_done = *is_done && result.left == 0;
    AB_TRY(err);
    if (result.committed > 0) {
        *is_done = false; /* partitions are not as they were read any more */
        return AB_OK;
    }
    return reassign(loop, coordination, is_done, error);
}

ab_err ab_acting_loop_step(
    struct ab_acting_loop *loop, struct ab_coordination *coordination, bool *is_done, struct ab_error *error)
{
    *is_done = true;
    AB_TRY(dead_release(loop, coordination, error));
    ab_err err = ab_acting_look(&loop->acting, coordination, error);
    acting_publish(loop);
    if (err != AB_OK || !loop->acting.is_acting) {
        return err;
    }
    err = act(loop, coordination, is_done, error);
    if (err == AB_STALE) {
        ab_acting_step_down(&loop->acting);
        acting_publish(loop);
    }
    return err;
}

/* ---- the thread ---- */

static void pause_us(struct ab_acting_loop *loop, int64_t duration_us)
{
    if (!atomic_load(&loop->is_stopping)) {
        ab_time_sleep_us(duration_us);
    }
}

/* Puts another session, or none, in place of the one at hand, which ends. */
static void session_replace(struct ab_acting_loop *loop, struct ab_coordination *session)
{
    ab_lock_take(&loop->lock);
    struct ab_coordination *before = loop->session;
    loop->session = session;
    ab_lock_give(&loop->lock);
    ab_coordination_close(before);
}

/* True when the session may be used; one that has expired is replaced. */
static bool session_ensure(struct ab_acting_loop *loop)
{
    struct ab_error error = {0};
    struct ab_coordination_session_state state;
    if (loop->session != NULL) {
        ab_coordination_session_state(loop->session, &state);
        if (!ab_coordination_must_step_down(&state, ab_time_monotonic_us())) {
            return true;
        }
        ab_acting_step_down(&loop->acting);
        acting_publish(loop);
        if (state.state != AB_COORDINATION_EXPIRED) {
            pause_us(loop, TROUBLE_US); /* it may come back, with what it holds */
            return false;
        }
        ab_warn("session with the coordination service lost", "this controller opens another");
        session_replace(loop, NULL);
    }
    struct ab_coordination *opened = NULL;
    if (ab_coordination_open_configured(loop->options.config, loop->options.directory, &opened, &error) == AB_OK) {
        session_replace(loop, opened);
        return true;
    }
    trouble_say(loop, "no session with the coordination service", error.text);
    pause_us(loop, REOPEN_US);
    return false;
}

/* Waits for news of what was read, but not for long at once: the session must be looked at. */
static void news_wait(struct ab_acting_loop *loop, uint64_t revision)
{
    struct ab_coordination_session_state state;
    int64_t until_us = ab_time_monotonic_us() + LEVEL_US;
    ab_err err = AB_TIMEOUT;
    while (err == AB_TIMEOUT && !atomic_load(&loop->is_stopping) && !is_told(loop) && is_none(dead_look(loop)) &&
           ab_time_monotonic_us() < until_us) {
        struct ab_error error = {0};
        uint64_t news = 0;
        ab_coordination_session_state(loop->session, &state);
        if (ab_coordination_must_step_down(&state, ab_time_monotonic_us())) {
            return;
        }
        err = ab_coordination_wait(loop->session, revision, ab_time_monotonic_us() + LOOK_US, &news, &error);
    }
    if (err != AB_OK && err != AB_TIMEOUT) {
        pause_us(loop, TROUBLE_US);
    }
}

static void round_do(struct ab_acting_loop *loop)
{
    struct ab_error error = {0};
    uint64_t revision = 0;
    bool is_done = true;
    ab_err err = ab_coordination_revision(loop->session, &revision, &error);
    if (err == AB_OK) {
        err = ab_acting_loop_step(loop, loop->session, &is_done, &error);
    }
    if (err != AB_OK) {
        trouble_say(loop, "controller could not look after the cluster", error.text);
        if (err == AB_IO) { /* of the local service: such a session is of no use any more */
            session_replace(loop, NULL);
        }
        pause_us(loop, TROUBLE_US);
        return;
    }
    if (loop->facts.missing_count == 0) {
        loop->trouble[0] = '\0';
    }
    if (is_done) {
        news_wait(loop, revision);
    } else {
        pause_us(loop, AGAIN_US);
    }
}

static void loop_run(void *context)
{
    struct ab_acting_loop *loop = context;
    while (!atomic_load(&loop->is_stopping)) {
        if (session_ensure(loop)) {
            round_do(loop);
        }
    }
    ab_acting_step_down(&loop->acting);
    acting_publish(loop);
    session_replace(loop, NULL);
}

void ab_acting_loop_start(struct ab_acting_loop *loop, const char *address)
{
    struct ab_acting_controller *own = &loop->acting.own;
    (void)snprintf(own->address, sizeof own->address, "%s", address);
    ab_thread_start(&loop->thread, "acting", loop_run, loop);
}

void ab_acting_loop_stop(struct ab_acting_loop *loop)
{
    atomic_store(&loop->is_stopping, true);
    ab_thread_join(&loop->thread);
}
