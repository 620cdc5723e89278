#include "common/store/rocks.h"
#include "common/store/directory_manifest.h"

#include "common/base/file.h"
#include "common/base/logging.h"

#include <inttypes.h>

/* A file is left for the next one at this size; how many rows lie between two looks at it. */
enum { WRITER_FILE_BYTES = 128 << 20, WRITER_ROWS_BETWEEN_LOOKS = 4096, WRITER_BLOCK_BYTES = 16384 };

struct ab_version_writer {
    char *directory; /* owned */
    rocksdb_options_t *options;
    rocksdb_envoptions_t *env;
    rocksdb_sstfilewriter_t *file; /* owned; NULL between files */
    char **paths;                  /* owned; of the files so far */
    size_t paths_count;
    struct ab_directory_manifest manifest;
    struct ab_buffer last_key;
    struct ab_buffer scratch;
};

static void writer_free(struct ab_version_writer *writer)
{
    if (writer->file != NULL) {
        rocksdb_sstfilewriter_destroy(writer->file);
    }
    for (size_t i = 0; i < writer->paths_count; i++) {
        ab_delete(writer->paths[i]);
    }
    ab_delete(writer->paths);
    rocksdb_envoptions_destroy(writer->env);
    rocksdb_options_destroy(writer->options);
    ab_directory_manifest_fini(&writer->manifest);
    ab_buffer_fini(&writer->last_key);
    ab_buffer_fini(&writer->scratch);
    ab_delete(writer->directory);
    ab_delete(writer);
}

/* Empties what an unfinished attempt left; a finished directory is never touched. */
static ab_err directory_prepare(const char *directory, struct ab_error *error)
{
    char *manifest = ab_new_format("%s/manifest.json", directory);
    bool is_finished = ab_file_exists(manifest);
    ab_delete(manifest);
    if (is_finished) {
        return ab_error_set(error, AB_EXISTS, "version %s is finished already", directory);
    }
    AB_TRY(ab_file_remove_tree(directory, error));
    return ab_file_make_directory(directory, 0700, error);
}

ab_err ab_version_writer_create(const char *directory, struct ab_version_writer **writer, struct ab_error *error)
{
    AB_TRY(directory_prepare(directory, error));
    struct ab_version_writer *created = ab_new(struct ab_version_writer);
    created->directory = ab_new_text(directory);
    created->options = ab_rocks_options(NULL);
    ab_rocks_options_table(created->options, NULL, WRITER_BLOCK_BYTES);
    ab_rocks_options_version(created->options);
    created->env = rocksdb_envoptions_create();
    *writer = created;
    return AB_OK;
}

/* ---- files ---- */

static ab_err file_begin(struct ab_version_writer *writer, struct ab_error *error)
{
    char *path = ab_new_format("%s/staged-%06zu.sst", writer->directory, writer->paths_count);
    char *message = NULL;
    writer->file = rocksdb_sstfilewriter_create(writer->env, writer->options);
    rocksdb_sstfilewriter_open(writer->file, path, &message);
    if (message != NULL) {
        ab_delete(path);
        return ab_rocks_error(message, "create a file of a version", error);
    }
    writer->paths = ab_renew_bytes(writer->paths, (writer->paths_count + 1) * sizeof(*writer->paths));
    writer->paths[writer->paths_count++] = path;
    return AB_OK;
}

static ab_err file_end(struct ab_version_writer *writer, struct ab_error *error)
{
    if (writer->file == NULL) {
        return AB_OK;
    }
    char *message = NULL;
    rocksdb_sstfilewriter_finish(writer->file, &message);
    rocksdb_sstfilewriter_destroy(writer->file);
    writer->file = NULL;
    return message == NULL ? AB_OK : ab_rocks_error(message, "finish a file of a version", error);
}

static bool file_is_full(const struct ab_version_writer *writer)
{
    uint64_t bytes = 0;
    if (writer->file != NULL && writer->manifest.summary.rows_count % WRITER_ROWS_BETWEEN_LOOKS == 0) {
        rocksdb_sstfilewriter_file_size(writer->file, &bytes);
    }
    return bytes >= WRITER_FILE_BYTES;
}

ab_err ab_version_writer_add(
    struct ab_version_writer *writer, struct ab_bytes key, struct ab_bytes value, struct ab_error *error)
{
    struct ab_version_summary *summary = &writer->manifest.summary;
    if (summary->rows_count > 0 && ab_bytes_compare(ab_buffer_view(&writer->last_key), key) >= 0) {
        return ab_error_set(error, AB_USAGE, "version %s: keys do not rise", writer->directory);
    }
    if (file_is_full(writer)) {
        AB_TRY(file_end(writer, error));
    }
    if (writer->file == NULL) {
        AB_TRY(file_begin(writer, error));
    }
    char *message = NULL;
    rocksdb_sstfilewriter_put(writer->file, key.bytes == 0 ? "" : (const char *)key.data, key.bytes,
        value.bytes == 0 ? "" : (const char *)value.data, value.bytes, &message);
    if (message != NULL) {
        return ab_rocks_error(message, "write a version", error);
    }
    ab_version_digest_add(&summary->content, &writer->scratch, key, value);
    summary->rows_count++;
    ab_buffer_clear(&writer->last_key);
    ab_buffer_put_bytes(&writer->last_key, key);
    return AB_OK;
}

/* ---- finishing ---- */

/* Moves the files into a new database and closes it. */
static ab_err database_build(struct ab_version_writer *writer, struct ab_error *error)
{
    char *message = NULL;
    rocksdb_options_set_create_if_missing(writer->options, 1);
    rocksdb_t *database = rocksdb_open(writer->options, writer->directory, &message);
    if (message != NULL) {
        return ab_rocks_error(message, "create the database of a version", error);
    }
    rocksdb_ingestexternalfileoptions_t *options = rocksdb_ingestexternalfileoptions_create();
    rocksdb_ingestexternalfileoptions_set_move_files(options, 1);
    rocksdb_ingest_external_file(database, (const char *const *)writer->paths, writer->paths_count, options, &message);
    rocksdb_ingestexternalfileoptions_destroy(options);
    rocksdb_close(database);
    return message == NULL ? AB_OK : ab_rocks_error(message, "ingest a version", error);
}

/* True for what RocksDB leaves behind and a reader does not need: its lock, its text log, its empty write-ahead log. */
static bool name_is_clutter(const char *name)
{
    size_t length = strlen(name);
    return strcmp(name, "LOCK") == 0 || strncmp(name, "LOG", 3) == 0 ||
           (length > 4 && strcmp(name + length - 4, ".log") == 0);
}

static ab_err clutter_remove(const char *directory, struct ab_error *error)
{
    char **names = NULL;
    size_t count = 0;
    AB_TRY(ab_file_list(directory, &names, &count, error));
    ab_err err = AB_OK;
    for (size_t i = 0; i < count && err == AB_OK; i++) {
        if (name_is_clutter(names[i])) {
            char *path = ab_new_format("%s/%s", directory, names[i]);
            err = ab_file_remove_tree(path, error);
            ab_delete(path);
        }
    }
    ab_file_names_free(names, count);
    return err;
}

static ab_err writer_complete(struct ab_version_writer *writer, struct ab_error *error)
{
    AB_TRY(file_end(writer, error));
    if (writer->paths_count > 0) {
        AB_TRY(database_build(writer, error));
        AB_TRY(clutter_remove(writer->directory, error));
    }
    AB_TRY(ab_directory_manifest_collect(writer->directory, &writer->manifest, error));
    ab_err err = ab_file_sync_directory(writer->directory);
    if (err != AB_OK) {
        return ab_error_set(error, err, "sync %s: %s", writer->directory, ab_err_text(err));
    }
    return ab_directory_manifest_write(writer->directory, &writer->manifest, error);
}

ab_err ab_version_writer_finish(
    struct ab_version_writer *writer, struct ab_version_summary *summary, struct ab_error *error)
{
    ab_err err = writer_complete(writer, error);
    if (err != AB_OK) {
        ab_version_writer_abandon(writer);
        return ab_error_wrap(error, err, "finish a version");
    }
    *summary = writer->manifest.summary;
    writer_free(writer);
    return AB_OK;
}

void ab_version_writer_abandon(struct ab_version_writer *writer)
{
    if (writer == NULL) {
        return;
    }
    if (writer->file != NULL) {
        rocksdb_sstfilewriter_destroy(writer->file);
        writer->file = NULL;
    }
    struct ab_error error = {0};
    if (ab_file_remove_tree(writer->directory, &error) != AB_OK) {
        /* Without a manifest it does not exist, and a later attempt clears it. */
        ab_warn("version left half written", "%s", error.text);
    }
    writer_free(writer);
}
