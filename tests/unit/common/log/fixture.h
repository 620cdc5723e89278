/* fixture: a log in a directory of its own, and records whose content follows from their offset. */
#ifndef ANABRANCH_TESTS_UNIT_COMMON_LOG_FIXTURE_H
#define ANABRANCH_TESTS_UNIT_COMMON_LOG_FIXTURE_H

#include "common/log/log.h"

#include "tests/support/test.h"

/* Leader epoch of what fixture_append makes. */
enum { FIXTURE_EPOCH = 7 };

/* Options of the test's cluster and partition 3. */
struct ab_log_options fixture_options(uint64_t segment_bytes);

/* Bytes of the body that belongs to an offset: 1 to 4000, from a small generator. */
void fixture_body(uint64_t offset, struct ab_buffer *out);

/* Stages `count` records; fails the test on an error. */
void fixture_append(struct ab_log *log, size_t count);

/* The same with another leader epoch. */
void fixture_append_epoch(struct ab_log *log, size_t count, uint64_t epoch);

/* Stages, writes and syncs `count` records. */
void fixture_append_durably(struct ab_log *log, size_t count);

/* True when the record's fields and body are those that fixture_append gave to its offset, of whatever epoch from
 * FIXTURE_EPOCH on. */
bool fixture_record_is_right(const struct ab_record *record);

/* Reads [from, until) and fails the test unless all of it is right. */
void fixture_read_all(const char *directory, uint64_t from, uint64_t until);

/* Opens, failing the test on an error. */
struct ab_log *fixture_open(const char *directory, uint64_t segment_bytes, struct ab_log_recovery *recovery);

/* Leaves a closed log as a kill would have: nothing was noted of what is durable. */
void fixture_forget_watermark(const char *directory);

/* Every file of a directory, copied: what a killed process leaves while the one at hand goes on. */
char *fixture_image(const char *directory);

/* A whole file, and back. */
void fixture_file_read(const char *path, struct ab_buffer *content);
void fixture_file_write(const char *path, struct ab_bytes content);

#endif
