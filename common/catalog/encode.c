/* The stored form of a catalog, little-endian:
 *
 *   "ABC1"  u64 version  u32 next stream id  u32 next view id  u32 next view uid
 *   varint streams: { blob name, u32 id }
 *   varint views:   { blob name, u32 id, u32 definition version, u32 uid }
 *   blob text       u64 u64 hash of all before (AB_HASH_CATALOG, low then high)
 *
 * The text gives everything else back. Another first four bytes are another format, which this reader refuses. */
#include "common/catalog/check.h"

#include "common/base/buffer.h"

static const char magic[4] = {'A', 'B', 'C', '1'};

void ab_catalog_encode(const struct ab_catalog *catalog, struct ab_buffer *out)
{
    const struct ab_catalog_private *part = catalog->private_part;
    size_t start = out->bytes;
    ab_buffer_put(out, magic, sizeof(magic));
    ab_buffer_put_u64(out, catalog->version);
    ab_buffer_put_u32(out, part->next_stream_id);
    ab_buffer_put_u32(out, part->next_view_id);
    ab_buffer_put_u32(out, part->next_view_uid);
    ab_buffer_put_varint(out, catalog->streams_count);
    for (uint32_t i = 0; i < catalog->streams_count; i++) {
        ab_buffer_put_blob(out, ab_bytes_of_text(catalog->streams[i].name));
        ab_buffer_put_u32(out, catalog->streams[i].id);
    }
    ab_buffer_put_varint(out, catalog->views_count);
    for (uint32_t i = 0; i < catalog->views_count; i++) {
        ab_buffer_put_blob(out, ab_bytes_of_text(catalog->views[i].name));
        ab_buffer_put_u32(out, catalog->views[i].id);
        ab_buffer_put_u32(out, catalog->views[i].definition_version);
        ab_buffer_put_u32(out, catalog->views[i].uid);
    }
    ab_buffer_put_blob(out, ab_bytes_of_text(catalog->text));
    if (!out->has_failed) {
        struct ab_hash128 hash = ab_hash128(AB_HASH_CATALOG, ab_bytes_of(out->data + start, out->bytes - start));
        ab_buffer_put_u64(out, hash.low);
        ab_buffer_put_u64(out, hash.high);
    }
}

/* Splits off the hash at the end and checks it; `body` gets what it covers, after the magic. */
static ab_err frame_decode(struct ab_bytes bytes, struct ab_reader *body)
{
    struct ab_hash128 stored;
    size_t tail = sizeof(stored.low) + sizeof(stored.high);
    if (bytes.bytes < sizeof(magic) + tail || memcmp(bytes.data, magic, sizeof(magic)) != 0) {
        return AB_CORRUPT;
    }
    struct ab_bytes covered = ab_bytes_of(bytes.data, bytes.bytes - tail);
    struct ab_reader reader = ab_reader_of(ab_bytes_of(bytes.data + covered.bytes, tail));
    stored.low = ab_reader_u64(&reader);
    stored.high = ab_reader_u64(&reader);
    if (!ab_hash128_equal(stored, ab_hash128(AB_HASH_CATALOG, covered))) {
        return AB_CORRUPT;
    }
    *body = ab_reader_of(ab_bytes_of(bytes.data + sizeof(magic), covered.bytes - sizeof(magic)));
    return AB_OK;
}

static ab_err streams_decode(struct ab_reader *reader, struct ab_catalog *catalog)
{
    if (ab_reader_varint(reader) != catalog->streams_count) {
        return AB_CORRUPT;
    }
    for (uint32_t i = 0; i < catalog->streams_count; i++) {
        struct ab_bytes name = ab_reader_blob(reader);
        uint32_t id = ab_reader_u32(reader);
        if (reader->has_failed || !ab_bytes_equal(name, ab_bytes_of_text(catalog->streams[i].name)) || id == 0 ||
            id >= catalog->private_part->next_stream_id) {
            return AB_CORRUPT;
        }
        catalog->streams[i].id = id;
    }
    return AB_OK;
}

static ab_err views_decode(struct ab_reader *reader, struct ab_catalog *catalog)
{
    const struct ab_catalog_private *part = catalog->private_part;
    if (ab_reader_varint(reader) != catalog->views_count) {
        return AB_CORRUPT;
    }
    for (uint32_t i = 0; i < catalog->views_count; i++) {
        struct ab_view *view = &catalog->views[i];
        struct ab_bytes name = ab_reader_blob(reader);
        view->id = ab_reader_u32(reader);
        view->definition_version = ab_reader_u32(reader);
        view->uid = ab_reader_u32(reader);
        bool is_bad = reader->has_failed || !ab_bytes_equal(name, ab_bytes_of_text(view->name)) || view->id == 0 ||
                      view->id >= part->next_view_id || view->definition_version == 0 || view->uid == 0 ||
                      view->uid >= part->next_view_uid;
        for (uint32_t j = 0; j < i && !is_bad; j++) {
            is_bad = catalog->views[j].uid == view->uid || catalog->views[j].id == view->id;
        }
        if (is_bad) {
            return AB_CORRUPT;
        }
    }
    return AB_OK;
}

/* Passes over the tables: the text behind them comes first, since it says what they must hold. */
static struct ab_bytes text_find(struct ab_reader reader)
{
    uint64_t streams_count = ab_reader_varint(&reader);
    for (uint64_t i = 0; i < streams_count && !reader.has_failed; i++) {
        (void)ab_reader_blob(&reader);
        (void)ab_reader_u32(&reader);
    }
    uint64_t views_count = ab_reader_varint(&reader);
    for (uint64_t i = 0; i < views_count && !reader.has_failed; i++) {
        (void)ab_reader_blob(&reader);
        (void)ab_reader_bytes(&reader, 3 * sizeof(uint32_t));
    }
    struct ab_bytes text = ab_reader_blob(&reader);
    return ab_reader_finish(&reader) == AB_OK ? text : ab_bytes_of(NULL, SIZE_MAX);
}

ab_err ab_catalog_decode(struct ab_bytes bytes, struct ab_catalog **catalog, struct ab_error *error)
{
    struct ab_reader reader;
    if (frame_decode(bytes, &reader) != AB_OK) {
        return ab_error_set(error, AB_CORRUPT, "the stored catalog is damaged");
    }
    uint64_t version = ab_reader_u64(&reader);
    uint32_t next_stream_id = ab_reader_u32(&reader);
    uint32_t next_view_id = ab_reader_u32(&reader);
    uint32_t next_view_uid = ab_reader_u32(&reader);
    struct ab_bytes text = text_find(reader);
    if (reader.has_failed || text.bytes == SIZE_MAX) {
        return ab_error_set(error, AB_CORRUPT, "the stored catalog is damaged");
    }
    struct ab_catalog *made = NULL;
    ab_err code = ab_catalog_parse(text, &made, error);
    if (code != AB_OK) {
        return ab_error_wrap(error, AB_CORRUPT, "the stored catalog cannot be read");
    }
    made->version = version;
    made->private_part->next_stream_id = next_stream_id;
    made->private_part->next_view_id = next_view_id;
    made->private_part->next_view_uid = next_view_uid;
    code = streams_decode(&reader, made);
    if (code == AB_OK) {
        code = views_decode(&reader, made);
    }
    if (code != AB_OK) {
        ab_catalog_release(made);
        return ab_error_set(error, AB_CORRUPT, "the stored catalog's table of ids does not fit its text");
    }
    *catalog = made;
    return AB_OK;
}
