#include "common/compress/stream.h"

#include "common/base/random.h"
#include "common/compress/compress.h"

#include "tests/support/test.h"

#include <fcntl.h>
#include <zlib.h>

/* A source that gives its bytes in pieces of a chosen size, and may fail at a byte. */
struct source {
    struct ab_bytes rest;
    size_t piece_bytes;
    size_t fail_after; /* bytes given before AB_IO; 0 = never */
    size_t given;
};

static ab_err source_read(uint8_t *data, size_t bytes, size_t *got, void *context)
{
    struct source *source = context;
    if (source->fail_after > 0 && source->given >= source->fail_after) {
        return AB_IO;
    }
    size_t part = source->rest.bytes < bytes ? source->rest.bytes : bytes;
    part = part < source->piece_bytes ? part : source->piece_bytes;
    if (part > 0) {
        memcpy(data, source->rest.data, part);
        source->rest = ab_bytes_of(source->rest.data + part, source->rest.bytes - part);
    }
    source->given += part;
    *got = part;
    return AB_OK;
}

/* Reads everything in pieces of read_bytes; the result of the first failing call, or AB_OK. */
static ab_err read_whole(
    struct source *source, size_t read_bytes, struct ab_buffer *out, enum ab_inflate_format *format)
{
    struct ab_inflate_stream *stream = NULL;
    struct ab_error error = {0};
    ab_err err = ab_inflate_stream_open(source_read, source, &stream, &error);
    if (err != AB_OK) {
        return err;
    }
    if (format != NULL) {
        *format = ab_inflate_stream_format(stream);
    }
    uint8_t *piece = ab_new_bytes(read_bytes);
    size_t got = 1;
    while (err == AB_OK && got > 0) {
        err = ab_inflate_stream_read(stream, piece, read_bytes, &got, &error);
        if (err == AB_OK) {
            ab_buffer_put(out, piece, got);
        }
    }
    if (err != AB_OK) {
        assert_non_null(strstr(error.text, "at byte "));
        assert_int_equal(ab_inflate_stream_read(stream, piece, read_bytes, &got, &error), err);
    } else {
        assert_ok(ab_inflate_stream_read(stream, piece, read_bytes, &got, &error));
        assert_int_equal(got, 0);
        assert_true(ab_inflate_stream_raw_bytes(stream) == source->given);
    }
    ab_delete(piece);
    ab_inflate_stream_close(stream);
    return err;
}

static void gzip_append(struct ab_bytes plain, struct ab_buffer *out)
{
    z_stream stream = {0};
    uint8_t room[65536];
    assert_int_equal(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    stream.next_in = (Bytef *)(uintptr_t)plain.data;
    stream.avail_in = (uInt)plain.bytes;
    int result;
    do {
        stream.next_out = room;
        stream.avail_out = sizeof(room);
        result = deflate(&stream, Z_FINISH);
        ab_buffer_put(out, room, sizeof(room) - stream.avail_out);
    } while (result == Z_OK);
    assert_int_equal(result, Z_STREAM_END);
    (void)deflateEnd(&stream);
}

static void zstd_append(struct ab_bytes plain, struct ab_buffer *out)
{
    struct ab_zstd zstd = {0};
    assert_ok(ab_zstd_compress(&zstd, plain, 3, out));
    ab_zstd_fini(&zstd);
}

static void plain_append(struct ab_bytes plain, struct ab_buffer *out)
{
    ab_buffer_put_bytes(out, plain);
}

struct format_case {
    void (*append)(struct ab_bytes plain, struct ab_buffer *out);
    enum ab_inflate_format format;
};
static struct format_case plain_case = {plain_append, AB_INFLATE_PLAIN};
static struct format_case gzip_case = {gzip_append, AB_INFLATE_GZIP};
static struct format_case zstd_case = {zstd_append, AB_INFLATE_ZSTD};

static void sample_make(struct ab_buffer *out, size_t bytes)
{
    struct ab_random random;
    ab_random_init(&random, bytes);
    while (out->bytes < bytes) {
        ab_buffer_put_format(out, "%llu,x\n", (unsigned long long)ab_random_below(&random, 100000));
    }
    out->bytes = bytes;
}

static void test_stream_reads_any_format_in_any_pieces(void **state)
{
    const struct format_case *format_case = *state;
    struct ab_buffer plain = {0};
    struct ab_buffer packed = {0};
    sample_make(&plain, 700000);
    format_case->append(ab_buffer_view(&plain), &packed);
    const size_t pieces[][2] = {{SIZE_MAX, 1000000}, {1, 65536}, {7, 1000}, {4096, 13}, {100000, 1}};
    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        struct source source = {.rest = ab_buffer_view(&packed), .piece_bytes = pieces[i][0]};
        struct ab_buffer out = {0};
        enum ab_inflate_format format;
        assert_ok(read_whole(&source, pieces[i][1], &out, &format));
        assert_int_equal(format, format_case->format);
        assert_true(ab_bytes_equal(ab_buffer_view(&out), ab_buffer_view(&plain)));
        ab_buffer_fini(&out);
    }
    ab_buffer_fini(&packed);
    ab_buffer_fini(&plain);
}

static void test_stream_joins_members_and_frames(void **state)
{
    const struct format_case *format_case = *state;
    const char *const parts[] = {"first\n", "", "second\n", "third\n"};
    struct ab_buffer packed = {0};
    for (size_t i = 0; i < 4; i++) {
        format_case->append(bytes_of(parts[i]), &packed);
    }
    for (size_t piece = 1; piece < 40; piece++) {
        struct source source = {.rest = ab_buffer_view(&packed), .piece_bytes = piece};
        struct ab_buffer out = {0};
        assert_ok(read_whole(&source, 5, &out, NULL));
        assert_string_equal(ab_buffer_text(&out), "first\nsecond\nthird\n");
        ab_buffer_fini(&out);
    }
    ab_buffer_fini(&packed);
}

/* Cut inside: an error. Cut between two members or frames: a shorter file, which nobody can tell from a whole one. */
static void test_stream_cut_short_is_corrupt(void **state)
{
    const struct format_case *format_case = *state;
    struct ab_buffer packed = {0};
    struct ab_buffer plain = {0};
    sample_make(&plain, 300);
    format_case->append(ab_buffer_view(&plain), &packed);
    size_t border = packed.bytes;
    format_case->append(ab_buffer_view(&plain), &packed);
    for (size_t cut = 4; cut < packed.bytes; cut++) {
        for (size_t piece = 1; piece < 2000; piece += 999) {
            struct source source = {.rest = ab_bytes_of(packed.data, cut), .piece_bytes = piece};
            struct ab_buffer out = {0};
            assert_int_equal(read_whole(&source, 64, &out, NULL), cut == border ? AB_OK : AB_CORRUPT);
            assert_true(out.bytes <= 600);
            ab_buffer_fini(&out);
        }
    }
    ab_buffer_fini(&plain);
    ab_buffer_fini(&packed);
}

static void test_stream_followed_by_something_else_is_corrupt(void **state)
{
    const struct format_case *format_case = *state;
    struct ab_buffer packed = {0};
    format_case->append(bytes_of("rows\n"), &packed);
    ab_buffer_put(&packed, "garbage", 7);
    struct source source = {.rest = ab_buffer_view(&packed), .piece_bytes = SIZE_MAX};
    struct ab_buffer out = {0};
    assert_int_equal(read_whole(&source, 100, &out, NULL), AB_CORRUPT);
    assert_string_equal(ab_buffer_text(&out), "rows\n");
    ab_buffer_fini(&out);
    ab_buffer_fini(&packed);
}

static void test_stream_survives_every_bit_flip(void **state)
{
    const struct format_case *format_case = *state;
    struct ab_buffer packed = {0};
    struct ab_buffer plain = {0};
    sample_make(&plain, 200);
    format_case->append(ab_buffer_view(&plain), &packed);
    for (size_t bit = 0; bit < packed.bytes * 8; bit++) {
        packed.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        struct source source = {.rest = ab_buffer_view(&packed), .piece_bytes = SIZE_MAX};
        struct ab_buffer out = {0};
        ab_err err = read_whole(&source, 100, &out, NULL);
        assert_true(err == AB_OK || err == AB_CORRUPT);
        ab_buffer_fini(&out);
        packed.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
    ab_buffer_fini(&plain);
    ab_buffer_fini(&packed);
}

static void test_stream_passes_errors_of_its_source(void **state)
{
    const struct format_case *format_case = *state;
    struct ab_buffer packed = {0};
    struct ab_buffer plain = {0};
    sample_make(&plain, 100000);
    format_case->append(ab_buffer_view(&plain), &packed);
    for (size_t fail_after = 1; fail_after < 3000; fail_after += 777) {
        struct source source = {.rest = ab_buffer_view(&packed), .piece_bytes = 100, .fail_after = fail_after};
        struct ab_buffer out = {0};
        assert_int_equal(read_whole(&source, 1000, &out, NULL), AB_IO);
        ab_buffer_fini(&out);
    }
    ab_buffer_fini(&plain);
    ab_buffer_fini(&packed);
}

static void test_stream_of_little_is_plain(void **state)
{
    (void)state;
    const char *const texts[] = {"", "a", "\x1f", "(\xb5/", "a,b\n"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct source source = {.rest = bytes_of(texts[i]), .piece_bytes = 1};
        struct ab_buffer out = {0};
        enum ab_inflate_format format;
        assert_ok(read_whole(&source, 10, &out, &format));
        assert_int_equal(format, AB_INFLATE_PLAIN);
        assert_string_equal(ab_buffer_text(&out), texts[i]);
        ab_buffer_fini(&out);
    }
    ab_inflate_stream_close(NULL);
}

static void test_stream_gzip_checksum_is_checked(void **state)
{
    (void)state;
    struct ab_buffer packed = {0};
    gzip_append(bytes_of("rows\n"), &packed);
    packed.data[packed.bytes - 8] ^= 1; /* CRC-32 */
    struct source source = {.rest = ab_buffer_view(&packed), .piece_bytes = SIZE_MAX};
    struct ab_buffer out = {0};
    assert_int_equal(read_whole(&source, 100, &out, NULL), AB_CORRUPT);
    ab_buffer_fini(&out);
    ab_buffer_fini(&packed);
}

static void test_stream_zstd_skips_skippable_frames(void **state)
{
    (void)state;
    struct ab_buffer packed = {0};
    ab_buffer_put(&packed, "\x50\x2a\x4d\x18\x03\x00\x00\x00xyz", 11);
    zstd_append(bytes_of("rows\n"), &packed);
    ab_buffer_put(&packed, "\x5f\x2a\x4d\x18\x00\x00\x00\x00", 8);
    struct source source = {.rest = ab_buffer_view(&packed), .piece_bytes = 3};
    struct ab_buffer out = {0};
    assert_ok(read_whole(&source, 2, &out, NULL));
    assert_string_equal(ab_buffer_text(&out), "rows\n");
    ab_buffer_fini(&out);
    ab_buffer_fini(&packed);
}

static void test_stream_over_a_descriptor(void **state)
{
    (void)state;
    char *directory = scratch_make();
    char *path = scratch_path(directory, "rows.gz");
    struct ab_buffer packed = {0};
    struct ab_error error = {0};
    gzip_append(bytes_of("rows\n"), &packed);
    scratch_write(path, ab_buffer_view(&packed), 0600);
    int fd = -1;
    struct ab_inflate_stream *stream = NULL;
    uint8_t data[16];
    size_t got = 0;
    assert_ok(ab_file_open(path, O_RDONLY, 0, &fd, &error));
    assert_ok(ab_inflate_stream_open_fd(fd, &stream, &error));
    assert_ok(ab_inflate_stream_read(stream, data, sizeof(data), &got, &error));
    assert_int_equal(got, 5);
    assert_memory_equal(data, "rows\n", 5);
    assert_ok(ab_inflate_stream_read(stream, data, sizeof(data), &got, &error));
    assert_int_equal(got, 0);
    ab_inflate_stream_close(stream);
    ab_file_close(&fd);
    stream = NULL;
    assert_int_equal(ab_inflate_stream_open_fd(-1, &stream, &error), AB_IO);
    assert_null(stream);
    ab_buffer_fini(&packed);
    ab_delete(path);
    scratch_remove(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(test_stream_reads_any_format_in_any_pieces, &plain_case),
        cmocka_unit_test_prestate(test_stream_reads_any_format_in_any_pieces, &gzip_case),
        cmocka_unit_test_prestate(test_stream_reads_any_format_in_any_pieces, &zstd_case),
        cmocka_unit_test_prestate(test_stream_joins_members_and_frames, &plain_case),
        cmocka_unit_test_prestate(test_stream_joins_members_and_frames, &gzip_case),
        cmocka_unit_test_prestate(test_stream_joins_members_and_frames, &zstd_case),
        cmocka_unit_test_prestate(test_stream_cut_short_is_corrupt, &gzip_case),
        cmocka_unit_test_prestate(test_stream_cut_short_is_corrupt, &zstd_case),
        cmocka_unit_test_prestate(test_stream_followed_by_something_else_is_corrupt, &gzip_case),
        cmocka_unit_test_prestate(test_stream_followed_by_something_else_is_corrupt, &zstd_case),
        cmocka_unit_test_prestate(test_stream_survives_every_bit_flip, &gzip_case),
        cmocka_unit_test_prestate(test_stream_survives_every_bit_flip, &zstd_case),
        cmocka_unit_test_prestate(test_stream_passes_errors_of_its_source, &plain_case),
        cmocka_unit_test_prestate(test_stream_passes_errors_of_its_source, &gzip_case),
        cmocka_unit_test_prestate(test_stream_passes_errors_of_its_source, &zstd_case),
        cmocka_unit_test(test_stream_of_little_is_plain),
        cmocka_unit_test(test_stream_gzip_checksum_is_checked),
        cmocka_unit_test(test_stream_zstd_skips_skippable_frames),
        cmocka_unit_test(test_stream_over_a_descriptor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
