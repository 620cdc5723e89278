#include "batch/sealed.h"

#include "common/base/file.h"
#include "common/history/layout.h"

#include <inttypes.h>

#define SEALED_FORMAT 1
#define MARKER_BYTES_MAX (16u << 20)

struct ab_json *ab_sealed_span_encode(const struct ab_sealed_span *span)
{
    char chain[33];
    ab_hash128_format(span->chain, chain);
    struct ab_json *object = ab_json_object();
    ab_json_set(object, "format", ab_json_integer(SEALED_FORMAT));
    ab_json_set(object, "partition", ab_json_integer(span->partition));
    ab_json_set_u64(object, "span", span->span);
    ab_json_set_u64(object, "from_offset", span->from_offset);
    ab_json_set_u64(object, "until_offset", span->until_offset);
    ab_json_set(object, "chain", ab_json_text(chain));
    ab_json_set(object, "start_time_us", ab_json_integer(span->start_time_us));
    ab_json_set(object, "time_us", ab_json_integer(span->time_us));
    ab_json_set_u64(object, "unlisted_rows", span->unlisted_rows);
    struct ab_json *streams = ab_json_array();
    for (size_t i = 0; i < span->streams_count; i++) {
        const struct ab_sealed_stream *stream = &span->streams[i];
        struct ab_json *entry = ab_json_object();
        ab_json_set(entry, "name", ab_json_text(stream->name));
        ab_json_set_u64(entry, "rows", stream->rows);
        ab_json_set_u64(entry, "accepted", stream->accepted);
        ab_json_set_u64(entry, "rejected", stream->rejected);
        ab_json_set_u64(entry, "duplicates", stream->duplicates);
        ab_json_append(streams, entry);
    }
    ab_json_set(object, "streams", streams);
    return object;
}

void ab_sealed_span_fini(struct ab_sealed_span *span)
{
    for (size_t i = 0; i < span->streams_count; i++) {
        ab_delete(span->streams[i].name);
    }
    ab_delete(span->streams);
    *span = (struct ab_sealed_span){0};
}

/* Reads a number that must be there; counts what was missing. */
static uint64_t number_of(const struct ab_json *object, const char *key, int *missing)
{
    uint64_t number = ab_json_u64_or(ab_json_get(object, key), UINT64_MAX);
    *missing += number == UINT64_MAX;
    return number;
}

static ab_err streams_decode(const struct ab_json *list, struct ab_sealed_span *span)
{
    size_t count = ab_json_count(list);
    int missing = !ab_json_is_array(list);
    span->streams = ab_new_array(struct ab_sealed_stream, count + 1);
    for (size_t i = 0; i < count; i++) {
        const struct ab_json *entry = ab_json_at(list, i);
        struct ab_sealed_stream *stream = &span->streams[span->streams_count++];
        stream->name = ab_new_text(ab_json_text_or(ab_json_get(entry, "name"), ""));
        stream->rows = number_of(entry, "rows", &missing);
        stream->accepted = number_of(entry, "accepted", &missing);
        stream->rejected = number_of(entry, "rejected", &missing);
        stream->duplicates = number_of(entry, "duplicates", &missing);
        missing += stream->name[0] == 0;
    }
    return missing == 0 ? AB_OK : AB_INVALID;
}

ab_err ab_sealed_span_decode(const struct ab_json *json, struct ab_sealed_span *span, struct ab_error *error)
{
    struct ab_sealed_span read = {0};
    int missing = 0;
    int64_t format = ab_json_integer_or(ab_json_get(json, "format"), 0);
    if (format > SEALED_FORMAT) {
        return ab_error_set(error, AB_UNSUPPORTED,
            "marker of a sealed span has format %" PRId64 ", this program reads %d", format, SEALED_FORMAT);
    }
    uint64_t partition = number_of(json, "partition", &missing);
    read.partition = (uint32_t)partition;
    read.span = number_of(json, "span", &missing);
    read.from_offset = number_of(json, "from_offset", &missing);
    read.until_offset = number_of(json, "until_offset", &missing);
    read.unlisted_rows = number_of(json, "unlisted_rows", &missing);
    read.start_time_us = ab_json_integer_or(ab_json_get(json, "start_time_us"), 0);
    read.time_us = ab_json_integer_or(ab_json_get(json, "time_us"), 0);
    missing += ab_hash128_parse(ab_json_bytes(ab_json_get(json, "chain")), &read.chain) != AB_OK;
    if (format != SEALED_FORMAT || missing > 0 || partition > UINT32_MAX || read.until_offset <= read.from_offset ||
        streams_decode(ab_json_get(json, "streams"), &read) != AB_OK) {
        ab_sealed_span_fini(&read);
        return ab_error_set(error, AB_INVALID, "malformed marker of a sealed span");
    }
    *span = read;
    return AB_OK;
}

const struct ab_sealed_stream *ab_sealed_span_stream(const struct ab_sealed_span *span, const char *name)
{
    for (size_t i = 0; i < span->streams_count; i++) {
        if (strcmp(span->streams[i].name, name) == 0) {
            return &span->streams[i];
        }
    }
    return NULL;
}

ab_err ab_sealed_span_store(const char *directory, const struct ab_sealed_span *span, struct ab_error *error)
{
    char *path = ab_history_marker_path(directory, span->partition, span->span);
    char *folder = ab_new_text(path);
    struct ab_json *json = ab_sealed_span_encode(span);
    struct ab_buffer text = {0};
    *strrchr(folder, '/') = 0;
    ab_json_write(json, 0, &text);
    ab_err err = ab_file_make_directory(folder, 0750, error);
    if (err == AB_OK) {
        err = ab_file_replace(path, ab_buffer_view(&text), 0640, error);
    }
    ab_buffer_fini(&text);
    ab_json_destroy(json);
    ab_delete(folder);
    ab_delete(path);
    return err;
}

ab_err ab_sealed_span_load(
    const char *directory, uint32_t partition, uint64_t number, struct ab_sealed_span *span, struct ab_error *error)
{
    char *path = ab_history_marker_path(directory, partition, number);
    struct ab_json *json = NULL;
    struct ab_sealed_span read = {0};
    struct ab_buffer text;
    ab_buffer_init(&text, NULL, MARKER_BYTES_MAX);
    ab_err err = ab_file_read_all(path, &text, error);
    if (err == AB_OK) {
        err = ab_json_parse(ab_buffer_view(&text), &json, error);
    }
    if (err == AB_OK) {
        err = ab_sealed_span_decode(json, &read, error);
    }
    if (err == AB_OK && (read.partition != partition || read.span != number)) {
        ab_sealed_span_fini(&read);
        err = ab_error_set(error, AB_INVALID, "it names partition %" PRIu32 ", span %" PRIu64, partition, number);
    }
    if (err == AB_OK) {
        *span = read;
    } else if (err != AB_NOT_FOUND) {
        err = ab_error_wrap(error, AB_CORRUPT, "%s", path);
    }
    ab_json_destroy(json);
    ab_buffer_fini(&text);
    ab_delete(path);
    return err;
}
