#include "batch/plan.h"

#include "common/aggregate/group_key.h"
#include "common/history/layout.h"

#include <inttypes.h>

static ab_err member_bad(struct ab_error *error, const char *member)
{
    return ab_error_set(error, AB_INVALID, "the controller's answer: member \"%s\" is missing or malformed", member);
}

void ab_plan_fini(struct ab_plan *plan)
{
    for (size_t i = 0; i < plan->spans_count; i++) {
        ab_delete(plan->spans[i].end_offsets);
    }
    for (size_t i = 0; i < plan->views_count; i++) {
        ab_aggregation_destroy(plan->views[i].aggregation);
        ab_version_manifest_fini(&plan->views[i].previous);
        ab_delete(plan->views[i].path);
    }
    ab_delete(plan->job);
    ab_delete(plan->partitions);
    ab_delete(plan->spans);
    ab_delete(plan->views);
    ab_json_destroy(plan->previous);
    ab_json_destroy(plan->retained);
    ab_catalog_release(plan->catalog);
    *plan = (struct ab_plan){0};
}

static int hex_digit(uint8_t c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static ab_err catalog_decode(const struct ab_json *answer, struct ab_plan *plan, struct ab_error *error)
{
    struct ab_bytes text = ab_json_bytes(ab_json_get(answer, "catalog"));
    struct ab_buffer bytes = {0};
    bool is_hex = text.bytes > 0 && text.bytes % 2 == 0;
    for (size_t i = 0; is_hex && i < text.bytes; i += 2) {
        int high = hex_digit(text.data[i]);
        int low = hex_digit(text.data[i + 1]);
        is_hex = high >= 0 && low >= 0;
        ab_buffer_put_u8(&bytes, (uint8_t)(is_hex ? high * 16 + low : 0));
    }
    ab_err err =
        is_hex ? ab_catalog_decode(ab_buffer_view(&bytes), &plan->catalog, error) : member_bad(error, "catalog");
    ab_buffer_fini(&bytes);
    return err;
}

static ab_err partitions_decode(const struct ab_json *list, struct ab_plan *plan, struct ab_error *error)
{
    size_t count = ab_json_count(list);
    if (count == 0 || count > AB_MANIFEST_SHARDS_MAX) {
        return member_bad(error, "partitions");
    }
    plan->partitions = ab_new_array(struct ab_plan_partition, count);
    plan->partitions_count = (uint32_t)count;
    for (size_t i = 0; i < count; i++) {
        const struct ab_json *entry = ab_json_at(list, i);
        uint64_t number = ab_json_u64_or(ab_json_get(entry, "partition"), UINT64_MAX);
        if (number >= count || plan->partitions[number].end_offset != 0) {
            return member_bad(error, "partitions");
        }
        struct ab_plan_partition *partition = &plan->partitions[number];
        partition->leader_epoch = ab_json_u64_or(ab_json_get(entry, "leader_epoch"), 0);
        partition->accepted = ab_json_u64_or(ab_json_get(entry, "accepted"), UINT64_MAX);
        partition->rejected = ab_json_u64_or(ab_json_get(entry, "rejected"), UINT64_MAX);
        partition->duplicates = ab_json_u64_or(ab_json_get(entry, "duplicates"), UINT64_MAX);
        partition->has_counts = partition->accepted != UINT64_MAX && partition->rejected != UINT64_MAX &&
                                partition->duplicates != UINT64_MAX;
        partition->end_offset = ab_json_u64_or(ab_json_get(entry, "offset"), 0);
        if (partition->end_offset == 0 ||
            ab_hash128_parse(ab_json_bytes(ab_json_get(entry, "chain")), &partition->chain) != AB_OK) {
            return member_bad(error, "partitions");
        }
    }
    return AB_OK;
}

/* What the answer leaves to history. */
struct history {
    uint64_t cut;                /* 0 = nothing: the answer has every span */
    const struct ab_json *spans; /* borrowed: as added from the markers; NULL = not added */
    const struct ab_json *offsets;
};

/* Reads the member; where the plan's first span begins follows from it. */
static ab_err history_decode(
    const struct ab_json *member, struct ab_plan *plan, struct history *history, struct ab_error *error)
{
    struct history read = {0};
    if (ab_json_is_null(member)) {
        *history = read;
        return AB_OK;
    }
    read.cut = ab_json_u64_or(ab_json_get(member, "cut"), 0);
    read.spans = ab_json_get(member, "spans");
    read.offsets = ab_json_get(member, "offsets");
    bool is_right = read.cut > 0 && read.cut < plan->cut && ab_json_count(read.offsets) == plan->partitions_count &&
                    (read.spans == NULL || ab_json_count(read.spans) > 0);
    for (uint32_t p = 0; is_right && p < plan->partitions_count; p++) {
        uint64_t offset = ab_json_u64_or(ab_json_at(read.offsets, p), 0);
        plan->partitions[p].start_offset = read.spans == NULL ? offset : 0;
        is_right = offset > 0;
    }
    if (!is_right) {
        return member_bad(error, "history");
    }
    *history = read;
    return AB_OK;
}

/* Adds the spans of a list. */
static ab_err spans_add(const struct ab_json *list, struct ab_plan *plan, struct ab_error *error)
{
    for (size_t i = 0; i < ab_json_count(list); i++) {
        const struct ab_json *offsets = ab_json_get(ab_json_at(list, i), "offsets");
        size_t index = plan->spans_count++;
        struct ab_plan_span *span = &plan->spans[index];
        span->cut = ab_json_u64_or(ab_json_get(ab_json_at(list, i), "cut"), 0);
        span->end_offsets = ab_new_array(uint64_t, plan->partitions_count);
        if (span->cut == 0 || (index > 0 && span->cut <= plan->spans[index - 1].cut) ||
            ab_json_count(offsets) != plan->partitions_count) {
            return member_bad(error, "spans");
        }
        for (uint32_t p = 0; p < plan->partitions_count; p++) {
            span->end_offsets[p] = ab_json_u64_or(ab_json_at(offsets, p), 0);
            if (span->end_offsets[p] <= ab_plan_from_offset(plan, index, p)) {
                return member_bad(error, "offsets");
            }
        }
    }
    return AB_OK;
}

/* The spans of history end where it was said that they do. */
static ab_err history_check(const struct ab_plan *plan, const struct history *history, struct ab_error *error)
{
    if (history->spans == NULL) {
        return AB_OK;
    }
    const struct ab_plan_span *last = &plan->spans[plan->spans_count - 1];
    bool is_right = last->cut == history->cut;
    for (uint32_t p = 0; is_right && p < plan->partitions_count; p++) {
        is_right = last->end_offsets[p] == ab_json_u64_or(ab_json_at(history->offsets, p), 0);
    }
    return is_right ? AB_OK : member_bad(error, "history");
}

static ab_err spans_decode(
    const struct ab_json *list, const struct history *history, struct ab_plan *plan, struct ab_error *error)
{
    size_t count = ab_json_count(list);
    if (count == 0) {
        return member_bad(error, "spans");
    }
    plan->spans = ab_new_array(struct ab_plan_span, ab_json_count(history->spans) + count);
    AB_TRY(spans_add(history->spans, plan, error));
    AB_TRY(history_check(plan, history, error));
    size_t first = plan->spans_count;
    AB_TRY(spans_add(list, plan, error));
    const struct ab_plan_span *last = &plan->spans[plan->spans_count - 1];
    bool is_right = last->cut == plan->cut && plan->spans[first].cut > history->cut;
    for (uint32_t p = 0; is_right && p < plan->partitions_count; p++) {
        is_right = last->end_offsets[p] == plan->partitions[p].end_offset;
    }
    return is_right ? AB_OK : member_bad(error, "spans");
}

uint64_t ab_plan_from_offset(const struct ab_plan *plan, size_t span, uint32_t partition)
{
    return span == 0 ? plan->partitions[partition].start_offset : plan->spans[span - 1].end_offsets[partition];
}

/* What plan_read finds out besides the plan. */
struct reading {
    bool is_full;
    struct history history;
    bool needs_history; /* a view needs spans that were not added */
};

/* Decides on what a view is built: its version before, when that holds this definition; else history alone. */
static ab_err view_plan(
    struct ab_plan *plan, const struct ab_view *view, struct reading *reading, struct ab_error *error)
{
    struct ab_plan_view made = {.view = view};
    const struct ab_json *before = ab_json_get(plan->previous, view->name);
    if (!reading->is_full && !ab_json_is_null(before)) {
        ab_err err = ab_version_manifest_decode(before, &made.previous, error);
        if (err != AB_OK) {
            return ab_error_wrap(error, err, "view %s, version before", view->name);
        }
        made.has_previous = made.previous.uid == view->uid &&
                            made.previous.definition_version == view->definition_version &&
                            made.previous.shards_count == plan->partitions_count &&
                            made.previous.chunk_us == view->chunk_us && made.previous.cut <= plan->cut;
    }
    if (made.has_previous) {
        while (made.first_span < plan->spans_count && plan->spans[made.first_span].cut <= made.previous.cut) {
            made.first_span++;
        }
    }
    if (!made.has_previous || made.first_span == plan->spans_count) {
        bool is_current = made.has_previous;
        made.has_previous = false;
        ab_version_manifest_fini(&made.previous);
        if (is_current) {
            return AB_OK;
        }
    }
    uint64_t held = made.has_previous ? made.previous.cut : 0;
    reading->needs_history |= reading->history.spans == NULL && held < reading->history.cut;
    ab_err err = ab_aggregation_create(view, &made.aggregation, error);
    if (err != AB_OK) {
        ab_version_manifest_fini(&made.previous);
        return err;
    }
    made.is_sharded = !view->is_aligned && view->keys_count > 0;
    made.path = ab_history_version_path(view->name, view->definition_version, plan->cut, plan->attempt);
    plan->views[plan->views_count++] = made;
    return AB_OK;
}

/* A copy of our own: the answer may go. */
static ab_err member_copy(
    const struct ab_json *member, const char *absent, struct ab_json **copy, struct ab_error *error)
{
    struct ab_buffer text = {0};
    if (ab_json_is_object(member) || ab_json_is_array(member)) {
        ab_json_write(member, 0, &text);
    } else {
        ab_buffer_put_format(&text, "%s", absent);
    }
    ab_err err = ab_json_parse(ab_buffer_view(&text), copy, error);
    ab_buffer_fini(&text);
    return err;
}

static ab_err plan_read(
    const struct ab_json *answer, struct reading *reading, struct ab_plan *plan, struct ab_error *error)
{
    uint64_t attempt = ab_json_u64_or(ab_json_get(answer, "attempt"), 0);
    plan->job = ab_new_text(ab_json_text_or(ab_json_get(answer, "job"), ""));
    plan->cut = ab_json_u64_or(ab_json_get(answer, "cut"), 0);
    plan->time_us = ab_json_integer_or(ab_json_get(answer, "time_us"), 0);
    plan->attempt = (uint32_t)attempt;
    reading->is_full |= ab_json_boolean_or(ab_json_get(answer, "full"), false);
    /* The id becomes a folder's name. */
    if (plan->job[0] == 0 || plan->job[0] == '.' || strchr(plan->job, '/') != NULL) {
        return member_bad(error, "job");
    }
    if (attempt == 0 || attempt > UINT32_MAX || plan->cut == 0) {
        return member_bad(error, plan->cut == 0 ? "cut" : "attempt");
    }
    AB_TRY(catalog_decode(answer, plan, error));
    AB_TRY(partitions_decode(ab_json_get(answer, "partitions"), plan, error));
    AB_TRY(history_decode(ab_json_get(answer, "history"), plan, &reading->history, error));
    AB_TRY(spans_decode(ab_json_get(answer, "spans"), &reading->history, plan, error));
    if (ab_json_u64_or(ab_json_get(answer, "shards"), plan->partitions_count) != plan->partitions_count) {
        return ab_error_set(error, AB_UNSUPPORTED, "as many shards as partitions are expected");
    }
    AB_TRY(member_copy(ab_json_get(answer, "previous"), "{}", &plan->previous, error));
    if (ab_json_is_array(ab_json_get(answer, "retained"))) {
        AB_TRY(member_copy(ab_json_get(answer, "retained"), "[]", &plan->retained, error));
    }
    plan->views = ab_new_array(struct ab_plan_view, plan->catalog->views_count + 1);
    for (uint32_t v = 0; v < plan->catalog->views_count; v++) {
        AB_TRY(view_plan(plan, &plan->catalog->views[v], reading, error));
    }
    return AB_OK;
}

ab_err ab_plan_needs_history(const struct ab_json *answer, bool is_full, bool *needs_history, struct ab_error *error)
{
    struct ab_plan plan = {0};
    struct reading reading = {.is_full = is_full};
    ab_err err = plan_read(answer, &reading, &plan, error);
    ab_plan_fini(&plan);
    if (err == AB_OK) {
        *needs_history = reading.needs_history;
    }
    return err;
}

ab_err ab_plan_decode(const struct ab_json *answer, bool is_full, struct ab_plan *plan, struct ab_error *error)
{
    struct ab_plan made = {0};
    struct reading reading = {.is_full = is_full};
    ab_err err = plan_read(answer, &reading, &made, error);
    if (err == AB_OK && reading.needs_history) {
        err = ab_error_set(error, AB_INVALID,
            "a view needs spans up to %" PRIu64 ", which history alone knows and nobody has added",
            reading.history.cut);
    }
    if (err != AB_OK) {
        ab_plan_fini(&made);
        return err;
    }
    *plan = made;
    return AB_OK;
}

static uint64_t directory_rows(const struct ab_version_manifest *manifest, uint32_t directory)
{
    uint64_t rows = 0;
    for (uint32_t s = 0; s < manifest->shards_count; s++) {
        rows += manifest->directories[directory].shards[s].rows_count;
    }
    return rows;
}

uint32_t ab_plan_keep_directories(const struct ab_plan_view *view, uint64_t new_rows)
{
    uint32_t kept = view->has_previous ? view->previous.directories_count : 0;
    while (kept > 0) {
        uint64_t rows = directory_rows(&view->previous, kept - 1);
        if (rows / AB_PLAN_GROWTH > new_rows && kept + 1 <= AB_PLAN_DIRECTORIES_MAX) {
            break;
        }
        new_rows += rows;
        kept--;
    }
    return kept;
}

ab_time_us ab_plan_horizon(const struct ab_view *view, ab_time_us time_us)
{
    return ab_view_horizon(view, time_us);
}

bool ab_plan_is_expired(const struct ab_view *view, struct ab_bytes key, ab_time_us horizon_us)
{
    ab_time_us start = 0;
    if (horizon_us == INT64_MIN || view->pane_us == 0 || ab_group_key_pane(key, &start) != AB_OK) {
        return false;
    }
    return start < horizon_us && start < ab_view_first_pane(view, horizon_us);
}

bool ab_plan_is_referenced(const struct ab_plan *plan, const char *path)
{
    for (size_t i = 0; i < ab_json_count(plan->previous); i++) {
        const struct ab_json *manifest = ab_json_get(plan->previous, ab_json_key_at(plan->previous, i));
        const struct ab_json *directories = ab_json_get(manifest, "directories");
        for (size_t d = 0; d < ab_json_count(directories); d++) {
            const char *named = ab_json_text_or(ab_json_get(ab_json_at(directories, d), "path"), "");
            if (strcmp(named, path) == 0) {
                return true;
            }
        }
    }
    return false;
}

bool ab_plan_is_garbage(const struct ab_plan *plan, const char *path)
{
    bool is_garbage = plan->retained != NULL && !ab_plan_is_referenced(plan, path);
    for (size_t i = 0; i < ab_json_count(plan->retained) && is_garbage; i++) {
        is_garbage = strcmp(ab_json_text_or(ab_json_at(plan->retained, i), ""), path) != 0;
    }
    return is_garbage;
}
