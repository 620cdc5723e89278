#include "cluster/command/letters.h"

#include "common/base/assert.h"
#include "common/base/time.h"

#include <stdlib.h>

#define TIMEOUT_MS 30000

/* What orders letters, and tells them apart. */
struct place {
    ab_time_us time_us;
    int64_t numbers[3]; /* partition, offset, row */
};

static struct place place_of(const struct ab_json *row)
{
    static const char *const keys[] = {"partition", "offset", "row"};
    struct place place = {0};
    if (ab_time_parse(ab_json_bytes(ab_json_get(row, "time")), &place.time_us) != AB_OK) {
        place.time_us = 0; /* a time that cannot be read is an old one */
    }
    for (size_t i = 0; i < 3; i++) {
        place.numbers[i] = ab_json_integer_or(ab_json_get(row, keys[i]), 0);
    }
    return place;
}

static int place_compare(const struct ab_json *a, const struct ab_json *b)
{
    struct place x = place_of(a);
    struct place y = place_of(b);
    int order = (x.time_us > y.time_us) - (x.time_us < y.time_us);
    for (size_t i = 0; i < 3 && order == 0; i++) {
        order = (x.numbers[i] > y.numbers[i]) - (x.numbers[i] < y.numbers[i]);
    }
    return order;
}

static int newest_first(const void *left, const void *right)
{
    const struct ab_json *const *a = left;
    const struct ab_json *const *b = right;
    return place_compare(*b, *a);
}

/* The first array among the members of an answer. */
static const struct ab_json *rows_of(const struct ab_json *answer)
{
    for (size_t i = 0; i < ab_json_count(answer); i++) {
        const struct ab_json *member = ab_json_get(answer, ab_json_key_at(answer, i));
        if (ab_json_is_array(member)) {
            return member;
        }
    }
    return NULL;
}

void ab_letter_list_add(struct ab_letter_list *list, struct ab_json *answer)
{
    const struct ab_json *rows = rows_of(answer);
    size_t count = ab_json_count(rows);
    uint64_t total = ab_json_u64_or(ab_json_get(answer, "total"), count);
    AB_ASSERT(list->answers_count < AB_NODES_MAX);
    list->answers[list->answers_count++] = answer;
    list->rows = ab_renew_bytes(list->rows, (list->rows_count + count + 1) * sizeof list->rows[0]);
    for (size_t i = 0; i < count; i++) {
        list->rows[list->rows_count++] = ab_json_at(rows, i);
    }
    list->total = total > list->total ? total : list->total;
}

void ab_letter_list_finish(struct ab_letter_list *list, size_t limit)
{
    size_t kept = 0;
    if (list->answers_count < 2) {
        return; /* in order already */
    }
    qsort(list->rows, list->rows_count, sizeof list->rows[0], newest_first);
    for (size_t i = 0; i < list->rows_count && kept < limit; i++) {
        if (kept == 0 || place_compare(list->rows[kept - 1], list->rows[i]) != 0) {
            list->rows[kept++] = list->rows[i];
        }
    }
    list->rows_count = kept;
    list->total = kept > list->total ? kept : list->total;
}

ab_err ab_letter_list_ask(
    struct ab_session *session, const char *stream, size_t limit, struct ab_letter_list *list, struct ab_error *error)
{
    struct ab_json *request = ab_json_object();
    ab_json_set(request, "stream", ab_json_text(stream));
    ab_json_set(request, "limit", ab_json_integer((int64_t)limit));
    session->is_pinned = true;
    ab_err err = AB_OK;
    for (uint32_t i = 0; i < session->places.count && err == AB_OK; i++) {
        struct ab_json *answer = NULL;
        session->current = i;
        err = ab_session_call(session, "speed", AB_VERB_DEAD_LETTERS, request, TIMEOUT_MS, &answer, error);
        if (err == AB_OK) {
            ab_letter_list_add(list, answer);
        }
    }
    session->is_pinned = false;
    ab_json_destroy(request);
    ab_letter_list_finish(list, limit);
    return err;
}

void ab_letter_list_fini(struct ab_letter_list *list)
{
    for (uint32_t i = 0; i < list->answers_count; i++) {
        ab_json_destroy(list->answers[i]);
    }
    ab_delete(list->rows);
    *list = (struct ab_letter_list){0};
}
