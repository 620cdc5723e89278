#include "common/store/rocks.h"

enum { ROCKS_BLOOM_BITS = 10, ROCKS_LOG_LEVEL_ERROR = 3, ROCKS_OPEN_FILES = 256 };

/* ---- the cache of a process ---- */

struct ab_store_cache *ab_store_cache_create(size_t bytes, int background_threads)
{
    struct ab_store_cache *cache = ab_new(struct ab_store_cache);
    cache->cache = rocksdb_cache_create_lru(bytes);
    cache->env = rocksdb_create_default_env();
    rocksdb_env_set_background_threads(cache->env, background_threads);
    rocksdb_env_set_high_priority_background_threads(cache->env, 1);
    return cache;
}

void ab_store_cache_destroy(struct ab_store_cache *cache)
{
    if (cache == NULL) {
        return;
    }
    rocksdb_cache_destroy(cache->cache);
    rocksdb_env_destroy(cache->env);
    ab_delete(cache);
}

/* ---- options ---- */

rocksdb_options_t *ab_rocks_options(const struct ab_store_cache *cache)
{
    rocksdb_options_t *options = rocksdb_options_create();
    if (cache != NULL) {
        rocksdb_options_set_env(options, cache->env);
    }
    rocksdb_options_set_paranoid_checks(options, 1);
    rocksdb_options_set_max_open_files(options, ROCKS_OPEN_FILES);
    rocksdb_options_set_info_log_level(options, ROCKS_LOG_LEVEL_ERROR);
    rocksdb_options_set_keep_log_file_num(options, 2);
    rocksdb_options_set_max_log_file_size(options, 1 << 20);
    rocksdb_options_set_stats_dump_period_sec(options, 0);
    rocksdb_options_set_stats_persist_period_sec(options, 0);
    rocksdb_options_set_write_buffer_size(options, 1 << 20); /* nothing is written through it */
    return options;
}

void ab_rocks_options_table(rocksdb_options_t *options, const struct ab_store_cache *cache, size_t block_bytes)
{
    rocksdb_block_based_table_options_t *table = rocksdb_block_based_options_create();
    rocksdb_block_based_options_set_block_size(table, block_bytes);
    rocksdb_block_based_options_set_filter_policy(table, rocksdb_filterpolicy_create_bloom_full(ROCKS_BLOOM_BITS));
    if (cache != NULL) {
        rocksdb_block_based_options_set_block_cache(table, cache->cache);
        rocksdb_block_based_options_set_cache_index_and_filter_blocks(table, 1);
        rocksdb_block_based_options_set_cache_index_and_filter_blocks_with_high_priority(table, 1);
    } else {
        rocksdb_block_based_options_set_no_block_cache(table, 1);
    }
    rocksdb_options_set_block_based_table_factory(options, table);
    rocksdb_block_based_options_destroy(table);
}

void ab_rocks_options_state(rocksdb_options_t *options)
{
    const int far_away = 1 << 20;
    rocksdb_options_set_compaction_style(options, rocksdb_universal_compaction);
    rocksdb_options_set_level0_file_num_compaction_trigger(options, 8);
    rocksdb_options_set_level0_slowdown_writes_trigger(options, far_away);
    rocksdb_options_set_level0_stop_writes_trigger(options, far_away);
    rocksdb_options_set_soft_pending_compaction_bytes_limit(options, 0);
    rocksdb_options_set_hard_pending_compaction_bytes_limit(options, 0);
    rocksdb_options_set_compression(options, rocksdb_no_compression);
    rocksdb_options_set_avoid_unnecessary_blocking_io(options, 1);
}

void ab_rocks_options_version(rocksdb_options_t *options)
{
    rocksdb_options_set_compression(options, rocksdb_lz4_compression);
    rocksdb_options_set_disable_auto_compactions(options, 1);
}

/* ---- errors ---- */

static ab_err code_of(const char *message)
{
    static const struct {
        const char *part;
        ab_err code;
    } known[] = {
        {"No space left on device", AB_NO_SPACE},
        {"Disk quota exceeded", AB_NO_SPACE},
        {"Column family dropped", AB_NOT_FOUND},
        {"lock hold by current process", AB_BUSY},
        {"Resource temporarily unavailable", AB_BUSY},
        {"No locks available", AB_BUSY},
        {"Corruption", AB_CORRUPT},
    };
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (strstr(message, known[i].part) != NULL) {
            return known[i].code;
        }
    }
    return AB_IO;
}

ab_err ab_rocks_error(char *message, const char *what, struct ab_error *error)
{
    ab_err err = ab_error_set(error, code_of(message), "%s: %s", what, message);
    rocksdb_free(message);
    return err;
}

/* ---- scans ---- */

void ab_rocks_scan_open(struct ab_rocks_scan *scan, rocksdb_t *database, rocksdb_column_family_handle_t *family,
    struct ab_bytes from, struct ab_bytes until)
{
    *scan = (struct ab_rocks_scan){.options = rocksdb_readoptions_create()};
    rocksdb_readoptions_set_background_purge_on_iterator_cleanup(scan->options, 1);
    if (until.bytes > 0) {
        scan->until = ab_new_text_of(until);
        rocksdb_readoptions_set_iterate_upper_bound(scan->options, scan->until, until.bytes);
    }
    scan->iterator = family == NULL ? rocksdb_create_iterator(database, scan->options)
                                    : rocksdb_create_iterator_cf(database, scan->options, family);
    rocksdb_iter_seek(scan->iterator, from.bytes == 0 ? "" : (const char *)from.data, from.bytes);
}

void ab_rocks_scan_close(struct ab_rocks_scan *scan)
{
    if (scan->iterator != NULL) {
        rocksdb_iter_destroy(scan->iterator);
        rocksdb_readoptions_destroy(scan->options);
        ab_delete(scan->until);
    }
    *scan = (struct ab_rocks_scan){0};
}

ab_err ab_rocks_scan_next(
    struct ab_rocks_scan *scan, struct ab_bytes *key, struct ab_bytes *value, struct ab_error *error)
{
    if (scan->is_started && rocksdb_iter_valid(scan->iterator)) {
        rocksdb_iter_next(scan->iterator);
    }
    scan->is_started = true;
    if (!rocksdb_iter_valid(scan->iterator)) {
        char *message = NULL;
        rocksdb_iter_get_error(scan->iterator, &message);
        return message == NULL ? AB_END : ab_rocks_error(message, "iterate", error);
    }
    size_t key_bytes = 0;
    size_t value_bytes = 0;
    const char *key_data = rocksdb_iter_key(scan->iterator, &key_bytes);
    const char *value_data = rocksdb_iter_value(scan->iterator, &value_bytes);
    *key = ab_bytes_of(key_data, key_bytes);
    *value = ab_bytes_of(value_data, value_bytes);
    return AB_OK;
}

void ab_rocks_scan_seek(struct ab_rocks_scan *scan, struct ab_bytes key)
{
    if (!rocksdb_iter_valid(scan->iterator)) {
        return;
    }
    size_t current_bytes = 0;
    const char *current = rocksdb_iter_key(scan->iterator, &current_bytes);
    if (ab_bytes_compare(ab_bytes_of(current, current_bytes), key) < 0) {
        rocksdb_iter_seek(scan->iterator, (const char *)key.data, key.bytes);
        scan->is_started = false;
    }
}
