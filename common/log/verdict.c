#include "common/log/record.h"

#include "common/base/assert.h"

/* Bytes of the shortest entry: a one-byte row and the decision. */
enum { VERDICT_ENTRY_BYTES_MIN = 2 };

/* ---- building ---- */

void ab_verdict_builder_init(struct ab_verdict_builder *builder, struct ab_memory *memory)
{
    *builder = (struct ab_verdict_builder){0};
    ab_buffer_init(&builder->entries, memory, AB_RECORD_BYTES_MAX);
}

void ab_verdict_builder_fini(struct ab_verdict_builder *builder)
{
    ab_buffer_fini(&builder->entries);
    *builder = (struct ab_verdict_builder){0};
}

void ab_verdict_builder_clear(struct ab_verdict_builder *builder)
{
    ab_buffer_clear(&builder->entries);
    builder->count = 0;
    builder->last_row = 0;
    builder->rejected_count = 0;
    builder->duplicate_count = 0;
}

/* The longest front of the reason that fits, ends before a NUL and does not split a UTF-8 character. */
static struct ab_bytes reason_cut(struct ab_bytes reason)
{
    const uint8_t *nul = reason.bytes == 0 ? NULL : memchr(reason.data, 0, reason.bytes);
    size_t bytes = nul == NULL ? reason.bytes : (size_t)(nul - reason.data);
    if (bytes <= AB_REASON_BYTES_MAX) {
        return ab_bytes_of(reason.data, bytes);
    }
    bytes = AB_REASON_BYTES_MAX;
    while (bytes > AB_REASON_BYTES_MAX - 3 && (reason.data[bytes] & 0xC0) == 0x80) {
        bytes--;
    }
    return ab_bytes_of(reason.data, bytes);
}

void ab_verdict_builder_add(
    struct ab_verdict_builder *builder, uint32_t row, enum ab_decision decision, struct ab_bytes reason)
{
    AB_ASSERT(decision == AB_DECISION_DUPLICATE || decision == AB_DECISION_REJECTED);
    AB_ASSERT(builder->count == 0 || row > builder->last_row);
    ab_buffer_put_varint(&builder->entries, row - builder->last_row);
    ab_buffer_put_u8(&builder->entries, (uint8_t)decision);
    if (decision == AB_DECISION_REJECTED) {
        ab_buffer_put_blob(&builder->entries, reason_cut(reason));
        builder->rejected_count++;
    } else {
        builder->duplicate_count++;
    }
    builder->count++;
    builder->last_row = row;
}

void ab_verdict_builder_encode(const struct ab_verdict_builder *builder, struct ab_buffer *out)
{
    if (ab_buffer_finish(&builder->entries) != AB_OK) {
        out->has_failed = true;
        return;
    }
    ab_buffer_put_varint(out, builder->count);
    ab_buffer_put_bytes(out, ab_buffer_view(&builder->entries));
}

/* ---- reading ---- */

ab_err ab_verdict_reader_init(struct ab_verdict_reader *reader, struct ab_bytes verdict)
{
    struct ab_verdict_reader start = {.reader = ab_reader_of(verdict)};
    if (verdict.bytes > 0) {
        start.left = ab_reader_varint(&start.reader);
    }
    if (start.reader.has_failed || start.left > ab_reader_left(&start.reader) / VERDICT_ENTRY_BYTES_MIN) {
        return AB_CORRUPT;
    }
    *reader = start;
    return AB_OK;
}

static bool reason_is_valid(struct ab_bytes reason)
{
    return reason.bytes <= AB_REASON_BYTES_MAX && (reason.bytes == 0 || memchr(reason.data, 0, reason.bytes) == NULL);
}

ab_err ab_verdict_reader_next(struct ab_verdict_reader *reader, uint32_t rows_count, struct ab_verdict_entry *entry)
{
    if (reader->left == 0) {
        return ab_reader_finish(&reader->reader) == AB_OK ? AB_END : AB_CORRUPT;
    }
    /* next_row is the lowest row that may come; rows rise, so every delta but the first is at least 1. */
    uint64_t delta = ab_reader_varint(&reader->reader);
    bool is_first = reader->next_row == 0;
    if (reader->reader.has_failed || delta >= rows_count || (!is_first && delta == 0)) {
        return AB_CORRUPT;
    }
    uint64_t row = is_first ? delta : reader->next_row - 1 + delta;
    uint8_t decision = ab_reader_u8(&reader->reader);
    struct ab_bytes reason = {0};
    if (decision == AB_DECISION_REJECTED) {
        reason = ab_reader_blob(&reader->reader);
    } else if (decision != AB_DECISION_DUPLICATE) {
        return AB_CORRUPT;
    }
    if (reader->reader.has_failed || row >= rows_count || !reason_is_valid(reason)) {
        return AB_CORRUPT;
    }
    reader->left--;
    reader->next_row = (uint32_t)row + 1;
    *entry = (struct ab_verdict_entry){.row = (uint32_t)row, .decision = (enum ab_decision)decision, .reason = reason};
    return AB_OK;
}

ab_err ab_verdict_mark(struct ab_bytes verdict, uint32_t rows_count, uint8_t *skip)
{
    struct ab_verdict_reader reader;
    AB_TRY(ab_verdict_reader_init(&reader, verdict));
    struct ab_verdict_entry entry;
    ab_err err;
    while ((err = ab_verdict_reader_next(&reader, rows_count, &entry)) == AB_OK) {
        skip[entry.row] = 1;
    }
    return err == AB_END ? AB_OK : err;
}
