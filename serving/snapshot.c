#include "serving/snapshot.h"

#include "common/base/logging.h"
#include "common/base/thread.h"
#include "common/coordination/configured.h"
#include "common/wire/node.h"

#define POLL_MS 50
#define REFRESH_WAIT_US (200 * AB_US_PER_MS)
#define WARN_EVERY_US (10 * AB_US_PER_SECOND)
#define MEND_EVERY_US AB_US_PER_SECOND /* between attempts to open damaged versions: somebody may put files back */

struct ab_snapshot_source {
    char *directory;                /* owned */
    const struct ab_config *config; /* borrowed */
    uint32_t partitions_count;
    struct ab_versions *versions;         /* borrowed */
    struct ab_coordination *coordination; /* owned; guarded by refresh_lock: made anew when its session is over */
    struct ab_endpoint serving;           /* guarded by refresh_lock: to be registered, when it is known */
    struct ab_lock lock;                  /* guards current; a pointer handed to query threads */
    struct ab_snapshot *current;          /* owned reference; guarded by lock */
    struct ab_condition changed;          /* with lock: of the two below, and is_stopping */
    uint64_t rounds_wanted;               /* guarded by lock: refreshes asked of the thread */
    uint64_t rounds_done;                 /* guarded by lock */
    struct ab_lock refresh_lock;          /* one refresh at a time; taken before lock */
    uint64_t revision;                    /* guarded by refresh_lock: what current was made of */
    bool is_revision_known;               /* guarded by refresh_lock: false in a new session */
    int64_t made_us;                      /* guarded by refresh_lock: when */
    atomic_int_fast64_t warned_us;        /* when a failure was last told of: they repeat with every poll */
    struct ab_thread thread;
    atomic_bool is_stopping;
};

const struct ab_served_view *ab_snapshot_view(const struct ab_snapshot *snapshot, struct ab_bytes name)
{
    for (uint32_t v = 0; v < snapshot->views_count; v++) {
        if (ab_bytes_equal(ab_bytes_of_text(snapshot->views[v].view->name), name)) {
            return &snapshot->views[v];
        }
    }
    return NULL;
}

struct ab_snapshot *ab_snapshot_acquire(struct ab_snapshot *snapshot)
{
    if (snapshot != NULL) {
        atomic_fetch_add(&snapshot->references, 1);
    }
    return snapshot;
}

void ab_snapshot_release(struct ab_snapshot *snapshot)
{
    if (snapshot == NULL || atomic_fetch_sub(&snapshot->references, 1) != 1) {
        return;
    }
    for (uint32_t v = 0; v < snapshot->views_count; v++) {
        ab_aggregation_destroy(snapshot->views[v].aggregation);
        ab_served_version_release(snapshot->views[v].version);
        ab_delete(snapshot->views[v].damage);
        ab_catalog_release(snapshot->views[v].catalog);
    }
    ab_delete(snapshot->views);
    ab_leaders_fini(&snapshot->leaders);
    ab_catalog_release(snapshot->catalog);
    ab_delete(snapshot);
}

/* ---- making one ---- */

static ab_err catalog_read(
    struct ab_coordination *coordination, const char *path, struct ab_catalog **catalog, struct ab_error *error)
{
    struct ab_buffer value = {0};
    ab_err err = ab_coordination_get(coordination, path, &value, NULL, error);
    if (err == AB_OK) {
        err = ab_catalog_decode(ab_buffer_view(&value), catalog, error);
    }
    ab_buffer_fini(&value);
    return err;
}

/* By what a node knows a catalog: the hash of its encoded form. */
static struct ab_hash128 catalog_key(const struct ab_catalog *catalog)
{
    struct ab_buffer encoded = {0};
    ab_catalog_encode(catalog, &encoded);
    struct ab_hash128 key = ab_hash128(AB_HASH_CATALOG, ab_buffer_view(&encoded));
    ab_buffer_fini(&encoded);
    return key;
}

/* The newest stored catalog in which a view has this uid (their names are numbers, but sorted as text); NULL when there
 * is none any more. */
static struct ab_catalog *catalog_with_uid(struct ab_coordination *coordination, uint32_t uid)
{
    char **names = NULL;
    size_t count = 0;
    struct ab_catalog *found = NULL;
    struct ab_error error = {0};
    if (ab_coordination_children(coordination, "/catalogs", &names, &count, &error) != AB_OK) {
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        char *path = ab_new_format("/catalogs/%s", names[i]);
        struct ab_catalog *catalog = NULL;
        if (catalog_read(coordination, path, &catalog, &error) == AB_OK &&
            ab_catalog_view_by_uid(catalog, uid) != NULL && (found == NULL || catalog->version > found->version)) {
            ab_catalog_release(found);
            found = ab_catalog_acquire(catalog);
        }
        ab_catalog_release(catalog);
        ab_delete(path);
    }
    ab_coordination_names_free(names, count);
    return found;
}

/* Opens the version that a view's pointer names; *version stays NULL when there is none yet. */
static ab_err version_read(
    struct ab_snapshot_source *source, const char *view, struct ab_served_version **version, struct ab_error *error)
{
    char *path = ab_new_format("/views/%s", view);
    struct ab_buffer value = {0};
    struct ab_json *manifest = NULL;
    ab_err err = ab_coordination_get(source->coordination, path, &value, NULL, error);
    bool exists = err != AB_NOT_FOUND;
    if (err == AB_OK) {
        err = ab_json_parse(ab_buffer_view(&value), &manifest, error);
    }
    if (err == AB_OK) {
        err = ab_served_version_open(source->versions, manifest, version, error);
    }
    if (err != AB_OK && exists) {
        err = ab_error_wrap(error, err, "the version that %s names", path);
    }
    ab_json_destroy(manifest);
    ab_buffer_fini(&value);
    ab_delete(path);
    return exists ? err : AB_OK;
}

/* True when nothing good is given up for a damaged version: there was none, at the start or since. */
static bool may_be_damaged(const struct ab_snapshot_source *source, const char *view)
{
    const struct ab_served_view *before =
        source->current == NULL ? NULL : ab_snapshot_view(source->current, ab_bytes_of_text(view));
    return before == NULL ? source->current == NULL : before->damage != NULL;
}

/* Like version_read; a version that cannot be opened is noted as damage where that is all there is. */
static ab_err served_version_make(
    struct ab_snapshot_source *source, const char *view, struct ab_served_view *served, struct ab_error *error)
{
    ab_err err = version_read(source, view, &served->version, error);
    if (err != AB_OK && may_be_damaged(source, view)) {
        served->damage = ab_new_text(error->text);
        *error = (struct ab_error){0};
        err = AB_OK;
    }
    return err;
}

/* Decides under which definition a view is answered: the newest one that is whole. */
static ab_err served_view_make(struct ab_snapshot_source *source, struct ab_catalog *newest, const struct ab_view *view,
    struct ab_served_view *served, struct ab_error *error)
{
    AB_TRY(served_version_make(source, view->name, served, error));
    uint32_t uid = view->uid;
    struct ab_catalog *catalog = NULL;
    if (served->version != NULL && ab_served_version_manifest(served->version)->uid != uid) {
        catalog = catalog_with_uid(source->coordination, ab_served_version_manifest(served->version)->uid);
        if (catalog == NULL) { /* the old definition is forgotten: its version cannot be read any more */
            ab_served_version_release(served->version);
            served->version = NULL;
        } else {
            uid = ab_served_version_manifest(served->version)->uid;
        }
    }
    served->catalog = catalog != NULL ? catalog : ab_catalog_acquire(newest);
    served->catalog_key = catalog_key(served->catalog);
    served->view = ab_catalog_view_by_uid(served->catalog, uid);
    return ab_aggregation_create(served->view, &served->aggregation, error);
}

static void speed_endpoint_read(const char *directory, struct ab_endpoint *endpoint)
{
    struct ab_node_endpoint read = {0};
    struct ab_error error = {0};
    memset(endpoint, 0, sizeof *endpoint);
    if (ab_node_endpoint_read(directory, "speed", &read, &error) == AB_OK) {
        memcpy(endpoint->address, read.address, sizeof endpoint->address);
        memcpy(endpoint->public_key, read.public_key, sizeof endpoint->public_key);
        endpoint->is_known = true;
    }
}

static bool is_single(const struct ab_snapshot_source *source)
{
    return source->config->cluster.node == 0;
}

static ab_err snapshot_fill(struct ab_snapshot_source *source, struct ab_snapshot *snapshot, struct ab_error *error)
{
    ab_err err = catalog_read(source->coordination, "/catalog", &snapshot->catalog, error);
    if (err != AB_OK) {
        return err == AB_NOT_FOUND ? ab_error_set(error, AB_UNAVAILABLE, "the cluster has no catalog yet") : err;
    }
    speed_endpoint_read(source->directory, &snapshot->speed);
    snapshot->partitions_count = source->partitions_count;
    if (is_single(source)) {
        ab_leaders_single(&snapshot->leaders, source->partitions_count, &snapshot->speed);
    } else {
        AB_TRY(ab_leaders_read(source->coordination, source->partitions_count, &snapshot->leaders, error));
    }
    snapshot->views = ab_new_array(struct ab_served_view, snapshot->catalog->views_count + 1);
    for (uint32_t v = 0; v < snapshot->catalog->views_count; v++) {
        snapshot->views_count++;
        AB_TRY(served_view_make(source, snapshot->catalog, &snapshot->catalog->views[v], &snapshot->views[v], error));
    }
    return AB_OK;
}

/* ---- keeping it new ---- */

static bool has_damage(const struct ab_snapshot *snapshot)
{
    bool has = false;
    for (uint32_t v = 0; v < snapshot->views_count; v++) {
        has = has || snapshot->views[v].damage != NULL;
    }
    return has;
}

/* True when the snapshot is of this revision and endpoint, and no damaged version of it should be tried again. */
static bool is_current_locked(
    const struct ab_snapshot_source *source, uint64_t revision, const struct ab_endpoint *speed)
{
    return source->current != NULL && source->is_revision_known && revision == source->revision &&
           memcmp(speed, &source->current->speed, sizeof *speed) == 0 &&
           (!has_damage(source->current) || ab_time_monotonic_us() - source->made_us < MEND_EVERY_US);
}

/* Tells of damage, but not with every attempt to open the version again. */
static void damage_warn(struct ab_snapshot_source *source, const struct ab_snapshot *snapshot)
{
    int64_t now = ab_time_monotonic_us();
    if (!has_damage(snapshot) || now - atomic_load(&source->warned_us) <= WARN_EVERY_US) {
        return;
    }
    atomic_store(&source->warned_us, now);
    for (uint32_t v = 0; v < snapshot->views_count; v++) {
        if (snapshot->views[v].damage != NULL) {
            ab_warn("a view is not answered", "%s: %s", snapshot->views[v].view->name, snapshot->views[v].damage);
        }
    }
}

static ab_err refresh_locked(struct ab_snapshot_source *source, struct ab_error *error)
{
    uint64_t revision = 0;
    struct ab_endpoint speed;
    AB_TRY(ab_coordination_revision(source->coordination, &revision, error));
    speed_endpoint_read(source->directory, &speed);
    if (is_current_locked(source, revision, &speed)) {
        return AB_OK;
    }
    struct ab_snapshot *made = ab_new(struct ab_snapshot);
    atomic_init(&made->references, 1);
    ab_err err = snapshot_fill(source, made, error);
    if (err != AB_OK) {
        ab_snapshot_release(made);
        return err;
    }
    ab_lock_take(&source->lock);
    struct ab_snapshot *old = source->current;
    source->current = made;
    ab_lock_give(&source->lock);
    source->revision = revision;
    source->is_revision_known = true;
    source->made_us = ab_time_monotonic_us();
    damage_warn(source, made);
    ab_snapshot_release(old);
    return AB_OK;
}

static ab_err register_locked(struct ab_snapshot_source *source, struct ab_error *error)
{
    if (is_single(source) || !source->serving.is_known) {
        return AB_OK;
    }
    return ab_leaders_register_serving(source->coordination, source->config->cluster.node, &source->serving, error);
}

/* The session is over, and with it what was registered: begins another one. */
static ab_err session_renew_locked(struct ab_snapshot_source *source, struct ab_error *error)
{
    struct ab_coordination *opened = NULL;
    AB_TRY(ab_coordination_open_configured(source->config, source->directory, &opened, error));
    ab_coordination_close(source->coordination);
    source->coordination = opened;
    source->is_revision_known = false;
    return register_locked(source, error);
}

static ab_err source_refresh(struct ab_snapshot_source *source, struct ab_error *error)
{
    ab_lock_take(&source->refresh_lock);
    ab_err err = refresh_locked(source, error);
    if (err == AB_CLOSED) {
        *error = (struct ab_error){0};
        err = session_renew_locked(source, error);
        err = err == AB_OK ? refresh_locked(source, error) : err;
    }
    ab_lock_give(&source->refresh_lock);
    return err;
}

ab_err ab_snapshot_source_register(
    struct ab_snapshot_source *source, const struct ab_endpoint *serving, struct ab_error *error)
{
    ab_lock_take(&source->refresh_lock);
    source->serving = *serving;
    ab_err err = register_locked(source, error);
    ab_lock_give(&source->refresh_lock);
    return err;
}

static void refresh_now(struct ab_snapshot_source *source)
{
    struct ab_error error = {0};
    int64_t now = ab_time_monotonic_us();
    if (source_refresh(source, &error) != AB_OK && now - atomic_load(&source->warned_us) > WARN_EVERY_US) {
        atomic_store(&source->warned_us, now);
        ab_warn("snapshot not refreshed", "%s", error.text); /* queries go on with the one before */
    }
}

void ab_snapshot_source_refresh(struct ab_snapshot_source *source)
{
    if (is_single(source)) {
        refresh_now(source);
        return;
    }
    int64_t until_us = ab_time_monotonic_us() + REFRESH_WAIT_US;
    ab_lock_take(&source->lock);
    uint64_t mine = ++source->rounds_wanted;
    ab_condition_signal_all(&source->changed);
    while (source->rounds_done < mine && ab_condition_wait(&source->changed, &source->lock, until_us)) {
    }
    ab_lock_give(&source->lock);
}

/* Sleeps until the next look is due, or wanted; how many are wanted. */
static uint64_t watch_sleep(struct ab_snapshot_source *source)
{
    int64_t until_us = ab_time_monotonic_us() + POLL_MS * AB_US_PER_MS;
    bool is_in_time = true;
    ab_lock_take(&source->lock);
    while (source->rounds_wanted == source->rounds_done && !atomic_load(&source->is_stopping) && is_in_time) {
        is_in_time = ab_condition_wait(&source->changed, &source->lock, until_us);
    }
    uint64_t wanted = source->rounds_wanted;
    ab_lock_give(&source->lock);
    return wanted;
}

static void source_watch(void *context)
{
    struct ab_snapshot_source *source = context;
    while (!atomic_load(&source->is_stopping)) {
        uint64_t wanted = watch_sleep(source);
        refresh_now(source);
        ab_lock_take(&source->lock);
        source->rounds_done = wanted;
        ab_condition_signal_all(&source->changed);
        ab_lock_give(&source->lock);
    }
}

ab_err ab_snapshot_source_open(
    const struct ab_snapshot_options *options, struct ab_snapshot_source **source, struct ab_error *error)
{
    struct ab_snapshot_source *made = ab_new(struct ab_snapshot_source);
    made->directory = ab_new_text(options->directory);
    made->config = options->config;
    made->partitions_count = options->partitions_count;
    made->versions = options->versions;
    atomic_init(&made->warned_us, -WARN_EVERY_US);
    ab_lock_init(&made->lock);
    ab_lock_init(&made->refresh_lock);
    ab_condition_init(&made->changed);
    ab_err err = ab_coordination_open_configured(options->config, options->directory, &made->coordination, error);
    if (err == AB_OK) {
        err = source_refresh(made, error);
    }
    if (err != AB_OK) {
        ab_snapshot_source_close(made);
        return err;
    }
    ab_thread_start(&made->thread, "snapshot", source_watch, made);
    *source = made;
    return AB_OK;
}

void ab_snapshot_source_close(struct ab_snapshot_source *source)
{
    if (source == NULL) {
        return;
    }
    ab_lock_take(&source->lock);
    atomic_store(&source->is_stopping, true);
    ab_condition_signal_all(&source->changed);
    ab_lock_give(&source->lock);
    ab_thread_join(&source->thread);
    ab_snapshot_release(source->current);
    ab_coordination_close(source->coordination);
    ab_lock_fini(&source->lock);
    ab_lock_fini(&source->refresh_lock);
    ab_condition_fini(&source->changed);
    ab_delete(source->directory);
    ab_delete(source);
}

struct ab_snapshot *ab_snapshot_source_current(struct ab_snapshot_source *source)
{
    ab_lock_take(&source->lock);
    struct ab_snapshot *snapshot = ab_snapshot_acquire(source->current);
    ab_lock_give(&source->lock);
    return snapshot;
}
