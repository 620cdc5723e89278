#include "common/store/operand_file.h"

#include "common/store/rocks.h"

#include <unistd.h>

struct ab_operand_file {
    char *path;                      /* owned */
    rocksdb_options_t *options;      /* owned */
    rocksdb_envoptions_t *env;       /* owned */
    rocksdb_sstfilewriter_t *writer; /* owned */
    struct ab_buffer last_key;
    uint64_t count;
};

typedef void (*operand_add_fn)(rocksdb_sstfilewriter_t *writer, const char *key, size_t key_bytes, const char *value,
    size_t value_bytes, char **message);

enum { OPERAND_BLOCK_BYTES = 4096 };

static void file_free(struct ab_operand_file *file)
{
    rocksdb_sstfilewriter_destroy(file->writer);
    rocksdb_envoptions_destroy(file->env);
    rocksdb_options_destroy(file->options);
    ab_buffer_fini(&file->last_key);
    ab_delete(file->path);
    ab_delete(file);
}

ab_err ab_operand_file_create(const char *path, struct ab_operand_file **file, struct ab_error *error)
{
    struct ab_operand_file *created = ab_new(struct ab_operand_file);
    created->path = ab_new_text(path);
    created->options = ab_rocks_options(NULL);
    ab_rocks_options_table(created->options, NULL, OPERAND_BLOCK_BYTES);
    ab_rocks_options_state(created->options);
    created->env = rocksdb_envoptions_create();
    created->writer = rocksdb_sstfilewriter_create(created->env, created->options);
    char *message = NULL;
    rocksdb_sstfilewriter_open(created->writer, path, &message);
    if (message != NULL) {
        ab_operand_file_abandon(created);
        return ab_rocks_error(message, "create an operand file", error);
    }
    *file = created;
    return AB_OK;
}

static ab_err file_add(struct ab_operand_file *file, struct ab_bytes key, struct ab_bytes value, operand_add_fn add)
{
    if (file->count > 0 && ab_bytes_compare(ab_buffer_view(&file->last_key), key) >= 0) {
        return AB_USAGE;
    }
    char *message = NULL;
    add(file->writer, key.bytes == 0 ? "" : (const char *)key.data, key.bytes,
        value.bytes == 0 ? "" : (const char *)value.data, value.bytes, &message);
    if (message != NULL) {
        return ab_rocks_error(message, "write an operand", NULL);
    }
    ab_buffer_clear(&file->last_key);
    ab_buffer_put_bytes(&file->last_key, key);
    file->count++;
    return ab_buffer_finish(&file->last_key);
}

ab_err ab_operand_file_put(struct ab_operand_file *file, struct ab_bytes key, struct ab_bytes value)
{
    return file_add(file, key, value, rocksdb_sstfilewriter_put);
}

ab_err ab_operand_file_merge(struct ab_operand_file *file, struct ab_bytes key, struct ab_bytes value)
{
    return file_add(file, key, value, rocksdb_sstfilewriter_merge);
}

ab_err ab_operand_file_finish(struct ab_operand_file *file, uint64_t *bytes, struct ab_error *error)
{
    ab_err err = AB_OK;
    char *message = NULL;
    if (file->count == 0) {
        err = ab_error_set(error, AB_USAGE, "an operand file holds at least one key");
    } else {
        rocksdb_sstfilewriter_finish(file->writer, &message);
    }
    if (message != NULL) {
        err = ab_rocks_error(message, "finish an operand file", error);
    }
    if (err != AB_OK) {
        ab_operand_file_abandon(file);
        return err;
    }
    rocksdb_sstfilewriter_file_size(file->writer, bytes);
    file_free(file);
    return AB_OK;
}

void ab_operand_file_abandon(struct ab_operand_file *file)
{
    if (file == NULL) {
        return;
    }
    (void)unlink(file->path); /* absent when creation failed; staging is swept at the next opening anyway */
    file_free(file);
}
