/* sort: many sources of groups in key order become one, groups of equal keys merged as states (DESIGN 5.4).
 *
 * Threads: owner. Memory: the sources' own, and one merged row.
 */
#ifndef ANABRANCH_BATCH_SORT_H
#define ANABRANCH_BATCH_SORT_H

#include "batch/run_file.h"
#include "common/base/buffer.h"

#define AB_SORT_RUNS_MAX 128u /* runs open for one merge; more are merged in steps */

/* Gives a source's next group, borrowed until the next call on the same source; AB_END after the last. Keys strictly
 * rise. */
typedef ab_err (*ab_sort_next_fn)(void *source, struct ab_bytes *key, struct ab_bytes *row, struct ab_error *error);
typedef void (*ab_sort_close_fn)(void *source);

struct ab_sort;

/* A merge without sources. */
struct ab_sort *ab_sort_create(void);

/* Closes the sources. NULL is legal. */
void ab_sort_destroy(struct ab_sort *sort);

/* Adds a source before the first call of next; takes it in any case. `close` may be NULL. */
void ab_sort_add_take(struct ab_sort *sort, ab_sort_next_fn next, ab_sort_close_fn close, void *source);

/* Adds the run at `path`. AB_NOT_FOUND, AB_CORRUPT. */
AB_MUST_USE ab_err ab_sort_add_run(struct ab_sort *sort, const char *path, struct ab_error *error);

size_t ab_sort_sources(const struct ab_sort *sort);

/* The next group, borrowed until the next call; AB_END; AB_CORRUPT, also when a source's keys do not rise. */
AB_MUST_USE ab_err ab_sort_next(
    struct ab_sort *sort, struct ab_bytes *key, struct ab_bytes *row, struct ab_error *error);

/* Writes all that is left as a run at `path`; adds digest and bytes to `summary` and writes it at the end. */
AB_MUST_USE ab_err ab_sort_write_run(
    struct ab_sort *sort, const char *path, struct ab_run_summary *summary, struct ab_error *error);

/* Adds many runs; past AB_SORT_RUNS_MAX they are first merged into files "<scratch>.fold-<n>". */
AB_MUST_USE ab_err ab_sort_add_runs(
    struct ab_sort *sort, const char *const *paths, size_t count, const char *scratch, struct ab_error *error);

#endif
