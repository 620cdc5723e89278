#include "common/aggregate/state_row.h"

#include "common/aggregate/state_row_read.h"

ab_err ab_state_row_open(struct ab_bytes row, struct ab_state_row_reader *out)
{
    struct ab_reader reader = ab_reader_of(row);
    uint8_t format = ab_reader_u8(&reader);
    const uint8_t *at = reader.at;
    uint64_t count = ab_reader_varint(&reader);
    if (reader.has_failed || format != AB_STATE_ROW_FORMAT || count == 0 || count > AB_STATE_ROW_PRIMITIVES_MAX ||
        !ab_state_row_varint_is_short(count, (size_t)(reader.at - at))) {
        return AB_CORRUPT;
    }
    *out = (struct ab_state_row_reader){.reader = reader, .count = (uint32_t)count};
    return AB_OK;
}

bool ab_state_row_varint_is_short(uint64_t value, size_t bytes)
{
    size_t needed = 1;
    while (value >= 0x80) {
        value >>= 7;
        needed++;
    }
    return needed == bytes;
}

ab_err ab_state_row_take(struct ab_state_row_reader *row, uint8_t *kind, struct ab_bytes *payload)
{
    struct ab_reader *reader = &row->reader;
    if (ab_reader_left(reader) >= 2 && reader->at[1] < 0x80 && ab_reader_left(reader) - 2 >= reader->at[1]) {
        /* Nearly every payload is shorter than 128 bytes. */
        *kind = reader->at[0];
        *payload = ab_bytes_of(reader->at + 2, reader->at[1]);
        reader->at += 2 + payload->bytes;
        return AB_OK;
    }
    *kind = ab_reader_u8(reader);
    const uint8_t *at = reader->at;
    uint64_t bytes = ab_reader_varint(reader);
    if (reader->has_failed || !ab_state_row_varint_is_short(bytes, (size_t)(reader->at - at)) ||
        bytes > ab_reader_left(reader)) {
        return AB_CORRUPT;
    }
    *payload = ab_reader_bytes(reader, (size_t)bytes);
    return AB_OK;
}

void ab_state_row_begin(struct ab_buffer *out, uint32_t count)
{
    ab_buffer_put_u8(out, AB_STATE_ROW_FORMAT);
    ab_buffer_put_varint(out, count);
}

size_t ab_state_row_payload_begin(struct ab_buffer *out, uint8_t kind)
{
    ab_buffer_put_u8(out, kind);
    ab_buffer_put_u8(out, 0);
    return out->bytes;
}

void ab_state_row_payload_end(struct ab_buffer *out, size_t start)
{
    if (out->has_failed) {
        return;
    }
    uint64_t bytes = out->bytes - start;
    uint64_t rest = bytes;
    size_t more = 0;
    while (rest >= 0x80) {
        rest >>= 7;
        more++;
    }
    if (more > 0) {
        if (ab_buffer_extend(out, more) == NULL) {
            return;
        }
        memmove(out->data + start + more, out->data + start, (size_t)bytes);
    }
    uint8_t *at = out->data + start - 1;
    for (rest = bytes; rest >= 0x80; rest >>= 7) {
        *at++ = (uint8_t)(rest | 0x80);
    }
    *at = (uint8_t)rest;
}

ab_err ab_state_row_validate(struct ab_bytes row)
{
    struct ab_state_row_reader reader;
    AB_TRY(ab_state_row_open(row, &reader));
    for (uint32_t i = 0; i < reader.count; i++) {
        uint8_t kind;
        uint8_t type_kind;
        struct ab_bytes payload;
        AB_TRY(ab_state_row_take(&reader, &kind, &payload));
        const struct ab_primitive_ops *ops = ab_primitive_ops_of(kind);
        if (ops == NULL || (i == 0 && kind != AB_PRIMITIVE_COUNT)) {
            return AB_CORRUPT;
        }
        AB_TRY(ops->validate(payload, &type_kind));
    }
    return ab_reader_finish(&reader.reader);
}

ab_err ab_state_row_rows(struct ab_bytes row, uint64_t *rows_count)
{
    struct ab_state_row_reader reader;
    uint8_t kind;
    uint8_t type_kind;
    struct ab_bytes payload;
    AB_TRY(ab_state_row_open(row, &reader));
    AB_TRY(ab_state_row_take(&reader, &kind, &payload));
    if (kind != AB_PRIMITIVE_COUNT) {
        return AB_CORRUPT;
    }
    AB_TRY(ab_primitive_count.validate(payload, &type_kind));
    uint64_t count = 0;
    ab_primitive_count.absorb(NULL, &count, payload);
    *rows_count = count;
    return AB_OK;
}

void ab_state_row_print(struct ab_bytes row, struct ab_buffer *out)
{
    struct ab_state_row_reader reader;
    if (ab_state_row_validate(row) != AB_OK || ab_state_row_open(row, &reader) != AB_OK) {
        ab_buffer_put_format(out, "not a state row (%zu bytes)", row.bytes);
        return;
    }
    for (uint32_t i = 0; i < reader.count; i++) {
        uint8_t kind;
        struct ab_bytes payload;
        if (ab_state_row_take(&reader, &kind, &payload) != AB_OK) {
            return;
        }
        const struct ab_primitive_ops *ops = ab_primitive_ops_of(kind);
        ab_buffer_put_format(out, "%s%s=", i == 0 ? "" : " ", i == 0 ? "rows" : ops->name);
        ops->print(payload, out);
    }
}

/* ---- merging ---- */

/* One operand being read in step with the others. */
struct operand {
    struct ab_state_row_reader row;
    struct ab_bytes payload;
};

static ab_err type_join(uint8_t type_kind, uint8_t *common)
{
    if (type_kind != 0 && *common != 0 && type_kind != *common) {
        return AB_CORRUPT;
    }
    *common = type_kind != 0 ? type_kind : *common;
    return AB_OK;
}

/* Payloads that tell their parameters have to tell the same ones; `known` is the head of those before. */
static ab_err head_join(const struct ab_primitive_ops *ops, struct ab_bytes payload, struct ab_bytes *known)
{
    if (ops->head_bytes == NULL || payload.bytes == 0) {
        return AB_OK;
    }
    struct ab_bytes head = ab_bytes_of(payload.data, ops->head_bytes(payload));
    if (known->bytes > 0 && !ab_bytes_equal(head, *known)) {
        return AB_CORRUPT;
    }
    *known = head;
    return AB_OK;
}

/* Reads the next primitive of every operand: all must be of one kind, well formed, and of one type and head. */
static ab_err operands_take(struct operand *operands, size_t count, uint8_t *kind)
{
    uint8_t common_type = 0;
    struct ab_bytes common_head = {0};
    for (size_t i = 0; i < count; i++) {
        uint8_t kind_here;
        uint8_t type_kind;
        AB_TRY(ab_state_row_take(&operands[i].row, &kind_here, &operands[i].payload));
        const struct ab_primitive_ops *ops = ab_primitive_ops_of(kind_here);
        if (ops == NULL || (i > 0 && kind_here != *kind)) {
            return AB_CORRUPT;
        }
        *kind = kind_here;
        AB_TRY(ops->validate(operands[i].payload, &type_kind));
        AB_TRY(type_join(type_kind, &common_type));
        AB_TRY(head_join(ops, operands[i].payload, &common_head));
    }
    return AB_OK;
}

/* MIN, MAX, FIRST, LAST: one of the payloads is the result. */
static struct ab_bytes operands_select(const struct operand *operands, size_t count, int direction)
{
    struct ab_bytes best = operands[0].payload;
    for (size_t i = 1; i < count; i++) {
        struct ab_bytes payload = operands[i].payload;
        if (payload.bytes == 0) {
            continue;
        }
        if (best.bytes == 0 || ab_bytes_compare(payload, best) * direction > 0) {
            best = payload;
        }
    }
    return best;
}

static void operands_merge(const struct operand *operands, size_t count, uint8_t kind, struct ab_buffer *out)
{
    const struct ab_primitive_ops *ops = ab_primitive_ops_of(kind);
    size_t start = ab_state_row_payload_begin(out, kind);
    if (ops->selects != 0) {
        ab_buffer_put_bytes(out, operands_select(operands, count, ops->selects));
    } else {
        struct ab_primitive_context context = {.kind = (enum ab_primitive_kind)kind};
        uint64_t state[AB_PRIMITIVE_STATE_WORDS_MAX] = {0};
        for (size_t i = 0; i < count; i++) {
            ops->absorb(&context, state, operands[i].payload);
        }
        ops->encode(&context, state, out);
        if (ops->release != NULL) {
            ops->release(&context, state);
        }
    }
    ab_state_row_payload_end(out, start);
}

#define OPERANDS_ON_STACK 16

static ab_err operands_run(struct operand *operands, size_t count, struct ab_buffer *out)
{
    ab_state_row_begin(out, operands[0].row.count);
    for (uint32_t p = 0; p < operands[0].row.count; p++) {
        uint8_t kind = 0;
        AB_TRY(operands_take(operands, count, &kind));
        if (p == 0 && kind != AB_PRIMITIVE_COUNT) {
            return AB_CORRUPT;
        }
        operands_merge(operands, count, kind, out);
    }
    for (size_t i = 0; i < count; i++) {
        AB_TRY(ab_reader_finish(&operands[i].row.reader));
    }
    return ab_buffer_finish(out);
}

static ab_err operands_open(
    struct operand *opened, struct ab_bytes existing, const struct ab_bytes *operands, size_t operands_count)
{
    size_t count = 0;
    if (existing.data != NULL) {
        AB_TRY(ab_state_row_open(existing, &opened[count++].row));
    }
    for (size_t i = 0; i < operands_count; i++, count++) {
        AB_TRY(ab_state_row_open(operands[i], &opened[count].row));
        if (opened[count].row.count != opened[0].row.count) {
            return AB_CORRUPT;
        }
    }
    return AB_OK;
}

ab_err ab_state_row_merge(struct ab_bytes existing, const struct ab_bytes *operands, size_t operands_count,
    struct ab_buffer *out, void *context)
{
    (void)context;
    ab_buffer_clear(out);
    size_t count = operands_count + (existing.data != NULL ? 1 : 0);
    if (count == 0) {
        return AB_CORRUPT;
    }
    struct operand few[OPERANDS_ON_STACK];
    struct operand *opened = count <= OPERANDS_ON_STACK ? few : ab_new_array(struct operand, count);
    ab_err err = operands_open(opened, existing, operands, operands_count);
    if (err == AB_OK) {
        err = operands_run(opened, count, out);
    }
    if (opened != few) {
        ab_delete(opened);
    }
    if (err != AB_OK) {
        ab_buffer_clear(out);
    }
    return err;
}

/* ---- digest ---- */

ab_err ab_digest_add(struct ab_digest *digest, struct ab_bytes key, struct ab_bytes row)
{
    uint64_t rows = 0;
    if (key.bytes < AB_STATE_ROW_KEY_BYTES_MIN) {
        return AB_CORRUPT;
    }
    AB_TRY(ab_state_row_rows(row, &rows));
    /* Keys end themselves (types are fixed, text is terminated), so key then row is unambiguous. */
    struct ab_bytes named = ab_bytes_of(key.data + 4, key.bytes - 4);
    size_t bytes = named.bytes + row.bytes;
    uint8_t few[512];
    uint8_t *joined = bytes <= sizeof(few) ? few : ab_new_bytes(bytes);
    memcpy(joined, named.data, named.bytes);
    memcpy(joined + named.bytes, row.data, row.bytes);
    digest->sum = ab_hash128_add(digest->sum, ab_hash128(AB_HASH_DIGEST, ab_bytes_of(joined, bytes)));
    digest->groups_count++;
    digest->rows_count += rows;
    if (joined != few) {
        ab_delete(joined);
    }
    return AB_OK;
}

void ab_digest_merge(struct ab_digest *into, const struct ab_digest *from)
{
    into->sum = ab_hash128_add(into->sum, from->sum);
    into->groups_count += from->groups_count;
    into->rows_count += from->rows_count;
}
