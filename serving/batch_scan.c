#include "serving/batch_scan.h"

#define ROWS_BETWEEN_CLOCKS 4096u

static ab_err iterator_scan(struct ab_version_iterator *iterator, const struct ab_group_scan *scan,
    struct ab_buffer *seek, int64_t deadline_us, struct ab_rollup *rollup, struct ab_error *error)
{
    struct ab_bytes key;
    struct ab_bytes value;
    uint32_t rows = 0;
    ab_err err = AB_OK;
    while ((err = ab_version_iterator_next(iterator, &key, &value, error)) == AB_OK) {
        if (++rows % ROWS_BETWEEN_CLOCKS == 0 && ab_time_monotonic_us() > deadline_us) {
            return ab_error_set(error, AB_TIMEOUT, "the deadline passed while scanning the batch version");
        }
        switch (ab_group_scan_judge(scan, key, seek)) {
        case AB_SCAN_MATCH:
            AB_TRY(ab_rollup_add(rollup, key, value));
            break;
        case AB_SCAN_NEXT:
            break;
        case AB_SCAN_SEEK:
            ab_version_iterator_seek(iterator, ab_buffer_view(seek));
            break;
        case AB_SCAN_END:
            return AB_OK;
        }
    }
    return err == AB_END ? AB_OK : err;
}

static ab_err reader_scan(struct ab_version_reader *reader, const struct ab_group_scan *scan, int64_t deadline_us,
    struct ab_rollup *rollup, struct ab_error *error)
{
    struct ab_buffer seek = {0};
    struct ab_version_iterator *iterator = NULL;
    ab_group_scan_start(scan, &seek);
    ab_err err = ab_version_iterator_open(reader, ab_buffer_view(&seek), (struct ab_bytes){0}, &iterator, error);
    if (err == AB_OK) {
        err = iterator_scan(iterator, scan, &seek, deadline_us, rollup, error);
    }
    ab_version_iterator_close(iterator);
    ab_buffer_fini(&seek);
    return err;
}

ab_err ab_batch_scan(const struct ab_served_version *version, const struct ab_query *query, const bool *wanted_shards,
    int64_t deadline_us, struct ab_rollup *rollup, struct ab_error *error)
{
    const struct ab_version_manifest *manifest = ab_served_version_manifest(version);
    struct ab_group_scan *scan = ab_group_scan_create(query, manifest->horizon_us);
    ab_err err = AB_OK;
    for (uint32_t d = 0; d < manifest->directories_count && err == AB_OK; d++) {
        for (uint32_t s = 0; s < manifest->shards_count && err == AB_OK; s++) {
            if (wanted_shards[s] && manifest->directories[d].shards[s].rows_count > 0) {
                err = reader_scan(ab_served_version_reader(version, d, s), scan, deadline_us, rollup, error);
                if (err != AB_OK) {
                    err = ab_error_wrap(error, err, "%s, shard %u", manifest->directories[d].path, s);
                }
            }
        }
    }
    ab_group_scan_destroy(scan);
    return err;
}
