#include "common/store/rocks.h"
#include "common/store/directory_manifest.h"

enum { READER_BLOCK_BYTES = 16384 };

struct ab_version_reader {
    struct ab_directory_manifest manifest;
    rocksdb_options_t *options;
    rocksdb_readoptions_t *read_options;
    rocksdb_t *database; /* owned; NULL when the version has no rows */
};

struct ab_version_iterator {
    bool is_empty; /* there is no database to iterate */
    struct ab_rocks_scan scan;
};

/* Reads every row and compares rows and digest with the manifest. */
static ab_err content_verify(struct ab_version_reader *reader, const char *directory, struct ab_error *error)
{
    struct ab_version_iterator *iterator = NULL;
    struct ab_bytes everything = {0};
    AB_TRY(ab_version_iterator_open(reader, everything, everything, &iterator, error));
    struct ab_buffer scratch = {0};
    struct ab_version_summary found = {0};
    struct ab_bytes key;
    struct ab_bytes value;
    ab_err err;
    while ((err = ab_version_iterator_next(iterator, &key, &value, error)) == AB_OK) {
        ab_version_digest_add(&found.content, &scratch, key, value);
        found.rows_count++;
    }
    ab_buffer_fini(&scratch);
    ab_version_iterator_close(iterator);
    if (err != AB_END) {
        return err;
    }
    const struct ab_version_summary *summary = &reader->manifest.summary;
    if (found.rows_count != summary->rows_count || !ab_hash128_equal(found.content, summary->content)) {
        return ab_error_set(error, AB_CORRUPT, "version %s: rows or digest differ from the manifest", directory);
    }
    return AB_OK;
}

static ab_err database_open(
    struct ab_version_reader *reader, const char *directory, struct ab_store_cache *cache, struct ab_error *error)
{
    if (reader->manifest.summary.rows_count == 0) {
        return AB_OK;
    }
    char *message = NULL;
    ab_rocks_options_table(reader->options, cache, READER_BLOCK_BYTES);
    ab_rocks_options_version(reader->options);
    reader->database = rocksdb_open_for_read_only(reader->options, directory, 0, &message);
    if (message == NULL) {
        return AB_OK;
    }
    reader->database = NULL;
    return ab_rocks_error(message, "open a version", error);
}

ab_err ab_version_reader_open(const char *directory, struct ab_store_cache *cache, bool verify,
    struct ab_version_reader **reader, struct ab_error *error)
{
    struct ab_version_reader *opened = ab_new(struct ab_version_reader);
    opened->options = ab_rocks_options(cache);
    opened->read_options = rocksdb_readoptions_create();
    ab_err err = ab_directory_manifest_read(directory, &opened->manifest, error);
    if (err == AB_OK) {
        err = ab_directory_manifest_check(directory, &opened->manifest, verify, error);
    }
    if (err == AB_OK) {
        err = database_open(opened, directory, cache, error);
    }
    if (err == AB_OK && verify) {
        err = content_verify(opened, directory, error);
    }
    if (err != AB_OK) {
        ab_version_reader_close(opened);
        return err;
    }
    *reader = opened;
    return AB_OK;
}

void ab_version_reader_close(struct ab_version_reader *reader)
{
    if (reader == NULL) {
        return;
    }
    if (reader->database != NULL) {
        rocksdb_close(reader->database);
    }
    rocksdb_readoptions_destroy(reader->read_options);
    rocksdb_options_destroy(reader->options);
    ab_directory_manifest_fini(&reader->manifest);
    ab_delete(reader);
}

void ab_version_reader_summary(const struct ab_version_reader *reader, struct ab_version_summary *summary)
{
    *summary = reader->manifest.summary;
}

ab_err ab_version_summary_read(const char *directory, struct ab_version_summary *summary, struct ab_error *error)
{
    struct ab_directory_manifest manifest = {0};
    AB_TRY(ab_directory_manifest_read(directory, &manifest, error));
    ab_err err = ab_directory_manifest_check(directory, &manifest, false, error);
    if (err == AB_OK) {
        *summary = manifest.summary;
    }
    ab_directory_manifest_fini(&manifest);
    return err;
}

ab_err ab_version_files(const char *directory, char ***names, size_t *count, struct ab_error *error)
{
    struct ab_directory_manifest manifest = {0};
    AB_TRY(ab_directory_manifest_read(directory, &manifest, error));
    char **made = ab_new_array(char *, manifest.files_count + 1);
    for (size_t i = 0; i < manifest.files_count; i++) {
        made[i] = ab_new_text(manifest.files[i].name);
    }
    made[manifest.files_count] = ab_new_text(AB_VERSION_MANIFEST);
    *count = manifest.files_count + 1;
    *names = made;
    ab_directory_manifest_fini(&manifest);
    return AB_OK;
}

ab_err ab_version_reader_get(
    struct ab_version_reader *reader, struct ab_bytes key, struct ab_buffer *out, struct ab_error *error)
{
    if (reader->database == NULL) {
        return AB_NOT_FOUND;
    }
    char *message = NULL;
    rocksdb_pinnableslice_t *slice =
        rocksdb_get_pinned(reader->database, reader->read_options, (const char *)key.data, key.bytes, &message);
    if (message != NULL) {
        return ab_rocks_error(message, "get from a version", error);
    }
    if (slice == NULL) {
        return AB_NOT_FOUND;
    }
    size_t bytes = 0;
    const char *value = rocksdb_pinnableslice_value(slice, &bytes);
    ab_buffer_put(out, value, bytes);
    rocksdb_pinnableslice_destroy(slice);
    return ab_buffer_finish(out);
}

ab_err ab_version_iterator_open(struct ab_version_reader *reader, struct ab_bytes from, struct ab_bytes until,
    struct ab_version_iterator **iterator, struct ab_error *error)
{
    (void)error; /* nothing can fail before the first row is read */
    struct ab_version_iterator *opened = ab_new(struct ab_version_iterator);
    opened->is_empty = reader->database == NULL;
    if (!opened->is_empty) {
        ab_rocks_scan_open(&opened->scan, reader->database, NULL, from, until);
    }
    *iterator = opened;
    return AB_OK;
}

void ab_version_iterator_close(struct ab_version_iterator *iterator)
{
    if (iterator == NULL) {
        return;
    }
    ab_rocks_scan_close(&iterator->scan);
    ab_delete(iterator);
}

ab_err ab_version_iterator_next(
    struct ab_version_iterator *iterator, struct ab_bytes *key, struct ab_bytes *value, struct ab_error *error)
{
    return iterator->is_empty ? AB_END : ab_rocks_scan_next(&iterator->scan, key, value, error);
}

void ab_version_iterator_seek(struct ab_version_iterator *iterator, struct ab_bytes key)
{
    if (!iterator->is_empty) {
        ab_rocks_scan_seek(&iterator->scan, key);
    }
}
