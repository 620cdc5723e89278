#include "cluster/controller/controller.h"

#include "common/base/logging.h"

#include <inttypes.h>
#include <stdio.h>

#define CUT_CALL_TIMEOUT_MS 120000
#define CUT_PATIENCE_US (10 * AB_US_PER_MINUTE)
#define CUT_RETRY_US (200 * AB_US_PER_MS)
#define PATH_BYTES 128

ab_err ab_catalog_of_version(
    struct ab_controller *controller, uint64_t version, struct ab_catalog **catalog, struct ab_error *error)
{
    char path[PATH_BYTES];
    (void)snprintf(path, sizeof path, "/catalogs/%" PRIu64, version);
    struct ab_buffer encoded;
    ab_buffer_init(&encoded, NULL, AB_COORDINATION_VALUE_BYTES_MAX);
    ab_err err = ab_coordination_get(controller->coordination, path, &encoded, NULL, error);
    if (err == AB_OK) {
        err = ab_catalog_decode(ab_buffer_view(&encoded), catalog, error);
    }
    ab_buffer_fini(&encoded);
    return err;
}

ab_err ab_catalog_current(struct ab_controller *controller, struct ab_catalog **catalog, struct ab_error *error)
{
    struct ab_buffer encoded;
    ab_buffer_init(&encoded, NULL, AB_COORDINATION_VALUE_BYTES_MAX);
    ab_err err = ab_coordination_get(controller->coordination, "/catalog", &encoded, NULL, error);
    if (err == AB_OK) {
        err = ab_catalog_decode(ab_buffer_view(&encoded), catalog, error);
    }
    ab_buffer_fini(&encoded);
    return err;
}

/* Number and version of /cuts/next; 1 when it is not there yet. */
static ab_err next_read(
    struct ab_controller *controller, uint64_t *next, uint64_t *version, bool *is_new, struct ab_error *error)
{
    struct ab_json *value = NULL;
    ab_err err = ab_coordination_get_json(controller->coordination, "/cuts/next", &value, version, error);
    *is_new = err == AB_NOT_FOUND;
    if (*is_new) {
        *next = 1;
        return AB_OK;
    }
    AB_TRY(err);
    *next = ab_json_u64_or(value, 0);
    ab_json_destroy(value);
    return *next > 0 ? AB_OK : ab_error_set(error, AB_CORRUPT, "coordination node /cuts/next is not a cut's number");
}

ab_err ab_cut_next(struct ab_controller *controller, uint64_t *cut, struct ab_error *error)
{
    uint64_t version = 0;
    bool is_new = false;
    return next_read(controller, cut, &version, &is_new, error);
}

ab_err ab_cut_read(struct ab_controller *controller, uint64_t cut, struct ab_json **manifest, struct ab_error *error)
{
    char path[PATH_BYTES];
    (void)snprintf(path, sizeof path, "/cuts/%" PRIu64, cut);
    return ab_coordination_get_json(controller->coordination, path, manifest, NULL, error);
}

/* T: now, but after every earlier cut's. */
static ab_err cut_time(struct ab_controller *controller, uint64_t cut, ab_time_us *time, struct ab_error *error)
{
    ab_time_us now = ab_time_now();
    struct ab_json *before = NULL;
    ab_err err = cut > 1 ? ab_cut_read(controller, cut - 1, &before, error) : AB_NOT_FOUND;
    if (err == AB_OK) {
        ab_time_us last = ab_json_integer_or(ab_json_get(before, "time_us"), 0);
        now = now > last ? now : last + 1;
    }
    ab_json_destroy(before);
    *time = now;
    return err == AB_NOT_FOUND ? AB_OK : err;
}

ab_err ab_cut_allocate(struct ab_controller *controller, const struct ab_catalog *catalog, struct ab_changes *changes,
    uint64_t *cut, struct ab_error *error)
{
    uint64_t next = 0;
    uint64_t version = 0;
    bool is_new = false;
    ab_time_us time = 0;
    char hash[33];
    char path[PATH_BYTES];
    ab_err err = next_read(controller, &next, &version, &is_new, error);
    if (err == AB_OK) {
        err = cut_time(controller, next, &time, error);
    }
    if (err != AB_OK) {
        ab_changes_fini(changes);
        return err;
    }
    struct ab_json *number = ab_json_integer((int64_t)next + 1);
    ab_changes_add_json(changes, is_new ? AB_COORDINATION_CREATE : AB_COORDINATION_SET, "/cuts/next", number, version);
    ab_json_destroy(number);
    ab_hash128_format(catalog->hash, hash);
    struct ab_json *manifest = ab_json_object();
    ab_json_set(manifest, "cut", ab_json_integer((int64_t)next));
    ab_json_set(manifest, "state", ab_json_text("pending"));
    ab_json_set(manifest, "time_us", ab_json_integer(time));
    ab_json_set(manifest, "horizon_us", ab_json_integer(0));
    ab_json_set(manifest, "catalog_version", ab_json_integer((int64_t)catalog->version));
    ab_json_set(manifest, "catalog_hash", ab_json_text(hash));
    (void)snprintf(path, sizeof path, "/cuts/%" PRIu64, next);
    ab_changes_add_json(changes, AB_COORDINATION_CREATE, path, manifest, 0);
    ab_json_destroy(manifest);
    AB_TRY(ab_controller_commit(controller, changes, error));
    *cut = next;
    return AB_OK;
}

/* What speed is asked: the manifest's numbers and the whole catalog. */
static ab_err cut_request(
    struct ab_controller *controller, const struct ab_json *manifest, struct ab_json **request, struct ab_error *error)
{
    struct ab_catalog *catalog = NULL;
    uint64_t catalog_version = ab_json_u64_or(ab_json_get(manifest, "catalog_version"), 0);
    AB_TRY(ab_catalog_of_version(controller, catalog_version, &catalog, error));
    struct ab_buffer encoded;
    struct ab_buffer hex;
    ab_buffer_init(&encoded, NULL, 0);
    ab_buffer_init(&hex, NULL, 0);
    ab_catalog_encode(catalog, &encoded);
    ab_catalog_release(catalog);
    ab_buffer_put_as_hex(&hex, ab_buffer_view(&encoded));
    struct ab_json *made = ab_json_object();
    static const char *const numbers[] = {"cut", "time_us", "horizon_us", "catalog_version"};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        ab_json_set(made, numbers[i], ab_json_integer(ab_json_integer_or(ab_json_get(manifest, numbers[i]), 0)));
    }
    ab_json_set(made, "catalog_hash", ab_json_text_of(ab_json_bytes(ab_json_get(manifest, "catalog_hash"))));
    ab_json_set(made, "catalog_hex", ab_json_text(ab_buffer_text(&hex)));
    ab_buffer_fini(&encoded);
    ab_buffer_fini(&hex);
    *request = made;
    return AB_OK;
}

/* What partitions answered to a cut, as JSON texts, whoever of their leaders gave it. */
struct cut_answers {
    char **texts; /* owned; by partition; NULL = not yet */
    uint32_t partitions_count;
    uint32_t count;
};

static void cut_answers_fini(struct cut_answers *answers)
{
    for (uint32_t p = 0; answers->texts != NULL && p < answers->partitions_count; p++) {
        ab_delete(answers->texts[p]);
    }
    ab_delete(answers->texts);
    *answers = (struct cut_answers){0};
}

/* Takes over what one node says. A part that has no offset is none. */
static void cut_answers_add(struct cut_answers *answers, const struct ab_json *reply)
{
    const struct ab_json *parts = ab_json_get(reply, "partitions");
    for (size_t i = 0; i < ab_json_count(parts); i++) {
        const struct ab_json *part = ab_json_at(parts, i);
        uint64_t partition = ab_json_u64_or(ab_json_get(part, "partition"), UINT64_MAX);
        bool is_new = partition < answers->partitions_count && answers->texts[partition] == NULL &&
                      !ab_json_is_null(ab_json_get(part, "offset"));
        if (is_new) {
            struct ab_buffer text;
            ab_buffer_init(&text, NULL, 0);
            ab_json_write(part, 0, &text);
            answers->texts[partition] = ab_new_text_of(ab_buffer_view(&text));
            ab_buffer_fini(&text);
            answers->count++;
        }
    }
}

/* True when asking again cannot help. */
static bool is_final(ab_err err)
{
    enum ab_err_kind kind = ab_err_kind_of(err);
    return err != AB_OK && kind != AB_KIND_RETRY && kind != AB_KIND_ENVIRONMENT && kind != AB_KIND_NONE;
}

/* Asks every node once. AB_OK when all partitions have answered by now; else the error that matters most. */
static ab_err cut_ask(struct ab_controller *controller, const struct ab_json *request, struct cut_answers *answers,
    struct ab_error *error)
{
    struct ab_speed_asked *asked = NULL;
    uint32_t count = 0;
    const struct ab_speed_question question = {
        .verb = AB_VERB_CUT, .payload = request, .timeout_ms = CUT_CALL_TIMEOUT_MS};
    AB_TRY(ab_speed_asked_create(controller, &asked, &count, error));
    ab_speed_ask(controller, &controller->slow_links, asked, count, &question);
    const struct ab_speed_asked *worst = NULL;
    for (uint32_t i = 0; i < count; i++) {
        if (asked[i].err == AB_OK) {
            cut_answers_add(answers, asked[i].reply);
        } else if (worst == NULL || (is_final(asked[i].err) && !is_final(worst->err))) {
            worst = &asked[i];
        }
    }
    ab_err err = AB_OK;
    bool is_done = answers->count == answers->partitions_count;
    if (!is_done && worst != NULL) {
        err = ab_error_set(error, worst->err, "%s", worst->error.text);
    } else if (!is_done) {
        err = ab_error_set(
            error, AB_UNAVAILABLE, "only %u of %u partitions took the cut", answers->count, answers->partitions_count);
    }
    ab_speed_asked_destroy(asked, count);
    return err;
}

/* Asks until every partition has answered, over changes of leaders too: the cut is idempotent by its number. */
static ab_err cut_send(struct ab_controller *controller, const struct ab_json *request, struct cut_answers *answers,
    struct ab_error *error)
{
    int64_t until = ab_time_monotonic_us() + CUT_PATIENCE_US;
    for (;;) {
        struct ab_error attempt_error = {0};
        ab_err err = cut_ask(controller, request, answers, &attempt_error);
        if (err == AB_OK) {
            return AB_OK;
        }
        if (!ab_controller_is_acting(controller)) {
            return ab_error_set(error, AB_UNAVAILABLE, "another controller acts by now and goes on with the cut");
        }
        if (is_final(err) || atomic_load(&controller->is_stopping) || ab_time_monotonic_us() > until) {
            if (error != NULL) {
                *error = attempt_error;
            }
            return err;
        }
        ab_time_sleep_us(CUT_RETRY_US);
    }
}

/* What was answered, in order of partition. */
static ab_err partitions_copy(const struct cut_answers *answers, struct ab_json **copy, struct ab_error *error)
{
    struct ab_buffer text;
    ab_buffer_init(&text, NULL, 0);
    for (uint32_t p = 0; p < answers->partitions_count; p++) {
        ab_buffer_put_u8(&text, p == 0 ? '[' : ',');
        ab_buffer_put_bytes(&text, ab_bytes_of_text(answers->texts[p]));
    }
    ab_buffer_put_u8(&text, ']');
    ab_err err = ab_json_parse(ab_buffer_view(&text), copy, error);
    ab_buffer_fini(&text);
    return err;
}

/* Writes the manifest of a cut that every partition has; a catalog that it brings comes into force with it. */
static ab_err cut_taken(struct ab_controller *controller, const char *path, uint64_t version, struct ab_json *manifest,
    const struct cut_answers *answers, struct ab_error *error)
{
    struct ab_json *copy = NULL;
    AB_TRY(partitions_copy(answers, &copy, error));
    ab_json_set(manifest, "state", ab_json_text("taken"));
    ab_json_set(manifest, "partitions", copy);
    struct ab_changes changes = {0};
    ab_changes_add_json(&changes, AB_COORDINATION_SET, path, manifest, version);
    struct ab_catalog *carried = NULL;
    struct ab_catalog *current = NULL;
    uint64_t catalog_version = ab_json_u64_or(ab_json_get(manifest, "catalog_version"), 0);
    ab_err err = ab_catalog_of_version(controller, catalog_version, &carried, error);
    if (err == AB_OK) {
        err = ab_catalog_current(controller, &current, error);
    }
    if (err == AB_OK && carried->version > current->version) {
        struct ab_buffer encoded;
        ab_buffer_init(&encoded, NULL, 0);
        ab_catalog_encode(carried, &encoded);
        ab_changes_add(
            &changes, AB_COORDINATION_SET, "/catalog", ab_buffer_view(&encoded), AB_COORDINATION_ANY_VERSION);
        ab_buffer_fini(&encoded);
    }
    ab_catalog_release(carried);
    ab_catalog_release(current);
    if (err != AB_OK) {
        ab_changes_fini(&changes);
        return err;
    }
    return ab_controller_commit(controller, &changes, error);
}

/* Brings one cut from pending to taken. */
static ab_err cut_complete(struct ab_controller *controller, uint64_t cut, struct ab_error *error)
{
    char path[PATH_BYTES];
    (void)snprintf(path, sizeof path, "/cuts/%" PRIu64, cut);
    struct ab_json *manifest = NULL;
    struct ab_json *request = NULL;
    struct cut_answers answers = {.partitions_count = controller->node.identity.partitions_count};
    uint64_t version = 0;
    AB_TRY(ab_coordination_get_json(controller->coordination, path, &manifest, &version, error));
    ab_err err = AB_OK;
    if (strcmp(ab_json_text_or(ab_json_get(manifest, "state"), ""), "taken") != 0) {
        err = cut_request(controller, manifest, &request, error);
        if (err == AB_OK) {
            answers.texts = ab_new_array(char *, answers.partitions_count);
            err = cut_send(controller, request, &answers, error);
        }
        if (err == AB_OK) {
            err = cut_taken(controller, path, version, manifest, &answers, error);
        }
        if (err == AB_OK) {
            ab_info("cut taken", "cut %" PRIu64, cut);
        }
    }
    cut_answers_fini(&answers);
    ab_json_destroy(request);
    ab_json_destroy(manifest);
    return err == AB_OK ? AB_OK : ab_error_wrap(error, err, "take cut %" PRIu64, cut);
}

ab_err ab_cuts_complete_pending(struct ab_controller *controller, struct ab_error *error)
{
    uint64_t next = 0;
    AB_TRY(ab_cut_next(controller, &next, error));
    uint64_t first = next; /* the oldest that is pending; pending ones are the newest */
    for (; first > 1; first--) {
        struct ab_json *manifest = NULL;
        AB_TRY(ab_cut_read(controller, first - 1, &manifest, error));
        bool is_taken = strcmp(ab_json_text_or(ab_json_get(manifest, "state"), ""), "taken") == 0;
        ab_json_destroy(manifest);
        if (is_taken) {
            break;
        }
    }
    for (; first < next; first++) {
        AB_TRY(cut_complete(controller, first, error));
    }
    return AB_OK;
}
