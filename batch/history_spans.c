#include "batch/history_spans.h"

#include "batch/sealed.h"
#include "common/base/file.h"
#include "common/history/layout.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define NAME_BYTES 64
#define ADVICE                                                                                                         \
    "nothing but these markers says where spans up to %" PRIu64                                                        \
    " end, so nothing was built; put history/_sealed back from a copy of this directory"

/* The markers of one partition. */
struct markers {
    uint64_t *numbers; /* owned; of the spans, rising */
    size_t count;
    size_t at;               /* the next one to take */
    uint64_t end_offset;     /* of the one taken last */
    struct ab_hash128 chain; /* of that one's cut */
};

struct history {
    const char *directory;      /* borrowed: the cluster's */
    uint64_t cut;               /* the last span */
    struct markers *partitions; /* owned */
    uint32_t partitions_count;
};

static void history_fini(struct history *history)
{
    for (uint32_t p = 0; p < history->partitions_count; p++) {
        ab_delete(history->partitions[p].numbers);
    }
    ab_delete(history->partitions);
}

static int number_order(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left;
    uint64_t b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

/* The span that a marker's name says; 0 = not the name of one. */
static uint64_t name_span(const char *name)
{
    uint64_t span = 0;
    char again[NAME_BYTES];
    if (sscanf(name, "span-%" SCNu64, &span) != 1) {
        return 0;
    }
    (void)snprintf(again, sizeof again, "span-%" PRIu64 ".json", span);
    return strcmp(again, name) == 0 ? span : 0;
}

ab_err ab_history_spans_list(const char *directory, uint32_t partition, uint64_t span_max, uint64_t **numbers,
    size_t *numbers_count, struct ab_error *error)
{
    char *folder = ab_history_marker_path(directory, partition, 1);
    char **names = NULL;
    size_t count = 0;
    *strrchr(folder, '/') = 0;
    ab_err err = ab_file_exists(folder) ? ab_file_list(folder, &names, &count, error) : AB_OK;
    ab_delete(folder);
    AB_TRY(err);
    uint64_t *made = ab_new_array(uint64_t, count + 1);
    size_t made_count = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t span = name_span(names[i]);
        if (span > 0 && span <= span_max) {
            made[made_count++] = span;
        }
    }
    qsort(made, made_count, sizeof made[0], number_order);
    ab_file_names_free(names, count);
    *numbers = made;
    *numbers_count = made_count;
    return AB_OK;
}

static ab_err missing(const struct history *history, uint32_t partition, uint64_t span, struct ab_error *error)
{
    char *path = ab_history_marker_path("", partition, span);
    ab_err err = ab_error_set(error, AB_CORRUPT, "partition %" PRIu32 ", span %" PRIu64 ": %s is missing; " ADVICE,
        partition, span, path, history->cut);
    ab_delete(path);
    return err;
}

/* Takes a partition's next marker, which is to be this span's and to follow the one before. */
static ab_err marker_take(struct history *history, uint32_t partition, uint64_t span, struct ab_error *error)
{
    struct markers *markers = &history->partitions[partition];
    struct ab_sealed_span sealed = {0};
    struct ab_error detail = {0};
    if (markers->at == markers->count || markers->numbers[markers->at] != span) {
        return missing(history, partition, span, error);
    }
    ab_err err = ab_sealed_span_load(history->directory, partition, span, &sealed, &detail);
    if (err != AB_OK) {
        return ab_error_set(error, AB_CORRUPT, "partition %" PRIu32 ", span %" PRIu64 ": %s; " ADVICE, partition, span,
            detail.text[0] != 0 ? detail.text : ab_err_text(err), history->cut);
    }
    uint64_t expected = markers->end_offset;
    uint64_t begins = sealed.from_offset;
    markers->at++;
    markers->end_offset = sealed.until_offset;
    markers->chain = sealed.chain;
    ab_sealed_span_fini(&sealed);
    return begins == expected
               ? AB_OK
               : ab_error_set(error, AB_CORRUPT,
                     "partition %" PRIu32 ", span %" PRIu64 ": its marker says that it begins at record %" PRIu64
                     ", but what is before ends at %" PRIu64 ": a marker between them is missing or wrong; " ADVICE,
                     partition, span, begins, expected, history->cut);
}

/* The lowest span of which some partition has a marker that was not taken; 0 = none. */
static uint64_t next_span(const struct history *history)
{
    uint64_t next = 0;
    for (uint32_t p = 0; p < history->partitions_count; p++) {
        const struct markers *markers = &history->partitions[p];
        uint64_t span = markers->at < markers->count ? markers->numbers[markers->at] : 0;
        next = span > 0 && (next == 0 || span < next) ? span : next;
    }
    return next;
}

static ab_err spans_read(struct history *history, struct ab_json *spans, struct ab_error *error)
{
    uint64_t last = 0;
    for (uint64_t span = next_span(history); span > 0; span = next_span(history)) {
        struct ab_json *offsets = ab_json_array();
        struct ab_json *entry = ab_json_object();
        ab_json_set(entry, "cut", ab_json_integer((int64_t)span));
        ab_json_set(entry, "offsets", offsets);
        ab_json_append(spans, entry);
        for (uint32_t p = 0; p < history->partitions_count; p++) {
            AB_TRY(marker_take(history, p, span, error));
            ab_json_append(offsets, ab_json_integer((int64_t)history->partitions[p].end_offset));
        }
        last = span;
    }
    return last == history->cut ? AB_OK : missing(history, 0, history->cut, error);
}

/* The last marker of each partition is of the very record that the controller wrote down. */
static ab_err ends_check(const struct history *history, const struct ab_json *member, struct ab_error *error)
{
    for (uint32_t p = 0; p < history->partitions_count; p++) {
        const struct markers *markers = &history->partitions[p];
        struct ab_hash128 chain;
        uint64_t offset = ab_json_u64_or(ab_json_at(ab_json_get(member, "offsets"), p), 0);
        if (ab_hash128_parse(ab_json_bytes(ab_json_at(ab_json_get(member, "chains"), p)), &chain) != AB_OK) {
            return ab_error_set(error, AB_INVALID,
                "the controller's answer: member \"history\" has no chain of "
                "partition %" PRIu32,
                p);
        }
        if (markers->end_offset != offset || !ab_hash128_equal(markers->chain, chain)) {
            return ab_error_set(error, AB_CORRUPT,
                "partition %" PRIu32 ", span %" PRIu64 ": its marker is of another log: it ends after record %" PRIu64
                ", where the cut was at %" PRIu64 " or had another chain hash; " ADVICE,
                p, history->cut, markers->end_offset, offset, history->cut);
        }
    }
    return AB_OK;
}

ab_err ab_history_spans_add(const char *directory, struct ab_json *answer, struct ab_error *error)
{
    struct ab_json *member = ab_json_get(answer, "history");
    size_t count = ab_json_count(ab_json_get(member, "offsets"));
    struct history history = {.directory = directory, .cut = ab_json_u64_or(ab_json_get(member, "cut"), 0)};
    if (count == 0 || count > UINT32_MAX || history.cut == 0) {
        return ab_error_set(error, AB_INVALID, "the controller's answer: member \"history\" is missing or malformed");
    }
    history.partitions_count = (uint32_t)count;
    history.partitions = ab_new_array(struct markers, count);
    struct ab_json *spans = ab_json_array();
    ab_err err = AB_OK;
    for (uint32_t p = 0; err == AB_OK && p < history.partitions_count; p++) {
        struct markers *markers = &history.partitions[p];
        err = ab_history_spans_list(directory, p, history.cut, &markers->numbers, &markers->count, error);
    }
    if (err == AB_OK) {
        err = spans_read(&history, spans, error);
    }
    if (err == AB_OK) {
        err = ends_check(&history, member, error);
    }
    if (err == AB_OK) {
        ab_json_set(member, "spans", spans);
    } else {
        ab_json_destroy(spans);
    }
    history_fini(&history);
    return err;
}
