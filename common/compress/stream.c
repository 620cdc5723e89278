#include "common/compress/stream.h"

#include "common/base/assert.h"
#include "common/base/memory.h"

#include <zlib.h>
#include <zstd.h>

#include <errno.h>
#include <limits.h>
#include <unistd.h>

#define INPUT_BYTES ((size_t)128 * 1024)
#define MAGIC_BYTES 4
#define ZSTD_WINDOW_LOG_MAX 27
/* zlib: 15 bits of window, and 16 to expect the gzip wrapping alone. */
#define GZIP_WINDOW_BITS (15 + 16)

struct ab_inflate_stream {
    ab_inflate_read_fn read_fn;
    void *context; /* borrowed from the caller */
    enum ab_inflate_format format;
    int fd;              /* borrowed; used by read_fd alone */
    uint8_t *input;      /* owned; INPUT_BYTES */
    size_t input_at;     /* first byte not yet taken */
    size_t input_bytes;  /* bytes in use */
    bool is_input_ended; /* read_fn said so */
    bool is_inside;      /* a gzip member or zstd frame has begun and not ended */
    uint64_t raw_bytes;
    ab_err failure; /* kept: a stream that failed stays failed */
    z_stream gzip;
    bool has_gzip;
    ZSTD_DStream *zstd; /* owned */
};

static ab_err read_fd(uint8_t *data, size_t bytes, size_t *got, void *context)
{
    const struct ab_inflate_stream *stream = context;
    ssize_t part;
    do {
        part = read(stream->fd, data, bytes);
    } while (part < 0 && errno == EINTR);
    if (part < 0) {
        return ab_err_from_errno(errno);
    }
    *got = (size_t)part;
    return AB_OK;
}

static size_t input_left(const struct ab_inflate_stream *stream)
{
    return stream->input_bytes - stream->input_at;
}

/* Makes at least `wanted` bytes (<= INPUT_BYTES) of input available, unless it ends before. */
static ab_err input_fill(struct ab_inflate_stream *stream, size_t wanted)
{
    if (stream->input_at > 0 && input_left(stream) < wanted) {
        memmove(stream->input, stream->input + stream->input_at, input_left(stream));
        stream->input_bytes = input_left(stream);
        stream->input_at = 0;
    }
    while (input_left(stream) < wanted && !stream->is_input_ended) {
        size_t got = 0;
        uint8_t *at = stream->input + stream->input_bytes;
        AB_TRY(stream->read_fn(at, INPUT_BYTES - stream->input_bytes, &got, stream->context));
        AB_ASSERT(got <= INPUT_BYTES - stream->input_bytes);
        stream->input_bytes += got;
        stream->raw_bytes += got;
        stream->is_input_ended = got == 0;
    }
    return AB_OK;
}

static bool at_gzip(const struct ab_inflate_stream *stream)
{
    const uint8_t *at = stream->input + stream->input_at;
    return input_left(stream) >= 2 && at[0] == 0x1f && at[1] == 0x8b;
}

static bool at_zstd(const struct ab_inflate_stream *stream)
{
    const uint8_t *at = stream->input + stream->input_at;
    if (input_left(stream) < MAGIC_BYTES) {
        return false;
    }
    bool is_frame = at[0] == 0x28 && at[1] == 0xb5 && at[2] == 0x2f && at[3] == 0xfd;
    bool is_skippable = (at[0] & 0xf0) == 0x50 && at[1] == 0x2a && at[2] == 0x4d && at[3] == 0x18;
    return is_frame || is_skippable;
}

static ab_err decoder_open(struct ab_inflate_stream *stream)
{
    AB_TRY(input_fill(stream, MAGIC_BYTES));
    if (at_gzip(stream)) {
        stream->format = AB_INFLATE_GZIP;
        stream->has_gzip = inflateInit2(&stream->gzip, GZIP_WINDOW_BITS) == Z_OK;
        return stream->has_gzip ? AB_OK : AB_FULL;
    }
    if (at_zstd(stream)) {
        stream->format = AB_INFLATE_ZSTD;
        stream->zstd = ZSTD_createDStream();
        if (stream->zstd == NULL) {
            return AB_FULL;
        }
        size_t result = ZSTD_DCtx_setParameter(stream->zstd, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG_MAX);
        return ZSTD_isError(result) ? AB_FULL : AB_OK;
    }
    stream->format = AB_INFLATE_PLAIN;
    return AB_OK;
}

/* Opens over read_fn, or over fd when read_fn is read_fd. */
static ab_err stream_open(
    ab_inflate_read_fn read_fn, void *context, int fd, struct ab_inflate_stream **stream, struct ab_error *error)
{
    struct ab_inflate_stream *made = ab_new(struct ab_inflate_stream);
    made->read_fn = read_fn;
    made->context = read_fn == read_fd ? made : context;
    made->fd = fd;
    made->input = ab_new_bytes(INPUT_BYTES);
    ab_err err = decoder_open(made);
    if (err != AB_OK) {
        ab_inflate_stream_close(made);
        return ab_error_set(error, err, "read the first bytes: %s", ab_err_text(err));
    }
    *stream = made;
    return AB_OK;
}

ab_err ab_inflate_stream_open(
    ab_inflate_read_fn read_fn, void *context, struct ab_inflate_stream **stream, struct ab_error *error)
{
    return stream_open(read_fn, context, -1, stream, error);
}

ab_err ab_inflate_stream_open_fd(int fd, struct ab_inflate_stream **stream, struct ab_error *error)
{
    return stream_open(read_fd, NULL, fd, stream, error);
}

void ab_inflate_stream_close(struct ab_inflate_stream *stream)
{
    if (stream == NULL) {
        return;
    }
    if (stream->has_gzip) {
        (void)inflateEnd(&stream->gzip); /* fails only on a stream that was never begun */
    }
    (void)ZSTD_freeDStream(stream->zstd); /* cannot fail; NULL is legal */
    ab_delete(stream->input);
    ab_delete(stream);
}

enum ab_inflate_format ab_inflate_stream_format(const struct ab_inflate_stream *stream)
{
    return stream->format;
}

uint64_t ab_inflate_stream_raw_bytes(const struct ab_inflate_stream *stream)
{
    return stream->raw_bytes;
}

static size_t step_plain(struct ab_inflate_stream *stream, uint8_t *data, size_t bytes)
{
    size_t part = input_left(stream) < bytes ? input_left(stream) : bytes;
    memcpy(data, stream->input + stream->input_at, part);
    stream->input_at += part;
    return part;
}

/* Decodes some input of a gzip file; *got may be 0 although more follows. */
static ab_err step_gzip(struct ab_inflate_stream *stream, uint8_t *data, size_t bytes, size_t *got)
{
    if (!stream->is_inside) {
        AB_TRY(input_fill(stream, 2));
        if (!at_gzip(stream)) {
            return AB_CORRUPT;
        }
        (void)inflateReset(&stream->gzip); /* fails only on a stream that was never begun */
        stream->is_inside = true;
    }
    size_t room = bytes < UINT_MAX ? bytes : UINT_MAX;
    stream->gzip.next_in = stream->input + stream->input_at;
    stream->gzip.avail_in = (uInt)input_left(stream);
    stream->gzip.next_out = data;
    stream->gzip.avail_out = (uInt)room;
    int result = inflate(&stream->gzip, Z_NO_FLUSH);
    stream->input_at = stream->input_bytes - stream->gzip.avail_in;
    *got = room - stream->gzip.avail_out;
    if (result == Z_STREAM_END) {
        stream->is_inside = false;
        return AB_OK;
    }
    return result == Z_OK || result == Z_BUF_ERROR ? AB_OK : AB_CORRUPT;
}

/* Decodes some input of a zstd file; *got may be 0 although more follows. */
static ab_err step_zstd(struct ab_inflate_stream *stream, uint8_t *data, size_t bytes, size_t *got)
{
    ZSTD_inBuffer in = {.src = stream->input, .size = stream->input_bytes, .pos = stream->input_at};
    ZSTD_outBuffer out = {.dst = data, .size = bytes};
    size_t hint = ZSTD_decompressStream(stream->zstd, &out, &in);
    if (ZSTD_isError(hint)) {
        return AB_CORRUPT;
    }
    stream->input_at = in.pos;
    stream->is_inside = hint != 0; /* 0 = a frame is decoded and flushed */
    *got = out.pos;
    return AB_OK;
}

static ab_err step(struct ab_inflate_stream *stream, uint8_t *data, size_t bytes, size_t *got)
{
    switch (stream->format) {
    case AB_INFLATE_GZIP:
        return step_gzip(stream, data, bytes, got);
    case AB_INFLATE_ZSTD:
        return step_zstd(stream, data, bytes, got);
    case AB_INFLATE_PLAIN:
        *got = step_plain(stream, data, bytes);
        return AB_OK;
    }
    AB_UNREACHABLE();
}

/* Steps until there is some output, or the good end. */
static ab_err read_some(struct ab_inflate_stream *stream, uint8_t *data, size_t bytes, size_t *got)
{
    *got = 0;
    while (*got == 0) {
        AB_TRY(input_fill(stream, 1));
        size_t before = input_left(stream);
        if (before == 0 && !stream->is_inside) {
            return AB_OK;
        }
        /* A decoder may still hold output when the input is used up; without either it waits for bytes that are
         * missing. */
        bool was_inside = stream->is_inside;
        AB_TRY(step(stream, data, bytes, got));
        bool has_moved = input_left(stream) != before || *got > 0 || was_inside != stream->is_inside;
        if (!has_moved) {
            return AB_CORRUPT;
        }
    }
    return AB_OK;
}

ab_err ab_inflate_stream_read(
    struct ab_inflate_stream *stream, uint8_t *data, size_t bytes, size_t *got, struct ab_error *error)
{
    AB_ASSERT(bytes > 0);
    size_t done = 0;
    if (stream->failure == AB_OK) {
        stream->failure = read_some(stream, data, bytes, &done);
    }
    if (stream->failure != AB_OK) {
        bool is_cut = stream->failure == AB_CORRUPT && stream->is_input_ended && input_left(stream) == 0;
        const char *reason = is_cut ? "the compressed file is cut short" : ab_err_text(stream->failure);
        unsigned long long offset = stream->raw_bytes - input_left(stream);
        return ab_error_set(error, stream->failure, "at byte %llu: %s", offset, reason);
    }
    *got = done;
    return AB_OK;
}
