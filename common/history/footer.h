/* footer: Parquet's metadata as plain structs, and its Thrift form, read and written.
 *
 *   "PAR1" | column chunks … | footer (Thrift FileMetaData) | u32 footer bytes | "PAR1"
 *   column chunk: [dictionary page] data page …; page: Thrift PageHeader, then its bytes, compressed as the chunk says
 *
 * Each chunk carries XXH3-64 (AB_HASH_CONTENT) of its bytes under the key "anabranch.xxh3" of its metadata; it is
 * checked when present. Names of constants follow parquet.thrift of the format's specification.
 *
 * Threads: owner. Memory: decoding is charged to the arena; its size is bounded by the footer's bytes.
 */
#ifndef ANABRANCH_COMMON_HISTORY_FOOTER_H
#define ANABRANCH_COMMON_HISTORY_FOOTER_H

#include "common/history/parquet.h"

#include "common/base/buffer.h"

#define AB_PARQUET_FOOTER_BYTES_MAX (64u << 20)
#define AB_PARQUET_PAGE_BYTES_MAX (256u << 20)
#define AB_PARQUET_TAIL_BYTES 8u
#define AB_PARQUET_MAGIC "PAR1"
#define AB_PARQUET_HASH_KEY "anabranch.xxh3"
#define AB_PARQUET_FIELDS_MAX 1024u
#define AB_PARQUET_GROUP_ROWS_MAX (16u << 20) /* a column of a group is decoded whole: more is not read */

enum ab_parquet_physical {
    AB_PHYSICAL_BOOLEAN = 0,
    AB_PHYSICAL_INT64 = 2,
    AB_PHYSICAL_DOUBLE = 5,
    AB_PHYSICAL_BYTE_ARRAY = 6,
    AB_PHYSICAL_FIXED = 7,
};

enum ab_parquet_converted {
    AB_CONVERTED_UTF8 = 0,
    AB_CONVERTED_DECIMAL = 5,
    AB_CONVERTED_TIMESTAMP_MICROS = 10,
    AB_CONVERTED_INT64 = 18,
};

enum ab_parquet_encoding {
    AB_ENCODING_PLAIN = 0,
    AB_ENCODING_PLAIN_DICTIONARY = 2,
    AB_ENCODING_RLE = 3,
    AB_ENCODING_DELTAS = 5, /* DELTA_BINARY_PACKED */
    AB_ENCODING_RLE_DICTIONARY = 8,
    AB_ENCODING_SPLIT = 9, /* BYTE_STREAM_SPLIT */
};

enum ab_parquet_codec { AB_CODEC_PLAIN = 0, AB_CODEC_ZSTD = 6 };

enum ab_parquet_page { AB_PAGE_DATA = 0, AB_PAGE_DICTIONARY = 2, AB_PAGE_DATA_V2 = 3 };

/* One column chunk. */
struct ab_parquet_chunk {
    int codec;                   /* enum ab_parquet_codec */
    bool has_dictionary;         /* for writing: whether a dictionary page is named */
    int encoding;                /* for writing: of the data page */
    uint64_t values_count;       /* with NULLs */
    uint64_t uncompressed_bytes; /* of all pages with their headers */
    uint64_t compressed_bytes;
    uint64_t start; /* file offset of the first page */
    uint64_t data_page_offset;
    bool has_nulls_count;
    uint64_t nulls_count;
    bool has_bounds;
    struct ab_bytes min, max; /* plain encoding; borrowed from footer bytes, or from the writer's arena */
    bool has_hash;
    uint64_t hash;
};

struct ab_parquet_group {
    uint64_t rows_count;
    struct ab_parquet_chunk *chunks; /* one a field */
};

struct ab_parquet_footer {
    uint64_t rows_count;
    struct ab_parquet_field *fields;
    size_t fields_count;
    struct ab_parquet_group *groups;
    size_t groups_count;
    struct ab_parquet_note *notes;
    size_t notes_count;
};

/* A page's head. */
struct ab_parquet_page_head {
    int kind; /* enum ab_parquet_page */
    uint32_t uncompressed_bytes;
    uint32_t compressed_bytes;
    uint32_t values_count; /* data pages: rows; dictionary pages: entries */
    int encoding;
    uint32_t levels_bytes; /* V2: definition levels, never compressed */
    uint32_t nulls_count;  /* V2 */
    bool is_compressed;    /* V2; true otherwise */
};

/* The physical type that a column type is stored as. */
enum ab_parquet_physical ab_parquet_physical_of(struct ab_type type);

/* Appends FileMetaData. */
void ab_parquet_footer_encode(const struct ab_parquet_footer *footer, struct ab_buffer *out);

/* Decodes FileMetaData; everything lives in the arena (borrowed bounds: in `bytes`). Each group has a chunk for every
 * field. AB_CORRUPT, AB_UNSUPPORTED (named), AB_FULL. Places in the file are not checked here. */
AB_MUST_USE ab_err ab_parquet_footer_decode(
    struct ab_bytes bytes, struct ab_arena *arena, struct ab_parquet_footer *footer, struct ab_error *error);

/* Appends a PageHeader (data page V1 or dictionary page). */
void ab_parquet_page_head_encode(const struct ab_parquet_page_head *head, struct ab_buffer *out);

/* Takes a PageHeader off the reader. AB_CORRUPT, AB_UNSUPPORTED. */
AB_MUST_USE ab_err ab_parquet_page_head_take(struct ab_reader *reader, struct ab_parquet_page_head *head);

#endif
