#include "common/aggregate/cell.h"

#include "common/base/assert.h"
#include "common/base/decimal.h"

union ab_cell ab_cell_of_column(const struct ab_column *column, uint32_t row)
{
    union ab_cell cell = {.word = {0, 0}};
    switch ((enum ab_type_kind)column->type.kind) {
    case AB_TYPE_BOOLEAN:
        cell.word.low = ((const uint8_t *)column->values)[row] != 0;
        break;
    case AB_TYPE_BIGINT:
    case AB_TYPE_TIMESTAMP:
        cell.word.low = ab_cell_bigint(((const int64_t *)column->values)[row]);
        break;
    case AB_TYPE_DOUBLE:
        cell.word.low = ab_cell_double(((const double *)column->values)[row]);
        break;
    case AB_TYPE_DECIMAL: {
        ab_int128 units;
        memcpy(&units, (const uint8_t *)column->values + (size_t)row * sizeof(units), sizeof(units));
        cell.word.low = (uint64_t)units;
        cell.word.high = (uint64_t)((ab_uint128)units >> 64) ^ UINT64_C(1) << 63;
        break;
    }
    case AB_TYPE_TEXT: {
        struct ab_bytes text = ab_dictionary_at(&column->dictionary, ((const uint32_t *)column->values)[row]);
        cell.text.data = text.data;
        cell.text.bytes = text.bytes;
        break;
    }
    }
    return cell;
}

int ab_cell_compare(uint8_t type_kind, const union ab_cell *a, const union ab_cell *b)
{
    if (type_kind == AB_TYPE_TEXT) {
        return ab_bytes_compare(ab_bytes_of(a->text.data, a->text.bytes), ab_bytes_of(b->text.data, b->text.bytes));
    }
    if (a->word.high != b->word.high) {
        return a->word.high < b->word.high ? -1 : 1;
    }
    return (a->word.low > b->word.low) - (a->word.low < b->word.low);
}

static void put_big_endian(struct ab_buffer *out, uint64_t word)
{
    word = __builtin_bswap64(word);
    ab_buffer_put(out, &word, sizeof(word));
}

static uint64_t big_endian_at(const uint8_t *bytes)
{
    uint64_t word;
    memcpy(&word, bytes, sizeof(word));
    return __builtin_bswap64(word);
}

void ab_cell_put(uint8_t type_kind, const union ab_cell *cell, struct ab_buffer *out)
{
    switch ((enum ab_type_kind)type_kind) {
    case AB_TYPE_BOOLEAN:
        ab_buffer_put_u8(out, (uint8_t)cell->word.low);
        break;
    case AB_TYPE_DECIMAL:
        put_big_endian(out, cell->word.high);
        put_big_endian(out, cell->word.low);
        break;
    case AB_TYPE_TEXT:
        ab_buffer_put(out, cell->text.data, cell->text.bytes);
        break;
    case AB_TYPE_BIGINT:
    case AB_TYPE_TIMESTAMP:
    case AB_TYPE_DOUBLE:
        put_big_endian(out, cell->word.low);
        break;
    }
}

/* The order word of a DOUBLE back as its bits. */
static double double_of_word(uint64_t word)
{
    uint64_t bits = word >> 63 != 0 ? word ^ UINT64_C(1) << 63 : ~word;
    double number;
    memcpy(&number, &bits, sizeof(number));
    return number;
}

static ab_int128 units_of_cell(const union ab_cell *cell)
{
    return (ab_int128)((ab_uint128)(cell->word.high ^ UINT64_C(1) << 63) << 64 | cell->word.low);
}

ab_err ab_cell_validate(uint8_t type_kind, struct ab_bytes bytes)
{
    bool is_valid = false;
    switch (type_kind) {
    case AB_TYPE_BOOLEAN:
        is_valid = bytes.bytes == 1 && bytes.data[0] <= 1;
        break;
    case AB_TYPE_BIGINT:
    case AB_TYPE_TIMESTAMP:
        is_valid = bytes.bytes == 8;
        break;
    case AB_TYPE_DOUBLE:
        is_valid =
            bytes.bytes == 8 && ab_cell_double(double_of_word(big_endian_at(bytes.data))) == big_endian_at(bytes.data);
        break;
    case AB_TYPE_DECIMAL:
        is_valid = bytes.bytes == 16;
        break;
    case AB_TYPE_TEXT:
        is_valid = ab_bytes_is_utf8(bytes);
        break;
    default:
        break;
    }
    return is_valid ? AB_OK : AB_CORRUPT;
}

union ab_cell ab_cell_take(uint8_t type_kind, struct ab_bytes bytes)
{
    union ab_cell cell = {.word = {0, 0}};
    switch ((enum ab_type_kind)type_kind) {
    case AB_TYPE_BOOLEAN:
        cell.word.low = bytes.data[0];
        break;
    case AB_TYPE_DECIMAL:
        cell.word.high = big_endian_at(bytes.data);
        cell.word.low = big_endian_at(bytes.data + 8);
        break;
    case AB_TYPE_TEXT:
        cell.text.data = bytes.data;
        cell.text.bytes = bytes.bytes;
        break;
    case AB_TYPE_BIGINT:
    case AB_TYPE_TIMESTAMP:
    case AB_TYPE_DOUBLE:
        cell.word.low = big_endian_at(bytes.data);
        break;
    }
    return cell;
}

void ab_cell_put_ended(uint8_t type_kind, const union ab_cell *cell, struct ab_buffer *out)
{
    if (type_kind == AB_TYPE_TEXT) {
        ab_buffer_put_varint(out, cell->text.bytes);
    }
    ab_cell_put(type_kind, cell, out);
}

ab_err ab_cell_take_ended(struct ab_reader *reader, uint8_t type_kind, union ab_cell *cell)
{
    static const uint8_t bytes_of_kind[] = {[AB_TYPE_BOOLEAN] = 1,
        [AB_TYPE_BIGINT] = 8,
        [AB_TYPE_DOUBLE] = 8,
        [AB_TYPE_DECIMAL] = 16,
        [AB_TYPE_TEXT] = 0,
        [AB_TYPE_TIMESTAMP] = 8};
    if (type_kind == 0 || type_kind >= sizeof(bytes_of_kind)) {
        return AB_CORRUPT;
    }
    uint64_t bytes = type_kind == AB_TYPE_TEXT ? ab_reader_varint_short(reader) : bytes_of_kind[type_kind];
    if (reader->has_failed || bytes > ab_reader_left(reader)) {
        return AB_CORRUPT;
    }
    struct ab_bytes taken = ab_reader_bytes(reader, (size_t)bytes);
    AB_TRY(ab_cell_validate(type_kind, taken));
    *cell = ab_cell_take(type_kind, taken);
    return AB_OK;
}

void ab_cell_release(uint8_t type_kind, union ab_cell *cell, struct ab_memory *memory)
{
    if (type_kind == AB_TYPE_TEXT && cell->text.data != NULL) {
        ab_memory_free(memory, (void *)(uintptr_t)cell->text.data, cell->text.bytes);
    }
    cell->word.low = 0;
    cell->word.high = 0;
}

void ab_cell_assign(
    uint8_t type_kind, union ab_cell *cell, bool has_old, const union ab_cell *value, struct ab_memory *memory)
{
    if (type_kind != AB_TYPE_TEXT) {
        *cell = *value;
        return;
    }
    union ab_cell copy = {.text = {NULL, value->text.bytes}};
    if (value->text.bytes > 0) {
        uint8_t *data = ab_memory_alloc_total(memory, value->text.bytes);
        memcpy(data, value->text.data, value->text.bytes);
        copy.text.data = data;
    }
    if (has_old) {
        ab_cell_release(type_kind, cell, memory);
    }
    *cell = copy;
}

struct ab_value ab_cell_value(struct ab_type type, const union ab_cell *cell)
{
    struct ab_value value = {.type = type};
    switch ((enum ab_type_kind)type.kind) {
    case AB_TYPE_BOOLEAN:
        value.boolean = cell->word.low != 0;
        break;
    case AB_TYPE_BIGINT:
    case AB_TYPE_TIMESTAMP:
        value.bigint = (int64_t)(cell->word.low ^ UINT64_C(1) << 63);
        break;
    case AB_TYPE_DOUBLE:
        value.real = double_of_word(cell->word.low);
        break;
    case AB_TYPE_DECIMAL:
        value.decimal = units_of_cell(cell);
        break;
    case AB_TYPE_TEXT:
        value.text = ab_bytes_of(cell->text.data, cell->text.bytes);
        break;
    }
    return value;
}

void ab_cell_print(struct ab_bytes typed, struct ab_buffer *out)
{
    if (typed.bytes == 0) {
        return;
    }
    union ab_cell cell = ab_cell_take(typed.data[0], ab_bytes_of(typed.data + 1, typed.bytes - 1));
    struct ab_type type = {.kind = typed.data[0], .precision = typed.data[0] == AB_TYPE_DECIMAL ? 38 : 0};
    struct ab_value value = ab_cell_value(type, &cell);
    ab_value_format(&value, out);
}
