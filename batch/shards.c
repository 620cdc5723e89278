#include "batch/shards.h"

#include "common/aggregate/group_key.h"
#include "common/base/file.h"

#include <inttypes.h>

char *ab_shards_path(const struct ab_shards *shards, uint32_t shard)
{
    return ab_new_format("%s/%s/shard-%" PRIu32, shards->directory, shards->plan->views[shards->view].path, shard);
}

/* A directory of the version before as a source of groups. */
struct previous_source {
    struct ab_version_reader *reader;     /* owned */
    struct ab_version_iterator *iterator; /* owned */
};

static ab_err previous_next(void *source, struct ab_bytes *key, struct ab_bytes *row, struct ab_error *error)
{
    struct previous_source *previous = source;
    return ab_version_iterator_next(previous->iterator, key, row, error);
}

static void previous_close(void *source)
{
    struct previous_source *previous = source;
    ab_version_iterator_close(previous->iterator);
    ab_version_reader_close(previous->reader);
    ab_delete(previous);
}

static ab_err previous_open(
    const char *path, const struct ab_version_shard *expected, struct ab_sort *sort, struct ab_error *error)
{
    struct ab_version_reader *reader = NULL;
    struct ab_version_iterator *iterator = NULL;
    struct ab_version_summary summary;
    AB_TRY(ab_version_reader_open(path, NULL, true, &reader, error));
    ab_version_reader_summary(reader, &summary);
    if (summary.rows_count != expected->rows_count || !ab_hash128_equal(summary.content, expected->content)) {
        ab_version_reader_close(reader);
        return ab_error_set(error, AB_CORRUPT, "%s: not the content that the manifest names", path);
    }
    struct ab_bytes all = {0};
    ab_err err = ab_version_iterator_open(reader, all, all, &iterator, error);
    if (err != AB_OK) {
        ab_version_reader_close(reader);
        return err;
    }
    struct previous_source *source = ab_new(struct previous_source);
    source->reader = reader;
    source->iterator = iterator;
    ab_sort_add_take(sort, previous_next, previous_close, source);
    return AB_OK;
}

ab_err ab_shards_add_previous(
    const struct ab_shards *shards, uint32_t shard, struct ab_sort *sort, struct ab_error *error)
{
    const struct ab_plan_view *view = &shards->plan->views[shards->view];
    for (uint32_t d = shards->kept; view->has_previous && d < view->previous.directories_count; d++) {
        const struct ab_version_directory *directory = &view->previous.directories[d];
        if (directory->shards[shard].rows_count == 0) {
            continue;
        }
        char *path = ab_version_shard_path(shards->directory, directory, shard);
        ab_err err = previous_open(path, &directory->shards[shard], sort, error);
        ab_delete(path);
        AB_TRY(err);
    }
    return AB_OK;
}

/* Opens the directories of the shards for writing. */
static ab_err writers_create(const struct ab_shards *shards, const uint32_t *numbers, size_t count,
    struct ab_version_writer **writers, struct ab_error *error)
{
    char *folder = ab_new_format("%s/%s", shards->directory, shards->plan->views[shards->view].path);
    ab_err err = ab_file_make_directory(folder, 0750, error);
    ab_delete(folder);
    for (size_t i = 0; i < count && err == AB_OK; i++) {
        char *path = ab_shards_path(shards, numbers[i]);
        err = ab_version_writer_create(path, &writers[i], error);
        ab_delete(path);
    }
    return err;
}

static ab_err groups_write(const struct ab_shards *shards, const int32_t *writer_of, struct ab_sort *sort,
    struct ab_version_writer **writers, struct ab_error *error)
{
    const struct ab_plan_view *view = &shards->plan->views[shards->view];
    ab_time_us horizon = ab_plan_horizon(view->view, shards->plan->time_us);
    struct ab_bytes key;
    struct ab_bytes row;
    ab_err err = ab_sort_next(sort, &key, &row, error);
    while (err == AB_OK) {
        uint32_t shard = view->is_sharded ? ab_group_key_shard(key, shards->plan->partitions_count) : 0;
        int32_t writer = view->is_sharded ? writer_of[shard] : 0;
        if (writer >= 0 && !ab_plan_is_expired(view->view, key, horizon)) {
            err = ab_version_writer_add(writers[writer], key, row, error);
        }
        if (err == AB_OK) {
            err = ab_sort_next(sort, &key, &row, error);
        }
    }
    return err == AB_END ? AB_OK : err;
}

/* Completes a directory and reads it back, every byte. */
static ab_err shard_finish(const struct ab_shards *shards, uint32_t shard, struct ab_version_writer *writer,
    struct ab_version_summary *summary, struct ab_error *error)
{
    struct ab_version_reader *reader = NULL;
    AB_TRY(ab_version_writer_finish(writer, summary, error));
    char *path = ab_shards_path(shards, shard);
    ab_err err = ab_version_reader_open(path, NULL, true, &reader, error);
    ab_delete(path);
    ab_version_reader_close(reader);
    return err;
}

ab_err ab_shards_write(const struct ab_shards *shards, const uint32_t *numbers, size_t count, struct ab_sort *sort,
    struct ab_version_summary *summaries, struct ab_error *error)
{
    uint32_t shards_count = shards->plan->partitions_count;
    struct ab_version_writer **writers = ab_new_array(struct ab_version_writer *, count + 1);
    int32_t *writer_of = ab_new_array(int32_t, shards_count);
    for (uint32_t s = 0; s < shards_count; s++) {
        writer_of[s] = -1;
    }
    for (size_t i = 0; i < count; i++) {
        writer_of[numbers[i]] = (int32_t)i;
    }
    ab_err err = writers_create(shards, numbers, count, writers, error);
    if (err == AB_OK) {
        err = groups_write(shards, writer_of, sort, writers, error);
    }
    for (size_t i = 0; i < count; i++) {
        if (err == AB_OK) {
            err = shard_finish(shards, numbers[i], writers[i], &summaries[i], error);
        } else if (writers[i] != NULL) {
            ab_version_writer_abandon(writers[i]);
        }
    }
    ab_delete(writer_of);
    ab_delete(writers);
    return err == AB_OK ? AB_OK
                        : ab_error_wrap(error, err, "write view %s", shards->plan->views[shards->view].view->name);
}
