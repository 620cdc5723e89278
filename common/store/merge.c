#include "common/store/rocks.h"

/* What the operator was made with. */
struct merge_context {
    ab_store_merge_fn merge;
    void *context;
};

/* How many operands are handed over without an allocation. */
enum { MERGE_FEW = 16 };

/* Runs the caller's merge over views of RocksDB's arrays. Total: on an error RocksDB is told of failure. */
static char *merge_run(const struct merge_context *merge, struct ab_bytes existing, const char *const *operands,
    const size_t *operands_bytes, int count, unsigned char *success, size_t *result_bytes)
{
    struct ab_bytes few[MERGE_FEW];
    struct ab_bytes *views = count <= MERGE_FEW ? few : ab_new_array(struct ab_bytes, count);
    for (int i = 0; i < count; i++) {
        views[i] = ab_bytes_of(operands[i], operands_bytes[i]);
    }
    struct ab_buffer out = {0};
    ab_err err = merge->merge(existing, views, (size_t)count, &out, merge->context);
    if (err == AB_OK) {
        err = ab_buffer_finish(&out);
    }
    char *result = ab_new_bytes(err == AB_OK ? out.bytes + 1 : 1);
    *success = err == AB_OK;
    *result_bytes = err == AB_OK ? out.bytes : 0;
    if (*result_bytes > 0) {
        memcpy(result, out.data, out.bytes);
    }
    ab_buffer_fini(&out);
    if (views != few) {
        ab_delete(views);
    }
    return result;
}

static char *merge_full(void *context, const char *key, size_t key_bytes, const char *existing, size_t existing_bytes,
    const char *const *operands, const size_t *operands_bytes, int count, unsigned char *success, size_t *result_bytes)
{
    (void)key;
    (void)key_bytes;
    return merge_run(
        context, ab_bytes_of(existing, existing_bytes), operands, operands_bytes, count, success, result_bytes);
}

static char *merge_partial(void *context, const char *key, size_t key_bytes, const char *const *operands,
    const size_t *operands_bytes, int count, unsigned char *success, size_t *result_bytes)
{
    (void)key;
    (void)key_bytes;
    return merge_run(context, (struct ab_bytes){0}, operands, operands_bytes, count, success, result_bytes);
}

static void merge_free(void *context, const char *value, size_t value_bytes)
{
    (void)context;
    (void)value_bytes;
    ab_delete((void *)(uintptr_t)value);
}

static const char *merge_name(void *context)
{
    (void)context;
    return "anabranch.aggregate.1";
}

static void merge_destroy(void *context)
{
    ab_delete(context);
}

rocksdb_mergeoperator_t *ab_rocks_merge_operator(ab_store_merge_fn merge, void *merge_context)
{
    struct merge_context *context = ab_new(struct merge_context);
    *context = (struct merge_context){.merge = merge, .context = merge_context};
    return rocksdb_mergeoperator_create(context, merge_destroy, merge_full, merge_partial, merge_free, merge_name);
}
