/* state_row_read: reading and writing an encoded row (state_row.h) primitive by primitive; for this folder alone. */
#ifndef ANABRANCH_COMMON_AGGREGATE_STATE_ROW_READ_H
#define ANABRANCH_COMMON_AGGREGATE_STATE_ROW_READ_H

#include "common/aggregate/primitive.h"

#define AB_STATE_ROW_FORMAT 1
/* 64 measures of at most six primitives each, and the rows. */
#define AB_STATE_ROW_PRIMITIVES_MAX 385
/* A group key has at least its chunk and its pane. */
#define AB_STATE_ROW_KEY_BYTES_MIN 12

struct ab_state_row_reader {
    struct ab_reader reader;
    uint32_t count; /* primitives */
};

/* Reads the head. AB_CORRUPT. */
AB_MUST_USE ab_err ab_state_row_open(struct ab_bytes row, struct ab_state_row_reader *out);

/* Takes the next primitive; the payload is borrowed and not yet validated. AB_CORRUPT. */
AB_MUST_USE ab_err ab_state_row_take(struct ab_state_row_reader *row, uint8_t *kind, struct ab_bytes *payload);

/* True when a varint of this value takes exactly `bytes` bytes: only the shortest form is canonical. */
bool ab_state_row_varint_is_short(uint64_t value, size_t bytes);

/* Writes the head of a row of `count` primitives. */
void ab_state_row_begin(struct ab_buffer *out, uint32_t count);

/* Brackets a payload of unknown length: begin returns where it starts, the caller appends it, end sets the length. */
size_t ab_state_row_payload_begin(struct ab_buffer *out, uint8_t kind);
void ab_state_row_payload_end(struct ab_buffer *out, size_t start);

#endif
