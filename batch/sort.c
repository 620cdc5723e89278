#include "batch/sort.h"

#include "batch/run_file.h"

struct source {
    ab_sort_next_fn next;
    ab_sort_close_fn close;
    void *context;
    struct ab_bytes key; /* borrowed from the source */
    struct ab_bytes row;
};

struct ab_sort {
    struct source *sources; /* owned */
    size_t sources_count;
    size_t sources_capacity;
    bool is_started;
    uint32_t *heap; /* owned: indexes of sources, the least key first, ties by index */
    size_t heap_count;
    uint32_t *taken; /* owned: sources whose group was given out last */
    size_t taken_count;
    struct ab_bytes *operands; /* owned: scratch */
    struct ab_buffer merged;
    struct ab_buffer last_key;
};

struct ab_sort *ab_sort_create(void)
{
    return ab_new(struct ab_sort);
}

void ab_sort_destroy(struct ab_sort *sort)
{
    if (sort == NULL) {
        return;
    }
    for (size_t i = 0; i < sort->sources_count; i++) {
        if (sort->sources[i].close != NULL) {
            sort->sources[i].close(sort->sources[i].context);
        }
    }
    ab_delete(sort->sources);
    ab_delete(sort->heap);
    ab_delete(sort->taken);
    ab_delete(sort->operands);
    ab_buffer_fini(&sort->merged);
    ab_buffer_fini(&sort->last_key);
    ab_delete(sort);
}

void ab_sort_add_take(struct ab_sort *sort, ab_sort_next_fn next, ab_sort_close_fn close, void *source)
{
    if (sort->sources_count == sort->sources_capacity) {
        sort->sources_capacity = sort->sources_capacity == 0 ? 16 : sort->sources_capacity * 2;
        sort->sources = ab_renew_bytes(sort->sources, sort->sources_capacity * sizeof *sort->sources);
    }
    sort->sources[sort->sources_count++] = (struct source){.next = next, .close = close, .context = source};
}

static ab_err run_next(void *source, struct ab_bytes *key, struct ab_bytes *row, struct ab_error *error)
{
    return ab_run_reader_next(source, key, row, error);
}

static void run_close(void *source)
{
    ab_run_reader_close(source);
}

ab_err ab_sort_add_run(struct ab_sort *sort, const char *path, struct ab_error *error)
{
    struct ab_run_reader *reader = NULL;
    AB_TRY(ab_run_reader_open(path, &reader, error));
    ab_sort_add_take(sort, run_next, run_close, reader);
    return AB_OK;
}

size_t ab_sort_sources(const struct ab_sort *sort)
{
    return sort->sources_count;
}

static bool comes_before(const struct ab_sort *sort, uint32_t a, uint32_t b)
{
    int order = ab_bytes_compare(sort->sources[a].key, sort->sources[b].key);
    return order != 0 ? order < 0 : a < b;
}

static void heap_push(struct ab_sort *sort, uint32_t index)
{
    size_t at = sort->heap_count++;
    while (at > 0 && comes_before(sort, index, sort->heap[(at - 1) / 2])) {
        sort->heap[at] = sort->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    sort->heap[at] = index;
}

static uint32_t heap_pop(struct ab_sort *sort)
{
    uint32_t top = sort->heap[0];
    uint32_t last = sort->heap[--sort->heap_count];
    size_t at = 0;
    for (;;) {
        size_t child = at * 2 + 1;
        if (child >= sort->heap_count) {
            break;
        }
        if (child + 1 < sort->heap_count && comes_before(sort, sort->heap[child + 1], sort->heap[child])) {
            child++;
        }
        if (!comes_before(sort, sort->heap[child], last)) {
            break;
        }
        sort->heap[at] = sort->heap[child];
        at = child;
    }
    sort->heap[at] = last;
    return top;
}

/* Fetches a source's next group; one that ended stays out of the heap. */
static ab_err source_advance(struct ab_sort *sort, uint32_t index, struct ab_error *error)
{
    struct source *source = &sort->sources[index];
    ab_err err = source->next(source->context, &source->key, &source->row, error);
    if (err == AB_END) {
        return AB_OK;
    }
    if (err == AB_OK && sort->last_key.bytes > 0 &&
        ab_bytes_compare(source->key, ab_buffer_view(&sort->last_key)) <= 0) {
        return ab_error_set(error, AB_CORRUPT, "groups to be merged are not in key order");
    }
    if (err == AB_OK) {
        heap_push(sort, index);
    }
    return err;
}

static ab_err sort_start(struct ab_sort *sort, struct ab_error *error)
{
    sort->heap = ab_new_array(uint32_t, sort->sources_count + 1);
    sort->taken = ab_new_array(uint32_t, sort->sources_count + 1);
    sort->operands = ab_new_array(struct ab_bytes, sort->sources_count + 1);
    sort->is_started = true;
    for (uint32_t i = 0; i < sort->sources_count; i++) {
        AB_TRY(source_advance(sort, i, error));
    }
    return AB_OK;
}

static ab_err sources_refill(struct ab_sort *sort, struct ab_error *error)
{
    if (!sort->is_started) {
        return sort_start(sort, error);
    }
    size_t count = sort->taken_count;
    sort->taken_count = 0;
    for (size_t i = 0; i < count; i++) {
        AB_TRY(source_advance(sort, sort->taken[i], error));
    }
    return AB_OK;
}

ab_err ab_sort_next(struct ab_sort *sort, struct ab_bytes *key, struct ab_bytes *row, struct ab_error *error)
{
    AB_TRY(sources_refill(sort, error));
    if (sort->heap_count == 0) {
        return AB_END;
    }
    do {
        uint32_t index = heap_pop(sort);
        sort->operands[sort->taken_count] = sort->sources[index].row;
        sort->taken[sort->taken_count++] = index;
    } while (
        sort->heap_count > 0 && ab_bytes_equal(sort->sources[sort->heap[0]].key, sort->sources[sort->taken[0]].key));
    ab_buffer_clear(&sort->last_key);
    ab_buffer_put_bytes(&sort->last_key, sort->sources[sort->taken[0]].key);
    *key = ab_buffer_view(&sort->last_key);
    if (sort->taken_count == 1) {
        *row = sort->operands[0];
        return AB_OK;
    }
    ab_buffer_clear(&sort->merged);
    ab_err err = ab_state_row_merge((struct ab_bytes){0}, sort->operands, sort->taken_count, &sort->merged, NULL);
    if (err != AB_OK) {
        return ab_error_set(error, err, "merge the states of a group: %s", ab_err_text(err));
    }
    *row = ab_buffer_view(&sort->merged);
    return AB_OK;
}

ab_err ab_sort_write_run(struct ab_sort *sort, const char *path, struct ab_run_summary *summary, struct ab_error *error)
{
    struct ab_run_writer *writer = NULL;
    struct ab_bytes key;
    struct ab_bytes row;
    AB_TRY(ab_run_writer_create(path, &writer, error));
    ab_err err = ab_sort_next(sort, &key, &row, error);
    while (err == AB_OK) {
        err = ab_digest_add(&summary->digest, key, row);
        if (err != AB_OK) {
            (void)ab_error_set(error, err, "digest of a group: %s", ab_err_text(err));
            break;
        }
        summary->bytes += key.bytes + row.bytes;
        err = ab_run_writer_add(writer, key, row, error);
        if (err == AB_OK) {
            err = ab_sort_next(sort, &key, &row, error);
        }
    }
    if (err != AB_END) {
        ab_run_writer_abandon(writer);
        return err;
    }
    return ab_run_writer_finish(writer, summary, error);
}

/* Merges paths[0 .. count) into one run at `into`. */
static ab_err runs_fold(const char *const *paths, size_t count, const char *into, struct ab_error *error)
{
    struct ab_sort *sort = ab_sort_create();
    struct ab_run_summary summary = {0};
    ab_err err = AB_OK;
    for (size_t i = 0; i < count && err == AB_OK; i++) {
        err = ab_sort_add_run(sort, paths[i], error);
    }
    if (err == AB_OK) {
        err = ab_sort_write_run(sort, into, &summary, error);
    }
    ab_sort_destroy(sort);
    return err;
}

ab_err ab_sort_add_runs(
    struct ab_sort *sort, const char *const *paths, size_t count, const char *scratch, struct ab_error *error)
{
    size_t at = 0;
    for (unsigned fold = 0; count - at > AB_SORT_RUNS_MAX; fold++) {
        char *into = ab_new_format("%s.fold-%u", scratch, fold);
        ab_err err = runs_fold(paths + at, AB_SORT_RUNS_MAX, into, error);
        if (err == AB_OK) {
            err = ab_sort_add_run(sort, into, error);
        }
        ab_delete(into);
        AB_TRY(err);
        at += AB_SORT_RUNS_MAX;
    }
    for (; at < count; at++) {
        AB_TRY(ab_sort_add_run(sort, paths[at], error));
    }
    return AB_OK;
}
