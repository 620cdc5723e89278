#include "tests/unit/serving/version_fixture.h"

#include <inttypes.h>

#include "common/store/partition_state.h"

#include "tests/support/test.h"

enum { ROWS = 3 };

/* A shard's directory; what stands there already is read. */
static struct ab_version_shard shard_make(const char *path, uint32_t shard)
{
    struct ab_version_writer *writer = NULL;
    struct ab_version_reader *reader = NULL;
    struct ab_version_summary summary = {0};
    struct ab_error error = {0};
    if (ab_version_reader_open(path, NULL, false, &reader, &error) == AB_OK) {
        ab_version_reader_summary(reader, &summary);
        ab_version_reader_close(reader);
    } else {
        assert_ok(ab_version_writer_create(path, &writer, &error));
        for (int row = 0; row < ROWS; row++) {
            char key[32];
            int bytes = snprintf(key, sizeof key, "%08" PRIu32 "-%d", shard, row);
            assert_ok(ab_version_writer_add(writer, ab_bytes_of(key, (size_t)bytes), bytes_of(path), &error));
        }
        assert_ok(ab_version_writer_finish(writer, &summary, &error));
    }
    return (struct ab_version_shard){
        .rows_count = summary.rows_count, .bytes = summary.bytes, .content = summary.content};
}

static void directory_make(const char *root, const struct version_wanted *wanted, uint64_t from, uint64_t to,
    struct ab_version_directory *directory)
{
    struct ab_error error = {0};
    directory->path = ab_new_format(
        "versions/%s-%" PRIu32 "/%" PRIu64 "-%" PRIu64, wanted->view, wanted->definition_version, from, to);
    directory->span_from = from;
    directory->span_to = to;
    directory->shards = ab_new_array(struct ab_version_shard, wanted->shards_count);
    char *parent = scratch_path(root, directory->path);
    assert_ok(ab_file_make_directory(parent, 0700, &error));
    for (uint32_t s = 0; s < wanted->shards_count; s++) {
        char *path = ab_version_shard_path(root, directory, s);
        directory->shards[s] = shard_make(path, s);
        ab_delete(path);
    }
    ab_delete(parent);
}

struct ab_json *version_make(const char *root, const struct version_wanted *wanted)
{
    struct ab_version_manifest manifest = {.view = ab_new_text(wanted->view),
        .definition_version = wanted->definition_version,
        .uid = wanted->uid,
        .cut = wanted->cut,
        .shards_count = wanted->shards_count,
        .horizon_us = INT64_MIN,
        .directories_count = wanted->directories_count};
    manifest.directories = ab_new_array(struct ab_version_directory, wanted->directories_count);
    uint64_t first_to = wanted->directories_count == 2 ? wanted->cut - 1 : wanted->cut;
    directory_make(root, wanted, 1, first_to, &manifest.directories[0]);
    if (wanted->directories_count == 2) {
        directory_make(root, wanted, wanted->cut, wanted->cut, &manifest.directories[1]);
    }
    struct ab_json *json = ab_version_manifest_encode(&manifest);
    ab_version_manifest_fini(&manifest);
    return json;
}

char *version_text(const char *root, const struct version_wanted *wanted)
{
    struct ab_buffer text = {0};
    struct ab_json *json = version_make(root, wanted);
    ab_json_write(json, 0, &text);
    char *copy = ab_new_text(ab_buffer_text(&text));
    ab_json_destroy(json);
    ab_buffer_fini(&text);
    return copy;
}
