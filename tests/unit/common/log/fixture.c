#include "tests/unit/common/log/fixture.h"

#include "common/base/file.h"
#include "common/base/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

struct ab_log_options fixture_options(uint64_t segment_bytes)
{
    return (struct ab_log_options){.cluster_id = "a test's cluster", .partition = 3, .segment_bytes = segment_bytes};
}

void fixture_body(uint64_t offset, struct ab_buffer *out)
{
    struct ab_random random;
    ab_random_init(&random, offset);
    size_t bytes = 1 + (size_t)ab_random_below(&random, 4000);
    uint8_t *at = ab_buffer_extend(out, bytes);
    for (size_t i = 0; i < bytes; i++) {
        at[i] = (uint8_t)ab_random_u64(&random);
    }
}

static struct ab_record_header header_of(uint64_t offset)
{
    return (struct ab_record_header){
        .kind = AB_RECORD_BLOCK,
        .leader_epoch = FIXTURE_EPOCH,
        .append_time_us = (ab_time_us)offset * 1000,
        .catalog_version = offset / 100,
        .rows_count = (uint32_t)offset + 10,
        .duplicate_count = 1,
    };
}

void fixture_append(struct ab_log *log, size_t count)
{
    fixture_append_epoch(log, count, FIXTURE_EPOCH);
}

void fixture_append_epoch(struct ab_log *log, size_t count, uint64_t epoch)
{
    struct ab_buffer body = {0};
    for (size_t i = 0; i < count; i++) {
        uint64_t expected = ab_log_end_offset(log);
        uint64_t offset = 0;
        ab_buffer_clear(&body);
        fixture_body(expected, &body);
        struct ab_record record = {
            .header = header_of(expected), .verdict = ab_bytes_of("\x01\x00\x01", 3), .body = ab_buffer_view(&body)};
        record.header.leader_epoch = epoch;
        assert_int_equal(ab_log_append(log, &record, &offset), AB_OK);
        assert_int_equal(offset, expected);
    }
    ab_buffer_fini(&body);
}

void fixture_append_durably(struct ab_log *log, size_t count)
{
    fixture_append(log, count);
    assert_int_equal(ab_log_write(log, NULL), AB_OK);
    assert_int_equal(ab_log_sync(log, NULL), AB_OK);
}

bool fixture_record_is_right(const struct ab_record *record)
{
    struct ab_record_header expected = header_of(record->header.offset);
    struct ab_buffer body = {0};
    fixture_body(record->header.offset, &body);
    bool is_right = ab_bytes_equal(ab_buffer_view(&body), record->body) &&
                    ab_bytes_equal(record->verdict, ab_bytes_of("\x01\x00\x01", 3)) &&
                    record->header.kind == expected.kind && record->header.leader_epoch >= expected.leader_epoch &&
                    record->header.append_time_us == expected.append_time_us &&
                    record->header.catalog_version == expected.catalog_version &&
                    record->header.rows_count == expected.rows_count && record->header.partition == 3;
    ab_buffer_fini(&body);
    return is_right;
}

void fixture_read_all(const char *directory, uint64_t from, uint64_t until)
{
    struct ab_log_reader *reader = NULL;
    struct ab_error error = {0};
    if (ab_log_reader_open(directory, from, until, &reader, &error) != AB_OK) {
        fail_msg("%s", error.text);
    }
    struct ab_record record;
    for (uint64_t offset = from; offset < until; offset++) {
        if (ab_log_reader_next(reader, &record, &error) != AB_OK) {
            fail_msg("%s", error.text);
        }
        assert_int_equal(record.header.offset, offset);
        assert_true(fixture_record_is_right(&record));
    }
    assert_int_equal(ab_log_reader_next(reader, &record, &error), AB_END);
    ab_log_reader_close(reader);
}

struct ab_log *fixture_open(const char *directory, uint64_t segment_bytes, struct ab_log_recovery *recovery)
{
    struct ab_log_options options = fixture_options(segment_bytes);
    struct ab_log *log = NULL;
    struct ab_error error = {0};
    if (ab_log_open(directory, &options, &log, recovery, &error) != AB_OK) {
        fail_msg("%s", error.text);
    }
    return log;
}

void fixture_forget_watermark(const char *directory)
{
    char *path = scratch_path(directory, "watermark");
    assert_int_equal(unlink(path), 0);
    ab_delete(path);
}

char *fixture_image(const char *directory)
{
    char *image = scratch_make();
    char **names = NULL;
    size_t count = 0;
    struct ab_buffer content = {0};
    assert_ok(ab_file_list(directory, &names, &count, NULL));
    for (size_t i = 0; i < count; i++) {
        char *from = scratch_path(directory, names[i]);
        char *to = scratch_path(image, names[i]);
        fixture_file_read(from, &content);
        fixture_file_write(to, ab_buffer_view(&content));
        ab_delete(from);
        ab_delete(to);
    }
    ab_buffer_fini(&content);
    ab_file_names_free(names, count);
    return image;
}

void fixture_file_read(const char *path, struct ab_buffer *content)
{
    ab_buffer_clear(content);
    assert_int_equal(ab_file_read_all(path, content, NULL), AB_OK);
}

void fixture_file_write(const char *path, struct ab_bytes content)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, content.data, content.bytes), content.bytes);
    close(fd);
}
