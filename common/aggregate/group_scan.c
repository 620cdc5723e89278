/* Which stored keys a query has to look at: an odometer over [time chunk | pinned leading keys]. */
#include "common/aggregate/group_key.h"

#include "common/base/assert.h"

/* The encodings a pinned key may have, rising. */
struct scan_pin {
    struct ab_buffer bytes;
    size_t *ends; /* owned; end of each encoding in bytes */
    uint32_t count;
};

struct ab_group_scan {
    const struct ab_query *query; /* borrowed */
    struct scan_pin *pins;        /* owned; by view key; count 0 = not pinned */
    uint32_t leading;             /* keys pinned from the first on, without a gap */
    bool is_empty;                /* nothing can match */
    uint32_t chunk_first;
    uint32_t chunk_last;
    ab_time_us pane_first; /* least and greatest pane start that may match */
    ab_time_us pane_last;
};

static struct ab_bytes pin_at(const struct scan_pin *pin, uint32_t i)
{
    size_t start = i == 0 ? 0 : pin->ends[i - 1];
    return ab_bytes_of(pin->bytes.data + start, pin->ends[i] - start);
}

static void pin_init(struct scan_pin *pin, const struct ab_query_pin *source)
{
    if (pin->count > 0) {
        return;
    }
    pin->ends = ab_new_array(size_t, source->values_count);
    pin->count = source->values_count;
    for (uint32_t i = 0; i < source->values_count; i++) {
        ab_key_put(&pin->bytes, &source->values[i]);
        pin->ends[i] = pin->bytes.bytes;
    }
}

static void bounds_init(struct ab_group_scan *scan, ab_time_us hidden_until_us)
{
    const struct ab_query *query = scan->query;
    const struct ab_view *view = query->view;
    if (view->pane_us == 0) {
        return;
    }
    scan->pane_first = query->window_from_us;
    scan->pane_last = INT64_MAX;
    if (query->window_until_us != INT64_MAX) {
        scan->pane_last = ab_period_floor(&view->pane, ab_window_add(query->window_until_us, -1));
    }
    ab_time_us shown = ab_view_first_pane(view, hidden_until_us);
    scan->pane_first = shown > scan->pane_first ? shown : scan->pane_first;
    scan->is_empty |= scan->pane_first > scan->pane_last;
    scan->chunk_first = ab_group_key_chunk(view, scan->pane_first);
    scan->chunk_last = ab_group_key_chunk(view, scan->pane_last);
}

struct ab_group_scan *ab_group_scan_create(const struct ab_query *query, ab_time_us hidden_until_us)
{
    struct ab_group_scan *scan = ab_new(struct ab_group_scan);
    scan->query = query;
    scan->pins = ab_new_array(struct scan_pin, query->view->keys_count);
    for (uint32_t i = 0; i < query->pins_count; i++) {
        const struct ab_query_pin *pin = &query->pins[i];
        scan->is_empty |= pin->values_count == 0;
        pin_init(&scan->pins[pin->key], pin);
    }
    while (scan->leading < query->view->keys_count && scan->pins[scan->leading].count > 0) {
        scan->leading++;
    }
    bounds_init(scan, hidden_until_us);
    return scan;
}

void ab_group_scan_destroy(struct ab_group_scan *scan)
{
    if (scan == NULL) {
        return;
    }
    for (uint32_t k = 0; k < scan->query->view->keys_count; k++) {
        ab_buffer_fini(&scan->pins[k].bytes);
        ab_delete(scan->pins[k].ends);
    }
    ab_delete(scan->pins);
    ab_delete(scan);
}

/* Writes the least key that may match with this chunk, the pins chosen so far (numbers in `chosen`), and the least of
 * each later leading pin. */
static void seek_write(const struct ab_group_scan *scan, uint32_t chunk, const uint32_t *chosen, uint32_t chosen_count,
    struct ab_buffer *seek)
{
    uint32_t big_endian = __builtin_bswap32(chunk);
    ab_buffer_clear(seek);
    ab_buffer_put(seek, &big_endian, sizeof(big_endian));
    for (uint32_t k = 0; k < scan->leading; k++) {
        ab_buffer_put_bytes(seek, pin_at(&scan->pins[k], k < chosen_count ? chosen[k] : 0));
    }
    if (scan->leading == scan->query->view->keys_count) {
        ab_key_put_i64(seek, scan->query->view->pane_us == 0 ? 0 : scan->pane_first);
    }
}

void ab_group_scan_start(const struct ab_group_scan *scan, struct ab_buffer *seek)
{
    seek_write(scan, scan->chunk_first, NULL, 0, seek);
}

/* Where to go when nothing more matches under the first `depth` chosen pins: the next value of the last of them that
 * has one. */
static enum ab_scan_step advance(
    const struct ab_group_scan *scan, uint32_t chunk, uint32_t *chosen, uint32_t depth, struct ab_buffer *seek)
{
    while (depth > 0) {
        depth--;
        if (chosen[depth] + 1 < scan->pins[depth].count) {
            chosen[depth]++;
            seek_write(scan, chunk, chosen, depth + 1, seek);
            return AB_SCAN_SEEK;
        }
    }
    if (chunk >= scan->chunk_last) {
        return AB_SCAN_END;
    }
    seek_write(scan, chunk + 1, NULL, 0, seek);
    return AB_SCAN_SEEK;
}

/* The first of the pin's encodings >= value; count when there is none. */
static uint32_t pin_find(const struct scan_pin *pin, struct ab_bytes value)
{
    uint32_t low = 0;
    uint32_t high = pin->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (ab_bytes_compare(pin_at(pin, middle), value) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* Keys after the leading pins, and the pane: no jumps, only yes or no. */
static enum ab_scan_step judge_rest(const struct ab_group_scan *scan, struct ab_reader *reader)
{
    const struct ab_view *view = scan->query->view;
    for (uint32_t k = scan->leading; k < view->keys_count; k++) {
        const uint8_t *start = reader->at;
        if (ab_key_skip(reader, view->keys[k].type) != AB_OK) {
            return AB_SCAN_MATCH;
        }
        struct ab_bytes value = ab_bytes_of(start, (size_t)(reader->at - start));
        const struct scan_pin *pin = &scan->pins[k];
        if (pin->count > 0) {
            uint32_t found = pin_find(pin, value);
            if (found == pin->count || !ab_bytes_equal(pin_at(pin, found), value)) {
                return AB_SCAN_NEXT;
            }
        }
    }
    if (view->pane_us == 0 || ab_reader_left(reader) != sizeof(int64_t)) {
        return AB_SCAN_MATCH;
    }
    ab_time_us pane = ab_key_take_i64(reader);
    return pane < scan->pane_first || pane > scan->pane_last ? AB_SCAN_NEXT : AB_SCAN_MATCH;
}

enum ab_scan_step ab_group_scan_judge(const struct ab_group_scan *scan, struct ab_bytes key, struct ab_buffer *seek)
{
    const struct ab_view *view = scan->query->view;
    if (scan->is_empty) {
        return AB_SCAN_END;
    }
    struct ab_reader reader = ab_reader_of(key);
    uint32_t chunk = __builtin_bswap32(ab_reader_u32(&reader));
    if (reader.has_failed) {
        return AB_SCAN_MATCH;
    }
    if (chunk < scan->chunk_first) {
        seek_write(scan, scan->chunk_first, NULL, 0, seek);
        return AB_SCAN_SEEK;
    }
    if (chunk > scan->chunk_last) {
        return AB_SCAN_END;
    }
    uint32_t chosen[AB_CATALOG_KEYS_MAX] = {0};
    for (uint32_t k = 0; k < scan->leading; k++) {
        const uint8_t *start = reader.at;
        if (ab_key_skip(&reader, view->keys[k].type) != AB_OK) {
            return AB_SCAN_MATCH;
        }
        struct ab_bytes value = ab_bytes_of(start, (size_t)(reader.at - start));
        chosen[k] = pin_find(&scan->pins[k], value);
        if (chosen[k] == scan->pins[k].count) {
            return advance(scan, chunk, chosen, k, seek);
        }
        if (!ab_bytes_equal(pin_at(&scan->pins[k], chosen[k]), value)) {
            seek_write(scan, chunk, chosen, k + 1, seek);
            return AB_SCAN_SEEK;
        }
    }
    enum ab_scan_step step = judge_rest(scan, &reader);
    if (step != AB_SCAN_NEXT || scan->leading < view->keys_count || view->pane_us == 0) {
        return step;
    }
    /* All keys are pinned: panes of one group stand together, so a pane outside the bounds is a jump. */
    ab_time_us pane = 0;
    if (ab_group_key_pane(key, &pane) != AB_OK) {
        return AB_SCAN_MATCH;
    }
    if (pane < scan->pane_first) {
        seek_write(scan, chunk, chosen, scan->leading, seek);
        return AB_SCAN_SEEK;
    }
    return advance(scan, chunk, chosen, scan->leading, seek);
}
