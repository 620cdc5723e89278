#include "common/block/block.h"

#include "common/block/column_codec.h"
#include "common/block/validate.h"

#include "common/base/decimal.h"
#include "common/compress/compress.h"
#include "common/wire/envelope.h"

/* LZ4 cannot shrink further than this, so a larger claim is a lie: nothing is allocated for it. */
#define LZ4_RATIO_MAX 256u

/* ---- encode ---- */

ab_err ab_block_column_encode(const struct ab_block_column *column, struct ab_arena *arena, struct ab_wire_column *wire)
{
    const struct ab_column *values = &column->column;
    uint32_t rows_count = values->rows_count;
    *wire = (struct ab_wire_column){
        .name = column->name,
        .type_kind = values->type.kind,
        .precision = values->type.precision,
        .scale = values->type.scale,
        .values = ab_bytes_of(values->values, ab_type_element_bytes(values->type) * rows_count),
    };
    if (values->nulls != NULL) {
        size_t bytes = (rows_count + 7) / 8;
        uint8_t *bitmap = ab_arena_alloc(arena, bytes);
        if (bitmap == NULL) {
            return AB_FULL;
        }
        ab_validate_bitmap_make(values->nulls, rows_count, bitmap);
        wire->null_bitmap = ab_bytes_of(bitmap, bytes);
    }
    if (values->type.kind == AB_TYPE_TEXT && values->dictionary.count > 0) {
        const struct ab_dictionary *dictionary = &values->dictionary;
        wire->dictionary_ends = ab_bytes_of(dictionary->ends, dictionary->count * sizeof(uint32_t));
        wire->dictionary_bytes = ab_bytes_of(dictionary->bytes, dictionary->ends[dictionary->count - 1]);
    }
    return AB_OK;
}

static ab_err columns_to_wire(const struct ab_block *block, struct ab_arena *arena, struct ab_wire_block *wire)
{
    struct ab_wire_column *columns = ab_arena_zalloc(arena, block->columns_count * sizeof *columns);
    if (columns == NULL) {
        return AB_FULL;
    }
    for (uint32_t i = 0; i < block->columns_count; i++) {
        AB_TRY(ab_block_column_encode(&block->columns[i], arena, &columns[i]));
    }
    wire->columns = columns;
    wire->columns_count = block->columns_count;
    return AB_OK;
}

static ab_err positions_to_wire(const struct ab_block *block, struct ab_arena *arena, struct ab_wire_block *wire)
{
    if (block->mark.source.bytes == 0 || block->positions == NULL) {
        return AB_OK;
    }
    uint32_t *deltas = ab_arena_alloc(arena, block->rows_count * sizeof *deltas);
    if (deltas == NULL) {
        return AB_FULL;
    }
    deltas[0] = 0;
    for (uint32_t row = 1; row < block->rows_count; row++) {
        uint64_t delta = block->positions[row] - block->positions[row - 1];
        if (delta > UINT32_MAX) {
            return AB_TOO_LARGE;
        }
        deltas[row] = (uint32_t)delta;
    }
    wire->source = block->mark.source;
    wire->first_position = block->mark.first_position;
    wire->last_position = block->mark.last_position;
    wire->byte_offset = block->mark.byte_offset;
    wire->prefix_hash = block->mark.prefix_hash;
    wire->position_deltas = ab_bytes_of(deltas, block->rows_count * sizeof *deltas);
    return AB_OK;
}

/* Replaces the columns by their compressed encoding, kept in `compressed`; leaves them when that is not smaller. */
static ab_err columns_compress(struct ab_wire_block *wire, struct ab_buffer *compressed)
{
    struct ab_buffer plain = {0};
    ab_wire_columns_encode(wire->columns, wire->columns_count, &plain);
    ab_err err = ab_buffer_finish(&plain);
    if (err == AB_OK) {
        err = plain.bytes > AB_BLOCK_BYTES_MAX ? AB_TOO_LARGE : ab_lz4_compress(ab_buffer_view(&plain), compressed);
    }
    if (err == AB_OK && compressed->bytes < plain.bytes) {
        wire->compression = AB_BLOCK_LZ4;
        wire->uncompressed_bytes = (uint32_t)plain.bytes;
        wire->compressed = ab_buffer_view(compressed);
        wire->columns_count = 0;
    }
    ab_buffer_fini(&plain);
    return err;
}

static ab_err wire_encode(const struct ab_wire_block *wire, struct ab_buffer *out)
{
    size_t bytes_before = out->bytes;
    ab_wire_block_encode(wire, out);
    AB_TRY(ab_buffer_finish(out));
    if (out->bytes - bytes_before > AB_BLOCK_BYTES_MAX) {
        out->bytes = bytes_before;
        return AB_TOO_LARGE;
    }
    return AB_OK;
}

static ab_err block_encode(const struct ab_block *block, enum ab_block_compression compression, struct ab_arena *arena,
    struct ab_buffer *compressed, struct ab_buffer *out)
{
    struct ab_wire_block wire = {.stream = block->stream,
        .producer_id = block->producer_id,
        .sequence = block->sequence,
        .partition = block->partition,
        .rows_count = block->rows_count,
        .is_raw = block->is_raw};
    AB_TRY(positions_to_wire(block, arena, &wire));
    AB_TRY(columns_to_wire(block, arena, &wire));
    if (compression == AB_BLOCK_LZ4) {
        AB_TRY(columns_compress(&wire, compressed));
    }
    return wire_encode(&wire, out);
}

ab_err ab_block_encode(const struct ab_block *block, enum ab_block_compression compression, struct ab_buffer *out)
{
    struct ab_arena arena = {0};
    struct ab_buffer compressed = {0};
    if (block->rows_count > AB_BLOCK_ROWS_MAX || block->columns_count > AB_BLOCK_COLUMNS_MAX ||
        block->stream.bytes > AB_BLOCK_NAME_BYTES_MAX) {
        return AB_TOO_LARGE;
    }
    if (block->rows_count == 0 || block->columns_count == 0) {
        return AB_INVALID;
    }
    ab_err err = block_encode(block, compression, &arena, &compressed, out);
    ab_buffer_fini(&compressed);
    ab_arena_fini(&arena);
    return err;
}

/* ---- decode ---- */

#define NAME(bytes_) (int)(bytes_).bytes, (const char *)(bytes_).data

static bool name_is_valid(struct ab_bytes name)
{
    return name.bytes > 0 && name.bytes <= AB_BLOCK_NAME_BYTES_MAX && ab_bytes_is_utf8(name);
}

static bool type_is_valid(const struct ab_wire_column *wire)
{
    if (wire->type_kind == AB_TYPE_DECIMAL) {
        return wire->precision >= 1 && wire->precision <= AB_DECIMAL_PRECISION_MAX && wire->scale <= wire->precision;
    }
    return wire->type_kind >= AB_TYPE_BOOLEAN && wire->type_kind <= AB_TYPE_TIMESTAMP && wire->precision == 0 &&
           wire->scale == 0;
}

static ab_err nulls_decode(
    const struct ab_wire_column *wire, struct ab_arena *arena, struct ab_column *column, struct ab_error *error)
{
    uint32_t rows_count = column->rows_count;
    bool any = false;
    if (wire->null_bitmap.bytes == 0) {
        return AB_OK;
    }
    if (wire->null_bitmap.bytes != (rows_count + 7) / 8) {
        return ab_error_set(error, AB_INVALID, "column %.*s: NULL bitmap of %zu bytes for %u rows", NAME(wire->name),
            wire->null_bitmap.bytes, rows_count);
    }
    uint8_t *nulls = ab_arena_alloc(arena, ((size_t)rows_count + 7) / 8 * 8);
    if (nulls == NULL) {
        return ab_error_set(error, AB_FULL, "column %.*s: no memory for NULLs", NAME(wire->name));
    }
    if (!ab_validate_bitmap(wire->null_bitmap.data, rows_count, nulls, &any)) {
        return ab_error_set(error, AB_INVALID, "column %.*s: NULL bits past row %u", NAME(wire->name), rows_count - 1);
    }
    column->nulls = any ? nulls : NULL;
    return AB_OK;
}

static bool is_all_null(const struct ab_column *column)
{
    return column->nulls != NULL && memchr(column->nulls, 0, column->rows_count) == NULL;
}

static const char *text_check(const struct ab_wire_column *wire, struct ab_column *column)
{
    static const uint8_t nothing[1]; /* a dictionary of empty texts has no bytes, but still an address */
    size_t count = wire->dictionary_ends.bytes / sizeof(uint32_t);
    if (wire->dictionary_ends.bytes % sizeof(uint32_t) != 0 || count > UINT32_MAX) {
        return "dictionary ends are not 4 bytes an entry";
    }
    column->dictionary = (struct ab_dictionary){.count = (uint32_t)count,
        .ends = (const uint32_t *)(const void *)wire->dictionary_ends.data,
        .bytes = wire->dictionary_bytes.bytes == 0 ? nothing : wire->dictionary_bytes.data};
    if (!ab_validate_dictionary(column->dictionary.ends, column->dictionary.count, wire->dictionary_bytes)) {
        return "dictionary ends do not rise to its length, or it is not UTF-8";
    }
    if (count == 0) {
        return (column->rows_count == 0 || is_all_null(column)) &&
                       ab_validate_codes(column->values, column->rows_count, 1)
                   ? NULL
                   : "values without a dictionary";
    }
    return ab_validate_codes(column->values, column->rows_count, column->dictionary.count) ? NULL
                                                                                           : "code past the dictionary";
}

/* What is wrong with a column's values; NULL when nothing is. Doubles are made canonical: they stand in the arena's
 * copy. */
static const char *values_check(const struct ab_wire_column *wire, struct ab_column *column)
{
    uint8_t *values = (uint8_t *)(uintptr_t)wire->values.data;
    if (wire->type_kind != AB_TYPE_TEXT && (wire->dictionary_ends.bytes != 0 || wire->dictionary_bytes.bytes != 0)) {
        return "a dictionary without TEXT";
    }
    switch ((enum ab_type_kind)wire->type_kind) {
    case AB_TYPE_BOOLEAN:
        return ab_validate_booleans(values, column->rows_count) ? NULL : "BOOLEAN other than 0 and 1";
    case AB_TYPE_DOUBLE:
        ab_validate_doubles_make_canonical((uint64_t *)(void *)values, column->rows_count);
        return NULL;
    case AB_TYPE_DECIMAL:
        return ab_validate_decimals(
                   (const ab_int128 *)(const void *)values, column->rows_count, ab_decimal_power(wire->precision))
                   ? NULL
                   : "DECIMAL past its precision";
    case AB_TYPE_TEXT:
        return text_check(wire, column);
    case AB_TYPE_BIGINT:
    case AB_TYPE_TIMESTAMP:
        break;
    }
    return NULL;
}

ab_err ab_block_column_decode(const struct ab_wire_column *wire, uint32_t rows_count, struct ab_arena *arena,
    struct ab_block_column *out, struct ab_error *error)
{
    if (!name_is_valid(wire->name)) {
        return ab_error_set(
            error, AB_INVALID, "a column without a name of 1 to %u bytes UTF-8", AB_BLOCK_NAME_BYTES_MAX);
    }
    if (!type_is_valid(wire)) {
        return ab_error_set(error, AB_INVALID, "column %.*s: type %u(%u, %u) does not exist", NAME(wire->name),
            wire->type_kind, wire->precision, wire->scale);
    }
    struct ab_column column = {
        .type = {.kind = (uint8_t)wire->type_kind,
            .precision = (uint8_t)wire->precision,
            .scale = (uint8_t)wire->scale},
        .rows_count = rows_count,
        .values = wire->values.data,
    };
    if (wire->values.bytes != ab_type_element_bytes(column.type) * rows_count) {
        return ab_error_set(error, AB_INVALID, "column %.*s: %zu bytes of values for %u rows", NAME(wire->name),
            wire->values.bytes, rows_count);
    }
    AB_TRY(nulls_decode(wire, arena, &column, error));
    const char *problem = values_check(wire, &column);
    if (problem != NULL) {
        return ab_error_set(error, AB_INVALID, "column %.*s: %s", NAME(wire->name), problem);
    }
    *out = (struct ab_block_column){.name = wire->name, .column = column};
    return AB_OK;
}

static ab_err columns_decode(const struct ab_wire_column *wire, size_t count, uint32_t rows_count,
    struct ab_arena *arena, struct ab_block *block, struct ab_error *error)
{
    if (count == 0 || count > AB_BLOCK_COLUMNS_MAX) {
        return ab_error_set(error, count == 0 ? AB_INVALID : AB_TOO_LARGE, "%zu columns", count);
    }
    struct ab_block_column *columns = ab_arena_zalloc(arena, count * sizeof *columns);
    if (columns == NULL) {
        return ab_error_set(error, AB_FULL, "no memory for %zu columns", count);
    }
    for (size_t i = 0; i < count; i++) {
        AB_TRY(ab_block_column_decode(&wire[i], rows_count, arena, &columns[i], error));
        for (size_t other = 0; other < i; other++) {
            if (ab_bytes_equal(columns[other].name, columns[i].name)) {
                return ab_error_set(error, AB_INVALID, "column %.*s appears twice", NAME(columns[i].name));
            }
        }
    }
    block->columns = columns;
    block->columns_count = (uint32_t)count;
    return AB_OK;
}

static ab_err wire_decompress(struct ab_wire_block *wire, struct ab_arena *arena, struct ab_error *error)
{
    if (wire->columns_count != 0 || wire->uncompressed_bytes == 0) {
        return ab_error_set(error, AB_INVALID, "a compressed block with plain columns or without a length");
    }
    if (wire->uncompressed_bytes > AB_BLOCK_BYTES_MAX) {
        return ab_error_set(error, AB_TOO_LARGE, "%u bytes uncompressed", wire->uncompressed_bytes);
    }
    if (wire->uncompressed_bytes / LZ4_RATIO_MAX > wire->compressed.bytes) {
        return ab_error_set(error, AB_INVALID, "%u bytes cannot come from %zu compressed ones",
            wire->uncompressed_bytes, wire->compressed.bytes);
    }
    uint8_t *plain = ab_arena_alloc(arena, wire->uncompressed_bytes);
    if (plain == NULL) {
        return ab_error_set(error, AB_FULL, "no memory for %u bytes uncompressed", wire->uncompressed_bytes);
    }
    ab_err err = ab_lz4_decompress(wire->compressed, plain, wire->uncompressed_bytes);
    if (err != AB_OK) {
        return ab_error_set(error, AB_INVALID, "LZ4: %s", ab_err_text(err));
    }
    err = ab_wire_columns_decode(
        ab_bytes_of(plain, wire->uncompressed_bytes), arena, &wire->columns, &wire->columns_count);
    return err == AB_OK ? AB_OK : ab_error_set(error, err, "compressed columns: %s", ab_err_text(err));
}

static ab_err mark_decode(
    const struct ab_wire_block *wire, struct ab_arena *arena, struct ab_block *block, struct ab_error *error)
{
    if (wire->source.bytes == 0) {
        return wire->position_deltas.bytes == 0 ? AB_OK : ab_error_set(error, AB_INVALID, "positions without a source");
    }
    if (!name_is_valid(wire->source) || wire->first_position == 0 ||
        wire->position_deltas.bytes != wire->rows_count * sizeof(uint32_t)) {
        return ab_error_set(error, AB_INVALID, "source: a bad name, position 0, or not one position a row");
    }
    uint64_t *positions = ab_arena_alloc(arena, wire->rows_count * sizeof *positions);
    if (positions == NULL) {
        return ab_error_set(error, AB_FULL, "no memory for positions");
    }
    if (!ab_validate_positions((const uint32_t *)(const void *)wire->position_deltas.data, wire->rows_count,
            wire->first_position, positions) ||
        positions[wire->rows_count - 1] > wire->last_position) {
        return ab_error_set(
            error, AB_INVALID, "source %.*s: positions do not rise from the first to the last", NAME(wire->source));
    }
    block->positions = positions;
    block->mark = (struct ab_source_mark){.source = wire->source,
        .first_position = wire->first_position,
        .last_position = wire->last_position,
        .byte_offset = wire->byte_offset,
        .prefix_hash = wire->prefix_hash};
    return AB_OK;
}

static bool raw_is_valid(const struct ab_block *block)
{
    const struct ab_column *raw = ab_block_find(block, ab_bytes_of_text("raw"));
    const struct ab_column *reason = ab_block_find(block, ab_bytes_of_text("reason"));
    return block->columns_count == 2 && raw != NULL && reason != NULL && raw->type.kind == AB_TYPE_TEXT &&
           reason->type.kind == AB_TYPE_TEXT;
}

static ab_err head_decode(const struct ab_wire_block *wire, struct ab_block *block, struct ab_error *error)
{
    if (!name_is_valid(wire->stream)) {
        return ab_error_set(error, AB_INVALID, "a stream's name has 1 to %u bytes UTF-8", AB_BLOCK_NAME_BYTES_MAX);
    }
    if (wire->rows_count > AB_BLOCK_ROWS_MAX) {
        return ab_error_set(
            error, AB_TOO_LARGE, "%u rows; a block has at most %u", wire->rows_count, AB_BLOCK_ROWS_MAX);
    }
    if (wire->rows_count == 0 || wire->producer_id == 0 || wire->sequence == 0) {
        return ab_error_set(error, AB_INVALID, "a block needs rows, a producer id and a sequence");
    }
    if (wire->compression > AB_BLOCK_LZ4) {
        return ab_error_set(error, AB_INVALID, "compression %u does not exist", wire->compression);
    }
    *block = (struct ab_block){.stream = wire->stream,
        .producer_id = wire->producer_id,
        .sequence = wire->sequence,
        .partition = wire->partition,
        .rows_count = wire->rows_count,
        .is_raw = wire->is_raw};
    return AB_OK;
}

ab_err ab_block_decode(struct ab_bytes bytes, struct ab_arena *arena, struct ab_block *block, struct ab_error *error)
{
    struct ab_wire_block wire;
    struct ab_block decoded;
    if (bytes.bytes > AB_BLOCK_BYTES_MAX) {
        return ab_error_set(error, AB_TOO_LARGE, "a block of %zu bytes; at most %u", bytes.bytes, AB_BLOCK_BYTES_MAX);
    }
    ab_err err = ab_wire_block_decode(bytes, arena, &wire);
    if (err != AB_OK) {
        return ab_error_set(error, err, "not a block: %s", ab_err_text(err));
    }
    AB_TRY(head_decode(&wire, &decoded, error));
    AB_TRY(mark_decode(&wire, arena, &decoded, error));
    if (wire.compression == AB_BLOCK_LZ4) {
        AB_TRY(wire_decompress(&wire, arena, error));
    }
    AB_TRY(columns_decode(wire.columns, wire.columns_count, wire.rows_count, arena, &decoded, error));
    if (decoded.is_raw && !raw_is_valid(&decoded)) {
        return ab_error_set(error, AB_INVALID, "a raw block has the TEXT columns raw and reason, and no other");
    }
    *block = decoded;
    return AB_OK;
}

const struct ab_column *ab_block_find(const struct ab_block *block, struct ab_bytes name)
{
    for (uint32_t i = 0; i < block->columns_count; i++) {
        if (ab_bytes_equal(block->columns[i].name, name)) {
            return &block->columns[i].column;
        }
    }
    return NULL;
}
