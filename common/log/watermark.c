#include "common/log/watermark.h"

#include "common/base/file.h"
#include "common/base/logging.h"

static const uint8_t watermark_magic[4] = {'A', 'B', 'W', '1'};

enum {
    WATERMARK_FORMAT_VERSION = 1,
    WATERMARK_FLAG_BEGIN = 1,
    WATERMARK_FLAG_RESETTING = 2,
    WATERMARK_BYTES_MIN = 16, /* magic, version, flags, checksum */
};

char *ab_watermark_path(const char *directory)
{
    return ab_new_format("%s/watermark", directory);
}

void ab_watermark_encode(
    const struct ab_watermark *watermark, const struct ab_log_options *options, struct ab_buffer *out)
{
    size_t start = out->bytes;
    unsigned flags = (watermark->begin.is_known ? WATERMARK_FLAG_BEGIN : 0u) |
                     (watermark->is_resetting ? WATERMARK_FLAG_RESETTING : 0u);
    ab_buffer_put(out, watermark_magic, sizeof(watermark_magic));
    ab_buffer_put_u16(out, WATERMARK_FORMAT_VERSION);
    ab_buffer_put_u16(out, (uint16_t)flags);
    ab_buffer_put_u32(out, options->partition);
    ab_buffer_put_u32(out, 0);
    ab_buffer_put(out, options->cluster_id, sizeof(options->cluster_id));
    ab_buffer_put_u64(out, watermark->durable_offset);
    ab_buffer_put_u64(out, watermark->damaged_until);
    ab_buffer_put_u64(out, watermark->begin.offset);
    ab_buffer_put_u64(out, watermark->begin.epoch);
    ab_buffer_put_u64(out, watermark->begin.chain.low);
    ab_buffer_put_u64(out, watermark->begin.chain.high);
    if (!out->has_failed) {
        ab_buffer_put_u64(out, ab_hash64(AB_HASH_CONTENT, ab_bytes_of(out->data + start, out->bytes - start)));
    }
}

ab_err ab_watermark_decode(struct ab_bytes bytes, const struct ab_log_options *options, struct ab_watermark *watermark)
{
    if (bytes.bytes < WATERMARK_BYTES_MIN || memcmp(bytes.data, watermark_magic, sizeof(watermark_magic)) != 0) {
        return AB_CORRUPT;
    }
    struct ab_bytes front = ab_bytes_of(bytes.data, bytes.bytes - sizeof(uint64_t));
    struct ab_reader tail = ab_reader_of(ab_bytes_of(bytes.data + front.bytes, sizeof(uint64_t)));
    if (ab_reader_u64(&tail) != ab_hash64(AB_HASH_CONTENT, front)) {
        return AB_CORRUPT;
    }
    struct ab_reader reader =
        ab_reader_of(ab_bytes_of(front.data + sizeof(watermark_magic), front.bytes - sizeof(watermark_magic)));
    if (ab_reader_u16(&reader) > WATERMARK_FORMAT_VERSION) {
        return AB_UNSUPPORTED;
    }
    if (bytes.bytes != AB_WATERMARK_BYTES) {
        return AB_CORRUPT;
    }
    unsigned flags = ab_reader_u16(&reader);
    uint32_t partition = ab_reader_u32(&reader);
    uint32_t reserved = ab_reader_u32(&reader);
    struct ab_bytes cluster_id = ab_reader_bytes(&reader, sizeof(options->cluster_id));
    struct ab_watermark read = {.durable_offset = ab_reader_u64(&reader)};
    read.damaged_until = ab_reader_u64(&reader);
    read.begin.is_known = (flags & WATERMARK_FLAG_BEGIN) != 0;
    read.begin.offset = ab_reader_u64(&reader);
    read.begin.epoch = ab_reader_u64(&reader);
    read.begin.chain.low = ab_reader_u64(&reader);
    read.begin.chain.high = ab_reader_u64(&reader);
    read.is_resetting = (flags & WATERMARK_FLAG_RESETTING) != 0;
    if ((flags & ~(unsigned)(WATERMARK_FLAG_BEGIN | WATERMARK_FLAG_RESETTING)) != 0) {
        return AB_UNSUPPORTED;
    }
    if (reserved != 0 || (read.is_resetting && !read.begin.is_known)) {
        return AB_CORRUPT;
    }
    if (partition != options->partition ||
        memcmp(cluster_id.data, options->cluster_id, sizeof(options->cluster_id)) != 0) {
        return AB_MISMATCH;
    }
    *watermark = read;
    return AB_OK;
}

ab_err ab_watermark_load(
    const char *directory, const struct ab_log_options *options, struct ab_watermark *watermark, struct ab_error *error)
{
    struct ab_watermark read = {0};
    char *path = ab_watermark_path(directory);
    ab_err err = AB_OK;
    if (ab_file_exists(path)) {
        struct ab_buffer bytes = {0};
        err = ab_file_read_all(path, &bytes, error);
        ab_err decoded = err == AB_OK ? ab_watermark_decode(ab_buffer_view(&bytes), options, &read) : AB_OK;
        if (decoded == AB_UNSUPPORTED) {
            err = ab_error_set(error, AB_UNSUPPORTED, "%s is of a newer format", path);
        } else if (decoded != AB_OK) {
            ab_warn(
                "watermark of a log is not readable, its records alone count", "%s: %s", path, ab_err_text(decoded));
        }
        ab_buffer_fini(&bytes);
    }
    ab_delete(path);
    if (err == AB_OK) {
        *watermark = read;
    }
    return err;
}

ab_err ab_watermark_store(const char *directory, const struct ab_log_options *options,
    const struct ab_watermark *watermark, struct ab_error *error)
{
    struct ab_buffer bytes = {0};
    ab_watermark_encode(watermark, options, &bytes);
    char *path = ab_watermark_path(directory);
    ab_err err = ab_file_replace(path, ab_buffer_view(&bytes), 0600, error);
    ab_delete(path);
    ab_buffer_fini(&bytes);
    return err == AB_OK ? AB_OK : ab_error_wrap(error, err, "watermark of log %s", directory);
}
